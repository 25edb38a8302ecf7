"""Unpacking an exported model from a zip that came from elsewhere."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from streammatte.errors import ModelError, StreammatteError
from streammatte.models.files import DEPLOY_NAMES
from streammatte.sinks.atomic import AtomicFolder

__all__ = ["unpack"]

MAX_TIMES = 8
"""How many times its own size an archive may unpack to. Weights shrink to nine tenths by packing, the text of a program
to a tenth; more is damage or an attack (a decompression bomb)."""
ALWAYS = 1 << 20
"""Bytes that are no danger whatever the archive's size."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
"""Faults of the disk; the others say that a name cannot be a file here, or come from a decompressor (no number)."""


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack the exported model in a zip: the files beside its ``deploy.yaml``, put into ``folder`` when all are good.

    Parameters
    ----------
    archive, folder : Path
        Files of the same names in ``folder`` are replaced.

    Returns
    -------
    list of Path
        The files, in the archive's order.

    Raises
    ------
    ModelError
        It is no zip, damaged, encrypted or too large when unpacked, holds no ``deploy.yaml``, or has an entry outside
        its folder (``..``, an absolute path, a drive), a link or a device.
    """
    work = AtomicFolder(folder, overwrite=True)
    try:
        with _reading(archive), zipfile.ZipFile(archive) as bundle:
            entries = _model_entries(bundle, archive)
            work.create()
            for name, entry in entries:
                with bundle.open(entry) as packed, (work.path / name).open("xb") as file:
                    shutil.copyfileobj(packed, file)
        work.publish()
    finally:
        work.discard()
    return [folder / name for name, _ in entries]


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what the zip reader raises over damage into a ModelError."""
    try:
        yield
    except StreammatteError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError) as error:
        raise ModelError(f"{archive} is no usable zip ({error})") from error
    except OSError as error:
        if error.errno in _DISK:
            raise
        raise ModelError(f"{archive} is no usable zip ({error.strerror or error})") from error


def _model_entries(bundle: zipfile.ZipFile, archive: Path) -> list[tuple[str, zipfile.ZipInfo]]:
    """The files beside ``deploy.yaml``; the whole archive is refused where one entry is unsafe."""
    entries = [entry for entry in bundle.infolist() if not entry.is_dir()]
    for entry in entries:
        raw = entry.orig_filename
        if PurePosixPath(raw).is_absolute() or ".." in raw.split("/") or any(mark in raw for mark in "\\:\0"):
            raise ModelError(f"{archive} holds {raw!r}, a path outside its folder; nothing was unpacked")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ModelError(f"{archive} holds {raw!r}, a link or a device; nothing was unpacked")
    whole, most = sum(entry.file_size for entry in entries), MAX_TIMES * archive.stat().st_size + ALWAYS
    if whole > most:
        raise ModelError(f"{archive} unpacks to {whole} bytes, more than {most} are refused")
    paths = [PurePosixPath(entry.filename) for entry in entries]
    home = next((path.parent for path in paths if path.name in DEPLOY_NAMES), None)
    if home is None:
        raise ModelError(f"{archive} holds no {' or '.join(DEPLOY_NAMES)}; it is no exported matting model")
    return [(path.name, entry) for path, entry in zip(paths, entries, strict=True) if path.parent == home]
