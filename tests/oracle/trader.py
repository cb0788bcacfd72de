"""The whole engine, slowly: book, features, decision and account after each frame, in the order that cwts.h gives.

The decision compares float32 numbers with thresholds, so signals and score are the kernel's own; they are checked
against their twins for closeness, and everything that follows from them must agree exactly.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from cwts.kernel import layout
from cwts.kernel.layout import Action, CommandOp, Contract, Reason, Side
from cwts.parameters import PARAMETERS
from oracle.account import DEEPEST, Account
from oracle.book import Level, Oracle
from oracle.decision import Rules, Situation, decide
from oracle.features import Features


@dataclass
class Decided:
    action: int = Action.HOLD
    reason: int = Reason.BOOK_INVALID
    order_id: int = 0
    last_ns: int = 0
    last_action: int = 0
    last_reason: int = 0
    last_order_id: int = 0
    evaluated: int = 0


@dataclass(frozen=True)
class Said:
    """What the kernel's signals and score were after a frame."""

    score: float = 0.0
    part: tuple[float, float, float] = (0.0, 0.0, 0.0)
    signal: Mapping[str, float] = field(default_factory=dict)


class Trader:
    def __init__(self, config: bytes, exchange: str) -> None:
        c: Any = np.frombuffer(config, layout.CONFIG)[0]
        self.config = c.copy()
        self.price_decimals, self.qty_decimals = int(c["price_decimals"]), int(c["qty_decimals"])
        self.book = Oracle(exchange, bytes(c["symbol"]).decode(), self.price_decimals, self.qty_decimals)
        self.features = Features(float(Decimal(int(c["tick_size"])).scaleb(-self.price_decimals)))
        self.account = Account(self.config)
        self.decided = Decided()
        self.halted = False
        self.synced_ns = self.book_ns = 0

    def raw(self, message: bytes, now: int, said: Said) -> None:
        """A message of the exchange's; nothing is decided unless it moved the market."""
        seen, was_synced = len(self.book.trade_prints), self.book.synced
        self.book.feed(message, now)
        if "book" in self.book.happened:
            self.book_ns = now
            if not was_synced or "lost" in self.book.happened:
                self.synced_ns = now
        if self.book.happened:
            self._tick(now, said, self.book.trade_prints[seen:])

    def timer(self, now: int, said: Said) -> None:
        self.book.happened = set()
        self._tick(now, said)

    def command(self, payload: bytes, now: int, said: Said) -> None:
        self.book.happened = set()
        op, bits = struct.unpack_from("<II", payload) if len(payload) >= 8 else (0, 0)
        value = np.uint32(bits).view(np.float32)
        if op == CommandOp.RESET_BOOK:
            self.book.reset()
        elif op == CommandOp.HALT:
            self.halted = True
            if (order := self.account.pending()) and not order.reduce_only:
                self.account.cancel(order, now)
        elif op == CommandOp.RESUME:
            self.halted = False
        elif op == CommandOp.SET_ENTER and 0 < value <= 1:
            self.config["enter"] = value
        elif op == CommandOp.SET_EXIT and 0 <= value <= 1:
            self.config["exit"] = value
        self._tick(now, said)

    # -- after each of them -----------------------------------------------------------------------------------------

    def units(self, level: Level) -> tuple[int, int]:
        return int(level[0].scaleb(self.price_decimals)), int(level[1].scaleb(self.qty_decimals))

    def best(self, side: int) -> list[tuple[int, int]]:
        levels = self.book.sides[side]
        prices = (heapq.nsmallest if side else heapq.nlargest)(DEEPEST, levels)
        return [self.units((price, levels[price][0])) for price in prices]

    def _tick(self, now: int, said: Said, trades: list[tuple[Decimal, Decimal, int]] | None = None) -> None:
        c, a, d = self.config, self.account, self.decided
        self.features.update(now, self.book, [(float(qty), aggressor) for _, qty, aggressor in trades or ()])
        touch = [self.units(level) for level in self.book.touch]
        order = a.pending()
        if order and now - order.created_ns >= c["order_latency_ns"]:
            if not self.book.synced or now - self.book_ns > c["stale_ns"]:
                a.cancel(order, now)
            else:
                a.match(order, self.best(Side.ASK if order.side == Side.BID else Side.BID), touch, now)
        position = a.lots()
        if position:
            a.mark(touch)
        rules = Rules(
            spot=c["contract"] == Contract.SPOT,
            **{name: int(c[name]) for name in ("stale_ns", "warmup_ns", "cooldown_ns", "max_hold_ns", "max_spread",
                                               "max_loss_e8", "capital_e8")},
            enter=float(c["enter"]), exit=float(c["exit"]), parameter=parameters(c),
        )  # fmt: skip
        size = a.size(touch[Side.BID][0], touch[Side.ASK][0], risk_ppm(c, said.signal))
        reason, action = decide(
            rules,
            Situation(
                synced=self.book.synced,
                since_update_ns=now - self.book_ns,
                bid=touch[Side.BID],
                ask=touch[Side.ASK],
                pending=a.busy(now),
                halted=self.halted,
                position=position,
                equity_e8=a.equity_e8,
                since_opened_ns=now - a.opened_ns,
                since_synced_ns=now - self.synced_ns,
                since_closed_ns=now - a.closed_ns,
                size=size,
                score=said.score,
                part=said.part,
                signal=said.signal,
            ),
        )
        d.action, d.reason, d.order_id = action, reason, 0
        d.evaluated += 1
        self.halted |= reason in (Reason.EXIT_LOSS, Reason.HALTED)
        if action == Action.HOLD:
            return
        if action == Action.EXIT:
            side, size = Side.ASK if position > 0 else Side.BID, abs(position)
        else:
            side = Side.BID if action == Action.BUY else Side.ASK
        d.order_id = a.send(side, size, reason, touch, now, reduce=action == Action.EXIT).id
        d.last_ns, d.last_action, d.last_reason, d.last_order_id = now, action, reason, d.order_id

    def score(self, said: Said) -> float:
        """Features, whales and value network, each within [-1, 1]: what the kernel's score must be close to."""
        if not self.book.synced:
            return 0.0
        p, signal = parameters(self.config), said.signal
        parts = (
            sum(float(w) * v for w, v in zip(self.config["weights"], self.features.value, strict=True)),
            p["whale_weight"] * signal["WHALE_PRESSURE"] * signal["WHALE_CONFIDENCE"],
            p["value_weight"] * signal["VALUE"],
        )
        return max(-1.0, min(1.0, sum(max(-1.0, min(1.0, part)) for part in parts)))


def parameters(config: Any) -> dict[str, float]:
    """The decision's parameters by name."""
    named = {name: float(config["parameter"][i]) for i, name in enumerate(PARAMETERS)}
    return {name.removeprefix("decision."): v for name, v in named.items() if name.startswith("decision.")}


def risk_ppm(config: Any, signal: Mapping[str, float]) -> int:
    """What an order is scaled by: the risk multiplier where it is known, but not below its floor."""
    risk = signal.get("RISK", 0.0)
    share = max(risk, parameters(config)["risk_floor"]) if risk > 0 else 1.0
    return int(np.float32(share) * np.float32(1e6))
