// What the engine worker lets the page see: the newest published state, and a history for the chart.
// Three slots in shared memory, of which the writer, the reader and the mailbox between them hold one each and swap it
// atomically: the reader always gets the newest whole state, nobody waits, and (unlike a seqlock) no copy is ever raced.
// Without shared memory the slot is a message, one on its way at a time.

import { ENUMS, LAYOUT } from "./layout.js";

/** Newest trades in a slot. */
export const TAPE = 64;
/** Numbers that the worker measures, in `Slot.numbers`. */
export const NUMBERS = /** @type {const} */ ([
  "queueP50", "queueP99", "feedP50", "feedP99", "totalP50", "totalP99", "feedMean", "batch", "heapBytes", "busy", "blockBytes",
  "published", // when, on clock()
]);
const SIGNAL = ENUMS.cwts_signal;
/** The signals that have a history on the page, in the order in which a point holds them. */
export const DRAWN = [
  SIGNAL.WHALE_PRESSURE, SIGNAL.NEST_BID, SIGNAL.NEST_ASK, SIGNAL.WHALE_UP, SIGNAL.WHALE_DOWN, SIGNAL.VALUE, SIGNAL.CASCADE_UP,
  SIGNAL.CASCADE_DOWN, SIGNAL.CRITICALITY, SIGNAL.AVALANCHE, SIGNAL.SWAN_PROBABILITY, SIGNAL.VACUUM, SIGNAL.PHASE, SIGNAL.RISK,
  SIGNAL.FIBONACCI, SIGNAL.ANTIFRAGILITY, SIGNAL.LIQUIDATION_UP, SIGNAL.LIQUIDATION_DOWN,
];
/** @typedef {(time: number, mid: number, equity: number, score: number, signals: Float32Array) => void} Point */
const NUMBERS_OF_POINT = 4; // doubles; then the signals as floats
const POINT_BYTES = NUMBERS_OF_POINT * 8 + Math.ceil(DRAWN.length / 2) * 8;
const POINTS = 16384; // a power of two: at ten a second, the last 27 minutes

const SNAPSHOT = 0;
const ACCOUNT = SNAPSHOT + LAYOUT.cwts_snapshot.size;
const COUNTERS = ACCOUNT + LAYOUT.cwts_account.size;
const TRADES = COUNTERS + LAYOUT.cwts_counters.size;
const DECISION = TRADES + TAPE * LAYOUT.cwts_trade.size;
/** Nests of a side. */
export const NESTS = LAYOUT.cwts_whale_side.fields.nest.count;
const NEST_BYTES = NESTS * LAYOUT.cwts_nest.size;
const WHALES = DECISION + LAYOUT.cwts_decision.size; // bids', then asks'
const EXTRAS = WHALES + 2 * NEST_BYTES;
const SLOT_BYTES = EXTRAS + NUMBERS.length * 8 + (-NUMBERS.length * 8 & 63);

const CONTROL_BYTES = 64;
const MAILBOX = 0; // the slot in the mailbox, and FRESH if the reader has not seen it
const HISTORY = 1; // points ever
const FRESH = 4;

const HISTORY_AT = CONTROL_BYTES + 3 * SLOT_BYTES;
const SHARED_BYTES = HISTORY_AT + POINTS * POINT_BYTES;

/** Points of the history: milliseconds since the epoch, mid in price units, equity in 10^-8, score, and the signals of DRAWN. */
class Points {
  /** @param {ArrayBufferLike} buffer @param {number} [offset] */
  constructor(buffer, offset = 0) {
    this.buffer = buffer;
    this.numbers = new Float64Array(buffer, offset);
    this.signals = new Float32Array(buffer, offset);
  }

  /** How many there is room for. */
  get room() {
    return Math.floor(this.numbers.byteLength / POINT_BYTES);
  }

  /** @param {number} at @param {number} time @param {number} mid @param {number} equity @param {number} score @param {Float32Array} signals all of them */
  set(at, time, mid, equity, score, signals) {
    const to = (at * POINT_BYTES) / 8;
    this.numbers[to] = time;
    this.numbers[to + 1] = mid;
    this.numbers[to + 2] = equity;
    this.numbers[to + 3] = score;
    for (let column = 0; column < DRAWN.length; column++) this.signals[2 * (to + NUMBERS_OF_POINT) + column] = signals[DRAWN[column]];
  }

