"""Draws docs/pictures/soc.svg from a recording and prints the tables of docs/soc.md; needs matplotlib.

`PYTHONPATH=app python docs/pictures/soc.py`; with `--picture`, without the tables.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, GREY, save

from cwts.kernel import Engine
from cwts.kernel.layout import Kind, Signal
from cwts.recording import Recording
from market import CAPTURES, SECOND, START_NS, frame, setup_of
from oracle.soc import EDGES
from tails import cut, hawkes, market, pareto_bursts, trades

SIGNALS = [Signal.BRANCHING, Signal.AVALANCHE, Signal.CRITICALITY]


def tables() -> None:
    """Planted branching ratios and exponents, eight seeds each."""
    for ratio in (0.0, 0.2, 0.5, 0.8, 0.9, 0.95):
        for beta in (10, 6):
            found = []
            for seed in range(8):
                m = market("native", soc__memory_s=36_000)
                m.engine.feed(trades(hawkes(np.random.default_rng(seed), 10, ratio, beta, 3600)))
                m.engine.feed(frame(b"", START_NS + 3602 * SECOND, kind=Kind.TIMER))
                found.append(m.engine.view["signals"]["value"][SIGNALS].copy())
            n, alpha, criticality = np.array(found).T
            print(
                f"n {ratio:4} window/kernel {5 * beta}: found {n.mean():.3f} sd {n.std():.3f} "
                f"worst {np.abs(n - ratio).max():.3f} alpha {alpha.mean():.2f} criticality {criticality.mean():.2f}"
            )
    for alpha in (1.8, 2.2, 2.5, 3.0):
        found = []
        for seed in range(8):
            m = market("native", soc__memory_s=36_000)
            times, _ = pareto_bursts(np.random.default_rng(seed), alpha, 6, 1200)
            m.engine.feed(trades(times))
            m.engine.feed(frame(b"", START_NS + int(times[-1] + 2) * SECOND, kind=Kind.TIMER))
            found.append(float(m.engine.view["signals"]["value"][Signal.AVALANCHE]))
        a = np.array(found)
        print(f"alpha {alpha}: found {a.mean():.3f} sd {a.std():.3f} worst {100 * np.abs(a / alpha - 1).max():.1f} %")
    for swing in (0.0, 0.5, 0.9):
        found, plain = [], []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            times = np.sort(rng.uniform(0, 3600, 72_000))
            times = times[rng.random(len(times)) * 2 < 1 + swing * np.sin(2 * np.pi * times / 600)]
            m = market("native")
            m.engine.feed(trades(times))
            m.engine.feed(frame(b"", START_NS + 3602 * SECOND, kind=Kind.TIMER))
            found.append(float(m.engine.view["signals"]["value"][Signal.BRANCHING]))
            counts = np.histogram(times, np.arange(0, 3601, 5))[0]
            plain.append(max(0.0, 1 - np.sqrt(counts.mean() / counts.var())))
        print(f"rate swings by {swing}: found {np.mean(found):.3f}, by the plain variance {np.mean(plain):.3f}")


def told(file: str, exchange: str, symbol: str) -> tuple[Engine, np.ndarray]:
    """The engine after a recording, and what it said after each second."""
    engine = Engine(setup_of(DATA / file, exchange, symbol).config)
    rows, seen = [], 0
    for batch in Recording(DATA / file).batches():
        for one in cut(bytes(batch)):
            engine.feed(one)
            if int(engine.view["bars"]["count"]) > seen:
                seen = int(engine.view["bars"]["count"])
                rows.append(engine.view["signals"]["value"][SIGNALS].copy())
    value, soc = engine.view["signals"]["value"], engine.view["soc"]
    print(file, dict(zip(("n", "alpha", "criticality"), value[SIGNALS].round(2).tolist(), strict=True)),
          int(soc["events"]), "events", int(soc["avalanches"]), "avalanches",
          soc["branching"].round(2).tolist())  # fmt: skip
    return engine, np.array(rows)


def main() -> None:
    """Tables, then the picture."""
    if "--picture" not in sys.argv:
        tables()
    captures = [told(*capture) for capture in CAPTURES[:3]]
    engine, rows = captures[0]
    soc, bars = engine.view["soc"], engine.view["bars"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[3, 2], layout="constrained")
    count = bars["ring"]["trades"][: int(bars["count"])]
    behind = left.twinx()
    behind.fill_between(range(len(count)), count, color=GREY, alpha=0.35, linewidth=0)
    behind.set(ylabel="trades a second", ylim=(0, None))
    left.plot(np.where(rows[:, 0] > 0, rows[:, 0], np.nan), color="#d9822b", label="BRANCHING")
    left.plot(np.where(rows[:, 2] > 0, rows[:, 2], np.nan), color="#2f8fd0", label="CRITICALITY")
    left.set(xlabel="seconds", ylim=(0, 1), title="Binance USD-M, 2024-08-08")
    left.legend(loc="lower right")
    left.set_zorder(behind.get_zorder() + 1)
    left.patch.set_visible(False)
    weight = soc["count"][1:]
    above = weight[::-1].cumsum()[::-1] / weight.sum()
    edges = np.array(EDGES[: len(above)])
    right.loglog(edges[above > 0], above[above > 0], "o", ms=4, color=GREY, label="avalanches of at least x events")
    least, alpha = EDGES[int(soc["best"]) - 1], float(soc["exponent"])
    x = edges[(edges >= least) & (above > 0)]
    right.loglog(x, above[int(soc["best"]) - 1] * ((x - 0.5) / (least - 0.5)) ** (1 - alpha), color="#2f8fd0",
                 label=f"fit from {least}: α = {alpha:.2f}")  # fmt: skip
    right.set(xlabel="size x", title="sizes")
    right.legend()
    save(figure, "soc")


if __name__ == "__main__":
    main()
