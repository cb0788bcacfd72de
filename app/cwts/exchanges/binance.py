"""Binance spot, USD-M and COIN-M: what to subscribe to, when to get a snapshot, how to sign. Pure; see `base`.

Sources: developers.binance.com, "WebSocket Streams" and "WebSocket API" (spot), "Websocket Market Streams" (USD-M,
COIN-M).

1. `wss://stream.binance.com:9443/stream` (spot), `wss://dstream.binance.com/stream` (COIN-M). USD-M routes by path
   since 2026-04-23: `/public` (depth, bookTicker), `/market` (aggTrade, forceOrder), `/private`; a stream on the
   wrong path stays silent without an error.
2. A connection ends after 24 h; `{"e":"serverShutdown"}` announces an earlier end. At most 1,024 streams; 5 (spot) or
   10 (futures) messages a second from us; 300 connections in 5 minutes from an address.
3. The server pings (spot every 20 s, futures every 3 minutes) and wants a pong with the same payload: the transport
   answers. A page does not see pings, so a silent connection is probed with LIST_SUBSCRIPTIONS, which works
   everywhere.
4. `{"method":"SUBSCRIBE","params":[…],"id":n}` answers `{"result":null,"id":n}`, or an error with `code` and `msg`. A
   stream of a symbol that does not exist is acknowledged and stays silent: only the snapshot's error -1121 tells.
5. The book: buffer the updates, get a snapshot, apply (sync.c has the rules in full). So a snapshot is asked for when
   the first update has been buffered (or none has come for a while: a quiet symbol), and again when the kernel found
   it too old or saw a gap.
6. Snapshots: WebSocket API `depth` on spot (`limit` 5000 costs 250 of 6,000 a minute) and USD-M (1000 costs 20 of
   2,400). COIN-M's WebSocket API has orders and account only: there it is GET /dapi/v1/depth.
7. An error 429 or 418, or code -1003, says when to come back: `retryAfter`, milliseconds since 1970, beside the
   exchange's own time; REST says it with the header Retry-After, and of a ban in the text ("until …").
8. Liquidations (`forceOrder`, at most one a second and symbol) are subscribed to by a message of their own: a
   refusal costs them and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from cwts.errors import InputError
from cwts.exchanges.base import DROP, HOUR, MS, OPEN, SECOND, Book, Budget, Fetch, Link, Note, Send, Session, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cwts.exchanges.base import Endpoints, Engines, Payload, Policy

MAX_STREAMS = 200  # of the 1,024 that a connection may have: one subscription message stays small


@dataclass(frozen=True)
class Venue:
    """One of Binance's three markets."""

    roles: Mapping[str, tuple[str, ...]]  # connection → the streams of each symbol on it
    book_role: str
    depth_limit: int
    depth_weight: int
    rules_weight: int
    weight_per_minute: int  # half of what the exchange allows: we are not alone at this address
    api: bool  # snapshots by WebSocket API
    rest: str  # path of the REST API
    endpoints: Mapping[str, str]
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # as `roles`, but nothing depends on them


VENUES = {
    "binance": Venue(
        {"stream": ("depth@100ms", "trade", "bookTicker")},
        "stream", 5000, 250, 20, 3000, api=True, rest="/api/v3",
        endpoints={
            "stream": "wss://stream.binance.com:9443/stream",
            "api": "wss://ws-api.binance.com:443/ws-api/v3",
            "rest": "https://api.binance.com",
        },
    ),
    "binance-usdm": Venue(
        {"public": ("depth@100ms", "bookTicker"), "market": ("aggTrade",)},
        "public", 1000, 20, 1, 1200, api=True, rest="/fapi/v1",
        endpoints={
            "public": "wss://fstream.binance.com/public/stream",
            "market": "wss://fstream.binance.com/market/stream",
            "api": "wss://ws-fapi.binance.com/ws-fapi/v1",
            "rest": "https://fapi.binance.com",
        },
        extras={"market": ("forceOrder",)},
    ),
    "binance-coinm": Venue(
        {"stream": ("depth@100ms", "aggTrade", "bookTicker")},
        "stream", 1000, 20, 1, 1200, api=False, rest="/dapi/v1",
        endpoints={"stream": "wss://dstream.binance.com/stream", "rest": "https://dapi.binance.com"},
        extras={"stream": ("forceOrder",)},
    ),
}  # fmt: skip

