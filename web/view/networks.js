// The three networks over the whole recording: a button that runs them, how far they are, and what they say, drawn over time
// with the price above.

import { fixed, signed, timeOfDay } from "../market.js";
import { oneLine } from "../rpc.js";
import { attribute, byId, hide, text } from "./dom.js";
import { findTime, line, nice, span, timeGrid } from "./plot.js";
import { Sheet } from "./sheet.js";

/** @typedef {import("../session.js").Session} Session */
/** @typedef {import("../session.js").Networks} Networks */
/** A line's points in order of time; NaN breaks it. @typedef {{time: Float64Array, columns: Float64Array[]}} Points */
/**
 * What is drawn: the price and all answers, and the answers' means. `meanMs`: of how much time.
 * @typedef {{found: Networks, of: Session["last"], decimals: number, tick: number, quote: string, meanMs: number, mid: Points, answers: Points, means: Points}} Shown
 */
/** @typedef {{top: number, bottom: number}} Area */

const RIGHT = 74;
const BOTTOM = 16;
const NAME = 16; // the height of a strip's name, which says the values too
const ANSWERS = 5;
const MEANS = 80; // over the whole width: the answers change too often for a line through all of them to be read
const PALE = 0.35; // that line
/** The strips below the price; `lines`: which answers, in which colours. */
const STRIPS = [
  { name: "value", unit: "bp", factor: 1, decimals: 3, lines: [{ at: 4, name: "", colour: "line-price" }] },
  { name: "cascade", unit: "%", factor: 100, decimals: 1, lines: [{ at: 0, name: "▲ up", colour: "bid" }, { at: 1, name: "▼ down", colour: "ask" }] },
  { name: "whale", unit: "%", factor: 100, decimals: 1, lines: [{ at: 2, name: "▲ up", colour: "bid" }, { at: 3, name: "▼ down", colour: "ask" }] },
];

export class NetworksPanel {
  /** @param {Session} session @param {(why: string) => void} say one line to the person */
  constructor(session, say) {
    this.session = session;
    this.say = say;
    /** @type {HTMLButtonElement} */
    this.button = byId("networks-run");
    this.canvas = byId("networks");
    this.progress = byId("networks-progress");
    /** What runs. @type {Promise<Networks> | null} */
    this.running = null;
    this.words = "";
    /** @type {Shown | null} */
    this.shown = null;
    /** The row whose values are read off; −1: none. */
    this.at = -1;
    this.asked = false;
    this.button.addEventListener("click", () => this.toggle());
    for (const kind of /** @type {const} */ (["pointermove", "pointerdown"])) {
      this.canvas.addEventListener(kind, (event) => this.#point(event.offsetX));
    }
    this.canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.#mark(-1); // a finger has to leave before the values can be read
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.sheet = new Sheet(/** @type {HTMLCanvasElement} */ (this.canvas), () => this.#draw());
  }

  /** Runs the networks, or ends the run that goes on. */
  toggle() {
    if (this.cancel()) return;
    if (this.session.noNetworks) this.say(this.session.noNetworks);
    else this.run().catch(() => {}); // the panel says why
  }

  /** @returns {boolean} whether there was something to end */
  cancel() {
    if (this.running) this.session.cancelNetworks();
    return this.running !== null;
  }

  /** @returns {Promise<Networks>} of the run that goes on, if one does */
  run() {
    this.running ??= this.#run().finally(() => {
      this.running = null;
      this.write();
    });
    this.write();
    return this.running;
  }

