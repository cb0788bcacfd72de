// Codes of the kernel in words. One place, so that the page says the same everywhere.

import { ENUMS } from "./layout.js";
import { fixed, signed } from "./market.js";

const WHY = ENUMS.cwts_reason;
const SYNC = ENUMS.cwts_sync_reason;
const STATE = ENUMS.cwts_order_state;
const S = ENUMS.cwts_signal;

export const ACTIONS = ["HOLD", "BUY", "SELL", "EXIT"];
export const ACTION_MARKS = ["●", "▲", "▼", "◆"];

/** @param {number} reason cwts_sync_reason @returns {string} */
export function syncWords(reason) {
  switch (reason) {
    case SYNC.OK: return "in sync";
    case SYNC.START: return "waiting for a snapshot";
    case SYNC.GAP: return "a sequence number is missing";
    case SYNC.CHECKSUM: return "wrong checksum";
    case SYNC.OLD_SNAPSHOT: return "the snapshot is too old";
    case SYNC.RESET: return "the connection was lost";
    case SYNC.OVERFLOW: return "more levels than fit";
    default: return `not valid (${reason})`;
  }
}

/**
 * A decision's reason as a sentence.
 * @param {number} reason cwts_reason @param {number} score @param {{enter: number, exit: number}} thresholds
 * @param {{syncReason: number, position: number}} state
 * @returns {string}
 */
export function reasonWords(reason, score, { enter, exit }, { syncReason, position }) {
  const now = `score ${signed(score, 2)}`;
  switch (reason) {
    case WHY.BOOK_INVALID: return `Holding: the book is not valid, ${syncWords(syncReason)}`;
    case WHY.HALTED: return "Stopped: nothing is opened until trading is resumed (after the largest loss: in a new session)";
    case WHY.CROSSED: return "Holding: best bid and best ask are crossed";
    case WHY.ORDER_PENDING: return "Waiting: an order is on its way, or was just refused";
    case WHY.EXIT_HALT: return "Closing the position: trading was stopped";
    case WHY.EXIT_LOSS: return "Closing the position: the loss limit is reached; trading stops";
    case WHY.EXIT_SWAN: return "Closing the position: black swan alarm";
    case WHY.EXIT_CASCADE: return "Closing the position: a cascade against it is forecast";
    case WHY.EXIT_TIME: return "Closing the position: held as long as allowed";
    case WHY.EXIT_SIGNAL: return `Closing the position: ${now} turned against it`;
    case WHY.HOLDING: {
      const limit = position < 0 ? `above +${fixed(exit, 2)}` : `below ${fixed(-exit, 2)}`;
      return `Keeping the ${position < 0 ? "short" : "long"} position: ${now}, closes ${limit}`;
    }
    case WHY.WARMUP: return `Holding: warming up after the book became valid; ${now}`;
    case WHY.STALE: return "Holding: the book has not been updated for too long";
    case WHY.SPREAD: return "Holding: the spread is too wide";
    case WHY.COOLDOWN: return `Holding: a pause after the last trade; ${now}`;
    case WHY.TOO_SMALL: return "Holding: the capital is below the smallest order the exchange takes";
    case WHY.NO_SHORT: return `Holding: ${now} says sell, but there is nothing to sell on spot`;
    case WHY.SWAN: return `Holding: black swan alarm, nothing is opened; ${now}`;
    case WHY.CRITICAL: return `Holding: the market is near an avalanche; ${now}`;
    case WHY.CASCADE: return `Holding: a cascade ${score < 0 ? "up" : "down"} is forecast, against ${now}`;
    case WHY.LIQUIDATION: return `Holding: a heavy cluster of liquidations is close on the losing side; ${now}`;
    case WHY.FRAGILE: return `Holding: large moves here have been followed by losses; ${now}`;
    case WHY.WHALE_UP: return `Buying with the whales: ${now}, needed ${fixed(enter, 2)}`;
    case WHY.WHALE_DOWN: return `Selling with the whales: ${now}, needed ${fixed(-enter, 2)}`;
    case WHY.VALUE_UP: return `Buying: a rise is forecast; ${now}, needed ${fixed(enter, 2)}`;
    case WHY.VALUE_DOWN: return `Selling: a fall is forecast; ${now}, needed ${fixed(-enter, 2)}`;
    case WHY.SCORE_UP: return `Buying: ${now}, needed ${fixed(enter, 2)}`;
    case WHY.SCORE_DOWN: return `Selling: ${now}, needed ${fixed(-enter, 2)}`;
    case WHY.NO_SIGNAL: return `Holding: no signal; ${now}, needs ${fixed(enter, 2)} either way`;
    default: return `${now} (reason ${reason})`;
  }
}

