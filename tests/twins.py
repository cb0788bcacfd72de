"""The kernel and its slow twin in lockstep: the same frames to both, and after each of them the same state."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from cwts.config import Settings, build_config
from cwts.instruments import guess_instrument
from cwts.kernel import Engine, layout
from cwts.kernel.layout import Action, Kind
from market import SECOND, START_NS, Market, compact, frame
from oracle.trader import Said, Trader

MS = SECOND // 1000

ACCOUNT = (
    "cash_e8", "position_e8", "entry_e8", "equity_e8", "peak_e8", "drawdown_e8", "fees_e8", "turnover_e8",
    "slippage_e8", "realised_e8", "opened_ns", "closed_ns", "fills", "wins", "losses",
)  # fmt: skip
ORDER = (
    "id", "state", "side", "reason", "created_ns", "done_ns", "limit", "qty", "filled", "notional_e8", "fee_e8",
    "touch", "reduce_only",
)  # fmt: skip
DECISION = (
    "action", "reason", "order_id", "last_ns", "last_action", "last_reason", "last_order_id", "evaluated",
)  # fmt: skip

# The kernel's float32 against float64. Its float64 sums differ by the order of summation and an exponential good to
# 1e-11; a value of 0.5 in float32 is known to 3e-8.
RELATIVE, ABSOLUTE = 1e-6, 1e-6

# The account at rest, or one that trades at every touch.
EAGER = Settings(
    weights={"IMBALANCE_1": 1.0}, enter=0.2, exit=0.1, warmup_s=0, cooldown_s=0.05, order_latency_s=0.01, max_hold_s=2,
    max_spread_bp=1000, max_slippage_bp=100, order_share=0.5, stale_s=1,
)  # fmt: skip


class Twins:
    """`config`: a `cwts_config`. `exact`: a whole comparison after each frame."""

    def __init__(self, config: bytes, exchange: str, engine_name: str) -> None:
        self.engine = Engine(config, kernel=engine_name)
        self.trader = Trader(config, exchange)
        self.now = START_NS
        view = self.engine.view
        self._decision: Any = view["decision"]
        self.actions = dict.fromkeys(Action, 0)

    def raw(self, message: bytes | dict[str, Any], *, after: int = 10 * MS) -> int:
        """A message of the exchange's, `after` nanoseconds after the one before."""
        data = message if isinstance(message, bytes) else compact(message)
        self.now += after
        events = self.engine.feed(frame(data, self.now))
        self.trader.raw(data, self.now, self._said())
        return self._decided(events)

    def timer(self, *, after: int = 10 * MS) -> int:
        self.now += after
        events = self.engine.feed(frame(b"", self.now, kind=Kind.TIMER))
        self.trader.timer(self.now, self._said())
        return self._decided(events)

    def command(self, op: int, value: float = 0.0, *, after: int = 10 * MS) -> int:
        payload = struct.pack("<If", op, value)
        self.now += after
        events = self.engine.feed(frame(payload, self.now, kind=Kind.COMMAND))
        self.trader.command(payload, self.now, self._said())
        return self._decided(events)

    def _said(self) -> Said:
        signal = self.engine.view["signals"]["value"]
        part = self._decision["part"]
        return Said(
            float(self._decision["score"]),
            (float(part[0]), float(part[1]), float(part[2])),
            {s.name: float(signal[s]) for s in layout.Signal},
        )

    def _decided(self, events: int) -> int:
        decided = self.trader.decided
        found = int(self._decision["action"]), int(self._decision["reason"])
        assert found == (decided.action, decided.reason)
        self.actions[Action(decided.action)] += 1
        return events

    def check(self, *, features: bool = True) -> None:
        """Everything exactly, features and score within the tolerance."""
        view, t = self.engine.view, self.trader
        assert bool(view["sync"]["synced"]) == t.book.synced
        assert bool(view["header"]["halted"]) == t.halted
        assert {name: int(view["decision"][name]) for name in DECISION} == {
            name: int(getattr(t.decided, name)) for name in DECISION
        }
        account = view["account"]
        assert {name: int(account[name]) for name in ACCOUNT} == {name: getattr(t.account, name) for name in ACCOUNT}
        assert int(account["orders"]) == len(t.account.order)
        for order in t.account.order[-len(account["order"]) :]:
            found = account["order"][(order.id - 1) % len(account["order"])]
            assert {name: int(found[name]) for name in ORDER} == {name: int(getattr(order, name)) for name in ORDER}
        if features:
            self.check_features()

    def check_features(self) -> None:
        view, t = self.engine.view, self.trader
        found, want = np.asarray(view["features"]["value"], np.float64), np.array(t.features.value)
        wrong = np.abs(found - want) > ABSOLUTE + RELATIVE * np.abs(want)
        assert not wrong.any(), {layout.Feature(int(i)).name: (found[i], want[i]) for i in np.flatnonzero(wrong)}
        if t.decided.evaluated:
            weights = float(np.abs(t.config["weights"]).sum())
            assert abs(float(self._decision["score"]) - t.score(self._said())) < 1e-4 * max(1.0, weights)


