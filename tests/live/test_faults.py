"""Each way in which an exchange misbehaves: the book is never wrong, and it comes back by itself."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("picows", reason="sockets are not to be had here")
pytest.importorskip("aiohttp", reason="the simulated exchange needs it")

from cwts.exchanges.base import MS, SECOND
from cwts.simulator.faults import Fault, random_schedule
from live.arena import HASTY, Outcome, duel
from live.warp import warp

if TYPE_CHECKING:
    from cwts.simulator import Simulator
    from cwts.transport.native import NativeHost

pytestmark = pytest.mark.native

BINANCE = ["binance", "binance-usdm", "binance-coinm"]
EXCHANGES = [*BINANCE, "okx"]
SCHEDULES = int(os.environ.get("CWTS_SCHEDULES", "24"))
AT_ONCE = 4


# name → faults. `depth` and `books` are the streams of the book: Binance's and OKX's.
FAULTS = {
    "none": [],
    "gap": [Fault("gap", at=0.3, count=3, stream="depth"), Fault("gap", at=0.3, count=2, stream="books")],
    "duplicate": [Fault("duplicate", at=0.2, count=40)],
    "reorder": [Fault("reorder", at=0.3, count=5)],
    "garbage in between": [Fault("garbage", at=0.3, count=5)],
    "garbage instead": [Fault("garbage", at=0.3, count=5, replace=True)],
    "cut": [Fault("cut", at=0.4)],
    "cut in the middle of a message": [Fault("cut", at=0.4, middle=True)],
    "cut during the handshake": [Fault("handshake", at=0.3, count=2), Fault("cut", at=0.35)],
    "HTTP 503 for a handshake": [Fault("handshake", at=0.3, count=2, status=503), Fault("cut", at=0.35)],
    "the 24 hours are over": [Fault("close", at=0.4)],
    "stall": [Fault("stall", at=0.4)],
    "delay": [Fault("delay", at=0.3, seconds=0.2)],
    "slow": [Fault("slow", at=0.3, rate=50_000, seconds=0.3)],
    "restart": [Fault("restart", at=0.4, seconds=0.2)],
    "clock 1.5 s behind": [Fault("clock", at=0.0, offset_ms=-1500)],
    "old snapshot": [Fault("old_snapshot", at=0.0, count=2, seconds=8), Fault("cut", at=0.5)],
    "late snapshot": [Fault("late_snapshot", at=0.0, seconds=0.2), Fault("cut", at=0.5)],
    "legal reset": [Fault("reset", at=0.2), Fault("keepalive", at=0.3), Fault("reset", at=0.5)],
    "announced shutdown": [Fault("shutdown", at=0.3, seconds=1.0)],
    "rotation": [],
    "two connections": [],
    "the loss of one of two": [Fault("cut", at=0.4, connection=1)],
    "slow consumer": [],
}
POLICIES = {
    "rotation": {"rotate_ns": 400 * MS},
    "two connections": {"replicas": 2},
    "the loss of one of two": {"replicas": 2},
}
HARMLESS = {
    "none",
    "clock 1.5 s behind",
    "duplicate",
    "delay",
    "legal reset",
    "rotation",
    "two connections",
    "the loss of one of two",
}


async def be_slow(sim: Simulator, host: NativeHost) -> None:
    """The engine does not take anything for a while, and the room in front of it is small."""
    await asyncio.sleep(0.3)
    host.sinks[0].pause()
    await asyncio.sleep(0.4)
    host.resume()


def play_all(cases: list[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
    """Several at a time: most of the time they wait."""

    async def one(name: str, exchange: str, gate: asyncio.Semaphore) -> Outcome:
        async with gate:
            more: dict[str, Any] = {"sink": {"capacity": 1 << 12}, "script": be_slow} if name == "slow consumer" else {}
            return await duel(exchange, FAULTS[name], seed=1, policy=replace(HASTY, **POLICIES.get(name, {})), **more)

    async def everything() -> list[Outcome]:
        gate = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(name, exchange, gate) for name, exchange in cases))

    return dict(zip(cases, warp(everything()), strict=True))


# Every fault on OKX and on one of Binance's markets; the slow suite plays them on all.
FAST = [(name, exchange) for i, name in enumerate(FAULTS) for exchange in (BINANCE[i % 3], "okx")]
SLOW = [(name, exchange) for name in FAULTS for exchange in BINANCE if (name, exchange) not in FAST]


@pytest.fixture(scope="module")
def fast() -> dict[tuple[str, str], Outcome]:
    return play_all(FAST)


@pytest.fixture(scope="module")
def slow() -> dict[tuple[str, str], Outcome]:
    return play_all(SLOW)


@pytest.mark.parametrize("case", FAST, ids=" on ".join)
def test_fault(case: tuple[str, str], fast: dict[tuple[str, str], Outcome]) -> None:
    judge(case, fast[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=" on ".join)
def test_fault_on_the_other_markets(case: tuple[str, str], slow: dict[tuple[str, str], Outcome]) -> None:
    judge(case, slow[case])


def judge(case: tuple[str, str], outcome: Outcome) -> None:
    name, exchange = case
    outcome.check()
    assert outcome.checked > 10
    links = outcome.health["links"]
    if name in HARMLESS:
        assert (outcome.gaps, outcome.resets, outcome.lost) == (0, 0, 0), outcome.notes
    if name == "none" and exchange in ("binance", "okx"):  # where the snapshot holds the whole book
        assert outcome.engine_sha == outcome.sim_sha
    if name == "rotation":
        assert sum(link["rotations"] for link in links) >= 1
    if name in ("cut", "restart", "stall", "the 24 hours are over", "the loss of one of two"):
        assert sum(link["losses"] for link in links) >= 1
    if "handshake" in name:
        assert not any("no answer" in note for note in outcome.notes), outcome.notes
    if name == "slow consumer":
        assert outcome.lost > 0
        assert outcome.resets >= 1


def test_random_schedules() -> None:
    """CWTS_SCHEDULES of them (24; the slow suite plays 1,000), some at a time; a seed tells which failed."""
    run_schedules(0, SCHEDULES)


@pytest.mark.slow
def test_a_thousand_random_schedules() -> None:
    run_schedules(1000, int(os.environ.get("CWTS_SCHEDULES", "1000")))


def run_schedules(first: int, count: int) -> None:
    async def one(seed: int, gate: asyncio.Semaphore) -> tuple[int, str, Outcome]:
        exchange = EXCHANGES[seed % len(EXCHANGES)]
        faults = random_schedule(seed, seconds=1.2, count=8, okx=exchange == "okx")
        policy = replace(
            HASTY, replicas=1 + seed // 4 % 2, rotate_ns=SECOND // 2 if seed // 8 % 3 == 0 else 100 * SECOND
        )
        async with gate:
            return seed, exchange, await duel(exchange, faults, seed=seed, policy=policy)

    async def all_of_them() -> list[tuple[int, str, Outcome]]:
        gate = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(seed, gate) for seed in range(first, first + count)))

    checked = 0
    for seed, exchange, outcome in warp(all_of_them()):
        checked += outcome.checked
        assert not outcome.wrong, (seed, exchange, outcome.wrong[:3])
        assert outcome.synced, (seed, exchange, outcome.notes[-10:])
        assert outcome.engine_id == outcome.sim_id, (seed, exchange, outcome.notes[-10:])
    assert checked > 20 * count
