"""Unpacking archives that came from elsewhere."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from streammatte.errors import ModelError

__all__ = ["inspect", "unpack"]

MOST_BYTES = 4 << 30
"""Bytes that an archive may unpack to; the largest official model has under 400 MB, so more is a bomb or a mistake."""
LONGEST_NAME = 255
"""Bytes of one part of a path that every usual file system takes."""
_UNNAMEABLE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)

Entries = list[tuple[zipfile.ZipInfo, PurePosixPath]]


def inspect(archive: Path, holding: Collection[str] = ()) -> None:
    """Read a zip through, checksums and all, without unpacking it.

    Parameters
    ----------
    archive : Path
    holding : collection of str
        File names of which it must hold one, in whatever folder.

    Raises
    ------
    ModelError
        As :func:`unpack`.
    """
    with _opened(archive) as bundle:
        _entries(bundle, archive, holding)
        damaged = bundle.testzip()
    if damaged is not None:
        raise ModelError(f"{archive} is no audio zip ({damaged} is damaged)")


def unpack(archive: Path, folder: Path, holding: Collection[str] = ()) -> list[Path]:
    """Unpack a zip into ``folder``, which appears whole or not at all; an older one stays until the new one is there.

    Returns
    -------
    list of Path
        The files, in the archive's order.

    Raises
    ------
    ModelError
        It is no zip, damaged or encrypted, unpacks to more than ``MOST_BYTES``, holds none of the files ``holding``
        names, or an entry would land outside the folder (``..``, an absolute path, a drive, a link) or cannot be a
        file here.
    """
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        names = _unpack_into(archive, work, holding)
        work.chmod(0o755)
        _swap(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # the older folder, where there was one
    return [folder / name for name in names]


def _swap(new: Path, folder: Path) -> None:
    """Put ``new`` in the place of ``folder``, which takes its place; a failure between the two is undone."""
    if not folder.exists():
        new.rename(folder)
        return
    aside = new.with_name(f"{new.name}.old")
    folder.rename(aside)
    try:
        new.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    aside.rename(new)


def _unpack_into(archive: Path, work: Path, holding: Collection[str]) -> list[PurePosixPath]:
    try:
        with _opened(archive) as bundle:
            entries = _entries(bundle, archive, holding)
            for entry, name in entries:
                path = work / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(entry) as packed, path.open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except FileExistsError as error:  # names that differ in case alone, where that makes no difference
        raise ModelError(f"{archive} holds {Path(str(error.filename)).name} twice; it is refused") from error
    return [name for _, name in entries]


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; whatever its reader says of damage is told as one kind of error."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            yield bundle
    except ModelError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError) as error:
        raise ModelError(f"{archive} is no audio zip ({error})") from error
    except RuntimeError as error:  # NotImplementedError, of a kind of compression, is one
        raise ModelError(f"{archive} cannot be unpacked ({error}); encrypted archives are refused") from error
    except OSError as error:
        if error.errno is None:  # bz2's word for damage
            raise ModelError(f"{archive} is no audio zip ({error})") from error
        if error.errno in _UNNAMEABLE:
            raise ModelError(f"{archive} holds a name that cannot be a file here ({error.strerror})") from error
        raise


def _entries(bundle: zipfile.ZipFile, archive: Path, holding: Collection[str]) -> Entries:
    """The files of a zip, every one of a name that is safe to write."""
    entries = [(entry, _safe_name(entry, archive)) for entry in bundle.infolist() if not entry.is_dir()]
    if not entries:
        raise ModelError(f"{archive} holds no file")
    whole = sum(entry.file_size for entry, _ in entries)
    if whole > MOST_BYTES:
        raise ModelError(f"{archive} unpacks to {whole} bytes, more than {MOST_BYTES} are refused")
    files: set[PurePosixPath] = set()
    for _, name in entries:
        if name in files:
            raise ModelError(f"{archive} holds {name} twice; it is refused")
        files.add(name)
    for parent in (parent for name in files for parent in name.parents if parent in files):
        raise ModelError(f"{archive} holds {parent} as a file and as a folder; it is refused")
    if holding and not any(name.name in holding for name in files):
        raise ModelError(f"{archive} holds no {' or '.join(holding)}; it is no exported matting model")
    return entries


def _safe_name(entry: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    raw = entry.orig_filename
    name = PurePosixPath(raw)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    outside = name.is_absolute() or ".." in name.parts or any(mark in raw for mark in ("\\", ":", "\0"))
    if outside or kind not in (0, stat.S_IFREG):
        what = "a link or a device" if not outside else "a path outside its folder"
        raise ModelError(f"{archive} holds {raw!r}, {what}; nothing was unpacked")
    if any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in name.parts):
        raise ModelError(
            f"{archive} holds a name of more than {LONGEST_NAME} bytes ({name.name[:20]}...); it is refused"
        )
    return name
