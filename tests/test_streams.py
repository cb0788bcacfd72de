"""Random markets, told the way the exchanges might: after every batch the kernel's book is the oracle's.

A message stream is drawn with gaps, repetitions, snapshots at odd times, other symbols, unknown fields, any key order
and any white space.
"""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import pytest

from market import Market, compact, examples

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXCHANGES = [("binance", "BTCUSDT"), ("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP"), ("okx", "BTC-USDT")]


class Source:
    """An exchange that tells one random book's changes, seeded: the same seed is the same stream."""

    def __init__(self, m: Market, rng: random.Random) -> None:
        self.m = m
        self.rng = rng
        self.id = rng.randrange(1000, 10**15)
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})  # price and quantity units
        self.middle = rng.choice([200, 5_000, 10_000, 10**7])
        self.spread = rng.choice([3, 50, 3_000, 200_000])  # of the levels around the middle: some beyond the window
        self.trade_id = 0
        self.told = self.id  # the id up to which the stream has told
        self.changes()

    def changes(self) -> list[list[tuple[int, int]]]:
        """Changes of both sides, already made; the middle wanders so that the book never crosses."""
        rng = self.rng
        self.middle = max(10, self.middle + rng.choice([0, 0, 0, 1, -1, rng.randint(-self.spread, self.spread)]))
        made: list[list[tuple[int, int]]] = []
        for side, sign in ((0, -1), (1, 1)):
            book, changed = self.sides[side], {}
            for price in [p for p in book if (p - self.middle) * sign <= 0]:
                changed[price] = 0
            for _ in range(rng.choice([0, 1, 1, 2, 3, 8, 40])):
                price = self.middle + sign * (1 + int(self.spread * rng.random() ** 3))
                if price > 0:
                    changed[price] = rng.choice([0, 1, rng.randrange(1, 10**4), rng.randrange(1, 10**9)])
            for price in rng.sample(sorted(book), min(len(book), rng.choice([0, 0, 1, 5]))):
                changed.setdefault(price, 0)
            for price, qty in changed.items():
                if qty:
                    book[price] = qty
                else:
                    book.pop(price, None)
            made.append(list(changed.items()))
        return made

    def text(self, units: int, decimals: int) -> str:
        """A decimal as some exchange might write it."""
        digits = str(units).rjust(decimals + 1, "0")
        written = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
        style = self.rng.randrange(4)
        if decimals and style == 0:
            written = written.rstrip("0").rstrip(".")
        elif decimals and style == 1:
            written += "0" * self.rng.randrange(9)
        return written

    def levels(self, changes: list[tuple[int, int]]) -> list[list[str]]:
        m = self.m
        return [[self.text(p, m.price_decimals), self.text(q, m.qty_decimals)] for p, q in changes]

    def update(self) -> dict[str, Any]:
        made = self.changes()
        first, previous = self.id + 1, self.told
        self.id = last = first + self.rng.choice([0, 0, 3, 50])
        if self.m.exchange != "binance":
            self.id += self.rng.choice([0, 0, 7])  # ids of other symbols
        self.told = last
        bids, asks = (self.levels(side) for side in made)
        if self.m.exchange == "okx":
            if self.rng.random() < 0.05:
                self.told = self.id = self.rng.randrange(1, 1000)  # a reset after maintenance
                last = self.told
            elif self.rng.random() < 0.1:
                self.told = self.id = last = previous  # a keep-alive
            return self.m.okx("update", last, previous, bids, asks)
        return self.m.depth(first, last, previous, bids, asks)

    def snapshot(self) -> dict[str, Any]:
        bids, asks = (self.levels(sorted(side.items(), reverse=i == 0)[:1000]) for i, side in enumerate(self.sides))
        if self.m.exchange == "okx":
            return self.m.okx("snapshot", self.told, -1, bids, asks)
        # named, because the market here wanders more wildly than what tells a nameless snapshot from another symbol's
        return self.m.snapshot(self.told, bids, asks) | {"symbol": self.m.symbol}

    def trade(self) -> dict[str, Any]:
        rng, m = self.rng, self.m
        self.trade_id += 1
        price = self.text(self.middle, m.price_decimals)
        qty = self.text(rng.choice([0, 1, rng.randrange(1, 10**8)]), m.qty_decimals)
        if m.exchange == "okx":
            one = {"instId": m.symbol, "tradeId": str(self.trade_id), "px": price, "sz": qty, "ts": "1",
                   "side": rng.choice(["buy", "sell"])}  # fmt: skip
            return {"arg": {"channel": "trades", "instId": m.symbol}, "data": [one] * rng.choice([1, 1, 3])}
        message = m.trade(self.trade_id, price, qty, maker=rng.random() < 0.5)
        if rng.random() < 0.1:
            message |= {"e": "aggTrade", "a": self.trade_id}
        elif m.exchange != "binance":
            message["X"] = rng.choice(["MARKET", "MARKET", "MARKET", "INSURANCE_FUND", "NA"])
        return message

    def forced(self) -> dict[str, Any]:
        rng, m = self.rng, self.m
        qty = self.text(rng.choice([0, 1, rng.randrange(1, 10**8)]), m.qty_decimals)
        message = m.forced(self.text(self.middle, m.price_decimals), qty, sell=rng.random() < 0.5)
        if m.exchange == "okx":
            other = {"instId": "ETH" + m.symbol[3:], "details": [{"side": "?"}]}
            message["data"] = rng.sample([*message["data"] * rng.choice([1, 1, 2]), other], rng.choice([1, 2]))
        else:
            average = rng.choice([self.middle, self.middle + 1, 0])
            message["o"]["ap"] = self.text(average, m.price_decimals + rng.choice([0, 0, 4]))
            if rng.random() < 0.2:
                del message["o"]["ap"]
        return message

    def other(self) -> dict[str, Any]:
        """Another symbol's message."""
        m = self.m
        swapped = json.loads(
            compact(self.rng.choice([self.trade, self.forced])()).replace(
                m.symbol.encode(), b"ETH" + m.symbol[3:].encode()
            )
        )
        assert isinstance(swapped, dict)
        return swapped


