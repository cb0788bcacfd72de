"""The liquidation ladder (docs/liquidation.md): where leverage stands, when it falls, what the exchange tells of it."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.config import Settings
from cwts.kernel import Engine, layout
from cwts.kernel.layout import Parameter, Signal
from market import CAPTURES, SECOND, START_NS, Market, compact, examples, frame, head, setup_of
from oracle.liquidation import LEVELS, LEVERAGES, LONG, SHORT, STEP, Ladder, level_of, liquidation_price

if TYPE_CHECKING:
    from pathlib import Path

CONTRACTS = ["spot", "linear", "inverse"]
hypothesis = pytest.importorskip("hypothesis")


class Pair:
    """The kernel and the ladder's definition, frame by frame."""

    def __init__(self, config: bytes, engine_name: str) -> None:
        self.engine = Engine(config, kernel=engine_name)
        view = self.engine.view
        self.ladder, self.bars, self.tape = view["liquidation"], view["bars"], view["tape"]
        named = {p.name.removeprefix("LIQUIDATION_").lower(): float(view["config"]["parameter"][p]) for p in Parameter}
        self.slow = Ladder(
            CONTRACTS[int(view["config"]["contract"])],
            named["half_life_s"], named["cluster"], named["maintenance"],
            tuple(named[f"weight_{leverage}"] for leverage in LEVERAGES),
        )  # fmt: skip
        self.seen = [0, 0, 0]  # bars, trades, forced orders

    def feed(self, raw: bytes, ns: int, kind: int = 0) -> None:
        before = int(self.bars["now"]["second"])
        self.engine.feed(frame(raw, ns, kind=kind))
        if self.seen[0] == self.bars["count"] and self.seen[1] == self.tape["count"]:
            if self.seen[2] < self.ladder["count"]:
                self.force(before)
            return
        volume = float(self.bars["volume"])
        for n in range(self.seen[0], int(self.bars["count"])):
            bar = self.bars["ring"][n % len(self.bars["ring"])]
            mid = float(bar["close"]) / 2 if bar["synced"] else None
            self.slow.second(int(bar["second"]), mid, volume * 60)
        now = int(self.bars["now"]["second"])
        for n in range(self.seen[1], int(self.tape["count"])):
            t = self.tape["ring"][n % len(self.tape["ring"])]
            self.slow.trade(float(t["price"]), float(t["qty"]), int(t["aggressor"]), now)
        self.seen[:2] = int(self.bars["count"]), int(self.tape["count"])

    def force(self, second: int) -> None:
        for n in range(self.seen[2], int(self.ladder["count"])):
            f = self.ladder["forced"][n % len(self.ladder["forced"])]
            side = LONG if f["side"] == layout.Side.ASK else SHORT
            price, qty = float(f["price"]), float(f["qty"])
            self.slow.force(price, qty, side, second, bankruptcy=bool(f["bankruptcy"]))
        self.seen[2] = int(self.ladder["count"])

    @property
    def signals(self) -> list[float]:
        return [float(self.engine.view["signals"]["value"][s]) for s in range(Signal.LIQUIDATION_UP, Signal.CASCADE_UP)]

    def check(self) -> None:
        assert self.signals == pytest.approx(self.slow.signals, rel=2e-6, abs=1e-6)
        if self.slow.base is None:
            assert not self.ladder["ready"]
            return
        assert int(self.ladder["base"]) == self.slow.base
        found = masses(self.ladder)
        for side, told in enumerate(self.slow.masses()):
            want = np.zeros(LEVELS)
            for level, mass in told.items():
                want[level - self.slow.base] = mass
            np.testing.assert_allclose(found[side], want, rtol=1e-9, atol=1e-12 + 1e-12 * want.max())


def masses(ladder: Any) -> np.ndarray:
    """Longs' and shorts' masses from the lowest level up."""
    base = int(ladder["base"])
    return np.roll(ladder["mass"].reshape(2, LEVELS), -(base % LEVELS), axis=1) * float(ladder["scale"])


