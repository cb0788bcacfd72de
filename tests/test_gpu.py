"""The networks over histories: every device's answers against the kernel's, and what is said where there is no device.

The shader runs natively where Vulkan, Metal or DirectX has an adapter, a software one will do (Debian:
mesa-vulkan-drivers). Chromium runs the same text in e2e/test_gpu.py.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts import browser, gpu, networks
from cwts.cli import main
from cwts.gpu import base, bench, cupy_host, history
from cwts.gpu.simd_host import SimdNetworks
from cwts.kernel import Engine, layout
from cwts.recording import FRAME, Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cwts.gpu.wgpu_host import WgpuNetworks

pytestmark = pytest.mark.native
USDM = "binance-usdm-btcusdt-20240808.gz"
OKX = "okx-books-trades-tickers-20220513.gz"
NAMED = ["--exchange", "binance-usdm", "--symbol", "BTCUSDT"]


def some_weights(seed: int, *names: str, value: float = 1.0) -> bytes:
    """Random networks; `value`: how large that network's answers are."""
    rng = np.random.default_rng(seed)
    made = {
        name: networks.network(
            name, mean=rng.normal(size=16), scale=np.exp(rng.normal(size=16)), w1=rng.normal(size=(16, 8)) / 4,
            b1=rng.normal(size=8), w2=rng.normal(size=(count, 8)) * (value if name == "value" else 0.5),
            b2=rng.normal(size=count), limit=4.0,
        )
        for name, count in networks.OUTPUTS.items() if name in (names or networks.OUTPUTS)
    }  # fmt: skip
    return base.packed(networks.Weights(made))


def some_rows(count: int, seed: int = 1, spread: float = 2.0) -> Any:
    return (np.random.default_rng(seed).normal(size=(count, 16)) * spread).astype(np.float32)


def assert_agreement(answers: Any, weights: bytes, rows: Any) -> None:
    found = history.agreement(answers, SimdNetworks().run(weights, rows))
    assert found["agrees"], found


@pytest.fixture(scope="module")
def recorded(data: Path) -> tuple[Any, Any]:
    setup = prepare(Recording(data / USDM), "binance-usdm", "BTCUSDT")
    return history.features_on_grid(Recording(data / USDM).batches(), Engine(setup.config), 100)


@pytest.fixture(scope="module")
def device() -> WgpuNetworks:
    from cwts.gpu.wgpu_host import WgpuNetworks

    try:
        return WgpuNetworks()
    except base.BatchError as error:
        message = str(error)
    assert message.startswith(("no GPU adapter was found", "the GPU needs the package wgpu"))
    pytest.skip(message)


# -- the shader, natively ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1025, 70_001])
def test_the_shader_agrees_with_the_kernel(device: WgpuNetworks, count: int) -> None:
    weights, rows = some_weights(count), some_rows(count)
    answers = device.run(weights, rows)
    assert answers.shape == (count, base.ANSWERS)
    assert_agreement(answers, weights, rows)


def test_on_a_real_recording_with_the_shipped_weights(device: WgpuNetworks, recorded: tuple[Any, Any]) -> None:
    weights = base.packed(networks.load())
    assert len(recorded[1]) > 3000
    assert_agreement(device.run(weights, recorded[1]), weights, recorded[1])


def test_large_answers_agree_and_have_the_kernel_s_limit(device: WgpuNetworks) -> None:
    weights, rows = some_weights(3, value=5.0), some_rows(5000)
    assert_agreement(device.run(weights, rows), weights, rows)
    weights = some_weights(3, value=300.0)  # terms of thousands that cancel: float32 leaves what their size allows
    answers, reference = device.run(weights, rows)[:, 4], SimdNetworks().run(weights, rows)[:, 4]
    assert np.abs(answers - reference).max() < 1e-6 * base.VALUE_LIMIT
    assert (np.abs(answers) == base.VALUE_LIMIT).any()


@pytest.mark.parametrize("spread", [0.0, 1e-30, 1e6, 1e30])
def test_features_of_any_size_agree(device: WgpuNetworks, spread: float) -> None:
    weights, rows = some_weights(4), some_rows(200, spread=spread)
    assert_agreement(device.run(weights, rows), weights, rows)


