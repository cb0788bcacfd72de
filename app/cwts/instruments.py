"""What an exchange says about an instrument: ticks, lots, minimum sizes, contract size, as exact decimals.

Owns the exchanges' instrument JSON and what is known without it. Turning it into the kernel's units is `cwts.config`'s.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from cwts.errors import InputError
from cwts.jsontext import parse

Contract = Literal["spot", "linear", "inverse"]

ZERO = Decimal(0)
ONE = Decimal(1)
LARGEST_EXPONENT = 40  # of ten, in any exchange's rule: far beyond what the engine holds


@dataclass(frozen=True)
class Instrument:
    """One instrument. Prices in the quote asset, quantities as the exchange counts them (base, or contracts).

    A rule that the exchange has switched off, or that is not known, is 0. `contract_size` is one contract in base units
    (linear) or quote units (inverse), 1 on spot, and 0 where it is unknown: then the book works and trading is off.
    """

    exchange: str
    symbol: str
    contract: Contract
    base: str
    quote: str
    settle: str
    price_decimals: int
    qty_decimals: int
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    contract_size: Decimal = ONE
    known: bool = True  # False: guessed from the symbol, without the exchange's word

    def with_decimals(self, price_decimals: int, qty_decimals: int) -> Instrument:
        """The same instrument in units at least as fine as these."""
        return replace(
            self,
            price_decimals=max(self.price_decimals, price_decimals),
            qty_decimals=max(self.qty_decimals, qty_decimals),
        )

    def limits(self) -> tuple[str, ...]:
        """Why it cannot be traded, where that is so."""
        if not self.contract_size:
            return ("the size of a contract is not known: the book is kept and nothing is traded",)
        if self.qty_decimals > 8:
            return ("quantities have more than 8 decimals: the book is kept and nothing is traded",)
        return ()


def load_instrument(path: str | Path, exchange: str, symbol: str) -> Instrument:
    """Reads an exchangeInfo or instruments file. Raises InputError."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return parse_instrument(data, exchange, symbol, name=str(path))


def parse_instrument(data: bytes, exchange: str, symbol: str, *, name: str = "instruments") -> Instrument:
    """Finds `symbol` in an exchange's own JSON: exchangeInfo (Binance) or instruments (OKX). Raises InputError."""
    try:
        root = parse(data)
    except ValueError as error:
        raise InputError(f"{name}: not JSON ({error})") from error
    return find_instrument(root, exchange, symbol, name=name)


