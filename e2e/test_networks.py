"""The three networks over the whole recording, as a person asks for them: on a GPU, by SIMD, and when it goes wrong."""

from __future__ import annotations

import gzip
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts import networks
from cwts.gpu.base import packed
from cwts.gpu.history import Grid, agreement
from cwts.gpu.simd_host import SimdNetworks
from cwts.recorder import Description, Recorder
from cwts.recording import Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Worker

    from conftest import Trader

USDM = ("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT")
OKX = ("okx-books-trades-tickers-20220513.gz", "okx", "BTC-USDT")
STEP_MS = 100
BUDGET = 250e6

FOUND = """() => cwts.networks().then(
    (found) => ({...found, t: [...found.t], mid: [...found.mid], answers: [...found.answers]}),
    (error) => ({error: error.message}))"""

# The words that the panel goes through from now on.
LISTEN = """() => {
    const words = document.getElementById("networks-words");
    globalThis.heard = [];
    new MutationObserver(() => globalThis.heard.push(words.textContent))
        .observe(words, {childList: true, characterData: true, subtree: true});
}"""

COLOURS = """() => {
    const canvas = document.getElementById("networks");
    if (canvas.width === 0) return [0]; // it is seen before it has its size
    const pen = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
    pen.drawImage(canvas, 0, 0);
    const strip = (from, to) => {
        const box = [0, from * canvas.height, canvas.width * 0.7, (to - from) * canvas.height].map(Math.round);
        return new Set(new Uint32Array(pen.getImageData(...box).data.buffer)).size;
    };
    return [strip(0.05, 0.3), strip(0.42, 0.52), strip(0.62, 0.72), strip(0.82, 0.92)];
}"""


def history_of(path: Path, exchange: str, symbol: str, step_ms: int = STEP_MS) -> dict[str, Any]:
    """The same history by the native kernel."""
    recording = Recording(path)
    setup = prepare(recording, exchange, symbol)
    grid = Grid(setup.engine_for(recording)[0], step_ms)
    for batch in recording.batches():
        grid.feed(batch)
    times, mids, features = grid.columns()
    unit = 10.0**setup.instrument.price_decimals
    answers = SimdNetworks().run(packed(networks.load()), features)
    return {"t": times / 1e6, "mid": mids / 1e8 / unit, "answers": answers, "breaks": grid.breaks}


@pytest.fixture(scope="module")
def usdm(data: Path) -> dict[str, Any]:
    return history_of(data / USDM[0], *USDM[1:])


