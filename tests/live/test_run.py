"""`cwts run`, `cwts record` and their kin as a person meets them: processes, exit codes, one line per error."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("picows", reason="sockets are not to be had here")
pytest.importorskip("aiohttp", reason="the simulated exchange needs it")

from cwts.errors import CwtsError
from cwts.exchanges.base import MS, SECOND, Policy
from cwts.kernel import Engine
from cwts.metrics import ask_health
from cwts.recorder import FrameRecording, Recorder, check
from cwts.recorder import lines as frame_lines
from cwts.run import Live, Options, endpoint_options
from cwts.simulator import Simulator
from cwts.transport import native
from live.warp import warp
from market import compact, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cwts.replay import Setup

pytestmark = pytest.mark.native

DATA = Path(__file__).parent.parent / "data"
SPOT = DATA / "binance-spot-btcusdt-20240808.gz"
OKX = DATA / "okx-books-trades-tickers-20220513.gz"
CWTS = [sys.executable, "-m", "cwts.cli"]


def cwts(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CWTS, *map(str, arguments)], capture_output=True, text=True, timeout=180, check=False)


async def start(*arguments: object, **options: Any) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*CWTS, *map(str, arguments), stdout=pipe, stderr=pipe, **options)


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """Waits for a line of the log."""
    assert process.stdout is not None
    while line := (await asyncio.wait_for(process.stdout.readline(), 120)).decode():
        if text in line:
            return line
    raise AssertionError(f"no line with {text!r}")


def well(port: int) -> dict[str, Any]:
    """The health answer, once all is well."""
    end = time.monotonic() + 60
    while True:
        try:
            return ask_health(port)
        except CwtsError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


async def end_of(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, error = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize(
    ("capture", "exchange", "symbol"),
    [
        (SPOT, "binance", "BTCUSDT"),
        (DATA / "binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT"),
        (DATA / "binance-coinm-btcusd_perp-20240808.gz", "binance-coinm", "BTCUSD_PERP"),
        (OKX, "okx", "BTC-USDT"),
    ],
)
def test_a_recording_replays_to_the_block_of_the_run_that_made_it(
    capture: Path, exchange: str, symbol: str, tmp_path: Path
) -> None:
    async def main() -> dict[str, Any]:
        async with Simulator([capture], speed=4.0, start="first", lines=1500) as sim:
            process = await start(
                "run", "--exchange", exchange, "--symbol", symbol, "--simulate", f"ws://127.0.0.1:{sim.port}",
                "--capital", 50, "--plain", "--record", tmp_path, "--json",
            )  # fmt: skip
            await line_with(process, "the book is valid")
            await asyncio.wait_for(sim.finished.wait(), 120)
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            code, out, error = await end_of(process)
            assert (code, error) == (0, "")
            return json.loads(out.splitlines()[-1])

    live = asyncio.run(main())
    assert live["synced"]
    assert live["messages"] > 100
    assert live["lost"] == 0
    replayed = json.loads(
        cwts("replay", tmp_path, "--exchange", exchange, "--symbol", symbol, "--json").stdout.splitlines()[-1]
    )
    assert replayed.keys() <= live.keys()
    for key in ("block_sha256", "book_sha256", "messages", "applied", "trades", "decisions", "account"):
        assert replayed[key] == live[key], key


def test_several_symbols_in_one_process(tmp_path: Path) -> None:
    async def main() -> dict[str, Any]:
        async with Simulator([OKX], speed=8.0, start="first") as sim:
            process = await start(
                "run", "--exchange", "okx", "--symbol", "BTC-USDT", "--symbol", "uni-usd-swap", "--simulate",
                f"ws://127.0.0.1:{sim.port}", "--plain", "--json", "--duration", 6, "--record", tmp_path,
            )  # fmt: skip
            code, out, error = await end_of(process)
            assert (code, error) == (0, "")
            return json.loads(out.splitlines()[-1])

    found = asyncio.run(main())["symbols"]
    assert found.keys() == {"BTC-USDT", "UNI-USD-SWAP"}
    assert all(each["synced"] for each in found.values())
    for symbol, each in found.items():
        out = cwts("replay", tmp_path, "--exchange", "okx", "--symbol", symbol, "--json").stdout
        assert json.loads(out.splitlines()[-1])["block_sha256"] == each["block_sha256"]


def test_liquidations_of_two_symbols_in_one_message_reach_both_engines(tmp_path: Path) -> None:
    """The message as OKX sent it in 2026, but of our instruments; the recorded future plays the second swap."""
    symbols = ["UNI-USD-SWAP", "BTC-USD-SWAP"]
    frames = (DATA / "live-frames-2026-liquidations.jsonl").read_bytes().splitlines()
    message = json.loads(next(raw for raw in frames if b"liquidation-orders" in raw))
    (row,) = message["data"]
    row["details"][0]["sz"] = "8"  # whole contracts, as these instruments have them
    capture, sent = tmp_path / "capture.gz", 0
    with gzip.open(capture, "wb") as file:
        for i, (ns, raw) in enumerate(lines_of(OKX)):
            file.write(b"%d %b\n" % (ns, raw.replace(b"BTC-USD-220527", b"BTC-USD-SWAP")))
            if i % 20 == 10:
                row["details"][0]["ts"], sent = str(1_700_000_000_000 + i), sent + 1
                rows = [row | {"instId": symbol} for symbol in ("CELO-USDT-SWAP", *symbols)]
                file.write(b"%d %b\n" % (ns, json.dumps(message | {"data": rows}, separators=(",", ":")).encode()))

    async def main() -> None:
        async with Simulator([capture], speed=4.0, start="first", clock="recorded") as sim:
            process = await start(
                "run", "--exchange", "okx", "--symbol", symbols[0], "--symbol", symbols[1], "--replicas", 2,
                "--simulate", f"ws://127.0.0.1:{sim.port}", "--plain", "--record", tmp_path / "out",
            )  # fmt: skip
            await asyncio.wait_for(sim.finished.wait(), 120)
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            code, _, error = await end_of(process)
            assert (code, error) == (0, "")

    asyncio.run(main())
    came: dict[str, list[bytes]] = {}
    for symbol in symbols:
        recording = FrameRecording(tmp_path / "out")
        engine = Engine(recording.describe(symbol=symbol).config)
        for batch in recording.batches(symbol=symbol):
            engine.feed(batch)
        fed = [line for found in frame_lines(recording.batches(symbol=symbol)) for line in found]
        came[symbol] = [line.split(b" ", 1)[1] for line in fed if b'"liquidation-orders"' in line]
        assert int(engine.view["counters"]["liquidations"]) == len(came[symbol])
    first, second = came.values()
    assert 5 < len(first) <= sent
    assert len(set(first)) == len(first)
    assert first == second


def test_metrics_health_and_ctrl_c() -> None:
    port = free_port()

    async def main() -> None:
        async with Simulator([SPOT], speed=2.0, start="first", lines=4000) as sim:
            process = await start(
                "run", "--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", f"ws://127.0.0.1:{sim.port}",
                "--plain", "--metrics", port,
            )  # fmt: skip
            await line_with(process, "the book is valid")
            await line_with(process, " statistics ")
            text = (await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics")).read().decode()
            label = '{exchange="binance",symbol="BTCUSDT"}'
            assert f"cwts_book_synced{label} 1\n" in text
            assert "# TYPE cwts_messages_total" in text
            assert 'cwts_connection_open{exchange="binance",role="stream",replica="0"} 1' in text
            assert (await asyncio.to_thread(ask_health, port))["well"] is True
            proxy = {**os.environ, "http_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""}
            assert (await end_of(await start("health", "--port", port, env=proxy)))[:2] == (0, "well\n")
            process.send_signal(signal.SIGINT)
            code, out, error = await end_of(process)
            assert (code, error) == (0, "")
            assert "SIGINT: stopping" in out
            assert "book sha256" in out
            code, _, error = await end_of(await start("health", "--port", port))
            assert code == 1
            assert error.startswith("cwts: nothing answers")

    asyncio.run(main())


def test_a_market_that_is_merely_quiet_is_well() -> None:
    """No trade and no change of the book for longer than a connection may be silent, but the exchange answers."""
    policy = Policy(probe_ns=300 * MS, drop_ns=SECOND)

    async def main() -> None:
        async with Simulator([SPOT], speed=4.0, start="first", loop=True) as sim:
            endpoints = endpoint_options("binance", f"ws://127.0.0.1:{sim.port}", [])
            live = Live(Options("binance", ("BTCUSDT",), endpoints=endpoints, policy=policy), lambda *_: None)
            task = asyncio.create_task(live.run())

            async def until(what: Callable[[dict[str, Any]], bool]) -> None:
                for _ in range(1200):
                    well, details = live.well()
                    assert not task.done()
                    if well and what(details):
                        return
                    await asyncio.sleep(0.05)
                raise AssertionError(details)

            await until(lambda details: details["books"]["BTCUSDT"]["age_s"] < 0.2)
            sim.set_pace(paused=True)
            resets = live.session.books[0].resets
            await until(lambda details: details["books"]["BTCUSDT"]["age_s"] > 2)
            assert live.session.books[0].resets == resets
            sim.fault("stall")
            while live.well()[0]:  # noqa: ASYNC110 - a live run has no event for it
                await asyncio.sleep(0.05)
            live.stop()
            await task

    asyncio.run(main())


def test_the_clock_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can put this machine to sleep, so the system's clocks are told apart by what is added to one of them."""
    slept = 0
    real = time.clock_gettime_ns
    through = {getattr(time, "CLOCK_BOOTTIME", None), time.CLOCK_MONOTONIC if sys.platform == "darwin" else None}
    monkeypatch.setattr(time, "clock_gettime_ns", lambda kind: real(kind) + (slept if kind in through else 0))
    now = native.clock()
    before = now()
    assert abs(before - time.time_ns()) < 3600 * SECOND
    slept = 7200 * SECOND
    assert now() - before >= slept