/** A reason in a few words, for a table. @param {number} reason cwts_reason @returns {string} */
export function reasonShort(reason) {
  switch (reason) {
    case WHY.BOOK_INVALID: return "book not valid";
    case WHY.STALE: return "old book";
    case WHY.CROSSED: return "crossed";
    case WHY.ORDER_PENDING: return "order on its way or refused";
    case WHY.EXIT_HALT: return "stopped";
    case WHY.HALTED: return "stopped, flat";
    case WHY.EXIT_LOSS: return "loss limit";
    case WHY.EXIT_SWAN: return "swan alarm";
    case WHY.EXIT_CASCADE: return "cascade forecast";
    case WHY.EXIT_TIME: return "time";
    case WHY.EXIT_SIGNAL: return "signal turned";
    case WHY.HOLDING: return "kept";
    case WHY.WARMUP: return "warming up";
    case WHY.SPREAD: return "wide spread";
    case WHY.COOLDOWN: return "cooling down";
    case WHY.TOO_SMALL: return "capital too small";
    case WHY.NO_SHORT: return "nothing to sell";
    case WHY.NO_SIGNAL: return "no signal";
    case WHY.SWAN: return "swan alarm, flat";
    case WHY.CRITICAL: return "near an avalanche";
    case WHY.CASCADE: return "cascade ahead";
    case WHY.LIQUIDATION: return "liquidations close by";
    case WHY.FRAGILE: return "fragile";
    case WHY.WHALE_UP: return "whales buy";
    case WHY.WHALE_DOWN: return "whales sell";
    case WHY.VALUE_UP: return "rise forecast";
    case WHY.VALUE_DOWN: return "fall forecast";
    case WHY.SCORE_UP: return "score up";
    case WHY.SCORE_DOWN: return "score down";
    default: return `reason ${reason}`;
  }
}

/** @param {number} state cwts_order_state @returns {string} */
export function orderWords(state) {
  switch (state) {
    case STATE.SENT: return "on its way";
    case STATE.FILLED: return "filled";
    case STATE.PARTLY_FILLED: return "partly filled";
    case STATE.CANCELLED: return "not filled";
    case STATE.REJECTED: return "rejected";
    default: return "–";
  }
}

/**
 * The features in the kernel's order: name, unit, digits, and the value at which the bar is full. `one` bars start at zero.
 * @type {{name: string, unit: string, digits: number, full: number, one?: boolean, what: string}[]}
 */
export const FEATURES = [
  { name: "spread", unit: "ticks", digits: 1, full: 10, one: true, what: "best ask less best bid" },
  { name: "micro-price", unit: "", digits: 2, full: 0.5, what: "micro-price less mid, as a share of the spread" },
  { name: "imbalance 1", unit: "", digits: 2, full: 1, what: "bid less ask size over their sum, best level" },
  { name: "imbalance 5", unit: "", digits: 2, full: 1, what: "the same over 5 levels" },
  { name: "imbalance 10", unit: "", digits: 2, full: 1, what: "the same over 10 levels" },
  { name: "imbalance 20", unit: "", digits: 2, full: 1, what: "the same over 20 levels" },
  { name: "flow 1 s", unit: "", digits: 2, full: 1, what: "bought less sold over traded size, the last second" },
  { name: "flow 10 s", unit: "", digits: 2, full: 1, what: "the same over ten seconds" },
  { name: "return 1 s", unit: "bp", digits: 2, full: 3, what: "mid against its mean, in basis points" },
  { name: "return 10 s", unit: "bp", digits: 2, full: 8, what: "mid against its mean, in basis points" },
  { name: "volatility 10 s", unit: "bp/√s", digits: 2, full: 3, one: true, what: "of the mid" },
  { name: "volatility 60 s", unit: "bp/√s", digits: 2, full: 3, one: true, what: "of the mid" },
  { name: "trade rate", unit: "/s", digits: 1, full: 100, one: true, what: "trades a second" },
  { name: "update rate", unit: "/s", digits: 1, full: 200, one: true, what: "changes of the touch a second" },
  { name: "order flow 1 s", unit: "", digits: 2, full: 3, what: "order flow imbalance at the touch over its mean depth" },
  { name: "depth", unit: "", digits: 2, full: 1, what: "size in the best 20 levels against its mean" },
];

