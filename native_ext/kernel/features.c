/* features.c: sixteen numbers that say what the market is doing now; defined one by one in docs/features.md. Sums are
 * decayed exponentially in the frames' own time, in double precision; the features themselves are float32. */
#include "numeric.h"
#include "simd.h"

#define TAU_1S 1e9
#define TAU_10S 1e10
#define TAU_60S 6e10
#define BASIS_POINTS 1e4

/* e^x for x <= 0 in four lanes, from basic operations, so that it gives the same bits everywhere; relative error below 1e-11.
 * x = n ln 2 + r with |r| <= ln 2 / 2; Taylor to the tenth term in Estrin's order; the exponent is put together as bits. */
static inline void exp_decay(f64x4 *exponent) {
    f64x4 x = *exponent;
    x = (f64x4)((i64x4)x & (i64x4)(x > -700.0)) + (f64x4)((i64x4)(f64x4){-700.0, -700.0, -700.0, -700.0} & ~(i64x4)(x > -700.0));
    f64x4 n = {0}, r = x;
    int near = (x[0] > -0.34) & (x[1] > -0.34) & (x[2] > -0.34) & (x[3] > -0.34);
    if (UNLIKELY(!near)) {
        for (int lane = 0; lane < 4; lane++) n[lane] = (double)(i64)(x[lane] * 1.4426950408889634 - 0.5);
        r = (x - n * LN2_HIGH) - n * LN2_LOW;
    }
    f64x4 r2 = r * r, r4 = r2 * r2;
    f64x4 a = 1.0 + r, b = 0.5 + r * (1.0 / 6.0), c = 1.0 / 24.0 + r * (1.0 / 120.0), d = 1.0 / 720.0 + r * (1.0 / 5040.0);
    f64x4 e = 1.0 / 40320.0 + r * (1.0 / 362880.0);
    f64x4 sum = (a + b * r2) + ((c + d * r2) + e * r4) * r4;
    if (UNLIKELY(!near))
        for (int lane = 0; lane < 4; lane++) {
            u64 bits = (u64)(1023 + (i64)n[lane]) << 52;
            double scale;
            __builtin_memcpy(&scale, &bits, 8);
            sum[lane] *= scale;
        }
    *exponent = sum;
}

/* Brings every decayed sum and mean from f->time_ns to now. */
static void features_decay(cwts_features *f, i64 now) {
    i64 dt = f->time_ns ? now - f->time_ns : 0;
    if (f->time_ns == 0 || dt > 0) f->time_ns = now;
    if (dt <= 0) return;
    f64x4 decay = (double)-dt * (f64x4){1.0 / TAU_1S, 1.0 / TAU_10S, 1.0 / TAU_60S, 0.0};
    exp_decay(&decay);
    double d1 = decay[0], d10 = decay[1], d60 = decay[2];
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
    f->touch_depth += (0.5 * ((double)f->last[0].qty + (double)f->last[1].qty) - f->touch_depth) * (1.0 - d60);
    f->depth_mean += (f->depth - f->depth_mean) * (1.0 - d60);
}

