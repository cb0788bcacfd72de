// The page's side of the two workers: starts them, plays a recording or a live feed through them, and knows what state that is in.
// No DOM here; `app.js` shows it.

import { ENUMS } from "./layout.js";
import { Market, VENUES } from "./market.js";
import { createMirror, MirrorReader } from "./mirror.js";
import { Recordings } from "./recordings.js";
import { clock, createRing, knock, resetRing, time } from "./ring.js";
import { Caller, oneLine, Refusal } from "./rpc.js";
import { kept, Settings } from "./settings.js";
import { Snapshot } from "./snapshot.js";

/** @typedef {"loading" | "replay" | "live" | "stale" | "stopped" | "error"} Status */
/** @typedef {{sha256: string, survey: object}} Known what the first pass over a recording found, and the recording's SHA-256 */
/** @typedef {{exchange: string, symbol: string, speed?: number, title?: string, known?: Known}} ReplayOptions */

/** `capital`: a decimal in the settlement asset @typedef {{exchange: string, symbol: string, capital?: string | number}} LiveOptions */
/**
 * How the connections are: `health` of cwts.exchanges.base, and what the page counted.
 * @typedef {object} Health
 * @property {{role: string, replica: number, url: string, state: "connecting" | "open" | "waiting" | "idle", age: number | null,
 *   silent: number | null, retry: number | null, messages: number, rotating: boolean, connects: number, losses: number,
 *   rotations: number, garbage: number, error: string}[]} links
 * @property {{symbol: string, synced: boolean, given_up: string, gaps: number, resets: number, snapshots: number, repeats: number}[]} books
 * @property {number} lost @property {number} overflows
 */
/** @typedef {{at: number, level: "info" | "warning", text: string}} Note */
/** The networks over a recording; `mid` is a price. @typedef {import("./workers/history.js").Found} Networks */

const STALE_MS = 3000;
const NOTES = 50;
const NETWORKS_MS = 100; // of the market's time from row to row
const NETWORKS_ROWS = 1 << 17; // at most: 14 MB. Three and a half hours; of a longer recording the rows are farther apart
export const EXCHANGES = Object.keys(VENUES);

/** Workers may only be made from addresses that this names. @type {{createScriptURL: (address: string) => any}} */
const trusted = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("cwts", {
  createScriptURL: (/** @type {string} */ address) => address,
}) ?? { createScriptURL: (address) => address };

/** @param {string} name @returns {Worker} */
export function worker(name) {
  const address = trusted.createScriptURL(`/workers/${name}.js`);
  return new Worker(address, { type: "module", name });
}

export class Session {
  /** @param {{progress: (which: "engine" | "recording", share: number, what: string) => void, changed: () => void, settings: () => void,
   *   recordings: (news: string) => void, point: import("./mirror.js").Point}} hear */
  constructor(hear) {
    this.hear = hear;
    /** Shared memory, or messages where the page is not cross-origin isolated. */
    this.shared = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
    /** @type {"loading" | "running" | "ended" | "stopped" | "error"} `stopped`: a live feed that was live no longer, on purpose */
    this.phase = "loading";
    /** @type {"replay" | "live"} */
    this.mode = "replay";
    /** @type {Health | null} of a live feed */
    this.health = null;
    /** What the session of a live feed said, newest last. @type {Note[]} */
    this.notes = [];
    /** Hosts that stand for exchanges: simulated ones. @type {Promise<Record<string, string>> | null} */
    this.origins = null;
    this.error = "";
    this.engineName = "";
    this.playing = true;
    this.speed = 1;
    /** @type {Market | null} */
    this.market = null;
    /** @type {Snapshot | null} */
    this.shot = null;
    this.newestAt = 0; // when the newest message was seen, on clock()
    this.generation = 0;
    /** @type {((error?: Error) => void) | null} settles the promise of the replay that runs */
    this.settle = null;
    /** The newest thing asked for. @type {{source: string | Blob, options: ReplayOptions} | {live: LiveOptions} | null} */
    this.last = null;
    /** Hears how far the networks over the recording are. @type {(share: number, what: string) => void} */
    this.networksProgress = () => {};
    const memory = this.shared ? createMirror() : null;
    this.memory = memory;
    this.mirror = new MirrorReader(memory, () => void this.engine.call("acknowledge"));
    const heard = (/** @type {any} */ event) => this.#heard(event);
    this.feed = new Caller(this.#worker("feed"), heard);
    this.engine = new Caller(this.#worker("engine"), heard);
    /** What the engine reads from, and sleeps on; one for all recordings. */
    this.ring = this.shared ? createRing() : null;
    this.engine.knock = () => {
      if (this.ring) knock(this.ring);
    };
    this.settings = new Settings(async (method, values) => {
      await this.ready;
      return this.engine.call(method, values);
    }, (chosen) => this.#chosen(chosen));
    this.recordings = new Recordings(worker("recorder"), async (limits) => {
      await this.ready;
      return this.engine.call("record", [limits]);
    }, (news) => this.hear.recordings(news));
    /** @type {Promise<void>} */
    this.ready = this.#start();
  }

  /** @param {string} name */
  #worker(name) {
    const made = worker(name);
    made.addEventListener("error", (event) => {
      event.preventDefault();
      this.#fail(new Refusal(`the ${name} worker failed: ${event.message || "it could not be loaded"}`));
    });
    return made;
  }

  async #start() {
    const { port1, port2 } = new MessageChannel();
    const port3 = this.recordings.connect();
    const [told] = await Promise.all([
      this.engine.call("init", [{ shared: this.memory, kept: kept() }, port1, port3], [port1, port3]),
      this.feed.call("init", [port2], [port2]),
    ]);
    this.engineName = told.engine;
    this.settings.open(told.settings, told.chosen);
    this.hear.progress("engine", 1, "the recording");
  }

  /** @param {any} event */
  #heard(event) {
    if (event.progress !== undefined) this.hear.progress(event.of ?? "engine", event.progress, event.what);
    else if (event.mirror !== undefined) this.mirror.receive(event);
    else if (event.health !== undefined) {
      if (this.phase === "running") this.health = event.health; // else it is of the session before
    }
    else if (event.note !== undefined) this.#note(event.note.level, event.note.text);
    else if (event.networks !== undefined) this.networksProgress(event.networks.share, event.networks.what);
    else if (event.failed !== undefined) this.#fail(new Refusal(event.failed));
    else if (event.ended) this.#ended();
  }

