"""The status of a live session, once a second and at its end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LiveStatus", "RateMeter", "percentiles"]

LOOK_BACK = 2.0
"""Seconds over which the status line's frame rate is counted."""


class RateMeter:
    """Frames a second over the last moments. One thread counts, any reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=1024)

    def count(self, now: float) -> None:
        """A frame was shown."""
        self._times.append(now)

    def fps(self) -> float:
        """Frames a second over the last two seconds."""
        now = self._clock()
        recent = [moment for moment in tuple(self._times) if now - moment <= LOOK_BACK]
        if len(recent) < 2:
            return 0.0
        return len(recent) / min(LOOK_BACK, max(now - recent[0], 1e-3))


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """A moment of a session. ``latency_ms`` is the first sink's since the start, ``recent_ms`` of late."""

    frames: int
    drops: int
    held: int
    reused: int
    fps: float
    seconds: float
    size: int
    state: str
    latency_ms: dict[str, float]
    recent_ms: dict[str, float]
    settings: dict[str, Any]
    backgrounds: tuple[str, ...]
    sinks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        late = self.recent_ms or self.latency_ms
        scene = "blur" if self.settings["blur"] else self.backgrounds[self.settings["background"]]
        return (
            f"{self.state} | {self.fps:.1f} fps | {late['p50']:.0f} / {late['p95']:.0f} ms | {self.drops} drops | "
            f"network {self.size} | {scene}"
        )


def percentiles(delays: tuple[float, ...]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds of delays in seconds; 0 where there are none."""
    if not delays:
        return {"p50": 0.0, "p95": 0.0}
    ranked = sorted(delays)
    return {f"p{p}": round(ranked[min(len(ranked) - 1, len(ranked) * p // 100)] * 1000, 2) for p in (50, 95)}
