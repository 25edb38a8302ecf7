"""Tone mapping of high-dynamic-range videos in the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from streammatte.frame_pool import FramePool
from streammatte.frames import U8, ColorSpec, Layout
from streammatte.kernels.tonemap import HLG_PEAK_NITS, tone_map, tone_table
from streammatte.sources.orientation import side_data

__all__ = ["ToneMapper", "peak_of"]


_HLG = 18
_BT2020 = 9
_UNSPECIFIED = 2
_MIN_PEAK, _MAX_PEAK = 400.0, 10_000.0
"""Metadata below or above this (0 is common) is ignored."""


def peak_of(frame: Any) -> float:
    """The video's peak luminance in cd/m2 by its metadata: content (MaxCLL), else mastering display, else 1000."""
    found = side_data(frame)
    content = np.frombuffer(found.get("CONTENT_LIGHT_LEVEL", b"")[:4], np.uint32)
    if content.size and _MIN_PEAK <= content[0] <= _MAX_PEAK:
        return float(content[0])
    mastering = np.frombuffer(found.get("MASTERING_DISPLAY_METADATA", b"")[80:88], np.int32)
    if mastering.size == 2 and mastering[1] and _MIN_PEAK <= mastering[0] / mastering[1] <= _MAX_PEAK:
        return float(mastering[0] / mastering[1])
    return HLG_PEAK_NITS


class ToneMapper:
    """Makes 8-bit BT.709 planes of PQ or HLG images.

    Parameters
    ----------
    first : av.VideoFrame
        The video's first image; its metadata give the peak.
    color : ColorSpec
        The video's colours; an unspecified matrix or unspecified primaries are BT.2020's.
    layout : Layout
        The nearest layout of the video's format; 4:2:0 stays, the rest becomes 4:4:4.
    """

    def __init__(self, first: Any, color: ColorSpec, layout: Layout) -> None:
        self.layout = layout if layout is Layout.YUV420 else Layout.YUV444
        self.color = ColorSpec(matrix=1, primaries=1, transfer=1, full_range=False)
        self._format = self.layout.value + "10le"
        self._rgb = layout is Layout.RGB
        self._range = 2 if color.full_range and not self._rgb else 1
        matrix = 1 if self._rgb else (_BT2020 if color.matrix == _UNSPECIFIED else color.matrix)
        self._table = tone_table(
            hlg=color.transfer == _HLG,
            luma=ColorSpec(matrix).luma(first.height),
            full_range=color.full_range and not self._rgb,
            primaries=_BT2020 if color.primaries == _UNSPECIFIED else color.primaries,
            peak=peak_of(first),
        )
        self._reformatter = VideoReformatter()
        self._pool = FramePool()

    def __call__(self, image: Any) -> tuple[U8, ...]:
        """Planes of one image, 8 bit, in memory of their own."""
        if image.format.name != self._format:
            image = self._to_10_bit(image)
        planes = []
        for plane in image.planes:
            stride = plane.line_size // 2
            planes.append(np.frombuffer(plane, np.uint16).reshape(-1, stride)[: plane.height, : plane.width])
        out = self._pool.take(self.layout, image.width, image.height)
        return tone_map((planes[0], planes[1], planes[2]), self._table, (out[0], out[1], out[2]))

    def _to_10_bit(self, image: Any) -> Any:
        if self._rgb:
            return self._reformatter.reformat(
                image, format=self._format, dst_colorspace=Colorspace.ITU709, dst_color_range=self._range, threads=1
            )
        return self._reformatter.reformat(
            image, format=self._format, src_color_range=self._range, dst_color_range=self._range, threads=1
        )
