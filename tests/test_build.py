"""What the builders promise: one list of sources and exports, a reproducible wheel, a site as its manifest says."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from cwts.cli import build_parser

pytestmark = pytest.mark.skipif(sys.platform == "emscripten", reason="the builders run on the host")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_under_test", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


wasm = load("wasm_ext/build.py")


def test_every_kernel_file_is_a_source_or_a_dependency_of_the_extension() -> None:
    """Otherwise `pip install .` in a tree that was built before would keep the old object file."""
    (extension,) = PROJECT["tool"]["setuptools"]["ext-modules"]
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "native_ext" / "kernel").glob("*.[ch]")}
    assert there == {name for name in extension["sources"] + extension["depends"] if "/kernel/" in name}


def test_the_floating_point_rules_are_the_same_in_every_build() -> None:
    (extension,) = PROJECT["tool"]["setuptools"]["ext-modules"]
    rules = {flag for flag in wasm.COMPILE_FLAGS if flag.startswith(("-f", "-O", "-std"))}
    assert rules == {flag for flag in extension["extra-compile-args"] if flag.startswith(("-f", "-O", "-std"))}
    assert not [flag for flag in rules if "fast" in flag]


def test_exports_are_read_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = """
    #ifndef CWTS_API
    #define CWTS_API \\
        __attribute__((visibility("default")))
    #endif
    /* CWTS_API int in_a_comment(void); */
    CWTS_API uint32_t cwts_b(void); // CWTS_API int nor_here(void);
    CWTS_API const char *cwts_a(const uint8_t *x,
                                uint32_t n);
    static inline int cwts_private(void) { return 0; }
    """
    (tmp_path / "cwts.h").write_text(header)
    monkeypatch.setattr(wasm, "KERNEL", tmp_path)
    assert wasm.kernel_exports() == ["cwts_a", "cwts_b"]


def test_the_bare_module_needs_no_host_and_has_no_allocator() -> None:
    data = (ROOT / "app" / "cwts" / "kernel.wasm").read_bytes()
    wasm.check_standalone(data, wasm.kernel_exports())
    assert set(wasm.wasm_names(data)[0]) <= wasm.ALLOWED_IMPORTS


def test_the_bare_module_is_refused_if_it_imports() -> None:
    imports_f_from_env = bytes.fromhex("0061736d01000000 0104016000 00 0209 01 03656e76 0166 00 00".replace(" ", ""))
    assert wasm.wasm_names(imports_f_from_env)[0] == ["env.f"]
    with pytest.raises(wasm.BuildError, match=r"imports env\.f"):
        wasm.check_standalone(imports_f_from_env, [])


def test_the_wheel_is_complete_and_reproducible(tmp_path: Path) -> None:
    extension = tmp_path / "_kernel.abi3.so"
    extension.write_bytes(b"\0asm")
    first = wasm.pack_wheel(extension, tmp_path / "a")
    assert first.read_bytes() == wasm.pack_wheel(extension, tmp_path / "b").read_bytes()
    assert first.name == f"cwts-{PROJECT['project']['version']}-{wasm.WHEEL_TAG}.whl"
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
        assert {"cwts/__init__.py", "cwts/py.typed", "cwts/_kernel.abi3.so"} <= names
        assert not [name for name in names if "__pycache__" in name or name.endswith("kernel.wasm")]
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == names
        for name in names - {record}:
            data = archive.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert rows[name] == [f"sha256={digest}", str(len(data))]


def test_development_is_pinned_and_numpy_is_pyodides() -> None:
    pins = PROJECT["project"]["optional-dependencies"]["dev"]
    assert [pin for pin in pins if not re.fullmatch(r"[\w-]+==[\w.]+", pin)] == []
    lock = json.loads((ROOT / "web/node_modules/pyodide/pyodide-lock.json").read_text(encoding="utf-8"))
    assert f"numpy=={lock['packages']['numpy']['version']}" in pins


def test_the_site_is_what_its_manifest_says() -> None:
    site = ROOT / "build" / "site"
    manifest = json.loads((site / "site.json").read_text(encoding="utf-8"))
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()} - {"site.json"}
    assert there == {entry["file"] for entry in manifest}
    for entry in manifest:
        data = (site / entry["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])
    served = {entry["file"] for entry in manifest}
    assert not [name for name in served if name.endswith((".map", ".ts")) or "node_modules" in name]


def test_the_container_is_built_from_what_there_is() -> None:
    """Its files exist and are sent to the builder, the base is pinned, nothing runs as root, and the commands parse."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]

    def of(name: str) -> list[str]:
        return [rest for step, rest in steps if step == name]

    assert [re.fullmatch(r"BASE=python:3\.[0-9]+\.[0-9]+-slim-[a-z]+", base) is not None for base in of("ARG")] == [
        True
    ]
    assert {stage.split()[0] for stage in of("FROM")} == {"${BASE}"}
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [name for rest in of("COPY") if not rest.startswith("--from") for name in rest.split()[:-1]]
    assert copied == ["pyproject.toml", "MANIFEST.in", "LICENSE", "native_ext", "app"]
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in sent] == []
    built = {"**/__pycache__", "**/*.so", "**/*.egg-info", "**/kernel.wasm"}  # here, perhaps from other sources
    assert built <= set(sent)
    extra = re.search(r'"\.\[(\w+)\]"', text)
    assert extra is not None
    assert extra[1] in PROJECT["project"]["optional-dependencies"]
    assert (user := of("USER")) == ["10001:10001"]
    assert f"--uid {user[0].partition(':')[0]} " in text
    parser = build_parser()
    (check,) = of("HEALTHCHECK")
    health = json.loads(check[check.index("[") :])
    entry, command = json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])
    assert entry == health[:1] == ["cwts"]
    asked, runs = parser.parse_args(health[1:]), parser.parse_args(command)
    assert runs.metrics == asked.port == int(of("EXPOSE")[0])
    assert not runs.live


def test_the_documentation_links_to_what_there_is_and_its_pictures_are_xml() -> None:
    """A browser draws nothing of a picture whose declaration says XML 1 instead of XML 1.0."""
    pages = {page: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    links = [(page, link) for page, text in pages.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    assert len(links) > 8
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
    ours = r"`((?:app|docs|native_ext|tests|web)/[\w./-]+)`"
    named = {(page.name, path) for page, text in pages.items() for path in re.findall(ours, text)}
    assert [(page, path) for page, path in sorted(named) if not (ROOT / path).exists()] == []
    for picture in (ROOT / "docs" / "pictures").glob("*.svg"):
        assert picture.read_text(encoding="utf-8").startswith('<?xml version="1.0"'), picture.name


def test_no_file_names_a_package_registry() -> None:
    """Mirrors and offline machines must work: only pip's and npm's own configuration says where packages come from."""
    hosts = [("pypi", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org"), ("python" + "hosted", "org")]
    pattern = re.compile("|".join(re.escape(".".join(host)) for host in hosts).encode())
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.split(b"\0")
    files = [ROOT / name.decode() for name in tracked if name]
    assert [str(path) for path in files if path.is_file() and pattern.search(path.read_bytes())] == []