def test_the_dashboard_and_its_keys() -> None:
    """On a terminal: k halts, r resumes, q quits; the terminal is given back as it was."""
    import termios

    async def main() -> bytes:
        async with Simulator([SPOT], speed=2.0, start="first", lines=4000) as sim:
            ours, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (50, 160))
            before = termios.tcgetattr(theirs)
            process = await asyncio.create_subprocess_exec(
                *CWTS, "run", "--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", f"ws://127.0.0.1:{sim.port}",
                stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color"},
            )  # fmt: skip
            seen = bytearray()
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, lambda: seen.extend(os.read(ours, 1 << 16)))

            async def until(text: bytes) -> None:
                for _ in range(2400):
                    if text in seen:
                        return
                    await asyncio.sleep(0.05)
                raise AssertionError(f"the screen never showed {text!r}: {bytes(seen[-500:])!r}")

            await until(b"imbalance")
            await until(b"the book is valid")
            os.write(ours, b"k")
            await until(b"HALTED")
            os.write(ours, b"r")
            await until(b"resumed")
            os.write(ours, b"q")
            assert await asyncio.wait_for(process.wait(), 120) == 0
            await until(b"block sha256")
            loop.remove_reader(ours)
            assert termios.tcgetattr(theirs)[3] == before[3]
            os.close(ours)
            os.close(theirs)
            return bytes(seen)

    seen = asyncio.run(main())
    for text in (b"features", b"decision", b"connections", b"spread"):
        assert text in seen


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--exchange", "kraken", "--symbol", "X"), 2, "unknown exchange 'kraken'"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--live"), 2, "not available yet"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--endpoint", "nonsense"), 2, "an address like"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--endpoint", "public=ws://x"), 2, "no endpoint 'public'"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", "ws://127.0.0.1:9"), 1, "refuses connections"),
        (("--exchange", "okx", "--symbol", "BTC-USDT", "--simulate", "ws://no-such.invalid"), 1, "there is no host"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--ca", "/nonexistent"), 2, "no certificates"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--pin", "9999"), 2, "there is no core 9999"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--capital", "-1"), 2, "a number above 0"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", "ws://127.0.0.1:99999"), 2, "an address like"),
        (("--exchange", "binance", "--symbol", ""), 2, "--symbol: a name is expected, not ''"),
        (("--exchange", "binance", "--symbol", "X", "--symbol", "x"), 2, "named twice"),
        (("--exchange", "okx", "--symbol", "X", "--instruments", "/nonexistent"), 2, "No such file"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", ""), 2, "an address like"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--ca", ""), 2, "--ca: a file is expected, not ''"),
        (("--exchange", "okx", "--symbol", "X", "--instruments", ""), 2, "--instruments: a file is expected, not ''"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", "ws://[::1"), 2, "an address like"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", "ws://a..b"), 1, "a..b: "),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", "ws://bad host:90"), 2, "an address like"),
        (("--exchange", "binance", "--symbol", "BTCUSDT", "--endpoint", "ws://[1"), 2, "an address like"),
        (("--exchange", "binance",), 2, "required"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(arguments: tuple[str, ...], code: int, text: str) -> None:
    found = cwts("run", "--plain", *arguments)
    assert found.returncode == code, found.stderr
    assert text in found.stderr
    assert found.stderr.count("\n") == 1
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--exchange", "kraken", "--symbol", "X", "--out", "x"), 2, "unknown exchange 'kraken'"),
        (("--exchange", "okx", "--symbol", "X", "--out", "x", "--simulate", "ws://127.0.0.1:9"), 1, "refuses"),
        (("--exchange", "okx", "--symbol", "X", "--out", "x", "--simulate", "ws://no.invalid"), 1, "there is no host"),
        (("--exchange", "okx", "--symbol", "X"), 2, "--out"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_said_in_one_line(
    arguments: tuple[str, ...], code: int, text: str, tmp_path: Path
) -> None:
    found = cwts("record", "--plain", *(str(tmp_path / "x") if text == "x" else text for text in arguments))
    assert found.returncode == code, found.stderr
    assert text in found.stderr
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_nothing_is_recorded_of_what_does_not_exist_or_where_nothing_can_be_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with Simulator([SPOT], speed=1.0) as sim:
            common = ("record", "--exchange", "binance", "--simulate", f"ws://127.0.0.1:{sim.port}", "--plain", "--out")
            code, _, error = await end_of(await start(*common, tmp_path / "a", "--symbol", "NOPEUSDT"))
            assert (code, error) == (2, "cwts: binance has no symbol NOPEUSDT\n")
            assert not (tmp_path / "a").exists()
            code, _, error = await end_of(await start(*common, Path("/proc/none"), "--symbol", "BTCUSDT"))
            assert code == 2
            assert "recordings cannot be written there" in error
            assert error.count("\n") == 1
            taken = ("--metrics", sim.port, "--symbol", "BTCUSDT")
            code, _, error = await end_of(await start(*common, tmp_path / "c", *taken))
            assert code == 2
            assert error.count("\n") == 1

    asyncio.run(main())


def test_at_the_start_too_the_exchange_is_asked_when_it_says() -> None:
    """429 with Retry-After in answer to the very first question."""

    async def main() -> None:
        async with Simulator([SPOT], speed=10.0, start="first", lines=1000) as sim:
            sim.fault("limit", seconds=1.2)
            process = await start(
                "run", "--exchange", "binance", "--symbol", "BTCUSDT", "--plain", "--duration", 6,
                "--simulate", f"ws://127.0.0.1:{sim.port}",
            )  # fmt: skip
            code, out, error = await end_of(process)
            assert (code, error) == (0, "")
            assert "too many requests (HTTP 429): asking again in 2 s" in out
            assert "the book is valid" in out
            assert not [event for event in sim.events if event["what"] == "asked too early"]

    asyncio.run(main())


@contextlib.contextmanager
def silent_host() -> Iterator[int]:
    """Takes connections and never answers; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("why", ["a host that never answers", "too many requests"])
def test_a_signal_stops_the_first_questions_too(name: str, why: str, tmp_path: Path) -> None:
    """Cleanly, as at any other time, and long before the question would have been given up (10 s, 60 s)."""

    async def stopped(port: int, wait: Any) -> None:
        process = await start(
            "run", "--exchange", "okx", "--symbol", "BTC-USDT", "--symbol", "UNI-USD-SWAP", "--plain", "--json",
            "--simulate", f"ws://127.0.0.1:{port}", "--record", tmp_path / "out",
        )  # fmt: skip
        await wait(process)
        process.send_signal(getattr(signal, name))
        code, out, error = await asyncio.wait_for(end_of(process), 8)
        assert (code, error) == (0, "")
        assert f"{name}: stopping" in out
        assert json.loads(out.splitlines()[-1])["symbols"] == {}
        assert not (tmp_path / "out").exists()

    async def asked(process: asyncio.subprocess.Process) -> None:
        del process
        await asyncio.sleep(3)  # the question is on its way: nothing tells

    async def main() -> None:
        if why == "too many requests":
            async with Simulator([OKX], start="command") as sim:
                sim.fault("limit", seconds=60)
                await stopped(sim.port, lambda process: line_with(process, "too many requests"))
        else:
            with silent_host() as port:
                await stopped(port, asked)

    asyncio.run(main())


def test_the_duration_counts_from_the_start() -> None:
    with silent_host() as port:
        found = subprocess.run(
            [*CWTS, "run", "--exchange", "okx", "--symbol", "BTC-USDT", "--plain", "--duration", "1",
             "--simulate", f"ws://127.0.0.1:{port}"],
            capture_output=True, text=True, timeout=9, check=False,
        )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize(("exchange", "rules"), [("binance", 1), ("okx", 2)])
def test_the_first_questions_of_many_symbols_stay_within_the_limits(
    exchange: str, rules: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules are asked for together, books at a pace that the exchange allows; a line says how far it is.

    Forty books cost Binance (which counts here, too) more than a minute allows, OKX more than two seconds.
    """
    if exchange == "okx":
        symbols = [f"A{i}-USDT{'-SWAP' * (i % 2)}" for i in range(40)]
        row = {"asks": [["10.6", "1", "0", "1"]], "bids": [["10.5", "1", "0", "1"]], "ts": "1", "seqId": 5}
        messages: list[Any] = [
            {"arg": {"channel": "books", "instId": symbol}, "action": "snapshot", "data": [row | {"prevSeqId": -1}]}
            for symbol in symbols
        ]
    else:
        symbols = [f"A{i}USDT" for i in range(40)]
        update = {"e": "depthUpdate", "E": 1, "U": 1, "u": 2, "b": [["10.5", "1"]], "a": [["10.6", "1"]]}
        messages = [{"stream": f"{symbol.lower()}@depth@100ms", "data": update | {"s": symbol}} for symbol in symbols]
    capture = tmp_path / "capture.gz"
    capture.write_bytes(gzip.compress(b"".join(b"%d %b\n" % (i, compact(m)) for i, m in enumerate(messages))))
    asked: list[tuple[float, str]] = []
    told: list[str] = []

    def watched(url: str, context: Any) -> native.Answer:
        answer = native_fetch(url, context)
        asked.append((live.now() / 1e9, url))
        return answer

    native_fetch = native.fetch
    monkeypatch.setattr(native, "fetch", watched)

    async def main() -> list[Setup]:
        nonlocal live
        async with Simulator([capture], speed=0) as sim:
            await sim.finished.wait()
            endpoints = endpoint_options(exchange, f"ws://127.0.0.1:{sim.port}", [])
            live = Live(Options(exchange, tuple(symbols), endpoints=endpoints), lambda _, text: told.append(text))
            loop = asyncio.get_running_loop()
            live.now = lambda: int(loop.time() * 1e9)
            return await live._describe()

    live: Any = None
    setups = warp(main())
    assert [setup.survey.symbol for setup in setups] == symbols
    assert {str(setup.survey.reference_price) for setup in setups} == {"10.5"}
    assert not [text for text in told if "too many" in text]
    books = [at for at, url in asked if "depth" in url or "/books" in url]
    assert (len(asked) - len(books), len(books)) == (rules, 40)
    if exchange == "binance":  # half of 6,000 a minute, after the first 3,000
        assert max(sum(start <= at < start + 60 for at in books) for start in books) * 250 <= 6000
        assert any(re.fullmatch(r"\d+ of 40 first books: the exchange's limit allows the next in 5 s", t) for t in told)
    else:
        assert max(sum(start <= at < start + 2 for at in books) for start in books) <= 40


def test_of_many_symbols_the_unknown_one_is_named() -> None:
    """Asked for together, Binance says only that there is one."""

    async def main() -> None:
        async with Simulator([SPOT], speed=1.0) as sim:
            process = await start(
                "run", "--exchange", "binance", "--symbol", "BTCUSDT", "--symbol", "NOPEUSDT", "--plain",
                "--simulate", f"ws://127.0.0.1:{sim.port}",
            )  # fmt: skip
            assert await end_of(process) == (2, "", "cwts: binance has no symbol NOPEUSDT\n")

    asyncio.run(main())


def test_unknown_symbols_and_refused_subscriptions() -> None:
    async def main() -> None:
        async with Simulator([SPOT, OKX], speed=1.0) as sim:
            simulate = ("--simulate", f"ws://127.0.0.1:{sim.port}", "--plain")
            for exchange, symbol in (("binance", "NOPEUSDT"), ("okx", "NOPE-USDT")):
                code, _, error = await end_of(await start("run", "--exchange", exchange, "--symbol", symbol, *simulate))
                assert (code, error) == (2, f"cwts: {exchange} has no symbol {symbol}\n")
            file = DATA / "okx-instruments-2022.json"  # knows instruments that this exchange does not have
            process = await start("run", "--exchange", "okx", "--symbol", "ETH-USDT", "--instruments", file, *simulate)
            code, _, error = await end_of(process)
            assert code == 2
            assert "the subscription was refused" in error
            assert error.count("\n") == 1

    asyncio.run(main())


@pytest.mark.parametrize(("exchange", "symbols"), [("okx", ("BTC-USDT", "UNI-USD-SWAP")), ("binance", ("A", "B"))])
def test_one_that_is_delisted_is_given_up_and_the_other_goes_on(
    exchange: str, symbols: tuple[str, str], tmp_path: Path
) -> None:
    """Of two that are live. The log, the health answer, the metrics and the summary say so; the exit code is 0."""
    port = free_port()
    capture, stays, goes = OKX, *symbols
    if exchange == "binance":  # the same market under two names
        capture = tmp_path / "capture.gz"
        with gzip.open(capture, "wb") as file:
            for ns, raw in list(lines_of(SPOT))[:3000]:
                for symbol in symbols:
                    renamed = raw.replace(b"BTCUSDT", symbol.encode()).replace(b"btcusdt", symbol.lower().encode())
                    file.write(b"%d %b\n" % (ns, renamed))

    async def main() -> None:
        async with Simulator([capture], speed=1.0, start="first", loop=True) as sim:
            process = await start(
                "run", "--exchange", exchange, "--symbol", stays, "--symbol", goes, "--plain", "--json",
                "--simulate", f"ws://127.0.0.1:{sim.port}", "--metrics", port,
            )  # fmt: skip
            waiting = set(symbols)
            while waiting:
                waiting.discard((await line_with(process, "the book is valid")).split(": ")[0].split()[-1])
            sim.fault("delist", symbol=goes)
            sim.fault("cut")
            line = await line_with(process, "is given up")
            assert f"{goes} is given up: " in line
            health = await asyncio.to_thread(well, port)
            assert health["books"][stays]["given_up"] == ""
            assert health["books"][goes] | {"age_s": 0} == {
                "synced": False, "age_s": 0, "given_up": line.split("is given up: ")[1].strip(),
            }  # fmt: skip
            text = (await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics")).read().decode()
            for symbol in symbols:
                label = f'{{exchange="{exchange}",symbol="{symbol}"}}'
                assert f"cwts_given_up{label} {int(symbol == goes)}\n" in text
            process.send_signal(signal.SIGTERM)
            code, out, error = await end_of(process)
            assert (code, error) == (0, "")
            found = json.loads(out.splitlines()[-1])["symbols"]
            assert found[stays]["synced"]
            assert not found[stays]["given_up"]
            assert not found[goes]["synced"]
            assert found[goes]["given_up"]

    asyncio.run(main())


def test_when_the_last_one_is_delisted_the_run_ends_with_a_line() -> None:
    async def main() -> None:
        async with Simulator([OKX], speed=1.0, start="first", loop=True) as sim:
            process = await start(
                "run", "--exchange", "okx", "--symbol", "BTC-USDT", "--plain", "--simulate", f"ws://127.0.0.1:{sim.port}"
            )  # fmt: skip
            await line_with(process, "the book is valid")
            sim.fault("delist", symbol="BTC-USDT")
            sim.fault("cut")
            code, _, error = await end_of(process)
            assert code == 1
            assert error.startswith("cwts: okx: no instrument is left: the subscription was refused: ")
            assert error.count("\n") == 1

    asyncio.run(main())


def test_tls(tmp_path: Path) -> None:
    """A certificate that nobody vouches for ends it with one line; with --ca it is fine."""
    from cwts.simulator.tls import context as simulated

    async def main() -> None:
        ca_file = tmp_path / "ca.pem"
        context = simulated(ca_file)
        async with Simulator([SPOT], speed=5.0, start="first", lines=1000, tls=context) as sim:
            arguments = ("run", "--exchange", "binance", "--symbol", "BTCUSDT", "--plain", "--duration", 5)
            where = ("--simulate", f"wss://127.0.0.1:{sim.port}")
            code, _, error = await end_of(await start(*arguments, *where))
            assert code == 1
            assert error.startswith("cwts: TLS: the certificate of 127.0.0.1 is not accepted")
            assert error.count("\n") == 1
            code, out, error = await end_of(await start(*arguments, *where, "--ca", ca_file))
            assert (code, error) == (0, "")
            assert "the book is valid" in out
            plain = ("--simulate", f"ws://127.0.0.1:{sim.port}")
            code, _, error = await end_of(await start(*arguments, *plain))
            assert code == 1
            assert error.count("\n") == 1

    asyncio.run(main())


WAIT_S = 60


async def two_okx(sim: Simulator, folder: Path) -> tuple[Live, asyncio.Task[None]]:
    """A run of two instruments that is recorded, when it has got something."""
    endpoints = endpoint_options("okx", f"ws://127.0.0.1:{sim.port}", [])
    symbols = ("BTC-USDT", "UNI-USD-SWAP")
    live = Live(Options("okx", symbols, endpoints=endpoints, record=folder), lambda *_: None)
    task = asyncio.create_task(live.run())
    while not task.done() and (len(live.lines) < 2 or not all(line.sink.synced for line in live.lines)):  # noqa: ASYNC110 - a live run has no event for it
        await asyncio.sleep(0.02)
    return live, task


def test_a_recording_that_fails_costs_the_other_one_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Simulator([OKX], speed=4.0, start="first") as sim:
            live, task = await two_okx(sim, tmp_path)
            first, second = (line.recorder for line in live.lines)
            assert isinstance(first, Recorder)
            assert isinstance(second, Recorder)
            first.error = "the disk of the first is full"
            with pytest.raises(CwtsError, match="the disk of the first is full"):
                await asyncio.wait_for(task, 60)
            assert check(second.files[0]).frames == live.lines[1].sink.frames > 0

    asyncio.run(main())


def test_what_fails_in_the_beat_ends_the_run(tmp_path: Path) -> None:
    """Else nothing would end it: not the duration, not a full disk."""

    async def main() -> None:
        async with Simulator([OKX], speed=4.0, start="first") as sim:
            live, task = await two_okx(sim, tmp_path)

            def show() -> None:
                raise ZeroDivisionError("a defect of ours")

            live.show = show
            await asyncio.wait({task}, timeout=WAIT_S)
            assert task.done()
            assert isinstance(task.exception(), ZeroDivisionError)
            assert [check(line.recorder.files[0]).frames for line in live.lines if line.recorder] == [
                line.sink.frames for line in live.lines
            ]

    asyncio.run(main())


def test_the_dashboard_says_which_one_is_given_up(tmp_path: Path) -> None:
    from rich.console import Console

    from cwts.dashboard import Dashboard

    async def main() -> str:
        async with Simulator([OKX], speed=4.0, start="first", loop=True) as sim:
            live, task = await two_okx(sim, tmp_path)
            sim.fault("delist", symbol="UNI-USD-SWAP")
            sim.fault("cut")
            while not task.done() and not (live.session.books[1].given_up and live.lines[0].sink.synced):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            dashboard = Dashboard()
            dashboard._live = live
            console = Console(width=160, record=True, file=io.StringIO())
            console.print(dashboard.render())
            live.stop()
            await task
            return console.export_text()

    rows = {line.split()[0]: line for line in asyncio.run(main()).splitlines() if line.split()}
    assert "given up" in rows["UNI-USD-SWAP"]
    assert "given up" not in rows["BTC-USDT"]


def test_record_export_and_import(tmp_path: Path) -> None:
    async def main() -> None:
        async with Simulator([SPOT], speed=4.0, start="first", lines=1000) as sim:
            process = await start(
                "record", "--exchange", "binance", "--symbol", "BTCUSDT", "--simulate", f"ws://127.0.0.1:{sim.port}",
                "--out", tmp_path / "a", "--plain", "--duration", 5,
            )  # fmt: skip
            assert (await end_of(process))[0] == 0

    asyncio.run(main())
    recording = next((tmp_path / "a").glob("*.cwts"))
    assert "messages written" in cwts("export", recording, "--out", tmp_path / "lines.gz").stdout
    arguments = ("--exchange", "binance", "--symbol", "BTCUSDT")
    assert cwts("import", tmp_path / "lines.gz", *arguments, "--out", tmp_path / "b").returncode == 0
    by_lines = cwts("replay", tmp_path / "lines.gz", *arguments, "--json").stdout
    by_frames = cwts("replay", tmp_path / "b", *arguments, "--json").stdout
    one, two = (json.loads(text.splitlines()[-1]) for text in (by_lines, by_frames))
    assert one["book_sha256"] == two["book_sha256"]
    assert one["block_sha256"] == two["block_sha256"]
    assert one["synced"]
    wrong = cwts("export", SPOT)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
