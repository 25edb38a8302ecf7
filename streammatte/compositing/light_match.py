"""Adapts exposure and white balance of the person to the new background, in part.

The scene the person stood in determines the light on them, the new scene the light that they would have. Exposure
follows the ratio of the scenes' mean luma, white balance the difference of their mean chroma (gray world); both only in
part, and never far: clothes and walls have colours of their own.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.compositing.despill import black_level, small_yuv
from streammatte.frames import U8, ColorSpec, Frame, Layout, Matte
from streammatte.kernels.color import rgb_matrix

__all__ = ["LightMatch"]

F64 = npt.NDArray[np.float64]

_EXPOSURE = 0.35
"""Power of the scenes' luma ratio that becomes gain."""

_GAINS = (0.75, 1.3)
"""Least and greatest gain."""

_BALANCE = 0.3
"""Part of the scenes' chroma difference that is followed."""

_MAX_BALANCE = 8.0
"""Greatest shift of chroma in levels: three steps of a colour temperature, no tint."""

_COLOURED = 30.0
"""Mean chroma, in levels, from which a scene's hue is that of its surfaces, not of its light, and is not followed."""

_TIME = 1.0
"""Seconds in which the fit follows: slower than any flicker of a lamp or of the matte."""

_FORGET = 1.0
"""Seconds after which the fit before does not count."""

_SAMPLES = 64
"""Cells a side at which a new background is averaged."""


class LightMatch:
    """Gain and chroma shift from the old scene and the new one, steady over time."""

    def __init__(self) -> None:
        self._fit: F64 | None = None
        self._time = 0.0

    def reset(self) -> None:
        """Another video."""
        self._fit = None

    def fit(self, matte: Matte, back: tuple[U8, ...]) -> F64:
        """Gain and shifts of U and V (array of 3) for this frame, given the new background's planes."""
        frame = matte.frame
        target = _target(_old_scene(matte), _new_scene(back, frame), black_level(frame))
        step = frame.time - self._time
        self._time = frame.time
        if self._fit is not None and 0 < step < _FORGET:
            target = self._fit + (target - self._fit) * (1 - math.exp(-step / _TIME))
        self._fit = target
        return target

    @staticmethod
    def apply(planes: tuple[U8, ...], fit: F64, frame: Frame) -> tuple[U8, ...]:
        """The planes of a straight foreground in the new light.

        Parameters
        ----------
        planes : tuple of (h, w) uint8
            Of the foreground.
        fit : (3,) float64
            Gain and shifts of U and V, as :meth:`fit` gives them.
        frame : Frame
            The foreground's own, for layout and colours.
        """
        gain, u, v = (float(value) for value in fit)
        black = black_level(frame)
        if frame.layout.is_yuv:
            levels = np.arange(256)
            tables = (black + (levels - black) * gain, 128 + (levels - 128) * gain + u, 128 + (levels - 128) * gain + v)
            return tuple(cv2.LUT(plane, _bytes(table)) for plane, table in zip(planes, tables, strict=True))
        if frame.layout is Layout.GRAY:
            return (cv2.LUT(planes[0], _bytes(np.arange(256) * gain)),)
        shift = rgb_matrix(ColorSpec(matrix=6, full_range=True), 0)[:, 1:3] @ np.array([u, v])
        table = np.arange(256)[:, None] * gain + shift
        return (cv2.LUT(planes[0], _bytes(table).reshape(1, 256, 3)),)


def _bytes(values: npt.NDArray[np.floating]) -> U8:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _target(old: F64, new: F64, black: int) -> F64:
    gain = (max(new[0] - black, 1.0) / max(old[0] - black, 1.0)) ** _EXPOSURE
    shift = np.zeros(2)
    if max(np.hypot(*old[1:]), np.hypot(*new[1:])) < _COLOURED:
        shift = np.clip((new[1:] - old[1:]) * _BALANCE, -_MAX_BALANCE, _MAX_BALANCE)
    return np.array([min(max(gain, _GAINS[0]), _GAINS[1]), *shift])


def _old_scene(matte: Matte) -> F64:
    """Mean Y, U, V (centred) of what lies behind the person; of everything where nothing does."""
    components = small_yuv(matte)
    weights = 1 - matte.small_alpha
    total = float(weights.sum())
    if total < weights.size / 100:
        weights, total = np.ones_like(weights), float(weights.size)
    means = [float((plane * weights).sum() / total) for plane in components]
    return _centred(means)


def _new_scene(back: tuple[U8, ...], frame: Frame) -> F64:
    small = [cv2.resize(plane, (_SAMPLES, _SAMPLES), interpolation=cv2.INTER_NEAREST) for plane in back]
    if frame.layout is Layout.RGB:
        luma, red, blue = cv2.split(cv2.cvtColor(small[0], cv2.COLOR_RGB2YCrCb))
        small = [luma, blue, red]
    return _centred([float(plane.mean()) for plane in small])


def _centred(means: list[float]) -> F64:
    if len(means) == 1:
        return np.array([means[0], 0.0, 0.0])
    return np.array([means[0], means[1] - 128, means[2] - 128])
