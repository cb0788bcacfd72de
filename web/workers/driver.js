// Drives a live session in the engine worker: walks over what was drained from the ring, shows the session (Python) what it has
// to see, feeds the kernel, and carries out what the session asks for. The order is the native host's (cwts.transport): each
// message is judged by the session and then pushed, what a session asks for on it comes right behind it, and the kernel's
// events are told after each batch.
//
// A call into Python costs as much as ten messages in the kernel, so messages that the session would only count (quotes, which
// are most of all messages) are recognised here by how they begin: `passing` of the action that opened their connection.

import { ENUMS, LAYOUT } from "../layout.js";
import { ANSWER_BYTES, ENTRY, frameBytes, HEADER_BYTES } from "../ring.js";

/** @typedef {import("./sockets.js").Action} Action */
/** @typedef {{stream: number, passing: Uint8Array[], passed: number}} Link */

const { RAW, TIMER, COMMAND } = ENUMS.cwts_kind;
const NOTEWORTHY = ENUMS.cwts_event.SYNCED | ENUMS.cwts_event.GAP | ENUMS.cwts_event.NEED_SNAPSHOT; // cwts.exchanges.base
const ACTIONS = 1 << 8; // of cwts.browser: in what `look` returns
const OWN_STREAM = 15; // of timers and commands
const FETCH_STREAM = 14;
const TIMER_MS = 1000; // a timer frame after this much silence, as cwts.transport.native does
const COMMAND_BYTES = HEADER_BYTES + LAYOUT.cwts_command.size;

const encoder = new TextEncoder();

export class Driver {
  /**
   * @param {object} host
   * @param {any} host.session `Live` of cwts.browser
   * @param {() => Uint8Array} host.heap the wasm memory, whose views detach whenever it grows
   * @param {number} host.drained address of what was drained
   * @param {number} host.input address from which the kernel is fed @param {number} host.inputBytes
   * @param {(bytes: number) => number} host.feed feeds so much of the input; returns cwts_event bits
   * @param {(actions: Action[]) => void} host.act carries out what is not done here
   */
  constructor({ session, heap, drained, input, inputBytes, feed, act }) {
    this.session = session;
    this.look = session.look;
    this.heap = heap;
    this.drained = drained;
    this.input = input;
    this.inputBytes = inputBytes;
    this.feed = feed;
    this.act = act;
    /** @type {Map<number, Link>} */
    this.links = new Map();
    this.bytes = heap();
    this.view = new DataView(this.bytes.buffer);
    this.used = 0; // of the input
    this.events = 0;
    this.pending = 0; // events that the session has not heard of
    this.at = 0; // the entry that is being looked at, from `drained`
    this.quietSince = Infinity; // ms: when the engine last got a message or a timer
    /** Market messages and milliseconds in the kernel of the last batch. */
    this.messages = 0;
    this.kernelMs = 0;
    this.looks = 0; // ever
    this.failed = "";
  }

  start() {
    this.#carry(this.session.start());
  }

  destroy() {
    this.look.destroy();
    this.session.destroy();
  }

  /** Takes a batch of entries. @param {number} size bytes, at `drained` @returns {number} cwts_event bits */
  process(size) {
    this.events = 0;
    this.messages = 0;
    this.kernelMs = 0;
    this.#refresh();
    for (let at = 0, next = 0; at < size && !this.failed; at = next) {
      const place = this.drained + at;
      const length = this.view.getUint32(place + 8, true);
      const number = this.view.getUint16(place + 12, true);
      const kind = this.view.getUint16(place + 14, true);
      next = at + frameBytes(length);
      this.at = at;
      const link = this.links.get(number);
      if (kind === RAW) {
        this.messages += 1;
        if (link && this.#passes(link, place + HEADER_BYTES)) {
          link.passed += 1;
          this.#push(place, next - at, link.stream);
          continue;
        }
      } else if (kind === ENTRY.TICK) {
        this.#tell();
      } else if (kind === ENTRY.CLOSED) {
        this.#tell();
        this.links.delete(number);
      }
      this.looks += 1;
      const found = this.look(at);
      this.#refresh();
      if (found & 1) {
        if (kind === ENTRY.FETCHED) this.#pushAnswer(at, length);
        else this.#push(this.drained + at, next - at, link?.stream ?? 0);
      }
      if (found & ACTIONS) this.#carry(this.session.take());
      if (kind === ENTRY.TICK) this.#timer();
    }
    this.#flush();
    return this.events;
  }

  /** The state of the connections, as JSON; only right after a batch. @returns {string} */
  health() {
    return this.session.health(this.at);
  }