/** Phases of the adaptive cycle, and in the kernel's order. */
export const PHASES = ["growth", "conservation", "release", "reorganisation"];

/** Which phase it is; −1 while it is not known. @param {number} phase @param {number} risk its multiplier @returns {number} */
export function phaseOf(phase, risk) {
  return risk > 0 && PHASES[phase] !== undefined ? phase : -1;
}

/** @param {number} share @param {number} [digits] @returns {string} */
function percent(share, digits = 0) {
  return `${fixed(share * 100, digits)} %`;
}

/** @param {string} up @param {number} one @param {string} down @param {number} other @param {(value: number) => string} words of one above 0 @returns {string} */
function both(up, one, down, other, words) {
  return one === 0 && other === 0 ? "–" : `${up} ${one > 0 ? words(one) : "–"}, ${down} ${other > 0 ? words(other) : "–"}`;
}

/** @param {number} distance in basis points @param {number} mass @param {1 | -1} sign @returns {string} */
function cluster(distance, mass, sign) {
  return distance === 0 ? "none" : `${signed(sign * distance, 0)} bp, ${fixed(mass, 1)} min`;
}

/**
 * Whales and risk: what a row says, and what its line draws (one signal, or one less another) between `low` and `high`; `least`
 * is the smallest span where the line chooses its own.
 * @typedef {object} Meter
 * @property {string} name @property {string} what @property {(signal: (at: number) => number) => string} words
 * @property {number[]} line @property {number} [low] @property {number} [high] @property {number} [least]
 * @property {(signal: (at: number) => number) => boolean} [alarm]
 */