def weighted(tiers: dict[int, float]) -> dict[str, float]:
    return {f"weight_{n}": tiers.get(n, 0.0) for n in LEVERAGES}


class Told(Pair):
    """A contract that is told step by step; ticks of 0.01."""

    def __init__(
        self, engine_name: str, exchange: str = "binance-usdm", symbol: str = "BTCUSDT", **parameters: float
    ) -> None:
        given = {f"weight_{n}": float(n == 20) for n in LEVERAGES} | parameters
        settings = Settings(parameters={f"liquidation.{name}": value for name, value in given.items()})
        self.say = Market(exchange, symbol, engine_name, settings=settings)
        super().__init__(self.say.config, engine_name)
        self.now = START_NS
        self.id = 10

    def tell(self, message: dict[str, Any], after: float = 0.001) -> None:
        self.now += int(after * SECOND)
        self.feed(compact(message), self.now)

    def book(self, bid: float, ask: float, after: float = 0.001) -> None:
        self.id += 1
        quotes = ([(f"{bid:.2f}", "1")], [(f"{ask:.2f}", "1")])
        if self.say.exchange == "okx":
            self.tell(self.say.okx("snapshot", self.id, -1, *quotes), after)
        else:
            self.tell(self.say.snapshot(self.id, *quotes) | {"symbol": self.say.symbol}, after)

    def trade(self, price: float, qty: str = "1", *, sold: bool = False, after: float = 0.001) -> None:
        self.id += 1
        if self.say.exchange == "okx":
            one = {"instId": self.say.symbol, "tradeId": str(self.id), "px": f"{price:.2f}", "sz": qty, "ts": "1"}
            one["side"] = "sell" if sold else "buy"
            self.tell({"arg": {"channel": "trades", "instId": self.say.symbol}, "data": [one]}, after)
        else:
            self.tell(self.say.trade(self.id, f"{price:.2f}", qty, maker=sold), after)

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.feed(b"", self.now, kind=layout.Kind.TIMER)


@pytest.mark.parametrize("leverage", LEVERAGES)
@pytest.mark.parametrize("contract", ["linear", "inverse"])
def test_liquidation_prices(contract: str, leverage: int) -> None:
    """The closed forms of docs/liquidation.md, and that to first order a linear long falls at p (1 - 1/L + m)."""
    m = 0.004
    long, short = (liquidation_price(contract, side, 100.0, leverage, m) for side in (LONG, SHORT))
    if contract == "linear":
        want = 100 * (1 - 1 / leverage) / (1 - m), 100 * (1 + 1 / leverage) / (1 + m)
        assert long == pytest.approx(100 * (1 - 1 / leverage + m), abs=100 * (m / leverage + m * m))
    else:
        want = 100 * (1 + m) / (1 + 1 / leverage), 100 * (1 - m) / (1 - 1 / leverage)
    assert (long, short) == pytest.approx(want)


@pytest.mark.parametrize(
    ("exchange", "symbol", "contract"),
    [("binance-usdm", "BTCUSDT", "linear"), ("binance-coinm", "BTCUSD_PERP", "inverse")],
)
@pytest.mark.parametrize("leverage", LEVERAGES)
def test_a_trade_opens_positions_on_its_aggressors_side(
    engine_name: str, exchange: str, symbol: str, contract: str, leverage: int
) -> None:
    m = Told(engine_name, exchange, symbol, **weighted({leverage: 1.0}))
    m.trade(100, "3")
    m.trade(100, "5", sold=True)
    found = masses(m.ladder)
    unit = 10**3
    for side, qty in ((LONG, 3), (SHORT, 5)):
        price = liquidation_price(contract, side, 10_000.0, leverage, 0.004)
        want = np.zeros(LEVELS)
        want[level_of(price) - m.slow.base] = qty * unit
        np.testing.assert_allclose(found[side], want)
        middle = float(m.ladder["price"][level_of(price) % LEVELS])
        assert abs(math.log(middle / price)) <= STEP / 2 + 1e-9
    m.check()


