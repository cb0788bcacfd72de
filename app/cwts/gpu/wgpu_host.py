"""WGSL natively, by wgpu-py: Vulkan, Metal, DirectX 12. Buffers are kept from pass to pass; one readback a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu.base import ANSWERS, INPUTS, MOST_ROWS, BatchError, checked, constants, one_line, pieces, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORKGROUP = 64  # as in networks.wgsl


class WgpuNetworks:
    """The three networks on a graphics card. Raises BatchError where there is none.

    `software`: an adapter that is really the processor will do; it is slower than SIMD, and good for tests.
    `shader`: the text to run.
    """

    def __init__(self, *, software: bool = True, shader: str | None = None) -> None:
        try:
            import wgpu
        except (ImportError, OSError) as error:  # the package, or its library
            raise BatchError(f"the GPU needs the package wgpu ({error}): pip install cwts[gpu]") from None
        self._wgpu: Any = wgpu
        try:
            adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        except Exception as error:  # noqa: BLE001 -- drivers fail in ways of their own; whatever it is, SIMD does the work
            raise BatchError(f"no GPU adapter was found ({one_line(error)})") from None
        if adapter is None:
            raise BatchError("no GPU adapter was found")
        info = adapter.info
        if not software and info["adapter_type"] == "CPU":
            raise BatchError(f"the only GPU adapter is software ({info['device']})")
        try:
            self.device: Any = adapter.request_device_sync()
            module = self.device.create_shader_module(code=shader or source("networks.wgsl"))
            self._pipeline = self.device.create_compute_pipeline(
                layout="auto", compute={"module": module, "entry_point": "run", "constants": constants()}
            )
        except Exception as error:  # noqa: BLE001 -- as above
            raise BatchError(f"the GPU cannot be used: {one_line(error)}") from None
        self.name = f"wgpu: {info['device']}, {info['backend_type']}"
        limits = self.device.limits
        self.most_rows = min(
            MOST_ROWS,
            limits["max-storage-buffer-binding-size"] // (4 * INPUTS),
            limits["max-compute-workgroups-per-dimension"] * WORKGROUP,
        )
        self._room = 0
        self._buffers: dict[str, Any] = {}
        self._group: Any = None

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of sixteen features to rows of five answers. Raises BatchError where the device is lost."""
        checked(weights, features)
        answers = np.empty((len(features), ANSWERS), np.float32)
        try:
            for piece in pieces(len(features), self.most_rows):
                answers[piece] = self._pass(weights, np.ascontiguousarray(features[piece]))
        except Exception as error:  # noqa: BLE001 -- as above
            raise BatchError(f"the GPU failed: {one_line(error)}") from None
        return answers

    def _pass(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = len(features)
        self._reserve(rows, len(weights))
        queue, buffers = self.device.queue, self._buffers
        queue.write_buffer(buffers["weights"], 0, weights)
        queue.write_buffer(buffers["features"], 0, features)
        queue.write_buffer(buffers["batch"], 0, np.array([rows, 0, 0, 0], np.uint32))
        encoder = self.device.create_command_encoder()
        encoded = encoder.begin_compute_pass()
        encoded.set_pipeline(self._pipeline)
        encoded.set_bind_group(0, self._group)
        encoded.dispatch_workgroups(-(-rows // WORKGROUP))
        encoded.end()
        size = rows * ANSWERS * 4
        encoder.copy_buffer_to_buffer(buffers["answers"], 0, buffers["readback"], 0, size)
        queue.submit([encoder.finish()])
        readback = buffers["readback"]
        readback.map_sync(self._wgpu.MapMode.READ, 0, size)
        try:
            view = readback.read_mapped(0, size)
            return np.frombuffer(view, np.float32).reshape(rows, ANSWERS)
        finally:
            readback.unmap()

    def _reserve(self, rows: int, weight_bytes: int) -> None:
        """Room for so many rows: a power of two, so that batches that grow seldom make new buffers."""
        if rows <= self._room:
            return
        for buffer in self._buffers.values():
            buffer.destroy()
        self._buffers, self._room = {}, 0
        room = min(self.most_rows, max(1024, 1 << (rows - 1).bit_length()))
        usage = self._wgpu.BufferUsage
        for name, size, flags in (
            ("weights", weight_bytes, usage.STORAGE | usage.COPY_DST),
            ("features", room * INPUTS * 4, usage.STORAGE | usage.COPY_DST),
            ("answers", room * ANSWERS * 4, usage.STORAGE | usage.COPY_SRC),
            ("batch", 16, usage.UNIFORM | usage.COPY_DST),
            ("readback", room * ANSWERS * 4, usage.MAP_READ | usage.COPY_DST),
        ):
            self._buffers[name] = self.device.create_buffer(size=size, usage=flags)
        entries = [
            {"binding": binding, "resource": {"buffer": self._buffers[name]}}
            for binding, name in enumerate(("weights", "features", "answers", "batch"))
        ]
        self._group = self.device.create_bind_group(layout=self._pipeline.get_bind_group_layout(0), entries=entries)
        self._room = room
