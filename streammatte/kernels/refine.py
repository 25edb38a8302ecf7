"""A small matte's local linear models, applied to the full-size luma.

Fast guided filter (He and Sun 2015, eq. 8): q = mean(a) I + mean(b), the means enlarged bilinearly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, int64, njit, void

from streammatte.kernels.rows import BYTES, BYTES_OUT, FLOATS, GRID, INDICES, axis_taps, flat

__all__ = ["apply_linear_model"]

_BLOCK = 32
"""Pixels a block: a row's blocks whose models all give 0 or all give 255 are filled, not computed."""


@njit(
    void(GRID, GRID, BYTES, int64, BYTES_OUT, int64, int64, INDICES, FLOATS, INDICES, FLOATS),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _apply(a, b, luma, step, out, height, width, rows, row_weights, columns, column_weights):  # type: ignore[no-untyped-def]
    h, w = a.shape
    blocks = (width + _BLOCK - 1) // _BLOCK
    low, high = float32(0.5), float32(254.5)
    # What a cell row's models give for any luma, per block: 0 (all zero), 2 (all 255) or 1.
    state = np.empty((h, blocks), np.uint8)
    for y in range(h):
        for k in range(blocks):
            first = columns[k * _BLOCK]
            last = min(columns[min(k * _BLOCK + _BLOCK, width) - 1] + 1, w - 1)
            least, most = float32(1e9), float32(-1e9)
            for x in range(first, last + 1):
                dark = b[y, x]
                bright = dark + float32(255.0) * a[y, x]
                least = min(least, min(dark, bright))
                most = max(most, max(dark, bright))
            state[y, k] = 0 if most < low else (2 if least > high else 1)
    slope = np.empty(w + 1, np.float32)
    offset = np.empty(w + 1, np.float32)
    for y in range(height):
        top = rows[y]
        bottom = min(top + 1, h - 1)
        weight = row_weights[y]
        source = luma[y * step : y * step + width]
        target = out[y * width : y * width + width]
        for x in range(w):
            slope[x] = a[top, x] + weight * (a[bottom, x] - a[top, x])
            offset[x] = b[top, x] + weight * (b[bottom, x] - b[top, x])
        slope[w], offset[w] = slope[w - 1], offset[w - 1]
        for k in range(blocks):
            start = k * _BLOCK
            stop = min(start + _BLOCK, width)
            if state[top, k] == 0 and state[bottom, k] == 0:
                target[start:stop] = 0
            elif state[top, k] == 2 and state[bottom, k] == 2:
                target[start:stop] = 255
            else:
                for x in range(start, stop):
                    i = columns[x]
                    t = column_weights[x]
                    s = slope[i] + t * (slope[i + 1] - slope[i])
                    o = offset[i] + t * (offset[i + 1] - offset[i])
                    q = s * float32(source[x]) + o + float32(0.5)
                    target[x] = np.uint8(np.int32(min(max(q, float32(0.0)), float32(255.0))))


def apply_linear_model(
    a: npt.NDArray[np.float32],
    b: npt.NDArray[np.float32],
    luma: npt.NDArray[np.uint8],
    taps: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]]
    | None = None,
) -> npt.NDArray[np.uint8]:
    """Enlarge the models ``a``, ``b`` bilinearly to the luma's size and apply them: round(clip(a luma + b, 0, 255)).

    Parameters
    ----------
    a, b : ndarray (h, w) float32, C-contiguous
        Slope (levels of matte a level of luma) and offset in levels of 0..255.
    luma : ndarray (H, W) uint8
    taps : tuple, optional
        ``axis_taps(H, h) + axis_taps(W, w)``, where the caller keeps them.

    Returns
    -------
    ndarray (H, W) uint8
    """
    height, width = luma.shape
    taps = taps or axis_taps(height, a.shape[0]) + axis_taps(width, a.shape[1])
    out = np.empty((height, width), np.uint8)
    memory, step = flat(luma)
    _apply(a, b, memory, step, out.reshape(-1), height, width, *taps)
    return out
