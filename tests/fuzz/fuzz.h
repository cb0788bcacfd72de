/* fuzz.h: what the decoders' fuzzers share. An input becomes frames; two blocks get them: one in a batch by the baseline
 * kernel, one frame by frame by the AVX2 or the AVX-512 kernel. After each input both must be equal and sound.
 *
 * An input is one byte of options and then messages, one a line. A line that begins with '!' is a frame of ours instead:
 * !r resets the book, !h halts, !u resumes, !t is a timer, !e and !x and four bytes set a threshold, !p, a byte and four bytes
 * set a parameter, !n and a byte load a network.
 *
 * The fuzzers are built with a small block (FUZZ_SMALL; the Makefile makes the sources): all of it is compared after every
 * input, and what is rare at full size (a move of the window, a full hash table, a full stage) happens all the time.
 * The bytes behind a message are poisoned, so that AddressSanitizer sees the first byte read beyond it. */
#ifndef CWTS_FUZZ_H
#define CWTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.c"

/* The fuzzer is to learn the kernel's branches, not ours, and once is enough: the other kernels are built without coverage too. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#endif

#if defined(__x86_64__)
int32_t cwts_init_avx2(void *block, const cwts_config *config);
int32_t cwts_feed_avx2(void *block, const uint8_t *frames, uint32_t bytes);
int32_t cwts_init_avx512(void *block, const cwts_config *config);
int32_t cwts_feed_avx512(void *block, const uint8_t *frames, uint32_t bytes);
#define HAS __builtin_cpu_supports
static int has_avx512(void) {
    return HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl") && HAS("avx512vbmi") && HAS("avx512vbmi2");
}
#else
#define cwts_init_avx2 cwts_init
#define cwts_feed_avx2 cwts_feed
#define cwts_init_avx512 cwts_init
#define cwts_feed_avx512 cwts_feed
static int has_avx512(void) { return 0; }
#endif

/* The other kernel: an input's options say which. */
static int widest;
static i32 other_feed(void *block, const u8 *frames, u32 bytes) { return (widest ? cwts_feed_avx512 : cwts_feed_avx2)(block, frames, bytes); }

#ifdef FUZZ_SMALL
_Static_assert(sizeof(cwts_block) < 1 << 18, "the sources are not the small ones");
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RED_ZONE 256
#define BUFFER (1 << 20)
#define START_NS 1723075200000000000LL
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (UNLIKELY(!(condition))) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                                     \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static _Alignas(64) cwts_block batch_block, each_block;
static struct { _Alignas(64) cwts_block block; } fresh_blocks[4];
static _Alignas(64) u8 batch_buffer[BUFFER + RED_ZONE], each_buffer[BUFFER + RED_ZONE];

static cwts_config fuzz_config(u32 exchange, const char *symbol, u32 price_decimals, u32 qty_decimals, u32 contract) {
    cwts_config c;
    memset(&c, 0, sizeof c);
    c.abi = CWTS_ABI;
    c.exchange = exchange;
    strncpy(c.symbol, symbol, CWTS_SYMBOL - 1);
    c.price_decimals = price_decimals;
    c.qty_decimals = qty_decimals;
    c.contract = contract;
    c.parts = CWTS_PART_ALL;
    c.tick_size = c.lot_size = 1;
    c.contract_size_e8 = 100000000;
    c.capital_e8 = 100000000000;
    c.order_notional_e8 = 20000000000;
    c.max_loss_e8 = 20000000000;
    c.max_spread = c.max_slippage = 1000000;
    c.order_latency_ns = 1000000;
    c.max_hold_ns = 300000000;
    c.stale_ns = 3000000000;
    c.taker_fee_ppm = 500;
    c.maker_fee_ppm = 200;
    c.enter = 0.05f;
    c.exit = 0.02f;
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i++) c.weights[i] = i & 1 ? 0.3f : -0.2f;
    memcpy(c.parameter, PARAMETER_DEFAULT, sizeof PARAMETER_DEFAULT);
    return c;
}

/* ---- what must hold ----------------------------------------------------------------------------------------------- */

