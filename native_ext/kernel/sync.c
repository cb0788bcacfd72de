/* sync.c: when the book is valid. It is valid from a snapshot on, for as long as every update follows the one before it;
 * otherwise it is empty, nothing is decided on it, and updates wait in `stage` for the next snapshot. */
#include "integer.h"

/* A depth update in the stage, followed by its levels. */
typedef struct update {
    i64 previous;    /* the update covers ids in (previous, last] */
    i64 last;
    i64 exchange_ns;
    u32 count[2];    /* levels a side */
    u32 offset[2];   /* of each side's first level, in slots from this header */
    u32 slots;       /* in all */
    u32 spare;
} update;
#define UPDATE_SLOTS (sizeof(update) / sizeof(cwts_level))
_Static_assert(sizeof(update) % sizeof(cwts_level) == 0, "an update's header fills whole slots");

static void book_clear(cwts_block *k) {
    side_clear(&k->side[0]);
    side_clear(&k->side[1]);
    k->sync.touch_id = 0;
    k->sync.touch[0] = k->sync.touch[1] = (cwts_level){0, 0};
}

static void pending_clear(cwts_block *k) {
    k->sync.candidate = k->sync.pending_to = k->sync.pending_count = 0;
    k->sync.pending_first = k->sync.pending_last = 0;
}

/* The book is not valid any more, or still not. */
static u32 sync_lost(cwts_block *k, u32 reason) {
    u32 events = CWTS_EV_NEED_SNAPSHOT;
    if (k->sync.synced) {
        k->counters.gaps += reason == CWTS_SYNC_GAP || reason == CWTS_SYNC_CHECKSUM || reason == CWTS_SYNC_OVERFLOW;
        events |= CWTS_EV_GAP;
    }
    k->sync.synced = 0;
    k->sync.reason = reason;
    k->sync.source = 0;
    book_clear(k);
    return events;
}

/* The levels of one update, and what follows from them for the touch and the sorted top. */
static u32 book_apply(cwts_block *k, const update *u, i64 recv_ns) {
    const cwts_level *levels = (const cwts_level *)u;
    side_apply(&k->side[CWTS_BID], CWTS_BID, levels + u->offset[CWTS_BID], u->count[CWTS_BID], &k->counters.far_lost);
    side_apply(&k->side[CWTS_ASK], CWTS_ASK, levels + u->offset[CWTS_ASK], u->count[CWTS_ASK], &k->counters.far_lost);
    k->counters.levels += u->count[0] + u->count[1];
    if (UNLIKELY(!(side_settle(&k->side[0]) & side_settle(&k->side[1])))) return sync_lost(k, CWTS_SYNC_OVERFLOW);
    side_refresh_top(&k->side[0], CWTS_BID);
    side_refresh_top(&k->side[1], CWTS_ASK);
    k->sync.last_id = u->last;
    k->sync.book_ns = recv_ns;
    k->sync.exchange_ns = u->exchange_ns;
    if (u->last >= k->sync.touch_id) {
        k->sync.touch_id = u->last;
        k->sync.touch[0] = k->side[0].top[0];
        k->sync.touch[1] = k->side[1].top[0];
    }
    return CWTS_EV_BOOK;
}

/* A whole book replaces ours. */
static u32 book_replace(cwts_block *k, const update *u, i64 recv_ns) {
    u32 events = k->sync.synced ? 0 : CWTS_EV_SYNCED;
    u32 source = k->sync.source;
    if (!k->sync.synced) k->sync.synced_ns = recv_ns;
    book_clear(k);
    k->sync.source = source;
    k->sync.synced = 1;
    k->sync.reason = CWTS_SYNC_OK;
    k->sync.first = 1;
    k->sync.snapshot_id = u->last;
    events |= book_apply(k, u, recv_ns);
    return k->sync.synced ? events : events & ~(u32)CWTS_EV_SYNCED;
}

/* ---- Binance ------------------------------------------------------------------------------------------------------
 *
 * "How to manage a local order book correctly", developers.binance.com, spot (web-socket-streams) and derivatives
 * (USD-M and COIN-M, websocket-market-streams):
 *   1. buffer the stream's updates; 2. get a snapshot; 3. if its lastUpdateId is older than the first buffered update, get
 *   another; 4. drop updates that end before it; 5. the first one applied covers lastUpdateId; 6. each next one follows:
 *   spot: U <= last + 1; futures: pu == last.
 * `previous` is U - 1 for spot and pu for futures: in both cases an update holds every change in (previous, u] as absolute
 * quantities, so it may be applied to any state from `previous` on. Futures: an update with u == lastUpdateId is applied
 * (the exchange says drop u < lastUpdateId), which changes nothing. An update that ends at or before the newest one applied
 * is a repetition (a second connection sends the same stream) and is dropped. */

