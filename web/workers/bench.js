// The benchmark's worker: the interpreter, the recording, and one measurement when it is asked for.

import { loadPyodide } from "/pyodide/pyodide.mjs";
import { measure } from "../measure.js";
import { answer } from "../rpc.js";

/** @param {number | undefined} repetitions */
async function run(repetitions) {
  const tell = (/** @type {string} */ what) => /** @type {any} */ (globalThis).postMessage({ what });
  tell("loading Python and the recording");
  const load = loadPyodide({ indexURL: "/pyodide/", env: { HOME: "/home/pyodide", TZ: "UTC" }, packages: ["numpy", "cwts"] });
  const [first] = await (await fetch("/recordings/recordings.json")).json();
  const file = await (await fetch(`/recordings/${first.file}`)).blob();
  const text = new Response(file.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const pyodide = await load;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const result = await measure(pyodide, bytes, new Uint8Array(await text), first, first.survey, { repetitions, tell });
  return { recording: first.title, interpreter: `Pyodide ${pyodide.version}`, ...result };
}

answer(/** @type {any} */ (globalThis), { run });
