"""Images as the pipeline's source; they may differ in size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from streammatte.errors import SourceError, StreammatteError, UnsupportedSourceError
from streammatte.frames import U8, Frame, Layout, StreamInfo
from streammatte.images.jobs import Job
from streammatte.images.matter import Trimaps
from streammatte.matting.trimap_methods import BACKGROUND, FOREGROUND, UNKNOWN
from streammatte.media.image_reader import read_still
from streammatte.network_size import MAX_MEGAPIXELS
from streammatte.sources.images import SRGB
from streammatte.sources.orientation import Orientation, oriented_frame

__all__ = ["StillSource", "read_frame", "read_trimap", "three_levels"]

_CERTAIN = 26
"""Levels that a trimap's black and white may be off by: a tenth, as JPEG and scaling leave them."""

Failure = Callable[[Job, StreammatteError], None]
"""Called with a job that is skipped, and why."""
_ANY_BASE = Fraction(1, 25)


class StillSource:
    """Reads the jobs' images; a frame's ``index`` is its job's number.

    Parameters
    ----------
    jobs : sequence of Job
    trimaps : dict
        Receives the trimaps of the images, by frame index.
    on_failure : callable, optional
        Called for an image that cannot be read, which is then skipped; without it the error is raised.
    max_megapixels : int
        Larger images are refused.
    orientation : Orientation, optional
        How images and trimaps are turned.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        trimaps: Trimaps,
        on_failure: Failure | None = None,
        max_megapixels: int = MAX_MEGAPIXELS,
        orientation: Orientation | None = None,
    ) -> None:
        self._most = max_megapixels
        self._orientation = orientation or Orientation()
        self._jobs = jobs
        self._trimaps = trimaps
        self._on_failure = on_failure
        name = str(jobs[0].source) if len(jobs) == 1 else "none of the images could be read; the list"
        # Sizes differ from frame to frame; 0 stands for unknown.
        self.info = StreamInfo(0, 0, Layout.RGB, _ANY_BASE, color=SRGB, frame_count=len(jobs), name=name)

    def frames(self) -> Iterator[Frame]:
        """One frame an image, all with time 0, so that a video as background shows its first frame."""
        for index, job in enumerate(self._jobs):
            try:
                frame = read_frame(job.source, index, self._most)
                if job.trimap is not None:
                    trimap = read_trimap(job.trimap, frame, str(job.source))
                    self._trimaps[index] = self._orientation.apply(trimap)
            except SourceError as error:
                if self._on_failure is None:
                    raise
                self._on_failure(job, error)
                continue
            yield oriented_frame(frame, self._orientation)

    def close(self) -> None:
        """Nothing is held open."""


def read_frame(path: Path, index: int = 0, max_megapixels: int = MAX_MEGAPIXELS) -> Frame:
    """An image as a frame. Raises SourceError as :func:`read_still` does.

    Parameters
    ----------
    path : Path
    index : int
        The frame's number.
    max_megapixels : int
        Refused above.
    """
    rgb, alpha = read_still(path, max_megapixels)
    return Frame((rgb,), Layout.RGB, 0, _ANY_BASE, SRGB, index, alpha=alpha)


def read_trimap(path: Path, frame: Frame, name: str) -> U8:
    """A trimap (H, W) uint8 in {0, 128, 255} for a frame.

    Parameters
    ----------
    path : Path
    frame : Frame
    name : str
        The frame's name in messages.

    Raises
    ------
    UnsupportedSourceError
        Of another size than its image, or no image at all.
    SourceNotFoundError, SourceError
    """
    marks, _ = read_still(path, -(-frame.width * frame.height // 1_000_000))
    if marks.shape[:2] != (frame.height, frame.width):
        raise UnsupportedSourceError(
            f"trimap {path} is {marks.shape[1]}x{marks.shape[0]}, its image {name} is "
            f"{frame.width}x{frame.height}; give one of the same size"
        )
    return three_levels(marks[..., 1])


def three_levels(marks: U8) -> U8:
    """Gray levels as background, unknown, foreground; nearly black and nearly white count as such."""
    trimap = np.full(marks.shape, UNKNOWN, np.uint8)
    trimap[marks <= _CERTAIN] = BACKGROUND
    trimap[marks >= 255 - _CERTAIN] = FOREGROUND
    return trimap
