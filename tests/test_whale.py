"""The whale analyser against its definitions (docs/whale.md) and against truths planted in made markets."""

from __future__ import annotations

import json
import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.kernel import Engine, layout
from cwts.kernel.layout import NestKind, Signal
from cwts.parameters import PARAMETERS
from market import CAPTURES, SECOND, START_NS, Market, compact, frame, head, setup_of
from oracle.book import Oracle
from oracle.whale import Excursion, Trade, Whale
from whale_scenes import Found, Plan, Scene, background, cluster_sizes, config, detect, planted, trade_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MS = SECOND // 1000
OURS = {name: p.default for name, p in PARAMETERS.items() if name.startswith("whale.")}


class Watched:
    """The kernel and the twin, fed the same."""

    def __init__(self, config: bytes, exchange: str, engine_name: str, **changed: float) -> None:
        c: Any = np.frombuffer(config, layout.CONFIG).copy()
        names = list(PARAMETERS)
        for name, value in changed.items():
            c["parameter"][0, names.index(f"whale.{name}")] = value
        parameters = {name: c["parameter"][0, names.index(name)] for name in OURS}
        symbol = bytes(c["symbol"][0]).decode()
        self.engine = Engine(c.tobytes(), kernel=engine_name)
        self.book = Oracle(exchange, symbol, int(c["price_decimals"][0]), int(c["qty_decimals"][0]))
        inverse = int(c["contract"][0]) == layout.Contract.INVERSE
        self.twin = Whale(parameters, int(c["tick_size"][0]), inverse=inverse)
        self.now = START_NS

    def raw(self, message: bytes | dict[str, Any], *, after: int = 0) -> None:
        raw = message if isinstance(message, bytes) else compact(message)
        self.now += after
        self.engine.feed(frame(raw, self.now))
        book, seen, was = self.book, len(self.book.trade_prints), self.book.synced
        book.feed(raw, self.now)
        trades = []
        if len(book.trade_prints) > seen:
            m = json.loads(raw)
            ms = [int(t["ts"]) for t in m["data"]] if book.exchange == "okx" else [m.get("data", m)["T"]]
            units = 10**book.price_decimals, 10**book.qty_decimals
            for (price, qty, aggressor), t in zip(book.trade_prints[seen:], ms, strict=True):
                trades.append(Trade(int(price * units[0]), int(qty * units[1]), aggressor, self.now, t * MS))
        if book.happened:
            self.twin.update(self.now, book, trades, was_synced=was)

    def timer(self, *, after: int) -> None:
        self.now += after
        self.engine.feed(frame(b"", self.now, kind=layout.Kind.TIMER))
        self.book.happened = set()
        self.twin.update(self.now, self.book, [], was_synced=self.book.synced)

    def nest(self, side: int, price: int) -> Any:
        """What the kernel remembers of a price; None: nothing."""
        return next((n for n in self.engine.view["whale"]["side"][side]["nest"] if n["price"] == price), None)

    @property
    def signals(self) -> list[float]:
        return [float(v) for v in self.engine.view["signals"]["value"][: Signal.NEST_ASK + 1]]

    def check(self) -> None:
        w, twin = self.engine.view["whale"], self.twin
        assert int(w["clusters"]["count"]) == len(twin.clusters.size)
        assert int(w["levels"]["count"]) == len(twin.levels.size)
        assert int(w["peaks"]["count"]) == len(twin.peaks.size)
        assert int(w["whales"]) == len(twin.whales)
        assert int(w["patient"]) == twin.patient
        limits = [float(w[sizes]["limit"]) for sizes in ("clusters", "levels", "peaks")]
        assert limits == pytest.approx([twin.clusters.limit, twin.levels.limit, twin.peaks.limit], rel=1e-9)
        for side in (0, 1):
            e = twin.excursion[side] or Excursion(0)
            found_e = [float(w["excursion"][name][side]) for name in ("score", "peak", "size", "counted", "clusters")]
            assert found_e == pytest.approx([e.score, e.peak, e.size, e.counted, e.clusters], rel=1e-9, abs=1e-9)
            assert int(w["excursion"]["first_ns"][side]) == e.first_ns
            s, t = w["side"][side], twin.sides[side]
            sums = [float(s[name]) for name in ("flow", "pulled", "stood")]
            assert sums == pytest.approx([t.flow, t.pulled, t.stood], rel=1e-9, abs=1e-12)
            found = {int(n["price"]): n for n in s["nest"] if n["price"]}
            want = {n.price: n for n in t.nests if n}
            assert found.keys() == want.keys()
            for price, n in want.items():
                f = found[price]
                assert (int(f["qty"]), int(f["pulled"])) == (n.qty, n.pulled)
                if n.qty:
                    assert (int(f["since_ns"]), float(f["traded"])) == (n.since_ns, n.traded)
                    assert int(f["gone_ns"]) == (n.gone_ns or 0)
                    kind = n.resting * NestKind.RESTING | n.iceberg * NestKind.ICEBERG | n.near * NestKind.NEAR
                    assert int(f["kind"]) & ~NestKind.AWAY == kind
                    assert float(f["strength"]) == pytest.approx(n.strength, rel=1e-6)
        assert self.signals == pytest.approx([twin.pressure, twin.confidence, *twin.nest], rel=1e-5, abs=1e-6)


