"""Connected components of the network's matte: small or doubtful ones are dropped, doubtful holes are filled.

Cells above a low threshold that touch, or nearly touch, are one component. Hair and fingers are never cut off, because
a component is kept or dropped as a whole. A hole is a component of cells that are not opaque, enclosed by opaque ones.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import F32, U8

__all__ = ["ComponentFilter"]

_SUPPORT = 0.05
"""Alpha from which a cell belongs to a component."""

_REACH = np.ones((5, 5), np.uint8)
"""Components that come this close (two cells from each) are one: a hand belongs to its arm across a motion blur."""

_DEEP = 2.5
"""Cells from a component's rim at which its soft edge has ended and its inside begins."""

_INSIDE = 5e-4
"""Share of the image that an inside must have to be judged: a person who is far away has hardly any inside."""

_FIRM = 0.68
"""Mean alpha of an inside below which a component is doubtful. Furniture in empty rooms: 0.65 and less at the default
size; people seen in part: 0.70 and more, whole ones 0.9 and more."""

_DOUBTED = 100.0
"""A doubtful component must be so many times as large as one of high alpha."""

_HELD = 0.5
"""Share of every limit that suffices for a component that was there in the frame before, so that none flickers."""

_DOUBT_HELD = 0.85
"""The same for ``_FIRM``."""

_PREFERRED = 1.25
"""Weight of the person who was the largest before: of two of similar size the choice does not alternate."""

_AT_BORDER = 0.25
"""Share of ``least`` that suffices at the image's border: a hand that enters is larger than what is seen of it."""

_OPAQUE = 0.95
"""Alpha below which a cell belongs to a hole."""

_GAP = 0.5
"""Alpha that a gap falls below somewhere, between an arm and the body for instance; a hole that does not is doubtful.
On composites with exact alpha, filling these lowers MAD by 0.1 % on stills and videos and leaves the band's error."""

_GAP_HELD = 0.7
"""Share of ``_GAP`` that suffices where the frame before was filled."""

_FORGET = 1.0
"""Seconds after which what was there before does not count."""

I32 = npt.NDArray[np.int32]


