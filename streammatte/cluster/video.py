"""One video in segments on a pool of workers."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from streammatte.cluster.segments import SegmentedVideo
from streammatte.cluster.worker_pool import Assignment, WorkerPool
from streammatte.errors import DiskFullError, StreammatteError, TruncatedSourceError
from streammatte.stats import Progress, Summary

__all__ = ["MAX_ATTEMPTS", "SEGMENT", "VideoRun"]

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2
"""How often a worker may be lost on a video or segment before that counts as failed."""

SEGMENT = 30.0
"""Seconds of a segment, where none is given."""

_TICK = 0.1


class VideoRun:
    """Works through a video's segments and joins them.

    Parameters
    ----------
    video : SegmentedVideo
    pool : WorkerPool
    on_progress : callable, optional
        Called about ten times a second in the caller's thread with a Progress.

    Notes
    -----
    ``stop`` ends the workers at once; segments that are whole stay for the next run.
    """

    def __init__(
        self, video: SegmentedVideo, pool: WorkerPool, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self._video, self._pool, self._on_progress = video, pool, on_progress
        self._waiting = video.waiting()
        self._attempts: Counter[int] = Counter()
        self._warned: set[str] = set()
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._before = video.frames

    def stop(self, *, discard: bool = False) -> None:
        """End soon. Safe from a signal handler."""
        self._stopping.set()

    def run(self) -> Summary | None:
        """Run to the end; None where it was stopped before.

        Raises
        ------
        TruncatedSourceError
            The video breaks off; ``summary`` describes the part before, which is written.
        StreammatteError
            What failed on a segment; those that are whole stay for the next run.
        """
        try:
            while (self._waiting or self._pool.running) and not self._stopping.is_set():
                while self._waiting and self._pool.free:
                    segment = self._waiting.pop(0)
                    self._pool.start(self._video.job(segment, self._pool.threads), segment)
                happened = self._pool.next_event(_TICK)
                if happened is not None:
                    self._take_event(*happened)
                if self._on_progress is not None:
                    self._on_progress(self._progress())
        finally:
            self._pool.close()
        if self._stopping.is_set():
            return None
        seconds = time.monotonic() - self._began
        try:
            return _timed(self._video.join(), seconds)
        except TruncatedSourceError as error:
            error.summary = _timed(error.summary, seconds)
            raise

    def _take_event(self, given: Assignment, event: dict[str, Any]) -> None:
        segment = given.task
        for text in event.get("warnings", ()):
            if text not in self._warned:
                _log.warning("%s", text)
            self._warned.add(text)
        if event["event"] == "done":
            self._video.end(segment, {name: event[name] for name in ("frames", "seconds", "until", "reason")})
            return
        if event["event"] == "full":
            raise DiskFullError(f"{event['reason']}; free some space and run the same command, which goes on from here")
        if event["event"] == "again":
            self._waiting.insert(0, segment)
            return
        if event["event"] != "lost":
            error = StreammatteError(event["reason"])
            error.exit_code = event["exit_code"]
            raise error
        self._attempts[segment.index] += 1
        if self._attempts[segment.index] >= MAX_ATTEMPTS:
            raise StreammatteError(f"{event['reason']}, {MAX_ATTEMPTS} times, at {float(segment.begin):g} s")
        _log.warning("%s; the segment at %g s is tried again", event["reason"], float(segment.begin))
        self._waiting.insert(0, segment)

    def _progress(self) -> Progress:
        frames = self._video.frames + sum(given.progress[0] for given in self._pool.running)
        seconds = max(time.monotonic() - self._began, 1e-9)
        fps = (frames - self._before) / seconds
        return Progress(frames, seconds, self._video.media_seconds, fps, 0, {}, self._video.total_frames)


def _timed(summary: Summary, seconds: float) -> Summary:
    return replace(summary, seconds=seconds, fps=summary.frames / max(seconds, 1e-9))
