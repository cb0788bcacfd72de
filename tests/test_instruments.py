"""What the exchanges' own files say about instruments, and what a symbol alone tells."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cwts.errors import InputError
from cwts.instruments import Instrument, decimals_of, guess_instrument, load_instrument, parse_instrument

if TYPE_CHECKING:
    from pathlib import Path

D = Decimal
FILES = {
    "binance": "binance-spot-exchangeInfo-202508.json",
    "binance-usdm": "binance-usdm-exchangeInfo-202508.json",
    "binance-coinm": "binance-coinm-exchangeInfo-202508.json",
    "okx": "okx-instruments-2022.json",
}
CASES = [
    Instrument("binance", "BTCUSDT", "spot", "BTC", "USDT", "USDT", 2, 5, D("0.01"), D("0.00001"), D("0.00001"),
        D(9000), D(5)),
    Instrument("binance", "ETHBTC", "spot", "ETH", "BTC", "BTC", 5, 4, D("0.00001"), D("0.0001"), D("0.0001"),
        D(100000), D("0.0001")),
    Instrument("binance-usdm", "BTCUSDT", "linear", "BTC", "USDT", "USDT", 1, 3, D("0.1"), D("0.001"), D("0.001"),
        D(1000), D(100)),
    Instrument("binance-coinm", "BTCUSD_PERP", "inverse", "BTC", "USD", "BTC", 1, 0, D("0.1"), D(1), D(1),
        D(1000000), D(0), D(100)),
    Instrument("binance-coinm", "ETHUSD_PERP", "inverse", "ETH", "USD", "ETH", 2, 0, D("0.01"), D(1), D(1),
        D(1000000), D(0), D(10)),
    Instrument("okx", "BTC-USDT", "spot", "BTC", "USDT", "USDT", 1, 8, D("0.1"), D("0.00000001"), D("0.00001"),
        D(9999999999)),
    Instrument("okx", "BTC-USD-SWAP", "inverse", "BTC", "USD", "BTC", 1, 0, D("0.1"), D(1), D(1), D(100000000),
        D(0), D(100)),
    Instrument("okx", "BTC-USDT-SWAP", "linear", "BTC", "USDT", "USDT", 1, 0, D("0.1"), D(1), D(1), D(100000000),
        D(0), D("0.01")),
    Instrument("okx", "UNI-USD-SWAP", "inverse", "UNI", "USD", "UNI", 3, 0, D("0.001"), D(1), D(1), D(100000000),
        D(0), D(10)),
]  # fmt: skip


@pytest.mark.parametrize("expected", CASES, ids=lambda i: f"{i.exchange}:{i.symbol}")
def test_instruments_of_the_real_files(data: Path, expected: Instrument) -> None:
    assert load_instrument(data / FILES[expected.exchange], expected.exchange, expected.symbol.lower()) == expected


@pytest.mark.parametrize("exchange", FILES)
def test_every_instrument_of_the_real_files_can_be_read(data: Path, exchange: str) -> None:
    root = json.loads((data / FILES[exchange]).read_bytes())
    rows = root["symbols"] if exchange != "okx" else [row for part in root.values() for row in part["data"]]
    for row in rows:
        symbol = row.get("symbol") or row["instId"]
        found = load_instrument(data / FILES[exchange], exchange, symbol)
        assert found.symbol == symbol
        assert found.tick_size > 0
        assert found.lot_size > 0
        assert found.tick_size.scaleb(found.price_decimals) % 1 == 0
        assert found.lot_size.scaleb(found.qty_decimals) % 1 == 0


def test_okx_answers_come_bare_too(data: Path) -> None:
    bare = json.dumps(json.loads((data / FILES["okx"]).read_bytes())["SPOT"]).encode()
    assert parse_instrument(bare, "okx", "ETH-USDT").price_decimals == 2


def test_the_websocket_apis_answer_comes_in_an_envelope(data: Path) -> None:
    answer = b'{"id":1,"status":200,"result":' + (data / FILES["binance"]).read_bytes() + b"}"
    assert parse_instrument(answer, "binance", "BTCUSDT").lot_size == D("0.00001")


def test_a_filter_value_of_zero_switches_the_rule_off() -> None:
    row = {
        "symbol": "AB", "baseAsset": "A", "quoteAsset": "B", "quotePrecision": 4, "baseAssetPrecision": 6,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.00000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.0", "maxQty": "0", "stepSize": "0"},
            {"filterType": "NOTIONAL", "minNotional": "0.00"},
        ],
    }  # fmt: skip
    found = parse_instrument(json.dumps({"symbols": [row]}).encode(), "binance", "AB")
    assert (found.tick_size, found.lot_size) == (D("0.0001"), D("0.000001"))
    assert found.min_qty == found.max_qty == found.min_notional == 0


def refused(data: bytes, exchange: str, symbol: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_instrument(data, exchange, symbol, name="file")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_used_is_refused_with_one_line(data: Path) -> None:
    assert "BTCUSDT" in refused((data / FILES["binance"]).read_bytes(), "binance", "BTCUSD")
    assert "BTC-USDT" in refused((data / FILES["okx"]).read_bytes(), "okx", "BTC-UST")
    assert "25 in all" in refused((data / FILES["binance"]).read_bytes(), "binance", "?")
    assert "binance-usdm, not of binance" in refused((data / FILES["binance-usdm"]).read_bytes(), "binance", "BTCUSDT")
    assert "not JSON" in refused(b"hello", "okx", "BTC-USDT")
    assert "not JSON" in refused(b"\xff\xfe", "okx", "BTC-USDT")
    assert "no list of instruments" in refused(b"[]", "binance", "BTCUSDT")
    assert "no list of instruments" in refused((data / FILES["binance"]).read_bytes(), "okx", "BTC-USDT")
    assert "cannot be read" in refused(b'{"symbols":[{"symbol":"AB"}]}', "binance", "AB")
    assert "cannot be read" in refused(b'{"data":[{"instId":"A-B","instType":"SPOT","tickSz":"x"}]}', "okx", "A-B")
    with pytest.raises(InputError, match="No such file"):
        load_instrument(data / "nowhere.json", "okx", "BTC-USDT")


SPOT: dict[str, Any] = {
    "symbol": "AB", "baseAsset": "A", "quoteAsset": "B",
    "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "stepSize": "0.1", "minQty": "0.1"}],
}  # fmt: skip


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-inf", "1e999999999", "1e-999999999", "x", 1e400, [], True])
@pytest.mark.parametrize(("rule", "key"), [(0, "tickSize"), (1, "stepSize"), (1, "minQty")])
def test_a_rule_that_is_no_number_is_refused(rule: int, key: str, value: object) -> None:
    row = json.loads(json.dumps(SPOT))
    row["filters"][rule][key] = value
    said = refused(json.dumps({"symbols": [row]}).encode(), "binance", "AB")
    assert re.fullmatch(r"file: the entry of AB cannot be read \('.*' is no number that can be used\)", said)


@pytest.mark.parametrize("value", ["abc", 1e400, -1, 1.5, 10**300, "NaN"])
@pytest.mark.parametrize("key", ["pricePrecision", "quantityPrecision"])
def test_decimals_that_are_no_whole_number_are_refused(key: str, value: object) -> None:
    said = refused(json.dumps({"symbols": [{**SPOT, "filters": [], key: value}]}).encode(), "binance", "AB")
    assert re.fullmatch(r"file: the entry of AB cannot be read \('.*' is no number .*\)", said)


def test_an_entry_of_okx_with_the_wrong_types_is_refused() -> None:
    row = {"instId": "A-B", "instType": "SWAP", "tickSz": "1", "lotSz": "1", "uly": 5}
    for wrong in ({}, {"uly": "A"}, {"tickSz": "NaN"}, {"uly": "A-B", "settleCcy": "B", "ctVal": "Infinity"}):
        assert "cannot be read" in refused(json.dumps({"data": [row | wrong]}).encode(), "okx", "A-B")


def test_json_nested_too_deep_is_refused() -> None:
    assert "not JSON" in refused(b"[" * 100_000, "okx", "BTC-USDT")


@pytest.mark.parametrize(
    ("exchange", "symbol", "contract", "base", "settle", "size"),
    [
        ("binance", "BTCUSDT", "spot", "BTC", "USDT", "1"),
        ("binance", "ETHBTC", "spot", "ETH", "BTC", "1"),
        ("binance-usdm", "1000PEPEUSDT", "linear", "1000PEPE", "USDT", "1"),
        ("binance-usdm", "BTCUSDT_241227", "linear", "BTC", "USDT", "1"),
        ("binance-coinm", "BTCUSD_PERP", "inverse", "BTC", "BTC", "100"),
        ("binance-coinm", "ETHUSD_241227", "inverse", "ETH", "ETH", "10"),
        ("okx", "BTC-USDT", "spot", "BTC", "USDT", "1"),
        ("okx", "BTC-USD", "spot", "BTC", "USD", "1"),
        ("okx", "BTC-USDT-SWAP", "linear", "BTC", "USDT", "0.01"),
        ("okx", "BTC-USD-SWAP", "inverse", "BTC", "BTC", "100"),
        ("okx", "UNI-USD-SWAP", "inverse", "UNI", "UNI", "10"),
        ("okx", "BTC-USD-220527", "inverse", "BTC", "BTC", "100"),
        ("okx", "NEW-USDT-SWAP", "linear", "NEW", "USDT", "0"),
        ("okx", "BTC-USD-210924-66000-C", "inverse", "BTC", "BTC", "0"),
    ],
)
def test_what_the_symbol_alone_tells(
    exchange: str, symbol: str, contract: str, base: str, settle: str, size: str
) -> None:
    guess = guess_instrument(exchange, symbol.lower(), 2, 3)
    assert (guess.symbol, guess.contract, guess.base, guess.settle) == (symbol, contract, base, settle)
    assert guess.contract_size == D(size)
    assert (guess.tick_size, guess.lot_size, guess.known) == (D("0.01"), D("0.001"), False)


def test_decimals_of_a_step() -> None:
    assert [decimals_of(D(t)) for t in ("0.01", "0.010", "1", "10", "5", "0.5", "0.00000001", "1E-7")] == [
        2,
        2,
        0,
        0,
        0,
        1,
        8,
        7,
    ]
