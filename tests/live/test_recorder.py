"""Recordings of frames: what was fed comes back byte for byte; a crash costs the group that was not yet written."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest

from cwts import browser, cli
from cwts.config import Settings, build_config
from cwts.errors import CwtsError, InputError
from cwts.instruments import guess_instrument
from cwts.kernel import Engine
from cwts.networks import command_frames
from cwts.recorder import (
    FRAMES,
    Description,
    FrameRecording,
    Group,
    LineRecorder,
    Recorder,
    check,
    groups,
    is_frames,
    lines,
    repair,
)
from cwts.recording import Recording
from cwts.replay import prepare, replay
from market import frame, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTRUMENT = guess_instrument("binance", "BTCUSDT", 2, 8)
DESCRIPTION = Description("binance", "BTCUSDT", INSTRUMENT, build_config(INSTRUMENT, Settings()), {}, 1)


def frames_of(data: Path, count: int) -> list[bytes]:
    return [frame(raw, ns) for ns, raw in lines_of(data / "binance-spot-btcusdt-20240808.gz")[:count]]


def written(recorder: Recorder, count: int) -> None:
    """Waits until so many frames are on the disk."""
    recorder.flush()
    while recorder.written_frames < count:
        time.sleep(0.002)


@pytest.mark.native
def test_what_was_fed_comes_back(tmp_path: Path, data: Path) -> None:
    batches = frames_of(data, 2000)
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=5000)
    for batch in batches:
        recorder.tap(memoryview(batch))
    recorder.close()
    assert recorder.written_frames == 2000
    recording = FrameRecording(recorder.files[0])
    assert b"".join(recording.batches()) == b"".join(batches)
    assert recording.torn_bytes == 0
    assert recording.describe() == DESCRIPTION
    found = check(recorder.files[0])
    assert (found.frames, found.torn_bytes) == (2000, 0)
    assert found.groups > 20
    assert is_frames(recorder.files[0].read_bytes()[:16])


@pytest.mark.native
def test_the_plain_tool_reads_it(tmp_path: Path, data: Path) -> None:
    """The headers are skippable frames: any zstd decoder gives the description and the frames."""
    zstandard = pytest.importorskip("zstandard")
    batches = frames_of(data, 300)
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=5000)
    for batch in batches:
        recorder.tap(batch)
    recorder.close()
    with recorder.files[0].open("rb") as file:
        plain = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    assert plain == DESCRIPTION.to_json() + b"".join(batches)


@pytest.mark.native
def test_files_rotate_and_a_folder_is_one_recording(tmp_path: Path, data: Path) -> None:
    batches = frames_of(data, 2000)
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=5000, file_bytes=20_000)
    for batch in batches:
        recorder.tap(batch)
    recorder.close()
    assert len(recorder.files) > 3
    assert b"".join(FrameRecording(tmp_path).batches("binance", "BTCUSDT")) == b"".join(batches)
    with pytest.raises(InputError, match="no recording of ETHUSDT"):
        FrameRecording(tmp_path).describe(symbol="ETHUSDT")


@pytest.mark.native
def test_a_file_that_goes_on_where_another_ended_can_be_replayed_alone(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins with the engine's block: from there on, the same run to the last bit. In the page too."""
    source = Recording(str(data / "binance-spot-btcusdt-20240808.gz"))
    setup = prepare(source, "binance", "BTCUSDT")
    engine = Engine(setup.config)
    recorder = Recorder(
        tmp_path / "a",
        Description("binance", "BTCUSDT", setup.instrument, setup.config, {}, 1),
        state=engine.block.tobytes,
        group_bytes=20_000,
        file_bytes=120_000,
    )
    for i, (ns, raw) in enumerate(lines_of(data / "binance-spot-btcusdt-20240808.gz")[:12_000]):
        batch = frame(raw, ns)
        recorder.tap(batch)
        engine.feed(batch)
        if i % 500 == 0:
            written(recorder, i + 1)
    recorder.close()
    assert len(recorder.files) > 3
    assert [check(path).torn_bytes for path in recorder.files] == [0] * len(recorder.files)

    def replayed(path: Path, **options: Any) -> dict[str, Any]:
        recording = Recording(str(path))
        return replay(recording, prepare(recording, "binance", "BTCUSDT", **options))

    whole = replayed(tmp_path / "a")
    assert whole["block_sha256"] == engine.block_sha256()
    assert not [note for note in whole["notes"] if "in the middle" in note]
    last = replayed(recorder.files[-1])
    assert last["block_sha256"] == engine.block_sha256()
    assert "this file begins in the middle of a session: the engine starts as it was there" in last["notes"]
    monkeypatch.setattr(browser, "FILE", recorder.files[-1])
    opened = json.loads(browser.open_recording("last", "binance", "BTCUSDT", lambda _: None, ""))
    assert "this file begins in the middle of a session: the engine starts as it was there" in opened["notes"]
    for batch in Recording(str(recorder.files[-1])).batches():
        browser._engine.feed(batch)
    assert browser.block_sha256() == engine.block_sha256()
    rest = tmp_path / "rest"  # a folder whose first files were deleted
    rest.mkdir()
    for path in recorder.files[2:]:
        (rest / path.name).write_bytes(path.read_bytes())
    assert replayed(rest)["block_sha256"] == engine.block_sha256()
    other = replayed(recorder.files[-1], settings=Settings(capital=Decimal(7)))
    assert not other["synced"]
    assert other["notes"][-2].endswith("but with other settings: it starts without a book, until the next snapshot")
    assert other["notes"][-1] == "there is no snapshot of the book in the recording: the book was never valid"


