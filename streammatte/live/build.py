"""Joins live options to objects."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from streammatte.build import build_background, build_engine, input_fit
from streammatte.compositing import BlurBackground, StreamCompositor, VideoBackground
from streammatte.frames import ColorSpec, Layout, StreamInfo
from streammatte.live.adaptive import LADDER, ladder
from streammatte.live.background_folder import BackgroundFolder, background_files
from streammatte.live.matting import LiveMatter, SizeLevel
from streammatte.live.on_demand import OnDemandSource, read_by_others
from streammatte.live.paced_background import PacedBackground
from streammatte.live.pipeline import LivePipeline
from streammatte.live.scenes import Scene, Scenes
from streammatte.live.settings import (
    CONTROLS,
    MAX_BACKGROUNDS,
    SCENE_SETTINGS,
    SMOOTHING,
    LiveSettings,
    SettingsStore,
    apply_key,
)
from streammatte.live.status import LiveStatus
from streammatte.network_size import Fit
from streammatte.options.live import LiveOptions
from streammatte.protocols import LiveSink, LiveSource
from streammatte.sinks.atomic import refuse_inputs
from streammatte.sinks.mjpeg import HttpPreviewSink
from streammatte.sources.live_factory import open_live_source

__all__ = ["Session", "build_live", "initial_settings"]

_log = logging.getLogger(__name__)

_MAX = (3840, 2160)
"""What backgrounds are read for where the camera's size is not known."""

AUTO = "auto"
"""Value of an option that names a device when it is given without one."""


@dataclass(frozen=True)
class Session:
    """A live pipeline, its images for browsers with ``--preview-http``, and a way to add backgrounds."""

    pipeline: LivePipeline
    images: HttpPreviewSink | None
    scenes: Scenes
    options: LiveOptions

    def add_background(self, spec: str, name: str | None = None) -> None:
        """One more background, which settings may name from now on. Any thread may call.

        Parameters
        ----------
        spec : str
            As ``--bg``.
        name : str, optional
            What settings call it; ``spec`` by default.

        Raises
        ------
        ConfigError
            The name is taken, or there are too many.
        BackgroundError
            It cannot be read.
        """
        _add_background(spec, name or spec, self.options, self.scenes, self.pipeline.store)


def build_live(
    options: LiveOptions,
    *,
    source: LiveSource | None = None,
    sinks: list[tuple[str, LiveSink]] | None = None,
    on_status: Callable[[LiveStatus], None] | None = None,
    on_tick: Callable[[SettingsStore], object] | None = None,
) -> Session:
    """A live session from options; what can be refused is refused here.

    Parameters
    ----------
    source : Source, optional
        Instead of the camera that the options name.
    sinks : list of (str, LiveSink), optional
        Instead of those that the options name.
    """
    inputs = {"the camera": options.camera, "the microphone": options.mic, "the placeholder": options.hold}
    inputs |= {f"the background {name}": name for name in options.backgrounds}
    refuse_inputs(inputs, [] if options.record is None else [str(options.record)])
    names, specs = _backgrounds(options)
    store = SettingsStore(names, initial_settings(options))
    scenes = _scenes(options, list(zip(names, specs, strict=True)))
    own = source is None
    source = source or _source(options, lambda: _virtual_camera_path(sinks or []))
    try:
        microphone = _microphone(options)
        sinks = _sinks(options, store, microphone) if sinks is None else sinks
        helpers: list[Any] = [] if microphone is None else [microphone]
        if options.bg_folder is not None:
            folder = Path(options.bg_folder).expanduser()
            helpers.append(
                BackgroundFolder(
                    folder, set(names), lambda spec, name: _add_background(spec, name, options, scenes, store)
                )
            )
        info = source.info
        pipeline = LivePipeline(
            source,
            lambda: make_live_matter(info, options),
            scenes,
            sinks,
            store,
            duration=options.duration,
            helpers=helpers,
            rotated=int(options.rotate) if own else 0,
            on_status=on_status,
            on_tick=None if on_tick is None else partial(on_tick, store),
        )
    except BaseException:
        if own:
            source.close()
        raise
    images = next((sink for _, sink in sinks if isinstance(sink, HttpPreviewSink)), None)
    return Session(pipeline, images, scenes, options)


def make_live_matter(info: StreamInfo, options: LiveOptions) -> LiveMatter:
    """The networks of a session, compiled for latency: one size, or the ladder of sizes."""
    from streammatte.matting.controls import ControlSettings, MatteControls
    from streammatte.matting.network import NetworkMatter
    from streammatte.matting.preprocess import Preparer
    from streammatte.matting.refine import Refiner
    from streammatte.matting.smoothing import Smoother

    settings = ControlSettings.of(options)
    settings.check(info.width, info.height)
    levels = []
    longest = options.size or LADDER[0]
    seen: set[Fit] = set()
    for size in ladder(longest) if options.adaptive else (longest,):
        sized = options.replace(size=size, batch=1)
        fit = input_fit(info, sized)
        if fit in seen:
            continue  # a network of one size
        seen.add(fit)
        engine = build_engine(info, sized, throughput=False)
        smoother, controls = Smoother(_causal(options.smooth)), MatteControls(settings)
        preparer = Preparer(fit.content, fit.padded, low_light=options.low_light and not engine.recurrent)
        matter = NetworkMatter(engine, preparer, smoother, Refiner(options.refine), controls=controls)
        levels.append(SizeLevel(size, matter, smoother, controls))
    return LiveMatter(levels, idle_fps=options.idle_fps)


