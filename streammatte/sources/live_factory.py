"""Whatever --camera names: a camera, a network stream, a video or an image at its own pace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from streammatte.frames import Frame, StreamInfo
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import Source
from streammatte.sources.camera import open_camera
from streammatte.sources.factory import is_url, reopener
from streammatte.sources.images import IMAGE_SUFFIXES
from streammatte.sources.paced import PacedSource
from streammatte.sources.read_options import ReadOptions
from streammatte.sources.reconnect import ReconnectingSource

__all__ = ["open_live_source"]

_log = logging.getLogger(__name__)

DEFAULT_RATE = 30.0
"""Frames a second of a still image, and what a camera is asked for."""


def open_live_source(
    spec: str,
    *,
    width: int | None = None,
    height: int | None = None,
    rate: float | None = None,
    loop: bool = False,
    duration: float | None = None,
    timeout: float = 10.0,
) -> Any:
    """Open a live source.

    Parameters
    ----------
    spec : str
        Index, path or name of a camera; a URL (rtsp, rtmp, http ...); a video or an image, read at its own pace.
    width, height : int, optional
        Wanted size, both or none; videos and streams are scaled to it.
    rate : float, optional
        Wanted frames a second of a camera or an image; videos keep their own.
    loop : bool
        Videos begin again at their end.
    duration : float, optional
        Seconds after which a video or an image ends.
    timeout : float
        Seconds that a server may take.

    Raises
    ------
    DeviceError, SourceError
    """
    size = (width, height) if width and height else None
    path = Path(spec).expanduser()
    if is_url(spec):
        source = _network(spec, timeout, loop, duration)
    elif path.is_file() or path.is_dir() or "%" in spec:
        still = path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        opening = reopener(spec, ReadOptions(tracks=False, rate=rate or (DEFAULT_RATE if still else None)))
        source = PacedSource(opening, loop=loop, repeat_last=still, duration=duration)
    else:
        camera = partial(open_camera, spec, width=width, height=height, rate=rate or DEFAULT_RATE)
        return ReconnectingSource(camera)
    if size is not None and size != (source.info.width, source.info.height):
        return _Scaled(source, size)
    return source


def _network(url: str, timeout: float, loop: bool, duration: float | None) -> Any:
    # One decoder thread: each further frame thread would add a frame of delay.
    opening = reopener(url, ReadOptions(tracks=False, timeout=timeout, threads=1))
    first = opening()
    if first.info.duration is not None:
        _log.info("%s has an end: it is played at its own pace", first.info.name)
        return PacedSource(_first_then(first, opening), loop=loop, duration=duration)
    return ReconnectingSource(_first_then(first, opening))


def _first_then(first: Source, opening: Any) -> Any:
    """An opener that gives what is open already, and opens anew from the second call on."""
    ready = [first]
    return lambda: ready.pop() if ready else opening()


class _Scaled:
    """A source at another size."""

    def __init__(self, source: Any, size: tuple[int, int]) -> None:
        self._source = source
        self.info: StreamInfo = replace(source.info, width=size[0], height=size[1])
        self._target = Target.of(self.info)

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            yield replace(frame, planes=convert_planes(frame, self._target, "contain"), owner=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # ``on_lost`` belongs to the source inside.
        if name == "on_lost":
            setattr(self._source, name, value)
        else:
            object.__setattr__(self, name, value)
