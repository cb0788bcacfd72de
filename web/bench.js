// The benchmark's page: runs it once, shows it as a table, and leaves the numbers in `cwtsBench` for a driver.

import { Caller, oneLine } from "./rpc.js";
import { worker } from "./session.js";
import { byId, make, text } from "./view/dom.js";

const NAMES = /** @type {Record<string, string>} */ ({
  engine: "CWTS: bytes to book, signals, decision, paper account",
  map: "JavaScript: JSON.parse and a Map",
  sorted: "JavaScript: JSON.parse and sorted arrays",
});

const repetitions = Number(new URLSearchParams(location.search).get("repetitions")) || undefined;
const caller = new Caller(worker("bench"), (event) => text(byId("what"), event.what));

async function run() {
  const measured = await caller.call("run", [repetitions]);
  const result = { ...measured, userAgent: navigator.userAgent, threads: navigator.hardwareConcurrency, date: new Date().toISOString() };
  for (const [set, count] of Object.entries(result.messages)) {
    for (const [name, ns] of Object.entries(result.ns[set])) {
      const [least, most] = result.spread[set][name];
      const ratio = name === "engine" ? "" : `${result.ratio[set][name]} ×`;
      const cells = [`${NAMES[name]}, ${set === "all" ? "all" : "book"} messages`, count, ns, `${least} – ${most}`, ratio];
      byId("rows").append(make("tr", "", ...cells.map((cell, at) => make("td", at > 0 ? "right" : "", at > 0 ? cell.toLocaleString("en") : String(cell)))));
    }
  }
  text(byId("what"), `${result.recording}; median of ${result.repetitions} rounds; ${result.interpreter}; ${result.userAgent}`);
  return result;
}

const result = run();
result.catch((error) => text(byId("what"), oneLine(error)));
Object.defineProperty(globalThis, "cwtsBench", { value: result });
