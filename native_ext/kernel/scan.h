/* scan.h: reads JSON in place. Every function takes a position and the end, returns the position after what it read, or
 * NULL where the text is not JSON (RFC 8259) or ends too early; none reads at or past the end, except load_bytes and
 * load64, which are only used where enough bytes remain.
 *
 * Not checked: that strings are valid UTF-8 (the transport's business), and duplicate keys (the last one wins). */
#ifndef CWTS_SCAN_H
#define CWTS_SCAN_H

#include "decimal.h"
#include "simd.h"

#define MAX_DEPTH 64

/* A string's bytes between the quotes, or a number's bytes. `text` is NULL where a value was absent or of another type. */
typedef struct slice {
    const u8 *text;
    u32 length;
    u32 escaped; /* it holds a backslash, so the bytes are not the value */
} slice;

static inline const u8 *skip_space(const u8 *p, const u8 *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static inline int is_hex(u8 c) { return (u8)(c - '0') <= 9 || (u8)((c | 32) - 'a') <= 5; }

/* At an opening quote. */
static const u8 *scan_string_slow(const u8 *p, const u8 *end, slice *out) {
    const u8 *start = ++p;
    u32 escaped = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            *out = (slice){start, (u32)(p - start), escaped};
            return p + 1;
        }
        if (*p < 0x20) return 0;
        if (*p != '\\') continue;
        escaped = 1;
        if (++p >= end) return 0;
        switch (*p) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            break;
        case 'u':
            if (end - p < 5 || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4])) return 0;
            p += 4;
            break;
        default:
            return 0;
        }
    }
    return 0;
}

/* At an opening quote. Short strings without escapes or control characters end within the first eight or sixteen bytes. */
static inline const u8 *scan_string(const u8 *p, const u8 *end, slice *out) {
    const u8 *start = p + 1;
    for (const u8 *q = start; end - q >= 8; q += 8) {
        u64 w = load64(q);
        u64 quote = w ^ 0x2222222222222222ULL, back = w ^ 0x5C5C5C5C5C5C5C5CULL;
        u64 stop = ((quote - 0x0101010101010101ULL) & ~quote) | ((back - 0x0101010101010101ULL) & ~back)
                 | ((w - 0x2020202020202020ULL) & ~w);
        stop &= 0x8080808080808080ULL;
        if (!stop) continue;
        q += lowest_bit(stop) >> 3;
        if (UNLIKELY(*q != '"')) break;
        *out = (slice){start, (u32)(q - start), 0};
        return q + 1;
    }
    return scan_string_slow(p, end, out);
}

/* At '-' or a digit: RFC 8259's number grammar. */
static const u8 *scan_number(const u8 *p, const u8 *end, slice *out) {
    const u8 *start = p;
    if (p < end && *p == '-') p++;
    if (p >= end || (u8)(*p - '0') > 9) return 0;
    if (*p++ != '0') while (p < end && (u8)(*p - '0') <= 9) p++;
    if (p < end && *p == '.') {
        if (++p >= end || (u8)(*p - '0') > 9) return 0;
        while (p < end && (u8)(*p - '0') <= 9) p++;
    }
    if (p < end && (*p | 32) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (p >= end || (u8)(*p - '0') > 9) return 0;
        while (p < end && (u8)(*p - '0') <= 9) p++;
    }
    *out = (slice){start, (u32)(p - start), 0};
    return p;
}

static const u8 *scan_word(const u8 *p, const u8 *end, const char *word, u32 length) {
    if ((u64)(end - p) < length) return 0;
    for (u32 i = 0; i < length; i++)
        if (p[i] != (u8)word[i]) return 0;
    return p + length;
}

static inline const u8 *skip_scalar(const u8 *p, const u8 *end) {
    slice ignored;
    switch (*p) {
    case '"': return scan_string(p, end, &ignored);
    case 't': return scan_word(p, end, "true", 4);
    case 'f': return scan_word(p, end, "false", 5);
    case 'n': return scan_word(p, end, "null", 4);
    default: return scan_number(p, end, &ignored);
    }
}

/* Any value, however nested (to MAX_DEPTH), without recursion: one bit a level says array or object. */
static const u8 *skip_value(const u8 *p, const u8 *end) {
    u64 objects = 0;
    u32 depth = 0;
    slice ignored;
    for (;;) {
        p = skip_space(p, end);
        if (p >= end) return 0;
        if (*p == '[' || *p == '{') {
            u8 open = *p, close = (u8)(open + 2);
            p = skip_space(p + 1, end);
            if (p >= end) return 0;
            if (*p == close) {
                p++;
            } else {
                if (++depth > MAX_DEPTH) return 0;
                objects = objects << 1 | (open == '{');
                if (open == '[') continue;
                goto key;
            }
        } else {
            p = skip_scalar(p, end);
            if (!p) return 0;
        }
    after:
        if (depth == 0) return p;
        p = skip_space(p, end);
        if (p >= end) return 0;
        if (*p == ((objects & 1) ? '}' : ']')) {
            p++;
            depth--;
            objects >>= 1;
            goto after;
        }
        if (*p++ != ',') return 0;
        if (!(objects & 1)) continue;
        p = skip_space(p, end);
    key:
        if (p >= end || *p != '"') return 0;
        p = scan_string(p, end, &ignored);
        if (!p) return 0;
        p = skip_space(p, end);
        if (p >= end || *p++ != ':') return 0;
    }
}

/* At a key's opening quote: the key, then past the colon to the value's first byte. */
static inline const u8 *scan_key(const u8 *p, const u8 *end, slice *key) {
    if (p >= end || *p != '"') return 0;
    p = scan_string(p, end, key);
    if (!p) return 0;
    if (LIKELY(end - p >= 2 && p[0] == ':' && p[1] > ' ')) return p + 1;
    p = skip_space(p, end);
    if (p >= end || *p++ != ':') return 0;
    p = skip_space(p, end);
    return p < end ? p : 0;
}

