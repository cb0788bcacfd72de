"""A bare client for the simulated exchange: no protocol knowledge that could hide a fault of the simulator."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp

from cwts.simulator import Simulator

DATA = Path(__file__).parents[1] / "data"
CAPTURES = {
    "binance": DATA / "binance-spot-btcusdt-20240808.gz",
    "binance-usdm": DATA / "binance-usdm-btcusdt-20240808.gz",
    "binance-coinm": DATA / "binance-coinm-btcusd_perp-20240808.gz",
    "okx": DATA / "okx-books-trades-tickers-20220513.gz",
}
INSTRUMENTS = [
    DATA / "binance-spot-exchangeInfo-202508.json",
    DATA / "binance-usdm-exchangeInfo-202508.json",
    DATA / "binance-coinm-exchangeInfo-202508.json",
    DATA / "okx-instruments-2022.json",
]
PREFIX = {"binance": "/api/v3", "binance-usdm": "/fapi/v1", "binance-coinm": "/dapi/v1"}


def simulator(*names: str, **options: Any) -> Simulator:
    """The captures of these exchanges, 3,000 lines of each."""
    defaults: dict[str, Any] = {"lines": 3000, "instruments": INSTRUMENTS}
    return Simulator([CAPTURES[name] for name in names], **(defaults | options))


def run(coroutine: Coroutine[Any, Any, None], seconds: float = 300) -> None:
    asyncio.run(asyncio.wait_for(coroutine, seconds))


async def until(condition: Callable[[], object]) -> None:
    """Waits for it, a minute at most."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to be")


class Socket:
    """A WebSocket: `tell` sends, `hear` gives the next message, `all` what has come until it is quiet."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.passed: list[Any] = []  # what was pushed before an answer

    async def tell(self, message: Any) -> None:
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def raw(self, seconds: float = 60) -> aiohttp.WSMessage:
        return await asyncio.wait_for(self.ws.receive(), seconds)

    async def hear(self, seconds: float = 60) -> Any:
        message = await self.raw(seconds)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return message.data if message.data == "pong" else json.loads(message.data)

    async def ask(self, message: Any) -> Any:
        """The answer to a request; what is pushed in between is heard of with `all`."""
        await self.tell(message)
        while True:
            answer = await self.hear()
            if answer.get("id", 0) == message.get("id") or isinstance(answer.get("event"), str):
                return answer
            self.passed.append(answer)

    async def all(self, turns: int = 20) -> list[Any]:
        """Quiet is not a time but turns of the loop, which is the simulator's too, a hundredth of a second apart."""
        heard, self.passed = self.passed, []
        while True:
            coming = asyncio.ensure_future(self.hear())
            for _ in range(turns):
                if (await asyncio.wait({coming}, timeout=0.01))[0]:
                    break
            coming.cancel()
            await asyncio.wait({coming})
            if coming.cancelled():
                return heard
            heard.append(coming.result())


class Client:
    """Requests and sockets to one simulator."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession()
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        for ws in self.sockets:  # a connection that nobody closes warns whenever it is collected, in another test
            await ws.close()
        await self.session.close()

    async def socket(self, exchange: str, endpoint: str, path: str = "") -> Socket:
        soon = aiohttp.ClientWSTimeout(ws_close=0.2)
        ws = await self.session.ws_connect(self.sim.url(exchange, endpoint) + path, autoping=False, timeout=soon)
        self.sockets.append(ws)
        return Socket(ws)

    async def get(self, exchange: str, path: str, **params: Any) -> Any:
        async with self.session.get(self.sim.url(exchange) + path, params=params) as response:
            return await response.json()

    async def binance(
        self, exchange: str, method: str, path: str, *, key: str = "simulator", secret: str = "simulator", **params: Any
    ) -> tuple[int, Any]:
        """A signed request."""
        params = {name: str(value) for name, value in params.items()}
        params.setdefault("timestamp", str(int(time.time() * 1000)))
        query = urlencode(params)
        query += "&signature=" + hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        url = f"{self.sim.url(exchange)}{PREFIX[exchange]}/{path}?{query}"
        async with self.session.request(method, url, headers={"X-MBX-APIKEY": key}) as response:
            return response.status, await response.json()

    async def okx_login(self, *, secret: str = "simulator", passphrase: str = "simulator") -> tuple[Socket, Any]:
        socket = await self.socket("okx", "private")
        stamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), (stamp + "GET/users/self/verify").encode(), hashlib.sha256).digest()
        sign = base64.b64encode(digest).decode()
        arg = {"apiKey": "simulator", "passphrase": passphrase, "timestamp": stamp, "sign": sign}
        await socket.tell({"op": "login", "args": [arg]})
        return socket, await socket.hear()
