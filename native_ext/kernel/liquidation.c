/* liquidation.c: where leverage would be liquidated. Every trade opens positions of its aggressor's side at its price; tiers of
 * leverage say where the exchange would close them by force. A position of quantity Q, entry p, leverage L and maintenance rate m,
 * isolated, is liquidated where margin + profit = maintenance (Binance, "How to Calculate Liquidation Price of USD(S)-M" and of
 * "COIN-M Futures Contracts", one position, without cumulative amounts):
 *     linear:   p/L + (x - p) = m x for a long,  x = p (1 - 1/L) / (1 - m);  short: x = p (1 + 1/L) / (1 + m)
 *     inverse:  1/(L p) + 1/p - 1/x = m/x,       x = p (1 + m) / (1 + 1/L);  short: x = p (1 - m) / (1 - 1/L)
 * A bracket with rate m allows leverage up to 1/(2m), so a tier's rate is at most 1/(2L). Levels are equal steps of the logarithm:
 * from entry to liquidation is a constant number of steps, and a trade costs one logarithm and an addition a tier. */
#include "numeric.h"

#define LADDER_STEP 0.0005      /* of ln(price): 5 basis points */
#define LADDER_DRIFT 64         /* levels that price may leave the middle before the ladder follows */
#define FORCED_REACH 4          /* levels around a forced order that are taken to be what was closed */
#define CLUSTER_GAP 4           /* light levels inside a cluster, side by side */
#define LONGS 0
#define SHORTS 1

static const double LEVERAGE[CWTS_TIERS] = {5.0, 10.0, 20.0, 25.0, 50.0, 75.0, 100.0};

static inline double ladder_logarithm(double price) { return logarithm(price) * (1.0 / LADDER_STEP); }

static inline i64 ladder_level(double v) { /* |v| < 100,000 */
    i64 n = (i64)v;
    return n - (v < (double)n);
}

static inline double *ladder_cell(cwts_liquidation *l, u32 side, i64 level) {
    return &l->mass[side * CWTS_LADDER + (u32)((u64)level & (CWTS_LADDER - 1))];
}

static inline int ladder_holds(const cwts_liquidation *l, i64 level) { return level >= l->base && level < l->base + CWTS_LADDER; }

/* What was predicted is compared with what is told, from the first forced order on. */
static inline void ladder_clear(cwts_liquidation *l, u32 side, i64 level) {
    double *mass = ladder_cell(l, side, level);
    if (l->count) l->predicted += *mass * l->scale;
    *mass = 0.0;
}

static double ratio_to_liquidation(u32 contract, u32 side, double leverage, double m) {
    double margin = 1.0 / leverage;
    m = m < 0.5 * margin ? m : 0.5 * margin;
    if (contract == CWTS_INVERSE) return side == LONGS ? (1.0 + m) / (1.0 + margin) : (1.0 - m) / (1.0 - margin);
    return side == LONGS ? (1.0 - margin) / (1.0 - m) : (1.0 + margin) / (1.0 + m);
}

/* Tiers as the parameters say now. */
static void ladder_tiers(cwts_block *k) {
    cwts_liquidation *l = &k->liquidation;
    const float *weight = &k->config.parameter[CWTS_P_LIQUIDATION_WEIGHT_5], m = k->config.parameter[CWTS_P_LIQUIDATION_MAINTENANCE];
    double sum = 0.0;
    for (u32 i = 0; i < CWTS_TIERS; i++) sum += (double)weight[i];
    for (u32 i = 0; i < CWTS_TIERS; i++) l->weight[i] = sum > 0.0 ? (double)weight[i] / sum : 0.0;
    if (l->ready && l->maintenance == m) return;
    l->maintenance = m;
    for (u32 side = LONGS; side <= SHORTS; side++)
        for (u32 i = 0; i < CWTS_TIERS; i++)
            l->offset[side * CWTS_TIERS + i] =
                ladder_logarithm(ratio_to_liquidation(k->config.contract, side, LEVERAGE[i], (double)m));
}

