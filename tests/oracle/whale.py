"""The whale analyser of docs/whale.md from its definitions, in float64 and slowly: what the kernel must be close to.

It is told what the book (`oracle.book`) did, in the instrument's integer units, and keeps every size it ever saw.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from oracle.book import Oracle

SECOND = 1_000_000_000
MOST_SURPRISE = 3.5
STEPS_OF_NAT = 256
TOP, NESTS, PLACES, MOST = 32, 8, 64, 10.0
JUDGE_NS = SECOND // 2
STEPS = 8  # of the histogram, to each power of two


@dataclass
class Trade:
    price: int
    qty: int
    aggressor: int
    recv_ns: int
    exchange_ns: int = 0


class Sizes:
    """Sizes, and how many steps ago each was added: it weighs (1 + 1/memory)^-steps."""

    def __init__(self, memory: float, share: float, least: float) -> None:
        self.memory, self.share, self.least = memory, share, least
        self.size: list[float] = []
        self.step: list[int] = []
        self.steps = 0
        self.limit = 0.0  # 0: not known yet

    def add(self, *sizes: float) -> None:
        self.steps += 1
        self.size += sizes
        self.step += [self.steps] * len(sizes)

    def find(self) -> None:
        """The quantile of the binned sizes, linear within its bin."""
        if len(self.size) < self.least or not self.size:
            self.limit = 0.0
            return
        mass = np.bincount(bins_of(self.size), self._weights(), 128 * STEPS)
        upto = np.cumsum(mass)
        want = self.share * upto[-1]
        at = int(np.searchsorted(upto, want))
        low = 2.0 ** (at // STEPS) * (1 + at % STEPS / STEPS)
        high = 2.0 ** ((at + 1) // STEPS) * (1 + (at + 1) % STEPS / STEPS)
        self.limit = low + (high - low) * (want - (upto[at] - mass[at])) / mass[at]

    def surprise(self, size: float) -> float:
        """-ln of the share of sizes in its bin or above, at most 3.5; sizes of the smaller half: the mean of those."""
        weight = self._weights()
        share = float(weight[bins_of(self.size) >= bins_of([size])].sum() / weight.sum())
        if share >= 0.5:
            return 1 - math.log(2)
        return MOST_SURPRISE if share <= math.exp(-MOST_SURPRISE) else -math.log(share)

    def _weights(self) -> NDArray[np.float64]:
        return np.exp((np.array(self.step) - self.steps) * math.log1p(1 / self.memory))


def bins_of(sizes: list[float]) -> NDArray[np.int64]:
    mantissa, exponent = np.frexp(np.maximum(np.array(sizes), 1))  # size = mantissa 2^exponent, mantissa in [1/2, 1)
    bins: NDArray[np.int64] = (exponent - 1) * STEPS + ((2 * mantissa - 1) * STEPS).astype(int)
    return np.minimum(bins, 128 * STEPS - 1)


@dataclass
class Cluster:
    first_ns: int
    limit: float
    last_ns: int = 0
    exchange_ns: int = 0
    size: float = 0.0
    counted: float = 0.0
    prints: int = 0


@dataclass
class Excursion:
    """Of what a side's clusters surprise by, less the usual; one that never was above 0 has a peak of 0."""

    first_ns: int
    last_ns: int = 0
    score: float = 0.0
    peak: float = 0.0
    size: float = 0.0
    counted: float = 0.0
    clusters: int = 0


@dataclass
class Nest:
    price: int
    qty: int
    since_ns: int
    pulled: int = 0
    gone_ns: int | None = None
    traded: float = 0.0
    seen_traded: tuple[float, float] = (0.0, 0.0)  # at the look before the newest that saw it, and at that one
    resting: bool = False
    iceberg: bool = False
    near: bool = False
    strength: float = 0.0

    @property
    def is_memory(self) -> bool:
        return self.qty == 0


@dataclass
class Place:
    """A price where trades eat what rests."""

    price: int
    shown: int = 0
    last_ns: int = 0
    traded: float = 0.0


@dataclass
class Side:
    nests: list[Nest | None] = field(default_factory=lambda: [None] * NESTS)
    places: dict[int, Place] = field(default_factory=dict)
    looked: dict[int, int] = field(default_factory=dict)  # the top as the newest look saw it
    flow: float = 0.0
    pulled: float = 0.0
    stood: float = 0.0


