"""Requests that no sane client sends: each is refused as the exchange refuses it, and the simulator goes on."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import itertools
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from cwts.errors import InputError
from cwts.simulator.binance_rules import _off
from cwts.simulator.faults import KINDS, parse_fault
from cwts.simulator.strict_json import loads, shown

from .client import PREFIX, Client, Socket, run, simulator
from .test_orders import LIMIT, user_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cwts.simulator import Simulator

pytestmark = pytest.mark.native

DEEP = "[" * 5000
ODD_TEXTS = [
    "",
    " ",
    "\0",
    "²",
    "１",
    "1_0",
    "+1",
    "-1",
    "1e999999",
    "1e-999999",
    "NaN",
    "inf",
    "9" * 5000,
    "é",
    '"',
    "null",
]
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*ODD_TEXTS, "\ud800", 2**70, 10**400, -1, 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def messages(*fields: str, **usual: Any) -> st.SearchStrategy[Any]:
    """Messages with these fields, each left out, as usual, or odd; or something else altogether."""
    known = {
        name: st.just(None) | ODD | (st.sampled_from(usual[name]) if name in usual else st.nothing()) for name in fields
    }
    return st.fixed_dictionaries({}, optional=known) | ODD


def changed(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A good request with one or two odd values in it."""
    return st.dictionaries(st.sampled_from(sorted(good)), ODD, min_size=1, max_size=2).map(lambda odd: good | odd)


def is_error_of_binance(error: Any) -> bool:
    return isinstance(error, dict) and type(error["code"]) is int and isinstance(error["msg"], str)


# -- one simulator for all that is asked ------------------------------------------------------------------------------


