// The order book: the best levels of each side with their cumulative size, and where we are in it.

import { syncWords } from "../words.js";
import { fixed } from "../market.js";
import { attribute, byId, make, text } from "./dom.js";
import { Sheet } from "./sheet.js";

const LEVELS = 32; // as many as the engine publishes
const ROW = 18; // pixels, at least
const SPREAD = 37; // the height of what is between the sides
const MARK = 16; // the width of the column of our marks
const NEST = 4; // the width of the bar that marks a whale's order
const CELL = 7.3; // what a character takes at most, at 12 pixels

/** @typedef {import("../snapshot.js").Snapshot} Snapshot */
/** @typedef {import("../market.js").Market} Market */

/** One level as it is drawn. */
class Level {
  constructor() {
    this.price = NaN; // without a level
    this.qty = NaN;
    this.sum = 0;
    this.mark = "";
    this.nest = ""; // "whale", "iceberg" or nothing
    this.bar = 0; // pixels
    this.words = ["", "", "", ""]; // mark, price, size, sum
    this.worded = [NaN, NaN, NaN]; // the numbers that they say
    this.drawn = false;
    this.told = false;
  }

  /** @param {number} price @param {number} qty @param {number} sum @param {string} mark @param {string} nest */
  set(price, qty, sum, mark, nest) {
    if (price === this.price && qty === this.qty && sum === this.sum && mark === this.mark && nest === this.nest) return;
    this.price = price;
    this.qty = qty;
    this.sum = sum;
    this.mark = mark;
    this.nest = nest;
    this.drawn = this.told = false;
  }

  clear() {
    if (Number.isNaN(this.price)) return;
    this.price = NaN;
    this.sum = 0;
    this.mark = this.nest = "";
    this.words.fill("");
    this.worded.fill(NaN);
    this.drawn = this.told = false;
  }

  /** @param {Market} market */
  word(market) {
    const { words, worded, price, qty, sum } = this;
    if (Number.isNaN(price)) return;
    words[0] = this.nest === "" ? this.mark : `${this.mark} ${this.nest}`.trim();
    if (worded[0] !== price) words[1] = market.price(price);
    if (worded[1] !== qty) words[2] = market.qty(qty);
    if (worded[2] !== sum) words[3] = market.qty(sum);
    worded[0] = price;
    worded[1] = qty;
    worded[2] = sum;
  }
}

export class Ladder {
  constructor() {
    /** Bids and asks, the best first. */
    this.levels = [0, 1].map(() => Array.from({ length: LEVELS }, () => new Level()));
    this.cells = [this.#cells(byId("bids")), this.#cells(byId("asks")).reverse()]; // the best ask is at the bottom
    this.mid = "–";
    this.spread = "";
    this.middleDrawn = false;
    /** @type {Market | null} */
    this.market = null;
    this.sync = byId("sync");
    this.unit = byId("qty-unit");
    this.none = byId("no-book");
    this.visible = LEVELS;
    this.row = ROW;
    this.sheet = new Sheet(byId("ladder"), () => this.#renew());
  }

  /** @param {HTMLElement} parent @returns {HTMLElement[][]} */
  #cells(parent) {
    return Array.from({ length: LEVELS }, () => {
      const cells = ["", "cell", "cell", "cell"].map((role) => {
        const cell = make("span");
        if (role) attribute(cell, "role", role);
        return cell;
      });
      const row = make("div", "", ...cells);
      attribute(row, "role", "row");
      parent.append(row);
      return cells;
    });
  }

  /** Shows as many levels as there is room for. */
  #renew() {
    const side = Math.max(0, (this.sheet.height - SPREAD) / 2);
    this.visible = Math.max(1, Math.min(LEVELS, Math.floor(side / ROW)));
    this.row = side / this.visible;
    for (const levels of this.levels) for (const level of levels) level.drawn = level.told = false;
    this.middleDrawn = false;
    this.#paint();
  }

  /** @param {Market} market */
  open(market) {
    this.market = market;
    text(this.unit, market.sizeName);
    for (const levels of this.levels) for (const level of levels) level.clear(); // the same number may read differently now
  }

  /** @param {Snapshot} shot @param {Market} market @param {Map<number, string>} marks price units to a mark of ours */
  draw(shot, market, marks) {
    attribute(this.sync, "data-good", shot.synced ? 1 : 0);
    text(this.sync, shot.synced ? "in sync" : "not valid");
    text(this.none, shot.synced ? "" : `No valid book: ${syncWords(shot.syncReason)}. It comes back with the next snapshot.`);
    const nests = new Map(shot.nests().map(({ price, iceberg }) => [price, iceberg ? "iceberg" : "whale"]));
    const counts = shot.synced ? [shot.bidTop, shot.askTop] : [0, 0];
    for (const side of /** @type {(0 | 1)[]} */ ([0, 1])) {
      let sum = 0;
      for (let at = 0; at < LEVELS; at++) {
        const level = this.levels[side][at];
        if (at >= counts[side]) {
          level.clear();
          continue;
        }
        const qty = shot.qty(side, at);
        const price = shot.price(side, at);
        sum += qty;
        level.set(price, qty, sum, marks.get(price) ?? "", nests.get(price) ?? "");
      }
    }
    let [mid, spread] = ["–", ""];
    if (shot.synced && counts[0] > 0 && counts[1] > 0) {
      const wide = shot.price(1, 0) - shot.price(0, 0);
      const ticks = wide / market.tick;
      mid = fixed((shot.price(0, 0) + shot.price(1, 0)) / 2 / market.priceUnit, market.priceDecimals + 1);
      spread = `spread ${market.price(wide)} (${fixed(ticks, 0)} ${ticks === 1 ? "tick" : "ticks"})`;
    }
    if (mid !== this.mid || spread !== this.spread) this.middleDrawn = false;
    [this.mid, this.spread] = [mid, spread];
    this.#paint();
  }

