"""Settings by name, from a file, from the command line and in the page: one list for all that runs the engine."""

from __future__ import annotations

import struct
import tomllib
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.arguments import file
from cwts.errors import InputError

if TYPE_CHECKING:
    import argparse

    from cwts.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--settings, --set and --networks."""
    parser.add_argument("--settings", type=file, metavar="FILE", help="TOML: enter = 0.7, [whale] quantile = 0.97, …")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be repeated")
    parser.add_argument(
        "--networks", type=_weights, default="shipped", metavar="FILE", help="a weights file, or none (shipped)"
    )


def _weights(text: str) -> str:
    return text if text in ("shipped", "none") else file(text)


def settings_from(args: argparse.Namespace) -> Settings:
    """What these arguments, and --capital where a command has it, make. Raises InputError."""
    settings = replace(read_settings(args.settings, args.set), networks=args.networks)
    capital = getattr(args, "capital", None)
    return settings if capital is None else replace(settings, capital=capital)


def settings_of(named: dict[str, Any]) -> Settings:
    """Settings by name: fields of Settings, weights.FEATURE, and parameters by their own names. Raises InputError."""
    from cwts.config import FIELDS, WEIGHT, Settings  # with NumPy, which reading a command line does not wait for
    from cwts.kernel import layout
    from cwts.parameters import PARAMETERS, unknown

    values: dict[str, Any] = {}
    weights: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for name, value in named.items():
        try:
            if name == "capital":
                values[name] = Decimal(str(value))
            elif name in FIELDS:
                values[name] = float(value)
            elif name.startswith("weights."):
                weights[name.removeprefix("weights.")] = float(value)
            elif name in PARAMETERS:
                parameters[name] = float(value)
            else:
                known = [*FIELDS, *(f"weights.{feature}" for feature in layout.Feature.__members__), *PARAMETERS]
                raise unknown("setting", name, known)
        except (TypeError, ValueError, OverflowError, InvalidOperation):
            limits = FIELDS.get(name) or PARAMETERS.get(name) or WEIGHT
            raise InputError(f"{name}: a number {limits} is expected, not {_short(value)}") from None
    if weights:
        values["weights"] = weights
    return Settings(**values, parameters=parameters)


def _short(value: object) -> str:
    """For an error's line: what was given, as far as it can be shown."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python writes, or too deep
        return "one so large"
    return text if len(text) <= 80 else f"{text[:77]}…"


def parse_settings(text: str | bytes, name: str) -> dict[str, Any]:
    """The settings in the text of a TOML file, by name; `name` is the file's. Raises InputError."""
    try:
        tables = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8, and of a number of 5,000 digits
        raise InputError(f"{name}: not TOML ({error})") from None
    named: dict[str, Any] = {}
    for key, value in tables.items():
        named |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return named