  /** Settings have changed. @param {import("./settings.js").Chosen} chosen */
  #chosen({ enter, exit }) {
    if (this.market && this.phase !== "loading" && enter !== null && exit !== null) Object.assign(this.market, { enter, exit });
    this.hear.settings();
    this.hear.changed();
  }

  #ended() {
    this.phase = "ended";
    this.settle?.();
    this.settle = null;
    this.hear.changed();
  }

  /** @param {"info" | "warning"} level @param {string} text */
  #note(level, text) {
    this.notes.push({ at: time(), level, text });
    if (this.notes.length > NOTES) this.notes.shift();
  }

  /** @param {Error} error */
  #fail(error) {
    this.phase = "error";
    if (this.mode === "live") this.feed.call("stop");
    this.error = oneLine(error);
    this.settle?.(error);
    this.settle = null;
    this.hear.changed();
  }

  /**
   * Plays a recording from its beginning on a fresh engine; replaces what is playing.
   * @param {string | Blob} source an address or a file @param {ReplayOptions} options
   * @returns {Promise<void>} resolves when the whole recording has been fed
   */
  async replay(source, options) {
    const current = this.#begin("replay", { source, options });
    this.speed = speedOf(options?.speed);
    /** @type {Promise<void>} */
    let played;
    try {
      const { exchange, symbol } = checked(options);
      await this.feed.call("stop");
      if (!(source instanceof Blob) && typeof source !== "string") throw new Refusal("expected an address or a file to replay");
      const name = source instanceof File ? source.name : source instanceof Blob ? "recording" : source.split("/").pop() || source;
      const fetched = source instanceof Blob ? source : this.feed.call("fetch", [source]);
      await Promise.all([this.ready, fetched]); // whichever fails first is what the person reads
      const recording = await fetched;
      current();
      const opened = await this.engine.call("open", [recording, name, exchange, symbol, options.known]);
      current();
      this.market = new Market(opened, options.title ?? name);
      this.#points();
      this.settings.refresh().catch(() => {});
      this.newestAt = clock();
      this.phase = "running";
      played = new Promise((resolve, reject) => {
        this.settle = (error) => (error ? reject(error) : resolve());
      });
      played.catch(() => {}); // the caller hears of it below
      await this.#connect(recording);
      this.hear.changed();
    } catch (error) {
      if (isCurrent(current)) this.#fail(error instanceof Error ? error : new Refusal(String(error)));
      throw error;
    }
    return played;
  }

  /**
   * What is asked for replaces what is running.
   * @param {"replay" | "live"} mode @param {NonNullable<Session["last"]>} last
   * @returns {() => void} throws where something else was asked for meanwhile
   */
  #begin(mode, last) {
    const mine = ++this.generation;
    this.phase = "loading";
    this.mode = mode;
    const replaced = () => new Refusal(this.mode === "live" ? "a live feed was opened" : "another recording was opened");
    this.settle?.(replaced());
    this.settle = null;
    this.error = "";
    this.last = last;
    this.playing = true;
    this.shot = null;
    this.health = null;
    this.notes = [];
    this.hear.changed();
    return () => {
      if (mine !== this.generation) throw replaced();
    };
  }

  /** Which host stands for an exchange, if one does. @param {string} exchange @returns {Promise<string>} */
  async origin(exchange) {
    this.origins ??= fetch("/origins.json").then(
      (reply) => (reply.ok ? reply.json() : {}),
      () => ({}),
    );
    return (await this.origins)[exchange] ?? "";
  }

  /** The instruments that an exchange lists. @param {string} exchange @returns {Promise<{symbol: string, what: string}[]>} */
  async instruments(exchange) {
    await this.ready;
    const { instruments } = await this.engine.call("questions", [exchange, "", await this.origin(exchange)]);
    return this.feed.call("listed", [instruments]);
  }

  /**
   * Connects to an exchange, on a fresh engine with a paper account; replaces what is running.
   * @param {LiveOptions} options
   * @returns {Promise<void>} resolves when the connections are being opened; the book comes a moment later
   */
  async live(options) {
    const current = this.#begin("live", { live: options });
    this.speed = 1;
    try {
      const { exchange, symbol } = checked(options);
      const capital = options.capital === undefined ? "" : String(options.capital).trim();
      await this.feed.call("stop");
      const origin = await this.origin(exchange);
      await this.ready;
      current();
      this.hear.progress("recording", 0.2, `${symbol}: asking ${origin ? new URL(origin).host : exchange}`);
      const { instruments, book } = await this.engine.call("questions", [exchange, symbol, origin]);
      const answers = await Promise.all([...instruments, book].map((question) => this.feed.call("ask", [question])));
      current();
      const opened = await this.engine.call("openLive", [exchange, symbol, origin, capital, answers]);
      current();
      opened.survey.first_ns = time() * 1e6;
      this.market = new Market(opened, origin ? `simulated at ${new URL(origin).host}` : "live");
      this.health = opened.health;
      this.#points();
      this.settings.refresh().catch(() => {});
      this.newestAt = clock();
      this.phase = "running";
      const { port1, port2 } = new MessageChannel();
      if (this.ring) resetRing(this.ring);
      const [from, to] = this.ring ? [this.ring, this.ring] : [port1, port2];
      await this.feed.call("startLive", [to, this.generation], this.ring ? [] : [port2]);
      await this.engine.call("start", [from, this.generation], this.ring ? [] : [port1]);
      this.hear.changed();
    } catch (error) {
      if (isCurrent(current)) this.#fail(error instanceof Error ? error : new Refusal(String(error)));
      throw error;
    }
  }

  /** Closes the connections of a live feed; what is on the screen stays. */
  async stop() {
    if (this.mode !== "live") throw new Refusal("nothing is live: there is no connection to close");
    this.generation += 1;
    if (this.phase !== "error") this.phase = "stopped";
    this.health = null;
    this.hear.changed();
    await this.feed.call("stop");
    await this.ready;
    await this.engine.call("close");
  }

  /** The newest thing asked for, from its beginning. */
  async again() {
    const { last } = this;
    if (!last) return;
    if ("live" in last) await this.live(last.live);
    else await this.replay(last.source, { ...last.options, speed: this.speed });
  }

  /** @param {Blob} recording */
  async #connect(recording) {
    const { speed, playing } = this;
    if (this.ring) {
      resetRing(this.ring);
      await this.engine.call("start", [this.ring]);
      await this.feed.call("start", [this.ring, recording, speed, playing]);
    } else {
      const { port1, port2 } = new MessageChannel();
      await this.engine.call("start", [port1], [port1]);
      await this.feed.call("start", [port2, recording, speed, playing], [port2]);
    }
  }

  /** Forgets points of the session before. */
  #points() {
    this.mirror.poll(() => {});
  }

  play() {
    if (this.mode === "live") return;
    if (this.phase === "ended" && this.last) {
      this.again().catch(() => {});
      return;
    }
    this.playing = true;
    this.newestAt = clock();
    this.feed.call("play");
    this.hear.changed();
  }

  pause() {
    if (this.mode === "live") return;
    this.playing = false;
    this.feed.call("pause");
    this.hear.changed();
  }

  /** @param {number} speed times the recording's own pace; Infinity: as fast as it can */
  setSpeed(speed) {
    if (this.mode === "live") return;
    this.speed = speedOf(speed);
    this.newestAt = clock();
    this.feed.call("setSpeed", [this.speed]);
    this.hear.changed();
  }

  /** The kill switch: closes the position, opens nothing. Where no message comes any more, time is let pass. */
  async halt() {
    if (!this.market) throw new Refusal("nothing is running yet");
    await this.engine.call("command", [ENUMS.cwts_command_op.HALT, 0]);
    const latency = Math.ceil(this.market.opened.orderLatencyMs) + 1;
    if (this.phase === "ended" || this.phase === "error" || this.phase === "stopped") await this.engine.call("timer", [latency]);
    else if (!this.playing) await this.feed.call("step", [(this.poll()?.nowMs ?? 0) + latency + 1000]);
    this.hear.changed();
  }

  async resume() {
    await this.engine.call("command", [ENUMS.cwts_command_op.RESUME, 0]);
    this.hear.changed();
  }

  /** Why the networks cannot run over the recording now, in one line; nothing if they can. @returns {string} */
  get noNetworks() {
    if (this.mode === "live") return "Not live: the networks run over a whole recording. B plays the bundled one, O opens yours.";
    if (!this.market || this.phase === "loading" || this.phase === "error") return "No recording is loaded.";
    return "";
  }

  /**
   * The three networks over the whole recording, on an engine of their own; what plays goes on.
   * @param {(share: number, what: string) => void} [progress]
   * @returns {Promise<Networks>} rejects where it cannot be, is cancelled, or something else is opened meanwhile
   */
  async networks(progress = () => {}) {
    const { market, generation } = this;
    if (this.noNetworks || !market) throw new Refusal(this.noNetworks);
    this.networksProgress = progress;
    const least = (market.lastMs - market.firstMs) / NETWORKS_ROWS;
    const found = await this.engine.call("networks", [NETWORKS_MS * 2 ** Math.max(0, Math.ceil(Math.log2(least / NETWORKS_MS)))]);
    if (generation !== this.generation) throw new Refusal("another recording was opened");
    return { ...found, mid: found.mid.map((/** @type {number} */ units) => (units > 0 ? units / market.priceUnit : NaN)) };
  }

  /** Ends them before their time. */
  cancelNetworks() {
    this.engine.call("cancelNetworks");
  }

  /** The best levels, exactly. @param {number} depth @returns {Promise<{id: number, synced: boolean, bids: string[][], asks: string[][]}>} */
  book(depth = 32) {
    return this.ready.then(() => this.engine.call("book", [depth]));
  }

  /** @returns {Promise<string>} */
  bookSha256() {
    return this.ready.then(() => this.engine.call("bookSha256"));
  }

  /** @returns {Promise<string>} */
  blockSha256() {
    return this.ready.then(() => this.engine.call("blockSha256"));
  }

  /** The newest state; null before there is one. @returns {Snapshot | null} */
  poll() {
    const slot = this.mirror.poll(this.hear.point);
    if (slot && this.phase !== "loading") {
      const messages = this.shot?.messages ?? -1;
      this.shot = new Snapshot(slot);
      if (this.shot.messages !== messages) this.newestAt = clock();
    }
    return this.shot;
  }

  /** Milliseconds since the newest update of the book; Infinity before the first. */
  get bookAge() {
    return this.shot && this.shot.bookMs > 0 ? time() - this.shot.bookMs : Infinity;
  }

  /** @returns {Status} */
  get status() {
    if (this.phase === "error" || this.phase === "loading" || this.phase === "stopped") return this.phase;
    if (this.shot?.halted) return "stopped";
    if (this.mode === "live") return this.shot?.synced && this.bookAge <= STALE_MS ? "live" : "stale";
    if (this.phase === "running" && this.playing && clock() - this.newestAt > STALE_MS) return "stale";
    return "replay";
  }
}

/** @param {() => void} current from `Session.#begin` @returns {boolean} */
function isCurrent(current) {
  try {
    current();
    return true;
  } catch {
    return false;
  }
}

/** @param {unknown} speed @returns {number} */
function speedOf(speed) {
  const value = speed === undefined ? 1 : Number(speed);
  if (!(value > 0)) throw new Refusal(`a speed is a number above 0, or Infinity, not ${speed}`);
  return value;
}

/** @param {ReplayOptions | LiveOptions} options @returns {{exchange: string, symbol: string}} */
function checked(options) {
  const { exchange, symbol } = options ?? {};
  if (!EXCHANGES.includes(exchange)) throw new Refusal(`unknown exchange ${exchange}: expected one of ${EXCHANGES.join(", ")}`);
  if (typeof symbol !== "string" || symbol.trim() === "") throw new Refusal("a symbol is needed, for example BTCUSDT");
  return { exchange, symbol: symbol.trim() };
}
