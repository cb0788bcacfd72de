"""One block of memory: the same frames make the same bytes, on every build, in any batches, across save and load."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.recording import FRAME, Recording
from market import CAPTURES, START_NS, Market, frame, setup_of

if TYPE_CHECKING:
    from pathlib import Path

SOME = [CAPTURES[i] for i in (0, 1, 2, 3)]
IDS = [exchange for _, exchange, _ in SOME]


def batches_of(path: Path, limit: int = 6 << 20) -> tuple[bytes, ...]:
    """The first frames of a recording: from before its snapshot to well after it."""
    batches: list[bytes] = []
    for batch in Recording(path).batches():
        batches.append(bytes(batch))
        if sum(map(len, batches)) > limit:
            break
    return tuple(batches)


def cut(frames: bytes) -> list[bytes]:
    """Single frames."""
    out: list[bytes] = []
    at = 0
    while at < len(frames):
        length = FRAME.unpack_from(frames, at)[1]
        end = at + FRAME.size + (length + 7 & ~7)
        out.append(frames[at:end])
        at = end
    return out


@pytest.mark.parametrize(("file", "exchange", "symbol"), SOME, ids=IDS)
def test_batches_do_not_matter(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    config = setup_of(data / file, exchange, symbol).config
    whole = b"".join(batches_of(data / file, 3 << 20))
    at_once, one_by_one, random_cuts, timed = (Engine(config, kernel=engine_name) for _ in range(4))
    at_once.feed(whole)
    singles = cut(whole)
    for single in singles:
        one_by_one.feed(single)
    rng = random.Random(5)
    at = 0
    while at < len(singles):
        size = rng.choice([1, 2, 10, 1000])
        random_cuts.feed(b"".join(singles[at : at + size]))
        at += size
    assert len(timed.feed_each(whole)) == len(singles)
    assert at_once.block_sha256() == one_by_one.block_sha256() == random_cuts.block_sha256() == timed.block_sha256()
    assert at_once.view["counters"]["messages"] == one_by_one.view["counters"]["messages"] == len(singles)
    assert at_once.view["published"]["snapshot"] == one_by_one.view["published"]["snapshot"]


@pytest.mark.parametrize(("file", "exchange", "symbol"), SOME, ids=IDS)
def test_save_kill_load(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    config = setup_of(data / file, exchange, symbol).config
    singles = cut(b"".join(batches_of(data / file, 3 << 20)))
    undisturbed = Engine(config, kernel=engine_name)
    undisturbed.feed(b"".join(singles))
    for share in (0.0, 0.01, 0.5, 0.9):
        at = int(len(singles) * share)
        engine = Engine(config, kernel=engine_name)
        engine.feed(b"".join(singles[:at]))
        saved = engine.block.tobytes()
        del engine
        fresh = Engine(config, kernel=engine_name)
        fresh.restore(saved)
        fresh.feed(b"".join(singles[at:]))
        assert fresh.block_sha256() == undisturbed.block_sha256()
        assert fresh.book_sha256() == undisturbed.book_sha256()


@pytest.mark.native
@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES, ids=[f"{e}:{s}" for _, e, s in CAPTURES])
def test_native_and_wasmtime_make_the_same_bytes(data: Path, file: str, exchange: str, symbol: str) -> None:
    config = setup_of(data / file, exchange, symbol).config
    native, wasmtime = Engine(config, kernel="native"), Engine(config, kernel="wasmtime")
    for batch in Recording(data / file).batches():
        assert native.feed(batch) == wasmtime.feed(batch)
    hashed = int(native.view["header"]["hashed_bytes"])
    different = np.flatnonzero(native.block[:hashed] != wasmtime.block[:hashed])
    assert not len(different), f"first at byte {different[0]}: {field_at(int(different[0]))}"
    assert native.block_sha256() == wasmtime.block_sha256()
    assert native.view["counters"] == wasmtime.view["counters"]


def field_at(offset: int) -> str:
    """The name of the section that a byte of the block lies in."""
    assert layout.BLOCK.fields is not None
    return max((field[1], name) for name, field in layout.BLOCK.fields.items() if field[1] <= offset)[1]


def test_a_block_needs_no_padding_and_no_pointer() -> None:
    """Every byte of the block belongs to a field, in the order of the header."""
    assert layout.BLOCK.itemsize <= 4 << 20

    def check(dtype: np.dtype[np.void]) -> None:
        assert dtype.fields is not None
        end = 0
        for field in dtype.fields.values():
            kind, offset = field[0], field[1]
            assert offset == end
            end = offset + kind.itemsize
            base = kind.base
            assert base.kind in "iufSV"
            if base.fields:
                check(base)
        assert end == dtype.itemsize

    check(layout.BLOCK)


def test_the_same_seed_the_same_block(engine_name: str) -> None:
    first, second = (Market("binance-usdm", "BTCUSDT", engine_name) for _ in range(2))
    for m in (first, second):
        m.feed(m.snapshot(9), m.depth(9, 12, 8, bids=[("99", "1")]), m.trade(1))
    assert first.engine.block_sha256() == second.engine.block_sha256()
    second.feed(b"not json")
    assert first.engine.book_sha256() == second.engine.book_sha256()


def test_what_is_hashed_is_state_and_not_how_it_was_read(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    before = m.engine.block_sha256()
    m.engine.latency(layout.Stage.FEED, 1234)
    m.engine.feed(b"")
    assert m.engine.block_sha256() == before
    m.engine.feed(frame(b"", START_NS, kind=layout.Kind.TIMER))
    assert m.engine.block_sha256() != before


def test_a_block_of_another_kind_is_refused(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    for bad in (b"", b"x" * 100, bytes(m.engine.block.size), m.engine.block.tobytes()[:-1]):
        with pytest.raises(ValueError, match="block"):
            m.engine.restore(bad)
