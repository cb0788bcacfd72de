// The feed worker: reads a recording as a stream, turns its lines into frames and hands them on at the pace of the
// recording times the speed. It never drops a frame: where there is no room it waits. Live, it owns the sockets (sockets.js).

import { clock, frameBytes, HEADER_BYTES, LARGEST_BYTES, PortWriter, RingWriter } from "../ring.js";
import { answer, Caller, oneLine, Refusal } from "../rpc.js";
import { ask, listed, Sockets } from "./sockets.js";

/** @typedef {import("../ring.js").Writer} Writer */
/** @typedef {{recv: bigint, ms: number, stream: number, kind: number, payload: Uint8Array}} Frame */

const MAX_LINE = 16 << 20; // as in cwts.recording: a longer line is counted and left out
const COMMIT_BYTES = 1 << 15;
const PLAIN_PIECE = 1 << 20;
const MAX_NS = (1n << 63n) - 1n;
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];
const FRAMES = [0x57, 0x2a, 0x4d, 0x18]; // as in cwts.recorder: the engine's own recordings
const NEWLINE = 10;
const SPACE = 32;
const RETURN = 13;

/** @type {Caller} the engine worker */
let engine;
let session = 0;
/** The live feed that runs, and which one it is. @type {{sockets: Sockets, number: number} | null} */
let live = null;
let playing = true;
let speed = 1;
/** Frames up to this time (ms) pass although the feed is paused. */
let grace = -Infinity;
/** Where the pace is measured from: a time of the recording and one of ours, in ms. */
let base = { market: NaN, wall: 0 };
/** @type {(() => void) | null} ends the sleep that is going on */
let wake = null;

/** @param {any} message */
function tell(message) {
  /** @type {any} */ (globalThis).postMessage(message);
}

/** @param {string} address @returns {Promise<Blob>} */
async function fetchRecording(address) {
  let reply;
  try {
    reply = await fetch(address);
  } catch {
    throw new Refusal(`${address}: cannot be fetched`);
  }
  if (!reply.ok || !reply.body) throw new Refusal(`${address}: ${reply.status} ${reply.statusText}`);
  const size = Number(reply.headers.get("content-length"));
  tell({ of: "recording", progress: 0, what: size > 0 ? `recording, ${(size / 1e6).toFixed(1)} MB` : "recording" });
  const recording = await reply.blob(); // outside this process's memory, as a file of the person's own is
  tell({ of: "recording", progress: 1, what: "recording" });
  return recording;
}

/**
 * Decompressed text in pieces. What the browser cannot decompress, Python does.
 * @param {Blob} recording @returns {AsyncGenerator<Uint8Array>}
 */
async function* textOf(recording) {
  let passed = 0;
  if (await startsWith(recording, [0x1f, 0x8b])) {
    try {
      const stream = recording.stream().pipeThrough(new DecompressionStream("gzip"));
      for await (const piece of /** @type {any} */ (stream)) {
        passed += piece.length;
        yield piece;
      }
      return;
    } catch {
      // Several gzip members, one after the other: Python goes on where the browser stopped.
    }
    await engine.call("rewind");
  } else if (!(await startsWith(recording, ZSTD))) {
    for (let at = 0; at < recording.size; at += PLAIN_PIECE) {
      yield new Uint8Array(await recording.slice(at, at + PLAIN_PIECE).arrayBuffer());
    }
    return;
  } else {
    await engine.call("rewind");
  }
  for await (const piece of piecesOf()) {
    const skip = Math.min(passed, piece.length);
    passed -= skip;
    if (skip < piece.length) yield piece.subarray(skip);
  }
}

/** @param {Blob} recording @param {number[]} magic */
async function startsWith(recording, magic) {
  const head = new Uint8Array(await recording.slice(0, magic.length).arrayBuffer());
  return magic.every((byte, at) => head[at] === byte);
}

