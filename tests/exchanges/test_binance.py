"""Binance's connections as tables: what happens, and what the session asks for in answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cwts.errors import InputError
from cwts.exchanges import binance, endpoints_of, finer, instrument_of, moved, price_of, session
from cwts.exchanges.base import DROP, SECOND, Open, Policy
from cwts.instruments import guess_instrument
from exchanges.script import Script

if TYPE_CHECKING:
    from cwts.exchanges.base import Session

# Without jitter: back-off of 0 means at once.
POLICY = Policy(backoff_ns=0, resync_ns=0, rotate_ns=3600 * SECOND)


def message(session: Session, name: str, rest: list[str]) -> tuple[int, bytes]:
    """ack N ID, refuse N ID, depth N [I], trade N ID [I], shutdown N, snapshot N ID, error N ID CODE."""
    link = int(rest[0])
    number = int(rest[1]) if len(rest) > 1 else 0
    instrument = int(rest[-1]) if (name == "depth" and len(rest) > 1) or (name == "trade" and len(rest) > 2) else 0
    symbol = session.books[instrument].symbol
    found: dict[str, Any]
    if name == "ack":
        found = {"result": None, "id": number}
    elif name == "refuse":
        found = {"error": {"code": 2, "msg": "Invalid request"}, "id": number}
    elif name == "depth":
        found = {"stream": f"{symbol.lower()}@depth@100ms", "data": {"e": "depthUpdate", "s": symbol}}
    elif name == "trade":
        found = {"stream": f"{symbol.lower()}@trade", "data": {"e": "trade", "s": symbol, "t": number, "p": "1"}}
    elif name == "shutdown":
        found = {"e": "serverShutdown", "E": 1}
    elif name == "snapshot":
        found = {"id": number, "status": 200, "result": {"lastUpdateId": 5, "bids": [], "asks": []}}
    else:
        assert name == "error"
        found = {"id": number, "status": 400, "error": {"code": int(rest[2]), "msg": "no"}}
    return link, json.dumps(found, separators=(",", ":")).encode()


UP = """
    0 start              | open 1
    0.1 opened 1         | send 1 SUBSCRIBE 1
    0.2 ack 1 1          | drop
"""
SYNCED = f"""{UP}
    0.3 depth 1          | feed 0
    0.3 kernel 0 need    | open 2
    0.4 opened 2         | send 2 depth 2
    0.5 snapshot 2 2     | feed 0
    0.5 kernel 0 synced  |
