"""Draws docs/pictures/antifragility.svg and prints the numbers of its page. Needs matplotlib and PYTHONPATH=app."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, save

from cwts.kernel import Engine
from cwts.kernel.layout import Signal
from market import CAPTURES, setup_of
from planted import LINEAR, LONG, PLANTED, SHORT, strategy
from seconds import replayed

STREAMS = {
    "straddle bought, |m| − c": (LONG[0], 0.0), "straddle sold, c − |m|": (SHORT[0], 0.0),
    "linear, 2 m": (LINEAR[0], 0.0),
    "noise alone": (lambda m: 0.0 * m, 1e-4), "straddle bought + noise of 2 bp": (LONG[0], 2e-4),
}  # fmt: skip


def draw() -> None:
    """The picture."""
    figure, (top, low) = plt.subplots(2, 1, figsize=(7.5, 4.5), sharex=True, layout="constrained")
    for i, colour in zip(range(3), ("#3b7dd8", "#d9962b", "#2e9e5b"), strict=True):
        file, exchange, symbol = CAPTURES[i]
        path = DATA / file
        engine = Engine(setup_of(path, exchange, symbol).config)
        rows = []
        for _ in replayed(engine, path):
            c = engine.view["antifragility"]["market"]
            rows.append((float(c["value"]) * 1e4, float(c["error"]) ** 0.5 * 1e4, float(c["score"]), float(c["known"])))
        value, error, score, known = np.array(rows).T
        value, error, score = (np.where(known > 0, x, np.nan) for x in (value, error, score))
        step = slice(None, None, 3)
        top.plot(value, color=colour, lw=1, label=exchange)
        top.fill_between(
            np.arange(len(value))[step], (value - error)[step], (value + error)[step], color=colour, alpha=0.15, lw=0
        )
        low.plot(score, color=colour, lw=1)
    top.set_ylabel("CONVEXITY, bp")
    top.legend(ncols=3)
    top.set_title("the market's own next second, with its standard error; BTC, 2024-08-08", loc="left", fontsize=9)
    low.set_ylabel("ANTIFRAGILITY")
    low.set_ylim(-1, 1)
    low.set_xlabel("s")
    save(figure, "antifragility")


def table() -> None:
    """The numbers."""
    print(f"planted: {PLANTED:.3f} bp")
    for seconds in (120, 600):
        for name, (payoff, noise) in STREAMS.items():
            rows = []
            for seed in range(200):
                m, _ = strategy("native", payoff, seed, seconds, noise)
                c = m.view["antifragility"]["strategy"]
                rows.append(
                    (float(c["value"]) * 1e4, float(c["error"]) ** 0.5 * 1e4, float(m.signal[Signal.ANTIFRAGILITY]))
                )
            value, error, score = np.array(rows).T
            beyond = [np.mean(s > t) for t in (0.71, 0.83) for s in (score, -score)]
            shares = " | ".join(f"{share:.1%}" for share in beyond)
            print(f"{seconds} s | {name} | {value.mean():+.2f} | {value.std():.2f} | {error.mean():.2f} | {shares}")


if __name__ == "__main__":
    draw()
    table()
