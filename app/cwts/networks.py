"""The three networks' weights: a small JSON file, the structs that the kernel runs, and the frames that load them.

Owns the file format and what a valid network is; the arithmetic is the kernel's (`native_ext/kernel/network.c`), what
the outputs mean is said in `docs/networks.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cwts import jsontext
from cwts.errors import InputError
from cwts.kernel import layout
from cwts.recording import FRAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    Network = NDArray[np.void]  # one layout.NETWORK

FORMAT = "cwts-networks-1"
SHIPPED = Path(__file__).with_name("weights") / "networks.json"
OUTPUTS = {"cascade": 2, "whale": 2, "value": 1}  # by layout.NetworkName
LINKS = {"cascade": layout.Link.LOGISTIC, "whale": layout.Link.LOGISTIC, "value": layout.Link.LINEAR}
LARGEST = 1e6  # of any weight: NETWORK_LARGEST
OWN_STREAM = 15  # cwts.transport.sink's: no connection brought the frame


@dataclass(frozen=True)
class Weights:
    """Networks by name (any of `OUTPUTS`), and the card that says what they were trained on and how good they are."""

    networks: Mapping[str, Network]
    card: Mapping[str, Any] = field(default_factory=dict)


def network(
    name: str, *, mean: ArrayLike, scale: ArrayLike, w1: ArrayLike, b1: ArrayLike, w2: ArrayLike, b2: ArrayLike,
    limit: float, seed: int = 0,
) -> Network:  # fmt: skip
    """A `cwts_network`. w1: [input][hidden], w2: [output][hidden]. Raises InputError where the kernel would."""
    outputs = OUTPUTS.get(name, 0)
    if not outputs:
        raise InputError(f"no network {name!r}: expected one of {', '.join(OUTPUTS)}")
    given: dict[str, tuple[ArrayLike, tuple[int, ...], float, float]] = {
        "mean": (mean, (layout.FEATURE_COUNT,), -LARGEST, LARGEST),
        "scale": (scale, (layout.FEATURE_COUNT,), 1e-9, LARGEST),
        "w1": (w1, (layout.FEATURE_COUNT, layout.HIDDEN), -LARGEST, LARGEST),
        "b1": (b1, (layout.HIDDEN,), -LARGEST, LARGEST),
        "w2": (w2, (outputs, layout.HIDDEN), -LARGEST, LARGEST),
        "b2": (b2, (outputs,), -LARGEST, LARGEST),
        "limit": (limit, (), 1e-3, 64.0),
    }
    made = np.zeros((), layout.NETWORK)
    for key, (value, shape, low, high) in given.items():
        try:
            with np.errstate(over="ignore"):  # what becomes infinite is refused below
                array = np.asarray(value, np.float32)
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise InputError(f"{name}.{key}: expected numbers") from None
        if array.shape != shape:
            raise InputError(f"{name}.{key}: expected the shape {shape}, got {array.shape}")
        if not bool(np.all((array >= np.float32(low)) & (array <= np.float32(high)))):
            raise InputError(f"{name}.{key}: every number must be from {low:g} to {high:g}")
        flat = array.reshape(-1)
        if shape:
            made[key][: flat.size] = flat
        else:
            made[key] = array
    if not 0 <= seed < 1 << 32:
        raise InputError(f"{name}.seed: expected a number of 32 bits")
    made["version"], made["outputs"], made["link"], made["seed"] = layout.NETWORK_VERSION, outputs, LINKS[name], seed
    return made


def save(path: Path | str, weights: Weights) -> None:
    """Writes a weights file; float32 as the shortest decimal that reads back as the same bits."""
    lines: list[str] = []
    for name, net in weights.networks.items():
        parts = _as_json(net)
        body = ",\n".join(f"   {json.dumps(key)}: {_numbers(value)}" for key, value in parts.items())
        lines.append(f"  {json.dumps(name)}: {{\n{body}\n  }}")
    card = json.dumps(weights.card, indent=1, ensure_ascii=False).replace("\n", "\n ")
    networks = ",\n".join(lines)
    text = f'{{\n "format": "{FORMAT}",\n "card": {card},\n "networks": {{\n{networks}\n }}\n}}\n'
    Path(path).write_text(text, encoding="utf-8")


def _as_json(net: Network) -> dict[str, Any]:
    outputs = int(net["outputs"])

    def plain(values: NDArray[np.float32]) -> list[float]:
        return [float(str(value)) for value in values]

    return {
        "limit": float(str(net["limit"])),
        "mean": plain(net["mean"]),
        "scale": plain(net["scale"]),
        "w1": [plain(row) for row in net["w1"].reshape(layout.FEATURE_COUNT, layout.HIDDEN)],
        "b1": plain(net["b1"]),
        "w2": [plain(row) for row in net["w2"].reshape(layout.OUTPUTS, layout.HIDDEN)[:outputs]],
        "b2": plain(net["b2"][:outputs]),
        "seed": int(net["seed"]),
    }


def _numbers(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "]"
    return json.dumps(value)


def parse(text: str | bytes, name: str = "weights") -> Weights:
    """Reads the text of a weights file. Raises InputError."""
    try:
        found = jsontext.parse(text)
    except ValueError as error:
        raise InputError(f"{name}: not JSON ({error})") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("networks"), dict):
        raise InputError(f"{name}: expected a weights file of the format {FORMAT}")
    networks: dict[str, Network] = {}
    wanted = {"mean", "scale", "w1", "b1", "w2", "b2", "limit"}
    for key, parts in found["networks"].items():
        if not isinstance(parts, dict) or not wanted <= set(parts) <= wanted | {"seed"}:
            raise InputError(f"{name}: {key}: expected {', '.join(sorted(wanted))}")
        try:
            seed = int(parts.get("seed", 0))
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{name}: {key}.seed: expected a number of 32 bits") from None
        try:
            networks[key] = network(key, **{**parts, "seed": seed})
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    card = found.get("card")
    return Weights(networks, card if isinstance(card, dict) else {})


def load(path: Path | str = SHIPPED) -> Weights:
    """Reads a weights file. Raises InputError."""
    try:
        return parse(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def card_words(weights: Weights) -> list[str]:
    """What the card says, a line each: trained on, held out, and how well each network did there."""
    card, lines = weights.card, []
    trained = card.get("trained_on")
    if isinstance(trained, list) and trained:
        lines.append(f"trained on {'; '.join(map(str, trained))}")
    if card.get("held_out"):
        lines.append(f"held out: {card['held_out']}")
    told = card.get("networks")
    for name in weights.networks:
        found = told.get(name) if isinstance(told, dict) else None
        auc, rows, what = (
            (found.get(key) for key in ("auc", "rows", "ships")) if isinstance(found, dict) else [None] * 3
        )
        words = "the card does not say how good it is"
        if isinstance(auc, list) and len(auc) == 3 and all(isinstance(each, float | int) for each in auc):
            words = f"AUC {auc[0]:.3f} ({auc[1]:.3f} to {auc[2]:.3f})"
            words += f" on {rows:,} held-out rows" if isinstance(rows, int) else ""
        lines.append(f"{name}: {words}{f'; {what}' if isinstance(what, str) else ''}")
    return lines


def load_command(name: str, net: Network | None) -> bytes:
    """The payload of a command frame that loads a network; None: that takes it out."""
    command = np.zeros((), layout.NETWORK_COMMAND)
    command["op"] = layout.CommandOp.LOAD_NETWORK
    command["index"] = layout.NetworkName[name.upper()]
    if net is not None:
        command["network"] = net
    return command.tobytes()


def load_payloads(which: str) -> tuple[bytes, ...]:
    """The commands that load the networks of `Settings.networks`. Raises InputError."""
    return tuple(load_command(name, net) for name, net in _chosen(which).items())


def replace_payloads(which: str) -> tuple[bytes, ...]:
    """The same for an engine that runs: networks that these do not have are taken out. Raises InputError."""
    networks = _chosen(which)
    return tuple(load_command(name, networks.get(name)) for name in OUTPUTS)


def _chosen(which: str) -> Mapping[str, Network]:
    if which == "none":
        return {}
    return load(SHIPPED if which == "shipped" else which).networks


def command_frames(payloads: Iterable[bytes], recv_ns: int = 0) -> bytes:
    """Command frames: what a session begins with. At time 0 they move no clock."""
    frames = bytearray()
    for payload in payloads:
        frames += FRAME.pack(recv_ns, len(payload), OWN_STREAM, int(layout.Kind.COMMAND)) + payload
        frames += bytes(-len(payload) % 8)
    return bytes(frames)


def load_frames(weights: Weights, recv_ns: int = 0) -> bytes:
    """Command frames that load every network of `weights`."""
    return command_frames((load_command(name, net) for name, net in weights.networks.items()), recv_ns)
