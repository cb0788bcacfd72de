"""How the exchange misbehaves: the faults there are, scripts of them, and schedules made from a seed.

Owns what a fault is and when it is due. Each is carried out where it happens: on the wire (`wire.py`), at a snapshot
or an order (the exchanges' modules) or in the server (`server.py`).
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.errors import InputError
from cwts.simulator.strict_json import loads, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

# kind → what happens
KINDS = {
    # to the next `count` pushed messages of each connection that the fault is aimed at
    "gap": "messages are left out",
    "duplicate": "messages are sent twice",
    "reorder": "a message is sent after the one that follows it",
    "garbage": "text that is no message comes in between; with replace, instead of the message",
    # to connections
    "delay": "nothing is sent for `seconds`, then everything; pings are answered",
    "stall": "nothing at all is sent for `seconds` (0: for ever), not even a pong; then everything",
    "slow": "at most `rate` bytes a second are sent, for `seconds` (0: for ever)",
    "cut": "the connection is dropped; with middle, in the middle of a message",
    "close": "the connection is closed as at the end of its 24 hours",
    "shutdown": "Binance announces serverShutdown and closes after `seconds`",
    "handshake": "the next `count` connections end during the handshake; with status, they get that HTTP answer, and "
    "with `seconds` the header Retry-After",
    # to the exchange
    "restart": "every connection is dropped, none is accepted for `seconds`; the market goes on meanwhile",
    "clock": "the exchange's clock is off by `offset_ms` (behind: negative)",
    "limit": "the next `count` requests are over the rate limit (429, -1003, 50011, 60014); with banned, 418; with "
    "`seconds`, so are all for so long, and Binance tells it",
    "delist": "the instrument `symbol` is gone: nothing more comes of it, and whoever asks for it hears that there is "
    "none",
    "old_snapshot": "the next `count` depth snapshots are `seconds` old (default 5)",
    "late_snapshot": "the next `count` depth snapshots are answered `seconds` late; on OKX updates come before them",
    "reset": "OKX: the next update's seqId is lower than its prevSeqId, which is legal",
    "keepalive": "OKX: an empty update with seqId equal to prevSeqId",
    # to orders
    "reject": "the next `count` orders are rejected with `code` and `text`",
    "unknown": "the next `count` orders are answered with -1007 (OKX: 50004), and carried out if `executed`",
    "silent": "the next `count` orders are not answered at all, and carried out if `executed`",
    "twice": "the next `count` orders' answers are sent twice",
}

WIRE = frozenset({"gap", "duplicate", "reorder", "garbage"})
CONNECTION = frozenset({"delay", "stall", "slow", "cut", "close", "shutdown"})
EXCHANGES = ("binance", "binance-usdm", "binance-coinm", "okx")
ENDPOINTS = ("public", "market", "private", "stream", "ws-api", "business", "rest")
ARMED = frozenset(
    {"handshake", "limit", "old_snapshot", "late_snapshot", "reject", "unknown", "silent", "twice", "reset"}
)


_LONG_S = 1e9  # longer than anything here lives
_RANGES: dict[str, tuple[float, float]] = {
    "at": (0, _LONG_S),
    "message": (0, 10**15),
    "connection": (0, 10**9),
    "count": (1, 10**9),
    "seconds": (0, _LONG_S),
    "rate": (0, 1e15),
    "offset_ms": (-(10**12), 10**12),
    "status": (0, 599),
    "code": (-(10**6), 10**6),
}


@dataclass
class Fault:
    """One misbehaviour. It is due `at` seconds after the replay started or at its `message`-th message; neither: now.

    `exchange`, `endpoint`, `symbol`, `stream` and `connection` narrow down whom it hits; left out, it hits all.
    """

    kind: str
    at: float | None = None
    message: int | None = None
    exchange: str = ""
    endpoint: str = ""  # one of ENDPOINTS
    symbol: str = ""
    stream: str = ""  # a part of the stream's or channel's name, such as depth or books
    connection: int = 0  # the number of one connection, as in /control/state
    count: int = 1
    seconds: float = 0.0
    rate: float = 0.0
    offset_ms: int = 0
    status: int = 0
    code: int = 0
    text: str = ""
    middle: bool = False
    replace: bool = False
    banned: bool = False
    executed: bool = True

    def __post_init__(self) -> None:
        for name, given, known in (
            ("kind", self.kind, KINDS),
            ("exchange", self.exchange or EXCHANGES[0], EXCHANGES),
            ("endpoint", self.endpoint or ENDPOINTS[0], ENDPOINTS),
        ):
            if given not in known:
                raise InputError(f"no fault with the {name} {given!r}: expected one of {', '.join(known)}")
        for name, (low, high) in _RANGES.items():
            number = getattr(self, name)
            if number is not None and not low <= number <= high:
                raise InputError(f"{self.kind}: {name} must be a number from {low:,} to {high:,}, not {number}")
        if self.status and self.status < 400:
            raise InputError(f"{self.kind}: status must be that of a refusal, 400 to 599, not {self.status}")

    def aims_at(self, exchange: str, endpoint: str, symbol: str = "", stream: str = "", connection: int = 0) -> bool:
        """Whether it hits this. An empty symbol or stream is not narrowed by."""
        return (
            (not self.exchange or self.exchange == exchange)
            and (not self.endpoint or self.endpoint == endpoint)
            and (not self.symbol or not symbol or self.symbol == symbol)
            and (not self.stream or not stream or self.stream in stream)
            and (not self.connection or self.connection == connection)
        )

    def described(self) -> dict[str, Any]:
        """As in a script: only what differs from the defaults."""
        given = asdict(self)
        defaults = {f.name: f.default for f in fields(self)}
        return {name: value for name, value in given.items() if name == "kind" or value != defaults[name]}


def parse_fault(item: object) -> Fault:
    """One fault from its JSON object. Raises InputError."""
    if not isinstance(item, dict):
        raise InputError(f"a fault is an object with a kind, not {shown(item)}")
    known = {f.name: str(f.type) for f in fields(Fault)}
    for name, value in item.items():
        if name not in known:
            raise InputError(f"a fault has no {shown(name)}: it has {', '.join(known)}")
        wanted = known[name].removesuffix(" | None")
        if value is None and wanted != known[name]:
            continue
        if type(value) not in _TAKEN[wanted] or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"a fault's {name} must be {_WORDS[wanted]}, not {shown(value)}")
    if "kind" not in item:
        raise InputError(f"a fault needs a kind: {', '.join(KINDS)}")
    return Fault(**item)


_TAKEN: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}
_WORDS = {"str": "a text", "bool": "true or false", "int": "a whole number", "float": "a number"}


def load_script(path: str | Path) -> list[Fault]:
    """A script: a JSON list of faults. Raises InputError."""
    path = Path(path)
    try:
        items = loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(items, list):
        raise InputError(f"{path}: a script is a list of faults, not {shown(items)}")
    faults = []
    for number, item in enumerate(items, 1):
        try:
            faults.append(parse_fault(item))
        except InputError as error:
            raise InputError(f"{path}: fault {number}: {error}") from None
    return faults


def random_schedule(
    seed: int, *, seconds: float, count: int = 10, kinds: Iterable[str] | None = None, okx: bool = False
) -> list[Fault]:
    """A schedule of market data faults from a seed: the same seed gives the same schedule.

    `seconds` is how long the replay lasts; nothing happens in its last fifth, so that a client can recover.
    """
    chance = random.Random(seed)
    choice = sorted(kinds) if kinds is not None else _SCHEDULED + (["reset", "keepalive"] if okx else [])
    faults = []
    for at in sorted(chance.uniform(0, seconds * 0.8) for _ in range(count)):
        kind = chance.choice(choice)
        fault = Fault(kind, at=round(at, 6))
        if kind in WIRE:
            fault.count = chance.choice((1, 1, 1, 2, 5))
            fault.replace = chance.random() < 0.5
        elif kind in ("delay", "stall", "restart", "late_snapshot", "old_snapshot"):
            fault.seconds = round(chance.uniform(0.01, 0.08) * seconds, 6)
        elif kind == "slow":
            fault.rate, fault.seconds = chance.choice((2e4, 1e5, 1e6)), round(0.1 * seconds, 6)
        elif kind == "clock":
            fault.offset_ms = chance.choice((-1500, -500, 0, 700))
        elif kind == "cut":
            fault.middle = chance.random() < 0.5
        elif kind == "handshake":
            fault.count, fault.status = chance.choice((1, 2)), chance.choice((0, 0, 503))
        faults.append(fault)
    return faults


_SCHEDULED = [
    "gap",
    "gap",
    "duplicate",
    "reorder",
    "garbage",
    "delay",
    "stall",
    "slow",
    "cut",
    "cut",
    "close",
    "handshake",
    "restart",
    "clock",
    "old_snapshot",
    "late_snapshot",
]


class Armed:
    """The faults that wait for something to happen to."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Arms a fault for its `count` occasions."""
        self._waiting.append(Fault(**asdict(fault)))

    def take(
        self, kind: str, exchange: str, endpoint: str = "", symbol: str = "", stream: str = "", connection: int = 0
    ) -> Fault | None:
        """The first fault of this kind that is aimed here, one occasion of it used up; or None."""
        for fault in self._waiting:
            if fault.kind == kind and (
                fault.aims_at(exchange, endpoint, symbol, stream, connection)
                if endpoint
                else (not fault.exchange or fault.exchange == exchange)
                and (not fault.symbol or not symbol or fault.symbol == symbol)
            ):
                fault.count -= 1
                if not fault.count:
                    self._waiting.remove(fault)
                return fault
        return None

    def __len__(self) -> int:
        return len(self._waiting)

    def described(self) -> list[dict[str, Any]]:
        """For people who ask what is still to come."""
        return [fault.described() for fault in self._waiting]
