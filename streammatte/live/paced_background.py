"""A video background that never delays the camera: decoded and scaled ahead in a thread of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from streammatte.compositing import Background
from streammatte.errors import StreammatteError
from streammatte.frames import U8, Matte

__all__ = ["PacedBackground"]

_log = logging.getLogger(__name__)


RATE = 30.0
"""Images a second that are made ready at most."""
CATCH_UP = 0.1
"""Seconds of the video that one image may cover: where decoding is slower than the camera, the video is slower too."""
UNUSED = 1.0
"""Seconds without a request after which the thread waits."""
_LOWER_PRIORITY = 5
"""Nice value added to the thread (Linux): the network goes first."""


class PacedBackground:
    """Runs a video background by the wall clock.

    Parameters
    ----------
    video : Background
        Used by the thread of this object alone.
    clock : callable
        As ``time.monotonic``.
    """

    def __init__(self, video: Background, clock: Callable[[], float] = time.monotonic) -> None:
        self._video = video
        self._clock = clock
        self._model: Matte | None = None
        self._ready: tuple[U8, ...] | None = None
        self._asked = float("-inf")
        self._again = False
        self._wake = threading.Condition()
        self._decoding = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.slow = 0.0
        """Seconds that the video stayed behind its own clock."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The newest image that is ready; only the very first is waited for."""
        if self._ready is None or self._model is None or not _alike(self._model, matte):
            self._begin(matte)
        with self._wake:
            self._asked = self._clock()
            self._wake.notify()
            if self._ready is None:
                raise StreammatteError("the background video gave no image")
            return self._ready

    def reset(self) -> None:
        """Start the video again."""
        with self._wake:
            self._again = True

    def interrupt(self) -> None:
        """Wait for no server any longer. Safe from any thread."""
        self._video.interrupt()

    def close(self) -> None:
        """End the thread and close the video. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._video.interrupt()
        if self._thread is not None:
            self._thread.join(2.0)
        self._video.close()

    def _begin(self, matte: Matte) -> None:
        """The first image of a size, in the caller's thread."""
        with self._decoding, self._wake:
            self._model = _moment(matte, 0.0)
            self._ready = self._video.planes(self._model)
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="live-background", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWER_PRIORITY)
        shown, before = 0.0, self._clock()
        while True:
            with self._wake:
                while not self._closed and self._clock() - self._asked > UNUSED:
                    self._wake.wait()
                    before = self._clock()
                if self._closed or self._model is None:
                    return
                again, self._again = self._again, False
            now = self._clock()
            elapsed, before = now - before, now
            self.slow += max(0.0, elapsed - CATCH_UP)
            shown = 0.0 if again else shown + min(elapsed, CATCH_UP)
            try:
                with self._decoding:
                    model = self._model
                    if again:
                        self._video.reset()
                    ready = self._video.planes(_moment(model, shown))
            except StreammatteError as error:
                _log.warning("the background video stands still: %s", error)
                return
            with self._wake:
                if model is self._model:
                    self._ready = ready
            time.sleep(max(0.0, 1 / RATE - (self._clock() - now)))


def _moment(matte: Matte, seconds: float) -> Matte:
    """A matte of the same size and layout at another time."""
    frame = matte.frame
    return replace(matte, frame=replace(frame, pts=round(seconds / frame.time_base), owner=None))


def _alike(one: Matte, other: Matte) -> bool:
    a, b = one.frame, other.frame
    return (a.width, a.height, a.layout, a.color) == (b.width, b.height, b.layout, b.color)
