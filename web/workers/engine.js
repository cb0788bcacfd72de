// The engine worker: Pyodide with the kernel. Drains the ring into the wasm heap with one copy, feeds it with one call,
// and lets the page see the result. No message and no state crosses as a Python object.

import { loadPyodide } from "/pyodide/pyodide.mjs";
import { ENUMS, LAYOUT } from "../layout.js";
import { Latency } from "../latency.js";
import { MirrorWriter, NUMBERS } from "../mirror.js";
import { clock, HEADER_BYTES, PortReader, RingReader } from "../ring.js";
import { answer, Caller, oneLine, Refusal } from "../rpc.js";
import { breath } from "./breath.js";
import { Driver } from "./driver.js";
import { History } from "./history.js";
import { Tape } from "./tape.js";

/** @typedef {import("../ring.js").Reader} Reader */

const BATCH_BYTES = 1 << 17; // what one call feeds at most: a few milliseconds of work
const PUBLISH_MS = 8; // how often the page may see a new state: twice a frame
const LISTEN_MS = 250; // how long the loop runs before it listens, if nobody knocks: what comes meanwhile waits
const PORT_LISTEN_MS = 25; // the same without shared memory, where frames too come as messages
const LOST_MS = 200; // a knock without a message, which does not happen, is believed for so long
const STATISTICS_MS = 250;
const HEALTH_MS = 250; // how often the page hears how the connections are: when nothing waits, as Python takes its time
const HEALTH_LATE_MS = 1000; // or after this, if something always waits
const POINT_MS = 100; // of the market's time, between points of the chart

const FOLDER = "/recording"; // where cwts.browser finds the recording as a file
const URGENT = ENUMS.cwts_event.SYNCED | ENUMS.cwts_event.GAP | ENUMS.cwts_event.ACTION | ENUMS.cwts_event.FILL;

/** @type {any} */
let pyodide;
/** The module cwts.browser. @type {any} */
let python;
/** `cwts_feed` itself: a call through Python takes five times as long. @type {(block: number, frames: number, bytes: number) => number} */
let kernelFeed;
/** What drives a live session; null while a recording plays. @type {Driver | null} */
let driver = null;
/** What records the live session; null: nobody does. @type {Tape | null} */
let tape = null;
/** How live sessions are recorded; null: not at all. @type {import("../groups.js").Limits | null} */
let recording = null;
/** The recorder worker. @type {Caller} */
let store;
/** The networks over the whole recording, beside what plays. */
const history = new History(heap, tell);
/** @type {MessagePort} to the feed worker */
let feedPort;
/** @type {MirrorWriter} */
let mirror;
let session = 0;
let mounted = false;
/** Messages that this thread has heard since the session began. */
let heard = 0;
const heardOne = () => {
  heard += 1;
};
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
 * @param {{shared: SharedArrayBuffer | null, kept: object | null}} options `kept`: settings, as the page kept them
 * @param {MessagePort} port from the feed worker @param {MessagePort} storePort to the recorder worker
 */
async function init({ shared, kept }, port, storePort) {
  feedPort = port;
  store = new Caller(storePort, () => {});
  storePort.start();
  mirror = new MirrorWriter(shared, tell);
  tell({ progress: 0.05, what: "Python for WebAssembly" });
  const errors = /** @type {string[]} */ ([]);
  const wheels = ["numpy", "cwts"]; // fetched while Python starts
  pyodide = await loadPyodide({ indexURL: "/pyodide/", env: { HOME: "/home/pyodide", TZ: "UTC" }, packages: wheels });
  tell({ progress: 0.6, what: "NumPy and the kernel" });
  const options = { messageCallback: () => {}, errorCallback: (/** @type {string} */ line) => errors.push(line) };
  await pyodide.loadPackage(wheels, options); // does nothing, unless one of them failed: then it says why
  if (errors.length > 0) throw new Refusal(errors[errors.length - 1]);
  python = pyodide.pyimport("cwts.browser");
  input = python.input_address();
  inputBytes = python.INPUT_BYTES;
  kernelFeed = pyodide._module.wasmTable.get(python.feed_address());
  pyodide.FS.mkdirTree(FOLDER);
  feedPort.addEventListener("message", heardOne);
  feedPort.start();
  answer(feedPort, { piece: nextPiece, rewind: () => python.rewind(), frame: feedLarge });
  const chosen = choose(kept ? { kept } : {});
  return { engine: `Pyodide ${pyodide.version}, SIMD128`, settings: JSON.parse(python.settings_list()), chosen };
}

