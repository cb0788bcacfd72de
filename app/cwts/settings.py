"""Settings by name, from a file and from the command line: one list for every command that runs the engine."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.errors import InputError

if TYPE_CHECKING:
    import argparse

    from cwts.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--settings, --set and --networks."""
    parser.add_argument("--settings", metavar="FILE", help="TOML: enter = 0.7, [whale] quantile = 0.97, …")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be repeated")
    parser.add_argument("--networks", default="shipped", metavar="FILE", help="a weights file, or none (shipped)")


def settings_from(args: argparse.Namespace) -> Settings:
    """What these arguments, and --capital where a command has it, make. Raises InputError."""
    settings = replace(read_settings(args.settings, args.set), networks=args.networks)
    capital = getattr(args, "capital", None)
    return settings if capital is None else replace(settings, capital=capital)


def settings_of(named: dict[str, Any]) -> Settings:
    """Settings by name: fields of Settings, weights.FEATURE, and parameters by their own names. Raises InputError."""
    from cwts.config import Settings  # with NumPy, which reading a command line does not wait for
    from cwts.kernel import layout
    from cwts.parameters import PARAMETERS, unknown

    own = [f.name for f in fields(Settings) if f.name not in ("weights", "parameters", "parts", "networks")]
    values: dict[str, Any] = {}
    weights: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for name, value in named.items():
        try:
            if name == "capital":
                values[name] = Decimal(str(value))
            elif name in own:
                values[name] = float(value)
            elif name.startswith("weights."):
                weights[name.removeprefix("weights.")] = float(value)
            elif name in PARAMETERS:
                parameters[name] = float(value)
            else:
                known = [*own, *(f"weights.{feature}" for feature in layout.Feature.__members__), *PARAMETERS]
                raise unknown("setting", name, known)
        except (TypeError, ValueError, InvalidOperation):
            raise InputError(f"{name}: a number is expected, not {value!r}") from None
    if weights:
        values["weights"] = weights
    return Settings(**values, parameters=parameters)


def read_settings(path: str | None, given: list[str]) -> Settings:
    """From a file and from NAME=VALUE, the latter last. Raises InputError."""
    named: dict[str, Any] = {}
    if path:
        try:
            tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not TOML ({error})") from error
        for name, value in tables.items():
            named |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: expected NAME=VALUE")
        named[name.strip()] = value.strip()
    return settings_of(named)
