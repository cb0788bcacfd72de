"""Convexity to volatility as docs/antifragility.md defines it: weighted means over the whole past, by groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

ENOUGH = 8
STANDARD_ERRORS = 2


@dataclass(frozen=True)
class Convexity:
    value: float = 0.0
    error: float = 0.0
    score: float = 0.0
    known: bool = False


def convexity(seconds: Sequence[tuple[float, float, float]], memory_s: float) -> Convexity:
    """Of (return, market's move, threshold), oldest first: E[r | up] + E[r | down] - 2 E[r] and its standard error."""
    if not seconds:
        return Convexity()
    r, move, threshold = np.array(seconds).T
    weight = (1 - 1 / memory_s) ** np.arange(len(r) - 1, -1, -1)
    groups = move > threshold, move < -threshold, np.abs(move) <= threshold
    average = float(np.average(r, weights=weight))
    all_independent = weight.sum() ** 2 / (weight**2).sum()
    value = -2 * average
    squared = 0.0
    enough = True
    for i, group in enumerate(groups):
        if not group.any():
            enough &= i == 2
            continue
        w = weight[group]
        mean = float(np.average(r[group], weights=w))
        variance = float(np.average((r[group] - mean) ** 2, weights=w))
        independent = w.sum() ** 2 / (w**2).sum()
        factor = (i < 2) - 2 * w.sum() / weight.sum()  # of the group's mean in the whole
        squared += factor**2 * variance / independent
        squared += 4 * w.sum() / weight.sum() * (mean - average) ** 2 / all_independent  # how many fall into the group
        if i < 2:
            value += mean
            enough &= bool(independent > ENOUGH)
    score = value / np.sqrt(value**2 + STANDARD_ERRORS**2 * squared) if value and enough else 0.0
    return Convexity(value, float(np.sqrt(squared)), float(score), enough)
