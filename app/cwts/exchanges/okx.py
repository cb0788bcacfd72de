"""OKX v5, spot and derivatives: what to subscribe to, in which order updates count, how to sign. Pure; see `base`.

Source: www.okx.com/docs-v5, "WebSocket" and "Order book channel".

1. `wss://ws.okx.com:8443/ws/v5/public`; `{"op":"subscribe","args":[{"channel":…,"instId":…}]}`, each argument
   answered by `{"event":"subscribe","arg":…}` or `{"event":"error","code":…,"msg":…}`, with the operation's `id`. What
   is wrong with an argument is told in words alone, so each instrument has an operation of its own: its refusal (60018:
   there is none, or none any more) is told by the id, and costs nothing but this instrument.
2. At most 3 connections a second from an address, 480 subscribe, unsubscribe and login operations an hour on a
   connection.
3. The text `ping` is answered by the text `pong`; a connection that is idle for 30 s is cut.
4. `{"event":"notice","code":"64008"}` announces that the connection will be closed for an upgrade: open another one.
5. `books`: the snapshot comes in band (`action` snapshot, prevSeqId -1), then updates every 100 ms. The chain is
   prevSeqId == the last seqId. seqId == prevSeqId holds nothing (keep-alive, about once a minute); seqId < prevSeqId
   after a matching prevSeqId is a legal reset. Anything else is a gap: unsubscribe and subscribe again.
6. `liquidation-orders` is subscribed to by instType and brings all instruments of it, several in a message. It has an
   operation of its own, so that a refusal costs it and nothing else.
7. Codes 60014 and 50011 say that we ask too often, not for how long we should not.
8. A server may join updates differently from another, so two connections' chains need not have the same links. With
   A/B connections the book follows one of them, the *leader*; a message of the other one leads from then on if it
   continues the chain. A repetition is a seqId that was applied, not merely a lower one: after a reset that we missed
   all are lower.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from cwts.errors import InputError
from cwts.exchanges.base import DROP, HOUR, OPEN, SECOND, Book, Budget, Link, Note, Recent, Send, Session, Slot
from cwts.jsontext import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cwts.exchanges.base import Endpoints, Engines, Payload, Policy

ENDPOINTS = {"public": "wss://ws.okx.com:8443/ws/v5/public", "rest": "https://www.okx.com"}
CHANNELS = ("books", "trades", "bbo-tbt")
LIQUIDATIONS = "liquidations"  # the id of the operation that subscribes to them
MAX_SYMBOLS = 60
OPERATIONS_PER_HOUR = 400  # of 480: what is left is for people
REQUESTS = 600, 20  # a minute, and at once: half of what /market/books and /public/instruments allow in 2 s, 40 and 20
LEADER_SILENT_NS = 2 * SECOND  # after which another connection that is ahead takes over

_BOOKS, _TRADES, _OTHER = 0, 1, 2
_WHAT = {"books": _BOOKS, "trades": _TRADES, "bbo-tbt": _OTHER}
_HEAD = b'{"arg":'
_SEQ = re.compile(rb'"seqId"\s*:\s*(-?[0-9]{1,19})(?![0-9])')  # longer is damaged, and too long for int()
_PREVIOUS = re.compile(rb'"prevSeqId"\s*:\s*(-?[0-9]{1,19})(?![0-9])')
_SNAPSHOT = re.compile(rb'"action"\s*:\s*"snapshot"')
_TRADE_ID = re.compile(rb'"tradeId"\s*:\s*"([0-9]{1,19})"')
_INSTRUMENT = re.compile(rb'"instId"\s*:\s*"([^"]+)"')
_ARGUMENT = re.compile(rb'"arg"\s*:\s*(\{[^{}]*\})')

_LIMITED = {"50011", "60014"}  # rule 7
# Codes that trying again does not cure: www.okx.com/docs-v5, "Error Code, WebSocket".
_UNKNOWN = {"60018", "51001"}  # of an instrument
_HOPELESS = {"60012", "60013", "60018", "60019", "50014", "51000", "51001"}


class _Chain:
    """Where an instrument's chain of updates is."""

    __slots__ = ("applied", "last", "leader", "leader_ns")

    def __init__(self) -> None:
        self.last: int | None = None  # seqId of the newest message that went to the kernel
        self.leader = 0  # link
        self.leader_ns = 0
        self.applied = Recent(512)


