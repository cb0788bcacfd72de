"""Connections as pure state machines: what to open, send, fetch and throw away, from events and the time alone.

Owns what all exchanges have in common: links and their replicas, back-off, probing, rotation, and what is asked of
the host. A `Session` does no I/O, reads no clock and starts nothing: the host (asyncio natively, JavaScript in a
page) tells it what happened, carries out the `actions` that it finds afterwards, and calls `tick` about ten times a
second. Whether a book is valid is the kernel's business (`native_ext/kernel/sync.c`); a session only gets the kernel
what it needs to make it so.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cwts.jsontext import parse
from cwts.kernel import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Payload = bytes | bytearray | memoryview
    Endpoints = Mapping[str, str]
    Engines = tuple[int, ...]

MS = 1_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND

DROP: Engines = ()  # `Session.message`: nothing for an engine

_NEEDS = int(layout.Event.SYNCED | layout.Event.GAP | layout.Event.NEED_SNAPSHOT)
NOTEWORTHY = _NEEDS  # kernel events that `Session.events` wants to hear of


# -- what a session asks of its host --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Open a WebSocket; then call `opened`, or `closed` with the reason. Its frames carry the number `stream`."""

    kind: ClassVar[str] = "open"
    link: int
    url: str
    stream: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text message on a link."""

    kind: ClassVar[str] = "send"
    link: int
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close a link; what it still brings is of no interest, and `closed` need not be called."""

    kind: ClassVar[str] = "close"
    link: int
    why: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """GET a URL; then call `fetched` with the same request number."""

    kind: ClassVar[str] = "fetch"
    request: int
    url: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Feed RESET_BOOK to an instrument's engine, in order with its messages."""

    kind: ClassVar[str] = "reset"
    instrument: int
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to read. `level`: info or warning."""

    kind: ClassVar[str] = "note"
    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The session cannot go on: one clear line. `bad_input`: it is what was asked for that cannot be."""

    kind: ClassVar[str] = "fail"
    text: str
    bad_input: bool = False


Action = Open | Send | Close | Fetch | Reset | Note | Fail


def as_json(actions: Iterable[Action]) -> str:
    """Actions for a host that is not Python: a list of objects with `kind`."""
    return json.dumps([{"kind": action.kind, **asdict(action)} for action in actions])


# -- policy and state -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """When a session does what. The defaults suit the exchanges; tests hurry."""

    replicas: int = 1  # connections that bring the same streams; the first message wins
    backoff_ns: int = SECOND // 2  # full jitter: a wait is uniform in [0, min(cap, backoff * 2^attempt)]
    backoff_cap_ns: int = 30 * SECOND
    stable_ns: int = 60 * SECOND  # a link that lasted this long, or a book, starts counting attempts anew
    connect_timeout_ns: int = 10 * SECOND
    answer_timeout_ns: int = 10 * SECOND  # for a subscription, a snapshot
    probe_ns: int = 20 * SECOND  # silence after which a link is asked whether it lives
    drop_ns: int = 30 * SECOND  # silence after which it is given up
    stall_ns: int = 300 * SECOND  # it answers, but no market data comes
    rotate_ns: int = 23 * HOUR  # before the exchanges' cut at 24 h
    overlap_ns: int = 5 * SECOND  # how long a successor may wait for data of all instruments before it takes over
    resync_ns: int = SECOND // 4  # waits between attempts to get a book: 0, then up to this * 2^n
    resync_cap_ns: int = 10 * SECOND
    api_idle_ns: int = 60 * SECOND  # the request connection is closed when idle
    give_up_ns: int = 30 * SECOND  # if no link ever opens
    limited_ns: int = 60 * SECOND  # after "too many requests", where the exchange does not say how long


CONNECTING, OPEN = "connecting", "open"


