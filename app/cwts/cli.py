"""The command `cwts`: arguments in, one clear line per error out. What a command does lives in its own module."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from cwts import __version__
from cwts.arguments import capital, count, file, file_to_write, folder, milliseconds, named, port, recording
from cwts.errors import CwtsError, InputError
from cwts.gpu import DEVICES
from cwts.live_cli import add_commands
from cwts.settings import add_arguments as add_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

EXCHANGES = ("binance", "binance-usdm", "binance-coinm", "okx")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="cwts", description="CWTS: follow whales with small capital, in a page or on a server.")
    parser.add_argument("--version", action="version", version=f"cwts {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    replay = commands.add_parser("replay", help="feed a recording through the engine and sum up what came of it")
    replay.add_argument("capture", type=recording, metavar="CAPTURE", help="gzip or zstd lines '<recv_ns> <raw json>'")
    replay.add_argument("--exchange", required=True, choices=EXCHANGES)
    replay.add_argument(
        "--symbol", type=named, required=True, help="as the exchange writes it, for example BTCUSDT or BTC-USDT-SWAP"
    )
    replay.add_argument(
        "--instruments", type=file, metavar="FILE", help="the exchange's own exchangeInfo or instruments JSON"
    )
    replay.add_argument("--engine", choices=("native", "wasmtime"), default="native")
    replay.add_argument("--capital", type=capital, metavar="N", help="paper account, in the settlement asset")
    replay.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    add_settings(replay)
    replay.set_defaults(run=_replay)

    backtest = commands.add_parser("backtest", help="what the paper account makes of recordings, next to baselines")
    from cwts.backtest.command import add_arguments as add_backtest

    add_backtest(backtest, EXCHANGES)
    backtest.set_defaults(run=_backtest)

    add_commands(commands)

    serve = commands.add_parser("serve", help="serve the trading page on this machine")
    serve.add_argument("--port", type=port, default=8000)
    serve.add_argument("--no-open", action="store_true", help="do not open a browser")
    serve.add_argument("--site", type=folder, metavar="FOLDER", help="the built site")
    serve.add_argument(
        "--simulate-origin",
        action="append",
        default=[],
        metavar="[EXCHANGE=]URL",
        help="a simulated exchange (cwts simulate) that stands for the real ones in the page, ws://127.0.0.1:9000",
    )
    serve.set_defaults(run=_serve)

    simulate = commands.add_parser("simulate", help="serve recordings as exchanges on this machine")
    from cwts.simulator.command import add_arguments

    add_arguments(simulate)
    simulate.set_defaults(run=_simulate)

    train = commands.add_parser("train", help="train the three networks on recordings")
    source = "EXCHANGE:SYMBOL:FILE[,FILE...]"
    train.add_argument("captures", metavar="CAPTURE", nargs="+", help=f"{source}, fed in a row; the last one counts")
    train.add_argument("--hold-out", required=True, metavar="CAPTURE", help="what the networks are evaluated on")
    train.add_argument("--out", type=file_to_write, required=True, metavar="FILE", help="the weights file to write")
    train.add_argument("--seeds", type=count, default=5, metavar="N", help="tries of each network (5)")
    train.add_argument("--json", action="store_true", help="the card as one JSON object on the last line of stdout")
    train.set_defaults(run=_train)

    networks = commands.add_parser(
        "networks", help="run the three networks over a whole recording, on a GPU or by SIMD"
    )
    networks.add_argument("capture", type=recording, metavar="CAPTURE", help="a recording, as for replay")
    networks.add_argument("--exchange", required=True, choices=EXCHANGES)
    networks.add_argument("--symbol", type=named, required=True, help="as the exchange writes it")
    networks.add_argument(
        "--instruments", type=file, metavar="FILE", help="the exchange's own exchangeInfo or instruments JSON"
    )
    networks.add_argument("--weights", type=file, metavar="FILE", help="a weights file (default: the shipped one)")
    networks.add_argument("--device", default="auto", choices=DEVICES, help="auto: CUDA, then a real GPU, then SIMD")
    networks.add_argument("--step-ms", type=milliseconds, default=100, metavar="N", help="a row every so many ms (100)")
    networks.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    networks.set_defaults(run=_networks)

    bench = commands.add_parser("bench", help="measure the engine and its peers in one run")
    bench.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    bench.set_defaults(run=_bench)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _replay(args: argparse.Namespace) -> int:
    from cwts.instruments import load_instrument
    from cwts.recording import Recording
    from cwts.replay import TerminalProgress, human, prepare, replay
    from cwts.settings import settings_from

    settings = settings_from(args)
    instrument = load_instrument(args.instruments, args.exchange, args.symbol) if args.instruments else None
    recording = Recording(args.capture)
    setup = prepare(recording, args.exchange, args.symbol, instrument=instrument, settings=settings)
    for warning in setup.warnings:
        print(f"cwts: warning: {warning}", file=sys.stderr)
    with TerminalProgress() as progress:
        result = replay(recording, setup, kernel=args.engine, progress=progress)
    print(json.dumps(result) if args.json else human(result))
    return 0


def _backtest(args: argparse.Namespace) -> int:
    from cwts.backtest.command import main as backtest

    return backtest(args)


def _serve(args: argparse.Namespace) -> int:
    from cwts.serve import serve

    return serve(port=args.port, open_browser=not args.no_open, site=args.site, simulate=args.simulate_origin)


def _simulate(args: argparse.Namespace) -> int:
    from cwts.simulator.command import main as simulate

    return simulate(args)


def _train(args: argparse.Namespace) -> int:
    from cwts.networks import save
    from cwts.replay import TerminalProgress
    from cwts.train import Source, human, train

    sources, hold_out = [Source.parse(text) for text in args.captures], Source.parse(args.hold_out)
    with TerminalProgress() as shown:

        def say(text: str) -> None:
            shown.done()
            print(text, file=sys.stderr, flush=True)

        weights = train(sources, hold_out, seeds=args.seeds, say=say, progress=shown)
    try:
        save(args.out, weights)
    except OSError as error:
        raise InputError(f"{args.out}: {error.strerror or error}") from error
    print(json.dumps(weights.card) if args.json else human(weights.card))
    return 0


def _networks(args: argparse.Namespace) -> int:
    from cwts.gpu.history import main as networks

    return networks(args)


def _bench(args: argparse.Namespace) -> int:
    from cwts.bench import main as bench

    code: int = bench(args)
    return code


def _version(_args: argparse.Namespace) -> int:
    print(f"cwts {__version__}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for a failure, 2 for bad input."""
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except CwtsError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory", 1)
    except OSError as error:  # also of what is printed: a terminal has no name
        if os.environ.get("CWTS_TRACEBACK"):
            raise
        return _fail(f"{error.filename or 'what is printed'}: {error.strerror or error}", 1)
    except Exception as error:  # a traceback helps nobody at a terminal
        if os.environ.get("CWTS_TRACEBACK"):
            raise
        return _fail(f"{type(error).__name__}: {error}", 1)
    return code


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"cwts: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
