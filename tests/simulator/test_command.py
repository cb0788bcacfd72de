"""`cwts simulate`: what cannot be served is said in one line."""

from __future__ import annotations

import gzip
import json
import socket
from typing import TYPE_CHECKING

import pytest

from cwts.cli import main
from cwts.errors import CwtsError
from cwts.simulator import Simulator

from .client import CAPTURES, Client, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native


def torn() -> bytes:
    """A recording of 40 s that breaks off: behind what is read ahead of the replay."""
    trade = {"instId": "BTC-USDT", "px": "5", "sz": "1", "side": "buy", "ts": "1"}
    books = {"channel": "books", "instId": "BTC-USDT"}, {"bids": [["4", "1"]], "asks": [["6", "1"]], "ts": "1"}
    messages = [{"arg": books[0], "action": "snapshot", "data": [books[1]]}]
    arg = {"channel": "trades", "instId": "BTC-USDT"}
    messages += [{"arg": arg, "data": [trade | {"tradeId": str(number)}]} for number in range(40)]
    lines = [b"%d %s\n" % (10**18 + i * 10**9, json.dumps(message).encode()) for i, message in enumerate(messages)]
    return gzip.compress(b"".join(lines))[:-8]


def test_a_replay_that_dies_ends_the_command_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to stop it to hear of it."""
    path = tmp_path / "torn.gz"
    path.write_bytes(torn())
    assert main(["simulate", str(path), "--port", "0", "--rate", "1000"]) == 2
    shown = capsys.readouterr()
    assert "okx: BTC-USDT" in shown.out
    assert shown.err == f"cwts: the replay stopped at message 40: {path}: the gzip file is truncated\n"


@pytest.mark.parametrize("what", ["the replay", "what happens every second", "the restart"])
def test_whatever_dies_is_shown_and_raised(what: str) -> None:
    """By the control port while clients are still there, to who waits for the end, and at the end."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    async def check() -> None:
        async with Simulator([torn()], start="command", speed=0) as sim, Client(sim) as client:
            if what == "the replay":
                sim.play()
            elif what == "the restart":
                sim._listen = broken  # type: ignore[method-assign, assignment]
                sim.fault("restart")
            else:
                sim.exchange("okx").every_second = broken  # type: ignore[method-assign]
            await sim.finished.wait()
            assert sim.failed.is_set()
            if what != "the restart":
                async with client.session.get(sim.control_url + "/state") as response:
                    state = await response.json()
                assert state["error"].startswith(what)
                assert not state["finished"]

    with pytest.raises(CwtsError, match=f"^{what} stopped at message [0-9]+: .*(truncated|ZeroDivision)"):
        run(check())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["NOWHERE"], "No such file"),
        (["TEXT"], "neither"),
        (["CAPTURE", "--host", "no-such.invalid"], "cannot listen on no-such.invalid"),
        (["CAPTURE", "--port", "TAKEN"], "cannot listen on 127.0.0.1"),
        (["CAPTURE", "--port", "99999"], "a port from 0 to 65535"),
        (["CAPTURE", "--speed", "-1"], "a number above 0"),
        (["CAPTURE", "--rate", "0"], "a number above 0"),
        (["CAPTURE", "--faults", "NOWHERE"], "No such file"),
        (["CAPTURE", "--faults", "TEXT"], "not JSON"),
        (["CAPTURE", "--instruments", "TEXT"], "not JSON"),
        (["CAPTURE", "--balance", "USDT=x"], "ASSET=AMOUNT"),
        (["CAPTURE", "--tls", "--ca-file", "NOWHERE/x"], "no such folder"),
        (["CAPTURE", "--public-key", "NOWHERE"], "No such file"),
        (["CAPTURE", "--public-key", "TEXT"], "Ed25519"),
        ([], "required"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("no recording and no JSON\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = {
            "CAPTURE": str(CAPTURES["okx"]),
            "TEXT": str(tmp_path / "text"),
            "NOWHERE": str(tmp_path / "nowhere"),
            "NOWHERE/x": str(tmp_path / "nowhere" / "x"),
            "TAKEN": str(taken.getsockname()[1]),
        }
        given = ["simulate", *(words.get(argument, argument) for argument in arguments)]
        if "--port" not in given:
            given += ["--port", "0"]
        try:
            code = main(given)
        except SystemExit as error:  # argparse
            code = int(error.code or 0)
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert text in shown.err
    assert shown.err.count("\n") == 1
