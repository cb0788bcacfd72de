/* whale.c: follow the whales, as a cuckoo looks for nests. Clusters of trades larger than nearly all of this instrument's own, large
 * levels that stay (nests), levels that trade more than they show (icebergs); what is pulled when the price comes near is
 * discounted. A whale that takes little by little is one whose clusters, none of them large enough, are larger than usual one after
 * the other: a cumulative sum (Page 1954) of their surprise, -ln of the share of clusters as large (Fisher 1925). Quantiles are read
 * from log-linear histograms whose newer entries weigh more (forward decay: Cormode, Shkapenyuk, Srivastava, Xu 2009). Icebergs after
 * Hautsch & Huang 2012 and Frey & Sandås 2009. docs/whale.md. */
#include "numeric.h"

#define MOST_LIMITS 10.0      /* no cluster and no nest counts for more */
#define JUDGE_NS 500000000    /* how long trades may come after the change of the book that they made */
#define LEAST_LEVELS 1000     /* sizes of levels without which there are no nests */
#define SURE_BEYOND 5.0       /* as many clusters expected beyond the quantile make it known for sure */
#define TRUST 5.0             /* limits' worth of nests that stood, granted to each side before anything is known */
#define MOST_SURPRISE 3.5     /* nats; one cluster alone, however large, is not a patient whale */
#define NAT 256.0             /* steps of a peak to the nat */
#define LN2 0.69314718055994531
#define HOLD 0.5              /* a nest ends below this share of the limit */

static inline double whale_parameter(const cwts_block *k, u32 name) { return (double)k->config.parameter[name]; }
static inline i64 whale_ns(const cwts_block *k, u32 name, double unit) { return (i64)(whale_parameter(k, name) * unit); }

/* ---- sizes -------------------------------------------------------------------------------------------------------- */

static inline u32 size_bin(double size) {
    if (!(size >= 1.0)) return 0;
    i64 bin = bin_of(size);
    return bin < CWTS_SIZE_BINS ? (u32)bin : CWTS_SIZE_BINS - 1;
}

/* What is added from now on weighs more than what was added before, instead of everything before being made lighter. */
static void sizes_age(cwts_sizes *h, double memory) {
    h->weight = h->weight > 0.0 ? h->weight * (1.0 + 1.0 / memory) : 1.0;
    if (LIKELY(h->weight < 1e100)) return;
    double over = 1.0 / h->weight;
    h->weight = 1.0;
    h->total = h->below = 0.0;
    for (u32 i = 0; i < CWTS_SIZE_BINS; i++) {
        h->mass[i] *= over;
        h->total += h->mass[i];
        if (i < h->bin) h->below += h->mass[i];
    }
}

static inline void sizes_add(cwts_sizes *h, double size) {
    u32 bin = size_bin(size);
    h->mass[bin] += h->weight;
    h->total += h->weight;
    h->below += bin < h->bin ? h->weight : 0.0;
    h->count++;
}

/* Walks from where the quantile was to where it is: the first bin up to whose end the wanted share lies. */
static void sizes_find(cwts_sizes *h, double share) {
    double want = share * h->total;
    while (h->bin > 0 && h->below >= want) h->below -= h->mass[--h->bin];
    while (h->bin < CWTS_SIZE_BINS - 1 && h->below + h->mass[h->bin] < want) h->below += h->mass[h->bin++];
    double low = bin_edge((i64)h->bin), high = bin_edge((i64)h->bin + 1), mass = h->mass[h->bin];
    h->limit = mass > 0.0 ? low + (high - low) * clamp((want - h->below) / mass, 0.0, 1.0) : low;
}

/* -ln of the share of sizes that are as large, by bins: one nat on average, whatever the sizes. Those of the smaller half get what such
 * get on average: nobody walks that far for them. */
