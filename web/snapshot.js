// Reads the engine's published bytes: the generated layout says where a field lies, this says what it means on the page.

import { ENUMS, LAYOUT } from "./layout.js";
import { NESTS, NUMBERS, TAPE } from "./mirror.js";

/** @typedef {import("./mirror.js").Slot} Slot */
/** @typedef {{offset: number, count?: number}} Field */

/** @param {DataView} view @param {number} offset @returns {number} an int64, rounded to a double */
export function int64(view, offset) {
  return view.getInt32(offset + 4, true) * 4294967296 + view.getUint32(offset, true);
}

/** @param {bigint} units of 10^-decimals @param {number} decimals @returns {string} a plain decimal without trailing zeros */
export function plain(units, decimals) {
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return `${units < 0n ? "-" : ""}${whole}${fraction ? `.${fraction}` : ""}`;
}

const S = LAYOUT.cwts_snapshot.fields;
const A = LAYOUT.cwts_account.fields;
const O = LAYOUT.cwts_order.fields;
const T = LAYOUT.cwts_trade.fields;
const C = LAYOUT.cwts_counters.fields;
const D = LAYOUT.cwts_decision.fields;
const N = LAYOUT.cwts_nest.fields;
const KIND = ENUMS.cwts_nest_kind;
const LEVEL = LAYOUT.cwts_level.size;

/**
 * @typedef {object} Order
 * @property {number} id @property {number} state @property {number} side 0 buys, 1 sells @property {number} reason
 * @property {number} createdMs @property {number} doneMs @property {number} limit price units
 * @property {number} qty @property {number} filled quantity units @property {number} notional e8
 * @property {number} fee e8 @property {number} touch price units @property {number} score
 */

/**
 * What a whale has resting in the book.
 * @typedef {object} Nest
 * @property {0 | 1} side bid, ask @property {number} price @property {number} qty units
 * @property {number} strength in sizes that make one @property {boolean} iceberg traded more than it ever showed
 */

/** One slot, decoded when asked. Times in ms, prices and quantities in units, money in 10^-8. */
export class Snapshot {
  /** @param {Slot} slot */
  constructor(slot) {
    this.slot = slot;
    /** @type {Order[] | null} */
    this.list = null;
    const view = slot.snapshot;
    /** @param {Field} field */
    const big = (field) => int64(view, field.offset);
    /** @param {Field} field */
    const word = (field) => view.getUint32(field.offset, true);
    this.nowMs = big(S.now_ns) / 1e6;
    this.bookMs = big(S.book_ns) / 1e6;
    this.messages = big(S.messages);
    this.applied = big(S.applied);
    this.gaps = big(S.gaps);
    this.snapshots = big(S.snapshots);
    this.malformed = big(S.malformed);
    this.trades = big(S.trades);
    this.decisions = [0, 1, 2, 3].map((action) => int64(view, S.decisions.offset + 8 * action));
    this.synced = word(S.synced) === 1;
    this.syncReason = word(S.sync_reason);
    this.bidCount = word(S.bid_count);
    this.askCount = word(S.ask_count);
    this.bidTop = word(S.bid_top);
    this.askTop = word(S.ask_top);
    this.action = word(S.action);
    this.reason = word(S.reason);
    this.score = view.getFloat32(S.score.offset, true);
    this.halted = word(S.halted) === 1;
    this.lastMs = big(S.last_ns) / 1e6;
    this.lastAction = word(S.last_action);
    this.lastReason = word(S.last_reason);
    this.lastScore = view.getFloat32(S.last_score.offset, true);
    this.lastOrder = word(S.last_order_id);
    this.mid = big(S.mid_e8) / 1e8;
    this.micro = big(S.micro_e8) / 1e8;
    this.position = big(S.position_e8);
    this.entry = big(S.entry_e8);
    this.equity = big(S.equity_e8);
    this.drawdown = big(S.drawdown_e8);
    this.fees = big(S.fees_e8);
    this.realised = big(S.realised_e8);
    this.orderCount = word(S.orders);
    this.fills = word(S.fills);
    this.wins = word(S.wins);
    this.losses = word(S.losses);
  }

  /** @param {0 | 1} side bid, ask @param {number} at from the best @returns {number} */
  price(side, at) {
    return int64(this.slot.snapshot, (side === 0 ? S.bid : S.ask).offset + at * LEVEL);
  }

  /** @param {0 | 1} side bid, ask @param {number} at from the best @returns {number} */
  qty(side, at) {
    return int64(this.slot.snapshot, (side === 0 ? S.bid : S.ask).offset + at * LEVEL + 8);
  }

