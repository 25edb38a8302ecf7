"""Data of the pipeline: frames in their own planes, mattes with their frame, composites.

Plain data over numpy; no decoder, no engine. The layouts are the only ones inside the pipeline; sources convert
everything else once, at their output.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.tracks import TrackFeed

__all__ = ["ColorSpec", "Composite", "Frame", "Layout", "Matte", "StreamInfo", "plane_shapes"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

UNSPECIFIED = 2
"""ISO/IEC 23091-2 code point: the stream does not say."""

_LUMA = {  # matrix_coefficients -> (Kr, Kb), ISO/IEC 23091-2 table 4
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


class Layout(enum.Enum):
    """How a frame's planes hold its image; ``value`` is FFmpeg's name."""

    YUV420 = "yuv420p"
    YUV422 = "yuv422p"
    YUV444 = "yuv444p"
    RGB = "rgb24"
    GRAY = "gray"

    @property
    def chroma_shift(self) -> tuple[int, int]:
        """(rows, columns) as powers of two by which the chroma planes are smaller."""
        return {"yuv420p": (1, 1), "yuv422p": (0, 1)}.get(self.value, (0, 0))

    @property
    def is_yuv(self) -> bool:
        """True for the three planar YUV layouts."""
        return self.value.startswith("yuv")


def plane_shapes(layout: Layout, width: int, height: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the planes of a ``width`` x ``height`` image; chroma sides are rounded up, as codecs do.

    Parameters
    ----------
    layout : Layout
    width, height : int
        Pixels.
    """
    if layout is Layout.RGB:
        return ((height, width, 3),)
    if layout is Layout.GRAY:
        return ((height, width),)
    rows, columns = layout.chroma_shift
    chroma = (-(-height >> rows), -(-width >> columns))
    return ((height, width), chroma, chroma)


@dataclass(frozen=True, slots=True)
class ColorSpec:
    """Colour description by ISO/IEC 23091-2 code points (FFmpeg uses the same numbers); 2 is 'unspecified'."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    full_range: bool = False

    def luma(self, height: int) -> tuple[float, float]:
        """(Kr, Kb) of the matrix; an unspecified one is BT.709 from 720 rows on, else BT.601, as players assume."""
        guess = 1 if height >= 720 else 6
        return _LUMA.get(self.matrix, _LUMA[guess])


@dataclass(slots=True)
class Frame:
    """One image in its own planes.

    Parameters
    ----------
    planes : tuple of ndarray, uint8
        (Y, U, V) for YUV layouts, ((H, W, 3),) for RGB, ((H, W),) for GRAY: shapes as :func:`plane_shapes` gives them.
        Read-only by contract: a decoder may still refer to them. A plane's rows may be strided; its columns never.
    layout : Layout
    pts : int
        Presentation time in units of ``time_base``.
    time_base : Fraction
        Seconds a unit.
    color : ColorSpec
    index : int
        0, 1, 2 ... in order of presentation within the video.
    duration : int
        In units of ``time_base``; 0 where the container does not say.
    alpha : ndarray (H, W) uint8, optional
        Straight (not premultiplied) alpha of an image that has one.
    captured : float, optional
        ``time.monotonic()`` at capture, for live sources.
    owner : object
        Whatever keeps the planes' memory alive.
    """

    planes: tuple[U8, ...]
    layout: Layout
    pts: int
    time_base: Fraction
    color: ColorSpec = field(default_factory=ColorSpec)
    index: int = 0
    duration: int = 0
    alpha: U8 | None = None
    captured: float | None = None
    owner: Any = None

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.planes[0].shape[0])

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    def to_rgb(self) -> U8:
        """The image as (H, W, 3) uint8 RGB; chroma is repeated, not interpolated. For callers: no stage uses it."""
        if self.layout is Layout.RGB:
            return self.planes[0]
        if self.layout is Layout.GRAY:
            return np.repeat(self.planes[0][:, :, None], 3, axis=2)
        rows, columns = self.layout.chroma_shift
        luma, blue, red = (plane.astype(np.float32) for plane in self.planes)
        blue, red = (
            chroma.repeat(1 << rows, 0).repeat(1 << columns, 1)[: self.height, : self.width] - 128
            for chroma in (blue, red)
        )
        if not self.color.full_range:
            luma, blue, red = (luma - 16) * (255 / 219), blue * (255 / 224), red * (255 / 224)
        kr, kb = self.color.luma(self.height)
        r = luma + 2 * (1 - kr) * red
        b = luma + 2 * (1 - kb) * blue
        g = (luma - kr * r - kb * b) / (1 - kr - kb)
        image: U8 = np.clip(np.stack([r, g, b], axis=2).round(), 0, 255).astype(np.uint8)
        return image

    def like(self, planes: tuple[U8, ...], layout: Layout | None = None, alpha: U8 | None = None) -> Frame:
        """A frame of the same moment with other planes.

        Parameters
        ----------
        planes : tuple of uint8 arrays
            Of any size.
        layout : Layout, optional
            Theirs, where it is another.
        alpha : (H, W) uint8, optional
            The image's own transparency.
        """
        return replace(self, planes=planes, layout=layout or self.layout, alpha=alpha, owner=None)

    def dated_as(self, other: Frame) -> Frame:
        """The same image at the time of another frame."""
        return replace(
            self,
            pts=other.pts,
            time_base=other.time_base,
            index=other.index,
            duration=other.duration,
            captured=other.captured,
        )

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height} {self.layout.value} #{self.index} t={self.time:.3f}s)"


@dataclass(slots=True)
class Matte:
    """An alpha matte together with the very frame it belongs to.

    Parameters
    ----------
    frame : Frame
    alpha : ndarray (H, W)
        At the frame's size. Inside a pipeline uint8, 255 is person; the public functions give float32 in [0, 1].
    small_alpha : ndarray (h, w) float32 in [0, 1]
        The (smoothed) matte at the network's output size; what foreground estimation starts from.
    small_planes : tuple of ndarray (h', w') uint8, optional
        Y, U, V (or R, G, B for RGB frames) of the frame at the network's input size.
    small_foreground : ndarray (h'', w'', 3) float32 in [0, 1], optional
        The person's own colours, RGB, where the network gives them.
    """

    frame: Frame
    alpha: npt.NDArray[Any]
    small_alpha: F32
    small_planes: tuple[U8, ...] | None = None
    small_foreground: F32 | None = None

    def __repr__(self) -> str:
        scale = 255 if self.alpha.dtype == np.uint8 else 1
        return f"Matte({self.frame!r}, mean alpha {float(self.alpha.mean()) / scale:.3f})"


@dataclass(slots=True)
class Composite:
    """What the compositor makes of a matte: the image, and the extra videos that were requested."""

    frame: Frame
    alpha: Frame | None = None
    foreground: Frame | None = None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream before its first frame.

    ``rate`` is the average (frames a second) and only a hint: times come from the frames' pts. ``frame_count`` and
    ``duration`` (seconds) are what the container declares, or None. Width and height are after rotation was applied.
    """

    width: int
    height: int
    layout: Layout
    time_base: Fraction
    rate: Fraction | None = None
    color: ColorSpec = field(default_factory=ColorSpec)
    sample_aspect_ratio: Fraction = Fraction(1)
    frame_count: int | None = None
    duration: float | None = None
    name: str = ""
    interlaced: bool = False
    has_alpha: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    tracks: TrackFeed | None = None
