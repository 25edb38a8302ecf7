"""A folder of backgrounds, watched while the session runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from streammatte.errors import StreammatteError
from streammatte.file_names import is_video_name
from streammatte.live.settings import MAX_BACKGROUNDS
from streammatte.media.image_reader import STILL_SUFFIXES

__all__ = ["BackgroundFolder", "background_files"]

_log = logging.getLogger(__name__)

_EVERY = 1.0
"""Seconds between two looks into the folder; a file is taken when two of them found it of the same size."""


def background_files(folder: Path) -> dict[str, Path]:
    """Images and videos of a folder by name; hidden files and what lies in or leads to other folders are left out."""
    found = {}
    for path in sorted(folder.iterdir()):
        inside = path.is_file() and path.resolve().parent == folder.resolve()
        if inside and not path.name.startswith(".") and (is_video_name(path) or path.suffix.lower() in STILL_SUFFIXES):
            found[path.name] = path
    return found


class BackgroundFolder:
    """Adds what comes into a folder; a Helper of the pipeline.

    Parameters
    ----------
    folder : Path
    known : collection of str
        Names that are there already.
    add : callable
        Takes a path and a name; raises StreammatteError where the file is no background.
    every : float
        Seconds between two looks.
    """

    name = "backgrounds"

    def __init__(self, folder: Path, known: set[str], add: Callable[[str, str], object], every: float = _EVERY) -> None:
        self._folder, self._known, self._add, self._every = folder, set(known), add, every
        self._sizes: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until ``interrupt``."""
        while not self._stopped.wait(self._every):
            self.look()

    def interrupt(self) -> None:
        """End ``run`` soon."""
        self._stopped.set()

    def look(self, *, settled: bool = True) -> None:
        """Add the files that are new: with ``settled`` those whose size was the same at the last look.

        A file that cannot be read is tried again when its size has changed.
        """
        try:
            files = {name: (path, path.stat().st_size) for name, path in background_files(self._folder).items()}
        except OSError as error:
            _log.debug("%s cannot be listed: %s", self._folder, error)
            return
        for name, (path, size) in files.items():
            complete = self._sizes.get(name) == size or not settled
            self._sizes[name] = size
            if complete and size and name not in self._known and self._failed.get(name) != size:
                self._try(name, path, size)

    def _try(self, name: str, path: Path, size: int) -> None:
        if len(self._known) >= MAX_BACKGROUNDS:
            self._known.add(name)
            _log.warning("background %s is left out: there are %d already", name, MAX_BACKGROUNDS)
            return
        try:
            self._add(str(path), name)
        except StreammatteError as error:
            self._failed[name] = size
            _log.warning("background %s is left out: %s", name, error)
        else:
            self._known.add(name)
            _log.info("background %s was added", name)
