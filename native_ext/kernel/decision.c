/* decision.c: hold, buy, sell or exit, and why. Every condition is evaluated into one bit; the lowest bit that is set is the
 * reason, and a table gives the action. No branch depends on the market: docs/decision.md has the rules and the assembly. */
#include "internal.h"

static const u8 ACTION_FOR[CWTS_REASONS] = {
    [CWTS_WHY_EXIT_HALT] = CWTS_EXIT, [CWTS_WHY_EXIT_LOSS] = CWTS_EXIT,    [CWTS_WHY_EXIT_SWAN] = CWTS_EXIT,
    [CWTS_WHY_EXIT_CASCADE] = CWTS_EXIT, [CWTS_WHY_EXIT_TIME] = CWTS_EXIT, [CWTS_WHY_EXIT_SIGNAL] = CWTS_EXIT,
    [CWTS_WHY_WHALE_UP] = CWTS_BUY,   [CWTS_WHY_VALUE_UP] = CWTS_BUY,      [CWTS_WHY_SCORE_UP] = CWTS_BUY,
    [CWTS_WHY_WHALE_DOWN] = CWTS_SELL, [CWTS_WHY_VALUE_DOWN] = CWTS_SELL,  [CWTS_WHY_SCORE_DOWN] = CWTS_SELL};

/* The parts of the score, each within [-1, 1], and their sum within the same. */
typedef struct opinion {
    float features, whales, value, score;
} opinion;

static inline float within_one(float v) {
    v = v > 1.0f ? 1.0f : v;
    return v < -1.0f ? -1.0f : v;
}

static opinion opinion_now(const cwts_block *k) {
    const float *signal = k->signals.value, *p = k->config.parameter;
    opinion o;
    o.features = within_one(features_score(k->features.value, k->config.weights));
    o.whales = within_one(p[CWTS_P_DECISION_WHALE_WEIGHT] * (signal[CWTS_S_WHALE_PRESSURE] * signal[CWTS_S_WHALE_CONFIDENCE]));
    o.value = within_one(p[CWTS_P_DECISION_VALUE_WEIGHT] * signal[CWTS_S_VALUE]);
    o.score = within_one(o.features + (o.whales + o.value));
    return o;
}

