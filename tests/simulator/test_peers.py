"""Real clients against the simulated exchange: ccxt, and the exchanges' own.

They know nothing of us but an address, so what they understand is the exchange's protocol.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from .client import run, simulator, until

pytestmark = pytest.mark.native

KEYS = {"apiKey": "simulator", "secret": "simulator", "password": "simulator", "enableRateLimit": False}
MARKETS = {
    "binance": ("binance", "BTC/USDT", "BTCUSDT", {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}}),
    "binance-usdm": ("binanceusdm", "BTC/USDT:USDT", "BTCUSDT", {"fetchMarkets": {"types": ["linear"]}}),
    "binance-coinm": ("binancecoinm", "BTC/USD:BTC", "BTCUSD_PERP", {"fetchMarkets": {"types": ["inverse"]}}),
    "okx": ("okx", "BTC/USDT", "BTC-USDT", {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}}),
}
AMOUNTS = {"binance": 0.001, "binance-usdm": 0.01, "binance-coinm": 3, "okx": 0.001}


def pointed(client: Any, port: int) -> None:
    """Sends a ccxt client here instead of to the real hosts; the paths stay as they are."""
    api = client.urls["api"]
    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    if client.id == "okx":
        api["rest"], api["ws"] = f"{http}/okx", f"{ws}/okx/ws/v5"
        return
    for name, url in list(api.items()):
        if isinstance(url, str):
            path = url.split("/", 3)[3]
            market = {"f": "binance-usdm", "d": "binance-coinm"}.get(path[0], "binance")
            api[name] = f"{http}/{market}/{path}"
    api["ws"] |= {"spot": f"{ws}/binance/ws", "linear": f"{ws}/binance-usdm/ws", "inverse": f"{ws}/binance-coinm/ws"}
    api["ws"]["ws-api"] = {
        "spot": f"{ws}/binance/ws-api/v3",
        "linear": f"{ws}/binance-usdm/ws-fapi/v1",
        "inverse": f"{ws}/binance-coinm/ws-dapi/v1",
    }


def somebody_hears_of_orders(exchange: Any) -> bool:
    if exchange.name == "okx":
        return any(arg["channel"] == "orders" for args in exchange._private.values() for arg in args)
    return bool(exchange.api._listeners or exchange.api._sessions)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("exchange", list(MARKETS))
def test_ccxt(exchange: str) -> None:
    """Fetches and watches the book, trades and ticker; places, hears of, queries and cancels orders; is refused."""
    ccxt = pytest.importorskip("ccxt.pro")
    kind, symbol, symbol_id, options = MARKETS[exchange]

    async def check() -> None:
        async with simulator(exchange, loop=True) as sim:
            client = getattr(ccxt, kind)(KEYS | {"options": options | {"fetchMargins": False}})
            pointed(client, sim.port)
            client.has["fetchCurrencies"] = False  # asks the exchange for far more than trading
            try:
                await client.load_markets()
                assert symbol in client.markets
                fetched = await client.fetch_order_book(symbol, 10)
                assert fetched["bids"][0][0] < fetched["asks"][0][0]
                for _ in range(10):
                    watched = await client.watch_order_book(symbol)
                assert watched["bids"][0][0] < watched["asks"][0][0]
                assert watched["nonce"] <= sim.book(exchange, symbol_id)["id"]
                assert (await client.watch_trades(symbol))[-1]["price"] > 0
                assert (await client.watch_ticker(symbol))["last"] > 0
                before = (await client.fetch_balance())["USDT"]["free"]
                assert before == 1000

                amount, extra = AMOUNTS[exchange], {"tdMode": "cash", "tgtCcy": "base_ccy"} if exchange == "okx" else {}
                price = float(client.price_to_precision(symbol, watched["bids"][0][0] * 0.97))
                heard = asyncio.ensure_future(client.watch_orders(symbol))
                await until(lambda: somebody_hears_of_orders(sim.exchange(exchange)))
                placed = await client.create_order(symbol, "limit", "buy", amount, price, extra)
                pushed = await asyncio.wait_for(heard, 60)
                assert [(order["id"], order["status"]) for order in pushed] == [(placed["id"], "open")]
                assert [order["id"] for order in await client.fetch_open_orders(symbol)] == [placed["id"]]
                await client.cancel_order(placed["id"], symbol)
                assert (await client.fetch_order(placed["id"], symbol))["status"] == "canceled"
                bought = await client.create_order(symbol, "market", "buy", amount, None, extra)
                bought = await client.fetch_order(bought["id"], symbol)
                assert (bought["status"], bought["filled"]) == ("closed", amount)
                [*trades] = await client.fetch_my_trades(symbol)
                assert sum(trade["amount"] for trade in trades) == pytest.approx(amount)
                by_socket = await client.create_order_ws(symbol, "limit", "buy", amount, price, extra)
                await client.cancel_order_ws(by_socket["id"], symbol)
                assert await client.fetch_open_orders(symbol) == []
                with pytest.raises(ccxt.OrderNotFound):
                    await client.cancel_order("12345", symbol)
                with pytest.raises((ccxt.InsufficientFunds, ccxt.InvalidOrder, ccxt.BadRequest)):
                    await client.create_order(symbol, "limit", "buy", amount * 1e6, price, extra)
            finally:
                await client.close()

    run(check())


@pytest.mark.filterwarnings("ignore")
def test_binances_own_connectors() -> None:
    from binance_common.configuration import (
        ConfigurationRestAPI,
        ConfigurationWebSocketAPI,
        ConfigurationWebSocketStreams,
    )
    from binance_sdk_derivatives_trading_usds_futures import derivatives_trading_usds_futures as futures
    from binance_sdk_spot import spot

    async def check() -> None:
        async with simulator("binance", "binance-usdm", loop=True) as sim:
            keys = {"api_key": "simulator", "api_secret": "simulator"}
            client = spot.Spot(
                config_rest_api=ConfigurationRestAPI(**keys, base_path=sim.url("binance")),
                config_ws_api=ConfigurationWebSocketAPI(**keys, stream_url=sim.url("binance", "ws-api")),
                config_ws_streams=ConfigurationWebSocketStreams(stream_url=sim.url("binance", "stream")),
            )
            book = await asyncio.to_thread(client.rest_api.depth, symbol="BTCUSDT", limit=5)
            assert len(book.data().bids) == 5
            client.rest_api._session.close()
            api = await client.websocket_api.create_connection()
            placed = await api.order_place(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.001)
            assert placed.data().result.status == "FILLED"
            await api.close_connection()
            root = sim.url("binance-usdm", "public").removesuffix("/public")
            usdm = futures.DerivativesTradingUsdsFutures(
                config_ws_streams=ConfigurationWebSocketStreams(stream_url=root)
            )
            for streams, name in (
                (client.websocket_streams, "diff_book_depth"),
                (usdm.websocket_streams, "diff_book_depth_streams"),
            ):
                connection = await streams.create_connection()
                heard: asyncio.Queue[Any] = asyncio.Queue()
                subscription = await getattr(connection, name)(symbol="btcusdt")
                subscription.on("message", heard.put_nowait)
                for _ in range(3):
                    assert (await heard.get()).e == "depthUpdate"
                await connection.close_connection()

    run(check())
    gc.collect()  # the connectors leave sockets to the collector: better here, where its warnings are expected


@pytest.mark.filterwarnings("ignore")
def test_okxs_own_package() -> None:
    """Its requests; its WebSockets insist on TLS that the system trusts."""
    from okx.Account import AccountAPI
    from okx.MarketData import MarketAPI
    from okx.Trade import TradeAPI

    async def check() -> None:
        async with simulator("okx", start="command") as sim:
            url = sim.url("okx")

            def requests() -> None:
                keys = ("simulator", "simulator", "simulator", False, "0")
                market, trade = MarketAPI(domain=url, debug=False), TradeAPI(*keys, domain=url)
                account = AccountAPI(*keys, domain=url)
                with market, trade, account:
                    assert market.get_orderbook(instId="BTC-USDT", sz=1)["code"] == "0"
                    order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit"}
                    placed = trade.place_order(**order, px="29000", sz="0.001")["data"][0]
                    assert placed["sCode"] == "0"
                    assert trade.get_order_list()["data"][0]["ordId"] == placed["ordId"]
                    assert trade.cancel_order("BTC-USDT", placed["ordId"])["code"] == "0"
                    assert account.get_account_balance()["code"] == "0"

            await asyncio.to_thread(requests)

    run(check())
