/* swan.c: black swan. How likely is a move far outside the usual, and is the book emptying?
 *
 * Returns of one second over their decayed volatility go into a decayed histogram; what lies above a high quantile is the tail:
 * peaks over threshold with a generalised Pareto law (Balkema & de Haan 1974, Pickands 1975) fitted by probability-weighted
 * moments (Hosking & Wallis, Parameter and quantile estimation for the generalized Pareto distribution, 1987); Hill's index
 * beside it (Hill, A simple general approach to inference about the tail of a distribution, 1975). */
#include "numeric.h"

#define WARM_RETURNS 30       /* before them the volatility is not known */
#define LEAST_RETURNS 200     /* before them the tail is not */
#define VACUUM_BARS 3
#define Z_LEAST 0.015625      /* 2^-6: below it, one bin */
#define Z_MOST 63.9          /* more is taken as this: one wrong price must not be the tail for hours */
#define Z_FIRST (-6 * 8)      /* its bin */
#define PRIOR_SHAPE 0.2       /* what the shape is until the sample speaks, and how many exceedances that is worth */
#define PRIOR_WEIGHT 20.0

static u32 swan_bin(double z) { return (u32)(bin_of(z) - Z_FIRST); }

static double swan_edge(u32 bin) { return bin_edge((i64)bin + Z_FIRST); }

static void swan_sample(cwts_swan *s, double z, double memory) {
    z = clamp(z, Z_LEAST, Z_MOST);
    u32 bin = swan_bin(z);
    if (s->weight == 0.0) s->weight = 1.0;
    s->tails++;
    s->count[bin] += s->weight;
    s->sum[bin] += s->weight * z;
    s->logs[bin] += s->weight * logarithm(z);
    s->weight *= 1.0 + 1.0 / memory;
    if (s->weight < 1e60) return;
    for (u32 i = 0; i < CWTS_SWAN_BINS; i++) {
        s->count[i] *= 1e-60;
        s->sum[i] *= 1e-60;
        s->logs[i] *= 1e-60;
    }
    s->weight *= 1e-60;
}

/* Threshold, Hill's index and the generalised Pareto law of the sample; then the probability of one return above k. */
static void swan_fit(cwts_swan *s, double quantile, double k_sigma) {
    double total = 0.0, n = 0.0, sum = 0.0, ranked = 0.0, logs = 0.0; /* ranked: value times how many are above it */
    for (u32 i = 0; i < CWTS_SWAN_BINS; i++) total += s->count[i];
    u32 bin = CWTS_SWAN_BINS;
    while (bin > 1 && n < (1.0 - quantile) * total) {
        bin--;
        double width = swan_edge(bin + 1) - swan_edge(bin); /* a bin's values are taken as spread evenly */
        ranked += s->sum[bin] * (n + 0.5 * s->count[bin]) - s->count[bin] * s->count[bin] * width * (1.0 / 12.0);
        n += s->count[bin];
        sum += s->sum[bin];
        logs += s->logs[bin];
    }
    double u = swan_edge(bin), excess = logs - n * logarithm(u), peaks = n / s->weight;
    double a0 = sum / n - u, a1 = ranked / (n * n) - 0.5 * u, over = a0 - 2.0 * a1;
    s->threshold = u;
    s->share = n / total;
    s->hill = excess > 0.0 ? n / excess : 0.0;
    double shape = a0 > 0.0 && over > 0.0 ? clamp(2.0 - a0 / over, -0.5, 0.9) : PRIOR_SHAPE;
    s->shape = (shape * peaks + PRIOR_SHAPE * PRIOR_WEIGHT) / (peaks + PRIOR_WEIGHT);
    s->scale = a0 * (1.0 - s->shape); /* so that the mean excess is the sample's */
    if (a0 <= 0.0) {
        s->exceed = 0.0;
    } else if (k_sigma <= u) { /* inside the sample: count */
        double above = 0.0;
        u32 from = swan_bin(clamp(k_sigma, Z_LEAST, Z_MOST));
        for (u32 i = from; i < CWTS_SWAN_BINS; i++) above += s->count[i];
        s->exceed = above / total;
    } else {
        double y = (k_sigma - u) / s->scale, base = 1.0 + s->shape * y;
        double left = absolute(s->shape) < 1e-6 ? exponential(-y) : base > 0.0 ? power(base, -1.0 / s->shape) : 0.0;
        s->exceed = s->share * left;
    }
}

/* A bar with a valid book after another one: its return and what it says. */
static void swan_return(cwts_block *k, const cwts_bar *bar) {
    cwts_swan *s = &k->swan;
    const float *p = k->config.parameter;
    double seconds = (double)(s->empty + 1), square = bar->change * bar->change / seconds; /* a bar after empty ones spans them */
    double k_sigma = (double)p[CWTS_P_SWAN_K_SIGMA], tau = (double)p[CWTS_P_SWAN_VOLATILITY_S];
    s->empty = 0;
    s->returns++;
    if (s->returns > WARM_RETURNS) {
        s->z = square_root(square) / s->deviation;
        swan_sample(s, s->z, (double)p[CWTS_P_SWAN_MEMORY_S]);
        double most = k_sigma * k_sigma * s->deviation * s->deviation; /* one wrong price must not blind it for minutes */
        square = square < most ? square : most;
    }
    s->variance += (square - s->variance) / (tau < (double)s->returns ? tau : (double)s->returns);
}

