"""Every instruction set that this processor has, and WebAssembly, make the same bytes, however levels are written."""

from __future__ import annotations

import contextlib
import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwts.kernel import Engine, layout
from cwts.kernel.layout import Event
from cwts.recording import Recording
from market import CAPTURES, START_NS, Market, compact, examples, frame, setup_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.native

NAMES = ("sse2", "avx2", "avx512", "neon", "portable")
SOME = CAPTURES[:4]


def available() -> list[str]:
    from cwts import _kernel

    found = []
    for name in NAMES:
        with contextlib.suppress(ValueError):
            found.append(_kernel.isa(name))
    _kernel.isa("best")
    return [*found, "simd128"]


@pytest.fixture(autouse=True)
def best_again() -> Iterator[None]:
    yield
    from cwts import _kernel

    _kernel.isa("best")


def engine_on(isa: str, config: bytes) -> Engine:
    from cwts import _kernel

    if isa != "simd128":
        _kernel.isa(isa)
    engine = Engine(config, kernel="wasmtime" if isa == "simd128" else "native")
    assert engine.isa == isa
    return engine


def outcome(isa: str, config: bytes, batches: list[bytes]) -> tuple[list[int], str, str]:
    """Events of each batch, and what the engine and its book are at the end."""
    engine = engine_on(isa, config)
    events = [engine.feed(batch) for batch in batches]
    return events, engine.block_sha256(), engine.book_sha256()


def after_each(isa: str, config: bytes, batches: list[bytes]) -> list[tuple[int, str]]:
    """Events of each batch and the block after it."""
    engine = engine_on(isa, config)
    return [(engine.feed(batch), engine.block_sha256()) for batch in batches]


def test_an_instruction_set_that_is_not_there_is_one_line() -> None:
    from cwts import _kernel

    assert len(available()) >= 1
    with pytest.raises(ValueError, match='this processor has no "altivec"'):
        _kernel.isa("altivec")


@pytest.mark.parametrize(("file", "exchange", "symbol"), SOME, ids=[exchange for _, exchange, _ in SOME])
def test_a_recording_makes_the_same_bytes(data: Path, file: str, exchange: str, symbol: str) -> None:
    config = setup_of(data / file, exchange, symbol).config
    batches = [bytes(batch) for batch in Recording(data / file).batches()]
    first, *others = (outcome(isa, config, batches) for isa in available())
    for other in others:
        assert other == first


# Numbers as exchanges write them, as they might, and as nobody should: all must be taken, or refused, by all.
DIGITS = st.text("0123456789", min_size=1, max_size=12)
ODD = [
    "",
    ".",
    "1.",
    ".5",
    ".50",
    ".500",
    "1..2",
    "1.2.3",
    "-1.00",
    "1e3",
    "0x1",
    "1 ",
    "00.00",
    "1.0\\u0030",
    "1]",
    "1\t",
]
ODD_NUMBERS = st.one_of(st.builds("{}.{}".format, DIGITS, DIGITS), DIGITS, st.sampled_from(ODD))
ODD_BETWEEN = [
    "],",
    "], [",
    ",],[",
    ",x],[",
    "],,[",
    "],]",
    "],{",
    "]:[",
    "},[",
    "]]",
    "]];[",
    "],[]",
    ',"x"],[',
    '","0","4"],[',
]


@st.composite
def arrays(draw: st.DrawFn) -> str:
    """Levels with as many digits behind the point as the exchange likes, here and there otherwise."""

    def usual(fraction: int, zeros: int) -> str:
        whole, part = draw(st.integers(0, 120)), draw(st.integers(0, 10 ** max(0, fraction - zeros) - 1))
        return f"{whole}.{part:0{fraction - zeros}}{'0' * zeros}" if fraction > zeros else str(whole)

    styles = [(draw(st.integers(0, 8)), draw(st.sampled_from([0, 0, 3, 5]))) for _ in range(2)]
    odd = draw(st.integers(0, 12))  # the level that is written otherwise, if there are so many
    text = ""
    count = draw(st.integers(0, 12))
    for at in range(count):
        price, qty = (usual(*style) for style in styles)
        between = "],["
        if at == odd:
            what = draw(st.integers(0, 3))
            price = draw(ODD_NUMBERS) if what == 0 else price
            qty = draw(ODD_NUMBERS) if what == 1 else f"{qty[:-1]}1" if what == 2 else qty
            between = draw(st.sampled_from(ODD_BETWEEN)) if what == 3 else between
        text += f'"{price}","{qty}"' + ("]" if at == count - 1 else between)
    return f"[[{text}]" if text else "[]"


def depth(last: int, bids: str, asks: str) -> bytes:
    numbers = f'"E":1700000000000,"T":1700000000000,"s":"BTCUSDT","U":{last},"u":{last},"pu":{last - 1}'
    return f'{{"e":"depthUpdate",{numbers},"b":{bids},"a":{asks}}}'.encode()


