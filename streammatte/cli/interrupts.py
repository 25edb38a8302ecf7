"""Signals that end a run early without losing what is done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["interrupts"]


class Stoppable(Protocol):
    """A pipeline or a batch."""

    def stop(self, *, discard: bool = False) -> None:
        """End soon, and give up what is under way with ``discard``."""
        ...


@contextmanager
def interrupts(run: Stoppable) -> Iterator[list[int]]:
    """The first signal finishes what is under way, a second throws it away; both leave complete files.

    Returns the list of the signals' numbers, which grows as they come.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        run.stop(discard=len(received) > 1)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
