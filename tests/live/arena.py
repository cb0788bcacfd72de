"""A session, its engine and the simulated exchange in one event loop (of warped time), and the one question to ask.

After every batch that the engine was fed, its book is either marked invalid or equal to the exchange's own at the
same id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.config import Settings, build_config
from cwts.exchanges import endpoints_of, finer, moved, session
from cwts.exchanges.base import MS, SECOND, Policy
from cwts.kernel import Engine, layout
from cwts.simulator import Simulator
from cwts.transport.native import NativeHost
from cwts.transport.sink import Sink
from live.warp import now_ns, warp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from cwts.simulator.faults import Fault

DATA = Path(__file__).parent.parent / "data"
DEPTH = 200  # levels a side that are compared after every batch: a snapshot holds at least 1,000

# exchange → recording, symbol, lines of it, how many times faster: more than a second each
FEEDS: dict[str, tuple[str, str, int, float]] = {
    "binance": ("binance-spot-btcusdt-20240808.gz", "BTCUSDT", 1600, 12.0),
    "binance-usdm": ("binance-usdm-btcusdt-20240808.gz", "BTCUSDT", 2600, 8.0),
    "binance-coinm": ("binance-coinm-btcusd_perp-20240808.gz", "BTCUSD_PERP", 1600, 9.0),
    "okx": ("okx-books-trades-tickers-20220513.gz", "BTC-USDT", 0, 8.0),
}

# As patient as a real run would be, in a fiftieth of the time.
HASTY = Policy(
    backoff_ns=10 * MS,
    backoff_cap_ns=150 * MS,
    stable_ns=400 * MS,
    connect_timeout_ns=2 * SECOND,
    answer_timeout_ns=SECOND,
    probe_ns=400 * MS,
    drop_ns=SECOND,
    stall_ns=5 * SECOND,
    overlap_ns=100 * MS,
    resync_ns=10 * MS,
    resync_cap_ns=150 * MS,
    give_up_ns=20 * SECOND,
)


@dataclass
class Outcome:
    """What came of a duel."""

    checked: int = 0  # batches after which the valid book was compared
    invalid: int = 0  # batches after which it was marked invalid
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    synced: bool = False
    engine_id: int = 0
    sim_id: int = 0
    engine_sha: str = ""
    sim_sha: str = ""
    gaps: int = 0
    resets: int = 0
    lost: int = 0
    messages: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)  # what happened at the exchange

    def check(self) -> None:
        """No wrong book, and in the end the exchange's own."""
        assert not self.wrong, self.wrong[:3]
        assert self.synced, self.notes[-10:]
        assert self.engine_id == self.sim_id, (self.engine_id, self.sim_id, self.notes[-10:])


class Truth:
    """The exchange's own best levels at every id it ever had, in the engine's units."""

    def __init__(self, market: Any, price_decimals: int, qty_decimals: int) -> None:
        self.at: defaultdict[int, list[tuple[np.ndarray, ...]]] = defaultdict(list)
        self._market = market
        self._units = Decimal(10) ** price_decimals, Decimal(10) ** qty_decimals
        self._known: dict[tuple[str, int], int] = {}
        apply = market.apply

        def watched(bids: Any, asks: Any, last_id: int) -> None:
            apply(bids, asks, last_id)
            self.note()

        market.apply = watched
        self.note()

    def note(self) -> None:
        """Remembers the book as it is now."""
        book = self._market.book
        self.at[book.last_id].append(tuple(array for ladder in book.sides for array in self._arrays(ladder.top(DEPTH))))

    def _arrays(self, levels: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.array([self._integer(level[0], 0) for level in levels], np.int64),
            np.array([self._integer(level[1], 1) for level in levels], np.int64),
        )

    def _integer(self, text: str, which: int) -> int:
        found = self._known.get((text, which))
        if found is None:
            found = self._known[text, which] = int(Decimal(text) * self._units[which])
        return found

    def wrong(self, engine: Engine) -> str:
        """Empty if the engine's book is one the exchange had at that id."""
        number = int(engine.view["sync"]["last_id"])
        ours = tuple(array[:DEPTH] for side in (0, 1) for array in engine.levels(side))
        candidates = self.at.get(number)
        if not candidates:
            return f"id {number}: the exchange never had it"
        for theirs in candidates:
            if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
                return ""
        return f"id {number}: the book differs"


