"""`cwts backtest` (docs/backtest.md): the account's own numbers, next to baselines that pay the same."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import re
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts.backtest.account import Run, Trade, open_captures, price_of, run
from cwts.backtest.metrics import (
    _layout,
    buy_and_hold,
    drawdown,
    judge,
    profit,
    random_entries,
    slippage_share,
    terms,
    verdict,
)
from cwts.backtest.report import human, page
from cwts.cli import main
from cwts.config import Settings
from cwts.errors import InputError
from cwts.instruments import load_instrument
from cwts.kernel import layout
from cwts.networks import command_frames
from cwts.recorder import Description, Recorder
from cwts.recording import Recording
from cwts.replay import RECORDED, prepare, replay
from cwts.settings import read_settings
from market import CAPTURES, SECOND, START_NS, Market, compact, frame, head, lines_of
from twins import EAGER

if TYPE_CHECKING:
    from pathlib import Path

E8 = 10**8


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["usdm", "spot", "coinm"])
def real(request: pytest.FixtureRequest, data: Path, engine_name: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A part of a real recording, traded eagerly."""
    file, exchange, symbol = CAPTURES[request.param]
    path = tmp_path_factory.mktemp("part") / "part.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d %s\n" % line for line in head(data / file, 15_000)), 1))
    return run(*open_captures([str(path)], exchange, symbol, None, EAGER), kernel=engine_name)


def test_the_accounts_identity(real: Run) -> None:
    """Equity's change is the trades' results before fees, less all fees, and what is still open before fees."""
    gross, fees = (sum(getattr(t, name) for t in real.trades) for name in ("gross_e8", "fee_e8"))
    assert real.end_e8 - real.capital_e8 == gross - real.fees_e8 + real.open_e8
    assert len(real.trades) > 5
    one = real.setup.instrument
    if not real.open_since_ns:
        assert real.fees_e8 == fees
        if one.contract != "spot":
            assert real.open_e8 == 0
    else:  # the position at the touch less what was paid for it: an order's fee is in the fees and nowhere else
        legs = [o for o in real.orders if o.filled and o.done_ns >= real.open_since_ns]
        assert real.fees_e8 == fees + sum(o.fee_e8 for o in legs)
        qty = sum(o.filled for o in legs) / 10**one.qty_decimals
        buy = legs[0].buy
        entry = price_of(one, sum(o.filled for o in legs), sum(o.notional_e8 for o in legs))
        leave = float(real.bid[-1] if buy else real.ask[-1])
        want = profit(one.contract, float(one.contract_size), 0.0, 0.0, buy, qty, entry, leave)
        if one.contract != "spot":
            assert real.open_e8 / E8 == pytest.approx(want, abs=5e-8)


def test_every_order_is_seen(real: Run) -> None:
    assert [order.id for order in real.orders] == list(range(1, len(real.orders) + 1))
    filled = [order for order in real.orders if order.filled]
    assert sum(order.notional_e8 for order in filled) == real.turnover_e8
    assert sum(order.fee_e8 for order in filled) == real.fees_e8


def test_slippage_and_results_from_the_orders_alone(real: Run) -> None:
    """The same sums, from each order's average price, its touch and its quantity."""
    one = real.setup.instrument
    filled = [order for order in real.orders if order.filled]
    beyond = 0.0
    for o in filled:
        amount = o.filled / 10**one.qty_decimals * float(one.contract_size)
        if one.contract == "inverse":
            beyond += amount * (1 / o.touch - 1 / o.price) * (1 if o.buy else -1)
        else:
            beyond += amount * (o.price - o.touch) * (1 if o.buy else -1)
    assert beyond == pytest.approx(real.slippage_e8 / E8, abs=1e-7 * len(filled) + 1e-6 * abs(beyond))
    for trade in real.trades:
        assert trade.closed_ns >= trade.opened_ns
        contract, size, fee, _ = terms(real)
        qty = trade.qty / 10**one.qty_decimals
        want = profit(contract, size, fee, 0.0, trade.buy, qty, trade.entry, trade.exit)
        scale = trade.notional_e8 / E8
        lot = float(one.lot_size) * trade.entry if contract == "spot" else 0.0  # what is below a lot is not sold
        assert trade.net_e8 / E8 == pytest.approx(want, abs=5e-8 + 1e-6 * scale + 1e-2 * lot)  # roundings go against us


