"""JSON that nests without end: refused before Python's parser, which calls itself for every level, sees it.

Natively the parser would raise RecursionError; in Pyodide it would take the page's interpreter with it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cwts import browser
from cwts.errors import CwtsError
from cwts.exchanges import finer, instrument_of, price_of, session, unwrapped
from cwts.exchanges.base import DROP, SECOND, Fail, Open
from cwts.instruments import guess_instrument
from cwts.jsontext import DEEPEST, parse

DEEP = b"[" * 5_000
DEEPS = {
    "brackets": DEEP,
    "braces": b'{"a":' * 5_000,
    "both": b'[{"a":' * 5_000 + b"1" + b"}]" * 5_000,
    "closed again only in texts": b'["]]]]",' * 5_000,
    "a text that hides nothing": b'{"a":"\\\\"' + b',"b":[' * 5_000,
    "as a value of much else": b'{"e":"x","data":{"b":[' + b"[1,2]," * 50 + DEEP,
}
VENUES = {"binance": "BTCUSDT", "binance-usdm": "BTCUSDT", "binance-coinm": "BTCUSD_PERP", "okx": "BTC-USDT"}


@pytest.mark.parametrize("text", DEEPS.values(), ids=DEEPS)
def test_what_nests_too_deep_is_no_json(text: bytes) -> None:
    for given in (text, text.decode(), memoryview(text), bytearray(text)):
        with pytest.raises(ValueError, match="nests deeper than 32"):
            parse(given)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [{"b": [1, "x"]}] * 100},
        ["[" * 100, "{" * 100, '"[' * 100, "\\[" * 100, "\\"],
        {"[{" * 40 + '"': "é漢"},
    ],
)
def test_brackets_in_texts_and_in_a_row_nest_nothing(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False).encode()):
        assert parse(text) == value


def test_the_deepest_that_is_read() -> None:
    assert json.dumps(parse("[" * DEEPEST + "]" * DEEPEST)) == "[" * DEEPEST + "]" * DEEPEST
    with pytest.raises(ValueError, match="nests"):
        parse("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


@pytest.mark.parametrize("exchange", VENUES)
def test_a_message_that_nests_too_deep_is_dropped_and_counted(exchange: str) -> None:
    """On every connection, and whatever it seems to be about: an error, a notice, an answer, data."""
    for start in (b"", b'{"event":"error","code":', b'{"id":1,"error":', b'{"a":1,"arg":{"channel":', b'{"result":'):
        machine = session(exchange, [VENUES[exchange]])
        machine.start(SECOND)
        links = [action.link for action in machine.take() if isinstance(action, Open)]
        for link in links:
            machine.opened(2 * SECOND, link)
        for link in links:
            assert machine.message(3 * SECOND, link, start + DEEP) == DROP
        assert [slot.garbage for slot in machine.slots if slot.current] == [1] * len(links)
        assert not machine.failed
        assert not [action for action in machine.take() if isinstance(action, Fail)]


def test_an_answer_to_a_request_that_nests_too_deep_is_no_answer() -> None:
    """COIN-M's snapshots come by REST: tried again, like any other answer that cannot be read."""
    machine = session("binance-coinm", ["BTCUSD_PERP"])
    machine.start(SECOND)
    machine.opened(SECOND, 1)
    machine.message(SECOND, 1, b'{"stream":"btcusd_perp@depth@100ms","data":{}}')
    machine.events(SECOND, 0, 32, synced=False)
    (fetch,) = [action for action in machine.take() if action.kind == "fetch"]
    assert machine.fetched(2 * SECOND, fetch.request, 503, DEEP) == DROP
    machine.tick(4 * SECOND)
    assert [action.kind for action in machine.take() if action.kind == "fetch"]
    assert not machine.failed


@pytest.mark.parametrize("exchange", VENUES)
def test_first_answers_that_nest_too_deep_are_one_clear_line(exchange: str) -> None:
    symbol = VENUES[exchange]
    for answer in (DEEP, b'{"data":' + DEEP, b'{"id":1,"status":200,"result":' + DEEP):
        with pytest.raises(CwtsError, match="not JSON"):
            instrument_of(exchange, symbol, 200, answer)
        assert price_of(exchange, answer) is None
        assert finer(exchange, guess_instrument(exchange, symbol, 1, 2), answer).price_decimals == 1
        assert unwrapped(200, answer) == (200, answer)
        said = json.loads(browser.open_live(exchange, symbol, "", "", (200, answer, ""), (200, answer, "")))["error"]
        assert "not JSON" in said
        assert "\n" not in said
