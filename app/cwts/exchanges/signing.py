"""Signers for the exchanges' pure functions: bytes in, a signature out. In a page WebCrypto signs instead."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from cwts.errors import CwtsError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable


def hmac_digest(secret: str) -> Callable[[bytes], bytes]:
    """HMAC-SHA256, as bytes: OKX."""
    key = secret.encode()
    return lambda payload: hmac.new(key, payload, hashlib.sha256).digest()


def hmac_hex(secret: str) -> Callable[[bytes], str]:
    """HMAC-SHA256, as hexadecimal text: Binance, deprecated there."""
    digest = hmac_digest(secret)
    return lambda payload: digest(payload).hex()


def ed25519_base64(pem: bytes, password: bytes | None = None) -> Callable[[bytes], str]:
    """Ed25519, as base64 text: Binance recommends it. `pem`: the private key in PKCS #8. Raises InputError."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise CwtsError("signing with Ed25519 needs the package cryptography") from error
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError) as error:
        raise InputError("the key is no private key in PEM (PKCS #8), or its password is wrong") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("the key is not an Ed25519 key")
    return lambda payload: base64.b64encode(key.sign(payload)).decode()
