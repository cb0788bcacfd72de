/* okx.c: reads OKX's messages (API v5): books, books5, books50-l2-tbt, books-l2-tbt, bbo-tbt, trades,
 * liquidation-orders. What a message means
 * for the book is sync.c's business. */
#include "scan.h"

enum okx_channel { OKX_OTHER = 0, OKX_TRADES, OKX_BBO, OKX_BOOKS5, OKX_BOOKS50, OKX_BOOKS, OKX_LIQUIDATIONS };

typedef struct okx_message {
    slice channel, instrument, action, event;
    const u8 *data; /* at the '[' of "data" */
} okx_message;

static enum okx_channel okx_channel_of(slice s) {
    if (slice_is(s, "books", 5) || slice_is(s, "books-l2-tbt", 12)) return OKX_BOOKS;
    if (slice_is(s, "trades", 6) || slice_is(s, "trades-all", 10)) return OKX_TRADES;
    if (slice_is(s, "bbo-tbt", 7)) return OKX_BBO;
    if (slice_is(s, "books5", 6)) return OKX_BOOKS5;
    if (slice_is(s, "books50-l2-tbt", 14)) return OKX_BOOKS50;
    if (slice_is(s, "liquidation-orders", 18)) return OKX_LIQUIDATIONS;
    return OKX_OTHER;
}

static const u8 *okx_argument(const u8 *p, const u8 *end, okx_message *m) {
    int done = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == '}') return p + 1;
    while (!done) {
        slice key;
        if (!(p = scan_key(p, end, &key))) return 0;
        if (slice_is(key, "channel", 7)) p = scan_scalar(p, end, &m->channel);
        else if (slice_is(key, "instId", 6)) p = scan_scalar(p, end, &m->instrument);
        else p = skip_value(p, end);
        if (!p || !(p = scan_next(p, end, '}', &done))) return 0;
    }
    return p;
}

/* The envelope; data is checked to be JSON and passed over, because the keys may come in any order. */
static const u8 *okx_envelope(const u8 *p, const u8 *end, okx_message *m) {
    int done = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == '}') return p + 1;
    while (!done) {
        slice key;
        if (!(p = scan_key(p, end, &key))) return 0;
        if (*p == '{' && slice_is(key, "arg", 3)) p = okx_argument(p, end, m);
        else if (slice_is(key, "action", 6)) p = scan_scalar(p, end, &m->action);
        else if (slice_is(key, "event", 5)) p = scan_scalar(p, end, &m->event);
        else {
            if (*p == '[' && slice_is(key, "data", 4)) m->data = p;
            p = skip_value(p, end);
        }
        if (!p || !(p = scan_next(p, end, '}', &done))) return 0;
    }
    return p;
}

enum { OKX_SEEN_SEQ = 1, OKX_SEEN_PREVIOUS = 2, OKX_SEEN_CHECKSUM = 4, OKX_SEEN_TIME = 8, OKX_SEEN_ID = 16, OKX_SEEN_BIDS = 32,
       OKX_SEEN_ASKS = 64 };

/* One element of a book channel's data, at '{'. The envelope was checked, so only the levels can still be wrong. */
static int okx_book_element(const cwts_block *k, const u8 *p, const u8 *end, level_writer *w, update *u, okx_ids *id, u32 *seen) {
    int done = 0;
    i64 ms = 0;
    p = skip_space(p + 1, end);
    if (*p == '}') return 0;
    while (!done) {
        slice key;
        if (!(p = scan_key(p, end, &key))) return 0;
        int bids = slice_is(key, "bids", 4);
        if (*p == '[' && (bids || slice_is(key, "asks", 4))) {
            cwts_level *from = w->at;
            w->book = &k->side[bids ? CWTS_BID : CWTS_ASK];
            w->sign = bids ? 1 : -1;
            if (!(p = scan_levels(p, end, w))) return 0;
            u32 side = bids ? CWTS_BID : CWTS_ASK;
            u->offset[side] = (u32)(from - (cwts_level *)u);
            u->count[side] = (u32)(w->at - from);
            *seen |= bids ? OKX_SEEN_BIDS : OKX_SEEN_ASKS;
        } else if (slice_is(key, "seqId", 5)) p = scan_integer(p, end, &id->seq, seen, OKX_SEEN_SEQ);
        else if (slice_is(key, "prevSeqId", 9)) p = scan_integer(p, end, &id->previous, seen, OKX_SEEN_PREVIOUS);
        else if (slice_is(key, "checksum", 8)) p = scan_integer(p, end, &id->checksum, seen, OKX_SEEN_CHECKSUM);
        else if (slice_is(key, "ts", 2)) p = scan_integer(p, end, &ms, seen, OKX_SEEN_TIME);
        else p = skip_value(p, end);
        if (!p || !(p = scan_next(p, end, '}', &done))) return 0;
    }
    u->exchange_ns = ns_of_ms(ms);
    return (*seen & OKX_SEEN_BIDS) && (*seen & OKX_SEEN_ASKS) && *skip_space(p, end) == ']';
}

