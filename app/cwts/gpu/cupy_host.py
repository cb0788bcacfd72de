"""CUDA and ROCm/HIP, by CuPy: one kernel source for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu.base import ANSWERS, MOST_ROWS, BatchError, checked, constants, one_line, pieces, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = 256


class CupyNetworks:
    """The three networks on a CUDA or ROCm device. Raises BatchError where there is none."""

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise BatchError(f"CUDA needs the package cupy ({error}): pip install cwts[gpu-cuda]") from None
        self._cupy: Any = cupy
        try:
            device = cupy.cuda.runtime.getDeviceProperties(0)
            self._kernel = cupy.RawModule(code=cuda_source(), options=("--std=c++11",)).get_function("run")
        except Exception as error:  # noqa: BLE001 -- a driver that is missing or too old has many ways to say so
            raise BatchError(f"CUDA cannot be used: {one_line(error)}") from None
        self.name = f"CUDA: {device['name'].decode()}"

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of sixteen features to rows of five answers. Raises BatchError where the device fails."""
        checked(weights, features)
        cupy = self._cupy
        answers = np.empty((len(features), ANSWERS), np.float32)
        try:
            given = cupy.asarray(np.frombuffer(weights, np.float32))
            for piece in pieces(len(features), MOST_ROWS):  # CuPy's pool gives the same memory again
                rows = cupy.asarray(np.ascontiguousarray(features[piece]))
                made = cupy.empty((len(rows), ANSWERS), cupy.float32)
                self._kernel((-(-len(rows) // THREADS),), (THREADS,), (given, rows, made, np.uint32(len(rows))))
                answers[piece] = made.get()
        except Exception as error:  # noqa: BLE001 -- as above
            raise BatchError(f"CUDA failed: {one_line(error)}") from None
        return answers


def cuda_source() -> str:
    """The kernel with its constants in front, as nvrtc, nvcc and hipcc read it."""
    named = {name: f"{value}f" if name == "VALUE_LIMIT" else str(int(value)) for name, value in constants().items()}
    return "".join(f"#define {name} {value}\n" for name, value in named.items()) + source("networks.cu")
