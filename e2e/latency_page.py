"""Latency in the page: `python e2e/latency_page.py [--live] [--realtime] [--rate 1000] [--seconds 20] [SITE ...]`.

Serves each built site, plays the bundled recording in Chromium at about `--rate` messages a second, or with `--live`
the simulated exchange's market, and prints the page's own latencies and what each of Chromium's threads costs. Several
sites are measured in turn, so that what else the machine does falls on all of them; medians over the `--repetitions`
are printed. `--realtime`, as root, puts Chromium before everything else on the machine, as if it were idle. `--json`:
one JSON object on the last line.

Nobody watches while it is measured, because that costs more than the page: Playwright hears of each message. It opens
the page and lets go of it; the page keeps samples of its own numbers, for which Playwright comes back.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from conftest import CHROMIUM, LOAD_SECONDS, SITE, Trader, serving
from simulated import Live, Simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

STAGES = ("queue", "feed", "total", "screen")
SAMPLE_SECONDS = 2.0  # the page's percentiles are over its newest 2048 measurements
SAMPLING = """(ms) => {
    globalThis.samples = [];
    setInterval(() => {
        const {messages, latency} = cwts.state();
        globalThis.samples.push({at: performance.now(), messages, latency});
    }, ms);
}"""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one thread has used so far, in seconds, and how often it was put on a core."""

    group: str
    ran: float
    waited: float
    turns: int


def descendants(root: int) -> list[int]:
    """Processes below one, in the order they were made."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ProcessLookupError):
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {root})


def costs(root: int) -> dict[int, Cost]:
    """Every thread of Chromium: its group is its process's type and its name, without the numbers in it."""
    found = {}
    for pid in descendants(root):
        folder = Path(f"/proc/{pid}")
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "--type=" not in command and "--headless" not in command:
                continue  # Playwright's own driver, the server
            kind = match[1] if (match := re.search(r"--type=(\S+)", command)) else "browser"
            workers = 0
            for task in sorted((folder / "task").iterdir(), key=lambda task: int(task.name)):
                name = (task / "comm").read_text().strip()
                ran, waited, turns = map(int, (task / "schedstat").read_text().split())
                if int(task.name) == pid:
                    name = "main"
                elif name.startswith("DedicatedWorker"):
                    name = ["feed worker", "engine worker", "worker"][min(workers, 2)]  # as the page starts them
                    workers += 1
                name = re.sub(r"[\d#/]+", "", name.replace("ThreadPoolForeg", "pool")).strip()
                found[int(task.name)] = Cost(f"{kind}: {name}", ran / 1e9, waited / 1e9, turns)
        except (OSError, ProcessLookupError):
            continue
    return found


def put_first(root: int) -> None:
    """Gives Chromium's threads, and all that they will start, the lowest real-time priority."""
    for pid in descendants(root):
        with suppress(OSError):  # a process that has ended meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))


def busy() -> float:
    """Core-seconds that the whole machine has worked."""
    values = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(values) - values[3] - values[4]) / TICK


@contextmanager
def simulated(command: str) -> Iterator[Simulated]:
    """A simulated exchange with the recording that the page has."""
    simulator = Simulated(command, "binance-usdm-btcusdt-20240808.gz")
    try:
        yield simulator
    finally:
        simulator.end()


@contextmanager
def chromium() -> Iterator[str]:
    """A Chromium with one empty page, and the address under which it can be driven."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = ["--headless", "--no-sandbox", "--no-first-run", "--window-size=1440,900", f"--user-data-dir={folder}"]
        process = subprocess.Popen(
            [CHROMIUM, *flags, "--remote-debugging-port=0", "about:blank"], stderr=subprocess.DEVNULL
        )
        try:
            port = Path(folder, "DevToolsActivePort")
            deadline = time.monotonic() + LOAD_SECONDS
            while not (port.exists() and port.read_text().strip()):
                assert process.poll() is None, "Chromium ended"
                assert time.monotonic() < deadline, "Chromium does not start"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port.read_text().split()[0]}"
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def driven(chromium: str) -> Iterator[Page]:
    """Chromium's page, for as long as it is driven."""
    with sync_playwright() as playwright:
        yield playwright.chromium.connect_over_cdp(chromium).contexts[0].pages[0]


