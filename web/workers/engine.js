// The engine worker: Pyodide with the kernel. Drains the ring into the wasm heap with one copy, feeds it with one call,
// and lets the page see the result. No message and no state crosses as a Python object.

import { loadPyodide } from "/pyodide/pyodide.mjs";
import { LAYOUT } from "../layout.js";
import { Latency } from "../latency.js";
import { MirrorWriter, NUMBERS } from "../mirror.js";
import { clock, PortReader, RingReader } from "../ring.js";
import { answer, oneLine, Refusal } from "../rpc.js";

/** @typedef {import("../ring.js").Reader} Reader */

const BATCH_BYTES = 1 << 17; // what one call feeds at most: a few milliseconds of work
const SLICE_MS = 8; // how long the loop runs before it listens, and how often it publishes
const STATISTICS_MS = 250;
const POINT_MS = 100; // of the market's time, between points of the chart
const HEADER_BYTES = 16;
const COMMAND_FRAME = 2;

/** @type {any} */
let pyodide;
/** The functions of cwts.browser. @type {any} */
let python;
/** @type {MirrorWriter} */
let mirror;
/** @type {Reader | null} */
let reader = null;
let session = 0;
let input = 0;
let inputBytes = 0;
let block = 0;
let blockBytes = 0;

const queue = new Latency();
const feeding = new Latency();
const total = new Latency();
let fed = { frames: 0, ms: 0, calls: 0, since: 0 };
let lastPoint = -Infinity;

/** @param {any} message @param {Transferable[]} [transfer] */
function tell(message, transfer = []) {
  /** @type {any} */ (globalThis).postMessage(message, transfer);
}

/** The wasm memory; its views detach whenever it grows, so this is asked for each time. @returns {Uint8Array} */
function heap() {
  return pyodide._module.HEAPU8;
}

/** @type {DataView} */
let view = new DataView(new ArrayBuffer(0));
function memory() {
  const { buffer } = heap();
  if (view.buffer !== buffer) view = new DataView(buffer);
  return view;
}

/** @param {number} address of an int64 @returns {number} rounded to a double */
function int64(address) {
  const data = memory();
  return data.getInt32(address + 4, true) * 4294967296 + data.getUint32(address, true);
}

/**
 * @param {{shared: SharedArrayBuffer | null}} options
 * @param {MessagePort} feedPort from the feed worker
 */
async function init({ shared }, feedPort) {
  mirror = new MirrorWriter(shared, tell);
  tell({ progress: 0.05, what: "Python for WebAssembly" });
  pyodide = await loadPyodide({ indexURL: "/pyodide/", env: { HOME: "/home/pyodide", TZ: "UTC" } });
  tell({ progress: 0.6, what: "NumPy and the kernel" });
  const errors = /** @type {string[]} */ ([]);
  await pyodide.loadPackage(["numpy", "cwts"], {
    messageCallback: () => {},
    errorCallback: (/** @type {string} */ line) => errors.push(line),
  });
  if (errors.length > 0) throw new Refusal(errors[errors.length - 1]);
  tell({ progress: 0.85, what: "the engine" });
  const module = pyodide.pyimport("cwts.browser");
  const names = ["feed", "open_recording", "upload_address", "large_address", "feed_large", "rewind", "next_text", "block_sha256", "book_sha256"];
  python = Object.fromEntries(names.map((name) => [name, module[name]]));
  input = module.input_address();
  inputBytes = module.INPUT_BYTES;
  module.destroy();
  feedPort.start();
  answer(feedPort, { text: nextText, rewind: () => python.rewind(), frame: feedLarge });
  return { engine: `Pyodide ${pyodide.version}, SIMD128` };
}

/** @param {Blob} recording @param {string} name @param {string} exchange @param {string} symbol */
async function open(recording, name, exchange, symbol) {
  await close();
  const bytes = new Uint8Array(await recording.arrayBuffer());
  const address = python.upload_address(bytes.length);
  heap().set(bytes, address);
  let told = 0;
  const watch = (/** @type {number} */ share) => {
    if (share - told < 0.05) return;
    told = share;
    tell({ progress: share, what: "first pass over the recording" });
  };
  const found = JSON.parse(python.open_recording(name, exchange, symbol, watch));
  if (found.error !== undefined) {
    throw new Refusal(found.error);
  }
  block = found.block;
  blockBytes = found.blockBytes;
  for (const stage of [queue, feeding, total]) stage.clear();
  fed = { frames: 0, ms: 0, calls: 0, since: clock() };
  lastPoint = -Infinity;
  publish();
  const { fields } = LAYOUT.cwts_config;
  const config = new DataView(heap().slice(block + LAYOUT.cwts_block.fields.config.offset).buffer, 0, LAYOUT.cwts_config.size);
  return {
    ...found,
    enter: config.getFloat32(fields.enter.offset, true),
    exit: config.getFloat32(fields.exit.offset, true),
    weights: Array.from({ length: fields.weights.count }, (_, at) => config.getFloat32(fields.weights.offset + at * 4, true)),
    capital: Number(config.getBigInt64(fields.capital_e8.offset, true)),
    contractSize: Number(config.getBigInt64(fields.contract_size_e8.offset, true)) / 1e8,
    orderLatencyMs: Number(config.getBigInt64(fields.order_latency_ns.offset, true)) / 1e6,
  };
}

/** Ends the session that runs, if one does; its frames are forgotten. */
async function close() {
  session += 1;
  reader = null;
}

