/* account.c: the paper account. Orders are immediate-or-cancel, reach the book after a latency, walk its levels, pay fees,
 * and obey lot size, minimum quantity and minimum notional. Every rounding goes against us. */
#include "integer.h"

#define PPM 1000000

/* What `amount_e8` (base or contracts, in 10^-8) is worth at `price`, in 10^-8 of the settlement asset. */
static i64 value_e8(const cwts_block *k, i64 price, i64 amount_e8, int round_up) {
    i64 notional = k->config.contract == CWTS_SPOT ? amount_e8
                                                   : multiply_divide(amount_e8, k->config.contract_size_e8, 100000000, round_up);
    if (notional == MONEY_MAX || price <= 0) return MONEY_MAX;
    if (k->config.contract == CWTS_INVERSE) return multiply_divide(notional, k->header.price_scale, price, round_up);
    return multiply_divide(notional, price, k->header.price_scale, round_up);
}

static inline cwts_order *order_at(cwts_block *k, u32 id) { return &k->account.order[(id - 1) & (CWTS_ORDERS - 1)]; }

static inline cwts_order *order_newest(cwts_block *k) { return k->account.orders ? order_at(k, k->account.orders) : 0; }

#define REFUSED_NS 10000000000LL

/* An order is on its way, or was refused just now: the exchange would answer the same at once. */
static int order_pending(cwts_block *k, i64 now) {
    const cwts_order *o = order_newest(k);
    return o && (o->state == CWTS_ORDER_SENT || (o->state == CWTS_ORDER_REJECTED && now - o->done_ns < REFUSED_NS));
}

/* The position in whole lots, signed, in quantity units: fee dust below a lot is no position. */
static i64 position_lots(const cwts_block *k) {
    if (k->header.unit_e8 == 0) return 0;
    i64 lot_e8 = k->config.lot_size * k->header.unit_e8;
    return k->account.position_e8 / lot_e8 * k->config.lot_size;
}

/* Bought inverse contracts are worth less coin the higher the price: the sign turns. */
static inline i64 settle_sign(const cwts_block *k) { return k->config.contract == CWTS_INVERSE ? -1 : 1; }

static void account_mark(cwts_block *k) {
    cwts_account *a = &k->account;
    i64 position = a->position_e8;
    if (position == 0) {
        a->equity_e8 = a->cash_e8;
    } else {
        cwts_level touch = k->sync.touch[position > 0 ? CWTS_BID : CWTS_ASK];
        if (touch.qty <= 0) return; /* nothing to mark at: the last equity stands */
        i64 value = value_e8(k, touch.price, position > 0 ? position : -position, (position < 0) ^ (k->config.contract == CWTS_INVERSE));
        value = position > 0 ? value : -value;
        a->equity_e8 = add_saturating(a->cash_e8, settle_sign(k) * value);
    }
    a->peak_e8 = max64(a->peak_e8, a->equity_e8);
    a->drawdown_e8 = max64(a->drawdown_e8, add_saturating(a->peak_e8, -a->equity_e8));
}

/* How much one order may buy or sell to open: the aim in money times the risk multiplier, in whole lots, within the exchange's limits; 0: too small.
 * Rounded to lots first, at the dearer price; only then is the notional checked, at the cheaper one. */
static i64 order_size(const cwts_block *k, i64 bid, i64 ask, float risk) {
    const cwts_config *c = &k->config;
    if (k->header.unit_e8 == 0 || bid <= 0 || ask <= 0) return 0;
    i64 low = c->contract == CWTS_INVERSE ? ask : bid, high = c->contract == CWTS_INVERSE ? bid : ask;
    i64 aim = min64(c->order_notional_e8, k->account.equity_e8);
    if (aim > 0) aim = multiply_divide(aim, (i64)(risk * 1e6f), PPM, 0);
    i64 lot_e8 = value_e8(k, high, c->lot_size * k->header.unit_e8, 1);
    if (aim <= 0 || lot_e8 <= 0 || lot_e8 == MONEY_MAX) return 0;
    i64 lots = aim / lot_e8;
    if (c->max_qty) lots = min64(lots, c->max_qty / c->lot_size);
    if (lots <= 0 || lots > INT64_MAX / k->header.unit_e8 / c->lot_size) return 0;
    i64 qty = lots * c->lot_size;
    if (qty < c->min_qty) return 0;
    i64 sold = qty;
    if (c->contract == CWTS_SPOT) { /* the lots left after the fee must be enough to be sold again, also somewhat lower */
        i64 amount_e8 = qty * k->header.unit_e8;
        sold = (amount_e8 - multiply_divide(amount_e8, c->taker_fee_ppm, PPM, 1)) / (c->lot_size * k->header.unit_e8) * c->lot_size;
        low = max64(low - c->max_slippage, 1);
        if (sold <= 0 || sold < c->min_qty) return 0;
    }
    i64 notional = value_e8(k, low, sold * k->header.unit_e8, 0);
    return notional == MONEY_MAX || notional < c->min_notional_e8 ? 0 : qty;
}

/* The same, worked out again only when the touch, the equity or the risk has moved. */
static i64 order_size_now(cwts_block *k) {
    cwts_decision *d = &k->decision;
    i64 bid = k->sync.touch[CWTS_BID].price, ask = k->sync.touch[CWTS_ASK].price, equity = k->account.equity_e8;
    float floor = k->config.parameter[CWTS_P_DECISION_RISK_FLOOR], risk = k->signals.value[CWTS_S_RISK];
    risk = risk > floor ? risk : risk > 0.0f ? floor : 1.0f; /* 0: not known */
    if (d->size_bid != bid || d->size_ask != ask || d->size_equity_e8 != equity || d->size_risk != risk) {
        d->size_qty = order_size(k, bid, ask, risk);
        d->size_bid = bid;
        d->size_ask = ask;
        d->size_equity_e8 = equity;
        d->size_risk = risk;
    }
    return d->size_qty;
}