_DEPTH, _TRADE, _OTHER, _LIQUIDATION = 0, 1, 2, 3
_BOTH = {b"trade": _TRADE, b"aggTrade": _TRADE, b"bookTicker": _OTHER, b"forceOrder": _LIQUIDATION}
_WHAT = {b"depth": _DEPTH, **_BOTH}
_EVENTS = {b"depthUpdate": _DEPTH, **_BOTH}
_HEAD = b'{"stream":"'
_STREAM = re.compile(rb'"stream"\s*:\s*"([^"@]+)@([A-Za-z]+)[^"]*"')
_EVENT = re.compile(rb'"e"\s*:\s*"([A-Za-z]+)"')
_SYMBOL = re.compile(rb'"s"\s*:\s*"([^"]+)"')
_TRADE_ID = re.compile(rb'"[ta]"\s*:\s*([0-9]{1,19})(?![0-9])')  # longer is damaged, and too long for int()
_ID = re.compile(rb'"id"\s*:\s*"?([0-9]{1,19})(?![0-9])"?')
_UNTIL = re.compile(r"until (1[0-9]{12})")
_OK = re.compile(rb'"status"\s*:\s*200\b')
_STREAM_NUMBER = {"stream": 0, "public": 0, "market": 4, "api": 8}


class BinanceSession(Session):
    """The connections that symbols of one of Binance's markets need: `market` is a key of VENUES."""

    exchange: ClassVar[str] = "binance"
    market: ClassVar[str] = "binance"

    def __init__(
        self, symbols: Sequence[str], endpoints: Endpoints | None = None, policy: Policy | None = None, seed: int = 0
    ) -> None:
        venue = self.venue = VENUES[self.market]
        super().__init__([symbol.upper() for symbol in symbols], {**venue.endpoints, **(endpoints or {})}, policy, seed)
        for role, streams in venue.roles.items():
            if len(symbols) * len(streams + venue.extras.get(role, ())) > MAX_STREAMS:
                raise InputError(
                    f"{len(symbols)} symbols need more than {MAX_STREAMS} streams on one: use several processes"
                )
            for replica in range(self.policy.replicas):
                self.slots.append(Slot(role, replica, _STREAM_NUMBER[role] + replica % 4, self.endpoints[role]))
        self._api = Slot("api", 0, _STREAM_NUMBER["api"], self.endpoints.get("api", ""), wanted=False)
        if venue.api:
            self.slots.append(self._api)
        self._by_symbol = {book.symbol.encode(): book.index for book in self.books}
        self._routes: dict[bytes, tuple[int, int]] = {}  # stream name → (instrument, what it carries)
        self._requests: dict[int, int] = {}  # request → instrument
        self._queue: list[str] = []  # requests that wait for the connection
        self._request = 0
        self._api_used_ns = 0
        self.budget = Budget(venue.weight_per_minute)
        self.rules_weight, self.book_weight = venue.rules_weight, venue.depth_weight

    # -- streams ----------------------------------------------------------------------------------------------------

    def _greet(self, now: int, link: Link) -> None:
        if link.slot.role == "api":
            self._api_used_ns = now
            for text in self._queue:
                self.actions.append(Send(link.number, text))
            self._queue.clear()
            return
        link.pending = {self._subscribe(link, self.venue.roles[link.slot.role])}
        if extras := self.venue.extras.get(link.slot.role):
            link.extra = self._subscribe(link, extras)

    def _subscribe(self, link: Link, names: tuple[str, ...]) -> str:
        """Subscribes all symbols to some streams; returns the request's id as it comes back."""
        streams = [f"{book.symbol.lower()}@{name}" for book in self._wanted() for name in names]
        self._request += 1
        text = json.dumps({"method": "SUBSCRIBE", "params": streams, "id": self._request}, separators=(",", ":"))
        self.actions.append(Send(link.number, text))
        return str(self._request)

    def _probe(self, now: int, link: Link) -> None:
        del now
        self._request += 1
        method = "ping" if link.slot.role == "api" else "LIST_SUBSCRIPTIONS"
        self.actions.append(Send(link.number, f'{{"method":"{method}","id":{self._request}}}'))

    def message(self, now: int, number: int, payload: Payload) -> Engines:
        """A message came; see `Session.message`."""
        link = self._links.get(number)
        if link is None:
            return DROP
        link.last_ns, link.probed_ns = now, 0
        link.messages += 1
        if link.slot.role == "api":
            return self._answer(now, link, payload)
        head = bytes(payload[:96])
        route = self._routes.get(head[11 : head.find(b'"', 11)]) if head.startswith(_HEAD) else None
        if route is None:
            route = self._route(head, payload)
            if route is None:
                self._control(now, link, payload)
                return DROP
        instrument, what = route
        if what == _LIQUIDATION:  # no sign that the book's stream lives
            return DROP if self._repeats_liquidation(instrument, _order(payload)) else self._alone[instrument]
        link.data_ns = now
        if what == _DEPTH:
            book = self.books[instrument]
            link.seen.add(instrument)
            book.updates, book.heard_ns = True, now
        elif what == _TRADE and self._repeats(instrument, _TRADE_ID.search(payload)):
            return DROP
        return self._alone[instrument]

    def _passing(self, role: str) -> tuple[bytes, ...]:
        """Quotes: neither a book nor trades that could repeat."""
        symbol = self.books[0].symbol.lower()
        names = [name for name in self.venue.roles.get(role, ()) if _WHAT[name.partition("@")[0].encode()] == _OTHER]
        return tuple(b'%b%b@%b"' % (_HEAD, symbol.encode(), name.encode()) for name in names)

    def _route(self, head: bytes, payload: Payload) -> tuple[int, int] | None:
        """Instrument and content of a message whose stream name is new, or that has none."""
        match = _STREAM.search(head)
        if match:
            instrument, what = self._by_symbol.get(match[1].upper()), _WHAT.get(match[2])
            if instrument is None or what is None:
                return None
            if head.startswith(_HEAD):
                self._routes[head[11 : head.find(b'"', 11)]] = (instrument, what)
            return instrument, what
        event, symbol = _EVENT.search(head), _SYMBOL.search(payload)
        if event and symbol:
            instrument, what = self._by_symbol.get(symbol[1]), _EVENTS.get(event[1])
            if instrument is not None and what is not None:
                return instrument, what
        return None

    def _control(self, now: int, link: Link, payload: Payload) -> None:
        """Acknowledgements, errors, announcements."""
        message = self._object(payload)
        if message is None:
            link.slot.garbage += 1
            return
        inner = message.get("data")
        if message.get("e") == "serverShutdown" or (isinstance(inner, dict) and inner.get("e") == "serverShutdown"):
            self._rotate(now, link, "the server announced that it shuts down")
            return
        error = message.get("error", message if "code" in message and "msg" in message else None)
        identity = str(message.get("id"))
        if isinstance(error, dict):
            text = f"{error.get('msg', 'refused')} (code {error.get('code', '?')})"
            if link.extra and identity == link.extra:
                self.actions.append(Note("warning", f"{link.slot.role}: no liquidations: {text}"))
            elif link.pending and not any(book.ever for book in self.books):
                self._fail(f"the subscription was refused: {text}", bad_input=True)
            elif link.pending:  # it is what it was when it was accepted
                self._drop(now, link, f"the subscription was refused: {text}")
            else:
                self.actions.append(Note("warning", f"{link.slot.role}: {text}"))
            return
        if identity in link.pending:
            link.pending.discard(identity)
            link.acked_ns = now
        elif "result" not in message:
            link.slot.garbage += 1

    # -- snapshots --------------------------------------------------------------------------------------------------

    def _need_book(self, now: int, book: Book) -> None:
        if book.request or not book.updates or now < max(book.retry_ns, self._calm_ns):
            return
        if wait := self.budget.wait_ns(now, self.book_weight):
            book.retry_ns = now + wait
            return
        self._request += 1
        book.request, book.asked_ns = self._request, now
        book.snapshots += 1
        self._requests[self._request] = book.index
        if self.venue.api:
            params = {"symbol": book.symbol, "limit": self.venue.depth_limit}
            self._ask(
                now, json.dumps({"id": self._request, "method": "depth", "params": params}, separators=(",", ":"))
            )
        else:
            self.actions.append(
                Fetch(self._request, depth_url(self.market, self.endpoints, book.symbol, self.venue.depth_limit))
            )

    def _ask(self, now: int, text: str) -> None:
        """Sends a request, on a connection that is opened for it if there is none."""
        self._api.wanted = True
        self._api_used_ns = now
        link = self._api.current
        if link is not None and link.state == OPEN:
            self.actions.append(Send(link.number, text))
            return
        self._queue.append(text)
        if link is None and now >= self._api.retry_ns:
            self._open(now, self._api)

    def _answer(self, now: int, link: Link, payload: Payload) -> Engines:
        """An answer of the WebSocket API."""
        match = _ID.search(payload[:256]) or _ID.search(payload)
        if b'"serverShutdown"' in bytes(payload[:256]):
            self._drop(now, link, "the server announced that it shuts down")
            return DROP
        instrument = self._requests.pop(int(match[1]), None) if match else None
        if match is None or instrument is None:
            if match is None:
                link.slot.garbage += 1
            return DROP
        self._api_used_ns = now
        request = int(match[1])
        if _OK.search(payload[:256]) or _OK.search(payload):
            return self._snapshot(now, request, instrument)
        self._refused(now, request, instrument, payload)
        return DROP

    def fetched(
        self, now: int, request: int, status: int, payload: Payload, why: str = "", *, retry_ns: int = 0
    ) -> Engines:
        """The answer to a Fetch; see `Session.fetched`."""
        instrument = self._requests.pop(request, None)
        if instrument is None:
            return DROP
        if status == 200:
            return self._snapshot(now, request, instrument)
        if status:
            self._refused(now, request, instrument, payload, status, retry_ns)
        else:
            self._missed(now, self.books[instrument], request, why)
        return DROP

    def _snapshot(self, now: int, request: int, instrument: int) -> Engines:
        """A snapshot that was asked for before the book was thrown away once more is of no use."""
        book = self.books[instrument]
        if book.request != request:
            return DROP
        book.request = 0
        # If the kernel does not take it (too old), the next need waits a little.
        book.retry_ns = now + self._resync_wait(book)
        return self._alone[instrument]

    def _refused(
        self, now: int, request: int, instrument: int, payload: Payload, status: int = 0, retry_ns: int = 0
    ) -> None:
        """An error in place of a snapshot."""
        book = self.books[instrument]
        found = self._object(payload) or {}
        error = found["error"] if isinstance(found.get("error"), dict) else found
        code, text = error.get("code"), str(error.get("msg", "no reason given"))
        if code in (-1121, -1122):
            self._unknown(now, book, f"there is no symbol {book.symbol} ({text})")
            return
        self._missed(now, book, request, f"{text} (code {code})")
        if code in (-1003, -1015) or status in (418, 429):
            self._be_calm(now, retry_ns or _told(now, error, text) or self.policy.limited_ns)

    def _be_calm(self, now: int, wait_ns: int) -> None:
        """The request connection goes too: its pings are requests that count."""
        super()._be_calm(now, wait_ns)
        self._api.wanted = False
        if self._api.current is not None:
            self._drop(now, self._api.current, "too many requests")

    def _missed(self, now: int, book: Book, request: int, why: str) -> None:
        if book.request == request:
            book.request = 0
            book.retry_ns = now + self._resync_wait(book)
            self.actions.append(Note("warning", f"{book.symbol}: no snapshot: {why}"))

    def _after_reset(self, now: int, book: Book) -> None:
        if now - book.synced_ns > self.policy.stable_ns:
            book.attempt, book.retry_ns = 0, 0

    def _lose(self, now: int, link: Link, why: str) -> None:
        super()._lose(now, link, why)
        if link.slot.role == "api":
            self._queue.clear()
            self._requests.clear()
            for book in self.books:
                if book.request:
                    self._missed(now, book, book.request, why)

    def _tend(self, now: int, link: Link) -> None:
        super()._tend(now, link)
        quiet = link.acked_ns and now - link.acked_ns >= self.policy.overlap_ns
        if quiet and link.slot.role == self.book_role and len(link.seen) < len(self.books):
            link.seen.update(range(len(self.books)))  # acknowledged, and nothing happens: a quiet symbol

    def _tick(self, now: int) -> None:
        policy = self.policy
        for book in self.books:
            if book.request and now - book.asked_ns > policy.answer_timeout_ns:
                self._requests.pop(book.request, None)
                self._missed(now, book, book.request, f"no answer in {policy.answer_timeout_ns // SECOND} s")
                if self._api.current is not None:
                    self._drop(now, self._api.current, "no answer to a request")
            if not book.synced and not book.given_up:
                book.updates = book.updates or self._carried(book.index)
                self._need_book(now, book)
        api = self._api
        if api.wanted and now - self._api_used_ns > policy.api_idle_ns and not self._requests and not self._queue:
            api.wanted = False
            if api.current is not None:
                self._drop(now, api.current, "idle")


