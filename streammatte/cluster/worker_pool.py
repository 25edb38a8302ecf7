"""Workers that do one job at a time: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from streammatte.errors import ConfigError
from streammatte.runtime import available_cores, ended_by

__all__ = ["Assignment", "Emit", "ProcessWorker", "WorkerHandle", "WorkerPool", "local_pool"]

Emit = Callable[[dict[str, Any] | None], None]
"""Takes an event of a worker: ``progress``, or the last of a job (``done``, ``partial``, ``failed``, ``full``); None
says that the worker is lost."""


class WorkerHandle(Protocol):
    """One worker. Events go to the ``Emit`` that it was made with, from any thread."""

    def start(self, job: dict[str, Any]) -> None:
        """Start a job (JSON)."""
        ...

    def end_reason(self) -> str:
        """How it ended, for messages."""
        ...

    def close(self, *, kill: bool) -> None:
        """End it, at once or when it has nothing to do; waits until it has ended."""
        ...


@dataclass(slots=True, eq=False)
class Assignment:
    """A running job: the caller's task, and its progress (frames, frames in all, frames a second)."""

    task: Any
    worker: WorkerHandle
    began: float = field(default_factory=time.monotonic)
    progress: tuple[int, int | None, float] = (0, None, 0.0)

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began


class WorkerPool:
    """Up to ``size`` workers, started when there is work.

    Parameters
    ----------
    open_worker : callable
        Makes a worker that reports to an ``Emit``.
    size : int
    threads : int
        What a worker has for a video, where the user gives no number; 0 leaves it to the video.
    """

    def __init__(self, open_worker: Callable[[Emit], WorkerHandle], size: int, threads: int = 0) -> None:
        self._open = open_worker
        self.size = size
        self.threads = threads
        self._idle: list[WorkerHandle] = []
        self._busy: dict[WorkerHandle, Assignment] = {}
        self._events: queue.Queue[tuple[WorkerHandle, dict[str, Any] | None]] = queue.Queue()

    @property
    def running(self) -> list[Assignment]:
        """The jobs that were started and have not ended."""
        return list(self._busy.values())

    @property
    def free(self) -> int:
        """How many jobs can be started."""
        return self.size - len(self._busy)

    def start(self, job: dict[str, Any], task: Any) -> None:
        """Start a job; there must be a free worker."""
        worker = self._idle.pop() if self._idle else self._new()
        self._busy[worker] = Assignment(task, worker)
        worker.start(job)

    def _new(self) -> WorkerHandle:
        made: list[WorkerHandle] = []
        ready = threading.Event()

        def emit(event: dict[str, Any] | None) -> None:
            ready.wait()
            self._events.put((made[0], event))

        made.append(self._open(emit))
        ready.set()
        return made[0]

    def next_event(self, timeout: float) -> tuple[Assignment, dict[str, Any]] | None:
        """What happened to a job: its last event, ``{"event": "lost", "reason": ...}``, or ``again``, where its worker
        left the pool through no fault of the job; None where nothing did.

        Raises
        ------
        ConfigError
            A worker is of another version.
        """
        try:
            worker, event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        assignment = self._busy.get(worker)
        if event is not None and event["event"] == "refused":
            raise ConfigError(event["reason"])
        if event is None:
            return self._lost(worker)
        if assignment is None:
            return None
        if event["event"] == "progress":
            assignment.progress = (event["frames"], event["total"], event["fps"])
            return None
        leaves = event["event"] == "unplaced" or (event["event"] == "full" and bool(event.get("alone")))
        if leaves and self.size > 1:  # a node without space, or none with room: the others go on
            self.size -= 1
            del self._busy[worker]
            worker.close(kill=True)
            return assignment, {**event, "event": "again"}
        if event["event"] == "unplaced":  # the only worker: wait for room
            return None
        del self._busy[worker]
        self._idle.append(worker)
        return assignment, event

    def _lost(self, worker: WorkerHandle) -> tuple[Assignment, dict[str, Any]] | None:
        if worker in self._idle:
            self._idle.remove(worker)
        assignment = self._busy.pop(worker, None)
        reason = worker.end_reason()
        return None if assignment is None else (assignment, {"event": "lost", "reason": reason})

    def close(self) -> list[Assignment]:
        """End the workers, at once where they work; returns the jobs that were running."""
        assignments = self.running
        for worker in (*self._busy, *self._idle):
            worker.close(kill=worker in self._busy)
        self._busy.clear()
        self._idle.clear()
        return assignments


class ProcessWorker:
    """A process of this machine: ``python -m streammatte.cluster.worker FOLDER``."""

    def __init__(self, emit: Emit) -> None:
        # Its own folder, removed here: the process may be killed.
        self._folder = tempfile.TemporaryDirectory(prefix="streammatte-worker-")
        command = [sys.executable, "-m", "streammatte.cluster.worker", self._folder.name]
        self._process = subprocess.Popen(
            command,
            text=True,
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._input: IO[str] = self._process.stdin  # type: ignore[assignment]
        output: IO[str] = self._process.stdout  # type: ignore[assignment]

        def listen() -> None:
            with suppress(ValueError):
                for line in output:
                    emit(json.loads(line))
            emit(None)

        threading.Thread(target=listen, name="worker-events", daemon=True).start()

    def start(self, job: dict[str, Any]) -> None:
        """Write the job; where the process has ended, its reader reports that."""
        with suppress(OSError):
            self._input.write(json.dumps(job) + "\n")
            self._input.flush()

    def end_reason(self) -> str:
        """The signal or the exit code."""
        code = self._process.wait()
        self._folder.cleanup()
        return f"its process ended by {ended_by(code)}"

    def close(self, *, kill: bool) -> None:
        """Kill it, or close its input."""
        if kill:
            self._process.kill()
        else:
            with suppress(OSError):
                self._input.close()
        self._process.wait()
        self._folder.cleanup()


def local_pool(jobs: int) -> WorkerPool:
    """Processes of this machine; 0 chooses: one for every four cores."""
    size = jobs or max(1, available_cores() // 4)
    return WorkerPool(ProcessWorker, size, max(1, available_cores() // size) if size > 1 else 0)
