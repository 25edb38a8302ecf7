"""A folder of backgrounds, watched while the session runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from streammatte.errors import StreammatteError
from streammatte.media.image_reader import STILL_SUFFIXES

__all__ = ["MAX_BACKGROUNDS", "BackgroundFolder", "background_files"]

_log = logging.getLogger(__name__)

_VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".m4v", ".gif"})
_EVERY = 1.0
"""Seconds between two looks into the folder; a file is taken when two looks found it of the same size."""
MAX_BACKGROUNDS = 64
"""Backgrounds that are kept ready; further files are left out."""


def background_files(folder: Path) -> dict[str, Path]:
    """Images and videos of a folder by name; hidden files and what lies in or leads to other folders are left out."""
    found = {}
    for path in sorted(folder.iterdir()):
        inside = path.is_file() and path.resolve().parent == folder.resolve()
        if inside and not path.name.startswith(".") and path.suffix.lower() in _VIDEOS | STILL_SUFFIXES:
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
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until ``interrupt``."""
        while not self._stopped.wait(self._every):
            self.look()

    def interrupt(self) -> None:
        """End ``run`` soon."""
        self._stopped.set()

    def look(self) -> None:
        """Add the files that are new and whole."""
        try:
            files = background_files(self._folder)
        except OSError as error:
            _log.debug("%s cannot be listed: %s", self._folder, error)
            return
        for name, path in files.items():
            if name in self._known:
                continue
            try:
                size = path.stat().st_size
            except OSError:
                continue
            if self._sizes.get(name) != size or not size:
                self._sizes[name] = size  # still being written
                continue
            self._known.add(name)
            if len(self._known) > MAX_BACKGROUNDS:
                _log.warning("background %s is left out: there are %d already", name, MAX_BACKGROUNDS)
                continue
            try:
                self._add(str(path), name)
                _log.info("background %s was added", name)
            except StreammatteError as error:
                _log.warning("background %s is left out: %s", name, error)