/* Price is at `level`: the ladder follows it, and what it has reached was liquidated. */
static void ladder_reach(cwts_liquidation *l, i64 level) {
    i64 base = level - CWTS_LADDER / 2, from = base, to = base + CWTS_LADDER;
    if (!l->ready) {
        l->bound[LONGS] = base;
        l->bound[SHORTS] = to - 1;
        l->scale = l->calibration = 1.0;
        l->base = base;
        l->ready = 1;
    } else if (base > l->base + LADDER_DRIFT || base < l->base - LADDER_DRIFT) {
        if (base > l->base) from = max64(base, l->base + CWTS_LADDER);
        else to = min64(to, l->base);
        l->base = base;
    } else {
        to = from;
    }
    for (i64 n = from; n < to; n++) { /* levels that are new: their cells held others, now out of reach */
        *ladder_cell(l, LONGS, n) = *ladder_cell(l, SHORTS, n) = 0.0;
        l->price[(u64)n & (CWTS_LADDER - 1)] = exponential(((double)n + 0.5) * LADDER_STEP);
    }
    l->bound[LONGS] = min64(max64(l->bound[LONGS], l->base), l->base + CWTS_LADDER);
    l->bound[SHORTS] = min64(max64(l->bound[SHORTS], l->base - 1), l->base + CWTS_LADDER - 1);
    for (; l->bound[LONGS] > level; l->bound[LONGS]--) ladder_clear(l, LONGS, l->bound[LONGS] - 1);
    for (; l->bound[SHORTS] < level; l->bound[SHORTS]++) ladder_clear(l, SHORTS, l->bound[SHORTS] + 1);
}

static void liquidation_trade(cwts_block *k, const cwts_trade *t) {
    cwts_liquidation *l = &k->liquidation;
    if (k->config.contract == CWTS_SPOT || t->price <= 0 || t->qty <= 0) return;
    if (UNLIKELY(!l->ready)) {
        ladder_tiers(k);
        l->second = k->bars.now.second - 1;
    }
    if (t->price != l->last_price) {
        l->last_price = t->price;
        l->last_level = ladder_logarithm((double)t->price);
    }
    ladder_reach(l, ladder_level(l->last_level));
    u32 side = t->aggressor > 0 ? LONGS : SHORTS;
    double qty = (double)t->qty / l->scale;
    for (u32 i = 0; i < CWTS_TIERS; i++) {
        i64 level = ladder_level(l->last_level + l->offset[side * CWTS_TIERS + i]);
        if (!ladder_holds(l, level)) continue;
        *ladder_cell(l, side, level) += qty * l->weight[i];
        if (side == LONGS) l->bound[LONGS] = max64(l->bound[LONGS], level + 1);
        else l->bound[SHORTS] = min64(l->bound[SHORTS], level - 1);
    }
}

/* Forced orders that are new: what stood near their price is what they closed. */
static void liquidation_forced(cwts_block *k) {
    cwts_liquidation *l = &k->liquidation;
    u64 from = l->count - l->handled > CWTS_FORCED_ORDERS ? l->count - CWTS_FORCED_ORDERS : l->handled;
    l->handled = l->count;
    if (!l->ready) return;
    for (u64 i = from; i < l->count; i++) {
        const cwts_forced *f = &l->forced[i & (CWTS_FORCED_ORDERS - 1)];
        u32 side = f->side == CWTS_ASK ? LONGS : SHORTS;
        double price = (double)f->price, m = (double)k->config.parameter[CWTS_P_LIQUIDATION_MAINTENANCE];
        if (f->bankruptcy) { /* the exchange steps in while the maintenance margin is still there */
            if (k->config.contract == CWTS_INVERSE) price *= side == LONGS ? 1.0 + m : 1.0 - m;
            else price /= side == LONGS ? 1.0 - m : 1.0 + m;
        }
        i64 level = ladder_level(ladder_logarithm(price));
        l->observed += (double)f->qty;
        for (i64 n = level - FORCED_REACH; n <= level + FORCED_REACH; n++)
            if (ladder_holds(l, n)) ladder_clear(l, side, n);
    }
}

