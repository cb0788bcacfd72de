// Frames from the feed worker to the engine worker, in order, never dropped: a writer that finds no room waits.
// Two transports with one face: a lock-free ring in a SharedArrayBuffer, and, where the page is not cross-origin isolated,
// transferred buffers over a MessagePort. One writer and one reader each. The frame itself is cwts_frame in cwts.h.
// The ring's reader sleeps by blocking its thread: it wakes within microseconds, and hears nothing else meanwhile, so
// whoever sends it a message knocks as well.

export const HEADER_BYTES = 16;
export const RING_BYTES = 1 << 22;
/** A frame that is larger than this fits no ring: it goes by hand, when all before it have been read. INPUT_BYTES of cwts.browser. */
export const LARGEST_BYTES = 1 << 21;

/**
 * Kinds of entries that are for the live session and not for the kernel; as in cwts.browser. What cwts_frame calls `stream` is
 * the number of the connection in all entries of a live feed, market messages too.
 */
export const ENTRY = { OPENED: 16, CLOSED: 17, FETCHED: 18, TICK: 19, LOST: 20 };
/** What stands before the body in FETCHED: request and status (uint32), how long to wait (int64, ns). */
export const ANSWER_BYTES = 16;

const CONTROL_BYTES = 64;
const HEAD = 0; // bytes ever read, modulo 2^32: the reader's
const TAIL = 1; // bytes ever written, modulo 2^32: the writer's
const SIGNAL = 2; // grows with all news for the reader: what it sleeps on
const READER_SLEEPS = 3;
const WRITER_SLEEPS = 4;
const CLOSED = 5;
const COMMITS = 6; // commits ever: each leaves a stamp (its end and its time), so that the reader can measure the queue
const KNOCKS = 7; // messages ever sent to the reader's thread by other ways
const STAMPS = 1024; // a power of two
const STAMP_BYTES = STAMPS * 16;
const DATA = CONTROL_BYTES + STAMP_BYTES;

/** @param {number} length payload bytes @returns {number} bytes of the frame */
export function frameBytes(length) {
  return HEADER_BYTES + ((length + 7) & ~7);
}

/** Milliseconds on a clock that all workers of the page share. @returns {number} */
export function clock() {
  return performance.timeOrigin + performance.now();
}

const SLEPT_MS = 5000; // the wall clock is ahead by more: the machine has slept
let slept = 0;

/** How far `time` is ahead of `clock`. @returns {number} ms */
export function sleptMs() {
  return slept;
}

/**
 * Milliseconds since 1970 that do not go back, and go on while the machine sleeps, when `clock` may stand still: for stamps and ages.
 * Workers agree on it to a millisecond or so. @returns {number}
 */
export function time() {
  const at = clock();
  const ahead = Date.now() - at;
  if (ahead > slept + SLEPT_MS) slept = ahead;
  return at + slept;
}

/**
 * Waits until an index is no longer `seen`, at most `ms`. Leaves the event loop free.
 * @param {Int32Array} control @param {number} index @param {number} seen @param {number} ms
 * @returns {Promise<void>}
 */
async function waitFor(control, index, seen, ms) {
  if (Atomics.waitAsync) {
    const wait = Atomics.waitAsync(control, index, seen, ms);
    if (wait.async) await wait.value;
    return;
  }
  const until = clock() + ms;
  while (Atomics.load(control, index) === seen && clock() < until) await pause(1);
}

/** @param {number} ms @returns {Promise<void>} */
export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * What the feed worker writes into.
 * @typedef {object} Writer
 * @property {(bytes: number) => boolean} fits room for this many more bytes of frames
 * @property {(bytes: number) => Promise<void>} room waits until they fit
 * @property {(recvNs: bigint, stream: number, kind: number, payload: Uint8Array) => void} push the frame must fit
 * @property {(stamp?: number) => void} commit lets the reader see what was pushed; `stamp`: since when it waits, if not since now
 * @property {() => Promise<void>} empty waits until the reader has taken everything
 * @property {() => void} close nothing follows
 * @property {() => void} knock a message to the reader's thread is on its way
 *
 * What the engine worker reads from.
 * @typedef {object} Reader
 * @property {(heap: Uint8Array, address: number, limit: number) => number} drain copies whole frames into the heap; bytes. More
 *   than the limit only if one frame is larger: up to LARGEST_BYTES
 * @property {number} frames how many frames the last drain brought
 * @property {(ms: number, knocks?: number) => Promise<void> | void} wait until there is something to read, nothing will follow, or
 *   there were more knocks than these
 * @property {number} knocks messages ever sent to this thread that it may not have heard yet
 * @property {boolean} ended nothing is left and nothing follows
 * @property {Float64Array} waits milliseconds each commit of the last drain had waited; the first `waitCount` count
 * @property {number} waitCount
 */

