// The panels beside ladder and chart: decision, signals, account, orders, trades, engine.

import { duration, fixed, signed, timeOfDay } from "../market.js";
import { DRAWN } from "../mirror.js";
import { ACTION_MARKS, ACTIONS, behindWords, FEATURES, METERS, orderWords, partsWords, reasonShort, reasonWords } from "../words.js";
import { attribute, byId, cell, Facts, hide, make, scale, text } from "./dom.js";
import { Sheet } from "./sheet.js";

/** @typedef {import("../snapshot.js").Snapshot} Snapshot */
/** @typedef {import("../snapshot.js").Order} Order */
/** @typedef {import("../market.js").Market} Market */

const TAPE_ROWS = 40;
const TAPE_ROW = 17; // pixels
const TAPE_TIME = 106; // the width of the columns of time and side
const ORDER_ROWS = 32;

export class DecisionPanel {
  constructor() {
    this.action = byId("action");
    this.reason = cell(byId("reason"));
    this.meter = byId("meter");
    this.needle = byId("needle");
    this.score = cell(byId("score"));
    this.parts = cell(byId("parts"));
    this.last = cell(byId("last-action"));
  }

  /** @param {Market} market */
  open(market) {
    const place = (/** @type {string} */ id, /** @type {number} */ value) => {
      byId(id).style.left = `${50 + 50 * value}%`;
    };
    place("meter-low", -market.enter);
    place("meter-high", market.enter);
    place("meter-exit-low", -market.exit);
    place("meter-exit-high", market.exit);
  }

  /** @param {Snapshot} shot */
  needleTo(shot) {
    const value = `translateX(${Math.round(100 * Math.max(-1, Math.min(1, shot.score))) / 2}%)`; // a step is a pixel or two
    if (this.needle.style.transform !== value) this.needle.style.transform = value;
  }

  /** @param {Snapshot} shot @param {Market} market */
  draw(shot, market) {
    attribute(this.action, "data-action", shot.action);
    text(this.action, `${ACTION_MARKS[shot.action]} ${ACTIONS[shot.action]}`);
    text(this.reason, reasonWords(shot.reason, shot.score, market, shot));
    text(this.score, signed(shot.score, 2));
    text(this.parts, partsWords(shot.parts()));
    attribute(this.meter, "aria-label", `Score ${signed(shot.score, 2)}, opens a position at ${fixed(market.enter, 2)} either way`);
    if (shot.lastMs <= 0) return void text(this.last, "no trade yet");
    const ago = duration(shot.nowMs - shot.lastMs);
    const behind = behindWords(shot.lastReason, (at) => shot.lastSignal(at));
    const action = ACTIONS[shot.lastAction].toLowerCase();
    const why = `${reasonShort(shot.lastReason)} (${signed(shot.lastScore, 2)})${behind ? `; ${behind}` : ""}`;
    text(this.last, `last: ${action} ${ago} ago, ${why}`);
    attribute(this.last, "title", `The last trade: ${action}, ${why}; in brackets the score`);
  }
}

export class SignalsPanel {
  constructor() {
    this.rows = FEATURES.map((feature) => {
      const name = make("span", "", feature.name);
      const value = make("span", "number value", "–");
      const fill = make("i");
      const row = make("li", "", name, value, make("div", feature.one ? "bar2 one" : "bar2", fill));
      row.title = feature.what;
      byId("signals").append(row);
      return { name, value: cell(value), fill };
    });
  }

  /** @param {Market} market */
  open(market) {
    this.rows.forEach(({ name }, at) => {
      name.classList.toggle("used", market.weights[at] !== 0);
      name.title = market.weights[at] !== 0 ? `weighs ${market.weights[at].toFixed(2)} in the score` : "";
    });
  }

  /** @param {Snapshot} shot */
  draw(shot) {
    this.rows.forEach(({ value, fill }, at) => {
      const feature = FEATURES[at];
      const number = shot.feature(at);
      text(value, `${feature.one ? fixed(number, feature.digits) : signed(number, feature.digits)}${feature.unit ? ` ${feature.unit}` : ""}`);
      const share = Math.max(-1, Math.min(1, number / feature.full));
      scale(fill, share);
      attribute(fill, "data-sign", share < 0 ? -1 : 1);
    });
  }
}

const SAMPLES = 150;
const SAMPLE_MS = 2000; // of the market's time: the lines show five minutes
const LINES_MS = 500; // between drawings of the lines

