"""One market's matching engine: orders of our accounts against the recorded book and trades.

What it assumes, because a recording cannot react to us:

* An order that takes is filled level by level at the displayed prices, never beyond what is displayed; what it took
  from a level is gone until the recording changes that level.
* An order that rests stands behind everything displayed at its price. Trades at its price first use up what stands
  ahead; what disappears from the level without a trade was cancelled, evenly over the level, so the part ahead
  shrinks with it.
* A trade at a worse price fills better resting orders first (best price, then oldest), with no more than was traded.
* When the recorded book moves through a resting order, the levels it crosses fill it, at its own price.
* Our own orders do not meet each other: the one that came later is expired, as with `EXPIRE_TAKER`.

Exact decimals, no clock, no I/O: `on_fill` and `on_done` tell whoever keeps the accounts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any

from cwts.simulator.book import ASK, BID, ZERO, Book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(eq=False, slots=True)
class Order:
    """An order. Quantities as the exchange counts them; `side` is BID to buy and ASK to sell."""

    order_id: int
    client_id: str
    symbol: str
    side: int
    kind: str  # LIMIT, MARKET, LIMIT_MAKER
    tif: str  # GTC, IOC, FOK, GTX (post only)
    price: Decimal  # 0 for market orders
    quantity: Decimal  # 0 while a market order is counted in quote units
    quote_quantity: Decimal = ZERO  # of a market order that spends or earns this much
    reduce_only: bool = False
    created_ms: int = 0
    updated_ms: int = 0
    status: str = "NEW"
    filled: Decimal = ZERO
    filled_quote: Decimal = ZERO  # price × quantity, summed
    ahead: Decimal = ZERO  # displayed quantity that stands in front
    number: int = 0  # of arrival
    reason: str = ""  # why it ended, where that is not plain
    fills: list[Fill] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)  # what the protocol wants to see again
    account: Any = None
    locked: Decimal = ZERO  # of the account's funds, still bound

    @property
    def remaining(self) -> Decimal:
        """What is not yet filled."""
        return self.quantity - self.filled

    @property
    def open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN

    @property
    def average(self) -> Decimal:
        """The mean price of its fills, 0 without any."""
        return self.filled_quote / self.filled if self.filled else ZERO


@dataclass(slots=True)
class Fill:
    """A part of an order that was filled."""

    order: Order
    trade_id: int
    price: Decimal
    quantity: Decimal
    maker: bool
    fee: Decimal = ZERO
    fee_asset: str = ""
    realised: Decimal = ZERO
    ms: int = 0


class Matching:
    """The orders in one market. Both callbacks run inside the call that caused them."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.resting: tuple[list[Order], list[Order]] = ([], [])  # best price first, then oldest
        self._taken: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})  # from levels, since they changed
        self._traded: dict[Decimal, Decimal] = {}  # at prices of resting orders, since their level changed
        self._numbers = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self.first_trade_id = 0  # fills are numbered from here
        self.lot = Decimal("1e-8")  # what is computed and not given is rounded down to it
        self.on_fill: Callable[[Fill], None] = lambda _fill: None
        self.on_done: Callable[[Order], None] = lambda _order: None

    @property
    def busy(self) -> bool:
        """Whether a change of the book can matter."""
        return bool(self.resting[BID] or self.resting[ASK] or self._taken[BID] or self._taken[ASK])

    # -- orders -------------------------------------------------------------------------------------------------------

    def available(self, side: int, limit: Decimal | None = None) -> Iterable[tuple[Decimal, Decimal]]:
        """(price, quantity) that an order of `side` could take, best first, down to its limit."""
        other = self.book.sides[1 - side]
        taken = self._taken[1 - side]
        for price in list(other):
            if limit is not None and (price > limit if side == BID else price < limit):
                return
            left = other.quantity(price) - taken.get(price, ZERO)
            if left > 0:
                yield price, left

    def crosses(self, side: int, price: Decimal) -> bool:
        """Whether an order at this price would take at once."""
        return next(iter(self.available(side, price)), None) is not None

    def place(self, order: Order) -> None:
        """Takes what it may take, rests with the remainder or ends. `status` tells the outcome."""
        order.number = next(self._numbers)
        limit = order.price if order.kind != "MARKET" else None
        if order.kind == "LIMIT_MAKER" or order.tif == "GTX":
            if self.crosses(order.side, order.price):
                self._end(order, "EXPIRED" if order.tif == "GTX" else "REJECTED", "would take")
                return
        elif self._own_in_the_way(order, limit):
            self._end(order, "EXPIRED_IN_MATCH", "self trade")
            return
        elif order.tif == "FOK" and sum((left for _, left in self.available(order.side, limit)), ZERO) < order.quantity:
            self._end(order, "EXPIRED", "not enough liquidity")
            return
        else:
            self._take(order, limit)
        if not order.open:
            return
        if order.kind == "MARKET" or order.tif in ("IOC", "FOK"):
            self._end(order, "EXPIRED", "not enough liquidity")
            return
        order.ahead = self.book.sides[order.side].quantity(order.price)
        queue = self.resting[order.side]
        queue.append(order)
        queue.sort(key=lambda o: (-o.price if o.side == BID else o.price, o.number))

    def cancel(self, order: Order) -> bool:
        """Takes an order out; False if it had ended already."""
        if not order.open:
            return False
        self._end(order, "CANCELED", "asked for")
        return True

    def shrink(self, order: Order, most: Decimal) -> None:
        """An order may fill at most so much more: it gets smaller, or ends."""
        if order.open and order.remaining > most:
            order.quantity = order.filled + most
            if most <= 0:
                self._end(order, "EXPIRED", "nothing to reduce")

    def _own_in_the_way(self, order: Order, limit: Decimal | None) -> bool:
        return any(
            other.account is order.account
            and (limit is None or (other.price <= limit if order.side == BID else other.price >= limit))
            for other in self.resting[1 - order.side]
        )

    def _take(self, order: Order, limit: Decimal | None) -> None:
        taken = self._taken[1 - order.side]
        for price, left in self.available(order.side, limit):
            done = None
            if order.quote_quantity:  # spends (or earns) quote units: how many that buys shows only here
                rest = order.quote_quantity - order.filled_quote
                quantity = min(left, self._whole(rest / price))
                order.quantity = order.filled + quantity
                done = self._whole((rest - price * quantity) / price) <= 0
            else:
                quantity = min(left, order.remaining)
            if quantity <= 0:
                break
            taken[price] = taken.get(price, ZERO) + quantity
            self._fill(order, price, quantity, maker=False, done=done)
            if not order.open:
                break

    def _whole(self, quantity: Decimal) -> Decimal:
        return (quantity / self.lot).to_integral_value(ROUND_DOWN) * self.lot

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool, done: bool | None = None) -> None:
        order.filled += quantity
        order.filled_quote += price * quantity
        if done is None:
            done = order.filled >= order.quantity
        order.status = "FILLED" if done else "PARTIALLY_FILLED"
        fill = Fill(order, self.first_trade_id + next(self._trade_ids), price, quantity, maker)
        order.fills.append(fill)
        if done and order in self.resting[order.side]:
            self.resting[order.side].remove(order)
        self.on_fill(fill)
        if done:
            self.on_done(order)

    def _end(self, order: Order, status: str, reason: str) -> None:
        order.status, order.reason = status, reason
        if order in self.resting[order.side]:
            self.resting[order.side].remove(order)
        self.on_done(order)

    # -- the recording ------------------------------------------------------------------------------------------------

    def traded(self, price: Decimal, quantity: Decimal, resting_side: int) -> None:
        """A public trade: `resting_side` is the side that stood in the book (BID if the taker sold)."""
        budget = quantity
        if any(order.price == price for order in self.resting[resting_side]):
            self._traded[price] = self._traded.get(price, ZERO) + quantity
        for order in list(self.resting[resting_side]):
            if budget <= 0:
                break
            if not order.open:  # a fill before it has ended it
                continue
            better = order.price > price if resting_side == BID else order.price < price
            if better:
                order.ahead = ZERO
            elif order.price != price:
                break
            else:
                used = min(order.ahead, budget)  # orders at one price share what stands ahead of the first of them
                for other in self.resting[resting_side]:
                    if other.price == price:
                        other.ahead = max(ZERO, other.ahead - used)
                budget -= used
            share = min(budget, order.remaining)
            if share > 0:
                budget -= share
                self._fill(order, order.price, share, maker=True)

    def level_changed(self, side: int, price: Decimal, before: Decimal, after: Decimal) -> None:
        """The recording replaced a level."""
        self._taken[side].pop(price, None)
        queue = self.resting[side]
        if not queue:
            return
        traded = self._traded.pop(price, ZERO)
        for order in queue:
            if order.price != price:
                continue
            stood = before - traded
            cancelled = min(stood, stood - after)
            if cancelled > 0:
                order.ahead -= self._whole(order.ahead * cancelled / stood)
            order.ahead = max(ZERO, min(order.ahead, after))

    def book_changed(self) -> None:
        """A whole update has been applied: orders that the book now crosses are filled by what crosses them."""
        for side in (BID, ASK):
            other = self.book.sides[1 - side]
            for order in list(self.resting[side]):
                if order.status not in OPEN:
                    continue
                best = other.best
                if best is None or (best > order.price if side == BID else best < order.price):
                    break
                taken = self._taken[1 - side]
                for price, left in self.available(side, order.price):
                    share = min(left, order.remaining)
                    taken[price] = taken.get(price, ZERO) + share
                    self._fill(order, order.price, share, maker=True)
                    if not order.open:
                        break
