"""From the network's small matte to the frame's size."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from streammatte.errors import ConfigError
from streammatte.frames import F32, U8, Frame, Layout
from streammatte.kernels.refine import apply_models, mean_models, solve_models
from streammatte.kernels.rows import frame_taps

__all__ = ["Refiner", "enlarge"]

Guide = tuple[U8, U8, U8]

_EPSILON = 2.0
"""Regularisation in levels squared.

Of 0.65, 2, 6.5, 20 and 65 the smaller ones gave the lowest MAD on composites with a known matte; 2 keeps more distance
from a camera's noise. Windows of 3 x 3 cells: larger ones lower Grad a little and raise MAD, as they soften."""

_DOUBT = 0.07
"""Standard deviation of the matte that a window's model may leave unexplained and still count half.

On composites with a known matte, 0.05 gave a lower MAD (by half a percent) and 0.1 a lower Grad (by one); without the
weight MAD is two percent higher, and the stripes of blinds beside a white sleeve appear in its edge."""


class Refiner:
    """Enlarges the matte; the frame's own colours draw its edges.

    Parameters
    ----------
    mode : {"off", "fast", "best"}
        ``off`` enlarges bilinearly, pixel centres aligned. ``fast`` is the fast guided filter (He and Sun 2015) with a
        colour guide, solved at the matte's size; ``best`` refines to the network's input size first and solves there
        again, which makes smoother edges (lower Grad).
    """

    def __init__(self, mode: Literal["off", "fast", "best"] | str = "fast") -> None:
        if mode not in ("off", "fast", "best"):
            raise ConfigError(f"refine must be 'off', 'fast' or 'best', got {mode!r}")
        self.mode = mode

    def refine(self, small_alpha: F32, frame: Frame, small_planes: tuple[U8, ...]) -> U8:
        """The matte at the frame's size.

        Parameters
        ----------
        small_alpha : ndarray (h, w) float32 in [0, 1]
        frame : Frame
            The image (H, W) that the matte belongs to.
        small_planes : tuple of ndarray (h', w') uint8
            Its planes at the network's input size.

        Returns
        -------
        ndarray (H, W) uint8
        """
        if self.mode == "off":
            return enlarge(small_alpha, (frame.height, frame.width))
        small_alpha = np.ascontiguousarray(small_alpha, np.float32)
        guide = _three(small_planes)
        if self.mode == "best" and guide[0].shape != small_alpha.shape:
            levels = _guided(small_alpha, guide, guide, (0, 0))
            small_alpha = levels * np.float32(1 / 255)
        return _guided(small_alpha, guide, _components(frame), frame.layout.chroma_shift)


def enlarge(small_alpha: F32, size: tuple[int, int]) -> U8:
    """A small matte (h, w) float32 in [0, 1] as uint8 of ``size`` (height, width), bilinear."""
    levels = cv2.convertScaleAbs(small_alpha, alpha=255.0)
    enlarged: U8 = cv2.resize(levels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return enlarged


def _guided(small_alpha: F32, guide: Guide, planes: Guide, shift: tuple[int, int]) -> U8:
    """The matte at the planes' size, by models of the matte in the guide."""
    h, w = small_alpha.shape
    if guide[0].shape != (h, w):
        first, second, third = (cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA) for plane in guide)
        guide = (first, second, third)
    models = mean_models(*solve_models(small_alpha, guide, _EPSILON, _DOUBT))
    return apply_models(models, planes, shift, frame_taps(planes[0].shape, (h, w)))


def _three(planes: tuple[U8, ...]) -> Guide:
    """Three components; a gray image's one counts three times."""
    first, second, third = planes if len(planes) == 3 else (planes[0],) * 3
    return first, second, third


def _components(frame: Frame) -> Guide:
    return _three(tuple(cv2.split(frame.planes[0])) if frame.layout is Layout.RGB else frame.planes)