/** Whales and risk: a row of words each, and a line of the last minutes between name and number, all on one canvas. */
export class WhalesPanel {
  constructor() {
    this.rows = METERS.map(({ name, what }) => {
      const place = make("i", "line-place");
      const value = make("span", "number value", "–");
      const row = make("li", "", make("span", "", name), place, value);
      row.title = what;
      byId("whales").append(row);
      return { row, place, value: cell(value) };
    });
    /** A ring of what the lines draw. */
    this.samples = new Float32Array(SAMPLES * DRAWN.length);
    this.count = 0;
    this.sampledMs = -Infinity;
    this.dirty = false;
    this.drawnAt = 0;
    /** Where the lines are drawn. @type {{x: number, y: number, width: number, height: number}[]} */
    this.places = [];
    this.sheet = new Sheet(byId("lines"), () => this.#renew());
  }

  open() {
    this.count = 0;
    this.sampledMs = -Infinity;
    this.#renew();
  }

  /** @param {number} time @param {Float32Array} signals those of DRAWN */
  add(time, signals) {
    if (time < this.sampledMs + SAMPLE_MS) return;
    this.sampledMs = time;
    this.samples.set(signals, (this.count % SAMPLES) * DRAWN.length);
    this.count += 1;
    this.dirty = true;
  }

  /** @param {Snapshot} shot @param {number} now on the page's clock */
  draw(shot, now) {
    const signal = (/** @type {number} */ at) => shot.signal(at);
    this.rows.forEach(({ row, value }, at) => {
      const { words, alarm } = METERS[at];
      text(value, words(signal));
      if (alarm) attribute(row, "data-alarm", alarm(signal) ? 1 : 0);
    });
    if (!this.dirty || now - this.drawnAt < LINES_MS) return;
    this.drawnAt = now;
    this.#paint();
  }

  /** Finds out where the lines go. */
  #renew() {
    this.places = this.rows.map(({ place }) => ({ x: place.offsetLeft, y: place.offsetTop, width: place.offsetWidth, height: place.offsetHeight }));
    this.#paint();
  }

  #paint() {
    const { sheet, samples, count } = this;
    const { pen, colours } = sheet;
    this.dirty = false;
    sheet.fill("panel", 0, 0, sheet.width, sheet.height);
    const size = Math.min(count, SAMPLES);
    if (size < 2) return;
    const values = new Float32Array(size);
    pen.lineWidth = 1;
    pen.lineJoin = "bevel";
    this.places.forEach(({ x, y, width, height }, row) => {
      if (width < 8) return;
      const meter = METERS[row];
      const [one, other] = meter.line.map((signal) => DRAWN.indexOf(signal));
      let low = meter.low ?? Infinity;
      let high = meter.high ?? -Infinity;
      for (let at = 0; at < size; at++) {
        const from = ((count - size + at) % SAMPLES) * DRAWN.length;
        values[at] = samples[from + one] - (other === undefined ? 0 : samples[from + other]);
        if (meter.low === undefined && values[at] < low) low = values[at];
        if (meter.high === undefined && values[at] > high) high = values[at];
      }
      const room = (meter.least ?? 0) - (high - low);
      if (room > 0 && meter.low === undefined) low -= room / 2;
      if (room > 0 && meter.high === undefined) high += meter.low === undefined ? room / 2 : room;
      const down = (/** @type {number} */ value) => y + 1 + (height - 2) * (1 - (value - low) / (high - low || 1));
      if (low <= 0 && high >= 0) sheet.fill("grid", x, sheet.snap(down(0)), width, 1 / sheet.ratio);
      pen.strokeStyle = colours.quiet;
      pen.beginPath();
      const step = width / (SAMPLES - 1);
      for (let at = 0; at < size; at++) pen.lineTo(x + width - (size - 1 - at) * step, down(values[at]));
      pen.stroke();
    });
  }
}

export class AccountPanel {
  constructor() {
    this.pnl = byId("pnl");
    this.share = byId("pnl-share");
    this.facts = new Facts(byId("account"), ["position", "entry", "open profit", "closed profit", "fees", "equity", "largest fall", "won / lost"]);
  }

