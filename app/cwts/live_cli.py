"""The commands that need an exchange or a recording of frames: run, record, export, import, health. Arguments only."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwts.arguments import (
    at_least,
    capital,
    file,
    file_to_write,
    folder,
    named,
    port,
    recording,
    replicas,
    whole,
)
from cwts.errors import CwtsError, InputError
from cwts.settings import add_arguments as add_settings

if TYPE_CHECKING:
    from cwts.run import Options

DEFAULT_METRICS = 9464


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Adds the commands to the command line."""
    run = commands.add_parser("run", help="trade headless on live data: on paper")
    _connection(run)
    run.add_argument("--capital", type=capital, metavar="N", help="paper account, in the settlement asset")
    run.add_argument("--live", action="store_true", help="trade with real money")
    run.add_argument("--record", type=folder, metavar="DIR", help="write what the engine is fed to this folder")
    run.add_argument("--budget", type=at_least(0.001), default=10.0, metavar="MS", help="warn of slower ticks (10)")
    run.add_argument("--pin", type=whole(5), metavar="CORE", help="stay on this processor core")
    run.add_argument("--realtime", action="store_true", help="real-time priority")
    add_settings(run)
    run.set_defaults(run=_run)

    record = commands.add_parser("record", help="record live data, exactly as an engine is fed")
    _connection(record)
    record.add_argument("--out", type=folder, required=True, metavar="DIR", help="the folder to write to")
    record.add_argument("--format", choices=("frames", "lines"), default="frames", help="lines: '<recv_ns> <raw json>'")
    record.set_defaults(run=_record)

    export = commands.add_parser("export", help="turn a recording of frames into lines '<recv_ns> <raw json>'")
    export.add_argument("recording", type=recording, metavar="RECORDING", help="a .cwts file, or a folder of them")
    export.add_argument("--exchange", default="", help="which exchange's instrument of a folder")
    export.add_argument("--symbol", default="", help="which instrument of a folder")
    export.add_argument(
        "--out", type=file_to_write, metavar="FILE", help="gzipped where it ends in .gz; else to the terminal"
    )
    export.set_defaults(run=_export)

    take = commands.add_parser("import", help="turn lines '<recv_ns> <raw json>' into a recording of frames")
    take.add_argument("capture", type=recording, metavar="CAPTURE", help="gzip or zstd lines '<recv_ns> <raw json>'")
    take.add_argument("--exchange", required=True)
    take.add_argument("--symbol", type=named, required=True)
    take.add_argument(
        "--instruments", type=file, metavar="FILE", help="the exchange's own exchangeInfo or instruments JSON"
    )
    take.add_argument("--capital", type=capital, metavar="N", help="paper account, in the settlement asset")
    take.add_argument("--out", type=folder, required=True, metavar="DIR", help="the folder to write to")
    take.set_defaults(run=_import)

    health = commands.add_parser("health", help="ask a run with --metrics whether it is well")
    health.add_argument("--port", type=port, default=DEFAULT_METRICS)
    health.add_argument("--host", type=named, default="127.0.0.1")
    health.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    health.set_defaults(run=_health)


def _connection(parser: argparse.ArgumentParser) -> None:
    """What `run` and `record` have in common."""
    parser.add_argument("--exchange", required=True, help="binance, binance-usdm, binance-coinm or okx")
    parser.add_argument(
        "--symbol", type=named, required=True, action="append", help="as the exchange writes it; may be repeated"
    )
    parser.add_argument(
        "--instruments", type=file, metavar="FILE", help="instead of asking: exchangeInfo or instruments JSON"
    )
    parser.add_argument("--simulate", metavar="URL", help="a simulated exchange (cwts simulate), ws://127.0.0.1:9000")
    parser.add_argument("--endpoint", action="append", default=[], metavar="[KIND=]URL", help="another address")
    parser.add_argument("--ca", type=file, metavar="FILE", help="further certificate authorities, PEM")
    parser.add_argument("--replicas", type=replicas, default=1, metavar="N", help="connections with the same streams")
    parser.add_argument("--engine", choices=("native", "wasmtime"), default="native")
    parser.add_argument("--duration", type=at_least(0), default=0.0, metavar="S", help="stop after so many seconds")
    parser.add_argument("--plain", action="store_true", help="log lines instead of a dashboard")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument(
        "--metrics",
        type=port,
        nargs="?",
        const=DEFAULT_METRICS,
        metavar="PORT",
        help=f"Prometheus, {DEFAULT_METRICS}",
    )
    parser.add_argument("--metrics-host", type=named, default="127.0.0.1", metavar="ADDRESS")


