"""Routes of the live session: settings as JSON, images for browsers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from aiohttp import web

from streammatte.errors import ConfigError
from streammatte.web.policy import DEADLINE, MAX_STREAMS
from streammatte.web.routes import json_route

__all__ = ["PAGE_HASHES", "Images", "Settings", "add_preview", "make_app"]

MAX_BODY = 4096
"""Bytes of a request's body; all settings together need 200."""
_BOUNDARY = "frame"
_WAIT = 1.0
"""Seconds that an image is waited for before its client is looked at again."""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>streammatte</title>
<style>body{margin:0;background:#111;display:grid;place-items:center;height:100vh}img{max-width:100%;max-height:100vh}</style>
<img alt="preview"> <script> const token = location.hash.replace("#token=", ""); history.replaceState(null, "", "/");
const shown = {method: "POST", headers: {Authorization: "Bearer " + token}}; const opened = token ? fetch("/session",
shown) : Promise.resolve(); opened.then(() => { document.images[0].src = "/stream.mjpg"; }); </script></html>
"""
PAGE_HASHES = tuple(
    "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    for text in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", _PAGE, re.DOTALL)
)
"""Of the page's own style and script, for Content-Security-Policy."""


class Images(Protocol):
    """The part of the preview sink that the server uses."""

    @property
    def closed(self) -> bool:
        """True once the session has ended."""
        ...

    @property
    def number(self) -> int:
        """Number of the newest image."""
        ...

    def wait_newer(self, number: int, timeout: float) -> tuple[int, bytes]:
        """The next image after ``number`` as (its number, JPEG); ``(number, b"")`` where none came in time."""
        ...


class Settings(Protocol):
    """The part of a live session's settings store that the server uses."""

    def apply(self, patch: dict[str, Any]) -> Any:
        """Check a change and put it in force as a whole; a wrong one raises ConfigError and changes nothing."""
        ...


def make_app(
    settings: Settings | None = None,
    status: Callable[[], dict[str, Any]] | None = None,
    images: Images | None = None,
) -> web.Application:
    """An application; the policy is added by the server.

    Parameters
    ----------
    settings : Settings, optional
        Changed by ``POST /set``.
    status : callable, optional
        Answers ``GET /status``.
    images : Images, optional
        Shown by ``/``, ``/stream.mjpg`` and ``/snapshot.jpg``.
    """
    app = web.Application(client_max_size=MAX_BODY)
    if settings is not None:
        app.router.add_post("/set", _setter(settings))
    if status is not None:
        app.router.add_get("/status", _reporter(status))
    if images is not None:
        app.router.add_get("/", _show_page)
        add_preview(app, images)
    return app


def add_preview(app: web.Application, images: Images) -> None:
    """Add ``/stream.mjpg`` and ``/snapshot.jpg`` to an application."""
    _Preview(images).add_to(app)


async def _show_page(_request: web.Request) -> web.Response:
    return web.Response(text=_PAGE, content_type="text/html")


def _reporter(status: Callable[[], dict[str, Any]]) -> Any:
    async def report(_request: web.Request) -> web.Response:
        return web.json_response(status())

    return report


def _setter(settings: Settings) -> Any:
    async def change(patch: dict[str, Any]) -> dict[str, Any]:
        if not patch:
            raise ConfigError('the body must be an object of settings, as in {"mirror": true}')
        return {"settings": settings.apply(patch).as_dict()}

    return json_route(change)


class _Preview:
    """The images for browsers. Each stream waits for them in a thread of its own."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._threads = ThreadPoolExecutor(MAX_STREAMS + 2, "live-http-image")

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/stream.mjpg", self._stream)
        app.router.add_get("/snapshot.jpg", self._snapshot)
        app.on_cleanup.append(self._end_threads)

    async def _snapshot(self, _request: web.Request) -> web.Response:
        _, image = await self._newer(self._images.number)
        if not image:
            return web.json_response({"error": "no image yet"}, status=503)
        return web.Response(body=image, content_type="image/jpeg")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"})
        await answer.prepare(request)
        number = self._images.number
        while not self._images.closed:
            number, image = await self._newer(number)
            if image:
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
                async with asyncio.timeout(DEADLINE):  # a client that does not read
                    await answer.write(head.encode() + image + b"\r\n")
        return answer

    async def _end_threads(self, _app: web.Application) -> None:
        self._threads.shutdown(wait=False)

    async def _newer(self, number: int) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._images.wait_newer, number, _WAIT)