def same_on_all(market: Market, raws: list[bytes]) -> list[int]:
    """Returns the events of each message."""
    batches = [frame(raw, START_NS + at * 1_000_000) for at, raw in enumerate(raws)]
    first, *others = (outcome(isa, market.config, batches) for isa in available())
    for other in others:
        assert other == first
    return first[0]


@given(
    sides=st.lists(arrays(), min_size=4, max_size=10),
    decimals=st.sampled_from([(2, 3), (1, 0), (8, 8), (0, 5), (2, 8)]),
)
@settings(max_examples=examples(400))
def test_levels_written_in_any_way_are_read_the_same(sides: list[str], decimals: tuple[int, int]) -> None:
    market = Market("binance-usdm", "BTCUSDT", "native", *decimals)
    updates = [depth(10 + at, sides[at], sides[at - 1]) for at in range(len(sides))]
    same_on_all(market, [compact(market.snapshot(9)), *updates])


@pytest.mark.parametrize("odd", range(6))
def test_one_level_written_otherwise_among_usual_ones(odd: int) -> None:
    """In each place among those that are read at once."""
    usual = [(f'"99.{at:02}"', '"1.000"', "],[") for at in range(12)]
    ways = (
        [(number, "", "") for number in ODD]
        + [("", number, "") for number in ODD]
        + [("", "", mark) for mark in ODD_BETWEEN]
    )
    for price, qty, mark in [("", "", "]}"), *ways]:
        levels = list(usual)
        was = levels[odd]
        levels[odd] = (f'"{price}"' if price else was[0], f'"{qty}"' if qty else was[1], mark or was[2])
        text = "".join(f"{price},{qty}{mark}" for price, qty, mark in levels)
        market = Market("binance-usdm", "BTCUSDT", "native", 2, 3)
        raws = [compact(market.snapshot(9)), depth(10, f"[[{text[:-2]}]", "[]"), depth(11, "[]", "[]")]
        same_on_all(market, raws[:2])  # what a broken message leaves behind is part of the block
        same_on_all(market, raws)


def test_levels_beyond_what_fits_are_refused_by_all() -> None:
    room = layout.BLOCK.fields["stage"][0].shape[0]
    market = Market("binance-usdm", "BTCUSDT", "native")
    refused = []
    for count in range(room - 9, room + 1):
        array = "[" + ",".join(f'["{50 + at // 1000}.{at % 100:02}","1.000"]' for at in range(count)) + "]"
        events = same_on_all(market, [compact(market.snapshot(9)), depth(10, "[]", array), depth(10, "[]", "[]")])
        refused.append(bool(events[1] & Event.MALFORMED))
    assert refused == sorted(refused)
    assert refused[0] is False
    assert refused[-1] is True


@pytest.mark.parametrize(
    ("name", "exchange", "symbol", "decimals"),
    [
        ("binance_spot", "binance", "BTCUSDT", (2, 5)),
        ("binance_usdm", "binance-usdm", "BTCUSDT", (1, 3)),
        ("binance_coinm", "binance-coinm", "BTCUSD_PERP", (1, 0)),
        ("okx", "okx", "BTC-USDT-SWAP", (1, 2)),
    ],
)
def test_what_the_fuzzers_kept_leaves_the_same_bytes(
    data: Path, name: str, exchange: str, symbol: str, decimals: tuple[int, int]
) -> None:
    """After each of their inputs (an option, then a message a line), which a valid book meets."""
    market = Market(exchange, symbol, "native", *decimals)
    bids, asks = [("61800.0", "1")], [("61801.0", "1")]
    book = market.okx("snapshot", 1000, -1, bids, asks) if exchange == "okx" else market.snapshot(1000, bids, asks)
    reset = frame(struct.pack("<II", layout.CommandOp.RESET_BOOK, 0), kind=layout.Kind.COMMAND)
    inputs = [path.read_bytes()[1:].split(b"\n") for path in sorted((data.parent / "fuzz" / "corpus" / name).iterdir())]
    batches = [reset + frame(compact(book)) + b"".join(map(frame, lines)) for lines in inputs]
    assert len(batches) > 100
    first, *others = (after_each(isa, market.config, batches) for isa in available())
    for other in others:
        assert other == first


def test_arrays_of_every_length_end_where_they_end() -> None:
    """Up to four levels are read at once, and the last of an array by itself: all counts, all widths of numbers."""
    rng = random.Random(4)
    market = Market("binance-usdm", "BTCUSDT", "native", 2, 3)
    raws = [compact(market.snapshot(9))]
    for count in range(40):
        for width in (1, 10, 1_000, 100_000):
            pairs = [f'["{rng.uniform(90, 110):.2f}","{rng.uniform(0, width):.3f}"]' for _ in range(2 * count)]
            raws.append(depth(9 + len(raws), f"[{','.join(pairs[:count])}]", f"[{','.join(pairs[count:])}]"))
    assert not any(events & Event.MALFORMED for events in same_on_all(market, raws))
