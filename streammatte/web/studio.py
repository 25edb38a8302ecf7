"""The studio: a live session, its backgrounds, outputs and presets behind one application, and the queue of jobs."""

from __future__ import annotations

import asyncio
import logging
import shlex
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from streammatte.errors import ConfigError, StreammatteError
from streammatte.live import LiveSettings, SettingsStore
from streammatte.live.build import Session, build_live, initial_settings
from streammatte.live.settings import CONTROLS, SCENE_SETTINGS, SMOOTHING
from streammatte.options.declare import as_arguments, options_of
from streammatte.options.live import LiveOptions
from streammatte.options.presets import delete_preset, list_presets, load_preset, own_presets, save_preset
from streammatte.options.video import VideoOptions
from streammatte.protocols import LiveSink, LiveSource
from streammatte.sinks.mjpeg import HttpPreviewSink
from streammatte.web.app import add_preview
from streammatte.web.files import safe_name
from streammatte.web.peer import BrowserCamera, Peers, Screen
from streammatte.web.routes import error_response, json_route, number_field, page_route, text_field
from streammatte.web.studio_backgrounds import StudioBackgrounds
from streammatte.web.studio_jobs import JOB_SETTINGS, StudioJobs
from streammatte.web.studio_session import StudioImages, StudioSession

__all__ = ["BROWSER", "STUDIO_PAGES", "Studio"]

_log = logging.getLogger(__name__)

