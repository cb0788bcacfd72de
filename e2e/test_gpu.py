"""The networks' shader as Chromium compiles and runs it, on its software adapter; and what happens without a GPU.

SIMD, where the page falls back to it, is the kernel in Pyodide, by the functions that the engine worker has.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cwts import networks
from cwts.gpu import base, history
from cwts.gpu.simd_host import SimdNetworks
from cwts.kernel import Engine
from cwts.recording import Recording
from cwts.replay import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

USDM = "binance-usdm-btcusdt-20240808.gz"

# Runs a batch as the page would. `how`: options of runNetworks; `spoil`: when the device is lost, if at all.
RUN = """async ({weights, features, how, spoil}) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const {GpuNetworks, runNetworks} = await import("/gpu.js");
  const rows = new Float32Array(bytes(features).buffer);
  const told = [];
  const simd = globalThis.simd ?? (() => new Float32Array(rows.length / 16 * 5));
  if (spoil) {
    const {run, pass} = GpuNetworks.prototype;
    GpuNetworks.prototype[spoil] = async function (...values) {
      if (spoil === "run") this.device.destroy();
      const done = (spoil === "run" ? run : pass).apply(this, values);
      if (spoil === "pass") this.device.destroy();
      return done;
    };
  }
  const found = await runNetworks(bytes(weights), rows, {...how, simd, tell: (message) => told.push(message)});
  let text = "";
  for (const byte of new Uint8Array(found.answers.buffer)) text += String.fromCharCode(byte);
  return {answers: btoa(text), by: found.by, told};
}"""

# The engine worker's Python in the page itself: `simd` is the kernel over the rows of the recording.
PYTHON = """async () => {
  const {loadPyodide} = await import("/pyodide/pyodide.mjs");
  const pyodide = await loadPyodide({indexURL: "/pyodide/", packages: ["numpy", "cwts"]});
  const data = new Uint8Array(await (await fetch("/recordings/%s")).arrayBuffer());
  pyodide.FS.mkdirTree("/recording");
  pyodide.FS.writeFile("/recording/file", data);
  const python = pyodide.pyimport("cwts.browser");
  const opened = JSON.parse(python.open_recording("r", "binance-usdm", "BTCUSDT", () => {}, ""));
  if (opened.error) throw new Error(opened.error);
  const history = python.History(100);
  const reading = history.read();
  while (!reading.next().done);
  const made = JSON.parse(history.found());
  const heap = () => pyodide._module.HEAPU8;
  globalThis.simd = () => {
    const at = history.simd();
    return new Float32Array(heap().slice(at, at + made.rows * 20).buffer);
  };
  const text = (at, size) => {
    let said = "";
    for (const byte of heap().subarray(at, at + size)) said += String.fromCharCode(byte);
    return btoa(said);
  };
  return {
    times: text(made.times, made.rows * 8), features: text(made.features, made.rows * 64),
    weights: text(made.weights, made.weightBytes),
  };
}"""


@contextmanager
def page_with(launch: Callable[..., Browser], address: str, arguments: list[str]) -> Iterator[Page]:
    """A page of the site's that does nothing by itself, in a browser of its own."""
    browser = launch(*arguments)
    page = browser.new_page()
    page.goto(f"{address}/gpu/networks.wgsl")
    yield page
    browser.close()


@pytest.fixture
def page(launch: Callable[..., Browser], address: str, software_gpu: list[str]) -> Iterator[Page]:
    with page_with(launch, address, software_gpu) as page:
        yield page


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def run(page: Page, weights: bytes, rows: Any, spoil: str = "", **how: object) -> tuple[Any, str, list[str]]:
    given = {"weights": text(weights), "features": text(rows.tobytes()), "how": {"software": True, **how}}
    found = page.evaluate(RUN, {**given, "spoil": spoil})
    answers = np.frombuffer(base64.b64decode(found["answers"]), np.float32).reshape(-1, 5)
    return answers, found["by"], found["told"]


