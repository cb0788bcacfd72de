"""The order book and the exchanges' sequence rules, as slowly and plainly as possible: what the kernel must agree with.

Everything is `json.loads`, dicts and exact `Decimal`; nothing is shared with the kernel but the rules:

* Binance spot, "How to manage a local order book correctly": buffer the updates; a snapshot older than the first of
  them is refused; drop `u <= lastUpdateId`; the first one applied has `U <= lastUpdateId + 1`; later a gap iff
  `U > last + 1`.
* Binance USD-M and COIN-M: drop `u < lastUpdateId`; the first one applied reaches back to the snapshot
  (`pu <= lastUpdateId`: ids between `pu` and `U` belong to other symbols) and not short of it; then `pu` is the `u`
  before it, else a gap.
* OKX: the chain is `prevSeqId == last seqId` alone; `seqId == prevSeqId` keeps alive; `seqId < prevSeqId` is a legal
  reset; without ids, as before 2023, only the checksum guards; a checksum that is not zero is verified.
* Binance: an update that ends at or before the last one applied is a repetition and is dropped. On a gap the book is
  empty and invalid until the next snapshot, and the update that revealed the gap is the first to wait for it.
* Binance, a snapshot while the book is valid: until an update has continued the book, any other snapshot replaces it;
  if nothing but repetitions comes for 5 s after it, it was the wrong one and the book is lost. Later, one that is newer
  and names our symbol replaces the book. One without a name may be another symbol's: one whose best bid lies above 6/5
  of our price (our best bid, else that of a trade of the last 60 s), or its best ask below 4/5, is passed over; another
  is kept aside, and becomes the book only if the next update does not follow ours and reaches back to it.

The touch is the best bid and ask of the book or of the ticker streams, whichever has the newer update id.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from decimal import Decimal
from functools import lru_cache
from typing import Any

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
INTEGER = re.compile(r"-?[0-9]{1,18}")
FIRST_UPDATE_NS = 5_000_000_000
TRADE_TELLS_NS = 60_000_000_000
PARTIAL = re.compile(r"@depth[0-9]")
OKX_RANK = {"books5": 1, "books50-l2-tbt": 2, "books": 3, "books-l2-tbt": 3}


class Malformed(Exception):  # noqa: N818 - a verdict, not a failure
    """The message cannot be read: it is counted and nothing in it is applied."""


class Number(str):
    """A JSON number, kept as it was written."""

    __slots__ = ()


Told = tuple[Decimal, Decimal, str, str]  # price, quantity, and both as they were written


class Update:
    """One depth update or snapshot: the levels of each side."""

    def __init__(self, bids: list[Told], asks: list[Told]) -> None:
        self.levels = bids, asks
        self.covers_from = 0  # it holds every change after this id …
        self.last = 0  # … up to this one


Level = tuple[Decimal, Decimal]  # price, quantity
NO_LEVEL: Level = (Decimal(0), Decimal(0))


class Oracle:
    """One instrument's book. What a message did is in `happened`: any of book, ticker, trade, lost, waiting."""

    def __init__(self, exchange: str, symbol: str, price_decimals: int, qty_decimals: int) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.price_decimals = price_decimals
        self.qty_decimals = qty_decimals
        self.sides: tuple[dict[Decimal, tuple[Decimal, str, str]], ...] = ({}, {})
        self.synced = False
        self.last: int = 0
        self.first_after_snapshot = False
        self.snapshot_ns = 0  # when the snapshot came that the book is made from
        self.waiting: list[Update] = []
        self.candidate: Update | None = None
        self.newer_ticker: list[Level] | None = None  # best bid and ask, where a ticker told them after the book did
        self.touch_id = 0
        self.happened: set[str] = set()
        self.now = 0
        self.rank = 0
        self.trade_kind = ""
        self.trade_prints: list[tuple[Decimal, Decimal, int]] = []  # price, quantity, aggressor
        self.trade_ns = 0  # when the newest came
        self.forced: list[tuple[Decimal, Decimal, int]] = []  # forced orders: price, quantity, side (1 sells)
        names = (
            "messages ignored malformed applied stale gaps snapshots snapshots_old trades trades_ignored keepalives "
            "legal_resets checksum_ok checksum_bad liquidations"
        )
        self.counts = dict.fromkeys(names.split(), 0)

    # -- what it is asked for ---------------------------------------------------------------------------------------

    def feed(self, raw: bytes, recv_ns: int = 0) -> None:
        """One message, and when it came: without times the book is never lost by waiting."""
        self.counts["messages"] += 1
        self.happened = set()
        self.now = recv_ns
        try:
            if self.exchange == "okx" and raw.strip() == b"pong":
                raise Ignored
            message = parse(raw)
            if not isinstance(message, dict):
                raise Ignored
            if self.exchange == "okx":
                self._okx(message)
            else:
                self._binance(message)
        except Malformed:
            self.counts["malformed"] += 1
        except Ignored:
            self.counts["ignored"] += 1

    def ladder(self, side: int) -> list[tuple[Decimal, Decimal]]:
        """(price, quantity) from best to worst; side 0 is bids."""
        return [(price, self.sides[side][price][0]) for price in sorted(self.sides[side], reverse=side == 0)]

    def best(self, side: int) -> str | None:
        ladder = self.ladder(side)
        return plain(ladder[0][0]) if self.synced and ladder else None

    def book_sha256(self) -> str:
        lines = [f"{'ba'[side]} {plain(p)} {plain(q)}\n" for side in (0, 1) for p, q in self.ladder(side)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def touch(self) -> list[Level]:
        """Best bid and best ask; zeros where there is none."""
        return self.newer_ticker or [self._best(0), self._best(1)]

    # -- the book ---------------------------------------------------------------------------------------------------

    def _apply(self, update: Update) -> None:
        if update.last < self.touch_id:
            self.newer_ticker = self.touch
        for side, levels in zip(self.sides, update.levels, strict=True):
            for price, qty, price_text, qty_text in levels:
                if qty == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty, price_text, qty_text
        self.last = update.last
        self.happened.add("book")
        if update.last >= self.touch_id:
            self.touch_id = update.last
            self.newer_ticker = None

    def _best(self, side: int) -> Level:
        levels = self.sides[side]
        if not levels:
            return NO_LEVEL
        price = min(levels) if side else max(levels)
        return price, levels[price][0]

    def _replace(self, update: Update) -> None:
        self.sides = ({}, {})
        self.touch_id = 0
        self._apply(update)
        self.synced = self.first_after_snapshot = True
        self.snapshot_ns = self.now

    def _lost(self) -> None:
        self.counts["gaps"] += self.synced
        self.happened.add("lost")
        self.synced = False
        self.rank = 0
        self.sides = ({}, {})
        self.touch_id = 0
        self.newer_ticker = None

    def _ticker(self, update_id: int, bid: Level, ask: Level) -> None:
        if update_id >= self.touch_id:
            self.touch_id = update_id
            self.newer_ticker = [bid, ask]
            self.happened.add("ticker")

    def reset(self) -> None:
        """The connection was lost: the book is thrown away, which is no gap."""
        self.happened = set()
        self.synced = False
        self._lost()
        self.waiting, self.candidate = [], None

    # -- Binance ----------------------------------------------------------------------------------------------------

    def _binance(self, envelope: dict[str, Any]) -> None:
        message = envelope
        for key in ("data", "result"):
            if isinstance(envelope.get(key), dict):
                message = envelope | envelope[key]
        kind, symbol = text(message, "e"), text(message, "s") or text(message, "symbol")
        if symbol and symbol != self.symbol:
            raise Ignored
        if kind in ("depthUpdate", "trade", "aggTrade", "bookTicker") and not symbol:
            raise Malformed
        if kind == "depthUpdate":
            update = self._levels(message, "b", "a")
            first, update.last = integer(message, "U"), integer(message, "u")
            if update.last < first:
                raise Malformed
            update.covers_from = first - 1 if self.exchange == "binance" else integer(message, "pu")
            self._binance_update(update)
        elif kind in ("trade", "aggTrade"):
            self._binance_trade(message, kind)
        elif kind == "forceOrder":
            self._binance_forced(message.get("o"))
        elif "lastUpdateId" in message:
            if PARTIAL.search(text(message, "stream") or ""):
                raise Ignored
            update = self._levels(message, "bids", "asks")
            update.last = integer(message, "lastUpdateId")
            self._binance_snapshot(update, named=symbol is not None)
        elif kind == "bookTicker" or (not kind and symbol and text(message, "b") and text(message, "a")):
            bid, ask = (
                (
                    self._decimal(text(message, price), self.price_decimals),
                    self._decimal(text(message, qty), self.qty_decimals),
                )
                for price, qty in (("b", "B"), ("a", "A"))
            )
            self._ticker(integer(message, "u"), bid, ask)
        else:
            raise Ignored

    def _verdict(self, update: Update) -> str:
        """Whether an update is stale, next, or reveals a gap."""
        if self.exchange == "binance":
            if update.last <= self.last:
                return "stale"
            return "next" if update.covers_from <= self.last else "gap"
        if self.first_after_snapshot:
            if update.last < self.last:
                return "stale"
            return "next" if update.covers_from <= self.last else "gap"
        if update.covers_from == self.last:
            return "next"
        return "stale" if update.last <= self.last else "gap"

    def _binance_update(self, update: Update) -> None:
        if not self.synced:
            self.happened.add("waiting")
            self._wait(update)
            return
        verdict = self._verdict(update)
        if verdict == "stale" and not (self.first_after_snapshot and self.now - self.snapshot_ns > FIRST_UPDATE_NS):
            self.counts["stale"] += 1
            return
        candidate, self.candidate = self.candidate, None
        if verdict == "next":
            self._continue(update)
            return
        self._lost()
        if candidate and candidate.last >= update.covers_from:
            self._replace(candidate)
            if self._verdict(update) == "next":
                self._continue(update)
            else:
                self.counts["stale"] += 1
        else:
            self._wait(update)

    def _continue(self, update: Update) -> None:
        self._apply(update)
        self.first_after_snapshot = False
        self.counts["applied"] += 1

    def _wait(self, update: Update) -> None:
        if self.waiting:
            newest = self.waiting[-1].last
            if update.last <= newest:
                self.counts["stale"] += 1
                return
            spot = self.exchange == "binance"
            if update.covers_from > newest if spot else update.covers_from != newest:
                self.waiting = []  # the chain is broken: what waited fits no snapshot to come
        self.waiting.append(update)

    def _is_foreign(self, snapshot: Update) -> bool:
        told = self.trade_prints and self.now - self.trade_ns <= TRADE_TELLS_NS
        ours = self.touch[0][0] or (self.trade_prints[-1][0] if told else 0)
        bids, asks = ([level[0] for level in side] for side in snapshot.levels)
        return bool(ours) and (bool(bids and max(bids) * 5 > ours * 6) or bool(asks and min(asks) * 5 < ours * 4))

    def _binance_snapshot(self, snapshot: Update, *, named: bool) -> None:
        if not named and self._is_foreign(snapshot):
            raise Ignored
        self.counts["snapshots"] += 1
        if self.synced and not self.first_after_snapshot:
            if snapshot.last > self.last:
                if named:
                    self.candidate = None
                    self._replace(snapshot)
                else:
                    self.candidate = snapshot
            return
        if self.waiting and snapshot.last < self.waiting[0].covers_from:
            self.counts["snapshots_old"] += 1
            self.happened.add("waiting")
            return
        self._replace(snapshot)
        waiting, self.waiting = self.waiting, []
        for update in waiting:
            self._binance_update(update)

    def _binance_trade(self, message: dict[str, Any], kind: str) -> None:
        price = self._decimal(text(message, "p"), self.price_decimals)
        qty = self._decimal(text(message, "q"), self.qty_decimals)
        integer(message, "t" if kind == "trade" else "a")
        if "m" not in message:
            raise Malformed
        if not price or not qty or message.get("X") in ("NA", "INSURANCE_FUND"):
            self.counts["trades_ignored"] += 1
            return
        self.trade_kind = self.trade_kind or kind
        if kind != self.trade_kind:
            raise Ignored
        self.counts["trades"] += 1
        self.happened.add("trade")
        self.trade_prints.append((price, qty, -1 if message["m"] is True else 1))
        self.trade_ns = self.now

    def _binance_forced(self, order: object) -> None:
        if not isinstance(order, dict) or (symbol := text(order, "s")) is None:
            raise Malformed
        if symbol != self.symbol:
            raise Ignored
        side = text(order, "S")
        if side not in ("BUY", "SELL"):
            raise Malformed
        price = self._decimal(text(order, "p"), self.price_decimals)
        qty = self._decimal(text(order, "q"), self.qty_decimals)
        average = self._cut(order["ap"]) if text(order, "ap") is not None else Decimal(0)
        if not (average or price) or not qty:
            raise Ignored
        self._force(average or price, qty, int(side == "SELL"))

    def _force(self, price: Decimal, qty: Decimal, side: int) -> None:
        self.counts["liquidations"] += 1
        self.forced.append((price, qty, side))

    def _cut(self, value: str) -> Decimal:
        """An average, to whole units of the price: what is finer is cut off."""
        whole, _, fraction = value.partition(".")
        if not NUMBER.fullmatch(value):
            raise Malformed
        return self._decimal(f"{whole}.{fraction[: self.price_decimals]}".rstrip("."), self.price_decimals)

    # -- OKX --------------------------------------------------------------------------------------------------------

    def _okx(self, message: dict[str, Any]) -> None:
        arg = message.get("arg")
        channel, symbol = (text(arg, "channel"), text(arg, "instId")) if isinstance(arg, dict) else (None, None)
        if channel == "liquidation-orders" and "event" not in message:
            self._okx_forced(message.get("data"))
            return
        known = channel in OKX_RANK or channel in ("trades", "trades-all", "bbo-tbt")
        if not known or "event" in message or symbol != self.symbol:
            raise Ignored
        data = message.get("data")
        if not isinstance(data, list) or not all(isinstance(element, dict) for element in data):
            raise Malformed
        if channel in ("trades", "trades-all"):
            self._okx_trades(data)
            return
        if len(data) != 1:
            raise Malformed
        update = self._levels(data[0], "bids", "asks")
        if channel == "bbo-tbt":
            bid, ask = (side[0][:2] if side else NO_LEVEL for side in update.levels)
            self._ticker(optional_integer(data[0], "seqId") or 0, bid, ask)
        else:
            self._okx_book(update, str(channel), text(message, "action"), data[0])

    def _okx_book(self, update: Update, channel: str, action: str | None, element: dict[str, Any]) -> None:
        rank = OKX_RANK[channel]
        seq, previous = optional_integer(element, "seqId"), optional_integer(element, "prevSeqId")
        update.last = seq or 0
        if rank < self.rank:
            raise Ignored
        if channel == "books5":
            if self.synced and seq is not None and seq < self.last:
                self.counts["stale"] += 1
                return
            action = "snapshot"
        elif action not in ("snapshot", "update") or (action == "update" and (seq is None) != (previous is None)):
            raise Malformed
        elif action == "update" and rank > self.rank:
            if self.synced:
                raise Ignored
            self.happened.add("waiting")
            return  # no snapshot yet
        elif action == "update" and seq is None and self.synced and self.last:
            raise Malformed  # a chain that began with numbers goes on with them
        self.rank = rank
        if action == "snapshot":
            self.counts["snapshots"] += 1
            self._replace(update)
        else:
            if seq is not None and previous is not None:
                if previous != self.last:
                    self._lost()
                    return
                self.counts["keepalives"] += seq == previous
                self.counts["legal_resets"] += seq < previous
                if seq < previous:
                    self.touch_id = seq
            self._apply(update)
            self.counts["applied"] += 1
        checksum = optional_integer(element, "checksum")
        if rank == OKX_RANK["books"] and checksum:
            right = zlib.crc32(self._okx_checksum_text().encode()) == checksum & 0xFFFFFFFF
            self.counts["checksum_ok" if right else "checksum_bad"] += 1
            if not right:
                self._lost()

    def _okx_checksum_text(self) -> str:
        """`bid:qty:ask:qty:…` over the best 25 levels, as sent; where a side ends, the other goes on alone."""
        best = [sorted(side, reverse=bids)[:25] for side, bids in zip(self.sides, (True, False), strict=True)]
        parts: list[str] = []
        for i in range(25):
            for side, prices in zip(self.sides, best, strict=True):
                if i < len(prices):
                    parts += side[prices[i]][1:]
        return ":".join(parts)

    def _okx_trades(self, data: list[dict[str, Any]]) -> None:
        read = []
        for trade in data:
            side = text(trade, "side")
            if side not in ("buy", "sell"):
                raise Malformed
            price = self._decimal(text(trade, "px"), self.price_decimals)
            read.append((price, self._decimal(text(trade, "sz"), self.qty_decimals), 1 if side == "buy" else -1))
        for price, qty, aggressor in read:
            if price and qty:
                self.counts["trades"] += 1
                self.happened.add("trade")
                self.trade_prints.append((price, qty, aggressor))
                self.trade_ns = self.now
            else:
                self.counts["trades_ignored"] += 1

    def _okx_forced(self, data: object) -> None:
        """Forced orders of a whole kind of instruments: ours are read, the others passed over."""
        if not isinstance(data, list) or not all(isinstance(element, dict) for element in data):
            raise Malformed
        read = []
        for element in data:
            if text(element, "instId") != self.symbol:
                continue
            details = element.get("details")
            if not isinstance(details, list) or not all(isinstance(order, dict) for order in details):
                raise Malformed
            for order in details:
                side, price = text(order, "side"), text(order, "bkPx")
                if side not in ("buy", "sell") or price is None:
                    raise Malformed
                read.append(
                    (self._cut(price), self._decimal(text(order, "sz"), self.qty_decimals), int(side == "sell"))
                )
        read = [(price, qty, side) for price, qty, side in read if price and qty]
        if not read:
            raise Ignored
        for price, qty, side in read:
            self._force(price, qty, side)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _levels(self, message: dict[str, Any], bids: str, asks: str) -> Update:
        sides = []
        for key in (bids, asks):
            levels = message.get(key)
            if not isinstance(levels, list):
                raise Malformed
            side = []
            for level in levels:
                if not isinstance(level, list) or len(level) < 2:
                    raise Malformed
                price, qty = level[:2]
                exact = self._decimal(price, self.price_decimals), self._decimal(qty, self.qty_decimals)
                side.append((*exact, str(price), str(qty)))
            sides.append(side)
        return Update(*sides)

    def _decimal(self, value: object, decimals: int) -> Decimal:
        """An exact decimal that is a whole number of units and fits int64."""
        number = whole_units(value, decimals) if isinstance(value, str) else None
        if number is None:
            raise Malformed
        return number


@lru_cache(1 << 16)
def whole_units(text: str, decimals: int) -> Decimal | None:
    if not NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    units = number.scaleb(decimals)
    return number if units == units.to_integral_value() and units < 2**63 else None


class Ignored(Exception):  # noqa: N818 - a verdict, not a failure
    """Another symbol's message, or one that carries nothing for the book."""


def parse(raw: bytes) -> Any:
    def constant(name: str) -> None:
        raise Malformed

    try:
        return json.loads(raw.decode("latin-1"), parse_int=Number, parse_float=Number, parse_constant=constant)
    except (ValueError, RecursionError):
        raise Malformed from None


def text(message: Any, key: str) -> str | None:
    value = message.get(key)
    return value if isinstance(value, str) else None


def optional_integer(message: dict[str, Any], key: str) -> int | None:
    value = text(message, key)
    return int(value) if value is not None and INTEGER.fullmatch(value) else None


def integer(message: dict[str, Any], key: str) -> int:
    value = optional_integer(message, key)
    if value is None:
        raise Malformed
    return value


def plain(number: Decimal) -> str:
    """Without exponent or trailing zeros."""
    written = format(number, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written