class World:
    """All exchanges, and connections to them that every example uses: an odd request must not end them."""

    def __init__(self, do: Callable[[Coroutine[Any, Any, Any]], Any], sim: Simulator, client: Client) -> None:
        self.do, self.sim, self.client = do, sim, client
        self._numbers = itertools.count()
        self._sockets: dict[str, Socket] = {}

    def socket(self, exchange: str, endpoint: str, path: str = "") -> Socket:
        if endpoint not in self._sockets:
            self._sockets[endpoint] = self.do(self._open(exchange, endpoint, path))
        return self._sockets[endpoint]

    async def _open(self, exchange: str, endpoint: str, path: str) -> Socket:
        if endpoint == "private":
            return (await self.client.okx_login())[0]
        if endpoint == "ws-api":
            return (await user_socket(self.client, self.sim))[0]
        return await self.client.socket(exchange, endpoint, path)

    def ask(self, socket: Socket, message: Any, ping: str, *, answer: Callable[[Any], bool]) -> list[Any]:
        """All that is answered to a message, at least one; then the connection still answers a sane request."""
        text = message if isinstance(message, str) else json.dumps(message)
        number = f"sane{next(self._numbers)}"

        async def heard() -> list[Any]:
            await socket.ws.send_bytes(text.encode("utf-8", "surrogatepass"))
            await socket.tell(ping.replace("NUMBER", number))
            answers: list[Any] = []
            sane = False
            while not (sane and answers):
                found = await socket.hear()
                if found == "pong" or (isinstance(found, dict) and found.get("id") == number):
                    sane = True
                elif answer(found):
                    answers.append(found)
            return answers

        found: list[Any] = self.do(heard())
        self._check()
        return found

    def request(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        async def answered() -> tuple[int, Any]:
            async with self.client.session.request(method, url, **options) as response:
                return response.status, await response.json(content_type=None)

        status, found = self.do(answered())
        self._check()
        return status, found

    def _check(self) -> None:
        defects = list(self.sim.defects)
        self.sim.defects.clear()  # told once, by the request that met it
        assert defects == []
        assert not self.sim.failed.is_set()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with asyncio.Runner() as runner:

        def do(work: Coroutine[Any, Any, Any]) -> Any:
            return runner.run(asyncio.wait_for(work, 60))

        sim = simulator(
            "binance", "binance-usdm", "okx", start="command", limits=False, compress=0.01, lines=500
        )  # no pings
        assert sim.exchange("okx").markets["BTC-USDT"].row["instIdCode"] == OKX_ORDER["instIdCode"]
        client = Client(sim)
        do(sim.__aenter__())
        do(client.__aenter__())
        yield World(do, sim, client)
        do(client.__aexit__())
        do(sim.__aexit__())


# -- Binance ----------------------------------------------------------------------------------------------------------

METHODS = ["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"]
STREAMS = [["btcusdt@depth"], ["combined"], ["btcusdt@depth@\ud800"], ['btcusdt@trade@"'], ["!ticker@arr", 1], []]


@given(messages("method", "params", "id", method=METHODS, params=STREAMS, id=[1, "one"]))
def test_a_stream_connection_of_binance(world: World, message: Any) -> None:
    socket = world.socket("binance", "stream", "/ws")
    ping = '{"method": "LIST_SUBSCRIPTIONS", "id": "NUMBER"}'
    [answer] = world.ask(socket, message, ping, answer=lambda found: "e" not in found)
    assert "result" in answer or is_error_of_binance(answer["error"])


ORDER = LIMIT | {
    "quantity": "0.0005", "newClientOrderId": "mine", "newOrderRespType": "RESULT", "timestamp": "NOW",
    "recvWindow": 5000, "limit": 5, "orderId": 10_000_001, "symbols": ["BTCUSDT"], "interval": "1m",
    "subscriptionId": 0, "apiKey": "simulator", "signature": "00", "selfTradePreventionMode": "NONE",
}  # fmt: skip
API_METHODS = [
    "order.place", "order.test", "order.status", "order.cancel", "openOrders.status", "openOrders.cancelAll",
    "allOrders", "myTrades", "depth", "klines", "trades.recent", "trades.aggregate", "exchangeInfo", "ticker.price",
    "ticker.24hr", "avgPrice", "account.status", "account.commission", "userDataStream.unsubscribe", "session.logon",
    "session.subscriptions", "userDataStream.subscribe.signature",
]  # fmt: skip


@given(st.data())
def test_the_websocket_api_of_binance(world: World, data: st.DataObject) -> None:
    socket = world.socket("binance", "ws-api")
    good = ORDER | {"timestamp": int(time.time() * 1000)}
    taken = data.draw(st.sets(st.sampled_from(["limit", "apiKey", "symbols", "orderId", "recvWindow"])))
    good = {name: value for name, value in good.items() if name not in taken}
    orders = st.fixed_dictionaries(
        {"method": st.sampled_from(API_METHODS), "params": changed(good) | st.just(good), "id": st.just(5)}
    )
    message = data.draw(orders | messages("method", "params", "id", method=API_METHODS, id=[1, "one"]))
    answers = world.ask(socket, message, '{"method": "ping", "id": "NUMBER"}', answer=lambda found: "status" in found)
    assert len(answers) == 1
    assert ("result" in answers[0]) == (answers[0]["status"] == 200)
    assert answers[0]["status"] == 200 or is_error_of_binance(answers[0]["error"])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(ODD_TEXTS)
PATHS = [
    ("GET", "depth"), ("GET", "trades"), ("GET", "klines"), ("GET", "exchangeInfo"), ("GET", "ticker/24hr"),
    ("POST", "order"), ("DELETE", "order"), ("GET", "order"), ("GET", "allOrders"), ("DELETE", "allOpenOrders"),
]  # fmt: skip


@pytest.mark.parametrize("exchange", ["binance", "binance-usdm"])
@given(data=st.data())
def test_binance_over_rest(world: World, exchange: str, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(PATHS))
    params = ORDER | {"timestamp": str(int(time.time() * 1000)), "symbols": '["BTCUSDT"]'}
    for name in ("signature", "apiKey"):
        del params[name]
    for name in data.draw(st.sets(st.sampled_from(["limit", "symbol", "symbols", "orderId", "recvWindow"]))):
        del params[name]
    params |= data.draw(st.dictionaries(st.sampled_from(sorted(params)), TEXTS, max_size=2))
    query = urlencode(params)
    signature = hmac.new(b"simulator", query.encode(), hashlib.sha256).hexdigest()
    signature = data.draw(st.just(signature) | TEXTS.map(lambda text: urlencode({"": text})[1:]))
    assume(len(query) + len(signature) < 8000)  # a longer line is not HTTP
    url = f"{world.sim.url(exchange)}{PREFIX[exchange]}/{path}?{query}&signature={signature}"
    status, answer = world.request(method, URL(url, encoded=True), headers={"X-MBX-APIKEY": "simulator"})
    assert status == 200 or (is_error_of_binance(answer) and 400 <= status < 500), answer


# -- OKX --------------------------------------------------------------------------------------------------------------

OPERATIONS = ["subscribe", "unsubscribe", "login", "order", "cancel-order", "batch-orders"]
BOOKS = {"channel": "books", "instId": "BTC-USDT"}
OKX_ORDER = {
    "instIdCode": 1002, "instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "29000",
    "sz": "0.001", "clOrdId": "mine", "ordId": "10000001", "tgtCcy": "base_ccy", "reduceOnly": False, "posSide": "net",
}  # fmt: skip
NEW_ORDER = {name: value for name, value in OKX_ORDER.items() if name != "ordId"}
LOGIN = {"apiKey": "simulator", "passphrase": "simulator", "timestamp": "1", "sign": "AA=="}


@pytest.mark.parametrize("endpoint", ["public", "private", "business"])
@given(data=st.data())
def test_a_connection_of_okx(world: World, endpoint: str, data: st.DataObject) -> None:
    socket = world.socket("okx", endpoint)
    odd = messages("op", "args", "id", op=OPERATIONS, args=[[BOOKS], [{"channel": "orders", "instType": "ANY"}]])
    args = (changed(OKX_ORDER) | changed(LOGIN) | changed(BOOKS)).map(lambda arg: [arg])
    orders = st.fixed_dictionaries(
        {"op": st.sampled_from(OPERATIONS), "args": args}, optional={"id": st.just("7") | ODD}
    )
    answers = world.ask(socket, data.draw(odd | orders), "ping", answer=lambda found: "event" in found or "op" in found)
    for answer in answers:
        if answer.get("event") == "error":
            assert answer["code"] in ("60004", "60005", "60006", "60007", "60011", "60012", "60013", "60018", "60024")
        elif "op" in answer:
            assert all(row["sCode"].isdigit() for row in answer["data"])
        else:
            assert answer["event"] in ("subscribe", "unsubscribe", "login")


def okx_signed(world: World, method: str, path: str, body: str = "") -> tuple[int, Any]:
    stamp = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = f"{stamp}{method}{path}".encode() + body.encode("utf-8", "surrogatepass").decode("latin-1").encode()
    headers = {
        "OK-ACCESS-KEY": "simulator",
        "OK-ACCESS-SIGN": base64.b64encode(hmac.new(b"simulator", payload, hashlib.sha256).digest()).decode(),
        "OK-ACCESS-TIMESTAMP": stamp,
        "OK-ACCESS-PASSPHRASE": "simulator",
    }
    data = body.encode("utf-8", "surrogatepass")
    return world.request(method, URL(world.sim.url("okx") + path, encoded=True), data=data, headers=headers)


@given(
    st.sampled_from(["order", "batch-orders", "cancel-order", "cancel-batch-orders"]),
    changed(OKX_ORDER) | st.lists(changed(OKX_ORDER), max_size=2) | ODD,
)
def test_orders_of_okx_over_rest(world: World, path: str, body: Any) -> None:
    status, answer = okx_signed(world, "POST", f"/api/v5/trade/{path}", json.dumps(body))
    assert answer["code"] in ("0", "1", "2", "50002")
    assert status == (400 if answer["code"] == "50002" else 200)
    assert all(row["sCode"].isdigit() for row in answer["data"])


@given(
    st.sampled_from(["market/books", "market/trades", "market/ticker", "public/instruments", "trade/order",
                     "trade/fills", "account/positions", "account/balance"]),
    st.dictionaries(st.sampled_from(["instId", "sz", "limit", "ordId", "clOrdId", "instType", "ccy"]), TEXTS),
)  # fmt: skip
def test_questions_to_okx_over_rest(world: World, path: str, params: dict[str, str]) -> None:
    query = urlencode({"instId": "BTC-USDT", "instType": "SPOT"} | params)
    assume(len(query) < 8000)
    status, answer = okx_signed(world, "GET", f"/api/v5/{path}?{query}")
    assert status in (200, 400)
    assert answer["code"].isdigit()


# -- the control port -------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["fault", "speed"]),
    messages("kind", "speed", "rate", "paused", "burst", "at", "seconds", "count", "exchange", kind=["gap", "limit"]),
)
def test_the_control_port_takes_no_nonsense(world: World, what: str, body: Any) -> None:
    status, answer = world.request("POST", f"{world.sim.control_url}/{what}", data=json.dumps(body))
    world.sim.armed.__init__()  # type: ignore[misc]  # what it did take is not for the other tests
    assert status == 200 or (status == 400 and "\n" not in answer["error"])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("book?depth=x", "depth: a whole number is expected, not 'x'"),
        ("book?depth=-1", "depth: a whole number is expected, not '-1'"),
        ("book?depth=" + "9" * 5000, "depth: a whole number is expected, not '999"),
        ("events?from=a", "from: a whole number is expected, not 'a'"),
        ("events?from=%C2%B2", "from: a whole number is expected, not '²'"),
        ("book?exchange=kraken", "nothing of kraken: they have binance, binance-usdm, okx"),
        ("book?symbol=ETHUSDT", "binance has no ETHUSDT: it has BTCUSDT"),
        ("nonsense", "there is no /control/nonsense: it has state, events"),
        ("fault", "/control/fault is asked for with POST"),
    ],
)  # fmt: skip
def test_what_the_control_port_is_asked_for_wrongly(world: World, path: str, text: str) -> None:
    status, answer = world.request("GET", f"{world.sim.control_url}/{path}")
    assert (status, list(answer)) == (400, ["error"])
    assert text in answer["error"]


