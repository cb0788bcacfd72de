"""An instrument that the exchange does not have: a wrong input at the start; later given up, and the others go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cwts.exchanges import session
from cwts.exchanges.base import SECOND, Fail, Note, Policy
from exchanges import test_binance, test_okx
from exchanges.script import Script
from market import Market, compact

if TYPE_CHECKING:
    from cwts.exchanges.base import Session

POLICY = Policy(backoff_ns=0, resync_ns=0, rotate_ns=3600 * SECOND)


def okx(*symbols: str, replicas: int = 1) -> Script:
    policy = Policy(backoff_ns=0, resync_ns=0, rotate_ns=3600 * SECOND, replicas=replicas)
    return Script(session("okx", symbols, policy=policy), test_okx.message)


def binance(*symbols: str) -> Script:
    return Script(session("binance", symbols, policy=POLICY), test_binance.message)


class Told:
    """What a session told people, collected while a script plays."""

    def __init__(self, machine: Session) -> None:
        self.warnings: list[str] = []
        self.end: Fail | None = None
        take = machine.take

        def taken() -> list[object]:
            actions = take()
            for action in actions:
                if isinstance(action, Note) and action.level == "warning":
                    self.warnings.append(action.text)
                if isinstance(action, Fail):
                    self.end = action
            return actions  # type: ignore[return-value]

        machine.take = taken  # type: ignore[assignment, method-assign]


OKX_UP = """
    0 start              | open 1
    0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1
    0.2 ack 1 0 0        | drop
    0.2 ack 1 1 0        | drop
    0.2 ack 1 2 0        | drop
    0.2 ack 1 0 1        | drop
    0.2 ack 1 1 1        | drop
    0.2 ack 1 2 1        | drop
    0.3 snapshot 1 100 0 | feed 0
    0.3 kernel 0 synced  |
    0.3 snapshot 1 7 1   | feed 1
    0.3 kernel 1 synced  |
