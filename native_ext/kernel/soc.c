/* soc.c: self-organised criticality. Is the market near an avalanche?
 *
 * Branching ratio: how many further events one event brings about, from counts alone: n = 1 - sqrt(mean / variance) in windows
 * that are long against the excitation (Hardiman & Bouchaud, Branching-ratio approximation for the self-exciting Hawkes process,
 * 2014). The variance is Allan's, half the mean square of the difference of neighbouring windows, so that a rate that drifts is
 * not taken for excitation.
 *
 * Avalanches: chains of events each of which follows the one before within a share of the usual interval; their size is their
 * number of events. Exponent of its power law by maximum likelihood, from the beginning that fits best by Kolmogorov and Smirnov
 * (Clauset, Shalizi & Newman, Power-law distributions in empirical data, 2009, eq. 3.7). At criticality it is 3/2. */
#include "numeric.h"

#define WINDOW_STEPS 8     /* steps in a window: consecutive windows overlap, which makes more of a sample */
#define WINDOW_LEVEL 3     /* 2^3 steps */
#define LEAST_WINDOWS 20   /* below that nothing is said */
#define MOST_STEPS 64      /* a longer time without steps is a silence: counting begins anew */
#define LEAST_AVALANCHES 50.0
#define CRITICAL_EXPONENT 1.5 /* of a critical branching process; from 3 on the mean square of sizes is finite: no avalanches */
#define TAME_EXPONENT 3.0

static u32 avalanche_bin(u64 size) {
    if (size < 8) return (u32)size;
    u32 octave = (u32)highest_bit(size), bin = 8 + (octave - 3) * 4 + (u32)(size >> (octave - 2) & 3);
    return bin < CWTS_SOC_BINS ? bin : CWTS_SOC_BINS - 1;
}

static u64 avalanche_edge(u32 bin) { return bin < 8 ? bin : (u64)(4 + (bin & 3)) << (bin / 4 - 1); }

static void soc_restart(cwts_soc *s) {
    s->marks = 0;
    s->step = 0;
    s->event_ns = 0;
    s->size = 0;
    s->restarts++;
}

/* The end of a step: a mark, and in each window length one more difference of two neighbouring windows. */
static void soc_mark(cwts_soc *s, double memory_steps) {
    s->mark[s->marks++ & (CWTS_SOC_MARKS - 1)] = s->events;
    if (s->marks < 2) return; /* the step before the first mark is not whole */
#define MARK(back) s->mark[(s->marks - 1 - (back)) & (CWTS_SOC_MARKS - 1)]
    double n = (double)++s->steps;
    s->mean += ((double)(MARK(0) - MARK(1)) - s->mean) / (n < memory_steps ? n : memory_steps);
    for (u32 i = 0; i < CWTS_SOC_LEVELS; i++) {
        u64 m = 1ULL << i;
        if (s->marks <= 2 * m) break;
        double difference = (double)(MARK(0) - MARK(m)) - (double)(MARK(m) - MARK(2 * m));
        double seen = (double)++s->samples[i];
        s->variance[i] += (0.5 * difference * difference - s->variance[i]) / (seen < memory_steps ? seen : memory_steps);
    }
#undef MARK
}

/* Closes the steps that end until `now`. */
static void soc_advance(cwts_block *k, i64 now) {
    cwts_soc *s = &k->soc;
    i64 step_ns = (i64)((double)k->config.parameter[CWTS_P_SOC_WINDOW_MS] * (1e6 / WINDOW_STEPS));
    if (UNLIKELY(s->step_ns != step_ns)) { /* other windows: what was counted says nothing about them */
        soc_restart(s);
        s->step_ns = step_ns;
        s->steps = 0;
        s->mean = 0.0;
        for (u32 i = 0; i < CWTS_SOC_LEVELS; i++) {
            s->samples[i] = 0;
            s->variance[i] = 0.0;
        }
    }
    i64 due = now / step_ns - s->step;
    if (s->step == 0 || due > MOST_STEPS) {
        if (s->step) soc_restart(s);
        s->step = now / step_ns;
        return;
    }
    double memory_steps = (double)k->config.parameter[CWTS_P_SOC_MEMORY_S] * 1e9 / (double)step_ns;
    memory_steps = memory_steps > 1.0 ? memory_steps : 1.0;
    for (; due > 0; due--, s->step++) soc_mark(s, memory_steps);
}

