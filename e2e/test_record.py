"""Recording in the page: what the engine was fed lies in the browser, and replays natively to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cwts.recorder import FRAMES, STATE, check, groups
from simulated import SYMBOLS, Live, Simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from conftest import Trader

NEWEST = "cwts.recordings().then(([newest]) => newest.name)"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of one's own: its storage is empty."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    yield context
    context.close()


@pytest.fixture
def live(context: BrowserContext, make_trader: Any, live_address: str, simulators: dict[str, Simulated]) -> Live:
    return opened(context.new_page(), make_trader, live_address, simulators)


def opened(page: Page, make_trader: Any, address: str, simulators: dict[str, Simulated]) -> Live:
    trader = make_trader(page, address)
    trader.playing()
    return Live(trader, simulators)


def record(trader: Trader, on: bool = True, **limits: int) -> str | None:
    """Returns the error's text if it was refused."""
    script = "([on, limits]) => cwts.record(on, limits).then(() => null, (error) => error.message)"
    return trader.run(script, [on, limits])


def recorded(trader: Trader, frames: int) -> dict[str, Any]:
    """Waits until so many frames more are in the file; returns what is told of the recording."""
    before = trader.state()["recording"]["frames"]
    return trader.until(lambda state: state["recording"]["frames"] >= before + frames)["recording"]


def download(trader: Trader, name: str, folder: Path) -> Path:
    """As a person does: by the list's button."""
    page = trader.page
    if not page.is_visible("#recordings-dialog"):
        page.click("#recordings")
    button = page.get_by_role("button", name=f"Download {name}", exact=True)
    with page.expect_download() as found:
        button.click()
    assert found.value.suggested_filename == name
    path = folder / name
    found.value.save_as(path)
    trader.escape()
    return path