@pytest.mark.native
def test_a_block_of_another_version_is_not_used(tmp_path: Path, data: Path) -> None:
    frames = frames_of(data, 3000)
    recorder = Recorder(tmp_path, DESCRIPTION, state=lambda: b"old" * 1000, group_bytes=5000, file_bytes=20_000)
    for i, batch in enumerate(frames):
        recorder.tap(batch)
        if i % 500 == 0:
            written(recorder, i + 1)
    recorder.close()
    assert b"".join(FrameRecording(tmp_path).batches()) == b"".join(frames)
    recording = Recording(str(recorder.files[-1]))
    found = replay(recording, prepare(recording, "binance", "BTCUSDT"))
    assert any("but written by another version of cwts: it starts without a book" in note for note in found["notes"])


@pytest.mark.native
def test_every_torn_tail_is_cut(tmp_path: Path, data: Path) -> None:
    batches = frames_of(data, 200)
    recorder = Recorder(tmp_path / "whole", DESCRIPTION, group_bytes=3000)
    for batch in batches:
        recorder.tap(batch)
    recorder.close()
    whole = recorder.files[0].read_bytes()
    with recorder.files[0].open("rb") as file:
        ends = [(group.end, group.count) for group in groups(file)]
    chance = random.Random(5)
    for cut in [*(end for end, _ in ends), *(chance.randrange(1, len(whole)) for _ in range(60))]:
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / "a.cwts"
        path.write_bytes(whole[:cut])
        kept = [(end, count) for end, count in ends if end <= cut]
        said = repair(folder)
        if not kept:
            assert "left as it is" in said[0]
            continue
        assert bool(said) == (kept[-1][0] != cut)
        assert path.stat().st_size == kept[-1][0]
        assert check(path).frames == sum(count for _, count in kept)
        assert repair(folder) == []


@pytest.mark.native
def test_a_file_that_is_still_written_is_not_cut(tmp_path: Path) -> None:
    """A second run starts in the same folder while the first one's newest group is on its way to the disk."""
    recorder = Recorder(tmp_path, DESCRIPTION)
    recorder.tap(frame(b"1", 1))
    written(recorder, 1)
    with recorder.files[0].open("ab") as half:
        half.write(recorder.files[0].read_bytes()[:30])
    size = recorder.files[0].stat().st_size
    assert repair(tmp_path) == []
    assert recorder.files[0].stat().st_size == size
    recorder.close()
    assert "a torn tail of 30 bytes was cut; 1 frames remain" in repair(tmp_path)[0]


