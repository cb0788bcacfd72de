"""The recordings as one sequence of messages, each with its exchange and symbol and the moment it is due.

Owns reading, merging and telling the protocols apart. Where the recordings of a run lie far apart in time, they are
laid side by side; where they overlap or follow one another, their own distances are kept.
"""

from __future__ import annotations

import heapq
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.errors import InputError
from cwts.recording import Recording, payloads
from cwts.simulator.book import are_levels, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOUR = 3600 * 10**9
_SURVEY_NS = 20 * 10**9  # of a recording are read ahead to learn its symbols …
_SURVEY_LINES = 50_000  # … or this many lines
_COINM = re.compile(r"[A-Z0-9]+USD_(?:PERP|[0-9]{6})")

# Book channels of OKX, finest first: only the finest that was recorded moves the exchange's own book.
OKX_BOOKS = ("books-l2-tbt", "books", "books50-l2-tbt", "books5")


@dataclass(slots=True)
class Message:
    """One recorded message of one symbol."""

    ns: int  # when it was received
    exchange: str
    symbol: str
    kind: str  # the event's name (Binance), the channel's (OKX), or "snapshot" for an answer to a depth request
    raw: bytes  # the exchange's own JSON, out of any envelope
    data: dict[str, Any]  # the same, parsed


@dataclass
class Seen:
    """What the read-ahead found out about one symbol."""

    exchange: str
    symbol: str
    first_snapshot_ns: int = 0
    kinds: set[str] = field(default_factory=set)
    prices: set[str] = field(
        default_factory=set
    )  # a few, as written: for the tick and the lot where no file gives them
    quantities: set[str] = field(default_factory=set)


