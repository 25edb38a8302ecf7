"""A small HTTP server for one machine: on its own address without questions, on others only with a token."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from streammatte.errors import ConfigError, DeviceError

__all__ = ["LocalServer", "Reply", "parse_address"]

_log = logging.getLogger(__name__)

MOST_BODY = 4096
"""Bytes of a request's body; all settings together need 200."""
MOST_CLIENTS = 16
"""Connections at once; a seventeenth is turned away, so that no client can use the session's memory up."""
PATIENCE = 5.0
"""Seconds that a client may take for its request."""
_LOCAL_NAMES = ("localhost",)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the body at once, or piece by piece from an iterator."""

    status: int
    kind: str
    body: bytes | Iterator[bytes]


App = Callable[[str, str, bytes], Reply]
"""Takes method, path and body."""


def parse_address(text: str, option: str, *, allow_remote: bool) -> tuple[str, int]:
    """``HOST:PORT`` as (host, port); port 0 takes a free one.

    Raises
    ------
    ConfigError
        It is no address, or not this machine's own and ``allow_remote`` was not given.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{option} takes HOST:PORT, as in 127.0.0.1:8090; got {text!r}")
    if not _is_local(host) and not allow_remote:
        raise ConfigError(
            f"{option} {text} is open to other machines; use 127.0.0.1:{port}, or add --allow-remote (with a token)"
        )
    return host, int(port)


def _is_local(host: str) -> bool:
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LocalServer:
    """Serves an app in threads of its own.

    Parameters
    ----------
    address : (str, int)
        From :func:`parse_address`.
    app : callable
    token : str, optional
        What clients must show, as ``Authorization: Bearer TOKEN`` or ``?token=TOKEN``; an address that other machines
        reach always has one, made up where none is given.

    Raises
    ------
    DeviceError
        The address is taken or is not this machine's.
    """

    def __init__(self, address: tuple[str, int], app: App, token: str | None = None) -> None:
        self.local = _is_local(address[0])
        self.token = token if token or self.local else secrets.token_urlsafe(16)
        self._app = app
        self._slots = threading.BoundedSemaphore(MOST_CLIENTS)
        try:
            self._server = _Server(address, self)
        except OSError as error:
            raise DeviceError(
                f"cannot listen on {address[0]}:{address[1]} ({error.strerror or error}); choose another port"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="live-http", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port in use."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """What to type into a browser."""
        host, port = self.address
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Reply:
        """The app's answer, or a refusal."""
        parts = urlsplit(target)
        refusal = self._refusal(headers, parse_qs(parts.query))
        if refusal is not None:
            return refusal
        return self._app(method, parts.path, body)

    def _refusal(self, headers: Any, query: dict[str, list[str]]) -> Reply | None:
        if self.token is not None:
            shown = headers.get("Authorization", "").removeprefix("Bearer ").strip() or query.get("token", [""])[0]
            if not hmac.compare_digest(shown.encode(), self.token.encode()):
                return Reply(401, "text/plain", b"a token is needed: Authorization: Bearer TOKEN\n")
        # A page of the web must not reach the camera through the browser that shows it: neither by a name that was
        # made to point here nor by a request from its script.
        if self.local and not _is_local(_host_of(f"//{headers.get('Host', '127.0.0.1')}")):
            return Reply(403, "text/plain", b"this address answers to 127.0.0.1 and localhost alone\n")
        origin = headers.get("Origin")
        if origin and not _is_local(_host_of(origin)) and _host_of(origin) != _host_of(f"//{headers.get('Host', '')}"):
            return Reply(403, "text/plain", b"requests from other sites are refused\n")
        return None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: LocalServer) -> None:
        self.owner = owner
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.owner._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.owner._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a client of %s broke off", self.server_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE
    server_version = "streammatte"
    sys_version = ""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self._send(Reply(411, "text/plain", b"Content-Length is needed\n"))
        elif int(length) > MOST_BODY:
            self._send(Reply(413, "text/plain", b"at most 4096 bytes\n"))
        else:
            self._serve(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        _log.debug("%s %s", self.address_string(), format % args)

    def _serve(self, body: bytes) -> None:
        self._send(self.server.owner.answer(self.command, self.path, self.headers, body))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Cache-Control", "no-store")
        if isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return
        self.end_headers()
        for piece in reply.body:
            self.wfile.write(piece)
