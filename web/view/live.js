// What only a live feed has: the chooser of an instrument, the state of the connections, and the line about them.

import { duration, fixed, timeOfDay, VENUES } from "../market.js";
import { oneLine } from "../rpc.js";
import { syncWords } from "../words.js";
import { attribute, byId, Facts, make, text } from "./dom.js";

/** @typedef {import("../session.js").Session} Session */
/** @typedef {import("../session.js").Health} Health */
/** @typedef {import("../session.js").LiveOptions} LiveOptions */
/** @typedef {{symbol: string, what: string}} Listed */

const SHOWN = 60; // rows of the list of instruments
const LINKS = 6; // rows of connections
const NOTES = 2;
const RATE_MS = 2000;
const USUAL = /** @type {Record<string, string>} */ ({ binance: "BTCUSDT", "binance-usdm": "BTCUSDT", "binance-coinm": "BTCUSD_PERP", okx: "BTC-USDT" });
const USUAL_CAPITAL = "1000 of the quote currency's worth";
const ROLES = /** @type {Record<string, string>} */ ({ stream: "market data", public: "book, quotes", market: "trades", api: "snapshots" });

/** @param {number | null} seconds @returns {string} */
function ago(seconds) {
  if (seconds === null) return "–";
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : duration(seconds * 1000);
}

/** @param {Health["links"][number]} link @param {string} exchange */
function nameOf(link, exchange) {
  const name = exchange === "okx" ? "market data" : (ROLES[link.role] ?? link.role);
  return link.replica > 0 ? `${name} ${link.replica + 1}` : name;
}

/** @param {Health["links"][number]} link @returns {string} */
function stateOf(link) {
  if (link.state !== "waiting") return link.state;
  return link.retry !== null && link.retry >= 0.1 ? `retry in ${ago(link.retry)}` : "waiting";
}

/**
 * What is wrong with a live feed, in one line; nothing if all is well.
 * @param {Session} session @returns {string}
 */
export function trouble(session) {
  const { shot, health, market } = session;
  if (!navigator.onLine) return "this machine is offline";
  const down = health?.links.find((link) => link.role !== "api" && link.state !== "open");
  if (down && market) {
    const what = down.error || (down.connects > 0 ? "the connection was lost" : "");
    return `${nameOf(down, market.exchange)}: ${what ? `${what}; ` : ""}${down.state === "waiting" ? stateOf(down) : "connecting"}`;
  }
  if (!shot || !shot.synced) return shot && shot.messages > 0 ? `the book is not valid: ${syncWords(shot.syncReason)}` : "waiting for the first book";
  if (session.status === "stale") return `no update of the book for ${ago(session.bookAge / 1000)}; what you see is old`;
  return "";
}

/** Messages a second of each connection and of all, over the last two seconds. */
class Rates {
  constructor() {
    /** @type {{health: Health, at: number}[]} */
    this.past = [];
  }

  /** @param {Health} health @param {number} now */
  add(health, now) {
    if (this.past.at(-1)?.health === health) return;
    this.past.push({ health, at: now });
    while (this.past.length > 2 && now - this.past[0].at > RATE_MS) this.past.shift();
  }

  /** @param {number} at which connection @returns {number} */
  of(at) {
    const [first, last] = [this.past[0], this.past.at(-1)];
    if (!first || !last || last.at <= first.at) return 0;
    const [was, is] = [first.health.links[at]?.messages ?? 0, last.health.links[at]?.messages ?? 0];
    return (Math.max(0, is - (is < was ? 0 : was)) * 1000) / (last.at - first.at);
  }
}

export class ConnectionsPanel {
  constructor() {
    this.panel = byId("connections-panel");
    this.rows = Array.from({ length: LINKS }, () => {
      const cells = Array.from({ length: 5 }, (_, at) => make("td", at > 1 ? "right number" : ""));
      const row = make("tr", "", ...cells);
      const why = make("td", "why");
      why.colSpan = 5;
      const error = make("tr", "", why);
      byId("connections").append(row, error);
      return { row, cells, error, why };
    });
    this.facts = new Facts(byId("feed-facts"), ["gaps, book resets", "snapshots asked for", "repeats dropped", "lost in an overflow"]);
    this.notes = Array.from({ length: NOTES }, () => {
      const note = make("li");
      byId("feed-notes").append(note);
      return note;
    });
    this.rates = new Rates();
  }

