"""Records a live session so that whatever ends it leaves a playable file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import av.error

from streammatte.errors import DiskFullError, OutputExistsError, SinkError, UnsupportedOutputError
from streammatte.frames import Frame, StreamInfo
from streammatte.protocols import LiveSinkBase
from streammatte.sinks.live_muxer import LiveMuxer
from streammatte.tracks import AudioFeed

__all__ = ["RecordSink"]

_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_MUXERS = {
    ".mp4": ("mp4", _FRAGMENTS),
    ".mov": ("mov", _FRAGMENTS),
    ".mkv": ("matroska", {"flush_packets": "1", "cluster_time_limit": "1000"}),
}
"""Containers that are playable without their end: an index is written every second."""

_QUALITY = {"preset": "veryfast", "crf": "20"}


class RecordSink(LiveSinkBase):
    """Writes H.264 (and AAC) with the frames' true times, under the requested name from the first second on.

    Parameters
    ----------
    target : Path
        .mp4, .mov or .mkv.
    feed : AudioFeed, optional
        Audio to go with it.
    overwrite : bool
        Replace an existing file.
    """

    continuous = False

    def __init__(self, target: Path, *, feed: AudioFeed | None = None, overwrite: bool = False) -> None:
        suffix = target.suffix.lower()
        if suffix not in _MUXERS:
            raise UnsupportedOutputError(f"cannot record {target}: give a name that ends in {', '.join(_MUXERS)}")
        self.target = target
        self._feed = feed
        self._overwrite = overwrite
        self._muxer: LiveMuxer | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file. Raises OutputExistsError, SinkError."""
        if self.target.exists() and not self._overwrite:
            raise OutputExistsError(f"{self.target} is there already; give another name or --overwrite")
        if not self.target.parent.is_dir():
            raise SinkError(f"there is no folder {self.target.parent}; create it first")
        kind, options = _MUXERS[self.target.suffix.lower()]
        try:
            self._muxer = LiveMuxer(str(self.target), info, kind, options, _QUALITY, feed=self._feed)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"cannot record {self.target}: {getattr(error, 'strerror', None) or error}") from error

    def process(self, item: Frame) -> list[None]:
        """Write a frame."""
        if self._muxer is None:
            raise SinkError(f"{self.target} is not open")
        try:
            self._muxer.write(item)
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        return []

    def drain(self) -> list[None]:
        """Flush the encoder and finish the file."""
        muxer, self._muxer = self._muxer, None
        if muxer is not None:
            try:
                muxer.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._failure(error) from error
        return []

    def close(self) -> None:
        """End the file where it is, if ``drain`` did not: what was recorded stays and plays."""
        muxer, self._muxer = self._muxer, None
        if muxer is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                muxer.drop()

    def _failure(self, error: Exception) -> SinkError:
        if getattr(error, "errno", None) in DiskFullError.ERRNOS:
            return DiskFullError(f"no space is left for {self.target}; what was recorded until now plays")
        return SinkError(f"cannot record {self.target}: {getattr(error, 'strerror', None) or error}")
