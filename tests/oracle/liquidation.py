"""The liquidation ladder from its definition: every position ever opened is kept, and the masses are counted anew.

Each trade opens positions on its aggressor's side at its price, split over the tiers of leverage. A position's level is
that of its liquidation price. It is there as long as no price (a trade's, or the mid at a second's end) has reached its
level, no forced order of its side was told near it, and the ladder has not moved away from it. It counts half for every
half-life, in whole seconds that have ended since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

STEP = 0.0005
LEVELS, DRIFT, REACH, GAP = 1024, 64, 4, 4
LEVERAGES = (5, 10, 20, 25, 50, 75, 100)
LONG, SHORT = 0, 1


def liquidation_price(contract: str, side: int, entry: float, leverage: float, maintenance: float) -> float:
    """Where margin plus profit is the maintenance margin, by bisection: no formula to be wrong about."""
    rate = min(maintenance, 1 / (2 * leverage))

    def left(price: float) -> float:  # of a position of 1, in the asset it settles in
        sign = 1 if side == LONG else -1
        if contract == "inverse":
            return 1 / (leverage * entry) + sign * (1 / entry - 1 / price) - rate / price
        return entry / leverage + sign * (price - entry) - rate * price

    low, high = (entry / 4, entry) if side == LONG else (entry, entry * 4)
    for _ in range(200):
        middle = (low + high) / 2
        if (left(middle) > 0) == (side == LONG):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def level_of(price: float) -> int:
    return math.floor(math.log(price) / STEP)


@dataclass
class Ladder:
    """Columns of `all`: side, level, quantity, second of entry. `alive`: which of them are not closed."""

    contract: str
    half_life: float = 14400.0
    cluster: float = 3.0
    maintenance: float = 0.004
    weights: tuple[float, ...] = (0.1, 0.25, 0.25, 0.1, 0.15, 0.05, 0.1)
    base: int | None = None  # the ladder's lowest level
    ended: int = 0  # the newest second that has ended
    forced: list[tuple[float, int]] = field(default_factory=list)  # quantity, second
    signals: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # up, down, and their masses

    def __post_init__(self) -> None:
        self.ratios = [
            [liquidation_price(self.contract, side, 1.0, leverage, self.maintenance) for leverage in LEVERAGES]
            for side in (LONG, SHORT)
        ]
        self.all = np.zeros((1024, 4))
        self.alive = np.zeros(1024, bool)
        self.found = np.zeros(1024, bool)  # closed where the ladder had them, since the first forced order
        self.count = 0

    def reach(self, level: int) -> None:
        base = level - LEVELS // 2
        if self.base is None or abs(base - self.base) > DRIFT:
            self.base = base
        side, at = self.all[: self.count, 0], self.all[: self.count, 1]
        self.alive[: self.count] &= (at >= self.base) & (at < self.base + LEVELS)
        self._close(np.where(side == LONG, at >= level, at <= level))

    def _close(self, which: np.ndarray) -> None:
        if self.forced:
            self.found[: self.count] |= which & self.alive[: self.count]
        self.alive[: self.count] &= ~which

    def trade(self, price: float, qty: float, aggressor: int, second: int) -> None:
        if self.contract == "spot":
            return
        if self.base is None:
            self.ended = second - 1
        self.reach(level_of(price))
        assert self.base is not None
        side = LONG if aggressor > 0 else SHORT
        for ratio, weight in zip(self.ratios[side], self.weights, strict=True):
            level = level_of(price * ratio)
            if not 0 <= level - self.base < LEVELS:
                continue
            if self.count == len(self.alive):
                self.all = np.vstack([self.all, np.zeros_like(self.all)])
                self.alive, self.found = (np.concatenate([x, np.zeros_like(x)]) for x in (self.alive, self.found))
            self.all[self.count] = side, level, qty * weight / (sum(self.weights) or 1.0), second
            self.alive[self.count] = True
            self.count += 1

    def force(self, price: float, qty: float, side: int, second: int, *, bankruptcy: bool) -> None:
        """`side`: whose positions were closed."""
        self.forced.append((qty if self.base is not None else 0.0, second))
        if bankruptcy:
            sign = 1 if side == LONG else -1
            price *= 1 + sign * self.maintenance if self.contract == "inverse" else 1 / (1 - sign * self.maintenance)
        near = np.abs(self.all[: self.count, 1] - level_of(price)) <= REACH
        self._close(near & (self.all[: self.count, 0] == side))

    def second(self, second: int, mid: float | None, a_minute: float) -> None:
        """A second has ended; `mid`: None where the book was not valid. `a_minute`: usual traded quantity."""
        if self.base is None:
            return
        self.ended = second
        self.signals = (0.0, 0.0, 0.0, 0.0)
        calibration = self.calibration(a_minute)
        if mid is None:
            return
        level = level_of(mid)
        self.reach(level)
        masses = self.masses()
        found = []
        for side, levels in (
            (SHORT, range(level + 1, self.base + LEVELS)),
            (LONG, range(level - 1, self.base - 1, -1)),
        ):
            heavy = max(1.0, self.cluster * sum(masses[side].values()) / len(levels))  # a unit of quantity at least
            run: list[int] = []
            for n in levels:
                if masses[side].get(n, 0.0) > heavy:
                    run.append(n)
                elif run and abs(n - run[-1]) > GAP:
                    break
            heaviest = max(run, key=lambda n: masses[side][n], default=0)
            distance = abs(math.exp((heaviest + 0.5) * STEP) / mid - 1) * 1e4 if run else 0.0
            mass = sum(masses[side][n] for n in run) * calibration
            found.append((distance, mass / a_minute if a_minute > 0 else 0.0))
        self.signals = (found[0][0], found[1][0], found[0][1], found[1][1])

    def age(self, second: np.ndarray) -> np.ndarray:
        return np.exp2(-(self.ended - second + 1) / self.half_life)

    def masses(self) -> tuple[dict[int, float], dict[int, float]]:
        out: tuple[dict[int, float], dict[int, float]] = ({}, {})
        side, level, qty, second = self.all[: self.count][self.alive[: self.count]].T
        mass = qty * self.age(second)
        for s in (LONG, SHORT):
            levels, where = np.unique(level[side == s], return_inverse=True)
            out[s].update(zip(levels.astype(int).tolist(), np.bincount(where, mass[side == s]).tolist(), strict=True))
        return out

    def calibration(self, a_minute: float) -> float:
        """What the forced orders held, over what the ladder had where price went since the first of them."""
        if not self.forced or a_minute <= 0:
            return 1.0
        observed = sum(qty * float(self.age(np.array(second))) for qty, second in self.forced)
        _, _, qty, second = self.all[: self.count][self.found[: self.count]].T
        predicted = float((qty * self.age(second)).sum())
        return min(100.0, max(0.01, (observed + a_minute) / (predicted + a_minute)))
