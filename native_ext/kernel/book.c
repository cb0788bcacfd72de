/* book.c: one side of the order book. Updates cost O(1): a flat array indexed by price around the touch, with a three-level
 * bitmap to find the next best level, and a hash table for what lies outside it.
 *
 * Keys grow towards the touch on both sides (see cwts_side_book), so that one piece of code serves bids and asks. The hash
 * table only ever holds keys below the window: a better level than the window can hold moves the window. */
#include "simd.h"

#define WINDOW_MASK (CWTS_WINDOW - 1)
#define FAR_MASK (CWTS_FAR - 1)
#define FAR_FULL (CWTS_FAR - CWTS_FAR / 8) /* linear probing stays short below this load */
#define ABOVE (CWTS_WINDOW / 8)            /* room left above the best key when the window is placed */

static inline i64 price_of(u32 side, i64 key) { return side == CWTS_BID ? key : -key; }

/* ---- levels outside the window ------------------------------------------------------------------------------------ */

static inline u32 far_home(i64 key) { return (u32)(((u64)key * 0x9E3779B97F4A7C15ULL) >> (64 - 15)); }
_Static_assert(CWTS_FAR == 1 << 15, "far_home makes 15 bits");

static void far_remove(cwts_side_book *b, i64 key) {
    u32 i = far_home(key);
    while (b->far[i].qty && b->far[i].price != key) i = (i + 1) & FAR_MASK;
    if (!b->far[i].qty) return;
    /* Knuth 6.4 R: close the gap, so that no tombstones are needed */
    for (u32 j = (i + 1) & FAR_MASK; b->far[j].qty; j = (j + 1) & FAR_MASK) {
        u32 home = far_home(b->far[j].price);
        if (((j - home) & FAR_MASK) >= ((j - i) & FAR_MASK)) {
            b->far[i] = b->far[j];
            i = j;
        }
    }
    b->far[i] = (cwts_level){0, 0};
    b->far_count--;
    b->far_known = 0;
}

/* Returns 0 where there is no room. */
static int far_put(cwts_side_book *b, i64 key, i64 qty) {
    u32 i = far_home(key);
    while (b->far[i].qty && b->far[i].price != key) i = (i + 1) & FAR_MASK;
    if (!b->far[i].qty) {
        if (b->far_count >= FAR_FULL) return 0;
        b->far_count++;
    }
    b->far[i] = (cwts_level){key, qty};
    b->far_known = 0;
    return 1;
}

/* Finds the best levels of the table in one pass, into a small sorted list. */
static void far_find_top(cwts_side_book *b) {
    u32 n = 0;
    for (u32 i = 0; i < CWTS_FAR; i++) {
        cwts_level far = b->far[i];
        if (!far.qty || (n == CWTS_TOP && far.price < b->far_top[CWTS_TOP - 1].price)) continue;
        u32 at = n < CWTS_TOP ? n++ : CWTS_TOP - 1;
        for (; at && b->far_top[at - 1].price < far.price; at--) b->far_top[at] = b->far_top[at - 1];
        b->far_top[at] = far;
    }
    b->far_top_count = n;
    b->far_known = 1;
}

/* ---- the window --------------------------------------------------------------------------------------------------- */

/* 64 prices have lost their last level or got their first: seldom, where levels change. */
static inline void word_mark(cwts_side_book *b, u32 word, u64 bits) {
    u32 group = word >> 6;
    u64 summary = (b->summary[group] & ~(1ULL << (word & 63))) | (u64)(bits != 0) << (word & 63);
    b->summary[group] = summary;
    b->summary_top = (b->summary_top & ~(1ULL << group)) | (u64)(summary != 0) << group;
}

/* Without a branch on whether a level is new, changed or gone, which is not to be predicted. Returns how many levels more there are. */
static inline u32 cell_set(cwts_side_book *b, u32 cell, i64 qty) {
    u32 word = cell >> 6;
    u64 before = b->bits[word], there = qty != 0;
    u64 after = (before & ~(1ULL << (cell & 63))) | there << (cell & 63);
    b->qty[cell] = qty;
    b->bits[word] = after;
    if (UNLIKELY(!before | !after)) word_mark(b, word, after);
    return (u32)there - (u32)(before >> (cell & 63) & 1);
}

