"""The image's own background, out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.frames import F32, U8, Frame, Layout, Matte
from streammatte.kernels.fusion import premultiply
from streammatte.media.planes import small_components

__all__ = ["DEFAULT_STRENGTH", "blur_background"]


DEFAULT_STRENGTH = 25.0
"""Of 1 to 100: the room of a seated person stays recognisable, but no text in it can be read."""

_TRACE = np.float32(1e-3)
"""Weight of the background's mean colour: used where a window holds no background at all."""

_GUARD = np.ones((3, 3), np.uint8)
"""The person is widened by this before being left out, so that nothing of a soft edge counts as background."""


def blur_background(matte: Matte, strength: float) -> tuple[U8, ...]:
    """Planes like the frame's, of its background alone: blur(I (1 - alpha)) / blur(1 - alpha).

    Computed at the small matte's size, where a blurred image holds all that it holds, and enlarged.

    Parameters
    ----------
    matte : Matte
    strength : float
        1 to 100: the blur's radius in 1/1000 of the image's longer side.
    """
    h, w = matte.small_alpha.shape
    radius = strength / 1000 * max(h, w)
    weight = np.float32(1) - cv2.dilate(matte.small_alpha, _GUARD)
    share = _tent(weight, radius) + _TRACE
    total = float(weight.sum()) + 1e-6
    planes = []
    for component in small_components(matte):
        _, weighted = premultiply(component, weight)
        mean = np.float32(float(weighted.sum()) / total)
        planes.append(cv2.convertScaleAbs((_tent(weighted, radius) + _TRACE * mean) / share))
    frame = matte.frame
    if frame.layout is Layout.RGB:
        return (cv2.resize(cv2.merge(planes), (frame.width, frame.height), interpolation=cv2.INTER_LINEAR),)
    return tuple(_enlarge(plane, frame, number) for number, plane in enumerate(planes))


def _tent(values: F32, radius: float) -> F32:
    """Two box blurs make a tent, without the box's edges; its half width is ``radius``, to an odd number of cells."""
    side = max(3, 2 * round(radius / 2) + 1)
    once: F32 = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    twice: F32 = cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE)
    return twice


def _enlarge(plane: U8, frame: Frame, number: int) -> U8:
    height, width = frame.planes[number].shape
    enlarged: U8 = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged
