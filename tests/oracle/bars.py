"""One-second bars and volume bars (docs/bars.md) from the lists of each second's quotes and trades.

What the definition leaves open, said here: time never runs backwards; a silence of more than 120 seconds is one step.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.book import Oracle

SECOND = 1_000_000_000
LONGEST_FILLED = 120
TAUS = (10, 60, 300, 1800)
LARGEST = (1 << 63) - 1


@dataclass
class Bar:
    second: int
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    bought: int = 0
    sold: int = 0
    change: float = 0.0
    depth: tuple[float, float] = (0.0, 0.0)
    trades: int = 0
    updates: int = 0
    synced: bool = False
    known: bool = False


@dataclass
class Gathered:
    """What happens until a bar ends."""

    quotes: list[int] = field(default_factory=list)  # bid + ask
    trades: list[tuple[int, int]] = field(default_factory=list)  # quantity, aggressor


class Bars:
    def __init__(self, price_decimals: int, qty_decimals: int, volume_s: float) -> None:
        self.scales = price_decimals, qty_decimals
        self.volume_s = volume_s
        self.bars: list[Bar] = []
        self.volume_bars: list[Bar] = []
        self.second = 0
        self.silences = 0
        self.price = 0  # newest valid bid + ask
        self.valid = self.valid_at_begin = False
        self.depth = (0.0, 0.0)
        self.now = Gathered()
        self.filling = Gathered()
        self.filling_since = 0

    def before(self, now: int, book: Oracle) -> None:
        """Before a message at `now` is applied: the book is still that of the second before."""
        if now // SECOND > self.second:
            self.depth = self._depth(book) if self.valid else (0.0, 0.0)

    def after(self, now: int, book: Oracle, trades: Iterable[tuple[int, int]]) -> None:
        """After a message that moved the market (or a timer): trades are (quantity, aggressor) in units."""
        second = now // SECOND
        self.second = self.second or second
        if second - self.second > LONGEST_FILLED:
            self.silences += 1
            self._close(second)
        while self.second < second:
            self._close(self.second + 1)
        if not book.synced:
            self.valid = False
            self.filling = Gathered()
        elif book.happened & {"book", "ticker"}:
            (bid, bid_qty), (ask, ask_qty) = book.touch
            if bid_qty and ask_qty and bid < ask:
                self.price = min(int((bid + ask).scaleb(self.scales[0])), LARGEST)
                if not self.valid and not self.now.quotes:
                    self.valid_at_begin = False
                self.valid = True
                self.now.quotes.append(self.price)
        for trade in trades:
            self.now.trades.append(trade)
            if self.valid and self.volume > 0:
                self._volume_bar(trade, second)

    @property
    def volume(self) -> float:
        mean = 0.0
        for n, bar in enumerate(self.bars, 1):
            mean += (float(bar.bought) + float(bar.sold) - mean) / min(TAUS[-1], n)
        return mean

    def variance(self, until: int | None = None) -> list[float]:
        """Mean squared change a second after the first `until` bars: plain until there are tau of them."""
        means = [0.0] * len(TAUS)
        changes = [bar.change for bar in self.bars[:until] if bar.known]
        for n, change in enumerate(changes, 1):
            means = [mean + (change * change - mean) / min(tau, n) for mean, tau in zip(means, TAUS, strict=True)]
        return means

    def _depth(self, book: Oracle) -> tuple[float, float]:
        best = heapq.nlargest(20, book.sides[0]), heapq.nsmallest(20, book.sides[1])
        bids, asks = (
            sum(float(book.sides[side][price][0].scaleb(self.scales[1])) for price in best[side]) for side in (0, 1)
        )
        return bids, asks

    def _close(self, following: int) -> None:
        last = self.bars[-1] if self.bars else None
        bar = make(self.second, self.now)
        carried = last.close if last else 0
        if not bar.updates:
            bar.open = bar.high = bar.low = bar.close = carried
        elif self.valid_at_begin:  # the second begins where the one before ended
            bar.open, bar.high, bar.low = carried, max(bar.high, carried), min(bar.low, carried)
        bar.depth, bar.synced = self.depth, self.valid
        if last and last.synced and bar.synced:
            bar.known, bar.change = True, (bar.close - last.close) / last.close
        self.bars.append(bar)
        self.second, self.now, self.valid_at_begin = following, Gathered(), self.valid

    def _volume_bar(self, trade: tuple[int, int], second: int) -> None:
        if not self.filling.trades:
            self.filling_since = second
        self.filling.quotes.append(self.price)
        self.filling.trades.append(trade)
        bar = make(self.filling_since, self.filling)
        if float(bar.bought) + float(bar.sold) >= self.volume * self.volume_s:
            bar.synced = bar.known = True
            bar.change = (bar.close - bar.open) / bar.open
            self.volume_bars.append(bar)
            self.filling = Gathered()


def make(second: int, what: Gathered) -> Bar:
    quotes = what.quotes or [0]
    bought, sold = (min(sum(q for q, side in what.trades if (side > 0) == buy), LARGEST) for buy in (True, False))
    return Bar(
        second, quotes[0], max(quotes), min(quotes), quotes[-1], bought, sold, trades=len(what.trades),
        updates=len(what.quotes),
    )  # fmt: skip
