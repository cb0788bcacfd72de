/* antifragility.c: convexity to volatility. */
#include "numeric.h"

static void antifragility_second(cwts_block *k) { (void)k; }
