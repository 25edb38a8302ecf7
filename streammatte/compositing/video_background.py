"""Looping video backgrounds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

from streammatte.errors import BackgroundError, SourceError
from streammatte.frames import U8, Frame, Matte
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import Source
from streammatte.runtime import in_background

__all__ = ["VideoBackground"]

log = logging.getLogger(__name__)


_SLACK = 1e-6
"""Seconds by which two presentation times may differ and still be the same."""

_FRAME = 1 / 25
"""Seconds that a last frame is shown where neither it nor its video has a duration."""


class _Loop:
    """The frames of a video with their times, from its beginning again at its end, without end."""

    def __init__(self, open_video: Callable[[], Source]) -> None:
        self._open = open_video
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._begin = 0.0
        self._first = 0.0
        self._last: Frame
        self._stopped = threading.Event()

    @property
    def sample_aspect(self) -> Fraction:
        """Width over height of the video's pixels."""
        return self._source.info.sample_aspect_ratio if self._source is not None else Fraction(1)

    def first(self) -> Frame:
        """Open the video and give its first frame, whose time is 0."""
        self._last = self._rewind()
        return self._last

    def next(self, wanted: float) -> tuple[float, Frame] | None:
        """The next frame and its time; loops that end before ``wanted`` are left out. None where there is but one."""
        frame = self._read()
        if frame is None:
            length = self._last.time - self._first
            if length <= 0:
                return None
            length += self._last_stands()
            self._begin += length * max(1, int((wanted - self._begin) / length))
            try:
                frame = self._rewind()
            except (SourceError, BackgroundError) as error:
                log.warning("the background video cannot be opened again and stands still: %s", error)
                return None
        self._last = frame
        return self._begin + frame.time - self._first, frame

    def _last_stands(self) -> float:
        """Seconds that the last frame is shown."""
        rate = self._source.info.rate if self._source is not None else None
        return float(self._last.duration * self._last.time_base) or float(1 / rate if rate else 0) or _FRAME

    def interrupt(self) -> None:
        """End the wait for a server; safe from any thread."""
        self._stopped.set()

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _read(self) -> Frame | None:
        try:
            return next(self._frames, None)
        except SourceError as error:
            log.warning("the background video broke off and starts again: %s", error)
            return None

    def _rewind(self) -> Frame:
        self.close()
        self._source = in_background(self._open, lambda late: late.close(), self._stopped)
        if self._source is None:
            raise SourceError("the video ends")
        self._frames = self._source.frames()
        frame = self._read()
        if frame is None:
            name = self._source.info.name or "video"
            self.close()
            raise BackgroundError(f"the background {name} has no readable frame; give another file")
        self._first = frame.time
        return frame


class VideoBackground:
    """A looping video background, shown at its own rate.

    Parameters
    ----------
    open_video : callable
        Returns the source at its beginning each time.
    fit : {"cover", "contain", "stretch"}
    sample_aspect : Fraction
        Width over height of the pixels of the video in front.
    begin : float, optional
        Time of the video in front, seconds, at which this one starts; that of its first frame by default.

    Raises
    ------
    BackgroundError
        Where no frame can be read.
    """

    def __init__(
        self,
        open_video: Callable[[], Source],
        fit: str = "cover",
        sample_aspect: Fraction = Fraction(1),
        begin: float | None = None,
    ) -> None:
        self._open = open_video
        self._fit = fit
        self._sample_aspect = sample_aspect
        self._given = begin
        self._begin: float | None = None
        self._converted: tuple[Frame, Target, tuple[U8, ...]] | None = None
        self._shown: Frame
        self._following: tuple[float, Frame] | None
        self._loop: _Loop
        self._start()

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The frame that the video shows at the foreground's time since its first frame."""
        time = matte.frame.time
        if self._begin is None:
            self._begin = time
        elif time < self._begin:
            self.reset()
            self._begin = time
        self._advance(time - self._begin)
        target = Target.of(matte.frame)
        if self._converted is None or self._converted[0] is not self._shown or self._converted[1] != target:
            aspect = self._sample_aspect / self._loop.sample_aspect
            self._converted = (self._shown, target, convert_planes(self._shown, target, self._fit, aspect))
        return self._converted[2]

    def reset(self) -> None:
        """Start the video again."""
        self.close()
        self._start()

    def interrupt(self) -> None:
        """Stop waiting for a server; the last frame stays. Safe from any thread."""
        self._loop.interrupt()

    def close(self) -> None:
        """Close the video."""
        self._loop.close()

    def _start(self) -> None:
        self._begin = self._given
        self._converted = None
        self._loop = _Loop(self._open)
        self._shown = self._loop.first()
        self._following = self._loop.next(0.0)

    def _advance(self, time: float) -> None:
        """Show the last frame whose time has come."""
        while self._following is not None and self._following[0] <= time + _SLACK:
            self._shown = self._following[1]
            self._following = self._loop.next(time)
