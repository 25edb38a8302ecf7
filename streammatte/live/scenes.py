"""What stands behind the person in a live session: all backgrounds ready, one in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import Composite, Frame, Matte, StreamInfo
from streammatte.live.matting import MARGINS, blank_frame
from streammatte.live.settings import LiveSettings
from streammatte.protocols import Compositor

__all__ = ["Scene", "Scenes"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A background by name, with the compositor that lays it in."""

    name: str
    compositor: Compositor


class Scenes:
    """Chooses the compositor by the settings, so that a change costs no frame.

    Parameters
    ----------
    scenes : sequence of Scene
        The backgrounds in the order of the settings.
    blur : Scene
        What ``blur`` shows.
    hold : Compositor, optional
        Gives the hold image; without it the background in use does, with nobody in front.
    """

    def __init__(self, scenes: Sequence[Scene], blur: Scene, hold: Compositor | None = None) -> None:
        self._scenes = (*scenes, blur)
        self._hold = hold
        self._holds: tuple[Frame, ...] = ()
        self._current = -1

    def prepare(self, info: StreamInfo) -> None:
        """Make the hold images. Each compositor runs, which also compiles its kernels."""
        tight, loose = (
            Matte(frame, np.zeros((info.height, info.width), np.uint8), np.zeros((64, 64), np.float32))
            for frame in (blank_frame(info, margin) for margin in MARGINS)
        )
        made = [_compose(scene.compositor, tight).frame for scene in self._scenes]
        for scene in self._scenes:
            _compose(scene.compositor, loose)
        if self._hold is not None:
            made = [_compose(self._hold, tight).frame] * len(made)
        self._holds = tuple(made)
        for scene in self._scenes:
            scene.compositor.reset()

    def interrupt(self) -> None:
        """Wait for no background any longer; safe from any thread."""
        for scene in self._scenes:
            scene.compositor.interrupt()

    def hold(self, settings: LiveSettings) -> Frame:
        """The hold image that belongs to the settings."""
        return self._holds[self._place(settings)]

    def compose(self, matte: Matte, settings: LiveSettings) -> Composite:
        """The composite of a matte as the settings want it."""
        place = self._place(settings)
        if place != self._current:
            # A video background starts again: catching up with the time it was away would stall the image.
            self._scenes[place].compositor.reset()
            self._current = place
        return _compose(self._scenes[place].compositor, _mirrored(matte) if settings.mirror else matte)

    def _place(self, settings: LiveSettings) -> int:
        return len(self._scenes) - 1 if settings.blur else settings.background


def _compose(compositor: Compositor, matte: Matte) -> Composite:
    composites = compositor.process(matte)
    if len(composites) != 1:
        raise ModelError(f"the compositor gave {len(composites)} images for one matte")
    return composites[0]


def _mirrored(matte: Matte) -> Matte:
    frame = replace(matte.frame, planes=tuple(np.ascontiguousarray(plane[:, ::-1]) for plane in matte.frame.planes))
    small = matte.small_planes
    return Matte(
        frame,
        np.ascontiguousarray(matte.alpha[:, ::-1]),
        np.ascontiguousarray(matte.small_alpha[:, ::-1]),
        None if small is None else tuple(np.ascontiguousarray(plane[:, ::-1]) for plane in small),
        None if matte.small_foreground is None else np.ascontiguousarray(matte.small_foreground[:, ::-1]),
    )
