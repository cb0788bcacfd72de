"""Bad messages: counted and skipped, with the book unharmed, and never read past their end."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from cwts.kernel import layout
from market import Market, compact, frame

EXCHANGES = [("binance", "BTCUSDT"), ("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP"), ("okx", "BTC-USDT")]
BINANCE = EXCHANGES[:3]
each_exchange = pytest.mark.parametrize(("exchange", "symbol"), EXCHANGES, ids=[e for e, _ in EXCHANGES])
each_binance = pytest.mark.parametrize(("exchange", "symbol"), BINANCE, ids=[e for e, _ in BINANCE])


def synced(exchange: str, symbol: str, engine_name: str) -> Market:
    m = Market(exchange, symbol, engine_name)
    bids, asks = [("99.5", "1"), ("99", "2.5")], [("100.5", "1"), ("101", "0.125")]
    m.feed(m.okx("snapshot", 10, -1, bids, asks) if exchange == "okx" else m.snapshot(10, bids, asks))
    m.feed(update(m, 10, bids=[("98", "1")]))
    assert m.synced == 1
    m.check()
    return m


def update(m: Market, previous: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    """The update that follows `previous`."""
    if m.exchange == "okx":
        return m.okx("update", previous + 1, previous, bids, asks)
    return m.depth(previous + 1, previous + 1, previous, bids, asks)


def refused(m: Market, *raws: bytes | dict[str, Any]) -> None:
    """Each of `raws` is counted as malformed and changes nothing; the next good message finds the book as it was."""
    for raw in raws:
        before = m.engine.book_sha256(), m.malformed, m.applied, m.trades
        events = m.feed(raw)
        after = m.engine.book_sha256(), m.malformed - 1, m.applied, m.trades
        assert before == after, raw
        assert events & layout.Event.MALFORMED
        m.check()
    m.feed(update(m, 11, bids=[("97", "1")]))
    assert m.synced == 1
    m.check()


@each_exchange
@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"}", b"[", b"]", b'"', b"{]", b"[}",
        b'{"', b'{"e', b'{"e"', b'{"e":', b'{"e":"', b'{"e":"x"', b'{"e":"x",',
        b'{"e":"x",}', b'{,"e":"x"}', b'{"e" "x"}', b'{"e":"x"}}', b'{"e":"x"} x', b'{"e":x}', b"{'e':'x'}", b'{e:"x"}',
        b"hello", b"\x00", b"\xff\xfe{}", b"[1,]", b"[1 2]", b"tru", b"nul", b"NaN", b"-", b"01", b"1.", b".5",
        b"+1", b"1e", b"1e+",
        b'{"e":"\n"}', b'{"e":"\\x"}', b'{"e":"\\u12g4"}', b'{"a":[[[[[[]}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_is_not_json(engine_name: str, exchange: str, symbol: str, raw: bytes) -> None:
    refused(synced(exchange, symbol, engine_name), raw)


@each_exchange
@pytest.mark.parametrize(
    "raw",
    [
        b"{}", b"[]", b"null", b"true", b"5",
        b'"text"', b'{"result":null,"id":1}', b' {"e" : "other" } ', b'{"code":0,"msg":"\\u00e9\\n"}',
        b"[[1,2.5e-3,{}],{}]", b'{"e":"x","deep":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}', '{"e":"é漢"}'.encode(),
    ],
)  # fmt: skip
def test_what_carries_nothing_for_us(engine_name: str, exchange: str, symbol: str, raw: bytes) -> None:
    m = synced(exchange, symbol, engine_name)
    m.feed(raw)
    assert (m.ignored, m.malformed) == (1, 0)
    m.check()


@each_exchange
@pytest.mark.parametrize("side", ["bids", "asks"])
@pytest.mark.parametrize(
    ("price", "qty"),
    [
        ("123456789012345678901234567890", "1"),
        ("1.123456789012345678901234567890", "1"),
        ("99", "123456789012345678901234567890"),
        ("99", "0.123456789012345678901234567890"),
        ("99", "-1"), ("-99", "1"), ("99", "+1"), ("99", ""), ("", "1"), ("99", "1e3"), ("0x10", "1"),
        ("99", "1,5"), ("99", "1.2.3"),
        ("99", "."), ("99", ".5"), ("99", "5."), ("99", " 1"), ("99", "1 "), ("NaN", "1"), ("Infinity", "1"),
        ("99", "٣"), ("99.001", "1"),
        ("99", "1.0001"), ("99", "9223372036854775808"), ("92233720368547758.08", "1"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(engine_name: str, exchange: str, symbol: str, side: str, price: str, qty: str) -> None:
    """Neither rounded nor clipped: the whole message is refused, the good level before the bad one with it."""
    m = synced(exchange, symbol, engine_name)
    refused(m, update(m, 11, **{side: [("98.5", "1"), (price, qty), ("96", "1")]}))


@each_exchange
def test_zeros_beyond_the_decimals_are_no_digits(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    m.feed(update(m, 11, bids=[("98.50000000000000000000", "1.50000000000000000000"), ("0097", "01")]))
    assert (m.malformed, m.synced) == (0, 1)
    m.check()


@each_exchange
def test_levels_that_are_none(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    good = update(m, 11, bids=[("98.5", "1")])
    element = good["data"][0] if exchange == "okx" else good
    key = "bids" if exchange == "okx" else "b"
    bad: list[bytes] = []
    levels: Any
    for levels in (
        [["98.5"]],
        [[]],
        ["98.5", "1"],
        [["98.5", None]],
        [[["98.5"], "1"]],
        [{"98.5": "1"}],
        None,
        "x",
        {},
        5,
    ):
        element[key] = levels
        bad.append(compact(good))
    del element[key]
    bad.append(compact(good))
    refused(m, *bad)


@each_binance
@pytest.mark.parametrize("key", ["U", "u", "s", "b", "a"])
def test_a_depth_update_that_lacks_a_field(engine_name: str, exchange: str, symbol: str, key: str) -> None:
    m = synced(exchange, symbol, engine_name)
    message = update(m, 11, bids=[("98.5", "1")])
    del message[key]
    refused(m, message)


@pytest.mark.parametrize(("exchange", "symbol"), BINANCE[1:])
def test_futures_need_the_id_before(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    message = update(m, 11)
    del message["pu"]
    refused(m, message)


@each_binance
def test_ids_that_are_none(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    good = update(m, 11, bids=[("98.5", "1")])
    wrong: list[Any] = ["x", "", None, [], {}, 1.5, "1" * 30, 10**25, True]
    refused(m, *(good | {"u": value} for value in wrong), good | {"U": 99})


@each_binance
def test_trades_that_lack_a_field(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    good = m.trade(1)
    bad: list[dict[str, Any]] = [{k: v for k, v in good.items() if k != key} for key in ("s", "t", "p", "q", "m")]
    bad += [good | {"p": "-1"}, good | {"q": "-1"}, good | {"q": "1" * 30}, good | {"p": None}]
    refused(m, *bad)
    m.feed(good)
    assert m.trades == 1


def test_okx_trades_are_all_good_or_all_refused(engine_name: str) -> None:
    m = synced("okx", "BTC-USDT", engine_name)
    good = {"instId": m.symbol, "tradeId": "7", "px": "100.5", "sz": "0.25", "side": "sell", "ts": "1"}

    def message(*data: object) -> dict[str, Any]:
        return {"arg": {"channel": "trades", "instId": m.symbol}, "data": list(data)}

    refused(m, message(good, good | {"sz": "-1"}), message(good, {}), message(good | {"side": "up"}), message(good, 5))
    m.feed(message(good))
    assert m.trades == 1


@each_binance
def test_forced_orders_that_lack_a_field(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    good = m.forced()
    order = good["o"]
    bad: list[dict[str, Any]] = [good | {"o": {k: v for k, v in order.items() if k != key}} for key in "sSpq"]
    changes = [{"S": "sell"}, {"p": "-1"}, {"p": "99.001"}, {"q": "1e3"}, {"q": None}, {"ap": "9.9.9"}, {"ap": "5."}]
    bad += [good | {"o": order | change} for change in changes]
    refused(m, *bad, {"e": "forceOrder", "E": 1}, *(good | {"o": o} for o in ({}, [], None, "x", [order])))
    m.feed(good, good | {"o": order | {"ap": "98.76543"}}, good | {"o": dict(reversed(order.items()))})
    m.feed(
        {"stream": "!forceOrder@arr", "data": good}, good | {"o": order | {"q": "0"}}, good | {"o": order | {"s": "X"}}
    )
    assert (m.liquidations, m.ignored) == (4, 2)
    assert m.engine.view["liquidation"]["forced"]["price"][:4].tolist() == [9900, 9876, 9900, 9900]
    m.check()


def test_okx_forced_orders_are_all_good_or_all_refused(engine_name: str) -> None:
    m = synced("okx", "BTC-USDT", engine_name)
    good = m.forced()
    element = good["data"][0]
    order = element["details"][0]

    def message(*details: object) -> dict[str, Any]:
        return good | {"data": [element | {"details": list(details)}]}

    bad: list[dict[str, Any]] = [
        message(order, {k: v for k, v in order.items() if k != key}) for key in ("bkPx", "sz", "side")
    ]
    bad += [message(order, 5), message(order, {}), message(order | {"side": "x"}), message(order | {"sz": "-1"})]
    bad += [
        good | {"data": data} for data in ({}, [5], [element, []], [element | {"details": {}}], [{"instId": m.symbol}])
    ]
    refused(m, *bad)
    other = element | {"instId": "ETH-USDT", "details": [{"side": "?"}]}
    m.feed(message(order, order), good | {"data": [other, element]}, good | {"data": [other]}, good | {"data": []})
    assert (m.liquidations, m.ignored) == (3, 2)
    m.check()


def test_the_ring_keeps_the_last_forced_orders(engine_name: str) -> None:
    for exchange, symbol in (EXCHANGES[1], EXCHANGES[3]):
        m = Market(exchange, symbol, engine_name)
        m.feed(*(m.forced(f"{i}.5", sell=i % 2 == 0) for i in range(1, 151)))
        assert m.liquidations == 150
        m.check()


def test_okx_books_without_data(engine_name: str) -> None:
    m = synced("okx", "BTC-USDT", engine_name)
    arg = {"arg": {"channel": "books", "instId": m.symbol}, "action": "update"}
    refused(m, arg, arg | {"data": []}, arg | {"data": {}}, arg | {"data": [1]}, arg | {"data": [{}]},
            update(m, 11) | {"action": "other"})  # fmt: skip


@each_exchange
def test_a_good_message_cut_anywhere(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    whole = compact(update(m, 11, bids=[("98.5", "1.25")], asks=[("100.75", "0.000")]))
    refused(m, *(whole[:size] for size in range(len(whole))))


@each_exchange
def test_a_good_message_with_a_byte_changed(engine_name: str, exchange: str, symbol: str) -> None:
    """Whatever becomes of it, the oracle says the same, and the bytes that follow it are never read."""
    rng = random.Random(3)
    for _ in range(100):
        m = Market(exchange, symbol, engine_name)
        m.feed(m.okx("snapshot", 10, -1, [("99", "1")], [("101", "1")]) if exchange == "okx" else m.snapshot(10))
        raw = bytearray(compact(update(m, 10, bids=[("98.5", "1.25"), ("99", "0")], asks=[("100.75", "2")])))
        raw[rng.randrange(len(raw))] = rng.choice(b'{}[]",:0123456789.-\\ eE\x00\x80n')
        if not same_reading(bytes(raw)):
            continue
        m.feed(bytes(raw))
        m.check()


def same_reading(raw: bytes) -> bool:
    """Python's reader and the kernel's mean the same by it: no key twice."""
    twice = False

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal twice
        twice |= len({key for key, _ in items}) < len(items)
        return dict(items)

    try:
        json.loads(raw.decode("latin-1"), object_pairs_hook=pairs)
    except ValueError:
        return True
    return not twice


@each_exchange
def test_a_message_of_many_levels(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    m.feed(
        update(
            m,
            11,
            bids=[(f"{1 + i / 100:.2f}", "1") for i in range(9000)],
            asks=[(f"{200 + i}", "1") for i in range(5000)],
        )
    )
    assert (m.malformed, m.synced) == (0, 1)
    m.check()


@each_exchange
def test_more_levels_than_a_message_can_have(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    before = m.engine.book_sha256()
    raw = compact(update(m, 11, bids=[("98.25", "1")] * 40_000))
    m.engine.feed(frame(raw))
    assert m.malformed == 1
    assert m.engine.book_sha256() == before


@each_exchange
def test_a_number_a_megabyte_long(engine_name: str, exchange: str, symbol: str) -> None:
    m = synced(exchange, symbol, engine_name)
    m.engine.feed(frame(compact(update(m, 11, bids=[("1" * 1_000_000, "1")]))))
    m.engine.feed(frame(compact(update(m, 11, bids=[("98.5", "0." + "0" * 1_000_000)]))))
    assert m.malformed == 1
    assert m.applied == 2


def test_frames_that_do_not_fit_are_an_error(engine_name: str) -> None:
    m = synced("binance", "BTCUSDT", engine_name)
    good = frame(compact(update(m, 11, bids=[("98.5", "1")])))
    for bad in (good[:8], good[:-8], good[:15] + b"\x01" + good[16:-8], b"\xff" * 16):
        messages = m.messages
        with pytest.raises(ValueError, match="frame"):
            m.engine.feed(good + bad)
        assert m.messages == messages + 1  # the frames before it were processed
    assert m.engine.feed(b"") == 0
