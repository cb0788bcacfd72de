"""Builds the kernel for WebAssembly: the wheel that Pyodide loads, and the bare module that wasmtime loads.

Owns the Emscripten flags and the shape of the wheel. What the kernel exports is not listed here: it is read from
``cwts.h`` (everything declared ``CWTS_API``). The wheel is for our own site; ``pyodide build`` makes one to publish.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "native_ext" / "kernel"
MODULE = ROOT / "native_ext" / "module.c"
DRIVER = ROOT / "wasm_ext" / "driver.c"
PACKAGE = ROOT / "app" / "cwts"
BUILD = ROOT / "build" / "wasm"
PYODIDE_STDLIB = ROOT / "web" / "node_modules" / "pyodide" / "python_stdlib.zip"

WHEEL_TAG = "cp311-abi3-pyemscripten_2026_0_wasm32"
MEMORY_BYTES = 64 << 20  # of the bare module: fixed, so memory.grow can never succeed
STACK_BYTES = 1 << 20
DRIVER_EXPORTS = ["cwts_feed_each"]
ALLOWED_IMPORTS = {"wasi_snapshot_preview1.clock_time_get"}  # the driver's clock; the kernel itself imports nothing

# The same for both wasm targets, and the same floating-point rules as the native build in pyproject.toml.
COMPILE_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-msimd128",
    "-mbulk-memory",  # without it emcc 3.1.6 makes memmove a loop over bytes
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-bitwise-instead-of-logical",  # without a branch, on purpose
]


class BuildError(Exception):
    """One line that says what is missing or wrong."""


def project() -> dict[str, Any]:
    """Return the ``[project]`` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def kernel_exports() -> list[str]:
    """Return the names of the functions that ``cwts.h`` declares ``CWTS_API``, sorted."""
    header = (KERNEL / "cwts.h").read_text(encoding="utf-8")
    header = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header, flags=re.DOTALL)
    header = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", "", header, flags=re.MULTILINE)
    names = sorted(set(re.findall(r"\bCWTS_API\b[^;{(]*?\b(\w+)\s*\(", header)))
    if not names:
        raise BuildError(f"{KERNEL / 'cwts.h'}: no function is declared CWTS_API")
    return names


def emcc(arguments: list[str]) -> None:
    """Run emcc. Debian's keeps its libraries in a frozen, read-only cache; others fill their own on first use."""
    program = os.environ.get("EMCC", "emcc")
    if shutil.which(program) is None:
        raise BuildError(f"{program} not found: install Emscripten (Debian: apt-get install emscripten)")
    # emcc is a Python program: what points our Python somewhere must not reach it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"emcc failed:\n{done.stdout}{done.stderr}".rstrip())


def write_pyconfig(path: Path) -> None:
    """Write the 32-bit ``pyconfig.h`` from what Pyodide's own build recorded; the host's is 64-bit."""
    if not PYODIDE_STDLIB.is_file():
        raise BuildError(f"{PYODIDE_STDLIB.relative_to(ROOT)} is missing: run npm ci in web/")
    with zipfile.ZipFile(PYODIDE_STDLIB) as stdlib:
        source = stdlib.read("_sysconfigdata__emscripten_wasm32-emscripten.py").decode()
    namespace: dict[str, Any] = {}
    exec(compile(source, "_sysconfigdata", "exec"), namespace)
    recorded: dict[str, object] = namespace["build_time_vars"]
    lines = [
        "/* From Pyodide's _sysconfigdata, by wasm_ext/build.py. */",
        "#ifndef Py_PYCONFIG_H",
        "#define Py_PYCONFIG_H",
    ]
    wanted = re.compile(r"(SIZEOF|ALIGNOF|HAVE)_\w+|WORDS_BIGENDIAN|PY_FORMAT_SIZE_T|WITH_DOC_STRINGS")
    lines += [
        f"#define {key} {value}"
        for key, value in sorted(recorded.items())
        if wanted.fullmatch(key) and value not in (0, "")
    ]
    lines.append("#endif")
    if not any(line == "#define SIZEOF_VOID_P 4" for line in lines):
        raise BuildError("Pyodide's _sysconfigdata does not describe a 32-bit build")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build_side_module(output: Path) -> None:
    """Build the extension that Pyodide loads. The host's CPython headers do: the limited API is the same for all."""
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").is_file():
        raise BuildError(f"{include}/Python.h is missing: install the headers of this Python (Debian: python3-dev)")
    # Python.h takes the pyconfig.h beside itself: so the headers, but not theirs, stand in a folder with ours.
    headers = BUILD / "include"
    shutil.rmtree(headers, ignore_errors=True)
    headers.mkdir(parents=True)
    for entry in include.iterdir():
        if entry.name != "pyconfig.h":
            (headers / entry.name).symlink_to(entry)
    write_pyconfig(headers / "pyconfig.h")
    emcc(
        [
            *COMPILE_FLAGS,
            "-fPIC",
            "-DPy_LIMITED_API=0x030b0000",
            f"-I{headers}",
            f"-I{KERNEL}",
            str(MODULE),
            str(KERNEL / "kernel.c"),
            "-sSIDE_MODULE=2",
            "-sWASM_BIGINT=1",  # without it a call with an int64 parameter crashes
            "-sEXPORTED_FUNCTIONS=_PyInit__kernel",
            "-o",
            str(output),
        ]
    )
    undefined = [name for name in wasm_names(output.read_bytes())[0] if name.startswith("env.cwts")]
    if undefined:
        output.unlink()
        raise BuildError(f"kernel.c does not define {', '.join(undefined)}")


