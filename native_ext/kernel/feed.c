/* feed.c: the entry points. Frames go to the reader of their protocol; what happened there goes to features, account and
 * decision, message by message; the result is published once a batch. */
#include "internal.h"

/* Events after which the market may look different. */
#define MARKET_MOVED (CWTS_EV_BOOK | CWTS_EV_TICKER | CWTS_EV_TRADE | CWTS_EV_GAP | CWTS_EV_NEED_SNAPSHOT)

#define CHECK_LAYOUT(type) _Static_assert(sizeof(type) % 64 == 0, #type " fills whole cache lines")
CHECK_LAYOUT(cwts_config);
CHECK_LAYOUT(cwts_header);
CHECK_LAYOUT(cwts_sync);
CHECK_LAYOUT(cwts_side_book);
CHECK_LAYOUT(cwts_tape);
CHECK_LAYOUT(cwts_features);
CHECK_LAYOUT(cwts_signals);
CHECK_LAYOUT(cwts_decision);
CHECK_LAYOUT(cwts_order);
CHECK_LAYOUT(cwts_account);
CHECK_LAYOUT(cwts_bars);
CHECK_LAYOUT(cwts_whale);
CHECK_LAYOUT(cwts_soc);
CHECK_LAYOUT(cwts_swan);
CHECK_LAYOUT(cwts_panarchy);
CHECK_LAYOUT(cwts_fibonacci);
CHECK_LAYOUT(cwts_antifragility);
CHECK_LAYOUT(cwts_liquidation);
CHECK_LAYOUT(cwts_networks);
CHECK_LAYOUT(cwts_network);
CHECK_LAYOUT(cwts_published);
CHECK_LAYOUT(cwts_counters);
CHECK_LAYOUT(cwts_latencies);
CHECK_LAYOUT(cwts_formats);
_Static_assert(sizeof(cwts_frame) == 16, "frames have a 16-byte header");
_Static_assert(sizeof(cwts_block) <= 4 << 20, "a block is at most 4 MB");

uint32_t cwts_block_bytes(void) { return sizeof(cwts_block); }

static int config_is_valid(const cwts_config *c) {
    int sane = c->abi == CWTS_ABI && c->exchange <= CWTS_OKX && c->contract <= CWTS_INVERSE && c->price_decimals <= 12
            && c->qty_decimals <= 12 && c->symbol[0] != 0;
    sane &= c->tick_size > 0 && c->lot_size > 0 && c->min_qty >= 0 && c->max_qty >= 0 && c->min_notional_e8 >= 0;
    sane &= c->contract_size_e8 > 0 && c->capital_e8 >= 0 && c->order_notional_e8 >= 0 && c->max_loss_e8 > 0;
    sane &= c->max_spread >= 0 && c->max_slippage >= 0 && c->order_latency_ns >= 0 && c->cooldown_ns >= 0;
    sane &= c->max_hold_ns > 0 && c->stale_ns > 0 && c->warmup_ns >= 0 && c->taker_fee_ppm < 1000000 && c->maker_fee_ppm < 1000000;
    sane &= c->enter > 0.0f && c->enter <= 1.0f && c->exit >= 0.0f && c->exit <= 1.0f;
    for (u32 i = 0; i < CWTS_FEATURE_COUNT; i++) sane &= c->weights[i] >= -1e6f && c->weights[i] <= 1e6f; /* NaN fails */
    for (u32 i = 0; i < CWTS_PARAMETER_COUNT; i++)
        sane &= c->parameter[i] >= PARAMETER_LOW[i] && c->parameter[i] <= PARAMETER_HIGH[i];
    return sane;
}

int32_t cwts_init(void *block, const cwts_config *config) {
    cwts_block *k = block;
    if (!k || (uintptr_t)k % 64 || !config) return CWTS_E_BLOCK;
    if (!config_is_valid(config)) return CWTS_E_CONFIG;
    __builtin_memset(k, 0, sizeof *k);
    k->config = *config;
    k->header.magic = CWTS_MAGIC;
    k->header.abi = CWTS_ABI;
    k->header.block_bytes = sizeof *k;
    k->header.hashed_bytes = (u32)__builtin_offsetof(cwts_block, published);
    while (k->header.symbol_length < CWTS_SYMBOL && config->symbol[k->header.symbol_length]) k->header.symbol_length++;
    k->header.price_scale = POW10[config->price_decimals];
    i64 lot_limit = INT64_MAX / 100000000;
    if (config->qty_decimals <= 8 && config->lot_size < lot_limit) k->header.unit_e8 = POW10[8 - config->qty_decimals];
    format_expect(&k->format[0], &k->formats, config->price_decimals, config->price_decimals, 0);
    format_expect(&k->format[1], &k->formats, config->qty_decimals, config->qty_decimals, 1);
    side_clear(&k->side[0]);
    side_clear(&k->side[1]);
    panarchy_init(k);
    k->account.cash_e8 = k->account.equity_e8 = k->account.peak_e8 = config->capital_e8;
    publish(k);
    return 0;
}

