// The panels beside ladder and chart: decision, signals, account, orders, trades, engine.

import { duration, fixed, signed, timeOfDay } from "../market.js";
import { ACTION_MARKS, ACTIONS, FEATURES, orderWords, reasonShort, reasonWords } from "../words.js";
import { attribute, byId, Facts, make, scale, text } from "./dom.js";

/** @typedef {import("../snapshot.js").Snapshot} Snapshot */
/** @typedef {import("../snapshot.js").Order} Order */
/** @typedef {import("../market.js").Market} Market */

const TAPE_ROWS = 40;
const ORDER_ROWS = 32;

export class DecisionPanel {
  constructor() {
    this.action = byId("action");
    this.reason = byId("reason");
    this.meter = byId("meter");
    this.needle = byId("needle");
    this.score = byId("score");
    this.last = byId("last-action");
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
    const value = `translateX(${(50 * Math.max(-1, Math.min(1, shot.score))).toFixed(1)}%)`;
    if (this.needle.style.transform !== value) this.needle.style.transform = value;
  }

  /** @param {Snapshot} shot @param {Market} market */
  draw(shot, market) {
    attribute(this.action, "data-action", shot.action);
    text(this.action, `${ACTION_MARKS[shot.action]} ${ACTIONS[shot.action]}`);
    text(this.reason, reasonWords(shot.reason, shot.score, market, shot));
    text(this.score, signed(shot.score, 2));
    attribute(this.meter, "aria-label", `Score ${signed(shot.score, 2)}, opens a position at ${fixed(market.enter, 2)} either way`);
    if (shot.lastMs <= 0) return void text(this.last, "no trade yet");
    const ago = duration(shot.nowMs - shot.lastMs);
    text(this.last, `last: ${ACTIONS[shot.lastAction].toLowerCase()}, ${reasonShort(shot.lastReason)}, score ${signed(shot.lastScore, 2)}, ${ago} ago`);
  }
}

export class SignalsPanel {
  constructor() {
    this.rows = FEATURES.map((feature) => {
      const name = make("span", "", feature.name);
      const value = make("span", "number", "–");
      const fill = make("i");
      const row = make("li", "", name, value, make("div", feature.one ? "bar2 one" : "bar2", fill));
      row.title = feature.what;
      byId("signals").append(row);
      return { name, value, fill };
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
      if (!feature.one) fill.style.background = share < 0 ? "var(--ask)" : "var(--bid)";
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
    this.none.hidden = ever > 0;
    this.rows.forEach(({ row, cells }, at) => {
      const order = orders[at];
      row.hidden = order === undefined;
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
      cells[1].className = buys ? "buy" : "sell";
    });
  }
}

export class TapePanel {
  constructor() {
    this.count = byId("tape-count");
    this.rows = Array.from({ length: TAPE_ROWS }, () => {
      const bar = make("i");
      const cells = [make("span"), make("span"), make("span"), make("span")];
      const row = make("div", "", bar, ...cells);
      attribute(row, "role", "row");
      for (const cell of cells) attribute(cell, "role", "cell");
      byId("tape").append(row);
      return { row, bar, cells };
    });
    this.seen = -1;
    this.large = 0; // a decaying maximum: what a full bar is
  }

  open() {
    this.seen = -1;
    this.large = 0;
  }

  /** @param {Snapshot} shot @param {Market} market */
  draw(shot, market) {
    if (shot.trades === this.seen) return;
    this.seen = shot.trades;
    text(this.count, shot.trades > 0 ? fixed(shot.trades, 0) : "");
    this.large *= 0.995;
    this.rows.forEach(({ row, bar, cells }, back) => {
      const trade = back < shot.trades ? shot.trade(back) : null;
      if (!trade || trade.recvMs === 0) {
        for (const cell of cells) text(cell, "");
        scale(bar, 0);
        return;
      }
      this.large = Math.max(this.large, trade.qty);
      attribute(row, "data-side", trade.side);
      text(cells[0], timeOfDay(trade.recvMs, true));
      text(cells[1], trade.side > 0 ? "▲" : "▼");
      text(cells[2], market.price(trade.price));
      text(cells[3], market.qty(trade.qty));
      scale(bar, trade.qty / this.large);
    });
  }
}

export class EnginePanel {
  constructor() {
    this.rows = ["queue", "kernel, a message", "queue to decision", "decision to screen"].map((name) => {
      const cells = [make("td", "", name), make("td", "right number", "–"), make("td", "right number", "–")];
      byId("latency").append(make("tr", "", ...cells));
      return cells;
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
      pair.forEach((value, column) => text(this.rows[at][column + 1], value > 0 ? fixed(value, value < 10 ? 1 : 0) : "–"));
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
