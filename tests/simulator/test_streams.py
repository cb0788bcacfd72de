"""Market data: what clients are sent, against the exchange's own book and the independent oracle."""

from __future__ import annotations

import gzip
import json
import random
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from cwts.simulator import Simulator
from market import Market
from oracle.book import Oracle

from .client import CAPTURES, Client, run, simulator

pytestmark = pytest.mark.native

SYMBOLS = {"binance": "BTCUSDT", "binance-usdm": "BTCUSDT", "binance-coinm": "BTCUSD_PERP", "okx": "BTC-USDT"}
DECIMALS = {"binance": (2, 5), "binance-usdm": (2, 3), "binance-coinm": (1, 0), "okx": (1, 8)}
DEPTH = {"binance": "/api/v3/depth", "binance-usdm": "/fapi/v1/depth", "binance-coinm": "/dapi/v1/depth"}


@pytest.mark.parametrize("exchange", ["binance", "binance-usdm", "binance-coinm"])
@pytest.mark.parametrize("loop", [False, True], ids=["once", "looped"])
def test_a_binance_client_has_the_exchanges_own_book(exchange: str, loop: bool) -> None:
    async def check() -> None:
        symbol = SYMBOLS[exchange]
        oracle = Oracle(exchange, symbol, *DECIMALS[exchange])
        async with (
            simulator(exchange, speed=0, start="first", loop=loop, lines=400 if loop else 1500) as sim,
            Client(sim) as client,
        ):
            stream = f"{symbol.lower()}@depth@100ms"
            endpoint = "public" if exchange == "binance-usdm" else "stream"
            socket = await client.socket(exchange, endpoint, f"/stream?streams={stream}/{symbol.lower()}@trade")
            for _ in range(3):
                oracle.feed(json.dumps(await socket.hear()).encode())
            limit = 5000 if exchange == "binance" else 1000
            oracle.feed(json.dumps(await client.get(exchange, DEPTH[exchange], symbol=symbol, limit=limit)).encode())
            updates = sum(message.kind == "depthUpdate" for _, message in sim.tape)
            while (loop and oracle.counts["applied"] < 2 * updates) or not (loop or sim.finished.is_set()):
                oracle.feed((await socket.raw()).data.encode())
            for message in [] if loop else await socket.all():
                oracle.feed(json.dumps(message).encode())
            assert oracle.synced
            assert oracle.counts["gaps"] == oracle.counts["malformed"] == 0
            assert oracle.counts["applied"] > 20
            assert oracle.counts["trades"] > 10
            if not loop:
                book = sim.book(exchange, symbol)
                assert oracle.last == book["id"]
                assert_same_top(oracle, book)

    run(check())


def assert_same_top(oracle: Oracle, book: dict[str, object], depth: int = 200) -> None:
    for side, name in enumerate(("bids", "asks")):
        levels = book[name]
        assert isinstance(levels, list)
        assert [
            [format(p.normalize(), "f"), format(q.normalize(), "f")] for p, q in oracle.ladder(side)[:depth]
        ] == levels[:depth]


