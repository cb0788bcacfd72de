/* fibonacci.c: swings and their levels. */
#include "numeric.h"

static void fibonacci_second(cwts_block *k) { (void)k; }
