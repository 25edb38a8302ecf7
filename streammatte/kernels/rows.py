"""How kernels address planes: one contiguous run of bytes and the step from row to row.

A decoder's planes have padded rows, so they are not C-contiguous; numba would compile every kernel once more for them,
and without vector instructions. A flat view of the same memory with an explicit step costs neither.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import types

__all__ = [
    "BYTES",
    "BYTES_OUT",
    "FLOATS",
    "FLOATS_OUT",
    "GRID",
    "GRID_OUT",
    "INDICES",
    "Taps",
    "axis_taps",
    "flat",
    "frame_taps",
]

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
BYTES_OUT = types.Array(types.uint8, 1, "C")
FLOATS = types.Array(types.float32, 1, "C", readonly=True)
FLOATS_OUT = types.Array(types.float32, 1, "C")
GRID = types.Array(types.float32, 2, "C", readonly=True)
GRID_OUT = types.Array(types.float32, 2, "C")
INDICES = types.Array(types.int32, 1, "C", readonly=True)

Taps = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Left cells and right weights of the rows, then of the columns."""


def flat(plane: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    """The bytes of a plane in one dimension, and how many of them lie between two rows.

    Parameters
    ----------
    plane : ndarray (H, W) or (H, W, C), uint8
        Rows may be padded; within a row nothing may be.

    Returns
    -------
    ndarray (n,) uint8
        A view of the plane's memory (a copy where rows run upwards or columns have gaps, so never write to that).
    int
        Step from row to row in bytes.
    """
    if plane.flags.c_contiguous:
        return plane.reshape(-1), int(np.prod(plane.shape[1:]))
    width = int(np.prod(plane.shape[1:]))
    step = plane.strides[0]
    if step < width or not plane[0].flags.c_contiguous:
        return np.ascontiguousarray(plane).reshape(-1), width
    length = (plane.shape[0] - 1) * step + width
    return np.lib.stride_tricks.as_strided(plane, (length,), (1,), writeable=plane.flags.writeable), step


def axis_taps(size: int, small: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Where each of ``size`` pixels lies among ``small`` cells along one axis, pixel centres aligned.

    Returns
    -------
    ndarray (size,) int32
        The left cell, at most ``small - 2`` (0 where there is one cell only).
    ndarray (size,) float32
        The right cell's weight in [0, 1].
    """
    at = np.clip((np.arange(size) + 0.5) * (small / size) - 0.5, 0, small - 1)
    left = np.minimum(at.astype(np.int32), max(small - 2, 0))
    return left, (at - left).astype(np.float32)


@lru_cache(maxsize=64)
def frame_taps(size: tuple[int, int], small: tuple[int, int]) -> Taps:
    """``axis_taps`` of the rows and of the columns, from (height, width) to (height, width)."""
    return axis_taps(size[0], small[0]) + axis_taps(size[1], small[1])
