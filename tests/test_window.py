"""Books wider than the window around the touch: levels far away, windows that move, more levels than there is room."""

from __future__ import annotations

import random

import pytest

from cwts.kernel import layout
from cwts.kernel.layout import Event, SyncReason
from market import Market, examples

WINDOW, FAR, TOP = layout.WINDOW, layout.FAR, layout.TOP
FULL = FAR - FAR // 8  # what a side keeps outside its window


def market(engine_name: str) -> Market:
    """Whole prices, so that a price is a tick."""
    m = Market("binance", "BTCUSDT", engine_name, 0, 0, reference_price=None)
    m.feed(m.snapshot(1, bids=[("10000000", "1")], asks=[("10000001", "1")]))
    return m


def tell(m: Market, bids: object = (), asks: object = (), *, check: bool = True) -> int:
    """The next update: (price, quantity) as integers."""
    last = int(m.engine.view["sync"]["last_id"]) + 1
    sides = [[(str(p), str(q)) for p, q in side] for side in (bids, asks)]  # type: ignore[attr-defined]
    events = m.feed(m.depth(last, last, None, *sides))
    if check:
        m.check()
    return events


@pytest.mark.parametrize("distance", [1, WINDOW // 8, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, 9_000_000])
def test_a_level_at_any_distance(engine_name: str, distance: int) -> None:
    m = market(engine_name)
    tell(m, [(10_000_000 - distance, 5)], [(10_000_001 + distance, 6)])
    tell(m, [(10_000_000, 0)], [(10_000_001, 0)])  # it is the best now
    tell(m, [(10_000_000 - distance, 7)], [(10_000_001 + distance, 8)])
    tell(m, [(10_000_000 - distance, 0)], [(10_000_001 + distance, 0)])
    assert m.synced
    tell(m, [(1, 1)], [(2**62, 1)])


@pytest.mark.parametrize("step", [1, 1000, WINDOW // 2, WINDOW, 10 * WINDOW])
@pytest.mark.parametrize("leaving", [False, True], ids=["levels stay", "levels go"])
def test_the_touch_walks_up_and_down_and_back(engine_name: str, step: int, leaving: bool) -> None:
    """With levels that stay behind, the book is crossed, and as right as any other."""
    m = market(engine_name)
    at = 10_000_000
    for i in range(40):
        before, at = at, at + (step if i < 10 or i >= 25 else -step)
        bids, asks = [(at, i + 1), (at - 3 * step, 2)], [(at + 1, i + 1), (at + 1 + 3 * step, 2)]
        gone = ([(before, 0)], [(before + 1, 0)]) if leaving else ([], [])
        tell(m, gone[0] + bids, gone[1] + asks)
    assert m.far_lost == 0


def test_random_walks_over_wide_prices(engine_name: str) -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @settings(max_examples=examples(12))
    @given(seed=st.integers(0, 2**32), width=st.sampled_from([40, 5_000, WINDOW, 5 * WINDOW, 10**7]))
    def check(seed: int, width: int) -> None:
        rng, m = random.Random(seed), market(engine_name)
        middle = 10**8
        live: tuple[set[int], set[int]] = {10_000_000}, {10_000_001}
        for _ in range(30):
            middle = max(
                2 * width, middle + rng.choice([0, 1, -1, width // 3, -width // 3, rng.randint(-width, width)])
            )
            told = []
            for side, sign in ((0, -1), (1, 1)):
                change = {p: 0 for p in live[side] if (p - middle) * sign <= 0}
                for _ in range(rng.randrange(1, 12)):
                    change[middle + sign * (1 + int(width * rng.random() ** rng.choice([1, 4])))] = rng.randrange(0, 9)
                for p in rng.sample(sorted(live[side]), min(len(live[side]), rng.choice([0, 1, 10]))):
                    change[p] = 0
                live[side].update(p for p, q in change.items() if q)
                live[side].difference_update(p for p, q in change.items() if not q)
                told.append(list(change.items()))
            tell(m, *told)
        assert m.synced

    check()


def test_fewer_levels_in_the_window_than_the_top_shows(engine_name: str) -> None:
    m = market(engine_name)
    tell(
        m, [(5_000_000 - 1000 * i, i + 1) for i in range(TOP + 10)], [(20_000_000 + 70_000 * i, 2) for i in range(TOP)]
    )
    assert m.engine.view["side"]["top_count"].tolist() == [TOP, TOP]
    assert m.engine.view["side"]["far_count"].tolist() == [TOP + 10, TOP]


@pytest.mark.parametrize("side", [0, 1])
def test_a_book_with_one_side(engine_name: str, side: int) -> None:
    m = market(engine_name)
    gone = [[(10_000_000, 0)], [(10_000_001, 0)]]
    tell(m, *(gone[i] if i != side else () for i in (0, 1)))
    assert m.synced
    assert m.engine.view["sync"]["touch"]["qty"].astype(bool).tolist() == [side == 0, side == 1]
    tell(m, *gone)
    tell(m, [(9, 1)], [(11, 1)])
    assert m.synced


def fill(m: Market, count: int) -> None:
    """So many bids outside the window."""
    far = [(9_000_000 - i, 1) for i in range(count)]
    for at in range(0, count, 8000):
        tell(m, far[at : at + 8000], check=False)


def test_levels_that_find_no_room_are_counted_and_the_book_stays_right_near_the_touch(engine_name: str) -> None:
    m = market(engine_name)
    fill(m, FULL + 10)
    assert (m.far_lost, m.synced) == (10, 1)
    assert m.engine.view["side"][0]["far_count"] == FULL
    assert m.engine.view["side"][0]["far_lost"] == 9_000_000 - FULL
    kept = m.engine.levels(0)[0]
    assert kept.tolist() == [10_000_000, *range(9_000_000, 9_000_000 - FULL, -1)]
    tell(m, [(9_999_999, 3)], [(10_000_002, 3)], check=False)
    assert m.engine.levels(0)[0][:2].tolist() == [10_000_000, 9_999_999]


def test_the_book_is_lost_when_the_touch_comes_to_where_levels_were_lost(engine_name: str) -> None:
    m = market(engine_name)
    fill(m, FULL + 10)
    events = tell(m, [(10_000_000, 0)], check=False)  # the best bid is 9,000,000 now: the lost ones lie in its window
    assert events & Event.GAP
    assert events & Event.NEED_SNAPSHOT
    assert (m.synced, m.gaps) == (0, 1)
    assert m.engine.view["sync"]["reason"] == SyncReason.OVERFLOW
    assert len(m.engine.levels(0)[0]) == 0
    m.feed(m.snapshot(10**6, bids=[("5", "1")], asks=[("6", "1")]) | {"symbol": m.symbol})
    assert m.synced == 1


def test_room_that_was_given_up_is_used_again(engine_name: str) -> None:
    m = market(engine_name)
    fill(m, FULL)
    assert m.far_lost == 0
    tell(m, [(9_000_000 - i, 0) for i in range(0, 8000, 2)], check=False)
    tell(m, [(8_000_000 - i, 1) for i in range(4000)], check=False)
    assert m.far_lost == 0
    assert m.engine.view["side"][0]["far_count"] == FULL
    m.check()


def test_an_update_that_fills_the_stage_and_one_that_does_not_fit(engine_name: str) -> None:
    m = market(engine_name)
    room = layout.STAGE - 3  # an update's header takes three slots
    for count, malformed in ((room, 0), (room + 1, 1)):
        last = int(m.engine.view["sync"]["last_id"]) + 1
        m.feed(m.depth(last, last, None, bids=[("9999999", "1")] * (count - 1), asks=[("10000002", "2")]))
        assert m.malformed == malformed
    assert (m.applied, m.synced) == (1, 1)
    assert m.engine.levels(0)[0].tolist() == [10_000_000, 9_999_999]
