"""Fetching files that are large, over connections that break.

A file arrives as ``NAME.part`` beside its place and is renamed when it is complete and checked: what stands under its
own name is whole. A transfer that broke off goes on where it stopped, in this process or in a later one.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.cache import writing
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.cards import RemoteFile
from streammatte.models.locks import locked

__all__ = [
    "BrokenOff",
    "Mark",
    "Progress",
    "Retry",
    "WrongBytes",
    "broken_promise",
    "fetch",
    "file_sha256",
    "mirrored",
    "one_attempt",
]

CHUNK = 1 << 18
"""Bytes a read: large enough that Python costs nothing beside the network, small enough for a live progress bar."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be another at the next try."""
MISSING = frozenset({404, 410})

Progress = Callable[[int, int | None], None]


class BrokenOff(Exception):
    """The connection failed or closed before the end; what arrived is kept. ``wait``: seconds the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class WrongBytes(Exception):
    """All arrived and it is not what was promised."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of a file a body is of, as far as the server says: a strong ETag, a date, the whole length."""

    tag: str | None = None
    modified: str | None = None
    total: int | None = None

    @classmethod
    def of(cls, headers: Any, total: int | None) -> Version:
        """What an answer says."""
        tag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        return cls(tag if tag.isascii() and not tag.startswith("W/") and tag else None, modified or None, total)

    @property
    def validator(self) -> str | None:
        """What ``If-Range`` takes."""
        return self.tag or self.modified

    def differs(self, other: Version) -> bool:
        """True where the two are certainly not of one version."""
        pairs = [(self.tag, other.tag), (self.total, other.total)]
        if self.tag is None or other.tag is None:
            pairs.append((self.modified, other.modified))
        return any(None not in pair and pair[0] != pair[1] for pair in pairs)