UNKNOWN: list[Any] = [
    1, None, "v", [], {}, [1, "a", {"b": []}], {"U": 5, "b": [["1", "2"]]}, 1.5e-3, '\\"\n',
]  # fmt: skip


def scribble(rng: random.Random, value: Any) -> bytes:
    """JSON with keys in any order, unknown fields, and white space anywhere."""

    def gap() -> str:
        return rng.choice(["", "", "", " ", "\t", "  "])

    def write(value: Any, depth: int) -> str:
        if isinstance(value, dict):
            items = list(value.items())
            unknown = rng.sample(["st", "zz", "ps2", "nested", "x y", "é"], rng.choice([0, 0, 1, 2]))
            items += [(name, rng.choice(UNKNOWN)) for name in unknown]
            if depth < 2:
                rng.shuffle(items)
            parts = [f"{gap()}{json.dumps(k)}{gap()}:{gap()}{write(v, depth + 1)}{gap()}" for k, v in items]
            return "{" + ",".join(parts) + "}"
        if isinstance(value, list):
            return "[" + gap() + ",".join(f"{gap()}{write(v, depth + 1)}{gap()}" for v in value) + "]"
        return json.dumps(value, ensure_ascii=rng.random() < 0.5)

    return (gap() + write(value, 0) + gap()).encode()


def stream(m: Market, rng: random.Random, length: int, trouble: float) -> list[bytes]:
    source = Source(m, rng)
    messages: list[dict[str, Any]] = []
    for _ in range(length):
        what = rng.random()
        if what < 0.06:
            message = source.snapshot()
        elif what < 0.75:
            message = source.update()
        elif what < 0.9:
            message = source.trade()
        elif what < 0.95:
            message = source.forced()
        else:
            message = source.other()
        chance = rng.random()
        if chance < trouble:
            continue
        if m.exchange != "okx" and rng.random() < 0.5:
            message = {"stream": m.symbol.lower() + "@x", "data": message}
        messages.append(message)
        if chance > 1 - trouble:
            messages.append(message)
        elif chance > 1 - 2 * trouble and len(messages) > 1:
            messages[-2:] = messages[:-3:-1]
    scribbling = rng.random() < 0.6
    return [scribble(rng, message) if scribbling else compact(message) for message in messages]


@pytest.mark.parametrize(("exchange", "symbol"), EXCHANGES, ids=[e for e, _ in EXCHANGES])
@settings(max_examples=examples(16))
@given(
    seed=st.integers(0, 2**32),
    decimals=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    trouble=st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    batch=st.sampled_from([1, 7, 40]),
)
def test_random_markets(
    engine_name: str, exchange: str, symbol: str, seed: int, decimals: tuple[int, int], trouble: float, batch: int
) -> None:
    rng = random.Random(seed)
    m = Market(exchange, symbol, engine_name, *decimals)
    raws = stream(m, rng, 120, trouble)
    for at in range(0, len(raws), batch):
        m.feed(*raws[at : at + batch])
        m.check()
    assert m.malformed == 0


@settings(max_examples=examples(20))
@given(seed=st.integers(0, 2**32), depth=st.integers(1, 40))
def test_okx_checksums_of_random_books(engine_name: str, seed: int, depth: int) -> None:
    """The exchange's own checksum, computed from the strings as it sends them: without superfluous zeros."""
    rng = random.Random(seed)
    m = Market("okx", "BTC-USDT", engine_name, 3, 4)
    bids = {100_000 - rng.randrange(1, 4000): rng.randrange(1, 10**7) for _ in range(depth)}
    asks = {100_000 + rng.randrange(1, 4000): rng.randrange(1, 10**7) for _ in range(rng.choice([depth, 0, 3]))}

    def plain(units: int, decimals: int) -> str:
        text = f"{units // 10**decimals}.{units % 10**decimals:0{decimals}}"
        return text.rstrip("0").rstrip(".")

    def crc() -> int:
        best = sorted(bids.items(), reverse=True)[:25], sorted(asks.items())[:25]
        parts = [f"{plain(side[i][0], 3)}:{plain(side[i][1], 4)}" for i in range(25) for side in best if i < len(side)]
        value = zlib.crc32(":".join(parts).encode())
        return value - (1 << 32) if value >> 31 else value

    def levels(side: dict[int, int]) -> list[list[str]]:
        return [[plain(p, 3), plain(q, 4)] for p, q in side.items()]

    m.feed(m.okx("snapshot", 1, -1, levels(bids), levels(asks), checksum=crc()))
    for i in range(1, 12):
        known = rng.sample(sorted(bids), rng.randrange(min(4, len(bids)) + 1))
        changed = {p: rng.randrange(0, 10**7) for p in known}
        changed[100_000 - rng.randrange(1, 4000)] = rng.choice([0, rng.randrange(1, 10**7)])
        bids |= changed
        bids = {p: q for p, q in bids.items() if q}
        wrong = rng.random() < 0.05
        m.feed(m.okx("update", i + 1, i, levels(changed), checksum=crc() ^ wrong))
        m.check()
        if wrong:
            assert m.synced == 0
            return
    assert m.checksum_bad == 0
