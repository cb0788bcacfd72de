"""The exchanges' protocols, without I/O: which session serves which exchange, and what is asked about an instrument.

`session(exchange, symbols)` makes the state machine; `base` says how a host drives it. NumPy alone is needed to
import it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from cwts.errors import CwtsError, InputError
from cwts.exchanges import binance, okx
from cwts.instruments import decimals_of, find_instrument
from cwts.jsontext import parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from urllib.parse import SplitResult

    from cwts.exchanges.base import Endpoints, Policy, Session
    from cwts.instruments import Instrument

SESSIONS: dict[str, type[Session]] = {
    "binance": binance.BinanceSession,
    "binance-usdm": binance.BinanceUsdmSession,
    "binance-coinm": binance.BinanceCoinmSession,
    "okx": okx.OkxSession,
}


def session(
    exchange: str,
    symbols: Sequence[str],
    endpoints: Endpoints | None = None,
    policy: Policy | None = None,
    seed: int = 0,
) -> Session:
    """The state machine for some symbols of an exchange. Raises InputError."""
    if exchange not in SESSIONS:
        raise InputError(f"unknown exchange {exchange!r}: expected one of {', '.join(SESSIONS)}")
    if not symbols:
        raise InputError("at least one symbol is needed")
    names = [symbol.upper() for symbol in symbols]
    if not all(names):
        raise InputError("a symbol is empty")
    if len(set(names)) != len(names):
        raise InputError(f"a symbol is named twice: {', '.join(names)}")
    return SESSIONS[exchange](names, endpoints_of(exchange, endpoints), policy, seed)


def endpoints_of(exchange: str, changed: Endpoints | None = None) -> dict[str, str]:
    """The addresses of an exchange, with those in `changed` in place of its own. Raises InputError."""
    if exchange not in SESSIONS:
        raise InputError(f"unknown exchange {exchange!r}: expected one of {', '.join(SESSIONS)}")
    own = dict(okx.ENDPOINTS if exchange == "okx" else binance.VENUES[exchange].endpoints)
    for kind, url in (changed or {}).items():
        if kind not in own:
            raise InputError(f"{exchange} has no endpoint {kind!r}: expected one of {', '.join(own)}")
        _check(url, "http" if kind == "rest" else "ws")
        own[kind] = url.rstrip("/")
    return own


def moved(exchange: str, base: str) -> dict[str, str]:
    """All addresses of an exchange on another host with the same paths: `ws://127.0.0.1:9000`. Raises InputError."""
    parts = _split(base)
    if parts is None or parts.scheme not in ("ws", "wss", "http", "https"):
        raise InputError(f"an address like ws://127.0.0.1:9000 is expected, not {base!r}")
    secure = "s" if parts.scheme in ("wss", "https") else ""
    prefix = parts.path.rstrip("/")
    result = {}
    for kind, url in endpoints_of(exchange).items():
        scheme = ("http" if kind == "rest" else "ws") + secure
        result[kind] = urlunsplit((scheme, parts.netloc, prefix + urlsplit(url).path, "", ""))
    return result


def _check(url: str, scheme: str) -> None:
    parts = _split(url)
    if parts is None or parts.scheme not in (scheme, scheme + "s"):
        raise InputError(f"an address that begins with {scheme}:// or {scheme}s:// is expected, not {url!r}")


def _split(url: str) -> SplitResult | None:
    """An address that has a host (and a port that can be one if any), but no query, fragment or blank; else None."""
    if not url.isprintable() or any(character in " ?#" for character in url):
        return None
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


# -- what an instrument is ------------------------------------------------------------------------------------------


def together(exchange: str, symbols: Sequence[str]) -> list[list[str]]:
    """The symbols by what one question, `instruments_url`, can ask for."""
    groups: dict[str, list[str]] = {}
    for symbol in symbols:
        groups.setdefault(okx.instrument_type(symbol) if exchange == "okx" else "", []).append(symbol)
    return list(groups.values())


def instruments_url(exchange: str, endpoints: Endpoints, symbols: Sequence[str]) -> str:
    """GET: the exchange's own description of instruments that can be asked for `together`, for `instruments_of`."""
    return (
        okx.instruments_url(endpoints, symbols)
        if exchange == "okx"
        else binance.instruments_url(exchange, endpoints, symbols)
    )


def book_url(exchange: str, endpoints: Endpoints, symbol: str) -> str:
    """GET: the book as deep as there is, for `price_of` and `finer`."""
    if exchange == "okx":
        return okx.depth_url(endpoints, symbol, 400)
    return binance.depth_url(exchange, endpoints, symbol, binance.VENUES[exchange].depth_limit)


