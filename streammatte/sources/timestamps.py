"""Presentation times: taken as they are, repaired where a video has none, cut to a part of the video."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

__all__ = ["Cut", "FrameTimes", "Timeline"]

log = logging.getLogger(__name__)

_WITHOUT_PTS = frozenset({"avi"})
"""Demuxers with decoding times alone: the times that FFmpeg guesses for reordered frames are not monotonic."""

_EDGE = Fraction(1, 2000)
"""Half a millisecond: a frame this far before the requested start is still the first one (decimals are rounded)."""


_BACK = Fraction(1, 10)
"""Seconds by which decoding times of a stream may go back without being a jump: FFmpeg's own limit."""

_FORWARD = Fraction(10)
"""Seconds by which all streams must go forward at once to be a jump: FFmpeg's ``dts_delta_threshold``."""


class Timeline:
    """Moves the packets of all streams so that the container's start is 0, and closes jumps of the time.

    Where a stream's time jumps, a new section begins: its packets go on where the stream stood. The other streams join
    the section when they jump themselves, so streams stay beside each other however their packets interleave.

    Parameters
    ----------
    origin : Fraction
        Time of the container's start, seconds.
    jumps : bool
        The container's times may jump (MPEG-TS, HLS, MPEG-PS); of others every gap is kept.
    name : str
        What messages call the video.
    """

    def __init__(self, origin: Fraction, jumps: bool, name: str) -> None:
        self._jumps = jumps
        self._name = name
        self._offsets = [-origin]
        self._section: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}
        self._next: dict[int, Fraction] = {}
        self._length: dict[int, Fraction] = {}  # of packets without a duration: as far as the one before

    def place(self, packet: Any) -> None:
        """Move a packet's times, to the nearest unit of its time base."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or packet.time_base is None:
            return
        index, time = packet.stream.index, stamp * packet.time_base
        section = before = self._section.setdefault(index, len(self._offsets) - 1)
        if self._jumps and index in self._next and self._jumped(packet.stream, time):
            section = self._enter(packet.stream, section, time)
        length = (packet.duration or 0) * packet.time_base or self._length.get(index, Fraction(0))
        if section == before and index in self._last and time > self._last[index]:
            self._length[index] = time - self._last[index]
        self._last[index], self._next[index] = time, time + length
        moved = round(self._offsets[section] / packet.time_base)
        if moved:
            packet.pts = None if packet.pts is None else packet.pts + moved
            packet.dts = None if packet.dts is None else packet.dts + moved

    def _jumped(self, stream: Any, time: Fraction) -> bool:
        expected = self._next[stream.index]
        if time < expected - _BACK:
            return True
        # One stream alone that goes forward has a gap; the others have reached its time already.
        return time > expected + _FORWARD and all(
            time > there + _FORWARD
            for index, there in self._next.items()
            if self._section[index] == self._section[stream.index]
        )

    def _enter(self, stream: Any, section: int, time: Fraction) -> int:
        if section + 1 == len(self._offsets):
            if stream.type not in ("video", "audio"):
                return section
            expected = self._next[stream.index]
            self._offsets.append(self._offsets[section] + expected - time)
            log.warning(
                "%s: at %s the time jumps from %s to %s; the output goes on without a gap",
                self._name,
                *(format_time(value) for value in (expected + self._offsets[section], expected, time)),
            )
        self._section[stream.index] = section + 1
        return section + 1


def format_time(seconds: float | Fraction) -> str:
    """h:mm:ss.t of a time."""
    tenths = round(float(seconds) * 10)
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{tenths / 10:04.1f}"


class FrameTimes:
    """Assigns every decoded frame a time later than the one before.

    Frames come in display order. Where the container has presentation times they are passed through. Of AVI, which has
    none, the n-th frame shown gets the time at which the decoder gives it, as FFmpeg's best-effort time does; of raw
    streams the n-th decoding time; and where that lacks too, one frame's duration after the last.

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

    def packet(self, packet: Any) -> None:
        """Note a video packet on its way to the decoder."""
        if self._first_dts is None and packet.dts is not None:
            self._first_dts = packet.dts

    def time(self, frame: Any) -> int:
        """Presentation time of the next frame in display order, in units of the stream's time base."""
        pts = frame.dts if self.by_dts else frame.pts
        if pts is None:
            pts = self._from_dts(frame.dts) if self._last is None else self._last + self._step
        pts = 0 if pts is None else int(pts)
        if self._last is not None and pts <= self._last:
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
    """Which part of a video is wanted, on the :class:`Timeline`'s axis, which begins at 0.

    Parameters
    ----------
    start : Fraction or None
        Seconds where the part begins.
    duration : Fraction or None
        Length of the part, seconds.
    shift : Fraction, optional
        Seconds by which times are moved earlier; by default so that the part's first frame is shown at 0.
    """

    def __init__(self, start: Fraction | None, duration: Fraction | None, shift: Fraction | None = None) -> None:
        self.begin = start
        self.end = None if duration is None else (start or 0) + duration
        self.shift = shift if start is not None else Fraction(shift or 0)

    def before(self, time: Fraction) -> bool:
        """True for a frame shown before the part begins."""
        return self.begin is not None and time < self.begin - _EDGE

    def late(self, time: Fraction) -> bool:
        """True for a frame that cannot be the first one wanted: another one may lie between the start and it."""
        return self.begin is not None and time > self.begin + _EDGE

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
