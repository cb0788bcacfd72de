"""OKX's connections as tables: what happens, and what the session asks for in answer."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cwts.exchanges import okx, session
from cwts.exchanges.base import SECOND, Policy
from exchanges.script import Script

if TYPE_CHECKING:
    from cwts.exchanges.base import Session

POLICY = Policy(backoff_ns=0, resync_ns=0, rotate_ns=3600 * SECOND)


def message(session: Session, name: str, rest: list[str]) -> tuple[int, bytes]:
    """ack N WHAT [I], snapshot N SEQ [I], update N BEFORE SEQ [I], trade N ID, error N CODE [I], notice N, pong N."""
    link = int(rest[0])
    numbers = [int(text) for text in rest[1:]]
    arguments = {"ack": 1, "snapshot": 1, "update": 2}.get(name, 9)
    symbol = session.books[numbers[-1] if len(numbers) > arguments else 0].symbol
    book = {"channel": "books", "instId": symbol}
    found: dict[str, Any]
    if name == "ack":
        channel = okx.CHANNELS[numbers[0]] if numbers else "books"
        found = {"event": "subscribe", "arg": {"channel": channel, "instId": symbol}, "connId": "a"}
    elif name == "snapshot":
        data = {"asks": [], "bids": [], "ts": "1", "checksum": 0, "seqId": numbers[0], "prevSeqId": -1}
        found = {"arg": book, "action": "snapshot", "data": [data]}
    elif name == "update":
        data = {"asks": [], "bids": [], "ts": "1", "checksum": 0, "seqId": numbers[1], "prevSeqId": numbers[0]}
        found = {"arg": book, "action": "update", "data": [data]}
    elif name == "trade":
        data = {"instId": symbol, "tradeId": str(numbers[0]), "px": "1", "sz": "1", "side": "buy", "ts": "1"}
        found = {"arg": {"channel": "trades", "instId": symbol}, "data": [data]}
    elif name == "error":
        found = {"event": "error", "code": rest[1], "msg": "no", "connId": "a"}
        if len(rest) > 2:
            found["id"] = rest[2]
    elif name == "notice":
        found = {"event": "notice", "code": "64008", "msg": "The connection will soon be closed", "connId": "a"}
    else:
        return link, b"pong"
    return link, json.dumps(found, separators=(",", ":")).encode()


ACKED = """
    0.2 ack 1 0          | drop
    0.2 ack 1 1          | drop
    0.2 ack 1 2          | drop
"""
SYNCED = f"""
    0 start              | open 1
    0.1 opened 1         | send 1 subscribe 0
    {ACKED}
    0.3 snapshot 1 100   | feed 0
    0.3 kernel 0 synced  |