  open() {
    this.rates = new Rates();
  }

  /** @param {Session} session @param {number} now */
  draw(session, now) {
    const { health, market } = session;
    const live = session.mode === "live";
    this.panel.hidden = !live;
    if (!live) return;
    if (health) this.rates.add(health, now);
    let all = 0;
    let silent = Infinity;
    this.rows.forEach(({ row, cells, error, why }, at) => {
      const link = health?.links[at];
      row.hidden = link === undefined;
      error.hidden = !link?.error || link.state === "idle";
      if (!link) return;
      const rate = this.rates.of(at);
      all += rate;
      if (link.role !== "api" && link.silent !== null) silent = Math.min(silent, link.silent);
      const values = [
        nameOf(link, market?.exchange ?? ""),
        stateOf(link),
        ago(link.silent),
        fixed(rate, 0),
        fixed(Math.max(0, link.connects - 1), 0),
      ];
      values.forEach((value, cell) => text(cells[cell], value));
      attribute(cells[1], "data-state", link.state);
      attribute(row, "title", `${link.url}${link.garbage > 0 ? `, ${link.garbage} messages that were none` : ""}`);
      text(why, link.error);
      attribute(why, "title", link.error);
    });
    const book = health?.books[0];
    if (book) {
      this.facts.set("gaps, book resets", `${fixed(book.gaps, 0)}, ${fixed(book.resets, 0)}`);
      this.facts.set("snapshots asked for", fixed(book.snapshots, 0));
      this.facts.set("repeats dropped", fixed(book.repeats, 0));
      this.facts.set("lost in an overflow", fixed(health?.lost ?? 0, 0));
    }
    this.notes.forEach((node, back) => {
      const note = session.notes.at(-1 - back);
      node.hidden = note === undefined;
      if (!note) return;
      text(node, `${timeOfDay(note.at)} ${note.text}`);
      attribute(node, "title", note.text);
    });
    const open = health?.links.filter((link) => link.state === "open").length ?? 0;
    const wanted = health?.links.filter((link) => link.state !== "idle").length ?? 0;
    const state = session.phase === "stopped" ? "connections closed" : health ? `${open} of ${wanted} open` : "connecting";
    const rest = health && session.phase === "running" ? ` · ${fixed(all, 0)} msg/s · newest ${ago(Number.isFinite(silent) ? silent : null)}` : "";
    text(byId("wire-words"), state + rest);
  }
}