class ComponentFilter:
    """Drops small components and doubtful ones that are not large; fills doubtful holes; can keep one person only."""

    def __init__(self) -> None:
        self._kept: U8 | None = None
        self._filled: npt.NDArray[np.bool_] | None = None
        self._time = 0.0
        self._point: tuple[float, float] | None = None
        self._followed: U8 | None = None

    def reset(self) -> None:
        """Forget the video."""
        self._kept = self._filled = self._followed = self._point = None

    def apply(
        self,
        alpha: F32,
        time: float,
        least: float,
        *,
        largest: bool = False,
        holes: float = 0.0,
        point: tuple[float, float] | None = None,
    ) -> F32:
        """The matte without the components that are dropped, and with holes filled.

        Parameters
        ----------
        alpha : ndarray (h, w) float32 in [0, 1]
        time : float
            Seconds.
        least : float
            Smallest sum of alpha over the number of cells; 0 keeps all.
        largest : bool
            Keep the largest component only.
        holes : float
            Largest share of the image that a doubtful hole may have to be filled.
        point : (float, float), optional
            x and y in cells: keep the component there, or the nearest one, and follow it from then on.

        Returns
        -------
        ndarray (h, w) float32
            The very array where nothing changes.
        """
        recent = 0 < time - self._time < _FORGET
        kept, filled = self._kept, self._filled
        if not recent or kept is None or kept.shape != alpha.shape:
            kept = None
        if not recent or filled is None or filled.shape != alpha.shape:
            filled = None
        self._time = time
        if point != self._point:
            self._point, self._followed = point, None
        cleaned = self._drop(alpha, least, largest, kept) if least > 0 or largest or point else alpha
        return self._fill(cleaned, holes, filled) if holes > 0 else cleaned

    def _drop(self, alpha: F32, least: float, largest: bool, before: U8 | None) -> F32:
        support = cv2.compare(alpha, _SUPPORT, cv2.CMP_GT)
        joined = cv2.dilate(support, _REACH)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        found = [_Component(alpha, support, labels, number, boxes[number], before) for number in range(1, count)]
        keep = [component for component in found if least <= 0 or component.is_real(least)]
        if largest and keep:
            keep = [max(keep, key=lambda component: component.area * (_PREFERRED if component.was_there else 1.0))]
        if self._point is not None and keep:
            keep = [self._follow(keep, alpha.shape)]
        self._kept = joined
        if len(keep) == len(found):
            return alpha
        chosen = np.zeros(count, np.uint8)
        chosen[[component.number for component in keep]] = 255
        self._kept = chosen[labels]
        cleaned = alpha.copy()
        cleaned[joined > self._kept] = 0
        return cleaned

    def _follow(self, components: list[_Component], shape: tuple[int, ...]) -> _Component:
        """The component that covers most of the one followed before, else the one nearest to where that was."""
        before = self._followed
        if before is not None and before.shape == shape:
            best = max(components, key=lambda component: component.overlap(before))
            if best.overlap(before):
                self._followed = best.mask(shape)
                return best
            moments = cv2.moments(before, binaryImage=True)
            centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
        else:
            centre = self._point or (0.0, 0.0)
        best = min(components, key=lambda component: component.distance(centre))
        self._followed = best.mask(shape)
        return best

    def _fill(self, alpha: F32, most: float, before: npt.NDArray[np.bool_] | None) -> F32:
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(
            cv2.compare(alpha, _OPAQUE, cv2.CMP_LT), connectivity=4
        )
        height, width = alpha.shape
        filled = np.zeros(alpha.shape, np.bool_)
        for number in range(1, count):
            x, y, across, down, cells = (int(value) for value in boxes[number])
            enclosed = x > 0 and y > 0 and x + across < width and y + down < height
            if not enclosed or cells > most * alpha.size:
                continue
            window = slice(y, y + down), slice(x, x + across)
            own = labels[window] == number
            was_filled = before is not None and bool(before[window][own].any())
            if alpha[window][own].min() >= _GAP * (_GAP_HELD if was_filled else 1.0):
                filled[window] |= own
        self._filled = filled
        return np.where(filled, np.float32(1), alpha) if filled.any() else alpha


class _Component:
    """One component; all measures are shares of the image."""

    def __init__(self, alpha: F32, support: U8, labels: I32, number: int, box: I32, before: U8 | None) -> None:
        x, y, width, height = (int(value) for value in box[:4])
        window = slice(y, y + height), slice(x, x + width)
        self.number = number
        self._window = window
        self._cells = alpha.size
        self._own = support[window] * (labels[window] == number)
        self._alpha = alpha[window]
        # At the image's border a component may be larger than the image shows.
        self._open = (y == 0, y + height == alpha.shape[0], x == 0, x + width == alpha.shape[1])
        self.area = float(cv2.mean(self._alpha, self._own)[0] * cv2.countNonZero(self._own) / self._cells)
        self.was_there = before is not None and bool(cv2.countNonZero(cv2.bitwise_and(self._own, before[window])))

    def overlap(self, mask: U8) -> int:
        """Cells of the component that a mask covers."""
        return cv2.countNonZero(cv2.bitwise_and(self._own, mask[self._window]))

    def distance(self, point: tuple[float, float]) -> float:
        """Cells from a point to the component's nearest cell; 0 inside."""
        rows, columns = np.nonzero(self._own)
        down, across = rows + self._window[0].start - point[1], columns + self._window[1].start - point[0]
        return float(np.sqrt(np.square(down) + np.square(across)).min())

    def mask(self, shape: tuple[int, ...]) -> U8:
        """The component's cells in an image of a shape, 255 each."""
        whole = np.zeros(shape, np.uint8)
        whole[self._window] = self._own
        return whole

    def is_real(self, least: float) -> bool:
        """True for one that is large enough, given its alpha."""
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
