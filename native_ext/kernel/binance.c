/* binance.c: reads Binance's messages (spot, USD-M, COIN-M): depth updates, snapshots, trades, book tickers, forced orders; bare, in a
 * combined stream's envelope, or as a WebSocket API answer. What a message means for the book is sync.c's business. */
#include "scan.h"

enum {
    SEEN_FIRST = 1, SEEN_LAST = 2, SEEN_PREVIOUS = 4, SEEN_SNAPSHOT = 8, SEEN_TRADE_ID = 16, SEEN_AGGREGATE = 32,
    SEEN_MAKER = 64, SEEN_EVENT_TIME = 128, SEEN_TRADE_TIME = 256, SEEN_BIDS = 512, SEEN_ASKS = 1024, SEEN_ORDER = 2048
};

/* The order inside a forceOrder message. */
typedef struct binance_order {
    slice symbol, side, price, average, qty;
    i64 trade_ms;
    u32 seen;
} binance_order;

typedef struct binance_message {
    slice event, symbol, stream, price, qty, status, bid, bid_qty, ask, ask_qty;
    i64 first_id, last_id, previous_id, snapshot_id, trade_id, aggregate_id, event_ms, trade_ms;
    u32 seen, maker;
    level_writer writer;
    update *update;  /* where the levels go */
    const cwts_side_book *book;
    const u8 *numbers[5], *first_level; /* where they stood, for the shape */
    u32 skip_levels, level_depth;
    binance_order order;
} binance_message;

enum { AT_EVENT_TIME, AT_TRADE_TIME, AT_FIRST, AT_LAST, AT_PREVIOUS, AT_COUNT };

static int symbol_is(const cwts_block *k, slice s) {
    return s.text && s.length == k->header.symbol_length && !s.escaped
        && __builtin_memcmp(s.text, k->config.symbol, s.length) == 0;
}

/* Levels go into the stage behind an update's header at `slot`. */
static inline level_writer level_writer_at(cwts_block *k, u32 slot) {
    return (level_writer){.at = k->stage + slot + UPDATE_SLOTS, .limit = k->stage + CWTS_STAGE, .price = &k->format[0],
                          .qty = &k->format[1], .formats = &k->formats, .price_decimals = k->config.price_decimals, .qty_decimals = k->config.qty_decimals};
}

static const u8 *read_levels(const u8 *p, const u8 *end, binance_message *m, u32 side, u32 seen) {
    if (m->skip_levels) return skip_value(p, end);
    cwts_level *from = m->writer.at;
    m->writer.book = &m->book[side];
    m->writer.sign = side == CWTS_BID ? 1 : -1;
    p = scan_levels(p, end, &m->writer);
    m->update->offset[side] = (u32)(from - (cwts_level *)m->update);
    m->update->count[side] = (u32)(m->writer.at - from);
    m->seen |= seen;
    return p;
}

/* Longer keys get numbers beyond the letters. */
enum { KEY_STREAM = 256, KEY_DATA, KEY_PREVIOUS, KEY_BIDS, KEY_ASKS, KEY_SNAPSHOT, KEY_SYMBOL, KEY_OTHER };

static u32 binance_key(slice key) {
    if (key.escaped) return KEY_OTHER;
    if (key.length == 1) return key.text[0];
    if (slice_is(key, "pu", 2)) return KEY_PREVIOUS;
    if (slice_is(key, "bids", 4)) return KEY_BIDS;
    if (slice_is(key, "asks", 4)) return KEY_ASKS;
    if (slice_is(key, "symbol", 6)) return KEY_SYMBOL;
    if (slice_is(key, "stream", 6)) return KEY_STREAM;
    if (slice_is(key, "lastUpdateId", 12)) return KEY_SNAPSHOT;
    return slice_is(key, "data", 4) || slice_is(key, "result", 6) ? KEY_DATA : KEY_OTHER;
}

/* The first bytes of frequent keys as they lie in memory. */
#define TEXT_PREVIOUS (BYTES4('"', 'p', 'u', '"') | (u64)':' << 32)
#define TEXT_DATA (BYTES4('"', 'd', 'a', 't') | (u64)BYTES4('a', '"', ':', '{') << 32)
#define TEXT_STREAM (BYTES4('"', 's', 't', 'r') | (u64)BYTES4('e', 'a', 'm', '"') << 32)