class BinanceUsdmSession(BinanceSession):
    """USD-M futures: two connections, /public for the book and /market for trades."""

    exchange: ClassVar[str] = "binance-usdm"
    market: ClassVar[str] = "binance-usdm"


class BinanceCoinmSession(BinanceSession):
    """COIN-M futures: one connection, snapshots by REST."""

    exchange: ClassVar[str] = "binance-coinm"
    market: ClassVar[str] = "binance-coinm"


for _session in (BinanceSession, BinanceUsdmSession, BinanceCoinmSession):
    _session.book_role = VENUES[_session.market].book_role


# -- addresses ------------------------------------------------------------------------------------------------------


def depth_url(market: str, endpoints: Endpoints, symbol: str, limit: int) -> str:
    """GET: a snapshot of the book."""
    return f"{endpoints['rest']}{VENUES[market].rest}/depth?symbol={quote(symbol.upper())}&limit={limit}"


def instruments_url(market: str, endpoints: Endpoints, symbols: Sequence[str]) -> str:
    """GET: the rules of some symbols (spot) or of all (futures take no symbol)."""
    names = json.dumps([symbol.upper() for symbol in symbols], separators=(",", ":"))
    one = f"symbol={quote(symbols[0].upper())}" if len(symbols) == 1 else f"symbols={quote(names)}"
    query = f"?{one}" if market == "binance" else ""
    return f"{endpoints['rest']}{VENUES[market].rest}/exchangeInfo{query}"


