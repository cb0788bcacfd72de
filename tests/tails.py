"""Markets with a known truth for SOC and the black swan: seeded, as frames for an engine."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.config import Settings
from cwts.kernel.layout import CommandOp, Kind, Signal
from cwts.recording import FRAME
from market import SECOND, START_NS, Market, compact, frame
from oracle.soc import Soc
from oracle.swan import Bar, Swan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from cwts.kernel import Engine

    Floats = NDArray[np.float64]

MID = 10_000_000  # price units of 0.01, so that a return is rounded to 10^-7


def settings(**parameters: float) -> Settings:
    return Settings(parameters={name.replace("__", "."): value for name, value in parameters.items()})


def market(engine_name: str, **parameters: float) -> Market:
    """A USD-M market whose book is valid since a second before `START_NS`. `soc__gap=0.5` sets a parameter."""
    m = Market("binance-usdm", "BTCUSDT", engine_name, settings=settings(**parameters))
    m.now -= SECOND
    m.feed(m.snapshot(9, [("99999", "1")], [("100001", "1")]), m.depth(9, 12, 8))
    assert m.synced
    m.now = START_NS
    return m


# -- events -----------------------------------------------------------------------------------------------------------


def hawkes(rng: np.random.Generator, rate: float, branching: float, beta: float, seconds: float) -> Floats:
    """Times of a Hawkes process with kernel n β e^(-βt) and mean rate `rate`, by its definition as clusters."""
    newest = rng.uniform(-100 / beta, seconds, rng.poisson(rate * (1 - branching) * (seconds + 100 / beta)))
    all_of_them = [newest]
    while len(newest):
        parents = np.repeat(newest, rng.poisson(branching, len(newest)).astype(np.intp))
        newest = parents + rng.exponential(1 / beta, len(parents))
        all_of_them.append(newest)
    times = np.sort(np.concatenate(all_of_them))
    return times[(times >= 0) & (times < seconds)]


def pareto_bursts(rng: np.random.Generator, alpha: float, least: int, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Bursts of events 1 ms apart, 20 to 40 s of silence between, and their sizes: P(size >= x) ~ x^(1 - alpha)."""
    sizes = np.floor((least - 0.5) * rng.random(count) ** (-1 / (alpha - 1)) + 0.5).astype(np.int64)
    sizes = np.minimum(sizes, 10_000)
    begins = np.cumsum(rng.uniform(20, 40, count))
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes.astype(np.intp))
    return np.repeat(begins, sizes.astype(np.intp)) + within * 0.001, sizes


def trades(times: Floats, symbol: str = "BTCUSDT") -> bytes:
    """Frames: a trade at each time (seconds from `START_NS`), each an order of its own."""
    return b"".join(
        frame(
            b'{"e":"trade","E":1,"T":%d,"s":"%s","t":%d,"p":"100000","q":"1","X":"MARKET","m":%s}'
            % (i + 1, symbol.encode(), i + 1, b"true" if i % 2 else b"false"),
            START_NS + ns,
        )
        for i, ns in enumerate((times * 1e9).astype(np.int64).tolist())
    )


# -- returns ----------------------------------------------------------------------------------------------------------


def student(rng: np.random.Generator, nu: float, count: int) -> Floats:
    """Returns of unit variance; `nu` infinite: Gaussian."""
    return rng.standard_normal(count) if np.isinf(nu) else rng.standard_t(nu, count) * np.sqrt((nu - 2) / nu)


def pareto(rng: np.random.Generator, alpha: float, count: int) -> Floats:
    """Returns up and down with P(|r| > x) = x^-alpha above 1, scaled to unit variance (alpha above 2)."""
    sign = rng.choice([-1.0, 1.0], count)
    return sign * rng.random(count) ** (-1 / alpha) * np.sqrt((alpha - 2) / alpha)


def mids(returns: Floats, deviation: float = 1e-4) -> NDArray[np.int64]:
    """Prices that have these returns times `deviation`; they are folded back to stay near `MID`."""
    out, price = np.empty(len(returns), np.int64), float(MID)
    for i, r in enumerate((returns * deviation).tolist()):
        price *= 1 + (-r if (price > 1.5 * MID and r > 0) or (price < MID / 1.5 and r < 0) else r)
        price = float(round(max(price, MID / 100)))
        out[i] = int(price)
    return out


