"""How each exchange describes an instrument, for those that no instruments file is at hand for.

Owns the shape of one row of exchangeInfo (Binance) and instruments (OKX); the rules in it come from `cwts.instruments`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cwts.simulator.book import plain

if TYPE_CHECKING:
    from cwts.instruments import Instrument

_TIFS = ["GTC", "IOC", "FOK", "GTX", "GTD"]
_SPOT_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET"]
_FUTURES_TYPES = ["LIMIT", "MARKET"]


def instrument_row(instrument: Instrument, given: dict[str, Any], index: int) -> dict[str, Any]:
    """The exchange's own words where they are given, completed with what has been added since; else made up.

    `index` makes OKX's numeric instIdCode, which orders over its WebSocket need.
    """
    if instrument.exchange == "okx":
        return _okx(instrument) | given | {"instIdCode": given.get("instIdCode") or 1000 + index}
    return given or (_spot(instrument) if instrument.exchange == "binance" else _futures(instrument))


def _filters(instrument: Instrument, notional: dict[str, Any], most: str = "9000") -> list[dict[str, Any]]:
    tick, lot = plain(instrument.tick_size), plain(instrument.lot_size)
    low = plain(instrument.min_qty or instrument.lot_size)
    high = plain(instrument.max_qty) if instrument.max_qty else most
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": low, "maxQty": high, "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": low, "maxQty": high, "stepSize": lot},
        notional,
    ]


def _spot(instrument: Instrument) -> dict[str, Any]:
    notional = {
        "filterType": "NOTIONAL",
        "minNotional": "5.00000000",
        "applyMinToMarket": True,
        "maxNotional": "9000000.00000000",
        "applyMaxToMarket": False,
        "avgPriceMins": 5,
    }
    percent = {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "5",
        "bidMultiplierDown": "0.2",
        "askMultiplierUp": "5",
        "askMultiplierDown": "0.2",
        "avgPriceMins": 5,
    }
    return {
        "symbol": instrument.symbol, "status": "TRADING", "baseAsset": instrument.base, "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8, "orderTypes": _SPOT_TYPES, "icebergAllowed": False, "ocoAllowed": False,
        "otoAllowed": False, "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": False,
        "cancelReplaceAllowed": False, "amendAllowed": False, "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [*_filters(instrument, notional), percent, {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200}],
        "permissions": [], "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }  # fmt: skip


def _futures(instrument: Instrument) -> dict[str, Any]:
    linear = instrument.contract == "linear"
    pair, _, expiry = instrument.symbol.partition("_")
    row: dict[str, Any] = {
        "symbol": instrument.symbol, "pair": pair,
        "contractType": "CURRENT_QUARTER" if expiry.isdigit() else "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000, "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base, "quoteAsset": instrument.quote, "marginAsset": instrument.settle,
        "pricePrecision": instrument.price_decimals, "quantityPrecision": instrument.qty_decimals,
        "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": [],
        "triggerProtect": "0.0500", "liquidationFee": "0.012500", "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000, "orderTypes": _FUTURES_TYPES, "timeInForce": _TIFS if linear else _TIFS[:4],
    }  # fmt: skip
    percent = {
        "filterType": "PERCENT_PRICE",
        "multiplierUp": "1.0500",
        "multiplierDown": "0.9500",
        "multiplierDecimal": "4",
    }
    row["filters"] = [
        *_filters(instrument, {"filterType": "MAX_NUM_ORDERS", "limit": 200}, "1000" if linear else "1000000"),
        percent,
    ]
    if linear:
        row["status"] = "TRADING"
        row["filters"].append({"filterType": "MIN_NOTIONAL", "notional": "5"})
    else:
        row |= {"contractStatus": "TRADING", "contractSize": int(instrument.contract_size), "equalQtyPrecision": 4}
    return row


def _okx(instrument: Instrument) -> dict[str, Any]:
    parts = instrument.symbol.split("-")
    kind = "SPOT" if len(parts) == 2 else "SWAP" if parts[2] == "SWAP" else "OPTION" if len(parts) == 5 else "FUTURES"
    spot = kind == "SPOT"
    inverse = instrument.contract == "inverse"
    family = f"{instrument.base}-{instrument.quote}"
    lot, tick = plain(instrument.lot_size), plain(instrument.tick_size)
    most = plain(instrument.max_qty or Decimal(999999999))
    return {
        "alias": "this_week" if kind == "FUTURES" else "", "baseCcy": instrument.base if spot else "",
        "quoteCcy": instrument.quote if spot else "", "category": "1", "ctMult": "" if spot else "1",
        "ctType": "" if spot else "inverse" if inverse else "linear",
        "ctVal": "" if spot else plain(instrument.contract_size),
        "ctValCcy": "" if spot else instrument.quote if inverse else instrument.base, "expTime": "",
        "instFamily": "" if spot else family, "instId": instrument.symbol, "instType": kind, "lever": "10",
        "listTime": "1548133413000", "lotSz": lot, "tickSz": tick,
        "minSz": plain(instrument.min_qty or instrument.lot_size), "maxIcebergSz": most, "maxLmtAmt": "20000000",
        "maxLmtSz": most, "maxMktAmt": "1000000", "maxMktSz": most, "maxStopSz": most, "maxTriggerSz": most,
        "maxTwapSz": most, "optType": "", "ruleType": "normal", "settleCcy": "" if spot else instrument.settle,
        "state": "live", "stk": "", "uly": "" if spot else family, "auctionEndTime": "", "contTdSwTime": "",
        "openType": "", "tradeQuoteCcyList": [instrument.quote] if spot else [],
    }  # fmt: skip
