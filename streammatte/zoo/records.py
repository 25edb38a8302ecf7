"""What was fetched, as it came: size and SHA-256 of every file, in ``pulled.json`` beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streammatte.errors import ModelError
from streammatte.zoo.pull import file_sha256

__all__ = ["RECORD", "changes", "read_record", "resized", "write_record"]

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