@pytest.mark.parametrize("checksums", [False, True])
def test_an_okx_client_has_the_exchanges_own_book(checksums: bool) -> None:
    async def check() -> None:
        oracle = Oracle("okx", "BTC-USDT", 1, 8)
        async with simulator("okx", speed=0, start="first", checksums=checksums) as sim, Client(sim) as client:
            socket = await client.socket("okx", "public")
            await socket.tell({"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]})
            acknowledged = await socket.hear()
            assert acknowledged["event"] == "subscribe"
            assert acknowledged["arg"] == {"channel": "books", "instId": "BTC-USDT"}
            await sim.finished.wait()
            for message in await socket.all():
                oracle.feed(json.dumps(message).encode())
            assert oracle.counts["gaps"] == oracle.counts["checksum_bad"] == 0
            assert (oracle.counts["checksum_ok"] > 50) == checksums
            book = sim.book("okx", "BTC-USDT")
            assert (oracle.last, oracle.book_sha256()) == (book["id"], book["sha256"])

    run(check())


def deep_okx_book() -> bytes:
    """A recording of a book of 700 levels a side that moves up and down, with changes far below as well."""
    chance = random.Random(11)
    books = [{10_000 - i: 5 + i % 7 for i in range(1, 701)}, {10_000 + i: 5 + i % 7 for i in range(1, 701)}]
    sequence = 1000

    def line(number: int, action: str, sides: list[dict[int, int]], before: int) -> bytes:
        bids, asks = ([[str(price), str(qty), "0", "1"] for price, qty in side.items()] for side in sides)
        row = {"asks": asks, "bids": bids, "ts": str(1_700_000_000_000 + number), "checksum": 0}
        row |= {"seqId": sequence, "prevSeqId": before}
        message = {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [row]}
        return b"%d %s\n" % (1_700_000_000_000_000_000 + number * 10**7, json.dumps(message).encode())

    lines = [line(0, "snapshot", books, -1)]
    for number in range(1, 400):
        changes: list[dict[int, int]] = [{}, {}]
        for side, book in enumerate(books):
            best = sorted(book, reverse=side == 0)
            step = 1 if side == 0 else -1
            changes[side] |= {best[-1] - step * i: 9 for i in range(1, 651 - len(best))}
            for _ in range(chance.randrange(6)):  # the best levels go, or better ones come, or something far below
                kind = chance.randrange(4)
                if kind == 0:
                    changes[side] |= dict.fromkeys(best[: chance.randrange(1, 9)], 0)
                elif kind == 1 and best[0] * step + 3 < (min(books[1]) if side == 0 else -max(books[0])):
                    changes[side][best[0] + step] = chance.randrange(1, 50)
                elif kind == 2:
                    changes[side][best[chance.randrange(450, len(best))]] = chance.randrange(50)
                else:
                    changes[side][best[chance.randrange(len(best))]] = chance.randrange(50)
            for price, qty in changes[side].items():
                if qty:
                    book[price] = qty
                else:
                    book.pop(price, None)
        before, sequence = sequence, sequence + 1 + number % 3
        lines.append(line(number, "update", changes, before))
    return gzip.compress(b"".join(lines))


@pytest.mark.parametrize(("channel", "depth"), [("books", 400), ("books-l2-tbt", 400), ("books50-l2-tbt", 50)])
def test_okx_sends_its_best_levels_and_no_others(channel: str, depth: int) -> None:
    """What comes into the best 400 is added, what drops out of them is deleted: the client has them exactly."""

    async def check() -> None:
        market = Market("okx", "BTC-USDT", "native", price_decimals=0, qty_decimals=0)
        async with (
            Simulator([deep_okx_book()], speed=0, start="command", checksums=True) as sim,
            Client(sim) as client,
        ):
            socket = await client.socket("okx", "public")
            await socket.tell({"op": "subscribe", "args": [{"channel": channel, "instId": "BTC-USDT"}]})
            assert (await socket.hear())["event"] == "subscribe"
            sim.play()
            await sim.finished.wait()
            messages: list[Any] = await socket.all()
            late = await client.socket("okx", "public")  # who comes later gets the same
            await late.tell({"op": "subscribe", "args": [{"channel": channel, "instId": "BTC-USDT"}]})
            await late.hear()
            sim.fault("keepalive")
            snapshot, keepalive = (await late.hear())["data"][0], (await late.hear())["data"][0]
            book = sim.book("okx", "BTC-USDT", depth)
            assert len(sim.book("okx", "BTC-USDT")["bids"]) > 400
        assert len(messages[0]["data"][0]["bids"]) == len(messages[0]["data"][0]["asks"]) == depth
        assert 100 < len(messages) < 401
        rows = [message["data"][0] for message in messages]
        assert all(row["prevSeqId"] == last["seqId"] for last, row in pairwise(rows))
        assert snapshot["seqId"] == rows[-1]["seqId"] == keepalive["seqId"]
        market.feed(*(json.dumps(message, separators=(",", ":")).encode() for message in messages))
        market.check()
        assert (market.synced, market.gaps, market.checksum_bad) == (1, 0, 0)
        assert market.checksum_ok > 100 or channel != "books"  # the kernel checks those of `books`
        for side, name in enumerate(("bids", "asks")):
            prices, quantities = market.engine.levels(side)
            held = [[str(p), str(q)] for p, q in zip(prices.tolist(), quantities.tolist(), strict=True)]
            assert held == book[name] == [level[:2] for level in snapshot[name]]
            assert len(held) == depth

    run(check())


@pytest.mark.parametrize(
    ("exchange", "most", "wrong", "code"),
    [("binance", 5000, "x", -1100), ("binance-usdm", 1000, 5000, -4021), ("binance-coinm", 1000, 400, -4021)],
)
def test_depth_snapshots_have_the_exchanges_limits(exchange: str, most: int, wrong: object, code: int) -> None:
    symbol = SYMBOLS[exchange]
    levels = [[[f"{price}.0", "1"] for price in numbers] for numbers in (range(9000, 3000, -1), range(9001, 15001))]
    time = {} if exchange == "binance" else {"E": 1_700_000_000_000, "T": 1_700_000_000_000}
    more = {} if exchange == "binance" else {"pu": 5, "T": 1_700_000_000_000}
    update = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": symbol, "U": 6, "u": 7, "b": [], "a": [], **more}
    whole = {"lastUpdateId": 5, "bids": levels[0], "asks": levels[1], **time}
    if exchange == "binance-coinm":
        whole["symbol"] = symbol
    capture = b"".join(
        b"%d %s\n" % (1_700_000_000_000_000_000 + i * 10**6, json.dumps(message).encode())
        for i, message in enumerate((update, whole, update | {"U": 8, "u": 9} | ({"pu": 7} if more else {})))
    )

    async def check() -> None:
        async with Simulator([gzip.compress(capture)], start="command") as sim, Client(sim) as client:
            for asked, given in [(5, 5), (100, 100), (1000, 1000), (5000, 5000), (6000, 5000)]:
                if asked > most and exchange != "binance":
                    continue
                answer = await client.get(exchange, DEPTH[exchange], symbol=symbol, limit=asked)
                assert [len(answer["bids"]), len(answer["asks"])] == [given, given]
            answer = await client.get(exchange, DEPTH[exchange], symbol=symbol)
            assert len(answer["bids"]) == (100 if exchange == "binance" else 500)
            answer = await client.get(exchange, DEPTH[exchange], symbol=symbol, limit=wrong)
            assert answer["code"] == code

    run(check())


def test_recorded_times_are_kept_byte_for_byte() -> None:
    """With the recording's clock, what goes out is what was recorded."""

    async def check() -> None:
        async with (
            simulator("binance-usdm", speed=0, start="first", clock="recorded", lines=300) as sim,
            Client(sim) as c,
        ):
            socket = await c.socket("binance-usdm", "public", "/ws/btcusdt@trade/btcusdt@bookTicker")
            await sim.finished.wait()
            sent = [json.dumps(message, separators=(",", ":")) for message in await socket.all()]
            recorded = [
                json.dumps(message.data, separators=(",", ":"))
                for due, message in sim.tape
                if due > 0 and message.kind in ("trade", "bookTicker")
            ]
            assert sent == recorded
            assert sim.exchange("binance-usdm").now_ms() // 10**6 == 1723161

    run(check())


def test_streams_of_binance() -> None:
    """Subscriptions, their answers and errors, raw and combined."""

    async def check() -> None:
        async with simulator("binance", "binance-usdm", start="command", limits=False) as sim, Client(sim) as client:
            socket = await client.socket("binance", "stream", "/ws")
            table = [
                (
                    {"method": "SUBSCRIBE", "params": ["btcusdt@depth", "btcusdt@trade"], "id": 1},
                    {"result": None, "id": 1},
                ),
                (
                    {"method": "LIST_SUBSCRIPTIONS", "id": "x"},
                    {"result": ["btcusdt@depth", "btcusdt@trade"], "id": "x"},
                ),
                ({"method": "UNSUBSCRIBE", "params": ["btcusdt@depth"], "id": 3}, {"result": None, "id": 3}),
                ({"method": "LIST_SUBSCRIPTIONS", "id": 4}, {"result": ["btcusdt@trade"], "id": 4}),
                ({"method": "GET_PROPERTY", "params": ["combined"], "id": 5}, {"result": False, "id": 5}),
                ({"method": "SET_PROPERTY", "params": ["combined", True], "id": 6}, {"result": None, "id": 6}),
                ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 7}, 1),
                ({"method": "SET_PROPERTY", "params": ["other", True], "id": 8}, 0),
                ({"method": "SUBSCRIBE", "params": "btcusdt@depth", "id": 9}, 2),
                ({"method": "NONSENSE", "id": 10}, 2),
                ({"id": 11}, 2),
                ("{", 3),
            ]
            for request, expected in table:
                await socket.tell(request)
                answer = await socket.hear()
                if isinstance(expected, int):
                    assert answer["error"]["code"] == expected
                else:
                    assert answer == expected
            # USD-M: a stream on the wrong path is accepted and silent, the old path is gone
            market = await client.socket("binance-usdm", "market", "/ws/btcusdt@depth")
            public = await client.socket("binance-usdm", "public", "/ws/btcusdt@depth")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.session.ws_connect(f"ws://127.0.0.1:{sim.port}/binance-usdm/ws/btcusdt@depth")
            assert refused.value.status == 404
            sim.play()
            assert (await public.hear())["e"] == "depthUpdate"
            with pytest.raises(TimeoutError):
                await market.hear(0.3)
            trade = await socket.hear()
            assert trade["stream"] == "btcusdt@trade"
            assert trade["data"]["e"] == "trade"

    run(check())