"""

SPOT = {
    "a snapshot is asked for when the first update was buffered, on a connection opened for it": SYNCED,
    "no snapshot before the first update": f"""{UP}
        0.3 kernel 0 need    |
        0.4 tick             |
    """,
    "one request at a time": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 depth 1          | feed 0
        0.4 kernel 0 need    |
        0.5 opened 2         | send 2 depth 2
        0.6 depth 1          | feed 0
        0.6 kernel 0 need    |
    """,
    "a snapshot that is too old is followed by another": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 opened 2         | send 2 depth 2
        0.5 snapshot 2 2     | feed 0
        0.5 kernel 0 need    | send 2 depth 3
        0.6 snapshot 2 3     | feed 0
        0.6 kernel 0 synced  |
    """,
    "a gap is mended by a snapshot": f"""{SYNCED}
        9 depth 1            | feed 0
        9 kernel 0 gap need  | send 2 depth 3
        9.1 snapshot 2 3     | feed 0
        9.1 kernel 0 synced  |
    """,
    "a quiet symbol, of which no update comes, gets its book too": f"""{UP}
        5.1 tick             |
        5.3 tick             | open 2
        5.4 opened 2         | send 2 depth 2
        5.5 snapshot 2 2     | feed 0
        5.5 kernel 0 synced  |
        6 closed 1           | reset 0
    """,
    "gap and snapshot in one batch: what counts is how it ended": f"""{SYNCED}
        9 kernel 0 gap need synced |
        9.1 tick                   |
    """,
    "an answer that never comes: the request connection is opened anew": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 opened 2         | send 2 depth 2
        11 depth 1           | feed 0
        11 tick              | close 2, open 3
        11.1 opened 3        | send 3 depth 3
        11.2 snapshot 2 2    | drop
        11.3 snapshot 3 3    | feed 0
    """,
    "an unknown symbol ends it": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 opened 2         | send 2 depth 2
        0.5 error 2 2 -1121  | drop, fail bad input, close 1, close 2
    """,
    "too many requests: no other before a minute is over": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 opened 2         | send 2 depth 2
        0.5 error 2 2 -1003  | drop, close 2
        1 depth 1            | feed 0
        1 kernel 0 need      |
        25 depth 1           | feed 0
        50 depth 1           | feed 0
        60.4 tick            |
        60.6 depth 1         | feed 0
        60.6 tick            | open 3
        60.7 opened 3        | send 3 depth 3
    """,
    "a lost connection throws the book away, and the next one starts over": f"""{SYNCED}
        5 closed 1           | reset 0
        5 kernel 0 need      |
        5.1 tick             | open 3
        5.2 opened 3         | send 3 SUBSCRIBE 3
        5.3 ack 3 3          | drop
        5.4 depth 3          | feed 0
        5.4 kernel 0 need    | send 2 depth 4
        5.5 snapshot 2 4     | feed 0
        5.5 kernel 0 synced  |
    """,
    "a snapshot asked for before the reset is not fed": f"""{UP}
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 2
        0.4 opened 2         | send 2 depth 2
        0.5 closed 1         | reset 0
        0.6 snapshot 2 2     | drop
    """,
    "a refused subscription ends it": """
        0 start              | open 1
        0.1 opened 1         | send 1 SUBSCRIBE 1
        0.2 refuse 1 1       | drop, fail bad input, close 1
    """,
    "a subscription without an answer is tried again": """
        0 start              | open 1
        0.1 opened 1         | send 1 SUBSCRIBE 1
        5 depth 1            | feed 0
        10.2 tick            | close 1, reset 0
        10.3 tick            | open 2
    """,
    "a connection that does not open is tried again": """
        0 start              | open 1
        9 tick               |
        10.1 tick            | close 1
        10.2 tick            | open 2
        10.3 closed 2        |
        10.4 tick            | open 3
    """,
    "nothing ever opens: given up": """
        0 start              | open 1
        1 closed 1           |
        30 tick              | open 2
        30.2 tick            | fail, close 2
    """,
    "no such host: no second try at the start": """
        0 start              | open 1
        1 closed 1 hopeless  | fail, close 1
    """,
    "but later there may be one again": f"""{SYNCED}
        5 closed 1           | reset 0
        5.1 tick             | open 3
        5.2 closed 3 hopeless |
        5.3 tick             | open 4
    """,
    "a silent connection is probed, then dropped": f"""{SYNCED}
        20 tick              |
        20.6 tick            | send 1 LIST_SUBSCRIPTIONS 3, send 2 ping 4
        25 ping 2            |
        30 tick              |
        30.4 tick            | close 1, reset 0
    """,
    "after the machine has slept, whatever was open is gone, and the book with it": f"""{SYNCED}
        7200 tick            | close 1, reset 0, close 2
        7200.1 tick          | open 3
        7200.2 opened 3      | send 3 SUBSCRIBE 3
        7200.3 ack 3 3       | drop
        7200.4 depth 3       | feed 0
        7200.4 kernel 0 need | open 4
    """,
    "what was waiting for us when it woke is no sign of life for long": f"""{SYNCED}
        7200 depth 1         | feed 0
        7200 depth 1         | feed 0
        7200.1 tick          | open 3, close 2
        7230.2 tick          | close 1, reset 0, close 3
        7230.3 tick          | open 4
    """,
    "an answer to the probe is a sign of life": f"""{SYNCED}
        20.6 tick            | send 1 LIST_SUBSCRIPTIONS 3, send 2 ping 4
        20.7 ack 1 3         | drop
        20.7 ack 2 4         | drop
        30.6 tick            |
    """,
    "so is the server's ping": f"""{SYNCED}
        20 ping 1            |
        20 ping 2            |
        39 ping 1            |
        39 ping 2            |
        45 tick              |
    """,
    "no market data for long, although it answers": f"""{SYNCED}
        100 ping 1           |
        200 ping 1           |
        299 ping 1           |
        299 tick             | close 2
        300.4 tick           | close 1, reset 0
    """,
    "the request connection is closed when idle": f"""{SYNCED}
        55 ping 2            |
        55 ping 1            |
        60.4 tick            |
        60.6 tick            | close 2
        60.7 tick            |
    """,
    "rotation: the new connection first, and no reset": f"""{SYNCED}
        3600.2 depth 1       | feed 0
        3600.2 tick          | open 3, close 2
        3600.3 opened 3      | send 3 SUBSCRIBE 3
        3600.3 depth 1       | feed 0
        3600.4 ack 3 3       | drop
        3600.5 tick          |
        3600.6 depth 3       | feed 0
        3600.7 tick          | close 1
        3600.8 depth 1       | drop
        3600.9 depth 3       | feed 0
    """,
    "a quiet symbol does not keep a successor waiting for ever": f"""{SYNCED}
        3600.2 depth 1       | feed 0
        3600.2 tick          | open 3, close 2
        3600.3 opened 3      | send 3 SUBSCRIBE 3
        3600.4 ack 3 3       | drop
        3605.3 tick          |
        3605.5 tick          | close 1
    """,
    "the successor fails: the old one stays": f"""{SYNCED}
        3600.2 depth 1       | feed 0
        3600.2 tick          | open 3, close 2
        3600.3 closed 3      |
        3600.4 depth 1       | feed 0
        3600.5 tick          | open 4
    """,
    "the old one is cut while the successor opens": f"""{SYNCED}
        3600.2 depth 1       | feed 0
        3600.2 tick          | open 3, close 2
        3600.3 closed 1      | reset 0
        3600.4 opened 3      | send 3 SUBSCRIBE 3
    """,
    "an announced shutdown is a rotation": f"""{SYNCED}
        7 shutdown 1         | drop, open 3
        7 shutdown 1         | drop
        7.1 opened 3         | send 3 SUBSCRIBE 3
        7.2 ack 3 3          | drop
        7.3 depth 3          | feed 0
        7.4 tick             | close 1
    """,
    "trades that come twice are fed once": f"""{UP}
        0.3 trade 1 7        | feed 0
        0.3 trade 1 8        | feed 0
        0.3 trade 1 7        | drop
        0.3 trade 1 6        | feed 0
    """,
    "dropped frames: the book starts over": f"""{SYNCED}
        5 overflow 0         | reset 0
        5 kernel 0 need      |
        5.1 depth 1          | feed 0
        5.1 kernel 0 need    | send 2 depth 3
    """,
    "garbage is counted and not fed": f"""{UP}
        0.3 raw 1 <html>     | drop
        0.3 raw 1 [1,2]      | drop
        0.3 raw 1 {{"a":1}}  | drop
        0.3 raw 1            | drop
    """,
    "raw streams, without an envelope, are known by their symbol": f"""{UP}
        0.3 raw 1 {{"e":"depthUpdate","E":1,"s":"BTCUSDT"}} | feed 0
        0.3 raw 1 {{"e":"depthUpdate","E":1,"s":"ETHUSDT"}} | drop
        0.3 raw 1 {{"data":{{"e":"trade","s":"BTCUSDT","t":1}},"stream":"btcusdt@trade"}} | feed 0
    """,
    "messages of unknown connections are dropped": """
        0 start              | open 1
        0.1 depth 9          | drop
        0.1 opened 9         | close 9
        0.1 closed 9         |
    """,
    "stop closes all": f"""{SYNCED}
        5 stop               | close 1, close 2
        6 tick               |
        6 depth 1            | drop
    """,
}


