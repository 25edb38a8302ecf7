"""Joins configuration to objects. The only module that imports every stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streammatte.color import KEY_GREEN
from streammatte.errors import ConfigError, UnsupportedSourceError
from streammatte.frames import StreamInfo
from streammatte.network_size import MAX_MEGAPIXELS, Fit, fit_input
from streammatte.options.matte import CompositeOptions, MatteOptions
from streammatte.options.video import VideoOptions
from streammatte.pipeline import Pipeline
from streammatte.protocols import Engine, Matter, Sink, Source
from streammatte.sinks.atomic import refuse_inputs
from streammatte.sinks.multi import Outputs
from streammatte.stats import Progress

if TYPE_CHECKING:
    from streammatte.compositing import StreamCompositor
    from streammatte.matting.network import InputAlphaMatter, NetworkMatter
    from streammatte.sinks import EncodeOptions
    from streammatte.sources import ReadOptions

__all__ = [
    "build_background",
    "build_compositor",
    "build_engine",
    "build_matter",
    "build_outputs",
    "build_pipeline",
    "build_source",
    "input_fit",
    "read_options",
    "resolve_background",
]

log = logging.getLogger(__name__)

DEFAULT_BACKGROUND = KEY_GREEN
"""For outputs that cannot hold alpha."""


def build_source(spec: str | Path, options: VideoOptions, **part: Any) -> Source:
    """Open an input by the options; ``part`` replaces what :class:`ReadOptions` says of its part. Raises
    SourceError.
    """
    from streammatte.sources import open_source, oriented_source

    source = open_source(spec, read_options(options), **part)
    return oriented_source(source, options.flip, options.rotate)


def read_options(options: VideoOptions) -> ReadOptions:
    """How an input is read, of all the options."""
    from streammatte.sources import ReadOptions

    return ReadOptions(
        start=options.start,
        duration=options.duration,
        timeout=options.timeout,
        tracks=options.audio,
        rate=options.rate,
        max_megapixels=options.max_pixels,
        allow_playlists=options.allow_playlists,
        size_change=options.size_change,
        hwaccel=options.hwaccel,
    )


def input_fit(info: StreamInfo, options: MatteOptions) -> Fit:
    """The size at which the network gets frames of this description. Raises ModelError, ConfigError."""
    from streammatte.models.resolve import resolve

    files = resolve(options.model)
    if files.rule.trimap:
        raise ConfigError(f"{options.model} needs a trimap with every image; for videos take a network without one")
    return fit_input(
        info.width,
        info.height,
        files.rule,
        size=options.size,
        multiple=files.multiple,
        pixel_aspect=float(info.sample_aspect_ratio),
    )


def build_engine(info: StreamInfo, options: MatteOptions, *, throughput: bool = True) -> Engine:
    """The engine for frames of this description, compiled for one size of input. Raises ModelError.

    ``throughput`` keeps several frames under way (files); without it one frame at a time takes all threads (cameras).

    Parameters
    ----------
    info : StreamInfo
        The frames' size.
    options : MatteOptions
    throughput : bool
        Keep several frames under way (files); without it one frame at a time takes all threads (cameras).
    """
    from streammatte.engines import open_engine

    height, width = input_fit(info, options).padded
    engine = open_engine(
        options.model,
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        size=(height, width),
        batch=options.batch,
        threads=options.threads,
        throughput=throughput,
        trt=options.trt,
        average=options.average,
    )
    log.info("%s on %s (%s), input %dx%d", options.model, engine.device, engine.precision, width, height)
    return engine


def build_matter(
    info: StreamInfo, options: MatteOptions, *, throughput: bool = True, engine: Engine | None = None
) -> NetworkMatter:
    """The matting stage for frames of this description, around an engine of the caller's or a new one.

    Parameters
    ----------
    info : StreamInfo
    options : MatteOptions
    throughput : bool
        As :func:`build_engine`.
    engine : Engine, optional
        The caller's own instead of a new one.
    """
    from streammatte.matting.controls import ControlSettings, MatteControls
    from streammatte.matting.network import NetworkMatter
    from streammatte.matting.preprocess import Preparer
    from streammatte.matting.refine import Refiner
    from streammatte.matting.smoothing import Smoother

    controls = ControlSettings.of(options)
    controls.check(info.width, info.height)
    size = input_fit(info, options)
    engine = engine or build_engine(info, options, throughput=throughput)
    return NetworkMatter(
        engine,
        # A recurrent network's states need images of one brightness, and its colours are those of its input.
        Preparer(size.content, size.padded, low_light=options.low_light and not engine.recurrent),
        Smoother(options.smooth),
        Refiner(options.refine),
        controls=MatteControls(controls),
        batch=options.batch,
        multiply=options.input_alpha == "multiply",
    )


def build_input_alpha_matter(info: StreamInfo, options: MatteOptions) -> InputAlphaMatter:
    """The matting stage of ``--input-alpha only``. Raises UnsupportedSourceError where the input has no alpha."""
    from streammatte.matting.controls import ControlSettings, MatteControls
    from streammatte.matting.network import InputAlphaMatter

    if not info.has_alpha:
        raise UnsupportedSourceError(f"{info.name or 'the input'} has no alpha; leave out --input-alpha only")
    size = max(1, (info.height + 1) // 2), max(1, (info.width + 1) // 2)
    return InputAlphaMatter(size, MatteControls(ControlSettings.of(options)))


def resolve_background(spec: str | None, target: str | None, codec: str) -> str:
    """The requested background, else transparent where ``target`` is of a kind made for alpha, else green.

    Parameters
    ----------
    spec : str, optional
        What was requested.
    target : str, optional
        Name of the output.
    codec : str
        Its encoder, or ``auto``.
    """
    from streammatte.sinks import alpha_by_default

    if spec is not None:
        return spec
    return "transparent" if target is not None and alpha_by_default(target, codec) else DEFAULT_BACKGROUND


def build_background(
    spec: str,
    fit: str,
    sample_aspect: Fraction = Fraction(1),
    *,
    timeout: float = 10.0,
    max_megapixels: int = MAX_MEGAPIXELS,
    at_least: tuple[int, int] | None = None,
    begin: float | None = None,
) -> Any:
    """A background from its description; see :func:`parse_background`. Raises BackgroundError.

    Parameters
    ----------
    spec : str
        As ``--bg``.
    fit : {"cover", "contain", "stretch"}
    sample_aspect : Fraction
        Of the frames' pixels.
    timeout : float
        Seconds that a server may take.
    max_megapixels : int
        Limit of a still image.
    at_least : (int, int), optional
        Width and height that a large still image keeps while it is read.
    begin : float, optional
        Seconds at which a video starts; the first frame's time by default.
    """
    from streammatte.compositing import parse_background
    from streammatte.sources import ReadOptions, reopener

    options = ReadOptions(tracks=False, timeout=timeout, max_megapixels=max_megapixels)
    return parse_background(
        spec,
        fit=fit,
        open_video=lambda path: reopener(path, options),
        sample_aspect=sample_aspect,
        max_megapixels=max_megapixels,
        at_least=at_least,
        begin=begin,
    )


def build_compositor(
    options: CompositeOptions, background: str, info: StreamInfo | None = None, *, begin: float | None = None
) -> StreamCompositor:
    """The compositing stage for frames of a description, or (None) of any size. Raises BackgroundError.

    ``begin`` is the time, seconds, at which a background video starts; by default that of the first frame.

    Parameters
    ----------
    options : CompositeOptions
    background : str
        As ``--bg``.
    info : StreamInfo, optional
        The frames; None for any size.
    begin : float, optional
        Seconds at which a background video starts; the first frame's time by default.
    """
    from streammatte.compositing import StreamCompositor

    return StreamCompositor(
        build_background(
            background,
            options.fit,
            Fraction(1) if info is None else info.sample_aspect_ratio,
            timeout=options.timeout if isinstance(options, VideoOptions) else 10.0,
            max_megapixels=options.max_pixels,
            at_least=None if info is None else (info.width, info.height),
            begin=begin,
        ),
        foreground=options.estimate_foreground,
        multilevel=options.refine == "best",
        want_alpha=options.alpha is not None,
        want_foreground=options.foreground is not None,
        despill=options.despill,
        match_light=options.match_light,
    )


def build_outputs(
    target: str | None,
    options: CompositeOptions,
    background: str,
    composite: Sink | None = None,
    open_target: Callable[[str, EncodeOptions], Sink] | None = None,
) -> Outputs:
    """The sinks for the image (``target``, or a sink of the caller's), the matte and the foreground.

    ``open_target`` makes the sink of a name, instead of :func:`streammatte.sinks.open_sink`.

    Parameters
    ----------
    target : str, optional
        Name of the composite's file.
    options : CompositeOptions
    background : str
        As ``--bg``: a transparent one needs an output with an alpha channel.
    composite : Sink, optional
        The caller's own instead of ``target``.
    open_target : callable, optional
        Makes the sink of a name, instead of :func:`streammatte.sinks.open_sink`.
    """

    def sink(path: str | None, role: str) -> Sink | None:
        from streammatte.sinks import EncodeOptions, open_sink

        if path is None:
            return None
        if not isinstance(options, VideoOptions):
            return open_sink(path, overwrite=options.overwrite)
        main = role == "composite"
        # A named encoder's own scale and presets are not those of the encoders of the other outputs.
        tuned = main or options.codec == "auto"
        encode = EncodeOptions(
            codec=options.codec if main else "auto",
            crf=options.crf if tuned else None,
            preset=options.preset if tuned else None,
            bitrate=options.bitrate if main else None,
            audio_codec=options.audio_codec,
            output_size=options.output_size,
            tracks=options.audio and main,
            metadata=not options.strip_metadata,
            overwrite=options.overwrite,
            # Segments of one video may be encoded on machines of different kinds.
            hwaccel=options.hwaccel if main and open_target is None else "off",
        )
        return (open_target or open_sink)(path, encode)

    names = tuple(path for path in (target, options.alpha, options.foreground) if path not in (None, "-"))
    return Outputs(
        composite if composite is not None else sink(target, "composite"),
        sink(options.alpha, "alpha"),
        sink(options.foreground, "foreground"),
        transparent=background == "transparent",
        names=tuple(name for name in names if name is not None),
    )


def build_pipeline(
    spec: str | Path | Source,
    target: str | Path | None,
    options: VideoOptions,
    *,
    sink: Sink | None = None,
    matter: Matter | None = None,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Pipeline:
    """A video pipeline from file names and options; everything that can be refused is refused here or in ``run``.

    ``sink`` takes the images where no ``target`` is named; ``matter`` is a stage to use instead of a new one;
    ``limit`` ends the video after so many frames.

    Parameters
    ----------
    spec : str, Path or Source
    target : str or Path, optional
        Name of the output.
    options : VideoOptions
    sink : Sink, optional
        Takes the images where no ``target`` is named.
    matter : Matter, optional
        A stage to use instead of a new one.
    limit : int, optional
        Frames after which the video ends.
    on_progress : callable, optional
        Called in the caller's thread with a Progress.
    """
    goal = None if target is None else str(target)
    if goal is None:
        # No sink takes the packets, and they would accumulate.
        options = options.replace(audio=False)
    if isinstance(spec, str | Path):
        targets = [path for path in (goal, options.alpha, options.foreground) if path is not None]
        refuse_inputs({"the input": str(spec), "the background": options.background}, targets)
    background = resolve_background(options.background, goal, options.codec)
    outputs = build_outputs(goal, options, background, sink)
    source = build_source(spec, options) if isinstance(spec, str | Path) else spec
    closing: list[Callable[[], None]] = []
    try:
        compositor = build_compositor(options, background, source.info)
        closing.append(compositor.close)
        if matter is None:
            made = (
                build_input_alpha_matter(source.info, options)
                if options.input_alpha == "only"
                else build_matter(source.info, options)
            )
            closing.append(made.close)
            matter = made
    except BaseException:
        for close in (source.close, *closing):
            close()
        raise
    return Pipeline(source, matter, compositor, outputs, limit=limit, on_progress=on_progress, closing=tuple(closing))
