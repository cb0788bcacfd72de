// The page: draws the newest state at each animation frame, and turns keys and buttons into commands.

import { clock } from "./ring.js";
import { duration, timeOfDay, VENUES } from "./market.js";
import { Latency } from "./latency.js";
import { ENUMS } from "./layout.js";
import { oneLine } from "./rpc.js";
import { Session } from "./session.js";
import { plain } from "./snapshot.js";
import { ACTIONS, orderWords, reasonShort, reasonWords, syncWords } from "./words.js";
import { Chart } from "./view/chart.js";
import { attribute, byId, make, text } from "./view/dom.js";
import { Ladder } from "./view/ladder.js";
import { Chooser, ConnectionsPanel, trouble } from "./view/live.js";
import { NetworksPanel } from "./view/networks.js";
import { RecordingsSheet } from "./view/recordings.js";
import { SettingsSheet } from "./view/settings.js";
import { AccountPanel, DecisionPanel, EnginePanel, OrdersPanel, SignalsPanel, TapePanel, WhalesPanel } from "./view/panels.js";

/** @typedef {import("./snapshot.js").Snapshot} Snapshot */
/** @typedef {import("./snapshot.js").Order} Order */
/** @typedef {import("./market.js").Market} Market */

const FRAME_MS = 16;
const TURN_MS = 66; // between drawings, four frames of most screens: the engine needs the rest of the machine
/** What is drawn in turn. What lies far apart is drawn apart, because all between is composed again; words change slowly enough to be read. */
const TURNS = /** @type {const} */ (["book", "tape", "book", "words"]);
const SPEEDS = [1, 4, 16, Infinity];
const root = document.documentElement;

let asked = false; // for an animation frame
let next = 0;
let stale = true; // words and controls are to be written again
let turns = 0; // ever
let turnAt = 0;

const chart = new Chart(byId("chart"), ask);
const ladder = new Ladder();
const decision = new DecisionPanel();
const signals = new SignalsPanel();
const whales = new WhalesPanel();
const account = new AccountPanel();
const orders = new OrdersPanel();
const tape = new TapePanel();
const engine = new EnginePanel();
const connections = new ConnectionsPanel();
const screen = new Latency();

const session = new Session({
  progress: showProgress,
  changed: touch,
  settings: reset,
  recordings: (news) => {
    if (news) say(news);
    touch();
  },
  point: (time, mid, equity, score, drawn) => {
    chart.add(time, mid, equity, score, drawn);
    whales.add(time, drawn);
  },
});

const networks = new NetworksPanel(session, say);
const settings = new SettingsSheet(session);
const recordings = new RecordingsSheet(session);

/** @type {Market | null} */
let shown = null;
let drawnPublished = 0;
let notice = "";
/** @type {{at: number, messages: number}[]} */
let rates = [];

/** Something other than the engine's state has changed. */
function touch() {
  stale = true;
  ask();
}

/** How far the engine and the recording are: they load side by side, and the words are about the one that is waited for. */
const loaded = { engine: 0, recording: 0 };

/** @param {"engine" | "recording"} which @param {number} share @param {string} what */
function showProgress(which, share, what) {
  loaded[which] = share;
  byId("loading-progress").setAttribute("value", String(0.8 * loaded.engine + 0.2 * loaded.recording));
  if (which === "engine" || loaded.engine === 1) text(byId("loading-what"), `Loading ${what}`);
}

// -- drawing ----------------------------------------------------------------------------------------------------------

/** Asks for a frame. */
function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}

function frame() {
  asked = false;
  draw();
  clearTimeout(next);
  next = setTimeout(ask, TURN_MS - FRAME_MS);
}

