"""The page's memory: within its budget, and no larger after many recordings than after a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Trader

BUDGET = 250e6
SLACK = 6e6  # what garbage and caches may differ by; a leak of a recording's size is larger after four rounds


def test_memory_is_flat_over_many_replays(trader: Trader) -> None:
    options = "{exchange: 'binance-usdm', symbol: 'BTCUSDT', speed: Infinity}"

    def bytes_after(rounds: int) -> int:
        for _ in range(rounds):
            trader.run(f"cwts.replay('/recordings/binance-usdm-btcusdt-20240808.gz', {options})")
        script = 0  # page and workers; the measurement leaves out WebAssembly, which the state knows
        for _ in range(3):
            measured = trader.run("performance.measureUserAgentSpecificMemory().then(({bytes}) => bytes)")
            script = min(script, measured) if script else measured
        return int(script) + int(trader.state()["heapBytes"])

    few = bytes_after(2)
    many = bytes_after(4)
    assert many < BUDGET
    assert many - few < SLACK