def test_drawdown_and_exposure(real: Run) -> None:
    falls, peak = [], 0
    for equity in real.equity_e8.tolist():
        peak = max(peak, equity)
        falls.append(peak - equity)
    assert drawdown(real.equity_e8).tolist() == falls
    assert max(falls) <= real.drawdown_e8
    result = judge(real, draws=5)
    held = sum(t.closed_ns - t.opened_ns for t in real.trades)
    held += real.last_ns - real.open_since_ns if real.open_since_ns else 0
    assert result["exposure"] == pytest.approx(held / (real.last_ns - real.first_ns))
    assert 0 < result["exposure"] <= 1


def tape(tmp_path: Path, engine_name: str) -> Run:
    """Bought at 100.2 (the touch was 100.1), sold at 101.0 (it was 101.0): 2.497 of it, fee 0.05 % each way."""
    m = Market("binance-usdm", "BTCUSDT")
    steps: list[dict[str, Any]] = [
        m.snapshot(10, [("100.0", "1.000"), ("99.9", "9.001")], [("100.1", "1.000"), ("100.2", "50.000")]),
        m.depth(11, 11, 10, [("100.0", "90.000")], []),  # decides to buy
        m.depth(12, 12, 11, [("100.0", "90.000")], [("100.1", "0.000")]),  # the order arrives: the ask has moved
        m.depth(13, 13, 12, [("101.0", "5.000")], [("100.2", "0.000"), ("101.1", "99.000")]),  # decides to exit
        m.depth(14, 14, 13, [("101.0", "5.000")], [("101.1", "99.000")]),
        m.depth(15, 15, 14, [("101.0", "50.000")], [("101.1", "50.000")]),
    ]
    path = tmp_path / "tape.gz"
    lines = [b"%d %s\n" % (START_NS + i * SECOND, compact(step)) for i, step in enumerate(steps)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    settings = Settings(
        weights={"IMBALANCE_1": 1.0}, enter=0.9, exit=0.9, warmup_s=0, cooldown_s=100, order_latency_s=0.5,
        max_spread_bp=100, max_slippage_bp=100,
    )  # fmt: skip
    return run(*open_captures([str(path)], "binance-usdm", "BTCUSDT", None, settings), kernel=engine_name)


def test_a_tape_worked_out_by_hand(engine_name: str, tmp_path: Path) -> None:
    done = tape(tmp_path, engine_name)
    (trade,) = done.trades
    assert (trade.qty, trade.entry, trade.exit, trade.buy) == (2497, pytest.approx(100.2), pytest.approx(101.0), True)
    assert (trade.opened_ns, trade.closed_ns) == (START_NS + 2 * SECOND, START_NS + 4 * SECOND)
    fees = round(2.497 * (100.2 + 101.0) * 0.0005 * E8)
    assert trade.fee_e8 == pytest.approx(fees, abs=2)
    assert trade.gross_e8 == round(2.497 * 0.8 * E8)
    assert done.slippage_e8 == round(2.497 * 0.1 * E8)
    result = judge(done)
    assert result["pnl_after_fees"] == pytest.approx(2.497 * 0.8 - fees / E8)
    assert result["pnl_before_fees"] == pytest.approx(2.497 * 0.8)
    assert (result["hit_rate"], result["mean_hold_s"], result["exposure"]) == (1.0, 2.0, pytest.approx(2 / 5))
    assert done.bid.tolist() == [100.0, 100.0, 100.0, 101.0, 101.0, 101.0]
    assert done.equity_e8[2] == 1000 * E8 - round(2.497 * 0.2 * E8) - round(2.497 * 100.2 * 0.0005 * E8 + 0.5)


def test_profit_of_one_trade() -> None:
    assert profit("linear", 1, 0.001, 0, True, 2, 100, 110) == pytest.approx(20 - 0.42)
    assert profit("linear", 1, 0.0, 0.01, False, 1, 100, 90) == pytest.approx(99 - 90.9)
    assert profit("inverse", 100, 0.0, 0, True, 1, 100, 200) == pytest.approx(0.5)
    assert profit("inverse", 100, 0.01, 0, False, 1, 100, 50) == pytest.approx(1 - 0.03)
    assert profit("spot", 1, 0.001, 0, True, 1, 100, 100) == pytest.approx(100 * 0.999**2 - 100)


def test_baselines_against_a_plain_twin(real: Run) -> None:
    """Buy-and-hold from its definition; random entries from paths that are drawn by other means: the same mean."""
    contract, size, fee, _ = terms(real)
    slip = slippage_share(real)
    rows = zip(real.second.tolist(), real.bid.tolist(), real.ask.tolist(), strict=True)
    known = {second: (bid, ask) for second, bid, ask in rows if bid and ask}
    prices = list(known.values())
    one = real.setup.instrument
    capital, entry, leave = real.capital_e8 / E8, prices[0][1], prices[-1][0]
    money = capital * 0.5  # EAGER's order_share
    qty = money * entry / size if contract == "inverse" else money / entry / size
    qty = qty // float(one.lot_size) * float(one.lot_size)
    assert buy_and_hold(real) == pytest.approx(profit(contract, size, fee, slip, True, qty, entry, leave))
    drawn = random_entries(real, 400, seed=7)
    assert (drawn == random_entries(real, 400, seed=7)).all()
    assert (drawn[:50] == random_entries(real, 50, seed=7)).all()
    rng = np.random.default_rng(99)
    results = []
    for _ in range(300):
        total = 0.0
        for t in real.trades:
            hold = max(1, round((t.closed_ns - t.opened_ns) / SECOND))
            at = int(rng.integers(min(known), max(known) - hold + 1))
            (b0, a0), (b1, a1) = (
                next(known[s] for s in range(at + after, max(known) + 1) if s in known) for after in (0, hold)
            )
            entry, leave = (a0, b1) if t.buy else (b0, a1)
            total += profit(contract, size, fee, slip, t.buy, t.qty / 10**one.qty_decimals, entry, leave)
        results.append(total)
    spread = float(np.std(results)) + float(np.std(drawn))
    assert float(np.mean(drawn)) == pytest.approx(float(np.mean(results)), abs=spread * 0.5)


def test_random_entries_do_not_overlap(engine_name: str, tmp_path: Path) -> None:
    """A price that only rises by one a second: what any layout without overlap earns is known."""
    done = tape(tmp_path, engine_name)
    done.bid = done.ask = np.arange(100.0, 200.0)
    done.second, done.spans = np.arange(100), ((0, 99 * SECOND),)
    done.trades = [Trade(True, 0, n * SECOND, 0, 0, 1000, 0, 0, 0) for n in (3, 40, 56)]  # all of the time
    done.slippage_e8 = done.turnover_e8 = 0
    fee = terms(done)[2]
    drawn = random_entries(done, 20)
    gross = 99.0
    assert (drawn < gross).all()
    assert drawn == pytest.approx(gross - fee * 3 * 300, rel=0.01)


def test_random_entries_keep_to_the_clock_and_cross_no_gap(engine_name: str, tmp_path: Path) -> None:
    """A price that rises by one a second, in every third second a row; a night between, over which it doubles."""
    done = tape(tmp_path, engine_name)
    done.second = np.concatenate([np.arange(0, 61, 3), np.arange(50_000, 50_301, 3)])
    done.bid = done.ask = np.where(done.second < 1000, 1e6 + done.second, 2e6 + done.second)
    done.spans = ((0, 60 * SECOND), (50_000 * SECOND, 50_300 * SECOND))
    done.trades = [Trade(True, 0, n * SECOND, 0, 0, 1000, 0, 0, 0) for n in (45, 6, 6, 6, 30)]
    done.slippage_e8 = done.turnover_e8 = 0
    config = np.frombuffer(done.setup.config, layout.CONFIG).copy()
    config["taker_fee_ppm"] = 0
    done.setup = replace(done.setup, config=config.tobytes())
    drawn = random_entries(done, 200)
    assert drawn == pytest.approx(45 + 3 * 6 + 30, abs=1e-3)  # held for as many seconds, not for as many rows
    holds = np.array([45, 6, 6, 200])
    starts = [_layout(np.random.default_rng(n), np.array([0, 500]), np.array([60, 300]), holds) for n in range(100)]
    for draw in starts:
        held = sorted(zip(draw.tolist(), holds.tolist(), strict=True))
        assert all(a + hold <= b for (a, hold), (b, _) in itertools.pairwise(held))
        assert all((a >= 0 and a + hold <= 60) or (a >= 500 and a + hold <= 800) for a, hold in held)
    assert {int(draw[1] >= 500) for draw in starts} == {0, 1}
    done.trades = [Trade(True, 50 * SECOND, 50_010 * SECOND, 0, 0, 1000, 0, 0, 0)]  # 20 s of it recorded
    assert random_entries(done, 50) == pytest.approx(20, abs=3)  # a row every 3 s


def test_exposure_counts_recorded_time_alone(engine_name: str, tmp_path: Path) -> None:
    done = tape(tmp_path, engine_name)
    assert judge(done)["exposure"] == pytest.approx(2 / 5)
    done.last_ns += 1_000_000 * SECOND
    done.spans += ((done.last_ns - 5 * SECOND, done.last_ns),)
    result = judge(done)
    assert (result["exposure"], result["seconds"]) == (pytest.approx(2 / 10), 10)
    done.open_since_ns = done.spans[0][1] - SECOND  # and held open over the gap
    assert judge(done)["exposure"] == pytest.approx((2 + 1 + 5) / 10)


def test_the_verdict_claims_no_more_than_the_numbers() -> None:
    draws = np.linspace(-10, -5, 200)
    assert "does not differ from entering at random" in verdict(-7, draws)
    assert "lost money" in verdict(-7, draws)
    assert "worse than 95 %" in verdict(-11, draws)
    assert "better than 95 %" in verdict(-1, draws)
    assert verdict(-1, draws).startswith("It lost money after fees")
    assert "made money" in verdict(1, draws)
    assert "nothing can be said" in verdict(0, np.zeros(0))


def test_the_page_needs_nothing_else(real: Run) -> None:
    result = judge(real, draws=20)
    text = page(real, result)
    assert not re.search(r"https?:|//|src=|href=|url\(|@import|<script|<link|<img", text)
    assert text.count("<svg") == 4
    assert "prefers-color-scheme:dark" in text
    assert text.count("<tr><td>20") == len(real.trades)
    assert result["verdict"] in human(result)
    assert "nan" not in text.replace("nance", "").lower()
    assert json.loads(json.dumps(result)) == result


def test_a_run_without_trades(engine_name: str, tmp_path: Path) -> None:
    m = Market("binance-usdm", "BTCUSDT")
    path = tmp_path / "still.gz"
    path.write_bytes(gzip.compress(b"%d %s\n" % (START_NS, compact(m.snapshot(1) | {"symbol": "BTCUSDT"}))))
    with contextlib.suppress(InputError):
        done = run(*open_captures([str(path)], "binance-usdm", "BTCUSDT", None, Settings()), kernel=engine_name)
        result = judge(done)
        assert (result["trades"], result["hit_rate"], result["random_entry"]["mean"]) == (0, None, None)
        assert "<svg" in page(done, result)


def test_settings_by_name(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("enter = 0.7\ncapital = 50\n[weights]\nMICRO = 1.0\n[liquidation]\ncluster = 5\n")
    settings = read_settings(str(file), ["enter=0.8", "liquidation.half_life_s=600"])
    assert (settings.enter, settings.capital, settings.weights) == (0.8, 50, {"MICRO": 1.0})
    assert settings.parameters == {"liquidation.cluster": 5.0, "liquidation.half_life_s": 600.0}


def test_price_of_an_inverse_contract(real: Run) -> None:
    for order in real.orders:
        if order.filled:
            assert order.price == price_of(real.setup.instrument, order.filled, order.notional_e8)
            assert abs(order.price / order.touch - 1) < 0.02


@pytest.mark.native
def test_the_command(data: Path, tmp_path: Path, engine_name: str) -> None:

    def cwts(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(["backtest", *map(str, arguments)])
            except SystemExit as left:
                code = int(str(left.code))
        return code, out.getvalue(), err.getvalue()

    file, exchange, symbol = CAPTURES[2]
    good = [data / file, "--exchange", exchange, "--symbol", symbol]
    html = tmp_path / "report.html"
    code, out, err = cwts(*good, "--json", "--html", html, "--set", "enter=0.7", "--engine", engine_name)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["trades"] > 0
    assert html.read_text().startswith("<!doctype html>")
    code, out, err = cwts(*good, "--json", "--capital", "0.5")
    assert json.loads(out)["capital"] == 0.5
    spot = data / "binance-spot-btcusdt-20240809.gz"
    code, out, err = cwts(spot, "--exchange", "binance", "--symbol", "BTCUSDT", "--json")
    assert (code, json.loads(out)["trades"]) == (0, 0)
    assert "there is no snapshot of the book in the recording: the book was never valid" in json.loads(out)["notes"]
    for bad in (
        ["nowhere.gz", *good[1:]], [*good, "--set", "enter=2"], [*good, "--set", "enter"], [*good, "--set", "enter=x"],
        [*good, "--set", "whale.nothing=1"], [*good, "--settings", "nowhere.toml"], [*good, "--seed", "-1"],
        [*good, "--html", tmp_path / "no" / "folder.html"], [data / file, *good], good[1:],
        [*good, "--instruments", "nowhere.json"], [*good, "--capital", "0"],
    ):  # fmt: skip
        code, out, err = cwts(*bad)
        assert (code, out, err.count("\n")) == (2, "", 1), bad


def recorded(folder: Path, path: Path, capital: int, *, start: int = 0, rotated: bool = False) -> list[Path]:
    """A COIN-M recording as frames with a timer between, made with a capital; in several files, where it is rotated."""
    _, exchange, symbol = CAPTURES[2]
    source = Recording(str(path))
    setup = prepare(source, exchange, symbol, settings=replace(EAGER, capital=Decimal(capital)))
    engine = setup.engine()
    recorder = Recorder(
        folder, Description(exchange, symbol, setup.instrument, setup.config, {}, start),
        state=engine.block.tobytes if rotated else None, group_bytes=20_000,
        **({"file_bytes": 100_000} if rotated else {}),
    )  # fmt: skip
    lines = lines_of(path)
    recorder.tap(command_frames(setup.start))
    for i, (ns, raw) in enumerate(lines):
        for batch in (frame(raw, ns + start), frame(b"", ns + start, kind=layout.Kind.TIMER)):
            recorder.tap(batch)
            engine.feed(batch)
        if rotated and i % 500 == 0:
            recorder.flush()
            while recorder.written_frames < 2 * (i + 1):
                time.sleep(0.002)
    recorder.close()
    return recorder.files


@pytest.fixture
def coinm(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "part.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d %s\n" % line for line in head(data / CAPTURES[2][0], 8_000)), 1))
    return path


def backtest(paths: list[Path], settings: Settings | None = None) -> Run:
    return run(*open_captures([str(path) for path in paths], *CAPTURES[2][1:], None, settings or Settings()))


@pytest.mark.native
def test_frames_are_run_with_the_settings_that_they_were_recorded_with(coinm: Path, tmp_path: Path) -> None:
    files = recorded(tmp_path / "a", coinm, 50)
    done = backtest(files)
    recording = Recording(str(files[0]))
    replayed = replay(recording, prepare(recording, *CAPTURES[2][1:]))
    assert done.capital_e8 == 50 * E8
    assert RECORDED in done.setup.notes
    assert (len(done.orders), done.end_e8) == (
        replayed["account"]["orders"], round(float(replayed["account"]["equity"]) * E8)
    )  # fmt: skip
    assert done.messages == replayed["messages"] == 8_000  # commands and timers are none
    given = backtest(files, Settings(capital=Decimal(7)))
    assert given.capital_e8 == 7 * E8
    assert RECORDED not in given.setup.notes


@pytest.mark.native
def test_frames_recorded_with_different_settings_say_which_are_used(coinm: Path, tmp_path: Path) -> None:
    files = recorded(tmp_path / "a", coinm, 50) + recorded(tmp_path / "b", coinm, 60, start=3600 * SECOND)
    done = backtest(files)
    assert done.capital_e8 not in (50 * E8, 60 * E8)
    assert RECORDED not in done.setup.notes
    assert any("not all were recorded with the same settings" in note for note in done.setup.notes)
    same = recorded(tmp_path / "c", coinm, 50, start=3600 * SECOND)
    assert backtest([files[0], *same]).capital_e8 == 50 * E8


@pytest.mark.native
def test_a_later_file_of_a_rotated_recording_goes_on_with_the_account(coinm: Path, tmp_path: Path) -> None:
    """What the account did before the file began is not counted; a trade that closes in it is, from its opening."""
    files = recorded(tmp_path / "a", coinm, 50, rotated=True)
    assert len(files) > 2
    whole = backtest(files)
    for count in range(1, len(files)):
        rest = backtest(files[count:])
        assert any("the engine starts as it was there" in note for note in rest.setup.notes)
        assert rest.end_e8 == whole.end_e8
        assert rest.capital_e8 != 50 * E8
        assert rest.trades == whole.trades[len(whole.trades) - len(rest.trades) :]
        assert rest.orders == whole.orders[len(whole.orders) - len(rest.orders) :]
        assert sum(order.fee_e8 for order in rest.orders) == rest.fees_e8
        assert 0 < len(rest.trades) < len(whole.trades)


def test_orders_that_were_rejected_or_cancelled_are_counted(engine_name: str, data: Path, tmp_path: Path) -> None:
    """The touch moves away: cancelled. Less than the minimum notional is found: it cannot be sold again."""
    instrument = load_instrument(data / "binance-spot-exchangeInfo-202508.json", "binance", "BTCUSDT")
    m = Market("binance", "BTCUSDT")
    asks = [("60000.10", "1.00000"), ("61000.00", "5.00000")]
    steps = [m.snapshot(100, [("60000.00", "1.00000")], asks), m.depth(101, 101, 100, [("60000.00", "90.00000")], [])]
    steps.append(m.depth(102, 102, 101, [], [("60000.10", "0.00000"), ("60010.00", "1.00000")]))
    steps.append(m.depth(103, 103, 102, [], [("60000.10", "0.00005")]))
    steps += [m.depth(n, n, n - 1, [("60000.00", f"90.{n:05}")], []) for n in range(104, 151)]
    path = tmp_path / "rejected.gz"
    lines = [b"%d %s\n" % (START_NS + i * SECOND // 5, compact(step)) for i, step in enumerate(steps)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    settings = replace(EAGER, order_latency_s=0.1, max_slippage_bp=0, stale_s=10)
    done = run(*open_captures([str(path)], "binance", "BTCUSDT", instrument, settings), kernel=engine_name)
    result = judge(done)
    states = [layout.OrderState(order.state).name for order in done.orders]
    assert (result["rejected"], result["cancelled"]) == (states.count("REJECTED"), states.count("CANCELLED"))
    assert result["rejected"] > 0
    assert result["cancelled"] > 0
    said = f"{result['rejected']} of {result['orders']} orders were rejected"
    assert any(said in note for note in result["notes"])
    for text in (human(result), page(done, result)):
        assert f"{result['orders']}, {result['rejected']} rejected, {result['cancelled']} cancelled" in text
        assert said in text


DOCUMENTED = [
    ("binance-usdm", "BTCUSDT", ["binance-usdm-btcusdt-20240808.gz"]),
    ("binance", "BTCUSDT", ["binance-spot-btcusdt-20240808.gz"]),
    ("binance", "BTCUSDT", ["binance-spot-btcusdt-20240808.gz", "binance-spot-btcusdt-20240809.gz"]),
    ("binance-coinm", "BTCUSD_PERP", ["binance-coinm-btcusd_perp-20240808.gz"]),
]


@pytest.mark.native
@pytest.mark.parametrize("column", range(len(DOCUMENTED)))
def test_the_documented_numbers_are_what_the_command_prints(
    column: int, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange, symbol, files = DOCUMENTED[column]
    paths = [str(data / file) for file in files]
    assert main(["backtest", *paths, "--exchange", exchange, "--symbol", symbol, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    text = (data.parent.parent / "docs" / "backtest.md").read_text().replace("\u2212", "-").replace("*", "")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    said = {name: cells[column] for name, *cells in rows if len(cells) == len(DOCUMENTED)}

    def money(value: float, sign: str = "+") -> str:
        return f"{value:{sign}.{3 if found['asset'] == 'USDT' else 8}f}"

    draws = found["random_entry"]
    assert said["trades, of which won"] == f"{found['trades']}, {round(found['hit_rate'] * found['trades'])}"
    assert said["before fees"] == money(found["pnl_before_fees"])
    assert said["fees"] == money(found["fees"], "-")
    assert said["after fees"] == money(found["pnl_after_fees"])
    assert said["slippage"] == money(found["slippage"], "-")
    assert said["in the market"] == f"{100 * found['exposure']:.1f} %"
    assert said["buy and hold"] == money(found["buy_and_hold"])
    assert said["random entry, mean"] == money(draws["mean"])
    assert said["random entry, 5 to 95 %"] == f"{money(draws['p5'])} … {money(draws['p95'])}"
