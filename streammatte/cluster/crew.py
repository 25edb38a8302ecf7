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

__all__ = ["Crew", "Emit", "Given", "Hand", "ProcessHand", "local_crew"]

Emit = Callable[[dict[str, Any] | None], None]
"""Takes an event of a worker: ``progress``, or the last of a job (``done``, ``partial``, ``failed``, ``full``); None
says that the worker is lost."""


class Hand(Protocol):
    """One worker. Events go to the ``Emit`` that it was made with, from any thread."""

    def give(self, job: dict[str, Any]) -> None:
        """Start on a job (JSON)."""
        ...

    def how_lost(self) -> str:
        """How it ended, for messages."""
        ...

    def close(self, *, kill: bool) -> None:
        """End it, at once or when it has nothing to do; waits until it has ended."""
        ...


@dataclass(slots=True, eq=False)
class Given:
    """A job under way: what the caller knows it by, and how far it is (frames, frames in all, frames a second)."""

    task: Any
    hand: Hand
    began: float = field(default_factory=time.monotonic)
    progress: tuple[int, int | None, float] = (0, None, 0.0)

    @property
    def seconds(self) -> float:
        """Since it was given."""
        return time.monotonic() - self.began


class Crew:
    """Up to ``size`` workers, started when there is work.

    Parameters
    ----------
    open_hand : callable
        Makes a worker that reports to an ``Emit``.
    size : int
    threads : int
        What a worker has for a video, where the user gives no number; 0 leaves it to the video.
    """

    def __init__(self, open_hand: Callable[[Emit], Hand], size: int, threads: int = 0) -> None:
        self._open = open_hand
        self.size = size
        self.threads = threads
        self._idle: list[Hand] = []
        self._busy: dict[Hand, Given] = {}
        self._events: queue.Queue[tuple[Hand, dict[str, Any] | None]] = queue.Queue()

    @property
    def under_way(self) -> list[Given]:
        """The jobs that were given and have not ended."""
        return list(self._busy.values())

    @property
    def room(self) -> int:
        """How many jobs can be given."""
        return self.size - len(self._busy)

    def give(self, job: dict[str, Any], task: Any) -> None:
        """Start on a job; there must be room."""
        hand = self._idle.pop() if self._idle else self._new()
        self._busy[hand] = Given(task, hand)
        hand.give(job)

    def _new(self) -> Hand:
        made: list[Hand] = []
        ready = threading.Event()

        def emit(event: dict[str, Any] | None) -> None:
            ready.wait()
            self._events.put((made[0], event))

        made.append(self._open(emit))
        ready.set()
        return made[0]

    def next_event(self, timeout: float) -> tuple[Given, dict[str, Any]] | None:
        """What happened to a job: its last event, ``{"event": "lost", "reason": ...}``, or ``again``, where its worker
        left the crew through no fault of the job; None where nothing did.

        Raises
        ------
        ConfigError
            A worker is of another version.
        """
        try:
            hand, event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        given = self._busy.get(hand)
        if event is not None and event["event"] == "refused":
            raise ConfigError(event["reason"])
        if event is None:
            return self._lost(hand)
        if given is None:
            return None
        if event["event"] == "progress":
            given.progress = (event["frames"], event["total"], event["fps"])
            return None
        leaves = event["event"] == "unplaced" or (event["event"] == "full" and bool(event.get("alone")))
        if leaves and self.size > 1:  # a node without space, or none with room: the others go on
            self.size -= 1
            del self._busy[hand]
            hand.close(kill=True)
            return given, {**event, "event": "again"}
        if event["event"] == "unplaced":  # the only worker: wait for room
            return None
        del self._busy[hand]
        self._idle.append(hand)
        return given, event

    def _lost(self, hand: Hand) -> tuple[Given, dict[str, Any]] | None:
        if hand in self._idle:
            self._idle.remove(hand)
        given = self._busy.pop(hand, None)
        reason = hand.how_lost()
        return None if given is None else (given, {"event": "lost", "reason": reason})

    def close(self) -> list[Given]:
        """End the workers, at once where they work; gives the jobs that were under way."""
        given = self.under_way
        for hand in (*self._busy, *self._idle):
            hand.close(kill=hand in self._busy)
        self._busy.clear()
        self._idle.clear()
        return given


class ProcessHand:
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

    def give(self, job: dict[str, Any]) -> None:
        """Write the job; where the process has ended, its reader reports that."""
        with suppress(OSError):
            self._input.write(json.dumps(job) + "\n")
            self._input.flush()

    def how_lost(self) -> str:
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


def local_crew(jobs: int) -> Crew:
    """Processes of this machine; 0 chooses: one for every four cores."""
    size = jobs or max(1, available_cores() // 4)
    return Crew(ProcessHand, size, max(1, available_cores() // size) if size > 1 else 0)