def test_a_client_finds_its_exchange_by_host_or_by_path() -> None:
    async def check() -> None:
        async with simulator("binance", "binance-usdm", "okx", lines=500) as sim, Client(sim) as client:
            root = f"http://127.0.0.1:{sim.port}"
            for path in ("/api/v3/time", "/fapi/v1/time", "/binance/api/v3/time", "/api/v5/public/time"):
                async with client.session.get(root + path) as response:
                    assert response.status == 200
            async with client.session.ws_connect(
                f"ws://127.0.0.1:{sim.port}/ws/btcusdt@bookTicker", headers={"Host": "stream.binance.com:9443"}
            ) as ws:
                assert "b" in json.loads((await ws.receive(5)).data)
            async with client.session.get(root + "/dapi/v1/time") as response:
                assert response.status == 404

    run(check())


def test_derived_streams() -> None:
    """What was not recorded is made from what was."""

    async def check() -> None:
        async with simulator("binance", start="first", lines=1500, speed=20) as sim, Client(sim) as client:
            names = "btcusdt@aggTrade/btcusdt@depth5@100ms/btcusdt@miniTicker/btcusdt@ticker"
            socket = await client.socket("binance", "stream", f"/stream?streams={names}")
            seen: dict[str, dict[str, object]] = {}
            while len(seen) < 4:
                message = await socket.hear()
                seen[message["stream"]] = message["data"]
            assert set(seen["btcusdt@aggTrade"]) == set("eEsapqflTmM")
            assert len(seen["btcusdt@depth5@100ms"]["bids"]) == 5  # type: ignore[arg-type]
            assert seen["btcusdt@ticker"]["e"] == "24hrTicker"

    run(check())


