"""Self-organised criticality as docs/soc.md defines it, from all events ever seen, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

LEVELS = 6
WINDOW = 3  # the level that is told: 8 steps
EDGES = [*range(1, 8), *((4 + i) << octave for octave in range(1, 15) for i in range(4))]  # of bins of sizes
CANDIDATES = 31


def decayed_mean(values: list[float], memory: float) -> float:
    """A plain mean of the first `memory` values, from then on an exponentially decayed one."""
    if len(values) <= memory:
        return sum(values) / max(1, len(values))
    share = 1 / np.minimum(np.arange(1, len(values) + 1), memory)
    left = np.cumprod((1 - share)[:0:-1])[::-1]
    return float(np.dot(values, share * np.append(left, 1.0)))


@dataclass
class Segment:
    """Counting without a break: the step that it begins in is not whole and does not count."""

    begin: int
    count: dict[int, int] = field(default_factory=dict)  # events by step
    end: int = 0  # steps before it are over
    last_event: int = 0


class Soc:
    def __init__(self, window_ms: float = 5000, memory_s: float = 1800, gap: float = 0.5, sample: float = 5000) -> None:
        self.step_ns = int(window_ms * 1e6 / 8)
        self.memory = max(1.0, memory_s * 1e9 / self.step_ns)
        self.gap, self.sample = gap, sample
        self.counts: list[float] = []  # of whole steps
        self.squares: list[list[float]] = [[] for _ in range(LEVELS)]  # half of squared differences of windows
        self.segment: Segment | None = None
        self.events = 0
        self.order: tuple[int, int] = (0, 0)
        self.size = 0
        self.sizes: list[int] = []
        self.fits: dict[int, tuple[float, float]] = {}  # by candidate: distance, alpha
        self.turn = 0
        self.signals = (0.0, 0.0, 0.0)  # CRITICALITY, BRANCHING, AVALANCHE: told once a second
        self.branching = [0.0] * LEVELS
        self.mean = 0.0

    # -- what happens -------------------------------------------------------------------------------------------------

    def trade(self, recv_ns: int, exchange_ns: int, aggressor: int, *, synced: bool) -> None:
        order, self.order = self.order, (exchange_ns, aggressor)
        if not synced or order == self.order:
            return
        self._until(recv_ns)
        segment = self.segment
        assert segment
        self.events += 1
        segment.count[segment.end] = segment.count.get(segment.end, 0) + 1
        if len(self.squares[WINDOW]) >= 20 and self.mean > 0:
            if segment.last_event and recv_ns - segment.last_event > self.gap * self.step_ns / self.mean:
                if self.size:
                    self.sizes.append(self.size)
                self.size = 0
            self.size += 1
        segment.last_event = max(segment.last_event, recv_ns)

    def second(self, second: int, *, synced: bool) -> None:
        if not synced:
            self._break()
            self.signals = (0.0, 0.0, 0.0)
            return
        self._until((second + 1) * 10**9)
        if self.sizes:
            self.turn = self.turn % CANDIDATES + 1
            self._fit(self.turn)
        self.branching = [self._branching(level) for level in range(LEVELS)]
        n = self.branching[WINDOW] if len(self.squares[WINDOW]) >= 160 else 0.0
        alpha = self.exponent()
        heavy = min(1.0, max(0.0, (3 - alpha) / 1.5))
        self.signals = (math.sqrt(n * heavy) if alpha else n), n, alpha

    def _break(self) -> None:
        self.segment = None
        self.size = 0

    def _until(self, now: int) -> None:
        step = now // self.step_ns
        if self.segment and step - self.segment.end > 64:
            self._break()
        if not self.segment:
            self.segment = Segment(step, end=step)
        segment = self.segment
        while segment.end < step:
            segment.end += 1
            whole = segment.end - segment.begin - 1
            if whole < 1:
                continue
            counts = [segment.count.get(i, 0) for i in range(segment.end - min(whole, 64), segment.end)]
            self.counts.append(counts[-1])
            for level in range(LEVELS):
                m = 1 << level
                if whole >= 2 * m:
                    difference = sum(counts[-m:]) - sum(counts[-2 * m : -m])
                    self.squares[level].append(difference**2 / 2)
            self.mean = decayed_mean(self.counts, self.memory)

    # -- what it says -------------------------------------------------------------------------------------------------

    def _branching(self, level: int) -> float:
        mean, variance = self.mean * (1 << level), decayed_mean(self.squares[level], self.memory)
        return 1 - math.sqrt(mean / variance) if variance > mean else 0.0

    def _fit(self, candidate: int) -> None:
        sizes = np.array(self.sizes, np.float64)
        weights = (1 + 1 / self.sample) ** -np.arange(len(sizes), 0.0, -1.0)
        least = EDGES[candidate - 1]
        tail = sizes >= least
        x, w = sizes[tail], weights[tail]
        total = float(w.sum())
        edges = [edge for edge in EDGES[candidate:] if (x >= edge).any()]
        self.fits[candidate] = (2.0, 0.0)
        if total < 50 or not edges:
            return
        slope = total / float(np.dot(w, np.log(x / (least - 0.5))))
        worst = max(abs(float(w[x >= edge].sum()) / total - ((edge - 0.5) / (least - 0.5)) ** -slope) for edge in edges)
        self.fits[candidate] = (worst, 1 + slope)

    def exponent(self) -> float:
        fits = [fit for _, fit in sorted(self.fits.items()) if fit[0] < 2]
        return min(fits, key=lambda fit: fit[0])[1] if fits else 0.0
