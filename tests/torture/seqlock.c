/* seqlock.c: readers copy the published snapshot while a writer feeds depth updates. Every update gives all levels of the book
 * one quantity, which follows from its number, so that a copy made of two states cannot go unseen.
 *
 *   seqlock SECONDS [READS]   stops after the seconds, or after the reads if given; 0 if no read was torn
 *
 * First the readers copy without looking at the sequence for a moment: that must show torn copies, or the test sees nothing. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cwts.h"

#define READERS 2
#define LEVELS CWTS_TOP
#define START_NS 1723075200000000000LL
#define PRICE 61800

typedef struct counts {
    _Alignas(64) uint64_t reads, torn, busy, states;
} counts;

static _Alignas(64) cwts_block block;
static _Alignas(64) uint8_t frame[8192];
static _Atomic int stop;
static _Atomic uint64_t reads_done;
static int guarded;
static counts result[READERS];

static uint64_t quantity(uint64_t applied) { return 1 + applied % 999; }

/* A copy belongs together: one quantity, the one of its update, at all prices; the times and counters of that update. */
static int is_whole(const cwts_snapshot *s) {
    int64_t qty = (int64_t)quantity(s->applied);
    uint64_t wrong = s->messages != s->applied + 1 || s->now_ns != START_NS + (int64_t)s->applied || s->book_ns != s->now_ns
                  || s->synced != 1 || s->bid_top != LEVELS || s->ask_top != LEVELS;
    for (int i = 0; i < LEVELS; i++) {
        wrong |= (uint64_t)(s->bid[i].qty ^ qty) | (uint64_t)(s->ask[i].qty ^ qty);
        wrong |= (uint64_t)(s->bid[i].price ^ (PRICE - i)) | (uint64_t)(s->ask[i].price ^ (PRICE + 1 + i));
    }
    return wrong == 0;
}

static int copy_unguarded(cwts_snapshot *s) {
    uint64_t *to = (uint64_t *)(void *)s;
    const uint64_t *from = (const uint64_t *)(const void *)&block.published.snapshot;
    for (unsigned i = 0; i < sizeof *s / 8; i++) to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    return 1;
}

static void *reader(void *argument) {
    counts *c = argument;
    uint64_t last = 0;
    cwts_snapshot s;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t before = c->reads;
        for (int i = 0; i < 256; i++) {
            if (!(guarded ? cwts_read(&block, &s) : copy_unguarded(&s))) {
                c->busy++;
                continue;
            }
            c->reads++;
            c->torn += !is_whole(&s);
            c->states += s.applied != last;
            last = s.applied;
        }
        atomic_fetch_add_explicit(&reads_done, c->reads - before, memory_order_relaxed);
    }
    return 0;
}

static void put_digits(char *at, uint64_t value, int digits) {
    for (at += digits; digits--; value /= 10) *--at = (char)('0' + value % 10);
}