def measured(site: Path, rate: float, seconds: float, *, live: bool, realtime: bool) -> dict[str, Any]:
    """One run: the recording, or the simulated exchange."""
    command = str(Path(sys.executable).with_name("cwts"))
    serve = [command, "serve", "--port", "0", "--no-open", "--site", str(site)]
    with ExitStack() as stack:
        simulator = stack.enter_context(simulated(command)) if live else None
        if simulator is not None:
            serve += ["--simulate-origin", simulator.origin]
        address = stack.enter_context(serving(*serve))
        browser = stack.enter_context(chromium())
        if realtime:
            put_first(os.getpid())
        with driven(browser) as page:
            trader = Trader(page, address)
            trader.playing()
            if simulator is not None:
                assert Live(trader, {"binance-usdm": simulator}).ask("binance-usdm") is None
                trader.until(lambda state: state["status"] == "live")
                simulator.post("speed", {"rate": rate})
            else:
                survey = trader.run(
                    "(async () => (await (await fetch('/recordings/recordings.json')).json())[0].survey)()",
                )
                pace = rate * (survey["last_ns"] - survey["first_ns"]) / 1e9 / survey["messages"]
                trader.run(f"cwts.setSpeed({pace})")
            trader.run(SAMPLING, SAMPLE_SECONDS * 1000)
        time.sleep(2 * SAMPLE_SECONDS)  # compilers and caches warm up; the percentiles forget the start
        began, all_before, before = time.monotonic(), busy(), costs(os.getpid())
        time.sleep(seconds)
        after, elapsed, all_after = costs(os.getpid()), time.monotonic() - began, busy()
        with driven(browser) as page:
            samples = page.evaluate("globalThis.samples")[2 : 2 + int(seconds / SAMPLE_SECONDS)]
    share: Counter[str] = Counter()
    waited: Counter[str] = Counter()
    turns: Counter[str] = Counter()
    for thread, cost in after.items():
        start = before.get(thread, Cost(cost.group, 0, 0, 0))
        share[cost.group] += (cost.ran - start.ran) / elapsed
        waited[cost.group] += (cost.waited - start.waited) / elapsed
        turns[cost.group] += (cost.turns - start.turns) / elapsed
    return {
        "rate": (samples[-1]["messages"] - samples[0]["messages"]) * 1000 / (samples[-1]["at"] - samples[0]["at"]),
        "us": {
            stage: {part: median(sample["latency"][stage][part] for sample in samples) for part in ("p50", "p99")}
            for stage in STAGES
        },
        "cores": dict(share),
        "waiting": dict(waited),
        "turns": dict(turns),
        "chromium": sum(share.values()),
        "others": max(0.0, (all_after - all_before) / elapsed - sum(share.values())),
    }


def middle(runs: list[Any]) -> Any:
    """The median of each number over several runs."""
    if not isinstance(runs[0], dict):
        return median(runs)
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: middle([run[key] for run in runs if key in run]) for key in keys}


def human(name: str, numbers: dict[str, Any]) -> str:
    """One site's numbers as a few lines for a person."""
    lines = [f"{name}: {numbers['rate']:,.0f} messages a second"]
    for stage, parts in numbers["us"].items():
        lines.append(f"  {stage:7} p50 {parts['p50']:8,.1f} µs   p99 {parts['p99']:8,.1f} µs")
    lines.append(f"  cores: Chromium {numbers['chromium']:.3f}, everything else {numbers['others']:.2f}")
    for group, cores in sorted(numbers["cores"].items(), key=lambda item: -item[1]):
        if cores >= 0.002:
            waiting, turns = numbers["waiting"][group], numbers["turns"][group]
            lines.append(f"    {cores:6.3f}  waits {waiting:6.3f}  turns {turns:6,.0f}/s  {group}")
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="latency_page", description="The page's latency and what its threads cost.")
    parser.add_argument("sites", nargs="*", type=Path, default=[SITE], metavar="SITE", help="built sites to compare")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line of stdout")
    parser.add_argument("--live", action="store_true", help="the simulated exchange instead of the recording")
    parser.add_argument("--realtime", action="store_true", help="as on an idle machine; needs root")
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second (default: 1000)")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {str(site): [] for site in arguments.sites}
    for _ in range(arguments.repetitions):
        for site in arguments.sites:
            runs[str(site)].append(
                run := measured(
                    site, arguments.rate, arguments.seconds, live=arguments.live, realtime=arguments.realtime
                )
            )
            total = run["us"]["total"]
            print(
                f"{site}: total p50 {total['p50']:.0f} p99 {total['p99']:.0f} µs, "
                f"Chromium {run['chromium']:.2f}, others {run['others']:.2f} cores",
                file=sys.stderr,
            )
    medians = {site: middle(list_of) for site, list_of in runs.items()}
    if arguments.json:
        print(json.dumps({"sites": medians, "runs": runs}))
    else:
        print("\n".join(human(site, numbers) for site, numbers in medians.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