  async #run() {
    const { session } = this;
    const { last } = session;
    attribute(this.progress, "value", 0);
    this.words = "reading the recording";
    try {
      const found = await session.networks((share, what) => {
        attribute(this.progress, "value", share);
        this.words = share < 1 ? `${what}: ${fixed(100 * share, 0)} %` : what;
        this.write();
      });
      this.#show(found, last);
      return found;
    } catch (error) {
      this.words = session.last === last ? `${oneLine(error)}${this.shown ? "; below is the run before" : ""}` : "";
      throw error;
    }
  }

  /** Another session is there. What was found stays, if the recording is the same one from its beginning. */
  open() {
    const { last } = this.session;
    const of = this.shown?.of;
    const same = of && last && "source" in of && "source" in last && of.source === last.source &&
      of.options.exchange === last.options.exchange && of.options.symbol === last.options.symbol;
    if (!same) this.#clear();
    this.write();
  }

  #clear() {
    this.shown = null;
    if (!this.running) this.words = "";
    hide(this.canvas, true);
  }

  /** Words and button. */
  write() {
    const why = this.session.noNetworks;
    hide(this.progress, !this.running);
    this.button.disabled = why !== "" && !this.running;
    text(byId("networks-run-word"), this.running ? "Cancel" : "Run");
    text(byId("networks-run-key"), this.running ? "Esc" : "N");
    attribute(this.button, "aria-label", this.running ? "Cancel the networks over the recording" : "Run the networks over the recording");
    text(byId("networks-words"), this.running ? this.words : why || this.words);
  }

  /** @param {Networks} found @param {Session["last"]} of */
  #show(found, of) {
    const { market } = this.session;
    if (!market) return;
    const columns = Array.from({ length: ANSWERS }, (_, which) => Float64Array.from(found.t, (_, row) => found.answers[row * ANSWERS + which]));
    const meanMs = Math.max(found.stepMs, (found.t[found.rows - 1] - found.t[0]) / MEANS);
    this.shown = {
      found, of, decimals: market.priceDecimals, tick: market.tick / market.priceUnit, quote: market.quote, meanMs,
      mid: broken(found.t, [found.mid], found.breaks),
      answers: broken(found.t, columns, found.breaks),
      means: means(found.t, columns, found.breaks, meanMs),
    };
    this.words = wordsOf(found);
    this.at = -1;
    attribute(this.canvas, "aria-valuemax", found.rows - 1);
    this.#mark(-1);
    hide(this.canvas, false);
    this.#draw();
    byId("networks-panel").scrollIntoView({ block: "nearest" });
  }

  get right() {
    return this.sheet.width - RIGHT;
  }

  /** @param {number} across pixels from the canvas's left edge */
  #point(across) {
    if (!this.shown) return;
    const { t, rows } = this.shown.found;
    const time = t[0] + (Math.max(0, Math.min(1, across / this.right))) * (t[rows - 1] - t[0]);
    const after = Math.min(rows - 1, findTime(t, rows, time));
    this.#mark(after > 0 && time - t[after - 1] < t[after] - time ? after - 1 : after);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows } = this.shown.found;
    const page = Math.max(1, Math.round(rows / 20));
    const steps = /** @type {Record<string, number>} */ ({
      ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -page, PageUp: page, Home: -rows, End: rows,
    });
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const from = this.at >= 0 ? this.at : step > 0 ? -1 : rows;
    this.#mark(Math.max(0, Math.min(rows - 1, from + step)));
  }

  /** Reads off a row. @param {number} at −1: none */
  #mark(at) {
    this.at = at;
    attribute(this.canvas, "aria-valuenow", Math.max(0, at));
    attribute(this.canvas, "aria-valuetext", at < 0 ? "nothing is read off" : [this.#price(), ...STRIPS.map((strip) => this.#values(strip))].join("; "));
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.#draw();
    });
  }

  /** The price's name, or time and price of the row that is read off. */
  #price() {
    if (!this.shown) return "";
    const { found, decimals, quote } = this.shown;
    if (this.at < 0) return `mid price, ${quote}  time, UTC`;
    return `${timeOfDay(found.t[this.at], true)}  mid ${fixed(found.mid[this.at], decimals + 1)}`;
  }

  /** @param {(typeof STRIPS)[number]} strip @returns {string} its name and unit, or its values in the row that is read off */
  #values({ name, unit, factor, decimals, lines }) {
    const values = lines.map((each) => {
      if (!this.shown || this.at < 0) return each.name;
      const value = factor * this.shown.found.answers[this.at * ANSWERS + each.at];
      return `${each.name} ${factor === 1 ? signed(value, decimals) : fixed(value, decimals)}`.trim();
    });
    return `${name}, ${unit}  ${values.join("  ")}`.trim();
  }

  #draw() {
    const { shown, sheet, right } = this;
    const { pen, colours, width, height } = sheet;
    if (!shown || width === 0 || height === 0) return;
    const { found } = shown;
    const end = height - BOTTOM;
    const strip = Math.round(end * 0.21);
    const first = end - strip * STRIPS.length;
    const [from, to] = [found.t[0], found.t[found.rows - 1]];
    const x = (/** @type {number} */ at) => ((at - from) / Math.max(1, to - from)) * right;
    sheet.fill("panel", 0, 0, width, height);
    pen.font = `11px ${colours.mono}`;
    timeGrid(pen, colours, from, to, x, right, NAME, end);

    const price = { top: NAME + 2, bottom: first - 6 };
    const [low, high] = extent(shown.mid.columns, shown.tick);
    const y = span(price, low, high);
    const step = nice((high - low) / Math.max(2, (price.bottom - price.top) / 40), shown.tick);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) this.#level(y(value), fixed(value, shown.decimals));
    this.#line(shown.mid, 0, x, y, "line-price");
    this.#name(this.#price(), 0);

    STRIPS.forEach((each, at) => {
      const top = first + at * strip;
      const area = { top: top + NAME + 2, bottom: top + strip - 9 };
      this.#rule(top, width, "edge");
      const [least, most] = extent(each.lines.map((one) => shown.answers.columns[one.at]), 1e-6);
      const place = span(area, least, most);
      const label = (/** @type {number} */ value) =>
        `${each.factor === 1 ? signed(value, 2) : fixed(each.factor * value, 1)} ${each.unit}`;
      this.#level(place(most), label(most));
      this.#level(place(least), label(least));
      if (each.factor === 1 && least < 0 && most > 0) this.#level(place(0), area.bottom - area.top > 36 ? `0 ${each.unit}` : "");
      pen.globalAlpha = PALE;
      for (const one of each.lines) this.#line(shown.answers, one.at, x, place, one.colour);
      pen.globalAlpha = 1;
      for (const one of each.lines) this.#line(shown.means, one.at, x, place, one.colour, 1.5);
      const how = at === 0 && this.at < 0 ? `  pale: all, line: mean of ${fixed(shown.meanMs / 1000, 1)} s` : "";
      this.#name(this.#values(each) + how, top, each.lines);
    });
    if (this.at < 0) return;
    const across = Math.round(x(found.t[this.at])) + 0.5;
    pen.strokeStyle = colours.text;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(across, NAME);
    pen.lineTo(across, end);
    pen.stroke();
  }

  /**
   * @param {Points} points @param {number} which column @param {(time: number) => number} x @param {(value: number) => number} y
   * @param {string} colour @param {number} [width]
   */
  #line({ time, columns }, which, x, y, colour, width = 1) {
    const { pen, colours } = this.sheet;
    pen.strokeStyle = colours[colour];
    pen.lineWidth = width;
    line(pen, time, columns[which], 0, time.length, x, y);
  }

  /** A line across, and what it stands for. @param {number} at @param {string} label */
  #level(at, label) {
    const { pen, colours } = this.sheet;
    this.#rule(at, this.right, "grid");
    pen.fillStyle = colours.quiet;
    pen.fillText(label, this.right + 6, at + 4);
  }

  /** @param {number} at @param {number} to @param {string} colour */
  #rule(at, to, colour) {
    this.sheet.fill(colour, 0, Math.round(at), to, 1);
  }

  /**
   * Words above a strip; those of a line in its colour.
   * @param {string} words @param {number} top @param {{name: string, colour: string}[]} [lines]
   */
  #name(words, top, lines = []) {
    const { pen, colours } = this.sheet;
    let left = 0;
    for (const word of words.split(/ {2}/)) {
      const own = lines.find(({ name }) => name !== "" && word.startsWith(name));
      pen.fillStyle = own ? colours[own.colour] : this.at < 0 ? colours.quiet : colours.text;
      pen.fillText(word, left, top + 12);
      left += pen.measureText(`${word}  `).width;
    }
  }
}

