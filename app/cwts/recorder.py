"""Recordings of what an engine was fed: frames byte for byte, in groups that survive a crash.

Owns the file format `.cwts`. A file is a sequence of groups, each a zstd *skippable frame* (the group's header)
followed by an independent zstd frame (the group's content), so that `zstd -d` gives the plain frames back:

    skippable frame  u32 magic 0x184D2A57, u32 size 48; "CWTS", u32 kind, u64 sequence, u32 count (of frames),
                     u32 raw length, u32 packed length, u32 CRC-32 of the packed bytes, i64 first and last receive time
    zstd frame       kind 1: the description, a JSON object; kind 2: engine frames laid end to end; kind 3: a block

The first group is the description: exchange, symbol, instrument, and the engine's configuration, so that a replay is
the same run. In a file that begins in the middle of a session (it goes on where another ended, or somebody wanted the
recording only then), the second group is the engine's block as it was there: such a file can be replayed alone; a
replay of the whole folder passes over it. A group is written by one `write`; a tail that a crash tore fails its lengths
or CRC and is cut at the next start. A file is locked (`flock`) while it is written, so that another start in the same
folder leaves it alone. The page writes the same groups (`cwts.browser.Tape`).
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import os
import queue
import re
import struct
import sys
import threading
import time
import zlib
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from cwts import __version__
from cwts.errors import CwtsError, InputError
from cwts.instruments import Instrument
from cwts.jsontext import parse

try:
    import fcntl
except ImportError:  # Windows, Pyodide
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

File = TypeVar("File")

MAGIC = 0x184D2A57
SUFFIX = ".cwts"
HEADER = struct.Struct("<II4sIQIIIIqq")  # 56 bytes: 8 of the skippable frame, 48 of ours
FRAME = struct.Struct("<qIHH")
DESCRIPTION, FRAMES, STATE = 1, 2, 3

GROUP_BYTES = 256 << 10
GROUP_S = 1.0
FILE_BYTES = 512 << 20
FILE_S = 24 * 3600.0
MAX_RAW = 256 << 20  # a header that says more is damaged
MAX_BACKLOG = 256  # groups that may wait for the disk; then the feed waits too
SYNC_S = 10.0
LEVEL = 3  # of zstd


def is_frames(head: bytes) -> bool:
    """Whether a file that begins like this is a recording of frames."""
    return len(head) >= 12 and head[:4] == struct.pack("<I", MAGIC) and head[8:12] == b"CWTS"


@dataclass(frozen=True)
class Description:
    """What a recording says about itself."""

    exchange: str
    symbol: str
    instrument: Instrument | None
    config: bytes  # cwts_config
    settings: dict[str, Any]
    started_ns: int
    version: str = __version__

    def of(self, exchange: str, symbol: str) -> bool:
        """Whether this is the instrument; an empty name fits any."""
        return exchange in ("", self.exchange) and symbol.upper() in ("", self.symbol)

    def to_json(self) -> bytes:
        """As it lies in the file."""
        instrument = (
            {k: str(v) if isinstance(v, Decimal) else v for k, v in asdict(self.instrument).items()}
            if self.instrument
            else None
        )
        return json.dumps({
            "format": 1, "exchange": self.exchange, "symbol": self.symbol, "instrument": instrument,
            "config": base64.b64encode(self.config).decode(), "settings": self.settings, "started_ns": self.started_ns,
            "version": self.version,
        }, default=str).encode()  # fmt: skip

    @staticmethod
    def from_json(text: bytes, name: str) -> Description:
        """Raises InputError."""
        try:
            found = parse(text)
            raw = found["instrument"]
            instrument: Instrument | None = None
            if raw is not None:
                decimals = {"tick_size", "lot_size", "min_qty", "max_qty", "min_notional", "contract_size"}
                fields: dict[str, Any] = {k: Decimal(v) if k in decimals else v for k, v in raw.items()}
                instrument = Instrument(**fields)
            return Description(
                found["exchange"], found["symbol"], instrument, base64.b64decode(found["config"]), found["settings"],
                int(found["started_ns"]), str(found["version"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise InputError(f"{name}: the description cannot be read ({error!r})") from error


# -- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """One group of a file."""

    kind: int
    sequence: int
    count: int
    first_ns: int
    last_ns: int
    data: bytes
    end: int  # offset behind it


def groups(file: BinaryIO) -> Iterator[Group]:
    """The whole groups of a file; ends silently at its end or at the first group that is torn or damaged."""
    unpack, _ = _zstd()
    position = 0
    while True:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            return
        magic, size, mark, kind, sequence, count, raw, packed, crc, first_ns, last_ns = HEADER.unpack(head)
        if magic != MAGIC or size != HEADER.size - 8 or mark != b"CWTS" or raw > MAX_RAW or packed > MAX_RAW:
            return
        body = file.read(packed)
        if len(body) < packed or zlib.crc32(body) != crc:
            return
        data = unpack(body, raw)
        if len(data) != raw:
            return
        position += HEADER.size + packed
        yield Group(kind, sequence, count, first_ns, last_ns, data, position)


@dataclass(frozen=True)
class Check:
    """What a pass over a file found."""

    groups: int
    frames: int
    good_bytes: int
    torn_bytes: int
    first_ns: int
    last_ns: int


def check(path: Path) -> Check:
    """Reads a file through. Raises InputError."""
    count = frames = good = first = last = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # before reading: what is written meanwhile is not torn
            for group in groups(file):
                count += 1
                good = group.end
                if group.kind == FRAMES:
                    frames += group.count
                    first = first or group.first_ns
                    last = group.last_ns
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return Check(count, frames, good, max(0, size - good), first, last)


def repair(folder: Path) -> list[str]:
    """Cuts the torn tails that a crash left in a folder; one line about each. Raises InputError.

    A file that someone is still writing is left alone: what looks torn is a group on its way.
    """
    lines = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            with path.open("rb") as file:
                if not _lock(file, wait=False):
                    continue
                found = check(path)
                if not found.torn_bytes:
                    continue
                if found.groups == 0:
                    lines.append(f"{path.name}: nothing in it is whole; left as it is")
                    continue
                os.truncate(path, found.good_bytes)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        lines.append(f"{path.name}: a torn tail of {found.torn_bytes:,} bytes was cut; {found.frames:,} frames remain")
    return lines


def _lock(file: BinaryIO, *, wait: bool) -> bool:
    """Locks a file until it is closed. False where someone else holds it; True too where there are no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def parts(path: Path) -> list[Path]:
    """The files of a recording: itself, or all in a folder, oldest first. Raises InputError."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        raise InputError(f"{path}: no recordings (*{SUFFIX}) in this folder")
    return found


class FrameRecording:
    """A recording of frames on disk or in memory. `torn_bytes`: left out at the end by the newest pass."""

    def __init__(self, source: Path | bytes | memoryview, name: str = "") -> None:
        self._source = source
        self.name = name or (str(source) if isinstance(source, Path) else "recording")
        self.torn_bytes = 0

    def _files(self) -> Iterator[tuple[str, BinaryIO, int]]:
        if isinstance(self._source, Path):
            for path in parts(self._source):
                try:
                    with path.open("rb") as file:
                        yield str(path), file, path.stat().st_size
                except OSError as error:
                    raise InputError(f"{path}: {error.strerror or error}") from error
        else:
            import io

            data = bytes(self._source)
            yield self.name, io.BytesIO(data), len(data)

    def instruments(self, exchange: str = "", symbol: str = "") -> list[tuple[str, str]]:
        """Exchange and symbol of each instrument in it that these fit. Raises InputError."""
        found = set()
        for name, file, _ in self._files():
            first = next(groups(file), None)
            if first is not None and first.kind == DESCRIPTION:
                description = Description.from_json(first.data, name)
                if description.of(exchange, symbol):
                    found.add((description.exchange, description.symbol))
        return sorted(found)

    def describe(self, exchange: str = "", symbol: str = "") -> Description:
        """The description, of an instrument where a folder holds several. Raises InputError."""
        for name, file, _ in self._files():
            for group in groups(file):
                if group.kind != DESCRIPTION:
                    break
                found = Description.from_json(group.data, name)
                if found.of(exchange, symbol):
                    return found
                break
        wanted = " ".join(filter(None, (exchange, symbol.upper())))
        raise InputError(f"{self.name}: {'no recording of ' + wanted if wanted else 'no description'} in it")

    def state(self, exchange: str = "", symbol: str = "") -> bytes | None:
        """The engine's block where the recording begins, if that is in the middle of a session."""
        for name, file, _ in self._files():
            ours = False
            for group in groups(file):
                if group.kind == DESCRIPTION:
                    ours = Description.from_json(group.data, name).of(exchange, symbol)
                elif ours:
                    return group.data if group.kind == STATE else None
                if not ours:
                    break
        return None

    def batches(self, exchange: str = "", symbol: str = "") -> Iterator[bytearray]:
        """The frames as they were fed, group by group."""
        self.torn_bytes = 0
        for name, file, size in self._files():
            ours, end = True, 0
            for group in groups(file):
                end = group.end
                if group.kind == DESCRIPTION:
                    ours = Description.from_json(group.data, name).of(exchange, symbol)
                elif group.kind == FRAMES and ours:
                    yield bytearray(group.data)
                if not ours:
                    break
            else:
                self.torn_bytes += size - end


