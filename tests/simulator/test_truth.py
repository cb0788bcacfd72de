"""The simulator is what it says it is: nothing that clients or recordings do makes it lie about book or account."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from cwts.simulator import Simulator
from cwts.simulator.book import ASK

from .client import Client, run, simulator
from .test_orders import LIMIT

pytestmark = pytest.mark.native

NS = 1_700_000_000_000_000_000


def capture(*messages: Any, **how: Any) -> bytes:
    lines = (b"%d %s\n" % (NS + i * 10**6, json.dumps(message, **how).encode()) for i, message in enumerate(messages))
    return gzip.compress(b"".join(lines))


def update(first: int, last: int, bids: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": 1_700_000_000_000,
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        "b": bids,
        "a": [],
    } | more


SNAPSHOT = {"lastUpdateId": 5, "bids": [["100", "1"]], "asks": [["101", "1"]]}
TRADE = {
    "e": "trade", "E": 1_700_000_000_000, "s": "BTCUSDT", "t": 7, "p": "100", "q": "1", "T": 1_700_000_000_000,
    "m": True, "M": True,
}  # fmt: skip
OKX_ARG = {"channel": "books", "instId": "BTC-USDT"}
OKX_ROW = {"bids": [["100", "1", "0", "1"]], "asks": [["101", "1", "0", "1"]], "ts": "1", "seqId": 10, "prevSeqId": -1}
OKX_BOOK = {"arg": OKX_ARG, "action": "snapshot", "data": [OKX_ROW]}


def okx(**row: Any) -> dict[str, Any]:
    whole = {"bids": [], "asks": [], "ts": "1", "seqId": 11, "prevSeqId": 10} | row
    return {"arg": OKX_ARG, "action": "update", "data": [whole]}


BROKEN: list[Any] = [
    update(6, 6, [["99", "many"]]), update(6, 6, [["99", "NaN"]]), update(6, 6, [["99", "-1"]]), update(6, 6, ["x"]),
    update(6, 6, [["98", "1"], ["1e999999", "1"]]), update(6, 6, [["98", "1"], [99, 1]]), update(6, 6, {"a": 1}),
    update("6", 6), update(6, True), {"e": "depthUpdate", "s": "BTCUSDT", "b": [["98", "1"]]},
    TRADE | {"p": "x"}, TRADE | {"t": None}, {"e": "trade", "s": "BTCUSDT", "M": True}, SNAPSHOT | {"asks": 5},
    {"lastUpdateId": 9, "bids": [[]]}, {"e": "trade", "s": "BTCUSDT", "p": [], "M": True},
    okx(bids=[["98", "1"], ["99", "many"]]), okx(bids=None), {"arg": OKX_ARG, "action": "update", "data": [{}]},
    {"arg": OKX_ARG | {"channel": "trades"}, "data": [{"px": "1", "sz": "x", "side": "buy"}]},
    {"arg": OKX_ARG | {"channel": "liquidation-orders"}, "data": [{"details": 5, "instType": "SWAP"}]},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_a_message_that_no_exchange_sends_changes_nothing(number: int) -> None:
    """It is left out whole and counted: not half a book, not a quantity that nobody can read later."""

    async def check() -> None:
        good = [update(4, 5), SNAPSHOT, OKX_BOOK]
        after = [update(6, 7, [["99", "2"]]), okx(bids=[["99", "2", "0", "1"]])]
        async with Simulator([capture(*good, BROKEN[number], *after)], speed=0) as sim:
            await sim.finished.wait()
            for name, symbol in (("binance", "BTCUSDT"), ("okx", "BTC-USDT")):
                assert sim.book(name, symbol)["bids"] == [["100", "1"], ["99", "2"]]
            nameless = isinstance(BROKEN[number], dict) and BROKEN[number].keys() & {"lastUpdateId"}
            assert sim.state()["left_out"] == (0 if nameless else 1)  # whose it is, nobody can tell
            assert sim.error == ""

    run(check())


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,", " :")])
def test_ids_go_on_however_the_recording_is_written(separators: tuple[str, str]) -> None:
    """In a second round too: recordings of other tools have spaces behind their colons."""

    async def check() -> None:
        recorded = capture(
            update(4, 5), SNAPSHOT, update(6, 7, [["99", "2"]]), TRADE, update(8, 9, [["99", "3"]]),
            separators=separators,
        )  # fmt: skip
        async with Simulator([recorded], speed=0, start="command", loop=True) as sim, Client(sim) as client:
            socket = await client.socket("binance", "stream", "/ws/btcusdt@depth/btcusdt@trade")
            await asyncio.sleep(0.05)
            sim.play()
            heard = [await socket.hear() for _ in range(20)]
            updates = [message for message in heard if message["e"] == "depthUpdate"]
            assert all(one["u"] + 1 == two["U"] for one, two in pairwise(updates))
            trades = [message["t"] for message in heard if message["e"] == "trade"]
            assert trades == list(range(7, 7 + len(trades)))

    run(check())


def test_trades_of_okx_go_on_in_a_second_round() -> None:
    async def check() -> None:
        row = {"instId": "BTC-USDT", "px": "100", "sz": "1", "side": "buy", "ts": "1"}
        trades = [{"arg": OKX_ARG | {"channel": "trades"}, "data": [row | {"tradeId": str(n)}]} for n in (7, 8, 9)]
        async with (
            Simulator([capture(OKX_BOOK, *trades)], speed=0, start="command", loop=True) as sim,
            Client(sim) as client,
        ):
            socket = await client.socket("okx", "public")
            await socket.tell({"op": "subscribe", "args": [OKX_ARG | {"channel": "trades"}]})
            await socket.hear()
            sim.play()
            heard = [int((await socket.hear())["data"][0]["tradeId"]) for _ in range(8)]
            assert heard == list(range(7, 15))
            answer = await client.get("okx", "/api/v5/market/trades", instId="BTC-USDT", limit=2)
            assert int(answer["data"][0]["tradeId"]) == int(answer["data"][1]["tradeId"]) + 1 >= 14

    run(check())


def test_a_book_that_is_recorded_again_unchanged_is_no_update() -> None:
    """An update without levels has the seqId of the one before it (a keep-alive), never a new one."""

    async def check() -> None:
        again = json.loads(json.dumps(OKX_BOOK))
        again["data"][0]["seqId"] = 50
        recorded = capture(OKX_BOOK, again, okx(seqId=55, prevSeqId=50, bids=[["99", "2", "0", "1"]]))
        async with Simulator([recorded], speed=0, start="command") as sim, Client(sim) as client:
            socket = await client.socket("okx", "public")
            await socket.tell({"op": "subscribe", "args": [OKX_ARG]})
            await socket.hear()
            sim.play()
            await sim.finished.wait()
            rows = [message["data"][0] for message in await socket.all()]
            assert [(row["prevSeqId"], row["seqId"], len(row["bids"])) for row in rows] == [(-1, 10, 1), (10, 15, 1)]

    run(check())


def test_an_old_snapshot_has_the_checksum_of_what_is_in_it() -> None:
    """It is an exchange's cache that lags, not a damaged one."""

    async def check() -> None:
        async with simulator("okx", speed=0, start="command", checksums=True) as sim, Client(sim) as client:
            sim.play()
            await sim.finished.wait()
            sim.fault("old_snapshot", seconds=100)
            socket = await client.socket("okx", "public")
            await socket.tell({"op": "subscribe", "args": [OKX_ARG]})
            await socket.hear()
            row = (await socket.hear())["data"][0]
            assert row["seqId"] < sim.book("okx", "BTC-USDT")["id"]
            parts = [
                part for pair in zip(row["bids"][:25], row["asks"][:25], strict=True) for lv in pair for part in lv[:2]
            ]
            assert row["checksum"] & 0xFFFFFFFF == zlib.crc32(":".join(parts).encode())
            assert any(event.get("fault") == "old_snapshot" for event in sim.events if event["what"] == "fault hits")

    run(check())