@pytest.fixture(scope="module")
def gpu(
    launch: Callable[..., Browser], software_gpu: list[str], address: str, make_trader: type[Trader]
) -> Iterator[Trader]:
    browser = launch(*software_gpu)
    trader = make_trader(browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark"), address)
    trader.playing()
    yield trader
    browser.close()
    assert trader.complaints == []


@pytest.fixture(autouse=True)
def as_found(request: pytest.FixtureRequest, data: Path) -> None:
    """Each test on the GPU's page finds the bundled recording at its beginning, playing, and nothing drawn."""
    if "gpu" not in request.fixturenames:
        return
    trader: Trader = request.getfixturevalue("gpu")
    trader.offer(data / OKX[0])
    trader.replay_file(*OKX[1:])
    trader.page.keyboard.press("b")
    trader.until(lambda state: state["symbol"] == "BTCUSDT" and state["playing"] and state["messages"] > 0)
    trader.until(lambda _: not trader.page.is_visible("#networks"))
    trader.run("cwts.setSpeed(1)")


def answers_of(found: dict[str, Any]) -> Any:
    return np.array(found["answers"], np.float32).reshape(-1, 5)


def same_history(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert "error" not in found, found["error"]
    assert found["rows"] == len(wanted["t"]) > 0
    assert found["t"] == wanted["t"].tolist()
    assert found["mid"] == wanted["mid"].tolist()
    assert found["breaks"] == wanted["breaks"]


def by_simd(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    same_history(found, wanted)
    assert found["by"] == "SIMD"
    assert answers_of(found).tobytes() == wanted["answers"].tobytes()


def by_gpu(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    same_history(found, wanted)
    assert (found["by"], found["told"]) == ("WebGPU (google swiftshader)", "")
    measured = agreement(answers_of(found), wanted["answers"])
    assert measured["agrees"], measured
    assert found["signs"]
    assert abs(found["worst"] - measured["largest_difference"]) < 1e-7
    assert found["ms"]["gpu"] > 0
    assert found["ms"]["simd"] > 0


def drawn(trader: Trader) -> None:
    trader.until(lambda _: trader.page.is_visible("#networks") and min(trader.run(COLOURS)) > 3)


def engine_worker(trader: Trader) -> Worker:
    return next(worker for worker in trader.page.workers if worker.url.endswith("/engine.js"))


# -- asking for it ----------------------------------------------------------------------------------------------------


def test_on_the_gpu_it_is_the_native_history(gpu: Trader, usdm: dict[str, Any]) -> None:
    by_gpu(gpu.run(FOUND), usdm)
    drawn(gpu)
    words = gpu.text("#networks-words")
    assert words.startswith(f"WebGPU (google swiftshader): {len(usdm['t']):,} rows, one every 100 ms, in ")
    assert re.search(r" ms; SIMD: [\d.]+ ms; equals SIMD within \de-\d+, signs equal\.$", words)


@pytest.mark.parametrize("how", ["button", "key"])
def test_a_button_and_a_key_run_it_and_tell_how_far_it_is(gpu: Trader, how: str) -> None:
    gpu.run(LISTEN)
    button = gpu.page.get_by_role("button", name="Run the networks over the recording")
    button.click() if how == "button" else gpu.page.keyboard.press("n")
    drawn(gpu)
    heard = gpu.run("globalThis.heard")
    shares = [int(found[1]) for words in heard if (found := re.fullmatch(r"reading the recording: (\d+) %", words))]
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert "networks on WebGPU (google swiftshader)" in heard
    assert "equals SIMD" in gpu.text("#networks-words")
    assert not gpu.page.is_visible("#networks-progress")
    assert button.is_enabled()


def test_the_help_lists_the_key(gpu: Trader) -> None:
    gpu.page.keyboard.press("?")
    assert "three networks" in gpu.text("#help-dialog")
    gpu.escape()


@pytest.mark.parametrize("how", ["Escape", "button", "n"])
def test_it_is_cancelled(gpu: Trader, how: str) -> None:
    gpu.page.keyboard.press("n")
    assert gpu.page.is_visible("#networks-progress")
    if how == "button":
        gpu.page.get_by_role("button", name="Cancel the networks over the recording").click()
    else:
        gpu.page.keyboard.press(how)
    gpu.shows("#networks-words", "cancelled")
    assert not gpu.page.is_visible("#networks")
    assert gpu.page.get_by_role("button", name="Run the networks over the recording").is_enabled()
    gpu.until(lambda state: state["status"] == "replay")


def test_two_who_ask_get_the_same_run(gpu: Trader) -> None:
    assert gpu.run("() => { const one = cwts.networks(); return one === cwts.networks() && one.then(() => true); }")


# -- beside what plays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_what_plays_keeps_its_bits(gpu: Trader, usdm: dict[str, Any], data: Path, paused: bool, native: Any) -> None:
    if paused:
        gpu.run("cwts.pause()")
        gpu.until(lambda state: not state["playing"])
    else:
        gpu.run("cwts.setSpeed(4)")  # the recording lasts far longer than the run, on a slow machine too
    before = gpu.state()["messages"]
    by_gpu(gpu.run(FOUND), usdm)
    state = gpu.state()
    assert (state["messages"] > before, state["ended"]) == (not paused, False)
    gpu.run("cwts.play()")
    gpu.run("cwts.setSpeed(Infinity)")
    gpu.until(lambda state: state["ended"])
    told = native(data / USDM[0], *USDM[1:])
    assert gpu.run("cwts.blockSha256()") == told["block_sha256"]
    by_gpu(gpu.run(FOUND), usdm)  # and when nothing plays


def test_the_kill_switch_works_meanwhile(gpu: Trader) -> None:
    gpu.page.keyboard.press("n")
    gpu.page.keyboard.press("k")
    state = gpu.until(lambda state: state["halted"])
    assert state["status"] == "stopped"
    drawn(gpu)
    gpu.run("cwts.resume()")


def test_another_recording_ends_it_and_nothing_of_the_old_one_is_drawn(gpu: Trader, data: Path) -> None:
    """The run ends when the other one is opened, not when it has read the old one."""
    file, exchange, symbol = OKX
    gpu.offer(data / file)
    ended = gpu.run(
        """async ([exchange, symbol]) => {
            const ended = [];
            const asked = cwts.networks().then(() => ended.push("drawn"), (error) => ended.push(error.message));
            const file = document.getElementById("open-file").files[0];
            await cwts.replay(file, {exchange, symbol, speed: Infinity}).then(() => ended.push("played"));
            await asked;
            return ended;
        }""",
        [exchange, symbol],
    )
    assert ended == ["another recording was opened", "played"]
    gpu.until(lambda _: gpu.text("#networks-words") == "")
    assert not gpu.page.is_visible("#networks")
    by_gpu(gpu.run(FOUND), history_of(data / file, exchange, symbol))


def test_what_was_found_stays_while_the_same_recording_plays_again(gpu: Trader, data: Path) -> None:
    gpu.run(FOUND)
    gpu.page.keyboard.press("r")
    gpu.playing()
    assert gpu.page.is_visible("#networks")
    gpu.offer(data / OKX[0])
    assert gpu.replay_file(*OKX[1:]) is None
    gpu.until(lambda _: not gpu.page.is_visible("#networks"))


def test_without_a_recording_it_says_so(gpu: Trader) -> None:
    gpu.offer(name="none.gz", data=b"no recording")
    assert gpu.replay_file("okx", "BTC-USDT")
    gpu.shows("#networks-words", "no recording is loaded")
    assert gpu.page.locator("#networks-run").is_disabled()
    assert gpu.run(FOUND)["error"] == "No recording is loaded."


def test_the_engine_s_own_recording(gpu: Trader, data: Path, tmp_path: Path) -> None:
    """Frames, as `cwts record` writes them."""
    recording = Recording(data / OKX[0])
    setup = prepare(recording, *OKX[1:])
    recorder = Recorder(tmp_path, Description(*OKX[1:], setup.instrument, setup.config, {}, 0), group_bytes=50_000)
    for batch in recording.batches():
        recorder.tap(batch)
    recorder.close()
    gpu.offer(recorder.files[0])
    assert gpu.replay_file(*OKX[1:]) is None
    by_gpu(gpu.run(FOUND), history_of(recorder.files[0], *OKX[1:]))


def test_rows_of_a_long_recording_are_farther_apart(gpu: Trader, data: Path, tmp_path: Path) -> None:
    """Eleven seconds of an exchange, stretched over a day: at most 2^17 rows, 100 ms times a power of two apart."""
    with gzip.open(data / OKX[0]) as file:
        lines = [line.split(b" ", 1) for line in file]
    first = int(lines[0][0])
    path = tmp_path / "long.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d %s" % (first + 8000 * (int(ns) - first), text) for ns, text in lines)))
    gpu.offer(path)
    assert gpu.replay_file(*OKX[1:]) is None
    found = gpu.run(FOUND)
    assert found["stepMs"] == 800
    by_gpu(found, history_of(path, *OKX[1:], step_ms=800))
    drawn(gpu)
    assert "one every 800 ms" in gpu.text("#networks-words")


# -- reading values off -----------------------------------------------------------------------------------------------


def read_off(trader: Trader) -> list[float]:
    """Mid price and the five answers at the crosshair, as text says them: value, cascade and whale up and down."""
    text = trader.page.get_attribute("#networks", "aria-valuetext") or ""
    words = re.sub(r"^[\d:.]+ ", "", text).replace(",", "").replace("−", "-")
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", words)]


def test_arrows_and_the_pointer_read_values_off(gpu: Trader, usdm: dict[str, Any]) -> None:
    gpu.run(FOUND)
    canvas = gpu.page.locator("#networks")

    def right() -> None:
        row = int(canvas.get_attribute("aria-valuenow") or -1)
        up, down, follow_up, follow_down, value = usdm["answers"][row].tolist()
        wanted = [usdm["mid"][row], value, *(100 * each for each in (up, down, follow_up, follow_down))]
        for found, exact, places in zip(read_off(gpu), wanted, [2, 3, 1, 1, 1, 1], strict=True):
            assert abs(found - exact) <= 0.502 * 10.0**-places

    canvas.focus()
    for key, row in (("Home", 0), ("ArrowRight", 1), ("End", len(usdm["t"]) - 1), ("ArrowLeft", len(usdm["t"]) - 2)):
        gpu.page.keyboard.press(key)
        assert canvas.get_attribute("aria-valuenow") == str(row)
        right()
    box = canvas.bounding_box()
    assert box
    gpu.page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 40)
    gpu.until(lambda _: canvas.get_attribute("aria-valuenow") not in (None, "0", str(row)))
    middle = int(canvas.get_attribute("aria-valuenow") or 0)
    assert 0.3 < middle / len(usdm["t"]) < 0.45
    right()
    gpu.page.mouse.move(5, 5)
    gpu.until(lambda _: canvas.get_attribute("aria-valuetext") == "nothing is read off")


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("dark", 1440, "dark"), ("light", 1440, "light"), ("phone", 390, "light")]
)
def test_it_fits(gpu: Trader, screenshots: Path, name: str, width: int, scheme: Any) -> None:
    """All four strips are drawn, and nothing is wider than the screen; the picture is kept for people to look at."""
    gpu.page.emulate_media(color_scheme=scheme)
    gpu.page.set_viewport_size({"width": width, "height": 900})
    try:
        gpu.run(FOUND)
        drawn(gpu)
        gpu.page.locator("#networks").scroll_into_view_if_needed()
        gpu.page.screenshot(path=screenshots / f"networks-{name}.png")
        gpu.fits()
    finally:
        gpu.page.set_viewport_size({"width": 1440, "height": 900})
        gpu.page.emulate_media(color_scheme="dark")