static double sizes_surprise(const cwts_sizes *h, double size) {
    u64 bin = size_bin(size), at = h->bin;
    double tail = h->total - h->below, half = 0.5 * h->total, least = 1e-3 * h->total; /* least: beyond MOST_SURPRISE */
    while (at > bin && tail < half) tail += h->mass[--at];
    while (at < bin && tail > least) tail -= h->mass[at++];
    if (tail >= half) return 1.0 - LN2;
    return clamp(-logarithm((tail > least ? tail : least) / h->total), 0.0, MOST_SURPRISE);
}

/* ---- time and signals --------------------------------------------------------------------------------------------- */

static inline i64 whale_time(cwts_whale *w, i64 now) { return w->time_ns = max64(w->time_ns, now); }

static void whale_decay(cwts_block *k) {
    cwts_whale *w = &k->whale;
    i64 dt = w->decayed_ns ? w->time_ns - w->decayed_ns : 0;
    w->decayed_ns = w->time_ns;
    if (dt <= 0) return;
    double flow = exponential((double)-dt / (whale_parameter(k, CWTS_P_WHALE_DECAY_S) * 1e9));
    double pull = exponential((double)-dt / (whale_parameter(k, CWTS_P_WHALE_PULL_S) * 1e9));
    for (u32 side = 0; side < 2; side++) {
        w->side[side].flow *= flow;
        w->side[side].pulled *= pull;
        w->side[side].stood *= pull;
    }
}

static void whale_signals(cwts_block *k) {
    const cwts_whale *w = &k->whale;
    float *signal = k->signals.value, strongest[2] = {0.0f, 0.0f};
    double weight = whale_parameter(k, CWTS_P_WHALE_NEST_WEIGHT), nests[2] = {0.0, 0.0};
    for (u32 side = 0; side < 2; side++)
        for (u32 i = 0; i < CWTS_NESTS; i++) {
            float strength = w->side[side].nest[i].strength;
            nests[side] += weight * (double)strength;
            strongest[side] = strength > strongest[side] ? strength : strongest[side];
        }
    double bought = w->side[CWTS_BID].flow, sold = w->side[CWTS_ASK].flow;
    double buys = bought + nests[CWTS_BID], sells = sold + nests[CWTS_ASK], both = buys + sells;
    double known = clamp((double)w->clusters.count * (1.0 - whale_parameter(k, CWTS_P_WHALE_QUANTILE)) / SURE_BEYOND, 0.0, 1.0);
    double evidence = known * (bought + sold) + nests[CWTS_BID] + nests[CWTS_ASK];
    signal[CWTS_S_WHALE_PRESSURE] = (float)hyperbolic_tangent((buys - sells) / whale_parameter(k, CWTS_P_WHALE_SCALE));
    signal[CWTS_S_WHALE_CONFIDENCE] = both > 0.0 ? (float)(absolute(buys - sells) / both * (1.0 - exponential(-evidence))) : 0.0f;
    signal[CWTS_S_NEST_BID] = strongest[CWTS_BID];
    signal[CWTS_S_NEST_ASK] = strongest[CWTS_ASK];
}

/* ---- whales that take --------------------------------------------------------------------------------------------- */

static inline double whale_notional(const cwts_block *k, i64 price, double qty) {
    return k->config.contract == CWTS_INVERSE ? qty : qty * (double)price; /* inverse: a contract is worth what it is worth */
}

static void excursion_end(cwts_block *k, cwts_excursion *e) {
    cwts_sizes *peaks = &k->whale.peaks;
    sizes_age(peaks, whale_parameter(k, CWTS_P_WHALE_MEMORY));
    sizes_add(peaks, e->peak * NAT);
    sizes_find(peaks, whale_parameter(k, CWTS_P_WHALE_QUANTILE));
    if ((double)peaks->count < whale_parameter(k, CWTS_P_WHALE_LEAST)) peaks->limit = 0.0;
    *e = (cwts_excursion){0};
}

