"""A live session as the page's engine worker drives it (cwts.browser.Live), with a host like driver.js in Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts import browser
from cwts.browser import ACTIONS, ANSWER, CLOSED, FETCHED, HEADER, LOST, OPENED, TICK, Live
from cwts.exchanges import session
from cwts.exchanges.base import NOTEWORTHY, SECOND, Policy
from cwts.kernel import Engine, layout
from cwts.recording import FRAME
from market import START_NS, Market, compact

if TYPE_CHECKING:
    from pathlib import Path

POLICY = Policy(backoff_ns=0, resync_ns=0, rotate_ns=3600 * SECOND)
RAW, COMMAND = int(layout.Kind.RAW), int(layout.Kind.COMMAND)
RESET = (int(layout.CommandOp.RESET_BOOK)).to_bytes(4, "little") + bytes(4)
TRADES = {"binance": "trade", "binance-usdm": "aggTrade", "binance-coinm": "aggTrade"}


class Page:
    """What the page does: entries in batches, messages that only pass by, actions in order."""

    def __init__(self, exchange: str, symbol: str, *, shortcut: bool = True) -> None:
        self.market = Market(exchange, symbol)
        self.engine: Engine = self.market.engine
        self.drained = np.zeros(1 << 16, np.uint8)
        self.live = Live(session(exchange, [symbol], policy=POLICY), self.engine, self.drained)
        self.shortcut = shortcut
        self.links: dict[int, tuple[int, list[bytes]]] = {}
        self.fed: list[tuple[int, int, int, bytes]] = []  # recv, stream, kind, payload
        self.waiting = bytearray()
        self.actions: list[dict[str, Any]] = []
        self.looks = 0
        self.now = START_NS
        self.entries = bytearray()
        self.carry(self.live.start(), 0)

    def put(self, kind: int, link: int = 0, payload: bytes = b"", step: int = SECOND // 1000) -> Page:
        self.now += step
        self.entries += HEADER.pack(self.now, len(payload), link, kind) + payload + bytes(-len(payload) % 8)
        return self

    def message(self, link: int, message: object) -> Page:
        return self.put(RAW, link, message if isinstance(message, bytes) else compact(message))

    def drain(self) -> list[dict[str, Any]]:
        """One batch; returns what was asked for."""
        self.actions = []
        size = len(self.entries)
        self.drained[:size] = np.frombuffer(self.entries, np.uint8)
        at = last = 0
        passed: dict[int, int] = {}
        while at < size:
            now, length, link, kind = HEADER.unpack_from(self.entries, at)
            payload = bytes(self.entries[at + 16 : at + 16 + length])
            stream, passing = self.links.get(link, (0, []))
            if kind == RAW and self.shortcut and any(payload.startswith(beginning) for beginning in passing):
                passed[link] = passed.get(link, 0) + 1
                self.push(now, stream, RAW, payload)
            else:
                self.looks += 1
                found = self.live.look(at)
                if found & 1:
                    answer = kind == FETCHED
                    self.push(now, 14 if answer else stream, RAW, payload[ANSWER.size :] if answer else payload)
                if found & ACTIONS:
                    self.carry(self.live.take(), now)
            last = at
            at += 16 + (length + 7 & ~7)
        for link, count in passed.items():
            self.live.passed(last, link, count)
        while self.waiting:
            bits = self.engine.feed(bytes(self.waiting))
            self.waiting.clear()
            if bits & NOTEWORTHY and self.live.events(last, bits):
                self.carry(self.live.take(), HEADER.unpack_from(self.entries, last)[0])
        self.entries.clear()
        return self.actions

    def push(self, now: int, stream: int, kind: int, payload: bytes) -> None:
        self.fed.append((now, stream, kind, payload))
        self.waiting += FRAME.pack(now, len(payload), stream, kind) + payload + bytes(-len(payload) % 8)

    def carry(self, actions: str, now: int) -> None:
        for action in json.loads(actions):
            self.actions.append(action)
            if action["kind"] == "open":
                self.links[action["link"]] = action["stream"], [text.encode() for text in action["passing"]]
            elif action["kind"] == "close":
                self.links.pop(action["link"], None)
            elif action["kind"] == "reset":
                self.push(now, 15, COMMAND, RESET)

    @property
    def kinds(self) -> list[str]:
        return [action["kind"] for action in self.actions if action["kind"] != "note"]

    def health(self) -> dict[str, Any]:
        HEADER.pack_into(self.drained.data, 0, self.now, 0, 0, TICK)
        return json.loads(self.live.health(0))


def wrapped(symbol: str, stream: str, message: object) -> bytes:
    return b'{"stream":"%b@%b","data":%b}' % (symbol.lower().encode(), stream.encode(), compact(message))


def synced(exchange: str = "binance", symbol: str = "BTCUSDT", *, shortcut: bool = True) -> Page:
    """A page whose book is valid; link 1 carries it."""
    page = Page(exchange, symbol, shortcut=shortcut)
    page.put(OPENED, 1).drain()
    page.message(1, {"result": None, "id": 1})
    page.message(1, wrapped(symbol, "depth@100ms", page.market.depth(6, 6))).drain()
    return page


def with_snapshot(page: Page, last_id: int = 5) -> Page:
    (request,) = [action for action in page.actions if action["kind"] == "open"]
    page.put(OPENED, request["link"]).drain()
    (sent,) = [json.loads(action["text"]) for action in page.actions if action["kind"] == "send"]
    page.message(request["link"], {"id": sent["id"], "status": 200, "result": page.market.snapshot(last_id)}).drain()
    return page


def test_it_goes_live_and_the_frames_are_the_messages_as_they_came() -> None:
    page = with_snapshot(synced())
    assert page.live._synced[0] == 1
    assert page.health()["books"][0]["synced"]
    assert [kind for _, _, kind, _ in page.fed] == [RAW, RAW]
    assert [stream for _, stream, _, _ in page.fed] == [0, 8]
    assert page.fed[0][3] == wrapped("BTCUSDT", "depth@100ms", page.market.depth(6, 6))


def test_quotes_pass_without_a_look_and_count_all_the_same() -> None:
    pages = [with_snapshot(synced(shortcut=shortcut)) for shortcut in (True, False)]
    for page in pages:
        for number in range(7, 40):
            ticker = {"u": number, "s": "BTCUSDT", "b": "99.00", "B": "1.000", "a": "101.00", "A": "1.000"}
            page.message(1, wrapped("BTCUSDT", "bookTicker", ticker))
            page.message(1, wrapped("BTCUSDT", "trade", page.market.trade(number // 2)))  # every one comes twice
        page.message(1, wrapped("BTCUSDT", "depth@100ms", page.market.depth(7, 7)))
        page.drain()
    quick, thorough = pages
    assert quick.looks < thorough.looks - 30
    assert [entry[1:] for entry in quick.fed] == [entry[1:] for entry in thorough.fed]
    health = [page.health() for page in pages]
    assert health[0]["links"][0]["messages"] == health[1]["links"][0]["messages"]
    assert health[0]["books"][0]["repeats"] == health[1]["books"][0]["repeats"] > 10
    assert health[0]["links"][0]["silent"] == 0


def test_messages_of_a_connection_that_is_gone_are_dropped() -> None:
    page = with_snapshot(synced())
    fed = len(page.fed)
    ticker = {"u": 9, "s": "BTCUSDT", "b": "99.00", "B": "1.000", "a": "101.00", "A": "1.000"}
    page.put(CLOSED, 1, compact({"why": "the connection was cut", "hopeless": False}))
    page.links.pop(1)
    page.message(1, wrapped("BTCUSDT", "bookTicker", ticker)).drain()
    assert [kind for _, _, kind, _ in page.fed[fed:]] == [COMMAND]  # the book is thrown away, and nothing else
    assert page.kinds == ["reset"]
    assert not page.live._synced[0]
    assert page.put(TICK).drain()[-1]["kind"] == "open"
    assert page.health()["links"][0]["error"] == "the connection was cut"


def test_a_gap_is_told_after_the_batch_and_a_new_book_is_asked_for() -> None:
    page = with_snapshot(synced())
    page.message(1, wrapped("BTCUSDT", "depth@100ms", page.market.depth(9, 9))).drain()
    assert page.kinds == ["send"]
    health = page.health()["books"][0]
    assert (health["synced"], health["gaps"], health["snapshots"]) == (False, 1, 2)


def test_an_overflow_resets_the_book_before_what_follows() -> None:
    page = with_snapshot(synced())
    fed = len(page.fed)
    page.put(LOST, 0, (1234).to_bytes(4, "little"))
    page.message(1, wrapped("BTCUSDT", "depth@100ms", page.market.depth(7, 7))).drain()
    assert [kind for _, _, kind, _ in page.fed[fed:]] == [COMMAND, RAW]
    assert page.kinds == ["reset", "send"]
    health = page.health()
    assert (health["lost"], health["overflows"], health["books"][0]["resets"]) == (1234, 1, 1)


def test_coin_m_gets_its_snapshot_by_a_request() -> None:
    page = synced("binance-coinm", "BTCUSD_PERP")
    (fetch,) = [action for action in page.actions if action["kind"] == "fetch"]
    assert fetch["url"].startswith("https://dapi.binance.com/dapi/v1/depth?symbol=BTCUSD_PERP")
    body = compact(page.market.snapshot(6))
    page.put(FETCHED, 0, ANSWER.pack(fetch["request"], 200, 0) + body).drain()
    assert page.live._synced[0]
    assert page.fed[-1][1:] == (14, RAW, body)


def test_a_request_without_an_answer_is_told_in_words_and_tried_again() -> None:
    page = synced("binance-coinm", "BTCUSD_PERP")
    (fetch,) = [action for action in page.actions if action["kind"] == "fetch"]
    page.put(FETCHED, 0, ANSWER.pack(fetch["request"], 0, 0) + "no answer – none".encode()).drain()
    assert page.actions[0]["text"] == "BTCUSD_PERP: no snapshot: no answer – none"
    assert page.put(TICK, step=SECOND).drain()[-1]["kind"] == "fetch"


def test_a_request_too_many_is_tried_again_when_the_answer_says() -> None:
    """429 with Retry-After: 17."""
    page = synced("binance-coinm", "BTCUSD_PERP")
    (fetch,) = [action for action in page.actions if action["kind"] == "fetch"]
    page.put(FETCHED, 0, ANSWER.pack(fetch["request"], 429, 17 * SECOND) + compact({"code": -1003})).drain()
    assert page.actions[-1]["text"] == "too many requests: nothing is asked for 17 s"
    page.put(TICK, step=16 * SECOND).drain()
    assert "fetch" not in page.kinds
    page.put(TICK, step=2 * SECOND).drain()
    assert "fetch" in page.kinds


def test_a_host_that_cannot_be_reached_for_good_ends_the_session() -> None:
    page = Page("okx", "BTC-USDT")
    page.put(CLOSED, 1, compact({"why": "this page may not connect", "hopeless": True})).drain()
    assert page.kinds == ["fail", "close"]
    assert "this page may not connect" in page.actions[0]["text"]


def test_okx_quotes_pass_by() -> None:
    page = Page("okx", "BTC-USDT")
    (_, passing) = page.links[1]
    assert passing == [b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":']
    page.put(OPENED, 1).drain()
    looks = page.looks
    quote = b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[],"ts":"1","seqId":3}]}'
    page.message(1, quote).drain()
    assert page.looks == looks
    assert page.fed[-1][3] == quote


def test_liquidations_of_several_instruments_reach_the_pages_one_engine(data: Path) -> None:
    """As OKX sent it in 2026, with another instrument's beside ours: ours is read, once."""
    frames = (data / "live-frames-2026-liquidations.jsonl").read_bytes().splitlines()
    message = json.loads(next(raw for raw in frames if b"liquidation-orders" in raw))
    (row,) = message["data"]
    others = message | {"data": [row | {"instId": "CELO-USDT-SWAP"}]}
    both = message | {"data": [row | {"instId": "CELO-USDT-SWAP"}, row]}
    page = Page("okx", "BTC-USDT-SWAP")
    page.put(OPENED, 1).drain()
    page.message(1, others).message(1, both).message(1, both).drain()
    assert [payload for _, _, kind, payload in page.fed if kind == RAW] == [compact(both)]
    assert int(page.engine.view["counters"]["liquidations"]) == 1


