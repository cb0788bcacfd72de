"""The adaptive cycle against docs/panarchy.md: by hand, a scripted collapse, random and real markets."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.kernel.layout import Signal
from market import CAPTURES, setup_of
from oracle.panarchy import RELEASE, REORGANISATION, K, R, Second, follow, table
from planted import collapse
from seconds import Tape, bars_of, replayed

if TYPE_CHECKING:
    from pathlib import Path


def same(said: dict[int, list[float]], told: list[Second]) -> None:
    """What the signals said after so many bars."""
    for count, (phase, risk) in said.items():
        if count:
            assert phase == told[count - 1].phase
            assert risk == pytest.approx(told[count - 1].risk, abs=1e-5)


def agrees(engine: Engine, want: Second) -> None:
    p, signal = engine.view["panarchy"], engine.view["signals"]["value"]
    assert p["coordinate"].tolist() == pytest.approx((want.potential, want.connectedness, want.resilience), abs=1e-9)
    assert float(signal[Signal.PHASE]) == want.phase
    assert float(signal[Signal.RISK]) == pytest.approx(want.risk, abs=1e-5)


def test_the_table_is_the_nearest_phase_and_a_risk_for_each_of_4096_cells(engine_name: str) -> None:
    p = Tape(engine_name).view["panarchy"]
    phases, risks = table()
    assert p["phase_of"].tolist() == phases.tolist()
    assert p["risk_of"].tolist() == risks.tolist()
    assert len(phases) == layout.PANARCHY_CELLS
    assert min(np.bincount(phases)) > 400
    assert risks.min() >= 1  # 0 means: not known


def test_potential_is_depth_against_what_is_usual(engine_name: str) -> None:
    m = Tape(engine_name, panarchy__smooth_s=1, panarchy__usual_s=1000)
    m.snapshot(depth=100)
    for _ in range(99):
        m.tell(depth=100)
    assert m.view["panarchy"]["coordinate"][0] == 0.5
    m.tell(depth=200)
    filled = 200 / 101
    assert m.view["panarchy"]["coordinate"][0] == pytest.approx(filled**2 / (1 + filled**2))


def test_connectedness_is_the_autocorrelation_of_net_flow(engine_name: str) -> None:
    for flow, want in (([1, 1, 1, 1], 1.0), ([1, -1, 1, -1], 0.0), ([1, 0, 1, 0], 0.0)):
        m = Tape(engine_name)
        m.snapshot()
        for i in range(40):
            m.tell(bought=1 + flow[i % 4], sold=1)
        assert m.view["panarchy"]["coordinate"][1] == pytest.approx(want if want == 1 else 0, abs=0.05)


def test_resilience_is_refilling_against_eating(engine_name: str) -> None:
    m = Tape(engine_name, panarchy__smooth_s=1)
    m.snapshot(depth=100)
    m.tell()
    assert m.view["panarchy"]["coordinate"][2] == 0.5  # nothing moved yet
    for depth in (90, 80, 70):
        m.tell(depth=depth)
    assert m.view["panarchy"]["coordinate"][2] == 0
    for depth in (80, 90, 100, 110):
        m.tell(depth=depth)
    assert m.view["panarchy"]["coordinate"][2] > 0.6


def test_nothing_is_said_before_thirty_seconds_or_while_the_book_is_invalid(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    for i in range(60):
        m.tell(depth=10 + i % 2)
        assert bool(m.signal[Signal.RISK]) == (i >= 29)
    m.lose()
    m.tell()
    assert (m.signal[Signal.PHASE], m.signal[Signal.RISK]) == (0, 0)
    m.snapshot()
    said = []
    for _ in range(8):
        m.tell(depth=10)
        said.append(bool(m.signal[Signal.RISK]))
    assert said == [False] * 4 + [True] * 4  # it dwells again


def test_a_collapse_walks_the_cycle_in_order(engine_name: str) -> None:
    """K, release, reorganisation, r: the first release within 10 s, risk below a fifth from 5 s on."""
    for seed in range(4):
        phases, risks, m = collapse(engine_name, seed)
        walk = [a for a, b in pairwise([*phases[340:450], -1]) if a != b]
        assert walk[:4] == [K, RELEASE, REORGANISATION, R]
        assert RELEASE not in phases[30:360]
        assert phases.index(RELEASE) - 360 <= 10
        assert max(risks[365:380]) < 0.2
        assert max(risks[430:]) > 0.7
        told = follow(m.bars())
        assert [int(s.phase) for s in told] == phases
        assert [s.risk for s in told] == pytest.approx(risks, abs=1e-5)


def test_a_phase_does_not_flicker(engine_name: str) -> None:
    """A single second's release between calm ones changes no phase; risk falls at once and returns slowly."""
    m = Tape(engine_name, panarchy__smooth_s=1)
    m.snapshot(depth=100)
    rng = np.random.default_rng(1)
    for i in range(200):
        m.tell(depth=5 if i % 20 == 19 else 100, bought=rng.exponential(), sold=rng.exponential())
        if i > 30:
            assert m.signal[Signal.PHASE] != RELEASE
        if i == 59:
            low = float(m.signal[Signal.RISK])
        if i == 60:
            assert low < m.signal[Signal.RISK] < low + 0.3
    assert int(m.view["panarchy"]["changes"]) <= 6


@pytest.mark.parametrize("seed", range(4))
def test_random_and_adversarial_seconds(engine_name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = Tape(engine_name, panarchy__usual_s=50 + 10 * seed, panarchy__dwell_s=1 + seed)
    m.snapshot()
    said = {}
    for _ in range(150):
        what = rng.random()
        if what < 0.03:
            m.lose()
        elif what < 0.06:
            m.second += int(rng.choice([-3, 1, 5, 500]))
        elif what < 0.12 or not m.view["sync"]["synced"]:
            m.snapshot(depth=float(rng.choice([0.002, 1, 10, 1e9])))
        m.tell(
            depth=float(rng.exponential(10)) + 0.002 if rng.random() < 0.7 else None,
            bought=float(rng.choice([0, 0, 1, 5, 1e9])), sold=float(rng.choice([0, 0, 1, 5])),
        )  # fmt: skip
        assert 0 <= m.signal[Signal.RISK] <= 1
        said[int(m.view["bars"]["count"])] = m.signal[[Signal.PHASE, Signal.RISK]].tolist()
    told = follow(m.bars(), usual_s=50 + 10 * seed, dwell_s=1 + seed)
    agrees(m.engine, told[-1])
    same(said, told)


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    engine = Engine(setup_of(data / file, exchange, symbol).config, kernel=engine_name)
    said = {}
    for count in replayed(engine, data / file):
        said[count] = engine.view["signals"]["value"][[Signal.PHASE, Signal.RISK]].tolist()
    told = follow(bars_of(engine))
    agrees(engine, told[-1])
    same(said, told)
    assert len(said) > 300 or exchange == "okx"
    assert REORGANISATION not in {int(phase) for phase, _ in said.values()}  # nothing collapsed there
