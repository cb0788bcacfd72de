"""The simulated exchange needs sockets and aiohttp: its tests run natively, once, and not for every engine."""

from __future__ import annotations

import importlib.util
import os
import sys

if (
    sys.platform == "emscripten"
    or os.environ.get("CWTS_ENGINE", "native") != "native"
    or not importlib.util.find_spec("aiohttp")
):
    collect_ignore_glob = ["test_*.py"]
