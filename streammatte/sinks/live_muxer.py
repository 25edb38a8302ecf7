"""Encoder and muxer of a live image, with the frames' own times and without look-ahead."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from streammatte.frames import Frame, Layout, StreamInfo
from streammatte.media.convert import FrameConverter, tags_of
from streammatte.sinks.audio_track import AudioTrack
from streammatte.tracks import AudioFeed

__all__ = ["LiveMuxer"]

_LIMITED, _FULL = 1, 2  # AVColorRange
_DEFAULT_RATE = Fraction(30)
_THREADS = 2
"""Of the encoder: slices of one image, so that no image waits for another."""


class LiveMuxer:
    """Encodes H.264 without look-ahead and muxes it, a key frame a second.

    Parameters
    ----------
    target : str or file object
        File, or what has ``write``.
    info : StreamInfo
    muxer : str
        FFmpeg's name.
    muxer_options : dict
    quality : dict
        Encoder options besides ``tune``.
    bit_rate : int
        Bits a second; 0 for constant quality.
    feed : AudioFeed, optional
        Audio to go with it.
    """

    def __init__(
        self,
        target: Any,
        info: StreamInfo,
        muxer: str,
        muxer_options: dict[str, str],
        quality: dict[str, str],
        *,
        bit_rate: int = 0,
        feed: AudioFeed | None = None,
    ) -> None:
        self._output: Any = av.open(target, "w", format=muxer, container_options=muxer_options)
        try:
            self._rate = info.rate or _DEFAULT_RATE
            self._video = self._add_video(info, quality, bit_rate)
            self._audio = AudioTrack(self._output, feed) if feed is not None else None
            self._output.start_encoding()
        except BaseException:
            self._output.close()
            raise
        self._offset: float | None = None
        self._until = float("-inf")

    def write(self, frame: Frame) -> None:
        """Encode one frame at its own time, and the audio up to it."""
        image = self._converter.convert(frame)
        image.pts = frame.pts
        image.time_base = frame.time_base
        self._output.mux(self._video.encode(image))
        if self._audio is None:
            return
        if frame.captured is not None:
            self._offset = frame.time - frame.captured
        if self._offset is not None:
            self._until = max(self._until, frame.time - self._offset)
            self._audio.write(self._until, self._offset)

    def close(self) -> None:
        """Flush and write the trailer."""
        output, self._output = self._output, None
        if output is None:
            return
        try:
            output.mux(self._video.encode(None))
            if self._audio is not None:
                self._audio.drain()
        finally:
            output.close()

    def drop(self) -> None:
        """Close without flushing the encoder."""
        output, self._output = self._output, None
        if output is not None:
            output.close()

    def _add_video(self, info: StreamInfo, quality: dict[str, str], bit_rate: int) -> Any:
        width, height = info.width + info.width % 2, info.height + info.height % 2
        tags = tags_of(info.color, info.layout, "yuv420p")
        pad = (width, height) != (info.width, info.height) and info.layout is not Layout.GRAY
        self._converter = FrameConverter(width, height, "yuv420p", tags, pad)
        stream = self._output.add_stream(
            "libx264",
            rate=self._rate,
            width=width,
            height=height,
            time_base=info.time_base,
            options={"tune": "zerolatency", "g": str(max(1, round(self._rate))), **quality},
            bit_rate=bit_rate,
        )
        context = stream.codec_context
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace = tags.matrix
        context.color_primaries = tags.primaries
        context.color_trc = tags.transfer
        context.color_range = _FULL if tags.full_range else _LIMITED
        context.thread_count = _THREADS
        context.thread_type = "SLICE"
        return stream