@pytest.mark.parametrize(
    ("what", "body", "text"),
    [
        ("fault", DEEP, "the body is not JSON (it is nested deeper than 100)"),
        ("fault", "[" * 500 + "]" * 500, "the body is not JSON (it is nested deeper than 100)"),
        ("speed", DEEP, "the body is not JSON (it is nested deeper than 100)"),
        ("fault", '{"kind": "delay", "seconds": null}', "a fault's seconds must be a number, not null"),
        ("fault", '{"kind": "delay", "seconds": "1"}', 'a fault\'s seconds must be a number, not "1"'),
        ("fault", '{"kind": "delay", "seconds": true}', "a fault's seconds must be a number, not true"),
        ("fault", '{"kind": "delay", "seconds": NaN}', "NaN is no number of JSON"),
        ("fault", '{"kind": "delay", "seconds": 1e999}', "a fault's seconds must be a number, not Infinity"),
        ("fault", '{"kind": "delay", "seconds": -1}', "delay: seconds must be a number from 0 to"),
        ("fault", '{"kind": "gap", "count": 1.5}', "a fault's count must be a whole number, not 1.5"),
        ("fault", '{"kind": "gap", "exchange": "kraken"}', "no fault with the exchange 'kraken': expected one of"),
        ("fault", '{"kind": "handshake", "status": 200}', "status must be that of a refusal, 400 to 599, not 200"),
        ("fault", '[{"kind": "limit"}, {"kind": "limit", "at": -1}]', "limit: at must be a number from 0"),
        ("speed", '{"speed": 1e999}', "a speed from 0 and a rate above 0 are possible"),
        ("speed", '{"rate": "fast"}', 'rate: a number is expected, not "fast"'),
        ("speed", "[]", "a pace is an object with speed, rate, paused, burst, not []"),
    ],
)  # fmt: skip
def test_what_the_control_port_is_told_wrongly(world: World, what: str, body: str, text: str) -> None:
    status, answer = world.request("POST", f"{world.sim.control_url}/{what}", data=body)
    assert (status, list(answer)) == (400, ["error"])
    assert text in answer["error"]
    assert world.sim.armed.described() == []  # none of several faults, if one is wrong