# -- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    """With limits known early, and a gap in the middle."""
    mark = b'"lastUpdateId"' if exchange != "okx" else b'"snapshot"'
    lines = head(data / file, 20_000)
    start = next(i for i, (_, raw) in enumerate(lines) if mark in raw)
    lines = lines[max(0, start - 20) : start + 2_500]
    config = setup_of(data / file, exchange, symbol).config
    m = Watched(
        config, exchange, engine_name, least=20, quantile=0.9, nest_quantile=0.97, persist_s=1, iceberg_ratio=1.2
    )
    for i, (ns, raw) in enumerate(lines):
        m.raw(raw, after=ns - m.now)
        if i % 50 == 0:
            m.check()
    m.check()
    if exchange in ("binance", "binance-usdm"):
        assert m.twin.whales
    if exchange == "binance-usdm":
        assert m.twin.patient


def scene(engine_name: str, seed: int = 1, warm: int = 350, **changed: float) -> tuple[Watched, Scene]:
    """A book that is known: levels above `levels.limit` are large."""
    m = Watched(config(), "binance", engine_name, **changed)
    made = Scene(lambda message, after: m.raw(message, after=after), seed)
    made.step(warm)
    return m, made


@pytest.mark.parametrize("seed", range(2))
def test_random_markets(engine_name: str, seed: int) -> None:
    m, made = scene(
        engine_name, seed, 50, least=10, quantile=0.8, nest_quantile=0.9, persist_s=0.5, iceberg_ratio=1, near_ticks=3
    )
    rng = made.rng
    for i in range(300):
        made.step(1, to=max(100, made.mid + rng.choice([0, 0, 0, 1, -1, 3, -3])))
        for _ in range(rng.choice([0, 1, 5])):
            aggressor = rng.choice([1, -1])
            price = made.mid + aggressor * rng.choice([1, 1, 2, 3])
            made.trade(price, rng.randrange(1, 5000), aggressor, after=rng.choice([0, MS, 40 * MS, 300 * MS]))
        if rng.random() < 0.03:
            made.fixed = {(side, made.mid + (2 * side - 1) * rng.randrange(1, 20)): 20_000 for side in (0, 1)}
        if rng.random() < 0.01:
            m.timer(after=rng.choice([-2, 1, 5, 400]) * SECOND)
        if i == 200:  # an update is lost; later a new snapshot comes
            made.id += 1
        if i == 215:
            made.id += 1
            m.raw(made.say.snapshot(made.id, *(made._levels(side, made.sides[side]) for side in (0, 1))))
        m.check()
    assert m.twin.whales
    assert m.twin.peaks.limit
    assert sum(s.stood for s in m.twin.sides) > 0
    assert sum(s.pulled for s in m.twin.sides) > 0