/** What Python decompresses, after a rewind. @returns {AsyncGenerator<Uint8Array>} */
async function* piecesOf() {
  for (;;) {
    const piece = await engine.call("piece");
    if (piece === null) return;
    yield piece;
  }
}

/**
 * A recording's frames, a list for each piece of it.
 * @param {Blob} recording @returns {AsyncGenerator<Frame[]>}
 */
async function* framesOf(recording) {
  if (await startsWith(recording, FRAMES)) {
    await engine.call("rewind");
    for await (const piece of piecesOf()) yield unpacked(piece);
    return;
  }
  for await (const lines of linesOf(textOf(recording))) {
    const frames = [];
    for (const { bytes, from, to } of lines) {
      const stamp = stampOf(bytes, from, to);
      if (stamp === null) continue;
      const [recv, ms, start] = stamp;
      const end = to > start && bytes[to - 1] === RETURN ? to - 1 : to;
      frames.push({ recv, ms, stream: 0, kind: 0, payload: bytes.subarray(start, end) });
    }
    yield frames;
  }
}

/** Frames that lie end to end. @param {Uint8Array} bytes @returns {Frame[]} */
function unpacked(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const frames = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const recv = view.getBigInt64(at, true);
    const length = view.getUint32(at + 8, true);
    const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
    frames.push({ recv, ms: Number(recv) / 1e6, stream: view.getUint16(at + 12, true), kind: view.getUint16(at + 14, true), payload });
    at += frameBytes(length);
  }
  return frames;
}

/**
 * Lines without their ends, a list for each piece of text, as `Recording` in cwts.recording makes them.
 * @param {AsyncGenerator<Uint8Array>} text
 * @returns {AsyncGenerator<{bytes: Uint8Array, from: number, to: number}[]>}
 */
async function* linesOf(text) {
  /** @type {Uint8Array[]} */
  let pieces = [];
  let held = 0;
  let skipping = false;
  for await (const piece of text) {
    const lines = [];
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, from)) {
      if (skipping) {
        skipping = false;
      } else if (held > 0) {
        if (held + end - from <= MAX_LINE) {
          const bytes = joined([...pieces, piece.subarray(from, end)]);
          lines.push({ bytes, from: 0, to: bytes.length });
        }
        pieces = [];
        held = 0;
      } else if (end - from <= MAX_LINE) {
        lines.push({ bytes: piece, from, to: end });
      }
      from = end + 1;
    }
    if (from < piece.length && !skipping) {
      pieces.push(piece.subarray(from));
      held += piece.length - from;
      if (held > MAX_LINE) {
        skipping = true;
        pieces = [];
        held = 0;
      }
    }
    yield lines;
  }
  if (held > 0 && !skipping) {
    const bytes = joined(pieces);
    yield [{ bytes, from: 0, to: bytes.length }];
  }
}

/** @param {Uint8Array[]} pieces @returns {Uint8Array} */
function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** @param {Writer} writer @param {Blob} recording @param {number} mine */
async function stream(writer, recording, mine) {
  let unseen = 0;
  engine.knock = () => writer.knock();
  for await (const frames of framesOf(recording)) {
    if (mine !== session) return;
    for (const { recv, ms, stream: number, kind, payload } of frames) {
      if (!playing || speed !== Infinity) {
        if (!(await due(writer, ms, mine))) return;
      }
      if (unseen > COMMIT_BYTES) {
        writer.commit();
        unseen = 0;
      }
      const size = frameBytes(payload.length);
      if (size > LARGEST_BYTES) {
        await writer.empty();
        await engine.call("frame", [frame(recv, number, kind, payload)]);
        continue;
      }
      if (!writer.fits(size)) {
        await writer.room(size);
        unseen = 0;
        if (mine !== session) return;
      }
      writer.push(recv, number, kind, payload);
      unseen += size;
    }
  }
  if (mine === session) writer.close();
}

