"""Takes a screen's colour off an image's planes, where it is more of it than its hue explains.

A pixel's chroma c is split along the key's direction k and across it. Colours further than an angle w from the key's
hue are left alone: the excess is s = c.k - |c x k| / tan w, and c - s k stays.
The light that went with it goes too: luma falls by s times the key's luma over its saturation.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, void

from streammatte.frames import F32, U8
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, BYTES_OUT, FLOATS, GRID, INDICES, frame_taps

__all__ = ["despill_planes"]


_TAN = 3.732
"""Tangent of 75 degrees from the key's hue, where nothing is taken any more. Of 60 degrees (the
common limit G <= max(R, B)) to 90 (G <= (R + B) / 2) composites had less error the larger it was; 90 desaturates yellow
hair."""


@njit(
    void(
        BYTES_OUT, BYTES_OUT, BYTES_OUT, BYTES, int64, int64, int64, int64, int64, float32, float32, float32, float32,
        GRID, INDICES, FLOATS, INDICES, FLOATS,
    ),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)  # fmt: skip
def _despill(  # type: ignore[no-untyped-def]
    luma, first, second, alpha, height, width, full_width, row_shift, column_shift, key_u, key_v, light, black,
    weights, rows, row_weights, columns, column_weights,
):  # fmt: skip
    h, w = weights.shape
    half, zero, top, middle = float32(0.5), float32(0.0), float32(255.0), float32(128.0)
    full_height = luma.size // full_width
    line = np.empty(w + 1, np.float32)
    for y in range(height):
        upper = rows[y]
        lower = min(upper + 1, h - 1)
        most = zero
        for x in range(w):
            line[x] = weights[upper, x] + row_weights[y] * (weights[lower, x] - weights[upper, x])
            most = max(most, line[x])
        if most <= zero:
            continue
        line[w] = line[w - 1]
        for x in range(width):
            at = y * width + x
            if alpha[at] == 0:
                continue
            i = columns[x]
            weight = line[i] + column_weights[x] * (line[i + 1] - line[i])
            if weight <= zero:
                continue
            u, v = float32(first[at]) - middle, float32(second[at]) - middle
            excess = u * key_u + v * key_v - abs(u * key_v - v * key_u) * float32(1.0 / _TAN)
            if excess <= zero:
                continue
            excess *= weight
            first[at] = np.uint8(np.int32(min(max(u - excess * key_u + middle + half, zero), top)))
            second[at] = np.uint8(np.int32(min(max(v - excess * key_v + middle + half, zero), top)))
            loss = excess * light
            for j in range(y << row_shift, min((y + 1) << row_shift, full_height)):
                for k in range(x << column_shift, min((x + 1) << column_shift, full_width)):
                    value = float32(luma[j * full_width + k])
                    if value > black:
                        luma[j * full_width + k] = np.uint8(np.int32(max(value - loss, black) + half))


def despill_planes(
    planes: tuple[U8, ...],
    alpha: U8,
    weights: F32,
    key: tuple[float, float],
    light: float,
    shift: tuple[int, int],
    black: int,
) -> None:
    """Take the key's colour off the planes, in place.

    Parameters
    ----------
    planes : three ndarrays uint8, C-contiguous
        Y (H, W); U and V (H >> shift[0], W >> shift[1]), rounded up.
    alpha : ndarray uint8, C-contiguous
        The matte at the size of U; nothing happens where it is 0.
    weights : ndarray (h, w) float32 in [0, 1]
        How much of the excess to take, at any size.
    key : (float, float)
        The key's direction in (U - 128, V - 128), of length 1.
    light : float
        Luma that goes with a level of excess.
    shift : (int, int)
        Powers of two by which U and V are smaller.
    black : int
        Luma of black; nothing falls below.
    """
    luma, first, second = planes
    height, width = first.shape
    taps = frame_taps((height, width), weights.shape)
    _despill(
        luma.reshape(-1), first.reshape(-1), second.reshape(-1), alpha.reshape(-1), height, width, luma.shape[1],
        shift[0], shift[1], key[0], key[1], light, float(black), np.ascontiguousarray(weights), *taps,
    )  # fmt: skip
