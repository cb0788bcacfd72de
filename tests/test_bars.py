"""Bars of a second and of volume against docs/bars.md: worked out by hand, on random markets, on real recordings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.recording import FRAME
from market import CAPTURES, SECOND, START_NS, Market, compact, frame, lines_of, setup_of
from oracle.bars import TAUS, Bar, Bars
from oracle.book import Oracle
from seconds import Tape, bars_of
from twins import EAGER, Story, Terms

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EXACT = ("second", "open", "high", "low", "close", "bought", "sold", "trades", "updates", "synced", "known")


def same(found: NDArray[Any] | list[Any], want: list[Bar], *, depth: bool = True) -> None:
    assert len(found) == len(want)
    for bar, told in zip(found, want, strict=True):
        assert {name: int(bar[name]) for name in EXACT} == {name: int(getattr(told, name)) for name in EXACT}
        assert float(bar["change"]) == told.change
        if depth:
            assert bar["depth"].tolist() == pytest.approx(told.depth, rel=1e-12)


def agree(engine: Engine, oracle: Bars) -> None:
    bars = engine.view["bars"]
    assert int(bars["count"]) == len(oracle.bars)
    assert int(bars["silences"]) == oracle.silences
    same(bars_of(engine), oracle.bars[-len(bars["ring"]) :])
    assert int(bars["volume_count"]) == len(oracle.volume_bars)
    kept = oracle.volume_bars[-len(bars["volume_ring"]) :]
    first = len(oracle.volume_bars) - len(kept)
    ring = [bars["volume_ring"][i % len(bars["volume_ring"])] for i in range(first, len(oracle.volume_bars))]
    same(ring, kept, depth=False)
    assert float(bars["volume"]) == pytest.approx(oracle.volume, rel=1e-12)
    assert bars["variance"].tolist() == pytest.approx(oracle.variance(), rel=1e-12)


class Both:
    """The kernel and the oracle, message by message."""

    def __init__(self, config: bytes, exchange: str, engine_name: str) -> None:
        c: Any = np.frombuffer(config, layout.CONFIG)[0]
        self.engine = Engine(config, kernel=engine_name)
        self.book = Oracle(exchange, bytes(c["symbol"]).decode(), int(c["price_decimals"]), int(c["qty_decimals"]))
        volume_s = float(c["parameter"][layout.Parameter.BARS_VOLUME_S])
        self.bars = Bars(int(c["price_decimals"]), int(c["qty_decimals"]), volume_s)

    def raw(self, raw: bytes, ns: int) -> None:
        seen = len(self.book.trade_prints)
        self.bars.before(ns, self.book)
        self.book.feed(raw, ns)
        self.engine.feed(frame(raw, ns))
        if self.book.happened:
            self._after(ns, seen)

    def frame(self, data: bytes) -> None:
        ns, length, _, kind = FRAME.unpack_from(data)
        payload = data[FRAME.size : FRAME.size + length]
        if kind == layout.Kind.RAW:
            self.raw(payload, ns)
            return
        self.bars.before(ns, self.book)
        self.book.happened = set()
        if kind == layout.Kind.COMMAND and payload[0] == layout.CommandOp.RESET_BOOK:
            self.book.reset()
        elif kind == layout.Kind.COMMAND:  # halt and resume look at the touch again
            self.book.happened = {"ticker"}
        self.engine.feed(data)
        self._after(ns, len(self.book.trade_prints))

    def _after(self, ns: int, seen: int) -> None:
        scale = self.book.qty_decimals
        self.bars.after(ns, self.book, [(int(q.scaleb(scale)), side) for _, q, side in self.book.trade_prints[seen:]])


def test_a_bar_holds_the_touch_and_the_trades_of_its_second(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot(10_000, depth=8)
    m.tell(low=9_990, high=10_020, price=10_010, bought=3, sold=1)
    (bar,) = m.bars()
    assert bar["second"] == Tape.START
    assert [int(bar[name]) for name in ("open", "high", "low", "close")] == [20_001, 20_041, 19_981, 20_021]
    assert [int(bar[name]) for name in ("bought", "sold", "trades", "updates")] == [3000, 1000, 2, 4]
    assert bar["depth"].tolist() == [4000, 4000]
    assert (bar["synced"], bar["known"], bar["change"]) == (1, 0, 0)


def test_the_next_one_begins_where_it_ended_and_knows_the_change(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    m.tell(10_010)
    m.tell(10_020)
    bar = m.bars()[-1]
    assert [int(bar[name]) for name in ("open", "high", "low", "close")] == [20_021, 20_041, 20_021, 20_041]
    assert (bar["known"], bar["change"]) == (1, 20 / 20_021)
    assert m.view["bars"]["variance"].tolist() == [(20 / 20_021) ** 2] * 4


def test_nothing_of_the_message_that_ends_a_bar_is_in_it(engine_name: str) -> None:
    """Neither its price nor its depth nor that it lost the book."""
    m = Tape(engine_name)
    m.snapshot(depth=8)
    m.second += 1
    m.tell(10_500, depth=2)
    first, second = m.bars()
    assert (first["close"], first["depth"].tolist()) == (20_001, [4000, 4000])
    assert (second["close"], second["depth"].tolist()) == (21_001, [1000, 1000])
    m.lose()
    m.tell()
    assert [int(bar["synced"]) for bar in m.bars()] == [1, 1, 0]


def test_silence_makes_empty_bars_and_a_long_one_is_one_step(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    m.second += 119
    m.tell(10_010)
    bars = m.bars()
    assert len(bars) == 120
    assert {int(bar["close"]) for bar in bars[:-1]} == {20_001}
    assert [int(bar["second"]) for bar in bars] == list(range(Tape.START, Tape.START + 120))
    m.second += 3600
    m.tell(10_020, bought=1)
    *_, before, after = m.bars()
    assert len(m.bars()) == 122
    assert m.view["bars"]["silences"] == 1
    assert (before["second"], before["close"], before["trades"]) == (Tape.START + 120, 20_021, 0)
    assert (after["second"], after["change"], after["trades"]) == (m.second - 1, 20 / 20_021, 1)


def test_an_invalid_book_has_no_price_and_no_change_across_it(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    m.tell(10_010)
    m.lose()
    m.tell(bought=2)
    m.snapshot(11_000)
    m.tell()
    m.tell(11_010)
    was, lost, back, then = m.bars()
    assert [int(bar["synced"]) for bar in (was, lost, back, then)] == [1, 0, 1, 1]
    assert [int(bar["known"]) for bar in (was, lost, back, then)] == [0, 0, 0, 1]
    assert int(lost["bought"]) == 2000
    assert (back["open"], back["low"], back["change"]) == (22_001, 22_001, 0)
    assert then["change"] == 20 / 22_001
    assert m.view["bars"]["variance"][3] == then["change"] ** 2  # one change is known


def test_a_book_that_comes_back_with_one_side_has_no_price_yet(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    m.tell(10_010)
    m.lose()
    m.feed(b'{"lastUpdateId":99,"bids":[["99","1"]],"asks":[]}', at=m.second * SECOND)
    assert m.view["sync"]["synced"] == 1
    m.tell(bought=1)
    assert m.bars()[-1]["synced"] == 0


def test_time_that_runs_backwards_ends_no_bar(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot()
    m.tell(10_010)
    m.second -= 50
    m.tell(10_020)
    assert len(m.bars()) == 1
    m.second += 49
    m.tell(10_030)
    assert [int(bar["close"]) for bar in m.bars()] == [20_021, 20_061]


def test_a_volume_bar_holds_what_is_usually_traded_in_its_time(engine_name: str) -> None:
    m = Tape(engine_name, bars__volume_s=3)
    m.snapshot()
    for i in range(10):
        m.tell(10_000 + i, bought=1.5, sold=0.5)  # 2 a second are usual; each second's trades come before its quote
    bars = m.view["bars"]
    assert bars["volume"] == 2000
    assert bars["volume_count"] == 3
    ring = bars["volume_ring"]
    assert [int(b["second"]) for b in ring[:3]] == [Tape.START + 1, Tape.START + 4, Tape.START + 7]
    assert [(int(b["bought"]), int(b["sold"]), int(b["trades"])) for b in ring[:3]] == [(4500, 1500, 6)] * 3
    assert [(int(b["open"]), int(b["close"])) for b in ring[:2]] == [(20_001, 20_005), (20_007, 20_011)]


def test_variance_is_a_plain_mean_until_there_are_tau_bars(engine_name: str) -> None:
    m = Tape(engine_name)
    m.snapshot(1_000_000)
    rng = np.random.default_rng(3)
    price, prices = 1_000_000, [1_000_000]
    m.tell(price)
    for _ in range(40):
        price += int(rng.integers(-200, 200))
        prices.append(price)
        m.tell(price)
    mids = 2.0 * np.array(prices) + 1
    squares = (np.diff(mids) / mids[:-1]) ** 2
    found = m.view["bars"]["variance"]
    assert found[1:].tolist() == pytest.approx([squares.mean()] * 3, rel=1e-9)
    decayed = squares[:10].mean() * 0.9**30 + sum(s * 0.1 * 0.9 ** (29 - i) for i, s in enumerate(squares[10:]))
    assert found[0] == pytest.approx(decayed, rel=1e-9)
    assert TAUS[0] == 10


def test_realised_volatility_recovers_what_was_planted(engine_name: str) -> None:
    """2,000 seconds of 1 bp each: within three standard errors (1 / sqrt(2 n_eff)) at 300 s."""
    rng = np.random.default_rng(7)
    m = Tape(engine_name)
    m.snapshot(1_000_000)
    for price in (1_000_000 * np.exp(np.cumsum(rng.normal(0, 1e-4, 2000)))).round().astype(int).tolist():
        m.tell(price)
    assert math.sqrt(m.view["bars"]["variance"][2]) == pytest.approx(1e-4, rel=3 / math.sqrt(2 * 600))


def test_prices_and_quantities_at_the_end_of_int64(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name, price_decimals=0, qty_decimals=0)
    vast = str((1 << 63) - 20)
    both = Both(m.config, "binance", engine_name)
    both.raw(compact(m.snapshot(5, [(vast, vast)], [(str((1 << 63) - 12), vast)])), START_NS)
    for i in range(4):
        both.raw(compact(m.trade(i + 1, vast, vast)), START_NS + SECOND * i)
    both.frame(frame(b"", START_NS + 10 * SECOND, kind=layout.Kind.TIMER))
    bar = bars_of(both.engine)[0]
    assert (int(bar["close"]), int(bar["bought"])) == ((1 << 63) - 1, (1 << 63) - 20)
    assert np.isfinite(both.engine.view["bars"]["variance"]).all()
    assert np.isfinite(both.engine.view["signals"]["value"]).all()


def test_one_message_with_more_trades_than_the_tape_remembers(engine_name: str) -> None:
    """Those that the ring still holds are counted, each once."""
    m = Market("okx", "BTC-USDT", engine_name)
    m.feed(m.okx("snapshot", 5, -1, [("99", "1")], [("101", "1")]))
    one = {"instId": "BTC-USDT", "tradeId": "1", "px": "100", "side": "buy", "ts": "1"}
    data = [one | {"sz": "1" if i >= 4 else "1000"} for i in range(layout.TRADES + 4)]
    m.engine.feed(frame(compact({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": data}), m.now))
    assert int(m.engine.view["tape"]["count"]) == layout.TRADES + 4
    assert int(m.engine.view["bars"]["now"]["bought"]) == layout.TRADES * 1000


@pytest.mark.parametrize("exchange", ["binance", "binance-usdm", "okx"])
def test_random_markets(engine_name: str, monkeypatch: pytest.MonkeyPatch, exchange: str) -> None:
    """Gaps, resets, one-sided and crossed books, timers, silences: bars are the oracle's."""
    settings = replace(EAGER, parameters={"bars.volume_s": 3.0})
    terms = Terms(exchange, "BTC-USDT" if exchange == "okx" else "BTCUSDT", settings=settings)
    feed = Engine.feed
    seen = set()
    for seed in range(3):
        told: list[bytes] = []

        def record(engine: Engine, frames: bytes, told: list[bytes] = told) -> int:
            told.append(frames)
            return feed(engine, frames)

        with monkeypatch.context() as patch:
            patch.setattr(Engine, "feed", record)
            story = Story(terms, engine_name, seed)
            for _ in range(400):
                story.step()
                if story.rng.random() < 0.01:
                    story.twins.timer(after=story.rng.choice([-5, 7, 119, 120, 121, 500]) * SECOND)
        both = Both(terms.config(), exchange, engine_name)
        for one in told:
            both.frame(one)
        agree(both.engine, both.bars)
        seen |= {("synced", bar.synced) for bar in both.bars.bars} | {("silence", both.bars.silences > 0)}
        seen |= {("volume bars", len(both.bars.volume_bars) > 5)}
    assert {("synced", True), ("synced", False), ("silence", True), ("volume bars", True)} <= seen


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:6], ids=[f"{e}:{s}" for _, e, s in CAPTURES[:6]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    lines = lines_of(data / file)
    begin = next(i for i, (_, raw) in enumerate(lines) if b'"lastUpdateId"' in raw or b'"snapshot"' in raw)
    both = Both(setup_of(data / file, exchange, symbol).config, exchange, engine_name)
    for ns, raw in lines[max(0, begin - 200) : begin + 4000]:
        both.raw(raw, ns)
    agree(both.engine, both.bars)
    assert len(both.bars.bars) >= 5
