"""The same bits everywhere: whole recordings through this engine against what the native one made of them.

The run on the native engine leaves its hashes in `build/`; the runs in wasmtime and in Pyodide must find the same. The
page in Chromium is compared in `e2e/test_replay.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from cwts.kernel import Engine
from cwts.recording import Recording
from cwts.replay import prepare

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "native-hashes.json"
RECORDINGS = {
    "binance-usdm-btcusdt-20240808.gz": ("binance-usdm", "BTCUSDT"),
    "binance-spot-btcusdt-20240808.gz": ("binance", "BTCUSDT"),
    "binance-coinm-btcusd_perp-20240808.gz": ("binance-coinm", "BTCUSD_PERP"),
    "okx-books-trades-tickers-20220513.gz": ("okx", "BTC-USDT"),
    "okx-books-l2-tbt-20210722.gz": ("okx", "XMR-USDT-SWAP"),
}


def fingerprint() -> str:
    """Of everything that decides the hashes."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("native_ext/kernel/*.[ch]"), *ROOT.glob("app/cwts/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def test_whole_recordings_give_the_bits_of_the_native_engine(engine_name: str) -> None:
    found = {}
    for name, (exchange, symbol) in RECORDINGS.items():
        recording = Recording(ROOT / "tests" / "data" / name)
        engine = Engine(prepare(recording, exchange, symbol).config, kernel=engine_name)
        for frames in recording.batches():
            engine.feed(frames)
        assert engine.view["sync"]["synced"]
        found[name] = [engine.block_sha256(), engine.book_sha256()]
    if os.environ.get("CWTS_ENGINE", "native") == "native":
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps({"of": fingerprint(), "hashes": found}, indent=1), encoding="utf-8")
        return
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    if kept.get("of") != fingerprint():
        pytest.skip("no hashes of this kernel: run the suite on the native engine first")
    assert found == kept["hashes"]
