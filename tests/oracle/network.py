"""The three networks of docs/networks.md in float64, from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np


def outputs(net: Any, features: Any) -> np.ndarray[Any, Any]:
    """A row of outputs for each row of features: standardise, clamp, hidden layer, ReLU, output layer, link."""
    mean, scale, b1, b2 = (np.asarray(net[key], np.float64) for key in ("mean", "scale", "b1", "b2"))
    w1 = np.asarray(net["w1"], np.float64).reshape(16, 8)
    w2 = np.asarray(net["w2"], np.float64).reshape(2, 8)
    limit, count = float(net["limit"]), int(net["outputs"])
    z = np.clip((np.asarray(features, np.float64) - mean) * scale, -limit, limit)
    hidden = np.maximum(z @ w1 + b1, 0)
    out = (hidden @ w2.T + b2)[:, :count]
    if int(net["link"]):
        return 1 / (1 + np.exp(-np.clip(out, -700, 700)))
    return np.clip(out, -1000, 1000)
