"""The kernel second by second: a recording, or a market that a test makes up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.config import Settings
from cwts.kernel import layout
from cwts.recording import FRAME, Recording
from market import SECOND, START_NS, Market, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cwts.kernel import Engine


def replayed(engine: Engine, path: Path) -> Iterator[int]:
    """Feeds a recording; after the first frame of each second, how many bars have been closed."""
    last = 0
    for batch in Recording(path).batches():
        data = bytes(batch)
        at = fed = 0
        while at < len(data):
            ns, length, _, _ = FRAME.unpack_from(data, at)
            at += FRAME.size + (length + 7 & ~7)
            if ns // SECOND != last:
                engine.feed(data[fed:at])
                last, fed = ns // SECOND, at
                yield int(engine.view["bars"]["count"])
        engine.feed(data[fed:])


def bars_of(engine: Engine) -> list[Any]:
    """The one-second bars that the block remembers, oldest first."""
    bars = engine.view["bars"]
    count, ring = int(bars["count"]), bars["ring"]
    return [ring[i % len(ring)].copy() for i in range(max(0, count - len(ring)), count)]


class Tape:
    """A market told in seconds: where the touch ends, how deep the book is, what was traded."""

    START = START_NS // SECOND

    def __init__(self, engine_name: str, parts: int = int(layout.Part.ALL), **parameters: float) -> None:
        named = {name.replace("__", "."): value for name, value in parameters.items()}
        self.market = Market(
            "binance", "BTCUSDT", engine_name, settings=replace(Settings(), parameters=named, parts=parts)
        )
        self.engine = self.market.engine
        self.view = self.engine.view
        self.signal = self.view["signals"]["value"]
        self.second = self.START
        self.id = 10
        self.trades = 0
        self.levels: tuple[str, str] | None = None

    def feed(self, *messages: bytes, at: int) -> None:
        step = 1000
        self.engine.feed(b"".join(frame(raw, at + i * step) for i, raw in enumerate(messages)))

    def snapshot(self, price: int = 10_000, depth: float = 10.0) -> None:
        """A valid book of one level a side, `price` and the tick above it."""
        self.id += 1
        self.feed(
            b'{"lastUpdateId":%d,"bids":[["%.2f","%.3f"]],"asks":[["%.2f","%.3f"]]}'
            % (self.id, price / 100, depth / 2, (price + 1) / 100, depth / 2),
            at=self.second * SECOND,
        )
        self.levels = b"%.2f" % (price / 100), b"%.2f" % ((price + 1) / 100)

    def lose(self) -> None:
        """The book becomes invalid."""
        payload = np.array([layout.CommandOp.RESET_BOOK, 0], "<u4").tobytes()
        self.engine.feed(frame(payload, self.second * SECOND, kind=layout.Kind.COMMAND))

    def tell(
        self, price: int | None = None, depth: float | None = None, bought: float = 0.0, sold: float = 0.0,
        low: int | None = None, high: int | None = None,
    ) -> None:  # fmt: skip
        """One second that ends with a bid of `price`; its bar is closed when this returns."""
        messages = []
        for qty, maker in ((bought, b"false"), (sold, b"true")):
            if qty:
                self.trades += 1
                messages.append(
                    b'{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":%d,"p":"100","q":"%.3f","m":%s}'
                    % (self.trades, qty, maker)
                )
        if depth is not None:
            self.id += 1
            assert self.levels
            messages.append(
                b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":%d,"u":%d,"b":[["%s","%.3f"]],"a":[["%s","%.3f"]]}'
                % (self.id, self.id, self.levels[0], depth / 2, self.levels[1], depth / 2)
            )
        messages += [self.ticker(p) for p in (low, high, price) if p is not None]
        self.feed(*messages, at=self.second * SECOND + SECOND // 2)
        self.second += 1
        self.engine.feed(frame(b"", self.second * SECOND, kind=layout.Kind.TIMER))

    def ticker(self, price: int) -> bytes:
        return b'{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%.2f","B":"1","a":"%.2f","A":"1"}' % (
            self.id, price / 100, (price + 1) / 100,
        )  # fmt: skip

    def bars(self) -> list[Any]:
        return bars_of(self.engine)

    def newest(self) -> Any:
        bars = self.view["bars"]
        return bars["ring"][(int(bars["count"]) - 1) % len(bars["ring"])].copy()
