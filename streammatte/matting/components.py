"""Islands: what the network sees besides people.

Cells above a low threshold that touch, or nearly touch, are one island. Hair and fingers are never cut off what they
belong to, because an island is kept or dropped as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import F32, U8

__all__ = ["IslandFilter"]

_SUPPORT = 0.05
"""Alpha from which a cell belongs to an island."""

_REACH = np.ones((5, 5), np.uint8)
"""Islands that come this close (two cells from each) are one: a hand belongs to its arm across a motion blur."""

_DEEP = 2.5
"""Cells from an island's rim at which its soft edge has ended and its inside begins."""

_INSIDE = 5e-4
"""Share of the picture that an inside must have to be judged: a person who is far away has hardly any inside."""

_FIRM = 0.68
"""Mean alpha of an inside below which the network doubts. Furniture in empty rooms: 0.65 and less at the default size;
people it sees, though but partly: 0.70 and more, whole ones 0.9 and more."""

_DOUBTED = 100.0
"""An island that the network doubts must be so many times as large as one it is sure of."""

_HELD = 0.5
"""Share of every limit that suffices for an island that was there in the frame before: none blinks at its limit."""

_DOUBT_HELD = 0.85
"""The same for ``_FIRM``."""

_PREFERRED = 1.25
"""Weight of the person who was the largest before: two of one size do not take turns."""

_AT_BORDER = 0.25
"""Share of ``least`` that suffices at the picture's border: a hand that enters is larger than what is seen of it."""

_FORGET = 1.0
"""Seconds after which what was there before does not count."""

I32 = npt.NDArray[np.int32]


class IslandFilter:
    """Drops islands that are small, or not large and doubtful; keeps the largest person alone where asked."""

    def __init__(self) -> None:
        self._kept: U8 | None = None
        self._time = 0.0

    def reset(self) -> None:
        """Forget the video."""
        self._kept = None

    def apply(self, alpha: F32, time: float, least: float, *, largest: bool = False) -> F32:
        """The matte without islands.

        Parameters
        ----------
        alpha : ndarray (h, w) float32 in [0, 1]
        time : float
            Seconds.
        least : float
            Smallest sum of alpha over the number of cells.
        largest : bool
            Keep the largest island only.

        Returns
        -------
        ndarray (h, w) float32
            The very array where nothing is dropped.
        """
        before = self._before(alpha.shape, time)
        support = cv2.compare(alpha, _SUPPORT, cv2.CMP_GT)
        joined = cv2.dilate(support, _REACH)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        self._time = time
        islands = [_Island(alpha, support, labels, number, boxes[number], before) for number in range(1, count)]
        keep = [island for island in islands if least <= 0 or island.is_real(least)]
        if largest and keep:
            keep = [max(keep, key=lambda island: island.area * (_PREFERRED if island.was_there else 1.0))]
        self._kept = joined
        if len(keep) == len(islands):
            return alpha
        chosen = np.zeros(count, np.uint8)
        chosen[[island.number for island in keep]] = 255
        self._kept = chosen[labels]
        cleaned = alpha.copy()
        cleaned[joined > self._kept] = 0
        return cleaned

    def _before(self, shape: tuple[int, ...], time: float) -> U8 | None:
        fresh = self._kept is not None and self._kept.shape == shape and 0 < time - self._time < _FORGET
        return self._kept if fresh else None


class _Island:
    """One island; all measures are shares of the picture."""

    def __init__(self, alpha: F32, support: U8, labels: I32, number: int, box: I32, before: U8 | None) -> None:
        x, y, width, height = (int(value) for value in box[:4])
        window = slice(y, y + height), slice(x, x + width)
        self.number = number
        self._cells = alpha.size
        self._own = cv2.bitwise_and(support[window], cv2.compare(labels[window], number, cv2.CMP_EQ))
        self._alpha = alpha[window]
        # Inside a picture's border lies more of the island than the picture shows.
        self._open = (y == 0, y + height == alpha.shape[0], x == 0, x + width == alpha.shape[1])
        self.area = float(cv2.mean(self._alpha, self._own)[0] * cv2.countNonZero(self._own) / self._cells)
        self.was_there = before is not None and bool(cv2.countNonZero(cv2.bitwise_and(self._own, before[window])))

    def is_real(self, least: float) -> bool:
        """True for one that is large enough for how sure the network is of it."""
        held = _HELD if self.was_there else 1.0
        if self.area < least * held * (_AT_BORDER if any(self._open) else 1.0):
            return False
        if self.area >= least * _DOUBTED * held:
            return True
        bar = _FIRM * (_DOUBT_HELD if self.was_there else 1.0)
        return not self._doubted(bar)

    def _doubted(self, bar: float) -> bool:
        top, bottom, left, right = (0 if open_ else 1 for open_ in self._open)
        padded = cv2.copyMakeBorder(self._own, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
        height, width = self._own.shape
        inside = cv2.compare(depth[top : top + height, left : left + width], _DEEP, cv2.CMP_GT)
        cells = cv2.countNonZero(inside)
        return cells >= _INSIDE * self._cells and cv2.mean(self._alpha, inside)[0] < bar