@dataclass(slots=True)
class Link:
    """One socket."""

    number: int
    slot: Slot
    since_ns: int  # when it began to connect
    state: str = CONNECTING
    opened_ns: int = 0
    last_ns: int = 0  # anything came
    data_ns: int = 0  # market data came
    probed_ns: int = 0
    rotate_ns: int = 0
    acked_ns: int = 0  # all subscriptions were acknowledged
    pending: set[str] = field(default_factory=set)  # subscriptions without an answer
    extra: str = ""  # the subscription that may fail: nothing depends on it
    seen: set[int] = field(default_factory=set)  # instruments whose book it can carry on
    messages: int = 0


@dataclass(slots=True)
class Slot:
    """A connection that should be there: at most one link carries it, and its successor while it rotates."""

    role: str
    replica: int
    stream: int  # the number that its frames carry
    url: str
    wanted: bool = True
    current: Link | None = None
    successor: Link | None = None
    attempt: int = 0
    retry_ns: int = 0
    connects: int = 0
    losses: int = 0
    rotations: int = 0
    garbage: int = 0
    error: str = ""


@dataclass(slots=True)
class Book:
    """What a session knows about one instrument."""

    index: int
    symbol: str
    synced: bool = False
    synced_ns: int = 0
    ever: bool = False  # it has been valid once: there is such an instrument
    given_up: str = ""  # why nothing is asked or fed of it any more
    heard_ns: int = 0  # an update of the book came
    updates: bool = False  # an update came since the last reset, so a snapshot can be joined to it
    request: int = 0  # the snapshot on its way
    asked_ns: int = 0
    attempt: int = 0
    retry_ns: int = 0
    gaps: int = 0
    resets: int = 0
    snapshots: int = 0  # asked for
    repeats: int = 0  # messages that had come before and were dropped


class Recent:
    """The newest `size` numbers seen: `add` says whether one is new."""

    __slots__ = ("_order", "_seen", "_size")

    def __init__(self, size: int = 1024) -> None:
        self._seen: set[int] = set()
        self._order: list[int] = []
        self._size = size

    def add(self, number: int) -> bool:
        """True if `number` is new; it is remembered."""
        if number in self._seen:
            return False
        self._seen.add(number)
        self._order.append(number)
        if len(self._order) >= 2 * self._size:
            self._seen.difference_update(self._order[: self._size])
            del self._order[: self._size]
            self._seen.update(self._order)
        return True

    def __contains__(self, number: int) -> bool:
        return number in self._seen

    def clear(self) -> None:
        """Forgets all."""
        self._seen.clear()
        self._order.clear()


class Budget:
    """A token bucket for what an exchange charges per minute; `burst`: the most at once, where that is less."""

    __slots__ = ("_burst", "_level", "_per_minute", "_time_ns")

    def __init__(self, per_minute: int, burst: int = 0) -> None:
        self._per_minute = per_minute
        self._burst = self._level = float(burst or per_minute)
        self._time_ns = 0

    def wait_ns(self, now: int, cost: int) -> int:
        """0 if `cost` can be spent now (then it is), else how long to wait."""
        if self._time_ns:
            self._level += (now - self._time_ns) * self._per_minute / (60 * SECOND)
            self._level = min(self._level, self._burst)
        self._time_ns = now
        if self._level >= cost:
            self._level -= cost
            return 0
        return int((cost - self._level) * 60 * SECOND / self._per_minute) + 1


# -- the machine ----------------------------------------------------------------------------------------------------


