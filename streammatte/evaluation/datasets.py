"""Data sets that carry the truth: which pictures and videos lie in a folder, and where their mattes are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streammatte.errors import ConfigError, SourceNotFoundError

__all__ = ["LAYOUTS", "Item", "find_items", "is_picture", "list_pictures", "natural_key"]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi"})

LAYOUTS = (
    "image/ + matte/ (PPM-100)",
    "val/fg/ + val/alpha/ [+ val/trimap/] (PPM-AIM-195)",
    "images/ + alphas/",
    "stills/NAME.jpg + NAME_alpha.png, videos/NAME/frames.* + alpha.*, empty/*.jpg",
)
"""What ``find_items`` knows, for messages and help."""

_FOLDER_PAIRS = (("image", "matte"), ("images", "mattes"), ("fg", "alpha"), ("image", "alpha"), ("images", "alphas"))
_PARTS = (".", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One picture or video of a data set.

    ``alpha`` is None for an ``empty`` picture (nobody in it: the right matte is zero). ``trimap`` and ``foreground``
    are there where the data set has them.
    """

    name: str
    kind: Literal["still", "video", "empty"]
    picture: Path
    alpha: Path | None = None
    trimap: Path | None = None
    foreground: Path | None = None


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which ``2.png`` comes before ``10.png``."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.stem) if part)


def is_picture(path: Path) -> bool:
    """True for a file name that is a still picture's."""
    return path.suffix.lower() in PICTURES


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order; hidden files are left out."""
    found = [path for path in folder.iterdir() if is_picture(path) and not path.name.startswith(".")]
    return sorted(found, key=natural_key)


def find_items(folder: Path) -> list[Item]:
    """Everything with a truth in ``folder``, stills before videos before empty rooms.

    Raises
    ------
    SourceNotFoundError
        There is no such folder.
    ConfigError
        No known layout, or a picture without its matte.
    """
    if not folder.is_dir():
        raise SourceNotFoundError(
            f"there is no folder {folder}; --data takes a folder laid out as {'; or '.join(LAYOUTS)}"
        )
    items = [*_paired_folders(folder)]
    for stills in (folder, folder / "stills"):
        items += _suffixed(stills)
    for videos in (folder, folder / "videos"):
        items += _videos(videos)
    items += _empty(folder if folder.name == "empty" else folder / "empty")
    if not items:
        raise ConfigError(f"{folder} holds no data set; known layouts: {'; '.join(LAYOUTS)}")
    return items


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_pictures(folder)} if folder.is_dir() else {}


def _paired_folders(root: Path) -> Iterator[Item]:
    for part in _PARTS:
        for pictures, mattes in _FOLDER_PAIRS:
            base = root / part
            if not ((base / pictures).is_dir() and (base / mattes).is_dir()):
                continue
            alphas, trimaps = _by_stem(base / mattes), _by_stem(base / "trimap")
            found = _by_stem(base / pictures)
            _refuse_orphans(base / pictures, found.keys() - alphas.keys(), base / mattes)
            for stem, picture in found.items():
                yield Item(stem, "still", picture, alphas[stem], trimaps.get(stem))
            return


def _refuse_orphans(pictures: Path, missing: Iterable[str], mattes: Path) -> None:
    names = sorted(missing)
    if names:
        raise ConfigError(
            f"{pictures}: no matte in {mattes} for {names[0]} ({len(names)} in all); add it or move it away"
        )


def _suffixed(folder: Path) -> Iterator[Item]:
    stems = _by_stem(folder)
    for stem, path in stems.items():
        if f"{stem}_alpha" in stems:
            yield Item(
                stem, "still", path, stems[f"{stem}_alpha"], stems.get(f"{stem}_trimap"), stems.get(f"{stem}_fg")
            )


def _videos(folder: Path) -> Iterator[Item]:
    if not folder.is_dir():
        return
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames, alpha = _video_named(place, "frames"), _video_named(place, "alpha")
        if frames and alpha:
            yield Item(place.name, "video", frames, alpha)
        elif frames:
            raise ConfigError(f"{place} has {frames.name} but no alpha video; add alpha.mkv or move the folder away")


def _video_named(place: Path, stem: str) -> Path | None:
    return next((path for path in sorted(place.glob(f"{stem}.*")) if path.suffix.lower() in VIDEOS), None)


def _empty(folder: Path) -> Iterator[Item]:
    for stem, path in _by_stem(folder).items():
        yield Item(stem, "empty", path)
