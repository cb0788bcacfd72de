"""What a run hears besides the book and the trades, and what it does when the exchange says that it asks too much."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("picows", reason="sockets are not to be had here")
pytest.importorskip("aiohttp", reason="the simulated exchange needs it")

from cwts.config import Settings, build_config
from cwts.exchanges import session
from cwts.exchanges.base import SECOND, Open
from cwts.instruments import guess_instrument
from cwts.kernel import Engine, layout
from cwts.recorder import FRAME
from cwts.recorder import lines as frame_lines
from cwts.simulator.faults import Fault
from cwts.transport.native import TICK_S, NativeHost, retry_after
from cwts.transport.sink import Sink
from live.arena import DATA, FEEDS, HASTY, play
from market import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live.arena import Outcome

pytestmark = pytest.mark.native

BINANCE = ["binance", "binance-usdm", "binance-coinm"]


def liquidation(exchange: str, symbol: str, ms: int) -> bytes:
    """As sent in 2026, see tests/data/live-frames-2026-liquidations.jsonl, of this symbol and time."""
    frames = (DATA / "live-frames-2026-liquidations.jsonl").read_bytes().splitlines()
    found: Any = json.loads(next(raw for raw in frames if (b'"arg"' if exchange == "okx" else b"forceOrder") in raw))
    if exchange == "okx":
        row = found["data"][0] | {"instId": symbol}
        row["details"] = [row["details"][0] | {"ts": str(ms)}]
        found |= {"data": [row]}
    else:
        order = found["data"]["o"] | {"s": symbol, "T": ms}
        found = {"e": "forceOrder", "E": ms + 5, "o": order}
    return json.dumps(found, separators=(",", ":")).encode()


@pytest.mark.parametrize(("exchange", "symbol"), [("binance-usdm", ""), ("binance-coinm", ""), ("okx", "UNI-USD-SWAP")])
def test_liquidations_reach_the_engine_and_harm_nothing(
    exchange: str, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, although two connections bring them; those of other instruments do not."""
    name, own, count, pace = FEEDS[exchange]
    symbol = symbol or own
    monkeypatch.setitem(FEEDS, exchange, (name, symbol, count, pace))
    recorded = lines_of(DATA / name)[: count or None]
    capture, sent = [], 0
    for i, (ns, raw) in enumerate(recorded):
        capture.append(b"%d %s" % (ns, raw))
        if i % 40 == 20:
            ms = 1_700_000_000_000 + i
            capture.append(b"%d %s" % (ns, liquidation(exchange, symbol, ms)))
            sent += 1
            capture.append(b"%d %s" % (ns, liquidation(exchange, "OTHER" + symbol, ms)))
    fed: list[bytes] = []

    def tap(batch: memoryview) -> None:
        fed.extend(line for found in frame_lines(iter([bytearray(batch)])) for line in found)

    outcome = play(
        exchange,
        capture=gzip.compress(b"\n".join(capture) + b"\n"),
        policy=replace(HASTY, replicas=2),
        sink={"tap": tap},
        simulator={"lines": 0, "clock": "recorded"},
    )
    outcome.check()
    assert (outcome.gaps, outcome.lost, outcome.resets) == (0, 0, 0)
    came = [line for line in fed if b'"forceOrder"' in line or b'"liquidation-orders"' in line]
    assert 5 < len(came) <= sent
    assert len(set(came)) == len(came)
    assert not any(b"OTHER" in line for line in came)


def waited(outcome: Outcome) -> None:
    """The book is right in the end, and nothing was asked before it was time."""
    outcome.check()
    assert [event for event in outcome.events if event["what"] == "fault hits" and event["fault"] == "limit"]
    assert any("too many requests" in note for note in outcome.notes)


