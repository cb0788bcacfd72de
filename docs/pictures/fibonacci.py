"""Draws docs/pictures/fibonacci.svg and prints the numbers of its page. Needs matplotlib and PYTHONPATH=app."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, GREY, save

from cwts.kernel import Engine
from cwts.kernel.layout import Signal
from market import CAPTURES, setup_of
from oracle.fibonacci import volatility, zigzag
from planted import planted, swings
from seconds import Tape, bars_of, replayed


def recording(index: int) -> tuple[Engine, np.ndarray]:
    """The engine after a recording, and distance and confluence of each second."""
    file, exchange, symbol = CAPTURES[index]
    path = DATA / file
    engine = Engine(setup_of(path, exchange, symbol).config)
    said = {}
    for count in replayed(engine, path):
        said[count] = engine.view["signals"]["value"][[Signal.FIBONACCI, Signal.CONFLUENCE]].copy()
    count = int(engine.view["bars"]["count"])
    return engine, np.array([said.get(i + 1, (0, 0)) for i in range(count)])


def draw() -> None:
    """The picture."""
    engine, said = recording(0)
    bars = bars_of(engine)
    scale = 20.0
    price = np.array([float(bar["close"]) / scale if bar["synced"] else np.nan for bar in bars])
    pivots, extreme = zigzag(bars, 0.5 * volatility(bars, 60), 2)
    second = [p.second - int(bars[0]["second"]) for p in pivots]
    figure, (top, low) = plt.subplots(2, 1, figsize=(7.5, 4.5), sharex=True, height_ratios=[3, 1], layout="constrained")
    top.plot(price, color=GREY, lw=0.8, label="mid")
    top.plot(second, [p.price / scale for p in pivots], color="#3b7dd8", marker="o", ms=3, lw=1.2, label="swings")
    f = engine.view["fibonacci"]
    levels = f["level"][: int(f["level_count"])] / scale
    inside = levels[(levels > np.nanmin(price)) & (levels < np.nanmax(price))]
    top.hlines(inside, len(price), len(price) + 12, color="#d9962b", lw=0.5, label="levels at the end")
    top.legend(ncols=3, loc="lower right")
    top.set_title("Binance USD-M BTCUSDT, 2024-08-08", loc="left", fontsize=9)
    low.plot(said[:, 0], color="#3b7dd8", lw=0.7, label="FIBONACCI")
    low.plot(said[:, 1], color="#d9962b", lw=0.7, label="CONFLUENCE")
    low.set_ylim(-1, 1)
    low.legend(ncols=2, loc="lower left")
    low.set_xlabel("s")
    save(figure, "fibonacci")
    del extreme


def noisy(noise: float, seeds: int = 20) -> tuple[int, int, int]:
    """Planted swings with noise of so many ticks: planted, found (within 5 s and 3 sigma), and false ones."""
    there = found = false = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        path, ends = planted(rng, 41)
        m = Tape("native", fibonacci__reversal_sigma=1.0)
        m.snapshot(path[0])
        seen = set()
        for price in path:
            m.tell(price + round(rng.normal(0, noise)))
            seen |= set(swings(m.engine))
        want = [(2 * price + 1, Tape.START + at) for price, at in ends[:-1]]
        hits = {w for w in want if any(abs(p - w[0]) <= 6 * noise + 1 and abs(s - w[1]) <= 5 for p, s in seen)}
        there, found, false = there + len(want), found + len(hits), false + max(0, len(seen) - 1 - len(hits))
    return there, found, false


def walk(seed: int) -> np.ndarray:
    """|distance| on a random walk of 0.7 bp a second."""
    rng = np.random.default_rng(seed)
    m = Tape("native")
    m.snapshot(600_000)
    out = []
    for price in (600_000 * np.exp(np.cumsum(rng.normal(0, 0.7e-4, 345)))).round().astype(int).tolist():
        m.tell(price)
        if m.signal[Signal.CONFLUENCE]:
            out.append(abs(float(m.signal[Signal.FIBONACCI])))
    return np.array(out)


def tables() -> None:
    """The numbers."""
    for noise in (0, 1, 2, 4, 8):
        there, found, false = noisy(noise)
        print(f"noise {noise} ticks: {found} of {there} planted swings found, {false} false")
    for i in range(3):
        _, said = recording(i)
        known = np.abs(said[said[:, 1] > 0])
        print(
            CAPTURES[i][1],
            "median |FIBONACCI|",
            np.median(known[:, 0]).round(4),
            "CONFLUENCE",
            np.median(known[:, 1]).round(3),
        )
    print("random walks: median |FIBONACCI|", [float(np.median(walk(seed)).round(4)) for seed in range(10)])


if __name__ == "__main__":
    draw()
    tables()
