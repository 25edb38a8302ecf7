"""Fetching files that are large, over connections that break.

A file arrives as ``NAME.part`` beside its place and is renamed when it is complete and checked: what stands under its
own name is whole. A transfer that broke off goes on where it stopped, in this process or in a later one.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.errors import ConfigError, DiskFullError, ModelError, ModelNotFoundError
from streammatte.zoo.cards import RemoteFile

__all__ = ["Retry", "fetch", "file_sha256", "mirrored"]

log = logging.getLogger(__name__)

CHUNK = 1 << 18
"""Bytes a read: large enough that Python costs nothing beside the network, small enough for a live progress bar."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be another at the next try."""
MISSING = frozenset({404, 410})
LONGEST_WAIT = 60.0
"""Seconds; a server that asks for more by Retry-After is given up sooner than waited for."""

Progress = Callable[[int, int | None], None]


class Retry:
    """When to try again.

    ``attempts`` in a row without a byte of progress end it; between them it waits ``backoff``, twice that, ... seconds.
    ``timeout`` is how long, in seconds, a silent server is waited for.
    """

    def __init__(self, attempts: int = 5, backoff: float = 1.0, timeout: float = 30.0) -> None:
        if attempts < 1 or backoff < 0 or timeout <= 0:
            raise ConfigError(f"attempts must be 1 or more, times positive; got {attempts}, {backoff}, {timeout}")
        self.attempts = attempts
        self.backoff = backoff
        self.timeout = timeout

    def wait(self, failures: int, asked: float | None) -> None:
        """Sleep after so many failures in a row, at least as long as the server asked."""
        time.sleep(min(max(self.backoff * 2 ** (failures - 1), asked or 0.0), LONGEST_WAIT))


class _BrokenOff(Exception):
    """The connection failed or closed before the end; what arrived is kept."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _WrongBytes(Exception):
    """All arrived and it is not what was promised."""


def fetch(remote: RemoteFile, target: Path, *, retry: Retry | None = None, on_progress: Progress | None = None) -> Path:
    """Fetch a file to ``target``; resumes what an earlier call left, and gives at once what is there and right.

    Parameters
    ----------
    remote : RemoteFile
        Its address (http or https), and its size in bytes and SHA-256 where they are known: both are checked.
        Where neither is known, the length that the server declares is.
    target : Path
        Where it goes; its folder must exist.
    retry : Retry, optional
        How often and how long; by default five attempts from one second on.
    on_progress : callable, optional
        Called with the bytes that have arrived and all bytes (None: the server does not say).

    Raises
    ------
    ModelNotFoundError
        The server does not have the file.
    ModelError
        It cannot be reached or refuses, breaks off again and again, or sends other bytes than the card promises; also
        where another process is fetching the same file.
    DiskFullError
        No space is left.
    """
    retry = retry or Retry()
    if urllib.parse.urlsplit(remote.url).scheme not in ("http", "https"):
        raise ModelError(f"only http and https addresses are fetched; got {remote.url}")
    if target.is_file():
        _check_promise(target, remote)
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        with _exclusive(part) as file:
            _fetch_into(file, part, remote, target, retry, on_progress)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space is left in {target.parent} for {target.name}; free some and run it again"
            ) from error
        raise
    return target


def mirrored(remote: RemoteFile, mirror: str | None) -> RemoteFile:
    """The same file on a mirror: the mirror's address takes the place of scheme and host, the path stays."""
    if mirror is None:
        return remote
    if urllib.parse.urlsplit(mirror).scheme not in ("http", "https"):
        raise ConfigError(f"--mirror must be an http or https address; got {mirror!r}")
    path = urllib.parse.urlsplit(remote.url).path
    return RemoteFile(mirror.rstrip("/") + path, remote.sha256, remote.size)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_into(
    file: BufferedRandom, part: Path, remote: RemoteFile, target: Path, retry: Retry, on_progress: Progress | None
) -> None:
    furthest = file.seek(0, os.SEEK_END)
    failures, fresh = 0, furthest == 0
    while True:
        try:
            _one_attempt(file, _Validator(part), remote, retry.timeout, on_progress)
            _check_bytes(file, remote)
        except _BrokenOff as error:
            have = file.seek(0, os.SEEK_END)
            failures = 1 if have > furthest else failures + 1
            furthest = max(furthest, have)
            if failures >= retry.attempts:
                raise ModelError(_offline(remote, target, str(error))) from error
            log.info("%s: %s; %d bytes so far, trying again", remote.filename, error, have)
            retry.wait(failures, error.wait)
        except _WrongBytes as error:
            file.truncate(0)
            if fresh:
                part.unlink(missing_ok=True)
                raise ModelError(
                    f"{remote.url} is not the file that the card describes ({error}); "
                    "nothing was kept, try another --mirror"
                ) from error
            log.warning("%s: %s after it was resumed; fetching it from the start", remote.filename, error)
            fresh = True
        else:
            return


