"""The simulated exchanges on one port of this machine: where clients connect, how time passes, and how faults are
told.

Owns sockets, the replay's pace and the control port. A client is sent to its exchange by the host it asked for, by an
exchange's name in front of the path (`/binance-usdm/public/ws/…`), or by the path alone where only one exchange has
it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from aiohttp import web

from cwts.errors import CwtsError, InputError
from cwts.instruments import Instrument, decimals_of, guess_instrument, parse_instrument
from cwts.simulator.accounts import Accounts
from cwts.simulator.binance import Binance
from cwts.simulator.book import number, plain
from cwts.simulator.exchange import Exchange, Market
from cwts.simulator.faults import ARMED, CONNECTION, EXCHANGES, KINDS, WIRE, Armed, Fault, parse_fault
from cwts.simulator.okx import Okx
from cwts.simulator.rows import instrument_row
from cwts.simulator.strict_json import loads, shown
from cwts.simulator.tape import Tape
from cwts.simulator.wire import MAX_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from pathlib import Path

    from cwts.simulator.wire import Peer

_log = logging.getLogger(__name__)
_http_log = logging.getLogger(f"{__name__}.http")  # of aiohttp: a traceback for each client that speaks no HTTP …
_http_log.setLevel(logging.CRITICAL)  # … and is answered 400; defects of ours are told by `defect`
Default = TypeVar("Default")

MAX_BURST = MAX_WAITING - 50_000  # what the streams that are derived from a message add must fit too
MAX_PACE = 1e9  # times as fast, or messages a second
MAX_HOLD_S = 15.0  # a client would rightly take a longer silence for a dead connection

HOSTS = {
    "stream.binance.com": "binance",
    "data-stream.binance.vision": "binance",
    "ws-api.binance.com": "binance",
    "api.binance.com": "binance",
    "data-api.binance.vision": "binance",
    "fstream.binance.com": "binance-usdm",
    "ws-fapi.binance.com": "binance-usdm",
    "fapi.binance.com": "binance-usdm",
    "dstream.binance.com": "binance-coinm",
    "ws-dapi.binance.com": "binance-coinm",
    "dapi.binance.com": "binance-coinm",
    "ws.okx.com": "okx",
    "wspap.okx.com": "okx",
    "www.okx.com": "okx",
    "openapi.okx.com": "okx",
}
_PATHS = (
    ("/ws-api/", "binance"),
    ("/api/v3/", "binance"),
    ("/sapi/", "binance"),
    ("/ws-fapi/", "binance-usdm"),
    ("/fapi/", "binance-usdm"),
    ("/public", "binance-usdm"),
    ("/market", "binance-usdm"),
    ("/private", "binance-usdm"),
    ("/ws-dapi/", "binance-coinm"),
    ("/dapi/", "binance-coinm"),
    ("/ws/v5/", "okx"),
    ("/api/v5/", "okx"),
)
ENDPOINTS = {
    ("binance", "stream"): "",
    ("binance", "ws-api"): "/ws-api/v3",
    ("binance-usdm", "public"): "/public",
    ("binance-usdm", "market"): "/market",
    ("binance-usdm", "private"): "/private",
    ("binance-usdm", "ws-api"): "/ws-fapi/v1",
    ("binance-coinm", "stream"): "",
    ("binance-coinm", "ws-api"): "/ws-dapi/v1",
    ("okx", "public"): "/ws/v5/public",
    ("okx", "private"): "/ws/v5/private",
    ("okx", "business"): "/ws/v5/business",
}


class Simulator:
    """Recordings served as exchanges. `async with Simulator([…]) as sim:` runs it on a free port of 127.0.0.1.

    `speed` is how many times faster than recorded (0: as fast as the clients take it), `clock` whether the exchanges
    tell this machine's time or the recording's, `start` when the replay begins: "now", with the "first" subscription,
    or on "command" (`play()`). `rate`, if not 0, is messages a second instead of the recording's own pace. `compress`
    divides the 24 hours, the ping intervals and the like. Raises InputError.
    """

    def __init__(
        self,
        captures: Sequence[str | Path | bytes],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        speed: float = 1.0,
        rate: float = 0.0,
        clock: Literal["now", "recorded"] = "now",
        start: Literal["now", "first", "command"] = "now",
        loop: bool = False,
        lines: int = 0,
        latency_ms: float = 0.0,
        compress: float = 1.0,
        limits: bool = True,
        checksums: bool = False,
        instruments: Iterable[str | Path] = (),
        balances: dict[str, str] | None = None,
        faults: Iterable[Fault] = (),
        seed: int = 0,
    ) -> None:
        if not (speed >= 0 and rate >= 0 and compress > 0 and latency_ms >= 0):
            raise InputError("speed, rate and latency must not be negative, and compress must be above 0")
        self.tape = Tape(captures, limit=lines)
        self.host, self.port = host, port
        self.tls = tls
        self.pace = speed
        self.rate = rate
        self._unpaused = asyncio.Event()
        self._unpaused.set()
        self.clock = clock
        self.start_when = start
        self.loop = loop
        self.latency_s = latency_ms / 1000
        self.compress = compress
        self.limits = limits
        self.checksums = checksums
        self.seed = seed
        self.armed = Armed()
        self.events: list[dict[str, Any]] = []
        self._forgotten = 0  # events that came before these
        self.played = 0  # messages of the tape
        self.finished = asyncio.Event()
        self.failed = asyncio.Event()  # something in here has ended that must not: `error` says what
        self.error = ""
        self.defects: list[str] = []  # what could not be answered because of a defect of ours, a line each
        self._files = [(path, _json(path)) for path in instruments]
        self._script = sorted(faults, key=lambda fault: (fault.at or 0.0, fault.message or 0))
        self._connections = 0
        self._go = asyncio.Event()
        self._restarting = False
        self._back_at = 0.0  # monotonic; when a restart is over
        self._origin: float | None = None  # monotonic; where the tape's (or the rate's) zero lies at the present pace
        self._in_step = 0  # messages since that zero, at a rate
        self._burst = 0  # messages that are still to be made while all connections are held
        self._burst_is_due = False  # it has not begun
        self._held_until = 0.0  # monotonic; 0: they are not
        self._tasks: list[asyncio.Task[None]] = []
        self._cause: CwtsError | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._began = time.monotonic()
        self._replay_began = 0.0
        self.accounts = Accounts(balances)
        self._exchanges: dict[str, Exchange] = {}
        for name, symbol in self.tape.seen:
            if name not in self._exchanges:
                self._exchanges[name] = Okx(self) if name == "okx" else Binance(self, name)
            self.open_market(name, symbol)

    # -- running ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._skip_to_start()
        server = web.Application(client_max_size=1 << 20)
        server.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            server, access_log=None, logger=_http_log, handle_signals=False, shutdown_timeout=0.2
        )
        await self._runner.setup()
        try:
            await self._listen()
        except InputError:
            await self._runner.cleanup()
            raise
        self._began = time.monotonic()
        self._start(self._replay(), "the replay")
        self._start(self._seconds(), "what happens every second")
        if self.start_when == "now":
            self.play()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        running = set(self._tasks)
        while running:  # CPython 3.11 can lose a cancellation that meets the end of a wait_for
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=0.2)
        for exchange in self._exchanges.values():
            for peer in list(exchange.peers.values()):
                peer.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._cause is not None:
            raise self._cause

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Runs something beside the clients' requests. If it dies, nothing that is served afterwards can be trusted."""

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is None or self._cause is not None:
                return
            message = error if isinstance(error, CwtsError) else f"{type(error).__name__}: {error}"
            self.error = f"{what} stopped at message {self.played:,}: {message}"
            self._cause = (type(error) if isinstance(error, CwtsError) else CwtsError)(self.error)
            self._cause.__cause__ = error
            self.note("failed", error=self.error)
            self.failed.set()
            self.finished.set()  # no more will come: nobody is to wait for it

        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(ended)
        self._tasks.append(task)

    def defect(self, where: str, error: Exception) -> None:
        """Says at once that something of ours failed, where the exchanges can go on."""
        line = f"{where}: a defect of the simulator: {type(error).__name__}: {error}"
        self.defects.append(line)
        self.note("defect", error=line)
        _log.error("cwts: %s", " ".join(line.split()), exc_info=bool(os.environ.get("CWTS_TRACEBACK")))

    async def _listen(self) -> None:
        assert self._runner is not None
        try:
            self._site = web.TCPSite(
                self._runner, self.host, self.port, ssl_context=self.tls, reuse_address=True, backlog=512
            )
            await self._site.start()
        except OSError as error:
            raise InputError(f"cannot listen on {self.host}:{self.port}: {error.strerror or error}") from error
        if not self.port:
            self.port = self._runner.addresses[0][1]

    def play(self) -> None:
        """Starts the replay, if it has not started."""
        if not self._go.is_set():
            self._replay_began = time.monotonic()
            self._go.set()

    def subscribed(self) -> None:
        """Someone listens."""
        if self.start_when == "first":
            self.play()

    # -- the tape -----------------------------------------------------------------------------------------------------

    def _skip_to_start(self) -> None:
        """Plays what lies before the start without sending it: the markets open with a book."""
        self._pending = iter(self.tape)
        self._next: tuple[float, Any] | None = None
        for due, message in self._pending:
            if due > 0:
                self._next = due, message
                break
            self._exchanges[message.exchange].play(message)

    async def _replay(self) -> None:
        await self._go.wait()
        while True:
            due = 0.0
            self._origin = time.monotonic()
            self._in_step = 0
            while self._next is not None:
                due, message = self._next
                await self._turn(due)
                exchange = self._exchanges[message.exchange]
                exchange.tape_s = due
                if self._script:
                    self._due_faults(due)
                self.played += 1
                exchange.play(message)
                self._next = next(self._pending, None)
            if not self.loop:
                break
            for exchange in self._exchanges.values():
                exchange.rewind(due)
            self._pending = ((when, message) for when, message in self.tape if when > 0)
            self._next = next(self._pending, None)
            await asyncio.sleep(0)
            if self._next is None:
                break
        self._hold(False)
        self.note("the recording is over", messages=self.played)
        for fault in self._script:
            if fault.message is None:
                await asyncio.sleep(max(0.0, self._replay_began + (fault.at or 0.0) - time.monotonic()))
                self.fault(fault)
        self._script = []
        self.finished.set()

    async def _turn(self, due: float) -> None:
        """Waits until the next message is due."""
        await self._unpaused.wait()
        if self._burst:
            if self._burst_is_due:
                self._burst_is_due = False
                self._hold(True)
            self._burst -= 1
            if not self._burst or (self._held_until and time.monotonic() > self._held_until):
                self._hold(False)
            if not self._burst:
                self._origin, self._in_step = None, 0  # the tape goes on from where the burst left it
            if self.played % 256 == 0:
                await asyncio.sleep(0)
        elif self.rate or self.pace:
            while True:
                now = time.monotonic()
                at = self._in_step / self.rate if self.rate else due / self.pace if self.pace else 0.0
                if self._origin is None:
                    self._origin = now - at
                wait = self._origin + at - now
                if wait <= 0.0005:
                    break
                await asyncio.sleep(min(wait, 0.25))  # the pace may change meanwhile
            self._in_step += 1
            if self.played % 64 == 0:
                await asyncio.sleep(0)
        elif self.played % 16 == 0:
            await asyncio.sleep(0)
            await self._taken()

    def set_pace(
        self, *, speed: float | None = None, rate: float | None = None, paused: bool | None = None, burst: int = 0
    ) -> None:
        """Changes how fast the tape plays. `speed` ends a `rate`.

        `burst`: so many messages are made without any wait while nothing is sent, and then sent at once, as fast as
        the clients' sockets take them; what 15 s are too short for follows without a wait. Raises InputError.
        """
        if not (speed is None or 0 <= speed <= MAX_PACE) or not (rate is None or 0 < rate <= MAX_PACE):
            raise InputError(f"a speed from 0 and a rate above 0 are possible, both up to {MAX_PACE:,.0f}")
        if not 0 <= burst <= MAX_BURST:
            raise InputError(f"a burst of 1 to {MAX_BURST:,} messages is possible, not {burst}")
        if burst and self.finished.is_set():
            raise InputError("no burst is possible any more: the recording is over")
        if speed is not None:
            self.pace, self.rate = speed, 0.0
        if rate is not None:
            self.rate = rate
        if paused is not None:
            (self._unpaused.clear if paused else self._unpaused.set)()
        if paused:
            self._hold(False)  # a pause in a burst is no reason to keep clients waiting
        self._origin, self._in_step = None, 0
        if burst:
            self._burst, self._burst_is_due = burst, True  # it begins with the next message: perhaps with the replay
        self.note("pace", speed=self.pace, rate=self.rate, paused=not self._unpaused.is_set(), burst=burst)

    def _hold(self, on: bool) -> None:
        self._held_until = time.monotonic() + MAX_HOLD_S if on else 0.0
        for exchange in self._exchanges.values():
            for peer in exchange.peers.values():
                peer.hold(on)

    async def _taken(self) -> None:
        """Waits for the clients, so that "as fast as they take it" overruns nobody."""
        for exchange in self._exchanges.values():
            for peer in list(exchange.peers.values()):
                await peer.drained()

    def _due_faults(self, tape_s: float) -> None:
        """Faults are due in seconds of the tape when it has no pace of its own, else in real ones."""
        now = tape_s if not self.pace else time.monotonic() - self._replay_began
        due = [
            fault
            for fault in self._script
            if (fault.message is not None and fault.message <= self.played)
            or (fault.message is None and (fault.at or 0.0) <= now)
        ]
        for fault in due:
            self._script.remove(fault)
            self.fault(fault)

    async def _seconds(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for exchange in self._exchanges.values():
                exchange.every_second()

    # -- markets ------------------------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """One exchange. Raises InputError."""
        if name not in self._exchanges:
            raise InputError(f"the recordings have nothing of {name}: they have {', '.join(self._exchanges)}")
        return self._exchanges[name]

    @property
    def exchanges(self) -> tuple[str, ...]:
        """The names of those there are."""
        return tuple(self._exchanges)

    def open_market(self, name: str, symbol: str) -> Market:
        """Adds an instrument, with what the instruments files or the recording tell of it."""
        exchange = self._exchanges[name]
        seen = self.tape.seen.get((name, symbol))
        price_decimals = max((decimals_of(number(t)) for t in seen.prices), default=2) if seen else 2
        qty_decimals = max((decimals_of(number(t)) for t in seen.quantities), default=0) if seen else 0
        instrument: Instrument | None = None
        row: dict[str, Any] = {}
        for path, data in self._files:
            try:
                instrument = parse_instrument(data, name, symbol, name=str(path))
            except InputError:
                continue
            row = _row(data, symbol)
            break
        if instrument is None:
            instrument = guess_instrument(name, symbol, price_decimals, qty_decimals)
            instrument = replace(instrument, min_qty=instrument.lot_size)
        market = Market(name, symbol, instrument, instrument_row(instrument, row, len(exchange.markets)))
        if seen:
            market.kinds = seen.kinds
        exchange.markets[symbol] = market
        exchange.open_desk(market)
        return market

    def has_snapshot(self, name: str, symbol: str) -> bool:
        """Whether the recording is known to have a snapshot of this book."""
        seen = self.tape.seen.get((name, symbol))
        return bool(seen and seen.first_snapshot_ns)

    def book(self, exchange: str, symbol: str, depth: int | None = None) -> dict[str, Any]:
        """The exchange's own book now: `id`, `bids` and `asks` as sent (best first), `sha256` as of `cwts replay`.

        Prices and quantities are plain decimals. Raises InputError.
        """
        market = self.exchange(exchange).markets.get(symbol.upper())
        if market is None:
            raise InputError(f"{exchange} has no {symbol}: it has {', '.join(self.exchange(exchange).markets)}")
        bids, asks, last_id = market.snapshot(depth)
        return {
            "exchange": exchange,
            "symbol": market.symbol,
            "id": last_id,
            "updates": market.updates,
            "ready": market.ready,
            "sha256": market.book.sha256(),
            "bids": [[plain(number(level[0])), plain(number(level[1]))] for level in bids],
            "asks": [[plain(number(level[0])), plain(number(level[1]))] for level in asks],
        }

    # -- connections --------------------------------------------------------------------------------------------------

    def url(self, exchange: str, endpoint: str = "rest") -> str:
        """Where a client finds this: "rest" for requests (the paths follow), else a WebSocket's base.

        Binance spot and COIN-M: "stream", "ws-api"; USD-M: "public", "market", "private", "ws-api" (a stream's base is
        followed by /ws/… or /stream?streams=…); OKX: "public", "private", "business".
        """
        secure = "s" if self.tls else ""
        if endpoint == "rest":
            return f"http{secure}://{self._address}/{exchange}"
        path = ENDPOINTS.get((exchange, endpoint))
        if path is None:
            known = ", ".join(end for name, end in ENDPOINTS if name == exchange)
            raise InputError(f"{exchange} has no endpoint {endpoint!r}: it has rest, {known}")
        return f"ws{secure}://{self._address}/{exchange}{path}"

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def control_url(self) -> str:
        """Where /state, /book, /fault and the rest are."""
        return f"http{'s' if self.tls else ''}://{self._address}/control"

    def next_connection(self) -> int:
        """Connections are numbered from 1."""
        self._connections += 1
        return self._connections

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        first, _, rest = path[1:].partition("/")
        if first == "control":
            return await self._control(request, rest)
        if first in EXCHANGES:
            name, path = first, "/" + rest
        else:
            host = (request.host or "").partition(":")[0]
            name = HOSTS.get(host) or next((name for start, name in _PATHS if path.startswith(start)), "")
            if not name:
                name = next((n for n in ("binance", "binance-coinm") if n in self._exchanges), "")
        if name not in self._exchanges:
            raise web.HTTPNotFound(text="Not Found")
        if self._restarting:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        try:
            response = await self._exchanges[name].serve(request, path)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - a client is to be answered whatever it asked
            if request.transport is not None and not request.transport.is_closing():
                self.defect(f"{name} {request.method} {path[:80]!r}", error)
            response = web.json_response(self._exchanges[name].broken, status=500)
        if not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = "*"  # pages may read what REST answers
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        return response

    async def connected(
        self,
        exchange: Exchange,
        peer: Peer,
        on_text: Callable[[Peer, bytes], None],
        on_open: Callable[[Peer], None],
    ) -> web.StreamResponse:
        """Serves one WebSocket, from the handshake to its end."""
        fault = self.armed.take("handshake", exchange.name, peer.endpoint)
        if fault is not None:
            self.note("handshake refused", exchange=exchange.name, endpoint=peer.endpoint, status=fault.status)
            if fault.status:
                headers = {"Retry-After": str(math.ceil(fault.seconds))} if fault.seconds else {}
                return web.Response(status=fault.status, headers=headers)
            transport = peer.request.transport
            if transport is not None:
                transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso")
                transport.close()
            return web.Response(status=503)
        exchange.peers[peer.number] = peer
        self.note("connected", exchange=exchange.name, endpoint=peer.endpoint, connection=peer.number)
        try:
            return await peer.run(on_text, on_open)
        finally:
            exchange.peers.pop(peer.number, None)
            exchange.left(peer)
            self.note("gone", exchange=exchange.name, endpoint=peer.endpoint, connection=peer.number)

    # -- faults -------------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault | str, **options: Any) -> None:
        """Makes a fault happen now: `sim.fault("cut", exchange="okx", middle=True)`. Raises InputError."""
        if isinstance(fault, str):
            fault = parse_fault({"kind": fault, **options})
        self.note("fault", **fault.described())
        if fault.kind in ARMED:
            self.armed.add(fault)
        if fault.kind in WIRE | CONNECTION:
            for exchange in self._exchanges.values():
                for peer in exchange.peers_of(fault):
                    peer.fault(fault)
        if fault.kind == "restart":
            self._start(self._restart(fault), "the restart")
        for exchange in self._exchanges.values():
            if not fault.exchange or fault.exchange == exchange.name:
                exchange.fault(fault)

    async def _restart(self, fault: Fault) -> None:
        self._back_at = max(self._back_at, time.monotonic() + fault.seconds)
        if self._restarting:
            return  # another restart meanwhile: it takes as long as the later of the two
        self._restarting = True
        for exchange in self._exchanges.values():
            for peer in list(exchange.peers.values()):
                peer.cut()
        if self._site is not None:
            await self._site.stop()
        while True:
            await asyncio.sleep(max(0.0, self._back_at - time.monotonic()))
            if time.monotonic() >= self._back_at:
                break
        self._restarting = False
        await self._listen()
        self.note("back")

    def note(self, what: str, **details: Any) -> None:
        """Writes down what happened: `events` is for tests and people."""
        self.events.append({"s": round(time.monotonic() - self._began, 6), "what": what, **details})
        if len(self.events) > 100_000:
            del self.events[:50_000]
            self._forgotten += 50_000

    # -- the control port ---------------------------------------------------------------------------------------------

    async def _control(self, request: web.Request, what: str) -> web.StreamResponse:
        """`state`, `events`, `book?exchange=&symbol=&depth=`, `faults` by GET; `fault`, `play`, `speed` by POST."""
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}
        if request.method == "OPTIONS":
            return web.Response(headers=headers)
        try:
            answer = await self._commanded(request, what)
        except InputError as error:
            return web.json_response({"error": str(error)}, status=400, headers=headers)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_serve`
            self.defect(f"/control/{what[:80]}", error)
            return web.json_response({"error": self.defects[-1]}, status=500, headers=headers)
        return web.json_response(answer, headers=headers)

    async def _commanded(self, request: web.Request, what: str) -> object:
        query = request.query
        if what == "state":
            return self.state()
        if what == "events":
            return self.events[max(0, _whole(query, "from", 0) - self._forgotten) :]
        if what == "faults":
            return {"kinds": KINDS, "armed": self.armed.described(), "script": [f.described() for f in self._script]}
        if what == "book":
            name = query.get("exchange") or next(iter(self._exchanges))
            symbol = query.get("symbol") or next(iter(self.exchange(name).markets))
            return self.book(name, symbol, _whole(query, "depth", None))
        if what in ("fault", "play", "speed") and request.method != "POST":
            raise InputError(f"/control/{what} is asked for with POST")
        if what == "play":
            self.play()
            return self.state()
        if what in ("fault", "speed"):
            try:
                body = loads(await request.read() or b"{}")
            except ValueError as error:
                raise InputError(f"the body is not JSON ({error})") from error
            if what == "fault":
                faults = [parse_fault(item) for item in (body if isinstance(body, list) else [body])]
                for fault in faults:  # all of them, or none
                    self.fault(fault)
                return {"ok": True}
            self.set_pace(**_pace(body))
            return self.state()
        raise InputError(f"there is no /control/{what}: it has state, events, book, faults, fault, play, speed")

    def state(self) -> dict[str, Any]:
        """What is going on, as plain JSON values."""
        return {
            "played": self.played,
            "left_out": self.tape.left_out,
            "finished": self.finished.is_set() and not self.error,
            "error": self.error,
            "defects": self.defects[-20:],
            "started": self._go.is_set(),
            "speed": self.pace,
            "rate": self.rate,
            "paused": not self._unpaused.is_set(),
            "burst": self._burst,
            "armed": len(self.armed),
            "exchanges": {
                name: {
                    "now_ms": exchange.now_ms(),
                    "tape_s": exchange.tape_s,
                    "markets": {
                        symbol: {"ready": m.ready, "id": m.book.last_id, "updates": m.updates, "trades": m.trade_count}
                        for symbol, m in exchange.markets.items()
                    },
                    "connections": [
                        {
                            "connection": peer.number,
                            "endpoint": peer.endpoint,
                            "streams": list(peer.streams),
                            "sent": peer.sent,
                            "received": peer.received,
                            "waiting": peer.waiting,
                            "age_s": round(time.monotonic() - peer.opened, 3),
                        }
                        for peer in exchange.peers.values()
                    ],
                }
                for name, exchange in self._exchanges.items()
            },
        }


def _pace(body: object) -> dict[str, Any]:
    """What `POST /control/speed` asks for: `{"speed": 2}`, `{"rate": 1000}`, `{"paused": true}`, `{"burst": 5000}`."""
    real: tuple[type, ...] = (int, float)
    kinds = {"speed": real, "rate": real, "paused": (bool,), "burst": (int,)}
    if not isinstance(body, dict) or not body or not set(body) <= set(kinds):
        raise InputError(f"a pace is an object with {', '.join(kinds)}, not {shown(body)}")
    for name, value in body.items():
        if (name, value) == ("speed", "max"):
            continue
        if type(value) not in kinds[name]:
            expected = "true or false" if name == "paused" else "a whole number" if name == "burst" else "a number"
            raise InputError(f"{name}: {expected} is expected, not {shown(value)}")
    return {name: 0.0 if value == "max" else value for name, value in body.items()}


def _whole(query: Mapping[str, str], name: str, default: Default) -> int | Default:
    """A whole number in a query. Raises InputError."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise InputError(f"{name}: a whole number is expected, not {text[:40]!r}")
    return int(text)


def _read(path: str | Path) -> bytes:
    from pathlib import Path

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _json(path: str | Path) -> bytes:
    data = _read(path)
    try:
        loads(data)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    return data


def _row(data: bytes, symbol: str) -> dict[str, Any]:
    """The exchange's own description of a symbol, out of its file."""

    def find(node: object) -> dict[str, Any] | None:
        if isinstance(node, dict):
            if symbol in (node.get("symbol"), node.get("instId")):
                return node
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                if isinstance(child, dict | list) and (found := find(child)) is not None:
                    return found
        return None

    return find(loads(data)) or {}
