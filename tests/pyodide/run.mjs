// Runs the pytest suite inside Pyodide in Node, on the site that `make site` built: the same interpreter and the same
// wheels that the page loads. Arguments go to pytest; the exit code is pytest's.

import { existsSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const PYODIDE = join(ROOT, "build/site/pyodide");
const WHEELS = join(ROOT, "build/pyodide-tests");
const MOUNT = "/cwts"; // where the suite sees the repository

for (const [needed, target] of [[join(PYODIDE, "pyodide.mjs"), "site"], [WHEELS, "test-pyodide"]]) {
  if (!existsSync(needed)) {
    console.error(`tests/pyodide: ${needed} is missing: run make ${target}`);
    process.exit(2);
  }
}

/** @param {number} descriptor @returns {(bytes: Uint8Array) => number} */
function writer(descriptor) {
  return (bytes) => {
    let written = 0;
    while (written < bytes.length) {
      try {
        written += writeSync(descriptor, bytes, written);
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EAGAIN") throw error; // a pipe that is full for now
      }
    }
    return bytes.length;
  };
}

// An uncaught error would print pyodide.asm.mjs, which is one line of a megabyte.
process.on("uncaughtException", (error) => {
  console.error(`tests/pyodide: ${error.message}`);
  process.exit(3);
});

const { loadPyodide } = await import(pathToFileURL(join(PYODIDE, "pyodide.mjs")).href);
const pyodide = await loadPyodide({
  indexURL: PYODIDE,
  env: { CWTS_ENGINE: "pyodide", HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1", TZ: "UTC" },
});
pyodide.setStdout({ write: writer(1) });
pyodide.setStderr({ write: writer(2) });
await pyodide.loadPackage(["numpy", "cwts"], { messageCallback: () => {} });
const extractDir = pyodide.runPython("import site; site.getsitepackages()[0]");
for (const name of readdirSync(WHEELS).sort()) {
  const bytes = new Uint8Array(readFileSync(join(WHEELS, name))); // a Buffer is refused
  pyodide.unpackArchive(bytes, "wheel", { extractDir });
}
pyodide.mountNodeFS(MOUNT, ROOT);

pyodide.globals.set("arguments", pyodide.toPy(process.argv.slice(2)));
const code = pyodide.runPython(`
import importlib, os
os.chdir("${MOUNT}")
importlib.invalidate_caches()
import pytest
int(pytest.main(["-p", "no:cacheprovider", *arguments]))
`);
process.exit(code);
