"""The page's benchmark runs as `make bench` calls it, and its contenders agree on the book."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_it_measures_all_contenders() -> None:
    script = Path(__file__).with_name("bench_page.py")
    command = [sys.executable, str(script), "--json", "--repetitions", "1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    assert set(measured["ns"]) == {"depth", "all"}
    for by_name in measured["ns"].values():
        assert set(by_name) == {"engine", "map", "sorted"}
        assert by_name["engine"] < by_name["map"]
    assert "Chrome" in measured["userAgent"]
