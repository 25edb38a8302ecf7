"""Shrinking by less than two by exact area averages."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import float32, int64, void

from streammatte.frames import U8
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, BYTES_OUT, GRID, INDICES, flat

__all__ = ["shrink_by_area"]


_TAPS = 3
"""Input pixels that an output pixel covers, at most, where the ratio is below two."""


@lru_cache(maxsize=64)
def _coverage(size: int, small: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The first of three input pixels that each output pixel covers, and the three shares (3, small), sum 1."""
    ratio = size / small
    left = np.arange(small) * ratio
    first = np.minimum(np.floor(left + 1e-9).astype(np.int32), max(size - _TAPS, 0))
    cells = first[None, :] + np.arange(_TAPS)[:, None]
    shares = np.clip(np.minimum(cells + 1, left + ratio) - np.maximum(cells, left), 0, 1)
    return first, (shares / shares.sum(0)).astype(np.float32)


@njit(
    void(BYTES, int64, int64, INDICES, GRID, INDICES, GRID, BYTES_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _shrink(source, step, width, rows, row_shares, columns, column_shares, out):  # type: ignore[no-untyped-def]
    h, w = rows.size, columns.size
    line = np.empty(width, np.float32)
    left, middle, right = column_shares[0], column_shares[1], column_shares[2]
    for y in range(h):
        start = rows[y] * step
        first = source[start : start + width]
        second = source[start + step : start + step + width]
        third = source[start + 2 * step : start + 2 * step + width]
        a, b, c = row_shares[0, y], row_shares[1, y], row_shares[2, y]
        for x in range(width):
            line[x] = a * float32(first[x]) + b * float32(second[x]) + c * float32(third[x])
        target = out[y * w : y * w + w]
        for x in range(w):
            at = columns[x]
            value = left[x] * line[at] + middle[x] * line[at + 1] + right[x] * line[at + 2]
            target[x] = np.uint8(np.int32(value + float32(0.5)))


def shrink_by_area(plane: U8, size: tuple[int, int]) -> U8:
    """A plane at ``size`` (height, width), each pixel the mean over the area that it covers.

    Parameters
    ----------
    plane : ndarray (H, W) uint8
        Sides of 3 or more; rows may be padded.
    size : (int, int)
        Each side more than half and not more than the whole of the plane's.
    """
    height, width = plane.shape
    source, step = flat(plane)
    out = np.empty(size, np.uint8)
    _shrink(source, step, width, *_coverage(height, size[0]), *_coverage(width, size[1]), out.reshape(-1))
    return out
