"""A frame as packed bytes of one pixel format: for cameras, windows and pictures, which are no encoders."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from streammatte.frames import ColorSpec, Frame

__all__ = ["Pixels"]

U8 = npt.NDArray[np.uint8]

_LIMITED, _FULL = 1, 2  # AVColorRange
_SWS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix coefficients (ISO/IEC 23091-2) to swscale's own numbers."""
_BT601 = 5


class Pixels:
    """Converts frames of any layout.

    Parameters
    ----------
    pix_fmt : {"rgb24", "bgr24", "yuv420p", "nv12"}
        The two of YUV are BT.601, limited range: what programs take a camera for.
    """

    def __init__(self, pix_fmt: str) -> None:
        self._pix_fmt = pix_fmt
        self._reformatter = VideoReformatter()
        self._picture: Any = None

    def array(self, frame: Frame) -> U8:
        """The picture: (H, W, 3) uint8 for RGB and BGR, the planes' bytes one after the other for YUV."""
        if self._pix_fmt == frame.layout.value == "rgb24":
            return np.ascontiguousarray(frame.planes[0])
        done = self._convert(frame)
        if self._pix_fmt in ("rgb24", "bgr24"):
            rows = _rows(done.planes[0])[: frame.height, : frame.width * 3]
            return np.ascontiguousarray(rows).reshape(frame.height, frame.width, 3)
        chroma = ((frame.height + 1) // 2, (frame.width + 1) // 2)
        sizes = [(frame.height, frame.width), chroma, chroma]
        if self._pix_fmt == "nv12":
            sizes[1:] = [(chroma[0], 2 * chroma[1])]
        parts = [_rows(plane)[:h, :w].reshape(-1) for plane, (h, w) in zip(done.planes, sizes, strict=False)]
        return np.concatenate(parts)

    def _convert(self, frame: Frame) -> Any:
        source = self._load(frame)
        is_rgb = self._pix_fmt in ("rgb24", "bgr24")
        matrix = _matrix(frame.color, frame.height)
        given = _FULL if frame.color.full_range or not frame.layout.is_yuv else _LIMITED
        wanted = _FULL if is_rgb else _LIMITED
        same = matrix == _BT601 and given == wanted
        if source.format.name == self._pix_fmt and same:
            return source
        return self._reformatter.reformat(
            source,
            frame.width,
            frame.height,
            self._pix_fmt,
            src_colorspace=matrix,
            dst_colorspace=matrix if is_rgb else _BT601,
            src_color_range=given,
            dst_color_range=wanted,
            threads=1,
        )

    def _load(self, frame: Frame) -> Any:
        picture = self._picture
        kind = (frame.width, frame.height, frame.layout.value)
        if picture is None or (picture.width, picture.height, picture.format.name) != kind:
            picture = self._picture = av.VideoFrame(*kind)
        picture.make_writable()
        for plane, values in zip(picture.planes, frame.planes, strict=False):
            rows, columns = values.shape[0], values[0].size
            _rows(plane)[:rows, :columns] = values.reshape(rows, columns)
        return picture


def _matrix(color: ColorSpec, height: int) -> int:
    return _SWS.get(color.matrix, 1 if height >= 720 else _BT601)


def _rows(plane: Any) -> U8:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
