"""The first decision as a list of questions: the first one answered with yes is the reason, and gives the action.

The order and the meaning are cwts_reason's in cwts.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from cwts.kernel.layout import Action, Reason

ACTIONS = {
    Reason.EXIT_HALT: Action.EXIT,
    Reason.EXIT_LOSS: Action.EXIT,
    Reason.EXIT_TIME: Action.EXIT,
    Reason.EXIT_SIGNAL: Action.EXIT,
    Reason.SCORE_UP: Action.BUY,
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


def decide(rules: Rules, now: Situation) -> tuple[Reason, Action]:
    held = now.position != 0
    against = -now.score if now.position > 0 else now.score
    quoted = now.bid[1] > 0 and now.ask[1] > 0 and now.bid[0] < now.ask[0]
    questions = [
        (Reason.BOOK_INVALID, not now.synced),
        (Reason.STALE, now.since_update_ns > rules.stale_ns),
        (Reason.CROSSED, not quoted),
        (Reason.ORDER_PENDING, now.pending),
        (Reason.EXIT_HALT, now.halted and held),
        (Reason.HALTED, now.halted),
        (Reason.EXIT_LOSS, held and rules.capital_e8 - now.equity_e8 >= rules.max_loss_e8),
        (Reason.EXIT_TIME, held and now.since_opened_ns >= rules.max_hold_ns),
        (Reason.EXIT_SIGNAL, held and against >= rules.exit),
        (Reason.HOLDING, held),
        (Reason.WARMUP, now.since_synced_ns < rules.warmup_ns),
        (Reason.SPREAD, now.ask[0] - now.bid[0] > rules.max_spread),
        (Reason.COOLDOWN, now.since_closed_ns < rules.cooldown_ns),
        (Reason.TOO_SMALL, now.size == 0),
        (Reason.NO_SHORT, rules.spot and now.score <= -rules.enter),
        (Reason.SCORE_UP, now.score >= rules.enter),
        (Reason.SCORE_DOWN, now.score <= -rules.enter),
    ]
    reason = next((reason for reason, yes in questions if yes), Reason.NO_SIGNAL)
    return reason, ACTIONS.get(reason, Action.HOLD)
