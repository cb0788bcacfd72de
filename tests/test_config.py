"""From settings and an instrument to the kernel's configuration: units, defaults, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.config import Settings, build_config
from cwts.errors import InputError
from cwts.instruments import guess_instrument, load_instrument
from cwts.kernel import Engine, layout
from cwts.settings import settings_of

if TYPE_CHECKING:
    from pathlib import Path


def read(config: bytes) -> Any:
    return np.frombuffer(config, layout.CONFIG)[0]


def test_units_of_a_linear_contract(data: Path) -> None:
    instrument = load_instrument(data / "binance-usdm-exchangeInfo-202508.json", "binance-usdm", "BTCUSDT")
    config = read(build_config(instrument, Settings(capital=Decimal("50.5")), Decimal("61800.2")))
    assert config["symbol"] == b"BTCUSDT"
    assert (config["abi"], config["exchange"], config["contract"]) == (
        layout.ABI, layout.Exchange.BINANCE_USDM, layout.Contract.LINEAR)  # fmt: skip
    assert (config["price_decimals"], config["qty_decimals"]) == (1, 3)
    assert (config["tick_size"], config["lot_size"], config["min_qty"], config["max_qty"]) == (1, 1, 1, 1_000_000)
    assert config["min_notional_e8"] == 100 * 10**8
    assert config["capital_e8"] == 5_050_000_000
    assert config["order_notional_e8"] == 1_262_500_000
    assert config["max_loss_e8"] == 1_010_000_000
    assert config["max_spread"] == 309  # 5 bp of 618002
    assert config["max_slippage"] == 618
    assert config["order_latency_ns"] == 50_000_000
    assert config["taker_fee_ppm"] == 500
    assert config["weights"][layout.Feature.MICRO] == np.float32(0.4)


def test_units_of_an_inverse_contract(data: Path) -> None:
    instrument = load_instrument(data / "binance-coinm-exchangeInfo-202508.json", "binance-coinm", "BTCUSD_PERP")
    config = read(build_config(instrument, Settings(), Decimal(50_000)))
    assert config["contract_size_e8"] == 100 * 10**8
    assert config["capital_e8"] == 2_000_000  # 0.02 coin: 1000 USD at the reference price
    assert read(build_config(instrument, Settings(capital=Decimal(3)), Decimal(50_000)))["capital_e8"] == 3 * 10**8


def test_finer_decimals_scale_ticks_and_lots(data: Path) -> None:
    instrument = load_instrument(data / "binance-usdm-exchangeInfo-202508.json", "binance-usdm", "BTCUSDT")
    config = read(build_config(instrument.with_decimals(2, 5), Settings(), Decimal(60_000)))
    assert (config["price_decimals"], config["qty_decimals"]) == (2, 5)
    assert (config["tick_size"], config["lot_size"], config["min_qty"]) == (10, 100, 100)


def test_a_spread_or_slippage_is_at_least_three_ticks() -> None:
    config = read(build_config(guess_instrument("okx", "UNI-USD-SWAP", 3, 0), Settings(), Decimal("5.1")))
    assert (config["max_spread"], config["max_slippage"]) == (3, 5)


def test_an_unknown_contract_size_switches_trading_off(engine_name: str) -> None:
    config = build_config(guess_instrument("okx", "NEW-USDT-SWAP", 3, 0), Settings(), Decimal("5.1"))
    assert read(config)["order_notional_e8"] == 0
    Engine(config, kernel=engine_name)


@pytest.mark.parametrize("decimals", [(0, 0), (12, 12), (0, 12), (12, 0), (8, 8)])
@pytest.mark.parametrize(
    ("exchange", "symbol"),
    [("binance", "BTCUSDT"), ("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP"), ("okx", "BTC-USDT-SWAP")],
)
def test_the_kernel_takes_every_configuration(
    engine_name: str, exchange: str, symbol: str, decimals: tuple[int, int]
) -> None:
    for price in (None, Decimal("0.00001"), Decimal(100_000)):
        Engine(build_config(guess_instrument(exchange, symbol, *decimals), Settings(), price), kernel=engine_name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capital", Decimal(0)), ("capital", Decimal(-1)), ("capital", Decimal("NaN")),
        ("capital", Decimal("Infinity")),
        ("capital", Decimal(10) ** 10), ("order_share", 0.0), ("order_share", 1.1), ("order_share", float("nan")),
        ("max_loss_share", 0.0), ("max_spread_bp", -1.0), ("order_latency_s", -0.1), ("order_latency_s", float("inf")),
        ("max_hold_s", 0.0), ("stale_s", 0.0), ("taker_fee", -0.1), ("taker_fee", 0.5), ("enter", 0.0),
        ("enter", 1.5), ("exit", -0.1),
        ("weights", {"MOON": 1.0}), ("weights", {"MICRO": float("nan")}), ("weights", {"MICRO": 1e9}),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused_with_one_line(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("capitol", "did you mean capital? "), ("whale.quantil", "did you mean whale.quantile"),
        ("quantile", "did you mean swan.quantile or whale.quantile? "),
        ("weight.MICRO", "did you mean weights.MICRO"), ("xyzzy", ""),
    ],
)  # fmt: skip
def test_a_setting_that_there_is_not_gets_the_closest_names(name: str, meant: str) -> None:
    """Of some eighty names, three at most, and where all of them are."""
    with pytest.raises(InputError) as caught:
        settings_of({name: 1})
    said = str(caught.value)
    assert said.startswith(f"no setting {name!r}: {meant}")
    assert said.endswith("cwts/parameters.toml and cwts/config.py list them all")
    assert len(said) < 200
    assert "\n" not in said


def test_an_instrument_that_does_not_fit_is_refused() -> None:
    good = guess_instrument("binance", "BTCUSDT", 2, 3)
    for change in (
        {"price_decimals": 13},
        {"qty_decimals": 19},
        {"symbol": "X" * 32},
        {"symbol": ""},
        {"tick_size": Decimal(10) ** 19},
    ):
        with pytest.raises(InputError):
            build_config(replace(good, **change), Settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [("abi", 99), ("exchange", 4), ("contract", 3), ("price_decimals", 13), ("tick_size", 0), ("lot_size", 0),
    ("enter", np.nan),
     ("enter", 0), ("exit", 2), ("contract_size_e8", 0), ("max_loss_e8", 0), ("min_qty", -1),
     ("taker_fee_ppm", 1_000_000)],
)  # fmt: skip
def test_the_kernel_checks_for_itself(engine_name: str, name: str, value: float) -> None:
    config = np.frombuffer(build_config(guess_instrument("binance", "BTCUSDT", 2, 3), Settings()), layout.CONFIG).copy()
    Engine(config.tobytes(), kernel=engine_name)
    config[name] = value
    with pytest.raises(InputError, match="out of range"):
        Engine(config.tobytes(), kernel=engine_name)
