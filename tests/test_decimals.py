"""Exact decimals: every decimal string becomes exactly its integer, or its message is refused; nothing is rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market import Market, examples

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

LIMIT = (2**63 - 1 - 9) // 10 * 10  # the last digits before 2^63 are not worth a wider multiplication


def read(engine_name: str, price: str, qty: str, price_decimals: int, qty_decimals: int) -> tuple[int, int] | None:
    m = Market("binance", "BTCUSDT", engine_name, price_decimals, qty_decimals, reference_price=None)
    # a second level keeps the first away from the end of the message, where bytes are read one by one
    m.feed(m.snapshot(1, bids=[(price, qty)], asks=[("0", "0"), ("0", "0"), ("0", "0")]))
    assert m.synced + m.malformed == 1
    prices, qtys = m.engine.levels(0)
    return (int(prices[0]), int(qtys[0])) if len(prices) else (0, 0) if m.synced else None


def exact(text: str, decimals: int) -> int | None:
    units = Decimal(text).scaleb(decimals)
    return int(units) if units == units.to_integral_value() and units <= LIMIT else None


digits = st.text("0123456789", min_size=1, max_size=24)
decimal_texts = st.one_of(digits, st.tuples(digits, digits).map(".".join))
near = st.tuples(st.integers(0, 10**9), st.integers(0, 12), st.integers(0, 10)).map(
    lambda t: f"{t[0]}." + "0" * t[1] + str(t[2])
)


@settings(max_examples=examples(300))
@given(
    price=st.one_of(decimal_texts, near),
    qty=st.one_of(decimal_texts, near),
    price_decimals=st.integers(0, 12),
    qty_decimals=st.integers(0, 12),
)
@example("0.00000001", "99999999.99999999", 8, 8)
@example("12345678.12345678", "1", 8, 0)
@example("123456789.123456789", "1", 9, 0)
@example("00000000000000000000000000000001", "1.0", 0, 0)
@example("1.10", "1.01", 1, 1)
@example("9223372036854775807", "1", 0, 0)
def test_every_decimal_is_exact_or_refused(
    engine_name: str, price: str, qty: str, price_decimals: int, qty_decimals: int
) -> None:
    want_price, want_qty = exact(price, price_decimals), exact(qty, qty_decimals)
    got = read(engine_name, price, qty, price_decimals, qty_decimals)
    if want_price is None or want_qty is None:
        too_near = any(LIMIT < Decimal(t).scaleb(d) < 2**63 for t, d in ((price, price_decimals), (qty, qty_decimals)))
        assert got is None or too_near
    else:
        assert got == ((want_price, want_qty) if want_qty else (0, 0))


@settings(max_examples=examples(150))
@given(text=st.text("0123456789.-+eE ", max_size=20), decimals=st.integers(0, 12))
def test_what_is_no_decimal_is_refused(engine_name: str, text: str, decimals: int) -> None:
    whole, point, fraction = text.partition(".")
    if whole.isdigit() and (fraction.isdigit() if point else True):
        return
    m = Market("binance", "BTCUSDT", engine_name, decimals, 3)
    m.feed(m.snapshot(1, bids=[(text, "1")], asks=[("0", "0")] * 3))
    assert (m.synced, m.malformed) == (0, 1)
