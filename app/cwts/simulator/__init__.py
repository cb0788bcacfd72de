"""A local exchange that speaks the real protocols: recordings served as Binance and OKX over real sockets.

In a terminal::

    cwts simulate CAPTURE… [--port 9000] [--speed 1|max] [--faults FILE] …

In a test (the port is free and on 127.0.0.1)::

    async with Simulator(["capture.gz"], speed=0, start="first") as sim:
        sim.url("binance-usdm", "public")  # ws://127.0.0.1:PORT/binance-usdm/public, then /ws/… or /stream?streams=…
        sim.url("binance-usdm")  # http://127.0.0.1:PORT/binance-usdm, then /fapi/v1/depth?symbol=…
        sim.url("binance", "ws-api")  # the WebSocket API; OKX: "public", "private", "business"
        sim.fault("gap", stream="depth")  # see cwts.simulator.faults.KINDS; or a script, faults=[Fault("cut", at=2.5)]
        sim.book("binance-usdm", "BTCUSDT")  # the exchange's own book: id, bids, asks, sha256
        sim.events  # what happened: connections, faults that hit, orders
        await sim.finished.wait()  # the recording is over (the exchange goes on answering)
        sim.failed  # an event: the replay (or what else must not end) has died, as `error` says; leaving raises it

`speed=0` plays as fast as the clients take it, `start="first"` begins with the first subscription, `clock="recorded"`
sends every recorded message byte for byte with the recording's times; the default shifts the times to now. `lines=N`
reads only the first N lines of each capture. The same control over HTTP: `GET /control/state`, `/control/events`,
`/control/book?exchange=&symbol=&depth=`, `/control/faults`, `POST /control/fault` (one object or a list),
`POST /control/play` and `POST /control/speed`: `{"speed": 2}` or `"max"`, `{"rate": 1000}` (messages a second),
`{"paused": true}`, `{"burst": 100000}` (so many messages at once). In the state, `error` is what ended the replay,
`defects` what could not be answered for a fault of ours, `left_out` the recorded messages that are none.

Account side: API key `simulator`, secret `simulator` (HMAC; OKX passphrase `simulator`), Ed25519 keys by
`sim.accounts.add`. Orders fill against the recorded book and trades; they are not shown in the public book, as a small
order hardly would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cwts.simulator.faults import Fault, load_script, random_schedule
    from cwts.simulator.server import Simulator

__all__ = ["Fault", "Simulator", "load_script", "random_schedule"]


def __getattr__(name: str) -> Any:
    """Loads the server (and with it aiohttp) only when it is asked for: the browser has neither."""
    if name == "Simulator":
        from cwts.simulator.server import Simulator

        return Simulator
    if name in __all__:
        from cwts.simulator import faults

        return getattr(faults, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