static inline void window_set(cwts_side_book *b, i64 key, i64 qty) { b->count += cell_set(b, (u32)key & WINDOW_MASK, qty); }

/* Where a level's quantity is or would be, for fetching it ahead. */
static inline const void *book_slot(const cwts_side_book *b, i64 key) {
    const void *cell = &b->qty[(u64)key & WINDOW_MASK], *far = &b->far[far_home(key)];
    return (u64)key - (u64)b->base < CWTS_WINDOW ? cell : far;
}

/* The highest set bit at or below `from` in ring order (wrapping once), as a cell; -1 where the window is empty. */
static inline i32 cell_at_or_below(const cwts_side_book *b, u32 from) {
    u32 word = from >> 6;
    u64 w = b->bits[word] & (~0ULL >> (63 - (from & 63)));
    if (LIKELY(w)) return (i32)(word << 6) + highest_bit(w);
    u64 s = b->summary[word >> 6] & ((1ULL << (word & 63)) - 1);
    u32 group = word >> 6;
    if (!s) {
        u64 t = b->summary_top & ((1ULL << group) - 1);
        if (!t) t = b->summary_top;
        if (!t) return -1;
        group = (u32)highest_bit(t);
        s = b->summary[group];
    }
    word = group << 6 | (u32)highest_bit(s);
    return (i32)(word << 6) + highest_bit(b->bits[word]);
}

/* The key of `cell`, given that it lies at or below `key` within one window. */
static inline i64 key_below(i64 key, u32 cell) { return key - (i64)(((u32)key - cell) & WINDOW_MASK); }

/* The best key at or below `key` in the window; NO_KEY where there is none. */
static inline i64 window_best(const cwts_side_book *b, i64 key) {
    if (b->count == 0) return NO_KEY;
    return key_below(key, (u32)cell_at_or_below(b, (u32)key & WINDOW_MASK));
}

/* Moves the window so that it begins at `base`: levels that fall out go to the hash table, those that come in leave it. */
static void window_move(cwts_side_book *b, i64 base) {
    if (b->count) {
        i64 top = b->base + CWTS_WINDOW - 1, key = window_best(b, top);
        for (u32 left = b->count; left; left--) {
            i64 next = left > 1 ? window_best(b, key - 1) : NO_KEY;
            if (key < base || key - base >= CWTS_WINDOW) {
                i64 qty = b->qty[(u32)key & WINDOW_MASK];
                window_set(b, key, 0);
                if (!far_put(b, key, qty)) b->far_lost = max64(b->far_lost, key);
            }
            key = next;
        }
    }
    b->base = base;
    if (b->far_count == 0) return;
    /* Removal shifts later entries back to the slot under the hand, so it is looked at until it stays. */
    for (u32 i = 0; i < CWTS_FAR; i++) {
        cwts_level *far = &b->far[i];
        while (far->qty && far->price >= base && far->price - base < CWTS_WINDOW) {
            cwts_level level = *far;
            far_remove(b, level.price);
            window_set(b, level.price, level.qty);
        }
    }
}

static void side_clear(cwts_side_book *b) {
    for (u32 w = 0; b->count && w < CWTS_WINDOW_WORDS; w++)
        for (; b->bits[w]; b->bits[w] &= b->bits[w] - 1, b->count--) b->qty[w << 6 | (u32)lowest_bit(b->bits[w])] = 0;
    if (b->far_count) __builtin_memset(b->far, 0, sizeof b->far);
    __builtin_memset(b->summary, 0, sizeof b->summary);
    __builtin_memset(b->top, 0, sizeof b->top);
    __builtin_memset(b->far_top, 0, sizeof b->far_top);
    b->summary_top = 0;
    b->far_count = b->top_count = b->far_known = b->far_top_count = 0;
    b->top_version++;
    b->base = 0;
    b->best = b->far_lost = b->touched = NO_KEY;
}