def test_weights_are_shares_of_their_sum(engine_name: str) -> None:
    m = Told(engine_name, **weighted({5: 0.5, 10: 0.25}))
    m.trade(100, "3")
    assert sorted(masses(m.ladder)[LONG][masses(m.ladder)[LONG] > 0].tolist()) == pytest.approx([1000, 2000])
    m.check()


def test_spot_has_no_ladder(engine_name: str) -> None:
    m = Told(engine_name, "binance")
    m.book(99, 101)
    for _ in range(5):
        m.trade(100)
        m.wait(1)
    assert not m.ladder["ready"]
    assert m.signals == [0, 0, 0, 0]


def test_mass_halves_with_its_half_life(engine_name: str) -> None:
    m = Told(engine_name, half_life_s=60.0)
    m.trade(100, "8")
    m.wait(60)
    assert masses(m.ladder).sum() == pytest.approx(4000)
    m.wait(3600)  # a silence that is one step
    assert masses(m.ladder).sum() == pytest.approx(4000 / 2**60, rel=1e-6, abs=1e-9)
    m.check()


def test_what_price_has_reached_is_gone(engine_name: str) -> None:
    m = Told(engine_name)
    m.trade(100, "8")
    stands = liquidation_price("linear", LONG, 100.0, 20, 0.004)  # 95.38
    m.trade(stands * 1.002, "0.001", sold=True)
    assert masses(m.ladder)[LONG].sum() == pytest.approx(8000)
    m.trade(stands * 0.9995, "0.001", sold=True)
    assert masses(m.ladder)[LONG].sum() == 0
    m.check()


@pytest.mark.parametrize(("side", "share"), [(LONG, 0.95), (SHORT, 0.05)])
def test_the_level_that_price_is_in_is_reached(engine_name: str, side: int, share: float) -> None:
    m = Told(engine_name)
    m.trade(100, "8", sold=side == SHORT)
    level = level_of(liquidation_price("linear", side, 10_000.0, 20, 0.004))
    before = masses(m.ladder)[side].sum()
    m.trade(math.exp((level + share) * STEP) / 100, "0.001", sold=side == LONG)
    assert (before, masses(m.ladder)[side].sum()) == (8000, 0)
    m.check()


def test_the_mid_reaches_levels_too(engine_name: str) -> None:
    m = Told(engine_name)
    m.trade(100, "8")
    m.book(94, 94.5)
    m.wait(1)
    assert masses(m.ladder)[LONG].sum() == 0
    m.check()


def test_signals_name_the_next_cluster_each_way(engine_name: str) -> None:
    m = Told(engine_name)
    m.book(99.99, 100.01)
    for _ in range(30):
        m.trade(100, "1", after=1)
        m.trade(100, "2", sold=True)
    m.wait(1)
    up, down, up_mass, down_mass = m.signals
    for distance, side in ((up, SHORT), (down, LONG)):
        price = liquidation_price("linear", side, 100.0, 20, 0.004)
        assert distance == pytest.approx(abs(price / 100 - 1) * 1e4, abs=STEP * 1e4)  # within one level
    assert up_mass == pytest.approx(2 * down_mass, rel=1e-3)
    assert up_mass + down_mass == pytest.approx(0.5, rel=0.1)  # half a minute's volume stands there
    m.check()
    m.engine.feed(frame(np.array([layout.CommandOp.RESET_BOOK, 0], "<u4").tobytes(), m.now, kind=layout.Kind.COMMAND))
    m.wait(2)
    assert m.signals == [0, 0, 0, 0]  # without a book there is no distance


