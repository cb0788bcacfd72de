"""The black swan as docs/swan.md defines it, from all bars ever seen, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Lower edges of the bins of |z|, eight an octave.
EDGES = np.array([2.0**octave * (1 + part / 8) for octave in range(-6, 6) for part in range(8)] + [64.0])


@dataclass
class Bar:
    second: int
    close: int
    change: float
    depth: tuple[float, float]
    updates: int
    synced: bool


@dataclass
class Fit:
    threshold: float
    share: float
    hill: float
    shape: float
    scale: float
    weights: Floats
    sample: Floats

    def exceed(self, k: float) -> float:
        """Probability that one return is above k standard deviations."""
        if self.scale <= 0:
            return 0.0
        if k <= self.threshold:
            edge = EDGES[min(max(k, EDGES[0]), 63.9) >= EDGES].max()
            return float(self.weights[self.sample >= edge].sum() / self.weights.sum())
        y, xi = (k - self.threshold) / self.scale, self.shape
        if abs(xi) < 1e-6:
            return self.share * math.exp(-y)
        return self.share * max(0.0, 1 + xi * y) ** (-1 / xi) if 1 + xi * y > 0 else 0.0


def fit(sample: Floats, memory: float, quantile: float, *, binned: bool = True) -> Fit:
    """Peaks over threshold of |z|, the newest last. `binned`: values of a bin are spread evenly over it when ranked."""
    z = np.clip(sample, EDGES[0], 63.9)
    w = (1 + 1 / memory) ** -np.arange(len(z), 0.0, -1.0)
    total = w.sum()
    # the threshold is a bin's edge: the highest one that enough is above of
    inside = np.histogram(z, EDGES, weights=w)[0]
    above = np.cumsum(inside[::-1])[::-1]
    u = EDGES[max(1, int(np.flatnonzero(above >= (1 - quantile) * total)[-1]))]
    tail = z >= u
    y, w_tail = z[tail] - u, w[tail]
    n = w_tail.sum()
    a0 = float(np.dot(w_tail, y) / n)
    if binned:
        values = np.histogram(z, EDGES, weights=w * (z - u))[0]
        ranked = values * (above - inside / 2) - inside**2 * np.diff(EDGES) / 12
        a1 = float(ranked[EDGES[:-1] >= u].sum() / n**2)
    else:
        order = np.argsort(-y)
        rank = np.cumsum(w_tail[order]) - w_tail[order] / 2
        a1 = float(np.dot(w_tail[order] * y[order], rank) / n**2)
    shape = min(0.9, max(-0.5, 2 - a0 / (a0 - 2 * a1))) if a0 > 0 and a0 > 2 * a1 else 0.2
    shape = (n * shape + 20 * 0.2) / (n + 20)
    logs = np.dot(w_tail, np.log(z[tail] / u))
    return Fit(float(u), float(n / total), float(n / logs) if logs > 0 else 0.0, float(shape), a0 * (1 - shape), w, z)


class Swan:
    def __init__(
        self,
        tick: int,
        *,
        k_sigma: float = 20,
        horizon_s: float = 60,
        volatility_s: float = 60,
        memory_s: float = 14400,
        quantile: float = 0.95,
        on: float = 0.5,
        vacuum_on: float = 0.9,
        off: float = 0.5,
        hold_s: float = 30,
    ) -> None:
        self.tick, self.k, self.horizon, self.tau = tick, k_sigma, int(horizon_s), volatility_s
        self.memory, self.quantile = memory_s, quantile
        self.on, self.vacuum_on, self.off, self.hold = on, vacuum_on, off, int(hold_s)
        self.run: list[Bar] = []  # consecutive bars with a valid book
        self.deviations: list[float] = []  # after each of them
        self.newest: int | None = None
        self.squares: list[float] = []
        self.variance = 0.0
        self.sample: list[float] = []
        self.empty = 0
        self.z = self.move = self.vacuum = self.probability = self.danger = 0.0
        self.alarm = False
        self.quiet = 0
        self.fit: Fit | None = None

    def bar(self, bar: Bar) -> None:
        follows = self.newest is not None and self.newest + 1 == bar.second
        self.newest = bar.second
        self.z = self.move = self.vacuum = self.probability = self.danger = 0.0
        if not bar.synced or not follows:
            self.run, self.deviations, self.empty = [], [], 0
        if not bar.synced:
            return
        self.run.append(bar)
        if not bar.updates:
            self.empty += 1
        elif len(self.run) > 1:
            self._return(bar)
        self.deviations.append(self.deviation(bar))
        self.move = self._move()
        self.vacuum = max(self._vacuum(side) for side in (0, 1))
        if len(self.sample) >= 200:
            self.fit = fit(np.array(self.sample), self.memory, self.quantile)
            self.probability = 1 - (1 - self.fit.exceed(self.k)) ** self.horizon
        self._decide()

    def deviation(self, bar: Bar) -> float:
        """Not below half a tick: `close` is twice the mid."""
        return max(math.sqrt(self.variance), self.tick / bar.close)

    def _return(self, bar: Bar) -> None:
        square = bar.change**2 / (self.empty + 1)
        self.empty = 0
        self.squares.append(square)
        if len(self.squares) > 30:
            deviation = self.deviations[-1]
            self.z = math.sqrt(square) / deviation
            self.sample.append(self.z)
            square = min(square, (self.k * deviation) ** 2)
        self.variance += (square - self.variance) / min(self.tau, len(self.squares))

    def _move(self) -> float:
        if len(self.run) <= self.horizon or len(self.squares) <= 30 + self.horizon:
            return 0.0
        then, deviation = self.run[-1 - self.horizon], self.deviations[-1 - self.horizon]
        return abs(self.run[-1].close / then.close - 1) / (deviation * math.sqrt(self.horizon))

    def _vacuum(self, side: int) -> float:
        if len(self.run) <= 3:
            return 0.0
        mean = 0.0
        for i, bar in enumerate(self.run[:-1], 1):
            mean += (math.log(max(1.0, bar.depth[side])) - mean) / min(i, self.horizon)
        now = max(1.0, *(bar.depth[side] for bar in self.run[-3:]))
        return max(0.0, 1 - now / math.exp(mean))

    def _decide(self) -> None:
        self.danger = max(self.probability / self.on, max(self.z, self.move) / self.k, self.vacuum / self.vacuum_on)
        self.quiet = self.quiet + 1 if self.danger < self.off else 0
        if self.danger >= 1:
            self.alarm = True
        elif self.quiet >= self.hold:
            self.alarm = False
