"""The security policy of all HTTP that the product serves.

Every request is checked, GET and streams included: a web page of another site must neither read the images nor change
a setting, whether by a host name that was made to resolve to this machine (``Host``), by a request from its scripts
(``Origin``) or by embedding (``Sec-Fetch-Site``). Clients need the session's token, also on this machine.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

__all__ = ["FILES", "PAGES", "SESSION", "STREAMING", "Policy", "is_loopback"]

_log = logging.getLogger(__name__)

DEADLINE = 5.0
"""Seconds for a whole request and its answer; streams are not bound by it."""
STREAMING = "/stream"
"""Paths that begin so are streams."""
MAX_STREAMS = 8
"""Streams at once; they do not take the places of other requests."""
FILES = "/files/"
"""Paths that begin so carry files, up (PUT) or down: they may take :data:`FILE_DEADLINE`."""
FILE_DEADLINE = 3600.0
"""Seconds for a file."""
MAX_FILES = 12
"""Files under way at once: a browser requests six at a time, images and parts of videos."""
BINARY = "application/octet-stream"
"""Type of a file that is sent; a page of another site cannot send it unasked."""
SESSION = "/session"
"""Where a page turns the token of its address's fragment into a cookie."""
PAGES = frozenset({"/"})
"""Paths without a token: the page, which holds no secret and reads the token from its address."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CONTENT = (
    "default-src 'none'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; script-src {hashes}; "
    "style-src {hashes}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """True for a name or an address of this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Policy:
    """Checks requests and adds the headers of the policy to answers.

    Parameters
    ----------
    token : str, optional
        What clients must show, as ``Authorization: Bearer TOKEN`` or by the cookie that ``POST /session`` gives; by
        default a random one.
    local : bool
        The server listens on a loopback address: requests by any other name are refused.
    encrypted : bool
        The server uses TLS.
    hashes : sequence of str
        Sources of the page's own script and style, as Content-Security-Policy writes them: SHA-256 hashes, or ``self``.
    pages : set of str
        Paths that need no token; what they answer must hold no secret.
    """

    def __init__(
        self,
        token: str | None,
        *,
        local: bool,
        encrypted: bool,
        hashes: tuple[str, ...] = (),
        pages: frozenset[str] = PAGES,
    ) -> None:
        self.token = token or secrets.token_urlsafe(16)
        self.port = 0
        self._local, self._scheme = local, "https" if encrypted else "http"
        self._content = _CONTENT.format(hashes=" ".join(f"'{each}'" for each in hashes) or "'none'")
        self._pages = pages
        self._under_way = {STREAMING: 0, FILES: 0}

    def apply_to(self, app: web.Application) -> None:
        """Make the policy part of an application."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._check(request, handler)

        app.middlewares.append(check)
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post(SESSION, self._open_session)

    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or answer within the deadline; a connection carries one request."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            if request.path.startswith(STREAMING):
                return await self._counted(request, handler, STREAMING, MAX_STREAMS, "streams")
            if request.path.startswith(FILES):
                async with asyncio.timeout(FILE_DEADLINE):
                    return await self._counted(request, handler, FILES, MAX_FILES, "files under way")
            async with asyncio.timeout(DEADLINE):
                return await handler(request)
        except TimeoutError:
            return _refused(408, "the request took too long")
        except web.HTTPException as error:
            return _refused(error.status, error.reason)
        except ConnectionError:
            raise
        except Exception as error:
            _log.error(
                "%s %s failed: %s", request.method, request.path, error, exc_info=_log.isEnabledFor(logging.DEBUG)
            )
            return _refused(500, "the request failed")

    async def _counted(
        self, request: web.Request, handler: Handler, kind: str, most: int, name: str
    ) -> web.StreamResponse:
        if self._under_way[kind] >= most:
            return _refused(503, f"there are {most} {name} already")
        self._under_way[kind] += 1
        try:
            return await handler(request)
        finally:
            self._under_way[kind] -= 1

    def _refusal(self, request: web.Request) -> web.Response | None:
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}")
            name, port = host.hostname or "", host.port or {"http": 80, "https": 443}[self._scheme]
        except ValueError:
            return _refused(400, "the Host header is no host")
        if self._local and not (is_loopback(name) and port == self.port):
            return _refused(403, "this server answers to 127.0.0.1 and localhost with its own port")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{self._scheme}://{request.headers['Host']}":
            return _refused(403, "requests from other sites are refused")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _refused(403, "requests from other sites are refused")
        if request.path not in self._pages and not self._known(request):
            return _refused(401, "a token is needed: Authorization: Bearer TOKEN")
        if request.method == "POST" and request.path != SESSION and request.content_type != "application/json":
            return _refused(415, "the body must be JSON: Content-Type: application/json")
        if request.method not in ("GET", "HEAD", "POST", "PUT"):
            return _refused(405, "only GET, POST and PUT are answered")
        if request.method == "PUT" and not (request.path.startswith(FILES) and request.content_type == BINARY):
            return _refused(415, f"a file is sent to {FILES} with Content-Type: {BINARY}")
        return None

    def _known(self, request: web.Request) -> bool:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        shown = shown or request.cookies.get(self._cookie, "")
        return hmac.compare_digest(shown.encode(errors="surrogateescape"), self.token.encode())

    @property
    def _cookie(self) -> str:
        """Cookies of one host are shared by its ports."""
        return f"streammatte-{self.port}"

    async def _open_session(self, _request: web.Request) -> web.Response:
        answer = web.Response(status=204)
        answer.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", secure=self._scheme == "https")
        return answer

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._content
        response.force_close()


def _refused(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