static void ladder_decay(cwts_block *k, i64 second) {
    cwts_liquidation *l = &k->liquidation;
    i64 passed = second - l->second;
    if (passed <= 0) return;
    l->second = second;
    double left = exponential(-0.6931471805599453 * (double)passed / (double)k->config.parameter[CWTS_P_LIQUIDATION_HALF_LIFE_S]);
    l->scale *= left;
    l->observed *= left;
    l->predicted *= left;
    if (l->scale > 1e-3) return;
    for (u32 i = 0; i < CWTS_LADDER_CELLS; i++) l->mass[i] *= l->scale;
    l->scale = 1.0;
}

/* Sum of a side in eight lanes. */
static double ladder_sum(const double *mass) {
    double lane[8] = {0};
    for (u32 i = 0; i < CWTS_LADDER; i += 8)
        for (u32 j = 0; j < 8; j++) lane[j] += mass[i + j];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* The nearest run of heavy levels from `level` on, `count` of them at most: the distance of its heaviest level in basis points,
 * and its mass over the usual traded quantity a minute. */
static void ladder_cluster(cwts_block *k, u32 side, i64 level, i64 count, double mid, float *distance, float *size) {
    cwts_liquidation *l = &k->liquidation;
    i64 step = side == LONGS ? -1 : 1, heaviest, light = 0;
    *distance = *size = 0.0f;
    if (count <= 0) return;
    double heavy = ladder_sum(&l->mass[side * CWTS_LADDER]) / (double)count * (double)k->config.parameter[CWTS_P_LIQUIDATION_CLUSTER];
    if (heavy < 1.0 / l->scale) heavy = 1.0 / l->scale; /* less than a unit of quantity is none */
    while (count > 0 && !(*ladder_cell(l, side, level) > heavy)) level += step, count--;
    if (count == 0) return;
    double sum = 0.0, usual = k->bars.volume * 60.0;
    for (heaviest = level; count > 0 && light <= CLUSTER_GAP; level += step, count--) {
        double mass = *ladder_cell(l, side, level);
        light = mass > heavy ? 0 : light + 1;
        if (light) continue;
        sum += mass;
        if (mass > *ladder_cell(l, side, heaviest)) heaviest = level;
    }
    *distance = (float)(absolute(l->price[(u64)heaviest & (CWTS_LADDER - 1)] / mid - 1.0) * 1e4);
    if (usual > 0.0) *size = (float)clamp(sum * l->scale * l->calibration / usual, 0.0, 1e6);
}

static void liquidation_second(cwts_block *k) {
    cwts_liquidation *l = &k->liquidation;
    float *value = k->signals.value;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    if (!l->ready) return;
    ladder_decay(k, bar->second);
    ladder_tiers(k);
    double usual = k->bars.volume * 60.0;
    if (l->count) l->calibration = usual > 0.0 ? clamp((l->observed + usual) / (l->predicted + usual), 0.01, 100.0) : 1.0;
    value[CWTS_S_LIQUIDATION_UP] = value[CWTS_S_LIQUIDATION_UP_MASS] = 0.0f;
    value[CWTS_S_LIQUIDATION_DOWN] = value[CWTS_S_LIQUIDATION_DOWN_MASS] = 0.0f;
    if (!bar->synced) return;
    double mid = 0.5 * (double)bar->close;
    i64 level = ladder_level(ladder_logarithm(mid));
    ladder_reach(l, level);
    ladder_cluster(k, SHORTS, level + 1, l->base + CWTS_LADDER - 1 - level, mid, &value[CWTS_S_LIQUIDATION_UP], &value[CWTS_S_LIQUIDATION_UP_MASS]);
    ladder_cluster(k, LONGS, level - 1, level - l->base, mid, &value[CWTS_S_LIQUIDATION_DOWN], &value[CWTS_S_LIQUIDATION_DOWN_MASS]);
}
