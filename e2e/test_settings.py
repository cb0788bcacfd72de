"""Settings in the page: the engine's own list, taken by the engine that runs, kept, and the same bits as natively."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts import networks
from cwts.config import Settings
from cwts.recording import FRAME, Recording
from cwts.replay import prepare, replay
from cwts.settings import change_payloads, listed, parse_settings, read_settings, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext

    from conftest import Trader

    Native = Callable[[Path, str, str], dict[str, Any]]

USDM = ("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT")
CHANGED = {"enter": 0.5, "whale.quantile": 0.97, "order_share": 0.1, "decision.whale_weight": -1}
NOTES = "document.getElementById('notes-list').textContent"
BAD = {
    "words": ("many", "a number from 0.5 to 0.9999 is expected, not 'many'"),
    "nothing": ("", "a number from 0.5 to 0.9999 is expected, not ''"),
    "a comma": ("0,97", "a number from 0.5 to 0.9999 is expected"),
    "too large": ("2", "must be from 0.5 to 0.9999, not 2"),
    "too small": ("-1", "must be from 0.5 to 0.9999, not -1"),
    "not a number": ("nan", "must be from 0.5 to 0.9999, not nan"),
    "infinite": ("1e999", "must be from 0.5 to 0.9999, not inf"),
}


@pytest.fixture
def new(browser: Browser, address: str, make_trader: type[Trader]) -> Iterator[Callable[..., Trader]]:
    """A page of one's own; in the same context it finds what another one kept. `script` runs before the page's."""
    contexts: list[BrowserContext] = []
    traders: list[Trader] = []

    def opened(context: BrowserContext | None = None, script: str = "") -> Trader:
        if context is None:
            context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
            contexts.append(context)
        if script:
            context.add_init_script(script)
        traders.append(make_trader(context.new_page(), address))
        traders[-1].playing()
        return traders[-1]

    yield opened
    for each in contexts:
        each.close()
    assert [complaint for each in traders for complaint in each.complaints] == []


@pytest.fixture(autouse=True)
def as_found(request: pytest.FixtureRequest) -> None:
    """Each test on the module's page finds the default settings and no sheet."""
    if "trader" in request.fixturenames:
        trader: Trader = request.getfixturevalue("trader")
        trader.escape()
        trader.run("Promise.all(Object.keys(cwts.state().settings.changed).map((name) => cwts.set(name, null)))")
        trader.run("cwts.setNetworks('shipped')")
        assert told(trader)["changed"] == {}


def told(trader: Trader) -> dict[str, Any]:
    found: dict[str, Any] = trader.state()["settings"]
    return found


def choose(trader: Trader, named: dict[str, Any]) -> None:
    for name, value in named.items():
        trader.run("([name, value]) => cwts.set(name, value)", [name, value])


def enter(trader: Trader, name: str, value: str) -> None:
    """As a person does: the row's input, the value, Enter."""
    trader.page.locator(f'[id="setting-{name}"]').fill(value)
    trader.page.keyboard.press("Enter")


def words(trader: Trader, name: str) -> str:
    return trader.text(f'[id="setting-{name}-words"]')


def names(trader: Trader) -> list[str]:
    found: list[str] = trader.run(
        "[...document.querySelectorAll('#settings-list label')].map((label) => label.textContent)"
    )
    return found


# -- the sheet -------------------------------------------------------------------------------------------------------


def test_it_lists_every_setting_with_value_unit_range_default_and_meaning(trader: Trader) -> None:
    trader.page.get_by_role("button", name="Settings").click()
    assert names(trader) == [row["name"] for row in listed()]
    row = trader.page.locator(".setting", has=trader.page.locator('[id="setting-whale.quantile"]'))
    assert re.sub(r"\s+", " ", row.inner_text()) == (
        "whale.quantile share · 0.5 to 0.9999 · default 0.99 a cluster of trades larger than this share of the recent "
        "ones is a whale"
    )
    assert trader.page.input_value('[id="setting-whale.quantile"]') == "0.99"
    assert trader.page.input_value("#setting-capital") == ""
    assert trader.text("#settings-words") == "All as by default."


def test_by_keyboard_alone(trader: Trader) -> None:
    keyboard = trader.page.keyboard
    keyboard.press(",")
    keyboard.type("trades larger share")
    assert names(trader) == ["whale.quantile"]
    keyboard.press("ArrowDown")
    keyboard.press("ControlOrMeta+a")
    keyboard.type("0.97")
    keyboard.press("Enter")
    trader.until(lambda state: state["settings"]["changed"] == {"whale.quantile": 0.97})
    trader.escape()
    assert not trader.page.is_visible("#settings-dialog")
    keyboard.press(",")
    assert names(trader)[0] == "whale.quantile"  # what is changed comes first
    assert trader.run("document.querySelector('.setting').classList.contains('changed')")
    keyboard.press("ArrowDown")
    keyboard.press("Tab")
    assert trader.run("document.activeElement.getAttribute('aria-label')") == "Reset whale.quantile"
    keyboard.press("Enter")
    trader.until(lambda state: state["settings"]["changed"] == {})
    trader.until(lambda _: trader.run("document.activeElement.value") == "0.99")
    trader.escape()


