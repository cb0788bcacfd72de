/* network.c: three small networks over the features, one row at a time after each message and batched over many rows
 * (cwts_network_batch). 16 inputs, 8 hidden units with ReLU, 1 or 2 outputs; what they say is in docs/networks.md.
 *
 * The hidden units are the eight virtual lanes. Whatever is computed, every sum has one order: even inputs upon the bias, odd
 * inputs upon zero, the two added; outputs by halves. So a batch gives the bits of single rows, and
 * every target the same ones. */
#include "numeric.h"
#include "simd.h"

#define NETWORK_LARGEST 1e6f       /* of any weight */
#define NETWORK_VALUE_LIMIT 1000.0f /* basis points */

#define LOAD8(p) (*(const f32x8_unaligned *)(const void *)(p))
#define ALL8(v) ((f32x8){v, v, v, v, v, v, v, v})
typedef float f32x8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));

/* a = a > b ? a : b, and a = a < b ? a : b: what is not a number becomes b. Vectors pass by address: without AVX a register
 * holds half of one, and compilers disagree on how to pass it. */
#if defined(__AVX2__) || defined(CWTS_AVX2)
static inline void max8(f32x8 *a, const f32x8 *b) { *a = (f32x8)_mm256_max_ps((__m256)*a, (__m256)*b); }
static inline void min8(f32x8 *a, const f32x8 *b) { *a = (f32x8)_mm256_min_ps((__m256)*a, (__m256)*b); }
#elif defined(__SSE2__)
static inline void max8(f32x8 *a, const f32x8 *b) {
    float *to = (float *)a;
    const float *from = (const float *)b;
    _mm_storeu_ps(to, _mm_max_ps(_mm_loadu_ps(to), _mm_loadu_ps(from)));
    _mm_storeu_ps(to + 4, _mm_max_ps(_mm_loadu_ps(to + 4), _mm_loadu_ps(from + 4)));
}
static inline void min8(f32x8 *a, const f32x8 *b) {
    float *to = (float *)a;
    const float *from = (const float *)b;
    _mm_storeu_ps(to, _mm_min_ps(_mm_loadu_ps(to), _mm_loadu_ps(from)));
    _mm_storeu_ps(to + 4, _mm_min_ps(_mm_loadu_ps(to + 4), _mm_loadu_ps(from + 4)));
}
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

/* The hidden layer of some rows at once: a weight is loaded once for all of them. */
static inline void network_hidden(const cwts_network *n, const float *x, f32x8 *hidden, u32 rows) {
    float z[4][CWTS_FEATURE_COUNT];
    f32x8 even[4], odd[4], zero = {0};
    for (u32 r = 0; r < rows; r++)
        for (u32 i = 0; i < CWTS_FEATURE_COUNT; i += 8) {
            f32x4 first, second; /* as features.c stored them: a wider load would wait for the stores to reach the cache */
            __builtin_memcpy(&first, x + CWTS_FEATURE_COUNT * r + i, 16);
            __builtin_memcpy(&second, x + CWTS_FEATURE_COUNT * r + i + 4, 16);
            f32x8 v = __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
            v = (v - LOAD8(n->mean + i)) * LOAD8(n->scale + i);
            clamp8(&v, n->limit);
            __builtin_memcpy(z[r] + i, &v, 32);
        }
    __asm__("" : "+m"(z)); /* one input is spread over the lanes by its load: compilers would shuffle registers instead */
    for (u32 r = 0; r < rows; r++) {
        even[r] = LOAD8(n->b1);
        odd[r] = zero;
    }
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i += 2) {
        f32x8 w = LOAD8(n->w1 + CWTS_HIDDEN * i), v = LOAD8(n->w1 + CWTS_HIDDEN * i + CWTS_HIDDEN);
        for (u32 r = 0; r < rows; r++) {
            even[r] += z[r][i] * w;
            odd[r] += z[r][i + 1] * v;
        }
    }
    for (u32 r = 0; r < rows; r++) {
        hidden[r] = even[r] + odd[r];
        max8(&hidden[r], &zero);
    }
}

#if defined(__AVX2__) || defined(CWTS_AVX2)
#define NETWORK_BLOCK 8
#define PAIR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