class Session(ABC):
    """The connections that some instruments of one exchange need.

    Times (`now`) are nanoseconds on any clock that does not go back. After each call the host takes `take()` and
    carries it out in order. `instrument` is the index in `symbols`.
    """

    exchange: ClassVar[str] = ""
    book_role: ClassVar[str] = ""  # the role whose links carry the books
    budget: Budget  # what all requests are paid from, a host's first questions too
    rules_weight: int  # of a question for the rules of instruments
    book_weight: int  # … and for a book

    def __init__(
        self, symbols: Sequence[str], endpoints: Endpoints, policy: Policy | None = None, seed: int = 0
    ) -> None:
        self.policy = policy or Policy()
        self.endpoints = endpoints
        self.books = [Book(i, symbol) for i, symbol in enumerate(symbols)]
        self._alone: list[Engines] = [(book.index,) for book in self.books]
        self._trades = [Recent() for _ in self.books]
        self._liquidations = [Recent(256) for _ in self.books]
        self._calm_ns = 0  # nothing is asked before: the exchange said that we ask too much
        self.slots: list[Slot] = []
        self.actions: list[Action] = []
        self.failed = ""
        self.held: Callable[[int], str] = lambda _: ""  # the host's: the account's position in an instrument, as text
        self._rng = random.Random(seed)
        self._links: dict[int, Link] = {}
        self._number = 0
        self._started_ns = 0
        self._ever_open = False
        self._stopped = False

    # -- what the host tells ----------------------------------------------------------------------------------------

    def start(self, now: int) -> None:
        """Opens the connections."""
        self._started_ns = now
        for slot in self.slots:
            if slot.wanted:
                self._open(now, slot)

    def stop(self, now: int) -> None:
        """Closes everything."""
        del now
        self._stopped = True
        self.actions.extend(Close(number, "stopped") for number in self._links)
        self._links.clear()
        for slot in self.slots:
            slot.wanted, slot.current, slot.successor = False, None, None

    def opened(self, now: int, number: int) -> None:
        """The link is open."""
        link = self._links.get(number)
        if link is None:
            self.actions.append(Close(number, "no longer wanted"))
            return
        link.state = OPEN
        link.opened_ns = link.last_ns = link.data_ns = now
        link.rotate_ns = now + self.policy.rotate_ns - int(self._rng.random() * self.policy.rotate_ns / 50)
        link.slot.connects += 1
        link.slot.error = ""
        self._ever_open = True
        self._greet(now, link)

    def closed(self, now: int, number: int, why: str, *, hopeless: bool = False, retry_ns: int = 0) -> None:
        """The link could not be opened, or is gone. `hopeless`: trying again is no use (no such host, TLS, 404).

        `retry_ns`: how long the server asks us to wait (Retry-After).
        """
        link = self._links.get(number)
        if link is None:
            return
        if hopeless and not self._ever_open:
            self._fail(f"{link.slot.url}: {why}")
            return
        slot = link.slot
        self._lose(now, link, why)
        if retry_ns > 0:
            slot.retry_ns = max(slot.retry_ns, now + retry_ns)
            if slot.current is not None:
                slot.current.rotate_ns = max(slot.current.rotate_ns, now + retry_ns)

    def alive(self, now: int, number: int) -> None:
        """A ping or pong came, which the transport answers by itself."""
        link = self._links.get(number)
        if link is not None:
            link.last_ns, link.probed_ns = now, 0

    @abstractmethod
    def message(self, now: int, number: int, payload: Payload) -> Engines:
        """A message came. Returns the instruments whose engines get it as it is, or DROP; an engine reads its part."""

    def passing(self, number: int) -> tuple[bytes, ...]:
        """How messages of a link begin that `message` hands to the engine of the only instrument whatever they hold.

        A host to which each call is dear may feed those by itself, and tell `passed` of them instead.
        """
        link = self._links.get(number)
        return () if link is None or len(self.books) != 1 else self._passing(link.slot.role)

    def passed(self, now: int, number: int, count: int) -> None:
        """`count` messages of a link that begin as `passing` says were fed; the last one came at `now`."""
        link = self._links.get(number)
        if link is not None:
            link.last_ns = link.data_ns = now
            link.probed_ns = 0
            link.messages += count

    def fetched(
        self, now: int, request: int, status: int, payload: Payload, why: str = "", *, retry_ns: int = 0
    ) -> Engines:
        """The answer to a Fetch (`status` 0: none came, for the reason `why`). Returns as `message`.

        `retry_ns`: how long the server asks us to wait (Retry-After), where the host can read it.
        """
        del now, request, status, payload, why, retry_ns
        return DROP

    @staticmethod
    def _object(payload: Payload) -> dict[str, Any] | None:
        """The JSON object that a message is; None where it is anything else."""
        try:
            found = parse(payload)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _repeats(self, instrument: int, number: re.Match[bytes] | None) -> bool:
        """Whether another connection has brought this trade already; `number`'s first group is the trade's id."""
        if number is None or self._trades[instrument].add(int(number[1])):
            return False
        self.books[instrument].repeats += 1
        return True

    def _repeats_liquidation(self, instrument: int, text: bytes) -> bool:
        """Whether another connection has brought this liquidation already: they have no ids, so the text tells."""
        if self._liquidations[instrument].add(zlib.crc32(text)):
            return False
        self.books[instrument].repeats += 1
        return True

    def _be_calm(self, now: int, wait_ns: int) -> None:
        """The exchange says that we ask too much: nothing is asked for `wait_ns`."""
        self._calm_ns = max(self._calm_ns, now + min(max(wait_ns, SECOND), 72 * HOUR))
        wait = (self._calm_ns - now) / SECOND
        self.actions.append(Note("warning", f"too many requests: nothing is asked for {wait:.0f} s"))

    def events(self, now: int, instrument: int, bits: int, *, synced: bool) -> None:
        """What the kernel said of the frames fed just now; `synced`: whether the book is valid after all of them."""
        book = self.books[instrument]
        if book.given_up:
            return
        if bits & layout.Event.GAP and book.synced:
            book.gaps += 1
            self.actions.append(Note("warning", f"{book.symbol}: a gap in the book's updates; getting a new one"))
        if synced:
            if not book.synced or bits & layout.Event.SYNCED:
                book.synced_ns = now
            book.synced = book.ever = True
            return
        if book.synced and now - book.synced_ns > self.policy.stable_ns:
            book.attempt = 0
        book.synced = False
        if bits & layout.Event.NEED_SNAPSHOT:
            self._need_book(now, book)

    def overflowed(self, now: int, instrument: int) -> None:
        """Frames of an instrument were dropped before its engine saw them."""
        self._reset(now, self.books[instrument], "frames were dropped: the engine could not keep up")

    def tick(self, now: int) -> None:
        """Whatever is due. Call it about ten times a second."""
        if self.failed or self._stopped:
            return
        policy = self.policy
        if not self._ever_open and now - self._started_ns > policy.give_up_ns:
            errors = next(
                (f"{slot.url}: {slot.error}" for slot in self.slots if slot.error), "no connection could be opened"
            )
            self._fail(f"{errors}; given up after {policy.give_up_ns // SECOND} s")
            return
        for slot in self.slots:
            if slot.current is None:
                if slot.wanted and now >= slot.retry_ns:
                    self._open(now, slot)
                continue
            for link in (slot.current, slot.successor):
                if link is not None:
                    self._tend(now, link)
            self._turn(now, slot)
        for book in self.books:
            if book.synced and now - max(book.heard_ns, book.synced_ns) > policy.stall_ns:
                # Quiet, or gone: a stream of what does not exist is silent. Asked for a book, the exchange says it.
                self._reset(now, book, f"no update for {policy.stall_ns // SECOND} s")
        self._tick(now)

    def take(self) -> list[Action]:
        """The actions since the last call; the host carries them out in this order."""
        actions, self.actions = self.actions, []
        return actions

    # -- links ------------------------------------------------------------------------------------------------------

    def _open(self, now: int, slot: Slot, *, successor: bool = False) -> Link:
        self._number += 1
        link = Link(self._number, slot, now)
        self._links[link.number] = link
        if successor:
            slot.successor = link
        else:
            slot.current = link
        self.actions.append(Open(link.number, slot.url, slot.stream))
        return link

    def _turn(self, now: int, slot: Slot) -> None:
        """Rotation: begins when the link is old, ends when the successor carries everything."""
        current, successor = slot.current, slot.successor
        if current is None:
            return
        if successor is not None and self._ready(now, successor):
            slot.current, slot.successor = successor, None
            slot.rotations += 1
            del self._links[current.number]
            self.actions.append(Close(current.number, "a new connection took over"))
            self._forget(now, current)
        elif successor is None and current.state == OPEN and now >= current.rotate_ns and slot.role != "api":
            self._rotate(now, current, "the connection is old")

    def _rotate(self, now: int, link: Link, why: str) -> None:
        """Opens the successor first; the old link is closed when the new one carries everything."""
        slot = link.slot
        if slot.current is link and slot.successor is None:
            link.rotate_ns = now + self.policy.rotate_ns
            self.actions.append(Note("info", f"{slot.role}: {why}; opening a new one first"))
            self._open(now, slot, successor=True)

    def _ready(self, now: int, link: Link) -> bool:
        """Whether a successor can take over."""
        if link.state != OPEN or link.pending or not link.acked_ns:
            return False
        everything = link.slot.role == self.book_role and all(book.index in link.seen for book in self._wanted())
        return everything or now - link.acked_ns >= self.policy.overlap_ns

    def _tend(self, now: int, link: Link) -> None:
        """Time-outs and probes of one link."""
        policy = self.policy
        if link.state == CONNECTING:
            if now - link.since_ns > policy.connect_timeout_ns:
                self._drop(now, link, f"no answer in {policy.connect_timeout_ns // SECOND} s")
            return
        if link.pending and now - link.opened_ns > policy.answer_timeout_ns:
            self._drop(now, link, f"no answer to a subscription in {policy.answer_timeout_ns // SECOND} s")
        elif now - link.last_ns > policy.drop_ns:
            self._drop(now, link, f"silent for {policy.drop_ns // SECOND} s")
        elif link.slot.role == self.book_role and now - link.data_ns > policy.stall_ns:
            self._drop(now, link, f"no market data for {policy.stall_ns // SECOND} s")
        elif not link.probed_ns and now - link.last_ns > policy.probe_ns:
            link.probed_ns = now
            self._probe(now, link)

    def _drop(self, now: int, link: Link, why: str) -> None:
        """Closes a link and goes on as if it had been lost."""
        self.actions.append(Close(link.number, why))
        self._lose(now, link, why)

    def _lose(self, now: int, link: Link, why: str) -> None:
        slot = link.slot
        self._links.pop(link.number, None)
        slot.error = why
        if link.state == OPEN:
            slot.losses += 1
        if slot.successor is link:
            slot.successor = None
            if slot.current is not None:
                slot.current.rotate_ns = now + self._backoff(slot)
        elif slot.current is link:
            slot.current, slot.successor = slot.successor, None
            if slot.current is None:
                if link.opened_ns and now - link.opened_ns >= self.policy.stable_ns:
                    slot.attempt = 0
                wait = self._backoff(slot)
                slot.retry_ns = now + wait
                if slot.wanted:
                    self.actions.append(Note("warning", f"{slot.role}: {why}; again in {wait / SECOND:.1f} s"))
        self._forget(now, link)

    def _forget(self, now: int, link: Link) -> None:
        """A link is gone: books that no other link carries on are thrown away."""
        if link.slot.role != self.book_role:
            return
        for book in self._wanted():
            if book.index in link.seen and not self._carried(book.index):
                self._reset(now, book, "the connection was lost")

    def _carried(self, index: int) -> bool:
        """Whether an open link brings the updates of an instrument's book."""
        return any(link.state == OPEN and index in link.seen for link in self._links.values())

    def _backoff(self, slot: Slot) -> int:
        """Exponential, with full jitter."""
        policy = self.policy
        ceiling = min(policy.backoff_cap_ns, policy.backoff_ns << min(slot.attempt, 20))
        slot.attempt += 1
        return int(self._rng.random() * ceiling)

    def _reset(self, now: int, book: Book, why: str) -> None:
        book.resets += 1
        book.synced = book.updates = False
        book.request = 0
        self.actions.append(Reset(book.index, why))
        self._after_reset(now, book)

    def _resync_wait(self, book: Book) -> int:
        """How long to wait before the next attempt to get a book: none for the first, then longer and longer."""
        attempt, policy = book.attempt, self.policy
        book.attempt += 1
        if attempt == 0:
            return 0
        ceiling = min(policy.resync_cap_ns, policy.resync_ns << min(attempt - 1, 20))
        return int(ceiling * (0.5 + 0.5 * self._rng.random()))

    def _wanted(self) -> list[Book]:
        """The instruments that are not given up."""
        return [book for book in self.books if not book.given_up]

    def _unknown(self, now: int, book: Book, why: str) -> None:
        """The exchange says that it does not have an instrument.

        Before any book was valid that is a wrong input. Later it was delisted or has expired: the others go on.
        """
        if book.given_up:
            return
        if not any(other.ever for other in self.books):
            self._fail(why, bad_input=True)
            return
        self._reset(now, book, "given up")
        book.given_up = why
        self._alone[book.index] = DROP
        if not self._wanted():
            self._fail(f"no instrument is left: {why}{self._held()}")
        else:
            self.actions.append(Note("warning", f"{book.symbol} is given up: {why}{self._held(book)}"))

    def _held(self, *books: Book) -> str:
        """For a person: what the account holds of instruments that are given up."""
        held = {book.symbol: self.held(book.index) for book in books or self.books}
        found = ", ".join(f"{position} of {symbol}" for symbol, position in held.items() if position)
        return f"; the account still holds {found}, which cannot be closed any more" if found else ""

    def _fail(self, text: str, *, bad_input: bool = False) -> None:
        if not self.failed:
            self.failed = f"{self.exchange}: {text}"
            self.actions.append(Fail(self.failed, bad_input))
            self.stop(0)

    # -- what differs from exchange to exchange ---------------------------------------------------------------------

    @abstractmethod
    def _greet(self, now: int, link: Link) -> None:
        """A link was opened: subscribe."""

    @abstractmethod
    def _probe(self, now: int, link: Link) -> None:
        """Ask a silent link for a sign of life."""

    @abstractmethod
    def _need_book(self, now: int, book: Book) -> None:
        """The kernel needs a snapshot."""

    def _passing(self, role: str) -> tuple[bytes, ...]:
        """See `passing`."""
        del role
        return ()

    def _after_reset(self, now: int, book: Book) -> None:
        """A book was thrown away."""
        del now, book

    def _tick(self, now: int) -> None:
        """Whatever else is due."""
        del now

    # -- for people -------------------------------------------------------------------------------------------------

    def health(self, now: int) -> dict[str, object]:
        """The state of links and books as plain JSON values; times in seconds."""

        def seconds(ns: int) -> float | None:
            return round((now - ns) / SECOND, 3) if ns else None

        links = []
        for slot in self.slots:
            link = slot.current
            links.append({
                "role": slot.role,
                "replica": slot.replica,
                "stream": slot.stream,
                "url": slot.url,
                "state": link.state if link else "waiting" if slot.wanted else "idle",
                "age": seconds(link.opened_ns) if link else None,
                "silent": seconds(link.last_ns) if link else None,
                "retry": max(0.0, round((slot.retry_ns - now) / SECOND, 1)) if slot.wanted and not link else None,
                "messages": link.messages if link else 0,
                "rotating": slot.successor is not None,
                "connects": slot.connects,
                "losses": slot.losses,
                "rotations": slot.rotations,
                "garbage": slot.garbage,
                "error": slot.error,
            })  # fmt: skip
        books = [
            {
                "symbol": book.symbol,
                "synced": book.synced,
                "given_up": book.given_up,
                "since": seconds(book.synced_ns) if book.synced else None,
                "gaps": book.gaps,
                "resets": book.resets,
                "snapshots": book.snapshots,
                "repeats": book.repeats,
            }
            for book in self.books
        ]
        return {"exchange": self.exchange, "links": links, "books": books, "failed": self.failed}
