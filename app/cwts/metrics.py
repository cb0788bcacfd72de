"""Numbers for other programs: Prometheus text and a health answer over HTTP, and what asks for them.

Owns the tiny HTTP server (`/metrics`, `/health`) and `cwts health`. What the numbers are is `cwts.run`'s business.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from cwts.errors import CwtsError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Sample = tuple[str, dict[str, str], float]  # name, labels, value

# A container that is given http_proxy must not ask the proxy how it is itself.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def prometheus(samples: Iterable[Sample], helps: dict[str, tuple[str, str]]) -> str:
    """Prometheus' text format 0.0.4. `helps`: name → (type, help)."""
    by_name: dict[str, list[str]] = {}
    for name, labels, value in samples:
        inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        by_name.setdefault(name, []).append(
            f"cwts_{name}{{{inner}}} {value:.17g}" if inner else f"cwts_{name} {value:.17g}"
        )
    rows = []
    for name, found in by_name.items():
        kind, text = helps.get(name, ("gauge", name))
        rows += [f"# HELP cwts_{name} {text}", f"# TYPE cwts_{name} {kind}", *found]
    return "\n".join(rows) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsServer:
    """Serves `/metrics` and `/health` on a port. `health` returns (well, details)."""

    def __init__(
        self, port: int, metrics: Callable[[], str], health: Callable[[], tuple[bool, dict[str, Any]]], host: str
    ) -> None:
        self.port = port
        self._host = host
        self._metrics = metrics
        self._health = health
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises InputError where the port is taken."""
        try:
            self._server = await asyncio.start_server(self._answer, self._host, self.port)
        except OSError as error:
            raise InputError(
                f"port {self.port} on {self._host} cannot be used for metrics ({error.strerror or error})"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Closes the port."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readline(), 5)
            while (await asyncio.wait_for(reader.readline(), 5)).strip():
                pass
            path = (request.split() or [b"", b""])[1] if len(request.split()) > 1 else b""
            status, kind = "200 OK", "text/plain; version=0.0.4; charset=utf-8"
            if path == b"/metrics":
                body = self._metrics()
            elif path == b"/health":
                well, details = self._health()
                status = "200 OK" if well else "503 Service Unavailable"
                kind, body = "application/json", json.dumps(details)
            else:
                status, body = "404 Not Found", "there are /metrics and /health\n"
            data = body.encode()
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + data)
            await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def ask_health(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """What `cwts run --metrics PORT` says of itself. Raises CwtsError where it is not well or not there."""
    url = f"http://{host}:{port}/health"
    try:
        with _DIRECT.open(url, timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        with error:
            try:
                why = json.loads(error.read()).get("why", "")
            except ValueError:
                why = ""
        raise CwtsError(f"not well: {why or f'HTTP {error.code}'}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or reason
        raise CwtsError(f"nothing answers at {url} ({why}): is cwts run --metrics {port} running?") from error
