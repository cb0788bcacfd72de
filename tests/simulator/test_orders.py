"""The account side: orders, balances, errors with their codes, signatures, and what is pushed about them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .client import Client, Socket, run, simulator

pytestmark = pytest.mark.native

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.001",
    "price": "60000",
}


def signed(
    params: dict[str, Any], *, key: Ed25519PrivateKey | None = None, api_key: str = "simulator"
) -> dict[str, Any]:
    """Parameters of the WebSocket API with key, time and signature."""
    params = params | {"apiKey": api_key, "timestamp": int(time.time() * 1000)}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()
    if key is not None:
        return params | {"signature": base64.b64encode(key.sign(payload)).decode()}
    return params | {"signature": hmac.new(b"simulator", payload, hashlib.sha256).hexdigest()}


SPOT_REFUSALS = [
    ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
    ({"side": "HOLD"}, -1117, "Invalid side."),
    ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"timeInForce": ""}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
    ({"price": "60000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "0"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "1000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.0010001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
    ({"quantity": "0.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
    (
        {"quantity": "1e-3"},
        -1100,
        "Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
    ),
    ({"quantity": "1"}, -2010, "Account has insufficient balance for requested action."),
    ({"type": "LIMIT_MAKER", "timeInForce": None, "price": "63000"}, -2010, "Order would immediately match and take."),
    ({"timestamp": 1_600_000_000_000}, -1021, "Timestamp for this request is outside of the recvWindow."),
    ({"timestamp": 4_600_000_000_000}, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
]
FUTURES_REFUSALS = [
    ({"price": "60000.05"}, -4014, "Price not increased by tick size."),
    ({"price": "10000"}, -5022, ""),
    ({"price": "70000"}, -4016, ""),
    ({"quantity": "0.0015"}, -1111, "Precision is over the maximum defined for this asset."),
    ({"quantity": "0"}, -4003, "Quantity less than or equal to zero."),
    ({"quantity": "0.001"}, -4164, "Order's notional must be no smaller than 100 (unless you choose reduce only)."),
    ({"quantity": "900"}, -2019, "Margin is insufficient."),
    ({"quantity": "1001"}, -4005, "Quantity greater than max quantity."),
    ({"reduceOnly": "true"}, -2022, "ReduceOnly Order is rejected."),
]


def test_refusals_of_spot() -> None:
    async def check() -> None:
        async with simulator("binance", start="command") as sim, Client(sim) as client:
            for changes, code, text in SPOT_REFUSALS:
                params = {name: value for name, value in (LIMIT | changes).items() if value is not None}
                status, answer = await client.binance("binance", "POST", "order", **params)
                assert (status, answer) == (400, {"code": code, "msg": text}), changes
            for key, secret, status, code in (
                ("", "", 401, -2014),
                ("other", "", 401, -2015),
                ("simulator", "x", 400, -1022),
            ):
                answered = await client.binance("binance", "POST", "order", key=key, secret=secret, **LIMIT)
                assert (answered[0], answered[1]["code"]) == (status, code)
            assert (await client.binance("binance", "GET", "order", symbol="BTCUSDT", orderId=1))[1]["code"] == -2013
            assert (await client.binance("binance", "DELETE", "order", symbol="BTCUSDT", orderId=1))[1]["code"] == -2011
            assert (await client.binance("binance", "DELETE", "openOrders", symbol="BTCUSDT"))[1]["code"] == -2011
            # a duplicate of an open order's id, then of one that is no longer open
            named = LIMIT | {"newClientOrderId": "mine"}
            assert (await client.binance("binance", "POST", "order", **named))[0] == 200
            assert (await client.binance("binance", "POST", "order", **named))[1] == {
                "code": -2010,
                "msg": "Duplicate order sent.",
            }
            assert (await client.binance("binance", "DELETE", "order", symbol="BTCUSDT", origClientOrderId="mine"))[
                0
            ] == 200
            assert (await client.binance("binance", "POST", "order", **named))[0] == 200

    run(check())


def test_refusals_of_futures() -> None:
    async def check() -> None:
        async with simulator("binance-usdm", start="command") as sim, Client(sim) as client:
            for changes, code, text in FUTURES_REFUSALS:
                params = LIMIT | {"quantity": "0.01"} | changes
                if code == -5022:
                    params |= {"timeInForce": "GTX", "price": "62000"}
                _, answer = await client.binance("binance-usdm", "POST", "order", **params)
                assert answer["code"] == code, (changes, answer)
                assert not text or answer["msg"] == text

    run(check())


async def user_socket(client: Client, sim: Any) -> tuple[Socket, Ed25519PrivateKey]:
    """A WebSocket API connection that is logged on with Ed25519 and hears of its account."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    sim.accounts.add("ed", public_key=public, account=sim.accounts.default)
    socket = await client.socket("binance", "ws-api")
    refused = await socket.ask({"id": 1, "method": "session.logon", "params": signed({})})
    assert refused["error"]["code"] == -4056  # HMAC keys cannot log on
    wrong = signed({}, key=Ed25519PrivateKey.generate(), api_key="ed")
    assert (await socket.ask({"id": 2, "method": "session.logon", "params": wrong}))["error"]["code"] == -1022
    answer = await socket.ask({"id": 3, "method": "session.logon", "params": signed({}, key=key, api_key="ed")})
    assert (answer["status"], answer["result"]["apiKey"]) == (200, "ed")
    answer = await socket.ask({"id": 4, "method": "userDataStream.subscribe"})
    assert answer["result"] == {"subscriptionId": 0}
    return socket, key


