"""A real Chromium on the built site, served by `cwts serve` itself. `CWTS_SITE` and `CWTS_CHROMIUM` choose others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from simulated import BINANCE, OKX, SYMBOLS, Simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(os.environ.get("CWTS_SITE") or ROOT / "build" / "site")
CHROMIUM = os.environ.get("CWTS_CHROMIUM") or "/usr/bin/chromium"
# The page's own measurement of its memory otherwise waits for a garbage collection.
ARGUMENTS = ["--no-sandbox", "--enable-blink-features=ForceEagerMeasureMemory"]
LOAD_SECONDS = 300.0  # generous: a test machine may be busy

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: what we start would not hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """As in tests/: what is slow runs only when asked for with `-m slow`."""
    for item in items:
        if "slow" in item.keywords and "slow" not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason="slow: run with -m slow"))


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Runs a server that prints its address in its first line; stops it as Ctrl-C would."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert "http://" in line, f"no address in {line!r}"
        yield "http://" + line.split("http://")[1].split("/")[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LOAD_SECONDS)
    assert process.returncode == 0


@pytest.fixture(scope="session")
def command() -> str:
    return str(Path(sys.executable).with_name("cwts"))


@pytest.fixture(scope="session")
def site() -> Path:
    return SITE


@pytest.fixture(scope="session")
def address(command: str) -> Iterator[str]:
    with serving(command, "serve", "--port", "0", "--no-open", "--site", str(SITE)) as found:
        yield found


@pytest.fixture(scope="module")
def simulators(command: str) -> Iterator[dict[str, Simulated]]:
    """All exchanges; Binance's three are one process."""
    both = [Simulated(command, *BINANCE), Simulated(command, *OKX)]
    yield {exchange: both[exchange == "okx"] for exchange in SYMBOLS}
    for each in both:
        each.end()


@pytest.fixture(scope="module")
def origins(simulators: dict[str, Simulated]) -> list[str]:
    return [simulators["binance"].origin, f"okx={simulators['okx'].origin}"]


@pytest.fixture(scope="module")
def live_address(command: str, origins: list[str]) -> Iterator[str]:
    """A server whose page may go to the simulated exchanges."""
    more = [word for origin in origins for word in ("--simulate-origin", origin)]
    with serving(command, "serve", "--port", "0", "--no-open", "--site", str(SITE), *more) as found:
        yield found


@pytest.fixture(scope="session")
def plain_address() -> Iterator[str]:
    """The same site without cross-origin isolation: no SharedArrayBuffer."""
    code = f"from cwts.serve import serve; serve(port=0, open_browser=False, site={str(SITE)!r}, isolated=False)"
    with serving(sys.executable, "-c", code) as found:
        yield found


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts a Chromium, with more arguments than usual if given."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no Chromium at {CHROMIUM}: install it (Debian: apt-get install chromium) or set CWTS_CHROMIUM")
    with sync_playwright() as playwright:
        start = playwright.chromium.launch
        timeout = LOAD_SECONDS * 1000
        yield lambda *arguments: start(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments], timeout=timeout)


@pytest.fixture(scope="session")
def software_gpu() -> list[str]:
    """Arguments for a Chromium whose only WebGPU adapter is the processor."""
    return ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


@pytest.fixture(scope="session")
def no_gpu() -> list[str]:
    """Arguments for a Chromium without any."""
    return ["--disable-gpu", "--disable-features=WebGPU", "--use-webgpu-adapter=none"]


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def on_disk(browser: Browser, tmp_path: Path) -> Iterator[BrowserContext]:
    """A profile whose storage is on the disk, with a limit; what a `new_context` stores is in memory."""
    start = browser.browser_type.launch_persistent_context
    context = start(tmp_path / "profile", executable_path=CHROMIUM, args=ARGUMENTS, timeout=LOAD_SECONDS * 1000)
    yield context
    context.close()


