"""Framing: the composite cropped to the person, smoothly. It comes after matting, so that the room stays hidden."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import Frame, Matte

__all__ = ["Framer", "person_box"]

PERSON = 0.5
"""Alpha from which a cell is the person."""
MIN_ROWS = 0.02
"""Share of a row or column that must be the person for it to be inside the box: specks do not count."""
HEADROOM = 0.12
"""Share of the view above the head."""
AROUND = 1.25
"""The view's height and width over the person's."""
CLOSEST = 0.45
"""Share of the image that the view has at least: closer would be blurred."""
DEAD_ZONE = 0.08
"""Share of the view by which the wanted view must differ before the view moves at all."""
SETTLED = 0.01
"""Share of the view at which it has arrived."""
FOLLOW = 2.5
"""Natural frequency, 1/s, of the critically damped motion towards the wanted view: it arrives in about two seconds."""
FASTEST = 0.35
"""Shares of the image a second that the view moves at most."""
_LONGEST_STEP = 0.1
"""Seconds that one step of the motion may cover; a pause is no reason to jump."""

Box = tuple[float, float, float, float]
F64 = npt.NDArray[np.float64]


def person_box(alpha: npt.NDArray[np.float32]) -> Box | None:
    """Left, top, right and bottom of the person, 0 to 1 of the image; None where there is no person.

    Parameters
    ----------
    alpha : ndarray (h, w) float32 in [0, 1]
    """
    person = alpha > PERSON
    ends = []
    for axis in (0, 1):
        hit = np.flatnonzero(person.mean(axis=axis) > MIN_ROWS)
        if not len(hit):
            return None
        ends.append((hit[0] / person.shape[1 - axis], (hit[-1] + 1) / person.shape[1 - axis]))
    (left, right), (top, bottom) = ends
    return float(left), float(top), float(right), float(bottom)


class Framer:
    """Moves a view of the image's own shape with the person: a dead zone, a speed limit, no jitter."""

    def __init__(self) -> None:
        self.reset()

    @property
    def view(self) -> tuple[float, float, float]:
        """Centre x, centre y and size of the view, as shares of the image."""
        x, y, size = self._view
        return float(x), float(y), float(size)

    def reset(self) -> None:
        """Show the whole image again."""
        self._view: F64 = np.array([0.5, 0.5, 1.0])  # centre x, centre y, share of the image's sides
        self._speed: F64 = np.zeros(3)
        self._goal: F64 = self._view
        self._moving = False
        self._time: float | None = None

    def apply(self, matte: Matte, image: Frame) -> Frame:
        """The part of the composite ``image`` that the view shows, at the image's size.

        Parameters
        ----------
        matte : Matte
            Whose box is followed.
        image : Frame
            Of the same moment.
        """
        self._move(matte.frame.time, _wanted(person_box(matte.small_alpha)))
        x, y, size = self._view
        if size > 0.999:
            return image
        return replace(image, planes=tuple(_cropped(plane, x, y, size) for plane in image.planes), owner=None)

    def _move(self, time: float, wanted: F64) -> None:
        step = 0.0 if self._time is None else min(_LONGEST_STEP, max(0.0, time - self._time))
        self._time = time
        away = float(np.abs(wanted - (self._goal if self._moving else self._view)).max())
        if away > DEAD_ZONE * self._view[2]:
            self._goal, self._moving = wanted, True
        if not self._moving:
            return
        # A critically damped spring: its exact solution over the step, so that it is stable at any frame rate.
        offset = self._view - self._goal
        decay = math.exp(-FOLLOW * step)
        drive = self._speed + FOLLOW * offset
        self._speed = np.clip((self._speed - FOLLOW * step * drive) * decay, -FASTEST, FASTEST)
        moved = self._goal + (offset + step * drive) * decay
        self._view = self._view + np.clip(moved - self._view, -FASTEST * step, FASTEST * step)
        self._view[2] = min(1.0, self._view[2])
        half = self._view[2] / 2
        self._view[:2] = np.clip(self._view[:2], half, 1 - half)
        if float(np.abs(self._view - self._goal).max()) < SETTLED * self._goal[2]:
            self._moving, self._speed = False, np.zeros(3)


def _wanted(box: Box | None) -> F64:
    """The view that shows a person well: all of the image where there is no person."""
    if box is None:
        return np.array([0.5, 0.5, 1.0])
    left, top, right, bottom = box
    size = min(1.0, max(CLOSEST, AROUND * (bottom - top), AROUND * (right - left)))
    half = size / 2
    centre = top - HEADROOM * size + half
    return np.array([min(1 - half, max(half, (left + right) / 2)), min(1 - half, max(half, centre)), size])


def _cropped(plane: npt.NDArray[np.uint8], x: float, y: float, size: float) -> npt.NDArray[np.uint8]:
    """A view of a plane at the plane's size, moved by fractions of a pixel."""
    height, width = plane.shape[:2]
    left, top = (x - size / 2) * width, (y - size / 2) * height
    # Pixel centres: output i shows (i + 0.5) * size + left - 0.5.
    shift = (size - 1) / 2
    matrix = np.array([[size, 0, left + shift], [0, size, top + shift]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