def find_instrument(root: object, exchange: str, symbol: str, *, name: str) -> Instrument:
    """The same in what has been parsed."""
    rows = _okx_rows(root) if exchange == "okx" else _binance_rows(root)
    key = "instId" if exchange == "okx" else "symbol"
    if not rows:
        raise InputError(f"{name}: no list of instruments of {exchange} in it")
    symbol = symbol.upper()
    for row in rows:
        if row.get(key) == symbol:
            try:
                return _okx(row) if exchange == "okx" else _binance(row, exchange, name)
            except KeyError as error:
                raise InputError(f"{name}: the entry of {symbol} cannot be read ({error} is missing)") from error
            except (TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{name}: the entry of {symbol} cannot be read ({error})") from error
    names = [str(row.get(key)) for row in rows]
    close = difflib.get_close_matches(symbol, names, n=5, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else f"; it has {', '.join(names[:10])} ({len(names)} in all)"
    raise InputError(f"{name}: no instrument {symbol}{hint}")


def decimals_of(step: Decimal) -> int:
    """How many decimals a step needs: 0.010 needs 2, 5 needs 0."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


# -- Binance --------------------------------------------------------------------------------------------------------


def _binance_rows(root: object) -> list[dict[str, Any]]:
    if isinstance(root, dict) and "result" in root:  # the WebSocket API's answer
        root = root["result"]
    rows = root.get("symbols") if isinstance(root, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _binance(row: dict[str, Any], exchange: str, name: str) -> Instrument:
    kind = "binance-coinm" if "contractSize" in row else "binance-usdm" if "contractType" in row else "binance"
    if kind != exchange:
        raise InputError(f"{name}: these are instruments of {kind}, not of {exchange}")
    filters = {rule["filterType"]: rule for rule in row["filters"]}

    def rule(kind: str, key: str) -> Decimal:
        return _decimal(filters.get(kind, {}).get(key))

    tick, lot = rule("PRICE_FILTER", "tickSize"), rule("LOT_SIZE", "stepSize")
    price_decimals = decimals_of(tick) if tick else _whole(row.get("pricePrecision", row.get("quotePrecision", 8)))
    qty_decimals = decimals_of(lot) if lot else _whole(row.get("quantityPrecision", row.get("baseAssetPrecision", 8)))
    inverse = exchange == "binance-coinm"
    return Instrument(
        exchange=exchange,
        symbol=row["symbol"],
        contract="inverse" if inverse else "spot" if exchange == "binance" else "linear",
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        settle=row.get("marginAsset", row["quoteAsset"]),
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        tick_size=tick or ONE.scaleb(-price_decimals),
        lot_size=lot or ONE.scaleb(-qty_decimals),
        min_qty=rule("LOT_SIZE", "minQty"),
        max_qty=rule("LOT_SIZE", "maxQty"),
        min_notional=max(
            rule("NOTIONAL", "minNotional"), rule("MIN_NOTIONAL", "minNotional"), rule("MIN_NOTIONAL", "notional")
        ),
        contract_size=_decimal(row["contractSize"]) if inverse else ONE,
    )


# -- OKX ------------------------------------------------------------------------------------------------------------


def _okx_rows(root: object) -> list[dict[str, Any]]:
    """Rows of one answer `{"data": […]}`, or of several under their instrument types `{"SPOT": {"data": […]}, …}`."""
    if isinstance(root, list):
        return [row for row in root if isinstance(row, dict) and "instId" in row]
    if isinstance(root, dict):
        if isinstance(root.get("data"), list):
            return _okx_rows(root["data"])
        return [row for part in root.values() if isinstance(part, dict) for row in _okx_rows(part)]
    return []


def _okx(row: dict[str, Any]) -> Instrument:
    kind = row["instType"]
    tick, lot = _decimal(row["tickSz"]), _decimal(row["lotSz"])
    contract: Contract
    if kind in ("SPOT", "MARGIN"):
        contract, base, quote, settle, size = "spot", row["baseCcy"], row["quoteCcy"], row["quoteCcy"], ONE
    else:
        base, quote, *_ = (row.get("uly") or row.get("instFamily") or row["instId"]).split("-")
        contract = "inverse" if row.get("ctType") == "inverse" else "linear"
        settle = row["settleCcy"]
        size = _decimal(row["ctVal"]) * (_decimal(row.get("ctMult")) or ONE)
        if kind == "OPTION" or row.get("ctValCcy") not in (base, quote):
            size = ZERO  # not priced like a future
    return Instrument(
        exchange="okx",
        symbol=row["instId"],
        contract=contract,
        base=base,
        quote=quote,
        settle=settle,
        price_decimals=decimals_of(tick),
        qty_decimals=decimals_of(lot),
        tick_size=tick or ONE,
        lot_size=lot or ONE,
        min_qty=_decimal(row["minSz"]),
        max_qty=_decimal(row.get("maxLmtSz")),
        contract_size=size,
    )


def _decimal(value: object) -> Decimal:
    """0 where there is none. Raises ValueError for what is no size of anything."""
    if value in (None, ""):
        return ZERO
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        raise ValueError(f"{str(value)[:40]!r} is no number that can be used")
    return number


def _whole(value: object) -> int:
    number = _decimal(value)
    if number != int(number) or not 0 <= number <= LARGEST_EXPONENT:
        raise ValueError(f"{str(value)[:40]!r} is no number of decimals")
    return int(number)


# -- without a file -------------------------------------------------------------------------------------------------

# One contract in base units (linear) where the exchange's file is not at hand; from OKX's instruments of 2022.
_OKX_LINEAR_SIZES = {
    "BTC": "0.01", "ETH": "0.1", "DOGE": "1000", "SOL": "1", "SHIB": "1000000", "UNI": "1", "XRP": "100",
}  # fmt: skip
_STABLE = "USDT|USDC|FDUSD|TUSD|BUSD|DAI|USD|EUR|TRY|BRL|JPY|BTC|ETH|BNB"


def guess_instrument(exchange: str, symbol: str, price_decimals: int, qty_decimals: int) -> Instrument:
    """What the symbol alone tells. Minimum sizes stay unknown (0), ticks and lots are one unit of the last decimal."""
    symbol = symbol.upper()
    contract: Contract = "spot"
    size = ONE
    if exchange == "okx":
        base, _, rest = symbol.partition("-")
        quote, _, kind = rest.partition("-")
        if kind:
            contract = "inverse" if quote == "USD" else "linear"
            size = Decimal(_OKX_LINEAR_SIZES.get(base, "0")) if contract == "linear" else _inverse_size(base)
            if kind.endswith(("-C", "-P")):
                size = ZERO
    else:
        pair = symbol.partition("_")[0]
        match = re.fullmatch(rf"(.+?)({_STABLE})", pair)
        base, quote = (match[1], match[2]) if match else (pair, "")
        if exchange == "binance-coinm":
            contract, size = "inverse", _inverse_size(base)
        elif exchange == "binance-usdm":
            contract = "linear"
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        contract=contract,
        base=base,
        quote=quote,
        settle=base if contract == "inverse" else quote,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        tick_size=ONE.scaleb(-price_decimals),
        lot_size=ONE.scaleb(-qty_decimals),
        contract_size=size,
        known=False,
    )


def _inverse_size(base: str) -> Decimal:
    """An inverse contract is worth 100 USD for bitcoin and 10 USD for every other coin, on both exchanges."""
    return Decimal(100 if base == "BTC" else 10)