/* Eight rows at once, a row a lane: the transposed inputs meet weights that their load spreads over the lanes. */
static inline void network_eight(const cwts_network *n, const float *x, float *out, u32 outputs) {
    f32x8 z[CWTS_FEATURE_COUNT], even[CWTS_HIDDEN], odd[CWTS_HIDDEN], zero = {0}, high = ALL8(n->limit), low = -high;
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
    u32 inputs = CWTS_FEATURE_COUNT;
    __asm__("" : "+r"(inputs)); /* not known to the compiler, which would unroll and reorder until the sums leave the registers */
    for (u32 h = 0; h < CWTS_HIDDEN; h++) even[h] = ALL8(n->b1[h]);
    for (u32 i = 0; i < inputs; i += 2)
        for (u32 h = 0; h < CWTS_HIDDEN; h++) even[h] += z[i] * n->w1[CWTS_HIDDEN * i + h];
    for (u32 h = 0; h < CWTS_HIDDEN; h++) odd[h] = zero;
    for (u32 i = 1; i < inputs; i += 2)
        for (u32 h = 0; h < CWTS_HIDDEN; h++) odd[h] += z[i] * n->w1[CWTS_HIDDEN * i + h];
    for (u32 h = 0; h < CWTS_HIDDEN; h++) {
        even[h] += odd[h];
        max8(&even[h], &zero);
    }
    for (u32 o = 0; o < outputs; o++) {
        const float *w = n->w2 + CWTS_HIDDEN * o;
        f32x8 a = even[0] * w[0] + even[4] * w[4], b = even[1] * w[1] + even[5] * w[5];
        f32x8 c = even[2] * w[2] + even[6] * w[6], d = even[3] * w[3] + even[7] * w[7];
        f32x8 v = ((a + c) + (b + d)) + n->b2[o];
        for (u32 j = 0; j < 8; j++) out[outputs * j + o] = v[j];
    }
}

#else
#define NETWORK_BLOCK 4 /* half a vector fits a register: four rows a hidden unit a lane */
#endif

/* Up to four rows, before the link. */
static inline void network_rows(const cwts_network *n, const float *x, float *out, u32 rows, u32 outputs) {
    f32x8 hidden[4];
    network_hidden(n, x, hidden, rows);
    for (u32 o = 0; o < outputs; o++) {
        f32x8 w = LOAD8(n->w2 + CWTS_HIDDEN * o);
        for (u32 r = 0; r < rows; r++) {
            f32x8 part = hidden[r] * w;
            out[outputs * r + o] = by_halves(&part) + n->b2[o];
        }
    }
}

/* 1 / (1 + e^-x) as (1 + tanh(x / 2)) / 2, tanh y = y P(y^2) / Q(y^2) for |y| <= 7 (minimax, cubic over cubic); absolute error
 * below 1e-6, never 0 or 1. */
static inline void logistic8(f32x8 *x) {
    f32x8 y = *x * 0.5f;
    clamp8(&y, 7.0f);
    f32x8 t = y * y;
    f32x8 over = ((3.93000136e-06f * t + 2.27698673e-03f) * t + 1.23021807e-01f) * t + 9.99995688e-01f;
    f32x8 under = ((1.42350596e-04f * t + 2.10721701e-02f) * t + 4.56340293e-01f) * t + 1.0f;
    *x = 0.5f * (y * over / under) + 0.5f;
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
    if (!network_is_valid(&n)) return CWTS_E_CONFIG;
    const float *x = features;
    u32 row = 0, outputs = n.outputs;
    float *to = out;
    for (; row + NETWORK_BLOCK <= rows; row += NETWORK_BLOCK, x += NETWORK_BLOCK * CWTS_FEATURE_COUNT, to += NETWORK_BLOCK * outputs) {
#if NETWORK_BLOCK == 8
        if (outputs == 1) network_eight(&n, x, to, 1);
        else network_eight(&n, x, to, 2);
#else
        network_rows(&n, x, to, NETWORK_BLOCK, outputs);
#endif
    }
    for (; row < rows; row++, x += CWTS_FEATURE_COUNT, to += outputs) network_rows(&n, x, to, 1, outputs);
    u64 count = (u64)rows * outputs, at = 0;
    for (; at + 8 <= count; at += 8) {
        f32x8 v = LOAD8(out + at);
        network_link(&n, &v);
        __builtin_memcpy(out + at, &v, 32);
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
    if (!all->loaded) return;
    f32x8 v = {0};
    float z[8];
    network_rows(&all->network[0], k->features.value, z, 1, 2);
    network_rows(&all->network[1], k->features.value, z + 2, 1, 2);
    network_rows(&all->network[2], k->features.value, z + 4, 1, 1);
    __builtin_memcpy(&v, z, 16);
    logistic8(&v);
    float *to = k->signals.value + CWTS_S_CASCADE_UP, value = z[4];
    to[0] = all->loaded & 1 ? v[0] : 0.0f;
    to[1] = all->loaded & 1 ? v[1] : 0.0f;
    to[2] = all->loaded & 2 ? v[2] : 0.0f;
    to[3] = all->loaded & 2 ? v[3] : 0.0f;
    value = value > -NETWORK_VALUE_LIMIT ? value : -NETWORK_VALUE_LIMIT;
    value = value < NETWORK_VALUE_LIMIT ? value : NETWORK_VALUE_LIMIT;
    to[4] = all->loaded & 4 ? value : 0.0f;
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
    networks_clear(k);
    return 1;
}