function draw() {
  const { market } = session;
  if (market !== shown && market) open(market);
  const shot = session.poll();
  attribute(root, "data-book", !shot || shot.messages === 0 ? "none" : shot.synced ? "valid" : "invalid");
  const now = clock();
  let turn = "";
  if (now - turnAt >= TURN_MS - FRAME_MS / 2) { // frames are not that even, and some come because somebody asked
    turn = TURNS[turns++ % TURNS.length];
    turnAt = now;
  }
  const words = turn === "words" || stale;
  if (shot && market && session.phase !== "loading") {
    const published = shot.number("published");
    if (turn === "tape" && shot.trades === tape.seen && !chart.due) turn = "book"; // nobody waits for a turn that is not used
    if (turn === "book" && published !== drawnPublished) {
      drawnPublished = published;
      const list = shot.orders();
      for (const order of list) chart.order(order);
      ladder.draw(shot, market, marksOf(list, shot, market));
      decision.needleTo(shot);
      if (session.playing && session.phase === "running") screen.add((clock() - published) * 1000);
    }
    if (turn === "tape") tape.draw(shot, market);
    if (chart.asked || (chart.due && turn === "tape")) chart.draw(market, shot);
    if (words) {
      decision.draw(shot, market);
      signals.draw(shot);
      whales.draw(shot, now);
      account.draw(shot, market);
      orders.draw(shot.orders(), shot.orderCount, market);
      engine.draw(shot, rateOf(now, shot.messages), screen.percentiles());
      ladder.tell();
      tape.tell();
    }
  }
  if (words) {
    connections.draw(session, now);
    networks.write();
    recordings.draw();
    bar(shot);
    stale = false;
  }
}

/** @param {Market} market */
function open(market) {
  shown = market;
  rates = [];
  screen.clear();
  chart.clear();
  ladder.open(market);
  decision.open(market);
  signals.open(market);
  whales.open();
  tape.open();
  connections.open();
  networks.open();
  text(byId("symbol"), market.symbol);
  text(byId("engine-name"), `${session.engineName}${session.shared ? "" : ", without shared memory"}`);
  notes();
  document.title = `${market.symbol} · CWTS`;
}

/** What is to be known about the session, what was set among it. */
function notes() {
  const changed = settings.words();
  const all = [...(shown?.opened.notes ?? []), ...session.settings.leftOut, ...(changed ? [changed] : [])];
  byId("notes-list").replaceChildren(...all.map((note) => make("li", "", `${note[0].toUpperCase()}${note.slice(1)}.`)));
}

/** Settings have changed, or are heard of for the first time. */
function reset() {
  settings.draw();
  if (shown && shown === session.market) decision.open(shown);
  notes();
  const [note] = session.settings.chosen.notes;
  if (note) say(note);
}

/**
 * Our own prices: where the position was opened, and the limit of an order on its way.
 * @param {Order[]} list newest first @param {Snapshot} shot @param {Market} market @returns {Map<number, string>}
 */
function marksOf(list, shot, market) {
  const marks = new Map();
  const entry = market.entryPrice(list, shot.position);
  if (!Number.isNaN(entry)) marks.set(Math.round(entry / market.tick) * market.tick, "◆");
  if (list[0]?.state === 1) marks.set(list[0].touch, "○");
  return marks;
}

/** @param {number} now @param {number} messages @returns {number} a second, over the last two seconds */
function rateOf(now, messages) {
  rates.push({ at: now, messages });
  while (rates.length > 2 && now - rates[0].at > 2000) rates.shift();
  const span = now - rates[0].at;
  return span > 0 ? ((messages - rates[0].messages) * 1000) / span : 0;
}

const MARKS = { loading: "◌", replay: "▶", live: "●", stale: "▲", stopped: "■", error: "✕" };

