"""A sink that keeps frames in memory."""

from __future__ import annotations

import numpy as np

from streammatte.frames import Frame, StreamInfo

__all__ = ["MemorySink"]


class MemorySink:
    """Keeps what it is given, as copies of its own.

    Attributes
    ----------
    info : StreamInfo or None
        What :meth:`open` was given.
    frames : list of Frame
        In order. Memory grows with the video: for short ones and for tests.
    closed, aborted : bool
        How it ended.
    """

    def __init__(self) -> None:
        self.info: StreamInfo | None = None
        self.frames: list[Frame] = []
        self.closed = False
        self.aborted = False

    def open(self, info: StreamInfo) -> None:
        """Remember the description."""
        self.info = info

    def process(self, item: Frame) -> list[None]:
        """Keep a copy of the frame."""
        alpha = None if item.alpha is None else item.alpha.copy()
        self.frames.append(item.like(tuple(np.ascontiguousarray(plane).copy() for plane in item.planes), alpha=alpha))
        return []

    def drain(self) -> list[None]:
        """Nothing is held back."""
        return []

    def close(self) -> None:
        """The frames stay."""
        self.closed = not self.aborted

    def abort(self) -> None:
        """Forget the frames, unless closed."""
        if not self.closed:
            self.aborted = True
            self.frames.clear()
