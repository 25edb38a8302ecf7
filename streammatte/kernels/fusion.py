"""The arithmetic between the blurs of the foreground estimate (see ``compositing.foreground`` for the equations)."""

from __future__ import annotations

import numpy as np
from numba import float32, void

from streammatte.frames import F32, U8
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, FLOATS, FLOATS_OUT

__all__ = ["fuse", "premultiply", "ratios"]


_TRACE = 1e-4
"""Weight of what is there anyway, beside a layer's own: it decides where a window holds nothing of the layer."""


@njit(void(BYTES, FLOATS, FLOATS_OUT, FLOATS_OUT), nogil=True, cache=True, fastmath=True)
def _premultiply(plane, alpha, values, weighted):  # type: ignore[no-untyped-def]
    for i in range(alpha.size):
        values[i] = float32(plane[i])
        weighted[i] = values[i] * alpha[i]


@njit(
    void(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS_OUT, FLOATS_OUT, FLOATS_OUT, FLOATS_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _fuse(values, alpha, mean, mean_fore, share, fore, back, fore_layer, back_layer):  # type: ignore[no-untyped-def]
    trace, one, zero, top = float32(_TRACE), float32(1.0), float32(0.0), float32(255.0)
    for i in range(alpha.size):
        p = alpha[i]
        f = (mean_fore[i] + trace * mean[i]) / (share[i] + trace)
        b = (mean[i] - mean_fore[i] + trace * mean[i]) / (one - share[i] + trace)
        b = min(max(b, zero), top)
        fore[i], back[i] = f, b
        f += p * (values[i] - p * f - (one - p) * b)
        fore_layer[i] = p * min(max(f, zero), top)
        back_layer[i] = (one - p) * b


@njit(void(FLOATS, FLOATS, FLOATS, FLOATS_OUT, FLOATS_OUT), nogil=True, cache=True, error_model="numpy", fastmath=True)
def _ratios(mean_fore, mean_back, share, fore, back):  # type: ignore[no-untyped-def]
    trace, one = float32(_TRACE), float32(1.0)
    for i in range(share.size):
        fore[i] = (mean_fore[i] + trace * fore[i]) / (share[i] + trace)
        back[i] = (mean_back[i] + trace * back[i]) / (max(one - share[i], float32(0.0)) + trace)


def premultiply(plane: U8, alpha: F32) -> tuple[F32, F32]:
    """(I, alpha I) as float32 of a plane (h, w) uint8 and a matte (h, w) float32 in [0, 1], both C-contiguous."""
    values, weighted = np.empty_like(alpha), np.empty_like(alpha)
    _premultiply(plane.reshape(-1), alpha.reshape(-1), values.reshape(-1), weighted.reshape(-1))
    return values, weighted


def fuse(values: F32, alpha: F32, mean: F32, mean_fore: F32, share: F32) -> tuple[F32, F32, F32, F32]:
    """One fusion: F^ and B^ from blurs, F from them, and the layers alpha F and (1 - alpha) B^ for the next blur.

    Parameters
    ----------
    values, alpha : ndarray (h, w) float32
        The plane in levels and the matte in [0, 1].
    mean, mean_fore, share : ndarray (h, w) float32
        Blurs of I, of alpha I and of alpha.
    """
    fore, back = np.empty_like(alpha), np.empty_like(alpha)
    fore_layer, back_layer = np.empty_like(alpha), np.empty_like(alpha)
    _fuse(
        values.reshape(-1), alpha.reshape(-1), mean.reshape(-1), mean_fore.reshape(-1), share.reshape(-1),
        fore.reshape(-1), back.reshape(-1), fore_layer.reshape(-1), back_layer.reshape(-1),
    )  # fmt: skip
    return fore, back, fore_layer, back_layer


def ratios(mean_fore: F32, mean_back: F32, share: F32, fore: F32, back: F32) -> None:
    """Write blur(alpha F) / blur(alpha) over ``fore`` and blur((1 - alpha) B) / blur(1 - alpha) over ``back``.

    All are (h, w) float32; where a window holds nothing of a layer, what stood there stays.

    Parameters
    ----------
    mean_fore, mean_back : (h, w) float32
        blur(alpha F) and blur((1 - alpha) B).
    share : (h, w) float32
        blur(alpha).
    fore, back : (h, w) float32
        Written.
    """
    _ratios(mean_fore.reshape(-1), mean_back.reshape(-1), share.reshape(-1), fore.reshape(-1), back.reshape(-1))
