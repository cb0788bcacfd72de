"""The page's modules that need no browser, under Node."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from cwts.config import Settings, build_config
from cwts.instruments import guess_instrument
from cwts.recorder import FRAME, Description, Recorder, check

WEB = Path(__file__).resolve().parents[1] / "web"


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.fail("no node on the PATH")
    return found


def test_modules(node: str) -> None:
    done = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("modules.test.mjs"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_page_cuts_torn_tails_where_cwts_does(node: str, tmp_path: Path) -> None:
    """A recording cut anywhere, and damaged in its last group: both find the same whole groups."""
    chance = random.Random(11)
    instrument = guess_instrument("binance", "BTCUSDT", 2, 8)
    config = build_config(instrument, Settings())
    recorder = Recorder(
        tmp_path / "whole", Description("binance", "BTCUSDT", instrument, config, {}, 1), group_bytes=3000
    )
    for at in range(300):
        payload = chance.randbytes(8 * chance.randrange(1, 40))
        recorder.tap(FRAME.pack(1000 + at, len(payload), 0, 0) + payload)
    recorder.close()
    whole = recorder.files[0].read_bytes()
    files = {f"cut-{size}": whole[:size] for size in [0, 3, len(whole), *chance.sample(range(len(whole)), 60)]}
    for at in range(len(whole) - 200, len(whole), 17):
        files[f"damaged-{at}"] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    expected = {}
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        found = check(path)
        expected[name] = {"groups": found.groups, "frames": found.frames, "bytes": found.good_bytes}
    script = f"""
        import {{ readdirSync, readFileSync }} from "node:fs";
        import {{ wholeGroups }} from {json.dumps((WEB / "groups.js").as_uri())};
        const found = {{}};
        for (const name of readdirSync(".").filter((name) => name !== "whole")) {{
            const data = new Uint8Array(readFileSync(name));
            found[name] = wholeGroups((at, bytes) => data.slice(at, at + bytes), data.length);
        }}
        console.log(JSON.stringify(found));
    """
    line = [node, "--input-type=module", "-e", script]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == expected
    assert len({each["groups"] for each in expected.values()}) > 10