static inline int excursion_is_over(const cwts_block *k, const cwts_excursion *e, i64 now) {
    return e->clusters && now - e->last_ns > whale_ns(k, CWTS_P_WHALE_PATIENT_S, 1e9);
}

/* A cluster has ended: its side takes more than usual, or not. Only a new peak counts: what comes after the highest is no longer the
 * whale's. What a cluster has told the pressure by itself is not told again. */
static void excursion_cluster(cwts_block *k, const cwts_cluster *c) {
    cwts_whale *w = &k->whale;
    u32 side = c->aggressor > 0 ? CWTS_BID : CWTS_ASK;
    cwts_excursion *e = &w->excursion[side];
    if (w->clusters.limit <= 0.0) return;
    if (excursion_is_over(k, e, c->first_ns)) excursion_end(k, e);
    if (!e->clusters++) e->first_ns = c->first_ns;
    e->last_ns = c->last_ns;
    e->size += c->counted > 0.0 ? 0.0 : c->size;
    e->score += sizes_surprise(&w->clusters, c->size) - whale_parameter(k, CWTS_P_WHALE_USUAL);
    double limit = w->peaks.limit / NAT;
    if (e->score <= 0.0 || (limit > 0.0 && e->score < e->peak - limit)) {
        excursion_end(k, e);
        return;
    }
    if (e->score <= e->peak) return;
    e->peak = e->score;
    double counts = e->size / w->clusters.limit;
    if (limit <= 0.0 || e->peak <= limit || counts <= 1.0 || counts <= e->counted) return;
    whale_decay(k);
    w->patient += e->counted <= 0.0;
    w->side[side].flow += clamp(counts - e->counted, 0.0, MOST_LIMITS);
    e->counted = counts;
    whale_signals(k);
}

static void cluster_close(cwts_block *k, cwts_cluster *c) {
    cwts_whale *w = &k->whale;
    if (!c->prints) return;
    if (c->counted > 0.0) w->whale[w->whales++ & (CWTS_WHALES - 1)] = *c;
    excursion_cluster(k, c);
    sizes_age(&w->clusters, whale_parameter(k, CWTS_P_WHALE_MEMORY));
    sizes_add(&w->clusters, c->size);
    sizes_find(&w->clusters, whale_parameter(k, CWTS_P_WHALE_QUANTILE));
    if ((double)w->clusters.count < whale_parameter(k, CWTS_P_WHALE_LEAST)) w->clusters.limit = 0.0;
    *c = (cwts_cluster){0};
}

/* A side's cluster goes on through trades of the other side: small ones come all the time, and would hide an order that is
 * split. Prints of one order have one exchange time, however late they come. */
static int cluster_goes_on(const cwts_block *k, const cwts_cluster *c, i64 now, i64 exchange_ns) {
    if (now - c->first_ns > whale_ns(k, CWTS_P_WHALE_CLUSTER_S, 1e9)) return 0;
    return now - c->last_ns <= whale_ns(k, CWTS_P_WHALE_GAP_MS, 1e6) || (exchange_ns && exchange_ns == c->exchange_ns);
}

static void cluster_trade(cwts_block *k, const cwts_trade *t, i64 now) {
    cwts_whale *w = &k->whale;
    u32 side = t->aggressor > 0 ? CWTS_BID : CWTS_ASK;
    cwts_cluster *c = &w->open[side];
    if (!cluster_goes_on(k, c, now, t->exchange_ns)) cluster_close(k, c);
    if (!c->prints) *c = (cwts_cluster){.first_ns = now, .limit = w->clusters.limit, .aggressor = t->aggressor > 0 ? 1 : -1};
    c->last_ns = now;
    c->exchange_ns = t->exchange_ns;
    c->price = t->price;
    c->size += whale_notional(k, t->price, (double)t->qty);
    c->prints += c->prints != UINT32_MAX;
    if (c->limit <= 0.0 || c->size <= c->limit) return;
    double counts = c->size < c->limit * MOST_LIMITS ? c->size / c->limit : MOST_LIMITS;
    whale_decay(k);
    w->side[side].flow += counts - c->counted;
    c->counted = counts;
    whale_signals(k);
}

