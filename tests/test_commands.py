"""Frames that are not the exchange's (timers, commands, broken ones), and what readers see: snapshots and latencies."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.kernel.layout import CommandOp, Error, Event, Kind, Reason, SyncReason
from market import SECOND, START_NS, Market, compact, frame
from twins import EAGER, Story, Terms


def synced(engine_name: str, exchange: str = "binance") -> Market:
    m = Market(exchange, "BTCUSDT", engine_name, settings=EAGER)
    m.feed(m.snapshot(9, bids=[("99.5", "1"), ("99", "2")], asks=[("100.5", "1")]), m.depth(10, 12, 9))
    return m


def command(m: Market, op: int, value: float = 0.0) -> int:
    return give(m, struct.pack("<If", op, value))


def give(m: Market, payload: bytes, kind: int = Kind.COMMAND) -> int:
    m.now += SECOND // 100
    return int(m.engine.feed(frame(payload, m.now, kind=kind)))


# -- commands --------------------------------------------------------------------------------------------------------


def test_reset_throws_the_book_away_and_is_no_gap(engine_name: str) -> None:
    m = synced(engine_name)
    events = command(m, CommandOp.RESET_BOOK)
    assert events & Event.NEED_SNAPSHOT
    assert (m.synced, m.gaps) == (0, 0)
    assert m.engine.view["sync"]["reason"] == SyncReason.RESET
    assert len(m.engine.levels(0)[0]) == len(m.engine.levels(1)[0]) == 0
    assert not m.engine.view["sync"]["touch"]["price"].any()
    assert m.engine.view["decision"]["reason"] == Reason.BOOK_INVALID
    m.oracle.reset()
    m.feed(m.depth(13, 14), m.snapshot(13), m.depth(15, 16, bids=[("98", "1")]))
    assert m.synced
    m.check()


def test_reset_forgets_updates_that_waited_and_snapshots_kept_aside(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    m.feed(m.depth(1, 5, bids=[("97", "1")]))
    command(m, CommandOp.RESET_BOOK)
    m.oracle.reset()
    m.feed(m.snapshot(3))
    assert (m.synced, m.applied) == (1, 0)
    m.check()
    m.feed(m.depth(4, 5), m.snapshot(20))
    command(m, CommandOp.RESET_BOOK)
    m.oracle.reset()
    m.feed(m.depth(19, 22))
    assert m.synced == 0
    m.check()


def test_halt_and_resume(engine_name: str) -> None:
    m = synced(engine_name)
    command(m, CommandOp.HALT)
    assert m.engine.view["header"]["halted"] == 1
    assert m.engine.view["decision"]["reason"] == Reason.HALTED
    m.feed(m.depth(13, 14, bids=[("99.5", "50")]))
    assert m.engine.view["account"]["orders"] == 0
    command(m, CommandOp.RESUME)
    assert m.engine.view["header"]["halted"] == 0
    assert m.engine.view["account"]["orders"] == 1


def test_thresholds(engine_name: str) -> None:
    m = synced(engine_name)
    command(m, CommandOp.SET_ENTER, 0.75)
    command(m, CommandOp.SET_EXIT, 0.0)
    assert float(m.engine.view["config"]["enter"]) == 0.75
    assert float(m.engine.view["config"]["exit"]) == 0.0
    m.feed(m.depth(13, 14, bids=[("99.5", "5")]))  # an imbalance of two thirds
    assert m.engine.view["decision"]["reason"] == Reason.NO_SIGNAL
    command(m, CommandOp.SET_ENTER, 0.5)
    assert m.engine.view["decision"]["reason"] == Reason.SCORE_UP


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("<II", 0, 0),
        struct.pack("<II", 6, 0),
        struct.pack("<II", 0xFFFFFFFF, 0),
        *(struct.pack("<If", CommandOp.SET_ENTER, x) for x in (0.0, -0.5, 1.5, float("nan"), float("inf"))),
        *(struct.pack("<If", CommandOp.SET_EXIT, x) for x in (-0.5, 1.5, float("nan"), float("-inf"))),
        b"",
        struct.pack("<I", CommandOp.HALT),
        struct.pack("<II", CommandOp.HALT, 0)[:7],
    ],
)
def test_a_command_that_is_none_changes_nothing(engine_name: str, payload: bytes) -> None:
    m = synced(engine_name)
    before = m.engine.view["config"].tobytes()
    assert give(m, payload) & Event.MALFORMED
    assert m.malformed == 1
    assert m.engine.view["config"].tobytes() == before
    assert m.engine.view["header"]["halted"] == 0
    assert m.synced == 1


# -- timers and frames -------------------------------------------------------------------------------------------------


def test_a_timer_tells_the_time(engine_name: str) -> None:
    m = synced(engine_name)
    evaluated = int(m.engine.view["decision"]["evaluated"])
    m.now += 2 * SECOND
    give(m, b"", Kind.TIMER)
    view = m.engine.view
    assert view["header"]["now_ns"] == view["decision"]["recv_ns"] == m.now
    assert view["decision"]["evaluated"] == evaluated + 1
    assert view["decision"]["reason"] == Reason.STALE
    assert m.messages == 2


def test_a_timer_may_carry_bytes_that_nobody_reads(engine_name: str) -> None:
    m = synced(engine_name)
    assert not give(m, b'{"e":"depthUpdate"', Kind.TIMER) & Event.MALFORMED


@pytest.mark.parametrize("kind", [3, 4, 255, 65535])
def test_a_frame_of_no_known_kind_is_malformed(engine_name: str, kind: int) -> None:
    m = synced(engine_name)
    assert give(m, b"{}", kind) & Event.MALFORMED
    assert (m.malformed, m.messages, m.synced) == (1, 2, 1)


@pytest.mark.parametrize("tail", [b"\0", bytes(15), frame(b"12345678")[:-1], struct.pack("<qIHH", 0, 0xFFFFFFFF, 0, 0)])
def test_a_frame_that_does_not_fit_is_an_error_and_those_before_it_count(engine_name: str, tail: bytes) -> None:
    m = synced(engine_name)
    good = frame(compact(m.depth(13, 14, bids=[("98", "1")])), m.now)
    assert m.engine._kernel.feed(good + tail) == Error.FRAME
    assert (m.messages, m.applied) == (3, 2)
    assert m.engine.feed(frame(compact(m.depth(15, 16)), m.now)) & Event.BOOK


def test_streams_are_counted_apart(engine_name: str) -> None:
    m = synced(engine_name)
    for stream in (1, 1, 15, 16, 65535):
        m.engine.feed(frame(b"{}", m.now, stream=stream))
    assert m.engine.view["counters"]["stream_messages"].tolist() == [3, 2, *[0] * 13, 2]


def test_a_block_that_is_not_initialised_is_an_error(engine_name: str) -> None:
    m = synced(engine_name)
    m.engine.view["header"]["magic"] = 0
    assert m.engine._kernel.feed(frame(b"{}")) == Error.BLOCK


# -- what readers see --------------------------------------------------------------------------------------------------


def published(engine: Engine) -> dict[str, Any]:
    """What the published snapshot must say, read from the state."""
    view: Any = engine.view
    k, d, a, f = view["counters"], view["decision"], view["account"], view["features"]
    want = {
        "now_ns": view["header"]["now_ns"], "halted": view["header"]["halted"],
        "synced": view["sync"]["synced"], "sync_reason": view["sync"]["reason"],
        "book_ns": view["sync"]["book_ns"], "exchange_ns": view["sync"]["exchange_ns"],
        "bid_count": len(engine.levels(0)[0]), "ask_count": len(engine.levels(1)[0]),
        "bid_top": min(layout.TOP, len(engine.levels(0)[0])), "ask_top": min(layout.TOP, len(engine.levels(1)[0])),
        "mid_e8": int(f["mid"] * 1e8), "micro_e8": int(f["micro"] * 1e8), "last_price": view["tape"]["last_price"],
        "decisions": k["decisions"].tolist(), "feature": f["value"].tolist(),
    }  # fmt: skip
    want |= {name: k[name] for name in ("messages", "applied", "gaps", "snapshots", "malformed", "trades")}
    want |= {
        name: d[name]
        for name in (
            "action",
            "reason",
            "score",
            "last_ns",
            "last_action",
            "last_reason",
            "last_score",
            "last_order_id",
        )
    }
    money = ("cash_e8", "position_e8", "entry_e8", "equity_e8", "drawdown_e8", "fees_e8", "realised_e8")
    want |= {name: a[name] for name in (*money, "orders", "fills", "wins", "losses")}
    for side, name in ((0, "bid"), (1, "ask")):
        prices, qtys = (column[: layout.TOP].tolist() for column in engine.levels(side))
        empty = layout.TOP - len(prices)
        want[name] = list(zip(prices + [0] * empty, qtys + [0] * empty, strict=True))
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in want.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_published_snapshot_is_the_state(engine_name: str, seed: int) -> None:
    story = Story(Terms("binance-usdm", "BTCUSDT"), engine_name, seed)
    engine = story.twins.engine
    for _ in range(120):
        before = int(engine.view["published"]["sequence"])
        story.step()
        shared = engine.view["published"]
        assert int(shared["sequence"]) in (before, before + 2)  # a lost message is not fed
        found = {name: shared["snapshot"][name].tolist() for name in published(engine)}
        assert found == published(engine)


def test_a_reader_gets_a_copy(engine_name: str) -> None:
    if engine_name == "wasmtime":
        pytest.skip("its readers are in the module's own memory")
    from cwts import _kernel

    m = synced(engine_name)
    out = np.zeros((), layout.SNAPSHOT)
    assert _kernel.read(m.engine.block, out)
    assert out.tobytes() == m.engine.view["published"]["snapshot"].tobytes()
    m.engine.view["published"]["sequence"] += 1  # a writer that never comes out
    assert not _kernel.read(m.engine.block, out)


def bucket_range(bucket: int) -> tuple[int, int]:
    """The nanoseconds that fall into a bucket: one each below 16, then 16 equal steps to each power of two."""
    if bucket < 16:
        return bucket, bucket + 1
    octave, step = divmod(bucket, 16)
    low = (16 + step) << (octave - 1)
    return low, low + (1 << (octave - 1))


@pytest.mark.parametrize(
    "ns", [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 100, 1000, 1023, 1024, 123_456, 10**6, 10**9, 3 * 10**9]
)
def test_a_latency_falls_into_its_bucket(engine_name: str, ns: int) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    m.engine.latency(layout.Stage.FEED, ns)
    stage = m.engine.view["latency"][layout.Stage.FEED]
    (bucket,) = np.flatnonzero(stage["bucket"])
    low, high = bucket_range(int(bucket))
    assert low <= ns < high
    assert (high - low) * 16 <= max(16, low)  # within a sixteenth
    assert (int(stage["count"]), int(stage["sum_ns"]), int(stage["max_ns"])) == (1, ns, ns)
    assert not m.engine.view["latency"][layout.Stage.TOTAL]["count"]


def test_percentiles_of_the_histogram_are_those_of_the_latencies(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    ns = np.random.default_rng(1).lognormal(8, 1.5, 3000).astype(np.int64)
    for value in ns.tolist():
        m.engine.latency(layout.Stage.TOTAL, value)
    buckets = m.engine.view["latency"][layout.Stage.TOTAL]["bucket"].astype(np.int64)
    for share in (0.5, 0.9, 0.99, 0.999):
        at = int(np.searchsorted(np.cumsum(buckets), share * len(ns)))
        low, high = bucket_range(at)
        exact = float(np.sort(ns)[int(np.ceil(share * len(ns))) - 1])
        assert low <= exact < high


def test_latencies_that_cannot_be(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    m.engine.latency(layout.Stage.FEED, -5)
    m.engine.latency(layout.Stage.FEED, 2**63 - 1)
    m.engine.latency(layout.STAGES, 5)
    m.engine.latency(2**31, 5)
    view = m.engine.view["latency"]
    assert view["count"].tolist() == [0, 2, 0, 0, 0, 0, 0, 0]
    assert view["bucket"][layout.Stage.FEED][0] == 1
    assert view["bucket"].sum() == 2


def test_a_restored_engine_goes_on_where_the_other_was(engine_name: str) -> None:
    one, other = (Story(Terms("binance-usdm", "BTCUSDT"), engine_name, seed=4) for _ in range(2))
    for _ in range(80):
        one.step()
        other.step()
    saved = one.twins.engine.block.tobytes()
    one.twins.engine.block[:] = 0
    one.twins.engine.restore(saved)
    for _ in range(80):
        one.step()
        other.step()
        one.twins.check()
    assert one.twins.engine.block_sha256() == other.twins.engine.block_sha256()
    assert one.twins.now > START_NS
