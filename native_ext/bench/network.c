/* network.c: what one inference costs here and in libfann (-DWITH_FANN), and how near the batch comes to the processor's peak of
 * multiplications and additions without FMA, in eight lanes. Built with the kernel inside, with AVX2 where there is some.
 * Prints lines `name value`: nanoseconds a single inference, row after row (p50; latency: each waits for the one before),
 * nanoseconds a row of a batch, and floating-point operations a nanosecond. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__)
#include "../kernel/kernel_avx2.c"
#else
#include "../kernel/kernel.c"
#endif

#ifdef WITH_FANN
#include <fann.h>
#endif

#define ROWS 4096
#define REPEAT 2000
#define EACH 64

static double clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double took[REPEAT];

static double median(void) {
    qsort(took, REPEAT, sizeof *took, ascending);
    return took[REPEAT / 2];
}

static double fastest(void) {
    qsort(took, REPEAT, sizeof *took, ascending);
    return took[0];
}

static float uniform(void) { return (float)rand() / (float)RAND_MAX * 2.0f - 1.0f; }

static void fill(float *v, u32 count) {
    for (u32 i = 0; i < count; i++) v[i] = uniform();
}

/* Six chains each of multiplications and additions: nothing waits, nothing is loaded. */
static double peak(void) {
    f32x8 factor = ALL8(0.999999f), term = ALL8(1e-6f), one = ALL8(1.0f);
    f32x8 m0 = one, m1 = one, m2 = one, m3 = one, m4 = one, m5 = one, a0 = one, a1 = one, a2 = one, a3 = one, a4 = one, a5 = one;
    double best = 0.0;
    for (u32 turn = 0; turn < 50; turn++) {
        double began = clock_now();
        for (u32 i = 0; i < 20000; i++) {
            m0 *= factor, m1 *= factor, m2 *= factor, m3 *= factor, m4 *= factor, m5 *= factor;
            a0 += term, a1 += term, a2 += term, a3 += term, a4 += term, a5 += term;
#if defined(__x86_64__)
            __asm__ volatile("" : "+x"(m0), "+x"(m1), "+x"(m2), "+x"(m3), "+x"(m4), "+x"(m5));
            __asm__ volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5));
#endif
        }
        double rate = 20000.0 * 12.0 * 8.0 / (clock_now() - began);
        best = rate > best ? rate : best;
    }
    f32x8 all = m0 + m1 + m2 + m3 + m4 + m5 + a0 + a1 + a2 + a3 + a4 + a5;
    volatile float kept = by_halves(&all);
    (void)kept;
    return best;
}

/* A row of features as the kernel leaves it, by stores of 16 bytes; with `before` it waits for what came out. */
static inline void features_from(cwts_block *k, const float *x, const float *before) {
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i += 4) {
        f32x4 v;
        __builtin_memcpy(&v, x + i, 16);
        if (before) v += *before * 1e-30f;
        __builtin_memcpy(k->features.value + i, &v, 16);
    }
    __asm__ volatile("" : : : "memory");
}

/* One network by itself; the median of nanoseconds an inference. */
static double single(cwts_block *k, float *x, u32 which, int waiting) {
    const cwts_network *n = &k->networks.network[which];
    float z[2] = {0.0f, 0.0f};
    for (u32 turn = 0; turn < REPEAT; turn++) {
        double began = clock_now();
        for (u32 i = 0; i < EACH; i++) {
            float *row = x + (turn + i) % ROWS * CWTS_FEATURE_COUNT;
            features_from(k, row, waiting ? z : NULL);
            f32x8 hidden, part[4] = {{0}};
            network_hidden(n, &k->networks.lanes[which], k->features.value, &hidden);
            for (u32 o = 0; o < n->outputs; o++) part[o] = hidden * LOAD8(n->w2 + CWTS_HIDDEN * o);
            f32x4 bias = {n->b2[0], n->b2[1]}, sums = four_by_halves(part) + bias;
            f32x8 v = PAIR(sums, sums, 0, 1, 2, 3, 0, 1, 2, 3);
            network_link(n, &v);
            row[0] = z[0] = v[0], z[1] = v[1]; /* as libfann's below */
        }
        took[turn] = (clock_now() - began) / EACH;
    }
    return median();
}

