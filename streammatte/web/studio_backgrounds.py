"""The studio's backgrounds: those of the options, files of ``--bg-folder``, files and colours that pages send."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from streammatte.build import build_background
from streammatte.child_process import in_child
from streammatte.color import KEY_GREEN, is_color
from streammatte.compositing import parse_background
from streammatte.errors import ConfigError, StreammatteError
from streammatte.live.background_folder import BackgroundFolder
from streammatte.live.settings import MAX_BACKGROUNDS
from streammatte.media.image_reader import STILL_SUFFIXES
from streammatte.options.live import LiveOptions
from streammatte.web.files import Thumbnailed, look, receive
from streammatte.web.routes import error_response, json_route, text_field

__all__ = ["StudioBackgrounds"]

MAX_BYTES = 512 << 20
"""A background's size, at most."""
_COLORS = ("#1f2a3a", "#e8e4dc", KEY_GREEN)
"""Backgrounds that are always offered."""


class StudioBackgrounds:
    """The backgrounds by name, and their routes.

    Parameters
    ----------
    options : LiveOptions
    private : Path
        A folder of this process alone, for files that pages send.
    on_add : callable
        Called with name and specification of each further background before it is listed; raises StreammatteError
        where it cannot be used.

    Attributes
    ----------
    specs : dict
        Name -> specification, as ``--bg`` takes it.
    """

    def __init__(self, options: LiveOptions, private: Path, on_add: Callable[[str, str], None]) -> None:
        self.specs = {spec: spec for spec in (*options.backgrounds, *_COLORS)}
        self._options, self._private = options, private
        self._on_add = on_add
        self._files: dict[str, Thumbnailed] = {}
        self._lock = threading.RLock()
        self._read_first = False
        self._folder: BackgroundFolder | None = None
        if options.bg_folder is not None:
            folder = Path(options.bg_folder).expanduser()
            self._folder = BackgroundFolder(folder, set(self.specs), self._add_from_folder)

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to the studio's application."""
        app.router.add_post("/api/background", json_route(self._add_color))
        app.router.add_put("/files/background", self._receive)
        app.router.add_get("/files/background/{name}", self._thumbnail)

    def scan_folder(self, *, settled: bool = True) -> None:
        """Add new files of ``--bg-folder``; not in the event loop's thread, since images are read."""
        if self._folder is not None:
            with self._lock:
                self._read_first = settled
                self._folder.look(settled=settled)

    def as_list(self) -> list[dict[str, str]]:
        """Names and kinds, for JSON."""
        return [{"name": name, "kind": self._kind(name, spec)} for name, spec in self.specs.items()]

    def shared_spec(self, name: str) -> str:
        """The specification for a preset or a command line: of a file that a page sent, its name only."""
        spec = self.specs[name]
        return name if Path(spec).parent == self._private else spec

    def _add_from_folder(self, spec: str, name: str) -> None:
        """Add a file; a new one is read first, since it may be incomplete and without a session nothing reads it."""
        options = self._options
        if self._read_first:
            build_background(spec, options.fit, timeout=options.timeout, max_megapixels=options.max_pixels).close()
        self._add(name, spec)

    def _add(self, name: str, spec: str) -> None:
        with self._lock:
            self._on_add(name, spec)
            self.specs[name] = spec

    def _add_file(self, file: Thumbnailed) -> str:
        """Add a file that a page sent, under a name that none has."""
        with self._lock:
            name, count = file.name, 2
            while name in self.specs:
                name, count = f"{file.name} ({count})", count + 1
            self._add(name, str(file.path))
            self._files[name] = file
        return name

    async def _add_color(self, body: dict[str, Any]) -> dict[str, Any]:
        """A colour, or blur with a strength, as one more background."""
        spec = text_field(body, "add").strip().lower()
        if not (is_color(spec) or spec == "blur" or spec.startswith("blur:")):
            raise ConfigError(f"{spec!r} is no colour and no blur; send files as files")
        parse_background(spec)
        if spec not in self.specs:
            await asyncio.get_running_loop().run_in_executor(None, self._add, spec, spec)
        return {"name": spec}

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            if len(self.specs) >= MAX_BACKGROUNDS:
                raise ConfigError(f"there are {MAX_BACKGROUNDS} backgrounds already")
            file = await receive(request, self._private, MAX_BYTES)
            try:
                name = await asyncio.get_running_loop().run_in_executor(None, self._add_file, file)
            except StreammatteError:
                file.remove()
                raise
        except StreammatteError as error:
            return error_response(str(error))
        return web.json_response({"name": name, **file.facts})

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        file, spec = self._files.get(name), self.specs.get(name)
        if file is None and spec is not None and _is_file(spec):
            path = self._private / f"folder-{len(self._files)}-{abs(hash(name)):x}.thumbnail.jpg"
            loop = asyncio.get_running_loop()
            try:
                facts = await loop.run_in_executor(None, in_child, look, spec, str(path), name)
            except StreammatteError as error:
                return error_response(str(error))
            file = self._files[name] = Thumbnailed(name, Path(spec), facts, path)
        if file is None:
            return error_response("there is no such background", 404)
        return web.FileResponse(file.thumbnail, headers={"Content-Type": "image/jpeg"})

    def _kind(self, name: str, spec: str) -> str:
        if name in self._files:
            return str(self._files[name].facts["kind"])
        if _is_file(spec):
            return "image" if Path(spec).suffix.lower() in STILL_SUFFIXES else "video"
        return "blur" if spec.partition(":")[0].lower() == "blur" else "color"


def _is_file(spec: str) -> bool:
    return Path(spec).expanduser().is_file()
