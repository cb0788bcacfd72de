"""Replays a recording through the engine, one message at a time, and sums up what came of it.

Owns the result that `cwts replay` prints. Reading the recording, the units and the engine itself are others' business.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cwts.config import Settings, build_config
from cwts.instruments import Instrument, guess_instrument
from cwts.kernel import Engine, layout, plain
from cwts.networks import command_frames, load_payloads
from cwts.recording import FRAME, Recording, Survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from numpy.typing import NDArray

RECORDED = "the engine is set up as it was when this was recorded"


@dataclass(frozen=True)
class Setup:
    """What a recording of one instrument needs to be replayed: the same in a terminal and in a page."""

    survey: Survey
    instrument: Instrument
    settings: Settings
    config: bytes
    notes: tuple[str, ...]  # what the person should know: guesses and limits
    warnings: tuple[str, ...]  # where the recording contradicts what was given
    start: tuple[bytes, ...] = ()  # commands that the session begins with: networks. A recording of frames has its own

    @classmethod
    def live(
        cls,
        exchange: str,
        symbol: str,
        instrument: Instrument,
        settings: Settings,
        price: Decimal | None,
        notes: tuple[str, ...],
    ) -> Setup:
        """The same for data that is still to come. `price`: a recent one, where there is any. Raises InputError."""
        survey = Survey(exchange, symbol, 0, 0, 0, instrument.price_decimals, instrument.qty_decimals, price, 0, 0)
        config = build_config(instrument, settings, price)
        return cls(survey, instrument, settings, config, notes, (), load_payloads(settings.networks))

    def engine(self, kernel: str = "native") -> Engine:
        """A fresh engine, set up, before the first message."""
        engine = Engine(self.config, kernel=kernel)
        engine.feed(command_frames(self.start))
        return engine

    def engine_for(self, recording: Recording, kernel: str = "native") -> tuple[Engine, tuple[str, ...]]:
        """The same; where the recording begins with an engine's block, the engine goes on from there.

        Also returns what a person should know about that.
        """
        engine = self.engine(kernel)
        state = recording.state()
        if state is None:
            return engine, ()
        fresh = engine.block.copy()
        why = "written by another version of cwts"
        try:
            engine.restore(state)
            if engine.view["config"].tobytes() == self.config:
                return engine, ("this file begins in the middle of a session: the engine starts as it was there",)
            why = "with other settings"
        except ValueError:
            pass
        engine.block[:] = fresh
        middle = "this file begins in the middle of a session"
        return engine, (f"{middle}, but {why}: it starts without a book, until the next snapshot",)


def prepare(
    recording: Recording,
    exchange: str,
    symbol: str,
    *,
    instrument: Instrument | None = None,
    settings: Settings | None = None,
) -> Setup:
    """The first pass over a recording and the engine's configuration for it. Raises InputError."""
    recorded = recording.description(exchange, symbol)
    survey = recording.survey(exchange, symbol)
    notes: list[str] = []
    warnings: list[str] = []
    if recording.torn_bytes:
        warnings.append(f"the last {recording.torn_bytes:,} bytes were torn by a crash and are left out")
    if recorded is not None and instrument is None:
        instrument = recorded.instrument
        if settings in (None, Settings()) and len(recorded.config) == layout.CONFIG.itemsize and instrument:
            notes.append(RECORDED)
            return Setup(survey, instrument, Settings(), recorded.config, tuple(notes), tuple(warnings))
    settings = settings or Settings()
    if instrument is None:
        instrument = guess_instrument(exchange, survey.symbol, survey.price_decimals, survey.qty_decimals)
        notes.append("no instruments file: minimum order sizes are not known and taken as none")
    else:
        finer = instrument.with_decimals(survey.price_decimals, survey.qty_decimals)
        if finer != instrument:
            warnings.append(
                f"{instrument.symbol}: the recording has {survey.price_decimals} decimals in prices and "
                f"{survey.qty_decimals} in quantities, the instruments file {instrument.price_decimals} and "
                f"{instrument.qty_decimals}: the finer ones are used"
            )
            instrument = finer
    notes += instrument.limits()
    config = build_config(instrument, settings, survey.reference_price)
    start = () if recorded is not None else load_payloads(settings.networks)
    return Setup(survey, instrument, settings, config, tuple(notes), tuple(warnings), start)


