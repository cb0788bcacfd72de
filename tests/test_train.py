"""`cwts train` against docs/networks.md: rows, labels, split, evaluation, what is refused; then the whole command."""

from __future__ import annotations

import gzip
import json
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwts import networks, train
from cwts.cli import main
from cwts.config import Settings
from cwts.errors import InputError
from cwts.kernel import layout
from cwts.kernel.layout import Feature
from cwts.recording import Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native

SECOND = 1_000_000_000
SPOT = "binance-spot-btcusdt-20240808.gz"


@pytest.fixture(scope="module")
def pieces(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first 45 s of a recording, the next 30 s, and both; the snapshot of the book is in the first."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = gzip.decompress((data / SPOT).read_bytes()).splitlines(keepends=True)
    start = int(lines[0].split(b" ", 1)[0])
    age = np.array([int(line.split(b" ", 1)[0]) - start for line in lines]) / SECOND
    made = []
    for name, low, high in (("first", 0, 45), ("second", 45, 75), ("whole", 0, 75)):
        made.append(folder / f"{name}.gz")
        kept = [line for line, at in zip(lines, age, strict=True) if low <= at < high]
        made[-1].write_bytes(gzip.compress(b"".join(kept), 1))
    return made


def source(*files: Path) -> train.Source:
    return train.Source("binance", "BTCUSDT", tuple(map(str, files)))


def rows_of(time_s: Any, mid: Any, spread: float = 2.0, micro: Any = None, trades: Any = ()) -> train.Rows:
    """Made-up rows; the volatility is 1 basis point a √s."""
    time, mid = (np.asarray(time_s) * SECOND).astype(np.int64), np.asarray(mid, float)
    features = np.zeros((len(time), layout.FEATURE_COUNT), np.float32)
    features[:, Feature.VOLATILITY_60S] = 1
    spreads = np.full(len(time), spread)
    return train.Rows(
        "made up", time, features, mid, mid if micro is None else np.asarray(micro, float), spreads,
        np.array(trades, float).reshape(-1, 3),
    )  # fmt: skip


def task_of(time_s: Any, features: Any, labels: Any) -> train.Task:
    time = (np.asarray(time_s) * SECOND).astype(np.int64)
    answers = np.asarray(labels, bool)
    return train.Task(time, np.asarray(features, np.float32), answers, answers.astype(float), np.zeros(len(time)))


def walk(seed: int, count: int = 400) -> tuple[Any, Any]:
    """Times over about 40 s, and prices that go up and down between them."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(0.1, count)), 60_000 + np.cumsum(rng.integers(-3, 4, count))


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_the_updates_of_the_last_file(pieces: list[Path]) -> None:
    """The engine goes from one file into the next, so the second half has the rows that the whole has there."""
    first, second, whole = pieces
    half, all_of_it = train.collect(source(first, second)), train.collect(source(whole))
    start = int(np.searchsorted(all_of_it.time, half.time[0]))
    assert len(all_of_it.time) - start == len(half.time) > 1000
    assert half.features.tobytes() == all_of_it.features[start:].tobytes()
    assert half.micro.tobytes() == all_of_it.micro[start:].tobytes()
    assert half.name == "binance BTCUSDT second.gz"
    assert np.array_equal(half.trades[:, 1], all_of_it.trades[-len(half.trades) :, 1])
    assert np.array_equal(half.trades[:, 2], all_of_it.trades[-len(half.trades) :, 2] - start)


def test_a_row_says_what_its_prices_say(pieces: list[Path]) -> None:
    rows = train.collect(source(pieces[0]))
    assert np.all(np.diff(rows.time) >= 0)
    assert np.all(rows.spread > 0)
    assert rows.features[:, Feature.MICRO] == pytest.approx((rows.micro - rows.mid) / rows.spread, abs=1e-3)


def test_a_source_is_written_as_one_word() -> None:
    assert train.Source.parse("okx:BTC-USDT:a.gz,b.gz") == train.Source("okx", "BTC-USDT", ("a.gz", "b.gz"))
    for text in ("", "okx", "okx:BTC-USDT", "okx:BTC-USDT:", "okx::a.gz", "nyse:BTC-USDT:a.gz"):
        with pytest.raises(InputError, match="expected EXCHANGE:SYMBOL:FILE"):
            train.Source.parse(text)


# -- labels -----------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1 << 30))
def test_value_is_the_micro_prices_return_over_a_second(seed: int) -> None:
    time, micro = walk(seed)
    rows = rows_of(time, micro)
    index, forward = train.value_labels(rows)
    want = {}
    for i, now in enumerate(rows.time):
        if now - rows.time[0] >= 10 * SECOND and now + int(1.4 * SECOND) <= rows.time[-1]:
            then = [p for t, p in zip(rows.time, micro, strict=True) if t <= now + SECOND][-1]
            if then != micro[i]:
                want[i] = (then / micro[i] - 1) * 1e4
    assert dict(zip(index.tolist(), forward, strict=True)) == pytest.approx(want)


@given(seed=st.integers(0, 1 << 30))
def test_a_cascade_is_a_move_of_more_than_one_and_a_half_sigmas_in_ten_seconds(seed: int) -> None:
    time, mid = walk(seed, 300)
    rows = rows_of(time, mid)
    index, both = train.cascade_labels(rows)
    bound = 1.5 * 1e-4 * np.sqrt(10)
    want = {}
    for i, now in enumerate(rows.time):
        if now - rows.time[0] >= 10 * SECOND and now + 10 * SECOND <= rows.time[-1]:
            ahead = mid[(rows.time >= now) & (rows.time <= now + 10 * SECOND) & (np.arange(len(mid)) >= i)]
            want[i] = [ahead.max() / mid[i] - 1 > bound, 1 - ahead.min() / mid[i] > bound]
    assert dict(zip(index.tolist(), both.tolist(), strict=True)) == want


def test_a_whale_is_a_cluster_larger_than_most_and_is_right_where_the_mid_goes_its_way() -> None:
    """Sixty trades of 1, a second apart; then four of one side within 100 ms, the third of which makes it large."""
    time = np.arange(0, 100, 0.05)
    small = [(s * SECOND, 1.0 if s % 2 else -1.0, s * 20.0) for s in range(60)]
    for side in (1, -1):
        burst = [((70 + k * 0.05) * SECOND, side * 0.5, 1400.0 + k) for k in range(4)]
        for way in (1, -1, 0):
            mid = 100 + np.where(time > 72, way * 1.5, 0.0)
            index, went, sides = train.whale_labels(rows_of(time, mid, spread=2.0, trades=small + burst))
            assert (index.tolist(), went.tolist(), sides.tolist()) == ([1402], [way == side], [side])
            wide = train.whale_labels(rows_of(time, mid, spread=4.0, trades=small + burst))
            assert (wide[0].tolist(), wide[1].tolist()) == ([1402], [False])  # half a spread is 2 here
            assert not len(train.whale_labels(rows_of(time, mid, trades=small + burst[:2]))[0])


def test_what_holds_for_bids_and_rises_holds_for_asks_and_falls(pieces: list[Path]) -> None:
    rows = train.collect(source(pieces[0]))
    task = train.task_of("cascade", rows)
    half = len(task.time) // 2
    assert np.array_equal(task.features[half:], task.features[:half] * train.MIRROR)
    shapes = {"w1": (16, 4), "b1": (4,), "own": (4,), "other": (4,), "b2": (1,)}
    rng = np.random.default_rng(1)
    pairs = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    x, mirrored = task.features[:half], task.features[half:]
    value = train.build("value", pairs, 0)
    assert train.score(value, x) == pytest.approx(-train.score(value, mirrored), abs=1e-4)
    cascade = train.build("cascade", pairs, 0)
    assert train.score(cascade, mirrored) == pytest.approx(train.network_batch(cascade, x)[:, 1], abs=1e-5)


# -- split and evaluation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", networks.OUTPUTS)
def test_no_fitted_row_looks_into_the_rows_that_say_when_to_stop(name: str) -> None:
    task = task_of(np.arange(0, 300, 0.1), np.zeros((3000, 16)), np.zeros(3000))
    fitted, kept = train.split(name, task)
    assert kept.mean() == pytest.approx(0.25, abs=0.01)
    assert task.time[fitted].max() + int(train.HORIZON_S[name] * SECOND) <= task.time[kept].min()
    assert not train.split(name, task_of([], np.zeros((0, 16)), []))[0].size


def test_the_regression_finds_a_planted_slope() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 50_000)
    labels = rng.random(len(x)) < 1 / (1 + np.exp(-(1.5 * x - 0.5)))
    assert train.logistic_fit(x, labels.astype(float)) == pytest.approx((1.5, -0.5), abs=0.05)
    assert train.log_loss(np.array([True, False]), np.array([0.8, 0.4])) == pytest.approx(-np.log([0.8, 0.6]).mean())


@pytest.mark.parametrize("name", networks.OUTPUTS)
def test_a_network_leads_only_by_what_the_imbalance_does_not_know(name: str) -> None:
    rng = np.random.default_rng(2)
    x = np.zeros((6000, 16), np.float32)
    x[:, [Feature.IMBALANCE_1, Feature.FLOW_1S]] = rng.uniform(-1, 1, (6000, 2))
    known, hidden = x[:, Feature.IMBALANCE_1], x[:, Feature.FLOW_1S]
    labels = rng.random(6000) < 1 / (1 + np.exp(-(known + 3.0 * hidden)))
    task = task_of(np.linspace(0, 600, 6000), x, labels)
    same = train.evaluate(name, train.regression_network(name, (1.0, 0.0)), task, (1.0, 0.0), 0.5)
    assert same["auc_gain"] == pytest.approx([0, 0, 0], abs=1e-3)
    assert same["rows"] == 6000
    pairs = {"w1": np.zeros((16, 4)), "b1": np.zeros(4), "b2": np.zeros(1)}
    pairs["w1"][[Feature.IMBALANCE_1, Feature.FLOW_1S], 0] = np.array([1.0, 3.0]) / train.SCALE[[2, 6]]
    pairs["own"], pairs["other"] = np.eye(4)[0], -np.eye(4)[0]
    better = train.evaluate(name, train.build(name, pairs, 0), task, (1.0, 0.0), 0.5)
    assert better["auc_gain"][1] > 0.1
    assert better["auc"][1] < better["auc"][0] < better["auc"][2]
    if name != "value":
        assert better["log_loss_less_regression"][2] < 0
        assert better["log_loss_less_prior"][2] < 0


def test_too_few_rows_are_said_to_be_too_few() -> None:
    x, answers = np.zeros((400, 16)), np.arange(400) % 2 == 0
    enough = task_of(np.arange(400), x, answers)
    assert train.shortage("value", [enough], enough) == ""
    for parts, held, lacks in (
        ([enough], task_of(np.arange(29), x[:29], answers[:29]), "29 rows held out, 15 of them yes: at least 30"),
        ([enough], task_of(np.arange(400), x, answers | True), "400 rows held out, 400 of them yes"),
        ([task_of(np.arange(80), x[:80], answers[:80])], enough, "20 rows to say when to stop, 10 of them yes"),
        ([task_of(np.arange(4), x[:4], answers[:4])], enough, "1 rows to fit, 1 of them yes"),
        ([task_of([], x[:0], answers[:0])], enough, "0 rows to fit, 0 of them yes"),
    ):
        assert train.shortage("value", parts, held).startswith(lacks)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_is_trained_on_cannot_be_held_out(pieces: list[Path]) -> None:
    first, second, whole = pieces
    every, held = train.gather([source(first)], source(first, second))
    assert every[0].time[-1] < held.time[0]
    for trained, other in ((first, source(first)), (whole, source(first, second)), (first, source(whole))):
        with pytest.raises(InputError, match=r"held out, but .* which is trained on, covers the same time"):
            train.gather([source(trained)], other)


def test_a_recording_that_is_missing_or_says_too_little_is_one_clear_line(pieces: list[Path], tmp_path: Path) -> None:
    first, second, _ = pieces
    here, nowhere = source(first), source(tmp_path / "no.gz")
    for trained, hold_out in ((here, nowhere), (nowhere, here)):
        with pytest.raises(InputError, match=r"no\.gz: No such file or directory"):
            train.gather([trained], hold_out)
    with pytest.raises(InputError, match=r"second\.gz: only 0 updates of a valid book"):
        train.gather([source(first)], source(second))  # without the file that has the snapshot


def test_the_command_without_pytorch(
    pieces: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    given, other = (f"binance:BTCUSDT:{piece}" for piece in pieces[:2])
    out = str(tmp_path / "w.json")
    assert main(["train", given, "--hold-out", other, "--out", out]) == 1
    assert capsys.readouterr().err == "cwts: cwts train needs PyTorch: pip install 'cwts[train]'\n"
    for source, hold_out, says in (  # said first: nobody installs PyTorch to hear of it
        (given, given, f"{pieces[0]}: held out, but it is trained on, too"),
        (given, "binance:BTCUSDT:/no.gz", "/no.gz: No such file or directory"),
        ("binance:BTCUSDT:/no.gz", given, "/no.gz: No such file or directory"),
    ):
        assert main(["train", source, "--hold-out", hold_out, "--out", out]) == 2
        assert capsys.readouterr().err == f"cwts: {says}\n"
    for nowhere, says in ((tmp_path, "not the folder"), (tmp_path / "no" / "w.json", "there is no such folder")):
        with pytest.raises(SystemExit, match="2"):
            main(["train", given, "--hold-out", other, "--out", str(nowhere)])
        assert says in capsys.readouterr().err
    for seeds in ("0", "-1", "many"):
        with pytest.raises(SystemExit, match="2"):
            main(["train", given, "--hold-out", given, "--out", str(tmp_path / "w.json"), "--seeds", seeds])
        assert "a whole number above 0 is expected" in capsys.readouterr().err


# -- the whole command ------------------------------------------------------------------------------------------------


def test_training_writes_weights_that_a_replay_uses(
    pieces: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    first, second, _ = pieces
    out, again = tmp_path / "weights.json", tmp_path / "again.json"
    given = ["train", f"binance:BTCUSDT:{first}", "--hold-out", f"binance:BTCUSDT:{first},{second}", "--seeds", "2"]
    assert main([*given, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "value: try 2 of 2, loss on the tails 0." in told.err
    assert "whale: left out: " in told.err  # half a minute has no fifty clusters
    assert "held out    binance BTCUSDT second.gz" in told.out

    weights = networks.load(out)
    assert list(weights.networks) == ["cascade", "value"]
    card = weights.card["networks"]
    assert card["whale"]["ships"].startswith("nothing: ")
    for name in weights.networks:
        found = card[name]
        line = next(line for line in told.out.splitlines() if line.startswith(name))
        judged = found.get("trained_network", found)
        assert all(format(number, ".3f") in line for key in train.MEASURES[:3] for number in judged[key])
        assert f"{found['prior']:.3f}" in line
        for point, low, high in (judged["auc"], judged["auc_gain"]):
            assert low <= point <= high
        # a network ships only where its whole interval lies above the regression
        assert ("trained_network" in found) == (judged["auc_gain"][1] <= 0) == found["ships"].startswith("logistic")

    assert main([*given, "--out", str(again), "--json"]) == 0  # the same seeds, the same file
    assert again.read_bytes() == out.read_bytes()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == weights.card

    setup = prepare(Recording(str(second)), "binance", "BTCUSDT", settings=Settings(networks=str(out)))
    assert int(setup.engine().view["networks"]["loaded"]) == 0b101
    hashes = []
    ask = ["replay", str(first), "--exchange", "binance", "--symbol", "BTCUSDT", "--json"]
    for which in (str(out), "shipped", "none"):
        assert main([*ask, "--networks", which]) == 0
        hashes.append(json.loads(capsys.readouterr().out)["block_sha256"])
    assert all(a != b for a, b in pairwise(hashes))
    ask = ["networks", str(first), "--exchange", "binance", "--symbol", "BTCUSDT", "--device", "simd", "--json"]
    assert main([*ask, "--weights", str(out)]) == 0
    largest = json.loads(capsys.readouterr().out)["largest"]
    assert largest["value (bp)"] > 0
    assert largest["cascade up"] > 0
    assert largest["whale up"] == 0


def test_a_network_learns_what_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up market whose next second follows the signed flow, not the imbalance: the network leads, and ships."""
    pytest.importorskip("torch")

    def market(seed: int, start: float) -> train.Rows:
        rng = np.random.default_rng(seed)
        time = start + np.arange(0, 300, 0.05)
        flow = np.repeat(rng.choice([-0.5, 0.5], 300), 20)  # this second's flow is the next second's direction
        step = np.roll(flow, 20) * (rng.random(len(flow)) < 0.9) * 0.2
        rows = rows_of(time, 60_000 + np.cumsum(step), trades=[])
        rows.features[:, Feature.FLOW_1S] = flow
        rows.features[:, Feature.IMBALANCE_1] = rng.uniform(-1, 1, len(flow))
        return rows

    monkeypatch.setattr(train, "gather", lambda *_, **__: ([market(1, 0), market(2, 1000)], market(3, 2000)))
    weights = train.train([], train.Source("binance", "BTCUSDT", ()), seeds=1)
    card = weights.card["networks"]["value"]
    assert card["ships"] == "network"
    assert card["auc_gain"][1] > 0.1
    assert card["auc"][0] > 0.75


@pytest.mark.parametrize("name", networks.OUTPUTS)
def test_training_starts_as_the_regression_and_ends_no_worse_on_the_tails(name: str) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x = np.zeros((4000, 16), np.float32)
    x[:, Feature.IMBALANCE_1] = rng.uniform(-1, 1, 4000)
    slope, intercept = 2.0, 0.0 if name == "value" else -0.7
    chance = 1 / (1 + np.exp(-(slope * x[:, Feature.IMBALANCE_1] + intercept)))
    task = task_of(np.linspace(0, 800, 4000), x, rng.random(4000) < chance)
    _, kept = train.split(name, task)
    _, start = train.fit(name, [task], 0, steps=0)
    assert start == pytest.approx(train.log_loss(task.labels[kept], chance[kept]), abs=0.005)
    assert train.fit(name, [task], 0, steps=60)[1] <= start