  /** @param {number} at @param {Point} point */
  tell(at, point) {
    const from = (at * POINT_BYTES) / 8;
    const { numbers } = this;
    const first = 2 * (from + NUMBERS_OF_POINT);
    point(numbers[from], numbers[from + 1], numbers[from + 2], numbers[from + 3], this.signals.subarray(first, first + DRAWN.length));
  }
}

/** One whole state, as bytes that the layout explains. */
export class Slot {
  /** @param {ArrayBufferLike} buffer @param {number} offset */
  constructor(buffer, offset) {
    this.bytes = new Uint8Array(buffer, offset, SLOT_BYTES);
    this.snapshot = new DataView(buffer, offset + SNAPSHOT, LAYOUT.cwts_snapshot.size);
    this.account = new DataView(buffer, offset + ACCOUNT, LAYOUT.cwts_account.size);
    this.counters = new DataView(buffer, offset + COUNTERS, LAYOUT.cwts_counters.size);
    /** The newest trade last; places before the first trade are zero. */
    this.trades = new DataView(buffer, offset + TRADES, TAPE * LAYOUT.cwts_trade.size);
    this.decision = new DataView(buffer, offset + DECISION, LAYOUT.cwts_decision.size);
    /** Nests of the bids, then of the asks. */
    this.nests = new DataView(buffer, offset + WHALES, 2 * NEST_BYTES);
    this.numbers = new Float64Array(buffer, offset + EXTRAS, NUMBERS.length);
  }

  /**
   * Copies the visible sections out of the engine's block.
   * @param {Uint8Array} heap @param {number} block the block's address
   */
  fill(heap, block) {
    const { fields } = LAYOUT.cwts_block;
    const published = block + fields.published.offset + LAYOUT.cwts_published.fields.snapshot.offset;
    const account = block + fields.account.offset;
    const counters = block + fields.counters.offset;
    const tape = block + fields.tape.offset;
    const { bytes } = this;
    bytes.set(heap.subarray(published, published + LAYOUT.cwts_snapshot.size), SNAPSHOT);
    bytes.set(heap.subarray(account, account + LAYOUT.cwts_account.size), ACCOUNT);
    bytes.set(heap.subarray(counters, counters + LAYOUT.cwts_counters.size), COUNTERS);
    const decision = block + fields.decision.offset;
    bytes.set(heap.subarray(decision, decision + LAYOUT.cwts_decision.size), DECISION);
    const whales = block + fields.whale.offset + LAYOUT.cwts_whale.fields.side.offset + LAYOUT.cwts_whale_side.fields.nest.offset;
    for (const side of [0, 1]) {
      const nests = whales + side * LAYOUT.cwts_whale_side.size;
      bytes.set(heap.subarray(nests, nests + NEST_BYTES), WHALES + side * NEST_BYTES);
    }
    const { size } = LAYOUT.cwts_trade;
    const ring = tape + LAYOUT.cwts_tape.fields.ring.offset;
    const capacity = LAYOUT.cwts_tape.fields.ring.count;
    const count = new DataView(heap.buffer, tape, 8).getUint32(0, true); // modulo 2^32, which the capacity divides
    const first = (count - TAPE) & (capacity - 1);
    const whole = Math.min(TAPE, capacity - first); // up to the ring's end; the rest is at its beginning
    bytes.set(heap.subarray(ring + first * size, ring + (first + whole) * size), TRADES);
    if (whole < TAPE) bytes.set(heap.subarray(ring, ring + (TAPE - whole) * size), TRADES + whole * size);
  }
}

/** @returns {SharedArrayBuffer} */
export function createMirror() {
  return new SharedArrayBuffer(SHARED_BYTES);
}

