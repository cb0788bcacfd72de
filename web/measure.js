// The benchmark of the engine in WebAssembly against idiomatic JavaScript on the same messages, in the same thread, in the same
// run. Runs in a worker of the page (`workers/bench.js`) and in Node; what it is given are bytes, what it returns are plain numbers.

import { frameBytes, HEADER_BYTES } from "./ring.js";

const BATCH_BYTES = 1 << 17; // as the page's engine worker feeds
const decoder = new TextDecoder();

/**
 * @typedef {{recv: bigint, payload: Uint8Array, text: string}} Message
 * @typedef {{messages: Message[], name: string}} Set
 * @typedef {{name: string, run: () => number, levels: () => number}} Contender one run over a set, and how many levels its book has
 */

/**
 * A recording's lines, decoded once: an exchange's WebSocket hands JavaScript strings, and the engine bytes.
 * @param {Uint8Array} text @returns {Message[]}
 */
function messagesOf(text) {
  const messages = [];
  for (let from = 0; from < text.length; ) {
    let end = text.indexOf(10, from);
    if (end < 0) end = text.length;
    const space = text.indexOf(32, from);
    if (space > from && space < end) {
      const payload = text.subarray(space + 1, end);
      messages.push({ recv: BigInt(decoder.decode(text.subarray(from, space))), payload, text: decoder.decode(payload) });
    }
    from = end + 1;
  }
  return messages;
}

/** Frames end to end, in batches. @param {Message[]} messages @returns {Uint8Array[]} */
function batchesOf(messages) {
  const batches = [];
  for (let from = 0; from < messages.length; ) {
    let size = 0;
    let to = from;
    while (to < messages.length && (to === from || size + frameBytes(messages[to].payload.length) <= BATCH_BYTES)) {
      size += frameBytes(messages[to++].payload.length);
    }
    const batch = new Uint8Array(size);
    const view = new DataView(batch.buffer);
    for (let at = 0; from < to; from++) {
      const { recv, payload } = messages[from];
      view.setBigInt64(at, recv, true);
      view.setUint32(at + 8, payload.length, true);
      batch.set(payload, at + HEADER_BYTES);
      at += frameBytes(payload.length);
    }
    batches.push(batch);
  }
  return batches;
}

/** As one would write it: prices are the keys of a Map, quantities its values. */
class MapBook {
  constructor() {
    this.bids = new Map();
    this.asks = new Map();
  }

  /** @param {Map<number, number>} side @param {string[][]} levels */
  static apply(side, levels) {
    for (const [price, qty] of levels) {
      const amount = Number(qty);
      if (amount === 0) side.delete(Number(price));
      else side.set(Number(price), amount);
    }
  }

  /** @param {string[][]} bids @param {string[][]} asks */
  update(bids, asks) {
    MapBook.apply(this.bids, bids);
    MapBook.apply(this.asks, asks);
  }

  get levels() {
    return this.bids.size + this.asks.size;
  }
}

/** As one would write it where the best price is wanted: arrays sorted by price, and a binary search. */
class SortedBook {
  constructor() {
    /** @type {[number, number][]} */
    this.bids = [];
    /** @type {[number, number][]} */
    this.asks = [];
  }

  /** @param {[number, number][]} side @param {string[][]} levels */
  static apply(side, levels) {
    for (const level of levels) {
      const price = Number(level[0]);
      const qty = Number(level[1]);
      let low = 0;
      let high = side.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (side[middle][0] < price) low = middle + 1;
        else high = middle;
      }
      const found = low < side.length && side[low][0] === price;
      if (qty === 0) {
        if (found) side.splice(low, 1);
      } else if (found) side[low][1] = qty;
      else side.splice(low, 0, [price, qty]);
    }
  }

  /** @param {string[][]} bids @param {string[][]} asks */
  update(bids, asks) {
    SortedBook.apply(this.bids, bids);
    SortedBook.apply(this.asks, asks);
  }

  get levels() {
    return this.bids.length + this.asks.length;
  }
}

