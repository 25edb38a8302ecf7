"""Presentation times: taken as they are, repaired where a video has none, cut to a part of the video."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

__all__ = ["Clock", "Cut"]

log = logging.getLogger(__name__)

_WITHOUT_PTS = frozenset({"avi"})
"""Demuxers that know decoding order alone: the times FFmpeg guesses for frames out of order go back and forth."""

_EDGE = Fraction(1, 2000)
"""Half a millisecond: a frame this far before the asked start is still the first one (typed decimals are rounded)."""


class Clock:
    """Gives every decoded frame a time that is later than the one before.

    Frames come in display order. Where the container has presentation times they are passed through. Where it has
    none (AVI, raw streams), the n-th frame shown gets the n-th decoding time: the frame's decoding time less the
    decoder's delay; and where that lacks too, one frame's duration after the last.

    Parameters
    ----------
    format_name : str
        The demuxer's name.
    step : int
        One frame in units of the stream's time base, 1 or more.

    Attributes
    ----------
    by_dts : bool
        Times come from decoding times.
    """

    def __init__(self, format_name: str, step: int) -> None:
        self.by_dts = format_name in _WITHOUT_PTS
        self._step = max(1, step)
        self._first_dts: int | None = None
        self._delay: int | None = None
        self._last: int | None = None
        self._repaired = 0

    def packet(self, packet: Any) -> None:
        """Note a video packet on its way to the decoder."""
        if self._first_dts is None and packet.dts is not None:
            self._first_dts = packet.dts

    def time(self, frame: Any) -> int:
        """Presentation time of the next frame in display order, in units of the stream's time base."""
        pts = self._from_dts(frame.dts) if self.by_dts else frame.pts
        if pts is None:
            pts = self._from_dts(frame.dts) if self._last is None else self._last + self._step
        pts = 0 if pts is None else int(pts)
        if self._last is not None and pts <= self._last:
            self._repaired += 1
            log.debug("frame time %d is not after %d; it becomes %d", pts, self._last, self._last + 1)
            pts = self._last + 1
        self._last = pts
        return pts

    def _from_dts(self, dts: int | None) -> int | None:
        if dts is None:
            return None
        if self._delay is None:
            self._delay = dts - self._first_dts if self._first_dts is not None else 0
        return dts - self._delay


class Cut:
    """Which part of a video is wanted, on its own time axis.

    Parameters
    ----------
    origin : Fraction
        Where the video begins, seconds on its time axis.
    start : Fraction or None
        Seconds after ``origin`` where the part begins.
    duration : Fraction or None
        Length of the part, seconds.
    """

    def __init__(self, origin: Fraction, start: Fraction | None, duration: Fraction | None) -> None:
        self.origin = origin
        self.begin = None if start is None else origin + start
        self.end = None if duration is None else origin + (start or 0) + duration
        self.shift: Fraction | None = None if start is not None else Fraction(0)

    def before(self, time: Fraction) -> bool:
        """True for a frame shown before the part begins."""
        return self.begin is not None and time < self.begin - _EDGE

    def late(self, time: Fraction) -> bool:
        """True for a frame that cannot be the first one wanted: another one may lie between the start and it."""
        return self.begin is not None and time > max(self.begin, self.origin) + _EDGE

    def after(self, time: Fraction) -> bool:
        """True for a frame shown once the part is over."""
        return self.end is not None and time >= self.end - _EDGE

    def hold(self, time: Fraction) -> None:
        """The first frame kept: everything moves so that it is shown at 0."""
        if self.shift is None:
            self.shift = time

    def place(self, packet: Any) -> bool:
        """Move a packet of another stream by the same time, to the nearest unit; False if it lies outside the part.

        A packet that would begin before 0 is left out: at most one packet of silence (about 20 ms) at the start, and
        the rest stays exactly where it was against the image, to half a unit of the stream's time base.
        """
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.time_base is None:
            return True
        if self.end is not None and stamp * packet.time_base >= self.end:
            return False
        if not self.shift:
            return True
        moved = round(self.shift / packet.time_base)
        if stamp < moved:
            return False
        packet.pts = None if packet.pts is None else packet.pts - moved
        packet.dts = None if packet.dts is None else packet.dts - moved
        return True