def test_who_unsubscribes_from_a_listen_key_hears_no_more() -> None:
    """Nor who subscribes twice hears twice; nor anybody of a key that was closed."""

    async def check() -> None:
        async with simulator("binance-coinm", start="command", limits=False) as sim, Client(sim) as client:
            status, answer = await client.binance("binance-coinm", "PUT", "listenKey")
            assert (status, answer["code"]) == (400, -1125)  # there is none to be kept
            key = (await client.binance("binance-coinm", "POST", "listenKey"))[1]["listenKey"]
            socket = await client.socket("binance-coinm", "stream", "/ws")
            order = {"symbol": "BTCUSD_PERP", "side": "BUY", "type": "MARKET", "quantity": "1"}
            kinds = ["ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]

            async def heard() -> list[str]:
                await client.binance("binance-coinm", "POST", "order", **order)
                return [event["e"] for event in await socket.all()]

            for method, expected in (
                ("SUBSCRIBE", kinds),
                ("SUBSCRIBE", kinds),
                ("UNSUBSCRIBE", []),
                ("SUBSCRIBE", kinds),
            ):
                await socket.ask({"method": method, "params": [key], "id": 1})
                assert await heard() == expected
            await client.binance("binance-coinm", "DELETE", "listenKey")
            assert await heard() == []

    run(check())


def test_a_channel_of_ones_own_that_is_asked_for_twice_is_heard_once() -> None:
    async def check() -> None:
        async with simulator("okx", start="command") as sim, Client(sim) as client:
            socket, _ = await client.okx_login()
            orders = {"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]}
            for _ in range(2):
                assert (await socket.ask(orders))["event"] == "subscribe"
            code = sim.exchange("okx").markets["BTC-USDT"].row["instIdCode"]
            order = {
                "instIdCode": code,
                "tdMode": "cash",
                "side": "buy",
                "ordType": "limit",
                "px": "29000",
                "sz": "0.001",
            }
            await socket.tell({"id": "1", "op": "order", "args": [order]})
            assert sum("arg" in message for message in await socket.all()) == 1

    run(check())


def test_only_the_order_that_a_fault_hits_is_answered_twice() -> None:
    """Also where other requests are answered while it is on its way."""

    async def check() -> None:
        async with simulator("binance", start="command", latency_ms=200) as sim, Client(sim) as client:
            sim.fault("twice")
            assert (await client.binance("binance", "POST", "order", **LIMIT))[0] == 200  # over REST nobody can tell
            socket = await client.socket("binance", "ws-api")
            await socket.tell({"id": 1, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 5}})
            sim.fault("late_snapshot", seconds=0.01)
            await socket.tell({"id": 2, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 5}})
            assert sorted(answer["id"] for answer in await socket.all()) == [1, 2]

    run(check())