# -- what is said to the requests that clients get wrong most easily --------------------------------------------------


def test_okx_says_what_is_wrong(world: World) -> None:
    def told(endpoint: str, message: Any) -> Any:
        socket = world.socket("okx", endpoint)
        return world.ask(socket, message, "ping", answer=lambda found: "event" in found or "op" in found)[0]

    for message in (
        {"op": "subscribe", "args": "x"}, {"op": "subscribe", "args": [1]}, {"op": [], "args": [BOOKS]}, {"op": []},
        {"id": {}, "op": "subscribe", "args": [BOOKS]}, {"id": {}}, {"op": "subscribe"}, [], DEEP,
        "[" * 500 + "]" * 500,
    ):  # fmt: skip
        answer = told("public", message)
        assert (answer["event"], answer["code"]) == ("error", "60012")
        assert answer["msg"] == f"Invalid request: {message if isinstance(message, str) else json.dumps(message)}"
        assert "id" not in answer
    for arg in ({"channel": 5}, {"channel": ["books"], "instId": "BTC-USDT"}, {"channel": "books", "instId": None}):
        assert told("public", {"op": "subscribe", "args": [arg], "id": "1"})["code"] == "60013"
    for changes, code, text in (
        ({"px": 29000}, "51000", "Parameter px error"),
        ({"sz": 0.001}, "51000", "Parameter sz error"),
        ({"sz": None}, "50014", "Parameter sz can not be empty."),
        ({"side": ["buy"]}, "51000", "Parameter side error"),
        ({"sz": "1e999999"}, "51000", "Parameter sz error"),
        ({"px": "NaN"}, "51000", "Parameter px error"),
        ({"px": "1" * 20 + "." + "1" * 20}, "51000", "Parameter px error"),
        ({"tdMode": {}}, "51000", "Parameter tdMode error"),
        ({"clOrdId": 7}, "51000", "Parameter clOrdId error"),
        ({"instIdCode": [1000]}, "51000", "Parameter instIdCode error"),
        ({"attachAlgoOrds": []}, "51000", "Parameter attachAlgoOrds error"),
    ):
        order = NEW_ORDER | changes
        answer = told("private", {"id": "5", "op": "order", "args": [order]})
        assert (answer["id"], answer["op"], answer["code"]) == ("5", "order", "1")
        assert (answer["data"][0]["sCode"], answer["data"][0]["sMsg"]) == (code, text)
    sane = NEW_ORDER | {"clOrdId": "sane"}
    body = json.dumps([sane, sane | {"px": 5}])
    status, answer = okx_signed(world, "POST", "/api/v5/trade/batch-orders", body)
    assert (status, answer["code"]) == (200, "2")  # one of them was placed
    assert [row["sCode"] for row in answer["data"]] == ["0", "51000"]
    for body, code in (("", "50000"), ("5", "50002"), ("[5]", "50002"), (DEEP, "50002"), ("[]", "50002")):
        status, answer = okx_signed(world, "POST", "/api/v5/trade/order", body)
        assert (status, answer["code"], answer["data"]) == (400, code, [])


