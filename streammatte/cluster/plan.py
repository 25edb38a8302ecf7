"""Which videos become which outputs: from files, folders, globs and manifests."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from streammatte.errors import ConfigError, SourceNotFoundError, UnsupportedSourceError
from streammatte.file_names import VIDEO_SUFFIXES, WILDCARD, is_video_name
from streammatte.options.declare import check, from_text, options_of
from streammatte.options.video import VideoOptions
from streammatte.sinks.containers import CONTAINERS
from streammatte.sources import is_url
from streammatte.sources.images import natural_key

__all__ = ["Item", "output_for", "plan_items"]

_MANIFESTS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_OWN = ("input", "output", "priority")
_ROLES = ("alpha", "foreground")


@dataclass(frozen=True, slots=True)
class Item:
    """One video to do.

    Parameters
    ----------
    source : str
        An absolute path or a URL.
    output : str
        Name inside the target folder, parts joined by ``/``; a folder of images ends with ``/``.
    options : dict
        Options of this video besides those of all: names of :class:`VideoOptions` to values.
    priority : int
        Higher is earlier.
    """

    source: str
    output: str
    options: dict[str, Any] = field(default_factory=dict)
    priority: int = 0


def plan_items(
    inputs: Sequence[str], options: VideoOptions, kind: str = "auto", *, manifest: Iterable[str] = ()
) -> list[Item]:
    """The videos that inputs name, each with its output; no two have the same.

    Parameters
    ----------
    inputs : sequence of str
        Files, URLs, folders (searched for videos, with their folders), globs, manifests (``.csv``, ``.jsonl``), or
        ``-`` for ``manifest``.
    options : VideoOptions
        What holds for all; a manifest's rows are checked together with it.
    kind : str
        As :class:`streammatte.options.batch.BatchOptions` has ``output_format``.
    manifest : iterable of str
        Lines of standard input: names, or JSON objects.

    Raises
    ------
    ConfigError
        A manifest's row is wrong, or two videos would become one output.
    SourceNotFoundError, UnsupportedSourceError
        Nothing is there, or it holds no video.
    """
    found: list[Item] = []
    for name in inputs:
        found += _items_of(name, options, kind, manifest)
    seen: dict[str, Item] = {}
    for item in found:
        other = seen.setdefault(item.output.rstrip("/").casefold(), item)
        if other is not item and (other.source, other.options) != (item.source, item.options):
            raise ConfigError(
                f"{other.source} and {item.source} would both become {item.output}; "
                "give them outputs of their own in a manifest"
            )
    return list({item.output: item for item in found}.values())


def _items_of(name: str, options: VideoOptions, kind: str, manifest: Iterable[str]) -> Iterator[Item]:
    path = Path(name).expanduser()
    if name == "-":
        yield from _rows(_json_lines(manifest, "standard input"), options, kind, Path.cwd())
    elif is_url(name):
        yield Item(name, output_for(PurePosixPath(name.partition("?")[0]).name or "video", options, kind))
    elif path.suffix.lower() in _MANIFESTS and path.is_file():
        yield from _rows(_manifest_rows(path), options, kind, path.parent.resolve())
    elif path.is_dir():
        videos = sorted((p for p in path.rglob("*") if _is_video(p)), key=lambda p: (p.parent, natural_key(p)))
        if not videos:
            raise UnsupportedSourceError(f"the folder {name} holds no video; looked for {' '.join(VIDEO_SUFFIXES)}")
        for video in videos:
            yield Item(_absolute(video), output_for(video.relative_to(path).as_posix(), options, kind))
    elif path.exists():
        yield Item(_absolute(path), output_for(path.name, options, kind))
    elif WILDCARD.search(name):
        matches = sorted(filter(_is_video, map(Path, glob.glob(str(path), recursive=True))), key=natural_key)  # noqa: PTH207
        if not matches:
            raise SourceNotFoundError(f"{name} matches no video; check the pattern (and quote it in a shell)")
        for video in matches:
            yield Item(_absolute(video), output_for(video.name, options, kind))
    else:
        raise SourceNotFoundError(f"there is no {name}; check the name")


def _absolute(path: Path) -> str:
    """A link stays one."""
    return os.path.abspath(path)  # noqa: PTH100


def _is_video(path: Path) -> bool:
    return is_video_name(path) and not path.name.startswith(".") and path.is_file()


def output_for(name: str, options: VideoOptions, kind: str = "auto") -> str:
    """The name of what a video becomes: the same container where it can be written, and hold alpha if it has to.

    Parameters
    ----------
    name : str
        Of the input.
    options : VideoOptions
    kind : str
        A suffix without its dot; ``png`` for a folder of images, ``auto`` for the input's own.
    """
    path = PurePosixPath(name)
    if kind == "png":
        return f"{path.with_suffix('')}/"
    if kind != "auto":
        return str(path.with_suffix(f".{kind}"))
    if options.background == "transparent" and path.suffix.lower() not in (".mov", ".webm"):
        return str(path.with_suffix(".mov"))
    return str(path) if path.suffix.lower() in CONTAINERS else str(path.with_suffix(".mp4"))


def _manifest_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the manifest {path} cannot be read: {error}") from error
    if _MANIFESTS[path.suffix.lower()] == "jsonl":
        yield from _json_lines(text.splitlines(), str(path))
        return
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        if "input" not in (reader.fieldnames or ()):
            raise ConfigError(f"the manifest {path} has no column 'input' in its first line")
        for row in reader:
            if None in row:
                raise ConfigError(f"{path}, line {reader.line_num}: more values than columns")
            yield f"{path}, line {reader.line_num}", {key: value for key, value in row.items() if value}
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}") from error


def _json_lines(lines: Iterable[str], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        text, where = line.strip(), f"{name}, line {number}"
        if not text:
            continue
        if not text.startswith("{"):
            yield where, {"input": text}
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where} is no JSON: {error}") from error
        yield where, row


def _rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], options: VideoOptions, kind: str, folder: Path
) -> Iterator[Item]:
    """Items of a manifest; names of inputs are relative to the manifest's folder."""
    known = {entry.name: entry for entry in options_of(VideoOptions)}
    for where, row in rows:
        given = {str(key).strip().replace("-", "_"): value for key, value in row.items()}
        if not isinstance(given.get("input"), str) or not given["input"].strip():
            raise ConfigError(f"{where}: 'input' is missing")
        unknown = sorted(set(given) - set(known) - set(_OWN))
        if unknown:
            raise ConfigError(f"{where}: unknown option {', '.join(unknown)}")
        source = given["input"].strip()
        if not is_url(source):
            source = _absolute(folder / Path(source).expanduser())
        try:
            values = {
                name: from_text(known[name], value) if isinstance(value, str) else check(known[name], value)
                for name, value in given.items()
                if name in known
            }
            merged = options.replace(**values)
            priority = int(given.get("priority") or 0)
        except (ConfigError, ValueError, TypeError, OverflowError) as error:
            raise ConfigError(f"{where}: {error}") from error
        output = given.get("output")
        if output is None:
            output = output_for(PurePosixPath(source.partition("?")[0]).name, merged, kind)
        names = [output, *(values[role] for role in _ROLES if values.get(role))]
        for each in names:
            _check_inside(each, where)
        yield Item(source, str(output), values, priority)


def _check_inside(name: Any, where: str) -> None:
    parts = PurePosixPath(name.replace(os.sep, "/")) if isinstance(name, str) else PurePosixPath("/")
    if not parts.parts or parts.is_absolute() or ".." in parts.parts:
        raise ConfigError(f"{where}: an output is a name inside the target folder; got {name!r}")
