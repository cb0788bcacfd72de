"""The way into an engine: nothing is lost silently; after an overflow the book is invalid before anything is fed."""

from __future__ import annotations

import pytest

from cwts.kernel import layout
from cwts.metrics import prometheus
from cwts.recording import FRAME
from cwts.transport.sink import Sink
from market import Market, compact


def sink(engine_name: str, capacity: int = 4096) -> tuple[Sink, Market, list[bytes]]:
    market = Market("binance", "BTCUSDT", engine_name)
    taps: list[bytes] = []
    ticks = iter(range(1, 1 << 30))
    return (
        Sink(market.engine, lambda: next(ticks), tap=lambda b: taps.append(bytes(b)), capacity=capacity),
        market,
        taps,
    )


def test_frames_are_fed_as_they_were_pushed(engine_name: str) -> None:
    way, market, taps = sink(engine_name)
    for i, message in enumerate((market.snapshot(5), market.depth(6, 7), market.trade(1))):
        assert way.push(100 + i, 3, compact(message))
    assert way.waiting > 0
    assert way.flush() & layout.Event.SYNCED
    assert way.synced
    assert (way.frames, way.batches, way.waiting) == (3, 1, 0)
    assert int(market.engine.view["counters"]["stream_messages"][3]) == 3
    assert len(taps) == 1
    assert FRAME.unpack_from(taps[0]) == (100, len(compact(market.snapshot(5))), 3, 0)
    assert way.flush() == 0


def test_a_full_buffer_is_fed_at_once_and_a_larger_message_gets_room(engine_name: str) -> None:
    way, market, _ = sink(engine_name, capacity=256)
    way.push(1, 0, compact(market.snapshot(5)))
    assert way.push(2, 0, b" " * 5000 + compact(market.depth(6, 7)))
    way.flush()
    assert int(market.engine.view["counters"]["applied"]) == 1
    assert (way.lost, way.overflows) == (0, 0)


def test_an_overflow_is_counted_and_resets_the_book(engine_name: str) -> None:
    way, market, taps = sink(engine_name, capacity=512)
    way.push(1, 0, compact(market.snapshot(5)))
    way.flush()
    assert way.synced
    way.pause()
    pushed = [way.push(2, 0, compact(market.depth(6 + i, 6 + i))) for i in range(20)]
    assert pushed[0]
    assert not pushed[-1]
    assert way.flush() == 0
    assert (way.lost, way.overflows, way.overflowed) == (20, 1, True)
    way.resume()
    assert not way.push(3, 0, compact(market.depth(26, 26)))  # not before the book was reset
    way.command(4, layout.CommandOp.RESET_BOOK)
    assert way.push(5, 0, compact(market.depth(27, 27)))
    assert way.flush() & layout.Event.NEED_SNAPSHOT
    assert not way.synced
    assert way.lost == 21
    assert len(taps) == 2


def test_a_pause_without_an_overflow_loses_nothing(engine_name: str) -> None:
    way, market, _ = sink(engine_name)
    way.push(1, 0, compact(market.snapshot(5)))
    way.pause()
    way.push(2, 0, compact(market.depth(6, 7)))
    assert way.flush() == 0
    way.resume()
    assert way.flush() & layout.Event.SYNCED
    assert way.frames == 2


@pytest.mark.parametrize(
    ("labels", "text"),
    [({}, "cwts_x 1\n"), ({"a": 'b"\\\n'}, 'cwts_x{a="b\\"\\\\\\n"} 1\n')],
)
def test_prometheus_text(labels: dict[str, str], text: str) -> None:
    found = prometheus([("x", labels, 1)], {"x": ("counter", "help")})
    assert found == f"# HELP cwts_x help\n# TYPE cwts_x counter\n{text}"
