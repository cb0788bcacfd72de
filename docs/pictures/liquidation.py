"""Draws docs/pictures/liquidation.svg: the ladder over price, on the USD-M recording."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from cwts.kernel import Engine
from cwts.recording import FRAME, Recording
from cwts.replay import prepare

HERE = Path(__file__).resolve().parent
LEVELS = 1024
INK = "#7a8699"  # legible on white and on black


def main() -> None:
    """Draws it."""
    recording = Recording(HERE.parents[1] / "tests" / "data" / "binance-usdm-btcusdt-20240808.gz")
    setup = prepare(recording, "binance-usdm", "BTCUSDT")
    engine = Engine(setup.config)
    ladder, bars = engine.view["liquidation"], engine.view["bars"]
    columns, mids, seen = [], [], 0
    for batch in recording.batches():
        at = 0
        while at < len(batch):
            end = at + FRAME.size + (FRAME.unpack_from(batch, at)[1] + 7 & ~7)
            engine.feed(bytes(batch[at:end]))
            at = end
            if bars["count"] >= seen + 5 and ladder["ready"]:
                seen = int(bars["count"])
                base = int(ladder["base"])
                both = ladder["mass"].reshape(2, LEVELS).sum(0) * float(ladder["scale"]) / 1000
                columns.append((base, np.roll(both, -(base % LEVELS))))
                mids.append(float(bars["now"]["close"]) / 2 / 10)
    low = min(base for base, _ in columns) + 380
    rows = 264
    image = np.array([mass[low - base : low - base + rows] for base, mass in columns]).T
    image = image.reshape(rows // 2, 2, -1).sum(1)
    prices = np.exp((low + np.array([0, rows])) * 0.0005) / 10
    mpl.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    mpl.rcParams.update({"axes.edgecolor": INK, "svg.fonttype": "none", "font.size": 9, "image.composite_image": True})
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    image[image == 0] = np.nan
    extent = (0, 5 * len(mids), prices[0], prices[1])
    drawn = axes.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
    axes.plot(5 * np.arange(len(mids)), mids, color="#e4572e", lw=1.2)
    axes.set(xlabel="seconds", ylabel="price, USDT", title="Where leverage would be liquidated (BTC a 10 bp)")
    figure.colorbar(drawn, pad=0.01)
    figure.savefig(HERE / "liquidation.svg", transparent=True)
    print(engine.view["signals"]["value"][16:20])


if __name__ == "__main__":
    main()