/** @returns {SharedArrayBuffer} an empty ring */
export function createRing(bytes = RING_BYTES) {
  return new SharedArrayBuffer(DATA + bytes);
}

/** Makes a ring empty again, when neither its writer nor its reader is at work any more. @param {SharedArrayBuffer} ring */
export function resetRing(ring) {
  const control = new Int32Array(ring, 0, CONTROL_BYTES / 4);
  for (let at = 0; at < control.length; at++) Atomics.store(control, at, 0);
}

/** Wakes a ring's reader, because a message to its thread is on its way. @param {SharedArrayBuffer} ring */
export function knock(ring) {
  const control = new Int32Array(ring, 0, CONTROL_BYTES / 4);
  Atomics.add(control, KNOCKS, 1);
  Atomics.add(control, SIGNAL, 1);
  Atomics.notify(control, SIGNAL);
}

/** @implements {Writer} */
export class RingWriter {
  /** @param {SharedArrayBuffer} buffer from createRing */
  constructor(buffer) {
    this.buffer = buffer;
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4);
    this.stamps = new Float64Array(buffer, CONTROL_BYTES, STAMPS * 2);
    this.data = new Uint8Array(buffer, DATA);
    this.capacity = this.data.length;
    this.mask = this.capacity - 1;
    if (this.capacity & this.mask) throw new RangeError("a ring's size is a power of two");
    this.tail = Atomics.load(this.control, TAIL);
    this.header = new DataView(new ArrayBuffer(HEADER_BYTES));
    this.headerBytes = new Uint8Array(this.header.buffer);
  }

  /** @param {number} bytes */
  fits(bytes) {
    return this.capacity - ((this.tail - Atomics.load(this.control, HEAD)) >>> 0) >= bytes;
  }

  /** @param {number} bytes */
  async room(bytes) {
    if (bytes > this.capacity) throw new RangeError(`${bytes} bytes never fit ${this.capacity}`);
    this.commit();
    while (!this.fits(bytes)) {
      const head = Atomics.load(this.control, HEAD);
      Atomics.store(this.control, WRITER_SLEEPS, 1);
      if (!this.fits(bytes)) await waitFor(this.control, HEAD, head, 50);
    }
    Atomics.store(this.control, WRITER_SLEEPS, 0);
  }

  async empty() {
    await this.room(this.capacity);
  }

  /** @param {bigint} recvNs @param {number} stream @param {number} kind @param {Uint8Array} payload */
  push(recvNs, stream, kind, payload) {
    this.header.setBigInt64(0, recvNs, true);
    this.header.setUint32(8, payload.length, true);
    this.header.setUint16(12, stream, true);
    this.header.setUint16(14, kind, true);
    this.#put(this.headerBytes);
    this.#put(payload);
    for (let left = -payload.length & 7; left > 0; left--) {
      this.data[this.tail & this.mask] = 0;
      this.tail = (this.tail + 1) | 0;
    }
  }

  /** @param {Uint8Array} bytes */
  #put(bytes) {
    const at = this.tail & this.mask;
    const first = this.capacity - at;
    if (bytes.length <= first) {
      this.data.set(bytes, at);
    } else {
      this.data.set(bytes.subarray(0, first), at);
      this.data.set(bytes.subarray(first), 0);
    }
    this.tail = (this.tail + bytes.length) | 0;
  }

  commit(stamp = clock()) {
    if (this.tail === Atomics.load(this.control, TAIL)) return;
    const commits = Atomics.load(this.control, COMMITS);
    const slot = (commits & (STAMPS - 1)) * 2;
    this.stamps[slot] = this.tail;
    this.stamps[slot + 1] = stamp;
    Atomics.store(this.control, COMMITS, (commits + 1) | 0);
    Atomics.store(this.control, TAIL, this.tail);
    this.#wake();
  }

  close() {
    this.commit();
    Atomics.store(this.control, CLOSED, 1);
    this.#wake();
  }

  knock() {
    knock(this.buffer);
  }

  #wake() {
    Atomics.add(this.control, SIGNAL, 1);
    if (Atomics.exchange(this.control, READER_SLEEPS, 0) === 1) Atomics.notify(this.control, SIGNAL);
  }
}

