// The live feed's sockets and requests. Carries out what the session in the engine worker asks for, and writes everything
// that happens into the ring, in the order in which it happened and stamped by one clock: messages, openings, ends, answers,
// and ten times a second that time has passed. The engine worker needs no clock, no timer and no other news.

import { ANSWER_BYTES, ENTRY, frameBytes, LARGEST_BYTES, RING_BYTES, sleptMs, time } from "../ring.js";
import { Refusal } from "../rpc.js";

/** @typedef {import("../ring.js").Writer} Writer */
/**
 * What a session asks for; see cwts.exchanges.base.
 * @typedef {{kind: "open", link: number, url: string, stream: number, passing: string[]} | {kind: "send", link: number, text: string}
 *   | {kind: "close", link: number, why: string} | {kind: "fetch", request: number, url: string}
 *   | {kind: "reset", instrument: number, why: string} | {kind: "note", level: "info" | "warning", text: string}
 *   | {kind: "fail", text: string, bad_input: boolean}} Action
 */
/** @typedef {{url: string, send: string, marks: string[]}} Question */
/** `status` 0: none came, for the reason `why`; `waitMs`: how long the server asks us to wait @typedef {{status: number, body: Uint8Array, why: string, waitMs?: number}} Answer */

const TICK_MS = 100;
const ANSWER_MS = 15_000; // for a question, and for a request of the session
const RAW = 0;
const RECOVER_BYTES = RING_BYTES / 2; // after an overflow, so much must be free before anything goes in again

const encoder = new TextEncoder();

// The browser tells a script nothing about why a connection failed, except that its own policy forbade it.
/** @type {Set<string>} */
const blocked = new Set();
globalThis.addEventListener("securitypolicyviolation", (event) => {
  const { blockedURI, effectiveDirective } = /** @type {SecurityPolicyViolationEvent} */ (event);
  if (effectiveDirective === "connect-src") blocked.add(originOf(blockedURI));
});

/** @param {string} url @returns {string} */
function originOf(url) {
  try {
    return new URL(url).origin;
  } catch {
    return url;
  }
}

/** Why a connection that never was could not be. @param {string} url @returns {string} one line */
function unreached(url) {
  const { host, origin, protocol } = new URL(url);
  if (blocked.has(origin)) {
    return `this page may not connect to ${host}: start it with cwts serve --simulate-origin ${origin} if that is a simulated exchange`;
  }
  if (globalThis.navigator?.onLine === false) return `cannot reach ${host}: this machine is offline`;
  if (protocol.startsWith("ws")) return `cannot reach ${host}, or it refuses this page's connection`;
  return `cannot reach ${host}, or it does not let pages read its answers (CORS)`;
}

/** Lets the event of a violated policy arrive before it is asked for. @returns {Promise<void>} */
function violations() {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

/**
 * The header Retry-After: seconds, or a date. Of another host's headers a page reads this one only where that host exposes it.
 * @param {Headers} headers @returns {number} ms; 0 where it says nothing
 */
function retryAfter(headers) {
  const text = (headers.get("retry-after") ?? "").trim();
  const wait = /^\d+$/.test(text) ? Number(text.slice(0, 9)) * 1000 : Date.parse(text) - Date.now();
  return wait > 0 ? wait : 0;
}

/** GET. @param {string} url @param {AbortSignal} signal @returns {Promise<Answer>} */
async function get(url, signal) {
  try {
    const reply = await fetch(url, { signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" });
    return { status: reply.status, body: new Uint8Array(await reply.arrayBuffer()), why: "", waitMs: retryAfter(reply.headers) };
  } catch {
    await violations();
    const why = signal.aborted ? `no answer from ${new URL(url).host} in ${ANSWER_MS / 1000} s` : unreached(url);
    return { status: 0, body: new Uint8Array(0), why };
  }
}

/**
 * The first message with one of the marks that a WebSocket answers to a text.
 * @param {Question} question @param {AbortSignal} signal @returns {Promise<Answer>}
 */
async function talk({ url, send, marks }, signal) {
  const socket = new WebSocket(url);
  try {
    return await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(send);
      socket.onmessage = ({ data }) => {
        if (typeof data !== "string" || !marks.some((mark) => data.includes(mark))) return;
        resolve({ status: 200, body: encoder.encode(data), why: "" });
      };
      socket.onerror = socket.onclose = reject;
      signal.onabort = reject;
    });
  } catch {
    await violations();
    const why = signal.aborted ? `no answer from ${new URL(url).host} in ${ANSWER_MS / 1000} s` : unreached(url);
    return { status: 0, body: new Uint8Array(0), why };
  } finally {
    socket.onerror = socket.onclose = null;
    socket.close();
  }
}

/** Asks an exchange something. @param {Question} question @returns {Promise<Answer>} */
export function ask(question) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  return question.send ? talk(question, signal) : get(question.url, signal);
}