def _options(args: argparse.Namespace, **more: Any) -> Options:
    from cwts.config import Settings
    from cwts.exchanges import SESSIONS
    from cwts.exchanges.base import Policy
    from cwts.run import Options, endpoint_options
    from cwts.settings import settings_from

    if args.exchange not in SESSIONS:
        raise InputError(f"unknown exchange {args.exchange!r}: expected one of {', '.join(SESSIONS)}")
    return Options(
        args.exchange,
        tuple(symbol.upper() for symbol in args.symbol),
        settings=settings_from(args) if "settings" in args else Settings(),
        endpoints=endpoint_options(args.exchange, args.simulate, args.endpoint),
        policy=Policy(replicas=args.replicas),
        ca_file=args.ca,
        instruments=args.instruments,
        engine=args.engine,
        duration_s=args.duration,
        metrics=args.metrics,
        metrics_host=args.metrics_host,
        **more,
    )


def _run(args: argparse.Namespace) -> int:
    from cwts.run import run

    if args.live:
        raise InputError("trading with real money is not available yet: leave --live out to trade on paper")
    more = {"record": args.record, "budget_ms": args.budget, "pin": args.pin, "realtime": args.realtime}
    _tell(run(_options(args, **more), look="plain" if args.plain else "auto"), args.json)
    return 0


def _record(args: argparse.Namespace) -> int:
    from cwts.run import run

    options = _options(args, record=args.out, record_format=args.format)
    _tell(run(options, look="plain" if args.plain else "auto"), args.json)
    return 0


def _tell(result: dict[str, Any], as_json: bool) -> None:
    from cwts.replay import human

    if as_json:
        print(json.dumps(result))
        return
    for each in result.get("symbols", {"": result}).values():
        print(human(each))


def _export(args: argparse.Namespace) -> int:
    from cwts.recorder import export, is_frames, parts

    source = Path(args.recording)
    if source.is_file():
        try:
            with source.open("rb") as head:
                known = is_frames(head.read(16))
        except OSError as error:
            raise InputError(f"{source}: {error.strerror or error}") from error
        if not known:
            raise InputError(f"{source}: not a recording of frames")
    if args.out is None:
        target = sys.stdout.buffer
        export(source, target, args.exchange, args.symbol)
        target.flush()
        return 0
    try:
        out = args.out.resolve()
        if out.exists():
            for part in parts(source):
                if part.exists() and out.samefile(part):
                    raise InputError(f"{args.out}: this is the recording itself")
        # What is there stays until all of it is written; a device or a pipe cannot be replaced.
        replaces = out.is_file() or not out.exists()
        path = out.with_name(f".{out.name}.{os.getpid()}.part") if replaces else out
        try:
            with path.open("xb" if replaces else "wb") as written:
                if out.suffix == ".gz":
                    with gzip.GzipFile(out.name, "wb", fileobj=written) as packed:
                        count = export(source, packed, args.exchange, args.symbol)
                else:
                    count = export(source, written, args.exchange, args.symbol)
            if replaces:
                path.replace(out)
        except BaseException:
            if replaces:
                path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{args.out}: {error.strerror or error}") from error
    print(f"{count:,} messages written to {args.out}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from cwts.config import Settings
    from cwts.exchanges import SESSIONS
    from cwts.instruments import load_instrument
    from cwts.networks import command_frames
    from cwts.recorder import Description, Recorder, count_messages
    from cwts.recording import Recording
    from cwts.replay import prepare

    if args.exchange not in SESSIONS:
        raise InputError(f"unknown exchange {args.exchange!r}: expected one of {', '.join(SESSIONS)}")
    recording = Recording(args.capture)
    instrument = load_instrument(args.instruments, args.exchange, args.symbol) if args.instruments else None
    settings = Settings(capital=args.capital)
    setup = prepare(recording, args.exchange, args.symbol, instrument=instrument, settings=settings)
    first = setup.survey.first_ns
    messages = 0  # without our commands in front of them: what an export of the recording gives back
    recorder = Recorder(
        args.out, Description(args.exchange, setup.survey.symbol, setup.instrument, setup.config, {}, first)
    )
    try:
        if setup.start:
            recorder.tap(memoryview(command_frames(setup.start, first)))
        for batch in recording.batches():
            messages += count_messages(batch)
            recorder.tap(batch)
    finally:
        recorder.close()
    print(f"{messages:,} messages written to {recorder.files[0]}")
    return 0


def _health(args: argparse.Namespace) -> int:
    from cwts.metrics import ask_health

    found = ask_health(args.port, args.host)
    if not found.get("well"):
        raise CwtsError(f"not well: {found.get('why')}")
    print(json.dumps(found) if args.json else "well")
    return 0
