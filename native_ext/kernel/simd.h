/* simd.h: the vector types of the kernel and the one operation that vector extensions lack, "which bytes are equal".
 *
 * Floating point always works on eight virtual lanes, so that every target sums in the same order. Byte comparison gives
 * one bit a byte, lowest address first, whatever the width of the registers: integers, so equal everywhere. */
#ifndef CWTS_SIMD_H
#define CWTS_SIMD_H

#include "internal.h"

typedef u8 u8x16 __attribute__((vector_size(16)));
typedef u64 u64x4 __attribute__((vector_size(32)));
typedef i64 i64x4 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef double f64x4 __attribute__((vector_size(32)));

/* The sum of eight lanes, always in this order. By address: compilers disagree on how to pass a vector without AVX. */
static inline float by_halves(const f32x8 *v) {
    f32x4 a, b;
    __builtin_memcpy(&a, v, 16);
    __builtin_memcpy(&b, (const char *)v + 16, 16);
    a += b;
    return (a[0] + a[2]) + (a[1] + a[3]);
}

#if defined(__AVX2__) || defined(CWTS_AVX2)
#include <immintrin.h>
typedef struct { __m256i v; } bytes32;
static inline bytes32 load_bytes(const u8 *p) { return (bytes32){_mm256_loadu_si256((const __m256i *)(const void *)p)}; }
static inline u32 equal_bits(bytes32 b, u8 c) {
    return (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b.v, _mm256_set1_epi8((char)c)));
}
/* Bytes that end or complicate a JSON string: a quote, a backslash, a control character. */
static inline u32 string_bits(bytes32 b) {
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(b.v, _mm256_set1_epi8(0x1F)), b.v);
    __m256i quote = _mm256_cmpeq_epi8(b.v, _mm256_set1_epi8('"')), back = _mm256_cmpeq_epi8(b.v, _mm256_set1_epi8('\\'));
    return (u32)_mm256_movemask_epi8(_mm256_or_si256(control, _mm256_or_si256(quote, back)));
}
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef struct { __m128i lo, hi; } bytes32;
static inline bytes32 load_bytes(const u8 *p) {
    return (bytes32){_mm_loadu_si128((const __m128i *)(const void *)p), _mm_loadu_si128((const __m128i *)(const void *)(p + 16))};
}
static inline u32 equal_bits(bytes32 b, u8 c) {
    __m128i want = _mm_set1_epi8((char)c);
    u32 lo = (u32)_mm_movemask_epi8(_mm_cmpeq_epi8(b.lo, want)), hi = (u32)_mm_movemask_epi8(_mm_cmpeq_epi8(b.hi, want));
    return lo | hi << 16;
}
static inline __m128i string_mask(__m128i v) {
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
    return _mm_or_si128(control, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
}
static inline u32 string_bits(bytes32 b) {
    return (u32)_mm_movemask_epi8(string_mask(b.lo)) | (u32)_mm_movemask_epi8(string_mask(b.hi)) << 16;
}
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
typedef struct { v128_t lo, hi; } bytes32;
static inline bytes32 load_bytes(const u8 *p) { return (bytes32){wasm_v128_load(p), wasm_v128_load(p + 16)}; }
static inline u32 equal_bits(bytes32 b, u8 c) {
    v128_t want = wasm_i8x16_splat((int8_t)c);
    u32 lo = (u32)wasm_i8x16_bitmask(wasm_i8x16_eq(b.lo, want)), hi = (u32)wasm_i8x16_bitmask(wasm_i8x16_eq(b.hi, want));
    return lo | hi << 16;
}
static inline v128_t string_mask(v128_t v) {
    v128_t control = wasm_u8x16_lt(v, wasm_i8x16_splat(0x20));
    return wasm_v128_or(control, wasm_v128_or(wasm_i8x16_eq(v, wasm_i8x16_splat('"')), wasm_i8x16_eq(v, wasm_i8x16_splat('\\'))));
}
static inline u32 string_bits(bytes32 b) {
    return (u32)wasm_i8x16_bitmask(string_mask(b.lo)) | (u32)wasm_i8x16_bitmask(string_mask(b.hi)) << 16;
}
#else
/* NEON and everything else: vector extensions, then the high bits gathered by a multiplication. */
typedef struct { u8x16 lo, hi; } bytes32;
static inline bytes32 load_bytes(const u8 *p) {
    bytes32 b;
    __builtin_memcpy(&b.lo, p, 16);
    __builtin_memcpy(&b.hi, p + 16, 16);
    return b;
}
static inline u32 gather_bits(u8x16 mask) {
    u64 half[2];
    mask &= (u8x16){1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    __builtin_memcpy(half, &mask, 16);
    return (u32)((half[0] * 0x0101010101010101ULL) >> 56) | (u32)((half[1] * 0x0101010101010101ULL) >> 56) << 8;
}
static inline u32 equal_bits(bytes32 b, u8 c) {
    u8x16 want = {c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c};
    return gather_bits((u8x16)(b.lo == want)) | gather_bits((u8x16)(b.hi == want)) << 16;
}
static inline u8x16 string_mask(u8x16 v) { return (u8x16)(v < 0x20) | (u8x16)(v == '"') | (u8x16)(v == '\\'); }
static inline u32 string_bits(bytes32 b) { return gather_bits(string_mask(b.lo)) | gather_bits(string_mask(b.hi)) << 16; }
#endif

/* Whether `count` bytes (a multiple of 32) of `a` are those of `text` wherever `care` has bits. */
static inline int bytes_match(const u8 *a, const u8 *text, const u8 *care, u32 count) {
    u64x4 wrong = {0};
    for (u32 i = 0; i < count; i += 32) {
        u64x4 x, y, z;
        __builtin_memcpy(&x, a + i, 32);
        __builtin_memcpy(&y, text + i, 32);
        __builtin_memcpy(&z, care + i, 32);
        wrong |= (x ^ y) & z;
    }
    return (wrong[0] | wrong[1] | wrong[2] | wrong[3]) == 0;
}

/* Two numbers at once: each begins within 16 readable bytes and is taken apart by its table, see format_make. Returns 0
 * where either is not written as its table says. */
#if defined(__AVX2__) || defined(CWTS_AVX2)
#define CWTS_TWO_NUMBERS
static inline int two_numbers(const u8 *a, const u8 *b, const cwts_number *ta, const cwts_number *tb, u32 *va, u32 *vb) {
#define LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
    __m128i x = _mm_xor_si128(LOAD(a), LOAD(ta->want)), y = _mm_xor_si128(LOAD(b), LOAD(tb->want));
    __m128i wrong = _mm_or_si128(_mm_and_si128(x, LOAD(ta->care)), _mm_and_si128(y, LOAD(tb->care)));
    __m128i digits = _mm_or_si128(_mm_shuffle_epi8(x, LOAD(ta->take)), _mm_shuffle_epi8(y, LOAD(tb->take)));
#undef LOAD
    wrong = _mm_or_si128(wrong, _mm_subs_epu8(digits, _mm_set1_epi8(9)));
    if (UNLIKELY(!_mm_testz_si128(wrong, wrong))) return 0;
    __m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010A));
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
    __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    u64 both = (u64)_mm_cvtsi128_si64(eights);
    *va = (u32)both;
    *vb = (u32)(both >> 32);
    return 1;
}
#elif defined(__wasm_simd128__)
#define CWTS_TWO_NUMBERS
static inline int two_numbers(const u8 *a, const u8 *b, const cwts_number *ta, const cwts_number *tb, u32 *va, u32 *vb) {
    v128_t x = wasm_v128_xor(wasm_v128_load(a), wasm_v128_load(ta->want)), y = wasm_v128_xor(wasm_v128_load(b), wasm_v128_load(tb->want));
    v128_t wrong = wasm_v128_or(wasm_v128_and(x, wasm_v128_load(ta->care)), wasm_v128_and(y, wasm_v128_load(tb->care)));
    v128_t digits = wasm_v128_or(wasm_i8x16_swizzle(x, wasm_v128_load(ta->take)), wasm_i8x16_swizzle(y, wasm_v128_load(tb->take)));
    wrong = wasm_v128_or(wrong, wasm_u8x16_sub_sat(digits, wasm_i8x16_splat(9)));
    if (UNLIKELY(wasm_v128_any_true(wrong))) return 0;
    v128_t pairs = wasm_i16x8_add(wasm_i16x8_mul(wasm_v128_and(digits, wasm_i16x8_splat(0xFF)), wasm_i16x8_splat(10)),
                                  wasm_u16x8_shr(digits, 8));
    v128_t fours = wasm_i32x4_dot_i16x8(pairs, wasm_i32x4_splat(0x00010064));
    v128_t eights = wasm_i32x4_dot_i16x8(wasm_u16x8_narrow_i32x4(fours, fours), wasm_i32x4_splat(0x00012710));
    *va = (u32)wasm_i32x4_extract_lane(eights, 0);
    *vb = (u32)wasm_i32x4_extract_lane(eights, 1);
    return 1;
}
#endif

