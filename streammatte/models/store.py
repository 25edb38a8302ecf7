"""The user's folder of fetched networks.

``models/NAME/`` in the user's cache holds ``NAME.pdparams`` (the checkpoint), ``inference/`` (the unpacked official
zip) and ``pulled.json``, the size and SHA-256 of every file as it was fetched. A zip or a checkpoint that the user puts
there by hand is taken as if it was fetched; where it is damaged it is named and left, never deleted.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streammatte.cache import file_sha256, lasting_dir, locked, writing
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError, StreammatteError
from streammatte.models.cards import FILE_KINDS, Card, load_card
from streammatte.models.files import exported

if TYPE_CHECKING:
    from streammatte.models.download import Progress

__all__ = ["LocalFiles", "find", "model_folder", "pull", "target_path", "usable_files", "verify"]

RECORD = "pulled.json"

Record = dict[str, dict[str, dict[str, Any]]]
"""Kind of file -> path relative to the network's folder -> its ``size`` and ``sha256``."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The files of a network on this machine; None where one is missing.

    Parameters
    ----------
    checkpoint, folder : Path, optional
        The weights, and the exported model unpacked.
    archive : Path, optional
        A zip that the user put there, not unpacked yet.
    damage : str, optional
        Why the exported model that is here cannot be used, and what to do.
    """

    checkpoint: Path | None = None
    folder: Path | None = None
    archive: Path | None = None
    damage: str | None = None


def model_folder(name: str) -> Path:
    """Folder of a network; it exists once something was fetched."""
    return lasting_dir("models", name)


def target_path(card: Card, kind: str) -> Path:
    """The path of a network's file; a file that a user without a connection puts there is used as if it was fetched."""
    remote = card.files.get(kind)
    if remote is not None:
        return model_folder(card.name) / remote.filename
    if card.embedded:
        raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; it comes with the package")
    step = "; ".join(_pull_command(card, other) for other in card.files) or _own_checkpoint(card)
    have = " and ".join(card.files) or "none"
    raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; published files: {have}; {step}")


def find(name: str) -> LocalFiles:
    """The files of a network on this machine. Nothing is unpacked, and damage is in the result, not raised."""
    card, root = load_card(name), model_folder(name)
    weights = card.files["checkpoint"].filename if "checkpoint" in card.files else f"{name}.pdparams"
    archive = root / card.files["inference"].filename if "inference" in card.files else None
    try:
        local = LocalFiles(
            root / weights if (root / weights).is_file() else None,
            root / "inference" if (root / "inference").is_dir() else None,
            archive if archive is not None and archive.is_file() else None,
        )
        return replace(local, damage=_damage(card, local))
    except OSError as error:
        return LocalFiles(damage=f"{root} cannot be read ({error.strerror}); set its permissions right")


def usable_files(name: str) -> LocalFiles:
    """The files of a network on this machine, ready to run: a zip that the user put there is unpacked.

    Raises
    ------
    ModelNotFoundError
        Nothing is here.
    ModelError
        What is here is damaged, or is not what the card states; the message names the next step.
    ConfigError, DiskFullError
        The zip cannot be unpacked there.
    """
    card, local = load_card(name), find(name)
    if local.archive is not None and (local.folder is None or local.damage is not None):
        with writing(model_folder(name)), locked(model_folder(name)):
            if local.archive.is_file():  # else another process unpacked it meanwhile
                _install_given(card, "inference", local.archive)
        local = find(name)
    if local.damage is not None:
        raise ModelError(local.damage)
    if local.folder is None and local.checkpoint is None:
        step = _pull_command(card, "inference") if card.files else _own_checkpoint(card)
        raise ModelNotFoundError(f"{name} is not here yet; {step}")
    if local.folder is None and local.checkpoint is not None and "checkpoint" not in _record(name):
        _check_given(card, "checkpoint", local.checkpoint)
    return local


def pull(
    name: str,
    kind: str = "inference",
    *,
    mirror: str | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
    on_progress: Progress | None = None,
) -> Path:
    """Fetch a network's file into the user's folder, or find it there; what was fetched and is faulty is replaced.

    Parameters
    ----------
    name : str
        Of a card.
    kind : {"inference", "checkpoint"}
        The exported model, which every engine runs, or the weights alone, for Paddle.
    mirror : str, optional
        An address that takes the place of the official host.
    attempts, timeout, on_progress
        As :func:`streammatte.models.download.fetch`.

    Returns
    -------
    Path
        The checkpoint, or the folder of the exported model.

    Raises
    ------
    ModelNotFoundError, ModelError, ConfigError, DiskFullError
        As :func:`streammatte.models.download.fetch` and :func:`streammatte.models.archive.unpack`.
    """
    if kind not in FILE_KINDS:
        raise ConfigError(f"what is fetched must be {' or '.join(FILE_KINDS)}; got {kind!r}")
    card, root = load_card(name), model_folder(name)
    target = target_path(card, kind)
    from streammatte.models.download import fetch, mirrored

    remote = mirrored(card.files[kind], mirror)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            local, recorded = find(name), kind in _record(name)
            if kind == "inference" and local.folder is not None and not _faults(card, kind):
                return local.folder
            if recorded and kind == "checkpoint" and not _faults(card, kind):
                return target
            if target.is_file() and not (recorded and kind == "checkpoint"):
                return _install_given(card, kind, target)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as folder:
                path = fetch(remote, Path(folder), attempts=attempts, timeout=timeout, on_progress=on_progress)
                return _install(card, kind, path)