def replayed(command: str, path: Path, exchange: str, *more: str) -> dict[str, Any]:
    line = [command, "replay", str(path), "--exchange", exchange, "--symbol", SYMBOLS[exchange], *more, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def kinds(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [group.kind for group in groups(file)]


@pytest.mark.parametrize("exchange", ["binance-usdm", "okx"])
def test_a_session_that_was_recorded_from_its_start_replays_to_the_same_block(
    live: Live, exchange: str, command: str, tmp_path: Path
) -> None:
    """Settings, the kill switch and a book that was lost among it: all are frames."""
    trader = live.trader
    assert record(trader) is None
    assert trader.state()["recording"]["on"]
    live.go(exchange)
    trader.shows("#record-size", "kB")
    assert trader.page.get_attribute("#record", "aria-pressed") == "true"
    recorded(trader, 50)
    trader.run("cwts.set('whale.quantile', 0.97)")
    trader.page.keyboard.press("k")
    trader.until(lambda state: state["halted"])
    recorded(trader, 20)
    stream = "books" if exchange == "okx" else "depth"
    live.simulator.faults({"kind": "gap", "exchange": exchange, "stream": stream, "count": 2})
    trader.until(lambda state: state["gaps"] > 0 and state["synced"])
    live.equal()
    recorded(trader, 20)
    trader.page.keyboard.press("k")
    trader.until(lambda state: not state["halted"])
    recorded(trader, 50)
    trader.run("cwts.stop()")
    name = trader.run(NEWEST)
    path = download(trader, name, tmp_path)
    found = replayed(command, path, exchange)
    state = trader.state()
    assert found["block_sha256"] == trader.run("cwts.blockSha256()")
    assert found["book_sha256"] == trader.run("cwts.bookSha256()")
    assert found["messages"] == state["messages"] > 100
    assert found["gaps"] == state["gaps"] >= 1
    assert check(path).torn_bytes == 0
    assert STATE not in kinds(path)  # so it can be replayed with other settings too
    other = replayed(command, path, exchange, "--set", "capital=77")
    assert other["account"]["capital"] == "77"
    assert other["synced"]
    assert replayed(command, path, exchange, "--engine", "wasmtime")["block_sha256"] == found["block_sha256"]


def test_a_session_may_be_recorded_from_its_middle_on_and_the_next_one_is_too(
    live: Live, command: str, tmp_path: Path
) -> None:
    trader = live.trader
    live.go("binance-usdm")
    live.equal()
    trader.page.keyboard.press("c")
    recorded(trader, 50)
    trader.page.keyboard.press("s")
    first = trader.until(lambda state: state["status"] == "stopped") and trader.run(NEWEST)
    found = replayed(command, download(trader, first, tmp_path), "binance-usdm")
    assert found["block_sha256"] == trader.run("cwts.blockSha256()")
    assert "this file begins in the middle of a session: the engine starts as it was there" in found["notes"]
    trader.shows("#record-size", "waiting")
    trader.page.keyboard.press("r")
    trader.until(lambda state: state["status"] == "live")
    recorded(trader, 50)
    trader.page.keyboard.press("c")
    trader.until(lambda state: not state["recording"]["on"] and state["recording"]["name"] == "")
    second, *others = trader.run("cwts.recordings()")
    assert [each["name"] for each in others] == [first]
    assert not second["writing"]
    assert trader.state()["status"] == "live"  # it goes on without
    trader.run("cwts.stop()")
    assert replayed(command, download(trader, second["name"], tmp_path), "binance-usdm")["synced"]


def test_files_rotate_each_replays_alone_and_the_oldest_goes(live: Live, command: str, tmp_path: Path) -> None:
    trader = live.trader
    assert record(trader, fileBytes=60_000, keptBytes=600_000) is None
    live.go("binance-usdm")
    live.simulator.post("speed", {"burst": 60_000})
    trader.until(lambda _: live.simulator.get("state")["burst"] == 0)
    live.equal()
    recorded(trader, 20)
    trader.until(
        lambda state: any("was removed: 1 MB are kept at most" in note for note in state["recording"]["notes"])
    )
    trader.run("cwts.stop()")
    rows = trader.run("cwts.recordings()")
    assert len(rows) > 3
    assert sum(row["bytes"] for row in rows) <= 600_000
    assert not any(row["name"].endswith("-0000.cwts") for row in rows)
    sha = trader.run("cwts.blockSha256()")
    folder = tmp_path / "rest"
    folder.mkdir()
    paths = [download(trader, row["name"], folder) for row in rows]
    assert replayed(command, paths[0], "binance-usdm")["block_sha256"] == sha
    assert replayed(command, folder, "binance-usdm")["block_sha256"] == sha
    assert all(kinds(path)[1] == STATE and FRAMES in kinds(path) for path in paths)


def test_options_that_make_no_sense_are_one_line(live: Live) -> None:
    assert "at least twice fileBytes" in (record(live.trader, fileBytes=1000, keptBytes=1500) or "")


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_torn_tail_is_cut_at_the_next_start_and_told(live: Live, command: str, tmp_path: Path) -> None:
    trader = live.trader
    assert record(trader) is None
    live.go("okx")
    recorded(trader, 100)
    trader.run("cwts.stop()")
    name = trader.run(NEWEST)
    whole = download(trader, name, tmp_path).read_bytes()
    trader.run(
        """async ([name, bytes]) => {
            const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("recordings");
            const file = await (await folder.getFileHandle(name)).createWritable({keepExistingData: true});
            await file.truncate(bytes);
            await file.close();
            const none = await (await folder.getFileHandle("okx-x-0000.cwts", {create: true})).createWritable();
            await none.write("WM*");
            await none.close();
        }""",
        [name, len(whole) - 7],
    )
    trader.page.reload()
    trader.shows("#line", f"{name}: a torn tail of ")
    trader.playing()
    cut, gone = trader.state()["recording"]["notes"]
    if "okx-x-0000" in cut:
        cut, gone = gone, cut
    assert gone == "okx-x-0000.cwts: nothing in its 3 bytes was whole, so it was removed"
    (row,) = trader.run("cwts.recordings()")
    trader.page.keyboard.press("o")
    trader.page.click("#open-recordings")
    trader.shows("#recordings-notes", cut)
    path = download(trader, row["name"], tmp_path)
    assert path.read_bytes() == whole[: row["bytes"]]
    found = check(path)
    assert found.torn_bytes == 0
    assert cut.endswith(f"of {len(whole) - 7 - row['bytes']:,} bytes was cut; {found.frames:,} frames remain")
    torn = tmp_path / "torn.cwts"
    torn.write_bytes(whole[:-7])
    assert replayed(command, path, "okx")["block_sha256"] == replayed(command, torn, "okx")["block_sha256"]
    trader.page.reload()
    trader.playing()
    assert trader.state()["recording"]["notes"] == []


def test_a_page_that_is_killed_loses_at_most_the_group_that_was_not_written(
    live: Live,
    browser: Browser,
    context: BrowserContext,
    make_trader: Any,
    live_address: str,
    command: str,
    tmp_path: Path,
) -> None:
    trader = live.trader
    assert record(trader) is None
    live.go("binance")
    written = recorded(trader, 100)["frames"]
    with trader.page.expect_event("crash"):
        for process in browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]:
            if process["type"] == "renderer":
                os.kill(process["id"], signal.SIGKILL)
    again = opened(context.new_page(), make_trader, live_address, live.simulators)
    (row,) = again.trader.run("cwts.recordings()")
    again.go("okx")
    path = download(again.trader, row["name"], tmp_path)
    found = check(path)
    assert found.torn_bytes == 0
    assert found.frames >= written
    assert replayed(command, path, "binance")["synced"]


def test_two_pages_record_side_by_side_and_leave_each_other_alone(
    live: Live, context: BrowserContext, make_trader: Any, live_address: str, command: str, tmp_path: Path
) -> None:
    """Begun in the same second, of the same instrument, by two tabs."""
    other = opened(context.new_page(), make_trader, live_address, live.simulators)
    both = [live, other]
    for each in both:
        each.go("binance-usdm")
    for each in both:
        each.trader.run("void setTimeout(() => cwts.record(true), 2000 - (Date.now() % 1000))")
    names = []
    for each in both:
        each.trader.until(lambda state: state["recording"]["name"])
        recorded(each.trader, 50)
        names.append(each.trader.state()["recording"]["name"])
    one, two = names
    assert one != two
    assert one.removesuffix(".cwts")[:-5] == two.removesuffix(".cwts")[:-5], "not in the same second"
    listed = {row["name"]: row["writing"] for row in other.trader.run("cwts.recordings()")}
    assert listed == {one: False, two: True}
    other.trader.page.click("#recordings")
    for _ in range(2):
        other.trader.page.locator(f"[data-file='{one}']").last.click()
    other.trader.shows("#recordings-error", "another page is writing it")
    other.trader.escape()
    for each, name in zip(both, names, strict=True):
        each.trader.run("cwts.stop()")
        path = download(each.trader, name, tmp_path)
        assert check(path).torn_bytes == 0
        assert replayed(command, path, "binance-usdm")["block_sha256"] == each.trader.run("cwts.blockSha256()")


def test_full_storage_ends_the_recording_and_nothing_else(
    on_disk: BrowserContext,
    make_trader: Any,
    live_address: str,
    simulators: dict[str, Simulated],
    command: str,
    tmp_path: Path,
) -> None:
    live = opened(on_disk.new_page(), make_trader, live_address, simulators)
    trader = live.trader
    quota = on_disk.new_cdp_session(trader.page)
    live.go("binance-usdm")
    used = quota.send("Storage.getUsageAndQuota", {"origin": live_address})["usage"]
    quota.send("Storage.overrideQuotaForOrigin", {"origin": live_address, "quotaSize": used + 1_500_000})
    assert record(trader) is None
    live.simulator.post("speed", {"burst": 60_000})
    told = trader.until(lambda state: state["recording"]["error"])["recording"]
    words = "Not recording: this browser's storage for the page is full. The session goes on without"
    assert told["error"].startswith(words)
    assert not told["on"]
    trader.shows("#line", words)
    seen = trader.state()["messages"]
    trader.until(lambda state: state["messages"] > seen + 20 and state["status"] == "live")
    live.equal()
    name = trader.run(NEWEST)
    path = download(trader, name, tmp_path)
    assert check(path).torn_bytes == 0
    assert replayed(command, path, "binance-usdm")["synced"]
    assert trader.complaints == []


@pytest.fixture
def without(
    context: BrowserContext, make_trader: Any, live_address: str, simulators: dict[str, Simulated]
) -> Callable[[str], Live]:
    """A page in whose recorder worker this ran first."""

    def made(script: str) -> Live:
        page = context.new_page()

        def changed(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=f"{script}\n{answer.text()}")

        page.route("**/workers/recorder.js", changed)
        return opened(page, make_trader, live_address, simulators)

    return made


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("delete StorageManager.prototype.getDirectory;", "this browser has no storage for a page's own files (OPFS)"),
        (
            "StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('no', 'SecurityError'));",
            "this browser gives the page no storage (a private window?)",
        ),
    ],
)
def test_without_storage_there_is_one_line_and_the_session_goes_on(without: Any, script: str, why: str) -> None:
    live = without(script)
    trader = live.trader
    live.go("binance")
    trader.page.click("#record")
    trader.shows("#line", f"Not recording: {why}. The session goes on without.")
    state = trader.until(lambda state: not state["recording"]["on"])
    assert trader.page.get_attribute("#record", "aria-pressed") == "false"
    trader.until(lambda now: now["messages"] > state["messages"] + 20 and now["status"] == "live")
    live.equal()
    assert (record(trader) or "").startswith(f"Not recording: {why}")
    trader.page.click("#recordings")
    trader.shows("#recordings-error", why)
    assert live.ask("okx") is None  # the next session is not recorded either, and runs
    trader.until(lambda state: state["status"] == "live" and not state["recording"]["on"])
    assert trader.complaints == []


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_the_list_by_keyboard_and_delete_asks_twice(live: Live) -> None:
    trader, page = live.trader, live.trader.page
    live.go("okx")
    page.focus("#record")
    page.keyboard.press("Enter")
    recorded(trader, 20)
    page.focus("#recordings")
    page.keyboard.press("Enter")
    trader.shows("#recordings-list", "being written")
    (row,) = trader.run("cwts.recordings()")
    assert row["writing"]
    name = row["name"]
    assert page.get_by_role("button", name=f"Delete {name}").is_disabled()
    trader.escape()
    page.focus("#record")
    page.keyboard.press("Enter")
    trader.until(lambda state: state["recording"]["name"] == "")
    page.focus("#recordings")
    page.keyboard.press("Enter")
    trader.shows("#recordings-list", "UTC")
    page.get_by_role("button", name=f"Delete {name}").focus()
    page.keyboard.press("Enter")
    trader.shows("#recordings-list", "for good?")
    assert len(trader.run("cwts.recordings()")) == 1
    page.keyboard.press("Enter")
    trader.until(lambda _: trader.run("cwts.recordings()") == [])
    trader.shows("#recordings-dialog", "Nothing is recorded yet")


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("recordings", 1440, 900, "dark"),
        ("recordings-light", 1440, 900, "light"),
        ("recordings-phone", 390, 844, "light"),
    ],
)
def test_it_fits(live: Live, screenshots: Path, name: str, width: int, height: int, scheme: Any) -> None:
    trader, page = live.trader, live.trader.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    assert record(trader) is None
    live.go("binance-usdm")
    recorded(trader, 20)
    trader.fits()
    assert page.is_visible("#record")
    page.screenshot(path=screenshots / f"{name}-bar.png")
    page.click("#recordings")
    trader.shows("#recordings-list", "being written")
    trader.fits()
    page.screenshot(path=screenshots / f"{name}.png")