def test_the_help_lists_the_key(trader: Trader) -> None:
    trader.page.keyboard.press("?")
    assert "settings" in trader.text("#help-dialog")
    trader.escape()


def test_escape_leaves_what_was_typed_and_not_entered(trader: Trader) -> None:
    trader.page.keyboard.press(",")
    trader.page.locator("#setting-exit").press_sequentially("9")
    trader.escape()
    time.sleep(0.3)
    assert told(trader)["changed"] == {}
    trader.page.keyboard.press(",")
    assert trader.page.input_value("#setting-exit") == "0.3"


@pytest.mark.parametrize("case", BAD)
def test_a_value_that_is_none_says_what_was_expected_and_changes_nothing(trader: Trader, case: str) -> None:
    value, expected = BAD[case]
    choose(trader, {"whale.quantile": 0.97})
    trader.page.keyboard.press(",")
    enter(trader, "whale.quantile", value)
    trader.until(lambda _: "Nothing has changed" in words(trader, "whale.quantile"))
    assert expected in words(trader, "whale.quantile")
    assert trader.page.get_attribute('[id="setting-whale.quantile"]', "aria-invalid") == "true"
    assert told(trader)["changed"] == {"whale.quantile": 0.97}
    enter(trader, "whale.quantile", "0.96")
    trader.until(lambda state: state["settings"]["changed"] == {"whale.quantile": 0.96})
    trader.until(lambda _: words(trader, "whale.quantile") == "")


def test_a_limit_of_risk_that_is_loosened_says_so(trader: Trader) -> None:
    trader.page.keyboard.press(",")
    enter(trader, "decision.criticality_max", "1")
    trader.until(lambda _: "Permits more risk than the default 0.95" in words(trader, "decision.criticality_max"))
    assert told(trader)["loosened"] == ["decision.criticality_max"]
    assert "permits more risk: decision.criticality_max" in trader.text("#settings-words")
    trader.escape()
    name = trader.page.get_attribute("#settings", "aria-label") or ""
    assert "permits more risk: decision.criticality_max" in name  # with the sheet closed too
    assert trader.text("#settings-badge") == "1"
    trader.page.keyboard.press(",")
    enter(trader, "decision.criticality_max", "0.9")
    trader.until(lambda _: words(trader, "decision.criticality_max") == "")


def test_what_the_engine_cannot_change_while_it_runs_says_so(trader: Trader) -> None:
    trader.page.keyboard.press(",")
    enter(trader, "capital", "250")
    trader.until(lambda _: "Not yet" in words(trader, "capital"))
    assert "from the next session on" in trader.text("#setting-capital-range")
    assert told(trader)["pending"] == ["capital"]
    trader.escape()
    trader.page.keyboard.press("r")
    trader.until(lambda state: state["settings"]["pending"] == [])
    trader.shows("#account", "250.0000 USDT")


def test_the_kill_switch_works_while_it_is_open(trader: Trader) -> None:
    trader.page.keyboard.press(",")
    trader.page.locator("#settings-close").focus()
    trader.page.keyboard.press("k")
    trader.until(lambda state: state["halted"])
    trader.page.keyboard.press("k")
    trader.until(lambda state: not state["halted"])


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [("dark", 1440, 900, "dark"), ("light", 1440, 900, "light"), ("phone", 390, 844, "light")],
)
def test_it_fits(trader: Trader, screenshots: Path, name: str, width: int, height: int, scheme: Any) -> None:
    """Nothing is wider than the screen, words of every kind among it; the picture is for people to look at."""
    trader.page.emulate_media(color_scheme=scheme)
    trader.page.set_viewport_size({"width": width, "height": height})
    choose(trader, {"enter": 0.5, "order_share": 0.5, "whale.quantile": 0.97})
    trader.page.keyboard.press(",")
    enter(trader, "exit", "seven")
    trader.until(lambda _: "Nothing has changed" in words(trader, "exit"))
    trader.page.locator("#settings-card summary").click()
    trader.page.screenshot(path=screenshots / f"settings-{name}.png")
    for box in ("document.documentElement", "document.querySelector('.settings-scroll')"):
        trader.until(lambda _, box=box: trader.run(f"{box}.scrollWidth <= {box}.clientWidth"))
    assert trader.run("document.getElementById('settings-dialog').getBoundingClientRect().right <= innerWidth")
    trader.page.locator("#settings-card summary").click()
    trader.escape()
    trader.page.set_viewport_size({"width": 1440, "height": 900})
    trader.page.emulate_media(color_scheme="dark")


