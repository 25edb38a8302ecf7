"""From a decoder's image to planes: views where the layout is one of the pipeline's, one conversion where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from streammatte.frames import U8, ColorSpec, Frame, Layout, plane_shapes
from streammatte.media.planes import Target, convert_planes
from streammatte.sources.orientation import Orientation

__all__ = ["PlaneConverter", "color_of", "is_hdr"]

log = logging.getLogger(__name__)

Planes = tuple[U8, ...]

_OWN = {
    "yuv420p": Layout.YUV420,
    "yuvj420p": Layout.YUV420,
    "yuv422p": Layout.YUV422,
    "yuvj422p": Layout.YUV422,
    "yuv444p": Layout.YUV444,
    "yuvj444p": Layout.YUV444,
}
_WITH_ALPHA = {"yuva420p": Layout.YUV420, "yuva422p": Layout.YUV422, "yuva444p": Layout.YUV444}
_PQ, _HLG = 16, 18
"""Transfer characteristics of ISO/IEC 23091-2: SMPTE ST 2084 and ARIB STD-B67."""

_FULL, _LIMITED = 2, 1
_NEUTRAL = 128
_PROBE = 16
"""Any width divisible by every chroma subsampling; only ratios are computed from it."""


def is_hdr(transfer: int) -> bool:
    """True for the two high-dynamic-range transfer characteristics, PQ and HLG."""
    return transfer in (_PQ, _HLG)


def color_of(frame: Any, context: Any) -> ColorSpec:
    """Colour description of a decoded frame; where it has none, the stream's."""

    def known(name: str) -> int:
        value = int(getattr(frame, name))
        return value if value != 2 else int(getattr(context, name))

    name = frame.format.name
    full = int(frame.color_range) == _FULL or name.startswith("yuvj")
    if _is_rgb(frame.format) or (name.startswith(("gray", "ya", "mono")) and int(frame.color_range) != _LIMITED):
        full = True
    matrix = 2 if _is_rgb(frame.format) else known("colorspace")
    return ColorSpec(matrix, known("color_primaries"), known("color_trc"), full)


def _is_rgb(kind: Any) -> bool:
    return bool(kind.is_rgb or kind.has_palette)


def _nearest(kind: Any) -> Layout:
    """The layout that keeps most of a pixel format at least size."""
    if _is_rgb(kind):
        return Layout.RGB
    if len(kind.components) < 3:
        return Layout.YUV420
    narrow, low = kind.chroma_width(_PROBE) < _PROBE, kind.chroma_height(_PROBE) < _PROBE
    if narrow:
        return Layout.YUV420 if low else Layout.YUV422
    return Layout.YUV444


def _has_alpha(kind: Any) -> bool:
    return any(component.is_alpha for component in kind.components) and not kind.name.endswith("0")


def _depth(kind: Any) -> int:
    return max(component.bits for component in kind.components) if not kind.has_palette else 8


def _view(plane: Any, rows: int, columns: int) -> U8:
    stride = plane.line_size
    return np.frombuffer(plane, np.uint8, rows * stride).reshape(rows, stride)[:, :columns]


class PlaneConverter:
    """Turns one video's decoded images into planes of one layout, colour space and size.

    Images of another size or rotation than the first are fitted inside black bars.

    Parameters
    ----------
    first : av.VideoFrame
        The video's first image; it decides.
    context : av.VideoCodecContext
        For colour tags that the frame lacks.
    name : str
        What messages call the video.
    largest : av.VideoFrame, optional
        The image that decides on the size instead.
    notice : int
        Level of the log for what is lost.

    Attributes
    ----------
    layout, width, height : what comes out, after turning
    color : ColorSpec
    has_alpha : bool
    """

    def __init__(self, first: Any, context: Any, name: str, largest: Any = None, notice: int = logging.WARNING) -> None:
        self._context, self._name, self._notice = context, name, notice
        self._main = self._now = _SameSize(first, context, name)
        _note_losses(first.format, color_of(first, context).transfer, name, notice)
        decides = self._main if largest is None else _SameSize(largest, context, name)
        self.width, self.height, self.swaps = decides.width, decides.height, decides.orientation.swaps
        self.layout, self.color, self.has_alpha = self._main.layout, self._main.color, self._main.has_alpha
        self._said = largest is not None

    def planes(self, image: Any) -> tuple[Planes, U8 | None]:
        """Planes (uint8) of a decoded image, upright, and its alpha plane where it has one."""
        if self._now.kind != _SameSize.kind_of(image):
            main = self._main.kind == _SameSize.kind_of(image)
            self._now = self._main if main else _SameSize(image, self._context, self._name)
            self._warn()
        planes, alpha = self._now.planes(image)
        if self._now is self._main and (self._now.width, self._now.height) == (self.width, self.height):
            return planes, alpha
        return self._fitted(planes, alpha)

    def _fitted(self, planes: Planes, alpha: U8 | None) -> tuple[Planes, U8 | None]:
        now, once = self._now, Fraction(1)
        target = Target(self.layout, self.width, self.height, self.color)
        fitted = convert_planes(Frame(planes, now.layout, 0, once, now.color), target, "contain")
        if not self.has_alpha:
            return fitted, None
        opaque = np.full((now.height, now.width), 255, np.uint8) if alpha is None else alpha
        gray = Target(Layout.GRAY, self.width, self.height, self.color)
        return fitted, convert_planes(Frame((opaque,), Layout.GRAY, 0, once, now.color), gray, "contain")[0]

    def _warn(self) -> None:
        if not self._said:
            self._said = True
            was, now = self._main, self._now
            log.log(
                self._notice,
                "%s changes its image from %dx%d to %dx%d; the rest is fitted into the first size, inside black bars "
                "(--size-change follow takes the largest)",
                *(self._name, was.width, was.height, now.width, now.height),
            )