/** The bar and the one line. @param {Snapshot | null} shot */
function bar(shot) {
  const { status, market } = session;
  const live = session.mode === "live";
  attribute(root, "data-status", status);
  attribute(root, "data-mode", session.mode);
  const paused = !session.playing && session.phase === "running";
  const ended = session.phase === "ended";
  const word = status === "replay" ? (ended ? "replay ended" : paused ? "paused" : "replay") : status;
  text(byId("status-word"), word);
  text(byId("status-mark"), status === "replay" && (paused || ended) ? "❚❚" : MARKS[status]);
  const [tone, line] = lineOf(shot);
  attribute(byId("line"), "data-tone", tone);
  text(byId("line"), line);
  text(byId("play"), session.playing && session.phase === "running" ? "❚❚" : ended ? "↻" : "▶");
  attribute(byId("play"), "aria-label", session.playing && !ended ? "Pause" : ended ? "Play again" : "Play");
  for (const button of document.querySelectorAll("[data-speed]")) {
    attribute(button, "aria-checked", String(Number(button.getAttribute("data-speed")) === session.speed));
  }
  const halted = shot?.halted === true;
  attribute(byId("kill"), "aria-pressed", String(halted));
  text(byId("kill-word"), halted ? "Resume trading" : "Stop trading");
  /** @type {HTMLButtonElement} */ (byId("kill")).disabled = !market || session.phase === "loading";
  /** @type {HTMLButtonElement} */ (byId("stop")).disabled = session.phase === "stopped" || session.phase === "error";
  if (!market) return;
  if (live) return void text(byId("venue"), `${market.venue} · ${market.title}`);
  text(byId("venue"), `${market.venue} · ${new Date(market.firstMs).toISOString().slice(0, 10)}`);
  const whole = market.lastMs - market.firstMs;
  const played = shot && shot.nowMs > 0 ? Math.min(whole, shot.nowMs - market.firstMs) : 0;
  byId("progress").setAttribute("value", String(ended ? 1 : whole > 0 ? played / whole : 0));
  text(byId("clock"), `${duration(played)} / ${duration(whole)}`);
  byId("clock").title = `${timeOfDay(shot?.nowMs ?? 0)} UTC`;
}

/** What is going on, in one line. @param {Snapshot | null} shot @returns {[string, string]} tone, words */
function lineOf(shot) {
  const { status, market } = session;
  if (status === "error") return ["bad", `Error: ${session.error}. Nothing is running; press R to try again, L to go live or O to open a recording.`];
  if (notice) return ["note", notice];
  if (!market || !shot || status === "loading") return ["note", ""];
  if (session.phase === "stopped") {
    const open = market.isFlat(shot.position) ? "" : " The paper position is still open.";
    return ["note", `Stopped: the connections are closed, and what you see is old.${open} R connects again, L goes live elsewhere, B plays the bundled recording.`];
  }
  if (status === "stopped") {
    const flat = market.isFlat(shot.position);
    return ["bad", flat ? "Stopped: flat, and nothing is opened until you resume (K)." : "Stopped: the position is being closed."];
  }
  if (session.mode === "live") {
    const what = trouble(session);
    if (what === "") return ["note", ""];
    return ["bad", status === "stale" ? `Stale: ${what}. Nothing is opened.` : `${what[0].toUpperCase()}${what.slice(1)}.`];
  }
  if (status === "stale") return ["bad", `Stale: no message for ${duration(clock() - session.newestAt)}; what you see is old.`];
  if (!shot.synced && shot.messages > 0) return ["bad", `The book is not valid: ${syncWords(shot.syncReason)}. Nothing is traded.`];
  if (session.phase === "ended") return ["note", `The recording is over: ${shot.fills} fills, ${market.gain(shot.equity - market.capital)} ${market.settle}. Space plays it again.`];
  return ["note", ""];
}

// -- commands -----------------------------------------------------------------------------------------------------------

/** @param {unknown} error */
function say(error) {
  notice = oneLine(error);
  touch();
  setTimeout(() => {
    notice = "";
    touch();
  }, 8000);
}

function toggle() {
  if (session.phase === "loading") return;
  if (session.phase === "running" && session.playing) session.pause();
  else session.play();
}

function stop() {
  if (session.mode === "live") session.stop().catch(say);
}

function kill() {
  if (!session.market || session.phase === "loading") return;
  const done = session.shot?.halted ? session.resume() : session.halt();
  done.catch(say);
}

function again() {
  session.again().catch(() => {});
}