def replay(
    recording: Recording,
    setup: Setup,
    *,
    kernel: str = "native",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Feeds the whole recording, each message by itself and timed, and returns the result as plain JSON values.

    `progress` is called with the share of the recording that has been read.
    """
    engine, notes = setup.engine_for(recording, kernel)
    valid = bool(engine.view["sync"]["synced"])
    started = time.perf_counter()
    times: list[NDArray[np.int64]] = []
    depth: list[NDArray[np.bool_]] = []
    is_depth = b'"channel":"books' if setup.survey.exchange == "okx" else b'"depthUpdate"'
    for frames in recording.batches():
        times.append(np.asarray(engine.feed_each(frames), np.int64))
        depth.append(_marked(frames, is_depth))
        if progress:
            progress(recording.bytes_read / max(1, recording.bytes_total))
    elapsed = time.perf_counter() - started
    all_ns = np.concatenate(times) if times else np.empty(0, np.int64)
    depth_ns = all_ns[np.concatenate(depth)] if times else all_ns
    result = summary(engine, setup)
    result["engine"] = kernel
    result["notes"] += notes + never_valid(engine, valid)
    result["malformed"] += recording.malformed
    result["ns_per_message"] = _percentiles(all_ns)
    result["ns_per_depth_message"] = _percentiles(depth_ns)
    result["elapsed_s"] = round(elapsed, 3)
    return result


def never_valid(engine: Engine, began_valid: bool) -> tuple[str, ...]:
    """After a recording: what a person should know where it could not make a book. `began_valid`: there was one."""
    if began_valid or engine.view["counters"]["snapshots"]:
        return ()
    return ("there is no snapshot of the book in the recording: the book was never valid",)


def summary(engine: Engine, setup: Setup) -> dict[str, Any]:
    """The state of an engine as plain JSON values; numbers that must be exact are decimal strings."""
    view = engine.view
    counters = view["counters"]
    instrument = setup.instrument
    synced = bool(view["sync"]["synced"])
    bids, asks = engine.levels(layout.Side.BID)[0], engine.levels(layout.Side.ASK)[0]
    account = view["account"]

    def best(prices: NDArray[np.int64]) -> str | None:
        return plain(int(prices[0]), instrument.price_decimals) if synced and len(prices) else None

    return {
        "exchange": setup.survey.exchange,
        "symbol": instrument.symbol,
        "messages": int(counters["messages"]),
        "ignored": int(counters["ignored"]),
        "malformed": int(counters["malformed"]),
        "applied": int(counters["applied"]),
        "synced": synced,
        "gaps": int(counters["gaps"]),
        "snapshots": int(counters["snapshots"]),
        "bids": len(bids) if synced else 0,
        "asks": len(asks) if synced else 0,
        "best_bid": best(bids),
        "best_ask": best(asks),
        "checksum_ok": int(counters["checksum_ok"]),
        "checksum_bad": int(counters["checksum_bad"]),
        "trades": int(counters["trades"]),
        "decisions": {action.name.lower(): int(counters["decisions"][action]) for action in layout.Action},
        "account": {
            "asset": instrument.settle,
            "capital": plain(int(view["config"]["capital_e8"]), 8),
            "equity": plain(int(account["equity_e8"]), 8),
            "realised": plain(int(account["realised_e8"]), 8),
            "fees": plain(int(account["fees_e8"]), 8),
            "drawdown": plain(int(account["drawdown_e8"]), 8),
            "position": plain(int(account["position_e8"]), 8),
            "orders": int(account["orders"]),
            "fills": int(account["fills"]),
            "wins": int(account["wins"]),
            "losses": int(account["losses"]),
        },
        "price_decimals": instrument.price_decimals,
        "qty_decimals": instrument.qty_decimals,
        "book_sha256": engine.book_sha256(),
        "block_sha256": engine.block_sha256(),
        "notes": list(setup.notes),
    }


def human(result: dict[str, Any]) -> str:
    """The result as a few lines for a person."""
    if result["synced"]:
        book = f"{result['bids']:,} bids, {result['asks']:,} asks, best {result['best_bid']} / {result['best_ask']}"
    else:
        book = "not valid at the end"
    account, each, deep = result["account"], result["ns_per_message"], result["ns_per_depth_message"]
    decisions = ", ".join(f"{count:,} {name}" for name, count in result["decisions"].items())
    messages = (
        f"{result['messages']:,} ({result['applied']:,} book updates applied, {result['trades']:,} trades, "
        f"{result['ignored']:,} passed over, {result['malformed']:,} malformed)"
    )
    paper = (
        f"{account['capital']} to {account['equity']} {account['asset']}, {account['fills']} fills, "
        f"fees {account['fees']}, largest fall {account['drawdown']}"
    )
    rows = [
        (f"{result['symbol']} on {result['exchange']}", f"engine {result['engine']}, {result['elapsed_s']:.2f} s"),
        ("messages", messages),
        ("book", f"{book}; gaps {result['gaps']}, snapshots {result['snapshots']}"),
    ]
    if result.get("given_up"):  # of a live run
        rows.append(("given up", result["given_up"]))
    if result["checksum_ok"] or result["checksum_bad"]:
        rows.append(("checksums", f"{result['checksum_ok']:,} right, {result['checksum_bad']:,} wrong"))
    rows += [("decisions", decisions), ("paper account", paper)]
    if each["p50"] is not None:
        per_depth = f"; book updates {deep['p50']} ns, {deep['p99']} ns" if deep["p50"] is not None else ""
        rows.append(
            ("a message", f"{each['p50']} ns in the middle, {each['p99']} ns at the 99th percentile{per_depth}")
        )
    rows += [("book sha256", result["book_sha256"]), ("block sha256", result["block_sha256"])]
    rows += [("note", note) for note in result["notes"]]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


class TerminalProgress:
    """One line on a terminal's stderr that is rewritten ten times a second, and nothing anywhere else."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done()

    def __call__(self, share: float) -> None:
        """Shows how much of the recording has been read."""
        if self._on and (now := time.monotonic()) >= self._next:
            self._next = now + 0.1
            sys.stderr.write(f"\rreplaying {min(share, 1):4.0%}")
            sys.stderr.flush()

    def done(self) -> None:
        """Clears the line."""
        if self._on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _marked(frames: bytearray, mark: bytes) -> NDArray[np.bool_]:
    """For each frame of a batch, whether its payload contains `mark`."""
    marked: list[bool] = []
    add, unpack, find, size = marked.append, FRAME.unpack_from, frames.find, FRAME.size
    position, end = 0, len(frames)
    while position < end:
        length = unpack(frames, position)[1]
        start = position + size
        add(find(mark, start, start + length) >= 0)
        position = start + (length + 7 & ~7)
    return np.array(marked, np.bool_)


def _percentiles(ns: NDArray[np.int64]) -> dict[str, int | None]:
    if not len(ns):
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(ns, [50, 99])
    return {"p50": round(float(p50)), "p99": round(float(p99))}