class _SameSize:
    """The conversion of images of one size and rotation."""

    def __init__(self, first: Any, context: Any, name: str) -> None:
        self.kind = self.kind_of(first)
        kind = first.format
        self._name = name
        self._size = (first.width, first.height)
        self.orientation = Orientation.of(first, name)
        self.color = color_of(first, context)
        self.has_alpha = _has_alpha(kind)
        self.layout = self.orientation.layout(_nearest(kind))
        self._reformatter = VideoReformatter()
        self._tone: Callable[[Any], Planes] | None = None
        if is_hdr(self.color.transfer):
            from streammatte.sources.hdr import ToneMapper

            mapper = ToneMapper(first, self.color, self.layout)
            self._tone, self.layout, self.color, self.has_alpha = mapper, mapper.layout, mapper.color, False
        self._gray = (
            np.full(plane_shapes(self.layout, *self._size)[1], _NEUTRAL, np.uint8) if self._is_gray(kind) else None
        )
        turned = self.orientation.swaps
        self.width, self.height = self._size[::-1] if turned else self._size

    @staticmethod
    def kind_of(image: Any) -> tuple[int, int, int]:
        """What the conversion depends on."""
        return image.width, image.height, image.rotation

    def planes(self, image: Any) -> tuple[Planes, U8 | None]:
        """Planes (uint8) of a decoded image, upright, and its alpha plane where it has one."""
        if self._tone is not None:
            planes, alpha = self._tone(image), None
        else:
            planes, alpha = self._convert(image)
        if self.orientation.upright:
            return planes, alpha
        turn = self.orientation.apply
        return tuple(turn(plane) for plane in planes), None if alpha is None else turn(alpha)

    def _convert(self, image: Any) -> tuple[Planes, U8 | None]:
        name = image.format.name
        if _OWN.get(name) is self.layout:
            return self._views(image), None
        if self._gray is not None and self._is_gray(image.format):
            if name != "gray":
                image = self._reformat(image, "gray")
            width, height = self._size
            return (_view(image.planes[0], height, width), self._gray, self._gray), None
        if self.has_alpha and _has_alpha(image.format):
            return self._convert_with_alpha(image)
        return self._views(self._reformat(image, self.layout.value)), None

    def _convert_with_alpha(self, image: Any) -> tuple[Planes, U8 | None]:
        width, height = self._size
        if self.layout is Layout.RGB:
            rgba = self._reformat(image, "rgba")
            whole = _view(rgba.planes[0], height, width * 4).reshape(height, width, 4)
            alpha = np.ascontiguousarray(whole[..., 3])
            return (np.ascontiguousarray(whole[..., :3]),), None if alpha.min() == 255 else alpha
        wanted = "yuva" + self.layout.value[3:]
        if image.format.name != wanted:
            image = self._reformat(image, wanted)
        return self._views(image), _view(image.planes[3], height, width)

    def _views(self, image: Any) -> Planes:
        width, height = self._size
        if self.layout is Layout.RGB:
            return (_view(image.planes[0], height, width * 3).reshape(height, width, 3),)
        shapes = plane_shapes(self.layout, width, height)
        return tuple(_view(plane, *shape) for plane, shape in zip(image.planes, shapes, strict=False))

    def _reformat(self, image: Any, kind: str) -> Any:
        """Another pixel format of the same colours: matrix and range stay, so only depth and sampling change."""
        if _is_rgb(image.format):
            return self._reformatter.reformat(image, format=kind, threads=1)
        levels = _FULL if self.color.full_range else _LIMITED
        return self._reformatter.reformat(image, format=kind, src_color_range=levels, dst_color_range=levels, threads=1)

    @staticmethod
    def _is_gray(kind: Any) -> bool:
        return not _is_rgb(kind) and len(kind.components) == 1


def _note_losses(kind: Any, transfer: int, name: str, notice: int) -> None:
    depth = _depth(kind)
    if is_hdr(transfer):
        what = "PQ" if transfer == _PQ else "HLG"
        log.log(notice, "%s is HDR (%s, %d bit); it is tone-mapped to BT.709, 8 bit", name, what, depth)
    elif depth > 8:
        log.log(notice, "%s has %d bits a sample; it is reduced to 8, its colour tags stay", name, depth)