byId("play").addEventListener("click", toggle);
byId("kill").addEventListener("click", kill);
byId("theme").addEventListener("click", switchTheme);
byId("stop").addEventListener("click", stop);
byId("live").addEventListener("click", () => chooser.show());
byId("settings").addEventListener("click", () => settings.show());
byId("help").addEventListener("click", () => dialog("help-dialog").showModal());
byId("open").addEventListener("click", () => dialog("open-dialog").showModal());
for (const button of document.querySelectorAll("[data-speed]")) {
  button.addEventListener("click", () => session.setSpeed(Number(button.getAttribute("data-speed"))));
}
for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    chart.span = Number(button.getAttribute("data-span")) * 1000;
    chart.redraw();
    for (const other of document.querySelectorAll("[data-span]")) attribute(other, "aria-checked", String(other === button));
  });
}
// In a group of radios the arrows move, as in every other one.
for (const group of document.querySelectorAll('[role="radiogroup"]')) {
  group.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    if (!step) return;
    event.preventDefault();
    const buttons = /** @type {HTMLElement[]} */ ([...group.querySelectorAll("button")]);
    const next = buttons[(buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement)) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

/** @param {string} id @returns {HTMLDialogElement} */
function dialog(id) {
  return byId(id);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const target = /** @type {HTMLElement} */ (event.target);
  const inDialog = document.querySelector("dialog[open]") !== null;
  // A dialog that has just been closed keeps the focus until the next frame: what is typed then is meant for the page.
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.closest("dialog:not([open])") === null;
  const letters = typing && target.matches("[type=text]:not([inputmode=decimal]), [type=search]");
  if (event.key === "F8" || (event.key.toLowerCase() === "k" && !letters)) {
    event.preventDefault();
    return void kill();
  }
  if (inDialog || typing) return;
  const speed = SPEEDS["1234".indexOf(event.key)];
  if (event.key === " ") {
    event.preventDefault();
    if (target.tagName !== "BUTTON" || target.id === "play") toggle();
    else target.click();
  } else if (event.key !== "" && speed !== undefined && "1234".includes(event.key)) session.setSpeed(speed);
  else if (event.key === "o" || event.key === "O") dialog("open-dialog").showModal();
  else if (event.key === "l" || event.key === "L") chooser.show();
  else if (event.key === "s" || event.key === "S") stop();
  else if ((event.key === "c" || event.key === "C") && session.mode === "live") recordings.toggle();
  else if (event.key === "b" || event.key === "B") bundled().catch(say);
  else if (event.key === "r" || event.key === "R") again();
  else if (event.key === "n" || event.key === "N") networks.toggle();
  else if (event.key === "Escape" && networks.cancel()) return;
  else if (event.key === ",") settings.show();
  else if (event.key === "t" || event.key === "T") switchTheme();
  else if (event.key === "?") dialog("help-dialog").showModal();
  else return;
  event.preventDefault();
});
// A button would also take Space on key-up: that has happened already.
document.addEventListener("keyup", (event) => {
  if (event.key === " " && /** @type {HTMLElement} */ (event.target).tagName === "BUTTON" && !document.querySelector("dialog[open]")) event.preventDefault();
});

for (const id of ["open-exchange", "live-exchange"]) {
  byId(id).append(...Object.entries(VENUES).map(([exchange, title]) => new Option(title, exchange)));
}

const chooser = new Chooser(session, (options) => session.live(options).catch(() => {}));

// -- opening a recording ------------------------------------------------------------------------------------------------

/** @type {HTMLInputElement} */
const openFile = byId("open-file");
/** @type {HTMLSelectElement} */
const openExchange = byId("open-exchange");
/** @type {HTMLInputElement} */
const openSymbol = byId("open-symbol");

