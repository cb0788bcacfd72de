// The button that records a live session, and the list of what this browser keeps.

import { oneLine } from "../rpc.js";
import { attribute, byId, hide, make, text } from "./dom.js";

/** @typedef {import("../session.js").Session} Session */
/** @typedef {import("../groups.js").Kept} Kept */

const SURE_MS = 5000;

/** @param {number} bytes @returns {string} */
function size(bytes) {
  if (bytes < 999_500) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 999.5e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(bytes % 1e9 === 0 ? 0 : 2)} GB`;
}

export class RecordingsSheet {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.button = byId("record");
    /** @type {HTMLDialogElement} */
    this.dialog = byId("recordings-dialog");
    this.list = byId("recordings-list");
    this.changes = -1; // of the list that is shown
    this.button.addEventListener("click", () => this.toggle());
    byId("recordings").addEventListener("click", () => this.show());
    byId("open-recordings").addEventListener("click", () => {
      /** @type {HTMLDialogElement} */ (byId("open-dialog")).close();
      this.show();
    });
    byId("recordings-close").addEventListener("click", () => this.dialog.close());
  }

  get recordings() {
    return this.session.recordings;
  }

  toggle() {
    this.recordings.want(!this.recordings.on).catch(() => {}); // why not is told already
  }

  show() {
    if (this.dialog.open) return;
    text(byId("recordings-error"), "");
    this.changes = -1;
    this.dialog.showModal();
    this.draw();
  }

  draw() {
    const { on, current, error, notes, keptBytes, changes } = this.recordings;
    attribute(this.button, "aria-pressed", String(on));
    text(byId("record-size"), !on ? "" : current ? size(current.bytes) : "waiting");
    attribute(this.button, "title", error || (current ? `${current.name}: ${current.frames.toLocaleString("en-US")} frames` : "Keep what the engine is fed as a file in this browser (C)"));
    if (!this.dialog.open) return;
    text(byId("recordings-bound"), `At most ${size(keptBytes)} are kept: then the oldest file goes.`);
    const lines = [...(error ? [error] : []), ...notes.slice(-4).reverse()];
    const told = byId("recordings-notes");
    if (told.childElementCount !== lines.length || lines.some((line, at) => told.children[at].textContent !== line)) {
      told.replaceChildren(...lines.map((line) => make("li", "", line)));
    }
    const writing = this.list.querySelector("[data-writing]");
    if (writing && current) text(writing, `${size(current.bytes)} so far, being written`);
    if (this.changes === changes) return;
    this.changes = changes;
    this.#fill();
  }

  async #fill() {
    try {
      const { changes } = this;
      const all = await this.recordings.list();
      if (changes !== this.changes) return;
      const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.file;
      this.list.replaceChildren(...all.map((kept) => this.#row(kept)));
      if (focused !== undefined && document.activeElement === document.body) byId("recordings-close").focus(); // its row is gone
      hide(byId("recordings-none"), all.length > 0);
      text(byId("recordings-sum"), all.length > 0 ? `${all.length} file${all.length === 1 ? "" : "s"}, ${size(all.reduce((sum, { bytes }) => sum + bytes, 0))}.` : "");
    } catch (error) {
      text(byId("recordings-error"), `${oneLine(error)}.`);
    }
  }

  /** @param {Kept} kept @returns {HTMLLIElement} */
  #row({ name, bytes, at, writing }) {
    const facts = make("span", "quiet number", writing ? `${size(bytes)} so far, being written` : `${size(bytes)}, ${new Date(at).toISOString().slice(0, 16).replace("T", " ")} UTC`);
    if (writing) attribute(facts, "data-writing", "");
    const button = (/** @type {string} */ word, /** @type {() => unknown} */ act) => {
      const made = make("button", "", word);
      made.type = "button";
      made.disabled = writing;
      made.dataset.file = name;
      attribute(made, "aria-label", `${word} ${name}`);
      made.addEventListener("click", () => this.#try(act));
      return made;
    };
    const remove = button("Delete", async () => {
      if (remove.dataset.sure) {
        await this.recordings.remove(name);
        return;
      }
      remove.dataset.sure = "1";
      text(remove, "For good?");
      attribute(remove, "aria-label", `Delete ${name} for good?`);
      setTimeout(() => {
        delete remove.dataset.sure;
        text(remove, "Delete");
        attribute(remove, "aria-label", `Delete ${name}`);
      }, SURE_MS);
    });
    return make("li", "", make("span", "name", name), facts, button("Download", () => this.#download(name)), remove);
  }

  /** @param {string} name */
  async #download(name) {
    const link = make("a");
    link.href = URL.createObjectURL(await this.recordings.file(name));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  /** @param {() => unknown} act */
  async #try(act) {
    text(byId("recordings-error"), "");
    try {
      await act();
    } catch (error) {
      text(byId("recordings-error"), `${oneLine(error)}.`);
    }
  }
}
