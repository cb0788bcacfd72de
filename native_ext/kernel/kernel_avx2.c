/* kernel_avx2.c: the same kernel once more for processors with AVX2, under other names; module.c chooses at run time, so
 * that one wheel runs everywhere. The results are the same to the bit: no FMA, the same eight lanes. */
#if defined(__x86_64__)
#define CWTS_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif
#define cwts_block_bytes cwts_block_bytes_avx2
#define cwts_init cwts_init_avx2
#define cwts_feed cwts_feed_avx2
#define cwts_latency cwts_latency_avx2
#define cwts_read cwts_read_avx2
#define cwts_network_batch cwts_network_batch_avx2
#include "kernel.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cwts_avx2_is_for_x86_64_only;
#endif