static void features_trades(cwts_block *k, u64 before) {
    cwts_features *f = &k->features;
    for (u64 i = trades_since(&k->tape, before); i < k->tape.count; i++) {
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
    double mid = 0.5 * ((double)bid.price + (double)ask.price), bid_qty = (double)bid.qty, ask_qty = (double)ask.qty;
    f->updates++;
    f->micro = (double)bid.price + (double)(ask.price - bid.price) * (bid_qty / (bid_qty + ask_qty));
    if (f->mid == 0.0) {
        f->mid_mean[0] = f->mid_mean[1] = mid;
        f->touch_depth = 0.5 * (bid_qty + ask_qty);
    } else {
        double bought = (bid.price >= bid0.price ? bid_qty : 0.0) - (bid.price <= bid0.price ? (double)bid0.qty : 0.0);
        double sold = (ask.price <= ask0.price ? ask_qty : 0.0) - (ask.price >= ask0.price ? (double)ask0.qty : 0.0);
        double r = mid / f->mid - 1.0;
        f->variance[0] += r * r;
        f->variance[1] += r * r;
        f->ofi += bought - sold;
        f->update_rate += bid.price != bid0.price || ask.price != ask0.price || bid.qty != bid0.qty || ask.qty != ask0.qty;
    }
    f->mid = mid;
    f->last[CWTS_BID] = bid;
    f->last[CWTS_ASK] = ask;
}

/* n / d, 0 where d is not positive: four features, by 16 bytes. */
static inline void features_divide(float *to, const f64x4 *over, const f64x4 *under) {
    f64x4 n = *over, d = *under;
    i64x4 positive = (i64x4)(d > 0.0);
    d = (f64x4)((positive & (i64x4)d) | (~positive & (i64x4)(f64x4){1.0, 1.0, 1.0, 1.0}));
    f32x4 value = __builtin_convertvector((f64x4)((i64x4)(n / d) & positive), f32x4);
    __builtin_memcpy(to, &value, 16);
}

/* Every feature is one number over another. The numbers meet in registers: a load of what was just stored in parts would wait. */
static void features_values(cwts_block *k) {
    cwts_features *f = &k->features;
    const cwts_level *bid = k->side[CWTS_BID].top, *ask = k->side[CWTS_ASK].top;
    cwts_level b = f->last[CWTS_BID], a = f->last[CWTS_ASK];
    double bids = 0.0, asks = 0.0; /* not integers: a sum of huge quantities must not wrap */
    double spread = (double)(a.price - b.price), bid_qty = (double)b.qty, ask_qty = (double)a.qty;
#define DEPTH(from, until)               \
    for (u32 i = from; i < until; i++) { \
        bids += (double)bid[i].qty;      \
        asks += (double)ask[i].qty;      \
    }
    DEPTH(0, 5);
    double less_5 = bids - asks, all_5 = bids + asks;
    DEPTH(5, 10);
    double less_10 = bids - asks, all_10 = bids + asks;
    DEPTH(10, 20);
#undef DEPTH
    f->depth = bids + asks;
    f->side_depth[CWTS_BID] = bids;
    f->side_depth[CWTS_ASK] = asks;
    if (f->depth_mean == 0.0) f->depth_mean = f->depth;
    double flow_1 = f->flow_total[0] + f->flow_total[1] * 0.1, flow_10 = f->flow_total[1] + f->flow_total[2] * (1.0 / 6.0);
    double return_1 = (f->mid - f->mid_mean[0]) * BASIS_POINTS, return_10 = (f->mid - f->mid_mean[1]) * BASIS_POINTS;
    double sigma_10 = square_root(f->variance[0] * (1e9 / TAU_10S)) * BASIS_POINTS;
    double sigma_60 = square_root(f->variance[1] * (1e9 / TAU_60S)) * BASIS_POINTS;
    _Static_assert(CWTS_F_SPREAD == 0 && CWTS_F_IMBALANCE_5 == 3 && CWTS_F_FLOW_1S == 6 && CWTS_F_RETURN_10S == 9, "the order below");
    _Static_assert(CWTS_F_VOLATILITY_10S == 10 && CWTS_F_TRADE_RATE == 12 && CWTS_F_DEPTH == 15, "the order below");
    features_divide(f->value, &(f64x4){spread, f->micro - f->mid, bid_qty - ask_qty, less_5},
                    &(f64x4){(double)k->config.tick_size, spread, bid_qty + ask_qty, all_5});
    features_divide(f->value + 4, &(f64x4){less_10, bids - asks, f->flow_signed[0], f->flow_signed[1]},
                    &(f64x4){all_10, f->depth, flow_1, flow_10});
    features_divide(f->value + 8, &(f64x4){return_1, return_10, sigma_10, sigma_60}, &(f64x4){f->mid_mean[0], f->mid_mean[1], 1.0, 1.0});
    features_divide(f->value + 12, &(f64x4){f->trade_rate, f->update_rate, f->ofi, f->depth - f->depth_mean},
                    &(f64x4){TAU_10S / 1e9, TAU_10S / 1e9, f->touch_depth, f->depth_mean});
}

/* After every message that moved the market. `before`: the tape's count before it. */
static void features_update(cwts_block *k, i64 now, u64 before, u32 events) {
    cwts_features *f = &k->features;
    features_decay(f, now);
    if (events & CWTS_EV_TRADE) features_trades(k, before);
    if (!k->sync.synced) return;
    if (events & (CWTS_EV_BOOK | CWTS_EV_TICKER)) features_quote(k);
    if (f->mid != 0.0) features_values(k);
}

/* Weighted sum of the features, by halves; loaded by fours, as they were stored. */
static float features_score(const float *value, const float *weight) {
    f32x4 v[4], w[4];
    __builtin_memcpy(v, value, sizeof v);
    __builtin_memcpy(w, weight, sizeof w);
    f32x4 s = (v[0] * w[0] + v[2] * w[2]) + (v[1] * w[1] + v[3] * w[3]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}
