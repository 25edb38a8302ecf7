"""Opens the source for a path, a pattern or a URL."""

from __future__ import annotations

import dataclasses
import glob
import logging
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from streammatte.errors import BeyondEndError, SourceError, SourceNotFoundError, UnsupportedSourceError
from streammatte.file_names import NUMBER, WILDCARD
from streammatte.media.container import shown_address
from streammatte.media.image_reader import STILL_SUFFIXES, animation_format
from streammatte.protocols import Source
from streammatte.runtime import in_background
from streammatte.sources.images import IMAGE_SUFFIXES, AnimationSource, ImageSource, natural_key
from streammatte.sources.read_options import ReadOptions
from streammatte.sources.video import FileSource

__all__ = ["is_url", "open_source", "reopener"]

log = logging.getLogger(__name__)

_RATE = 25


def is_url(spec: str) -> bool:
    """True for an address with a scheme (``rtsp://...``), also ``file://``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", spec) is not None


def open_source(spec: str | os.PathLike[str], options: ReadOptions | None = None, **changes: Any) -> Source:
    """Open a video, a folder of images, a stream.

    Parameters
    ----------
    spec : str or path
        A video (anything PyAV decodes), a still image, a folder of images, a glob (``shots/*.png``), a numbered
        sequence (``frame_%04d.png``), ``-`` for a video on standard input (raw Y4M, or whatever FFmpeg reads from a
        pipe), or a URL (http, https, rtsp, rtmp ...).
    options : ReadOptions, optional
    **changes
        Fields of :class:`ReadOptions` that differ.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
        What is wrong with the input.
    ConfigError
        What is wrong with the options.
    """
    how = dataclasses.replace(options or ReadOptions(), **changes)
    text = os.fspath(spec)
    if text == "-":
        return _waiting("pipe:0", "standard input", how)
    if is_url(text):
        if not text.lower().startswith("file://"):
            return _waiting(text, shown_address(text), how)
        text = unquote(urlsplit(text).path)
    path = Path(text).expanduser()
    images = _images(path, text)
    if images is not None:
        rate = _RATE if how.rate is None else how.rate
        first, last = _part(len(images), how, rate, text)
        at = 0 if how.shift is None else first - round(how.shift * Fraction(str(rate)))
        return ImageSource(images[first:last], rate, text, how.max_megapixels, at)
    if how.rate is not None:
        log.log(how.notice, "%s has its own times; the rate is for image sequences and not used", text)
    _check_file(path, text)
    if path.suffix.lower() in STILL_SUFFIXES and animation_format(path) == "WEBP":  # FFmpeg reads GIF and APNG
        return AnimationSource(path, text, how)
    return (_waiting if path.is_fifo() else FileSource)(str(path.absolute()), text, how)


def _waiting(address: str, name: str, options: ReadOptions) -> FileSource:
    """A source that may have to wait for a server or a writer: Ctrl-C ends the wait at once."""
    source = in_background(lambda: FileSource(address, name, options), FileSource.close)
    assert source is not None
    return source


def reopener(spec: str, options: ReadOptions) -> Callable[[], Source]:
    """Opens the same input at its beginning at every call, as loops do; warnings of it are given once."""
    wanted = [options]

    def open_again() -> Source:
        source = open_source(spec, wanted[0])
        wanted[0] = dataclasses.replace(options, repeated=True)
        return source

    return open_again


def _images(path: Path, text: str) -> list[str] | None:
    """The names of the images that a spec names, in order; None where it names something else.

    Names, not paths: a million of them take a quarter of the memory.
    """
    if path.is_dir():
        with os.scandir(path) as entries:
            found = [entry.path for entry in entries if _is_image(entry.name) and entry.is_file()]
        if not found:
            raise UnsupportedSourceError(
                f"the folder {text} has no images; give one with PNG, JPEG, WebP, TIFF or BMP files"
            )
        return sorted(found, key=natural_key)
    if path.exists():
        return [str(path)] if path.suffix.lower() in IMAGE_SUFFIXES and not animation_format(path) else None
    if NUMBER.search(path.name):
        return _numbered(path, text)
    if WILDCARD.search(text):
        matches = glob.iglob(str(path))  # noqa: PTH207 - absolute too
        found = [match for match in matches if _is_image(os.path.basename(match)) and os.path.isfile(match)]  # noqa: PTH113, PTH119
        if not found:
            raise SourceNotFoundError(f"{text} matches no image; check the pattern (and quote it in a shell)")
        return sorted(found, key=natural_key)
    return None


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _numbered(path: Path, text: str) -> list[str]:
    """``frame_%04d.png``: every file of that form, by number; a gap is logged and skipped."""
    match = NUMBER.search(path.name)
    assert match is not None
    width = int(match[0][2:-1] or 0) if match[0].startswith("%0") else 0
    form = re.compile(
        re.escape(path.name[: match.start()]) + rf"(\d{{{max(width, 1)},}})" + re.escape(path.name[match.end() :])
    )
    found: list[tuple[int, str]] = []
    if path.parent.is_dir():
        with os.scandir(path.parent) as entries:
            for entry in entries:
                hit = form.fullmatch(entry.name)
                if hit and (not width or len(hit[1]) == width or not hit[1].startswith("0")):
                    found.append((int(hit[1]), entry.path))
    if not found:
        raise SourceNotFoundError(f"no file is named like {text}; check the folder and the number of digits")
    found.sort()
    first, last = found[0][0], found[-1][0]
    missing = last - first + 1 - len(found)
    if missing:
        log.warning("%s: %d numbers between %d and %d are missing", text, missing, first, last)
    return [name for _, name in found]


def _part(count: int, how: ReadOptions, rate: Fraction | float, text: str) -> tuple[int, int | None]:
    """Which of the images are wanted: numbers of the first one and of the one behind the last."""
    start = float(how.start or 0)
    first = round(start * float(rate))
    if first and first >= count:
        raise BeyondEndError(f"{text} lasts {count / float(rate):.2f} s; start {start:g} lies beyond its end")
    return first, None if how.duration is None else first + max(1, round(float(how.duration) * float(rate)))


def _check_file(path: Path, text: str) -> None:
    """Check what FFmpeg would report less clearly."""
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no {text}; check the name") from error
    except OSError as error:
        raise SourceError(f"{text} may not be read: {error.strerror or error}") from error
    if path.is_file() and size == 0:
        raise UnsupportedSourceError(f"{text} is empty; give a video")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{text} may not be read: permission denied; change its rights")
