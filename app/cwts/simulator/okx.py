"""OKX v5 as its clients see it: books with their seqId chain, trades, tickers, login and the order and account
channels.

* `/ws/v5/public`, `/private` (login first) and `/business`; text `ping` is answered with `pong`; 30 s without any
  message in either direction end a connection. A subscription is acknowledged, then the snapshot comes in band with
  `prevSeqId` -1.
* `books` and `books-l2-tbt` are the best 400 levels a side, `books50-l2-tbt` the best 50: a level that drops out of
  them is deleted by an update, one that comes in is added (so it is in the recordings: a side that has 400 levels
  keeps 400). What happens further down is not sent.
* Every update continues the chain (`prevSeqId` is the last `seqId`); a recording without ids gets a chain of its own.
  `checksum` is 0, as since 2026, unless the simulator was told to compute it.
* Orders over the WebSocket name the instrument by `instIdCode`; `instId` is no longer taken there, but is over REST.
  Source: OKX API guide v5 and its error code pages.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
import zlib
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from cwts.simulator import accounts
from cwts.simulator.book import ASK, BID, ZERO, Level, changed, number, plain
from cwts.simulator.desk import Desk, Refusal
from cwts.simulator.exchange import Exchange, Market
from cwts.simulator.strict_json import loads
from cwts.simulator.tape import OKX_BOOKS
from cwts.simulator.wire import Health, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.simulator.accounts import Account, Key
    from cwts.simulator.faults import Fault
    from cwts.simulator.matching import Fill, Order
    from cwts.simulator.server import Simulator
    from cwts.simulator.tape import Message

HEALTH = Health(idle=30)
INCREMENTAL = {"books": 400, "books-l2-tbt": 400, "books50-l2-tbt": 50}  # channel → levels a side
BY_TYPE = ("instruments", "status", "liquidation-orders")  # subscribed to by instType
PUBLIC = {*INCREMENTAL, "books5", "bbo-tbt", "trades", "tickers", "instruments", "mark-price", "liquidation-orders"}
PUBLIC |= {"funding-rate", "status", "price-limit", "open-interest"}
PRIVATE = {"orders", "account", "positions", "balance_and_position", "fills"}
BUSINESS = {"trades-all", "orders-algo"}
OPERATIONS = ("subscribe", "unsubscribe", "login", "order", "batch-orders", "cancel-order", "batch-cancel-orders")
ORDERS = {  # over REST
    "/api/v5/trade/order": "order",
    "/api/v5/trade/batch-orders": "order",
    "/api/v5/trade/cancel-order": "cancel-order",
    "/api/v5/trade/cancel-batch-orders": "cancel-order",
}
KEEPALIVE_S = 60.0
SIDES = {"buy": BID, "sell": ASK}
SIDE_NAMES = ("buy", "sell")
TIFS = {"market": "GTC", "limit": "GTC", "post_only": "GTX", "fok": "FOK", "ioc": "IOC", "optimal_limit_ioc": "IOC"}
_NOTHING_TO_REDUCE = (
    "Order failed because you don't have any positions in this direction for this contract to reduce or close."
)
STATES = {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled"}


class OkxError(Exception):
    """An error as OKX gives it."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