"""
RESUBSCRIBED = "send 1 unsubscribe 0, send 1 subscribe 0"

SINGLE = {
    "the snapshot comes in band": SYNCED,
    "updates, keep-alives and legal resets go to the kernel": f"""{SYNCED}
        1 update 1 100 110   | feed 0
        1 update 1 110 110   | feed 0
        1 update 1 110 3     | feed 0
        1 update 1 3 5       | feed 0
    """,
    "a repetition does not": f"""{SYNCED}
        1 update 1 100 110   | feed 0
        1 update 1 110 120   | feed 0
        1 update 1 100 110   | drop
        1 update 1 110 120   | drop
        1 update 1 120 130   | feed 0
        1 snapshot 1 100     | drop
    """,
    "a gap is mended by a new subscription": f"""{SYNCED}
        1 update 1 110 120   | feed 0
        1 kernel 0 gap need  | {RESUBSCRIBED}
        1.1 update 1 120 130 | feed 0
        1.1 kernel 0 need    |
        1.2 snapshot 1 140   | feed 0
        1.2 kernel 0 synced  |
        1.3 update 1 140 150 | feed 0
    """,
    "a reset that was missed is a gap, not a row of repetitions": f"""{SYNCED}
        1 update 1 3 7       | feed 0
        1 kernel 0 gap need  | {RESUBSCRIBED}
    """,
    "order restored too late is a gap": f"""{SYNCED}
        1 update 1 110 120   | feed 0
        1 kernel 0 gap need  | {RESUBSCRIBED}
        1 update 1 100 110   | feed 0
        1 kernel 0 need      |
    """,
    "no snapshot after a new subscription: once more": f"""{SYNCED}
        1 update 1 110 120   | feed 0
        1 kernel 0 gap need  | {RESUBSCRIBED}
        11.1 pong 1          | drop
        11.1 tick            | {RESUBSCRIBED}
    """,
    "before the first snapshot there is nothing to mend": """
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0
        0.2 update 1 5 6     | feed 0
        0.2 kernel 0 need    |
    """,
    "the text ping after silence, and the end of patience": f"""{SYNCED}
        20 tick              |
        20.4 tick            | send 1 ping
        21 pong 1            | drop
        41.1 tick            | send 1 ping
        51.1 tick            | close 1, reset 0
        51.2 tick            | open 2
    """,
    "an instrument that does not exist ends it": """
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0
        0.2 error 1 60018    | drop, fail bad input, close 1
    """,
    "other errors are tried again": """
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0
        0.2 error 1 63999    | drop, close 1
        0.3 tick             | open 2
    """,
    "too many requests: not for a minute": """
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0
        0.2 error 1 60014    | drop, close 1
        0.3 tick             |
        60.1 tick            |
        60.3 tick            | open 2
    """,
    "too many requests when the book is asked for anew: the connection stays": f"""{SYNCED}
        1 update 1 110 120   | feed 0
        1 kernel 0 gap need  | {RESUBSCRIBED}
        1.1 error 1 60014    | drop
        1.2 kernel 0 need    |
        30 pong 1            | drop
        50 pong 1            | drop
        61 tick              |
        61.2 tick            | {RESUBSCRIBED}
        61.3 snapshot 1 300  | feed 0
        61.3 kernel 0 synced |
    """,
    "an announced upgrade is a rotation": f"""{SYNCED}
        1 notice 1           | drop, open 2
        1.1 opened 2         | send 2 subscribe 0
        1.2 ack 2 0          | drop
        1.2 ack 2 1          | drop
        1.2 ack 2 2          | drop
        1.3 snapshot 2 100   | drop
        1.4 tick             | close 1
        1.5 update 2 100 110 | feed 0
        1.5 kernel 0 synced  |
    """,
    "the successor's chain does not fit: a gap, and a new snapshot": f"""{SYNCED}
        1 notice 1           | drop, open 2
        1.1 opened 2         | send 2 subscribe 0
        1.2 ack 2 0          | drop
        1.2 ack 2 1          | drop
        1.2 ack 2 2          | drop
        1.3 snapshot 2 105   | drop
        1.4 tick             | close 1
        1.5 update 2 105 110 | feed 0
        1.5 kernel 0 gap need | send 2 unsubscribe 0, send 2 subscribe 0
    """,
    "a lost connection throws the book away": f"""{SYNCED}
        5 closed 1           | reset 0
        5 kernel 0 need      |
        5.1 tick             | open 2
        5.2 opened 2         | send 2 subscribe 0
        5.3 snapshot 2 50    | feed 0
        5.3 kernel 0 synced  |
    """,
    "dropped frames: a new subscription": f"""{SYNCED}
        5 overflow 0         | reset 0
        5 kernel 0 need      | {RESUBSCRIBED}
    """,
    "trades that come twice are fed once": f"""{SYNCED}
        1 trade 1 7          | feed 0
        1 trade 1 7          | drop
        1 trade 1 8          | feed 0
    """,
    "garbage is counted and not fed": f"""{SYNCED}
        1 raw 1 <html>       | drop
        1 raw 1 {{"a":1}}    | drop
        1 raw 1 {{"arg":     | drop
    """,
    "keys in another order are read too": f"""{SYNCED}
        1 raw 1 {{"action":"update","data":[],"arg":{{"instId":"BTC-USDT","channel":"books"}}}} | feed 0
    """,
}

BOTH = """
    0 start              | open 1, open 2
    0.1 opened 1         | send 1 subscribe 0
    0.1 opened 2         | send 2 subscribe 0
    0.2 ack 1 0          | drop
    0.2 ack 1 1          | drop
    0.2 ack 1 2          | drop
    0.2 ack 2 0          | drop
    0.2 ack 2 1          | drop
    0.2 ack 2 2          | drop
    0.3 snapshot 1 100   | feed 0
    0.3 kernel 0 synced  |
    0.3 snapshot 2 100   | drop
"""
DOUBLE = {
    "the first message wins": f"""{BOTH}
        1 update 1 100 110   | feed 0
        1 update 2 100 110   | drop
        1 update 2 110 120   | feed 0
        1 update 1 110 120   | drop
        1 update 1 120 130   | feed 0
    """,
    "chains with other links are not mixed": f"""{BOTH}
        1 update 1 100 110   | feed 0
        1 update 2 100 115   | drop
        1 update 2 115 125   | drop
        1 update 1 110 125   | feed 0
        1 update 2 125 130   | feed 0
    """,
    "the loss of the leader is no loss where the chains meet": f"""{BOTH}
        1 update 1 100 110   | feed 0
        1 update 2 100 110   | drop
        2 closed 1           |
        2 update 2 110 120   | feed 0
        2.1 tick             | open 3
    """,
    "where they do not meet, the kernel sees a gap": f"""{BOTH}
        1 update 1 100 110   | feed 0
        2 closed 1           |
        2 update 2 105 120   | feed 0
        2 kernel 0 gap need  | send 2 unsubscribe 0, send 2 subscribe 0
    """,
    "a leader that falls silent is left": f"""{BOTH}
        1 update 1 100 110   | feed 0
        2 update 2 105 120   | drop
        4 update 2 120 130   | feed 0
        4 kernel 0 gap need  | send 2 unsubscribe 0, send 2 subscribe 0
    """,
    "the loss of both": f"""{BOTH}
        1 closed 2           |
        1 closed 1           | reset 0
    """,
}


@pytest.mark.parametrize("case", SINGLE)
def test_single(case: str) -> None:
    Script(session("okx", ["BTC-USDT"], policy=POLICY), message).play(SINGLE[case])


@pytest.mark.parametrize("case", DOUBLE)
def test_double(case: str) -> None:
    Script(session("okx", ["BTC-USDT"], policy=Policy(replicas=2, backoff_ns=0, resync_ns=0)), message).play(
        DOUBLE[case]
    )


def test_several_instruments() -> None:
    script = Script(session("okx", ["BTC-USDT", "ETH-USDT"], policy=POLICY), message)
    script.play("""
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1
        0.3 snapshot 1 100 0 | feed 0
        0.3 kernel 0 synced  |
        0.3 snapshot 1 7 1   | feed 1
        0.3 kernel 1 synced  |
    """)
    arguments = [argument for text in script.sent for argument in json.loads(text)["args"]]
    assert {(a["channel"], a["instId"]) for a in arguments} == {
        (channel, symbol) for channel in ("books", "trades", "bbo-tbt") for symbol in ("BTC-USDT", "ETH-USDT")
    }


REAL = Path(__file__).parent.parent / "data" / "live-frames-2026-liquidations.jsonl"


def liquidation(ts: int, *symbols: str) -> str:
    """As sent in 2026, but of these instruments and this time."""
    found = json.loads(next(line for line in REAL.read_text().splitlines() if '"liquidation-orders"' in line))
    (row,) = found["data"]
    row["details"][0]["ts"] = str(ts)
    return json.dumps(found | {"data": [row | {"instId": symbol} for symbol in symbols]}, separators=(",", ":"))


def test_liquidations_are_extra() -> None:
    """By instType, in an operation of their own; of all that come, ours go to the engine, each once."""
    symbols = ["BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-261225"]
    script = Script(session("okx", symbols, policy=Policy(replicas=2, backoff_ns=0)), message)
    refused = '{"id":"liquidations","event":"error","code":"60018","msg":"no such channel","connId":"a"}'
    ours, others = liquidation(5, "BTC-USDT-SWAP"), liquidation(5, "ETH-USDT-SWAP")
    script.play(f"""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1, send 1 subscribe 2, send 1 subscribe liquidations
        0.1 opened 2         | send 2 subscribe 0, send 2 subscribe 1, send 2 subscribe 2, send 2 subscribe liquidations
        0.2 raw 1 {refused}  | drop
        0.3 snapshot 1 100   | feed 0
        0.3 kernel 0 synced  |
        0.4 raw 2 {others}   | drop
        0.4 raw 2 {ours}     | feed 1
        0.4 raw 1 {ours}     | drop
        0.5 raw 1 {liquidation(6, "BTC-USDT-SWAP")} | feed 1
    """)
    extra = json.loads(script.sent[3])
    assert extra["args"] == [
        {"channel": "liquidation-orders", "instType": "FUTURES"},
        {"channel": "liquidation-orders", "instType": "SWAP"},
    ]


def test_one_message_with_liquidations_of_several_instruments() -> None:
    """Each of ours gets it, and each once: what one has had already may still be new to another."""
    symbols = ["ETH-USDT-SWAP", "SOL-USDT-SWAP", "BTC-USDT-SWAP"]
    script = Script(session("okx", symbols, policy=Policy(replicas=2, backoff_ns=0)), message)
    both = liquidation(5, "CELO-USDT-SWAP", "BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT-SWAP")
    script.play(f"""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1, send 1 subscribe 2, send 1 subscribe liquidations
        0.1 opened 2         | send 2 subscribe 0, send 2 subscribe 1, send 2 subscribe 2, send 2 subscribe liquidations
        0.4 raw 1 {both}     | feed 0 2
        0.4 raw 2 {both}     | drop
        0.5 raw 1 {liquidation(5, "CELO-USDT-SWAP", "DOGE-USDT-SWAP")} | drop
    """)


def test_the_operations_of_an_hour_are_counted() -> None:
    """480 subscriptions an hour are allowed on a connection: before that, a new connection."""
    found = session("okx", ["BTC-USDT"], policy=Policy(backoff_ns=0, resync_ns=0, stable_ns=0))
    found.start(SECOND)
    found.opened(SECOND, 1)
    for argument in okx.CHANNELS:
        found.message(
            SECOND, 1, json.dumps({"event": "subscribe", "arg": {"channel": argument, "instId": "BTC-USDT"}}).encode()
        )
    opened = 1
    for i in range(300):
        now = (2 + i) * SECOND
        link = max(found._links, default=0)
        found.message(now, link, message(found, "snapshot", [str(link), str(i)])[1])
        found.events(now, 0, 8, synced=True)
        found.events(now + 1, 0, 16 | 32, synced=False)
        found.tick(now + 2)
        for action in found.take():
            if action.kind == "open":
                opened += 1
                found.opened(now + 3, action.link)
                for argument in okx.CHANNELS:
                    ack = {"event": "subscribe", "arg": {"channel": argument, "instId": "BTC-USDT"}}
                    found.message(now + 3, action.link, json.dumps(ack).encode())
    assert opened == 3  # the first one by start(), one after 199 resynchronisations


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("BTC-USDT", "SPOT"), ("BTC-USDT-SWAP", "SWAP"), ("BTC-USD-261225", "FUTURES"),
        ("BTC-USD-261225-90000-C", "OPTION"),
    ],
)  # fmt: skip
def test_instrument_types(symbol: str, kind: str) -> None:
    assert okx.instrument_type(symbol) == kind


def test_login() -> None:
    """HMAC-SHA256 of "1538054050GET/users/self/verify", base64."""
    from cwts.exchanges.signing import hmac_digest

    assert okx.login_payload("1538054050") == b"1538054050GET/users/self/verify"
    found = json.loads(okx.login_text("key", "pass", "1538054050", hmac_digest("22582BD0CFF14C41EDBF1AB98506286D")))
    assert found["op"] == "login"
    argument = found["args"][0]
    digest = hmac.new(b"22582BD0CFF14C41EDBF1AB98506286D", b"1538054050GET/users/self/verify", "sha256").digest()
    assert base64.b64decode(argument["sign"]) == digest
    assert {key: argument[key] for key in ("apiKey", "passphrase", "timestamp")} == {
        "apiKey": "key", "passphrase": "pass", "timestamp": "1538054050",
    }  # fmt: skip