/* At a key: which one it is, then past the colon. Letters and the names of every message are told from one word. */
static inline const u8 *binance_scan_key(const u8 *p, const u8 *end, u32 *name) {
    if (LIKELY(end - p >= 10)) {
        u64 head = load64(p);
        if ((head & 0xFFFF00FF) == BYTES4('"', 0, '"', ':') && p[4] > ' ' && p[1] > '"' && p[1] != '\\') {
            *name = p[1];
            return p + 4;
        }
        if ((head & 0xFFFFFFFFFF) == TEXT_PREVIOUS && p[5] > ' ') {
            *name = KEY_PREVIOUS;
            return p + 5;
        }
        if (head == TEXT_DATA) {
            *name = KEY_DATA;
            return p + 7;
        }
        if (head == TEXT_STREAM && p[8] == ':' && p[9] > ' ') {
            *name = KEY_STREAM;
            return p + 9;
        }
    }
    slice key;
    p = scan_key(p, end, &key);
    if (p) *name = binance_key(key);
    return p;
}

static const u8 *binance_object(const u8 *p, const u8 *end, cwts_block *k, binance_message *m, u32 depth);

/* At '{'. */
static const u8 *binance_order_object(const u8 *p, const u8 *end, binance_order *o) {
    int done = 0;
    __builtin_memset(o, 0, sizeof *o);
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    if (*p == '}') return p + 1;
    while (!done) {
        slice key;
        if (!(p = scan_key(p, end, &key))) return 0;
        if (slice_is(key, "s", 1)) p = scan_scalar(p, end, &o->symbol);
        else if (slice_is(key, "S", 1)) p = scan_scalar(p, end, &o->side);
        else if (slice_is(key, "p", 1)) p = scan_scalar(p, end, &o->price);
        else if (slice_is(key, "ap", 2)) p = scan_scalar(p, end, &o->average);
        else if (slice_is(key, "q", 1)) p = scan_scalar(p, end, &o->qty);
        else if (slice_is(key, "T", 1)) p = scan_integer(p, end, &o->trade_ms, &o->seen, SEEN_TRADE_TIME);
        else p = skip_value(p, end);
        if (!p || !(p = scan_next(p, end, '}', &done))) return 0;
    }
    return p;
}

/* At a key: this member and all that follow, past the closing brace. */
static const u8 *binance_members(const u8 *p, const u8 *end, cwts_block *k, binance_message *m, u32 depth) {
    int done = 0;
    while (!done) {
        u32 name;
        p = binance_scan_key(p, end, &name);
        if (!p) return 0;
        switch (name) {
        case 'e': p = scan_scalar(p, end, &m->event); break;
        case 'E': m->numbers[AT_EVENT_TIME] = p, p = scan_integer(p, end, &m->event_ms, &m->seen, SEEN_EVENT_TIME); break;
        case 'T': m->numbers[AT_TRADE_TIME] = p, p = scan_integer(p, end, &m->trade_ms, &m->seen, SEEN_TRADE_TIME); break;
        case 's':
        case KEY_SYMBOL:
            p = scan_scalar(p, end, &m->symbol);
            m->skip_levels = !symbol_is(k, m->symbol);
            break;
        case 'U': m->numbers[AT_FIRST] = p, p = scan_integer(p, end, &m->first_id, &m->seen, SEEN_FIRST); break;
        case 'u': m->numbers[AT_LAST] = p, p = scan_integer(p, end, &m->last_id, &m->seen, SEEN_LAST); break;
        case KEY_PREVIOUS: m->numbers[AT_PREVIOUS] = p, p = scan_integer(p, end, &m->previous_id, &m->seen, SEEN_PREVIOUS); break;
        case 't': p = scan_integer(p, end, &m->trade_id, &m->seen, SEEN_TRADE_ID); break;
        case 'p': p = scan_scalar(p, end, &m->price); break;
        case 'q': p = scan_scalar(p, end, &m->qty); break;
        case 'X': p = scan_scalar(p, end, &m->status); break;
        case 'o':
            if (*p == '{') {
                p = binance_order_object(p, end, &m->order);
                m->seen |= SEEN_ORDER;
            } else {
                p = skip_value(p, end);
            }
            break;
        case 'B': p = scan_scalar(p, end, &m->bid_qty); break;
        case 'A': p = scan_scalar(p, end, &m->ask_qty); break;
        case 'm':
            p = scan_bool(p, end, &m->maker);
            m->seen |= SEEN_MAKER;
            break;
        case 'b':
            m->first_level = p;
            m->level_depth = depth;
            p = *p == '[' ? read_levels(p, end, m, CWTS_BID, SEEN_BIDS) : scan_scalar(p, end, &m->bid);
            break;
        case 'a':
            if (*p == '[') p = read_levels(p, end, m, CWTS_ASK, SEEN_ASKS);
            else if (*p == '"') p = scan_scalar(p, end, &m->ask);
            else p = scan_integer(p, end, &m->aggregate_id, &m->seen, SEEN_AGGREGATE);
            break;
        case KEY_BIDS: p = *p == '[' ? read_levels(p, end, m, CWTS_BID, SEEN_BIDS) : skip_value(p, end); break;
        case KEY_ASKS: p = *p == '[' ? read_levels(p, end, m, CWTS_ASK, SEEN_ASKS) : skip_value(p, end); break;
        case KEY_SNAPSHOT: p = scan_integer(p, end, &m->snapshot_id, &m->seen, SEEN_SNAPSHOT); break;
        case KEY_STREAM: p = scan_scalar(p, end, &m->stream); break;
        case KEY_DATA: p = *p == '{' && depth == 0 ? binance_object(p, end, k, m, depth + 1) : skip_value(p, end); break;
        default: p = skip_value(p, end);
        }
        if (!p) return 0;
        p = scan_next(p, end, '}', &done);
        if (!p) return 0;
    }
    return p;
}