/** Guesses exchange and symbol from a file's name, as in `binance-usdm-btcusdt-20240808.gz`. @param {string} name */
function guess(name) {
  const exchange = Object.keys(VENUES).sort((one, other) => other.length - one.length).find((venue) => name.toLowerCase().startsWith(venue));
  if (!exchange) return;
  openExchange.value = exchange;
  const rest = name.slice(exchange.length + 1).replace(/\.\w+$/, "").replace(/-\d{8}T\d{6}Z-\d+$/, "").replace(/-?\d{6,8}$/, "");
  if (exchange !== "okx" && /^\w{5,}$/.test(rest)) openSymbol.value = rest.toUpperCase();
  if (exchange === "okx") openSymbol.value = "BTC-USDT";
}

openFile.addEventListener("change", () => guess(openFile.files?.[0]?.name ?? ""));
byId("open-cancel").addEventListener("click", () => dialog("open-dialog").close());
dialog("open-dialog").addEventListener("close", () => {
  const file = openFile.files?.[0];
  if (dialog("open-dialog").returnValue !== "go" || !file) return;
  dialog("open-dialog").returnValue = "";
  session.replay(file, { exchange: openExchange.value, symbol: openSymbol.value, speed: session.speed }).catch(() => {});
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (!event.dataTransfer?.files.length) return;
  openFile.files = event.dataTransfer.files;
  guess(event.dataTransfer.files[0].name);
  if (!dialog("open-dialog").open) dialog("open-dialog").showModal();
});

// -- light and dark -------------------------------------------------------------------------------------------------------

const prefersLight = matchMedia("(prefers-color-scheme: light)");

function applyTheme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // no storage: the system decides
  }
  attribute(root, "data-theme", chosen ?? (prefersLight.matches ? "light" : "dark"));
}

function switchTheme() {
  const next = root.getAttribute("data-theme") === "light" ? "dark" : "light";
  try {
    localStorage.setItem("theme", next);
    applyTheme();
  } catch {
    attribute(root, "data-theme", next);
  }
}

prefersLight.addEventListener("change", applyTheme);
applyTheme();

// -- for tests, and for people with a console -------------------------------------------------------------------------------

/** The page's state as plain values; prices, position and profit are exact decimals, as text. */
function state() {
  const { market } = session;
  const shot = session.poll();
  const pair = (/** @type {"queue" | "feed" | "total"} */ stage) => ({
    p50: shot?.number(`${stage}P50`) ?? 0,
    p99: shot?.number(`${stage}P99`) ?? 0,
  });
  const [screen50, screen99] = screen.percentiles();
  return {
    status: session.status,
    mode: session.mode,
    error: session.error,
    engine: session.engineName,
    sharedMemory: session.shared,
    exchange: market?.exchange ?? "",
    symbol: market?.symbol ?? "",
    playing: session.playing && session.phase === "running",
    ended: session.phase === "ended",
    speed: session.speed,
    synced: shot?.synced ?? false,
    syncReason: syncWords(shot?.syncReason ?? 0),
    messages: shot?.messages ?? 0,
    applied: shot?.applied ?? 0,
    trades: shot?.trades ?? 0,
    gaps: shot?.gaps ?? 0,
    malformed: shot?.malformed ?? 0,
    recvTime: shot?.nowMs ?? 0,
    bestBid: shot && market ? shot.best(0, market.priceDecimals) : null,
    bestAsk: shot && market ? shot.best(1, market.priceDecimals) : null,
    halted: shot?.halted ?? false,
    decision: {
      action: ACTIONS[shot?.action ?? 0].toLowerCase(),
      reason: shot && market ? reasonWords(shot.reason, shot.score, market, shot) : "waiting for data",
      score: shot?.score ?? 0,
    },
    decisions: Object.fromEntries(ACTIONS.map((name, at) => [name.toLowerCase(), shot?.decisions[at] ?? 0])),
    position: plain(shot?.exact("position") ?? 0n, 8),
    pnl: plain((shot?.exact("equity") ?? 0n) - BigInt(market?.capital ?? 0), 8),
    fees: plain(shot?.exact("fees") ?? 0n, 8),
    fills: shot?.fills ?? 0,
    orders: (shot?.orders() ?? []).map((order) => ({
      id: order.id,
      side: order.side === 0 ? "buy" : "sell",
      state: orderWords(order.state),
      reason: reasonShort(order.reason),
      qty: order.qty / (market?.qtyUnit ?? 1),
      filled: order.filled / (market?.qtyUnit ?? 1),
      price: market ? market.fillPrice(order) / market.priceUnit : NaN,
      time: order.createdMs,
    })),
    signals: Object.fromEntries(Object.entries(ENUMS.cwts_signal).map(([name, at]) => [name.toLowerCase(), shot?.signal(at) ?? 0])),
    connections: session.health?.links ?? [],
    books: session.health?.books ?? [],
    lost: session.health?.lost ?? 0,
    notes: session.notes.map(({ text }) => text),
    recording: session.recordings.state(),
    settings: settings.state(),
    latency: { queue: pair("queue"), feed: pair("feed"), total: pair("total"), screen: { p50: screen50, p99: screen99 } },
    heapBytes: shot?.number("heapBytes") ?? 0,
  };
}

