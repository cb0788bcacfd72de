// The order book: the best levels of each side with their cumulative size, and where we are in it.

import { syncWords } from "../words.js";
import { fixed } from "../market.js";
import { attribute, byId, make, scale, text } from "./dom.js";

const LEVELS = 32; // as many as the engine publishes
const ROW = 18; // pixels, at least

/** @typedef {import("../snapshot.js").Snapshot} Snapshot */
/** @typedef {import("../market.js").Market} Market */
/** @typedef {{row: HTMLElement, mark: HTMLElement, price: HTMLElement, qty: HTMLElement, sum: HTMLElement, bar: HTMLElement}} Row */

export class Ladder {
  constructor() {
    this.asks = this.#rows(byId("asks"));
    this.asks.reverse(); // the best ask is at the bottom
    this.bids = this.#rows(byId("bids"));
    this.mid = byId("mid");
    this.spread = byId("spread-text");
    this.sync = byId("sync");
    this.unit = byId("qty-unit");
    this.none = byId("no-book");
    this.sums = new Float64Array(LEVELS * 2);
    this.visible = LEVELS;
    new ResizeObserver(() => this.#fit()).observe(byId("asks"));
  }

  /** Shows as many levels as there is room for. */
  #fit() {
    this.visible = Math.max(1, Math.min(LEVELS, Math.floor(byId("asks").clientHeight / ROW)));
    for (const rows of [this.asks, this.bids]) rows.forEach(({ row }, at) => row.toggleAttribute("hidden", at >= this.visible));
  }

  /** @param {HTMLElement} parent @returns {Row[]} */
  #rows(parent) {
    return Array.from({ length: LEVELS }, () => {
      const [mark, price, qty, sum] = [make("span"), make("span"), make("span"), make("span")];
      const bar = make("i");
      const row = make("div", "", bar, mark, price, qty, sum);
      attribute(row, "role", "row");
      for (const cell of [price, qty, sum]) attribute(cell, "role", "cell");
      parent.append(row);
      return { row, mark, price, qty, sum, bar };
    });
  }

  /** @param {Market} market */
  open(market) {
    text(this.unit, market.sizeName);
  }

  /** @param {Snapshot} shot @param {Market} market @param {Map<number, string>} marks price units to a mark of ours */
  draw(shot, market, marks) {
    attribute(this.sync, "data-good", shot.synced ? 1 : 0);
    text(this.sync, shot.synced ? "in sync" : "not valid");
    text(this.none, shot.synced ? "" : `No valid book: ${syncWords(shot.syncReason)}. It comes back with the next snapshot.`);
    const counts = shot.synced ? [Math.min(shot.bidTop, this.visible), Math.min(shot.askTop, this.visible)] : [0, 0];
    let deepest = 1;
    for (const side of /** @type {(0 | 1)[]} */ ([0, 1])) {
      let sum = 0;
      for (let at = 0; at < counts[side]; at++) {
        sum += shot.qty(side, at);
        this.sums[side * LEVELS + at] = sum;
      }
      deepest = Math.max(deepest, sum);
    }
    for (const side of /** @type {(0 | 1)[]} */ ([0, 1])) {
      const rows = side === 0 ? this.bids : this.asks;
      for (let at = 0; at < this.visible; at++) {
        const row = rows[at];
        if (at >= counts[side]) {
          for (const cell of [row.mark, row.price, row.qty, row.sum]) text(cell, "");
          scale(row.bar, 0);
          row.row.classList.remove("own");
          continue;
        }
        const price = shot.price(side, at);
        const sum = this.sums[side * LEVELS + at];
        const mark = marks.get(price);
        text(row.price, market.price(price));
        text(row.qty, market.qty(shot.qty(side, at)));
        text(row.sum, market.qty(sum));
        text(row.mark, mark ?? "");
        row.row.classList.toggle("own", mark !== undefined);
        scale(row.bar, sum / deepest);
      }
    }
    if (!shot.synced || counts[0] === 0 || counts[1] === 0) {
      text(this.mid, "–");
      text(this.spread, "");
      return;
    }
    const spread = shot.price(1, 0) - shot.price(0, 0);
    text(this.mid, fixed((shot.price(0, 0) + shot.price(1, 0)) / 2 / market.priceUnit, market.priceDecimals + 1));
    const ticks = spread / market.tick;
    text(this.spread, `spread ${market.price(spread)} (${fixed(ticks, 0)} ${ticks === 1 ? "tick" : "ticks"})`);
  }
}
