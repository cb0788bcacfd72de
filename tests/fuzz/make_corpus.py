"""Writes the seeds of the fuzzers: messages of the recordings and of the live streams, their level lists cut short.

Run by hand: `python tests/fuzz/make_corpus.py`, then `make fuzz-corpus` to keep only what reaches code of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
LEVELS = 4  # a side, kept of a message


def cut(message: object) -> object:
    """The message with its level lists cut short."""
    if isinstance(message, dict):
        return {key: cut(value) for key, value in message.items()}
    if isinstance(message, list):
        levels = bool(message) and isinstance(message[0], list)
        return [cut(value) for value in (message[:LEVELS] if levels else message)]
    return message


def text(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def lines(name: str) -> list[tuple[bytes, dict]]:
    """Cut messages of a recording, each with its raw text."""
    out = []
    with gzip.open(DATA / name) as file:
        for line in file:
            raw = line.split(b" ", 1)[1].strip()
            if raw.startswith(b"{"):
                out.append((raw, json.loads(raw)))
    return out


def write(target: str, options: bytes, messages: list[bytes]) -> None:
    content = options + b"\n".join(messages)
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()[:16]).write_bytes(content)


def binance(target: str, name: str, symbol: str, *, spot: bool) -> None:
    messages = lines(name)
    at = next(i for i, (_, message) in enumerate(messages) if "lastUpdateId" in message)
    snapshot = messages[at][1]
    first = snapshot["lastUpdateId"]
    depth = [m for _, m in messages if m.get("data", m).get("e") == "depthUpdate"]
    updates = [m for m in depth if m.get("data", m)["u"] >= first][:6]
    others: dict[str, list[dict]] = {}
    for _, message in messages:
        others.setdefault(message.get("data", message).get("e", ""), []).append(message)
    wanted = [found[:2] for event, found in others.items() if event not in ("depthUpdate", "")]
    rest = [text(cut(message)) for found in wanted for message in found]
    write(target, b"@", [text(cut(snapshot)), *[text(cut(update)) for update in updates], *rest])
    write(target, b"@", [*[text(cut(update)) for update in updates[:3]], text(cut(snapshot)), text(cut(updates[3]))])
    write(target, b"D", [text(cut(update)) for update in updates[:2]] + [text(cut(snapshot))])
    for start in (b"A", b"B", b"C", b"Q", b"E"):
        chain = []
        for n, update in enumerate(updates[:4]):
            data = dict(cut(update.get("data", update)))
            data |= {"U": 1001 + 10 * n, "u": 1010 + 10 * n}
            if not spot:
                data["pu"] = 1000 + 10 * n
            chain.append(text(data))
        write(target, start, chain)
        write(target, start, [*rest, b"!h", b"!t", b"!u", b"!r", *chain])
    one = dict(cut(updates[0].get("data", updates[0])))
    one |= {"U": 1001, "u": 1002} | ({} if spot else {"pu": 1000})
    for n, (bids, asks) in enumerate(
        [
            ([["61800.0", "0"], ["61799.9", "0"]], [["61800.1", "0"]]),  # the touch goes
            ([["68000", "1"]], [["50000", "1"]]),  # above the window, and crossed
            ([["0.1", "1"], ["1", "0"]], [["1000000", "1"], ["999999", "0"]]),  # far away
            ([["61800.00000000", "1.10000000"]], [["9007199254740993", "123456789012"]]),
        ]
    ):
        write(target, b"AB"[n % 2 : n % 2 + 1], [text(one | {"b": bids, "a": asks}), b"!t"])
    write(target, b"A", [text({"id": 1, "status": 200, "result": cut(snapshot)}), text({"result": None, "id": 2})])
    spaced = json.dumps(one, indent=1).replace("\n", "\r").encode()
    write(target, b"A", [spaced, b'{"e":"trade","s":"\\u0042TCUSDT","x":[true,false,null,-1.5e+10,{"a":{}}]}'])
    for line in (DATA / "live-frames-2026-market.jsonl", DATA / "live-frames-2026-liquidations.jsonl"):
        for raw in line.read_bytes().splitlines():
            if b'"e":' in raw and b'"arg"' not in raw:
                write(target, b"A", [raw.replace(b"BTCUSDT", symbol.encode())])


def forced(target: str, symbol: str) -> None:
    """Trades that build a ladder, then forced orders on it."""
    trade = {"e": "trade", "E": 1, "T": 1, "s": symbol, "t": 7, "p": "61800.1", "q": "2", "X": "MARKET", "m": False}
    order = {"s": symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "1", "p": "58710.5", "ap": "58946.2", "T": 1}
    message = {"e": "forceOrder", "E": 1723075200100, "o": order}
    trades = [text(trade), text(trade | {"p": "61700.0", "m": True}), b"!t"]
    write(target, b"@", [*trades, text(message), text(message | {"o": order | {"S": "BUY", "ap": "64600.123"}}), b"!t"])
    write(target, b"A", [*trades, text({"stream": "!forceOrder@arr", "data": message}), text(message | {"o": []})])


def okx() -> None:
    symbol = "BTC-USDT-SWAP"
    for name in ("okx-books-l2-tbt-20210722.gz", "okx-books-trades-tickers-20220513.gz"):
        by_channel: dict[tuple[str, str], list[dict]] = {}
        for _, message in lines(name):
            if "data" in message:
                by_channel.setdefault((message["arg"]["instId"], message["arg"]["channel"]), []).append(message)
        for (instrument, channel), found in list(by_channel.items())[:6]:
            raw = [text(cut(message)).replace(instrument.encode(), symbol.encode()) for message in found[:4]]
            write("okx", b"@", raw)
            write("okx", b"A", raw)
            write("okx", b"E" if "tbt" in channel else b"I", raw)
    messages = (DATA / "live-frames-2026-market.jsonl").read_bytes().splitlines()
    messages += (DATA / "live-frames-2026-liquidations.jsonl").read_bytes().splitlines()
    for raw in messages:
        if b'"arg"' in raw:
            write("okx", b"@", [raw.replace(json.loads(raw)["arg"].get("instId", "?").encode(), symbol.encode())])
    order = {"bkLoss": "0", "bkPx": "58710.1", "ccy": "", "posSide": "long", "side": "sell", "sz": "1", "ts": "1"}
    element = {"details": [order, order | {"side": "buy"}], "instId": symbol, "instType": "SWAP"}
    told = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [element | {"instId": "X"}, element]}
    print_ = {"instId": symbol, "tradeId": "1", "px": "61800.1", "sz": "2", "side": "buy", "ts": "1"}
    trades = {"arg": {"channel": "trades", "instId": symbol}, "data": [print_, print_ | {"side": "sell"}]}
    write("okx", b"@", [text(trades), b"!t", text(told), text(told | {"data": [element | {"details": [{}]}]}), b"!t"])
    arg = {"channel": "books", "instId": symbol}

    def update(seq: int, previous: int, bids: list, asks: list, **more: object) -> bytes:
        data = {"asks": asks, "bids": bids, "ts": "1723075200100", "checksum": 0, "seqId": seq, "prevSeqId": previous}
        return text({"arg": arg, "action": "update", "data": [data | more]})

    bid, ask = [["61800", "0", "0", "0"]], [["61800.1", "2.5", "0", "1"], ["99999999", "1", "0", "1"]]
    write(
        "okx",
        b"A",
        [update(1001, 1000, bid, ask), update(1001, 1001, [], []), update(5, 1001, bid, ask), b"!t", b"pong"],
    )
    write("okx", b"B", [update(1001, 1000, bid, ask), update(1003, 1002, bid, ask)])
    write("okx", b"A", [update(1001, 1000, bid, ask, checksum=-123456789)])
    write("okx", b"A", [b'{"event":"error","code":"60012","msg":"x"}', b"pong", update(1001, 1000, ask, bid)])


def frames() -> None:
    def frame(payload: bytes, kind: int = 0, ns: int = 1723075200000000000) -> bytes:
        return struct.pack("<qIHH", ns, len(payload), 3, kind) + payload + bytes(-len(payload) % 8)

    snapshot = b'{"lastUpdateId":1000,"bids":[["61800.0","1.5"]],"asks":[["61800.1","2"]]}'
    trade = b'{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":7,"p":"61800.1","q":"0.5","X":"MARKET","m":true}'
    good = frame(snapshot) + frame(trade, ns=1723075200100000000) + frame(b"", 1, 1723075201000000000)
    for options in (b"@", b"A", b"B", b"C"):
        write("frames", options, [good + b"".join(frame(struct.pack("<II", op, 0), 2) for op in range(1, 6))])
    write("frames", b"A", [good[:-5]])
    write("frames", b"A", [frame(b"", 1) + struct.pack("<qIHH", 1, 0xFFFFFFFF, 0, 0)])
    write("frames", b"A", [struct.pack("<qIHH", 1, 0xFFFFFFF9, 0, 0) + bytes(16)])
    write("frames", b"A", [frame(b"x", 9)])


def decimals() -> None:
    for number in (
        b"61800.10 0.00000001 0 00.0 1. .5 12345678.12345678 123456789.1 9223372036854775807 922337203685.4775807 "
        b"9223372036854775808 1.50000000000000000000 0.000000000000 1.0000000001 -1 1e5 99999999.99999999 1.2.3"
    ).split():
        for count in (0, 1, 8, 12):
            write("decimal", bytes([count]), [number])


if __name__ == "__main__":
    binance("binance_spot", "binance-spot-btcusdt-20240808.gz", "BTCUSDT", spot=True)
    binance("binance_usdm", "binance-usdm-btcusdt-20240808.gz", "BTCUSDT", spot=False)
    binance("binance_coinm", "binance-coinm-btcusd_perp-20240808.gz", "BTCUSD_PERP", spot=False)
    forced("binance_usdm", "BTCUSDT")
    forced("binance_coinm", "BTCUSD_PERP")
    okx()
    frames()
    decimals()
