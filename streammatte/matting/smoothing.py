"""Steadies the matte over time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streammatte.errors import ConfigError
from streammatte.frames import F32, U8
from streammatte.kernels.temporal import blend_held, blend_three
from streammatte.matting.motion import Correspondence, FrameSample, MotionEstimator, is_cut, warp

__all__ = ["Smoother"]


_MAX_KEPT = 0.95
"""Upper end of a share, however short the time between two frames: the weight s / (1 - s) stays finite."""

_COSTS = np.arange(256)
"""Every mismatch that a pixel can have, levels."""

_NOTHING = np.zeros(256, np.float32)
"""The shares of a matte that has no past."""


@dataclass(frozen=True, slots=True)
class _Strength:
    """How strongly to smooth.

    ``time_constant`` is in seconds; ``tolerance`` is the colour difference in levels at which the held matte counts 1/e
    of that; ``align`` carries the held matte along the motion; ``ahead`` is how many frames are looked ahead.
    """

    time_constant: float
    tolerance: float
    align: bool
    ahead: int


# Chosen on four videos with a known matte, see docs/quality.md. Longer time constants and more tolerance lower dtSSD
# further and raise MAD: the matte lags behind motion.
_STRENGTHS = {
    "low": _Strength(0.065, 24.0, align=False, ahead=0),
    "high": _Strength(0.15, 22.0, align=True, ahead=0),
    "best": _Strength(0.095, 32.0, align=True, ahead=5),
}


@dataclass(slots=True)
class _Waiting:
    """A matte, the smoothed past warped to it, and the correspondence with the next image."""

    alpha: F32
    steadied: F32
    past: F32
    cost: U8
    share: F32
    onward: Correspondence | None = None
    onward_share: F32 | None = None


class Smoother:
    """Recursive smoothing, per pixel, as far as the images match: exponential in time, along the motion.

    Every pixel is averaged with the held value of the image before, which has the weight exp(-dt / time constant),
    times exp(-(cost / tolerance)^2): the worse the images match there, the less. Where something moved, the network's
    matte is used unchanged.

    Parameters
    ----------
    mode : {"off", "low", "high", "best"}
        ``off`` returns the matte itself. ``low`` compares the images place by place, ``high`` follows the motion
        too; both give each matte at once. ``best`` also runs the recursion back from a few frames ahead: mattes come
        later.
    """

    def __init__(self, mode: Literal["off", "low", "high", "best"] | str = "low") -> None:
        self._waiting: deque[_Waiting] = deque()
        self.mode = mode

    @property
    def mode(self) -> str:
        """The strength; setting it forgets the video."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode != "off" and mode not in _STRENGTHS:
            raise ConfigError(f"smooth must be 'off', 'low', 'high' or 'best', got {mode!r}")
        self._mode = mode
        self._strength = _STRENGTHS.get(mode, _STRENGTHS["low"])
        self._motion = MotionEstimator(align=self._strength.align)
        self.reset()

    def reset(self) -> None:
        """Forget the video, mattes that wait included: the next matte is taken as it is."""
        self._waiting.clear()
        self._held: F32 | None = None
        self._sample: FrameSample | None = None
        self._time = 0.0

    def push(self, alpha: F32, small_planes: tuple[U8, ...], time: float, *, rgb: bool = False) -> list[F32]:
        """Take a matte; give those that are steadied, in order: this one at once, but for ``best``.

        Parameters
        ----------
        alpha : ndarray (h, w) float32 in [0, 1]
            The network's.
        small_planes : tuple of ndarray (h', w') uint8
            The frame's planes at the network's size: Y, U, V, or luma alone, or with ``rgb`` R, G, B.
        time : float
            Presentation time in seconds; smoothing depends on differences of it, not on the number of frames.

        Returns
        -------
        list of ndarray (h, w) float32 in [0, 1]
        """
        if self._mode == "off":
            return [alpha]
        sample = self._motion.sample(small_planes, (alpha.shape[0], alpha.shape[1]), rgb=rgb)
        before, step = self._sample, time - self._time
        self._sample, self._time = sample, time
        alpha = np.array(alpha, np.float32, order="C")
        held = self._held
        done: list[F32] = []
        if before is None or held is None or step <= 0 or is_cut(before.cells, sample.cells):
            done = self.drain()
            self._held = alpha
            self._waiting.append(_Waiting(alpha, alpha, alpha, np.zeros(alpha.shape, np.uint8), _NOTHING))
        else:
            self._follow(alpha, held, before, sample, self._shares(step))
        while len(self._waiting) > self._strength.ahead:
            done.append(self._release())
        return done

    def drain(self) -> list[F32]:
        """The mattes that still wait for what comes after them."""
        return [self._release() for _ in range(len(self._waiting))]

    def _follow(self, alpha: F32, held: F32, before: FrameSample, sample: FrameSample, share: F32) -> None:
        match = self._motion.match(sample, before)
        past = warp(held, match)
        if self._waiting:
            last = self._waiting[-1]
            last.onward, last.onward_share = self._motion.match(before, sample), share
        self._held = blend_held(alpha, past, match.cost, share)
        self._waiting.append(_Waiting(alpha, self._held, past, match.cost, share))

    def _release(self) -> F32:
        """The oldest matte that waits, with the recursion run back to it from the newest."""
        future: F32 | None = None
        for waiting in reversed(self._waiting):
            onward, share = waiting.onward, waiting.onward_share
            if future is None or onward is None or share is None:
                future = waiting.alpha
                continue
            later = warp(future, onward)
            if waiting is self._waiting[0]:
                self._waiting.popleft()
                return blend_three(
                    waiting.alpha, waiting.past, waiting.cost, waiting.share, later, onward.cost, share
                )  # fmt: skip
            future = blend_held(waiting.alpha, later, onward.cost, share)
        # A copy: the receiver may write to it, and the recursion continues from this array.
        return self._waiting.popleft().steadied.copy()

    def _shares(self, step: float) -> F32:
        """The share of what was held at every cost, after ``step`` seconds."""
        kept = min(math.exp(-step / self._strength.time_constant), _MAX_KEPT)
        shares: F32 = (kept * np.exp(-((_COSTS / self._strength.tolerance) ** 2))).astype(np.float32)
        return shares
