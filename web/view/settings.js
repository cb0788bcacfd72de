// The sheet in which a person reads and changes every setting: value, range, default and meaning; what is changed comes first.

import { oneLine, Refusal } from "../rpc.js";
import { attribute, byId, hide, make, text } from "./dom.js";

/** @typedef {import("../session.js").Session} Session */
/** @typedef {import("../settings.js").Row} Row */
/** @typedef {import("../settings.js").File} Text */
/** @typedef {{row: Row, item: HTMLElement, input: HTMLInputElement, words: HTMLElement, reset: HTMLButtonElement, error: string, found: string}} Line */

const LARGEST = 4 << 20; // bytes of a settings or weights file: more is something else
const TITLES = /** @type {Record<string, string>} */ ({
  thresholds: "Enter and exit", session: "Paper account and limits", bars: "Volume bars", decision: "Decision", liquidation: "Liquidations",
  whale: "Whales", soc: "Criticality", swan: "Black swan", panarchy: "Market phase", fibonacci: "Fibonacci levels",
  antifragility: "Convexity", weights: "Weights of the features",
});

/** @param {number | string | null} value @returns {string} */
function shownAs(value) {
  return value === null ? "" : String(value);
}

/** @param {number} value @returns {string} */
function plain(value) {
  return value.toLocaleString("en-US", { maximumSignificantDigits: 12 });
}

/** @param {Row} row @returns {string} unit, range and default */
function rangeOf({ low, high, above, unit, default: usual, now }) {
  const parts = [`${above ? "above " : ""}${plain(low)} to ${plain(high)}`, `default ${usual === null ? "unset" : plain(usual)}`];
  if (unit && unit !== "1") parts.unshift(unit);
  if (!now) parts.push("from the next session on");
  return parts.join(" · ");
}

