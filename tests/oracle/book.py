"""The order book and the exchanges' sequence rules, as slowly and plainly as possible: what the kernel must agree with.

Everything is `json.loads`, dicts and exact `Decimal`; nothing is shared with the kernel but the rules:

* Binance spot, "How to manage a local order book correctly": buffer the updates; a snapshot older than the first of them is
  refused; drop `u <= lastUpdateId`; the first one applied has `U <= lastUpdateId + 1`; later a gap iff `U > last + 1`.
* Binance USD-M and COIN-M: drop `u < lastUpdateId`; the first one applied reaches back to the snapshot (`pu <= lastUpdateId`:
  ids between `pu` and `U` belong to other symbols) and not short of it; then `pu` is the `u` before it, else a gap.
* OKX: the chain is `prevSeqId == last seqId` alone; `seqId == prevSeqId` keeps alive; `seqId < prevSeqId` is a legal reset;
  without ids, as before 2023, only the checksum guards; a checksum that is not zero is verified.
* Anywhere: an update that ends at or before the last one applied is a repetition and is dropped. On a gap the book is empty
  and invalid until the next snapshot, and the update that revealed the gap is the first to wait for it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
INTEGER = re.compile(r"-?[0-9]{1,18}")
PARTIAL = re.compile(r"@depth[0-9]")
OKX_RANK = {"books5": 1, "books50-l2-tbt": 2, "books": 3, "books-l2-tbt": 3}


class Malformed(Exception):
    """The message cannot be read: it is counted and nothing in it is applied."""


class Number(str):
    """A JSON number, kept as it was written."""


class Update:
    """One depth update or snapshot: the levels of each side as (price, quantity) texts."""

    def __init__(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        self.levels = bids, asks
        self.covers_from = 0  # it holds every change after this id …
        self.last = 0  # … up to this one


class Oracle:
    def __init__(self, exchange: str, symbol: str, price_decimals: int, qty_decimals: int) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.price_decimals = price_decimals
        self.qty_decimals = qty_decimals
        self.sides: tuple[dict[Decimal, tuple[Decimal, str, str]], ...] = ({}, {})
        self.synced = False
        self.last: int = 0
        self.first_after_snapshot = False
        self.waiting: list[Update] = []
        self.rank = 0
        self.trade_kind = ""
        self.trade_prints: list[tuple[Decimal, Decimal, int]] = []  # price, quantity, aggressor
        names = (
            "messages ignored malformed applied stale gaps snapshots snapshots_old trades trades_ignored keepalives "
            "legal_resets checksum_ok checksum_bad"
        )
        self.counts = dict.fromkeys(names.split(), 0)

    # -- what it is asked for -----------------------------------------------------------------------------------------

    def feed(self, raw: bytes) -> None:
        self.counts["messages"] += 1
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

    # -- the book -------------------------------------------------------------------------------------------------------

    def _apply(self, update: Update) -> None:
        for side, levels in zip(self.sides, update.levels, strict=True):
            for price_text, qty_text in levels:
                price, qty = Decimal(price_text), Decimal(qty_text)
                if qty == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty, price_text, qty_text
        self.last = update.last

    def _replace(self, update: Update) -> None:
        self.sides = ({}, {})
        self._apply(update)
        self.synced = self.first_after_snapshot = True

    def _lost(self) -> None:
        self.counts["gaps"] += self.synced
        self.synced = False
        self.rank = 0
        self.sides = ({}, {})

    # -- Binance --------------------------------------------------------------------------------------------------------

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
        elif "lastUpdateId" in message:
            if PARTIAL.search(text(message, "stream") or ""):
                raise Ignored
            update = self._levels(message, "bids", "asks")
            update.last = integer(message, "lastUpdateId")
            self._binance_snapshot(update)
        elif kind == "bookTicker" or (not kind and symbol and text(message, "b") and text(message, "a")):
            integer(message, "u")
            for price, qty in (("b", "B"), ("a", "A")):
                self._decimal(text(message, price), self.price_decimals)
                self._decimal(text(message, qty), self.qty_decimals)
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
            self._wait(update)
            return
        verdict = self._verdict(update)
        if verdict == "next":
            self._apply(update)
            self.first_after_snapshot = False
            self.counts["applied"] += 1
        elif verdict == "stale":
            self.counts["stale"] += 1
        else:
            self._lost()
            self._wait(update)

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

    def _binance_snapshot(self, snapshot: Update) -> None:
        self.counts["snapshots"] += 1
        if self.synced and snapshot.last <= self.last:
            return
        if self.waiting and snapshot.last < self.waiting[0].covers_from:
            self.counts["snapshots_old"] += 1
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
        self.trade_prints.append((price, qty, -1 if message["m"] is True else 1))

    # -- OKX ------------------------------------------------------------------------------------------------------------

    def _okx(self, message: dict[str, Any]) -> None:
        arg = message.get("arg")
        channel, symbol = (text(arg, "channel"), text(arg, "instId")) if isinstance(arg, dict) else (None, None)
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
        if channel != "bbo-tbt":
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
        elif action not in ("snapshot", "update"):
            raise Malformed
        elif action == "update" and rank > self.rank:
            if self.synced:
                raise Ignored
            return  # no snapshot yet
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
            self._apply(update)
            self.counts["applied"] += 1
        checksum = optional_integer(element, "checksum")
        if rank == OKX_RANK["books"] and checksum:
            right = zlib.crc32(self._okx_checksum_text().encode()) == checksum & 0xFFFFFFFF
            self.counts["checksum_ok" if right else "checksum_bad"] += 1
            if not right:
                self._lost()

    def _okx_checksum_text(self) -> str:
        """`bid:qty:ask:qty:…` over the best 25 levels, the strings as sent; where a side ends, the other goes on alone."""
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
                self.trade_prints.append((price, qty, aggressor))
            else:
                self.counts["trades_ignored"] += 1

    # -- reading --------------------------------------------------------------------------------------------------------

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
                self._decimal(price, self.price_decimals)
                self._decimal(qty, self.qty_decimals)
                side.append((str(price), str(qty)))
            sides.append(side)
        return Update(*sides)

    def _decimal(self, value: object, decimals: int) -> Decimal:
        """An exact decimal that is a whole number of units and fits int64."""
        if not isinstance(value, str) or not NUMBER.fullmatch(value):
            raise Malformed
        number = Decimal(value)
        units = number.scaleb(decimals)
        if units != units.to_integral_value() or units >= 2**63:
            raise Malformed
        return number


class Ignored(Exception):
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
