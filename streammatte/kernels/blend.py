"""One plane of an image over one plane of another, with the foreground's colour estimated where the matte is soft.

I = alpha F + (1 - alpha) B; C = alpha F + (1 - alpha) B'. F is Forte and Pitie 2021, eq. 6, from estimates at the
network's size: F = F^ + alpha (I - alpha F^ - (1 - alpha) B^).
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, void

from streammatte.frames import F32, U8
from streammatte.kernels import EXACT, njit
from streammatte.kernels.rows import BYTES, BYTES_OUT, FLOATS, GRID, INDICES, flat, frame_taps

__all__ = ["PlaneEstimate", "blend_plane", "foreground_plane"]

PlaneEstimate = tuple[F32, F32]
"""(F^, B^) of one plane at the network's size, (h, w) float32 in levels of 0..255."""

_BLOCK = 32
"""Pixels a block: where the matte is 0 all over or 255 all over a block is copied."""

_NOTHING: PlaneEstimate = (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


@njit(nogil=True, cache=True)
def _sum(values):  # type: ignore[no-untyped-def]
    total = np.int32(0)
    for i in range(values.size):
        total = np.int32(total + values[i])
    return total


@njit(nogil=True, cache=True)
def _copy(out, source):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = source[i]


@njit(nogil=True, cache=True, fastmath=EXACT)
def _enlarge(out, line, columns, weights):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        at = columns[i]
        out[i] = line[at] + weights[i] * (line[at + 1] - line[at])


@njit(nogil=True, cache=True, fastmath=EXACT)
def _mix(out, source, ground, matte):  # type: ignore[no-untyped-def]
    scale, half = float32(1.0 / 255.0), float32(0.5)
    for i in range(out.size):
        p = float32(matte[i]) * scale
        under = float32(ground[i])
        out[i] = np.uint8(np.int32(under + p * (float32(source[i]) - under) + half))


@njit(nogil=True, cache=True, fastmath=EXACT)
def _mix_estimated(out, source, ground, matte, fore, behind, straight):  # type: ignore[no-untyped-def]
    scale, one, zero, top, half = float32(1.0 / 255.0), float32(1.0), float32(0.0), float32(255.0), float32(0.5)
    for i in range(out.size):
        p = float32(matte[i]) * scale
        f = fore[i]
        f += p * (float32(source[i]) - p * f - (one - p) * behind[i])
        f = min(max(f, zero), top)
        share = one if straight and matte[i] > 0 else p
        under = float32(ground[i])
        out[i] = np.uint8(np.int32(under + share * (f - under) + half))


@njit(
    void(
        BYTES_OUT, BYTES, int64, BYTES, BYTES, int64, int64, int64, GRID, GRID, boolean, boolean,
        INDICES, FLOATS, INDICES, FLOATS,
    ),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=EXACT,
)  # fmt: skip
def _over(  # type: ignore[no-untyped-def]
    out, image, image_step, alpha, back, back_step, height, width, fore_small, back_small, estimate, straight,
    rows, row_weights, columns, column_weights,
):  # fmt: skip
    h, w = fore_small.shape
    fore_line = np.empty(w + 1, np.float32)
    back_line = np.empty(w + 1, np.float32)
    fore = np.empty(width, np.float32)
    behind = np.empty(width, np.float32)
    blocks = (width + _BLOCK - 1) // _BLOCK
    state = np.empty(blocks, np.uint8)
    for y in range(height):
        source = image[y * image_step : y * image_step + width]
        ground = back[y * back_step : y * back_step + width]
        matte = alpha[y * width : y * width + width]
        target = out[y * width : y * width + width]
        soft = False
        for k in range(blocks):
            block = matte[k * _BLOCK : min(k * _BLOCK + _BLOCK, width)]
            total = _sum(block)
            state[k] = 0 if total == 0 else (2 if total == 255 * block.size else 1)
            soft |= state[k] == 1
        if soft and estimate:
            upper = rows[y]
            lower = min(upper + 1, h - 1)
            weight = row_weights[y]
            for x in range(w):
                fore_line[x] = fore_small[upper, x] + weight * (fore_small[lower, x] - fore_small[upper, x])
                back_line[x] = back_small[upper, x] + weight * (back_small[lower, x] - back_small[upper, x])
            fore_line[w], back_line[w] = fore_line[w - 1], back_line[w - 1]
        k = 0
        while k < blocks:
            kind = state[k]
            start = k * _BLOCK
            while k < blocks and state[k] == kind:
                k += 1
            stop = min(k * _BLOCK, width)
            if kind == 0:
                _copy(target[start:stop], ground[start:stop])
            elif kind == 2:
                _copy(target[start:stop], source[start:stop])
            elif estimate:
                _enlarge(fore[start:stop], fore_line, columns[start:stop], column_weights[start:stop])
                _enlarge(behind[start:stop], back_line, columns[start:stop], column_weights[start:stop])
                _mix_estimated(
                    target[start:stop], source[start:stop], ground[start:stop], matte[start:stop],
                    fore[start:stop], behind[start:stop], straight,
                )  # fmt: skip
            elif straight:
                for x in range(start, stop):
                    target[x] = source[x] if matte[x] > 0 else ground[x]
            else:
                _mix(target[start:stop], source[start:stop], ground[start:stop], matte[start:stop])


def _run(out: U8, image: U8, alpha: U8, back: U8, estimate: PlaneEstimate | None, straight: bool) -> None:
    height, width = image.shape
    fore_small, back_small = estimate or _NOTHING
    taps = frame_taps((height, width), fore_small.shape)
    source, source_step = flat(image)
    ground, ground_step = flat(back)
    _over(
        out.reshape(-1), source, source_step, alpha.reshape(-1), ground, ground_step, height, width,
        fore_small, back_small, estimate is not None, straight, *taps,
    )  # fmt: skip


def blend_plane(out: U8, image: U8, alpha: U8, back: U8, estimate: PlaneEstimate | None = None) -> None:
    """``out`` = alpha F + (1 - alpha) back, to the nearest level.

    Parameters
    ----------
    out : ndarray (H, W) uint8, C-contiguous
        Exactly ``back`` where alpha is 0 and exactly ``image`` where it is 255.
    image, back : ndarray (H, W) uint8
        Rows may be padded.
    alpha : ndarray (H, W) uint8, C-contiguous
    estimate : (F^, B^), optional
        Small estimates of F and B; without them F is the image.
    """
    _run(out, image, alpha, back, estimate, straight=False)


def foreground_plane(out: U8, image: U8, alpha: U8, back: U8, estimate: PlaneEstimate | None = None) -> None:
    """``out`` = F where alpha > 0, else ``back``.

    Parameters
    ----------
    out, image, alpha, back, estimate
        As for :func:`blend_plane`.
    """
    _run(out, image, alpha, back, estimate, straight=True)
