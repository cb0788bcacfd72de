"""Which engine the suite runs on, and where its data lies.

`CWTS_ENGINE` says native (the default), wasmtime or pyodide. `CWTS_PROFILE` says how many examples property tests draw:
ci (the default: always the same few) or thorough (many, other ones each time). Tests marked `native` need processes or
compilers and are skipped in Pyodide; tests marked `slow` run only when asked for with `-m slow`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("market")

try:
    from hypothesis import HealthCheck, settings

    common: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    settings.register_profile("ci", derandomize=True, **common)
    settings.register_profile("thorough", derandomize=False, **common)
    settings.load_profile(os.environ.get("CWTS_PROFILE", "ci"))
except ImportError:  # only the property tests need it
    pass

ENGINE = os.environ.get("CWTS_ENGINE", "pyodide" if sys.platform == "emscripten" else "native")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    in_browser = pytest.mark.skip(reason="needs processes or compilers")
    slow = pytest.mark.skip(reason="slow: run with -m slow")
    for item in items:
        if ENGINE == "pyodide" and "native" in item.keywords:
            item.add_marker(in_browser)
        if "slow" in item.keywords and "slow" not in config.option.markexpr:
            item.add_marker(slow)


@pytest.fixture(scope="session")
def engine_name() -> str:
    """What to ask `Engine` for: inside Pyodide, "native" is the Emscripten build."""
    return "wasmtime" if ENGINE == "wasmtime" else "native"


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(__file__).parent / "data"
