// The recorder worker: keeps recordings of live sessions in this browser's private storage for the page (OPFS). It only writes
// bytes: the groups come from the engine worker (tape.js), which never waits for a disk. What happens to them is told to the
// page as it happens.

import { wholeGroups } from "../groups.js";
import { answer, oneLine, Refusal } from "../rpc.js";

/** @typedef {import("../groups.js").Limits} Limits */
/** @typedef {import("../groups.js").Kept} Kept */
/** @typedef {import("../groups.js").Current} Current */

const FOLDER = "recordings";
const SUFFIX = ".cwts";

/** @type {(Current & {handle: FileSystemSyncAccessHandle}) | null} */
let current = null;
/** Bytes of all files, and how many may be kept. */
let total = 0;
let keptBytes = Infinity;
/** Bytes and frames of the files of this recording that are full. */
let before = { bytes: 0, frames: 0 };

/** @param {object} recording what the page is to hear */
function tell(recording) {
  /** @type {any} */ (globalThis).postMessage({ recording });
}

let turn = Promise.resolve();
/** One after the other, in the order of the calls. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
function inTurn(work) {
  const done = turn.then(work);
  turn = done.then(() => {}, () => {});
  return done;
}

/** @param {unknown} error @returns {Refusal} what a person can do something with */
function refusal(error) {
  if (error instanceof Refusal) return error;
  const { name = "" } = /** @type {{name?: string}} */ (error ?? {});
  if (name === "QuotaExceededError") return new Refusal("this browser's storage for the page is full");
  if (name === "NoModificationAllowedError") return new Refusal("another page is writing it");
  if (name === "NotFoundError") return new Refusal("it is no longer there");
  if (name === "SecurityError" || name === "NotAllowedError") return new Refusal("this browser gives the page no storage (a private window?)");
  return new Refusal(oneLine(error));
}

/** @returns {Promise<FileSystemDirectoryHandle>} */
async function folder() {
  if (!navigator.storage?.getDirectory || !globalThis.FileSystemFileHandle?.prototype.createSyncAccessHandle) {
    throw new Refusal("this browser has no storage for a page's own files (OPFS)");
  }
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  } catch (error) {
    throw refusal(error);
  }
}

/** The files, oldest first. @param {FileSystemDirectoryHandle} place @returns {Promise<Kept[]>} */
async function files(place) {
  const found = [];
  for await (const entry of place.values()) {
    if (entry.kind !== "file" || !entry.name.endsWith(SUFFIX)) continue;
    const { size, lastModified } = await entry.getFile();
    const writing = entry.name === current?.name;
    found.push({ name: entry.name, bytes: writing && current ? current.bytes : size, at: writing ? Date.now() : lastModified, writing });
  }
  return found.sort((one, other) => one.at - other.at || (one.name < other.name ? -1 : 1));
}

/** Cuts the torn tails that a crash left. What another page is writing is left alone. */
async function repair() {
  const notes = [];
  const place = await folder();
  for (const { name } of await files(place)) {
    let handle;
    try {
      handle = await (await place.getFileHandle(name)).createSyncAccessHandle();
    } catch {
      continue;
    }
    const size = handle.getSize();
    const whole = wholeGroups((at, bytes) => {
      const piece = new Uint8Array(bytes);
      return piece.subarray(0, handle.read(piece, { at }));
    }, size);
    if (whole.groups > 0 && whole.bytes < size) {
      handle.truncate(whole.bytes);
      handle.flush();
      notes.push(`${name}: a torn tail of ${count(size - whole.bytes)} bytes was cut; ${count(whole.frames)} frames remain`);
    }
    handle.close();
    if (whole.groups > 0) continue;
    await place.removeEntry(name);
    if (size > 0) notes.push(`${name}: nothing in its ${count(size)} bytes was whole, so it was removed`);
  }
  if (notes.length > 0) tell({ notes });
}

/** @param {number} value */
function count(value) {
  return value.toLocaleString("en-US");
}

/** Makes room: the oldest files go, but what is being written. @param {FileSystemDirectoryHandle} place */
async function prune(place) {
  const all = await files(place);
  total = all.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { name, bytes, writing } of all) {
    if (total <= keptBytes) return;
    if (writing) continue;
    try {
      await place.removeEntry(name);
    } catch {
      continue; // another page has it
    }
    total -= bytes;
    tell({ changed: true, notes: [`${name} was removed: ${count(Math.ceil(keptBytes / 1e6))} MB are kept at most, and it was the oldest`] });
  }
}

