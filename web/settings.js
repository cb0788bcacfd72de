// What the person has set: the engine's settings and networks, as Python has checked them (`choose` in cwts.browser), and what this
// browser keeps of them for the next time. No DOM here; view/settings.js shows it.

/**
 * A setting: its range, and what it means. `above`: the lowest value itself is not allowed; `looser`: it limits risk, and in this
 * direction more is risked; `now`: an engine that runs takes it at once. `default` null: unset.
 * @typedef {{name: string, group: string, default: number | null, low: number, high: number, above: boolean, unit: string,
 *   what: string, looser: "" | "higher" | "lower", now: boolean}} Row
 */
/**
 * What is chosen. `changed`: what is not as by default; `pending`: what counts from the next session on; `loosened`: limits of risk
 * that permit more than by default; `card`: what the networks' file says of them; `enter`, `exit`: of the engine that runs.
 * @typedef {{changed: Record<string, number | string>, values: Record<string, number | string | null>, pending: string[],
 *   loosened: string[], networks: "shipped" | "none" | "own", networksName: string, card: string[], enter: number | null,
 *   exit: number | null, notes: string[]}} Chosen
 */
/** @typedef {{name: string, text: string}} File */

const PLACE = "settings";

/** What this browser has kept; null where it has nothing, or keeps nothing. @returns {{networks: string, name?: string, text?: string} | null} */
export function kept() {
  try {
    return JSON.parse(localStorage.getItem(PLACE) ?? "null");
  } catch {
    return null;
  }
}

export class Settings {
  /** @param {(method: string, values: any[]) => Promise<any>} ask the engine worker @param {(chosen: Chosen) => void} heard */
  constructor(ask, heard) {
    this.ask = ask;
    this.heard = heard;
    /** All of them; none before the engine has started. @type {Row[]} */
    this.rows = [];
    /** @type {Chosen} */
    this.chosen = {
      changed: {}, values: {}, pending: [], loosened: [], networks: "shipped", networksName: "", card: [], enter: null, exit: null, notes: [],
    };
    /** The person's own networks, if they run. @type {File | null} */
    this.own = null;
    /** What was kept and is no longer right. @type {string[]} */
    this.leftOut = [];
    /** Whether this browser keeps them for the next time. */
    this.keeps = true;
  }

  /** The engine is there. @param {Row[]} rows @param {Chosen} chosen */
  open(rows, chosen) {
    this.rows = rows;
    this.leftOut = chosen.notes;
    const was = kept();
    if (chosen.networks === "own" && was) this.own = { name: was.name ?? "", text: was.text ?? "" };
    this.#take(chosen);
  }

  /** What counts from the next session on depends on the one that runs. */
  async refresh() {
    this.#take(await this.ask("choose", [{}]));
  }

  /** @param {string} name @param {number | string | null} value null: as by default @returns {Promise<Chosen>} rejects if it is refused */
  set(name, value) {
    return this.#choose({ set: { [name]: value } });
  }

  reset() {
    return this.#choose({ reset: true });
  }

  /** A settings file replaces what was set. @param {File} file */
  load({ name, text }) {
    return this.#choose({ file: text, name });
  }

  /** @returns {Promise<string>} what is not as by default, as a settings file */
  file() {
    return this.ask("settingsFile", []);
  }

  /** @param {"shipped" | "none" | File} networks by name, or a weights file */
  async networks(networks) {
    const own = typeof networks === "object" ? networks : null;
    const chosen = await this.ask("choose", [own ? { networks: "own", ...own } : { networks }]);
    this.own = own;
    this.#keep(chosen);
    return this.#take(chosen);
  }

  /** @param {object} wish @returns {Promise<Chosen>} */
  async #choose(wish) {
    const chosen = await this.ask("choose", [wish]);
    this.#keep(chosen);
    return this.#take(chosen);
  }

  /** @param {Chosen} chosen */
  #take(chosen) {
    this.chosen = chosen;
    this.heard(chosen);
    return chosen;
  }

  /** @param {Chosen} chosen */
  #keep({ changed, networks }) {
    try {
      if (Object.keys(changed).length === 0 && networks === "shipped") localStorage.removeItem(PLACE);
      else localStorage.setItem(PLACE, JSON.stringify({ values: changed, networks, ...this.own }));
      this.keeps = true;
    } catch {
      this.keeps = false;
    }
  }
}
