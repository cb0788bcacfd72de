/* driver.c: what the standalone module has beyond the kernel: feeding frame by frame and timing each with WASI's clock, so
 * that a host's call overhead is not measured. It is the module's only import, and the kernel never calls it. */
#include "cwts.h"
#include "timing.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("clock_time_get")))
int32_t wasi_clock_time_get(int32_t clock, int64_t precision, int64_t *time);

int64_t cwts_feed_each(void *block, const uint8_t *frames, uint32_t bytes, int64_t *ns, uint32_t room);

static int64_t clock_ns(void) {
    int64_t time = 0;
    wasi_clock_time_get(1, 1, &time); /* 1: monotonic */
    return time;
}

/* A frame's nanoseconds are less the clock's own. Returns the number of frames fed in the low and their events in the high 32
 * bits, or a negative error. */
int64_t cwts_feed_each(void *block, const uint8_t *frames, uint32_t bytes, int64_t *ns, uint32_t room) {
    uint32_t at = 0, fed = 0, events = 0;
    int64_t cost = clock_cost(clock_ns);
    while (at < bytes && fed < room) {
        cwts_frame frame;
        if (bytes - at < sizeof frame) return CWTS_E_FRAME;
        __builtin_memcpy(&frame, frames + at, sizeof frame);
        uint64_t whole = sizeof frame + (((uint64_t)frame.length + 7) & ~(uint64_t)7);
        if (whole > bytes - at) return CWTS_E_FRAME;
        int64_t began = clock_ns();
        int32_t result = cwts_feed(block, frames + at, (uint32_t)whole);
        int64_t took = clock_ns() - began - cost;
        ns[fed++] = took > 0 ? took : 0;
        if (result < 0) return result;
        events |= (uint32_t)result;
        at += (uint32_t)whole;
    }
    return (int64_t)((uint64_t)events << 32 | fed);
}
