"""The foreground's own colour at soft edges.

Forte and Pitie 2021, "Approximate Fast Foreground Colour Estimation", blur fusion: with a box blur,
F^ = blur(alpha I) / blur(alpha), B^ = blur((1 - alpha) I) / blur(1 - alpha), then
F = clip(F^ + alpha (I - alpha F^ - (1 - alpha) B^)). All of it is linear in the components, so it holds for Y, U, V as for R, G, B.
The blurs run at the network's size; the last step runs at the frame's (``kernels.blend``).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.kernels.blend import PlaneEstimate

__all__ = ["estimate_small"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_WIDE = 1 / 14
"""Radius of the first blur over the matte's longer side: the paper's 90 pixels at 1280."""

_NARROW = 1 / 128
"""Radius of the second blur over the matte's longer side."""

_EPSILON = np.float32(1e-4)
"""Weight below which a window holds nothing of a layer."""


def estimate_small(planes: tuple[U8, ...], alpha: F32) -> tuple[PlaneEstimate, ...]:
    """Estimates of F and B at the matte's own size.

    Parameters
    ----------
    planes : tuple of ndarray (h', w') uint8
        The frame's components at the network's size.
    alpha : ndarray (h, w) float32 in [0, 1]

    Returns
    -------
    tuple of (F^, B^)
        One pair a plane, each (h, w) float32 in levels of 0..255.
    """
    h, w = alpha.shape
    count = len(planes)
    picture = np.empty((h, w, count), np.float32)
    for number, plane in enumerate(planes):
        sized = plane if plane.shape == (h, w) else cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA)
        picture[..., number] = sized
    weight = alpha[..., None]
    fore, back = picture, picture
    for radius in (max(1, round(_WIDE * max(h, w))), max(1, round(_NARROW * max(h, w)))):
        fore_mean = _weighted(fore, weight, radius)
        back_mean = _weighted(back, 1 - weight, radius)
        fore = np.clip(fore_mean + weight * (picture - weight * fore_mean - (1 - weight) * back_mean), 0, 255)
        back = back_mean
    estimates = []
    for number in range(count):
        estimates.append((np.ascontiguousarray(fore_mean[..., number]), np.ascontiguousarray(back_mean[..., number])))
    return tuple(estimates)


def _weighted(values: F32, weight: F32, radius: int) -> F32:
    """Mean of ``values`` (h, w, c) by ``weight`` (h, w, 1) over a square window."""
    window = (2 * radius + 1, 2 * radius + 1)
    total = cv2.blur(values * weight, window)
    share = cv2.blur(weight[..., 0], window)
    mean: F32 = (total.reshape(values.shape) + _EPSILON * values) / (share + _EPSILON)[..., None]
    return mean
