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

/* A whole number of 9 to 16 digits, all of them readable, the first not 0. Returns 0 where it is none. */
static inline int integer_fixed(const u8 *s, u32 digits, i64 *out) {
    u64 high = (load64(s) ^ ZEROS8) << (128 - 8 * digits), low = load64(s + digits - 8) ^ ZEROS8;
    if (UNLIKELY((not_digits(high) | not_digits(low)) || *s == '0')) return 0;
    *out = (i64)(digits8(high) * 100000000 + digits8(low));
    return 1;
}

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

/* Up to eight digits on each side of the point: two conversions. */
static int decimal_wide(const u8 *s, u32 length, u32 point, u32 decimals, i64 *out) {
    u32 fraction = point < length ? length - point - 1 : 0;
    if (point - 1 > 7 || fraction > 8 || decimals > 8 || length - point == 1) return decimal_slow(s, length, decimals, out);
    u32 used = fraction < decimals ? fraction : decimals, extra = fraction - used;
    u64 whole = (load64(s) ^ ZEROS8) << (64 - 8 * point);
    u64 tail = load64(s + point + 1) ^ ZEROS8;
    u64 part = used ? tail << (64 - 8 * used) : 0;
    /* digits beyond the unit must be zeros */
    u64 rest = extra ? tail << (64 - 8 * fraction) >> (64 - 8 * extra) : 0;
    if (not_digits(whole) | not_digits(part) | rest) return 0;
    *out = (i64)(digits8(whole) * (u64)POW10[decimals] + digits8(part) * (u64)POW10[decimals - used]);
    return 1;
}

/* Most numbers have at most seven digits that count: the point is taken out and they are converted at once. At least 16
 * bytes from `s` and 8 beyond the string must be readable. `point` is the offset of the '.', or `length` where there is
 * none. */
static inline int decimal_fast(const u8 *s, u32 length, u32 point, u32 decimals, i64 *out) {
    u32 fraction = length - point - (point < length);
    u32 used = fraction < decimals ? fraction : decimals, extra = fraction - used, digits = point + used;
    if (UNLIKELY(digits > 7 || digits + decimals - used > 18 || point == 0 || extra > 8 || length - point == 1)) return decimal_wide(s, length, point, decimals, out);
    u64 text = load64(s) ^ ZEROS8, before = (1ULL << (8 * point)) - 1;
    u64 value = ((text & before) | (text >> 8 & ~before)) << (64 - 8 * digits);
    u64 rest = extra ? (load64(s + digits + 1) ^ ZEROS8) << (64 - 8 * extra) : 0; /* digits beyond the unit must be zeros */
    if (UNLIKELY(not_digits(value) | rest)) return 0;
    *out = (i64)(digits8(value) * (u64)POW10[decimals - used]);
    return 1;
}

/* The table for numbers with `fraction` digits behind the point: `place` 0 puts the digits that count into the first eight
 * bytes of a vector, 1 into the second. Lengths that do not fit eight digits get an entry that matches nothing. */
static void format_make(cwts_format *f, u32 fraction, u32 decimals, u32 place) {
    u32 point = fraction != 0, used = fraction < decimals ? fraction : decimals;
    f->ready = decimals - used <= 9 && fraction <= 15;
    f->fraction = fraction;
    f->scale = f->ready ? (u32)POW10[decimals - used] : 0;
    for (u32 length = 0; length <= 16; length++) {
        cwts_number *n = &f->length[length];
        u32 whole = length - fraction - point, digits = whole + used;
        __builtin_memset(n->want, 0, sizeof n->want);
        __builtin_memset(n->care, 0, sizeof n->care);
        __builtin_memset(n->take, 0x80, sizeof n->take);
        if (!f->ready || length < fraction + point + 1 || digits > 8) {
            n->care[0] = 0xFF; /* no number begins with a quote, and what has no length begins with nothing else */
            n->want[0] = length ? '"' : 0xFF;
            continue;
        }
        for (u32 i = 0, digit = 0; i < length; i++) {
            int is_point = point && i == whole, counts = i < whole || (!is_point && i - whole - 1 < used);
            n->want[i] = is_point ? '.' : '0';
            n->care[i] = counts ? 0 : 0xFF;
            if (counts) n->take[8 * place + 8 - digits + digit++] = (u8)i;
        }
    }
}

#endif