def verify(name: str) -> list[str]:
    """Compare the files of a network with the record of what was fetched; returns the faults.

    The last line about a file that can be fetched again names the command.
    """
    card, local = load_card(name), find(name)
    try:
        record = _read_record(model_folder(name))
        faults = [fault for kind in record for fault in _faults(card, kind)]
        if local.damage is not None and local.damage not in faults and "inference" not in record:
            faults.append(local.damage)
        if local.checkpoint is not None and "checkpoint" not in record:
            _check_given(card, "checkpoint", local.checkpoint)
    except ModelError as error:
        return [str(error)]
    return faults


def _install(card: Card, kind: str, path: Path) -> Path:
    """Check a complete file, move its content to its place and record it; the caller holds the folder's lock."""
    root = model_folder(card.name)
    if kind == "checkpoint":
        from streammatte.networks.pdparams import read_pdparams

        target = target_path(card, kind)
        read_pdparams(path)
        path.replace(target)
        _write_record(root, kind, [target])
        return target
    from streammatte.models.archive import unpack

    folder = root / "inference"
    _write_record(root, kind, unpack(path, folder))
    path.unlink()
    damage = find(card.name).damage
    if damage is not None:
        raise ModelError(damage)
    return folder


def _install_given(card: Card, kind: str, path: Path) -> Path:
    """As :func:`_install`, of a file that the user put there: it stays if it cannot be used."""
    _check_given(card, kind, path)
    try:
        return _install(card, kind, path)
    except ModelError as error:
        if not path.is_file():
            raise
        raise ModelError(_kept_in_place(card, kind, str(error))) from error


def _check_given(card: Card, kind: str, path: Path) -> None:
    """Refuse a file put there by hand that differs from what the card states."""
    from streammatte.models.download import mismatch

    fault = mismatch(path, card.files[kind]) if kind in card.files else None
    if fault is not None:
        raise ModelError(_kept_in_place(card, kind, f"{path} is not the file that the card describes ({fault})"))


def _damage(card: Card, local: LocalFiles) -> str | None:
    """Why the exported model cannot be used, and the next step, without reading all of it."""
    if local.folder is not None:
        try:
            exported(local.folder)
        except StreammatteError as error:
            return f"{error}; {_pull_command(card, 'inference')}"
        cut = _changes(model_folder(card.name), "inference", _record(card.name), hashes=False)
        if cut:
            return f"{cut[0]}; {_pull_command(card, 'inference')}"
    elif local.archive is not None:
        size, stated = local.archive.stat().st_size, card.files["inference"].size
        if stated not in (None, size):
            return _kept_in_place(card, "inference", f"{local.archive} has {size} bytes, the card states {stated}")
        if not zipfile.is_zipfile(local.archive):
            return _kept_in_place(card, "inference", f"{local.archive} is no zip")
    return None


def _faults(card: Card, kind: str) -> list[str]:
    """The faults of what was fetched; the last one names the next step."""
    try:
        found = _changes(model_folder(card.name), kind, _read_record(model_folder(card.name)))
    except ModelError as error:
        return [str(error)]
    if found:
        found[-1] += f"; {_pull_command(card, kind)}"
    elif kind == "inference" and (damage := find(card.name).damage) is not None:
        found = [damage]
    return found


def _changes(root: Path, kind: str, record: Record, hashes: bool = True) -> list[str]:
    """Which files are no longer as they were fetched, by size and, unless ``hashes`` is false, by content."""
    found = []
    for relative, facts in record.get(kind, {}).items():
        path = root / relative
        if not path.is_file():
            found.append(f"{kind}: {relative} is missing")
        elif path.stat().st_size != facts["size"] or (hashes and file_sha256(path) != facts["sha256"]):
            found.append(f"{kind}: {relative} has changed since it was fetched")
    return found


def _read_record(root: Path) -> Record:
    """The record of a network's folder, empty where there is none. Raises ModelError where it is damaged."""
    path = root / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            kind: {name: {"size": int(facts["size"]), "sha256": str(facts["sha256"])} for name, facts in files.items()}
            for kind, files in record.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        card = load_card(root.name)
        kind = "inference" if (root / "inference").is_dir() else "checkpoint"
        raise ModelError(f"{path} is damaged ({type(error).__name__}); {_pull_command(card, kind)}") from error


def _record(name: str) -> Record:
    """The record, empty where it is damaged: then nothing is known of what is here."""
    with suppress(ModelError):
        return _read_record(model_folder(name))
    return {}


def _write_record(root: Path, kind: str, files: list[Path]) -> None:
    """Record what was fetched just now; a damaged record is replaced."""
    from streammatte.sinks.atomic import whole_file

    entries = {
        path.relative_to(root).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
    }
    with whole_file(root / RECORD) as temporary:
        temporary.write_text(json.dumps({**_record(root.name), kind: entries}, indent=1), encoding="utf-8")


def _kept_in_place(card: Card, kind: str, fault: str) -> str:
    return f"{fault}; it was left there: put a good one in its place, or delete it and {_pull_command(card, kind)}"


def _own_checkpoint(card: Card) -> str:
    return f"nothing is published; give a checkpoint of your own: --model {card.name}=FILE.pdparams"


def _pull_command(card: Card, kind: str) -> str:
    if kind in card.files:
        return f"run: streammatte models pull {card.name}{' --checkpoint' if kind == 'checkpoint' else ''}"
    return f"put a good one into {model_folder(card.name)}, or delete what is there"
