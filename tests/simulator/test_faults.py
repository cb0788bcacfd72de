"""Faults: each does what it says, on the wire, and scripts and schedules are what they were asked to be."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import struct
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cwts.errors import InputError
from cwts.simulator import Fault, load_script, random_schedule
from cwts.simulator.command import main
from cwts.simulator.faults import KINDS, parse_fault

from .client import CAPTURES, Client, Socket, run, simulator, until

pytestmark = pytest.mark.native


async def depth(client: Client) -> Socket:
    return await client.socket("binance-usdm", "public", "/ws/btcusdt@depth")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("gap", [1, 2, 3, 4, 5]), ("duplicate", [0, 0, 1, 2, 3]), ("reorder", [1, 0, 2, 3, 4])],
)
def test_on_messages(kind: str, expected: list[int]) -> None:
    """The first update after the fault was told is hit, on the connection it was aimed at and on no other."""

    async def check() -> None:
        async with simulator("binance-usdm", start="command", speed=50) as sim, Client(sim) as client:
            socket, healthy = await depth(client), await depth(client)
            await asyncio.sleep(0.05)
            sim.fault(kind, connection=1, stream="depth")
            sim.play()
            true = [(await healthy.hear())["u"] for _ in range(10)]
            heard = [(await socket.hear())["u"] for _ in range(5)]
            assert heard == [true[i] for i in expected]

    run(check())


def test_garbage() -> None:
    async def check() -> None:
        async with simulator("binance-usdm", start="command", speed=50) as sim, Client(sim) as client:
            socket = await depth(client)
            await asyncio.sleep(0.05)
            sim.fault("garbage", replace=True)
            sim.fault("garbage")
            sim.play()
            cut = (await socket.raw()).data
            with pytest.raises(ValueError):
                json.loads(cut)
            assert (await socket.raw()).data.startswith(("<html>", "{", "[", "null", "\x7f"))
            assert (await socket.hear())["e"] == "depthUpdate"

    run(check())


@pytest.mark.parametrize("middle", [False, True])
def test_cut(middle: bool) -> None:
    """A cut has no closing frame: in the middle of a message, half a frame is all that comes."""

    async def check() -> None:
        async with simulator("binance-usdm") as sim:
            reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
            request = [
                "GET /binance-usdm/public/ws/btcusdt@kline_1m HTTP/1.1", "Host: x", "Upgrade: websocket",
                "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ]  # fmt: skip
            writer.write("\r\n".join([*request, "", ""]).encode())
            assert b"101" in await reader.readuntil(b"\r\n\r\n")
            sim.fault("cut", middle=middle)
            rest = await asyncio.wait_for(reader.read() if middle else _until_reset(reader), 60)
            if middle:
                length = rest[1] if rest[1] < 126 else struct.unpack("!H", rest[2:4])[0]
                assert rest[0] == 0x81
                assert 0 < len(rest) - 2 < length
            else:
                assert rest == b""
            writer.close()
            await _happened(sim, "gone", connection=1)

    run(check())


async def _until_reset(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def _happened(sim: Any, what: str, **how: Any) -> None:
    """Waits until the simulator tells of it."""
    await until(lambda: any({"what": what, **how}.items() <= event.items() for event in sim.events))


def test_handshake_stall_and_close() -> None:
    async def check() -> None:
        async with simulator("binance-usdm", speed=10) as sim, Client(sim) as client:
            sim.fault("handshake", count=2)  # this client tries a second time by itself
            with pytest.raises(aiohttp.ClientError):
                await depth(client)
            if sim.armed:
                with pytest.raises(aiohttp.ClientError):
                    await depth(client)
            sim.fault("handshake", status=503)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await depth(client)
            assert refused.value.status == 503
            socket = await depth(client)
            await socket.hear()
            sim.fault("stall", seconds=3)
            await asyncio.sleep(0.05)
            while True:
                try:
                    await socket.hear(0.2)
                except TimeoutError:
                    break
            await socket.ws.ping(b"x")
            with pytest.raises(TimeoutError):
                await socket.raw(0.2)
            await socket.hear()
            sim.fault("close")
            while (message := await socket.raw()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PONG):
                pass
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == 1008

    run(check())


def test_restart_clock_and_snapshots() -> None:
    async def check() -> None:
        async with simulator("binance", speed=10, lines=20000) as sim, Client(sim) as client:
            old_id = sim.book("binance", "BTCUSDT")["id"]
            await asyncio.sleep(0.3)
            sim.fault("old_snapshot", seconds=100)
            path = "/api/v3/depth"
            stale = (await client.get("binance", path, symbol="BTCUSDT"))["lastUpdateId"]
            fresh = (await client.get("binance", path, symbol="BTCUSDT"))["lastUpdateId"]
            assert old_id <= stale < fresh
            sim.fault("clock", offset_ms=-1500)
            behind = (await client.get("binance", "/api/v3/time"))["serverTime"]
            sim.fault("clock", offset_ms=0)
            assert 1400 < (await client.get("binance", "/api/v3/time"))["serverTime"] - behind < 2500
            socket = await client.socket("binance", "stream", "/ws/btcusdt@depth")
            sim.fault("restart", seconds=1.5)
            while (await socket.raw()).type is aiohttp.WSMsgType.TEXT:
                pass
            await asyncio.sleep(0.05)
            with pytest.raises(aiohttp.ClientError):
                await client.socket("binance", "stream", "/ws/btcusdt@depth")
            await _happened(sim, "back")
            socket = await client.socket("binance", "stream", "/ws/btcusdt@depth")
            assert (await socket.hear())["e"] == "depthUpdate"
            sim.fault("shutdown", seconds=0.05)
            while (message := await socket.hear())["e"] != "serverShutdown":
                pass
            assert set(message) == {"e", "E"}

    run(check())


def test_a_restart_during_a_restart() -> None:
    """Both are one, as long as the later of the two."""

    async def check() -> None:
        async with simulator("binance", speed=10) as sim, Client(sim) as client:
            sim.fault("restart", seconds=0.5)
            await asyncio.sleep(0.1)
            sim.fault("restart", seconds=2.5)
            sim.fault("restart", seconds=0.05)
            await asyncio.sleep(1)
            with pytest.raises(aiohttp.ClientError):
                await client.get("binance", "/api/v3/time")
            await _happened(sim, "back")
            assert "serverTime" in await client.get("binance", "/api/v3/time")
            assert [event["what"] for event in sim.events].count("back") == 1

    run(check())


def test_too_many_requests() -> None:
    """429 and 418 with Retry-After, -1003 with the time to come back, and nothing is answered before."""

    async def check() -> None:
        async with simulator("binance", "okx", start="command") as sim, Client(sim) as client:
            url = sim.url("binance") + "/api/v3/time"
            sim.fault("limit", exchange="binance", seconds=1)
            for _ in range(2):
                async with client.session.get(url) as response:
                    assert (response.status, response.headers["Retry-After"]) == (429, "1")
                    assert (await response.json())["code"] == -1003
            await asyncio.sleep(1.05)
            async with client.session.get(url) as response:
                assert response.status == 200
            sim.fault("limit", exchange="binance", seconds=7.0, banned=True)
            socket = await client.socket("binance", "ws-api")
            answer = await socket.ask({"id": 1, "method": "time"})
            assert (answer["status"], answer["error"]["code"]) == (418, -1003)
            assert answer["error"]["data"]["retryAfter"] - answer["error"]["data"]["serverTime"] == 7000
            sim.fault("limit", exchange="okx", endpoint="rest")
            async with client.session.get(sim.url("okx") + "/api/v5/public/time") as response:
                assert (response.status, (await response.json())["code"]) == (429, "50011")
            sim.fault("handshake", exchange="okx", status=429, seconds=3)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.socket("okx", "public")
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "3"

    run(check())


def test_pings_idleness_and_age_in_less_time() -> None:
    async def check() -> None:
        async with simulator("binance", "okx", start="command", compress=15) as sim, Client(sim) as client:
            spot = await client.socket("binance", "stream", "/ws/btcusdt@depth")
            ping = await spot.raw()
            assert ping.type is aiohttp.WSMsgType.PING
            await spot.ws.pong(ping.data)
            okx = await client.socket("okx", "public")
            closed = await okx.raw()  # 30 s without a word
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4004)
            while (message := await spot.raw()).type is aiohttp.WSMsgType.PING:
                pass  # unanswered
            assert message.type is aiohttp.WSMsgType.CLOSE

    run(check())


def test_a_client_that_says_too_much_is_dropped() -> None:
    async def check() -> None:
        async with simulator("binance", start="command") as sim, Client(sim) as client:
            socket = await client.socket("binance", "stream", "/ws")
            for number in range(8):
                await socket.tell({"method": "LIST_SUBSCRIPTIONS", "id": number})
            while (message := await socket.raw()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)

    run(check())


def test_the_control_port(tmp_path: Path) -> None:
    async def check() -> None:
        async with simulator("binance-usdm", start="command") as sim, Client(sim) as client:
            post = client.session.post
            async with post(sim.control_url + "/fault", json=[{"kind": "limit", "count": 2}]) as response:
                assert response.status == 200
            assert sim.armed.described() == [{"kind": "limit", "count": 2}]
            for body in (
                '{"kind": "nonsense"}',
                "{",
                '{"kind": "gap", "cuont": 1}',
                '{"kind": "gap", "count": "many"}',
            ):
                async with post(sim.control_url + "/fault", data=body) as response:
                    assert response.status == 400
                    assert "error" in await response.json()
            async with post(sim.control_url + "/play") as response:
                assert (await response.json())["started"]
            async with client.session.get(sim.control_url + "/faults") as response:
                assert set((await response.json())["kinds"]) == set(KINDS)

    run(check())


def test_pace_and_bursts() -> None:
    """The pace can be changed at any time; a burst is made in silence and then comes at once."""

    async def check() -> None:
        async with simulator("binance", start="command", lines=9000) as sim, Client(sim) as client:
            socket = await client.socket("binance", "stream", "/ws/btcusdt@depth/btcusdt@trade/btcusdt@bookTicker")

            async def pace(**what: Any) -> Any:
                async with client.session.post(sim.control_url + "/speed", json=what) as response:
                    return response.status, await response.json()

            def connection(state: Any) -> Any:
                return state["exchanges"]["binance"]["connections"][0]

            assert (await pace(rate=1000))[1]["rate"] == 1000
            sim.play()
            heard = [await socket.hear()]
            state = (await pace(paused=True))[1]
            assert state["paused"]
            heard += await socket.all()
            state = (await pace(burst=5000, paused=False))[1]
            assert connection(state)["sent"] == len(heard)
            while (state := (await pace(rate=1))[1])["burst"]:
                pass
            assert state["played"] >= 5000
            await pace(paused=True)
            heard += await socket.all()
            state = (await pace(paused=True))[1]
            assert 5000 <= len(heard) == connection(state)["sent"]
            status, state = await pace(speed="max", paused=False)
            assert (status, state["speed"], state["rate"]) == (200, 0.0, 0.0)
            for wrong in ({}, {"speed": -1}, {"rate": 0}, {"burst": 10**9}, {"paused": 1}, {"fast": 1}, {"rate": True}):
                assert (await pace(**wrong))[0] == 400

    run(check())


def test_scripts_and_schedules(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(
        '[{"kind": "cut", "at": 0.05, "middle": true}, {"kind": "gap", "message": 100, "stream": "depth"}]'
    )
    assert load_script(script) == [Fault("cut", at=0.05, middle=True), Fault("gap", message=100, stream="depth")]
    for text in ("{", "{}", '[{"at": 1}]', '[{"kind": "cut", "at": "soon"}]', '[{"kind": "gap", "count": 0}]'):
        script.write_text(text)
        with pytest.raises(InputError):
            load_script(script)
    with pytest.raises(InputError):
        load_script(tmp_path / "missing")
    for seed in range(200):
        schedule = random_schedule(seed, seconds=10)
        assert schedule == random_schedule(seed, seconds=10)
        assert all(0 <= (fault.at or 0) <= 8 for fault in schedule)
        assert all(parse_fault(fault.described()) == fault for fault in schedule)
    assert random_schedule(1, seconds=10) != random_schedule(2, seconds=10)

    async def check() -> None:
        faults = [Fault("cut", at=0.3, exchange="binance-usdm"), Fault("gap", message=20, stream="depth")]
        async with simulator("binance-usdm", start="first", speed=5, faults=faults) as sim, Client(sim) as client:
            socket = await depth(client)
            while (await socket.raw()).type is aiohttp.WSMsgType.TEXT:
                pass
            told = [event["kind"] for event in sim.events if event["what"] == "fault"]
            assert told == ["gap", "cut"]
            assert any(event["what"] == "fault hits" for event in sim.events)

    run(check())


def test_tls(tmp_path: Path) -> None:
    """With the certificate that was written, a client trusts the connection; without, it does not."""
    from cwts.simulator.tls import context

    async def check() -> None:
        async with (
            simulator("binance", tls=context(tmp_path / "ca.pem"), start="command") as sim,
            Client(sim) as client,
        ):
            url = sim.url("binance") + "/api/v3/ping"
            assert url.startswith("https:")
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await client.session.get(url)
            trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            async with client.session.get(url, ssl=trusting) as response:
                assert response.status == 200

    run(check())


def test_bad_input(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.gz"
    nothing.write_bytes(gzip.compress(b"123 {}\n"))
    for captures, options, text in (
        ([], {}, "no recording"),
        ([tmp_path / "missing"], {}, "No such file"),
        ([nothing], {}, "no message of Binance or OKX"),
        ([CAPTURES["okx"]], {"speed": -1.0}, "must not be negative"),
        ([CAPTURES["okx"]], {"rate": -1.0}, "must not be negative"),
        ([CAPTURES["okx"]], {"instruments": [tmp_path / "missing"]}, "No such file"),
        ([CAPTURES["okx"]], {"balances": {"USDT": "many"}}, "must be numbers"),
    ):
        from cwts.simulator import Simulator

        with pytest.raises(InputError, match=text):
            Simulator(captures, **options)
    assert main.__doc__
