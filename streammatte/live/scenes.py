"""The backgrounds of a live session: all are ready, one is in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streammatte.errors import ModelError
from streammatte.frames import Composite, Frame, Matte, StreamInfo
from streammatte.live.framing import Framer
from streammatte.live.matting import MARGINS, blank_frame
from streammatte.live.settings import LiveSettings
from streammatte.protocols import Compositor

__all__ = ["Scene", "Scenes"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A background by name and the compositor that lays it in; ``adjust`` puts settings in force before each frame."""

    name: str
    compositor: Compositor
    adjust: Callable[[LiveSettings], None] | None = None
    moving: bool = False
    """The background changes by itself: a video."""


class Scenes:
    """Chooses the compositor by the settings, so that a change costs no frame.

    Parameters
    ----------
    scenes : sequence of Scene
        The backgrounds in the order of the settings.
    blur : Scene
        What ``blur`` shows.
    hold : Compositor, optional
        Gives the placeholder frame; without it the background in use does, with no person in front.
    """

    def __init__(self, scenes: Sequence[Scene], blur: Scene, hold: Compositor | None = None) -> None:
        self._scenes = tuple(scenes)
        self._blur = blur
        self._hold = hold
        self._holds: dict[Scene, Frame] = {}
        self._current: Scene | None = None
        self._info: StreamInfo | None = None
        self._adding = threading.Lock()
        self._framer = Framer()
        self._made: tuple[Scene, Matte, LiveSettings, Composite] | None = None

    def prepare(self, info: StreamInfo) -> None:
        """Make the placeholder frames. Each compositor runs, which also compiles its kernels."""
        with self._adding:
            self._info = info
            for scene in (*self._scenes, self._blur):
                self._holds[scene] = self._prepared(scene, info)

    def add(self, scene: Scene, listed: Callable[[], None]) -> None:
        """One more background, the last of the list. It is made ready in the caller's thread, so no frame waits.

        ``listed`` is called before another one can be added, so that a list of names has the same order; where it
        raises, nothing is added.
        """
        with self._adding:
            if self._info is not None:
                self._holds[scene] = self._prepared(scene, self._info)
            before, self._scenes = self._scenes, (*self._scenes, scene)
            try:
                listed()
            except BaseException:
                self._scenes = before
                self._holds.pop(scene, None)
                raise

    def _prepared(self, scene: Scene, info: StreamInfo) -> Frame:
        """The placeholder frame of a scene."""
        tight, loose = (
            Matte(frame, np.zeros((info.height, info.width), np.uint8), np.zeros((64, 64), np.float32))
            for frame in (blank_frame(info, margin) for margin in MARGINS)
        )
        made = _compose(scene.compositor, tight).frame
        _compose(scene.compositor, loose)
        scene.compositor.reset()
        if self._hold is None:
            return made
        return next(iter(self._holds.values()), None) or _compose(self._hold, tight).frame

    def interrupt(self) -> None:
        """Wait for no background any longer; safe from any thread."""
        for scene in (*self._scenes, self._blur):
            scene.compositor.interrupt()

    def close(self) -> None:
        """Release every background. Safe to call twice."""
        for scene in (*self._scenes, self._blur):
            scene.compositor.close()
        if self._hold is not None:
            self._hold.close()

    def hold(self, settings: LiveSettings) -> Frame:
        """The placeholder frame that belongs to the settings."""
        return self._holds[self._scene(settings)]

    def compose(self, matte: Matte, settings: LiveSettings) -> Composite:
        """The composite of a matte by the settings."""
        scene = self._scene(settings)
        if scene is not self._current:
            # A video background starts again: catching up with the time it was away would stall the image.
            scene.compositor.reset()
            self._current = scene
        if scene.adjust is not None:
            scene.adjust(settings)
        again = self._again(scene, matte, settings)
        if again is not None:
            return again
        shown = _mirrored(matte) if settings.mirror else matte
        made = _compose(scene.compositor, shown)
        self._made = (scene, matte, settings, made)
        if settings.framing == "off":
            self._framer.reset()
            return made
        return replace(made, frame=self._framer.apply(shown, made.frame))

    def _again(self, scene: Scene, matte: Matte, settings: LiveSettings) -> Composite | None:
        """The composite before, at another time, where nothing differs; None where something does."""
        if self._made is None or scene.moving or settings.framing != "off":
            return None
        before_scene, before, before_settings, made = self._made
        same = matte.alpha is before.alpha and matte.frame.planes is before.frame.planes
        if not same or scene is not before_scene or settings is not before_settings:
            return None
        return replace(made, frame=made.frame.dated_as(matte.frame))

    def _scene(self, settings: LiveSettings) -> Scene:
        return self._blur if settings.blur else self._scenes[settings.background]


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
