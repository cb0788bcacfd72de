"""The networks over whole histories: on a GPU where there is one, otherwise by the kernel's SIMD, the reference.

A GPU is for batches, never for the tick: a round trip takes far longer than a row by SIMD (docs/gpu.md).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from cwts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

DEVICES = ("auto", "simd", "wgpu", "cuda")


class Networks(Protocol):
    """Where batches run."""

    name: str

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Three `cwts_network` (`base.packed`) and rows of sixteen features to rows of five answers."""


def open_networks(device: str = "auto") -> Networks:
    """The device; `auto`: CUDA, then a real GPU, then SIMD. Raises BatchError, or InputError for another name."""
    from cwts.gpu.base import BatchError
    from cwts.gpu.cupy_host import CupyNetworks
    from cwts.gpu.simd_host import SimdNetworks
    from cwts.gpu.wgpu_host import WgpuNetworks

    makers: dict[str, Callable[[], Networks]] = {"cuda": CupyNetworks, "wgpu": WgpuNetworks, "simd": SimdNetworks}
    if device != "auto":
        if device not in makers:
            raise InputError(f"no device {device!r}: expected one of {', '.join(DEVICES)}")
        return makers[device]()
    for maker in (CupyNetworks, partial(WgpuNetworks, software=False), SimdNetworks):
        try:
            return maker()
        except BatchError:
            continue
    raise BatchError("no device can run the networks")  # SIMD always can


def run_networks(
    weights: bytes, features: NDArray[np.float32], device: str = "auto", tell: Callable[[str], None] = lambda _: None
) -> tuple[NDArray[np.float32], str]:
    """The answers and who gave them. Where the device fails, `tell` hears why once, and SIMD finishes the work."""
    from cwts.gpu.base import BatchError
    from cwts.gpu.simd_host import SimdNetworks

    try:
        networks = open_networks(device)
        return networks.run(weights, features), networks.name
    except BatchError as error:
        tell(f"{error}; the work is done by SIMD")
    simd = SimdNetworks()
    return simd.run(weights, features), simd.name
