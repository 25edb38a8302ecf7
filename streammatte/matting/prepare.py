"""A frame's planes at the network's size, and as the RGB that the network reads."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.frames import ColorSpec, Frame, Layout
from streammatte.kernels.color import rgb_matrix, yuv_to_rgb
from streammatte.kernels.scale import shrink_by_area

__all__ = ["Preparer", "resize_plane"]

U8 = npt.NDArray[np.uint8]

_LINEAR_UP_TO = 1.34
"""Shrinking by at most this much is left to bilinear interpolation: its two taps a side still see every pixel."""


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


class Preparer:
    """Scales frames to the network's input and turns them to RGB there; full-size RGB is never made.

    Parameters
    ----------
    size : (int, int)
        Height and width of the network's input.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        if min(size) < 1:
            raise ConfigError(f"the network's size must be positive, got {size[1]}x{size[0]}; choose 192 to 2048")
        self.size = (int(size[0]), int(size[1]))
        self._matrices: dict[tuple[ColorSpec, int], npt.NDArray[np.float64]] = {}

    def prepare(self, frame: Frame, out: U8) -> tuple[U8, ...]:
        """Fill ``out`` with the frame as the network reads it.

        Parameters
        ----------
        frame : Frame
        out : ndarray (h, w, 3) uint8, C-contiguous
            Becomes RGB at the network's size.

        Returns
        -------
        tuple of ndarray (h, w) uint8
            Y, U, V (R, G, B of RGB frames; one plane of GRAY ones) at the network's size.
        """
        if out.shape != (*self.size, 3) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous uint8 {(*self.size, 3)}, got {out.dtype} {out.shape}")
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