/* At '{'. */
static const u8 *binance_object(const u8 *p, const u8 *end, cwts_block *k, binance_message *m, u32 depth) {
    p = skip_space(p + 1, end);
    if (p >= end) return 0;
    return *p == '}' ? p + 1 : binance_members(p, end, k, m, depth);
}

/* Remembers how this depth message began, if all that counts stood before its bids. */
static void shape_learn(cwts_block *k, const binance_message *m, const u8 *start) {
    cwts_shape *shape = &k->shape;
    const u32 bits[AT_COUNT] = {SEEN_EVENT_TIME, SEEN_TRADE_TIME, SEEN_FIRST, SEEN_LAST, SEEN_PREVIOUS};
    shape->length = 0;
    if (!m->first_level || m->first_level - start > (i64)sizeof shape->text) return;
    u32 length = (u32)(m->first_level - start);
    if (m->event.text < start || m->event.text >= m->first_level || m->symbol.text < start || m->symbol.text >= m->first_level) return;
    __builtin_memset(shape, 0, sizeof *shape);
    __builtin_memcpy(shape->text, start, length);
    __builtin_memset(shape->care, 0xFF, length);
    for (u32 i = 0; i < AT_COUNT; i++) {
        const u8 *p = m->numbers[i];
        if (!(m->seen & bits[i])) continue;
        u32 digits = 0;
        if (p < start || p >= m->first_level) return;
        while ((u8)(p[digits] - '0') <= 9) digits++;
        if (digits < 9 || digits > 16) return;
        shape->at[i] = (u32)(p - start);
        shape->digits[i] = digits;
        __builtin_memset(shape->text + shape->at[i], '0', digits);
        __builtin_memset(shape->care + shape->at[i], 0xF0, digits);
        shape->seen |= bits[i];
    }
    shape->depth = m->level_depth;
    shape->event_at = (u32)(m->event.text - start);
    shape->event_length = m->event.length;
    shape->symbol_at = (u32)(m->symbol.text - start);
    shape->symbol_length = m->symbol.length;
    shape->length = length;
}

/* A message that begins like the depth message before it: its numbers are read where they stood there, and the rest from the
 * bids on key by key. Returns NULL where it begins otherwise, or is broken; it is then read from the start. */
static inline const u8 *binance_by_shape(const u8 *start, const u8 *end, cwts_block *k, binance_message *m) {
    const cwts_shape *shape = &k->shape;
    if (shape->length == 0 || end - start < (i64)sizeof shape->text + 32) return 0;
    if (!bytes_match(start, shape->text, shape->care, (shape->length + 31) & ~31u)) return 0;
    i64 *const numbers[AT_COUNT] = {&m->event_ms, &m->trade_ms, &m->first_id, &m->last_id, &m->previous_id};
    for (u32 i = 0; i < AT_COUNT; i++)
        if (shape->digits[i] && !integer_fixed(start + shape->at[i], shape->digits[i], numbers[i])) return 0;
    m->seen = shape->seen;
    m->event = (slice){start + shape->event_at, shape->event_length, 0};
    m->symbol = (slice){start + shape->symbol_at, shape->symbol_length, 0};
    if (start[shape->length] != '[') return 0;
    const u8 *p = read_levels(start + shape->length, end, m, CWTS_BID, SEEN_BIDS);
    for (u32 depth = shape->depth;; depth--) {
        int done = 0;
        if (!p || !(p = scan_next(p, end, '}', &done))) return 0;
        if (!done && !(p = binance_members(p, end, k, m, depth))) return 0;
        if (depth == 0) return p;
    }
}

