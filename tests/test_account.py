"""The paper account: money is exact, every rounding goes against it, nothing is booked on a book that is not valid.

The twin has Python's unbounded integers and fractions; it is compared after every frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cwts.kernel import layout
from cwts.kernel.layout import Action, CommandOp, Event, OrderState, Reason
from market import Market, examples
from twins import EAGER, MS, Story, Terms, Twins

PATIENT = replace(EAGER, order_latency_s=0.05, cooldown_s=0, max_hold_s=1000, exit=1.0, weights={"IMBALANCE_1": 1.0})
TERMS = {
    "spot": Terms("binance", "BTCUSDT"),
    "spot with coarse lots": Terms("binance", "BTCUSDT", 2, 8, lot="0.25", min_qty="0.5", max_qty="1.5"),
    "spot with a minimum notional": Terms("binance", "BTCUSDT", 2, 3, lot="0.1", min_notional="60"),
    "linear": Terms("binance-usdm", "BTCUSDT"),
    "linear with a minimum notional": Terms("binance-usdm", "BTCUSDT", 3, 1, lot="0.1", min_notional="150"),
    "linear with odd contracts": Terms("okx", "BTC-USDT-SWAP", 2, 0, lot="1", contract_size="0.00730001"),
    "inverse": Terms("binance-coinm", "BTCUSD_PERP", 2, 0, lot="1", contract_size="100"),
    "inverse with odd contracts": Terms("okx", "BTC-USD-SWAP", 1, 1, lot="0.1", contract_size="7.13"),
}


def test_random_markets(engine_name: str) -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @settings(max_examples=examples(24))
    @given(
        name=st.sampled_from(sorted(TERMS)),
        seed=st.integers(0, 2**32),
        fee=st.sampled_from([0, 1, 500, 1000, 99_999]),
        loss=st.sampled_from([1, 10**8, 10**12]),
    )
    def check(name: str, seed: int, fee: int, loss: int) -> None:
        story = Story(TERMS[name], engine_name, seed, taker_fee_ppm=fee, max_loss_e8=loss)
        for _ in range(150):
            story.step()
            story.twins.check()

    check()


@pytest.mark.parametrize("name", TERMS)
def test_each_kind_of_instrument(engine_name: str, name: str) -> None:
    """Long enough that orders are filled, filled in part and cancelled, and positions closed with profit and loss."""
    story = Story(TERMS[name], engine_name, seed=7)
    for i in range(1500):
        story.step()
        if i % 5 == 0:
            story.twins.check()
    account = story.twins.trader.account
    assert account.fills > 10
    assert account.losses
    states = {order.state for order in account.order}
    assert states >= {OrderState.FILLED, OrderState.PARTLY_FILLED}
    assert (OrderState.REJECTED in states) == (name == "spot with a minimum notional") or "notional" in name
    assert story.twins.actions[Action.BUY]
    assert story.twins.actions[Action.EXIT]
    assert bool(story.twins.actions[Action.SELL]) == ("spot" not in name)


# -- one order at a time ---------------------------------------------------------------------------------------------


class Bench:
    """A calm book of 100 to 101 in which the weight of the bids makes us buy."""

    features = True  # compare these too

    def __init__(self, terms: Terms, engine_name: str, asks: Any = (("101", "50"),), **changed: Any) -> None:
        config: Any = np.frombuffer(terms.config(), layout.CONFIG).copy()
        for name, value in changed.items():
            config[name] = value
        self.twins = Twins(config.tobytes(), terms.exchange, engine_name)
        self.say = Market(terms.exchange, terms.symbol, engine_name, terms.price_decimals, terms.qty_decimals)
        self.id = 10
        self.feed(self.say.snapshot(10, bids=[("100", "100")], asks=asks))
        self.depth()

    def feed(self, message: dict[str, Any], after: int = 10 * MS) -> int:
        events = self.twins.raw(message, after=after)
        self.twins.check(features=self.features)
        return events

    def depth(self, bids: Any = (), asks: Any = (), *, after: int = 10 * MS, gap: int = 0) -> int:
        previous, self.id = self.id + gap, self.id + gap + 1
        return self.feed(self.say.depth(previous + 1, self.id, previous, bids, asks), after)

    def arrive(self) -> int:
        """The order reaches the exchange."""
        return self.depth(after=50 * MS)

    @property
    def account(self) -> Any:
        return self.twins.engine.view["account"]

    @property
    def order(self) -> Any:
        return self.account["order"][(int(self.account["orders"]) - 1) % layout.ORDERS]


SPOT = Terms("binance", "BTCUSDT", settings=PATIENT)
LINEAR = Terms("binance-usdm", "BTCUSDT", settings=PATIENT)
INVERSE = Terms("binance-coinm", "BTCUSD_PERP", 2, 0, lot="1", contract_size="100", settings=PATIENT)


def test_an_order_takes_its_time(engine_name: str) -> None:
    b = Bench(SPOT, engine_name)
    assert (b.order["state"], b.account["fills"]) == (OrderState.SENT, 0)
    b.depth(after=15 * MS)
    b.twins.timer(after=24 * MS)
    assert b.order["state"] == OrderState.SENT
    b.twins.timer(after=2 * MS)
    b.twins.check()
    assert (b.order["state"], b.account["fills"]) == (OrderState.FILLED, 1)


def test_spot_fees_are_taken_from_what_is_received(engine_name: str) -> None:
    b = Bench(SPOT, engine_name)
    assert b.arrive() & Event.FILL
    assert b.order["qty"] == 4_950  # 500 of 1000 at 101, in lots of 0.001
    assert int(b.account["cash_e8"]) == 1000 * 10**8 - 499_95 * 10**6
    assert int(b.account["position_e8"]) == 495_000_000 - 495_000
    assert int(b.account["fees_e8"]) == 49_995_000
    b.twins.command(CommandOp.HALT)
    b.arrive()
    b.twins.check()
    assert b.order["qty"] == b.order["filled"] == 4_945  # the dust stays
    assert int(b.account["position_e8"]) == 5_000
    assert (b.account["wins"], b.account["losses"]) == (0, 1)


def test_a_linear_contract_may_be_sold_first(engine_name: str) -> None:
    b = Bench(LINEAR, engine_name, asks=[("101", "5000")])
    b.arrive()
    assert int(b.account["position_e8"]) == -495_000_000
    assert int(b.account["cash_e8"]) == 1000 * 10**8 + 495 * 10**8 - 2475 * 10**4
    assert int(b.account["equity_e8"]) == 1000 * 10**8 - 495 * 10**6 - 2475 * 10**4


def test_an_inverse_contract_settles_in_coin(engine_name: str) -> None:
    b = Bench(INVERSE, engine_name)  # 10 coins, half of them for contracts of 100
    b.arrive()
    assert int(b.order["filled"]) == 5
    assert int(b.order["notional_e8"]) == 500 * 10**8 // 101  # what is received is rounded down
    assert int(b.account["equity_e8"]) == int(b.account["cash_e8"]) - 5 * 10**8


def test_equity_is_rounded_against_us(engine_name: str) -> None:
    """Five inverse contracts at 99.90 cost 5.005005005… coins to close: 5.00500501 are owed."""
    b = Bench(INVERSE, engine_name)
    b.arrive()
    b.depth(bids=[("100", "0"), ("99.9", "100")])
    assert int(b.account["cash_e8"]) - int(b.account["equity_e8"]) == 500_500_501


def test_an_order_walks_the_levels_within_its_limit_and_the_rest_is_cancelled(engine_name: str) -> None:
    asks = [("101", "1"), ("101.5", "1.0004"), ("102", "0.5"), ("102.01", "100")]
    b = Bench(replace(SPOT, qty_decimals=4), engine_name, asks=asks)
    assert b.order["limit"] == 10_200  # 100 basis points of the reference price of 100 beyond the touch
    b.arrive()
    assert (b.order["state"], int(b.order["filled"])) == (OrderState.PARTLY_FILLED, 25_000)  # whole lots of each level
    assert int(b.order["notional_e8"]) == 10**6 * (101_00 + 101_50 + 51_00)
    assert int(b.account["slippage_e8"]) == 10**8


def test_an_order_that_finds_nothing_within_its_limit_is_cancelled(engine_name: str) -> None:
    b = Bench(SPOT, engine_name)
    b.depth(asks=[("101", "0"), ("102.01", "50")])
    assert not b.arrive() & Event.FILL
    assert (b.order["id"], b.account["fills"]) == (2, 0)
    assert b.account["order"][0]["state"] == OrderState.CANCELLED
    assert int(b.account["cash_e8"]) == 1000 * 10**8


@pytest.mark.parametrize("trouble", ["gap", "reset", "stale"])
def test_an_order_that_finds_no_valid_book_is_cancelled(engine_name: str, trouble: str) -> None:
    b = Bench(SPOT, engine_name)
    if trouble == "gap":
        b.depth(gap=5)
    elif trouble == "reset":
        b.twins.command(CommandOp.RESET_BOOK)
    b.twins.timer(after=1100 * MS)
    b.twins.check()
    assert (b.order["state"], b.account["fills"], b.account["orders"]) == (OrderState.CANCELLED, 0, 1)


def test_below_the_minimum_notional_nothing_is_sent(engine_name: str) -> None:
    """Lots are rounded first: 495 of the 500 aimed for, which is below 496."""
    b = Bench(replace(LINEAR, lot="0.45", min_notional="495"), engine_name)
    assert b.account["orders"] == 1
    b = Bench(replace(LINEAR, lot="0.45", min_notional="496"), engine_name)
    assert b.account["orders"] == 0
    assert b.twins.engine.view["decision"]["reason"] == Reason.TOO_SMALL


def test_on_spot_what_the_fee_leaves_must_reach_the_minimum_notional(engine_name: str) -> None:
    """Of 11 lots of 0.45 the fee leaves 10 whole ones, worth 445.5 at the bid of 100 less the slippage of 1."""
    b = Bench(replace(SPOT, lot="0.45", min_notional="445.5"), engine_name)
    assert b.order["qty"] == 4_950
    b = Bench(replace(SPOT, lot="0.45", min_notional="445.6"), engine_name)
    assert b.account["orders"] == 0
    assert b.twins.engine.view["decision"]["reason"] == Reason.TOO_SMALL


def test_what_could_not_be_sold_again_is_not_bought(engine_name: str) -> None:
    """Of one lot the fee takes a part, and the rest is below a lot; of two, one is left."""
    b = Bench(replace(SPOT, lot="4"), engine_name)
    assert b.account["orders"] == 0
    assert b.twins.engine.view["decision"]["reason"] == Reason.TOO_SMALL
    b = Bench(replace(SPOT, lot="2"), engine_name)
    assert b.order["qty"] == 4_000


def test_a_small_fill_of_an_order_that_is_large_enough_stands(engine_name: str) -> None:
    """The exchange looks at what was ordered, not at what it finds."""
    b = Bench(replace(SPOT, min_notional="300"), engine_name)
    b.depth(asks=[("101", "2")])
    assert b.depth(after=40 * MS) & Event.FILL
    assert (b.account["order"][0]["state"], b.account["fills"]) == (OrderState.PARTLY_FILLED, 1)


def test_a_refused_exit_is_not_sent_again_at_once(engine_name: str) -> None:
    """Worth 450 where 480 is the least: the exchange would refuse the next one too."""
    b = Bench(replace(SPOT, min_notional="480"), engine_name)
    b.arrive()
    b.depth(bids=[("100", "0"), ("91", "100")])
    b.twins.command(CommandOp.HALT)
    assert b.arrive() & Event.REJECT
    assert (b.account["order"][1]["state"], b.account["orders"]) == (OrderState.REJECTED, 2)
    assert b.twins.engine.view["decision"]["reason"] == Reason.ORDER_PENDING
    b.depth(bids=[("98", "100")], after=9900 * MS)
    assert b.account["orders"] == 2
    b.depth(after=100 * MS)
    assert b.account["orders"] == 3
    assert b.arrive() & Event.FILL
    assert b.order["state"] == OrderState.FILLED


@pytest.mark.parametrize(
    ("ask", "qty", "paid"),
    [
        ("101.5", "1", 1 * 101.5 + 3.95 * 102),
        ("101", "1", 1 * 101 + 2 * 101.5 + 1.95 * 102),
        ("100.5", "1", 2 * 101 + 2 * 101.5 + 0.95 * 102),  # the book knows of no such level
        ("102.5", "1", 0),
    ],
)
def test_what_the_ticker_no_longer_shows_is_not_taken(engine_name: str, ask: str, qty: str, paid: float) -> None:
    """It is newer than the book, which comes every 100 ms."""
    b = Bench(LINEAR, engine_name, asks=[("101", "2"), ("101.5", "2"), ("102", "50")])
    b.features = False
    ticker = {"e": "bookTicker", "s": "BTCUSDT", "b": "100", "B": "100", "a": ask, "A": qty, "T": 1, "E": 1}
    b.feed(ticker | {"u": b.id + 1})
    b.twins.timer(after=50 * MS)
    b.twins.check(features=False)
    first = b.account["order"][0]
    assert (first["state"], int(first["notional_e8"])) == (
        (OrderState.FILLED, round(paid * 1e8)) if paid else (OrderState.CANCELLED, 0)
    )


def test_contracts_may_be_reduced_below_the_minimum_notional(engine_name: str) -> None:
    b = Bench(replace(LINEAR, min_notional="300"), engine_name)
    b.arrive()
    b.depth(bids=[("100", "1")])
    b.twins.command(CommandOp.HALT)
    b.arrive()
    assert b.account["order"][1]["state"] == OrderState.PARTLY_FILLED


def test_no_order_is_larger_than_the_exchange_allows(engine_name: str) -> None:
    b = Bench(replace(SPOT, lot="0.2", max_qty="1.5"), engine_name)
    assert b.order["qty"] == 1_400


def test_a_fine_quantity_turns_trading_off(engine_name: str) -> None:
    b = Bench(replace(SPOT, qty_decimals=9), engine_name)
    assert b.twins.engine.view["decision"]["reason"] == Reason.TOO_SMALL


def test_the_loss_limit_closes_and_halts_and_holds_when_it_is_resumed(engine_name: str) -> None:
    b = Bench(LINEAR, engine_name, max_loss_e8=50 * 10**8)
    b.arrive()
    b.depth(bids=[("100", "0"), ("92", "100")])
    assert b.twins.engine.view["decision"]["reason"] == Reason.HOLDING
    b.depth(bids=[("92", "0"), ("90", "100")])
    assert b.twins.engine.view["decision"]["reason"] == Reason.EXIT_LOSS
    assert b.twins.engine.view["header"]["halted"]
    b.arrive()
    b.depth()
    assert (int(b.account["position_e8"]), b.account["losses"]) == (0, 1)
    assert b.twins.engine.view["decision"]["reason"] == Reason.HALTED
    b.twins.command(CommandOp.RESUME)
    b.depth(asks=[("90.1", "1")])
    assert b.account["orders"] == 2
    assert b.twins.engine.view["header"]["halted"]


def test_a_closing_fee_that_passes_the_loss_limit_halts_too(engine_name: str) -> None:
    """Half of 1,000 at 101, closed at 100: 4.95 and two fees of about 0.25 are lost."""
    b = Bench(LINEAR, engine_name, max_loss_e8=53 * 10**7)
    b.arrive()
    assert b.twins.engine.view["decision"]["reason"] == Reason.HOLDING
    b.twins.command(CommandOp.HALT)
    b.arrive()
    b.twins.command(CommandOp.RESUME)
    b.depth(asks=[("100.1", "1")])
    assert b.account["orders"] == 2
    assert b.account["equity_e8"] < 1000 * 10**8 - 53 * 10**7
    assert b.twins.engine.view["decision"]["reason"] == Reason.HALTED
    assert b.twins.engine.view["header"]["halted"]


def test_halt_cancels_what_opens_and_not_what_closes(engine_name: str) -> None:
    b = Bench(SPOT, engine_name)
    b.twins.command(CommandOp.HALT)
    b.twins.check()
    assert b.order["state"] == OrderState.CANCELLED
    b.twins.command(CommandOp.RESUME)
    b.depth()
    b.arrive()
    b.twins.command(CommandOp.HALT)
    assert (b.order["state"], b.order["reason"]) == (OrderState.SENT, Reason.EXIT_HALT)
    b.twins.command(CommandOp.HALT)
    b.twins.check()
    assert b.order["state"] == OrderState.SENT
    b.arrive()
    assert b.order["state"] == OrderState.FILLED


def test_more_orders_than_are_remembered(engine_name: str) -> None:
    story = Story(Terms("binance-usdm", "BTCUSDT", settings=replace(EAGER, cooldown_s=0)), engine_name, seed=1)
    while len(story.twins.trader.account.order) < 2 * layout.ORDERS + 5:
        story.step()
        story.twins.command(CommandOp.RESUME, after=1)
    story.twins.check()


# -- the ends of 64 bits --------------------------------------------------------------------------------------------

HUGE = 2**63 - 1


class Vast(Bench):
    """Features are of no interest here: float64 cannot tell such prices apart."""

    features = False


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("terms", [SPOT, LINEAR, INVERSE], ids=["spot", "linear", "inverse"])
def test_extremes_stop_and_never_wrap(engine_name: str, terms: Terms, seed: int) -> None:
    """Capital, quantities and prices near 2^63: sums stop at the ends, as the twin's do."""
    changed = {"capital_e8": HUGE, "order_notional_e8": HUGE, "max_loss_e8": HUGE, "max_slippage": HUGE // 4}
    b = Vast(terms, engine_name, asks=[("101", "9" * 12)], **changed)
    prices = [("1", "90000000000000000"), ("99999999999999", "99999999999999.9"), ("0.01", "0.02")]
    for step in range(12):
        bid, ask = prices[(step * (1 + seed // 3) + seed) % 3]
        gone = [[(f"{p // 100}.{p % 100:02}", "0") for p, _ in b.twins.trader.best(side)] for side in (0, 1)]
        sizes = ("9" * 12, "1") if step % 2 else ("1", "9" * 12)  # buy, sell
        b.depth(bids=[*gone[0], (bid, sizes[0])], asks=[*gone[1], (ask, sizes[1])], after=(seed + 1) * 20 * MS)
