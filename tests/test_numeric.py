"""native_ext/kernel/numeric.h against Python's math, over wide ranges: the kernel has no libm."""

from __future__ import annotations

import ctypes
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [pytest.mark.native, pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")]

KERNEL = Path(__file__).resolve().parents[1] / "native_ext" / "kernel"
NAMES = ("exponential", "logarithm", "hyperbolic_tangent", "square_root")


@pytest.fixture(scope="module")
def numeric(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("numeric")
    source = '#include "numeric.h"\n' + "".join(f"double n_{n}(double x) {{ return {n}(x); }}\n" for n in NAMES)
    (folder / "n.c").write_text(source + "double n_power(double x, double y) { return power(x, y); }\n")
    flags = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", f"-I{KERNEL}", "-shared", "-fPIC"]
    library = folder / "n.so"
    subprocess.run(["gcc", *flags, str(folder / "n.c"), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name in (*NAMES, "power"):
        function = getattr(loaded, f"n_{name}")
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_double] * (2 if name == "power" else 1)
    return loaded


def worst(found: Iterable[float], want: Iterable[float]) -> float:
    """Largest relative error."""
    return max(abs(a - b) / abs(b) if b else abs(a) for a, b in zip(found, want, strict=True))


def spread(low: float, high: float, count: int = 20_000) -> list[float]:
    rng = random.Random(1)
    return [rng.uniform(low, high) for _ in range(count)]


def test_exponential(numeric: ctypes.CDLL) -> None:
    for low, high in ((-700, 700), (-1, 1), (-1e-9, 1e-9)):
        xs = spread(low, high)
        assert worst(map(numeric.n_exponential, xs), map(math.exp, xs)) < 1e-15
    assert numeric.n_exponential(0.0) == 1
    assert numeric.n_exponential(-1e9) == numeric.n_exponential(-700.0) > 0
    assert numeric.n_exponential(math.inf) == numeric.n_exponential(700.0) < math.inf


def test_logarithm(numeric: ctypes.CDLL) -> None:
    for xs in ([math.exp(x) for x in spread(-700, 700)], spread(0.5, 2), [1 + x for x in spread(-1e-6, 1e-6)]):
        assert worst(map(numeric.n_logarithm, xs), map(math.log, xs)) < 1e-15
    assert numeric.n_logarithm(1.0) == 0
    for bad in (0.0, -1.0, 5e-324, math.inf, math.nan):
        assert numeric.n_logarithm(bad) == 0


def test_hyperbolic_tangent(numeric: ctypes.CDLL) -> None:
    """Near 0 the error is absolute: 1 - e^(-2x) loses what x has below 1e-16."""
    for low, high in ((-700, 700), (-20, 20), (-1, 1)):
        xs = spread(low, high)
        assert max(abs(numeric.n_hyperbolic_tangent(x) - math.tanh(x)) for x in xs) < 4e-16
    assert [numeric.n_hyperbolic_tangent(x) for x in (0.0, 1e9, -1e9)] == [0, 1, -1]


def test_power_and_square_root(numeric: ctypes.CDLL) -> None:
    """x^y is e^(y ln x): its error grows with the exponent of the result."""
    xs, ys = spread(0.01, 100), spread(-10, 10)[::-1]
    found = [numeric.n_power(x, y) for x, y in zip(xs, ys, strict=True)]
    assert worst(found, map(math.pow, xs, ys)) < 2e-14
    assert all(numeric.n_square_root(x) == math.sqrt(x) for x in xs)
