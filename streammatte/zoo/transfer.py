"""One try to fetch a file, or the rest of it, over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from io import BufferedRandom
from pathlib import Path
from typing import Any

from streammatte._version import __version__
from streammatte.errors import ModelError, ModelNotFoundError
from streammatte.zoo.cards import RemoteFile

__all__ = ["BrokenOff", "Mark", "Progress", "WrongBytes", "one_attempt"]

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
