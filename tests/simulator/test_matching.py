"""The matching engine and the accounts: what must hold whatever the recording does, and the queue by examples."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwts.instruments import guess_instrument
from cwts.simulator import accounts
from cwts.simulator.accounts import Account, Wallet
from cwts.simulator.book import ASK, BID, ZERO, Book, plain
from cwts.simulator.matching import Fill, Matching, Order

D = Decimal
SPOT = guess_instrument("binance", "BTCUSDT", 2, 3)
LINEAR = guess_instrument("binance-usdm", "BTCUSDT", 2, 3)
INVERSE = replace(guess_instrument("binance-coinm", "BTCUSD_PERP", 1, 0), contract_size=D(100))


def market(bids: list[list[str]], asks: list[list[str]]) -> tuple[Book, Matching, list[Fill]]:
    book = Book()
    book.apply(bids, asks)
    matching = Matching(book)
    matching.lot = D("0.001")
    fills: list[Fill] = []
    matching.on_fill = fills.append
    return book, matching, fills


def order(side: int, price: str, quantity: str, *, kind: str = "LIMIT", tif: str = "GTC", account: object = 1) -> Order:
    return Order(1, "", "X", side, kind, tif, D(price), D(quantity), account=account)


def change(book: Book, matching: Matching, side: int, price: str, quantity: str) -> None:
    ladder = book.sides[side]
    before = ladder.quantity(D(price))
    ladder.set([price, quantity])
    matching.level_changed(side, D(price), before, ladder.quantity(D(price)))
    matching.book_changed()


def taken(fills: list[Fill]) -> list[tuple[str, str]]:
    return [(plain(fill.price), plain(fill.quantity)) for fill in fills]


def test_takes_level_by_level_and_no_more_than_is_displayed() -> None:
    book, matching, fills = market([], [["10", "1"], ["11", "2"], ["12", "5"]])
    first = order(BID, "11", "4")
    matching.place(first)
    assert taken(fills) == [("10", "1"), ("11", "2")]
    assert (first.status, first.remaining, first.ahead) == ("PARTIALLY_FILLED", D(1), ZERO)
    second = order(BID, "11", "1", tif="IOC")
    matching.place(second)  # what the first took is gone until the recording changes the level
    assert (second.status, second.filled) == ("EXPIRED", ZERO)
    change(book, matching, ASK, "11", "3")
    assert (first.status, first.fills[-1].maker) == ("FILLED", True)


@pytest.mark.parametrize(
    ("kind", "tif", "quantity", "status", "filled"),
    [
        ("LIMIT", "IOC", "5", "EXPIRED", "3"),
        ("LIMIT", "FOK", "3", "FILLED", "3"),
        ("LIMIT", "FOK", "3.1", "EXPIRED", "0"),
        ("LIMIT", "GTX", "1", "EXPIRED", "0"),
        ("LIMIT_MAKER", "GTC", "1", "REJECTED", "0"),
        ("MARKET", "GTC", "9", "EXPIRED", "8"),
        ("MARKET", "GTC", "8", "FILLED", "8"),
    ],
)
def test_order_types(kind: str, tif: str, quantity: str, status: str, filled: str) -> None:
    _, matching, _ = market([], [["10", "1"], ["11", "2"], ["12", "5"]])
    placed = order(BID, "0" if kind == "MARKET" else "11", quantity, kind=kind, tif=tif)
    matching.place(placed)
    assert (placed.status, placed.filled) == (status, D(filled))
    assert not matching.resting[BID]


def test_a_market_order_in_quote_units_spends_no_more_and_whole_lots() -> None:
    _, matching, _ = market([], [["10", "1"], ["11", "2"]])
    matching.lot = D("0.1")
    placed = order(BID, "0", "0", kind="MARKET")
    placed.quote_quantity = D("16")
    matching.place(placed)
    assert (placed.status, placed.filled, placed.filled_quote) == ("FILLED", D("1.5"), D("15.5"))


def test_queue_position() -> None:
    """5 stand ahead; trades use them up, cancellations shrink them evenly, and then it is our turn."""
    book, matching, fills = market([["10", "5"]], [["11", "1"]])
    placed = order(BID, "10", "2")
    matching.place(placed)
    assert placed.ahead == 5
    matching.traded(D(10), D(2), BID)
    change(book, matching, BID, "10", "3")  # the trade's own doing, not a cancellation
    assert (placed.ahead, fills) == (D(3), [])
    change(book, matching, BID, "10", "9")  # six more, behind us
    assert placed.ahead == 3
    change(book, matching, BID, "10", "6")  # a third of the level is cancelled: a third of what is ahead
    assert placed.ahead == 2
    matching.traded(D(10), D(3), BID)
    assert taken(fills) == [("10", "1")]
    matching.traded(D("9.9"), D(5), BID)  # a trade below us cannot happen before we are filled
    assert taken(fills) == [("10", "1"), ("10", "1")]
    assert placed.status == "FILLED"


def test_price_then_time() -> None:
    book, matching, fills = market([["10", "1"]], [["12", "1"]])
    worse, first, second = order(BID, "9", "1"), order(BID, "10", "1"), order(BID, "10", "1")
    for placed in (worse, first, second):
        matching.place(placed)
    matching.traded(D(10), D("2.5"), BID)
    assert [fill.order for fill in fills] == [first, second]
    assert (first.filled, second.filled, worse.filled) == (D(1), D("0.5"), ZERO)
    change(book, matching, ASK, "9", "1")  # the book falls through both
    assert second.status == "FILLED"
    assert worse.filled == D("0.5")
    assert {fill.price for fill in fills if fill.order is second} == {D(10)}


def test_own_orders_do_not_trade_with_each_other() -> None:
    _, matching, _ = market([["10", "1"]], [["12", "1"]])
    mine, other = object(), object()
    matching.place(order(BID, "11", "1", account=mine))
    crossing = order(ASK, "10.5", "1", account=mine)
    matching.place(crossing)
    assert crossing.status == "EXPIRED_IN_MATCH"
    strangers = order(ASK, "11", "1", account=other)
    matching.place(strangers)
    assert strangers.open


PRICES = st.integers(95, 105).map(str)
QUANTITIES = st.integers(0, 9).map(str)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.sampled_from([BID, ASK]), PRICES, QUANTITIES),
        st.tuples(st.just("trade"), st.sampled_from([BID, ASK]), PRICES, QUANTITIES),
        st.tuples(
            st.sampled_from(["GTC", "IOC", "FOK", "GTX", "MARKET"]), st.sampled_from([BID, ASK]), PRICES, QUANTITIES
        ),
        st.tuples(st.just("cancel"), st.sampled_from([BID, ASK]), PRICES, QUANTITIES),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(steps=STEPS)
def test_whatever_happens(steps: list[tuple[str, int, str, str]]) -> None:
    """No fill beyond the limit, the size, the displayed levels or the trades; better orders first; money is kept."""
    book, matching, fills = market([["98", "3"], ["97", "2"]], [["102", "3"], ["103", "2"]])
    account = Account("a", {"USDT": "100000", "BTC": "100"})
    wallet = account.wallet("binance")
    fees: dict[str, Decimal] = {"USDT": ZERO, "BTC": ZERO}
    supply = {"USDT": D(100000), "BTC": D(100)}  # changes only by what the market gives and takes

    def settle(fill: Fill) -> None:
        fills.append(fill)
        accounts.settle(wallet, SPOT, fill)
        fees[fill.fee_asset] += fill.fee
        sign = 1 if fill.order.side == BID else -1
        supply["BTC"] += sign * fill.quantity
        supply["USDT"] -= sign * fill.price * fill.quantity

    matching.on_fill = settle
    matching.on_done = lambda done: accounts.release(wallet, SPOT, done)
    orders: list[Order] = []
    for what, side, price, quantity in steps:
        before = len(fills)
        displayed = [{p: ladder.quantity(p) for p in ladder} for ladder in book.sides]
        if what == "level":
            crossing = book.sides[1 - side].best
            if (
                crossing is not None
                and quantity != "0"
                and (D(price) >= crossing if side == BID else D(price) <= crossing)
            ):
                continue  # a recorded book does not cross itself
            change(book, matching, side, price, quantity)
            assert sum(f.quantity for f in fills[before:]) <= D(quantity)
        elif what == "trade":
            matching.traded(D(price), D(quantity), side)
            assert sum(f.quantity for f in fills[before:]) <= D(quantity)
            for fill in fills[before:]:
                assert fill.price >= D(price) if side == BID else fill.price <= D(price)
        elif what == "cancel":
            if orders:
                matching.cancel(orders[int(price) % len(orders)])
        elif quantity != "0":
            limit = ZERO if what == "MARKET" else D(price)
            placed = order(side, str(limit), quantity, kind="MARKET" if what == "MARKET" else "LIMIT")
            placed.tif = "GTC" if what == "MARKET" else what
            if what != "MARKET" and not accounts.bind(
                wallet, SPOT, placed, accounts.required(SPOT, side, limit, D(quantity))[1]
            ):
                continue
            orders.append(placed)
            matching.place(placed)
            got: dict[Decimal, Decimal] = {}
            for fill in fills[before:]:
                got[fill.price] = got.get(fill.price, ZERO) + fill.quantity
            assert all(amount <= displayed[1 - side].get(p, ZERO) for p, amount in got.items())
            assert list(got) == sorted(got, reverse=side == ASK)
            if what == "FOK":
                assert placed.filled in (ZERO, D(quantity))
            if what == "GTX":
                assert len(fills) == before
    for placed in orders:
        assert placed.filled == sum((f.quantity for f in placed.fills), ZERO) <= placed.quantity
        assert placed.open or placed.status in ("FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH")
        assert placed.open or not placed.locked
        if placed.kind == "LIMIT":
            assert all(f.price <= placed.price if placed.side == BID else f.price >= placed.price for f in placed.fills)
    for queue, sign in zip(matching.resting, (-1, 1), strict=True):
        assert queue == sorted(queue, key=lambda o: (sign * o.price, o.number))
        assert all(placed.open and placed.ahead >= 0 for placed in queue)
    for asset in ("USDT", "BTC"):
        assert wallet.total(asset) == supply[asset] - fees[asset]
        bound = sum((o.locked for o in orders if o.open and (o.side == BID) == (asset == "USDT")), ZERO)
        assert wallet.locked.get(asset, ZERO) == bound


@pytest.mark.parametrize("instrument", [LINEAR, INVERSE], ids=["linear", "inverse"])
def test_a_round_trip_on_futures(instrument: object) -> None:
    """Long 2 at 100, close 3 at 110: realised on 2, and 1 short at 110; fees on every fill."""
    rules = LINEAR if instrument is LINEAR else INVERSE
    wallet = Wallet(free={rules.settle: D(1000)})

    def fill(side: int, price: str, quantity: str) -> Fill:
        placed = order(side, price, quantity)
        placed.filled = placed.quantity
        made = Fill(placed, 1, D(price), D(quantity), maker=False)
        accounts.settle(wallet, rules, made)
        return made

    fill(BID, "100", "2")
    closed = fill(ASK, "110", "3")
    gain = D(20) if instrument is LINEAR else 2 * D(100) * (1 / D(100) - 1 / D(110))
    position = wallet.position(rules.symbol)
    assert closed.realised == gain
    assert (position.quantity, position.entry) == (D(-1), D(110))
    fees = D("0.0005") * (accounts.value(rules, D(100), D(2)) + accounts.value(rules, D(110), D(3)))
    assert abs(wallet.total(rules.settle) - (1000 + gain - fees)) < D("1e-20")
    fill(BID, "110", "1")
    assert (position.quantity, position.entry, position.margin) == (ZERO, ZERO, ZERO)