/** @param {SharedArrayBuffer | MessagePort} source where frames come from */
function start(source) {
  reader = source instanceof MessagePort ? new PortReader(source) : new RingReader(source);
  const mine = ++session;
  run(reader, mine).catch((error) => {
    if (mine === session) tell({ failed: oneLine(error) });
  });
}

/** @param {Reader} from @param {number} mine */
async function run(from, mine) {
  let published = 0;
  let yielded = clock();
  let dirty = true;
  while (mine === session) {
    const bytes = from.drain(heap(), input, Math.min(BATCH_BYTES, inputBytes));
    if (bytes > 0) {
      const began = clock();
      python.feed(bytes);
      const ended = clock();
      measure(from, ended - began);
      chart();
      dirty = true;
      if (ended - published > SLICE_MS) {
        publish();
        published = ended;
        dirty = false;
      }
      if (ended - yielded > SLICE_MS) {
        await breath();
        yielded = clock();
      }
      continue;
    }
    if (from.ended) break;
    if (dirty) {
      publish();
      published = clock();
      dirty = false;
    }
    await from.wait(STATISTICS_MS);
    yielded = clock();
    if (yielded - fed.since > STATISTICS_MS) dirty = true;
  }
  if (mine !== session) return;
  publish();
  tell({ ended: true });
}

/** Lets messages in. @returns {Promise<void>} */
function breath() {
  return new Promise((resolve) => {
    breathing.port1.onmessage = () => resolve();
    breathing.port2.postMessage(0);
  });
}
const breathing = new MessageChannel();

/** @param {Reader} from @param {number} ms what the call took */
function measure(from, ms) {
  for (let at = 0; at < from.waitCount; at++) {
    queue.add(from.waits[at] * 1000);
    total.add((from.waits[at] + ms) * 1000);
  }
  feeding.add((ms * 1000) / from.frames);
  fed.frames += from.frames;
  fed.ms += ms;
  fed.calls += 1;
}

const SNAPSHOT = LAYOUT.cwts_block.fields.published.offset + LAYOUT.cwts_published.fields.snapshot.offset;
const FIELD = LAYOUT.cwts_snapshot.fields;

/** Adds a point to the chart when the market's time has moved on enough. */
function chart() {
  const at = block + SNAPSHOT;
  const time = int64(at + FIELD.now_ns.offset) / 1e6;
  if (Math.abs(time - lastPoint) < POINT_MS) return;
  lastPoint = time;
  const synced = memory().getUint32(at + FIELD.synced.offset, true) === 1;
  const mid = int64(at + FIELD.mid_e8.offset);
  const score = memory().getFloat32(at + FIELD.score.offset, true);
  mirror.point(time, synced && mid > 0 ? mid : NaN, int64(at + FIELD.equity_e8.offset), score);
}

function publish() {
  if (block === 0) return;
  const { slot } = mirror;
  slot.fill(heap(), block);
  const now = clock();
  if (now - fed.since > STATISTICS_MS || fed.since === 0) refresh(now);
  slot.numbers.set(numbers);
  mirror.publish();
}

const numbers = new Float64Array(NUMBERS.length);

/** @param {number} now */
function refresh(now) {
  const elapsed = now - fed.since;
  const values = {
    queueP50: queue.percentiles()[0], queueP99: queue.percentiles()[1],
    feedP50: feeding.percentiles()[0], feedP99: feeding.percentiles()[1],
    totalP50: total.percentiles()[0], totalP99: total.percentiles()[1],
    feedMean: fed.frames > 0 ? (fed.ms * 1000) / fed.frames : numbers[NUMBERS.indexOf("feedMean")],
    batch: fed.calls > 0 ? fed.frames / fed.calls : 0,
    heapBytes: heap().length,
    busy: elapsed > 0 ? fed.ms / elapsed : 0,
    blockBytes,
  };
  NUMBERS.forEach((name, at) => {
    numbers[at] = values[name];
  });
  fed = { frames: 0, ms: 0, calls: 0, since: now };
}

/** An instruction of ours, as a frame like any other. @param {number} op @param {number} value */
function command(op, value) {
  if (block === 0) throw new Refusal("no engine is running yet");
  const data = memory();
  const now = data.getBigInt64(block + LAYOUT.cwts_block.fields.header.offset + LAYOUT.cwts_header.fields.now_ns.offset, true);
  data.setBigInt64(input, now, true);
  data.setUint32(input + 8, LAYOUT.cwts_command.size, true);
  data.setUint16(input + 12, 0, true);
  data.setUint16(input + 14, COMMAND_FRAME, true);
  data.setUint32(input + HEADER_BYTES, op, true);
  data.setUint32(input + HEADER_BYTES + 4, value, true);
  const events = python.feed(HEADER_BYTES + LAYOUT.cwts_command.size);
  publish();
  return events;
}

/** A frame too large for the ring. @param {Uint8Array} frame */
function feedLarge(frame) {
  const address = python.large_address(frame.length);
  heap().set(frame, address);
  python.feed_large();
}

/** The next piece of text of a recording that only Python can decompress. @returns {Uint8Array | null} */
function nextText() {
  const piece = python.next_text();
  if (piece === undefined || piece === null) return null;
  const bytes = piece.toJs();
  piece.destroy();
  return bytes;
}

answer(/** @type {any} */ (globalThis), {
  init, open, close, start, command,
  acknowledge: () => mirror.acknowledged(),
  bookSha256: () => python.book_sha256(),
  blockSha256: () => python.block_sha256(),
});