/** Closes the file that is being written; where no frame came, nothing remains. */
async function close() {
  if (!current) return;
  const { handle, name, bytes, frames } = current;
  current = null;
  try {
    if (handle.getSize() > bytes) handle.truncate(bytes); // of a group that could not be written to its end
    handle.flush();
  } finally {
    handle.close();
  }
  if (frames === 0) await (await folder()).removeEntry(name);
}

/** Ends what is being written because of an error, and says so. @param {unknown} error @returns {Promise<Refusal>} */
async function stopped(error) {
  const why = refusal(error);
  try {
    await close();
  } catch {
    // what was written last may be torn: the next start cuts it
  }
  tell({ stopped: why.message });
  return why;
}

/**
 * Another page may begin a file in the same second: then it has the name, and this file takes the next number.
 * @param {FileSystemDirectoryHandle} place @param {string} base @param {number} part @param {Set<string>} taken names
 * @returns {Promise<{name: string, handle: FileSystemSyncAccessHandle}>}
 */
async function created(place, base, part, taken) {
  for (let number = part, tries = 20; ; number += 1) {
    const name = `${base}-${String(number).padStart(4, "0")}${SUFFIX}`;
    if (taken.has(name)) continue;
    const file = await place.getFileHandle(name, { create: true });
    try {
      return { name, handle: await file.createSyncAccessHandle() };
    } catch (error) {
      const theirs = error instanceof DOMException && error.name === "NoModificationAllowedError";
      if (!theirs || (tries -= 1) === 0) throw error;
    }
  }
}

/**
 * A file begins. @param {string} base its name without number and suffix @param {number} part of the recording, from 0
 * @param {Limits} limits
 */
async function begin(base, part, limits) {
  try {
    const place = await folder();
    before = part > 0 && current ? { bytes: before.bytes + current.bytes, frames: before.frames + current.frames } : { bytes: 0, frames: 0 };
    await close();
    ({ keptBytes } = limits);
    const taken = new Set((await files(place)).map(({ name }) => name));
    current = { ...(await created(place, base, part, taken)), bytes: 0, frames: 0 };
    await prune(place);
    progress();
    tell({ changed: true });
  } catch (error) {
    throw await stopped(error);
  }
}

/** @param {Uint8Array} group whole @param {number} frames in it */
async function append(group, frames) {
  if (!current) throw new Refusal("nothing is being recorded"); // it was stopped, and that was told
  try {
    const wrote = current.handle.write(group, { at: current.bytes });
    if (wrote < group.length) throw new DOMException("", "QuotaExceededError");
    current.bytes += wrote;
    current.frames += frames;
    total += wrote;
    if (total > keptBytes) await prune(await folder());
    progress();
  } catch (error) {
    throw await stopped(error);
  }
}

function progress() {
  if (!current) return;
  const { name, bytes, frames } = current;
  tell({ current: { name, bytes: before.bytes + bytes, frames: before.frames + frames } });
}

/** @param {string} [why] what went wrong, if something did */
async function end(why) {
  if (why) throw await stopped(new Refusal(why));
  if (!current) return;
  try {
    await close();
  } catch (error) {
    throw await stopped(error);
  }
  tell({ ended: true });
}

const writing = {
  /** @param {string} base @param {number} part @param {Limits} limits */
  begin: (base, part, limits) => inTurn(() => begin(base, part, limits)),
  /** @param {Uint8Array} group @param {number} frames */
  append: (group, frames) => inTurn(() => append(group, frames)),
  /** @param {string} [why] */
  end: (why) => inTurn(() => end(why)),
};

/** @param {string} name @returns {Promise<File>} */
async function file(name) {
  if (name === current?.name) throw new Refusal("it is still being written: stop the recording first");
  try {
    return await (await (await folder()).getFileHandle(name)).getFile();
  } catch (error) {
    throw refusal(error);
  }
}

/** @param {string} name */
async function remove(name) {
  if (name === current?.name) throw new Refusal("it is still being written: stop the recording first");
  try {
    await (await folder()).removeEntry(name);
  } catch (error) {
    throw refusal(error);
  }
  tell({ changed: true });
}

answer(/** @type {any} */ (globalThis), {
  /** @param {MessagePort} port from the engine worker */
  init(port) {
    answer(port, writing);
    port.start();
    return inTurn(repair).catch(() => {}); // without storage nothing is torn; who wants to record hears of it
  },
  /** The files, newest first. */
  list: () => inTurn(async () => (await files(await folder())).reverse()),
  /** @param {string} name */
  file: (name) => inTurn(() => file(name)),
  /** @param {string} name */
  remove: (name) => inTurn(() => remove(name)),
});
