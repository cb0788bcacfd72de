"""What a terminal shows of a run: a dashboard (rich) that is redrawn four times a second, or plain log lines.

Owns looks and keys (q quit, k kill switch, r resume). It reads the run's state and changes nothing but by those keys.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

from cwts.errors import InputError
from cwts.kernel import layout, plain

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from cwts.run import Line, Live

LEVELS = 8
_COLOURS = {"info": "default", "warning": "yellow", "statistics": "dim"}


class PlainLog:
    """One line an event: time, level, text."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, level: str, text: str) -> None:
        """Writes a line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(BrokenPipeError):
            print(f"{stamp} {level:<10} {text}", file=self._file, flush=True)


class Dashboard:
    """A screen of a run. Raises InputError where rich is missing."""

    def __init__(self) -> None:
        try:
            from rich.live import Live as Screen
        except ImportError as error:
            raise InputError("the dashboard needs the package rich: install it, or use --plain") from error
        self._screen_type = Screen
        self._screen: Any = None
        self._log: deque[tuple[str, str, str]] = deque(maxlen=200)
        self._live: Live | None = None

    def log(self, level: str, text: str) -> None:
        """Remembers a line for the log panel."""
        self._log.append((time.strftime("%H:%M:%S"), level, text))

    @contextlib.contextmanager
    def shown(self, live: Live, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Takes the terminal over, and gives it back."""
        self._live = live
        with contextlib.ExitStack() as stack:
            if sys.stdin.isatty():
                stack.enter_context(self._keys(live, loop))
            self._screen = self._screen_type(self.render(), screen=True, auto_refresh=False, redirect_stderr=False)
            stack.enter_context(self._screen)
            yield

    @contextlib.contextmanager
    def _keys(self, live: Live, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)

        def pressed() -> None:
            for key in os.read(terminal, 64).decode(errors="ignore").lower():
                if key == "q":
                    live.stop()
                elif key == "k":
                    live.halt()
                elif key == "r":
                    live.resume()

        loop.add_reader(terminal, pressed)
        try:
            yield
        finally:
            loop.remove_reader(terminal)
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)

    def refresh(self) -> None:
        """Draws the newest state."""
        if self._screen is not None:
            self._screen.update(self.render(), refresh=True)

    # -- what it shows ----------------------------------------------------------------------------------------------

    def render(self) -> Any:
        """The whole screen."""
        from rich.console import Group
        from rich.text import Text

        live = self._live
        if live is None or not live.lines:
            waiting = [Text("cwts: asking the exchange about the instruments …", style="dim")]
            return Group(*waiting, *self._log_rows(10))
        parts = [self._header(live)]
        several = len(live.lines) > 1
        parts += [self._compact(live)] if several else self._full(live, live.lines[0])
        parts += [self._links(live), *self._log_rows(8), Text("q quit   k kill switch   r resume", style="dim")]
        return Group(*parts)

    def _header(self, live: Live) -> Any:
        from rich.text import Text

        now = live.now()
        text = Text.assemble(
            ("CWTS ", "bold"), f"{live.options.exchange}  paper  up {_span((now - live.started_ns) / 1e9)}  ",
            f"engine {live.options.engine} ({live.lines[0].engine.isa})  ",
        )  # fmt: skip
        if any(int(line.engine.view["header"]["halted"]) for line in live.lines):
            text.append(" HALTED ", "bold white on red")
        return text

    def _full(self, live: Live, line: Line) -> list[Any]:
        from rich.columns import Columns
        from rich.panel import Panel

        return [
            Columns([
                Panel(self._book(live, line), title=_title(line), border_style="green" if line.sink.synced else "red"),
                Panel(self._features(line), title="features"),
                Panel(self._account(live, line), title="decision, position, latency"),
            ])
        ]  # fmt: skip

    def _book(self, live: Live, line: Line) -> Any:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(justify="right")
        instrument, view = line.setup.instrument, line.engine.view
        sides = [view["side"][side] for side in (layout.Side.BID, layout.Side.ASK)]
        table.add_row("bid qty", "bid", "ask", "ask qty", style="dim")

        def cell(side: int, level: int) -> tuple[str, str]:
            if not line.sink.synced or level >= int(sides[side]["top_count"]):
                return "", ""
            top = sides[side]["top"][level]
            price, qty = int(top["price"]), int(top["qty"])
            return plain(price, instrument.price_decimals), plain(qty, instrument.qty_decimals)

        for level in range(LEVELS):
            (bid, bid_qty), (ask, ask_qty) = cell(0, level), cell(1, level)
            table.add_row(bid_qty, f"[green]{bid}[/]", f"[red]{ask}[/]", ask_qty)
        sync = view["sync"]
        if line.sink.synced:
            age = (live.now() - int(sync["book_ns"])) / 1e9
            table.add_row("age", f"{age:.1f} s", "gaps", str(int(view["counters"]["gaps"])), style="dim")
        else:
            why = layout.SyncReason(int(sync["reason"])).name.lower().replace("_", " ")
            table.add_row("", "[red]not valid[/]", why, "")
        return table

    @staticmethod
    def _features(line: Line) -> Any:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(justify="right")
        values = line.engine.view["features"]["value"]
        for feature in layout.Feature:
            table.add_row(feature.name.lower().replace("_", " "), f"{float(values[feature]):+.3f}")
        return table

    @staticmethod
    def _account(live: Live, line: Line) -> Any:
        from rich.table import Table

        from cwts.run import STAGES, percentiles

        view, instrument = line.engine.view, line.setup.instrument
        decision, account = view["decision"], view["account"]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        action, reason = layout.Action(int(decision["action"])), layout.Reason(int(decision["reason"]))
        table.add_row("decision", f"{action.name.lower()} ({reason.name.lower().replace('_', ' ')})")
        table.add_row("score", f"{float(decision['score']):+.3f}")
        table.add_row("position", f"{plain(int(account['position_e8']), 8)} {instrument.base}")
        table.add_row("equity", f"{plain(int(account['equity_e8']), 8)} {instrument.settle}")
        profit = int(account["equity_e8"]) - int(view["config"]["capital_e8"])
        table.add_row("profit", f"[{'green' if profit >= 0 else 'red'}]{plain(profit, 8)}[/] {instrument.settle}")
        table.add_row("fees", plain(int(account["fees_e8"]), 8))
        table.add_row("fills", f"{int(account['fills'])} ({int(account['wins'])} won, {int(account['losses'])} lost)")
        for name, stage in STAGES.items():
            found = percentiles(line.engine, stage)
            table.add_row(name, "  ".join(f"{key} {_us(value)}" for key, value in found.items()))
        table.add_row("ticks", f"{line.sink.frames:,}, {line.sink.over_budget} above {live.options.budget_ms:g} ms")
        if line.sink.lost:
            table.add_row("[red]lost[/]", f"{line.sink.lost:,} frames in {line.sink.overflows} overflows")
        if line.recorder is not None:
            table.add_row(
                "recorded", f"{line.recorder.written_frames:,} frames, {line.recorder.written_bytes / 1e6:.1f} MB"
            )
        return table

    def _compact(self, live: Live) -> Any:
        from rich.table import Table

        table = Table(box=None)
        for name in ("symbol", "book", "bid", "ask", "decision", "score", "position", "equity", "gaps", "ticks"):
            table.add_column(name, justify="right")
        for line, book in zip(live.lines, live.session.books, strict=True):
            view, decimals = line.engine.view, line.setup.instrument.price_decimals
            touch, decision, account = view["sync"]["touch"], view["decision"], view["account"]
            table.add_row(
                line.symbol,
                "[red]given up[/]" if book.given_up else "[green]valid[/]" if line.sink.synced else "[red]not valid[/]",
                plain(int(touch[0]["price"]), decimals),
                plain(int(touch[1]["price"]), decimals),
                layout.Action(int(decision["action"])).name.lower(),
                f"{float(decision['score']):+.3f}",
                plain(int(account["position_e8"]), 8),
                plain(int(account["equity_e8"]), 8),
                str(int(view["counters"]["gaps"])),
                f"{line.sink.frames:,}",
            )
        return table

    @staticmethod
    def _links(live: Live) -> Any:
        from rich.table import Table

        table = Table(box=None, title="connections", title_justify="left", title_style="dim")
        for name in ("role", "state", "age", "silent", "messages", "lost", "rotated", "last error"):
            table.add_column(name)
        links = live.session.health(live.now())["links"]
        assert isinstance(links, list)
        for link in links:
            colour = {"open": "green", "idle": "dim"}.get(str(link["state"]), "yellow")
            table.add_row(
                f"{link['role']}{'AB'[link['replica']] if link['replica'] < 2 else link['replica']}",
                f"[{colour}]{link['state']}[/]",
                _span(link["age"]),
                _span(link["silent"]),
                f"{link['messages']:,}",
                str(link["losses"]),
                str(link["rotations"]),
                str(link["error"]),
            )
        return table

    def _log_rows(self, count: int) -> list[Any]:
        from rich.text import Text

        return [
            Text(f"{stamp} {text}", style=_COLOURS.get(level, "default"), no_wrap=True, overflow="ellipsis")
            for stamp, level, text in list(self._log)[-count:]
        ]


def _title(line: Line) -> str:
    return f"{line.symbol} {'' if line.sink.synced else '(not valid)'}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _us(ns: int | None) -> str:
    return "–" if ns is None else f"{ns / 1000:.0f} µs" if ns < 10_000_000 else f"{ns / 1e6:.0f} ms"
