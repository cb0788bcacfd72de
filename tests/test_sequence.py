"""When the book is valid: each exchange's rules as a table of cases, told to the kernel and to the oracle."""

from __future__ import annotations

import zlib

import pytest

from cwts.kernel import layout
from market import SECOND, Market

FUTURES = ["binance-usdm", "binance-coinm"]
SYMBOLS = {"binance": "BTCUSDT", "binance-usdm": "BTCUSDT", "binance-coinm": "BTCUSD_PERP", "okx": "BTC-USDT"}


def market(exchange: str, engine_name: str) -> Market:
    return Market(exchange, SYMBOLS[exchange], engine_name)


# A case: what is fed, (U, u) or (U, u, pu) for an update, a number for a snapshot's lastUpdateId; then what must hold.
SPOT = {
    "nothing is applied before a snapshot": ([(1, 5), (6, 9)], {"synced": 0, "applied": 0, "gaps": 0}),
    "updates that waited are applied": ([(1, 5), (6, 9), 3, (10, 12)], {"synced": 1, "applied": 3}),
    "updates that the snapshot holds are dropped": (
        [(1, 5), (6, 9), 9, (10, 12)],
        {"synced": 1, "applied": 1, "stale": 2},
    ),
    "the first may begin right behind the snapshot": ([9, (10, 12)], {"synced": 1, "applied": 1}),
    "the first may reach back before the snapshot": ([9, (5, 12)], {"synced": 1, "applied": 1}),
    "a first that begins later is a gap": ([9, (11, 12)], {"synced": 0, "applied": 0, "gaps": 1}),
    "an update that ends at the snapshot is dropped": ([9, (5, 9)], {"synced": 1, "applied": 0, "stale": 1}),
    "later ones follow": ([9, (10, 12), (13, 13), (14, 20)], {"synced": 1, "applied": 3}),
    "a missing one is a gap": ([9, (10, 12), (14, 20)], {"synced": 0, "applied": 1, "gaps": 1}),
    "a gap is counted once": ([9, (11, 12), (13, 14), (20, 21)], {"synced": 0, "gaps": 1}),
    "overlap is no gap": ([9, (10, 12), (11, 20)], {"synced": 1, "applied": 2, "gaps": 0}),
    "a repeated update is dropped": ([9, (10, 12), (10, 12), (13, 14)], {"synced": 1, "applied": 2, "stale": 1}),
    "an older update is dropped": ([9, (10, 12), (13, 14), (10, 12)], {"synced": 1, "applied": 2, "stale": 1}),
    "the update that reveals a gap waits": ([9, (11, 12), 11, (13, 13)], {"synced": 1, "applied": 2, "gaps": 1}),
    "a snapshot older than what waits is refused": ([(10, 12), 5], {"synced": 0, "snapshots_old": 1, "snapshots": 1}),
    "the one after it is taken": ([(10, 12), 5, 11, (13, 13)], {"synced": 1, "applied": 2, "snapshots": 2}),
    "a snapshot right before what waits is taken": ([(10, 12), 9], {"synced": 1, "applied": 1}),
    "a broken chain of waiting updates starts anew": ([(1, 5), (8, 9), 6], {"synced": 0, "snapshots_old": 1}),
    "and what came after the break counts": ([(1, 5), (8, 9), 7], {"synced": 1, "applied": 1}),
    "a snapshot that is not newer changes nothing": (
        [9, (10, 12), 12, (13, 14)],
        {"synced": 1, "applied": 2, "snapshots": 2},
    ),
    "until an update follows, any other snapshot replaces the book": (
        [20, 9, (10, 12)],
        {"synced": 1, "applied": 1, "snapshots": 2},
    ),
    "a newer one then drops older updates": ([9, 20, (10, 12), (21, 22)], {"synced": 1, "applied": 1, "stale": 1}),
    "later a newer snapshot is kept aside while the book goes on": (
        [9, (10, 12), 20, (13, 14)],
        {"synced": 1, "applied": 2, "snapshots": 2, "gaps": 0},
    ),
    "and is forgotten then": ([9, (10, 12), 20, (13, 14), (21, 22)], {"synced": 0, "applied": 2, "gaps": 1}),
    "a repetition does not tell": (
        [9, (10, 12), 20, (10, 12), (21, 22)],
        {"synced": 1, "applied": 2, "stale": 1, "gaps": 1},
    ),
    "it is the book if the next update does not follow ours": (
        [9, (10, 12), 20, (18, 22), (23, 24)],
        {"synced": 1, "applied": 3, "gaps": 1},
    ),
    "even if it holds that update already": (
        [9, (10, 12), 20, (15, 18), (19, 22)],
        {"synced": 1, "applied": 2, "stale": 1, "gaps": 1},
    ),
    "but not if it does not reach back to the update": (
        [9, (10, 12), 20, (22, 24), 23],
        {"synced": 1, "applied": 2, "gaps": 1},
    ),
    "the newest one is kept": ([9, (10, 12), 20, 30, (31, 32)], {"synced": 1, "applied": 2, "gaps": 1}),
}

