"""`cwts simulate`: the simulated exchanges in a terminal, until they are told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

from cwts.arguments import above_zero, at_least, file, file_to_write, named, port, recording, whole
from cwts.errors import CwtsError, InputError

if TYPE_CHECKING:
    from cwts.simulator.server import Simulator


def _speed(text: str) -> float:
    if text == "max":
        return 0.0
    return above_zero(text)


def _balance(text: str) -> tuple[str, str]:
    asset, equals, amount = text.partition("=")
    if not (asset and equals and amount.replace(".", "", 1).isdigit()):
        raise argparse.ArgumentTypeError(f"ASSET=AMOUNT is expected, not {text!r}")
    return asset.upper(), amount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cwts simulate`."""
    parser.add_argument(
        "captures", type=recording, nargs="+", metavar="CAPTURE", help="gzip or zstd lines '<recv_ns> <raw json>'"
    )
    parser.add_argument("--port", type=port, default=9000, help="0 takes a free one (default 9000)")
    parser.add_argument("--host", type=named, default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--tls", action="store_true", help="speak TLS with a certificate made for this run")
    parser.add_argument(
        "--ca-file", type=file_to_write, metavar="FILE", help="where to write that certificate for clients to trust"
    )
    parser.add_argument("--speed", type=_speed, default=1.0, metavar="X", help="times faster than recorded, or max")
    parser.add_argument(
        "--rate",
        type=above_zero,
        default=0.0,
        metavar="N",
        help="messages a second, instead of the recorded pace",
    )
    parser.add_argument("--clock", choices=("now", "recorded"), default="now", help="the time that the exchanges tell")
    parser.add_argument(
        "--start", choices=("now", "first", "command"), default="now", help="first: with the first subscription"
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end, with ids that go on")
    parser.add_argument(
        "--latency-ms", type=at_least(0), default=0.0, metavar="MS", help="an order's way there and back"
    )
    parser.add_argument(
        "--balance", type=_balance, action="append", default=[], metavar="ASSET=AMOUNT", help="of every account"
    )
    parser.add_argument(
        "--instruments", type=file, action="append", default=[], metavar="FILE", help="exchangeInfo or instruments JSON"
    )
    parser.add_argument(
        "--public-key",
        type=file,
        metavar="FILE",
        help="an Ed25519 public key (PEM) for the API key 'simulator-ed25519'",
    )
    parser.add_argument("--faults", type=file, metavar="FILE", help="a JSON list of faults, see /control/faults")
    parser.add_argument(
        "--random-faults", type=whole(5), default=0, metavar="N", help="N faults by chance, in a minute"
    )
    parser.add_argument("--seed", type=whole(), default=0, help="of --random-faults")
    parser.add_argument(
        "--compress",
        type=above_zero,
        default=1.0,
        metavar="X",
        help="24 hours, pings and the like in X times less",
    )
    parser.add_argument("--no-limits", action="store_true", help="no rate limits")
    parser.add_argument("--checksums", action="store_true", help="OKX: real checksums instead of 0")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object with the addresses on the first line of stdout"
    )


def main(args: argparse.Namespace) -> int:
    """Runs until interrupted, or until the exchanges cannot go on. Raises InputError, CwtsError."""
    try:
        from cwts.simulator.faults import load_script, random_schedule
        from cwts.simulator.server import Simulator
        from cwts.simulator.tls import context
    except ImportError as error:
        raise CwtsError(f"cwts simulate needs the extra 'simulate' ({error})") from error
    if args.ca_file and not args.tls:
        raise InputError("--ca-file needs --tls: without it there is no certificate")
    faults = load_script(args.faults) if args.faults else []
    if args.random_faults:
        faults += random_schedule(args.seed, seconds=60, count=args.random_faults)
    sim = Simulator(
        args.captures,
        host=args.host,
        port=args.port,
        tls=context(args.ca_file) if args.tls else None,
        speed=args.speed,
        rate=args.rate,
        clock=args.clock,
        start=args.start,
        loop=args.loop,
        latency_ms=args.latency_ms,
        compress=args.compress,
        limits=not args.no_limits,
        checksums=args.checksums,
        instruments=args.instruments,
        balances=dict(args.balance) or None,
        faults=faults,
    )
    if args.public_key:
        try:
            with open(args.public_key, "rb") as file:  # noqa: PTH123
                pem = file.read()
        except OSError as error:
            raise InputError(f"{args.public_key}: {error.strerror or error}") from error
        if not pem:
            raise InputError(f"{args.public_key}: an Ed25519 public key (PEM) is expected, the file is empty")
        sim.accounts.add("simulator-ed25519", public_key=pem, account=sim.accounts.default)
    asyncio.run(_run(sim, as_json=args.json))
    return 0


async def _run(sim: Simulator, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, stop.set)
    async with sim:
        print(json.dumps(_addresses(sim)) if as_json else _shown(sim), flush=True)
        ends = {loop.create_task(event.wait()) for event in (stop, sim.failed)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()


def _addresses(sim: Simulator) -> dict[str, Any]:
    from cwts.simulator.server import ENDPOINTS

    return {
        "control": sim.control_url,
        "exchanges": {
            name: {"rest": sim.url(name)} | {end: sim.url(name, end) for owner, end in ENDPOINTS if owner == name}
            for name in sim.exchanges
        },
        "symbols": {name: list(sim.exchange(name).markets) for name in sim.exchanges},
    }


def _shown(sim: Simulator) -> str:
    found = _addresses(sim)
    lines = []
    for name, urls in found["exchanges"].items():
        lines.append(f"{name}: {', '.join(found['symbols'][name])}")
        lines += [f"  {end:<9} {url}" for end, url in urls.items()]
    lines.append(
        f"control     {found['control']}/state, /book, /fault, … · API key and secret: simulator · Ctrl-C stops it"
    )
    return "\n".join(lines)