class Tape:
    """Several recordings, played as one. Iterating gives (seconds from the start, message) and can be repeated."""

    def __init__(self, captures: Sequence[str | Path | bytes], *, limit: int = 0) -> None:
        if not captures:
            raise InputError("no recording is given")
        self._limit = limit  # lines of each recording, 0 for all
        self.left_out = 0  # messages of the newest pass that no exchange can have sent as they are
        self.recordings = [
            Recording(capture, name=str(capture) if isinstance(capture, str | Path) else f"recording {i + 1}")
            for i, capture in enumerate(captures)
        ]
        self.seen: dict[tuple[str, str], Seen] = {}
        self._spans = [self._survey(recording) for recording in self.recordings]
        if not self.seen:
            raise InputError(f"{', '.join(r.name for r in self.recordings)}: no message of Binance or OKX was found")
        self._offsets = self._lay_out()

    def _lines(self, recording: Recording) -> Iterator[tuple[int, bytes]]:
        count = 0
        for batch in recording.batches():
            for ns, payload in payloads(batch):
                yield ns, bytes(payload)
                count += 1
                if count == self._limit:
                    return

    def _survey(self, recording: Recording) -> tuple[int, int, int]:
        """(first, start, last known) receive times; the start is when every book that has a snapshot soon has it."""
        first = start = last = lines = 0
        snapshots: list[
            tuple[int, bytes]
        ] = []  # looked at last: one that names no symbol may come before its symbol does
        for ns, raw in self._lines(recording):
            first = first or ns
            last = ns
            lines += 1
            if ns - first > _SURVEY_NS or lines > _SURVEY_LINES:
                break
            if b'"lastUpdateId"' in raw:
                snapshots.append((ns, raw))
                continue
            for message in filter(sound, read(ns, raw, self.seen)):
                key = message.exchange, message.symbol
                seen = self.seen.get(key)
                if seen is None:
                    seen = self.seen[key] = Seen(*key)
                self._note(seen, message)
                if message.kind in OKX_BOOKS and message.data.get("action", "snapshot") == "snapshot":
                    start = self._snapshot_seen(seen, ns, start)
        for ns, raw in snapshots:
            for message in filter(sound, read(ns, raw, self.seen)):
                seen = self.seen.setdefault((message.exchange, message.symbol), Seen(message.exchange, message.symbol))
                self._note(seen, message)
                start = self._snapshot_seen(seen, ns, start)
        if not first:
            raise InputError(f"{recording.name}: no line has the form '<recv_ns> <json>'")
        return first, start or first, last

    @staticmethod
    def _snapshot_seen(seen: Seen, ns: int, start: int) -> int:
        if seen.first_snapshot_ns:
            return start
        seen.first_snapshot_ns = ns
        return max(start, ns)

    @staticmethod
    def _note(seen: Seen, message: Message) -> None:
        seen.kinds.add(message.kind)
        if len(seen.prices) > 2000:
            return
        for level in levels_of(message, 0) + levels_of(message, 1):
            seen.prices.add(level[0])
            seen.quantities.add(level[1])
        row = message.data.get("data", [{}])[0] if message.exchange == "okx" else message.data
        for key, texts in (("p", seen.prices), ("px", seen.prices), ("q", seen.quantities), ("sz", seen.quantities)):
            if isinstance(row, dict) and isinstance(row.get(key), str):
                texts.add(row[key])

    def _lay_out(self) -> list[int]:
        """What to subtract from each recording's clock, so that it starts at 0 or keeps its distance to its
        neighbour."""
        order = sorted(range(len(self._spans)), key=lambda i: self._spans[i][0])
        groups: list[list[int]] = []
        end = 0
        for i in order:
            first, _, last = self._spans[i]
            if not groups or first - end > _HOUR:
                groups.append([])
            groups[-1].append(i)
            end = max(end, last) if len(groups[-1]) > 1 else last
        offsets = [0] * len(order)
        for group in groups:
            began = self._spans[group[0]][0]
            zero = max(self._spans[i][1] for i in group if self._spans[i][0] - began <= _SURVEY_NS)
            for i in group:
                offsets[i] = zero
        return offsets

    def __iter__(self) -> Iterator[tuple[float, Message]]:
        self.left_out = 0

        def one(index: int) -> Iterator[tuple[float, int, Message]]:
            offset = self._offsets[index]
            for ns, raw in self._lines(self.recordings[index]):
                for message in read(ns, raw, self.seen):
                    if sound(message):
                        yield (ns - offset) / 1e9, index, message
                    else:
                        self.left_out += 1

        streams = [one(i) for i in range(len(self.recordings))]
        for due, _, message in heapq.merge(*streams, key=lambda item: item[:2]):
            yield due, message


# -- one line ---------------------------------------------------------------------------------------------------------


