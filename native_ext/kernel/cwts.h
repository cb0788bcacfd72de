/* cwts.h: the one block of memory that is the CWTS engine, and the functions that work on it.
 *
 * Everything the engine knows about one instrument lies in one 64-byte-aligned `cwts_block`: no pointers, no allocation,
 * no clock, no I/O, no libm. Time comes in with the frames. A run is therefore the same to the bit on every target, a
 * saved block is a saved engine, and any language can read it in place.
 *
 * Units. Prices are int64 in 10^-price_decimals, quantities int64 in 10^-qty_decimals (contracts where the exchange
 * counts contracts). Money (`*_e8`) is int64 in 10^-8 of the settlement asset: the quote asset for spot and linear
 * contracts, the coin for inverse ones. Times are int64 nanoseconds since the Unix epoch. Signals are float32.
 *
 * Layout. Fixed-width fields, naturally aligned, every section a multiple of 64 bytes, no implicit padding: the layout
 * is equal on 32- and 64-bit targets. `app/cwts/kernel/layout.py` and `web/layout.js` are generated from this file by
 * `python -m cwts.kernel.generate`, which reads exactly the C used here: `enum { NAME = value }`, `typedef struct`
 * with one field a line. The bytes before `published` are the engine's state and enter `block_sha256`; what follows
 * (published copy, counters, latencies) depends on how frames were batched or on the machine, and does not.
 */
#ifndef CWTS_H
#define CWTS_H

#include <stdint.h>

#include "parameters.h" /* enum cwts_parameter */