/**
 * Points with a NaN between those that no valid book connects.
 * @param {Float64Array} t @param {Float64Array[]} columns @param {number[]} breaks rows before which there was none @returns {Points}
 */
function broken(t, columns, breaks) {
  if (breaks.length === 0) return { time: t, columns };
  const spread = (/** @type {Float64Array} */ column, /** @type {(row: number) => number} */ between) => {
    const made = new Float64Array(column.length + breaks.length);
    for (let row = 0, gap = 0; row < column.length; row++) {
      if (row === breaks[gap]) made[row + gap++] = between(row);
      made[row + gap] = column[row];
    }
    return made;
  };
  return { time: spread(t, (row) => t[row]), columns: columns.map((column) => spread(column, () => NaN)) };
}

/**
 * The mean of each column over every `meanMs`, in its middle; the valid times after a break begin anew.
 * @param {Float64Array} t @param {Float64Array[]} columns @param {number[]} breaks @param {number} meanMs @returns {Points}
 */
function means(t, columns, breaks, meanMs) {
  /** Rows where a mean begins; a break is a row of none. @type {[number, number][]} */
  const spans = [];
  const gaps = new Set(breaks);
  for (let row = 0; row < t.length; ) {
    if (row > 0 && gaps.has(row)) spans.push([row, row]);
    const from = row;
    const bucket = Math.floor(t[row] / meanMs);
    for (row += 1; row < t.length && !gaps.has(row) && Math.floor(t[row] / meanMs) === bucket; ) row += 1;
    spans.push([from, row]);
  }
  const mean = (/** @type {Float64Array} */ column, /** @type {number} */ from, /** @type {number} */ to) => {
    let sum = 0;
    for (let row = from; row < to; row++) sum += column[row] - column[from];
    return from === to ? NaN : column[from] + sum / (to - from);
  };
  const over = (/** @type {Float64Array} */ column) => Float64Array.from(spans, ([from, to]) => mean(column, from, to));
  const time = Float64Array.from(spans, ([from, to]) => (from === to ? t[from] : mean(t, from, to)));
  return { time, columns: columns.map(over) };
}

