/* bars.c: the market in steps, one bar a second of the frames' own time, and bars of equal volume. What the analysers that
 * think in seconds work on, so that a message costs them nothing. docs/bars.md */
#include "numeric.h"

static const double BAR_TAU[CWTS_HORIZONS] = {10.0, 60.0, 300.0, 1800.0}; /* seconds */

#define MOST_EMPTY_BARS 120 /* a longer silence is one step: what it moved is the return of one bar */

/* The newest closed bar; back: how many before it. There are b->count of them, the last CWTS_BAR_RING are kept. */
static inline const cwts_bar *bar_at(const cwts_bars *b, u64 back) { return &b->ring[(b->count - 1 - back) & (CWTS_BAR_RING - 1)]; }

/* Volatility of one second, by the mean whose time constant is the next at or above the horizon. */
static inline double bars_volatility(const cwts_bars *b, double horizon_s) {
    u32 i = 0;
    while (i < CWTS_HORIZONS - 1 && BAR_TAU[i] < horizon_s) i++;
    return square_root(b->variance[i]);
}

/* The bar goes on as `second`, from where it ended. */
static void bar_begin(cwts_bar *bar, i64 second) {
    i64 mid2 = bar->close;
    *bar = (cwts_bar){.second = second, .open = mid2, .high = mid2, .low = mid2, .close = mid2,
                      .depth = {bar->depth[CWTS_BID], bar->depth[CWTS_ASK]}, .synced = bar->synced};
}

static void bar_quote(cwts_bar *bar, i64 mid2) {
    if (bar->updates == 0 && !bar->synced) bar->open = bar->high = bar->low = mid2; /* an older price is no part of it */
    bar->high = max64(bar->high, mid2);
    bar->low = min64(bar->low, mid2);
    bar->close = mid2;
    bar->synced = 1;
    bar->updates++;
}

static inline i64 add_capped(i64 a, i64 b) {
    i64 sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void bar_trade(cwts_bar *bar, const cwts_trade *t) {
    i64 *side = t->aggressor > 0 ? &bar->bought : &bar->sold;
    *side = add_capped(*side, t->qty);
    bar->trades++;
}

/* After every message: the book's touch, where it has two sides and is not crossed. */
static void bars_market(cwts_block *k, u32 events) {
    cwts_bars *b = &k->bars;
    if (UNLIKELY(!k->sync.synced)) {
        b->now.synced = 0;
        b->now.depth[CWTS_BID] = b->now.depth[CWTS_ASK] = 0.0;
        b->filling = (cwts_bar){0};
        return;
    }
    if (!(events & (CWTS_EV_BOOK | CWTS_EV_TICKER))) return;
    cwts_level bid = k->sync.touch[CWTS_BID], ask = k->sync.touch[CWTS_ASK];
    i64 mid2 = add_capped(bid.price, ask.price);
    if (bid.qty > 0 && ask.qty > 0 && bid.price < ask.price && mid2 > 0) bar_quote(&b->now, mid2);
    if (!b->now.synced) return; /* a book that came back with one side has no price yet */
    b->now.depth[CWTS_BID] = k->features.side_depth[CWTS_BID];
    b->now.depth[CWTS_ASK] = k->features.side_depth[CWTS_ASK];
}

/* Of a mean over tau bars: a plain mean until there are so many. */
static inline double bar_share(double tau, u64 bars) { return 1.0 / (tau < (double)bars ? tau : (double)bars); }

/* Closes the bar of a second: return, variances, usual volume. Nothing of the message that ended it is in it. */
static void bars_close(cwts_block *k) {
    cwts_bars *b = &k->bars;
    cwts_bar *bar = &b->now;
    const cwts_bar *last = b->count ? bar_at(b, 0) : 0;
    if (last && last->synced && bar->synced) {
        bar->known = 1;
        bar->change = (double)(bar->close - last->close) / (double)last->close;
        b->changes++;
        for (u32 i = 0; i < CWTS_HORIZONS; i++) b->variance[i] += (bar->change * bar->change - b->variance[i]) * bar_share(BAR_TAU[i], b->changes);
    }
    b->volume += (((double)bar->bought + (double)bar->sold) - b->volume) * bar_share(BAR_TAU[CWTS_HORIZONS - 1], b->count + 1);
    b->ring[b->count++ & (CWTS_BAR_RING - 1)] = *bar;
    bar_begin(bar, b->resume ? b->resume : bar->second + 1);
    b->resume = 0;
}

/* Volume bars: one ends when it holds what is usually traded in bars.volume_s; what goes over stays in it. */
static void volume_trade(cwts_block *k, const cwts_trade *t, i64 mid2) {
    cwts_bars *b = &k->bars;
    cwts_bar *bar = &b->filling;
    if (mid2 <= 0 || b->volume <= 0.0) return;
    if (bar->trades == 0) bar->second = t->recv_ns / 1000000000;
    bar_quote(bar, mid2);
    bar_trade(bar, t);
    if ((double)bar->bought + (double)bar->sold < b->volume * (double)k->config.parameter[CWTS_P_BARS_VOLUME_S]) return;
    bar->known = 1;
    bar->change = (double)(bar->close - bar->open) / (double)bar->open;
    bar->depth[CWTS_BID] = b->now.depth[CWTS_BID];
    bar->depth[CWTS_ASK] = b->now.depth[CWTS_ASK];
    b->volume_ring[b->volume_count++ & (CWTS_VOLUME_BAR_RING - 1)] = *bar;
    *bar = (cwts_bar){0};
}

/* How many bars end before `now`: the caller closes them one by one. Time that runs backwards ends none. */
static u32 bars_due(cwts_bars *b, i64 now) {
    i64 second = now / 1000000000;
    if (b->now.second == 0) bar_begin(&b->now, second);
    i64 due = second - b->now.second;
    if (due > MOST_EMPTY_BARS) {
        b->resume = second;
        b->silences++;
        due = 1;
    }
    return due > 0 ? (u32)due : 0;
}
