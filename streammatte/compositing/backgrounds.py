"""What stands behind the person: a picture, a film, a colour, the own background blurred, nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from streammatte.colors import is_color, parse_color
from streammatte.compositing.blur import DEFAULT_STRENGTH, blur_background
from streammatte.compositing.planes import Target, color_planes, convert_planes
from streammatte.errors import BackgroundError, SourceError
from streammatte.frames import Frame, Layout, Matte
from streammatte.stages import Source

__all__ = [
    "DEFAULT_GREEN",
    "Background",
    "BlurBackground",
    "ColorBackground",
    "FilmBackground",
    "ImageBackground",
    "Original",
    "Transparent",
    "parse_background",
]

U8 = npt.NDArray[np.uint8]

DEFAULT_GREEN = "#00b140"
"""What ``green`` means here: the green of keying screens, not CSS's."""

_FITS = ("cover", "contain", "stretch")
_FORMS = "an image, a film, a colour name, #rrggbb, blur[:1-100], transparent or none"
_IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"})


class Background(Protocol):
    """Gives the planes behind a frame."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Planes with the frame's layout, size and colour description; not to be written to."""
        ...

    def reset(self) -> None:
        """The film starts anew."""
        ...


class Transparent:
    """No background: the composite carries alpha."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Black, which the compositor puts where nobody is."""
        return color_planes((0, 0, 0), Target.of(matte.frame))

    def reset(self) -> None:
        """Nothing is remembered."""


class Original:
    """The picture's own background, untouched."""

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The frame's own planes."""
        return matte.frame.planes

    def reset(self) -> None:
        """Nothing is remembered."""


class ColorBackground:
    """One colour, (R, G, B) of 0 to 255."""

    def __init__(self, rgb: tuple[int, int, int]) -> None:
        self.rgb = rgb
        self._kept: dict[Target, tuple[U8, ...]] = {}

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """Planes of the colour."""
        target = Target.of(matte.frame)
        if target not in self._kept:
            self._kept = {target: color_planes(self.rgb, target)}
        return self._kept[target]

    def reset(self) -> None:
        """Nothing is remembered of a film."""


class ImageBackground:
    """A still picture, converted once a film.

    Parameters
    ----------
    rgb : ndarray (H, W, 3) uint8
    fit : {"cover", "contain", "stretch"}
    sample_aspect : Fraction
        Width of the film's pixels over their height.
    """

    def __init__(self, rgb: U8, fit: str = "cover", sample_aspect: Fraction = Fraction(1)) -> None:
        self._frame = Frame((np.ascontiguousarray(rgb),), Layout.RGB, 0, Fraction(1))
        self._fit = fit
        self._aspect = sample_aspect
        self._kept: dict[Target, tuple[U8, ...]] = {}

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The picture, fitted."""
        target = Target.of(matte.frame)
        if target not in self._kept:
            self._kept = {target: convert_planes(self._frame, target, self._fit, self._aspect)}
        return self._kept[target]

    def reset(self) -> None:
        """Nothing is remembered of a film."""


class FilmBackground:
    """A film behind the film, at its own rate, from its beginning again at its end.

    Parameters
    ----------
    open_film : callable
        Gives the source at its beginning each time.
    fit : {"cover", "contain", "stretch"}
    sample_aspect : Fraction
        Width of the foreground film's pixels over their height.

    Raises
    ------
    BackgroundError
        Where no frame can be read.
    """

    def __init__(
        self, open_film: Callable[[], Source], fit: str = "cover", sample_aspect: Fraction = Fraction(1)
    ) -> None:
        self._open = open_film
        self._fit = fit
        self._sample_aspect = sample_aspect
        self._kept: tuple[int, Target, tuple[U8, ...]] | None = None
        self._source: Source | None = None
        self._begin: float | None = None
        self._rewind()

    def planes(self, matte: Matte) -> tuple[U8, ...]:
        """The frame that the film shows at the foreground's time since its first frame."""
        time = matte.frame.time
        if self._begin is None or time < self._begin:
            if self._begin is not None:
                self._rewind()
            self._begin = time
        self._advance(time - self._begin)
        target = Target.of(matte.frame)
        if self._kept is None or self._kept[:2] != (self._number, target):
            aspect = self._sample_aspect / self._aspect
            self._kept = (self._number, target, convert_planes(self._current, target, self._fit, aspect))
        return self._kept[2]

    def reset(self) -> None:
        """Start the film again."""
        self._begin = None
        self._rewind()

    def close(self) -> None:
        """Close the film."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _rewind(self) -> None:
        """Back to the first frame; its time becomes the loop's zero."""
        self._offset = 0.0
        self._number = 0
        self._kept = None
        self._start()
        self._current = self._following
        self._shown = 0.0

    def _start(self) -> None:
        self.close()
        self._source = self._open()
        self._aspect = self._source.info.sample_aspect_ratio
        self._frames: Iterator[Frame] = self._source.frames()
        first = next(self._frames, None)
        if first is None:
            raise BackgroundError(f"the background film {self._source.info.name} has no frame; give another file")
        self._following = first
        self._zero = first.time
        self._length = 0.0

    def _advance(self, time: float) -> None:
        """Go on until the next frame's time lies after ``time``."""
        while self._offset + self._following.time - self._zero <= time + 1e-6:
            if self._current is not self._following:
                self._current = self._following
                self._number += 1
            self._step()

    def _step(self) -> None:
        try:
            after = next(self._frames, None)
        except SourceError:
            after = None
        if after is not None:
            self._length = after.time - self._zero
            self._last_step = after.time - self._following.time
            self._following = after
            return
        self._offset += self._length + self._frame_length()
        self._start()

    def _frame_length(self) -> float:
        """How long the last frame stands: as it says, else at the film's average rate, else 1/25 s."""
        if self._current.duration:
            return float(self._current.duration * self._current.time_base)
        rate = self._source.info.rate if self._source is not None else None
        return float(1 / rate) if rate else 0.04


