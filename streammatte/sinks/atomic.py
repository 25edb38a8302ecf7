"""Outputs appear under their name only when they are complete, and errors of the file system become SinkError."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av.error

from streammatte.errors import ConfigError, DiskFullError, OutputExistsError, SinkError
from streammatte.file_names import NUMBER, WILDCARD

__all__ = [
    "AtomicFile",
    "AtomicFolder",
    "PublishingSink",
    "check_folder",
    "identity",
    "publish",
    "refuse_inputs",
    "remove_leftovers",
    "with_kept",
    "writing",
]

_NAME_KEPT = 40
"""Characters of the requested name that the temporary one repeats: at four bytes each it stays under the usual 255."""

_IN_FOLDER = re.compile(r"\d{6,}\.png")
"""What a folder as output is filled with."""


@contextmanager
def writing(target: str | Path) -> Iterator[None]:
    """Turn errors of the operating system and of FFmpeg into :class:`SinkError`; a full disk has a class of its own.

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
    if error.errno in DiskFullError.ERRNOS:
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


def refuse_inputs(inputs: Mapping[str, str | None], outputs: Iterable[str]) -> None:
    """Refuse outputs that are also read or named twice, by whatever name: links, numbered names, files of a folder.

    Parameters
    ----------
    inputs : mapping
        From what an input is (``the input``, ``the background``) to its name; None and addresses are left out.
    outputs : iterable of str
        File names; ``name_%04d.png`` and ``folder/`` stand for all their images.

    Raises
    ------
    ConfigError
    """
    taken = {identity(path): what for what, name in inputs.items() for path in _files_of(name)}
    for output in outputs:
        files = {identity(path) for path in _files_of(output, written=True)}
        what = next((taken[file] for file in files if file in taken), None)
        if what is not None:
            raise ConfigError(f"{output} is also {what}; give the output another name")
        taken |= dict.fromkeys(files, "another output")


def _files_of(name: str | None, *, written: bool = False) -> Iterator[Path]:
    """The files that a name stands for, of those that are there; the name itself where it is one file's."""
    if name is None or name == "-" or "://" in name:
        return
    path = Path(name).expanduser()
    if NUMBER.search(path.name) and not path.exists():
        form = re.compile(r"\d+".join(re.escape(part) for part in NUMBER.split(path.name)))
        yield from (entry for entry in _listed(path.parent) if form.fullmatch(entry.name))
    elif path.is_dir():
        yield from (entry for entry in _listed(path) if not written or _IN_FOLDER.fullmatch(entry.name))
    elif not written and WILDCARD.search(name):
        yield from map(Path, glob.glob(str(path)))  # noqa: PTH207 - absolute patterns too
    else:
        yield path


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def identity(path: Path) -> str:
    """The same for every name of a file, where it is there."""
    if path.exists():
        found = path.stat()
        return f"{found.st_dev}:{found.st_ino}"
    return os.path.normcase(path.resolve())


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name[:_NAME_KEPT]}.{secrets.token_hex(4)}.part")


