"""Single frames as the exchanges sent them in 2026, with fields that older recordings do not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwts.kernel import layout
from market import Market

DATA = Path(__file__).parent / "data"
MARKET = [line.encode() for line in (DATA / "live-frames-2026-market.jsonl").read_text().splitlines()]
LIQUIDATIONS = [line.encode() for line in (DATA / "live-frames-2026-liquidations.jsonl").read_text().splitlines()]


def of(mark: str) -> list[bytes]:
    found = [raw for raw in MARKET if mark.encode() in raw]
    assert found
    return found


def test_a_futures_trade_that_is_none(engine_name: str) -> None:
    m = Market("binance-usdm", "BTCUSDT", engine_name)
    m.feed(*of('"X":"NA"'))
    assert (m.trades, m.trades_ignored, m.malformed) == (0, 1, 0)
    m.check()


def test_a_book_ticker_with_new_fields(engine_name: str) -> None:
    m = Market("binance-usdm", "BTCUSDT", engine_name)
    m.feed(*of('"bookTicker"'))
    assert (m.tickers, m.malformed, m.ignored) == (1, 0, 0)
    assert m.engine.view["sync"]["touch"]["price"].tolist() == [8_478_820, 8_478_830]
    m.check()


def test_okx_ids_follow_and_a_zero_checksum_is_not_verified(engine_name: str) -> None:
    m = Market("okx", "SOL-USDT", engine_name, price_decimals=2, qty_decimals=6)
    m.feed(*of('"channel":"books","instId":"SOL-USDT"'))
    assert (m.snapshots, m.applied, m.synced, m.checksum_ok, m.checksum_bad) == (1, 1, 1, 0, 0)
    assert m.engine.levels(0)[0].tolist() == [12065]
    m.check()


def test_okx_whole_books(engine_name: str) -> None:
    m = Market("okx", "BTC-USDT-SWAP", engine_name, price_decimals=1, qty_decimals=2)
    m.feed(*of('"books5"'))
    assert (m.snapshots, m.synced) == (2, 1)
    assert m.oracle.best(0) == "63921.4"
    assert len(m.engine.levels(0)[0]) == 5
    m.check()


def test_okx_trades_with_new_fields(engine_name: str) -> None:
    m = Market("okx", "SOL-USDT-SWAP", engine_name, price_decimals=2, qty_decimals=2)
    m.feed(*of('"channel":"trades"'))
    assert m.trades == 1
    m.check()


def test_okx_best_quotes(engine_name: str) -> None:
    m = Market("okx", "BTC-JPY", engine_name, price_decimals=0, qty_decimals=8)
    m.feed(*of('"bbo-tbt"'))
    assert (m.tickers, m.synced) == (1, 0)
    assert m.engine.view["sync"]["touch"]["price"].tolist() == [13_615_496, 13_643_522]
    m.check()


@pytest.mark.parametrize("raw", LIQUIDATIONS, ids=lambda raw: str(json.loads(raw).get("e") or raw[:24].decode()))
@pytest.mark.parametrize(("exchange", "symbol"), [("binance-usdm", "BTCUSDT"), ("okx", "BTC-USDT-SWAP")])
def test_forced_orders_of_our_symbol_are_read(engine_name: str, exchange: str, symbol: str, raw: bytes) -> None:
    m = Market(exchange, symbol, engine_name)
    ours = b'"s":"BTCUSDT"' in raw if exchange == "binance-usdm" else b'"BTC-USDT-SWAP"' in raw
    ours &= b"allLiquidation" not in raw  # another exchange's
    events = m.feed(raw)
    assert (m.liquidations, m.ignored, m.malformed) == (ours, not ours, 0)
    assert bool(events & layout.Event.LIQUIDATION) == ours
    m.check()


def test_what_a_forced_order_says(engine_name: str) -> None:
    """Binance tells the average price paid, OKX the price at which the margin is gone."""
    for exchange, symbol, price, qty, ms in [
        ("binance-usdm", "BTCUSDT", 8_265_190, 190, 1_791_565_602_120),
        ("okx", "BTC-USDT-SWAP", 8_265_570, 8_550, 1_791_565_600_771),
    ]:
        m = Market(exchange, symbol, engine_name)
        m.feed(*LIQUIDATIONS)
        forced = m.engine.view["liquidation"]["forced"][0]
        assert (forced["price"], forced["qty"], forced["exchange_ns"]) == (price, qty, ms * 1_000_000)
        assert (forced["side"], forced["bankruptcy"]) == (layout.Side.ASK, exchange == "okx")