# -- before it goes live -----------------------------------------------------------------------------------------------

USDM = {
    "symbol": "BTCUSDT",
    "contractType": "PERPETUAL",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
}
RULES = [
    {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
    {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001"},
]
BOOK = {"id": 1, "status": 200, "result": {"lastUpdateId": 5, "bids": [["99.10", "1.234"]], "asks": [["101.5", "2"]]}}
NOTHING = (0, b"", "cannot reach fapi.binance.com")
UNKNOWN = (200, compact({"id": 1, "status": 400, "error": {"code": -1121, "msg": "Invalid symbol."}}), "")
NONE_LISTED = (200, compact({"arg": {"channel": "instruments", "instType": "SPOT"}, "data": []}), "")
LISTED = (200, compact({"symbols": [{**USDM, "filters": RULES}]}), "")


def opened(exchange: str, symbol: str, rules: Any, book: Any = None, capital: str = "") -> Any:
    answered = book or (200, compact(BOOK), "")
    return json.loads(browser.open_live(exchange, symbol, "", capital, rules, answered, POLICY))


def test_what_is_asked_before_goes_over_websockets_where_they_answer() -> None:
    asked = json.loads(browser.questions("binance", "btcusdt", "ws://127.0.0.1:9000/binance"))
    assert asked["instruments"][0]["url"] == asked["book"]["url"] == "ws://127.0.0.1:9000/binance/ws-api/v3"
    assert json.loads(asked["instruments"][0]["send"])["params"]["symbol"] == "BTCUSDT"
    asked = json.loads(browser.questions("binance-usdm", "BTCUSDT", ""))
    assert asked["instruments"] == [{"url": "https://fapi.binance.com/fapi/v1/exchangeInfo", "send": "", "marks": []}]
    assert asked["book"]["url"] == "wss://ws-fapi.binance.com/ws-fapi/v1"
    listed = json.loads(browser.questions("okx", "", ""))
    assert [json.loads(q["send"])["args"][0]["instType"] for q in listed["instruments"]] == ["SPOT", "SWAP", "FUTURES"]
    assert listed["book"] is None
    assert "mtgox" in json.loads(browser.questions("mtgox", "X", ""))["error"]


def test_an_instrument_and_its_engine() -> None:
    found = opened("binance-usdm", "btcusdt", LISTED, capital="250.5")
    assert (found["instrument"]["tick_size"], found["instrument"]["price_decimals"], found["notes"]) == ("0.10", 1, [])
    assert found["drained"]
    (book,) = found["health"]["books"]  # known before any message
    assert (book["synced"], book["gaps"]) == (False, 0)
    assert browser._engine is not None
    assert int(browser._engine.view["config"]["capital_e8"]) == 25_050_000_000
    browser.live().session.stop(0)


def test_rules_that_cannot_be_read_are_guessed_from_the_book() -> None:
    found = opened("binance-usdm", "BTCUSDT", NOTHING)
    assert (found["instrument"]["price_decimals"], found["instrument"]["qty_decimals"]) == (1, 3)
    assert "guessed" in found["notes"][0]


@pytest.mark.parametrize(
    ("exchange", "symbol", "rules", "book", "words"),
    [
        ("binance-usdm", "BTCUSDT", NOTHING, NOTHING, "cannot reach fapi.binance.com"),
        ("binance", "NOSUCH", UNKNOWN, NOTHING, "binance has no symbol NOSUCH"),
        ("binance-usdm", "NOSUCH", NOTHING, UNKNOWN, "no symbol NOSUCH"),
        ("okx", "NO-SUCH", NONE_LISTED, NOTHING, "okx has no symbol NO-SUCH"),
        ("binance-usdm", "BTCUSDX", LISTED, NOTHING, "did you mean BTCUSDT"),
    ],
)
def test_what_cannot_be_opened_is_one_line(exchange: str, symbol: str, rules: Any, book: Any, words: str) -> None:
    error = opened(exchange, symbol, rules, book)["error"]
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize("capital", ["zero", "0", "-5", "nan", "1e99"])
def test_a_bad_capital_is_one_line(capital: str) -> None:
    assert "capital" in opened("binance-usdm", "BTCUSDT", LISTED, capital=capital)["error"]
