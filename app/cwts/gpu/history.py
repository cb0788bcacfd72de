"""The features of a whole recording on a time grid; and `cwts networks`, which asks the networks about them."""

from __future__ import annotations

import json
import sys
import time
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.gpu import run_networks
from cwts.gpu.base import ANSWERS, INPUTS, packed
from cwts.gpu.simd_host import SimdNetworks
from cwts.instruments import load_instrument
from cwts.kernel import Engine
from cwts.networks import SHIPPED, load
from cwts.recording import FRAME, Recording
from cwts.replay import TerminalProgress, never_valid, prepare

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

MILLISECOND = 1_000_000
NAMES = ("cascade up", "cascade down", "whale up", "whale down", "value (bp)")


class Grid:
    """Samples an engine after all frames before every multiple of `step_ms`, while the book is valid.

    A multiple without frames since the last one is left out. `engine`: a fresh one, which is fed the frames.
    """

    def __init__(self, engine: Engine, step_ms: int) -> None:
        self.engine = engine
        self.due = 0  # the time of the next sample, in ns
        self.breaks: list[int] = []  # rows before which the book was not valid for a while
        self._step = step_ms * MILLISECOND
        self._features, self._sync = engine.view["features"]["value"], engine.view["sync"]
        self._snapshot = engine.view["published"]["snapshot"]
        self._times, self._mids, self._rows = array("q"), array("q"), bytearray()
        self._broken = False

    def feed(self, batch: bytes | bytearray) -> None:
        """Frames that lie end to end."""
        view = memoryview(batch)
        start = at = 0
        while at < len(view):
            ns, length = FRAME.unpack_from(view, at)[:2]
            if ns >= self.due:
                self.engine.feed(view[start:at])
                self._sample()
                start, self.due = at, (ns // self._step + 1) * self._step
            at += FRAME.size + (length + 7 & ~7)
        self.engine.feed(view[start:])

    def _sample(self) -> None:
        if not self.due:
            return
        if not self._sync["synced"]:
            self._broken = bool(self._times)
            return
        if self._broken:
            self.breaks.append(len(self._times))
            self._broken = False
        self._times.append(self.due)
        self._mids.append(int(self._snapshot["mid_e8"]))
        self._rows += self._features.data

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """After the last frame: times (ns), mid prices (e8 of the price's last decimal), and rows of features."""
        self._sample()
        rows = np.frombuffer(self._rows, np.float32).reshape(-1, INPUTS)
        return np.frombuffer(self._times, np.int64), np.frombuffer(self._mids, np.int64), rows


def features_on_grid(
    batches: Iterable[bytes | bytearray], engine: Engine, step_ms: int, progress: Callable[[], None] = lambda: None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The times and features of a `Grid` over all batches."""
    grid = Grid(engine, step_ms)
    for batch in batches:
        grid.feed(batch)
        progress()
    times, _, features = grid.columns()
    return times, features


def agreement(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, Any]:
    """How far answers are from the reference: at most 1e-5, absolute and relative, and of the same sign."""
    apart = np.abs(answers - reference) / (1 + np.abs(reference))
    signs = (np.sign(answers) == np.sign(reference)) | (np.abs(reference) <= 1e-4)
    worst = float(np.max(apart, initial=0.0))
    return {"largest_difference": worst, "same_signs": bool(signs.all()), "agrees": worst <= 1e-5 and bool(signs.all())}


def main(args: argparse.Namespace) -> int:
    """`cwts networks`. Raises InputError."""
    weights = load(args.weights or SHIPPED)
    recording = Recording(args.capture)
    instrument = load_instrument(args.instruments, args.exchange, args.symbol) if args.instruments else None
    setup = prepare(recording, args.exchange, args.symbol, instrument=instrument)
    for warning in setup.warnings:
        print(f"cwts: warning: {warning}", file=sys.stderr)
    engine, notes = setup.engine_for(recording)
    valid = bool(engine.view["sync"]["synced"])
    with TerminalProgress() as shown:
        times, features = features_on_grid(
            recording.batches(),
            engine,
            args.step_ms,
            lambda: shown(recording.bytes_read / max(1, recording.bytes_total)),
        )
    notes += never_valid(engine, valid)
    given = packed(weights)
    messages: list[str] = []
    answers, name, ms = _timed(lambda: run_networks(given, features, args.device, messages.append))
    reference, _, simd_ms = _timed(lambda: (SimdNetworks().run(given, features), "SIMD"))
    for message in (*notes, *messages):
        print(f"cwts: {message}", file=sys.stderr)
    columns = list(zip(NAMES, answers.T, strict=True))
    found: dict[str, Any] = {
        "computed_by": name,
        "messages": messages,
        "notes": list(notes),
        "rows": len(times),
        "step_ms": args.step_ms,
        "ms": round(ms, 3),
        "simd_ms": round(simd_ms, 3),
        **agreement(answers, reference),
        "mean": {key: float(column.mean()) if len(times) else None for key, column in columns},
        "largest": {key: float(np.abs(column).max(initial=0)) for key, column in columns},
    }
    print(json.dumps(found) if args.json else human(found))
    return 0


def _timed(
    work: Callable[[], tuple[NDArray[np.float32], str]],
) -> tuple[NDArray[np.float32], str, float]:
    """The answers, who gave them, and milliseconds: opening the device and all transfers are in them."""
    began = time.perf_counter()
    answers, name = work()
    assert answers.shape[1] == ANSWERS
    return answers, name, (time.perf_counter() - began) * 1e3


def human(found: dict[str, Any]) -> str:
    """The result for a person."""
    verdict = "agrees with SIMD" if found["agrees"] else "DIFFERS from SIMD"
    lines = [
        f"computed by    {found['computed_by']}",
        f"rows           {found['rows']:,}, every {found['step_ms']} ms while the book is valid",
        f"time           {found['ms']:,.1f} ms with opening the device; SIMD {found['simd_ms']:,.1f} ms",
        f"agreement      {verdict}: {found['largest_difference']:.1e} apart at most (of 1 + |answer|)",
        f"{'':<15}{'mean':>12}{'largest':>12}",
    ]
    for key, mean in found["mean"].items():
        lines.append(f"{key:<15}{'-' if mean is None else format(mean, '12.5f'):>12}{found['largest'][key]:>12.5f}")
    return "\n".join(lines)
