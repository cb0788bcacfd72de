"""What a run is worth: its numbers, and whether they differ from buying and holding and from entering at random.

The baselines pay what the account pays: the touch, the taker's fee, and the share of the notional that the strategy's
own orders paid beyond the touch. Money is in the settlement asset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.backtest.account import E8, SECOND, Run
from cwts.kernel import layout
from cwts.kernel.layout import OrderState

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 200
GAP_S = 5  # without a valid book for longer: no random trade is held across it
PPM = 1e6


def profit(
    contract: str, size: float, fee: float, slip: float, buy: bool, qty: float, entry: float, leave: float
) -> float:
    """After fees, of `qty` bought (or sold) at the touch `entry` and closed at the touch `leave`, slippage on both."""
    sign = 1.0 if buy else -1.0
    entry, leave = entry * (1 + sign * slip), leave * (1 - sign * slip)
    amount = qty * size
    if contract == "inverse":
        paid, got = amount / entry, amount / leave
        return sign * (paid - got) - fee * (paid + got)
    paid = amount * entry
    if contract == "spot":  # the fee of a buy is taken from what is received
        return amount * (1 - fee) * leave * (1 - fee) - paid
    got = amount * leave
    return sign * (got - paid) - fee * (paid + got)


def slippage_share(run: Run) -> float:
    """Paid beyond the touch at decision, over the turnover."""
    return run.slippage_e8 / run.turnover_e8 if run.turnover_e8 else 0.0


def terms(run: Run) -> tuple[str, float, float, float]:
    """Contract, its size, the taker's fee and the slippage share: what the baselines pay."""
    config = np.frombuffer(run.setup.config, layout.CONFIG)[0]
    one = run.setup.instrument
    return one.contract, float(one.contract_size or 1), int(config["taker_fee_ppm"]) / PPM, slippage_share(run)


def buy_and_hold(run: Run) -> float | None:
    """Bought at the first touch with what one order aims for, sold at the last. None: no two touches."""
    good = np.flatnonzero((run.bid > 0) & (run.ask > 0))
    if len(good) < 2:
        return None
    contract, size, fee, slip = terms(run)
    config = np.frombuffer(run.setup.config, layout.CONFIG)[0]
    entry, leave = float(run.ask[good[0]]), float(run.bid[good[-1]])
    money = int(config["order_notional_e8"]) / E8
    lot = float(run.setup.instrument.lot_size)
    qty = np.floor((money * entry if contract == "inverse" else money / entry) / size / lot + 1e-9) * lot
    return profit(contract, size, fee, slip, True, float(qty), entry, leave)


def random_entries(run: Run, draws: int = DRAWS, seed: int = 1) -> NDArray[np.float64]:
    """Profits of as many trades with the same directions, sizes and holding times, but begun at random moments.

    No two of a draw overlap, and none is held across a gap: the holding times are shared out among the stretches of
    time between gaps, and laid out in each in random order with random pauses between them.
    """
    good = np.flatnonzero((run.bid > 0) & (run.ask > 0))
    if not run.trades or len(good) < 2:
        return np.zeros(0)
    contract, size, fee, slip = terms(run)
    rng = np.random.default_rng(seed)
    times = run.second[good]
    edges = np.flatnonzero(np.diff(times) > GAP_S)
    begins, ends = times[np.concatenate([[0], edges + 1])], times[np.concatenate([edges, [len(times) - 1]])]
    lengths = ends - begins
    holds = np.array([max(1, round(recorded(run, t.opened_ns, t.closed_ns) / SECOND)) for t in run.trades])
    holds = np.minimum(holds, lengths.max())
    scale = 10.0**run.setup.instrument.qty_decimals
    results = np.zeros(draws)
    for draw in range(draws):
        starts = _layout(rng, begins, lengths, holds)
        entries, exits = np.searchsorted(times, starts), np.searchsorted(times, starts + holds)
        for trade, entry, leave in zip(run.trades, good[entries], good[exits], strict=True):
            prices = (run.ask[entry], run.bid[leave]) if trade.buy else (run.bid[entry], run.ask[leave])
            results[draw] += profit(contract, size, fee, slip, trade.buy, trade.qty / scale, *map(float, prices))
    return results