@pytest.mark.parametrize("case", SPOT)
def test_spot(case: str) -> None:
    Script(session("binance", ["BTCUSDT"], policy=POLICY), message).play(SPOT[case])


def test_usdm_needs_two_connections_and_only_one_carries_the_book() -> None:
    found = session("binance-usdm", ["BTCUSDT"], policy=POLICY)
    script = Script(found, message)
    script.play("""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 SUBSCRIBE 1
        0.1 opened 2         | send 2 SUBSCRIBE 2, send 2 SUBSCRIBE 3
        0.2 ack 1 1          | drop
        0.2 ack 2 2          | drop
        0.2 ack 2 3          | drop
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 3
        0.4 opened 3         | send 3 depth 4
        0.5 snapshot 3 4     | feed 0
        0.5 kernel 0 synced  |
        1 closed 2           |
        1.1 tick             | open 4
        1.2 closed 1         | reset 0
    """)
    subscriptions = [json.loads(text)["params"] for text in script.sent[:3]]
    assert subscriptions == [
        ["btcusdt@depth@100ms", "btcusdt@bookTicker"],
        ["btcusdt@aggTrade"],
        ["btcusdt@forceOrder"],
    ]
    assert [slot.url for slot in found.slots] == [
        "wss://fstream.binance.com/public/stream",
        "wss://fstream.binance.com/market/stream",
        "wss://ws-fapi.binance.com/ws-fapi/v1",
    ]


