/* network.c: three small networks over the features. */
#include "numeric.h"

static void networks_run(cwts_block *k) { (void)k; }
