"""Hold, buy, sell or exit: every reason as a case, what goes before what, and any situation at all against the twin.

A situation is written into the block, a timer asks for a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from cwts.config import Settings
from cwts.kernel import Engine, layout
from cwts.kernel.layout import Action, OrderState, Reason
from market import SECOND, START_NS, examples, frame
from oracle.account import Account
from oracle.decision import Rules, Situation, decide
from oracle.trader import parameters, risk_ppm
from twins import Terms

SETTINGS = Settings(
    weights={"SPREAD": 1.0}, enter=0.5, exit=0.25, warmup_s=10, cooldown_s=5, max_hold_s=30, stale_s=3, max_spread_bp=50
)
SPOT, LINEAR = Terms("binance", "BTCUSDT", settings=SETTINGS), Terms("binance-usdm", "BTCUSDT", settings=SETTINGS)
LONG_AGO = 10_000 * SECOND


@dataclass(frozen=True)
class Facts:
    """What is written into the block. Prices in cents, times in seconds ago, the position in lots of 0.001."""

    synced: bool = True
    since_update: float = 0
    bid: tuple[int, int] = (9_999, 1_000)
    ask: tuple[int, int] = (10_001, 1_000)
    pending: bool = False
    halted: bool = False
    position: int = 0
    lost: int = 0  # of the capital of 1000
    since_opened: float = 10
    since_synced: float = 10
    since_closed: float = 5
    capital_enough: bool = True
    score: float = 0.0  # of the features alone
    signals: tuple[tuple[str, float], ...] = ()
    swan_exit: bool = True


def ask(terms: Terms, facts: Facts, engine_name: str) -> tuple[tuple[Reason, Action], tuple[Reason, Action], Engine]:
    """The kernel's decision, the twin's, and the engine."""
    engine = Engine(terms.config(), kernel=engine_name)
    view: Any = engine.view
    now = START_NS

    def ago(seconds: float) -> int:
        return now - int(seconds * SECOND)

    view["config"]["parts"] = layout.Part.ALL - layout.Part.BRAIN  # the signals stay as they are written here
    view["config"]["parameter"][layout.Parameter.DECISION_SWAN_EXIT] = facts.swan_exit
    for name, value in facts.signals:
        view["signals"]["value"][layout.Signal[name]] = value
    twin = Account(view["config"].copy())
    if not facts.capital_enough:
        view["config"]["min_notional_e8"] = twin.config["min_notional_e8"] = 10**15
    twin.position_e8 = facts.position * 100_000
    touch = [facts.bid, facts.ask]
    twin.cash_e8 = 0
    twin.mark(touch)
    twin.cash_e8 = twin.equity_e8 = (1000 - facts.lost) * 10**8 - (twin.equity_e8 if facts.position else 0)
    if facts.position:
        twin.mark(touch)
    account, sync = view["account"], view["sync"]
    account["position_e8"], account["cash_e8"], account["equity_e8"] = twin.position_e8, twin.cash_e8, twin.equity_e8
    account["opened_ns"], account["closed_ns"] = ago(facts.since_opened), ago(facts.since_closed)
    if facts.pending:
        account["orders"] = 1
        account["order"][0]["state"], account["order"][0]["created_ns"] = OrderState.SENT, now
    sync["synced"], sync["book_ns"], sync["synced_ns"] = facts.synced, ago(facts.since_update), ago(facts.since_synced)
    sync["touch"]["price"] = facts.bid[0], facts.ask[0]
    sync["touch"]["qty"] = facts.bid[1], facts.ask[1]
    view["header"]["halted"] = facts.halted
    view["features"]["value"][layout.Feature.SPREAD] = facts.score
    engine.feed(frame(b"", now, kind=layout.Kind.TIMER))
    c = view["config"]
    times = {name: int(c[name]) for name in ("stale_ns", "warmup_ns", "cooldown_ns", "max_hold_ns")}
    rules = Rules(
        spot=c["contract"] == layout.Contract.SPOT, **times, max_spread=int(c["max_spread"]),
        max_loss_e8=int(c["max_loss_e8"]), capital_e8=int(c["capital_e8"]),
        enter=float(c["enter"]), exit=float(c["exit"]), parameter=parameters(c),
    )  # fmt: skip
    signal = {name: float(np.float32(value)) for name, value in facts.signals}
    situation = Situation(
        synced=facts.synced, since_update_ns=now - ago(facts.since_update), bid=facts.bid, ask=facts.ask,
        pending=facts.pending, halted=facts.halted, position=facts.position, equity_e8=twin.equity_e8,
        since_opened_ns=now - ago(facts.since_opened), since_synced_ns=now - ago(facts.since_synced),
        since_closed_ns=now - ago(facts.since_closed), size=twin.size(facts.bid[0], facts.ask[0], risk_ppm(c, signal)),
        score=float(view["decision"]["score"]), signal=signal,
        part=tuple(float(part) for part in view["decision"]["part"]),
    )  # fmt: skip
    found = Reason(int(view["decision"]["reason"])), Action(int(view["decision"]["action"]))
    return found, decide(rules, situation), engine


HALTS = {Reason.EXIT_LOSS, Reason.HALTED}
ALARM = (("SWAN_ALARM", 1.0),)
LONG, SHORT = {"position": 1000}, {"position": -1000}
CASES: dict[str, tuple[Terms, dict[str, Any], Reason, Action]] = {
    "no valid book": (LINEAR, {"synced": False, "score": 1}, Reason.BOOK_INVALID, Action.HOLD),
    "no valid book, whatever else": (
        LINEAR, {"synced": False, "halted": True, **LONG, "lost": 500}, Reason.BOOK_INVALID, Action.HOLD),
    "no update for stale_s": (LINEAR, {"since_update": 3.001, "score": 1}, Reason.STALE, Action.HOLD),
    "an update just in time": (LINEAR, {"since_update": 3, "score": 1}, Reason.SCORE_UP, Action.BUY),
    "stale with a position": (LINEAR, {"since_update": 4, **LONG, "lost": 500}, Reason.STALE, Action.HOLD),
    "no bid": (LINEAR, {"bid": (0, 0), "score": 1}, Reason.CROSSED, Action.HOLD),
    "no ask": (LINEAR, {"ask": (0, 0), "score": 1}, Reason.CROSSED, Action.HOLD),
    "crossed": (LINEAR, {"bid": (10_002, 5), "score": 1}, Reason.CROSSED, Action.HOLD),
    "locked": (LINEAR, {"bid": (10_001, 5), "score": 1}, Reason.CROSSED, Action.HOLD),
    "crossed with a position": (LINEAR, {"bid": (10_002, 5), **LONG, "halted": True}, Reason.CROSSED, Action.HOLD),
    "an order on its way": (LINEAR, {"pending": True, "score": 1}, Reason.ORDER_PENDING, Action.HOLD),
    "an exit on its way": (LINEAR, {"pending": True, **LONG, "halted": True}, Reason.ORDER_PENDING, Action.HOLD),
    "halted with a position": (LINEAR, {"halted": True, **LONG}, Reason.EXIT_HALT, Action.EXIT),
    "halted with a short one": (LINEAR, {"halted": True, **SHORT}, Reason.EXIT_HALT, Action.EXIT),
    "halted": (LINEAR, {"halted": True, "score": 1}, Reason.HALTED, Action.HOLD),
    "the loss limit reached": (LINEAR, {"lost": 200, **LONG, "since_opened": 60}, Reason.EXIT_LOSS, Action.EXIT),
    "not yet": (LINEAR, {"lost": 199, **LONG}, Reason.HOLDING, Action.HOLD),
    "lost without a position": (LINEAR, {"lost": 200, "score": 1}, Reason.HALTED, Action.HOLD),
    "not yet, without one": (LINEAR, {"lost": 199, "score": 1}, Reason.SCORE_UP, Action.BUY),
    "held for max_hold_s": (LINEAR, {**LONG, "since_opened": 30, "score": -1}, Reason.EXIT_TIME, Action.EXIT),
    "not yet so long": (LINEAR, {**LONG, "since_opened": 29.9}, Reason.HOLDING, Action.HOLD),
    "the black swan alarm": (LINEAR, {**LONG, "signals": ALARM, "since_opened": 60}, Reason.EXIT_SWAN, Action.EXIT),
    "the alarm is not to close": (LINEAR, {**LONG, "signals": ALARM, "swan_exit": False}, Reason.HOLDING, Action.HOLD),
    "a cascade down against a long position": (
        LINEAR, {**LONG, "signals": (("CASCADE_DOWN", 0.9),)}, Reason.EXIT_CASCADE, Action.EXIT),
    "a cascade up against a short one": (
        LINEAR, {**SHORT, "signals": (("CASCADE_UP", 0.95),)}, Reason.EXIT_CASCADE, Action.EXIT),
    "a cascade with the position": (LINEAR, {**LONG, "signals": (("CASCADE_UP", 1.0),)}, Reason.HOLDING, Action.HOLD),
    "the score against a long position": (LINEAR, {**LONG, "score": -0.25}, Reason.EXIT_SIGNAL, Action.EXIT),
    "the score against a short one": (LINEAR, {**SHORT, "score": 0.25}, Reason.EXIT_SIGNAL, Action.EXIT),
    "a little against": (LINEAR, {**LONG, "score": -0.2}, Reason.HOLDING, Action.HOLD),
    "with the position": (LINEAR, {**LONG, "score": 1}, Reason.HOLDING, Action.HOLD),
    "positions are closed while warming up": (
        LINEAR, {**LONG, "score": -1, "since_synced": 1}, Reason.EXIT_SIGNAL, Action.EXIT),
    "and at any spread": (LINEAR, {**LONG, "score": -1, "ask": (19_999, 1)}, Reason.EXIT_SIGNAL, Action.EXIT),
    "warming up": (LINEAR, {"since_synced": 9.9, "score": 1}, Reason.WARMUP, Action.HOLD),
    "a wide spread": (LINEAR, {"ask": (10_050, 1), "score": 1}, Reason.SPREAD, Action.HOLD),
    "just narrow enough": (LINEAR, {"ask": (10_049, 1), "score": 1}, Reason.SCORE_UP, Action.BUY),
    "cooling down": (LINEAR, {"since_closed": 4.9, "score": 1}, Reason.COOLDOWN, Action.HOLD),
    "too little capital": (LINEAR, {"capital_enough": False, "score": 1}, Reason.TOO_SMALL, Action.HOLD),
    "nothing to sell": (SPOT, {"score": -0.5}, Reason.NO_SHORT, Action.HOLD),
    "up": (LINEAR, {"score": 0.5}, Reason.SCORE_UP, Action.BUY),
    "up on spot": (SPOT, {"score": 0.5}, Reason.SCORE_UP, Action.BUY),
    "down": (LINEAR, {"score": -0.5}, Reason.SCORE_DOWN, Action.SELL),
    "the score is at most 1": (LINEAR, {"score": 7.0}, Reason.SCORE_UP, Action.BUY),
    "neither": (LINEAR, {"score": 0.49}, Reason.NO_SIGNAL, Action.HOLD),
    "the alarm opens nothing": (LINEAR, {"score": 1, "signals": ALARM}, Reason.SWAN, Action.HOLD),
    "nor if it closes nothing": (LINEAR, {"score": 1, "signals": ALARM, "swan_exit": False}, Reason.SWAN, Action.HOLD),
    "too critical": (LINEAR, {"score": 1, "signals": (("CRITICALITY", 0.96),)}, Reason.CRITICAL, Action.HOLD),
    "critical, not too much": (LINEAR, {"score": 1, "signals": (("CRITICALITY", 0.94),)}, Reason.SCORE_UP, Action.BUY),
    "a cascade down against a buy": (
        LINEAR, {"score": 1, "signals": (("CASCADE_DOWN", 0.5),)}, Reason.CASCADE, Action.HOLD),
    "a cascade up against a sell": (
        LINEAR, {"score": -1, "signals": (("CASCADE_UP", 0.6),)}, Reason.CASCADE, Action.HOLD),
    "a cascade the same way": (
        LINEAR, {"score": -1, "signals": (("CASCADE_DOWN", 1.0),)}, Reason.SCORE_DOWN, Action.SELL),
    "liquidations close below a buy": (
        LINEAR, {"score": 1, "signals": (("LIQUIDATION_DOWN", 9.0), ("LIQUIDATION_DOWN_MASS", 5.0))},
        Reason.LIQUIDATION, Action.HOLD),
    "liquidations close above a sell": (
        LINEAR, {"score": -1, "signals": (("LIQUIDATION_UP", 1.0), ("LIQUIDATION_UP_MASS", 50.0))},
        Reason.LIQUIDATION, Action.HOLD),
    "liquidations far away": (
        LINEAR, {"score": 1, "signals": (("LIQUIDATION_DOWN", 10.0), ("LIQUIDATION_DOWN_MASS", 50.0))},
        Reason.SCORE_UP, Action.BUY),
    "few liquidations": (
        LINEAR, {"score": 1, "signals": (("LIQUIDATION_DOWN", 1.0), ("LIQUIDATION_DOWN_MASS", 4.9))},
        Reason.SCORE_UP, Action.BUY),
    "liquidations on the other side": (
        LINEAR, {"score": 1, "signals": (("LIQUIDATION_UP", 1.0), ("LIQUIDATION_UP_MASS", 50.0))},
        Reason.SCORE_UP, Action.BUY),
    "fragile": (LINEAR, {"score": 1, "signals": (("ANTIFRAGILITY", -0.95),)}, Reason.FRAGILE, Action.HOLD),
    "whales buy": (
        LINEAR, {"signals": (("WHALE_PRESSURE", 1.0), ("WHALE_CONFIDENCE", 1.0))}, Reason.WHALE_UP, Action.BUY),
    "whales sell": (
        LINEAR, {"signals": (("WHALE_PRESSURE", -1.0), ("WHALE_CONFIDENCE", 1.0))}, Reason.WHALE_DOWN, Action.SELL),
    "whales we are not sure of": (
        LINEAR, {"signals": (("WHALE_PRESSURE", 1.0), ("WHALE_CONFIDENCE", 0.9))}, Reason.NO_SIGNAL, Action.HOLD),
    "a forecast return": (LINEAR, {"signals": (("VALUE", 3.0),)}, Reason.VALUE_UP, Action.BUY),
    "a forecast fall": (LINEAR, {"signals": (("VALUE", -3.0),)}, Reason.VALUE_DOWN, Action.SELL),
    "whales and features together, features more": (
        LINEAR, {"score": 0.4, "signals": (("WHALE_PRESSURE", 0.5), ("WHALE_CONFIDENCE", 1.0))},
        Reason.SCORE_UP, Action.BUY),
    "they disagree": (
        LINEAR, {"score": 0.6, "signals": (("WHALE_PRESSURE", -0.5), ("WHALE_CONFIDENCE", 1.0))},
        Reason.NO_SIGNAL, Action.HOLD),
}  # fmt: skip


@pytest.mark.parametrize(("terms", "facts", "reason", "action"), CASES.values(), ids=CASES.keys())
def test_each_reason(engine_name: str, terms: Terms, facts: dict[str, Any], reason: Reason, action: Action) -> None:
    found, twins, engine = ask(terms, Facts(**facts), engine_name)
    assert found == twins == (reason, action)
    view: Any = engine.view
    assert view["decision"]["evaluated"] == 1
    assert view["counters"]["reasons"][reason] == view["counters"]["decisions"][action] == 1
    assert -1 <= view["decision"]["score"] <= 1
    if action == Action.HOLD:
        assert view["decision"]["order_id"] == view["decision"]["last_ns"] == 0
    else:
        order = view["account"]["order"][0]
        assert (int(order["id"]), int(order["state"])) == (1, OrderState.SENT)
        assert int(order["side"]) == (facts.get("position", 0) > 0 if action == Action.EXIT else action == Action.SELL)
        assert bool(order["reduce_only"]) == (action == Action.EXIT)
        assert (int(view["decision"]["last_reason"]), int(view["decision"]["last_action"])) == (reason, action)
    assert bool(view["header"]["halted"]) == (reason in HALTS or facts.get("halted", False))


@pytest.mark.parametrize("held", [False, True])
def test_a_signal_that_is_not_known_vetoes_nothing_at_any_limit(engine_name: str, held: bool) -> None:
    names = ("criticality_max", "cascade_entry", "cascade_exit", "fragility_max")
    zero = replace(LINEAR, settings=replace(SETTINGS, parameters={f"decision.{name}": 0.0 for name in names}))
    found, twins, _ = ask(zero, Facts(**(LONG if held else {}), score=1), engine_name)
    assert found == twins == ((Reason.HOLDING, Action.HOLD) if held else (Reason.SCORE_UP, Action.BUY))


@pytest.mark.parametrize(("risk", "share"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.5), (0.01, 0.25)])
def test_the_risk_multiplier_scales_what_is_opened(engine_name: str, risk: float, share: float) -> None:
    """0: not known yet; never below decision.risk_floor."""
    whole = ask(LINEAR, Facts(score=1), engine_name)[2].view["account"]["order"][0]["qty"]
    part = ask(LINEAR, Facts(score=1, signals=(("RISK", risk),)), engine_name)[2].view["account"]["order"][0]["qty"]
    assert part == pytest.approx(int(whole) * share, abs=1)


def test_an_action_keeps_what_it_was_decided_on(engine_name: str) -> None:
    view: Any = ask(LINEAR, Facts(score=1, signals=(("CRITICALITY", 0.5), ("RISK", 1.0))), engine_name)[2].view
    for signals in (view["decision"]["last_signal"], view["account"]["order"][0]["signal"]):
        assert (signals[layout.Signal.CRITICALITY], signals[layout.Signal.RISK]) == (0.5, 1.0)
    assert view["decision"]["last_feature"][layout.Feature.SPREAD] == 1


def test_every_reason_has_a_case() -> None:
    assert {reason for _, _, reason, _ in CASES.values()} == set(Reason)
    assert {action for _, _, _, action in CASES.values()} == set(Action)


def test_any_situation(engine_name: str) -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    around = st.sampled_from
    facts = st.builds(
        Facts,
        synced=around([True, True, True, False]),
        since_update=around([0, 0, 3, 3.001]),
        bid=around([(9_999, 1_000), (9_999, 1_000), (9_950, 1), (10_001, 5), (0, 0)]),
        ask=around([(10_001, 1_000), (10_001, 1_000), (10_049, 1), (9_999, 5), (0, 0)]),
        pending=around([False, False, False, True]),
        halted=around([False, False, True]),
        position=around([0, 0, 1000, -1000, 1]),
        lost=around([0, 0, -50, 199, 200, 900]),
        since_opened=around([0, 10, 30]),
        since_synced=around([10, 10, 9.9]),
        since_closed=around([5, 5, 4.9]),
        capital_enough=around([True, True, True, False]),
        score=around([0, 0.2, 0.25, 0.5, 1, -0.2, -0.25, -0.5, -1, 3]),
        signals=st.dictionaries(
            around([signal.name for signal in layout.Signal]), around([0.0, 0.3, 0.5, 0.9, 1.0, -1.0, 5.0, -5.0, 60.0])
        ).map(lambda signals: tuple(signals.items())),
        swan_exit=around([True, False]),
    )

    @settings(max_examples=examples(200))
    @given(facts=facts, terms=around([LINEAR, LINEAR, SPOT]))
    def check(facts: Facts, terms: Terms) -> None:
        found, twins, _ = ask(terms, facts, engine_name)
        assert found == twins

    check()
