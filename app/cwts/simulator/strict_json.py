"""JSON as the exchanges read it: what Python's own reader takes beyond that, or fails on, is a ValueError here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DEEP = 100  # no message of an exchange is deeper; what is written again must not exhaust the stack


def loads(text: bytes | str, *, parse_float: Callable[[str], Any] = float) -> Any:
    """The value in a text. Raises ValueError: also for NaN and Infinity, and for what is nested too deeply."""
    try:
        value = json.loads(text, parse_float=parse_float, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MOST_DEEP}") from None
    opening: tuple[Any, Any] = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    if sum(map(text.count, opening)) > MOST_DEEP and _deep(value):
        raise ValueError(f"it is nested deeper than {MOST_DEEP}")
    return value


def shown(value: object, most: int = 80) -> str:
    """A value that `loads` gave, as JSON for an error's line; cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _deep(value: object) -> bool:
    layer = [value]
    for _ in range(MOST_DEEP):
        layer = [
            child
            for node in layer
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return any(isinstance(node, dict | list) for node in layer)
