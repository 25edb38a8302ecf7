"""Opens what ``--camera`` names: a camera, a network stream, a video or an image at its own pace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from streammatte.frames import Frame, StreamInfo
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import LiveSource, Source
from streammatte.sources.camera import open_camera
from streammatte.sources.factory import is_url, reopener
from streammatte.sources.images import IMAGE_SUFFIXES
from streammatte.sources.orientation import oriented_source
from streammatte.sources.paced import PacedSource
from streammatte.sources.read_options import ReadOptions
from streammatte.sources.reconnect import ReconnectingSource

__all__ = ["open_live_source"]

_log = logging.getLogger(__name__)

DEFAULT_RATE = 30.0
"""Frames a second of a still image, and the rate that is requested of a camera."""


def open_live_source(
    spec: str,
    *,
    width: int | None = None,
    height: int | None = None,
    rate: float | None = None,
    loop: bool = False,
    duration: float | None = None,
    timeout: float = 10.0,
    flip: str = "none",
    rotate: str = "0",
) -> LiveSource:
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
    flip, rotate : str
        As :func:`oriented_source` takes them; ``width`` and ``height`` are those before.

    Raises
    ------
    DeviceError, SourceError
    """
    size = (width, height) if width and height else None
    path = Path(spec).expanduser()

    def shaped(opening: Callable[[], Source]) -> Callable[[], Source]:
        return lambda: oriented_source(opening() if size is None else _Scaled(opening(), size), flip, rotate)

    if is_url(spec):
        # One decoder thread: each further frame thread would add a frame of delay.
        network = shaped(reopener(spec, ReadOptions(tracks=False, timeout=timeout, threads=1)))
        return _network(network, loop, duration)
    if path.is_file() or path.is_dir() or "%" in spec:
        still = path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        options = ReadOptions(tracks=False, rate=rate or (DEFAULT_RATE if still else None))
        return PacedSource(shaped(reopener(spec, options)), loop=loop, repeat_last=still, duration=duration)
    camera = partial(open_camera, spec, width=width, height=height, rate=rate or DEFAULT_RATE)
    return ReconnectingSource(lambda: oriented_source(camera(), flip, rotate))


def _network(opening: Callable[[], Source], loop: bool, duration: float | None) -> LiveSource:
    first = opening()
    if first.info.duration is not None:
        _log.info("%s has an end: it is played at its own pace", first.info.name)
        return PacedSource(_first_then(first, opening), loop=loop, duration=duration)
    return ReconnectingSource(_first_then(first, opening))


def _first_then(first: Source, opening: Callable[[], Source]) -> Callable[[], Source]:
    """An opener that returns the open source first, and opens it again from the second call on."""
    ready = [first]
    return lambda: ready.pop() if ready else opening()


class _Scaled:
    """A source fitted into another size."""

    def __init__(self, source: Source, size: tuple[int, int]) -> None:
        self._source = source
        self.info: StreamInfo = replace(source.info, width=size[0], height=size[1])
        self._target = Target.of(self.info)

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            same = Target.of(frame) == self._target
            yield frame if same else replace(frame, planes=convert_planes(frame, self._target, "contain"), owner=None)

    def close(self) -> None:
        self._source.close()
