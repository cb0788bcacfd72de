"""What Binance demands of a request: parameters, signed payloads, weights and filters, with the error of each.

Owns `ApiError` and the checks. Sources: errors.md, filters.md and the futures' error codes.
"""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from cwts.simulator.book import ASK, BID, plain

if TYPE_CHECKING:
    from cwts.simulator.exchange import Market

Params = dict[str, str]


class ApiError(Exception):
    """An error as the exchange gives it."""

    def __init__(self, code: int, text: str, status: int = 400, *, retry_s: float = 0.0) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status
        self.retry_s = retry_s  # come back after so many seconds


# -- parameters -------------------------------------------------------------------------------------------------------


def missing(name: str) -> NoReturn:
    """Refuses a request that lacks a parameter."""
    raise ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str = "[0-9]{1,20}") -> ApiError:
    """The error of a parameter that is not of its form."""
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'.")


def refuse(code: int, text: str) -> NoReturn:
    """An error inside an expression."""
    raise ApiError(code, text)


def invalid(name: str) -> ApiError:
    """The error of a parameter that is of its form and not possible all the same."""
    return ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")


def decimal(params: Params, name: str) -> Decimal:
    """A parameter that is a number of at least 0. Raises ApiError."""
    text = params.get(name)
    if not text:
        missing(name)
    if not _DECIMAL.fullmatch(text):
        raise illegal(name, _DECIMAL.pattern)
    return Decimal(text)


def integer(params: Params, name: str, default: int) -> int:
    """A parameter that is a whole number. Raises ApiError."""
    text = params.get(name)
    if text is None:
        return default
    if not text:
        raise ApiError(-1105, f"Parameter '{name}' was empty.")
    if not _INTEGER.fullmatch(text):
        raise illegal(name)
    return int(text)


def limit(params: Params, default: int, most: int, *, spot: bool) -> int:
    """How many rows are asked for. Spot gives at most so many, the futures refuse a larger number. Raises ApiError."""
    number = integer(params, "limit", default)
    if number < 1 or (number > most and not spot):
        raise invalid("limit")
    return min(number, most)


_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_DECIMAL = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?", re.ASCII)
_WINDOW = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?", re.ASCII)


def window(params: Params) -> float:
    """How many milliseconds a request is good for. Raises ApiError."""
    text = params.get("recvWindow", "5000")
    if _INTEGER.fullmatch(text.partition(".")[0]) and float(text.partition(".")[0]) > 60000:
        raise ApiError(-1131, "recvWindow must be less than 60000")
    if not _WINDOW.fullmatch(text):
        raise illegal("recvWindow", _WINDOW.pattern)
    return float(text)


def is_request_id(value: object) -> bool:
    """What a message may be identified by: a whole number of 64 bits, at most 36 characters, or null."""
    if isinstance(value, str):
        return len(value) <= 36
    return value is None or (type(value) is int and -(1 << 63) <= value < 1 << 63)


def named(given: dict[str, Any]) -> Params:
    """The parameters of a WebSocket API request, as they are signed. Raises ApiError for what no parameter can be."""
    params: Params = {}
    for name, value in given.items():
        if isinstance(value, dict) or (isinstance(value, list) and not all(isinstance(each, str) for each in value)):
            raise invalid(name)
        params[name] = "" if value is None else as_text(value)
    return params


def as_text(value: object) -> str:
    """A JSON value as it is signed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def signed_payload(params: Params) -> str:
    """What a WebSocket API request signs: all parameters but the signature, in alphabetical order."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


def without_signature(query: str) -> str:
    """What a REST request signs: its query (or body) as sent, without the signature."""
    return "&".join(part for part in query.split("&") if part and not part.startswith("signature="))


def weight(name: str, params: Params, *, spot: bool) -> int:
    """What a request costs of the minute's limit."""
    if name == "depth":
        text = params.get("limit", "")
        rows = int(text) if _INTEGER.fullmatch(text) else 100 if spot else 500
        if spot:
            return 5 if rows <= 100 else 25 if rows <= 500 else 50 if rows <= 1000 else 250
        return 2 if rows <= 50 else 5 if rows <= 100 else 10 if rows <= 500 else 20
    return {"exchangeInfo": 20, "account.status": 20, "order.place": 1, "openOrders.status": 6}.get(name, 2)


# -- filters ----------------------------------------------------------------------------------------------------------


def check_spot(
    market: Market,
    open_orders: int,
    side: int,
    kind: str,
    price: Decimal,
    quantity: Decimal,
    quote: Decimal,
) -> None:
    """The symbol's filters, each switched off by a 0. Raises ApiError -1013 with the filter's name."""
    if _places(price) > 8 or _places(quantity) > 8:
        name = "price" if _places(price) > 8 else "quantity"
        raise ApiError(-1111, f"Parameter '{name}' has too much precision.")
    for rule in market.row["filters"]:
        if not _passes(rule, market, side, kind, price, quantity, quote):
            raise ApiError(-1013, f"Filter failure: {rule['filterType']}")
        if rule["filterType"] == "MAX_NUM_ORDERS" and open_orders >= rule.get("maxNumOrders", 200):
            raise ApiError(-1013, "Filter failure: MAX_NUM_ORDERS")


