/* integer.h: exact integer money arithmetic with a 128-bit intermediate, made of 64-bit operations so that it is the same
 * everywhere and needs no compiler library (wasm32 has none for 128-bit division). */
#ifndef CWTS_INTEGER_H
#define CWTS_INTEGER_H

#include "internal.h"

#define MONEY_MAX INT64_MAX

/* a * b as two 64-bit words. */
static inline void multiply_wide(u64 a, u64 b, u64 *high, u64 *low) {
    u64 a0 = (u32)a, a1 = a >> 32, b0 = (u32)b, b1 = b >> 32;
    u64 p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    u64 middle = (p00 >> 32) + (u32)p01 + (u32)p10;
    *low = (middle << 32) | (u32)p00;
    *high = p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
}

/* floor or ceiling of a * b / c for non-negative a, b and positive c; MONEY_MAX where it does not fit. Long division, one
 * bit at a time where the product is wide: money moves rarely. */
static i64 multiply_divide(i64 a, i64 b, i64 c, int round_up) {
    u64 high, low, quotient = 0, rest;
    if (a < 0 || b < 0 || c <= 0) return MONEY_MAX;
    multiply_wide((u64)a, (u64)b, &high, &low);
    if (high == 0) {
        quotient = low / (u64)c;
        rest = low % (u64)c;
    } else {
        if (high >= (u64)c) return MONEY_MAX;
        rest = high;
        for (int bit = 63; bit >= 0; bit--) {
            u64 carry = rest >> 63;
            rest = (rest << 1) | ((low >> bit) & 1);
            u64 take = carry | (rest >= (u64)c);
            rest -= take ? (u64)c : 0;
            quotient = (quotient << 1) | take;
        }
    }
    if (quotient > (u64)MONEY_MAX - 1) return MONEY_MAX;
    return (i64)quotient + (round_up && rest != 0);
}

/* Sum that stops at the ends of the range instead of wrapping. */
static inline i64 add_saturating(i64 a, i64 b) {
    i64 sum;
    if (__builtin_add_overflow(a, b, &sum)) return a < 0 ? INT64_MIN + 1 : INT64_MAX;
    return sum;
}

#endif
