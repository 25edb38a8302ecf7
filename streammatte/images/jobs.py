"""Plans which files are made of which image."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streammatte.errors import ConfigError, SourceNotFoundError, UnsupportedOutputError, UnsupportedSourceError
from streammatte.file_names import WILDCARD
from streammatte.media.image_reader import STILL_SUFFIXES
from streammatte.options.images import ImageOptions
from streammatte.sinks import alpha_by_default
from streammatte.sinks.atomic import identity, refuse_inputs
from streammatte.sinks.images import IMAGE_SUFFIXES
from streammatte.sources.images import natural_key

__all__ = ["Job", "plan_folder", "plan_one"]

_TRANSPARENT = "transparent"


@dataclass(frozen=True, slots=True)
class Job:
    """One image and the files that are made of it."""

    source: Path
    target: Path
    alpha: Path | None = None
    foreground: Path | None = None
    trimap: Path | None = None

    @property
    def targets(self) -> tuple[Path, ...]:
        """Files that will be written."""
        return tuple(path for path in (self.target, self.alpha, self.foreground) if path is not None)


def plan_one(source: str, target: str, options: ImageOptions) -> list[Job]:
    """The job of one image and one output.

    Parameters
    ----------
    source, target : str
        Names of input and output.
    options : ImageOptions

    Raises
    ------
    ConfigError
        A folder or a glob without ``--out-dir``, or an output that is an input.
    SourceNotFoundError, UnsupportedOutputError
    """
    path = Path(source)
    if path.is_dir() or (WILDCARD.search(source) and not path.exists()):
        raise ConfigError(f"{source} is more than one image: give --out-dir FOLDER in place of {target}")
    if Path(target).is_dir() or target.endswith(("/", os.sep)):
        raise ConfigError(f"{target} is a folder: give the name of an image, or --out-dir {target}")
    if not path.exists():
        raise SourceNotFoundError(f"there is no {source}; check the name")
    job = Job(path, Path(target), _path(options.alpha), _path(options.foreground), _trimap_for(path, options.trimap))
    return _checked([job], options)


def plan_folder(sources: Sequence[str], out_dir: Path, options: ImageOptions) -> list[Job]:
    """The jobs of images, folders and globs, whose outputs keep their names in a folder.

    Parameters
    ----------
    sources : sequence of str
    out_dir : Path
    options : ImageOptions
        ``alpha`` and ``foreground`` are folders too; the files in them are PNG.

    Raises
    ------
    ConfigError
        Two images would become one file, or an output is an input.
    SourceNotFoundError, UnsupportedSourceError
        Nothing there, or no image in it.
    """
    jobs = [
        Job(
            path,
            out_dir / (path.stem + _suffix_for(path, options)),
            _in_folder(options.alpha, path),
            _in_folder(options.foreground, path),
            _trimap_for(path, options.trimap),
        )
        for path in _expanded(sources)
    ]
    return _checked(jobs, options)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _in_folder(folder: str | None, source: Path) -> Path | None:
    return None if folder is None else Path(folder) / f"{source.stem}.png"


def _suffix_for(source: Path, options: ImageOptions) -> str:
    """The image's own format where it can be written, and hold alpha if it has to; else PNG."""
    needs_alpha = (options.background or _TRANSPARENT) == _TRANSPARENT
    writable = source.suffix.lower() in IMAGE_SUFFIXES
    return source.suffix if writable and (alpha_by_default(source.name) or not needs_alpha) else ".png"


def _expanded(sources: Iterable[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            entries = [entry for entry in path.iterdir() if _is_still(entry)]
            _refuse_none(entries, source)
        elif path.exists():
            entries = [path]
        elif WILDCARD.search(source):
            entries = [entry for entry in map(Path, glob.glob(source, recursive=True)) if _is_still(entry)]  # noqa: PTH207
            _refuse_none(entries, source)
        else:
            raise SourceNotFoundError(f"there is no {source}; check the name")
        found |= dict.fromkeys(sorted(entries, key=natural_key))
    return list(found)


def _is_still(path: Path) -> bool:
    return path.suffix.lower() in STILL_SUFFIXES and path.is_file() and not path.name.startswith(".")


def _refuse_none(entries: list[Path], source: str) -> None:
    if not entries:
        kinds = " ".join(sorted(STILL_SUFFIXES))
        raise UnsupportedSourceError(f"{source} holds no image; looked for {kinds}")


def _trimap_for(source: Path, trimap: str | None) -> Path | None:
    """The trimap itself, or the one in a folder that is named like the image."""
    if trimap is None:
        return None
    path = Path(trimap)
    if not path.exists():
        raise SourceNotFoundError(f"there is no trimap {trimap}; check the name")
    if not path.is_dir():
        return path
    named = sorted(entry for entry in path.iterdir() if entry.stem == source.stem and _is_still(entry))
    if not named:
        raise SourceNotFoundError(f"{trimap} holds no trimap named {source.stem}, as {source.stem}.png would be")
    return named[0]


def _checked(jobs: list[Job], options: ImageOptions) -> list[Job]:
    if len(jobs) > 1 and options.trimap is not None and not Path(options.trimap).is_dir():
        raise ConfigError(f"--trimap {options.trimap} is one trimap for {len(jobs)} images; give a folder of them")
    inputs: dict[str, str | None] = {"the background": options.background}
    inputs |= {f"the input {job.source}": str(job.source) for job in jobs}
    inputs |= {f"the trimap {job.trimap}": str(job.trimap) for job in jobs if job.trimap is not None}
    written: dict[str, Job] = {}
    for job in jobs:
        for target in job.targets:
            if target.suffix.lower() not in IMAGE_SUFFIXES:
                raise UnsupportedOutputError(
                    f"cannot write {target}: an image's suffix must be one of {' '.join(IMAGE_SUFFIXES)}"
                )
            key = identity(target)
            if key in written:
                other = written[key].source
                what = f"both {other} and {job.source}" if other != job.source else "two outputs"
                raise ConfigError(f"{what} would become {target}; give them other names, or run them one by one")
            written[key] = job
    refuse_inputs(inputs, (str(target) for job in jobs for target in job.targets))
    return jobs
