"""Measures the engine and its peers on one recording, in one run: `cwts bench`.

Everything is timed several times, in turns, and the medians are reported, so that what else the machine does falls on
all alike. What a message costs is measured twice: one at a time with a clock around each (less what the
clock itself costs), and in batches.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts import bench_transport
from cwts.config import Settings, build_config
from cwts.errors import CwtsError, InputError
from cwts.gpu import bench as bench_gpu
from cwts.kernel import Engine, layout
from cwts.recording import FRAME, Recording, payloads
from cwts.replay import Setup, prepare

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "tests" / "data" / "binance-usdm-btcusdt-20240808.gz"
EXCHANGE, SYMBOL = "binance-usdm", "BTCUSDT"
ROUNDS = 7
PAGE_RUNS = 3

# A tick's parts, each run with those before it; a stage costs what it adds.
STAGES = (
    ("parse", 0),
    ("book", layout.Part.BOOK),
    ("features", layout.Part.BOOK | layout.Part.FEATURES),
    ("decision", layout.Part.BOOK | layout.Part.FEATURES | layout.Part.DECISION),
    ("publish", layout.Part.BOOK | layout.Part.FEATURES | layout.Part.DECISION | layout.Part.PUBLISH),
    ("brain", layout.Part.ALL),
)
# One name a line in the table: (key, what it is).
ROWS = (
    ("native", "cwts, native: bytes to decision"),
    ("native_avx2", "cwts, native with AVX2 only"),
    ("wasmtime", "cwts, wasmtime: bytes to decision"),
    ("native_all", "cwts, native: all messages, trades and quotes too"),
    ("wasmtime_all", "cwts, wasmtime: all messages"),
    ("simdjson", "simdjson (C++): parse alone"),
    ("pysimdjson", "pysimdjson: parse alone, no objects"),
    ("orjson", "orjson: parse alone"),
    ("json", "json: parse alone"),
    ("orjson_order_book", "orjson + order_book (C): bytes to book, floats"),
    ("orjson_order_book_decimal", "orjson + order_book (C): bytes to book, Decimals"),
)

# (name, contender, contender, key): what is divided by what. A round times them side by side, because a machine has
# slow seconds that fall on one and spare the next.
PAIRS = (
    ("native_p50_to_simdjson_p50", "native", "simdjson", "p50"),
    ("native_batch_to_simdjson_batch", "native", "simdjson", "batch"),
    ("native_p50_to_pysimdjson_p50", "native", "pysimdjson", "p50"),
    ("native_avx2_p50_to_pysimdjson_p50", "native_avx2", "pysimdjson", "p50"),
    ("order_book_p50_to_native_p50", "orjson_order_book", "native", "p50"),
    ("order_book_decimal_p50_to_native_p50", "orjson_order_book_decimal", "native", "p50"),
    ("wasmtime_batch_to_native_batch", "wasmtime", "native", "batch"),
    ("wasmtime_batch_to_native_avx2_batch", "wasmtime", "native_avx2", "batch"),
    ("wasmtime_p50_to_simdjson_p50", "wasmtime", "simdjson", "p50"),
    ("wasmtime_batch_to_simdjson_batch", "wasmtime", "simdjson", "batch"),
)

Result = dict[str, float]


class _Work:
    """The recording as the contenders get it: what makes the book valid, and then what is timed."""

    def __init__(self) -> None:
        if not CAPTURE.is_file():
            raise InputError(f"cwts bench needs the source tree: {CAPTURE} is missing")
        recording = Recording(CAPTURE)
        self.setup: Setup = prepare(recording, EXCHANGE, SYMBOL)
        before, depth, rest = bytearray(), bytearray(), bytearray()
        self.snapshot = b""
        self.messages: list[bytes] = []
        self.count_all = 0
        for batch in recording.batches():
            for ns, view in payloads(batch):
                raw = bytes(view)
                frame = FRAME.pack(ns, len(raw), 0, 0) + raw + bytes(-len(raw) % 8)
                if not self.snapshot:
                    before += frame
                    self.snapshot = raw if b'"lastUpdateId"' in raw else b""
                    continue
                rest += frame
                self.count_all += 1
                if b'"depthUpdate"' in raw:
                    depth += frame
                    self.messages.append(raw)
        self.before, self.depth, self.all = bytes(before), bytes(depth), bytes(rest)

    def engine(self, kernel: str, parts: int = int(layout.Part.ALL)) -> Engine:
        """A fresh engine with a valid book."""
        setup = self.setup
        settings = Settings(parts=parts)
        config = build_config(setup.instrument, settings, setup.survey.reference_price)
        engine = replace(setup, config=config).engine(kernel)
        engine.feed(self.before)
        return engine


def _spread(ns: np.ndarray[Any, Any]) -> Result:
    return {"p50": float(np.median(ns)), "mean": float(np.mean(ns)), "p99": float(np.percentile(ns, 99))}


def _kernel(work: _Work, kernel: str, frames: bytes, count: int, parts: int = int(layout.Part.ALL)) -> Result:
    result = _spread(work.engine(kernel, parts).feed_each(frames, count))
    engine = work.engine(kernel, parts)
    pieces = _pieces(frames)
    began = time.perf_counter_ns()
    for piece in pieces:
        engine.feed(piece)
    return result | {"batch": (time.perf_counter_ns() - began) / count}


def _with_avx2(function: Callable[[], Result]) -> Callable[[], Result] | None:
    """The same without AVX-512; None where the best is not more than AVX2 anyway."""
    from cwts import _kernel

    if _kernel.isa() != "avx512":
        return None

    def run() -> Result:
        _kernel.isa("avx2")
        try:
            return function()
        finally:
            _kernel.isa("best")

    return run


def _pieces(frames: bytes, size: int = 1 << 18) -> list[memoryview]:
    """Whole frames in batches of about `size` bytes, as a burst or a recording brings them."""
    view, pieces, start, at = memoryview(frames), [], 0, 0
    while at < len(view):
        at += FRAME.size + (FRAME.unpack_from(view, at)[1] + 7 & ~7)
        if at - start >= size or at == len(view):
            pieces.append(view[start:at])
            start = at
    return pieces


def _each(work: _Work, function: Callable[[bytes], object], again: Callable[[bytes], object] | None = None) -> Result:
    """A Python peer: a call a message, timed one at a time, and all in a row (by `again`, where there is state)."""
    in_a_row = again or function
    clock = time.perf_counter_ns
    ns = np.empty(len(work.messages), np.int64)
    cost = min(-clock() + clock() for _ in range(1000))
    for index, message in enumerate(work.messages):
        began = clock()
        function(message)
        ns[index] = clock() - began - cost
    began = clock()
    for message in work.messages:
        in_a_row(message)
    return _spread(ns) | {"batch": (clock() - began) / len(work.messages)}


def _order_book(work: _Work, number: Callable[[str], Any]) -> Callable[[], Result]:
    """Levels into the book and no more: it sorts only when the best price is asked for, which it is not here."""
    import orjson
    from order_book import OrderBook

    def run() -> Result:
        def fresh() -> Callable[[bytes], None]:
            book = OrderBook()
            bids, asks, zero = book.bids, book.asks, number("0")
            start = orjson.loads(work.snapshot)
            for levels, side in ((start["bids"], bids), (start["asks"], asks)):
                for price, qty in levels:
                    side[number(price)] = number(qty)

            def apply(message: bytes) -> None:
                data = orjson.loads(message)
                data = data.get("data", data)
                for levels, side in ((data["b"], bids), (data["a"], asks)):
                    for price, qty in levels:
                        key, value = number(price), number(qty)
                        if value == zero:
                            if key in side:
                                del side[key]
                        else:
                            side[key] = value

            return apply

        return _each(work, fresh(), fresh())

    return run


def _simdjson(work: _Work, folder: Path) -> tuple[Callable[[], Result], str] | str:
    """The C++ library by itself, compiled here; or why not."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        return "no C++ compiler"
    program, data = folder / "simdjson_parse", folder / "messages"
    source = ROOT / "native_ext" / "bench" / "simdjson_parse.cpp"
    command = [compiler, "-O3", "-DNDEBUG", "-std=c++17", str(source), "-lsimdjson", "-o", str(program)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return "libsimdjson-dev is not installed"
    data.write_bytes(b"".join(len(message).to_bytes(4, "little") + message for message in work.messages))

    def measure() -> list[str]:
        return subprocess.run([program, data], capture_output=True, text=True, check=True).stdout.split()

    def run() -> Result:
        numbers = measure()[1:]
        return dict(zip(("p50", "mean", "p99", "batch"), map(float, numbers), strict=True))

    return run, measure()[0]


def _networks(folder: Path, missing: dict[str, str], versions: dict[str, str]) -> Result:
    """One inference here, in libfann and in onnxruntime, and the batch against the processor's peak."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        missing["networks"] = "no C compiler"
        return {}
    program, source = folder / "network", ROOT / "native_ext" / "bench" / "network.c"
    command = [compiler, "-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", str(source), "-o", str(program)]
    if subprocess.run([*command, "-DWITH_FANN", "-lfann"], capture_output=True, check=False).returncode:
        missing["libfann"] = "libfann-dev is not installed"
        if subprocess.run(command, capture_output=True, check=False).returncode:
            missing["networks"] = f"{source.name} does not compile here"
            return {}
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    found = {name: float(value) for name, value in (line.split() for line in lines)}
    found["batch_share_of_peak"] = round(found["rate_cascade"] / found["peak"], 3)
    try:
        import onnxruntime
    except ImportError:
        missing["onnxruntime"] = "not installed"
        return found
    versions["onnxruntime"] = onnxruntime.__version__
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx(), options, providers=["CPUExecutionProvider"])
    row = {"x": np.zeros((1, layout.FEATURE_COUNT), np.float32)}
    ns = np.empty(5000)
    for index in range(len(ns)):
        began = time.perf_counter_ns()
        session.run(None, row)
        ns[index] = time.perf_counter_ns() - began
    found["onnxruntime"] = float(np.median(ns))
    return found


def _onnx() -> bytes:
    """The cascade network's shape as an ONNX model, written by hand: the format is protobuf, and this is all of it."""

    def number(field: int, value: int) -> bytes:
        return _varint(field << 3) + _varint(value)

    def piece(field: int, data: bytes | str) -> bytes:
        data = data.encode() if isinstance(data, str) else data
        return _varint(field << 3 | 2) + _varint(len(data)) + data

    def tensor(name: str, *shape: int) -> bytes:
        values = np.random.default_rng(1).normal(size=shape).astype("<f4").tobytes()
        return b"".join(number(1, size) for size in shape) + number(2, 1) + piece(8, name) + piece(9, values)

    def node(kind: str, takes: str, gives: str) -> bytes:
        return b"".join(piece(1, name) for name in takes.split()) + piece(2, gives) + piece(4, kind)

    def value(name: str, *shape: int) -> bytes:
        dims = b"".join(piece(1, number(1, size)) for size in shape)
        return piece(1, name) + piece(2, piece(1, number(1, 1) + piece(2, dims)))

    nodes = (("Gemm", "x w1 b1", "a"), ("Relu", "a", "h"), ("Gemm", "h w2 b2", "z"), ("Sigmoid", "z", "y"))
    graph = b"".join(piece(1, node(*parts)) for parts in nodes) + piece(2, "network")
    for name, *shape in (("w1", 16, 8), ("b1", 8), ("w2", 8, 2), ("b2", 2)):
        graph += piece(5, tensor(str(name), *map(int, shape)))
    graph += piece(11, value("x", 1, 16)) + piece(12, value("y", 1, 2))
    return number(1, 8) + piece(7, graph) + piece(8, number(2, 13))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _peers(
    work: _Work, folder: Path, missing: dict[str, str], versions: dict[str, str]
) -> Iterator[tuple[str, Callable[[], Result]]]:
    from decimal import Decimal
    from importlib.metadata import version

    found = _simdjson(work, folder)
    if isinstance(found, str):
        missing["simdjson"] = found
    else:
        versions["simdjson"] = f"C++, {found[1]}"
        yield "simdjson", found[0]
    yield "json", lambda: _each(work, json.loads)
    try:
        import simdjson

        parser = simdjson.Parser()
        versions["pysimdjson"] = f"{version('pysimdjson')}, {parser.implementation[0]}"

        def parse(message: bytes) -> None:
            parser.parse(message)  # the document is gone at once, so the parser may be used again

        yield "pysimdjson", lambda: _each(work, parse)
    except ImportError:
        missing["pysimdjson"] = "not installed"
    try:
        import orjson

        versions["orjson"] = version("orjson")
        yield "orjson", lambda: _each(work, orjson.loads)
        yield "orjson_order_book", _order_book(work, float)
        yield "orjson_order_book_decimal", _order_book(work, Decimal)
        versions["order_book"] = version("order-book")
    except ImportError:
        missing["orjson, order_book"] = "not installed"


def _machine() -> dict[str, str | int]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"processor": model, "cores": os.cpu_count() or 0, "system": platform.platform(terse=True)}


