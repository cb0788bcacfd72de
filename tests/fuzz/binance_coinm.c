/* binance_coinm.c: fuzzes the reader of Binance COIN-M's messages, and the book behind it. See fuzz.h. */
#include "fuzz.h"

static const char BOOK[] = /* an ordinary book */
    "{\"lastUpdateId\":1000,\"symbol\":\"BTCUSD_PERP\",\"bids\":[[\"61800.0\",\"1\"],[\"61799.9\",\"8\"],[\"61799.8"
    "\",\"2\"],[\"61799.7\",\"9\"],[\"61799.6\",\"3\"],[\"61799.5\",\"10\"],[\"61799.4\",\"4\"],[\"61799.3\",\"11\""
    "],[\"61799.2\",\"5\"],[\"61799.1\",\"12\"]],\"asks\":[[\"61800.1\",\"1\"],[\"61800.2\",\"8\"],[\"61800.3\",\"2"
    "\"],[\"61800.4\",\"9\"],[\"61800.5\",\"3\"],[\"61800.6\",\"10\"],[\"61800.7\",\"4\"],[\"61800.8\",\"11\"],[\"6"
    "1800.9\",\"5\"],[\"61801.0\",\"12\"]]}";

static const char WIDE[] = /* most levels outside the window */
    "{\"lastUpdateId\":1000,\"symbol\":\"BTCUSD_PERP\",\"bids\":[[\"61800.0\",\"1\"],[\"60161.6\",\"8\"],[\"58523.2"
    "\",\"2\"],[\"55246.4\",\"3\"],[\"48692.8\",\"3\"],[\"1.0\",\"3\"]],\"asks\":[[\"61800.5\",\"1\"],[\"63438.9\","
    "\"8\"],[\"65077.3\",\"2\"],[\"68353.6\",\"3\"],[\"74907.2\",\"3\"],[\"999999.0\",\"3\"]]}";

static const char ONE_SIDED[] = /* no bids */
    "{\"lastUpdateId\":1000,\"symbol\":\"BTCUSD_PERP\",\"bids\":[],\"asks\":[[\"61800.0\",\"1\"],[\"61801.0\",\"8\""
    "]]}";

static const char *const SNAPSHOTS[3] = {BOOK, WIDE, ONE_SIDED};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const cwts_config config = fuzz_config(CWTS_BINANCE_COINM, "BTCUSD_PERP", 1, 0, CWTS_INVERSE);
    return fuzz_messages(data, size, &config, SNAPSHOTS);
}
