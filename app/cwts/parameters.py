"""The parameters of the analysers and the decision, as `parameters.toml` lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from cwts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Parameter:
    """One number that a person may set: its default, its range, its unit, and what it means."""

    default: float
    low: float
    high: float
    unit: str
    what: str


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
