/* network.c: three small networks over the features, one row at a time after each message and batched over many rows
 * (cwts_network_batch). 16 inputs, 8 hidden units with ReLU, 1 or 2 outputs; what they say is in docs/networks.md.
 *
 * Every sum is made by halves: the second half of its terms is added to the first, until one is left; the bias comes last. That
 * is the shortest way a row can take, and a batch and every target take the same, so they give the same bits. */
#include "numeric.h"
#include "simd.h"

#define NETWORK_LARGEST 1e6f       /* of any weight */
#define NETWORK_VALUE_LIMIT 1000.0f /* basis points */

#define LOAD4(p) (*(const f32x4_unaligned *)(const void *)(p))
#define TWICE(p) PAIR(LOAD4(p), LOAD4(p), 0, 1, 2, 3, 0, 1, 2, 3)
#define LOAD8(p) (*(const f32x8_unaligned *)(const void *)(p))
#define ALL8(v) ((f32x8){v, v, v, v, v, v, v, v})
#define PAIR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
typedef float f32x4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));
typedef float f32x8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));

/* a = a > b ? a : b, and a = a < b ? a : b: what is not a number becomes b. By address: compilers disagree on how to pass a vector
 * without AVX. */
#if defined(__AVX2__) || defined(CWTS_AVX2)
static inline void max8(f32x8 *a, const f32x8 *b) { *a = (f32x8)_mm256_max_ps((__m256)*a, (__m256)*b); }
static inline void min8(f32x8 *a, const f32x8 *b) { *a = (f32x8)_mm256_min_ps((__m256)*a, (__m256)*b); }
#elif defined(__SSE2__) || defined(__wasm_simd128__)
#if defined(__SSE2__)
#define MAX4(a, b) (f32x4)_mm_max_ps((__m128)(a), (__m128)(b))
#define MIN4(a, b) (f32x4)_mm_min_ps((__m128)(a), (__m128)(b))
#else
#define MAX4(a, b) (f32x4)wasm_f32x4_pmax((v128_t)(b), (v128_t)(a))
#define MIN4(a, b) (f32x4)wasm_f32x4_pmin((v128_t)(b), (v128_t)(a))
#endif
#define HALVES(f) PAIR(f(PAIR(*a, *a, 0, 1, 2, 3), PAIR(*b, *b, 0, 1, 2, 3)), f(PAIR(*a, *a, 4, 5, 6, 7), PAIR(*b, *b, 4, 5, 6, 7)), 0, 1, 2, 3, 4, 5, 6, 7)
static inline void max8(f32x8 *a, const f32x8 *b) { *a = HALVES(MAX4); }
static inline void min8(f32x8 *a, const f32x8 *b) { *a = HALVES(MIN4); }
#undef HALVES
#else
typedef i32 i32x8 __attribute__((vector_size(32)));
static inline void max8(f32x8 *a, const f32x8 *b) {
    i32x8 take = (i32x8)(*a > *b);
    *a = (f32x8)((take & (i32x8)*a) | (~take & (i32x8)*b));
}
static inline void min8(f32x8 *a, const f32x8 *b) {
    i32x8 take = (i32x8)(*a < *b);
    *a = (f32x8)((take & (i32x8)*a) | (~take & (i32x8)*b));
}
#endif

static inline void clamp8(f32x8 *v, float limit) {
    f32x8 high = ALL8(limit), low = -high;
    max8(v, &low);
    min8(v, &high);
}

/* The first layer's weights as network_row meets them: eight at a time, inputs 4 q to 4 q + 3 of hidden units j and j + 4. */
static void network_arrange(const cwts_network *n, cwts_network_lanes *lanes) {
    float *to = lanes->w1;
    for (u32 j = 0; j < 4; j++)
        for (u32 q = 0; q < 4; q++)
            for (u32 lane = 0; lane < 8; lane++)
                *to++ = n->w1[CWTS_HIDDEN * (4 * q + lane % 4) + j + lane / 4 * 4];
}

