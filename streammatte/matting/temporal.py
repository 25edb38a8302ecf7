"""Steadies the matte over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

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

_LEAST_ALIGNED = 32
"""Shorter side of a matte, cells, from which a dense flow can be found."""


@dataclass(frozen=True, slots=True)
class _Strength:
    """How strongly to smooth.

    ``time_constant`` is in seconds; over ``motion`` (luma change in levels) and ``change`` (of the matte, 0 to 1)
    smoothing fades from full to none; ``align`` first carries the held matte along a dense flow.
    """

    time_constant: float
    motion: tuple[float, float]
    change: tuple[float, float]
    align: bool


# Measured on four films with a known matte, refined, against no smoothing (MAD, Grad, dtSSD): low +0.1 %, -3 %, -15 %;
# high +0.4 %, -3 %, -21 %. Longer time constants and wider ranges of motion lower dtSSD further and raise MAD by more
# than 1 %: the matte lags behind whoever moves.
_STRENGTHS = {
    "low": _Strength(0.03, (4.0, 14.0), (0.5, 1.5), align=False),
    "high": _Strength(0.06, (3.0, 10.0), (0.5, 1.5), align=True),
}


class Smoother:
    """Per-pixel exponential smoothing that fades where the picture or the matte moves. Causal.

    Parameters
    ----------
    mode : {"off", "low", "high"}
        ``off`` gives back the very matte; ``high`` also follows motion (dense inverse search flow, Kroeger 2016).
    """

    def __init__(self, mode: Literal["off", "low", "high"] | str = "low") -> None:
        if mode != "off" and mode not in _STRENGTHS:
            raise ConfigError(f"smooth must be 'off', 'low' or 'high', got {mode!r}")
        self.mode = mode
        self._held: F32 | None = None
        self._luma: U8 | None = None
        self._time = 0.0
        self._flow = _dense_flow() if mode != "off" and _STRENGTHS[mode].align else None

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
        if self._flow is not None and min(h, w) >= _LEAST_ALIGNED:
            held, before = _carry(self._flow, held, before, luma)
            difference = cv2.absdiff(luma, before)
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


def _dense_flow() -> Any:
    """Dense inverse search at its fastest: a millisecond for 256 x 144."""
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)


def _carry(flow: Any, held: F32, before: U8, luma: U8) -> tuple[F32, U8]:
    """The held matte and its luma, moved to where things are now.

    Cubic, because the held matte is moved again with every frame: bilinear interpolation would wash it out.
    """
    where = flow.calc(luma, before, None)
    h, w = luma.shape
    where[..., 0] += np.arange(w, dtype=np.float32)
    where[..., 1] += np.arange(h, dtype=np.float32)[:, None]
    moved, moved_luma = (
        cv2.remap(layer, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for layer in (held, before)
    )
    return np.clip(moved, 0, 1, out=moved), moved_luma