  /** @param {0 | 1} side @param {number} decimals @returns {string | null} the best price, exactly */
  best(side, decimals) {
    if (!this.synced || (side === 0 ? this.bidTop : this.askTop) === 0) return null;
    return plain(this.slot.snapshot.getBigInt64((side === 0 ? S.bid : S.ask).offset, true), decimals);
  }

  /** @param {"position" | "equity" | "fees" | "realised"} name @returns {bigint} exactly, in 10^-8 */
  exact(name) {
    const field = { position: S.position_e8, equity: S.equity_e8, fees: S.fees_e8, realised: S.realised_e8 }[name];
    return this.slot.snapshot.getBigInt64(field.offset, true);
  }

  /** @param {number} at @returns {number} */
  feature(at) {
    return this.slot.snapshot.getFloat32(S.feature.offset + 4 * at, true);
  }

  /** @param {number} at cwts_signal @returns {number} */
  signal(at) {
    return this.slot.snapshot.getFloat32(S.signal.offset + 4 * at, true);
  }

  /** A signal as it was at the newest decision other than hold. @param {number} at cwts_signal @returns {number} */
  lastSignal(at) {
    return this.slot.decision.getFloat32(D.last_signal.offset + 4 * at, true);
  }

  /** What the score is the sum of. @returns {number[]} features, whales, value network */
  parts() {
    return [0, 1, 2].map((at) => this.slot.decision.getFloat32(D.part.offset + 4 * at, true));
  }

  /** @returns {Nest[]} those that are there and count */
  nests() {
    if (!this.synced) return [];
    const view = this.slot.nests;
    const nests = [];
    for (let index = 0; index < 2 * NESTS; index++) {
      const at = index * LAYOUT.cwts_nest.size;
      const kind = view.getUint32(at + N.kind.offset, true);
      const strength = view.getFloat32(at + N.strength.offset, true);
      const qty = int64(view, at + N.qty.offset);
      if (strength === 0 || qty === 0 || int64(view, at + N.gone_ns.offset) !== 0) continue;
      if ((kind & (KIND.RESTING | KIND.ICEBERG)) === 0) continue;
      const side = /** @type {0 | 1} */ (index < NESTS ? 0 : 1);
      nests.push({ side, price: int64(view, at + N.price.offset), qty, strength, iceberg: (kind & KIND.ICEBERG) !== 0 });
    }
    return nests;
  }

  /** @param {(typeof NUMBERS)[number]} name @returns {number} */
  number(name) {
    return this.slot.numbers[NUMBERS.indexOf(name)];
  }

  /** @param {keyof typeof C} name @returns {number} */
  counter(name) {
    return int64(this.slot.counters, C[name].offset);
  }

  /** The newest trade is number 0. @param {number} back */
  trade(back) {
    const at = (TAPE - 1 - back) * LAYOUT.cwts_trade.size;
    const view = this.slot.trades;
    return {
      recvMs: int64(view, at + T.recv_ns.offset) / 1e6,
      price: int64(view, at + T.price.offset),
      qty: int64(view, at + T.qty.offset),
      side: view.getInt32(at + T.aggressor.offset, true),
    };
  }

  /** @returns {Order[]} the orders that the account remembers, newest first */
  orders() {
    if (this.list) return this.list;
    const view = this.slot.account;
    const ever = view.getUint32(A.orders.offset, true);
    const capacity = A.order.count;
    const orders = [];
    for (let back = 1; back <= Math.min(ever, capacity); back++) {
      const at = A.order.offset + ((ever - back) & (capacity - 1)) * LAYOUT.cwts_order.size;
      orders.push({
        id: view.getUint32(at + O.id.offset, true),
        state: view.getUint32(at + O.state.offset, true),
        side: view.getUint32(at + O.side.offset, true),
        reason: view.getUint32(at + O.reason.offset, true),
        createdMs: int64(view, at + O.created_ns.offset) / 1e6,
        doneMs: int64(view, at + O.done_ns.offset) / 1e6,
        limit: int64(view, at + O.limit.offset),
        qty: int64(view, at + O.qty.offset),
        filled: int64(view, at + O.filled.offset),
        notional: int64(view, at + O.notional_e8.offset),
        fee: int64(view, at + O.fee_e8.offset),
        touch: int64(view, at + O.touch.offset),
        score: view.getFloat32(at + O.score.offset, true),
      });
    }
    this.list = orders;
    return orders;
  }
}