def check_futures(
    market: Market,
    open_orders: int,
    side: int,
    kind: str,
    price: Decimal,
    quantity: Decimal,
    *,
    reduce_only: bool,
) -> None:
    """The same for futures, which have a code for each."""
    rules = {rule["filterType"]: rule for rule in market.row["filters"]}
    if _places(quantity) > market.row.get("quantityPrecision", 8) or _places(price) > market.row.get(
        "pricePrecision", 8
    ):
        raise ApiError(-1111, "Precision is over the maximum defined for this asset.")
    if quantity <= 0:
        raise ApiError(-4003, "Quantity less than or equal to zero.")
    lot = rules.get("MARKET_LOT_SIZE" if kind == "MARKET" else "LOT_SIZE", {})
    if quantity < _rule(lot, "minQty"):
        raise ApiError(-4004, "Quantity less than min quantity.")
    if _rule(lot, "maxQty") and quantity > _rule(lot, "maxQty"):
        raise ApiError(-4005, "Quantity greater than max quantity.")
    if _off(quantity, _rule(lot, "stepSize")):
        raise ApiError(-4023, "Quantity not increased by step size.")
    if kind == "LIMIT":
        band = rules.get("PRICE_FILTER", {})
        if price <= 0:
            raise ApiError(-4001, "Price less than 0.")
        if _rule(band, "maxPrice") and price > _rule(band, "maxPrice"):
            raise ApiError(-4002, "Price greater than max price.")
        if price < _rule(band, "minPrice"):
            raise ApiError(-4013, "Price less than min price.")
        if _off(price, _rule(band, "tickSize")):
            raise ApiError(-4014, "Price not increased by tick size.")
        percent = rules.get("PERCENT_PRICE", {})
        up, down = _rule(percent, "multiplierUp"), _rule(percent, "multiplierDown")
        if side == BID and up and market.mid and price > market.mid * up:
            raise ApiError(-4016, f"Limit price can't be higher than {plain(market.mid * up)}.")
        if side == ASK and down and market.mid and price < market.mid * down:
            raise ApiError(-4024, f"Limit price can't be lower than {plain(market.mid * down)}.")
    least = _rule(rules.get("MIN_NOTIONAL", {}), "notional")
    if least and not reduce_only and (price or market.mid) * quantity < least:
        raise ApiError(
            -4164, f"Order's notional must be no smaller than {plain(least)} (unless you choose reduce only)."
        )
    most = rules.get("MAX_NUM_ORDERS", {}).get("limit", 200)
    if open_orders >= most:
        raise ApiError(-2025, "Reach max open order limit.")


def _rule(rule: dict[str, Any], name: str) -> Decimal:
    return Decimal(str(rule.get(name) or 0))


_WIDE = Context(prec=100)  # a quotient of 40 digits and more is exact, and no error


def _off(value: Decimal, step: Decimal) -> bool:
    """Whether a value is no multiple of its step; a step of 0 is switched off."""
    return bool(step) and _WIDE.remainder(value, step) != 0


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _passes(
    rule: dict[str, Any], market: Market, side: int, kind: str, price: Decimal, quantity: Decimal, quote: Decimal
) -> bool:
    """One filter of spot (filters.md)."""
    name = rule["filterType"]
    limit = kind != "MARKET"
    if name == "PRICE_FILTER" and limit:
        low, high = _rule(rule, "minPrice"), _rule(rule, "maxPrice")
        return not (price < low or (high and price > high) or price <= 0 or _off(price, _rule(rule, "tickSize")))
    if name in ("LOT_SIZE", "MARKET_LOT_SIZE") and not quote and (name == "LOT_SIZE" or not limit):
        low, high = _rule(rule, "minQty"), _rule(rule, "maxQty")
        return not (
            quantity < low or (high and quantity > high) or quantity <= 0 or _off(quantity, _rule(rule, "stepSize"))
        )
    mean = market.mid
    if name == "PERCENT_PRICE_BY_SIDE" and limit and mean:
        which = "bid" if side == BID else "ask"
        up, down = _rule(rule, f"{which}MultiplierUp"), _rule(rule, f"{which}MultiplierDown")
        return not ((up and price > mean * up) or (down and price < mean * down))
    if name == "PERCENT_PRICE" and limit and mean:
        up, down = _rule(rule, "multiplierUp"), _rule(rule, "multiplierDown")
        return not ((up and price > mean * up) or (down and price < mean * down))
    notional = quote or (price if limit else mean) * quantity
    if name == "NOTIONAL":
        low, high = _rule(rule, "minNotional"), _rule(rule, "maxNotional")
        if (limit or rule.get("applyMinToMarket")) and notional < low:
            return False
        return not ((limit or rule.get("applyMaxToMarket")) and high and notional > high)
    if name == "MIN_NOTIONAL":
        return not ((limit or rule.get("applyToMarket")) and notional < _rule(rule, "minNotional"))
    return True
