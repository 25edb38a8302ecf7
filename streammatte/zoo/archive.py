"""Unpacking archives that came from elsewhere."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from streammatte.errors import ModelError

__all__ = ["unpack"]

MOST_BYTES = 4 << 30
"""Bytes that an archive may unpack to; the largest official model has under 400 MB, so more is a bomb or a mistake."""


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack a zip into ``folder``, which appears whole or not at all and replaces an older one.

    Returns
    -------
    list of Path
        The files, in the archive's order.

    Raises
    ------
    ModelError
        It is no zip, damaged or encrypted, unpacks to more than ``MOST_BYTES``, or an entry would land outside the
        folder (``..``, an absolute path, a drive, a link).
    """
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        names = _unpack_into(archive, work)
        work.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return [folder / name for name in names]


def _unpack_into(archive: Path, work: Path) -> list[PurePosixPath]:
    try:
        with zipfile.ZipFile(archive) as bundle:
            entries = [(entry, _safe_name(entry, archive)) for entry in bundle.infolist() if not entry.is_dir()]
            whole = sum(entry.file_size for entry, _ in entries)
            if whole > MOST_BYTES:
                raise ModelError(f"{archive} unpacks to {whole} bytes, more than {MOST_BYTES} are refused")
            for entry, name in entries:
                path = work / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(entry) as packed, path.open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(f"{archive} is no sound zip ({error}); pull it again") from error
    except RuntimeError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{archive} cannot be unpacked ({error}); encrypted archives are refused") from error
    except FileExistsError as error:
        raise ModelError(f"{archive} holds {Path(str(error.filename)).name} twice; it is refused") from error
    if not entries:
        raise ModelError(f"{archive} holds no file")
    return [name for _, name in entries]


def _safe_name(entry: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    raw = entry.orig_filename
    name = PurePosixPath(raw)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    outside = name.is_absolute() or ".." in name.parts or any(mark in raw for mark in ("\\", ":", "\0"))
    if outside or kind not in (0, stat.S_IFREG):
        what = "a link or a device" if not outside else "a path outside its folder"
        raise ModelError(f"{archive} holds {raw!r}, {what}; nothing was unpacked")
    return name