/**
 * Asks for the instruments that an exchange lists; those that do not trade are left out.
 * @param {Question[]} questions @returns {Promise<{symbol: string, what: string}[]>}
 */
export async function listed(questions) {
  const answers = await Promise.all(questions.map(ask));
  const rows = answers.flatMap(({ status, body, why }) => {
    if (status === 0) throw new Refusal(why);
    const answer = JSON.parse(new TextDecoder().decode(body));
    const found = answer.data ?? (answer.result ?? answer).symbols;
    if (!Array.isArray(found)) throw new Refusal(`the exchange does not list its instruments: ${answer.msg ?? answer.error?.msg ?? `HTTP ${status}`}`);
    return found;
  });
  return rows.flatMap((row) => {
    const state = row.state ?? row.status ?? row.contractStatus ?? "TRADING";
    if (state !== "TRADING" && state !== "live") return [];
    const kind = row.instType ?? row.contractType ?? "SPOT";
    const [base, quote] = row.instId ? [row.baseCcy || row.uly?.split("-")[0], row.quoteCcy || row.settleCcy] : [row.baseAsset, row.quoteAsset];
    const words = { SPOT: "spot", SWAP: "perpetual", PERPETUAL: "perpetual", FUTURES: "future" }[String(kind)] ?? "future";
    return [{ symbol: String(row.instId ?? row.symbol), what: `${base ?? "?"} / ${quote ?? "?"}, ${words}` }];
  });
}

export class Sockets {
  /** @param {Writer} writer into the ring */
  constructor(writer) {
    this.writer = writer;
    /** @type {Map<number, WebSocket>} */
    this.sockets = new Map();
    this.requests = new AbortController();
    this.bytes = new Uint8Array(1 << 16);
    this.last = 0; // the newest stamp: the clock must not go back
    this.lost = 0; // messages that found no room since the ring was full
    /** What must not be lost, and waits for room. @type {{at: number, link: number, kind: number, payload: Uint8Array}[]} */
    this.late = [];
    this.ticker = setInterval(() => this.#put(this.#now(), 0, ENTRY.TICK, NOTHING), TICK_MS);
  }

  /** Carries out what the session asks for. @param {Action[]} actions */
  carry(actions) {
    for (const action of actions) {
      if (action.kind === "open") this.#open(action.link, action.url);
      else if (action.kind === "send") this.#send(action.link, action.text);
      else if (action.kind === "close") this.#forget(action.link);
      else if (action.kind === "fetch") this.#fetch(action.request, action.url);
    }
  }

  /** Ends everything. */
  close() {
    clearInterval(this.ticker);
    this.requests.abort();
    for (const link of [...this.sockets.keys()]) this.#forget(link);
  }

  /** @param {number} link @param {string} url */
  #open(link, url) {
    let opened = false;
    const socket = new WebSocket(url);
    this.sockets.set(link, socket);
    socket.onopen = () => {
      opened = true;
      this.#put(this.#now(), link, ENTRY.OPENED, NOTHING);
    };
    socket.onmessage = ({ data }) => this.#message(link, data);
    socket.onclose = ({ code, reason }) => {
      const at = this.#now();
      if (!opened) return void this.#unopened(link, url);
      this.sockets.delete(link);
      this.#closed(at, link, code === 1006 ? "the connection was cut" : `the server closed the connection (code ${code}${reason ? `: ${reason}` : ""})`);
    };
    // Chrome closes a connection that the page's policy forbids without telling more than the error.
    socket.onerror = async () => {
      await violations();
      if (blocked.has(originOf(url))) this.#unopened(link, url);
    };
  }