def remove_leftovers(target: Path) -> None:
    """Remove what a killed process left of an output; only for a caller that excludes other writers."""
    for path in target.parent.glob(f".{glob.escape(target.name[:_NAME_KEPT])}.????????.part"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _exists(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target} exists already: choose another name or pass --overwrite")


class _Unpublished:
    """What files and folders under temporary names share."""

    target: Path
    path: Path
    overwrite: bool
    created = False
    """True while something is at ``path``."""
    _backup: Path | None = None

    def publish(self) -> None:
        """Move what is complete to its place; see :func:`publish`."""
        publish([self])  # type: ignore[list-item]

    def keep(self) -> Path:
        """Keep it under its name with ``.part`` appended; returns that name."""
        kept = _free_name(self.target)
        self.path.rename(kept)
        self.created = False
        return kept


class AtomicFile(_Unpublished):
    """A file written beside its place under a temporary name, and moved there at once when complete.

    A target that is a pipe or a device is written to directly.

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
        self.direct = self.target.exists() and not self.target.is_file() and not self.target.is_dir()
        self.path = self.target if self.direct else _temporary_name(self.target)

    def check(self) -> None:
        """Refuse what cannot be written, without touching the disk.

        Raises
        ------
        OutputExistsError, SinkError
        """
        if self.target.is_dir():
            raise SinkError(f"cannot write {self.target}: it is a folder; give the name of a file")
        if self.target.exists() and not self.overwrite and not self.direct:
            raise _exists(self.target)
        check_folder(self.target.parent, self.target)

    def create(self) -> None:
        """Reserve the temporary name; the file has the permissions of an ordinary new one."""
        if self.direct:
            return
        with writing(self.target):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        self.created = True

    def discard(self) -> None:
        """Remove the temporary file; does nothing after :meth:`publish` and :meth:`keep`."""
        if self.created:
            self.created = False
            with suppress(FileNotFoundError):
                self.path.unlink()

    def sync(self) -> None:
        """Write the file's content to the disk."""
        with self.path.open("rb") as file:
            _fsync(file.fileno())

    def move(self, *, revocable: bool) -> None:
        """Give the file its name; with ``revocable``, what was there is kept until :meth:`settle`."""
        if self.target.is_dir():
            raise SinkError(f"another program made a folder {self.target} meanwhile")
        if self.overwrite:
            if revocable and self.target.exists():
                self._backup = _temporary_name(self.target)
                self.target.replace(self._backup)
        else:
            try:
                os.close(os.open(self.target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError as error:
                raise OutputExistsError(f"another program wrote {self.target} meanwhile") from error
        self.path.replace(self.target)

    def move_back(self) -> None:
        """Undo :meth:`move`."""
        self.target.replace(self.path)
        if self._backup is not None:
            self._backup.replace(self.target)
            self._backup = None

    def settle(self) -> None:
        """The move is final."""
        self.created = False
        if self._backup is not None:
            self._backup.unlink(missing_ok=True)
        _sync_folder(self.target.parent)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file whole: gives a temporary name to write to; at the end it replaces what is there, and only then.

    Raises
    ------
    SinkError
    """
    file = AtomicFile(path, overwrite=True)
    try:
        with writing(path):
            file.check()
            file.create()
            yield file.path
    except BaseException:
        file.discard()
        raise
    file.publish()


class AtomicFolder(_Unpublished):
    """Numbered files written in a temporary folder inside their own, and moved out of it when complete.

    Parameters
    ----------
    folder : Path
        The files' place; created at the end where it does not exist.
    overwrite : bool
        Replace files of the same names.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self.target = folder
        self.overwrite = overwrite
        self._new = not folder.exists()
        self.path = _temporary_name(folder) if self._new else folder / f".{secrets.token_hex(4)}.part"
        self._moved: list[str] = []

    def check(self) -> None:
        """Refuse a place that cannot be written, without touching the disk."""
        check_folder(self.target.parent if self._new else self.target, self.target)

    def create(self) -> None:
        """Make the temporary folder."""
        with writing(self.target):
            self.path.mkdir()
        self.created = True

    def discard(self) -> None:
        """Remove the temporary folder with all that is in it; does nothing after :meth:`publish` and :meth:`keep`."""
        if self.created:
            self.created = False
            shutil.rmtree(self.path, ignore_errors=True)

    def sync(self) -> None:
        """Write the files' content to the disk."""
        for entry in self.path.iterdir():
            if entry.is_file():
                with entry.open("rb") as file:
                    _fsync(file.fileno())

    def move(self, *, revocable: bool) -> None:
        """Give the files their names; with ``revocable``, what was there is kept until :meth:`settle`."""
        if self._new and not self.target.exists():
            self.path.rename(self.target)
            return
        self._new = False
        names = sorted(entry.name for entry in self.path.iterdir())
        taken = [name for name in names if (self.target / name).exists()]
        if taken and not self.overwrite:
            raise _exists(self.target / taken[0])
        if taken and revocable:
            self._backup = _temporary_name(self.target)
            self._backup.mkdir()
            for name in taken:
                (self.target / name).replace(self._backup / name)
        for name in names:
            (self.path / name).replace(self.target / name)
            self._moved.append(name)

    def move_back(self) -> None:
        """Undo :meth:`move`."""
        if self._new:
            self.target.rename(self.path)
            return
        for name in self._moved:
            (self.target / name).replace(self.path / name)
        if self._backup is not None:
            for entry in list(self._backup.iterdir()):
                entry.replace(self.target / entry.name)
            self._backup.rmdir()
            self._backup = None
        self._moved = []

    def settle(self) -> None:
        """The move is final."""
        self.created = False
        if not self._new:
            self.path.rmdir()
        if self._backup is not None:
            shutil.rmtree(self._backup, ignore_errors=True)
        _sync_folder(self.target if self.target.exists() else self.target.parent)


def publish(outputs: Sequence[AtomicFile | AtomicFolder]) -> None:
    """Move complete outputs to their places: all of them, or none.

    Their content is on the disk before a name appears. Where one cannot be moved, those before it are moved back, and
    all stay under their names with ``.part`` appended.

    Raises
    ------
    OutputExistsError
        Another program wrote under one of the names meanwhile.
    SinkError
        One cannot be moved.
    """
    ready = [output for output in outputs if output.created]
    done: list[AtomicFile | AtomicFolder] = []
    try:
        for output in ready:
            with writing(output.target):
                output.sync()
        for output in ready:
            with writing(output.target):
                output.move(revocable=len(ready) > 1)
            done.append(output)
    except SinkError as error:
        for output in reversed(done):
            output.move_back()
        raise with_kept(error, ready) from error.__cause__
    for output in ready:
        output.settle()


class PublishingSink:
    """What a sink inherits whose output appears under its name by ``close`` after ``drain``, and else is given up."""

    _file: AtomicFile | AtomicFolder
    _drained = False

    def drain(self) -> list[None]:
        """The output is complete."""
        self._drained = True
        return []

    def outputs(self) -> list[AtomicFile | AtomicFolder]:
        """What :meth:`close` makes appear."""
        return [self._file] if self._drained else []

    def close(self) -> None:
        """Make the output appear under its name; before :meth:`drain` it is given up."""
        if self._drained:
            self._file.publish()
        else:
            self.abort()

    def abort(self) -> None:
        """Remove what was written; does nothing after :meth:`close`."""
        self._file.discard()


def with_kept(error: SinkError, outputs: Sequence[AtomicFile | AtomicFolder]) -> SinkError:
    """The same error after the outputs, whose work is finished, were kept; its text names them."""
    kept = []
    for output in outputs:
        with suppress(OSError):
            kept.append(str(output.keep()))
    return type(error)(f"{error}; the finished work is kept: {', '.join(kept)}") if kept else error


def _free_name(target: Path) -> Path:
    """``NAME.part``, or ``NAME.2.part`` and so on where that exists."""
    names = (target.with_name(f"{target.name}{number}.part") for number in ("", *(f".{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _fsync(descriptor: int) -> None:
    with suppress(OSError):  # a file system without it, as some on the network
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk, where the system can."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
