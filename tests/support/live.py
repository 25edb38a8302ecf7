"""A room, a person in it, a camera that fails on demand and a sink that remembers: for tests of live sessions.

Every pixel of the room is unlike the background, so that any frame that reached a sink unmatted is seen at once.
"""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import groupby

import numpy as np

from streammatte.compositing import StreamCompositor, parse_background
from streammatte.errors import DeviceError
from streammatte.frames import ColorSpec, Frame, Layout, Matte, StreamInfo
from streammatte.live import LiveMatter, LivePipeline, Scene, Scenes, SettingsStore, SizeLevel

WIDTH, HEIGHT = 96, 64
BACKGROUND = "#3060a0"
RGB = np.array((0x30, 0x60, 0xA0), int)
NEAR = 6
"""Levels that YUV and back may move a colour by."""
COLOR = ColorSpec(6, 6, 6, False)
MICRO = Fraction(1, 1_000_000)
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
PERSON = (_Y - HEIGHT / 2) ** 2 + (_X - WIDTH / 2) ** 2 < 18**2
OUTSIDE = (_Y - HEIGHT / 2) ** 2 + (_X - WIDTH / 2) ** 2 > 22**2
INSIDE = (_Y - HEIGHT / 2) ** 2 + (_X - WIDTH / 2) ** 2 < 14**2


def room(index: int) -> tuple[np.ndarray, ...]:
    """Planes of a room in loud colours that changes with every frame; the person is in the middle, as loud."""
    luma = np.where((_X // 8 + _Y // 8 + index) % 2, 210, 150).astype(np.uint8)
    small = (HEIGHT // 2, WIDTH // 2)
    return luma, np.full(small, 60, np.uint8), np.full(small, 200, np.uint8)


class RoomCamera:
    """A camera at its own pace.

    ``fails_at`` is the frame at which it raises, ``stalls_at`` the one before which it is silent for ``stall`` seconds.
    """

    def __init__(self, frames=10_000, rate=30, fails_at=None, stalls_at=None, stall=0.0, size=(WIDTH, HEIGHT)):
        self.info = StreamInfo(*size, Layout.YUV420, MICRO, Fraction(rate), COLOR, name="room")
        self._frames, self._rate = frames, rate
        self._fails_at, self._stalls_at, self._stall = fails_at, stalls_at, stall
        self.closed = False

    def frames(self):
        start = time.monotonic()
        for index in range(self._frames):
            if index == self._fails_at:
                raise DeviceError("the camera was pulled out")
            if index == self._stalls_at:
                time.sleep(self._stall)
            due = start + index / self._rate
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            yield Frame(room(index), Layout.YUV420, round((now - start) / MICRO), MICRO, COLOR, index, captured=now)

    def interrupt(self):
        pass

    def close(self):
        self.closed = True


class RoomMatter:
    """Knows where the person is. ``fault(frame)`` may raise, sleep, or give another matte."""

    def __init__(self, fault=None):
        self.fault = fault

    def process(self, frame):
        alpha = np.where(PERSON, 255, 0).astype(np.uint8)
        matte = Matte(frame, alpha, (alpha / 255).astype(np.float32))
        return [(self.fault and self.fault(frame, matte)) or matte]

    def drain(self):
        return []

    def close(self):
        pass

    def reset(self):
        pass


class EyeSink:
    """Remembers what it was shown, as RGB, with the time it came."""

    continuous = True
    main_thread = False

    def __init__(self, raises_at=None, slow=0.0):
        self.seen, self.times, self.frames = [], [], []
        self.closed = self.aborted = False
        self._raises_at, self._slow = raises_at, slow

    def open(self, info):
        from streammatte.media.convert import PixelConverter

        self._pixels = PixelConverter("rgb24")

    def process(self, item):
        if self._raises_at is not None and len(self.seen) >= self._raises_at:
            raise OSError("the device was pulled out")
        time.sleep(self._slow)
        self.seen.append(self._pixels.array(item))
        self.times.append(time.monotonic())
        self.frames.append(item)
        return []

    def drain(self):
        return []

    def close(self):
        self.closed = True

    def interrupt(self):
        pass

    def abort(self):
        self.aborted = True


class TimedEye(EyeSink):
    """The same as a recording: placeholder frames outside the stream's time do not reach it."""

    continuous = False


def kind_of(image: np.ndarray) -> str:
    """``matted``, ``hold`` or ``UNMATTED``: every pixel outside the person is compared with the background."""
    off = np.abs(image.astype(int) - RGB).max(axis=-1)
    if (off[OUTSIDE] > NEAR).any():
        return "UNMATTED"
    return "hold" if (off[INSIDE] <= NEAR).all() else "matted"


def runs(images) -> list[tuple[str, int]]:
    """What a sink saw, in runs: [("hold", 3), ("matted", 100), ...]."""
    return [(kind, len(list(group))) for kind, group in groupby(kind_of(image) for image in images)]


def shown_runs(name: str, images) -> list[tuple[str, int]]:
    """The runs, printed for the fault table (pytest -s)."""
    found = runs(images)
    print(f"\n{name}: " + ", ".join(f"{count} {kind}" for kind, count in found))
    return found


def scenes(*names: str, hold: str | None = None) -> Scenes:
    def compositor(name):
        return StreamCompositor(parse_background(name))

    return Scenes(
        [Scene(name, compositor(name)) for name in names],
        Scene("blur", compositor("blur")),
        None if hold is None else compositor(hold),
    )


def pipeline(source, sinks, *, fault=None, backgrounds=(BACKGROUND,), idle_fps=0.0, hold=None, **more) -> LivePipeline:
    return LivePipeline(
        source,
        lambda: LiveMatter([SizeLevel(512, RoomMatter(fault))], idle_fps=idle_fps),
        scenes(*backgrounds, hold=hold),
        sinks,
        SettingsStore(backgrounds),
        **more,
    )
