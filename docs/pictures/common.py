"""What the scripts beside it share: importing it finds the tests' helpers and sets how pictures look."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
GREY = "#808890"  # legible on white and on black

sys.path.insert(0, str(ROOT / "tests"))
plt.rcParams.update({
    "font.size": 9, "legend.frameon": False, "legend.fontsize": 8, "savefig.transparent": True, "svg.fonttype": "none",
    "svg.hashsalt": "cwts", "text.color": GREY, "axes.edgecolor": GREY, "axes.labelcolor": GREY, "xtick.color": GREY,
    "ytick.color": GREY,
})  # fmt: skip


def save(figure: plt.Figure, name: str) -> None:
    """Writes docs/pictures/NAME.svg. A tenth of a point is enough: half the bytes."""
    path = ROOT / "docs" / "pictures" / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    text = re.sub(r" +$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.write_text(re.sub(r"<\w[^>]*>", lambda tag: _shortened(tag[0]), text), encoding="utf-8")


def _shortened(tag: str) -> str:
    """Coordinates alone: neither opacities, nor what a person reads, nor the version of XML."""
    return re.sub(r"(\d)\.0\b", r"\1", re.sub(r"(?<!opacity: )\b(\d+\.\d)\d+", r"\1", tag))
