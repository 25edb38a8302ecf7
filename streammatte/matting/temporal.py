"""Steadies the matte over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.kernels.temporal import blend_towards

__all__ = ["Smoother"]

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_CUT = 40.0
"""Mean luma difference, levels, from which two pictures are different scenes."""


@dataclass(frozen=True, slots=True)
class _Strength:
    """Time constant in seconds; ranges of luma change (levels) and matte change (0 to 1) over which smoothing fades."""

    time_constant: float
    motion: tuple[float, float]
    change: tuple[float, float]


_STRENGTHS = {
    "low": _Strength(0.05, (6.0, 24.0), (0.05, 0.25)),
    "high": _Strength(0.12, (8.0, 32.0), (0.08, 0.35)),
}


class Smoother:
    """Per-pixel exponential smoothing that fades where the picture or the matte moves. Causal.

    Parameters
    ----------
    mode : {"off", "low", "high"}
        ``off`` gives back the very matte.
    """

    def __init__(self, mode: Literal["off", "low", "high"] | str = "low") -> None:
        if mode != "off" and mode not in _STRENGTHS:
            raise ConfigError(f"smooth must be 'off', 'low' or 'high', got {mode!r}")
        self.mode = mode
        self._held: F32 | None = None
        self._luma: U8 | None = None
        self._time = 0.0

    def reset(self) -> None:
        """Forget the film: the next matte is taken as it is."""
        self._held = None
        self._luma = None

    def smooth(self, alpha: F32, luma_small: U8, time: float) -> F32:
        """The steadied matte.

        Parameters
        ----------
        alpha : ndarray (h, w) float32 in [0, 1]
            The network's.
        luma_small : ndarray (h', w') uint8
            The frame's luma at the network's size.
        time : float
            Presentation time in seconds; smoothing depends on differences of it, not on the number of frames.

        Returns
        -------
        ndarray (h, w) float32 in [0, 1]
        """
        if self.mode == "off":
            return alpha
        strength = _STRENGTHS[self.mode]
        h, w = alpha.shape
        luma = luma_small
        if luma.shape != (h, w):
            luma = cv2.resize(luma, (w, h), interpolation=cv2.INTER_AREA)
        held, before, step = self._held, self._luma, time - self._time
        self._luma, self._time = luma, time
        if held is None or before is None or held.shape != alpha.shape or step <= 0:
            self._held = alpha.copy()
            return self._held
        difference = cv2.absdiff(luma, before)
        if cv2.mean(difference)[0] > _CUT:
            self._held = alpha.copy()
            return self._held
        motion = cv2.blur(difference, (3, 3)).astype(np.float32)
        change = np.abs(cv2.blur(cv2.subtract(alpha, held), (3, 3)))
        self._held = blend_towards(
            np.ascontiguousarray(alpha),
            held,
            motion,
            change,
            keep=math.exp(-step / strength.time_constant),
            motion_range=strength.motion,
            change_range=strength.change,
        )
        return self._held
