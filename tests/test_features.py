"""The sixteen features against docs/features.md: worked out by hand, on random markets, on real recordings."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING, Any

import pytest

from cwts.kernel import layout
from cwts.kernel.layout import Feature, Reason
from cwts.recording import Recording
from cwts.replay import prepare
from market import CAPTURES, SECOND, Market, frame, head
from twins import EAGER, Story, Terms, Twins

if TYPE_CHECKING:
    from pathlib import Path

NAMES = list(Feature)


class Told(Twins):
    """A spot market of ticks of 0.01, told step by step."""

    def __init__(self, engine_name: str, exchange: str = "binance") -> None:
        super().__init__(Terms(exchange, "BTCUSDT").config(), exchange, engine_name)
        self.say = Market(exchange, "BTCUSDT", engine_name)
        self.id = 1

    def book(self, bids: Any, asks: Any, after: float = 0.01) -> None:
        self.id += 1
        first = not self.trader.book.synced
        message = (
            self.say.snapshot(self.id, bids, asks) if first else self.say.depth(self.id, self.id, None, bids, asks)
        )
        self.raw(message, after=int(after * SECOND))
        self.check_features()

    def trade(self, qty: str, *, sold: bool = False, after: float = 0.0) -> None:
        self.id += 1
        self.raw(self.say.trade(self.id, "100", qty, maker=sold), after=int(after * SECOND))
        self.check_features()

    def __getitem__(self, feature: Feature) -> float:
        return float(self.engine.view["features"]["value"][feature])


def test_spread_micro_price_and_imbalance(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99.99", "3"), ("99.98", "1")], [("100.03", "1"), ("100.04", "5")])
    assert m[Feature.SPREAD] == 4
    assert m[Feature.MICRO] == pytest.approx(0.25)  # three quarters of the way to the ask, half of the way is the mid
    assert m[Feature.IMBALANCE_1] == 0.5
    assert m[Feature.IMBALANCE_5] == m[Feature.IMBALANCE_20] == pytest.approx(-0.2)


def test_imbalances_end_at_their_level(engine_name: str) -> None:
    m = Told(engine_name)
    m.book(
        [(f"{99 - i / 100:.2f}", "2" if i < 7 else "1") for i in range(40)],
        [(f"{100 + i / 100:.2f}", "1") for i in range(40)],
    )
    assert [m[name] for name in (Feature.IMBALANCE_1, Feature.IMBALANCE_5)] == pytest.approx([1 / 3, 1 / 3])
    assert m[Feature.IMBALANCE_10] == pytest.approx(7 / 27)
    assert m[Feature.IMBALANCE_20] == pytest.approx(7 / 47)


def test_flow_is_measured_against_what_is_usual(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    m.trade("3")
    m.trade("1", sold=True)
    assert m[Feature.FLOW_1S] == pytest.approx(2 / (4 + 0.4))
    assert m[Feature.FLOW_10S] == pytest.approx(2 / (4 + 4 / 6))
    assert m[Feature.TRADE_RATE] == pytest.approx(0.2)
    m.timer(after=10 * SECOND)
    assert m[Feature.FLOW_10S] == pytest.approx(2 / math.e / (4 / math.e + 4 * math.exp(-1 / 6) / 6))
    assert m[Feature.TRADE_RATE] == pytest.approx(0.2 / math.e)


def test_returns_are_measured_from_the_time_weighted_mean(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    m.book([("99", "0"), ("100", "1")], [("101", "0"), ("102", "1")], after=1)
    assert m[Feature.RETURN_1S] == pytest.approx(100)  # until now 100 held: 101 is 1 % above it
    mean = 100 + 1 - math.exp(-1)
    m.book([], [], after=1)
    assert m[Feature.RETURN_1S] == pytest.approx((101 - mean) / mean * 1e4, rel=1e-6)
    assert m[Feature.VOLATILITY_10S] == pytest.approx(1e4 * 0.01 * math.exp(-0.05) / math.sqrt(10), rel=1e-6)


@pytest.mark.parametrize(
    ("bid", "ask", "flow"),
    [
        (("99", "3"), ("101", "1"), 2.0),  # more at the bid
        (("99", "1"), ("101", "3"), -2.0),  # more at the ask
        (("99.5", "4"), ("101", "1"), 4.0),  # a higher bid
        (("99", "1"), ("100.5", "4"), -4.0),  # a lower ask
        (("98", "4"), ("101", "1"), -1.0),  # the bid is gone
        (("99", "1"), ("102", "4"), 1.0),  # the ask is gone
    ],
)
def test_order_flow_imbalance(engine_name: str, bid: tuple[str, str], ask: tuple[str, str], flow: float) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    m.book([("99", "0"), bid], [("101", "0"), ask], after=0)
    assert m[Feature.OFI_1S] == pytest.approx(flow)  # the mean depth at the touch is still 1
    assert m[Feature.UPDATE_RATE] == pytest.approx(0.1)


def test_depth_against_its_mean(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    m.book([("98", "2")], [], after=60)
    assert m[Feature.DEPTH] == pytest.approx(1)
    m.book([], [], after=60)
    mean = 2 + 2 * (1 - math.exp(-1))
    assert m[Feature.DEPTH] == pytest.approx(4 / mean - 1)


def test_time_never_goes_backwards(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    m.trade("3")
    before = [m[name] for name in NAMES]
    m.timer(after=-5 * SECOND)
    assert [m[name] for name in NAMES] == before
    m.timer(after=5 * SECOND)
    assert [m[name] for name in NAMES] == before


def test_a_crossed_or_one_sided_touch_changes_no_quote(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1"), ("98", "1")], [("101", "1"), ("102", "1")])
    spread = m[Feature.SPREAD]
    for bids, asks in (([], [("101", "0"), ("102", "0")]), ([("103", "1")], [("102", "1")]), ([("102", "1")], [])):
        m.book(bids, asks)
        assert m[Feature.SPREAD] == spread
        assert m.engine.view["decision"]["reason"] == Reason.CROSSED
    m.book([("103", "0"), ("102", "0")], [])
    assert m[Feature.SPREAD] == 300


def test_a_ticker_that_is_newer_than_the_book_moves_the_touch(engine_name: str) -> None:
    m = Told(engine_name)
    m.book([("99", "1")], [("101", "1")])
    ticker = {"u": 1, "s": "BTCUSDT", "b": "100", "B": "3", "a": "100.5", "A": "1"}
    m.raw(ticker)  # older
    assert m[Feature.SPREAD] == 200
    m.raw(ticker | {"u": 50})
    assert (m[Feature.SPREAD], m[Feature.IMBALANCE_1], m[Feature.IMBALANCE_5]) == (50, 0.5, 0)
    m.book([("98", "1")], [])  # older than the ticker
    assert m[Feature.SPREAD] == 50
    m.check()


def test_no_feature_is_ever_without_bounds(engine_name: str) -> None:
    """Quantities near 2^63: sums of levels do not wrap."""
    m = Told(engine_name)
    vast = "9000000000000000"
    m.book([("99", vast), ("98", vast), ("97", "1")], [("101", vast)])
    assert m[Feature.IMBALANCE_1] == 0
    assert m[Feature.IMBALANCE_5] == pytest.approx(1 / 3)
    assert m[Feature.MICRO] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("exchange", ["binance", "binance-usdm", "binance-coinm", "okx"])
def test_random_markets(engine_name: str, exchange: str) -> None:
    for seed in range(3):
        story = Story(Terms(exchange, "BTC-USDT" if exchange == "okx" else "BTCUSDT"), engine_name, seed)
        for _ in range(200):
            story.step()
            story.twins.check_features()


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
@pytest.mark.parametrize("losing", [False, True], ids=["whole", "with lines lost"])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str, losing: bool) -> None:
    """The same features, decisions, orders and money as the twin's; none of them while the book is invalid."""
    mark = b'"lastUpdateId"' if exchange != "okx" else b'"snapshot"'
    start = next(i for i, (_, raw) in enumerate(head(data / file, 20_000)) if mark in raw)
    lines = head(data / file, 20_000)[max(0, start - 20) : start + 700]
    text = b"".join(b"%d %s\n" % line for line in lines)
    setup = prepare(Recording(gzip.compress(text, 1)), exchange, symbol, settings=EAGER)
    twins = Twins(setup.config, exchange, engine_name)
    depth = lost_ns = 0
    for i, (ns, raw) in enumerate(lines):
        depth += b'"depthUpdate"' in raw or b'"update"' in raw
        if losing and depth == 40:
            depth += 1
            continue
        twins.raw(raw, after=ns - twins.now)
        if i % 25 == 0:
            twins.check()
        if twins.trader.book.counts["gaps"] and not lost_ns:
            lost_ns = twins.now
    twins.check()
    orders = twins.trader.account.order
    assert orders
    if losing and exchange != "okx":
        assert lost_ns
        assert max(order.created_ns for order in orders) < lost_ns
        assert max(order.done_ns for order in orders if order.filled) < lost_ns
        assert twins.engine.view["decision"]["reason"] == Reason.BOOK_INVALID
    else:
        assert twins.trader.account.fills > 5


def test_nothing_is_computed_that_is_not_asked_for(engine_name: str) -> None:
    from dataclasses import replace

    settings = replace(EAGER, parts=int(layout.Part.BOOK))
    m = Market("binance", "BTCUSDT", engine_name, settings=settings)
    m.feed(m.snapshot(9), m.depth(10, 11, bids=[("99.6", "5")]), m.trade(1))
    m.check()
    view = m.engine.view
    assert not view["features"]["value"].any()
    assert view["decision"]["evaluated"] == 0
    assert view["published"]["snapshot"]["messages"] == 0
    assert m.engine.feed(frame(b"", m.now, kind=layout.Kind.TIMER)) == 0