Object.defineProperty(globalThis, "cwts", {
  value: Object.freeze({
    state,
    book: (/** @type {number} */ depth) => session.book(depth),
    bookSha256: () => session.bookSha256(),
    blockSha256: () => session.blockSha256(),
    replay: (/** @type {string | Blob} */ source, /** @type {import("./session.js").ReplayOptions} */ options) => session.replay(source, options),
    play: () => session.play(),
    pause: () => session.pause(),
    setSpeed: (/** @type {number} */ speed) => session.setSpeed(speed),
    live: (/** @type {import("./session.js").LiveOptions} */ options) => session.live(options),
    stop: () => session.stop(),
    /** Records live sessions from now on, or no more; `limits`: fileBytes, keptBytes. Resolves to `state().recording`. */
    record: async (/** @type {boolean} */ on, /** @type {Partial<import("./groups.js").Limits>} */ limits) => {
      await session.recordings.want(on === true, limits);
      return session.recordings.state();
    },
    /** What this browser keeps, newest first: `name`, `bytes`, `at` (ms), `writing`. */
    recordings: () => session.recordings.list(),
    halt: () => session.halt(),
    resume: () => session.resume(),
    /** A setting by its name, for example "whale.quantile"; null: as by default. Resolves to what `state().settings` is then. */
    set: (/** @type {string} */ name, /** @type {number | string | null} */ value) => session.settings.set(name, value).then(() => settings.state()),
    /** Which networks run: "shipped", "none", or a weights file. */
    setNetworks: async (/** @type {"shipped" | "none" | File} */ which) => {
      await session.settings.networks(which instanceof File ? { name: which.name, text: await which.text() } : which);
      return settings.state();
    },
    /** As the button does: `rows`, `t` (ms) and `mid`, `answers` (five a row), `by`, `ms`, and how far the GPU's were from SIMD's (`worst`). */
    networks: () => networks.run(),
  }),
});

// -- the start: paper trading on the first bundled recording ------------------------------------------------------------------

/** @param {() => boolean} [overtaken] whether something else was asked for meanwhile */
async function bundled(overtaken = () => false) {
  const reply = await fetch("/recordings/recordings.json");
  /** @type {{file: string, exchange: string, symbol: string, title: string, sha256: string, survey?: object}[]} */
  const [first] = reply.ok ? await reply.json() : [];
  if (overtaken()) return;
  if (!first) throw new Error("this site has no recording: press O to open one");
  const { file, exchange, symbol, title, sha256, survey } = first;
  await session.replay(`/recordings/${file}`, { exchange, symbol, speed: 1, title, known: survey && { sha256, survey } });
}

session.ready.catch((error) => say(`the engine cannot start: ${oneLine(error)}`));
bundled(() => session.last !== null).catch((error) => {
  if (session.phase !== "error" && session.phase === "loading" && !session.last) say(error);
});
ask();
