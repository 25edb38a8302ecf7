"""Planes to interleaved RGB."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import int32, types, void

from streammatte.frames import ColorSpec
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, BYTES_OUT

__all__ = ["rgb_matrix", "yuv_to_rgb"]

_SHIFT = 14
"""Fraction bits of the fixed-point matrix: the largest term, 2.2 * 2^14 * 255, stays far inside 32 bits."""


def rgb_matrix(color: ColorSpec, height: int) -> npt.NDArray[np.float64]:
    """The affine map (3, 4) from 8-bit Y, U, V to 8-bit R, G, B of an image with ``height`` rows.

    ISO/IEC 23091-2: R = Y + 2(1-Kr) V, B = Y + 2(1-Kb) U, G from Y = Kr R + Kg G + Kb B.
    """
    kr, kb = color.luma(height)
    kg = 1 - kr - kb
    luma, chroma, black = (1.0, 1.0, 0.0) if color.full_range else (255 / 219, 255 / 224, 16.0)
    u = np.array([0.0, -2 * kb * (1 - kb) / kg, 2 * (1 - kb)]) * chroma
    v = np.array([2 * (1 - kr), -2 * kr * (1 - kr) / kg, 0.0]) * chroma
    return np.column_stack([np.full(3, luma), u, v, -(luma * black + 128 * (u + v))])


@njit(
    void(BYTES, BYTES, BYTES, types.Array(types.int32, 2, "C", readonly=True), BYTES_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
)
def _yuv_to_rgb(y_plane, u_plane, v_plane, matrix, out):  # type: ignore[no-untyped-def]
    yr, ur, vr, cr = matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3]
    yg, ug, vg, cg = matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3]
    yb, ub, vb, cb = matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3]
    zero, top = int32(0), int32(255)
    for i in range(y_plane.size):
        y, u, v = int32(y_plane[i]), int32(u_plane[i]), int32(v_plane[i])
        r = int32(int32(y * yr + u * ur + v * vr + cr) >> _SHIFT)
        g = int32(int32(y * yg + u * ug + v * vg + cg) >> _SHIFT)
        b = int32(int32(y * yb + u * ub + v * vb + cb) >> _SHIFT)
        out[3 * i] = min(max(r, zero), top)
        out[3 * i + 1] = min(max(g, zero), top)
        out[3 * i + 2] = min(max(b, zero), top)


def yuv_to_rgb(
    y: npt.NDArray[np.uint8],
    u: npt.NDArray[np.uint8],
    v: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Turn planes of one size into RGB.

    Parameters
    ----------
    y, u, v : ndarray (h, w) uint8, C-contiguous
    matrix : ndarray (3, 4) float64
        As :func:`rgb_matrix` gives it.
    out : ndarray (h, w, 3) uint8, C-contiguous
        Within 1 of the exact value, rounded.
    """
    fixed = np.round(matrix * (1 << _SHIFT))
    fixed[:, 3] += 1 << (_SHIFT - 1)
    _yuv_to_rgb(y.reshape(-1), u.reshape(-1), v.reshape(-1), fixed.astype(np.int32), out.reshape(-1))
