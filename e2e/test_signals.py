"""Whales and risk: what the analysers and networks say, as the page shows it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from cwts.kernel.layout import Signal

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Trader

PHASES = ["growth", "conservation", "release", "reorganisation"]
PLAYED = 40_000  # messages: three minutes of the recording, after which most signals are known
SEEN = """() => [...document.querySelectorAll('#reason, #last-action, #orders td:last-child')]
    .map((node) => node.textContent)"""
ROWS = """() => [...document.querySelectorAll('#whales li')]
    .map((row) => [...row.querySelectorAll('span')].map((each) => each.textContent))"""

MARKS = """() => ["bids", "asks"].map((side) => [...document.querySelectorAll(`#${side} > div > span:first-child`)]
    .map((mark) => mark.textContent).filter((mark) => /whale|iceberg/.test(mark)).length)"""


@pytest.fixture(scope="module")
def paused(trader: Trader) -> dict[str, Any]:
    """The state after some of the recording at 16 times its pace, with the words of the decisions on the way."""
    trader.page.keyboard.press("3")
    words: set[str] = set()
    marked = 0
    while trader.state()["messages"] < PLAYED:
        words.update(trader.run(SEEN))
        marked += sum(trader.run(MARKS))
        time.sleep(0.05)
    trader.page.keyboard.press("Space")
    trader.until(lambda state: not state["playing"])
    trader.shows("#status", "paused")
    return {**trader.settled(), "words": words | set(trader.run(SEEN)), "marked": marked}


def numbers(text: str) -> list[float]:
    return [float(found.replace("−", "-").replace(",", "")) for found in re.findall(r"[+−]?\d[\d,]*(?:\.\d+)?", text)]


def row(trader: Trader, name: str) -> str:
    """What the panel says beside a name."""
    rows = trader.run(ROWS)
    return next(value for found, value, *_ in rows if found == name)


def close(found: list[float], wanted: list[float], decimals: list[int]) -> bool:
    return len(found) == len(wanted) and all(
        abs(one - other) <= 0.5001 * 10.0**-places for one, other, places in zip(found, wanted, decimals, strict=True)
    )


def test_state_has_every_signal(paused: dict[str, Any]) -> None:
    assert list(paused["signals"]) == [signal.name.lower() for signal in Signal]
    for name in ("branching", "risk", "whale_pressure", "cascade_up", "whale_up", "liquidation_up", "liquidation_down"):
        assert paused["signals"][name] != 0, name
    assert -1 <= paused["signals"]["whale_pressure"] <= 1
    assert 0 <= paused["signals"]["risk"] <= 1


@pytest.mark.parametrize(
    ("name", "signals", "decimals"),
    [
        ("whale pressure", [("whale_pressure", 1), ("whale_confidence", 100)], [2, 0]),
        ("whale follow-on", [("whale_up", 100), ("whale_down", 100)], [0, 0]),
        ("value forecast", [("value", 1)], [2]),
        ("cascade forecast", [("cascade_up", 100), ("cascade_down", 100)], [0, 0]),
        ("criticality", [("criticality", 1), ("branching", 1)], [2, 2]),
        ("vacuum", [("vacuum", 100)], [0]),
        ("market phase", [("risk", 1)], [2]),
        ("Fibonacci level", [("fibonacci", 1), ("confluence", 100)], [3, 0]),
        ("liquidations above", [("liquidation_up", 1), ("liquidation_up_mass", 1)], [0, 1]),
        ("liquidations below", [("liquidation_down", -1), ("liquidation_down_mass", 1)], [0, 1]),
    ],
)
def test_the_panel_says_what_the_engine_knows(
    trader: Trader, paused: dict[str, Any], name: str, signals: list[tuple[str, float]], decimals: list[int]
) -> None:
    wanted = [paused["signals"][signal] * factor for signal, factor in signals]
    trader.until(lambda _: close(numbers(row(trader, name)), wanted, decimals), 60)


def test_nests_are_told_or_none(trader: Trader, paused: dict[str, Any]) -> None:
    strengths = [paused["signals"]["nest_bid"], paused["signals"]["nest_ask"]]
    wanted = [strength for strength in strengths if strength > 0]
    trader.until(lambda _: close(numbers(row(trader, "whale orders")), wanted, [1] * len(wanted)), 60)


def test_orders_of_whales_are_marked_in_the_book(trader: Trader, paused: dict[str, Any]) -> None:
    assert paused["marked"] > 0
    bids, asks = trader.run(MARKS)
    assert bids == 0 or paused["signals"]["nest_bid"] > 0
    assert asks == 0 or paused["signals"]["nest_ask"] > 0


def test_the_phase_and_the_alarm_are_words(trader: Trader, paused: dict[str, Any]) -> None:
    trader.until(lambda _: row(trader, "market phase").split(",")[0] == PHASES[int(paused["signals"]["phase"])])
    trader.until(lambda _: ("ALARM" in row(trader, "black swan")) == (paused["signals"]["swan_alarm"] == 1))


def test_decisions_are_words(trader: Trader, paused: dict[str, Any]) -> None:
    assert paused["orders"]
    assert len(paused["words"]) > 5
    assert not [words for words in paused["words"] if re.search(r"reason \d|undefined|NaN", words)]

    def told(parts: list[float]) -> bool:
        return len(parts) == 3 and abs(max(-1.0, min(1.0, sum(parts))) - paused["decision"]["score"]) < 0.02

    trader.until(lambda _: told(numbers(trader.text("#parts"))))


def test_every_name_is_explained(trader: Trader, paused: dict[str, Any]) -> None:
    titles = trader.run("[...document.querySelectorAll('#whales li')].map((row) => row.title)")
    assert len(titles) >= 14
    assert all(len(title) > 20 for title in titles)


COLOURS = """() => {
    const canvas = document.getElementById("lines");
    if (canvas.width === 0) return [0];
    const pen = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
    pen.drawImage(canvas, 0, 0);
    const ratio = canvas.width / canvas.clientWidth;
    return [...document.querySelectorAll("#whales .line-place")].map((place) => {
        const box = [place.offsetLeft, place.offsetTop, place.offsetWidth, place.offsetHeight];
        const pixels = pen.getImageData(...box.map((each) => each * ratio)).data;
        return new Set(new Uint32Array(pixels.buffer)).size;
    });
}"""


def test_the_lines_are_drawn(trader: Trader, paused: dict[str, Any]) -> None:
    """Each place of a line holds more than the background, where its signal was seen to change."""
    trader.until(lambda _: all(count > 2 for count in trader.run(COLOURS)))


def test_a_phone_shows_it_without_scrolling_sideways(trader: Trader, paused: dict[str, Any], screenshots: Path) -> None:
    trader.page.set_viewport_size({"width": 390, "height": 844})
    try:
        trader.until(lambda _: trader.run("document.documentElement.scrollWidth <= innerWidth"), 10)
        cut = trader.run(
            """[...document.querySelectorAll('#whales .value .cell')]
                .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"""
        )
        assert cut == []
        trader.page.locator("#whales").scroll_into_view_if_needed()
        trader.page.screenshot(path=screenshots / "signals-phone.png")
    finally:
        trader.page.set_viewport_size({"width": 1440, "height": 900})