# -- what goes wrong --------------------------------------------------------------------------------------------------

LOSE = """() => {
    const {createCommandEncoder} = GPUDevice.prototype;
    GPUDevice.prototype.createCommandEncoder = function () {
        GPUDevice.prototype.createCommandEncoder = createCommandEncoder;
        this.destroy();
        return createCommandEncoder.call(this);
    };
}"""
BREAK = """() => {
    const {createShaderModule} = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function () {
        GPUDevice.prototype.createShaderModule = createShaderModule;
        return createShaderModule.call(this, {code: "fn run run() {}"});
    };
}"""
FALSIFY = """(change) => {
    const {getMappedRange} = GPUBuffer.prototype;
    GPUBuffer.prototype.getMappedRange = function (...place) {
        GPUBuffer.prototype.getMappedRange = getMappedRange;
        const range = getMappedRange.apply(this, place);
        const answers = new Float32Array(range);
        if (change === "sign") for (let at = 0; at < answers.length; at++) answers[at] = -answers[at];
        else answers[7] += change === "nan" ? NaN : 0.02;
        return range;
    };
}"""


def test_a_lost_device_and_a_bad_shader_are_said_once_and_simd_is_drawn(gpu: Trader, usdm: dict[str, Any]) -> None:
    gpu.run(FOUND)
    engine_worker(gpu).evaluate(LOSE)
    found = gpu.run(FOUND)
    by_simd(found, usdm)
    assert re.fullmatch("the GPU failed: .*; the work is done by SIMD", found["told"])
    drawn(gpu)
    assert gpu.text("#networks-words").startswith("The GPU failed: ")

    engine_worker(gpu).evaluate(BREAK)
    found = gpu.run(FOUND)
    by_simd(found, usdm)
    assert found["told"].startswith("the GPU refuses the shader: line 1: ")
    assert gpu.text("#networks-words").startswith("The GPU refuses the shader: ")

    by_gpu(gpu.run(FOUND), usdm)  # the next run asks for a device anew
    gpu.complaints[:] = [line for line in gpu.complaints if "networks" not in line and "fn run run" not in line]


