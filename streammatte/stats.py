"""Counts and times of a run: what the progress line, the summary and ``bench`` show."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LatencyHistogram", "Progress", "StageStats", "Summary", "format_bytes"]


def format_bytes(count: int) -> str:
    """A size as text: MB with a decimal, kB below 0.1 MB."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


class StageStats:
    """How long a stage worked. Written by the stage's own thread, read by any."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items = 0
        self.busy = 0.0
        self.cpu = 0.0
        self._cpu_start = 0.0

    def begin(self) -> None:
        """Call in the stage's thread before its first item."""
        self._cpu_start = time.thread_time()

    def add(self, seconds: float) -> None:
        """One item was worked on for ``seconds``."""
        self.items += 1
        self.busy += seconds
        self.cpu = time.thread_time() - self._cpu_start


class LatencyHistogram:
    """Percentiles of durations in bounded memory: logarithmic bins, 2 % wide, from 10 microseconds to 1000 seconds."""

    _FLOOR = 1e-5
    _STEP = math.log(1.02)
    _BINS = 932

    def __init__(self) -> None:
        self._counts = [0] * self._BINS
        self._lock = threading.Lock()
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        index = int(math.log(max(seconds, self._FLOOR) / self._FLOOR) / self._STEP)
        with self._lock:
            self._counts[min(index, self._BINS - 1)] += 1
            self.count += 1

    def percentile(self, percent: float) -> float:
        """The duration in seconds that ``percent`` of the counted ones do not exceed; 0.0 where none was counted."""
        with self._lock:
            wanted = self.count * percent / 100
            seen = 0
            for index, count in enumerate(self._counts):
                seen += count
                if count and seen >= wanted:
                    return float(self._FLOOR * math.exp((index + 0.5) * self._STEP))
        return 0.0

    def milliseconds(self) -> dict[str, float]:
        """``p50``, ``p95`` and ``p99`` in milliseconds."""
        return {f"p{p}": round(self.percentile(p) * 1000, 2) for p in (50, 95, 99)}


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run. ``loads`` are the shares of time (0 to 1) that the stages worked."""

    frames: int
    seconds: float
    media_seconds: float
    fps: float
    drops: int
    loads: dict[str, float]
    total_frames: int | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds left at this speed, or None where the length is not known."""
        if not self.total_frames or not self.fps:
            return None
        return max(0.0, (self.total_frames - self.frames) / self.fps)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        left = self.remaining
        return {
            "frames": self.frames,
            "total_frames": self.total_frames,
            "seconds": round(self.seconds, 3),
            "media_seconds": round(self.media_seconds, 3),
            "fps": round(self.fps, 2),
            "remaining": None if left is None else round(left, 1),
            "drops": self.drops,
            "loads": {name: round(load, 3) for name, load in self.loads.items()},
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run did. ``seconds`` are wall-clock, ``media_seconds`` the length of video that was written."""

    frames: int
    seconds: float
    media_seconds: float
    fps: float
    drops: int
    width: int
    height: int
    output_bytes: int = 0
    interrupted: bool = False
    outputs: tuple[str, ...] = ()
    latency_ms: dict[str, float] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def realtime_factor(self) -> float:
        """Seconds of video a second; above 1 is faster than real time."""
        return self.media_seconds / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "done": True,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "media_seconds": round(self.media_seconds, 3),
            "fps": round(self.fps, 2),
            "realtime_factor": round(self.realtime_factor, 3),
            "drops": self.drops,
            "width": self.width,
            "height": self.height,
            "output_bytes": self.output_bytes,
            "interrupted": self.interrupted,
            "outputs": list(self.outputs),
            "latency_ms": self.latency_ms,
            "stages": self.stages,
        }

    def __str__(self) -> str:
        counted = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        size = f", {format_bytes(self.output_bytes)}" if self.output_bytes else ""
        return (
            f"{counted}, {self.fps:.1f} fps, {self.realtime_factor:.2f}x real time, "
            f"{self.drops} drops, {self.width}x{self.height}{size}"
        )