def test_a_forced_order_clears_what_stood_near_it(engine_name: str) -> None:
    m = Told(engine_name)
    m.trade(100, "8")
    m.trade(100, "8", sold=True)
    stands = liquidation_price("linear", LONG, 100.0, 20, 0.004)
    m.tell(m.say.forced("1", "0.5", sell=True, ap=f"{stands:.2f}777"))
    assert masses(m.ladder).sum(1).tolist() == pytest.approx([0, 8000])
    m.check()
    order = m.ladder["forced"][0]
    assert (int(order["price"]), int(order["qty"]), int(order["side"])) == (
        int(stands * 100 + 0.5),
        500,
        layout.Side.ASK,
    )


@pytest.mark.parametrize(("symbol", "contract"), [("BTC-USDT-SWAP", "linear"), ("BTC-USD-SWAP", "inverse")])
def test_okx_tells_where_the_margin_is_gone(engine_name: str, symbol: str, contract: str) -> None:
    """The price of bankruptcy lies the maintenance margin beyond the price of liquidation."""
    m = Told(engine_name, "okx", symbol)
    m.trade(100, "8")
    gone = liquidation_price(contract, LONG, 100.0, 20, 0.0)
    assert gone < liquidation_price(contract, LONG, 100.0, 20, 0.004) * 0.997
    m.tell(m.say.forced(f"{gone:.2f}", "0.5"))
    assert masses(m.ladder)[LONG].sum() == 0
    m.check()


def test_forced_orders_calibrate_the_scale(engine_name: str) -> None:
    """Told three times as much as was predicted: masses count up to three times as much, within bounds."""
    m = Told(engine_name)
    m.book(99.99, 100.01)
    for _ in range(50):
        m.trade(100, "100", after=0.1)
    stands = liquidation_price("linear", LONG, 100.0, 20, 0.004)
    m.tell(m.say.forced(f"{stands:.2f}", "15000"))
    m.wait(1)
    usual = float(m.bars["volume"]) * 60
    assert float(m.ladder["calibration"]) == pytest.approx((15e6 + usual) / (5e6 + usual), rel=1e-3)
    m.check()
    for _ in range(20):
        m.tell(m.say.forced(f"{stands:.2f}", "900000000000"))
    m.wait(1)
    assert float(m.ladder["calibration"]) == 100
    m.check()


def planted(engine_name: str, seed: int, share: float, cluster: float) -> list[float]:
    """A tape with `share` of its volume within 2 bp: by how many levels the cluster of each side is missed."""
    rng = random.Random(seed)
    leverage = rng.choice(LEVERAGES[1:])
    m = Told(engine_name, cluster=cluster, **weighted({leverage: 1.0}))
    centre = rng.uniform(90, 500)
    for i in range(300):
        near = rng.random() < share
        price = centre * (1 + (rng.uniform(-1e-4, 1e-4) if near else rng.uniform(-0.002, 0.002)))
        m.trade(price, f"{rng.uniform(0.5, 2):.3f}", sold=i % 2 == 0, after=0.1)
    m.book(centre * 0.9999, centre * 1.0001)
    m.wait(1)
    m.check()
    missed = []
    for side, distance in ((SHORT, m.signals[0]), (LONG, m.signals[1])):
        found = centre * (1 + (distance if side == SHORT else -distance) / 1e4)
        want = liquidation_price("linear", side, centre, leverage, 0.004)
        missed.append(abs(math.log(found / want)) / STEP if distance else math.inf)
    return missed


def test_a_narrow_band_makes_a_cluster_within_one_level(engine_name: str) -> None:
    """80 % of the volume trades within 2 bp, the rest over 40: the levels' middles lie up to half a level off."""
    missed = [levels for seed in range(12) for levels in planted(engine_name, seed, 0.8, 3.0)]
    assert max(missed) <= 1.5