def seconds(prices: Iterable[int], depths: Iterable[float] | None = None, *, first_id: int = 100) -> Iterator[bytes]:
    """A frame a second, in its middle: the ticker's bid and ask a cent around the price; with `depths`, the book's."""
    old: tuple[str, str] | None = ("99999", "100001")
    each: Iterable[tuple[int, float | None]] = (
        ((p, None) for p in prices) if depths is None else zip(prices, depths, strict=True)
    )
    for i, (price, depth) in enumerate(each):
        bid, ask = f"{(price - 1) / 100:.2f}", f"{(price + 1) / 100:.2f}"
        ns = START_NS + i * SECOND + SECOND // 2
        if depth is None:
            quote = b'{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%s","B":"1","a":"%s","A":"1"}'
            yield frame(quote % (first_id + i, bid.encode(), ask.encode()), ns)
            continue
        gone = [[[p, "0"]] if old and p not in (bid, ask) else [] for p in old or ()]
        message: dict[str, Any] = {
            "e": "depthUpdate", "E": 1, "T": 1, "s": "BTCUSDT", "U": first_id + i, "u": first_id + i,
            "pu": 12 if i == 0 else first_id + i - 1,
            "b": gone[0] + [[bid, f"{depth:.3f}"]], "a": gone[1] + [[ask, f"{depth:.3f}"]],
        }  # fmt: skip
        old = (bid, ask)
        yield frame(compact(message), ns)
        yield frame(b"", ns + SECOND // 2, kind=Kind.TIMER)  # a bar ends with the depth that it had


def cut(batch: bytes) -> Iterator[bytes]:
    """Single frames."""
    at = 0
    while at < len(batch):
        end = at + FRAME.size + (FRAME.unpack_from(batch, at)[1] + 7 & ~7)
        yield batch[at:end]
        at = end


def each_bar(engine: Engine, tape: Iterable[bytes], names: list[int]) -> NDArray[np.float32]:
    """The named signals after each bar that the tape closes, but for the second before it."""
    out = []
    bars, value = engine.view["bars"], engine.view["signals"]["value"]
    for one in tape:
        before = int(bars["count"])
        engine.feed(one)
        out += [value[names].copy()] * (int(bars["count"]) - max(before, 1))
    return np.array(out)


# -- lockstep with the oracles ----------------------------------------------------------------------------------------


class Watch:
    """An engine beside the oracles of both, which are told its bars and trades in the kernel's order."""

    def __init__(self, engine: Engine, **parameters: dict[str, float]) -> None:
        self.engine = engine
        self.soc = Soc(**parameters.get("soc", {}))
        self.swan = Swan(int(engine.view["config"]["tick_size"]), **parameters.get("swan", {}))
        self.bars = self.trades = 0

    def feed(self, one: bytes) -> int:
        """One frame; returns how many bars it closed."""
        view = self.engine.view
        self.engine.feed(one)
        bars, tape, synced = view["bars"], view["tape"], bool(view["sync"]["synced"])
        before, self.bars = self.bars, int(bars["count"])
        for i in range(before, self.bars):
            bar = bars["ring"][i % len(bars["ring"])]
            newest = i + 1 == self.bars  # a silence may have followed it
            ended = int(bars["now"]["second"]) - 1 if newest else int(bar["second"])
            self.soc.second(ended, synced=synced)
            self.swan.bar(
                Bar(
                    int(bar["second"]),
                    int(bar["close"]),
                    float(bar["change"]),
                    (float(bar["depth"][0]), float(bar["depth"][1])),
                    int(bar["updates"]),
                    bool(bar["synced"]),
                )
            )
        seen, self.trades = self.trades, int(tape["count"])
        for i in range(seen, self.trades):
            trade = tape["ring"][i % len(tape["ring"])]
            self.soc.trade(int(trade["recv_ns"]), int(trade["exchange_ns"]), int(trade["aggressor"]), synced=synced)
        return self.bars - before

    def check_soc(self) -> None:
        s, o, value = self.engine.view["soc"], self.soc, self.engine.view["signals"]["value"]
        assert (int(s["events"]), int(s["steps"]), int(s["avalanches"])) == (o.events, len(o.counts), len(o.sizes))
        assert s["samples"].tolist() == [len(squares) for squares in o.squares]
        close(s["mean"], o.mean, "mean")
        for level in range(len(o.squares)):
            close(s["branching"][level], o.branching[level], f"branching {level}")
        for candidate, (distance, alpha) in o.fits.items():
            close(s["distance"][candidate], distance, f"distance {candidate}")
            if distance < 2:
                close(s["alpha"][candidate], alpha, f"alpha {candidate}")
        names = Signal.CRITICALITY, Signal.BRANCHING, Signal.AVALANCHE
        for name, want in zip(names, o.signals, strict=True):
            close(value[name], want, name.name, 1e-6)

    def check_swan(self) -> None:
        s, o, value = self.engine.view["swan"], self.swan, self.engine.view["signals"]["value"]
        assert (int(s["returns"]), int(s["tails"]), int(s["run"])) == (len(o.squares), len(o.sample), len(o.run))
        for name in ("variance", "z", "move", "danger"):
            close(s[name], getattr(o, name), name, 1e-6)  # the move's volatility is a float32
        if o.fit and o.run:
            for name in ("threshold", "share", "hill", "shape", "scale"):
                close(s[name], getattr(o.fit, name), name)
        assert bool(value[Signal.SWAN_ALARM]) == o.alarm
        close(value[Signal.SWAN_PROBABILITY], o.probability, "probability", 1e-6)
        close(value[Signal.VACUUM], o.vacuum, "vacuum", 1e-6)


def close(found: Any, want: float, what: str, tolerance: float = 1e-9) -> None:
    found = float(found)
    assert np.isfinite(found), what
    assert abs(found - want) <= tolerance * max(1.0, abs(want)), (what, found, want)


def wild(rng: np.random.Generator, say: Market, count: int) -> Iterator[bytes]:
    """Frames that no market sends: vast prices, empty sides, no quantity, gaps, silence, time going back."""
    now, last, number = START_NS, 20, 0
    yield frame(compact(say.snapshot(last)), now)
    middle, vast = 100_00, 4_000_000_000_000_000_000
    for _ in range(count):
        now += int(rng.choice([0, 1_000_000, 40_000_000, 300_000_000, 1_000_000_000, 3_000_000_000]))
        what = rng.random()
        if what < 0.005:
            now += int(rng.choice([200, 4000])) * SECOND
        elif what < 0.01:
            now -= int(rng.choice([2, 100])) * SECOND
        if what < 0.5:
            middle = int(rng.choice([middle, middle + rng.integers(-9, 10)])) if rng.random() < 0.99 else 100_00
            if rng.random() < 0.004:
                middle = int(rng.choice([2, vast]))
            middle = max(2, middle)
            qty = str(rng.choice(["0", "0.001", "1", "7.5", "9000000000000000"]))
            bids = [(_price(middle - 1), qty), (_price(middle), "0"), (_price(middle + 1), "0")]
            asks = [(_price(middle + 1), "2"), (_price(middle), "0"), (_price(middle - 1), "0")]
            if rng.random() < 0.03:
                asks = [(price, "0") for price, _ in asks]
            first, previous = last + 1 + int(rng.random() < 0.005), last
            last = first
            yield frame(
                compact(say.depth(first, last, previous if first == last == previous + 1 else None, bids, asks)), now
            )
        elif what < 0.8:
            for _ in range(int(rng.choice([1, 1, 3, 20]))):
                number += 1
                qty = str(rng.choice(["0", "0.001", "3", "9000000000000000"]))
                more = {"T": int(rng.choice([now // 1_000_000, 0, number])), "X": "MARKET"}
                yield frame(
                    compact(say.trade(number, _price(middle), qty, maker=bool(rng.random() < 0.5), **more)), now
                )
        elif what < 0.97:
            yield frame(b"", now, kind=Kind.TIMER)
        elif what < 0.98:
            yield frame(struct.pack("<II", CommandOp.RESET_BOOK, 0), now, kind=Kind.COMMAND)
        else:
            last += 1
            yield frame(compact(say.snapshot(last, [(_price(middle - 1), "1")], [(_price(middle + 1), "1")])), now)


def _price(units: int) -> str:
    return f"{units // 100}.{units % 100:02d}"