"""
EXPIRED = ("BTC-USDT", "BTC-USD-261225")


def test_okx_one_that_is_refused_after_a_reconnection_is_given_up_and_the_other_goes_on() -> None:
    script = okx(*EXPIRED)
    told = Told(script.session)
    script.session.held = lambda index: "0.25" if index == 1 else ""
    script.play(f"""{OKX_UP.replace("subscribe 1", "subscribe 1, send 1 subscribe liquidations")}
        5 closed 1           | reset 0, reset 1
        5.1 tick             | open 2
        5.2 opened 2         | send 2 subscribe 0, send 2 subscribe 1, send 2 subscribe liquidations
        5.3 error 2 60018 1  | drop, reset 1
        5.3 error 2 60018 1  | drop
        5.3 ack 2 0 0        | drop
        5.3 ack 2 1 0        | drop
        5.3 ack 2 2 0        | drop
        5.4 snapshot 2 200 0 | feed 0
        5.4 kernel 0 synced  |
        5.4 kernel 1 need    |
        15 snapshot 2 9 1    | drop
        16 tick              |
        20 closed 2          | reset 0
        20.1 tick            | open 3
        20.2 opened 3        | send 3 subscribe 0
    """)
    assert told.warnings[1] == (
        "BTC-USD-261225 is given up: the subscription was refused: no (code 60018); the account still holds 0.25 of "
        "BTC-USD-261225, which cannot be closed any more"
    )
    assert told.end is None
    books = script.session.health(20 * SECOND)["books"]
    assert isinstance(books, list)
    assert [book["given_up"] for book in books] == ["", "the subscription was refused: no (code 60018)"]
    assert not books[1]["synced"]


def test_okx_one_that_expires_without_a_word_is_found_out() -> None:
    """Nothing comes of it any more while the other one speaks: asked for its book, the exchange says so."""
    alive = "".join(f"{10 * i} update 1 {i + 99} {i + 100} 0 | feed 0\n" for i in range(1, 31))
    script = okx("BTC-USDT", "ETH-USDT")
    script.play(f"""{OKX_UP}
        {alive}
        300.4 tick           | reset 1, send 1 unsubscribe 1, send 1 subscribe 1
        300.5 error 1 60018 1 | drop, reset 1
        300.6 update 1 130 131 0 | feed 0
        320 update 1 131 132 0 | feed 0
        320 tick             |
    """)


def test_okx_one_that_is_merely_quiet_gets_its_book_anew() -> None:
    alive = "".join(f"{10 * i} update 1 {i + 99} {i + 100} 0 | feed 0\n" for i in range(1, 31))
    okx("BTC-USDT", "ETH-USDT").play(f"""{OKX_UP}
        {alive}
        300.4 tick           | reset 1, send 1 unsubscribe 1, send 1 subscribe 1
        300.5 snapshot 1 8 1 | feed 1
        300.5 kernel 1 synced |
        310 update 1 130 131 0 | feed 0
        310 tick             |
    """)


def test_okx_keep_alives_are_a_sign_that_a_quiet_book_lives() -> None:
    both = "".join(
        f"{20 * i} update 1 {i + 99} {i + 100} 0 | feed 0\n{20 * i} update 1 7 7 1 | feed 1\n" for i in range(1, 31)
    )
    okx("BTC-USDT", "ETH-USDT").play(f"{OKX_UP}{both}601 tick |")


def test_okx_before_any_book_a_refusal_is_a_wrong_input() -> None:
    script = okx(*EXPIRED)
    told = Told(script.session)
    script.play("""
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1, send 1 subscribe liquidations
        0.2 ack 1 0 0        | drop
        0.2 error 1 60018 1  | drop, fail bad input, close 1
    """)
    assert told.end is not None
    assert told.end.text == "okx: the subscription was refused: no (code 60018)"


def test_okx_one_of_several_may_be_refused_when_another_lives_already() -> None:
    okx("BTC-USDT", "ETH-USDT").play("""
        0 start              | open 1
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1
        0.2 ack 1 0 0        | drop
        0.2 ack 1 1 0        | drop
        0.2 ack 1 2 0        | drop
        0.3 snapshot 1 100 0 | feed 0
        0.3 kernel 0 synced  |
        0.4 error 1 60018 1  | drop, reset 1
        11 update 1 100 110 0 | feed 0
        11 tick              |
    """)


def test_okx_when_the_last_one_goes_the_run_ends_with_a_line() -> None:
    script = okx(*EXPIRED)
    told = Told(script.session)
    script.session.held = lambda index: ("1.5", "")[index]
    script.play(f"""{OKX_UP.replace("subscribe 1", "subscribe 1, send 1 subscribe liquidations")}
        5 closed 1           | reset 0, reset 1
        5.1 tick             | open 2
        5.2 opened 2         | send 2 subscribe 0, send 2 subscribe 1, send 2 subscribe liquidations
        5.3 error 2 51001 0  | drop, reset 0
        5.3 error 2 60018 1  | drop, reset 1, fail, close 2
    """)
    assert told.end is not None
    assert told.end.text == (
        "okx: no instrument is left: the subscription was refused: no (code 60018); the account still holds 1.5 of "
        "BTC-USDT, which cannot be closed any more"
    )


def test_okx_the_only_one_was_live_and_is_refused() -> None:
    """No wrong input any more, but there is nothing left to do."""
    script = okx("BTC-USDT")
    told = Told(script.session)
    script.play(f"""{test_okx.SYNCED}
        5 closed 1           | reset 0
        5.1 tick             | open 2
        5.2 opened 2         | send 2 subscribe 0
        5.3 error 2 60018 0  | drop, reset 0, fail, close 2
    """)
    assert told.end is not None
    assert told.end.text == "okx: no instrument is left: the subscription was refused: no (code 60018)"


@pytest.mark.parametrize(
    "message",
    [
        {"msg": "Wrong URL or channel:books,instId:BTC-USD-261225 doesn't exist. Please use the correct URL"},
        {"id": "1", "msg": "Wrong URL or {} doesn't exist."},
    ],
)
def test_okx_says_in_the_id_or_in_words_which_one_it_is(message: dict[str, str]) -> None:
    script = okx(*EXPIRED)
    script.play(OKX_UP.replace("subscribe 1", "subscribe 1, send 1 subscribe liquidations"))
    script.play(f"1 raw 1 {json.dumps({'event': 'error', 'code': '60018', **message})} | drop, reset 1")


def test_okx_a_refusal_of_something_else_does_not_end_a_run_that_lives() -> None:
    """60012: an operation that is not understood. The next connection says it again, and differently."""
    okx("BTC-USDT", "ETH-USDT").play(f"""{OKX_UP}
        1 error 1 60012      | drop, close 1, reset 0, reset 1
        1.1 tick             | open 2
    """)


def test_okx_liquidations_of_one_that_is_given_up_are_not_fed() -> None:
    symbols = ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
    both = test_okx.liquidation(5, *symbols)
    okx(*symbols).play(f"""{OKX_UP.replace("subscribe 1", "subscribe 1, send 1 subscribe liquidations")}
        1 error 1 60018 1    | drop, reset 1
        2 raw 1 {both}       | feed 0
    """)


def test_okx_a_successor_does_not_wait_for_what_is_given_up() -> None:
    okx("BTC-USDT", "ETH-USDT").play(f"""{OKX_UP}
        1 error 1 60018 1    | drop, reset 1
        2 notice 1           | drop, open 2
        2.1 opened 2         | send 2 subscribe 0
        2.2 ack 2 0 0        | drop
        2.2 ack 2 1 0        | drop
        2.2 ack 2 2 0        | drop
        2.3 snapshot 2 100 0 | drop
        2.4 tick             | close 1
    """)


def test_okx_both_connections_of_two_refuse_it_once() -> None:
    script = okx("BTC-USDT", "ETH-USDT", replicas=2)
    told = Told(script.session)
    script.play("""
        0 start              | open 1, open 2
        0.1 opened 1         | send 1 subscribe 0, send 1 subscribe 1
        0.1 opened 2         | send 2 subscribe 0, send 2 subscribe 1
        0.3 snapshot 1 100 0 | feed 0
        0.3 kernel 0 synced  |
        0.4 error 1 60018 1  | drop, reset 1
        0.4 error 2 60018 1  | drop
    """)
    assert len(told.warnings) == 1


# -- Binance: an unknown stream is acknowledged and silent, so the snapshot tells -------------------------------------

BINANCE_UP = """
    0 start              | open 1
    0.1 opened 1         | send 1 SUBSCRIBE 1
    0.2 ack 1 1          | drop
    0.3 depth 1 0        | feed 0
    0.3 kernel 0 need    | open 2
    0.3 depth 1 1        | feed 1
    0.3 kernel 1 need    |
    0.4 opened 2         | send 2 depth 2, send 2 depth 3
    0.5 snapshot 2 2     | feed 0
    0.5 kernel 0 synced  |
    0.5 snapshot 2 3     | feed 1
    0.5 kernel 1 synced  |