static u32 okx_books(cwts_block *k, const okx_message *m, const u8 *end, i64 recv_ns, enum okx_channel channel) {
    update *u = (update *)(void *)&k->stage[0];
    level_writer w = level_writer_at(k, 0);
    okx_ids id = {0};
    u32 seen = 0;
    const u8 *p = skip_space(m->data + 1, end);
    __builtin_memset(u, 0, sizeof *u);
    if (*p != '{' || !okx_book_element(k, p, end, &w, u, &id, &seen)) return malformed(k);
    u->slots = (u32)(w.at - (cwts_level *)u);
    id.has_seq = (seen & OKX_SEEN_SEQ) != 0;
    id.has_previous = (seen & OKX_SEEN_PREVIOUS) != 0;
    u->last = id.seq;
    if (channel == OKX_BBO) {
        cwts_level none = {0, 0};
        const cwts_level *all = (const cwts_level *)u;
        return ticker_set(k, id.seq, u->count[0] ? all[u->offset[0]] : none, u->count[1] ? all[u->offset[1]] : none);
    }
    /* The deepest channel that is seen makes the book; shallower ones are passed over from then on. */
    if ((u32)channel < k->sync.source) return ignored(k);
    if (channel == OKX_BOOKS5) {
        if (k->sync.synced && id.has_seq && id.seq < k->sync.last_id) {
            k->counters.stale++;
            return 0;
        }
        id.snapshot = 1;
    } else {
        id.snapshot = slice_is(m->action, "snapshot", 8);
        if (!id.snapshot && !slice_is(m->action, "update", 6)) return malformed(k);
        /* half a link is none, and a chain that began with numbers goes on with them */
        if (!id.snapshot && id.has_seq != id.has_previous) return malformed(k);
        if (!id.snapshot && (u32)channel > k->sync.source) return k->sync.synced ? ignored(k) : CWTS_EV_NEED_SNAPSHOT;
        if (!id.snapshot && !id.has_seq && k->sync.synced && k->sync.last_id != 0) return malformed(k);
    }
    k->sync.source = (u32)channel;
    id.verify = channel == OKX_BOOKS && (seen & OKX_SEEN_CHECKSUM);
    return okx_book(k, u, &id, recv_ns);
}

/* The elements of a trade message: first all are read, then all are added. */
static u32 okx_trades(cwts_block *k, const okx_message *m, const u8 *end, i64 recv_ns, int add) {
    const u8 *p = skip_space(m->data + 1, end);
    int last = *p == ']';
    u32 events = 0;
    while (!last) {
        slice price = {0}, qty = {0}, side = {0};
        cwts_trade t = {.recv_ns = recv_ns};
        i64 ms = 0;
        u32 seen = 0;
        int done = 0;
        if (*p != '{') return malformed(k);
        p = skip_space(p + 1, end);
        if (*p == '}') return malformed(k);
        while (!done) {
            slice key;
            if (!(p = scan_key(p, end, &key))) return malformed(k);
            if (slice_is(key, "px", 2)) p = scan_scalar(p, end, &price);
            else if (slice_is(key, "sz", 2)) p = scan_scalar(p, end, &qty);
            else if (slice_is(key, "side", 4)) p = scan_scalar(p, end, &side);
            else if (slice_is(key, "ts", 2)) p = scan_integer(p, end, &ms, &seen, OKX_SEEN_TIME);
            else if (slice_is(key, "tradeId", 7)) p = scan_integer(p, end, &t.id, &seen, OKX_SEEN_ID);
            else p = skip_value(p, end);
            if (!p || !(p = scan_next(p, end, '}', &done))) return malformed(k);
        }
        int buy = slice_is(side, "buy", 3);
        if ((!buy && !slice_is(side, "sell", 4)) || !read_decimal(price, end, k->config.price_decimals, &t.price)
            || !read_decimal(qty, end, k->config.qty_decimals, &t.qty))
            return malformed(k);
        t.aggressor = buy ? 1 : -1;
        t.exchange_ns = ns_of_ms(ms);
        if (add && t.price && t.qty) events |= trade_add(k, &t);
        else if (add) k->counters.trades_ignored++;
        p = skip_space(p, end);
        last = *p == ']';
        if (!last) p = skip_space(p + 1, end);
    }
    return events;
}

