/* swan.c: black swan. */
#include "numeric.h"

static void swan_second(cwts_block *k) { (void)k; }