/** The least and the most of the columns, apart. @param {Float64Array[]} columns @param {number} apart at least @returns {[number, number]} */
function extent(columns, apart) {
  let low = Infinity;
  let high = -Infinity;
  for (const column of columns) {
    for (const value of column) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  return high - low < apart ? [low - apart, high + apart] : [low, high];
}

/** Who did it, how much, how fast, and whether it is right. @param {Networks} found @returns {string} */
function wordsOf({ rows, stepMs, by, tried, ms, worst, signs, told }) {
  const size = `${fixed(rows, 0)} rows, one every ${stepMs} ms`;
  const simd = `SIMD: ${took(ms.simd)}`;
  if (told) return `${told[0].toUpperCase()}${told.slice(1)}. ${size}; ${simd}${Number.isNaN(ms.gpu) ? "" : `, ${tried}: ${took(ms.gpu)}`}.`;
  const equal = worst === 0 ? "equals SIMD bit for bit" : `equals SIMD within ${worst.toExponential(0)}`;
  return `${by}: ${size}, in ${took(ms.gpu)}; ${simd}; ${equal}${signs ? ", signs equal" : ""}.`;
}

/** @param {number} ms @returns {string} */
function took(ms) {
  return `${fixed(ms, ms < 10 ? 1 : 0)} ms`;
}
