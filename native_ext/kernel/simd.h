/* simd.h: the vector types of the kernel and the one operation that vector extensions lack, "which bytes are equal".
 *
 * Floating point always works on eight virtual lanes, so that every target sums in the same order. Byte comparison gives
 * one bit a byte, lowest address first, whatever the width of the registers: integers, so equal everywhere. */
#ifndef CWTS_SIMD_H
#define CWTS_SIMD_H

#include "internal.h"

typedef u8 u8x16 __attribute__((vector_size(16)));

#if defined(__AVX2__) || defined(CWTS_AVX2)
#include <immintrin.h>
typedef struct { __m256i v; } bytes32;
static inline bytes32 load_bytes(const u8 *p) { return (bytes32){_mm256_loadu_si256((const __m256i *)(const void *)p)}; }
static inline u32 equal_bits(bytes32 b, u8 c) {
    return (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b.v, _mm256_set1_epi8((char)c)));
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
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
typedef struct { v128_t lo, hi; } bytes32;
static inline bytes32 load_bytes(const u8 *p) { return (bytes32){wasm_v128_load(p), wasm_v128_load(p + 16)}; }
static inline u32 equal_bits(bytes32 b, u8 c) {
    v128_t want = wasm_i8x16_splat((int8_t)c);
    u32 lo = (u32)wasm_i8x16_bitmask(wasm_i8x16_eq(b.lo, want)), hi = (u32)wasm_i8x16_bitmask(wasm_i8x16_eq(b.hi, want));
    return lo | hi << 16;
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
#endif

#endif
