// One instrument as the page speaks of it: units to text, contracts to prices and money.

/** @typedef {import("./snapshot.js").Order} Order */

/** What the engine worker says about a recording that it opened; see `open_recording` in cwts.browser. */
/**
 * @typedef {object} Opened
 * @property {{exchange: string, symbol: string, lines: number, malformed: number, first_ns: number, last_ns: number}} survey
 * @property {{contract: "spot" | "linear" | "inverse", base: string, quote: string, settle: string, price_decimals: number, qty_decimals: number, tick_size: string, lot_size: string}} instrument
 * @property {string[]} notes
 * @property {number} enter @property {number} exit @property {number[]} weights @property {number} capital e8
 * @property {number} contractSize @property {number} orderLatencyMs @property {number} blockBytes
 */

/** The exchanges that are known, the first one first in every list of them. */
export const VENUES = /** @type {Record<string, string>} */ ({
  "binance-usdm": "Binance USD-M", binance: "Binance spot", "binance-coinm": "Binance COIN-M", okx: "OKX",
});

const MINUS = "−";

/** @param {string} text of digits @returns {string} */
function grouped(text) {
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** @param {number} value @param {number} decimals @returns {string} */
export function fixed(value, decimals) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(decimals);
  const [whole, fraction] = text.split(".");
  const sign = value < 0 && Number(text) !== 0 ? MINUS : "";
  return sign + grouped(whole) + (fraction === undefined ? "" : `.${fraction}`);
}

/** @param {number} value @param {number} decimals @returns {string} always with a sign, except zero */
export function signed(value, decimals) {
  const text = fixed(value, decimals);
  return value > 0 && Number(value.toFixed(decimals)) !== 0 ? `+${text}` : text;
}

/** @param {number} ms since the epoch @param {boolean} [fine] @returns {string} UTC */
export function timeOfDay(ms, fine = false) {
  return ms > 0 ? new Date(ms).toISOString().slice(11, fine ? 23 : 19) : "–";
}

/** @param {number} ms @returns {string} m:ss */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = String(seconds % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export class Market {
  /** @param {Opened} opened @param {string} title */
  constructor(opened, title) {
    const { survey, instrument } = opened;
    this.opened = opened;
    this.title = title;
    this.exchange = survey.exchange;
    this.symbol = survey.symbol;
    this.venue = VENUES[survey.exchange] ?? survey.exchange;
    this.firstMs = survey.first_ns / 1e6;
    this.lastMs = survey.last_ns / 1e6;
    this.contract = instrument.contract;
    this.base = instrument.base;
    this.quote = instrument.quote;
    this.settle = instrument.settle;
    this.priceDecimals = instrument.price_decimals;
    this.qtyDecimals = instrument.qty_decimals;
    this.priceUnit = 10 ** instrument.price_decimals;
    this.qtyUnit = 10 ** instrument.qty_decimals;
    this.tick = Math.round(Number(instrument.tick_size) * this.priceUnit) || 1;
    this.lot = Number(instrument.lot_size);
    this.contracts = instrument.contract === "inverse" || (opened.contractSize !== 1 && instrument.contract === "linear");
    this.moneyDecimals = instrument.contract === "inverse" ? 8 : 4;
    this.weights = opened.weights;
    this.enter = opened.enter;
    this.exit = opened.exit;
    this.capital = opened.capital;
  }

  /** @param {number} units @returns {string} */
  price(units) {
    return fixed(units / this.priceUnit, this.priceDecimals);
  }

  /** @param {number} units @returns {string} */
  qty(units) {
    return fixed(units / this.qtyUnit, this.qtyDecimals);
  }

  /** The unit of sizes. @returns {string} */
  get sizeName() {
    return this.contracts ? "contracts" : this.base;
  }

  /** @param {number} e8 @returns {string} */
  money(e8) {
    return fixed(e8 / 1e8, this.moneyDecimals);
  }

  /** @param {number} e8 @returns {string} */
  gain(e8) {
    return signed(e8 / 1e8, this.moneyDecimals);
  }

  /**
   * The average price of a quantity that is worth a value of the settlement asset, in price units; NaN if there is none.
   * @param {number} qty in base units or contracts @param {number} value @returns {number}
   */
  average(qty, value) {
    if (qty === 0 || value === 0) return NaN;
    const size = this.opened.contractSize;
    return (this.contract === "inverse" ? (qty * size) / value : value / (qty * size)) * this.priceUnit;
  }

  /** @param {Order} order @returns {number} price units; NaN without a fill */
  fillPrice(order) {
    return this.average(order.filled / this.qtyUnit, order.notional / 1e8);
  }

  /** Dust below one lot is no position. @param {number} positionE8 @returns {boolean} */
  isFlat(positionE8) {
    return Math.abs(positionE8) / 1e8 < this.lot * (1 - 1e-9);
  }

  /**
   * What the position was opened at, from the orders that the account remembers.
   * @param {Order[]} orders newest first @param {number} positionE8 @returns {number} price units; NaN if flat
   */
  entryPrice(orders, positionE8) {
    if (this.isFlat(positionE8)) return NaN;
    const opening = orders.find((order) => order.filled > 0 && (order.side === 0) === positionE8 > 0);
    return opening ? this.fillPrice(opening) : NaN;
  }
}
