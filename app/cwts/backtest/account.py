"""Runs recordings through the engine and keeps what its paper account did: equity a second, every order and trade.

The engine's account is the only one: nothing here simulates a fill. Owns the collecting; `metrics` judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cwts.config import Settings, build_config
from cwts.errors import InputError
from cwts.kernel import Engine, layout
from cwts.recording import FRAME, Recording
from cwts.replay import RECORDED, Setup, never_valid, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cwts.instruments import Instrument

E8 = 1e8
SECOND = 1_000_000_000
_TOLD = layout.Event.FILL | layout.Event.ACTION | layout.Event.REJECT
_SUMS = ("fees_e8", "slippage_e8", "turnover_e8")
_ENDED = (layout.OrderState.FILLED, layout.OrderState.PARTLY_FILLED)


@dataclass(frozen=True)
class Order:
    """An order that has ended, as the account kept it. Money in 10^-8 of the settlement asset."""

    id: int
    state: int
    buy: bool
    reason: int
    created_ns: int
    done_ns: int
    price: float  # average paid, in the quote asset; 0: nothing was filled
    touch: float  # when it was decided
    filled: int  # quantity units
    notional_e8: int
    fee_e8: int
    reduce_only: bool


@dataclass(frozen=True)
class Trade:
    """From flat to flat. `net_e8` is the account's own: equity after the close less equity before the opening."""

    buy: bool
    opened_ns: int
    closed_ns: int
    entry: float
    exit: float
    qty: int  # quantity units, bought or sold to open
    notional_e8: int  # paid to open
    fee_e8: int
    net_e8: int

    @property
    def gross_e8(self) -> int:
        """Before fees, slippage included."""
        return self.net_e8 + self.fee_e8


@dataclass
class Run:
    """What came of a run. The arrays have one entry a second: its end, equity (10^-8), best bid and ask (0: none)."""

    setup: Setup
    second: NDArray[np.int64]
    equity_e8: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    capital_e8: int = 0  # equity at the start
    end_e8: int = 0  # equity at the end
    open_e8: int = 0  # before fees, what no closed trade explains: an open position, and on spot the dust of fees
    fees_e8: int = 0
    slippage_e8: int = 0
    turnover_e8: int = 0
    drawdown_e8: int = 0
    open_since_ns: int = 0  # 0: flat at the end
    first_ns: int = 0
    last_ns: int = 0
    spans: tuple[tuple[int, int], ...] = ()  # first and last time of each recording
    messages: int = 0
    captures: tuple[str, ...] = ()


def open_captures(
    paths: Sequence[str], exchange: str, symbol: str, instrument: Instrument | None, settings: Settings
) -> tuple[list[Recording], Setup]:
    """The recordings in the order of their times, and one setup that fits them all. Raises InputError.

    Recordings of frames that were made with one configuration are run with it, as `prepare` has it.
    """
    found = []
    for path in paths:
        recording = Recording(path)
        found.append((prepare(recording, exchange, symbol, instrument=instrument, settings=settings), recording))
    found.sort(key=lambda pair: pair[0].survey.first_ns)
    setup = found[0][0]
    if all(other.config == setup.config for other, _ in found):
        return [recording for _, recording in found], setup
    one = setup.instrument
    for other, _ in found[1:]:
        one = one.with_decimals(other.instrument.price_decimals, other.instrument.qty_decimals)
    config = build_config(one, settings, setup.survey.reference_price)
    notes = tuple(note for note in setup.notes if note != RECORDED)
    if any(RECORDED in other.notes for other, _ in found):
        notes += (
            "not all were recorded with the same settings: all are run with those given now, or the default ones",
        )
    setup = replace(setup, instrument=one, settings=settings, config=config, notes=notes)
    return [recording for _, recording in found], setup