class OkxSession(Session):
    """The connection (or its replicas) that instruments of OKX need."""

    exchange: ClassVar[str] = "okx"
    book_role: ClassVar[str] = "public"

    def __init__(
        self, symbols: Sequence[str], endpoints: Endpoints | None = None, policy: Policy | None = None, seed: int = 0
    ) -> None:
        super().__init__([symbol.upper() for symbol in symbols], {**ENDPOINTS, **(endpoints or {})}, policy, seed)
        if len(symbols) > MAX_SYMBOLS:
            raise InputError(
                f"at most {MAX_SYMBOLS} instruments on one connection, not {len(symbols)}: use several processes"
            )
        self.budget = Budget(*REQUESTS)
        self.rules_weight = self.book_weight = 1
        self.slots = [
            Slot("public", replica, replica % 4, self.endpoints["public"]) for replica in range(self.policy.replicas)
        ]
        self._chains = [_Chain() for _ in self.books]
        self._routes: dict[bytes, tuple[int, int]] = {}
        self._by_symbol = {book.symbol: book.index for book in self.books}
        self._operations: dict[int, deque[int]] = {}  # link → when

    # -- subscriptions ----------------------------------------------------------------------------------------------

    def _greet(self, now: int, link: Link) -> None:
        wanted = self._wanted()
        for book in wanted:
            arguments = [{"channel": channel, "instId": book.symbol} for channel in CHANNELS]
            link.pending |= {_key(argument) for argument in arguments}
            self._operate(now, link, "subscribe", arguments, str(book.index))
        kinds = sorted({instrument_type(book.symbol) for book in wanted} - {"SPOT"})
        if kinds:
            link.extra = LIQUIDATIONS
            extras = [{"channel": "liquidation-orders", "instType": kind} for kind in kinds]
            self._operate(now, link, "subscribe", extras, LIQUIDATIONS)

    def _operate(self, now: int, link: Link, operation: str, arguments: list[dict[str, str]], identity: str) -> None:
        self._operations.setdefault(link.number, deque()).append(now)
        text = json.dumps({"id": identity, "op": operation, "args": arguments}, separators=(",", ":"))
        self.actions.append(Send(link.number, text))

    def _probe(self, now: int, link: Link) -> None:
        del now
        self.actions.append(Send(link.number, "ping"))

    # -- messages ---------------------------------------------------------------------------------------------------

    def message(self, now: int, number: int, payload: Payload) -> Engines:
        """A message came; see `Session.message`."""
        link = self._links.get(number)
        if link is None:
            return DROP
        link.last_ns, link.probed_ns = now, 0
        link.messages += 1
        head = bytes(payload[:160])
        route = self._routes.get(head[7 : head.find(b"}")]) if head.startswith(_HEAD) else None
        if route is None:
            route = self._route(head, payload)
            if route is None:
                if b'"liquidation-orders"' in head and b'"event"' not in head:
                    return self._liquidation(payload)
                self._control(now, link, head, payload)
                return DROP
        instrument, what = route
        link.data_ns = now
        if what == _BOOKS:
            self.books[instrument].heard_ns = now
            return self._alone[instrument] if self._next(now, link, instrument, head, payload) else DROP
        if what == _TRADES and self._repeats(instrument, _TRADE_ID.search(payload)):
            return DROP
        return self._alone[instrument]

    def _passing(self, role: str) -> tuple[bytes, ...]:
        """Quotes: neither a book nor trades that could repeat."""
        del role
        symbol = self.books[0].symbol
        names = [name for name in CHANNELS if _WHAT[name] == _OTHER]
        return tuple(f'{{"arg":{{"channel":"{name}","instId":"{symbol}"}},"data":'.encode() for name in names)

    def _route(self, head: bytes, payload: Payload) -> tuple[int, int] | None:
        """Instrument and channel of a message whose argument is new."""
        match = _ARGUMENT.search(payload)
        if match is None or b'"data"' not in bytes(payload[: match.start() + len(match[0]) + 256]):
            return None
        try:
            argument = parse(match[1])
        except ValueError:
            return None
        instrument, what = self._by_symbol.get(str(argument.get("instId"))), _WHAT.get(str(argument.get("channel")))
        if instrument is None or what is None or b'"event"' in head:
            return None
        if head.startswith(_HEAD):
            self._routes[head[7 : head.find(b"}")]] = (instrument, what)
        return instrument, what

    def _liquidation(self, payload: Payload) -> Engines:
        """Liquidations of any instruments came: those of ours among them get the message, where it is no repetition."""
        text = bytes(payload)
        data = text[text.find(b'"data"') :]
        named = {match[1].decode(errors="replace") for match in _INSTRUMENT.finditer(text)}
        ours = sorted(self._by_symbol[symbol] for symbol in named & self._by_symbol.keys())
        return tuple(i for i in ours if self._alone[i] and not self._repeats_liquidation(i, data))

    def _next(self, now: int, link: Link, instrument: int, head: bytes, payload: Payload) -> bool:
        """Whether a book message goes to the kernel; rules 5 and 8."""
        chain, book = self._chains[instrument], self.books[instrument]
        tail = payload[max(0, len(payload) - 160) :]
        found, before = _SEQ.search(tail) or _SEQ.search(payload), _PREVIOUS.search(tail) or _PREVIOUS.search(payload)
        if found is None:
            return True  # from before May 2023, or damaged: the kernel judges
        sequence, previous = int(found[1]), int(before[1]) if before else -1
        leads = chain.leader in (0, link.number)
        if _SNAPSHOT.search(head) or previous == -1:
            link.seen.add(instrument)
            if not leads and book.synced:
                book.repeats += 1
                return False
            if book.synced and sequence in chain.applied:
                book.repeats += 1  # the same snapshot twice
                return False
            chain.applied.clear()
            self._lead(now, chain, link, sequence)
            book.request = 0
            book.retry_ns = now + self._resync_wait(book)  # if this one does not last either
            return True
        if previous == chain.last:
            if sequence == previous and not leads:
                return False  # the leader keeps its own connection alive
            self._lead(now, chain, link, sequence)
            return True
        if sequence in chain.applied:
            book.repeats += 1
            if leads:
                chain.leader_ns = now
            return False
        if leads:
            self._lead(now, chain, link, sequence)
            return True  # a gap: the kernel says so
        if chain.last is not None and sequence > chain.last and now - chain.leader_ns > LEADER_SILENT_NS:
            self._lead(now, chain, link, sequence)
            return True  # the leader does not bring anything any more
        return False

    @staticmethod
    def _lead(now: int, chain: _Chain, link: Link, sequence: int) -> None:
        chain.leader, chain.leader_ns, chain.last = link.number, now, sequence
        chain.applied.add(sequence)

    def _control(self, now: int, link: Link, head: bytes, payload: Payload) -> None:
        """Answers to operations, notices, pongs."""
        if head == b"pong":
            return
        message = self._object(payload)
        if message is None:
            link.slot.garbage += 1
            return
        event = message.get("event")
        if event == "subscribe":
            argument = message.get("arg")
            link.pending.discard(_key(argument) if isinstance(argument, dict) else "")
            if not link.pending:
                link.acked_ns = link.acked_ns or now
        elif event == "error" and link.extra and message.get("id") == link.extra:
            text = f"{message.get('msg', 'refused')} (code {message.get('code', '?')})"
            self.actions.append(Note("warning", f"{link.slot.role}: no liquidations: {text}"))
        elif event == "error":
            self._refused(now, link, message)
        elif event == "notice":
            self._rotate(now, link, f"the exchange says: {message.get('msg', 'reconnect')}")
        elif event == "channel-conn-count-error":
            self._drop(now, link, "too many connections for this channel")
        elif event not in ("unsubscribe", "channel-conn-count", "login") and "data" not in message:
            link.slot.garbage += 1

    def _refused(self, now: int, link: Link, message: dict[str, Any]) -> None:
        code, text = str(message.get("code", "?")), str(message.get("msg", "refused"))
        book = self._about(message)
        why = f"the subscription was refused: {text} (code {code})"
        if code in _UNKNOWN and book is not None:
            link.pending -= {_key({"channel": channel, "instId": book.symbol}) for channel in CHANNELS}
            if not link.pending:
                link.acked_ns = link.acked_ns or now
            self._unknown(now, book, why)
        elif code in _HOPELESS and not any(book.ever for book in self.books):
            self._fail(why, bad_input=True)
        elif code in _LIMITED:
            self._be_calm(now, self.policy.limited_ns)
            if link.pending:
                self._drop(now, link, f"{text} (code {code})")
                link.slot.retry_ns = max(link.slot.retry_ns, self._calm_ns)
            for book in self.books:  # what was asked for on this link may not come
                book.request = 0
        else:
            self._drop(now, link, f"{text} (code {code})")

    def _about(self, message: dict[str, Any]) -> Book | None:
        """Which instrument an error is about: the id tells, or else the words."""
        identity = message.get("id")
        for book in self.books:
            if identity == str(book.index) or (
                identity is None and f"instId:{book.symbol} " in f"{message.get('msg')} "
            ):
                return book
        return self.books[0] if len(self.books) == 1 else None

    # -- books ------------------------------------------------------------------------------------------------------

    def _need_book(self, now: int, book: Book) -> None:
        """Subscribes again; the snapshot comes in band. A new connection brings one by itself."""
        chain = self._chains[book.index]
        link = self._links.get(chain.leader) if chain.leader else None
        if link is None or link.state != OPEN:
            link = next((link for link in self._links.values() if link.state == OPEN), None)
        if book.request or link is None or link.pending or now < max(book.retry_ns, self._calm_ns):
            return
        if now - link.opened_ns < self.policy.answer_timeout_ns and book.index not in link.seen:
            return  # the first snapshot of this connection is still to come
        operations = self._operations.setdefault(link.number, deque())
        while operations and now - operations[0] > HOUR:
            operations.popleft()
        if len(operations) + 2 > OPERATIONS_PER_HOUR:
            self._drop(now, link, "too many new subscriptions in an hour")
            return
        argument = {"channel": "books", "instId": book.symbol}
        book.request, book.asked_ns = 1, now
        book.snapshots += 1
        chain.leader, chain.last = link.number, None
        self._operate(now, link, "unsubscribe", [argument], str(book.index))
        self._operate(now, link, "subscribe", [argument], str(book.index))

    def _after_reset(self, now: int, book: Book) -> None:
        chain = self._chains[book.index]
        chain.last, chain.leader = None, 0
        chain.applied.clear()
        if now - book.synced_ns > self.policy.stable_ns:
            book.attempt, book.retry_ns = 0, 0

    def _forget(self, now: int, link: Link) -> None:
        self._operations.pop(link.number, None)
        for chain in self._chains:
            if chain.leader == link.number:
                chain.leader = 0
        super()._forget(now, link)

    def _tick(self, now: int) -> None:
        for book in self.books:
            if book.synced or book.given_up:
                continue
            if book.request and now - book.asked_ns > self.policy.answer_timeout_ns:
                book.request = 0
                book.retry_ns = now + self._resync_wait(book)
                self.actions.append(Note("warning", f"{book.symbol}: no snapshot came after a new subscription"))
            self._need_book(now, book)