  /** @param {Snapshot} shot @param {Market} market */
  draw(shot, market) {
    const gain = shot.equity - market.capital;
    text(this.pnl, `${market.gain(gain)} ${market.settle}`);
    attribute(this.pnl, "data-sign", Math.sign(gain));
    text(this.share, `${signed((gain / market.capital) * 100, 3)} %`);
    const position = shot.position / 1e8;
    const flat = market.isFlat(shot.position);
    const words = flat ? "flat" : `${position > 0 ? "long" : "short"} ${fixed(Math.abs(position), market.qtyDecimals)} ${market.sizeName}`;
    this.facts.set("position", words, flat ? 0 : position);
    const entry = market.entryPrice(shot.orders(), shot.position);
    this.facts.set("entry", Number.isNaN(entry) ? "–" : fixed(entry / market.priceUnit, market.priceDecimals));
    const open = shot.equity - shot.entry; // the entry is the equity before it, so this is after the fee
    this.facts.set("open profit", flat ? "–" : market.gain(open), flat ? 0 : open);
    this.facts.set("closed profit", market.gain(shot.realised), shot.realised);
    this.facts.set("fees", market.money(shot.fees));
    this.facts.set("equity", `${market.money(shot.equity)} ${market.settle}`);
    this.facts.set("largest fall", market.money(shot.drawdown));
    this.facts.set("won / lost", `${shot.wins} / ${shot.losses}`);
  }
}

export class OrdersPanel {
  constructor() {
    this.body = byId("orders");
    this.count = byId("orders-count");
    this.none = byId("orders-none");
    this.rows = Array.from({ length: ORDER_ROWS }, () => {
      const cells = Array.from({ length: 8 }, (_, at) => make("td", at >= 2 && at <= 5 ? "right" : ""));
      const row = make("tr", "", ...cells);
      row.hidden = true;
      this.body.append(row);
      return { row, cells };
    });
  }

  /** @param {Order[]} orders newest first @param {number} ever @param {Market} market */
  draw(orders, ever, market) {
    text(this.count, ever > 0 ? String(ever) : "");
    hide(this.none, ever > 0);
    this.rows.forEach(({ row, cells }, at) => {
      const order = orders[at];
      hide(row, order === undefined);
      if (!order) return;
      const buys = order.side === 0;
      const price = market.fillPrice(order);
      const slip = Number.isNaN(price) ? NaN : (buys ? price - order.touch : order.touch - price);
      const values = [
        timeOfDay(order.createdMs),
        buys ? "▲ buy" : "▼ sell",
        order.filled > 0 && order.filled !== order.qty ? `${market.qty(order.filled)} of ${market.qty(order.qty)}` : market.qty(order.qty),
        Number.isNaN(price) ? "–" : fixed(price / market.priceUnit, market.priceDecimals),
        Number.isNaN(slip) ? "–" : signed(slip / market.priceUnit, market.priceDecimals),
        order.filled > 0 ? market.money(order.fee) : "–",
        orderWords(order.state),
        `${reasonShort(order.reason)} (${signed(order.score, 2)})`,
      ];
      values.forEach((value, cell) => text(cells[cell], value));
      attribute(cells[1], "class", buys ? "buy" : "sell");
    });
  }
}