@pytest.mark.native
def test_what_is_written_while_a_file_is_checked_is_not_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if the file is cut all the same (no locks there), later groups follow what is left without a hole."""
    monkeypatch.setattr("cwts.recorder.fcntl", None, raising=False)
    recorder = Recorder(tmp_path, DESCRIPTION)
    path = recorder.files[0]
    recorder.tap(frame(b"1", 1))
    written(recorder, 1)

    def slow(file: BinaryIO) -> Iterator[Group]:
        yield from groups(file)
        recorder.tap(frame(b"2", 2))
        written(recorder, recorder.written_frames + 1)

    with monkeypatch.context() as patch:
        patch.setattr("cwts.recorder.groups", slow)
        assert repair(tmp_path) == []
    kept = check(path)
    assert kept.frames == 2
    with path.open("ab") as half:
        half.write(path.read_bytes()[:30])
    assert "30 bytes" in repair(tmp_path)[0]
    recorder.tap(frame(b"3", 3))
    recorder.close()
    assert b"".join(FrameRecording(path).batches()) == b"".join(frame(b"%d" % n, n) for n in (1, 2, 3))


@pytest.mark.native
def test_a_damaged_group_ends_the_recording(tmp_path: Path, data: Path) -> None:
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=3000)
    for batch in frames_of(data, 200):
        recorder.tap(batch)
    recorder.close()
    whole = bytearray(recorder.files[0].read_bytes())
    whole[-2000] ^= 1
    recording = FrameRecording(bytes(whole))
    kept = b"".join(recording.batches())
    assert 0 < len(kept) < 200 * 1000
    assert recording.torn_bytes > 0


@pytest.mark.native
def test_a_replay_is_the_run_that_was_recorded(tmp_path: Path, data: Path) -> None:
    """By lines and by frames: the same engine, the same block."""
    source = Recording(str(data / "binance-spot-btcusdt-20240808.gz"))
    setup = prepare(source, "binance", "BTCUSDT")
    wanted = replay(source, setup)
    recorder = Recorder(tmp_path, Description("binance", "BTCUSDT", setup.instrument, setup.config, {}, 1))
    recorder.tap(command_frames(setup.start, setup.survey.first_ns))
    for batch in source.batches():
        recorder.tap(batch)
    recorder.close()
    again = Recording(str(recorder.files[0]))
    found = replay(again, prepare(again, "binance", "BTCUSDT"))
    assert found["block_sha256"] == wanted["block_sha256"]
    with pytest.raises(InputError, match="it is one of binance"):
        prepare(again, "okx", "BTC-USDT")
    with pytest.raises(InputError, match="no recording of binance ETHUSDT"):
        prepare(again, "binance", "ETHUSDT")


@pytest.mark.native
def test_lines_out_and_in(tmp_path: Path, data: Path) -> None:
    source = lines_of(data / "binance-spot-btcusdt-20240808.gz")[:500]
    recorder = LineRecorder(tmp_path, DESCRIPTION)
    for ns, raw in source:
        recorder.tap(frame(raw, ns) + frame(b"", ns, kind=1))
        recorder.tick()
    recorder.close()
    with gzip.open(recorder.files[0]) as file:
        assert file.read() == b"".join(b"%d %s\n" % pair for pair in source)
    assert sum(len(found) for found in lines(iter([bytearray(frame(b"{}")), bytearray(frame(b"", kind=1))]))) == 1


def exported(*arguments: object) -> int:
    return cli.main(["export", *map(str, arguments)])


@pytest.mark.native
def test_what_is_imported_and_exported_is_counted_in_the_recordings_messages(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in frames, of which the engine's own commands are some."""
    source = lines_of(data / "binance-spot-btcusdt-20240808.gz")[:3000]
    capture, again = tmp_path / "lines.gz", tmp_path / "again.gz"
    capture.write_bytes(gzip.compress(b"".join(b"%d %s\n" % line for line in source)))
    which = ["--exchange", "binance", "--symbol", "BTCUSDT"]
    assert cli.main(["import", str(capture), *which, "--out", str(tmp_path / "frames")]) == 0
    (path,) = (tmp_path / "frames").iterdir()
    assert capsys.readouterr().out == f"3,000 messages written to {path}\n"
    assert check(path).frames > 3000
    assert exported(path, "--out", again) == 0
    assert capsys.readouterr().out == f"3,000 messages written to {again}\n"
    assert gzip.decompress(again.read_bytes()) == gzip.decompress(capture.read_bytes())


@pytest.mark.native
@pytest.mark.parametrize("out", ["recording", "link", "hard.gz"])
def test_a_recording_is_not_exported_onto_itself(tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, DESCRIPTION)
    recorder.tap(frame(b"{}", 1))
    recorder.close()
    (path,) = recorder.files
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard.gz").hardlink_to(path)
    target = path if out == "recording" else tmp_path / out
    for source in (path, tmp_path):
        assert exported(source, "--out", target) == 2
        assert "this is the recording itself" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.native
