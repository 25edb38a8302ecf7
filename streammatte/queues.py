"""A bounded first-in-first-out queue between two threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeVar

from streammatte.errors import ConfigError, QueueAborted

__all__ = ["BoundedQueue", "Overflow"]

T = TypeVar("T")
Overflow = Literal["wait", "drop_oldest"]


class BoundedQueue(Generic[T]):
    """First-in-first-out queue with back-pressure, or one that drops its oldest item.

    Parameters
    ----------
    capacity : int
        Items held at most, 1 or more.
    overflow : {"wait", "drop_oldest"}
        What ``put`` does when the queue is full: wait (files), or throw the oldest item away (live).

    Notes
    -----
    ``close`` declares that no more will come: what is inside can still be taken. ``abort`` wakes both ends at once with
    :class:`QueueAborted` and drops what is inside. ``drops`` counts the items thrown away.
    """

    def __init__(self, capacity: int, overflow: Overflow = "wait") -> None:
        if capacity < 1:
            raise ConfigError(f"queue capacity must be 1 or more, got {capacity}")
        if overflow not in ("wait", "drop_oldest"):
            raise ConfigError(f"queue overflow must be 'wait' or 'drop_oldest', got {overflow!r}")
        self.capacity = capacity
        self.overflow = overflow
        self.drops = 0
        self._items: deque[T] = deque()
        self._closed = False
        self._aborted = False
        lock = threading.Lock()
        self._not_full = threading.Condition(lock)
        self._not_empty = threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """True once ``close`` or ``abort`` was called."""
        return self._closed or self._aborted

    def put(self, item: T) -> None:
        """Append an item; waits or drops the oldest when full. Raises QueueAborted, or ValueError after ``close``."""
        with self._not_full:
            while len(self._items) >= self.capacity and not self._aborted:
                if self.overflow == "drop_oldest":
                    self._items.popleft()
                    self.drops += 1
                else:
                    self._not_full.wait()
            if self._aborted:
                raise QueueAborted("the queue was aborted")
            if self._closed:
                raise ValueError("put() on a closed queue")
            self._items.append(item)
            self._not_empty.notify()

    def get_batch(self, n: int = 1, timeout: float | None = None) -> list[T]:
        """Wait for at least one item and take up to ``n``; an empty list means closed and drained (or the time-out)."""
        with self._not_empty:
            while not self._items and not self._closed and not self._aborted:
                if not self._not_empty.wait(timeout):
                    return []
            if self._aborted:
                raise QueueAborted("the queue was aborted")
            taken = [self._items.popleft() for _ in range(min(n, len(self._items)))]
            if taken:
                self._not_full.notify_all()
            return taken

    def close(self) -> None:
        """No more items will come; the other end drains what is inside, then sees the end."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def abort(self) -> None:
        """Drop everything and wake both ends with QueueAborted."""
        with self._not_empty:
            self._aborted = True
            self._items.clear()
            self._not_empty.notify_all()
            self._not_full.notify_all()