def _source(options: LiveOptions, device: Callable[[], str]) -> LiveSource:
    """The camera; on demand where the options (or, on Linux, a virtual camera alone) want that.

    ``device`` gives the virtual camera's path once it is open.
    """
    opening = partial(
        open_live_source,
        options.camera,
        width=options.width,
        height=options.height,
        rate=options.fps,
        loop=options.loop,
        duration=options.duration,
        timeout=options.timeout,
        rotate=options.rotate,
    )
    on_demand = options.on_demand == "on"
    if options.on_demand == "auto":
        on_demand = (
            sys.platform == "linux" and options.sink_names() == ("virtual_camera",) and not _is_file(options.camera)
        )
    if not on_demand and options.camera_at_start:
        return opening()
    info = None
    if not options.camera_at_start:
        width, height = options.width or 1280, options.height or 720
        rate = Fraction(options.fps or 30).limit_denominator(1001)
        info = StreamInfo(width, height, Layout.YUV420, Fraction(1, 1_000_000), rate, ColorSpec(6, 6, 6), name="camera")

    def wanted() -> bool:
        path = device()
        return not (on_demand and path.startswith("/")) or read_by_others(path)

    return OnDemandSource(opening, wanted, info)


def _virtual_camera_path(sinks: list[tuple[str, Any]]) -> str:
    return next((str(sink.name) for name, sink in sinks if name == "virtual-camera"), "")


def _is_file(spec: str) -> bool:
    return Path(spec).expanduser().exists() and not spec.startswith("/dev/")


def initial_settings(options: LiveOptions) -> LiveSettings:
    """What a session of these options begins with."""
    if _causal(options.smooth) != options.smooth:
        _log.warning(
            "--smooth %s looks ahead, which a camera cannot; using %s", options.smooth, _causal(options.smooth)
        )
    controls = {name: getattr(options, name) for name in CONTROLS + SCENE_SETTINGS}
    return LiveSettings(smooth=_causal(options.smooth), mirror=options.mirror, **controls)


def _causal(smooth: str) -> str:
    """The smoothing itself, or the strongest causal one."""
    return smooth if smooth in SMOOTHING else SMOOTHING[-1]


def _backgrounds(options: LiveOptions) -> tuple[list[str], list[str]]:
    """Names and specifications of the backgrounds: those of ``--bg``, then the files of ``--bg-folder``."""
    names = list(options.backgrounds)
    specs = list(options.backgrounds)
    if options.bg_folder is not None:
        for name, path in background_files(Path(options.bg_folder).expanduser()).items():
            if name not in names and len(names) < MAX_BACKGROUNDS:
                names.append(name)
                specs.append(str(path))
    return names, specs


def _scenes(options: LiveOptions, backgrounds: list[tuple[str, str]]) -> Scenes:
    return Scenes(
        [_scene(name, spec, options) for name, spec in backgrounds],
        _scene("blur", "blur", options, by_setting=True),
        None if options.hold is None else _compositor(options.hold, options),
    )


def _scene(name: str, spec: str, options: LiveOptions, *, by_setting: bool = False) -> Scene:
    """``by_setting``: the strength of the blur is that of the settings."""
    compositor = _compositor(spec, options)

    def adjust(settings: LiveSettings) -> None:
        compositor.adjust(settings.despill, match_light=settings.match_light)
        if by_setting and isinstance(compositor.background, BlurBackground):
            compositor.background.strength = settings.blur_strength

    return Scene(name, compositor, adjust, moving=isinstance(compositor.background, PacedBackground))


def _compositor(spec: str, options: LiveOptions) -> StreamCompositor:
    compositor = StreamCompositor(
        build_background(
            spec,
            options.fit,
            timeout=options.timeout,
            max_megapixels=options.max_pixels,
            at_least=(options.width or _MAX[0], options.height or _MAX[1]),
        ),
        foreground=options.estimate_foreground,
        multilevel=options.refine == "best",
        despill=options.despill,
        match_light=options.match_light,
    )
    if isinstance(compositor.background, VideoBackground):
        compositor.background = PacedBackground(compositor.background)
    return compositor


def _add_background(spec: str, name: str, options: LiveOptions, scenes: Scenes, store: SettingsStore) -> None:
    store.check_background(name)
    scenes.add(_scene(name, spec, options), partial(store.add_background, name))


def _microphone(options: LiveOptions) -> Any:
    if options.mic is None:
        return None
    from streammatte.sources.microphone import Microphone

    return Microphone("default" if options.mic == AUTO else options.mic)


def _sinks(options: LiveOptions, store: SettingsStore, microphone: Any) -> list[tuple[str, LiveSink]]:
    def feed() -> Any:
        return None if microphone is None else microphone.feed()

    def virtual_camera() -> LiveSink:
        from streammatte.sinks.virtual_camera import VirtualCameraSink

        return VirtualCameraSink(None if options.virtual_camera in (None, AUTO) else options.virtual_camera)

    def preview() -> LiveSink:
        from streammatte.sinks.window import PreviewSink

        return PreviewSink(lambda key: apply_key(store, key), lambda: apply_key(store, "q"))

    def preview_http() -> LiveSink:
        return HttpPreviewSink()

    def record() -> LiveSink:
        from streammatte.sinks.record import RecordSink

        return RecordSink(Path(str(options.record)), feed=feed(), overwrite=options.overwrite)

    def stream() -> LiveSink:
        from streammatte.sinks.stream import StreamSink

        return StreamSink(str(options.stream), feed=feed(), timeout=options.timeout)

    makers = {
        "virtual_camera": virtual_camera,
        "preview": preview,
        "preview_http": preview_http,
        "record": record,
        "stream": stream,
    }
    return [(name.replace("_", "-"), makers[name]()) for name in options.sink_names()]