def test_coinm_gets_its_snapshots_by_rest() -> None:
    script = Script(session("binance-coinm", ["BTCUSD_PERP"], policy=POLICY), message)
    script.play("""
        0 start              | open 1
        0.1 opened 1         | send 1 SUBSCRIBE 1, send 1 SUBSCRIBE 2
        0.2 ack 1 1          | drop
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | fetch 3
        0.4 fetched 3 0      | drop
        0.5 tick             | fetch 4
        0.6 fetched 4 503    | drop
        0.7 tick             | fetch 5
        0.8 fetched 5 200    | feed 0
        0.8 kernel 0 synced  |
        0.9 fetched 5 200    | drop
    """)


LIQUIDATION = (
    '{{"stream":"btcusd_perp@forceOrder","data":{{"e":"forceOrder","E":{},"o":{{"s":"BTCUSD_PERP","q":"1","T":{}}}}}}}'
)


def test_liquidations_are_extra() -> None:
    """They go to the engine once, whichever connection brings them, and a refusal costs nothing but them."""
    first, again, second = LIQUIDATION.format(5, 4), LIQUIDATION.format(6, 4), LIQUIDATION.format(9, 8)
    script = Script(session("binance-coinm", ["BTCUSD_PERP"], policy=Policy(replicas=2, backoff_ns=0)), message)
    script.play(f"""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 SUBSCRIBE 1, send 1 SUBSCRIBE 2
        0.1 opened 2         | send 2 SUBSCRIBE 3, send 2 SUBSCRIBE 4
        0.2 refuse 1 2       | drop
        0.2 ack 1 1          | drop
        0.2 ack 2 3          | drop
        0.2 refuse 2 4       | drop
        0.3 raw 1 {first}    | feed 0
        0.3 raw 2 {again}    | drop
        0.4 raw 2 {second}   | feed 0
        0.5 depth 1          | feed 0
        0.5 kernel 0 need    | fetch 5
        0.6 fetched 5 200    | feed 0
        0.6 kernel 0 synced  |
        20 tick              |
    """)
    assert json.loads(script.sent[1])["params"] == ["btcusd_perp@forceOrder"]


def test_a_liquidation_is_no_sign_that_the_books_stream_lives() -> None:
    found = session("binance-coinm", ["BTCUSD_PERP"], policy=POLICY)
    found.start(SECOND)
    found.opened(SECOND, 1)
    found.message(SECOND, 1, b'{"result":null,"id":1}')
    found.message(2 * SECOND, 1, b'{"stream":"btcusd_perp@depth@100ms","data":{}}')
    for i in range(11):
        found.message((30 + 29 * i) * SECOND, 1, LIQUIDATION.format(i, i).encode())
    found.take()
    found.tick(321 * SECOND)
    assert [action.kind for action in found.take()][:1] == ["close"]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        ('{"code":-1003,"msg":"Too much request weight","data":{"serverTime":5000,"retryAfter":12000}}', 7),
        ('{"code":-1003,"msg":"IP banned until 1790000090000. Please use"}', 90),
        ('{"code":-1003,"msg":"Too much request weight"}', 60),
        ('{"code":-1015,"msg":"Too many new orders"}', 60),
    ],
)
def test_the_session_waits_as_long_as_it_is_told(error: str, wait: int) -> None:
    """Also if the connection, and with it the book, is lost meanwhile."""
    start = 1_790_000_000 * SECOND
    found = session("binance", ["BTCUSDT"], policy=POLICY)
    sent: list[tuple[float, str]] = []

    def go_on(now: int) -> None:
        for action in found.take():
            if action.kind == "open":
                found.opened(now, action.link)
            elif action.kind == "send" and '"depth"' in action.text:
                sent.append(((now - start) / SECOND, action.text))
        if found.actions:
            go_on(now)

    found.start(start)
    go_on(start)
    update = b'{"stream":"btcusdt@depth@100ms","data":{}}'
    found.message(start, 1, update)
    found.events(start, 0, 32, synced=False)
    go_on(start)
    identity = json.loads(sent[0][1])["id"]
    api = max(found._links)
    found.message(start, api, f'{{"id":{identity},"status":429,"error":{error}}}'.encode())
    for i in range(1, 1200):
        now = start + i * SECOND // 10
        if i == 20:
            found.closed(now, 1, "cut")
        for link in found._links.values():
            if link.slot.role == "stream":
                found.message(now, link.number, update)
                break
        found.tick(now)
        go_on(now)
    assert len(sent) > 1
    assert wait <= sent[1][0] <= wait + 0.3


