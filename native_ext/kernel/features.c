/* features.c: sixteen numbers that say what the market is doing now; defined one by one in docs/features.md. Sums are
 * decayed exponentially in the frames' own time, in double precision; the features themselves are float32. */
#include "simd.h"

typedef float f32x8 __attribute__((vector_size(32)));

#define TAU_1S 1e9
#define TAU_10S 1e10
#define TAU_60S 6e10
#define BASIS_POINTS 1e4

/* e^x for x <= 0 from basic operations, so that it gives the same bits everywhere; relative error below 1e-15.
 * x = n ln 2 + r with |r| <= ln 2 / 2, Taylor to the 13th term, then the exponent is put together as bits. */
static double exp_decay(double x) {
    if (!(x > -700.0)) return 0.0;
    double n = (double)(i64)(x * 1.4426950408889634 - 0.5);
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double sum = 1.0 / 6227020800.0;
    sum = sum * r + 1.0 / 479001600.0;
    sum = sum * r + 1.0 / 39916800.0;
    sum = sum * r + 1.0 / 3628800.0;
    sum = sum * r + 1.0 / 362880.0;
    sum = sum * r + 1.0 / 40320.0;
    sum = sum * r + 1.0 / 5040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    u64 bits = (u64)(1023 + (i64)n) << 52;
    double scale;
    __builtin_memcpy(&scale, &bits, 8);
    return sum * scale;
}

static inline double square_root(double v) { return __builtin_sqrt(v); }

/* Brings every decayed sum and mean from f->time_ns to now. */
static void features_decay(cwts_features *f, i64 now) {
    i64 dt = f->time_ns ? now - f->time_ns : 0;
    if (f->time_ns == 0 || dt > 0) f->time_ns = now;
    if (dt <= 0) return;
    double d1 = exp_decay((double)-dt / TAU_1S), d10 = exp_decay((double)-dt / TAU_10S), d60 = exp_decay((double)-dt / TAU_60S);
    f->flow_signed[0] *= d1;
    f->flow_signed[1] *= d10;
    f->flow_total[0] *= d1;
    f->flow_total[1] *= d10;
    f->flow_total[2] *= d60;
    f->ofi *= d1;
    f->trade_rate *= d10;
    f->update_rate *= d10;
    f->variance[0] *= d10;
    f->variance[1] *= d60;
    f->mid_mean[0] += (f->mid - f->mid_mean[0]) * (1.0 - d1);
    f->mid_mean[1] += (f->mid - f->mid_mean[1]) * (1.0 - d10);
    double touch = 0.5 * (double)(f->last[0].qty + f->last[1].qty);
    f->touch_depth += (touch - f->touch_depth) * (1.0 - d60);
}

static void features_trades(cwts_block *k, u64 before) {
    cwts_features *f = &k->features;
    for (u64 i = before; i < k->tape.count; i++) {
        const cwts_trade *t = &k->tape.ring[i & (CWTS_TRADES - 1)];
        double qty = (double)t->qty, aggressor = (double)t->aggressor;
        f->flow_signed[0] += aggressor * qty;
        f->flow_signed[1] += aggressor * qty;
        f->flow_total[0] += qty;
        f->flow_total[1] += qty;
        f->flow_total[2] += qty;
        f->trade_rate += 1.0;
    }
}

/* The touch may have changed: mid, micro-price, returns, order flow imbalance (Cont, Kukanov, Stoikov 2014, eq. 2). */
static void features_quote(cwts_block *k) {
    cwts_features *f = &k->features;
    cwts_level bid = k->sync.touch[CWTS_BID], ask = k->sync.touch[CWTS_ASK];
    if (bid.qty <= 0 || ask.qty <= 0 || bid.price >= ask.price) return;
    cwts_level bid0 = f->last[CWTS_BID], ask0 = f->last[CWTS_ASK];
    double mid = 0.5 * (double)(bid.price + ask.price);
    f->updates++;
    f->micro = (double)bid.price + (double)(ask.price - bid.price) * ((double)bid.qty / (double)(bid.qty + ask.qty));
    if (f->mid == 0.0) {
        f->mid_mean[0] = f->mid_mean[1] = mid;
        f->touch_depth = 0.5 * (double)(bid.qty + ask.qty);
    } else {
        i64 bought = (bid.price >= bid0.price ? bid.qty : 0) - (bid.price <= bid0.price ? bid0.qty : 0);
        i64 sold = (ask.price <= ask0.price ? ask.qty : 0) - (ask.price >= ask0.price ? ask0.qty : 0);
        double r = mid / f->mid - 1.0;
        f->variance[0] += r * r;
        f->variance[1] += r * r;
        f->ofi += (double)(bought - sold);
        f->update_rate += bid.price != bid0.price || ask.price != ask0.price || bid.qty != bid0.qty || ask.qty != ask0.qty;
    }
    f->mid = mid;
    f->last[CWTS_BID] = bid;
    f->last[CWTS_ASK] = ask;
}