"""


def test_binance_one_that_is_unknown_after_a_reconnection_is_given_up_and_the_other_goes_on() -> None:
    script = binance("BTCUSDT", "LUNAUSDT")
    told = Told(script.session)
    script.session.held = lambda index: "12" if index == 1 else ""
    script.play(f"""{BINANCE_UP}
        5 closed 1           | reset 0, reset 1
        5.1 tick             | open 3
        5.2 opened 3         | send 3 SUBSCRIBE 4
        5.3 ack 3 4          | drop
        5.4 depth 3 0        | feed 0
        5.4 kernel 0 need    | send 2 depth 5
        5.5 snapshot 2 5     | feed 0
        5.5 kernel 0 synced  |
        10.4 tick            | send 2 depth 6
        10.5 error 2 6 -1121 | drop, reset 1
        10.6 tick            |
        10.7 depth 3 1       | drop
        10.7 depth 3 0       | feed 0
        20 closed 3          | reset 0
        20.1 tick            | open 4
        20.2 opened 4        | send 4 SUBSCRIBE 7
    """)
    assert told.warnings[1] == (
        "LUNAUSDT is given up: there is no symbol LUNAUSDT (no); the account still holds 12 of LUNAUSDT, which cannot "
        "be closed any more"
    )
    assert json.loads(script.sent[-1])["params"] == ["btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@bookTicker"]


def test_binance_one_that_is_delisted_without_a_word_is_found_out() -> None:
    alive = "".join(f"{10 * i} depth 1 0 | feed 0\n" for i in range(1, 31))
    pings = "".join(f"{20 * i} ping 2 |\n" for i in range(1, 4))
    binance("BTCUSDT", "LUNAUSDT").play(f"""{BINANCE_UP}
        {alive}
        {pings}
        300.4 tick           | close 2
        300.6 tick           | reset 1, open 3
        300.7 opened 3       | send 3 depth 4
        300.8 error 3 4 -1121 | drop, reset 1
        300.9 depth 1 0      | feed 0
        301 tick             |
    """)


def test_binance_before_any_book_an_unknown_symbol_is_a_wrong_input() -> None:
    binance("BTCUSDT", "NOPEUSDT").play("""
        0 start              | open 1
        0.1 opened 1         | send 1 SUBSCRIBE 1
        0.2 ack 1 1          | drop
        0.3 depth 1 1        | feed 1
        0.3 kernel 1 need    | open 2
        0.4 opened 2         | send 2 depth 2
        0.5 error 2 2 -1121  | drop, fail bad input, close 1, close 2
    """)


def test_binance_the_only_one_was_live_and_is_unknown() -> None:
    script = binance("BTCUSDT")
    told = Told(script.session)
    script.session.held = lambda _: "0.5"
    script.play(f"""{test_binance.SYNCED}
        9 depth 1            | feed 0
        9 kernel 0 gap need  | send 2 depth 3
        9.1 error 2 3 -1121  | drop, reset 0, fail, close 1, close 2
    """)
    assert told.end is not None
    assert told.end.text == (
        "binance: no instrument is left: there is no symbol BTCUSDT (no); the account still holds 0.5 of BTCUSDT, "
        "which cannot be closed any more"
    )


def test_binance_a_refused_subscription_does_not_end_a_run_that_lived() -> None:
    binance("BTCUSDT").play(f"""{test_binance.SYNCED}
        5 closed 1           | reset 0
        5.1 tick             | open 3
        5.2 opened 3         | send 3 SUBSCRIBE 3
        5.3 refuse 3 3       | drop, close 3
        5.4 tick             | open 4
    """)


def test_in_a_page_the_line_says_what_the_account_holds() -> None:
    """The page's only instrument: its session ends."""
    from cwts.exchanges.base import OPEN
    from exchanges.test_browser import synced, with_snapshot

    page = with_snapshot(synced())
    page.engine.view["account"]["position_e8"] = 1_250_000
    market: Market = page.market
    page.message(1, b'{"stream":"btcusdt@depth@100ms","data":%b}' % compact(market.depth(9, 9))).drain()
    (sent,) = [json.loads(action["text"]) for action in page.actions if action["kind"] == "send"]
    (api,) = [link.number for link in page.live.session._links.values() if link.state == OPEN and link.number != 1]
    refused = {"id": sent["id"], "status": 400, "error": {"code": -1121, "msg": "Invalid symbol."}}
    page.message(api, refused).drain()
    (fail,) = [action for action in page.actions if action["kind"] == "fail"]
    assert fail["text"] == (
        "binance: no instrument is left: there is no symbol BTCUSDT (Invalid symbol.); the account still holds 0.0125 "
        "of BTCUSDT, which cannot be closed any more"
    )
    assert not page.live._synced[0]
    assert page.health()["books"][0]["given_up"] == "there is no symbol BTCUSDT (Invalid symbol.)"