def test_rest_tells_by_its_header_how_long_to_wait() -> None:
    found = session("binance-coinm", ["BTCUSD_PERP"], policy=POLICY)
    found.start(SECOND)
    found.opened(SECOND, 1)
    found.message(SECOND, 1, b'{"result":null,"id":1}')
    found.message(2 * SECOND, 1, b'{"stream":"btcusd_perp@depth@100ms","data":{}}')
    found.events(2 * SECOND, 0, 32, synced=False)
    (fetch,) = (action for action in found.take() if action.kind == "fetch")
    assert found.fetched(3 * SECOND, fetch.request, 418, b"<html>", retry_ns=17 * SECOND) == DROP
    found.tick(19 * SECOND)
    assert not [action for action in found.take() if action.kind == "fetch"]
    found.tick(20 * SECOND)
    assert [action for action in found.take() if action.kind == "fetch"]


def test_a_refused_connection_is_tried_again_when_the_server_says() -> None:
    found = session("binance", ["BTCUSDT"], policy=POLICY)
    found.start(SECOND)
    found.closed(SECOND, 1, "HTTP 429", retry_ns=8 * SECOND)
    found.take()
    found.tick(8 * SECOND)
    assert found.take() == []
    found.tick(9 * SECOND)
    assert [action.kind for action in found.take()] == ["open"]


def test_two_symbols_on_one_connection() -> None:
    script = Script(session("binance", ["BTCUSDT", "ETHUSDT"], policy=POLICY), message)
    script.play("""
        0 start              | open 1
        0.1 opened 1         | send 1 SUBSCRIBE 1
        0.2 ack 1 1          | drop
        0.3 depth 1 0        | feed 0
        0.3 kernel 0 need    | open 2
        0.3 depth 1 1        | feed 1
        0.3 kernel 1 need    |
        0.4 opened 2         | send 2 depth 2, send 2 depth 3
        0.5 snapshot 2 3     | feed 1
        0.5 kernel 1 synced  |
        0.6 snapshot 2 2     | feed 0
        0.6 kernel 0 synced  |
        2 depth 1 1          | feed 1
        2 kernel 1 gap need  | send 2 depth 4
        3 closed 1           | reset 0, reset 1
    """)


def test_two_connections_for_one_symbol() -> None:
    """The loss of one is no loss; the kernel drops the repetitions of updates, the session those of trades."""
    script = Script(session("binance", ["BTCUSDT"], policy=Policy(replicas=2, backoff_ns=0)), message)
    script.play("""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 SUBSCRIBE 1
        0.1 opened 2         | send 2 SUBSCRIBE 2
        0.2 ack 1 1          | drop
        0.2 ack 2 2          | drop
        0.3 depth 1          | feed 0
        0.3 kernel 0 need    | open 3
        0.4 opened 3         | send 3 depth 3
        0.5 snapshot 3 3     | feed 0
        0.5 kernel 0 synced  |
        0.6 depth 2          | feed 0
        0.6 trade 1 5        | feed 0
        0.6 trade 2 5        | drop
        1 closed 1           |
        1.1 tick             | open 4
        1.2 closed 2         | reset 0
    """)