COVERED = {
    "nothing is applied before a snapshot": ([(1, 5, 0), (6, 9, 5)], {"synced": 0, "applied": 0, "gaps": 0}),
    "updates that waited are applied": ([(1, 5, 0), (6, 9, 5), 3, (11, 12, 9)], {"synced": 1, "applied": 3}),
    "updates before the snapshot are dropped": ([(1, 5, 0), (6, 9, 5), 7], {"synced": 1, "applied": 1, "stale": 1}),
    "the first covers the snapshot's id": ([9, (5, 12, 4), (15, 16, 12)], {"synced": 1, "applied": 2}),
    "the first may end at the snapshot's id": ([9, (5, 9, 4), (15, 16, 9)], {"synced": 1, "applied": 2}),
    "the first may begin behind it if nothing of ours lies between": ([9, (12, 14, 9)], {"synced": 1, "applied": 1}),
    "a first that misses something is a gap": ([9, (13, 14, 11)], {"synced": 0, "applied": 0, "gaps": 1}),
    "then pu is the u before": ([9, (9, 12, 8), (20, 25, 12), (40, 41, 25)], {"synced": 1, "applied": 3}),
    "another pu is a gap": ([9, (9, 12, 8), (13, 14, 13)], {"synced": 0, "applied": 1, "gaps": 1}),
    "adjacent ids do not mend a wrong pu": ([9, (9, 12, 8), (13, 14, 15)], {"synced": 0, "gaps": 1}),
    "a repeated update is dropped": (
        [9, (9, 12, 8), (9, 12, 8), (14, 15, 12)],
        {"synced": 1, "applied": 2, "stale": 1},
    ),
    "an older update is dropped": ([9, (9, 12, 8), (14, 15, 12), (9, 12, 8)], {"synced": 1, "applied": 2, "stale": 1}),
    "the update that reveals a gap waits": ([9, (9, 12, 8), (20, 22, 15), 21], {"synced": 1, "applied": 2, "gaps": 1}),
    "a snapshot older than what waits is refused": ([(10, 12, 8), 5], {"synced": 0, "snapshots_old": 1}),
    "the one after it is taken": ([(10, 12, 8), 5, 11, (20, 21, 12)], {"synced": 1, "applied": 2}),
    "a broken chain of waiting updates starts anew": ([(1, 5, 0), (8, 9, 7), 6], {"synced": 0, "snapshots_old": 1}),
    "and what came after the break counts": ([(1, 5, 0), (8, 9, 7), 8], {"synced": 1, "applied": 1}),
    "a snapshot that is not newer changes nothing": ([9, (9, 12, 8), 12, (15, 16, 12)], {"synced": 1, "applied": 2}),
    "until an update follows, any other snapshot replaces the book": (
        [20, 9, (9, 12, 8)],
        {"synced": 1, "applied": 1, "snapshots": 2},
    ),
}

# A newer snapshot while the book goes on: USD-M's names no symbol and may be another's.
NAMELESS = {
    "is kept aside while the book goes on": (
        [9, (9, 12, 8), 20, (18, 22, 12)],
        {"synced": 1, "applied": 2, "snapshots": 2, "gaps": 0},
    ),
    "and is forgotten then": ([9, (9, 12, 8), 20, (13, 14, 12), (19, 22, 17)], {"synced": 0, "applied": 2, "gaps": 1}),
    "is the book if the next update does not follow ours": (
        [9, (9, 12, 8), 20, (19, 22, 17), (30, 31, 22)],
        {"synced": 1, "applied": 3, "gaps": 1},
    ),
    "even if it holds that update already": (
        [9, (9, 12, 8), 20, (15, 18, 14), (19, 22, 18)],
        {"synced": 1, "applied": 2, "stale": 1, "gaps": 1},
    ),
    "but not if it does not reach back to the update": (
        [9, (9, 12, 8), 20, (23, 24, 21)],
        {"synced": 0, "applied": 1, "gaps": 1},
    ),
}
NAMED = {
    "replaces the book": ([9, (9, 12, 8), 20, (18, 22, 12)], {"synced": 1, "applied": 2, "snapshots": 2, "gaps": 0}),
    "and older updates are dropped": (
        [9, (9, 12, 8), 20, (13, 14, 12), (18, 22, 14)],
        {"synced": 1, "applied": 2, "stale": 1, "gaps": 0},
    ),
    "changes nothing if it is not newer": ([9, (9, 12, 8), 11, (15, 16, 12)], {"synced": 1, "applied": 2}),
}


