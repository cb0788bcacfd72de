"""The command line: the replay's contract, and every kind of bad input as one clear line and exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cwts.cli import build_parser, main
from market import CAPTURES, compact, told

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.native

DATA = Path(__file__).parent / "data"
USDM = DATA / "binance-usdm-btcusdt-20240808.gz"
OKX = DATA / "okx-books-trades-tickers-20220513.gz"
KEYS = {
    "messages", "applied", "synced", "gaps", "snapshots", "bids", "asks", "best_bid", "best_ask", "checksum_ok",
    "checksum_bad",
    "trades", "decisions", "book_sha256", "block_sha256", "ns_per_message", "ns_per_depth_message",
}  # fmt: skip


def cwts(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process: what it prints and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse
            code = left.code if isinstance(left.code, int) else 0
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cwts.cli", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_a_process_of_its_own_does_the_same() -> None:
    for arguments in (
        ["version"],
        ["replay", "--help"],
        ["replay", "nowhere.gz", "--exchange", "okx", "--symbol", "BTC-USDT"],
        ["frobnicate"],
    ):
        one, other = cwts(*arguments), in_a_process(*arguments)
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert (
        replay(OKX, "okx", "BTC-USDT")["block_sha256"]
        in in_a_process("replay", OKX, "--exchange", "okx", "--symbol", "BTC-USDT").stdout
    )


@pytest.fixture(autouse=True)
def _no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CWTS_TRACEBACK", raising=False)


def replay(path: Path, exchange: str, symbol: str, *more: object) -> dict[str, Any]:
    done = cwts("replay", path, "--exchange", exchange, "--symbol", symbol, *more, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(("file", "exchange", "symbol"), CAPTURES[:5], ids=[f"{e}:{s}" for _, e, s in CAPTURES[:5]])
def test_the_replays_contract(engine_name: str, file: str, exchange: str, symbol: str) -> None:
    result = replay(DATA / file, exchange, symbol, "--engine", engine_name)
    oracle = told(DATA / file, exchange, symbol)
    assert result.keys() >= KEYS
    for name in ("messages", "applied", "gaps", "snapshots", "trades", "checksum_ok", "checksum_bad"):
        assert result[name] == oracle.counts[name]
    assert result["synced"] is True
    assert (result["bids"], result["asks"]) == (len(oracle.sides[0]), len(oracle.sides[1]))
    assert (result["best_bid"], result["best_ask"]) == (oracle.best(0), oracle.best(1))
    assert result["book_sha256"] == oracle.book_sha256()
    assert len(result["block_sha256"]) == 64
    assert result["decisions"].keys() == {"hold", "buy", "sell", "exit"}
    for name in ("ns_per_message", "ns_per_depth_message"):
        assert 0 < result[name]["p50"] <= result[name]["p99"]


def test_both_engines_print_the_same_bits() -> None:
    results = [replay(OKX, "okx", "BTC-USDT", "--engine", engine) for engine in ("native", "wasmtime")]
    for result in results:
        for name in ("engine", "ns_per_message", "ns_per_depth_message", "elapsed_s"):
            del result[name]
    assert results[0] == results[1]


def test_a_recording_without_a_snapshot_has_no_book() -> None:
    result = replay(DATA / "binance-spot-btcusdt-20240809.gz", "binance", "BTCUSDT")
    assert result["synced"] is False
    assert (result["bids"], result["asks"], result["best_bid"], result["best_ask"]) == (0, 0, None, None)
    assert (result["applied"], result["snapshots"], result["trades"]) == (0, 0, 10_147)


def test_the_symbol_may_be_written_in_any_case() -> None:
    assert replay(OKX, "okx", "btc-usdt")["symbol"] == "BTC-USDT"


def test_decimals_from_an_instruments_file() -> None:
    file = DATA / "binance-usdm-exchangeInfo-202508.json"
    with_file, without = (
        replay(USDM, "binance-usdm", "BTCUSDT", "--instruments", file),
        replay(USDM, "binance-usdm", "BTCUSDT"),
    )
    assert with_file["book_sha256"] == without["book_sha256"]
    assert with_file["notes"] == []
    assert without["notes"]


def test_finer_decimals_in_the_recording_win_with_a_warning(tmp_path: Path) -> None:
    info = json.loads((DATA / "binance-usdm-exchangeInfo-202508.json").read_bytes())
    row = next(row for row in info["symbols"] if row["symbol"] == "BTCUSDT")
    row["filters"][0]["tickSize"] = "1"
    file = tmp_path / "info.json"
    file.write_text(json.dumps(info))
    done = cwts("replay", USDM, "--exchange", "binance-usdm", "--symbol", "BTCUSDT", "--instruments", file, "--json")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "warning" in done.stderr
    result = json.loads(done.stdout)
    assert (result["price_decimals"], result["gaps"], result["malformed"]) == (1, 0, 0)


def test_zstd_gives_the_same(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "capture.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(gzip.decompress(OKX.read_bytes())))
    assert replay(path, "okx", "BTC-USDT")["block_sha256"] == replay(OKX, "okx", "BTC-USDT")["block_sha256"]


def test_the_summary_for_a_person() -> None:
    done = cwts("replay", OKX, "--exchange", "okx", "--symbol", "BTC-USDT")
    assert done.returncode == 0
    assert done.stderr == ""
    for part in ("410", "30236.1 / 30236.2", "98 right, 0 wrong", "USDT"):
        assert part in done.stdout


def test_capital() -> None:
    assert replay(OKX, "okx", "BTC-USDT", "--capital", "50")["account"]["capital"] == "50"


def test_version_and_help() -> None:
    for arguments in (["version"], ["--version"]):
        assert cwts(*arguments).stdout.startswith("cwts 0.")
    assert "replay" in cwts("--help").stdout


# -- bad input -----------------------------------------------------------------------------------------------------

WHICH = ("--exchange", "okx", "--symbol", "BTC-USDT")
GOOD = (
    b"1000 "
    + compact({"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [["1.5", "1"]], "a": []})
    + b"\n"
)


def refused(*arguments: object) -> str:
    done = cwts(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cwts")
    assert "Traceback" not in done.stderr
    return done.stderr


BAD_FILES = {
    "an empty file": (b"", "empty"),
    "not gzip": (b"this is no recording\n" * 10, "this is neither"),
    "not compressed": (GOOD * 10, "compress it with gzip first"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10, "this is neither"),
    "a gzip of nothing": (gzip.compress(b""), "no line"),
    "a gzip of something else": (gzip.compress(b"a,b\n1,2\n"), "no line"),
    "a truncated gzip": (gzip.compress(GOOD * 100)[:-20], "truncated"),
    "a truncated recording": (USDM.read_bytes()[:1_000_000], "truncated"),
    "a damaged recording": (USDM.read_bytes()[:500_000] + bytes(1000) + USDM.read_bytes()[501_000:], "damaged"),
}


@pytest.mark.parametrize(("content", "says"), BAD_FILES.values(), ids=BAD_FILES.keys())
@pytest.mark.parametrize("as_json", [False, True])
def test_files_that_are_no_recordings(tmp_path: Path, content: bytes, says: str, as_json: bool) -> None:
    path = tmp_path / "capture.gz"
    path.write_bytes(content)
    more = ["--json"] if as_json else []
    assert says in refused("replay", path, "--exchange", "binance-usdm", "--symbol", "BTCUSDT", *more)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in refused("replay", tmp_path / "x.gz", "--exchange", "okx", "--symbol", "BTC-USDT")
    assert "folder" in refused("replay", tmp_path, "--exchange", "okx", "--symbol", "BTC-USDT")
    assert "No such file" in refused(
        "replay", OKX, "--exchange", "okx", "--symbol", "BTC-USDT", "--instruments", "x.json"
    )


def test_the_wrong_exchange() -> None:
    assert "looks like binance-usdm" in refused("replay", USDM, "--exchange", "okx", "--symbol", "BTC-USDT")
    assert "looks like binance-usdm" in refused("replay", USDM, "--exchange", "binance", "--symbol", "BTCUSDT")
    assert "looks like okx" in refused("replay", OKX, "--exchange", "binance", "--symbol", "BTCUSDT")


def test_an_unknown_symbol() -> None:
    assert "BTCUSDT" in refused("replay", USDM, "--exchange", "binance-usdm", "--symbol", "ETHUSDT")
    assert "UNI-USD-SWAP" in refused("replay", OKX, "--exchange", "okx", "--symbol", "ETH-USDT")
    file = DATA / "okx-instruments-2022.json"
    assert "BTC-USDT" in refused("replay", OKX, "--exchange", "okx", "--symbol", "BTC-UST", "--instruments", file)


def test_arguments_that_cannot_be() -> None:
    assert "CAPTURE" in refused("replay")
    assert "--exchange" in refused("replay", USDM, "--symbol", "BTCUSDT")
    assert "kraken" in refused("replay", USDM, "--exchange", "kraken", "--symbol", "BTCUSDT")
    assert "above 0" in refused("replay", USDM, "--exchange", "binance-usdm", "--symbol", "BTCUSDT", "--capital", "0")
    assert "above 0" in refused("replay", USDM, "--exchange", "binance-usdm", "--symbol", "BTCUSDT", "--capital", "NaN")
    assert "engine" in refused(
        "replay", USDM, "--exchange", "binance-usdm", "--symbol", "BTCUSDT", "--engine", "quantum"
    )
    assert "symbol" in refused("replay", USDM, "--exchange", "binance-usdm", "--symbol", "")
    refused()
    refused("frobnicate")
    refused("serve", "--port", "99999")


ANY = {("export", "--exchange"), ("export", "--symbol")}  # for which nothing means: whichever there is


def options() -> Iterator[tuple[str, str]]:
    """Every option and argument of every command that takes a value."""
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    for command, parser in commands.choices.items():
        for action in parser._actions:
            if action.nargs != 0:
                yield command, (action.option_strings or [""])[0]


@pytest.mark.parametrize(("command", "option"), [each for each in options() if each not in ANY])
def test_nothing_is_no_value_of_any_option(tmp_path: Path, command: str, option: str) -> None:
    """Every one says what it expects instead, in one line and before anything is done."""
    out = {"train": tmp_path / "weights", "import": tmp_path, "record": tmp_path}
    given: list[object] = ["--out", out[command]] if command in out else []
    given += WHICH if command in ("replay", "backtest", "networks", "run", "record", "import") else []
    given += ["--hold-out", f"okx:BTC-USDT:{OKX}"] if command == "train" else []
    given += [OKX] if option and command in ("replay", "backtest", "networks", "import", "simulate", "export") else []
    given += [f"okx:BTC-USDT:{OKX}"] if option and command == "train" else []
    said = refused(command, *given, *([option] if option else []), "")
    assert re.search("expected|possible|choose", said)
    assert "''" in said or "NAME=VALUE" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "LONG", *WHICH], "a recording (a file, or a folder of .cwts files) is expected, not 'aaa"),
        (["replay", OKX, *WHICH, "--instruments", "FOLDER"], "a file is expected, not the folder"),
        (["replay", OKX, *WHICH, "--settings", "FOLDER"], "a file is expected, not the folder"),
        (["replay", OKX, *WHICH, "--networks", "FOLDER"], "a file is expected, not the folder"),
        (["run", *WHICH, "--ca", "FOLDER"], "a file is expected, not the folder"),
        (["run", *WHICH, "--record", "FILE"], "a folder is expected, not the file"),
        (["record", *WHICH, "--out", "FILE/x"], "Not a directory"),
        (["import", OKX, *WHICH, "--out", "FILE"], "a folder is expected, not the file"),
        (["import", OKX, *WHICH, "--out", "/dev/full"], "a folder is expected, not the file"),
        (["export", "FILE", "--out", "FOLDER"], "a file to write is expected, not the folder"),
        (["export", "FILE"], "not a recording of frames"),
        (["backtest", OKX, *WHICH, "--html", "FOLDER"], "a file to write is expected, not the folder"),
        (["backtest", OKX, *WHICH, "--html", "FOLDER/none/x"], "there is no such folder"),
        (["backtest", OKX, *WHICH, "--html", "/dev/full"], "/dev/full: No space left on device"),
        (["backtest", OKX, *WHICH, "--seed", "-1"], "a whole number"),
        (["train", "x", "--hold-out", "x", "--out", "FOLDER"], "a file to write is expected, not the folder"),
        (["serve", "--site", "FILE"], "a folder is expected, not the file"),
        (["simulate", OKX, "--ca-file", "FOLDER/ca.pem"], "--ca-file needs --tls"),
        (["simulate", OKX, "--public-key", "FILE"], "an Ed25519 public key (PEM) is expected, the file is empty"),
        (["simulate", OKX, "--latency-ms", "."], "a number of at least 0 is expected, not '.'"),
        (["simulate", OKX, "--random-faults", "9" * 30], "a whole number of at most 5 digits"),
    ],
)
def test_paths_and_numbers_that_cannot_be(tmp_path: Path, arguments: list[object], says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    words = {"FILE": tmp_path / "file", "FOLDER": tmp_path / "folder", "LONG": "a" * 300}
    given = []
    for argument in map(str, arguments):
        first, slash, rest = argument.partition("/")
        given.append(f"{words[first]}{slash}{rest}" if first in words else argument)
    assert says in refused(*given)


def test_a_terminal_that_is_full_is_one_line() -> None:
    command = f"{sys.executable} -m cwts.cli version > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "cwts: what is printed: No space left on device\n")


def test_bad_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    lines = gzip.decompress(OKX.read_bytes()).splitlines(keepends=True)
    stamp = lines[200].split()[0]
    book = (
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update",'
        b'"data":[{"asks":[["%s","%s","0","1"]],"bids":[],"ts":"1"}]}\n'
    )
    bad = [
        b"no timestamp here\n",
        stamp + b" this is not json\n",
        stamp + b' {"arg":\n',
        stamp + b" " + book % (b"1" * 30, b"1"),
        stamp + b" " + book % (b"30236.5", b"0." + b"1" * 30),
        stamp + b" " + book % (b"30236.5", b"-1"),
        stamp + b" " + b"x" * 100_000_000 + b"\n",
    ]
    path = tmp_path / "capture.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(lines[:200] + bad + lines[200:])
    result, clean = replay(path, "okx", "BTC-USDT"), replay(OKX, "okx", "BTC-USDT")
    assert result["malformed"] == len(bad)
    assert result["messages"] == clean["messages"] + 5  # without a timestamp, or too long, it is no message
    for name in ("book_sha256", "applied", "gaps", "checksum_ok", "checksum_bad", "trades", "synced"):
        assert result[name] == clean[name]


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m cwts.cli replay {OKX} --exchange okx --symbol BTC-USDT | head -c 1 >/dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