class Whale:
    def __init__(self, parameters: Mapping[str, float], tick: int, *, inverse: bool) -> None:
        self.p = {name.removeprefix("whale."): float(np.float32(value)) for name, value in parameters.items()}
        self.tick, self.inverse = tick, inverse
        self.clusters = Sizes(self.p["memory"], self.p["quantile"], self.p["least"])
        self.levels = Sizes(self.p["nest_memory_s"], self.p["nest_quantile"], 1000)
        self.sides = Side(), Side()  # flow: of buyers, of sellers
        self.open: list[Cluster | None] = [None, None]
        self.peaks = Sizes(self.p["memory"], self.p["quantile"], self.p["least"])
        self.excursion: list[Excursion | None] = [None, None]
        self.patient = 0
        self.whales: list[Cluster] = []
        self.now = self.decayed_ns = self.synced_ns = 0
        self.looked_ns = 0
        self.nests_of = 0  # the synced_ns of the book that the nests belong to
        self.second = 0
        self.quoted = False
        self.pressure = self.confidence = 0.0
        self.nest = [0.0, 0.0]

    # -- what happens -----------------------------------------------------------------------------------------------

    def update(self, now: int, book: Oracle, trades: list[Trade], *, was_synced: bool) -> None:
        """After a message that moved the market, or a timer."""
        self.book = book
        self.units = 10**book.price_decimals, 10**book.qty_decimals
        if "book" in book.happened and (not was_synced or "lost" in book.happened):
            self.synced_ns = now
        self.frame_ns = now
        second = now // SECOND
        self.second = self.second or second
        due = second - self.second
        for _ in range(min(due, 1 if due > 120 else 120)):
            self._second_ends()
        self.second = max(self.second, second)
        (bid, bid_qty), (ask, ask_qty) = book.touch
        if book.synced and book.happened & {"book", "ticker"} and bid_qty and ask_qty and bid < ask:
            self.quoted = True
        for trade in trades:
            self._trade(trade)
        if book.synced and self.quoted and "book" in book.happened:
            self._book(now)

    def _second_ends(self) -> None:
        self.now = max(self.now, self.frame_ns)
        for side in (0, 1):
            if not self._goes_on(self.open[side], 0):
                self._close(side)
            if self._is_over(self.excursion[side], self.now):
                self._end(side)
        if self.book.synced:
            sizes = [float(qty) for side in (0, 1) for _, qty in self._top(side)]
            self.levels.add(*sizes)
            self.levels.find()
        elif self.nests_of:
            self._forget()
        self._decay()
        self._signals()

    # -- whales that take -------------------------------------------------------------------------------------------

    def _goes_on(self, cluster: Cluster | None, exchange_ns: int) -> bool:
        if cluster is None or self.now - cluster.first_ns > int(self.p["cluster_s"] * SECOND):
            return False
        close = self.now - cluster.last_ns <= int(self.p["gap_ms"] * 1e6)
        return close or (exchange_ns != 0 and exchange_ns == cluster.exchange_ns)

    def _close(self, side: int) -> None:
        if cluster := self.open[side]:
            if cluster.counted:
                self.whales.append(cluster)
            if self.clusters.limit:
                self._excursion(side, cluster)
            self.clusters.add(cluster.size)
            self.clusters.find()
        self.open[side] = None

    # -- whales that take little by little --------------------------------------------------------------------------

    def _is_over(self, e: Excursion | None, now: int) -> bool:
        return e is not None and now - e.last_ns > int(self.p["patient_s"] * SECOND)

    def _end(self, side: int) -> None:
        if e := self.excursion[side]:
            self.peaks.add(e.peak * STEPS_OF_NAT)
            self.peaks.find()
        self.excursion[side] = None

    def _excursion(self, side: int, c: Cluster) -> None:
        if self._is_over(self.excursion[side], c.first_ns):
            self._end(side)
        e = self.excursion[side] = self.excursion[side] or Excursion(c.first_ns)
        e.last_ns, e.clusters = c.last_ns, e.clusters + 1
        e.score += self.clusters.surprise(c.size) - self.p["usual"]
        e.size += 0 if c.counted else c.size
        limit = self.peaks.limit / STEPS_OF_NAT
        if e.score <= 0 or (limit and e.peak - e.score > limit):
            self._end(side)
        elif e.score > e.peak:
            e.peak = e.score
            limits = e.size / self.clusters.limit
            if limit and e.peak > limit and limits > max(1, e.counted):
                self.patient += not e.counted
                self._decay()
                self.sides[side].flow += min(limits - e.counted, MOST)
                e.counted = limits
                self._signals()

    def _notional(self, price: int, qty: float) -> float:
        return qty if self.inverse else qty * price

    def _trade(self, t: Trade) -> None:
        self.now = max(self.now, t.recv_ns)
        side = 0 if t.aggressor > 0 else 1
        if not self._goes_on(self.open[side], t.exchange_ns):
            self._close(side)
        c = self.open[side] = self.open[side] or Cluster(self.now, self.clusters.limit)
        c.last_ns, c.exchange_ns = self.now, t.exchange_ns
        c.size += self._notional(t.price, t.qty)
        c.prints += 1
        if c.limit and c.size > c.limit:
            self._decay()
            counts = min(c.size / c.limit, MOST)
            self.sides[side].flow += counts - c.counted
            c.counted = counts
            self._signals()
        if self.book.synced and self.nests_of == self.synced_ns:
            self._eat(t)

    # -- nests ------------------------------------------------------------------------------------------------------

    def _top(self, side: int) -> list[tuple[int, int]]:
        levels = self.book.sides[side]
        prices = (heapq.nsmallest if side else heapq.nlargest)(TOP, levels)
        return [(int(p * self.units[0]), int(levels[p][0] * self.units[1])) for p in prices]

    def _shown(self, side: int, price: int) -> int:
        level = self.book.sides[side].get(_decimal(price, self.book.price_decimals))
        return int(level[0] * self.units[1]) if level else 0

    def _find(self, side: int, price: int) -> Nest | None:
        return next((n for n in self.sides[side].nests if n and n.price == price), None)

    def _put(self, side: int, nest: Nest, *, least: float) -> None:
        """In the place of a memory of the same price, in a free slot, or in that of the smallest below `least`."""
        slots = self.sides[side].nests
        for i, other in enumerate(slots):
            if other and other.price == nest.price:
                nest.pulled = other.pulled
                slots[i] = nest
                return
        ranked = [(-1.0 if n is None else float(n.qty), i) for i, n in enumerate(slots)]
        qty, i = min(ranked)
        if qty < least and not (least == math.inf and (other := slots[i]) and other.iceberg):
            slots[i] = nest

    def _eat(self, t: Trade) -> None:
        side = 1 if t.aggressor > 0 else 0
        s = self.sides[side]
        slot = (t.price * 0x9E3779B97F4A7C15 % 2**64) >> 58  # two prices that share a place: the newer has it
        opposite = self.sides[1 - side].places
        if slot in opposite and opposite[slot].price == t.price:
            del opposite[slot]
        place = s.places.get(slot)
        if place is None or place.price != t.price or self.now - place.last_ns > int(self.p["iceberg_s"] * SECOND):
            place = s.places[slot] = Place(t.price)
        shown = self._shown(side, t.price)
        place.shown = max(place.shown, shown, s.looked.get(t.price, 0))
        place.last_ns = self.now
        place.traded += t.qty
        nest = self._find(side, t.price)
        if nest:
            nest.traded += t.qty
        limit = self.clusters.limit
        if (
            shown
            and limit
            and self._notional(t.price, place.traded) >= limit
            and place.traded > self.p["iceberg_ratio"] * place.shown
        ):
            if nest is None or nest.is_memory:
                self._put(side, Nest(t.price, shown, self.now), least=math.inf)
                nest = self._find(side, t.price)
            if nest:
                nest.iceberg = True

    def _forget(self) -> None:
        self.nests_of = 0
        for side in self.sides:
            side.nests, side.places, side.looked = [None] * NESTS, {}, {}

    def _book(self, now: int) -> None:
        self.now = max(self.now, now)
        if self.nests_of == self.synced_ns and self.now - self.looked_ns < int(self.p["look_ms"] * 1e6):
            return
        self.looked_ns = self.now
        if self.nests_of != self.synced_ns:
            self._forget()
            self.nests_of = self.synced_ns
        self._decay()
        for side in (0, 1):
            top = self._top(side)
            slots = self.sides[side].nests
            for i, nest in enumerate(slots):
                if nest and not nest.is_memory:
                    slots[i] = self._look(side, nest, top)
            for price, qty in top:
                if self.levels.limit and qty > self.levels.limit:
                    there = self._find(side, price)
                    if there is None or there.is_memory:
                        self._put(side, Nest(price, qty, self.now), least=qty)
            self.sides[side].looked = dict(top)
        self._signals()

    def _look(self, side: int, n: Nest, top: list[tuple[int, int]]) -> Nest | None:
        s, limit = self.sides[side], self.levels.limit
        shown = self._shown(side, n.price)
        touch = int(self.book.touch[side][0] * self.units[0])
        distance = touch - n.price if side == 0 else n.price - touch
        near = touch > 0 and distance <= self.p["near_ticks"] * self.tick
        place = next((p for p in s.places.values() if p.price == n.price), None)
        counted = n.resting or n.iceberg
        n.iceberg = n.iceberg and place is not None and self.now - place.last_ns <= int(self.p["iceberg_s"] * SECOND)
        large = limit > 0 and shown >= limit / 2
        n.strength = 0.0
        memory = Nest(n.price, 0, 0, n.pulled) if n.pulled else None
        if not large and not (n.iceberg and shown):  # it is not there
            if not (n.resting or n.iceberg):
                return memory
            n.near |= near
            n.gone_ns = n.gone_ns or self.now
            return self._judge(s, n) if self.now - n.gone_ns >= JUDGE_NS else n
        n.gone_ns, n.qty = None, shown
        n.seen_traded = n.seen_traded[1], n.traded
        if counted and n.near and not near and limit:
            s.stood += min(shown / limit, MOST)
        n.near = near
        n.resting = large and self.now - n.since_ns >= int(self.p["persist_s"] * SECOND)
        worst = top[-1][0]
        away = len(top) == TOP and (n.price < worst if side == 0 else n.price > worst)
        if not away:
            strength = shown / limit if n.resting else 0.0
            if n.iceberg and place and self.clusters.limit:
                strength = max(strength, self._notional(n.price, place.traded) / self.clusters.limit)
            honest = 1 - s.pulled / (5 + s.pulled + s.stood)
            n.strength = min(strength, MOST) * honest / 2**n.pulled
        return n

    def _judge(self, s: Side, n: Nest) -> Nest | None:
        weight = min(n.qty / self.levels.limit, MOST) if self.levels.limit else 0.0
        if n.traded - n.seen_traded[0] >= n.qty / 2:
            s.stood += weight
            return None
        if n.near:
            s.pulled += weight
            n.pulled = min(n.pulled + 1, 30)
        return Nest(n.price, 0, 0, n.pulled) if n.pulled else None

    # -- what it says -----------------------------------------------------------------------------------------------

    def _decay(self) -> None:
        seconds = (self.now - self.decayed_ns) / 1e9 if self.decayed_ns else 0.0
        self.decayed_ns = self.now
        for s in self.sides:
            s.flow *= math.exp(-seconds / self.p["decay_s"])
            s.pulled *= math.exp(-seconds / self.p["pull_s"])
            s.stood *= math.exp(-seconds / self.p["pull_s"])

    def _signals(self) -> None:
        strengths = [[n.strength for n in s.nests if n] for s in self.sides]
        nests = [self.p["nest_weight"] * sum(strength) for strength in strengths]
        buys, sells = (s.flow + nest for s, nest in zip(self.sides, nests, strict=True))
        self.pressure = math.tanh((buys - sells) / self.p["scale"])
        known = min(1.0, len(self.clusters.size) * (1 - self.p["quantile"]) / 5)
        evidence = known * sum(s.flow for s in self.sides) + sum(nests)
        self.confidence = 0.0
        if buys + sells > 0:
            self.confidence = abs(buys - sells) / (buys + sells) * -math.expm1(-evidence)
        self.nest = [max(strength, default=0.0) for strength in strengths]


def _decimal(units: int, decimals: int) -> Decimal:
    return Decimal(units).scaleb(-decimals)