/* One frame whose numbers are changed in place: it always has the same length. */
static uint32_t frame_make(char **ids, char **qty, int snapshot) {
    char *text = (char *)frame + sizeof(cwts_frame), *p = text;
    p += sprintf(p, snapshot ? "{\"lastUpdateId\":" : "{\"e\":\"depthUpdate\",\"E\":1723075200000,\"T\":1723075200000,\"s\":\"BTCUSDT\",\"U\":");
    for (int i = 0; i < (snapshot ? 1 : 3); i++) {
        ids[i] = p;
        p += sprintf(p, "%s", i == 0 ? "1000000000001" : i == 1 ? "1000000000001,\"pu\":" : "1000000000000");
        if (i == 0 && !snapshot) {
            p += sprintf(p, ",\"u\":");
        }
    }
    for (int side = 0; side < 2; side++) {
        p += sprintf(p, snapshot ? (side ? "],\"asks\":[" : ",\"bids\":[") : side ? "],\"a\":[" : ",\"b\":[");
        for (int i = 0; i < LEVELS; i++) {
            p += sprintf(p, "%s[\"%d\",\"0.", i ? "," : "", side ? PRICE + 1 + i : PRICE - i);
            qty[side * LEVELS + i] = p;
            p += sprintf(p, "001\"]");
        }
    }
    p += sprintf(p, "]}");
    uint32_t length = (uint32_t)(p - text), padded = (length + 7) & ~7u;
    memset(p, 0, padded - length);
    cwts_frame head = {.recv_ns = START_NS, .length = length};
    memcpy(frame, &head, sizeof head);
    return (uint32_t)sizeof head + padded;
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *ids[3], *qty[2 * LEVELS];

/* Feeds updates until the time is over or enough was read; returns how many. */
static uint64_t write_until(uint64_t applied, uint32_t bytes, double seconds, uint64_t reads) {
    pthread_t threads[READERS];
    double until = seconds_now() + seconds;
    uint64_t updates = 0;
    atomic_store(&stop, 0);
    atomic_store(&reads_done, 0);
    memset(result, 0, sizeof result);
    for (int i = 0; i < READERS; i++) pthread_create(&threads[i], 0, reader, &result[i]);
    while (seconds_now() < until && (!reads || atomic_load_explicit(&reads_done, memory_order_relaxed) < reads)) {
        for (int i = 0; i < 64; i++) {
            uint64_t id = 1000000000000 + ++applied;
            int64_t now = START_NS + (int64_t)applied;
            updates++;
            put_digits(ids[0], id, 13);
            put_digits(ids[1], id, 13);
            put_digits(ids[2], id - 1, 13);
            for (int k = 0; k < 2 * LEVELS; k++) put_digits(qty[k], quantity(applied), 3);
            memcpy(frame, &now, sizeof now);
            int32_t events = cwts_feed(&block, frame, bytes);
            if (events < 0 || !(events & CWTS_EV_BOOK)) {
                fprintf(stderr, "update %llu was not applied: %x\n", (unsigned long long)applied, (unsigned)events);
                exit(2);
            }
        }
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], 0);
    return updates;
}

static counts total(void) {
    counts sum = {0};
    for (int i = 0; i < READERS; i++) {
        sum.reads += result[i].reads;
        sum.torn += result[i].torn;
        sum.busy += result[i].busy;
        sum.states += result[i].states;
    }
    return sum;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    uint64_t reads = argc > 2 ? strtoull(argv[2], 0, 10) : 0;
    cwts_config config = {.abi = CWTS_ABI, .exchange = CWTS_BINANCE_USDM, .symbol = "BTCUSDT", .qty_decimals = 3, .contract = CWTS_LINEAR,
                          .parts = CWTS_PART_ALL, .tick_size = 1, .lot_size = 1, .contract_size_e8 = 100000000, .max_loss_e8 = 1,
                          .max_hold_ns = 1, .stale_ns = 1000000000, .enter = 1, .exit = 1};
    memcpy(config.parameter, PARAMETER_DEFAULT, sizeof PARAMETER_DEFAULT);
    if (cwts_init(&block, &config) != 0) return 2;
    uint32_t bytes = frame_make(ids, qty, 1);
    put_digits(ids[0], 1000000000000, 13);
    for (int k = 0; k < 2 * LEVELS; k++) put_digits(qty[k], quantity(0), 3);
    if (!(cwts_feed(&block, frame, bytes) & CWTS_EV_SYNCED)) return 2;
    bytes = frame_make(ids, qty, 0);

    guarded = 0;
    uint64_t updates = write_until(0, bytes, seconds < 1 ? seconds : 1, 0);
    counts loose = total();
    guarded = 1;
    double began = seconds_now();
    uint64_t more = write_until(updates, bytes, seconds, reads);
    counts c = total();
    printf("without the sequence: %llu copies, %llu torn\n", (unsigned long long)loose.reads, (unsigned long long)loose.torn);
    printf("with it: %llu reads of %llu states by %d readers, %llu updates, %.1f s, %llu given up, %llu torn\n", (unsigned long long)c.reads,
           (unsigned long long)c.states, READERS, (unsigned long long)more, seconds_now() - began, (unsigned long long)c.busy,
           (unsigned long long)c.torn);
    return c.torn != 0 || c.reads == 0 || (reads && c.reads < reads);
}
