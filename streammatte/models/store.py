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

__all__ = ["Kept", "find", "home", "place", "pull", "ready", "verify"]

RECORD = "pulled.json"

Record = dict[str, dict[str, dict[str, Any]]]
"""Kind of file -> path relative to the network's folder -> its ``size`` and ``sha256``."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is here of a network; None where it is not.

    Parameters
    ----------
    checkpoint, folder : Path, optional
        The weights, and the exported model unpacked.
    archive : Path, optional
        A zip that was put there by hand and waits to be unpacked.
    damage : str, optional
        Why the exported model that is here cannot be used, and what to do.
    """

    checkpoint: Path | None = None
    folder: Path | None = None
    archive: Path | None = None
    damage: str | None = None


def home(name: str) -> Path:
    """Folder of a network; it exists once something was fetched."""
    return lasting_dir("models", name)


def place(card: Card, kind: str) -> Path:
    """Where a file of a network goes: what a user without a connection puts there is taken as if it was fetched."""
    remote = card.files.get(kind)
    if remote is not None:
        return home(card.name) / remote.filename
    if card.embedded:
        raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; it comes with the package")
    step = "; ".join(_fetch_again(card, other) for other in card.files) or _give_own(card)
    have = " and ".join(card.files) or "none"
    raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; published files: {have}; {step}")


def find(name: str) -> Kept:
    """What is here of a network. Only looks: nothing is unpacked, and damage is in the result, not raised."""
    card, root = load_card(name), home(name)
    weights = card.files["checkpoint"].filename if "checkpoint" in card.files else f"{name}.pdparams"
    archive = root / card.files["inference"].filename if "inference" in card.files else None
    try:
        kept = Kept(
            root / weights if (root / weights).is_file() else None,
            root / "inference" if (root / "inference").is_dir() else None,
            archive if archive is not None and archive.is_file() else None,
        )
        return replace(kept, damage=_damage(card, kept))
    except OSError as error:
        return Kept(damage=f"{root} cannot be read ({error.strerror}); set its permissions right")


def ready(name: str) -> Kept:
    """What is here of a network, fit to run: a zip that was put there by hand is unpacked.

    Raises
    ------
    ModelNotFoundError
        Nothing is here.
    ModelError
        What is here is damaged, or is not what the card states; the message names the next step.
    ConfigError, DiskFullError
        The zip cannot be unpacked there.
    """
    card, kept = load_card(name), find(name)
    if kept.archive is not None and (kept.folder is None or kept.damage is not None):
        with writing(home(name)), locked(home(name)):
            if kept.archive.is_file():  # else another process unpacked it meanwhile
                _take_given(card, "inference", kept.archive)
        kept = find(name)
    if kept.damage is not None:
        raise ModelError(kept.damage)
    if kept.folder is None and kept.checkpoint is None:
        step = _fetch_again(card, "inference") if card.files else _give_own(card)
        raise ModelNotFoundError(f"{name} is not here yet; {step}")
    if kept.folder is None and kept.checkpoint is not None and "checkpoint" not in _record(name):
        _check_given(card, "checkpoint", kept.checkpoint)
    return kept


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
    card, root = load_card(name), home(name)
    target = place(card, kind)
    from streammatte.models.download import fetch, mirrored

    remote = mirrored(card.files[kind], mirror)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            kept, recorded = find(name), kind in _record(name)
            if kind == "inference" and kept.folder is not None and not _faults(card, kind):
                return kept.folder
            if recorded and kind == "checkpoint" and not _faults(card, kind):
                return target
            if target.is_file() and not (recorded and kind == "checkpoint"):
                return _take_given(card, kind, target)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as folder:
                path = fetch(remote, Path(folder), attempts=attempts, timeout=timeout, on_progress=on_progress)
                return _take(card, kind, path)