def play(m: Market, steps: list[int | tuple[int, ...]]) -> None:
    """Each update sets a level of its own, so that applying one too many or too few shows in the book."""
    for i, step in enumerate(steps):
        if isinstance(step, int):
            m.feed(m.snapshot(step, bids=[("99.5", "1"), ("98", str(i + 1))], asks=[("100.5", "1")]))
        else:
            first, last, *previous = step
            bids, asks = [(f"{90 + i}.25", str(i + 1)), ("99.5", str(i + 2))], [("100.5", f"0.{i + 1}")]
            m.feed(m.depth(first, last, previous[0] if previous else None, bids, asks))
        m.check()


def expect(m: Market, expected: dict[str, int]) -> None:
    assert {name: getattr(m, name) for name in expected} == expected


@pytest.mark.parametrize(("steps", "expected"), SPOT.values(), ids=SPOT.keys())
def test_binance_spot(engine_name: str, steps: list[int | tuple[int, ...]], expected: dict[str, int]) -> None:
    m = market("binance", engine_name)
    play(m, steps)
    expect(m, expected)


@pytest.mark.parametrize("exchange", FUTURES)
@pytest.mark.parametrize(("steps", "expected"), COVERED.values(), ids=COVERED.keys())
def test_binance_futures(
    engine_name: str, exchange: str, steps: list[int | tuple[int, ...]], expected: dict[str, int]
) -> None:
    m = market(exchange, engine_name)
    play(m, steps)
    expect(m, expected)


@pytest.mark.parametrize(("steps", "expected"), NAMELESS.values(), ids=NAMELESS.keys())
def test_a_later_snapshot_without_a_name(
    engine_name: str, steps: list[int | tuple[int, ...]], expected: dict[str, int]
) -> None:
    m = market("binance-usdm", engine_name)
    play(m, steps)
    expect(m, expected)


@pytest.mark.parametrize(("steps", "expected"), NAMED.values(), ids=NAMED.keys())
def test_a_later_snapshot_with_a_name(
    engine_name: str, steps: list[int | tuple[int, ...]], expected: dict[str, int]
) -> None:
    m = market("binance-coinm", engine_name)
    play(m, steps)
    expect(m, expected)


@pytest.mark.parametrize("exchange", ["binance", *FUTURES])
def test_a_book_that_no_update_continues_is_lost_after_5_seconds(engine_name: str, exchange: str) -> None:
    """The snapshot was the wrong one: another symbol's, with ids far ahead of ours."""
    m = market(exchange, engine_name)
    m.feed(m.snapshot(1_000_000), step=5 * SECOND)
    m.feed(m.depth(10, 12, 9), step=1)
    expect(m, {"synced": 1, "stale": 1})
    m.feed(m.depth(13, 14, 12))
    expect(m, {"synced": 0, "gaps": 1, "stale": 1})
    m.check()
    m.feed(m.snapshot(13), m.depth(15, 16, 14, bids=[("97", "1")]))
    expect(m, {"synced": 1, "gaps": 1, "applied": 2})
    m.check()


def test_the_5_seconds_begin_with_the_snapshot_that_made_the_book(engine_name: str) -> None:
    """A book that has long been valid is not lost because a snapshot of it is a little ahead of the stream."""
    m = market("binance-coinm", engine_name)
    m.feed(m.snapshot(9), m.depth(9, 12, 8), step=10 * SECOND)
    m.feed(m.snapshot(20), m.depth(13, 15, 12), m.depth(16, 21, 15, bids=[("97", "1")]))
    expect(m, {"synced": 1, "gaps": 0, "stale": 1, "applied": 2})
    m.check()


