"""Takes the README's picture: `python e2e/screenshot.py` writes docs/screenshot.png from the built site."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from conftest import CHROMIUM, ROOT, SITE, Trader, serving

TARGET = ROOT / "docs" / "screenshot.png"
LARGEST = 400_000


def main() -> int:
    """A minute or two into the bundled recording, with a position open."""
    command = [str(Path(sys.executable).with_name("cwts")), "serve", "--port", "0", "--no-open", "--site", str(SITE)]
    with serving(*command) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        trader = Trader(context.new_page(), address)
        trader.playing()
        trader.page.keyboard.press("3")
        trader.until(lambda state: state["messages"] > 45_000)
        trader.page.keyboard.press("1")
        trader.until(lambda state: state["position"] != "0", 300)
        time.sleep(4)
        trader.page.screenshot(path=TARGET)
        browser.close()
    size = TARGET.stat().st_size
    print(f"{TARGET.relative_to(ROOT)}: {size:,} bytes")
    return 0 if size < LARGEST else 1


if __name__ == "__main__":
    sys.exit(main())