def read(ns: int, raw: bytes, known: dict[tuple[str, str], Seen]) -> Iterator[Message]:
    """The message in one recorded line, if it is one that an exchange pushes or a depth snapshot."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if not isinstance(data, dict) or "event" in data:
        return
    arg = data.get("arg")
    if isinstance(arg, dict):
        symbol, channel = arg.get("instId"), arg.get("channel")
        rows = data.get("data")
        if isinstance(channel, str) and isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            symbol = symbol or rows[0].get("instId")
            if isinstance(symbol, str):
                yield Message(ns, "okx", symbol, channel, raw, data)
        return
    for envelope in ("data", "result"):
        if isinstance(data.get(envelope), dict):
            stream = data.get("stream")
            data = data[envelope]
            raw = _inside(raw, data)
            if isinstance(stream, str) and re.search(r"@depth[0-9]", stream) and "e" not in data:
                return  # a partial book: the exchange makes its own
            break
    symbol = data.get("s") or data.get("symbol")
    kind = data.get("e")
    if kind == "forceOrder" and isinstance(data.get("o"), dict):
        symbol = data["o"].get("s")
    if kind is None:
        if "lastUpdateId" in data and isinstance(data.get("bids"), list):
            kind = "snapshot"
            if not isinstance(symbol, str):
                exchange, symbol = _owner(data, known) if are_levels(data["bids"], data.get("asks")) else ("", "")
                if symbol:
                    yield Message(ns, exchange, symbol, kind, raw, data)
                return
        elif isinstance(symbol, str) and "b" in data and "A" in data:
            kind = "bookTicker"
    if not isinstance(kind, str) or not isinstance(symbol, str):
        return
    yield Message(ns, _family(kind, symbol, data), symbol, kind, raw, data)


def sound(message: Message) -> bool:
    """Whether a message has all that playing it needs: one that has not must not change half of a book."""
    data, kind = message.data, message.kind
    try:
        if message.exchange == "okx":
            rows = data["data"]
            if kind in OKX_BOOKS:
                return are_levels(rows[0]["bids"], rows[0]["asks"])
            if kind in ("trades", "trades-all"):
                return all(row["side"] in ("buy", "sell") and _are_numbers(row["px"], row["sz"]) for row in rows)
            lists = [row.get("details", []) for row in rows]
            return all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in lists)
        if kind == "snapshot":
            return _are_ids(data["lastUpdateId"]) and are_levels(data["bids"], data["asks"])
        if kind == "depthUpdate":
            chained = message.exchange == "binance" or _are_ids(data["pu"])
            return chained and _are_ids(data["E"], data["U"], data["u"]) and are_levels(data["b"], data["a"])
        if kind in ("trade", "aggTrade"):
            ids = data["t" if kind == "trade" else "a"], data["E"], data["T"]
            return _are_ids(*ids) and _are_numbers(data["p"], data["q"]) and isinstance(data["m"], bool)
    except (LookupError, TypeError):
        return False
    return True


def _are_ids(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _are_numbers(*texts: object) -> bool:
    try:
        for text in texts:
            if not isinstance(text, str):
                return False
            number(text)
    except ValueError:
        return False
    return True


def levels_of(message: Message, side: int) -> list[list[str]]:
    """The levels of one side of a book message, or none."""
    if message.exchange == "okx":
        rows = message.data["data"]
        levels = rows[0].get(("bids", "asks")[side]) if message.kind in OKX_BOOKS else None
    elif message.kind == "snapshot":
        levels = message.data.get(("bids", "asks")[side])
    elif message.kind == "depthUpdate":
        levels = message.data.get(("b", "a")[side])
    else:
        levels = None
    return levels if isinstance(levels, list) else []


def _inside(raw: bytes, data: dict[str, Any]) -> bytes:
    """The bytes of the object inside an envelope, as they were sent."""
    start = raw.find(b'"data":')
    inner = raw[start + 7 :].strip()[:-1].rstrip() if start >= 0 else b""
    if inner.startswith(b"{") and inner.endswith(b"}") and raw.lstrip().startswith(b'{"stream"'):
        return inner
    return json.dumps(data, separators=(",", ":")).encode()


def _family(kind: str, symbol: str, data: dict[str, Any]) -> str:
    """Which of Binance's markets a message belongs to: each has its own fields."""
    if _COINM.fullmatch(symbol):
        return "binance-coinm"
    if kind == "depthUpdate":
        return "binance-usdm" if "pu" in data else "binance"
    if kind in ("trade", "aggTrade"):
        return "binance" if "M" in data else "binance-usdm"
    if kind == "bookTicker":
        return "binance-usdm" if "e" in data else "binance"
    if kind in ("forceOrder", "markPriceUpdate", "snapshot"):
        return "binance-usdm"
    return "binance-usdm" if "ps" in data else "binance"


def _owner(data: dict[str, Any], known: dict[tuple[str, str], Seen]) -> tuple[str, str]:
    """Whose a snapshot is that names no symbol: spot has no times in it; among several symbols the prices tell."""
    exchange = "binance-usdm" if "E" in data or "T" in data else "binance"
    symbols = [seen for seen in known.values() if seen.exchange == exchange]
    if len(symbols) > 1:
        prices = {level[0] for level in [*data["bids"], *data["asks"]]}
        symbols.sort(key=lambda seen: len(prices & seen.prices), reverse=True)
    return (exchange, symbols[0].symbol) if symbols else (exchange, "")
