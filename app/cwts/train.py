"""`cwts train`: the three networks' weights from recordings, and what they are worth on a held-out one.

Owns the labels (defined in docs/networks.md), the split and the evaluation; all of that needs NumPy alone. PyTorch is
imported only to fit. Every network is tied to its mirror image: what holds for bids and rises holds for asks and falls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts.errors import CwtsError, InputError
from cwts.kernel import layout, network_batch
from cwts.networks import Weights, network
from cwts.recording import EXCHANGES, FRAME, Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from cwts.networks import Network

    Floats = NDArray[np.float64]

SECOND = 1_000_000_000
WARMUP_S = 10.0  # rows before it have features without a past
VALUE_S, CASCADE_S, WHALE_S = 1.0, 10.0, 5.0  # horizons of the labels
SOFT_S = (0.6, 0.8, 1.0, 1.2, 1.4)  # value is fitted to the sign's mean over these: less noise, the same meaning
CASCADE_SIGMAS = 1.5
CLUSTER_GAP_NS = 100_000_000  # a longer pause between trades of one side ends their cluster
CLUSTER_QUANTILE, CLUSTER_PAST, CLUSTER_FIRST = 0.95, 500, 50
BLOCK_S = 10  # of the block bootstrap
TAIL = 0.25  # of each training recording, kept for early stopping
FEWEST = 30  # rows that a network is fitted to, stopped by and judged on, each
HORIZON_S = {"value": max(SOFT_S), "cascade": CASCADE_S, "whale": WHALE_S}
PAIRS = layout.HIDDEN // 2
MEASURES = ("auc", "auc_regression", "auc_gain", "log_loss_less_regression", "log_loss_less_prior")

# The mirrored market (bids for asks, buyers for sellers) has these features negated and the others as they are.
MIRROR = np.ones(layout.FEATURE_COUNT, np.float32)
MIRROR[[1, 2, 3, 4, 5, 6, 7, 8, 9, 14]] = -1
# z = clamp((x - MEAN) * SCALE, -LIMIT, LIMIT): ranges by unit, not fitted, so that another instrument's stay sane.
LIMIT = 2.0
MEAN = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 20, 60, 0, 0], np.float32)
SCALE = np.array([0.5, 2, 1.5, 1.5, 1.5, 1.5, 2, 2, 0.5, 0.2, 1, 1, 0.03, 0.015, 0.2, 1.5], np.float32)
# Levels of spread, volatility and rates differ from one instrument to the next by more than they tell.
UNUSED = {"value": (0, 10, 11, 12, 13), "cascade": (0, 12, 13), "whale": (0, 11, 13)}


@dataclass(frozen=True)
class Source:
    """One instrument's recordings, fed in a row; rows come from the last one."""

    exchange: str
    symbol: str
    files: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Source:
        """EXCHANGE:SYMBOL:FILE[,FILE…]. Raises InputError."""
        exchange, _, rest = text.partition(":")
        symbol, _, files = rest.partition(":")
        if exchange not in EXCHANGES or not symbol or not files:
            raise InputError(f"{text!r}: expected EXCHANGE:SYMBOL:FILE[,FILE…], EXCHANGE one of {', '.join(EXCHANGES)}")
        return cls(exchange, symbol, tuple(files.split(",")))


@dataclass(frozen=True)
class Rows:
    """What the engine knew at every update of the book or the touch; and the trades between."""

    name: str
    time: NDArray[np.int64]
    features: NDArray[np.float32]
    mid: Floats
    micro: Floats
    spread: Floats
    trades: Floats  # receive time, signed notional, index of the first row after it

    def at(self, seconds: float) -> NDArray[np.int64]:
        """For each row, the newest row `seconds` later."""
        return np.searchsorted(self.time, self.time + int(seconds * SECOND), side="right") - 1

    def usable(self, horizon: float) -> NDArray[np.bool_]:
        """Rows with a past to know and a future to look at."""
        after = self.time >= self.time[0] + int(WARMUP_S * SECOND)
        found: NDArray[np.bool_] = after & (self.time + int(horizon * SECOND) <= self.time[-1])
        return found


