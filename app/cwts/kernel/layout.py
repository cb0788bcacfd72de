"""The block's layout as NumPy dtypes, and the header's constants. Generated from cwts.h by cwts.kernel.generate."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

ABI = 1
MAGIC = 1398036291
WINDOW = 65536
WINDOW_WORDS = 1024
SUMMARY_WORDS = 16
FAR = 32768
STAGE = 32768
TOP = 32
TRADES = 4096
FEATURE_COUNT = 16
ORDERS = 64
ACTIONS = 4
REASONS = 32
STREAMS = 16
STAGES = 8
LATENCY_BUCKETS = 512
SYMBOL = 32


class Exchange(IntEnum):
    """cwts_exchange of cwts.h."""

    BINANCE_SPOT = 0
    BINANCE_USDM = 1
    BINANCE_COINM = 2
    OKX = 3


class Contract(IntEnum):
    """cwts_contract of cwts.h."""

    SPOT = 0
    LINEAR = 1
    INVERSE = 2


class Side(IntEnum):
    """cwts_side of cwts.h."""

    BID = 0
    ASK = 1


class Kind(IntEnum):
    """cwts_kind of cwts.h."""

    RAW = 0
    TIMER = 1
    COMMAND = 2


class CommandOp(IntEnum):
    """cwts_command_op of cwts.h."""

    RESET_BOOK = 1
    HALT = 2
    RESUME = 3
    SET_ENTER = 4
    SET_EXIT = 5


class Event(IntFlag):
    """cwts_event of cwts.h."""

    BOOK = 1
    TRADE = 2
    TICKER = 4
    SYNCED = 8
    GAP = 16
    NEED_SNAPSHOT = 32
    MALFORMED = 64
    ACTION = 128
    FILL = 256
    REJECT = 512
    IGNORED = 1024


class Error(IntEnum):
    """cwts_error of cwts.h."""

    FRAME = -1
    BLOCK = -2
    CONFIG = -3


class SyncReason(IntEnum):
    """cwts_sync_reason of cwts.h."""

    START = 0
    OK = 1
    GAP = 2
    CHECKSUM = 3
    OLD_SNAPSHOT = 4
    RESET = 5
    OVERFLOW = 6


class Action(IntEnum):
    """cwts_action of cwts.h."""

    HOLD = 0
    BUY = 1
    SELL = 2
    EXIT = 3


class Reason(IntEnum):
    """cwts_reason of cwts.h."""

    BOOK_INVALID = 0
    STALE = 1
    CROSSED = 2
    ORDER_PENDING = 3
    EXIT_HALT = 4
    HALTED = 5
    EXIT_LOSS = 6
    EXIT_TIME = 7
    EXIT_SIGNAL = 8
    HOLDING = 9
    WARMUP = 10
    SPREAD = 11
    COOLDOWN = 12
    TOO_SMALL = 13
    NO_SHORT = 14
    SCORE_UP = 15
    SCORE_DOWN = 16
    NO_SIGNAL = 17


class OrderState(IntEnum):
    """cwts_order_state of cwts.h."""

    EMPTY = 0
    SENT = 1
    FILLED = 2
    PARTLY_FILLED = 3
    CANCELLED = 4
    REJECTED = 5


class Stage(IntEnum):
    """cwts_stage of cwts.h."""

    QUEUE = 0
    FEED = 1
    STRATEGY = 2
    TOTAL = 3


class Part(IntFlag):
    """cwts_part of cwts.h."""

    BOOK = 1
    FEATURES = 2
    DECISION = 4
    PUBLISH = 8
    ALL = 15


class Feature(IntEnum):
    """cwts_feature of cwts.h."""

    SPREAD = 0
    MICRO = 1
    IMBALANCE_1 = 2
    IMBALANCE_5 = 3
    IMBALANCE_10 = 4
    IMBALANCE_20 = 5
    FLOW_1S = 6
    FLOW_10S = 7
    RETURN_1S = 8
    RETURN_10S = 9
    VOLATILITY_10S = 10
    VOLATILITY_60S = 11
    TRADE_RATE = 12
    UPDATE_RATE = 13
    OFI_1S = 14
    DEPTH = 15


FRAME = np.dtype(
    {
        "names": ["recv_ns", "length", "stream", "kind"],
        "formats": ["<i8", "<u4", "<u2", "<u2"],
        "offsets": [0, 8, 12, 14],
        "itemsize": 16,
    }
)
COMMAND = np.dtype(
    {
        "names": ["op", "value"],
        "formats": ["<u4", "<u4"],
        "offsets": [0, 4],
        "itemsize": 8,
    }
)
CONFIG = np.dtype(
    {
        "names": ["abi", "exchange", "symbol", "price_decimals", "qty_decimals", "contract", "parts", "tick_size", "lot_size", "min_qty", "max_qty", "min_notional_e8", "contract_size_e8", "capital_e8", "order_notional_e8", "max_loss_e8", "max_spread", "max_slippage", "order_latency_ns", "cooldown_ns", "max_hold_ns", "stale_ns", "warmup_ns", "taker_fee_ppm", "maker_fee_ppm", "enter", "exit", "weights", "reserved"],
        "formats": ["<u4", "<u4", "S32", "<u4", "<u4", "<u4", "<u4", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<f4", "<f4", ("<f4", (16,)), ("u1", (56,))],
        "offsets": [0, 4, 8, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 152, 160, 168, 176, 184, 188, 192, 196, 200, 264],
        "itemsize": 320,
    }
)
LEVEL = np.dtype(
    {
        "names": ["price", "qty"],
        "formats": ["<i8", "<i8"],
        "offsets": [0, 8],
        "itemsize": 16,
    }
)
HEADER = np.dtype(
    {
        "names": ["magic", "abi", "block_bytes", "hashed_bytes", "now_ns", "price_scale", "unit_e8", "halted", "symbol_length", "frames", "spare"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<i8", "<i8", "<i8", "<u4", "<u4", "<u8", "<u8"],
        "offsets": [0, 4, 8, 12, 16, 24, 32, 40, 44, 48, 56],
        "itemsize": 64,
    }
)
SYNC = np.dtype(
    {
        "names": ["synced", "reason", "first", "source", "last_id", "snapshot_id", "synced_ns", "book_ns", "exchange_ns", "candidate", "pending_to", "pending_first", "pending_last", "pending_count", "trade_source", "touch_id", "touch"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<i8", "<i8", "<u4", "<u4", "<i8", (LEVEL, (2,))],
        "offsets": [0, 4, 8, 12, 16, 24, 32, 40, 48, 56, 60, 64, 72, 80, 84, 88, 96],
        "itemsize": 128,
    }
)
SIDE_BOOK = np.dtype(
    {
        "names": ["base", "best", "far_lost", "touched", "count", "far_count", "top_count", "top_version", "summary_top", "far_known", "far_top_count", "summary", "top", "far_top", "bits", "qty", "far"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "<u4", "<u8", "<u4", "<u4", ("<u8", (16,)), (LEVEL, (32,)), (LEVEL, (32,)), ("<u8", (1024,)), ("<i8", (65536,)), (LEVEL, (32768,))],
        "offsets": [0, 8, 16, 24, 32, 36, 40, 44, 48, 56, 60, 64, 192, 704, 1216, 9408, 533696],
        "itemsize": 1057984,
    }
)
TRADE = np.dtype(
    {
        "names": ["recv_ns", "exchange_ns", "id", "price", "qty", "aggressor"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 8, 16, 24, 32, 40],
        "itemsize": 48,
    }
)
TAPE = np.dtype(
    {
        "names": ["count", "last_id", "last_price", "spare", "ring"],
        "formats": ["<u8", "<i8", "<i8", ("<u8", (5,)), (TRADE, (4096,))],
        "offsets": [0, 8, 16, 24, 64],
        "itemsize": 196672,
    }
)
FEATURES = np.dtype(
    {
        "names": ["value", "flow_signed", "flow_total", "mid_mean", "variance", "trade_rate", "update_rate", "ofi", "touch_depth", "depth_mean", "mid", "micro", "time_ns", "updates", "last", "depth", "spare"],
        "formats": [("<f4", (16,)), ("<f8", (2,)), ("<f8", (3,)), ("<f8", (2,)), ("<f8", (2,)), "<f8", "<f8", "<f8", "<f8", "<f8", "<f8", "<f8", "<i8", "<u8", (LEVEL, (2,)), "<f8", "<u8"],
        "offsets": [0, 64, 80, 104, 120, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208, 240, 248],
        "itemsize": 256,
    }
)
DECISION = np.dtype(
    {
        "names": ["recv_ns", "action", "reason", "score", "order_id", "last_ns", "last_action", "last_reason", "last_score", "last_order_id", "evaluated", "size_bid", "size_ask", "size_equity_e8", "size_qty", "spare"],
        "formats": ["<i8", "<u4", "<u4", "<f4", "<u4", "<i8", "<u4", "<u4", "<f4", "<u4", "<u8", "<i8", "<i8", "<i8", "<i8", ("<u8", (5,))],
        "offsets": [0, 8, 12, 16, 20, 24, 32, 36, 40, 44, 48, 56, 64, 72, 80, 88],
        "itemsize": 128,
    }
)
ORDER = np.dtype(
    {
        "names": ["id", "state", "side", "reason", "created_ns", "done_ns", "limit", "qty", "filled", "notional_e8", "fee_e8", "touch", "reduce_only", "score", "spare"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<f4", ("<u8", (5,))],
        "offsets": [0, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 72, 80, 84, 88],
        "itemsize": 128,
    }
)
ACCOUNT = np.dtype(
    {
        "names": ["cash_e8", "position_e8", "entry_e8", "equity_e8", "peak_e8", "drawdown_e8", "fees_e8", "turnover_e8", "slippage_e8", "realised_e8", "opened_ns", "closed_ns", "orders", "fills", "wins", "losses", "spare", "order"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "<u4", ("<u8", (2,)), (ORDER, (64,))],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 100, 104, 108, 112, 128],
        "itemsize": 8320,
    }
)
SNAPSHOT = np.dtype(
    {
        "names": ["now_ns", "book_ns", "exchange_ns", "messages", "applied", "gaps", "snapshots", "malformed", "trades", "decisions", "synced", "sync_reason", "bid_count", "ask_count", "bid_top", "ask_top", "action", "reason", "score", "halted", "last_ns", "last_action", "last_reason", "last_score", "last_order_id", "mid_e8", "micro_e8", "last_price", "cash_e8", "position_e8", "entry_e8", "equity_e8", "drawdown_e8", "fees_e8", "realised_e8", "orders", "fills", "wins", "losses", "spare", "feature", "bid", "ask"],
        "formats": ["<i8", "<i8", "<i8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", ("<u8", (4,)), "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<f4", "<u4", "<i8", "<u4", "<u4", "<f4", "<u4", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "<u4", ("<u8", (7,)), ("<f4", (16,)), (LEVEL, (32,)), (LEVEL, (32,))],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 104, 108, 112, 116, 120, 124, 128, 132, 136, 140, 144, 152, 156, 160, 164, 168, 176, 184, 192, 200, 208, 216, 224, 232, 240, 248, 252, 256, 260, 264, 320, 384, 896],
        "itemsize": 1408,
    }
)
PUBLISHED = np.dtype(
    {
        "names": ["sequence", "version", "spare", "snapshot"],
        "formats": ["<u8", ("<u4", (2,)), ("<u8", (6,)), SNAPSHOT],
        "offsets": [0, 8, 16, 64],
        "itemsize": 1472,
    }
)
COUNTERS = np.dtype(
    {
        "names": ["messages", "bytes", "ignored", "malformed", "applied", "stale", "buffered", "buffer_lost", "gaps", "snapshots", "snapshots_old", "levels", "keepalives", "legal_resets", "checksum_ok", "checksum_bad", "trades", "trades_ignored", "tickers", "crossed", "far_lost", "feeds", "published", "decisions", "reasons", "stream_messages", "spare"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", "<u8", ("<u8", (4,)), ("<u8", (32,)), ("<u8", (16,)), ("<u8", (5,))],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 152, 160, 168, 176, 184, 216, 472, 600],
        "itemsize": 640,
    }
)
LATENCIES = np.dtype(
    {
        "names": ["count", "sum_ns", "max_ns", "spare", "bucket"],
        "formats": ["<u8", "<u8", "<u8", ("<u8", (5,)), ("<u8", (512,))],
        "offsets": [0, 8, 16, 24, 64],
        "itemsize": 4160,
    }
)
NUMBER = np.dtype(
    {
        "names": ["want", "care", "take"],
        "formats": [("u1", (16,)), ("u1", (16,)), ("u1", (16,))],
        "offsets": [0, 16, 32],
        "itemsize": 48,
    }
)
FORMAT = np.dtype(
    {
        "names": ["ready", "fraction", "scale", "spare", "length"],
        "formats": ["<u4", "<u4", "<u4", "<u4", (NUMBER, (17,))],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 832,
    }
)
SHAPE = np.dtype(
    {
        "names": ["length", "seen", "depth", "event_at", "event_length", "symbol_at", "symbol_length", "spare_word", "at", "digits", "text", "care", "spare"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", ("<u4", (8,)), ("<u4", (8,)), ("u1", (192,)), ("u1", (192,)), ("u1", (32,))],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 28, 32, 64, 96, 288, 480],
        "itemsize": 512,
    }
)
BLOCK = np.dtype(
    {
        "names": ["header", "config", "sync", "features", "decision", "account", "tape", "side", "stage", "published", "counters", "latency", "format", "shape"],
        "formats": [HEADER, CONFIG, SYNC, FEATURES, DECISION, ACCOUNT, TAPE, (SIDE_BOOK, (2,)), (LEVEL, (32768,)), PUBLISHED, COUNTERS, (LATENCIES, (8,)), (FORMAT, (2,)), SHAPE],
        "offsets": [0, 64, 384, 512, 768, 896, 9216, 205888, 2321856, 2846144, 2847616, 2848256, 2881536, 2883200],
        "itemsize": 2883712,
    }
)