enum verdict { UPDATE_STALE, UPDATE_NEXT, UPDATE_GAP };

static inline enum verdict binance_verdict(const cwts_block *k, const update *u) {
    int spot = k->config.exchange == CWTS_BINANCE_SPOT;
    i64 last = k->sync.last_id;
    if (spot) return u->last <= last ? UPDATE_STALE : u->previous <= last ? UPDATE_NEXT : UPDATE_GAP;
    if (k->sync.first) return u->last < last ? UPDATE_STALE : u->previous <= last ? UPDATE_NEXT : UPDATE_GAP;
    return u->previous == last ? UPDATE_NEXT : u->last <= last ? UPDATE_STALE : UPDATE_GAP;
}

/* A book that no update has continued for so long after its snapshot was made from the wrong one. */
#define FIRST_UPDATE_NS 5000000000

static inline const update *stage_at(const cwts_block *k, u32 slot) { return (const update *)(const void *)&k->stage[slot]; }

/* Moves an update to the end of what is kept in the stage. */
static const update *stage_keep(cwts_block *k, const update *u) {
    u32 slots = u->slots;
    cwts_level *to = &k->stage[k->sync.pending_to];
    if ((const void *)to != (const void *)u) __builtin_memmove(to, u, slots * sizeof(cwts_level));
    k->sync.pending_to += slots;
    return (const update *)(const void *)to;
}

/* Keeps an update behind those already waiting for a snapshot. */
static void binance_wait(cwts_block *k, const update *u) {
    cwts_sync *s = &k->sync;
    int spot = k->config.exchange == CWTS_BINANCE_SPOT;
    if (s->pending_count) {
        if (u->last <= s->pending_last) {
            k->counters.stale++;
            return;
        }
        if (spot ? u->previous > s->pending_last : u->previous != s->pending_last) {
            /* the chain is broken: what waited is of no use with any snapshot to come */
            k->counters.buffer_lost += s->pending_count;
            pending_clear(k);
        }
    }
    u = stage_keep(k, u);
    if (s->pending_count == 0) s->pending_first = u->previous;
    s->pending_last = u->last;
    s->pending_count++;
    k->counters.buffered++;
}

/* An update on a valid book. */
static u32 binance_continue(cwts_block *k, const update *u, i64 recv_ns, enum verdict verdict) {
    if (verdict == UPDATE_STALE) {
        k->counters.stale++;
        return 0;
    }
    k->sync.first = 0;
    k->counters.applied++;
    return book_apply(k, u, recv_ns);
}

static u32 binance_update(cwts_block *k, const update *u, i64 recv_ns) {
    cwts_sync *s = &k->sync;
    if (!s->synced) {
        binance_wait(k, u);
        return CWTS_EV_NEED_SNAPSHOT;
    }
    enum verdict verdict = binance_verdict(k, u);
    if (LIKELY(verdict == UPDATE_NEXT)) {
        if (UNLIKELY(s->candidate)) pending_clear(k); /* our book goes on: it needs no other */
        return binance_continue(k, u, recv_ns, verdict);
    }
    if (verdict == UPDATE_STALE && !(s->first && recv_ns - s->book_ns > FIRST_UPDATE_NS)) return binance_continue(k, u, recv_ns, verdict);
    const update *candidate = s->candidate ? stage_at(k, 0) : 0;
    pending_clear(k);
    u32 events = sync_lost(k, CWTS_SYNC_GAP);
    if (candidate && candidate->last >= u->previous) { /* the connection was new: its snapshot came before its first update */
        events |= book_replace(k, candidate, recv_ns);
        if (s->synced) events |= binance_continue(k, u, recv_ns, binance_verdict(k, u));
        return events;
    }
    binance_wait(k, u);
    return events;
}

/* So long after a trade its price still tells where our market is. */
#define TRADE_TELLS_NS 60000000000

/* Our market's price: of the best bid, else of the newest trade; 0: not known. */
static i64 price_known(const cwts_block *k, i64 now) {
    const cwts_tape *tape = &k->tape;
    if (k->sync.touch[CWTS_BID].price) return k->sync.touch[CWTS_BID].price;
    if (!tape->count || now - tape->ring[(tape->count - 1) & (CWTS_TRADES - 1)].recv_ns > TRADE_TELLS_NS) return 0;
    return tape->last_price;
}

/* A REST snapshot on spot and USD-M names no symbol, and recordings may hold several symbols'. One whose market lies more than
 * a fifth away from a price of ours is another symbol's. */