@pytest.mark.parametrize("width", [1920, 1440, 1320, 1319, 1024, 800])
def test_the_button_that_stops_trading_stays_in_the_first_row(live: Live, width: int) -> None:
    """However much the bar has to say: it was at the left of a second row when a simulated session was recorded."""
    trader, page = live.trader, live.trader.page
    page.set_viewport_size({"width": width, "height": 800})
    assert record(trader) is None
    live.go("binance-usdm")
    recorded(trader, 20)
    kill, tools = page.locator("#kill").bounding_box(), page.locator("#help").bounding_box()
    assert kill
    assert tools
    assert kill["x"] > tools["x"] + tools["width"]
    assert kill["x"] + kill["width"] <= width
    assert abs(kill["y"] + kill["height"] / 2 - tools["y"] - tools["height"] / 2) < 4


# -- without shared memory --------------------------------------------------------------------------------------------


def test_without_cross_origin_isolation(
    context: BrowserContext, make_trader: Any, simulators: dict[str, Simulated], serve: Any, site: Path,
    origins: list[str], command: str, tmp_path: Path,
) -> None:  # fmt: skip
    code = (
        f"from cwts.serve import serve; serve(port=0, open_browser=False, site={str(site)!r}, isolated=False, "
        f"simulate={origins!r})"
    )
    with serve(sys.executable, "-c", code) as address:
        live = opened(context.new_page(), make_trader, address, simulators)
        trader = live.trader
        assert record(trader) is None
        assert not live.go("okx")["sharedMemory"]
        recorded(trader, 100)
        trader.run("cwts.stop()")
        path = download(trader, trader.run(NEWEST), tmp_path)
        assert replayed(command, path, "okx")["block_sha256"] == trader.run("cwts.blockSha256()")
        trader.offer(path)  # the page plays its own recordings too
        assert trader.replay_file("okx", "BTC-USDT") is None
        assert trader.run("cwts.blockSha256()") == replayed(command, path, "okx")["block_sha256"]
