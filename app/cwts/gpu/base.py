"""What the hosts share: the shapes of a batch, the constants of the layout, and the error that means "use SIMD"."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from cwts.kernel import layout
from cwts.networks import OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cwts.networks import Weights

INPUTS = layout.FEATURE_COUNT
ANSWERS = 5  # cascade up, down; whale up, down; value
VALUE_LIMIT = 1000.0  # basis points, as in network.c
MOST_ROWS = 1 << 20  # of one pass: 64 MiB of features


class BatchError(Exception):
    """A GPU that is not there, is lost, or refuses a shader, in one line for a person."""


def packed(weights: Weights) -> bytes:
    """Three `cwts_network` one after the other, as every host takes them; zeros where there is none."""
    empty = bytes(layout.NETWORK.itemsize)
    return b"".join(weights.networks[name].tobytes() if name in weights.networks else empty for name in OUTPUTS)


def pieces(rows: int, most: int) -> Iterator[slice]:
    """All rows, at most so many at once."""
    return (slice(start, min(start + most, rows)) for start in range(0, rows, most))


def checked(weights: bytes, features: NDArray[np.float32]) -> None:
    """Raises ValueError where a batch has another shape than `packed` weights and rows of features."""
    if len(weights) != len(OUTPUTS) * layout.NETWORK.itemsize:
        raise ValueError(
            f"expected {len(OUTPUTS)} networks of {layout.NETWORK.itemsize} bytes, got {len(weights)} bytes"
        )
    if features.ndim != 2 or features.shape[1] != INPUTS or features.dtype != "float32":
        raise ValueError(f"expected rows of {INPUTS} float32 features, got {features.dtype} of shape {features.shape}")


def source(name: str) -> str:
    """The text of one of this package's kernels."""
    return files("cwts.gpu").joinpath(name).read_text(encoding="utf-8")


def constants() -> dict[str, float]:
    """Where the numbers of a `cwts_network` lie, in words from its beginning, by their names in the kernels."""
    names = {
        "MEAN": "mean", "SCALE": "scale", "WEIGHT_1": "w1", "BIAS_1": "b1", "WEIGHT_2": "w2", "BIAS_2": "b2",
        "LIMIT": "limit", "VERSION": "version",
    }  # fmt: skip
    fields = layout.NETWORK.fields
    assert fields is not None
    places: dict[str, float] = {name: fields[member][1] // 4 for name, member in names.items()}
    return places | {"STRIDE": layout.NETWORK.itemsize // 4, "VALUE_LIMIT": VALUE_LIMIT}


def one_line(error: BaseException) -> str:
    """What a driver said, in one line that is not too long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
