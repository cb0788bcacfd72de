"""Settings by name: one list, files that read back the same, what a running engine takes, what permits more risk."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwts import browser, networks
from cwts.config import FIELDS, Settings, build_config
from cwts.errors import InputError
from cwts.instruments import guess_instrument
from cwts.kernel import Engine, layout
from cwts.parameters import PARAMETERS
from cwts.recording import Recording
from cwts.replay import prepare, replay
from cwts.settings import (
    change_payloads,
    differing,
    listed,
    loosened,
    parse_settings,
    read_settings,
    settings_of,
    value_of,
    with_setting,
    write_settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTRUMENT = guess_instrument("binance", "BTCUSDT", 2, 5)
ROWS = {row["name"]: row for row in listed()}
USDM = ("binance-usdm-btcusdt-20240808.gz", "binance-usdm", "BTCUSDT")


def values_of(row: dict[str, Any]) -> st.SearchStrategy[float]:
    return st.floats(row["low"], row["high"], exclude_min=row["above"]).filter(
        lambda value: value == 0 or abs(value) > 1e-6
    )


CHOICES = st.lists(st.sampled_from(sorted(ROWS)), max_size=8, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: values_of(ROWS[name]) for name in names})
)


# -- the list --------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_row_with_a_range_around_its_default_and_a_meaning() -> None:
    assert list(ROWS) == [*FIELDS, *PARAMETERS, *(f"weights.{feature.name}" for feature in layout.Feature)]
    for row in ROWS.values():
        assert row["what"]
        assert row["looser"] in ("", "higher", "lower")
        if row["default"] is not None:
            assert row["low"] <= row["default"] <= row["high"]


def test_no_setting_names_a_range_that_is_not_checked() -> None:
    for name, row in ROWS.items():
        for bad in (math.nextafter(row["low"], -math.inf), row["high"] * 2, math.nan, *([row["low"]] * row["above"])):
            with pytest.raises(InputError):
                with_setting(Settings(), name, bad)
        assert float(value_of(with_setting(Settings(), name, row["high"]), name) or 0) == row["high"]


def test_a_value_that_is_no_number_says_which_one_is_expected() -> None:
    with pytest.raises(InputError, match=r"^whale.quantile: a number from 0.5 to 0.9999 is expected, not '0,97'$"):
        settings_of({"whale.quantile": "0,97"})
    with pytest.raises(InputError, match=r"^enter must be above 0 to 1, not 2$"):
        settings_of({"enter": "2"})
    with pytest.raises(InputError, match="above 0 in single precision"):
        settings_of({"enter": 1e-60})


@pytest.mark.native  # in Pyodide so deep a nesting exhausts the page's stack before Python's limit
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("enter = " + "9" * 5000, "not TOML"),
        ("enter = " + "[" * 100_000, "not TOML"),
        ("enter = 0x" + "f" * 5000, "enter: a number above 0 to 1 is expected, not one so large"),
        ("capital = 0x" + "f" * 5000, "capital: a number above 0 "),
        ("enter = " + "9" * 1000, "enter: a number above 0 to 1 is expected, not 9"),
    ],
    ids=["digits", "depth", "hexadecimal", "capital", "beyond float"],
)
def test_a_file_that_no_computer_would_read_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(str(file), [])
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


# -- files and names -------------------------------------------------------------------------------------------------


@given(CHOICES)
def test_what_differs_and_the_file_of_it_make_the_same_engine(named: dict[str, float]) -> None:
    settings = Settings()
    for name, value in named.items():
        settings = with_setting(settings, name, value)
    config = build_config(INSTRUMENT, settings, Decimal(60_000))
    assert build_config(INSTRUMENT, settings_of(dict(differing(settings))), Decimal(60_000)) == config
    text = write_settings(settings)
    assert build_config(INSTRUMENT, settings_of(parse_settings(text, "f")), Decimal(60_000)) == config
    for name in named:
        settings = with_setting(settings, name, None)
    assert (differing(settings), build_config(INSTRUMENT, settings)) == ({}, build_config(INSTRUMENT, Settings()))


def test_by_default_nothing_differs_and_the_file_is_a_comment(tmp_path: Path) -> None:
    assert differing(Settings()) == {}
    path = tmp_path / "settings.toml"
    path.write_text(write_settings(Settings()))
    assert read_settings(str(path), []) == Settings()


def test_one_weight_that_is_changed_leaves_the_others() -> None:
    """In a file, weights that are given replace all: so all are in it."""
    settings = with_setting(Settings(), "weights.MICRO", 1)
    assert settings.weights == {"MICRO": 1.0, "IMBALANCE_5": 0.4, "FLOW_1S": 0.4}
    assert differing(settings) == {"weights.MICRO": 1.0, "weights.IMBALANCE_5": 0.4, "weights.FLOW_1S": 0.4}
    none = settings_of({f"weights.{name}": 0 for name in settings.weights})
    assert settings_of(dict(differing(none))).weights == {"MICRO": 0.0}


# -- risk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "looser", "stricter"),
    [("enter", 0.5, 0.7), ("max_loss_share", 0.3, 0.1), ("decision.swan_exit", 0, None), ("swan.hold_s", 10, 60),
     ("decision.criticality_max", 1.0, 0.8), ("cooldown_s", 0, 10), ("whale.quantile", None, 0.9)],
)  # fmt: skip
def test_a_limit_of_risk_that_permits_more_than_by_default_is_named(
    name: str, looser: float | None, stricter: float | None
) -> None:
    if looser is not None:
        assert loosened(with_setting(Settings(), name, looser)) == [name]
    if stricter is not None:
        assert loosened(with_setting(Settings(), name, stricter)) == []


# -- an engine that runs ---------------------------------------------------------------------------------------------


def test_commands_bring_an_engine_that_runs_to_what_it_would_have_begun_with(engine_name: str) -> None:
    settings = settings_of({name: row["high"] for name, row in ROWS.items() if row["now"]})
    engine = Engine(build_config(INSTRUMENT, Settings()), kernel=engine_name)
    events = engine.feed(networks.command_frames(change_payloads(Settings(), settings)))
    assert not events & layout.Event.MALFORMED
    assert engine.view["config"].tobytes() == build_config(INSTRUMENT, settings)
    engine.feed(networks.command_frames(change_payloads(settings, Settings())))
    assert engine.view["config"].tobytes() == build_config(INSTRUMENT, Settings())
    assert change_payloads(Settings(), Settings(capital=Decimal(5), order_share=0.1)) == ()


def test_networks_replace_all_of_those_that_run(engine_name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    networks.save(path, networks.Weights({"value": networks.load().networks["value"]}))
    engine = Engine(build_config(INSTRUMENT, Settings()), kernel=engine_name)
    for which, loaded in (("shipped", 7), (str(path), 4), ("none", 0), ("shipped", 7)):
        engine.feed(networks.command_frames(networks.replace_payloads(which)))
        assert engine.view["networks"]["loaded"] == loaded


@pytest.mark.parametrize(
    "card",
    [{}, {"networks": []}, {"networks": {"value": 3}}, {"networks": {"value": {"auc": ["x"] * 3, "rows": "many"}}},
     {"trained_on": 3, "held_out": [1]}],
)  # fmt: skip
def test_a_card_that_says_nothing_is_no_error(card: dict[str, Any]) -> None:
    lines = networks.card_words(networks.Weights({"value": networks.load().networks["value"]}, card))
    assert lines[-1] == "value: the card does not say how good it is"


def test_the_shipped_card_says_where_from_and_how_good() -> None:
    lines = networks.card_words(networks.load())
    assert lines[0].startswith("trained on binance-usdm BTCUSDT")
    assert lines[1].startswith("held out: binance BTCUSDT")
    assert lines[2].startswith("cascade: AUC 0.662 (0.608 to 0.720) on 88,916 held-out rows; logistic regression")


# -- the page's side -------------------------------------------------------------------------------------------------


def opened() -> None:
    assert "error" not in json.loads(browser.open_recording("r", *USDM[1:], lambda _: None, ""))


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> Iterator[Any]:
    """`cwts.browser.choose`, with the default settings before and after."""
    monkeypatch.setattr(browser, "FILE", data / USDM[0])
    monkeypatch.setattr(browser, "OWN_NETWORKS", tmp_path / "own.json")
    for name, value in {
        "_settings": Settings(), "_begun": Settings(), "_engine": None, "_setup": None, "_own_name": "", "_card": None
    }.items():  # fmt: skip
        monkeypatch.setattr(browser, name, value)

    def asked(**wish: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(browser.choose(json.dumps(wish)))
        return found

    return asked


def test_a_change_reaches_the_engine_that_runs_and_the_next_ones(choose: Any) -> None:
    assert choose(set={"whale.quantile": "0.97"})["enter"] is None  # no engine runs
    opened()
    engine = browser._engine
    assert engine is not None
    at = list(PARAMETERS).index("whale.quantile")
    assert engine.view["config"]["parameter"][at] == np.float32(0.97)
    frames = int(engine.view["header"]["frames"])
    told = choose(set={"whale.quantile": None, "enter": 0.5, "order_share": 0.1})
    assert engine.view["config"]["parameter"][at] == np.float32(0.99)
    assert int(engine.view["header"]["frames"]) == frames + 2
    assert told["changed"] == {"enter": 0.5, "order_share": 0.1}
    assert (told["enter"], told["loosened"], told["pending"]) == (0.5, ["enter"], ["order_share"])
    opened()
    assert choose()["pending"] == []


def test_a_session_with_settings_is_the_native_one(choose: Any, data: Path) -> None:
    named = {"enter": 0.5, "whale.quantile": 0.97, "order_share": 0.1, "weights.MICRO": 1.0}
    choose(set=named)
    opened()
    recording = Recording(data / USDM[0])
    settings = settings_of(named | {"weights.IMBALANCE_5": 0.4, "weights.FLOW_1S": 0.4})
    setup = prepare(recording, *USDM[1:], settings=settings)
    assert browser.block_sha256() == setup.engine_for(recording)[0].block_sha256()
    for batch in recording.batches():
        assert browser._engine
        browser._engine.feed(batch)
    assert browser.block_sha256() == replay(recording, setup)["block_sha256"]


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"set": {"whale.quantile": 2}}, "whale.quantile must be from 0.5 to 0.9999, not 2"),
        ({"set": {"enter": 0.5, "exit": ""}}, "exit: a number from 0 to 1 is expected, not ''"),
        ({"set": {"moon": None}}, "no setting 'moon'"),
        ({"file": "enter = ", "name": "s.toml"}, "s.toml: not TOML"),
        ({"file": "enter = 0.5\n[swan]\non = 9", "name": "s.toml"}, "s.toml: swan.on must be from 0.001 to 1, not 9"),
        ({"networks": "own", "name": "w.json", "text": "{}"}, "w.json: expected a weights file of the format"),
        ({"networks": "best"}, "no networks 'best'"),
        ({"networks": "none", "set": {"whale.quantile": 2}}, "whale.quantile must be from 0.5 to 0.9999, not 2"),
        ({"networks": "best", "set": {"enter": 0.5}}, "no networks 'best'"),
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(choose: Any, wish: dict[str, Any], error: str) -> None:
    before = choose(set={"swan.on": 0.4})
    opened()
    assert browser._engine
    block = browser.block_sha256()
    told = choose(**wish)
    assert told["error"].startswith(error)
    assert len(told["error"].splitlines()) == 1
    assert browser.block_sha256() == block
    assert choose()["changed"] == before["changed"] == {"swan.on": 0.4}
    assert choose()["networks"] == "shipped"


def test_what_was_kept_comes_back_and_what_is_no_longer_right_is_left_out(choose: Any) -> None:
    text = networks.SHIPPED.read_text()
    kept = {"values": {"enter": 0.5, "swan.on": 7, "moon": 1}, "networks": "own", "name": "w.json", "text": text}
    told = choose(kept=kept)
    assert told["changed"] == {"enter": 0.5}
    assert (told["networks"], told["networksName"]) == ("own", "w.json")
    assert [note.partition(":")[0] for note in told["notes"]] == ["a kept setting is left out"] * 2
    assert choose(reset=True, networks="shipped")["changed"] == {}
    assert choose(kept={"networks": "own", "text": "{"})["notes"][0].startswith("the kept networks are left out")
    for odd in (3, [], {"values": 3}, {"values": {"enter": {}}}, {"networks": {}}):
        told = choose(kept=odd)
        assert (told["changed"], told["networks"]) == ({}, "shipped")


def test_networks_of_ones_own_run_at_once_and_over_the_whole_recording(choose: Any) -> None:
    opened()
    engine = browser._engine
    assert engine is not None
    own = networks.load()
    own.networks["value"]["b2"][0] = 0.25
    path = browser.OWN_NETWORKS.with_name("w.json")
    networks.save(path, replace(own, card={"held_out": "nothing"}))
    told = choose(networks="own", name="w.json", text=path.read_text())
    assert told["card"][0] == "held out: nothing"
    assert engine.view["networks"]["network"][2]["b2"][0] == np.float32(0.25)
    reading = browser.History(1000)
    for _ in reading.read():
        pass
    assert reading._weights == engine.view["networks"]["network"].tobytes()
    assert choose(networks="none")["card"] == []
    assert engine.view["networks"]["loaded"] == 0
