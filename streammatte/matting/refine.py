"""From the network's small matte to the frame's size."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.frames import Frame, Layout
from streammatte.kernels.refine import apply_linear_model
from streammatte.kernels.rows import axis_taps

__all__ = ["Refiner"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_RADIUS = 2
"""Guided filter's window radius in cells of the small matte."""

_EPSILON = 2e-3
"""Guided filter's regularisation for luma in [0, 1]."""


class Refiner:
    """Enlarges the matte; the frame's own luma draws its edges.

    Parameters
    ----------
    mode : {"off", "fast", "best"}
        ``off`` enlarges bilinearly, pixel centres aligned. ``fast`` is the fast guided filter (He and Sun 2015) on luma, solved at
        the matte's size; ``best`` solves it at the network's input size.
    """

    def __init__(self, mode: Literal["off", "fast", "best"] | str = "fast") -> None:
        if mode not in ("off", "fast", "best"):
            raise ConfigError(f"refine must be 'off', 'fast' or 'best', got {mode!r}")
        self.mode = mode
        self._taps: dict[tuple[int, ...], tuple[npt.NDArray[np.int32], F32, npt.NDArray[np.int32], F32]] = {}

    def refine(self, small_alpha: F32, frame: Frame, small_planes: tuple[U8, ...]) -> U8:
        """The matte at the frame's size.

        Parameters
        ----------
        small_alpha : ndarray (h, w) float32 in [0, 1]
        frame : Frame
            The picture (H, W) the matte belongs to.
        small_planes : tuple of ndarray (h', w') uint8
            Its planes at the network's input size.

        Returns
        -------
        ndarray (H, W) uint8
        """
        if self.mode == "off":
            return enlarge(small_alpha, (frame.height, frame.width))
        guide = frame.planes[0]
        small_guide = small_planes[0]
        if frame.layout is Layout.RGB:
            guide = cv2.cvtColor(guide, cv2.COLOR_RGB2GRAY)
            small_guide = cv2.cvtColor(cv2.merge(small_planes), cv2.COLOR_RGB2GRAY)
        if self.mode == "best" and small_alpha.shape != small_guide.shape:
            small_alpha = cv2.resize(small_alpha, small_guide.shape[::-1], interpolation=cv2.INTER_LINEAR)
        h, w = small_alpha.shape
        if small_guide.shape != (h, w):
            small_guide = cv2.resize(small_guide, (w, h), interpolation=cv2.INTER_AREA)
        a, b = _linear_model(small_guide, small_alpha, _RADIUS if self.mode == "fast" else 2 * _RADIUS, _EPSILON)
        sizes = (*guide.shape, h, w)
        if sizes not in self._taps:
            self._taps = {sizes: axis_taps(guide.shape[0], h) + axis_taps(guide.shape[1], w)}
        return apply_linear_model(a, b, guide, self._taps[sizes])


def enlarge(small_alpha: F32, size: tuple[int, int]) -> U8:
    """A small matte (h, w) float32 in [0, 1] as uint8 of ``size`` (height, width), bilinear."""
    levels = cv2.convertScaleAbs(small_alpha, alpha=255.0)
    enlarged: U8 = cv2.resize(levels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return enlarged


def _linear_model(guide: U8, alpha: F32, radius: int, epsilon: float) -> tuple[F32, F32]:
    """Mean (a, b) of the windows' models alpha = a I + b for I in 0..255, alpha in 0..255 (He et al. 2013, eq. 5-8)."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: F32) -> F32:
        averaged: F32 = cv2.blur(values, window, borderType=cv2.BORDER_REPLICATE)
        return averaged

    luma = guide.astype(np.float32)
    luma *= 1 / 255
    mean_luma, mean_alpha = mean(luma), mean(alpha)
    covariance = mean(luma * alpha) - mean_luma * mean_alpha
    variance = mean(luma * luma) - mean_luma * mean_luma
    a = covariance / (variance + np.float32(epsilon))
    b = mean_alpha - a * mean_luma
    return mean(a), mean(b) * np.float32(255)
