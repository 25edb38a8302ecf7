"""Routes of the studio's second page: files in, their jobs, results out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from streammatte.errors import ConfigError, StreammatteError
from streammatte.live.settings import CONTROLS
from streammatte.options.declare import declared
from streammatte.options.video import VideoOptions
from streammatte.web.files import receive, safe_name
from streammatte.web.jobs import Jobs
from streammatte.web.routes import error_response, json_route, text_field

__all__ = ["JOB_SETTINGS", "StudioJobs"]

MAX_BYTES = 8 << 30
"""Size of a video to work on, at most."""
JOB_SETTINGS = (*CONTROLS, "despill", "match_light", "smooth", "refine", "average", "flip", "rotate")
"""Options that a page may set for a job."""


class StudioJobs:
    """The queue of jobs as routes.

    Parameters
    ----------
    private : Path
        A folder of this process alone, for files and results.
    backgrounds : mapping
        The studio's, name -> specification.
    """

    def __init__(self, private: Path, backgrounds: Mapping[str, str]) -> None:
        self._private = private
        self._backgrounds = backgrounds
        self._jobs = Jobs(private)

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to the studio's application."""
        app.router.add_put("/files/job", self._receive)
        app.router.add_post("/api/job", json_route(self._change))
        app.router.add_get("/files/job/{id}/{what}", self._file)

    def as_list(self) -> list[dict[str, Any]]:
        """All jobs, for JSON."""
        return self._jobs.as_list()

    async def close(self) -> None:
        """Stop the running job."""
        await self._jobs.close()

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            self._jobs.check_room()
            job = self._jobs.add(await receive(request, self._private, MAX_BYTES))
        except StreammatteError as error:
            return error_response(str(error))
        return web.json_response(job.as_dict())

    async def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start, cancel or remove a job."""
        job, action = self._jobs.find(text_field(body, "id")), text_field(body, "action")
        if action == "start":
            suffix = text_field(body, "suffix", "")
            self._jobs.start(job, self._settings(body.get("settings")), suffix or None)
        elif action == "cancel":
            await self._jobs.cancel(job)
        elif action == "remove":
            await self._jobs.remove(job)
            return {"removed": True}
        else:
            raise ConfigError("action must be start, cancel or remove")
        return job.as_dict()

    def _settings(self, settings: Any) -> dict[str, Any]:
        """Settings of a job, checked; a background is one of the studio's."""
        if not isinstance(settings, dict):
            raise ConfigError("settings must be an object")
        name = settings.get("background", "blur")
        if name != "transparent" and name not in self._backgrounds:
            raise ConfigError("background must be one of the studio's, or transparent")
        others = {key: value for key, value in settings.items() if key != "background"}
        unknown = sorted(set(others) - (set(JOB_SETTINGS) - {"choose"}))
        if unknown:
            raise ConfigError(f"unknown setting {unknown[0]!r}")
        VideoOptions.build(others)
        plain = {key: value for key, value in others.items() if value != declared(VideoOptions, key).default}
        return {"background": self._backgrounds.get(name, name), **plain}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """The result, the thumbnail, or a preview with the settings of the query."""
        try:
            job, what = self._jobs.find(request.match_info["id"]), request.match_info["what"]
            if what == "thumbnail.jpg":
                return web.FileResponse(job.file.thumbnail)
            if what == "preview.png":
                settings = self._settings(json.loads(request.query.get("settings", "{}")))
                seconds = float(request.query.get("at", "0"))
                return web.Response(body=await self._jobs.preview(job, settings, seconds), content_type="image/png")
            if what == "result" and job.result is not None:
                disposition = "attachment" if "download" in request.query else "inline"
                name = safe_name(job.download).encode("ascii", "replace").decode()
                header = f'{disposition}; filename="{name}"'
                return web.FileResponse(job.result, headers={"Content-Disposition": header})
        except (StreammatteError, ValueError, RecursionError) as error:
            return error_response(str(error))
        return error_response("there is no such file", 404)
