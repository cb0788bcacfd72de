/* antifragility.c: convexity to volatility, E[r | +sigma] + E[r | -sigma] - 2 E[r], after Taleb & Douady, Mathematical
 * definition, mapping, and detection of (anti)fragility, 2013; estimated online. docs/antifragility.md */
#include "numeric.h"

#define ENOUGH 8.0     /* independent returns in each of the two tails */
#define STANDARD_ERRORS 2.0 /* a convexity of so many is a score of 0.71 */
#define TINY 1e-300

/* One return `r` of a second whose market moved by `move`; weight 0: none. No branch depends on them. */
static __attribute__((noinline)) void convexity_step(cwts_convexity *c, double r, double move, double threshold, double weight, double keep) {
    double up = (double)(move > threshold), down = (double)(move < -threshold);
    double in[4] = {weight * up, weight * down, weight * (1.0 - up - down), 0.0};
    double decay = 1.0 - weight * (1.0 - keep), total = TINY, value = 0.0, error = 0.0, known = 1.0;
    for (u32 i = 0; i < 4; i++) {
        c->count[i] = c->count[i] * decay + in[i];
        c->weight[i] = c->weight[i] * (decay * decay) + in[i];
        c->sum[i] = c->sum[i] * decay + in[i] * r;
        c->square[i] = c->square[i] * decay + in[i] * r * r;
        total += c->count[i];
    }
    for (u32 i = 0; i < 3; i++) {
        double n = c->count[i] + TINY, mean = c->sum[i] / n, variance = c->square[i] / n - mean * mean;
        double factor = (i < 2 ? 1.0 : 0.0) - 2.0 * c->count[i] / total; /* E[r] is made of the three */
        variance = variance > 0.0 ? variance : 0.0;
        value += factor * mean;
        error += factor * factor * variance * (c->weight[i] / n) / n;
        known *= i < 2 ? (double)(c->count[i] * c->count[i] >= ENOUGH * c->weight[i]) * (double)(c->count[i] > 0.0) : 1.0;
    }
    c->value = value;
    c->error = error;
    c->known = known;
    c->score = known * value / square_root(value * value + STANDARD_ERRORS * STANDARD_ERRORS * error + TINY);
}

static void antifragility_second(cwts_block *k) {
    cwts_antifragility *a = &k->antifragility;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    const float *parameter = k->config.parameter;
    double keep = 1.0 - 1.0 / (double)parameter[CWTS_P_ANTIFRAGILITY_MEMORY_S];
    i64 position = k->account.position_e8, lot_e8 = k->config.lot_size * k->header.unit_e8, equity = k->account.equity_e8;
    u32 held = k->header.unit_e8 > 0 && (position >= lot_e8 || position <= -lot_e8); /* fee dust is no position */
    u32 known = bar->known && a->sigma > 0.0, traded = held | a->held | (a->fills != k->account.fills);
    double threshold = (double)parameter[CWTS_P_ANTIFRAGILITY_SIGMA] * a->sigma;
    double capital = k->config.capital_e8 > 0 ? (double)k->config.capital_e8 : 1.0;
    convexity_step(&a->strategy, ((double)equity - (double)a->equity_e8) / capital, bar->change, threshold, (double)(known & traded), keep);
    convexity_step(&a->market, bar->change, a->move, a->threshold, (double)(known & a->valid & (bar->second == a->second + 1)), keep);
    a->sigma = bars_volatility(&k->bars, (double)parameter[CWTS_P_ANTIFRAGILITY_HORIZON_S]);
    a->move = bar->change;
    a->threshold = threshold;
    a->equity_e8 = equity;
    a->second = bar->second;
    a->valid = known;
    a->held = held;
    a->fills = k->account.fills;
    const cwts_convexity *c = held ? &a->strategy : &a->market;
    double shown = bar->synced ? c->known : 0.0;
    k->signals.value[CWTS_S_CONVEXITY] = (float)clamp(shown * c->value * 1e4, -1e30, 1e30);
    k->signals.value[CWTS_S_ANTIFRAGILITY] = (float)(shown * c->score);
}