class Okx(Exchange):
    """The one OKX."""

    name = "okx"
    broken: ClassVar = {"code": "50026", "msg": "System error. Try again later.", "data": []}

    def __init__(self, sim: Simulator) -> None:
        super().__init__(sim)
        self.desk = Desk(self, self._event)
        self._listeners: dict[tuple[str, str], dict[Peer, dict[str, str]]] = {}  # (instId or instType, channel)
        self._sent: dict[tuple[str, int], int] = {}  # (instId, depth) → seqId of the newest update of that depth
        self._private: dict[Peer, list[dict[str, str]]] = {}
        self._updated: dict[str, float] = {}
        self._tops: dict[tuple[str, str], object] = {}
        self._refuse_until = 0.0  # monotonic; every request before is refused

    def open_desk(self, market: Market) -> None:
        """Orders for a market are taken here."""
        self.desk.attach(market)

    # -- recordings ---------------------------------------------------------------------------------------------------

    def play(self, message: Message) -> None:
        """One recorded message: moves the book, and goes out to those who asked for it."""
        market = self.markets.get(message.symbol) or self.sim.open_market(self.name, message.symbol)
        kind, rows = message.kind, message.data["data"]
        if market.gone:
            return
        if kind in OKX_BOOKS:
            finest = next((channel for channel in OKX_BOOKS if channel in market.kinds), kind)
            if kind == finest:
                self._book(market, message, rows[0])
        elif kind == "liquidation-orders":
            rows = [row | {"details": self._restamped(row.get("details", []))} for row in self._restamped(rows)]
            self._publish(str(rows[0].get("instType", "")), kind, {"data": rows})
        elif not market.ready:
            return
        elif kind in ("trades", "trades-all"):
            rows = [self._numbered(market, row) for row in rows]
            if kind == "trades" or "trades" not in market.kinds:
                for row in rows:
                    maker = row["side"] == "sell"  # the taker sold: the buyer was the maker
                    market.traded(int(row["tradeId"]), row["px"], row["sz"], self.now_ms(), buyer_is_maker=maker)
            moved = self._restamped(rows)
            self._publish(market.symbol, kind, {"data": moved})
            for other in {"trades", "trades-all"} - market.kinds:
                self._publish(market.symbol, other, {"data": moved})
        elif kind in PUBLIC and kind not in INCREMENTAL and kind not in ("books5", "bbo-tbt"):
            self._publish(market.symbol, kind, {"data": self._restamped(rows)})

    @staticmethod
    def _numbered(market: Market, row: dict[str, Any]) -> dict[str, Any]:
        """A recorded trade with an id that goes on where the round before ended."""
        text = str(row.get("tradeId", ""))
        recorded_id = int(text) if _NUMBER.fullmatch(text) else market.trade_count + 1
        market.trade_ids = (max(recorded_id, market.trade_ids[0]), market.trade_ids[1] or recorded_id)
        return row | {"tradeId": str(recorded_id + market.trade_shift)}

    def _book(self, market: Market, message: Message, row: dict[str, Any]) -> None:
        bids, asks = row["bids"], row["asks"]
        sequence = int(row["seqId"]) if str(row.get("seqId", "")).lstrip("-").isdigit() else None
        whole = message.data.get("action", "snapshot") == "snapshot"
        if not market.ready:
            if not whole and self.sim.has_snapshot(self.name, market.symbol):
                return
            last = sequence if sequence is not None else 1_000_000
            market.ready = True
            market.apply(bids, asks, last)
            market.recorded_id = last
            market.start = market.snapshot(None)
            return
        previous = market.book.last_id
        if whole:
            bids, asks = market.book.difference(bids, asks)
            if not (bids or asks):  # the book as it is, again
                market.recorded_id = sequence if sequence is not None else previous
                return
            last = previous + 1 + len(bids) + len(asks)
        elif sequence is None:
            last = previous + 1 + len(bids) + len(asks)
        else:
            step = sequence - market.recorded_id
            if step < 0 and row.get("prevSeqId") != market.recorded_id:
                step = 1  # the recording has a gap that leads backwards
            last = previous + step
        market.recorded_id = sequence if sequence is not None else last
        if self.sim.armed.take("reset", self.name, symbol=market.symbol):
            self.sim.note("fault hits", fault="reset", symbol=market.symbol)
            last = max(3, previous // 2)
        self._send_book(market, bids, asks, last, self._stamped(row.get("ts")))

    def _send_book(self, market: Market, bids: list[Level], asks: list[Level], last: int, ts: str) -> None:
        previous, symbol = market.book.last_id, market.symbol
        heard = {depth for channel, depth in INCREMENTAL.items() if (symbol, channel) in self._listeners}
        most = max(map(len, market.book.sides))
        tops = {depth: self._top(market, depth) for depth in heard}
        market.apply(bids, asks, last)
        market.remember(self.tape_s)
        self._updated[symbol] = time.monotonic()
        row = {"asks": asks, "bids": bids, "ts": ts, "checksum": self._checksum(*self._top(market, 25))}
        most = max(most, *map(len, market.book.sides))
        for depth in set(INCREMENTAL.values()):
            before = self._sent.pop((symbol, depth), previous)
            if depth not in heard:
                continue  # who comes later begins with the book's own id
            changes = (bids, asks)
            if most > depth:
                changes = changed(tops[depth], self._top(market, depth))
                if not any(changes) and (bids or asks):
                    self._sent[symbol, depth] = before  # below the last level: the chain does not know of it
                    continue
            self._sent[symbol, depth] = last
            update = row | {"bids": changes[0], "asks": changes[1], "seqId": last, "prevSeqId": before}
            for channel, levels in INCREMENTAL.items():
                if levels == depth:
                    self._publish(symbol, channel, {"action": "update", "data": [update]})
        for channel, depth in (("books5", 5), ("bbo-tbt", 1)):
            if (symbol, channel) in self._listeners:
                top = self._top(market, depth)
                if self._tops.get((symbol, channel)) != top:
                    self._tops[symbol, channel] = top
                    self._publish(symbol, channel, {"data": [self._top_row(market, depth, ts)]})

    def rewind(self, seconds: float) -> None:
        """Every book goes back to its start by an update like any other."""
        self.looped_ms += int(seconds * 1000)
        for market in self.markets.values():
            if market.start is not None:
                bids, asks, start_id = market.start
                changes = market.book.difference(bids, asks)
                last = market.book.last_id + 1 + len(changes[0]) + len(changes[1])
                self._send_book(market, *changes, last, str(self.now_ms()))
                market.recorded_id = start_id
            newest, first = market.trade_ids
            market.trade_shift += newest - first + 1 if newest else 0

    def _checksum(self, bids: list[Level], asks: list[Level]) -> int:
        """CRC32 over `bid:qty:ask:qty…` of the best 25 levels, signed; 0 unless asked for."""
        if not self.sim.checksums:
            return 0
        parts: list[str] = []
        for i in range(25):
            for side in (bids, asks):
                if i < len(side):
                    parts += side[i][:2]
        crc = zlib.crc32(":".join(parts).encode())
        return crc - (1 << 32) if crc >= 1 << 31 else crc

    @staticmethod
    def _top(market: Market, depth: int) -> tuple[list[Level], list[Level]]:
        return market.book.bids.top(depth), market.book.asks.top(depth)

    def _top_row(self, market: Market, depth: int, ts: str) -> dict[str, Any]:
        bids, asks = self._top(market, depth)
        return {"asks": asks, "bids": bids, "instId": market.symbol, "ts": ts, "seqId": market.book.last_id}

    def _stamped(self, ts: object) -> str:
        if not isinstance(ts, str) or not ts.isdigit():
            return str(self.now_ms())
        return str(int(ts) + self.stamp(int(ts)))

    def _restamped(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"ts": self._stamped(row["ts"])} if "ts" in row else row for row in rows]

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _publish(self, symbol: str, channel: str, content: dict[str, Any]) -> None:
        listeners = self._listeners.get((symbol, channel))
        if listeners:
            for peer, arg in list(listeners.items()):
                peer.push(_dumps({"arg": arg} | content), symbol, channel)

    def _snapshot_row(self, market: Market, depth: int) -> dict[str, Any]:
        old = self.sim.armed.take("old_snapshot", self.name, symbol=market.symbol)
        bids, asks, last = market.snapshot(depth, (old.seconds or 5.0) if old else 0.0)
        row = {"asks": asks, "bids": bids, "ts": str(self.now_ms()), "checksum": self._checksum(bids, asks)}
        if old:
            self.sim.note("fault hits", fault="old_snapshot", symbol=market.symbol, id=last)
        else:
            last = self._sent.get((market.symbol, depth), last)
        return row | {"seqId": last, "prevSeqId": -1}

    def _subscribe(self, peer: Peer, arg: dict[str, str], request_id: object) -> None:
        channel, symbol = arg.get("channel", ""), arg.get("instId", "")
        known = {"public": PUBLIC, "private": PRIVATE, "business": BUSINESS}[peer.endpoint]
        market = self.markets.get(symbol)
        by_type = channel in BY_TYPE
        wrong = channel not in known and not (
            peer.endpoint == "business" and re.match(r"(mark-price-|index-)?candle", channel)
        )
        if channel in PRIVATE and peer.endpoint != "private":
            wrong = True
        if wrong or (channel not in PRIVATE and not by_type and (market is None or not market.ready)):
            inner = ",".join(f"{name}:{value}" for name, value in arg.items())
            text = (
                f"Wrong URL or {inner} doesn't exist. Please use the correct URL, channel and parameters "
                "referring to API document."
            )
            peer.reply(self._error("60018", text, peer, request_id))
            return
        if channel in PRIVATE:
            if "key" not in peer.state:
                peer.reply(self._error("60011", "Please log in", peer, request_id))
                return
            peer.reply(self._acknowledged("subscribe", arg, peer, request_id))
            if _name(arg) not in peer.streams:
                self._private.setdefault(peer, []).append(arg)
                peer.streams[_name(arg)] = None
            self._first_private(peer, arg)
            return
        peer.reply(self._acknowledged("subscribe", arg, peer, request_id))
        if _name(arg) in peer.streams:
            return
        peer.streams[_name(arg)] = None
        self._listeners.setdefault(_topic(arg), {})[peer] = arg
        self.sim.subscribed()
        if channel == "instruments":
            rows = [m.row for m in self.markets.values() if m.row["instType"] == arg.get("instType") and not m.gone]
            peer.push(_dumps({"arg": arg, "data": rows}), "", channel)
        if market is None:
            return
        if channel in INCREMENTAL:
            late = self.sim.armed.take("late_snapshot", self.name, symbol=symbol)

            def snapshot() -> None:
                # with what is pushed, not with the replies, so that it cannot be overtaken by an update
                if peer not in self._listeners.get(_topic(arg), {}):
                    return
                row = self._snapshot_row(market, INCREMENTAL[channel])
                message = {"arg": arg, "action": "snapshot", "data": [row]}
                peer.push(_dumps(message), symbol, channel)

            if late:
                peer.later(late.seconds, snapshot)
            else:
                snapshot()
        elif channel in ("books5", "bbo-tbt"):
            row = self._top_row(market, 5 if channel == "books5" else 1, str(self.now_ms()))
            peer.push(_dumps({"arg": arg, "data": [row]}), symbol, channel)
        elif channel == "tickers":
            peer.push(_dumps({"arg": arg, "data": [self._ticker(market)]}), symbol, channel)

    def _unsubscribe(self, peer: Peer, arg: dict[str, str], request_id: object) -> None:
        peer.reply(self._acknowledged("unsubscribe", arg, peer, request_id))
        key = _topic(arg)
        peer.streams.pop(_name(arg), None)
        if key in self._listeners:
            if (heard := self._listeners[key].pop(peer, None)) is not None:
                peer.streams.pop(_name(heard), None)  # it may have been written otherwise
            if not self._listeners[key]:
                del self._listeners[key]
        if peer in self._private:
            self._private[peer] = [other for other in self._private[peer] if other != arg]

    def left(self, peer: Peer) -> None:
        """A connection has ended."""
        for key in [key for key, listeners in self._listeners.items() if peer in listeners]:
            del self._listeners[key][peer]
            if not self._listeners[key]:
                del self._listeners[key]
        self._private.pop(peer, None)

    @staticmethod
    def _connection(peer: Peer) -> str:
        return f"{peer.number:08x}"

    def _acknowledged(self, event: str, arg: dict[str, str], peer: Peer, request_id: object) -> dict[str, Any]:
        identified = {"id": request_id} if request_id is not None else {}
        return identified | {"event": event, "arg": arg, "connId": self._connection(peer)}

    def _error(self, code: str, text: str, peer: Peer, request_id: object = None) -> dict[str, Any]:
        identified = {"id": request_id} if request_id is not None else {}
        return identified | {"event": "error", "code": code, "msg": text, "connId": self._connection(peer)}

    # -- connections --------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request, path: str) -> web.StreamResponse:
        """A WebSocket or a request."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self._rest(request, path)
        endpoint = path.removeprefix("/ws/v5/").rstrip("/")
        if not path.startswith("/ws/v5/") or endpoint not in ("public", "private", "business"):
            raise web.HTTPNotFound(text="Not Found")
        peer = Peer(self.sim, self.name, endpoint, request, HEALTH.compressed(self.sim.compress))
        return await self.sim.connected(self, peer, self._on_text, lambda _peer: None)

    def _on_text(self, peer: Peer, text: bytes) -> None:
        if text == b"ping":
            peer.reply(b"pong")
            return
        shown = text.decode("utf-8", "replace")
        try:
            request = loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict) or not _is_request_id(request.get("id")):
            peer.reply(self._error("60012", f"Invalid request: {shown}", peer))
            return
        request_id = request.get("id")
        op, args = request.get("op"), request.get("args")
        if self._over_limit(op if isinstance(op, str) else "", peer.endpoint):
            peer.reply(self._error("60014", "Requests too frequent", peer, request_id))
        elif (
            not (isinstance(op, str) and isinstance(args, list) and args)
            or not all(isinstance(arg, dict) for arg in args)
            or op not in OPERATIONS
        ):
            peer.reply(self._error("60012", f"Invalid request: {shown}", peer, request_id))
        elif op in ("subscribe", "unsubscribe"):
            if not all(isinstance(value, str) for arg in args for value in arg.values()):
                peer.reply(self._error("60013", "Invalid args", peer, request_id))
                return
            for arg in args:
                (self._subscribe if op == "subscribe" else self._unsubscribe)(peer, arg, request_id)
        elif op == "login":
            self._login(peer, args[0])
        elif peer.endpoint != "private":
            peer.reply(self._error("60018", "Wrong URL", peer, request_id))
        elif "key" not in peer.state:
            peer.reply(self._error("60011", "Please log in", peer, request_id))
        else:
            peer.later(0, lambda: self._operate(peer, request_id, op, args))

    def _over_limit(self, request: str, endpoint: str) -> bool:
        """Whether a request is refused as one too many."""
        if time.monotonic() < self._refuse_until:
            self.sim.note("asked too early", exchange=self.name, request=request)
            return True
        fault = self.sim.armed.take("limit", self.name, endpoint)
        if fault is None:
            return False
        self.sim.note("fault hits", fault="limit", exchange=self.name, request=request)
        if fault.seconds:
            self._refuse_until = time.monotonic() + fault.seconds
        return True

    def _login(self, peer: Peer, arg: dict[str, Any]) -> None:
        api_key, stamp, sign = (_text(arg, name) for name in ("apiKey", "timestamp", "sign"))
        key = self.sim.accounts.keys.get(api_key)
        if key is None:
            error = ("60005", "Invalid apiKey")
        elif not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", stamp, re.ASCII):
            error = ("60004", "Invalid timestamp")
        elif abs(float(stamp) * 1000 - self.now_ms()) > 30_000:
            error = ("60006", "Timestamp request expired")
        elif arg.get("passphrase") != key.passphrase:
            error = ("60024", "Wrong passphrase")
        elif not key.signed(stamp + "GET/users/self/verify", sign, encoding="base64"):
            error = ("60007", "Invalid sign")
        else:
            peer.state["key"] = key
            peer.reply({"event": "login", "code": "0", "msg": "", "connId": self._connection(peer)})
            return
        peer.reply(self._error(*error, peer))

    async def _operate(self, peer: Peer, request_id: object, op: str, args: list[dict[str, Any]]) -> None:
        """Orders and cancellations over the WebSocket."""
        account: Account = peer.state["key"].account
        started = time.time_ns() // 1000
        try:
            rows, again = await self._each(op, args, account, websocket=True)
        except asyncio.CancelledError:
            raise
        except OkxError as error:
            rows, again = [], False
            peer.reply({"id": request_id, "op": op, "code": error.code, "msg": error.text, "data": []})
        if not rows:
            return
        answer = {"id": request_id, "op": op, "code": _outcome(rows)[0], "msg": "", "data": rows}
        answer |= {"inTime": str(started), "outTime": str(time.time_ns() // 1000)}
        for _ in range(2 if again else 1):
            peer.reply(answer)

    # -- orders -------------------------------------------------------------------------------------------------------

    async def _each(
        self, op: str, args: list[dict[str, Any]], account: Account, *, websocket: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Carries out each of a batch; (rows of the answer, whether it is sent twice). No rows: no answer."""
        if self.sim.latency_s:
            await asyncio.sleep(self.sim.latency_s / 2)
        rows: list[dict[str, Any]] = []
        again = silent = unknown = False
        placing = "cancel" not in op
        for arg in args:
            row = {"clOrdId": _text(arg, "clOrdId"), "ordId": _text(arg, "ordId"), "tag": "", "ts": str(self.now_ms())}
            row |= {"sCode": "0", "sMsg": ""}
            rows.append(row)
            fault = self._order_fault() if placing else None
            try:
                _check_types(arg)
                if fault is not None and fault.kind == "reject":
                    text = fault.text or "Order failed. Insufficient balance in account"
                    raise OkxError(str(fault.code or 51008), text)
                if fault is None or fault.executed or fault.kind == "twice":
                    order = (self._place if placing else self._cancel)(arg, account, websocket=websocket)
                    row |= {"ordId": str(order.order_id), "clOrdId": order.client_id}
            except OkxError as error:
                row |= {"sCode": error.code, "sMsg": error.text}
            again |= fault is not None and fault.kind == "twice"
            silent |= fault is not None and fault.kind == "silent"
            unknown |= fault is not None and fault.kind == "unknown"
        if self.sim.latency_s:
            await asyncio.sleep(self.sim.latency_s / 2)
        if unknown:
            raise OkxError(
                "50004",
                "API endpoint request timeout (does not indicate success or failure of order, "
                "please check order status)",
            )
        return ([] if silent else rows), again

    def _order_fault(self) -> Fault | None:
        for kind in ("reject", "unknown", "silent", "twice"):
            fault = self.sim.armed.take(kind, self.name)
            if fault is not None:
                self.sim.note("fault hits", fault=kind, exchange=self.name)
                return fault
        return None

    def _named(self, arg: dict[str, Any], *, websocket: bool) -> Market:
        if websocket:
            code = arg.get("instIdCode")
            if code in (None, ""):
                raise OkxError("50014", "Parameter instIdCode can not be empty.")
            market = next((m for m in self.markets.values() if str(m.row["instIdCode"]) == str(code)), None)
        else:
            if not arg.get("instId"):
                raise OkxError("50014", "Parameter instId can not be empty.")
            market = self.markets.get(arg["instId"])
        if market is None or not market.ready:
            raise OkxError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return market

    def _place(self, arg: dict[str, Any], account: Account, *, websocket: bool) -> Order:
        market = self._named(arg, websocket=websocket)
        row = market.row
        spot = row["instType"] == "SPOT"
        for name in ("tdMode", "side", "ordType", "sz"):
            if arg.get(name) in (None, ""):
                raise OkxError("50014", f"Parameter {name} can not be empty.")
        side, kind = arg["side"], arg["ordType"]
        if side not in SIDES:
            raise OkxError("51000", "Parameter side error")
        if kind not in TIFS:
            raise OkxError("51000", "Parameter ordType error")
        if arg["tdMode"] not in (("cash",) if spot else ("cross", "isolated")):
            raise OkxError("51000", "Parameter tdMode error")
        if arg.get("posSide") not in (None, "", "net"):
            raise OkxError("51000", "Parameter posSide error")
        client_id = _text(arg, "clOrdId")
        if client_id and not _IDENTIFIER.fullmatch(client_id):
            raise OkxError("51000", "Parameter clOrdId error")
        market_order = kind in ("market", "optimal_limit_ioc")
        quantity = _decimal(arg, "sz")
        price = ZERO if market_order else _decimal(arg, "px")
        quote = ZERO
        if (
            spot
            and kind == "market"
            and (arg.get("tgtCcy") or ("quote_ccy" if side == "buy" else "base_ccy")) == "quote_ccy"
        ):
            quote, quantity = quantity, ZERO
        if not market_order and (price <= 0 or _WIDE.remainder(price, number(row["tickSz"])) != 0):
            raise OkxError("51000", "Parameter px error")
        if quantity and quantity < number(row["minSz"]):
            raise OkxError("51020", "Your order should meet or exceed the minimum order amount.")
        if quote and market.mid and quote / market.mid < number(row["minSz"]):
            raise OkxError("51020", "Your order should meet or exceed the minimum order amount.")
        if _WIDE.remainder(quantity, number(row["lotSz"])) != 0:
            raise OkxError("51121", "Order quantity must be a multiple of the lot size.")
        most = number(row["maxMktSz" if market_order else "maxLmtSz"] or "0")
        if most and quantity > most:
            raise OkxError("51202" if market_order else "51201", "The order quantity exceeds the maximum.")
        reduce_only = str(arg.get("reduceOnly", "")).lower() == "true"
        try:
            return self.desk.place(
                account,
                market,
                side=SIDES[side],
                kind="MARKET" if market_order else "LIMIT",
                tif=TIFS[kind],
                price=price,
                quantity=quantity,
                quote_quantity=quote,
                client_id=client_id,
                reduce_only=reduce_only,
                refuse_takers=False,
                extra={
                    "ordType": kind,
                    "tdMode": arg["tdMode"],
                    "tgtCcy": _text(arg, "tgtCcy"),
                    "sz": arg["sz"],
                },
            )
        except Refusal as refusal:
            asset = accounts.required(market.instrument, SIDES[side], Decimal(1), Decimal(1))[0]
            texts = {
                "balance": ("51008", f"Order failed. Insufficient {asset} balance in account"),
                "duplicate": ("51016", "Client order ID already exists."),
                "reduce only": ("51169", _NOTHING_TO_REDUCE),
            }
            raise OkxError(*texts.get(refusal.why, ("51000", "Parameter error"))) from None

    def _found(self, arg: dict[str, Any], account: Account, market: Market) -> Order | None:
        text = _text(arg, "ordId")
        order_id = int(text) if _NUMBER.fullmatch(text) else None
        if order_id is None and not arg.get("clOrdId"):
            raise OkxError("51000", "Parameter ordId or clOrdId error")
        return self.desk.find(account, market.symbol, order_id, _text(arg, "clOrdId"))

    def _cancel(self, arg: dict[str, Any], account: Account, *, websocket: bool) -> Order:
        market = self._named(arg, websocket=websocket)
        order = self._found(arg, account, market)
        if order is None or not self.desk.cancel(market, order):
            raise OkxError("51400", "Cancellation failed as the order has been filled, canceled or does not exist.")
        return order

    def _described(self, order: Order, fill: Fill | None = None) -> dict[str, Any]:
        """An order as the orders channel and queries tell it."""
        market = self.markets[order.symbol]
        fees = sum((f.fee for f in order.fills), ZERO)
        asset = order.fills[-1].fee_asset if order.fills else self._fee_asset(market, order.side)
        newest = fill or (order.fills[-1] if order.fills else None)
        return {
            "accFillSz": plain(order.filled),
            "algoClOrdId": "",
            "algoId": "",
            "amendResult": "",
            "avgPx": plain(order.average) if order.filled else "",
            "cTime": str(order.created_ms),
            "cancelSource": ""
            if order.open or order.status == "FILLED"
            else "1"
            if order.status == "CANCELED"
            else "31",
            "category": "normal",
            "ccy": "",
            "clOrdId": order.client_id,
            "code": "0",
            "execType": "" if not newest else "M" if newest.maker else "T",
            "fee": plain(-fees) if fees else "0",
            "feeCcy": asset,
            "fillFee": plain(-newest.fee) if newest else "0",
            "fillFeeCcy": newest.fee_asset if newest else "",
            "fillPx": plain(newest.price) if newest else "",
            "fillSz": plain(newest.quantity) if newest else "0",
            "fillTime": str(newest.ms) if newest else "",
            "instId": order.symbol,
            "instType": market.row["instType"],
            "lever": "" if market.row["instType"] == "SPOT" else "20",
            "msg": "",
            "ordId": str(order.order_id),
            "ordType": order.extra.get("ordType", "limit"),
            "pnl": plain(sum((f.realised for f in order.fills), ZERO)),
            "posSide": "net",
            "px": plain(order.price) if order.price else "",
            "rebate": "0",
            "rebateCcy": asset,
            "reduceOnly": "true" if order.reduce_only else "false",
            "reqId": "",
            "side": SIDE_NAMES[order.side],
            "slTriggerPx": "",
            "source": "",
            "state": STATES.get(order.status, "canceled"),
            "stpId": "",
            "stpMode": "cancel_maker",
            "sz": order.extra.get("sz", plain(order.quantity)),
            "tag": "",
            "tdMode": order.extra.get("tdMode", ""),
            "tgtCcy": order.extra.get("tgtCcy", ""),
            "tpTriggerPx": "",
            "tradeId": str(newest.trade_id) if newest else "",
            "uTime": str(order.updated_ms),
        }

    @staticmethod
    def _fee_asset(market: Market, side: int) -> str:
        instrument = market.instrument
        if instrument.contract != "spot":
            return instrument.settle
        return instrument.base if side == BID else instrument.quote

    # -- private channels ---------------------------------------------------------------------------------------------

    def _event(self, order: Order, what: str, fill: Fill | None) -> None:
        """Tells an order's owner what happened to it."""
        account: Account = order.account
        market = self.markets[order.symbol]
        row = self._described(order, fill)
        if what == "NEW":
            row |= {"state": "live", "execType": "", "fillSz": "0"}
        for peer, args in list(self._private.items()):
            if peer.state["key"].account is not account:
                continue
            for arg in args:
                if (
                    arg.get("instType", "ANY") not in ("ANY", row["instType"])
                    or arg.get("instId", order.symbol) != order.symbol
                ):
                    continue
                if arg["channel"] == "orders":
                    peer.push(_dumps({"arg": arg | {"uid": "1"}, "data": [row]}), order.symbol, "orders")
                elif arg["channel"] == "account" and arg.get("ccy", "") in ("", *self._assets(market)):
                    self._push_account(peer, arg, account, "event_update")
                elif arg["channel"] == "positions" and fill is not None and row["instType"] != "SPOT":
                    self._push_positions(peer, arg, account, "event_update")

    @staticmethod
    def _assets(market: Market) -> tuple[str, ...]:
        instrument = market.instrument
        return (instrument.base, instrument.quote, instrument.settle)

    def _first_private(self, peer: Peer, arg: dict[str, str]) -> None:
        account: Account = peer.state["key"].account
        if arg["channel"] == "account":
            self._push_account(peer, arg, account, "snapshot")
        elif arg["channel"] == "positions":
            self._push_positions(peer, arg, account, "snapshot")

    def _push_account(self, peer: Peer, arg: dict[str, str], account: Account, event: str) -> None:
        content = {
            "eventType": event,
            "curPage": 1,
            "lastPage": True,
            "data": [self._balance(account, arg.get("ccy", ""))],
        }
        peer.push(_dumps({"arg": arg | {"uid": "1"}} | content), "", "account")

    def _push_positions(self, peer: Peer, arg: dict[str, str], account: Account, event: str) -> None:
        content = {"eventType": event, "curPage": 1, "lastPage": True, "data": self._positions(account, arg)}
        peer.push(_dumps({"arg": arg | {"uid": "1"}} | content), "", "positions")

    def _balance(self, account: Account, only: str = "") -> dict[str, Any]:
        wallet = account.wallet(self.name)
        now = str(self.now_ms())
        details = [
            {
                "ccy": asset, "cashBal": plain(wallet.total(asset)),
                "availBal": plain(accounts.available(wallet, asset)),
                "availEq": plain(accounts.available(wallet, asset)), "eq": plain(wallet.total(asset)), "eqUsd": "",
                "frozenBal": plain(wallet.total(asset) - accounts.available(wallet, asset)),
                "ordFrozen": plain(wallet.locked.get(asset, ZERO)), "upl": "0", "uTime": now, "liab": "",
                "crossLiab": "", "interest": "", "disEq": "", "isoEq": "0", "mgnRatio": "", "maxLoan": "",
                "notionalLever": "0",
            }
            for asset in wallet.assets()
            if not only or asset == only
        ]  # fmt: skip
        return {
            "adjEq": "", "details": details, "imr": "", "isoEq": "0", "mgnRatio": "", "mmr": "", "notionalUsd": "",
            "ordFroz": "", "totalEq": plain(wallet.total("USDT")), "upl": "0", "uTime": now,
        }  # fmt: skip

    def _positions(self, account: Account, arg: dict[str, str]) -> list[dict[str, Any]]:
        rows = []
        wanted = arg.get("instId", "")
        for symbol, position in account.wallet(self.name).positions.items():
            market = self.markets[symbol]
            if (wanted and symbol not in wanted.split(",")) or (not position.quantity and not wanted):
                continue
            upl = ZERO
            size = market.instrument.contract_size or Decimal(1)
            if position.quantity and market.mid:
                upl = (
                    position.quantity
                    * size
                    * (
                        (1 / position.entry - 1 / market.mid)
                        if market.instrument.contract == "inverse"
                        else (market.mid - position.entry)
                    )
                )
            rows.append(
                {
                    "instType": market.row["instType"], "instId": symbol, "mgnMode": "cross",
                    "posId": str(market.row["instIdCode"]), "posSide": "net", "pos": plain(position.quantity),
                    "posCcy": "", "avgPx": plain(position.entry), "availPos": "", "upl": plain(upl), "uplRatio": "",
                    "lever": "20", "liqPx": "", "markPx": plain(market.mid), "imr": plain(position.margin),
                    "margin": "", "mgnRatio": "", "mmr": "0", "liab": "", "liabCcy": "", "interest": "",
                    "tradeId": "", "notionalUsd": "", "adl": "1", "ccy": position.asset,
                    "last": plain(market.last_price), "realizedPnl": plain(position.realised),
                    "cTime": str(self.now_ms()), "uTime": str(self.now_ms()),
                }
            )  # fmt: skip
        return rows

    # -- the clock ----------------------------------------------------------------------------------------------------

    def every_second(self) -> None:
        """Tickers and marks where none were recorded; keep-alives of quiet books."""
        now = time.monotonic()
        for symbol, channel in list(self._listeners):
            market = self.markets.get(symbol)
            if market is None or market.gone:
                continue
            if channel == "tickers" and "tickers" not in market.kinds:
                self._publish(symbol, channel, {"data": [self._ticker(market)]})
            elif channel == "mark-price" and "mark-price" not in market.kinds:
                row = {"instType": market.row["instType"], "instId": symbol, "markPx": plain(market.mid)}
                self._publish(symbol, channel, {"data": [row | {"ts": str(self.now_ms())}]})
            elif (
                channel in INCREMENTAL and now - self._updated.setdefault(symbol, now) > KEEPALIVE_S / self.sim.compress
            ):
                self._keepalive(market)

    def _keepalive(self, market: Market) -> None:
        self._updated[market.symbol] = time.monotonic()
        checksum = self._checksum(*self._top(market, 25))
        row = {"asks": [], "bids": [], "ts": str(self.now_ms()), "checksum": checksum}
        for channel, depth in INCREMENTAL.items():
            last = self._sent.get((market.symbol, depth), market.book.last_id)
            row |= {"seqId": last, "prevSeqId": last}
            self._publish(market.symbol, channel, {"action": "update", "data": [row]})

    def _ticker(self, market: Market) -> dict[str, Any]:
        bid, ask = market.best(BID) or ("", ""), market.best(ASK) or ("", "")
        last = plain(market.last_price or market.mid)
        trade = market.trades[-1]["qty"] if market.trades else "0"
        return {
            "instType": market.row["instType"], "instId": market.symbol, "last": last, "lastSz": trade,
            "askPx": ask[0], "askSz": ask[1], "bidPx": bid[0], "bidSz": bid[1], "open24h": plain(market.first_price),
            "high24h": plain(market.high), "low24h": plain(market.low), "volCcy24h": plain(market.turnover),
            "vol24h": plain(market.volume), "ts": str(self.now_ms()), "sodUtc0": last, "sodUtc8": last,
        }  # fmt: skip

    def fault(self, fault: Fault) -> None:
        """Keep-alives, and what every exchange has."""
        super().fault(fault)
        if fault.kind == "keepalive":
            for market in self.markets.values():
                if market.ready and (not fault.symbol or fault.symbol == market.symbol):
                    self._keepalive(market)

    # -- REST ---------------------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request, path: str) -> web.StreamResponse:
        body = (await request.read()).decode("latin-1")
        status = 200
        answer: dict[str, Any] = {"code": "0", "msg": "", "data": []}
        try:
            if self._over_limit(path, "rest"):
                raise OkxError("50011", "Too Many Requests", 429)
            answer["data"] = await self._requested(request, path, body)
        except OkxError as error:
            status, answer = error.status, {"code": error.code, "msg": error.text, "data": []}
        if request.method == "POST" and path in ORDERS and answer["code"] == "0":
            answer |= dict(zip(("code", "msg"), _outcome(answer["data"]), strict=True))
        return web.json_response(answer, status=status, dumps=lambda m: _dumps(m).decode())

    async def _requested(self, request: web.Request, path: str, body: str) -> Any:
        query = dict(request.query)
        public: dict[str, Callable[[dict[str, str]], Any]] = {
            "/api/v5/public/time": lambda _q: [{"ts": str(self.now_ms())}],
            "/api/v5/public/instruments": self._instruments,
            "/api/v5/market/books": lambda q: self._books(q, 400),
            "/api/v5/market/books-full": lambda q: self._books(q, 5000),
            "/api/v5/market/ticker": lambda q: [self._ticker(self._known(q))],
            "/api/v5/market/tickers": lambda q: [
                self._ticker(m)
                for m in self.markets.values()
                if m.ready and m.row["instType"] == q.get("instType", "SPOT")
            ],
            "/api/v5/market/trades": self._trades,
            "/api/v5/market/history-trades": self._trades,
            "/api/v5/system/status": lambda _q: [],
        }
        if path in public:
            return public[path](query)
        account = self._authenticated(request, path, body).account
        if request.method == "POST":
            args = _posted(body)
            if path in ORDERS:
                rows, _ = await self._each(ORDERS[path], args, account, websocket=False)
                if not rows:
                    await asyncio.sleep(3600)
                return rows
            if path == "/api/v5/account/set-leverage":
                return [{"lever": "20", "mgnMode": "cross", "instId": _text(args[0], "instId"), "posSide": "net"}]
        elif path == "/api/v5/trade/order":
            market = self._named(query, websocket=False)
            order = self._found(query, account, market)
            if order is None:
                raise OkxError("51603", "Order does not exist")
            return [self._described(order)]
        elif path in ("/api/v5/trade/orders-pending", "/api/v5/trade/orders-history"):
            orders = account.orders_on(self.name).values()
            pending = path.endswith("pending")
            chosen = [o for o in orders if o.open == pending and query.get("instId", o.symbol) == o.symbol]
            return [self._described(order) for order in reversed(chosen)]
        elif path in ("/api/v5/trade/fills", "/api/v5/trade/fills-history"):
            fills = [f for o in account.orders_on(self.name).values() for f in o.fills]
            return [
                self._described(f.order, f) | {"billId": str(f.trade_id), "ts": str(f.ms)}
                for f in reversed(fills)
                if query.get("instId", f.order.symbol) == f.order.symbol
                and query.get("ordId", str(f.order.order_id)) == str(f.order.order_id)
            ]
        elif path == "/api/v5/account/balance":
            return [self._balance(account, query.get("ccy", ""))]
        elif path == "/api/v5/account/positions":
            return self._positions(account, query)
        elif path == "/api/v5/account/config":
            return [{"uid": "1", "acctLv": "2", "posMode": "net_mode", "autoLoan": False, "perm": "read_only,trade"}]
        elif path == "/api/v5/account/instruments":
            return self._instruments(query)
        elif path == "/api/v5/account/trade-fee":
            spot = query.get("instType", "SPOT") == "SPOT"
            return [
                {"level": "Lv1", "maker": "-0.0008" if spot else "-0.0002", "taker": "-0.001" if spot else "-0.0005"}
            ]
        elif path == "/api/v5/asset/currencies":
            return []
        raise OkxError("50404", "Not Found", 404)

    def _authenticated(self, request: web.Request, path: str, body: str) -> Key:
        headers = request.headers
        for name in ("OK-ACCESS-KEY", "OK-ACCESS-SIGN", "OK-ACCESS-TIMESTAMP", "OK-ACCESS-PASSPHRASE"):
            if not headers.get(name):
                code = {"KEY": "50103", "SIGN": "50106", "TIMESTAMP": "50107"}.get(name.split("-")[-1], "50104")
                raise OkxError(code, f"Request header {name} can not be empty.", 401)
        key = self.sim.accounts.keys.get(headers["OK-ACCESS-KEY"])
        if key is None:
            raise OkxError("50111", "Invalid OK-ACCESS-KEY", 401)
        stamp = headers["OK-ACCESS-TIMESTAMP"]
        try:
            sent = dt.datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            raise OkxError("50112", "Invalid OK-ACCESS-TIMESTAMP", 401) from None
        if abs(sent * 1000 - self.now_ms()) > 30_000:
            raise OkxError("50102", "Timestamp request expired", 401)
        if headers["OK-ACCESS-PASSPHRASE"] != key.passphrase:
            raise OkxError("50105", "Request header OK-ACCESS-PASSPHRASE incorrect.", 401)
        query = request.url.raw_query_string
        payload = stamp + request.method + path + (f"?{query}" if query else "") + body
        if not key.signed(payload, headers["OK-ACCESS-SIGN"], encoding="base64"):
            raise OkxError("50113", "Invalid Sign", 401)
        return key

    def _known(self, query: dict[str, str]) -> Market:
        market = self.markets.get(query.get("instId", ""))
        if market is None or not market.ready:
            raise OkxError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return market

    def _instruments(self, query: dict[str, str]) -> list[dict[str, Any]]:
        if "instType" not in query:
            raise OkxError("50014", "Parameter instType can not be empty.", 400)
        return [
            m.row
            for m in self.markets.values()
            if not m.gone and m.row["instType"] == query["instType"] and query.get("instId", m.symbol) == m.symbol
        ]

    def _books(self, query: dict[str, str], most: int) -> list[dict[str, Any]]:
        market = self._known(query)
        size = query.get("sz") or "1"
        if not _NUMBER.fullmatch(size) or not 1 <= int(size) <= most:
            raise OkxError("51000", "Parameter sz error")
        row = self._snapshot_row(market, int(size))
        return [{"asks": row["asks"], "bids": row["bids"], "ts": row["ts"], "seqId": row["seqId"]}]

    def _trades(self, query: dict[str, str]) -> list[dict[str, Any]]:
        market = self._known(query)
        text = query.get("limit") or "100"
        if not _NUMBER.fullmatch(text) or not int(text):
            raise OkxError("51000", "Parameter limit error")
        limit = min(int(text), 500)
        return [
            {
                "instId": market.symbol, "tradeId": str(t["id"]), "px": t["price"], "sz": t["qty"],
                "side": "sell" if t["maker"] else "buy", "ts": str(t["ms"]), "source": "0",
            }
            for t in list(market.trades)[-limit:][::-1]
        ]  # fmt: skip