def test_backoff_grows_with_full_jitter_and_starts_anew_after_a_stable_time() -> None:
    found = session("binance", ["BTCUSDT"], policy=Policy(backoff_ns=SECOND, backoff_cap_ns=8 * SECOND), seed=7)
    slot = found.slots[0]
    waits = [found._backoff(slot) / SECOND for _ in range(200)]
    assert all(wait <= min(8, 2**attempt) for attempt, wait in enumerate(waits))
    assert max(waits) > 7
    assert min(waits[10:]) < 1
    again = session("binance", ["BTCUSDT"], policy=Policy(backoff_ns=SECOND, backoff_cap_ns=8 * SECOND), seed=7)
    assert [again._backoff(again.slots[0]) / SECOND for _ in range(200)] == waits
    slot.attempt = 9
    found.start(0)
    found.opened(SECOND, 1)
    found.closed(62 * SECOND, 1, "cut")
    assert slot.attempt == 1


def test_snapshots_are_paid_for_from_a_budget() -> None:
    """Spot: 250 for a snapshot of 5,000 levels, 3,000 a minute: the thirteenth waits."""
    symbols = [f"S{i}USDT" for i in range(13)]
    found = session("binance", symbols, policy=POLICY)
    found.start(SECOND)
    for link in (1,):
        found.opened(SECOND, link)
    for i, symbol in enumerate(symbols):
        found.message(2 * SECOND, 1, f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{}}}}'.encode())
        found.events(2 * SECOND, i, 32, synced=False)
    assert [book.request > 0 for book in found.books] == [True] * 12 + [False]
    found.tick(6 * SECOND)
    assert not found.books[12].request
    found.tick(7 * SECOND + 2)
    assert found.books[12].request


@pytest.mark.parametrize(("exchange", "count"), [("binance", 1), ("binance-usdm", 2), ("binance-coinm", 1), ("okx", 1)])
def test_one_connection_carries_all_streams_of_all_symbols(exchange: str, count: int) -> None:
    """USD-M has two, for the exchange has two paths."""
    found = session(exchange, ["A", "B", "C"])
    found.start(SECOND)
    links = [action.link for action in found.take() if action.kind == "open"]
    assert len(links) == count
    for link in links:
        found.opened(SECOND, link)
    asked = " ".join(action.text.upper() for action in found.take() if action.kind == "send")
    for symbol in "ABC":
        wanted = (f'"{symbol}@DEPTH', f'"{symbol}@BOOKTICKER') if exchange != "okx" else (f'"INSTID":"{symbol}"',)
        assert all(text in asked for text in wanted)


def test_too_many_symbols_for_one_connection() -> None:
    with pytest.raises(InputError, match="use several processes"):
        session("binance", [f"S{i}USDT" for i in range(70)])


# -- signatures: developers.binance.com, "Request security", and RFC 8032 ---------------------------------------------


def test_what_is_signed() -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "timestamp": 1645423376532,
        "apiKey": "k",
        "signature": "old",
        "test": True,
    }
    assert binance.signing_payload(params) == b"apiKey=k&side=SELL&symbol=BTCUSDT&test=true&timestamp=1645423376532"
    assert binance.signing_payload({"symbol": "１２３４５６"}) == "symbol=１２３４５６".encode()


def test_the_documented_hmac_example() -> None:
    """The WebSocket API's own example, with its key and its result."""
    from cwts.exchanges.signing import hmac_hex

    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00", "newOrderRespType": "ACK", "recvWindow": 100, "timestamp": 1645423376532,
        "apiKey": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    }  # fmt: skip
    sign = hmac_hex("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
    signed = binance.signed(params, sign)
    assert signed["signature"] == "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"
    assert signed.keys() == params.keys() | {"signature"}


@pytest.mark.native
def test_ed25519() -> None:
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from cwts.exchanges.signing import ed25519_base64

    key = Ed25519PrivateKey.generate()
    sign = ed25519_base64(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    params = {"timestamp": 1, "apiKey": "k"}
    signature = binance.signed(params, sign)["signature"]
    key.public_key().verify(base64.b64decode(str(signature)), b"apiKey=k&timestamp=1")
    with pytest.raises(InputError, match="no private key"):
        ed25519_base64(b"nonsense")


# -- addresses --------------------------------------------------------------------------------------------------------


def test_another_host_with_the_same_paths() -> None:
    assert moved("binance-usdm", "ws://127.0.0.1:9000/binance-usdm") == {
        "public": "ws://127.0.0.1:9000/binance-usdm/public/stream",
        "market": "ws://127.0.0.1:9000/binance-usdm/market/stream",
        "api": "ws://127.0.0.1:9000/binance-usdm/ws-fapi/v1",
        "rest": "http://127.0.0.1:9000/binance-usdm",
    }
    assert moved("okx", "ws://[::1]:9000")["rest"] == "http://[::1]:9000"
    assert moved("okx", "https://my.okx.com")["public"] == "wss://my.okx.com/ws/v5/public"


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:9000", "ftp://x", "ws://", "ws://[::1", "ws://[1", "ws://bad host:90", "ws://x:port", "ws://x:0",
        "ws://x\n", "ws://x/?a=b", "ws://x#a",
    ],
)  # fmt: skip
def test_no_address(url: str) -> None:
    with pytest.raises(InputError, match="an address"):
        moved("binance", url)
    with pytest.raises(InputError, match="an address"):
        endpoints_of("binance", {"stream": url})


