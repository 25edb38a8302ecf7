"""The servers of a live session: ``--control`` and ``--preview-http``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from streammatte.live.build import Session
from streammatte.options.live import LiveOptions
from streammatte.web.app import PAGE_HASHES, make_app
from streammatte.web.certificate import tls_context
from streammatte.web.policy import is_loopback
from streammatte.web.server import WebServer, parse_address

__all__ = ["LiveServers"]


class LiveServers:
    """Checks the options at once, and serves a session later.

    Parameters
    ----------
    options : LiveOptions

    Raises
    ------
    ConfigError
        An address or the certificate is wrong.
    """

    def __init__(self, options: LiveOptions) -> None:
        self._token = options.token
        self._addresses: dict[str, tuple[str, int]] = {}
        for name, text in (("control", options.control), ("preview-http", options.preview_http)):
            if text:
                self._addresses[name] = parse_address(text, f"--{name}", allow_remote=options.allow_remote)
        self._tls: ssl.SSLContext | None = None
        self.fingerprint = ""
        hosts = [host for host, _ in self._addresses.values() if not is_loopback(host)]
        if hosts or options.certificate is not None:
            self._tls, self.fingerprint = tls_context(options.certificate, hosts[0] if hosts else "127.0.0.1")

    @contextmanager
    def serving(self, session: Session) -> Iterator[list[str]]:
        """Answer while the session runs; returns the addresses to open. Raises DeviceError."""
        servers: list[WebServer] = []
        try:
            for name, address in self._addresses.items():
                app = (
                    make_app(images=session.images)
                    if name == "preview-http"
                    else make_app(session.pipeline.store, lambda: session.pipeline.status().as_dict())
                )
                servers.append(WebServer(address, app, self._token, self._tls, PAGE_HASHES))
            for server in servers:
                server.start()
            yield [server.url for server in servers]
        finally:
            for server in servers:
                server.close()
