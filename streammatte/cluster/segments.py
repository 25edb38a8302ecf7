"""Long videos in segments: planned, worked on anywhere, joined."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import attrs

from streammatte._version import __version__
from streammatte.build import build_compositor, build_outputs, build_source, read_options, resolve_background
from streammatte.cluster.journal import fingerprint, take_folder
from streammatte.errors import (
    BeyondEndError,
    ConfigError,
    NoFrameError,
    SinkError,
    TruncatedSourceError,
    UnsupportedSourceError,
)
from streammatte.frames import Composite, Matte
from streammatte.media.image_reader import STILL_SUFFIXES, animation_format
from streammatte.options.video import VideoOptions
from streammatte.pipeline import Pipeline
from streammatte.protocols import Compositor, Matter, Sink, Source
from streammatte.sinks import EncodeOptions
from streammatte.sinks.atomic import AtomicFile, refuse_inputs, remove_leftovers, whole_file
from streammatte.sinks.segments import JoinSink, SegmentFile, SegmentSink, can_join
from streammatte.sources import open_source, oriented_source
from streammatte.sources.images import ImageSource
from streammatte.sources.video import FileSource
from streammatte.stats import Progress, Summary

__all__ = ["Segment", "SegmentedVideo", "can_be_cut", "work_segment"]

_WARM = Fraction(2)
"""Seconds of video before a segment that the smoother and the despill see, and after it that the smoother looks ahead.
The weight of the past halves every 0.1 to 0.35 s."""

_WARM_LIGHT = Fraction(12)
"""The same where the light is matched, whose past counts 1/e after a second."""

_PLAN = "plan.json"
_WITHOUT_EFFECT = ("overwrite", "threads", "timeout")
"""Options that may differ between two runs on one video."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames with ``begin <= time < end``, seconds of the output; ``end`` is None for the last one."""

    index: int
    begin: Fraction
    end: Fraction | None

    def holds(self, at: Fraction) -> bool:
        """True for the time of a frame of this segment."""
        return (self.index == 0 or at >= self.begin) and (self.end is None or at < self.end)


def _not_joinable(target: str, options: VideoOptions) -> str | None:
    """An output whose segments cannot be joined, if there is one."""
    transparent = resolve_background(options.background, target, options.codec) == "transparent"
    named = ((target, transparent), (options.alpha, False), (options.foreground, False))
    return next((name for name, alpha in named if name is not None and not can_join(name, alpha)), None)


def can_be_cut(source: str, target: str, options: VideoOptions) -> bool:
    """True where a video may be worked on in segments: the others are worked on as a whole.

    Parameters
    ----------
    source, target : str
        Names of input and output.
    options : VideoOptions
    """
    animation = Path(source).suffix.lower() in STILL_SUFFIXES and animation_format(Path(source)) == "WEBP"
    return source != "-" and not animation and _not_joinable(target, options) is None


