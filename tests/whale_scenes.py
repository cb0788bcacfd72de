"""Made markets with known whales in them: tapes of trades, and a book in which someone spoofs or hides."""

from __future__ import annotations

import json
import random
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.kernel import Engine, layout
from cwts.parameters import PARAMETERS
from market import SECOND, START_NS, Market, frame, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

MS = SECOND // 1000
GAP_NS = int(PARAMETERS["whale.gap_ms"].default * MS)
Print = tuple[int, int, int]  # when, quantity in 0.001, aggressor


def background(seconds: float, seed: int, *, rate: float = 6.0, same: float = 0.7) -> list[Print]:
    """Orders at random, log-normal about as those of the recordings, in one to four prints; the side of the next one is
    the same with this probability."""
    rng = random.Random(seed)
    prints: list[Print] = []
    ns, aggressor = float(START_NS), 1
    while (ns := ns + rng.expovariate(rate) * SECOND) < START_NS + seconds * SECOND:
        aggressor = aggressor if rng.random() < same else -aggressor
        count = rng.randint(1, 4)
        qty = max(count, int(100 * rng.lognormvariate(0, 2.3)))
        prints += [(int(ns) // MS * MS, qty // count, aggressor)] * count
    return prints


def cluster_sizes(prints: Iterable[Print]) -> NDArray[np.float64]:
    """By the plainest means: trades of a side that follow each other within the gap. Quantities."""
    sizes: list[float] = []
    last: dict[int, tuple[int, int]] = {}
    for ns, qty, aggressor in prints:
        if aggressor not in last or ns - last[aggressor][0] > GAP_NS:
            sizes.append(0)
            last[aggressor] = ns, len(sizes) - 1
        index = last[aggressor][1]
        last[aggressor] = ns, index
        sizes[index] += qty
    return np.array(sizes)


@dataclass
class Plan:
    """How whales are planted: each is `times` the 99th percentile of clusters, in `children` orders that are `stealth`
    gaps apart on average; equal, or exponential at random."""

    times: float
    children: int = 1
    stealth: float = 0.5
    every_s: float = 40.0
    warm_s: float = 200.0
    uneven: bool = False


def planted(prints: list[Print], plan: Plan, p99: float, seed: int) -> list[list[Print]]:
    rng = random.Random(seed)
    whales = []
    ns, end = prints[0][0] + plan.warm_s * SECOND, prints[-1][0]
    while ns < end:
        aggressor, at, whale = rng.choice([1, -1]), int(ns), []
        shares = [rng.expovariate(1) if plan.uneven else 1.0 for _ in range(plan.children)]
        for share in shares:
            whale.append((at // MS * MS, max(1, int(plan.times * p99 * share / sum(shares))), aggressor))
            at += int(plan.stealth * GAP_NS * rng.uniform(0.2, 1.8))
        whales.append(whale)
        ns += plan.every_s * SECOND * rng.uniform(0.8, 1.2)
    return whales


def recorded(path: Path, times: int = 1) -> list[Print]:
    """The trades of a Binance recording, so many times one after the other: one is too short to plant many whales."""
    prints: list[Print] = []
    for ns, raw in lines_of(path):
        if b'"e":"trade"' in raw and float((m := json.loads(raw)["data"])["q"]):
            prints.append((ns // MS * MS, max(1, round(float(m["q"]) * 1000)), -1 if m["m"] else 1))
    span = prints[-1][0] - prints[0][0] + SECOND
    return [(ns + i * span, qty, aggressor) for i in range(times) for ns, qty, aggressor in prints]


def config(**changed: float) -> bytes:
    c: Any = np.frombuffer(Market("binance", "BTCUSDT").config, layout.CONFIG).copy()
    for name, value in changed.items():
        c["parameter"][0, list(PARAMETERS).index(f"whale.{name}")] = value
    return bytes(c.tobytes())


def trade_frame(number: int, one: Print) -> bytes:
    ns, qty, aggressor = one
    maker = "false" if aggressor > 0 else "true"
    head = f'"e":"trade","E":{ns // MS},"T":{ns // MS},"s":"BTCUSDT","t":{number}'
    text = f'{{{head},"p":"100","q":"{qty / 1000:.3f}","m":{maker}}}'
    return frame(text.encode(), ns)


@dataclass
class Found:
    """Clusters and excursions: of the background alone, after the warm-up."""

    whales: int = 0
    detected: int = 0
    by_cluster: int = 0  # of the detected
    clusters: int = 0
    false_alarms: int = 0
    excursions: int = 0
    false_patient: int = 0  # excursions that are called a whale
    taken: float = 0.0  # of the detected: sum of the shares of their orders that had come by then

    def __add__(self, other: Found) -> Found:
        return Found(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def rate(self) -> float:
        return self.detected / max(1, self.whales)

    @property
    def taken_when_found(self) -> float:
        return self.taken / max(1, self.detected)

    @property
    def false_alarm_rate(self) -> float:
        return self.false_alarms / max(1, self.clusters)

    @property
    def false_patient_rate(self) -> float:
        return self.false_patient / max(1, self.excursions)


@dataclass
class Watch:
    """What a side is doing, as the kernel sees it, and whose it is."""

    prints: int = 0
    began: int = -1
    whales: set[int] = field(default_factory=set)  # with a child in the open cluster
    clusters: int = 0
    called: bool = False  # the excursion is a whale's
    members: set[int] = field(default_factory=set)  # whales with a child in the excursion


def detect(
    prints: list[Print], whales: list[list[Print]], engine_name: str, warm_s: float = 200.0, **changed: float
) -> Found:
    """Feeds both in order of time. A whale is found where the cluster that its newest child is in, or the excursion
    that any is in, counts as one; any of them without a whale's child in it that does is a false alarm."""
    engine = Engine(config(**changed), kernel=engine_name)
    w = engine.view["whale"]
    first, counted, prints_of = (w["open"][name] for name in ("first_ns", "counted", "prints"))
    of_excursion, called = (w["excursion"][name] for name in ("clusters", "counted"))
    tape = [(p, -1) for p in prints] + [(child, i) for i, whale in enumerate(whales) for child in whale]
    tape.sort(key=lambda pair: pair[0][0])
    result, by_cluster, patient, alarms = Found(len(whales)), set(), set(), set()
    sides, come, found = (Watch(), Watch()), [0] * len(whales), set()
    warm = prints[0][0] + warm_s * SECOND
    for number, (one, whale) in enumerate(tape):
        engine.feed(trade_frame(number, one))
        ns, _, aggressor = one
        side = 0 if aggressor > 0 else 1
        for i, s in enumerate(sides):
            began, clusters = int(first[i]), int(of_excursion[i])
            closed = s.prints and (began != s.began or not prints_of[i])
            over = clusters < s.clusters or (closed and clusters <= 1)  # the excursion before this frame's, or this one
            if over and clusters == 1:
                _excursion_over(result, s, counts=ns > warm)
            if closed:
                s.members |= s.whales
                s.whales = set()
            s.clusters, s.began, s.prints = clusters, began, int(prints_of[i])
            s.called |= bool(called[i] > 0)
            if s.called:
                patient |= s.members
            if over and clusters == 0:
                _excursion_over(result, s, counts=ns > warm)
        s = sides[side]
        if whale >= 0:
            s.whales.add(whale)
            come[whale] += 1
            if counted[side] > 0:
                by_cluster.add(whale)
        for new in (by_cluster | patient) - found:
            found.add(new)
            result.taken += come[new] / len(whales[new])
        if whale < 0 and ns > warm and not s.whales:  # a cluster with a whale's child in it is the whale's
            result.clusters += int(prints_of[side]) == 1
            if counted[side] > 0:
                alarms.add((aggressor, s.began))
    result.detected, result.by_cluster, result.false_alarms = len(found), len(by_cluster), len(alarms)
    return result


def _excursion_over(result: Found, s: Watch, *, counts: bool) -> None:
    if counts and not s.members:
        result.excursions += 1
        result.false_patient += int(s.called)
    s.called, s.members = False, set()


@dataclass
class Scene:
    """A book of ticks of 0.01 whose levels are log-normal and change all the time; `send` is given its messages."""

    send: Any
    seed: int = 1
    mid: int = 10_000
    id: int = 100
    number: int = 0
    sides: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    fixed: dict[tuple[int, int], int] = field(default_factory=dict)  # (side, price): what someone keeps there

    left: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.say = Market("binance", "BTCUSDT")
        self._fill()
        texts = [self._levels(side, self.sides[side]) for side in (0, 1)]
        self.send(self.say.snapshot(self.id, *texts), 0)
        self.step()

    def _levels(self, side: int, levels: dict[int, int]) -> list[tuple[str, str]]:
        return [(f"{p / 100:.2f}", f"{q / 1000:.3f}") for p, q in sorted(levels.items(), reverse=side == 0)]

    def _size(self) -> int:
        return max(1, int(1000 * self.rng.lognormvariate(0, 0.8)))

    def _fill(self) -> list[dict[int, int]]:
        """The levels that belong to this mid, and those that someone keeps; returns what changed."""
        changes = []
        for side, sign in ((0, -1), (1, 1)):
            levels, change = self.sides[side], {}
            wanted = [self.mid + sign * i for i in range(1, 41)]
            for price in set(levels) - set(wanted):
                change[price] = 0
            for price in wanted:
                if price not in levels or (side, price) in self.left or self.rng.random() < 0.1:
                    change[price] = self._size()
                if (side, price) in self.fixed:
                    change[price] = self.fixed[side, price]
            levels |= change
            for price in [p for p, q in levels.items() if not q]:
                del levels[price]
            changes.append(change)
        self.left.clear()
        return changes

    def step(self, count: int = 1, *, to: int | None = None) -> None:
        """Tenths of a second pass; the mid walks to a price, a tick at a time."""
        target, left = self.mid if to is None else to, count
        while left > 0 or self.mid != target:
            self.mid += (target > self.mid) - (target < self.mid)
            left -= 1
            texts = [self._levels(side, change) for side, change in enumerate(self._fill())]
            self.id += 1
            self.send(self.say.depth(self.id, self.id, None, *texts), 100 * MS)

    def keep(self, side: int, price: int, qty: int | None) -> None:
        """Someone keeps a quantity at a price, or no longer."""
        if qty is None:
            self.fixed.pop((side, price), None)
            self.left.add((side, price))  # what others show there comes with the next message
        else:
            self.fixed[side, price] = qty

    def trade(self, price: int, qty: int, aggressor: int, after: int = 0) -> None:
        self.number += 1
        ms = START_NS // MS + self.number
        one = self.say.trade(self.number, f"{price / 100:.2f}", f"{qty / 1000:.3f}", maker=aggressor < 0, T=ms)
        self.send(one, after)
