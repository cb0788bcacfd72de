"""`cwts run` and `cwts record`: live market data through the engine, headless, until someone stops it.

Owns the life of such a run: what is asked about the instruments, engines and recorders, statistics, signals, the
clean end and the summary. Protocols are `cwts.exchanges`', sockets `cwts.transport`'s, what a terminal shows
`cwts.dashboard`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cwts.config import Settings
from cwts.errors import CwtsError, InputError
from cwts.exchanges import (
    book_url,
    endpoints_of,
    finer,
    instruments_of,
    instruments_url,
    moved,
    price_of,
    session,
    together,
)
from cwts.exchanges.base import SECOND, Policy
from cwts.instruments import load_instrument
from cwts.kernel import Engine, layout, plain
from cwts.metrics import MetricsServer, Sample, prometheus
from cwts.networks import OWN_STREAM
from cwts.recorder import Description, LineRecorder, Recorder, repair
from cwts.replay import Setup, summary
from cwts.transport.sink import Sink

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence

    from cwts.instruments import Instrument
    from cwts.transport.native import NativeHost

T = TypeVar("T")

STATISTICS_TICKS = 1000
PROGRESS_S = 5.0  # between lines about the first questions
PATIENCE_S = 180.0  # at the start: an exchange that asks us to wait longer ends the run
WARN_S = 1.0  # at most one warning about slow ticks in this time
STAGES = {"queue": layout.Stage.QUEUE, "feed": layout.Stage.FEED, "total": layout.Stage.TOTAL}


@dataclass(frozen=True)
class Options:
    """What a person asked for."""

    exchange: str
    symbols: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    endpoints: dict[str, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    ca_file: str | None = None
    instruments: str | None = None
    engine: str = "native"
    record: Path | None = None
    record_format: str = "frames"
    budget_ms: float = 10.0
    duration_s: float = 0.0  # 0: until stopped
    metrics: int | None = None
    metrics_host: str = "127.0.0.1"
    pin: int | None = None
    realtime: bool = False
    seed: int = 0


def endpoint_options(exchange: str, simulate: str | None, changes: Sequence[str]) -> dict[str, str]:
    """The addresses that `--simulate URL` and `--endpoint [KIND=]URL` ask for. Raises InputError."""
    found: dict[str, str] = {}
    if simulate is not None:
        moved(exchange, simulate)  # what is wrong with it is told as it was typed
        found |= moved(exchange, f"{simulate.rstrip('/')}/{exchange}")
    for change in changes:
        kind, equals, url = change.partition("=")
        if equals and "/" not in kind:
            found[kind] = url
        else:
            found |= moved(exchange, change)
    return endpoints_of(exchange, found)


@dataclass
class Line:
    """One instrument of a run."""

    symbol: str
    setup: Setup
    engine: Engine
    sink: Sink
    recorder: Recorder | LineRecorder | None
    statistics: int = 0  # blocks of STATISTICS_TICKS that were told
    over_budget: int = 0


class Live:
    """A run. `log(level, text)`: for people; `show`: called four times a second with `state()` and `health()`."""

    def __init__(self, options: Options, log: Callable[[str, str], None]) -> None:
        from cwts.transport.native import clock, tls_context

        self.options = options
        self.log = log
        self.now = clock()
        self.started_ns = self.now()
        self.lines: list[Line] = []
        self.session = session(options.exchange, options.symbols, options.endpoints, options.policy, options.seed)
        self.context: ssl.SSLContext = tls_context(options.ca_file)
        self.host: NativeHost | None = None
        self.metrics: MetricsServer | None = None
        self.show: Callable[[], None] | None = None
        self._warned = 0.0
        self._stop = asyncio.Event()
        self._calm_s = 0.0  # of the loop's time: nothing is asked before
        self._told_s = 0.0  # when the progress of the first questions was told

    # -- the life of a run ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until stopped. Raises CwtsError or InputError."""
        from cwts.transport.native import NativeHost

        options = self.options
        _schedule(options)
        if options.record is not None:
            for text in repair(options.record) if options.record.is_dir() else []:
                self.log("warning", text)
        ending = asyncio.get_running_loop().call_later(options.duration_s, self.stop) if options.duration_s else None
        try:
            found = await self._unless_stopped(self._describe())
            if found is None:
                return
            for setup in found:
                self.lines.append(self._line(setup))
            self.host = NativeHost(
                self.session,
                [line.sink for line in self.lines],
                self.now,
                context=self.context,
                on_events=self._events,
                log=self.log,
            )
            if options.metrics is not None:
                self.metrics = MetricsServer(options.metrics, self.prometheus, self.well, options.metrics_host)
                await self.metrics.start()
                self.log("info", f"metrics at http://{options.metrics_host}:{self.metrics.port}/metrics")
            beat = asyncio.create_task(self._beat())
            try:
                if not self._stop.is_set():
                    await self.host.run()
            finally:
                beat.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beat
                if self.metrics is not None:
                    await self.metrics.stop()
        finally:
            if ending is not None:
                ending.cancel()
            self._close_recorders()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What it returns; None where `stop` was called before."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            while not task.done() and not stopped.done():
                await asyncio.wait({task, stopped}, timeout=0.25, return_when=asyncio.FIRST_COMPLETED)
                if self.show is not None:
                    self.show()
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stopped.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    def _close_recorders(self) -> None:
        """Closes all, also where one cannot be. Raises the first one's CwtsError."""
        errors = []
        for line in self.lines:
            if line.recorder is not None:
                try:
                    line.recorder.close()
                except CwtsError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def stop(self) -> None:
        """Ends the run cleanly: what came is fed and written."""
        self._stop.set()
        if self.host is not None:
            self.host.stop()

    def halt(self) -> None:
        """The kill switch: close the position, open nothing."""
        if self.host is not None:
            self.host.command(layout.CommandOp.HALT)
            self.log("warning", "halted: positions are closed and none is opened until you resume")

    def resume(self) -> None:
        """Ends the halt that a person made; that of the loss limit stays."""
        if self.host is not None:
            self.host.command(layout.CommandOp.RESUME)
            self.log("info", "resumed: positions may be opened again, but not where the loss limit was reached")

    async def _beat(self) -> None:
        assert self.host is not None
        while True:
            await asyncio.sleep(0.25)
            try:
                for line in self.lines:
                    if line.recorder is not None:
                        line.recorder.tick()
                        if isinstance(line.recorder, Recorder) and line.recorder.error:
                            raise CwtsError(line.recorder.error)
                if self.show is not None:
                    self.show()
            except Exception as error:  # noqa: BLE001 - it must end the run, not only the beat
                self.host.crash(error)
                return

    # -- instruments ------------------------------------------------------------------------------------------------

    async def _describe(self) -> list[Setup]:
        """Asks the exchange what the instruments are. Raises CwtsError or InputError.

        A first book is needed before the session's own: an engine is made for as many decimals as there are in it, and
        for its price. All is paid from the session's budget, since the snapshots that follow are.
        """
        options, endpoints = self.options, self.session.endpoints
        exchange, symbols = options.exchange, [symbol.upper() for symbol in options.symbols]
        known: dict[str, Instrument] = {}
        if options.instruments is not None:
            known = {symbol: load_instrument(options.instruments, exchange, symbol) for symbol in symbols}
        else:
            asked = together(exchange, symbols)
            while asked:
                group = asked.pop()
                status, answer = await self._get(instruments_url(exchange, endpoints, group), self.session.rules_weight)
                if status != 200 and len(group) > 1:  # one of them is unknown: asked by itself it is told which
                    asked += [[symbol] for symbol in reversed(group)]
                    continue
                known |= zip(group, instruments_of(exchange, group, status, answer), strict=True)
        setups: list[Setup] = []

        async def one(symbol: str) -> Setup:
            status, answer = await self._get(
                book_url(exchange, endpoints, symbol),
                self.session.book_weight,
                lambda: f"{len(setups)} of {len(symbols)}",
            )
            price = price_of(exchange, answer) if status == 200 else None
            instrument = finer(exchange, known[symbol], answer)
            if price is None:
                self.log("warning", f"{symbol}: no price yet, so spread and slippage are not limited")
            setups.append(Setup.live(exchange, symbol, instrument, options.settings, price, instrument.limits()))
            return setups[-1]

        tasks = [asyncio.create_task(one(symbol)) for symbol in symbols]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _get(self, url: str, weight: int, progress: Callable[[], str] | None = None) -> tuple[int, bytes]:
        """GET, as soon as the budget allows it. Waits where the exchange asks for it. Raises CwtsError."""
        from cwts.transport.native import ask, explain

        now, end = asyncio.get_running_loop().time, None
        while True:
            wait = max(self._calm_s - now(), 0) or self.session.budget.wait_ns(self.now(), weight) / SECOND
            if wait:
                if progress is not None and now() - self._told_s > PROGRESS_S:
                    self._told_s = now()
                    self.log("info", f"{progress()} first books: the exchange's limit allows the next in {wait:.0f} s")
                await asyncio.sleep(wait)
                continue
            try:
                status, body, retry_ns = await ask(url, self.context)
            except (OSError, ValueError, HTTPException) as error:  # ValueError: no host has such a name
                raise CwtsError(explain(error, url)[0]) from error
            if status not in (418, 429):
                return status, body
            wait = max(retry_ns / SECOND, 1.0)
            end = now() + PATIENCE_S if end is None else end
            if now() + wait > end:
                raise CwtsError(
                    f"{self.options.exchange}: too many requests (HTTP {status}): come back in {wait:.0f} s"
                )
            if now() + wait > self._calm_s:
                self._calm_s = now() + wait
                self.log("warning", f"too many requests (HTTP {status}): asking again in {wait:.0f} s")

    def _line(self, setup: Setup) -> Line:
        options = self.options
        engine = Engine(setup.config, kernel=options.engine)
        recorder: Recorder | LineRecorder | None = None
        if options.record is not None:
            description = Description(
                setup.survey.exchange, setup.survey.symbol, setup.instrument, setup.config, {}, self.started_ns
            )
            if options.record_format == "lines":
                recorder = LineRecorder(options.record, description)
            else:
                recorder = Recorder(options.record, description, state=engine.block.tobytes)
            self.log("info", f"recording to {recorder.files[0]}")
        sink = Sink(engine, self.now, tap=recorder.tap if recorder else None, budget_ns=int(options.budget_ms * 1e6))
        for payload in setup.start:
            sink.push(self.now(), OWN_STREAM, payload, int(layout.Kind.COMMAND))
        sink.flush()
        for note in setup.notes:
            self.log("info", f"{setup.survey.symbol}: {note}")
        return Line(setup.survey.symbol, setup, engine, sink, recorder)

    # -- while it runs ----------------------------------------------------------------------------------------------

    def _events(self, index: int, bits: int) -> None:
        line = self.lines[index]
        sink = line.sink
        if bits & layout.Event.SYNCED and sink.synced:
            self.log("info", f"{line.symbol}: the book is valid: {self._touch(line)}")
        if bits & layout.Event.ACTION:
            decision = line.engine.view["decision"]
            action, reason = layout.Action(int(decision["last_action"])), layout.Reason(int(decision["last_reason"]))
            self.log(
                "info",
                f"{line.symbol}: {action.name.lower()} because of {reason.name.lower()}, score "
                f"{float(decision['last_score']):+.3f}, {self._touch(line)}",
            )
        if sink.over_budget > line.over_budget and time.monotonic() - self._warned > WARN_S:
            self._warned = time.monotonic()
            more = sink.over_budget - line.over_budget
            line.over_budget = sink.over_budget
            self.log(
                "warning",
                f"{line.symbol}: {more} tick{'s' if more > 1 else ''} above the budget of {self.options.budget_ms:g} "
                f"ms, the slowest {sink.slowest_ns / 1e6:.1f} ms",
            )
        if sink.frames // STATISTICS_TICKS > line.statistics:
            line.statistics = sink.frames // STATISTICS_TICKS
            self.log("statistics", f"{line.symbol}: {self._statistics(line)}")

    def _touch(self, line: Line) -> str:
        decimals = line.setup.instrument.price_decimals
        touch = line.engine.view["sync"]["touch"]
        return f"{plain(int(touch[0]['price']), decimals)} / {plain(int(touch[1]['price']), decimals)}"

    def _statistics(self, line: Line) -> str:
        counters, account = line.engine.view["counters"], line.engine.view["account"]
        total = percentiles(line.engine, layout.Stage.TOTAL)
        return (
            f"{line.sink.frames:,} ticks, {int(counters['applied']):,} updates, {int(counters['trades']):,} trades, "
            f"{int(counters['gaps'])} gaps, book {'valid' if line.sink.synced else 'not valid'} {self._touch(line)}, "
            f"equity {plain(int(account['equity_e8']), 8)}, "
            f"socket to decision p50 {_us(total['p50'])} p99 {_us(total['p99'])}"
        )

    # -- for others -------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """What `cwts replay --json` would say of each instrument, and the state of the connections."""
        health = self.session.health(self.now())
        found = {}
        for line, book in zip(self.lines, self.session.books, strict=False):
            result = summary(line.engine, line.setup)
            feed = percentiles(line.engine, layout.Stage.FEED)
            result["engine"] = self.options.engine
            result["ns_per_message"] = {"p50": feed["p50"], "p99": feed["p99"]}
            result["ns_per_depth_message"] = {"p50": None, "p99": None}
            result["elapsed_s"] = round((self.now() - self.started_ns) / SECOND, 3)
            result["latency"] = {name: percentiles(line.engine, stage) for name, stage in STAGES.items()}
            result["ticks"] = line.sink.frames
            result["over_budget"] = line.sink.over_budget
            result["lost"] = line.sink.lost
            result["given_up"] = book.given_up
            result["overflows"] = line.sink.overflows
            result["recording"] = [str(path) for path in line.recorder.files] if line.recorder else []
            found[line.symbol] = result
        if len(found) == 1:
            return {**next(iter(found.values())), "connections": health["links"]}
        return {"exchange": self.options.exchange, "symbols": found, "connections": health["links"]}

    def well(self) -> tuple[bool, dict[str, Any]]:
        """Whether all books are valid, but for those of instruments that were given up, and the exchange is heard.

        How old a book is says nothing: a thinly traded one is as old as its last change, and the connection tells that
        it still holds. What has fallen silent altogether the session drops, and its books with it.
        """
        now = self.now()
        books: dict[str, dict[str, Any]] = {}
        for line, known in zip(self.lines, self.session.books, strict=False):
            sync = line.engine.view["sync"]
            age = (now - int(sync["book_ns"])) / SECOND if int(sync["book_ns"]) else None
            books[line.symbol] = {"synced": line.sink.synced, "age_s": age, "given_up": known.given_up}
        links = self.session.health(now)["links"]
        assert isinstance(links, list)
        silence = [
            link["silent"] for link in links if link["role"] == self.session.book_role and link["state"] == "open"
        ]
        bad = [symbol for symbol, book in books.items() if not book["given_up"] and not book["synced"]]
        if not books:
            why = "starting"
        elif bad:
            why = f"the book of {', '.join(bad)} is not valid"
        elif min(silence, default=math.inf) > self.options.policy.drop_ns / SECOND:
            why = f"nothing is heard from {self.options.exchange}"
        else:
            why = ""
        return not why, {
            "well": not why,
            "why": why,
            "books": books,
            "uptime_s": round((now - self.started_ns) / SECOND, 1),
        }

    def prometheus(self) -> str:
        """Everything as Prometheus text."""
        now = self.now()
        samples: list[Sample] = [("uptime_seconds", {}, (now - self.started_ns) / SECOND)]
        for line, book in zip(self.lines, self.session.books, strict=False):
            label = {"exchange": self.options.exchange, "symbol": line.symbol}
            view, sink = line.engine.view, line.sink
            counters, account, sync = view["counters"], view["account"], view["sync"]
            samples += [
                ("book_synced", label, float(sink.synced)),
                ("given_up", label, float(bool(book.given_up))),
                ("book_age_seconds", label, (now - int(sync["book_ns"])) / SECOND if int(sync["book_ns"]) else -1.0),
                ("ticks_total", label, sink.frames),
                ("over_budget_total", label, sink.over_budget),
                ("lost_frames_total", label, sink.lost),
                ("overflows_total", label, sink.overflows),
                ("equity", label, int(account["equity_e8"]) / 1e8),
                ("position", label, int(account["position_e8"]) / 1e8),
                ("fills_total", label, int(account["fills"])),
            ]
            samples += [
                (f"{name}_total", label, int(counters[name]))
                for name in ("messages", "bytes", "applied", "gaps", "snapshots", "trades", "malformed", "stale")
            ]
            samples += [
                ("decisions_total", {**label, "action": action.name.lower()}, int(counters["decisions"][action]))
                for action in layout.Action
            ]
            for name, stage in STAGES.items():
                for key, value in percentiles(line.engine, stage).items():
                    if value is not None:
                        samples.append(("latency_seconds", {**label, "stage": name, "quantile": key}, value / 1e9))
        links = self.session.health(now)["links"]
        assert isinstance(links, list)
        for link in links:
            label = {"exchange": self.options.exchange, "role": str(link["role"]), "replica": str(link["replica"])}
            samples += [
                ("connection_open", label, float(link["state"] == "open")),
                ("connects_total", label, link["connects"]),
                ("losses_total", label, link["losses"]),
                ("rotations_total", label, link["rotations"]),
                ("connection_messages", label, link["messages"]),
                ("garbage_total", label, link["garbage"]),
            ]
        return prometheus(samples, _HELPS)