export class TapePanel {
  constructor() {
    this.count = byId("tape-count");
    /** The newest first. @type {{recvMs: number, price: number, qty: number, side: number, bar: number}[]} */
    this.trades = [];
    this.seen = 0;
    this.told = -1;
    this.large = 0; // a decaying maximum: what a full bar is
    /** @type {Market | null} */
    this.market = null;
    this.cells = Array.from({ length: TAPE_ROWS }, () => {
      const cells = [make("span"), make("span"), make("span"), make("span")];
      const row = make("div", "", ...cells);
      attribute(row, "role", "row");
      for (const cell of cells) attribute(cell, "role", "cell");
      byId("tape").append(row);
      return cells;
    });
    this.sheet = new Sheet(byId("tape-sheet"), () => this.#paint(this.trades.length));
  }

  open() {
    this.trades = [];
    this.seen = 0;
    this.told = -1;
    this.large = 0;
    this.sheet.fill("panel", 0, 0, this.sheet.width, this.sheet.height);
  }

  /** @param {Snapshot} shot @param {Market} market */
  draw(shot, market) {
    if (shot.trades === this.seen) return;
    this.market = market;
    const fresh = [];
    this.large *= 0.995;
    for (let back = 0; back < Math.min(shot.trades - this.seen, TAPE_ROWS); back++) {
      const trade = shot.trade(back);
      if (trade.recvMs === 0) break;
      this.large = Math.max(this.large, trade.qty);
      fresh.push({ ...trade, bar: 0 });
    }
    for (const trade of fresh) trade.bar = trade.qty / this.large;
    this.seen = shot.trades;
    this.trades = [...fresh, ...this.trades].slice(0, TAPE_ROWS);
    this.#paint(fresh.length);
  }

  /** Draws the newest ones above what is there, which moves down. @param {number} fresh how many are new */
  #paint(fresh) {
    const { sheet, market } = this;
    const { pen, colours, width, height, ratio, canvas } = sheet;
    if (!market || width === 0) return;
    const step = Math.round(TAPE_ROW * ratio); // whole pixels of the screen, so that a row moves without a blur
    const row = step / ratio;
    const rows = Math.min(fresh, this.trades.length, Math.ceil(height / row));
    const kept = canvas.height - rows * step;
    if (kept > 0 && rows > 0) {
      pen.drawImage(canvas, 0, 0, canvas.width, kept, 0, rows * row, canvas.width / ratio, kept / ratio);
    }
    sheet.fill("panel", 0, 0, width, rows * row);
    const newest = this.trades.slice(0, rows);
    pen.font = `12px ${colours.mono}`;
    const price = TAPE_TIME + (width - TAPE_TIME) / 2;
    newest.forEach((trade, at) => {
      const bar = sheet.snap(0.38 * width * trade.bar);
      if (bar > 0) sheet.fill(trade.side > 0 ? "bid-bar" : "ask-bar", width - bar, at * row + 1, bar, row - 2);
    });
    pen.textAlign = "left";
    pen.fillStyle = colours.quiet;
    newest.forEach((trade, at) => pen.fillText(timeOfDay(trade.recvMs, true), 0, at * row + 13));
    for (const buys of [true, false]) {
      pen.fillStyle = colours[buys ? "bid" : "ask"];
      newest.forEach((trade, at) => {
        if (trade.side > 0 !== buys) return;
        pen.textAlign = "left";
        pen.fillText(buys ? "▲" : "▼", TAPE_TIME - 10, at * row + 13);
        pen.textAlign = "right";
        pen.fillText(market.price(trade.price), price, at * row + 13);
        pen.fillText(market.qty(trade.qty), width, at * row + 13);
      });
    }
  }

  /** Writes what is drawn into the document, for those who do not see it. */
  tell() {
    if (this.seen === this.told) return;
    this.told = this.seen;
    text(this.count, this.seen > 0 ? fixed(this.seen, 0) : "");
    this.cells.forEach((cells, at) => {
      const trade = this.trades[at];
      const words = trade && this.market
        ? [timeOfDay(trade.recvMs, true), trade.side > 0 ? "buy" : "sell", this.market.price(trade.price), this.market.qty(trade.qty)]
        : ["", "", "", ""];
      words.forEach((word, column) => text(cells[column], word));
    });
  }
}

export class EnginePanel {
  constructor() {
    this.rows = ["queue", "kernel, a message", "queue to decision", "decision to screen"].map((name) => {
      const cells = [make("td", "right number", "–"), make("td", "right number", "–")];
      byId("latency").append(make("tr", "", make("td", "", name), ...cells));
      return cells.map(cell);
    });
    this.facts = new Facts(byId("counters"), ["messages", "messages a second", "engine busy", "book updates", "gaps, malformed", "received", "memory"]);
  }

  /**
   * @param {Snapshot} shot @param {number} rate messages a second @param {[number, number]} screen p50 and p99 in µs
   */
  draw(shot, rate, screen) {
    const stages = [
      [shot.number("queueP50"), shot.number("queueP99")],
      [shot.number("feedP50"), shot.number("feedP99")],
      [shot.number("totalP50"), shot.number("totalP99")],
      screen,
    ];
    stages.forEach((pair, at) => {
      pair.forEach((value, column) => text(this.rows[at][column], value > 0 ? fixed(value, value < 10 ? 1 : 0) : "–"));
    });
    this.facts.set("messages", fixed(shot.messages, 0));
    this.facts.set("messages a second", fixed(rate, 0));
    this.facts.set("engine busy", `${fixed(shot.number("busy") * 100, 1)} %`);
    this.facts.set("book updates", `${fixed(shot.applied, 0)}, ${fixed(shot.bidCount + shot.askCount, 0)} levels`);
    this.facts.set("gaps, malformed", `${fixed(shot.gaps, 0)}, ${fixed(shot.malformed, 0)}`);
    this.facts.set("received", `${timeOfDay(shot.nowMs, true)} UTC`);
    this.facts.set("memory", `${fixed(shot.number("heapBytes") / 1e6, 0)} MB, engine ${fixed(shot.number("blockBytes") / 1e6, 1)} MB`);
  }
}
