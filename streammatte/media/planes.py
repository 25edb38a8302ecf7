"""Images from one colour space, layout and size to another's planes; the geometry of fitting."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import U8, ColorSpec, Frame, Layout, Matte, StreamInfo
from streammatte.kernels.color import rgb_matrix

__all__ = [
    "Target",
    "alpha_for_planes",
    "black_planes",
    "color_planes",
    "convert_planes",
    "shrink_chroma",
    "small_components",
]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """What planes must look like to lie under a frame; hashable, so that what was converted can be kept by it."""

    layout: Layout
    width: int
    height: int
    color: ColorSpec

    @classmethod
    def of(cls, frame: Frame | StreamInfo) -> Target:
        """What a frame, or the frames of a stream, look like."""
        return cls(frame.layout, frame.width, frame.height, frame.color)


def _to_rgb(layout: Layout, color: ColorSpec, height: int) -> F64:
    """The affine map (4, 4) from an image's three components to R, G, B, in levels."""
    matrix: F64 = np.eye(4, dtype=np.float64)
    if layout.is_yuv:
        matrix[:3] = rgb_matrix(color, height)
    return matrix


def _from_rgb(target: Target) -> F64:
    if target.layout is Layout.GRAY:
        return np.array([[0.299, 0.587, 0.114, 0.0]])
    return np.asarray(np.linalg.inv(_to_rgb(target.layout, target.color, target.height))[:3], np.float64)


def shrink_chroma(plane: U8, layout: Layout) -> U8:
    """A full-size plane (H, W) uint8 averaged to the size of the layout's chroma planes; odd edges are repeated."""
    rows, columns = layout.chroma_shift
    if not rows and not columns:
        return plane
    height, width = plane.shape
    down, right = height % 2 if rows else 0, width % 2 if columns else 0
    if down or right:
        plane = cv2.copyMakeBorder(plane, 0, down, 0, right, cv2.BORDER_REPLICATE)
    size = (plane.shape[1] >> columns, plane.shape[0] >> rows)
    shrunk: U8 = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return shrunk


def alpha_for_planes(alpha: U8, layout: Layout) -> tuple[U8, ...]:
    """The matte (H, W) uint8 at each plane's own size (once for interleaved RGB)."""
    if not layout.is_yuv:
        return (alpha,)
    chroma = shrink_chroma(alpha, layout)
    return (alpha, chroma, chroma)


def small_components(matte: Matte) -> tuple[U8, ...]:
    """The frame's components (Y, U, V; R, G, B; gray), each (h, w) uint8 like the small matte, C-contiguous."""
    h, w = matte.small_alpha.shape
    components = matte.small_planes
    if components is None:
        frame = matte.frame
        components = tuple(cv2.split(frame.planes[0])) if frame.layout is Layout.RGB else frame.planes
    return tuple(np.ascontiguousarray(_resize(component, w, h)) for component in components)


def color_planes(rgb: tuple[int, int, int], target: Target) -> tuple[U8, ...]:
    """Planes of one colour."""
    levels = np.clip(np.rint(_from_rgb(target) @ np.array([*rgb, 1.0])), 0, 255).astype(np.uint8)
    if target.layout is Layout.RGB:
        return (np.full((target.height, target.width, 3), levels, np.uint8),)
    alpha = np.broadcast_to(np.uint8(0), (target.height, target.width))
    shapes = [plane.shape for plane in alpha_for_planes(np.ascontiguousarray(alpha), target.layout)]
    return tuple(np.full(shape, level, np.uint8) for shape, level in zip(shapes, levels, strict=False))


def black_planes(target: Target) -> tuple[U8, ...]:
    """Planes of black."""
    return color_planes((0, 0, 0), target)


