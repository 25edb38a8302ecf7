"""Where compiled models, numba kernels and fetched networks are kept.

If ``STREAMMATTE_HOME`` is set, persistent files go only there; otherwise the platform's cache directory is used. What
can be made again falls back to a folder among the temporary files where neither can be written.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from streammatte.errors import ConfigError, DiskFullError, StreammatteError

__all__ = [
    "LIMITS",
    "Entry",
    "entries",
    "file_sha256",
    "lasting_dir",
    "locked",
    "trim",
    "user_cache_dir",
    "writing",
]

log = logging.getLogger(__name__)

LIMITS = {
    "converted": 4 << 30,
    "openvino": 2 << 30,
    "tensorrt": 4 << 30,
    "numba": 256 << 20,
    "foregrounds": 4 << 30,
    "outputs": 1 << 40,
}
"""Bytes that each cache may hold: some twenty conversions of the larger networks (200 MB each), a hundred compiled
graphs (20 MB), as many engines, the kernels (10 MB) of a dozen installations, foregrounds of some ten thousand training
images; what waits to be uploaded is never removed."""


def user_cache_dir(*parts: str) -> Path:
    """A folder for what can be made again, created; always one that can be written."""
    base = _base()
    for root in (base, _shared()):
        if root is not None and (folder := _made(root.joinpath(*parts))) is not None:
            return folder
        if root is base:
            _warn_once(base)
    return _made(_temporary().joinpath(*parts)) or _temporary()


def lasting_dir(*parts: str) -> Path:
    """The folder of what was fetched once. Nothing is created; the writer creates it, under :func:`writing`."""
    return (_base() or _temporary()).joinpath(*parts)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write below ``folder``; faults of the system become errors that name the next step.

    Raises
    ------
    DiskFullError
        No space is left.
    ConfigError
        It cannot be written for another reason.
    """
    try:
        yield
    except StreammatteError:
        raise
    except OSError as error:
        if error.errno in DiskFullError.ERRNOS:
            raise DiskFullError(f"no space is left in {folder}; free some and run it again") from error
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "set STREAMMATTE_HOME to a folder that you may write to"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this thread of this process; others wait."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process works in %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder directly inside a cache, its bytes, and when it was last used (seconds since 1970)."""

    path: Path
    size: int
    used: float

    def remove(self) -> None:
        """Delete it; on Windows a file that is open stays."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                log.info("%s stays in the cache (%s)", self.path, error.strerror)


def entries(name: str) -> list[Entry]:
    """What the cache ``name`` (of ``LIMITS``) holds, the least recently used first."""
    found = []
    for path in user_cache_dir(name).iterdir():
        if path.name != ".lock":
            files = [path, *path.rglob("*")] if path.is_dir() else [path]
            facts = [file.stat() for file in files if file.exists()]
            found.append(Entry(path, sum(fact.st_size for fact in facts), max((f.st_mtime for f in facts), default=0)))
    return sorted(found, key=lambda entry: entry.used)


def trim(name: str, keep: Path | None = None) -> None:
    """Delete the oldest entries of a cache while it holds more than its limit; ``keep`` stays, it is in use."""
    found = entries(name)
    excess = sum(entry.size for entry in found) - LIMITS[name]
    for entry in found:
        if excess <= 0:
            return
        if entry.path != keep:
            entry.remove()
            excess -= entry.size


def _base() -> Path | None:
    """The user's folder, created or not; None where none is known, as for a user without a home."""
    home = os.environ.get("STREAMMATTE_HOME")
    if home:
        return Path(os.path.expanduser(home))  # noqa: PTH111 -- leaves the ~ of an unknown user, as a shell does
    try:
        return user_cache_path("streammatte", appauthor=False, opinion=False)
    except RuntimeError:
        return None


def _shared() -> Path | None:
    """The user's folder among the temporary files; None where another user made it or may write to it."""
    folder = Path(tempfile.gettempdir()) / f"streammatte-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    if hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & 0o022):
        return None
    return folder if stat.S_ISDIR(facts.st_mode) else None


@cache
def _temporary() -> Path:
    """One folder a process, so that later calls find what earlier ones wrote."""
    return Path(tempfile.mkdtemp(prefix="streammatte-"))


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


@cache
def _warn_once(base: Path | None) -> None:
    """Warn of a path that cannot be a folder; a read-only folder is taken as intended."""
    if base is not None and not base.is_dir():
        log.warning("%s cannot be created; compiled files are kept among the temporary files", base)
