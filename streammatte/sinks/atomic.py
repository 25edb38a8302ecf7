"""Outputs appear under their name only when they are complete, and faults of the disk become one clear line."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av.error

from streammatte.errors import DiskFullError, OutputExistsError, SinkError

__all__ = ["AtomicFile", "AtomicFolder", "check_folder", "writing"]

_NAME_KEPT = 40
"""Characters of the asked name that the temporary one repeats: at four bytes each it stays under the usual 255."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL}


@contextmanager
def writing(target: str | Path) -> Iterator[None]:
    """Turn faults of the operating system and of FFmpeg into :class:`SinkError`; a full disk is told apart.

    Raises
    ------
    DiskFullError
        No space, no quota, or the largest size of a file is reached.
    SinkError
        Anything else that kept the output from being written.
    """
    try:
        yield
    except SinkError:
        raise
    except (OSError, av.error.FFmpegError) as error:
        raise _as_sink_error(error, target) from error


def _as_sink_error(error: Any, target: str | Path) -> SinkError:
    if error.errno in _FULL:
        return DiskFullError(f"no space left to write {target}: free some space or choose another folder")
    reason = error.strerror or str(error)
    return SinkError(f"cannot write {target}: {reason}")


def check_folder(folder: Path, target: str | Path) -> None:
    """Refuse a folder that is missing, is no folder, or may not be written to.

    Raises
    ------
    SinkError
    """
    if not folder.exists():
        raise SinkError(f"cannot write {target}: the folder {folder} does not exist; create it first")
    if not folder.is_dir():
        raise SinkError(f"cannot write {target}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write {target}: no permission to write in {folder}; choose another folder")


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name[:_NAME_KEPT]}.{secrets.token_hex(4)}.part")


def _exists(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target} exists already: choose another name or pass --overwrite")


class AtomicFile:
    """A file written beside its place under a temporary name, and moved there at once when complete.

    Parameters
    ----------
    target : Path
        A symbolic link is followed, so that it stays one.
    overwrite : bool
        Replace what is there.
    """

    def __init__(self, target: Path, overwrite: bool = False) -> None:
        self.target = target.resolve() if target.is_symlink() else target
        self.overwrite = overwrite
        self.path = _temporary_name(self.target)
        self._created = False

    def check(self) -> None:
        """Refuse what cannot be written, without touching the disk.

        Raises
        ------
        OutputExistsError, SinkError
        """
        if self.target.is_dir():
            raise SinkError(f"cannot write {self.target}: it is a folder; give the name of a file")
        if self.target.exists() and not self.overwrite:
            raise _exists(self.target)
        check_folder(self.target.parent, self.target)

    def create(self) -> None:
        """Reserve the temporary name; the file has the permissions of an ordinary new one."""
        with writing(self.target):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        self._created = True

    def publish(self) -> None:
        """Move the complete file to its place.

        Raises
        ------
        OutputExistsError
            Somebody else wrote there meanwhile; the complete file is kept under the temporary name that the text gives.
        """
        if not self._created:
            return
        with writing(self.target):
            if self.overwrite:
                self.path.replace(self.target)
            else:
                self._move_without_replacing()
        self._created = False

    def _move_without_replacing(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError as error:
            self._created = False
            raise OutputExistsError(
                f"{self.target} was written by somebody else meanwhile: the finished output is {self.path}"
            ) from error
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self.path.rename(self.target)
        else:
            self.path.unlink()

    def discard(self) -> None:
        """Remove the temporary file; does nothing after :meth:`publish`."""
        if self._created:
            self._created = False
            with suppress(FileNotFoundError):
                self.path.unlink()


class AtomicFolder:
    """Numbered files written in a temporary folder inside their own, and moved out of it when complete.

    Parameters
    ----------
    folder : Path
        Where the files shall be; made at the end where it is not there and ``make`` says so.
    overwrite : bool
        Replace files of the same names.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self._new = not folder.exists()
        self.path = _temporary_name(folder) if self._new else folder / f".{secrets.token_hex(4)}.part"
        self._created = False

    def check(self) -> None:
        """Refuse a place that cannot be written, without touching the disk."""
        check_folder(self.folder.parent if self._new else self.folder, self.folder)

    def create(self) -> None:
        """Make the temporary folder."""
        with writing(self.folder):
            self.path.mkdir()
        self._created = True

    def publish(self) -> None:
        """Move the files to their place: a new folder at once, files of an old one one by one.

        Raises
        ------
        OutputExistsError
            A file of the same name is there; nothing was moved.
        """
        if not self._created:
            return
        with writing(self.folder):
            names = sorted(entry.name for entry in self.path.iterdir())
            if self._new and not self.folder.exists():
                self.path.rename(self.folder)
            else:
                taken = [name for name in names if (self.folder / name).exists()]
                if taken and not self.overwrite:
                    raise _exists(self.folder / taken[0])
                for name in names:
                    (self.path / name).replace(self.folder / name)
                self.path.rmdir()
        self._created = False

    def discard(self) -> None:
        """Remove the temporary folder with all that is in it; does nothing after :meth:`publish`."""
        if self._created:
            self._created = False
            shutil.rmtree(self.path, ignore_errors=True)