/* A level outside the window. */
static void side_set_far(cwts_side_book *b, i64 key, i64 qty, u64 *lost) {
    if (qty == 0) {
        far_remove(b, key);
    } else if (key > b->base || (b->count == 0 && b->far_count == 0)) { /* above the window, or the first level of all */
        window_move(b, key - (CWTS_WINDOW - 1 - ABOVE));
        window_set(b, key, qty);
        b->best = key;
    } else if (!far_put(b, key, qty)) {
        b->far_lost = max64(b->far_lost, key);
        (*lost)++;
    }
}

/* Levels in the window, up to the first that lies outside it or takes the best one away: returns that. It calls nothing, because
 * Cranelift keeps a function's values in memory where it calls anything, however seldom. */
#if defined(__wasm_simd128__)
static __attribute__((noinline))
#else
static inline __attribute__((always_inline))
#endif
const cwts_level *side_apply_near(cwts_side_book *b, u32 side, const cwts_level *level, const cwts_level *end) {
    i64 base = b->base, best = b->best, touched = b->touched;
    u32 held = b->count;
    for (; level < end; level++) {
        i64 key = price_of(side, level->price), qty = level->qty;
        if (UNLIKELY((u64)key - (u64)base >= CWTS_WINDOW)) break;
        if (UNLIKELY(key >= best)) {
            if (qty) best = key;
            else if (key == best) break;
        }
        touched = max64(touched, key);
        held += cell_set(b, (u32)key & WINDOW_MASK, qty);
    }
    b->count = held;
    b->best = best;
    b->touched = touched;
    return level;
}

/* Absolute quantities for some levels of a side; 0 removes. */
static inline __attribute__((always_inline)) void side_apply(cwts_side_book *b, u32 side, const cwts_level *level, u32 count, u64 *lost) {
    b->touched = NO_KEY;
    for (const cwts_level *end = level + count;; level++) {
        level = side_apply_near(b, side, level, end);
        if (level == end) return;
        i64 key = price_of(side, level->price);
        b->touched = max64(b->touched, key);
        if ((u64)key - (u64)b->base >= CWTS_WINDOW) {
            side_set_far(b, key, level->qty, lost);
        } else {
            window_set(b, key, 0);
            b->best = window_best(b, key);
        }
    }
}

/* After the levels of one message: the best level lies in the window again, with room below it. Returns 0 where a level
 * that had found no room would now belong near the touch, so that the book can no longer be trusted. */
static int side_settle(cwts_side_book *b) {
    if (UNLIKELY(b->best == NO_KEY && b->far_count)) {
        i64 best = NO_KEY;
        for (u32 i = 0; i < CWTS_FAR; i++)
            if (b->far[i].qty) best = max64(best, b->far[i].price);
        window_move(b, best - (CWTS_WINDOW - 1 - ABOVE));
        b->best = best;
    } else if (UNLIKELY(b->best != NO_KEY && b->best - b->base < CWTS_WINDOW / 4)) {
        window_move(b, b->best - (CWTS_WINDOW - 1 - ABOVE));
    }
    return b->far_lost == NO_KEY || b->far_lost < b->base;
}

/* The levels of eight cells, as bytes: how far each is below the first cell (the byte's highest bit), nearest first. */
#define FALL(v, d) (((u64)(v) >> (7 - (d)) & 1) * ((u64)(d) << 8 * __builtin_popcount((v) >> (8 - (d)))))
#define FALLS(v) FALL(v, 0) | FALL(v, 1) | FALL(v, 2) | FALL(v, 3) | FALL(v, 4) | FALL(v, 5) | FALL(v, 6) | FALL(v, 7)
#define FALLS_4(v) FALLS(v), FALLS((v) + 1), FALLS((v) + 2), FALLS((v) + 3)
#define FALLS_16(v) FALLS_4(v), FALLS_4((v) + 4), FALLS_4((v) + 8), FALLS_4((v) + 12)
#define FALLS_64(v) FALLS_16(v), FALLS_16((v) + 16), FALLS_16((v) + 32), FALLS_16((v) + 48)
static const u64 BELOW[256] = {FALLS_64(0), FALLS_64(64), FALLS_64(128), FALLS_64(192)};

/* How far below the best level the best CWTS_TOP are, nearest first, where the 256 cells from it hold so many. Which cells hold a
 * level is not to be predicted: so eight are looked up at once, without a branch, instead of one found after the other. */