# OKX: (action, seqId, prevSeqId)
OKX = {
    "an update before the snapshot is dropped": ([("update", 11, 10)], {"synced": 0, "applied": 0, "gaps": 0}),
    "a snapshot makes the book": ([("snapshot", 10, -1)], {"synced": 1, "snapshots": 1}),
    "updates follow": ([("snapshot", 10, -1), ("update", 15, 10), ("update", 16, 15)], {"synced": 1, "applied": 2}),
    "a missing one is a gap": ([("snapshot", 10, -1), ("update", 16, 15)], {"synced": 0, "applied": 0, "gaps": 1}),
    "an older one is a gap too": (
        [("snapshot", 10, -1), ("update", 15, 10), ("update", 15, 10)],
        {"synced": 0, "gaps": 1},
    ),
    "after a gap only a snapshot helps": (
        [("snapshot", 10, -1), ("update", 16, 15), ("update", 17, 16), ("snapshot", 20, -1), ("update", 21, 20)],
        {"synced": 1, "applied": 1, "gaps": 1, "snapshots": 2},
    ),
    "a smaller id that follows is a legal reset": (
        [("snapshot", 10, -1), ("update", 3, 10), ("update", 4, 3)],
        {"synced": 1, "applied": 2, "legal_resets": 1, "gaps": 0},
    ),
    "without ids nothing can be missed": (
        [("snapshot", None, None), ("update", None, None)],
        {"synced": 1, "applied": 1},
    ),
    "half a link is none: the message is passed over, and the next one shows the gap": (
        [("snapshot", 10, -1), ("update", None, 10), ("update", 12, None), ("update", 13, 12)],
        {"synced": 0, "malformed": 2, "applied": 0, "gaps": 1},
    ),
    "a chain that began with ids goes on with them": (
        [("snapshot", 10, -1), ("update", None, None), ("update", 11, 10)],
        {"synced": 1, "malformed": 1, "applied": 1},
    ),
    "a new snapshot replaces the book": ([("snapshot", 10, -1), ("snapshot", 50, -1)], {"synced": 1, "snapshots": 2}),
}


@pytest.mark.parametrize(("steps", "expected"), OKX.values(), ids=OKX.keys())
def test_okx(engine_name: str, steps: list[tuple[str, int | None, int | None]], expected: dict[str, int]) -> None:
    m = market("okx", engine_name)
    for i, (action, seq, previous) in enumerate(steps):
        m.feed(m.okx(action, seq, previous, bids=[(f"{90 + i}", str(i + 1))], asks=[("100.5", f"{i + 1}.5")]))
        m.check()
    expect(m, expected)


def test_okx_keep_alive_changes_nothing(engine_name: str) -> None:
    m = market("okx", engine_name)
    m.feed(m.okx("snapshot", 10, -1, bids=[("99", "1")], asks=[("101", "1")]))
    before = m.engine.book_sha256()
    m.feed(m.okx("update", 10, 10))
    assert m.engine.book_sha256() == before
    expect(m, {"synced": 1, "keepalives": 1, "gaps": 0})
    m.feed(m.okx("update", 11, 10, bids=[("98", "1")]))
    expect(m, {"synced": 1})
    m.check()


