"""The video pipeline: a thread a stage, bounded queues between, the caller's thread supervising.

    source --queue--> matting --queue--> compositing --queue--> sink

Only this module starts threads for videos. The first error is kept with its traceback, the queues abort, the threads
join, the sink aborts, and the error is raised again in the caller's thread. An input that breaks off is no such
error: what came before is drained and kept, then TruncatedSourceError is raised.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from streammatte.errors import NoFrameError, QueueAborted, TruncatedSourceError
from streammatte.frames import Composite, Matte
from streammatte.protocols import Compositor, Matter, Sink, Source, Stage, StageBase
from streammatte.queues import BoundedQueue
from streammatte.sinks.multi import Outputs
from streammatte.stats import LatencyHistogram, Progress, StageStats, Summary

__all__ = ["Mattes", "Pipeline", "ThreadedStages"]

log = logging.getLogger(__name__)

QUEUE_CAPACITY = 4
"""Items a queue holds: enough for the time that a key frame's encoding takes, few enough for 4K frames."""
READER_GRACE = 1.0
"""Seconds that a reader has to end after ``stop``; the pipeline then ends without it."""
POLL_SECONDS = 0.1
"""How often the supervisor looks up; also the longest a signal waits for its handler on every platform."""


class ThreadedStages:
    """A source and stages joined by queues, each in a thread of its own; the last queue is the exit.

    Parameters
    ----------
    source : Source
    stages : list of (name, Stage)
    capacity : int
        Of each queue.
    limit : int, optional
        Frames to read at most.
    """

    def __init__(
        self,
        source: Source,
        stages: list[tuple[str, Stage[Any, Any]]],
        capacity: int = QUEUE_CAPACITY,
        limit: int | None = None,
    ) -> None:
        self._source = source
        self._limit = limit
        self.queues: list[BoundedQueue[Any]] = [BoundedQueue(capacity) for _ in range(len(stages) + 1)]
        self.stats = [StageStats("reader"), *(StageStats(name) for name, _ in stages)]
        self.error: BaseException | None = None
        self.truncated: TruncatedSourceError | None = None
        self._stopping = threading.Event()
        self._stopped_at = 0.0
        self._waiting = self._abandoned = False
        self._discarding = threading.Event()
        self._error_lock = threading.Lock()
        self._threads = [threading.Thread(target=self._guard, args=(self._read,), name="reader", daemon=True)]
        for index, (name, stage) in enumerate(stages):
            work = self._worker(stage, self.queues[index], self.queues[index + 1], self.stats[index + 1])
            self._threads.append(threading.Thread(target=self._guard, args=(work,), name=name, daemon=True))

    @property
    def exit(self) -> BoundedQueue[Any]:
        """The queue behind the last stage."""
        return self.queues[-1]

    @property
    def stopped(self) -> bool:
        """True once ``stop`` was called."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, discard: bool = False) -> None:
        """No more is read; what is under way drains, or with ``discard`` is thrown away. Safe from a signal handler.

        After a second a reader that gets no data is not waited for; it closes the source itself.
        """
        if not self._stopping.is_set():
            self._stopped_at = time.monotonic()
        self._stopping.set()
        if discard:
            self._discarding.set()

    def abort(self) -> None:
        """Wake every thread and let it end at once."""
        self.stop()
        for queue in self.queues:
            queue.abort()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the threads; True once all have ended (before ``timeout`` seconds for the last stage)."""
        if self._threads[-1].ident is None:
            return True
        self._threads[-1].join(timeout)
        self._leave_reader()
        if self._threads[-1].is_alive():
            return False
        for thread in self._threads[1:]:
            thread.join()
        while self._threads[0].is_alive() and not self._abandoned:
            self._threads[0].join(POLL_SECONDS)
            self._leave_reader()
        return True

    def _leave_reader(self) -> None:
        """Go on without a reader that does not come back from a read."""
        if self._stopping.is_set() and time.monotonic() - self._stopped_at > READER_GRACE:
            with self._error_lock:
                self._abandoned = self._abandoned or (self._waiting and self._threads[0].is_alive())
            if self._abandoned:
                self.queues[0].close()

    def close_source(self) -> None:
        """Close the source once the threads have ended."""
        if not self._abandoned:
            self._source.close()

    def fail(self, error: BaseException) -> None:
        """Keep the first error and abort."""
        with self._error_lock:
            self.error = self.error or error
        self.abort()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except QueueAborted:
            pass
        except BaseException as error:
            self.fail(error)

    def _read(self) -> None:
        stats, out = self.stats[0], self.queues[0]
        stats.begin()
        frames = self._source.frames()
        try:
            while not self._stopping.is_set() and (self._limit is None or stats.items < self._limit):
                began = time.perf_counter()
                self._waiting = True
                frame = next(frames, None)
                with self._error_lock:
                    self._waiting = False
                if frame is None or self._abandoned:
                    break
                if frame.captured is None:
                    frame.captured = time.monotonic()
                stats.add(time.perf_counter() - began)
                out.put(frame)
        except TruncatedSourceError as error:
            self.truncated = None if self._abandoned else error
        out.close()
        if self._abandoned:
            self._source.close()

    def _worker(
        self, stage: Stage[Any, Any], entry: BoundedQueue[Any], out: BoundedQueue[Any], stats: StageStats
    ) -> Callable[[], None]:
        def work() -> None:
            stats.begin()
            while taken := entry.get_batch():
                if not self._discarding.is_set():
                    began = time.perf_counter()
                    results = stage.process(taken[0])
                    stats.add(time.perf_counter() - began)
                    for result in results:
                        out.put(result)
                    del results
                # A name that outlives its turn would keep a frame's planes from the pool.
                del taken
            for result in stage.drain():
                out.put(result)
            out.close()

        return work


