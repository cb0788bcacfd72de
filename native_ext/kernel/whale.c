/* whale.c: follow the whales. */
#include "numeric.h"

static void whale_second(cwts_block *k) { (void)k; }
static void whale_trade(cwts_block *k, const cwts_trade *t) { (void)k; (void)t; }
static void whale_book(cwts_block *k, i64 now) { (void)k; (void)now; }
