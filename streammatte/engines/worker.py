"""Threads that run batches, for engines whose runtime has no asynchronous calls."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from streammatte.errors import ConfigError
from streammatte.frames import F32

__all__ = ["QUEUED", "Submission", "Worker"]

Result = tuple[F32, F32 | None]
"""Alpha (N, h, w) and, where the network gives it, the foreground (N, h, w, 3)."""

QUEUED = 1
"""Submissions beyond the one that runs, so that the runtime always has a next batch."""


class Submission:
    """A pending batch: :class:`streammatte.protocols.Pending`."""

    def __init__(self, future: Future[Result]) -> None:
        self._future = future

    def result(self) -> F32:
        """Raises ModelError where the inference failed."""
        return self._future.result()[0]

    def foreground(self) -> F32 | None:
        """Raises ModelError where the inference failed."""
        return self._future.result()[1]


class Worker:
    """Runs ``run`` on what is submitted, in a thread of its own and in order, or in several at once.

    Parameters
    ----------
    run : callable
        Returns alpha and the foreground, or None.
    in_flight : int
        Where so many are under way, ``submit`` waits.
    name : str
        Of the threads.
    threads : int
        More than one where ``run`` may be called at the same time.
    """

    def __init__(self, run: Callable[..., Result], in_flight: int, name: str, threads: int = 1) -> None:
        self._run = run
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(threads, name)
        self._slots: queue.Queue[None] = queue.Queue(in_flight)

    def submit(self, *batch: Any) -> Submission:
        """Start on a batch. Raises ConfigError after ``close``."""
        if self._pool is None:
            raise ConfigError("the engine was closed; open another")
        self._slots.put(None)
        try:
            return Submission(self._pool.submit(self._one, *batch))
        except BaseException:
            self._slots.get()
            raise

    def close(self) -> None:
        """Wait for what is under way. Safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _one(self, *batch: Any) -> Result:
        try:
            return self._run(*batch)
        finally:
            self._slots.get()
