// The three networks over the whole recording. The recording is read a piece at a time: between two pieces this worker hears
// its messages, and the replay goes on.

import { agreement, MOST_APART, runNetworks } from "../gpu.js";
import { Refusal } from "../rpc.js";
import { breath } from "./breath.js";

/**
 * What came of it, a row for every `stepMs` of the recording at which the book was valid.
 * @typedef {object} Found
 * @property {number} rows @property {number} stepMs
 * @property {Float64Array} t ms since the epoch
 * @property {Float64Array} mid in the price's last decimal; 0 where a side of the book is empty
 * @property {number[]} breaks rows before which the book was not valid for a while
 * @property {Float32Array} answers five a row: cascade up, down; whale up, down (probabilities); value (basis points)
 * @property {string} by who gave them: an adapter's name, or SIMD
 * @property {string} tried the adapter that was asked, also where its answers are not these; or nothing
 * @property {{gpu: number, simd: number}} ms `gpu`: the pass with its transfers; NaN where none came to an end
 * @property {number} worst the GPU's largest difference from SIMD, of 1 + |answer|; 0 without a GPU @property {boolean} signs
 * @property {string} told why these are not a GPU's, in one line; or nothing
 */

export class History {
  /** @param {() => Uint8Array} heap @param {(message: {networks: {share: number, what: string}}) => void} tell */
  constructor(heap, tell) {
    this.heap = heap;
    this.tell = tell;
    /** What runs, and why it is to end before its time. @type {{reading: any, why: string} | null} */
    this.current = null;
  }

  /** The replay must not sleep in its thread meanwhile. */
  get busy() {
    return this.current !== null;
  }

  /** Closes the recording at once; `run` ends at its next turn. @param {string} why */
  cancel(why) {
    if (!this.current || this.current.why) return;
    this.current.why = why;
    this.current.reading.return();
  }

  /** @param {any} python the module cwts.browser @param {number} stepMs @returns {Promise<Found>} */
  async run(python, stepMs) {
    if (this.current) throw new Refusal("the networks are at work already");
    const history = python.History(stepMs);
    const reading = history.read();
    const mine = { reading, why: "" };
    this.current = mine;
    const unlessCancelled = () => {
      if (mine.why) throw new Refusal(mine.why);
    };
    try {
      for (let piece = reading.next(); !piece.done; piece = reading.next()) {
        this.tell({ networks: { share: piece.value, what: "reading the recording" } });
        await breath();
        unlessCancelled();
      }
      const found = await this.#ask(history, stepMs);
      unlessCancelled();
      return found;
    } finally {
      this.current = null;
      reading.destroy();
      history.destroy();
    }
  }

  /** @param {any} history that has read all @param {number} stepMs @returns {Promise<Found>} */
  async #ask(history, stepMs) {
    const made = JSON.parse(history.found());
    if (made.error !== undefined) throw new Refusal(made.error);
    const { rows, breaks } = made;
    if (rows === 0) throw new Refusal("the book was never valid: there is nothing to ask the networks about");
    const copy = (/** @type {number} */ at, /** @type {number} */ bytes) => this.heap().slice(at, at + bytes);
    const numbers = (/** @type {number} */ at, /** @type {number} */ unit) =>
      Float64Array.from(new BigInt64Array(copy(at, rows * 8).buffer), (value) => Number(value) / unit);
    const began = performance.now();
    const at = history.simd();
    const simdMs = performance.now() - began;
    const reference = new Float32Array(copy(at, rows * 20).buffer);
    let told = "";
    let tried = "";
    const given = await runNetworks(copy(made.weights, made.weightBytes), new Float32Array(copy(made.features, rows * 64).buffer), {
      software: true, // it is asked for by hand, and SIMD is there to compare with
      simd: () => reference,
      tell: (message) => {
        told = message;
      },
      opened: (name) => {
        tried = name;
        this.tell({ networks: { share: 1, what: `networks on ${name}` } });
      },
    });
    const found = { rows, stepMs, t: numbers(made.times, 1e6), mid: numbers(made.mids, 1e8), breaks, tried };
    if (told) return { ...found, answers: reference, by: "SIMD", ms: { gpu: NaN, simd: simdMs }, worst: 0, signs: true, told };
    const { worst, signs, agrees } = agreement(given.answers, reference);
    if (!agrees) {
      const how = worst <= MOST_APART ? "in signs" : `by up to ${worst.toExponential(0)} (${MOST_APART.toExponential()} is allowed)`;
      told = `${tried} differs from SIMD ${how}; SIMD's answers are drawn`;
    }
    return {
      ...found, answers: agrees ? given.answers : reference, by: agrees ? given.by : "SIMD", ms: { gpu: given.ms, simd: simdMs }, worst, signs, told,
    };
  }
}