/** The dialog in which a person chooses what to connect to. */
export class Chooser {
  /** @param {Session} session @param {(options: LiveOptions) => void} go */
  constructor(session, go) {
    this.session = session;
    this.go = go;
    /** @type {HTMLDialogElement} */
    this.dialog = byId("live-dialog");
    /** @type {HTMLSelectElement} */
    this.exchange = byId("live-exchange");
    /** @type {HTMLInputElement} */
    this.search = byId("live-symbol");
    /** @type {HTMLInputElement} */
    this.capital = byId("live-capital");
    this.list = byId("live-list");
    this.count = byId("live-count");
    /** Instruments of an exchange, once they are asked for. @type {Map<string, Promise<Listed[]>>} */
    this.known = new Map();
    /** All of the chosen exchange. @type {Listed[]} */
    this.all = [];
    /** Those that match, and which of them is marked. @type {Listed[]} */
    this.rows = [];
    this.at = -1;
    this.search.addEventListener("input", () => this.#filter());
    this.search.addEventListener("keydown", (event) => this.#key(event));
    this.exchange.addEventListener("change", () => {
      this.search.value = USUAL[this.exchange.value] ?? "";
      this.#load();
    });
    this.list.addEventListener("click", (event) => {
      const option = /** @type {HTMLElement} */ (event.target).closest("[role=option]");
      if (!option) return;
      this.#select([...this.list.children].indexOf(option));
      this.search.focus();
    });
    this.list.addEventListener("dblclick", () => this.#submit());
    byId("live-cancel").addEventListener("click", () => this.dialog.close());
    byId("live-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  show() {
    if (!this.dialog.open) this.dialog.showModal();
    const { capital } = this.session.settings.chosen.changed;
    this.capital.placeholder = capital === undefined ? USUAL_CAPITAL : `${capital}, of the settings`;
    this.search.focus();
    this.search.select();
    this.#load();
  }

  async #load() {
    const exchange = this.exchange.value;
    text(this.count, "asking the exchange for its instruments");
    this.all = this.rows = [];
    this.at = -1;
    this.#draw();
    const origin = await this.session.origin(exchange);
    text(byId("live-where"), origin ? `Simulated: ${new URL(origin).host} stands for ${VENUES[exchange]}.` : "");
    let asked = this.known.get(exchange);
    if (!asked) {
      asked = this.session.instruments(exchange);
      this.known.set(exchange, asked);
      asked.catch(() => this.known.delete(exchange)); // the next look asks again
    }
    try {
      const all = await asked;
      if (exchange !== this.exchange.value) return;
      this.all = [...all].sort((one, other) => (one.symbol < other.symbol ? -1 : 1));
      this.#filter();
    } catch (error) {
      if (exchange === this.exchange.value) text(this.count, `No list: ${oneLine(error)}. A symbol can be typed all the same.`);
    }
  }

  /** Shows the instruments that what was typed could mean, the likeliest first. */
  #filter() {
    const wanted = this.search.value.trim().toUpperCase();
    const bare = wanted.replace(/[^A-Z0-9]/g, "");
    const rank = (/** @type {string} */ symbol) => {
      if (symbol === wanted) return 0;
      if (symbol.startsWith(wanted)) return 1;
      if (bare !== "" && symbol.replace(/[^A-Z0-9]/g, "").startsWith(bare)) return 2;
      return symbol.includes(wanted) ? 3 : 4;
    };
    const found = this.all.map((row) => ({ row, rank: rank(row.symbol) })).filter((each) => each.rank < 4);
    this.rows = found.sort((one, other) => one.rank - other.rank).map(({ row }) => row);
    this.at = wanted !== "" && this.rows.length > 0 ? 0 : -1;
    this.#draw();
    const shown = this.rows.length > SHOWN ? `, the first ${SHOWN} are shown` : "";
    if (this.all.length > 0) text(this.count, `${this.rows.length} of ${this.all.length} instruments${shown}`);
  }

  #draw() {
    this.list.replaceChildren(
      ...this.rows.slice(0, SHOWN).map(({ symbol, what }, at) => {
        const row = make("li", "", make("span", "", symbol), make("span", "quiet", what));
        row.id = `live-option-${at}`;
        attribute(row, "role", "option");
        return row;
      }),
    );
    this.#mark();
  }

  #mark() {
    [...this.list.children].forEach((row, at) => attribute(row, "aria-selected", String(at === this.at)));
    const row = this.list.children[this.at];
    if (row) row.scrollIntoView({ block: "nearest" });
    attribute(this.search, "aria-activedescendant", row?.id ?? "");
  }

  /** @param {number} at */
  #select(at) {
    this.at = at;
    this.#mark();
    const row = this.rows[at];
    if (row) this.search.value = row.symbol;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = Math.min(this.rows.length, SHOWN) - 1;
    if (last < 0) return;
    this.at = Math.max(0, Math.min(last, this.at < 0 && step > 0 ? 0 : this.at + step));
    this.#mark();
  }

  #submit() {
    const symbol = this.rows[this.at]?.symbol ?? this.search.value.trim();
    if (symbol === "") return;
    this.search.value = symbol;
    this.dialog.close();
    this.go({ exchange: this.exchange.value, symbol, capital: this.capital.value.trim() || undefined });
  }
}