static u32 malformed(cwts_block *k) {
    k->counters.malformed++;
    return CWTS_EV_MALFORMED;
}

static u32 ignored(cwts_block *k) {
    k->counters.ignored++;
    return CWTS_EV_IGNORED;
}

static inline int read_decimal(slice s, const u8 *end, u32 decimals, i64 *out) {
    if (!s.text || s.escaped) return 0;
    if (UNLIKELY(end - s.text < 40 || s.length > 31)) return decimal_slow(s.text, s.length, decimals, out);
    u32 points = equal_bits(load_bytes(s.text), '.') | 1u << s.length;
    return decimal_fast(s.text, s.length, (u32)lowest_bit(points), decimals, out);
}

static u32 binance_trade(cwts_block *k, const binance_message *m, const u8 *end, i64 recv_ns, int aggregate) {
    cwts_trade t = {.recv_ns = recv_ns, .exchange_ns = ns_of_ms(m->seen & SEEN_TRADE_TIME ? m->trade_ms : m->event_ms)};
    u32 wanted = SEEN_MAKER | (aggregate ? SEEN_AGGREGATE : SEEN_TRADE_ID);
    if ((m->seen & wanted) != wanted || !read_decimal(m->price, end, k->config.price_decimals, &t.price)
        || !read_decimal(m->qty, end, k->config.qty_decimals, &t.qty))
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

/* An average is finer than the price unit: what lies beyond it is cut off. */
static int read_average(slice s, u32 decimals, i64 *out) {
    u32 point = 0, keep = 0;
    if (!s.text || s.escaped) return 0;
    while (point < s.length && s.text[point] != '.') point++;
    if (point == s.length) return decimal_slow(s.text, s.length, decimals, out);
    for (u32 i = point + 1; i < s.length; i++)
        if ((u8)(s.text[i] - '0') > 9) return 0;
    if (point + 1 == s.length) return 0;
    keep = s.length - point - 1 > decimals ? (decimals ? point + 1 + decimals : point) : s.length;
    return decimal_slow(s.text, keep, decimals, out);
}

static u32 binance_forced(cwts_block *k, const binance_message *m, const u8 *end, i64 recv_ns) {
    const binance_order *o = &m->order;
    cwts_forced f = {.recv_ns = recv_ns};
    if (!(m->seen & SEEN_ORDER) || !o->symbol.text) return malformed(k);
    if (!symbol_is(k, o->symbol)) return ignored(k);
    i64 average = 0;
    int sell = slice_is(o->side, "SELL", 4);
    if ((!sell && !slice_is(o->side, "BUY", 3)) || !read_decimal(o->price, end, k->config.price_decimals, &f.price)
        || !read_decimal(o->qty, end, k->config.qty_decimals, &f.qty)
        || (o->average.text && !read_average(o->average, k->config.price_decimals, &average)))
        return malformed(k);
    f.bankruptcy = average == 0; /* the order's own price is where the margin is gone */
    if (average) f.price = average;
    if (f.price == 0 || f.qty == 0) return ignored(k);
    f.exchange_ns = ns_of_ms(o->seen & SEEN_TRADE_TIME ? o->trade_ms : m->event_ms);
    f.side = sell ? CWTS_ASK : CWTS_BID;
    return forced_add(k, &f);
}

static u32 binance_ticker(cwts_block *k, const binance_message *m, const u8 *end) {
    cwts_level bid, ask;
    if (!(m->seen & SEEN_LAST) || !read_decimal(m->bid, end, k->config.price_decimals, &bid.price)
        || !read_decimal(m->bid_qty, end, k->config.qty_decimals, &bid.qty)
        || !read_decimal(m->ask, end, k->config.price_decimals, &ask.price)
        || !read_decimal(m->ask_qty, end, k->config.qty_decimals, &ask.qty))
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

/* Field by field: what is only read when it was seen needs no value, and a call to clear memory costs WebAssembly dearly. */
static inline void message_clear(binance_message *m) {
    m->event.text = m->symbol.text = m->stream.text = m->price.text = m->qty.text = m->status.text = 0;
    m->bid.text = m->bid_qty.text = m->ask.text = m->ask_qty.text = 0;
    m->event_ms = m->trade_ms = 0;
    m->seen = m->maker = m->skip_levels = 0;
    m->first_level = 0;
}

/* An empty message, its levels to lie at the end of what is kept in the stage. Returns 0 where there is no room at all. */
static inline int message_begin(cwts_block *k, binance_message *m) {
    message_clear(m);
    m->update = (update *)(void *)&k->stage[k->sync.pending_to];
    m->writer = level_writer_at(k, k->sync.pending_to);
    m->book = k->side;
    if (k->sync.pending_to + UPDATE_SLOTS >= CWTS_STAGE) {
        m->writer.at = m->writer.limit;
        return 0;
    }
    __builtin_memset(m->update, 0, sizeof *m->update);
    return 1;
}

/* One message. The levels are read into the stage first and applied only once all of it proved well-formed. */
static u32 binance_message_feed(cwts_block *k, const u8 *p, u32 length, i64 recv_ns) {
    const u8 *end = p + length;
    binance_message m;
again:;
    int room = message_begin(k, &m);
    p = skip_space(end - length, end);
    if (p >= end) return malformed(k);
    if (*p != '{') {
        p = skip_value(p, end);
        return p && skip_space(p, end) == end ? ignored(k) : malformed(k);
    }
    const u8 *start = p;
    int known = room && (p = binance_by_shape(start, end, k, &m)) && p == end;
    if (!known) {
        message_begin(k, &m);
        p = room ? binance_object(start, end, k, &m, 0) : 0;
    }
    if (!p || skip_space(p, end) != end) {
        if (m.writer.at < m.writer.limit || k->sync.pending_to == 0) return malformed(k);
        k->counters.buffer_lost += k->sync.pending_count; /* no room left behind what is kept: give that up */
        pending_clear(k);
        goto again;
    }

    if (m.symbol.text && m.skip_levels) return ignored(k);
    int is_book = (m.seen & SEEN_BIDS) && (m.seen & SEEN_ASKS);
    m.update->slots = (u32)(m.writer.at - (cwts_level *)m.update);
    m.update->exchange_ns = ns_of_ms(m.seen & SEEN_TRADE_TIME ? m.trade_ms : m.event_ms);
    if (slice_is(m.event, "depthUpdate", 11)) {
        u32 wanted = SEEN_FIRST | SEEN_LAST | (k->config.exchange == CWTS_BINANCE_SPOT ? 0 : SEEN_PREVIOUS);
        if (!is_book || !m.symbol.text || (m.seen & wanted) != wanted || m.last_id < m.first_id) return malformed(k);
        m.update->previous = k->config.exchange == CWTS_BINANCE_SPOT ? m.first_id - 1 : m.previous_id;
        m.update->last = m.last_id;
        if (UNLIKELY(!known)) shape_learn(k, &m, start);
        if (UNLIKELY(!(k->config.parts & CWTS_PART_BOOK))) return 0;
        return binance_update(k, m.update, recv_ns);
    }
    if (slice_is(m.event, "trade", 5)) return m.symbol.text ? binance_trade(k, &m, end, recv_ns, 0) : malformed(k);
    if (slice_is(m.event, "aggTrade", 8)) return m.symbol.text ? binance_trade(k, &m, end, recv_ns, 1) : malformed(k);
    if (slice_is(m.event, "forceOrder", 10)) return binance_forced(k, &m, end, recv_ns);
    if (m.seen & SEEN_SNAPSHOT) {
        if (is_partial_stream(m.stream)) return ignored(k);
        if (!is_book) return malformed(k);
        m.update->previous = m.update->last = m.snapshot_id;
        return binance_snapshot(k, m.update, recv_ns, m.symbol.text != 0);
    }
    if (slice_is(m.event, "bookTicker", 10) || (!m.event.text && m.bid.text && m.ask.text && m.symbol.text))
        return m.symbol.text ? binance_ticker(k, &m, end) : malformed(k);
    return ignored(k);
}
