"""The picture's own background, out of focus."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import Frame, Layout, Matte

__all__ = ["DEFAULT_STRENGTH", "blur_background"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

DEFAULT_STRENGTH = 25.0
"""Of 1 to 100: a sitting person's room is still a room, but nothing in it can be read."""

_WORKING_SIDE = 320
"""Longer side, pixels, at which the blur is computed: blurred pictures hold nothing finer."""

_EPSILON = np.float32(2e-3)
"""Weight of the plain picture where a window holds no background at all."""


def blur_background(matte: Matte, strength: float) -> tuple[U8, ...]:
    """Planes like the frame's, of its background alone: blur(I (1 - alpha)) / blur(1 - alpha).

    Parameters
    ----------
    matte : Matte
    strength : float
        1 to 100: the blur's radius in 1/1000 of the picture's longer side.
    """
    frame = matte.frame
    scale = min(1.0, _WORKING_SIDE / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    radius = max(1, round(strength / 1000 * max(width, height)))
    alpha = cv2.resize(matte.alpha, (width, height), interpolation=cv2.INTER_AREA)
    # Widen the person a little, so that nothing of a soft edge counts as background.
    alpha = cv2.dilate(alpha, np.ones((3, 3), np.uint8))
    weight = (np.float32(255) - alpha) * np.float32(1 / 255)
    share = _smooth(weight, radius) + _EPSILON
    planes = []
    for number, plane in enumerate(frame.planes):
        small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        if small.ndim == 3:
            blurred = (_smooth(small * weight[..., None], radius) + _EPSILON * _smooth(small, radius)) / share[
                ..., None
            ]
        else:
            blurred = (_smooth(small * weight, radius) + _EPSILON * _smooth(small, radius)) / share
        levels = cv2.convertScaleAbs(blurred)
        planes.append(cv2.resize(levels, _size(frame, number), interpolation=cv2.INTER_LINEAR))
    return tuple(planes)


def _smooth(values: F32, radius: int) -> F32:
    """Two box blurs: a tent, without the box's edges."""
    side = radius | 1
    once: F32 = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
    twice: F32 = cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE)
    return twice


def _size(frame: Frame, plane: int) -> tuple[int, int]:
    if frame.layout is Layout.RGB:
        return frame.width, frame.height
    return frame.planes[plane].shape[1], frame.planes[plane].shape[0]
