// The mid price over time with our decisions and fills, the score and the profit below it. One canvas, drawn whole, but only
// a few times a second.

import { fixed, signed, timeOfDay } from "../market.js";
import { ENUMS } from "../layout.js";
import { DRAWN } from "../mirror.js";
import { PHASES, phaseOf } from "../words.js";
import { findTime, line, nice, span, timeGrid } from "./plot.js";
import { Sheet } from "./sheet.js";

/** @typedef {import("../market.js").Market} Market */
/** @typedef {import("../snapshot.js").Order} Order */
/** @typedef {import("../snapshot.js").Snapshot} Snapshot */

const CAPACITY = 1 << 16;
const RIGHT = 74;
const BOTTOM = 16;
const STRIP = 4; // the height of the phases' strip
const [PHASE, RISK] = [ENUMS.cwts_signal.PHASE, ENUMS.cwts_signal.RISK].map((signal) => DRAWN.indexOf(signal));
const DRAW_MS = 150; // between drawings, unless somebody asks: at the widest span a point is a fraction of a pixel

/** Points of the market's time, oldest first; the oldest half goes when there is no room. */
class History {
  constructor() {
    this.time = new Float64Array(CAPACITY);
    this.mid = new Float64Array(CAPACITY);
    this.equity = new Float64Array(CAPACITY);
    this.score = new Float64Array(CAPACITY);
    this.phase = new Int8Array(CAPACITY); // -1: not known
    this.size = 0;
  }

  /** @param {number} time @param {number} mid @param {number} equity @param {number} score @param {number} phase */
  add(time, mid, equity, score, phase) {
    if (this.size === CAPACITY) {
      for (const column of [this.time, this.mid, this.equity, this.score, this.phase]) column.copyWithin(0, CAPACITY / 2);
      this.size = CAPACITY / 2;
    }
    this.time[this.size] = time;
    this.mid[this.size] = mid;
    this.equity[this.size] = equity;
    this.score[this.size] = score;
    this.phase[this.size] = phase;
    this.size += 1;
  }

  /** @param {number} time @returns {number} the first point at or after it */
  find(time) {
    return findTime(this.time, this.size, time);
  }
}

