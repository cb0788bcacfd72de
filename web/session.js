// The page's side of the two workers: starts them, plays a recording through them, and knows what state that is in.
// No DOM here; `app.js` shows it.

import { ENUMS } from "./layout.js";
import { Market } from "./market.js";
import { createMirror, MirrorReader } from "./mirror.js";
import { clock, createRing, knock, resetRing } from "./ring.js";
import { Caller, oneLine, Refusal } from "./rpc.js";
import { Snapshot } from "./snapshot.js";

/** @typedef {"loading" | "replay" | "live" | "stale" | "stopped" | "error"} Status */
/** @typedef {{sha256: string, survey: object}} Known what the first pass over a recording found, and the recording's SHA-256 */
/** @typedef {{exchange: string, symbol: string, speed?: number, title?: string, known?: Known}} ReplayOptions */

const STALE_MS = 3000;
export const EXCHANGES = ["binance", "binance-usdm", "binance-coinm", "okx"];

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
  /** @param {{progress: (which: "engine" | "recording", share: number, what: string) => void, changed: () => void, point: (time: number, mid: number, equity: number, score: number) => void}} hear */
  constructor(hear) {
    this.hear = hear;
    /** Shared memory, or messages where the page is not cross-origin isolated. */
    this.shared = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function";
    /** @type {"loading" | "running" | "ended" | "error"} */
    this.phase = "loading";
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
    /** @type {{source: string | Blob, options: ReplayOptions} | null} */
    this.last = null;
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
    const [told] = await Promise.all([
      this.engine.call("init", [{ shared: this.memory }, port1], [port1]),
      this.feed.call("init", [port2], [port2]),
    ]);
    this.engineName = told.engine;
    this.hear.progress("engine", 1, "the recording");
  }

  /** @param {any} event */
  #heard(event) {
    if (event.progress !== undefined) this.hear.progress(event.of ?? "engine", event.progress, event.what);
    else if (event.mirror !== undefined) this.mirror.receive(event);
    else if (event.failed !== undefined) this.#fail(new Refusal(event.failed));
    else if (event.ended) this.#ended();
  }

  #ended() {
    this.phase = "ended";
    this.settle?.();
    this.settle = null;
    this.hear.changed();
  }

  /** @param {Error} error */
  #fail(error) {
    this.phase = "error";
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
    const mine = ++this.generation;
    this.settle?.(new Refusal("another recording was opened"));
    this.settle = null;
    this.phase = "loading";
    this.error = "";
    this.last = { source, options };
    this.playing = true;
    this.speed = speedOf(options?.speed);
    this.shot = null;
    this.hear.changed();
    const current = () => {
      if (mine !== this.generation) throw new Refusal("another recording was opened");
    };
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
      this.newestAt = clock();
      this.phase = "running";
      played = new Promise((resolve, reject) => {
        this.settle = (error) => (error ? reject(error) : resolve());
      });
      played.catch(() => {}); // the caller hears of it below
      await this.#connect(recording);
      this.hear.changed();
    } catch (error) {
      if (mine === this.generation) this.#fail(error instanceof Error ? error : new Refusal(String(error)));
      throw error;
    }
    return played;
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
    if (this.phase === "ended" && this.last) {
      this.replay(this.last.source, { ...this.last.options, speed: this.speed }).catch(() => {});
      return;
    }
    this.playing = true;
    this.newestAt = clock();
    this.feed.call("play");
    this.hear.changed();
  }

  pause() {
    this.playing = false;
    this.feed.call("pause");
    this.hear.changed();
  }

  /** @param {number} speed times the recording's own pace; Infinity: as fast as it can */
  setSpeed(speed) {
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
    if (this.phase === "ended" || this.phase === "error") await this.engine.call("timer", [latency]);
    else if (!this.playing) await this.feed.call("step", [(this.poll()?.nowMs ?? 0) + latency + 1000]);
    this.hear.changed();
  }

  async resume() {
    await this.engine.call("command", [ENUMS.cwts_command_op.RESUME, 0]);
    this.hear.changed();
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

  /** @returns {Status} */
  get status() {
    if (this.phase === "error" || this.phase === "loading") return this.phase;
    if (this.shot?.halted) return "stopped";
    if (this.phase === "running" && this.playing && clock() - this.newestAt > STALE_MS) return "stale";
    return "replay";
  }
}

/** @param {unknown} speed @returns {number} */
function speedOf(speed) {
  const value = speed === undefined ? 1 : Number(speed);
  if (!(value > 0)) throw new Refusal(`a speed is a number above 0, or Infinity, not ${speed}`);
  return value;
}

/** @param {ReplayOptions} options @returns {{exchange: string, symbol: string}} */
function checked(options) {
  const { exchange, symbol } = options ?? {};
  if (!EXCHANGES.includes(exchange)) throw new Refusal(`unknown exchange ${exchange}: expected one of ${EXCHANGES.join(", ")}`);
  if (typeof symbol !== "string" || symbol.trim() === "") throw new Refusal("a symbol is needed, for example BTCUSDT");
  return { exchange, symbol: symbol.trim() };
}
