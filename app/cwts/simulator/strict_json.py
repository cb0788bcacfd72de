"""JSON as the exchanges read it: what Python's own reader takes beyond that, or fails on, is a ValueError here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from cwts.jsontext import nests_deeper

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DEEP = 100  # no message of an exchange is deeper; what is written again must not exhaust the stack


def loads(text: bytes | str, *, parse_float: Callable[[str], Any] = float) -> Any:
    """The value in a text. Raises ValueError: also for NaN and Infinity, and for what is nested too deeply."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    if nests_deeper(text, MOST_DEEP):
        raise ValueError(f"it is nested deeper than {MOST_DEEP}")
    return json.loads(text, parse_float=parse_float, parse_constant=_no_number)


def shown(value: object, most: int = 80) -> str:
    """A value that `loads` gave, as JSON for an error's line; cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
