"""The user's folder of fetched networks.

``models/NAME/`` in the user's cache holds ``NAME.pdparams`` (the checkpoint), ``inference/`` (the unpacked official
zip) and ``pulled.json`` (:mod:`streammatte.models.store`). A zip or a checkpoint that the user puts there by hand is
taken as if it was fetched; where it is not audio it is named and left, never deleted.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streammatte.cache import lasting_dir, writing
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError, StreammatteError
from streammatte.models.archive import inspect, unpack
from streammatte.models.cards import FILE_KINDS, Card, load_card
from streammatte.models.download import Progress, Retry, broken_promise, fetch, file_sha256, mirrored
from streammatte.models.files import DEPLOY_NAMES, exported
from streammatte.models.locks import locked
from streammatte.networks.pdparams import read_pdparams

__all__ = [
    "RECORD",
    "Kept",
    "changes",
    "find",
    "home",
    "place",
    "pull",
    "read_record",
    "ready",
    "resized",
    "verify",
    "write_record",
]

RECORD = "pulled.json"

Record = dict[str, dict[str, dict[str, Any]]]


def read_record(root: Path) -> Record:
    """The record of a network's folder by kind and file, empty where there is none. Raises ModelError: damaged."""
    path = root / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            kind: {relative: {"size": int(facts["size"]), "sha256": str(facts["sha256"])} for relative, facts in files}
            for kind, files in ((kind, files.items()) for kind, files in record.items())
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is damaged ({type(error).__name__})") from error


def write_record(root: Path, kind: str, files: Iterable[Path]) -> None:
    """Write down what was fetched just now; a damaged record is replaced."""
    try:
        record = read_record(root)
    except ModelError:
        record = {}
    record[kind] = {
        path.relative_to(root).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
    }
    part = root / f"{RECORD}.part"
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    part.replace(root / RECORD)


def resized(root: Path, kind: str, record: Record) -> list[str]:
    """What has another size than it came with: a quick look, where :func:`changes` reads every byte."""
    return [
        relative
        for relative, facts in record.get(kind, {}).items()
        if (root / relative).is_file() and (root / relative).stat().st_size != facts["size"]
    ]


def changes(root: Path, kind: str, record: Record) -> list[str]:
    """What is no longer as it came."""
    found = []
    for relative, facts in record.get(kind, {}).items():
        path = root / relative
        if not path.is_file():
            found.append(f"{kind}: {relative} is missing")
        elif path.stat().st_size != facts["size"] or file_sha256(path) != facts["sha256"]:
            found.append(f"{kind}: {relative} has changed since it was fetched")
    return found


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
        Why the exported model that is here cannot be used.
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
    step = "; ".join(_mend(card, other) for other in card.files) or _own(card)
    have = " and ".join(card.files) or "none"
    raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; published files: {have}; {step}")


