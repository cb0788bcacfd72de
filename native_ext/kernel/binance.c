/* binance.c: reads Binance's messages (spot, USD-M, COIN-M): depth updates, snapshots, trades, book tickers; bare, in a
 * combined stream's envelope, or as a WebSocket API answer. What a message means for the book is sync.c's business. */
#include "scan.h"

enum {
    SEEN_FIRST = 1, SEEN_LAST = 2, SEEN_PREVIOUS = 4, SEEN_SNAPSHOT = 8, SEEN_TRADE_ID = 16, SEEN_AGGREGATE = 32,
    SEEN_MAKER = 64, SEEN_EVENT_TIME = 128, SEEN_TRADE_TIME = 256, SEEN_BIDS = 512, SEEN_ASKS = 1024
};

typedef struct binance_message {
    slice event, symbol, stream, price, qty, status, bid, bid_qty, ask, ask_qty;
    i64 first_id, last_id, previous_id, snapshot_id, trade_id, aggregate_id, event_ms, trade_ms;
    u32 seen, maker;
    level_writer writer;
    update *update;  /* where the levels go */
    const char *our_symbol;
    u32 our_length, skip_levels;
} binance_message;

static int symbol_is(const cwts_block *k, slice s) {
    u32 length = 0;
    while (length < CWTS_SYMBOL && k->config.symbol[length]) length++;
    return slice_is(s, k->config.symbol, length);
}

static const u8 *read_levels(const u8 *p, const u8 *end, binance_message *m, u32 side, u32 seen) {
    if (m->skip_levels) return skip_value(p, end);
    cwts_level *from = m->writer.at;
    p = scan_levels(p, end, &m->writer);
    m->update->offset[side] = (u32)(from - (cwts_level *)m->update);
    m->update->count[side] = (u32)(m->writer.at - from);
    m->seen |= seen;
    return p;
}

/* At '{'. */
static const u8 *binance_object(const u8 *p, const u8 *end, cwts_block *k, binance_message *m, u32 depth) {
    int done = 0;
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == '}') return p + 1;
    while (!done) {
        slice key;
        p = scan_key(p, end, &key);
        if (!p) return 0;
        u32 name = key.escaped ? 0 : key.length == 1 ? key.text[0] : 0;
        switch (name) {
        case 'e': p = scan_scalar(p, end, &m->event); break;
        case 'E': p = scan_integer(p, end, &m->event_ms, &m->seen, SEEN_EVENT_TIME); break;
        case 'T': p = scan_integer(p, end, &m->trade_ms, &m->seen, SEEN_TRADE_TIME); break;
        case 's':
            p = scan_scalar(p, end, &m->symbol);
            m->skip_levels = !symbol_is(k, m->symbol);
            break;
        case 'U': p = scan_integer(p, end, &m->first_id, &m->seen, SEEN_FIRST); break;
        case 'u': p = scan_integer(p, end, &m->last_id, &m->seen, SEEN_LAST); break;
        case 't': p = scan_integer(p, end, &m->trade_id, &m->seen, SEEN_TRADE_ID); break;
        case 'p': p = scan_scalar(p, end, &m->price); break;
        case 'q': p = scan_scalar(p, end, &m->qty); break;
        case 'X': p = scan_scalar(p, end, &m->status); break;
        case 'B': p = scan_scalar(p, end, &m->bid_qty); break;
        case 'A': p = scan_scalar(p, end, &m->ask_qty); break;
        case 'm':
            p = scan_bool(p, end, &m->maker);
            m->seen |= SEEN_MAKER;
            break;
        case 'b': p = *p == '[' ? read_levels(p, end, m, CWTS_BID, SEEN_BIDS) : scan_scalar(p, end, &m->bid); break;
        case 'a':
            if (*p == '[') p = read_levels(p, end, m, CWTS_ASK, SEEN_ASKS);
            else if (*p == '"') p = scan_scalar(p, end, &m->ask);
            else p = scan_integer(p, end, &m->aggregate_id, &m->seen, SEEN_AGGREGATE);
            break;
        default:
            if (slice_is(key, "pu", 2)) {
                p = scan_integer(p, end, &m->previous_id, &m->seen, SEEN_PREVIOUS);
            } else if (slice_is(key, "stream", 6)) {
                p = scan_scalar(p, end, &m->stream);
            } else if (*p == '{' && depth == 0 && (slice_is(key, "data", 4) || slice_is(key, "result", 6))) {
                p = binance_object(p, end, k, m, depth + 1);
            } else if (*p == '[' && slice_is(key, "bids", 4)) {
                p = read_levels(p, end, m, CWTS_BID, SEEN_BIDS);
            } else if (*p == '[' && slice_is(key, "asks", 4)) {
                p = read_levels(p, end, m, CWTS_ASK, SEEN_ASKS);
            } else if (slice_is(key, "lastUpdateId", 12)) {
                p = scan_integer(p, end, &m->snapshot_id, &m->seen, SEEN_SNAPSHOT);
            } else if (slice_is(key, "symbol", 6)) {
                p = scan_scalar(p, end, &m->symbol);
                m->skip_levels = !symbol_is(k, m->symbol);
            } else {
                p = skip_value(p, end);
            }
        }
        if (!p) return 0;
        p = scan_next(p, end, '}', &done);
        if (!p) return 0;
    }
    return p;
}

static u32 malformed(cwts_block *k) {
    k->counters.malformed++;
    return CWTS_EV_MALFORMED;
}

static u32 ignored(cwts_block *k) {
    k->counters.ignored++;
    return CWTS_EV_IGNORED;
}

static int read_decimal(slice s, u32 decimals, i64 *out) { return s.text && !s.escaped && decimal_slow(s.text, s.length, decimals, out); }