/* The levels outside the window: found by their own hash, below the window, as many as are counted. */
UNCHECKED static void check_far(const cwts_side_book *b) {
    u32 found = 0;
    for (u32 i = 0; i < CWTS_FAR; i++) {
        const cwts_level *far = &b->far[i];
        if (far->qty == 0) {
            CHECK(far->price == 0, "slot %u is free and holds a price", i);
            continue;
        }
        found++;
        CHECK(far->qty > 0, "slot %u", i);
        CHECK(far->price < b->base, "key %lld lies in or above the window from %lld", (long long)far->price, (long long)b->base);
        for (u32 at = far_home(far->price); at != i; at = (at + 1) & FAR_MASK)
            CHECK(b->far[at].qty && b->far[at].price != far->price, "key %lld is not found from its home", (long long)far->price);
    }
    CHECK(found == b->far_count, "%u found, %u counted", found, b->far_count);
}

UNCHECKED static void check_cells(const cwts_side_book *b) {
    for (u32 cell = 0; cell < CWTS_WINDOW; cell++)
        CHECK(((b->bits[cell >> 6] >> (cell & 63)) & 1) == (b->qty[cell] != 0), "cell %u", cell);
}

static void check_side(const cwts_side_book *b, u32 side, u32 synced) {
    u32 count = 0, n = 0;
    i64 best = NO_KEY;
    for (u32 g = 0; g < CWTS_SUMMARY_WORDS; g++)
        CHECK(((b->summary_top >> g) & 1) == (b->summary[g] != 0), "summary word %u", g);
    for (u32 w = 0; w < CWTS_WINDOW_WORDS; w++) {
        u64 bits = b->bits[w];
        CHECK(((b->summary[w >> 6] >> (w & 63)) & 1) == (bits != 0), "word %u", w);
        for (; bits; bits &= bits - 1) {
            u32 cell = w << 6 | (u32)lowest_bit(bits);
            i64 key = (i64)((u64)b->base + ((cell - (u32)b->base) & WINDOW_MASK));
            CHECK(b->qty[cell] > 0, "cell %u", cell);
            best = key > best ? key : best;
            count++;
        }
    }
    CHECK(count == b->count, "%u set, %u counted", count, b->count);
    CHECK(best == b->best, "%lld is best, %lld is said to be", (long long)best, (long long)b->best);
    CHECK(synced || (b->count == 0 && b->far_count == 0 && b->top_count == 0), "a book that is not valid is not empty");
    CHECK(b->best != NO_KEY || b->far_count == 0, "the window is empty while %u levels lie outside", b->far_count);
    u32 want = b->count + b->far_count < CWTS_TOP ? b->count + b->far_count : CWTS_TOP;
    CHECK(b->top_count == want, "%u of %u shown", b->top_count, want);
    i64 key = b->best, last = 0;
    for (; n < b->top_count; n++) {
        cwts_level level = b->top[n];
        i64 level_key = price_of(side, level.price);
        CHECK(level.qty > 0, "top %u", n);
        CHECK(n == 0 || level_key < last, "top %u is not sorted", n);
        last = level_key;
        if (n < b->count) {
            CHECK(level_key == key, "top %u is %lld instead of %lld", n, (long long)level_key, (long long)key);
            CHECK(level.qty == b->qty[(u32)key & WINDOW_MASK], "top %u has another quantity", n);
            key = n + 1 < b->count ? window_best(b, key - 1) : NO_KEY;
        }
    }
    for (; n < CWTS_TOP; n++) CHECK(b->top[n].price == 0 && b->top[n].qty == 0, "top %u is left over", n);
}

/* What a reader sees is what the engine holds. */
static void check_published(const cwts_block *k) {
    cwts_snapshot s;
    CHECK(cwts_read(k, &s) == 1, "sequence %llu", (unsigned long long)k->published.sequence);
    CHECK(memcmp(s.bid, k->side[0].top, sizeof s.bid) == 0 && memcmp(s.ask, k->side[1].top, sizeof s.ask) == 0, "the levels differ");
    CHECK(s.synced == k->sync.synced && s.messages == k->counters.messages && s.equity_e8 == k->account.equity_e8, "the state differs");
}

UNCHECKED static void check_equal(const cwts_block *a, const cwts_block *b) {
    const u64 *x = (const u64 *)(const void *)a, *y = (const u64 *)(const void *)b;
    for (u32 i = 0; i < __builtin_offsetof(cwts_block, published) / 8; i++)
        CHECK(x[i] == y[i], "byte %u of the state: %llx, %llx", 8 * i, (unsigned long long)x[i], (unsigned long long)y[i]);
}

