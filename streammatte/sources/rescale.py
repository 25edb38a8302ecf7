"""Brings frames of one description to another's size, layout and colour: for cameras that come back otherwise."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from streammatte.frames import ColorSpec, Frame, StreamInfo, plane_shapes
from streammatte.sources.picture import Planes

__all__ = ["Rescaler"]

_LIMITED, _FULL = 1, 2  # AVColorRange
_SWS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix coefficients (ISO/IEC 23091-2) to swscale's own numbers."""


class Rescaler:
    """Converts to one stream's description.

    Parameters
    ----------
    target : StreamInfo
    """

    def __init__(self, target: StreamInfo) -> None:
        self._target = target
        self._reformatter = VideoReformatter()

    def planes(self, frame: Frame) -> Planes:
        """The frame's planes (uint8) as the target has them."""
        target = self._target
        picture = av.VideoFrame(frame.width, frame.height, frame.layout.value)
        for plane, values in zip(picture.planes, frame.planes, strict=False):
            rows, columns = values.shape[0], values[0].size
            view = _rows(plane)
            view[:rows, :columns] = values.reshape(rows, columns)
        done = self._reformatter.reformat(
            picture,
            target.width,
            target.height,
            target.layout.value,
            src_colorspace=_matrix(frame.color, frame.height),
            dst_colorspace=_matrix(target.color, target.height),
            src_color_range=_range(frame.color, frame.layout.is_yuv),
            dst_color_range=_range(target.color, target.layout.is_yuv),
            interpolation="BICUBIC",
            threads=1,
        )
        shapes = plane_shapes(target.layout, target.width, target.height)
        return tuple(
            _rows(plane)[: shape[0], : int(np.prod(shape[1:]))].reshape(shape)
            for plane, shape in zip(done.planes, shapes, strict=False)
        )


def _rows(plane: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


def _matrix(color: ColorSpec, height: int) -> int:
    return _SWS.get(color.matrix, 1 if height >= 720 else 5)


def _range(color: ColorSpec, is_yuv: bool) -> int:
    return _FULL if color.full_range or not is_yuv else _LIMITED
