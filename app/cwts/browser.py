"""The Python side of the page's engine worker: one engine, settings, buffers, a live session; answers as JSON text.

Bytes cross by address: the worker writes frames straight into buffers allocated here and reads the block in place: no
message ever becomes a Python `str`. A recording is a file that the worker mounts at `FILE`: it is read in pieces and
never held whole. `web/workers/engine.js` and `driver.js` are the only callers.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts import _kernel
from cwts.config import Settings
from cwts.errors import CwtsError, InputError
from cwts.exchanges import (
    ask_book,
    ask_instruments,
    endpoints_of,
    finer,
    instrument_of,
    moved,
    price_of,
    session,
    unwrapped,
)
from cwts.exchanges.base import DROP, as_json
from cwts.instruments import guess_instrument
from cwts.kernel import Engine, layout, plain
from cwts.networks import card_words, command_frames, load, load_payloads, parse, replace_payloads
from cwts.recorder import (
    DESCRIPTION,
    FRAMES,
    GROUP_BYTES,
    STATE,
    Description,
    FrameRecording,
    Packer,
    group_of,
    name_of,
)
from cwts.recording import Recording, Survey
from cwts.replay import Setup, prepare
from cwts.settings import (
    change_payloads,
    differing,
    listed,
    loosened,
    parse_settings,
    settings_of,
    value_of,
    with_setting,
    write_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cwts.exchanges.base import Endpoints, Policy, Session
    from cwts.instruments import Instrument

FILE = Path("/recording/file")
OWN_NETWORKS = Path(tempfile.gettempdir()) / "own-networks.json"  # the person's weights file, in Pyodide's memory
PIECE_BYTES = 256 << 10
INPUT_BYTES = 1 << 21  # LARGEST_BYTES of ring.js, and so several times what the worker feeds in one call
TAPE_BYTES = 2 * GROUP_BYTES + INPUT_BYTES  # two groups that nobody had time to pack, and what is fed then

# What the feed worker puts into the ring besides frames for the kernel; ENTRY in ring.js.
OPENED, CLOSED, FETCHED, TICK, LOST = 16, 17, 18, 19, 20
HEADER = struct.Struct("<qIHH")  # cwts_frame
ANSWER = struct.Struct("<IIq")  # of FETCHED: request, status, how long to wait (ns, of Retry-After); the body follows
ACTIONS = 1 << 8  # in what `Live.look` returns

_input: NDArray[np.uint8] = np.zeros(INPUT_BYTES, np.uint8)
_large: NDArray[np.uint8] = np.zeros(0, np.uint8)
_drained: NDArray[np.uint8] = np.zeros(0, np.uint8)
_engine: Engine | None = None
_setup: Setup | None = None  # of the recording that is open
_live: Live | None = None
_live_setup: Setup | None = None
_tap: Callable[[int, int], None] | None = None  # of the recorder: address and bytes of what is fed from here
_pieces: Iterator[bytes | bytearray] | None = None
_settings = Settings()  # what the person has chosen
_begun = _settings  # what the session that is open began with
_own_name = ""  # of the person's weights file
_card: list[str] | None = None  # of the chosen networks, once somebody asks


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


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def input_address() -> int:
    """Where the worker writes frames; `INPUT_BYTES` long."""
    return _address(_input)


def open_recording(name: str, exchange: str, symbol: str, watch: Callable[[float], None], known: str) -> str:
    """Surveys the mounted recording and makes the engine for it, as `cwts replay` would. Returns what the page shows.

    `known`: the survey as JSON, if somebody has made it before (the site's builder, of the recordings that it bundles).
    """
    global _engine, _setup, _pieces, _begun
    _setup = None
    try:
        recording = _Watched(FILE, name=name)
        recording.watch = watch
        if known:
            fields = json.loads(known)
            price = fields["reference_price"]
            recording.known = Survey(**{**fields, "reference_price": Decimal(price) if price is not None else None})
        setup = prepare(recording, exchange, symbol, settings=_settings)
        _engine, resumed = setup.engine_for(recording)
        _setup, _begun = setup, _settings
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    _pieces = None
    return json.dumps(_opened(setup, _engine, setup.notes + setup.warnings + resumed), default=str)


def _opened(setup: Setup, engine: Engine, notes: tuple[str, ...]) -> dict[str, Any]:
    """What the page shows of an engine that has just been made."""
    return {
        "survey": asdict(setup.survey),
        "instrument": asdict(setup.instrument),
        "notes": notes,
        "block": _address(engine.block),
        "blockBytes": engine.block.nbytes,
    }


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


def feed_address() -> int:
    """Where WebAssembly's function table has `cwts_feed`, which the worker calls without Python in between."""
    return _kernel.feed_address()


def levels() -> int:
    """How many levels the book has, on both sides."""
    assert _engine is not None
    return sum(len(_engine.levels(side)[0]) for side in (0, 1))


def block_sha256() -> str:
    """The engine's state as one number; see `cwts.kernel`."""
    return _engine.block_sha256() if _engine is not None else hashlib.sha256().hexdigest()


def book(depth: int) -> str:
    """The best levels as JSON: prices and quantities as plain decimals, and the id of the newest update in them."""
    if _engine is None:
        return json.dumps({"id": 0, "synced": False, "bids": [], "asks": []})
    sync, config = _engine.view["sync"], _engine.view["config"]
    found: dict[str, object] = {"id": int(sync["last_id"]), "synced": bool(sync["synced"])}
    for side, name in ((layout.Side.BID, "bids"), (layout.Side.ASK, "asks")):
        prices, quantities = (array[:depth].tolist() for array in _engine.levels(side))
        found[name] = [
            [plain(price, int(config["price_decimals"])), plain(quantity, int(config["qty_decimals"]))]
            for price, quantity in zip(prices, quantities, strict=True)
        ]
    return json.dumps(found)


def book_sha256() -> str:
    """The book as one number: prices and quantities as text, best first."""
    return _engine.book_sha256() if _engine is not None else hashlib.sha256().hexdigest()


# -- settings ---------------------------------------------------------------------------------------------------------


def settings_list() -> str:
    """All settings as JSON: the rows of `cwts.settings.listed`."""
    return json.dumps(listed())


def choose(wish: str) -> str:
    """Changes settings or networks: for the sessions to come, and in the engine that runs as far as it can.

    `wish`, JSON: any of `set` (name to value; null: as by default), `file` (the text of a settings file, which replaces
    them all; `name` is its name), `reset`, `networks` ("shipped", "none" or "own", with `name` and `text`), and `kept`
    (`values` and `networks`, as the page kept them: what is no longer right is left out, and `notes` say so). Returns
    what is chosen then, or an error, after which nothing has changed.
    """
    wanted = json.loads(wish)
    notes: list[str] = []
    try:
        if "kept" in wanted:
            notes = _restore(wanted["kept"])
        settings = _settings
        if "reset" in wanted:
            settings = Settings()
        if "file" in wanted:
            named = parse_settings(wanted["file"], wanted["name"])
            try:
                settings = settings_of(named)
            except InputError as error:
                raise InputError(f"{wanted['name']}: {error}") from None
        for name, value in wanted.get("set", {}).items():
            settings = with_setting(settings, name, value)
        if "networks" in wanted:  # the last that can be refused
            _choose_networks(wanted["networks"], wanted.get("name", ""), wanted.get("text", ""))
        _take(replace(settings, networks=_settings.networks))
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    return json.dumps(_chosen() | {"notes": notes})


def settings_file() -> str:
    """What is not as by default, as a file for `--settings`."""
    return write_settings(_settings)


def _chosen() -> dict[str, Any]:
    """`pending`: what the open session began with otherwise, and cannot change. `enter`, `exit`: the engine's own."""
    global _card
    if _card is None:
        _card = [] if _settings.networks == "none" else card_words(load(*_file_of(_settings.networks)))
    rows = listed()
    begun = [row["name"] for row in rows if not row["now"] and _engine is not None]
    config = None if _engine is None else _engine.view["config"]
    return {
        "changed": differing(_settings),
        "values": {row["name"]: value_of(_settings, row["name"]) for row in rows},
        "pending": [name for name in begun if value_of(_begun, name) != value_of(_settings, name)],
        "loosened": loosened(_settings),
        "networks": _which(),
        "networksName": _own_name if _which() == "own" else "",
        "card": _card,
        "enter": None if config is None else float(config["enter"]),
        "exit": None if config is None else float(config["exit"]),
    }


def _which() -> str:
    return _settings.networks if _settings.networks in ("shipped", "none") else "own"


def _file_of(networks: str) -> tuple[()] | tuple[str]:
    return () if networks == "shipped" else (networks,)


def _take(settings: Settings, networks: tuple[bytes, ...] = ()) -> None:
    """From here on these are chosen; the engine that runs hears it as frames, as a recording of it would have them."""
    global _settings
    payloads = (*change_payloads(_settings, settings), *networks)
    if _engine is not None and payloads:
        frames = np.frombuffer(command_frames(payloads, int(_engine.view["header"]["now_ns"])), np.uint8)
        if _tap is not None:
            _tap(_address(frames), frames.nbytes)
        events = _engine.feed(frames)
        assert not events & layout.Event.MALFORMED, "the kernel and the settings disagree about a range"
    _settings = settings


def _choose_networks(which: str, name: str, text: str) -> None:
    global _own_name, _card, _setup
    if which == "own":
        parse(text, name)
        OWN_NETWORKS.write_text(text, encoding="utf-8")
        _own_name, which = name, str(OWN_NETWORKS)
    elif which not in ("shipped", "none"):
        raise InputError(f"no networks {which!r}: expected shipped, none or a weights file")
    _take(replace(_settings, networks=which), replace_payloads(which))
    _card = None
    if _setup is not None and Recording(FILE)._as_frames() is None:  # noqa: SLF001
        _setup = replace(_setup, start=load_payloads(which))  # for `History`; a recording of frames has its own


def _restore(kept: Any) -> list[str]:
    notes: list[str] = []
    if not isinstance(kept, dict):
        return ["the kept settings could not be read: the default ones are used"]
    found = kept.get("values")
    values = found if isinstance(found, dict) else {}
    try:
        _take(settings_of(values))
    except InputError:
        for name, value in values.items():
            try:
                _take(with_setting(_settings, name, value))
            except InputError as error:
                notes.append(f"a kept setting is left out: {error}")
    try:
        if (which := kept.get("networks", "shipped")) != "shipped":
            _choose_networks(which, str(kept.get("name", "weights")), str(kept.get("text", "")))
    except InputError as error:
        notes.append(f"the kept networks are left out, the shipped ones run: {error}")
    return notes


# -- live -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came of a `cwts.exchanges.Question`: `status` 0 means nothing did, and `why` says so."""

    status: int
    body: bytes
    why: str = ""


class Live:
    """One session in the page. The worker drains entries into `drained` and shows here those that have to be seen.

    What a native host does with sockets, frames and actions, the worker does; `docs/exchanges.md` says how. A call
    names an entry by its place in `drained`, so that no time and no payload crosses as an object.
    """

    def __init__(self, machine: Session, engine: Engine, drained: NDArray[np.uint8]) -> None:
        self.session = machine
        self.lost = 0
        self.overflows = 0
        machine.held = lambda _: engine.position()
        self._bytes = drained.data
        offset = layout.BLOCK.fields["sync"][1] + layout.SYNC.fields["synced"][1]  # type: ignore[index]
        self._synced = engine.block[offset : offset + 4].view("<u4")

    def start(self) -> str:
        """Opens the connections; returns the actions."""
        self.session.start(time.time_ns())
        return self.take()

    def look(self, at: int) -> int:
        """An entry that is not just passing. Returns 1 where its payload goes to the engine, + ACTIONS if there are."""
        now, length, link, kind = HEADER.unpack_from(self._bytes, at)
        payload = self._bytes[at + HEADER.size : at + HEADER.size + length]
        machine, goes = self.session, DROP
        if kind == layout.Kind.RAW:
            goes = machine.message(now, link, payload)
        elif kind == TICK:
            machine.tick(now)
        elif kind == OPENED:
            machine.opened(now, link)
        elif kind == CLOSED:
            told = json.loads(bytes(payload))
            machine.closed(now, link, told["why"], hopeless=told["hopeless"])
        elif kind == FETCHED:
            request, status, wait = ANSWER.unpack_from(payload)
            body = payload[ANSWER.size :]
            goes = machine.fetched(now, request, status, body, "" if status else str(body, "utf-8"), retry_ns=wait)
        elif kind == LOST:
            self.lost += int.from_bytes(payload, "little")
            self.overflows += 1
            machine.overflowed(now, 0)
        return (goes != DROP) + (ACTIONS if machine.actions else 0)

    def passed(self, at: int, link: int, count: int) -> None:
        """Messages that began as the session had said were fed without a look; the entry at `at` is no older."""
        self.session.passed(HEADER.unpack_from(self._bytes, at)[0], link, count)

    def events(self, at: int, bits: int) -> bool:
        """What the kernel said of what was fed up to the entry at `at`. Returns whether there are actions."""
        self.session.events(HEADER.unpack_from(self._bytes, at)[0], 0, bits, synced=bool(self._synced[0]))
        return bool(self.session.actions)

    def take(self) -> str:
        """The actions, in order; an `open` says how the messages begin that need no look."""
        taken = json.loads(as_json(self.session.take()))
        for action in taken:
            if action["kind"] == "open":
                action["passing"] = [beginning.decode() for beginning in self.session.passing(action["link"])]
        return json.dumps(taken)

    def health(self, at: int) -> str:
        """The state of the connections, for people, as of the entry at `at`."""
        return json.dumps(self.state(HEADER.unpack_from(self._bytes, at)[0]))

    def state(self, now: int) -> dict[str, object]:
        """The same for a time in nanoseconds, as plain JSON values."""
        return {**self.session.health(now), "lost": self.lost, "overflows": self.overflows}


def live_endpoints(exchange: str, origin: str) -> Endpoints:
    """The exchange's own addresses, or the same on a host that stands for it. Raises InputError."""
    return endpoints_of(exchange, moved(exchange, origin) if origin else None)


def questions(exchange: str, symbol: str, origin: str) -> str:
    """What the feed worker asks before `open_live`: rules and book; without a symbol, the list of instruments."""
    try:
        endpoints = live_endpoints(exchange, origin)
        asked = [asdict(question) for question in ask_instruments(exchange, endpoints, symbol)]
        book = asdict(ask_book(exchange, endpoints, symbol)) if symbol else None
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    return json.dumps({"instruments": asked, "book": book})


def described(exchange: str, symbol: str, rules: Answer, book: Answer) -> tuple[Instrument, list[str]]:
    """The instrument and what is to be known about it. Raises CwtsError or InputError."""
    notes: list[str] = []
    if rules.status:
        instrument = instrument_of(exchange, symbol, rules.status, rules.body)
    elif book.status:
        if book.status != 200:
            instrument_of(exchange, symbol, book.status, book.body)  # says what is wrong
        seen = finer(exchange, guess_instrument(exchange, symbol, 0, 0), book.body)
        instrument = guess_instrument(exchange, symbol, seen.price_decimals, seen.qty_decimals)
        notes.append(f"the rules of {symbol} could not be read ({rules.why}): ticks and minimum sizes are guessed")
    else:
        raise CwtsError(rules.why)
    instrument = finer(exchange, instrument, book.body if book.status == 200 else b"")
    return instrument, [*notes, *instrument.limits()]


def open_live(
    exchange: str,
    symbol: str,
    origin: str,
    capital: str,
    rules: tuple[int, bytes, str],
    book: tuple[int, bytes, str],
    policy: Policy | None = None,
) -> str:
    """Makes session and engine for an instrument, from what the exchange answered to `questions`.

    Returns what the page shows. `capital`: a decimal, or nothing for that of the settings.
    """
    global _engine, _live, _live_setup, _drained, _begun
    symbol = symbol.upper()
    try:
        settings = _settings
        if capital:
            try:
                settings = replace(settings, capital=Decimal(capital))
            except InvalidOperation:
                raise InputError(f"a number is expected as capital, not {capital!r}") from None
        machine = session(exchange, [symbol], live_endpoints(exchange, origin), policy, seed=time.time_ns())
        answers = [Answer(*unwrapped(status, bytes(body)), why) for status, body, why in (rules, book)]
        instrument, notes = described(exchange, symbol, *answers)
        price = price_of(exchange, answers[1].body) if answers[1].status == 200 else None
        if price is None:
            notes.append("no price yet, so spread and slippage are not limited")
        setup = Setup.live(exchange, symbol, instrument, settings, price, tuple(notes))
        _engine, _begun = setup.engine(), _settings
    except CwtsError as error:
        return json.dumps({"error": str(error)})
    if not _drained.size:
        _drained = np.zeros(INPUT_BYTES, np.uint8)
    _live, _live_setup = Live(machine, _engine, _drained), setup
    found = _opened(setup, _engine, setup.notes) | {"drained": _address(_drained), "health": _live.state(0)}
    return json.dumps(found, default=str)


def live() -> Live:
    """The session that `open_live` made."""
    assert _live is not None
    return _live


# -- recording; the files are web/workers/recorder.js's ----------------------------------------------------------------


def tap_with(tap: Callable[[int, int], None] | None) -> None:
    """Who hears of the frames that are fed from here (settings, networks), before they are; None: nobody."""
    global _tap
    _tap = tap


class Tape:
    """The live session as groups of a recording (`cwts.recorder`), packed a piece at a time: no message waits for it.

    `web/workers/tape.js` puts the frames at `address` (`TAPE_BYTES`), and says what is packed when.
    """

    def __init__(self) -> None:
        self._frames: NDArray[np.uint8] = np.zeros(TAPE_BYTES, np.uint8)
        self._block: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._packer = Packer()
        self._sequence = 0
        self.address = _address(self._frames)
        self.name = ""  # of the file, without number and suffix
        self.used = 0  # bytes of frames that a file begins with
        self.block_bytes = 0  # … or of the engine's block

    def begin(self, *, fresh: bool) -> bytes:
        """A file begins here; returns its first group. What follows is the block, or, in a session that has fed
        nothing yet (`fresh`), the frames that set the engine up: such a file can be replayed with other settings too.
        """
        assert _engine is not None
        assert _live_setup is not None
        survey, config = _live_setup.survey, _engine.view["config"].tobytes()
        description = Description(survey.exchange, survey.symbol, _live_setup.instrument, config, {}, time.time_ns())
        self.name = name_of(description)
        start = np.frombuffer(command_frames(_live_setup.start) if fresh else b"", np.uint8)
        self._frames[: start.size] = start
        self._block = np.zeros(0, np.uint8) if fresh else _engine.block.copy()
        self.used, self.block_bytes = start.size, self._block.size
        text = description.to_json()
        self._packer.piece(text)
        return self._group(DESCRIPTION, len(text), 0, 0, 0)

    def pack_block(self, start: int, end: int) -> None:
        """Goes on with the block's group."""
        self._packer.piece(self._block[start:end].data)

    def block_group(self) -> bytes:
        """The block's group, packed to its end."""
        size, self._block = self._block.size, np.zeros(0, np.uint8)
        return self._group(STATE, size, 0, 0, 0)

    def pack(self, start: int, end: int) -> None:
        """Goes on with a group of frames."""
        self._packer.piece(self._frames[start:end].data)

    def group(self, size: int, count: int, first_ns: int, last_ns: int) -> bytes:
        """The group of the first `size` bytes, packed to its end."""
        return self._group(FRAMES, size, count, first_ns, last_ns)

    def _group(self, kind: int, size: int, count: int, first_ns: int, last_ns: int) -> bytes:
        group = group_of(kind, self._sequence, size, self._packer.end(), count, first_ns, last_ns)
        self._sequence += 1
        return group


# -- the networks over the whole recording; the GPU's side is web/gpu.js ----------------------------------------------


class History:
    """The mounted recording as rows for the three networks, through an engine of its own: the page's goes on meanwhile.

    What lies at the addresses that it returns stays as long as this object.
    """

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._error = ""
        self._weights = b""
        self._columns: tuple[NDArray[Any], ...] = ()
        self._breaks: list[int] = []
        self._answers: NDArray[np.float32] = np.zeros((0, 5), np.float32)

    def read(self) -> Iterator[float]:
        """Runs through the recording, and yields after each piece how much of its time has passed, 0 to 1."""
        from cwts.gpu.base import packed
        from cwts.gpu.history import Grid

        try:
            if _setup is None:
                raise InputError("no recording is open")
            recording = Recording(FILE, name="the recording")
            survey = _setup.survey
            grid = Grid(_setup.engine_for(recording)[0], self._step_ms)
            for batch in recording.batches():
                grid.feed(batch)
                yield min(1.0, max(0.0, (grid.due - survey.first_ns) / max(1, survey.last_ns - survey.first_ns)))
            networks = grid.engine.view["networks"]
            self._weights = networks["network"].tobytes() if networks["loaded"] else packed(load())
            self._columns, self._breaks = grid.columns(), grid.breaks
        except CwtsError as error:
            self._error = str(error)

    def found(self) -> str:
        """What `read` made, as JSON: `rows`, where the book was not valid before a row (`breaks`), and addresses.

        `times` (int64, ns), `mids` (int64, e8 of the price's last decimal), `features` (float32, 16 a row), `weights`
        (three `cwts_network`, `weightBytes` long: those that the recording has loaded, otherwise the shipped ones).
        """
        if self._error:
            return json.dumps({"error": self._error})
        times, mids, features = self._columns
        return json.dumps(
            {
                "rows": len(times),
                "breaks": self._breaks,
                "times": _address(times),
                "mids": _address(mids),
                "features": _address(features),
                "weights": _address(np.frombuffer(self._weights, np.uint8)),
                "weightBytes": len(self._weights),
            }
        )

    def simd(self) -> int:
        """The networks over all rows, by the kernel. Returns the address of float32, five a row."""
        from cwts.gpu.simd_host import SimdNetworks

        self._answers = SimdNetworks().run(self._weights, self._columns[2])
        return _address(self._answers)