/* Whatever came in, a signal is a number that can be compared and drawn, and a share is a share. */
static void check_signals(const cwts_block *k) {
    static const u8 SHARES[] = {CWTS_S_WHALE_CONFIDENCE, CWTS_S_CRITICALITY, CWTS_S_BRANCHING, CWTS_S_SWAN_PROBABILITY, CWTS_S_SWAN_ALARM,
                                CWTS_S_VACUUM, CWTS_S_RISK, CWTS_S_CONFLUENCE, CWTS_S_CASCADE_UP, CWTS_S_CASCADE_DOWN, CWTS_S_WHALE_UP,
                                CWTS_S_WHALE_DOWN};
    const float *value = k->signals.value;
    for (u32 i = 0; i < CWTS_SIGNAL_ROOM; i++) CHECK(value[i] >= -3.4e38f && value[i] <= 3.4e38f, "signal %u", i);
    for (u32 i = 0; i < sizeof SHARES; i++) CHECK(value[SHARES[i]] >= 0.0f && value[SHARES[i]] <= 1.0f, "signal %u", SHARES[i]);
    CHECK(value[CWTS_S_WHALE_PRESSURE] >= -1.0f && value[CWTS_S_WHALE_PRESSURE] <= 1.0f, "whale pressure");
    CHECK(value[CWTS_S_ANTIFRAGILITY] >= -1.0f && value[CWTS_S_ANTIFRAGILITY] <= 1.0f, "antifragility");
}

static void check_blocks(void) {
    const cwts_block *k = &batch_block;
    check_equal(k, &each_block);
    check_signals(k);
    CHECK(k->sync.pending_to <= CWTS_STAGE, "what waits lies outside the stage");
    for (u32 side = 0; side < 2; side++) {
        check_side(&k->side[side], side, k->sync.synced);
        check_cells(&k->side[side]);
        check_far(&k->side[side]);
    }
}

/* ---- RFC 8259, written apart from the kernel's: what the kernel takes must be JSON ---------------------------------- */

typedef struct json_text { const u8 *at, *end; } json_text;

static int json_value(json_text *t, u32 depth);

static void json_space(json_text *t) {
    while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at) t->at++;
}

static int json_take(json_text *t, u8 c) {
    if (t->at >= t->end || *t->at != c) return 0;
    t->at++;
    return 1;
}

static int json_string(json_text *t) {
    if (!json_take(t, '"')) return 0;
    while (t->at < t->end) {
        u8 c = *t->at++;
        if (c == '"') return 1;
        if (c < 32) return 0;
        if (c != '\\') continue;
        if (t->at >= t->end) return 0;
        c = *t->at++;
        if (c == 'u') {
            for (u32 i = 0; i < 4; i++, t->at++)
                if (t->at >= t->end || !*t->at || !strchr("0123456789abcdefABCDEF", *t->at)) return 0;
        } else if (!c || !strchr("\"\\/bfnrt", c)) {
            return 0;
        }
    }
    return 0;
}

static int json_digits(json_text *t) {
    const u8 *start = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') t->at++;
    return t->at > start;
}

static int json_number(json_text *t) {
    json_take(t, '-');
    if (!json_take(t, '0') && !json_digits(t)) return 0;
    if (json_take(t, '.') && !json_digits(t)) return 0;
    if (json_take(t, 'e') || json_take(t, 'E')) {
        if (!json_take(t, '+')) json_take(t, '-');
        if (!json_digits(t)) return 0;
    }
    return 1;
}

static int json_container(json_text *t, u32 depth, u8 close) {
    t->at++;
    json_space(t);
    if (json_take(t, close)) return 1;
    for (;;) {
        if (close == '}') {
            json_space(t);
            if (!json_string(t)) return 0;
            json_space(t);
            if (!json_take(t, ':')) return 0;
        }
        if (!json_value(t, depth + 1)) return 0;
        if (json_take(t, close)) return 1;
        if (!json_take(t, ',')) return 0;
    }
}

static int json_value(json_text *t, u32 depth) {
    static const char *const words[] = {"true", "false", "null"};
    int ok = 0;
    json_space(t);
    if (t->at >= t->end || depth > 200) return 0;
    u8 c = *t->at;
    if (c == '{' || c == '[') ok = json_container(t, depth, (u8)(c + 2));
    else if (c == '"') ok = json_string(t);
    else if (c == '-' || (c >= '0' && c <= '9')) ok = json_number(t);
    else
        for (u32 i = 0; i < 3 && !ok; i++) {
            size_t n = strlen(words[i]);
            ok = (size_t)(t->end - t->at) >= n && memcmp(t->at, words[i], n) == 0;
            if (ok) t->at += n;
        }
    json_space(t);
    return ok;
}