class _WriterStage(StageBase):
    """The sink as a stage: writes, and passes on only what the supervisor counts."""

    def __init__(self, outputs: Outputs, latency: LatencyHistogram) -> None:
        self._outputs = outputs
        self._latency = latency
        self.frames = 0
        self.first: float | None = None
        self.end = 0.0

    def process(self, item: Composite) -> list[None]:
        self._outputs.process(item)
        image = item.frame
        self.frames += 1
        if self.first is None:
            self.first = image.time
        self.end = max(self.end, image.time + float(image.duration * image.time_base))
        if image.captured is not None:
            self._latency.add(time.monotonic() - image.captured)
        return []

    def drain(self) -> list[None]:
        # In this thread, so that an interrupt never lands in the muxer.
        if self.frames:
            self._outputs.drain()
            self._outputs.close()
        return []


class Pipeline:
    """A video from a source through matting and compositing to a sink.

    Parameters
    ----------
    source : Source
    matter : Matter
        Stage from frames to mattes.
    compositor : Compositor
        Stage from mattes to composites.
    sink : Sink or Outputs
        A sink receives the images; ``Outputs`` spreads images, mattes and foregrounds over several.
    limit : int, optional
        Frames to take at most.
    on_progress : callable, optional
        Called about ten times a second in the caller's thread with a Progress.
    closing : tuple of callables
        Called once the threads have ended, whichever way.
    """

    def __init__(
        self,
        source: Source,
        matter: Matter,
        compositor: Compositor,
        sink: Sink | Outputs,
        *,
        capacity: int = QUEUE_CAPACITY,
        limit: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        closing: tuple[Callable[[], None], ...] = (),
    ) -> None:
        self._source = source
        self._closing = closing
        self._compositor = compositor
        self._outputs = sink if isinstance(sink, Outputs) else Outputs(sink)
        self._latency = LatencyHistogram()
        self._writer = _WriterStage(self._outputs, self._latency)
        stages: list[tuple[str, Stage[Any, Any]]] = [
            ("matting", matter),
            ("compositing", compositor),
            ("writer", self._writer),
        ]
        self._stages = ThreadedStages(source, stages, capacity, limit)
        self._on_progress = on_progress
        self._began = 0.0

    def stop(self, *, discard: bool = False) -> None:
        """Stop reading and finish what is under way, or throw it away; the output is complete either way.

        Safe from a signal handler and from any thread.
        """
        self._stages.stop(discard=discard)
        self._compositor.interrupt()

    def run(self) -> Summary:
        """Run to the end and give the summary.

        Raises
        ------
        StreammatteError
            The first error of any stage; the outputs are then as they were before. TruncatedSourceError comes after the
            good part was written, with ``summary`` as an attribute.
        """
        try:
            self._outputs.open(self._source.info)
            self._began = time.monotonic()
            self._stages.start()
            interrupt = self._supervise()
            self._check()
        except BaseException:
            self._stages.abort()
            self._stages.join()
            self._outputs.abort()
            raise
        finally:
            self._stages.close_source()
            for close in self._closing:
                close()
        summary = self._summary()
        if interrupt is not None:
            raise interrupt
        if self._stages.truncated is not None:
            self._stages.truncated.summary = summary
            raise self._stages.truncated
        return summary

    def _supervise(self) -> KeyboardInterrupt | None:
        interrupt = None
        while True:
            try:
                ended = self._stages.join(POLL_SECONDS)
                if self._on_progress is not None:
                    self._on_progress(self.progress())
                if ended:
                    return interrupt
            except KeyboardInterrupt as error:
                self.stop(discard=interrupt is not None)
                interrupt = error

    def _check(self) -> None:
        if self._stages.error is not None:
            raise self._stages.error
        if self._writer.frames:
            return
        if self._stages.stopped:
            self._outputs.abort()
        elif self._stages.truncated is not None:
            raise NoFrameError(f"no frame could be decoded: {self._stages.truncated}") from self._stages.truncated
        else:
            raise NoFrameError(f"{self._source.info.name or 'the input'} holds no frame")

    def progress(self) -> Progress:
        """Where the run stands now."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        return Progress(
            frames=self._writer.frames,
            seconds=seconds,
            media_seconds=self._media_seconds(),
            fps=self._writer.frames / seconds,
            drops=sum(queue.drops for queue in self._stages.queues),
            loads={stats.name: min(1.0, stats.busy / seconds) for stats in self._stages.stats},
            total_frames=self._source.info.frame_count,
        )

    def _media_seconds(self) -> float:
        return max(0.0, self._writer.end - (self._writer.first or 0.0))

    def _summary(self) -> Summary:
        now = self.progress()
        info = self._outputs.info or self._source.info
        return Summary(
            frames=now.frames,
            seconds=now.seconds,
            media_seconds=now.media_seconds,
            fps=now.fps,
            drops=now.drops,
            width=info.width,
            height=info.height,
            output_bytes=self._outputs.size(),
            interrupted=self._stages.stopped,
            outputs=tuple(self._outputs.names()),
            latency_ms=self._latency.milliseconds(),
            stages={
                stats.name: {
                    "busy_ms": round(stats.busy / max(stats.items, 1) * 1000, 3),
                    "cpu_ms": round(stats.cpu / max(stats.items, 1) * 1000, 3),
                    "load": round(min(1.0, stats.busy / now.seconds), 3),
                }
                for stats in self._stages.stats
            },
        )


class Mattes(Iterator[Matte]):
    """The mattes of a video, in order, made ahead in threads of their own; closed at the end, or by ``close``.

    Parameters
    ----------
    source : Source
    matter : Matter
    capacity : int
        Of each queue.
    closing : tuple of callables
        Called once the threads have ended, whichever way.

    Raises
    ------
    StreammatteError
        From ``next``: what a stage raised, after the mattes before it.
    """

    def __init__(
        self,
        source: Source,
        matter: Matter,
        capacity: int = QUEUE_CAPACITY,
        closing: tuple[Callable[[], None], ...] = (),
    ) -> None:
        self._closing = closing
        self._started, self._ended = False, True  # ended, as long as there are no threads
        self._stages = ThreadedStages(source, [("matting", matter)], capacity)
        self._ended = False

    def __next__(self) -> Matte:
        if self._ended:
            raise StopIteration
        if not self._started:
            self._started = True
            self._stages.start()
        try:
            taken = self._stages.exit.get_batch()
        except QueueAborted:
            taken = []
        except BaseException:
            self.close()
            raise
        if taken:
            matte: Matte = taken.pop()
            return matte
        self.close()
        error = self._stages.error or self._stages.truncated
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """End the threads and close the source. Safe to call twice."""
        if self._ended:
            return
        self._ended = True
        self._stages.abort()
        self._stages.join()
        self._stages.close_source()
        for close in self._closing:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
