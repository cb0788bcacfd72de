/* fibonacci.c: swings by a zigzag whose threshold follows volatility, and the retracements and extensions of the last
 * sixteen of them: 256 sorted levels, of which sixteen change when a leg's extreme moves. docs/fibonacci.md */
#include "numeric.h"

#define RATIOS (CWTS_FIBONACCI_LEVELS / CWTS_SWINGS)
#define RECENCY 0.9 /* a swing's weight over the next one's */

/* Of the way from the swing's end back to its begin; below 0 lies beyond the end, above 1 beyond the begin. */
static const double RATIO[RATIOS] = {-1.618, -1.0, -0.618, -0.272, 0.0, 0.236, 0.382, 0.5, 0.618, 0.786, 0.886, 1.0, 1.272, 1.618, 2.0, 2.618};

static inline cwts_pivot *pivot_at(cwts_fibonacci *f, u64 back) { return &f->pivot[(f->pivots - 1 - back) & (CWTS_SWINGS - 1)]; }

/* The current leg's levels replace those of its slot: the leg's own as it was, or the oldest swing's. */
static void fibonacci_levels(cwts_fibonacci *f) {
    u8 slot = (u8)(f->pivots & (CWTS_SWINGS - 1));
    u32 kept = 0;
    for (u32 i = 0; i < f->level_count; i++) {
        f->level[kept] = f->level[i];
        f->swing[kept] = f->swing[i];
        kept += f->swing[i] != slot;
    }
    double begin = (double)pivot_at(f, 0)->price, end = (double)f->extreme.price;
    u32 to = kept + RATIOS;
    f->level_count = to;
    for (u32 i = 0; i < RATIOS; i++) { /* the highest first, to the back */
        double level = end + RATIO[begin < end ? i : RATIOS - 1 - i] * (begin - end);
        while (kept > 0 && f->level[kept - 1] > level) {
            f->level[--to] = f->level[--kept];
            f->swing[to] = f->swing[kept];
        }
        f->level[--to] = level;
        f->swing[to] = slot;
    }
}

/* The leg has ended at its extreme; the next one has come as far as `price`. */
static void fibonacci_turn(cwts_fibonacci *f, i32 direction, cwts_pivot end, i64 price, i64 second) {
    f->pivot[f->pivots++ & (CWTS_SWINGS - 1)] = end;
    f->direction = direction;
    f->extreme = (cwts_pivot){price, second};
    fibonacci_levels(f);
}

/* How far the price must come back from `price`. */
static inline double reversal(double share, double least, i64 price) {
    double need = share * (double)price;
    return need > least ? need : least;
}

/* One bar of the zigzag. A bar that carries the extreme on can end the leg only by its close, which surely came later. */
static void fibonacci_zigzag(cwts_fibonacci *f, const cwts_bar *bar, double share, double least) {
    if (f->direction == 0) {
        if (f->high.price == 0) f->high = f->low = (cwts_pivot){bar->close, bar->second};
        if (bar->close > f->high.price) f->high = (cwts_pivot){bar->close, bar->second};
        if (bar->close < f->low.price) f->low = (cwts_pivot){bar->close, bar->second};
        if ((double)(f->high.price - bar->close) >= reversal(share, least, f->high.price)) {
            fibonacci_turn(f, -1, f->high, bar->close, bar->second);
        } else if ((double)(bar->close - f->low.price) >= reversal(share, least, f->low.price)) {
            fibonacci_turn(f, 1, f->low, bar->close, bar->second);
        }
        return;
    }
    i32 up = f->direction > 0;
    i64 far = up ? bar->high : bar->low, back = up ? bar->low : bar->high;
    if (up ? far > f->extreme.price : far < f->extreme.price) {
        f->extreme = (cwts_pivot){far, bar->second};
        fibonacci_levels(f);
        back = bar->close;
    }
    double turned = (double)(up ? f->extreme.price - back : back - f->extreme.price);
    if (turned >= reversal(share, least, f->extreme.price)) fibonacci_turn(f, -f->direction, f->extreme, back, bar->second);
}

static void fibonacci_second(cwts_block *k) {
    cwts_fibonacci *f = &k->fibonacci;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    const float *parameter = k->config.parameter;
    float *signal = k->signals.value;
    signal[CWTS_S_FIBONACCI] = signal[CWTS_S_CONFLUENCE] = 0.0f;
    if (!bar->synced) return;
    double horizon = (double)parameter[CWTS_P_FIBONACCI_HORIZON_S], least = 2.0 * (double)k->config.tick_size; /* one tick */
    double volatility = bars_volatility(&k->bars, horizon) * square_root(horizon), price = (double)bar->close;
    fibonacci_zigzag(f, bar, (double)parameter[CWTS_P_FIBONACCI_REVERSAL_SIGMA] * volatility, least);
    u32 n = f->level_count;
    if (n == 0) return;
    u32 above = 0; /* the first level at or above the price */
    for (u32 left = n; left > 0;) {
        u32 half = left / 2, lower = f->level[above + half] < price;
        above += lower ? half + 1 : 0;
        left = lower ? left - half - 1 : half;
    }
    u32 nearest = above;
    if (above == n || (above > 0 && price - f->level[above - 1] <= f->level[above] - price)) nearest = above - 1;
    double unit = volatility * price > least ? volatility * price : least, level = f->level[nearest];
    double room = (double)parameter[CWTS_P_FIBONACCI_TOLERANCE] * unit, agree = 0.0, all = 0.0, weight = 1.0;
    u32 near = 0;
    for (u32 i = nearest; i < n && f->level[i] - level <= room; i++) near |= 1u << f->swing[i];
    for (u32 i = nearest; i-- > 0 && level - f->level[i] <= room;) near |= 1u << f->swing[i];
    for (u32 age = 0; age < CWTS_SWINGS; age++) {
        agree += near >> ((f->pivots - age) & (CWTS_SWINGS - 1)) & 1 ? weight : 0.0;
        all += weight;
        weight *= RECENCY;
    }
    signal[CWTS_S_FIBONACCI] = (float)clamp((level - price) / unit, -1e6, 1e6);
    signal[CWTS_S_CONFLUENCE] = (float)(agree / all);
}
