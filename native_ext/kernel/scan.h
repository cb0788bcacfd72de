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

/* Up to four bytes as they lie in memory. */
#define BYTES4(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

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

/* At an opening quote. A string without escapes mostly ends within 32 bytes. */
static inline const u8 *scan_string(const u8 *p, const u8 *end, slice *out) {
    const u8 *start = p + 1;
    if (LIKELY(end - start >= 32)) {
        u32 stops = string_bits(load_bytes(start));
        u32 length = (u32)lowest_bit(stops | 1ULL << 32);
        if (LIKELY(length < 32 && start[length] == '"')) {
            *out = (slice){start, length, 0};
            return start + length + 1;
        }
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
    if (LIKELY(end - p >= 2 && p[0] == ',' && p[1] > ' ')) return p + 1;
    p = skip_space(p, end);
    if (p >= end) return 0;
    if (*p == close) {
        *done = 1;
        return p + 1;
    }
    if (*p++ != ',') return 0;
    p = skip_space(p, end);
    return p < end ? p : 0;
}

/* A string or a number, as a slice; other values are passed over and leave `out` absent. */
static inline const u8 *scan_scalar(const u8 *p, const u8 *end, slice *out) {
    if (*p == '"') return scan_string(p, end, out);
    *out = (slice){0, 0, 0};
    if (*p == '-' || (u8)(*p - '0') <= 9) return scan_number(p, end, out);
    return skip_value(p, end);
}

static const u8 *scan_integer_slow(const u8 *p, const u8 *end, i64 *out, u32 *seen, u32 bit) {
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

/* A whole number, quoted or not. `out` keeps its value and *seen stays where the value is of another type or too long. Two
 * words of digits at a time: identifiers and milliseconds have up to 16. */
static inline const u8 *scan_integer(const u8 *p, const u8 *end, i64 *out, u32 *seen, u32 bit) {
    if (LIKELY(end - p >= 24 && (u8)(*p - '1') <= 8)) {
        u64 high = load64(p) ^ ZEROS8, low = load64(p + 8) ^ ZEROS8;
        u64 stop = not_digits(high);
        u32 digits = stop ? (u32)lowest_bit(stop) >> 3 : 8;
        u64 value = digits8(high << (64 - 8 * digits));
        if (digits == 8) {
            stop = not_digits(low);
            u32 more = stop ? (u32)lowest_bit(stop) >> 3 : 8;
            value = value * (u64)POW10[more] + (more ? digits8(low << (64 - 8 * more)) : 0);
            digits += more;
        }
        u8 after = p[digits];
        if (LIKELY(after == ',' || after == '}')) {
            *out = (i64)value;
            *seen |= bit;
            return p + digits;
        }
    }
    return scan_integer_slow(p, end, out, seen, bit);
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
    cwts_level *at;     /* next free slot */
    cwts_level *limit;
    cwts_format *price; /* as the newest level was written */
    cwts_format *qty;
    cwts_formats *formats;
    const cwts_side_book *book; /* where a level will go is fetched while the next one is read */
    i64 sign;
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

#ifdef CWTS_AVX512
/* The same for scan_levels_wide. */
static void formats_make(cwts_formats *f, const cwts_format *one, u32 decimals, u32 place) {
    u32 used = one->fraction < decimals ? one->fraction : decimals, point = one->fraction != 0;
    f->scale[place] = one->ready && used <= 7 ? one->scale : 0;
    if (!f->scale[place]) return;
    u32 extra = one->fraction - used, looked = (place ? 30 : 6) | point, free = place ? 5 : 3;
    /* over the zeros that do not count, and from the whole digits over the point */
    f->digit_at[place] = 0x0706050403020100 + (248 - extra) * ONES8 - (point * ONES8 & ~0ULL >> 8 * used);
    /* a comma and a quote, or a bracket, a comma, a bracket and a quote; and those zeros, if there is room for them */
    f->mark[place] = place ? BYTES4('.', ']', ',', '[') | (u64)'"' << 32 : BYTES4('.', ',', '"', 0);
    f->mark_at[place] = (place ? 0x0403020100 : 0x020100) + (255 - one->fraction);
    f->extra[place] = free + extra > 8 ? extra : 0;
    for (u32 i = 0; i < extra && !f->extra[place]; i++, free++) {
        f->mark[place] |= (u64)'0' << 8 * free;
        f->mark_at[place] |= (u64)(255 - i) << 8 * free;
        looked |= 1U << free;
    }
    for (u32 i = place; i < 8; i += 2) {
        f->least[i] = (u16)(one->fraction + point + 2);
        f->range[i] = (u16)(7 - used);
        f->marks = (f->marks & ~(255ULL << 8 * i)) | (u64)looked << 8 * i;
    }
}
#endif

/* Numbers with so many digits behind the point are expected from now on. */
static void format_expect(cwts_format *one, cwts_formats *both, u32 fraction, u32 decimals, u32 place) {
    format_make(one, fraction, decimals, place);
#ifdef CWTS_AVX512
    formats_make(both, one, decimals, place);
#else
    (void)both;
#endif
}

/* Price and quantity of one level, from `s` behind its `["`; `e1` is the offset of the quote behind the price, `e2` of the one
 * behind the quantity; at least 62 bytes are readable. Returns 0 where either is not a number that fits. */
static inline __attribute__((always_inline)) int scan_level_numbers(const u8 *s, u32 e1, u32 e2, const level_writer *w) {
    u32 start = e1 + 3;
#ifdef CWTS_TWO_NUMBERS
    u32 price, qty;
    if (LIKELY(e1 <= 16 && e2 - start <= 16
               && two_numbers(s, s + start, &w->price->length[e1], &w->qty->length[e2 - start], &price, &qty))) {
        w->at->price = (i64)((u64)price * w->price->scale);
        w->at->qty = (i64)((u64)qty * w->qty->scale);
        return 1;
    }
#endif
    if (e2 > 31) return 0;
    u64 points = equal_bits(load_bytes(s), '.');
    u32 p1 = (u32)lowest_bit(points | 1ULL << e1), p2 = (u32)lowest_bit(points >> start | 1ULL << (e2 - start));
    p1 = p1 < e1 ? p1 : e1;
    p2 = p2 < e2 - start ? p2 : e2 - start;
    if (!decimal_fast(s, e1, p1, w->price_decimals, &w->at->price)
        || !decimal_fast(s + start, e2 - start, p2, w->qty_decimals, &w->at->qty))
        return 0;
#ifdef CWTS_TWO_NUMBERS
    p1 = e1 - p1 - (p1 < e1);
    p2 = e2 - start - p2 - (p2 < e2 - start);
    if (p1 != w->price->fraction) format_expect(w->price, w->formats, p1, w->price_decimals, 0);
    if (p2 != w->qty->fraction) format_expect(w->qty, w->formats, p2, w->qty_decimals, 1);
#endif
    return 1;
}

/* Levels written without a space, as exchanges do: from '[' of one, as long as there are at least 128 bytes. The quotes of 64
 * bytes are found at once and give two or three levels. Returns where it stopped: at a '[' that the careful way must read. */
#if defined(__wasm_simd128__)
/* The same for WebAssembly: Cranelift keeps a loop's values in memory where the loop calls anything, however seldom. So this one calls
 * nothing and also stops at a number that is not written as the one before. */
static inline __attribute__((always_inline)) const u8 *scan_levels_packed(const u8 *p, const u8 *end, level_writer *w) {
    cwts_level *at = w->at, *limit = w->limit;
    const cwts_number *prices = w->price->length, *quantities = w->qty->length;
    const u32 price_scale = w->price->scale, qty_scale = w->qty->scale;
    while (end - p >= 128 && load16(p) == ('[' | '"' << 8)) {
        const u8 *s = p + 2;
        u64 quotes = (u64)equal_bits(load_bytes(s), '"') | (u64)equal_bits(load_bytes(s + 32), '"') << 32;
        u32 from = 0;
        for (;;) {
            u64 second = quotes & (quotes - 1), third = second & (second - 1);
            if (!third) break;
            u32 e1 = (u32)lowest_bit(quotes), e2 = (u32)lowest_bit(third), start = e1 + 3, price, qty;
            if (UNLIKELY((load32(s + e1) & 0xFFFFFF) != BYTES4('"', ',', '"', 0) || at >= limit)) goto out;
            if (UNLIKELY(load32(s + e2) != BYTES4('"', ']', ',', '[') || s[e2 + 4] != '"')) goto out;
            if (UNLIKELY(e1 - from > 16 || e2 - start > 16
                         || !two_numbers(s + from, s + start, &prices[e1 - from], &quantities[e2 - start], &price, &qty)))
                goto out;
            at->price = (i64)((u64)price * price_scale);
            at->qty = (i64)((u64)qty * qty_scale);
            at++;
            from = e2 + 5;
            p = s + from - 2;
            third &= third - 1;
            quotes = third & (third - 1); /* past the quote that opens the next price */
            if (!third) break;
        }
        if (UNLIKELY(from == 0)) break;
    }
out:
    w->at = at;
    return p;
}
#else
static inline __attribute__((always_inline)) const u8 *scan_levels_packed(const u8 *p, const u8 *end, level_writer *w) {
    while (end - p >= 128 && load16(p) == ('[' | '"' << 8)) {
        const u8 *s = p + 2;
        u64 quotes = (u64)equal_bits(load_bytes(s), '"') | (u64)equal_bits(load_bytes(s + 32), '"') << 32;
        u32 from = 0;
        for (;;) {
            u64 second = quotes & (quotes - 1), third = second & (second - 1);
            if (!third) break;
            u32 e1 = (u32)lowest_bit(quotes), e2 = (u32)lowest_bit(third);
            if (UNLIKELY((load32(s + e1) & 0xFFFFFF) != BYTES4('"', ',', '"', 0) || w->at >= w->limit)) return p;
            if (UNLIKELY(load32(s + e2) != BYTES4('"', ']', ',', '[') || s[e2 + 4] != '"')) return p;
            if (UNLIKELY(!scan_level_numbers(s + from, e1 - from, e2 - from, w))) return p;
            __builtin_prefetch(book_slot(w->book, w->sign * w->at->price), 1);
            w->at++;
            from = e2 + 5;
            p = s + from - 2;
            third &= third - 1;
            quotes = third & (third - 1); /* past the quote that opens the next price */
            if (!third) break;
        }
        if (UNLIKELY(from == 0)) return p;
    }
    return p;
}
#endif

/* Levels written without a space, up to four at a time: from '[' of one. The quotes of 64 bytes are found at once and put in order;
 * then a lane of eight bytes for each number gathers its digits, and another what must stand around them. It takes numbers with as
 * many digits behind the point as those before, and at most eight that count. Returns where it stopped: at a '[' that another
 * way must read, or, with *behind set, behind the last level that it took. */
#ifdef CWTS_AVX512
static __attribute__((noinline)) const u8 *scan_levels_wide(const u8 *p, const u8 *end, level_writer *w, int *behind) {
    const cwts_formats *f = w->formats;
    *behind = 0;
    if (UNLIKELY(!f->scale[0] || !f->scale[1] || end - p < 2 || load16(p) != ('[' | '"' << 8))) return p;
#define BOTH(of) _mm512_broadcast_i64x2(_mm_load_si128((const __m128i *)(const void *)(of)))
    const __m512i digit_at = BOTH(f->digit_at), mark_at = BOTH(f->mark_at), mark = BOTH(f->mark), scale = BOTH(f->scale);
#undef BOTH
    const u32 price_extra = f->extra[0], qty_extra = f->extra[1];
    const __m128i least = _mm_load_si128((const __m128i *)(const void *)f->least), range = _mm_load_si128((const __m128i *)(const void *)f->range);
    const __m512i zero = _mm512_set1_epi8('0'), quote = _mm512_set1_epi8('"'), nine = _mm512_set1_epi8(9);
    cwts_level *at = w->at, *const limit = w->limit;
    /* Mostly there are as many levels in as many bytes as the time before; to guess that is faster than to wait for it. */
    u32 levels = 0, length = 2;
    __mmask8 numbers = 0;
    __m512i marked = zero; /* bytes of `mark` that are looked at */
    __m128i most = range;
    while (limit - at >= 4) {
        i64 left = end - p;
        __m512i text = LIKELY(left >= 64) ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(~0ULL >> (64 - left), p);
        __mmask64 quoted = _mm512_cmpeq_epi8_mask(text, quote);
        u64 quotes;
        __asm__("kmovq %1, %0" : "=r"(quotes) : "Yk"(quoted)); /* a mask and a word: compilers would keep one of them */
        if (UNLIKELY(bits_set(_bzhi_u64(quotes, length - 1)) != 4 * levels || !(quotes >> (length - 2) & 1))) {
            levels = bits_set(quotes & ~0ULL >> 1) >> 2; /* a byte follows them */
            if (UNLIKELY(levels == 0)) break;
            levels = levels < 4 ? levels : 4;
            length = (u32)lowest_bit(_pdep_u64(1ULL << (4 * levels - 1), quotes)) + 2;
            numbers = (__mmask8)_bzhi_u32(255, 2 * levels);
            most = _mm_mask_mov_epi16(_mm_set1_epi16(-1), numbers, range);
            marked = _mm512_movm_epi8(_bzhi_u64(f->marks, 16 * levels) & ~(7ULL << (16 * levels - 6))); /* behind the last stands what may */
            __asm__("" : "+r"(levels), "+r"(length)); /* or the compiler waits for them all the same */
        }
        __m512i where = compress_bytes(quoted, BYTES_IN_ORDER);
        __m512i opens = _mm512_permutexvar_epi8(EVEN_BYTES, where), closes = _mm512_permutexvar_epi8(ODD_BYTES, where);
        __m512i from = _mm512_add_epi8(closes, digit_at);
        __m512i digits = _mm512_maskz_permutexvar_epi8(_mm512_cmpgt_epi8_mask(from, opens), from, _mm512_xor_si512(text, zero));
        __m512i found = _mm512_permutexvar_epi8(_mm512_add_epi8(closes, mark_at), text);
        __m128i lengths = _mm_sub_epi16(_mm_maddubs_epi16(_mm512_castsi512_si128(where), _mm_set1_epi16(0x01FF)), least);
        __mmask64 wrong = _kor_mask64(_mm512_cmpgt_epu8_mask(digits, nine), _mm512_test_epi8_mask(_mm512_xor_si512(found, mark), marked));
        wrong = _kor_mask64(wrong, _mm_cmpgt_epu16_mask(lengths, most));
        if (price_extra | qty_extra) {
            u64 price_close = _pdep_u64(_bzhi_u64(0x2222, 4 * levels), quotes), qty_close = _pdep_u64(_bzhi_u64(0x8888, 4 * levels), quotes);
            u64 extra = (price_close - (price_close >> price_extra)) | (qty_close - (qty_close >> qty_extra));
            wrong = _kor_mask64(wrong, _mm512_mask_cmpneq_epi8_mask(extra, text, zero));
        }
        if (UNLIKELY(!_kortestz_mask64_u8(wrong, wrong))) break;
        __m512i fours = _mm512_madd_epi16(_mm512_maddubs_epi16(digits, _mm512_set1_epi16(0x010A)), _mm512_set1_epi32(0x00010064));
        __m512i eights = _mm512_add_epi64(_mm512_mul_epu32(fours, _mm512_set1_epi64(10000)), _mm512_srli_epi64(fours, 32));
        _mm512_mask_storeu_epi64(at, numbers, _mm512_mul_epu32(eights, scale));
        at += levels;
        p += length;
        if (end - p < 4 || (load32(p) & 0xFFFFFF) != BYTES4(',', '[', '"', 0)) {
            *behind = 1;
            break;
        }
        p++;
    }
    w->at = at;
    return p;
}
#endif

/* At '['. Everything that scan_levels_packed does not read is read level by level, or the slow way. */
static const u8 *scan_levels(const u8 *p, const u8 *end, level_writer *writer) {
    int done = 0, behind = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == ']') return p + 1;
#ifdef CWTS_AVX512
    p = scan_levels_wide(p, end, writer, &behind);
    if (LIKELY(behind && p < end && *p == ']')) return p + 1;
#endif
    level_writer w = *writer;
    for (;;) {
        if (!behind) {
            if (p >= end || *p != '[') goto broken;
            p = scan_levels_packed(p, end, &w);
            if (end - p >= 64 && load16(p) == ('[' | '"' << 8) && w.at < w.limit) {
                const u8 *s = p + 2, *q;
                u32 quotes = equal_bits(load_bytes(s), '"'), third = quotes & (quotes - 1);
                third &= third - 1;
                u32 e1 = (u32)lowest_bit(quotes | 1ULL << 32), e2 = (u32)lowest_bit(third | 1ULL << 32);
                if (UNLIKELY(!third || (load32(s + e1) & 0xFFFFFF) != BYTES4('"', ',', '"', 0) || !scan_level_numbers(s, e1, e2, &w))) goto slow;
                __builtin_prefetch(book_slot(w.book, w.sign * w.at->price), 1);
                q = s + e2 + 1;
                while (*q == ',') { /* OKX: order counts follow */
                    q = skip_space(q + 1, end);
                    if (q >= end || !(q = skip_value(q, end)) || (q = skip_space(q, end)) >= end) goto broken;
                }
                if (UNLIKELY(*q != ']')) goto slow;
                w.at++;
                p = q + 1;
            } else {
            slow:
                p = scan_level_slow(p, end, &w);
            }
        }
        if (!p || !(p = scan_next(p, end, ']', &done)) || done) break;
#ifdef CWTS_AVX512
        p = scan_levels_wide(p, end, &w, &behind);
#endif
    }
    writer->at = w.at;
    return p;
broken:
    writer->at = w.at; /* however it was read: the block says how many levels came, and a caller tells a full stage by it */
    return 0;
}

#endif
