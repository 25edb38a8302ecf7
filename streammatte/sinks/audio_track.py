"""Audio beside a live image, on the image's time line."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from streammatte.tracks import AudioFeed, AudioPiece

__all__ = ["AudioTrack"]

JUMP = 0.1
"""Seconds between where a piece of audio belongs and where the one before ended, up to which they are joined: sound
cards deliver in bursts, but an offset of 100 ms between lips and voice is noticed."""
_BIT_RATE = 128_000


class AudioTrack:
    """One encoded track of a muxer, fed with recorded pieces.

    Parameters
    ----------
    container : av.container.OutputContainer
        Before its header is written.
    feed : AudioFeed
    """

    def __init__(self, container: Any, feed: AudioFeed) -> None:
        self._feed = feed
        self._container = container
        layout = "mono" if feed.channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=feed.rate, layout=layout, bit_rate=_BIT_RATE)
        self._fifo = av.AudioFifo()
        self._layout = layout
        self._next = 0

    def write(self, until: float, captured_to_time: float) -> None:
        """Write what was recorded before the image.

        Parameters
        ----------
        until : float
            ``captured`` of the image: later audio waits for its own image.
        captured_to_time : float
            What added to ``captured`` gives the stream's time, seconds.
        """
        for piece in self._feed.take(until):
            self._place(piece, captured_to_time)
        size = self._stream.codec_context.frame_size or 1024
        while (frame := self._fifo.read(size)) is not None:
            self._container.mux(self._stream.encode(frame))

    def drain(self) -> None:
        """Write the rest."""
        rest = self._fifo.read(0, True)
        if rest is not None:
            self._container.mux(self._stream.encode(rest))
        self._container.mux(self._stream.encode(None))

    def _place(self, piece: AudioPiece, captured_to_time: float) -> None:
        rate = self._feed.rate
        wanted = round((piece.captured + captured_to_time) * rate)
        samples = piece.samples
        if wanted + samples.shape[1] <= 0:
            return
        gap = wanted - self._next
        if gap > JUMP * rate:
            self._append(np.zeros((self._feed.channels, gap), np.float32))
        elif gap < -JUMP * rate:
            samples = samples[:, -gap:]
        if samples.shape[1]:
            self._append(samples)

    def _append(self, samples: npt.NDArray[np.float32]) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate = self._feed.rate
        frame.pts = self._next
        frame.time_base = Fraction(1, self._feed.rate)
        self._next += samples.shape[1]
        self._fifo.write(frame)
