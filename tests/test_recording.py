"""Recordings: what is read, what is counted as malformed, and what is refused with one clear line."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cwts.errors import InputError
from cwts.recording import FRAME, Recording, payloads
from market import head

if TYPE_CHECKING:
    from pathlib import Path

DEPTH = b'{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["61800.20","1.500"]],"a":[]}'
TRADE = b'{"e":"trade","s":"BTCUSDT","p":"61800.25","q":"0.001","t":1}'
TEXT = b"1000 " + DEPTH + b"\n2000 " + TRADE + b"\n"


def read(recording: Recording) -> list[tuple[int, bytes]]:
    return [(ns, bytes(raw)) for batch in recording.batches() for ns, raw in payloads(batch)]


def zstd(data: bytes) -> bytes:
    try:
        from compression import zstd as module

        return bytes(module.compress(data))
    except ImportError:
        return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


LINES = [(1000, DEPTH), (2000, TRADE)]


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_formats_are_told_apart_by_their_first_bytes(pack: object, tmp_path: Path) -> None:
    packed = pack(TEXT)  # type: ignore[operator]
    assert read(Recording(packed)) == LINES
    path = tmp_path / "capture"
    path.write_bytes(packed)
    assert read(Recording(path)) == LINES
    assert read(Recording(str(path))) == LINES


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_compressed_parts_laid_end_to_end_are_one_recording(pack: object) -> None:
    assert read(Recording(pack(TEXT) + pack(TEXT))) == LINES * 2  # type: ignore[operator]


def test_zeros_may_pad_a_gzip_file() -> None:
    assert read(Recording(gzip.compress(TEXT) + bytes(512))) == LINES
    assert read(Recording(gzip.compress(TEXT) + bytes(300_000) + gzip.compress(TEXT))) == LINES * 2


def test_frames_have_the_kernels_layout() -> None:
    (batch,) = Recording(gzip.compress(b"7 12345\n8 \n9 12345678\n")).batches(stream=3)
    assert FRAME.size == 16
    assert batch == (
        FRAME.pack(7, 5, 3, 0) + b"12345\0\0\0" + FRAME.pack(8, 0, 3, 0) + FRAME.pack(9, 8, 3, 0) + b"12345678"
    )


def test_line_ends_of_other_systems_and_a_missing_last_one() -> None:
    assert read(Recording(gzip.compress(TEXT.replace(b"\n", b"\r\n").rstrip()))) == LINES


def test_it_can_be_read_again_and_again() -> None:
    recording = Recording(gzip.compress(TEXT))
    assert read(recording) == read(recording) == LINES


@pytest.mark.parametrize(
    "line",
    [
        b"no timestamp",
        b"{}",
        b"1000",
        b"-5 {}",
        b"12x4 {}",
        b" 1000 {}",
        b"99999999999999999999 {}",
        b"9223372036854775808 {}",
    ],
)
def test_a_line_without_a_timestamp_is_counted_and_skipped(line: bytes) -> None:
    recording = Recording(gzip.compress(TEXT + line + b"\n" + TEXT))
    assert read(recording) == LINES * 2
    assert recording.malformed == 1


def test_empty_lines_are_nothing() -> None:
    recording = Recording(gzip.compress(b"\n" + TEXT + b"\n\n" + TEXT))
    assert read(recording) == LINES * 2
    assert recording.malformed == 0


def test_a_line_that_is_not_json_goes_to_the_kernel() -> None:
    assert read(Recording(gzip.compress(b"5 not json\n"))) == [(5, b"not json")]


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_line_of_100_megabytes_is_counted_and_never_held(pack: object) -> None:
    packed = pack(TEXT + b"3000 " + b"x" * 100_000_000 + b"\n" + TEXT)  # type: ignore[operator]
    recording = Recording(packed)
    tracemalloc.start()
    try:
        assert read(recording) == LINES * 2
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert recording.malformed == 1
    assert peak < 64 << 20


@pytest.mark.parametrize("size", [10, 99, 100, 101, 5000])
def test_the_longest_line(size: int) -> None:
    line = b"1 " + b"y" * (size - 2)
    for text in (TEXT + line + b"\n" + TEXT, line + b"\n" + TEXT, TEXT + line):
        recording = Recording(gzip.compress(text), max_line=100)
        got = [pair for pair in read(recording) if pair[0] == 1]
        assert len(got) == (size <= 100)
        assert recording.malformed == (size > 100)


def test_any_cut_into_pieces_gives_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    lines = [(i, bytes(rng.choices(b"abc{}", k=rng.choice([0, 1, 5, 50, 400])))) for i in range(300)]
    text = b"".join(b"%d %s\n" % line for line in lines)
    for size in (7, 64, 1000):
        monkeypatch.setattr("cwts.recording._READ", size)
        monkeypatch.setattr("cwts.recording._CHUNK", size)
        assert read(Recording(gzip.compress(text))) == lines
        assert read(Recording(zstd(text))) == lines


def refused(data: bytes | Path | str) -> str:
    with pytest.raises(InputError) as caught:
        read(Recording(data))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_bad_files_are_refused_with_one_line(tmp_path: Path) -> None:
    assert "empty" in refused(b"")
    assert refused(b"\x89PNG\r\n\x1a\n" + bytes(100)).endswith("compressed by gzip or zstd, this is neither")
    assert refused(b"hello\n").endswith("this is neither")
    assert refused(TEXT).endswith("this is neither: compress it with gzip first")
    assert "truncated" in refused(gzip.compress(TEXT)[:-9])
    assert "truncated" in refused(gzip.compress(TEXT)[:-4])
    assert "truncated" in refused(gzip.compress(TEXT)[:12])
    assert "truncated" in refused(gzip.compress(TEXT)[:2])
    assert "not gzip" in refused(gzip.compress(TEXT) + b"trailing")
    damaged = bytearray(gzip.compress(TEXT))
    damaged[-6] ^= 1
    assert "damaged" in refused(bytes(damaged))
    assert "No such file" in refused(tmp_path / "nowhere.gz")
    assert "folder" in refused(tmp_path)


def test_bad_zstd_files_are_refused() -> None:
    packed = zstd(TEXT * 100)
    assert "truncated" in refused(packed[:-3])
    assert "truncated" in refused(packed[:5])
    assert "damaged" in refused(packed + b"trailing bytes")


def test_every_truncation_of_a_gzip_file_is_noticed() -> None:
    packed = gzip.compress(TEXT)
    for size in range(2, len(packed)):
        assert "truncated" in refused(packed[:size])


# -- the first pass ------------------------------------------------------------------------------------------------


def survey(*raws: bytes, exchange: str = "binance-usdm", symbol: str = "BTCUSDT") -> tuple[int, int]:
    text = b"".join(b"%d %s\n" % (i + 1, raw) for i, raw in enumerate(raws))
    found = Recording(gzip.compress(text)).survey(exchange, symbol)
    return found.price_decimals, found.qty_decimals


def test_decimals_are_significant_ones() -> None:
    assert survey(DEPTH) == (1, 1)
    assert survey(TRADE) == (2, 3)
    assert survey(DEPTH, TRADE) == (2, 3)
    assert survey(DEPTH.replace(b"61800.20", b"61800.00").replace(b"1.500", b"15")) == (0, 0)


def test_spaces_and_key_order_do_not_matter() -> None:
    raw = b'{ "a" : [ [ "1.25" , "3.0001" ] ] , "b" : [ ] , "u" : 2, "pu":1, "s" : "BTCUSDT" , "e" : "depthUpdate" }'
    assert survey(raw) == (2, 4)


def test_snapshots_count_with_and_without_a_symbol() -> None:
    rest = b'{"lastUpdateId":5,"bids":[["1.125","2"]],"asks":[["3","4.25"]]}'
    assert survey(rest, DEPTH) == (3, 2)
    assert survey(rest[:-1] + b',"symbol":"BTCUSDT"}', DEPTH) == (3, 2)
    assert survey(rest[:-1] + b',"symbol":"ETHUSDT"}', DEPTH) == (1, 1)


def test_other_symbols_and_other_streams_do_not_count() -> None:
    assert survey(DEPTH, TRADE.replace(b"BTCUSDT", b"ETHUSDT")) == (1, 1)
    assert survey(DEPTH, TRADE.replace(b'"s":"BTCUSDT"', b'"s":"BTCUSDT_241227","ps":"BTCUSDT"')) == (1, 1)
    mark = b'{"e":"markPriceUpdate","s":"BTCUSDT","p":"61794.15123456","P":"61784.62659618"}'
    ticker = b'{"e":"24hrTicker","s":"BTCUSDT","p":"1.123456","w":"2.1234567","b":"1.2345"}'
    assert survey(DEPTH, mark, ticker) == (1, 1)


def test_best_quotes_count_with_and_without_an_event() -> None:
    quote = b'{"u":1,"s":"BTCUSDT","b":"1.5","B":"31.21000000","a":"1.75","A":"40.66000000"}'
    assert survey(quote) == (2, 2)
    assert survey(quote.replace(b'{"u"', b'{"e":"bookTicker","u"')) == (2, 2)


def test_numbers_that_cannot_be_held_do_not_count() -> None:
    """They belong to malformed messages, which the kernel counts and skips."""
    assert survey(DEPTH, DEPTH.replace(b"61800.20", b"1.123456789012345678901234567890")) == (1, 1)
    assert survey(DEPTH, DEPTH.replace(b"61800.20", b"123456789012345678901234567890.125")) == (1, 1)
    assert survey(DEPTH, DEPTH.replace(b"1.500", b"-1.12345")) == (1, 1)


def test_okx_decimals_come_from_the_instruments_books_and_trades() -> None:
    def okx(channel: str, instrument: str, data: str) -> bytes:
        return f'{{"arg":{{"channel":"{channel}","instId":"{instrument}"}},"data":[{data}]}}'.encode()

    book = okx("books", "BTC-USDT", '{"asks":[["30243.50","0.00125","0","3"]],"bids":[],"ts":"1"}')
    trade = okx("trades", "BTC-USDT", '{"instId":"BTC-USDT","px":"30243.25","sz":"0.1","side":"buy","ts":"1"}')
    other = okx("trades", "BTC-USDT-SWAP", '{"instId":"BTC-USDT-SWAP","px":"1.2345","sz":"0.1","side":"buy","ts":"1"}')
    ticker = okx("tickers", "BTC-USDT", '{"instId":"BTC-USDT","last":"30243.123","vol24h":"1.23456789"}')
    assert survey(book, exchange="okx", symbol="BTC-USDT") == (1, 5)
    assert survey(book, trade, other, ticker, exchange="okx", symbol="btc-usdt") == (2, 5)


def test_the_symbol_may_be_written_in_any_case(data: Path) -> None:
    found = Recording(data / "okx-books-trades-tickers-20220513.gz").survey("okx", "btc-usdt")
    assert (found.symbol, found.price_decimals, found.qty_decimals) == ("BTC-USDT", 1, 8)
    assert found.reference_price == Decimal(30236)


def wrong(data: bytes | Path, exchange: str, symbol: str) -> str:
    with pytest.raises(InputError) as caught:
        Recording(data).survey(exchange, symbol)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_symbol_is_refused_with_those_seen(data: Path) -> None:
    message = wrong(data / "okx-books-l2-tbt-20210722.gz", "okx", "BTC-USDT")
    assert "BTC-USDT" in message
    assert "XMR-USDT-SWAP" in message
    assert "BTCUSDT" in wrong(gzip.compress(TEXT), "binance-usdm", "ETHUSDT")


@pytest.mark.parametrize(
    ("file", "symbol", "is_from"),
    [
        ("binance-usdm-btcusdt-20240808.gz", "BTCUSDT", "binance-usdm"),
        ("binance-spot-btcusdt-20240809.gz", "BTCUSDT", "binance"),
        ("binance-coinm-btcusd_perp-20240808.gz", "BTCUSD_PERP", "binance-coinm"),
        ("okx-books-trades-tickers-20220513.gz", "BTC-USDT", "okx"),
    ],
)
@pytest.mark.parametrize("exchange", ["binance", "binance-usdm", "binance-coinm", "okx"])
def test_a_recording_of_another_exchange_is_refused(
    data: Path, file: str, symbol: str, is_from: str, exchange: str
) -> None:
    part = gzip.compress(b"".join(b"%d %s\n" % line for line in head(data / file, 1000)), 1)
    if exchange == is_from:
        assert Recording(part).survey(exchange, symbol).messages
    else:
        assert wrong(part, exchange, symbol).endswith(f"looks like {is_from}")
        assert "looks like" in wrong(part, exchange, "NOSUCH")


def test_a_recording_without_a_single_line_is_refused() -> None:
    assert "no line" in wrong(gzip.compress(b""), "okx", "BTC-USDT")
    assert "no line" in wrong(gzip.compress(b"hello\n"), "okx", "BTC-USDT")
    assert "unknown exchange" in wrong(gzip.compress(TEXT), "kraken", "BTCUSDT")


def test_memory_stays_bounded(data: Path) -> None:
    """A whole recording is never in memory: 28 MB of text pass through."""
    recording = Recording(data / "binance-usdm-btcusdt-20240808.gz")
    tracemalloc.start()
    try:
        total = sum(len(batch) for batch in recording.batches())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 27_000_000
    assert peak < 12 << 20


def test_zlib_is_not_confused_by_output_that_ends_at_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"%d %s\n" % (i, b"z" * 90) for i in range(10_000))
    packed = zlib.compressobj(wbits=31)
    whole = packed.compress(text) + packed.flush()
    for chunk in (1, 2, 3, 101, 65536):
        monkeypatch.setattr("cwts.recording._CHUNK", max(chunk, 64))
        assert len(read(Recording(whole))) == 10_000
