"""Convexity to volatility against docs/antifragility.md: by hand, planted payoffs, random and real markets."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.kernel import Engine
from cwts.kernel.layout import Signal
from market import CAPTURES, setup_of
from oracle.antifragility import Convexity, convexity
from oracle.fibonacci import volatility
from planted import LINEAR, LONG, NO_DECISIONS, PLANTED, SHORT, strategy
from seconds import Tape, bars_of, replayed

if TYPE_CHECKING:
    from pathlib import Path


def same(found: Any, want: Convexity) -> None:
    assert bool(found["known"]) == want.known
    assert float(found["value"]) == pytest.approx(want.value, rel=1e-6, abs=1e-15)
    assert float(found["error"]) == pytest.approx(want.error**2, rel=1e-4, abs=1e-18)
    assert float(found["score"]) == pytest.approx(want.score, rel=1e-4, abs=1e-4)


def market_of(bars: list[Any], sigma: float = 1, horizon_s: float = 60) -> list[tuple[float, float, float]]:
    """(next second's change, change, threshold): of seconds whose volatility was known and that follow each other."""
    known = np.concatenate([[0.0], volatility(bars, max(horizon_s, 1))[:-1] / np.sqrt(horizon_s)])
    usable = [bool(bar["known"]) and known[i] > 0 for i, bar in enumerate(bars)]
    return [
        (float(b["change"]), float(a["change"]), sigma * float(known[i]))
        for i, (a, b) in enumerate(pairwise(bars))
        if usable[i] and usable[i + 1] and b["second"] == a["second"] + 1
    ]


def test_a_straddle_is_antifragile_its_seller_fragile_and_a_share_neither(engine_name: str) -> None:
    for (payoff, sign), seed in ((LONG, 1), (SHORT, 2), (LINEAR, 3)):
        m, _ = strategy(engine_name, payoff, seed)
        value, score = (float(m.signal[s]) for s in (Signal.CONVEXITY, Signal.ANTIFRAGILITY))
        error = np.sqrt(float(m.view["antifragility"]["strategy"]["error"])) * 1e4
        assert abs(value - sign * PLANTED) < 3 * error
        assert abs(score - sign) < 0.05 if sign else abs(score) < 0.83  # three standard errors


def test_the_planted_convexity_lies_within_its_standard_error(engine_name: str) -> None:
    """Of 20 streams with noise of 1 bp, value and standard error: two in three within one, all within four."""
    far = []
    for seed in range(20):
        m, _ = strategy(engine_name, LINEAR[0], seed, 300, noise=1e-4)
        c = m.view["antifragility"]["strategy"]
        far.append(abs(float(c["value"])) / np.sqrt(float(c["error"])))
    assert np.mean(np.array(far) < 1) > 0.4
    assert max(far) < 4


def test_the_strategy_is_the_oracles(engine_name: str) -> None:
    m, _ = strategy(engine_name, lambda x: x * x * 1e4 + x, 5, 300)
    bars = m.bars()
    threshold = np.concatenate([[0.0], volatility(bars, 60)[:-1] / np.sqrt(60)])
    rows = []
    _, returns = strategy(engine_name, lambda x: x * x * 1e4 + x, 5, 300)
    for i, (r, change) in enumerate(returns):
        if bars[i]["known"] and threshold[i] > 0:
            rows.append((r, change, float(threshold[i])))
    same(m.view["antifragility"]["strategy"], convexity(rows, 1800))


def test_without_a_position_it_is_the_instruments_own_next_second(engine_name: str) -> None:
    """A market that rises after every large move, up or down, is convex; the signal is then the market's."""
    rng = np.random.default_rng(4)
    m = Tape(engine_name)
    m.snapshot(1_000_000)
    price, move = 1_000_000, 0.0
    for _ in range(600):
        move = rng.normal(0, 1e-4) + (1e-4 if abs(move) > 1.5e-4 else 0)
        price = round(price * (1 + move))
        m.tell(price)
    assert m.signal[Signal.ANTIFRAGILITY] > 0.8
    same(m.view["antifragility"]["market"], convexity(market_of(m.bars()), 1800))
    found = m.view["antifragility"]["market"]
    assert m.signal[Signal.CONVEXITY] == pytest.approx(float(found["value"]) * 1e4, rel=1e-6)


def test_too_few_large_moves_say_nothing(engine_name: str) -> None:
    m, _ = strategy(engine_name, LONG[0], 1, 20)
    assert m.signal[[Signal.CONVEXITY, Signal.ANTIFRAGILITY]].tolist() == [0, 0]
    m = Tape(engine_name)
    m.snapshot()
    for _ in range(100):
        m.tell(10_000)
    assert m.signal[[Signal.CONVEXITY, Signal.ANTIFRAGILITY]].tolist() == [0, 0]
    assert np.isfinite(m.view["signals"]["value"]).all()


def test_an_invalid_book_says_nothing_and_forgets_nothing(engine_name: str) -> None:
    m, _ = strategy(engine_name, LONG[0], 1)
    before = m.view["antifragility"]["strategy"].copy()
    m.lose()
    m.tell()
    assert m.signal[[Signal.CONVEXITY, Signal.ANTIFRAGILITY]].tolist() == [0, 0]
    for name in ("count", "sum", "square"):
        assert m.view["antifragility"]["strategy"][name].tolist() == before[name].tolist()
    m.snapshot(1_000_000)
    m.tell()
    assert m.signal[Signal.ANTIFRAGILITY] > 0.9


def test_money_at_the_end_of_int64_stays_finite(engine_name: str) -> None:
    m = Tape(engine_name, parts=NO_DECISIONS)
    m.snapshot(10_000)
    rng = np.random.default_rng(2)
    m.view["account"]["position_e8"] = -(1 << 63)
    for _ in range(200):
        m.view["account"]["equity_e8"] = int(rng.choice([-(1 << 63), (1 << 63) - 1, 0]))
        m.tell(int(rng.integers(9_000, 11_000)))
        assert np.isfinite(m.signal).all()
        assert abs(m.signal[Signal.ANTIFRAGILITY]) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_random_markets_with_gaps_and_silence(engine_name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = Tape(engine_name, antifragility__memory_s=100, antifragility__sigma=0.5, antifragility__horizon_s=10)
    m.snapshot()
    for _ in range(300):
        what = rng.random()
        price = int(rng.integers(9_500, 10_500)) if rng.random() < 0.8 else None
        if what < 0.03:
            m.lose()
            m.tell()
            m.snapshot()
        elif what < 0.05:
            m.second += int(rng.choice([4, 300]))
        m.tell(price)
    same(m.view["antifragility"]["market"], convexity(market_of(m.bars(), 0.5, 10), 100))


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:3], ids=[e for _, e, _ in CAPTURES[:3]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    engine = Engine(setup_of(data / file, exchange, symbol).config, kernel=engine_name)
    for _ in replayed(engine, data / file):
        assert np.isfinite(engine.view["signals"]["value"]).all()
    same(engine.view["antifragility"]["market"], convexity(market_of(bars_of(engine)), 1800))


@pytest.mark.native
@pytest.mark.skipif(not shutil.which("objdump") or platform.machine() != "x86_64", reason="reads x86-64 assembly")
def test_the_estimator_has_no_branch() -> None:
    """No jump and no call in any build of the extension (SSE2, AVX2 and AVX-512)."""
    from cwts import _kernel

    program = ["objdump", "-d", "--no-show-raw-insn", str(_kernel.__file__)]
    text = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    bodies = re.findall(r"<convexity_step[^>]*>:\n(.*?)(?:\n\n|\Z)", text, flags=re.DOTALL)
    if not bodies:
        pytest.skip("the extension has no symbols")
    assert len(bodies) == 3
    for body in bodies:
        assert len(body.splitlines()) > 50
        assert re.findall(r"\t(?:j\w+|call\w*)", body) == []
