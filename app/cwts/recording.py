"""Recordings: lines `<recv_ns> <raw json>`, compressed with gzip or zstd or plain, read as batches of engine frames.

Owns the file format and the first pass that finds an instrument's decimals. What messages mean is the kernel's.
"""

from __future__ import annotations

import io
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from cwts.errors import CwtsError, InputError
from cwts.recorder import FrameRecording, is_frames
from cwts.recorder import lines as frame_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cwts.recorder import Description

FRAME = struct.Struct("<qIHH")  # cwts_frame: recv_ns, length, stream, kind
FRAME_RAW = 0

EXCHANGES = ("binance", "binance-usdm", "binance-coinm", "okx")
MAX_LINE = 16 << 20  # a longer line is no message of any exchange: it is counted and skipped
MAX_DECIMALS = 12  # what the kernel can hold
MAX_DIGITS = 18  # so that every number fits int64

_READ = 256 << 10
_ZSTD_READ = 128  # at most 128 kB come out of 4 bytes, so this bounds what one step can produce to 4 MB
_CHUNK = 1 << 20
_MAX_NS = (1 << 63) - 1
_PADDING = tuple(bytes(n) for n in range(8))
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LINE_START = re.compile(rb"^[0-9]{1,19} ", re.MULTILINE)


class _Decompressor(Protocol):
    """What `zlib`, `zstandard` and `compression.zstd` have in common."""

    def decompress(self, data: bytes, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


@dataclass(frozen=True)
class Survey:
    """What a first pass over a recording found out about one instrument."""

    exchange: str
    symbol: str  # as the exchange writes it
    lines: int  # with a timestamp
    malformed: int  # without one, or too long
    messages: int  # of this symbol
    price_decimals: int  # the most significant decimals of any price in the book, trades and best quotes
    qty_decimals: int
    reference_price: Decimal | None  # the first price seen: turns shares of the price into ticks
    first_ns: int
    last_ns: int


class Recording:
    """A recording on disk (`str` or path) or in memory (`bytes`), which can be read again and again.

    `malformed` counts the lines that the newest pass left out: no `<recv_ns> ` in front, or longer than `max_line`.
    """

    def __init__(self, source: str | Path | bytes | memoryview, *, name: str = "", max_line: int = MAX_LINE) -> None:
        self._source = source
        self.name = name or (str(source) if isinstance(source, str | Path) else "recording")
        self.max_line = max_line
        self.malformed = 0
        self.bytes_read = 0  # compressed, in the newest pass: for progress
        self.bytes_total = len(source) if isinstance(source, bytes | memoryview) else 0
        self.torn_bytes = 0  # of a recording of frames: what a crash left at its end
        self._instrument = "", ""  # exchange and symbol, of a recording of frames

    # -- recordings of frames, see cwts.recorder --------------------------------------------------------------------

    def _as_frames(self) -> FrameRecording | None:
        """This recording, if it is one of frames: a file of them, or a folder of such files."""
        source = Path(self._source) if isinstance(self._source, str) else self._source
        if isinstance(source, Path):
            if source.is_dir():
                return FrameRecording(source, self.name)
            with self._open() as file:
                head = file.read(16)
        else:
            head = bytes(source[:16])
        return FrameRecording(source, self.name) if is_frames(head) else None

    def description(self, exchange: str, symbol: str) -> Description | None:
        """What a recording of frames says about itself; None for lines. Raises InputError."""
        frames = self._as_frames()
        if frames is None:
            return None
        there = frames.describe().exchange
        if exchange not in {there, *(each for each, _ in frames.instruments())}:
            raise InputError(f"{self.name}: this is no recording of {exchange}: it is one of {there}")
        found = frames.describe(exchange, symbol)
        self._instrument = found.exchange, found.symbol
        return found

    def state(self) -> bytes | None:
        """The engine's block where a recording of frames begins, if that is in the middle of a session."""
        frames = self._as_frames()
        return frames.state(*self._instrument) if frames is not None else None

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _open(self) -> BinaryIO:
        if isinstance(self._source, bytes | memoryview):
            return io.BytesIO(self._source)
        path = Path(self._source)
        try:
            file = path.open("rb")
            self.bytes_total = path.stat().st_size
        except OSError as error:
            raise InputError(f"{self.name}: {error.strerror or error}") from error
        return file

    def _text(self) -> Iterator[bytes]:
        """Decompressed pieces of a bounded size."""
        self.bytes_read = 0
        with self._open() as file:

            def read(size: int) -> bytes:
                try:
                    data = file.read(size)
                except OSError as error:
                    raise InputError(f"{self.name}: {error.strerror or error}") from error
                self.bytes_read += len(data)
                return data

            head = read(_READ)
            if not head:
                raise InputError(f"{self.name}: the file is empty")
            if head.startswith(_GZIP_MAGIC):
                yield from self._gzip(head, read)
            elif head.startswith(_ZSTD_MAGIC):
                yield from self._zstd(head, read)
            else:
                hint = ": compress it with gzip first" if _LINE_START.search(head) else ""
                raise InputError(f"{self.name}: expected a recording compressed by gzip or zstd, this is neither{hint}")

    def _gzip(self, data: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
        member = zlib.decompressobj(31)
        try:
            while True:
                while data and not member.eof:
                    yield member.decompress(data, _CHUNK)
                    data = member.unconsumed_tail
                if member.eof:  # another member may follow, or zeros that pad
                    data = (data or member.unused_data).lstrip(b"\0")
                    while not data:
                        if not (data := read(_READ)):
                            return
                        data = data.lstrip(b"\0")
                    if not data.startswith(_GZIP_MAGIC[: len(data)]):
                        raise InputError(f"{self.name}: bytes that are not gzip follow the compressed data")
                    member = zlib.decompressobj(31)
                elif not (data := read(_READ)):
                    yield member.flush()
                    if not member.eof:
                        raise InputError(f"{self.name}: the gzip file is truncated")
        except zlib.error as error:
            raise InputError(f"{self.name}: the gzip data is damaged ({error})") from error

    def _zstd(self, head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
        new, errors = _zstd_module()
        frame = new()
        fresh = False
        try:
            while head:
                for start in range(0, len(head), _ZSTD_READ):
                    data = head[start : start + _ZSTD_READ]
                    while data:
                        fresh = False
                        yield frame.decompress(data)
                        data = b""
                        if frame.eof:
                            data, frame, fresh = frame.unused_data, new(), True
                head = read(_READ)
        except errors as error:
            raise InputError(f"{self.name}: the zstd data is damaged ({error})") from error
        if not fresh:
            raise InputError(f"{self.name}: the zstd file is truncated")

    def _lines(self) -> Iterator[list[bytes]]:
        """Lists of lines, without their ends. A line longer than `max_line` is counted and never held whole."""
        self.malformed = 0
        if frames := self._as_frames():
            yield from frame_lines(frames.batches(*self._instrument))
            self.torn_bytes = frames.torn_bytes
            return
        rest = b""
        pieces: list[bytes] = []
        held = 0
        skipping = False
        for text in self._text():
            end = text.rfind(b"\n")
            if end < 0:
                if not skipping:
                    pieces.append(text)
                    held += len(text)
                    if held > self.max_line:
                        skipping, pieces, held = True, [], 0
                        self.malformed += 1
                continue
            block = text[:end]
            if skipping:
                skipping = False
                first = text.find(b"\n")
                block = text[first + 1 : end] if first < end else b""
            elif pieces:
                pieces.append(block)
                block = b"".join(pieces)
            rest = text[end + 1 :]
            pieces, held = ([rest], len(rest)) if rest else ([], 0)
            lines = block.split(b"\n")
            if len(block) > self.max_line:  # only then can a line in it be too long
                kept = [line for line in lines if len(line) <= self.max_line]
                self.malformed += len(lines) - len(kept)
                lines = kept
            yield lines
        if held > self.max_line:
            self.malformed += 1
        elif pieces:
            yield [b"".join(pieces)]

    # -- frames -----------------------------------------------------------------------------------------------------

    def batches(self, *, stream: int = 0) -> Iterator[bytearray]:
        """Frames laid end to end, about a megabyte at a time; ready for `Engine.feed`."""
        if frames := self._as_frames():
            yield from frames.batches(*self._instrument)
            return
        pack, padding = FRAME.pack, _PADDING
        for lines in self._lines():
            parts: list[bytes] = []
            add = parts.append
            for line in lines:
                stamp, space, raw = line.partition(b" ")
                if not (space and stamp.isdigit() and len(stamp) < 20 and (ns := int(stamp)) <= _MAX_NS):
                    if line.strip():
                        self.malformed += 1
                    continue
                if raw.endswith(b"\r"):
                    raw = raw[:-1]
                length = len(raw)
                add(pack(ns, length, stream, FRAME_RAW))
                add(raw)
                if length & 7:
                    add(padding[-length & 7])
            if parts:
                yield bytearray().join(parts)

    # -- the first pass ---------------------------------------------------------------------------------------------

    def survey(self, exchange: str, symbol: str) -> Survey:
        """Finds the decimals of `symbol`'s prices and quantities, and whether the recording is what it is said to be.

        Raises InputError for a recording of another exchange or one without the symbol.
        """
        if exchange not in EXCHANGES:
            raise InputError(f"unknown exchange {exchange!r}: expected one of {', '.join(EXCHANGES)}")
        sieve: _OkxSieve | _BinanceSieve = (_OkxSieve if exchange == "okx" else _BinanceSieve)(symbol.upper())
        lines_seen = 0
        first_ns = last_ns = 0
        for lines in self._lines():
            good = [line for line in lines if _LINE_START.match(line)]
            self.malformed += sum(1 for line in lines if line.strip()) - len(good)
            if good:
                lines_seen += len(good)
                first_ns = first_ns or int(good[0].partition(b" ")[0])
                last_ns = int(good[-1].partition(b" ")[0])
                sieve.add(good)
        if not lines_seen:
            raise InputError(f"{self.name}: no line has the form '<recv_ns> <json>'")
        if looks := sieve.other_exchange(exchange):
            raise InputError(f"{self.name}: this is no recording of {exchange}: it looks like {looks}")
        if not sieve.messages:
            seen = ", ".join(sorted(sieve.others)[:20]) or "none"
            more = f" and {len(sieve.others) - 20} more" if len(sieve.others) > 20 else ""
            raise InputError(f"{self.name}: no message of symbol {symbol.upper()}; symbols in it: {seen}{more}")
        return Survey(
            exchange=exchange,
            symbol=symbol.upper(),
            lines=lines_seen,
            malformed=self.malformed,
            messages=sieve.messages,
            price_decimals=sieve.price_decimals,
            qty_decimals=sieve.qty_decimals,
            reference_price=sieve.reference_price,
            first_ns=first_ns,
            last_ns=last_ns,
        )


def _zstd_module() -> tuple[Callable[[], _Decompressor], type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor, zstd.ZstdError
    try:
        import zstandard
    except ImportError as error:
        raise CwtsError("zstd recordings need the package zstandard (or Python 3.14)") from error
    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


class _Decimals:
    """The most significant decimals among the numbers that follow a prefix.

    The search is for numbers with *more* decimals than known so far, so a text is searched about once and no number in
    it is taken apart. A number that no int64 could hold belongs to a malformed message and is passed over.
    """

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._first = re.compile(prefix + rb'"(0*[1-9][0-9]{0,17}(?:\.[0-9]{0,18})?|0+\.0*[1-9][0-9]{0,17})"')
        self._more = self._search(0)
        self.most = 0
        self.first = b""

    def _search(self, most: int) -> re.Pattern[bytes]:
        return re.compile(self._prefix + rb'"([0-9]+)\.([0-9]{%d,%d}[1-9])0*"' % (most, MAX_DECIMALS - 1))

    def scan(self, text: bytes) -> None:
        if not self.first and (first := self._first.search(text)):
            self.first = first[1]
        start = 0
        while self.most < MAX_DECIMALS and (match := self._more.search(text, start)):
            start = match.end()
            if len(match[1].lstrip(b"0")) + len(match[2]) <= MAX_DIGITS:
                self.most = len(match[2])
                self._more = self._search(self.most)


class _Sieve:
    """Which of a recording's lines concern one symbol, and the decimals in them."""

    def __init__(self, symbol: str, fields: tuple[bytes, ...], price_keys: bytes, qty_keys: bytes) -> None:
        self._plain = b'"%s":"%s"' % (fields[0], symbol.encode())
        self._spaced = re.compile(rb'"(?:%s)"\s*:\s*"%s"' % (b"|".join(fields), re.escape(symbol.encode())))
        self._level = _Decimals(rb"\[\s*"), _Decimals(rb'\[\s*"[0-9.]+"\s*,\s*')
        self._key = _Decimals(rb'"%s"\s*:\s*' % price_keys), _Decimals(rb'"%s"\s*:\s*' % qty_keys)
        self.messages = 0
        self.others: set[str] = set()

    def _scan(self, levels: list[bytes], keys: list[bytes]) -> None:
        for lines, searches in ((levels, self._level), (keys, self._key)):
            text = b"\n".join(lines)
            for search in searches:
                search.scan(text)

    @property
    def price_decimals(self) -> int:
        return max(self._level[0].most, self._key[0].most)

    @property
    def qty_decimals(self) -> int:
        return max(self._level[1].most, self._key[1].most)

    @property
    def reference_price(self) -> Decimal | None:
        """A price at which the instrument traded or was quoted, or any level if there was neither."""
        first = self._key[0].first or self._level[0].first
        return Decimal(first.decode()) if first else None


class _BinanceSieve(_Sieve):
    """Binance: `s` names the symbol; depth has levels, trades `p` and `q`, best quotes `b B a A`."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol, (b"s", b"symbol"), b"[pab]", b"[qAB]")
        self._symbol = symbol
        self._futures = self._spot = self._okx = 0

    def add(self, lines: list[bytes]) -> None:
        levels: list[bytes] = []
        keys: list[bytes] = []
        plain, spaced = self._plain, self._spaced
        for line in lines:
            if plain in line or spaced.search(line):
                self.messages += 1
                if b'"depthUpdate"' in line:
                    self._futures += b'"pu"' in line
                    self._spot += b'"pu"' not in line
                    levels.append(line)
                elif b'"bookTicker"' in line or b'"trade"' in line or b'"aggTrade"' in line:
                    keys.append(line)
                elif b'"lastUpdateId"' in line:
                    levels.append(line)
                elif not _EVENT.search(line):  # mark prices, candles and so on have decimals of their own
                    keys.append(line)
            elif match := _BINANCE_SYMBOL.search(line):
                self.others.add(match[1].decode())
                if b'"depthUpdate"' in line:
                    self._futures += b'"pu"' in line
                    self._spot += b'"pu"' not in line
            elif b'"lastUpdateId"' in line:
                levels.append(line)  # a REST snapshot names no symbol on spot and USD-M
            elif _OKX_SYMBOL.search(line):
                self._okx += 1
        self._scan(levels, keys)

    def other_exchange(self, exchange: str) -> str:
        """The exchange that the recording seems to come from, if it is not `exchange`."""
        if self._okx and not (self.messages or self.others):
            return "okx"
        symbols = {self._symbol} if self.messages else self.others
        if self._futures and not self._spot:
            looks = "binance-coinm" if all(_COINM.fullmatch(symbol) for symbol in symbols) else "binance-usdm"
        elif self._spot and not self._futures:
            looks = "binance"
        else:
            return ""
        return looks if looks != exchange else ""


class _OkxSieve(_Sieve):
    """OKX: `instId` names the instrument; books have levels, trades `px` and `sz`."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol, (b"instId",), b"px", b"sz")
        self._binance: list[bytes] = []

    def add(self, lines: list[bytes]) -> None:
        levels: list[bytes] = []
        keys: list[bytes] = []
        plain, spaced = self._plain, self._spaced
        for line in lines:
            if plain in line or spaced.search(line):
                if b'"data"' not in line:
                    continue  # the answer to a subscription
                self.messages += 1
                if match := _OKX_CHANNEL.search(line):
                    (keys if match[1] == b"trades" else levels).append(line)
            elif match := _OKX_SYMBOL.search(line):
                self.others.add(match[1].decode())
            elif len(self._binance) < 1000 and _BINANCE_SYMBOL.search(line):
                self._binance.append(line)
        self._scan(levels, keys)

    def other_exchange(self, exchange: str) -> str:
        """The exchange that the recording seems to come from, if it is not `exchange`."""
        if self.messages or self.others or not self._binance:
            return ""
        binance = _BinanceSieve("")
        binance.add(self._binance)
        return binance.other_exchange(exchange) or "binance"


_EVENT = re.compile(rb'"e"\s*:\s*"')
_BINANCE_SYMBOL = re.compile(rb'"s(?:ymbol)?"\s*:\s*"([A-Za-z0-9_]+)"')
_COINM = re.compile(r"[A-Z0-9]+USD_(?:PERP|[0-9]{6})")
_OKX_SYMBOL = re.compile(rb'"instId"\s*:\s*"([^"]+)"')
_OKX_CHANNEL = re.compile(rb'"channel"\s*:\s*"(books|bbo-tbt|trades)')


def payloads(frames: bytes | bytearray | memoryview) -> Iterable[tuple[int, memoryview]]:
    """The (recv_ns, payload) of each frame in a batch."""
    view = memoryview(frames)
    position = 0
    while position < len(view):
        ns, length, _, _ = FRAME.unpack_from(view, position)
        start = position + FRAME.size
        yield ns, view[start : start + length]
        position = start + (length + 7 & ~7)
