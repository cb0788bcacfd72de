"""Prints the cross-validation of docs/networks.md; needs PyTorch and scikit-learn.

`PYTHONPATH=app python docs/pictures/networks.py`: is there more in the sixteen features than in the imbalance at the
touch? Only the three training recordings are looked at. They cover the same six minutes, so they are cut into the same
blocks of the clock; what is fitted lies at least `PURGE_S` away from the block that is judged.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from cwts import train
from cwts.kernel import layout
from cwts.train import MIRROR, SECOND, UNUSED, Source, Task, auc, collect, logistic_fit, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Score = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
    Fit = Callable[[Sequence[Task], Sequence[Task]], Score]  # what is fitted, what says when to stop

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
TRAINED = [
    ("binance-usdm", "BTCUSDT", "binance-usdm-btcusdt-20240808.gz"),
    ("binance", "BTCUSDT", "binance-spot-btcusdt-20240808.gz"),
    ("binance-coinm", "BTCUSD_PERP", "binance-coinm-btcusd_perp-20240808.gz"),
]
SPOT, BLOCKS, PURGE_S = 1, 6, 12
IMBALANCE = layout.Feature.IMBALANCE_1


def z(x: Any) -> Any:
    """Features as the networks see them."""
    return np.clip((x - train.MEAN) * train.SCALE, -train.LIMIT, train.LIMIT).astype(np.float32)


def rows_of(task: Task, rows: Any) -> Task:
    """Some of a task's rows."""
    return Task(task.time[rows], task.features[rows], task.labels[rows], task.target[rows], task.returns[rows])


