"""The page with nobody touching it, and then with somebody at the keyboard."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Trader

# The contract: keys of cwts.state() and the types of their values.
CONTRACT = {
    "status": str, "engine": str, "exchange": str, "symbol": str, "synced": bool, "messages": int, "bestBid": str,
    "bestAsk": str, "decision": dict, "position": str, "orders": list, "pnl": str, "latency": dict,
}  # fmt: skip


@pytest.fixture(autouse=True)
def as_found(trader: Trader) -> Iterator[None]:
    """Each test finds the bundled recording playing at its own pace, trading."""
    if trader.state()["status"] in ("error", "loading") or trader.state()["ended"]:
        trader.page.keyboard.press("r")
    trader.until(lambda state: state["messages"] > 0)
    trader.run("cwts.resume()")
    trader.run("cwts.setSpeed(1)")
    trader.run("cwts.play()")
    trader.playing()
    yield
    trader.escape()


def test_the_bundled_recording_trades_without_being_asked(trader: Trader) -> None:
    first = trader.playing()
    book = trader.text("#bids") + trader.text("#asks")
    later = trader.until(lambda state: state["messages"] > first["messages"] + 200)
    assert later["exchange"] == "binance-usdm"
    assert later["symbol"] == "BTCUSDT"
    trader.until(lambda _: trader.text("#bids") + trader.text("#asks") != book)
    trader.shows("#sync", "in sync")


def test_state_keeps_its_contract(trader: Trader) -> None:
    state = trader.playing()
    for key, kind in CONTRACT.items():
        assert isinstance(state[key], kind), (key, state[key])
    assert Decimal(state["bestBid"]) < Decimal(state["bestAsk"])
    for key in ("bestBid", "bestAsk", "position", "pnl"):
        assert state[key] == f"{Decimal(state[key]).normalize():f}"
    for stage in ("queue", "feed", "total"):
        assert state["latency"][stage]["p50"] <= state["latency"][stage]["p99"]
    assert set(trader.run("Object.keys(cwts)")) >= {"state", "bookSha256", "blockSha256", "replay"}


def test_what_is_drawn_is_what_the_engine_knows(trader: Trader) -> None:
    trader.page.keyboard.press("Space")
    trader.until(lambda state: not state["playing"])
    trader.shows("#status", "paused")
    state = trader.settled()

    def number(text: str) -> Decimal:
        return Decimal(text.replace(",", ""))

    def drawn() -> tuple[Decimal, Decimal, str]:
        best_bid = trader.text("#bids > div:first-child > span:nth-of-type(2)")
        best_ask = trader.text("#asks > div:last-child > span:nth-of-type(2)")
        return number(best_bid), number(best_ask), trader.text("#reason")

    known = (Decimal(state["bestBid"]), Decimal(state["bestAsk"]), state["decision"]["reason"])
    trader.until(lambda _: drawn() == known)


def test_the_book_the_tape_and_the_words_are_drawn_in_different_frames(trader: Trader) -> None:
    """So that no frame is long: the engine's worker may be waiting for its core."""
    frames = trader.run(
        """() => new Promise((ready) => {
            requestAnimationFrame(() => requestAnimationFrame(ready)); // what was asked for before is drawn
        }).then(() => new Promise((resolve) => {
            const frames = new Map(); // what was drawn, by the frame's time
            const drawn = (what) => {
                const now = document.timeline.currentTime;
                frames.set(now, (frames.get(now) ?? new Set()).add(what));
            };
            const pens = CanvasRenderingContext2D.prototype;
            const {fillText} = pens;
            pens.fillText = function (...values) {
                if (this.canvas.id === "ladder" || this.canvas.id === "tape-sheet") drawn(this.canvas.id);
                fillText.apply(this, values);
            };
            const observer = new MutationObserver(() => drawn("words")); // told right after a frame's script
            for (const id of ["account", "counters"]) {
                observer.observe(document.getElementById(id), {subtree: true, childList: true, characterData: true});
            }
            setTimeout(() => {
                pens.fillText = fillText;
                observer.disconnect();
                resolve([...frames.values()].map((each) => [...each]));
            }, 3000);
        }))"""
    )
    assert all(len(frame) == 1 for frame in frames)
    book, tape, words = (frames.count([what]) for what in ("ladder", "tape-sheet", "words"))
    assert book > tape > 0
    assert book > words > 0


def test_space_pauses_and_plays(trader: Trader) -> None:
    trader.page.keyboard.press("Space")
    trader.until(lambda state: not state["playing"])
    still = trader.settled()["messages"]
    time.sleep(0.5)
    assert trader.state()["messages"] == still
    trader.shows("#status", "paused")
    trader.page.keyboard.press("Space")
    trader.until(lambda state: state["messages"] > still)


def test_number_keys_choose_the_speed(trader: Trader) -> None:
    for key, speed in (("1", 1), ("2", 4)):
        trader.page.keyboard.press(key)
        trader.until(lambda state, speed=speed: state["speed"] == speed)
        market, wall = trader.state()["recvTime"], time.monotonic()

        def pace(state: dict[str, Any], market: float = market, wall: float = wall) -> float:
            """The longer, the better: what the machine was late with is made up for."""
            passed = time.monotonic() - wall
            return (state["recvTime"] - market) / 1000 / passed if passed > 1 else 0

        trader.until(lambda state, pace=pace, speed=speed: 0.7 < pace(state) / speed < 1.4)
        checked = f"document.querySelector('[data-speed=\"{speed}\"]').getAttribute('aria-checked')"
        trader.until(lambda _, checked=checked: trader.run(checked) == "true")


