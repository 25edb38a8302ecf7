"""Backgrounds: an image, a video, a colour, the image's own background blurred, or none."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from streammatte.color import KEY_GREEN, is_color, parse_color
from streammatte.compositing.blur import DEFAULT_STRENGTH, blur_background
from streammatte.compositing.video_background import VideoBackground
from streammatte.errors import BackgroundError, SourceError
from streammatte.frames import U8, Frame, Layout, Matte
from streammatte.media.image_reader import STILL_SUFFIXES, animation_format, is_image, read_still
from streammatte.media.planes import Target, color_planes, convert_planes
from streammatte.network_size import MAX_MEGAPIXELS
from streammatte.protocols import Source

__all__ = [
    "Background",
    "BlurBackground",
    "ColorBackground",
    "ImageBackground",
    "Original",
    "Transparent",
    "VideoBackground",
    "parse_background",
]


_FITS = ("cover", "contain", "stretch")
_FORMS = "an image, a video, a colour name, #rrggbb, blur[:1-100], transparent or none"


class Background(Protocol):
    """Supplies the planes behind a frame."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Planes with the frame's layout, size and colour description; not to be written to."""
        ...

    def reset(self) -> None:
        """The video starts again."""
        ...

    def interrupt(self) -> None:
        """The video ends: wait for no server any longer. Safe from any thread."""
        ...

    def close(self) -> None:
        """Release what was opened. Safe to call twice."""
        ...


class _Still:
    """A background that does not depend on time."""

    def reset(self) -> None:
        """Nothing is remembered of a video."""

    def interrupt(self) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is open."""


class Transparent(_Still):
    """No background: the composite carries alpha."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Black, which the compositor uses where alpha is 0."""
        return color_planes((0, 0, 0), Target.of(matte.frame))


class Original(_Still):
    """The image's own background, untouched."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The frame's own planes."""
        return matte.frame.planes


class ColorBackground(_Still):
    """One colour, (R, G, B) of 0 to 255."""

    def __init__(self, rgb: tuple[int, int, int]) -> None:
        self.rgb = rgb
        self._converted: dict[Target, tuple[U8, ...]] = {}

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Planes of the colour."""
        target = Target.of(matte.frame)
        if target not in self._converted:
            self._converted = {target: color_planes(self.rgb, target)}
        return self._converted[target]


class ImageBackground(_Still):
    """A still image, converted once a video.

    Parameters
    ----------
    rgb : ndarray (H, W, 3) uint8
    fit : {"cover", "contain", "stretch"}
    sample_aspect : Fraction
        Width of the video's pixels over their height.
    """

    def __init__(self, rgb: U8, fit: str = "cover", sample_aspect: Fraction = Fraction(1)) -> None:
        self._frame = Frame((np.ascontiguousarray(rgb),), Layout.RGB, 0, Fraction(1))
        self._fit = fit
        self._aspect = sample_aspect
        self._converted: dict[Target, tuple[U8, ...]] = {}

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The image, fitted."""
        target = Target.of(matte.frame)
        if target not in self._converted:
            self._converted = {target: convert_planes(self._frame, target, self._fit, self._aspect)}
        return self._converted[target]


class BlurBackground(_Still):
    """The image's own background, blurred.

    Parameters
    ----------
    strength : float
        1 to 100; see :func:`~streammatte.compositing.blur.blur_background`.
    """

    def __init__(self, strength: float = DEFAULT_STRENGTH) -> None:
        self.strength = strength

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The background alone, out of focus."""
        return blur_background(matte, self.strength)


def parse_background(
    spec: str,
    *,
    fit: str = "cover",
    open_video: Callable[[str], Callable[[], Source]] | None = None,
    sample_aspect: Fraction = Fraction(1),
    max_megapixels: int = MAX_MEGAPIXELS,
    at_least: tuple[int, int] | None = None,
    begin: float | None = None,
) -> Background:
    """A background from its description.

    Parameters
    ----------
    spec : str
        A path of an image or a video, a CSS colour name (``green`` is the screens' #00b140), ``#rgb``, ``#rrggbb``,
        ``blur`` or ``blur:STRENGTH`` (1 to 100), ``transparent``, ``none``.
    fit : {"cover", "contain", "stretch"}
        How an image or a video fills the frame: cropped, inside black bars, distorted.
    open_video : callable, optional
        Gives, for a path, what opens that video at its beginning; without it videos are refused.
    sample_aspect : Fraction
        Width over height of the pixels of the video in front.
    max_megapixels : int
        Larger images are refused.
    at_least : (int, int), optional
        Width and height of the frames: an image that is larger may be kept smaller.
    begin : float, optional
        Seconds, as :class:`VideoBackground` has it.

    Raises
    ------
    BackgroundError
        Where the description is none of these or the file cannot be read.
    """
    if fit not in _FITS:
        raise BackgroundError(f"fit must be cover, contain or stretch, got {fit!r}")
    name = spec.strip()
    kind, _, strength = name.partition(":")
    if name.lower() == "transparent":
        return Transparent()
    if name.lower() == "none":
        return Original()
    if kind.lower() == "blur":
        return BlurBackground(_strength(strength, spec) if ":" in name else DEFAULT_STRENGTH)
    path = Path(name).expanduser()
    if not path.is_file() and is_color(name):
        return ColorBackground(parse_color(KEY_GREEN if name.lower() == "green" else name))
    if name.startswith("#"):
        raise BackgroundError(f"{spec!r} is no colour; write #rgb or #rrggbb with hexadecimal digits")
    if "://" not in name:
        still = _read_still(name, path, max_megapixels, at_least)
        if still is not None:
            return ImageBackground(still, fit, sample_aspect)
    if open_video is None:
        raise BackgroundError(f"background {name} cannot be read as an image; give {_FORMS}")
    try:
        return VideoBackground(open_video(str(path) if "://" not in name else name), fit, sample_aspect, begin)
    except SourceError as error:
        raise BackgroundError(f"background {name} cannot be read: {error}") from error


def _strength(text: str, spec: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = 0.0
    if not 1 <= strength <= 100:
        raise BackgroundError(f"blur strength must be 1 to 100, got {spec!r}; try 'blur:25'")
    return strength


def _read_still(name: str, path: Path, max_megapixels: int, at_least: tuple[int, int] | None) -> U8 | None:
    """A still image as RGB, what is transparent in it over black; None where it may be a video."""
    if path.is_dir():
        raise BackgroundError(f"background {name} is a folder; give {_FORMS}")
    if not path.exists():
        raise BackgroundError(f"background {name!r} is no file and no colour; give {_FORMS}")
    if path.is_fifo():
        raise BackgroundError(f"background {name} is a pipe, which cannot be read twice; give {_FORMS}")
    if animation_format(path) or (path.suffix.lower() not in STILL_SUFFIXES and not is_image(path)):
        return None
    try:
        rgb, alpha = read_still(path, max_megapixels, at_least)
    except SourceError as error:
        raise BackgroundError(f"background {error}") from error
    return rgb if alpha is None else np.asarray(cv2.multiply(rgb, cv2.merge([alpha] * 3), scale=1 / 255), np.uint8)
