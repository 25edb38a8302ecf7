"""What the HTTP servers answer: settings as JSON, images for browsers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from streammatte.errors import ConfigError
from streammatte.live.http_server import App, Reply
from streammatte.live.settings import SettingsStore

__all__ = ["control_app", "preview_app"]

_BOUNDARY = "frame"
_WAIT = 1.0
"""Seconds that an image is waited for before its client is looked at again."""
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>streammatte</title>
<style>body{margin:0;background:#111;display:grid;place-items:center;height:100vh}img{max-width:100%;max-height:100vh}</style>
<img alt="preview" src="stream.mjpg"><script>document.images[0].src="stream.mjpg"+location.search</script>
"""


class Images(Protocol):
    """The preview sink as the server sees it."""

    @property
    def closed(self) -> bool: ...

    @property
    def number(self) -> int: ...

    def wait_newer(self, number: int, timeout: float) -> tuple[int, bytes]: ...


def control_app(board: SettingsStore, status: Callable[[], dict[str, Any]]) -> App:
    """``GET /status`` and ``POST /set``."""

    def app(method: str, path: str, body: bytes) -> Reply:
        if (method, path) == ("GET", "/status"):
            return _json(200, status())
        if (method, path) == ("POST", "/set"):
            return _set(board, body)
        return _json(404, {"error": "there are GET /status and POST /set"})

    return app


def preview_app(images: Images) -> App:
    """``/`` a page, ``/stream.mjpg`` moving images, ``/snapshot.jpg`` one."""

    def app(method: str, path: str, body: bytes) -> Reply:
        if method != "GET":
            return Reply(405, "text/plain", b"only GET\n")
        if path == "/":
            return Reply(200, "text/html; charset=utf-8", _PAGE)
        if path == "/stream.mjpg":
            return Reply(200, f"multipart/x-mixed-replace; boundary={_BOUNDARY}", _parts(images))
        if path == "/snapshot.jpg":
            _, image = images.wait_newer(images.number, _WAIT)
            return Reply(200, "image/jpeg", image) if image else Reply(503, "text/plain", b"no image yet\n")
        return Reply(404, "text/plain", b"there are /, /stream.mjpg and /snapshot.jpg\n")

    return app


def _parts(images: Images) -> Iterator[bytes]:
    number = images.number
    while not images.closed:
        number, image = images.wait_newer(number, _WAIT)
        if image:
            yield (
                b"--" + _BOUNDARY.encode() + b"\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: " + str(len(image)).encode() + b"\r\n\r\n" + image + b"\r\n"
            )


def _set(board: SettingsStore, body: bytes) -> Reply:
    try:
        patch = json.loads(body)
    except (ValueError, RecursionError):
        return _json(400, {"error": "the body is no JSON"})
    if not isinstance(patch, dict) or not patch:
        return _json(400, {"error": 'the body must be an object of settings, as in {"mirror": true}'})
    try:
        return _json(200, {"settings": board.apply(patch).as_dict()})
    except ConfigError as error:
        return _json(400, {"error": str(error)})


def _json(status: int, value: Any) -> Reply:
    return Reply(status, "application/json", json.dumps(value).encode() + b"\n")
