"""Where a video ends, and whether it ends where its container declares."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

from streammatte.errors import TruncatedSourceError
from streammatte.media.container import reason
from streammatte.sources.timestamps import Cut, format_time

__all__ = ["TruncationCheck"]

log = logging.getLogger(__name__)

_MICRO = 1_000_000

_DECLARING = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf"})
"""Demuxers that read the duration from the header; the others estimate it from the file's size or its last packet."""

_TOLERANCE = Fraction(1, 4)
"""Seconds by which a video may end early without being called broken off: edit lists, rounded headers, a last frame's
duration that only the encoder knew."""

_TOLERATED_FRAMES = 3


def _tag_seconds(stream: Any) -> Fraction | None:
    """Matroska's own DURATION tag of one track, seconds."""
    tags = {str(key).upper(): str(value) for key, value in stream.metadata.items()}
    parts = tags.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (Fraction(part) for part in parts)
    except ValueError:
        return None
    total: Fraction = hours * 3600 + minutes * 60 + seconds
    return total


class TruncationCheck:
    """Follows the packets and frames of a video and decides whether it ended early.

    Parameters
    ----------
    container, video : the demuxer and its video stream
    origin : Fraction
        Time of the container's start; all other times count from there.
    name : str
        What messages call the video.
    """

    def __init__(self, container: Any, video: Any, origin: Fraction, name: str) -> None:
        self._name = name
        self._base = Fraction(video.time_base)
        self._origin = origin
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        self._slack = max(_TOLERANCE, _TOLERATED_FRAMES / Fraction(rate))
        self._frame_length = 1 / Fraction(rate)
        self._index = video.index
        self._by_index = container.format.name == "avi" and bool(video.frames)
        trusted = container.format.name in _DECLARING
        self._video_end = self._declared_video(video) if trusted else None
        whole = container.duration
        self._whole_end = Fraction(whole, _MICRO) if trusted and whole else None
        self._last = self._reached = Fraction(0)
        self._why: str | None = None
        self._damaged = self._since_frame = self._corrupt = 0
        self.seen = 0

    def _declared_video(self, video: Any) -> Fraction | None:
        """Where the video stream should end. Of a cut AVI FFmpeg shortens the duration, not the frame count."""
        begin = Fraction(video.start_time or 0) * self._base - self._origin
        if self._by_index:
            return begin + Fraction(video.frames) * self._base
        if video.duration:
            return begin + Fraction(video.duration) * self._base
        tag = _tag_seconds(video)
        return None if tag is None else max(tag - self._origin, begin)

    def length(self) -> float:
        """Seconds that the video lasts, as declared, else as far as it was seen."""
        end = self._video_end or self._whole_end or self._reached
        return float(max(end, self._last))

    def part(self, cut: Cut) -> float | None:
        """Declared seconds of the wanted part, or None where the container does not say."""
        end = self._video_end or self._whole_end
        if end is None:
            return None if cut.end is None or cut.begin is None else float(cut.end - cut.begin)
        stop = end if cut.end is None else min(end, cut.end)
        return max(0.0, float(stop - (cut.begin or 0)))

    def packet(self, packet: Any) -> None:
        """Note how far the file reaches, whatever the track."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size:
            end = (stamp + (packet.duration or 0)) * packet.time_base
            self._reached = max(self._reached, Fraction(end))

    def frame(self, pts: int, image: Any) -> None:
        """Note a decoded frame."""
        if self.seen and pts * self._base > self._last + self._slack:
            log.info(
                "%s has no frame between %s and %s", self._name, format_time(self._last), format_time(pts * self._base)
            )
        length = image.duration * self._base if image.duration else self._frame_length
        self._last = pts * self._base + length
        self.seen += 1
        self._since_frame = 0
        self._corrupt += bool(image.is_corrupt)

    def damaged(self, error: Exception) -> None:
        """Note a packet that the decoder refused."""
        self._damaged += 1
        self._since_frame += 1
        if self._damaged == 1:
            log.warning("%s is damaged near %s (%s); going on", self._name, format_time(self._last), reason(error))

    def broken(self, why: str) -> None:
        """Note that reading failed for good."""
        self._why = why

    def check(self, frames: int) -> None:
        """The video has ended: report damage, and raise if it broke off.

        Raises
        ------
        TruncatedSourceError
            Reading failed, the end cannot be decoded, or the video ends well before the time it declares.
        """
        if self._damaged or self._corrupt:
            log.warning("%s: %d damaged packets, %d damaged frames", self._name, self._damaged, self._corrupt)
        end = self._short_of()
        if self._why is None and end is None and not self._since_frame:
            return
        why = self._why or ("its end cannot be decoded" if self._since_frame else "the file ends early")
        declared = f" of {format_time(end)}" if end is not None else ""
        raise TruncatedSourceError(
            f"{self._name} breaks off at {format_time(self._last)}{declared} ({why}); "
            f"the {frames} frames before are good and were kept; try a fresh copy for the rest"
        )

    def _short_of(self) -> Fraction | None:
        """The declared end that the video does not reach, or None."""
        if self._video_end is not None and self._last + self._slack < self._video_end:
            return self._video_end
        reached = max(self._reached, self._last)
        if self._video_end is None and self._whole_end is not None and reached + self._slack < self._whole_end:
            return self._whole_end
        return None
