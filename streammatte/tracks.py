"""Audio on its way from a microphone to the sinks: pieces with the moment at which they were recorded."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AudioFeed", "AudioPiece"]

MAX_SECONDS = 10.0
"""What a feed holds at most; a sink that does not take it for longer loses the oldest."""


MAX_PACKETS = 2048
"""Packets that a feed holds until one is taken: half a minute of audio, more than files interleave."""


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
            while self._held > MAX_SECONDS * self.rate:
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

    Packets do not pass through the frame queues: they are small, and the reader is never more than the queues' capacity
    ahead of the writer. Where no sink takes them they are discarded: at once after :meth:`close`, else beyond
    ``MAX_PACKETS``.

    Parameters
    ----------
    streams : tuple
        The demuxer's streams, opaque here, templates for the muxer.

    Attributes
    ----------
    chapters : list of dict
        As PyAV describes chapters, on the output's time axis.
    """

    def __init__(self, streams: tuple[Any, ...] = ()) -> None:
        self.streams = streams
        self.chapters: list[dict[str, Any]] = []
        self._packets: deque[Any] = deque()
        self._taken = self._closed = False

    def put(self, packet: Any) -> None:
        """Append a packet (reader thread)."""
        if not self._taken and len(self._packets) >= MAX_PACKETS:
            self.close()
        if not self._closed:
            self._packets.append(packet)

    def close(self) -> None:
        """Discard what is here and what comes: there is no sink for it."""
        self._closed = True
        self._packets.clear()

    def take(self) -> list[Any]:
        """All packets that have arrived, in order (writer thread)."""
        self._taken = True
        taken = []
        while self._packets:
            taken.append(self._packets.popleft())
        return taken
