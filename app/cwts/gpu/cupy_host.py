"""CUDA and ROCm/HIP, by CuPy: one kernel source for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu.base import ANSWERS, BatchError, constants, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = 256
MOST_ROWS = 1 << 24  # a gigabyte of features


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
            raise BatchError(f"CUDA cannot be used: {' '.join(str(error).split())[:200]}") from None
        self.name = f"CUDA ({device['name'].decode()})"

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of sixteen features to rows of five answers. Raises BatchError where the device fails."""
        cupy = self._cupy
        answers = np.empty((len(features), ANSWERS), np.float32)
        try:
            given = cupy.asarray(np.frombuffer(weights, np.float32))
            for start in range(0, len(features), MOST_ROWS):
                piece = cupy.asarray(np.ascontiguousarray(features[start : start + MOST_ROWS]))
                made = cupy.empty((len(piece), ANSWERS), cupy.float32)
                blocks = -(-len(piece) // THREADS)
                self._kernel((blocks,), (THREADS,), (given, piece, made, np.uint32(len(piece))))
                answers[start : start + len(piece)] = made.get()
        except Exception as error:  # noqa: BLE001 -- as above
            raise BatchError(f"CUDA failed: {' '.join(str(error).split())[:200]}") from None
        return answers


def cuda_source() -> str:
    """The kernel with its constants in front, as nvrtc, nvcc and hipcc read it."""
    named = {name: f"{value}f" if name == "VALUE_LIMIT" else str(int(value)) for name, value in constants().items()}
    return "".join(f"#define {name} {value}\n" for name, value in named.items()) + source("networks.cu")
