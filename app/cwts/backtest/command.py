"""The command `cwts backtest`: its arguments and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cwts import settings
from cwts.arguments import capital, file, file_to_write, named, recording, whole
from cwts.errors import InputError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser, exchanges: tuple[str, ...]) -> None:
    """What `cwts backtest` takes."""
    parser.add_argument(
        "capture", type=recording, nargs="+", metavar="CAPTURE", help="recordings; played in the order of their times"
    )
    parser.add_argument("--exchange", required=True, choices=exchanges)
    parser.add_argument("--symbol", type=named, required=True, help="as the exchange writes it")
    parser.add_argument(
        "--instruments", type=file, metavar="FILE", help="the exchange's own exchangeInfo or instruments JSON"
    )
    parser.add_argument("--capital", type=capital, metavar="N", help="paper account, in the settlement asset")
    settings.add_arguments(parser)
    parser.add_argument("--engine", choices=("native", "wasmtime"), default="native")
    parser.add_argument("--seed", type=whole(), default=1, help="of the random entries")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--html", type=file_to_write, metavar="FILE", help="the report with plots, in one file")


def main(args: argparse.Namespace) -> int:
    """Runs the command."""
    from cwts.backtest.account import open_captures, run
    from cwts.backtest.metrics import judge
    from cwts.backtest.report import human, page
    from cwts.instruments import load_instrument
    from cwts.replay import TerminalProgress

    setting = settings.settings_from(args)
    instrument = load_instrument(args.instruments, args.exchange, args.symbol) if args.instruments else None
    recordings, setup = open_captures(args.capture, args.exchange, args.symbol, instrument, setting)
    for warning in setup.warnings:
        print(f"cwts: warning: {warning}", file=sys.stderr)
    with TerminalProgress() as progress:
        done = run(recordings, setup, kernel=args.engine, progress=progress)
    result = judge(done, seed=args.seed)
    if args.html:
        try:
            Path(args.html).write_text(page(done, result), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{args.html}: {error.strerror or error}") from error
    print(json.dumps(result) if args.json else human(result))
    return 0
