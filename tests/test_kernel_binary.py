"""What the compiled kernel is made of: no allocator, no libm, no clock, and a memory of one size."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "emscripten", reason="compilers and processes are the host's")

ROOT = Path(__file__).resolve().parents[1]
KERNEL = ROOT / "native_ext" / "kernel"
MODULE = ROOT / "app" / "cwts" / "kernel.wasm"

# What compilers may put in for a loop or a structure; all else would be a dependency of the kernel.
ALLOWED = {"memcpy", "memmove", "memset", "memcmp", "bcmp", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wasm_build_under_test", ROOT / "wasm_ext" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flags() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    arguments: list[str] = project["tool"]["setuptools"]["ext-modules"][0]["extra-compile-args"]
    return arguments


@pytest.mark.native
@pytest.mark.parametrize("source", ["kernel.c", "kernel_avx2.c", "kernel_avx512.c"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_kernel_needs_no_function_of_a_library(compiler: str, source: str, tmp_path: Path) -> None:
    if not (shutil.which(compiler) and shutil.which("nm")):
        pytest.skip(f"needs {compiler} and nm")
    output = tmp_path / "kernel.o"
    subprocess.run([compiler, *flags(), "-fPIC", "-c", KERNEL / source, "-o", output], check=True)
    names = subprocess.run(
        ["nm", "--undefined-only", "--format=posix", output], capture_output=True, text=True, check=True
    ).stdout
    undefined = {line.split()[0] for line in names.splitlines()}
    assert undefined <= ALLOWED


@pytest.mark.native
def test_the_kernel_has_no_state_outside_the_block(tmp_path: Path) -> None:
    if not (shutil.which("gcc") and shutil.which("nm")):
        pytest.skip("needs gcc and nm")
    output = tmp_path / "kernel.o"
    subprocess.run(["gcc", *flags(), "-fPIC", "-c", KERNEL / "kernel.c", "-o", output], check=True)
    names = subprocess.run(["nm", "--format=posix", output], capture_output=True, text=True, check=True).stdout
    kinds = {line.split()[0]: line.split()[1] for line in names.splitlines()}
    assert [name for name, kind in kinds.items() if kind in "bBdDcC"] == []


def sections(data: bytes) -> dict[int, bytes]:
    builder = load_builder()
    found: dict[int, bytes] = {}
    position = 8
    while position < len(data):
        kind = data[position]
        size, position = builder.read_uleb(data, position + 1)
        found[kind] = data[position : position + size]
        position += size
    return found


def test_the_bare_module_imports_a_clock_at_most() -> None:
    builder = load_builder()
    imports, exports = builder.wasm_names(MODULE.read_bytes())
    assert set(imports) <= {"wasi_snapshot_preview1.clock_time_get"}
    assert {*builder.kernel_exports(), "cwts_feed_each", "memory"} <= set(exports)
    assert not {"malloc", "free", "sbrk"} & set(exports)


def test_the_bare_modules_memory_cannot_grow() -> None:
    builder = load_builder()
    body = sections(MODULE.read_bytes())[5]
    count, at = builder.read_uleb(body, 0)
    flag, at = body[at], at + 1
    least, at = builder.read_uleb(body, at)
    assert (count, flag) == (1, 1)  # one memory, and it has a maximum
    assert builder.read_uleb(body, at)[0] == least


@pytest.mark.native
def test_the_memory_does_not_grow_in_use(data: Path) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    from cwts.kernel.wasm import WasmKernel
    from cwts.recording import Recording
    from cwts.replay import prepare

    recording = Recording(data / "okx-books-trades-tickers-20220513.gz")
    setup = prepare(recording, "okx", "BTC-USD-220527")
    kernel = WasmKernel()
    memory = kernel._exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    before = memory.size(kernel._store)
    assert kernel.init(setup.config) == 0
    for batch in recording.batches():
        assert kernel.feed(batch) >= 0
    assert memory.size(kernel._store) == before
    with pytest.raises(wasmtime.WasmtimeError):
        memory.grow(kernel._store, 1)


@pytest.mark.native
def test_a_trap_is_raised_and_leaves_the_module_usable() -> None:
    wasmtime = pytest.importorskip("wasmtime")
    from cwts.config import Settings, build_config
    from cwts.instruments import guess_instrument
    from cwts.kernel.wasm import WasmKernel

    kernel = WasmKernel()
    feed = kernel._functions["cwts_feed"]
    assert kernel.init(build_config(guess_instrument("binance", "BTCUSDT", 2, 5), Settings())) == 0
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        feed(kernel._address, 0xFFFF0000, 1 << 15)  # frames beyond the end of the memory
    assert feed(kernel._address, kernel._transfer, 0) == 0
    with pytest.raises(TypeError, match="expected 3 arguments, got 1"):
        feed(kernel._address)


@pytest.mark.native
def test_a_decision_is_made_without_a_jump(tmp_path: Path) -> None:
    """The conditions become bits of one word: no branch that the market could make mispredict."""
    if not (shutil.which("gcc") and shutil.which("objdump")) or os.uname().machine != "x86_64":
        pytest.skip("needs gcc and objdump on x86-64")
    source, output = tmp_path / "decide.c", tmp_path / "decide.o"
    source.write_text(
        '#include "kernel.c"\n'
        "u32 decide_alone(cwts_block *k, i64 now, u32 pending, i64 position, i64 size, opinion o);\n"
        "u32 decide_alone(cwts_block *k, i64 now, u32 pending, i64 position, i64 size, opinion o) "
        "{ return decide(k, now, pending, position, size, o); }\n"
    )
    subprocess.run(["gcc", *flags(), f"-I{KERNEL}", "-c", source, "-o", output], check=True)
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "--disassemble=decide_alone", output],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    body = re.findall(r"^\s+[0-9a-f]+:\s+(\S+)", text, re.MULTILINE)
    assert body.count("ret") == 1
    assert [name for name in body if name.startswith(("j", "call", "loop"))] == []
