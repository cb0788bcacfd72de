/* internal.h: what the kernel's units share. The kernel is one translation unit (kernel.c includes the others), so every
 * function here and there is static and the compiler sees all of it. */
#ifndef CWTS_INTERNAL_H
#define CWTS_INTERNAL_H

#include "cwts.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define NO_KEY INT64_MIN
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* GCC and Clang turn these into plain loads and stores; nothing is called. */
static inline u64 load64(const u8 *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
static inline u32 load32(const u8 *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
static inline u32 load16(const u8 *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }

static inline int lowest_bit(u64 v) { return __builtin_ctzll(v); }
static inline int highest_bit(u64 v) { return 63 - __builtin_clzll(v); }
#if defined(__POPCNT__) || defined(CWTS_AVX2) || !defined(__x86_64__)
static inline u32 bits_set(u64 v) { return (u32)__builtin_popcountll(v); }
#else /* no instruction for it: Hacker's Delight, 5-2 */
static inline u32 bits_set(u64 v) {
    v -= v >> 1 & 0x5555555555555555ULL;
    v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
    return (u32)(((v + (v >> 4)) & 0x0F0F0F0F0F0F0F0FULL) * 0x0101010101010101ULL >> 56);
}
#endif

static inline i64 min64(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 max64(i64 a, i64 b) { return a > b ? a : b; }

/* Milliseconds to nanoseconds; what no clock says becomes 0. */
static inline i64 ns_of_ms(i64 ms) { return ms < 0 || ms > INT64_MAX / 1000000 ? 0 : ms * 1000000; }

static const i64 POW10[19] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
    10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000};

#endif