@pytest.mark.parametrize("names", [("cascade",), ("whale",), ("value",), ("cascade", "value")])
def test_a_network_that_is_not_loaded_says_0(device: WgpuNetworks, names: tuple[str, ...]) -> None:
    weights, rows = some_weights(5, *names), some_rows(100)
    answers = device.run(weights, rows)
    columns = {"cascade": [0, 1], "whale": [2, 3], "value": [4]}
    for name, of in columns.items():
        assert bool(answers[:, of].any()) == (name in names)
    assert_agreement(answers, weights, rows)
    assert not device.run(bytes(len(weights)), rows).any()


def test_passes_within_the_device_s_limits_give_the_same_answers(
    device: WgpuNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, rows = some_weights(6), some_rows(2500)
    whole = device.run(weights, rows)
    monkeypatch.setattr(device, "most_rows", 999)
    assert device.run(weights, rows).tobytes() == whole.tobytes()


def test_smaller_batches_keep_the_buffers(device: WgpuNetworks) -> None:
    weights = some_weights(7)
    device.run(weights, some_rows(3000))
    kept = dict(device._buffers)
    for count in (3000, 1, 200):
        rows = some_rows(count, seed=count)
        assert_agreement(device.run(weights, rows), weights, rows)
    assert device._buffers == kept


def test_a_shader_that_does_not_compile_is_one_line(device: WgpuNetworks) -> None:
    from cwts.gpu.wgpu_host import WgpuNetworks

    with pytest.raises(base.BatchError, match=r"^the GPU cannot be used: .*") as caught:
        WgpuNetworks(shader=base.source("networks.wgsl").replace("fn run", "fn run run"))
    assert "\n" not in str(caught.value)


def test_a_device_that_is_lost_leaves_the_work_to_simd(device: WgpuNetworks, monkeypatch: pytest.MonkeyPatch) -> None:
    other = type(device)()
    weights, rows = some_weights(8), some_rows(50)
    other.run(weights, rows)
    other.device.destroy()
    monkeypatch.setattr(gpu, "open_networks", lambda _: other)
    told: list[str] = []
    answers, name = gpu.run_networks(weights, rows, "wgpu", told.append)
    assert name == "SIMD"
    assert len(told) == 1
    assert told[0].startswith("the GPU failed: ")
    assert told[0].endswith("lost; the work is done by SIMD")
    assert answers.tobytes() == SimdNetworks().run(weights, rows).tobytes()


# -- without a device -------------------------------------------------------------------------------------------------


def no_package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)


def no_adapter(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    wgpu = pytest.importorskip("wgpu")
    monkeypatch.setattr(type(wgpu.gpu), "request_adapter_sync", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("asked", "take", "package", "message"),
    [
        ("wgpu", no_package, "wgpu", "the GPU needs the package wgpu ("),
        ("wgpu", no_adapter, "wgpu", "no GPU adapter was found"),
        ("cuda", no_package, "cupy", "CUDA needs the package cupy ("),
    ],
)
def test_a_device_that_is_missing_is_said_once_and_simd_works(
    asked: str, take: Callable[..., None], package: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, package)
    told: list[str] = []
    weights, rows = some_weights(9), some_rows(10)
    answers, name = gpu.run_networks(weights, rows, asked, told.append)
    assert name == "SIMD"
    assert len(told) == 1
    assert told[0].startswith(message)
    assert told[0].endswith("; the work is done by SIMD")
    assert answers.tobytes() == SimdNetworks().run(weights, rows).tobytes()


def test_auto_without_any_device_is_simd_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    no_package(monkeypatch, "wgpu")
    no_package(monkeypatch, "cupy")
    told: list[str] = []
    assert gpu.run_networks(some_weights(1), some_rows(3), tell=told.append)[1] == "SIMD"
    assert not told


def test_a_batch_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="3 networks of 768 bytes"):
        SimdNetworks().run(b"", some_rows(3))
    with pytest.raises(ValueError, match="16 float32 features"):
        SimdNetworks().run(some_weights(1), some_rows(4).reshape(8, 8))


# -- CUDA: the same text as C++ with CUDA's words taken out, a thread after the other ----------------------------------

STUBS = """
#include <math.h>
#include <stddef.h>
#include <string.h>
#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
#define __syncthreads()
static struct { unsigned int x; } threadIdx, blockDim = {1}, blockIdx;
static unsigned int __float_as_uint(float v) { unsigned int word; memcpy(&word, &v, 4); return word; }
"""
LOOP = """
extern "C" void all(const float *weights, const float *features, float *answers, unsigned int rows) {
    for (blockIdx.x = 0; blockIdx.x < rows + 3; blockIdx.x++) run(weights, features, answers, rows);
}
"""


