"""The engine's configuration: a person's settings and an instrument's rules become the bytes of a `cwts_config`.

Owns defaults, their validation and the conversion to the kernel's integer units; instruments are `cwts.instruments`'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

import numpy as np

from cwts.errors import InputError
from cwts.instruments import ONE
from cwts.kernel import layout
from cwts.parameters import PARAMETERS, Range, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cwts.instruments import Instrument

KERNEL_EXCHANGE = {
    "binance": layout.Exchange.BINANCE_SPOT,
    "binance-usdm": layout.Exchange.BINANCE_USDM,
    "binance-coinm": layout.Exchange.BINANCE_COINM,
    "okx": layout.Exchange.OKX,
}
KERNEL_CONTRACT = {
    "spot": layout.Contract.SPOT,
    "linear": layout.Contract.LINEAR,
    "inverse": layout.Contract.INVERSE,
}

# Share of the notional that an order which takes liquidity costs an ordinary account.
TAKER_FEES = {
    ("binance", "spot"): 0.0010,
    ("binance-usdm", "linear"): 0.0005,
    ("binance-coinm", "inverse"): 0.0005,
    ("okx", "spot"): 0.0010,
    ("okx", "linear"): 0.0005,
    ("okx", "inverse"): 0.0005,
}
MAKER_FEES = {
    ("binance", "spot"): 0.0010,
    ("binance-usdm", "linear"): 0.0002,
    ("binance-coinm", "inverse"): 0.0002,
    ("okx", "spot"): 0.0008,
    ("okx", "linear"): 0.0002,
    ("okx", "inverse"): 0.0002,
}

DEFAULT_CAPITAL = Decimal(1000)  # quote units; an inverse contract's account holds coin of that worth
_E8 = Decimal(10**8)
_INT64_MAX = (1 << 63) - 1


def _default_weights() -> dict[str, float]:
    return {"IMBALANCE_5": 0.4, "FLOW_1S": 0.4, "MICRO": 0.4}


def _range(low: float, high: float, unit: str, what: str, *, above: bool = False, looser: str = "") -> Range:
    return Range(low=low, high=high, unit=unit, what=what, above=above, looser=looser)


# What each number in Settings can be, and what it means.
FIELDS = {
    "enter": _range(0, 1, "score", "from this score on, up or down, a position is opened", above=True, looser="lower"),
    "exit": _range(0, 1, "score", "from this score against it on, a position is closed", looser="higher"),
    "capital": _range(
        0, 1e9, "settlement asset", "the paper account at the start; unset: 1000 quote units' worth", above=True
    ),
    "order_share": _range(0, 1, "share", "what one order aims for, of the capital", above=True, looser="higher"),
    "max_loss_share": _range(
        0, 1, "share", "a loss of so much of the capital closes the position and halts", above=True, looser="higher"
    ),
    "max_spread_bp": _range(0, 10_000, "bp", "a wider spread opens nothing", looser="higher"),
    "max_slippage_bp": _range(0, 10_000, "bp", "what an order may pay beyond the touch", looser="higher"),
    "order_latency_s": _range(0, 1e6, "s", "from decision to the exchange's book"),
    "cooldown_s": _range(0, 1e6, "s", "between an exit and the next entry", looser="lower"),
    "max_hold_s": _range(0, 1e6, "s", "a position held for so long is closed", above=True, looser="higher"),
    "stale_s": _range(0, 1e6, "s", "a book without an update for longer opens nothing", above=True, looser="higher"),
    "warmup_s": _range(0, 1e6, "s", "after the book becomes valid, in which nothing is opened", looser="lower"),
    "taker_fee": _range(
        0, 0.1, "share", "of the notional, for taking liquidity; unset: the exchange's for an ordinary account"
    ),
    "maker_fee": _range(
        0, 0.1, "share", "of the notional, for making liquidity; unset: the exchange's for an ordinary account"
    ),
}
WEIGHT = _range(-1000, 1000, "1", "what the feature is multiplied with in the score")


@dataclass(frozen=True)
class Settings:
    """What a person may choose, each as FIELDS says. Shares are of 1, basis points (bp) of the price."""

    enter: float = 0.6
    exit: float = 0.3
    capital: Decimal | None = None
    order_share: float = 0.25
    max_loss_share: float = 0.20
    max_spread_bp: float = 5.0
    max_slippage_bp: float = 10.0
    order_latency_s: float = 0.050
    cooldown_s: float = 5.0
    max_hold_s: float = 30.0
    stale_s: float = 3.0
    warmup_s: float = 10.0
    taker_fee: float | None = None
    maker_fee: float | None = None
    weights: Mapping[str, float] = field(default_factory=_default_weights)  # by the names of layout.Feature
    parameters: Mapping[str, float] = field(default_factory=dict)  # by the names of cwts.parameters; others: defaults
    networks: str = "shipped"  # the weights that come with CWTS, "none", or a weights file
    parts: int = int(layout.Part.ALL)  # which parts of a tick run: a benchmark wants some alone

    def __post_init__(self) -> None:
        if self.capital is not None and not (self.capital.is_finite() and 0 < self.capital <= Decimal(10**9)):
            raise InputError(f"the capital must be {FIELDS['capital']}, not {self.capital}")
        for name, limits in FIELDS.items():
            if name != "capital" and (value := getattr(self, name)) is not None:
                _within(name, value, limits)
        if not np.float32(self.enter) > 0:
            raise InputError(f"enter must be above 0 in single precision too, not {self.enter}")
        for name, weight in self.weights.items():
            if name not in layout.Feature.__members__:
                raise InputError(f"no feature {name!r}: expected one of {', '.join(layout.Feature.__members__)}")
            _within(f"the weight of {name}", weight, WEIGHT)
        for name, value in self.parameters.items():
            if name not in PARAMETERS:
                raise unknown("parameter", name, PARAMETERS)
            _within(name, value, PARAMETERS[name])


def _within(name: str, value: float, limits: Range) -> None:
    below = value <= limits.low if limits.above else value < limits.low
    if not math.isfinite(value) or below or value > limits.high:
        raise InputError(f"{name} must be {limits}, not {value:.15g}")


def capital_of(instrument: Instrument, settings: Settings, reference_price: Decimal | None) -> Decimal:
    """The paper account at the start, in the settlement asset."""
    if settings.capital is not None:
        return settings.capital
    if instrument.contract == "inverse" and reference_price:
        return (DEFAULT_CAPITAL / reference_price).quantize(Decimal("1e-8"), ROUND_DOWN) or Decimal("1e-8")
    return DEFAULT_CAPITAL


def build_config(instrument: Instrument, settings: Settings, reference_price: Decimal | None = None) -> bytes:
    """The `cwts_config` of an instrument. `reference_price` (any recent price) turns basis points into ticks.

    Raises InputError where a value does not fit the kernel's integers.
    """
    config = np.zeros((), layout.CONFIG)
    symbol = instrument.symbol.encode()
    if not 0 < len(symbol) < layout.SYMBOL:
        raise InputError(f"the symbol {instrument.symbol!r} must have 1 to {layout.SYMBOL - 1} bytes")
    for what, decimals in (("price", instrument.price_decimals), ("quantity", instrument.qty_decimals)):
        if not 0 <= decimals <= 12:
            raise InputError(f"{instrument.symbol}: {decimals} {what} decimals; the engine holds 0 to 12")
    price_unit, qty_unit = 10**instrument.price_decimals, 10**instrument.qty_decimals
    capital = capital_of(instrument, settings, reference_price)
    tick = _units("tick size", instrument.tick_size, price_unit, low=1)
    market = (instrument.exchange, instrument.contract)
    taker = settings.taker_fee if settings.taker_fee is not None else TAKER_FEES.get(market, 0.001)
    maker = settings.maker_fee if settings.maker_fee is not None else MAKER_FEES.get(market, 0.001)

    def ticks_of(basis_points: float) -> int:
        """Price units, at least three ticks: a coarse tick can be wider than the share asked for."""
        share = Decimal(str(basis_points)) / 10_000 * (reference_price or 0) * price_unit
        return max(int(share), 3 * tick) if reference_price else _INT64_MAX // 4

    values: dict[str, object] = {
        "abi": layout.ABI,
        "exchange": KERNEL_EXCHANGE[instrument.exchange],
        "symbol": symbol,
        "price_decimals": instrument.price_decimals,
        "qty_decimals": instrument.qty_decimals,
        "contract": KERNEL_CONTRACT[instrument.contract],
        "parts": settings.parts,
        "tick_size": tick,
        "lot_size": _units("lot size", instrument.lot_size, qty_unit, low=1),
        "min_qty": _units("minimum quantity", instrument.min_qty, qty_unit),
        "max_qty": min(_units("maximum quantity", instrument.max_qty, qty_unit, clip=True), _INT64_MAX // 4),
        "min_notional_e8": _units("minimum notional", instrument.min_notional, 10**8),
        "contract_size_e8": _units("contract size", instrument.contract_size or ONE, 10**8, low=1),
        "capital_e8": _units("capital", capital, 10**8, low=1),
        "order_notional_e8": int(capital * _E8 * Decimal(str(settings.order_share))) if instrument.contract_size else 0,
        "max_loss_e8": max(1, int(capital * _E8 * Decimal(str(settings.max_loss_share)))),
        "max_spread": ticks_of(settings.max_spread_bp),
        "max_slippage": ticks_of(settings.max_slippage_bp),
        "order_latency_ns": _ns(settings.order_latency_s),
        "cooldown_ns": _ns(settings.cooldown_s),
        "max_hold_ns": _ns(settings.max_hold_s),
        "stale_ns": _ns(settings.stale_s),
        "warmup_ns": _ns(settings.warmup_s),
        "taker_fee_ppm": round(taker * 1_000_000),
        "maker_fee_ppm": round(maker * 1_000_000),
        "enter": settings.enter,
        "exit": settings.exit,
    }
    for name, value in values.items():
        config[name] = value
    for name, weight in settings.weights.items():
        config["weights"][layout.Feature[name]] = weight
    for index, (name, parameter) in enumerate(PARAMETERS.items()):
        config["parameter"][index] = settings.parameters.get(name, parameter.default)
    return config.tobytes()


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _units(what: str, value: Decimal, unit: int, *, low: int = 0, clip: bool = False) -> int:
    """`value` in whole units, rounded down; refused (or clipped) beyond int64."""
    units = int(value * unit)
    if units > _INT64_MAX and clip:
        return _INT64_MAX
    if not low <= units <= _INT64_MAX:
        raise InputError(f"the {what} {value} does not fit the engine's units of 1/{unit}")
    return units
