/* publish.c: the copy of the newest state that readers see, under a sequence lock. The writer never waits; a reader that
 * meets it copies again. The payload is written and read in relaxed atomics, so that the race is none to the language. */
#include "simd.h"

/* A price in units to units * 10^8, which int64 may not hold. */
static inline i64 scaled_e8(double v) { return v < 9.2e10 ? (i64)(v * 1e8) : INT64_MAX; }

#define SNAPSHOT_WORDS (sizeof(cwts_snapshot) / sizeof(u64))
_Static_assert(sizeof(cwts_snapshot) % sizeof(u64) == 0, "a snapshot is whole words");

static inline void publish_words(void *to, const void *from, u32 words) {
    u64 *target = to;
    const u8 *source = from;
#ifdef CWTS_AVX512 /* a store of 64 bytes is eight of 8 bytes to a reader (Intel SDM 3A 9.1.1, AMD APM 2 7.3.2), and one to the writer */
    for (; words >= 8; words -= 8, target += 8, source += 64) _mm512_storeu_si512(target, _mm512_loadu_si512(source));
#endif
#pragma GCC unroll 8
    for (u32 i = 0; i < words; i++) __atomic_store_n(&target[i], load64(source + 8 * i), __ATOMIC_RELAXED);
}

static inline u32 float_bits(float v) {
    u32 bits;
    __builtin_memcpy(&bits, &v, 4);
    return bits;
}

static void publish(cwts_block *k) {
    cwts_published *p = &k->published;
    cwts_snapshot *s = &p->snapshot;
    const cwts_counters *c = &k->counters;
    const cwts_decision *d = &k->decision;
    const cwts_account *a = &k->account;
    u64 sequence = p->sequence;
    __atomic_store_n(&p->sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
#define PUT(field, value) __atomic_store_n(&s->field, (value), __ATOMIC_RELAXED)
#define PUT_FLOAT(field, value) __atomic_store_n((u32 *)(void *)&s->field, float_bits(value), __ATOMIC_RELAXED)
    PUT(now_ns, k->header.now_ns);
    PUT(book_ns, k->sync.book_ns);
    PUT(exchange_ns, k->sync.exchange_ns);
    PUT(messages, c->messages);
    PUT(applied, c->applied);
    PUT(gaps, c->gaps);
    PUT(snapshots, c->snapshots);
    PUT(malformed, c->malformed);
    PUT(trades, c->trades);
    publish_words(s->decisions, c->decisions, CWTS_ACTIONS);
    PUT(synced, k->sync.synced);
    PUT(sync_reason, k->sync.reason);
    PUT(bid_count, k->side[CWTS_BID].count + k->side[CWTS_BID].far_count);
    PUT(ask_count, k->side[CWTS_ASK].count + k->side[CWTS_ASK].far_count);
    PUT(bid_top, k->side[CWTS_BID].top_count);
    PUT(ask_top, k->side[CWTS_ASK].top_count);
    PUT(action, d->action);
    PUT(reason, d->reason);
    PUT_FLOAT(score, d->score);
    PUT(halted, k->header.halted);
    PUT(last_ns, d->last_ns);
    PUT(last_action, d->last_action);
    PUT(last_reason, d->last_reason);
    PUT_FLOAT(last_score, d->last_score);
    PUT(last_order_id, d->last_order_id);
    PUT(mid_e8, scaled_e8(k->features.mid));
    PUT(micro_e8, scaled_e8(k->features.micro));
    PUT(last_price, k->tape.last_price);
    PUT(cash_e8, a->cash_e8);
    PUT(position_e8, a->position_e8);
    PUT(entry_e8, a->entry_e8);
    PUT(equity_e8, a->equity_e8);
    PUT(drawdown_e8, a->drawdown_e8);
    PUT(fees_e8, a->fees_e8);
    PUT(realised_e8, a->realised_e8);
    PUT(orders, a->orders);
    PUT(fills, a->fills);
    PUT(wins, a->wins);
    PUT(losses, a->losses);
#undef PUT
#undef PUT_FLOAT
    publish_words(s->feature, k->features.value, sizeof s->feature / 8);
    publish_words(s->signal, k->signals.value, sizeof s->signal / 8);
    for (u32 side = 0; side < 2; side++) {
        const cwts_side_book *b = &k->side[side];
        if (p->version[side] == b->top_version) continue; /* as published before */
        publish_words(side == CWTS_BID ? s->bid : s->ask, b->top, sizeof b->top / 8);
        p->version[side] = b->top_version;
    }
    __atomic_store_n(&p->sequence, sequence + 2, __ATOMIC_RELEASE);
    k->counters.published++;
}

int32_t cwts_read(const void *block, cwts_snapshot *out) {
    const cwts_published *p = &((const cwts_block *)block)->published;
    const u64 *source = (const u64 *)(const void *)&p->snapshot;
    u8 *target = (u8 *)out;
    for (u32 attempt = 0; attempt < 1000; attempt++) {
        u64 before = __atomic_load_n(&p->sequence, __ATOMIC_ACQUIRE);
        if (before & 1) continue;
        for (u32 i = 0; i < SNAPSHOT_WORDS; i++) {
            u64 word = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
            __builtin_memcpy(target + 8 * i, &word, 8);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&p->sequence, __ATOMIC_RELAXED) == before) return 1;
    }
    return 0;
}