def build_standalone(output: Path) -> None:
    """Build the bare module: the kernel's and the driver's functions, one exported memory, a clock, no allocator."""
    exports = [*kernel_exports(), *DRIVER_EXPORTS]
    emcc(
        [
            *COMPILE_FLAGS,
            f"-I{KERNEL}",
            str(KERNEL / "kernel.c"),
            str(DRIVER),
            "-sSTANDALONE_WASM=1",
            "--no-entry",
            "-sWASM_BIGINT=1",
            "-sMALLOC=none",
            f"-sINITIAL_MEMORY={MEMORY_BYTES}",
            "-sALLOW_MEMORY_GROWTH=0",
            f"-sTOTAL_STACK={STACK_BYTES}",
            "-sEXPORTED_FUNCTIONS=" + ",".join("_" + name for name in exports),
            "-Wl,--export=__heap_base",
            "-o",
            str(output),
        ]
    )
    output.chmod(0o644)
    check_standalone(output.read_bytes(), exports)


def read_uleb(data: bytes, position: int) -> tuple[int, int]:
    """Read one unsigned LEB128 number; return it and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def wasm_names(data: bytes) -> tuple[list[str], list[str]]:
    """Return a module's imports (``module.field``) and exports."""
    imports: list[str] = []
    exports: list[str] = []
    position = 8
    while position < len(data):
        section = data[position]
        size, position = read_uleb(data, position + 1)
        body, position = data[position : position + size], position + size
        if section == 2:
            imports = _import_names(body)
        elif section == 7:
            count, at = read_uleb(body, 0)
            for _ in range(count):
                length, at = read_uleb(body, at)
                exports.append(body[at : at + length].decode())
                _, at = read_uleb(body, at + length + 1)
    return imports, exports


def _import_names(body: bytes) -> list[str]:
    names = []
    count, at = read_uleb(body, 0)
    for _ in range(count):
        parts = []
        for _ in range(2):
            length, at = read_uleb(body, at)
            parts.append(body[at : at + length].decode())
            at += length
        names.append(".".join(parts))
        kind, at = body[at], at + 1
        if kind == 0:  # function: type index
            _, at = read_uleb(body, at)
        elif kind == 3:  # global: type, mutability
            at += 2
        else:  # table (with its element type) and memory: limits
            at += kind == 1
            flags, at = body[at], at + 1
            for _ in range(1 + (flags & 1)):
                _, at = read_uleb(body, at)
    return names