def collect(source: Source, limit: int | None = None, progress: Callable[[float], None] = lambda _: None) -> Rows:
    """The rows of a source, by the engine itself.

    `limit`: at most so many. `progress`: called with the share of a file that has been read. Raises InputError.
    """
    recordings = [Recording(file) for file in source.files]
    for recording in recordings[1:]:  # prepare() does so for the first
        recording.description(source.exchange, source.symbol)
    engine, _ = prepare(recordings[0], source.exchange, source.symbol).engine_for(recordings[0])
    view = engine.view
    features, tape, sync = view["features"], view["tape"], view["sync"]
    value, ring = features["value"], tape["ring"]
    time: list[int] = []
    rows: list[NDArray[np.float32]] = []
    prices: list[tuple[float, float, float]] = []
    trades: list[tuple[float, float, float]] = []
    moved = int(layout.Event.BOOK | layout.Event.TICKER)
    for recording in recordings:
        for piled in (time, rows, prices, trades):
            piled.clear()
        for batch in recording.batches():
            progress(recording.bytes_read / max(1, recording.bytes_total))
            at, frames = 0, memoryview(batch)
            while at < len(batch) and (limit is None or len(time) < limit):
                ns, length = FRAME.unpack_from(batch, at)[:2]
                end = at + FRAME.size + (length + 7 & ~7)
                seen = int(tape["count"])
                events = engine.feed(frames[at:end])
                at = end
                if events & layout.Event.TRADE:
                    for i in range(seen, int(tape["count"])):
                        trade = ring[i % len(ring)]
                        notional = float(trade["qty"]) * float(trade["price"]) * int(trade["aggressor"])
                        trades.append((float(ns), notional, float(len(time))))
                if events & moved and sync["synced"]:
                    time.append(ns)
                    rows.append(value.copy())
                    touch = features["last"]
                    spread = float(touch[1]["price"] - touch[0]["price"])
                    prices.append((float(features["mid"]), float(features["micro"]), spread))
    if len(time) < 1000:
        raise InputError(f"{source.files[-1]}: only {len(time)} updates of a valid book: nothing can be learnt from it")
    mid, micro, spread_ = np.array(prices).T
    name = f"{source.exchange} {source.symbol} {source.files[-1].rpartition('/')[2]}"
    return Rows(name, np.array(time), np.array(rows), mid, micro, spread_, np.array(trades).reshape(-1, 3))


# -- labels -----------------------------------------------------------------------------------------------------------


def value_labels(rows: Rows) -> tuple[NDArray[np.int64], Floats]:
    """Rows, and the micro-price's return over the next second in basis points; rows where it is 0 are left out."""
    forward = (rows.micro[rows.at(VALUE_S)] / rows.micro - 1) * 1e4
    index = np.flatnonzero(rows.usable(max(SOFT_S)) & (forward != 0))
    return index, forward[index]


def soft_signs(rows: Rows, index: NDArray[np.int64]) -> Floats:
    """The mean sign of the return over horizons around a second: what value is fitted to."""
    signs = [np.sign(rows.micro[rows.at(h)] - rows.micro) for h in SOFT_S]
    mean: Floats = np.mean(signs, axis=0)[index]
    return mean