def find(name: str) -> Kept:
    """What is here of a network. Only looks: nothing is unpacked, and damage is told in the result, not raised."""
    card, root = load_card(name), home(name)
    zipped = root / card.files["inference"].filename if "inference" in card.files else None
    try:
        checkpoint, folder = _checkpoint(card), root / "inference"
        kept = Kept(
            checkpoint if checkpoint.is_file() else None,
            folder if folder.is_dir() else None,
            zipped if zipped is not None and zipped.is_file() else None,
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
        What is here is damaged, or is not what the card promises; the message says what to do.
    ConfigError, DiskFullError
        The zip cannot be unpacked there.
    """
    card, kept = load_card(name), find(name)
    if kept.archive is not None and (kept.folder is None or kept.damage is not None):
        return Kept(kept.checkpoint, _unpack(card))
    if kept.damage is not None:
        raise ModelError(kept.damage)
    if kept.folder is None and kept.checkpoint is None:
        raise ModelNotFoundError(f"{name} is not here yet; {_mend(card, 'inference') if card.files else _own(card)}")
    if kept.folder is None and kept.checkpoint is not None and "checkpoint" not in _record(name):
        fault = _unpromised(card, "checkpoint", kept.checkpoint)
        if fault is not None:
            raise ModelError(fault)
    return kept


def pull(
    name: str,
    kind: str = "inference",
    *,
    mirror: str | None = None,
    retry: Retry | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Fetch a network's file into the user's folder, or find it there; what was fetched and is faulty comes anew.

    Parameters
    ----------
    name : str
        Of a card.
    kind : {"inference", "checkpoint"}
        The exported model, which every engine runs, or the weights alone, for Paddle.
    mirror : str, optional
        An address that takes the place of the official host.
    retry, on_progress
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
    card = load_card(name)
    target = place(card, kind)
    remote = mirrored(card.files[kind], mirror)
    with writing(home(name)):
        home(name).mkdir(parents=True, exist_ok=True)

    def get(check: Callable[[Path], object], anew: bool = False) -> None:
        fetch(remote, target, retry=retry, on_progress=on_progress, check=check, anew=anew)

    if kind == "checkpoint":
        return _pull_weights(card, target, get)
    kept = find(name)
    if kept.folder is not None and not _faults(card, kind):
        return kept.folder
    if kept.archive is None:
        get(lambda part: inspect(part, DEPLOY_NAMES))
    return _unpack(card)


def verify(name: str) -> list[str]:
    """Compare what is here of a network with what was fetched; gives what is wrong, empty where all is well.

    The last line about a file that can be fetched again names the command.
    """
    card, kept = load_card(name), find(name)
    try:
        record = read_record(home(name))
    except ModelError as error:
        return [f"{error}; {_mend(card, 'inference' if kept.folder else 'checkpoint')}"]
    faults = [fault for kind in record for fault in _faults(card, kind)]
    if kept.damage is not None and not any(fault.startswith("inference:") for fault in faults):
        faults.append(kept.damage)
    if kept.checkpoint is not None and "checkpoint" not in record:
        fault = _unpromised(card, "checkpoint", kept.checkpoint)
        faults += [] if fault is None else [fault]
    return faults


def _pull_weights(card: Card, target: Path, get: Callable[..., None]) -> Path:
    root, recorded = home(card.name), "checkpoint" in _record(card.name)
    if recorded and not _faults(card, "checkpoint"):
        return target
    if target.is_file() and not recorded:
        fault = _unpromised(card, "checkpoint", target)
        if fault is not None:
            raise ModelError(fault)
        try:
            read_pdparams(target)
        except ModelError as error:
            raise ModelError(_left(card, "checkpoint", str(error))) from error
    else:
        get(read_pdparams, anew=True)
    with writing(root), _held(root):
        write_record(root, "checkpoint", [target])
    return target


def _unpack(card: Card) -> Path:
    """Unpack the zip that is here, or find that another process has done so."""
    root, archive = home(card.name), place(card, "inference")
    folder = root / "inference"
    with writing(root), _held(root):
        if archive.is_file():
            fault = _unpromised(card, "inference", archive)
            if fault is not None:
                raise ModelError(fault)
            try:
                files = unpack(archive, folder, DEPLOY_NAMES)
            except ModelError as error:
                raise ModelError(_left(card, "inference", str(error))) from error
            write_record(root, "inference", files)
            archive.unlink(missing_ok=True)
    damage = _damage(card, Kept(folder=folder))
    if damage is not None:
        raise ModelError(damage)
    return folder


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """Keep other processes from unpacking into a network's folder, or writing its record."""
    lock = root / ".lock"
    with locked(lock, wait=True):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _checkpoint(card: Card) -> Path:
    remote = card.files.get("checkpoint")
    return home(card.name) / (f"{card.name}.pdparams" if remote is None else remote.filename)


def _damage(card: Card, kept: Kept) -> str | None:
    """What keeps the exported model from being used and what to do, as far as a look shows it."""
    if kept.folder is not None:
        try:
            exported(kept.folder)
        except StreammatteError as error:
            return f"{error}; {_mend(card, 'inference')}"
        cut = resized(home(card.name), "inference", _record(card.name))
        if cut:
            return f"{', '.join(cut)} changed in size since it was fetched; {_mend(card, 'inference')}"
    elif kept.archive is not None:
        size, promised = kept.archive.stat().st_size, card.files["inference"].size
        if promised not in (None, size):
            return _left(card, "inference", f"{kept.archive} has {size} bytes, {promised} were promised")
        if not zipfile.is_zipfile(kept.archive):
            return _left(card, "inference", f"{kept.archive} is no zip")
    return None


def _faults(card: Card, kind: str) -> list[str]:
    """What is wrong with what was fetched, the next step behind the last."""
    try:
        found = changes(home(card.name), kind, read_record(home(card.name)))
    except ModelError as error:
        found = [str(error)]
    if found:
        found[-1] += f"; {_mend(card, kind)}"
    elif kind == "inference" and (damage := find(card.name).damage) is not None:
        found = [damage]
    return found


def _record(name: str) -> dict[str, dict[str, dict[str, object]]]:
    """The record, empty where it is damaged: then nothing is known of what is here."""
    with suppress(ModelError):
        return read_record(home(name))
    return {}


def _unpromised(card: Card, kind: str, path: Path) -> str | None:
    """In what a file put there by hand differs from what the card promises, and what to do."""
    fault = broken_promise(path, card.files[kind]) if kind in card.files else None
    return None if fault is None else _left(card, kind, f"{path} is not what the card promises ({fault})")


def _left(card: Card, kind: str, fault: str) -> str:
    return f"{fault}; it was left there: put an audio one in its place, or delete it and {_mend(card, kind)}"


def _own(card: Card) -> str:
    return f"nothing is published; give a checkpoint of your own: --model {card.name}=FILE.pdparams"


def _mend(card: Card, kind: str) -> str:
    if kind in card.files:
        return f"run: streammatte models pull {card.name}{' --checkpoint' if kind == 'checkpoint' else ''}"
    return f"put an audio one into {home(card.name)}, or delete what is there"