class BlurBackground:
    """The picture's own background, blurred.

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

    def reset(self) -> None:
        """Nothing is remembered."""


def parse_background(
    spec: str,
    *,
    fit: str = "cover",
    open_film: Callable[[str], Source] | None = None,
    sample_aspect: Fraction = Fraction(1),
) -> Background:
    """A background from its description.

    Parameters
    ----------
    spec : str
        A path of an image or a film, a CSS colour name (``green`` is the screens' #00b140), ``#rgb``, ``#rrggbb``,
        ``blur`` or ``blur:STRENGTH`` (1 to 100), ``transparent``, ``none``.
    fit : {"cover", "contain", "stretch"}
        How an image or a film fills the frame: cropped, inside black bars, distorted.
    open_film : callable, optional
        Opens a film by its path; without it films are refused.
    sample_aspect : Fraction
        Width over height of the pixels of the film in front.

    Raises
    ------
    BackgroundError
        Where the description is none of these or the file cannot be read.
    """
    if fit not in _FITS:
        raise BackgroundError(f"fit must be cover, contain or stretch, got {fit!r}")
    name = spec.strip()
    word, _, strength = name.partition(":")
    if name.lower() == "transparent":
        return Transparent()
    if name.lower() == "none":
        return Original()
    if word.lower() == "blur":
        return BlurBackground(_strength(strength, spec) if ":" in name else DEFAULT_STRENGTH)
    path = Path(name).expanduser()
    if not path.is_file() and is_color(name):
        return ColorBackground(parse_color(DEFAULT_GREEN if name.lower() == "green" else name))
    if name.startswith("#"):
        raise BackgroundError(f"{spec!r} is no colour; write #rgb or #rrggbb with hexadecimal digits")
    return _open_file(name, path, fit, open_film, sample_aspect)


def _strength(text: str, spec: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = 0.0
    if not 1 <= strength <= 100:
        raise BackgroundError(f"blur strength must be 1 to 100, got {spec!r}; try 'blur:25'")
    return strength


def _open_file(
    name: str, path: Path, fit: str, open_film: Callable[[str], Source] | None, sample_aspect: Fraction
) -> Background:
    if "://" not in name:
        if path.is_dir():
            raise BackgroundError(f"background {name} is a folder; give {_FORMS}")
        if not path.exists():
            raise BackgroundError(f"background {name!r} is no file and no colour; give {_FORMS}")
        rgb = _read_image(path)
        if rgb is not None:
            return ImageBackground(rgb, fit, sample_aspect)
    if open_film is None:
        raise BackgroundError(f"background {name} cannot be read as an image; give {_FORMS}")
    opener = open_film
    try:
        return FilmBackground(lambda: opener(str(path) if "://" not in name else name), fit, sample_aspect)
    except SourceError as error:
        raise BackgroundError(f"background {name} cannot be read: {error}") from error


def _read_image(path: Path) -> U8 | None:
    """A still picture upright as RGB, what is transparent in it over black; None where it may be a film."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.has_transparency_data:
                rgba = np.asarray(upright.convert("RGBA"))
                opaque = cv2.multiply(rgba[..., :3], cv2.merge([rgba[..., 3]] * 3), scale=1 / 255)
                return np.asarray(opaque, np.uint8)
            return np.array(upright.convert("RGB"))
    except UnidentifiedImageError:
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            raise BackgroundError(f"background {path} is no readable image; save it anew or give another") from None
        return None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BackgroundError(f"background {path} cannot be read: {reason}") from error
