// Recordings of live sessions in this browser: whether there is one now, and what is kept. No DOM here; view/recordings.js shows
// it, and the files are the recorder worker's.

import { Caller, oneLine, Refusal } from "./rpc.js";

/** @typedef {import("./groups.js").Limits} Limits */
/** @typedef {import("./groups.js").Kept} Kept */
/** @typedef {import("./groups.js").Current} Current */

const NOTES = 20;
const FILE_BYTES = 64e6;
const KEPT_BYTES = 1e9;

export class Recordings {
  /**
   * @param {Worker} worker @param {(limits: Limits | null) => Promise<void>} record tells the engine worker
   * @param {(news: string) => void} heard something has changed, and a line about it if a person should read one
   */
  constructor(worker, record, heard) {
    this.record = record;
    this.heard = heard;
    /** Live sessions are recorded. */
    this.on = false;
    /** What is being written; all files of one recording together. @type {Current | null} */
    this.current = null;
    /** Why nothing is recorded although somebody wanted it; or nothing. */
    this.error = "";
    /** What happened to the files without anybody asking, newest last. @type {string[]} */
    this.notes = [];
    this.keptBytes = KEPT_BYTES;
    /** Grows with the list of files. */
    this.changes = 0;
    this.store = new Caller(worker, ({ recording }) => this.#hear(recording));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#stopped(event.message || "its worker could not be loaded");
    });
  }

  /** @returns {MessagePort} for the engine worker */
  connect() {
    const { port1, port2 } = new MessageChannel();
    this.store.call("init", [port1], [port1]);
    return port2;
  }

  /** @param {{current?: Current, notes?: string[], stopped?: string, ended?: true, changed?: true}} news */
  #hear({ current, notes = [], stopped, ended, changed }) {
    if (current) this.current = current;
    this.notes = [...this.notes, ...notes].slice(-NOTES);
    if (ended) this.current = null;
    if (ended || changed) this.changes += 1;
    if (stopped !== undefined) this.#stopped(stopped);
    else this.heard(notes.length > 0 ? `Recording ${notes.join("; ")}` : "");
  }

  /** @param {string} why */
  #stopped(why) {
    this.on = false;
    this.error = `Not recording: ${why}. The session goes on without${this.current?.frames ? "; what was written until now is kept" : ""}.`;
    this.current = null;
    this.changes += 1;
    this.record(null).catch(() => {});
    this.heard(this.error);
  }

  /**
   * Records live sessions from now on, the one that runs among them, or no more.
   * @param {boolean} on @param {Partial<Limits>} [limits] how large a file becomes, and all of them together
   * @returns {Promise<void>} rejects where nothing can be recorded
   */
  async want(on, { fileBytes = FILE_BYTES, keptBytes = KEPT_BYTES } = {}) {
    if (on && !(fileBytes > 0 && keptBytes >= 2 * fileBytes)) throw new Refusal("keptBytes must be at least twice fileBytes, and that above 0");
    this.error = "";
    this.on = on;
    this.heard("");
    if (!on) return this.record(null);
    this.keptBytes = keptBytes;
    try {
      await this.record({ fileBytes, keptBytes });
    } catch (error) {
      throw new Refusal(this.error || `Not recording: ${oneLine(error)}. The session goes on without.`);
    }
  }

  /** Newest first. @returns {Promise<Kept[]>} */
  list() {
    return this.store.call("list");
  }

  /** @param {string} name @returns {Promise<File>} the file as it lies there: nothing is read yet */
  file(name) {
    return this.store.call("file", [name]);
  }

  /** @param {string} name */
  remove(name) {
    return this.store.call("remove", [name]);
  }

  /** For a console. */
  state() {
    const { on, current, error, notes } = this;
    return { on, name: current?.name ?? "", bytes: current?.bytes ?? 0, frames: current?.frames ?? 0, error, notes: [...notes] };
  }
}