def test_a_cascade_clears_the_ladder_below(engine_name: str) -> None:
    m = Told(engine_name, **weighted({10: 1.0, 20: 1.0, 50: 1.0}))
    m.book(99.99, 100.01)
    for _ in range(100):
        m.trade(100, "1", after=0.1)
    m.wait(1)
    m.check()
    before = masses(m.ladder)[LONG].sum()
    assert m.signals[1] == pytest.approx(160, abs=6)  # 50 x
    price = 100.0
    for _ in range(14):  # price falls 7 %, forced orders go with it
        price *= 0.995
        m.trade(price, "0.1", sold=True, after=0.1)
        m.tell(m.say.forced(f"{price:.2f}", "0.1"))
    m.book(price, price * 1.0001)
    m.wait(1)
    m.check()
    left = masses(m.ladder)[LONG].sum()
    assert left == pytest.approx(before / 3, rel=0.01)  # 50 x and 20 x fell, 10 x stands
    assert m.signals[1] == pytest.approx((1 - liquidation_price("linear", LONG, 100, 10, 0.004) / price) * 1e4, abs=6)


@hypothesis.settings(max_examples=examples(12))
@hypothesis.given(seed=hypothesis.strategies.integers(0, 2**32))
def test_random_markets(engine_name: str, seed: int) -> None:
    """Any prices, jumps, silences, times that run backwards, invalid books and forced orders anywhere."""
    rng = random.Random(seed)
    exchange, symbol = rng.choice(
        [("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP"), ("okx", "BTC-USD-SWAP")]
    )
    tiers = weighted({n: rng.choice([0.0, 1.0, 0.5]) for n in LEVERAGES})
    half_life, cluster = rng.choice([60.0, 600.0, 14400.0]), rng.choice([1.0, 3.0])
    m = Told(engine_name, exchange, symbol, half_life_s=half_life, cluster=cluster, **tiers)
    price = rng.choice([0.05, 1.0, 100.0, 1e6])
    wild = rng.choice([1e-4, 1e-3, 0.05, 2.0])
    for _ in range(80):
        price = min(max(price * math.exp(rng.gauss(0, wild)), 0.01), 1e13)
        what = rng.random()
        after = rng.choice([0.001, 0.001, 0.5, 1.0, 1.0, 90.0, 4000.0, -5.0])
        if what < 0.6:
            m.trade(
                price, f"{rng.choice([0.001, 1.0, 1e9]) * rng.uniform(1, 9):.3f}", sold=rng.random() < 0.5, after=after
            )
        elif what < 0.8:
            m.book(price, price * 1.001 + 0.01, after=after)
        elif what < 0.9:
            m.tell(m.say.forced(f"{price:.2f}", f"{rng.uniform(0.1, 9):.3f}", sell=rng.random() < 0.5), after=after)
        else:
            m.wait(after)
    m.check()
    assert np.isfinite(masses(m.ladder)).all()
    assert np.isfinite(m.signals).all()


def test_values_at_their_bounds_stay_finite(engine_name: str) -> None:
    vast = "92233720368547758"
    m = Told(engine_name, **weighted(dict.fromkeys(LEVERAGES, 1.0)))
    for price in ("0.01", vast, "0.01", "100"):
        for sold in (True, False):
            message = m.say.trade(1, price, "9223372036854775", maker=sold)
            m.tell(message, after=1)
            m.tell(m.say.forced(vast, "9223372036854775", sell=sold))
            m.tell(m.say.forced("0.01", "0.001", sell=sold))
    m.book(0.01, 0.02)
    m.wait(3)
    m.book(1e14, 2e14)
    m.wait(1)
    m.check()
    assert np.isfinite(masses(m.ladder)).all()
    assert np.isfinite(m.signals).all()


@pytest.mark.parametrize("which", [0, 2, 1, 4], ids=["usdm", "coinm", "spot", "okx"])
def test_real_recordings(engine_name: str, data: Path, which: int) -> None:
    file, exchange, symbol = CAPTURES[which]
    m = Pair(setup_of(data / file, exchange, symbol).config, engine_name)
    for i, (ns, raw) in enumerate(head(data / file, 12_000)):
        m.feed(raw, ns)
        if i % 4000 == 0:
            m.check()
    m.check()
    if exchange == "binance":
        assert not m.ladder["ready"]
    else:
        assert m.slow.count
