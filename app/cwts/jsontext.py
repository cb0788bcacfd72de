"""JSON from outside, an exchange or a person: parsed only where it does not nest too deep.

Python's parser calls itself for every level. Natively that ends in RecursionError; in Pyodide it exhausts the page's
stack, and the interpreter with it. So the depth is known before anything is parsed.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 32  # levels: what exchanges send and what this project writes has at most 8

# A text and what is in it; one without an end goes to the end, so that the search looks at every byte once.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ELSE = bytes(byte for byte in range(256) if byte not in _STEPS)


def parse(text: str | bytes | bytearray | memoryview) -> Any:
    """What JSON says. Raises ValueError where it is none, or nests deeper than `DEEPEST`."""
    if not isinstance(text, str):
        text = bytes(text).decode()
    if nests_deeper(text, DEEPEST):
        raise ValueError(f"it nests deeper than {DEEPEST} levels")
    return json.loads(text)


def nests_deeper(text: str, levels: int) -> bool:
    """Whether brackets outside of texts nest deeper, without parsing: in time proportional to the length."""
    raw = text.encode(errors="surrogatepass")
    if raw.count(b"[") + raw.count(b"{") <= levels:  # most messages have fewer brackets in all
        return False
    depth = 0
    for bracket in _TEXT.sub(b"", raw).translate(None, _ELSE):
        depth += _STEPS[bracket]
        if depth > levels:
            return True
    return False
