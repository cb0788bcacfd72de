"""The native transport against `websockets` and `aiohttp`: the same feed, from another process, in one run.

Two questions: how much processor time a message costs when they come as fast as they can, and how long one takes from
the sender to the client at a thousand a second. Our own client is measured twice: counting alone, like the others,
and with the engine behind it. `measure()` is what `cwts bench` calls; a client that is not installed is left out and
named.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import multiprocessing
import os
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.errors import CwtsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STAMP = b',"sent":%020d}'
RATE = 1000
OURS = "cwts, with the engine"


def messages_of(path: Path, count: int) -> list[bytes]:
    """The first messages of a recording of lines."""
    found = []
    with gzip.open(path) as file:
        for line in file:
            found.append(line.rstrip().partition(b" ")[2])
            if len(found) == count:
                break
    return found


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    if size >= 1 << 16:
        head = struct.pack(">BBQ", 0x81, 127, size)
    return head + payload


def _serve(pipe: Connection, messages: list[bytes]) -> None:
    """A server: `/burst` sends everything at once, `/paced` a thousand a second, each with its time."""
    burst = b"".join(map(_frame, messages))

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.partition(b":")[2].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        try:
            await asyncio.sleep(0.2)
            if b" /burst" in head.split(b"\r\n")[0]:
                for at in range(0, len(burst), 1 << 18):
                    writer.write(burst[at : at + (1 << 18)])
                    await writer.drain()
            else:
                began = time.monotonic()
                for i, message in enumerate(messages[: 2 * RATE]):
                    wait = began + i / RATE - time.monotonic()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    writer.write(_frame(message[:-1] + _STAMP % time.monotonic_ns()))
            await writer.drain()
            await reader.read(1024)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        server.close()

    asyncio.run(main())


async def _picows(url: str, count: int, seen: Callable[[bytes | memoryview], None]) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    done = asyncio.get_running_loop().create_future()

    class Listener(WSListener):
        left = count

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            del transport
            if frame.msg_type == WSMsgType.TEXT:
                seen(frame.get_payload_as_memoryview())
                self.left -= 1
                if not self.left and not done.done():
                    done.set_result(None)

    transport, _ = await ws_connect(Listener, url)
    await done
    transport.disconnect(False)


async def _websockets(url: str, count: int, seen: Callable[[bytes | memoryview], None]) -> None:
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, max_size=None) as socket:
        for _ in range(count):
            seen(await socket.recv(decode=False))


async def _aiohttp(url: str, count: int, seen: Callable[[bytes | memoryview], None]) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        for _ in range(count):
            seen((await socket.receive()).data.encode())


async def _ours(url: str, count: int, seen: Callable[[bytes | memoryview], None]) -> None:
    """The whole way: picows, the session, the frame buffer, the engine, the decision."""
    from cwts.config import Settings, build_config
    from cwts.exchanges import endpoints_of, session
    from cwts.instruments import guess_instrument
    from cwts.kernel import Engine
    from cwts.transport.native import NativeHost, clock
    from cwts.transport.sink import Sink

    now = clock()
    instrument = guess_instrument("binance-usdm", "BTCUSDT", 2, 3)
    way = Sink(Engine(build_config(instrument, Settings())), now)
    where = endpoints_of("binance-usdm", {"public": url, "market": url.replace(url.rsplit("/", 1)[1], "none")})
    machine = session("binance-usdm", ["BTCUSDT"], where)
    host = NativeHost(machine, [way], now)
    left = count
    take = machine.message

    def message(stamp: int, link: int, payload: Any) -> tuple[int, ...]:
        nonlocal left
        found = take(stamp, link, payload)
        left -= 1
        return found

    flush = way.flush

    def fed() -> int:
        events = flush()
        seen(b"")
        if left <= 0:
            host.stop()
        return events

    machine.message = message  # type: ignore[method-assign, assignment]
    way.flush = fed  # type: ignore[method-assign]
    machine.slots = machine.slots[:1]  # the book's connection alone
    await host.run()


CLIENTS: dict[str, Callable[[str, int, Callable[[bytes | memoryview], None]], Awaitable[None]]] = {
    "picows": _picows,
    "websockets": _websockets,
    "aiohttp": _aiohttp,
}


def measure(
    recording: Path, *, count: int = 50_000, rounds: int = 5, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Microseconds of processor time a message in a burst, and microseconds from sender to client at 1,000 a second.

    Medians of `rounds`, in turns. A client that is not installed is left out and named in `missing`.
    """
    messages = messages_of(recording, count)
    messages = (messages * (count // len(messages) + 1))[:count]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, messages), daemon=True)
    server.start()
    clients = {**CLIENTS, OURS: _ours}
    missing: list[str] = []
    burst: dict[str, list[float]] = {}
    paced: dict[str, list[dict[str, float]]] = {}
    try:
        if not ours.poll(60):
            raise CwtsError("the server of the transport's benchmark did not start")
        where = f"ws://127.0.0.1:{ours.recv()}"
        for turn in range(rounds):
            for name in list(clients) if turn % 2 else list(clients)[::-1]:
                progress(f"transport, round {turn + 1} of {rounds}: {name}")
                try:
                    spent = _burst(clients[name], f"{where}/burst", count)
                except ImportError:
                    missing.append(name)
                    del clients[name]
                    continue
                burst.setdefault(name, []).append(spent / count * 1e6)
                if name != OURS:
                    found = _paced(clients[name], f"{where}/paced", min(count, 2 * RATE))
                    paced.setdefault(name, []).append(found)
        ours.send(None)
    finally:
        server.join(5)
        if server.is_alive():
            server.kill()
    return {
        "messages": count,
        "bytes_per_message": round(sum(map(len, messages)) / count),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "loop": "asyncio",
        "rounds": rounds,
        "missing": missing,
        "burst_us_per_message": {
            name: round(statistics.median(burst[name]), 3) for name in (*CLIENTS, OURS) if name in burst
        },
        "paced_us": {
            name: {key: round(statistics.median(each[key] for each in paced[name]), 1) for key in ("p50", "p99")}
            for name in CLIENTS
            if name in paced
        },
    }


def _burst(client: Callable[..., Awaitable[None]], url: str, count: int) -> float:
    async def main() -> float:
        began = 0.0

        def seen(_: bytes | memoryview) -> None:
            nonlocal began
            began = began or time.process_time()

        await client(url, count, seen)
        return time.process_time() - began

    return asyncio.run(main())


def _paced(client: Callable[..., Awaitable[None]], url: str, count: int) -> dict[str, float]:
    waits: list[int] = []

    def seen(payload: bytes | memoryview) -> None:
        waits.append(time.monotonic_ns() - int(bytes(payload[-21:-1])))

    async def main() -> None:
        await client(url, count, seen)

    asyncio.run(main())
    waits.sort()
    return {key: round(waits[int(len(waits) * share)] / 1000, 1) for key, share in (("p50", 0.5), ("p99", 0.99))}


def human(found: dict[str, Any]) -> str:
    """The result as a table for a person."""
    rows = [
        f"transport, {found['messages']:,} messages of {found['bytes_per_message']:,} bytes from another process",
        f"processor time a message in a burst, and from sender to client at {RATE:,} a second, in microseconds",
        f"{'':<52}{'burst':>10}{'p50':>10}{'p99':>10}",
    ]
    for name, spent in found["burst_us_per_message"].items():
        paced = found["paced_us"].get(name)
        rows.append(f"{name:<52}{spent:>10.2f}" + (f"{paced['p50']:>10,.0f}{paced['p99']:>10,.0f}" if paced else ""))
    rows += [f"not measured: {name}: not installed" for name in found["missing"]]
    return "\n".join(rows)


if __name__ == "__main__":
    result = measure(Path(sys.argv[1]))
    print(human(result))
    print(json.dumps(result))
