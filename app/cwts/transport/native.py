"""WebSockets natively: picows on asyncio does what a session asks for and hands messages to the engines as bytes.

Owns sockets, TLS, HTTP requests, the clock and the timers of one session. A message goes from the socket's buffer
straight into the frame buffer of its engine (no `str`, no object per level) and is fed before the next read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Executor, Future
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from picows import WSCloseCode, WSFrame, WSHandshakeError, WSInvalidURL, WSListener, WSMsgType, WSTransport, ws_connect

from cwts import __version__
from cwts.errors import CwtsError, InputError
from cwts.exchanges.base import NOTEWORTHY, SECOND, Close, Fail, Fetch, Note, Open, Reset, Send
from cwts.kernel import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cwts.exchanges.base import Session
    from cwts.transport.sink import Sink

TICK_S = 0.05
TIMER_NS = SECOND  # a timer frame after this much silence: staleness and holding times need time to pass
MAX_MESSAGE = 32 << 20
MAX_ANSWER = 64 << 20
HTTP_TIMEOUT_S = 10.0
USER_AGENT = f"cwts/{__version__}"


def clock() -> Callable[[], int]:
    """Nanoseconds since 1970 that never go back: the wall clock once, a monotonic one from then on.

    One that goes on while the machine sleeps: what was said before is old then, connections have been silent for as
    long, and 24 hours are the exchange's. Python's own (`time.monotonic`) stands still on Linux and macOS meanwhile.
    """
    kind = time.CLOCK_MONOTONIC if sys.platform == "darwin" else getattr(time, "CLOCK_BOOTTIME", None)
    if kind is None:
        monotonic = time.monotonic_ns
        base = time.time_ns() - monotonic()
        return lambda: base + monotonic()
    ticks = time.clock_gettime_ns
    base = time.time_ns() - ticks(kind)
    return lambda: base + ticks(kind)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Certificates are always verified; `ca_file` names further authorities. Raises InputError."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or error
            raise InputError(f"{ca_file}: no certificates in PEM can be read ({why})") from error
    return context


def explain(error: BaseException, url: str) -> tuple[str, bool]:
    """Why a connection failed, in one line, and whether trying again is hopeless."""
    parts = urlsplit(url)
    host = parts.hostname or url
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate of {host} is not accepted: {error.verify_message}", True
    if isinstance(error, ssl.SSLError):
        return f"TLS failed with {host}: {error.reason or error}", True
    if isinstance(error, socket.gaierror):
        return f"there is no host {host} ({error.strerror})", True
    if isinstance(error, TimeoutError):
        return f"no answer from {host}", False
    if isinstance(error, ConnectionRefusedError):
        return (
            f"{host} refuses connections at port {parts.port or (443 if parts.scheme in ('wss', 'https') else 80)}",
            False,
        )
    if isinstance(error, WSHandshakeError):
        status = int(error.response.status) if error.response is not None else 0
        if status == 451:
            return f"{host} does not serve this place (HTTP 451)", True
        if status:
            return f"{host} answers HTTP {status} to a WebSocket request", status in (400, 401, 403, 404, 410)
        return f"{host} broke off the WebSocket handshake ({error})", False
    if isinstance(error, WSInvalidURL):
        return f"not a WebSocket address: {url}", True
    if isinstance(error, OSError):
        return f"{host}: {error.strerror or error}", False
    return f"{host}: {type(error).__name__}: {error}", False


class Answer(NamedTuple):
    """An HTTP answer; `retry_ns`: how long the server asks us to wait."""

    status: int
    body: bytes
    retry_ns: int = 0


def retry_after(header: str | None) -> int:
    """The header Retry-After (seconds, or a date) in nanoseconds; 0 where there is none."""
    text = (header or "").strip()
    if text.isdecimal():
        return int(text[:9]) * SECOND
    try:
        return max(0, int((parsedate_to_datetime(text).timestamp() - time.time()) * SECOND))
    except (ValueError, TypeError):
        return 0


def fetch(url: str, context: ssl.SSLContext | None = None) -> Answer:
    """GET: the answer, also an error's. Raises OSError."""
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S, context=context) as answer:
            return Answer(int(answer.status), answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(int(error.code), error.read(MAX_ANSWER), retry_after(error.headers.get("Retry-After")))


class _Threads(Executor):
    """A thread for each call, for which nobody waits: a host that never answers does not keep a program from ending."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls it in a thread of its own."""
        future: Future[Any] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - who waits for the result is to have it
                    future.set_exception(error)

        threading.Thread(target=work, name="request", daemon=True).start()
        return future


async def ask(url: str, context: ssl.SSLContext | None = None) -> Answer:
    """`fetch` without blocking; may be cancelled at any time. Raises OSError, ValueError or HTTPException."""
    return await asyncio.get_running_loop().run_in_executor(_Threads(), fetch, url, context)


class _Listener(WSListener):
    """One socket of a host."""

    def __init__(self, host: NativeHost, link: int) -> None:
        self._host = host
        self._link = link
        self.connected = False
        self._parts = bytearray()  # of a fragmented message

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self.connected = True
        self._host.on_connected(self._link, transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A WebSocket frame came."""
        try:
            self._frame(transport, frame)
        except Exception as error:  # noqa: BLE001 - a defect of ours must end the run, not look like a lost connection
            self._host.crash(error)

    def _frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        host, link = self._host, self._link
        if kind == WSMsgType.TEXT and frame.fin:
            host.on_message(link, frame.get_payload_as_memoryview())
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._parts += frame.get_payload_as_memoryview()
            if frame.fin:
                host.on_message(link, memoryview(self._parts))
                self._parts = bytearray()
            elif len(self._parts) > MAX_MESSAGE:
                transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
                transport.disconnect()
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            host.on_ping(link)
        elif kind == WSMsgType.CLOSE:
            host.closing[link] = _close_reason(frame)
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer:
            host.flush()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        del transport
        self._host.on_disconnected(self._link)


def _close_reason(frame: WSFrame) -> str:
    code = int(frame.get_close_code().value)
    try:
        text = frame.get_close_reason() or ""
    except ValueError:
        text = ""
    return f"the server closed the connection (code {code}{': ' + text if text else ''})"


class NativeHost:
    """Drives one session: `sinks[i]` is the way into the engine of its instrument i.

    `on_events(i, bits)` is called after every batch. `log(level, text)` gets what a person may want to read.
    """

    def __init__(
        self,
        session: Session,
        sinks: Sequence[Sink],
        now: Callable[[], int],
        *,
        context: ssl.SSLContext | None = None,
        on_events: Callable[[int, int], None] | None = None,
        log: Callable[[str, str], None] | None = None,
    ) -> None:
        self.session = session
        self.sinks = sinks
        self.closing: dict[int, str] = {}
        self.messages = 0
        self._told_ns = [0] * len(sinks)  # when each engine last got a message or a timer
        self._now = now
        self._context = context or tls_context()
        self._on_events = on_events
        self._log = log
        self._streams: dict[int, int] = {}
        self._transports: dict[int, WSTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._dirty: set[int] = set()
        self._ended: asyncio.Future[None] | None = None
        self._working = False
        session.held = lambda index: sinks[index].engine.position()

    async def run(self) -> None:
        """Runs until `stop` is called or the session fails. Raises CwtsError or InputError."""
        self._ended = asyncio.get_running_loop().create_future()
        ticker = asyncio.create_task(self._tick())
        try:
            self.session.start(self._now())
            self._work()
            await self._ended
        finally:
            ticker.cancel()
            self.session.stop(self._now())
            self._work()
            self.flush()
            for task in list(self._tasks):
                task.cancel()
            for transport in list(self._transports.values()):
                transport.disconnect(False)
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Makes `run` return, after everything that came has been fed."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def crash(self, error: BaseException) -> None:
        """Makes `run` raise."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def command(self, op: int, value: int = 0) -> None:
        """An instruction to all engines: HALT, RESUME."""
        for index, sink in enumerate(self.sinks):
            sink.command(self._now(), op, value)
            self._dirty.add(index)
        self.flush()

    def resume(self) -> None:
        """The consumer is free again: feeds what waits, or starts over where frames were dropped."""
        for index, sink in enumerate(self.sinks):
            sink.resume()
            if sink.overflowed:
                self.session.overflowed(self._now(), index)
            self._dirty.add(index)
        self._work()
        self.flush()

    # -- what sockets tell ------------------------------------------------------------------------------------------

    def on_connected(self, link: int, transport: WSTransport) -> None:
        """A socket is open."""
        self._transports[link] = transport
        self.session.opened(self._now(), link)
        self._work()

    def on_message(self, link: int, payload: memoryview) -> None:
        """A message came."""
        now = self._now()
        self.messages += 1
        for instrument in self.session.message(now, link, payload):
            self._push(now, link, instrument, payload)
        if self.session.actions:
            self._work()

    def on_ping(self, link: int) -> None:
        """The server asked whether we live; the answer has been sent."""
        self.session.alive(self._now(), link)

    def on_disconnected(self, link: int) -> None:
        """A socket is gone."""
        if self._transports.pop(link, None) is None:
            return
        self.session.closed(self._now(), link, self.closing.pop(link, "the connection was cut"))
        self._work()
        self.flush()

    def flush(self) -> None:
        """Feeds what waits, and tells the session what the kernels said."""
        while self._dirty:
            index = self._dirty.pop()
            sink = self.sinks[index]
            events = sink.flush()
            if events & NOTEWORTHY:
                self.session.events(self._now(), index, events, synced=sink.synced)
                self._work()
            if events and self._on_events is not None:
                self._on_events(index, events)

    # -- what the session wants -------------------------------------------------------------------------------------

    def _push(self, now: int, link: int, instrument: int, payload: bytes | memoryview) -> None:
        sink = self.sinks[instrument]
        sink.push(now, self._streams.get(link, 0), payload)
        self._told_ns[instrument] = now
        self._dirty.add(instrument)
        if sink.overflowed and not sink.paused:
            self.session.overflowed(now, instrument)

    def _work(self) -> None:
        """Carries out the session's actions, also those that follow from them."""
        if self._working:
            return
        self._working = True
        try:
            while self.session.actions:
                for action in self.session.take():
                    self._do(action)
        finally:
            self._working = False

    def _do(self, action: object) -> None:
        if isinstance(action, Send):
            transport = self._transports.get(action.link)
            if transport is not None:
                transport.send(WSMsgType.TEXT, action.text.encode())
        elif isinstance(action, Reset):
            self.sinks[action.instrument].command(self._now(), layout.CommandOp.RESET_BOOK)
            self._dirty.add(action.instrument)
        elif isinstance(action, Open):
            self._streams[action.link] = action.stream
            self._connecting[action.link] = self._spawn(self._connect(action.link, action.url))
        elif isinstance(action, Close):
            self._close(action.link)
        elif isinstance(action, Fetch):
            self._spawn(self._fetch(action.request, action.url))
        elif isinstance(action, Note):
            if self._log is not None:
                self._log(action.level, action.text)
        elif isinstance(action, Fail):
            self.crash(InputError(action.text) if action.bad_input else CwtsError(action.text))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _close(self, link: int) -> None:
        task = self._connecting.pop(link, None)
        if task is not None:
            task.cancel()
        transport = self._transports.pop(link, None)
        self._streams.pop(link, None)
        if transport is not None:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect(False)

    async def _connect(self, link: int, url: str) -> None:
        listener = _Listener(self, link)
        try:
            await ws_connect(
                lambda: listener,
                url,
                ssl_context=self._context,
                websocket_handshake_timeout=self.session.policy.connect_timeout_ns / SECOND,
                enable_auto_pong=False,
                max_frame_size=MAX_MESSAGE,
                extra_headers={"User-Agent": USER_AGENT},
                logger_name="cwts",
            )
            if not listener.connected:  # picows returns as if all were well
                raise ConnectionResetError(None, "the connection was cut during the handshake")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a connection dies of is told in one line
            why, hopeless = explain(error, url)
            answer = error.response if isinstance(error, WSHandshakeError) else None
            wait = retry_after(answer.headers.get("Retry-After")) if answer is not None else 0
            self._transports.pop(link, None)
            self.session.closed(self._now(), link, why, hopeless=hopeless, retry_ns=wait)
            self._work()
            self.flush()
        finally:
            self._connecting.pop(link, None)

    async def _fetch(self, request: int, url: str) -> None:
        status, body, wait, why = 0, b"", 0, ""
        try:
            status, body, wait = await ask(url, self._context)
        except Exception as error:  # noqa: BLE001 - as above
            why = explain(error, url)[0]
        now = self._now()
        for instrument in self.session.fetched(now, request, status, body, why, retry_ns=wait):
            self.sinks[instrument].push(now, 14, body)
            self._told_ns[instrument] = now
            self._dirty.add(instrument)
        self._work()
        self.flush()

    async def _tick(self) -> None:
        """Timers: the session's, and time for the engines where no message brings it."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                now = self._now()
                self.session.tick(now)
                self._work()
                for index, sink in enumerate(self.sinks):
                    if now - self._told_ns[index] >= TIMER_NS:
                        self._told_ns[index] = now
                        sink.timer(now)
                        self._dirty.add(index)
                self.flush()
            except Exception as error:  # noqa: BLE001 - a defect here must end the run, not only the timer
                self.crash(error)
                return
