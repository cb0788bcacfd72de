"""The command `cwts backtest`: its arguments, and settings given by name."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.config import Settings
from cwts.errors import InputError
from cwts.parameters import PARAMETERS

if TYPE_CHECKING:
    import argparse

_FIELDS = [f.name for f in fields(Settings) if f.name not in ("weights", "parameters", "parts")]


def add_arguments(parser: argparse.ArgumentParser, exchanges: tuple[str, ...]) -> None:
    """What `cwts backtest` takes."""
    parser.add_argument("capture", nargs="+", metavar="CAPTURE", help="recordings; played in the order of their times")
    parser.add_argument("--exchange", required=True, choices=exchanges)
    parser.add_argument("--symbol", required=True, help="as the exchange writes it")
    parser.add_argument("--instruments", metavar="FILE", help="the exchange's own exchangeInfo or instruments JSON")
    parser.add_argument("--settings", metavar="FILE", help="TOML: enter = 0.7, [whale] quantile = 0.97, …")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be repeated")
    parser.add_argument("--engine", choices=("native", "wasmtime"), default="native")
    parser.add_argument("--seed", type=int, default=1, help="of the random entries")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--html", metavar="FILE", help="the report with plots, in one file")


def settings_of(named: dict[str, Any]) -> Settings:
    """Settings by name: fields of Settings, weights.FEATURE, and parameters by their own names. Raises InputError."""
    values: dict[str, Any] = {}
    weights: dict[str, float] = {}
    parameters: dict[str, float] = {}
    for name, value in named.items():
        try:
            if name == "capital":
                values[name] = Decimal(str(value))
            elif name in _FIELDS:
                values[name] = float(value)
            elif name.startswith("weights."):
                weights[name.removeprefix("weights.")] = float(value)
            elif name in PARAMETERS:
                parameters[name] = float(value)
            else:
                known = ", ".join([*_FIELDS, "weights.NAME", *PARAMETERS])
                raise InputError(f"no setting {name!r}: expected one of {known}")
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


def main(args: argparse.Namespace) -> int:
    """Runs the command."""
    from cwts.backtest.account import open_captures, run
    from cwts.backtest.metrics import judge
    from cwts.backtest.report import human, page
    from cwts.instruments import load_instrument
    from cwts.replay import TerminalProgress

    settings = read_settings(args.settings, args.set)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: a number of at least 0 is expected")
    instrument = load_instrument(args.instruments, args.exchange, args.symbol) if args.instruments else None
    recordings, setup = open_captures(args.capture, args.exchange, args.symbol, instrument, settings)
    for warning in setup.warnings:
        print(f"cwts: warning: {warning}", file=sys.stderr)
    progress = TerminalProgress()
    try:
        done = run(recordings, setup, kernel=args.engine, progress=progress)
    finally:
        progress.done()
    result = judge(done, seed=args.seed)
    if args.html:
        try:
            Path(args.html).write_text(page(done, result), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{args.html}: {error.strerror or error}") from error
    print(json.dumps(result) if args.json else human(result))
    return 0