@pytest.mark.parametrize(
    ("exchange", "symbol", "text"),
    [
        ("binance", "BTCUSDT", '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":LONG}}'),
        ("binance", "BTCUSDT", '{"result":"' + " " * 300 + '","status":200,"id":LONG}'),
        (
            "okx", "BTC-USDT",
            '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"seqId":LONG,"prevSeqId":LONG}]}',
        ),
        ("okx", "BTC-USDT", '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"tradeId":"LONG"}]}'),
        ("okx", "BTC-USDT", '{"arg":{"x":DEEP},"data":1}'),
    ],
)  # fmt: skip
def test_numbers_without_end_harm_nothing(exchange: str, symbol: str, text: str) -> None:
    """On whichever connection they come: the kernel judges them, or they are garbage."""
    run = session(exchange, [symbol])
    run.start(SECOND)
    links = [action.link for action in run.take() if isinstance(action, Open)]
    if exchange == "binance":
        links.append(run._open(SECOND, run._api).number)  # type: ignore[attr-defined]
    for link in links:
        run.opened(2 * SECOND, link)
        run.message(3 * SECOND, link, text.replace("LONG", "9" * 5000).replace("DEEP", "[" * 100_000).encode())
    assert not run.failed


def test_unknown_endpoint() -> None:
    with pytest.raises(InputError, match="expected one of stream, api, rest"):
        endpoints_of("binance", {"public": "ws://x"})


@pytest.mark.parametrize(
    ("exchange", "status", "answer", "text"),
    [
        ("binance", 400, b'{"code":-1121,"msg":"Invalid symbol."}', "binance has no symbol X"),
        ("okx", 200, b'{"code":"51001","data":[],"msg":"Instrument ID does not exist"}', "okx has no symbol X"),
        ("binance", 429, b'{"code":-1003,"msg":"Too many requests"}', "Too many requests"),
        ("binance-usdm", 502, b"<html>", "HTTP 502"),
    ],
)
def test_instruments_that_cannot_be_had(exchange: str, status: int, answer: bytes, text: str) -> None:
    with pytest.raises(Exception, match=text):
        instrument_of(exchange, "x", status, answer)


def test_a_price() -> None:
    assert str(price_of("binance", b'{"bids":[["10.5","1"]],"asks":[]}')) == "10.5"
    assert str(price_of("okx", b'{"data":[{"bids":[],"asks":[["7","1","0","1"]]}]}')) == "7"
    assert price_of("binance", b"nonsense") is None
    assert price_of("okx", b'{"data":[]}') is None


def test_a_book_may_be_finer_than_the_rules() -> None:
    row = guess_instrument("binance-usdm", "BTCUSDT", 1, 3)
    book = b'{"bids":[["61837.63","1.0"]],"asks":[["61838.0","25.42618900"]]}'
    found = finer("binance-usdm", row, book)
    assert (found.price_decimals, found.qty_decimals) == (2, 6)
    spot = finer("binance", guess_instrument("binance", "BTCUSDT", 2, 5), b"nonsense")
    assert (spot.price_decimals, spot.qty_decimals) == (2, 8)


def test_unknown_exchange_and_symbols_named_twice() -> None:
    with pytest.raises(InputError, match="unknown exchange 'kraken'"):
        session("kraken", ["X"])
    with pytest.raises(InputError, match="named twice"):
        session("binance", ["BTCUSDT", "btcusdt"])
    with pytest.raises(InputError, match="at least one"):
        session("binance", [])