@pytest.mark.parametrize(("exchange", "path"), [("binance", "/ws-fapi/v1"), ("binance-usdm", "/ws-api/v3")])
def test_a_websocket_api_is_where_it_is(exchange: str, path: str) -> None:
    async def check() -> None:
        async with simulator("binance", "binance-usdm", start="command") as sim, Client(sim) as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.session.ws_connect(f"ws://127.0.0.1:{sim.port}/{exchange}{path}")
            assert refused.value.status == 404

    run(check())


def test_orders_that_only_reduce_never_open_a_position() -> None:
    """Two of them rest for the whole of it: what one has closed, the other cannot close again."""

    async def check() -> None:
        async with simulator("binance-usdm", start="command") as sim, Client(sim) as client:
            market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
            assert (await client.binance("binance-usdm", "POST", "order", **market))[0] == 200
            resting = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "reduceOnly": "true"}
            orders = []
            for quantity, price in (("0.004", "62500"), ("0.01", "62600"), ("0.01", "62700")):
                found = (
                    await client.binance("binance-usdm", "POST", "order", price=price, quantity=quantity, **resting)
                )[1]
                orders.append(sim.accounts.default.orders_on("binance-usdm")[found["orderId"]])
            assert all(order.open for order in orders)
            sim.exchange("binance-usdm").markets["BTCUSDT"].matching.traded(Decimal(70000), Decimal(1), ASK)
            assert [(order.status, str(order.filled)) for order in orders] == [
                ("FILLED", "0.004"), ("FILLED", "0.006"), ("EXPIRED", "0"),
            ]  # fmt: skip
            position = sim.accounts.default.wallet("binance-usdm").position("BTCUSDT")
            assert position.quantity == 0

    run(check())


def test_addresses_of_ipv6_have_brackets() -> None:
    sim = simulator("binance", host="::1", port=9000)
    assert sim.url("binance") == "http://[::1]:9000/binance"
    assert sim.url("binance", "ws-api") == "ws://[::1]:9000/binance/ws-api/v3"
    assert sim.control_url == "http://[::1]:9000/control"
