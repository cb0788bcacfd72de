/* antifragility.c: convexity to volatility, E[r | +sigma] + E[r | -sigma] - 2 E[r], after Taleb & Douady, Mathematical
 * definition, mapping, and detection of (anti)fragility, 2013; estimated online. docs/antifragility.md */
#include "numeric.h"
#include "simd.h"

#define ENOUGH 8.0     /* independent returns in each of the two tails */
#define STANDARD_ERRORS 2.0 /* a convexity of so many is a score of 0.71 */
#define TINY 1e-300

/* 1 where `a` exceeds `b`, else 0, in four lanes without a branch. */
#define EXCEEDS(a, b) ((f64x4)((i64x4)((a) > (b)) & (i64x4)(f64x4){1.0, 1.0, 1.0, 1.0}))

static inline double sum3(const double *v) { return (v[0] + v[1]) + v[2]; }

/* One return `r` of a second whose market moved by `move`; weight 0: none. No branch in it depends on what it is given: the
 * lanes are moves above, moves below, the others. */
static __attribute__((noinline)) void convexity_step(cwts_convexity *c, double r, double move, double threshold, double weight, double keep) {
    f64x4 beyond = {move, -move, 0.0, 0.0}, least = {threshold, threshold, threshold, threshold}, zero = {0.0, 0.0, 0.0, 0.0};
    f64x4 count, weights, sum, square, enough, some, positive;
    beyond = EXCEEDS(beyond, least);
    beyond[2] = 1.0 - beyond[0] - beyond[1];
    f64x4 in = weight * beyond;
    double decay = 1.0 - weight * (1.0 - keep);
    __builtin_memcpy(&count, c->count, 32);
    __builtin_memcpy(&weights, c->weight, 32);
    __builtin_memcpy(&sum, c->sum, 32);
    __builtin_memcpy(&square, c->square, 32);
    count = count * decay + in;
    weights = weights * (decay * decay) + in;
    sum = sum * decay + in * r;
    square = square * decay + in * (r * r);
    __builtin_memcpy(c->count, &count, 32);
    __builtin_memcpy(c->weight, &weights, 32);
    __builtin_memcpy(c->sum, &sum, 32);
    __builtin_memcpy(c->square, &square, 32);
    double total = sum3(c->count) + TINY, average = sum3(c->sum) / total, within = sum3(c->weight) / total / total;
    f64x4 n = count + TINY, mean = sum / n, variance = square / n - mean * mean, share = count / total;
    positive = EXCEEDS(variance, zero);
    f64x4 factor = (f64x4){1.0, 1.0, 0.0, 0.0} - 2.0 * share; /* E[r] is made of the three groups' means */
    f64x4 value = factor * mean, off = mean - average;
    f64x4 error = factor * factor * (variance * positive) * (weights / n) / n + 4.0 * share * off * off * within; /* and of how many there are */
    enough = EXCEEDS(count * count, ENOUGH * weights);
    some = EXCEEDS(count, zero);
    c->value = (value[0] + value[1]) + value[2];
    c->error = (error[0] + error[1]) + error[2];
    c->known = (enough[0] * enough[1]) * (some[0] * some[1]);
    c->score = c->known * c->value / square_root(c->value * c->value + STANDARD_ERRORS * STANDARD_ERRORS * c->error + TINY);
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
