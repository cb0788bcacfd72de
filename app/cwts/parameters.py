"""The parameters of the analysers and the decision, as `parameters.toml` lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


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