export class SettingsSheet {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    /** @type {HTMLDialogElement} */
    this.dialog = byId("settings-dialog");
    this.list = byId("settings-list");
    /** @type {HTMLInputElement} */
    this.search = byId("settings-search");
    /** @type {Line[]} */
    this.lines = [];
    this.search.addEventListener("input", () => this.#arrange());
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("cancel", () => this.#discard());
    byId("settings-form").addEventListener("submit", (event) => event.preventDefault());
    byId("settings-close").addEventListener("click", () => this.dialog.close());
    byId("settings-reset").addEventListener("click", () => this.#try(() => this.settings.reset()));
    byId("settings-export").addEventListener("click", () => this.#try(() => this.#export()));
    this.#file("settings-import", "settings-file", (file) => this.settings.load(file));
    this.#file("settings-networks-load", "settings-networks-file", async (file) => {
      await this.settings.networks(file);
      attribute(byId("settings-card"), "open", "");
    });
    for (const which of /** @type {const} */ (["shipped", "none"])) {
      document.querySelector(`[data-networks="${which}"]`)?.addEventListener("click", () => this.#try(() => this.settings.networks(which)));
    }
  }

  get settings() {
    return this.session.settings;
  }

  show() {
    if (this.dialog.open) return;
    this.search.value = "";
    text(byId("settings-error"), "");
    for (const line of this.lines) line.error = "";
    this.draw();
    this.#arrange();
    this.dialog.showModal();
    this.search.focus();
  }

  /** Shows what is chosen; what is being typed stays. */
  draw() {
    const { chosen, rows, own } = this.settings;
    if (this.lines.length === 0 && rows.length > 0) {
      this.lines = rows.map((row) => this.#line(row));
      this.#arrange();
    }
    for (const line of this.lines) {
      const { row, item, input, words, reset, error } = line;
      const value = shownAs(chosen.values[row.name]);
      if (!error && (input !== document.activeElement || input.value === line.found)) input.value = value;
      line.found = value;
      const loose = chosen.loosened.includes(row.name);
      item.classList.toggle("changed", row.name in chosen.changed);
      item.classList.toggle("loosened", loose);
      hide(reset, !(row.name in chosen.changed));
      attribute(input, "aria-invalid", String(error !== ""));
      attribute(words, "data-bad", error ? 1 : 0);
      const told = [
        loose ? `Permits more risk than the default ${row.default}: ${row.looser} is looser.` : "",
        chosen.pending.includes(row.name) ? "Not yet: it counts from the next replay or live session on (R begins one)." : "",
      ];
      text(words, error || told.filter(Boolean).join(" "));
    }
    for (const button of document.querySelectorAll("[data-networks]")) {
      attribute(button, "aria-checked", String(button.getAttribute("data-networks") === chosen.networks));
    }
    const load = byId("settings-networks-load");
    attribute(load, "aria-pressed", String(chosen.networks === "own"));
    text(load, own && chosen.networks === "own" ? `${own.name}…` : "Own weights…");
    hide(byId("settings-card"), chosen.card.length === 0);
    byId("settings-card-lines").replaceChildren(...chosen.card.map((line) => make("li", "", line)));
    const count = Object.keys(chosen.changed).length + Number(chosen.networks !== "shipped");
    const badge = byId("settings-badge");
    hide(badge, count === 0);
    text(badge, String(count));
    attribute(badge, "data-loosened", chosen.loosened.length > 0 ? 1 : 0);
    const words = this.words();
    attribute(byId("settings"), "aria-label", words ? `Settings: ${words}` : "Settings");
    const keeps = this.settings.keeps ? "" : " This browser keeps none of it: it ends with this page.";
    text(byId("settings-words"), `${words ? `${words[0].toUpperCase()}${words.slice(1)}.` : "All as by default."}${keeps}`);
  }

  /** What differs from the defaults, in one line; nothing if nothing does. @returns {string} */
  words() {
    const { changed, loosened, networks, networksName } = this.settings.chosen;
    const names = Object.entries(changed).map(([name, value]) => `${name} ${value}`);
    if (networks !== "shipped") names.push(networks === "none" ? "no networks" : `networks of ${networksName}`);
    if (names.length === 0) return "";
    const few = names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
    return `differs from the defaults: ${few}${loosened.length > 0 ? `; permits more risk: ${loosened.join(", ")}` : ""}`;
  }

  /** For a console; `running`: the thresholds of the engine itself. */
  state() {
    const { changed, pending, loosened, networks, networksName, enter, exit } = this.settings.chosen;
    return { changed, pending, loosened, networks: networks === "own" ? networksName : networks, running: { enter, exit } };
  }

  /** @param {Row} row @returns {Line} */
  #line(row) {
    const input = make("input");
    const id = `setting-${row.name}`;
    Object.assign(input, { id, type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false });
    if (row.default === null) input.placeholder = "unset";
    const label = make("label", "", row.name);
    label.htmlFor = id;
    const [what, range, words] = [make("p", "quiet what", row.what), make("span", "quiet range", rangeOf(row)), make("p", "words")];
    what.id = `${id}-what`;
    range.id = `${id}-range`;
    words.id = `${id}-words`;
    attribute(words, "aria-live", "polite");
    attribute(input, "aria-describedby", [what, range, words].map((each) => each.id).join(" "));
    const reset = make("button", "", "Reset");
    reset.type = "button";
    attribute(reset, "aria-label", `Reset ${row.name}`);
    const item = make("li", "setting", label, input, range, reset, what, words);
    const line = { row, item, input, words, reset, error: "", found: "" };
    input.addEventListener("change", () => this.#commit(line, row.default === null && input.value.trim() === "" ? null : input.value.trim()));
    reset.addEventListener("click", () => {
      input.focus(); // this button goes
      this.#commit(line, null);
    });
    return line;
  }

  /** @param {Line} line @param {string | null} value null: as by default */
  async #commit(line, value) {
    try {
      line.error = "";
      await this.settings.set(line.row.name, value);
      line.input.value = line.found;
    } catch (error) {
      line.error = `${oneLine(error)}. Nothing has changed.`;
      this.draw();
    }
  }

  /** Puts the rows that the search means in order: those that are changed first. */
  #arrange() {
    const { changed } = this.settings.chosen;
    const wanted = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const lines = this.lines.filter(({ row }) => {
      const all = `${row.name} ${row.what} ${row.unit} ${TITLES[row.group] ?? ""}`.toLowerCase();
      return wanted.every((word) => all.includes(word));
    });
    const title = (/** @type {string} */ words) => make("li", "", make("h3", "", words));
    const first = lines.filter(({ row }) => row.name in changed);
    const nodes = first.length > 0 ? [title("Changed"), ...first.map(({ item }) => item)] : [];
    let group = "";
    for (const line of lines) {
      if (line.row.name in changed) continue;
      if (line.row.group !== group) nodes.push(title(TITLES[line.row.group] ?? line.row.group));
      group = line.row.group;
      nodes.push(line.item);
    }
    if (nodes.length === 0) nodes.push(make("li", "quiet", "No setting means this."));
    this.list.replaceChildren(...nodes);
  }

  /** The arrows go from one value to the next. @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const target = /** @type {HTMLElement} */ (event.target);
    if (!step || target.tagName !== "INPUT") return;
    event.preventDefault();
    const inputs = [this.search, ...this.list.querySelectorAll("input")];
    inputs[inputs.indexOf(/** @type {HTMLInputElement} */ (target)) + step]?.focus();
  }

  /** Escape: what was typed and not entered is not meant. (Chromium leaves it without this; where a dialog that closes takes the focus with a change, it would count.) */
  #discard() {
    for (const { input, found } of this.lines) input.value = found;
  }

  /** @param {() => Promise<unknown>} act something that changes more than one value */
  async #try(act) {
    const error = byId("settings-error");
    text(error, "");
    try {
      await act();
      for (const line of this.lines) line.error = "";
      this.draw();
      this.#arrange();
    } catch (why) {
      text(error, `${oneLine(why)}. Nothing has changed.`);
    }
  }

  /** A button that asks for a file. @param {string} button @param {string} chooser @param {(file: Text) => Promise<unknown>} take */
  #file(button, chooser, take) {
    /** @type {HTMLInputElement} */
    const input = byId(chooser);
    byId(button).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (!file) return;
      this.#try(async () => {
        if (file.size > LARGEST) throw new Refusal(`${file.name}: ${(file.size / 1e6).toFixed(0)} MB are too much for such a file`);
        await take({ name: file.name, text: await file.text() });
      }).then(() => {
        input.value = ""; // so that the same file can be chosen again
      });
    });
  }

  async #export() {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([await this.settings.file()], { type: "application/toml" }));
    link.download = "cwts-settings.toml";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
