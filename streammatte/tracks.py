"""Audio on its way from a microphone to the sinks: pieces with the moment at which they were recorded."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AudioFeed", "AudioPiece"]

MOST_SECONDS = 10.0
"""What a feed holds at most; a sink that does not take it for longer loses the oldest."""


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """Samples (channels, n) float32 in [-1, 1]; ``captured`` is ``time.monotonic()`` at the first one."""

    samples: npt.NDArray[np.float32]
    captured: float


class AudioFeed:
    """A bounded queue of audio between a microphone's thread and a sink's.

    Parameters
    ----------
    rate : int
        Samples a second.
    channels : int
        1 or 2.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.rate = rate
        self.channels = channels
        self._pieces: deque[AudioPiece] = deque()
        self._held = 0
        self._lock = threading.Lock()

    def put(self, piece: AudioPiece) -> None:
        """Append (microphone's thread)."""
        with self._lock:
            self._pieces.append(piece)
            self._held += piece.samples.shape[1]
            while self._held > MOST_SECONDS * self.rate:
                self._held -= self._pieces.popleft().samples.shape[1]

    def take(self, until: float) -> list[AudioPiece]:
        """The pieces recorded before ``until``, in order (sink's thread)."""
        taken = []
        with self._lock:
            while self._pieces and self._pieces[0].captured < until:
                piece = self._pieces.popleft()
                self._held -= piece.samples.shape[1]
                taken.append(piece)
        return taken


class TrackFeed:
    """Encoded packets of the other streams (audio, subtitles) on their way from a source to a sink.

    Packets do not pass through the rings: they are small, and the reader is never more than the rings' capacity ahead.

    Parameters
    ----------
    streams : tuple
        The demuxer's streams, opaque here, templates for the muxer.
    """

    def __init__(self, streams: tuple[Any, ...] = ()) -> None:
        self.streams = streams
        self._packets: deque[Any] = deque()

    def put(self, packet: Any) -> None:
        """Append a packet (reader thread)."""
        self._packets.append(packet)

    def take(self) -> list[Any]:
        """All packets that have arrived, in order (writer thread)."""
        taken = []
        while self._packets:
            taken.append(self._packets.popleft())
        return taken