def test_two_exchanges_symbols_of_one_name_stay_apart(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spot and futures BTCUSDT in one folder: each replays as if it were alone."""
    wanted = {}
    for exchange, name in (("binance", "spot"), ("binance-usdm", "usdm")):
        source = Recording(str(data / f"binance-{name}-btcusdt-20240808.gz"))
        setup = prepare(source, exchange, "BTCUSDT")
        description = Description(exchange, "BTCUSDT", setup.instrument, setup.config, {}, 1)
        recorder = Recorder(tmp_path, description, state=exchange.encode, file_bytes=20_000, group_bytes=20_000)
        recorder.tap(command_frames(setup.start, setup.survey.first_ns))
        for i, batch in enumerate(source.batches()):
            recorder.tap(batch)
            written(recorder, i + 1)
        recorder.close()
        wanted[exchange] = replay(source, setup)["block_sha256"], b"".join(source.batches())
    for exchange, (block, batches) in wanted.items():
        recording = Recording(str(tmp_path))
        assert replay(recording, prepare(recording, exchange, "BTCUSDT"))["block_sha256"] == block
        frames = FrameRecording(tmp_path)
        assert frames.describe(exchange, "BTCUSDT").exchange == exchange
        assert b"".join(frames.batches(exchange, "BTCUSDT")).endswith(batches)
        out = tmp_path / f"{exchange}.gz"
        assert exported(tmp_path, "--exchange", exchange, "--out", out) == 0
        assert b"".join(Recording(str(out)).batches()) == batches
    capsys.readouterr()
    for more in ([], ["--symbol", "btcusdt"]):
        assert exported(tmp_path, *more, "--out", tmp_path / "none.gz") == 2
        error = capsys.readouterr().err
        assert "which of binance BTCUSDT, binance-usdm BTCUSDT? Say --exchange and --symbol" in error
    assert not (tmp_path / "none.gz").exists()
    for path in tmp_path.glob("binance-btcusdt-*"):
        path.unlink()
    with pytest.raises(InputError, match="no recording of binance: it is one of binance-usdm"):
        prepare(Recording(str(tmp_path)), "binance", "BTCUSDT")


@pytest.mark.native
def test_an_export_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "a", DESCRIPTION)
    recorder.tap(frame(b"{}", 1))
    recorder.close()
    out = tmp_path / "lines.gz"
    assert exported(tmp_path / "a", "--out", out) == 0
    before = out.read_bytes()
    assert gzip.decompress(before) == b"1 {}\n"

    def full(batches: object) -> Iterator[list[bytes]]:
        del batches
        yield [b"2 {}"]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cwts.recorder.lines", full)
    assert exported(tmp_path / "a", "--out", out) == 2
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "lines.gz"]


@pytest.mark.native
def test_whatever_a_recording_dies_of_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=1)

    def out_of_memory(data: bytes) -> bytes:
        raise MemoryError(len(data))

    recorder._pack = out_of_memory
    for ns in range(200):
        recorder.tap(frame(b"{}", ns))
    with pytest.raises(CwtsError, match="the recording stopped: MemoryError"):
        recorder.close()


@pytest.mark.native
def test_a_recorder_without_its_thread_is_an_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, DESCRIPTION, group_bytes=1)
    recorder._queue.put(None)
    recorder._thread.join()
    recorder.tap(frame(b"{}", 1))
    assert recorder.error.endswith("the recording stopped")
    with pytest.raises(CwtsError, match="the recording stopped"):
        recorder.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_lines_that_the_disk_does_not_take_are_told(tmp_path: Path) -> None:
    recorder = LineRecorder(tmp_path, DESCRIPTION)
    recorder._file.close()
    recorder._file = gzip.open("/dev/full", "wb")  # noqa: SIM115
    recorder.tap(frame(b"{}", 1))
    recorder._flushed = 0
    with pytest.raises(CwtsError, match="the recording stopped: No space left on device"):
        recorder.tick()
    recorder.tap(frame(b"{}", 1))
    with pytest.raises(CwtsError, match="the recording stopped: No space left on device"):
        recorder.close()


def test_no_recording_where_nothing_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Recorder(blocked / "x", DESCRIPTION)


@pytest.mark.native
@pytest.mark.parametrize("kind", [Recorder, LineRecorder])
def test_who_begins_in_the_same_second_takes_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Recorder | LineRecorder]
) -> None:
    """Also where the other one takes the name between our choosing it and our making the file."""
    monkeypatch.setattr("cwts.recorder.name_of", lambda description: f"{description.symbol}-now")
    others: list[Recorder | LineRecorder] = []

    class Behind(type(tmp_path)):  # type: ignore[misc]  # a folder that is seen as it was before the others wrote
        def exists(self, **_: object) -> bool:
            return False

    for number in range(3):
        others.append(kind(Behind(tmp_path), DESCRIPTION))
        others[-1].tap(frame(b"%d" % number, 1))
    for recorder in others:
        recorder.close()
    assert len({recorder.files[0] for recorder in others}) == 3
    for number, recorder in enumerate(others):
        (line,) = (line for found in Recording(recorder.files[0])._lines() for line in found)
        assert line == b"1 %d" % number


WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from live.test_recorder import DESCRIPTION
from cwts.recorder import Recorder
from market import frame
recorder = Recorder(Path({folder!r}), DESCRIPTION, group_s=0.1)
n = 0
while True:
    for _ in range(50):
        n += 1
        recorder.tap(frame(b"%d" % n * 20, n))
    recorder.tick()
    print(n, recorder.written_frames, flush=True)
    time.sleep(0.005)
"""


@pytest.mark.native
def test_kill_9_costs_at_most_the_last_group(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent.parent), folder=str(tmp_path))
    tapped = written = 0
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        end = time.monotonic() + 1.0
        while time.monotonic() < end or not written:
            tapped, written = map(int, process.stdout.readline().split())
        process.send_signal(signal.SIGKILL)
    repair(tmp_path)
    path = next(tmp_path.glob("*.cwts"))
    with path.open("rb") as file:
        kept = sum(group.count for group in groups(file) if group.kind == FRAMES)
    assert kept >= written > 0
    assert tapped - kept < 50 * 200  # a second's worth: groups are a tenth of one old at most
    frames = b"".join(FrameRecording(path).batches())
    assert frames == b"".join(frame(b"%d" % n * 20, n) for n in range(1, kept + 1))