/** @implements {Reader} */
export class RingReader {
  /** @param {SharedArrayBuffer} buffer from createRing */
  constructor(buffer) {
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4);
    this.stamps = new Float64Array(buffer, CONTROL_BYTES, STAMPS * 2);
    this.data = new Uint8Array(buffer, DATA);
    this.words = new Uint32Array(buffer, DATA);
    this.mask = this.data.length - 1;
    this.head = Atomics.load(this.control, HEAD);
    this.stamped = Atomics.load(this.control, COMMITS);
    this.frames = 0;
    this.waits = new Float64Array(STAMPS);
    this.waitCount = 0;
  }

  get ended() {
    return Atomics.load(this.control, CLOSED) === 1 && this.head === Atomics.load(this.control, TAIL);
  }

  /** @param {Uint8Array} heap @param {number} address @param {number} limit */
  drain(heap, address, limit) {
    this.frames = 0;
    this.waitCount = 0;
    const ready = (Atomics.load(this.control, TAIL) - this.head) >>> 0;
    if (ready === 0) return 0;
    const at = this.head & this.mask;
    let size = Math.min(ready, Math.max(limit, frameBytes(this.words[((this.head + 8) & this.mask) >> 2])));
    const first = Math.min(size, this.data.length - at);
    heap.set(this.data.subarray(at, at + first), address);
    if (first < size) heap.set(this.data.subarray(0, size - first), address + first);
    [size, this.frames] = wholeFrames(heap, address, size);
    this.head = (this.head + size) | 0;
    this.#measure();
    Atomics.store(this.control, HEAD, this.head);
    if (Atomics.exchange(this.control, WRITER_SLEEPS, 0) === 1) Atomics.notify(this.control, HEAD);
    return size;
  }

  #measure() {
    const commits = Atomics.load(this.control, COMMITS);
    if (((commits - this.stamped) >>> 0) > STAMPS / 2) this.stamped = (commits - STAMPS / 2) | 0; // older ones are overwritten
    const now = clock();
    while (this.stamped !== commits) {
      const slot = (this.stamped & (STAMPS - 1)) * 2;
      if (((this.head - this.stamps[slot]) | 0) < 0) break;
      this.waits[this.waitCount++] = now - this.stamps[slot + 1];
      this.stamped = (this.stamped + 1) | 0;
    }
  }

  get knocks() {
    return Atomics.load(this.control, KNOCKS);
  }

  /** Blocks the thread, so never on the page itself. @param {number} ms @param {number} [knocks] that were answered */
  wait(ms, knocks = Infinity) {
    const { control } = this;
    Atomics.store(control, READER_SLEEPS, 1);
    const seen = Atomics.load(control, SIGNAL); // before the look: what comes after it changes the signal
    const idle = this.head === Atomics.load(control, TAIL) && Atomics.load(control, CLOSED) === 0;
    if (idle && Atomics.load(control, KNOCKS) <= knocks) Atomics.wait(control, SIGNAL, seen, ms);
    Atomics.store(control, READER_SLEEPS, 0);
  }
}

/**
 * How much of a run of bytes is whole frames.
 * @param {Uint8Array} heap @param {number} address a multiple of 8 @param {number} size
 * @returns {[number, number]} bytes, frames
 */
function wholeFrames(heap, address, size) {
  const words = new Uint32Array(heap.buffer, heap.byteOffset + address, size >> 2);
  let end = 0;
  let frames = 0;
  while (end + HEADER_BYTES <= size) {
    const next = end + frameBytes(words[(end >> 2) + 2]);
    if (next > size) break;
    end = next;
    frames += 1;
  }
  return [end, frames];
}

/** How much the fallback writer may have on its way before it waits. */
const CREDIT = RING_BYTES;
const PARCEL = 1 << 16;