_HELPS = {
    "uptime_seconds": ("gauge", "Seconds since the start."),
    "book_synced": ("gauge", "1 while the book is valid."),
    "given_up": ("gauge", "1 where the exchange does not have the instrument any more."),
    "book_age_seconds": ("gauge", "Seconds since the newest update of the book; -1: none yet."),
    "ticks_total": ("counter", "Frames fed to the engine."),
    "over_budget_total": ("counter", "Batches that took longer than the budget."),
    "lost_frames_total": ("counter", "Frames dropped because the engine could not keep up."),
    "overflows_total": ("counter", "Times that the buffer in front of the engine overflowed."),
    "equity": ("gauge", "Paper equity in the settlement asset."),
    "position": ("gauge", "Paper position."),
    "latency_seconds": ("gauge", "Latency quantiles since the start, by stage."),
    "connection_open": ("gauge", "1 while the connection is open."),
    "connection_messages": ("gauge", "Messages on the connection that is open now."),
    "decisions_total": ("counter", "Decisions by action."),
}


def percentiles(engine: Engine, stage: int) -> dict[str, int | None]:
    """p50, p99 and p99.9 of a latency histogram in nanoseconds, to within 1/16; None where nothing was measured."""
    counts = np.asarray(engine.view["latency"][stage]["bucket"], np.int64)
    total = int(counts.sum())
    if not total:
        return {"p50": None, "p99": None, "p999": None}
    rising = np.cumsum(counts)

    def at(share: float) -> int:
        bucket = int(np.searchsorted(rising, share * total))
        octave, step = divmod(bucket, 16)
        return bucket if octave == 0 else (16 + step) << (octave - 1)

    return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}