def lines(batches: Iterator[bytearray]) -> Iterator[list[bytes]]:
    """Frames as lines `<recv_ns> <raw json>`: the exchange's messages, without timers and commands."""
    for batch in batches:
        found = []
        view, at = memoryview(batch), 0
        while at < len(view):
            ns, length, _, kind = FRAME.unpack_from(view, at)
            start = at + FRAME.size
            if kind == 0:
                found.append(b"%d %s" % (ns, bytes(view[start : start + length]).replace(b"\n", b" ")))
            at = start + (length + 7 & ~7)
        yield found


def count_messages(batch: bytes | bytearray) -> int:
    """How many of a batch's frames are messages: the lines that `lines` makes of it."""
    count = at = 0
    while at < len(batch):
        _, length, _, kind = FRAME.unpack_from(batch, at)
        count += kind == 0
        at += FRAME.size + (length + 7 & ~7)
    return count


# -- writing --------------------------------------------------------------------------------------------------------


def name_of(description: Description) -> str:
    """What the files of a recording that begins now are called, without number and suffix."""
    name = re.sub(r"[^a-z0-9_-]", "-", f"{description.exchange}-{description.symbol}".lower())
    return f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def group_of(kind: int, sequence: int, raw: int, packed: bytes, count: int, first_ns: int, last_ns: int) -> bytes:
    """A group as it lies in the file. `raw`: the length of what was packed; `count`, first and last: of its frames."""
    head = HEADER.pack(
        MAGIC, HEADER.size - 8, b"CWTS", kind, sequence, count, raw, len(packed), zlib.crc32(packed), first_ns, last_ns
    )
    return head + packed


