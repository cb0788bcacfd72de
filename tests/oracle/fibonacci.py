"""Swings and levels of docs/fibonacci.md, in batch: each leg is searched for in the whole path after its begin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATIOS = (-1.618, -1.0, -0.618, -0.272, 0, 0.236, 0.382, 0.5, 0.618, 0.786, 0.886, 1.0, 1.272, 1.618, 2.0, 2.618)
SWINGS = 16
RECENCY = 0.9
TAUS = (10, 60, 300, 1800)


@dataclass(frozen=True)
class Pivot:
    price: int
    second: int
    known: int  # index of the bar at whose end it was known


def volatility(bars: Sequence[Any], horizon_s: float) -> NDArray[np.float64]:
    """Of a move over the horizon, as known at the end of each bar."""
    tau = next((tau for tau in TAUS if tau >= horizon_s), TAUS[-1])
    mean, n, out = 0.0, 0, []
    for bar in bars:
        if bar["known"]:
            n += 1
            mean += (float(bar["change"]) ** 2 - mean) * (1.0 / min(tau, n))
        out.append(np.sqrt(mean) * np.sqrt(horizon_s))
    return np.array(out)


def zigzag(bars: Sequence[Any], share: NDArray[np.float64], least: float) -> tuple[list[Pivot], int]:
    """All swings' ends, and how far the leg after them has come.

    `share` of the price, but at least `least`, ends a swing; only bars with a valid book count.
    """
    valid = [i for i, bar in enumerate(bars) if bar["synced"]]
    high, low, close = (np.array([int(bars[i][name]) for i in valid], np.int64) for name in ("high", "low", "close"))
    share = share[valid]
    if not valid:
        return [], 0

    def pivot(price: int, at: int, known: int) -> Pivot:
        return Pivot(price, int(bars[valid[at]]["second"]), valid[known])

    tops, bottoms = np.maximum.accumulate(close), np.minimum.accumulate(close)
    falls = tops - close >= np.maximum(share * tops, least)
    rises = close - bottoms >= np.maximum(share * bottoms, least)
    if not (falls | rises).any():
        return [], 0
    at = int(np.argmax(falls | rises))
    up = not falls[at]
    first = int(bottoms[at] if up else tops[at])
    pivots = [pivot(first, int(np.argmax(close == first)), at)]
    begin, begin_price = at, int(close[at])  # where the leg has come to when it is known
    while begin + 1 < len(valid):
        far, back = (high, low) if up else (low, high)
        sign = 1 if up else -1
        # at begin the leg stands at begin_price; every later bar may carry it on or turn it
        after = slice(begin + 1, None)
        reached = sign * np.maximum.accumulate(np.concatenate([[sign * begin_price], sign * far[after]]))
        carried = reached[1:] != reached[:-1]
        shown = np.where(carried, close[after], back[after])
        turned = sign * (reached[1:] - shown) >= np.maximum(share[after] * reached[1:], least)
        if not turned.any():
            return pivots, int(reached[-1])
        known = begin + 1 + int(np.argmax(turned))
        price = int(reached[known - begin])
        where = begin + int(np.argmax(reached == price))
        pivots.append(pivot(price, where, known))
        begin, begin_price, up = known, int(shown[known - begin - 1]), not up
    return pivots, begin_price


def levels(ends: Sequence[int]) -> list[tuple[float, int]]:
    """(level, age of its swing) sorted by level; `ends` are the swings' ends, oldest first, the current leg's last."""
    legs = list(pairwise(ends))[-SWINGS:]
    out = [
        (float(end) + ratio * (float(begin) - float(end)), len(legs) - 1 - i)
        for i, (begin, end) in enumerate(legs)
        for ratio in RATIOS
    ]
    return sorted(out)


def signals(told: Sequence[tuple[float, int]], price: float, unit: float, tolerance: float) -> tuple[float, float]:
    """Distance to the nearest level (the lower one of two as near) in units, and the weight of swings that agree."""
    nearest = min((level for level, _ in told), key=lambda level: (abs(level - price), level))
    agree = {age for level, age in told if abs(level - nearest) <= tolerance * unit}
    weights = [RECENCY**age for age in range(SWINGS)]
    return (nearest - price) / unit, sum(weights[age] for age in agree) / sum(weights)