def _us(ns: int | None) -> str:
    return "–" if ns is None else f"{ns / 1000:.0f} µs" if ns < 10_000_000 else f"{ns / 1e6:.0f} ms"


def _schedule(options: Options) -> None:
    """Core and priority. Raises InputError or CwtsError."""
    if options.pin is not None:
        if not hasattr(os, "sched_setaffinity"):
            raise InputError("--pin is not possible on this system")
        try:
            os.sched_setaffinity(0, {options.pin})
        except OSError as error:
            cores = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            raise InputError(f"there is no core {options.pin} to run on: there are {cores}") from error
    if options.realtime:
        if not hasattr(os, "sched_setscheduler"):
            raise InputError("--realtime is not possible on this system")
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        except OSError as error:
            raise CwtsError(
                f"real-time priority is not allowed here ({error.strerror}): it needs CAP_SYS_NICE"
            ) from error


def run(options: Options, *, look: str = "auto") -> dict[str, Any]:
    """Runs until stopped and returns the results. `look`: dashboard, plain, or auto (a dashboard on a terminal).

    Raises CwtsError or InputError.
    """
    from cwts.dashboard import Dashboard, PlainLog

    terminal = sys.stdout.isatty() and sys.stdin.isatty()
    if look == "auto":
        look = "dashboard" if terminal else "plain"
    plain_log = PlainLog(sys.stdout)
    log: Callable[[str, str], None] = plain_log
    dashboard: Dashboard | None = None
    if look == "dashboard":
        dashboard = Dashboard()
        log = dashboard.log
    live = Live(options, log)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, _stop, live, name)
        if dashboard is None:
            await live.run()
        else:
            with dashboard.shown(live, loop):
                live.show = dashboard.refresh
                await live.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return live.results()


def _stop(live: Live, name: signal.Signals) -> None:
    live.log("info", f"{name.name}: stopping")
    live.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
