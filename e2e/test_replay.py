"""Recordings in the page: the same bits as on the command line, and one clear line where a file cannot be played."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from cwts.recorder import Description, Recorder
from cwts.recording import FRAME, Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from conftest import Trader

    Native = Callable[[Path, str, str], dict[str, Any]]

RECORDINGS = [
    ("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT"),
    ("binance-spot-btcusdt-20240808.gz", "binance", "BTCUSDT"),
    ("binance-coinm-btcusd_perp-20240808.gz", "binance-coinm", "BTCUSD_PERP"),
    ("okx-books-trades-tickers-20220513.gz", "okx", "BTC-USDT"),
    ("okx-books-l2-tbt-20210722.gz", "okx", "XMR-USDT-SWAP"),
]


def same(trader: Trader, told: dict[str, Any]) -> None:
    assert trader.run("cwts.bookSha256()") == told["book_sha256"]
    assert trader.run("cwts.blockSha256()") == told["block_sha256"]
    state = trader.state()
    assert state["ended"]
    for key in ("messages", "applied", "synced", "gaps", "trades", "malformed", "decisions"):
        assert state[key] == told[key], key
    assert (state["bestBid"], state["bestAsk"]) == (told["best_bid"], told["best_ask"])


@pytest.mark.parametrize(("file", "exchange", "symbol"), RECORDINGS)
def test_a_recording_gives_the_same_bits_as_the_command_line(
    trader: Trader, data: Path, native: Native, file: str, exchange: str, symbol: str
) -> None:
    trader.offer(data / file)
    assert trader.replay_file(exchange, symbol) is None
    same(trader, native(data / file, exchange, symbol))


def test_the_bundled_recording_by_its_address(trader: Trader, data: Path, native: Native) -> None:
    file, exchange, symbol = RECORDINGS[0]
    trader.run(
        "([url, exchange, symbol]) => cwts.replay(url, {exchange, symbol, speed: Infinity})",
        [f"/recordings/{file}", exchange, symbol],
    )
    same(trader, native(data / file, exchange, symbol))


def test_pausing_and_changing_speed_change_no_bit(trader: Trader, data: Path, native: Native) -> None:
    file, exchange, symbol = RECORDINGS[0]
    trader.offer(data / file)
    trader.run(
        """([exchange, symbol]) => {
            const file = document.getElementById("open-file").files[0];
            globalThis.done = cwts.replay(file, {exchange, symbol, speed: 16});
        }""",
        [exchange, symbol],
    )
    trader.until(lambda state: state["messages"] > 2000)
    trader.run("cwts.pause()")
    trader.run("cwts.setSpeed(4)")
    seen = trader.settled()["messages"]
    assert seen < 93_000
    trader.run("cwts.play()")
    trader.until(lambda state: state["messages"] > seen)
    trader.run("cwts.setSpeed(Infinity)")
    trader.run("globalThis.done")
    same(trader, native(data / file, exchange, symbol))


def lines_of(path: Path, count: int) -> bytes:
    with gzip.open(path) as file:
        return b"".join(line for line, _ in zip(file, range(count), strict=False))


def test_several_gzip_members(trader: Trader, data: Path, native: Native, tmp_path: Path) -> None:
    file, exchange, symbol = RECORDINGS[0]
    text = lines_of(data / file, 6000)
    path = tmp_path / "members.gz"
    path.write_bytes(gzip.compress(text[:700_001]) + gzip.compress(text[700_001:]))
    trader.offer(path)
    assert trader.replay_file(exchange, symbol) is None
    same(trader, native(path, exchange, symbol))


def test_zstd(trader: Trader, data: Path, native: Native, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    file, exchange, symbol = RECORDINGS[0]
    path = tmp_path / "recording.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(lines_of(data / file, 6000)))
    trader.offer(path)
    assert trader.replay_file(exchange, symbol) is None
    same(trader, native(path, exchange, symbol))


def test_the_engines_own_recording(trader: Trader, data: Path, native: Native, tmp_path: Path) -> None:
    """Frames with streams, timers and commands, in groups of zstd: what `cwts record` writes."""
    file, exchange, symbol = RECORDINGS[3]
    recording = Recording(data / file)
    setup = prepare(recording, exchange, symbol)
    described = Description(exchange, symbol, setup.instrument, setup.config, {}, 0)
    recorder = Recorder(tmp_path, described, group_bytes=50_000)
    for batch in recording.batches(stream=3):
        recorder.tap(batch)
        (last,) = FRAME.unpack_from(batch)[:1]
        recorder.tap(FRAME.pack(last + 10**9, 0, 0, 1))
        recorder.tap(FRAME.pack(last + 10**9, 8, 0, 2) + (1).to_bytes(8, "little"))
    recorder.close()
    (path,) = recorder.files
    trader.offer(path)
    assert trader.replay_file(exchange, symbol) is None
    told = native(path, exchange, symbol)
    assert told["synced"] is False
    assert trader.run("cwts.bookSha256()") == told["book_sha256"]
    assert trader.run("cwts.blockSha256()") == told["block_sha256"]


def test_a_missing_line_makes_the_book_invalid(
    trader: Trader, data: Path, native: Native, tmp_path: Path, screenshots: Path
) -> None:
    file, exchange, symbol = RECORDINGS[0]
    lines = lines_of(data / file, 12_000).splitlines(keepends=True)
    depth = [at for at, line in enumerate(lines) if b"depthUpdate" in line]
    del lines[depth[len(depth) // 2]]
    path = tmp_path / "gap.gz"
    path.write_bytes(gzip.compress(b"".join(lines), 1))
    trader.offer(path)
    assert trader.replay_file(exchange, symbol) is None
    told = native(path, exchange, symbol)
    assert told["gaps"] == 1
    same(trader, told)
    state = trader.state()
    assert (state["synced"], state["syncReason"]) == (False, "a sequence number is missing")
    trader.shows("#sync", "not valid")
    trader.shows("#no-book", "a sequence number is missing")
    trader.shows("#line", "not valid")
    trader.page.screenshot(path=screenshots / "invalid.png")


def test_odd_lines(trader: Trader, data: Path, native: Native, tmp_path: Path) -> None:
    """Empty, unstamped, not JSON, very long, with carriage returns, and no newline at the end."""
    file, exchange, symbol = RECORDINGS[0]
    lines = lines_of(data / file, 3000).splitlines()
    stamp = lines[1000].split()[0]
    odd = [b"", b"no stamp", stamp + b" ", stamp + b" {not json", b"99999999999999999999 {}", stamp, b"x" * 300]
    odd += [b"9223372036854775807 {}"]
    odd += [stamp + b' {"e":"' + b"x" * 3_000_000 + b'"}', b"1 " + b"x" * (17 << 20)]
    text = b"\n".join([*lines[:1500], *odd, *(line + b"\r" for line in lines[1500:])])
    path = tmp_path / "odd.gz"
    path.write_bytes(gzip.compress(text, 1))
    trader.offer(path)
    assert trader.replay_file(exchange, symbol) is None
    told = native(path, exchange, symbol)
    assert trader.run("cwts.bookSha256()") == told["book_sha256"]
    assert trader.run("cwts.blockSha256()") == told["block_sha256"]


def test_without_shared_memory_it_is_the_same(
    browser: Browser, plain_address: str, make_trader: Any, data: Path, native: Native
) -> None:
    context = browser.new_context()
    trader = make_trader(context.new_page(), plain_address)
    state = trader.playing()
    assert not state["sharedMemory"]
    file, exchange, symbol = RECORDINGS[0]
    trader.offer(data / file)
    assert trader.replay_file(exchange, symbol) is None
    same(trader, native(data / file, exchange, symbol))
    assert trader.complaints == []
    context.close()


BAD = {
    "not gzip": (b"hello, this is no recording", "BTCUSDT", "binance-usdm", "neither"),
    "empty": (b"", "BTCUSDT", "binance-usdm", "empty"),
    "no lines": (gzip.compress(b"hello\nworld\n"), "BTCUSDT", "binance-usdm", "no line has the form"),
    "wrong exchange": (None, "BTCUSDT", "binance", "binance-usdm"),
    "another exchange": (None, "BTC-USDT", "okx", "no recording of okx"),
    "unknown symbol": (None, "NOSUCH", "binance-usdm", "NOSUCH"),
    "unknown exchange": (None, "BTCUSDT", "mtgox", "mtgox"),
    "no symbol": (None, " ", "binance-usdm", "symbol is needed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(trader: Trader, data: Path, case: str) -> None:
    content, symbol, exchange, expected = BAD[case]
    if content is None:
        content = gzip.compress(lines_of(data / RECORDINGS[0][0], 500))
    trader.offer(name="file.gz", data=content)
    error = trader.replay_file(exchange, symbol)
    assert error is not None
    assert expected in error
    assert "\n" not in error
    state = trader.until(lambda state: state["status"] == "error")
    assert state["error"] == error
    line = trader.page.locator("#line")
    line.filter(has_text=error[:40]).wait_for()
    assert "Traceback" not in line.inner_text()


def test_a_truncated_file_is_refused(trader: Trader, data: Path) -> None:
    content = (data / RECORDINGS[0][0]).read_bytes()
    trader.offer(name="cut.gz", data=content[:100_000])
    assert "truncated" in (trader.replay_file("binance-usdm", "BTCUSDT") or "")


def test_an_address_that_does_not_exist(trader: Trader) -> None:
    options = "{exchange: 'okx', symbol: 'BTC-USDT'}"
    error = trader.run(f"cwts.replay('/recordings/none.gz', {options}).then(() => null, (e) => e.message)")
    assert "404" in error
    assert trader.state()["status"] == "error"
    trader.complaints[:] = [line for line in trader.complaints if "404" not in line]  # the browser's own remark


def test_after_an_error_the_next_recording_plays(trader: Trader, data: Path, native: Native) -> None:
    trader.offer(name="bad.gz", data=b"nonsense")
    assert trader.replay_file("okx", "BTC-USDT") is not None
    file, exchange, symbol = RECORDINGS[3]
    trader.offer(data / file)
    assert trader.replay_file(exchange, symbol) is None
    same(trader, native(data / file, exchange, symbol))


def test_a_newer_replay_replaces_the_one_that_runs(trader: Trader, data: Path) -> None:
    file, exchange, symbol = RECORDINGS[0]
    trader.offer(data / file)
    outcome = trader.run(
        """async ([exchange, symbol]) => {
            const file = document.getElementById("open-file").files[0];
            const outcome = (played) => played.then(() => "played", (error) => error.message);
            const first = outcome(cwts.replay(file, {exchange, symbol, speed: 1}));
            while (!(cwts.state().messages > 0)) await new Promise((resolve) => setTimeout(resolve, 20));
            const second = outcome(cwts.replay(file, {exchange, symbol, speed: Infinity}));
            return [await first, await second];
        }""",
        [exchange, symbol],
    )
    assert outcome == ["another recording was opened", "played"]