class _Validator:
    """The server's tag of the version that a part is of, kept beside it, so that two versions are never joined."""

    def __init__(self, part: Path) -> None:
        self._path = part.with_name(f"{part.name}.tag")

    def read(self) -> str | None:
        """The tag of the part, where the server gave a strong one."""
        return self._path.read_text(encoding="ascii").strip() or None if self._path.is_file() else None

    def write(self, headers: Any) -> None:
        """Keep the tag of a body that starts from the beginning."""
        tag = headers.get("ETag", "")
        self._path.write_text(tag if tag.isascii() and not tag.startswith("W/") else "", encoding="ascii")

    def drop(self) -> None:
        """The file is complete."""
        self._path.unlink(missing_ok=True)


def _one_attempt(
    file: BufferedRandom, validator: _Validator, remote: RemoteFile, timeout: float, on_progress: Progress | None
) -> None:
    """Append to ``file`` what the server sends from its end on."""
    have = file.seek(0, os.SEEK_END)
    if remote.size is None or have != remote.size:
        headers = {"User-Agent": f"streammatte/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            tag = validator.read()
            headers |= {"If-Range": tag} if tag is not None else {}
        request = urllib.request.Request(remote.url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                    validator.write(response.headers)
                _take(file, response, have, remote, on_progress)
        except urllib.error.HTTPError as error:
            _refused(error, have, remote)
        except urllib.error.URLError as error:
            raise _BrokenOff(f"no connection ({error.reason})") from error
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _BrokenOff(f"the connection broke off ({type(error).__name__})") from error
    validator.drop()


def _take(file: BufferedRandom, response: Any, have: int, remote: RemoteFile, on_progress: Progress | None) -> None:
    start, total = _span(response, have)
    if start != have:
        file.truncate(start)
        have = start
    if remote.size is not None and total is not None and total != remote.size:
        raise _WrongBytes(f"it has {total} bytes, {remote.size} were promised")
    while True:
        try:
            chunk = response.read(CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise _BrokenOff(f"the connection broke off after {have} bytes ({type(error).__name__})") from error
        if not chunk:
            break
        file.write(chunk)
        have += len(chunk)
        if on_progress is not None:
            on_progress(have, total)
    if total is not None and have < total:
        raise _BrokenOff(f"the connection closed after {have} of {total} bytes")


def _span(response: Any, have: int) -> tuple[int, int | None]:
    """Where the body starts in the file, and the whole file's length where it is declared."""
    length = response.headers.get("Content-Length")
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, int(length) if length is not None and length.isdigit() else None
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first, _, total = span.partition("/")
    begin = first.partition("-")[0]
    if unit != "bytes" or not begin.isdigit() or int(begin) != have:
        raise _WrongBytes(f"asked for bytes from {have} on, the server sent {span or 'an unnamed part'}")
    return have, int(total) if total.isdigit() else None


def _refused(error: urllib.error.HTTPError, have: int, remote: RemoteFile) -> None:
    """Decide on an HTTP answer of 400 and above."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if total == str(have):
            return
        raise _WrongBytes(f"{have} bytes are here, the server has {total or 'fewer'}") from error
    if error.code in TRANSIENT:
        asked = error.headers.get("Retry-After", "")
        raise _BrokenOff(f"the server answers {error.code} {error.reason}", float(asked) if asked.isdigit() else None)
    if error.code in MISSING:
        raise ModelNotFoundError(f"{remote.url} does not exist ({error.code}); try another --mirror") from error
    raise ModelError(f"{remote.url} is refused ({error.code} {error.reason}); try another --mirror") from error


def _check_bytes(file: BufferedRandom | BufferedReader, remote: RemoteFile) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise _WrongBytes("it is empty")
    if remote.size is not None and size != remote.size:
        raise _WrongBytes(f"it has {size} bytes, {remote.size} were promised")
    if remote.sha256 is not None:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != remote.sha256.lower():
            raise _WrongBytes(f"its SHA-256 is {digest[:12]}..., {remote.sha256[:12]}... was promised")


def _check_promise(path: Path, remote: RemoteFile) -> None:
    try:
        with path.open("rb") as file:
            _check_bytes(file, remote)
    except _WrongBytes as error:
        raise ModelError(f"{path} is there but damaged ({error}); delete it and run it again") from error


def _offline(remote: RemoteFile, target: Path, reason: str) -> str:
    host = urllib.parse.urlsplit(remote.url).netloc
    return (
        f"cannot fetch from {host}: {reason}; fetch {remote.url} on another machine and put it at {target}, "
        "or name another server by --mirror"
    )


@contextmanager
def _exclusive(part: Path) -> Iterator[BufferedRandom]:
    """Open the part for this process alone, where the system has advisory locks."""
    with part.open("a+b") as file:
        try:
            import fcntl
        except ImportError:  # Windows: opening it for writing twice fails by itself at the final rename
            yield file
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(f"another process is fetching {part.name.removesuffix('.part')}; wait for it") from error
        yield file
