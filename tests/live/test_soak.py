"""A steady stream for long, and a flood: nothing is lost, the book is the exchange's own, memory does not grow.

Two processes over real sockets in real time: `cwts simulate` and `cwts run`. CWTS_SOAK_SECONDS (20), CWTS_SOAK_RATE
(1000 messages a second) and CWTS_BURST (20000) say how long and how much; `make soak` takes 10 minutes and 100,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("picows", reason="sockets are not to be had here")
pytest.importorskip("aiohttp", reason="the simulated exchange needs it")

from live.arena import DATA
from live.test_run import end_of, free_port, line_with, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.native, pytest.mark.slow]

SECONDS = float(os.environ.get("CWTS_SOAK_SECONDS", "20"))
RATE = int(os.environ.get("CWTS_SOAK_RATE", "1000"))
BURST = int(os.environ.get("CWTS_BURST", "20000"))
MIB = 1 << 20


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def memory(process: asyncio.subprocess.Process) -> float:
    """Resident, in MiB."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


class Pair:
    """A simulated spot market and a run that trades on it."""

    def __init__(self, control: str, run: asyncio.subprocess.Process, metrics: int) -> None:
        self.control = control
        self.run = run
        self.metrics = metrics
        self.log: list[str] = []

    async def pace(self, **what: Any) -> Any:
        return await asyncio.to_thread(ask, self.control + "/speed", what)

    async def state(self) -> Any:
        return await asyncio.to_thread(ask, self.control + "/state")

    def received(self, role: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        found = re.search(rf'^cwts_connection_messages{{[^}}]*role="{role}"[^}}]*}} (\d+)', text, re.MULTILINE)
        assert found is not None, text
        return int(found[1])

    async def standstill(self) -> tuple[int, int, int]:
        """Stops the exchange and waits until all is there.

        Of the stream's connection: messages sent and received, and how many of them were answers to requests.
        """
        await self.pace(paused=True)
        sent = received = answers = -1
        for _ in range(600):
            await asyncio.sleep(0.1)
            (stream,) = (c for c in (await self.state())["exchanges"]["binance"]["connections"] if c["streams"])
            before, sent, received = sent, stream["sent"], await asyncio.to_thread(self.received, "stream")
            answers = stream["received"]
            if not stream["waiting"] and sent == received == before:
                break
        return sent, received, answers

    async def end(self) -> dict[str, Any]:
        """The run's own results."""
        book = await asyncio.to_thread(ask, self.control + "/book?exchange=binance&symbol=BTCUSDT&depth=1")
        self.run.send_signal(signal.SIGTERM)
        code, out, error = await end_of(self.run)
        assert (code, error) == (0, "")
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found | {"sim_sha256": book["sha256"]}


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    capture = DATA / "binance-spot-btcusdt-20240808.gz"
    sim = await start("simulate", capture, "--port", 0, "--rate", RATE, "--start", "first", "--loop", "--json")
    run: asyncio.subprocess.Process | None = None
    try:
        assert sim.stdout is not None
        control = json.loads(await asyncio.wait_for(sim.stdout.readline(), 120))["control"]
        metrics = free_port()
        run = await start(
            "run", "--exchange", "binance", "--symbol", "BTCUSDT", "--plain", "--json", "--metrics", metrics,
            "--simulate", control.replace("http:", "ws:").removesuffix("/control"),
        )  # fmt: skip
        await line_with(run, "the book is valid")
        yield Pair(control, run, metrics)
    finally:
        for process in (run, sim):
            if process is not None and process.returncode is None:
                process.kill()
                await process.communicate()


async def read_along(pair: Pair, seconds: float, warm: float) -> list[float]:
    """The memory of the run from `warm` seconds on, while its log is read."""
    loop = asyncio.get_running_loop()
    began, found = loop.time(), []
    assert pair.run.stdout is not None
    while (now := loop.time() - began) < seconds:
        with contextlib.suppress(TimeoutError):
            pair.log.append((await asyncio.wait_for(pair.run.stdout.readline(), 0.5)).decode())
        if now >= warm:
            found.append(memory(pair.run))
    return found


def complete(result: dict[str, Any], sent: int, received: int, answers: int) -> None:
    """Everything that was sent came and reached the engine, and the book is the exchange's own."""
    assert sent == received
    assert (result["lost"], result["overflows"], result["gaps"]) == (0, 0, 0)
    (stream,) = (link for link in result["connections"] if link["role"] == "stream")
    assert (stream["connects"], stream["losses"]) == (1, 0)
    assert result["messages"] == sent - answers + 1  # and the snapshot
    assert result["synced"]
    assert result["book_sha256"] == result["sim_sha256"]


def told(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}: {json.dumps(found)}", file=sys.stderr)


def test_a_thousand_messages_a_second_for_long() -> None:
    async def main() -> None:
        async with pair() as both:
            before = (await both.state())["played"]
            rss = await read_along(both, SECONDS, SECONDS / 5)
            played = (await both.state())["played"] - before
            sent, received, answers = await both.standstill()
            result = await both.end()
        told("soak", {
            "seconds": SECONDS, "rate": round(played / SECONDS), "sent": sent, "received": received,
            "rss_mib": {"warm": rss[0], "end": rss[-1], "most": max(rss)}, "latency_ns": result["latency"]["total"],
            "over_budget": result["over_budget"],
        })  # fmt: skip
        complete(result, sent, received, answers)
        assert sent > 0.5 * RATE * SECONDS
        assert rss[-1] - rss[0] < 8

    asyncio.run(main())


def test_a_flood() -> None:
    """As many messages at once as `CWTS_BURST` says: made while nothing is sent, then let go."""

    async def main() -> None:
        async with pair() as both:
            await read_along(both, 1, 1)
            rss = memory(both.run)
            sent_before, _, _ = await both.standstill()
            await both.pace(burst=BURST, paused=False)
            while (await both.pace(rate=RATE))["burst"]:
                await read_along(both, 0.5, 1)
            sent, received, answers = await both.standstill()
            after = memory(both.run)
            result = await both.end()
        told("flood", {
            "sent": sent - sent_before, "received": received - sent_before, "rss_mib": {"before": rss, "after": after},
            "latency_ns": result["latency"]["total"], "over_budget": result["over_budget"],
        })  # fmt: skip
        assert sent - sent_before >= BURST
        complete(result, sent, received, answers)

    asyncio.run(main())
