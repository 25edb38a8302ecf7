"""Adjustments of a matte: small components, holes, largest person, garbage matte; levels, gamma, edge and feather.

Components and holes are found in the network's small matte, before refinement; the shape is changed in the refined one,
in the image's own pixels, because a guided filter would move the edge back to that of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import cv2
import numpy as np

from streammatte.errors import ConfigError
from streammatte.frames import F32, U8
from streammatte.matting.components import ComponentFilter

__all__ = ["ControlSettings", "MatteControls"]

Array = TypeVar("Array", F32, U8)


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """One set of controls; the defaults change nothing but components and holes.

    ``edge`` and ``feather`` (sigma) are in pixels of the image, points in 0..1, ``min_area`` and ``fill_holes`` in
    percent of the image, ``keep_box`` x, y, width, height and ``choose`` x, y in pixels of the image.
    """

    edge: float = 0.0
    feather: float = 0.0
    gamma: float = 1.0
    black_point: float = 0.0
    white_point: float = 1.0
    min_area: float = 0.03
    fill_holes: float = 0.2
    largest_person: bool = False
    keep_box: tuple[int, int, int, int] | None = None
    choose: tuple[int, int] | None = None

    @classmethod
    def of(cls, options: Any) -> ControlSettings:
        """The settings among options that have fields of these names."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    def check(self, width: int, height: int) -> None:
        """Raise ConfigError where the box or the chosen point lies outside an image of this size."""
        if self.choose is not None and (self.choose[0] >= width or self.choose[1] >= height):
            x, y = self.choose
            raise ConfigError(f"--choose {x},{y} lies outside the {width}x{height} image; give x,y inside it")
        if self.keep_box is not None and (self.keep_box[0] >= width or self.keep_box[1] >= height):
            x, y = self.keep_box[:2]
            raise ConfigError(
                f"--keep-box begins at {x},{y}, outside the {width}x{height} image; give x,y,w,h inside it"
            )

    @property
    def levels(self) -> bool:
        """True where black point, white point or gamma change something."""
        return (self.black_point, self.white_point, self.gamma) != (0.0, 1.0, 1.0)


class MatteControls:
    """Applies settings; ``settings`` may be replaced between frames.

    Parameters
    ----------
    settings : ControlSettings
    """

    def __init__(self, settings: ControlSettings | None = None) -> None:
        self.settings = settings or ControlSettings()
        self._components = ComponentFilter()
        self._table: tuple[ControlSettings, U8] | None = None

    def reset(self) -> None:
        """Forget the components of the frames before."""
        self._components.reset()

    def clean(self, alpha: F32, size: tuple[int, int], time: float) -> F32:
        """The small matte without what lies outside the box, without small components, with holes filled.

        Parameters
        ----------
        alpha : ndarray (h, w) float32 in [0, 1]
            Not written to; the very array comes back where nothing changes.
        size : (int, int)
            Height and width of the image.
        time : float
            Presentation time in seconds.
        """
        settings = self.settings
        if settings.keep_box is not None:
            settings.check(size[1], size[0])
            alpha = _boxed(alpha, settings.keep_box, size)
        point = None
        if settings.choose is not None:
            point = (settings.choose[0] * alpha.shape[1] / size[1], settings.choose[1] * alpha.shape[0] / size[0])
        return self._components.apply(
            alpha,
            time,
            settings.min_area / 100,
            largest=settings.largest_person,
            holes=settings.fill_holes / 100,
            point=point,
        )

    def shape(self, alpha: U8) -> U8:
        """The refined matte (H, W) uint8 with levels, edge, feather and box; the very array where all are neutral."""
        settings = self.settings
        if settings.levels:
            alpha = cv2.LUT(alpha, self._lookup())
        if settings.edge:
            alpha = _moved(alpha, settings.edge)
        if settings.feather > 0:
            alpha = cv2.GaussianBlur(alpha, (0, 0), settings.feather, borderType=cv2.BORDER_REPLICATE)
        if settings.keep_box is not None:
            alpha = _boxed(alpha, settings.keep_box, alpha.shape)
        return alpha

    def _lookup(self) -> U8:
        """((a - black) / (white - black)) ^ (1 / gamma) for every level a."""
        if self._table is None or self._table[0] != self.settings:
            settings = self.settings
            levels = np.arange(256) / 255
            spread = np.clip((levels - settings.black_point) / (settings.white_point - settings.black_point), 0, 1)
            self._table = (settings, np.rint(spread ** (1 / settings.gamma) * 255).astype(np.uint8))
        return self._table[1]


def _moved(alpha: U8, edge: float) -> U8:
    """Edges moved outwards by ``edge`` pixels (inwards where negative).

    The maximum (minimum) within one pixel moves an edge by one; for fractions, the weighted mean of both moves a
    straight ramp by exactly that fraction. Steps along the axes and along the diagonals alternate, which makes
    octagons.
    """
    morph = cv2.dilate if edge > 0 else cv2.erode
    whole = int(abs(edge))
    fraction = abs(edge) - whole
    for step in range(whole):
        alpha = morph(alpha, _CROSS if step % 2 else _SQUARE)
    if fraction:
        alpha = cv2.addWeighted(alpha, 1 - fraction, morph(alpha, _CROSS if whole % 2 else _SQUARE), fraction, 0)
    return alpha


_SQUARE = np.ones((3, 3), np.uint8)
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def _boxed(alpha: Array, box: tuple[int, int, int, int], size: tuple[int, ...]) -> Array:
    """The matte, zero in every cell that lies outside the box wholly."""
    x, y, width, height = box
    down, across = alpha.shape[0] / size[0], alpha.shape[1] / size[1]
    top, left = int(y * down), int(x * across)
    bottom, right = int(np.ceil((y + height) * down)), int(np.ceil((x + width) * across))
    kept = np.zeros_like(alpha)
    kept[top:bottom, left:right] = alpha[top:bottom, left:right]
    return kept
