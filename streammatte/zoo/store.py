"""The user's folder of fetched networks.

``models/NAME/`` in the user's cache holds ``NAME.pdparams`` (the checkpoint), ``inference/`` (the unpacked official
zip) and ``pulled.json``: size and SHA-256 of each file as it came, so that later damage is noticed also where nothing
is published to compare with.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streammatte.cache import user_cache_dir
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.zoo.archive import unpack
from streammatte.zoo.cards import FILE_KINDS, Card, load_card
from streammatte.zoo.pull import Progress, Retry, fetch, file_sha256, mirrored
from streammatte.zoo.resolve import DEPLOY_NAMES

__all__ = ["Kept", "find", "home", "place", "pull", "verify"]

RECORD = "pulled.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is here of a network; None where it is not."""

    checkpoint: Path | None
    folder: Path | None


def home(name: str) -> Path:
    """Folder of a network; it exists once something was fetched."""
    return user_cache_dir("models") / name


def place(card: Card, kind: str) -> Path:
    """Where a file of a network goes: what a user without a connection puts there is taken as if it was fetched."""
    remote = card.files.get(kind)
    if remote is None:
        have = " and ".join(card.files) or "none"
        why = "it comes with the package" if card.embedded else f"published files: {have}"
        raise ModelNotFoundError(f"no {kind} of {card.name} can be fetched; {why}")
    return home(card.name) / remote.filename


def find(name: str) -> Kept:
    """What is here of a network. Unpacks a zip that the user put in its place by hand."""
    card = load_card(name)
    folder = home(name) / "inference"
    if not folder.is_dir() and "inference" in card.files and place(card, "inference").is_file():
        _unpack(card, place(card, "inference"))
    checkpoint = place(card, "checkpoint") if "checkpoint" in card.files else home(name) / f"{name}.pdparams"
    return Kept(checkpoint if checkpoint.is_file() else None, folder if folder.is_dir() else None)


def pull(
    name: str,
    kind: str = "inference",
    *,
    mirror: str | None = None,
    retry: Retry | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Fetch a network's file into the user's folder, or find it there.

    Parameters
    ----------
    name : str
        Of a card.
    kind : {"inference", "checkpoint"}
        The exported model, which every engine runs, or the weights alone, for Paddle.
    mirror : str, optional
        An address that takes the place of the official host.
    retry, on_progress
        As :func:`streammatte.zoo.pull.fetch`.

    Returns
    -------
    Path
        The checkpoint, or the folder of the exported model.

    Raises
    ------
    ModelNotFoundError, ModelError, ConfigError, DiskFullError
        As :func:`streammatte.zoo.pull.fetch` and :func:`streammatte.zoo.archive.unpack`.
    """
    if kind not in FILE_KINDS:
        raise ConfigError(f"what is fetched must be {' or '.join(FILE_KINDS)}; got {kind!r}")
    card = load_card(name)
    target = place(card, kind)
    kept = find(name)
    if kind == "inference" and kept.folder is not None:
        return kept.folder
    target.parent.mkdir(exist_ok=True)
    fetch(mirrored(card.files[kind], mirror), target, retry=retry, on_progress=on_progress)
    if kind == "checkpoint":
        _record(card, kind, [target])
        return target
    try:
        return _unpack(card, target)
    except ModelError:
        target.unlink(missing_ok=True)
        raise


def verify(name: str) -> list[str]:
    """Compare what is here of a network with what was fetched; gives what is wrong, empty where all is well."""
    record = _read_record(name)
    faults = []
    for kind, files in record.items():
        for relative, facts in files.items():
            path = home(name) / relative
            if not path.is_file():
                faults.append(f"{kind}: {relative} is missing")
            elif path.stat().st_size != facts["size"] or file_sha256(path) != facts["sha256"]:
                faults.append(f"{kind}: {relative} has changed since it was fetched")
    kept = find(name)
    if kept.checkpoint is not None and "checkpoint" not in record:
        faults += _against_card(name, kept.checkpoint)
    return faults


def _against_card(name: str, checkpoint: Path) -> list[str]:
    promised = load_card(name).files.get("checkpoint")
    if promised is None:
        return []
    try:
        fetch(promised, checkpoint)  # it is there, so this only compares
    except ModelError as error:
        return [str(error)]
    return []


def _unpack(card: Card, archive: Path) -> Path:
    folder = home(card.name) / "inference"
    files = unpack(archive, folder)
    if not any(path.name in DEPLOY_NAMES for path in files):
        shutil.rmtree(folder)
        raise ModelError(f"{archive} holds no deploy.yaml; it is no exported matting model")
    _record(card, "inference", files)
    archive.unlink()
    return folder


def _record(card: Card, kind: str, files: list[Path]) -> None:
    root = home(card.name)
    record = _read_record(card.name)
    record[kind] = {
        path.relative_to(root).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
    }
    part = root / f"{RECORD}.part"
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    part.replace(root / RECORD)


def _read_record(name: str) -> dict[str, dict[str, Any]]:
    path = home(name) / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); delete it and pull {name} again") from error
    if not isinstance(record, dict):
        raise ModelError(f"{path} is damaged; delete it and pull {name} again")
    return record
