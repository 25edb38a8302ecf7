"""Data sets with known mattes: the images and videos of a folder, and their mattes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streammatte.errors import ConfigError, SourceNotFoundError
from streammatte.file_names import is_video_name
from streammatte.media.image_reader import STILL_SUFFIXES
from streammatte.sources.images import natural_key

__all__ = ["LAYOUTS", "Item", "find_items", "is_image", "list_images"]


LAYOUTS = (
    "image/ + matte/ (PPM-100)",
    "val/fg/ + val/alpha/ [+ val/trimap/] (PPM-AIM-195)",
    "images/ + alphas/",
    "stills/NAME.jpg + NAME_alpha.png, videos/NAME/frames.* + alpha.*, empty/*.jpg",
)
"""What ``find_items`` recognises, for messages and help."""

_FOLDER_PAIRS = (("image", "matte"), ("images", "mattes"), ("fg", "alpha"), ("image", "alpha"), ("images", "alphas"))
_PARTS = (".", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One image or video of a data set.

    ``alpha`` is None for an ``empty`` image (no person: the right matte is zero). ``trimap`` and ``foreground`` are
    there where the data set has them.
    """

    name: str
    kind: Literal["still", "video", "empty"]
    source: Path
    alpha: Path | None = None
    trimap: Path | None = None
    foreground: Path | None = None


def is_image(path: Path) -> bool:
    """True for a file name that is an image's."""
    return path.suffix.lower() in STILL_SUFFIXES


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in natural order; hidden files are left out."""
    found = [path for path in folder.iterdir() if is_image(path) and not path.name.startswith(".")]
    return sorted(found, key=natural_key)


def find_items(folder: Path) -> list[Item]:
    """Everything with a truth in ``folder``, images, then videos, then empty rooms.

    Raises
    ------
    SourceNotFoundError
        There is no such folder.
    ConfigError
        No known layout, or an image without its matte.
    """
    if not folder.is_dir():
        raise SourceNotFoundError(
            f"there is no folder {folder}; --data takes a folder laid out as {'; or '.join(LAYOUTS)}"
        )
    items = [
        *_paired_folders(folder),
        *_suffixed(folder),
        *_suffixed(folder / "stills"),
        *_videos(folder),
        *_videos(folder / "videos"),
        *_empty(folder if folder.name == "empty" else folder / "empty"),
    ]
    if not items:
        raise ConfigError(f"{folder} holds no data set; known layouts: {'; '.join(LAYOUTS)}")
    return items


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(folder)} if folder.is_dir() else {}


def _paired_folders(root: Path) -> Iterator[Item]:
    for part in _PARTS:
        for images, mattes in _FOLDER_PAIRS:
            base = root / part
            if not ((base / images).is_dir() and (base / mattes).is_dir()):
                continue
            found, alphas, trimaps = (_by_stem(base / name) for name in (images, mattes, "trimap"))
            missing = sorted(found.keys() - alphas.keys())
            if missing:
                raise ConfigError(
                    f"{base / images}: no matte in {base / mattes} for {missing[0]} ({len(missing)} in all); "
                    "add it or move it away"
                )
            for stem, image in found.items():
                yield Item(stem, "still", image, alphas[stem], trimaps.get(stem))
            return


def _suffixed(folder: Path) -> Iterator[Item]:
    images = _by_stem(folder)
    for stem, path in images.items():
        if f"{stem}_alpha" in images:
            others = (images.get(f"{stem}_{name}") for name in ("alpha", "trimap", "fg"))
            yield Item(stem, "still", path, *others)


def _videos(folder: Path) -> Iterator[Item]:
    if not folder.is_dir():
        return
    for video_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames, alpha = _video_named(video_folder, "frames"), _video_named(video_folder, "alpha")
        if frames and alpha:
            yield Item(video_folder.name, "video", frames, alpha)
        elif frames:
            raise ConfigError(
                f"{video_folder} has {frames.name} but no alpha video; add alpha.mkv or move the folder away"
            )


def _video_named(video_folder: Path, stem: str) -> Path | None:
    return next((path for path in sorted(video_folder.glob(f"{stem}.*")) if is_video_name(path)), None)


def _empty(folder: Path) -> Iterator[Item]:
    for stem, path in _by_stem(folder).items():
        yield Item(stem, "empty", path)
