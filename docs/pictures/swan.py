"""Draws docs/pictures/swan.svg from a recording and prints the tables of docs/swan.md; needs matplotlib.

`PYTHONPATH=app python docs/pictures/swan.py`; with `--picture`, without the tables.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, GREY, save

from cwts.kernel import Engine
from cwts.kernel.layout import Signal
from cwts.recording import Recording
from market import CAPTURES, setup_of
from tails import cut, each_bar, market, mids, pareto, seconds, student

SIGNALS = [Signal.SWAN_PROBABILITY, Signal.SWAN_ALARM, Signal.VACUUM]
GAUSS = float("inf")


def happened(rng: np.random.Generator, nu: float, k: float, count: int) -> float:
    """How often a return goes over k within 60 s."""
    variance, above = 1.0, []
    for x in student(rng, nu, count).tolist():
        above.append(abs(x) > k * variance**0.5)
        variance += (min(x * x, k * k * variance) - variance) / 60
    return float((np.convolve(above, np.ones(60))[59:-59] > 0).mean())


def tables() -> None:
    """Tail index, calibration, alarms."""
    for alpha in (2.5, 3.0, 4.0):
        found = []
        for seed in range(8):
            m = market("native")
            m.engine.feed(b"".join(seconds(mids(pareto(np.random.default_rng(seed), alpha, 20_000)).tolist())))
            found.append(float(m.engine.view["swan"]["hill"]))
        a = np.array(found)
        print(f"index {alpha}: found {a.mean():.2f} sd {a.std():.2f} worst {100 * np.abs(a / alpha - 1).max():.1f} %")
    for nu in (3.0, 5.0, GAUSS):
        for k in (3.5, 5.0, 6.0, 8.0, 10.0):
            rng, told = np.random.default_rng(11), []
            for _ in range(8):
                m = market("native", swan__k_sigma=k)
                m.engine.feed(b"".join(seconds(mids(student(rng, nu, 14_400)).tolist())))
                told.append(float(m.engine.view["signals"]["value"][Signal.SWAN_PROBABILITY]))
            print(f"nu {nu} k {k}: told {np.mean(told):.4f} (sd {np.std(told):.4f}), "
                  f"happened {happened(rng, nu, k, 1_000_000):.4f}")  # fmt: skip
    for nu in (3.0, 5.0, GAUSS):
        m = market("native")
        found = each_bar(m.engine, seconds(mids(student(np.random.default_rng(12), nu, 36_000)).tolist()), SIGNALS)
        print(f"nu {nu}: {int(m.engine.view['swan']['alarms'])} alarms in 10 h, on for {found[:, 1].mean():.4f} of it")
    late, off = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        prices = mids(student(rng, 5, 5400)).astype(float)
        at, length = 3600, int(rng.integers(1, 20))
        fall = np.minimum(np.arange(len(prices)) - at + 1, length).clip(0) / length
        found = each_bar(market("native").engine, seconds((prices * (1 - 0.03 * fall)).astype(int).tolist()), SIGNALS)
        on = np.flatnonzero(found[at:, 1])
        late.append(on[0] if len(on) else np.inf)
        off.append(on[-1] + 1 if len(on) else np.inf)
    print(f"falls of 3 % in 1 to 19 s: alarm after {min(late)} to {max(late)} s, off after {min(off)} to {max(off)} s")


def told(file: str, exchange: str, symbol: str) -> tuple[Engine, np.ndarray]:
    """The engine after a recording, and what it said after each second."""
    engine = Engine(setup_of(DATA / file, exchange, symbol).config)
    rows, seen = [], 0
    for batch in Recording(DATA / file).batches():
        for one in cut(bytes(batch)):
            engine.feed(one)
            if int(engine.view["bars"]["count"]) > seen:
                seen = int(engine.view["bars"]["count"])
                swan = engine.view["swan"]
                rows.append([*engine.view["signals"]["value"][SIGNALS], float(swan["z"]), float(swan["threshold"])])
    swan, r = engine.view["swan"], np.array(rows)
    print(f"{file}: {seen} s, alarms {int(swan['alarms'])}, largest z {r[:, 3].max():.1f}, "
          f"index {float(swan['hill']):.2f}, xi {float(swan['shape']):.2f}, P {r[-1, 0]:.3f}, "
          f"vacuum median {np.median(r[:, 2]):.2f} "
          f"99 % {np.quantile(r[:, 2], 0.99):.2f} most {r[:, 2].max():.2f}")  # fmt: skip
    return engine, r


def main() -> None:
    """Tables, then the picture."""
    if "--picture" not in sys.argv:
        tables()
    captures = [told(*capture) for capture in CAPTURES[:3]]
    engine, rows = captures[0]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.0), width_ratios=[3, 2], layout="constrained")
    left.fill_between(range(len(rows)), rows[:, 3].round(1), color=GREY, lw=0, label="|z|: return over volatility")
    left.plot(np.where(rows[:, 4] > 0, rows[:, 4], np.nan), color="#d9822b", label="threshold u")
    left.set(xlabel="seconds", ylabel="|z|", ylim=(0, None), title="Binance USD-M, 2024-08-08")
    other = left.twinx()
    other.plot(rows[:, 2], color="#3fa66a", lw=0.8, label="VACUUM")
    other.plot(np.where(rows[:, 0] > 0, rows[:, 0], np.nan), color="#2f8fd0", label="SWAN_PROBABILITY")
    other.set_ylim(0, 1)
    handles = [one for axes in (left, other) for one in axes.get_legend_handles_labels()[0]]
    left.legend(handles=handles, loc="upper left")
    swan = engine.view["swan"]
    edges = 2.0 ** (np.arange(96) // 8 - 6) * (1 + np.arange(96) % 8 / 8)
    above = swan["count"][::-1].cumsum()[::-1] / swan["count"].sum()
    above[1::2] = 0  # every second bin is enough to see
    right.loglog(edges[above > 0], above[above > 0], "o", ms=3, color=GREY, label="share of |z| above x")
    u, xi, beta = (float(swan[name]) for name in ("threshold", "shape", "scale"))
    x = np.geomspace(u, 30, 10)
    right.loglog(x, float(swan["share"]) * (1 + xi * (x - u) / beta) ** (-1 / xi), color="#2f8fd0",
                 label=f"generalised Pareto, ξ = {xi:.2f}")  # fmt: skip
    right.set(xlabel="x", xlim=(0.1, 40), title="tail")
    right.legend()
    save(figure, "swan")


if __name__ == "__main__":
    main()
