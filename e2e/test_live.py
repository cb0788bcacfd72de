"""The page on live data: real sockets to the simulated exchange, whose own book is the truth, and its faults."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMsgType, web

from simulated import SYMBOLS, Live, Simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from conftest import Trader

EACH = pytest.mark.parametrize("exchange", SYMBOLS)


@pytest.fixture(scope="module")
def live(browser: Browser, make_trader: Any, live_address: str, simulators: dict[str, Simulated]) -> Iterator[Live]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    trader = make_trader(context.new_page(), live_address)
    trader.playing()
    yield Live(trader, simulators)
    context.close()
    # Connections that fail are what these tests are about: the browser complains of each.
    assert [each for each in trader.complaints if "WebSocket" not in each and "127.0.0.1" not in each] == []


# -- going live -------------------------------------------------------------------------------------------------------


@EACH
def test_it_goes_live_and_the_book_is_the_exchanges_own(live: Live, exchange: str) -> None:
    state = live.go(exchange)
    assert (state["mode"], state["exchange"], state["symbol"]) == ("live", exchange, SYMBOLS[exchange])
    assert state["synced"]
    live.equal()
    seen = state["messages"]
    live.trader.until(lambda now: now["messages"] > seen + 20)
    state = live.trader.until(lambda now: {link["state"] for link in now["connections"]} == {"open"})
    assert (state["books"][0]["gaps"], state["books"][0]["resets"], state["lost"]) == (0, 0, 0)
    live.trader.until(lambda now: abs(now["recvTime"] - time.time() * 1000) < 5000)
    live.trader.shows("#venue", "simulated at 127.0.0.1")
    live.trader.shows("#wire-words", "open")
    live.trader.shows("#connections-panel", "open")
    live.trader.until(lambda _: live.trader.text("#line") == "")


def test_the_state_of_its_book_is_known_as_soon_as_it_is_live(live: Live) -> None:
    live.go("okx")
    script = "(o) => cwts.live(o).then(() => cwts.state().books.map(({symbol, resets}) => [symbol, resets]))"
    live.exchange = "binance"
    assert live.trader.run(script, {"exchange": "binance", "symbol": "BTCUSDT"}) == [["BTCUSDT", 0]]


def test_the_networks_over_a_recording_are_refused_in_one_line(live: Live) -> None:
    live.go("binance")
    page = live.trader.page
    why = "Not live: the networks run over a whole recording."
    live.trader.shows("#networks-words", why)
    assert page.locator("#networks-run").is_disabled()
    page.keyboard.press("n")
    live.trader.shows("#line", why)
    assert live.trader.run("cwts.networks().catch((error) => error.message)").startswith(why)
    live.trader.until(lambda state: state["status"] == "live")


def test_all_messages_are_counted_those_too_that_the_session_did_not_see(live: Live) -> None:
    live.go("binance-usdm")
    live.equal()
    assert live.counted().keys() == {"public", "market", "ws-api"}


def test_the_kill_switch_works_live(live: Live) -> None:
    live.go("binance-usdm")
    live.trader.page.keyboard.press("k")
    state = live.trader.until(lambda state: state["halted"])
    assert state["status"] == "stopped"
    live.trader.page.keyboard.press("k")
    live.trader.until(lambda state: state["status"] == "live")


def test_settings_count_live_at_once_or_from_the_next_session_on(live: Live) -> None:
    live.go("binance-usdm")
    told = live.trader.run("cwts.set('enter', 1).then(() => cwts.set('capital', 250))")
    assert (told["running"]["enter"], told["pending"]) == (1, ["capital"])
    seen = live.trader.state()["messages"]
    state = live.trader.until(lambda state: state["messages"] > seen + 50 and state["status"] == "live")
    assert state["malformed"] == 0
    live.equal()
    assert live.ask("binance-usdm") is None
    live.trader.shows("#account", "250.0000 USDT")
    told = live.trader.run("cwts.set('enter', null).then(() => cwts.set('capital', null))")
    assert (told["changed"], told["pending"]) == ({}, ["capital"])


# -- what goes wrong --------------------------------------------------------------------------------------------------

LATE = {"kind": "late_snapshot", "seconds": 0.6}
FAULTS: dict[str, tuple[str, list[dict[str, object]], str]] = {
    "gap": ("binance-usdm", [LATE, {"kind": "gap", "stream": "depth", "count": 3}], "a sequence number is missing"),
    "gap on okx": ("okx", [{"kind": "gap", "stream": "books", "count": 1}, LATE], "a sequence number is missing"),
    "cut": ("binance", [LATE, {"kind": "cut"}], "the connection was lost"),
    "cut in the middle of a message": ("okx", [{"kind": "cut", "middle": True}, LATE], "the connection was lost"),
    "stall": ("binance-coinm", [{"kind": "stall", "seconds": 6}], "no update of the book"),
    "restart": ("binance", [{"kind": "restart", "seconds": 3}], "cannot reach"),
    "restart of okx": ("okx", [{"kind": "restart", "seconds": 1.0}], "the connection was lost"),
    "garbage": (
        "binance-coinm",
        [LATE, {"kind": "garbage", "count": 40, "replace": True}],
        "a sequence number is missing",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_makes_it_stale_and_it_comes_back_by_itself(live: Live, name: str) -> None:
    exchange, faults, reason = FAULTS[name]
    before = live.go(exchange)["books"][0]
    live.simulator.faults(*({"exchange": exchange, **fault} for fault in faults))
    after = live.again(reason)
    until = live.trader.until  # the page hears of the connections up to a second later than of the book
    if "sequence number" in reason:
        until(lambda state: state["books"][0]["gaps"] > before["gaps"])
    if "connection was lost" in reason:
        until(lambda state: state["connections"][0]["losses"] >= 1)
        until(lambda state: state["books"][0]["resets"] > before["resets"])
    if name == "garbage":
        assert after["malformed"] > 0


def test_it_asks_again_when_the_exchange_says(live: Live) -> None:
    """A snapshot is refused with 429 and Retry-After, which the page reads; without it the wait would be a minute."""
    live.go("binance-coinm")
    told = len(live.simulator.get("events"))
    live.simulator.faults(
        {"kind": "limit", "exchange": "binance-coinm", "seconds": 3},
        {"kind": "gap", "exchange": "binance-coinm", "stream": "depth", "count": 3},
    )
    state = live.again("a sequence number is missing")
    assert any("nothing is asked for 3 s" in note for note in state["notes"])
    happened = [event["what"] for event in live.simulator.get(f"events?from={told}")]
    assert "fault hits" in happened
    assert "asked too early" not in happened


def test_garbage_in_between_changes_nothing(live: Live) -> None:
    live.go("binance-usdm")
    live.simulator.faults({"kind": "garbage", "exchange": "binance-usdm", "endpoint": "public", "count": 20})
    live.trader.until(lambda state: state["connections"][0]["garbage"] >= 10)
    live.equal()
    assert live.steady()


def test_an_engine_that_cannot_keep_up_loses_nothing_silently(live: Live) -> None:
    live.go("binance-usdm")
    (engine,) = [worker for worker in live.trader.page.workers if worker.url.endswith("/engine.js")]
    live.simulator.post("speed", {"burst": 60_000})
    engine.evaluate(  # busy until all has been sent, and the feed worker has had its share
        """(url) => {
            for (let end = Infinity; performance.now() < end; ) {
                const request = new XMLHttpRequest();
                request.open("GET", url, false);
                request.send();
                const {burst, exchanges} = JSON.parse(request.responseText);
                const waiting = exchanges["binance-usdm"].connections.some((each) => each.waiting > 100);
                if (burst > 0 || waiting) end = Infinity;
                else if (end === Infinity) end = performance.now() + 5000;
            }
        }""",
        f"{live.simulator.control}/state",
    )
    live.simulator.post("speed", {"speed": 1})
    state = live.trader.until(lambda state: state["lost"] > 0)
    assert state["books"][0]["resets"] >= 1
    live.trader.until(lambda state: state["status"] == "live")
    live.equal()
    assert any("could not keep up" in note for note in live.trader.state()["notes"])


# -- what cannot be ---------------------------------------------------------------------------------------------------


@EACH
def test_an_unknown_symbol_is_one_line(live: Live, exchange: str) -> None:
    symbol = "NO-SUCH" if exchange == "okx" else "NOSUCH"
    error = live.ask(exchange, symbol)
    assert error is not None
    assert symbol in error
    state = live.trader.state()
    assert (state["status"], state["error"]) == ("error", error)
    live.trader.shows("#line", symbol)


def test_options_that_make_no_sense_are_one_line(live: Live) -> None:
    assert "mtgox" in (live.ask("mtgox", "X") or "")
    assert "symbol is needed" in (live.ask("okx", " ") or "")
    assert "capital" in (live.ask("okx", capital="a lot") or "")
    assert live.ask("binance-usdm", capital="2500.5") is None
    live.trader.until(lambda state: state["status"] == "live")
    live.trader.shows("#account", "2,500.5")


@pytest.fixture
def page_of(browser: Browser, make_trader: Any) -> Any:
    """A page of one's own; `route`: what /origins.json says instead."""

    @contextlib.contextmanager
    def opened(address: str, route: str = "") -> Iterator[Trader]:
        context = browser.new_context()
        page = context.new_page()
        if route:
            page.route("**/origins.json", lambda request: request.fulfill(json=json.loads(route)))
        trader = make_trader(page, address)
        trader.playing()
        yield trader
        context.close()

    return opened