#ifdef __cplusplus
extern "C" {
#endif

#ifndef CWTS_API
#define CWTS_API extern
#endif

enum {
    CWTS_ABI = 2,
    CWTS_MAGIC = 0x53545743,      /* "CWTS" */
    CWTS_WINDOW = 65536,          /* prices a side kept in a flat array around the touch; a power of two */
    CWTS_WINDOW_WORDS = 1024,     /* CWTS_WINDOW / 64 */
    CWTS_SUMMARY_WORDS = 16,      /* CWTS_WINDOW_WORDS / 64 */
    CWTS_FAR = 32768,             /* hash slots a side for levels outside the window; a power of two */
    CWTS_STAGE = 32768,           /* level slots for the message being read and for updates that wait for a snapshot */
    CWTS_TOP = 32,                /* levels a side that are kept sorted and published */
    CWTS_TRADES = 4096,           /* trades remembered; a power of two */
    CWTS_FEATURE_COUNT = 16,      /* features; their names are cwts_feature below */
    CWTS_ORDERS = 64,             /* orders remembered; a power of two */
    CWTS_ACTIONS = 4,
    CWTS_REASONS = 32,
    CWTS_STREAMS = 16,            /* streams whose arrival is counted apart */
    CWTS_STAGES = 8,              /* latency stages */
    CWTS_LATENCY_BUCKETS = 512,   /* log-linear buckets, 16 to the octave */
    CWTS_SYMBOL = 32,
    CWTS_PARAMETER_ROOM = 128,    /* room for parameters; their names are cwts_parameter in parameters.h */
    CWTS_SIGNAL_ROOM = 32,        /* room for signals; their names are cwts_signal below */
    CWTS_BAR_RING = 1024,         /* one-second bars remembered; a power of two */
    CWTS_VOLUME_BAR_RING = 256,   /* volume bars remembered; a power of two */
    CWTS_HORIZONS = 4,            /* of realised variance: 10, 60, 300, 1800 s */
    CWTS_LADDER = 1024,           /* levels of the liquidation ladder; a power of two */
    CWTS_LADDER_CELLS = 2048,     /* of longs, then of shorts */
    CWTS_TIERS = 7,               /* of leverage */
    CWTS_TIER_OFFSETS = 14,       /* of longs, then of shorts */
    CWTS_FORCED_ORDERS = 64,      /* forced orders remembered; a power of two */
    CWTS_SIZE_BINS = 1024,        /* whale: 128 powers of two in eight steps each */
    CWTS_NESTS = 8,               /* nests remembered a side */
    CWTS_PLACES = 64,             /* prices a side whose trades are followed; a power of two */
    CWTS_WHALES = 16,             /* whale clusters remembered; a power of two */
    CWTS_SOC_LEVELS = 6,          /* windows in which events are counted */
    CWTS_SOC_MARKS = 128,         /* steps remembered; a power of two above twice the longest window */
    CWTS_SOC_BINS = 64,           /* of avalanche sizes, up to 2^17 */
    CWTS_SOC_CANDIDATES = 32,     /* bins that may be xmin */
    CWTS_SWAN_BINS = 96,          /* of absolute normalised returns */
    CWTS_PANARCHY_CELLS = 4096,   /* 16 steps each of potential, connectedness, resilience */
    CWTS_SWINGS = 16,             /* swings whose levels are kept, the current leg among them; a power of two */
    CWTS_FIBONACCI_LEVELS = 256,  /* 16 ratios of each */
    CWTS_NETWORK_COUNT = 3,       /* their names are cwts_network_name below */
    CWTS_HIDDEN = 8,              /* hidden units of a network: the eight virtual lanes */
    CWTS_OUTPUTS = 2,             /* most outputs of a network */
    CWTS_FIRST_WEIGHTS = 128,     /* CWTS_FEATURE_COUNT * CWTS_HIDDEN */
    CWTS_LAST_WEIGHTS = 16,       /* CWTS_OUTPUTS * CWTS_HIDDEN */
    CWTS_NETWORK_VERSION = 1
};

/* Which protocol the raw messages speak. */
enum cwts_exchange { CWTS_BINANCE_SPOT = 0, CWTS_BINANCE_USDM = 1, CWTS_BINANCE_COINM = 2, CWTS_OKX = 3 };

/* How price and quantity make money: spot and linear settle in the quote asset, inverse in the coin. */
enum cwts_contract { CWTS_SPOT = 0, CWTS_LINEAR = 1, CWTS_INVERSE = 2 };

enum cwts_side { CWTS_BID = 0, CWTS_ASK = 1 };

/* What a frame carries. */
enum cwts_kind {
    CWTS_FRAME_RAW = 0,           /* a message as the exchange sent it (UTF-8 JSON), or a REST snapshot */
    CWTS_FRAME_TIMER = 1,         /* time alone: no payload */
    CWTS_FRAME_COMMAND = 2        /* an instruction of ours: cwts_command */
};

enum cwts_command_op {
    CWTS_COMMAND_RESET_BOOK = 1,  /* the connection was lost or frames were dropped: throw the book away */
    CWTS_COMMAND_HALT = 2,        /* kill switch: close the position, open nothing */
    CWTS_COMMAND_RESUME = 3,
    CWTS_COMMAND_SET_ENTER = 4,   /* decision thresholds at run time: value is the float32's bits */
    CWTS_COMMAND_SET_EXIT = 5,
    CWTS_COMMAND_SET_PARAMETER = 6, /* cwts_parameter_command */
    CWTS_COMMAND_LOAD_NETWORK = 7 /* cwts_network_command */
};

/* The bit set that cwts_feed returns: what happened in the batch. */
enum cwts_event {
    CWTS_EV_BOOK = 1,             /* the book changed */
    CWTS_EV_TRADE = 2,
    CWTS_EV_TICKER = 4,
    CWTS_EV_SYNCED = 8,           /* the book became valid */
    CWTS_EV_GAP = 16,             /* the book became invalid: a sequence gap or a wrong checksum */
    CWTS_EV_NEED_SNAPSHOT = 32,   /* the book is not valid: a snapshot (or a new subscription) is needed */
    CWTS_EV_MALFORMED = 64,       /* a message could not be read; it was counted and skipped */
    CWTS_EV_ACTION = 128,         /* a decision other than hold */
    CWTS_EV_FILL = 256,           /* the paper account traded */
    CWTS_EV_REJECT = 512,         /* an order was refused; see its reason */
    CWTS_EV_LIQUIDATION = 2048,   /* a forced order of our symbol */
    CWTS_EV_IGNORED = 1024        /* another symbol's message, or one that carries nothing for us */
};

/* Errors, as negative return values. */
enum cwts_error {
    CWTS_E_FRAME = -1,            /* a frame header does not fit the bytes given; frames before it were processed */
    CWTS_E_BLOCK = -2,            /* the block is null, misaligned, or not initialised by this ABI */
    CWTS_E_CONFIG = -3            /* a configuration value is out of range */
};

/* Why a book is not valid. */
enum cwts_sync_reason {
    CWTS_SYNC_START = 0,          /* no snapshot yet */
    CWTS_SYNC_OK = 1,
    CWTS_SYNC_GAP = 2,            /* a sequence number is missing */
    CWTS_SYNC_CHECKSUM = 3,       /* the exchange's checksum differs from ours */
    CWTS_SYNC_OLD_SNAPSHOT = 4,   /* the snapshot is older than the first update that we hold */
    CWTS_SYNC_RESET = 5,          /* we were told that the connection was lost */
    CWTS_SYNC_OVERFLOW = 6        /* more levels than the block can hold near the touch */
};

enum cwts_action { CWTS_HOLD = 0, CWTS_BUY = 1, CWTS_SELL = 2, CWTS_EXIT = 3 };

/* Which condition decided. The lowest number that applies wins. */
enum cwts_reason {
    CWTS_WHY_BOOK_INVALID = 0,
    CWTS_WHY_STALE = 1,           /* no update of the book for stale_ns */
    CWTS_WHY_CROSSED = 2,         /* no best bid below a best ask */
    CWTS_WHY_ORDER_PENDING = 3,   /* an order is on its way, or one was refused in the last 10 s */
    CWTS_WHY_EXIT_HALT = 4,       /* halted with a position: close it */
    CWTS_WHY_HALTED = 5,
    CWTS_WHY_EXIT_LOSS = 6,       /* the loss limit was reached: close and halt */
    CWTS_WHY_EXIT_SWAN = 7,       /* the black swan alarm */
    CWTS_WHY_EXIT_CASCADE = 8,    /* a cascade against the position is forecast */
    CWTS_WHY_EXIT_TIME = 9,       /* held for max_hold_ns */
    CWTS_WHY_EXIT_SIGNAL = 10,    /* the score turned against the position */
    CWTS_WHY_HOLDING = 11,
    CWTS_WHY_WARMUP = 12,
    CWTS_WHY_SPREAD = 13,         /* the spread is wider than max_spread */
    CWTS_WHY_COOLDOWN = 14,
    CWTS_WHY_TOO_SMALL = 15,      /* the capital is below the exchange's minimum for one order */
    CWTS_WHY_NO_SHORT = 16,       /* a sell signal on spot, with nothing to sell */
    CWTS_WHY_NO_SIGNAL = 17,      /* the score is within enter: from here on there is something to do */
    CWTS_WHY_SWAN = 18,           /* nothing is opened: the black swan alarm */
    CWTS_WHY_CRITICAL = 19,       /* the market is near an avalanche */
    CWTS_WHY_CASCADE = 20,        /* a cascade against the score is forecast */
    CWTS_WHY_LIQUIDATION = 21,    /* a cluster of liquidations lies close on the losing side */
    CWTS_WHY_FRAGILE = 22,        /* the market falls on large moves: convexity against us */
    CWTS_WHY_WHALE_UP = 23,       /* buy: of what makes the score, whales say the most … */
    CWTS_WHY_VALUE_UP = 24,       /* … the value network … */
    CWTS_WHY_SCORE_UP = 25,       /* … the features */
    CWTS_WHY_WHALE_DOWN = 26,     /* sell */
    CWTS_WHY_VALUE_DOWN = 27,
    CWTS_WHY_SCORE_DOWN = 28
};

enum cwts_order_state {
    CWTS_ORDER_EMPTY = 0,
    CWTS_ORDER_SENT = 1,          /* on its way: becomes effective order_latency_ns after it was decided */
    CWTS_ORDER_FILLED = 2,
    CWTS_ORDER_PARTLY_FILLED = 3, /* immediate-or-cancel: the rest was cancelled */
    CWTS_ORDER_CANCELLED = 4,     /* nothing within the limit price */
    CWTS_ORDER_REJECTED = 5
};

/* Latency stages, recorded by the host with cwts_latency. */
enum cwts_stage {
    CWTS_STAGE_QUEUE = 0,         /* socket (or reader) to the engine */
    CWTS_STAGE_FEED = 1,          /* cwts_feed, per message */
    CWTS_STAGE_STRATEGY = 2,      /* Python after the kernel */
    CWTS_STAGE_TOTAL = 3          /* socket to decision */
};

/* Which parts of a tick run; all of them unless a benchmark wants a part's price. */
enum cwts_part {
    CWTS_PART_BOOK = 1,
    CWTS_PART_FEATURES = 2,
    CWTS_PART_DECISION = 4,
    CWTS_PART_PUBLISH = 8,
    CWTS_PART_BRAIN = 16,         /* analysers and networks */
    CWTS_PART_ALL = 31
};

/* The features, in order; definitions in docs/features.md. */
enum cwts_feature {
    CWTS_F_SPREAD = 0,            /* ticks */
    CWTS_F_MICRO = 1,             /* (micro-price - mid) / spread, in [-1/2, 1/2] */
    CWTS_F_IMBALANCE_1 = 2,       /* (Vb - Va) / (Vb + Va) over the best 1, 5, 10, 20 levels */
    CWTS_F_IMBALANCE_5 = 3,
    CWTS_F_IMBALANCE_10 = 4,
    CWTS_F_IMBALANCE_20 = 5,
    CWTS_F_FLOW_1S = 6,           /* signed traded quantity over usual traded quantity, tau = 1 s, 10 s */
    CWTS_F_FLOW_10S = 7,
    CWTS_F_RETURN_1S = 8,         /* mid over its exponentially weighted mean, less 1, in basis points, tau = 1 s, 10 s */
    CWTS_F_RETURN_10S = 9,
    CWTS_F_VOLATILITY_10S = 10,   /* basis points per square-root second, tau = 10 s, 60 s */
    CWTS_F_VOLATILITY_60S = 11,
    CWTS_F_TRADE_RATE = 12,       /* trades a second, tau = 10 s */
    CWTS_F_UPDATE_RATE = 13,      /* changes of the touch a second, tau = 10 s */
    CWTS_F_OFI_1S = 14,           /* order flow imbalance over the mean depth at the touch, tau = 1 s */
    CWTS_F_DEPTH = 15             /* quantity in the best 20 levels over its mean, less 1, tau = 60 s */
};

/* What the analysers and networks say, in order; a page in docs/ for each. A signal that is not known yet is 0. */
enum cwts_signal {
    CWTS_S_WHALE_PRESSURE = 0,    /* -1 to 1: whales sell, whales buy */
    CWTS_S_WHALE_CONFIDENCE = 1,  /* 0 to 1 */
    CWTS_S_NEST_BID = 2,          /* the strongest nest a side over the quantile that makes one, after the spoof filter; 0: none */
    CWTS_S_NEST_ASK = 3,
    CWTS_S_CRITICALITY = 4,       /* 0 to 1: self-organised criticality */
    CWTS_S_BRANCHING = 5,         /* branching ratio of event activity, 0 to 1 */
    CWTS_S_AVALANCHE = 6,         /* tail exponent of avalanche sizes */
    CWTS_S_SWAN_PROBABILITY = 7,  /* of a move of k sigma within the horizon */
    CWTS_S_SWAN_ALARM = 8,        /* 0 or 1, with hysteresis */
    CWTS_S_VACUUM = 9,            /* 0 to 1: share of the depth lost within one horizon */
    CWTS_S_PHASE = 10,            /* adaptive cycle: 0 growth r, 1 conservation K, 2 release, 3 reorganisation */
    CWTS_S_RISK = 11,             /* risk multiplier of that phase, 0 to 1 */
    CWTS_S_FIBONACCI = 12,        /* signed distance from the mid to the nearest level, in units of volatility */
    CWTS_S_CONFLUENCE = 13,       /* 0 to 1: how many swings agree on that level */
    CWTS_S_CONVEXITY = 14,        /* E[r | +sigma] + E[r | -sigma] - 2 E[r], basis points */
    CWTS_S_ANTIFRAGILITY = 15,    /* -1 to 1 */
    CWTS_S_LIQUIDATION_UP = 16,   /* distance to the next cluster above and below, basis points; 0: none */
    CWTS_S_LIQUIDATION_DOWN = 17,
    CWTS_S_LIQUIDATION_UP_MASS = 18, /* its quantity over the usual traded quantity a minute */
    CWTS_S_LIQUIDATION_DOWN_MASS = 19,
    CWTS_S_CASCADE_UP = 20,       /* networks: probability of a cascade up, down */
    CWTS_S_CASCADE_DOWN = 21,
    CWTS_S_WHALE_UP = 22,         /* of continuation after a cluster of buys, of sells */
    CWTS_S_WHALE_DOWN = 23,
    CWTS_S_VALUE = 24             /* forward return of the micro-price, basis points */
};

typedef struct cwts_frame {
    int64_t recv_ns;
    uint32_t length;              /* bytes of payload; the payload is padded with zeros to a multiple of 8 */
    uint16_t stream;              /* which connection or stream it came from */
    uint16_t kind;
} cwts_frame;

typedef struct cwts_command {
    uint32_t op;
    uint32_t value;
} cwts_command;

typedef struct cwts_parameter_command {
    uint32_t op;
    uint32_t value;               /* the float32's bits */
    uint32_t parameter;           /* cwts_parameter */
    uint32_t spare;
} cwts_parameter_command;

/* Which network, and what its outputs are; definitions in docs/networks.md. */
enum cwts_network_name { CWTS_NETWORK_CASCADE = 0, CWTS_NETWORK_WHALE = 1, CWTS_NETWORK_VALUE = 2 };

enum cwts_link {
    CWTS_LINK_LINEAR = 0,         /* as it is, clamped: basis points */
    CWTS_LINK_LOGISTIC = 1        /* a probability */
};

/* The weights of a network of 16 inputs, 8 hidden units (ReLU) and 1 or 2 outputs. All zeros: none. */
typedef struct cwts_network {
    float mean[CWTS_FEATURE_COUNT]; /* z = clamp((x - mean) * scale, -limit, limit) */
    float scale[CWTS_FEATURE_COUNT];
    float w1[CWTS_FIRST_WEIGHTS]; /* of input i to hidden unit h at [8 i + h] */
    float b1[CWTS_HIDDEN];
    float w2[CWTS_LAST_WEIGHTS];  /* of hidden unit h to output o at [8 o + h] */
    float b2[CWTS_OUTPUTS];
    float limit;
    uint32_t version;             /* CWTS_NETWORK_VERSION; 0: none */
    uint32_t outputs;             /* 1 or 2 */
    uint32_t link;                /* cwts_link */
    uint32_t seed;                /* of its training */
    uint32_t spare;
} cwts_network;

typedef struct cwts_network_command {
    uint32_t op;
    uint32_t index;               /* cwts_network_name */
    uint64_t spare;
    cwts_network network;         /* version 0 takes the network out */
} cwts_network_command;

typedef struct cwts_config {
    uint32_t abi;
    uint32_t exchange;
    char symbol[CWTS_SYMBOL];     /* as the exchange writes it in messages, padded with zeros */
    uint32_t price_decimals;      /* 0 to 12 */
    uint32_t qty_decimals;        /* 0 to 12; above 8 the book works and trading is off */
    uint32_t contract;
    uint32_t parts;               /* cwts_part */
    int64_t tick_size;            /* price units */
    int64_t lot_size;             /* quantity units */
    int64_t min_qty;              /* quantity units */
    int64_t max_qty;              /* quantity units; 0: no limit */
    int64_t min_notional_e8;
    int64_t contract_size_e8;     /* one contract in base (linear) or quote (inverse) units; 10^8 for spot */
    int64_t capital_e8;           /* the paper account at the start */
    int64_t order_notional_e8;    /* what one order aims for; at most the equity */
    int64_t max_loss_e8;          /* equity below capital - max_loss closes and halts */
    int64_t max_spread;           /* price units */
    int64_t max_slippage;         /* price units beyond the touch that an order may pay */
    int64_t order_latency_ns;     /* from decision to the exchange's book */
    int64_t cooldown_ns;          /* between an exit and the next entry */
    int64_t max_hold_ns;
    int64_t stale_ns;
    int64_t warmup_ns;            /* after the book becomes valid */
    uint32_t taker_fee_ppm;       /* millionths of the notional */
    uint32_t maker_fee_ppm;
    float enter;                  /* |score| that opens a position */
    float exit;                   /* score against the position that closes it */
    float weights[CWTS_FEATURE_COUNT]; /* the features' part of the score = clamp(sum of weight * feature, -1, 1) */
    float parameter[CWTS_PARAMETER_ROOM]; /* of the analysers, by cwts_parameter */
    uint8_t reserved[56];
} cwts_config;

typedef struct cwts_level {
    int64_t price;
    int64_t qty;
} cwts_level;

typedef struct cwts_header {
    uint32_t magic;
    uint32_t abi;
    uint32_t block_bytes;
    uint32_t hashed_bytes;        /* the state: block_sha256 covers bytes [0, hashed_bytes) */
    int64_t now_ns;               /* the newest frame's receive time */
    int64_t price_scale;          /* 10^price_decimals */
    int64_t unit_e8;              /* one quantity unit in 10^-8; 0: too fine for the account, trading is off */
    uint32_t halted;
    uint32_t symbol_length;
    uint64_t frames;
    uint64_t spare;
} cwts_header;

typedef struct cwts_sync {
    uint32_t synced;
    uint32_t reason;              /* cwts_sync_reason */
    uint32_t first;               /* 1: the next update is the first after the snapshot */
    uint32_t source;              /* OKX: rank of the channel that the book is built from */
    int64_t last_id;              /* u (Binance) or seqId (OKX) of the newest update applied */
    int64_t snapshot_id;
    int64_t synced_ns;            /* since when the book has been valid */
    int64_t book_ns;              /* receive time of the newest update applied */
    int64_t exchange_ns;          /* the exchange's own time of it */
    uint32_t candidate;           /* 1: a snapshot lies at the stage's begin that may belong to another symbol */
    uint32_t pending_to;          /* stage: what is kept lies in slots [0, pending_to): waiting updates, or the candidate */
    int64_t pending_first;        /* where the first waiting update begins, where the last one ends */
    int64_t pending_last;
    uint32_t pending_count;
    uint32_t trade_source;        /* 1: trade, 2: aggTrade: the first seen; the other one is passed over */
    int64_t touch_id;             /* update id of the touch, from the book or the ticker, whichever is newer */
    cwts_level touch[2];          /* best bid, best ask */
} cwts_sync;

/* One side. The key of a level is its price for bids and minus its price for asks, so that the best key is the largest.
 * Keys in [base, base + CWTS_WINDOW) lie in qty[key mod CWTS_WINDOW]; all others in the hash table `far`. */
typedef struct cwts_side_book {
    int64_t base;
    int64_t best;                 /* key; INT64_MIN when the side is empty */
    int64_t far_lost;             /* best key that found no room; INT64_MIN: none */
    int64_t touched;              /* best key that the newest message touched */
    uint32_t count;               /* levels in the window */
    uint32_t far_count;
    uint32_t top_count;
    uint32_t top_version;         /* grows whenever top[] is read again */
    uint64_t summary_top;         /* bit w: summary[w] is not zero */
    uint32_t far_known;           /* 1: far_top[] is as `far` is now */
    uint32_t far_top_count;
    uint64_t summary[CWTS_SUMMARY_WORDS];
    cwts_level top[CWTS_TOP];     /* the best levels, sorted; price is the price, not the key */
    cwts_level far_top[CWTS_TOP]; /* the best levels of `far` by key, found when a thin book needs them */
    uint64_t bits[CWTS_WINDOW_WORDS];
    int64_t qty[CWTS_WINDOW];
    cwts_level far[CWTS_FAR];     /* price holds the key; qty 0: free */
} cwts_side_book;

typedef struct cwts_trade {
    int64_t recv_ns;
    int64_t exchange_ns;
    int64_t id;
    int64_t price;
    int64_t qty;
    int64_t aggressor;            /* +1: a buyer took, -1: a seller took */
} cwts_trade;

typedef struct cwts_tape {
    uint64_t count;               /* trades ever; the newest is ring[(count - 1) mod CWTS_TRADES] */
    int64_t last_id;
    int64_t last_price;
    uint64_t spare[5];
    cwts_trade ring[CWTS_TRADES];
} cwts_tape;

typedef struct cwts_features {
    float value[CWTS_FEATURE_COUNT];
    double flow_signed[2];        /* decayed sums of traded quantity, tau = 1 s, 10 s */
    double flow_total[3];         /* tau = 1 s, 10 s, 60 s */
    double mid_mean[2];           /* decayed means of the mid, tau = 1 s, 10 s */
    double variance[2];           /* decayed sums of squared relative mid changes, tau = 10 s, 60 s */
    double trade_rate;            /* decayed counts, tau = 10 s */
    double update_rate;
    double ofi;                   /* decayed sum, tau = 1 s */
    double touch_depth;           /* decayed means, tau = 60 s */
    double depth_mean;
    double mid;                   /* price units; 0: none yet */
    double micro;
    int64_t time_ns;              /* time to which everything is decayed */
    uint64_t updates;
    cwts_level last[2];           /* the touch that the newest update was computed from */
    double depth;                 /* quantity in the best 20 levels of both sides */
    double side_depth[2];         /* and of each */
    uint64_t spare[7];
} cwts_features;

/* A second of the market, or a volume bar. Prices are the touch's bid + ask: twice the mid, in price units; 0: none yet. A
 * second begins where the one before ended, unless the book was invalid between them. docs/bars.md */
typedef struct cwts_bar {
    int64_t second;               /* Unix time at its beginning */
    int64_t open;
    int64_t high;
    int64_t low;
    int64_t close;
    int64_t bought;               /* quantity that buyers took, that sellers took */
    int64_t sold;
    double change;                /* close over the close of the bar before (volume bars: over its own open), less 1 */
    double depth[2];              /* quantity in the best 20 levels of each side at its end */
    uint32_t trades;
    uint32_t updates;
    uint32_t synced;              /* 1: the book was valid at its end */
    uint32_t known;               /* 1: `change` is known: the book was valid at the end of the bar before, too */
} cwts_bar;

typedef struct cwts_bars {
    uint64_t count;               /* bars ever closed; the newest is ring[(count - 1) mod CWTS_BAR_RING] */
    uint64_t volume_count;
    uint64_t silences;            /* times without any frame that were too long to be filled with empty bars */
    double volume;                /* mean traded quantity a second */
    double variance[CWTS_HORIZONS]; /* mean squared change a second, tau = 10, 60, 300, 1800 s */
    uint64_t changes;             /* bars whose change was known */
    int64_t resume;               /* the second with which the bars go on after a silence; 0: the next one */
    uint64_t spare[6];
    cwts_bar now;
    cwts_bar filling;             /* the volume bar that is not full yet */
    cwts_bar ring[CWTS_BAR_RING];
    cwts_bar volume_ring[CWTS_VOLUME_BAR_RING];
} cwts_bars;

typedef struct cwts_signals {
    float value[CWTS_SIGNAL_ROOM];
} cwts_signals;

/* Sizes as an instrument has them, in a histogram that forgets: eight linear steps to each power of two, newer ones weigh more. */
typedef struct cwts_sizes {
    double mass[CWTS_SIZE_BINS];
    double weight;                /* of what is added now */
    double total;
    double below;                 /* mass of the bins below `bin` */
    double limit;                 /* the quantile; 0: not known yet */
    uint64_t count;               /* sizes ever */
    uint64_t bin;                 /* where the quantile lies */
    uint64_t spare[2];
} cwts_sizes;

/* Trades of one side that follow each other closely. Size: notional in price units * quantity units; inverse: contracts. */
typedef struct cwts_cluster {
    int64_t first_ns;
    int64_t last_ns;
    int64_t exchange_ns;          /* of its newest trade */
    int64_t price;                /* of its newest trade */
    double size;
    double limit;                 /* the size that made a whale when it began; 0: not known then */
    double counted;               /* what the pressure holds of it, in limits */
    uint32_t prints;              /* 0: none */
    int32_t aggressor;
} cwts_cluster;

/* How much more than usual one side has been taking, cluster by cluster: an excursion of a cumulative sum. */
typedef struct cwts_excursion {
    int64_t first_ns;             /* its first cluster began; 0: none */
    int64_t last_ns;              /* its newest cluster ended */
    double score;                 /* sum of surprise less the usual, nats */
    double peak;                  /* the most that it was */
    double size;                  /* of its clusters that are no whales by themselves */
    double counted;               /* what the pressure was told of it, in limits of clusters; 0: no whale */
    uint64_t clusters;
    uint64_t spare;
} cwts_excursion;

enum cwts_nest_kind {
    CWTS_NEST_RESTING = 1,        /* large, and has persisted */
    CWTS_NEST_ICEBERG = 2,        /* traded more than was ever shown */
    CWTS_NEST_NEAR = 4,           /* the touch is near */
    CWTS_NEST_AWAY = 8            /* deeper than the levels that are kept */
};

typedef struct cwts_nest {
    int64_t price;                /* 0: none */
    int64_t qty;                  /* as last seen; 0: a memory of one that was pulled */
    int64_t most;                 /* the most that was shown */
    int64_t since_ns;
    int64_t gone_ns;              /* since when it is missing; 0: it is there */
    double traded;                /* at its price since then */
    double recent;                /* of that, at the newest look that saw it, and at the look before that one */
    double before;
    float strength;               /* in limits, after the spoof filter; 0: does not count */
    uint32_t kind;                /* cwts_nest_kind */
    uint32_t pulled;              /* times that it was pulled */
    uint32_t spare;
} cwts_nest;

/* A price at which trades eat what rests. */
typedef struct cwts_place {
    int64_t price;                /* 0: none */
    int64_t shown;                /* the most that was shown */
    int64_t last_ns;              /* newest trade */
    double traded;
} cwts_place;

typedef struct cwts_whale_side {
    cwts_nest nest[CWTS_NESTS];
    cwts_place place[CWTS_PLACES];
    cwts_level before[CWTS_TOP];  /* the best levels at the newest look */
    uint64_t before_count;
    double flow;                  /* decayed sum of whales that took: buyers in side[CWTS_BID], sellers in side[CWTS_ASK] */
    double pulled;                /* decayed sums of nests that were pulled, that stood or were eaten */
    double stood;
    uint64_t spare[4];
} cwts_whale_side;

/* Cuckoo: whale.c, docs/whale.md. */
typedef struct cwts_whale {
    int64_t time_ns;              /* never runs backwards */
    int64_t look_ns;              /* newest look at the book */
    int64_t decayed_ns;
    int64_t synced_ns;            /* which book the nests belong to; 0: none */
    uint64_t whales;              /* ever; the newest is whale[(whales - 1) mod CWTS_WHALES] */
    uint64_t patient;             /* whales ever that took little by little */
    uint64_t spare[2];
    cwts_cluster open[2];         /* buyers', sellers' */
    cwts_excursion excursion[2];  /* likewise */
    cwts_cluster whale[CWTS_WHALES];
    cwts_whale_side side[2];
    cwts_sizes clusters;
    cwts_sizes levels;
    cwts_sizes peaks;             /* of excursions, in 1/256 nat */
} cwts_whale;

/* Self-organised criticality: soc.c, docs/soc.md. */
typedef struct cwts_soc {
    int64_t step_ns;              /* an eighth of the window; 0: nothing seen yet */
    int64_t step;                 /* number of the step that is open, from the epoch */
    int64_t event_ns;             /* the newest event, as received; 0: none since counting began */
    int64_t order_ns;             /* the newest trade's exchange time and aggressor: the next one may be the same order's */
    int64_t order_aggressor;
    uint64_t events;              /* taker orders ever counted */
    uint64_t steps;               /* ever closed with a count */
    uint64_t restarts;            /* how often counting began anew: the book was not valid, or a silence */
    uint64_t marks;               /* written since then */
    double mean;                  /* decayed mean of events a step */
    double variance[CWTS_SOC_LEVELS]; /* decayed Allan variance of counts in windows of 1, 2, 4, 8, 16, 32 steps */
    double branching[CWTS_SOC_LEVELS]; /* 1 - sqrt(mean / variance) of each */
    uint64_t samples[CWTS_SOC_LEVELS];
    uint64_t size;                /* of the avalanche that is not over; 0: none */
    uint64_t avalanches;          /* ever over */
    double weight;                /* of the next one: grows, instead of all others shrinking */
    uint32_t candidate;           /* bin whose fit is worked out next */
    uint32_t best;                /* bin that xmin is the beginning of, once known */
    double exponent;              /* of that fit; 0: not known */
    double distance[CWTS_SOC_CANDIDATES]; /* Kolmogorov-Smirnov, fit from that bin on; 2: too few avalanches */
    double alpha[CWTS_SOC_CANDIDATES]; /* its exponent */
    double count[CWTS_SOC_BINS];  /* weights of avalanches by size: 1 to 7, then four bins an octave */
    double logs[CWTS_SOC_BINS];   /* weighted sums of ln size */
    double edge[CWTS_SOC_BINS];   /* ln(lowest size - 1/2) */
    uint64_t mark[CWTS_SOC_MARKS]; /* events at the steps' ends; the newest is mark[(marks - 1) mod CWTS_SOC_MARKS] */
    uint64_t spare[7];
} cwts_soc;

/* Black swan: swan.c, docs/swan.md. */
typedef struct cwts_swan {
    double variance;              /* decayed mean of squared returns a second */
    double deviation;             /* volatility: its root, not below half a tick */
    double z;                     /* the newest bar's return over it, absolute */
    double move;                  /* the horizon's return over what is usual for it, absolute */
    double depth[2];              /* decayed mean of ln depth, each side */
    double weight;                /* of the next return in the histogram: grows, instead of all others shrinking */
    double threshold;             /* u: what is above it is the tail */
    double share;                 /* of returns above it */
    double hill;                  /* tail index by Hill; 0: not known */
    double shape;                 /* generalised Pareto: xi and beta of what goes over u */
    double scale;
    double exceed;                /* probability that one second's return is above k sigma */
    double danger;                /* the largest measure over its limit: 1 raises the alarm */
    uint64_t returns;             /* ever seen */
    uint64_t tails;               /* of them in the histogram */
    uint64_t run;                 /* consecutive bars with a valid book */
    uint64_t empty;               /* of them without any message, since the newest that had one */
    uint64_t quiet;               /* seconds that the danger has been below swan.off */
    uint64_t alarm;               /* 1: on */
    uint64_t alarms;              /* ever raised */
    double count[CWTS_SWAN_BINS]; /* weights of |z|: eight bins an octave from 2^-6 to 2^6 */
    double sum[CWTS_SWAN_BINS];   /* weighted sums of |z| */
    double logs[CWTS_SWAN_BINS];  /* and of ln |z| */
    float deviations[CWTS_BAR_RING]; /* the deviation after each bar, by the bars' ring */
    uint64_t spare[3];
} cwts_swan;

/* The adaptive cycle: panarchy.c, docs/panarchy.md. */
typedef struct cwts_panarchy {
    double usual;                 /* mean depth */
    double depth;                 /* the same over a few seconds */
    double eaten;                 /* decayed sums: what that depth lost, as a share of the usual one, */
    double returned;              /* and what it won */
    double product;               /* decayed sums: net flow over traded quantity times the second before's, */
    double square;                /* and its square */
    double flow;                  /* of the newest second */
    int64_t second;               /* the newest bar seen */
    double coordinate[3];         /* potential, connectedness, resilience */
    uint64_t seconds;             /* valid bars ever */
    double vote[4];               /* share of the last seconds in which the table said each phase */
    uint64_t since;               /* valid bars since the book became valid */
    uint64_t changes;             /* of phase */
    uint32_t phase;
    uint32_t cell;                /* of the table */
    float risk;
    uint32_t spare[9];
    uint8_t phase_of[CWTS_PANARCHY_CELLS];
    uint8_t risk_of[CWTS_PANARCHY_CELLS]; /* 255: the whole risk */
} cwts_panarchy;

/* Where a swing ended: twice the mid, as in bars. */
typedef struct cwts_pivot {
    int64_t price;
    int64_t second;
} cwts_pivot;

/* Swings and their levels: fibonacci.c, docs/fibonacci.md. */
typedef struct cwts_fibonacci {
    uint64_t pivots;              /* ever; the newest is pivot[(pivots - 1) mod CWTS_SWINGS] */
    int32_t direction;            /* +1, -1: of the current leg; 0: no leg yet */
    uint32_t level_count;
    cwts_pivot extreme;           /* of the current leg */
    cwts_pivot high;              /* before the first leg: highest and lowest close */
    cwts_pivot low;
    cwts_pivot pivot[CWTS_SWINGS];
    double level[CWTS_FIBONACCI_LEVELS]; /* sorted */
    uint8_t swing[CWTS_FIBONACCI_LEVELS]; /* whose level it is: the leg's number mod CWTS_SWINGS */
} cwts_fibonacci;

/* Returns by what the market did: moves above +sigma, below -sigma, between; the fourth lane is empty. Decayed sums. */
typedef struct cwts_convexity {
    double count[4];
    double weight[4];             /* of squared weights: how many independent returns the count is worth */
    double sum[4];
    double square[4];
    double value;                 /* E[r | +sigma] + E[r | -sigma] - 2 E[r] */
    double error;                 /* its standard error, squared */
    double score;                 /* -1 to 1 */
    double known;                 /* 0 or 1 */
    uint64_t spare[4];
} cwts_convexity;

/* Convexity to volatility: antifragility.c, docs/antifragility.md. */
typedef struct cwts_antifragility {
    cwts_convexity strategy;      /* the paper account, in seconds with a position */
    cwts_convexity market;        /* the instrument's own next second */
    double sigma;                 /* volatility of a second as known before it */
    double move;                  /* the newest second's change, */
    double threshold;             /* and what it was measured against */
    int64_t equity_e8;            /* at its end */
    int64_t second;
    uint32_t valid;               /* 1: the newest second's change was known */
    uint32_t held;                /* 1: there was a position at its end */
    uint64_t fills;               /* of the account at its end */
    uint64_t spare[1];
} cwts_antifragility;

/* A position that the exchange closed by force. */
typedef struct cwts_forced {
    int64_t recv_ns;
    int64_t exchange_ns;
    int64_t price;
    int64_t qty;
    uint32_t side;                /* cwts_side of the order: CWTS_ASK sells, a long was liquidated */
    uint32_t bankruptcy;          /* 1: the price is the one at which the margin is gone, not one that was traded */
} cwts_forced;

/* Where leverage would be liquidated: liquidation.c, docs/liquidation.md. Level n holds prices from e^(n step) to
 * e^((n + 1) step), in price units; it lies in cell n mod CWTS_LADDER. */
typedef struct cwts_liquidation {
    uint64_t count;               /* forced orders ever; the newest is forced[(count - 1) mod CWTS_FORCED_ORDERS] */
    uint64_t handled;             /* of those, how many the ladder has seen */
    int64_t base;                 /* lowest level */
    int64_t second;               /* to which masses are decayed */
    int64_t bound[2];             /* longs: all levels from here up are empty; shorts: all up to here */
    int64_t last_price;           /* of the newest trade, and its logarithm in steps */
    double last_level;
    double scale;                 /* a mass is scale * mass[] */
    double observed;              /* decayed quantity of forced orders … */
    double predicted;             /* … and of the masses that price passed, since the first of them */
    double calibration;           /* observed over predicted */
    uint32_t ready;               /* 1: there is a ladder */
    float maintenance;            /* for which offset[] was worked out */
    uint64_t spare[3];
    double offset[CWTS_TIER_OFFSETS]; /* from entry to liquidation, in steps */
    double weight[CWTS_TIERS];    /* sum 1 */
    double spare_weight[3];
    double mass[CWTS_LADDER_CELLS]; /* quantity units: of longs, then of shorts */
    double price[CWTS_LADDER];    /* of the middle of each level, price units */
    cwts_forced forced[CWTS_FORCED_ORDERS];
} cwts_liquidation;

/* A network's w1 once more, in the order of the lanes that meet it. */
typedef struct cwts_network_lanes {
    float w1[CWTS_FIRST_WEIGHTS];
} cwts_network_lanes;

/* The three networks: network.c, docs/networks.md. */
typedef struct cwts_networks {
    uint32_t loaded;              /* bit n: network n */
    float on[4];                  /* 1 for each answer of the first two that is there, 0 for one that is not */
    uint32_t spare_word[3];
    uint64_t spare[4];
    cwts_network_lanes lanes[CWTS_NETWORK_COUNT];
    cwts_network network[CWTS_NETWORK_COUNT];
} cwts_networks;

typedef struct cwts_decision {
    int64_t recv_ns;
    uint32_t action;              /* the newest decision */
    uint32_t reason;
    float score;
    uint32_t order_id;            /* the order it made; 0: none */
    int64_t last_ns;              /* the newest decision other than hold */
    uint32_t last_action;
    uint32_t last_reason;
    float last_score;
    uint32_t last_order_id;
    uint64_t evaluated;
    int64_t size_bid;             /* the touch and equity for which size_qty was worked out */
    int64_t size_ask;
    int64_t size_equity_e8;
    int64_t size_qty;             /* what an order that opens a position would ask for; 0: too small */
    float size_risk;              /* and the risk multiplier */
    float part[3];                /* of the score: features, whales, value network */
    float last_signal[CWTS_SIGNAL_ROOM]; /* all signals as they were at the newest decision other than hold */
    float last_feature[CWTS_FEATURE_COUNT];
    uint64_t spare[3];
} cwts_decision;

typedef struct cwts_order {
    uint32_t id;                  /* from 1 */
    uint32_t state;
    uint32_t side;                /* cwts_side: CWTS_BID buys */
    uint32_t reason;              /* cwts_reason that made it */
    int64_t created_ns;
    int64_t done_ns;
    int64_t limit;                /* worst price allowed */
    int64_t qty;
    int64_t filled;
    int64_t notional_e8;          /* of what was filled */
    int64_t fee_e8;               /* in the settlement asset's value */
    int64_t touch;                /* the touch when it was decided: slippage is measured from it */
    uint32_t reduce_only;
    float score;
    float signal[CWTS_SIGNAL_ROOM]; /* why: the signals when it was decided */
    uint64_t spare[5];
} cwts_order;

/* The paper account. For inverse contracts cash counts coin, and a bought contract adds its coin value. */
typedef struct cwts_account {
    int64_t cash_e8;
    int64_t position_e8;          /* base or contracts, in 10^-8, signed; fee dust included */
    int64_t entry_e8;             /* equity before the position was opened */
    int64_t equity_e8;            /* at the touch: what closing now would leave, before fees */
    int64_t peak_e8;
    int64_t drawdown_e8;          /* largest fall of equity from its peak */
    int64_t fees_e8;
    int64_t turnover_e8;
    int64_t slippage_e8;          /* paid beyond the touch at decision time */
    int64_t realised_e8;          /* closed profit and loss, after fees */
    int64_t opened_ns;            /* when the position was opened */
    int64_t closed_ns;            /* when the last one was closed */
    uint32_t orders;              /* ever; the newest is order[(orders - 1) mod CWTS_ORDERS] */
    uint32_t fills;
    uint32_t wins;                /* closed positions with realised profit after fees */
    uint32_t losses;
    uint64_t spare[2];
    cwts_order order[CWTS_ORDERS];
} cwts_account;

/* What a reader sees: a copy of the newest state, written under the sequence counter. */
typedef struct cwts_snapshot {
    int64_t now_ns;
    int64_t book_ns;
    int64_t exchange_ns;
    uint64_t messages;
    uint64_t applied;
    uint64_t gaps;
    uint64_t snapshots;
    uint64_t malformed;
    uint64_t trades;
    uint64_t decisions[CWTS_ACTIONS];
    uint32_t synced;
    uint32_t sync_reason;
    uint32_t bid_count;           /* all levels, also those beyond the top */
    uint32_t ask_count;
    uint32_t bid_top;             /* how many of bid[] and ask[] are set */
    uint32_t ask_top;
    uint32_t action;
    uint32_t reason;
    float score;
    uint32_t halted;
    int64_t last_ns;
    uint32_t last_action;
    uint32_t last_reason;
    float last_score;
    uint32_t last_order_id;
    int64_t mid_e8;               /* price units * 10^8 */
    int64_t micro_e8;
    int64_t last_price;
    int64_t cash_e8;
    int64_t position_e8;
    int64_t entry_e8;
    int64_t equity_e8;
    int64_t drawdown_e8;
    int64_t fees_e8;
    int64_t realised_e8;
    uint32_t orders;
    uint32_t fills;
    uint32_t wins;
    uint32_t losses;
    uint64_t spare[7];
    float feature[CWTS_FEATURE_COUNT];
    float signal[CWTS_SIGNAL_ROOM];
    cwts_level bid[CWTS_TOP];
    cwts_level ask[CWTS_TOP];
} cwts_snapshot;

typedef struct cwts_published {
    uint64_t sequence;            /* odd while the writer is inside */
    uint32_t version[2];          /* top_version of the sides as published */
    uint64_t spare[6];
    cwts_snapshot snapshot;
} cwts_published;

typedef struct cwts_counters {
    uint64_t messages;            /* raw frames */
    uint64_t bytes;
    uint64_t ignored;             /* other symbols, acknowledgements, channels that carry nothing for us */
    uint64_t malformed;
    uint64_t applied;             /* depth updates applied after the first snapshot */
    uint64_t stale;               /* depth updates older than the book */
    uint64_t buffered;            /* depth updates that waited for a snapshot */
    uint64_t buffer_lost;         /* of those, the ones that found no room */
    uint64_t gaps;
    uint64_t snapshots;
    uint64_t snapshots_old;
    uint64_t levels;
    uint64_t keepalives;
    uint64_t legal_resets;
    uint64_t checksum_ok;
    uint64_t checksum_bad;
    uint64_t trades;
    uint64_t trades_ignored;      /* not market trades */
    uint64_t tickers;
    uint64_t crossed;
    uint64_t far_lost;
    uint64_t feeds;
    uint64_t published;
    uint64_t decisions[CWTS_ACTIONS];
    uint64_t reasons[CWTS_REASONS];
    uint64_t stream_messages[CWTS_STREAMS];
    uint64_t liquidations;        /* forced orders of our symbol */
    uint64_t spare[4];
} cwts_counters;

/* Histogram of nanoseconds: bucket b < 16 is b ns; above, 16 linear steps to each power of two. */
typedef struct cwts_latencies {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t spare[5];
    uint64_t bucket[CWTS_LATENCY_BUCKETS];
} cwts_latencies;

/* How a number of so many characters, written with a known number of digits behind the point, is taken apart: which bytes
 * must be what, and which byte goes where. A hint for the reader, worked out anew when the exchange writes otherwise. */
typedef struct cwts_number {
    uint8_t want[16];
    uint8_t care[16];
    uint8_t take[16];
} cwts_number;

typedef struct cwts_format {
    uint32_t ready;
    uint32_t fraction;            /* digits behind the point as sent */
    uint32_t scale;               /* of what is read */
    uint32_t spare;
    cwts_number length[17];       /* by the number of characters */
} cwts_format;

/* The same for many numbers at once (AVX-512), price and quantity in turns. A position is counted from the closing quote, in a byte. */
typedef struct cwts_formats {
    uint64_t digit_at[2];         /* of eight digits */
    uint64_t mark_at[2];          /* of the point, of what follows, and of zeros that do not count */
    uint64_t mark[2];             /* these bytes */
    uint64_t scale[2];            /* 0: not by this way */
    uint16_t least[8];            /* characters, the closing quote counted, with one digit before the point */
    uint16_t range[8];            /* how many more there may be */
    uint32_t extra[2];            /* those zeros, where there are too many for that */
    uint64_t marks;               /* which bytes of `mark` are looked at: 16 bits a level */
    uint64_t spare[2];
} cwts_formats;

/* How depth messages begin, which is the same from message to message but for the digits of their numbers: the bytes up to the
 * first level, and where the numbers stand. A hint for the reader; a message that begins otherwise is read key by key. */
typedef struct cwts_shape {
    uint32_t length;              /* 0: none yet */
    uint32_t seen;
    uint32_t depth;               /* 1: inside an envelope */
    uint32_t event_at;
    uint32_t event_length;
    uint32_t symbol_at;
    uint32_t symbol_length;
    uint32_t spare_word;
    uint32_t at[8];               /* of E, T, U, u, pu */
    uint32_t digits[8];
    uint8_t text[192];
    uint8_t care[192];            /* 0xFF: this byte; 0xF0: a digit; 0: any */
    uint8_t spare[32];
} cwts_shape;

typedef struct cwts_block {
    cwts_header header;
    cwts_config config;
    cwts_sync sync;
    cwts_features features;
    cwts_signals signals;
    cwts_decision decision;
    cwts_account account;
    cwts_bars bars;
    cwts_whale whale;
    cwts_soc soc;
    cwts_swan swan;
    cwts_panarchy panarchy;
    cwts_fibonacci fibonacci;
    cwts_antifragility antifragility;
    cwts_liquidation liquidation;
    cwts_networks networks;
    cwts_tape tape;
    cwts_side_book side[2];
    cwts_level stage[CWTS_STAGE];
    cwts_published published;
    cwts_counters counters;
    cwts_latencies latency[CWTS_STAGES];
    cwts_format format[2];        /* price, quantity */
    cwts_formats formats;
    cwts_shape shape;
} cwts_block;

/* Bytes that a block needs (it must be 64-byte aligned). */
CWTS_API uint32_t cwts_block_bytes(void);

/* Zeroes the block and sets it up. Returns 0, CWTS_E_BLOCK or CWTS_E_CONFIG. */
CWTS_API int32_t cwts_init(void *block, const cwts_config *config);

/* Processes frames laid end to end. Returns cwts_event bits, or CWTS_E_FRAME or CWTS_E_BLOCK. */
CWTS_API int32_t cwts_feed(void *block, const uint8_t *frames, uint32_t bytes);

/* Adds one measured latency to a stage's histogram; the kernel itself reads no clock. */
CWTS_API void cwts_latency(void *block, uint32_t stage, int64_t ns);

/* Copies the published snapshot without a lock, from any thread. Returns 1, or 0 if the writer was inside all along. */
CWTS_API int32_t cwts_read(const void *block, cwts_snapshot *out);

/* A network over many rows: `features` holds 16 floats a row, `out` gets `outputs` floats a row, the same bits as one row at a
 * time. Returns the number of rows, or CWTS_E_CONFIG where the network is not valid. */
CWTS_API int32_t cwts_network_batch(const cwts_network *network, const float *features, float *out, uint32_t rows);

#ifdef __cplusplus
}
#endif
#endif