/* ---- nests -------------------------------------------------------------------------------------------------------- */

/* What the book shows at a price; -1: too far away to be looked up. */
static inline i64 whale_shown(const cwts_side_book *b, u32 side, i64 price) {
    i64 key = price_of(side, price);
    if ((u64)key - (u64)b->base < CWTS_WINDOW) return b->qty[(u32)key & WINDOW_MASK];
    for (u32 i = 0; i < b->top_count; i++)
        if (b->top[i].price == price) return b->top[i].qty;
    return -1;
}

static inline cwts_place *whale_place(cwts_whale_side *s, i64 price) {
    return &s->place[((u64)price * 0x9E3779B97F4A7C15ULL) >> (64 - 6)];
}
_Static_assert(CWTS_PLACES == 1 << 6, "whale_place makes 6 bits");

static cwts_nest *nest_at(cwts_whale_side *s, i64 price) {
    for (u32 i = 0; i < CWTS_NESTS; i++)
        if (s->nest[i].price == price) return &s->nest[i];
    return 0;
}

/* A free slot, or the smallest, where that is smaller than `qty`. */
static cwts_nest *nest_slot(cwts_whale_side *s, i64 qty) {
    cwts_nest *least = 0;
    for (u32 i = 0; i < CWTS_NESTS; i++) {
        cwts_nest *n = &s->nest[i];
        if (!n->price) return n;
        if (n->qty < qty) {
            qty = n->qty;
            least = n;
        }
    }
    return least;
}

/* The nest is over; that it was pulled before is remembered as long as no other needs the slot. */
static void nest_end(cwts_nest *n) { *n = (cwts_nest){.price = n->pulled ? n->price : 0, .pulled = n->pulled}; }

static void nest_begin(cwts_nest *n, i64 price, i64 qty, i64 now) {
    u32 pulled = n->price == price ? n->pulled : 0;
    *n = (cwts_nest){.price = price, .qty = qty, .most = qty, .since_ns = now, .pulled = pulled};
}

static void whale_forget(cwts_block *k) {
    cwts_whale *w = &k->whale;
    w->synced_ns = 0;
    for (u32 side = 0; side < 2; side++) {
        cwts_whale_side *s = &w->side[side];
        __builtin_memset(s->nest, 0, sizeof s->nest);
        __builtin_memset(s->place, 0, sizeof s->place);
        __builtin_memset(s->before, 0, sizeof s->before);
        s->before_count = 0;
    }
}

/* A trade at a resting level: what nests lose by it is no pulling, and what trades beyond all that was shown is an iceberg. */
static void nest_trade(cwts_block *k, const cwts_trade *t, i64 now) {
    cwts_whale *w = &k->whale;
    u32 side = t->aggressor > 0 ? CWTS_ASK : CWTS_BID;
    cwts_whale_side *s = &w->side[side];
    const cwts_side_book *b = &k->side[side];
    cwts_place *p = whale_place(s, t->price), *other = whale_place(&w->side[1 - side], t->price);
    if (other->price == t->price) *other = (cwts_place){0}; /* the price has changed sides */
    if (p->price != t->price || now - p->last_ns > whale_ns(k, CWTS_P_WHALE_ICEBERG_S, 1e9)) *p = (cwts_place){.price = t->price};
    i64 shown = whale_shown(b, side, t->price);
    p->shown = max64(p->shown, shown);
    for (u32 i = 0; i < s->before_count && i < CWTS_TOP; i++)
        if (s->before[i].price == t->price) p->shown = max64(p->shown, s->before[i].qty);
    p->last_ns = now;
    p->traded += (double)t->qty;
    cwts_nest *n = nest_at(s, t->price);
    if (n) n->traded += (double)t->qty;
    if (shown <= 0 || w->clusters.limit <= 0.0 || whale_notional(k, t->price, p->traded) < w->clusters.limit) return;
    if (p->traded <= whale_parameter(k, CWTS_P_WHALE_ICEBERG_RATIO) * (double)p->shown) return;
    if (!n || n->qty == 0) {
        if (!n) n = nest_slot(s, INT64_MAX);
        if (!n || (n->price != t->price && n->kind & CWTS_NEST_ICEBERG)) return;
        nest_begin(n, t->price, shown, now);
        n->most = p->shown;
    }
    n->kind |= CWTS_NEST_ICEBERG;
}