@dataclass(frozen=True, slots=True)
class Question:
    """What a page asks before it goes live: GET `url`, or the text `send` on a WebSocket.

    The answer is the first message that holds one of `marks`. WebSockets are asked wherever they answer: whether a
    page may read what REST answers is the exchange's choice (CORS).
    """

    url: str
    send: str = ""
    marks: tuple[str, ...] = ()


_OKX_MARKS = ('"data"', '"error"')
_OKX_LISTED = ("SPOT", "SWAP", "FUTURES")


def ask_instruments(exchange: str, endpoints: Endpoints, symbol: str = "") -> list[Question]:
    """What tells about one instrument, or (without `symbol`) about all that the page offers."""
    if exchange == "okx":
        kinds = [okx.instrument_type(symbol)] if symbol else _OKX_LISTED
        texts = [okx.subscription(channel="instruments", instType=kind) for kind in kinds]
        return [Question(endpoints["public"], text, _OKX_MARKS) for text in texts]
    if exchange == "binance":
        return [Question(endpoints["api"], binance.instruments_request(symbol), ('"id":',))]
    return [Question(instruments_url(exchange, endpoints, [symbol]))]


def ask_book(exchange: str, endpoints: Endpoints, symbol: str) -> Question:
    """What tells the book, for `price_of` and `finer`."""
    if exchange == "okx":
        return Question(endpoints["public"], okx.subscription(channel="books", instId=symbol.upper()), _OKX_MARKS)
    if binance.VENUES[exchange].api:
        text = binance.depth_request(symbol, binance.VENUES[exchange].depth_limit)
        return Question(endpoints["api"], text, ('"id":',))
    return Question(book_url(exchange, endpoints, symbol))


def unwrapped(status: int, answer: bytes) -> tuple[int, bytes]:
    """Status and content of what a WebSocket answered to a `Question`, as REST would have given them."""
    try:
        found = parse(answer)
    except ValueError:
        return status, answer
    if not isinstance(found, dict):
        return status, answer
    if isinstance(found.get("status"), int) and "id" in found:  # Binance
        return found["status"], json.dumps(found.get("result", found.get("error"))).encode()
    if "arg" in found and "data" in found:  # OKX
        return status, json.dumps({"code": "0", "data": found["data"]}).encode()
    return status, answer


def instrument_of(exchange: str, symbol: str, status: int, answer: bytes) -> Instrument:
    """The instrument that the answer to `instruments_url` describes. Raises InputError where there is none."""
    return instruments_of(exchange, [symbol], status, answer)[0]


def instruments_of(exchange: str, symbols: Sequence[str], status: int, answer: bytes) -> list[Instrument]:
    """The same for several, as `together` has them."""
    symbol = " or ".join(symbols)
    found: Any = None
    try:
        found = parse(answer)
    except ValueError as error:
        if status == 200:
            raise InputError(f"{exchange}: not JSON ({error})") from error
    if isinstance(found, dict):
        code = found.get("code")
        if code in (-1121, -1100) or (
            exchange == "okx" and (code in ("51000", "51001") or (code == "0" and not found.get("data")))
        ):
            raise InputError(f"{exchange} has no symbol {symbol.upper()}")
        if status != 200 or (exchange == "okx" and code != "0"):
            raise CwtsError(f"{exchange} does not tell about {symbol.upper()}: {found.get('msg') or f'HTTP {status}'}")
    elif status != 200:
        raise CwtsError(f"{exchange} does not tell about {symbol.upper()}: HTTP {status}")
    return [find_instrument(found, exchange, each, name=exchange) for each in symbols]


def finer(exchange: str, instrument: Instrument, answer: bytes) -> Instrument:
    """The instrument in units fine enough for every level of the book in the answer to `book_url`.

    A book holds orders that are older than today's rules: BTCUSDT has quantities of 6 decimals at a lot of 0.00001.
    Binance spot sends every number with 8 decimals, so quantities get all of them.
    """
    try:
        found = parse(answer)
        book = found["data"][0] if exchange == "okx" else found
        levels = [*book["bids"], *book["asks"]]
        prices, quantities = (max((decimals_of(Decimal(str(level[i]))) for level in levels), default=0) for i in (0, 1))
    except (ValueError, InvalidOperation, KeyError, IndexError, TypeError):
        prices = quantities = 0
    if exchange == "binance":
        quantities = 8
    return instrument.with_decimals(min(prices, 12), min(quantities, 12))


def price_of(exchange: str, answer: bytes) -> Decimal | None:
    """The price in the answer to `book_url`, if there is one."""
    try:
        found = parse(answer)
        text = okx.price_of(found) if exchange == "okx" else binance.price_of(found)
        return Decimal(text) if text else None
    except (ValueError, InvalidOperation, KeyError, IndexError, TypeError, AttributeError):
        return None