BROWSER = "browser"
"""The camera that a page sends."""
_FILES = {
    "": ("index.html", "text/html"),
    **{name: (name, "text/javascript") for name in ("studio.js", "jobs.js", "common.js", "texts.js")},
    "jobs": ("jobs.html", "text/html"),
    "studio.css": ("studio.css", "text/css"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
STUDIO_PAGES = frozenset(f"/{path}" for path in _FILES)
"""Paths of the pages and their parts, which hold no secret."""

MAX_BODY = 64 << 10
UNWATCHED = 60.0
"""Seconds without a page and without another output after which the camera is released."""
_PATIENCE = 4.0
"""Seconds that a request waits for a session or a recording to end; what takes longer ends by itself."""
_SIDE, _HIGHEST_RATE = (16, 3840), 120
_OWN_SETTINGS = ("smooth", "mirror", *CONTROLS, *SCENE_SETTINGS)
"""Settings that are options of the command line too."""


class Studio:
    """State and routes.

    Parameters
    ----------
    options : LiveOptions
        What a session begins with.
    private : Path
        A folder of this process alone, for what pages send; the caller removes it.
    recordings : Path
        Where recordings stay.
    """

    def __init__(self, options: LiveOptions, private: Path, recordings: Path) -> None:
        self._options = options
        self._recordings = recordings
        self._live: StudioSession | None = None
        self._backgrounds = StudioBackgrounds(options, private, self._add_background)
        self._store = SettingsStore(tuple(self._backgrounds.specs), initial_settings(options))
        self._backgrounds.scan_folder(settled=False)
        self._jobs = StudioJobs(private, self._backgrounds.specs)
        self._peers = Peers()
        self._starting: threading.Thread | None = None
        self._error = ""
        self._watched = time.monotonic()
        self._lock = threading.Lock()
        self._images = StudioImages(lambda: self.images)

    def make_app(self) -> web.Application:
        """The application; the policy is added by the server."""
        app = web.Application(client_max_size=MAX_BODY)
        for path, (name, kind) in _FILES.items():
            app.router.add_get(f"/{path}", page_route(name, kind))
        posts: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "start": self._start,
            "stop": self._stop,
            "offer": self._offer,
            "set": self._set,
            "output": self._output,
            "preset": self._preset,
        }
        for name, handler in posts.items():
            app.router.add_post(f"/api/{name}", json_route(handler))
        app.router.add_get("/api/state", self._state)
        app.router.add_get("/api/options", self._describe)
        app.router.add_get("/files/snapshot.png", self._snapshot)
        app.router.add_get("/files/recording/{name}", self._recording)
        app.router.add_get("/files/preset/{name}", self._preset_file)
        self._backgrounds.add_routes(app)
        self._jobs.add_routes(app)
        add_preview(app, self._images)
        app.on_startup.append(self._begin)
        app.on_cleanup.append(self._end)
        return app

    def close(self) -> None:
        """End the session; the server has stopped."""
        self._images.closed = True
        self._halt()

    # ---- the live session ----

    async def _start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start a session with a camera; answers at once, progress is in the state."""
        camera = text_field(body, "camera", self._options.camera)
        width, height = number_field(body, "width", 0, _SIDE[1]), number_field(body, "height", 0, _SIDE[1])
        rate = number_field(body, "rate", 30, _HIGHEST_RATE)
        if camera == BROWSER and not (_SIDE[0] <= width and _SIDE[0] <= height):
            raise ConfigError("a browser's camera needs width and height")
        with self._lock:
            if self._starting is not None and self._starting.is_alive():
                raise ConfigError("the session is being started already")
            self._error = ""
            self._starting = threading.Thread(
                target=self._open, args=(camera, width, height, rate), name="studio-start", daemon=True
            )
            self._starting.start()
        return {"starting": True}

    def _open(self, camera: str, width: int, height: int, rate: int) -> None:
        self._halt()
        screen = Screen(self._peers.show, lambda: self._peers.count > 0)
        preview = HttpPreviewSink()
        sinks: list[tuple[str, LiveSink]] = [("page", screen), ("preview", preview)]
        source: LiveSource | None = None
        try:
            options = self._options.replace(bg_folder=None, camera="0" if camera == BROWSER else camera)
            if camera == BROWSER:
                source = BrowserCamera(width & ~1, height & ~1, rate or 30)
            elif width and height:
                options = options.replace(width=width, height=height)
            session = build_live(options, source=source, sinks=sinks)
            self._bring_backgrounds(session)
            now = self._store.current.as_dict()
            wanted = {name: value for name, value in now.items() if name not in ("quit", "background")}
            chosen = self._store.backgrounds[now["background"]]
            if chosen in session.pipeline.store.backgrounds:
                wanted["background"] = chosen
            session.pipeline.store.apply(wanted)
        except Exception as error:  # shown on the page
            self._error = str(error)
            _log.log(logging.DEBUG if isinstance(error, StreammatteError) else logging.ERROR, "studio", exc_info=error)
            return
        self._watched = time.monotonic()
        self._live = StudioSession(camera, session, source, screen, preview, self._failed)
        self._bring_backgrounds(session)  # those that were added meanwhile

    def _bring_backgrounds(self, session: Session) -> None:
        """Give a session the backgrounds that it lacks; one whose file no longer exists is left out."""
        for name, spec in tuple(self._backgrounds.specs.items()):
            if name not in session.pipeline.store.backgrounds:
                try:
                    session.add_background(spec, name)
                except StreammatteError as error:
                    _log.warning("background %s is left out: %s", name, error)

    def _add_background(self, name: str, spec: str) -> None:
        """One more background, for the session that runs too. Raises StreammatteError."""
        self._store.check_background(name)
        live = self._live
        if live is not None and live.alive:
            live.session.add_background(spec, name)
        self._store.add_background(name)

    def _failed(self, error: BaseException) -> None:
        self._error = str(error) or type(error).__name__
        if not isinstance(error, StreammatteError):
            _log.error("the session failed", exc_info=error)

    def _halt(self, within: float = 20.0) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop(within)

    async def _stop(self, _asked: dict[str, Any]) -> dict[str, Any]:
        await asyncio.get_running_loop().run_in_executor(None, self._halt, _PATIENCE)
        return {"stopped": True}

    async def _offer(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"type": "answer", "sdp": await self._peers.answer(text_field(body, "sdp"), self._camera)}

    def _camera(self) -> BrowserCamera | None:
        source = None if self._live is None else self._live.source
        return source if isinstance(source, BrowserCamera) else None

    async def _set(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change the settings of the running session and of later ones."""
        if body.get("quit"):
            raise ConfigError("the page ends a session by its own button")
        if "background" in body and not isinstance(body["background"], str):
            raise ConfigError("background must be a name")
        live = self._live
        if live is not None and live.alive:
            live.store.apply(body)
        changed = self._store.apply(body)
        return {"settings": changed.as_dict()}

    async def _output(self, body: dict[str, Any]) -> dict[str, Any]:
        """Switch the recording, the virtual camera or a stream on or off beside the page."""
        name, on = text_field(body, "name"), bool(body.get("on"))
        live = self._live
        if live is None or not live.alive:
            raise ConfigError("start the camera first")
        if name not in ("record", "virtual-camera", "stream"):
            raise ConfigError("name must be record, virtual-camera or stream")
        loop = asyncio.get_running_loop()
        if not on:
            await loop.run_in_executor(None, partial(live.session.pipeline.remove_sink, name, within=_PATIENCE))
            live.outputs.pop(name, None)
            return {"on": False}
        if name in live.outputs:
            raise ConfigError(f"{name} is on already")
        sink, shown = self._sink(name, body)
        await loop.run_in_executor(None, live.session.pipeline.add_sink, name, sink)
        live.outputs[name] = shown
        return {"on": True, "shown": shown}

    def _sink(self, name: str, body: dict[str, Any]) -> tuple[LiveSink, str]:
        if name == "record":
            from streammatte.sinks.record import RecordSink

            self._recordings.mkdir(parents=True, exist_ok=True)
            file = self._recordings / f"streammatte-{datetime.now():%Y%m%d-%H%M%S}.mp4"
            return RecordSink(file), file.name
        if name == "virtual-camera":
            from streammatte.sinks.virtual_camera import VirtualCameraSink

            camera = VirtualCameraSink(self._options.virtual_camera)
            return camera, "virtual camera"
        from streammatte.sinks.stream import StreamSink

        return StreamSink(text_field(body, "url"), timeout=self._options.timeout), "stream"

    # ---- presets, snapshot, recordings ----

    async def _preset(self, body: dict[str, Any]) -> dict[str, Any]:
        """Save, apply or delete a preset."""
        action, name = text_field(body, "action"), text_field(body, "name")
        if action == "save":
            save_preset(name, self._as_options())
        elif action == "delete":
            delete_preset(name)
        elif action == "apply":
            given = load_preset(name)
            options = LiveOptions.build({key: value for key, value in given.items() if key not in ("size", "threads")})
            patch = {each: getattr(options, each) for each in _OWN_SETTINGS if each in given}
            patch |= {"smooth": initial_settings(options).smooth} if "smooth" in given else {}
            if "backgrounds" in given and options.backgrounds[0] in self._backgrounds.specs:
                patch |= {"background": options.backgrounds[0]}
            if patch:
                await self._set(patch)
        else:
            raise ConfigError("action must be save, apply or delete")
        return {"presets": list_presets(), "settings": self._store.current.as_dict()}

    def _as_options(self) -> dict[str, Any]:
        """The settings in force as options of ``streammatte webcam``, without those that are the defaults."""
        now, first = self._store.current, LiveSettings()
        found: dict[str, Any] = {
            name: getattr(now, name) for name in _OWN_SETTINGS if getattr(now, name) != getattr(first, name)
        }
        if now.choose is not None:
            found["choose"] = list(now.choose)
        spec = "blur" if now.blur else self._backgrounds.shared_spec(self._store.backgrounds[now.background])
        return {"backgrounds": (spec,), **found}

    def _command_line(self) -> str:
        return shlex.join(["streammatte", "webcam", *as_arguments(LiveOptions, self._as_options())])

    async def _preset_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"].removesuffix(".yml")
        path = own_presets().get(name)
        if path is None:
            return error_response("there is no such preset of yours", 404)
        kept = {"Content-Disposition": f'attachment; filename="{safe_name(name)}.yml"'}
        return web.Response(text=path.read_text(encoding="utf-8"), content_type="text/yaml", headers=kept)

    async def _snapshot(self, _request: web.Request) -> web.Response:
        live = self._live
        loop = asyncio.get_running_loop()
        image = b"" if live is None else await loop.run_in_executor(None, live.screen.snapshot)
        if not image:
            return error_response("there is no image yet", 503)
        kept = {"Content-Disposition": f'attachment; filename="streammatte-{datetime.now():%Y%m%d-%H%M%S}.png"'}
        return web.Response(body=image, content_type="image/png", headers=kept)

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._recorded():
            return error_response("there is no such recording", 404)
        kept = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.FileResponse(self._recordings / name, headers=kept)

    def _recorded(self) -> list[str]:
        """Names of the studio's own recordings, the newest first."""
        if not self._recordings.is_dir():
            return []
        return sorted((path.name for path in self._recordings.glob("streammatte-*.mp4")), reverse=True)[:20]

    # ---- state ----

    async def _state(self, _request: web.Request) -> web.Response:
        await asyncio.get_running_loop().run_in_executor(None, self._backgrounds.scan_folder)
        live = self._live
        session: dict[str, Any] | None = None
        if live is not None and live.alive:
            info = live.session.pipeline.info
            session = live.session.pipeline.status().as_dict()
            session |= {"camera": live.camera, "width": info.width, "height": info.height, "outputs": live.outputs}
            session |= {"choosable": True, "cpu": live.cpu()}
        starting = self._starting is not None and self._starting.is_alive()
        now = self._store.current.as_dict()
        return web.json_response(
            {
                "session": session,
                "starting": starting,
                "error": self._error,
                "settings": now | {"background": self._store.backgrounds[now["background"]]},
                "backgrounds": self._backgrounds.as_list(),
                "camera": self._options.camera,
                "peers": self._peers.count,
                "presets": list_presets(),
                "own_presets": sorted(own_presets()),
                "recordings": self._recorded(),
                "command": self._command_line(),
                "jobs": self._jobs.as_list(),
            }
        )

    async def _describe(self, _request: web.Request) -> web.Response:
        """The settings with their limits, as the options declare them: the page's sliders are made from it."""
        names = {field.name for field in fields(LiveSettings)}
        live = [_described(entry) for entry in options_of(LiveOptions) if entry.name in names]
        smooth = next(entry for entry in live if entry["name"] == "smooth")
        smooth["choices"] = list(SMOOTHING)
        jobs = [_described(entry) for entry in options_of(VideoOptions) if entry.name in JOB_SETTINGS]
        return web.json_response({"live": live, "jobs": jobs})

    # ---- lifetime ----

    async def _begin(self, _app: web.Application) -> None:
        self._idle = asyncio.ensure_future(self._release_unwatched())

    async def _release_unwatched(self) -> None:
        """Release a camera that no page and no output uses."""
        while True:
            await asyncio.sleep(1.0)
            live = self._live
            if live is None or self._peers.count or live.outputs or self._images.waiting:
                self._watched = time.monotonic()
            elif time.monotonic() - self._watched > UNWATCHED:
                _log.info("no page watches: the camera is released")
                await self._stop({})

    async def _end(self, _app: web.Application) -> None:
        self._idle.cancel()
        await self._peers.close()
        await self._jobs.close()

    @property
    def images(self) -> HttpPreviewSink | None:
        """The session's images as JPEG, for a browser without WebRTC."""
        return None if self._live is None else self._live.preview


def _described(entry: Any) -> dict[str, Any]:
    kind = "choice" if entry.choices else entry.type.__name__
    return {
        "name": entry.name,
        "kind": kind,
        "default": entry.default,
        "choices": list(entry.choices),
        "low": entry.low,
        "high": entry.high,
        "help": entry.help,
    }