/* A nest that has been missing for long enough: eaten, pulled, or withdrawn while the price was far. */
static void nest_judge(cwts_whale_side *s, cwts_nest *n, double limit) {
    double weight = limit > 0.0 ? clamp((double)n->qty / limit, 0.0, MOST_LIMITS) : 0.0;
    if (n->traded - n->before >= 0.5 * (double)n->qty) {
        s->stood += weight;
        n->pulled = 0;
    } else if (n->kind & CWTS_NEST_NEAR) {
        s->pulled += weight;
        n->pulled += n->pulled < 30;
    }
    nest_end(n);
}

static void nest_look(cwts_block *k, cwts_whale_side *s, u32 side, cwts_nest *n, i64 now) {
    const cwts_side_book *b = &k->side[side];
    double limit = k->whale.levels.limit;
    i64 shown = whale_shown(b, side, n->price), touch = k->sync.touch[side].price;
    if (n->qty == 0) return;
    if (shown < 0) {
        *n = (cwts_nest){0};
        return;
    }
    double distance = side == CWTS_BID ? (double)(touch - n->price) : (double)(n->price - touch);
    u32 near = touch > 0 && distance <= whale_parameter(k, CWTS_P_WHALE_NEAR_TICKS) * (double)k->config.tick_size;
    const cwts_place *p = whale_place(s, n->price);
    int ice = n->kind & CWTS_NEST_ICEBERG && p->price == n->price && now - p->last_ns <= whale_ns(k, CWTS_P_WHALE_ICEBERG_S, 1e9);
    int large = limit > 0.0 && (double)shown >= HOLD * limit;
    n->kind &= ~(u32)(CWTS_NEST_AWAY | (ice ? 0 : CWTS_NEST_ICEBERG));
    n->strength = 0.0f;
    if (!large && !(ice && shown > 0)) {
        if (!(n->kind & (CWTS_NEST_RESTING | CWTS_NEST_ICEBERG))) {
            nest_end(n);
            return;
        }
        n->kind |= near ? CWTS_NEST_NEAR : 0;
        if (!n->gone_ns) n->gone_ns = max64(now, 1);
        else if (now - n->gone_ns >= JUDGE_NS) nest_judge(s, n, limit);
        return;
    }
    n->gone_ns = 0;
    n->qty = shown;
    n->most = max64(n->most, shown);
    n->before = n->recent; /* a book that is late may show what is already eaten */
    n->recent = n->traded;
    int counted = (n->kind & (CWTS_NEST_RESTING | CWTS_NEST_ICEBERG)) != 0;
    if (counted && n->kind & CWTS_NEST_NEAR && !near && limit > 0.0) s->stood += clamp((double)shown / limit, 0.0, MOST_LIMITS);
    n->kind &= ~(u32)(CWTS_NEST_NEAR | CWTS_NEST_RESTING);
    n->kind |= near ? CWTS_NEST_NEAR : 0;
    n->kind |= large && now - n->since_ns >= whale_ns(k, CWTS_P_WHALE_PERSIST_S, 1e9) ? CWTS_NEST_RESTING : 0;
    n->kind |= b->top_count == CWTS_TOP && price_of(side, n->price) < price_of(side, b->top[CWTS_TOP - 1].price) ? CWTS_NEST_AWAY : 0;
    if (n->kind & CWTS_NEST_AWAY) return;
    double strength = n->kind & CWTS_NEST_RESTING ? (double)shown / limit : 0.0;
    if (ice && k->whale.clusters.limit > 0.0) {
        double absorbed = whale_notional(k, n->price, p->traded) / k->whale.clusters.limit;
        strength = absorbed > strength ? absorbed : strength;
    }
    double honest = 1.0 - s->pulled / (TRUST + s->pulled + s->stood);
    n->strength = (float)(clamp(strength, 0.0, MOST_LIMITS) * honest / (double)(1U << n->pulled));
}

