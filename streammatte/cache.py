"""Where compiled models, numba kernels and fetched networks are kept."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

__all__ = ["prepare_numba_cache", "user_cache_dir"]


def user_cache_dir(*parts: str) -> Path:
    """The user's cache folder for the package, created; a temporary one where none can be written.

    ``STREAMMATTE_HOME`` wins, then the system's custom: ``XDG_CACHE_HOME`` or ``~/.cache``, ``~/Library/Caches``,
    ``%LOCALAPPDATA%``.
    """
    for base in _candidates():
        folder = base.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="streammatte-"))


def prepare_numba_cache() -> None:
    """Point numba's cache at the user's folder, so that a read-only installation starts as fast as another.

    Must run before numba is imported; a ``NUMBA_CACHE_DIR`` that the user set stays.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache_dir("numba")))


def _candidates() -> list[Path]:
    home = os.environ.get("STREAMMATTE_HOME")
    found = [Path(home).expanduser()] if home else []
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        found += [Path(local) / "streammatte"] if local else []
    elif sys.platform == "darwin":
        found.append(Path.home() / "Library" / "Caches" / "streammatte")
    else:
        xdg = os.environ.get("XDG_CACHE_HOME")
        found.append((Path(xdg) if xdg else Path.home() / ".cache") / "streammatte")
    found.append(Path(tempfile.gettempdir()) / f"streammatte-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    return found
