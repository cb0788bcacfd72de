"""Draws docs/pictures/panarchy.svg and prints the numbers of its page. Needs matplotlib and PYTHONPATH=app."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, GREY, save

from cwts.kernel import Engine
from cwts.kernel.layout import Signal
from market import CAPTURES, setup_of
from planted import collapse
from seconds import bars_of, replayed

COLOURS = {0: "#2e9e5b", 1: "#3b7dd8", 2: "#d64545", 3: "#d9962b"}
NAMES = {0: "growth r", 1: "conservation K", 2: "release", 3: "reorganisation"}


def recording(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phase, risk and price of each second."""
    file, exchange, symbol = CAPTURES[index]
    path = DATA / file
    engine = Engine(setup_of(path, exchange, symbol).config)
    said = {}
    for count in replayed(engine, path):
        said[count] = engine.view["signals"]["value"][[Signal.PHASE, Signal.RISK]].copy()
    price = np.array([float(bar["close"]) / 2 for bar in bars_of(engine)])
    signals = np.array([said.get(i + 1, (0, 0)) for i in range(len(price))])
    return signals[:, 0].astype(int), signals[:, 1], price


def draw() -> None:
    """The picture."""
    figure, rows = plt.subplots(4, 1, figsize=(7.5, 6), sharex="col", height_ratios=[2, 1, 2, 1], layout="constrained")
    phase, risk, price = recording(0)
    made, made_risk, tape = collapse("native", 0)
    depth = np.array([bar["depth"].sum() / 1000 for bar in tape.bars()])
    for top, low, line, ph, ri, title in (
        (
            rows[0],
            rows[1],
            np.where(price > 0, price, np.nan) / 10,
            phase,
            risk,
            "Binance USD-M BTCUSDT, 2024-08-08: mid",
        ),
        (rows[2], rows[3], depth, np.array(made), np.array(made_risk), "scripted collapse at 360 s: depth"),
    ):
        seconds = np.arange(len(line))
        top.plot(seconds, line, color=GREY, lw=0.8)
        for number, colour in COLOURS.items():
            shown = np.concatenate([[False], (ph == number) & (ri > 0), [False]])
            edges = np.flatnonzero(shown[1:] != shown[:-1])
            for i in range(0, len(edges), 2):
                name = NAMES[number] if i == 0 and top is rows[2] else None
                top.axvspan(edges[i], edges[i + 1], color=colour, alpha=0.35, lw=0, label=name)
        top.set_title(title, loc="left", fontsize=9)
        low.plot(seconds, ri, color=GREY, lw=0.8)
        low.set_ylim(0, 1.05)
        low.set_ylabel("RISK")
    rows[2].legend(ncols=4, loc="lower left", bbox_to_anchor=(0.32, 0.98))
    rows[3].set_xlabel("s")
    save(figure, "panarchy")


def table() -> None:
    """The numbers."""
    order = late = early = 0
    delays = []
    for seed in range(100):
        phases, _, _ = collapse("native", 1000 + seed)
        walk = [a for a, b in pairwise([*phases[340:450], -1]) if a != b]
        order += walk[:4] == [1, 2, 3, 0]
        early += 2 in phases[30:360]
        found = [i for i in range(360, 380) if phases[i] == 2]
        late += not found
        delays += found[:1]
    print(f"order K, release, reorganisation, r: {order} of 100; missed {late}; release before it: {early} of 100")
    print("delay of release, s: median", np.median(delays) - 360, "largest", max(delays) - 360)
    for i in range(3):
        phase, risk, _ = recording(i)
        known = phase[risk > 0]
        changes = int((known[1:] != known[:-1]).sum())
        print(CAPTURES[i][1], "seconds in each phase", np.bincount(known, minlength=4).tolist(), "changes", changes)


if __name__ == "__main__":
    draw()
    table()