def test_okx_subscriptions() -> None:
    async def check() -> None:
        async with simulator("okx", start="command") as sim, Client(sim) as client:
            socket = await client.socket("okx", "public")
            await socket.tell("ping")
            assert await socket.hear() == "pong"
            books = {"channel": "books", "instId": "BTC-USDT"}
            table = [
                ({"op": "subscribe", "args": [{"channel": "books", "instId": "NO-SUCH"}], "id": "7"}, "60018"),
                ({"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]}, "60018"),
                ({"op": "subscribe", "args": []}, "60012"),
                ({"op": "nonsense", "args": [books]}, "60012"),
                ("{", "60012"),
            ]
            for request, code in table:
                await socket.tell(request)
                answer = await socket.hear()
                assert (answer["event"], answer["code"]) == ("error", code)
            await socket.tell({"op": "subscribe", "args": [books, {"channel": "bbo-tbt", "instId": "BTC-USDT"}]})
            heard = await socket.all()
            snapshot = next(m for m in heard if m.get("action") == "snapshot")["data"][0]
            assert (snapshot["prevSeqId"], snapshot["checksum"]) == (-1, 0)
            sim.fault("keepalive")
            sim.fault("reset", symbol="BTC-USDT")
            keepalive = (await socket.hear())["data"][0]
            assert (keepalive["bids"], keepalive["seqId"]) == ([], keepalive["prevSeqId"])
            sim.play()
            while (update := await socket.hear())["arg"]["channel"] != "books":
                pass
            row = update["data"][0]
            assert row["prevSeqId"] == snapshot["seqId"] > row["seqId"]
            await socket.tell({"op": "unsubscribe", "args": [books]})
            while (await socket.hear()).get("event") != "unsubscribe":
                pass
            private = await client.socket("okx", "private")
            await private.tell({"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]})
            assert (await private.hear())["code"] == "60011"

    run(check())


def test_several_symbols_and_exchanges_at_once() -> None:
    async def check() -> None:
        async with simulator(*CAPTURES, lines=400) as sim, Client(sim) as client:
            socket = await client.socket("okx", "public")
            args = [{"channel": "books", "instId": name} for name in sim.exchange("okx").markets]
            assert len(args) == 3
            await socket.tell({"op": "subscribe", "args": args})
            heard = [await socket.hear() for _ in range(20)]
            assert {m["arg"]["instId"] for m in heard if m.get("action") == "snapshot"} == {a["instId"] for a in args}
            async with client.session.get(f"{sim.control_url}/state") as response:
                state = await response.json()
            assert set(state["exchanges"]) == set(CAPTURES)
            assert all(m["ready"] for e in state["exchanges"].values() for m in e["markets"].values())
            async with client.session.get(f"{sim.control_url}/book?exchange=okx&symbol=BTC-USDT&depth=3") as response:
                assert len((await response.json())["bids"]) == 3

    run(check())