@pytest.mark.parametrize("change", ["number", "nan", "sign"])
def test_a_gpu_that_is_wrong_is_not_believed(gpu: Trader, usdm: dict[str, Any], change: str) -> None:
    engine_worker(gpu).evaluate(FALSIFY, change)
    found = gpu.run(FOUND)
    by_simd(found, usdm)
    assert found["told"].startswith("WebGPU (google swiftshader) differs from SIMD by up to ")
    assert found["told"].endswith("(1e-5 is allowed); SIMD's answers are drawn")
    assert found["signs"] == (change == "number")
    assert gpu.text("#networks-words").startswith(found["told"])


def test_without_a_gpu_it_is_simd_bit_for_bit(
    launch: Callable[..., Browser],
    no_gpu: list[str],
    plain_address: str,
    make_trader: type[Trader],
    usdm: dict[str, Any],
) -> None:
    """Here without shared memory too."""
    browser = launch(*no_gpu)
    trader = make_trader(browser.new_page(), plain_address)
    trader.playing()
    trader.page.keyboard.press("n")
    drawn(trader)
    words = trader.text("#networks-words")
    found = trader.run(FOUND)
    browser.close()
    by_simd(found, usdm)
    assert found["told"] in (
        "no GPU adapter was found; the work is done by SIMD",
        "this browser has no WebGPU; the work is done by SIMD",
    )
    assert words.lower().startswith(found["told"].lower())
    assert re.search(r"3,438 rows, one every 100 ms; SIMD: [\d.]+ ms\.$", words)


def test_memory_stays_in_its_budget(gpu: Trader) -> None:
    def held() -> int:
        script = min(
            int(gpu.run("performance.measureUserAgentSpecificMemory().then(({bytes}) => bytes)")) for _ in range(3)
        )
        time.sleep(0.5)  # the heap's size is told a few times a second
        return script + int(gpu.until(lambda state: state["heapBytes"])["heapBytes"])

    gpu.run(FOUND)
    few = held()
    for _ in range(4):
        gpu.run(FOUND)
    many = held()
    assert many < BUDGET
    assert many - few < 10e6  # four engines that stay are 12.4 MB; what JavaScript has not collected yet varies by less