/* The horizon's move against the volatility at its beginning: a fall that takes its time is one too. */
static double swan_move(const cwts_block *k, u64 horizon) {
    const cwts_swan *s = &k->swan;
    if (s->run <= horizon || s->returns <= WARM_RETURNS + horizon) return 0.0;
    const cwts_bar *then = bar_at(&k->bars, horizon);
    double deviation = (double)s->deviations[(k->bars.count - 1 - horizon) & (CWTS_BAR_RING - 1)];
    if (deviation <= 0.0 || then->close <= 0) return 0.0;
    double change = ((double)bar_at(&k->bars, 0)->close - (double)then->close) / (double)then->close;
    return absolute(change) / (deviation * square_root((double)horizon));
}

/* The share of its usual depth that the thinner side has lost, and not had back in any of the newest bars: large orders come and
 * go, so what is usual is a geometric mean, and one thin second is none. */
static double swan_vacuum(cwts_block *k, double horizon) {
    cwts_swan *s = &k->swan;
    double lost = 0.0, tau = horizon < (double)s->run ? horizon : (double)s->run;
    for (u32 side = 0; side < 2; side++) {
        double most = 1.0, newest = bar_at(&k->bars, 0)->depth[side];
        for (u64 back = 0; back < VACUUM_BARS && back < s->run; back++) {
            double depth = bar_at(&k->bars, back)->depth[side];
            most = depth > most ? depth : most;
        }
        double share = s->run > VACUUM_BARS ? 1.0 - most * exponential(-s->depth[side]) : 0.0;
        lost = share > lost ? share : lost;
        double level = logarithm(newest > 1.0 ? newest : 1.0);
        s->depth[side] = s->run == 1 ? level : s->depth[side] + (level - s->depth[side]) / tau;
    }
    return lost;
}

static void swan_second(cwts_block *k) {
    cwts_swan *s = &k->swan;
    float *signal = k->signals.value;
    const float *p = k->config.parameter;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    int follows = k->bars.count > 1 && bar_at(&k->bars, 1)->second + 1 == bar->second;
    if (!bar->synced) { /* nothing is known of the market; the alarm stays as it is */
        s->run = s->empty = 0;
        s->z = s->move = s->danger = 0.0;
        signal[CWTS_S_SWAN_PROBABILITY] = signal[CWTS_S_VACUUM] = 0.0f;
        return;
    }
    double horizon = (double)(u64)p[CWTS_P_SWAN_HORIZON_S];
    if (!follows) s->run = s->empty = 0;
    s->run++;
    s->z = 0.0;
    if (bar->updates == 0) s->empty++;
    else if (s->run > 1) swan_return(k, bar);
    double least = (double)k->config.tick_size / (double)bar->close, deviation = square_root(s->variance); /* close: twice the mid */
    s->deviation = deviation > least ? deviation : least;
    s->deviations[(k->bars.count - 1) & (CWTS_BAR_RING - 1)] = (float)s->deviation;
    s->move = swan_move(k, (u64)horizon);
    double vacuum = swan_vacuum(k, horizon), probability = 0.0;
    if (s->tails >= LEAST_RETURNS) {
        swan_fit(s, (double)p[CWTS_P_SWAN_QUANTILE], (double)p[CWTS_P_SWAN_K_SIGMA]);
        double none = 1.0 - s->exceed;
        probability = none > 0.0 ? 1.0 - power(none, horizon) : 1.0;
    }
    double measure[3] = {probability / (double)p[CWTS_P_SWAN_ON], vacuum / (double)p[CWTS_P_SWAN_VACUUM_ON],
                         (s->z > s->move ? s->z : s->move) / (double)p[CWTS_P_SWAN_K_SIGMA]};
    s->danger = 0.0;
    for (u32 i = 0; i < 3; i++) s->danger = measure[i] > s->danger ? measure[i] : s->danger;
    s->quiet = s->danger < (double)p[CWTS_P_SWAN_OFF] ? s->quiet + 1 : 0;
    if (s->danger >= 1.0) {
        s->alarms += !s->alarm;
        s->alarm = 1;
    } else if (s->quiet >= (u64)p[CWTS_P_SWAN_HOLD_S]) {
        s->alarm = 0;
    }
    signal[CWTS_S_SWAN_PROBABILITY] = (float)probability;
    signal[CWTS_S_SWAN_ALARM] = (float)s->alarm;
    signal[CWTS_S_VACUUM] = (float)vacuum;
}