/** The engine worker's side. */
export class MirrorWriter {
  /**
   * @param {SharedArrayBuffer | null} shared from createMirror
   * @param {(message: any, transfer: Transferable[]) => void} post where slots go without shared memory
   */
  constructor(shared, post) {
    this.post = post;
    this.control = shared && new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.history = shared && new Points(shared, HISTORY_AT);
    this.slots = shared
      ? [0, 1, 2].map((index) => new Slot(shared, CONTROL_BYTES + index * SLOT_BYTES))
      : [new Slot(new ArrayBuffer(SLOT_BYTES), 0)];
    this.own = 0;
    if (this.control) Atomics.store(this.control, MAILBOX, 1); // the reader begins with slot 2
    this.points = 0; // ever; without shared memory, since the last message
    /** Without shared memory: those that are not sent yet. */
    this.unsent = new Points(new ArrayBuffer(shared ? 0 : 64 * POINT_BYTES));
    this.onWay = false;
  }

  /** The slot to write into; another one after each publish. @returns {Slot} */
  get slot() {
    return this.slots[this.own];
  }

  publish() {
    if (this.control) {
      this.own = Atomics.exchange(this.control, MAILBOX, this.own | FRESH) & 3;
      return;
    }
    if (this.onWay) return; // the page has not taken the last one; acknowledged() comes back here
    this.onWay = true;
    const slot = this.slot.bytes.slice().buffer;
    const points = /** @type {ArrayBuffer} */ (this.unsent.buffer.slice(0, this.points * POINT_BYTES));
    this.points = 0;
    this.post({ mirror: slot, points }, [slot, points]);
  }

  acknowledged() {
    this.onWay = false;
  }

  /** Lets the next publish through even if the page has not taken the one before. */
  flush() {
    this.onWay = false;
  }

  /** @param {number} time @param {number} mid @param {number} equity @param {number} score @param {Float32Array} signals all that the kernel has */
  point(time, mid, equity, score, signals) {
    if (this.history && this.control) {
      this.history.set(this.points & (POINTS - 1), time, mid, equity, score, signals);
      this.points += 1;
      Atomics.store(this.control, HISTORY, this.points);
      return;
    }
    if (this.points >= POINTS) return;
    if (this.points === this.unsent.room) {
      const larger = new Points(new ArrayBuffer(2 * this.points * POINT_BYTES));
      larger.numbers.set(this.unsent.numbers);
      this.unsent = larger;
    }
    this.unsent.set(this.points, time, mid, equity, score, signals);
    this.points += 1;
  }
}

/** The page's side. */
export class MirrorReader {
  /** @param {SharedArrayBuffer | null} shared @param {() => void} acknowledge says that a slot was taken */
  constructor(shared, acknowledge) {
    this.acknowledge = acknowledge;
    this.control = shared && new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.history = shared && new Points(shared, HISTORY_AT);
    this.slots = shared
      ? [0, 1, 2].map((index) => new Slot(shared, CONTROL_BYTES + index * SLOT_BYTES))
      : [new Slot(new ArrayBuffer(SLOT_BYTES), 0)];
    this.own = shared ? 2 : 0;
    this.points = 0;
    /** @type {{mirror: ArrayBuffer, points: ArrayBuffer}[]} */
    this.inbox = [];
  }

  /** @param {{mirror: ArrayBuffer, points: ArrayBuffer}} message from a MirrorWriter without shared memory */
  receive(message) {
    this.inbox.push(message);
  }

  /**
   * The newest state if there is one that was not seen yet.
   * @param {Point} point called for each new point; the signals are those of DRAWN, and its own for so long as the call lasts
   * @returns {Slot | null}
   */
  poll(point) {
    if (this.control && this.history) {
      const count = Atomics.load(this.control, HISTORY);
      for (let at = Math.max(this.points, count - POINTS + 64); at < count; at++) {
        this.history.tell(at & (POINTS - 1), point);
      }
      this.points = count;
      if ((Atomics.load(this.control, MAILBOX) & FRESH) === 0) return null;
      this.own = Atomics.exchange(this.control, MAILBOX, this.own) & 3;
      return this.slots[this.own];
    }
    if (this.inbox.length === 0) return null;
    for (const message of this.inbox) {
      this.slots[0] = new Slot(message.mirror, 0);
      const points = new Points(message.points);
      for (let at = 0; at < points.room; at++) points.tell(at, point);
    }
    this.inbox = [];
    this.acknowledge();
    return this.slots[0];
  }
}
