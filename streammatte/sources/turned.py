"""A source whose images are flipped and rotated on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from streammatte.frames import Frame, StreamInfo
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import Source
from streammatte.sources.orientation import Orientation

__all__ = ["TurnedSource", "turned_frame", "turned_source"]


def turned_source(source: Source, flip: str, rotate: str) -> Source:
    """The source itself where neither is requested, else its images flipped, then rotated clockwise.

    Parameters
    ----------
    source : Source
    flip : {"none", "horizontal", "vertical"}
    rotate : {"0", "90", "180", "270"}
    """
    orientation = Orientation.asked(flip, rotate)
    return source if orientation.upright else TurnedSource(source, orientation)


def turned_frame(frame: Frame, orientation: Orientation) -> Frame:
    """The frame turned; 4:2:2 that is laid on its side becomes 4:4:4."""
    if orientation.upright:
        return frame
    layout, planes = orientation.layout(frame.layout), frame.planes
    if layout is not frame.layout:
        planes = convert_planes(frame, Target(layout, frame.width, frame.height, frame.color), "stretch")
    alpha = None if frame.alpha is None else orientation.apply(frame.alpha)
    return frame.like(tuple(orientation.apply(plane) for plane in planes), layout, alpha)


class TurnedSource:
    """A source turned.

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
        """The frames, turned."""
        for frame in self._source.frames():
            yield turned_frame(frame, self._orientation)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
