/* frames.c: fuzzes the frame reader: the input is what stands where frames are expected, headers and all. It comes out of
 * the engine's own ring or file, so only its lengths may be wrong: nothing beyond the bytes given may be read, the frames
 * before a bad one count, and two kernels agree. See fuzz.h. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 60000) return 0;
    u32 exchange = data[0] & 3, bytes = (u32)size - 1, at = 0;
    widest = !(data[0] & 32) && has_avx512();
    static const u32 contracts[4] = {CWTS_SPOT, CWTS_LINEAR, CWTS_INVERSE, CWTS_LINEAR};
    const cwts_config config = fuzz_config(exchange, "BTCUSDT", 1, 3, contracts[exchange]);
    blocks_init(&config, exchange);
    memcpy(batch_buffer, data + 1, bytes);
    ASAN_POISON_MEMORY_REGION(batch_buffer + bytes, RED_ZONE);
    i32 all = cwts_feed(&batch_block, batch_buffer, bytes);
    ASAN_UNPOISON_MEMORY_REGION(batch_buffer + bytes, RED_ZONE);
    i32 events = 0;
    while (at < bytes) {
        cwts_frame f;
        u32 whole = bytes - at;
        if (whole >= sizeof f) {
            memcpy(&f, batch_buffer + at, sizeof f);
            if (f.length <= whole - sizeof f && ((f.length + 7) & ~7u) <= whole - sizeof f) whole = (u32)sizeof f + ((f.length + 7) & ~7u);
        }
        memcpy(each_buffer, batch_buffer + at, whole);
        ASAN_POISON_MEMORY_REGION(each_buffer + whole, RED_ZONE);
        i32 result = other_feed(&each_block, each_buffer, whole);
        ASAN_UNPOISON_MEMORY_REGION(each_buffer + whole, RED_ZONE);
        at += whole;
        if (result < 0) {
            CHECK(result == CWTS_E_FRAME && at == bytes, "%d", result);
            events = result;
        } else {
            events |= result;
        }
    }
    CHECK(all == events, "%x in a batch, %x one by one", (u32)all, (u32)events);
    check_blocks();
    return 0;
}