def with_a_position(trader: Trader) -> None:
    """From the recording's beginning, so that however slow the tests before were, there is enough of it."""
    trader.page.keyboard.press("r")
    trader.playing()
    trader.page.keyboard.press("3")
    trader.until(lambda state: abs(Decimal(state["position"])) > 0)


def test_the_kill_switch_flattens_and_stays_stopped(trader: Trader) -> None:
    with_a_position(trader)
    trader.page.keyboard.press("k")
    state = trader.until(lambda state: state["halted"] and Decimal(state["position"]) == 0)
    assert state["status"] == "stopped"
    trader.shows("#line", "flat")
    orders = state["orders"][0]["id"]
    later = trader.until(lambda now: now["messages"] > state["messages"] + 3000)
    assert later["orders"][0]["id"] == orders
    trader.page.keyboard.press("k")
    trader.until(lambda state: not state["halted"])


def test_the_kill_switch_flattens_a_paused_recording(trader: Trader) -> None:
    with_a_position(trader)
    trader.run("cwts.pause()")
    while Decimal(trader.settled()["position"]) == 0:  # the engine closed it first
        trader.run("cwts.play()")
        trader.until(lambda state: abs(Decimal(state["position"])) > 0)
        trader.run("cwts.pause()")
    trader.page.click("#kill")
    trader.until(lambda state: state["halted"] and Decimal(state["position"]) == 0)


def test_the_kill_switch_works_whatever_has_the_focus(trader: Trader) -> None:
    """K wherever no letter is written, F8 everywhere."""
    page = trader.page
    for dialog, field, key in (
        (",", "#settings-search", "F8"),
        (",", ".setting input", "k"),
        ("o", "#open-symbol", "F8"),
        ("o", "#open-exchange", "k"),
    ):
        page.keyboard.press(dialog)
        page.locator(field).first.focus()
        value = page.locator(field).first.input_value()
        page.keyboard.press(key)
        trader.until(lambda state: state["halted"])
        assert page.locator(field).first.input_value() == value
        page.keyboard.press(key)
        trader.until(lambda state: not state["halted"])
        trader.escape()
    page.keyboard.press("o")
    page.focus("#open-symbol")
    page.keyboard.press("k")
    assert "k" in page.input_value("#open-symbol").lower()
    assert not trader.state()["halted"]
    page.fill("#open-symbol", "BTCUSDT")
    trader.escape()


def test_a_key_right_after_a_dialog_closed_is_the_pages(trader: Trader) -> None:
    """Until the next frame the focus stays in the closed dialog: a letter typed then must not be lost."""
    trader.page.keyboard.press("o")
    trader.page.focus("#open-symbol")
    trader.run("""() => {
        document.getElementById("open-dialog").close();
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "?", bubbles: true}));
    }""")
    assert trader.page.is_visible("#help-dialog")


def test_everything_is_reached_by_keyboard(trader: Trader) -> None:
    trader.page.keyboard.press("?")
    assert "stop trading" in trader.text("#help-dialog")
    trader.escape()
    trader.page.keyboard.press("o")
    assert trader.page.is_visible("#open-dialog")
    trader.escape()
    before = trader.run("document.documentElement.dataset.theme")
    trader.page.keyboard.press("t")
    assert trader.run("document.documentElement.dataset.theme") != before
    trader.page.keyboard.press("t")
    reached = set()
    for _ in range(30):
        trader.page.keyboard.press("Tab")
        reached.add(trader.run("document.activeElement.id || document.activeElement.dataset.speed || ''"))
    assert {"play", "1", "Infinity", "open", "theme", "help", "kill"} <= reached


def test_every_control_has_a_name(trader: Trader) -> None:
    nameless = trader.run(
        """() => [...document.querySelectorAll("button, input, select, canvas, [role]")].filter((element) =>
            !(element.textContent.trim() || element.getAttribute("aria-label") || element.labels?.length ||
              element.getAttribute("aria-labelledby") || element.closest("[aria-hidden]") ||
              ["row", "cell"].includes(element.getAttribute("role")) || element.id === "line"))
            .map((element) => element.outerHTML)"""
    )
    assert nameless == []


def test_what_the_session_does_not_know_is_told_on_request(trader: Trader) -> None:
    assert not trader.page.is_visible("#notes")
    trader.until(lambda _: trader.text("#line") == "")
    trader.page.click("#paper")
    assert "none leaves this page" in trader.text("#notes")
    assert "minimum order sizes are not known" in trader.text("#notes")
    trader.escape()
    assert not trader.page.is_visible("#notes")


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("dark", 1440, 900, "dark"),
        ("light", 1440, 900, "light"),
        ("tablet", 1000, 800, "dark"),
        ("phone", 390, 844, "light"),
    ],
)
def test_it_fits(trader: Trader, screenshots: Path, name: str, width: int, height: int, scheme: Any) -> None:
    """Nothing is wider than the screen, the theme follows the system; the picture is kept for people to look at."""
    trader.run("localStorage.removeItem('theme')")
    for one in ("light", "dark", scheme):
        trader.page.emulate_media(color_scheme=one)
    trader.page.set_viewport_size({"width": width, "height": height})
    seen = trader.state()["messages"]
    trader.until(lambda state: state["messages"] > seen + 50)
    trader.page.screenshot(path=screenshots / f"{name}.png")
    trader.until(lambda _: trader.run("document.documentElement.dataset.theme") == scheme)
    trader.fits()
    trader.page.set_viewport_size({"width": 1440, "height": 900})
    trader.page.emulate_media(color_scheme="dark")
