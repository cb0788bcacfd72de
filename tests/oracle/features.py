"""The sixteen features of docs/features.md, one formula a line, in float64: what the kernel's float32 must be close to.

What the definitions leave open, said here: a feature is computed from the newest touch that had both sides and was not
crossed; while the book is not valid the sums decay and count trades, and the features stand still.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.book import Level, Oracle

TAUS = (1, 10, 60)  # seconds
BASIS_POINTS = 1e4


class Features:
    def __init__(self, tick_size: float) -> None:
        self.tick_size = tick_size
        self.time_ns: int | None = None
        self.signed = dict.fromkeys(TAUS, 0.0)  # decayed sums …
        self.traded = dict.fromkeys(TAUS, 0.0)
        self.squares = dict.fromkeys(TAUS, 0.0)
        self.trades = 0.0
        self.changes = 0.0
        self.flow_imbalance = 0.0
        self.mid_mean = dict.fromkeys(TAUS, 0.0)  # … and time-weighted means
        self.touch_depth = 0.0
        self.depth_mean = 0.0
        self.mid = self.depth = 0.0  # the values that hold now
        self.bid: tuple[float, float] = (0.0, 0.0)
        self.ask: tuple[float, float] = (0.0, 0.0)
        self.value = [0.0] * 16

    def update(self, now: int, book: Oracle, trades: Iterable[tuple[float, int]]) -> None:
        """After a message at `now`: what it did is in `book`; `trades` are its (quantity, aggressor)."""
        self._decay(now)
        for qty, aggressor in trades:
            self.trades += 1
            for tau in TAUS:
                self.signed[tau] += aggressor * qty
                self.traded[tau] += qty
        if not book.synced:
            return
        if book.happened & {"book", "ticker"}:
            self._quote(*book.touch)
        if self.mid:
            self._values(book)

    def _decay(self, now: int) -> None:
        if self.time_ns is None:
            self.time_ns = now
        seconds = max(0, now - self.time_ns) / 1e9
        self.time_ns = max(self.time_ns, now)
        left = {tau: math.exp(-seconds / tau) for tau in TAUS}
        for tau in TAUS:
            self.signed[tau] *= left[tau]
            self.traded[tau] *= left[tau]
            self.squares[tau] *= left[tau]
            self.mid_mean[tau] += (self.mid - self.mid_mean[tau]) * (1 - left[tau])
        self.trades *= left[10]
        self.changes *= left[10]
        self.flow_imbalance *= left[1]
        self.touch_depth += ((self.bid[1] + self.ask[1]) / 2 - self.touch_depth) * (1 - left[60])
        self.depth_mean += (self.depth - self.depth_mean) * (1 - left[60])

    def _quote(self, best_bid: Level, best_ask: Level) -> None:
        bid, ask = (float(best_bid[0]), float(best_bid[1])), (float(best_ask[0]), float(best_ask[1]))
        if not bid[1] or not ask[1] or bid[0] >= ask[0]:
            return
        mid = (bid[0] + ask[0]) / 2
        (b, qb), (a, qa), (b0, qb0), (a0, qa0) = bid, ask, self.bid, self.ask
        if not self.mid:
            self.mid_mean = dict.fromkeys(TAUS, mid)
            self.touch_depth = (qb + qa) / 2
        else:
            for tau in TAUS:
                self.squares[tau] += (mid / self.mid - 1) ** 2
            self.flow_imbalance += (b >= b0) * qb - (b <= b0) * qb0 - (a <= a0) * qa + (a >= a0) * qa0
            self.changes += (bid, ask) != (self.bid, self.ask)
        self.mid, self.bid, self.ask = mid, bid, ask

    def _values(self, book: Oracle) -> None:
        (b, qb), (a, qa) = self.bid, self.ask
        bids = [float(book.sides[0][price][0]) for price in heapq.nlargest(20, book.sides[0])]
        asks = [float(book.sides[1][price][0]) for price in heapq.nsmallest(20, book.sides[1])]
        self.depth = sum(bids) + sum(asks)
        self.depth_mean = self.depth_mean or self.depth
        micro = b + (a - b) * qb / (qb + qa)
        self.value = [
            (a - b) / self.tick_size,
            (micro - self.mid) / (a - b),
            (qb - qa) / (qb + qa),
            *(over(sum(bids[:n]) - sum(asks[:n]), sum(bids[:n]) + sum(asks[:n])) for n in (5, 10, 20)),
            over(self.signed[1], self.traded[1] + self.traded[10] / 10),
            over(self.signed[10], self.traded[10] + self.traded[60] / 6),
            *((self.mid - self.mid_mean[tau]) / self.mid_mean[tau] * BASIS_POINTS for tau in (1, 10)),
            *(math.sqrt(self.squares[tau] / tau) * BASIS_POINTS for tau in (10, 60)),
            self.trades / 10,
            self.changes / 10,
            over(self.flow_imbalance, self.touch_depth),
            over(self.depth - self.depth_mean, self.depth_mean),
        ]


def over(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else 0.0