def some_weights(seed: int, *names: str) -> bytes:
    rng = np.random.default_rng(seed)
    made = {
        name: networks.network(
            name, mean=rng.normal(size=16), scale=np.exp(rng.normal(size=16)), w1=rng.normal(size=(16, 8)) / 4,
            b1=rng.normal(size=8), w2=rng.normal(size=(count, 8)) * (5 if name == "value" else 0.5),
            b2=rng.normal(size=count), limit=4.0,
        )
        for name, count in networks.OUTPUTS.items() if name in names
    }  # fmt: skip
    return base.packed(networks.Weights(made))


@pytest.fixture(scope="module")
def recorded(data: Path) -> tuple[Any, Any]:
    setup = prepare(Recording(data / USDM), "binance-usdm", "BTCUSDT")
    return history.features_on_grid(Recording(data / USDM).batches(), Engine(setup.config), 100)


def assert_agreement(answers: Any, weights: bytes, rows: Any) -> None:
    found = history.agreement(answers, SimdNetworks().run(weights, rows))
    assert found["agrees"], found


def test_the_shader_agrees_with_the_kernel(page: Page) -> None:
    for names in (("cascade", "whale", "value"), ("whale",), ("cascade", "value"), ()):
        for count in (1, 65, 5000):
            weights = some_weights(count, *names)
            rows = (np.random.default_rng(count).normal(size=(count, 16)) * 2).astype(np.float32)
            answers, by, told = run(page, weights, rows)
            assert by.startswith("WebGPU (")
            assert not told
            assert_agreement(answers, weights, rows)


def test_the_page_s_own_history_agrees(page: Page, recorded: tuple[Any, Any]) -> None:
    """Rows from the kernel in Pyodide have the bits of the native ones; GPU and SIMD agree on them."""
    times, rows = recorded
    made = {name: base64.b64decode(value) for name, value in page.evaluate(PYTHON % USDM).items()}
    assert made["times"] == times.tobytes()
    assert made["features"] == rows.tobytes()
    weights = base.packed(networks.load())
    assert made["weights"] == weights
    answers, by, _ = run(page, weights, rows)
    assert by.startswith("WebGPU (")
    assert_agreement(answers, weights, rows)
    answers, by, told = run(page, weights, rows, "pass")
    assert (by, len(told)) == ("SIMD", 1)
    assert answers.tobytes() == SimdNetworks().run(weights, rows).tobytes()


ROWS = np.ones((10, 16), np.float32)


@pytest.mark.parametrize("spoil", ["run", "pass"])
def test_a_lost_device_is_said_once_and_simd_finishes(page: Page, spoil: str) -> None:
    answers, by, told = run(page, some_weights(1, "cascade"), ROWS, spoil)
    assert (by, answers.shape) == ("SIMD", (10, 5))
    assert len(told) == 1
    assert told[0].startswith("the GPU failed: ")
    assert told[0].endswith("; the work is done by SIMD")


def test_a_shader_that_does_not_compile_is_said_once_and_simd_works(page: Page) -> None:
    _, by, told = run(page, some_weights(1, "cascade"), ROWS, shader="fn run run() {}")
    assert by == "SIMD"
    assert len(told) == 1
    assert told[0].startswith("the GPU refuses the shader: line 1: ")


def test_a_software_adapter_is_not_used_unless_asked_for(page: Page) -> None:
    _, by, told = run(page, some_weights(1, "cascade"), ROWS, software=False)
    assert by == "SIMD"
    assert len(told) == 1
    assert told[0].startswith("the only GPU adapter is software (")


def test_without_an_adapter_simd_works(launch: Callable[..., Browser], address: str, no_gpu: list[str]) -> None:
    with page_with(launch, address, no_gpu) as page:
        _, by, told = run(page, some_weights(1, "cascade"), ROWS)
    assert by == "SIMD"
    assert told in (
        ["no GPU adapter was found; the work is done by SIMD"],
        ["this browser has no WebGPU; the work is done by SIMD"],
    )