@pytest.mark.parametrize("names", [(), ("whale",)])
def test_the_cuda_text_computes_what_the_kernel_does(names: tuple[str, ...], tmp_path: Path) -> None:
    import ctypes

    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source, library = tmp_path / "networks.cpp", tmp_path / "networks.so"
    source.write_text(STUBS + cupy_host.cuda_source() + LOOP, encoding="utf-8")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-shared", "-fPIC"]
    done = subprocess.run([*command, source, "-o", library], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights, rows = some_weights(11, *names, value=5.0), some_rows(3000)
    given = np.frombuffer(weights, np.float32)
    answers = np.full((len(rows), base.ANSWERS), np.nan, np.float32)
    ctypes.CDLL(str(library)).all(given.ctypes, rows.ctypes, answers.ctypes, len(rows))
    assert_agreement(answers, weights, rows)


def test_nvcc_takes_the_cuda_text(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    source = tmp_path / "networks.cu"
    source.write_text(cupy_host.cuda_source(), encoding="utf-8")
    done = subprocess.run([nvcc, "-ptx", "-o", tmp_path / "ptx", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_cuda_agrees_with_the_kernel() -> None:
    try:
        device = gpu.open_networks("cuda")
    except base.BatchError as error:
        pytest.skip(str(error))
    weights, rows = some_weights(12), some_rows(70_001)
    assert_agreement(device.run(weights, rows), weights, rows)


# -- whole recordings -------------------------------------------------------------------------------------------------


def test_the_grid_s_rows_are_the_engine_s_features_at_those_times(recorded: tuple[Any, Any], data: Path) -> None:
    times, rows = recorded
    assert (np.diff(times) > 0).all()
    assert not (times % 100_000_000).any()
    setup = prepare(Recording(data / USDM), "binance-usdm", "BTCUSDT")
    engine = Engine(setup.config)
    wanted = dict(zip(times[:500].tolist(), rows[:500], strict=True))
    for batch in Recording(data / USDM).batches():
        at = 0
        while at < len(batch) and wanted:
            ns, length = FRAME.unpack_from(batch, at)[:2]
            while wanted and (due := next(iter(wanted))) <= ns:
                assert engine.view["features"]["value"].tobytes() == wanted.pop(due).tobytes()
            end = at + FRAME.size + (length + 7 & ~7)
            engine.feed(memoryview(batch)[at:end])
            at = end
    assert not wanted


def test_the_grid_tells_prices_and_where_the_book_was_not_valid(data: Path) -> None:
    """The book is reset a second after the first pass, and valid again from the second one's first snapshot on."""
    recording = Recording(data / OKX)
    setup = prepare(recording, "okx", "BTC-USDT")
    batches = list(recording.batches())
    once = history.Grid(setup.engine(), 100)
    for batch in batches:
        once.feed(batch)
    times, mids, rows = once.columns()
    assert once.breaks == []
    assert len(times) == len(mids) == len(rows)
    assert int(once.engine.view["published"]["snapshot"]["mid_e8"]) == mids[-1] > 0

    later = (setup.survey.last_ns - setup.survey.first_ns) // 10**9 * 10**9 + 4 * 10**9  # whole steps
    reset = FRAME.pack(setup.survey.last_ns + 10**9, 8, 0, 2) + layout.CommandOp.RESET_BOOK.to_bytes(8, "little")
    tick = FRAME.pack(setup.survey.last_ns + 2 * 10**9, 0, 0, 1)
    again = history.Grid(setup.engine(), 100)
    for batch in (*batches, reset + tick, *(shifted(batch, later) for batch in batches)):
        again.feed(batch)
    found = again.columns()
    (at,) = again.breaks
    assert at == len(times)
    assert found[1][:at].tolist() == mids.tolist()
    assert found[0][at] - found[0][at - 1] > 2 * 10**9
    assert found[1][at:].tolist() == mids.tolist()


def shifted(batch: bytes | bytearray, ns: int) -> bytes:
    """The same frames, so much later."""
    moved, at = bytearray(batch), 0
    while at < len(moved):
        recv, length = FRAME.unpack_from(moved, at)[:2]
        struct.pack_into("<q", moved, at, recv + ns)
        at += FRAME.size + (length + 7 & ~7)
    return bytes(moved)


def test_the_page_reads_a_recording_in_pieces(data: Path, monkeypatch: pytest.MonkeyPatch, recorded: Any) -> None:
    """`cwts.browser.History`: how far it is, then the same rows; without a recording, one line."""
    monkeypatch.setattr(browser, "FILE", data / USDM)
    opened = json.loads(browser.open_recording("r", "binance-usdm", "BTCUSDT", lambda _: None, ""))
    assert "error" not in opened
    reading = browser.History(100)
    shares = list(reading.read())
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.2
    assert shares[-1] > 0.95
    found = json.loads(reading.found())
    assert (found["rows"], found["breaks"]) == (len(recorded[0]), [])

    json.loads(browser.open_recording("r", "okx", "BTC-USDT", lambda _: None, ""))
    reading = browser.History(100)
    assert list(reading.read()) == []
    assert json.loads(reading.found()) == {"error": "no recording is open"}


def test_the_answers_are_the_engine_s_own_signals(data: Path) -> None:
    setup = prepare(Recording(data / USDM), "binance-usdm", "BTCUSDT")
    engine, weights = Engine(setup.config), networks.load()
    engine.feed(networks.load_frames(weights))
    batch = next(Recording(data / USDM).batches())
    _, rows = history.features_on_grid([batch], engine, 60_000)
    last = slice(int(layout.Signal.CASCADE_UP), int(layout.Signal.CASCADE_UP) + base.ANSWERS)
    answers = SimdNetworks().run(base.packed(weights), rows[-1:])
    assert answers[0].tobytes() == engine.view["signals"]["value"][last].tobytes()


def test_the_command_says_who_computed_what(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_package(monkeypatch, "cupy")
    asked = ["networks", str(data / USDM), *NAMED, "--step-ms", "1000", "--device", "cuda"]
    assert main([*asked, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["computed_by"] == "SIMD"
    assert found["agrees"]
    assert 330 < found["rows"] < 350
    assert err.startswith("cwts: CUDA needs the package cupy")
    assert len(err.splitlines()) == 1
    networks.save(tmp_path / "weights.json", networks.Weights({"value": networks.load().networks["value"]}))
    assert main([*asked, "--weights", str(tmp_path / "weights.json")]) == 0
    text = capsys.readouterr().out
    assert "agrees with SIMD" in text
    assert "cascade up          0.00000     0.00000" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "abacus"], "invalid choice: 'abacus'"),
        (["--step-ms", "0"], "milliseconds from 1 to 3600000"),
        (["--weights", "/nowhere"], "/nowhere: No such file"),
        (["--instruments", "/nowhere"], "/nowhere: No such file"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["networks", str(data / USDM), *NAMED, *options])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_command_takes_an_instruments_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = data / "binance-usdm-exchangeInfo-202508.json"
    asked = ["networks", str(data / USDM), *NAMED, "--step-ms", "1000", "--device", "simd", "--json"]
    assert main([*asked, "--instruments", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] > 330
    assert main([*asked, "--instruments", str(data / "okx-instruments-2022.json")]) == 2
    assert "no list of instruments" in capsys.readouterr().err


def test_a_recording_whose_book_was_never_valid_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["networks", str(data / "binance-spot-btcusdt-20240809.gz"), "--exchange", "binance", "--symbol", "BTCUSDT"]
    assert main([*asked, "--device", "simd", "--json"]) == 0
    out, err = capsys.readouterr()
    note = "there is no snapshot of the book in the recording: the book was never valid"
    assert (json.loads(out)["rows"], json.loads(out)["notes"], err) == (0, [note], f"cwts: {note}\n")


# -- the bench's section ----------------------------------------------------------------------------------------------


def test_a_device_pays_from_where_it_stays_faster() -> None:
    simd = {1: 10.0, 1000: 10.0, 1_000_000: 10.0}
    assert bench.pays_from({1: 1e6, 1000: 5.0, 1_000_000: 1.0}, simd) == 1000
    assert bench.pays_from({1: 1.0, 1000: 50.0, 1_000_000: 1.0}, simd) == 1_000_000
    assert bench.pays_from({1: 1.0, 1000: 1.0, 1_000_000: 11.0}, simd) is None


def test_the_bench_passes_over_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    no_package(monkeypatch, "wgpu")
    no_package(monkeypatch, "cupy")
    monkeypatch.setattr(bench, "SIZES", (1, 1_000, 1_000_000))
    monkeypatch.setattr(bench, "ROUNDS", 1)
    missing: dict[str, str] = {}
    found = bench.measure(missing)
    assert list(found) == ["simd"]
    assert set(missing) == {"gpu: wgpu", "gpu: cuda"}
    assert "SIMD" in bench.human(found)
