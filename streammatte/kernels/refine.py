"""The guided filter in colour: local linear models of a small matte, and their use on full-size planes.

He, Sun and Tang 2013, "Guided Image Filtering", eq. 19-21: in a window,
a = (Sigma + eps)^-1 (mean(I p) - mean(I) mean(p)), b = mean(p) - a . mean(I), I the three components of a pixel.
He and Sun 2015, "Fast Guided Filter", eq. 8: the models are solved small, averaged, enlarged, and applied to the
full-size image. The average is weighted by how well each window's model explains its matte, so that texture beside an
edge (blinds, tiles) does not appear in the matte.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import float32, int64, types, void

from streammatte.frames import F32, U8
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, BYTES_OUT, FLOATS, GRID, GRID_OUT, INDICES, Taps, flat

__all__ = ["apply_models", "mean_models", "solve_models"]


_BLOCK = 32
"""Pixels a block: a row's blocks whose models all give 0 or all give 255 are filled, not computed."""

_FLAT = 0.02
"""Range of the matte in a window (0 to 1) below which the image is not used there."""

_MODELS = types.Array(types.float32, 3, "C", readonly=True)
_MODELS_OUT = types.Array(types.float32, 3, "C")


@njit(
    void(GRID, BYTES, BYTES, BYTES, float32, float32, _MODELS_OUT, GRID_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _solve(alpha, first, second, third, epsilon, doubt, out, weights):  # type: ignore[no-untyped-def]
    h, w = alpha.shape
    ninth, top, one = float32(1.0 / 9.0), float32(255.0), float32(1.0)
    for y in range(h):
        for x in range(w):
            least, most = float32(2.0), float32(-1.0)
            p = float32(0.0)
            for j in range(-1, 2):
                row = min(max(y + j, 0), h - 1)
                for i in range(-1, 2):
                    value = alpha[row, min(max(x + i, 0), w - 1)]
                    least, most, p = min(least, value), max(most, value), p + value
            if most - least < float32(_FLAT):
                out[y, x, 0] = out[y, x, 1] = out[y, x, 2] = float32(0.0)
                weights[y, x] = one / doubt
                out[y, x, 3] = alpha[y, x] * top * weights[y, x]
                continue
            pp = float32(0.0)
            r = g = b = rr = rg = rb = gg = gb = bb = rp = gp = bp = float32(0.0)
            # Differences from the window's centre, so that small variances survive float32.
            centre = y * w + x
            r0, g0, b0 = float32(first[centre]), float32(second[centre]), float32(third[centre])
            for j in range(-1, 2):
                row = min(max(y + j, 0), h - 1)
                for i in range(-1, 2):
                    column = min(max(x + i, 0), w - 1)
                    at = row * w + column
                    s, t, u = float32(first[at]) - r0, float32(second[at]) - g0, float32(third[at]) - b0
                    value = alpha[row, column]
                    r, g, b = r + s, g + t, b + u
                    rr, rg, rb, gg, gb, bb = rr + s * s, rg + s * t, rb + s * u, gg + t * t, gb + t * u, bb + u * u
                    rp, gp, bp, pp = rp + s * value, gp + t * value, bp + u * value, pp + value * value
            r, g, b, p = r * ninth, g * ninth, b * ninth, p * ninth
            rr, rg, rb = rr * ninth - r * r + epsilon, rg * ninth - r * g, rb * ninth - r * b
            gg, gb, bb = gg * ninth - g * g + epsilon, gb * ninth - g * b, bb * ninth - b * b + epsilon
            rp, gp, bp = rp * ninth - r * p, gp * ninth - g * p, bp * ninth - b * p
            # Cramer's rule on the symmetric 3 x 3 system.
            c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
            scale = one / (rr * c00 + rg * c01 + rb * c02)
            a0 = scale * (c00 * rp + c01 * gp + c02 * bp)
            a1 = scale * (c01 * rp + (rr * bb - rb * rb) * gp + (rb * rg - rr * gb) * bp)
            a2 = scale * (c02 * rp + (rb * rg - rr * gb) * gp + (rr * gg - rg * rg) * bp)
            unexplained = pp * ninth - p * p - a0 * rp - a1 * gp - a2 * bp
            weight = one / (max(unexplained, float32(0.0)) + doubt)
            weights[y, x] = weight
            weight *= top
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = weight * a0, weight * a1, weight * a2
            out[y, x, 3] = weight * (p - a0 * (r + r0) - a1 * (g + g0) - a2 * (b + b0))


@njit(void(_MODELS_OUT, GRID), nogil=True, cache=True, error_model="numpy", fastmath=True)
def _divide(models, weights):  # type: ignore[no-untyped-def]
    h, w = weights.shape
    for y in range(h):
        for x in range(w):
            share = float32(1.0) / weights[y, x]
            for c in range(4):
                models[y, x, c] *= share


@njit(
    void(
        _MODELS, BYTES, int64, BYTES, BYTES, int64, int64, int64, BYTES_OUT, int64, int64,
        INDICES, FLOATS, INDICES, FLOATS,
    ),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)  # fmt: skip
def _apply(  # type: ignore[no-untyped-def]
    models, first, step, second, third, chroma_step, row_shift, column_shift, out, height, width,
    rows, row_weights, columns, column_weights,
):  # fmt: skip
    h, w = models.shape[:2]
    blocks = (width + _BLOCK - 1) // _BLOCK
    zero, half, top = float32(0.0), float32(0.5), float32(255.0)
    # What a cell row's models give for any colour, per block: 0 (all zero), 2 (all 255) or 1.
    state = np.empty((h, blocks), np.uint8)
    for y in range(h):
        for k in range(blocks):
            least, most = float32(1e9), float32(-1e9)
            for x in range(columns[k * _BLOCK], min(columns[min(k * _BLOCK + _BLOCK, width) - 1] + 1, w - 1) + 1):
                low = high = models[y, x, 3]
                for c in range(3):
                    swing = top * models[y, x, c]
                    low, high = low + min(swing, zero), high + max(swing, zero)
                least, most = min(least, low), max(most, high)
            state[y, k] = 0 if most < half else (2 if least > top - half else 1)
    line = np.empty((w + 1, 4), np.float32)
    for y in range(height):
        upper = rows[y]
        lower = min(upper + 1, h - 1)
        weight = row_weights[y]
        target = out[y * width : y * width + width]
        luma = y * step
        chroma = (y >> row_shift) * chroma_step
        filled = -1
        for k in range(blocks):
            start = k * _BLOCK
            stop = min(start + _BLOCK, width)
            if state[upper, k] == 0 and state[lower, k] == 0:
                target[start:stop] = 0
                continue
            if state[upper, k] == 2 and state[lower, k] == 2:
                target[start:stop] = 255
                continue
            for x in range(max(columns[start], filled + 1), min(columns[stop - 1] + 2, w)):
                for c in range(4):
                    line[x, c] = models[upper, x, c] + weight * (models[lower, x, c] - models[upper, x, c])
                filled = x
            if filled == w - 1:
                line[w] = line[w - 1]
            for x in range(start, stop):
                i = columns[x]
                t = column_weights[x]
                side = chroma + (x >> column_shift)
                left = line[i, 3] + line[i, 0] * float32(first[luma + x])
                left += line[i, 1] * float32(second[side]) + line[i, 2] * float32(third[side])
                right = line[i + 1, 3] + line[i + 1, 0] * float32(first[luma + x])
                right += line[i + 1, 1] * float32(second[side]) + line[i + 1, 2] * float32(third[side])
                q = left + t * (right - left) + half
                target[x] = np.uint8(np.int32(min(max(q, zero), top)))


def solve_models(alpha: F32, guide: tuple[U8, U8, U8], epsilon: float, doubt: float) -> tuple[F32, F32]:
    """Linear models of the matte in the guide's components over windows of 3 x 3, and their weights.

    Parameters
    ----------
    alpha : ndarray (h, w) float32 in [0, 1], C-contiguous
    guide : three ndarrays (h, w) uint8, C-contiguous
    epsilon : float
        Regularisation, levels squared.
    doubt : float
        Standard deviation of the matte, in a window, that a model may leave unexplained and still count half.

    Returns
    -------
    ndarray (h, w, 4) float32
        Three slopes and the offset, for a matte in levels of 0..255, times the weight.
    ndarray (h, w) float32
        The weight, 1 / (variance left unexplained + doubt^2).
    """
    out, weights = np.empty((*alpha.shape, 4), np.float32), np.empty(alpha.shape, np.float32)
    first, second, third = guide
    _solve(
        alpha, first.reshape(-1), second.reshape(-1), third.reshape(-1), epsilon, doubt * doubt, out, weights
    )  # fmt: skip
    return out, weights


def mean_models(models: F32, weights: F32) -> F32:
    """The weighted mean (h, w, 4) of the models around each cell, from what :func:`solve_models` gives."""
    mean = cv2.blur(models, (3, 3), borderType=cv2.BORDER_REPLICATE)
    _divide(mean, cv2.blur(weights, (3, 3), borderType=cv2.BORDER_REPLICATE))
    return np.asarray(mean, np.float32)


def apply_models(models: F32, planes: tuple[U8, U8, U8], shift: tuple[int, int], taps: Taps) -> U8:
    """Enlarge models bilinearly and apply them: round(clip(a . I + b, 0, 255)).

    Parameters
    ----------
    models : ndarray (h, w, 4) float32, C-contiguous
    planes : three ndarrays uint8
        The image's components: (H, W), and twice (H >> shift[0], W >> shift[1]) rounded up.
    shift : (int, int)
        Powers of two by which the second and third plane are smaller.
    taps : tuple
        ``frame_taps((H, W), (h, w))``.

    Returns
    -------
    ndarray (H, W) uint8
    """
    height, width = planes[0].shape
    out = np.empty((height, width), np.uint8)
    first, step = flat(planes[0])
    second, chroma_step = flat(planes[1])
    third, third_step = flat(planes[2])
    if third_step != chroma_step:
        second, third = np.ascontiguousarray(planes[1]).reshape(-1), np.ascontiguousarray(planes[2]).reshape(-1)
        chroma_step = planes[1].shape[1]
    _apply(
        models, first, step, second, third, chroma_step, shift[0], shift[1], out.reshape(-1), height, width, *taps
    )  # fmt: skip
    return out
