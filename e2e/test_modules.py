"""The page's modules that need no browser, under Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def test_modules() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("no node on the PATH")
    done = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("modules.test.mjs"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