/** The writer without shared memory: parcels of frames, transferred. @implements {Writer} */
export class PortWriter {
  /** @param {MessagePort} port */
  constructor(port) {
    this.port = port;
    this.onWay = 0;
    this.parcel = new Uint8Array(PARCEL);
    this.view = new DataView(this.parcel.buffer);
    this.used = 0;
    /** @type {(() => void) | null} */
    this.wake = null;
    port.onmessage = (event) => {
      this.onWay -= event.data;
      this.wake?.();
    };
  }

  /** @param {number} bytes */
  fits(bytes) {
    return CREDIT - this.onWay - this.used >= bytes;
  }

  /** @param {number} bytes */
  async room(bytes) {
    if (bytes > CREDIT) throw new RangeError(`${bytes} bytes never fit ${CREDIT}`);
    this.commit();
    while (!this.fits(bytes)) {
      await new Promise((resolve) => {
        this.wake = () => resolve(undefined);
      });
    }
    this.wake = null;
  }

  async empty() {
    await this.room(CREDIT);
  }

  /** @param {bigint} recvNs @param {number} stream @param {number} kind @param {Uint8Array} payload */
  push(recvNs, stream, kind, payload) {
    const bytes = frameBytes(payload.length);
    if (this.used + bytes > this.parcel.length) {
      this.commit();
      if (bytes > this.parcel.length) this.#renew(bytes);
    }
    this.view.setBigInt64(this.used, recvNs, true);
    this.view.setUint32(this.used + 8, payload.length, true);
    this.view.setUint16(this.used + 12, stream, true);
    this.view.setUint16(this.used + 14, kind, true);
    this.parcel.set(payload, this.used + HEADER_BYTES); // the padding is zero: a parcel is used once
    this.used += bytes;
  }

  /** @param {number} bytes */
  #renew(bytes) {
    this.parcel = new Uint8Array(bytes);
    this.view = new DataView(this.parcel.buffer);
    this.used = 0;
  }

  commit(stamp = clock()) {
    if (this.used === 0) return;
    this.onWay += this.used;
    const { buffer } = this.used * 4 < this.parcel.length ? this.parcel.slice(0, this.used) : this.parcel; // a lone message is small
    this.port.postMessage({ parcel: buffer, used: this.used, stamp }, [buffer]);
    if (buffer === this.parcel.buffer) this.#renew(PARCEL);
    else this.parcel.fill(0, 0, this.used);
    this.used = 0;
  }

  close() {
    this.commit();
    this.port.postMessage({ closed: true });
  }

  knock() {} // its reader never blocks
}

/** The reader without shared memory. @implements {Reader} */
export class PortReader {
  /** @param {MessagePort} port */
  constructor(port) {
    this.port = port;
    /** @type {{bytes: Uint8Array, stamp: number}[]} */
    this.queue = [];
    this.closed = false;
    this.frames = 0;
    this.waits = new Float64Array(STAMPS);
    this.waitCount = 0;
    this.knocks = 0; // it waits without blocking, so it hears everything
    /** @type {(() => void) | null} */
    this.wake = null;
    port.onmessage = (event) => {
      const { parcel, used, stamp, closed } = event.data;
      if (closed) this.closed = true;
      else this.queue.push({ bytes: new Uint8Array(parcel, 0, used), stamp });
      this.wake?.();
    };
  }

  get ended() {
    return this.closed && this.queue.length === 0;
  }

  /** @param {Uint8Array} heap @param {number} address @param {number} limit */
  drain(heap, address, limit) {
    this.frames = 0;
    this.waitCount = 0;
    let size = 0;
    const now = clock();
    while (this.queue.length > 0 && this.waitCount < STAMPS) {
      const { bytes, stamp } = this.queue[0];
      if (size > 0 && size + bytes.length > limit) break;
      heap.set(bytes, address + size);
      size += bytes.length;
      this.waits[this.waitCount++] = now - stamp;
      this.queue.shift();
    }
    if (size > 0) {
      this.frames = wholeFrames(heap, address, size)[1];
      this.port.postMessage(size);
    }
    return size;
  }

  /** @param {number} ms */
  async wait(ms) {
    if (this.queue.length > 0 || this.closed) return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.wake = null;
  }
}