/* The sums by halves of four vectors. By address: compilers disagree on how to pass a vector without AVX. */
static inline f32x4 four_by_halves(const f32x8 *v) {
    f32x4 s[4];
    for (u32 i = 0; i < 4; i++) s[i] = PAIR(v[i], v[i], 0, 1, 2, 3) + PAIR(v[i], v[i], 4, 5, 6, 7);
    f32x4 a = PAIR(s[0], s[1], 0, 4, 1, 5) + PAIR(s[0], s[1], 2, 6, 3, 7);
    f32x4 b = PAIR(s[2], s[3], 0, 4, 1, 5) + PAIR(s[2], s[3], 2, 6, 3, 7);
    return PAIR(a, b, 0, 1, 4, 5) + PAIR(a, b, 2, 3, 6, 7);
}

/* The hidden layer of a row. */
static inline void network_hidden(const cwts_network *n, const cwts_network_lanes *lanes, const float *x, f32x8 *hidden) {
    f32x8 z[4], s[4], zero = {0};
    for (u32 q = 0; q < 4; q++) { /* by fours, as features.c stored them: a wider load would wait for the stores to reach the cache */
        z[q] = (TWICE(x + 4 * q) - TWICE(n->mean + 4 * q)) * TWICE(n->scale + 4 * q);
        clamp8(&z[q], n->limit);
    }
    for (u32 j = 0; j < 4; j++) {
        const float *w = lanes->w1 + 32 * j;
        s[j] = (z[0] * LOAD8(w) + z[2] * LOAD8(w + 16)) + (z[1] * LOAD8(w + 8) + z[3] * LOAD8(w + 24));
    }
    f32x8 a = PAIR(s[0], s[1], 0, 8, 1, 9, 4, 12, 5, 13) + PAIR(s[0], s[1], 2, 10, 3, 11, 6, 14, 7, 15);
    f32x8 b = PAIR(s[2], s[3], 0, 8, 1, 9, 4, 12, 5, 13) + PAIR(s[2], s[3], 2, 10, 3, 11, 6, 14, 7, 15);
    f32x8 h = (PAIR(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + PAIR(a, b, 2, 3, 10, 11, 6, 7, 14, 15)) + LOAD8(n->b1);
    max8(&h, &zero);
    *hidden = h;
}

/* One row, before the link. */
static inline void network_row(const cwts_network *n, const cwts_network_lanes *lanes, const float *x, float *out, u32 outputs) {
    f32x8 hidden, part;
    network_hidden(n, lanes, x, &hidden);
    for (u32 o = 0; o < outputs; o++) {
        part = hidden * LOAD8(n->w2 + CWTS_HIDDEN * o);
        out[o] = by_halves(&part) + n->b2[o];
    }
}

#if defined(__AVX2__) || defined(CWTS_AVX2)
/* Eight rows at once, a row a lane: the transposed inputs meet weights that their load spreads over the lanes. */
static inline void network_eight(const cwts_network *n, const float *x, float *out, u32 outputs) {
    f32x8 z[CWTS_FEATURE_COUNT], sum[CWTS_HIDDEN], second[CWTS_HIDDEN], zero = {0}, high = ALL8(n->limit), low = -high;
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i += 8) {
        f32x8 r[8], s[8], mean = LOAD8(n->mean + i), scale = LOAD8(n->scale + i);
        for (u32 j = 0; j < 8; j++) {
            r[j] = (LOAD8(x + CWTS_FEATURE_COUNT * j + i) - mean) * scale;
            max8(&r[j], &low);
            min8(&r[j], &high);
        }
        for (u32 j = 0; j < 4; j++) {
            s[j] = PAIR(r[j], r[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
            s[j + 4] = PAIR(r[j], r[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        }
        for (u32 j = 0; j < 8; j += 4) {
            f32x8 a = PAIR(s[j], s[j + 1], 0, 8, 1, 9, 4, 12, 5, 13), b = PAIR(s[j], s[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
            f32x8 c = PAIR(s[j + 2], s[j + 3], 0, 8, 1, 9, 4, 12, 5, 13), d = PAIR(s[j + 2], s[j + 3], 2, 10, 3, 11, 6, 14, 7, 15);
            z[i + j] = PAIR(a, c, 0, 1, 8, 9, 4, 5, 12, 13);
            z[i + j + 1] = PAIR(a, c, 2, 3, 10, 11, 6, 7, 14, 15);
            z[i + j + 2] = PAIR(b, d, 0, 1, 8, 9, 4, 5, 12, 13);
            z[i + j + 3] = PAIR(b, d, 2, 3, 10, 11, 6, 7, 14, 15);
        }
    }
    u32 units = CWTS_HIDDEN;
    __asm__("" : "+r"(units)); /* not known to the compiler, which would unroll and reorder until the sums leave the registers */
#define QUARTER(l)                                                                                                        \
    const f32x8 z0 = z[l], z1 = z[l + 4], z2 = z[l + 8], z3 = z[l + 12];                                                  \
    const float *w = n->w1 + CWTS_HIDDEN * (l);                                                                           \
    for (u32 h = 0; h < units; h++, w++)
#define TERM ((z0 * w[0] + z2 * w[64]) + (z1 * w[32] + z3 * w[96]))
    { QUARTER(0) sum[h] = TERM; }
    { QUARTER(2) sum[h] += TERM; }
    { QUARTER(1) second[h] = TERM; }
    { QUARTER(3) second[h] += TERM; }
#undef QUARTER
#undef TERM
    for (u32 h = 0; h < CWTS_HIDDEN; h++) {
        sum[h] = (sum[h] + second[h]) + n->b1[h];
        max8(&sum[h], &zero);
    }
    for (u32 o = 0; o < outputs; o++) {
        const float *w = n->w2 + CWTS_HIDDEN * o;
        f32x8 a = sum[0] * w[0] + sum[4] * w[4], b = sum[1] * w[1] + sum[5] * w[5];
        f32x8 c = sum[2] * w[2] + sum[6] * w[6], d = sum[3] * w[3] + sum[7] * w[7];
        f32x8 v = ((a + c) + (b + d)) + n->b2[o];
        for (u32 j = 0; j < 8; j++) out[outputs * j + o] = v[j];
    }
}
#endif

/* 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2, tanh y = y P(y^2) / Q(y^2) for |y| <= 7 (minimax, cubic over cubic; here in x); absolute
 * error below 1e-6, never 0 or 1. */
static inline void logistic8(f32x8 *x) {
    clamp8(x, 14.0f);
    f32x8 t = *x * *x, t2 = t * t;
    f32x8 over = (1.23021807e-01f / 16.0f * t + 9.99995688e-01f / 4.0f) + (3.93000136e-06f / 256.0f * t + 2.27698673e-03f / 64.0f) * t2;
    f32x8 under = (4.56340293e-01f / 4.0f * t + 1.0f) + (1.42350596e-04f / 64.0f * t + 2.10721701e-02f / 16.0f) * t2;
    *x = *x * over / under + 0.5f;
}

static inline void network_link(const cwts_network *n, f32x8 *v) {
    if (n->link == CWTS_LINK_LOGISTIC) logistic8(v);
    else clamp8(v, NETWORK_VALUE_LIMIT);
}

/* NaN and infinity fail both comparisons. */
static int within(const float *v, u32 count, float low, float high) {
    int good = 1;
    for (u32 i = 0; i < count; i++) good &= v[i] >= low && v[i] <= high;
    return good;
}

static int network_is_valid(const cwts_network *n) {
    const float most = NETWORK_LARGEST;
    int good = n->version == CWTS_NETWORK_VERSION && n->outputs >= 1 && n->outputs <= CWTS_OUTPUTS && n->link <= CWTS_LINK_LOGISTIC;
    good &= within(n->mean, CWTS_FEATURE_COUNT, -most, most) & within(n->scale, CWTS_FEATURE_COUNT, 1e-9f, most);
    good &= within(n->w1, CWTS_FIRST_WEIGHTS, -most, most) & within(n->b1, CWTS_HIDDEN, -most, most);
    good &= within(n->w2, CWTS_LAST_WEIGHTS, -most, most) & within(n->b2, CWTS_OUTPUTS, -most, most);
    return good & within(&n->limit, 1, 1e-3f, 64.0f);
}

int32_t cwts_network_batch(const cwts_network *network, const float *features, float *out, uint32_t rows) {
    cwts_network n = *network;
    cwts_network_lanes lanes;
    float *to = out;
    const float *x = features;
    if (!network_is_valid(&n)) return CWTS_E_CONFIG;
    network_arrange(&n, &lanes);
    u32 row = 0, outputs = n.outputs;
#if defined(__AVX2__) || defined(CWTS_AVX2)
    for (; row + 8 <= rows; row += 8, x += 8 * CWTS_FEATURE_COUNT, to += 8 * outputs) {
        if (outputs == 1) network_eight(&n, x, to, 1);
        else network_eight(&n, x, to, 2);
    }
#endif
    for (; row < rows; row++, x += CWTS_FEATURE_COUNT, to += outputs) network_row(&n, &lanes, x, to, outputs);
    u64 count = (u64)rows * outputs, at = 0;
    for (; at + 8 <= count; at += 8) {
        f32x8 v = LOAD8(out + at);
        network_link(&n, &v);
        *(f32x8_unaligned *)(void *)(out + at) = v;
    }
    f32x8 rest = {0};
    for (u64 i = at; i < count; i++) rest[i - at] = out[i];
    network_link(&n, &rest);
    for (u64 i = at; i < count; i++) out[i] = rest[i - at];
    return (i32)(rows & INT32_MAX);
}

static const u32 NETWORK_OUTPUTS[CWTS_NETWORK_COUNT] = {2, 2, 1};
static const u32 NETWORK_LINK[CWTS_NETWORK_COUNT] = {CWTS_LINK_LOGISTIC, CWTS_LINK_LOGISTIC, CWTS_LINK_LINEAR};

static void networks_clear(cwts_block *k) {
    __builtin_memset(k->signals.value + CWTS_S_CASCADE_UP, 0, 5 * sizeof(float));
}

/* After each message that moved the market, while the book is valid. A network that is not loaded says 0. */
static void networks_run(cwts_block *k) {
    const cwts_networks *all = &k->networks;
    const cwts_network *cascade = &all->network[0], *whale = &all->network[1], *value = &all->network[2];
    if (!all->loaded) return;
    f32x8 hidden[CWTS_NETWORK_COUNT], part[4], last;
    for (u32 i = 0; i < CWTS_NETWORK_COUNT; i++) network_hidden(&all->network[i], &all->lanes[i], k->features.value, &hidden[i]);
    part[0] = hidden[0] * LOAD8(cascade->w2);
    part[1] = hidden[0] * LOAD8(cascade->w2 + CWTS_HIDDEN);
    part[2] = hidden[1] * LOAD8(whale->w2);
    part[3] = hidden[1] * LOAD8(whale->w2 + CWTS_HIDDEN);
    last = hidden[2] * LOAD8(value->w2);
    f32x4 bias = {cascade->b2[0], cascade->b2[1], whale->b2[0], whale->b2[1]}, four = four_by_halves(part) + bias;
    f32x8 v = PAIR(four, four, 0, 1, 2, 3, 0, 1, 2, 3);
    float forecast = by_halves(&last) + value->b2[0]; /* 0 where there is no such network: its weights are 0 */
    forecast = forecast > -NETWORK_VALUE_LIMIT ? forecast : -NETWORK_VALUE_LIMIT;
    logistic8(&v);
    four = PAIR(v, v, 0, 1, 2, 3) * LOAD4(all->on);
    __builtin_memcpy(k->signals.value + CWTS_S_CASCADE_UP, &four, 16);
    f32x4 last_signals = {forecast < NETWORK_VALUE_LIMIT ? forecast : NETWORK_VALUE_LIMIT}; /* as publish.c reads them: see above */
    _Static_assert(CWTS_S_VALUE % 4 == 0 && CWTS_S_VALUE + 4 <= CWTS_SIGNAL_ROOM, "the last signal, with room behind it");
    __builtin_memcpy(k->signals.value + CWTS_S_VALUE, &last_signals, 16);
}

/* Returns 0 where the command is not a network that can be run. */
static int network_load(cwts_block *k, const u8 *payload, u32 length) {
    cwts_network_command c;
    if (length < sizeof c) return 0;
    __builtin_memcpy(&c, payload, sizeof c);
    if (c.index >= CWTS_NETWORK_COUNT) return 0;
    u32 bit = 1u << c.index;
    if (c.network.version == 0) {
        k->networks.loaded &= ~bit;
        k->networks.network[c.index] = (cwts_network){0};
    } else {
        if (!network_is_valid(&c.network) || c.network.outputs != NETWORK_OUTPUTS[c.index] || c.network.link != NETWORK_LINK[c.index])
            return 0;
        k->networks.loaded |= bit;
        k->networks.network[c.index] = c.network;
    }
    for (u32 i = 0; i < CWTS_NETWORK_COUNT; i++) network_arrange(&k->networks.network[i], &k->networks.lanes[i]);
    for (u32 i = 0; i < 4; i++) k->networks.on[i] = (float)(k->networks.loaded >> i / 2 & 1);
    networks_clear(k);
    return 1;
}
