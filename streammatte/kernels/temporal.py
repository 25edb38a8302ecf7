"""One step of the temporal smoother."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, njit, void

from streammatte.kernels.rows import FLOATS, FLOATS_OUT

__all__ = ["blend_towards"]

F32 = npt.NDArray[np.float32]


@njit(
    void(FLOATS, FLOATS, FLOATS, FLOATS, float32, float32, float32, float32, float32, FLOATS_OUT),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=True,
)
def _blend(alpha, held, motion, change, keep, still, moving, small, large, out):  # type: ignore[no-untyped-def]
    one, zero, three, two = float32(1.0), float32(0.0), float32(3.0), float32(2.0)
    for i in range(alpha.size):
        m = min(max((moving - motion[i]) / (moving - still), zero), one)
        c = min(max((large - change[i]) / (large - small), zero), one)
        gate = m * m * (three - two * m) * (c * c * (three - two * c))
        out[i] = alpha[i] + keep * gate * (held[i] - alpha[i])


def blend_towards(
    alpha: F32,
    held: F32,
    motion: F32,
    change: F32,
    *,
    keep: float,
    motion_range: tuple[float, float],
    change_range: tuple[float, float],
) -> F32:
    """The new matte, drawn towards the held one where neither the picture nor the matte moves.

    Parameters
    ----------
    alpha, held : ndarray (h, w) float32
        The network's matte and the last smoothed one.
    motion : ndarray (h, w) float32
        How much the luma changed, levels.
    change : ndarray (h, w) float32
        How much the matte changed around the pixel, 0 to 1.
    keep : float
        The held matte's share where all is still, exp(-dt / time constant).
    motion_range, change_range : (float, float)
        Below the first all of ``keep`` counts, above the second nothing; a cubic step between.
    """
    out = np.empty_like(alpha)
    _blend(
        alpha.reshape(-1), held.reshape(-1), motion.reshape(-1), change.reshape(-1), keep, *motion_range,
        *change_range, out.reshape(-1),
    )  # fmt: skip
    return out
