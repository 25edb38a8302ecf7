"""Still images: one, a folder of them, a glob, a numbered sequence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from streammatte.errors import UnsupportedSourceError
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo
from streammatte.media.image_reader import STILL_SUFFIXES, read_still

__all__ = ["IMAGE_SUFFIXES", "ImageSource", "natural_key"]

IMAGE_SUFFIXES = STILL_SUFFIXES - {".gif"}
"""What a folder is searched for, in lower case; a GIF is a video."""

SRGB = ColorSpec(matrix=2, primaries=1, transfer=13, full_range=True)
"""Stills without a profile are sRGB; they have no YUV matrix."""


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts]


class ImageSource:
    """Still images as a video.

    Parameters
    ----------
    paths : sequence of Path
        In order; all of one size.
    rate : Fraction or int
        Images a second.
    name : str, optional
        What messages call it.

    Raises
    ------
    UnsupportedSourceError
        No image, one that cannot be read, or (from ``frames()``) one of another size.
    """

    def __init__(self, paths: Sequence[Path], rate: Fraction | float = 25, name: str = "") -> None:
        if not paths:
            raise UnsupportedSourceError(
                f"{name or 'the sequence'} has no images; give PNG, JPEG, WebP, TIFF or BMP files"
            )
        self._paths = list(paths)
        self.rate = Fraction(str(rate)) if isinstance(rate, float) else Fraction(rate)
        rgb, alpha = read_still(self._paths[0])
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
            has_alpha=alpha is not None,
        )

    def frames(self) -> Iterator[Frame]:
        """One frame an image, in RGB."""
        size = (self.info.height, self.info.width)
        for index, path in enumerate(self._paths):
            rgb, alpha = read_still(path)
            if rgb.shape[:2] != size:
                raise UnsupportedSourceError(
                    f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, the images before are {size[1]}x{size[0]}; "
                    "a video needs one size: scale it, or give the images one by one"
                )
            yield Frame((rgb,), Layout.RGB, index, self.info.time_base, SRGB, index, 1, alpha)

    def close(self) -> None:
        """Nothing is held open."""