/* 64 bytes at once, see scan_levels_wide. */
#ifdef CWTS_AVX512
#define ONES8 0x0101010101010101ULL
#define BYTES_IN_ORDER _mm512_set_epi64(0x3F3E3D3C3B3A3938, 0x3736353433323130, 0x2F2E2D2C2B2A2928, 0x2726252423222120, \
                                        0x1F1E1D1C1B1A1918, 0x1716151413121110, 0x0F0E0D0C0B0A0908, 0x0706050403020100)
#define EVEN_BYTES _mm512_set_epi64(14 * ONES8, 12 * ONES8, 10 * ONES8, 8 * ONES8, 6 * ONES8, 4 * ONES8, 2 * ONES8, 0)
#define ODD_BYTES _mm512_set_epi64(15 * ONES8, 13 * ONES8, 11 * ONES8, 9 * ONES8, 7 * ONES8, 5 * ONES8, 3 * ONES8, ONES8)
/* The bytes that a mask selects, side by side. Into a register that was cleared just before: where the instruction does that itself, Zen
 * 4 waits for what the register held, and a loop runs at half its speed. */
static inline __m512i compress_bytes(__mmask64 mask, __m512i bytes) {
    __m512i to = _mm512_setzero_si512();
    __asm__("" : "+v"(to));
    return _mm512_mask_compress_epi8(to, mask, bytes);
}
#endif

#endif