static void avalanche_over(cwts_soc *s, double sample) {
    u32 bin = avalanche_bin(s->size);
    if (s->weight == 0.0) {
        s->weight = 1.0;
        for (u32 i = 1; i < CWTS_SOC_BINS; i++) s->edge[i] = logarithm((double)avalanche_edge(i) - 0.5);
        for (u32 i = 0; i < CWTS_SOC_CANDIDATES; i++) s->distance[i] = 2.0;
    }
    s->avalanches++;
    s->count[bin] += s->weight;
    s->logs[bin] += s->weight * logarithm((double)s->size);
    s->weight *= 1.0 + 1.0 / sample;
    if (s->weight < 1e60) return;
    for (u32 i = 0; i < CWTS_SOC_BINS; i++) {
        s->count[i] *= 1e-60;
        s->logs[i] *= 1e-60;
    }
    s->weight *= 1e-60;
}

/* Trades of one order come one after the other with one exchange time: they are one event. */
static void soc_trade(cwts_block *k, const cwts_trade *t) {
    cwts_soc *s = &k->soc;
    int same = t->exchange_ns == s->order_ns && t->aggressor == s->order_aggressor;
    s->order_ns = t->exchange_ns;
    s->order_aggressor = t->aggressor;
    if (!k->sync.synced || same) return;
    soc_advance(k, t->recv_ns);
    s->events++;
    if (s->samples[WINDOW_LEVEL] >= LEAST_WINDOWS && s->mean > 0.0) {
        double gap = (double)k->config.parameter[CWTS_P_SOC_GAP] * (double)s->step_ns / s->mean;
        if (s->event_ns && (double)(t->recv_ns - s->event_ns) > gap) {
            if (s->size) avalanche_over(s, (double)k->config.parameter[CWTS_P_SOC_SAMPLE]);
            s->size = 0;
        }
        s->size++;
    }
    s->event_ns = max64(s->event_ns, t->recv_ns);
}

/* Fits the power law from one bin on. The beginnings take turns, one a second. */
static void avalanche_fit(cwts_soc *s, u32 first) {
    double n = 0.0, logs = 0.0;
    u32 last = CWTS_SOC_BINS - 1;
    while (last > first && s->count[last] == 0.0) last--;
    for (u32 i = last + 1; i-- > first;) {
        n += s->count[i];
        logs += s->logs[i];
    }
    s->distance[first] = 2.0;
    double excess = logs - n * s->edge[first];
    if (n < LEAST_AVALANCHES * s->weight || last == first || excess <= 0.0) return;
    double slope = n / excess, above = n, worst = 0.0; /* alpha - 1 */
    for (u32 i = first + 1; i <= last; i++) {
        above -= s->count[i - 1];
        double d = absolute(above / n - exponential(slope * (s->edge[first] - s->edge[i])));
        worst = d > worst ? d : worst;
    }
    s->distance[first] = worst;
    s->alpha[first] = 1.0 + slope;
}

static void soc_second(cwts_block *k) {
    cwts_soc *s = &k->soc;
    float *signal = k->signals.value;
    const cwts_bar *bar = bar_at(&k->bars, 0);
    if (!k->sync.synced) {
        if (s->step) soc_restart(s);
        signal[CWTS_S_CRITICALITY] = signal[CWTS_S_BRANCHING] = signal[CWTS_S_AVALANCHE] = 0.0f;
        return;
    }
    soc_advance(k, (bar->second + 1) * 1000000000);
    if (s->weight > 0.0) {
        avalanche_fit(s, s->candidate = s->candidate % (CWTS_SOC_CANDIDATES - 1) + 1);
        s->best = 0;
        s->exponent = 0.0;
        for (u32 i = 1; i < CWTS_SOC_CANDIDATES; i++)
            if (s->distance[i] < (s->best ? s->distance[s->best] : 2.0)) s->best = i;
        if (s->best) s->exponent = s->alpha[s->best];
    }
    for (u32 i = 0; i < CWTS_SOC_LEVELS; i++) {
        double mean = s->mean * (double)(1U << i);
        s->branching[i] = s->variance[i] > mean ? 1.0 - square_root(mean / s->variance[i]) : 0.0;
    }
    int known = s->samples[WINDOW_LEVEL] >= LEAST_WINDOWS * WINDOW_STEPS;
    double branching = known ? s->branching[WINDOW_LEVEL] : 0.0, heavy = 1.0;
    if (s->exponent > 0.0) heavy = clamp((TAME_EXPONENT - s->exponent) / (TAME_EXPONENT - CRITICAL_EXPONENT), 0.0, 1.0);
    signal[CWTS_S_BRANCHING] = (float)branching;
    signal[CWTS_S_AVALANCHE] = (float)s->exponent;
    signal[CWTS_S_CRITICALITY] = (float)(s->exponent > 0.0 ? square_root(branching * heavy) : branching);
}
