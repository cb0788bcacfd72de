/* decimal.h: exact decimals. A decimal string becomes an int64 in units of 10^-decimals, or is refused: more digits than
 * fit, or non-zero digits beyond the unit. Nothing is rounded. */
#ifndef CWTS_DECIMAL_H
#define CWTS_DECIMAL_H

#include "internal.h"

#define ZEROS8 0x3030303030303030ULL

/* Eight digit values (0..9), the most significant at the lowest address, to a number: pairs, then fours, then eights. */
static inline u64 digits8(u64 digits) {
    digits = (digits * 2561) >> 8;
    digits = ((digits & 0x00FF00FF00FF00FFULL) * 6553601) >> 16;
    return ((digits & 0x0000FFFF0000FFFFULL) * 42949672960001ULL) >> 32;
}

/* High bit set in every byte that is not a digit value. Exact for the lowest such byte, which is all that is asked. */
static inline u64 not_digits(u64 digits) { return ((digits + 0x7676767676767676ULL) | digits) & 0x8080808080808080ULL; }

/* Any length, byte by byte; the reference for the fast one. Returns 0 where refused. */
static int decimal_slow(const u8 *s, u32 length, u32 decimals, i64 *out) {
    u64 value = 0;
    u32 i = 0, fraction = 0;
    int point = 0, digits = 0;
    for (; i < length; i++) {
        u32 d = (u32)s[i] - '0';
        if (d <= 9) {
            digits = 1;
            if (point && fraction == decimals) {
                if (d != 0) return 0;
                continue;
            }
            if (value > (u64)(INT64_MAX - 9) / 10) return 0;
            value = value * 10 + d;
            fraction += (u32)point;
        } else if (s[i] == '.' && !point && digits && i + 1 < length) {
            point = 1;
        } else {
            return 0;
        }
    }
    if (!digits) return 0;
    for (; fraction < decimals; fraction++) {
        if (value > (u64)INT64_MAX / 10) return 0;
        value *= 10;
    }
    *out = (i64)value;
    return 1;
}

/* Up to eight digits on each side of the point and up to eight decimals, without a loop. At least 8 bytes beyond the string
 * must be readable. `point` is the offset of the '.', or `length` where there is none. */
static inline int decimal_fast(const u8 *s, u32 length, u32 point, u32 decimals, i64 *out) {
    u32 fraction = point < length ? length - point - 1 : 0;
    if (UNLIKELY(point - 1 > 7 || fraction > 8 || decimals > 8 || (point < length && fraction == 0)))
        return decimal_slow(s, length, decimals, out);
    u32 used = fraction < decimals ? fraction : decimals, extra = fraction - used;
    u64 whole = (load64(s) ^ ZEROS8) << (64 - 8 * point);
    u64 tail = load64(s + point + 1) ^ ZEROS8;
    u64 part = used ? tail << (64 - 8 * used) : 0;
    /* digits beyond the unit must be zeros */
    u64 rest = extra ? tail << (64 - 8 * fraction) >> (64 - 8 * extra) : 0;
    u64 bad = not_digits(whole) | not_digits(part) | rest;
    if (UNLIKELY(bad)) return 0;
    *out = (i64)(digits8(whole) * (u64)POW10[decimals] + digits8(part) * (u64)POW10[decimals - used]);
    return 1;
}

#endif
