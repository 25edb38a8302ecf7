"""Still images: one, a folder of them, a glob, a numbered sequence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from streammatte.errors import SourceError, UnsupportedSourceError
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo
from streammatte.media.image_reader import STILL_SUFFIXES, may_have_alpha, read_animation, read_still
from streammatte.network_size import MAX_MEGAPIXELS
from streammatte.sources.read_options import ReadOptions

__all__ = ["IMAGE_SUFFIXES", "AnimationSource", "ImageSource", "natural_key"]

IMAGE_SUFFIXES = STILL_SUFFIXES - {".gif"}
"""What a folder is searched for, in lower case; a GIF is a video."""

_MILLISECOND = Fraction(1, 1000)
_EDGE = 5e-4
"""Seconds: half a unit of time."""

_DIGITS = re.compile(r"\d+")
_LONGEST = 20
"""Digits that numbers in names are filled up to, to be sorted by value."""

SRGB = ColorSpec(matrix=2, primaries=1, transfer=13, full_range=True)
"""Stills without a profile are sRGB; they have no YUV matrix."""


def natural_key(path: str | Path) -> str:
    """Sort key by which frame2 comes before frame10, whatever their folders."""
    return _DIGITS.sub(lambda number: number[0].zfill(_LONGEST), os.path.basename(path).lower())  # noqa: PTH119


class ImageSource:
    """Still images as a video.

    Parameters
    ----------
    paths : sequence of str or Path
        In order; all of one size.
    rate : Fraction or int
        Images a second.
    name : str, optional
        What messages call it.
    max_megapixels : int
        Larger images are refused.
    first : int
        Time of the first image, in images.

    Raises
    ------
    UnsupportedSourceError
        No image, one that cannot be read, or (from ``frames()``) one of another size.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        rate: Fraction | float = 25,
        name: str = "",
        max_megapixels: int = MAX_MEGAPIXELS,
        first: int = 0,
    ) -> None:
        if not paths:
            raise UnsupportedSourceError(
                f"{name or 'the sequence'} has no images; give PNG, JPEG, WebP, TIFF or BMP files"
            )
        self._paths, self._start = list(paths), first
        self._most = max_megapixels
        self.rate = Fraction(str(rate)) if isinstance(rate, float) else Fraction(rate)
        rgb, alpha = read_still(self._paths[0], max_megapixels)
        self.info = StreamInfo(
            width=rgb.shape[1],
            height=rgb.shape[0],
            layout=Layout.RGB,
            time_base=1 / self.rate,
            rate=self.rate,
            color=SRGB,
            frame_count=len(self._paths),
            duration=float(len(self._paths) / self.rate),
            name=name or str(self._paths[0]),
            has_alpha=alpha is not None or may_have_alpha(Path(self._paths[0])),
        )

    def frames(self) -> Iterator[Frame]:
        """One frame an image, in RGB."""
        size = (self.info.height, self.info.width)
        for index, path in enumerate(self._paths):
            rgb, alpha = read_still(path, self._most)
            if rgb.shape[:2] != size:
                raise UnsupportedSourceError(
                    f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, the images before are {size[1]}x{size[0]}; "
                    "a video needs one size: scale it, or give the images one by one"
                )
            yield Frame((rgb,), Layout.RGB, self._start + index, self.info.time_base, SRGB, index, 1, alpha)

    def close(self) -> None:
        """Nothing is held open."""


class AnimationSource:
    """An animated GIF, APNG or WebP as a video, at the times that its images are shown.

    Parameters
    ----------
    path : Path
    name : str
        What messages call it.
    options : ReadOptions

    Raises
    ------
    UnsupportedSourceError, SourceError
    """

    def __init__(self, path: Path, name: str, options: ReadOptions) -> None:
        start, duration, max_megapixels = options.start, options.duration, options.max_megapixels
        times, has_alpha, size, at = [], False, (0, 0), 0.0
        for rgb, alpha, seconds in read_animation(path, max_megapixels):
            times.append((at, seconds))
            at += seconds
            has_alpha |= alpha is not None
            size = (rgb.shape[1], rgb.shape[0])
        begin, end = start or 0.0, at if duration is None else (start or 0.0) + duration
        self._path, self._most = path, max_megapixels
        self._wanted = [
            (time, seconds) for time, seconds in times if time + seconds > begin + _EDGE and time < end - _EDGE
        ]
        if not self._wanted:
            raise SourceError(f"{name} lasts {at:.2f} s; start {begin:g} lies beyond its end")
        self._skipped = times.index(self._wanted[0])
        self.info = StreamInfo(
            width=size[0],
            height=size[1],
            layout=Layout.RGB,
            time_base=_MILLISECOND,
            rate=Fraction(len(times)) / Fraction(str(round(at, 3))),
            color=SRGB,
            frame_count=len(self._wanted),
            duration=sum(seconds for _, seconds in self._wanted),
            name=name,
            has_alpha=has_alpha,
        )

    def frames(self) -> Iterator[Frame]:
        """One frame an image, in RGB."""
        first = self._wanted[0][0]
        images = islice(read_animation(self._path, self._most), self._skipped, None)
        for index, ((at, seconds), (rgb, alpha, _)) in enumerate(zip(self._wanted, images, strict=False)):
            pts, length = round((at - first) * 1000), round(seconds * 1000)
            opaque = np.full(rgb.shape[:2], 255, np.uint8) if self.info.has_alpha and alpha is None else alpha
            yield Frame((rgb,), Layout.RGB, pts, _MILLISECOND, SRGB, index, length, opaque)

    def close(self) -> None:
        """Nothing is held open."""
