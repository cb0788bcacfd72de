/* tape.c: the rings of the last trades and forced orders, and the best bid and ask as the ticker streams tell them. */
#include "internal.h"

/* The first of the trades since the tape's count was `before` that the ring still holds: one message may bring more than that. */
static inline u64 trades_since(const cwts_tape *tape, u64 before) {
    u64 kept = tape->count > CWTS_TRADES ? tape->count - CWTS_TRADES : 0;
    return before > kept ? before : kept;
}

static u32 trade_add(cwts_block *k, const cwts_trade *t) {
    cwts_tape *tape = &k->tape;
    tape->ring[tape->count++ & (CWTS_TRADES - 1)] = *t;
    tape->last_id = t->id;
    tape->last_price = t->price;
    k->counters.trades++;
    return CWTS_EV_TRADE;
}

static u32 forced_add(cwts_block *k, const cwts_forced *f) {
    cwts_liquidation *l = &k->liquidation;
    l->forced[l->count++ & (CWTS_FORCED_ORDERS - 1)] = *f;
    k->counters.liquidations++;
    return CWTS_EV_LIQUIDATION;
}

/* A ticker moves the touch where it is newer than what the book says; the levels themselves are the depth stream's. */
static u32 ticker_set(cwts_block *k, i64 id, cwts_level bid, cwts_level ask) {
    k->counters.tickers++;
    if (id < k->sync.touch_id) return 0;
    k->sync.touch_id = id;
    k->sync.touch[CWTS_BID] = bid;
    k->sync.touch[CWTS_ASK] = ask;
    return CWTS_EV_TICKER;
}