def _layout(
    rng: np.random.Generator, begins: NDArray[np.int64], lengths: NDArray[np.int64], holds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """When each trade of a draw begins. Where there is no room left they may overlap."""
    starts = np.zeros(len(holds), np.int64)
    room = lengths.copy()
    shares: list[list[int]] = [[] for _ in begins]
    shuffled = rng.permutation(len(holds))
    for n in shuffled[np.argsort(-holds[shuffled], kind="stable")]:  # the longest first: it fits in the fewest places
        full = not (room >= holds[n]).any()
        choices = np.cumsum(np.maximum(0, (lengths if full else room) - holds[n] + 1))
        drawn = rng.integers(choices[-1])
        stretch = int(np.searchsorted(choices, drawn, side="right"))
        if full:
            starts[n] = begins[stretch] + choices[stretch] - 1 - drawn
        else:
            room[stretch] -= holds[n]
            shares[stretch].append(int(n))
    for begin, free, share in zip(begins, room, shares, strict=True):
        order = rng.permutation(np.array(share, np.int64))
        pauses = np.sort(rng.integers(0, free + 1, len(order)))
        starts[order] = begin + pauses + np.cumsum(holds[order]) - holds[order]
    return starts


def recorded(run: Run, begin_ns: int, end_ns: int) -> int:
    """How much of a time lies within recordings, in ns."""
    return sum(max(0, min(last, end_ns) - max(first, begin_ns)) for first, last in run.spans)


def drawdown(equity: NDArray[np.int64]) -> NDArray[np.int64]:
    """How far equity lies below its peak so far."""
    return np.maximum.accumulate(equity) - equity if len(equity) else equity


def verdict(result: float, draws: NDArray[np.float64]) -> str:
    """In words, what the comparison with random entries carries."""
    if not len(draws):
        return "There were no closed trades: nothing can be said about the strategy."
    low, high = np.percentile(draws, [5, 95])
    if result > high:
        said = "is better than 95 % of random entries with the same trades"
    elif result < low:
        said = "is worse than 95 % of random entries with the same trades"
    else:
        said = "does not differ from entering at random: it lies within the 5 to 95 % interval"
    gain = "It made money after fees" if result > 0 else "It lost money after fees"
    return f"{gain}, and {said}. One recording of this length proves no edge."


def judge(run: Run, *, draws: int = DRAWS, seed: int = 1) -> dict[str, Any]:
    """Everything the report says, as plain JSON values."""
    trades = run.trades
    span = max(1, recorded(run, run.first_ns, run.last_ns))
    held = sum(recorded(run, t.opened_ns, t.closed_ns) for t in trades)
    held += recorded(run, run.open_since_ns, run.last_ns) if run.open_since_ns else 0
    wins = sum(t.net_e8 > 0 for t in trades)
    closed = sum(t.net_e8 for t in trades) / E8
    random = random_entries(run, draws, seed)
    low, high = np.percentile(random, [5, 95]).tolist() if len(random) else (None, None)
    one = run.setup.instrument
    rejected = sum(order.state == OrderState.REJECTED for order in run.orders)
    notes = list(run.setup.notes)
    if rejected:
        notes.append(
            f"{rejected:,} of {len(run.orders):,} orders were rejected: they were worth less than the minimum notional"
        )
    return {
        "exchange": one.exchange,
        "symbol": one.symbol,
        "asset": one.settle,
        "captures": list(run.captures),
        "seconds": round(span / SECOND, 1),
        "messages": run.messages,
        "capital": run.capital_e8 / E8,
        "equity": run.end_e8 / E8,
        "orders": len(run.orders),
        "rejected": rejected,
        "cancelled": sum(order.state == OrderState.CANCELLED for order in run.orders),
        "trades": len(trades),
        "pnl_before_fees": (run.end_e8 - run.capital_e8 + run.fees_e8) / E8,
        "fees": run.fees_e8 / E8,
        "pnl_after_fees": (run.end_e8 - run.capital_e8) / E8,
        "closed_pnl_after_fees": closed,
        "open_or_dust": run.open_e8 / E8,
        "slippage": run.slippage_e8 / E8,
        "turnover": run.turnover_e8 / E8,
        "drawdown": run.drawdown_e8 / E8,
        "exposure": held / span,
        "hit_rate": wins / len(trades) if trades else None,
        "mean_hold_s": float(np.mean([(t.closed_ns - t.opened_ns) / SECOND for t in trades])) if trades else None,
        "buy_and_hold": buy_and_hold(run),
        "random_entry": {
            "draws": len(random),
            "seed": seed,
            "mean": float(random.mean()) if len(random) else None,
            "p5": low,
            "p95": high,
        },
        "verdict": verdict(closed, random),
        "notes": notes,
    }
