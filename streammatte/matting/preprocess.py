"""A frame's planes at the network's size, and as the RGB that the network reads."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, ModelError
from streammatte.frames import F32, U8, ColorSpec, Frame, Layout
from streammatte.kernels.color import rgb_matrix, yuv_to_rgb
from streammatte.kernels.scale import shrink_by_area

__all__ = ["Preparer", "extend", "resize_plane"]


_LINEAR_UP_TO = 1.34
"""Shrinking by at most this much is left to bilinear interpolation: its two taps a side still see every pixel."""


_HIGHLIGHTS = 95
"""Percentile of green that stands for an image's highlights."""
_NORMAL = 160.0
"""Level of the highlights up to which an image is brightened for the network; see docs/quality.md."""
_MAX_GAIN = 12.0
"""An image without any light stays dark."""
_EVERY = 4
"""Each fourth row and column suffices for the highlights."""


def resize_plane(plane: U8, size: tuple[int, int]) -> U8:
    """A plane (H, W) or (H, W, C) uint8 at ``size`` (height, width): averaged to shrink, bilinear to enlarge.

    The very plane comes back where it has the size and is C-contiguous.
    """
    while plane.shape[0] >= 2 * size[0] and plane.shape[1] >= 2 * size[1] and not (plane.shape[0] | plane.shape[1]) & 1:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    height, width = plane.shape[:2]
    if (height, width) == size:
        return np.ascontiguousarray(plane)
    down, across = height / size[0], width / size[1]
    if max(down, across) <= _LINEAR_UP_TO:
        method = cv2.INTER_LINEAR
    elif plane.ndim == 2 and min(down, across) >= 1 and max(down, across) < 2 and min(height, width) >= 3:
        return shrink_by_area(plane, size)
    else:
        method = cv2.INTER_AREA
    resized: U8 = cv2.resize(plane, size[::-1], interpolation=method)
    return resized


def extend(image: U8, size: tuple[int, int], out: U8 | None = None) -> U8:
    """An image (H, W) or (H, W, C) uint8 in a larger (height, width), its last row and column repeated.

    Parameters
    ----------
    image : (H, W) or (H, W, C) uint8
    size : (int, int)
        Height and width, none below the image's.
    out : uint8 array, optional
        Where to write.
    """
    bottom, right = size[0] - image.shape[0], size[1] - image.shape[1]
    padded: U8 = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE, dst=out)
    return padded


class Preparer:
    """Scales frames to the network's input and turns them to RGB there; full-size RGB is never made.

    Parameters
    ----------
    size : (int, int)
        Height and width at which the network gets the frame.
    padded : (int, int), optional
        Height and width of the network's input where that is larger: the frame is at its top left, and its last column
        and row are repeated.
    low_light : bool
        Brighten dark images for the network alone; the frames keep their light.
    """

    def __init__(
        self, size: tuple[int, int], padded: tuple[int, int] | None = None, *, low_light: bool = False
    ) -> None:
        if min(size) < 1:
            raise ConfigError(f"the network's size must be positive, got {size[1]}x{size[0]}; choose 192 to 2048")
        self.size = (int(size[0]), int(size[1]))
        self.padded = padded or self.size
        if self.padded[0] < self.size[0] or self.padded[1] < self.size[1]:
            raise ConfigError(f"the network's input {self.padded} must hold the image's {self.size}")
        self._low_light = low_light
        self.brightened = False
        """An image was brightened, so that colours which a network gives are not the image's own."""
        self._content = np.empty((*self.size, 3), np.uint8) if self.padded != self.size else None
        self._matrices: dict[tuple[ColorSpec, int], npt.NDArray[np.float64]] = {}

    def prepare(self, frame: Frame, out: U8) -> tuple[U8, ...]:
        """Fill ``out`` with the frame as the network reads it.

        Parameters
        ----------
        frame : Frame
        out : ndarray (h, w, 3) uint8, C-contiguous, of the padded size
            Becomes the network's input, RGB.

        Returns
        -------
        tuple of ndarray (h', w') uint8
            Y, U, V (R, G, B of RGB frames; one plane of GRAY ones) as the network gets the frame, without padding.
        """
        if out.shape != (*self.padded, 3) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous uint8 {(*self.padded, 3)}, got {out.dtype} {out.shape}")
        if self._content is None:
            planes = self._fill(frame, out)
            self._expose(out)
            return planes
        planes = self._fill(frame, self._content)
        self._expose(self._content)
        extend(self._content, self.padded, out)
        return planes

    def crop(self, alpha: F32) -> F32:
        """The part of the network's alpha (h, w), or colours (h, w, 3), that belongs to the frame, C-contiguous; it may
        be smaller than the input, by the same factor both ways.

        Raises
        ------
        ModelError
            It is not all numbers.
        """
        if not math.isfinite(float(alpha.sum())):
            raise ModelError(
                "the network gives no numbers for this image: its weights are damaged or untrained, or it needs "
                "--precision f32"
            )
        if self._content is None:
            return alpha
        rows, columns = (
            -(-side * given // padded)
            for side, given, padded in zip(self.size, alpha.shape[:2], self.padded, strict=True)
        )
        return np.ascontiguousarray(alpha[:rows, :columns])

    def _expose(self, image: U8) -> None:
        """Bring the highlights of a dark image to a normal level, in place; others stay as they are."""
        if not self._low_light:
            return
        seen = image[::_EVERY, ::_EVERY, 1]
        if np.count_nonzero(seen >= _NORMAL) > (1 - _HIGHLIGHTS / 100) * seen.size + 1:
            return  # the usual case, for a hundredth of the percentile's time
        bright = float(np.percentile(seen, _HIGHLIGHTS))
        if bright < _NORMAL:
            self.brightened = True
            gain = min(_MAX_GAIN, _NORMAL / max(bright, 1.0))
            cv2.LUT(image, np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8), dst=image)

    def _fill(self, frame: Frame, out: U8) -> tuple[U8, ...]:
        small = tuple(resize_plane(plane, self.size) for plane in frame.planes)
        if frame.layout is Layout.RGB:
            out[:] = small[0]
            return tuple(cv2.split(small[0]))
        if frame.layout is Layout.GRAY:
            out[:] = small[0][..., None]
            return small
        key = (frame.color, frame.height)
        matrix = self._matrices.get(key)
        if matrix is None:
            matrix = self._matrices[key] = rgb_matrix(*key)
        y, u, v = small
        yuv_to_rgb(y, u, v, matrix, out)
        return small