static int snapshot_is_foreign(const cwts_block *k, const update *u, i64 now) {
    i64 ours = price_known(k, now), room = ours / 5;
    const cwts_level *levels = (const cwts_level *)u;
    if (ours <= 0) return 0;
    return (u->count[CWTS_BID] && levels[u->offset[CWTS_BID]].price > add_saturating(ours, room))
        || (u->count[CWTS_ASK] && levels[u->offset[CWTS_ASK]].price < ours - room);
}

/* The snapshot becomes the book, and the updates that waited continue it. */
static u32 binance_adopt(cwts_block *k, const update *u, i64 recv_ns) {
    cwts_sync *s = &k->sync;
    u32 events = book_replace(k, u, recv_ns), at = 0, to = s->pending_count ? s->pending_to : 0;
    pending_clear(k);
    while (at < to && s->synced) {
        const update *next = stage_at(k, at);
        enum verdict verdict = binance_verdict(k, next);
        at += next->slots;
        /* a gap cannot be while waiting updates form a chain that begins at or before the snapshot; be safe anyway */
        events |= verdict == UPDATE_GAP ? sync_lost(k, CWTS_SYNC_GAP) : binance_continue(k, next, recv_ns, verdict);
    }
    return events;
}

static u32 binance_snapshot(cwts_block *k, const update *u, i64 recv_ns, int named) {
    cwts_sync *s = &k->sync;
    if (!named && snapshot_is_foreign(k, u, recv_ns)) {
        k->counters.ignored++;
        return CWTS_EV_IGNORED;
    }
    k->counters.snapshots++;
    if (!s->synced && s->pending_count && u->last < s->pending_first) {
        k->counters.snapshots_old++;
        return sync_lost(k, CWTS_SYNC_OLD_SNAPSHOT);
    }
    if (!s->synced || s->first) return binance_adopt(k, u, recv_ns);
    if (u->last <= s->last_id) return 0;
    if (named) return binance_adopt(k, u, recv_ns);
    /* It may be another symbol's with similar prices, and our book is valid: kept aside until the next update tells. */
    pending_clear(k);
    stage_keep(k, u);
    s->candidate = 1;
    return 0;
}

/* ---- OKX ----------------------------------------------------------------------------------------------------------
 *
 * OKX API v5, "WS / Order book channel": the chain is prevSeqId == last seqId alone. An update with seqId == prevSeqId
 * holds nothing (keep-alive); one with seqId < prevSeqId is a reset after maintenance and legal; anything else is a gap.
 * Recordings from before May 2023 carry no ids: there only the checksum guards. */

static u32 okx_checksum(const cwts_block *k) {
    const cwts_side_book *bid = &k->side[CWTS_BID], *ask = &k->side[CWTS_ASK];
    u32 crc = ~0u, colon = 0;
    for (u32 i = 0; i < 25; i++) {
        for (u32 side = 0; side < 2; side++) {
            const cwts_side_book *b = side == CWTS_BID ? bid : ask;
            if (i >= b->top_count) continue;
            if (colon) crc = crc32_byte(crc, ':');
            colon = 1;
            crc = crc32_decimal(crc, b->top[i].price, k->config.price_decimals);
            crc = crc32_byte(crc, ':');
            crc = crc32_decimal(crc, b->top[i].qty, k->config.qty_decimals);
        }
    }
    return ~crc;
}

typedef struct okx_ids {
    i64 seq, previous, checksum;
    int has_seq, has_previous, snapshot, verify;
} okx_ids;

static u32 okx_book(cwts_block *k, const update *u, const okx_ids *id, i64 recv_ns) {
    u32 events;
    if (id->snapshot) {
        k->counters.snapshots++;
        events = book_replace(k, u, recv_ns);
    } else {
        if (!k->sync.synced) return CWTS_EV_NEED_SNAPSHOT;
        if (id->has_previous && id->has_seq) {
            if (id->previous != k->sync.last_id) return sync_lost(k, CWTS_SYNC_GAP);
            k->counters.keepalives += id->seq == id->previous;
            k->counters.legal_resets += id->seq < id->previous;
            if (id->seq < id->previous) k->sync.touch_id = id->seq;
        }
        k->sync.first = 0;
        k->counters.applied++;
        events = book_apply(k, u, recv_ns);
    }
    if (id->verify && id->checksum && k->sync.synced) {
        int right = okx_checksum(k) == (u32)id->checksum;
        k->counters.checksum_ok += (u64)right;
        k->counters.checksum_bad += (u64)!right;
        if (!right) return events | sync_lost(k, CWTS_SYNC_CHECKSUM);
    }
    return events;
}
