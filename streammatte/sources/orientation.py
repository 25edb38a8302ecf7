"""Flips and quarter turns: those of a display matrix, so that all that follows is upright, and those of the options."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av.error
import cv2
import numpy as np

from streammatte.frames import U8, Frame, Layout, StreamInfo
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import Source

__all__ = ["Orientation", "OrientedSource", "display_matrix", "oriented_frame", "oriented_source", "side_data"]

log = logging.getLogger(__name__)


_FIXED_ONE = 65536.0
"""The display matrix holds a, b, c, d as 16.16 fixed-point numbers (ISO/IEC 14496-12, 8.5.2)."""

_TURNS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}

_SMALL = 16
"""Side of the copy that side data are read from."""

_SLACK = 1.0
"""Degrees by which a display matrix may miss a right angle and still be taken as one (rounded by editors)."""


def side_data(frame: Any) -> dict[str, bytes]:
    """A decoded frame's side data by the names of their types.

    They are read from a small copy: PyAV's container of side data and its frame refer to each other, so that the frame
    would stay until the next garbage collection.
    """
    try:
        small = frame.reformat(width=_SMALL, height=_SMALL, format="gray", threads=1)
    except (av.error.FFmpegError, ValueError):  # a pixel format that cannot be scaled
        small = frame
    return {item.type.name: bytes(item) for item in small.side_data}


def display_matrix(frame: Any) -> tuple[float, float, float, float] | None:
    """(a, b, c, d) of the frame's display matrix, x' = a x + c y and y' = b x + d y, or None where it has none."""
    found = side_data(frame).get("DISPLAYMATRIX")
    if found is None:
        return None
    a, b, _u, c, d = (float(value) / _FIXED_ONE for value in np.frombuffer(found, np.int32)[:5])
    return a, b, c, d


class Orientation:
    """What must be done to a decoded image to show it upright: a mirroring, then quarter turns clockwise.

    Parameters
    ----------
    turns : int
        Quarter turns clockwise, 0 to 3.
    mirror : bool
        Left and right are swapped before turning.
    """

    def __init__(self, turns: int = 0, mirror: bool = False) -> None:
        self.turns = turns % 4
        self.mirror = mirror

    @classmethod
    def of(cls, frame: Any, name: str) -> Orientation:
        """Read a decoded frame's display matrix; an angle that is not a right one is logged and left alone."""
        matrix = display_matrix(frame)
        if matrix is None:
            return cls()
        a, b, c, d = matrix
        mirror = a * d - b * c < 0
        if mirror:
            a, b = -a, -b
        angle = math.degrees(math.atan2(b, a)) % 360
        turns = round(angle / 90)
        if abs(angle - 90 * turns) > _SLACK:
            log.warning("%s declares a rotation by %.1f degrees; only right angles are applied", name, angle)
            return cls()
        return cls(turns, mirror)

    @classmethod
    def from_options(cls, flip: str, rotate: str) -> Orientation:
        """A flip ("none", "horizontal", "vertical"), then a rotation clockwise ("0", "90", "180", "270")."""
        return cls(int(rotate) // 90 + (2 if flip == "vertical" else 0), mirror=flip != "none")

    @property
    def upright(self) -> bool:
        """True where nothing is to be done."""
        return not self.turns and not self.mirror

    @property
    def swaps(self) -> bool:
        """True where width and height change places."""
        return self.turns in (1, 3)

    def layout(self, layout: Layout) -> Layout:
        """The layout to decode to: 4:4:4 for 4:2:2 whose sides swap, since its chroma would be halved the other way."""
        return Layout.YUV444 if self.swaps and layout is Layout.YUV422 else layout

    def apply(self, plane: U8) -> U8:
        """The plane turned upright, C-contiguous, in new memory (the same plane where nothing is to be done)."""
        if self.mirror:
            plane = cv2.flip(plane, 1 if self.turns != 2 else 0)
            return plane if self.turns in (0, 2) else cv2.rotate(plane, _TURNS[self.turns])
        return cv2.rotate(plane, _TURNS[self.turns]) if self.turns else plane


def oriented_source(source: Source, flip: str, rotate: str) -> Source:
    """The source itself where neither is requested, else its images flipped, then rotated clockwise.

    Parameters
    ----------
    source : Source
    flip : {"none", "horizontal", "vertical"}
    rotate : {"0", "90", "180", "270"}
    """
    orientation = Orientation.from_options(flip, rotate)
    return source if orientation.upright else OrientedSource(source, orientation)


def oriented_frame(frame: Frame, orientation: Orientation) -> Frame:
    """The frame flipped and rotated; 4:2:2 whose sides swap becomes 4:4:4."""
    if orientation.upright:
        return frame
    layout, planes = orientation.layout(frame.layout), frame.planes
    if layout is not frame.layout:
        planes = convert_planes(frame, Target(layout, frame.width, frame.height, frame.color), "stretch")
    alpha = None if frame.alpha is None else orientation.apply(frame.alpha)
    return frame.like(tuple(orientation.apply(plane) for plane in planes), layout, alpha)


class OrientedSource:
    """A source whose frames are flipped and rotated.

    Parameters
    ----------
    source : Source
    orientation : Orientation
    """

    def __init__(self, source: Source, orientation: Orientation) -> None:
        self._source, self._orientation = source, orientation
        info = source.info
        self.info: StreamInfo = replace(info, layout=orientation.layout(info.layout))
        if orientation.swaps:
            aspect = 1 / info.sample_aspect_ratio
            self.info = replace(self.info, width=info.height, height=info.width, sample_aspect_ratio=aspect)

    def frames(self) -> Iterator[Frame]:
        """The frames, flipped and rotated."""
        for frame in self._source.frames():
            yield oriented_frame(frame, self._orientation)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