def refusal(trader: Trader, exchange: str) -> str:
    options = {"exchange": exchange, "symbol": SYMBOLS[exchange]}
    error = trader.run("(o) => cwts.live(o).then(() => null, (error) => error.message)", options)
    if error is None:  # it could be asked, but not connected to
        error = trader.until(lambda state: state["status"] == "error")["error"]
    assert trader.state()["status"] == "error"
    assert "\n" not in error
    return str(error)


class Deaf(http.server.BaseHTTPRequestHandler):
    """Answers, but not to pages: no Access-Control-Allow-Origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


async def refusing(request: web.Request) -> web.WebSocketResponse:
    """An OKX that knows the instrument and refuses to tell its market."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    row = {
        "instType": "SPOT",
        "instId": "BTC-USDT",
        "baseCcy": "BTC",
        "quoteCcy": "USDT",
        "tickSz": "0.1",
        "lotSz": "1",
        "minSz": "1",
    }
    async for message in socket:
        assert message.type is WSMsgType.TEXT
        for argument in json.loads(message.data)["args"]:
            if argument["channel"] == "instruments":
                await socket.send_json({"event": "subscribe", "arg": argument})
                await socket.send_json({"arg": argument, "data": [row]})
            else:
                await socket.send_json({"event": "error", "code": "60018", "msg": "Wrong URL or channel"})
    return socket


