"""`cwts simulate`: what cannot be served is said in one line."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from cwts.cli import main

from .client import CAPTURES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.native


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
        (["CAPTURE", "--tls", "--ca-file", "NOWHERE/x"], "No such file"),
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