/** @param {string} name @param {new () => MapBook | SortedBook} Book @param {Message[]} messages @returns {Contender} */
function javascript(name, Book, messages) {
  let book = new Book();
  return {
    name,
    run() {
      book = new Book();
      let seen = 0;
      /** @type {any[] | null} updates that wait for the snapshot */
      let early = [];
      const began = performance.now();
      for (const { text } of messages) {
        const message = JSON.parse(text);
        const event = message.data ?? message;
        if (event.lastUpdateId !== undefined) {
          book = new Book();
          book.update(event.bids, event.asks);
          for (const { u, b, a } of early ?? []) if (u >= event.lastUpdateId) book.update(b, a);
          early = null;
        } else if (event.e === "depthUpdate") {
          if (early) early.push(event);
          else book.update(event.b, event.a);
        } else seen += Number(event.p ?? event.b);
      }
      const took = performance.now() - began;
      if (Number.isNaN(seen)) throw new Error("a message without a price");
      return took;
    },
    levels: () => book.levels,
  };
}

/**
 * The engine: bytes to book, features, decision and paper account. The copy into the wasm memory is in the time.
 * @param {any} pyodide @param {any} python cwts.browser @param {{exchange: string, symbol: string}} instrument
 * @param {string} known the survey, as JSON @param {Message[]} messages @returns {Contender}
 */
function engine(pyodide, python, { exchange, symbol }, known, messages) {
  const batches = batchesOf(messages);
  const input = python.input_address();
  const feed = pyodide._module.wasmTable.get(python.feed_address()); // as the engine worker calls it
  return {
    name: "engine",
    run() {
      const found = JSON.parse(python.open_recording("the bundled recording", exchange, symbol, () => {}, known));
      if (found.error !== undefined) throw new Error(found.error);
      const began = performance.now();
      for (const batch of batches) {
        pyodide._module.HEAPU8.set(batch, input);
        if (feed(found.block, input, batch.length) < 0) throw new Error("the kernel refused a frame");
      }
      return performance.now() - began;
    },
    levels: () => python.levels(),
  };
}

/** @param {number[]} values @returns {number} */
function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[sorted.length >> 1];
}

/**
 * @param {any} pyodide with numpy and cwts loaded
 * @param {Uint8Array} file the recording as it is on disk @param {Uint8Array} text decompressed
 * @param {{exchange: string, symbol: string}} instrument @param {object | undefined} survey of the recording, if known
 * @param {{repetitions?: number, tell?: (what: string) => void}} [options]
 */
export async function measure(pyodide, file, text, instrument, survey, { repetitions = 7, tell = () => {} } = {}) {
  const python = pyodide.pyimport("cwts.browser");
  pyodide.FS.mkdirTree("/recording");
  pyodide.FS.writeFile("/recording/file", file);
  const known = survey ? JSON.stringify(survey) : "";
  const all = messagesOf(text);
  const depth = all.filter(({ text: line }) => line.includes('"depthUpdate"') || line.includes('"lastUpdateId"'));
  /** @type {Record<string, any>} */
  const result = { repetitions, messages: {}, ns: {}, spread: {}, ratio: {} };
  for (const { name, messages } of [{ name: "depth", messages: depth }, { name: "all", messages: all }]) {
    const contenders = [
      engine(pyodide, python, instrument, known, messages),
      javascript("map", MapBook, messages),
      javascript("sorted", SortedBook, messages),
    ];
    /** @type {Record<string, number[]>} */
    const taken = {};
    for (let round = -1; round < repetitions; round++) { // the first round warms up; in each, all take their turn
      for (const contender of contenders) {
        tell(`${name} messages, ${contender.name}, ${round < 0 ? "warming up" : `round ${round + 1} of ${repetitions}`}`);
        const ns = (contender.run() * 1e6) / messages.length;
        if (round >= 0) (taken[contender.name] ??= []).push(ns);
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    }
    const levels = contenders.map((contender) => contender.levels());
    if (levels.some((count) => count !== levels[0])) throw new Error(`the books differ: ${levels.join(", ")} levels`);
    result.messages[name] = messages.length;
    result.ns[name] = Object.fromEntries(Object.entries(taken).map(([who, ns]) => [who, Math.round(median(ns))]));
    result.spread[name] = Object.fromEntries(Object.entries(taken).map(([who, ns]) => [who, [Math.min(...ns), Math.max(...ns)].map(Math.round)]));
    const { engine: ours, map, sorted } = result.ns[name];
    result.ratio[name] = { map: round1(map / ours), sorted: round1(sorted / ours) };
  }
  return result;
}

/** @param {number} value */
function round1(value) {
  return Math.round(value * 10) / 10;
}