def _key(argument: dict[str, Any]) -> str:
    return f"{argument.get('channel')} {argument.get('instId')}"


# -- addresses ------------------------------------------------------------------------------------------------------


def instruments_url(endpoints: Endpoints, symbols: Sequence[str]) -> str:
    """GET: the rules of one instrument, or of all of the same type."""
    one = f"&instId={quote(symbols[0].upper())}" if len(symbols) == 1 else ""
    query = f"instType={instrument_type(symbols[0])}{one}"
    return f"{endpoints['rest']}/api/v5/public/instruments?{query}"


def depth_url(endpoints: Endpoints, symbol: str, limit: int) -> str:
    """GET: the best levels."""
    return f"{endpoints['rest']}/api/v5/market/books?instId={quote(symbol.upper())}&sz={limit}"


def subscription(**argument: str) -> str:
    """The text that subscribes to one channel."""
    return json.dumps({"op": "subscribe", "args": [argument]}, separators=(",", ":"))


def price_of(answer: Any) -> str | None:
    """A recent price out of the answer to `depth_url`."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    for side in ("bids", "asks"):
        if rows and rows[0].get(side):
            return str(rows[0][side][0][0])
    return None


def instrument_type(symbol: str) -> str:
    """As the identifier tells: BTC-USDT, BTC-USDT-SWAP, BTC-USD-261225 (FUTURES), BTC-USD-261225-90000-C (OPTION)."""
    parts = symbol.upper().split("-")
    if len(parts) <= 2:
        return "SPOT"
    return "SWAP" if parts[2] == "SWAP" else "OPTION" if len(parts) == 5 else "FUTURES"


# -- signatures -----------------------------------------------------------------------------------------------------


def login_payload(timestamp: str) -> bytes:
    """What is signed to log in: the seconds since 1970, "GET", "/users/self/verify" (www.okx.com/docs-v5, "Login")."""
    return f"{timestamp}GET/users/self/verify".encode()


def login_text(key: str, passphrase: str, timestamp: str, sign: Callable[[bytes], bytes]) -> str:
    """The login operation. `sign`: bytes to the HMAC-SHA256 digest."""
    signature = base64.b64encode(sign(login_payload(timestamp))).decode()
    argument = {"apiKey": key, "passphrase": passphrase, "timestamp": timestamp, "sign": signature}
    return json.dumps({"op": "login", "args": [argument]}, separators=(",", ":"))
