"""The parts of a matte where errors show: trimaps and transition bands made from the truth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.frames import U8

__all__ = ["BAND_RADIUS", "SEED_KERNEL", "dense_flow", "transition_band", "trimap_from_alpha"]


def dense_flow(earlier: U8, later: U8) -> npt.NDArray[np.float32]:
    """Motion (dx, dy) in pixels from ``earlier`` to ``later``, both luma (H, W) uint8; (H, W, 2) float32.

    T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, medium preset of OpenCV. Erofeev et
    al. used another flow; it is measured on the video and the same for every matte, so it favours none.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(np.ascontiguousarray(earlier), np.ascontiguousarray(later), None)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)


Array = npt.NDArray[Any]

SEED_KERNEL = 25
"""Width in pixels of the ellipse by which PaddleSeg widens the transition when a data set has no trimap."""

BAND_RADIUS = 7
"""How many pixels around the transition belong to the band (a square window of 15)."""

BAND_RANGE = (0.02, 0.98)
"""Alpha between these is transition: one or two grey levels beside 0 and 255 are an encoder's noise."""


def trimap_from_alpha(alpha: Array, kernel: int = SEED_KERNEL) -> U8:
    """Trimap of a true matte: 255 where an ellipse ``kernel`` wide covers only 1, 0 where it covers only 0, else 128.

    Parameters
    ----------
    alpha : ndarray (H, W), uint8 or float in 0..1
    kernel : int
        Width and height of the ellipse in pixels.

    Returns
    -------
    ndarray (H, W) uint8 of 0, 128, 255

    Raises
    ------
    ConfigError
        ``kernel`` is below 1.

    Notes
    -----
    Grey-scale dilation and erosion, cut at half a grey level, as PaddleSeg makes the trimap of a validation set that
    has none.
    """
    if kernel < 1:
        raise ConfigError(f"a trimap's kernel must be 1 pixel or more; got {kernel}")
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel, kernel))
    half = 0.5 if alpha.dtype == np.uint8 else 0.5 / 255
    one = 255 if alpha.dtype == np.uint8 else 1
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[cv2.erode(alpha, ellipse) > one - half] = 255
    trimap[cv2.dilate(alpha, ellipse) < half] = 0
    return trimap


def transition_band(alpha: Array, radius: int = BAND_RADIUS) -> npt.NDArray[np.bool_]:
    """Where 0.02 < alpha < 0.98, and what lies around it.

    Parameters
    ----------
    alpha : ndarray (H, W), uint8 or float in 0..1
        The true matte.
    radius : int
        Pixels by which the transition is widened to each side, corners included.

    Returns
    -------
    ndarray (H, W) bool
    """
    one = 255 if alpha.dtype == np.uint8 else 1
    core = (alpha > BAND_RANGE[0] * one) & (alpha < BAND_RANGE[1] * one)
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    band: npt.NDArray[np.bool_] = cv2.dilate(core.astype(np.uint8), square).astype(np.bool_)
    return band