  /** Python may have let the memory grow. */
  #refresh() {
    const bytes = this.heap();
    if (bytes.buffer === this.bytes.buffer) return;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  /** @param {number} at @returns {number} an entry's time */
  #ms(at) {
    const place = this.drained + at;
    return (this.view.getInt32(place + 4, true) * 4294967296 + this.view.getUint32(place, true)) / 1e6;
  }

  /** @param {Link} link @param {number} from */
  #passes(link, from) {
    const { bytes } = this;
    for (const beginning of link.passing) {
      let same = beginning.length;
      while (same > 0 && bytes[from + same - 1] === beginning[same - 1]) same -= 1; // from the end, where they differ
      if (same === 0) return true;
    }
    return false;
  }

  /** @param {number} from address of a frame @param {number} size @param {number} stream */
  #push(from, size, stream) {
    if (this.used + size + COMMAND_BYTES > this.inputBytes) this.#feed();
    const to = this.input + this.used;
    this.bytes.copyWithin(to, from, from + size);
    this.view.setUint16(to + 12, stream, true);
    this.used += size;
    this.quietSince = this.#ms(this.at);
  }

  /** The body of an answer becomes a message. @param {number} at @param {number} length of the entry */
  #pushAnswer(at, length) {
    const size = frameBytes(length - ANSWER_BYTES);
    if (this.used + size + COMMAND_BYTES > this.inputBytes) this.#feed();
    const to = this.input + this.used;
    const from = this.drained + at;
    this.bytes.copyWithin(to, from, from + HEADER_BYTES);
    this.bytes.copyWithin(to + HEADER_BYTES, from + HEADER_BYTES + ANSWER_BYTES, from + ANSWER_BYTES + size);
    this.view.setUint32(to + 8, length - ANSWER_BYTES, true);
    this.view.setUint16(to + 12, FETCH_STREAM, true);
    this.view.setUint16(to + 14, RAW, true);
    this.used += size;
    this.quietSince = this.#ms(this.at);
  }

  /** A frame of our own, at the time of the entry. @param {number} kind @param {number} length */
  #own(kind, length) {
    if (this.used + COMMAND_BYTES > this.inputBytes) this.#feed();
    const to = this.input + this.used;
    this.bytes.copyWithin(to, this.drained + this.at, this.drained + this.at + 8);
    this.view.setUint32(to + 8, length, true);
    this.view.setUint16(to + 12, OWN_STREAM, true);
    this.view.setUint16(to + 14, kind, true);
    this.used += HEADER_BYTES + length;
    return to + HEADER_BYTES;
  }

  /** Time passes for the engine where no message brings it. */
  #timer() {
    const now = this.#ms(this.at);
    if (this.quietSince === Infinity) this.quietSince = now;
    if (now - this.quietSince < TIMER_MS) return;
    this.quietSince = now;
    this.#own(TIMER, 0);
  }

  /** Tells the session what passed by it. */
  #tell() {
    for (const [number, link] of this.links) {
      if (link.passed === 0) continue;
      this.session.passed(this.at, number, link.passed);
      link.passed = 0;
    }
  }

  #feed() {
    if (this.used === 0) return;
    const began = performance.now();
    this.pending |= this.feed(this.used);
    this.kernelMs += performance.now() - began;
    this.used = 0;
  }

  /** Feeds what waits and tells the session what the kernel said, until nothing follows from it. */
  #flush() {
    do {
      this.#feed();
      const bits = this.pending;
      this.pending = 0;
      this.events |= bits;
      if ((bits & NOTEWORTHY) !== 0 && this.session.events(this.at, bits)) this.#carry(this.session.take());
      this.#refresh();
    } while (this.used > 0);
  }

  /** @param {string} json */
  #carry(json) {
    this.#refresh();
    /** @type {Action[]} */
    const actions = JSON.parse(json);
    for (const action of actions) {
      if (action.kind === "open") {
        const passing = action.passing.map((beginning) => encoder.encode(beginning));
        this.links.set(action.link, { stream: action.stream, passing, passed: 0 });
      } else if (action.kind === "close") {
        this.links.delete(action.link);
      } else if (action.kind === "reset") {
        const at = this.#own(COMMAND, LAYOUT.cwts_command.size);
        this.view.setUint32(at, ENUMS.cwts_command_op.RESET_BOOK, true);
        this.view.setUint32(at + 4, 0, true);
      } else if (action.kind === "fail") {
        this.failed = action.text;
      }
    }
    this.act(actions);
  }
}
