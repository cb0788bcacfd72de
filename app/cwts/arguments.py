"""What command lines take, for `type=` of argparse: text in, a number out, or one line that says what was expected."""

from __future__ import annotations

from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def capital(text: str) -> Decimal:
    """An amount of money above 0."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and value > 0):
        raise ArgumentTypeError(f"a number above 0 is expected, not {text!r}")
    return value


def port(text: str) -> int:
    """A TCP port; 0 takes a free one."""
    if not (text.isdecimal() and int(text) < 65536):
        raise ArgumentTypeError(f"a port from 0 to 65535 is expected, not {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """A finite number above 0."""
    value = _float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"a number above 0 is expected, not {text!r}")
    return value


def at_least(low: float) -> Callable[[str], float]:
    """A finite number that is no smaller."""

    def parse(text: str) -> float:
        value = _float(text)
        if not low <= value < float("inf"):
            raise ArgumentTypeError(f"a number of at least {low:g} is expected, not {text!r}")
        return value

    return parse


def whole(digits: int | None = None) -> Callable[[str], int]:
    """A whole number of at most so many digits."""

    def parse(text: str) -> int:
        if not text.isdecimal() or (digits is not None and len(text) > digits):
            raise ArgumentTypeError(f"a whole number is expected, not {text!r}")
        return int(text)

    return parse


def count(text: str) -> int:
    """A whole number above 0."""
    if not (text.isdecimal() and len(text) < 10 and int(text)):
        raise ArgumentTypeError(f"a whole number above 0 is expected, not {text!r}")
    return int(text)


def milliseconds(text: str) -> int:
    """From one to an hour's worth."""
    if not (text.isdecimal() and 1 <= int(text) <= 3_600_000):
        raise ArgumentTypeError(f"milliseconds from 1 to 3600000 are expected, not {text!r}")
    return int(text)


def replicas(text: str) -> int:
    """How many connections carry the same streams."""
    if text not in ("1", "2", "3", "4"):
        raise ArgumentTypeError(f"1 to 4 connections are possible, not {text!r}")
    return int(text)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