static inline float ratio(double a, double b) { return b > 0.0 ? (float)(a / b) : 0.0f; }

/* Quantities in the best n levels of both sides, in one pass; lanes: 1, 5, 10, 20 levels. */
static void imbalances(const cwts_block *k, float *out, double *depth) {
    static const u32 until[4] = {1, 5, 10, 20};
    const cwts_level *bid = k->side[CWTS_BID].top, *ask = k->side[CWTS_ASK].top;
    i64 bids = 0, asks = 0;
    for (u32 i = 0, n = 0; n < 4; n++) {
        for (; i < until[n]; i++) {
            bids += bid[i].qty;
            asks += ask[i].qty;
        }
        out[n] = ratio((double)(bids - asks), (double)(bids + asks));
    }
    *depth = (double)(bids + asks);
}

static void features_values(cwts_block *k, i64 dt) {
    cwts_features *f = &k->features;
    float *v = f->value;
    double depth, tick = (double)k->config.tick_size;
    cwts_level bid = f->last[CWTS_BID], ask = f->last[CWTS_ASK];
    double spread = (double)(ask.price - bid.price);
    imbalances(k, &v[CWTS_F_IMBALANCE_1], &depth);
    v[CWTS_F_IMBALANCE_1] = ratio((double)(bid.qty - ask.qty), (double)(bid.qty + ask.qty)); /* the ticker may be newer */
    v[CWTS_F_SPREAD] = (float)(spread / tick);
    v[CWTS_F_MICRO] = (float)((f->micro - f->mid) / spread);
    v[CWTS_F_FLOW_1S] = ratio(f->flow_signed[0], f->flow_total[0] + f->flow_total[1] * 0.1);
    v[CWTS_F_FLOW_10S] = ratio(f->flow_signed[1], f->flow_total[1] + f->flow_total[2] * (1.0 / 6.0));
    v[CWTS_F_RETURN_1S] = (float)((f->mid / f->mid_mean[0] - 1.0) * BASIS_POINTS);
    v[CWTS_F_RETURN_10S] = (float)((f->mid / f->mid_mean[1] - 1.0) * BASIS_POINTS);
    v[CWTS_F_VOLATILITY_10S] = (float)(square_root(f->variance[0] * (1e9 / TAU_10S)) * BASIS_POINTS);
    v[CWTS_F_VOLATILITY_60S] = (float)(square_root(f->variance[1] * (1e9 / TAU_60S)) * BASIS_POINTS);
    v[CWTS_F_TRADE_RATE] = (float)(f->trade_rate * (1e9 / TAU_10S));
    v[CWTS_F_UPDATE_RATE] = (float)(f->update_rate * (1e9 / TAU_10S));
    v[CWTS_F_OFI_1S] = ratio(f->ofi, f->touch_depth);
    if (f->depth_mean == 0.0) f->depth_mean = depth;
    else if (dt > 0) f->depth_mean += (depth - f->depth_mean) * (1.0 - exp_decay((double)-dt / TAU_60S));
    v[CWTS_F_DEPTH] = f->depth_mean > 0.0 ? (float)(depth / f->depth_mean - 1.0) : 0.0f;
}

/* After every message that moved the market. `before`: the tape's count before it. */
static void features_update(cwts_block *k, i64 now, u64 before, u32 events) {
    cwts_features *f = &k->features;
    i64 dt = f->time_ns ? max64(now - f->time_ns, 0) : 0;
    features_decay(f, now);
    if (events & CWTS_EV_TRADE) features_trades(k, before);
    if (!k->sync.synced) return;
    if (events & (CWTS_EV_BOOK | CWTS_EV_TICKER)) features_quote(k);
    if (f->mid != 0.0) features_values(k, dt);
}

/* Weighted sum in eight lanes, then halves: the order of summation is the same on every target. */
static float features_score(const float *value, const float *weight) {
    f32x8 a, b, x, y;
    __builtin_memcpy(&a, value, 32);
    __builtin_memcpy(&b, value + 8, 32);
    __builtin_memcpy(&x, weight, 32);
    __builtin_memcpy(&y, weight + 8, 32);
    f32x8 sum = a * x + b * y;
    float s = ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    s = s > 1.0f ? 1.0f : s;
    return s < -1.0f ? -1.0f : s;
}
