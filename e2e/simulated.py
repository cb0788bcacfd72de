"""The simulated exchange in a process of its own, and a page that is live on it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Trader

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
BINANCE = (
    "binance-usdm-btcusdt-20240808.gz",
    "binance-spot-btcusdt-20240808.gz",
    "binance-coinm-btcusd_perp-20240808.gz",
)
OKX = ("okx-books-trades-tickers-20220513.gz",)
SYMBOLS = {"binance": "BTCUSDT", "binance-usdm": "BTCUSDT", "binance-coinm": "BTCUSD_PERP", "okx": "BTC-USDT"}
DEPTH = 200  # levels a side that are compared: less than any snapshot has


class Simulated:
    """A simulated exchange in a process of its own, and its control port."""

    def __init__(self, command: str, *files: str) -> None:
        line = [command, "simulate", *(str(DATA / file) for file in files), "--port", "0", "--json", "--loop"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout
        self.control = json.loads(self.process.stdout.readline())["control"]
        self.origin = self.control.replace("http", "ws").removesuffix("/control")

    def get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.control}/{what}", timeout=120) as answer:
            return json.load(answer)

    def post(self, what: str, body: object) -> Any:
        request = urllib.request.Request(f"{self.control}/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def faults(self, *faults: dict[str, object]) -> None:
        self.post("fault", list(faults))

    def connections(self, exchange: str) -> dict[str, dict[str, Any]]:
        """By endpoint."""
        return {each["endpoint"]: each for each in self.get("state")["exchanges"][exchange]["connections"]}

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=120)


class Live:
    """A page that is, or goes, live."""

    def __init__(self, trader: Trader, simulators: dict[str, Simulated]) -> None:
        self.trader = trader
        self.simulators = simulators
        self.exchange = ""

    def ask(self, exchange: str, symbol: str = "", **more: object) -> str | None:
        """Goes live; returns the error's text if that was refused."""
        self.exchange = exchange
        options = {"exchange": exchange, "symbol": symbol or SYMBOLS[exchange], **more}
        return self.trader.run("(o) => cwts.live(o).then(() => null, (error) => error.message)", options)

    def go(self, exchange: str) -> dict[str, Any]:
        """Goes live, unless it is on this exchange already; watches what the status is from now on."""
        state = self.trader.state()
        if state["status"] != "live" or state["exchange"] != exchange or self.exchange != exchange:
            assert self.ask(exchange) is None
        state = self.trader.until(lambda state: state["status"] == "live")
        self.trader.run(
            """() => {
                clearInterval(globalThis.watching);
                globalThis.seen = new Set();
                const line = document.getElementById("line");
                globalThis.watching = setInterval(() => {
                    const {status, syncReason} = cwts.state();
                    globalThis.seen.add(status === "stale" ? `stale: ${syncReason}: ${line.textContent}` : status);
                }, 10);
            }"""
        )
        return state

    def seen(self) -> list[str]:
        return self.trader.run("[...globalThis.seen]")

    @property
    def simulator(self) -> Simulated:
        return self.simulators[self.exchange]

    def equal(self) -> None:
        """The market is held still: then the page's book is the exchange's own."""
        symbol = SYMBOLS[self.exchange]
        self.simulator.post("speed", {"paused": True})
        try:
            deadline = time.monotonic() + 120
            while True:
                theirs = self.simulator.get(f"book?exchange={self.exchange}&symbol={symbol}&depth={DEPTH}")
                ours = self.trader.run(f"cwts.book({DEPTH})")
                if ours["synced"] and ours["id"] == theirs["id"]:
                    break
                assert time.monotonic() < deadline, (ours["id"], theirs["id"], self.trader.state())
                time.sleep(0.1)
            assert ours["bids"] == theirs["bids"]
            assert ours["asks"] == theirs["asks"]
            assert len(ours["bids"]) == len(theirs["bids"]) > 20
        finally:
            self.simulator.post("speed", {"paused": False})

    def steady(self) -> bool:
        """Whether the book was valid all the time; a machine that stood still has no news of it for a while."""
        return all("in sync" in each for each in self.seen() if "stale" in each)

    def counted(self) -> dict[str, int]:
        """The market is held still: waits until the page has counted all that was sent, and says how much, by endpoint.

        It hears of the connections up to a second later than of the book.
        """
        self.simulator.post("speed", {"paused": True})
        deadline = time.monotonic() + 120
        while True:
            links = {link["role"]: link["messages"] for link in self.trader.state()["connections"]}
            sent = {end: each["sent"] for end, each in self.simulator.connections(self.exchange).items()}
            if {end: links.get({"ws-api": "api"}.get(end, end)) for end in sent} == sent:
                break
            assert time.monotonic() < deadline, (links, sent)
            time.sleep(0.1)
        self.simulator.post("speed", {"paused": False})
        return sent

    def gone(self, exchange: str) -> None:
        """Waits until an exchange has seen all connections end."""
        self.trader.until(lambda _: self.simulators[exchange].connections(exchange) == {})

    def again(self, reason: str) -> dict[str, Any]:
        """Waits until it was stale for this reason and is live once more, with the exchange's own book."""
        self.trader.until(lambda _: any(reason in each for each in self.seen() if each.startswith("stale")))
        self.trader.until(lambda state: state["status"] == "live")
        self.equal()
        return self.trader.state()
