"""The standalone WebAssembly kernel in wasmtime: the same C, sandboxed, its block in the module's own memory.

Memory, from the module's heap base on: the block, then an area through which frames and results pass in pieces.
"""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import wasmtime
from wasmtime import _ffi as ffi

from cwts.errors import InputError
from cwts.kernel import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cwts.kernel import Frames

MODULE = Path(__file__).resolve().parent.parent / "kernel.wasm"
_compiled: dict[Path, tuple[wasmtime.Engine, wasmtime.Module]] = {}


def _load(path: Path) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Compiles the module once a process."""
    if path not in _compiled:
        if not path.is_file():
            raise InputError("the wasmtime engine's kernel.wasm is not built: run make wasm")
        config = wasmtime.Config()
        config.wasm_simd = True
        config.cranelift_opt_level = "speed"
        engine = wasmtime.Engine(config)
        _compiled[path] = engine, wasmtime.Module(engine, path.read_bytes())
    return _compiled[path]


class _Function:
    """A function of the module whose values are whole numbers.

    `wasmtime.Func` asks for the types and wraps every value anew at each call, for 30 µs; this asks once, and a call
    takes 2 µs. It stands on bindings that the package keeps to itself: pyproject.toml pins the version.
    """

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func) -> None:
        kind = function.type(store)
        self._count = len(kind.params)
        # Values of 16 bytes: the parameters, and in their place the result.
        self._values = (ffi.wasmtime_val_raw_t * max(1, self._count))()
        self._words = (ctypes.c_int64 * (2 * len(self._values))).from_buffer(self._values)
        wide = [str(result) for result in kind.results] == ["i64"]
        self._result = (ctypes.c_int64 if wide else ctypes.c_int32).from_buffer(self._values)
        self._context = store._context()  # noqa: SLF001
        self._function = ctypes.byref(function._func)  # noqa: SLF001

    def __call__(self, *arguments: int) -> int:
        if len(arguments) != self._count:
            raise TypeError(f"expected {self._count} arguments, got {len(arguments)}")
        for i, argument in enumerate(arguments):
            self._words[2 * i] = argument
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call_unchecked(
            self._context, self._function, self._values, len(self._values), ctypes.byref(trap)
        )
        if bool(error):
            raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001
        if bool(trap):
            raise wasmtime.Trap._from_ptr(trap)  # noqa: SLF001
        return self._result.value


class WasmKernel:
    """An instance of `kernel.wasm` with one block."""

    isa = "simd128"

    def __init__(self, path: Path = MODULE) -> None:
        engine, module = _load(path)
        self._store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        self._store.set_wasi(wasmtime.WasiConfig())
        exports = linker.instantiate(self._store, module).exports(self._store)
        self._exports = exports
        self._functions = {
            name: _Function(self._store, export)
            for name, export in exports.items()
            if isinstance(export, wasmtime.Func) and name.startswith("cwts_")
        }
        memory = exports["memory"]
        base = exports["__heap_base"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(base, wasmtime.Global)
        self._address = int(base.value(self._store)) + 63 & ~63
        size = self._functions["cwts_block_bytes"]()
        if size != layout.BLOCK.itemsize:
            ours = layout.BLOCK.itemsize
            raise InputError(f"kernel.wasm has a block of {size} bytes, this package one of {ours}: run make wasm")
        # The memory cannot grow, so that views of it stay valid as long as the store lives; and they keep it alive.
        total = memory.data_len(self._store)
        array = ctypes.cast(memory.data_ptr(self._store), ctypes.POINTER(ctypes.c_uint8 * total)).contents
        array.store = self._store  # type: ignore[attr-defined]
        self._memory: NDArray[np.uint8] = np.frombuffer(memoryview(array), np.uint8)
        self.block: NDArray[np.uint8] = self._memory[self._address : self._address + size]
        self._transfer = self._address + size + 63 & ~63
        self._room = total - self._transfer

    def _write(self, data: NDArray[np.uint8]) -> int:
        self._memory[self._transfer : self._transfer + data.size] = data
        return self._transfer

    def init(self, config: bytes) -> int:
        """`cwts_init`."""
        if len(config) != layout.CONFIG.itemsize:
            raise ValueError(f"expected a configuration of {layout.CONFIG.itemsize} bytes, got {len(config)}")
        return self._functions["cwts_init"](self._address, self._write(np.frombuffer(config, np.uint8)))

    def feed(self, frames: Frames) -> int:
        """`cwts_feed`, in pieces of whole frames where they do not fit the module's memory at once."""
        data = np.frombuffer(frames, np.uint8)
        events = at = 0
        while True:
            end = data.size if data.size - at <= self._room else _last_whole_frame(data, at, self._room)
            result = self._functions["cwts_feed"](self._address, self._write(data[at:end]), end - at)
            if result < 0:
                return result
            events |= result
            at = end
            if at >= data.size:
                return events

    def feed_each(self, frames: Frames, ns: NDArray[np.int64]) -> tuple[int, int]:
        """Each frame by itself, timed inside the module by WASI's clock."""
        data = np.frombuffer(frames, np.uint8)
        events = at = fed = 0
        piece = self._room // 2
        while at < data.size and fed < ns.size:
            end = data.size if data.size - at <= piece else _last_whole_frame(data, at, piece)
            start = self._write(data[at:end])
            times = start + end - at + 7 & ~7
            room = min(ns.size - fed, (self._room + self._transfer - times) // 8)
            result = self._functions["cwts_feed_each"](self._address, start, end - at, times, room)
            if result < 0:
                return fed, result
            count, happened = result & 0xFFFFFFFF, result >> 32
            ns[fed : fed + count] = self._memory[times : times + 8 * count].view(np.int64)
            fed += count
            events |= happened
            at = end
        return fed, events

    def latency(self, stage: int, ns: int) -> None:
        """`cwts_latency`."""
        self._functions["cwts_latency"](self._address, stage, ns)

    def network_batch(self, network: bytes, features: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """`cwts_network_batch`, in pieces that fit the module's memory."""
        at = self._write(np.frombuffer(network, np.uint8))
        start = at + len(network) + 63 & ~63
        each = 4 * (layout.FEATURE_COUNT + layout.OUTPUTS)
        piece = (self._room - 4096) // each
        done = 0
        while True:
            rows = features[done : done + piece]
            data = rows.reshape(-1).view(np.uint8)
            self._memory[start : start + data.size] = data
            result_at = start + data.size
            result = self._functions["cwts_network_batch"](at, start, result_at, len(rows))
            if result < 0:
                return result
            flat = out[done : done + len(rows)].reshape(-1)
            flat[:] = self._memory[result_at : result_at + 4 * flat.size].view(np.float32)
            done += len(rows)
            if done >= len(features):
                return done


def _last_whole_frame(data: NDArray[np.uint8], at: int, room: int) -> int:
    """Where the last frame ends that fits into `room` bytes from `at`."""
    end = at
    while end + layout.FRAME.itemsize <= data.size:
        (length,) = struct.unpack_from("<I", data.data, end + 8)
        after = end + layout.FRAME.itemsize + (length + 7 & ~7)
        if after - at > room:
            break
        end = after
    if end == at:
        raise ValueError(f"a frame is larger than the {room} bytes that the wasmtime engine takes")
    return end
