"""Builders of messages, frames and engines, and the comparison that all tests share: of the kernel with the oracle."""

from __future__ import annotations

import gzip
import json
import os
import struct
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from cwts.config import Settings, build_config
from cwts.instruments import guess_instrument
from cwts.kernel import Engine
from cwts.recording import Recording
from cwts.replay import Setup, prepare
from oracle.book import Oracle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND

# recording, exchange, symbol; every OKX symbol has a book of its own
CAPTURES = [
    ("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT"),
    ("binance-spot-btcusdt-20240808.gz", "binance", "BTCUSDT"),
    ("binance-coinm-btcusd_perp-20240808.gz", "binance-coinm", "BTCUSD_PERP"),
    *(("okx-books-trades-tickers-20220513.gz", "okx", s) for s in ("BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527")),
    *(
        ("okx-books-l2-tbt-20210722.gz", "okx", s)
        for s in (
            "AUCTION-USDT", "BTC-USD-210924-42000-P", "BTC-USD-210924-66000-C", "DHT-USDT", "FUN-BTC", "OKT-BTC",
            "ONT-USDT", "PAY-BTC", "TRX-USDT-210924", "XMR-USDT-SWAP",
        )
    ),
]  # fmt: skip


def examples(count: int) -> int:
    """How many examples a property test draws: fewer where Python itself is slow, more where time does not matter."""
    if os.environ.get("CWTS_PROFILE") == "thorough":
        return count * 25
    return max(5, count // 3) if sys.platform == "emscripten" else count


def frame(raw: bytes, ns: int = START_NS, *, stream: int = 0, kind: int = 0) -> bytes:
    return struct.pack("<qIHH", ns, len(raw), stream, kind) + raw + bytes(-len(raw) % 8)


def frames(messages: Iterable[bytes], *, start: int = START_NS, step: int = SECOND // 100) -> bytes:
    return b"".join(frame(raw, start + i * step) for i, raw in enumerate(messages))


def compact(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


@lru_cache(maxsize=1)
def lines_of(path: Path) -> list[tuple[int, bytes]]:
    """(recv_ns, raw) of each line, by the plainest means."""
    pairs = [line.split(b" ", 1) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [(int(ns), raw) for ns, raw in pairs]


@lru_cache
def setup_of(path: Path, exchange: str, symbol: str) -> Setup:
    """What a whole recording needs to be replayed."""
    return prepare(Recording(path), exchange, symbol)


@lru_cache
def told(path: Path, exchange: str, symbol: str) -> Oracle:
    """The oracle after a whole recording; not to be fed further."""
    survey = setup_of(path, exchange, symbol).survey
    oracle = Oracle(exchange, symbol, survey.price_decimals, survey.qty_decimals)
    for ns, raw in lines_of(path):
        oracle.feed(raw, ns)
    return oracle


@lru_cache(maxsize=1)
def head(path: Path, count: int) -> list[tuple[int, bytes]]:
    """The first lines of a recording."""
    with gzip.open(path) as file:
        pairs = [line.rstrip(b"\n").split(b" ", 1) for line in islice(file, count)]
    return [(int(ns), raw) for ns, raw in pairs]


@dataclass
class Market:
    """An instrument and the two that follow it: the kernel and the oracle."""

    exchange: str
    symbol: str
    engine_name: str = "native"
    price_decimals: int = 2
    qty_decimals: int = 3
    settings: Settings = field(default_factory=Settings)
    reference_price: Decimal | None = Decimal(100)

    def __post_init__(self) -> None:
        instrument = guess_instrument(self.exchange, self.symbol, self.price_decimals, self.qty_decimals)
        self.config = build_config(instrument, self.settings, self.reference_price)
        self.engine = self.new_engine()
        self.oracle = Oracle(self.exchange, self.symbol, self.price_decimals, self.qty_decimals)
        self.now = START_NS

    def new_engine(self) -> Engine:
        return Engine(self.config, kernel=self.engine_name)

    def feed(self, *messages: bytes | dict[str, Any], step: int = SECOND // 100) -> int:
        """To both, in one batch; returns the kernel's events."""
        raws = [m if isinstance(m, bytes) else compact(m) for m in messages]
        for i, raw in enumerate(raws):
            self.oracle.feed(raw, self.now + i * step)
        batch = frames(raws, start=self.now, step=step)
        self.now += step * len(raws)
        return int(self.engine.feed(batch))

    def __getattr__(self, name: str) -> int:
        """A counter of the kernel's, or `synced`."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "synced":
            return int(self.engine.view["sync"]["synced"])
        return int(self.engine.view["counters"][name])

    def check(self) -> None:
        agree(self.engine, self.oracle)

    # -- messages ---------------------------------------------------------------------------------------------------

    def depth(
        self, first: int, last: int, previous: int | None = None, bids: Any = (), asks: Any = ()
    ) -> dict[str, Any]:
        """A Binance depth update; `previous` is pu, on futures the id before `first` unless given."""
        message = {
            "e": "depthUpdate",
            "E": 1,
            "s": self.symbol,
            "U": first,
            "u": last,
            "b": levels(bids),
            "a": levels(asks),
        }
        if self.exchange != "binance":
            message |= {"T": 1, "pu": first - 1 if previous is None else previous}
        return message

    def snapshot(self, last: int, bids: Any = (("99.5", "1"),), asks: Any = (("100.5", "1"),)) -> dict[str, Any]:
        """A Binance REST snapshot: only COIN-M's names its symbol."""
        named = {"symbol": self.symbol, "pair": self.symbol[:6]} if self.exchange == "binance-coinm" else {}
        return named | {"lastUpdateId": last, "bids": levels(bids), "asks": levels(asks)}

    def trade(
        self, number: int, price: str = "100", qty: str = "1", *, maker: bool = False, **more: Any
    ) -> dict[str, Any]:
        message = {"e": "trade", "E": 1, "T": 1, "s": self.symbol, "t": number, "p": price, "q": qty, "m": maker}
        return message | more

    def forced(self, price: str = "99", qty: str = "1", *, sell: bool = True, **more: Any) -> dict[str, Any]:
        """A forced order that closed a long (`sell`) or a short."""
        if self.exchange == "okx":
            side, position = ("sell", "long") if sell else ("buy", "short")
            order = {"bkLoss": "0", "bkPx": price, "ccy": "", "posSide": position, "side": side, "sz": qty, "ts": "1"}
            element = {"details": [order | more], "instFamily": "X", "instId": self.symbol, "instType": "SWAP"}
            return {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [element]}
        order = {"s": self.symbol, "S": "SELL" if sell else "BUY", "o": "LIMIT", "f": "IOC", "q": qty, "p": price,
                 "ap": price, "X": "FILLED", "l": qty, "z": qty, "T": 1}  # fmt: skip
        return {"e": "forceOrder", "E": 1, "o": order | more}

    def okx(self, action: str | None, seq: int | None, previous: int | None, bids: Any = (), asks: Any = (),
            *, channel: str = "books", checksum: int | None = 0) -> dict[str, Any]:  # fmt: skip
        """An OKX book message; ids or the checksum are left out where they are None."""
        element: dict[str, Any] = {
            "asks": [[*level, "0", "1"] for level in levels(asks)],
            "bids": [[*level, "0", "1"] for level in levels(bids)],
            "ts": "1",
        }
        named = {"checksum": checksum, "seqId": seq, "prevSeqId": previous}
        element |= {name: value for name, value in named.items() if value is not None}
        message: dict[str, Any] = {"arg": {"channel": channel, "instId": self.symbol}, "data": [element]}
        return message | ({"action": action} if action else {})


def levels(pairs: Iterable[Iterable[str]]) -> list[list[str]]:
    return [list(pair) for pair in pairs]


def agree(engine: Engine, oracle: Oracle) -> None:
    """The kernel's book, counters and trades are the oracle's."""
    view = engine.view
    kernel = {name: int(view["counters"][name]) for name in oracle.counts}
    assert kernel == oracle.counts
    assert bool(view["sync"]["synced"]) == oracle.synced
    touch = [tuple(level) for level in view["sync"]["touch"].tolist()]
    scales = oracle.price_decimals, oracle.qty_decimals
    assert touch == [tuple(int(x.scaleb(s)) for x, s in zip(level, scales, strict=True)) for level in oracle.touch]
    sides = []
    for side in (0, 1):
        prices, qtys = engine.levels(side)
        price_unit, qty_unit = Decimal(1).scaleb(-oracle.price_decimals), Decimal(1).scaleb(-oracle.qty_decimals)
        sides.append([(int(p) * price_unit, int(q) * qty_unit) for p, q in zip(prices, qtys, strict=True)])
    assert sides == [oracle.ladder(0), oracle.ladder(1)]
    if oracle.synced:
        assert engine.book_sha256() == oracle.book_sha256()
        for side in (0, 1):  # the sorted top that features and orders are computed from
            book = view["side"][side]
            top = [(int(level["price"]), int(level["qty"])) for level in book["top"][: int(book["top_count"])]]
            prices, qtys = engine.levels(side)
            want = list(zip(prices[: len(book["top"])].tolist(), qtys[: len(book["top"])].tolist(), strict=True))
            assert top == want
    tape = view["tape"]
    count, ring = int(tape["count"]), tape["ring"]
    assert count == len(oracle.trade_prints)
    for back, (price, qty, aggressor) in enumerate(reversed(oracle.trade_prints[-len(ring) :]), 1):
        trade = ring[(count - back) % len(ring)]
        printed = int(price.scaleb(oracle.price_decimals)), int(qty.scaleb(oracle.qty_decimals)), aggressor
        assert (int(trade["price"]), int(trade["qty"]), int(trade["aggressor"])) == printed
    ladder = view["liquidation"]
    assert int(ladder["count"]) == len(oracle.forced)
    for back, (price, qty, side) in enumerate(reversed(oracle.forced[-len(ladder["forced"]) :]), 1):
        order = ladder["forced"][(len(oracle.forced) - back) % len(ladder["forced"])]
        told = int(price.scaleb(oracle.price_decimals)), int(qty.scaleb(oracle.qty_decimals)), side
        assert (int(order["price"]), int(order["qty"]), int(order["side"])) == told