/* After a member's value: sets *done at the closing brace, else stands at the next key. */
static inline const u8 *scan_next(const u8 *p, const u8 *end, u8 close, int *done) {
    if (UNLIKELY(p >= end || *p <= ' ')) p = skip_space(p, end);
    if (p >= end) return 0;
    if (*p == close) {
        *done = 1;
        return p + 1;
    }
    if (*p++ != ',') return 0;
    if (UNLIKELY(p >= end || *p <= ' ')) p = skip_space(p, end);
    return p < end ? p : 0;
}

/* A string or a number, as a slice; other values are passed over and leave `out` absent. */
static inline const u8 *scan_scalar(const u8 *p, const u8 *end, slice *out) {
    if (*p == '"') return scan_string(p, end, out);
    *out = (slice){0, 0, 0};
    if (*p == '-' || (u8)(*p - '0') <= 9) return scan_number(p, end, out);
    return skip_value(p, end);
}

/* A whole number, quoted or not. `out` keeps its value and *seen stays where the value is of another type or too long. */
static inline const u8 *scan_integer(const u8 *p, const u8 *end, i64 *out, u32 *seen, u32 bit) {
    slice s;
    const u8 *next = scan_scalar(p, end, &s);
    if (!next || !s.text) return next;
    u32 i = s.length && s.text[0] == '-';
    u64 value = 0;
    if (s.length == i || s.length - i > 18) return next;
    u32 negative = i;
    for (; i < s.length; i++) {
        u32 d = (u32)s.text[i] - '0';
        if (d > 9) return next;
        value = value * 10 + d;
    }
    *out = negative ? -(i64)value : (i64)value;
    *seen |= bit;
    return next;
}

static inline const u8 *scan_bool(const u8 *p, const u8 *end, u32 *out) {
    *out = *p == 't';
    return skip_value(p, end);
}

static inline int slice_is(slice s, const char *word, u32 length) {
    return s.text && s.length == length && !s.escaped && __builtin_memcmp(s.text, word, length) == 0;
}

/* ---- arrays of levels: [["price","qty",...],...] ------------------------------------------------------------------ */

typedef struct level_writer {
    cwts_level *at;    /* next free slot */
    cwts_level *limit;
    u32 price_decimals;
    u32 qty_decimals;
} level_writer;

/* One level the slow way, from '[' to after ']'. */
static const u8 *scan_level_slow(const u8 *p, const u8 *end, level_writer *w) {
    slice price, qty;
    int done = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    p = scan_scalar(p, end, &price);
    if (!p || !(p = scan_next(p, end, ']', &done)) || done) return 0;
    p = scan_scalar(p, end, &qty);
    if (!p || !(p = scan_next(p, end, ']', &done))) return 0;
    while (!done) {
        p = skip_value(p, end);
        if (!p || !(p = scan_next(p, end, ']', &done))) return 0;
    }
    if (!price.text || !qty.text || price.escaped || qty.escaped || w->at >= w->limit) return 0;
    if (!decimal_slow(price.text, price.length, w->price_decimals, &w->at->price)) return 0;
    if (!decimal_slow(qty.text, qty.length, w->qty_decimals, &w->at->qty)) return 0;
    w->at++;
    return p;
}

/* At '['. Levels as the exchanges write them are read 32 bytes at a time: one comparison finds the quotes, one the decimal
 * points; everything else takes the slow way. */
static const u8 *scan_levels(const u8 *p, const u8 *end, level_writer *w) {
    int done = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == ']') return p + 1;
    while (!done) {
        if (p >= end || *p != '[') return 0;
        if (LIKELY(end - p >= 64 && p[1] == '"' && w->at < w->limit)) {
            const u8 *s = p + 2;
            bytes32 text = load_bytes(s);
            u32 quotes = equal_bits(text, '"'), points = equal_bits(text, '.');
            u32 e1 = (u32)lowest_bit(quotes | 1ULL << 32), start = e1 + 3;
            u32 later = quotes & (quotes - 1);
            later &= later - 1;
            u32 e2 = (u32)lowest_bit(later | 1ULL << 32);
            if (UNLIKELY(e2 >= 32 || (load32(s + e1) & 0xFFFFFF) != 0x222C22)) goto slow;
            u32 p1 = (u32)lowest_bit(points | 1ULL << e1);
            u32 p2 = (u32)lowest_bit((points & ~((1ULL << start) - 1)) | 1ULL << e2);
            p1 = p1 < e1 ? p1 : e1;
            p2 = p2 < e2 ? p2 : e2;
            if (UNLIKELY(!decimal_fast(s, e1, p1, w->price_decimals, &w->at->price)
                         || !decimal_fast(s + start, e2 - start, p2 - start, w->qty_decimals, &w->at->qty)))
                return 0;
            const u8 *q = s + e2 + 1;
            if (LIKELY(load16(q) == (',' << 8 | ']') && q[2] == '[')) {
                w->at++;
                p = q + 2;
                continue;
            }
            while (*q == ',') { /* OKX: order counts follow */
                q = skip_space(q + 1, end);
                if (q >= end || !(q = skip_value(q, end)) || (q = skip_space(q, end)) >= end) return 0;
            }
            if (UNLIKELY(*q != ']')) goto slow;
            w->at++;
            p = q + 1;
        } else {
        slow:
            p = scan_level_slow(p, end, w);
            if (!p) return 0;
        }
        p = scan_next(p, end, ']', &done);
        if (!p) return 0;
    }
    return p;
}

#endif