def convert_planes(frame: Frame, target: Target, fit: str, sample_aspect: Fraction = Fraction(1)) -> tuple[U8, ...]:
    """An image's planes in the target's layout, colour space and size.

    Parameters
    ----------
    frame : Frame
        The image; not written to.
    target : Target
    fit : {"cover", "contain", "stretch"}
        Fill and crop, fit inside black bars, or distort.
    sample_aspect : Fraction
        Width of the target's pixels over that of the image's, heights being equal.
    """
    source, inner = _rectangles(frame.width, frame.height, target, fit, sample_aspect)
    same_space = frame.layout is target.layout and (
        not frame.layout.is_yuv
        or (frame.color.luma(frame.height), frame.color.full_range)
        == (target.color.luma(target.height), target.color.full_range)
    )
    if same_space:
        return _pad(_scale_planes(frame, source, inner), inner, target)
    components = cv2.merge(_components(frame, source, inner))
    matrix = _from_rgb(target) @ _to_rgb(frame.layout, frame.color, frame.height)
    converted = cv2.transform(components, matrix)
    if target.layout is Layout.RGB:
        return _pad((converted,), inner, target)
    planes = tuple(cv2.split(converted)) if converted.ndim == 3 else (converted,)
    if target.layout.is_yuv:
        planes = (planes[0], shrink_chroma(planes[1], target.layout), shrink_chroma(planes[2], target.layout))
    return _pad(planes, inner, target)


Rectangle = tuple[int, int, int, int]
"""x, y, width, height."""


def _rectangles(
    width: int, height: int, target: Target, fit: str, sample_aspect: Fraction
) -> tuple[Rectangle, Rectangle]:
    """Which part of an image goes where in the target. Corners lie on even pixels, so that chroma follows."""
    across, down = float(sample_aspect) * target.width / width, target.height / height
    everything = (0, 0, target.width, target.height)
    if fit == "stretch":
        return (0, 0, width, height), everything
    if fit == "cover":
        scale = max(across, down)
        w = min(width, max(1, round(width * across / scale)))
        h = min(height, max(1, round(height * down / scale)))
        return (((width - w) // 4) * 2, ((height - h) // 4) * 2, w, h), everything
    scale = min(across, down)
    w = min(target.width, max(2, 2 * round(target.width * scale / across / 2)))
    h = min(target.height, max(2, 2 * round(target.height * scale / down / 2)))
    w, h = (target.width if scale == across else w), (target.height if scale == down else h)
    return (0, 0, width, height), (((target.width - w) // 4) * 2, ((target.height - h) // 4) * 2, w, h)


def _resize(plane: U8, width: int, height: int) -> U8:
    if plane.shape[:2] == (height, width):
        return plane
    shrinks = plane.shape[0] >= height and plane.shape[1] >= width
    resized: U8 = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized


def _crop(plane: U8, rectangle: Rectangle, shift: tuple[int, int]) -> U8:
    x, y, width, height = rectangle
    rows, columns = shift
    return plane[y >> rows : -(-(y + height) >> rows), x >> columns : -(-(x + width) >> columns)]


def _shift(layout: Layout, plane: int) -> tuple[int, int]:
    return layout.chroma_shift if plane else (0, 0)


def _scale_planes(frame: Frame, source: Rectangle, inner: Rectangle) -> tuple[U8, ...]:
    """The cropped planes at the place's size, each at its own sampling."""
    _, _, width, height = inner
    scaled = []
    for number, plane in enumerate(frame.planes):
        rows, columns = _shift(frame.layout, number)
        scaled.append(_resize(_crop(plane, source, (rows, columns)), -(-width >> columns), -(-height >> rows)))
    return tuple(scaled)


def _components(frame: Frame, source: Rectangle, inner: Rectangle) -> tuple[U8, ...]:
    """Three components of the cropped image, all at the place's full size."""
    _, _, width, height = inner
    scaled = [
        _resize(_crop(plane, source, _shift(frame.layout, number)), width, height)
        for number, plane in enumerate(frame.planes)
    ]
    if frame.layout is Layout.RGB:
        return tuple(cv2.split(scaled[0]))
    return tuple(scaled) if len(scaled) == 3 else (scaled[0], scaled[0], scaled[0])


def _pad(planes: tuple[U8, ...], inner: Rectangle, target: Target) -> tuple[U8, ...]:
    """The planes inside black bars, C-contiguous."""
    x, y, width, height = inner
    if (width, height) == (target.width, target.height):
        return tuple(np.ascontiguousarray(plane) for plane in planes)
    canvas = black_planes(target)
    for number, plane in enumerate(planes):
        rows, columns = _shift(target.layout, number)
        top, left = y >> rows, x >> columns
        canvas[number][top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return canvas
