"""Self-organised criticality against docs/soc.md: planted branching ratios and exponents, and the slow twin."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cwts.kernel import Engine
from cwts.kernel.layout import CommandOp, Kind, Parameter, Signal
from cwts.recording import Recording
from market import CAPTURES, SECOND, START_NS, Market, compact, examples, frame, setup_of
from tails import Watch, cut, hawkes, market, pareto_bursts, settings, trades, wild

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def told(engine_name: str, times: NDArray[np.float64], **parameters: float) -> Market:
    """A market in which these trades have happened, a second after the last."""
    m = market(engine_name, **parameters)
    m.engine.feed(trades(times))
    m.now = START_NS + int(times[-1] + 2) * SECOND
    m.engine.feed(frame(b"", m.now, kind=Kind.TIMER))
    return m


def signal(m: Market, name: Signal) -> float:
    return float(m.engine.view["signals"]["value"][name])


# -- planted truth ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 0.8, 0.9])
def test_the_branching_ratio_of_a_hawkes_process_is_found(engine_name: str, ratio: float) -> None:
    """Kernel of 100 ms, window of 5 s: fifty times as long. 0 is a Poisson process."""
    for seed in range(examples(2)):
        m = told(engine_name, hawkes(np.random.default_rng(seed), 10, ratio, 10, 3600), soc__memory_s=7200)
        assert signal(m, Signal.BRANCHING) == pytest.approx(ratio, abs=0.05)


@pytest.mark.parametrize("swing", [0.5, 0.9])
def test_a_rate_that_drifts_is_no_branching(engine_name: str, swing: float) -> None:
    """Poisson events whose rate goes up and down in ten minutes. The plain variance would say 0.6 and more."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 3600, 72_000))
    times = times[rng.random(len(times)) * 2 < 1 + swing * np.sin(2 * np.pi * times / 600)]
    m = told(engine_name, times)
    assert signal(m, Signal.BRANCHING) < 0.1
    assert signal(m, Signal.CRITICALITY) < 0.1
    counts = np.histogram(times, np.arange(0, 3601, 5))[0]
    assert 1 - np.sqrt(counts.mean() / counts.var()) > 0.6


@pytest.mark.parametrize("alpha", [1.8, 2.2, 2.5, 3.0])
def test_the_exponent_of_avalanche_sizes_is_found(engine_name: str, alpha: float) -> None:
    times, sizes = pareto_bursts(np.random.default_rng(2), alpha, 6, 1200)
    m = told(engine_name, times, soc__memory_s=36_000)
    assert signal(m, Signal.AVALANCHE) == pytest.approx(alpha, rel=0.1)
    assert len(sizes) - 4 <= m.engine.view["soc"]["avalanches"] < len(sizes)  # the first ones teach the usual rate


def test_criticality_grows_towards_the_critical_point(engine_name: str) -> None:
    values = []
    for ratio in (0.0, 0.5, 0.8, 0.9, 0.95):
        times = hawkes(np.random.default_rng(3), 10, ratio, 10, 3600)
        values.append(signal(told(engine_name, times), Signal.CRITICALITY))
    assert values == sorted(values)
    assert values[0] < 0.05
    assert values[1] < 0.2
    assert 0.3 < values[2] < 0.6
    assert values[4] > 0.75


# -- definitions ------------------------------------------------------------------------------------------------------


def test_nothing_is_said_before_twenty_windows(engine_name: str) -> None:
    times = hawkes(np.random.default_rng(4), 10, 0.9, 10, 200)
    assert signal(told(engine_name, times[times < 100]), Signal.BRANCHING) == 0
    assert signal(told(engine_name, times), Signal.BRANCHING) > 0.7


def test_events_at_even_intervals_have_no_branching_and_no_avalanches(engine_name: str) -> None:
    m = told(engine_name, np.arange(0, 600, 0.1))
    assert signal(m, Signal.BRANCHING) == 0
    assert signal(m, Signal.CRITICALITY) == 0
    assert m.engine.view["soc"]["mean"] == pytest.approx(6.25, rel=5e-3)  # a step is an eighth of the window


