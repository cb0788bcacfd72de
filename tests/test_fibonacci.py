"""Swings and their levels against docs/fibonacci.md: by hand, planted swings, random and real markets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.kernel.layout import Parameter, Signal
from market import CAPTURES, setup_of
from oracle.fibonacci import RATIOS, SWINGS, levels, signals, volatility, zigzag
from planted import planted, swings
from seconds import Tape, bars_of, replayed

if TYPE_CHECKING:
    from pathlib import Path


def parameters(engine: Engine) -> tuple[float, float, float, float]:
    """Reversal, horizon, tolerance, and one tick of the mid."""
    config = engine.view["config"]
    names = Parameter.FIBONACCI_REVERSAL_SIGMA, Parameter.FIBONACCI_HORIZON_S, Parameter.FIBONACCI_TOLERANCE
    return *(float(config["parameter"][name]) for name in names), 2.0 * float(config["tick_size"])  # type: ignore[return-value]


def agrees(engine: Engine, bars: list[Any]) -> list[Any]:
    """Pivots, levels and signals are the oracle's after these bars; returns the oracle's pivots."""
    reversal, horizon, tolerance, least = parameters(engine)
    f, signal = engine.view["fibonacci"], engine.view["signals"]["value"]
    moved = volatility(bars, horizon)
    pivots, extreme = zigzag(bars, reversal * moved, least)
    assert int(f["pivots"]) == len(pivots)
    assert swings(engine) == [(p.price, p.second) for p in pivots[-SWINGS:]]
    if not pivots:
        assert signal[[Signal.FIBONACCI, Signal.CONFLUENCE]].tolist() == [0, 0]
        return pivots
    assert int(f["extreme"]["price"]) == extreme
    told = levels([p.price for p in pivots] + [extreme])
    assert int(f["level_count"]) == len(told)
    assert f["level"][: len(told)].tolist() == [level for level, _ in told]
    ages = (len(pivots) - f["swing"][: len(told)].astype(int)) % SWINGS
    assert sorted(zip(f["level"].tolist(), ages.tolist(), strict=False)) == told
    if bars[-1]["synced"]:
        price = float(bars[-1]["close"])
        want = signals(told, price, max(moved[-1] * price, least), tolerance)
        found = signal[[Signal.FIBONACCI, Signal.CONFLUENCE]].tolist()
        assert found == pytest.approx(want, rel=1e-6, abs=1e-6)
    else:
        assert signal[[Signal.FIBONACCI, Signal.CONFLUENCE]].tolist() == [0, 0]
    return pivots


def test_a_swing_ends_when_the_price_has_turned_by_the_threshold(engine_name: str) -> None:
    """No volatility yet but that of the path itself: the threshold is its share, at least a tick."""
    m = Tape(engine_name, fibonacci__reversal_sigma=0.1, fibonacci__horizon_s=1)
    m.snapshot()
    for price in (10_000, 10_010, 10_020, 10_030, 10_029, 10_020, 10_025):
        m.tell(price)
    agrees(m.engine, m.bars())
    assert swings(m.engine)[:2] == [(20_001, Tape.START), (20_061, Tape.START + 3)]


def test_an_extreme_within_a_second_is_seen_and_its_order_respected(engine_name: str) -> None:
    """A bar that carries the leg on ends it only by its close: its other end may have come first."""
    m = Tape(engine_name, fibonacci__reversal_sigma=0.1, fibonacci__horizon_s=1)
    m.snapshot()
    for price in (10_000, 10_050, 10_100):
        m.tell(price)
    before = int(m.view["fibonacci"]["pivots"])
    m.tell(10_124, low=10_000, high=10_125)
    assert int(m.view["fibonacci"]["pivots"]) == before
    assert int(m.view["fibonacci"]["extreme"]["price"]) == 20_251
    m.tell(10_060, low=10_050, high=10_200)
    assert int(m.view["fibonacci"]["pivots"]) == before + 1
    assert swings(m.engine)[-1] == (20_401, Tape.START + 4)
    assert int(m.view["fibonacci"]["extreme"]["price"]) == 20_121  # not the low, which may be older than the high
    agrees(m.engine, m.bars())


def test_levels_are_sixteen_ratios_of_a_swing(engine_name: str) -> None:
    m = Tape(engine_name, fibonacci__reversal_sigma=0.1, fibonacci__horizon_s=1)
    m.snapshot()
    m.tell(10_000)
    m.tell(10_100)
    f = m.view["fibonacci"]
    assert int(f["level_count"]) == len(RATIOS)
    found = f["level"][:16].tolist()
    assert found == sorted(20_201 - ratio * 200 for ratio in RATIOS)
    assert {20_201, 20_001, 20_101}.issubset(found)  # end, begin and half of the way
    assert found[-1] == pytest.approx(20_201 + 323.6)


def test_the_distance_is_signed_and_in_volatilities(engine_name: str) -> None:
    m = Tape(engine_name, fibonacci__reversal_sigma=0.1, fibonacci__horizon_s=10)
    m.snapshot()
    for price in (10_000, 10_100, 10_095):
        m.tell(price)
    unit = np.sqrt(m.view["bars"]["variance"][0] * 10) * 20_191
    assert m.signal[Signal.FIBONACCI] == pytest.approx((20_201 - 20_191) / unit, rel=1e-6)
    m.tell(10_085)
    unit = np.sqrt(m.view["bars"]["variance"][0] * 10) * 20_171
    assert m.signal[Signal.FIBONACCI] == pytest.approx((20_153.8 - 20_171) / unit, rel=1e-4)


def test_confluence_is_the_weight_of_the_swings_that_agree(engine_name: str) -> None:
    """Two swings over the same way share their ends and their half."""
    m = Tape(engine_name, fibonacci__reversal_sigma=0.1, fibonacci__tolerance=0)
    m.snapshot()
    for price in (10_000, 10_100, 10_000, 10_100):
        m.tell(price)
    weights = 0.9 ** np.arange(16)
    assert m.signal[Signal.FIBONACCI] == 0
    assert m.signal[Signal.CONFLUENCE] == pytest.approx(weights[:3].sum() / weights.sum())


@pytest.mark.parametrize("seed", range(4))
def test_planted_swings_are_found_exactly(engine_name: str, seed: int) -> None:
    """Every turn, its price and its second, of 40; none else."""
    path, ends = planted(np.random.default_rng(seed), 41)
    m = Tape(engine_name, fibonacci__reversal_sigma=1, fibonacci__horizon_s=60)
    m.snapshot(path[0])
    found: dict[int, tuple[int, int]] = {}
    bars = []  # the block remembers the last 1,024
    for price in path:
        m.tell(price)
        bars.append(m.newest())
        count = int(m.view["fibonacci"]["pivots"])
        if count and count not in found:
            found[count] = swings(m.engine)[-1]
    want = [(2 * price + 1, Tape.START + at) for price, at in ends[:-1]]
    assert [found[i] for i in range(2, len(found) + 1)] == want  # the first pivot is where the path begins
    agrees(m.engine, bars)


@pytest.mark.parametrize("seed", range(4))
def test_random_walks_gaps_and_silence(engine_name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = Tape(engine_name, fibonacci__reversal_sigma=0.3, fibonacci__horizon_s=[10, 60, 7, 300][seed])
    m.snapshot()
    price, last = 10_000, None
    for i in range(400):
        what = rng.random()
        price = max(9_000, min(11_500, price + int(rng.normal(0, 8))))
        if what < 0.02:
            m.lose()
            m.tell()
            m.snapshot(price)
        elif what < 0.04:
            m.second += int(rng.choice([3, 200]))
        if what > 0.9:
            m.tell()  # a second without a quote
        else:
            m.tell(price, low=price - int(rng.integers(0, 15)), high=price + int(rng.integers(0, 15)))
        if i % 40 == 39 or i < 20:
            last = agrees(m.engine, m.bars())
    assert last
    assert len(last) > SWINGS
    assert int(m.view["fibonacci"]["level_count"]) == layout.FIBONACCI_LEVELS


def test_constant_prices_make_no_swing(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    for _ in range(50):
        m.tell(10_000)
    assert int(m.view["fibonacci"]["pivots"]) == 0
    assert m.signal[[Signal.FIBONACCI, Signal.CONFLUENCE]].tolist() == [0, 0]
    m.tell(10_001)
    assert swings(m.engine) == [(20_001, Tape.START)]  # a tick is the least that turns
    assert np.isfinite(m.view["signals"]["value"]).all()


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    engine = Engine(setup_of(data / file, exchange, symbol).config, kernel=engine_name)
    pivots: list[Any] = []
    for count in replayed(engine, data / file):
        if count % 20 == 1:
            pivots = agrees(engine, bars_of(engine))
    assert len(pivots) >= 8 or exchange == "okx"
