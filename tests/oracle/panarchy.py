"""The adaptive cycle of docs/panarchy.md, second by second from closed bars: each sum is taken over the whole past.

What the definition leaves open, said here: a bar whose book was invalid is passed over, and neither depth nor flow is
compared across it or across a silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

R, K, RELEASE, REORGANISATION = range(4)
# potential, connectedness, resilience
PLACES = np.array([(0.45, 0.05, 0.6), (0.55, 0.35, 0.45), (0.1, 0.45, 0.1), (0.15, 0.25, 0.75)])
RISKS = np.array([1.0, 0.7, 0.0, 0.4])
WARM = 30


@dataclass
class Second:
    potential: float = 0.0
    connectedness: float = 0.0
    resilience: float = 0.0
    phase: float = 0.0  # as the signals say: 0 while not known
    risk: float = 0.0


def table() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Phase and risk of each cell."""
    steps = (np.arange(16) + 0.5) / 16
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    distance = ((places - PLACES) ** 2).sum(axis=2)
    weight = 1 / (distance + 0.01)
    return distance.argmin(axis=1), np.floor(255 * (weight * RISKS).sum(axis=1) / weight.sum(axis=1) + 0.5)


def decayed(values: Sequence[float], tau: float) -> float:
    ages = np.arange(len(values) - 1, -1, -1)
    return float(np.dot(values, (1 - 1 / tau) ** ages)) if len(values) else 0.0


def follow(
    bars: Iterable[Any], usual_s: float = 300, smooth_s: float = 3, flow_s: float = 30, refill_s: float = 10,
    dwell_s: float = 5,
) -> list[Second]:  # fmt: skip
    phases, risks = table()
    moves: list[float] = []  # changes of the smoothed depth, shares of the usual one
    products: list[float] = []
    squares: list[float] = []
    usual = depth = flow = risk = 0.0
    seen = since = last = phase = 0
    votes = np.zeros(4)
    told: list[Second] = []
    for bar in bars:
        if not bar["synced"]:
            since, risk, votes = 0, 0.0, np.zeros(4)
            told.append(Second(*vars(told[-1]).values()) if told else Second())
            told[-1].phase = told[-1].risk = 0.0
            continue
        follows = since > 0 and int(bar["second"]) == last + 1
        seen, since, last = seen + 1, since + 1, int(bar["second"])
        now = float(bar["depth"][0]) + float(bar["depth"][1])
        bought, sold = float(bar["bought"]), float(bar["sold"])
        before, flow_before = depth, flow
        flow = (bought - sold) / (bought + sold) if bought + sold > 0 else 0.0
        usual += (now - usual) / min(usual_s, seen)
        depth = before + (now - before) / smooth_s if follows else now
        if follows and usual > 0:
            moves.append((depth - before) / usual)
            products.append(flow * flow_before)
            squares.append(flow * flow)
        filled = depth / usual if usual > 0 else 0.0
        returned, eaten = decayed([max(m, 0) for m in moves], refill_s), decayed([max(-m, 0) for m in moves], refill_s)
        square = decayed(squares, flow_s)
        at = (
            filled**2 / (1 + filled**2),
            min(1.0, max(0.0, decayed(products, flow_s) / square)) if square > 1e-12 else 0.0,
            returned / (returned + eaten) if returned + eaten > 1e-12 else 0.5,
        )
        cell = 0
        for coordinate in at:
            cell = cell * 16 + min(15, int(coordinate * 16))
        says = int(phases[cell])
        votes += (np.eye(4)[says] - votes) / dwell_s
        if votes[says] > votes[phase] + 0.25:
            phase = says
        risk = min(risk, risks[cell] / 255) if risks[cell] / 255 < risk else risk + (risks[cell] / 255 - risk) / dwell_s
        known = seen >= WARM and since >= dwell_s
        told.append(Second(*at, phase=float(phase) if known else 0.0, risk=risk if known else 0.0))
    return told
