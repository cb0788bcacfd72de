/* liquidation.c: where leverage would be liquidated. */
#include "numeric.h"

static void liquidation_second(cwts_block *k) { (void)k; }
static void liquidation_trade(cwts_block *k, const cwts_trade *t) { (void)k; (void)t; }