def _compiler() -> str:
    """What the extension says it was compiled with: compilers leave their name in the file."""
    try:
        from cwts import _kernel

        data = Path(_kernel.__file__ or "").read_bytes()
    except (ImportError, OSError):
        return "unknown"
    for mark in (b"GCC: (", b"clang version "):
        if (at := data.find(mark)) >= 0:
            return data[at : data.index(b"\0", at)].decode(errors="replace").strip()
    return "unknown"


def _page(beside: dict[str, Callable[[], Result]], progress: Callable[[str], None]) -> dict[str, Any]:
    """The page's and Node's numbers, measured by `e2e/bench_page.py` with the environment that has Playwright.

    Of several runs the one in the middle. `to`: a depth message there to one of each that is timed right before and
    after, the median over the runs.
    """
    program = ROOT / "e2e" / "bench_page.py"
    python = ROOT / ".venv" / "bin" / "python"
    if not program.is_file() or not python.is_file():
        return {}
    page: dict[str, Any] = {}
    for where, flags in (("chromium", ()), ("node", ("--node",))):
        runs: list[dict[str, Any]] = []
        for turn in range(PAGE_RUNS):
            progress(f"{where}, run {turn + 1} of {PAGE_RUNS}")
            before = {name: run()["batch"] for name, run in beside.items()}
            done = subprocess.run([python, program, "--json", *flags], capture_output=True, text=True, check=False)
            try:
                measured = json.loads(done.stdout.strip().splitlines()[-1])
            except (IndexError, ValueError):
                page[where] = {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1]}
                break
            engine = measured["ns"]["depth"]["engine"]
            to = {name: 2 * engine / (before[name] + run()["batch"]) for name, run in beside.items()}
            runs.append(measured | {"to": to})
        else:
            runs.sort(key=lambda run: run["ns"]["depth"]["engine"])
            to = {name: round(statistics.median(run["to"][name] for run in runs), 2) for name in beside}
            page[where] = runs[PAGE_RUNS // 2] | {"to": to}
    return page


def measure(rounds: int = ROUNDS, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Runs all contenders in turns; returns medians in nanoseconds a message, and ratios."""
    work = _Work()
    count = len(work.messages)
    missing: dict[str, str] = {}
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    contenders: dict[str, Callable[[], Result]] = {}
    for kernel in ("native", "wasmtime"):
        try:
            work.engine(kernel)
        except InputError as error:
            missing[kernel] = str(error)
            continue
        contenders[kernel] = partial(_kernel, work, kernel, work.depth, count)
        contenders[f"{kernel}_all"] = partial(_kernel, work, kernel, work.all, work.count_all)
        for stage, parts in STAGES:
            contenders[f"{kernel}:{stage}"] = partial(_kernel, work, kernel, work.depth, count, int(parts))
    if "native" in contenders and (slower := _with_avx2(contenders["native"])):
        contenders["native_avx2"] = slower
    with tempfile.TemporaryDirectory() as folder:
        contenders.update(_peers(work, Path(folder), missing, versions))
        progress("networks")
        inference = _networks(Path(folder), missing, versions)
        runs: dict[str, list[Result]] = defaultdict(list)
        pairs: dict[tuple[str, str], list[tuple[Result, Result, Result]]] = defaultdict(list)
        kernels = [name for name in contenders if name.startswith(("native", "wasmtime"))]
        peers = [name for name in contenders if name not in kernels]
        for turn in range(rounds):  # the kernel three times a round, there and back: its parts differ by little
            order = [*kernels, *peers, *kernels[::-1], *kernels]
            for name in order if turn % 2 else order[::-1]:
                progress(f"round {turn + 1} of {rounds}: {name}")
                runs[name].append(contenders[name]())
            for above, below in dict.fromkeys((above, below) for _, above, below, _ in PAIRS):
                if above in contenders and below in contenders:
                    progress(f"round {turn + 1} of {rounds}: {above} and {below}")
                    pairs[above, below].append((contenders[above](), contenders[below](), contenders[above]()))
    medians = {
        name: {key: round(statistics.median(result[key] for result in results), 1) for key in results[0]}
        for name, results in runs.items()
    }
    result: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": _machine(),
        "compiler": _compiler(),
        "versions": versions,
        "recording": CAPTURE.name,
        "depth_messages": count,
        "messages": work.count_all,
        "bytes_per_depth_message": round(sum(map(len, work.messages)) / count),
        "rounds": rounds,
        "isa": work.engine("native").isa if "native" in medians else None,
        "ns": {name: medians[name] for name, _ in ROWS if name in medians},
        "stages": _stages(medians),
        "networks": inference,
        "missing": missing,
    }
    try:
        result["transport"] = bench_transport.measure(CAPTURE, progress=progress)
    except (CwtsError, OSError) as error:
        missing["transport"] = str(error)
    result["gpu"] = bench_gpu.measure(missing, progress)
    beside = {name: run for name, run in contenders.items() if name in ("native", "native_avx2")}
    result["page"] = _page(beside, progress)
    result["ratios"] = _ratios(pairs, result["page"])
    return result


def _stages(medians: dict[str, Result]) -> dict[str, dict[str, Result]]:
    """What each part of a tick adds: differences of runs with one part more."""
    stages: dict[str, dict[str, Result]] = {}
    for kernel in ("native", "wasmtime"):
        if kernel not in medians:
            continue
        before: Result = {"p50": 0.0, "mean": 0.0, "batch": 0.0}
        stages[kernel] = {}
        for stage, _ in STAGES:
            now = medians[f"{kernel}:{stage}"]
            stages[kernel][stage] = {key: round(now[key] - value, 1) for key, value in before.items()}
            before = {key: now[key] for key in before}
    return stages


def _ratios(
    pairs: dict[tuple[str, str], list[tuple[Result, Result, Result]]], page: dict[str, Any]
) -> dict[str, float]:
    """Medians over the rounds."""
    ratios: dict[str, float] = {}
    for name, above, below, key in PAIRS:
        if rounds := pairs.get((above, below)):
            ratios[name] = round(statistics.median((a[key] + c[key]) / 2 / b[key] for a, b, c in rounds), 2)
    for where, measured in page.items():
        for name, value in measured.get("to", {}).items():
            ratios[f"{where}_batch_to_{name}_batch"] = value
        for name, value in measured.get("ratio", {}).get("depth", {}).items():
            ratios[f"{where}_{name}_to_engine"] = value
    return ratios


def human(result: dict[str, Any]) -> str:
    """The result as tables for a person."""
    machine = result["machine"]
    lines = [
        f"{result['recording']}: {result['depth_messages']:,} depth messages",
        f"of {result['bytes_per_depth_message']:,} bytes in the mean",
        f"{result['date']}; {machine['processor']}, {machine['cores']} cores",
        f"{result['compiler']}; kernel {result['isa']}",
        "; ".join(f"{name} {version}" for name, version in result["versions"].items()),
        f"medians of {result['rounds']} rounds in turns, in nanoseconds a message",
        "",
        f"{'':<52}{'p50':>10}{'mean':>10}{'p99':>10}{'batch':>10}",
    ]
    for key, what in ROWS:
        if row := result["ns"].get(key):
            lines.append(f"{what:<52}" + "".join(f"{row[name]:>10,.0f}" for name in ("p50", "mean", "p99", "batch")))
    for kernel, stages in result["stages"].items():
        lines += ["", f"{f'what a part adds, {kernel}':<52}{'p50':>10}{'mean':>10}{'':>10}{'batch':>10}"]
        for stage, row in stages.items():
            lines.append(f"  {stage:<50}{row['p50']:>10,.0f}{row['mean']:>10,.0f}{'':>10}{row['batch']:>10,.0f}")
    if result["networks"]:
        lines += ["", "networks: ns a single inference (p50), ns a row of a batch, rate in operations a ns"]
        lines += [f"  {name.replace('_', ' '):<50}{value:>10.2f}" for name, value in result["networks"].items()]
    lines += ["", *(f"{name.replace('_', ' '):<52}{value:>10.2f}" for name, value in result["ratios"].items())]
    if "transport" in result:
        lines += ["", bench_transport.human(result["transport"]), ""]
    lines += ["", bench_gpu.human(result["gpu"]), ""]
    for where, measured in result["page"].items():
        what = measured.get("error") or (
            f"{measured['ns']['depth']['engine']:,} ns a depth message, {measured['userAgent']}"
        )
        lines.append(f"{where}: {what}")
    lines += [f"not measured: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(lines)


def main(args: argparse.Namespace) -> int:
    """`cwts bench [--json]`."""
    watched = sys.stderr.isatty()

    def progress(text: str) -> None:
        if watched:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    result = measure(progress=progress)
    if watched:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(json.dumps(result) if args.json else human(result))
    return 0
