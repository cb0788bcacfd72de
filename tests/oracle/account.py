"""The paper account with Python's unbounded integers and fractions: the kernel's money must agree to the last unit.

Money is in 10^-8 of the settlement asset, amounts in 10^-8 of the base asset or of a contract. Each step of a sum is
rounded to whole units, against the account: what is paid or owed up, what is received or owned down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from cwts.kernel.layout import Contract, OrderState, Side

MOST = 2**63 - 1
DEEPEST = 32  # levels of a side that an order may walk
E8 = 10**8
REFUSED_NS = 10 * 10**9


@dataclass
class Order:
    id: int
    side: int
    reason: int
    created_ns: int
    limit: int
    qty: int
    touch: int
    reduce_only: bool
    state: int = OrderState.SENT
    done_ns: int = 0
    filled: int = 0
    notional_e8: int = 0
    fee_e8: int = 0


def money(exact: Fraction, *, up: bool) -> int:
    """Whole units, at most what 64 bits hold."""
    return min(MOST, ceil(exact) if up else floor(exact))


def total(*parts: int) -> int:
    """A sum that stops at the ends of 64 bits."""
    return max(-MOST, min(MOST, sum(parts)))


@dataclass
class Account:
    """`config`: a `layout.CONFIG` record. Prices and quantities are in the kernel's integer units."""

    config: Any
    cash_e8: int = 0
    position_e8: int = 0
    entry_e8: int = 0
    equity_e8: int = 0
    peak_e8: int = 0
    drawdown_e8: int = 0
    fees_e8: int = 0
    turnover_e8: int = 0
    slippage_e8: int = 0
    realised_e8: int = 0
    opened_ns: int = 0
    closed_ns: int = 0
    fills: int = 0
    wins: int = 0
    losses: int = 0
    order: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        c = self.config
        self.spot, self.inverse = c["contract"] == Contract.SPOT, c["contract"] == Contract.INVERSE
        decimals = int(c["qty_decimals"])
        self.lot, self.scale = int(c["lot_size"]), 10 ** int(c["price_decimals"])
        self.unit_e8 = 10 ** (8 - decimals) if decimals <= 8 and self.lot < MOST // E8 else 0  # 0: trading is off
        self.size_e8, self.fee_ppm = int(c["contract_size_e8"]), int(c["taker_fee_ppm"])
        self.cash_e8 = self.equity_e8 = self.peak_e8 = int(c["capital_e8"])

    # -- what things are worth --------------------------------------------------------------------------------------

    def worth(self, price: int, amount_e8: int, *, up: bool) -> int:
        """An amount in the settlement asset: base × price, contracts × size × price, or contracts × size / price."""
        if price <= 0:
            return MOST
        if self.spot:
            return money(Fraction(amount_e8 * price, self.scale), up=up)
        size = money(Fraction(amount_e8 * self.size_e8, E8), up=up)
        if size == MOST:
            return MOST
        return money(Fraction(size * self.scale, price) if self.inverse else Fraction(size * price, self.scale), up=up)

    def lots(self) -> int:
        """The position in whole lots, in quantity units: what is left below a lot is dust."""
        if not self.unit_e8:
            return 0
        whole = abs(self.position_e8) // (self.lot * self.unit_e8) * self.lot
        return whole if self.position_e8 > 0 else -whole

    def mark(self, touch: list[tuple[int, int]]) -> None:
        """Equity at the touch. An inverse contract that was bought takes coin when it is closed."""
        if self.position_e8:
            price, qty = touch[Side.BID if self.position_e8 > 0 else Side.ASK]
            if not qty:
                return
            owned = (self.position_e8 > 0) != self.inverse
            value = self.worth(price, abs(self.position_e8), up=not owned)
            self.equity_e8 = total(self.cash_e8, value if owned else -value)
        else:
            self.equity_e8 = self.cash_e8
        self.peak_e8 = max(self.peak_e8, self.equity_e8)
        self.drawdown_e8 = max(self.drawdown_e8, total(self.peak_e8, -self.equity_e8))

    def size(self, bid: int, ask: int, risk_ppm: int = 10**6) -> int:
        """What an order that opens asks for: whole lots at the dearer price, then the exchange's limits."""
        c = self.config
        if not self.unit_e8 or bid <= 0 or ask <= 0:
            return 0
        dear, cheap = (bid, ask) if self.inverse else (ask, bid)
        aim = min(int(c["order_notional_e8"]), self.equity_e8) * risk_ppm // 10**6
        lot_worth = self.worth(dear, self.lot * self.unit_e8, up=True)
        if aim <= 0 or lot_worth == MOST:
            return 0
        lots = aim // lot_worth
        if c["max_qty"]:
            lots = min(lots, int(c["max_qty"]) // self.lot)
        qty = lots * self.lot
        if qty == 0 or qty < c["min_qty"] or qty * self.unit_e8 > MOST:
            return 0
        sold = qty
        if self.spot:  # the lots left after the fee must be enough to be sold again, also somewhat lower
            amount = qty * self.unit_e8
            fee = -(-amount * int(c["taker_fee_ppm"]) // 10**6)
            sold = (amount - fee) // (self.lot * self.unit_e8) * self.lot
            cheap = max(1, cheap - int(c["max_slippage"]))
            if sold <= 0 or sold < c["min_qty"]:
                return 0
        notional = self.worth(cheap, sold * self.unit_e8, up=False)
        return 0 if notional == MOST or notional < c["min_notional_e8"] else qty

    # -- orders -----------------------------------------------------------------------------------------------------

    def pending(self) -> Order | None:
        return self.order[-1] if self.order and self.order[-1].state == OrderState.SENT else None

    def busy(self, now: int) -> bool:
        """An order is on its way, or was refused in the last ten seconds."""
        refused = bool(self.order) and self.order[-1].state == OrderState.REJECTED
        return self.pending() is not None or (refused and now - self.order[-1].done_ns < REFUSED_NS)

    def send(self, side: int, qty: int, reason: int, touch: list[tuple[int, int]], now: int, *, reduce: bool) -> Order:
        price = touch[Side.ASK if side == Side.BID else Side.BID][0]
        slippage = int(self.config["max_slippage"])
        limit = total(price, slippage) if side == Side.BID else max(1, price - slippage)
        order = Order(len(self.order) + 1, side, reason, now, limit, qty, price, reduce)
        self.order.append(order)
        return order

    def cancel(self, order: Order, now: int) -> None:
        order.state, order.done_ns = OrderState.CANCELLED, now

    def match(self, order: Order, levels: list[tuple[int, int]], touch: list[tuple[int, int]], now: int) -> None:
        """The order has arrived and takes from `levels`, best first: immediate or cancel."""
        buy = order.side == Side.BID
        filled = value = 0
        order.done_ns = now
        if self.worth(order.touch, order.qty * self.unit_e8, up=False) < self.config["min_notional_e8"] and (
            self.spot or not order.reduce_only
        ):
            order.state = OrderState.REJECTED
            return
        newest, shown = touch[Side.ASK if buy else Side.BID]
        for price, standing in levels[:DEEPEST]:
            if filled == order.qty or (price > order.limit if buy else price < order.limit):
                break
            if shown and (price < newest if buy else price > newest):
                continue  # the ticker is newer than the book, and this is gone
            qty = min(standing, shown) if price == newest else standing
            take = min(order.qty - filled, qty // self.lot * self.lot)
            part = self.worth(price, take * self.unit_e8, up=buy != self.inverse)
            if part == MOST:
                break
            filled += take
            value = total(value, part)
        if not filled:
            order.state = OrderState.CANCELLED
        else:
            self._book(order, filled, value, touch, now)
            order.state = OrderState.FILLED if filled == order.qty else OrderState.PARTLY_FILLED

    def _book(self, order: Order, filled: int, value: int, touch: list[tuple[int, int]], now: int) -> None:
        buy, before = order.side == Side.BID, self.lots()
        amount = filled * self.unit_e8
        fee = money(Fraction(value * self.fee_ppm, 10**6), up=True)
        pays = buy != self.inverse
        equity_before = self.equity_e8
        self.cash_e8 = total(self.cash_e8, -value if pays else value)
        self.position_e8 += amount if buy else -amount
        if self.spot and buy:
            self.position_e8 -= money(Fraction(amount * self.fee_ppm, 10**6), up=True)  # taken from what is received
        else:
            self.cash_e8 = total(self.cash_e8, -fee)
        at_touch = self.worth(order.touch, amount, up=False)
        order.filled, order.notional_e8, order.fee_e8 = filled, value, fee
        self.fees_e8 = total(self.fees_e8, fee)
        self.turnover_e8 = total(self.turnover_e8, value)
        self.slippage_e8 = total(self.slippage_e8, value - at_touch if pays else at_touch - value)
        self.fills += 1
        after = self.lots()
        if not before and after:
            self.entry_e8, self.opened_ns = equity_before, now
        self.mark(touch)
        if before and not after:
            result = total(self.equity_e8, -self.entry_e8)
            self.realised_e8 = total(self.realised_e8, result)
            self.wins += result > 0
            self.losses += result <= 0
            self.closed_ns = now
