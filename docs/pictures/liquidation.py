"""Draws docs/pictures/liquidation.svg: the ladder over price, on the USD-M recording."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from common import DATA, save

from cwts.kernel import Engine
from cwts.recording import FRAME, Recording
from cwts.replay import prepare

LEVELS = 1024


def main() -> None:
    """Draws it."""
    recording = Recording(DATA / "binance-usdm-btcusdt-20240808.gz")
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
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    image[image == 0] = np.nan
    extent = (0, 5 * len(mids), prices[0], prices[1])
    drawn = axes.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
    axes.plot(5 * np.arange(len(mids)), mids, color="#e4572e", lw=1.2)
    axes.set(xlabel="seconds", ylabel="price, USDT", title="Where leverage would be liquidated (BTC a 10 bp)")
    figure.colorbar(drawn, pad=0.01)
    save(figure, "liquidation")
    print(engine.view["signals"]["value"][16:20])


if __name__ == "__main__":
    main()
