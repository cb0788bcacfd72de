"""WGSL natively, by wgpu-py: Vulkan, Metal, DirectX 12. Buffers are kept from batch to batch; one readback a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu.base import ANSWERS, INPUTS, BatchError, constants, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORKGROUP = 64
MOST_GROUPS = 65_535  # of one dimension of a dispatch, by the standard's default limits


class WgpuNetworks:
    """The three networks on a graphics card. Raises BatchError where there is none.

    `software`: an adapter that is really the processor will do; it is slower than SIMD, and good for tests.
    """

    def __init__(self, *, software: bool = True) -> None:
        try:
            import wgpu
        except ImportError as error:
            raise BatchError(f"the GPU needs the package wgpu ({error}): pip install cwts[gpu]") from None
        self._wgpu: Any = wgpu
        try:
            adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
            if adapter is None:
                raise BatchError("no GPU adapter was found")
            if not software and adapter.info["adapter_type"] == "CPU":
                raise BatchError(f"the only GPU adapter is software ({adapter.info['device']})")
            limits = {"max-storage-buffer-binding-size": adapter.limits["max-storage-buffer-binding-size"]}
            self._device = adapter.request_device_sync(required_limits=limits)
            module = self._device.create_shader_module(code=source("networks.wgsl"))
            self._pipeline = self._device.create_compute_pipeline(
                layout="auto", compute={"module": module, "entry_point": "run", "constants": constants()}
            )
        except BatchError:
            raise
        except Exception as error:  # noqa: BLE001 -- drivers fail in ways of their own; whatever it is, SIMD does the work
            raise BatchError(f"the GPU cannot be used: {_one_line(error)}") from None
        self.name = f"WebGPU ({adapter.info['device']}, {adapter.info['backend_type']})"
        self.most_rows = min(limits["max-storage-buffer-binding-size"] // (4 * INPUTS), 1 << 22)
        self._room = 0
        self._buffers: dict[str, Any] = {}

    def run(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of sixteen features to rows of five answers. Raises BatchError where the device is lost."""
        answers = np.empty((len(features), ANSWERS), np.float32)
        try:
            for start in range(0, len(features), self.most_rows):
                piece = features[start : start + self.most_rows]
                answers[start : start + len(piece)] = self._piece(weights, piece)
        except Exception as error:  # noqa: BLE001 -- as above
            raise BatchError(f"the GPU failed: {_one_line(error)}") from None
        return answers

    def _piece(self, weights: bytes, features: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = len(features)
        if rows == 0:
            return np.empty((0, ANSWERS), np.float32)
        self._reserve(rows, len(weights))
        queue, buffers = self._device.queue, self._buffers
        groups = -(-rows // WORKGROUP)
        across = min(groups, MOST_GROUPS)
        down = -(-groups // across)
        queue.write_buffer(buffers["weights"], 0, weights)
        queue.write_buffer(buffers["features"], 0, np.ascontiguousarray(features))
        queue.write_buffer(buffers["rows"], 0, np.array([rows, across * WORKGROUP, 0, 0], np.uint32))
        encoder = self._device.create_command_encoder()
        encoded = encoder.begin_compute_pass()
        encoded.set_pipeline(self._pipeline)
        encoded.set_bind_group(0, self._group)
        encoded.dispatch_workgroups(across, down)
        encoded.end()
        queue.submit([encoder.finish()])
        view = queue.read_buffer(buffers["answers"], 0, rows * ANSWERS * 4)
        return np.frombuffer(view, np.float32).reshape(rows, ANSWERS)

    def _reserve(self, rows: int, weight_bytes: int) -> None:
        if rows <= self._room:
            return
        usage = self._wgpu.BufferUsage
        self._room = room = min(self.most_rows, max(1024, 1 << (rows - 1).bit_length()))
        sizes = {"weights": weight_bytes, "features": room * INPUTS * 4, "answers": room * ANSWERS * 4}
        for name, size in sizes.items():
            flags = usage.STORAGE | usage.COPY_DST | usage.COPY_SRC
            self._buffers[name] = self._device.create_buffer(size=size, usage=flags)
        self._buffers["rows"] = self._device.create_buffer(size=16, usage=usage.UNIFORM | usage.COPY_DST)
        entries = [
            {"binding": binding, "resource": {"buffer": self._buffers[name]}}
            for binding, name in enumerate(("weights", "features", "answers", "rows"))
        ]
        self._group = self._device.create_bind_group(layout=self._pipeline.get_bind_group_layout(0), entries=entries)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