def run(
    recordings: Sequence[Recording],
    setup: Setup,
    *,
    kernel: str = "native",
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Feeds every message by itself, so that no order and no close is missed. Raises InputError where times overlap."""
    engine, notes = setup.engine_for(recordings[0], kernel)
    book = _Book(engine, setup)
    valid = bool(engine.view["sync"]["synced"])
    total = sum(recording.bytes_total for recording in recordings) or 1
    done = last = messages = 0
    spans: list[tuple[int, int]] = []
    for recording in recordings:
        fresh, first = True, 0
        for batch in recording.batches():
            view, at = memoryview(batch), 0
            while at < len(view):
                ns, length, _, kind = FRAME.unpack_from(view, at)
                if kind == layout.Kind.RAW:  # commands may be at time 0
                    if fresh and ns < last:
                        raise InputError(f"{recording.name}: begins before the recording before it ends")
                    fresh = False
                first = first or ns
                if ns // SECOND > book.second:
                    book.sample(ns // SECOND)
                last = max(last, ns)
                end = at + FRAME.size + (length + 7 & ~7)
                events = engine.feed(view[at:end])
                if events & _TOLD:
                    book.look(filled=bool(events & layout.Event.FILL))
                at = end
                messages += kind == layout.Kind.RAW
            if progress:
                progress((done + recording.bytes_read) / total)
        done += recording.bytes_total
        if first:
            spans.append((first, last))
    result = book.close()
    result.setup = replace(setup, notes=setup.notes + notes + never_valid(engine, valid))
    if spans:
        result.first_ns, result.last_ns = spans[0][0], spans[-1][1]
    result.spans, result.messages = tuple(spans), messages
    result.captures = tuple(recording.name for recording in recordings)
    return result


class _Book:
    """Reads the engine's account when it has moved. What it did before this recording began is not counted."""

    def __init__(self, engine: Engine, setup: Setup) -> None:
        view = engine.view
        self.setup = setup
        self.account, self.sync = view["account"], view["sync"]
        self.touch = view["sync"]["touch"]
        self.config = view["config"]
        self.scale = 10.0**setup.instrument.price_decimals
        self.second = 0
        self.rows: list[tuple[int, int, float, float]] = []
        self.orders: list[Order] = []
        self.trades: list[Trade] = []
        self.legs: list[Order] = []  # of the trade that is open
        self.lot_e8: int = int(self.config["lot_size"]) * 10 ** max(0, 8 - setup.instrument.qty_decimals)
        self.realised, self.closed = int(self.account["realised_e8"]), self._closes()
        self.capital_e8 = int(self.account["equity_e8"])
        self.before = {name: int(self.account[name]) for name in _SUMS}
        ring, orders = self.account["order"], int(self.account["orders"])
        self.seen = max(0, orders - len(ring))
        opened = int(self.account["opened_ns"]) if self._held() else 0
        while self.seen < orders and (row := ring[self.seen % len(ring)])["state"] != layout.OrderState.SENT:
            self.seen += 1
            if opened and row["done_ns"] >= opened and row["state"] in _ENDED:
                self.legs.append(self._order(row))  # of a position that is held from before

    def _closes(self) -> int:
        return int(self.account["wins"]) + int(self.account["losses"])

    def _held(self) -> bool:
        held: int = abs(int(self.account["position_e8"]))
        return held >= self.lot_e8

    def sample(self, second: int) -> None:
        """A second has ended."""
        if self.second:
            good = bool(self.sync["synced"])
            bid, ask = ((float(t["price"]) / self.scale if good and t["qty"] > 0 else 0.0) for t in self.touch)
            self.rows.append((self.second, int(self.account["equity_e8"]), bid, ask))
        self.second = second

    def look(self, *, filled: bool) -> None:
        """Orders that have ended; and the trade, if one was closed."""
        ring = self.account["order"]
        while self.seen < int(self.account["orders"]):
            row = ring[self.seen % len(ring)]
            if row["state"] == layout.OrderState.SENT:
                break
            self.seen += 1
            order = self._order(row)
            self.orders.append(order)
            if order.state in _ENDED:
                self.legs.append(order)
        closes = self._closes()
        if filled and closes > self.closed:
            self.closed = closes
            realised = int(self.account["realised_e8"])
            self.trades.append(self._trade(realised - self.realised))
            self.realised, self.legs = realised, []

    def _order(self, row: np.void) -> Order:
        filled, notional = int(row["filled"]), int(row["notional_e8"])
        return Order(
            int(row["id"]),
            int(row["state"]),
            int(row["side"]) == layout.Side.BID,
            int(row["reason"]),
            int(row["created_ns"]),
            int(row["done_ns"]),
            price_of(self.setup.instrument, filled, notional),
            int(row["touch"]) / self.scale,
            filled,
            notional,
            int(row["fee_e8"]),
            bool(row["reduce_only"]),
        )

    def _trade(self, net_e8: int) -> Trade:
        opening = [leg for leg in self.legs if not leg.reduce_only]
        closing = [leg for leg in self.legs if leg.reduce_only]
        one = self.setup.instrument
        sums = [(sum(leg.filled for leg in legs), sum(leg.notional_e8 for leg in legs)) for legs in (opening, closing)]
        entry, leave = (price_of(one, qty, notional) for qty, notional in sums)
        return Trade(
            opening[0].buy, opening[0].done_ns, self.legs[-1].done_ns, entry, leave, sums[0][0], sums[0][1],
            sum(leg.fee_e8 for leg in self.legs), net_e8,
        )  # fmt: skip

    def close(self) -> Run:
        """The end: what is still open stays open, marked at the touch."""
        self.sample(self.second + 1)
        self.look(filled=True)
        columns = list(zip(*self.rows, strict=True)) or [(), (), (), ()]
        end, capital = int(self.account["equity_e8"]), self.capital_e8
        sums = {name: int(self.account[name]) - before for name, before in self.before.items()}
        gross = sum(trade.gross_e8 for trade in self.trades)
        return Run(
            setup=self.setup,
            second=np.array(columns[0], np.int64),
            equity_e8=np.array(columns[1], np.int64),
            bid=np.array(columns[2], np.float64),
            ask=np.array(columns[3], np.float64),
            orders=self.orders,
            trades=self.trades,
            capital_e8=capital,
            end_e8=end,
            open_e8=end - capital + sums["fees_e8"] - gross,
            fees_e8=sums["fees_e8"],
            slippage_e8=sums["slippage_e8"],
            turnover_e8=sums["turnover_e8"],
            drawdown_e8=int(self.account["drawdown_e8"]),
            open_since_ns=int(self.account["opened_ns"]) if self._held() else 0,
        )


def price_of(instrument: Instrument, qty: int, notional_e8: int) -> float:
    """The average price of `qty` quantity units that cost `notional_e8`."""
    amount = qty / 10.0**instrument.qty_decimals * float(instrument.contract_size)
    money = notional_e8 / E8
    if not amount or not money:
        return 0.0
    return amount / money if instrument.contract == "inverse" else money / amount