class Packer:
    """Packs a group's content a piece at a time: a piece costs what it is long, and the end of the group little."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._piece, self._end = _zstd_in_pieces()

    def piece(self, data: bytes | memoryview) -> None:
        """Goes on with the group."""
        self._parts.append(self._piece(data))

    def end(self) -> bytes:
        """The packed group; what comes then is another one."""
        packed = b"".join((*self._parts, self._end()))
        self._parts.clear()
        return packed


class Recorder:
    """Writes one instrument's frames to a folder. `tap` takes a batch; a thread packs and writes it.

    A group is written when it is full or a second old, so a crash loses at most what came after the last one. If the
    disk cannot follow, `tap` waits (and counts it in `waits`): nothing is left out. `state`: the engine's block, which
    each further file begins with; it is asked for in `tap`, before the batch is fed.
    """

    def __init__(
        self,
        folder: Path,
        description: Description,
        *,
        state: Callable[[], bytes] | None = None,
        group_bytes: int = GROUP_BYTES,
        group_s: float = GROUP_S,
        file_bytes: int = FILE_BYTES,
        file_s: float = FILE_S,
    ) -> None:
        self.folder = folder
        self.description = description
        self.files: list[Path] = []
        self.written_bytes = 0
        self.written_frames = 0
        self.waits = 0
        self.error = ""
        self._group_bytes, self._group_s = group_bytes, group_s
        self._file_bytes, self._file_s = file_bytes, file_s
        self._pending = bytearray()
        self._since = 0.0
        self._state = state
        self._due = False  # the thread wants to begin a new file
        self._turning = False  # … and is on its way to it
        self._queue: queue.Queue[tuple[int, bytes] | None] = queue.Queue(MAX_BACKLOG)
        self._file: BinaryIO | None = None
        self._opened = self._synced = 0.0
        self._sequence = 0
        self._file_size = 0
        _, self._pack = _zstd()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise InputError(f"{folder}: recordings cannot be written there ({error.strerror or error})") from error
        self._thread = threading.Thread(target=self._work, name="cwts-recorder", daemon=True)
        self._thread.start()

    def tap(self, batch: memoryview | bytes | bytearray) -> None:
        """Takes a batch of frames, before the engine gets it."""
        if self._due and not self._turning and self._state is not None:
            self._turning = True
            self.flush()
            if self._alive():
                self._queue.put((STATE, self._state()))
        if not self._pending:
            self._since = time.monotonic()
        self._pending += batch
        if len(self._pending) >= self._group_bytes:
            self.flush()

    def tick(self) -> None:
        """Call it a few times a second: lets go of a group that is old."""
        if self._pending and time.monotonic() - self._since >= self._group_s:
            self.flush()

    def flush(self) -> None:
        """Hands what waits to the thread."""
        if not self._pending:
            return
        group, self._pending = bytes(self._pending), bytearray()
        if self._queue.full():
            self.waits += 1
        if self._alive():
            self._queue.put((FRAMES, group))

    def close(self) -> None:
        """Writes everything and closes the file. Raises CwtsError where something could not be written."""
        self.flush()
        if self._file is not None:
            if self._alive():
                self._queue.put(None)
                self._thread.join()
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self.error = self.error or _stopped(self.folder, error)
        if self.error:
            raise CwtsError(self.error)

    def _alive(self) -> bool:
        """Whether the thread is there to write; it is an error if not."""
        if alive := self._thread.is_alive():
            return alive
        self.error = self.error or f"{self.folder}: the recording stopped"
        return False

    # -- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                kind, data = item
                if kind == STATE:
                    self._open()
                    self._due = self._turning = False
                self._write(kind, data)
                now = time.monotonic()
                if self._file_size >= self._file_bytes or now - self._opened >= self._file_s:
                    if self._state is None:
                        self._open()
                    else:
                        self._due = True
                elif now - self._synced >= SYNC_S and self._file is not None:
                    self._synced = now
                    os.fsync(self._file.fileno())
            if self._file is not None:
                os.fsync(self._file.fileno())
        except Exception as error:  # noqa: BLE001 - whatever it dies of, a run must not go on unrecorded
            self.error = _stopped(self.folder, error)
            while self._queue.get() is not None:  # so that nobody waits for us for ever
                pass

    def _open(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
        name = name_of(self.description)
        numbered = (self.folder / f"{name}-{number:04}{SUFFIX}" for number in itertools.count(len(self.files)))
        path, file = _first_free(numbered, _appending)
        self._file = file
        _lock(file, wait=True)
        self.files.append(path)
        self._opened = self._synced = time.monotonic()
        self._file_size = 0
        self._write(DESCRIPTION, self.description.to_json())

    def _write(self, kind: int, data: bytes) -> None:
        assert self._file is not None
        count, first, last = _span(data) if kind == FRAMES else (0, 0, 0)
        group = group_of(kind, self._sequence, len(data), self._pack(data), count, first, last)
        self._sequence += 1
        view = memoryview(group)
        while view:
            view = view[self._file.write(view) :]
        self._file_size += len(group)
        self.written_bytes += len(group)
        self.written_frames += count


class LineRecorder:
    """Writes one instrument's messages as lines `<recv_ns> <raw json>`, gzipped: for other tools."""

    def __init__(self, folder: Path, description: Description) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            name = name_of(description)
            further = (folder / f"{name}-{number:04}.gz" for number in itertools.count(1))
            path, self._file = _first_free(itertools.chain([folder / f"{name}.gz"], further), _packing)
        except OSError as error:
            raise InputError(f"{folder}: recordings cannot be written there ({error.strerror or error})") from error
        self.files = [path]
        self._folder = folder
        self.written_frames = 0
        self.written_bytes = 0
        self.waits = 0
        self._flushed = time.monotonic()

    def tap(self, batch: memoryview | bytes | bytearray) -> None:
        """Takes a batch of frames. Raises CwtsError."""
        with self._told():
            for found in lines(iter([bytearray(batch)])):
                for line in found:
                    self.written_frames += 1
                    self.written_bytes += self._file.write(line + b"\n")

    def tick(self) -> None:
        """Lets what is a second old reach the disk. Raises CwtsError."""
        if time.monotonic() - self._flushed > GROUP_S:
            self._flushed = time.monotonic()
            with self._told():
                self._file.flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> None:
        """Closes the file. Raises CwtsError."""
        with self._told():
            self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A disk that does not take it is one line."""
        try:
            yield
        except OSError as error:
            raise CwtsError(_stopped(self._folder, error)) from error


def export(source: Path, target: BinaryIO | gzip.GzipFile, exchange: str = "", symbol: str = "") -> int:
    """Writes a recording of frames as lines `<recv_ns> <raw json>`; returns how many.

    Raises InputError, also where a folder holds several instruments that `exchange` and `symbol` fit.
    """
    recording = FrameRecording(source)
    recording.describe(exchange, symbol)
    fitting = recording.instruments(exchange, symbol)
    if len(fitting) > 1:
        raise InputError(f"{source}: which of {', '.join(map(' '.join, fitting))}? Say --exchange and --symbol")
    count = 0
    for found in lines(recording.batches(exchange, symbol)):
        for line in found:
            target.write(line + b"\n")
            count += 1
    return count


def _first_free(paths: Iterable[Path], make: Callable[[Path], File]) -> tuple[Path, File]:
    """Makes the first of these files that is not there yet: another process may choose a name at the same moment.

    `make` raises FileExistsError where the file is there.
    """
    for path in paths:
        with contextlib.suppress(FileExistsError):
            return path, make(path)
    raise AssertionError("the names do not end")


def _appending(path: Path) -> BinaryIO:
    """A new file. Whatever happens to it meanwhile, a group goes to its end and leaves no hole."""
    return open(path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_APPEND, 0o666))


def _packing(path: Path) -> gzip.GzipFile:
    """A new file that packs what is written to it."""
    return gzip.open(path, "xb", compresslevel=6)


def _stopped(folder: Path, error: Exception) -> str:
    why = (error.strerror or error) if isinstance(error, OSError) else f"{type(error).__name__} {error}".strip()
    return f"{folder}: the recording stopped: {why}"


def _span(data: bytes) -> tuple[int, int, int]:
    """How many frames, the first and the last receive time."""
    at = count = first = last = 0
    while at < len(data):
        last, length, _, _ = FRAME.unpack_from(data, at)
        first = first or last
        at += FRAME.size + (length + 7 & ~7)
        count += 1
    return count, first, last


def _zstd() -> tuple[Callable[[bytes, int], bytes], Callable[[bytes], bytes]]:
    """Unpack(data, raw length) and pack(data), of whichever zstd there is; damage unpacks to nothing."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        def unpack_new(data: bytes, raw: int) -> bytes:
            del raw
            try:
                return zstd.decompress(data)
            except zstd.ZstdError:
                return b""

        return unpack_new, lambda data: zstd.compress(data, LEVEL)
    try:
        import zstandard
    except ImportError as error:
        raise CwtsError("recordings of frames need the package zstandard (or Python 3.14)") from error
    packer, unpacker = zstandard.ZstdCompressor(level=LEVEL), zstandard.ZstdDecompressor()

    def unpack_old(data: bytes, raw: int) -> bytes:
        try:
            return unpacker.decompress(data, max_output_size=max(raw, 1))
        except zstandard.ZstdError:
            return b""

    return unpack_old, packer.compress


def _zstd_in_pieces() -> tuple[Callable[[bytes | memoryview], bytes], Callable[[], bytes]]:
    """Go on with a zstd frame, and end it."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        packer = zstd.ZstdCompressor(LEVEL)
        return lambda data: packer.compress(data, packer.FLUSH_BLOCK), packer.flush
    import zstandard

    made = zstandard.ZstdCompressor(level=LEVEL)
    open_frame: list[Any] = []

    def piece(data: bytes | memoryview) -> bytes:
        if not open_frame:
            open_frame.append(made.compressobj())
        return bytes(open_frame[0].compress(data) + open_frame[0].flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    return piece, lambda: bytes((open_frame.pop() if open_frame else made.compressobj()).flush())