def crc(text: str) -> int:
    value = zlib.crc32(text.encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def test_okx_checksum_is_verified_when_it_is_not_zero(engine_name: str) -> None:
    m = market("okx", engine_name)
    m.feed(m.okx("snapshot", 1, -1, bids=[("99", "1")], asks=[("101", "2")], checksum=crc("99:1:101:2")))
    m.feed(m.okx("update", 2, 1, bids=[("98.5", "3")], checksum=crc("99:1:101:2:98.5:3")))
    m.feed(m.okx("update", 3, 2, bids=[("98.5", "4")], checksum=0))
    expect(m, {"checksum_ok": 2, "checksum_bad": 0, "synced": 1})
    m.feed(m.okx("update", 4, 3, bids=[("98.5", "5")], checksum=crc("99:1:101:2:98.5:4")))
    expect(m, {"checksum_ok": 2, "checksum_bad": 1, "synced": 0, "gaps": 1})
    m.feed(m.okx("update", 5, 4, bids=[("98.5", "6")], checksum=0))
    expect(m, {"synced": 0, "applied": 3})
    m.feed(m.okx("snapshot", 6, -1, bids=[("99", "1")], asks=[], checksum=crc("99:1")))
    expect(m, {"synced": 1, "checksum_ok": 3})
    m.check()


def test_okx_checksum_covers_25_levels_of_both_sides(engine_name: str) -> None:
    m = market("okx", engine_name)
    bids = [(f"{99 - i}", f"{i + 1}") for i in range(30)]
    asks = [(f"{101 + i}", f"{i + 1}.5") for i in range(20)]
    parts: list[str] = []
    for i in range(25):
        parts += bids[i]
        if i < len(asks):
            parts += asks[i]
    m.feed(m.okx("snapshot", 1, -1, bids=bids, asks=asks, checksum=crc(":".join(parts))))
    expect(m, {"checksum_ok": 1, "synced": 1})
    m.check()


def test_okx_books5_are_whole_books(engine_name: str) -> None:
    m = market("okx", engine_name)
    m.feed(m.okx(None, 5, None, bids=[("99", "1")], asks=[("101", "1")], channel="books5"))
    m.feed(m.okx(None, 9, None, bids=[("98", "1")], asks=[("101", "2")], channel="books5"))
    assert [prices.tolist() for prices in (m.engine.levels(0)[0], m.engine.levels(1)[0])] == [[9800], [10100]]
    m.check()


def test_okx_the_deepest_channel_makes_the_book(engine_name: str) -> None:
    m = market("okx", engine_name)
    m.feed(m.okx(None, 5, None, bids=[("99", "1")], asks=[("101", "1")], channel="books5"))
    m.feed(m.okx("snapshot", 6, -1, bids=[("97", "1")], asks=[("103", "1")]))
    m.feed(m.okx(None, 7, None, bids=[("99", "1")], asks=[("101", "1")], channel="books5"))
    m.check()
    assert m.engine.levels(0)[0].tolist() == [9700]
    expect(m, {"ignored": 1, "synced": 1})


def test_okx_best_quotes_leave_the_levels_alone(engine_name: str) -> None:
    m = market("okx", engine_name)
    m.feed(m.okx("snapshot", 6, -1, bids=[("97", "1")], asks=[("103", "1")]))
    m.feed(m.okx(None, 7, None, bids=[("98", "1")], asks=[("102", "1")], channel="bbo-tbt"))
    m.check()
    assert m.engine.levels(0)[0].tolist() == [9700]
    assert m.tickers == 1


@pytest.mark.parametrize("exchange", ["binance", *FUTURES])
def test_a_gap_empties_the_book_and_says_so(engine_name: str, exchange: str) -> None:
    m = market(exchange, engine_name)
    events = m.feed(m.snapshot(9), m.depth(9, 12, 8, bids=[("99", "1")]))
    assert events & layout.Event.SYNCED
    assert not events & layout.Event.GAP
    events = m.feed(m.depth(20, 21, 19))
    assert events & layout.Event.GAP
    assert events & layout.Event.NEED_SNAPSHOT
    assert [len(m.engine.levels(side)[0]) for side in (0, 1)] == [0, 0]
    assert m.engine.view["sync"]["reason"] == layout.SyncReason.GAP
    events = m.feed(m.depth(22, 23, 21))
    assert not events & layout.Event.GAP
    assert events & layout.Event.NEED_SNAPSHOT
    m.check()


def test_a_partial_book_stream_is_no_snapshot(engine_name: str) -> None:
    m = market("binance", engine_name)
    m.feed({"stream": "btcusdt@depth20@100ms", "data": m.snapshot(9)})
    expect(m, {"synced": 0, "snapshots": 0, "ignored": 1})
    m.check()


@pytest.mark.parametrize(
    ("bid", "ask", "ours"),
    [("120", "121", True), ("120.01", "121", False), ("79", "80", True), ("79", "79.99", False), ("1", "1000", True)],
)
def test_a_snapshot_without_a_name_whose_prices_are_far_from_ours_is_passed_over(
    engine_name: str, bid: str, ask: str, ours: bool
) -> None:
    m = market("binance", engine_name)
    m.feed(m.trade(1, "100"))
    m.feed(m.snapshot(9, bids=[(bid, "1")], asks=[(ask, "1")]))
    expect(m, {"synced": ours, "snapshots": ours, "ignored": not ours})
    m.check()


@pytest.mark.parametrize("exchange", ["binance-coinm", "binance"])
def test_a_snapshot_with_our_name_may_have_any_price(engine_name: str, exchange: str) -> None:
    m = market(exchange, engine_name)
    m.feed(m.trade(1, "100"), m.snapshot(9, bids=[("500", "1")], asks=[("501", "1")]) | {"symbol": m.symbol})
    expect(m, {"synced": 1, "snapshots": 1, "ignored": 0})
    m.check()


def test_our_price_is_the_best_bid_and_the_last_trade_where_there_is_none(engine_name: str) -> None:
    m = market("binance", engine_name)
    m.feed(m.snapshot(9, bids=[("99", "1")], asks=[("101", "1")]), m.trade(1, "300"))
    m.feed(m.snapshot(20, bids=[("299", "1")], asks=[("301", "1")]))
    expect(m, {"ignored": 1})
    m.feed(m.depth(15, 16), m.snapshot(20, bids=[("299", "1")], asks=[("301", "1")]))
    expect(m, {"ignored": 1, "gaps": 1, "synced": 1})
    m.check()


@pytest.mark.parametrize(("after_s", "ours"), [(60, False), (61, True)])
def test_a_trade_tells_our_price_for_a_minute(engine_name: str, after_s: int, ours: bool) -> None:
    """After a long cut the market may be anywhere."""
    m = market("binance", engine_name)
    m.feed(m.trade(1, "100"), step=after_s * SECOND)
    m.feed(m.snapshot(9, bids=[("140", "1")], asks=[("141", "1")]))
    expect(m, {"synced": ours, "ignored": not ours})
    m.check()


def test_a_thin_book_of_our_own_is_not_mistaken_for_another_symbols(engine_name: str) -> None:
    for bids, asks in (([("50", "1")], [("101", "1")]), ([], [("150", "1")]), ([], [])):
        m = market("binance", engine_name)
        m.feed(m.trade(1, "100"), m.snapshot(9, bids=bids, asks=asks))
        expect(m, {"synced": 1, "ignored": 0})
        m.check()


def test_more_updates_than_can_wait(engine_name: str) -> None:
    """The oldest are given up; a snapshot that is newer than those makes a whole book."""
    m = market("binance", engine_name)
    bids = [(f"{i / 100 + 1:.2f}", "1") for i in range(300)]
    m.feed(*(m.depth(i + 1, i + 1, bids=bids) for i in range(400)))
    assert m.buffer_lost > 0
    assert m.malformed == 0
    m.feed(m.snapshot(399), m.depth(401, 401, bids=[("7", "1")]))
    assert (m.synced, m.applied, m.gaps) == (1, 2, 0)
    assert m.engine.book_sha256() == m.oracle.book_sha256()


def test_a_snapshot_may_come_through_the_websocket_api(engine_name: str) -> None:
    m = market("binance", engine_name)
    m.feed({"id": "51e2affb", "status": 200, "result": m.snapshot(9), "rateLimits": [{"limit": 6000, "count": 2}]})
    m.feed(m.depth(10, 11, bids=[("99", "1")]))
    expect(m, {"synced": 1, "applied": 1})
    m.check()


def test_binance_trades_count_once(engine_name: str) -> None:
    """Both trade streams tell the same trades: the one that is seen first counts."""
    m = market("binance-usdm", engine_name)
    aggregate = m.trade(1) | {"e": "aggTrade", "a": 1}
    m.feed(m.trade(1), aggregate, m.trade(2, "101", "0.5", maker=True))
    expect(m, {"trades": 2, "ignored": 1})
    m.check()
    m = market("binance-usdm", engine_name)
    m.feed(aggregate, m.trade(1), m.trade(2))
    expect(m, {"trades": 1, "ignored": 2})
    m.check()


def test_what_is_no_market_trade_is_not_counted(engine_name: str) -> None:
    m = market("binance-usdm", engine_name)
    m.feed(
        m.trade(1, "0", "0", X="NA"), m.trade(2, X="INSURANCE_FUND"), m.trade(3, X="MARKET"), m.trade(4, "100", "0.000")
    )
    expect(m, {"trades": 1, "trades_ignored": 3})
    m.check()


def test_each_element_of_an_okx_trade_message_counts(engine_name: str) -> None:
    m = market("okx", engine_name)
    element = {"instId": m.symbol, "tradeId": "7", "px": "100.5", "sz": "0.25", "side": "sell", "ts": "1"}
    m.feed(
        {"arg": {"channel": "trades", "instId": m.symbol}, "data": [element, element | {"side": "buy", "tradeId": "8"}]}
    )
    expect(m, {"trades": 2})
    m.check()
