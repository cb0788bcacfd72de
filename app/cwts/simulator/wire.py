"""One WebSocket of one client: what goes out, in which order, how fast, and what faults do to it.

Owns the frames of a connection and its health (pings, idleness, age). What is said on it is the exchanges' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from cwts.simulator.faults import CONNECTION, WIRE, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cwts.simulator.server import Simulator

MAX_WAITING = 200_000  # messages: a client that is further behind is dropped, as the exchanges do
_GARBAGE = (b"<html>502 Bad Gateway</html>", b'{"e":"depthUpdate","E":', b"\x7f", b"[]", b'{"hello":1}', b"null")

Item = tuple[WSMsgType, bytes]


class Health:
    """How a connection is kept alive: seconds, 0 for never."""

    def __init__(
        self, *, ping: float = 0, pong: float = 0, life: float = 0, idle: float = 0, per_second: int = 0
    ) -> None:
        self.ping = ping  # the server pings this often …
        self.pong = pong  # … and drops the connection if no pong has come for this long
        self.life = life  # the connection is closed at this age
        self.idle = idle  # the connection is closed if nothing went either way for this long
        self.per_second = per_second  # messages a client may send, 0 for any number

    def compressed(self, factor: float) -> Health:
        """The same in `factor` times less time."""
        return Health(
            ping=self.ping / factor,
            pong=self.pong / factor,
            life=self.life / factor,
            idle=self.idle / factor,
            per_second=self.per_second,
        )


class Peer:
    """A connection. `push` is for what the exchange sends unasked, `reply` for answers."""

    def __init__(self, sim: Simulator, exchange: str, endpoint: str, request: web.Request, health: Health) -> None:
        self.sim = sim
        self.exchange = exchange
        self.endpoint = endpoint
        self.number = sim.next_connection()
        self.request = request
        self.health = health
        self.streams: dict[str, None] = {}  # in the order of subscription
        self.state: dict[str, Any] = {}  # what the exchange's module remembers about it
        self.ws = web.WebSocketResponse(autoping=False, autoclose=True, compress=False, max_msg_size=1 << 20)
        self.opened = time.monotonic()
        self.sent = 0
        self.received = 0
        self._out: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._held = False  # output waits until it is let go …
        self._hold_until = 0.0  # … or until this moment, monotonic
        self._deaf_until = 0.0  # … and pings are not answered
        self._rate: tuple[float, float] | None = None  # bytes a second, until
        self._kept: bytes | None = None  # a message that waits for its successor
        self._faults: list[Fault] = []
        self._last_in = self._last_out = self._last_pong = time.monotonic()
        self._incoming: deque[float] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    # -- what the exchange says ---------------------------------------------------------------------------------------

    def push(self, text: bytes, symbol: str = "", stream: str = "") -> None:
        """Sends a message that nobody asked for: faults may change it."""
        if self._faults:
            for fault in self._faults:
                if fault.aims_at(self.exchange, self.endpoint, symbol, stream, self.number):
                    fault.count -= 1
                    if fault.count <= 0:
                        self._faults.remove(fault)
                    self.sim.note("fault hits", fault=fault.kind, connection=self.number, symbol=symbol, stream=stream)
                    if not self._misbehave(fault, text):
                        return
                    break
        self._put(text)
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._put(kept)

    def reply(self, message: dict[str, Any] | bytes) -> None:
        """Answers a request."""
        self._put(message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode())

    def ping(self, payload: bytes) -> None:
        """A ping frame."""
        self._out.append((WSMsgType.PING, payload))
        self._wake.set()

    def _put(self, text: bytes) -> None:
        if self.closed:
            return
        self._out.append((WSMsgType.TEXT, text))
        if len(self._out) > MAX_WAITING:
            self.sim.note("too slow", connection=self.number)
            self.cut()
            return
        self._drained.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Waits until not much is waiting to be sent, if the connection is not being held up on purpose."""
        held = self._held or time.monotonic() < self._hold_until
        if len(self._out) > 512 and not self.closed and not held and not self._rate:
            with contextlib.suppress(TimeoutError):  # one client that takes nothing must not stop the exchange
                async with asyncio.timeout(1.0):
                    await self._drained.wait()

    @property
    def waiting(self) -> int:
        """Messages not yet handed to the network."""
        return len(self._out)

    def _misbehave(self, fault: Fault, text: bytes) -> bool:
        """Carries out a fault on one message; whether the message itself still goes out."""
        if fault.kind == "gap":
            return False
        if fault.kind == "duplicate":
            self._put(text)
        elif fault.kind == "reorder":
            if self._kept is None:
                self._kept = text
                return False
        elif fault.kind == "garbage":
            if fault.replace:
                self._put(text[: len(text) // 2])
                return False
            self._put(_GARBAGE[self.sent % len(_GARBAGE)])
        return True

    def fault(self, fault: Fault) -> None:
        """Takes a fault on: now, or at the next messages."""
        if fault.kind in WIRE:
            self._faults.append(Fault(**vars(fault)))
            return
        if fault.kind not in CONNECTION:
            return
        now = time.monotonic()
        until = now + fault.seconds if fault.seconds else float("inf")
        if fault.kind == "delay":
            self._hold_until = max(self._hold_until, now + fault.seconds)
        elif fault.kind == "stall":
            self._hold_until = self._deaf_until = until
        elif fault.kind == "slow":
            self._rate = (max(fault.rate, 1.0), until)
        elif fault.kind == "cut":
            self.cut(middle=fault.middle)
        elif fault.kind == "close":
            self.close(1008, b"disconnected")
        self._wake.set()

    def hold(self, on: bool) -> None:
        """Keeps back what is sent, or lets it go unless a fault keeps it back as well."""
        self._held = on
        self._wake.set()

    # -- ends ---------------------------------------------------------------------------------------------------------

    def cut(self, *, middle: bool = False) -> None:
        """Drops the connection without a closing handshake, if asked in the middle of a frame."""
        if self.closed:
            return
        self.closed = True
        transport = self.request.transport
        if transport is not None:
            if middle:
                text = next(
                    (item[1] for item in self._out if item[0] is WSMsgType.TEXT), b'{"e":"depthUpdate","E":17231'
                )
                frame = b"\x81" + _length(len(text) * 2) + text
                with contextlib.suppress(Exception):
                    transport.write(frame)
                transport.close()
            else:
                transport.abort()
        self._finish()

    def close(self, code: int, reason: bytes = b"") -> None:
        """Closes the connection with a closing frame, once what is waiting has gone."""
        if not self.closed:
            self._out.append((WSMsgType.CLOSE, struct.pack("!H", code) + reason))
            self._wake.set()

    def _finish(self) -> None:
        self._out.clear()
        self._drained.set()
        self._wake.set()
        for task in self._tasks:
            task.cancel()

    # -- running ------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]] | Callable[[], None]) -> None:
        """Does something on this connection later, unless it has ended by then."""

        async def wait() -> None:
            if seconds > 0:
                await asyncio.sleep(seconds)
            if not self.closed:
                with self._answering():
                    result = work()
                    if result is not None:
                        await result

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(
        self, on_text: Callable[[Peer, bytes], None], on_open: Callable[[Peer], None]
    ) -> web.WebSocketResponse:
        """Serves the connection until it ends."""
        await self.ws.prepare(self.request)
        writer = asyncio.get_running_loop().create_task(self._write())
        keeper = asyncio.get_running_loop().create_task(self._keep())
        try:
            on_open(self)
            async for message in self.ws:
                self._last_in = time.monotonic()
                if message.type is WSMsgType.PONG:
                    self._last_pong = self._last_in
                if self._too_many():
                    self.sim.note("too many messages", connection=self.number)
                    self.close(1008, b"Too many requests")
                    continue
                if message.type is WSMsgType.PING:
                    if self._deaf_until <= self._last_in:
                        self._out.append((WSMsgType.PONG, message.data))
                        self._wake.set()
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.received += 1
                    text = message.data
                    with self._answering():
                        on_text(self, text.encode() if isinstance(text, str) else bytes(text))
        finally:
            self.closed = True
            self._finish()
            for task in (writer, keeper):
                task.cancel()
            await asyncio.gather(writer, keeper, return_exceptions=True)
        return self.ws

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """A defect of ours is told, and ends this connection with a reason instead of leaving a request unanswered."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.sim.defect(f"{self.exchange} {self.endpoint}, connection {self.number}", error)
            self.close(1011, b"internal error")

    def _too_many(self) -> bool:
        if not self.health.per_second or not self.sim.limits:
            return False
        now = time.monotonic()
        self._incoming.append(now)
        while now - self._incoming[0] > 1:
            self._incoming.popleft()
        return len(self._incoming) > self.health.per_second

    async def _write(self) -> None:
        out, ws = self._out, self.ws
        try:
            while not ws.closed:
                while not out:
                    self._drained.set()
                    self._wake.clear()
                    await self._wake.wait()
                    if self.closed:
                        return
                now = time.monotonic()
                if self._held or self._hold_until > now:
                    self._wake.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0 if self._held else min(self._hold_until - now, 1.0)):
                            await self._wake.wait()
                    continue
                kind, data = out.popleft()
                if kind is WSMsgType.CLOSE:
                    await ws.close(code=struct.unpack("!H", data[:2])[0], message=data[2:])
                    self.closed = True
                    return
                if self._rate is not None:
                    rate, until = self._rate
                    if now >= until:
                        self._rate = None
                    else:
                        await asyncio.sleep(len(data) / rate)
                if kind is WSMsgType.TEXT:
                    await self._texts(data)
                else:
                    await ws.send_frame(data, kind)
                self._last_out = time.monotonic()
                if len(out) < 256:
                    self._drained.set()
        except (ConnectionError, RuntimeError, asyncio.CancelledError):
            self.closed = True
            self._drained.set()
        except Exception as error:  # noqa: BLE001 - nothing goes out any more: it must not look like silence
            self.sim.defect(f"{self.exchange} {self.endpoint}, connection {self.number}", error)
            self.cut()

    async def _texts(self, first: bytes) -> None:
        """Writes a text frame, and those that wait behind it with it: one system call for many."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        out = self._out
        frames = bytearray(b"\x81" + _length(len(first)) + first)
        self.sent += 1
        while out and out[0][0] is WSMsgType.TEXT and len(frames) < 65536 and self._rate is None:
            text = out.popleft()[1]
            frames += b"\x81" + _length(len(text)) + text
            self.sent += 1
        transport.write(bytes(frames))
        while transport.get_write_buffer_size() > 1 << 18:  # the client is slower than we are
            await asyncio.sleep(0.001)
            if transport.is_closing():
                raise ConnectionResetError

    async def _keep(self) -> None:
        """Pings, and ends what is too old, deaf or idle."""
        health = self.health
        next_ping = self.opened + health.ping
        while not self.closed:
            now = time.monotonic()
            due = [
                t
                for t in (
                    next_ping if health.ping else 0,
                    self.opened + health.life if health.life else 0,
                    max(self._last_pong, self._last_in if not health.pong else 0) + health.pong if health.pong else 0,
                    max(self._last_in, self._last_out) + health.idle if health.idle else 0,
                )
                if t
            ]
            if not due:
                return
            await asyncio.sleep(max(min(due) - now, 0.001))
            now = time.monotonic()
            if health.ping and now >= next_ping:
                next_ping = now + health.ping
                self.ping(str(self.sim.exchange(self.exchange).now_ms()).encode())
            if health.life and now >= self.opened + health.life:
                self.sim.note("24 hours are over", connection=self.number)
                self.close(1008, b"disconnected")
                return
            if health.pong and now >= self._last_pong + health.pong:
                self.sim.note("no pong", connection=self.number)
                self.close(1008, b"Pong timeout")
                return
            if health.idle and now >= max(self._last_in, self._last_out) + health.idle:
                self.sim.note("idle", connection=self.number)
                self.close(4004, b"No data received in 30s.")
                return


def _length(size: int) -> bytes:
    """A frame's length field."""
    if size < 126:
        return bytes([size])
    return b"\x7e" + struct.pack("!H", size) if size < 65536 else b"\x7f" + struct.pack("!Q", size)
