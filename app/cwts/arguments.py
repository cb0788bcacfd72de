"""What command lines take, for `type=` of argparse: text in, a number out, or one line that says what was expected."""

from __future__ import annotations

import os
import stat
from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from pathlib import Path
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


def whole(digits: int = 18) -> Callable[[str], int]:
    """A whole number of at most so many digits."""

    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > digits:
            raise ArgumentTypeError(f"a whole number of at most {digits} digits is expected, not {_short(text)}")
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


# -- names and paths --------------------------------------------------------------------------------------------------


def named(text: str) -> str:
    """A name of something: of a symbol, of a host."""
    if not text.strip():
        raise ArgumentTypeError(f"a name is expected, not {text!r}")
    return text


def recording(text: str) -> str:
    """A recording: a file, or a folder of them. Whether there is one is for who reads it to say."""
    _path(text, "a recording (a file, or a folder of .cwts files)")
    return text


def file(text: str) -> str:
    """A file to read."""
    if _path(text, "a file") == "folder":
        raise ArgumentTypeError(f"a file is expected, not the folder {text!r}")
    return text


def file_to_write(text: str) -> Path:
    """A file to write: what can be known of it now is not said after minutes of work."""
    if _path(text, "a file to write") == "folder":
        raise ArgumentTypeError(f"a file to write is expected, not the folder {text!r}")
    if not os.path.isdir(os.path.dirname(os.path.abspath(text))):  # noqa: PTH100, PTH112, PTH120 - raise nothing
        raise ArgumentTypeError(f"{text!r} cannot be written: there is no such folder")
    return Path(text)


def folder(text: str) -> Path:
    """A folder, to read or to make."""
    if _path(text, "a folder") == "file":
        raise ArgumentTypeError(f"a folder is expected, not the file {text!r}")
    return Path(text)


def _path(text: str, what: str) -> str:
    """What is there: a file, a folder, or nothing."""
    if not text or "\0" in text:
        raise ArgumentTypeError(f"{what} is expected, not {text!r}")
    try:
        mode = os.stat(text).st_mode  # noqa: PTH116
    except (FileNotFoundError, PermissionError):  # who opens it says so
        return ""
    except OSError as error:
        raise ArgumentTypeError(f"{what} is expected, not {_short(text)} ({error.strerror})") from error
    return "folder" if stat.S_ISDIR(mode) else "file"


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}…"


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