@pytest.mark.parametrize("banned", [False, True], ids=["429", "418"])
@pytest.mark.parametrize("exchange", BINANCE)
def test_a_session_that_asks_too_much_waits_as_told(exchange: str, banned: bool) -> None:
    """-1003 over the WebSocket API, 429 and 418 with Retry-After over REST; the connection is lost meanwhile."""
    faults = [Fault("limit", at=0.0, seconds=3, banned=banned, exchange=exchange), Fault("cut", at=0.5)]
    outcome = play(exchange, faults)
    waited(outcome)
    assert not [event for event in outcome.events if event["what"] == "asked too early"]


def test_okx_does_not_say_how_long_so_the_session_waits_long_enough() -> None:
    """60014 in answer to a new subscription after a gap. The two operations of it go out together."""
    faults = [Fault("limit", at=0.2, seconds=2, endpoint="public"), Fault("gap", at=0.3, count=2, stream="books")]
    outcome = play("okx", faults, policy=replace(HASTY, limited_ns=3 * SECOND))
    waited(outcome)
    assert outcome.gaps == 1
    assert outcome.resets == 0  # the connection was not given up
    assert len([event for event in outcome.events if event["what"] == "asked too early"]) <= 1


def test_the_header_that_says_when() -> None:
    """Seconds, or a date; anything else says nothing."""
    assert retry_after("7") == 7 * SECOND
    later = formatdate(time.time() + 3600, usegmt=True)
    assert 3000 * SECOND < retry_after(later) <= 3600 * SECOND
    assert [retry_after(text) for text in (None, "", "soon", "-3", "Wed, 21 Oct 2015 07:28:00 GMT")] == [0] * 5


@pytest.mark.parametrize("exchange", [*BINANCE, "okx"])
def test_a_handshake_is_tried_again_when_the_server_says(exchange: str) -> None:
    faults = [Fault("handshake", at=0.0, count=1, status=429, seconds=2), Fault("cut", at=0.3)]
    outcome = play(exchange, faults)
    outcome.check()
    (refused,) = (event["s"] for event in outcome.events if event["what"] == "handshake refused")
    endpoint = next(event["endpoint"] for event in outcome.events if event["what"] == "handshake refused")
    again = [
        event["s"]
        for event in outcome.events
        if event["what"] == "connected" and event["endpoint"] == endpoint and event["s"] > refused
    ]
    assert again[0] >= refused + 2


def test_a_quiet_instrument_gets_time_while_another_is_busy() -> None:
    """A timer after a second of its own silence: what others bring does not move its clock."""
    now = [SECOND]
    run = session("okx", ["BTC-USDT", "ETH-USDT"])
    quotes = b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[]}'
    taps: tuple[bytearray, bytearray] = bytearray(), bytearray()

    async def main() -> None:
        config = build_config(guess_instrument("okx", "BTC-USDT", 1, 8), Settings())
        sinks = [Sink(Engine(config), lambda: now[0], tap=tap.extend) for tap in taps]
        host = NativeHost(run, sinks, lambda: now[0])
        run.start(now[0])
        (link,) = [action.link for action in run.take() if isinstance(action, Open)]
        run.opened(now[0], link)
        run.take()
        ticker = asyncio.create_task(host._tick())
        for _ in range(20):
            now[0] += SECOND // 2
            host.on_message(link, memoryview(quotes))
            host.flush()
            await asyncio.sleep(2.5 * TICK_S)
            assert not ticker.done()
        ticker.cancel()

    asyncio.run(main())
    busy, quiet = ([FRAME.unpack_from(tap, at)[3] for at in starts(tap)] for tap in taps)
    assert busy.count(int(layout.Kind.RAW)) == 20
    assert int(layout.Kind.TIMER) not in busy
    assert 5 <= quiet.count(int(layout.Kind.TIMER)) <= 11
    assert int(layout.Kind.RAW) not in quiet


def starts(frames: bytearray) -> Iterator[int]:
    """Where each frame begins."""
    at = 0
    while at < len(frames):
        yield at
        at += FRAME.size + (FRAME.unpack_from(frames, at)[1] + 7 & ~7)