class SegmentedVideo:
    """A video that is worked on in segments, which stay in a folder beside the output until they are joined.

    One process at a time has it. What is done is found again by the next one.

    Parameters
    ----------
    source : str
        A file, an image sequence, or a URL that can be searched.
    target : str
        A video whose segments can be joined.
    options : VideoOptions
    seconds : float
        Length of a segment.
    local : str, optional
        Where the source is on this machine, if workers read it elsewhere.

    Raises
    ------
    ConfigError
        The output or the input cannot be cut; another run works on it; what is there was made by other options.
    SourceError, SinkError
    """

    def __init__(
        self, source: str, target: str, options: VideoOptions, seconds: float, local: str | None = None
    ) -> None:
        wrong = _not_joinable(target, options)
        if wrong is not None:
            raise ConfigError(f"segments of {wrong} cannot be joined; give .mp4, .mkv, .mov, or .webm without alpha")
        if source == "-":
            raise ConfigError("standard input cannot be read twice, as segments need; give a file")
        self.source, self.target, self.options = source, target, options
        self._local = local or source
        self._names = {"composite": target, "alpha": options.alpha, "foreground": options.foreground}
        outputs = [name for name in self._names.values() if name is not None]
        refuse_inputs({"the input": source, "the background": options.background}, outputs)
        for name in outputs:
            AtomicFile(Path(name), options.overwrite).check()
        self._length = Fraction(str(seconds))
        self._folder = Path(target).parent / f".{Path(target).name}.segments"
        self._plan(seconds)

    def _plan(self, seconds: float) -> None:
        with closing(open_source(self._local, read_options(self.options), tracks=False)) as source:
            shift, first, length = _place(source, self.options)
            self.total_frames = source.info.frame_count
        self._shift, self._first = shift, float(first)
        count = max(1, int(Fraction(str(length)) / self._length)) if length else 1
        edges = [number * self._length for number in range(count)]
        self.segments = [
            Segment(index, begin, edges[index + 1] if index + 1 < count else None) for index, begin in enumerate(edges)
        ]
        self._take_folder({"segment": float(seconds), **self._made_by()})

    def _made_by(self) -> dict[str, Any]:
        options = attrs.asdict(self.options)  # type: ignore[arg-type]
        kept = {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
        files = [fingerprint(name) for name in (self.source, self.options.background, self.options.model) if name]
        text = json.dumps([kept, files, self.source], sort_keys=True, default=str)
        return {"version": __version__, "job": hashlib.sha256(text.encode()).hexdigest()}

    def _take_folder(self, plan: dict[str, Any]) -> None:
        self._lock = take_folder(self._folder, ".lock", f"another run works on {self.target}; wait for it")
        try:
            there = _read(self._folder / _PLAN)
            if there is not None and there != plan:
                raise ConfigError(
                    f"{self._folder} holds segments of another job: the input, an option or the version of "
                    "streammatte was another; repeat that job, or remove the folder"
                )
            if there is None:
                _write(self._folder / _PLAN, plan)
            self._done = {}
            for segment in self.segments:
                facts = _read(self._folder / f"{segment.index:05d}.json")
                if facts is not None:
                    self._done[segment.index] = facts
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove incomplete segments and release the lock. Safe to call twice."""
        if self._lock.is_locked:
            for path in self._folder.glob(".*.part"):
                path.unlink(missing_ok=True)
            self._lock.release()
            if not any(self._folder.glob("[0-9]*.json")):
                shutil.rmtree(self._folder, ignore_errors=True)

    def waiting(self) -> list[Segment]:
        """The segments that are not done, in order."""
        return [segment for segment in self.segments if segment.index not in self._done]

    @property
    def frames(self) -> int:
        """Frames of the segments that are done."""
        return sum(facts["frames"] for facts in self._done.values())

    @property
    def media_seconds(self) -> float:
        """Seconds until which segments are done."""
        return max((facts["until"] for facts in self._done.values()), default=0.0)

    def job(self, segment: Segment, threads: int = 0) -> dict[str, Any]:
        """What :func:`work_segment` takes: JSON. ``threads`` are a worker's, where the options name no number."""
        options = self.options.replace(threads=self.options.threads or threads)
        names = {role: self._file(segment, role, name) for role, name in self._names.items() if name is not None}
        for path in names.values():
            remove_leftovers(path)
        facts: dict[str, Any] = {"index": segment.index, "shift": str(self._shift), "first": self._first}
        facts |= {"begin": str(segment.begin), "end": None if segment.end is None else str(segment.end)}
        background = resolve_background(self.options.background, self.target, self.options.codec)
        # Absolute: a worker on another machine has another folder.
        return {
            "source": self.source if "://" in self.source else str(Path(self.source).absolute()),
            "files": {role: str(path.absolute()) for role, path in names.items()},
            "options": attrs.asdict(options),  # type: ignore[arg-type]
            "background": str(Path(background).absolute()) if Path(background).is_file() else background,
            "segment": facts,
        }

    def _file(self, segment: Segment, role: str, name: str) -> Path:
        return self._folder / f"{segment.index:05d}.{role}{Path(name).suffix}"

    def end(self, segment: Segment, facts: dict[str, Any]) -> None:
        """A segment is done: its files are there."""
        _write(self._folder / f"{segment.index:05d}.json", facts)
        self._done[segment.index] = facts

    def join(self) -> Summary:
        """Write the outputs, remove the segments; returns what was done, in seconds of all workers together.

        Raises
        ------
        UnsupportedSourceError
            The video has no frame.
        TruncatedSourceError
            It breaks off; the part before is written.
        SinkError
        """
        parts = [segment for segment in self.segments if self._done[segment.index]["frames"]]
        broken = [facts["reason"] for _, facts in sorted(self._done.items()) if facts.get("reason")]
        if not parts:
            raise UnsupportedSourceError(broken[0] if broken else f"{self.source} holds no frame")
        sinks: list[JoinSink] = []

        def open_target(name: str, encode: EncodeOptions) -> Sink:
            role = next(role for role, path in self._names.items() if path == name)
            sinks.append(JoinSink(Path(name), encode, [SegmentFile(self._file(part, role, name)) for part in parts]))
            return sinks[-1]

        background = resolve_background(self.options.background, self.target, self.options.codec)
        outputs = build_outputs(self.target, self.options, background, open_target=open_target)
        source = open_source(self._local, read_options(self.options))
        try:
            outputs.open(oriented_source(source, self.options.flip, self.options.rotate).info)
            tracks = source.info.tracks
            carried = isinstance(source, FileSource) and tracks is not None and bool(tracks.streams)
            reached = source.tracks_alone() if carried and isinstance(source, FileSource) else iter(())
            _write_all(sinks, reached)
            outputs.drain()
            outputs.close()
        except BaseException:
            outputs.abort()
            raise
        finally:
            source.close()
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        info = outputs.info or source.info
        seconds = sum(facts["seconds"] for facts in self._done.values())
        summary = Summary(
            frames=self.frames,
            seconds=seconds,
            media_seconds=self.media_seconds - self._first,
            fps=self.frames / max(seconds, 1e-9),
            drops=0,
            width=info.width,
            height=info.height,
            output_bytes=outputs.size(),
            outputs=tuple(outputs.names()),
        )
        if broken:
            error = TruncatedSourceError(broken[0])
            error.summary = summary
            raise error
        return summary


def _write_all(sinks: list[JoinSink], reached: Iterator[Fraction]) -> None:
    """Write the first sink, whose audio is read as far as its packets have come, then the others."""
    image, *others = sinks
    there: Fraction | None = next(reached, None)
    for at in image.write():
        while there is not None and there < at:
            there = next(reached, None)
    while there is not None:
        there = next(reached, None)
    for sink in others:
        for _ in sink.write():
            pass


def _place(source: Source, options: VideoOptions) -> tuple[Fraction, Fraction, float | None]:
    """The shift of a source's times, its first frame's time after that, and the length. Raises ConfigError."""
    if isinstance(source, FileSource):
        return source.shift, source.first_pts * source.info.time_base, source.length
    if isinstance(source, ImageSource):
        return round((options.start or 0) * float(source.rate)) / source.rate, Fraction(0), source.info.duration
    raise ConfigError(f"{source.info.name} cannot be cut into segments; give a video or images")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SinkError(f"{path} cannot be read ({error}); remove it and run again") from error
    return found if isinstance(found, dict) else None


def _write(path: Path, facts: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(facts), encoding="utf-8")


class _Window:
    """A compositor that gives the composites of a segment only."""

    def __init__(self, inner: Compositor, segment: Segment) -> None:
        self._inner, self._segment = inner, segment
        self.until = 0.0

    def process(self, item: Matte) -> list[Composite]:
        return self._inside(self._inner.process(item))

    def drain(self) -> list[Composite]:
        return self._inside(self._inner.drain())

    def _inside(self, made: list[Composite]) -> list[Composite]:
        kept = [item for item in made if self._segment.holds(item.frame.pts * item.frame.time_base)]
        for item in kept:
            self.until = item.frame.time + float(item.frame.duration * item.frame.time_base)
        return kept

    def reset(self) -> None:
        self._inner.reset()

    def interrupt(self) -> None:
        self._inner.interrupt()

    def close(self) -> None:
        self._inner.close()


def work_segment(
    job: dict[str, Any],
    matter_for: Callable[[Source, VideoOptions], Matter],
    on_progress: Callable[[Progress], None] | None = None,
    on_start: Callable[[Pipeline], None] = lambda _: None,
) -> dict[str, Any]:
    """Do a segment.

    Parameters
    ----------
    job : dict
        Of :meth:`SegmentedVideo.job`.
    matter_for : callable
        Returns the matting stage for a source.
    on_progress : callable, optional
    on_start : callable, optional
        Called with the pipeline before it runs.

    Returns
    -------
    dict
        ``frames``, ``seconds`` of work, ``until`` which time the segment reaches, and the ``reason`` why the video
        breaks off in it, or ``""``. No frames and no files where the video has none there.

    Raises
    ------
    StreammatteError
    """
    facts = job["segment"]
    segment = Segment(facts["index"], Fraction(facts["begin"]), facts["end"] and Fraction(facts["end"]))
    began, until = time.monotonic(), 0.0
    try:
        window, pipeline = _pipeline(job, segment, matter_for, on_progress)
        on_start(pipeline)
        frames, reason = pipeline.run().frames, ""
        until = window.until
    except TruncatedSourceError as error:
        if error.summary is None:
            raise
        frames, reason, until = error.summary.frames, str(error), window.until
    except (BeyondEndError, UnsupportedSourceError) as error:
        if segment.index == 0:
            raise
        broken = error.__cause__ if isinstance(error, NoFrameError) else error
        frames, reason = 0, "" if broken is None or isinstance(error, BeyondEndError) else str(broken)
    return {"frames": frames, "seconds": time.monotonic() - began, "until": until, "reason": reason}


def _pipeline(
    job: dict[str, Any],
    segment: Segment,
    matter_for: Callable[[Source, VideoOptions], Matter],
    on_progress: Callable[[Progress], None] | None,
) -> tuple[_Window, Pipeline]:
    given, files = VideoOptions.build(job["options"]), job["files"]
    options = given.replace(alpha=files.get("alpha"), foreground=files.get("foreground"), overwrite=True, audio=False)
    opened = _open(job, segment, options)
    try:
        matter = matter_for(opened, options)
        compositor = build_compositor(options, job["background"], opened.info, begin=job["segment"]["first"])
    except BaseException:
        opened.close()
        raise
    window = _Window(compositor, segment)
    outputs = build_outputs(
        files["composite"], options, job["background"], open_target=lambda name, how: SegmentSink(Path(name), how)
    )
    closing = (compositor.close,)
    return window, Pipeline(opened, matter, window, outputs, on_progress=on_progress, closing=closing)


def _open(job: dict[str, Any], segment: Segment, options: VideoOptions) -> Source:
    """The frames of a segment and those around it."""
    shift = Fraction(job["segment"]["shift"])
    first = None if options.start is None else Fraction(str(options.start))
    last = None if options.duration is None else (first or 0) + Fraction(str(options.duration))
    warm = _WARM_LIGHT if options.match_light else _WARM
    begin = first if segment.index == 0 else max(segment.begin + shift - warm, first or Fraction(0))
    end = last
    if segment.end is not None:
        behind = segment.end + shift + warm
        end = behind if last is None else min(last, behind)
    part = {"start": begin, "duration": None if end is None else end - (begin or 0), "shift": shift}
    return build_source(job["source"], options, **part)
