"""The whale analyser against its definitions (docs/whale.md) and against truths planted in made markets."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.config import Settings
from cwts.kernel import Engine, layout
from cwts.kernel.layout import NestKind, Signal
from cwts.parameters import PARAMETERS
from market import CAPTURES, SECOND, START_NS, Market, compact, frame, head, setup_of
from oracle.book import Oracle
from oracle.whale import Trade, Whale

if TYPE_CHECKING:
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

    @property
    def signals(self) -> list[float]:
        return [float(v) for v in self.engine.view["signals"]["value"][: Signal.NEST_ASK + 1]]

    def check(self) -> None:
        w, twin = self.engine.view["whale"], self.twin
        assert int(w["clusters"]["count"]) == len(twin.clusters.size)
        assert int(w["levels"]["count"]) == len(twin.levels.size)
        assert int(w["whales"]) == len(twin.whales)
        limits = float(w["clusters"]["limit"]), float(w["levels"]["limit"])
        assert limits == pytest.approx((twin.clusters.limit, twin.levels.limit), rel=1e-9)
        for side in (0, 1):
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


# -- agreement ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:4], ids=[e for _, e, _ in CAPTURES[:4]])
def test_real_recordings(engine_name: str, data: Path, file: str, exchange: str, symbol: str) -> None:
    """With limits known early, and a gap in the middle."""
    mark = b'"lastUpdateId"' if exchange != "okx" else b'"snapshot"'
    lines = head(data / file, 20_000)
    start = next(i for i, (_, raw) in enumerate(lines) if mark in raw)
    lines = lines[max(0, start - 20) : start + 6_000]
    config = setup_of(data / file, exchange, symbol).config
    m = Watched(config, exchange, engine_name, least=20, quantile=0.9, nest_quantile=0.97, persist_s=1, iceberg_ratio=1.2)
    for i, (ns, raw) in enumerate(lines):
        m.raw(raw, after=ns - m.now)
        if i % 50 == 0:
            m.check()
    m.check()
    if exchange != "okx":
        assert m.twin.whales
        assert m.twin.sides[0].stood + m.twin.sides[0].pulled + m.twin.sides[1].stood + m.twin.sides[1].pulled > 0