  /** Draws what is not drawn yet: one colour after the other, because a change of colour costs as much as a word. */
  #paint() {
    const { sheet, market } = this;
    const { pen, colours, width } = sheet;
    if (width === 0 || !market) return;
    const deepest = Math.max(1, ...this.levels.map((levels) => Math.max(...levels.slice(0, this.visible).map(({ sum }) => sum))));
    if (!this.middleDrawn) this.#middle();
    pen.font = `12px ${colours.mono}`;
    pen.textAlign = "right";
    const share = (width - MARK) / 3.2;
    const [price, qty] = [MARK + 1.2 * share, MARK + 2.2 * share];
    for (const side of [0, 1]) {
      /** @type {[Level, number, number][]} with where its row begins and ends */
      const rows = [];
      for (let at = 0; at < this.visible; at++) {
        const level = this.levels[side][at];
        const bar = sheet.snap((width * level.sum) / deepest);
        if (level.drawn && bar === level.bar) continue;
        level.bar = bar;
        level.drawn = true;
        level.word(market);
        const [from, to] = side === 0 ? [at, at + 1] : [this.visible - 1 - at, this.visible - at];
        const top = side === 0 ? sheet.height - this.row * this.visible : 0;
        rows.push([level, sheet.snap(top + from * this.row), sheet.snap(top + to * this.row)]);
      }
      if (rows.length === 0) continue;
      for (const [level, top, bottom] of rows) sheet.fill("panel", 0, top, width - level.bar, bottom - top);
      for (const [level, top, bottom] of rows) {
        if (level.bar > 0) {
          sheet.fill("panel", width - level.bar, top, level.bar, 1);
          sheet.fill("panel", width - level.bar, bottom - 1, level.bar, 1);
        }
      }
      pen.fillStyle = colours[side === 0 ? "bid-bar" : "ask-bar"];
      for (const [level, top, bottom] of rows) pen.fillRect(width - level.bar, top + 1, level.bar, bottom - top - 2);
      const put = (/** @type {string} */ word, /** @type {number} */ at, /** @type {number} */ top, /** @type {number} */ bottom) => {
        if (word.length * CELL > share) pen.fillText(word, at, (top + bottom) / 2 + 4, share - 2); // narrower, and whole
        else pen.fillText(word, at, (top + bottom) / 2 + 4);
      };
      pen.fillStyle = colours[side === 0 ? "bid" : "ask"];
      for (const [level, top, bottom] of rows) put(level.words[1], price, top, bottom);
      pen.fillStyle = colours.text;
      for (const [level, top, bottom] of rows) {
        put(level.words[2], qty, top, bottom);
        put(level.words[3], width, top, bottom);
      }
      for (const [level, top, bottom] of rows) {
        if (level.nest === "") continue;
        sheet.fill("whale", 0, top + 1, NEST, bottom - top - 2);
        if (level.nest === "iceberg") sheet.fill("panel", 1, top + 2, NEST - 2, bottom - top - 4); // hollow
      }
      for (const [level, top, bottom] of rows) {
        if (!level.mark) continue;
        pen.fillStyle = pen.strokeStyle = colours.mark;
        pen.lineWidth = 1;
        pen.strokeRect(0.5, top + 0.5, width - 1, bottom - top - 1);
        put(level.mark, 12, top, bottom);
      }
    }
  }

  /** The mid price and the spread, between two lines. */
  #middle() {
    const { sheet } = this;
    const { pen, colours, width } = sheet;
    const top = sheet.snap(this.row * this.visible);
    sheet.fill("panel", 0, top, width, SPREAD);
    sheet.fill("edge", 0, top + 3, width, 1);
    sheet.fill("edge", 0, top + SPREAD - 4, width, 1);
    pen.textAlign = "left";
    pen.fillStyle = colours.text;
    pen.font = `17px ${colours.mono}`;
    pen.fillText(this.mid, MARK, top + 24);
    const wide = pen.measureText(this.mid).width;
    pen.textAlign = "right";
    pen.fillStyle = colours.quiet;
    pen.font = `12px ${colours.mono}`;
    pen.fillText(this.spread, width, top + 24, width - MARK - wide - 8);
    this.middleDrawn = true;
  }

  /** Writes what is drawn into the document, for those who do not see it. */
  tell() {
    for (const side of [0, 1]) {
      for (let at = 0; at < LEVELS; at++) {
        const level = this.levels[side][at];
        if (level.told) continue;
        level.told = true;
        if (this.market && at < this.visible) level.word(this.market);
        this.cells[side][at].forEach((cell, column) => text(cell, at < this.visible ? level.words[column] : ""));
      }
    }
    text(byId("mid"), this.mid);
    text(byId("spread-text"), this.spread);
  }
}