class Trader:
    """The page as a person and a console see it. Everything it complains of is kept in `complaints`."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.set_default_timeout(LOAD_SECONDS * 1000)
        page.goto(address)

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def run(self, script: str, argument: object = None) -> Any:
        return self.page.evaluate(script, argument)

    def state(self) -> dict[str, Any]:
        return self.run("globalThis.cwts ? cwts.state() : null") or {"status": "loading", "messages": 0}

    def until(self, condition: Callable[[dict[str, Any]], object], seconds: float = LOAD_SECONDS) -> dict[str, Any]:
        """Waits until the state is so. (Playwright's own waiting needs eval, which the page's policy forbids.)"""
        deadline = time.monotonic() + seconds
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {json.dumps(state)}"
            time.sleep(0.05)
        return state

    def playing(self) -> dict[str, Any]:
        return self.until(lambda state: state["status"] == "replay" and state["messages"] > 0 and state["synced"])

    def settled(self) -> dict[str, Any]:
        """Waits until what was on its way to the engine has come, where the feed is paused or stopped."""
        state, since = self.state(), time.monotonic()
        deadline = since + LOAD_SECONDS
        while time.monotonic() - since < 0.5:
            self.run("cwts.book(1)")  # the engine has answered: it is not just waiting for its core
            if (now := self.state())["messages"] != state["messages"]:
                assert time.monotonic() < deadline, f"messages still come: {json.dumps(now)}"
                since = time.monotonic()
            state = now
        return state

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def shows(self, selector: str, words: str) -> None:
        """Waits until an element's text contains these words: what is for reading changes a few times a second."""
        self.until(lambda _: words.lower() in self.text(selector).lower())

    def escape(self) -> None:
        """Closes what is open. The browser does it a moment after the key; until then other keys are the dialog's."""
        self.page.keyboard.press("Escape")
        self.until(lambda _: not self.page.locator("dialog[open], :popover-open").count())

    def fits(self) -> None:
        """Nothing is wider than the screen, as soon as the page has taken a new size."""
        self.until(lambda _: self.run("document.documentElement.scrollWidth <= innerWidth"))

    def offer(self, path: Path | None = None, *, name: str = "", data: bytes = b"") -> None:
        """Puts a file where the page's own file chooser puts it."""
        given = path or {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        self.page.set_input_files("#open-file", given)  # type: ignore[arg-type]

    def replay_file(self, exchange: str, symbol: str, speed: str = "Infinity") -> str | None:
        """Replays the offered file to its end; returns the error's text if it was refused."""
        return self.run(
            """([exchange, symbol, speed]) => cwts.replay(document.getElementById("open-file").files[0],
                {exchange, symbol, speed: Number(speed)}).then(() => null, (error) => error.message)""",
            [exchange, symbol, speed],
        )


@pytest.fixture(scope="module")
def trader(browser: Browser, address: str) -> Iterator[Trader]:
    """One page for the tests of a module: they are written so that their order does not matter."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    trader = Trader(context.new_page(), address)
    trader.playing()
    yield trader
    context.close()
    assert trader.complaints == []


@pytest.fixture(scope="session")
def make_trader() -> type[Trader]:
    """For tests that need a page of their own."""
    return Trader


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """For tests that need a server of their own: `with serve(*command) as address`."""
    return serving


@pytest.fixture(scope="session")
def native(command: str) -> Callable[[Path, str, str], dict[str, Any]]:
    """What `cwts replay` says about a recording on the native engine."""
    known: dict[tuple[Path, str, str], dict[str, Any]] = {}

    def replay(path: Path, exchange: str, symbol: str) -> dict[str, Any]:
        key = (path, exchange, symbol)
        if key not in known:
            arguments = ["replay", str(path), "--exchange", exchange, "--symbol", symbol, "--json"]
            done = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)
            known[key] = json.loads(done.stdout.splitlines()[-1])
        return known[key]

    return replay


@pytest.fixture(scope="session")
def data() -> Path:
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