static u32 binance_trade(cwts_block *k, const binance_message *m, i64 recv_ns, int aggregate) {
    cwts_trade t = {.recv_ns = recv_ns, .exchange_ns = (m->seen & SEEN_TRADE_TIME ? m->trade_ms : m->event_ms) * 1000000};
    u32 wanted = SEEN_MAKER | (aggregate ? SEEN_AGGREGATE : SEEN_TRADE_ID);
    if ((m->seen & wanted) != wanted || !read_decimal(m->price, k->config.price_decimals, &t.price)
        || !read_decimal(m->qty, k->config.qty_decimals, &t.qty))
        return malformed(k);
    /* Derivatives: "X":"NA" is no trade at all, and the insurance fund's are not the market's. */
    if (t.price == 0 || t.qty == 0 || slice_is(m->status, "NA", 2) || slice_is(m->status, "INSURANCE_FUND", 14)) {
        k->counters.trades_ignored++;
        return CWTS_EV_IGNORED;
    }
    /* Both streams tell the same trades: the one that is seen first counts. */
    u32 source = aggregate ? 2 : 1;
    if (k->sync.trade_source == 0) k->sync.trade_source = source;
    if (k->sync.trade_source != source) return ignored(k);
    t.id = aggregate ? m->aggregate_id : m->trade_id;
    t.aggressor = m->maker ? -1 : 1; /* m: the buyer was the maker */
    return trade_add(k, &t);
}

static u32 binance_ticker(cwts_block *k, const binance_message *m) {
    cwts_level bid, ask;
    if (!(m->seen & SEEN_LAST) || !read_decimal(m->bid, k->config.price_decimals, &bid.price)
        || !read_decimal(m->bid_qty, k->config.qty_decimals, &bid.qty)
        || !read_decimal(m->ask, k->config.price_decimals, &ask.price)
        || !read_decimal(m->ask_qty, k->config.qty_decimals, &ask.qty))
        return malformed(k);
    return ticker_set(k, m->last_id, bid, ask);
}

/* A partial book stream (…@depth5, @depth10, @depth20) looks like a snapshot and is not one: it lacks the rest. */
static int is_partial_stream(slice stream) {
    if (!stream.text) return 0;
    for (u32 i = 0; i + 6 < stream.length; i++)
        if (__builtin_memcmp(stream.text + i, "@depth", 6) == 0) return (u8)(stream.text[i + 6] - '0') <= 9;
    return 0;
}

/* One message. The levels are read into the stage first and applied only once all of it proved well-formed. */
static u32 binance_message_feed(cwts_block *k, const u8 *p, u32 length, i64 recv_ns) {
    const u8 *end = p + length;
    binance_message m;
again:
    __builtin_memset(&m, 0, sizeof m);
    m.update = (update *)(void *)&k->stage[k->sync.pending_to];
    m.writer = (level_writer){&k->stage[k->sync.pending_to] + UPDATE_SLOTS, &k->stage[CWTS_STAGE], k->config.price_decimals,
                              k->config.qty_decimals};
    int room = k->sync.pending_to + UPDATE_SLOTS < CWTS_STAGE;
    if (room) __builtin_memset(m.update, 0, sizeof *m.update);
    else m.writer.at = m.writer.limit;
    p = skip_space(end - length, end);
    if (p >= end) return malformed(k);
    if (*p != '{') {
        p = skip_value(p, end);
        return p && skip_space(p, end) == end ? ignored(k) : malformed(k);
    }
    p = room ? binance_object(p, end, k, &m, 0) : 0;
    if (!p || skip_space(p, end) != end) {
        if (m.writer.at < m.writer.limit || k->sync.pending_count == 0) return malformed(k);
        k->counters.buffer_lost += k->sync.pending_count; /* no room left behind the waiting updates: give them up */
        pending_clear(k);
        goto again;
    }

    if (m.symbol.text && m.skip_levels) return ignored(k);
    if (UNLIKELY(!(k->config.parts & CWTS_PART_BOOK))) return 0;
    int is_book = (m.seen & SEEN_BIDS) && (m.seen & SEEN_ASKS);
    m.update->slots = (u32)(m.writer.at - (cwts_level *)m.update);
    m.update->exchange_ns = (m.seen & SEEN_TRADE_TIME ? m.trade_ms : m.event_ms) * 1000000;
    if (slice_is(m.event, "depthUpdate", 11)) {
        u32 wanted = SEEN_FIRST | SEEN_LAST | (k->config.exchange == CWTS_BINANCE_SPOT ? 0 : SEEN_PREVIOUS);
        if (!is_book || !m.symbol.text || (m.seen & wanted) != wanted || m.last_id < m.first_id) return malformed(k);
        m.update->previous = k->config.exchange == CWTS_BINANCE_SPOT ? m.first_id - 1 : m.previous_id;
        m.update->last = m.last_id;
        return binance_update(k, m.update, recv_ns);
    }
    if (slice_is(m.event, "trade", 5)) return m.symbol.text ? binance_trade(k, &m, recv_ns, 0) : malformed(k);
    if (slice_is(m.event, "aggTrade", 8)) return m.symbol.text ? binance_trade(k, &m, recv_ns, 1) : malformed(k);
    if (m.seen & SEEN_SNAPSHOT) {
        if (is_partial_stream(m.stream)) return ignored(k);
        if (!is_book) return malformed(k);
        m.update->previous = m.update->last = m.snapshot_id;
        return binance_snapshot(k, m.update, recv_ns, m.symbol.text != 0);
    }
    if (slice_is(m.event, "bookTicker", 10) || (!m.event.text && m.bid.text && m.ask.text && m.symbol.text))
        return m.symbol.text ? binance_ticker(k, &m) : malformed(k);
    return ignored(k);
}
