"""The last step before an encoder: a frame's planes as the picture that the encoder takes."""

from __future__ import annotations

from typing import Any

import av
import av.video.reformatter
import numpy as np
import numpy.typing as npt

from streammatte.frames import UNSPECIFIED, ColorSpec, Frame, Layout

__all__ = ["Door", "tags_of"]

U8 = npt.NDArray[np.uint8]

_LIMITED, _FULL = 1, 2  # AVColorRange
_GRAY_IN_YUV = ColorSpec(1, 1, 1, True)
"""A matte uses all 256 levels; its chroma is neutral, so the matrix does not matter, but players ask for one."""

_SWS_COLORSPACE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix coefficients (ISO/IEC 23091-2) to swscale's own numbers."""

_RGB_FORMATS = {"rgb24", "bgr24", "rgba", "argb", "bgra", "bgr0", "gbrp", "gbrap"}


def tags_of(color: ColorSpec, layout: Layout, pix_fmt: str, limited_only: bool = False) -> ColorSpec:
    """How the encoded picture is to be described.

    YUV frames keep their own description. RGB that becomes YUV is BT.709, limited range; a matte's gray is full range.
    """
    if pix_fmt in _RGB_FORMATS:
        return ColorSpec(UNSPECIFIED, color.primaries, color.transfer, True)
    if layout is Layout.RGB:
        color = ColorSpec(1, 1, color.transfer if color.transfer != UNSPECIFIED else 1, False)
    elif layout is Layout.GRAY:
        color = _GRAY_IN_YUV
    return ColorSpec(color.matrix, color.primaries, color.transfer, False) if limited_only else color


class Door:
    """Turns frames of one layout and size into pictures of one pixel format and size.

    Where both are the same, rows are copied and nothing is computed. The picture that is given back is used again
    once the encoder lets go of it.

    Parameters
    ----------
    width, height : int
        Of the encoded picture.
    pix_fmt : str
        What the encoder takes.
    tags : ColorSpec
        How the encoded picture is described.
    pad : bool
        Repeat the last column and row of the picture up to ``width`` and ``height`` (at most one each), not scale.
    """

    def __init__(self, width: int, height: int, pix_fmt: str, tags: ColorSpec, pad: bool = False) -> None:
        self._size = (width, height)
        self._pix_fmt = pix_fmt
        self._tags = tags
        self._pad = pad
        self._pictures: dict[tuple[int, int, str], Any] = {}
        self._reformatter = av.video.reformatter.VideoReformatter()

    def picture(self, frame: Frame) -> Any:
        """The frame as ``av.VideoFrame`` for the encoder, times not set."""
        width, height = self._size if self._pad else (frame.width, frame.height)
        source = self._load(frame, width, height)
        if source.format.name == self._pix_fmt and (source.width, source.height) == self._size:
            return self._tagged(source)
        wanted = _FULL if self._tags.full_range else _LIMITED
        given = _FULL if frame.color.full_range or not frame.layout.is_yuv else _LIMITED
        matrix = _matrix_number(frame.color if frame.layout.is_yuv else self._tags, frame.height)
        picture = self._reformatter.reformat(
            source,
            *self._size,
            self._pix_fmt,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=given,
            dst_color_range=wanted,
            interpolation=_interpolation(source, self._size),
            threads=1,
        )
        return self._tagged(picture)

    def _tagged(self, picture: Any) -> Any:
        """Some encoders take the description from the pictures (ProRes), others from their own context."""
        picture.colorspace = self._tags.matrix
        picture.color_range = _FULL if self._tags.full_range else _LIMITED
        picture.color_primaries = self._tags.primaries
        picture.color_trc = self._tags.transfer
        return picture

    def _load(self, frame: Frame, width: int, height: int) -> Any:
        """The frame's planes in a picture of FFmpeg's; gray becomes luma where the encoder takes no gray."""
        layout, planes, alpha = frame.layout, frame.planes, frame.alpha
        wants_alpha = "a" in self._pix_fmt.replace("gray", "")
        name = layout.value
        if layout is Layout.GRAY and self._pix_fmt == "yuv420p":
            name = "yuv420p"
        elif wants_alpha and layout.is_yuv:
            name = layout.value.replace("yuv", "yuva")
        elif wants_alpha:
            name = "rgba"
        picture = self._take(width, height, name)
        views = [_rows(plane) for plane in picture.planes]
        if name == "rgba":
            _fill_rgba(views[0], planes, alpha, width, height)
            return picture
        for view, plane in zip(views, planes, strict=False):
            _fill(view, plane)
        if name == "yuv420p" and layout is Layout.GRAY:
            for view in views[1:]:
                view[:] = 128
        if name.startswith("yuva"):
            _fill(views[3], alpha if alpha is not None else _OPAQUE)
        return picture

    def _take(self, width: int, height: int, name: str) -> Any:
        picture = self._pictures.get((width, height, name))
        if picture is None:
            self._pictures.clear()
            picture = self._pictures[width, height, name] = av.VideoFrame(width, height, name)
        picture.make_writable()
        return picture


_OPAQUE = np.full((1, 1), 255, np.uint8)


def _rows(plane: Any) -> U8:
    """A plane's memory as rows of bytes, cut to what belongs to the picture."""
    memory: U8 = np.frombuffer(plane, np.uint8)
    return memory.reshape(plane.height, plane.line_size)


def _fill(view: U8, plane: U8) -> None:
    """Copy a plane, repeating its last row and column where the picture is larger by one."""
    rows, columns = plane.shape[:2]
    if plane.size == 1:
        view[:] = plane.reshape(())
        return
    width = columns * (plane.shape[2] if plane.ndim == 3 else 1)
    view[:rows, :width] = plane.reshape(rows, width)
    step = width // columns
    if view.shape[1] >= width + step:
        view[:rows, width : width + step] = view[:rows, width - step : width]
    if view.shape[0] > rows:
        view[rows:] = view[rows - 1]


def _fill_rgba(view: U8, planes: tuple[U8, ...], alpha: U8 | None, width: int, height: int) -> None:
    pixels = view[:height, : 4 * width].reshape(height, width, 4)
    pixels[..., :3] = planes[0] if planes[0].ndim == 3 else planes[0][..., None]
    pixels[..., 3] = 255 if alpha is None else alpha


def _matrix_number(tags: ColorSpec, height: int) -> int:
    guess = 1 if height >= 720 else 5
    return _SWS_COLORSPACE.get(tags.matrix, guess)


def _interpolation(source: Any, size: tuple[int, int]) -> Any:
    """Area averaging where the picture shrinks, bicubic where it grows; accurate rounding always."""
    kinds = av.video.reformatter.Interpolation
    kind = kinds.AREA if source.width > size[0] else kinds.BICUBIC
    return kind | kinds.ACCURATE_RND
