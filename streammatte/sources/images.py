"""Still pictures: one, a folder of them, a glob, a numbered sequence."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import SourceError, SourceNotFoundError, UnsupportedSourceError
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo

__all__ = ["IMAGE_SUFFIXES", "ImageSource", "natural_key", "read_image"]

log = logging.getLogger(__name__)

U8 = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jp2", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif"}
)
"""What a folder is searched for, in lower case."""

SRGB = ColorSpec(matrix=2, primaries=1, transfer=13, full_range=True)
"""Stills without a profile are sRGB; they have no YUV matrix."""

_TO_8_BIT = 257.0
"""65535 / 255."""

_UPRIGHT_ONLY = frozenset({".jpg", ".jpeg", ".jpe"})
"""Kinds that OpenCV turns upright by their EXIF tag, and that have no alpha to lose by it."""


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part.lower()) for part in parts]


def read_image(path: str | Path) -> tuple[U8, U8 | None]:
    """A still picture, upright.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    rgb : ndarray (H, W, 3) uint8, sRGB
    alpha : ndarray (H, W) uint8, straight, or None where the picture is opaque

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
    """
    path = Path(path)
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no {path}; check the name") from error
    except OSError as error:
        raise SourceError(f"{path} may not be read: {error.strerror or error}") from error
    jpeg = path.suffix.lower() in _UPRIGHT_ONLY or data[:3].tobytes() == b"\xff\xd8\xff"
    flags = cv2.IMREAD_COLOR if jpeg else cv2.IMREAD_UNCHANGED
    try:
        picture = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        picture = None
    if picture is None:
        why = "is empty" if not data.size else "is not a picture that can be read"
        raise UnsupportedSourceError(f"{path} {why}; give a PNG, JPEG, WebP, TIFF or BMP file")
    return _split(picture)


def _split(picture: npt.NDArray[Any]) -> tuple[U8, U8 | None]:
    """RGB and alpha of what OpenCV decoded (gray, BGR or BGRA; 8 or 16 bit, or float in [0, 1])."""
    if picture.dtype == np.uint16:
        picture = np.rint(picture / _TO_8_BIT).astype(np.uint8)
    elif picture.dtype != np.uint8:
        picture = np.rint(np.clip(picture.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), None
    if picture.shape[2] == 4:
        alpha = np.ascontiguousarray(picture[..., 3])
        opaque = int(alpha.min()) == 255
        return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGB), None if opaque else alpha
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), None


class ImageSource:
    """Still pictures as a film.

    Parameters
    ----------
    paths : sequence of Path
        In order; all of one size.
    rate : Fraction or int
        Pictures a second.
    name : str, optional
        What messages call it.

    Raises
    ------
    UnsupportedSourceError
        No picture, one that cannot be read, or (from ``frames()``) one of another size.
    """

    def __init__(self, paths: Sequence[Path], rate: Fraction | float = 25, name: str = "") -> None:
        if not paths:
            raise UnsupportedSourceError(
                f"{name or 'the sequence'} has no pictures; give PNG, JPEG, WebP, TIFF or BMP files"
            )
        self._paths = list(paths)
        self.rate = Fraction(str(rate)) if isinstance(rate, float) else Fraction(rate)
        rgb, alpha = read_image(self._paths[0])
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
        """One frame a picture, in RGB."""
        size = (self.info.height, self.info.width)
        for index, path in enumerate(self._paths):
            rgb, alpha = read_image(path)
            if rgb.shape[:2] != size:
                raise UnsupportedSourceError(
                    f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, the pictures before are {size[1]}x{size[0]}; "
                    "a film needs one size: scale it, or give the pictures one by one"
                )
            yield Frame((rgb,), Layout.RGB, index, self.info.time_base, SRGB, index, 1, alpha)

    def close(self) -> None:
        """Nothing is held open."""
