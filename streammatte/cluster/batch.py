"""Works through a journal with processes that stay alive."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import attrs

from streammatte.cluster.journal import DONE, FAILED, PARTIAL, RUNNING, WAITING, Journal, Record
from streammatte.errors import ConfigError, DiskFullError, StreammatteError
from streammatte.options.video import VideoOptions
from streammatte.runtime import available_cores, ended_by
from streammatte.sinks.atomic import refuse_inputs, remove_leftovers

__all__ = ["Batch", "Status", "check_jobs"]

_log = logging.getLogger(__name__)

MOST_ATTEMPTS = 2
"""How often a video may take its worker down before it counts as failed."""
_TICK = 0.2
_MEASURED = ("reason", "exit_code", "frames", "media_seconds", "bytes")


@dataclass(slots=True)
class Status:
    """Where a batch stands. ``running`` maps outputs to (frames, frames in all or None, frames a second)."""

    total: int
    counts: dict[str, int]
    running: dict[str, tuple[int, int | None, float]]
    seconds: float
    remaining: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        running = [
            {"output": output, "frames": frames, "total_frames": total, "fps": fps}
            for output, (frames, total, fps) in self.running.items()
        ]
        left = None if self.remaining is None else round(self.remaining, 1)
        now = {"running": running, "seconds": round(self.seconds, 1), "remaining": left}
        return {"total": self.total, "counts": self.counts, **now}


@dataclass(slots=True, eq=False)
class _Worker:
    """A process and what it does now."""

    process: subprocess.Popen[str]
    record: Record | None = None
    began: float = 0.0
    progress: tuple[int, int | None, float] = (0, None, 0.0)


class Batch:
    """Works through the waiting items of a journal.

    Parameters
    ----------
    journal : Journal
    options : VideoOptions
        What holds for all items.
    jobs : int
        Processes.
    on_status : callable, optional
        Called about five times a second in the caller's thread with a Status.

    Notes
    -----
    ``stop`` ends the processes at once; what was under way waits again and leaves nothing behind.
    """

    def __init__(
        self, journal: Journal, options: VideoOptions, jobs: int, on_status: Callable[[Status], None] | None = None
    ) -> None:
        self._journal = journal
        threads = options.threads or max(1, available_cores() // jobs)
        self._options = options.replace(threads=threads) if jobs > 1 else options
        self._jobs = jobs
        self._on_status = on_status
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[_Worker] = []
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._spent = 0.0
        self._finished = 0

    def stop(self, *, discard: bool = False) -> None:
        """End soon; what is under way is given up in either case. Safe from a signal handler."""
        self._stopping.set()

    def run(self, more: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing waits.

        Parameters
        ----------
        more : callable
            Called when nothing waits and about every second; it may add items to the journal. While it returns true,
            further items are waited for.

        Raises
        ------
        DiskFullError
            The disk is full: the items that remain wait for the next run.
        """
        looked = 0.0
        watching = True
        try:
            while not self._stopping.is_set():
                self._hand_out()
                busy = any(worker.record is not None for worker in self._workers)
                if time.monotonic() - looked >= 1.0 or not busy:
                    looked, watching = time.monotonic(), more()
                if not busy and not watching and not self._journal.counts()[WAITING]:
                    return
                self._take_event()
                if self._on_status is not None:
                    self._on_status(self.status())
        finally:
            self._end_workers()

    def status(self) -> Status:
        """Where the batch stands now."""
        counts = self._journal.counts()
        running = {worker.record.output: worker.progress for worker in self._workers if worker.record is not None}
        left = counts[WAITING] + counts[RUNNING]
        each = self._spent / self._finished if self._finished else None
        remaining = None if each is None else each * left / self._jobs
        return Status(sum(counts.values()), counts, running, time.monotonic() - self._began, remaining)

    def _hand_out(self) -> None:
        idle = [worker for worker in self._workers if worker.record is None]
        room = len(idle) + self._jobs - len(self._workers)
        while room and (waiting := self._journal.records(WAITING, limit=1)):
            if self._start(idle[-1] if idle else None, waiting[0]):
                room -= 1
                idle = idle[:-1]

    def _start(self, worker: _Worker | None, record: Record) -> bool:
        """Give an item to a worker, or a new one; False where it cannot be begun."""
        target = self._journal.target / record.output
        try:
            options = self._options.replace(**self._placed(record.options))
            name = f"{target}/" if record.output.endswith("/") else str(target)
            outputs = [path for path in (name, options.alpha, options.foreground) if path is not None]
            refuse_inputs({"the input": record.source, "the background": options.background}, outputs)
            for path in outputs:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                remove_leftovers(Path(path))
            # Only what an earlier attempt at this very item published may be replaced unasked.
            if record.frames or record.attempts:
                options = options.replace(overwrite=True)
        except (StreammatteError, OSError) as error:
            self._journal.end(record, FAILED, reason=str(error), exit_code=getattr(error, "exit_code", 4))
            return False
        worker = worker or self._new_worker()
        worker.record, worker.began, worker.progress = record, time.monotonic(), (0, None, 0.0)
        self._journal.begin(record)
        job = {"source": record.source, "target": name, "options": attrs.asdict(options)}  # type: ignore[arg-type]
        stdin: IO[str] = worker.process.stdin  # type: ignore[assignment]
        with suppress(OSError):  # it has ended: its reader reports that
            stdin.write(json.dumps(job) + "\n")
            stdin.flush()
        return True

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        """A row's options, its outputs inside the target."""
        named = {role: options[role] for role in ("alpha", "foreground") if options.get(role)}
        return {**options, **{role: str(self._journal.target / name) for role, name in named.items()}}

    def _new_worker(self) -> _Worker:
        command = [sys.executable, "-m", "streammatte.cluster.worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, text=True, encoding="utf-8", **pipes)  # type: ignore[call-overload]
        worker = _Worker(process)
        self._workers.append(worker)

        def listen() -> None:
            with suppress(ValueError):
                for line in process.stdout:
                    self._events.put((worker, json.loads(line)))
            self._events.put((worker, None))

        threading.Thread(target=listen, name="batch-events", daemon=True).start()
        return worker

    def _take_event(self) -> None:
        try:
            worker, event = self._events.get(timeout=_TICK)
        except queue.Empty:
            return
        record = worker.record
        if event is None:
            self._lost(worker)
        elif record is not None and event["event"] == "progress":
            worker.progress = (event["frames"], event["total"], event["fps"])
        elif record is not None:
            self._ended(worker, record, event)

    def _ended(self, worker: _Worker, record: Record, event: dict[str, Any]) -> None:
        worker.record = None
        seconds = time.monotonic() - worker.began
        facts: dict[str, Any] = {"seconds": seconds, "warnings": event.get("warnings", ())}
        facts |= {name: event[name] for name in _MEASURED if name in event}
        if event["event"] == "full":
            self._journal.end(record, WAITING, reason=event["reason"], attempts=0)
            raise DiskFullError(f"{event['reason']}; free some space and run the same command, which goes on from here")
        state = {"done": DONE, "partial": PARTIAL}.get(event["event"], FAILED)
        if state == DONE:
            facts |= {"reason": "", "exit_code": 0}
        self._journal.end(record, state, **facts)
        self._spent += seconds
        self._finished += 1

    def _lost(self, worker: _Worker) -> None:
        """A worker's process has ended by itself."""
        self._workers.remove(worker)
        code = worker.process.wait()
        record, worker.record = worker.record, None
        if record is None:
            return
        how = ended_by(code)
        attempts = self._journal.attempts(record.output)
        if attempts >= MOST_ATTEMPTS:
            reason = f"its process ended by {how}, {attempts} times"
            self._journal.end(record, FAILED, reason=reason, exit_code=1, seconds=time.monotonic() - worker.began)
        else:
            _log.warning("%s: its process ended by %s; it is tried again", record.source, how)
            self._journal.end(record, WAITING, reason=f"its process ended by {how}")
        remove_leftovers(self._journal.target / record.output)

    def _end_workers(self) -> None:
        """End the processes; what they did not finish waits again."""
        for worker in self._workers:
            if worker.record is not None:
                worker.process.kill()
            elif worker.process.stdin is not None:
                worker.process.stdin.close()
        for worker in self._workers:
            worker.process.wait()
            if worker.record is not None:
                remove_leftovers(self._journal.target / worker.record.output)
                self._journal.end(worker.record, WAITING, attempts=0)
        self._workers.clear()


def check_jobs(jobs: int) -> int:
    """Processes to use; 0 chooses: one for every four cores."""
    if jobs < 0:
        raise ConfigError(f"jobs must be 0 or more, got {jobs}")
    return jobs or max(1, available_cores() // 4)
