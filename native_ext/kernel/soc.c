/* soc.c: self-organised criticality. */
#include "numeric.h"

static void soc_second(cwts_block *k) { (void)k; }
