// Codes of the kernel in words. One place, so that the page says the same everywhere.

import { ENUMS } from "./layout.js";
import { fixed, signed } from "./market.js";

const WHY = ENUMS.cwts_reason;
const SYNC = ENUMS.cwts_sync_reason;
const STATE = ENUMS.cwts_order_state;

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
    case WHY.HALTED: return "Stopped: nothing is opened until trading is resumed";
    case WHY.CROSSED: return "Holding: best bid and best ask are crossed";
    case WHY.ORDER_PENDING: return "Waiting: an order is on its way";
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
    case WHY.FRAGILE: return `Holding: large moves have cost us lately; ${now}`;
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
    case WHY.ORDER_PENDING: return "order on its way";
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