def read_settings(path: str | None, given: list[str]) -> Settings:
    """From a file and from NAME=VALUE, the latter last. Raises InputError."""
    named: dict[str, Any] = {}
    if path:
        try:
            named = parse_settings(Path(path).read_bytes(), path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: expected NAME=VALUE")
        named[name.strip()] = value.strip()
    return settings_of(named)


# -- the other way round: settings as names, as a file, and as commands for an engine that runs ----------------------


@cache
def listed() -> tuple[dict[str, Any], ...]:
    """All settings, a row each: its name, group, default (None: unset), range, unit and meaning.

    `now`: an engine that runs takes it at once; otherwise it counts from the next session on.
    """
    from cwts.config import FIELDS, WEIGHT, Settings
    from cwts.kernel.layout import Feature
    from cwts.parameters import PARAMETERS

    ranges = [
        *((name, "thresholds" if name in ("enter", "exit") else "session", limits) for name, limits in FIELDS.items()),
        *((name, name.partition(".")[0], limits) for name, limits in PARAMETERS.items()),
        *((f"weights.{feature.name}", "weights", WEIGHT) for feature in Feature),
    ]
    usual, now = Settings(), {"enter", "exit", *PARAMETERS}
    return tuple(
        {
            "name": name,
            "group": group,
            "default": value_of(usual, name),
            "low": limits.low,
            "high": limits.high,
            "above": limits.above,
            "unit": limits.unit,
            "what": limits.what,
            "looser": limits.looser,
            "now": name in now,
        }
        for name, group, limits in ranges
    )


def value_of(settings: Settings, name: str) -> float | str | None:
    """What a setting is; the capital as plain digits, None where it is unset."""
    from cwts.parameters import PARAMETERS

    if name == "capital":
        return None if settings.capital is None else format(settings.capital, "f")
    if name.startswith("weights."):
        return settings.weights.get(name.removeprefix("weights."), 0.0)
    if name in PARAMETERS:
        return settings.parameters.get(name, PARAMETERS[name].default)
    return getattr(settings, name)  # type: ignore[no-any-return]


def differing(settings: Settings) -> dict[str, float | str]:
    """What is not as by default, by name: `settings_of` makes the same settings of it.

    Weights that are given replace all the default ones: if one differs, all that are not 0 are here.
    """
    from cwts.config import Settings

    usual, found = Settings(), {}
    for row in listed():
        name, value = row["name"], value_of(settings, row["name"])
        if value is not None and value != row["default"] and row["group"] != "weights":
            found[name] = value
    weights = {name: weight for name, weight in settings.weights.items() if weight != 0}
    if weights != usual.weights:
        found |= {f"weights.{name}": weight for name, weight in (weights or {"MICRO": 0.0}).items()}
    return found


def with_setting(settings: Settings, name: str, value: object) -> Settings:
    """The same with one of them changed; None: as by default. Raises InputError."""
    from cwts.config import Settings

    named: dict[str, Any] = dict(differing(settings))
    if name.startswith("weights."):
        named |= {f"weights.{each}": weight for each, weight in settings.weights.items()}
        value = value_of(Settings(), name) if value is None else value
    if value is None and name in (row["name"] for row in listed()):
        named.pop(name, None)
    else:
        named[name] = value
    return replace(settings_of(named), networks=settings.networks)


def loosened(settings: Settings) -> list[str]:
    """The names of the limits of risk that permit more than by default."""
    found = []
    for row in listed():
        value, usual = value_of(settings, row["name"]), row["default"]
        if row["looser"] and value is not None and value != usual and (value > usual) == (row["looser"] == "higher"):
            found.append(row["name"])
    return found


def write_settings(settings: Settings) -> str:
    """A file for `--settings`, of what is not as by default."""
    rows = {row["name"]: row for row in listed()}
    groups: dict[str, list[str]] = {"": []}
    for name, value in differing(settings).items():
        group, _, key = name.rpartition(".")
        usual = "unset" if rows[name]["default"] is None else f"{rows[name]['default']:.15g}"
        number = value if isinstance(value, str) else repr(float(value))
        groups.setdefault(group, []).append(f"{key} = {number}  # {rows[name]['unit'] or '1'}; default {usual}")
    parts = ["# What differs from the defaults of CWTS; cwts replay … --settings FILE reads it.", *groups.pop("")]
    for group, lines in groups.items():
        parts += ["", f"[{group}]", *lines]
    return "\n".join(parts) + "\n"


def change_payloads(was: Settings, now: Settings) -> tuple[bytes, ...]:
    """The commands that bring an engine that runs from one to the other, as far as it can change while it runs."""
    from cwts.kernel.layout import CommandOp
    from cwts.parameters import PARAMETERS

    payloads = []
    for name, op in (("enter", CommandOp.SET_ENTER), ("exit", CommandOp.SET_EXIT)):
        if (value := getattr(now, name)) != getattr(was, name):
            payloads.append(struct.pack("<If", op, value))  # cwts_command
    for index, name in enumerate(PARAMETERS):
        if (value := value_of(now, name)) != value_of(was, name):
            payloads.append(struct.pack("<IfII", CommandOp.SET_PARAMETER, value, index, 0))  # cwts_parameter_command
    return tuple(payloads)
