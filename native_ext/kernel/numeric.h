/* numeric.h: square root, exp, log, tanh from basic operations: the same bits on every target, no libm. Errors are relative. */
#ifndef CWTS_NUMERIC_H
#define CWTS_NUMERIC_H

#include "internal.h"

#define LN2_HIGH 6.93147180369123816490e-01 /* ln 2 in two parts, the first with zeros at its end (fdlibm) */
#define LN2_LOW 1.90821492927058770002e-10

/* Without -fmath-errno this is one instruction everywhere, correctly rounded. */
static inline double square_root(double v) { return __builtin_sqrt(v); }

static inline double absolute(double v) { return v < 0.0 ? -v : v; }
static inline double clamp(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

static inline double double_of_bits(u64 bits) {
    double v;
    __builtin_memcpy(&v, &bits, 8);
    return v;
}

/* Histograms have eight linear steps to each power of two: the exponent and the first three bits of the fraction, in order.
 * Bin 0 begins at 1; v > 0. */
static inline i64 bin_of(double v) {
    u64 bits;
    __builtin_memcpy(&bits, &v, 8);
    return (i64)(bits >> 49) - 1023 * 8;
}
static inline double bin_edge(i64 bin) { return double_of_bits((u64)(bin + 1023 * 8) << 49); }

/* e^x, x clamped to [-700, 700]; error below 1e-15. x = n ln 2 + r, |r| <= ln 2 / 2; Taylor to the thirteenth term, in Estrin's order:
 * in Horner's each term would wait for the one before. */
static inline double exponential(double x) {
    x = clamp(x, -700.0, 700.0);
    i64 n = (i64)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5));
    double r = (x - (double)n * LN2_HIGH) - (double)n * LN2_LOW, r2 = r * r, r4 = r2 * r2;
    double a = (1.0 / 6) * r + 0.5, b = (1.0 / 120) * r + 1.0 / 24, c = (1.0 / 5040) * r + 1.0 / 720, d = (1.0 / 362880) * r + 1.0 / 40320;
    double e = (1.0 / 39916800) * r + 1.0 / 3628800, f = (1.0 / 6227020800) * r + 1.0 / 479001600;
    double tail = ((b * r2 + a) + (d * r2 + c) * r4) + (f * r2 + e) * (r4 * r4); /* (e^r - 1 - r) / r^2 */
    return (1.0 + (r + r2 * tail)) * double_of_bits((u64)(1023 + n) << 52);
}

/* ln x for normal x > 0 (others give 0); error below 1e-15. x = 2^n m, m in [0.7, 1.42); ln m = 2 artanh((m - 1) / (m + 1)). */
static inline double logarithm(double x) {
    if (!(x >= 2.2250738585072014e-308 && x <= 1.7976931348623157e308)) return 0.0;
    u64 bits;
    __builtin_memcpy(&bits, &x, 8);
    i64 n = (i64)(bits >> 52) - 1023;
    double m = double_of_bits((bits & 0x000FFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        n++;
    }
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    static const double ODD[11] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11,
                                   1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
    for (u32 i = 0; i < 11; i++) sum = ODD[i] + sum * s2;
    return (double)n * LN2_HIGH + (2.0 * s * sum + (double)n * LN2_LOW);
}

static inline double power(double x, double y) { return exponential(y * logarithm(x)); }

static inline double hyperbolic_tangent(double x) {
    double e = exponential(-2.0 * absolute(x)), t = (1.0 - e) / (1.0 + e);
    return x < 0.0 ? -t : t;
}

#endif
