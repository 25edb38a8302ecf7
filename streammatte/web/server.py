"""Serves an application in a thread of its own: on a loopback address, elsewhere only on request, and then by TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from typing import Any

from aiohttp import web

from streammatte.errors import ConfigError, DeviceError
from streammatte.web.policy import DEADLINE, PAGES, Policy, is_loopback

__all__ = ["WebServer", "parse_address"]

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Connections at once, those included whose request has not arrived yet."""


def parse_address(text: str, option: str, *, allow_remote: bool) -> tuple[str, int]:
    """``HOST:PORT`` as (host, port); port 0 takes a free one.

    Parameters
    ----------
    text : str
    option : str
        What messages call it.
    allow_remote : bool
        Addresses that other machines reach are allowed.

    Raises
    ------
    ConfigError
        It is no address, or not this machine's own and ``allow_remote`` was not given.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{option} takes HOST:PORT, as in 127.0.0.1:8090; got {text!r}")
    if not is_loopback(host) and not allow_remote:
        raise ConfigError(
            f"{option} {text} is open to other machines; use 127.0.0.1:{port}, or add --allow-remote (with TLS)"
        )
    return host, int(port)


class WebServer:
    """Serves an application in a thread of its own.

    Parameters
    ----------
    address : (str, int)
        From :func:`parse_address`.
    app : web.Application
    token : str, optional
        See :class:`Policy`.
    tls : ssl.SSLContext, optional
        Encrypts; needed where other machines reach the address.
    hashes : tuple of str
        See :class:`Policy`.
    pages : frozenset of str
        See :class:`Policy`.

    Raises
    ------
    DeviceError
        The address is taken or is not this machine's.
    ConfigError
        Other machines reach the address, and there is no ``tls``.
    """

    def __init__(
        self,
        address: tuple[str, int],
        app: web.Application,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        hashes: tuple[str, ...] = (),
        pages: frozenset[str] = PAGES,
    ) -> None:
        local = is_loopback(address[0])
        if not local and tls is None:
            raise ConfigError(f"{address[0]}:{address[1]} is open to other machines; it needs a certificate")
        self._app, self._tls = app, tls
        self._policy = Policy(token, local=local, encrypted=tls is not None, hashes=hashes, pages=pages)
        self._policy.apply_to(app)
        self._silent: set[Any] = set()

        @web.middleware
        async def note(request: web.Request, handler: Any) -> Any:
            self._silent.discard(request.protocol)
            return await handler(request)

        app.middlewares.insert(0, note)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(address)
            self._socket.listen(64)
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"cannot listen on {address[0]}:{address[1]} ({error.strerror or error}); choose another port"
            ) from error
        self._policy.port = self.address[1]
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-http", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port in use."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def token(self) -> str:
        """What clients must show."""
        return self._policy.token

    @property
    def url(self) -> str:
        """What to open in a browser; the token is in the fragment, which is not sent."""
        host, port = self.address
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}/#token={self.token}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(DEADLINE)
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        quiet: Any = _Quiet(_log)
        runner = web.AppRunner(self._app, access_log=None, logger=quiet, handle_signals=False, shutdown_timeout=0.2)
        try:
            self._loop.run_until_complete(self._serve(runner))
            self._ready.set()
            self._loop.run_forever()
        finally:
            self._ready.set()
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _serve(self, runner: web.AppRunner) -> None:
        await runner.setup()

        def connect() -> Any:
            server: Any = runner.server
            if len(server.connections) >= MAX_CONNECTIONS:
                return _Rejected()
            handler = server()
            self._silent.add(handler)
            self._loop.call_later(DEADLINE, self._expire, handler)
            return handler

        await self._loop.create_server(connect, sock=self._socket, ssl=self._tls)

    def _expire(self, handler: Any) -> None:
        """A connection whose request's header has not arrived by the deadline ends."""
        if handler in self._silent:
            self._silent.discard(handler)
            _hang_up(handler)


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Errors of clients are not logged as errors of this process."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **kwargs)


class _Rejected(asyncio.Protocol):
    """A connection beyond the limit."""

    def connection_made(self, transport: Any) -> None:
        transport.abort()


def _hang_up(handler: Any) -> None:
    if handler.transport is not None:
        handler.transport.abort()