# -- the engine ------------------------------------------------------------------------------------------------------


def test_from_the_start_it_is_the_native_run_with_the_same_settings(trader: Trader, data: Path, native: Native) -> None:
    path, market = data / USDM[0], USDM[1:]
    choose(trader, CHANGED)
    trader.offer(path)
    assert trader.replay_file(*market) is None
    recording = Recording(path)
    expected = replay(recording, prepare(recording, *market, settings=settings_of(CHANGED)))
    assert trader.run("cwts.blockSha256()") == expected["block_sha256"] != native(path, *market)["block_sha256"]
    choose(trader, dict.fromkeys(CHANGED))
    trader.offer(path)
    assert trader.replay_file(*market) is None
    assert trader.run("cwts.blockSha256()") == native(path, *market)["block_sha256"]


def test_at_run_time_it_is_the_native_run_with_the_same_frames(trader: Trader, data: Path) -> None:
    path, market = data / USDM[0], USDM[1:]
    trader.offer(path)
    trader.run(
        """([exchange, symbol]) => {
            const file = document.getElementById("open-file").files[0];
            globalThis.done = cwts.replay(file, {exchange, symbol, speed: 16});
        }""",
        list(market),
    )
    trader.until(lambda state: state["messages"] > 2000)
    trader.run("cwts.pause()")
    trader.settled()
    settings = {"enter": 0.45, "exit": 0.1, "whale.quantile": 0.9, "swan.on": 0.4}
    choose(trader, settings)
    trader.run("cwts.setNetworks('none')")
    seen = trader.state()["messages"]
    assert seen < 93_000
    running = told(trader)["running"]
    assert (running["enter"], running["exit"]) == (pytest.approx(0.45), pytest.approx(0.1))
    trader.run("cwts.setSpeed(Infinity)")
    trader.run("cwts.play()")
    trader.run("globalThis.done")

    recording = Recording(path)
    engine = prepare(recording, *market).engine_for(recording)[0]
    payloads = [*change_payloads(Settings(), settings_of(settings)), *networks.replace_payloads("none")]
    messages = 0
    for batch in recording.batches():
        at = 0
        while at < len(batch):
            size = FRAME.size + (FRAME.unpack_from(batch, at)[1] + 7 & ~7)
            engine.feed(batch[at : at + size])
            at, messages = at + size, messages + 1
            if messages == seen:
                engine.feed(networks.command_frames(payloads, int(engine.view["header"]["now_ns"])))
    assert trader.run("cwts.blockSha256()") == engine.block_sha256()
    assert trader.state()["malformed"] == 0


# -- kept, imported, exported ----------------------------------------------------------------------------------------


def test_settings_and_networks_stay_for_the_next_time(new: Callable[..., Trader], tmp_path: Path, data: Path) -> None:
    first = new()
    choose(first, CHANGED)
    path = own_networks(tmp_path)
    first.page.set_input_files("#settings-networks-file", path)
    first.until(lambda state: state["settings"]["networks"] == "own.json")
    again = new(first.page.context)
    state = again.state()["settings"]
    assert (state["changed"], state["networks"], state["pending"]) == (CHANGED, "own.json", [])
    assert state["running"]["enter"] == 0.5
    again.offer(data / USDM[0])
    assert again.replay_file(*USDM[1:]) is None
    recording = Recording(data / USDM[0])
    settings = read_settings(None, [f"{name}={value}" for name, value in CHANGED.items()])
    given = Settings(**{**vars(settings), "networks": str(path)})
    expected = replay(recording, prepare(recording, *USDM[1:], settings=given))
    assert again.run("cwts.blockSha256()") == expected["block_sha256"]


def test_a_browser_that_keeps_nothing_is_told_so_and_works(new: Callable[..., Trader]) -> None:
    trader = new(script="Object.defineProperty(globalThis, 'localStorage', {get() { throw new Error('refused'); }})")
    choose(trader, {"enter": 0.5})
    assert told(trader)["running"]["enter"] == 0.5
    trader.page.keyboard.press(",")
    assert "keeps none of it" in trader.text("#settings-words")


def test_what_was_kept_and_is_no_longer_right_is_left_out_and_said(new: Callable[..., Trader]) -> None:
    kept = json.dumps({"values": {"enter": 0.5, "swan.on": 9}, "networks": "own", "name": "w.json", "text": "{"})
    trader = new(script=f"localStorage.setItem('settings', {json.dumps(kept)})")
    assert told(trader)["changed"] == {"enter": 0.5}
    assert told(trader)["networks"] == "shipped"
    trader.until(lambda _: "minimum order sizes" in trader.run(NOTES))  # those of the session too
    said = trader.run(NOTES)
    assert "A kept setting is left out: swan.on must be from 0.001 to 1, not 9." in said
    assert "The kept networks are left out, the shipped ones run: w.json: not JSON" in said
    assert "Differs from the defaults: enter 0.5; permits more risk: enter." in said


