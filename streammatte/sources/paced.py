"""A video at its own pace, as if it came from a camera."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from streammatte.errors import ConfigError, TruncatedSourceError
from streammatte.frames import Frame
from streammatte.protocols import Source
from streammatte.sources.reconnect import nothing

__all__ = ["PacedSource"]

_log = logging.getLogger(__name__)

LOST = 2.0
"""Seconds behind its own clock from which a video's clock is reset: the machine was suspended, or the disk was slow."""


class PacedSource:
    """Delivers the frames of any source when they are due. The clock starts with the first call of ``frames``.

    Parameters
    ----------
    open_source : callable
        Returns the source at its beginning; called once, and again for every turn of a loop.
    loop : bool
        Begin again at the end; times go on.
    repeat_last : bool
        Go on for ever with the last frame, at the source's rate: how a still image is a camera.
    duration : float, optional
        Seconds after which the source ends.

    Notes
    -----
    ``captured`` is the moment at which the frame is due. A reader that comes late finds it in its latency.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        loop: bool = False,
        repeat_last: bool = False,
        duration: float | None = None,
    ) -> None:
        if duration is not None and duration <= 0:
            raise ConfigError(f"duration must be above 0 seconds, got {duration:g}")
        self._open = open_source
        self._source = open_source()
        self._loop = loop
        self._repeat_last = repeat_last
        self._duration = duration
        self._stopped = threading.Event()
        self.on_lost = nothing
        self.info = replace(self._source.info, frame_count=None, duration=duration, tracks=None)

    def frames(self) -> Iterator[Frame]:
        """Frames with ``captured``, each no earlier than it is due."""
        start = zero = 0.0
        first = True
        for frame in self._turns():
            if first:
                start, zero, first = time.monotonic(), frame.time, False
            if self._duration is not None and frame.time - zero >= self._duration:
                return
            due = start + frame.time - zero
            wait = due - time.monotonic()
            if wait > 0 and self._stopped.wait(wait):
                return
            if self._stopped.is_set():
                return
            if wait < -LOST:
                _log.info("%s is %.1f s behind its own time; its clock is reset", self.info.name, -wait)
                start -= wait
                due -= wait
            frame.captured = due
            yield frame

    def interrupt(self) -> None:
        """End ``frames`` soon; safe from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Close the video."""
        self._stopped.set()
        self._source.close()

    def _turns(self) -> Iterator[Frame]:
        base = self.info.time_base
        step = max(1, round(1 / ((self.info.rate or 25) * base)))
        index, offset = 0, 0
        while True:
            last = None
            origin: int | None = None
            try:
                for frame in self._source.frames():
                    origin = frame.pts if origin is None else origin
                    # The first turn keeps the video's own times; the next go on where the one before ended.
                    frame.pts += offset
                    frame.index = index
                    index += 1
                    last = frame
                    yield frame
            except TruncatedSourceError:
                if not self._loop:
                    raise
            if last is None or origin is None:
                return
            if self._repeat_last:
                yield from self._for_ever(last, step)
                return
            if not self._loop:
                return
            offset = last.pts + (last.duration or step) - origin
            self._source.close()
            self._source = self._open()

    def _for_ever(self, frame: Frame, step: int) -> Iterator[Frame]:
        while not self._stopped.is_set():
            frame = replace(frame, pts=frame.pts + step, index=frame.index + 1)
            yield frame