static int is_json(const u8 *text, u32 length) {
    json_text t = {text, text + length};
    return json_value(&t, 0) && t.at == t.end;
}

/* ---- feeding ------------------------------------------------------------------------------------------------------ */

typedef struct book_marks { i64 last_id, best[2]; u32 synced, count[2], far_count[2]; cwts_level top[2][CWTS_TOP]; } book_marks;

static void book_mark(const cwts_block *k, book_marks *m) {
    memset(m, 0, sizeof *m);
    m->last_id = k->sync.last_id;
    m->synced = k->sync.synced;
    for (u32 side = 0; side < 2; side++) {
        m->best[side] = k->side[side].best;
        m->count[side] = k->side[side].count;
        m->far_count[side] = k->side[side].far_count;
        memcpy(m->top[side], k->side[side].top, sizeof m->top[side]);
    }
}

static u32 frame_put(u8 *to, i64 recv_ns, u32 stream, u32 kind, const void *payload, u32 length) {
    cwts_frame f = {.recv_ns = recv_ns, .length = length, .stream = (u16)stream, .kind = (u16)kind};
    u32 padded = (length + 7) & ~7u;
    memcpy(to, &f, sizeof f);
    memcpy(to + sizeof f, payload, length);
    memset(to + sizeof f + length, 0, padded - length);
    return (u32)sizeof f + padded;
}

/* Both blocks as cwts_init leaves them; `number` tells the configurations of one fuzzer apart. */
static void blocks_init(const cwts_config *config, u32 number) {
    cwts_block *fresh = &fresh_blocks[number].block;
    if (!fresh->header.magic) {
        CHECK(cwts_init(fresh, config) == 0, "the configuration is refused");
        CHECK(cwts_init_avx2(&each_block, config) == 0, "the configuration is refused");
        CHECK(memcmp(fresh, &each_block, sizeof *fresh) == 0, "fresh blocks differ");
    }
    memcpy(&batch_block, fresh, sizeof *fresh);
    if (widest) cwts_init_avx512(&each_block, config); /* its hints are its own */
    else memcpy(&each_block, fresh, sizeof *fresh);
}

/* Feeds the `bytes` of frames in batch_buffer: all at once to one block, one by one to the other. */
static void frames_feed(u32 bytes, int okx) {
    u32 at = 0, events = 0;
    for (u32 next = 0; next < bytes;) {
        cwts_frame f;
        memcpy(&f, batch_buffer + next, sizeof f);
        u32 end = next + (u32)sizeof f + f.length;
        next = next + (u32)sizeof f + ((f.length + 7) & ~7u);
        ASAN_POISON_MEMORY_REGION(batch_buffer + end, next - end);
    }
    ASAN_POISON_MEMORY_REGION(batch_buffer + bytes, RED_ZONE);
    i32 all = cwts_feed(&batch_block, batch_buffer, bytes);
    ASAN_UNPOISON_MEMORY_REGION(batch_buffer, bytes + RED_ZONE);
    CHECK(all >= 0, "%d", all);
    while (at < bytes) {
        cwts_frame f;
        book_marks before, after;
        memcpy(&f, batch_buffer + at, sizeof f);
        u32 whole = (u32)sizeof f + ((f.length + 7) & ~7u), end = (u32)sizeof f + f.length;
        memcpy(each_buffer, batch_buffer + at, whole);
        ASAN_POISON_MEMORY_REGION(each_buffer + end, whole - end + RED_ZONE);
        book_mark(&each_block, &before);
        i32 result = other_feed(&each_block, each_buffer, whole);
        ASAN_UNPOISON_MEMORY_REGION(each_buffer, whole + RED_ZONE);
        CHECK(result >= 0, "%d", result);
        events |= (u32)result;
        if (f.kind == CWTS_FRAME_RAW) {
            const u8 *text = each_buffer + sizeof f;
            if (!(result & CWTS_EV_MALFORMED) && !is_json(text, f.length))
                CHECK(okx && skip_space(text, text + f.length) + 4 == text + f.length && memcmp(text + f.length - 4, "pong", 4) == 0,
                      "what is not JSON was taken");
            if (result & (CWTS_EV_MALFORMED | CWTS_EV_IGNORED)) {
                book_mark(&each_block, &after);
                CHECK(memcmp(&before, &after, sizeof before) == 0, "a message that was not taken changed the book");
            }
        }
        at += whole;
    }
    CHECK(events == (u32)all, "events %x in a batch, %x one by one", (u32)all, events);
}