@pytest.mark.parametrize("kept", ["{", "3", '{"values": 3}'])
def test_what_was_kept_and_cannot_be_read_is_forgotten(new: Callable[..., Trader], kept: str) -> None:
    trader = new(script=f"localStorage.setItem('settings', {json.dumps(kept)})")
    assert told(trader)["changed"] == {}


def test_an_exported_file_is_what_the_command_reads_and_comes_back(new: Callable[..., Trader], tmp_path: Path) -> None:
    trader = new()
    choose(trader, CHANGED | {"capital": "250.5", "weights.MICRO": 0})
    changed = told(trader)["changed"]
    trader.page.keyboard.press(",")
    with trader.page.expect_download() as download:
        trader.page.get_by_role("button", name="Export").click()
    path = tmp_path / download.value.suggested_filename
    assert path.name == "cwts-settings.toml"
    download.value.save_as(path)
    assert parse_settings(path.read_bytes(), "it") == {**changed, "capital": 250.5}  # nothing else is in it
    settings = read_settings(str(path), [])
    assert (settings.enter, settings.weights) == (0.5, {"IMBALANCE_5": 0.4, "FLOW_1S": 0.4})
    trader.page.get_by_role("button", name="Reset all").click()
    trader.until(lambda state: state["settings"]["changed"] == {})
    assert names(trader)[0] == "enter"
    choose(trader, {"swan.on": 0.4})
    trader.page.set_input_files("#settings-file", path)
    trader.until(lambda state: state["settings"]["changed"] == changed)
    assert "swan.on" not in names(trader)[: len(changed)]
    assert told(trader)["running"]["enter"] == 0.5  # at once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("enter = ", "bad.toml: not TOML"),
        ("[whale]\nquantile = 2", "bad.toml: whale.quantile must be from 0.5 to 0.9999, not 2"),
        ("moon = 1", "bad.toml: no setting 'moon'"),
        ("\xff", "bad.toml: not TOML"),
    ],
)
def test_a_file_that_is_no_settings_file_is_one_line_and_changes_nothing(
    trader: Trader, text: str, expected: str
) -> None:
    choose(trader, {"enter": 0.5})
    trader.page.keyboard.press(",")
    bad = {"name": "bad.toml", "mimeType": "text/plain", "buffer": text.encode("latin-1")}
    trader.page.set_input_files("#settings-file", bad)  # type: ignore[arg-type]
    trader.until(lambda _: "Nothing has changed" in trader.text("#settings-error"))
    assert trader.text("#settings-error").startswith(expected)
    assert told(trader)["changed"] == {"enter": 0.5}


# -- networks --------------------------------------------------------------------------------------------------------


def own_networks(folder: Path) -> Path:
    """The shipped ones with another forecast, as `cwts train` writes them."""
    shipped = networks.load()
    shipped.networks["value"]["b2"][0] = np.float32(50)
    path = folder / "own.json"
    networks.save(path, networks.Weights(shipped.networks, {**shipped.card, "held_out": "a file of one's own"}))
    return path


def test_networks_of_ones_own_run_at_once_and_their_card_is_shown(trader: Trader, tmp_path: Path) -> None:
    trader.page.keyboard.press(",")
    trader.page.set_input_files("#settings-networks-file", own_networks(tmp_path))
    trader.until(lambda state: state["settings"]["networks"] == "own.json")
    trader.until(lambda state: state["signals"]["value"] > 40)
    trader.shows("#settings-card", "held out: a file of one's own")
    trader.shows("#settings-card", "cascade: AUC 0.662 (0.608 to 0.720)")
    trader.page.get_by_role("radio", name="None").click()
    trader.until(lambda state: state["settings"]["networks"] == "none" and state["signals"]["value"] == 0)
    assert not trader.page.is_visible("#settings-card")
    trader.page.get_by_role("radio", name="Shipped").click()
    trader.until(lambda state: 0 < abs(state["signals"]["value"]) < 40)


@pytest.mark.parametrize("text", ["{", '{"format": "cwts-networks-1", "networks": {"value": {}}}'])
def test_a_file_that_is_no_weights_file_is_one_line_and_changes_nothing(trader: Trader, text: str) -> None:
    trader.page.keyboard.press(",")
    bad = {"name": "bad.json", "mimeType": "application/json", "buffer": text.encode()}
    trader.page.set_input_files("#settings-networks-file", bad)  # type: ignore[arg-type]
    trader.until(lambda _: "Nothing has changed" in trader.text("#settings-error"))
    assert trader.text("#settings-error").startswith("bad.json: ")
    assert told(trader)["networks"] == "shipped"
