"""Correspondences between two images of a video: where each cell was in the other, and how well it matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from streammatte.frames import F32, U8
from streammatte.kernels.temporal import mismatch, nearer

__all__ = ["Correspondence", "FrameSample", "MotionEstimator", "is_cut", "warp"]


_CUT = 40.0
"""Mean luma difference, levels, from which two images are different scenes."""

_WINDOW = (3, 3)
"""Cells around a pixel that must match. Wider windows lower dtSSD no further and raise MAD."""

_FLOW_SIDE = 512
"""Long side, pixels, at which motion is found; at the matte's own 256 the edges are worse than without motion."""

_MIN_SIDE = 64
"""Shorter side, pixels, from which dense inverse search works."""


@dataclass(frozen=True, slots=True)
class FrameSample:
    """An image: ``cells`` (h, w, 3) uint8 in Y, U, V at the matte's size; ``fine`` its luma where motion is found."""

    cells: U8
    fine: U8


@dataclass(frozen=True, slots=True)
class Correspondence:
    """For every cell of an image its place in another one.

    ``where`` (h, w, 2) float32 holds x and y in cells, None for the very same place; ``cost`` (h, w) uint8 how much the
    colours around differ there, levels.
    """

    where: F32 | None
    cost: U8


class MotionEstimator:
    """Matches images: each cell along a dense flow or at its own position, whichever matches better.

    At the border between a person and a background that moves differently a dense flow mixes both motions; choosing the
    better match for each cell corrects that.

    Parameters
    ----------
    align : bool
        False never looks for motion.
    """

    def __init__(self, *, align: bool) -> None:
        # Dense inverse search, Kroeger et al. 2016, at its fastest: 1.6 ms of one core for 512 x 288.
        self._flow: Any = (
            cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST) if align else None
        )  # fmt: skip
        self._still: F32 | None = None

    def sample(self, planes: tuple[U8, ...], size: tuple[int, int], *, rgb: bool = False) -> FrameSample:
        """Planes (h', w') uint8, one or three, made ready for a matte of ``size`` (height, width).

        Parameters
        ----------
        planes : tuple of (h', w') uint8
            One or three.
        size : (int, int)
            Height and width of the matte.
        rgb : bool
            The one plane is interleaved RGB.
        """
        cells = [p if p.shape == size else cv2.resize(p, size[::-1], interpolation=cv2.INTER_AREA) for p in planes]
        image: U8 = cv2.merge(cells if len(cells) == 3 else [cells[0], *[np.full(size, 128, np.uint8)] * 2])
        if rgb:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2YUV)
        fine = planes[0]
        if rgb and self._flow is not None:
            fine = cv2.cvtColor(cv2.merge(planes), cv2.COLOR_RGB2GRAY)
        if self._flow is not None and max(fine.shape) > _FLOW_SIDE:
            scale = _FLOW_SIDE / max(fine.shape)
            fine = cv2.resize(fine, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return FrameSample(image, fine)

    def match(self, here: FrameSample, there: FrameSample) -> Correspondence:
        """Find the cells of ``here`` in ``there``."""
        still_cost = _cost(here.cells, there.cells)
        if self._flow is None or min(here.fine.shape) < _MIN_SIDE:
            return Correspondence(None, still_cost)
        still = self._places(here.cells.shape[:2])
        flow: F32 = self._flow.calc(here.fine, there.fine, None)
        h, w = still_cost.shape
        shrink = (w / flow.shape[1], h / flow.shape[0])
        where: F32 = cv2.multiply(cv2.resize(flow, (w, h), interpolation=cv2.INTER_LINEAR), (*shrink, 0.0, 0.0))
        where = cv2.add(where, still, dst=where)
        cost = _cost(here.cells, cv2.remap(there.cells, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        nearer(where, still, cost, still_cost)
        return Correspondence(where, cost)

    def _places(self, size: tuple[int, ...]) -> F32:
        if self._still is None or self._still.shape[:2] != size:
            rows, columns = np.indices(size, np.float32)
            self._still = np.ascontiguousarray(np.stack((columns, rows), axis=-1))
        return self._still


def warp(matte: F32, match: Correspondence) -> F32:
    """A matte of the other image, warped to this one.

    Cubic, because a held matte is warped again with every frame: bilinear interpolation would blur it away.
    """
    if match.where is None:
        return matte
    moved = cv2.remap(matte, match.where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    kept: F32 = np.clip(moved, 0, 1, out=moved)
    return kept


def _cost(here: U8, there: U8) -> U8:
    cost: U8 = cv2.blur(mismatch(here, there), _WINDOW)
    return cost


def is_cut(before: U8, now: U8) -> bool:
    """Whether two images, luma or with luma first, are of different scenes; those of different sizes are."""
    return before.shape != now.shape or float(cv2.mean(cv2.absdiff(now, before))[0]) > _CUT
