"""Whether the camera's image has moved since a given frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streammatte.frames import Frame

__all__ = ["Stillness"]

STEP = 2
"""Every second row and column is looked at: a quarter of the image is enough."""
BLOCK = 16
"""Samples along a block's side: the mean over 256 of them is free of a camera's noise."""
MOVED = 2.0
"""Levels by which a block's mean may change: sensor noise of sigma 4 changes it by 0.35 or so, a blink by more."""


class Stillness:
    """Compares frames with a reference, block by block."""

    def __init__(self) -> None:
        self._reference: npt.NDArray[np.float32] | None = None

    def remember(self, frame: Frame) -> None:
        """Make a frame the reference."""
        self._reference = _blocks(frame)

    def moved(self, frame: Frame) -> bool:
        """True where any block differs from the reference, or there is none."""
        reference = self._reference
        if reference is None:
            return True
        blocks = _blocks(frame)
        return blocks.shape != reference.shape or bool(np.abs(blocks - reference).max() > MOVED)


def _blocks(frame: Frame) -> npt.NDArray[np.float32]:
    luma = frame.planes[0]
    samples = luma[::STEP, ::STEP] if luma.ndim == 2 else luma[::STEP, ::STEP, 1]
    rows, columns = (max(1, side // BLOCK) for side in samples.shape)
    samples = samples[: rows * BLOCK, : columns * BLOCK]
    shape = (rows, samples.shape[0] // rows, columns, samples.shape[1] // columns)
    means: npt.NDArray[np.float32] = samples.reshape(shape).mean(axis=(1, 3), dtype=np.float32)
    return means
