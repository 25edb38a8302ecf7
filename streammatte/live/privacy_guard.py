"""The only way to the sinks: they get a composite with its own matte, or the placeholder frame, and nothing else.

Fails closed: with no matte yet, an impossible matte, a stage that stalls or a camera that is gone, the placeholder
frame is shown.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import Composite, Frame, Matte

__all__ = ["HOLD_RATE", "STALE_AFTER", "PrivacyGuard", "Shown"]

_log = logging.getLogger(__name__)

STALE_AFTER = 1.0
"""Seconds without a new composite after which the placeholder frame is shown."""
HOLD_RATE = 10.0
"""Placeholder frames a second while nothing else comes; meeting programs report a camera as failed below a few."""
MAX_COVERED = 0.985
"""A matte with a larger share of foreground than this counts as broken: it would show the whole room."""
MAX_GAINED = 0.4
"""Share of the frame that refinement and controls may add to a matte; ``edge`` 5 adds 0.06 at 320x180."""
USER = "user"
"""The one reason to hold that a new composite does not lift."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on its way to the sinks. Made by the guard alone.

    ``held`` is true for the placeholder frame. ``timed`` is False for placeholder frames outside the stream's time
    (before the first frame, after the last): a recording leaves them out.
    """

    frame: Frame
    held: bool = False
    timed: bool = True


class PrivacyGuard:
    """Decides, for every moment, between the composite and the placeholder frame. Thread-safe.

    Parameters
    ----------
    send : callable
        Takes what is shown; must not block.
    hold : Frame, optional
        The placeholder frame at the stream's size and layout. Until there is one, nothing is shown at all.
    stale_after : float
        Seconds, see :data:`STALE_AFTER`.
    clock : callable
        Returns seconds as ``time.monotonic`` does.
    """

    def __init__(
        self,
        send: Callable[[Shown], None],
        hold: Frame | None = None,
        *,
        stale_after: float = STALE_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._hold = hold
        self._stale_after = stale_after
        self._clock = clock
        self._lock = threading.Lock()
        self._reasons: dict[str, float] = {"starting": clock()}
        self._fresh = clock()
        self._sent = float("-inf")
        self._anchor: tuple[int, Fraction, float] | None = None
        self._first = float("inf")
        self._admitted = False
        self.held_frames = 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the placeholder frame is shown now; empty while the camera is."""
        return tuple(self._reasons)

    def set_hold(self, image: Frame) -> None:
        """Use another placeholder frame (of the same size and layout) from now on."""
        with self._lock:
            if image is self._hold:
                return
            self._hold = image
            if self._reasons:
                self._show_hold(self._clock())

    def anchor(self, frame: Frame) -> None:
        """Set the stream's time: a frame was captured. Placeholder frames are dated by it."""
        captured = self._clock() if frame.captured is None else frame.captured
        self._first = min(self._first, captured)
        self._anchor = (frame.pts, frame.time_base, captured)

    def engage(self, reason: str, since: float | None = None) -> None:
        """Show the placeholder frame, at once; only a composite of a frame captured after ``since`` (now) lifts it."""
        with self._lock:
            known = reason in self._reasons
            now = self._clock()
            self._reasons[reason] = now if since is None else since
            if not known:
                self._show_hold(now if since is None else min(since, now))

    def release(self, reason: str) -> None:
        """Take one reason away."""
        with self._lock:
            self._reasons.pop(reason, None)

    def admit(self, matte: Matte, composite: Composite) -> bool:
        """Show a composite, or the placeholder frame in its place while a reason stands; True for the composite.

        Raises
        ------
        ModelError
            The matte cannot be one, or the image is the camera's own. Nothing was shown.
        """
        self._examine(matte, composite)
        image = composite.frame
        captured = self._clock() if image.captured is None else image.captured
        with self._lock:
            self._fresh = self._clock()
            self._admitted = True
            for reason in [name for name, since in self._reasons.items() if name != USER and captured > since]:
                del self._reasons[reason]
            held = bool(self._reasons)
            if held and self._hold is not None:
                image = replace(self._hold, pts=image.pts, time_base=image.time_base, captured=None)
            if not held or self._hold is not None:
                self._deliver(Shown(image, held))
        return not held

    def tick(self) -> None:
        """Look for a stall and keep the placeholder frame alive; call it many times a second."""
        with self._lock:
            now = self._clock()
            if now - self._fresh > self._stale_after and not self._reasons:
                self._reasons["stalled"] = now
                _log.warning("no new image for %.1f s: the placeholder frame is shown", now - self._fresh)
                self._show_hold(now)
            elif self._reasons and now - self._sent >= 1 / HOLD_RATE:
                self._show_hold(now)

    def finish(self) -> None:
        """The session ends: the last image that stays in a camera is the placeholder frame."""
        with self._lock:
            self._reasons["ended"] = float("inf")
            if self._hold is not None:
                self._deliver(Shown(self._hold, held=True, timed=False))

    def _show_hold(self, moment: float) -> None:
        """The placeholder frame, dated as a frame that was captured at ``moment``."""
        if self._hold is None:
            return
        # The first composite is awaited before anything is dated: it would come too late behind its own placeholder
        # frame.
        waiting = not self._admitted and moment - self._first < self._stale_after
        if self._anchor is None or waiting:
            self._deliver(Shown(self._hold, held=True, timed=False))
            return
        pts, time_base, captured = self._anchor
        late = round((moment - captured) / time_base)
        self._deliver(Shown(replace(self._hold, pts=pts + late, time_base=time_base, captured=None), held=True))

    def _deliver(self, shown: Shown) -> None:
        self._sent = self._clock()
        self.held_frames += shown.held
        self._send(shown)

    @staticmethod
    def _examine(matte: Matte, composite: Composite) -> None:
        frame = matte.frame
        if matte.alpha.shape != (frame.height, frame.width):
            raise ModelError(f"the matte is {matte.alpha.shape}, its frame {(frame.height, frame.width)}: not shown")
        if not bool(np.isfinite(matte.small_alpha).all()):
            raise ModelError("the network gave a matte with values that are no numbers: not shown")
        if matte.alpha.dtype != np.uint8:
            raise ModelError(f"the matte is {matte.alpha.dtype}, not uint8: not shown")
        seen, shown = float(matte.small_alpha.mean()), cv2.mean(matte.alpha)[0] / 255
        if max(seen, shown) > MAX_COVERED:
            raise ModelError(
                f"the matte calls {max(seen, shown):.1%} of the frame a person: taken for broken, not shown"
            )
        if shown - seen > MAX_GAINED:
            raise ModelError(f"the matte grew from {seen:.1%} to {shown:.1%} of the frame: taken for broken, not shown")
        if any(np.may_share_memory(shown, taken) for shown in composite.frame.planes for taken in frame.planes):
            raise ModelError("the compositor gave the camera's own image back: not shown")
