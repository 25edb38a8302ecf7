"""The camera on demand: open only while a program reads the virtual camera, the placeholder frame meanwhile."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from streammatte.errors import StreammatteError
from streammatte.frames import Frame, StreamInfo
from streammatte.media.planes import Target, convert_planes
from streammatte.protocols import LiveSource
from streammatte.sources import v4l2

__all__ = ["OnDemandSource", "read_by_others"]

_log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks for readers while the camera is on."""
LOOK_WHILE_OFF = 1.0
"""The same while it is off: a look may cost a walk over the open files of all processes."""
KEEP = 3.0
"""Seconds that the camera stays open after the last reader: programs close and open it while they start."""
RETRY = 2.0
"""Seconds between two attempts to open a camera that is not there."""


def read_by_others(device: str, processes: Path = Path("/proc")) -> bool:
    """True where another program takes images from a device: as v4l2loopback counts them, else by open files.

    Without the driver's count, a process of this user that has the device (or file) open is one.

    Parameters
    ----------
    device : str
        A path. True as well where it is none, or where the system has no list of open files: then it cannot be known.
    processes : Path
        Linux's folder of processes.
    """
    try:
        wanted = os.stat(device)  # noqa: PTH116 - the very node, by number
    except OSError:
        return True
    clients = v4l2.capture_clients(device) if stat.S_ISCHR(wanted.st_mode) and sys.platform == "linux" else None
    if clients is not None:
        return clients > 0
    if not processes.is_dir():
        return True
    own = str(os.getpid())
    for folder in processes.iterdir():
        if not folder.name.isdigit() or folder.name == own:
            continue
        try:
            links = list((folder / "fd").iterdir())
        except OSError:  # another user's, or gone
            continue
        for link in links:
            try:
                if not link.readlink().is_relative_to(Path(device).parent):
                    continue
                found = link.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


class OnDemandSource:
    """A LiveSource that has its camera open only while it is wanted.

    Parameters
    ----------
    opening : callable
        Opens the camera.
    wanted : callable
        True while a program reads or a page is open; called every half second.
    info : StreamInfo, optional
        The stream's description, into which frames are fitted; without it the camera is opened once to learn it, and
        has to be there.
    clock : callable
        As ``time.monotonic``.

    Raises
    ------
    DeviceError, SourceError
        There is no ``info``, and the camera cannot be opened.
    """

    def __init__(
        self,
        opening: Callable[[], LiveSource],
        wanted: Callable[[], bool],
        info: StreamInfo | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opening, self._wanted, self._clock = opening, wanted, clock
        self.on_lost: Callable[[], None] = lambda: None
        self._stopped = threading.Event()
        self._source: LiveSource | None = None
        if info is None:
            first = opening()
            info = first.info
            first.close()
        self.info = info
        self._target = Target.of(info)
        self._origin: float | None = None
        self._index = 0
        self._last = -1
        self._logged = ""
        self.openings = 0

    def frames(self) -> Iterator[Frame]:
        """Frames while the camera is wanted, until ``interrupt``."""
        while not self._stopped.is_set():
            if not self._wanted():
                self.on_lost()
                self._stopped.wait(LOOK_WHILE_OFF)
                continue
            source = self._try_to_open()
            if source is None:
                self.on_lost()
                self._stopped.wait(RETRY)
                continue
            try:
                yield from self._while_wanted(source)
            except StreammatteError as error:
                _log.warning("%s; it is tried again", error)
                self._stopped.wait(RETRY)
            finally:
                self._source = None
                source.close()

    def interrupt(self) -> None:
        """End ``frames`` soon. Safe from any thread."""
        self._stopped.set()
        source = self._source
        if source is not None:
            source.interrupt()

    def close(self) -> None:
        """Release the camera. Safe to call twice."""
        self.interrupt()

    def _try_to_open(self) -> LiveSource | None:
        try:
            source = self._opening()
        except StreammatteError as error:
            if str(error) != self._logged:
                _log.warning("the camera cannot be opened yet: %s", error)
            self._logged = str(error)
            return None
        self._logged = ""
        self.openings += 1
        _log.info("the camera is on: %s", source.info.name)
        source.on_lost = self.on_lost
        self._source = source
        if self._stopped.is_set():
            source.interrupt()
        return source

    def _while_wanted(self, source: LiveSource) -> Iterator[Frame]:
        looked = seen = self._clock()
        for frame in source.frames():
            now = self._clock()
            if now - looked >= LOOK:
                looked = now
                if self._wanted():
                    seen = now
                elif now - seen >= KEEP:
                    _log.info("no program reads the camera: it is off")
                    break
            yield self._dated(frame)
        self.on_lost()

    def _dated(self, frame: Frame) -> Frame:
        """On one clock for all openings, and of the stream's own size."""
        captured = time.monotonic() if frame.captured is None else frame.captured
        self._origin = captured if self._origin is None else self._origin
        self._last = max(self._last + 1, round((captured - self._origin) / self.info.time_base))
        planes, owner = frame.planes, frame.owner
        if Target.of(frame) != self._target:
            planes, owner = convert_planes(frame, self._target, "contain"), None
        index, self._index = self._index, self._index + 1
        return replace(
            frame,
            planes=planes,
            layout=self.info.layout,
            color=self.info.color,
            pts=self._last,
            time_base=self.info.time_base,
            index=index,
            captured=captured,
            owner=owner,
        )