/**
 * The receive time in front of a line: as int64, in milliseconds, and where the message begins.
 * @param {Uint8Array} bytes @param {number} from @param {number} to @returns {[bigint, number, number] | null}
 */
function stampOf(bytes, from, to) {
  let at = from;
  let seconds = 0;
  let rest = 0;
  let space = from;
  while (space < to && bytes[space] !== SPACE && space - from < 20) space += 1;
  const digits = space - from;
  if (digits === 0 || digits > 19 || space === to) return null;
  for (; at < space; at++) {
    const digit = bytes[at] - 48;
    if (digit < 0 || digit > 9) return null;
    if (at < space - 9) seconds = seconds * 10 + digit;
    else rest = rest * 10 + digit;
  }
  const recv = BigInt(seconds) * 1000000000n + BigInt(rest);
  return recv > MAX_NS ? null : [recv, seconds * 1000 + rest / 1e6, space + 1];
}

/**
 * One frame by itself.
 * @param {bigint} recv @param {number} number @param {number} kind @param {Uint8Array} payload @returns {Uint8Array}
 */
function frame(recv, number, kind, payload) {
  const bytes = new Uint8Array(frameBytes(payload.length));
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, recv, true);
  view.setUint32(8, payload.length, true);
  view.setUint16(12, number, true);
  view.setUint16(14, kind, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/**
 * Waits until a frame's time has come. Returns false if the session ended meanwhile.
 * @param {Writer} writer @param {number} market ms @param {number} mine @returns {Promise<boolean>}
 */
async function due(writer, market, mine) {
  for (;;) {
    if (mine !== session) return false;
    if (!playing && !(market <= grace)) {
      writer.commit();
      await sleep(60_000);
      base.market = NaN;
      continue;
    }
    if (speed === Infinity) return true;
    const now = clock();
    if (Number.isNaN(base.market)) base = { market, wall: now };
    const left = base.wall + (market - base.market) / speed - now;
    if (left <= 0) return true;
    writer.commit();
    await sleep(left);
  }
}

/** Sleeps, but not longer than until something changes. @param {number} ms @returns {Promise<void>} */
async function sleep(ms) {
  let timer = 0;
  await new Promise((resolve) => {
    wake = () => resolve(undefined);
    timer = setTimeout(resolve, ms);
  });
  clearTimeout(timer);
  wake = null;
}

function changed() {
  base.market = NaN;
  wake?.();
}

answer(/** @type {any} */ (globalThis), {
  /** @param {MessagePort} port to the engine worker */
  init(port) {
    port.start();
    engine = new Caller(port, ({ actions, feed }) => {
      if (feed === live?.number) live?.sockets.carry(actions);
    });
  },
  fetch: fetchRecording,
  ask,
  listed,
  /** @param {SharedArrayBuffer | MessagePort} target @param {number} number */
  startLive(target, number) {
    session += 1;
    live = { sockets: new Sockets(target instanceof MessagePort ? new PortWriter(target) : new RingWriter(target)), number };
  },
  /** @param {SharedArrayBuffer | MessagePort} target @param {Blob} recording @param {number} pace @param {boolean} play */
  start(target, recording, pace, play) {
    const writer = target instanceof MessagePort ? new PortWriter(target) : new RingWriter(target);
    const mine = ++session;
    speed = pace;
    playing = play;
    grace = -Infinity;
    changed();
    stream(writer, recording, mine).catch((error) => {
      if (mine === session) tell({ failed: oneLine(error) });
    });
  },
  stop() {
    session += 1;
    live?.sockets.close();
    live = null;
    changed();
  },
  play() {
    playing = true;
    changed();
  },
  pause() {
    playing = false;
    grace = -Infinity;
    changed();
  },
  /** @param {number} pace */
  setSpeed(pace) {
    speed = pace;
    changed();
  },
  /** Lets frames up to a time of the recording pass although it is paused. @param {number} until ms */
  step(until) {
    grace = until;
    changed();
  },
});
