"""Files in object stores and on servers, by fsspec: inputs are copied here first, outputs there when complete."""

from __future__ import annotations

import glob
import hashlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from streammatte.cache import user_cache_dir
from streammatte.errors import (
    ConfigError,
    EngineUnavailableError,
    OutputExistsError,
    SinkError,
    SourceError,
    SourceNotFoundError,
    StreammatteError,
)
from streammatte.file_names import NUMBER
from streammatte.media.container import shown_address
from streammatte.optional_imports import need

__all__ = ["Fetched", "is_remote", "refuse_existing", "remote_fingerprint", "upload", "upload_folder"]

_SCHEMES = frozenset(
    {
        *("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "hf", "dbfs"),
        *("hdfs", "webhdfs", "webdav", "dav", "sftp", "ssh", "smb", "memory", "local"),
    }
)
"""What fsspec and its packages read and write, without what FFmpeg does itself (http, https, file ...)."""


def is_remote(spec: str | Path) -> bool:
    """True for an address that fsspec serves: ``s3://bucket/name``."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(spec))
    return found is not None and found[1].lower() in _SCHEMES


def _system(url: str) -> tuple[Any, str]:
    """The file system of an address and the path in it. Raises EngineUnavailableError, ConfigError."""
    fsspec = need("fsspec", shown_address(url), "remotefiles")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise EngineUnavailableError(f"{shown_address(url)}: {error}") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{shown_address(url)} is no address: {error}") from error
    return system, str(path)


@contextmanager
def _errors(kind: type[SourceError | SinkError], url: str, what: str) -> Iterator[None]:
    try:
        yield
    except StreammatteError:
        raise
    except FileNotFoundError as error:
        missing = SourceNotFoundError if kind is SourceError else kind
        raise missing(f"{shown_address(url)} {what}: there is no such file") from error
    except Exception as error:  # each package raises its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise kind(f"{shown_address(url)} {what}: {reason[0]}") from error


class Fetched:
    """Local copies of remote inputs: the last one of each role is kept, since segments of one video follow each other.

    Parameters
    ----------
    folder : Path, optional
        Where they lie, the caller's to remove; by default a temporary folder of their own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder
        self._made: Path | None = None
        self._copies: dict[str, tuple[str, Path]] = {}

    def path(self, spec: str, role: str = "input") -> str:
        """``spec`` itself, or the copy of what is remote. Raises SourceError."""
        if not is_remote(spec):
            return spec
        if role in self._copies:
            held, copy = self._copies[role]
            if held == spec:
                return str(copy)
            del self._copies[role]
            copy.unlink(missing_ok=True)
        target = self._place() / role / PurePosixPath(spec).name
        with _errors(SourceError, spec, "cannot be read"):
            target.parent.mkdir(parents=True, exist_ok=True)
            system, path = _system(spec)
            system.get_file(path, str(target))
        self._copies[role] = spec, target
        return str(target)

    def _place(self) -> Path:
        if self._given is not None:
            return self._given
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix="streammatte-fetched-"))
        return self._made

    def close(self) -> None:
        """Remove the copies. Safe to call twice."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def upload_folder(url: str) -> Path:
    """Where outputs for an address are made: the same folder each time, so that an interrupted run goes on."""
    return user_cache_dir("outputs", hashlib.sha256(url.encode()).hexdigest()[:24])


def refuse_existing(url: str, overwrite: bool) -> None:
    """Refuse an output that is there, or images of a numbered name. Raises OutputExistsError, SinkError."""
    with _errors(SinkError, url, "cannot be written"):
        system, path = _system(url)
        if overwrite:
            return
        numbered = f"{path.rstrip('/')}/%d.png" if url.endswith("/") else path
        parts = [glob.escape(part) for part in NUMBER.split(numbered)]
        if system.glob("[0-9]*".join(parts)) if len(parts) > 1 else system.exists(path):
            raise OutputExistsError(f"{shown_address(url)} exists already: choose another name or pass --overwrite")


def upload(local: Path, url: str) -> None:
    """Copy a complete file or folder; a file gets its name when all of it is there. Raises SinkError."""
    with _errors(SinkError, url, "cannot be written"):
        system, path = _system(url)
        parent = str(PurePosixPath(path).parent)
        system.makedirs(parent, exist_ok=True)
        if local.is_dir():
            system.put(f"{local}/", f"{path.rstrip('/')}/", recursive=True)
            return
        temporary = f"{parent}/.{PurePosixPath(path).name}.{secrets.token_hex(4)}.part"
        system.put_file(str(local), temporary)
        if system.exists(path):
            system.rm_file(path)
        system.mv(temporary, path)


def remote_fingerprint(url: str) -> str:
    """Size and version of a remote file; ``""`` where there is none. Raises SourceError where the server cannot be
    reached.
    """
    with _errors(SourceError, url, "cannot be reached"):
        system, path = _system(url)
        try:
            facts = system.info(path)
        except FileNotFoundError:
            return ""
    version = next((facts[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if key in facts), "")
    return f"{facts.get('size')}:{version}"