static u32 decide(const cwts_block *k, i64 now, u32 pending, i64 position, i64 size, opinion o) {
    const cwts_config *c = &k->config;
    const cwts_sync *s = &k->sync;
    const cwts_account *a = &k->account;
    const float *signal = k->signals.value, *p = c->parameter;
    i64 spread = s->touch[CWTS_ASK].price - s->touch[CWTS_BID].price;
    u32 both = (s->touch[CWTS_BID].qty > 0) & (s->touch[CWTS_ASK].qty > 0) & (spread > 0);
    u32 held = position != 0, up = o.score > 0.0f, is_long = position > 0;
    u32 lost = a->equity_e8 <= c->capital_e8 - c->max_loss_e8, halted = k->header.halted != 0;
    float against = o.score * (float)((position < 0) - (position > 0));
    /* what works against a long position or a buy is what goes down, and the other way round */
    float cascade_held = signal[CWTS_S_CASCADE_UP + is_long], cascade = signal[CWTS_S_CASCADE_UP + up];
    float cluster = signal[CWTS_S_LIQUIDATION_UP + up], mass = signal[CWTS_S_LIQUIDATION_UP_MASS + up];
    float critical = signal[CWTS_S_CRITICALITY], convexity = signal[CWTS_S_ANTIFRAGILITY]; /* 0: not known, and vetoes nothing */
    u32 swan = signal[CWTS_S_SWAN_ALARM] > 0.0f;
    /* who says the most in the direction of the score */
    float sign = (float)up * 2.0f - 1.0f, f = o.features * sign, w = o.whales * sign, v = o.value * sign;
    u32 whale = (w > f) & (w >= v), value = (v > f) & (v > w);
    u32 why = 0;
    why |= (u32)(s->synced == 0) << CWTS_WHY_BOOK_INVALID;
    why |= (u32)(now - s->book_ns > c->stale_ns) << CWTS_WHY_STALE;
    why |= (u32)(both == 0) << CWTS_WHY_CROSSED;
    why |= pending << CWTS_WHY_ORDER_PENDING;
    why |= (halted & held) << CWTS_WHY_EXIT_HALT;
    why |= (halted | (lost & !held)) << CWTS_WHY_HALTED; /* a closing fee can pass the limit */
    why |= (held & lost) << CWTS_WHY_EXIT_LOSS;
    why |= (held & swan & (u32)(p[CWTS_P_DECISION_SWAN_EXIT] >= 1.0f)) << CWTS_WHY_EXIT_SWAN;
    why |= (held & (u32)(cascade_held > 0.0f) & (u32)(cascade_held >= p[CWTS_P_DECISION_CASCADE_EXIT])) << CWTS_WHY_EXIT_CASCADE;
    why |= (held & (u32)(now - a->opened_ns >= c->max_hold_ns)) << CWTS_WHY_EXIT_TIME;
    why |= (held & (u32)(against >= c->exit)) << CWTS_WHY_EXIT_SIGNAL;
    why |= held << CWTS_WHY_HOLDING;
    why |= (u32)(now - s->synced_ns < c->warmup_ns) << CWTS_WHY_WARMUP;
    why |= (u32)(spread > c->max_spread) << CWTS_WHY_SPREAD;
    why |= (u32)(now - a->closed_ns < c->cooldown_ns) << CWTS_WHY_COOLDOWN;
    why |= (u32)(size == 0) << CWTS_WHY_TOO_SMALL;
    why |= ((u32)(c->contract == CWTS_SPOT) & (u32)(o.score <= -c->enter)) << CWTS_WHY_NO_SHORT;
    why |= ((u32)(o.score < c->enter) & (u32)(o.score > -c->enter)) << CWTS_WHY_NO_SIGNAL;
    why |= swan << CWTS_WHY_SWAN;
    why |= ((u32)(critical > 0.0f) & (u32)(critical >= p[CWTS_P_DECISION_CRITICALITY_MAX])) << CWTS_WHY_CRITICAL;
    why |= ((u32)(cascade > 0.0f) & (u32)(cascade >= p[CWTS_P_DECISION_CASCADE_ENTRY])) << CWTS_WHY_CASCADE;
    why |= ((u32)(cluster > 0.0f) & (u32)(cluster < p[CWTS_P_DECISION_LIQUIDATION_BP]) & (u32)(mass >= p[CWTS_P_DECISION_LIQUIDATION_MASS]))
        << CWTS_WHY_LIQUIDATION;
    why |= ((u32)(convexity < 0.0f) & (u32)(convexity <= -p[CWTS_P_DECISION_FRAGILITY_MAX])) << CWTS_WHY_FRAGILE;
    why |= (up & whale) << CWTS_WHY_WHALE_UP;
    why |= (up & value) << CWTS_WHY_VALUE_UP;
    why |= up << CWTS_WHY_SCORE_UP;
    why |= whale << CWTS_WHY_WHALE_DOWN;
    why |= value << CWTS_WHY_VALUE_DOWN;
    why |= 1u << CWTS_WHY_SCORE_DOWN;
    return (u32)__builtin_ctz(why);
}

/* After every message that moved the market, every timer and every command: decide, and act on it. */
static u32 decision_update(cwts_block *k, i64 now) {
    cwts_decision *d = &k->decision;
    u32 events = account_step(k, now);
    i64 position = position_lots(k);
    if (position) account_mark(k);
    opinion o = k->sync.synced ? opinion_now(k) : (opinion){0};
    i64 size = order_size_now(k);
    u32 reason = decide(k, now, (u32)order_pending(k, now), position, size, o), action = ACTION_FOR[reason];
    d->recv_ns = now;
    d->action = action;
    d->reason = reason;
    d->score = o.score;
    d->part[0] = o.features;
    d->part[1] = o.whales;
    d->part[2] = o.value;
    d->order_id = 0;
    d->evaluated++;
    k->counters.decisions[action]++;
    k->counters.reasons[reason]++;
    if (UNLIKELY(reason == CWTS_WHY_HALTED || reason == CWTS_WHY_EXIT_LOSS)) k->header.halted = 1;
    if (LIKELY(action == CWTS_HOLD)) return events;
    int exit = action == CWTS_EXIT;
    u32 side = exit ? (position > 0 ? CWTS_ASK : CWTS_BID) : action == CWTS_BUY ? CWTS_BID : CWTS_ASK;
    d->order_id = order_send(k, side, exit ? (position > 0 ? position : -position) : size, reason, o.score, exit, now);
    d->last_ns = now;
    d->last_action = action;
    d->last_reason = reason;
    d->last_score = o.score;
    d->last_order_id = d->order_id;
    __builtin_memcpy(d->last_signal, k->signals.value, sizeof d->last_signal);
    __builtin_memcpy(d->last_feature, k->features.value, sizeof d->last_feature);
    return events | CWTS_EV_ACTION;
}
