"""Sinks side by side: each has its own bounded queue and thread, so that a slow one loses only its own frames."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from streammatte.errors import QueueAborted
from streammatte.frames import StreamInfo
from streammatte.live.privacy_guard import Shown
from streammatte.protocols import LiveSink
from streammatte.queues import BoundedQueue
from streammatte.stats import LatencyHistogram

__all__ = ["Fanout", "SinkWriter"]

_log = logging.getLogger(__name__)

SHOW_QUEUE = 2
"""Images that wait for a camera or a window: more would be visible delay."""
TIMED_QUEUE = 60
"""Images that wait for an encoder: two seconds at 30 a second bridge a slow disk or a short break of a network."""
RECENT = 150
"""Latencies that the status line looks back on: five seconds at 30 a second."""


class SinkWriter:
    """One sink, its queue and its figures.

    Parameters
    ----------
    name : str
        For messages and the status.
    sink : LiveSink
    on_end : callable
        Called with the writer when it has ended, by failure or not, in the writer's thread.
    """

    def __init__(self, name: str, sink: LiveSink, on_end: Callable[[SinkWriter], None]) -> None:
        self.name = name
        self.sink = sink
        self.continuous, self.main_thread = sink.continuous, sink.main_thread
        self.frames = 0
        self.held = 0
        self.late = 0
        self.error: Exception | None = None
        self.ended = False
        self.latency = LatencyHistogram()
        self.recent: deque[float] = deque(maxlen=RECENT)
        self._on_end = on_end
        self._queue: BoundedQueue[Shown] = BoundedQueue(SHOW_QUEUE if self.continuous else TIMED_QUEUE, "drop_oldest")
        self._last: Fraction | None = None

    @property
    def drops(self) -> int:
        """Images that this sink was too slow for."""
        return self._queue.drops

    def offer(self, shown: Shown) -> None:
        """Queue an image; never waits."""
        if self.ended or not (shown.timed or self.continuous):
            return
        try:
            self._queue.put(shown)
        except (QueueAborted, ValueError):  # the sink ended between the check and the put
            return

    def finish(self) -> None:
        """No more images come: the sink writes what is queued and closes."""
        self._queue.close()

    def run(self) -> None:
        """Body of the sink's thread."""
        while self.step(None):
            pass

    def step(self, timeout: float | None) -> bool:
        """Write at most one image, waiting ``timeout`` seconds for it; False once the sink has ended."""
        if self.ended:
            return False
        try:
            taken = self._queue.get_batch(1, timeout)
            for shown in taken:
                self._write(shown)
            if taken or not self._queue.closed:
                return True
            self.sink.drain()
            self.sink.close()
        except Exception as error:
            self._fail(error)
        self._end()
        return False

    def figures(self) -> dict[str, Any]:
        """Plain values for the status."""
        return {
            "frames": self.frames,
            "held": self.held,
            "drops": self.drops + self.late,
            "latency_ms": self.latency.milliseconds(),
            "error": None if self.error is None else str(self.error),
        }

    def _write(self, shown: Shown) -> None:
        frame = shown.frame
        if not self.continuous:
            time_now = frame.pts * frame.time_base
            if self._last is not None and time_now <= self._last:
                self.late += 1
                return
            self._last = time_now
        self.sink.process(frame)
        self.frames += 1
        self.held += shown.held
        if frame.captured is not None and not shown.held:
            delay = time.monotonic() - frame.captured
            self.latency.add(delay)
            self.recent.append(delay)

    def _fail(self, error: Exception) -> None:
        self.error = error
        _log.error("%s failed and is closed: %s", self.name, error)
        _log.debug("traceback of %s", self.name, exc_info=error)
        try:
            self.sink.abort()
        except Exception as second:
            _log.debug("closing %s failed too: %s", self.name, second)

    def _end(self) -> None:
        self.ended = True
        self._queue.abort()
        self._on_end(self)


class Fanout:
    """All sinks of a session.

    Parameters
    ----------
    sinks : sequence of (str, LiveSink)
        The first is the one whose latency the status shows.
    """

    def __init__(self, sinks: list[tuple[str, LiveSink]]) -> None:
        self.changed = threading.Event()
        self.writers = [SinkWriter(name, sink, self._ended) for name, sink in sinks]

    @property
    def alive(self) -> bool:
        """True while at least one sink takes images."""
        return any(not writer.ended for writer in self.writers)

    @property
    def error(self) -> Exception | None:
        """The first sink's error, if one failed."""
        return next((writer.error for writer in self.writers if writer.error is not None), None)

    def open(self, info: StreamInfo) -> None:
        """Open every sink; where one cannot be opened, those before it are given up and its error is raised."""
        opened: list[SinkWriter] = []
        try:
            for writer in self.writers:
                opened.append(writer)
                writer.sink.open(info)
        except BaseException:
            for writer in opened:
                writer.sink.abort()
            raise

    def add(self, name: str, sink: LiveSink, info: StreamInfo) -> SinkWriter:
        """One more sink, opened in the caller's thread; the caller runs the writer. Raises what its ``open`` raises.

        Parameters
        ----------
        name : str
            Of the sink, in status and logs.
        sink : LiveSink
        info : StreamInfo
            What it is opened for.
        """
        writer = SinkWriter(name, sink, self._ended)
        try:
            sink.open(info)
        except BaseException:
            sink.abort()
            raise
        self.writers = [*self.writers, writer]
        return writer

    def remove(self, name: str) -> None:
        """Let a sink write what it has and close; its thread ends. Nothing where there is none of the name."""
        leaving = [writer for writer in self.writers if writer.name == name]
        self.writers = [writer for writer in self.writers if writer.name != name]
        for writer in leaving:
            writer.finish()

    def send(self, shown: Shown) -> None:
        """Offer an image to every sink; never waits."""
        for writer in self.writers:
            writer.offer(shown)

    def finish(self) -> None:
        """Let every sink write what it has and close."""
        for writer in self.writers:
            writer.finish()

    def interrupt(self) -> None:
        """End the waits of sinks for a server."""
        for writer in self.writers:
            writer.sink.interrupt()

    def _ended(self, _writer: SinkWriter) -> None:
        self.changed.set()
