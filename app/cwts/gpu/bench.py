"""The section "gpu" of `cwts bench`: nanoseconds a row by batch size, transfers included, and from where a GPU pays."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu import open_networks
from cwts.gpu.base import INPUTS, BatchError, packed
from cwts.networks import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.gpu import Networks

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
ROUNDS = 5


def measure(missing: dict[str, str], progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """`devices`: by device its name, `ns` a row by batch size, and `pays_from`: rows, or None where it never does."""
    given = packed(load())
    features = np.random.default_rng(1).normal(size=(SIZES[-1], INPUTS)).astype(np.float32)
    devices: dict[str, Any] = {}
    for device in ("simd", "wgpu", "cuda"):
        progress(f"gpu: {device}")
        try:
            networks = open_networks(device)
            ns = {size: _row_ns(networks, given, features[:size]) for size in SIZES}
        except BatchError as error:
            missing[f"gpu: {device}"] = str(error)
            continue
        devices[device] = {"name": networks.name, "ns": ns}
    for device, found in devices.items():
        if device != "simd":
            found["pays_from"] = pays_from(found["ns"], devices["simd"]["ns"])
    return devices


def _row_ns(networks: Networks, weights: bytes, features: Any) -> float:
    networks.run(weights, features)  # buffers are made and shaders compiled by the first batch
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        networks.run(weights, features)
        spent.append((time.perf_counter_ns() - began) / len(features))
    return round(statistics.median(spent), 1)


def pays_from(ns: dict[int, float], simd: dict[int, float]) -> int | None:
    """The smallest size measured from which on a device is always faster than SIMD."""
    pays: int | None = None
    for size in sorted(ns, reverse=True):
        if ns[size] >= simd[size]:
            break
        pays = size
    return pays


def human(devices: dict[str, Any]) -> str:
    """The section as a table for a person."""
    sizes = (1, 1_000, 1_000_000)
    lines = [f"{'networks over a history, ns a row at batch sizes':<52}" + "".join(f"{size:>12,}" for size in sizes)]
    for device, found in devices.items():
        lines.append(f"  {found['name']:<50}" + "".join(f"{found['ns'][size]:>12,.1f}" for size in sizes))
        if device != "simd":
            pays = found["pays_from"]
            lines.append(f"    {'never pays here' if pays is None else f'pays from {pays:,} rows on'}")
    return "\n".join(lines)
