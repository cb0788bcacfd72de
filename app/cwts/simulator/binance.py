"""Binance as its clients see it: market streams of spot, USD-M and COIN-M. Requests are `binance_api.py`'s.

* Spot: `/ws/<stream>`, `/stream?streams=a/b`, ping every 20 s, 24 h, at most 5 messages a second from a client.
* USD-M since 2026-04-23: the same two forms under `/public` (depth, bookTicker, trade), `/market` (everything else) and
  `/private` (`?listenKey=`); the old paths are gone. A stream asked for on the wrong one is accepted and stays silent.
* COIN-M: `/ws` and `/stream`. Futures: ping every 3 minutes, at most 10 messages a second.
Every stream of recorded updates sends them as they were recorded, whatever speed its name asks for. Binance's pages:
web-socket-streams.md (spot), "Important WebSocket Change Notice" (USD-M).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from aiohttp import web

from cwts.simulator.binance_api import BinanceApi
from cwts.simulator.binance_rules import is_request_id
from cwts.simulator.book import ASK, BID, ZERO, Book, Level
from cwts.simulator.exchange import Exchange, Market
from cwts.simulator.strict_json import loads
from cwts.simulator.wire import Health, Peer

if TYPE_CHECKING:
    from cwts.simulator.faults import Fault
    from cwts.simulator.server import Simulator
    from cwts.simulator.tape import Message

_STAMPS = re.compile(rb'"(E|T|U|u|pu)"\s*:\s*([0-9]+)')  # recordings of other tools have spaces
_TRADE_IDS = re.compile(rb'"([tafl])"\s*:\s*([0-9]+)')
PUBLIC_CHANNELS = re.compile(r"depth|rpiDepth|bookTicker|trade$")
PARTIAL = (5, 10, 20)
API = {"binance": "api", "binance-usdm": "fapi", "binance-coinm": "dapi"}
NOT_MARKET = ("NA", "INSURANCE_FUND")

SPOT_HEALTH = Health(ping=20, pong=60, life=86400, per_second=5)
FUTURES_HEALTH = Health(ping=180, pong=600, life=86400, per_second=10)
API_HEALTH = Health(ping=20, pong=60, life=86400)


class Binance(Exchange):
    """One of Binance's three markets."""

    broken: ClassVar = {"code": -1000, "msg": "An unknown error occurred while processing the request."}

    def __init__(self, sim: Simulator, name: str) -> None:
        super().__init__(sim)
        self.name = name
        self.spot = name == "binance"
        self._listeners: dict[tuple[str, str], dict[Peer, list[str]]] = {}
        self._top: dict[str, tuple[object, object]] = {}
        self.api = BinanceApi(self)

    def open_desk(self, market: Market) -> None:
        """Orders for a market are taken here."""
        self.api.desk.attach(market)

    # -- recordings ---------------------------------------------------------------------------------------------------

    def play(self, message: Message) -> None:
        """One recorded message: moves the book, and goes out to those who asked for it."""
        market = self.markets.get(message.symbol)
        if market is None:
            market = self.sim.open_market(self.name, message.symbol)
        if market.gone:
            return
        kind = message.kind
        if kind == "depthUpdate":
            self._depth(market, message)
        elif kind == "snapshot":
            self._snapshot(market, message)
        elif kind == "forceOrder":  # of any symbol, whether its book was recorded or not
            raw = self._restamped(message, 0)
            self._publish(market.symbol, kind, raw)
            self._publish("!", kind, raw)
        elif not market.ready:
            return
        elif kind in ("trade", "aggTrade"):
            self._trade(market, message)
        elif kind == "bookTicker":
            self._publish(market.symbol, "bookTicker", self._restamped(message, market.shift))
        elif kind == "markPriceUpdate":
            raw = self._restamped(message, 0)
            self._publish(market.symbol, "markPrice", raw)
            self._publish("!", "markPrice", b"[" + raw + b"]")

    def _snapshot(self, market: Market, message: Message) -> None:
        data = message.data
        if not market.ready:
            market.apply(data["bids"], data["asks"], data["lastUpdateId"])
            market.recorded_id = data["lastUpdateId"]
            market.ready = True
            waiting, market.waiting = market.waiting, []
            for update in waiting:
                if update.data["u"] > market.recorded_id:
                    self._depth(market, update)
            market.start = market.snapshot(None)
        elif market.gap and data["lastUpdateId"] >= market.recorded_id:
            market.gap = False
            self._become(market, data["bids"], data["asks"], data["lastUpdateId"])

    def _depth(self, market: Market, message: Message) -> None:
        data = message.data
        if not market.ready:
            if self.sim.has_snapshot(self.name, market.symbol):
                market.waiting.append(message)
                return
            market.ready = True  # no snapshot will come: the book starts empty and fills
            market.recorded_id = data["U"] - 1
            market.book.last_id = market.recorded_id
            market.start = market.snapshot(None)
        first, last = data["U"], data["u"]
        if last <= market.recorded_id:
            return  # recorded twice, or before the snapshot that mended a gap
        previous = market.book.last_id
        if first > market.recorded_id + 1 if self.spot else data["pu"] > market.recorded_id:
            market.gap = True
        market.recorded_id = last
        last += market.shift
        ids = {b"u": last, b"U": min(first + market.shift, previous + 1)}
        if not self.spot:
            ids[b"pu"] = previous
        self._send_depth(market, data["b"], data["a"], last, self._rewritten(message, ids))

    def _send_depth(self, market: Market, bids: list[Level], asks: list[Level], last: int, raw: bytes) -> None:
        market.apply(bids, asks, last)
        market.remember(self.tape_s)
        symbol = market.symbol
        self._publish(symbol, "depth", raw)
        for depth in PARTIAL:
            if (symbol, f"depth{depth}") in self._listeners:
                self._publish(symbol, f"depth{depth}", self._partial(market, depth))
        if "bookTicker" not in market.kinds:
            top = market.best(BID), market.best(ASK)
            if self._top.get(symbol) != top and top[0] and top[1]:
                self._top[symbol] = top
                self._publish(symbol, "bookTicker", dumps(self.book_ticker(market)))

    def _become(self, market: Market, bids: list[Level], asks: list[Level], recorded_id: int) -> None:
        """Turns the book into another one by one more update."""
        previous = market.book.last_id
        changes = market.book.difference(bids, asks)
        last = previous + 1
        now = self.now_ms()
        update: dict[str, Any] = {"e": "depthUpdate", "E": now}
        if not self.spot:
            update["T"] = now
        update |= {"s": market.symbol}
        if self.name == "binance-coinm":
            update["ps"] = market.symbol.partition("_")[0]
        update |= {"U": last, "u": last} if self.spot else {"U": last, "u": last, "pu": previous}
        update |= {"b": changes[0], "a": changes[1]}
        self._send_depth(market, changes[0], changes[1], last, dumps(update))
        market.recorded_id = recorded_id
        market.shift = last - recorded_id

    def rewind(self, seconds: float) -> None:
        """Every book goes back to its start by an update like any other."""
        self.looped_ms += int(seconds * 1000)
        for market in self.markets.values():
            if market.start is not None:
                bids, asks, start_id = market.start
                self._become(market, bids, asks, start_id)
                market.gap = False
            newest, first = market.trade_ids
            market.trade_shift += newest - first + 1 if newest else 0

    def _trade(self, market: Market, message: Message) -> None:
        data, kind = message.data, message.kind
        derived = "aggTrade" if kind == "trade" else "trade"
        recorded_id = int(data["t"] if kind == "trade" else data["a"])
        market.trade_ids = (max(recorded_id, market.trade_ids[0]), market.trade_ids[1] or recorded_id)
        raw = self._restamped(message, 0)
        if market.trade_shift:
            raw = _TRADE_IDS.sub(lambda m: b'"%s":%d' % (m[1], int(m[2]) + market.trade_shift), raw)
        counts = kind == "trade" or "trade" not in market.kinds  # when both were recorded, one of them is the market
        if counts and data.get("X") not in NOT_MARKET:
            trade_id = recorded_id + market.trade_shift
            market.traded(trade_id, data["p"], data["q"], self.now_ms(), buyer_is_maker=data["m"] is True)
        self._publish(market.symbol, kind, raw)
        if derived not in market.kinds and (market.symbol, derived) in self._listeners:
            if data.get("X") in NOT_MARKET:
                return
            sent = json.loads(raw)
            common = {"e": derived, "E": sent["E"]} | ({} if self.spot else {"T": sent["T"]}) | {"s": market.symbol}
            if derived == "aggTrade":
                common |= {"a": sent["t"], "p": sent["p"], "q": sent["q"], "f": sent["t"], "l": sent["t"]}
            else:
                common |= {"t": sent["a"], "p": sent["p"], "q": sent["q"]}
            common |= {"T": sent["T"], "m": sent["m"]} | ({"M": True} if self.spot else {})
            if derived == "trade" and not self.spot:
                common["X"] = "MARKET"
            self._publish(market.symbol, derived, dumps(common))

    # -- numbers in messages ------------------------------------------------------------------------------------------

    def _rewritten(self, message: Message, ids: dict[bytes, int]) -> bytes:
        """An update with other ids and, unless the recording's clock is kept, other times; else untouched."""
        data = message.data
        delta = self.stamp(data["E"])
        if not delta and all(data[name.decode()] == value for name, value in ids.items()):
            return message.raw

        def replace(match: re.Match[bytes]) -> bytes:
            value = ids.get(match[1])
            return b'"%s":%d' % (match[1], int(match[2]) + delta if value is None else value)

        return _STAMPS.sub(replace, message.raw)

    def _restamped(self, message: Message, shift: int) -> bytes:
        """Any other message with the times shifted."""
        data = message.data
        stamped = data.get("E") or data.get("T")
        delta = self.stamp(stamped) if isinstance(stamped, int) else 0
        if not delta and not shift:
            return message.raw

        def replace(match: re.Match[bytes]) -> bytes:
            return b'"%s":%d' % (match[1], int(match[2]) + (delta if match[1] in (b"E", b"T") else shift))

        return _STAMPS.sub(replace, message.raw)

    def _partial(self, market: Market, depth: int) -> bytes:
        bids, asks = market.book.bids.top(depth), market.book.asks.top(depth)
        last = market.book.last_id
        if self.spot:
            return dumps({"lastUpdateId": last, "bids": bids, "asks": asks})
        now = self.now_ms()
        return dumps(
            {"e": "depthUpdate", "E": now, "T": now, "s": market.symbol, "U": last, "u": last, "pu": last}
            | {"b": bids, "a": asks}
        )

    def book_ticker(self, market: Market) -> dict[str, Any]:
        """The bookTicker event of the book as it is."""
        bid, ask = market.best(BID) or ("0", "0"), market.best(ASK) or ("0", "0")
        ticker: dict[str, Any] = {"u": market.book.last_id, "s": market.symbol}
        ticker |= {"b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
        if not self.spot:
            now = self.now_ms()
            ticker = {"e": "bookTicker"} | ticker | {"T": now, "E": now}
        return ticker

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _publish(self, symbol: str, channel: str, raw: bytes) -> None:
        listeners = self._listeners.get((symbol, channel))
        if not listeners:
            return
        for peer, names in list(listeners.items()):
            for name in names:
                if peer.state["combined"]:
                    peer.push(b'{"stream":"%s","data":%s}' % (name.encode(), raw), symbol, channel)
                else:
                    peer.push(raw, symbol, channel)

    def subscribe(self, peer: Peer, name: str) -> None:
        """Adds a stream. One that does not exist is accepted and silent, as on the real one."""
        if name in peer.streams:
            return
        peer.streams[name] = None
        key = stream_key(name)
        if key is None:
            self.sim.note("unknown stream", connection=peer.number, stream=name)
            return
        if self.name == "binance-usdm" and (peer.endpoint == "public") != bool(PUBLIC_CHANNELS.match(key[1])):
            self.sim.note("stream on the wrong path", connection=peer.number, stream=name, path=peer.endpoint)
            return
        self._listeners.setdefault(key, {}).setdefault(peer, []).append(name)
        self.sim.subscribed()

    def unsubscribe(self, peer: Peer, name: str) -> None:
        """Takes a stream away."""
        peer.streams.pop(name, None)
        self.api.unlisten(peer, name)
        key = stream_key(name)
        if key is not None and (listeners := self._listeners.get(key)) and (names := listeners.get(peer)):
            if name in names:
                names.remove(name)
            if not names:
                del listeners[peer]
            if not listeners:
                del self._listeners[key]

    def left(self, peer: Peer) -> None:
        """A connection has ended."""
        for name in list(peer.streams):
            self.unsubscribe(peer, name)
        self.api.left(peer)

    # -- connections --------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request, path: str) -> web.StreamResponse:
        """Streams, the WebSocket API, or a request."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self.api.rest(request, path)
        if re.fullmatch(rf"/ws-{API[self.name]}/v[0-9]", path):
            peer = Peer(self.sim, self.name, "ws-api", request, API_HEALTH.compressed(self.sim.compress))
            return await self.sim.connected(self, peer, self.api.on_text, lambda _peer: None)
        found = re.fullmatch(r"(/public|/market|/private|)/(ws|stream)(?:/(.*))?", path)
        if found is None or bool(found[1]) != (self.name == "binance-usdm"):
            raise web.HTTPNotFound(text="Not Found")
        endpoint = found[1][1:] or "stream"
        combined = found[2] == "stream"
        health = (SPOT_HEALTH if self.spot else FUTURES_HEALTH).compressed(self.sim.compress)
        peer = Peer(self.sim, self.name, endpoint, request, health)
        peer.state["combined"] = combined
        names = [unquote(name) for name in (found[3] or "").split("/") if name]
        names += [name for name in request.query.get("streams", "").split("/") if name]
        names += [key for keys in request.query.getall("listenKey", []) for key in keys.split("/") if key]

        def opened(peer: Peer) -> None:
            for name in names:
                if not self.api.listen(peer, name):
                    self.subscribe(peer, name)

        return await self.sim.connected(self, peer, self._on_text, opened)

    def _on_text(self, peer: Peer, text: bytes) -> None:
        """A request on a stream connection."""
        try:
            request = loads(text)
        except ValueError as error:
            place = getattr(error, "colno", 1)
            peer.reply({"error": {"code": 3, "msg": f"Invalid JSON: expected value at line 1 column {place}"}})
            return
        if not isinstance(request, dict):
            request = {}
        request_id = request.get("id")

        def refuse(code: int, text: str) -> None:
            error = {"code": code, "msg": text}
            peer.reply({"error": error} | ({"id": request_id} if request_id is not None else {}))

        if not is_request_id(request_id):
            request_id = None
            refuse(2, "Invalid request: request ID must be an unsigned integer")
            return
        method, params = request.get("method"), request.get("params")
        if method is None:
            refuse(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
        elif not isinstance(method, str):
            refuse(2, f"Invalid request: invalid type: expected a string at line 1 column {len(text)}")
        elif method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
                refuse(2, "Invalid request: invalid type: expected a sequence of streams")
                return
            limit = 1024 if self.spot else 200
            if method == "SUBSCRIBE" and len(set(params) | set(peer.streams)) > limit:
                refuse(4, f"Invalid request: too many streams, at most {limit}")
                return
            peer.reply({"result": None, "id": request_id})
            for name in params:
                if method == "UNSUBSCRIBE":
                    self.unsubscribe(peer, name)
                elif not self.api.listen(peer, name):
                    self.subscribe(peer, name)
        elif method == "LIST_SUBSCRIPTIONS":
            peer.reply({"result": list(peer.streams), "id": request_id})
        elif method in ("SET_PROPERTY", "GET_PROPERTY"):
            if not isinstance(params, list) or not params or not isinstance(params[0], str):
                refuse(2, "Invalid request: property name must be a string")
            elif params[0] != "combined":
                refuse(0, "Unknown property")
            elif method == "GET_PROPERTY":
                peer.reply({"result": peer.state["combined"], "id": request_id})
            elif len(params) != 2 or not isinstance(params[1], bool):
                refuse(1, "Invalid value type: expected Boolean")
            else:
                peer.state["combined"] = params[1]
                peer.reply({"result": None, "id": request_id})
        else:
            refuse(
                2,
                f"Invalid request: unknown variant `{method}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
                f"`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column {len(text)}",
            )

    def fault(self, fault: Fault) -> None:
        """serverShutdown, and what every exchange has."""
        super().fault(fault)
        if fault.kind == "shutdown":
            event = {"e": "serverShutdown", "E": self.now_ms()}
            for peer in self.peers_of(fault):
                wrapped = {"event": event} if peer.endpoint == "ws-api" else event
                peer.reply(wrapped)
                peer.later(fault.seconds, lambda peer=peer: peer.close(1001, b"shutdown"))

    def every_second(self) -> None:
        """Tickers and mark prices; what goes stale in the accounts."""
        for (symbol, channel), _ in list(self._listeners.items()):
            if channel not in ("ticker", "miniTicker", "markPrice"):
                continue
            markets = [self.markets[symbol]] if symbol in self.markets else []
            if symbol == "!":
                markets = list(self.markets.values())
            events = []
            for market in markets:
                if not market.ready or (channel == "markPrice" and "markPriceUpdate" in market.kinds):
                    continue
                events.append(self.mark_price(market) if channel == "markPrice" else self.ticker(market, channel))
            if events:
                self._publish(symbol, channel, dumps(events if symbol == "!" else events[0]))
        self.api.every_second()

    def ticker(self, market: Market, channel: str) -> dict[str, Any]:
        """The rolling statistics, since the replay started."""
        now = self.now_ms()
        last, first = market.last_price or market.mid, market.first_price or market.mid
        common = {"c": text(last), "o": text(first), "h": text(market.high or last), "l": text(market.low or last)}
        volumes = {"v": text(market.volume), "q": text(market.turnover)}
        if channel == "miniTicker":
            return {"e": "24hrMiniTicker", "E": now, "s": market.symbol} | common | volumes
        bid, ask = market.best(BID) or ("0", "0"), market.best(ASK) or ("0", "0")
        mean = market.turnover / market.volume if market.volume else last
        ids = [trade["id"] for trade in market.trades] or [-1]
        event: dict[str, Any] = {"e": "24hrTicker", "E": now, "s": market.symbol, "p": text(last - first)}
        event |= {"P": f"{(last - first) / first * 100:.3f}" if first else "0.000", "w": text(mean)}
        if self.spot:
            event |= {"x": text(first)}
        event |= {"Q": market.trades[-1]["qty"] if market.trades else "0"}
        if self.spot:
            event |= {"b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
        return (
            event
            | common
            | volumes
            | {"O": now - 86400000, "C": now, "F": ids[0], "L": ids[-1], "n": market.trade_count}
        )

    def mark_price(self, market: Market) -> dict[str, Any]:
        """The middle of the book stands in for the mark and the index price."""
        now, price = self.now_ms(), text(market.mid or ZERO)
        return {
            "e": "markPriceUpdate", "E": now, "s": market.symbol, "p": price, "P": price, "i": price,
            "r": "0.00010000", "T": (now // 28_800_000 + 1) * 28_800_000,
        }  # fmt: skip

    def true_book(self, symbol: str) -> Book:
        """The exchange's own book."""
        return self.markets[symbol].book


# A symbol (or ! for all of them), a channel, and perhaps a speed or a time zone.
_STREAM = re.compile(r"(?:!|(\w+)@)([A-Za-z]+\w*)((?:@(?:arr|[0-9]+m?s|[+-][0-9:]+))*)")


def stream_key(name: str) -> tuple[str, str] | None:
    """(symbol, channel) of a stream's name; speeds are left out. None if it has not the form of one."""
    found = _STREAM.fullmatch(name)
    if found is None:
        return None
    symbol, channel, _ = found.groups()
    if symbol is None:
        return "!", channel.partition("_")[0]
    return (symbol.upper(), channel) if symbol == symbol.lower() else None


def dumps(message: object) -> bytes:
    """JSON as the exchange writes it: without spaces."""
    return json.dumps(message, separators=(",", ":")).encode()


def text(value: object) -> str:
    """A number with eight decimals, as in Binance's statistics."""
    return f"{value:.8f}"