  /** A connection failed before it was open. @param {number} link @param {string} url */
  async #unopened(link, url) {
    await violations();
    if (!this.sockets.has(link)) return;
    this.#forget(link);
    this.#closed(this.#now(), link, unreached(url), blocked.has(originOf(url)));
  }

  /** @param {number} at @param {number} link @param {string} why @param {boolean} [hopeless] */
  #closed(at, link, why, hopeless = false) {
    this.#put(at, link, ENTRY.CLOSED, encoder.encode(JSON.stringify({ why, hopeless })));
  }

  /** @param {number} link @param {string} text */
  #send(link, text) {
    const socket = this.sockets.get(link);
    if (socket?.readyState === WebSocket.OPEN) socket.send(text);
  }

  /** @param {number} link */
  #forget(link) {
    const socket = this.sockets.get(link);
    if (!socket) return;
    this.sockets.delete(link);
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  /** @param {number} link @param {string} text the browser has decoded it; it is encoded again, which gives the same bytes */
  #message(link, text) {
    const at = this.#now();
    if (this.bytes.length < text.length * 3) this.bytes = new Uint8Array(text.length * 3);
    const { written } = encoder.encodeInto(text, this.bytes);
    this.#put(at, link, RAW, this.bytes.subarray(0, written));
  }

  /** @param {number} request @param {string} url */
  async #fetch(request, url) {
    const { status, body, why, waitMs = 0 } = await get(url, AbortSignal.any([this.requests.signal, AbortSignal.timeout(ANSWER_MS)]));
    if (this.requests.signal.aborted) return;
    const content = status === 0 ? encoder.encode(why) : body;
    const payload = new Uint8Array(ANSWER_BYTES + content.length);
    new Uint32Array(payload.buffer, 0, 2).set([request, status]);
    new BigInt64Array(payload.buffer, 8, 1).set([nanoseconds(waitMs)]);
    payload.set(content, ANSWER_BYTES);
    this.#put(this.#now(), 0, ENTRY.FETCHED, payload);
  }

  /** @returns {number} milliseconds since 1970 that never go back */
  #now() {
    this.last = Math.max(this.last, time());
    return this.last;
  }

  /** @param {number} at ms @param {number} link @param {number} kind @param {Uint8Array} payload */
  #put(at, link, kind, payload) {
    if (this.lost > 0 || this.late.length > 0) this.#recover();
    const size = frameBytes(payload.length);
    if (this.lost === 0 && this.late.length === 0 && size <= LARGEST_BYTES && this.writer.fits(size)) {
      this.writer.push(nanoseconds(at), link, kind, payload);
      this.writer.commit(at - sleptMs());
    } else if (kind === RAW || size > LARGEST_BYTES) {
      this.lost += 1; // never silently: the book is reset before anything else is fed
    } else if (kind !== ENTRY.TICK) {
      this.late.push({ at, link, kind, payload: payload.slice() });
    }
  }

  /** Takes up again what there is room for: what was lost comes first, then what was late, in order. */
  #recover() {
    const at = nanoseconds(this.last);
    if (this.lost > 0) {
      if (!this.writer.fits(RECOVER_BYTES)) return;
      this.writer.push(at, 0, ENTRY.LOST, new Uint8Array(new Uint32Array([this.lost]).buffer));
      this.lost = 0;
    }
    while (this.late.length > 0 && this.writer.fits(frameBytes(this.late[0].payload.length))) {
      const { link, kind, payload } = /** @type {typeof this.late[number]} */ (this.late.shift());
      this.writer.push(at, link, kind, payload);
    }
    this.writer.commit(this.last - sleptMs());
  }
}

const NOTHING = new Uint8Array(0);

/** @param {number} ms @returns {bigint} */
function nanoseconds(ms) {
  return BigInt(Math.round(ms * 1e6));
}