def cascade_labels(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows, and whether the mid rises, falls by more than CASCADE_SIGMAS times its usual move within CASCADE_S."""
    last = rows.at(CASCADE_S)
    sigma = rows.features[:, layout.Feature.VOLATILITY_60S].astype(float) * 1e-4 * math.sqrt(CASCADE_S)
    index = np.flatnonzero(rows.usable(CASCADE_S) & (sigma > 0))
    highest, lowest = _ahead(rows.mid, last, np.maximum), _ahead(rows.mid, last, np.minimum)
    bound = CASCADE_SIGMAS * sigma
    both = np.stack([highest / rows.mid - 1 > bound, 1 - lowest / rows.mid > bound], axis=1)
    return index, both[index]


def _ahead(values: Floats, last: NDArray[np.int64], best: np.ufunc) -> Floats:
    """The largest (or smallest) of values[i .. last[i]], by doubling windows."""
    tables = [values]
    while (width := 1 << len(tables)) <= len(values):
        before = tables[-1]
        shifted = np.concatenate([before[width // 2 :], np.full(width // 2, before[-1])])
        tables.append(best(before, shifted))
    start = np.arange(len(values))
    level = np.floor(np.log2(last - start + 1)).astype(int)
    table = np.array(tables)
    found: Floats = best(table[level, start], table[level, last - (1 << level) + 1])
    return found


def whale_labels(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """The row at which a cluster of trades grew large, whether the mid then goes its way by more than half a spread
    within WHALE_S, and the cluster's side (+1, -1)."""
    past: list[float] = []
    size, side, before, told = 0.0, 0.0, -math.inf, False
    index: list[int] = []
    sides: list[int] = []
    bound = math.inf
    for ns, notional, row in rows.trades:
        if np.sign(notional) != side or ns - before > CLUSTER_GAP_NS:
            if size:
                past.append(size)
            if len(past) >= CLUSTER_FIRST:
                bound = float(np.quantile(past[-CLUSTER_PAST:], CLUSTER_QUANTILE))
            size, side, told = 0.0, float(np.sign(notional)), False
        size += abs(notional)
        before = ns
        if size > bound and not told and row < len(rows.time):
            told = True
            index.append(int(row))
            sides.append(int(side))
    found, towards = np.array(index, np.int64), np.array(sides, np.int64)
    keep = rows.usable(WHALE_S)[found] if len(found) else np.zeros(0, bool)
    found, towards = found[keep], towards[keep]
    moved = (rows.mid[rows.at(WHALE_S)][found] - rows.mid[found]) * towards
    return found, moved > rows.spread[found] / 2, towards


# -- evaluation -------------------------------------------------------------------------------------------------------


def auc(labels: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """The area under the ROC curve: how often a yes scores above a no, ties half. 0.5 where one of them is missing."""
    yes = int(labels.sum())
    no = len(labels) - yes
    if not yes or not no:
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - yes * (yes + 1) / 2) / (yes * no))


def log_loss(labels: NDArray[np.bool_], probability: NDArray[np.floating[Any]]) -> float:
    """Mean negative log-likelihood, in nats."""
    p = np.clip(probability.astype(float), 1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(labels, np.log(p), np.log(1 - p))))


def bootstrap(
    time: NDArray[np.int64], statistic: Callable[[NDArray[np.int64]], Sequence[float]], rounds: int = 200, seed: int = 1
) -> list[list[float]]:
    """95 % intervals of statistics of rows, from resampled blocks of BLOCK_S seconds."""
    block = (time - time.min()) // (BLOCK_S * SECOND)
    members = [np.flatnonzero(block == b) for b in np.unique(block)]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]))
        for _ in range(rounds)
    ]
    return [[float(v) for v in np.quantile(column, [0.025, 0.975])] for column in np.array(drawn).T]


def logistic_fit(x: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Logistic regression on one input: (slope, intercept), by Newton's method with a little ridge."""
    design = np.stack([x.astype(float), np.ones(len(x))], axis=1)
    weight = np.zeros(2)
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(design @ weight, -30, 30)))
        gradient = design.T @ (p - labels) / len(x) + 1e-4 * weight
        hessian = (design * (p * (1 - p))[:, None]).T @ design / len(x) + 1e-4 * np.eye(2)
        weight -= np.linalg.solve(hessian, gradient)
    return float(weight[0]), float(weight[1])


@dataclass(frozen=True)
class Task:
    """Rows of a network's question in one orientation: the mirrored rows ask the same of the other side."""

    time: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.bool_]
    target: Floats  # what is fitted: in [0, 1]
    returns: Floats  # value only: basis points


def task_of(name: str, rows: Rows) -> Task:
    """The question that network `name` is asked, upwards: rows about the other side are mirrored."""
    none = np.zeros(0)
    if name == "value":
        index, forward = value_labels(rows)
        soft = soft_signs(rows, index) / 2 + 0.5
        return Task(rows.time[index], rows.features[index], forward > 0, soft, forward)
    if name == "cascade":
        index, both = cascade_labels(rows)
        x = rows.features[index]
        time, labels = np.tile(rows.time[index], 2), np.concatenate([both[:, 0], both[:, 1]])
        return Task(time, np.concatenate([x, x * MIRROR]), labels, labels.astype(float), none)
    index, went, side = whale_labels(rows)
    x = rows.features[index] * np.where(side[:, None] > 0, np.float32(1), MIRROR)
    return Task(rows.time[index], x, went, went.astype(float), none)


