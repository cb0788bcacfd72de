"""What every simulated exchange has: a clock, markets with their own true books, connections, and one recorded
message at a time.

Owns the books and how recordings move them. Paths, subscriptions and messages are `binance.py`'s and `okx.py`'s.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from cwts.simulator.book import ASK, BID, ZERO, Book, Level, number
from cwts.simulator.matching import Matching

if TYPE_CHECKING:
    from aiohttp import web

    from cwts.instruments import Instrument
    from cwts.simulator.faults import Fault
    from cwts.simulator.server import Simulator
    from cwts.simulator.tape import Message
    from cwts.simulator.wire import Peer

PAST_SECONDS = 0.5  # of the tape, between the copies of a book that old snapshots are made from
PAST_COPIES = 40


class Market:
    """One instrument of one exchange: the true book, the last trades, and the orders that rest against them."""

    def __init__(self, exchange: str, symbol: str, instrument: Instrument, row: dict[str, Any]) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.instrument = instrument
        self.row = row  # the exchange's own description of the instrument
        self.book = Book()
        self.ready = False  # there is a book: before that the market is closed
        self.gone = False  # delisted, or expired
        self.kinds: set[str] = set()  # what was recorded; what was not is derived
        self.waiting: list[Message] = []  # updates that came before the first snapshot
        self.recorded_id = 0  # of the last recorded update; what is sent is this plus `shift`
        self.shift = 0
        self.gap = False  # the recording itself has one, and the next snapshot in it will mend the book
        self.start: tuple[list[Level], list[Level], int] | None = None  # to begin again with
        self.past: deque[tuple[float, list[Level], list[Level], int]] = deque(maxlen=PAST_COPIES)
        self.updates = 0
        self.trades: deque[dict[str, Any]] = deque(maxlen=1000)  # id, price, qty, ms, maker (the buyer was)
        self.first_price = self.last_price = self.high = self.low = ZERO
        self.volume = self.turnover = ZERO
        self.trade_count = 0
        self.trade_ids = (0, 0)  # of the newest trade and of the first, as recorded: a second round continues them
        self.trade_shift = 0
        self.matching = Matching(self.book)

    @property
    def mid(self) -> Decimal:
        """The middle of the book, or the last trade, or the only side there is."""
        bid, ask = self.book.bids.best, self.book.asks.best
        if bid is not None and ask is not None:
            return (bid + ask) / 2
        return self.last_price or bid or ask or ZERO

    def apply(self, bids: list[Level], asks: list[Level], last_id: int) -> None:
        """Moves the book, and with it the orders that rest in it."""
        matching = self.matching
        if matching.busy:
            for ladder, levels in zip(self.book.sides, (bids, asks), strict=True):
                for level in levels:
                    price = number(level[0])
                    before = ladder.quantity(price)
                    ladder.set(level)
                    matching.level_changed(ladder.side, price, before, ladder.quantity(price))
            self.book.last_id = last_id
            matching.book_changed()
        else:
            self.book.apply(bids, asks)
            self.book.last_id = last_id
        self.updates += 1

    def remember(self, tape_s: float) -> None:
        """Keeps a copy of the book now and then, for snapshots that are too old."""
        if not self.past or tape_s - self.past[-1][0] >= PAST_SECONDS or tape_s < self.past[-1][0]:
            self.past.append((tape_s, self.book.bids.top(), self.book.asks.top(), self.book.last_id))

    def snapshot(self, depth: int | None, age_s: float = 0.0) -> tuple[list[Level], list[Level], int]:
        """(bids, asks, id), best first; `age_s` asks for the newest copy that is at least so old, or the oldest."""
        if age_s and self.past:
            newest = self.past[-1][0]
            old = [copy for copy in self.past if newest - copy[0] >= age_s] or [self.past[0]]
            _, bids, asks, last_id = old[-1]
            return bids[:depth], asks[:depth], last_id
        return self.book.bids.top(depth), self.book.asks.top(depth), self.book.last_id

    def traded(self, trade_id: int, price: str, qty: str, ms: int, *, buyer_is_maker: bool) -> None:
        """Notes a public trade and lets it meet the resting orders."""
        p, q = number(price), number(qty)
        if not p or not q:
            return
        self.trades.append({"id": trade_id, "price": price, "qty": qty, "ms": ms, "maker": buyer_is_maker})
        self.last_price = p
        self.first_price = self.first_price or p
        self.high = max(self.high, p)
        self.low = min(self.low, p) if self.low else p
        self.volume += q
        self.turnover += p * q
        self.trade_count += 1
        self.matching.traded(p, q, BID if buyer_is_maker else ASK)

    def best(self, side: int) -> tuple[str, str] | None:
        """(price, quantity) of the best level, as sent."""
        ladder = self.book.sides[side]
        level = ladder.levels[ladder.best] if ladder.best is not None else None
        return (level[0], level[1]) if level else None


class Exchange(ABC):
    """One exchange (each of Binance's three markets is one)."""

    name: str
    broken: ClassVar[dict[str, Any]]  # what is answered where we have failed

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.markets: dict[str, Market] = {}
        self.peers: dict[int, Peer] = {}
        self.clock_offset_ms = 0  # a fault
        self.tape_s = 0.0  # how far the tape has come
        self._recorded_ms = 0  # the exchange's own time in the newest message …
        self._recorded_at = time.monotonic()  # … which went out at this moment
        self.looped_ms = 0  # what repetitions of the tape add to recorded times

    # -- the clock ----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The exchange's time: this machine's, or the recording's."""
        if self.sim.clock == "now":
            return int(time.time() * 1000) + self.clock_offset_ms
        passed = (time.monotonic() - self._recorded_at) * self.sim.pace if self._recorded_ms else 0.0
        return self._recorded_ms + int(passed) + self.clock_offset_ms

    def stamp(self, recorded_ms: int) -> int:
        """What to add to the times in a message that the exchange stamped with `recorded_ms`."""
        if self.sim.clock == "now":
            return self.now_ms() - recorded_ms
        ms = recorded_ms + self.looped_ms
        if ms > self._recorded_ms:
            self._recorded_ms, self._recorded_at = ms, time.monotonic()
        return self.looped_ms + self.clock_offset_ms

    # -- recordings ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def play(self, message: Message) -> None:
        """Lets one recorded message happen."""

    @abstractmethod
    def rewind(self, seconds: float) -> None:
        """The tape begins again: every book goes back to where it started, by an update like any other."""

    @abstractmethod
    def open_desk(self, market: Market) -> None:
        """Takes orders for a market from now on."""

    # -- clients ------------------------------------------------------------------------------------------------------

    @abstractmethod
    async def serve(self, request: web.Request, path: str) -> web.StreamResponse:
        """Answers an HTTP request or serves a WebSocket; the path is as on the real host."""

    @abstractmethod
    def left(self, peer: Peer) -> None:
        """A connection has ended."""

    @abstractmethod
    def every_second(self) -> None:
        """What is sent by the clock."""

    def fault(self, fault: Fault) -> None:
        """A fault that is the exchange's own business."""
        if fault.kind == "clock":
            self.clock_offset_ms = fault.offset_ms
        market = self.markets.get(fault.symbol) if fault.kind == "delist" else None
        if market is not None:
            market.ready, market.gone, market.start = False, True, None

    def peers_of(self, fault: Fault) -> list[Peer]:
        """The connections that a fault is aimed at."""
        return [peer for peer in self.peers.values() if fault.aims_at(self.name, peer.endpoint, connection=peer.number)]
