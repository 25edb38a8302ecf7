"""One step of the temporal smoother."""

from __future__ import annotations

import numpy as np
from numba import types, void

from streammatte.frames import F32, U8
from streammatte.kernels import njit
from streammatte.kernels.rows import BYTES, FLOATS, FLOATS_OUT

__all__ = ["blend_held", "blend_three", "mismatch", "nearer"]


_BYTES_IN_AND_OUT = types.Array(types.uint8, 1, "C")


@njit(void(FLOATS, FLOATS, BYTES, FLOATS, FLOATS_OUT), nogil=True, cache=True, error_model="numpy", fastmath=True)
def _blend(alpha, held, cost, share, out):  # type: ignore[no-untyped-def]
    for i in range(alpha.size):
        out[i] = alpha[i] + share[cost[i]] * (held[i] - alpha[i])


@njit(
    void(FLOATS, FLOATS, BYTES, FLOATS, FLOATS, BYTES, FLOATS, FLOATS_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _blend_three(alpha, held, cost, share, later, later_cost, later_share, out):  # type: ignore[no-untyped-def]
    one = np.float32(1)
    for i in range(alpha.size):
        a = share[cost[i]]
        b = later_share[later_cost[i]]
        past = a / (one - a)
        future = b / (one - b)
        out[i] = (alpha[i] + past * held[i] + future * later[i]) / (one + past + future)


@njit(void(BYTES, BYTES, _BYTES_IN_AND_OUT), nogil=True, cache=True)
def _mismatch(here, there, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        luma = abs(np.int32(here[3 * i]) - np.int32(there[3 * i]))
        blue = abs(np.int32(here[3 * i + 1]) - np.int32(there[3 * i + 1]))
        red = abs(np.int32(here[3 * i + 2]) - np.int32(there[3 * i + 2]))
        out[i] = min(luma + 4 * (blue + red), 255)


@njit(void(FLOATS_OUT, FLOATS, _BYTES_IN_AND_OUT, BYTES), nogil=True, cache=True)
def _nearer(where, still, cost, still_cost):  # type: ignore[no-untyped-def]
    for i in range(cost.size):
        if still_cost[i] <= cost[i]:
            cost[i] = still_cost[i]
            where[2 * i] = still[2 * i]
            where[2 * i + 1] = still[2 * i + 1]


def blend_held(alpha: F32, held: F32, cost: U8, share: F32) -> F32:
    """The new matte blended with the held one: alpha + share[cost] (held - alpha).

    Parameters
    ----------
    alpha, held : ndarray (h, w) float32
        The network's matte, and the last smoothed one warped to this frame.
    cost : ndarray (h, w) uint8
        How badly the two images match around the pixel, levels.
    share : ndarray (256,) float32 in [0, 1)
        The held matte's share at every cost.
    """
    out = np.empty_like(alpha)
    _blend(alpha.reshape(-1), held.reshape(-1), cost.reshape(-1), share, out.reshape(-1))
    return out


def blend_three(
    alpha: F32, held: F32, cost: U8, share: F32, later: F32, later_cost: U8, later_share: F32
) -> F32:  # fmt: skip
    """The mean of a matte, what was held before it and what comes after it, weighed by how well they match.

    A share s of two is a weight of s / (1 - s) beside the 1 of ``alpha``.

    Parameters
    ----------
    alpha, held, later : (h, w) float32
        The matte, what was held before it, and what comes after it.
    cost, later_cost : (h, w) uint8
        How badly the images match around the pixel, levels.
    share, later_share : (256,) float32 in [0, 1)
        Their shares at every cost.
    """
    out = np.empty_like(alpha)
    _blend_three(
        alpha.reshape(-1), held.reshape(-1), cost.reshape(-1), share,
        later.reshape(-1), later_cost.reshape(-1), later_share, out.reshape(-1),
    )  # fmt: skip
    return out


def mismatch(here: U8, there: U8) -> U8:
    """How much two images (h, w, 3) uint8 in Y, U, V differ: dY + 4 (dU + dV), absolute, up to 255; (h, w) uint8.

    Chroma counts more as it spans a smaller range: a hand and a wall of equal luma must not match. 4 was
    better than 2, and 2 better than 1, on videos with a known matte: less lag at the same dtSSD.
    """
    out = np.empty(here.shape[:2], np.uint8)
    _mismatch(here.reshape(-1), there.reshape(-1), out.reshape(-1))
    return out


def nearer(where: F32, still: F32, cost: U8, still_cost: U8) -> None:
    """Where standing still matches no worse than the motion found, stand still: ``where`` and ``cost`` are overwritten.

    Parameters
    ----------
    where, still : ndarray (h, w, 2) float32
        Places (x, y) in the other image: along the motion, and the very same.
    cost, still_cost : ndarray (h, w) uint8
        How badly the images match there, levels.
    """
    _nearer(where.reshape(-1), still.reshape(-1), cost.reshape(-1), still_cost.reshape(-1))
