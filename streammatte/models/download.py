"""Fetching files over HTTP with pooch: several attempts, the length and the checksum compared."""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import requests

from streammatte._version import __version__
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.cards import RemoteFile

__all__ = ["Progress", "fetch", "mirrored", "mismatch"]

CHUNK = 1 << 18
"""Bytes a read: large enough that Python costs nothing beside the network, small enough for a live progress bar."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be another at the next attempt."""
_EXCESS = 4 << 20
"""Bytes beyond the card's size at which a download is given up before its end."""
MISSING = frozenset({404, 410})

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and all bytes (None: the server does not say)."""


def fetch(
    remote: RemoteFile, folder: Path, *, attempts: int = 5, timeout: float = 30.0, on_progress: Progress | None = None
) -> Path:
    """Fetch a file into a folder, where it appears when it is complete and checked.

    Parameters
    ----------
    remote : RemoteFile
        Its size and SHA-256 are checked where they are known, else the length that the server declares.
    folder : Path
        Must exist.
    attempts : int
        How often it is tried; between them pooch waits 1, 2, 3, ... up to 10 seconds.
    timeout : float
        Seconds that a silent server is waited for.
    on_progress : callable, optional

    Raises
    ------
    ModelNotFoundError
        The server does not have the file.
    ModelError
        It cannot be reached or refuses, breaks off again and again, or sends another file than the card describes.
    OSError
        The disk is full.
    """
    if attempts < 1 or timeout <= 0:
        raise ConfigError(f"attempts must be 1 or more and the timeout positive; got {attempts}, {timeout}")
    headers = {"User-Agent": f"streammatte/{__version__}", "Accept-Encoding": "identity"}
    bar = _Bar(on_progress, remote.size)
    downloader = _Downloader(progressbar=bar, chunk_size=CHUNK, timeout=timeout, headers=headers)
    downloader.size = remote.size
    name = remote.filename
    files = pooch.create(
        folder, base_url="", registry={name: remote.sha256}, urls={name: remote.url}, retry_if_failed=attempts - 1
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # it prints every step on standard error
    try:
        return Path(files.fetch(name, downloader=downloader))
    except requests.RequestException as error:
        host = urllib.parse.urlsplit(remote.url).netloc
        raise ModelError(
            f"cannot fetch from {host} ({type(error).__name__}: {' '.join(str(error).split())}); "
            f"try again later, name another server by --mirror, or fetch {remote.url} on another machine"
        ) from error
    except ValueError as error:
        reason = str(error).partition(". Deleted")[0]
        raise ModelError(
            f"{remote.url} is not the file that the card describes ({reason}); nothing was kept, try another --mirror"
        ) from error
    finally:
        logger.setLevel(level)


def mirrored(remote: RemoteFile, mirror: str | None) -> RemoteFile:
    """The same file on a mirror, whose address takes the place of scheme and host. Raises ConfigError."""
    if mirror is None:
        return remote
    try:
        parts = urllib.parse.urlsplit(mirror)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port  # reading it checks it
    except ValueError:
        valid = False
    if not valid or set("?#") & set(mirror):
        raise ConfigError(
            f"--mirror must be an http or https address with a host, such as https://example.org/copy; got {mirror!r}"
        )
    return RemoteFile(mirror.rstrip("/") + urllib.parse.urlsplit(remote.url).path, remote.sha256, remote.size)


def mismatch(path: Path, remote: RemoteFile) -> str | None:
    """In what a file differs from the size and SHA-256 that its card states; None where it does not."""
    size = path.stat().st_size
    if remote.size not in (None, size):
        return f"it has {size} bytes, the card states {remote.size}"
    if remote.sha256 is not None and pooch.file_hash(str(path)) != remote.sha256.lower():
        return "its SHA-256 is not the card's"
    return None


class _Downloader(pooch.HTTPDownloader):
    """Ends the attempts where another would not help, and compares the length."""

    size: int | None = None

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        try:
            super().__call__(url, output_file, pooch, check_only)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in MISSING:
                raise ModelNotFoundError(f"{url} does not exist ({status}); try another --mirror") from error
            if status not in TRANSIENT:
                raise ModelError(f"{url} is refused ({status}); try another --mirror") from error
            raise
        size = Path(output_file).stat().st_size
        if not size:
            raise ValueError("it is empty")
        if self.size not in (None, size):
            raise ValueError(f"it has {size} bytes, the card states {self.size}")


class _Bar:
    """What pooch takes as a progress bar; ends a download that is longer than it may be."""

    def __init__(self, report: Progress | None, size: int | None) -> None:
        self._report = report
        self._size = size
        self._have = 0
        self.total = 0

    def update(self, count: int) -> None:
        """So many bytes more; the last piece may be smaller than pooch counts it."""
        if self._size is not None and self._have + count > self._size + _EXCESS:
            raise ValueError(f"it has more bytes than the {self._size} that the card states")
        self._have = min(self._have + count, self.total or self._have + count)
        if self._report is not None:
            self._report(self._have, self.total or None)

    def reset(self) -> None:
        """An attempt has ended."""
        self._have = 0

    def close(self) -> None:
        """Nothing to release."""