def _topic(arg: dict[str, str]) -> tuple[str, str]:
    channel = arg.get("channel", "")
    return (arg.get("instType", "") if channel in BY_TYPE else arg.get("instId", "")), channel


def _name(arg: dict[str, str]) -> str:
    return ":".join(str(value) for value in arg.values())


def _is_request_id(value: object) -> bool:
    """What a message may be identified by: at most 32 letters and digits. Clients send whole numbers too."""
    if value is None:
        return True
    return type(value) in (str, int) and bool(re.fullmatch(r"[A-Za-z0-9]{0,32}", str(value), re.ASCII))


def _text(arg: dict[str, Any], name: str) -> str:
    """A parameter, or nothing where it is missing or no text."""
    value = arg.get(name)
    return value if isinstance(value, str) else ""


def _check_types(arg: dict[str, Any]) -> None:
    """Every parameter of an order is a text, but for two. Null is as good as missing. Raises OkxError."""
    for name, value in arg.items():
        if value is not None and type(value) not in _TYPES.get(name, (str,)):
            raise OkxError("51000", f"Parameter {name[:40]} error")


_TYPES: dict[str, tuple[type, ...]] = {"instIdCode": (str, int), "reduceOnly": (str, bool)}


def _outcome(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """(code, msg) of a batch."""
    bad = sum(row["sCode"] != "0" for row in rows)
    if not bad:
        return "0", ""
    return ("1", "All operations failed") if bad == len(rows) else ("2", "Bulk operation partially succeeded.")


def _posted(body: str) -> list[dict[str, Any]]:
    """The objects in a body. Raises OkxError."""
    if not body:
        raise OkxError("50000", "Body for POST request cannot be empty.", 400)
    try:
        sent = loads(body)
    except ValueError:
        sent = None
    args = sent if isinstance(sent, list) else [sent]
    if not args or not all(isinstance(arg, dict) for arg in args):
        raise OkxError("50002", "JSON syntax error", 400)
    return args


_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_WIDE = Context(prec=100)  # a quotient of 40 digits and more is exact, and no error


def _decimal(arg: dict[str, Any], name: str) -> Decimal:
    text = _text(arg, name)
    if not text:
        raise OkxError("50014", f"Parameter {name} can not be empty.")
    if not _DECIMAL.fullmatch(text) or not (value := Decimal(text)):
        raise OkxError("51000", f"Parameter {name} error")
    return value


def _dumps(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