def test_the_trades_of_one_order_are_one_event(engine_name: str) -> None:
    m = market(engine_name)
    for number, (time, seller) in enumerate([(1, False), (1, False), (1, False), (2, False), (2, True), (2, True)], 1):
        m.engine.feed(frame(compact(m.trade(number, "100000", maker=seller, T=time, X="MARKET")), m.now))
    assert m.trades == 6
    assert m.engine.view["soc"]["events"] == 3


def test_while_the_book_is_invalid_nothing_is_known_and_nothing_counts(engine_name: str) -> None:
    m = told(engine_name, hawkes(np.random.default_rng(5), 10, 0.9, 10, 300))
    n, events = signal(m, Signal.BRANCHING), int(m.engine.view["soc"]["events"])
    assert n > 0.7
    m.engine.feed(frame(struct.pack("<II", CommandOp.RESET_BOOK, 0), m.now, kind=Kind.COMMAND))
    m.now += SECOND
    m.engine.feed(frame(compact(m.trade(1_000_000, "100000", T=10**12, X="MARKET")), m.now))
    assert signal(m, Signal.BRANCHING) == signal(m, Signal.AVALANCHE) == signal(m, Signal.CRITICALITY) == 0
    assert m.engine.view["soc"]["events"] == events
    m.feed(m.snapshot(99, [("99999", "1")], [("100001", "1")]), m.depth(99, 102, 98))
    for _ in range(3):
        m.now += SECOND
        m.engine.feed(frame(b"", m.now, kind=Kind.TIMER))
    assert signal(m, Signal.BRANCHING) == pytest.approx(n, abs=0.02)  # the sample is still there


def test_a_silence_is_not_a_window_without_events(engine_name: str) -> None:
    m = told(engine_name, hawkes(np.random.default_rng(6), 10, 0.0, 10, 300))
    before = m.engine.view["soc"]["variance"].copy()
    m.now += 3600 * SECOND
    m.engine.feed(frame(b"", m.now, kind=Kind.TIMER))
    assert m.engine.view["soc"]["variance"].tolist() == before.tolist()
    assert signal(m, Signal.BRANCHING) < 0.2


def test_another_window_begins_anew(engine_name: str) -> None:
    m = told(engine_name, hawkes(np.random.default_rng(7), 10, 0.9, 10, 300))
    change = struct.pack("<IfII", CommandOp.SET_PARAMETER, 1000.0, Parameter.SOC_WINDOW_MS, 0)
    m.engine.feed(frame(change, m.now, kind=Kind.COMMAND))
    m.now += SECOND
    m.engine.feed(frame(b"", m.now, kind=Kind.TIMER))
    assert signal(m, Signal.BRANCHING) == 0
    assert m.engine.view["soc"]["step_ns"] == 125_000_000


# -- the slow twin ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    watch = Watch(Engine(setup_of(data / file, exchange, symbol).config, kernel=engine_name))
    for batch in Recording(data / file).batches():
        for one in cut(bytes(batch)):
            if watch.feed(one) and watch.bars % 25 == 0:
                watch.check_soc()
    watch.check_soc()
    value = watch.engine.view["signals"]["value"]
    if exchange != "okx":  # eleven seconds
        assert 0.6 < value[Signal.BRANCHING] < 0.9
        assert 1.5 < value[Signal.AVALANCHE] < 3


@pytest.mark.parametrize("window_ms", [400.0, 5000.0])
def test_what_no_market_sends(engine_name: str, window_ms: float) -> None:
    for seed in range(examples(4)):
        m = Market("binance-usdm", "BTCUSDT", engine_name, settings=settings(soc__window_ms=window_ms))
        watch = Watch(m.engine, soc={"window_ms": window_ms})
        for i, one in enumerate(wild(np.random.default_rng(seed), m, 400)):
            if watch.feed(one) or i % 50 == 0:
                watch.check_soc()
