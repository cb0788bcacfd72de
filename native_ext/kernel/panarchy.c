/* panarchy.c: the adaptive cycle. */
#include "numeric.h"

static void panarchy_second(cwts_block *k) { (void)k; }