def score(net: Network, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's answer upwards, as the kernel gives it."""
    found: NDArray[np.float32] = network_batch(net, features)[:, 0]
    return found


def evaluate(
    name: str, net: Network, task: Task, baseline: tuple[float, float], prior: float, rounds: int = 200
) -> dict[str, Any]:
    """Held-out AUC and log-loss against logistic regression on the imbalance at the touch, and the class prior."""
    imbalance = task.features[:, layout.Feature.IMBALANCE_1].astype(float)
    regression = 1 / (1 + np.exp(-(baseline[0] * imbalance + baseline[1])))
    found = score(net, task.features)

    def statistic(i: NDArray[np.int64]) -> list[float]:
        ours, theirs = auc(task.labels[i], found[i]), auc(task.labels[i], imbalance[i] * np.sign(baseline[0]))
        values = [ours, theirs, ours - theirs]
        if name != "value":
            mine = log_loss(task.labels[i], found[i])
            values += [
                mine - log_loss(task.labels[i], regression[i]),
                mine - log_loss(task.labels[i], np.full(len(i), prior)),
            ]
        return values

    point = statistic(np.arange(len(task.labels)))
    intervals = bootstrap(task.time, statistic, rounds) if rounds else [[]] * len(point)
    card: dict[str, Any] = {"rows": len(task.labels), "share": round(float(task.labels.mean()), 4)}
    for key, value, interval in zip(MEASURES, point, intervals, strict=False):
        card[key] = [round(value, 4), *(round(v, 4) for v in interval)]
    return card


def human(card: Mapping[str, Any]) -> str:
    """The card for a person."""

    def cell(values: Sequence[float]) -> str:
        return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"

    lines = [f"trained on  {', '.join(card['trained_on'])}", f"held out    {card['held_out']}"]
    lines.append(f"labels      {card['labels']}; intervals {card['intervals']}")
    lines.append(
        f"{'':<9}{'rows':>8}{'prior':>7}  " + "".join(f"{title:<25}" for title in ("AUC", "regression", "lead"))
    )
    for name, found in card["networks"].items():
        if "rows" in found:
            judged = found.get("trained_network", found)
            cells = "".join(f"{cell(judged[key]):<25}" for key in MEASURES[:3])
            lines.append(f"{name:<9}{found['rows']:>8,}{found['prior']:>7.3f}  {cells}".rstrip())
    return "\n".join([*lines, *(f"{name} ships as {found['ships']}" for name, found in card["networks"].items())])


# -- fitting ----------------------------------------------------------------------------------------------------------


def build(name: str, pairs: Mapping[str, NDArray[np.float64]], seed: int, gain: float = 1.0) -> Network:
    """A network and its mirror image side by side: hidden unit j sees the market, j + PAIRS the mirrored one."""
    w1 = np.concatenate([pairs["w1"], pairs["w1"] * MIRROR[:, None]], axis=1)
    own, other = pairs["own"], pairs["other"]
    up = np.concatenate([own, -own if name == "value" else other]) * gain
    down = np.concatenate([other, own])
    return network(
        name, mean=MEAN, scale=SCALE, limit=LIMIT, seed=seed, w1=w1, b1=np.tile(pairs["b1"], 2),
        w2=[up] if name == "value" else [up, down], b2=[0.0] if name == "value" else np.repeat(pairs["b2"], 2),
    )  # fmt: skip


def _regression_pairs(slope: float, intercept: float) -> dict[str, Floats]:
    """The baseline as a network's parameters: one hidden unit and its mirror image carry the imbalance at the touch."""
    pairs = {"w1": np.zeros((layout.FEATURE_COUNT, PAIRS)), "b1": np.zeros(PAIRS), "b2": np.array([intercept])}
    pairs["own"], pairs["other"] = np.zeros(PAIRS), np.zeros(PAIRS)
    pairs["w1"][layout.Feature.IMBALANCE_1, 0] = 1.0
    slope /= float(SCALE[layout.Feature.IMBALANCE_1])
    pairs["own"][0], pairs["other"][0] = slope, -slope
    return pairs


def regression_network(name: str, baseline: tuple[float, float], gain: float = 1.0) -> Network:
    """The baseline in the network's form."""
    return build(name, _regression_pairs(*baseline), 0, gain)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise CwtsError("cwts train needs PyTorch: pip install 'cwts[train]'") from None
    torch.set_num_threads(1)
    return torch


def split(name: str, part: Task) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows that are fitted, and those that say when to stop: the tail, a horizon later."""
    if not len(part.time):
        return np.zeros(0, bool), np.zeros(0, bool)
    cut = part.time.min() + int((part.time.max() - part.time.min()) * (1 - TAIL))
    return part.time < cut - int(HORIZON_S[name] * SECOND), part.time >= cut


def shortage(name: str, parts: Sequence[Task], held: Task) -> str:
    """Why a network cannot be trained and judged on these rows; empty where it can."""
    fitted, kept = zip(*(split(name, part) for part in parts), strict=True)
    for use, labels in (
        ("to fit", np.concatenate([part.labels[rows] for part, rows in zip(parts, fitted, strict=True)])),
        ("to say when to stop", np.concatenate([part.labels[rows] for part, rows in zip(parts, kept, strict=True)])),
        ("held out", held.labels),
    ):
        yes = int(labels.sum())
        if len(labels) < FEWEST or yes in (0, len(labels)):
            return f"{len(labels)} rows {use}, {yes} of them yes: at least {FEWEST} are needed, and both answers"
    return ""


def fit(name: str, parts: Sequence[Task], seed: int, *, steps: int = 500, decay: float = 0.03) -> tuple[Any, float]:
    """Fits on all but the purged tails of `parts`; returns the parameters of the best step on the tails, and its loss.

    Starts as the baseline fitted to the same rows, beside small random weights: on the tails it ends no worse. Every
    part weighs the same, however many rows it has.
    """
    torch = _torch()
    rng = np.random.default_rng(seed)
    used = np.ones(layout.FEATURE_COUNT, np.float32)
    used[list(UNUSED[name])] = 0
    known: list[tuple[Any, Any]] = []
    kept: list[tuple[Any, Any]] = []
    slopes: list[tuple[float, float]] = []
    for part in parts:
        z = np.clip((part.features - MEAN) * SCALE, -LIMIT, LIMIT) * used
        y = part.target.astype(np.float32)
        fitted, stops = split(name, part)
        if fitted.any():
            known.append((torch.tensor(z[fitted]), torch.tensor(y[fitted])))
            imbalance = part.features[fitted, layout.Feature.IMBALANCE_1]
            slopes.append(logistic_fit(imbalance, part.labels[fitted].astype(float)))
        if stops.any():
            kept.append((torch.tensor(z[stops]), torch.tensor(y[stops])))
    mirror = torch.tensor(MIRROR)
    slope, intercept = np.mean(slopes, axis=0)
    start = _regression_pairs(slope, 0.0 if name == "value" else intercept)
    for key, size in (("w1", 0.025), ("own", 0.03), ("other", 0.03)):  # all but the unit that carries the baseline
        start[key][..., 1:] += size * rng.standard_normal(start[key][..., 1:].shape)
    start["w1"] *= used[:, None]
    w1, b1, own, other, b2 = (
        torch.tensor(start[key], dtype=torch.float32, requires_grad=True) for key in ("w1", "b1", "own", "other", "b2")
    )

    def logits(z: Any) -> Any:
        left, right = torch.relu(z @ w1 + b1), torch.relu((z * mirror) @ w1 + b1)
        return left @ own - right @ own if name == "value" else left @ own + right @ other + b2

    optimiser = torch.optim.AdamW([w1, b1, own, other, b2], lr=1e-3, weight_decay=decay)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    best: tuple[float, Any] = (math.inf, None)
    size = 1024 // max(1, len(known))
    for step in range(steps + 1):
        if step % 20 == 0:
            with torch.no_grad():
                held = float(sum(loss_of(logits(z), y) for z, y in kept)) / max(1, len(kept))
            if held < best[0]:
                parameters = {"w1": w1 * torch.tensor(used)[:, None], "b1": b1, "own": own, "other": other, "b2": b2}
                best = held, {key: t.detach().double().numpy().copy() for key, t in parameters.items()}
        loss = torch.zeros(())
        for z, y in known:
            rows = torch.tensor(rng.integers(0, len(y), min(size, len(y))))
            loss = loss + loss_of(logits(z[rows]), y[rows]) / len(known)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return best[1], best[0]


def check(sources: Sequence[Source], hold_out: Source) -> None:
    """What can be said before a recording has been read. Raises InputError."""
    for file in (file for source in (*sources, hold_out) for file in source.files):
        if not Path(file).exists():
            raise InputError(f"{file}: No such file or directory")
    for source in sources:
        if Path(source.files[-1]).samefile(hold_out.files[-1]):
            raise InputError(f"{hold_out.files[-1]}: held out, but it is trained on, too")


def gather(
    sources: Sequence[Source],
    hold_out: Source,
    *,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[list[Rows], Rows]:
    """The rows to train on, and those held out, which must be of another time. Raises InputError."""

    def read(source: Source) -> Rows:
        rows = collect(source, progress=progress)
        say(f"{rows.name}: {len(rows.time):,} updates in {(rows.time[-1] - rows.time[0]) / SECOND:.0f} s")
        return rows

    held = read(hold_out)
    every: list[Rows] = []
    for source in sources:
        rows = read(source)
        if rows.time[0] <= held.time[-1] and held.time[0] <= rows.time[-1]:  # whatever the market: they move together
            raise InputError(f"{held.name}: held out, but {rows.name}, which is trained on, covers the same time")
        every.append(rows)
    return every, held


def train(
    sources: Sequence[Source],
    hold_out: Source,
    *,
    seeds: int = 5,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[float], None] = lambda _: None,
) -> Weights:
    """Trains the three networks, evaluates each on `hold_out`, and ships the baseline where it is not beaten.

    A network for which there are too few rows is left out. `say` is told each step, `progress` the share of a recording
    that has been read. Raises InputError, and CwtsError where PyTorch is not installed.
    """
    check(sources, hold_out)
    _torch()
    every, held = gather(sources, hold_out, say=say, progress=progress)
    card: dict[str, Any] = {
        "trained_on": [rows.name for rows in every],
        "held_out": held.name,
        "labels": f"value {VALUE_S:g} s; cascade {CASCADE_SIGMAS:g} sigma in {CASCADE_S:g} s; whale {WHALE_S:g} s",
        "intervals": f"95 %, bootstrap of blocks of {BLOCK_S} s",
        "networks": {},
    }
    networks: dict[str, Network] = {}
    for name in ("cascade", "whale", "value"):
        parts, task = [task_of(name, rows) for rows in every], task_of(name, held)
        if lacks := shortage(name, parts, task):
            card["networks"][name] = {"ships": f"nothing: {lacks}"}
            say(f"{name}: left out: {lacks}")
            continue
        slopes = [
            logistic_fit(p.features[:, layout.Feature.IMBALANCE_1], p.labels.astype(float))
            for p in parts
            if len(p.time)
        ]
        slope, intercept = np.mean(slopes, axis=0)
        baseline = (round(float(slope), 4), 0.0 if name == "value" else round(float(intercept), 4))  # as the card says
        prior = float(np.mean([p.labels.mean() for p in parts if len(p.time)]))
        tries: list[tuple[Any, float, int]] = []
        for seed in range(seeds):
            tries.append((*fit(name, parts, seed), seed))
            say(f"{name}: try {seed + 1} of {seeds}, loss on the tails {tries[-1][1]:.4f}")
        parameters, loss, seed = min(tries, key=lambda found: found[1])
        gain = _gain(build(name, parameters, seed), parts) if name == "value" else 1.0
        net = build(name, parameters, seed, gain)
        found = evaluate(name, net, task, baseline, prior)
        ships = "network"
        if found["auc_gain"][1] <= 0:  # the interval's lower end: a lead that chance explains is none
            ships = "logistic regression on IMBALANCE_1, in the network's form"
            plain = regression_network(name, baseline)
            net = regression_network(name, baseline, _gain(plain, parts) if name == "value" else 1.0)
            found = {"trained_network": found, **evaluate(name, net, task, baseline, prior)}
        card["networks"][name] = {
            "ships": ships, "seed": seed, "loss_on_tails": round(loss, 4), "prior": round(prior, 4),
            "regression": list(baseline), **found,
        }  # fmt: skip
        networks[name] = net
        say(f"{name}: ships as {ships}")
    if not networks:
        raise InputError("too few rows for any network: record for longer")
    return Weights(networks, card)


def _gain(net: Network, parts: Sequence[Task]) -> float:
    """Basis points a unit of log-odds: least squares over the training rows, returns clipped at 5."""
    over = under = 0.0
    for part in parts:
        x = score(net, part.features).astype(float)
        over += float(np.mean(x * np.clip(part.returns, -5, 5)))
        under += float(np.mean(x * x))
    return over / under if under else 1.0
