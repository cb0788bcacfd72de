"""The exchange's own order book: exact, every level as it was sent, with the id of the last change in it.

Owns levels and their order. What ids mean to a client, and who may trade against the levels, is others' business.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from cwts.instruments import LARGEST_EXPONENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BID, ASK = 0, 1
ZERO = Decimal(0)

Level = list[str]  # price, quantity and whatever else the exchange puts behind them, as sent

_numbers: dict[str, Decimal] = {}


def number(text: str) -> Decimal:
    """A decimal of at least 0 from its text; the texts of a market repeat, so they are kept. Raises ValueError."""
    value = _numbers.get(text)
    if value is None:
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not (value.is_finite() and value >= 0 and abs(value.adjusted()) <= LARGEST_EXPONENT):
            raise ValueError(f"{text[:40]!r} is no price and no quantity")
        if len(_numbers) > 500_000:
            _numbers.clear()
        _numbers[text] = value
    return value


def are_levels(*sides: object) -> bool:
    """Whether these are sides of a book: lists of a price, a quantity and whatever else."""
    known = _numbers
    for side in sides:
        if type(side) is not list:
            return False
        for level in side:
            if type(level) is not list or len(level) < 2:
                return False
            for text in level[:2]:
                if type(text) is not str:
                    return False
                if text not in known:
                    try:
                        number(text)
                    except ValueError:
                        return False
    return True


def plain(value: Decimal) -> str:
    """Without exponent or trailing zeros."""
    written = format(value, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


class Ladder:
    """One side of a book."""

    __slots__ = ("_prices", "levels", "side")

    def __init__(self, side: int) -> None:
        self.side = side
        self._prices: list[Decimal] = []  # ascending
        self.levels: dict[Decimal, Level] = {}

    def __len__(self) -> int:
        return len(self._prices)

    def __iter__(self) -> Iterator[Decimal]:
        """Prices from best to worst."""
        return reversed(self._prices) if self.side == BID else iter(self._prices)

    @property
    def best(self) -> Decimal | None:
        """The best price."""
        if not self._prices:
            return None
        return self._prices[-1] if self.side == BID else self._prices[0]

    def quantity(self, price: Decimal) -> Decimal:
        """What is displayed at a price; 0 where there is no level."""
        level = self.levels.get(price)
        return number(level[1]) if level else ZERO

    def set(self, level: Level) -> None:
        """Replaces a level; quantity 0 removes it."""
        price = number(level[0])
        if not level[1].strip("0."):
            if self.levels.pop(price, None) is not None:
                del self._prices[bisect_left(self._prices, price)]
        elif price in self.levels:
            self.levels[price] = level
        else:
            self.levels[price] = level
            insort(self._prices, price)

    def top(self, depth: int | None = None) -> list[Level]:
        """The best levels as sent, best first."""
        prices = self._prices
        if depth is not None:
            prices = prices[-depth:] if self.side == BID else prices[:depth]
            if depth <= 0:
                prices = []
        chosen = [self.levels[price] for price in prices]
        return chosen[::-1] if self.side == BID else chosen

    def clear(self) -> None:
        """Removes every level."""
        self._prices.clear()
        self.levels.clear()


class Book:
    """Both sides and the id of the last change."""

    def __init__(self) -> None:
        self.bids = Ladder(BID)
        self.asks = Ladder(ASK)
        self.sides = (self.bids, self.asks)
        self.last_id = 0

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Applies changed levels. The id is the caller's to set."""
        for level in bids:
            self.bids.set(level)
        for level in asks:
            self.asks.set(level)

    def difference(self, bids: Sequence[Level], asks: Sequence[Level]) -> tuple[list[Level], list[Level]]:
        """The changes that turn this book into the one given."""
        return changed((list(self.bids.levels.values()), list(self.asks.levels.values())), (bids, asks))

    def sha256(self) -> str:
        """SHA-256 of `b <price> <qty>` lines from best to worst and then `a …` lines, as `cwts replay` computes it."""
        digest = hashlib.sha256()
        for ladder in self.sides:
            mark = "ba"[ladder.side]
            digest.update(
                "".join(f"{mark} {plain(price)} {plain(ladder.quantity(price))}\n" for price in ladder).encode()
            )
        return digest.hexdigest()


def changed(
    before: tuple[Sequence[Level], Sequence[Level]], after: tuple[Sequence[Level], Sequence[Level]]
) -> tuple[list[Level], list[Level]]:
    """The changes (bids, asks) that turn the levels before into those after: quantity 0 for those that are gone."""
    changes: list[list[Level]] = []
    for old, new in zip(before, after, strict=True):
        was = {number(level[0]): level for level in old}
        target = {number(level[0]): level for level in new}
        side = [level for price, level in target.items() if was.get(price) != level]
        for price, level in was.items():
            if price not in target:
                zero = "0" + level[1][level[1].index(".") :] if "." in level[1] else "0"
                zero = "".join("0" if digit.isdigit() else digit for digit in zero)
                side.append([level[0], zero, *("0" for _ in level[2:])])
        changes.append(side)
    return changes[0], changes[1]
