"""Binance's requests, over REST and over the WebSocket API: one function for both ways, for spot, USD-M and COIN-M.

Owns signatures, rate limits, the account's side and its events; what a request must look like is `binance_rules.py`'s.
Sources: binance-spot-api-docs (rest-api.md, web-socket-api.md, errors.md, filters.md, user-data-stream.md) and the
futures pages.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from cwts.simulator import accounts
from cwts.simulator.binance_rules import (
    ApiError,
    Params,
    check_futures,
    check_spot,
    decimal,
    illegal,
    integer,
    invalid,
    is_request_id,
    limit,
    missing,
    named,
    refuse,
    signed_payload,
    weight,
    window,
    without_signature,
)
from cwts.simulator.book import ASK, BID, ZERO, number, plain
from cwts.simulator.desk import Desk, Refusal
from cwts.simulator.strict_json import loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.simulator.accounts import Account, Key
    from cwts.simulator.binance import Binance
    from cwts.simulator.exchange import Market
    from cwts.simulator.faults import Fault
    from cwts.simulator.matching import Fill, Order
    from cwts.simulator.wire import Peer

SIDES = {"BUY": BID, "SELL": ASK}
SIDE_NAMES = ("BUY", "SELL")
ADVICE = "Please use WebSocket Streams for live updates to"
UNKNOWN = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."

# (HTTP method, path after /api/v3, /fapi/vN or /dapi/vN) → the WebSocket API's name of the same request
REST = {
    ("GET", "ping"): "ping", ("GET", "time"): "time", ("GET", "exchangeInfo"): "exchangeInfo",
    ("GET", "depth"): "depth", ("GET", "trades"): "trades.recent", ("GET", "aggTrades"): "trades.aggregate",
    ("GET", "klines"): "klines", ("GET", "avgPrice"): "avgPrice", ("GET", "ticker/price"): "ticker.price",
    ("GET", "ticker/bookTicker"): "ticker.book", ("GET", "ticker/24hr"): "ticker.24hr",
    ("GET", "premiumIndex"): "premiumIndex", ("GET", "account"): "account.status",
    ("GET", "balance"): "account.balance", ("GET", "positionRisk"): "account.position",
    ("GET", "account/commission"): "account.commission", ("GET", "commissionRate"): "commissionRate",
    ("GET", "openOrders"): "openOrders.status", ("GET", "openOrder"): "order.status",
    ("GET", "allOrders"): "allOrders", ("GET", "myTrades"): "myTrades", ("GET", "userTrades"): "myTrades",
    ("POST", "order"): "order.place", ("POST", "order/test"): "order.test", ("GET", "order"): "order.status",
    ("DELETE", "order"): "order.cancel", ("DELETE", "openOrders"): "openOrders.cancelAll",
    ("DELETE", "allOpenOrders"): "openOrders.cancelAll", ("POST", "leverage"): "leverage",
    ("POST", "marginType"): "marginType", ("GET", "positionSide/dual"): "positionSide",
    ("GET", "leverageBracket"): "leverageBracket", ("POST", "listenKey"): "userDataStream.start",
    ("PUT", "listenKey"): "userDataStream.ping", ("DELETE", "listenKey"): "userDataStream.stop",
}  # fmt: skip
OPEN_TO_ALL = {
    "ping",
    "time",
    "exchangeInfo",
    "depth",
    "trades.recent",
    "trades.aggregate",
    "klines",
    "avgPrice",
    "ticker.price",
    "ticker.book",
    "ticker.24hr",
    "ticker",
    "premiumIndex",
}
WITH_KEY = {"userDataStream.start", "userDataStream.ping", "userDataStream.stop"}  # a key, no signature
SESSION = {
    "session.logon",
    "session.status",
    "session.logout",
    "userDataStream.subscribe",
    "userDataStream.unsubscribe",
}
SESSION |= {"userDataStream.subscribe.signature", "session.subscriptions"}


# of candles, in seconds. Months are not served: they are not all as long.
INTERVALS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400, "6h": 21600,
    "8h": 28800, "12h": 43200, "1d": 86400, "3d": 259_200, "1w": 604_800,
}  # fmt: skip


class Silent(Exception):  # noqa: N818
    """No answer is to be given."""


class BinanceApi:
    """The requests of one market."""

    def __init__(self, exchange: Binance) -> None:
        self.exchange = exchange
        self.sim = exchange.sim
        self.spot = exchange.spot
        self.desk = Desk(exchange, self._event)
        self._methods: dict[str, Callable[[Params, Account | None], Any]] = {
            "ping": lambda _p, _a: {}, "time": lambda _p, _a: {"serverTime": exchange.now_ms()},
            "exchangeInfo": self._exchange_info, "depth": self._depth, "trades.recent": self._recent_trades,
            "trades.aggregate": self._aggregate_trades, "klines": self._klines,
            "avgPrice": lambda p, _a: {"mins": 5, "price": _8(self._market(p).mid), "closeTime": exchange.now_ms()},
            "ticker.price": self._ticker_price, "ticker.book": self._ticker_book, "ticker.24hr": self._ticker_day,
            "ticker": self._ticker_day, "premiumIndex": self._premium_index, "account.status": self._account,
            "v2/account.status": self._account, "account.balance": self._balance, "v2/account.balance": self._balance,
            "account.position": self._positions, "v2/account.position": self._positions,
            "account.commission": self._commission, "commissionRate": self._commission,
            "openOrders.status": self._open_orders, "allOrders": self._all_orders, "myTrades": self._my_trades,
            "order.place": self._place, "order.test": self._test, "order.status": self._status,
            "order.cancel": self._cancel, "openOrders.cancelAll": self._cancel_all,
            "leverage": lambda p, _a: {"leverage": 20, "maxNotionalValue": "1000000", "symbol": self._market(p).symbol},
            "marginType": lambda _p, _a: refuse(-4046, "No need to change margin type."),
            "positionSide": lambda _p, _a: {"dualSidePosition": False}, "leverageBracket": self._brackets,
            "userDataStream.start": self._listen_key,
            "userDataStream.ping": lambda p, a: self._listen_key(p, a, new=False),
            "userDataStream.stop": self._drop_key,
        }  # fmt: skip
        self._keys: dict[str, tuple[Account, float]] = {}  # listen keys, until
        self._listeners: dict[Peer, list[tuple[str, Account]]] = {}  # stream connections: (listen key, account)
        self._sessions: dict[Peer, dict[int, Account]] = {}  # WebSocket API connections: subscriptions
        self._weight_minute = 0
        self._weight = 0
        self._refuse_until = 0.0  # monotonic; every request before is refused
        self._refuse_banned = False

    # -- REST ---------------------------------------------------------------------------------------------------------

    async def rest(self, request: web.Request, path: str) -> web.StreamResponse:
        """Answers one HTTP request."""
        body = (await request.read()).decode("latin-1")
        parts = path.split("/", 3)
        if parts[1] == "sapi":
            return web.json_response([])
        prefix = {"binance": "api", "binance-usdm": "fapi", "binance-coinm": "dapi"}[self.exchange.name]
        name = REST.get((request.method, parts[3])) if len(parts) > 3 and parts[1] == prefix else None
        if name is None:
            return web.Response(
                status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html"
            )
        query = request.url.raw_query_string
        params = dict(parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))
        headers: dict[str, str] = {}
        try:
            self._spend(name, params, headers)
            account = None
            if name not in OPEN_TO_ALL:
                key = self._key(request.headers.get("X-MBX-APIKEY", ""))
                account = key.account
                if name not in WITH_KEY:
                    self._check_time(params)
                    self._check_signature(key, without_signature(query) + without_signature(body), params)
            result, _ = await self._carry_out(name, params, account)
        except ApiError as error:
            if error.retry_s:
                headers["Retry-After"] = str(math.ceil(error.retry_s))
            return web.json_response({"code": error.code, "msg": error.text}, status=error.status, headers=headers)
        except Silent:
            await asyncio.sleep(3600)
            return web.Response(status=504)
        return web.json_response(result, headers=headers, dumps=_dumps)

    async def _carry_out(self, name: str, params: Params, account: Account | None) -> tuple[Any, bool]:
        """Runs a request, after half of the latency to the exchange, and answers after the other half.

        Returns the result, and whether a fault wants the answer twice.
        """
        order = name.startswith("order.") or name == "openOrders.cancelAll"
        if name == "depth":
            late = self.sim.armed.take("late_snapshot", self.exchange.name, symbol=params.get("symbol", "").upper())
            if late is not None:
                answer = self._methods[name](params, account)
                await asyncio.sleep(late.seconds)
                return answer, False
        elif order and self.sim.latency_s:
            await asyncio.sleep(self.sim.latency_s / 2)
        placing = name == "order.place"
        fault = self._order_fault() if placing else None
        if fault is not None and fault.kind == "reject":
            raise ApiError(fault.code or -2010, fault.text or "Account has insufficient balance for requested action.")
        result = (
            self._methods[name](params, account) if fault is None or fault.executed or fault.kind == "twice" else None
        )
        if fault is not None and fault.kind == "unknown":
            raise ApiError(-1007, UNKNOWN, 504)
        if fault is not None and fault.kind == "silent":
            raise Silent
        if order and self.sim.latency_s:
            await asyncio.sleep(self.sim.latency_s / 2)
        return result, fault is not None and fault.kind == "twice"

    def _order_fault(self) -> Fault | None:
        for kind in ("reject", "unknown", "silent", "twice"):
            fault = self.sim.armed.take(kind, self.exchange.name)
            if fault is not None:
                self.sim.note("fault hits", fault=kind, exchange=self.exchange.name)
                return fault
        return None

    # -- limits and signatures ----------------------------------------------------------------------------------------

    def _spend(self, name: str, params: Params, headers: dict[str, str]) -> None:
        minute = int(time.time() // 60)
        if minute != self._weight_minute:
            self._weight_minute, self._weight = minute, 0
        self._weight += weight(name, params, spot=self.spot)
        headers["X-MBX-USED-WEIGHT-1M"] = str(self._weight)
        now = time.monotonic()
        if now < self._refuse_until:
            self.sim.note("asked too early", exchange=self.exchange.name, request=name)
            raise self._over_limit(self._refuse_banned, self._refuse_until - now)
        fault = self.sim.armed.take("limit", self.exchange.name)
        if fault is not None:
            wait = fault.seconds or (120.0 if fault.banned else 1.0)
            self.sim.note("fault hits", fault="limit", exchange=self.exchange.name, request=name)
            if fault.seconds:
                self._refuse_until, self._refuse_banned = now + wait, fault.banned
            raise self._over_limit(fault.banned, wait)
        if self.sim.limits and self._weight > self._weight_limit:
            raise self._over_limit(False, 60 - time.time() % 60)

    def _over_limit(self, banned: bool, wait: float) -> ApiError:
        """Too many requests; come back in `wait` seconds."""
        if banned:
            until = self.exchange.now_ms() + math.ceil(wait * 1000)
            text = f"Way too much request weight used; IP banned until {until}. {ADVICE} avoid bans."
        else:
            text = f"Too much request weight used; current limit is {self._weight_limit} request weight per 1 MINUTE."
            text += f" {ADVICE} avoid polling the API."
        return ApiError(-1003, text, 418 if banned else 429, retry_s=wait)

    @property
    def _weight_limit(self) -> int:
        return 6000 if self.spot else 2400

    def _key(self, api_key: str) -> Key:
        if not api_key:
            raise ApiError(-2014, "API-key format invalid.", 401)
        key = self.sim.accounts.keys.get(api_key)
        if key is None:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return key

    def _check_time(self, params: Params) -> None:
        if not params.get("timestamp"):
            missing("timestamp")
        sent, wide = integer(params, "timestamp", 0), window(params)
        now = self.exchange.now_ms()
        if sent > 10**14:  # microseconds
            sent //= 1000
        if sent > now + 1000:
            raise ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - sent > wide:
            raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")

    @staticmethod
    def _check_signature(key: Key, payload: str, params: Params) -> None:
        signature = params.get("signature")
        if not signature:
            missing("signature")
        if not key.signed(payload, signature):
            raise ApiError(-1022, "Signature for this request is not valid.")

    # -- the WebSocket API --------------------------------------------------------------------------------------------

    def on_text(self, peer: Peer, text: bytes) -> None:
        """One request; it is answered when it is done, not in turn."""
        try:
            request = loads(text, parse_float=str)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            error = {"code": -1135, "msg": "Invalid JSON Request"}
            peer.reply({"id": None, "status": 400, "error": error})
            return
        if not is_request_id(request.get("id")):
            wrong = invalid("id")
            peer.reply({"id": None, "status": 400, "error": {"code": wrong.code, "msg": wrong.text}})
            return
        peer.later(0, lambda: self._answer(peer, request))

    async def _answer(self, peer: Peer, request: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": request.get("id")}
        headers: dict[str, str] = {}
        again = False
        try:
            name, given = request.get("method"), request.get("params")
            if not isinstance(name, str) or (name not in self._methods and name not in SESSION):
                raise invalid("method")
            if not isinstance(given, dict | None):
                raise ApiError(-1135, "JSON sent for parameter 'params' is not valid")
            params = named(given or {})
            self._spend(name, params, headers)
            if name in SESSION:
                answer |= {"status": 200, "result": self._session(peer, name, params)}
            else:
                account = self._authorised(peer, name, params)
                result, again = await self._carry_out(name, params, account)
                answer |= {"status": 200, "result": result}
        except ApiError as error:
            answer |= {"status": error.status, "error": {"code": error.code, "msg": error.text}}
            if error.retry_s:
                now = self.exchange.now_ms()
                answer["error"]["data"] = {"serverTime": now, "retryAfter": now + math.ceil(error.retry_s * 1000)}
        except Silent:
            return
        count = int(headers.get("X-MBX-USED-WEIGHT-1M", "0"))
        answer["rateLimits"] = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self._weight_limit,
                "count": count,
            }
        ]
        for _ in range(2 if again else 1):
            peer.reply(_dumps(answer).encode())

    def _authorised(self, peer: Peer, name: str, params: Params) -> Account | None:
        if name in OPEN_TO_ALL:
            return None
        logged_on: Key | None = peer.state.get("key")
        if "apiKey" not in params and logged_on is not None:
            if name not in WITH_KEY:
                self._check_time(params)
            return logged_on.account
        if "apiKey" not in params:
            missing("apiKey")
        key = self._key(params["apiKey"])
        if name not in WITH_KEY:
            self._check_time(params)
            self._check_signature(key, signed_payload(params), params)
        return key.account

    def _session(self, peer: Peer, name: str, params: Params) -> Any:
        key: Key | None = peer.state.get("key")
        now = self.exchange.now_ms()
        if name == "session.logon":
            key = self._key(params.get("apiKey", ""))
            if not key.public_key:
                raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
            self._check_time(params)
            self._check_signature(key, signed_payload(params), params)
            peer.state["key"], peer.state["since"] = key, now
        elif name == "session.logout":
            peer.state.pop("key", None)
            self._sessions.pop(peer, None)
            key = None
        elif name.startswith("userDataStream.subscribe"):
            if not self.spot:
                raise invalid("method")
            if name.endswith(".signature"):
                key = self._key(params.get("apiKey", ""))
                self._check_time(params)
                self._check_signature(key, signed_payload(params), params)
            if key is None:
                raise ApiError(-1002, "You are not authorized to execute this request.", 401)
            subscriptions = self._sessions.setdefault(peer, {})
            if not name.endswith(".signature") and key.account in subscriptions.values():
                raise ApiError(-2035, "User data stream subscription already active.")
            subscription = max(subscriptions, default=-1) + 1
            subscriptions[subscription] = key.account
            return {"subscriptionId": subscription}
        elif name == "userDataStream.unsubscribe":
            subscriptions = self._sessions.get(peer, {})
            if "subscriptionId" in params:
                subscriptions.pop(integer(params, "subscriptionId", 0), None)
            else:
                subscriptions.clear()
            return {}
        elif name == "session.subscriptions":
            return [{"subscriptionId": subscription} for subscription in self._sessions.get(peer, {})]
        return {
            "apiKey": key.api_key if key else None,
            "authorizedSince": peer.state.get("since") if key else None,
            "connectedSince": now - int((time.monotonic() - peer.opened) * 1000),
            "returnRateLimits": True,
            "serverTime": now,
            "userDataStream": bool(self._sessions.get(peer)),
        }

    def left(self, peer: Peer) -> None:
        """A connection has ended."""
        self._listeners.pop(peer, None)
        self._sessions.pop(peer, None)

    # -- user data ----------------------------------------------------------------------------------------------------

    def _listen_key(self, params: Params, account: Account | None, *, new: bool = True) -> dict[str, str]:
        assert account is not None
        if self.spot:
            raise ApiError(-1020, "This operation is not supported.", 410)  # listen keys of spot ended in 2026
        for key, (owner, _) in self._keys.items():
            if owner is account:
                self._keys[key] = (owner, time.monotonic() + 3600 / self.sim.compress)
                return {"listenKey": key}
        if not new or "listenKey" in params:
            raise ApiError(-1125, "This listenKey does not exist.")
        key = secrets.token_urlsafe(48).replace("-", "x").replace("_", "y")
        self._keys[key] = (account, time.monotonic() + 3600 / self.sim.compress)
        return {"listenKey": key}

    def _drop_key(self, _params: Params, account: Account | None) -> dict[str, str]:
        for key, (owner, _) in list(self._keys.items()):
            if owner is account:
                del self._keys[key]
                for peer in list(self._listeners):
                    self.unlisten(peer, key)
        return {}

    def listen(self, peer: Peer, name: str) -> bool:
        """Whether the name is a listen key; then the connection gets its account's events."""
        found = self._keys.get(name)
        if found is None:
            return False
        if name in peer.streams:
            return True
        peer.streams[name] = None
        peer.state["events"] = [e for e in peer.request.query.get("events", "").replace("/", ",").split(",") if e]
        self._listeners.setdefault(peer, []).append((name, found[0]))
        return True

    def unlisten(self, peer: Peer, name: str) -> None:
        """A connection hears no more of a listen key's account."""
        if peer in self._listeners:
            self._listeners[peer] = [each for each in self._listeners[peer] if each[0] != name]
            if not self._listeners[peer]:
                del self._listeners[peer]

    def every_second(self) -> None:
        """Listen keys expire: who listens is told, and hears no more."""
        now = time.monotonic()
        for key, (_, until) in list(self._keys.items()):
            if now > until:
                del self._keys[key]
                for peer, keys in list(self._listeners.items()):
                    if any(name == key for name, _ in keys):
                        event = {"e": "listenKeyExpired", "E": self.exchange.now_ms(), "listenKey": key}
                        self._deliver(peer, key, event)
                        self.unlisten(peer, key)

    def _tell(self, account: Account, event: dict[str, Any]) -> None:
        for peer, subscriptions in list(self._sessions.items()):
            for subscription, owner in subscriptions.items():
                if owner is account:
                    peer.push(_dumps({"subscriptionId": subscription, "event": event}).encode(), stream="user")
        for peer, keys in list(self._listeners.items()):
            for key, owner in keys:
                wanted = peer.state.get("events")
                if owner is account and (not wanted or event["e"] in wanted):
                    self._deliver(peer, key, event)

    @staticmethod
    def _deliver(peer: Peer, key: str, event: dict[str, Any]) -> None:
        wrapped = {"stream": key, "data": event} if peer.state["combined"] else event
        peer.push(_dumps(wrapped).encode(), stream="user")

    def _event(self, order: Order, what: str, fill: Fill | None) -> None:
        """Tells an order's owner what happened to it."""
        account: Account = order.account
        if what == "REJECTED":
            return
        self._tell(account, self._report(order, what, fill) if self.spot else self._trade_update(order, what, fill))
        market = self.exchange.markets[order.symbol]
        if self.spot:
            wallet = account.wallet(self.exchange.name)
            now = self.exchange.now_ms()
            assets = [market.instrument.base, market.instrument.quote]
            balances = [
                {"a": a, "f": _8(wallet.free.get(a, ZERO)), "l": _8(wallet.locked.get(a, ZERO))} for a in assets
            ]
            self._tell(account, {"e": "outboundAccountPosition", "E": now, "u": now, "B": balances})
        elif fill is not None:
            self._tell(account, self._account_update(market, account))

    def _report(self, order: Order, what: str, fill: Fill | None) -> dict[str, Any]:
        now = self.exchange.now_ms()
        status = "NEW" if what == "NEW" else order.status
        report: dict[str, Any] = {
            "e": "executionReport", "E": now, "s": order.symbol,
            "c": order.extra.get("cancel_id", order.client_id) if what == "CANCELED" else order.client_id,
            "S": SIDE_NAMES[order.side], "o": order.kind, "f": order.tif, "q": _8(order.quantity),
            "p": _8(order.price), "P": "0.00000000", "F": "0.00000000", "g": -1,
            "C": order.client_id if what == "CANCELED" else "", "x": what, "X": status, "r": "NONE",
            "i": order.order_id, "l": _8(fill.quantity if fill else ZERO), "z": _8(order.filled),
            "L": _8(fill.price if fill else ZERO), "n": _8(fill.fee) if fill else "0",
            "N": fill.fee_asset if fill else None, "T": order.updated_ms, "t": fill.trade_id if fill else -1,
            "I": order.order_id * 2, "w": order.open, "m": bool(fill and fill.maker), "M": False,
            "O": order.created_ms, "Z": _8(order.filled_quote), "Y": _8(fill.price * fill.quantity if fill else ZERO),
            "Q": _8(order.quote_quantity), "W": order.created_ms, "V": order.extra.get("stp", "EXPIRE_MAKER"),
        }  # fmt: skip
        return report

    def _trade_update(self, order: Order, what: str, fill: Fill | None) -> dict[str, Any]:
        now = self.exchange.now_ms()
        market = self.exchange.markets[order.symbol]
        details: dict[str, Any] = {
            "s": order.symbol, "c": order.client_id, "S": SIDE_NAMES[order.side], "o": order.kind, "f": order.tif,
            "q": plain(order.quantity), "p": plain(order.price), "ap": plain(order.average), "sp": "0", "x": what,
            "X": "NEW" if what == "NEW" else order.status, "i": order.order_id,
            "l": plain(fill.quantity) if fill else "0", "z": plain(order.filled),
            "L": plain(fill.price) if fill else "0", "n": _8(fill.fee) if fill else "0",
            "N": market.instrument.settle, "T": order.updated_ms, "t": fill.trade_id if fill else 0, "b": "0",
            "a": "0", "m": bool(fill and fill.maker), "R": order.reduce_only, "wt": "CONTRACT_PRICE",
            "ot": order.kind, "ps": "BOTH", "cp": False, "rp": _8(fill.realised) if fill else "0", "pP": False,
            "si": 0, "ss": 0, "V": order.extra.get("stp", "EXPIRE_MAKER"), "pm": "NONE", "gtd": 0,
        }  # fmt: skip
        if self.exchange.name == "binance-coinm":
            details["ma"] = market.instrument.settle
        return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": order.updated_ms, "o": details}

    def _account_update(self, market: Market, account: Account) -> dict[str, Any]:
        now, wallet = self.exchange.now_ms(), account.wallet(self.exchange.name)
        asset, position = market.instrument.settle, wallet.position(market.symbol)
        total = _8(wallet.total(asset))
        return {
            "e": "ACCOUNT_UPDATE",
            "E": now,
            "T": now,
            "a": {
                "m": "ORDER",
                "B": [{"a": asset, "wb": total, "cw": total, "bc": "0"}],
                "P": [
                    {
                        "s": market.symbol, "pa": plain(position.quantity), "ep": _8(position.entry),
                        "bep": _8(position.entry), "cr": _8(position.realised),
                        "up": _8(self._unrealised(market, account)), "mt": "cross", "iw": "0", "ps": "BOTH",
                    }
                ],
            },
        }  # fmt: skip

    # -- market data --------------------------------------------------------------------------------------------------

    def _market(self, params: Params) -> Market:
        symbol = params.get("symbol")
        if not symbol:
            missing("symbol")
        market = self.exchange.markets.get(symbol)
        if market is None or not market.ready:
            raise ApiError(-1121, "Invalid symbol.")
        return market

    def _markets(self, params: Params) -> list[Market]:
        if "symbol" in params:
            return [self._market(params)]
        if "symbols" in params:
            try:
                names = loads(params["symbols"])
            except ValueError:
                names = None
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise ApiError(-1135, "JSON sent for parameter 'symbols' is not valid")
            return [self._market({"symbol": name}) for name in names]
        return [market for market in self.exchange.markets.values() if market.ready]

    def _exchange_info(self, params: Params, _account: Account | None) -> dict[str, Any]:
        markets = self._markets(params) if params.get("symbol") or params.get("symbols") else None
        rows = [market.row for market in (markets or self.exchange.markets.values()) if not market.gone]
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._weight_limit}
        info: dict[str, Any] = {"timezone": "UTC", "serverTime": self.exchange.now_ms(), "rateLimits": [limit]}
        info |= {"exchangeFilters": [], "symbols": rows}
        if not self.spot:
            assets = sorted({market.instrument.settle for market in self.exchange.markets.values()})
            info["assets"] = [{"asset": a, "marginAvailable": True, "autoAssetExchange": "0"} for a in assets]
            info["futuresType"] = "U_MARGINED" if self.exchange.name == "binance-usdm" else "COIN_MARGINED"
        return info

    def _depth(self, params: Params, _account: Account | None) -> dict[str, Any]:
        market = self._market(params)
        rows = integer(params, "limit", 100 if self.spot else 500)
        if not self.spot and rows not in (5, 10, 20, 50, 100, 500, 1000):
            raise ApiError(-4021, f"{rows} is not valid depth limit")
        if rows < 1:
            raise invalid("limit")
        old = self.sim.armed.take("old_snapshot", self.exchange.name, symbol=market.symbol)
        bids, asks, last = market.snapshot(min(rows, 5000), (old.seconds or 5.0) if old else 0.0)
        if old:
            self.sim.note("fault hits", fault="old_snapshot", symbol=market.symbol, id=last)
        answer: dict[str, Any] = {"lastUpdateId": last}
        if not self.spot:
            now = self.exchange.now_ms()
            answer |= {"E": now, "T": now}
        if self.exchange.name == "binance-coinm":
            answer |= {"symbol": market.symbol, "pair": market.row.get("pair", "")}
        return answer | {"bids": [level[:2] for level in bids], "asks": [level[:2] for level in asks]}

    def _recent_trades(self, params: Params, _account: Account | None) -> list[dict[str, Any]]:
        trades = list(self._market(params).trades)[-limit(params, 500, 1000, spot=self.spot) :]
        return [
            {"id": t["id"], "price": t["price"], "qty": t["qty"]}
            | {"quoteQty": _8(number(t["price"]) * number(t["qty"])), "time": t["ms"], "isBuyerMaker": t["maker"]}
            | ({"isBestMatch": True} if self.spot else {})
            for t in trades
        ]

    def _aggregate_trades(self, params: Params, _account: Account | None) -> list[dict[str, Any]]:
        trades = list(self._market(params).trades)[-limit(params, 500, 1000, spot=self.spot) :]
        return [
            {"a": t["id"], "p": t["price"], "q": t["qty"], "f": t["id"], "l": t["id"], "T": t["ms"], "m": t["maker"]}
            | ({"M": True} if self.spot else {})
            for t in trades
        ]

    def _klines(self, params: Params, _account: Account | None) -> list[list[Any]]:
        """Candles of the trades since the replay started, at most the last thousand trades."""
        market = self._market(params)
        text = params.get("interval", "")
        if not text:
            missing("interval")
        width = INTERVALS.get(text, 0) * 1000
        if not width or (text == "1s" and not self.spot):
            raise ApiError(-1120, "Invalid interval.")
        monday = 345_600_000 if text == "1w" else 0  # the first of 1970
        candles: dict[int, list[Decimal]] = {}
        for trade in market.trades:
            price, qty = number(trade["price"]), number(trade["qty"])
            candle = candles.setdefault(
                (trade["ms"] - monday) // width * width + monday, [price, price, price, price, ZERO, ZERO, ZERO, ZERO]
            )
            candle[1], candle[2], candle[3] = max(candle[1], price), min(candle[2], price), price
            candle[4] += qty
            candle[5] += qty * price
            candle[6] += 1
            candle[7] += ZERO if trade["maker"] else qty
        rows = limit(params, 500, 1000 if self.spot else 1500, spot=self.spot)
        return [
            [start, *(_8(v) for v in c[:5]), start + width - 1, _8(c[5]), int(c[6]), _8(c[7]), _8(c[7] * c[3]), "0"]
            for start, c in list(candles.items())[-rows:]
        ]

    def _one_or_all(self, params: Params, make: Callable[[Market], dict[str, Any]]) -> Any:
        made = [make(market) for market in self._markets(params)]
        return made[0] if "symbol" in params and self.exchange.name != "binance-coinm" else made

    def _ticker_price(self, params: Params, _account: Account | None) -> Any:
        return self._one_or_all(
            params,
            lambda m: (
                {"symbol": m.symbol, "price": _8(m.last_price or m.mid)}
                | ({} if self.spot else {"time": self.exchange.now_ms()})
            ),
        )

    def _ticker_book(self, params: Params, _account: Account | None) -> Any:
        def make(market: Market) -> dict[str, Any]:
            bid, ask = market.best(BID) or ("0", "0"), market.best(ASK) or ("0", "0")
            ticker = {
                "symbol": market.symbol,
                "bidPrice": bid[0],
                "bidQty": bid[1],
                "askPrice": ask[0],
                "askQty": ask[1],
            }
            return ticker | ({} if self.spot else {"time": self.exchange.now_ms(), "lastUpdateId": market.book.last_id})

        return self._one_or_all(params, make)

    def _ticker_day(self, params: Params, _account: Account | None) -> Any:
        def make(market: Market) -> dict[str, Any]:
            e = self.exchange.ticker(market, "ticker")
            bid, ask = market.best(BID) or ("0", "0"), market.best(ASK) or ("0", "0")
            return {
                "symbol": market.symbol, "priceChange": e["p"], "priceChangePercent": e["P"],
                "weightedAvgPrice": e["w"], "prevClosePrice": e["o"], "lastPrice": e["c"], "lastQty": e["Q"],
                "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1], "openPrice": e["o"],
                "highPrice": e["h"], "lowPrice": e["l"], "volume": e["v"], "quoteVolume": e["q"], "openTime": e["O"],
                "closeTime": e["C"], "firstId": e["F"], "lastId": e["L"], "count": e["n"],
            }  # fmt: skip

        return self._one_or_all(params, make)

    def _premium_index(self, params: Params, _account: Account | None) -> Any:
        def make(market: Market) -> dict[str, Any]:
            mark = self.exchange.mark_price(market)
            return {
                "symbol": market.symbol, "markPrice": mark["p"], "indexPrice": mark["i"],
                "estimatedSettlePrice": mark["P"], "lastFundingRate": mark["r"], "interestRate": "0.00010000",
                "nextFundingTime": mark["T"], "time": mark["E"],
            }  # fmt: skip

        return self._one_or_all(params, make)

    # -- the account --------------------------------------------------------------------------------------------------

    def _account(self, _params: Params, account: Account | None) -> dict[str, Any]:
        assert account is not None
        wallet = account.wallet(self.exchange.name)
        now = self.exchange.now_ms()
        if self.spot:
            rates = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
            return {
                "makerCommission": 10,
                "takerCommission": 10,
                "buyerCommission": 0,
                "sellerCommission": 0,
                "commissionRates": rates,
                "canTrade": True,
                "canWithdraw": False,
                "canDeposit": False,
                "brokered": False,
                "requireSelfTradePrevention": False,
                "preventSor": False,
                "updateTime": now,
                "accountType": "SPOT",
                "balances": [
                    {"asset": a, "free": _8(wallet.free.get(a, ZERO)), "locked": _8(wallet.locked.get(a, ZERO))}
                    for a in wallet.assets()
                ],
                "permissions": ["SPOT"],
                "uid": 1,
            }
        assets = [
            {
                "asset": a, "walletBalance": _8(wallet.total(a)), "unrealizedProfit": "0",
                "marginBalance": _8(wallet.total(a)), "maintMargin": "0",
                "initialMargin": _8(wallet.locked.get(a, ZERO)), "positionInitialMargin": "0",
                "openOrderInitialMargin": _8(wallet.locked.get(a, ZERO)), "crossWalletBalance": _8(wallet.total(a)),
                "crossUnPnl": "0", "availableBalance": _8(accounts.available(wallet, a)),
                "maxWithdrawAmount": _8(accounts.available(wallet, a)), "marginAvailable": True, "updateTime": now,
            }
            for a in wallet.assets()
        ]  # fmt: skip
        usdt = _8(wallet.total("USDT"))
        available = _8(accounts.available(wallet, "USDT"))
        return {
            "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": False, "updateTime": now,
            "multiAssetsMargin": False, "totalInitialMargin": "0", "totalMaintMargin": "0",
            "totalWalletBalance": usdt, "totalUnrealizedProfit": "0", "totalMarginBalance": usdt,
            "totalCrossWalletBalance": usdt, "availableBalance": available, "maxWithdrawAmount": available,
            "assets": assets,
            "positions": [self._position(market, account) for market in self.exchange.markets.values()],
        }  # fmt: skip

    def _unrealised(self, market: Market, account: Account) -> Decimal:
        position = account.wallet(self.exchange.name).position(market.symbol)
        mark, size = market.mid, market.instrument.contract_size or Decimal(1)
        if not position.quantity or not mark:
            return ZERO
        if market.instrument.contract == "inverse":
            return position.quantity * size * (1 / position.entry - 1 / mark)
        return position.quantity * size * (mark - position.entry)

    def _position(self, market: Market, account: Account) -> dict[str, Any]:
        position = account.wallet(self.exchange.name).position(market.symbol)
        mark = market.mid
        notional = accounts.value(market.instrument, mark, position.quantity)
        return {
            "symbol": market.symbol, "positionSide": "BOTH", "positionAmt": plain(position.quantity),
            "entryPrice": _8(position.entry), "breakEvenPrice": _8(position.entry), "markPrice": _8(mark),
            "unRealizedProfit": _8(self._unrealised(market, account)),
            "unrealizedProfit": _8(self._unrealised(market, account)), "liquidationPrice": "0", "isolatedMargin": "0",
            "notional": _8(notional), "notionalValue": _8(notional), "isolatedWallet": "0",
            "marginAsset": market.instrument.settle, "marginType": "cross", "isAutoAddMargin": "false",
            "leverage": "20", "maxQty": "1000", "initialMargin": _8(position.margin), "maintMargin": "0",
            "positionInitialMargin": _8(position.margin), "openOrderInitialMargin": "0", "adl": 0, "bidNotional": "0",
            "askNotional": "0", "updateTime": self.exchange.now_ms(),
        }  # fmt: skip

    def _positions(self, params: Params, account: Account | None) -> list[dict[str, Any]]:
        assert account is not None
        return [self._position(market, account) for market in self._markets(params)]

    def _balance(self, _params: Params, account: Account | None) -> list[dict[str, Any]]:
        assert account is not None
        wallet = account.wallet(self.exchange.name)
        return [
            {
                "accountAlias": "SgsR", "asset": a, "balance": _8(wallet.total(a)),
                "crossWalletBalance": _8(wallet.total(a)), "crossUnPnl": "0",
                "availableBalance": _8(accounts.available(wallet, a)),
                "maxWithdrawAmount": _8(accounts.available(wallet, a)), "marginAvailable": True,
                "updateTime": self.exchange.now_ms(),
            }
            for a in wallet.assets()
        ]  # fmt: skip

    def _commission(self, params: Params, _account: Account | None) -> dict[str, Any]:
        market = self._market(params)
        maker = plain(accounts.fee_share(market.instrument, maker=True))
        taker = plain(accounts.fee_share(market.instrument, maker=False))
        if not self.spot:
            return {"symbol": market.symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}
        standard = {"maker": maker, "taker": taker, "buyer": "0.00000000", "seller": "0.00000000"}
        zero = dict.fromkeys(standard, "0.00000000")
        discount = {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        }
        return {
            "symbol": market.symbol,
            "standardCommission": standard,
            "specialCommission": zero,
            "taxCommission": zero,
            "discount": discount,
        }

    def _brackets(self, params: Params, _account: Account | None) -> list[dict[str, Any]]:
        bracket = {
            "bracket": 1, "initialLeverage": 20, "notionalCap": 1_000_000_000, "notionalFloor": 0,
            "qtyCap": 1_000_000_000, "qtylFloor": 0, "maintMarginRatio": 0.025, "cum": 0.0,
        }  # fmt: skip
        return [{"symbol": market.symbol, "brackets": [bracket]} for market in self._markets(params)]

    # -- orders -------------------------------------------------------------------------------------------------------

    def _place(self, params: Params, account: Account | None) -> dict[str, Any]:
        order, respond = self._order(params, account, test=False)
        if not self.spot:
            answer = self._describe(order)
            if respond == "ACK":  # the default of futures tells of no fill
                value = "cumBase" if "cumBase" in answer else "cumQuote"
                answer |= {"status": "NEW", "executedQty": "0", "cumQty": "0", value: "0", "avgPrice": "0.00"}
            return answer
        short = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_id,
            "transactTime": order.updated_ms,
        }
        if respond == "ACK":
            return short
        answer = short | {
            "price": _8(order.price), "origQty": _8(order.quantity), "executedQty": _8(order.filled),
            "origQuoteOrderQty": _8(order.quote_quantity), "cummulativeQuoteQty": _8(order.filled_quote),
            "status": order.status, "timeInForce": order.tif, "type": order.kind, "side": SIDE_NAMES[order.side],
            "workingTime": order.created_ms, "selfTradePreventionMode": order.extra["stp"],
        }  # fmt: skip
        if respond == "FULL":
            answer["fills"] = [
                {
                    "price": _8(fill.price),
                    "qty": _8(fill.quantity),
                    "commission": _8(fill.fee),
                    "commissionAsset": fill.fee_asset,
                    "tradeId": fill.trade_id,
                }
                for fill in order.fills
            ]
        return answer

    def _test(self, params: Params, account: Account | None) -> dict[str, Any]:
        self._order(params, account, test=True)
        return {}

    def _order(self, params: Params, account: Account | None, *, test: bool) -> tuple[Order, str]:
        assert account is not None
        market = self._market(params)
        side, kind = params.get("side"), params.get("type")
        if not side:
            missing("side")
        if not kind:
            missing("type")
        if side not in SIDES:
            raise ApiError(-1117, "Invalid side.")
        if kind not in (("LIMIT", "MARKET", "LIMIT_MAKER") if self.spot else ("LIMIT", "MARKET")):
            raise ApiError(-1116, "Invalid orderType.")
        tif = params.get("timeInForce", "")
        if kind == "LIMIT":
            if not tif:
                missing("timeInForce")
            if tif not in (("GTC", "IOC", "FOK") if self.spot else ("GTC", "IOC", "FOK", "GTX", "GTD")):
                raise ApiError(-1115, "Invalid timeInForce.")
        elif tif and self.spot:
            raise ApiError(-1106, "Parameter 'timeInForce' sent when not required.")
        if kind == "MARKET" and "price" in params:
            raise ApiError(-1106, "Parameter 'price' sent when not required.")
        price = decimal(params, "price") if kind != "MARKET" else ZERO
        quote = (
            decimal(params, "quoteOrderQty") if self.spot and kind == "MARKET" and "quoteOrderQty" in params else ZERO
        )
        if quote and "quantity" in params:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        quantity = ZERO if quote else decimal(params, "quantity")
        reduce_only = params.get("reduceOnly", "false").lower() == "true"
        if params.get("positionSide", "BOTH") != "BOTH":
            raise ApiError(-4061, "Order's position side does not match user's setting.")
        client_id = params.get("newClientOrderId") or secrets.token_hex(11)
        if len(client_id) > 36 or not all(c.isalnum() or c in ".:/_-" for c in client_id) or not client_id.isascii():
            raise illegal("newClientOrderId", "[a-zA-Z0-9-_]{1,36}")
        waiting = len(self.desk.open_orders(account, market.symbol))
        if self.spot:
            check_spot(market, waiting, SIDES[side], kind, price, quantity, quote)
        else:
            check_futures(market, waiting, SIDES[side], kind, price, quantity, reduce_only=reduce_only)
        default = "FULL" if self.spot and kind != "LIMIT_MAKER" else "ACK"
        respond = params.get("newOrderRespType") or default
        if respond not in (("ACK", "RESULT", "FULL") if self.spot else ("ACK", "RESULT")):
            raise invalid("newOrderRespType")
        try:
            order = self.desk.place(
                account,
                market,
                side=SIDES[side],
                kind=kind,
                tif=tif or "GTC",
                price=price,
                quantity=quantity,
                quote_quantity=quote,
                client_id=client_id,
                reduce_only=reduce_only,
                test=test,
                extra={"stp": params.get("selfTradePreventionMode", "EXPIRE_MAKER")},
            )
        except Refusal as refusal:
            raise self._refused(refusal) from None
        return order, respond

    def _refused(self, refusal: Refusal) -> ApiError:
        if self.spot:
            texts = {
                "balance": "Account has insufficient balance for requested action.",
                "would take": "Order would immediately match and take.",
                "duplicate": "Duplicate order sent.",
                "reduce only": "This action is disabled on this account.",
            }
            return ApiError(-2010, texts[refusal.why])
        if refusal.why == "balance":
            return ApiError(-2019, "Margin is insufficient.")
        if refusal.why == "duplicate":
            return ApiError(-4116, "ClientOrderId is duplicated.")
        if refusal.why == "reduce only":
            return ApiError(-2022, "ReduceOnly Order is rejected.")
        return ApiError(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )

    def _find(self, params: Params, account: Account | None, missing: int, text: str) -> Order:
        assert account is not None
        market = self._market(params)
        if "orderId" not in params and "origClientOrderId" not in params:
            raise ApiError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        order_id = integer(params, "orderId", 0) if "orderId" in params else None
        order = self.desk.find(account, market.symbol, order_id, params.get("origClientOrderId"))
        if order is None or (missing == -2011 and not order.open):
            raise ApiError(missing, text)
        return order

    def _status(self, params: Params, account: Account | None) -> dict[str, Any]:
        return self._describe(self._find(params, account, -2013, "Order does not exist."))

    def _cancel(self, params: Params, account: Account | None) -> dict[str, Any]:
        order = self._find(params, account, -2011, "Unknown order sent.")
        return self._cancelled(order, params.get("newClientOrderId") or secrets.token_hex(11))

    def _cancelled(self, order: Order, cancel_id: str) -> dict[str, Any]:
        order.extra["cancel_id"] = cancel_id
        self.desk.cancel(self.exchange.markets[order.symbol], order)
        answer = self._describe(order)
        if self.spot:
            for name in ("stopPrice", "icebergQty", "time", "updateTime", "isWorking", "workingTime"):
                answer.pop(name, None)
            answer = {"symbol": order.symbol, "origClientOrderId": order.client_id} | answer
            answer |= {"clientOrderId": cancel_id, "transactTime": order.updated_ms}
        return answer

    def _cancel_all(self, params: Params, account: Account | None) -> Any:
        assert account is not None
        market = self._market(params)
        orders = self.desk.open_orders(account, market.symbol)
        if self.spot and not orders:
            raise ApiError(-2011, "Unknown order sent.")
        cancelled = [self._cancelled(order, secrets.token_hex(11)) for order in orders]
        return cancelled if self.spot else {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _open_orders(self, params: Params, account: Account | None) -> list[dict[str, Any]]:
        assert account is not None
        symbol = self._market(params).symbol if "symbol" in params else ""
        return [self._describe(order) for order in self.desk.open_orders(account, symbol)]

    def _all_orders(self, params: Params, account: Account | None) -> list[dict[str, Any]]:
        assert account is not None
        symbol = self._market(params).symbol
        orders = [order for order in account.orders_on(self.exchange.name).values() if order.symbol == symbol]
        return [self._describe(order) for order in orders[-limit(params, 500, 1000, spot=self.spot) :]]

    def _my_trades(self, params: Params, account: Account | None) -> list[dict[str, Any]]:
        assert account is not None
        symbol = self._market(params).symbol
        wanted = integer(params, "orderId", 0)
        trades = []
        for order in account.orders_on(self.exchange.name).values():
            if order.symbol != symbol or (wanted and order.order_id != wanted):
                continue
            for fill in order.fills:
                trade: dict[str, Any] = {
                    "symbol": symbol, "id": fill.trade_id, "orderId": order.order_id, "price": _8(fill.price),
                    "qty": _8(fill.quantity), "quoteQty": _8(fill.price * fill.quantity), "commission": _8(fill.fee),
                    "commissionAsset": fill.fee_asset, "time": fill.ms,
                }  # fmt: skip
                if self.spot:
                    trade |= {
                        "orderListId": -1,
                        "isBuyer": order.side == BID,
                        "isMaker": fill.maker,
                        "isBestMatch": True,
                    }
                else:
                    trade |= {"side": SIDE_NAMES[order.side], "maker": fill.maker, "buyer": order.side == BID}
                    trade |= {"realizedPnl": _8(fill.realised), "positionSide": "BOTH", "marginAsset": fill.fee_asset}
                trades.append(trade)
        return trades[-limit(params, 500, 1000, spot=self.spot) :]

    def _describe(self, order: Order) -> dict[str, Any]:
        """An order as queries answer it."""
        common: dict[str, Any] = {
            "symbol": order.symbol, "orderId": order.order_id, "clientOrderId": order.client_id,
            "status": order.status, "timeInForce": order.tif, "type": order.kind, "side": SIDE_NAMES[order.side],
            "time": order.created_ms, "updateTime": order.updated_ms,
            "selfTradePreventionMode": order.extra.get("stp", "EXPIRE_MAKER"),
        }  # fmt: skip
        if self.spot:
            return common | {
                "orderListId": -1, "price": _8(order.price), "origQty": _8(order.quantity),
                "executedQty": _8(order.filled), "cummulativeQuoteQty": _8(order.filled_quote),
                "stopPrice": "0.00000000", "icebergQty": "0.00000000", "isWorking": order.open,
                "workingTime": order.created_ms, "origQuoteOrderQty": _8(order.quote_quantity),
            }  # fmt: skip
        market = self.exchange.markets[order.symbol]
        inverse = market.instrument.contract == "inverse"
        value = sum((accounts.value(market.instrument, fill.price, fill.quantity) for fill in order.fills), ZERO)
        return common | {
            "price": plain(order.price), "avgPrice": _8(order.average), "origQty": plain(order.quantity),
            "executedQty": plain(order.filled), "cumQty": plain(order.filled),
            "cumBase" if inverse else "cumQuote": _8(value), "reduceOnly": order.reduce_only, "closePosition": False,
            "positionSide": "BOTH", "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False,
            "origType": order.kind, "priceMatch": "NONE", "goodTillDate": 0,
        }  # fmt: skip


def _8(value: Decimal) -> str:
    return f"{value:.8f}"


def _dumps(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))
