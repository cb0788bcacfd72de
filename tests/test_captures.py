"""Real recordings: for every instrument the kernel's book is the oracle's, and lines left out are noticed at once."""

from __future__ import annotations

import copy
import gzip
import json
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.recording import Recording
from market import CAPTURES, SECOND, START_NS, agree, compact, frame, frames, head, lines_of, setup_of, told
from oracle.book import Oracle

if TYPE_CHECKING:
    from pathlib import Path

    from cwts.replay import Setup

IDS = [f"{exchange}:{symbol}" for _, exchange, symbol in CAPTURES]


def oracle_for(setup: Setup) -> Oracle:
    instrument = setup.instrument
    return Oracle(instrument.exchange, instrument.symbol, instrument.price_decimals, instrument.qty_decimals)


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES, ids=IDS)
def test_the_book_is_the_oracles(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    setup = setup_of(data / file, exchange, symbol)
    engine, oracle = Engine(setup.config, kernel=engine_name), told(data / file, exchange, symbol)
    for batch in Recording(data / file).batches():
        engine.feed(batch)
    agree(engine, oracle)
    assert oracle.synced
    assert oracle.counts["gaps"] == oracle.counts["malformed"] == 0
    if exchange == "okx":
        assert oracle.counts["checksum_ok"] == oracle.counts["applied"] + 1
        assert oracle.counts["checksum_bad"] == 0


def test_a_recording_without_a_snapshot_never_makes_a_book(engine_name: str, data: Path) -> None:
    path = data / "binance-spot-btcusdt-20240809.gz"
    engine = Engine(setup_of(path, "binance", "BTCUSDT").config, kernel=engine_name)
    for batch in Recording(path).batches():
        engine.feed(batch)
    assert not engine.view["sync"]["synced"]
    assert engine.view["counters"]["applied"] == 0
    assert engine.view["counters"]["trades"] == 10_147
    assert engine.view["account"]["orders"] == 0


def test_a_recording_that_continues_another_one_needs_no_snapshot_of_its_own(engine_name: str, data: Path) -> None:
    first, second = (data / f"binance-spot-btcusdt-2024080{day}.gz" for day in (8, 9))
    more = head(second, 2000)
    both = Recording(first.read_bytes() + gzip.compress(b"".join(b"%d %s\n" % line for line in more), 1))
    engine = Engine(setup_of(first, "binance", "BTCUSDT").config, kernel=engine_name)
    for batch in both.batches():
        engine.feed(batch)
    oracle = copy.deepcopy(told(first, "binance", "BTCUSDT"))
    applied = oracle.counts["applied"]
    for ns, raw in more:
        oracle.feed(raw, ns)
    agree(engine, oracle)
    assert oracle.synced
    assert oracle.counts["gaps"] == 0
    assert oracle.counts["applied"] > applied


def depth_lines(all_lines: list[tuple[int, bytes]], exchange: str, symbol: str) -> list[int]:
    """Where the updates of the book lie that are applied, i.e. after the first snapshot."""
    if exchange == "okx":
        mark = b'"instId":"%s"},"action":"update"' % symbol.encode()
        return [i for i, (_, raw) in enumerate(all_lines) if mark in raw[:200]]
    start = next(i for i, (_, raw) in enumerate(all_lines) if raw.startswith(b'{"lastUpdateId"'))
    return [i for i, (_, raw) in enumerate(all_lines) if i > start and b'"depthUpdate"' in raw[:200]]


BINANCE = [capture for capture in CAPTURES if capture[1] != "okx"]


@pytest.mark.parametrize(("file", "exchange", "symbol"), BINANCE, ids=[exchange for _, exchange, _ in BINANCE])
def test_a_line_left_out_is_a_gap_at_the_next_update(
    engine_name: str, data: Path, file: str, exchange: str, symbol: str
) -> None:
    setup = setup_of(data / file, exchange, symbol)
    all_lines = head(data / file, 7000)
    depth = depth_lines(all_lines, exchange, symbol)
    rng = random.Random(7)
    # not the first ones: until the snapshot's own update they may be left out without a loss
    for missing in rng.sample(depth[10:-2], 5):
        engine, oracle = Engine(setup.config, kernel=engine_name), oracle_for(setup)
        following = depth[depth.index(missing) + 1]
        before = [raw for _, raw in all_lines[:following] if raw is not all_lines[missing][1]]
        engine.feed(frames(before))
        for raw in before:
            oracle.feed(raw)
        agree(engine, oracle)
        assert engine.view["sync"]["synced"]
        events = engine.feed(frames([all_lines[following][1]]))
        oracle.feed(all_lines[following][1])
        agree(engine, oracle)
        assert events & layout.Event.GAP
        assert not engine.view["sync"]["synced"]


@pytest.mark.parametrize("symbol", ["BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527"])
def test_okx_a_line_left_out_shows_in_the_checksum(engine_name: str, data: Path, symbol: str) -> None:
    """Recordings from before 2023 have no ids: the checksum notices as soon as the best 25 levels are touched."""
    path = data / "okx-books-trades-tickers-20220513.gz"
    setup = setup_of(path, "okx", symbol)
    all_lines = lines_of(path)
    for missing in depth_lines(all_lines, "okx", symbol)[::7]:
        engine, oracle = Engine(setup.config, kernel=engine_name), oracle_for(setup)
        for i, (_, raw) in enumerate(all_lines):
            if i != missing:
                engine.feed(frames([raw]))
                oracle.feed(raw)
                assert bool(engine.view["sync"]["synced"]) == oracle.synced
        agree(engine, oracle)


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=IDS[:4])
def test_lines_lost_repeated_and_swapped(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    """A bad connection, with a snapshot now and then: the kernel and the oracle lose and regain the book together."""
    setup = setup_of(data / file, exchange, symbol)
    all_lines = [raw for _, raw in head(data / file, 7000)]
    for seed in range(2):
        rng = random.Random(seed)
        raws: list[bytes] = []
        for raw in all_lines:
            chance = rng.random()
            if chance < 0.002:
                continue
            raws.append(raw)
            if chance > 0.998:
                raws.append(raw)
            elif chance > 0.996 and len(raws) > 1:
                raws[-1], raws[-2] = raws[-2], raws[-1]
            elif chance > 0.995:
                raws.append(rng.choice(raws))
        engine, oracle = Engine(setup.config, kernel=engine_name), oracle_for(setup)
        for at in range(0, len(raws), 500):
            engine.feed(frames(raws[at : at + 500]))
            for raw in raws[at : at + 500]:
                oracle.feed(raw)
            agree(engine, oracle)


@pytest.mark.parametrize(("file", "exchange", "symbol"), BINANCE[:2], ids=["binance-usdm", "binance"])
def test_another_symbols_snapshot_leaves_the_book_alone(
    engine_name: str, data: Path, file: str, exchange: str, symbol: str
) -> None:
    """Recordings of two symbols: the other's nameless snapshot has a similar price, or ids in our range, or both."""
    setup = setup_of(data / file, exchange, symbol)
    raws = [raw for _, raw in head(data / file, 2500)]
    at = next(i for i, raw in enumerate(raws) if raw.startswith(b'{"lastUpdateId"'))
    ours = json.loads(raws[at])
    undisturbed = Engine(setup.config, kernel=engine_name)
    undisturbed.feed(frames(raws))
    for where, factor, ahead in ((1500, 1.05, 10**9), (1000, 1.05, 10), (700, 0.9, -(10**9)), (400, 0.04, 10**9)):
        sides = {
            side: [[f"{float(price) * factor:.1f}", qty] for price, qty in ours[side][:50]] for side in ("bids", "asks")
        }
        other = compact({"lastUpdateId": ours["lastUpdateId"] + ahead, **sides})
        both = [*raws[: at + where], other, *raws[at + where :]]
        engine, oracle = Engine(setup.config, kernel=engine_name), oracle_for(setup)
        for i, raw in enumerate(both):
            oracle.feed(raw, START_NS + i * SECOND // 100)
        engine.feed(frames(both))
        agree(engine, oracle)
        assert engine.view["counters"]["gaps"] == 0
        assert engine.book_sha256() == undisturbed.book_sha256()


@pytest.mark.parametrize(("file", "exchange", "symbol"), BINANCE, ids=[exchange for _, exchange, _ in BINANCE])
@pytest.mark.parametrize("late", [0, 3], ids=["snapshot first", "snapshot after three updates"])
def test_a_reconnect_inside_a_recording_is_survived(
    engine_name: str, data: Path, file: str, exchange: str, symbol: str, late: int
) -> None:
    """Some lines are missing; the new connection's snapshot comes before its first update, or soon after."""
    setup = setup_of(data / file, exchange, symbol)
    all_lines = head(data / file, 4000)
    depth = depth_lines(all_lines, exchange, symbol)
    lost_from, lost_to = depth[20], depth[40]
    whole = oracle_for(setup)
    for _, raw in all_lines[:lost_to]:
        whole.feed(raw)
    sides = {
        name: [[format(p, "f"), format(q, "f")] for p, q in whole.ladder(side)]
        for side, name in enumerate(("bids", "asks"))
    }
    named = {"symbol": symbol} if exchange == "binance-coinm" else {}
    snapshot = compact(named | {"lastUpdateId": whole.last, **sides})
    arrives = depth[40 + late]
    raws = [raw for _, raw in all_lines]
    raws = [*raws[:lost_from], *raws[lost_to:arrives], snapshot, *raws[arrives:]]
    engine, oracle = Engine(setup.config, kernel=engine_name), oracle_for(setup)
    engine.feed(frames(raws))
    for i, raw in enumerate(raws):
        oracle.feed(raw, START_NS + i * SECOND // 100)
    agree(engine, oracle)
    for _, raw in all_lines[lost_to:]:
        whole.feed(raw)
    assert oracle.synced
    assert oracle.counts["gaps"] == (0 if named and not late else 1)
    assert engine.book_sha256() == whole.book_sha256()


def test_nothing_trades_while_the_book_is_invalid(engine_name: str, data: Path) -> None:
    path = data / "binance-usdm-btcusdt-20240808.gz"
    setup = setup_of(path, "binance-usdm", "BTCUSDT")
    all_lines = lines_of(path)
    depth = depth_lines(all_lines, "binance-usdm", "BTCUSDT")
    missing = depth[len(depth) // 2]
    raws = [raw for i, (_, raw) in enumerate(all_lines) if i != missing]
    times = [ns for i, (ns, _) in enumerate(all_lines) if i != missing]
    engine = Engine(setup.config, kernel=engine_name)
    cut = missing + 200
    engine.feed(b"".join(frame(raw, ns) for raw, ns in zip(raws[:cut], times[:cut], strict=True)))
    assert engine.view["counters"]["gaps"] == 1
    fills, orders = int(engine.view["account"]["fills"]), int(engine.view["account"]["orders"])
    decided = engine.view["counters"]["decisions"].copy()
    engine.feed(b"".join(frame(raw, ns) for raw, ns in zip(raws[cut:], times[cut:], strict=True)))
    assert int(engine.view["account"]["fills"]) == fills
    assert int(engine.view["account"]["orders"]) == orders
    new = engine.view["counters"]["decisions"] - decided
    assert np.count_nonzero(new[1:]) == 0
    assert engine.view["decision"]["reason"] == layout.Reason.BOOK_INVALID
    assert engine.view["counters"]["trades"] == 21_313