static u32 command(cwts_block *k, const u8 *payload, u32 length, i64 now) {
    cwts_command c;
    float value;
    if (length < sizeof c) return malformed(k);
    __builtin_memcpy(&c, payload, sizeof c);
    __builtin_memcpy(&value, &c.value, 4);
    switch (c.op) {
    case CWTS_COMMAND_RESET_BOOK: {
        u32 events = sync_lost(k, CWTS_SYNC_RESET);
        pending_clear(k);
        return events;
    }
    case CWTS_COMMAND_HALT: {
        cwts_order *o = order_newest(k);
        if (o && o->state == CWTS_ORDER_SENT && !o->reduce_only) order_end(o, CWTS_ORDER_CANCELLED, now);
        k->header.halted = 1;
        return CWTS_EV_TICKER;
    }
    case CWTS_COMMAND_RESUME:
        k->header.halted = 0;
        return CWTS_EV_TICKER;
    case CWTS_COMMAND_SET_ENTER:
        if (!(value > 0.0f && value <= 1.0f)) return malformed(k);
        k->config.enter = value;
        return 0;
    case CWTS_COMMAND_SET_EXIT:
        if (!(value >= 0.0f && value <= 1.0f)) return malformed(k);
        k->config.exit = value;
        return 0;
    case CWTS_COMMAND_SET_PARAMETER: {
        cwts_parameter_command p;
        if (length < sizeof p) return malformed(k);
        __builtin_memcpy(&p, payload, sizeof p);
        u32 i = p.parameter;
        if (!(i < CWTS_PARAMETER_COUNT && value >= PARAMETER_LOW[i] && value <= PARAMETER_HIGH[i])) return malformed(k);
        k->config.parameter[i] = value;
        return 0;
    }
    case CWTS_COMMAND_LOAD_NETWORK:
        return network_load(k, payload, length) ? 0 : malformed(k);
    default:
        return malformed(k);
    }
}

static u32 frame_feed(cwts_block *k, const cwts_frame *f, const u8 *payload) {
    u32 events, parts = k->config.parts;
    u64 trades = k->tape.count;
    k->header.now_ns = f->recv_ns;
    k->header.frames++;
    switch (f->kind) {
    case CWTS_FRAME_RAW:
        k->counters.messages++;
        k->counters.bytes += f->length;
        k->counters.stream_messages[f->stream & (CWTS_STREAMS - 1)]++;
        events = k->config.exchange == CWTS_OKX ? okx_message_feed(k, payload, f->length, f->recv_ns)
                                                : binance_message_feed(k, payload, f->length, f->recv_ns);
        if ((events & CWTS_EV_LIQUIDATION) && (parts & CWTS_PART_BRAIN)) liquidation_forced(k);
        if (!(events & MARKET_MOVED)) return events;
        break;
    case CWTS_FRAME_TIMER:
        events = 0;
        break;
    case CWTS_FRAME_COMMAND:
        events = command(k, payload, f->length, f->recv_ns);
        break;
    default:
        return malformed(k);
    }
    if (parts & CWTS_PART_FEATURES) features_update(k, f->recv_ns, trades, events);
    if (parts & CWTS_PART_BRAIN) brain_update(k, f->recv_ns, trades, events);
    if (parts & CWTS_PART_DECISION) events |= decision_update(k, f->recv_ns);
    return events;
}

int32_t cwts_feed(void *block, const uint8_t *frames, uint32_t bytes) {
    cwts_block *k = block;
    u32 events = 0, at = 0;
    if (!k || (uintptr_t)k % 64 || k->header.magic != CWTS_MAGIC || k->header.abi != CWTS_ABI) return CWTS_E_BLOCK;
    k->counters.feeds++;
    while (at < bytes) {
        cwts_frame f;
        if (bytes - at < sizeof f) return CWTS_E_FRAME;
        __builtin_memcpy(&f, frames + at, sizeof f);
        at += sizeof f;
        f.recv_ns = min64(max64(f.recv_ns, 0), INT64_MAX / 2); /* so that differences of times fit */
        u64 padded = ((u64)f.length + 7) & ~7ULL;
        if (padded > bytes - at) return CWTS_E_FRAME;
        events |= frame_feed(k, &f, frames + at);
        at += (u32)padded;
    }
    if (k->config.parts & CWTS_PART_PUBLISH) publish(k);
    return (i32)events;
}

void cwts_latency(void *block, uint32_t stage, int64_t ns) {
    cwts_block *k = block;
    if (!k || stage >= CWTS_STAGES) return;
    cwts_latencies *l = &k->latency[stage];
    u64 v = ns < 0 ? 0 : (u64)ns;
    u32 octave = v < 16 ? 0 : (u32)highest_bit(v) - 3;
    u32 bucket = octave == 0 ? (u32)v : octave * 16 + (u32)(v >> (octave - 1) & 15);
    l->count++;
    l->sum_ns += v;
    l->max_ns = v > l->max_ns ? v : l->max_ns;
    l->bucket[bucket < CWTS_LATENCY_BUCKETS ? bucket : CWTS_LATENCY_BUCKETS - 1]++;
}