def thinned(task: Task, milliseconds: int) -> Task:
    """The last row of every so many milliseconds: busy seconds count no more than others."""
    return rows_of(task, np.append(np.diff(task.time // (milliseconds * 1_000_000)) > 0, True))


def both(parts: Sequence[Task]) -> tuple[Any, Any, Any]:
    """Rows and their mirror images, labels, weights: every part weighs the same."""
    x = np.concatenate([p.features for p in parts])
    y = np.concatenate([p.labels for p in parts])
    w = np.concatenate([np.full(len(p.labels), 1 / len(p.labels)) for p in parts])
    return np.concatenate([x, x * MIRROR]), np.append(y, ~y), np.append(w, w) / w.mean()


def linear(parts: Sequence[Task], _stop: Sequence[Task]) -> Score:
    """Logistic regression on all sixteen."""
    x, y, w = both(parts)
    model = LogisticRegression(C=0.01, fit_intercept=False, max_iter=300).fit(z(x), y, sample_weight=w)
    return lambda rows: model.decision_function(z(rows))


def trees(unused: Sequence[int] = (), rows: int = 500) -> Fit:
    """Fifty boosted trees of four leaves. `rows`: at least so many in a leaf."""

    def fit(parts: Sequence[Task], _stop: Sequence[Task]) -> Score:
        x, y, w = both(parts)
        keep = np.ones(layout.FEATURE_COUNT, np.float32)
        keep[list(unused)] = 0
        model = HistGradientBoostingClassifier(
            max_iter=50, learning_rate=0.1, max_leaf_nodes=4, min_samples_leaf=rows, l2_regularization=10,
            early_stopping=False, random_state=0,
        ).fit(x * keep, y, sample_weight=w)  # fmt: skip
        return lambda rows: model.decision_function(rows * keep) - model.decision_function(rows * MIRROR * keep)

    return fit


def network(
    *, wide: bool = False, start: bool = False, returns: bool = False, decay: float = 0.03, seeds: int = 3,
    unused: Sequence[int] = UNUSED["value"],
) -> Fit:  # fmt: skip
    """Eight hidden units, or twice 64 (`wide`); from random weights or from the regression's (`start`); fitted to the
    sign or to the return. The mean of `seeds`."""
    used = torch.ones(layout.FEATURE_COUNT)
    used[list(unused)] = 0
    mirror = torch.tensor(MIRROR)

    def one(parts: Sequence[Task], stop: Sequence[Task], seed: int) -> Any:
        torch.manual_seed(seed)
        shape = [layout.FEATURE_COUNT, *([64, 64] if wide else [layout.HIDDEN // 2]), 1]
        half = torch.nn.Sequential()
        for a, b in pairwise(shape):
            half.append(torch.nn.Linear(a, b))
            half.append(torch.nn.ReLU())
        half.pop(-1)
        if start:
            slope = np.mean([logistic_fit(p.features[:, IMBALANCE], p.labels.astype(float))[0] for p in parts])
            with torch.no_grad():
                for parameter in half.parameters():
                    parameter *= 0.1
                half[0].weight[0] = 0
                half[0].weight[0, IMBALANCE] = 1
                half[2].weight[0, 0] = float(slope / train.SCALE[IMBALANCE])

        def answer(rows: Any) -> Any:
            rows = rows * used
            return (half(rows) - half(rows * mirror))[:, 0]

        def loss(rows: Any, wanted: Any) -> Any:
            if returns:
                return torch.nn.functional.mse_loss(answer(rows), wanted)
            return torch.nn.functional.binary_cross_entropy_with_logits(answer(rows), wanted)

        def tensors(part: Task) -> tuple[Any, Any]:
            bounded = np.clip(part.returns, -5, 5)
            wanted = bounded / bounded.std() if returns else part.target
            return torch.tensor(z(part.features)), torch.tensor(wanted.astype(np.float32))

        fitted, kept = [tensors(p) for p in parts], [tensors(p) for p in stop]
        optimiser = torch.optim.AdamW(half.parameters(), lr=1e-3 if start or wide else 5e-3, weight_decay=decay)
        best, state = np.inf, half.state_dict()
        for step in range(501):
            if step % 20 == 0:
                with torch.no_grad():
                    held = float(sum(loss(*part) for part in kept))
                if held < best:
                    best, state = held, {key: value.clone() for key, value in half.state_dict().items()}
            total = torch.zeros(())
            for rows, wanted in fitted:
                some = torch.randint(len(rows), (2048 // len(fitted),))
                total = total + loss(rows[some], wanted[some])
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        half.load_state_dict(state)
        return answer

    def fit(parts: Sequence[Task], stop: Sequence[Task]) -> Score:
        answers = [one(parts, stop, seed) for seed in range(seeds)]

        def score(rows: Any) -> Any:
            with torch.no_grad():
                return np.mean([answer(torch.tensor(z(rows))).numpy() for answer in answers], axis=0)

        return score

    return fit


def as_trained(parts: Sequence[Task], _stop: Sequence[Task]) -> Score:
    """What `cwts train` does, with tails of its own and the best of five seeds."""
    parameters, _ = min((train.fit("value", parts, seed) for seed in range(5)), key=lambda found: found[1])
    made = train.build("value", parameters, 0)
    return lambda rows: train.score(made, rows)


def leads(
    tasks: Sequence[Task], fit: Fit, step_ms: int = 0, own: bool = False, stops: bool = True
) -> np.ndarray[Any, Any]:
    """AUC less the imbalance's, [block][market].

    `step_ms`: fitted to a row every so often; `own`: each market by itself; `stops`: the next block says when to stop.
    """
    edges = np.linspace(min(t.time[0] for t in tasks), max(t.time[-1] for t in tasks) + 1, BLOCKS + 1)
    found = np.zeros((BLOCKS, len(tasks)))

    def away(time: Any, block: int) -> Any:
        return (time < edges[block] - PURGE_S * SECOND) | (time >= edges[block + 1] + PURGE_S * SECOND)

    for block in range(BLOCKS):
        after = (block + 1) % BLOCKS
        parts, stop = [], []
        for task in tasks:
            fitted = rows_of(task, away(task.time, block) & (away(task.time, after) | (not stops)))
            inside = (task.time >= edges[after]) & (task.time < edges[after + 1]) & away(task.time, block)
            kept = rows_of(task, inside)
            parts.append(thinned(fitted, step_ms) if step_ms else fitted)
            stop.append(thinned(kept, step_ms) if step_ms else kept)
        pooled = None if own else fit(parts, stop)
        for market, task in enumerate(tasks):
            judged = rows_of(task, (task.time >= edges[block]) & (task.time < edges[block + 1]))
            score = pooled or fit(parts[market : market + 1], stop[market : market + 1])
            found[block, market] = auc(judged.labels, score(judged.features)) - auc(
                judged.labels, judged.features[:, IMBALANCE]
            )
    return found


def say(name: str, found: np.ndarray[Any, Any]) -> None:
    """The mean over the blocks, and its standard error."""

    def cell(blocks: Any) -> str:
        return f"{blocks.mean():+.3f} ± {blocks.std(ddof=1) / np.sqrt(len(blocks)):.3f}"

    print(f"{name:<52} all {cell(found.mean(axis=1))}   spot {cell(found[:, SPOT])}", flush=True)


def main() -> None:
    """The table."""
    every = [collect(Source(exchange, symbol, (str(DATA / file),))) for exchange, symbol, file in TRAINED]
    tasks = [task_of("value", rows) for rows in every]
    print(f"{'AUC of one feature':<20}" + "".join(f"{rows.name.split()[0]:>15}" for rows in every))
    for feature in layout.Feature:
        if feature < layout.FEATURE_COUNT:
            print(f"{feature.name:<20}" + "".join(f"{auc(t.labels, t.features[:, feature]):15.3f}" for t in tasks))
    for rows, task in zip(every, tasks, strict=True):
        x, y, w = both([task])
        model = LogisticRegression(C=1, fit_intercept=False, max_iter=300).fit(z(x), y, sample_weight=w)
        base = task.features[:, IMBALANCE]
        best = auc(task.labels, model.decision_function(z(task.features))) - auc(task.labels, base)
        moves = (rows.mid[rows.at(train.VALUE_S)] != rows.mid)[train.value_labels(rows)[0]]
        there, elsewhere = (auc(task.labels[some], base[some]) for some in (moves, ~moves))
        print(
            f"{rows.name}: all sixteen, linear, on the rows it was fitted to {best:+.3f}; imbalance where the mid "
            f"moves within the second ({moves.mean():.0%}) {there:.3f}, elsewhere {elsewhere:.3f}"
        )
    say("logistic regression on all sixteen", leads(tasks, linear, stops=False))
    say("the same, each market by itself", leads(tasks, linear, own=True, stops=False))
    say("the same, a row every 100 ms", leads(tasks, linear, 100, stops=False))
    say("eight units", leads(tasks, network()))
    say("eight units, each market by itself", leads(tasks, network(), own=True))
    say("eight units, a row every 100 ms", leads(tasks, network(), 100))
    say("eight units, all sixteen features", leads(tasks, network(unused=())))
    say("eight units, weight decay ×10", leads(tasks, network(decay=0.3)))
    say("eight units, started as the regression", leads(tasks, network(start=True)))
    say("the same as `cwts train` does it", leads(tasks, as_trained, stops=False))
    say("the same, each market by itself", leads(tasks, network(start=True), own=True))
    say("eight units, fitted to the return", leads(tasks, network(returns=True)))
    say("the same, started as the regression", leads(tasks, network(returns=True, start=True)))
    say("eight units, mean of ten", leads(tasks, network(seeds=10)))
    say("twice 64 units, all sixteen features", leads(tasks, network(wide=True, unused=())))
    say("boosted trees, all sixteen features", leads(tasks, trees(), stops=False))
    say("boosted trees, without levels", leads(tasks, trees(UNUSED["value"]), stops=False))
    say("boosted trees, a row every 100 ms", leads(tasks, trees(rows=50), 100, stops=False))


if __name__ == "__main__":
    main()
