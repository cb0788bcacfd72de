"""The parameters of the analysers and the decision, as `parameters.toml` lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from cwts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a number that a person may set can be: `low` to `high`, in which unit, and what it means."""

    low: float
    high: float
    unit: str
    what: str
    above: bool = False  # `low` itself is not allowed
    looser: str = ""  # "higher" or "lower": it limits risk, and in this direction more is risked

    def __str__(self) -> str:
        return f"{'above' if self.above else 'from'} {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True, kw_only=True)
class Parameter(Range):
    """One that the engine can change while it runs."""

    default: float


def _load() -> dict[str, Parameter]:
    text = files("cwts").joinpath("parameters.toml").read_text(encoding="utf-8")
    groups = tomllib.loads(text)
    return {f"{group}.{name}": Parameter(**row) for group, rows in groups.items() for name, row in rows.items()}


# By name ("whale.quantile"), in the order of `layout.Parameter`.
PARAMETERS = _load()


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """What to say of a name that is none of `known`: the closest of them, and where all are."""
    from difflib import get_close_matches  # only for those who mistype

    close = get_close_matches(name, list(known), n=3)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return InputError(f"no {kind} {name!r}: {meant}cwts/parameters.toml and cwts/config.py list them all")
