"""The foreground's own colour at soft edges.

Forte and Pitie 2021, "Approximate Fast Foreground Colour Estimation", blur fusion, with box blurs:

    F^ = blur(alpha F) / blur(alpha),  B^ = blur((1 - alpha) B) / blur(1 - alpha),
    F = clip(F^ + alpha (I - alpha F^ - (1 - alpha) B^)),

first with F = B = I over a wide window, then with the first F and B^ over a narrow one. All of it is linear in the
components, so it holds for Y, U, V as for R, G, B. The blurs run at the matte's own size; the last step, the second F,
runs at the frame's (``kernels.blend``).
"""

from __future__ import annotations

import threading

import cv2
import numpy as np

from streammatte.frames import F32, U8, Frame, Layout
from streammatte.kernels.blend import PlaneEstimate
from streammatte.kernels.color import rgb_matrix
from streammatte.kernels.fusion import fuse, premultiply, ratios
from streammatte.runtime import import_pymatting

__all__ = ["estimate_multilevel", "estimate_small", "with_colours"]


_WIDE = 6 / 256
"""Radius of the first blur over the matte's longer side. On composites with a known F, radii of 3 to 9 cells at 256
gave the lowest error (-46 % against none); this one still bridges a soft edge of a dozen cells."""

_NARROW = 1
"""Radius of the second blur in cells: a larger one loses the hair's own variation (radius 2: -40 %, 3: -34 %)."""


_ONE_AT_A_TIME = threading.Lock()
"""PyMatting's kernels are parallel, and numba's simplest thread pool must not be entered from two threads at once."""


def estimate_small(planes: tuple[U8, ...], alpha: F32) -> tuple[PlaneEstimate, ...]:
    """Estimates of F and B at the matte's own size.

    Parameters
    ----------
    planes : tuple of ndarray (h, w) uint8, C-contiguous
        The frame's components at the matte's size.
    alpha : ndarray (h, w) float32 in [0, 1]

    Returns
    -------
    tuple of (F^, B^)
        One pair a plane, each (h, w) float32 in levels of 0..255.
    """
    alpha = np.ascontiguousarray(alpha)
    h, w = alpha.shape
    wide = max(_NARROW, round(_WIDE * max(h, w)))
    share, narrow_share = _blur(alpha, wide), _blur(alpha, _NARROW)
    estimates = []
    for plane in planes:
        values, weighted = premultiply(plane, alpha)
        fore, back, fore_layer, back_layer = fuse(values, alpha, _blur(values, wide), _blur(weighted, wide), share)
        ratios(_blur(fore_layer, _NARROW), _blur(back_layer, _NARROW), narrow_share, fore, back)
        estimates.append((fore, back))
    return tuple(estimates)


def estimate_multilevel(planes: tuple[U8, ...], alpha: F32) -> tuple[PlaneEstimate, ...]:
    """The same by multi-level estimation: Germer et al. 2020, "Fast Multi-Level Foreground Estimation" (PyMatting).

    Parameters and result as of :func:`estimate_small`; ten times slower.
    """
    estimate = import_pymatting().estimate_foreground_ml
    image = np.stack(planes, axis=2) * (1 / 255)
    with _ONE_AT_A_TIME:
        found = estimate(image, np.asarray(alpha, np.float64), return_background=True)
    fore, back = (np.asarray(layer * 255, np.float32) for layer in found)
    return tuple(
        (np.ascontiguousarray(fore[..., plane]), np.ascontiguousarray(back[..., plane])) for plane in range(len(planes))
    )


def with_colours(estimates: tuple[PlaneEstimate, ...], colours: F32, frame: Frame) -> tuple[PlaneEstimate, ...]:
    """The estimates with a network's own colours in place of F^.

    Parameters
    ----------
    estimates : tuple of (F^, B^)
        As :func:`estimate_small` gives them.
    colours : ndarray (h', w', 3) float32 in [0, 1]
        RGB.
    frame : Frame
        Gives the components: R, G, B, or Y, U, V, or luma alone.
    """
    height, width = estimates[0][0].shape
    rgb = 255 * cv2.resize(colours, (width, height), interpolation=cv2.INTER_AREA)
    if frame.layout is not Layout.RGB:
        matrix = rgb_matrix(frame.color, frame.height)
        back = np.linalg.inv(matrix[:, :3])
        rgb = (rgb - matrix[:, 3]) @ back.T
    return tuple(
        (np.ascontiguousarray(rgb[..., plane], np.float32), behind) for plane, (_, behind) in enumerate(estimates)
    )


def _blur(values: F32, radius: int) -> F32:
    side = 2 * radius + 1
    blurred: F32 = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    return blurred