int main(void) {
    static const char *names[CWTS_NETWORK_COUNT] = {"cascade", "whale", "value"};
    static const u32 counts[CWTS_NETWORK_COUNT] = {2, 2, 1};
    cwts_block *k = aligned_alloc(64, sizeof *k);
    float *x = aligned_alloc(64, ROWS * CWTS_FEATURE_COUNT * sizeof *x), *out = aligned_alloc(64, ROWS * 2 * sizeof *out);
    if (!k || !x || !out) return 2;
    __builtin_memset(k, 0, sizeof *k);
    srand(1);
    fill(x, ROWS * CWTS_FEATURE_COUNT);
    for (u32 i = 0; i < CWTS_NETWORK_COUNT; i++) {
        cwts_network *n = &k->networks.network[i];
        fill(n->mean, CWTS_FEATURE_COUNT);
        for (u32 j = 0; j < CWTS_FEATURE_COUNT; j++) n->scale[j] = 1.0f;
        fill(n->w1, CWTS_FIRST_WEIGHTS);
        fill(n->b1, CWTS_HIDDEN);
        fill(n->w2, 8 * counts[i]);
        n->limit = 4.0f;
        n->version = CWTS_NETWORK_VERSION;
        n->outputs = counts[i];
        n->link = NETWORK_LINK[i];
        network_arrange(n, &k->networks.lanes[i]);
    }
    for (u32 i = 0; i < 4; i++) k->networks.on[i] = 1.0f;
    k->networks.loaded = 7;
    for (u32 turn = 0; turn < REPEAT; turn++) {
        double began = clock_now();
        for (u32 i = 0; i < EACH; i++) {
            float before = k->signals.value[CWTS_S_VALUE] + k->signals.value[CWTS_S_CASCADE_UP];
            features_from(k, x + (turn + i) % ROWS * CWTS_FEATURE_COUNT, &before);
            networks_run(k);
        }
        took[turn] = (clock_now() - began) / EACH;
    }
    printf("latency_three %.2f\n", median());
    for (u32 which = 0; which < CWTS_NETWORK_COUNT; which++) {
        printf("single_%s %.2f\n", names[which], single(k, x, which, 0));
        printf("latency_%s %.2f\n", names[which], single(k, x, which, 1));
    }
    double most = peak();
    for (u32 which = 0; which < CWTS_NETWORK_COUNT; which++) {
        const cwts_network *n = &k->networks.network[which];
        for (u32 turn = 0; turn < REPEAT; turn++) {
            double began = clock_now();
            if (cwts_network_batch(n, x, out, ROWS) != ROWS) return 1;
            took[turn] = (clock_now() - began) / ROWS;
        }
        double ns = fastest(); /* as the peak is the fastest loop: what else the machine does is left out of both */
        /* normalisation 2 a input; layer 1: 2 a weight; ReLU's sum 8; layer 2: 16 an output; the link 15 or none */
        double operations = 32.0 + 256.0 + 8.0 + counts[which] * (16.0 + (n->link ? 15.0 : 0.0));
        printf("batch_%s %.3f\nrate_%s %.1f\n", names[which], ns, names[which], operations / ns);
    }
    double again = peak();
    printf("peak %.1f\n", again > most ? again : most);
#ifdef WITH_FANN
    struct fann *ann = fann_create_standard(3, CWTS_FEATURE_COUNT, CWTS_HIDDEN, 2);
    fann_set_activation_function_hidden(ann, FANN_LINEAR_PIECE); /* its cheapest; it has no ReLU */
    fann_set_activation_function_output(ann, FANN_SIGMOID);
    for (u32 turn = 0; turn < REPEAT; turn++) {
        double began = clock_now();
        for (u32 i = 0; i < EACH; i++) {
            float *row = x + (turn + i) % ROWS * CWTS_FEATURE_COUNT;
            row[0] = fann_run(ann, row)[0];
        }
        took[turn] = (clock_now() - began) / EACH;
    }
    printf("fann %.2f\n", median());
    fann_destroy(ann);
#endif
    return 0;
}
