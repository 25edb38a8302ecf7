"""Reuse of the memory of frames' planes."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

import numpy as np

from streammatte.frames import U8, Layout, plane_shapes

__all__ = ["FramePool"]


class _Lease:
    """Owner of pooled memory: numpy views keep it alive, and its deletion returns the memory to the pool."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, memory: U8) -> None:
        self.__array_interface__ = memory.__array_interface__


class FramePool:
    """Planes that are used again once nothing refers to them any more.

    ``take`` returns uninitialised planes; their memory returns to the pool when the last view of it is deleted, so a
    plane that is still referred to is never overwritten. Thread-safe.
    """

    _ALIGN = 64
    _SIZES_KEPT = 4
    """Sizes whose free planes are kept: a video has one or two, a folder of stills as many as images."""

    def __init__(self) -> None:
        self._free: dict[int, deque[U8]] = {}

    def take(self, layout: Layout, width: int, height: int) -> tuple[U8, ...]:
        """Planes of ``plane_shapes(layout, width, height)``, C-contiguous, each aligned to 64 bytes.

        Parameters
        ----------
        layout : Layout
        width, height : int
            Pixels.
        """
        shapes = plane_shapes(layout, width, height)
        sizes = [int(np.prod(shape)) for shape in shapes]
        steps = [-(-size // self._ALIGN) * self._ALIGN for size in sizes]
        if sum(steps) not in self._free:
            for stale in list(self._free)[: -self._SIZES_KEPT + 1]:
                self._free.pop(stale, None)
        free = self._free.setdefault(sum(steps), deque())
        try:
            memory = free.pop()
        except IndexError:
            raw = np.empty(sum(steps) + self._ALIGN, np.uint8)
            offset = -raw.ctypes.data % self._ALIGN
            memory = raw[offset : offset + sum(steps)]
        lease = _Lease(memory)
        give_back: Callable[[U8], None] = free.append
        weakref.finalize(lease, give_back, memory).atexit = False
        whole = np.asarray(lease)
        starts = np.cumsum([0, *steps[:-1]])
        return tuple(
            whole[start : start + size].reshape(shape) for start, size, shape in zip(starts, sizes, shapes, strict=True)
        )
