"""`cwts serve`: the built site on this machine's loopback, with the headers that the page's safety rests on.

Owns what a response carries. What the site contains is `web/build_site.py`'s.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import sys
import threading
import webbrowser
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cwts.errors import InputError
from cwts.exchanges import SESSIONS, endpoints_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
PROJECT = Path(__file__).resolve().parents[2]

ORIGINS = "/origins.json"  # which hosts stand for exchanges, as the page asks for it
ORIGIN = re.compile(r"(?:wss?|https?)://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")


def exchange_origins() -> tuple[str, ...]:
    """Where the page's sessions connect to: the exchanges' own hosts."""
    urls = [urlsplit(url) for exchange in SESSIONS for url in endpoints_of(exchange).values()]
    return tuple(dict.fromkeys(f"{url.scheme}://{url.netloc}" for url in urls))


def simulated_origins(given: Sequence[str]) -> dict[str, str]:
    """Exchange to the address that stands for it, from arguments `[EXCHANGE=]URL`. Raises InputError.

    A URL without an exchange stands for all that no other one names: `cwts simulate` serves each under its name.
    """
    named: dict[str, str] = {}
    for text in given:
        name, equals, url = text.partition("=") if "=" in text.partition(":")[0] else ("", "", text)
        if not ORIGIN.fullmatch(url.rstrip("/")):
            raise InputError(f"an origin like ws://127.0.0.1:9000 is expected, not {url!r}")
        if equals and name not in SESSIONS:
            raise InputError(f"unknown exchange {name!r}: expected one of {', '.join(SESSIONS)}")
        base = re.sub(r"^http", "ws", url.rstrip("/"))
        named[name] = base
    found = {exchange: named.get(exchange, named.get("", "")) for exchange in SESSIONS}
    return {exchange: f"{base}/{exchange}" for exchange, base in found.items() if base}


def content_security_policy(origins: Sequence[str] = ()) -> str:
    """The page's policy. `origins`: where it may connect to besides the exchanges, for example ws://127.0.0.1:9000.

    Raises InputError.
    """
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise InputError(f"an origin like ws://127.0.0.1:9000 is expected, not {origin!r}")
    return "; ".join((
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        " ".join(("connect-src 'self'", *exchange_origins(), *origins)),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ))  # fmt: skip


HEADERS: Mapping[str, str] = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# Together they make the page cross-origin isolated, which is what gives it SharedArrayBuffer.
ISOLATION: Mapping[str, str] = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
# Recordings stay compressed: no Content-Encoding, the page itself unpacks them.
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".wgsl": "text/plain; charset=utf-8",
    ".toml": "text/plain; charset=utf-8",
    ".py": "text/plain; charset=utf-8",
    ".zip": "application/zip",
    ".woff2": "font/woff2",
}


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with files of one folder."""

    protocol_version = "HTTP/1.1"
    server_version = "cwts"
    sys_version = ""
    timeout = 30
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(
        self,
        *args: object,
        site: Path,
        always: Mapping[str, str],
        tags: dict[tuple[Path, int, int], str],
        origins: bytes,
    ) -> None:
        self.site = site
        self.origins = origins
        self.always = always
        self.tags = tags
        super().__init__(*args)  # type: ignore[arg-type]

    def end_headers(self) -> None:
        """Adds what every response carries, errors included."""
        for name, value in self.always.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing: the terminal belongs to the person who started the server."""

    def do_GET(self) -> None:
        """Answers with a file."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answers with a file's headers."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in ("127.0.0.1", "localhost", "[::1]"):  # another name for this address: DNS rebinding
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        if urlsplit(self.path).path == ORIGINS:
            self._send(self.origins, ".json", f'"{hashlib.sha256(self.origins).hexdigest()[:32]}"', body=body)
            return
        path = self._file()
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            data = path.read_bytes()
            status = path.stat()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        key = (path, status.st_mtime_ns, len(data))
        tag = self.tags.get(key) or self.tags.setdefault(key, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
        self._send(data, path.suffix, tag, body=body)

    def _send(self, data: bytes, suffix: str, tag: str, *, body: bool) -> None:
        if tag in (part.strip() for part in self.headers.get("If-None-Match", "").split(",")):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            data = b""
            body = False
        else:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", tag)
        # Ours change under the same name with every build; asking costs nothing on loopback.
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

    def _file(self) -> Path | None:
        place = unquote(urlsplit(self.path).path, errors="replace").lstrip("/")
        if "\0" in place or "\\" in place:
            return None
        path = (self.site / place).resolve()
        if path.is_dir():
            path = path / "index.html"
        return path if path.is_relative_to(self.site) and path.is_file() else None


class Server(ThreadingHTTPServer):
    """A server that stops without waiting for browsers' idle connections."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128  # with the usual 5, what a page opens at once may have to wait for a second

    def handle_error(self, *_: object) -> None:
        """Passes over connections that the browser closed; anything else is worth a line."""
        error = sys.exception() if sys.version_info >= (3, 11) else None
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"cwts: serve: {type(error).__name__}: {error}", file=sys.stderr)


def find_site(site: str | Path | None) -> Path:
    """The folder to serve: the one given, or `build/site` of this project or of this folder. Raises InputError."""
    tried = [Path(site)] if site is not None else [PROJECT / "build" / "site", Path("build/site")]
    for folder in tried:
        if (folder / "index.html").is_file():
            return folder.resolve()
    raise InputError(f"no built site in {tried[0]}: run `make site` (or `make run`), or give --site FOLDER")


def make_server(
    site: Path, port: int, *, isolated: bool = True, origins: Sequence[str] = (), simulate: Sequence[str] = ()
) -> Server:
    """A server that is bound but does not run yet; port 0 takes a free one. Raises InputError if the port is taken."""
    stand = simulated_origins(simulate)
    hosts = dict.fromkeys(urlsplit(url)._replace(path="").geturl() for url in stand.values())
    every = (*origins, *(origin for url in hosts for origin in (url, "http" + url.removeprefix("ws"))))
    always = {"Content-Security-Policy": content_security_policy(every), **HEADERS}
    handler = partial(
        Handler,
        site=site,
        always={**always, **(ISOLATION if isolated else {})},
        tags={},
        origins=json.dumps(stand).encode(),
    )
    try:
        return Server((HOST, port), handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is taken: choose another one with --port (make run: PORT=)") from None
        raise InputError(f"cannot listen on port {port}: {error.strerror or error}") from None


def serve(
    *,
    port: int = 8000,
    open_browser: bool = True,
    site: str | Path | None = None,
    isolated: bool = True,
    origins: Sequence[str] = (),
    simulate: Sequence[str] = (),
) -> int:
    """Serves the site until interrupted. Without isolation the page has no shared memory and takes its slower path.

    `origins`: where the page may connect to besides the exchanges. `simulate`: `[EXCHANGE=]URL` of simulated exchanges
    that stand for the real ones.
    """
    server = make_server(find_site(site), port, isolated=isolated, origins=origins, simulate=simulate)
    address = f"http://{HOST}:{server.server_address[1]}/"
    print(f"CWTS is at {address} (Ctrl-C ends it)", flush=True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.2)
    print("\nCWTS: stopped serving", flush=True)
    return 0