/* A network whose weights follow from one byte; some bytes give one that must be refused. */
static void network_make(cwts_network_command *c, u8 seed) {
    memset(c, 0, sizeof *c);
    c->op = CWTS_COMMAND_LOAD_NETWORK;
    c->index = seed & 3;
    c->network.version = seed & 4 ? 0 : CWTS_NETWORK_VERSION;
    c->network.outputs = c->index == CWTS_NETWORK_VALUE ? 1 : 2;
    c->network.link = c->index == CWTS_NETWORK_VALUE ? CWTS_LINK_LINEAR : CWTS_LINK_LOGISTIC;
    c->network.limit = seed & 8 ? 64.0f : 8.0f;
    float weight = seed & 16 ? 1e6f : 0.1f * (float)(seed >> 5);
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i++) c->network.scale[i] = seed == 255 ? 0.0f : 1.0f;
    for (u32 i = 0; i < CWTS_FIRST_WEIGHTS; i++) c->network.w1[i] = i % 3 ? weight : -weight;
    for (u32 i = 0; i < CWTS_LAST_WEIGHTS; i++) c->network.w2[i] = i % 2 ? weight : -weight;
}

/* The input's lines as frames in batch_buffer, behind `at`. */
static u32 lines_to_frames(const u8 *data, size_t size, u32 at, i64 now, i64 step) {
    const u8 *end = data + size;
    while (data < end && at + (u32)size + 2048 < BUFFER) {
        const u8 *stop = memchr(data, '\n', (size_t)(end - data));
        u32 length = (u32)((stop ? stop : end) - data);
        now += step;
        if (length >= 2 && *data == '!') {
            cwts_command command = {0, 0};
            cwts_parameter_command parameter = {CWTS_COMMAND_SET_PARAMETER, 0, length >= 3 ? data[2] : 0, 0};
            cwts_network_command load;
            switch (data[1]) {
            case 'r': command.op = CWTS_COMMAND_RESET_BOOK; break;
            case 'h': command.op = CWTS_COMMAND_HALT; break;
            case 'u': command.op = CWTS_COMMAND_RESUME; break;
            case 'e': command.op = CWTS_COMMAND_SET_ENTER; break;
            case 'x': command.op = CWTS_COMMAND_SET_EXIT; break;
            default: break;
            }
            if (length >= 6) memcpy(&command.value, data + 2, 4);
            if (length >= 7) memcpy(&parameter.value, data + 3, 4);
            if (data[1] == 'p') at += frame_put(batch_buffer + at, now, 0, CWTS_FRAME_COMMAND, &parameter, sizeof parameter);
            else if (data[1] == 'n') {
                network_make(&load, length >= 3 ? data[2] : 0);
                at += frame_put(batch_buffer + at, now, 0, CWTS_FRAME_COMMAND, &load, sizeof load);
            } else if (data[1] == 't') at += frame_put(batch_buffer + at, now, 0, CWTS_FRAME_TIMER, &command, 0);
            else at += frame_put(batch_buffer + at, now, 0, CWTS_FRAME_COMMAND, &command, sizeof command);
        } else {
            at += frame_put(batch_buffer + at, now, length, CWTS_FRAME_RAW, data, length);
        }
        data += length + 1;
    }
    return at;
}

/* The decoders' fuzzers: options, then lines. `snapshots`: messages that make the book valid. */
static int fuzz_messages(const u8 *data, size_t size, const cwts_config *normal, const char *const *snapshots) {
    cwts_config config = *normal;
    if (size < 2 || size > 60000) return 0;
    u32 options = data[0], at = 0;
    widest = !(options & 32) && has_avx512();
    switch (options >> 2 & 3) {
    case 1: config.price_decimals = config.qty_decimals = 8; break;
    case 2: config.price_decimals = 12, config.qty_decimals = 0; break;
    case 3: config.price_decimals = 0, config.qty_decimals = 12; break;
    default: break;
    }
    blocks_init(&config, options >> 2 & 3);
    if (options & 3) {
        const char *snapshot = snapshots[(options & 3) - 1];
        at += frame_put(batch_buffer, START_NS, 0, CWTS_FRAME_RAW, snapshot, (u32)strlen(snapshot));
    }
    at = lines_to_frames(data + 1, size - 1, at, START_NS, options & 16 ? 1000000000 : 700000);
    frames_feed(at, config.exchange == CWTS_OKX);
    check_blocks();
    check_published(&batch_block);
    check_published(&each_block);
    return 0;
}

#pragma clang attribute pop
#endif