static void whale_look(cwts_block *k, u32 side, i64 now) {
    cwts_whale_side *s = &k->whale.side[side];
    const cwts_side_book *b = &k->side[side];
    for (u32 i = 0; i < CWTS_NESTS; i++)
        if (s->nest[i].price) nest_look(k, s, side, &s->nest[i], now);
    i64 limit = (i64)clamp(k->whale.levels.limit, 0.0, 9e18);
    u32 large = 0;
    for (u32 i = 0; i < CWTS_TOP; i++) large |= (u32)(b->top[i].qty > limit) << i;
    for (large = limit > 0 ? large : 0; large; large &= large - 1) {
        u32 i = (u32)lowest_bit(large);
        if (!b->top[i].price) continue;
        cwts_nest *n = nest_at(s, b->top[i].price);
        if (n && n->qty) continue;
        if (!n) n = nest_slot(s, b->top[i].qty);
        if (n) nest_begin(n, b->top[i].price, b->top[i].qty, now);
    }
    __builtin_memcpy(s->before, b->top, sizeof s->before);
    s->before_count = b->top_count;
}

/* ---- when it is called -------------------------------------------------------------------------------------------- */

static void whale_second(cwts_block *k) {
    cwts_whale *w = &k->whale;
    i64 now = whale_time(w, k->header.now_ns);
    for (u32 side = 0; side < 2; side++) {
        if (!cluster_goes_on(k, &w->open[side], now, 0)) cluster_close(k, &w->open[side]);
        if (excursion_is_over(k, &w->excursion[side], now)) excursion_end(k, &w->excursion[side]);
    }
    if (!k->sync.synced) {
        if (w->synced_ns) whale_forget(k);
    } else {
        sizes_age(&w->levels, whale_parameter(k, CWTS_P_WHALE_NEST_MEMORY_S));
        for (u32 side = 0; side < 2; side++)
            for (u32 i = 0; i < k->side[side].top_count; i++) sizes_add(&w->levels, (double)k->side[side].top[i].qty);
        sizes_find(&w->levels, whale_parameter(k, CWTS_P_WHALE_NEST_QUANTILE));
        if (w->levels.count < LEAST_LEVELS) w->levels.limit = 0.0;
    }
    whale_decay(k);
    whale_signals(k);
}

static void whale_trade(cwts_block *k, const cwts_trade *t) {
    i64 now = whale_time(&k->whale, t->recv_ns);
    cluster_trade(k, t, now);
    if (k->sync.synced && k->whale.synced_ns == k->sync.synced_ns) nest_trade(k, t, now);
}

/* After every depth message; it looks at the book only every whale.look_ms. */
static void whale_book(cwts_block *k, i64 now) {
    cwts_whale *w = &k->whale;
    now = whale_time(w, now);
    if (LIKELY(now - w->look_ns < whale_ns(k, CWTS_P_WHALE_LOOK_MS, 1e6) && w->synced_ns == k->sync.synced_ns)) return;
    w->look_ns = now;
    if (w->synced_ns != k->sync.synced_ns) {
        whale_forget(k);
        w->synced_ns = k->sync.synced_ns;
    }
    whale_decay(k);
    whale_look(k, CWTS_BID, now);
    whale_look(k, CWTS_ASK, now);
    whale_signals(k);
}
