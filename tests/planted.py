"""Markets and accounts with a known answer: a collapse, swings, payoffs. Tests and pages use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cwts.kernel.layout import Part, Signal
from oracle.fibonacci import SWINGS
from seconds import Tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.kernel import Engine

NO_DECISIONS = int(Part.BOOK | Part.FEATURES | Part.BRAIN)  # so that a test may write the account
CAPITAL = 1000 * 10**8


def collapse(engine_name: str, seed: int) -> tuple[list[int], list[float], Tape]:
    """240 s calm, 120 s deep and connected, 20 s of one-sided selling into a vanishing book, 120 s of refill."""
    rng = np.random.default_rng(seed)
    m = Tape(engine_name)
    m.snapshot(depth=100)
    noise, side = 0.0, 1
    phases: list[int] = []
    risks: list[float] = []

    def second(depth: float, side: int, size: float) -> None:
        nonlocal noise
        noise = noise / 2 + rng.normal(0, 0.06)
        most, least = max(0.001, size * rng.exponential()), 0.01 * size
        bought, sold = (most, least) if side > 0 else (least, most)
        m.tell(depth=depth * np.exp(noise), bought=bought, sold=sold)
        phases.append(int(m.signal[Signal.PHASE]))
        risks.append(float(m.signal[Signal.RISK]))

    def persistent(share: float) -> int:
        nonlocal side
        side = side if rng.random() < share else -side
        return side

    for _ in range(240):
        second(100, persistent(0.5), 1)
    for _ in range(120):
        second(150, persistent(0.75), 0.5)
    for t in range(20):
        second(150 * max(0.1, 1 - 0.3 * t), -1, 5)
    for t in range(120):
        second(15 + 75 * (1 - np.exp(-t / 12)), int(rng.choice([-1, 1])), 1)
    return phases, risks, m


def planted(rng: np.random.Generator, turns: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Straight legs of 60 to 120 ticks, at one to three a second and with steps back of one: prices and turns."""
    price, path, ends = 100_000, [100_000] * 3, []
    sign = 1
    for _ in range(turns):
        target = price + sign * int(rng.integers(60, 120))
        while price != target:
            price += sign * min(int(rng.integers(1, 4)), abs(target - price))
            path.append(price)
            if price != target and rng.random() < 0.3:
                path += [price - sign, price]
        ends.append((price, len(path) - 1))
        sign = -sign
    return path, ends


def swings(engine: Engine) -> list[tuple[int, int]]:
    """(price, second) of the pivots that the block holds, oldest first."""
    f = engine.view["fibonacci"]
    count = int(f["pivots"])
    kept = [f["pivot"][i % SWINGS] for i in range(max(0, count - SWINGS), count)]
    return [(int(p["price"]), int(p["second"])) for p in kept]


def strategy(
    engine_name: str, payoff: Callable[[float], float], seed: int, seconds: int = 600, noise: float = 0.0
) -> tuple[Tape, list[tuple[float, float]]]:
    """A market of 1 bp a second, and a position whose return of each second is a function of the market's."""
    rng = np.random.default_rng(seed)
    m = Tape(engine_name, parts=NO_DECISIONS)
    m.snapshot(1_000_000)
    m.view["account"]["position_e8"] = 10**8
    price, equity = 1_000_000, float(m.view["account"]["equity_e8"])
    returns = []
    for move in rng.normal(0, 1e-4, seconds):
        before = 2 * price + 1
        price = round(price * (1 + move))
        change = (2 * price + 1 - before) / before
        r = payoff(change) + rng.normal(0, noise)
        equity += r * CAPITAL
        m.view["account"]["equity_e8"] = round(equity)
        m.tell(price)
        returns.append((r, change))
    return m, returns


LONG = (lambda m: abs(m) - 0.8e-4, 1)
SHORT = (lambda m: 0.8e-4 - abs(m), -1)
LINEAR = (lambda m: 2 * m, 0)
PLANTED = 2 * (1.5251 - 0.7979)  # E|z| beyond one sigma less E|z|, twice: in sigmas