def test_spot_over_the_websocket_api() -> None:
    """Log on, hear of one's orders, buy: the fee is taken from what is received, and balances add up."""

    async def check() -> None:
        async with simulator("binance", start="command", balances={"USDT": "50"}) as sim, Client(sim) as client:
            socket, _ = await user_socket(client, sim)
            stamp = {"timestamp": int(time.time() * 1000)}
            rest = await socket.ask(
                {"id": 5, "method": "order.place", "params": LIMIT | {"quantity": "0.0005"} | stamp}
            )
            assert rest["result"]["status"] == "NEW"
            events = [message["event"] for message in await socket.all()]
            assert [event["e"] for event in events] == ["executionReport", "outboundAccountPosition"]
            assert events[1]["B"][1] == {"a": "USDT", "f": "20.00000000", "l": "30.00000000"}
            gone = await socket.ask(
                {
                    "id": 6,
                    "method": "order.cancel",
                    "params": {"symbol": "BTCUSDT", "orderId": rest["result"]["orderId"]} | stamp,
                }
            )
            assert gone["result"]["status"] == "CANCELED"
            assert [m["event"].get("x") for m in await socket.all()] == ["CANCELED", None]
            market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "49"} | stamp
            bought = (await socket.ask({"id": 7, "method": "order.place", "params": market}))["result"]
            assert bought["status"] == "FILLED"
            [fill] = bought["fills"]
            quantity = Decimal(bought["executedQty"])
            assert Decimal(fill["price"]) == Decimal(sim.book("binance", "BTCUSDT", 1)["asks"][0][0])
            assert fill["commissionAsset"] == "BTC"
            assert Decimal(fill["commission"]) == (quantity / 1000).quantize(Decimal("1e-8"))
            account = (await socket.ask({"id": 8, "method": "account.status", "params": stamp}))["result"]
            balances = {row["asset"]: Decimal(row["free"]) for row in account["balances"]}
            assert balances["USDT"] == 50 - Decimal(bought["cummulativeQuoteQty"])
            assert abs(balances["BTC"] - quantity * Decimal("0.999")) <= Decimal("1e-8")
            # all of it cannot be sold: the fee has made dust of it
            sale = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": str(quantity)} | stamp
            refused = await socket.ask({"id": 9, "method": "order.place", "params": sale})
            assert (refused["status"], refused["error"]["code"]) == (400, -2010)
            assert refused["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT"

    run(check())


@pytest.mark.parametrize(("exchange", "symbol"), [("binance-usdm", "BTCUSDT"), ("binance-coinm", "BTCUSD_PERP")])
def test_futures_and_their_listen_key(exchange: str, symbol: str) -> None:
    async def check() -> None:
        async with simulator(exchange, start="command") as sim, Client(sim) as client:
            _, answer = await client.binance(exchange, "POST", "listenKey")
            key = answer["listenKey"]
            if exchange == "binance-usdm":
                socket = await client.socket(
                    exchange, "private", f"/ws?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE"
                )
            else:
                socket = await client.socket(exchange, "stream", f"/ws/{key}")
            await asyncio.sleep(0.05)
            quantity = "0.01" if exchange == "binance-usdm" else "2"
            market = {"symbol": symbol, "side": "BUY", "type": "MARKET", "quantity": quantity}
            _, placed = await client.binance(exchange, "POST", "order", **market)
            assert (placed["status"], placed["executedQty"]) == ("NEW", "0")  # an ACK tells of no fill
            events = await socket.all()
            assert [event["e"] for event in events] == ["ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]
            assert [event["o"]["X"] for event in events[:2]] == ["NEW", "FILLED"]
            assert events[2]["a"]["P"][0]["pa"] == quantity
            closing = market | {"side": "SELL", "reduceOnly": "true", "quantity": str(Decimal(quantity) * 5)}
            _, placed = await client.binance(exchange, "POST", "order", newOrderRespType="RESULT", **closing)
            assert (placed["status"], placed["executedQty"]) == ("FILLED", quantity)
            _, positions = await client.binance(exchange, "GET", "positionRisk", symbol=symbol)
            assert positions[0]["positionAmt"] == "0"

    run(check())


def test_a_resting_order_is_filled_by_the_recording() -> None:
    """At the best bid, behind what is displayed: trades reach it in the end, as maker."""

    async def check() -> None:
        async with simulator("binance", start="command", speed=0, lines=20000) as sim, Client(sim) as client:
            bid = sim.book("binance", "BTCUSDT", 1)["bids"][0]
            _, placed = await client.binance("binance", "POST", "order", **LIMIT | {"price": bid[0], "type": "LIMIT"})
            order = sim.accounts.default.orders_on("binance")[placed["orderId"]]
            assert order.ahead == Decimal(bid[1])
            sim.play()
            await sim.finished.wait()
            _, status = await client.binance("binance", "GET", "order", symbol="BTCUSDT", orderId=placed["orderId"])
            assert (status["status"], status["executedQty"]) == ("FILLED", "0.00100000")
            _, trades = await client.binance("binance", "GET", "myTrades", symbol="BTCUSDT")
            assert all(trade["isMaker"] and trade["price"] == placed["price"] for trade in trades)

    run(check())


def test_okx_orders() -> None:
    async def check() -> None:
        async with simulator("okx", start="command") as sim, Client(sim) as client:
            assert (await client.okx_login(secret="wrong"))[1]["code"] == "60007"
            assert (await client.okx_login(passphrase="wrong"))[1]["code"] == "60024"
            socket, answer = await client.okx_login()
            assert (answer["event"], answer["code"]) == ("login", "0")
            rows = await client.get("okx", "/api/v5/public/instruments", instType="SPOT")
            code = next(row["instIdCode"] for row in rows["data"] if row["instId"] == "BTC-USDT")
            for channel in ("orders", "account"):
                await socket.ask({"op": "subscribe", "args": [{"channel": channel, "instType": "ANY"}]})
            await socket.all()
            good = {
                "instIdCode": code,
                "tdMode": "cash",
                "side": "buy",
                "ordType": "limit",
                "px": "29000",
                "sz": "0.001",
            }
            table = [
                ({"instIdCode": None, "instId": "BTC-USDT"}, "50014"),
                ({"instIdCode": 5}, "51001"),
                ({"side": "hold"}, "51000"),
                ({"tdMode": "cross"}, "51000"),
                ({"px": "29000.05"}, "51000"),
                ({"sz": "0.000001"}, "51020"),
                ({"sz": "0.001000001"}, "51121"),
                ({"sz": "100"}, "51008"),
                ({"clOrdId": "not-alphanumeric"}, "51000"),
                ({"clOrdId": "mine"}, "0"),
                ({"clOrdId": "mine"}, "51016"),
            ]
            for changes, expected in table:
                arg = {name: value for name, value in (good | changes).items() if value is not None}
                answer = await socket.ask({"id": "1", "op": "order", "args": [arg]})
                assert answer["data"][0]["sCode"] == expected, changes
                assert answer["code"] == ("0" if expected == "0" else "1")
            pushed = [message for message in await socket.all() if message["arg"]["channel"] == "orders"]
            assert [row["state"] for message in pushed for row in message["data"]] == ["live"]
            answer = await socket.ask(
                {"id": "2", "op": "cancel-order", "args": [{"instIdCode": code, "clOrdId": "mine"}]}
            )
            assert answer["data"][0]["sCode"] == "0"
            answer = await socket.ask(
                {"id": "3", "op": "cancel-order", "args": [{"instIdCode": code, "clOrdId": "mine"}]}
            )
            assert answer["data"][0]["sCode"] == "51400"
            await socket.all()
            crossing = good | {"ordType": "post_only", "px": "35000"}
            await socket.tell({"id": "4", "op": "order", "args": [crossing]})
            heard = await socket.all()
            states = [row["state"] for m in heard if m.get("arg", {}).get("channel") == "orders" for row in m["data"]]
            assert states == ["live", "canceled"]
            await socket.tell({"id": "5", "op": "order", "args": [good | {"ordType": "market", "px": "", "sz": "40"}]})
            heard = await socket.all()
            last = [row for m in heard if m.get("arg", {}).get("channel") == "orders" for row in m["data"]][-1]
            assert (last["state"], last["feeCcy"]) == ("filled", "BTC")
            assert Decimal(last["fee"]) == -Decimal(last["accFillSz"]) / 1000

    run(check())


def test_latency_and_answers_that_go_wrong() -> None:
    async def check() -> None:
        async with simulator("binance", start="command", latency_ms=80) as sim, Client(sim) as client:
            began = time.monotonic()
            assert (await client.binance("binance", "POST", "order", **LIMIT))[0] == 200
            assert time.monotonic() - began >= 0.08
            orders = sim.accounts.default.orders_on("binance")
            for executed in (True, False):
                before = len(orders)
                sim.fault("unknown", executed=executed)
                assert (await client.binance("binance", "POST", "order", **LIMIT))[1]["code"] == -1007
                assert len(orders) == before + executed
            sim.fault("reject", code=-2010, text="This action is disabled on this account.")
            status, answer = await client.binance("binance", "POST", "order", **LIMIT)
            assert (status, answer["msg"]) == (400, "This action is disabled on this account.")
            socket = await client.socket("binance", "ws-api")
            sim.fault("twice")
            await socket.tell({"id": 1, "method": "order.place", "params": signed(dict(LIMIT))})
            answers = await socket.all()
            assert len(answers) == 2
            assert answers[0] == answers[1]
            sim.fault("silent")
            await socket.tell({"id": 2, "method": "order.place", "params": signed(dict(LIMIT))})
            assert await socket.all() == []

    run(check())


def test_rate_limits() -> None:
    async def check() -> None:
        async with simulator("binance", "okx", start="command") as sim, Client(sim) as client:
            for banned, status in ((False, 429), (True, 418)):
                sim.fault("limit", exchange="binance", banned=banned)
                url = sim.url("binance") + "/api/v3/depth?symbol=BTCUSDT"
                async with client.session.get(url) as response:
                    assert (response.status, (await response.json())["code"]) == (status, -1003)
                    assert "Retry-After" in response.headers
            heavy = [client.get("binance", "/api/v3/depth", symbol="BTCUSDT", limit=5000) for _ in range(25)]
            assert any(answer.get("code") == -1003 for answer in await asyncio.gather(*heavy))
            sim.fault("limit", exchange="okx")
            assert (await client.get("okx", "/api/v5/public/time"))["code"] == "50011"

    run(check())
