"""Despill: a green or blue screen's light, taken off the person's edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.color import KEY_GREEN, parse_color
from streammatte.errors import ConfigError
from streammatte.frames import F32, U8, ColorSpec, Frame, Layout, Matte
from streammatte.kernels.color import rgb_matrix
from streammatte.kernels.despill import despill_planes
from streammatte.media.planes import small_components

__all__ = ["Despill", "Key"]


SCREENS = {"green": parse_color(KEY_GREEN), "blue": (0, 71, 187)}
"""Paints that are sold as chroma key green and blue: what is assumed where no screen is seen."""

_SCREEN_HUE = math.cos(math.radians(35))
"""Cosine of the angle in chroma within which a colour is that of a screen."""

_SATURATED = 22.0
"""Chroma, in levels, from which a background is a screen. Green walls and lawns in daylight stay below or vary more."""

_SCREEN_SHARE = 0.6
"""Share of what is certainly background that must have the screen's colour for ``auto`` to see one."""

_MIN_BACKGROUND = 0.02
"""Share of the image that must be certain background for its colour to be judged."""

_BACKGROUND = 0.02
"""Alpha up to which a cell is certain background."""

_WIDTH = 10 / 256
"""How far light from the screen reaches around the person's edge, over the matte's longer side."""

_LIGHT = 0.5
"""Share of the spill's own luma that is taken with its colour. All of it would be right for light that was added, none
for an edge whose colour is mixed with the screen's; see docs/quality.md."""

_TIME = 0.5
"""Seconds in which a screen's colour follows a change."""

_FORGET = 1.0
"""Seconds after which the colour before does not count."""

_HELD = 0.7
"""Share of the screen's limits that suffices where a screen was seen in the frame before."""


@dataclass(frozen=True, slots=True)
class Key:
    """A screen's colour: direction in (U - 128, V - 128) of length 1, and luma over saturation."""

    direction: tuple[float, float]
    light: float

    @classmethod
    def of(cls, y: float, u: float, v: float, black: int) -> Key:
        """The key of a colour in levels, centred chroma.

        Parameters
        ----------
        y : float
            Luma, levels.
        u, v : float
            Chroma around 0, levels.
        black : int
            The luma level of black.
        """
        saturation = max(math.hypot(u, v), 1.0)
        return cls((u / saturation, v / saturation), max(y - black, 0.0) / saturation)


class Despill:
    """Finds a screen's colour and takes it off straight foregrounds.

    Parameters
    ----------
    mode : {"green", "blue", "auto"}
        ``auto`` does nothing unless the background is a saturated green or blue.
    """

    def __init__(self, mode: Literal["green", "blue", "auto"] | str) -> None:
        if mode not in ("green", "blue", "auto"):
            raise ConfigError(f"despill must be 'green', 'blue', 'auto' or 'off', got {mode!r}")
        self.mode = mode
        self._mean: npt.NDArray[np.float64] | None = None
        self._time = 0.0

    def reset(self) -> None:
        """Forget the screen."""
        self._mean = None

    def key(self, matte: Matte) -> Key | None:
        """The screen's colour in this image; None where there is none to take off."""
        frame = matte.frame
        if frame.layout is Layout.GRAY:
            return None
        black = black_level(frame)
        found = self._seen(matte)
        step = frame.time - self._time
        self._time = frame.time
        if found is not None and self._mean is not None and 0 < step < _FORGET:
            found = self._mean + (found - self._mean) * (1 - math.exp(-step / _TIME))
        self._mean = found
        if found is not None:
            return Key.of(float(found[0]), float(found[1]), float(found[2]), black)
        return None if self.mode == "auto" else Key.of(*screen_color(self.mode, frame), black)

    def apply(self, planes: tuple[U8, ...], alphas: tuple[U8, ...], matte: Matte, key: Key) -> tuple[U8, ...]:
        """Take the key off a straight foreground.

        Parameters
        ----------
        planes : tuple of ndarray uint8, C-contiguous
            Of the frame's layout; YUV planes are changed in place.
        alphas : tuple of ndarray uint8
            The matte at each plane's size.
        """
        frame, weights = matte.frame, edge_weights(matte.small_alpha)
        light, black = key.light * _LIGHT, black_level(frame)
        if frame.layout.is_yuv:
            despill_planes(planes, alphas[1], weights, key.direction, light, frame.layout.chroma_shift, black)
            return planes
        before = cv2.cvtColor(planes[0], cv2.COLOR_RGB2YCrCb)
        luma, red, blue = (plane.copy() for plane in cv2.split(before))
        despill_planes((luma, blue, red), alphas[0], weights, key.direction, light, (0, 0), 0)
        after = cv2.merge((luma, red, blue))
        changed = (after != before).any(axis=2)
        rgb = planes[0].copy()
        rgb[changed] = cv2.cvtColor(after, cv2.COLOR_YCrCb2RGB)[changed]
        return (rgb,)

    def _seen(self, matte: Matte) -> npt.NDArray[np.float64] | None:
        """The mean Y, U, V (centred) of the screen's cells, where enough of the background is one."""
        behind = matte.small_alpha <= _BACKGROUND
        total = int(np.count_nonzero(behind))
        if total < _MIN_BACKGROUND * behind.size:
            return None
        colors = np.stack([plane[behind] for plane in small_yuv(matte)]).astype(np.float32)
        colors[1:] -= 128
        held = _HELD if self._mean is not None else 1.0
        saturation = np.hypot(colors[1], colors[2])
        for name in ("green", "blue") if self.mode == "auto" else (self.mode,):
            _, u, v = screen_color(name, matte.frame)
            near = (colors[1] * u + colors[2] * v) >= _SCREEN_HUE * saturation * math.hypot(u, v)
            near &= saturation >= _SATURATED * held
            if np.count_nonzero(near) >= (_SCREEN_SHARE if self.mode == "auto" else _MIN_BACKGROUND) * held * total:
                return np.asarray(colors[:, near].mean(axis=1), np.float64)
        return None


def edge_weights(alpha: F32) -> F32:
    """1 at the matte's edges and outside, falling to 0 where the screen's light does not reach."""
    side = 2 * max(1, round(_WIDTH * max(alpha.shape))) + 1
    share = cv2.blur(alpha, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(2 * (1 - share), 0, 1), np.float32)


def black_level(frame: Frame) -> int:
    """Luma of black."""
    return 16 if frame.layout.is_yuv and not frame.color.full_range else 0


def screen_color(name: str, frame: Frame) -> tuple[float, float, float]:
    """Y, U - 128, V - 128 of a screen's paint in a frame's colour space (BT.601, full range, for RGB)."""
    spec, height = (frame.color, frame.height) if frame.layout.is_yuv else (ColorSpec(matrix=6, full_range=True), 0)
    matrix = np.vstack([rgb_matrix(spec, height), [0, 0, 0, 1]])
    y, u, v, _ = np.linalg.inv(matrix) @ np.array([*SCREENS[name], 1.0])
    return float(y), float(u - 128), float(v - 128)


def small_yuv(matte: Matte) -> tuple[U8, ...]:
    """Y, U, V of the frame at the matte's own size (BT.601, full range, for RGB)."""
    components = small_components(matte)
    if matte.frame.layout is not Layout.RGB:
        return components
    luma, red, blue = cv2.split(cv2.cvtColor(cv2.merge(components), cv2.COLOR_RGB2YCrCb))
    return luma, blue, red
