"""The Python side of the page's engine worker: one engine, one input buffer, and answers as JSON text.

Bytes cross by address: the worker writes frames straight into a buffer allocated here and reads the block in place: no
message ever becomes a Python object. A recording is a file that the worker mounts at `FILE`: it is read in pieces and
never held whole. `web/workers/engine.js` is the only caller.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cwts import _kernel
from cwts.errors import CwtsError
from cwts.kernel import Engine
from cwts.recorder import FrameRecording
from cwts.recording import Recording, Survey
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

FILE = Path("/recording/file")
PIECE_BYTES = 256 << 10
INPUT_BYTES = 1 << 20  # several times what the worker feeds in one call

_input: NDArray[np.uint8] = np.zeros(INPUT_BYTES, np.uint8)
_large: NDArray[np.uint8] = np.zeros(0, np.uint8)
_engine: Engine | None = None
_pieces: Iterator[bytes | bytearray] | None = None


class _Watched(Recording):
    """A recording that tells how much of it a pass has read, and whose first pass may be known already."""

    watch: Callable[[float], None] | None = None
    known: Survey | None = None

    def _text(self) -> Iterator[bytes]:
        for piece in super()._text():
            if self.watch is not None:
                self.watch(self.bytes_read / max(self.bytes_total, 1))
            yield piece

    def survey(self, exchange: str, symbol: str) -> Survey:
        known = self.known
        if known is not None and (known.exchange, known.symbol) == (exchange, symbol.upper()):
            return known
        return super().survey(exchange, symbol)


def _address(array: NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def input_address() -> int:
    """Where the worker writes frames; `INPUT_BYTES` long."""
    return _address(_input)


def open_recording(name: str, exchange: str, symbol: str, watch: Callable[[float], None], known: str) -> str:
    """Surveys the mounted recording and makes the engine for it, as `cwts replay` would. Returns what the page shows.

    `known`: the survey as JSON, if somebody has made it before (the site's builder, of the recordings that it bundles).
    """
    global _engine, _pieces
    try:
        recording = _Watched(FILE, name=name)
        recording.watch = watch
        if known:
            fields = json.loads(known)
            price = fields["reference_price"]
            recording.known = Survey(**{**fields, "reference_price": Decimal(price) if price is not None else None})
        setup = prepare(recording, exchange, symbol)
        _engine = Engine(setup.config)
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    _pieces = None
    found = {
        "survey": asdict(setup.survey),
        "instrument": asdict(setup.instrument),
        "notes": setup.notes + setup.warnings,
        "block": _address(_engine.block),
        "blockBytes": _engine.block.nbytes,
    }
    return json.dumps(found, default=str)


def rewind() -> str:
    """Starts `next_piece` at the beginning of the mounted recording. Returns what the pieces are: text or frames."""
    global _pieces
    recording = Recording(FILE)
    frames = recording._as_frames()  # noqa: SLF001
    if frames is None:
        _pieces = recording._text()  # noqa: SLF001
        return "text"
    _pieces = FrameRecording(FILE).batches()
    return "frames"


def next_piece() -> bytearray | None:
    """The next decompressed bytes, about `PIECE_BYTES`, for what the browser cannot decompress; None at the end."""
    piece = bytearray()
    for part in _pieces or ():
        piece += part
        if len(piece) >= PIECE_BYTES:
            break
    return piece or None


def large_address(size: int) -> int:
    """Room for one frame that is larger than the input buffer."""
    global _large
    _large = np.zeros(size, np.uint8)
    return _address(_large)


def feed_large() -> int:
    """Feeds what was written to `large_address`, and gives its memory back."""
    global _large
    assert _engine is not None
    frame, _large = _large, np.zeros(0, np.uint8)
    return _engine.feed(frame)


def feeder() -> Callable[[int], int]:
    """The way from the input buffer into the kernel, without a Python function in between.

    Called with a number of bytes, it returns the kernel's event bits, or a negative `cwts_error`.
    """
    assert _engine is not None
    return partial(_kernel.feed, _engine.block, _input)


def levels() -> int:
    """How many levels the book has, on both sides."""
    assert _engine is not None
    return sum(len(_engine.levels(side)[0]) for side in (0, 1))


def block_sha256() -> str:
    """The engine's state as one number; see `cwts.kernel`."""
    return _engine.block_sha256() if _engine is not None else hashlib.sha256().hexdigest()


def book_sha256() -> str:
    """The book as one number: prices and quantities as text, best first."""
    return _engine.book_sha256() if _engine is not None else hashlib.sha256().hexdigest()


# -- the networks over the whole recording; the GPU's side is web/gpu.js ----------------------------------------------

_history: tuple[NDArray[np.int64], NDArray[np.float32]] = (np.zeros(0, np.int64), np.zeros((0, 16), np.float32))
_history_weights = b""
_history_answers: NDArray[np.float32] = np.zeros((0, 5), np.float32)


def history_features(step_ms: int = 100) -> str:
    """Runs the mounted recording through an engine of its own, which takes a while, and keeps a row every `step_ms`.

    Returns JSON: `rows`, and the addresses of `times` (int64, ns), `features` (float32, 16 a row) and `weights` (three
    `cwts_network`, `weightBytes` long: those that the page's engine has loaded, otherwise the shipped ones). What lies
    there stays until the next call.
    """
    global _history, _history_weights
    from cwts.gpu.base import packed
    from cwts.gpu.history import features_on_grid
    from cwts.networks import load

    assert _engine is not None
    try:
        networks = _engine.view["networks"]
        _history_weights = networks["network"].tobytes() if networks["loaded"] else packed(load())
        fresh = Engine(_engine.view["config"].tobytes())
        _history = features_on_grid(Recording(FILE).batches(), fresh, step_ms)
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    times, features = _history
    return json.dumps(
        {
            "rows": len(times),
            "times": times.__array_interface__["data"][0],
            "features": features.__array_interface__["data"][0],
            "weights": np.frombuffer(_history_weights, np.uint8).__array_interface__["data"][0],
            "weightBytes": len(_history_weights),
        }
    )


def history_networks_simd() -> int:
    """The networks over the rows of `history_features`, by the kernel. Returns the address of float32, five a row."""
    global _history_answers
    from cwts.gpu.simd_host import SimdNetworks

    _history_answers = SimdNetworks().run(_history_weights, _history[1])
    return int(_history_answers.__array_interface__["data"][0])
