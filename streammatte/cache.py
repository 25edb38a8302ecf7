"""Where compiled models, numba kernels and fetched networks are kept.

``STREAMMATTE_HOME`` is an order: what must last is kept there or nowhere. Without it the system's custom is followed:
``XDG_CACHE_HOME`` or ``~/.cache``, ``~/Library/Caches``, ``%LOCALAPPDATA%``; where that cannot be written, a folder of
the user's own among the temporary files.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from streammatte.errors import ConfigError, DiskFullError, StreammatteError

__all__ = ["lasting_dir", "prepare_numba_cache", "user_cache_dir", "writing"]

log = logging.getLogger(__name__)


def user_cache_dir(*parts: str) -> Path:
    """A folder for what can be made again, created; always one that can be written.

    Where ``STREAMMATTE_HOME`` cannot be written it is a temporary one.
    """
    ordered = _ordered()
    first = ordered or _custom()
    if first is not None and (folder := _made(first.joinpath(*parts))) is not None:
        return folder
    base = _shared() or _temporary()
    if ordered is not None and not _is_folder(ordered):
        _tell(ordered, base)
    return _made(base.joinpath(*parts)) or _temporary()


def lasting_dir(*parts: str) -> Path:
    """The folder of what was fetched once: the one that is there, also read-only, else where it would be made.

    Nothing is created; who writes makes it, under :func:`writing`.
    """
    base = _ordered()
    if base is None:
        base = _custom()
        if base is None or not (_is_folder(base.joinpath(*parts)) or _could_be_made(base)):
            base = _shared() or _temporary()
    return base.joinpath(*parts)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write below ``folder``; what the system refuses is told with the next step.

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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"no space is left in {folder}; free some and run it again") from error
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "set STREAMMATTE_HOME to a folder that you may write to"
        ) from error


def prepare_numba_cache() -> None:
    """Point numba's cache at the user's folder, so that a read-only installation starts as fast as another.

    Must run before numba is imported; a ``NUMBA_CACHE_DIR`` that the user set stays.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache_dir("numba")))


def _ordered() -> Path | None:
    home = os.environ.get("STREAMMATTE_HOME")
    if not home:
        return None
    try:
        return Path(home).expanduser()
    except RuntimeError:  # ~somebody who does not exist: a folder of that name, as a shell takes it
        return Path(home)


def _custom() -> Path | None:
    """The system's place for the user's caches; None where it cannot be told, as for a user without a home."""
    named = {"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME")
    if base := os.environ.get(named):
        return Path(base) / "streammatte"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    return home / below / "streammatte"


def _shared() -> Path | None:
    """The user's folder among everybody's temporary files; None where somebody else made or may write to it."""
    folder = Path(tempfile.gettempdir()) / f"streammatte-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(facts.st_mode):
        return None
    if hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & 0o022):
        return None
    return folder


@cache
def _temporary() -> Path:
    """One a process: what is kept twice by a run must be found again by it."""
    return Path(tempfile.mkdtemp(prefix="streammatte-"))


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _could_be_made(folder: Path) -> bool:
    ground = next((path for path in (folder, *folder.parents) if os.access(path, os.F_OK)), None)
    return ground is not None and _is_folder(ground) and os.access(ground, os.W_OK | os.X_OK)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # below a folder that may not be looked into
        return False


@cache
def _tell(ordered: Path, base: Path) -> None:
    log.warning(
        "STREAMMATTE_HOME is %s, which is no folder and cannot be made one; what is compiled is kept in %s",
        ordered,
        base,
    )
