"""The three steps of a live session, each the body of one thread: read, matte, composite."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import U8, Frame, Matte
from streammatte.live.matting import LiveMatter
from streammatte.live.privacy_guard import USER, PrivacyGuard
from streammatte.live.scenes import Scenes
from streammatte.live.settings import LiveSettings, SettingsStore
from streammatte.live.status import RateMeter
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import LiveSource
from streammatte.queues import BoundedQueue
from streammatte.sources.orientation import Orientation, oriented_frame

__all__ = ["LiveStages"]

_log = logging.getLogger(__name__)

MAX_FAILURES = 30
"""Frames in a row without a matte after which the session ends: about a second of a network that is broken for good."""
_WAIT = 0.02
"""Seconds between two looks at whether the session ends while the network is not warm."""


class LiveStages:
    """From a source to the guard.

    Parameters
    ----------
    source : LiveSource
    make_matter : callable
        Returns the LiveMatter; called in the matting thread, since compiling takes a while.
    scenes : Scenes
    store : SettingsStore
    guard : PrivacyGuard
    rotated : int
        Degrees of the setting ``rotate`` that the source applies by itself.
    """

    def __init__(
        self,
        source: LiveSource,
        make_matter: Callable[[], LiveMatter],
        scenes: Scenes,
        store: SettingsStore,
        guard: PrivacyGuard,
        rotated: int = 0,
    ) -> None:
        self._source = source
        self._make_matter = make_matter
        self._scenes = scenes
        self._store = store
        self._guard = guard
        self._rotated = rotated
        self._captured: BoundedQueue[Frame] = BoundedQueue(1, "drop_oldest")
        self._matted: BoundedQueue[Matte] = BoundedQueue(1)
        self._stopping = threading.Event()
        self._failures = 0
        self._lock = threading.Lock()
        self._cold = {"matting", "compositing"}
        self.warm = threading.Event()
        self.done = threading.Event()
        self.matter: LiveMatter | None = None
        self.warm_since: float | None = None
        self.shown = 0
        self.rate = RateMeter()

    @property
    def drops(self) -> int:
        """Frames that a newer one overtook: the only place where frames are dropped."""
        return self._captured.drops

    def bodies(self) -> list[tuple[str, Callable[[], None]]]:
        """Names and bodies of the threads."""
        return [("reader", self._read), ("matting", self._matte), ("compositing", self._composite)]

    def abort(self) -> None:
        """End every body soon; safe from any thread."""
        self._stopping.set()
        self._source.interrupt()
        self._scenes.interrupt()
        self._captured.abort()
        self._matted.abort()

    def warmed(self) -> bool:
        """Wait until the network is warm; False where the session ends before."""
        while not self.warm.wait(_WAIT):
            if self._stopping.is_set():
                return False
        return True

    def follow(self) -> None:
        """Engage or release the guard by the settings."""
        wanted = self._store.current.hold
        if wanted != (USER in self._guard.reasons):
            if wanted:
                self._guard.engage(USER)
            else:
                self._guard.release(USER)

    def _read(self) -> None:
        try:
            if not self.warmed():
                return
            for frame in self._source.frames():
                if self._stopping.is_set():
                    break
                if frame.captured is None:
                    frame.captured = time.monotonic()
                self._guard.anchor(frame)
                self._captured.put(_shaped(frame, self._store.current, self._rotated))
        finally:
            self._captured.close()
            self._source.close()

    def _matte(self) -> None:
        matter = self._make_matter()
        try:
            matter.warm(self._source.info)
            self.matter = matter
            self._ready("matting")
            while taken := self._captured.get_batch():
                matte = self._try_matte(matter, taken.pop())
                if matte is not None:
                    self._matted.put(matte)
        finally:
            self._matted.close()
            matter.close()

    def _ready(self, part: str) -> None:
        """The source's clock starts when every stage has compiled what it needs."""
        with self._lock:
            self._cold.discard(part)
            if self._cold or self.warm.is_set():
                return
        self.warm_since = time.monotonic()
        self.warm.set()

    def _try_matte(self, matter: LiveMatter, frame: Frame) -> Matte | None:
        try:
            return matter.process(frame, self._store.current, self._captured.drops)
        except Exception as error:  # whatever a network raises, the room stays hidden
            self._refuse(error, frame)
            matter.reset()
            return None

    def _composite(self) -> None:
        self._scenes.prepare(self._source.info)
        self._guard.set_hold(self._scenes.hold(self._store.current))
        self._ready("compositing")
        while taken := self._matted.get_batch():
            settings = self._store.current
            self._guard.set_hold(self._scenes.hold(settings))
            self.follow()
            matte = taken.pop()
            try:
                self._guard.admit(matte, self._scenes.compose(matte, settings))
            except Exception as error:  # whatever a compositor raises, the room stays hidden
                self._refuse(error, matte.frame)
                continue
            self._failures = 0
            self.shown += 1
            self.rate.count(time.monotonic())
        self.done.set()

    def _refuse(self, error: Exception, frame: Frame) -> None:
        """A frame has no image that may be shown: show the placeholder, and end the session where that goes on."""
        self._failures += 1
        (_log.error if self._failures == 1 else _log.debug)("frame %d is not shown: %s", frame.index, error)
        _log.debug("traceback", exc_info=error)
        self._guard.engage("model", since=frame.captured)
        if self._failures >= MAX_FAILURES:
            raise ModelError(f"{self._failures} frames in a row could not be matted: {error}") from error


def _shaped(frame: Frame, settings: LiveSettings, rotated: int = 0) -> Frame:
    """The frame rotated, cropped and flipped by the settings, at its own size."""
    turn = (int(settings.rotate) - rotated) % 360
    if turn:
        target = Target.of(frame)
        turned = oriented_frame(frame, Orientation.from_options("none", str(turn)))
        fits = Target.of(turned) == target
        fitted = turned.planes if fits else convert_planes(turned, target, "contain")
        frame = replace(frame, planes=fitted, owner=None)
    if settings.crop is not None:
        planes = _part(frame, settings.crop)
        if planes is not None:
            target = Target.of(frame)
            frame = replace(frame, planes=convert_planes(replace(frame, planes=planes), target, "cover"), owner=None)
    if settings.flip != "none":
        frame = replace(oriented_frame(frame, Orientation.from_options(settings.flip, "0")), captured=frame.captured)
    return frame


def _part(frame: Frame, box: tuple[int, int, int, int]) -> tuple[U8, ...] | None:
    """A box of the planes, its edges on whole chroma samples; None where it holds nothing of the image."""
    rows, columns = frame.layout.chroma_shift if frame.layout.is_yuv else (0, 0)
    left, top = box[0] >> columns << columns, box[1] >> rows << rows
    right, bottom = min(frame.width, box[0] + box[2]), min(frame.height, box[1] + box[3])
    if right - left < 2 << columns or bottom - top < 2 << rows:
        return None
    chroma = np.s_[top >> rows : -(-bottom >> rows), left >> columns : -(-right >> columns)]
    return tuple(
        plane[np.s_[top:bottom, left:right] if not index else chroma] for index, plane in enumerate(frame.planes)
    )
