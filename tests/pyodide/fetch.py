"""Fetches the pure wheels that the suite needs inside Pyodide, in the versions that the ``dev`` extra pins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["pytest", "iniconfig", "packaging", "pluggy", "pygments", "hypothesis", "sortedcontainers"]


def main() -> int:
    """Fill ``build/pyodide-tests``; only what the cache lacks is downloaded."""
    chosen = os.environ.get("CWTS_CACHE")
    cache = (Path(chosen) if chosen else Path.home() / ".cache" / "cwts") / "pyodide-tests"
    cache.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {re.split(r"==", pin)[0]: pin for pin in project["optional-dependencies"]["dev"]}

    def cached(name: str) -> list[Path]:
        return list(cache.glob(f"{name}-{pins[name].split('==')[1]}-py*-none-any.whl"))

    missing = [pins[name] for name in NAMES if not cached(name)]
    if missing:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--platform=any", "--dest", str(cache), *missing]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
            print(f"tests/pyodide: cannot download {', '.join(missing)}: {reason[-1]}", file=sys.stderr)
            return 1
    folder = ROOT / "build" / "pyodide-tests"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(cached(name)[0], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