static inline int window_top(const cwts_side_book *b, u8 *below) {
    u32 cell = (u32)b->best & WINDOW_MASK, word = cell >> 6, up = 63 - (cell & 63), n = 0, held = 0;
    u64 cells[4];
    for (u32 i = 0; i < 4; i++) {
        u64 high = b->bits[(word - i) & (CWTS_WINDOW_WORDS - 1)], low = b->bits[(word - i - 1) & (CWTS_WINDOW_WORDS - 1)];
        cells[i] = high << up | low >> 1 >> (63 - up);
        held += bits_set(cells[i]);
    }
    if (held < CWTS_TOP) return 0;
#ifdef CWTS_AVX512
    /* 64 at once: each gets a byte, nearest first, and those that hold no level are left out */
    const __m512i turned = _mm512_set_epi64(0, ONES8, 2 * ONES8, 3 * ONES8, 4 * ONES8, 5 * ONES8, 6 * ONES8, 7 * ONES8);
    for (u32 i = 0; n < CWTS_TOP; n += bits_set(cells[i++])) {
        __m512i bytes = _mm512_shuffle_epi8(_mm512_set1_epi64((i64)cells[i]), turned);
        __mmask64 levels = _mm512_test_epi8_mask(bytes, _mm512_set1_epi64(0x0102040810204080));
        __m512i distance = _mm512_add_epi8(BYTES_IN_ORDER, _mm512_set1_epi8((char)(64 * i)));
        _mm512_storeu_si512(below + n, compress_bytes(levels, distance));
    }
    return 1;
#endif
    for (u32 i = 0; n < CWTS_TOP; i++)
#pragma GCC unroll 8
        for (u32 j = 0; j < 8; j++) {
            u32 eight = (u32)(cells[i] >> (56 - 8 * j)) & 255;
            u64 found = BELOW[eight] + (64 * i + 8 * j) * 0x0101010101010101ULL;
            __builtin_memcpy(below + n, &found, 8);
            n += bits_set(eight);
        }
    return 1;
}

/* Re-reads the sorted best levels where the newest message touched them. */
static inline void side_refresh_top(cwts_side_book *b, u32 side) {
    u32 had = b->top_count;
    if (had == CWTS_TOP) {
        i64 last = b->top[CWTS_TOP - 1].price;
        if (b->touched < price_of(side, last)) return;
    }
    u32 n = 0;
    b->top_version++;
    if (b->best != NO_KEY) {
        const i64 best = price_of(side, b->best), step = side == CWTS_BID ? -1 : 1;
        u32 want = b->count < CWTS_TOP ? b->count : CWTS_TOP;
        u32 cell = (u32)b->best & WINDOW_MASK, word = cell >> 6;
        u64 w = b->bits[word] & (~0ULL >> (63 - (cell & 63)));
        u8 below[CWTS_TOP + 64];
        if (window_top(b, below))
            for (; n < CWTS_TOP; n++) b->top[n] = (cwts_level){best + step * (i64)below[n], b->qty[(cell - below[n]) & WINDOW_MASK]};
        while (n < want) {
            for (; w && n < want; n++) {
                u32 at = word << 6 | (u32)highest_bit(w);
                w ^= 1ULL << (at & 63);
                b->top[n] = (cwts_level){best + step * (i64)((cell - at) & WINDOW_MASK), b->qty[at]};
            }
            if (n >= want) break;
            word = (word - 1) & (CWTS_WINDOW_WORDS - 1);
            w = b->bits[word];
            if (LIKELY(w)) continue; /* around the touch the next word is seldom empty */
            word = (u32)cell_at_or_below(b, word << 6 | 63) >> 6;
            w = b->bits[word];
        }
        if (UNLIKELY(n < CWTS_TOP && b->far_count)) { /* the window holds fewer than the top shows, and more lie below it */
            if (!b->far_known) far_find_top(b);
            for (u32 i = 0; n < CWTS_TOP && i < b->far_top_count; i++)
                b->top[n++] = (cwts_level){price_of(side, b->far_top[i].price), b->far_top[i].qty};
        }
    }
    for (u32 i = n; i < had; i++) b->top[i] = (cwts_level){0, 0};
    b->top_count = n;
}