/* The orders of one element, at '['. The text was checked to be JSON. */
static u32 okx_forced_details(cwts_block *k, const u8 *p, const u8 *end, i64 recv_ns, int add) {
    u32 events = 0;
    p = skip_space(p + 1, end);
    int last = *p == ']';
    while (!last) {
        slice price = {0}, qty = {0}, side = {0};
        cwts_forced f = {.recv_ns = recv_ns, .bankruptcy = 1};
        i64 ms = 0;
        u32 seen = 0;
        int done = 0;
        if (*p != '{') return CWTS_EV_MALFORMED;
        p = skip_space(p + 1, end);
        if (*p == '}') return CWTS_EV_MALFORMED;
        while (!done) {
            slice key;
            if (!(p = scan_key(p, end, &key))) return CWTS_EV_MALFORMED;
            if (slice_is(key, "bkPx", 4)) p = scan_scalar(p, end, &price);
            else if (slice_is(key, "sz", 2)) p = scan_scalar(p, end, &qty);
            else if (slice_is(key, "side", 4)) p = scan_scalar(p, end, &side);
            else if (slice_is(key, "ts", 2)) p = scan_integer(p, end, &ms, &seen, OKX_SEEN_TIME);
            else p = skip_value(p, end);
            if (!p || !(p = scan_next(p, end, '}', &done))) return CWTS_EV_MALFORMED;
        }
        int sell = slice_is(side, "sell", 4);
        if ((!sell && !slice_is(side, "buy", 3)) || !read_average(price, k->config.price_decimals, &f.price)
            || !read_decimal(qty, end, k->config.qty_decimals, &f.qty))
            return CWTS_EV_MALFORMED;
        f.side = sell ? CWTS_ASK : CWTS_BID;
        f.exchange_ns = ns_of_ms(ms);
        if (f.price && f.qty) events |= add ? forced_add(k, &f) : (u32)CWTS_EV_LIQUIDATION;
        p = skip_space(p, end);
        last = *p == ']';
        if (!last) p = skip_space(p + 1, end);
    }
    return events;
}

/* Forced orders of a whole kind of instruments: ours are read, the others passed over. First all, then all are added. */
static u32 okx_forced(cwts_block *k, const okx_message *m, const u8 *end, i64 recv_ns, int add) {
    const u8 *p = skip_space(m->data + 1, end);
    int last = *p == ']';
    u32 events = 0;
    while (!last) {
        slice instrument = {0};
        const u8 *details = 0;
        int done = 0;
        if (*p != '{') return CWTS_EV_MALFORMED;
        p = skip_space(p + 1, end);
        if (*p == '}') {
            p++;
            done = 1;
        }
        while (!done) {
            slice key;
            if (!(p = scan_key(p, end, &key))) return CWTS_EV_MALFORMED;
            if (slice_is(key, "instId", 6)) {
                p = scan_scalar(p, end, &instrument);
            } else {
                if (slice_is(key, "details", 7)) details = *p == '[' ? p : 0;
                p = skip_value(p, end);
            }
            if (!p || !(p = scan_next(p, end, '}', &done))) return CWTS_EV_MALFORMED;
        }
        if (symbol_is(k, instrument)) events |= details ? okx_forced_details(k, details, end, recv_ns, add) : (u32)CWTS_EV_MALFORMED;
        p = skip_space(p, end);
        last = *p == ']';
        if (!last) p = skip_space(p + 1, end);
    }
    return events;
}

static u32 okx_message_feed(cwts_block *k, const u8 *p, u32 length, i64 recv_ns) {
    const u8 *end = p + length;
    okx_message m;
    __builtin_memset(&m, 0, sizeof m);
    p = skip_space(p, end);
    if (p >= end) return malformed(k);
    if (*p != '{') {
        if (end - p == 4 && __builtin_memcmp(p, "pong", 4) == 0) return ignored(k);
        p = skip_value(p, end);
        return p && skip_space(p, end) == end ? ignored(k) : malformed(k);
    }
    p = okx_envelope(p, end, &m);
    if (!p || skip_space(p, end) != end) return malformed(k);
    enum okx_channel channel = okx_channel_of(m.channel);
    if (channel == OKX_OTHER || m.event.text) return ignored(k);
    if (channel == OKX_LIQUIDATIONS) {
        u32 found = m.data ? okx_forced(k, &m, end, recv_ns, 0) : (u32)CWTS_EV_MALFORMED;
        if (found & CWTS_EV_MALFORMED) return malformed(k);
        return found ? okx_forced(k, &m, end, recv_ns, 1) : ignored(k);
    }
    if (!symbol_is(k, m.instrument)) return ignored(k);
    if (!m.data) return malformed(k);
    if (channel != OKX_TRADES) return okx_books(k, &m, end, recv_ns, channel);
    u32 events = okx_trades(k, &m, end, recv_ns, 0);
    return events & CWTS_EV_MALFORMED ? events : okx_trades(k, &m, end, recv_ns, 1);
}
