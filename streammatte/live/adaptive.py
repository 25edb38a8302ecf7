"""Which size of network the machine can keep up with."""

from __future__ import annotations

from collections.abc import Sequence

from streammatte.errors import ConfigError

__all__ = ["LADDER", "AdaptiveController", "ladder"]

LADDER = (512, 384, 256)
"""Long sides, in pixels, that the network steps through; each needs about half of what the one before needs."""

WINDOW = 1.0
"""Seconds over which load and drops are looked at; shorter ones see single slow frames."""
DROPS_DOWN = 0.02
"""Share of frames dropped in a window from which a smaller network is chosen."""
BAD_WINDOWS = 2
"""Bad windows in a row before a step down: one is a window being moved or a program starting."""
LOAD_UP = 0.7
"""Share of the time between two frames that the next larger network may be expected to take."""
NOT_THE_NETWORK = 0.5
"""Share of the time between two frames: a network that takes less is not why frames are dropped."""
CALM = 8.0
"""Seconds without a drop before a step up is tried."""
CALM_MAX = 128.0
"""A step up that had to be taken back doubles the wait, up to this many seconds."""
REGRET = 10.0
"""Seconds after a step up within which a step down means that it was wrong."""


def ladder(size: int) -> tuple[int, ...]:
    """The sizes to step through from ``size`` down."""
    return (size, *(step for step in LADDER if step < size))


class AdaptiveController:
    """Steps down when frames are dropped, and up again, with hysteresis, when there is room. Pure: time is given to it.

    Parameters
    ----------
    sizes : sequence of int
        Long sides, falling.
    start : float
        The time at the start, seconds.
    """

    def __init__(self, sizes: Sequence[int], start: float) -> None:
        if not sizes or list(sizes) != sorted(set(sizes), reverse=True):
            raise ConfigError(f"network sizes must fall, as in {LADDER}; got {tuple(sizes)}")
        self.sizes = tuple(sizes)
        self.level = 0
        self.steps = 0
        self.others = 0
        """Windows in which frames were dropped although the network was fast enough."""
        self._window = start
        self._drops = 0
        self._frames = 0
        self._bad = 0
        self._calm_since = start
        self._calm = CALM
        self._went_up = float("-inf")

    @property
    def size(self) -> int:
        """The size in force."""
        return self.sizes[self.level]

    def update(self, now: float, frames: int, drops: int, busy: float) -> int:
        """Look at the figures; returns the level in force.

        Parameters
        ----------
        now : float
            Seconds.
        frames, drops : int
            Frames matted and frames dropped since the start.
        busy : float
            Seconds that one run of the network takes now, with what belongs to it.
        """
        elapsed = now - self._window
        if elapsed < WINDOW:
            return self.level
        matted, dropped = frames - self._frames, drops - self._drops
        self._window, self._frames, self._drops = now, frames, drops
        if dropped > DROPS_DOWN * max(matted + dropped, 1):
            self._calm_since = now
            if 0 < busy * (matted + dropped) / elapsed < NOT_THE_NETWORK:
                self.others += 1  # a smaller one would not help
                return self.level
            self._bad += 1
            if self._bad >= BAD_WINDOWS:
                self._down(now)
            return self.level
        self._bad = 0
        if self.level and now - self._calm_since >= self._calm and self._room(busy, (matted + dropped) / elapsed):
            self.level -= 1
            self.steps += 1
            self._went_up = self._calm_since = now
        return self.level

    def _down(self, now: float) -> None:
        self._bad = 0
        if now - self._went_up < REGRET:
            self._calm = min(2 * self._calm, CALM_MAX)
        if self.level < len(self.sizes) - 1:
            self.level += 1
            self.steps += 1

    def _room(self, busy: float, rate: float) -> bool:
        growth = (self.sizes[self.level - 1] / self.sizes[self.level]) ** 2
        return busy * growth * rate < LOAD_UP
