"""What the GPU hosts share: the shapes of a batch, the constants of the layout, and the error that means "use SIMD"."""

from __future__ import annotations

from importlib.resources import files

from cwts.kernel import layout

INPUTS = layout.FEATURE_COUNT
ANSWERS = 5  # cascade up, down; whale up, down; value


VALUE_LIMIT = 1000.0  # basis points, as in network.c


class BatchError(Exception):
    """A GPU that is not there, is lost, or refuses a shader, in one line for a person."""


def source(name: str) -> str:
    """The text of one of this package's kernels."""
    return files("cwts.gpu").joinpath(name).read_text(encoding="utf-8")


def constants() -> dict[str, float]:
    """Where the numbers of a `cwts_network` lie, in floats from its beginning, by their names in the kernels."""
    network = layout.NETWORK
    names = {
        "MEAN": "mean", "SCALE": "scale", "WEIGHT_1": "w1", "BIAS_1": "b1", "WEIGHT_2": "w2", "BIAS_2": "b2",
        "LIMIT": "limit", "VERSION": "version",
    }  # fmt: skip
    fields = network.fields or {}
    places: dict[str, float] = {name: fields[member][1] // 4 for name, member in names.items()}
    return places | {"STRIDE": network.itemsize // 4, "VALUE_LIMIT": VALUE_LIMIT}
