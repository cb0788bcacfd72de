"""The order desk of one exchange: takes orders for an account, checks funds, hands them to the market and settles
what fills.

Owns what is the same on Binance and OKX. What a protocol calls an error is the protocol's: a refusal here is a word
(`Refusal`).
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from cwts.simulator import accounts
from cwts.simulator.book import BID, ZERO
from cwts.simulator.matching import Fill, Matching, Order

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwts.simulator.accounts import Account
    from cwts.simulator.exchange import Exchange, Market

Refused = Literal["balance", "would take", "reduce only", "duplicate"]


class Refusal(Exception):  # noqa: N818 - not an error of ours
    """The desk does not take the order."""

    def __init__(self, why: Refused) -> None:
        super().__init__(why)
        self.why = why


class Desk:
    """Orders of all accounts on one exchange. `on_event(order, what, fill)` is told each change after it is settled:
    what is NEW, TRADE, CANCELED, EXPIRED or REJECTED."""

    def __init__(self, exchange: Exchange, on_event: Callable[[Order, str, Fill | None], None]) -> None:
        self._exchange = exchange
        self._on_event = on_event
        self._ids = itertools.count(10_000_001)

    def attach(self, market: Market) -> None:
        """Takes charge of a market's fills."""
        matching: Matching = market.matching
        matching.lot = market.instrument.lot_size or matching.lot
        matching.first_trade_id = 900_000_000
        matching.on_fill = lambda fill: self._filled(market, fill)
        matching.on_done = lambda order: self._done(market, order)

    def open_orders(self, account: Account, symbol: str = "") -> list[Order]:
        """Those that can still fill, oldest first."""
        orders = account.orders_on(self._exchange.name).values()
        return [order for order in orders if order.open and (not symbol or order.symbol == symbol)]

    def find(self, account: Account, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """An order by its id, or the newest with a client's id."""
        orders = account.orders_on(self._exchange.name)
        if order_id is not None:
            order = orders.get(order_id)
            return order if order and order.symbol == symbol else None
        for order in reversed(orders.values()):
            if order.client_id == client_id and order.symbol == symbol:
                return order
        return None

    def place(
        self,
        account: Account,
        market: Market,
        *,
        side: int,
        kind: str,
        tif: str,
        price: Decimal,
        quantity: Decimal,
        quote_quantity: Decimal = ZERO,
        client_id: str = "",
        reduce_only: bool = False,
        test: bool = False,
        refuse_takers: bool = True,
        extra: dict[str, Any] | None = None,
    ) -> Order:
        """Places an order whose filters have been checked. Raises Refusal; a test order is checked and forgotten.

        With `refuse_takers` a post-only order that would take is refused; without, it is accepted and ends at once.
        """
        exchange, instrument = self._exchange, market.instrument
        wallet = account.wallet(exchange.name)
        now = exchange.now_ms()
        order = Order(
            order_id=next(self._ids),
            client_id=client_id,
            symbol=market.symbol,
            side=side,
            kind=kind,
            tif=tif,
            price=price,
            quantity=quantity,
            quote_quantity=quote_quantity,
            reduce_only=reduce_only,
            created_ms=now,
            updated_ms=now,
            extra=extra or {},
            account=account,
        )
        if client_id and any(other.client_id == client_id for other in self.open_orders(account)):
            raise Refusal("duplicate")
        if reduce_only:
            held = wallet.position(market.symbol).quantity
            if held == 0 or (held > 0) == (side == BID):
                raise Refusal("reduce only")
            order.quantity = min(quantity, abs(held))
        post_only = kind == "LIMIT_MAKER" or tif == "GTX"
        if refuse_takers and post_only and market.matching.crosses(side, price):
            raise Refusal("would take")
        needed = self._needed(market, order)
        asset, _ = accounts.required(instrument, side, Decimal(1), Decimal(1))
        if not reduce_only and accounts.available(wallet, asset) < needed:
            raise Refusal("balance")
        if test:
            return order
        if not reduce_only:
            accounts.bind(wallet, instrument, order, needed)
        account.orders_on(exchange.name)[order.order_id] = order
        exchange.sim.note("order", exchange=exchange.name, symbol=market.symbol, order=order.order_id, client=client_id)
        self._on_event(order, "NEW", None)
        market.matching.place(order)
        return order

    def cancel(self, market: Market, order: Order) -> bool:
        """Whether it could still be cancelled."""
        return market.matching.cancel(order)

    def _needed(self, market: Market, order: Order) -> Decimal:
        """What the order can cost at most: its limit, or what it would take from the book."""
        instrument = market.instrument
        if order.kind != "MARKET":
            return accounts.required(instrument, order.side, order.price, order.quantity)[1]
        if order.quote_quantity and order.side == BID:
            return order.quote_quantity
        left, total, quote = order.quantity, ZERO, order.quote_quantity
        for price, size in market.matching.available(order.side):
            part = min(size, quote / price) if order.quote_quantity else min(size, left)
            total += accounts.required(instrument, order.side, price, part)[1]
            left -= part
            quote -= part * price
            if left <= 0 and quote <= 0:
                break
        return total

    def _filled(self, market: Market, fill: Fill) -> None:
        order = fill.order
        fill.ms = order.updated_ms = self._exchange.now_ms()
        accounts.settle(order.account.wallet(self._exchange.name), market.instrument, fill)
        self._on_event(order, "TRADE", fill)
        held = order.account.wallet(self._exchange.name).position(market.symbol).quantity
        for other in self.open_orders(order.account, market.symbol):
            if other.reduce_only:  # what others closed it cannot close again: it never opens a position
                market.matching.shrink(other, max(ZERO, held if other.side != BID else -held))

    def _done(self, market: Market, order: Order) -> None:
        order.updated_ms = self._exchange.now_ms()
        accounts.release(order.account.wallet(self._exchange.name), market.instrument, order)
        if order.status != "FILLED":
            what = {"CANCELED": "CANCELED", "REJECTED": "REJECTED"}.get(order.status, "EXPIRED")
            self._on_event(order, what, None)
