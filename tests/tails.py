"""Markets with a known truth for SOC and the black swan: seeded, as frames for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.config import Settings
from market import SECOND, START_NS, Market, compact, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from cwts.kernel import Engine

    Floats = NDArray[np.float64]

MID = 10_000_000  # price units of 0.01, so that a return is rounded to 10^-7


def market(engine_name: str, **parameters: float) -> Market:
    """A USD-M market with a book that is valid since a second before `START_NS`. `soc__memory_s=7200.0` sets a parameter."""
    settings = Settings(parameters={name.replace("__", "."): value for name, value in parameters.items()})
    m = Market("binance-usdm", "BTCUSDT", engine_name, settings=settings)
    m.now -= SECOND
    m.feed(m.snapshot(9), m.depth(9, 12, 8, bids=[("99999", "1")], asks=[("100001", "1")]))
    assert m.synced
    m.now = START_NS
    return m


# -- events --------------------------------------------------------------------------------------------------------------


def hawkes(rng: np.random.Generator, rate: float, branching: float, beta: float, seconds: float) -> Floats:
    """Times of a Hawkes process with kernel n β e^(-βt) and mean rate `rate`, by its definition as clusters."""
    newest = rng.uniform(-100 / beta, seconds, rng.poisson(rate * (1 - branching) * (seconds + 100 / beta)))
    all_of_them = [newest]
    while len(newest):
        parents = np.repeat(newest, rng.poisson(branching, len(newest)))
        newest = parents + rng.exponential(1 / beta, len(parents))
        all_of_them.append(newest)
    times = np.sort(np.concatenate(all_of_them))
    return times[(times >= 0) & (times < seconds)]


def pareto_bursts(rng: np.random.Generator, alpha: float, least: int, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Bursts of events 1 ms apart, with 20 to 40 s of silence between, and their sizes: P(size >= x) ~ x^(1 - alpha)."""
    sizes = np.floor((least - 0.5) * rng.random(count) ** (-1 / (alpha - 1)) + 0.5).astype(np.int64)
    sizes = np.minimum(sizes, 10_000)
    begins = np.cumsum(rng.uniform(20, 40, count))
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(begins, sizes) + within * 0.001, sizes


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


# -- returns -------------------------------------------------------------------------------------------------------------


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
    """A frame a second, in its middle: the ticker's bid and ask a cent around the price, or the book's with `depths`."""
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


def each_bar(engine: Engine, tape: Iterable[bytes], names: list[int]) -> NDArray[np.float32]:
    """The named signals after each bar that the tape closes."""
    out = []
    bars, value = engine.view["bars"], engine.view["signals"]["value"]
    for one in tape:
        before = int(bars["count"])
        engine.feed(one)
        out += [value[names].copy()] * (int(bars["count"]) - before)
    return np.array(out)
