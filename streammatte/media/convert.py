"""Conversion between frames (NumPy planes) and ``av.VideoFrame``, and between pixel formats, by swscale."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from streammatte.frames import U8, UNSPECIFIED, ColorSpec, Frame, Layout

__all__ = ["FrameConverter", "PixelConverter", "blank_image", "compressed", "tags_of"]

_LIMITED, _FULL = 1, 2  # AVColorRange
_SWS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix coefficients (ISO/IEC 23091-2) to swscale's own numbers."""
_BT601 = 5


class PixelConverter:
    """Converts frames of any layout.

    Parameters
    ----------
    pix_fmt : {"rgb24", "bgr24", "yuv420p", "nv12"}
        The two of YUV are BT.601, limited range: what programs expect of a camera.
    """

    def __init__(self, pix_fmt: str) -> None:
        self._pix_fmt = pix_fmt
        self._reformatter = VideoReformatter()
        self._image: Any = None

    def array(self, frame: Frame) -> U8:
        """The image: (H, W, 3) uint8 for RGB and BGR, the planes' bytes one after the other for YUV."""
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

    def image(self, frame: Frame) -> Any:
        """The image as an ``av.VideoFrame`` of its own in yuv420p; a last odd row or column is left out."""
        width, height, planar = frame.width, frame.height, self.array(frame)
        if width % 2 or height % 2:
            rows, columns = (height + 1) // 2, (width + 1) // 2
            luma = planar[: height * width].reshape(height, width)[: height & ~1, : width & ~1]
            chroma = planar[height * width :].reshape(2, rows, columns)[:, : height // 2, : width // 2]
            planar = np.concatenate([luma.reshape(-1), chroma.reshape(-1)])
        return av.VideoFrame.from_ndarray(planar.reshape(-1, width & ~1), "yuv420p")

    def _convert(self, frame: Frame) -> Any:
        source = self._load(frame)
        is_rgb = self._pix_fmt in ("rgb24", "bgr24")
        matrix = _matrix(frame.color, frame.height)
        given = _range(frame.color, frame.layout.is_yuv)
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
        image = self._image
        kind = (frame.width, frame.height, frame.layout.value)
        if image is None or (image.width, image.height, image.format.name) != kind:
            image = self._image = av.VideoFrame(*kind)
        image.make_writable()
        for plane, values in zip(image.planes, frame.planes, strict=False):
            rows, columns = values.shape[0], values[0].size
            _rows(plane)[:rows, :columns] = values.reshape(rows, columns)
        return image


def blank_image(width: int, height: int) -> Any:
    """An ``av.VideoFrame`` in yuv420p with nothing in it yet."""
    return av.VideoFrame(width, height, "yuv420p")


_GRAY_IN_YUV = ColorSpec(1, 1, 1, True)
"""A matte uses all 256 levels; its chroma is neutral, so the matrix has no effect, but players need one."""

_RGB_FORMATS = {"rgb24", "bgr24", "rgba", "argb", "bgra", "bgr0", "gbrp", "gbrap"}


def tags_of(color: ColorSpec, layout: Layout, pix_fmt: str, limited_only: bool = False) -> ColorSpec:
    """How the encoded image is to be described.

    YUV frames keep their own description. RGB that becomes YUV is BT.709, limited range; a matte's gray is full range.

    Parameters
    ----------
    color : ColorSpec
        The frames' own.
    layout : Layout
        Theirs.
    pix_fmt : str
        What the encoder takes.
    limited_only : bool
        The container has no full range.
    """
    if pix_fmt in _RGB_FORMATS:
        return ColorSpec(UNSPECIFIED, color.primaries, color.transfer, True)
    if layout is Layout.RGB:
        color = ColorSpec(1, 1, color.transfer if color.transfer != UNSPECIFIED else 1, False)
    elif layout is Layout.GRAY:
        color = _GRAY_IN_YUV
    return ColorSpec(color.matrix, color.primaries, color.transfer, False) if limited_only else color


class FrameConverter:
    """Turns frames of one layout and size into images of one pixel format and size.

    Where both are the same, rows are copied and nothing is computed. The image that is returned is reused once the
    encoder has released it.

    Parameters
    ----------
    width, height : int
        Of the encoded image.
    pix_fmt : str
        What the encoder takes.
    tags : ColorSpec
        How the encoded image is described.
    pad : bool
        Repeat the last column and row of the image up to ``width`` and ``height`` (at most one each), not scale.
    """

    def __init__(self, width: int, height: int, pix_fmt: str, tags: ColorSpec, pad: bool = False) -> None:
        self._size = (width, height)
        self._pix_fmt = pix_fmt
        self._tags = tags
        self._pad = pad
        self._images: dict[tuple[int, int, str], Any] = {}
        self._reformatter = VideoReformatter()

    def convert(self, frame: Frame) -> Any:
        """The frame as ``av.VideoFrame`` for the encoder, times not set."""
        width, height = self._size if self._pad else (frame.width, frame.height)
        source = self._load(frame, width, height)
        if source.format.name == self._pix_fmt and (source.width, source.height) == self._size:
            return self._tagged(source)
        wanted = _FULL if self._tags.full_range else _LIMITED
        given = _range(frame.color, frame.layout.is_yuv)
        matrix = _matrix(frame.color if frame.layout.is_yuv else self._tags, frame.height)
        image = self._reformatter.reformat(
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
        return self._tagged(image)

    def _tagged(self, image: Any) -> Any:
        """Some encoders take the description from the images (ProRes), others from their own context."""
        image.colorspace = self._tags.matrix
        image.color_range = _FULL if self._tags.full_range else _LIMITED
        image.color_primaries = self._tags.primaries
        image.color_trc = self._tags.transfer
        return image

    def _load(self, frame: Frame, width: int, height: int) -> Any:
        """The frame's planes in an image of FFmpeg's; gray becomes luma where the encoder takes no gray."""
        layout, planes, alpha = frame.layout, frame.planes, frame.alpha
        wants_alpha = "a" in self._pix_fmt.replace("gray", "")
        name = layout.value
        if layout is Layout.GRAY and self._pix_fmt == "yuv420p":
            name = "yuv420p"
        elif wants_alpha and layout.is_yuv:
            name = layout.value.replace("yuv", "yuva")
        elif wants_alpha:
            name = "rgba"
        image = self._take(width, height, name)
        views = [_rows(plane) for plane in image.planes]
        if name == "rgba":
            _fill_rgba(views[0], planes, alpha, width, height)
            return image
        for view, plane in zip(views, planes, strict=False):
            _fill(view, plane)
        if name == "yuv420p" and layout is Layout.GRAY:
            for view in views[1:]:
                view[:] = 128
        if name.startswith("yuva"):
            _fill(views[3], alpha if alpha is not None else _OPAQUE)
        return image

    def _take(self, width: int, height: int, name: str) -> Any:
        image = self._images.get((width, height, name))
        if image is None:
            self._images.clear()
            image = self._images[width, height, name] = av.VideoFrame(width, height, name)
        image.make_writable()
        return image


_OPAQUE = np.full((1, 1), 255, np.uint8)


def _rows(plane: Any) -> U8:
    """A plane's memory as rows of bytes, cut to what belongs to the image."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


def _fill(view: U8, plane: U8) -> None:
    """Copy a plane, repeating its last row and column where the image is larger by one."""
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


def _matrix(color: ColorSpec, height: int) -> int:
    """The swscale number of a matrix; BT.709 is assumed for untagged video of 720 rows or more, BT.601 below."""
    return _SWS.get(color.matrix, 1 if height >= 720 else _BT601)


def _range(color: ColorSpec, is_yuv: bool) -> int:
    return _FULL if color.full_range or not is_yuv else _LIMITED


def _interpolation(source: Any, size: tuple[int, int]) -> Any:
    """Area averaging where the image shrinks, bicubic where it grows; accurate rounding always."""
    kind = Interpolation.AREA if source.width > size[0] else Interpolation.BICUBIC
    return kind | Interpolation.ACCURATE_RND


def compressed(image: U8, crf: int) -> U8:
    """An image (H, W, 3) uint8 RGB after H.264 (x264, ``ultrafast``) at a constant quality, 0 to 51, and back."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    data = io.BytesIO()
    with av.open(data, "w", format="h264") as out:
        options = {"crf": str(crf), "preset": "ultrafast"}
        stream: Any = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        out.mux(stream.encode(None))
    data.seek(0)
    with av.open(data, "r", format="h264") as read:
        decoded = next(read.decode(video=0)).to_ndarray(format="rgb24")
    return np.ascontiguousarray(decoded[:height, :width], np.uint8)
