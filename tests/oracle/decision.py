"""The first decision as a list of questions: the first one answered with yes is the reason, and gives the action.

The order and the meaning are cwts_reason's in cwts.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cwts.kernel.layout import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

ACTIONS = {
    Reason.EXIT_HALT: Action.EXIT,
    Reason.EXIT_LOSS: Action.EXIT,
    Reason.EXIT_SWAN: Action.EXIT,
    Reason.EXIT_CASCADE: Action.EXIT,
    Reason.EXIT_TIME: Action.EXIT,
    Reason.EXIT_SIGNAL: Action.EXIT,
    Reason.WHALE_UP: Action.BUY,
    Reason.VALUE_UP: Action.BUY,
    Reason.SCORE_UP: Action.BUY,
    Reason.WHALE_DOWN: Action.SELL,
    Reason.VALUE_DOWN: Action.SELL,
    Reason.SCORE_DOWN: Action.SELL,
}


@dataclass(frozen=True)
class Rules:
    """What a person has set."""

    spot: bool
    stale_ns: int
    warmup_ns: int
    cooldown_ns: int
    max_hold_ns: int
    max_spread: int
    max_loss_e8: int
    capital_e8: int
    enter: float
    exit: float
    parameter: Mapping[str, float]  # the group "decision" of the parameters


@dataclass(frozen=True)
class Situation:
    """What is the case. Times are how long ago something happened."""

    synced: bool
    since_update_ns: int
    bid: tuple[int, int]  # price, quantity; (0, 0): none
    ask: tuple[int, int]
    pending: bool  # an order is on its way
    halted: bool
    position: int  # whole lots, signed
    equity_e8: int
    since_opened_ns: int
    since_synced_ns: int
    since_closed_ns: int
    size: int  # what an order that opens would ask for; 0: too small
    score: float
    part: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of it: features, whales, value network
    signal: Mapping[str, float] = field(default_factory=dict)  # by the names of cwts_signal; others are 0


def decide(rules: Rules, now: Situation) -> tuple[Reason, Action]:
    held = now.position != 0
    against = -now.score if now.position > 0 else now.score
    p = rules.parameter
    up = now.score > 0

    def signal(name: str) -> float:
        return now.signal.get(name, 0.0)

    held_threat = signal("CASCADE_DOWN" if now.position > 0 else "CASCADE_UP")
    entry_threat = signal("CASCADE_DOWN" if up else "CASCADE_UP")
    cluster, mass = (signal(f"LIQUIDATION_{'DOWN' if up else 'UP'}{what}") for what in ("", "_MASS"))
    features, whales, value = (part if up else -part for part in now.part)
    speaker = "WHALE" if whales > features and whales >= value else "VALUE" if value > features else "SCORE"
    lost = rules.capital_e8 - now.equity_e8 >= rules.max_loss_e8
    quoted = now.bid[1] > 0 and now.ask[1] > 0 and now.bid[0] < now.ask[0]
    questions = [
        (Reason.BOOK_INVALID, not now.synced),
        (Reason.STALE, now.since_update_ns > rules.stale_ns),
        (Reason.CROSSED, not quoted),
        (Reason.ORDER_PENDING, now.pending),
        (Reason.EXIT_HALT, now.halted and held),
        (Reason.HALTED, now.halted or (lost and not held)),
        (Reason.EXIT_LOSS, held and lost),
        (Reason.EXIT_SWAN, held and signal("SWAN_ALARM") > 0 and p["swan_exit"] >= 1),
        (Reason.EXIT_CASCADE, held and 0 < held_threat >= p["cascade_exit"]),
        (Reason.EXIT_TIME, held and now.since_opened_ns >= rules.max_hold_ns),
        (Reason.EXIT_SIGNAL, held and against >= rules.exit),
        (Reason.HOLDING, held),
        (Reason.WARMUP, now.since_synced_ns < rules.warmup_ns),
        (Reason.SPREAD, now.ask[0] - now.bid[0] > rules.max_spread),
        (Reason.COOLDOWN, now.since_closed_ns < rules.cooldown_ns),
        (Reason.TOO_SMALL, now.size == 0),
        (Reason.NO_SHORT, rules.spot and now.score <= -rules.enter),
        (Reason.NO_SIGNAL, -rules.enter < now.score < rules.enter),
        (Reason.SWAN, signal("SWAN_ALARM") > 0),
        (Reason.CRITICAL, 0 < signal("CRITICALITY") >= p["criticality_max"]),
        (Reason.CASCADE, 0 < entry_threat >= p["cascade_entry"]),
        (Reason.LIQUIDATION, 0 < cluster < p["liquidation_bp"] and mass >= p["liquidation_mass"]),
        (Reason.FRAGILE, 0 > signal("ANTIFRAGILITY") <= -p["fragility_max"]),
    ]
    opening = Reason[f"{speaker}_{'UP' if up else 'DOWN'}"]
    reason = next((reason for reason, yes in questions if yes), opening)
    return reason, ACTIONS.get(reason, Action.HOLD)
