/* publish.c: the copy of the newest state that readers see, under a sequence lock. The writer never waits; a reader that
 * meets it copies again. The payload is written and read in relaxed atomics, so that the race is none to the language. */
#include "internal.h"

#define SNAPSHOT_WORDS (sizeof(cwts_snapshot) / sizeof(u64))
_Static_assert(sizeof(cwts_snapshot) % sizeof(u64) == 0, "a snapshot is whole words");

static inline void publish_words(void *to, const void *from, u32 words) {
    u64 *target = to;
    const u8 *source = from;
    for (u32 i = 0; i < words; i++) __atomic_store_n(&target[i], load64(source + 8 * i), __ATOMIC_RELAXED);
}

static void snapshot_fill(const cwts_block *k, cwts_snapshot *s) {
    const cwts_counters *c = &k->counters;
    const cwts_decision *d = &k->decision;
    const cwts_account *a = &k->account;
    s->now_ns = k->header.now_ns;
    s->book_ns = k->sync.book_ns;
    s->exchange_ns = k->sync.exchange_ns;
    s->messages = c->messages;
    s->applied = c->applied;
    s->gaps = c->gaps;
    s->snapshots = c->snapshots;
    s->malformed = c->malformed;
    s->trades = c->trades;
    for (u32 i = 0; i < CWTS_ACTIONS; i++) s->decisions[i] = c->decisions[i];
    s->synced = k->sync.synced;
    s->sync_reason = k->sync.reason;
    s->bid_count = k->side[CWTS_BID].count + k->side[CWTS_BID].far_count;
    s->ask_count = k->side[CWTS_ASK].count + k->side[CWTS_ASK].far_count;
    s->bid_top = k->side[CWTS_BID].top_count;
    s->ask_top = k->side[CWTS_ASK].top_count;
    s->action = d->action;
    s->reason = d->reason;
    s->score = d->score;
    s->halted = k->header.halted;
    s->last_ns = d->last_ns;
    s->last_action = d->last_action;
    s->last_reason = d->last_reason;
    s->last_score = d->last_score;
    s->last_order_id = d->last_order_id;
    s->mid_e8 = (i64)(k->features.mid * 1e8);
    s->micro_e8 = (i64)(k->features.micro * 1e8);
    s->last_price = k->tape.last_price;
    s->cash_e8 = a->cash_e8;
    s->position_e8 = a->position_e8;
    s->entry_e8 = a->entry_e8;
    s->equity_e8 = a->equity_e8;
    s->drawdown_e8 = a->drawdown_e8;
    s->fees_e8 = a->fees_e8;
    s->realised_e8 = a->realised_e8;
    s->orders = a->orders;
    s->fills = a->fills;
    s->wins = a->wins;
    s->losses = a->losses;
    __builtin_memset(s->spare, 0, sizeof s->spare);
    __builtin_memcpy(s->feature, k->features.value, sizeof s->feature);
}

/* The small part is put together first; the levels go straight from the book. */
static void publish(cwts_block *k) {
    cwts_published *p = &k->published;
    cwts_snapshot s;
    u64 sequence = p->sequence;
    const u32 head = (u32)__builtin_offsetof(cwts_snapshot, bid) / 8, side = sizeof s.bid / 8;
    u64 *target = (u64 *)(void *)&p->snapshot;
    snapshot_fill(k, &s);
    __atomic_store_n(&p->sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    publish_words(target, &s, head);
    publish_words(target + head, k->side[CWTS_BID].top, side);
    publish_words(target + head + side, k->side[CWTS_ASK].top, side);
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
