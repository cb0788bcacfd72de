"""Draws whale.svg (a recording) and whale-roc.svg (planted whales). Needs matplotlib and PYTHONPATH=app."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, GREY, save

from cwts.kernel import Engine, layout
from market import CAPTURES, SECOND, frame, lines_of, setup_of
from whale_scenes import Found, Plan, background, cluster_sizes, detect, planted

BUY, SELL = "#2a9d6f", "#d1495b"
plt.rcParams |= {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}


def recording() -> None:
    """Price with whales and nests, pressure below."""
    file, exchange, symbol = CAPTURES[0]
    path = DATA / file
    engine = Engine(setup_of(path, exchange, symbol).config)
    view: Any = engine.view
    w, start, last = view["whale"], 0, 0
    rows, whales, patient, bands = [], [], {}, {}
    for ns, raw in lines_of(path):
        start = start or ns
        engine.feed(frame(raw, ns))
        t = (ns - start) / SECOND
        while len(whales) < int(w["whales"]):
            c = w["whale"][len(whales) % layout.WHALES]
            size = float(c["size"]) / float(c["limit"])
            whales.append(((int(c["first_ns"]) - start) / SECOND, int(c["price"]) / 10, size, int(c["aggressor"])))
        for side, e in enumerate(w["excursion"]):
            if e["counted"] > 0:
                began = (int(e["first_ns"]) - start) / SECOND
                patient[side, began] = t, float(view["features"]["mid"]) / 10
        if ns - last >= SECOND:
            last = ns
            rows.append((t, float(view["features"]["mid"]) / 10, *(float(v) for v in view["signals"]["value"][:2])))
            for side in (0, 1):
                for n in w["side"][side]["nest"]:
                    if n["strength"] > 0:
                        key = side, int(n["price"]), int(n["since_ns"])
                        band = bands.setdefault(key, [t, t, 0.0])
                        band[1], band[2] = t, max(band[2], float(n["strength"]))
    t, mid, pressure, confidence = np.array(rows).T
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7.4, 4.4), sharex=True, height_ratios=[2, 1], layout="constrained"
    )
    seen = mid > 0
    top.plot(t[seen], mid[seen], color=GREY, lw=0.8)
    for (side, price, _), (begin, end, strength) in bands.items():
        top.hlines(price / 10, begin, end + 1, color=(BUY, SELL)[side], alpha=0.45, lw=1 + strength)
    for sign, colour, marker, name in ((1, BUY, "^", "whale buys"), (-1, SELL, "v", "whale sells")):
        at = np.array([x[:3] for x in whales if x[3] == sign])
        top.scatter(
            at[:, 0], at[:, 1], s=10 + 8 * np.minimum(at[:, 2], 10), c=colour, marker=marker, label=name, lw=0, zorder=3
        )
    for (side, began), (end, price) in patient.items():
        y, colour = price + 4 * (1 - 2 * side), (BUY, SELL)[side]
        top.plot([began, end], [y, y], color=colour, lw=1.6, marker="|", ms=7, zorder=3)
    top.plot([], [], color=GREY, lw=1.6, marker="|", label="patient whales")
    top.plot([], [], color=GREY, lw=3, alpha=0.45, label="nests")
    top.set_ylabel("price, USDT")
    top.legend(loc="best")
    bottom.fill_between(t, pressure, where=pressure > 0, color=BUY, alpha=0.7, lw=0)
    bottom.fill_between(t, pressure, where=pressure < 0, color=SELL, alpha=0.7, lw=0)
    bottom.plot(t, confidence, color=GREY, lw=0.7, label="confidence")
    bottom.set(ylim=(-1, 1), ylabel="pressure", xlabel="s, Binance USD-M BTCUSDT, 2024-08-08")
    bottom.legend(loc="lower right")
    save(figure, "whale")


def roc() -> None:
    """Whales found against false alarms, over the quantile; dotted: by clusters alone."""
    plans = [
        ("5 × p99, one order", Plan(5, 1), BUY),
        ("2 × p99, one order", Plan(2, 1), "#3b7dd8"),
        ("5 × p99, 20 orders, two gaps apart", Plan(5, 20, 2), SELL),
        ("5 × p99, 20 orders, four gaps apart", Plan(5, 20, 4), "#c98a1b"),
        ("2 × p99, 20 orders, two gaps apart", Plan(2, 20, 2), "#8a63d2"),
    ]
    tapes = [background(2000, seed) for seed in range(2)]
    figure, axes = plt.subplots(figsize=(5, 3.8), layout="constrained")
    for name, plan, colour in plans:
        points, alone = [], []
        for quantile in (0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999):
            f = Found()
            for seed, tape in enumerate(tapes):
                p99 = float(np.percentile(cluster_sizes(tape), 99))
                f += detect(tape, planted(tape, plan, p99, seed + 100), "native", quantile=quantile)
            either = (f.false_alarms + f.false_patient) / f.clusters
            points.append((max(either, 1e-4), f.rate))
            alone.append((max(f.false_alarm_rate, 1e-4), f.by_cluster / f.whales))
        axes.plot(*np.array(points).T, color=colour, marker=".", label=name)
        axes.plot(*np.array(alone).T, ":", color=colour, lw=1)
        print(name, [(round(a, 4), round(b, 3)) for a, b in points])
    axes.axvline(0.01, color=GREY, lw=0.6)
    axes.set(
        xscale="log", xlabel="false alarms per cluster of trades", ylabel="whales found",
        ylim=(-0.02, 1.02),
    )  # fmt: skip
    axes.plot([], [], ":", color=GREY, label="by clusters alone")
    axes.legend(fontsize=7)
    save(figure, "whale-roc")


if __name__ == "__main__":
    recording()
    roc()
