/* binance_usdm.c: fuzzes the reader of Binance USD-M's messages, and the book behind it. See fuzz.h. */
#include "fuzz.h"

static const char BOOK[] = /* an ordinary book */
    "{\"lastUpdateId\":1000,\"bids\":[[\"61800.0\",\"0.100\"],[\"61799.9\",\"0.800\"],[\"61799.8\",\"0.200\"],[\"61"
    "799.7\",\"0.900\"],[\"61799.6\",\"0.300\"],[\"61799.5\",\"1.000\"],[\"61799.4\",\"0.400\"],[\"61799.3\",\"1.10"
    "0\"],[\"61799.2\",\"0.500\"],[\"61799.1\",\"1.200\"]],\"asks\":[[\"61800.1\",\"0.100\"],[\"61800.2\",\"0.800\""
    "],[\"61800.3\",\"0.200\"],[\"61800.4\",\"0.900\"],[\"61800.5\",\"0.300\"],[\"61800.6\",\"1.000\"],[\"61800.7\""
    ",\"0.400\"],[\"61800.8\",\"1.100\"],[\"61800.9\",\"0.500\"],[\"61801.0\",\"1.200\"]]}";

static const char WIDE[] = /* most levels outside the window */
    "{\"lastUpdateId\":1000,\"bids\":[[\"61800.0\",\"0.100\"],[\"60161.6\",\"0.800\"],[\"58523.2\",\"0.200\"],[\"55"
    "246.4\",\"3.000\"],[\"48692.8\",\"3.000\"],[\"1.0\",\"3.000\"]],\"asks\":[[\"61800.5\",\"0.100\"],[\"63438.9\""
    ",\"0.800\"],[\"65077.3\",\"0.200\"],[\"68353.6\",\"3.000\"],[\"74907.2\",\"3.000\"],[\"999999.0\",\"3.000\"]]}";

static const char ONE_SIDED[] = /* no bids */
    "{\"lastUpdateId\":1000,\"bids\":[],\"asks\":[[\"61800.0\",\"0.100\"],[\"61801.0\",\"0.800\"]]}";

static const char *const SNAPSHOTS[3] = {BOOK, WIDE, ONE_SIDED};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const cwts_config config = fuzz_config(CWTS_BINANCE_USDM, "BTCUSDT", 1, 3, CWTS_LINEAR);
    return fuzz_messages(data, size, &config, SNAPSHOTS);
}