@pytest.mark.native
@pytest.mark.parametrize("fresh", [True, False])
def test_the_page_packs_the_same_recording_piece_by_piece(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """As `web/workers/tape.js` does: from a session's first frame on, or from its middle, with the engine's block."""
    source = Recording(str(data / "binance-spot-btcusdt-20240808.gz"))
    setup = prepare(source, "binance", "BTCUSDT")
    engine = setup.engine()
    frames = b"".join(frames_of(data, 3000))
    if not fresh:
        engine.feed(b"".join(frames_of(data, 3500))[: len(frames)])
    monkeypatch.setattr(browser, "_engine", engine)
    monkeypatch.setattr(browser, "_live_setup", setup)
    tape = browser.Tape()
    written = [tape.begin(fresh=fresh)]
    if tape.block_bytes:
        for at in range(0, tape.block_bytes, 1 << 20):
            tape.pack_block(at, min(at + (1 << 20), tape.block_bytes))
        written.append(tape.block_group())
    used = tape.used
    tape._frames[used : used + len(frames)] = np.frombuffer(frames, np.uint8)
    used += len(frames)
    for at in range(0, used, 32 << 10):
        tape.pack(at, min(at + (32 << 10), used))
    written.append(tape.group(used, 3000, 1, 2))
    engine.feed(frames)
    path = tmp_path / f"{tape.name}-0000.cwts"
    path.write_bytes(b"".join(written))
    with path.open("rb") as file:
        assert [group.kind for group in groups(file)] == ([1, 2] if fresh else [1, 3, 2])
    assert check(path).torn_bytes == 0
    recording = Recording(str(path))
    found = replay(recording, prepare(recording, "binance", "BTCUSDT"))
    assert found["block_sha256"] == engine.block_sha256()


@pytest.mark.native
def test_settings_that_change_while_the_page_records_are_frames_of_the_recording(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Recording(str(data / "binance-spot-btcusdt-20240808.gz"))
    engine = prepare(source, "binance", "BTCUSDT").engine()
    monkeypatch.setattr(browser, "_engine", engine)
    monkeypatch.setattr(browser, "_settings", Settings())
    taken: list[int] = []
    browser.tap_with(lambda _, size: taken.append(size))
    before = engine.block_sha256()
    try:
        browser.choose(json.dumps({"set": {"enter": 0.5}}))
    finally:
        browser.tap_with(None)
    assert len(taken) == 1
    assert engine.block_sha256() != before
