"""The Python side of the page's engine worker: one engine, one input buffer, and answers as JSON text.

Bytes cross by address: the worker writes frames and recordings straight into buffers allocated here and reads the block in
place, so no message ever becomes a Python object. `web/workers/engine.js` is the only caller.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from cwts.errors import CwtsError
from cwts.kernel import Engine
from cwts.recording import Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

INPUT_BYTES = 4 << 20  # as large as the ring in web/ring.js, so that one drain always fits

_input: NDArray[np.uint8] = np.zeros(INPUT_BYTES, np.uint8)
_upload: NDArray[np.uint8] = np.zeros(0, np.uint8)
_large: NDArray[np.uint8] = np.zeros(0, np.uint8)
_engine: Engine | None = None
_text: Iterator[bytes] | None = None


class _Watched(Recording):
    """A recording that tells how much of it a pass has read."""

    watch: Callable[[float], None] | None = None

    def _text(self) -> Iterator[bytes]:
        for piece in super()._text():
            if self.watch is not None:
                self.watch(self.bytes_read / max(self.bytes_total, 1))
            yield piece


def _address(array: NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def input_address() -> int:
    """Where the worker writes frames; `INPUT_BYTES` long."""
    return _address(_input)


def upload_address(size: int) -> int:
    """Room for a recording's bytes as they are in the file."""
    global _upload
    _upload = np.zeros(size, np.uint8)
    return _address(_upload)


def open_recording(name: str, exchange: str, symbol: str, watch: Callable[[float], None]) -> str:
    """Surveys the uploaded recording and makes the engine for it, as `cwts replay` would. Returns what the page shows."""
    global _engine, _text
    try:
        recording = _Watched(_upload.data, name=name)
        recording.watch = watch
        setup = prepare(recording, exchange, symbol)
        _engine = Engine(setup.config)
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    _text = None
    found = {
        "survey": asdict(setup.survey),
        "instrument": asdict(setup.instrument),
        "notes": setup.notes,
        "block": _address(_engine.block),
        "blockBytes": _engine.block.nbytes,
    }
    return json.dumps(found, default=str)


def rewind() -> None:
    """Starts `next_text` at the beginning of the uploaded recording."""
    global _text
    recording = Recording(_upload.data)
    _text = recording._text()  # noqa: SLF001


def next_text() -> bytes | None:
    """The next decompressed piece of the upload, for compressions that the browser does not have; None at the end."""
    return next(_text, None) if _text is not None else None


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


def feed(size: int) -> int:
    """Feeds the first `size` bytes of the input buffer; returns the kernel's event bits."""
    assert _engine is not None
    return _engine.feed(_input[:size])


def block_sha256() -> str:
    """The engine's state as one number; see `cwts.kernel`."""
    return _engine.block_sha256() if _engine is not None else hashlib.sha256().hexdigest()


def book_sha256() -> str:
    """The book as one number: prices and quantities as text, best first."""
    return _engine.book_sha256() if _engine is not None else hashlib.sha256().hexdigest()