@contextlib.asynccontextmanager
async def watch(outcome: Outcome, host: NativeHost) -> Any:
    """Runs a host, and raises what it raises."""
    task = asyncio.create_task(host.run())
    try:
        yield task
    finally:
        host.stop()
        await task


async def duel(
    exchange: str,
    faults: Iterable[Fault] = (),
    *,
    seed: int = 0,
    policy: Policy = HASTY,
    simulator: dict[str, Any] | None = None,
    lines: int | None = None,
    speed: float | None = None,
    context: ssl.SSLContext | None = None,
    sink: dict[str, Any] | None = None,
    script: Any = None,
    patience: float = 15.0,
    capture: bytes | None = None,
) -> Outcome:
    """Plays a recording with faults to a session; `script(sim, host)` may do more meanwhile."""
    name, symbol, all_lines, pace = FEEDS[exchange]
    options = {"lines": lines or all_lines, "speed": pace if speed is None else speed, "start": "first", "seed": seed}
    async with Simulator([capture or DATA / name], faults=list(faults), **options | (simulator or {})) as sim:
        market = sim.exchange(exchange).markets[symbol]
        instrument = finer(exchange, market.instrument, b"")
        engine = Engine(build_config(instrument, Settings(), Decimal(60000)))
        truth = Truth(market, instrument.price_decimals, instrument.qty_decimals)
        outcome = Outcome()
        now = now_ns
        way = Sink(engine, now, **(sink or {}))

        def fed(index: int, bits: int) -> None:
            del index, bits
            if not way.synced:
                outcome.invalid += 1
                return
            outcome.checked += 1
            if wrong := truth.wrong(engine):
                outcome.wrong.append(wrong)

        base = f"{'wss' if sim.tls else 'ws'}://{sim.host}:{sim.port}/{exchange}"
        machine = session(exchange, [symbol], endpoints_of(exchange, moved(exchange, base)), policy, seed)
        host = NativeHost(
            machine, [way], now, context=context, on_events=fed, log=lambda _, text: outcome.notes.append(text)
        )
        async with watch(outcome, host) as running:
            end = asyncio.ensure_future(sim.finished.wait())
            more = asyncio.ensure_future(script(sim, host)) if script else None
            waiting = {running, end, more} - {None}
            while not end.done() and not running.done():
                await asyncio.wait({t for t in waiting if not t.done()}, return_when=asyncio.FIRST_COMPLETED)
            if more is not None:
                await more
            end.cancel()
            for _ in range(int(patience * 50)):
                if running.done() or (way.synced and int(engine.view["sync"]["last_id"]) == market.book.last_id):
                    break
                await asyncio.sleep(0.02)
            sync = engine.view["sync"]
            outcome.synced, outcome.engine_id, outcome.sim_id = way.synced, int(sync["last_id"]), market.book.last_id
            if outcome.synced:
                outcome.engine_sha, outcome.sim_sha = engine.book_sha256(), market.book.sha256()
            outcome.gaps, outcome.lost = int(engine.view["counters"]["gaps"]), way.lost
            outcome.messages = int(engine.view["counters"]["messages"])
            outcome.resets = machine.books[0].resets
            outcome.health = machine.health(now())
            outcome.events = list(sim.events)
        return outcome


def play(*args: Any, **kwargs: Any) -> Outcome:
    """`duel`, to its end."""
    return warp(duel(*args, **kwargs))


__all__ = ["DATA", "FEEDS", "HASTY", "Outcome", "duel", "layout", "play"]
