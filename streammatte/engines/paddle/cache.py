"""What the paddle engine keeps between runs: under a key of all it depends on, whole, one process at a time."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streammatte.errors import ModelError
from streammatte.models import locks

__all__ = ["digest", "keep", "locked", "recall"]

log = logging.getLogger(__name__)


def digest(circumstances: object, *paths: Path) -> str:
    """A key of the circumstances and of the contents of files. Raises ModelError where one cannot be read."""
    sum_ = hashlib.sha256(repr(circumstances).encode())
    for path in paths:
        try:
            with path.open("rb") as file:
                sum_.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}; fetch or export the model again") from error
    return sum_.hexdigest()[:24]


def recall(path: Path) -> str:
    """What was kept; empty where nothing readable was."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def keep(path: Path, text: str) -> None:
    """Write a small file as a whole or not at all; a cache that cannot be written only costs time."""
    work = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        work.write_text(text, encoding="utf-8")
        work.replace(path)
    except OSError as error:
        log.info("%s cannot be kept (%s); it will be found out again", path, error.strerror)
        work.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder of the cache; waits while another process or thread holds it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(folder / "lock", wait=False))
        except BlockingIOError:
            log.info("another process is preparing the same network; waiting for it")
            stack.enter_context(locks.locked(folder / "lock", wait=True))
        yield