/**
 * @param {Blob} file @param {string} name @param {string} exchange @param {string} symbol
 * @param {{sha256: string, survey: object} | undefined} known what the first pass over exactly these bytes found
 */
async function open(file, name, exchange, symbol, known) {
  close();
  const { FS } = pyodide;
  if (mounted) FS.unmount(FOLDER);
  mounted = false;
  FS.mount(FS.filesystems.WORKERFS, { blobs: [{ name: "file", data: file }] }, FOLDER);
  mounted = true;
  let told = 0;
  const watch = (/** @type {number} */ share) => {
    if (share - told < 0.05) return;
    told = share;
    tell({ progress: share, what: "first pass over the recording" });
  };
  const survey = known && (await sha256(file)) === known.sha256 ? JSON.stringify(known.survey) : "";
  const found = JSON.parse(python.open_recording(name, exchange, symbol, watch, survey));
  return opened(found);
}

/** A fresh engine is there. @param {any} found what Python says of it */
function opened(found) {
  if (found.error !== undefined) throw new Refusal(found.error);
  block = found.block;
  blockBytes = found.blockBytes;
  for (const stage of [queue, feeding, total]) stage.clear();
  numbers.fill(0);
  fed = { frames: 0, ms: 0, calls: 0, since: clock() };
  lastPoint = -Infinity;
  publish();
  const { fields } = LAYOUT.cwts_config;
  const config = new DataView(heap().buffer, block + LAYOUT.cwts_block.fields.config.offset, LAYOUT.cwts_config.size);
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

/**
 * What to ask an exchange before `openLive`; without a symbol, what lists its instruments.
 * @param {string} exchange @param {string} symbol @param {string} origin a host that stands for the exchange, or nothing
 */
function questions(exchange, symbol, origin) {
  const found = JSON.parse(python.questions(exchange, symbol, origin));
  if (found.error !== undefined) throw new Refusal(found.error);
  return found;
}

/**
 * @param {string} exchange @param {string} symbol @param {string} origin @param {string} capital
 * @param {import("./sockets.js").Answer[]} answers rules and book
 */
function openLive(exchange, symbol, origin, capital, answers) {
  close();
  const given = answers.map(({ status, body, why }) => pyodide.toPy([status, body, why]));
  try {
    const found = opened(JSON.parse(python.open_live(exchange, symbol, origin, capital, ...given)));
    driver = new Driver({ session: python.live(), heap, drained: found.drained, input, inputBytes, feed, act: () => {} });
    if (recording) beginTape(recording, true).catch(() => {}); // the page hears of it
    return found;
  } finally {
    for (const each of given) each.destroy();
  }
}

/** @param {Blob} file @returns {Promise<string>} */
async function sha256(file) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Ends the session that runs, if one does; its frames are forgotten. @returns {Promise<void>} when its recording is a whole file */
async function close() {
  session += 1;
  history.cancel("another recording was opened");
  driver?.destroy();
  driver = null;
  await endTape();
}

/** @param {import("../groups.js").Limits} limits @param {boolean} fresh nothing has been fed yet */
function beginTape(limits, fresh) {
  tape = new Tape({ made: python.Tape(), heap, store, limits });
  python.tap_with(take);
  return tape.begin(fresh);
}

/** @returns {Promise<void>} when all is written */
async function endTape() {
  const ending = tape;
  tape = null;
  python.tap_with(undefined); // None; null would be a JsNull
  await ending?.end();
}

/** What is about to be fed. @param {number} address @param {number} bytes */
function take(address, bytes) {
  tape?.take(address, bytes);
}

/**
 * Records live sessions from now on: the one that runs, if one does, and those to come; null: no more.
 * @param {import("../groups.js").Limits | null} limits
 */
async function record(limits) {
  recording = limits;
  if (!limits) await endTape();
  else if (driver && !driver.failed && (!tape || tape.over)) await beginTape(limits, false);
}

/** @param {SharedArrayBuffer | MessagePort} source where frames come from @param {number} [feedNumber] which live feed it is */
function start(source, feedNumber) {
  const reader = source instanceof MessagePort ? new PortReader(source) : new RingReader(source);
  const mine = ++session;
  heard = 1; // the knock of this very call
  if (driver) {
    driver.act = (actions) => {
      const wanted = [];
      for (const action of actions) {
        if (action.kind === "note") tell({ note: action });
        else if (action.kind === "reset") tell({ note: { level: "warning", text: `the book is thrown away: ${action.why}` } });
        else if (action.kind !== "fail") wanted.push(action);
      }
      if (wanted.length > 0) feedPort.postMessage({ actions: wanted, feed: feedNumber });
    };
    driver.start();
  }
  run(reader, mine).catch((error) => {
    if (mine !== session) return;
    if (driver) driver.failed ||= oneLine(error);
    tell({ failed: oneLine(error) });
    endTape();
  });
}

/** @param {Reader} from @param {number} mine */
async function run(from, mine) {
  let published = 0;
  let listened = clock();
  let missed = Infinity; // since when there are more knocks than messages
  let dirty = true;
  const listen = from instanceof RingReader ? LISTEN_MS : PORT_LISTEN_MS;
  const live = driver;
  let told = 0;
  let news = false; // of the connections, that the page has not heard
  const tellHealth = (/** @type {number} */ now, /** @type {number} */ after) => {
    if (!live || !news || now - told < after) return;
    told = now;
    news = false;
    tell({ health: JSON.parse(live.health()) });
  };
  while (mine === session) {
    const bytes = from.drain(heap(), live ? live.drained : input, Math.min(BATCH_BYTES, inputBytes));
    const began = clock();
    let now = began;
    if (bytes > 0) {
      const events = live ? live.process(bytes) : feed(bytes);
      now = clock();
      if (!live) measure(from, now - began, now - began, from.frames);
      else if (live.messages > 0) measure(from, now - began, live.kernelMs, live.messages);
      chart();
      news = true;
      tellHealth(now, HEALTH_LATE_MS);
      if (live?.failed) throw new Refusal(live.failed);
      dirty = true;
      if (events & URGENT) published = 0;
    } else if (from.ended) {
      break;
    } else if (history.busy) {
      await breath();
      now = clock();
    } else if (from.knocks <= heard && (!dirty || now - published < PUBLISH_MS)) {
      tellHealth(now, HEALTH_MS);
      if (!tape?.work()) {
        const waiting = from.wait(dirty ? PUBLISH_MS - (now - published) : STATISTICS_MS, heard);
        if (waiting) await waiting;
        if (mine !== session) return;
      }
      now = clock();
      if (now - fed.since > STATISTICS_MS) dirty = true;
    }
    if (dirty && now - published >= PUBLISH_MS) {
      publish();
      published = now;
      dirty = false;
    }
    if (from.knocks > heard || now - listened > listen) {
      await breath();
      listened = clock();
      if (from.knocks === heard) missed = Infinity;
      else if (listened - (missed = Math.min(missed, now)) > LOST_MS) heard = from.knocks;
    }
  }
  if (mine !== session) return;
  mirror.flush();
  publish();
  tell({ ended: true });
}

/** @param {number} bytes of frames in the input @returns {number} cwts_event bits */
function feed(bytes) {
  if (bytes > inputBytes) throw new RangeError(`${bytes} bytes are more than the input holds`); // the kernel takes our word
  take(input, bytes);
  const events = kernelFeed(block, input, bytes);
  if (events < 0) throw new Error(`the kernel refused a frame (${events})`);
  return events;
}

/** @param {Reader} from @param {number} ms what the batch took @param {number} kernelMs of it in the kernel @param {number} frames */
function measure(from, ms, kernelMs, frames) {
  for (let at = 0; at < from.waitCount; at++) {
    queue.add(from.waits[at] * 1000);
    total.add((from.waits[at] + ms) * 1000);
  }
  feeding.add((kernelMs * 1000) / frames);
  fed.frames += frames;
  fed.ms += ms;
  fed.calls += 1;
}

const SNAPSHOT = LAYOUT.cwts_block.fields.published.offset + LAYOUT.cwts_published.fields.snapshot.offset;
const FIELD = LAYOUT.cwts_snapshot.fields;

/** Adds a point to the chart when the market's time has moved on enough. */
function chart() {
  const at = block + SNAPSHOT;
  const time = int64(at + FIELD.now_ns.offset) / 1e6;
  if (time === 0 || Math.abs(time - lastPoint) < POINT_MS) return;
  lastPoint = time;
  const synced = memory().getUint32(at + FIELD.synced.offset, true) === 1;
  const mid = int64(at + FIELD.mid_e8.offset) / 1e8;
  const score = memory().getFloat32(at + FIELD.score.offset, true);
  const signals = new Float32Array(heap().buffer, at + FIELD.signal.offset, FIELD.signal.count);
  mirror.point(time, synced && mid > 0 ? mid : NaN, int64(at + FIELD.equity_e8.offset), score, signals);
}

function publish() {
  if (block === 0) return;
  const { slot } = mirror;
  slot.fill(heap(), block);
  const now = clock();
  if (now - fed.since > STATISTICS_MS || numbers[PUBLISHED] === 0) refresh(now);
  numbers[PUBLISHED] = now;
  slot.numbers.set(numbers);
  mirror.publish();
}

const PUBLISHED = NUMBERS.indexOf("published");
const numbers = new Float64Array(NUMBERS.length);

/** @param {number} now */
function refresh(now) {
  const elapsed = now - fed.since;
  const [queues, feeds, totals] = [queue, feeding, total].map((stage) => stage.percentiles());
  const values = {
    queueP50: queues[0], queueP99: queues[1], feedP50: feeds[0], feedP99: feeds[1], totalP50: totals[0], totalP99: totals[1],
    feedMean: fed.frames > 0 ? (fed.ms * 1000) / fed.frames : numbers[NUMBERS.indexOf("feedMean")],
    batch: fed.calls > 0 ? fed.frames / fed.calls : 0,
    heapBytes: heap().length,
    busy: elapsed > 0 ? fed.ms / elapsed : 0,
    blockBytes,
    published: now,
  };
  NUMBERS.forEach((name, at) => {
    numbers[at] = values[name];
  });
  fed = { frames: 0, ms: 0, calls: 0, since: now };
}

const NOW = LAYOUT.cwts_block.fields.header.offset + LAYOUT.cwts_header.fields.now_ns.offset;

/** A frame's header at the start of the input. @param {number} laterMs @param {number} length @param {number} kind */
function header(laterMs, length, kind) {
  if (block === 0) throw new Refusal("no engine is running yet");
  const data = memory();
  data.setBigInt64(input, data.getBigInt64(block + NOW, true) + BigInt(laterMs) * 1000000n, true);
  data.setUint32(input + 8, length, true);
  data.setUint16(input + 12, 0, true);
  data.setUint16(input + 14, kind, true);
  return data;
}

/** An instruction of ours, as a frame like any other. @param {number} op @param {number} value */
function command(op, value) {
  const { size } = LAYOUT.cwts_command;
  const data = header(0, size, ENUMS.cwts_kind.COMMAND);
  data.setUint32(input + HEADER_BYTES, op, true);
  data.setUint32(input + HEADER_BYTES + 4, value, true);
  const events = feed(HEADER_BYTES + size);
  publish();
  return events;
}

/** Changes settings; what runs hears of it by frames. @param {object} wish see `choose` in cwts.browser */
function choose(wish) {
  const chosen = JSON.parse(python.choose(JSON.stringify(wish)));
  if (chosen.error !== undefined) throw new Refusal(chosen.error);
  publish();
  return chosen;
}

/** Lets time pass where no message does. @param {number} laterMs */
function timer(laterMs) {
  header(laterMs, 0, ENUMS.cwts_kind.TIMER);
  feed(HEADER_BYTES);
  publish();
}

/** The networks over the whole recording, on an engine of their own. @param {number} stepMs from row to row */
function networks(stepMs) {
  if (driver) throw new Refusal("the networks run over a recording, and this is live");
  return history.run(python, stepMs);
}

/** A frame too large for the ring. @param {Uint8Array} frame */
function feedLarge(frame) {
  const address = python.large_address(frame.length);
  heap().set(frame, address);
  python.feed_large();
}

/** The next decompressed piece of a recording that the browser cannot decompress. @returns {Uint8Array | null} */
function nextPiece() {
  const piece = python.next_piece();
  if (piece === undefined || piece === null) return null;
  const view = piece.getBuffer("u8");
  const bytes = view.data.slice();
  view.release();
  piece.destroy();
  return bytes;
}

globalThis.addEventListener("message", heardOne);
answer(/** @type {any} */ (globalThis), {
  init, open, questions, openLive, close, start, command, timer, networks, choose, record,
  settingsFile: () => python.settings_file(),
  cancelNetworks: () => history.cancel("cancelled"),
  acknowledge: () => mirror.acknowledged(),
  /** @param {number} depth */
  book: (depth) => JSON.parse(python.book(depth)),
  bookSha256: () => python.book_sha256(),
  blockSha256: () => python.block_sha256(),
});
