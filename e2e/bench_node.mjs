// The benchmark of web/measure.js in Pyodide under Node: node e2e/bench_node.mjs SITE [REPETITIONS]. One JSON object on stdout.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { measure } from "../web/measure.js";

const [site, repetitions = "7"] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(site, "pyodide/pyodide.mjs")).href);
const pyodide = await loadPyodide({ indexURL: join(site, "pyodide"), env: { HOME: "/home/pyodide", TZ: "UTC" } });
await pyodide.loadPackage(["numpy", "cwts"], { messageCallback: () => {} });
const [first] = JSON.parse(readFileSync(join(site, "recordings/recordings.json"), "utf8"));
const file = new Uint8Array(readFileSync(join(site, "recordings", first.file)));
const text = new Uint8Array(gunzipSync(file));
const measured = await measure(pyodide, file, text, first, first.survey, { repetitions: Number(repetitions) });
const machine = { userAgent: `Node ${process.versions.node}, V8 ${process.versions.v8}`, threads: cpus().length, date: new Date().toISOString() };
console.log(JSON.stringify({ recording: first.title, interpreter: `Pyodide ${pyodide.version}`, ...measured, ...machine }));
