"""Locks between processes, where the system has advisory ones (not on Windows)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["locked"]


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a file, made where it is not there, for this process alone.

    The holder may rename or remove the file: who waited for it then locks the one that stands there now.

    Raises
    ------
    BlockingIOError
        Another process holds it and ``wait`` is false.
    """
    try:
        import fcntl
    except ImportError:  # Windows: a file that is open in one process cannot be renamed by another
        yield
        return
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    file = path.open("ab")
    try:
        while True:
            try:
                fcntl.flock(file, how)
            except BlockingIOError:
                raise
            except OSError:  # some network file systems have no locks; one user at a time works there all the same
                break
            if _stands_at(file, path):
                break
            file.close()
            file = path.open("ab")
        yield
    finally:
        file.close()


def _stands_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
