/* kernel_avx512.c: the kernel a third time, for processors that have AVX-512 with the byte permutations of VBMI and VBMI2 (Ice Lake,
 * Zen 4 and later), see kernel_avx2.c. Sixty-four bytes of a message are read at once; floating point keeps its eight lanes. */
#if defined(__x86_64__)
#define CWTS_AVX2
#define CWTS_AVX512
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"))), \
                             apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2")
#endif
#define cwts_block_bytes cwts_block_bytes_avx512
#define cwts_init cwts_init_avx512
#define cwts_feed cwts_feed_avx512
#define cwts_latency cwts_latency_avx512
#define cwts_read cwts_read_avx512
#define cwts_network_batch cwts_network_batch_avx512
#include "kernel.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cwts_avx512_is_for_x86_64_only;
#endif