class Mark:
    """The version that a part is of, kept beside it, so that two versions are never joined."""

    def __init__(self, part: Path) -> None:
        self._path = part.with_name(f"{part.name}.tag")

    def read(self) -> Version | None:
        """The part's version; None where nothing was written down."""
        if not self._path.is_file():
            return None
        try:
            return Version(**json.loads(self._path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):  # cut short by a crash: as good as a server that says nothing
            return Version()

    def write(self, version: Version) -> None:
        """Keep the version of a body that starts from the beginning."""
        self._path.write_text(json.dumps(asdict(version)), encoding="utf-8")

    def drop(self) -> None:
        """The part is complete, or thrown away."""
        self._path.unlink(missing_ok=True)


def one_attempt(
    file: BufferedRandom, mark: Mark, remote: RemoteFile, timeout: float, on_progress: Progress | None
) -> None:
    """Append to ``file`` what the server sends from its end on.

    Raises
    ------
    BrokenOff, WrongBytes
        Another attempt may do better.
    ModelNotFoundError, ModelError
        The server does not have the file, or refuses it.
    """
    have = file.seek(0, os.SEEK_END)
    if have and have == remote.size:
        return
    earlier = mark.read() if have else None
    if earlier == Version() and remote.sha256 is None:
        # nothing would tell the rest of another version from the rest of this one
        file.truncate(0)
        have = 0
    headers = {"User-Agent": f"streammatte/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if earlier is not None and earlier.validator is not None:
            headers["If-Range"] = earlier.validator
    request = urllib.request.Request(remote.url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        _refused(error, file, earlier, remote)
        return
    except urllib.error.URLError as error:
        raise BrokenOff(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise BrokenOff(f"the connection broke off ({type(error).__name__})") from error
    with response:
        start, total = _span(response, have)
        version = Version.of(response.headers, total)
        if start and earlier is not None:
            _same(file, earlier, version)
        else:
            mark.write(version)
        _take(file, response, (start, total), remote, on_progress)


def _same(file: BufferedRandom, earlier: Version, now: Version) -> None:
    """Throw the part away where the server has another version by now."""
    if earlier.differs(now):
        file.truncate(0)
        raise BrokenOff("the server has another version of it than the part that is here")


def _take(
    file: BufferedRandom, response: Any, span: tuple[int, int | None], remote: RemoteFile, on_progress: Progress | None
) -> None:
    have, total = span
    file.truncate(have)
    if remote.size is not None and total is not None and total != remote.size:
        raise WrongBytes(f"it has {total} bytes, {remote.size} were promised")
    while True:
        try:
            chunk = response.read(CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise BrokenOff(f"the connection broke off after {have} bytes ({type(error).__name__})") from error
        if not chunk:
            break
        file.write(chunk)
        have += len(chunk)
        if on_progress is not None:
            on_progress(have, total)
    if total is not None and have < total:
        raise BrokenOff(f"the connection closed after {have} of {total} bytes")


def _span(response: Any, have: int) -> tuple[int, int | None]:
    """Where the body starts in the file, and the whole file's length where it is declared."""
    length = response.headers.get("Content-Length")
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, int(length) if length is not None and length.isdigit() else None
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first, _, total = span.partition("/")
    begin = first.partition("-")[0]
    if unit != "bytes" or not begin.isdigit() or int(begin) != have:
        raise WrongBytes(f"asked for bytes from {have} on, the server sent {span or 'an unnamed part'}")
    return have, int(total) if total.isdigit() else None


def _refused(error: urllib.error.HTTPError, file: BufferedRandom, earlier: Version | None, remote: RemoteFile) -> None:
    """Decide on an HTTP answer of 400 and above."""
    have = file.seek(0, os.SEEK_END)
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if earlier is not None and total.isdigit():
            _same(file, earlier, Version.of(error.headers, int(total)))
        if total == str(have):
            return
        raise WrongBytes(f"{have} bytes are here, the server has {total or 'fewer'}") from error
    if error.code in TRANSIENT:
        asked = _seconds(error.headers.get("Retry-After", ""))
        raise BrokenOff(f"the server answers {error.code} {error.reason}", asked) from error
    if error.code in MISSING:
        raise ModelNotFoundError(f"{remote.url} does not exist ({error.code}); try another --mirror") from error
    raise ModelError(f"{remote.url} is refused ({error.code} {error.reason}); try another --mirror") from error


def _seconds(after: str) -> float | None:
    """What ``Retry-After`` asks for: seconds, or a date."""
    if after.isdigit():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except ValueError:
        return None


log = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds; a server that asks for more by Retry-After is given up, and the message says when to come back."""
LONGEST_TOLD = timedelta(days=365)
"""A server that asks for more means never."""

Check = Callable[[Path], object]


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
        """Sleep after so many failures in a row, at least as long as the server asked, at most ``LONGEST_WAIT``."""
        time.sleep(min(max(self.backoff * 2 ** (failures - 1), asked or 0.0), LONGEST_WAIT))


def fetch(
    remote: RemoteFile,
    target: Path,
    *,
    retry: Retry | None = None,
    on_progress: Progress | None = None,
    check: Check | None = None,
    anew: bool = False,
) -> Path:
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
    check : callable, optional
        Called with the complete file before it gets its name; raises ModelError where it is not audio.
    anew : bool
        Fetch it although something is there, which is replaced when the new file is complete.

    Raises
    ------
    ModelNotFoundError
        The server does not have the file.
    ModelError
        It cannot be reached or refuses, breaks off again and again, or sends other bytes than the card promises; also
        where another process is fetching the same file.
    DiskFullError
        No space is left.
    ConfigError
        The folder cannot be written.
    """
    fault = _address_fault(remote.url)
    if fault is not None:
        raise ModelError(f"{remote.url} cannot be fetched: {fault}")
    if target.is_file() and not anew:
        return _as_promised(target, remote)
    part = target.with_name(f"{target.name}.part")
    with writing(target.parent):
        before = _identity(target) if anew else None
        try:
            with locked(part, wait=False):
                if _identity(target) != before:  # another process had the lock before, and is done
                    part.unlink(missing_ok=True)
                    return _as_promised(target, remote)
                try:
                    with part.open("a+b") as file:
                        _fetch_into(file, part, remote, target, retry or Retry(), on_progress, check)
                        file.flush()
                        os.fsync(file.fileno())
                    part.replace(target)
                finally:
                    if part.is_file() and not part.stat().st_size:
                        part.unlink()
                        Mark(part).drop()
        except BlockingIOError as error:
            raise ModelError(f"another process is fetching {target.name}; wait for it") from error
    return target


def mirrored(remote: RemoteFile, mirror: str | None) -> RemoteFile:
    """The same file on a mirror: the mirror's address takes the place of scheme and host, the path stays."""
    if mirror is None:
        return remote
    fault = _address_fault(mirror)
    if fault is None and set("?#") & set(mirror):
        fault = "the path goes behind it, so it has no query and no fragment"
    if fault is not None:
        raise ConfigError(
            f"--mirror must be an http or https address with a host, such as https://example.org/copy; "
            f"got {mirror!r} ({fault})"
        )
    path = urllib.parse.urlsplit(remote.url).path
    return RemoteFile(mirror.rstrip("/") + path, remote.sha256, remote.size)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def broken_promise(path: Path, remote: RemoteFile) -> str | None:
    """In what a file differs from the size and SHA-256 that its card promises; None where it does not."""
    try:
        with path.open("rb") as file:
            _check_bytes(file, remote)
    except WrongBytes as error:
        return str(error)
    return None


def _address_fault(url: str) -> str | None:
    """Why an address cannot be asked; None where it can."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # asking for the port reads it
        (host or "").encode("idna")
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "only http and https addresses are fetched"
    return None if host else "it names no host"


def _fetch_into(
    file: BufferedRandom,
    part: Path,
    remote: RemoteFile,
    target: Path,
    retry: Retry,
    on_progress: Progress | None,
    check: Check | None,
) -> None:
    mark = Mark(part)
    furthest = file.seek(0, os.SEEK_END)
    failures, fresh = 0, furthest == 0
    while True:
        try:
            one_attempt(file, mark, remote, retry.timeout, on_progress)
            _check_bytes(file, remote)
            _check_content(part, check)
        except BrokenOff as error:
            have = file.seek(0, os.SEEK_END)
            failures = 1 if have > furthest else failures + 1
            furthest = max(furthest, have)
            if error.wait is not None and error.wait > LONGEST_WAIT:
                raise ModelError(_later(remote, error.wait, str(error))) from error
            if failures >= retry.attempts:
                raise ModelError(_offline(remote, target, str(error))) from error
            log.info("%s: %s; %d bytes so far, trying again", remote.filename, error, have)
            retry.wait(failures, error.wait)
        except WrongBytes as error:
            file.truncate(0)
            mark.drop()
            if fresh:
                raise ModelError(
                    f"{remote.url} is not the file that the card describes ({error}); "
                    "nothing was kept, try another --mirror"
                ) from error
            log.warning("%s: %s after it was resumed; fetching it from the start", remote.filename, error)
            fresh = True
        else:
            mark.drop()
            return


def _check_bytes(file: BufferedRandom | BufferedReader, remote: RemoteFile) -> None:
    size = file.seek(0, os.SEEK_END)  # also flushes what was written
    if size == 0:
        raise WrongBytes("it is empty")
    if remote.size is not None and size != remote.size:
        raise WrongBytes(f"it has {size} bytes, {remote.size} were promised")
    if remote.sha256 is not None:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != remote.sha256.lower():
            raise WrongBytes(f"its SHA-256 is {digest[:12]}..., {remote.sha256[:12]}... was promised")


def _check_content(part: Path, check: Check | None) -> None:
    if check is None:
        return
    try:
        check(part)
    except ModelError as error:
        raise WrongBytes(str(error).partition("; ")[0]) from error  # what to do is another thing here


def _as_promised(path: Path, remote: RemoteFile) -> Path:
    fault = broken_promise(path, remote)
    if fault is not None:
        raise ModelError(f"{path} is there but damaged ({fault}); delete it and run it again")
    return path


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from one that takes its place."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _offline(remote: RemoteFile, target: Path, reason: str) -> str:
    host = urllib.parse.urlsplit(remote.url).netloc
    return (
        f"cannot fetch from {host}: {reason}; fetch {remote.url} on another machine and put it at {target}, "
        "or name another server by --mirror"
    )


def _later(remote: RemoteFile, wait: float, reason: str) -> str:
    host = urllib.parse.urlsplit(remote.url).netloc
    when = datetime.now().astimezone() + min(timedelta(seconds=min(wait, 1e9)), LONGEST_TOLD)
    return (
        f"{host} asks for {wait:.0f} seconds of rest ({reason}); run it again after {when:%Y-%m-%d %H:%M}, "
        "it goes on where it stopped; or name another server by --mirror"
    )