# -- whales that take -------------------------------------------------------------------------------------------------


def tell(m: Watched, qty: str, *, sold: bool = False, ms: int = 0, after: int = 0, price: str = "100") -> None:
    m.raw({"e": "trade", "E": ms, "T": ms, "s": "BTCUSDT", "t": 1, "p": price, "q": qty, "m": sold}, after=after)
    m.check()


def clusters(m: Watched) -> int:
    m.timer(after=10 * SECOND)
    m.check()
    return int(m.engine.view["whale"]["clusters"]["count"])


def test_the_prints_of_one_order_are_one_cluster_however_late_they_come(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    tell(m, "1", ms=5)
    tell(m, "1", ms=5, after=900 * MS)
    tell(m, "1", ms=90, after=100 * MS)
    assert float(m.engine.view["whale"]["open"]["size"][0]) == 3 * 1000 * 10_000
    assert clusters(m) == 1


def test_the_other_side_does_not_break_a_cluster(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    for i in range(10):
        tell(m, "1", ms=10 * i + 1, after=50 * MS)
        tell(m, "0.001", sold=True, ms=10 * i + 2, after=30 * MS)
    assert clusters(m) == 2


def test_a_cluster_ends_with_a_gap_and_after_its_longest_time(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    tell(m, "1", ms=1)
    tell(m, "1", ms=2, after=101 * MS)
    assert clusters(m) == 2
    for i in range(50):
        tell(m, "1", ms=10 + i, after=90 * MS)
    assert clusters(m) == 2 + 3  # 4.4 s in parts of at most 2 s


def test_no_whale_is_known_before_enough_clusters_are(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    for i in range(99):
        tell(m, "0.001", ms=i + 1, after=SECOND)
    tell(m, "1000", ms=1000, after=SECOND)
    assert m.signals == [0, 0, 0, 0]
    tell(m, "0.001", ms=1001, after=SECOND)  # closes the hundredth
    tell(m, "1000", ms=1002, sold=True, after=SECOND)
    assert m.signals[0] < -0.2
    pressure = m.signals[0]
    m.timer(after=30 * SECOND)
    assert np.arctanh(m.signals[0]) == pytest.approx(np.arctanh(pressure) / np.e, rel=1e-5)


def test_a_whale_is_a_whale_while_it_eats_not_when_it_is_done(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    for i in range(200):
        tell(m, "1", ms=i + 1, after=SECOND)
    heard = []
    for i in range(6):
        tell(m, "0.5", ms=1000 + i, after=20 * MS if i else SECOND)
        heard.append(m.signals[0])
    assert heard[:2] == [0, 0]
    assert heard[2:] == sorted(set(heard[2:]))
    tell(m, "99999", ms=1010, after=20 * MS)
    assert np.arctanh(m.signals[0]) == pytest.approx(10 / 3, rel=1e-3)  # no whale counts for more than ten


def usual(m: Watched, count: int = 400) -> float:
    """Clusters of all sizes, of either side, one a second; returns the limit."""
    rng = random.Random(11)
    for i in range(count):
        qty = f"{0.01 * rng.lognormvariate(0, 2):.3f}"
        m.raw({"e": "trade", "E": i, "T": i + 1, "s": "BTCUSDT", "t": 1, "p": "100", "q": qty, "m": i % 2 == 0},
              after=SECOND)  # fmt: skip
    m.check()
    return float(m.engine.view["whale"]["clusters"]["limit"])


def excursion(m: Watched, side: int = 0) -> dict[str, float]:
    e = m.engine.view["whale"]["excursion"]
    return {name: float(e[name][side]) for name in ("score", "peak", "size", "counted", "clusters")}


UNIT = 1000 * 10_000  # notional of a quantity of 1 at a price of 100


@pytest.mark.parametrize("sold", [False, True], ids=["buys", "sells"])
def test_a_patient_whale_is_known_by_many_clusters_none_of_which_is_one(engine_name: str, sold: bool) -> None:
    m = Watched(config(), "binance", engine_name)
    limit = usual(m)
    qty, side, sign = f"{limit / 4 / UNIT:.3f}", int(sold), -1 if sold else 1
    m.timer(after=600 * SECOND)
    before, heard = int(m.engine.view["whale"]["whales"]), []
    for i in range(20):
        tell(m, qty, sold=sold, ms=1000 + i, after=(300 + 40 * (i % 5)) * MS)
        heard.append(m.signals[0] * sign)
    assert int(m.engine.view["whale"]["whales"]) == before
    assert int(m.engine.view["whale"]["patient"]) == 1
    known = next(i for i, pressure in enumerate(heard) if pressure > 0.1)
    assert 3 < known < 12  # more than a limit, and not only when it is done
    assert heard[known:] == sorted(heard[known:])
    e = excursion(m, side)
    assert e["counted"] == pytest.approx(e["size"] / limit, rel=0.05)
    assert np.arctanh(heard[-1]) == pytest.approx(e["counted"] / 3, rel=0.15)  # decayed a little
    assert excursion(m, 1 - side)["counted"] == 0


def test_what_comes_after_a_patient_whale_is_not_its(engine_name: str) -> None:
    """Small trades of its side lower the sum, and count nothing; it ends when they have lowered it by the limit, or
    after a minute without any."""
    m = Watched(config(), "binance", engine_name)
    qty = f"{usual(m) / 4 / UNIT:.3f}"
    for i in range(20):
        tell(m, qty, ms=1000 + i, after=300 * MS)
    tell(m, "0.001", ms=1100, after=300 * MS)
    flow, seen = float(m.engine.view["whale"]["side"]["flow"][0]), excursion(m)
    m.timer(after=50 * SECOND)
    assert excursion(m)["score"] < excursion(m)["peak"] == seen["peak"]
    assert float(m.engine.view["whale"]["side"]["flow"][0]) < flow
    m.timer(after=12 * SECOND)
    m.check()
    assert excursion(m)["clusters"] == 0
    for i in range(20):
        tell(m, qty, ms=1200 + i, after=300 * MS)
    assert excursion(m)["counted"] > 1
    for i in range(20):
        tell(m, "0.001", ms=1300 + i, after=300 * MS)
    assert excursion(m)["clusters"] == 0
    assert int(m.engine.view["whale"]["patient"]) == 2


def test_what_a_cluster_has_told_is_not_told_again(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    limit = usual(m)
    qty, side = f"{limit / 4 / UNIT:.3f}", m.engine.view["whale"]["side"]
    for i in range(14):
        tell(m, qty, ms=1000 + i, after=300 * MS)
    before, flow = excursion(m), float(side["flow"][0])
    tell(m, f"{3.5 * limit / UNIT:.3f}", ms=1020, after=300 * MS)
    tell(m, "0.001", ms=1021, after=300 * MS)  # closes it
    assert excursion(m)["clusters"] == before["clusters"] + 2
    grown = excursion(m)["counted"] - before["counted"]
    assert excursion(m)["size"] == pytest.approx(before["size"] + float(qty) * UNIT)
    assert grown < 0.3
    assert float(side["flow"][0]) == pytest.approx(flow + 3.5 + grown, rel=0.05)


def test_one_cluster_however_large_is_no_patient_whale(engine_name: str) -> None:
    m = Watched(config(), "binance", engine_name)
    usual(m)
    tell(m, "99999", ms=1000, after=SECOND)
    tell(m, "0.001", ms=1001, after=SECOND)
    assert excursion(m)["peak"] == pytest.approx(3.5 - 1.5)
    assert int(m.engine.view["whale"]["patient"]) == 0


def test_clusters_of_one_size_never_surprise(engine_name: str) -> None:
    m = Watched(config(least=10), "binance", engine_name)
    for i in range(100):
        tell(m, "1", ms=i + 1, after=300 * MS)
    peaks = m.engine.view["whale"]["peaks"]
    assert int(peaks["count"]) > 80
    assert float(peaks["mass"][0]) == pytest.approx(float(peaks["total"]))
    assert m.signals == [0, 0, 0, 0]


SEEDS = range(2)


def found(engine_name: str, plan: Plan | None, **changed: float) -> Found:
    total = Found()
    for seed in SEEDS:
        tape = background(1200, seed)
        p99 = float(np.percentile(cluster_sizes(tape), 99))
        total += detect(tape, planted(tape, plan, p99, seed + 100) if plan else [], engine_name, **changed)
    return total


def test_a_share_of_clusters_as_asked_for_are_false_alarms(engine_name: str) -> None:
    """And of excursions at most as many: those that hold less than a whale's size are none."""
    result = found(engine_name, None)
    assert 0.005 < result.false_alarm_rate < 0.015
    assert 0.001 < result.false_patient_rate < 0.01
    result = found(engine_name, None, quantile=0.95)
    assert 0.04 < result.false_alarm_rate < 0.06
    assert result.false_patient_rate < 0.05


@pytest.mark.parametrize("plan", [Plan(5, 1), Plan(5, 5), Plan(5, 20)], ids=["one order", "5 orders", "20 orders"])
def test_whales_of_five_times_the_99th_percentile_are_found(engine_name: str, plan: Plan) -> None:
    """At least 90 % of them, at 1 % false alarms, also when they are split within the gap."""
    result = found(engine_name, plan)
    assert result.whales > 40
    assert result.by_cluster >= 0.9 * result.whales
    assert result.false_alarm_rate <= 0.01


PATIENT = {
    "1 gap": Plan(5, 20, stealth=1),
    "2 gaps": Plan(5, 20, stealth=2),
    "4 gaps": Plan(5, 20, stealth=4),
    "of random sizes": Plan(5, 20, stealth=4, uneven=True),
    "2 x p99": Plan(2, 20, stealth=2),
}


@pytest.mark.parametrize("name", PATIENT)
def test_patient_whales_are_found_while_they_take(engine_name: str, name: str) -> None:
    """Orders that are further apart than the gap; where clusters alone found 8 to 56 %."""
    result = found(engine_name, PATIENT[name])
    assert result.whales > 40
    assert result.rate >= 0.9
    assert result.by_cluster < 0.65 * result.whales
    assert result.taken_when_found < 0.65
    assert result.false_patient_rate <= 0.01
    assert result.false_alarm_rate <= 0.015


def test_what_cannot_be_found(engine_name: str) -> None:
    """Small orders far apart; and whales that are so many that they are the usual."""
    assert found(engine_name, Plan(1, 20, stealth=8)).rate < 0.5
    assert found(engine_name, Plan(5, 20, stealth=2, every_s=10)).rate < 0.6
    assert found(engine_name, Plan(5, 1, every_s=7)).rate < 0.7
    assert found(engine_name, Plan(5, 1, every_s=7), quantile=0.95).rate > 0.9


# -- nests ------------------------------------------------------------------------------------------------------------


def test_a_large_level_becomes_a_nest_when_it_has_stood(engine_name: str) -> None:
    m, made = scene(engine_name)
    limit = float(m.engine.view["whale"]["levels"]["limit"])
    price = made.mid - 21
    made.keep(0, price, int(3 * limit))
    made.step(40)
    assert m.signals == [0, 0, 0, 0]
    made.step(20)
    m.check()
    assert m.nest(0, price)["kind"] == NestKind.RESTING
    assert m.signals[2] == pytest.approx(3, rel=0.2)
    assert m.signals[0] > 0.2
    assert m.signals[3] == 0


@pytest.mark.parametrize("side", [0, 1], ids=["bid", "ask"])
def test_a_spoofer_is_discounted_and_an_honest_nest_is_not(engine_name: str, side: int) -> None:
    m, made = scene(engine_name, 2 + side)
    limit, middle, sign = float(m.engine.view["whale"]["levels"]["limit"]), made.mid, 2 * side - 1
    price = middle + sign * 21
    heard = []
    for _ in range(3):
        made.keep(side, price, int(4 * limit))
        made.step(70)
        heard.append(m.signals[2 + side])
        made.step(1, to=price - sign * 6)
        made.keep(side, price, None)  # the price is near: away with it
        made.step(10)
        made.step(1, to=middle)
        m.check()
    assert heard[0] > 3.5
    assert heard[1] < heard[0] / 3
    assert heard[2] < heard[1] / 2


def test_a_nest_that_is_eaten_or_stands_is_honest_and_one_withdrawn_far_away_proves_nothing(engine_name: str) -> None:
    m, made = scene(engine_name, 4)
    limit, middle = float(m.engine.view["whale"]["levels"]["limit"]), made.mid
    price = middle - 15
    s = m.engine.view["whale"]["side"][0]
    made.keep(0, price, int(4 * limit))
    made.step(70)
    made.step(10, to=price + 1)
    made.step(1, to=middle)
    assert float(s["stood"]) == pytest.approx(4, rel=0.2)  # the price came and went
    made.step(1, to=price + 1)
    for _ in range(4):
        made.trade(price, int(limit), -1)
    made.keep(0, price, None)
    made.step(20, to=price - 2)
    m.check()
    assert float(s["stood"]) > 6.5
    made.step(1, to=middle)
    made.keep(0, price, int(4 * limit))
    made.step(70)
    made.keep(0, price, None)
    made.step(20)
    m.check()
    assert m.nest(0, price) is None
    assert float(s["pulled"]) == 0


def eat(made: Scene, side: int, *, hidden: int, shown: int, each: int) -> int:
    """A level at the touch shows some of what it holds, until all is eaten; returns its price."""
    aggressor = 1 if side else -1
    price = made.mid + aggressor
    made.keep(side, price, shown)
    made.step(5)
    for _ in range(hidden // each):
        made.trade(price, each, aggressor, after=50 * MS)
        made.step()
    return price


@pytest.mark.parametrize("side", [0, 1], ids=["bid", "ask"])
def test_an_iceberg_trades_more_than_it_shows(engine_name: str, side: int) -> None:
    m, made = scene(engine_name, 5 + side, 50, least=20)
    for _ in range(40):
        made.trade(made.mid + 1, 300, 1, after=200 * MS)
        made.trade(made.mid - 1, 300, -1, after=200 * MS)
    price = eat(made, side, hidden=20_000, shown=1500, each=1000)
    made.step(3)
    m.check()
    nest = m.nest(side, price)
    assert nest["kind"] & NestKind.ICEBERG
    assert m.signals[2 + side] > 1
    assert m.signals[0] * (1 - 2 * side) > 0 or m.twin.sides[1 - side].flow > 0
    made.step(310)  # nobody trades there for half a minute
    m.check()
    assert not (m.nest(side, price) is not None and m.nest(side, price)["kind"] & NestKind.ICEBERG)


def test_a_level_that_is_eaten_once_is_no_iceberg(engine_name: str) -> None:
    m, made = scene(engine_name, 7, 50, least=20)
    for _ in range(40):
        made.trade(made.mid + 1, 300, 1, after=200 * MS)
    made.step(1, to=made.mid + 3)
    price = made.mid + 1
    made.keep(1, price, 30_000)
    made.step(5)
    for left in range(29, -1, -1):
        made.trade(price, 1000, 1, after=50 * MS)
        made.keep(1, price, left * 1000)
        made.step()
        assert not any(n["kind"] & NestKind.ICEBERG for n in m.engine.view["whale"]["side"][1]["nest"])
    m.check()


# -- when something is missing ----------------------------------------------------------------------------------------


def test_an_invalid_book_has_no_nests_and_the_quantiles_stay(engine_name: str) -> None:
    m, made = scene(engine_name)
    limit = float(m.engine.view["whale"]["levels"]["limit"])
    made.keep(1, made.mid + 20, int(5 * limit))
    made.step(60)
    assert m.signals[3] > 4
    limit = float(m.engine.view["whale"]["levels"]["limit"])
    made.id += 5  # updates are lost
    made.step()
    m.timer(after=SECOND)
    m.check()
    assert m.signals == [0, 0, 0, 0]
    assert not m.engine.view["whale"]["side"]["nest"]["price"].any()
    assert float(m.engine.view["whale"]["levels"]["limit"]) == limit


def test_time_that_runs_backwards_stands_still(engine_name: str) -> None:
    m, made = scene(engine_name)
    for i in range(150):
        made.trade(made.mid + 1, 10 + i, 1, after=150 * MS)
    made.step()
    before = m.signals
    m.now -= 3600 * SECOND
    made.step(20)
    assert m.signals == before
    m.check()


def vast(number: int) -> str:
    return str(number * 10**14)


EXTREMES: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "constant prices and sizes": lambda i: [{"p": "100", "q": "1"}],
    "sizes near the largest": lambda i: [{"p": "90000000000000000", "q": vast(90 - i % 80)}],
    "the least": lambda i: [{"p": "0.01", "q": "0.001"}],
    "all sizes there are": lambda i: [{"p": "0.01", "q": f"{10.0 ** (i % 18 - 3):.3f}"}],
    "prices from end to end": lambda i: [{"p": "0.01" if i % 2 else "90000000000000000", "q": "1"}],
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("book", ["none", "one side", "one level", "vast"])
def test_whatever_comes_signals_stay_in_their_range(engine_name: str, name: str, book: str) -> None:
    c: Any = np.frombuffer(config(least=10, memory=50, look_ms=0, persist_s=0, cluster_s=0.01), layout.CONFIG).copy()
    engine = Engine(c.tobytes(), kernel=engine_name)
    say, now = Market("binance", "BTCUSDT"), START_NS
    messages: list[dict[str, Any]] = []
    if book != "none":
        messages.append(say.snapshot(9, [("99", "1")], [] if book == "one side" else [("101", "1")]))
    for i in range(600):
        messages += [say.trade(i, maker=bool(i % 3), T=i) | trade for trade in EXTREMES[name](i)]
        levels = [("99", vast(90)), ("98", vast(80)), ("97", "0.001")] if book == "vast" else [("99", str(1 + i % 7))]
        messages.append(say.depth(10 + i, 10 + i, None, levels, [("101", "0" if book == "one side" else "2")]))
    for i, message in enumerate(messages):
        now += {200: -50, 300: 10**6, 400: 10**9}.get(i, 1) * (SECOND // 3)
        engine.feed(frame(compact(message), now))
        values = engine.view["signals"]["value"][:4].astype(float)
        assert np.isfinite(values).all()
        assert -1 <= values[0] <= 1
        assert 0 <= values[1] <= 1
        assert 0 <= values[2] <= 10
        assert 0 <= values[3] <= 10
    w = engine.view["whale"]
    for sizes in ("clusters", "levels", "peaks"):
        assert np.isfinite([float(w[sizes][field]) for field in ("weight", "total", "below", "limit")]).all()
        assert float(w[sizes]["mass"].sum()) == pytest.approx(float(w[sizes]["total"]), rel=1e-9)
    assert int(w["clusters"]["count"]) > 100
    assert int(w["peaks"]["count"]) > 50
    assert all(np.isfinite(w["excursion"][name]).all() for name in ("score", "peak", "size", "counted"))


def test_a_parameter_changed_while_it_runs_moves_the_limit(engine_name: str) -> None:
    tape = background(300, 3)
    limits = []
    for late in (False, True):
        engine = Engine(config(quantile=0.99 if late else 0.6), kernel=engine_name)
        for number, one in enumerate(tape):
            if late and number == len(tape) // 2:
                index = list(PARAMETERS).index("whale.quantile")
                payload = struct.pack("<IfII", layout.CommandOp.SET_PARAMETER, 0.6, index, 0)
                engine.feed(frame(payload, one[0], kind=layout.Kind.COMMAND))
            engine.feed(trade_frame(number, one))
        limits.append(float(engine.view["whale"]["clusters"]["limit"]))
    assert limits[0] == pytest.approx(limits[1], rel=1e-9)