def instruments_request(symbol: str) -> str:
    """The WebSocket API's request for what `instruments_url` tells: of one symbol, or of all that trade. Spot only."""
    params = {"symbol": symbol.upper()} if symbol else {"symbolStatus": "TRADING"}
    return request_text(1, "exchangeInfo", {**params, "showPermissionSets": False})


def depth_request(symbol: str, limit: int) -> str:
    """The WebSocket API's request for a snapshot."""
    return request_text(1, "depth", {"symbol": symbol.upper(), "limit": limit})


def _order(payload: Payload) -> bytes:
    """What a liquidation's message says of the order."""
    text = bytes(payload)
    return text[text.find(b'"o":{') :]


def _told(now: int, error: Mapping[str, Any], text: str) -> int:
    """How long an error says to wait, by rule 7; 0 where it does not."""
    data = error.get("data")
    after, base = (data.get("retryAfter"), data.get("serverTime")) if isinstance(data, dict) else (None, None)
    if not isinstance(after, int) and (match := _UNTIL.search(text)):
        after = int(match[1])
    if not isinstance(after, int):
        return 0
    wait = (after - base) * MS if isinstance(base, int) else after * MS - now
    return wait if 0 < wait <= 72 * HOUR else 0


def price_of(answer: Any) -> str | None:
    """A recent price out of the answer to `depth_url`: the best bid, or the best ask."""
    for side in ("bids", "asks"):
        levels = answer.get(side) if isinstance(answer, dict) else None
        if levels:
            return str(levels[0][0])
    return None


# -- signatures -----------------------------------------------------------------------------------------------------


def signing_payload(params: Mapping[str, object]) -> bytes:
    """What is signed for the WebSocket API: all parameters except `signature`, in alphabetical order, `k=v&…`, UTF-8.

    developers.binance.com, WebSocket API, "SIGNED request security"; values as they are sent, not percent-encoded.
    """
    return "&".join(f"{key}={_text(value)}" for key, value in sorted(params.items()) if key != "signature").encode()


def signed(params: Mapping[str, object], sign: Callable[[bytes], str]) -> dict[str, object]:
    """The parameters with `signature`. `sign`: bytes to the signature's text (see `cwts.exchanges.signing`)."""
    return {**params, "signature": sign(signing_payload(params))}


def request_text(identity: int | str, method: str, params: Mapping[str, object]) -> str:
    """A request of the WebSocket API."""
    return json.dumps(
        {"id": identity, "method": method, "params": dict(params)}, separators=(",", ":"), ensure_ascii=False
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