/** @type {Meter[]} */
export const METERS = [
  {
    name: "whale pressure", line: [S.WHALE_PRESSURE], low: -1, high: 1,
    what: "Which way the largest traders push: −1 they sell, +1 they buy, from their trades and from what they have resting; then how sure that is",
    words: (signal) => `${signed(signal(S.WHALE_PRESSURE), 2)}, ${percent(signal(S.WHALE_CONFIDENCE))} sure`,
  },
  {
    name: "whale orders", line: [S.NEST_BID, S.NEST_ASK], least: 2,
    what: "The strongest large order resting on each side of the book, in sizes that make an order a whale's, less where orders are pulled before they trade; the line is bid less ask. A violet bar marks them in the order book and at the right of the chart",
    words: (signal) => both("bid", signal(S.NEST_BID), "ask", signal(S.NEST_ASK), (value) => `${fixed(value, 1)}×`),
  },
  {
    name: "whale follow-on", line: [S.WHALE_UP, S.WHALE_DOWN], least: 0.2,
    what: "Network: the chance that the price goes on after a large buyer, and after a large seller; the line is the difference",
    words: (signal) => both("buys", signal(S.WHALE_UP), "sells", signal(S.WHALE_DOWN), percent),
  },
  {
    name: "value forecast", line: [S.VALUE], least: 0.5,
    what: "Network: the return of the micro-price over the next second, in basis points",
    words: (signal) => (signal(S.VALUE) === 0 ? "–" : `${signed(signal(S.VALUE), 2)} bp`),
  },
  {
    name: "cascade forecast", line: [S.CASCADE_UP, S.CASCADE_DOWN], least: 0.1,
    what: "Network: the chance of a run of the price within ten seconds, upwards and downwards; the line is the difference",
    words: (signal) => both("up", signal(S.CASCADE_UP), "down", signal(S.CASCADE_DOWN), percent),
  },
  {
    name: "criticality", line: [S.CRITICALITY], low: 0, high: 1,
    what: "How near trading is to an avalanche: 0 calm, 1 one trade sets off the next without end; then the branching ratio, how many further trades one trade brings about",
    words: (signal) => (signal(S.BRANCHING) === 0 ? "–" : `${fixed(signal(S.CRITICALITY), 2)}, branching ${fixed(signal(S.BRANCHING), 2)}`),
  },
  {
    name: "avalanche tail", line: [S.AVALANCHE], least: 1,
    what: "Exponent of the sizes of bursts of trades: the lower, the larger the largest ones; 1.5 is critical",
    words: (signal) => (signal(S.AVALANCHE) === 0 ? "–" : fixed(signal(S.AVALANCHE), 2)),
  },
  {
    name: "black swan", line: [S.SWAN_PROBABILITY], low: 0, least: 0.02,
    what: "The chance of a move far outside the usual within the next minute, and whether the alarm is on: then positions are closed and none is opened",
    words: (signal) => `${signal(S.SWAN_PROBABILITY) === 0 ? "–" : percent(signal(S.SWAN_PROBABILITY), 1)}, ${signal(S.SWAN_ALARM) > 0 ? "ALARM" : "no alarm"}`,
    alarm: (signal) => signal(S.SWAN_ALARM) > 0,
  },
  {
    name: "vacuum", line: [S.VACUUM], low: 0, high: 1,
    what: "How much of its usual size the thinner side of the book has lost and not had back",
    words: (signal) => `${percent(signal(S.VACUUM))} gone`,
    alarm: (signal) => signal(S.VACUUM) > 0.5,
  },
  {
    name: "market phase", line: [S.RISK], low: 0, high: 1,
    what: "The adaptive cycle: growth, conservation (deep and one-sided), release (the book is being eaten), reorganisation (it refills); then the share of the usual order that is sent in it, which the line draws. The strip under the price has the phases' colours",
    words: (signal) => {
      const phase = phaseOf(signal(S.PHASE), signal(S.RISK));
      return phase < 0 ? "not known yet" : `${PHASES[phase]}, ${fixed(signal(S.RISK), 2)}×`;
    },
    alarm: (signal) => phaseOf(signal(S.PHASE), signal(S.RISK)) === 2,
  },
  {
    name: "Fibonacci level", line: [S.FIBONACCI], least: 0.1,
    what: "The way to the nearest Fibonacci level of the last swings, in volatilities of a minute, and how many of the swings agree on it",
    words: (signal) => (signal(S.FIBONACCI) === 0 && signal(S.CONFLUENCE) === 0 ? "–" : `${signed(signal(S.FIBONACCI), 3)} σ, ${percent(signal(S.CONFLUENCE))} agree`),
  },
  {
    name: "convexity", line: [S.ANTIFRAGILITY], low: -1, high: 1,
    what: "What large moves bring compared with usual seconds, in basis points: the strategy's profit while it holds a position, else the market's; then the score, from −1 fragile to +1 antifragile, which the line draws",
    words: (signal) => (signal(S.CONVEXITY) === 0 && signal(S.ANTIFRAGILITY) === 0 ? "–" : `${signed(signal(S.CONVEXITY), 2)} bp, score ${signed(signal(S.ANTIFRAGILITY), 2)}`),
  },
  {
    name: "liquidations above", line: [S.LIQUIDATION_UP], low: 0, least: 50,
    what: "Where the next heavy cluster of short positions would be liquidated: how far above the price, and how many minutes of usual trading it holds. An estimate from trades; dashed on the chart",
    words: (signal) => cluster(signal(S.LIQUIDATION_UP), signal(S.LIQUIDATION_UP_MASS), 1),
  },
  {
    name: "liquidations below", line: [S.LIQUIDATION_DOWN], low: 0, least: 50,
    what: "The same for long positions below the price",
    words: (signal) => cluster(signal(S.LIQUIDATION_DOWN), signal(S.LIQUIDATION_DOWN_MASS), -1),
  },
];

/** What the score is the sum of. @param {number[]} parts features, whales, value network @returns {string} */
export function partsWords([features, whales, value]) {
  return `features ${signed(features, 2)}, whales ${signed(whales, 2)}, value ${signed(value, 2)}`;
}

/**
 * The signal behind a decision's reason, as it was then; nothing where the score says it all.
 * @param {number} reason cwts_reason @param {(at: number) => number} signal @returns {string}
 */
export function behindWords(reason, signal) {
  switch (reason) {
    case WHY.EXIT_SWAN: return `swan ${percent(signal(S.SWAN_PROBABILITY), 1)}, ${percent(signal(S.VACUUM))} vacuum`;
    case WHY.EXIT_CASCADE: return `cascade ${both("up", signal(S.CASCADE_UP), "down", signal(S.CASCADE_DOWN), percent)}`;
    case WHY.VALUE_UP:
    case WHY.VALUE_DOWN: return `forecast ${signed(signal(S.VALUE), 2)} bp`;
    case WHY.WHALE_UP:
    case WHY.WHALE_DOWN:
    case WHY.SCORE_UP:
    case WHY.SCORE_DOWN:
    case WHY.EXIT_SIGNAL: return `whales ${signed(signal(S.WHALE_PRESSURE), 2)}, ${percent(signal(S.WHALE_CONFIDENCE))} sure`;
    default: return "";
  }
}