def check_standalone(data: bytes, functions: list[str]) -> None:
    """Refuse a bare module that needs a host, lacks a function, or brought an allocator along."""
    imports, exports = wasm_names(data)
    if unwanted := sorted(set(imports) - ALLOWED_IMPORTS):
        raise BuildError(f"kernel.wasm must import nothing but a clock, but it imports {', '.join(unwanted)}")
    missing = sorted({*functions, "memory", "__heap_base"} - set(exports))
    if missing:
        raise BuildError(f"kernel.wasm does not export {', '.join(missing)}")
    allocator = sorted({"malloc", "free", "calloc", "realloc", "sbrk"} & set(exports))
    if allocator:
        raise BuildError(f"kernel.wasm contains an allocator: {', '.join(allocator)}")


def metadata() -> str:
    """Return the wheel's METADATA from pyproject.toml."""
    table = project()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {table['name']}",
        f"Version: {table['version']}",
        f"Summary: {table['description']}",
        *(f"Author: {author['name']}" for author in table["authors"]),
        f"License-Expression: {table['license']}",
        *(f"License-File: {name}" for name in table["license-files"]),
        *(f"Classifier: {name}" for name in table["classifiers"]),
        f"Requires-Python: {table['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in table["dependencies"]),
    ]
    for extra, requirements in table["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            name, _, marker = (part.strip() for part in requirement.partition(";"))
            condition = f'({marker}) and extra == "{extra}"' if marker else f'extra == "{extra}"'
            lines.append(f"Requires-Dist: {name}; {condition}")
    return "\n".join(lines) + "\n"


def package_files() -> list[Path]:
    """Return the files of the Python package that belong in every wheel, sorted."""
    left_out = {".so", ".wasm", ".pyc", ".pyd"}
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in left_out and "__pycache__" not in path.parts
    )


def pack_wheel(extension: Path, directory: Path) -> Path:
    """Pack the Python package with the side module into a wheel; the same input gives the same bytes."""
    table = project()
    stem = f"{table['name']}-{table['version']}"
    info = f"{stem}.dist-info"
    scripts = "".join(f"{name} = {target}\n" for name, target in sorted(table["scripts"].items()))
    content = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in package_files()}
    content["cwts/_kernel.abi3.so"] = extension.read_bytes()
    content[f"{info}/METADATA"] = metadata().encode()
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: cwts wasm_ext\nRoot-Is-Purelib: false\nTag: {WHEEL_TAG}\n".encode()
    )
    content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    for name in table["license-files"]:
        content[f"{info}/licenses/{name}"] = (ROOT / name).read_bytes()
    record = "".join(f"{name},sha256={record_digest(data)},{len(data)}\n" for name, data in sorted(content.items()))
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"{table['name']}-*.whl"):
        old.unlink()
    wheel = directory / f"{stem}-{WHEEL_TAG}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(
            content, key=lambda name: (name.startswith(info), name)
        ):  # dist-info last, as PEP 427 advises
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content[name])
    return wheel


def record_digest(data: bytes) -> str:
    """Return a SHA-256 as RECORD wants it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def newer_than(output: Path, inputs: list[Path]) -> bool:
    """Whether the output exists and no input changed after it."""
    return output.is_file() and all(path.stat().st_mtime <= output.stat().st_mtime for path in inputs)


def main() -> int:
    """Build what the command line names; print each file made."""
    parser = argparse.ArgumentParser(description="Build the kernel for WebAssembly.")
    parser.add_argument("what", nargs="*", help="wheel (for Pyodide), standalone (for wasmtime); both if left out")
    parser.add_argument("--force", action="store_true", help="compile even if no source changed")
    arguments = parser.parse_args()
    what = arguments.what or ["standalone", "wheel"]
    if unknown := set(what) - {"standalone", "wheel"}:
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")
    sources = [*sorted(KERNEL.glob("*.[ch]")), MODULE, DRIVER, Path(__file__)]
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        if "standalone" in what:
            output = PACKAGE / "kernel.wasm"
            if arguments.force or not newer_than(output, sources):
                build_standalone(output)
            print(output.relative_to(ROOT))
        if "wheel" in what:
            extension = BUILD / "_kernel.abi3.so"
            if arguments.force or not newer_than(extension, sources):
                build_side_module(extension)
            print(pack_wheel(extension, ROOT / "build" / "wheels").relative_to(ROOT))
    except (BuildError, OSError) as error:
        print(f"wasm_ext: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
