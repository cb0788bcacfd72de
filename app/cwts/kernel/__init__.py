"""The engine: one block of memory, and the kernel that works on it, behind one interface for every build.

Owns which build runs (`native`: the C extension, in CPython or in Pyodide; `wasmtime`: the standalone WebAssembly
module) and reading the block. What the bytes mean is said in `cwts.h`; `layout` is generated from it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cwts.errors import InputError
from cwts.kernel import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Frames = bytes | bytearray | memoryview | NDArray[np.uint8]

KERNELS = ("native", "wasmtime")

_ERRORS = {
    layout.Error.FRAME: "a frame's length does not fit the bytes given; the frames before it were processed",
    layout.Error.BLOCK: "the block is not initialised by this version of the kernel",
    layout.Error.CONFIG: "a configuration value is out of range",
}


class Kernel(Protocol):
    """One block and the functions of `cwts.h` on it."""

    block: NDArray[np.uint8]
    isa: str

    def init(self, config: bytes) -> int:
        """`cwts_init`."""

    def feed(self, frames: Frames) -> int:
        """`cwts_feed`."""

    def feed_each(self, frames: Frames, ns: NDArray[np.int64]) -> tuple[int, int]:
        """Each frame by itself through `cwts_feed`; nanoseconds into `ns`; returns (frames, events)."""

    def latency(self, stage: int, ns: int) -> None:
        """`cwts_latency`."""

    def network_batch(self, network: bytes, features: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """`cwts_network_batch`."""


class Engine:
    """An instrument's engine.

    `config`: the bytes of a `cwts_config` (see `cwts.config.build_config`). `kernel`: which build runs it.
    Raises InputError where the configuration is refused or the build is not there.
    """

    def __init__(self, config: bytes, kernel: str = "native") -> None:
        self._kernel = _open(kernel)
        self.kernel = kernel
        self.isa = self._kernel.isa
        self.block: NDArray[np.uint8] = self._kernel.block
        self.view: NDArray[np.void] = self.block.view(layout.BLOCK).reshape(())
        _check(self._kernel.init(config))

    def feed(self, frames: Frames) -> int:
        """Processes frames laid end to end; returns `layout.Event` bits. Raises ValueError where one does not fit."""
        return _check(self._kernel.feed(frames))

    def feed_each(self, frames: Frames, count: int | None = None) -> NDArray[np.int64]:
        """Each frame by itself through the kernel, as in live trading; returns nanoseconds, one a frame.

        `count`: how many frames there are, if known.
        """
        ns = np.zeros(count_frames(frames) if count is None else count, np.int64)
        fed, events = self._kernel.feed_each(frames, ns)
        _check(events)
        return ns[:fed]

    def latency(self, stage: int, ns: int) -> None:
        """Adds a latency in nanoseconds to a `layout.Stage`'s histogram."""
        self._kernel.latency(stage, ns)

    def restore(self, block: bytes | NDArray[np.uint8]) -> None:
        """Makes `block`, a copy of another engine's block, this engine's. Raises ValueError where it is not one."""
        saved = np.frombuffer(block, np.uint8)
        whole = saved.size == self.block.size
        header = saved[: layout.HEADER.itemsize].view(layout.HEADER)[0] if whole else None
        if header is None or header["magic"] != layout.MAGIC or header["abi"] != layout.ABI:
            expected = f"the {self.block.size} bytes of a block of ABI {layout.ABI}"
            raise ValueError(f"expected {expected}, got {saved.size} bytes of another kind")
        self.block[:] = saved

    def levels(self, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All levels of a side, best first: prices and quantities in the instrument's integer units."""
        book = self.view["side"][side]
        cells = np.flatnonzero(book["qty"]).astype(np.int64)  # 32-bit indices in WebAssembly
        base = int(book["base"])
        keys = base + ((cells - base) & (layout.WINDOW - 1))
        far = book["far"]
        taken = far["qty"] != 0
        keys = np.concatenate([keys, far["price"][taken]])
        quantities = np.concatenate([book["qty"][cells], far["qty"][taken]])
        order = np.argsort(-keys, kind="stable")
        keys = keys[order]
        return (keys if side == layout.Side.BID else -keys), quantities[order]

    def position(self) -> str:
        """What the account holds, as a plain decimal; empty where that is nothing."""
        held = int(self.view["account"]["position_e8"])
        return plain(held, 8) if held else ""

    def book_sha256(self) -> str:
        """SHA-256 of the book as text: a line `b <price> <qty>` from the best bid on, then `a <price> <qty>`."""
        digest = hashlib.sha256()
        config = self.view["config"]
        price_decimals, qty_decimals = int(config["price_decimals"]), int(config["qty_decimals"])
        for side, name in ((layout.Side.BID, "b"), (layout.Side.ASK, "a")):
            prices, quantities = self.levels(side)
            text = "".join(
                f"{name} {plain(price, price_decimals)} {plain(qty, qty_decimals)}\n"
                for price, qty in zip(prices.tolist(), quantities.tolist(), strict=True)
            )
            digest.update(text.encode())
        return digest.hexdigest()

    def block_sha256(self) -> str:
        """SHA-256 of the engine's state: equal on every build after the same frames, however they were batched."""
        return hashlib.sha256(self.block[: int(self.view["header"]["hashed_bytes"])].data).hexdigest()


@lru_cache(maxsize=1)
def _native_for_batches() -> Kernel:
    return _open_native()


def network_batch(
    network: bytes | NDArray[np.void], features: NDArray[np.floating[Any]], kernel: str = "native"
) -> NDArray[np.float32]:
    """A `cwts_network` over rows of 16 features, as float32; returns a row of its outputs for each.

    The same bits as the engine's signals for the same features. Raises InputError where the network is not valid.
    """
    made = np.frombuffer(network, layout.NETWORK) if isinstance(network, bytes) else np.asarray(network, layout.NETWORK)
    if made.size != 1:
        raise ValueError(f"expected one network of {layout.NETWORK.itemsize} bytes")
    rows = np.ascontiguousarray(features, np.float32)
    if rows.ndim != 2 or rows.shape[1] != layout.FEATURE_COUNT:
        raise ValueError(f"expected rows of {layout.FEATURE_COUNT} features, got an array of shape {rows.shape}")
    outputs = min(max(int(made.reshape(-1)[0]["outputs"]), 1), layout.OUTPUTS)
    out = np.zeros((len(rows), outputs), np.float32)
    engine = _native_for_batches() if kernel == "native" else _open(kernel)
    _check(engine.network_batch(made.tobytes(), rows, out))
    return out


def plain(value: int, decimals: int) -> str:
    """An integer in units of 10^-decimals as a plain decimal without trailing zeros: (618000, 1) is 61800."""
    if decimals == 0:
        return str(value)
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    digits = digits.rjust(decimals + 1, "0")
    fraction = digits[-decimals:].rstrip("0")
    return f"{sign}{digits[:-decimals]}{'.' if fraction else ''}{fraction}"


def count_frames(frames: Frames) -> int:
    """How many whole frames lie in `frames`."""
    view = frames.data if isinstance(frames, np.ndarray) else memoryview(frames)
    at = count = 0
    while at + layout.FRAME.itemsize <= len(view):
        length = int.from_bytes(view[at + 8 : at + 12], "little")
        at += layout.FRAME.itemsize + (length + 7 & ~7)
        count += 1
    return count


def aligned_block(size: int) -> NDArray[np.uint8]:
    """Zeroed memory that begins at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    address: int = memory.__array_interface__["data"][0]
    start = -address % 64
    return memory[start : start + size]


def _check(result: int) -> int:
    if result >= 0:
        return result
    message = _ERRORS.get(result, f"the kernel answered {result}")  # type: ignore[call-overload]
    raise InputError(message) if result == layout.Error.CONFIG else ValueError(message)


def _open(name: str) -> Kernel:
    makers: dict[str, Callable[[], Kernel]] = {"native": _open_native, "wasmtime": _open_wasmtime}
    if name not in makers:
        raise InputError(f"no engine {name!r}: expected one of {', '.join(KERNELS)}")
    return makers[name]()


def _open_native() -> Kernel:
    try:
        from cwts.kernel.native import NativeKernel
    except ImportError as error:
        raise InputError(f"the native engine is not built ({error}): run make setup") from None
    return NativeKernel()


def _open_wasmtime() -> Kernel:
    try:
        from cwts.kernel.wasm import WasmKernel
    except ImportError as error:
        raise InputError(f"the wasmtime engine needs the package wasmtime ({error}): pip install wasmtime") from None
    return WasmKernel()
