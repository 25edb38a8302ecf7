"""A matter without a network: green screens, and videos that test the pipeline."""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.color import KEY_GREEN, parse_color
from streammatte.errors import ConfigError
from streammatte.frames import U8, Frame, Layout, Matte
from streammatte.protocols import StageBase

__all__ = ["ChromaKey"]


class ChromaKey(StageBase):
    """Mattes by the distance from a key colour in BT.601 chroma, so that light and shadow on the screen do not count.

    Parameters
    ----------
    color : str
        A CSS name or ``#rrggbb``.
    tolerance : float
        Chroma distance (levels of 0..255) up to which a pixel is background.
    softness : float
        Further distance over which alpha rises to 1; more than 0.
    """

    def __init__(self, color: str = KEY_GREEN, tolerance: float = 28.0, softness: float = 32.0) -> None:
        if tolerance < 0 or softness <= 0:
            raise ConfigError(f"tolerance must be 0 or more and softness above 0, got {tolerance} and {softness}")
        self.color = parse_color(color)
        self.tolerance = float(tolerance)
        self.softness = float(softness)

    def process(self, item: Frame) -> list[Matte]:
        """The frame's matte."""
        u, v = _chroma(item)
        key_u, key_v = _key_chroma(self.color, item)
        distance = cv2.magnitude(u.astype(np.float32) - np.float32(key_u), v.astype(np.float32) - np.float32(key_v))
        alpha = np.clip((distance - np.float32(self.tolerance)) * np.float32(1 / self.softness), 0, 1)
        levels = cv2.convertScaleAbs(alpha, alpha=255.0)
        if levels.shape != (item.height, item.width):
            levels = cv2.resize(levels, (item.width, item.height), interpolation=cv2.INTER_LINEAR)
        return [Matte(item, levels, alpha)]


def _chroma(frame: Frame) -> tuple[U8, U8]:
    if frame.layout.is_yuv:
        return frame.planes[1], frame.planes[2]
    if frame.layout is Layout.GRAY:
        raise ConfigError("a chroma key needs colour, got a gray image; use a network instead")
    _, v, u = cv2.split(cv2.cvtColor(frame.planes[0], cv2.COLOR_RGB2YCrCb))
    return u, v


def _key_chroma(color: tuple[int, int, int], frame: Frame) -> tuple[float, float]:
    kr, kb = frame.color.luma(frame.height) if frame.layout.is_yuv else (0.299, 0.114)
    scale = 1.0 if frame.color.full_range or not frame.layout.is_yuv else 224 / 255
    r, g, b = color
    luma = kr * r + (1 - kr - kb) * g + kb * b
    return 128 + scale * (b - luma) / (2 * (1 - kb)), 128 + scale * (r - luma) / (2 * (1 - kr))
