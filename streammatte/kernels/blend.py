"""One plane of a picture over one plane of another, with the foreground's colour estimated where the matte is soft.

I = alpha F + (1 - alpha) B; C = alpha F + (1 - alpha) B'. F is Forte and Pitie 2021, eq. 6, from estimates at the
network's size: F = F^ + alpha (I - alpha F^ - (1 - alpha) B^).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import boolean, float32, int64, njit, types, void

from streammatte.kernels.rows import BYTES, BYTES_OUT, FLOATS, GRID, INDICES, flat, frame_taps

__all__ = ["PlaneEstimate", "blend_plane", "foreground_plane"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
PlaneEstimate = tuple[F32, F32]
"""(F^, B^) of one plane at the network's size, (h, w) float32 in levels of 0..255."""

_BLOCK = 32
"""Pixels a block: where the matte is 0 all over or 255 all over a block is copied."""

_NOTHING: PlaneEstimate = (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


@njit(types.uint8(float32), inline="always", nogil=True, cache=True)
def _level(value):  # type: ignore[no-untyped-def]
    return np.uint8(np.int32(min(max(value, float32(0.0)), float32(255.0)) + float32(0.5)))


@njit(
    void(
        BYTES_OUT, BYTES, int64, BYTES, BYTES, int64, int64, int64, GRID, GRID, boolean, boolean,
        INDICES, FLOATS, INDICES, FLOATS,
    ),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)  # fmt: skip
def _over(  # type: ignore[no-untyped-def]
    out, image, image_step, alpha, back, back_step, height, width, fore_small, back_small, estimate, straight,
    rows, row_weights, columns, column_weights,
):  # fmt: skip
    h, w = fore_small.shape
    fore = np.empty(w + 1, np.float32)
    behind = np.empty(w + 1, np.float32)
    scale = float32(1.0 / 255.0)
    one = float32(1.0)
    for y in range(height):
        source = image[y * image_step : y * image_step + width]
        ground = back[y * back_step : y * back_step + width]
        matte = alpha[y * width : y * width + width]
        target = out[y * width : y * width + width]
        ready = False
        for start in range(0, width, _BLOCK):
            stop = min(start + _BLOCK, width)
            least, most = np.uint8(255), np.uint8(0)
            for x in range(start, stop):
                least = min(least, matte[x])
                most = max(most, matte[x])
            if most == 0:
                for x in range(start, stop):
                    target[x] = ground[x]
            elif least == 255 or (straight and not estimate and least > 0):
                for x in range(start, stop):
                    target[x] = source[x]
            elif not estimate:
                for x in range(start, stop):
                    p = float32(matte[x]) * scale
                    share = one if straight and matte[x] > 0 else p
                    target[x] = _level(share * float32(source[x]) + (one - share) * float32(ground[x]))
            else:
                if not ready:
                    top = rows[y]
                    bottom = min(top + 1, h - 1)
                    weight = row_weights[y]
                    for x in range(w):
                        fore[x] = fore_small[top, x] + weight * (fore_small[bottom, x] - fore_small[top, x])
                        behind[x] = back_small[top, x] + weight * (back_small[bottom, x] - back_small[top, x])
                    fore[w], behind[w] = fore[w - 1], behind[w - 1]
                    ready = True
                for x in range(start, stop):
                    i = columns[x]
                    t = column_weights[x]
                    f = fore[i] + t * (fore[i + 1] - fore[i])
                    b = behind[i] + t * (behind[i + 1] - behind[i])
                    p = float32(matte[x]) * scale
                    f += p * (float32(source[x]) - p * f - (one - p) * b)
                    f = min(max(f, float32(0.0)), float32(255.0))
                    share = one if straight and matte[x] > 0 else p
                    target[x] = _level(share * f + (one - share) * float32(ground[x]))


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
    """``out`` = F where alpha > 0, else ``back``; parameters as for :func:`blend_plane`."""
    _run(out, image, alpha, back, estimate, straight=True)
