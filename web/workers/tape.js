// Records the live session: takes what the kernel is about to be fed, packs it in moments in which no message waits, and hands
// whole groups to the recorder worker. A group is about a second: that is what a crash costs.

import { frameBytes } from "../ring.js";
import { oneLine, Refusal } from "../rpc.js";

/** @typedef {import("../groups.js").Limits} Limits */

const GROUP_BYTES = 256 << 10; // as in cwts.recorder
const GROUP_MS = 1000;
const PIECE_BYTES = 32 << 10; // packed at once: a tenth of a millisecond
const FORCED_BYTES = 2 * GROUP_BYTES; // packed although messages wait
const FILE_MS = 24 * 3600 * 1000;
const BACKLOG_BYTES = 64 << 20; // on their way to the disk, at most

export class Tape {
  /**
   * @param {object} host
   * @param {any} host.made `Tape` of cwts.browser
   * @param {() => Uint8Array} host.heap the wasm memory, whose views detach whenever it grows
   * @param {import("../rpc.js").Caller} host.store the recorder worker
   * @param {Limits} host.limits
   */
  constructor({ made, heap, store, limits }) {
    this.made = made;
    this.heap = heap;
    this.store = store;
    this.limits = limits;
    this.address = made.address;
    this.used = 0; // bytes of frames that are in no group yet
    this.packed = 0; // of these
    this.since = 0; // when the first of them came
    this.block = 0; // bytes of the engine's block that are to be packed first
    this.blockPacked = 0;
    this.part = 0;
    this.fileBytes = 0;
    this.fileSince = 0;
    this.onWay = 0;
    this.over = false;
  }

  /** @param {boolean} fresh the session has fed nothing yet @returns {Promise<void>} rejects where nothing can be recorded */
  begin(fresh) {
    const group = bytesOf(this.made.begin.callKwargs({ fresh }));
    this.used = this.made.used;
    this.packed = 0;
    this.block = this.made.block_bytes;
    this.blockPacked = 0;
    this.fileBytes = 0;
    this.fileSince = performance.now();
    this.since = this.fileSince;
    const begun = this.#send("begin", [this.made.name, this.part++, this.limits]);
    this.#append(group, 0);
    return begun;
  }

  /** What is about to be fed. @param {number} address @param {number} bytes */
  take(address, bytes) {
    if (this.used >= FORCED_BYTES) this.#safely(() => this.#close());
    if (this.used === 0 && this.block === 0) this.#safely(() => this.#turn());
    if (this.over) return;
    if (this.used === 0) this.since = performance.now();
    this.heap().copyWithin(this.address + this.used, address, address + bytes);
    this.used += bytes;
  }

  /** Nobody waits: packs a piece. @returns {boolean} whether there was something to do */
  work() {
    if (this.over) return false;
    if (this.block > 0) this.#safely(() => this.#packBlock());
    else if (this.used - this.packed >= PIECE_BYTES) this.#safely(() => this.#pack(this.packed + PIECE_BYTES));
    else if (this.used >= GROUP_BYTES || (this.used > 0 && performance.now() - this.since >= GROUP_MS)) this.#safely(() => this.#close());
    else return false;
    return true;
  }

  /** @returns {Promise<void>} when all is written and the file closed, or the page has heard why not */
  async end() {
    this.#safely(() => this.#close());
    if (this.over) return;
    this.#finish();
    await this.store.call("end").catch(() => {});
  }

  /** @param {number} to */
  #pack(to) {
    this.made.pack(this.packed, to);
    this.packed = to;
  }

  #packBlock() {
    const to = Math.min(this.block, this.blockPacked + PIECE_BYTES);
    this.made.pack_block(this.blockPacked, to);
    this.blockPacked = to;
    if (to < this.block) return;
    this.block = this.blockPacked = 0;
    this.#append(bytesOf(this.made.block_group()), 0);
  }

  /** Ends the group. */
  #close() {
    while (this.block > 0) this.#packBlock();
    if (this.used === 0) return;
    if (this.packed < this.used) this.#pack(this.used);
    const { count, first, last } = this.#span();
    this.#append(bytesOf(this.made.group(this.used, count, first, last)), count);
    this.used = this.packed = 0;
  }

  /** Begins another file where this one is large or old: all that it has was fed, so the engine's block is what follows it. */
  #turn() {
    const due = this.fileBytes >= this.limits.fileBytes || performance.now() - this.fileSince >= FILE_MS;
    if (due) this.begin(false).catch(() => {}); // the page hears of it
  }

  /** How many frames, the first and the last receive time. */
  #span() {
    const heap = this.heap();
    const view = new DataView(heap.buffer, heap.byteOffset + this.address, this.used);
    let count = 0;
    let last = 0;
    for (let at = 0; at < this.used; at += frameBytes(view.getUint32(at + 8, true))) {
      last = at;
      count += 1;
    }
    return { count, first: view.getBigInt64(0, true), last: view.getBigInt64(last, true) };
  }

  /** @param {Uint8Array} group @param {number} frames */
  #append(group, frames) {
    const { length } = group;
    this.fileBytes += length;
    this.onWay += length;
    if (this.onWay > BACKLOG_BYTES) return this.#fail("the disk cannot follow");
    this.#send("append", [group, frames], [group.buffer]).then(
      () => {
        this.onWay -= length;
      },
      () => {},
    );
  }

  /** @param {string} method @param {any[]} values @param {Transferable[]} [transfer] */
  async #send(method, values, transfer) {
    try {
      await this.store.call(method, values, transfer);
    } catch (error) {
      this.#finish(); // the recorder worker has told the page
      throw new Refusal(oneLine(error));
    }
  }

  /** What goes wrong here ends the recording and not the session. @param {() => void} work */
  #safely(work) {
    try {
      if (!this.over) work();
    } catch (error) {
      this.#fail(oneLine(error));
    }
  }

  /** @param {string} why */
  #fail(why) {
    this.#finish();
    this.store.call("end", [why]).catch(() => {}); // that it tells the page is all we want
  }

  /** Nothing is taken any more. */
  #finish() {
    if (this.over) return;
    this.over = true;
    this.made.destroy();
  }
}

/** @param {any} made Python bytes @returns {Uint8Array} a copy outside the wasm memory */
function bytesOf(made) {
  const view = made.getBuffer("u8");
  const bytes = view.data.slice();
  view.release();
  made.destroy();
  return bytes;
}