def test_binance_says_what_is_wrong(world: World) -> None:
    def streams(message: Any) -> Any:
        ping = '{"method": "LIST_SUBSCRIPTIONS", "id": "NUMBER"}'
        [answer] = world.ask(world.socket("binance", "stream", "/ws"), message, ping, answer=lambda _: True)
        return answer["error"]

    def api(method: str, **params: Any) -> Any:
        stamp = {"timestamp": int(time.time() * 1000)} | params
        message = {"id": 1, "method": method, "params": stamp}
        ping = '{"method": "ping", "id": "NUMBER"}'
        [answer] = world.ask(world.socket("binance", "ws-api"), message, ping, answer=lambda found: "status" in found)
        return answer["error"]["code"], answer["error"]["msg"]

    assert streams(DEEP)["code"] == 3
    for message, text in (
        ({"method": "SUBSCRIBE", "params": {"a": 1}, "id": 1}, "expected a sequence of streams"),
        ({"method": ["SUBSCRIBE"], "params": [], "id": 1}, "expected a string"),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": True}, "request ID must be an unsigned integer"),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": {}}, "request ID must be an unsigned integer"),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": 1 << 64}, "request ID must be an unsigned integer"),
    ):
        error = streams(message)
        assert error["code"] == 2
        assert text in error["msg"]
    order = {name: LIMIT[name] for name in LIMIT}
    for changes, code in (
        ({"quantity": None}, -1102), ({"quantity": {}}, -1130), ({"quantity": "1e5"}, -1100),
        ({"quantity": "1_0"}, -1100), ({"price": [1]}, -1130), ({"price": True}, -1100), ({"side": 5}, -1117),
        ({"quantity": "9" * 20, "price": "9" * 20}, -1013), ({"newOrderRespType": "MUCH"}, -1130),
        ({"timestamp": "soon"}, -1100), ({"recvWindow": "NaN"}, -1100), ({"recvWindow": 70000}, -1131),
    ):  # fmt: skip
        assert api("order.place", **order | changes)[0] == code, changes
    for method, params, code in (
        ("klines", {"interval": "0m"}, -1120), ("klines", {"interval": "²m"}, -1120), ("klines", {}, -1102),
        ("trades.recent", {"limit": 0}, -1130), ("trades.recent", {"limit": ""}, -1105), ("depth", {"limit": 0}, -1130),
        ("depth", {"limit": "9" * 5000}, -1100), ("exchangeInfo", {"symbols": DEEP, "symbol": ...}, -1135),
        ("userDataStream.unsubscribe", {"subscriptionId": "x"}, -1100), ("nonsense", {}, -1130),
    ):  # fmt: skip
        given = {name: value for name, value in ({"symbol": "BTCUSDT"} | params).items() if value is not ...}
        assert api(method, **given)[0] == code, (method, params)


