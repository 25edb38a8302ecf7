"""The matting stage of a live session: one frame in, its matte out; the size of the network follows the load."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import Frame, Matte, StreamInfo, plane_shapes
from streammatte.live.adaptive import AdaptiveController
from streammatte.live.motion_detection import Stillness
from streammatte.live.settings import CONTROLS, LiveSettings
from streammatte.protocols import Matter

__all__ = ["MARGINS", "LiveMatter", "SizeLevel", "blank_frame"]

_log = logging.getLogger(__name__)

BUSY_SHARE = 0.1
"""Weight of the newest run in the mean time of a run: about the last ten count."""
BLANK_LUMA = 40
"""A dark gray; never shown."""


MARGINS = (0, 32)
"""Columns between rows of the frames for warming up."""


CALM = 2.0
"""Seconds without movement after which the network rests longer."""
CALM_INTERVAL = 0.5
"""Seconds between two of its runs then; movement is seen in the very frame that has it."""
WARM_STEP = Fraction(1, 30)
"""Seconds between the frames for warming up."""


class Switch(Protocol):
    """A smoother whose strength can be changed."""

    mode: str

    def reset(self) -> None: ...


class Adjustable(Protocol):
    """Controls of the matte's shape, whose settings (a dataclass) can be replaced."""

    settings: Any


@dataclass(frozen=True, slots=True)
class SizeLevel:
    """A matter compiled for one size, its smoother and its controls."""

    size: int
    matter: Matter
    smoother: Switch | None = None
    controls: Adjustable | None = None


def blank_frame(info: StreamInfo, margin: int = 0) -> Frame:
    """A gray frame of a stream's size: for warming up, and as the frame without a person under the placeholder frame.

    ``margin`` columns of memory lie between its rows, as decoders leave them: kernels are compiled for either.
    """
    shapes = plane_shapes(info.layout, info.width, info.height)
    planes = tuple(np.full((h, w + margin, *rest), 128, np.uint8)[:, :w] for h, w, *rest in shapes)
    planes[0][:] = BLANK_LUMA
    return Frame(planes, info.layout, 0, info.time_base, info.color)


class LiveMatter:
    """Mattes for a live session.

    Parameters
    ----------
    levels : sequence of SizeLevel
        From the largest network to the smallest; more than one makes the size adaptive.
    idle_fps : float
        Runs of the network a second while the image is still; 0 runs it for every frame.
    clock : callable
        As ``time.monotonic``.
    """

    def __init__(
        self, levels: Sequence[SizeLevel], *, idle_fps: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._levels = tuple(levels)
        self._clock = clock
        self._idle_interval = 1 / idle_fps if idle_fps else 0.0
        self._controller = AdaptiveController([level.size for level in levels], clock())
        self._stillness = Stillness()
        self._last: Matte | None = None
        self._last_run = float("-inf")
        self._moved = clock()
        self.frames = 0
        self.reused = 0
        self.busy = 0.0

    @property
    def size(self) -> int:
        """Long side of the network's input in use."""
        return self._controller.size

    @property
    def steps(self) -> int:
        """How often the size was changed."""
        return self._controller.steps

    def warm(self, info: StreamInfo) -> None:
        """Run every size on blank frames, so that the first real one does not wait for a compiler."""
        for level in self._levels:
            for count, margin in enumerate(2 * MARGINS):
                # Later and later, since a smoother only works from the second frame on.
                moment = round(count * WARM_STEP / info.time_base)
                self._run(level, replace(blank_frame(info, margin), pts=moment))
            level.matter.reset()

    def process(self, frame: Frame, settings: LiveSettings, drops: int) -> Matte:
        """The matte of a frame, or, where the image stands still or is frozen, the last image and its own matte.

        Parameters
        ----------
        frame : Frame
        settings : LiveSettings
            In force for this frame.
        drops : int
            Frames dropped so far: what the network's size adapts to.

        Raises
        ------
        ModelError
            The network gave nothing.
        """
        self.frames += 1
        now = self._clock()
        if self._last is not None and (settings.freeze or self._idle(frame, now)):
            self.reused += 1
            return self._again(self._last, frame)
        level = self._choose(now, drops)
        if level.smoother is not None and level.smoother.mode != settings.smooth:
            level.smoother.mode = settings.smooth
            level.smoother.reset()
        if level.controls is not None:
            wanted = {name: getattr(settings, name) for name in CONTROLS}
            level.controls.settings = replace(level.controls.settings, **wanted)
        matte = self._run(level, frame)
        self._last_run = now
        spent = self._clock() - now
        self.busy = spent if not self.busy else self.busy + BUSY_SHARE * (spent - self.busy)
        self._last = matte
        if self._idle_interval:
            self._stillness.remember(frame)
        return matte

    def reset(self) -> None:
        """After an error or another camera: nothing of the images before may be used."""
        self._last = None
        self._last_run = float("-inf")
        for level in self._levels:
            level.matter.reset()

    def close(self) -> None:
        """Release the engines."""
        for level in self._levels:
            level.matter.close()

    def _idle(self, frame: Frame, now: float) -> bool:
        calm = self._idle_interval and now - self._moved > CALM
        if now - self._last_run >= (max(self._idle_interval, CALM_INTERVAL) if calm else self._idle_interval):
            return False
        if self._stillness.moved(frame):
            self._moved = now
            return False
        return True

    def _choose(self, now: float, drops: int) -> SizeLevel:
        before, others = self._controller.level, self._controller.others
        level = self._controller.update(now, self.frames, drops, self.busy)
        if self._controller.others > others == 0:
            _log.warning(
                "frames are dropped although the network takes only %.0f ms: compositing, the background or other "
                "programs are what is slow",
                1000 * self.busy,
            )
        if level != before:
            self._levels[level].matter.reset()
            self.busy = 0.0
            way = "down" if level > before else "up"
            _log.info("network size steps %s to %d", way, self._controller.size)
        return self._levels[level]

    @staticmethod
    def _run(level: SizeLevel, frame: Frame) -> Matte:
        mattes = [*level.matter.process(frame), *level.matter.drain()]
        if len(mattes) != 1:
            raise ModelError(f"the network gave {len(mattes)} mattes for one frame")
        return mattes[0]

    @staticmethod
    def _again(last: Matte, frame: Frame) -> Matte:
        return replace(last, frame=last.frame.dated_as(frame))
