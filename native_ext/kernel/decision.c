/* decision.c: hold, buy, sell or exit, and why. Every condition is evaluated into one bit; the lowest bit that is set is the
 * reason, and a table gives the action. No branch depends on the market. */
#include "internal.h"

static const u8 ACTION_FOR[CWTS_REASONS] = {
    [CWTS_WHY_EXIT_HALT] = CWTS_EXIT, [CWTS_WHY_EXIT_LOSS] = CWTS_EXIT, [CWTS_WHY_EXIT_TIME] = CWTS_EXIT,
    [CWTS_WHY_EXIT_SIGNAL] = CWTS_EXIT, [CWTS_WHY_SCORE_UP] = CWTS_BUY, [CWTS_WHY_SCORE_DOWN] = CWTS_SELL};

static u32 decide(cwts_block *k, i64 now, u32 pending, i64 position, i64 size, float score) {
    const cwts_config *c = &k->config;
    const cwts_sync *s = &k->sync;
    const cwts_account *a = &k->account;
    i64 spread = s->touch[CWTS_ASK].price - s->touch[CWTS_BID].price;
    u32 both = (s->touch[CWTS_BID].qty > 0) & (s->touch[CWTS_ASK].qty > 0) & (spread > 0);
    u32 held = position != 0, halted = k->header.halted != 0;
    float against = score * (float)((position < 0) - (position > 0));
    u32 why = 0;
    why |= (u32)(s->synced == 0) << CWTS_WHY_BOOK_INVALID;
    why |= (u32)(now - s->book_ns > c->stale_ns) << CWTS_WHY_STALE;
    why |= (u32)(both == 0) << CWTS_WHY_CROSSED;
    why |= pending << CWTS_WHY_ORDER_PENDING;
    why |= (halted & held) << CWTS_WHY_EXIT_HALT;
    why |= halted << CWTS_WHY_HALTED;
    why |= (held & (u32)(a->equity_e8 <= c->capital_e8 - c->max_loss_e8)) << CWTS_WHY_EXIT_LOSS;
    why |= (held & (u32)(now - a->opened_ns >= c->max_hold_ns)) << CWTS_WHY_EXIT_TIME;
    why |= (held & (u32)(against >= c->exit)) << CWTS_WHY_EXIT_SIGNAL;
    why |= held << CWTS_WHY_HOLDING;
    why |= (u32)(now - s->synced_ns < c->warmup_ns) << CWTS_WHY_WARMUP;
    why |= (u32)(spread > c->max_spread) << CWTS_WHY_SPREAD;
    why |= (u32)(now - a->closed_ns < c->cooldown_ns) << CWTS_WHY_COOLDOWN;
    why |= (u32)(size == 0) << CWTS_WHY_TOO_SMALL;
    why |= ((u32)(c->contract == CWTS_SPOT) & (u32)(score <= -c->enter)) << CWTS_WHY_NO_SHORT;
    why |= (u32)(score >= c->enter) << CWTS_WHY_SCORE_UP;
    why |= (u32)(score <= -c->enter) << CWTS_WHY_SCORE_DOWN;
    why |= 1u << CWTS_WHY_NO_SIGNAL;
    return (u32)__builtin_ctz(why);
}

/* After every message that moved the market, every timer and every command: decide, and act on it. */
static u32 decision_update(cwts_block *k, i64 now) {
    cwts_decision *d = &k->decision;
    u32 events = account_step(k, now);
    i64 position = position_lots(k);
    if (position) account_mark(k);
    float score = k->sync.synced ? features_score(k->features.value, k->config.weights) : 0.0f;
    i64 size = order_size_now(k);
    u32 reason = decide(k, now, (u32)order_pending(k), position, size, score), action = ACTION_FOR[reason];
    d->recv_ns = now;
    d->action = action;
    d->reason = reason;
    d->score = score;
    d->order_id = 0;
    d->evaluated++;
    k->counters.decisions[action]++;
    k->counters.reasons[reason]++;
    if (LIKELY(action == CWTS_HOLD)) return events;
    int exit = action == CWTS_EXIT;
    u32 side = exit ? (position > 0 ? CWTS_ASK : CWTS_BID) : action == CWTS_BUY ? CWTS_BID : CWTS_ASK;
    d->order_id = order_send(k, side, exit ? (position > 0 ? position : -position) : size, reason, score, exit, now);
    if (reason == CWTS_WHY_EXIT_LOSS) k->header.halted = 1;
    d->last_ns = now;
    d->last_action = action;
    d->last_reason = reason;
    d->last_score = score;
    d->last_order_id = d->order_id;
    return events | CWTS_EV_ACTION;
}
