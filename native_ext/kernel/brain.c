/* brain.c: who looks at what, and when. Analysers that think in seconds run when a bar ends; those that follow single trades
 * or levels run with them. Each writes its signals, and reads the others' only as they were after the message before. */
#include "internal.h"

static void brain_second(cwts_block *k) {
    bars_close(k);
    whale_second(k);
    soc_second(k);
    swan_second(k);
    panarchy_second(k);
    fibonacci_second(k);
    antifragility_second(k);
    liquidation_second(k);
}

/* After every frame that may have moved the market. `before`: the tape's count before it. */
static void brain_update(cwts_block *k, i64 now, u64 before, u32 events) {
    cwts_bars *b = &k->bars;
    for (u32 due = bars_due(b, now); due > 0; due--) brain_second(k);
    bars_market(k, events);
    i64 mid2 = b->now.synced ? b->now.close : 0;
    if (events & CWTS_EV_TRADE) {
        for (u64 i = trades_since(&k->tape, before); i < k->tape.count; i++) {
            const cwts_trade *t = &k->tape.ring[i & (CWTS_TRADES - 1)];
            bar_trade(&b->now, t);
            volume_trade(k, t, mid2);
            whale_trade(k, t);
            soc_trade(k, t);
            liquidation_trade(k, t);
        }
    }
    if (mid2 <= 0) {
        networks_clear(k);
        return;
    }
    if (events & CWTS_EV_BOOK) whale_book(k, now);
    networks_run(k);
}
