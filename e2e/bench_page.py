"""The benchmark in the page: `python e2e/bench_page.py [--json] [--repetitions N] [--node]`.

Serves the built site, opens `bench.html` in Chromium and prints what it measured; `--json`: one JSON object on the last
line. `--node` measures the same in Pyodide under Node, without a browser.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from conftest import CHROMIUM, LOAD_SECONDS, SITE, serving

NAMES = {"engine": "CWTS", "map": "JSON.parse + Map", "sorted": "JSON.parse + sorted arrays"}


def in_chromium(repetitions: int) -> dict[str, Any]:
    """Runs the page once; returns its numbers."""
    command = [str(Path(sys.executable).with_name("cwts")), "serve", "--port", "0", "--no-open", "--site", str(SITE)]
    with serving(*command) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=LOAD_SECONDS * 1000
        )
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{address}/bench.html?repetitions={repetitions}")
        measured: dict[str, Any] = page.evaluate(
            "(async () => { while (!globalThis.cwtsBench) await 0; return cwtsBench; })()"
        )
        browser.close()
    return measured


def in_node(repetitions: int) -> dict[str, Any]:
    """The same under Node."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("bench_page: no node on the PATH")
    script = Path(__file__).with_name("bench_node.mjs")
    done = subprocess.run(
        [node, str(script), str(SITE), str(repetitions)], stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def human(measured: dict[str, Any]) -> str:
    """The numbers as a few lines for a person."""
    lines = [f"{measured['recording']}, median of {measured['repetitions']}, {measured['userAgent']}"]
    for group, by_name in measured["ns"].items():
        for name, ns in by_name.items():
            ratio = measured["ratio"][group].get(name)
            times = f"  {ratio} × the engine" if ratio else ""
            lines.append(f"  {group:5} messages  {NAMES[name]:27} {ns:8,} ns each{times}")
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="bench_page", description="The engine in Chromium against JavaScript.")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--node", action="store_true", help="in Pyodide under Node instead of Chromium")
    arguments = parser.parse_args()
    measured = (in_node if arguments.node else in_chromium)(arguments.repetitions)
    print(json.dumps(measured) if arguments.json else human(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