export class Chart {
  /** @param {HTMLCanvasElement} canvas @param {() => void} ask for a frame */
  constructor(canvas, ask) {
    this.ask = ask;
    this.history = new History();
    /** @type {Map<number, Order>} */
    this.orders = new Map();
    this.span = 300_000;
    /** @type {{x: number, y: number} | null} */
    this.pointer = null;
    this.dirty = true; // there is something new to draw
    this.asked = true; // and somebody waits for it
    this.drawnAt = 0;
    canvas.addEventListener("pointermove", (event) => {
      this.pointer = { x: event.offsetX, y: event.offsetY };
      this.redraw();
    });
    canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.redraw();
    });
    this.sheet = new Sheet(canvas, () => this.redraw());
    this.context = this.sheet.pen;
  }

  get colours() {
    return this.sheet.colours;
  }

  get width() {
    return this.sheet.width;
  }

  get height() {
    return this.sheet.height;
  }

  /** Draws at the next frame, also when nothing is new. */
  redraw() {
    this.asked = true;
    this.ask();
  }

  /** Whether it is time to draw. */
  get due() {
    return this.asked || (this.dirty && performance.now() - this.drawnAt >= DRAW_MS);
  }

  clear() {
    this.history.size = 0;
    this.orders.clear();
    this.redraw();
  }

  /** @param {number} time @param {number} mid @param {number} equity @param {number} score @param {Float32Array} drawn signals */
  add(time, mid, equity, score, drawn) {
    this.history.add(time, mid, equity, score, phaseOf(drawn[PHASE], drawn[RISK]));
    this.dirty = true;
  }

  /** @param {Order} order */
  order(order) {
    this.orders.set(order.id, order);
  }

  /** @param {Market} market @param {Snapshot} shot */
  draw(market, shot) {
    if (!this.due || this.width === 0) return;
    this.dirty = this.asked = false;
    this.drawnAt = performance.now();
    const { context: pen, colours, history } = this;
    const right = this.width - RIGHT;
    const end = this.height - BOTTOM;
    this.sheet.fill("panel", 0, 0, this.width, this.height);
    pen.font = `11px ${colours.mono}`;
    if (history.size < 2) {
      pen.fillStyle = colours.quiet;
      pen.fillText("waiting for prices", 8, 20);
      return;
    }
    const oldest = history.time[0];
    const to = Math.max(shot.nowMs, history.time[history.size - 1]);
    const from = Math.max(to - this.span, oldest);
    const first = Math.max(0, history.find(from) - 1);
    const strip = Math.max(36, Math.min(74, Math.round(end * 0.17)));
    const clusters = this.#ahead(shot);
    const price = { top: clusters.length > 0 ? 20 : 6, bottom: end - 2 * strip - 12 };
    const score = { top: end - 2 * strip, bottom: end - strip - 6 };
    const profit = { top: end - strip, bottom: end - 2 };
    const x = (/** @type {number} */ time) => ((time - from) / Math.max(1, to - from)) * right;

    let low = Infinity;
    let high = -Infinity;
    let least = 0;
    let most = 0;
    for (let at = first; at < history.size; at++) {
      const mid = history.mid[at];
      if (mid < low) low = mid;
      if (mid > high) high = mid;
      const gain = history.equity[at] - market.capital;
      if (gain < least) least = gain;
      if (gain > most) most = gain;
    }
    if (low > high) [low, high] = [0, 1];
    const margin = Math.max((high - low) * 0.1, market.tick);
    const y = span(price, low - margin, high + margin);
    this.#grid(market, price, low - margin, high + margin, from, to, x, y, right, end);
    this.#positions(market, x, y, right, price, from);
    this.#nests(shot, y, right, price);
    this.#line(first, history.mid, x, y, colours["line-price"], 1.3);
    this.#phases(first, x, right, price.bottom + 1);
    this.#clusters(clusters, market, y, right, price);

    const scoreY = span(score, -1, 1);
    this.#strip(score, right, scoreY(0));
    pen.setLineDash([3, 3]);
    for (const level of [market.enter, -market.enter]) this.#level(right, scoreY(level), colours.edge);
    pen.setLineDash([]);
    this.#line(first, history.score, x, scoreY, colours.quiet, 1);
    this.#name("score", score);
    this.#label(right, scoreY(0), signed(history.score[history.size - 1], 2), colours.text);

    const room = Math.max((most - least) * 0.1, 1);
    const profitY = span(profit, least - room, most + room);
    this.#strip(profit, right, profitY(0));
    const last = history.equity[history.size - 1] - market.capital;
    this.#line(first, history.equity, x, (value) => profitY(value - market.capital), last < 0 ? colours.ask : colours.bid, 1.3);
    this.#name(`profit, ${market.settle}`, profit);
    this.#label(right, profitY(last), market.gain(last), last < 0 ? colours.ask : colours.bid);

    this.#marks(market, x, y, from);
    const mid = history.mid[history.size - 1];
    if (Number.isFinite(mid)) this.#tag(right, y(mid), fixed(mid / market.priceUnit, market.priceDecimals));
    this.#crosshair(market, first, from, to, right, price, y, end);
  }

  /**
   * @param {number} first @param {Float64Array} column @param {(time: number) => number} x @param {(value: number) => number} y
   * @param {string} colour @param {number} width
   */
  #line(first, column, x, y, colour, width) {
    const { context: pen, history } = this;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    line(pen, history.time, column, first, history.size, x, y);
  }

  /**
   * @param {Market} market @param {{top: number, bottom: number}} area @param {number} low @param {number} high
   * @param {number} from @param {number} to @param {(time: number) => number} x @param {(value: number) => number} y
   * @param {number} right @param {number} end
   */
  #grid(market, area, low, high, from, to, x, y, right, end) {
    const { context: pen, colours } = this;
    const step = nice((high - low) / Math.max(2, (area.bottom - area.top) / 48), market.tick);
    const decimals = market.priceDecimals;
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      this.#level(right, y(value), colours.grid);
      pen.fillStyle = colours.quiet;
      pen.fillText(fixed(value / market.priceUnit, decimals), right + 6, y(value) + 4);
    }
    timeGrid(pen, colours, from, to, x, right, area.top, end);
  }

  /** @param {number} right @param {number} at @param {string} colour */
  #level(right, at, colour) {
    const { context: pen } = this;
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(0, Math.round(at) + 0.5);
    pen.lineTo(right, Math.round(at) + 0.5);
    pen.stroke();
  }

  /** @param {{top: number, bottom: number}} area @param {number} right @param {number} zero */
  #strip(area, right, zero) {
    this.#level(this.width, area.top - 4, this.colours.edge);
    this.#level(right, zero, this.colours.grid);
  }

  /** A strip's name, over its line. @param {string} name @param {{top: number}} area */
  #name(name, { top }) {
    const { context: pen, colours } = this;
    pen.globalAlpha = 0.85;
    pen.fillStyle = colours.panel;
    pen.fillRect(0, top - 3, pen.measureText(name).width + 8, 15);
    pen.globalAlpha = 1;
    pen.fillStyle = colours.quiet;
    pen.fillText(name, 4, top + 8);
  }

  /** @param {number} right @param {number} at @param {string} label @param {string} colour */
  #label(right, at, label, colour) {
    this.context.fillStyle = colour;
    this.context.fillText(label, right + 6, at + 4);
  }

  /** @param {number} right @param {number} at @param {string} label */
  #tag(right, at, label) {
    const { context: pen, colours } = this;
    pen.fillStyle = colours.text;
    pen.fillRect(right + 2, at - 8, RIGHT - 3, 16);
    pen.fillStyle = colours.panel;
    pen.fillText(label, right + 6, at + 4);
  }

  /**
   * Bands while a position is held: from each fill to the one that closes it.
   * @param {Market} market @param {(time: number) => number} x @param {(value: number) => number} y @param {number} right
   * @param {{top: number, bottom: number}} area @param {number} from
   */
  #positions(market, x, y, right, area, from) {
    const { context: pen, colours } = this;
    let held = 0;
    let since = 0;
    const band = (/** @type {number} */ until) => {
      const [left, stop] = [Math.max(0, x(since)), Math.min(right, x(until))];
      if (stop <= left) return;
      pen.globalAlpha = 0.4;
      pen.fillStyle = held > 0 ? colours["bid-bar"] : colours["ask-bar"];
      pen.fillRect(left, area.top, stop - left, area.bottom - area.top);
      pen.globalAlpha = 1;
    };
    for (const order of this.#inOrder()) {
      if (order.filled === 0) continue;
      const next = held + (order.side === 0 ? order.filled : -order.filled);
      if (held !== 0 && order.doneMs >= from) band(order.doneMs);
      if (Math.sign(next) !== Math.sign(held) || held === 0) since = order.doneMs;
      held = Math.abs(next) < 1e-9 ? 0 : next;
    }
    if (held !== 0) band(Infinity);
  }

  /**
   * The adaptive cycle's phases, as a strip under the price.
   * @param {number} first @param {(time: number) => number} x @param {number} right @param {number} top
   */
  #phases(first, x, right, top) {
    const { history } = this;
    const { time, phase, size } = history;
    for (let at = first; at < size; ) {
      const begin = at;
      while (at < size && phase[at] === phase[begin]) at += 1;
      if (phase[begin] < 0) continue;
      const left = Math.max(0, x(time[begin]));
      this.sheet.fill(`phase-${phase[begin]}`, left, top, (at < size ? Math.min(right, x(time[at])) : right) - left, STRIP);
    }
  }

  /** Where the next clusters of liquidations are thought to be. @param {Snapshot} shot @returns {{distance: number, price: number}[]} basis points, price units */
  #ahead(shot) {
    if (!shot.synced) return [];
    const { LIQUIDATION_UP, LIQUIDATION_DOWN } = ENUMS.cwts_signal;
    const distances = [shot.signal(LIQUIDATION_UP), -shot.signal(LIQUIDATION_DOWN)].filter((distance) => distance !== 0);
    return distances.map((distance) => ({ distance, price: shot.mid * (1 + distance / 1e4) }));
  }

  /**
   * A dashed line for each that is in sight, and words above the prices for those that are not.
   * @param {{distance: number, price: number}[]} clusters @param {Market} market @param {(value: number) => number} y
   * @param {number} right @param {{top: number, bottom: number}} area
   */
  #clusters(clusters, market, y, right, area) {
    const { context: pen, colours } = this;
    const words = [];
    for (const { distance, price } of clusters) {
      const at = y(price);
      const far = `${signed(distance, 0)} bp`;
      if (at < area.top || at > area.bottom) {
        words.push(`${distance > 0 ? "↑" : "↓"} ${right < 440 ? far : `${fixed(price / market.priceUnit, 0)} (${far})`}`);
        continue;
      }
      pen.setLineDash([6, 4]);
      this.#level(right, at, colours.quiet);
      pen.setLineDash([]);
      this.#name(`liquidations ${far}`, { top: at + (distance > 0 ? 6 : -15) });
    }
    pen.fillStyle = colours.quiet;
    if (words.length > 0) pen.fillText(`liquidations ${words.join("  ")}`, 4, 11);
  }

  /**
   * What whales have resting in the book: a band at the right, the longer the stronger; an iceberg's is hollow.
   * @param {Snapshot} shot @param {(value: number) => number} y @param {number} right @param {{top: number, bottom: number}} area
   */
  #nests(shot, y, right, area) {
    const { context: pen, colours } = this;
    pen.lineWidth = 1;
    for (const { price, strength, iceberg } of shot.nests()) {
      const at = Math.round(y(price));
      if (at < area.top + 2 || at > area.bottom - 2) continue;
      const wide = Math.round(14 + 5 * Math.min(10, strength));
      pen.fillStyle = pen.strokeStyle = colours.whale;
      if (iceberg) pen.strokeRect(right - wide + 0.5, at - 1.5, wide - 1, 3);
      else pen.fillRect(right - wide, at - 1, wide, 3);
    }
  }

  #inOrder() {
    return [...this.orders.values()].sort((one, other) => one.id - other.id);
  }

  /** @param {Market} market @param {(time: number) => number} x @param {(value: number) => number} y @param {number} from */
  #marks(market, x, y, from) {
    const { context: pen, colours } = this;
    for (const order of this.orders.values()) {
      if (order.createdMs < from) continue;
      const buys = order.side === 0;
      const price = market.fillPrice(order);
      if (Number.isNaN(price)) {
        pen.strokeStyle = colours.text;
        pen.lineWidth = 1.2;
        pen.beginPath();
        pen.arc(x(order.createdMs), y(order.touch), 3, 0, Math.PI * 2);
        pen.stroke();
        continue;
      }
      const [across, down] = [x(order.doneMs), y(price)];
      const size = buys ? 7 : -7;
      pen.beginPath();
      pen.moveTo(across, down + size * 0.3);
      pen.lineTo(across - 5.5, down + size * 1.6);
      pen.lineTo(across + 5.5, down + size * 1.6);
      pen.closePath();
      pen.fillStyle = buys ? colours.bid : colours.ask;
      pen.fill();
      pen.strokeStyle = colours.panel;
      pen.stroke();
    }
  }

  /**
   * @param {Market} market @param {number} first @param {number} from @param {number} to @param {number} right
   * @param {{top: number, bottom: number}} area @param {(value: number) => number} y @param {number} end
   */
  #crosshair(market, first, from, to, right, area, y, end) {
    if (!this.pointer || this.pointer.x > right) return;
    const { context: pen, colours, history } = this;
    const time = from + (this.pointer.x / right) * (to - from);
    const at = Math.min(history.size - 1, Math.max(first, history.find(time)));
    pen.strokeStyle = colours.quiet;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(Math.round(this.pointer.x) + 0.5, area.top);
    pen.lineTo(Math.round(this.pointer.x) + 0.5, end);
    pen.stroke();
    const mid = history.mid[at];
    const line = [
      timeOfDay(history.time[at], true),
      Number.isFinite(mid) ? fixed(mid / market.priceUnit, market.priceDecimals + 1) : "no valid book",
      `score ${signed(history.score[at], 2)}`,
      `profit ${market.gain(history.equity[at] - market.capital)}`,
      ...(history.phase[at] < 0 || right < 500 ? [] : [PHASES[history.phase[at]]]),
    ].join("   ");
    const wide = pen.measureText(line).width + 12;
    const left = Math.min(Math.max(0, this.pointer.x - wide / 2), right - wide);
    pen.fillStyle = colours.text;
    pen.fillRect(left, area.top, wide, 18);
    pen.fillStyle = colours.panel;
    pen.fillText(line, left + 6, area.top + 13);
  }
}