def verify(name: str) -> list[str]:
    """Compare what is here of a network with what was fetched; returns what is wrong, empty where all is well.

    The last line about a file that can be fetched again names the command.
    """
    card, kept = load_card(name), find(name)
    try:
        record = _read_record(home(name))
        faults = [fault for kind in record for fault in _faults(card, kind)]
        if kept.damage is not None and kept.damage not in faults and "inference" not in record:
            faults.append(kept.damage)
        if kept.checkpoint is not None and "checkpoint" not in record:
            _check_given(card, "checkpoint", kept.checkpoint)
    except ModelError as error:
        return [str(error)]
    return faults


def _take(card: Card, kind: str, path: Path) -> Path:
    """Check a complete file, give its content its place and write it down; the caller holds the folder's lock."""
    root = home(card.name)
    if kind == "checkpoint":
        from streammatte.networks.pdparams import read_pdparams

        target = place(card, kind)
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


def _take_given(card: Card, kind: str, path: Path) -> Path:
    """As :func:`_take`, of a file that the user put there: it stays where it cannot be used."""
    _check_given(card, kind, path)
    try:
        return _take(card, kind, path)
    except ModelError as error:
        if not path.is_file():
            raise
        raise ModelError(_left(card, kind, str(error))) from error


def _check_given(card: Card, kind: str, path: Path) -> None:
    """Refuse a file put there by hand that differs from what the card states."""
    from streammatte.models.download import mismatch

    fault = mismatch(path, card.files[kind]) if kind in card.files else None
    if fault is not None:
        raise ModelError(_left(card, kind, f"{path} is not the file that the card describes ({fault})"))


def _damage(card: Card, kept: Kept) -> str | None:
    """What keeps the exported model from being used and what to do, as far as a look shows it."""
    if kept.folder is not None:
        try:
            exported(kept.folder)
        except StreammatteError as error:
            return f"{error}; {_fetch_again(card, 'inference')}"
        cut = _changes(home(card.name), "inference", _record(card.name), hashes=False)
        if cut:
            return f"{cut[0]}; {_fetch_again(card, 'inference')}"
    elif kept.archive is not None:
        size, stated = kept.archive.stat().st_size, card.files["inference"].size
        if stated not in (None, size):
            return _left(card, "inference", f"{kept.archive} has {size} bytes, the card states {stated}")
        if not zipfile.is_zipfile(kept.archive):
            return _left(card, "inference", f"{kept.archive} is no zip")
    return None


def _faults(card: Card, kind: str) -> list[str]:
    """What is wrong with what was fetched, the next step behind the last."""
    try:
        found = _changes(home(card.name), kind, _read_record(home(card.name)))
    except ModelError as error:
        return [str(error)]
    if found:
        found[-1] += f"; {_fetch_again(card, kind)}"
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
        raise ModelError(f"{path} is damaged ({type(error).__name__}); {_fetch_again(card, kind)}") from error


def _record(name: str) -> Record:
    """The record, empty where it is damaged: then nothing is known of what is here."""
    with suppress(ModelError):
        return _read_record(home(name))
    return {}


def _write_record(root: Path, kind: str, files: list[Path]) -> None:
    """Write down what was fetched just now; a damaged record is replaced."""
    from streammatte.sinks.atomic import whole_file

    entries = {
        path.relative_to(root).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
    }
    with whole_file(root / RECORD) as place:
        place.write_text(json.dumps({**_record(root.name), kind: entries}, indent=1), encoding="utf-8")


def _left(card: Card, kind: str, fault: str) -> str:
    return f"{fault}; it was left there: put a good one in its place, or delete it and {_fetch_again(card, kind)}"


def _give_own(card: Card) -> str:
    return f"nothing is published; give a checkpoint of your own: --model {card.name}=FILE.pdparams"


def _fetch_again(card: Card, kind: str) -> str:
    if kind in card.files:
        return f"run: streammatte models pull {card.name}{' --checkpoint' if kind == 'checkpoint' else ''}"
    return f"put a good one into {home(card.name)}, or delete what is there"
