"""The transport's benchmark, small: it measures who is there and names who is not."""

from __future__ import annotations

import pytest

pytest.importorskip("picows", reason="sockets are not to be had here")

from cwts import bench_transport
from live.arena import DATA

pytestmark = pytest.mark.native


async def not_installed(*_: object) -> None:
    raise ImportError("no module named x")


def test_who_is_there_is_measured_and_who_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = {"picows": bench_transport.CLIENTS["picows"], "x": not_installed}
    monkeypatch.setattr(bench_transport, "CLIENTS", clients)
    found = bench_transport.measure(DATA / "binance-usdm-btcusdt-20240808.gz", count=500, rounds=2)
    assert found["missing"] == ["x"]
    assert list(found["burst_us_per_message"]) == ["picows", bench_transport.OURS]
    assert found["paced_us"]["picows"]["p99"] >= found["paced_us"]["picows"]["p50"] > 0
    shown = bench_transport.human(found)
    assert "not measured: x: not installed" in shown
    assert len(shown.splitlines()) == 6
