"""`cwts serve`: the headers that the page's safety rests on, and how it starts, refuses and stops."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from cwts.errors import InputError
from cwts.serve import content_security_policy, exchange_origins, simulated_origins

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def ask(address: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/app.js", 200),
        ("GET", "/workers/engine.js", 200),
        ("GET", "/pyodide/pyodide.asm.wasm", 200),
        ("GET", "/nothing", 404),
        ("GET", "/../pyproject.toml", 404),
        ("GET", "/%2e%2e/%2e%2e/pyproject.toml", 404),
        ("GET", "/workers", 404),
        ("POST", "/", 501),
        ("PUT", "/app.js", 501),
    ],
)
def test_every_response_carries_the_policy(address: str, method: str, path: str, status: int) -> None:
    response = ask(address, path, method)
    assert response.status == status
    for name, value in EVERYWHERE.items():
        assert response.getheader(name) == value
    policy = response.getheader("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; ")
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/pyodide/pyodide.mjs", "text/javascript; charset=utf-8"),
        ("/pyodide/pyodide.asm.wasm", "application/wasm"),
        ("/pyodide/pyodide-lock.json", "application/json"),
        ("/recordings/binance-usdm-btcusdt-20240808.gz", "application/octet-stream"),
        ("/icons/cwts.svg", "image/svg+xml"),
    ],
)
def test_types(address: str, path: str, kind: str) -> None:
    response = ask(address, path, "HEAD")
    assert response.getheader("Content-Type") == kind
    assert response.getheader("Content-Encoding") is None


def test_what_has_not_changed_is_not_sent_again(address: str) -> None:
    first = ask(address, "/app.js")
    again = ask(address, "/app.js", **{"If-None-Match": first.getheader("ETag") or ""})
    assert again.status == 304
    assert again.body == b""  # type: ignore[attr-defined]


def test_another_host_name_is_refused(address: str) -> None:
    assert ask(address, "/", Host="evil.example").status == 421


def refused(command: str, *arguments: str) -> str:
    line = [command, "serve", "--no-open", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_taken_port_is_one_line(command: str, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in refused(command, "--port", str(port), "--site", str(site))


def test_a_missing_site_is_one_line(command: str, tmp_path: Path) -> None:
    assert "no built site" in refused(command, "--port", "0", "--site", str(tmp_path))


def test_a_simulated_exchange_may_be_connected_to_when_it_is_named() -> None:
    def connects(policy: str) -> list[str]:
        return next(part.split() for part in policy.split("; ") if part.startswith("connect-src"))

    assert connects(content_security_policy(["ws://127.0.0.1:9000"])) == [
        *connects(content_security_policy()),
        "ws://127.0.0.1:9000",
    ]
    for wrong in ("127.0.0.1:9000", "ws://*", "ws://a b", "ws://a; script-src *", "file:///", "ws://127.0.0.1:9000/x"):
        with pytest.raises(InputError):
            content_security_policy([wrong])


def test_the_page_may_connect_to_the_exchanges_hosts_and_to_no_others() -> None:
    assert set(exchange_origins()) == {
        "wss://stream.binance.com:9443", "wss://ws-api.binance.com:443", "https://api.binance.com",
        "wss://fstream.binance.com", "wss://ws-fapi.binance.com", "https://fapi.binance.com",
        "wss://dstream.binance.com", "https://dapi.binance.com", "wss://ws.okx.com:8443", "https://www.okx.com",
    }  # fmt: skip


def test_which_host_stands_for_which_exchange() -> None:
    found = simulated_origins(["http://127.0.0.1:9000/", "okx=ws://127.0.0.1:9001"])
    assert found == {
        "binance": "ws://127.0.0.1:9000/binance",
        "binance-usdm": "ws://127.0.0.1:9000/binance-usdm",
        "binance-coinm": "ws://127.0.0.1:9000/binance-coinm",
        "okx": "ws://127.0.0.1:9001/okx",
    }
    assert list(simulated_origins(["okx=wss://example.org"])) == ["okx"]
    for wrong in ("mtgox=ws://127.0.0.1:9000", "okx", "okx=", "ws://127.0.0.1:9000/okx", "ftp://127.0.0.1"):
        with pytest.raises(InputError):
            simulated_origins([wrong])


def test_the_page_is_told_of_simulated_exchanges(address: str, command: str, site: Path, serve: Any) -> None:
    assert ask(address, "/origins.json").body == b"{}"  # type: ignore[attr-defined]
    line = [command, "serve", "--port", "0", "--no-open", "--site", str(site)]
    with serve(*line, "--simulate-origin", "okx=ws://127.0.0.1:9001") as other:
        response = ask(other, "/origins.json")
        assert json.loads(response.body) == {"okx": "ws://127.0.0.1:9001/okx"}  # type: ignore[attr-defined]
        assert response.getheader("Content-Type") == "application/json"
        policy = response.getheader("Content-Security-Policy") or ""
        assert "ws://127.0.0.1:9001 http://127.0.0.1:9001" in policy
    assert "an origin like" in refused(command, "--port", "0", "--site", str(site), "--simulate-origin", "nonsense")