def test_a_quantity_of_any_length_is_a_multiple_of_its_step_or_not() -> None:
    """Also where the quotient has more digits than decimals usually have."""
    assert not _off(Decimal("9" * 20), Decimal("1e-20"))
    assert _off(Decimal("9" * 20 + "." + "1" * 20), Decimal("1e-19"))
    assert not _off(Decimal("0.3"), Decimal(0))


def test_a_signature_that_is_no_text_of_ascii(world: World) -> None:
    """It is wrong, and nothing else."""
    url = f"{world.sim.url('binance')}/api/v3/account?timestamp={int(time.time() * 1000)}&signature=%C3%A9"
    assert world.request("GET", url, headers={"X-MBX-APIKEY": "simulator"})[1]["code"] == -1022
    stamp = str(int(time.time()))
    login = {"op": "login", "args": [LOGIN | {"timestamp": stamp, "sign": "é"}]}
    socket = world.socket("okx", "private")
    assert world.ask(socket, login, "ping", answer=lambda found: "event" in found)[0]["code"] == "60007"


def test_a_stream_that_is_named_oddly_is_silent() -> None:
    """Its name cannot spoil what the others are sent, nor end the replay."""

    async def check() -> None:
        async with simulator("binance", start="command", speed=0, lines=500) as sim, Client(sim) as client:
            socket = await client.socket("binance", "stream", "/stream")
            names = ['btcusdt@depth@"', "btcusdt@depth@\ud800", "btcusdt@depth@100ms"]
            await socket.tell(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
            assert await socket.hear() == {"result": None, "id": 1}
            sim.play()
            await sim.finished.wait()
            heard = await socket.all()
            assert heard
            assert {message["stream"] for message in heard} == {"btcusdt@depth@100ms"}
            assert sim.error == ""

    run(check())


# -- where a defect of ours remains all the same ----------------------------------------------------------------------


def test_a_defect_is_told_at_once_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """A request gets the exchange's answer for it, a connection ends with a reason, the control port shows it."""

    async def check() -> None:
        async with simulator("binance", "okx", start="command", lines=500) as sim, Client(sim) as client:
            binance: Any = sim.exchange("binance")

            def broken(*_: object) -> None:
                raise ZeroDivisionError("not ours to say")

            binance.api._methods["time"] = broken
            async with client.session.get(sim.url("binance") + "/api/v3/time") as response:
                assert (response.status, (await response.json())["code"]) == (500, -1000)
            socket = await client.socket("binance", "ws-api")
            await socket.tell({"id": 1, "method": "time"})
            end = await socket.raw()
            assert (end.type, end.data, end.extra) == (aiohttp.WSMsgType.CLOSE, 1011, "internal error")
            assert len(sim.defects) == 2
            assert all("ZeroDivisionError: not ours to say" in record.getMessage() for record in caplog.records)
            assert len(caplog.records) == 2
            assert (await client.get("binance", "/api/v3/ping")) == {}
            async with client.session.get(sim.control_url + "/state") as response:
                state = await response.json()
            assert (state["defects"], state["error"]) == (sim.defects, "")

    run(check())


# -- faults and JSON --------------------------------------------------------------------------------------------------


FIELDS = ("at", "count", "seconds", "rate", "offset_ms", "text", "middle", "status")


@given(st.fixed_dictionaries({"kind": st.sampled_from(sorted(KINDS)) | ODD}, optional=dict.fromkeys(FIELDS, ODD)))
def test_a_fault_is_what_its_fields_say_or_is_refused(item: dict[str, Any]) -> None:
    try:
        fault = parse_fault(item)
    except InputError:
        return
    assert parse_fault(loads(json.dumps(fault.described()))) == fault
    assert 0 <= fault.seconds < 1e10
    assert 0 <= fault.rate < 1e16


@given(ODD)
def test_strict_json_reads_what_json_is(value: Any) -> None:
    text = json.dumps(value)
    if "NaN" in text.replace('"NaN"', "") or "Infinity" in text:
        with pytest.raises(ValueError):
            loads(text)
    else:
        assert loads(text) == loads(text.encode()) == value
        assert len(shown(value)) <= 80
