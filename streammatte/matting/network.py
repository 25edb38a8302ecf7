"""From frames to mattes with a network: prepare, infer, smooth, refine."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import F32, U8, Frame, Layout, Matte
from streammatte.matting.motion import is_cut
from streammatte.matting.preprocess import Preparer
from streammatte.matting.refine import Refiner
from streammatte.matting.smoothing import Smoother
from streammatte.protocols import Engine, Pending, StageBase

__all__ = ["InputAlphaMatter", "NetworkMatter"]

_LONGEST_GAP = 1.0
"""Seconds between two images after which a recurrent network's states are reset."""


class Controls(Protocol):
    """What users adjust: components of the small matte, the shape of the refined one."""

    def clean(self, alpha: F32, size: tuple[int, int], time: float) -> F32: ...

    def shape(self, alpha: U8) -> U8: ...

    def reset(self) -> None: ...


@dataclass
class _Batch:
    """Frames that share a submission, and the input they were prepared into."""

    images: npt.NDArray[np.uint8]
    frames: list[Frame]
    planes: list[tuple[U8, ...]]
    pending: Pending | None = None
    colours: F32 | None = None


class NetworkMatter:
    """A stage: frames in, mattes out, in order, with several submissions under way.

    Parameters
    ----------
    engine : Engine
    preparer, smoother, refiner
        As the protocols above; ``preparer`` writes RGB at ``engine.input_size``.
    controls : Controls, optional
        Without them the matte stays as it is.
    batch : int
        Frames a submission.
    multiply : bool
        A frame's own alpha multiplies its matte.
    """

    def __init__(
        self,
        engine: Engine,
        preparer: Preparer,
        smoother: Smoother,
        refiner: Refiner,
        *,
        controls: Controls | None = None,
        batch: int = 1,
        multiply: bool = True,
    ) -> None:
        self.engine = engine
        self.preparer = preparer
        self._smoother = smoother
        self._refiner = refiner
        self._controls = controls
        self._size = 1 if engine.recurrent else batch
        self._before: tuple[U8, float] | None = None
        self._multiply = multiply
        self._free: list[_Batch] = []
        self._filling: _Batch | None = None
        self._flying: deque[_Batch] = deque()
        self._held_back: deque[tuple[Frame, tuple[U8, ...], F32 | None]] = deque()
        engine.reset()  # it may come from another stream

    def process(self, item: Frame) -> list[Matte]:
        """Prepare and submit one frame; returns the mattes that are finished (none while submissions are pending)."""
        batch = self._filling or self._take()
        self._filling = batch
        planes = self.preparer.prepare(item, batch.images[len(batch.frames)])
        if self.engine.recurrent:
            self._reset_at_cuts(item, planes)
        batch.planes.append(planes)
        batch.frames.append(item)
        if len(batch.frames) < self._size:
            return []
        self._filling = None
        return self._submit(batch)

    def drain(self) -> list[Matte]:
        """Wait for everything that was submitted."""
        done: list[Matte] = []
        if self._filling is not None:
            batch, self._filling = self._filling, None
            done += self._submit(batch)
        while self._flying:
            done += self._finish(self._flying.popleft())
        return done + self._pair(self._smoother.drain())

    def reset(self) -> None:
        """Forget the video: wait for submissions under way, drop them, and reset smoothing."""
        while self._flying:
            batch = self._flying.popleft()
            if batch.pending is not None:
                batch.pending.result()
            self._give_back(batch)
        self._filling = None
        self.engine.reset()
        self._before = None
        self._held_back.clear()
        self._smoother.reset()
        if self._controls is not None:
            self._controls.reset()

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _reset_at_cuts(self, frame: Frame, planes: tuple[U8, ...]) -> None:
        """Reset a recurrent network where the image does not follow the one before: a cut, a seek, a gap."""
        luma = planes[1] if frame.layout is Layout.RGB else planes[0]  # green is most of luma
        follows = False
        if self._before is not None:
            before, time = self._before
            follows = 0 < frame.time - time <= _LONGEST_GAP and not is_cut(before, luma)
        if not follows:
            self.engine.reset()
        self._before = luma.copy(), frame.time

    def _submit(self, batch: _Batch) -> list[Matte]:
        # The oldest is awaited, its successor submitted, and only then is the oldest processed, so that no stream of
        # the engine is idle.
        oldest: _Batch | None = None
        alphas: F32 | None = None
        if len(self._flying) >= self.engine.in_flight:
            oldest = self._flying.popleft()
            alphas = self._await(oldest)
        batch.pending = self.engine.submit(batch.images[: len(batch.frames)])
        self._flying.append(batch)
        if oldest is None or alphas is None:
            return []
        return self._mattes(oldest, alphas)

    def _finish(self, batch: _Batch) -> list[Matte]:
        return self._mattes(batch, self._await(batch))

    def _await(self, batch: _Batch) -> F32:
        if batch.pending is None:
            raise RuntimeError("a batch was awaited before it was submitted")
        batch.colours = None if self.preparer.brightened else batch.pending.foreground()
        return batch.pending.result()

    def _mattes(self, batch: _Batch, alphas: F32) -> list[Matte]:
        mattes: list[Matte] = []
        for index, (frame, planes, alpha) in enumerate(zip(batch.frames, batch.planes, alphas, strict=True)):
            colours = None if batch.colours is None else self.preparer.crop(batch.colours[index])
            self._held_back.append((frame, planes, colours))
            own = self.preparer.crop(alpha)
            mattes += self._pair(self._smoother.push(own, planes, frame.time, rgb=frame.layout is Layout.RGB))
        self._give_back(batch)
        return mattes

    def _pair(self, steadied: list[F32]) -> list[Matte]:
        """Each smoothed matte with the frame it was made of: the oldest that has none yet."""
        mattes = []
        for small in steadied:
            frame, planes, colours = self._held_back.popleft()
            mattes.append(self._finished(small, frame, planes, colours))
        return mattes

    def _finished(self, small: F32, frame: Frame, planes: tuple[U8, ...], colours: F32 | None) -> Matte:
        controls = self._controls
        if controls is not None:
            small = controls.clean(small, (frame.height, frame.width), frame.time)
        alpha = self._refiner.refine(small, frame, planes)
        if controls is not None:
            alpha = controls.shape(alpha)
        if frame.alpha is not None and self._multiply:
            alpha = cv2.multiply(alpha, frame.alpha, scale=1 / 255)
            small = small * _small(frame.alpha, small.shape)
        return Matte(frame, alpha, small, planes, colours)

    def _take(self) -> _Batch:
        if self._free:
            return self._free.pop()
        height, width = self.engine.input_size
        return _Batch(np.empty((self._size, height, width, 3), np.uint8), [], [])

    def _give_back(self, batch: _Batch) -> None:
        self._free.append(_Batch(batch.images, [], []))


class InputAlphaMatter(StageBase):
    """A stage that takes each frame's own alpha for its matte; no network runs.

    Parameters
    ----------
    size : (int, int)
        Height and width of the small matte, from which the foreground is estimated.
    controls : Controls
    """

    def __init__(self, size: tuple[int, int], controls: Controls) -> None:
        self._size = size
        self._controls = controls

    def process(self, item: Frame) -> list[Matte]:
        """The matte of one frame; one without alpha, among others that have some, is opaque."""
        alpha = np.full((item.height, item.width), 255, np.uint8) if item.alpha is None else item.alpha
        small = self._controls.clean(_small(alpha, self._size), (item.height, item.width), item.time)
        return [Matte(item, self._controls.shape(alpha), small)]

    def reset(self) -> None:
        """Forget the video."""
        self._controls.reset()


def _small(alpha: U8, size: tuple[int, ...]) -> F32:
    """A full-size alpha at the small matte's size, float32 in [0, 1]."""
    small: F32 = cv2.resize(alpha, (size[1], size[0]), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small.reshape(size) / np.float32(255)
