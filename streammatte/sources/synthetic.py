"""A synthetic figure that moves in front of a textured wall: frames without a file, with their exact alpha matte."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from streammatte.errors import ConfigError
from streammatte.frames import F32, U8, ColorSpec, Frame, Layout, StreamInfo

__all__ = ["SyntheticSource"]


_CYCLE = 24
"""Frames after which the motion repeats: drawn once, kept, so that a frame costs nothing afterwards."""

_SEED = 20
_SWAY = 0.06
"""How far the figure moves to either side, as a part of the image's height."""

_SOFT = 0.004
"""Half width of the figure's edge as a part of the height (3 pixels at 720 rows); hair is four times as soft."""

_SKIN, _SHIRT, _HAIR = (205, 160, 135), (60, 85, 150), (50, 38, 32)
"""RGB of the figure's parts."""


class SyntheticSource:
    """Deterministic frames of a person-like figure with a known matte.

    Parameters
    ----------
    width, height : int
        Size in pixels, 16 or more.
    rate : Fraction or int
        Frames a second.
    frames : int
        How many.

    Raises
    ------
    ConfigError
        A size below 16, a rate or a number of frames that is not above 0.
    """

    def __init__(self, width: int = 1280, height: int = 720, rate: Fraction | int = 30, frames: int = 300) -> None:
        if min(width, height) < 16:
            raise ConfigError(f"a synthetic source is at least 16x16, got {width}x{height}")
        if rate <= 0 or frames <= 0:
            raise ConfigError(f"rate and frames must be above 0, got {rate} and {frames}")
        self._frames = frames
        self._drawn: dict[int, tuple[U8, ...]] = {}
        rate = Fraction(rate)
        self._rows, self._columns = np.mgrid[:height, :width].astype(np.float32)
        self._rows = (self._rows + 0.5) / height
        self._columns = (self._columns + 0.5 - width / 2) / height
        self._wall = self._paint_wall(width, height)
        self.info = StreamInfo(
            width=width,
            height=height,
            layout=Layout.YUV420,
            time_base=1 / rate,
            rate=rate,
            color=ColorSpec(matrix=6, primaries=6, transfer=6, full_range=False),
            frame_count=frames,
            duration=float(frames / rate),
            name=f"synthetic {width}x{height}",
        )

    def truth(self, index: int) -> U8:
        """The exact alpha matte (H, W) uint8 of frame ``index``."""
        return np.rint(self._alphas(index)[0] * 255).astype(np.uint8)

    def frames(self) -> Iterator[Frame]:
        """The frames; their planes are shared between frames of the same phase."""
        info = self.info
        for index in range(self._frames):
            planes = self._drawn.get(index % _CYCLE)
            if planes is None:
                planes = self._drawn[index % _CYCLE] = self._draw(index)
            yield Frame(planes, info.layout, index, info.time_base, info.color, index, 1)

    def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    def _paint_wall(width: int, height: int) -> F32:
        """A wall with broad shades, stripes and grain, RGB."""
        noise = np.random.default_rng(_SEED)
        coarse = (noise.uniform(90, 190, (6, 9, 1)) + noise.uniform(-25, 25, (6, 9, 3))).astype(np.float32)
        wall = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        wall += noise.normal(0, 4, (height, width, 1)).astype(np.float32)
        wall += 8 * np.sin(np.arange(width, dtype=np.float32) * (40 * math.pi / width))[None, :, None]
        clipped: F32 = np.clip(wall, 0, 255)
        return clipped

    def _alphas(self, index: int) -> tuple[F32, F32, F32]:
        """Coverage in [0, 1] of the whole figure, of its head with hair, and of its face."""
        phase = 2 * math.pi * (index % _CYCLE) / _CYCLE
        x = self._columns - _SWAY * math.sin(phase)
        y = self._rows - 0.01 * math.sin(2 * phase)
        around = np.arctan2(y - 0.32, x)
        radius = np.hypot(x / 0.135, (y - 0.32) / 0.175)
        strands = 1.12 + 0.05 * np.sin(37 * around) * np.sin(11 * around + 1)
        hair = _cover((strands - radius) * 0.15, 4 * _SOFT) * (y < 0.42)
        face = _cover((1 - np.hypot(x / 0.115, (y - 0.35) / 0.155)) * 0.13, _SOFT)
        neck = _cover(np.minimum(np.minimum(0.06 - np.abs(x), y - 0.40), 0.56 - y), _SOFT)
        slope = 0.30 - 0.16 * np.exp(-np.maximum(y - 0.52, 0) / 0.05)
        body = _cover(np.minimum(slope - np.abs(x), y - 0.53), _SOFT)
        lift = 0.08 * math.sin(phase)
        arm = _cover(0.045 - _distance(x, y, (0.26, 0.72), (0.40, 0.52 - lift)), _SOFT)
        hand = _cover(0.05 - np.hypot(x - 0.41, y - 0.49 + lift), _SOFT)
        skin = np.maximum(np.maximum(face, neck), hand)
        whole = np.maximum(np.maximum(hair, skin), np.maximum(body, arm))
        return whole, hair, skin

    def _draw(self, index: int) -> tuple[U8, ...]:
        whole, hair, skin = (part[..., None] for part in self._alphas(index))
        shade = (1.1 - 0.3 * self._rows)[..., None]
        figure = np.full_like(self._wall, _SHIRT)
        figure += (np.array(_HAIR, np.float32) - figure) * hair
        figure += (np.array(_SKIN, np.float32) - figure) * skin
        image = self._wall + (figure * shade - self._wall) * whole
        return _to_yuv420(np.clip(image, 0, 255))


def _cover(inside: F32, soft: float) -> F32:
    """Smooth step of a signed distance: 0 at -soft, 1 at +soft."""
    t = np.clip(inside / (2 * soft) + 0.5, 0, 1)
    step: F32 = (t * t * (3 - 2 * t)).astype(np.float32)
    return step


def _distance(x: F32, y: F32, start: tuple[float, float], end: tuple[float, float]) -> F32:
    """Distance of every pixel from a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    away: F32 = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy).astype(np.float32)
    return away


def _to_yuv420(rgb: F32) -> tuple[U8, ...]:
    """Planes of BT.601 limited range; chroma is the mean of its pixels."""
    height, width = rgb.shape[:2]
    red, green, blue = (rgb[..., channel] / 255 for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    half = (-(-width // 2), -(-height // 2))
    chroma = []
    for color, scale in ((blue, 1.772), (red, 1.402)):
        difference = np.pad((color - luma) / scale, ((0, height % 2), (0, width % 2)), mode="edge")
        small = cv2.resize(difference, half, interpolation=cv2.INTER_AREA)
        chroma.append(np.rint(128 + 224 * small).astype(np.uint8))
    return (np.rint(16 + 219 * luma).astype(np.uint8), *chroma)
