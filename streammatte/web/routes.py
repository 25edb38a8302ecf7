"""Helpers of the applications' routes: pages, JSON in and out, checked fields."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from streammatte.errors import ConfigError, StreammatteError

__all__ = ["error_response", "json_route", "number_field", "page_route", "text_field"]


def page_route(name: str, kind: str) -> Any:
    """A route that answers with a file of ``pages/``, of the MIME type ``kind``."""

    async def answer(_request: web.Request) -> web.Response:
        text = (resources.files("streammatte.web") / "pages" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind, charset="utf-8")

    return answer


def json_route(handler: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
    """A route that takes a JSON object and returns one; errors are answered with status 400."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            return error_response("the body is no JSON")
        if not isinstance(body, dict):
            return error_response('the body must be an object, as in {"mirror": true}')
        try:
            return web.json_response(await handler(body))
        except StreammatteError as error:
            return error_response(str(error))

    return answer


def error_response(text: str, status: int = 400) -> web.Response:
    """An error as JSON."""
    return web.json_response({"error": text}, status=status)


def text_field(body: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text of a request. Raises ConfigError.

    Parameters
    ----------
    body : dict
    name : str
    default : str, optional
        Without it the field is required.
    """
    value = body.get(name, default)
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text")
    return value


def number_field(body: dict[str, Any], name: str, default: int, most: int) -> int:
    """A whole number of a request, 0 to ``most``. Raises ConfigError.

    Parameters
    ----------
    body : dict
    name : str
    default, most : int
    """
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ConfigError(f"{name} must be a whole number up to {most}")
    return value