@contextlib.contextmanager
def running(handler: Callable[[web.Request], Any]) -> Iterator[int]:
    """An aiohttp server in a thread: this one runs Playwright's loop."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    ready = threading.Event()

    def serve() -> None:
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield runner.addresses[0][1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)


def test_hosts_that_refuse_in_every_way_are_one_line(page_of: Any, serve: Any, site: Path, command: str) -> None:
    with running(refusing) as port, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as deaf:
        threading.Thread(target=deaf.serve_forever, daemon=True).start()
        named = {
            "binance-coinm": f"ws://127.0.0.1:{deaf.server_port}",
            "okx": f"ws://127.0.0.1:{port}",
            "binance": "ws://127.0.0.1:9",  # nobody listens there
        }
        more = [word for name, url in named.items() for word in ("--simulate-origin", f"{name}={url}")]
        named["binance-usdm"] = "ws://127.0.0.1:10"  # the page is told of it, and its policy is not
        told = json.dumps({name: f"{url}/{name}" for name, url in named.items()})
        with (
            serve(command, "serve", "--port", "0", "--no-open", "--site", str(site), *more) as address,
            page_of(address, told) as trader,
        ):
            assert "does not let pages read its answers (CORS)" in refusal(trader, "binance-coinm")
            assert "the subscription was refused: Wrong URL or channel (code 60018)" in refusal(trader, "okx")
            assert "cannot reach 127.0.0.1:9" in refusal(trader, "binance")
            assert "this page may not connect to 127.0.0.1:10: start it with cwts" in refusal(trader, "binance-usdm")
            trader.shows("#line", "this page may not connect")
            trader.page.keyboard.press("l")
            trader.shows("#live-count", "may not connect")
        deaf.shutdown()


# -- one after the other ----------------------------------------------------------------------------------------------


def test_stop_and_another_and_back_to_the_recording(live: Live) -> None:
    trader = live.trader
    live.go("okx")
    trader.page.keyboard.press("s")
    trader.until(lambda state: state["status"] == "stopped")
    trader.shows("#line", "connections are closed")
    live.gone("okx")
    still = trader.settled()["messages"]
    time.sleep(0.4)
    assert trader.state()["messages"] == still
    trader.page.keyboard.press("r")
    trader.until(lambda state: state["status"] == "live" and state["exchange"] == "okx")
    live.go("binance-coinm")
    live.gone("okx")
    live.equal()
    trader.page.keyboard.press("b")
    state = trader.until(lambda state: state["status"] == "replay" and state["messages"] > 100)
    assert (state["mode"], state["exchange"], state["connections"]) == ("replay", "binance-usdm", [])
    trader.until(lambda _: not trader.page.is_visible("#connections-panel") and trader.page.is_visible("#play"))
    assert trader.run("cwts.stop().then(() => '', (error) => error.message)").startswith("nothing is live")


def test_changing_ones_mind_quickly(live: Live) -> None:
    """Only the last of several wishes counts, and none of the others stays connected."""
    outcome = live.trader.run(
        """async (symbols) => {
            const wishes = ["okx", "binance", "binance-coinm", "binance-usdm"].map((exchange) =>
                cwts.live({exchange, symbol: symbols[exchange]}).then(() => "live", (error) => error.message));
            return Promise.all(wishes);
        }""",
        SYMBOLS,
    )
    assert outcome == ["a live feed was opened"] * 3 + ["live"]
    live.exchange = "binance-usdm"
    live.trader.until(lambda state: state["status"] == "live" and state["exchange"] == "binance-usdm")
    for exchange in ("okx", "binance", "binance-coinm"):
        live.gone(exchange)


def test_an_instrument_is_chosen_by_keyboard(live: Live, screenshots: Path) -> None:
    page = live.trader.page
    page.keyboard.press("l")
    page.select_option("#live-exchange", "okx")
    live.trader.shows("#live-count", "of 3 instruments")
    page.focus("#live-symbol")
    page.keyboard.press("Control+a")
    page.keyboard.type("btcus")
    live.trader.shows("#live-count", "2 of 3 instruments")
    symbols = page.locator("#live-list [role=option] span:first-child").all_inner_texts()
    page.keyboard.press("ArrowDown")
    marked = page.locator("#live-list [aria-selected=true] span:first-child").inner_text()
    assert marked == symbols[1]
    assert page.get_attribute("#live-symbol", "aria-activedescendant") == "live-option-1"
    page.screenshot(path=screenshots / "chooser.png")
    live.trader.escape()
    assert not page.is_visible("#live-dialog")
    page.keyboard.press("l")
    live.trader.shows("#live-count", "of 3 instruments")
    page.keyboard.press("Control+a")
    page.keyboard.type("btc-usdt")
    page.keyboard.press("Enter")
    live.trader.until(lambda state: state["status"] == "live" and state["symbol"] == "BTC-USDT")


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"), [("live", 1440, 900, "dark"), ("live-phone", 390, 844, "light")]
)
def test_it_fits(live: Live, screenshots: Path, name: str, width: int, height: int, scheme: Any) -> None:
    live.go("binance-usdm")
    live.trader.page.emulate_media(color_scheme=scheme)
    live.trader.page.set_viewport_size({"width": width, "height": height})
    live.trader.fits()
    time.sleep(0.5)  # for the picture: all is drawn anew
    live.trader.page.screenshot(path=screenshots / f"{name}.png")
    live.trader.fits()
    live.trader.page.set_viewport_size({"width": 1440, "height": 900})
    live.trader.page.emulate_media(color_scheme="dark")


# -- without shared memory --------------------------------------------------------------------------------------------


@pytest.fixture
def unshared(
    page_of: Any, serve: Any, site: Path, origins: list[str], simulators: dict[str, Simulated]
) -> Iterator[Live]:
    """A page without cross-origin isolation, and so without shared memory."""
    code = (
        f"from cwts.serve import serve; serve(port=0, open_browser=False, site={str(site)!r}, isolated=False, "
        f"simulate={origins!r})"
    )
    with serve(sys.executable, "-c", code) as address, page_of(address) as trader:
        yield Live(trader, simulators)


def test_without_cross_origin_isolation(unshared: Live) -> None:
    for exchange in ("okx", "binance-coinm"):
        state = unshared.go(exchange)
        assert not state["sharedMemory"]
        unshared.equal()
    unshared.simulator.faults({"kind": "cut", "exchange": "binance-coinm"}, {**LATE, "exchange": "binance-coinm"})
    unshared.again("the connection was lost")
    burst(unshared, 5000)
    assert unshared.trader.run("cwts.stop().then(() => cwts.state().status)") == "stopped"


def test_without_shared_memory_a_session_that_ended_does_not_stop_the_next(unshared: Live) -> None:
    """Its loop still waits when the next one begins, and wakes while that one runs."""
    for turn in range(24):
        unshared.go(("okx", "binance-coinm")[turn % 2])
        before = unshared.trader.state()["messages"]
        unshared.trader.until(lambda state, before=before: state["messages"] > before + 20)


# -- many messages at once --------------------------------------------------------------------------------------------


def burst(live: Live, count: int) -> int:
    """So many messages of the tape as fast as the sockets take them: all of ours arrive, and the book is right.

    Returns how many were ours.
    """
    exchange = live.exchange
    before = live.trader.state()
    sent = {end: each["sent"] for end, each in live.simulator.connections(exchange).items()}
    live.simulator.post("speed", {"burst": count})
    live.trader.until(lambda _: live.simulator.get("state")["burst"] == 0)
    live.equal()
    now, state = live.counted(), live.trader.state()
    ours = sum(now.values()) - sum(sent.values())
    assert ours > count // 10  # the tape holds other exchanges too
    assert state["lost"] == 0
    assert (state["gaps"], state["malformed"]) == (before["gaps"], before["malformed"])
    assert [book["resets"] for book in state["books"]] == [book["resets"] for book in before["books"]]
    return ours


def memory(live: Live) -> int:
    """Page, workers and WebAssembly."""
    script = "performance.measureUserAgentSpecificMemory().then(({bytes}) => bytes)"
    return min(int(live.trader.run(script)) for _ in range(3)) + int(live.trader.state()["heapBytes"])


def test_ten_thousand_messages_at_once(live: Live) -> None:
    live.go("binance-usdm")
    burst(live, 10_000)
    assert live.steady()


@pytest.mark.slow
def test_a_hundred_thousand_messages_at_once(live: Live) -> None:
    live.go("binance-usdm")
    burst(live, 10_000)
    before, began, count = memory(live), time.monotonic(), 0
    while count < 100_000:
        count += burst(live, 100_000)
    took, after = time.monotonic() - began, memory(live)
    print(f"\n{count:,} messages in {took:.1f} s; memory {before / 1e6:.0f} MB, then {after / 1e6:.0f} MB")
    assert after - before < 8e6


@pytest.mark.slow
def test_a_thousand_messages_a_second(command: str, serve: Any, site: Path, page_of: Any) -> None:
    """For CWTS_SOAK_SECONDS (60): all arrive, memory is flat, the book is the exchange's own. Prints the latencies."""
    simulator = Simulated(command, "binance-usdm-btcusdt-20240808.gz")
    served = (command, "serve", "--port", "0", "--no-open", "--site", str(site), "--simulate-origin", simulator.origin)
    try:
        with serve(*served) as address, page_of(address) as trader:
            page = Live(trader, {"binance-usdm": simulator})
            assert page.ask("binance-usdm") is None
            trader.until(lambda state: state["status"] == "live")
            simulator.post("speed", {"rate": 1000})
            time.sleep(10)
            before, first, began = memory(page), trader.state(), time.monotonic()
            time.sleep(float(os.environ.get("CWTS_SOAK_SECONDS", "60")))
            state, took = trader.state(), time.monotonic() - began
            after = memory(page)
            page.equal()
            page.counted()
            print(
                f"\n{(state['messages'] - first['messages']) / took:.0f} messages a second for {took:.0f} s; memory "
                f"{before / 1e6:.1f} MB, then {after / 1e6:.1f} MB; latency {json.dumps(state['latency'])}"
            )
            assert (state["lost"], state["gaps"], state["malformed"]) == (0, 0, 0)
            assert after - before < 8e6
    finally:
        simulator.end()
