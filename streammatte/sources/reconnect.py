"""A camera or a network stream that may go away and come back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from streammatte.errors import StreammatteError
from streammatte.frames import Frame
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import Source

__all__ = ["ReconnectingSource", "nothing"]

_log = logging.getLogger(__name__)

FIRST_WAIT = 0.5
"""Seconds before the first attempt to open a lost source again; the contacts of a loose plug bounce for about that
long."""
LONGEST_WAIT = 5.0
"""The wait doubles with every attempt up to this many seconds, so that a server is not overloaded."""


class ReconnectingSource:
    """Keeps a live source's timeline and frame size across reconnections.

    Parameters
    ----------
    open_source : callable
        Opens the source; raises StreammatteError while it is not there.
    longest_wait : float
        Seconds between two attempts at most.
    clock : callable
        As ``time.monotonic``.

    Attributes
    ----------
    on_lost : callable
        Called in the reader's thread when the source is gone, before anything else happens.
    reconnects : int
        How often it came back.

    Notes
    -----
    The first opening raises: a camera that is not there at the start is a mistake, not a break. Afterwards times
    continue by the capture clock, and frames of another size or layout are converted to the first one.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        longest_wait: float = LONGEST_WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_source
        self._longest_wait = longest_wait
        self._clock = clock
        self._source: Source | None = open_source()
        self._stopped = threading.Event()
        self._last: Frame | None = None
        self._shift: int | None = 0
        self.info = self._source.info
        self.on_lost: Callable[[], None] = nothing
        self.reconnects = 0

    def frames(self) -> Iterator[Frame]:
        """Frames until ``interrupt``; during an interruption of the source it waits."""
        index = 0
        while not self._stopped.is_set() and self._source is not None:
            try:
                for frame in self._source.frames():
                    yield self._placed(frame, index)
                    index += 1
                    if self._stopped.is_set():
                        return
                reason = "it ended"
            except OSError as error:  # SourceError is one
                reason = str(error)
            self.on_lost()
            _log.warning("%s is gone (%s); waiting for it to come back", self.info.name, reason)
            self._reconnect()

    def interrupt(self) -> None:
        """End ``frames`` soon; safe from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Release the source."""
        self._stopped.set()
        if self._source is not None:
            self._source.close()
            self._source = None

    def _reconnect(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        wait = FIRST_WAIT
        while not self._stopped.wait(min(wait, self._longest_wait)):
            try:
                self._source = self._open()
            except StreammatteError as error:
                _log.debug("%s is not back: %s", self.info.name, error)
                wait = min(2 * wait, self._longest_wait)
                continue
            self._shift = None
            self.reconnects += 1
            new = self._source.info
            _log.warning("%s is back (%dx%d)", self.info.name, new.width, new.height)
            return

    def _placed(self, frame: Frame, index: int) -> Frame:
        captured = self._clock() if frame.captured is None else frame.captured
        pts = round(frame.pts * frame.time_base / self.info.time_base)
        if self._shift is None and self._last is not None and self._last.captured is not None:
            passed = round((captured - self._last.captured) / self.info.time_base)
            self._shift = self._last.pts + max(1, passed) - pts
        same = Target.of(frame) == Target.of(self.info)
        planes = frame.planes if same else convert_planes(frame, Target.of(self.info), "contain")
        color, layout = self.info.color, self.info.layout
        placed = Frame(planes, layout, pts + (self._shift or 0), self.info.time_base, color, index, captured=captured)
        placed.duration = round(frame.duration * frame.time_base / self.info.time_base)
        placed.owner = frame.owner
        self._last = placed
        return placed


def nothing() -> None:
    """What ``on_lost`` is until a session sets it."""