@dataclass(frozen=True)
class Terms:
    """An instrument's rules for a random market, and how it is traded."""

    exchange: str
    symbol: str
    price_decimals: int = 2
    qty_decimals: int = 3
    lot: str = "0.001"
    min_qty: str = "0"
    max_qty: str = "0"
    min_notional: str = "0"
    contract_size: str = "1"
    settings: Settings = EAGER

    def config(self, reference_price: Decimal | None = Decimal(100)) -> bytes:
        guess = guess_instrument(self.exchange, self.symbol, self.price_decimals, self.qty_decimals)
        instrument = replace(
            guess,
            lot_size=Decimal(self.lot),
            min_qty=Decimal(self.min_qty),
            max_qty=Decimal(self.max_qty),
            min_notional=Decimal(self.min_notional),
            contract_size=Decimal(self.contract_size),
        )
        return build_config(instrument, self.settings, reference_price)


class Story:
    """A small market told at random, in which there is always something to trade."""

    def __init__(self, terms: Terms, engine_name: str, seed: int, **changed: Any) -> None:
        self.rng = random.Random(seed)
        config: Any = np.frombuffer(terms.config(), layout.CONFIG).copy()
        for name, value in changed.items():
            config[name] = value
        self.twins = Twins(config.tobytes(), terms.exchange, engine_name)
        self.say = Market(terms.exchange, terms.symbol, engine_name, terms.price_decimals, terms.qty_decimals)
        self.middle = 100 * 10**terms.price_decimals
        self.price_decimals, self.qty_decimals = terms.price_decimals, terms.qty_decimals
        self.most = 3 * 10**terms.qty_decimals  # quantity of a level
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.id = 100
        self.trades = 0
        self._move()
        self.twins.raw(self._snapshot())

    def _move(self) -> list[dict[int, int]]:
        rng, changes = self.rng, []
        self.middle = max(50, self.middle + rng.choice([0, 0, 1, -1, 5, -5, rng.randint(-60, 60)]))
        for side, sign in ((0, -1), (1, 1)):
            book = self.sides[side]
            change = {price: 0 for price in book if (price - self.middle) * sign <= 0}
            for _ in range(rng.randrange(1, 5)):
                change[self.middle + sign * rng.randrange(1, 12)] = rng.choice([0, 1, rng.randrange(1, self.most)])
            if rng.random() < 0.02:
                change |= dict.fromkeys(book, 0)  # a side that is swept
            book |= change
            for price in [price for price, qty in book.items() if not qty]:
                del book[price]
            changes.append({price: qty for price, qty in change.items() if price > 0})
        return changes

    def _levels(self, side: dict[int, int]) -> list[tuple[str, str]]:
        return [(self._text(p, self.price_decimals), self._text(q, self.qty_decimals)) for p, q in side.items()]

    def _text(self, units: int, decimals: int) -> str:
        return format(Decimal(units).scaleb(-decimals), "f")

    def _quote(self) -> list[tuple[str, str]]:
        """A best bid and ask as the ticker might tell them; sometimes crossed, sometimes one-sided."""
        low = self.middle - self.rng.randrange(1, 4)
        high = low + self.rng.choice([0, 1, 2, 3, 4])
        return [
            *self._levels({low: self.rng.randrange(self.most)}),
            *self._levels({high: self.rng.randrange(self.most)}),
        ]

    def _snapshot(self) -> dict[str, Any]:
        bids, asks = (self._levels(dict(sorted(s.items(), reverse=not i))) for i, s in enumerate(self.sides))
        if self.say.exchange == "okx":
            return self.say.okx("snapshot", self.id, -1, bids, asks)
        return self.say.snapshot(self.id, bids, asks) | {"symbol": self.say.symbol}

    def step(self) -> None:
        rng, say, twins = self.rng, self.say, self.twins
        after = rng.choice([1 * MS, 4 * MS, 12 * MS, 40 * MS, 200 * MS] + [3 * SECOND] * (rng.random() < 0.05))
        what = rng.random()
        if what < 0.6:
            bids, asks = (self._levels(change) for change in self._move())
            previous, self.id = self.id, self.id + rng.randrange(1, 4)
            if what < 0.01:
                return  # lost
            if say.exchange == "okx":
                twins.raw(say.okx("update", self.id, previous, bids, asks), after=after)
            else:
                twins.raw(say.depth(previous + 1, self.id, previous, bids, asks), after=after)
        elif what < 0.75:
            self.trades += 1
            price, qty = (
                self._text(self.middle, self.price_decimals),
                self._text(rng.randrange(self.most), self.qty_decimals),
            )
            if say.exchange == "okx":
                one = {
                    "instId": say.symbol,
                    "tradeId": "1",
                    "px": price,
                    "sz": qty,
                    "side": rng.choice(["buy", "sell"]),
                    "ts": "1",
                }
                twins.raw({"arg": {"channel": "trades", "instId": say.symbol}, "data": [one]}, after=after)
            else:
                twins.raw(say.trade(self.trades, price, qty, maker=rng.random() < 0.5), after=after)
        elif what < 0.85 and say.exchange != "okx":
            (bid, bid_qty), (ask, ask_qty) = self._quote()
            ticker = {
                "e": "bookTicker",
                "u": self.id + rng.randrange(-2, 2),
                "s": say.symbol,
                "b": bid,
                "B": bid_qty,
                "a": ask,
                "A": ask_qty,
            }
            twins.raw(ticker, after=after)
        elif what < 0.93:
            twins.timer(after=after)
        elif what < 0.96 or not twins.trader.book.synced:
            self.id += 1
            twins.raw(self._snapshot(), after=after)
        elif what < 0.97:
            twins.command(layout.CommandOp.RESET_BOOK, after=after)
        elif what < 0.98:
            twins.command(layout.CommandOp.HALT, after=after)
        elif what < 0.995:
            twins.command(layout.CommandOp.RESUME, after=after)
        else:
            twins.raw(b'{"broken', after=after)
