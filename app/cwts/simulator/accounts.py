"""Accounts: keys, balances, positions, fees and what they allow. Exact decimals, no I/O.

One account holds a wallet for each exchange. Spot pays and is charged in the received asset; futures keep one
position per symbol (one-way mode) against a margin wallet in the settlement asset. Nobody is liquidated: a wallet
below zero refuses new orders.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from cwts.config import MAKER_FEES, TAKER_FEES
from cwts.errors import InputError
from cwts.simulator.book import BID, ZERO, plain

if TYPE_CHECKING:
    from cwts.instruments import Instrument
    from cwts.simulator.matching import Fill, Order

KEY = SECRET = PASSPHRASE = "simulator"
LEVERAGE = Decimal(20)
DEFAULT_BALANCES = {"USDT": "1000", "USDC": "1000", "BTC": "0.1", "ETH": "2"}


@dataclass
class Position:
    """A futures position: positive long, in contracts or base units."""

    quantity: Decimal = ZERO
    entry: Decimal = ZERO
    realised: Decimal = ZERO
    asset: str = ""  # that its margin is in
    margin: Decimal = ZERO


@dataclass
class Wallet:
    """What an account has on one exchange."""

    free: dict[str, Decimal] = field(default_factory=dict)
    locked: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)

    def total(self, asset: str) -> Decimal:
        """Free and locked."""
        return self.free.get(asset, ZERO) + self.locked.get(asset, ZERO)

    def assets(self) -> list[str]:
        """Those that were ever held."""
        return sorted(set(self.free) | set(self.locked))

    def lock(self, asset: str, amount: Decimal) -> None:
        """Moves from free to locked."""
        self.free[asset] = self.free.get(asset, ZERO) - amount
        self.locked[asset] = self.locked.get(asset, ZERO) + amount

    def position(self, symbol: str) -> Position:
        """The position in a symbol, flat if there was none."""
        return self.positions.setdefault(symbol, Position())


class Account:
    """One customer: several keys may belong to it."""

    def __init__(self, name: str, balances: dict[str, str]) -> None:
        self.name = name
        self.wallets: dict[str, Wallet] = {}
        self._start = {asset: Decimal(amount) for asset, amount in balances.items()}
        self.orders: dict[str, dict[int, Order]] = {}  # by exchange

    def wallet(self, exchange: str) -> Wallet:
        """The wallet on an exchange; each starts with the same balances."""
        if exchange not in self.wallets:
            self.wallets[exchange] = Wallet(free=dict(self._start))
        return self.wallets[exchange]

    def orders_on(self, exchange: str) -> dict[int, Order]:
        """All orders ever placed there, by id."""
        return self.orders.setdefault(exchange, {})


@dataclass
class Key:
    """What signs a request."""

    api_key: str
    account: Account
    secret: str = ""  # HMAC
    public_key: bytes = b""  # Ed25519, 32 bytes
    passphrase: str = ""

    def signed(self, payload: str, signature: str, *, encoding: str = "hex") -> bool:
        """Whether `signature` (hex or base64 for HMAC-SHA256, base64 for Ed25519) fits the payload."""
        if self.public_key:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            try:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(
                    base64.b64decode(signature, validate=True), payload.encode()
                )
            except (InvalidSignature, ValueError):
                return False
            return True
        digest = hmac.new(self.secret.encode(), payload.encode("utf-8", "replace"), hashlib.sha256).digest()
        expected = digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)
        return hmac.compare_digest(expected, signature.encode("utf-8", "replace"))


class Accounts:
    """The keys that the exchanges know. One with play money is always there."""

    def __init__(self, balances: dict[str, str] | None = None) -> None:
        try:
            self._balances = {asset: plain(Decimal(amount)) for asset, amount in (balances or DEFAULT_BALANCES).items()}
        except ArithmeticError as error:
            raise InputError(f"balances must be numbers, not {balances}") from error
        self.keys: dict[str, Key] = {}
        self.default = Account(KEY, self._balances)
        self.add(KEY, account=self.default, secret=SECRET, passphrase=PASSPHRASE)

    def add(
        self,
        api_key: str,
        *,
        secret: str = "",
        public_key: str | bytes = b"",
        passphrase: str = "",
        account: Account | None = None,
        balances: dict[str, str] | None = None,
    ) -> Account:
        """Makes a key known: an HMAC secret, or an Ed25519 public key as PEM or its 32 bytes.

        It belongs to `account`, or to a new one. Raises InputError.
        """
        raw = public_key.encode() if isinstance(public_key, str) else public_key
        if b"BEGIN PUBLIC KEY" in raw:
            try:
                raw = base64.b64decode(b"".join(raw.split(b"-----")[2].split()))[-32:]
            except (ValueError, IndexError) as error:
                raise InputError("the public key is not a PEM of an Ed25519 key") from error
        if raw and len(raw) != 32:
            raise InputError(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
        account = account or Account(api_key, balances or self._balances)
        self.keys[api_key] = Key(api_key, account, secret, raw, passphrase)
        return account


# -- what orders do to wallets ----------------------------------------------------------------------------------------


def fee_share(instrument: Instrument, *, maker: bool) -> Decimal:
    """The fee as a share of the notional, of an ordinary account."""
    table = MAKER_FEES if maker else TAKER_FEES
    return Decimal(str(table.get((instrument.exchange, instrument.contract), 0.001)))


def value(instrument: Instrument, price: Decimal, quantity: Decimal) -> Decimal:
    """The notional of a quantity in the settlement asset (quote on spot and linear, coin on inverse)."""
    if instrument.contract == "inverse":
        return quantity * instrument.contract_size / price if price else ZERO
    return quantity * price * (instrument.contract_size or 1)


def required(instrument: Instrument, side: int, price: Decimal, quantity: Decimal) -> tuple[str, Decimal]:
    """(asset, amount) that an order binds."""
    if instrument.contract == "spot":
        return (instrument.quote, price * quantity) if side == BID else (instrument.base, quantity)
    return instrument.settle, value(instrument, price, quantity) / LEVERAGE


def settle(wallet: Wallet, instrument: Instrument, fill: Fill) -> None:
    """Carries out one fill: assets or position change hands, the fee is charged, what was locked is freed."""
    order = fill.order
    share = fee_share(instrument, maker=fill.maker)
    quantity, price = fill.quantity, fill.price
    if instrument.contract == "spot":
        paid, got = (instrument.quote, instrument.base) if order.side == BID else (instrument.base, instrument.quote)
        cost, gain = (price * quantity, quantity) if order.side == BID else (quantity, price * quantity)
        fill.fee, fill.fee_asset = gain * share, got
        release(wallet, instrument, order, quantity)
        wallet.free[paid] = wallet.free.get(paid, ZERO) - cost
        wallet.free[got] = wallet.free.get(got, ZERO) + gain - fill.fee
        return
    release(wallet, instrument, order, quantity)
    asset = instrument.settle
    fill.fee, fill.fee_asset = value(instrument, price, quantity) * share, asset
    position = wallet.position(instrument.symbol)
    change = quantity if order.side == BID else -quantity
    closing = min(abs(position.quantity), quantity) if position.quantity * change < 0 else ZERO
    if closing:
        direction = 1 if position.quantity > 0 else -1
        if instrument.contract == "inverse":
            gain = closing * instrument.contract_size * (1 / position.entry - 1 / price) * direction
        else:
            gain = closing * (instrument.contract_size or 1) * (price - position.entry) * direction
        fill.realised = gain
        position.realised += gain
        wallet.free[asset] = wallet.free.get(asset, ZERO) + gain
    opening = quantity - closing
    after = position.quantity + change
    if opening:
        held = abs(position.quantity) if position.quantity * change > 0 else ZERO
        if instrument.contract == "inverse":
            position.entry = (held + opening) / ((held / position.entry if held else ZERO) + opening / price)
        else:
            position.entry = (held * position.entry + opening * price) / (held + opening)
    position.quantity = after
    if not after:
        position.entry = ZERO
    position.asset = asset
    position.margin = value(instrument, position.entry, abs(after)) / LEVERAGE
    wallet.free[asset] = wallet.free.get(asset, ZERO) - fill.fee


def available(wallet: Wallet, asset: str) -> Decimal:
    """What a new order may bind: free, less the margin of open positions."""
    margin = sum((p.margin for p in wallet.positions.values() if p.asset == asset), ZERO)
    return wallet.free.get(asset, ZERO) - margin


def bind(wallet: Wallet, instrument: Instrument, order: Order, amount: Decimal) -> bool:
    """Locks what an order needs; False when there is too little."""
    asset, _ = required(instrument, order.side, Decimal(1), Decimal(1))
    if available(wallet, asset) < amount:
        return False
    order.locked = amount
    wallet.lock(asset, amount)
    return True


def release(wallet: Wallet, instrument: Instrument, order: Order, quantity: Decimal | None = None) -> None:
    """Unlocks the part of an order's funds that belongs to `quantity`, or all that is left."""
    if not order.locked:
        return
    asset, _ = required(instrument, order.side, order.price or Decimal(1), Decimal(1))
    before = order.remaining + (quantity or ZERO)  # the fill is already in `filled`
    part = order.locked if quantity is None or not before or order.remaining <= 0 else order.locked * quantity / before
    order.locked -= part
    wallet.lock(asset, -part)