static u32 order_send(cwts_block *k, u32 side, i64 qty, u32 reason, float score, int reduce_only, i64 now) {
    cwts_account *a = &k->account;
    i64 touch = k->sync.touch[side == CWTS_BID ? CWTS_ASK : CWTS_BID].price;
    cwts_order *o = order_at(k, ++a->orders);
    *o = (cwts_order){.id = a->orders, .state = CWTS_ORDER_SENT, .side = side, .reason = reason, .created_ns = now,
                      .limit = side == CWTS_BID ? add_saturating(touch, k->config.max_slippage) : max64(touch - k->config.max_slippage, 1),
                      .qty = qty, .touch = touch, .reduce_only = (u32)reduce_only, .score = score};
    __builtin_memcpy(o->signal, k->signals.value, sizeof o->signal);
    return o->id;
}

static void order_end(cwts_order *o, u32 state, i64 now) {
    o->state = state;
    o->done_ns = now;
}

/* Books what was filled: cash, position, fee, and the closed trade's result. */
static void account_book(cwts_block *k, cwts_order *o, i64 filled, i64 value, i64 at_touch, i64 now) {
    cwts_account *a = &k->account;
    const cwts_config *c = &k->config;
    i64 amount_e8 = filled * k->header.unit_e8, before = position_lots(k);
    int buy = o->side == CWTS_BID;
    i64 equity_before = a->equity_e8;
    i64 fee = multiply_divide(value, c->taker_fee_ppm, PPM, 1);
    a->cash_e8 = add_saturating(a->cash_e8, (buy ? -value : value) * settle_sign(k));
    a->position_e8 = add_saturating(a->position_e8, buy ? amount_e8 : -amount_e8);
    if (c->contract == CWTS_SPOT && buy) {
        a->position_e8 -= multiply_divide(amount_e8, c->taker_fee_ppm, PPM, 1); /* the fee is taken from what is received */
    } else {
        a->cash_e8 = add_saturating(a->cash_e8, -fee);
    }
    o->filled = filled;
    o->notional_e8 = value;
    o->fee_e8 = fee;
    a->fees_e8 = add_saturating(a->fees_e8, fee);
    a->turnover_e8 = add_saturating(a->turnover_e8, value);
    a->slippage_e8 = add_saturating(a->slippage_e8, (buy ? value - at_touch : at_touch - value) * settle_sign(k));
    a->fills++;
    i64 after = position_lots(k);
    if (before == 0 && after != 0) {
        a->entry_e8 = equity_before;
        a->opened_ns = now;
    }
    account_mark(k);
    if (before != 0 && after == 0) {
        i64 result = add_saturating(a->equity_e8, -a->entry_e8);
        a->realised_e8 = add_saturating(a->realised_e8, result);
        a->wins += result > 0;
        a->losses += result <= 0;
        a->closed_ns = now;
    }
}

/* The order has arrived: it takes what stands within its limit, best level first. The ticker may know more of the touch than the
 * book: what it no longer shows is not taken. */
static u32 order_match(cwts_block *k, cwts_order *o, i64 now) {
    u32 from = o->side == CWTS_BID ? CWTS_ASK : CWTS_BID;
    const cwts_side_book *book = &k->side[from];
    cwts_level touch = k->sync.touch[from];
    i64 left = o->qty, filled = 0, value = 0, unit = k->header.unit_e8;
    int buy = o->side == CWTS_BID;
    /* spot: an order below the minimum notional is refused on both ways; contracts exempt what reduces */
    if (value_e8(k, o->touch, o->qty * unit, 0) < k->config.min_notional_e8 && !(o->reduce_only && k->config.contract != CWTS_SPOT)) {
        order_end(o, CWTS_ORDER_REJECTED, now);
        return CWTS_EV_REJECT;
    }
    for (u32 i = 0; i < book->top_count && left > 0; i++) {
        cwts_level level = book->top[i];
        if (buy ? level.price > o->limit : level.price < o->limit) break;
        if (touch.qty > 0 && (buy ? level.price < touch.price : level.price > touch.price)) continue;
        if (level.price == touch.price) level.qty = min64(level.qty, touch.qty);
        i64 take = min64(left, level.qty / k->config.lot_size * k->config.lot_size);
        i64 part = value_e8(k, level.price, take * unit, buy ^ (k->config.contract == CWTS_INVERSE));
        if (part == MONEY_MAX) break;
        value = add_saturating(value, part);
        filled += take;
        left -= take;
    }
    if (filled == 0) {
        order_end(o, CWTS_ORDER_CANCELLED, now);
        return 0;
    }
    i64 at_touch = value_e8(k, o->touch, filled * unit, 0);
    account_book(k, o, filled, value, at_touch, now);
    order_end(o, left ? CWTS_ORDER_PARTLY_FILLED : CWTS_ORDER_FILLED, now);
    return CWTS_EV_FILL;
}

/* Before each decision: an order that is due reaches the book; one that finds no valid book is cancelled. */
static u32 account_step(cwts_block *k, i64 now) {
    cwts_order *o = order_newest(k);
    if (LIKELY(!o || o->state != CWTS_ORDER_SENT) || now - o->created_ns < k->config.order_latency_ns) return 0;
    if (!k->sync.synced || now - k->sync.book_ns > k->config.stale_ns) {
        order_end(o, CWTS_ORDER_CANCELLED, now);
        return 0;
    }
    return order_match(k, o, now);
}
