"""The three networks against docs/networks.md: one at a time in the engine, batched, loaded and refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwts import networks
from cwts.errors import InputError
from cwts.kernel import Engine, network_batch
from cwts.kernel.layout import CommandOp, Event, Kind, Signal
from cwts.recording import Recording
from market import CAPTURES, START_NS, Market, frame, setup_of
from oracle.network import outputs

if TYPE_CHECKING:
    from pathlib import Path

NAMES = list(networks.OUTPUTS)
SIGNALS = {
    "cascade": [Signal.CASCADE_UP, Signal.CASCADE_DOWN],
    "whale": [Signal.WHALE_UP, Signal.WHALE_DOWN],
    "value": [Signal.VALUE],
}


def random_network(name: str, seed: int, size: float = 1.0) -> Any:
    rng = np.random.default_rng(seed)
    count = networks.OUTPUTS[name]
    return networks.network(
        name, mean=rng.normal(size=16), scale=np.exp(rng.normal(size=16)), w1=rng.normal(size=(16, 8)) * size / 4,
        b1=rng.normal(size=8), w2=rng.normal(size=(count, 8)) * size / 3, b2=rng.normal(size=count),
        limit=4.0, seed=seed,
    )  # fmt: skip


def load(engine: Engine, name: str, net: Any, now: int = 0) -> int:
    return engine.feed(frame(networks.load_command(name, net), now, kind=Kind.COMMAND))


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 1 << 30), rows=st.integers(0, 40), spread=st.sampled_from([0.1, 1.0, 1e3, 1e30]))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_batch_is_what_the_definition_says(engine_name: str, name: str, seed: int, rows: int, spread: float) -> None:
    net = random_network(name, seed)
    features = (np.random.default_rng(seed).normal(size=(rows, 16)) * spread).astype(np.float32)
    found = network_batch(net, features, engine_name)
    assert found.shape == (rows, networks.OUTPUTS[name])
    assert np.abs(found - outputs(net, features)).max(initial=0) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_the_bits_of_single_rows(engine_name: str, name: str) -> None:
    net = random_network(name, 3)
    features = np.random.default_rng(3).normal(size=(61, 16)).astype(np.float32)
    whole = network_batch(net, features, engine_name)
    single = np.concatenate([network_batch(net, features[i : i + 1], engine_name) for i in range(len(features))])
    assert whole.tobytes() == single.tobytes()


@pytest.mark.native
@pytest.mark.parametrize("name", NAMES)
def test_every_engine_and_instruction_set_gives_the_same_bits(name: str) -> None:
    from cwts import _kernel

    net = random_network(name, 5)
    features = (np.random.default_rng(5).normal(size=(70_001, 16)) * 3).astype(np.float32)
    fastest = network_batch(net, features)
    try:
        _kernel.isa("base")
        base = network_batch(net, features)
    finally:
        _kernel.isa("best")
    assert fastest.tobytes() == base.tobytes() == network_batch(net, features, "wasmtime").tobytes()


def test_input_that_is_no_number_stays_inside(engine_name: str) -> None:
    features = np.array([[np.nan] * 16, [np.inf] * 16, [-np.inf] * 16, [3e38] * 16], np.float32)
    for name in NAMES:
        assert np.isfinite(network_batch(random_network(name, 1), features, engine_name)).all()


def test_probabilities_are_within_a_millionth(engine_name: str) -> None:
    net = random_network("cascade", 1)
    net["w1"], net["w2"], net["b1"], net["mean"], net["b2"] = 0, 0, 0, 0, 0
    net["scale"], net["limit"], net["w1"][0], net["w1"][1], net["w2"][0], net["w2"][1] = 1, 64, 1, -1, 1, -1
    x = np.zeros((20_001, 16), np.float32)
    x[:, 0] = np.linspace(-40, 40, len(x))
    found = network_batch(net, x, engine_name)[:, 0]
    assert np.abs(found - outputs(net, x)[:, 0]).max() < 1e-6
    assert found.min() > 0
    assert found.max() < 1


@pytest.mark.parametrize("index", [0, 1], ids=["usdm", "spot"])
def test_signals_on_a_real_recording(engine_name: str, data: Path, index: int) -> None:
    """What the engine says after each batch is what its features say, until the book is lost."""
    file, exchange, symbol = CAPTURES[index]
    engine = Engine(setup_of(data / file, exchange, symbol).config, kernel=engine_name)
    nets = {name: random_network(name, 7) for name in NAMES}
    engine.feed(networks.load_frames(networks.Weights(nets)))
    signal = engine.view["signals"]["value"]
    seen = 0
    for batch in Recording(data / file).batches():
        engine.feed(batch)
        if not engine.view["sync"]["synced"]:
            assert not signal[Signal.CASCADE_UP :].any()
            continue
        features = engine.view["features"]["value"][None]
        for name, net in nets.items():
            found = signal[SIGNALS[name]]
            assert found.tobytes() == network_batch(net, features, engine_name)[0].tobytes()
            assert np.abs(found - outputs(net, features)[0]).max() < 1e-5
        seen += 1
        if seen == 20:
            break
    assert seen
    engine.feed(frame(CommandOp.RESET_BOOK.to_bytes(8, "little"), int(engine.view["header"]["now_ns"]), kind=2))
    assert not signal[Signal.CASCADE_UP :].any()


def test_a_network_that_is_not_loaded_says_nothing(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    signal = m.engine.view["signals"]["value"]
    m.feed(m.snapshot(1), m.depth(2, 2, bids=[("99.6", "3")]))
    assert not signal.any()
    load(m.engine, "whale", random_network("whale", 1), START_NS)
    m.feed(m.depth(3, 3, bids=[("99.7", "3")]))
    assert signal[SIGNALS["whale"]].all()
    assert not signal[SIGNALS["cascade"]].any()
    assert not signal[SIGNALS["value"]].any()
    load(m.engine, "whale", None, START_NS)
    m.feed(m.depth(4, 4, bids=[("99.8", "3")]))
    assert not signal.any()


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean", np.nan), ("w1", np.inf), ("scale", 0), ("scale", -1), ("b1", 1e7), ("limit", 0), ("limit", np.nan),
     ("outputs", 1), ("outputs", 3), ("link", 0), ("link", 9), ("version", 2), ("w2", -np.inf), ("b2", np.nan)],
)  # fmt: skip
def test_weights_that_cannot_be_run_are_refused(engine_name: str, field: str, value: float) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    net = random_network("cascade", 1)
    assert load(m.engine, "cascade", net) == 0
    before = m.engine.view["networks"].tobytes()
    bad = net.copy()
    bad[field] = value
    assert load(m.engine, "cascade", bad) == Event.MALFORMED
    assert m.engine.view["networks"].tobytes() == before
    assert m.malformed == 1
    if field not in ("outputs", "link") or value > 2:
        with pytest.raises(InputError):
            network_batch(bad, np.zeros((1, 16)), engine_name)


def test_a_cut_or_misplaced_command_is_refused(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    payload = networks.load_command("value", random_network("value", 1))
    for bad in (payload[:-4], payload[:8], payload[:4] + b"\x03" + payload[5:], payload[:4] + bytes(1) + payload[5:]):
        assert m.engine.feed(frame(bad, 0, kind=Kind.COMMAND)) == Event.MALFORMED


@given(seed=st.integers(0, 1 << 30))
def test_a_weights_file_keeps_every_bit(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.mktemp("weights") / "w.json"
    weights = networks.Weights({name: random_network(name, seed) for name in NAMES}, {"seed": seed})
    networks.save(path, weights)
    again = networks.load(path)
    assert again.card == {"seed": seed}
    assert networks.load_frames(again) == networks.load_frames(weights)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "cwts-networks-1", "networks": {"value": {}}}',
             '{"format": "cwts-networks-1", "networks": {"owl": 1}}'],
)  # fmt: skip
def test_a_file_that_is_no_weights_file_is_one_clear_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^weights: "):
        networks.parse(text)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("seed", "Infinity", "value.seed: expected a number of 32 bits"),
        ("seed", "NaN", "value.seed: expected a number of 32 bits"),
        ("seed", '"x"', "value.seed: expected a number of 32 bits"),
        ("b1", "[1" + "0" * 400 + ", 0, 0, 0, 0, 0, 0, 0]", "value.b1: "),
        ("limit", "1" + "0" * 400, "value.limit: expected numbers"),
        ("limit", "1e39", "value.limit: every number must be from"),
        ("limit", "[" * 100_000, "not JSON"),
        ("limit", "[" * 25 + "]" * 25, "value.limit: expected"),
        ("limit", "9" * 5000, "not JSON"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_number_that_no_float_holds_is_one_clear_line(field: str, value: str, says: str) -> None:
    good = json.loads(networks.SHIPPED.read_text())
    good["networks"] = {"value": good["networks"]["value"] | {field: "HERE"}}
    with pytest.raises(InputError) as caught:
        networks.parse(json.dumps(good).replace('"HERE"', value))
    assert str(caught.value).startswith("weights: ")
    assert says in str(caught.value)


def test_the_shipped_weights_load(engine_name: str) -> None:
    m = Market("binance", "BTCUSDT", engine_name)
    m.engine.feed(networks.load_frames(networks.load()))
    assert int(m.engine.view["networks"]["loaded"]) == 7
    m.feed(m.snapshot(1, bids=[("99.5", "9")], asks=[("100.5", "1")]), m.depth(2, 2, bids=[("99.4", "1")]))
    signal = m.engine.view["signals"]["value"]
    assert signal[Signal.VALUE] > 0  # more at the bid: up
    assert signal[Signal.CASCADE_UP] > signal[Signal.CASCADE_DOWN]


@pytest.mark.native
def test_the_card_is_what_the_evaluation_finds(data: Path) -> None:
    """On the first rows of the held-out recording, the shipped value network is as good as its regression."""
    from cwts import train

    files = tuple(str(data / f"binance-spot-btcusdt-2024080{day}.gz") for day in (8, 9))
    weights = networks.load()
    card = weights.card["networks"]["value"]
    task = train.task_of("value", train.collect(train.Source("binance", "BTCUSDT", files), limit=50_000))
    found = train.evaluate("value", weights.networks["value"], task, tuple(card["regression"]), card["prior"], rounds=0)
    assert found["rows"] == card["rows"]
    assert found["auc"][0] == pytest.approx(card["auc"][0], abs=2e-3)


def test_the_shipped_regressions_are_the_cards() -> None:
    from cwts import train

    weights = networks.load()
    for name in ("cascade", "whale"):  # value is scaled to basis points besides
        card = weights.card["networks"][name]
        assert card["ships"].startswith("logistic regression")
        made = train.regression_network(name, tuple(card["regression"]))
        assert made.tobytes() == weights.networks[name].tobytes()


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=30))
def test_auc_is_how_often_a_yes_is_above_a_no(pairs: list[tuple[bool, int]]) -> None:
    from cwts import train

    yes, no = [s for label, s in pairs if label], [s for label, s in pairs if not label]
    wins = [(a > b) + 0.5 * (a == b) for a in yes for b in no]
    labels, scores = np.array([p[0] for p in pairs]), np.array([float(p[1]) for p in pairs])
    assert train.auc(labels, scores) == pytest.approx(sum(wins) / len(wins) if wins else 0.5)
