"""The native kernel: the C extension `cwts._kernel`, in CPython and, built by Emscripten, in Pyodide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cwts import _kernel
from cwts.kernel import aligned_block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cwts.kernel import Frames


class NativeKernel:
    """A block in this process's memory."""

    def __init__(self) -> None:
        self.block = aligned_block(_kernel.block_bytes())
        self.isa = _kernel.isa()

    def init(self, config: bytes) -> int:
        """`cwts_init`."""
        return _kernel.init(self.block, config)

    def feed(self, frames: Frames) -> int:
        """`cwts_feed`."""
        return _kernel.feed(self.block, frames)

    def feed_each(self, frames: Frames, ns: NDArray[np.int64]) -> tuple[int, int]:
        """Each frame by itself, timed in C."""
        return _kernel.feed_each(self.block, frames, ns)

    def latency(self, stage: int, ns: int) -> None:
        """`cwts_latency`."""
        _kernel.latency(self.block, stage, ns)

    def network_batch(self, network: bytes, features: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """`cwts_network_batch`."""
        return _kernel.network_batch(network, features, out)
