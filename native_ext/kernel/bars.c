/* bars.c: the market in steps, one bar a second of the frames' own time, and bars of equal volume. What the analysers that
 * think in seconds work on, so that a message costs them nothing. */
#include "numeric.h"

static const double BAR_TAU[CWTS_HORIZONS] = {10.0, 60.0, 300.0, 1800.0}; /* seconds */

#define MOST_EMPTY_BARS 120 /* a longer silence is one step: what it moved is the return of one bar */

/* The newest closed bar; back: how many before it. There are b->count of them, the last CWTS_BAR_RING are kept. */
static inline const cwts_bar *bar_at(const cwts_bars *b, u64 back) { return &b->ring[(b->count - 1 - back) & (CWTS_BAR_RING - 1)]; }

static void bar_begin(cwts_bar *bar, i64 second, i64 mid2) {
    *bar = (cwts_bar){.second = second, .open = mid2, .high = mid2, .low = mid2, .close = mid2};
}

static void bar_quote(cwts_bar *bar, i64 mid2) {
    if (bar->close == 0) bar->open = bar->high = bar->low = mid2;
    bar->high = max64(bar->high, mid2);
    bar->low = min64(bar->low, mid2);
    bar->close = mid2;
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

/* Closes the bar of a second: return, variances, usual volume. */
static void bars_close(cwts_block *k) {
    cwts_bars *b = &k->bars;
    cwts_bar *bar = &b->now;
    const cwts_bar *last = b->count ? bar_at(b, 0) : 0;
    bar->synced = k->sync.synced && bar->close > 0;
    bar->depth[CWTS_BID] = k->features.side_depth[CWTS_BID];
    bar->depth[CWTS_ASK] = k->features.side_depth[CWTS_ASK];
    if (last && last->synced && bar->synced) bar->change = (double)(bar->close - last->close) / (double)last->close;
    double volume = (double)bar->bought + (double)bar->sold;
    for (u32 i = 0; i < CWTS_HORIZONS; i++) {
        double share = 1.0 / (BAR_TAU[i] < (double)(b->count + 1) ? BAR_TAU[i] : (double)(b->count + 1)); /* a plain mean at first */
        if (bar->synced) b->variance[i] += (bar->change * bar->change - b->variance[i]) * share;
        if (i == CWTS_HORIZONS - 1) b->volume += (volume - b->volume) * share;
    }
    b->ring[b->count++ & (CWTS_BAR_RING - 1)] = *bar;
    bar_begin(bar, bar->second + 1, bar->close);
}

/* Volume bars: one ends when it holds what is usually traded in bars.volume_s; what goes over stays in it. */
static void volume_trade(cwts_block *k, const cwts_trade *t, i64 mid2) {
    cwts_bars *b = &k->bars;
    cwts_bar *bar = &b->filling;
    if (mid2 <= 0 || b->volume <= 0.0) return;
    if (bar->second == 0) bar_begin(bar, t->recv_ns / 1000000000, mid2);
    bar_quote(bar, mid2);
    bar_trade(bar, t);
    if ((double)bar->bought + (double)bar->sold < b->volume * (double)k->config.parameter[CWTS_P_BARS_VOLUME_S]) return;
    bar->synced = 1;
    bar->change = (double)(bar->close - bar->open) / (double)bar->open;
    b->volume_ring[b->volume_count++ & (CWTS_VOLUME_BAR_RING - 1)] = *bar;
    *bar = (cwts_bar){0};
}

/* How many bars end before `now`: the caller closes them one by one. */
static u32 bars_due(cwts_bars *b, i64 now) {
    i64 second = now / 1000000000;
    if (b->now.second == 0) bar_begin(&b->now, second, 0);
    i64 due = second - b->now.second;
    if (due > MOST_EMPTY_BARS) {
        b->now.second = second - 1;
        b->silences++;
        due = 1;
    }
    return due > 0 ? (u32)due : 0;
}
