"""Grad and Conn of a matte.

Sources: C. Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009 (both metrics);
the parameters (sigma 1.4, steps of 0.1, four neighbours) and the min-max stretch are those of PaddleSeg's Matting.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import F32

__all__ = ["connectivity_error", "gradient_error"]

Flags = npt.NDArray[np.bool_]

SIGMA = 1.4
"""Width of the Gaussian derivative in pixels, as Rhemann et al. and all implementations since."""

EPSILON = 1e-2
"""The filter is cut where the Gaussian falls below this, which makes it nine taps at SIGMA."""

CONN_STEPS = 10
"""Conn looks at thresholds of 0.1, 0.2 ... 1."""

CONN_TOLERANCE = np.float32(0.15)
"""A pixel that lies less than this above its connected level is not called disconnected (Rhemann et al. 2009)."""


def _taps() -> tuple[F32, F32]:
    """Gaussian g and its derivative d; the two-dimensional filter g(y) d(x) has unit energy."""
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * EPSILON)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = x * smooth
    unit_smooth, unit_slope = smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)
    return unit_smooth.astype(np.float32), unit_slope.astype(np.float32)


_SMOOTH, _SLOPE = _taps()


def _gradient(matte: F32) -> F32:
    """|gradient| of a matte that is stretched to 0..1; zero for a flat one."""
    span = float(matte.max() - matte.min())
    across = cv2.sepFilter2D(matte, cv2.CV_32F, _SLOPE, _SMOOTH, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(matte, cv2.CV_32F, _SMOOTH, _SLOPE, borderType=cv2.BORDER_REPLICATE)
    # cv2.magnitude rounds by the array's place in memory.
    magnitude: F32 = np.sqrt(across * across + down * down) * np.float32(1 / span if span > 0 else 0)
    return magnitude


def gradient_error(pred: F32, truth: F32, unknown: Flags) -> float:
    """Sum over ``unknown`` of (\\|grad pred\\| - \\|grad truth\\|)^2, each matte stretched to its own 0..1 first.

    Parameters
    ----------
    pred, truth : ndarray (H, W) float32, C-contiguous
    unknown : ndarray (H, W) bool
        Pixels that count.

    Notes
    -----
    grad is the convolution with the first-order Gaussian derivatives, edges replicated (Rhemann et al. 2009, eq. 3).
    """
    return float(np.sum((_gradient(pred) - _gradient(truth)) ** 2, where=unknown, dtype=np.float64))


def _connected_level(both: F32) -> F32:
    """The highest threshold up to which a pixel stays in the largest component; of equal ones the first counts."""
    values = both.astype(np.float64)  # a threshold such as 0.3 is not the same number in float32
    depth = np.zeros(both.shape, np.uint8)
    for step in range(1, CONN_STEPS + 1):
        above = (values >= step * (1 / CONN_STEPS)).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=4)
        if count == 1:
            break
        largest = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        depth[largest & (depth == step - 1)] = step
    level: F32 = depth * np.float32(1 / CONN_STEPS)
    return level


def connectivity_error(pred: F32, truth: F32, unknown: Flags) -> float:
    """Sum over ``unknown`` of \\|phi(truth) - phi(pred)\\|.

    Parameters
    ----------
    pred, truth : ndarray (H, W) float32, C-contiguous
    unknown : ndarray (H, W) bool
        Pixels that count.

    Notes
    -----
    phi(a) = 1 - d [d >= 0.15], d = a - l (Rhemann et al. 2009, eq. 4 with p = 1); l is the highest threshold up to
    which the pixel stays, from the lowest on, in the largest component of four neighbours that both mattes share.
    """
    level = _connected_level(np.minimum(pred, truth))
    excess = [np.where(matte - level < CONN_TOLERANCE, np.float32(0), matte - level) for matte in (pred, truth)]
    return float(np.sum(np.abs(excess[0] - excess[1]), where=unknown, dtype=np.float64))
