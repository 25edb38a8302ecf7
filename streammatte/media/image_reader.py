"""The one reader of still images: upright, 8-bit sRGB, straight alpha; and the images of an animation."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from streammatte.errors import SourceError, SourceNotFoundError, UnsupportedSourceError
from streammatte.frames import U8
from streammatte.network_size import MAX_MEGAPIXELS

__all__ = [
    "STILL_SUFFIXES",
    "animation_format",
    "gray_of",
    "is_image",
    "may_have_alpha",
    "read_animation",
    "read_matte",
    "read_still",
]

log = logging.getLogger(__name__)


_ALWAYS = ".png .jpg .jpeg .jpe .jfif .mpo .jp2 .bmp .gif .tif .tiff .webp .tga .ppm .pgm .pnm .avif"
_WITH_HEIF = {".heic", ".heif"}

STILL_SUFFIXES = frozenset(_ALWAYS.split()) | _WITH_HEIF
"""What a folder is searched for, in lower case."""

_DEEP = 257.0
"""65535 / 255: from 16 bits to 8."""

_SHOWN = 100
"""Milliseconds that an image of an animation is shown where the file does not say, as browsers do."""

_REDUCED = frozenset({"L", "RGB", "RGBA", "LA", "CMYK"})
"""Modes of Pillow whose pixels can be averaged."""

_ORIENTATION = 0x0112
"""EXIF's orientation tag."""


def read_still(
    path: str | Path, max_megapixels: int = MAX_MEGAPIXELS, at_least: tuple[int, int] | None = None
) -> tuple[U8, U8 | None]:
    """A still image, upright, in sRGB.

    EXIF orientation is applied whatever the format. An embedded ICC profile is converted to sRGB, relative
    colorimetric with black-point compensation; an image without one is taken as sRGB. Of several images in a file
    the first counts.

    Parameters
    ----------
    path : str or Path
        What Pillow reads: PNG (16 bits too), JPEG (CMYK too), WebP, TIFF, AVIF, JPEG 2000, GIF, BMP ...; HEIC where
        ``pillow-heif`` is installed.
    max_megapixels : int
        Images of more are refused before they are decoded.
    at_least : (int, int), optional
        The width and height that are needed: a larger image is decoded at half, a third, ... of its size, where its
        format can do so, and reduced before it is copied.

    Returns
    -------
    rgb : ndarray (H, W, 3) uint8, sRGB, C-contiguous
    alpha : ndarray (H, W) uint8, straight, or None where the image is opaque

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
    """
    path = Path(path)
    data = _content(path)
    with _reading(path), Image.open(io.BytesIO(data)) as image:
        _check_size(image, path, max_megapixels)
        if getattr(image, "is_animated", False) and image.format != "MPO":
            log.warning("%s holds %d images; the first is taken", path, getattr(image, "n_frames", 2))
        if at_least is not None:
            image.draft(None, (max(at_least), max(at_least)))  # only JPEG has drafts; it may lie on its side
        return _decode(data, image, path, at_least)


def read_matte(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> U8 | npt.NDArray[np.float32]:
    """The alpha matte in an image: its alpha channel where it has one, else its gray values, exactly.

    Parameters
    ----------
    path : Path
        What :func:`read_still` reads; EXIF orientation is applied.
    max_megapixels : int
        Images of more are refused before they are decoded.

    Returns
    -------
    ndarray (H, W)
        uint8, or float32 in [0, 1] for 16 bits a sample.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
        No such file; no image; a colour image without alpha.
    """
    data = _content(path)
    with _reading(path), Image.open(io.BytesIO(data)) as image:
        _check_size(image, path, max_megapixels)
        image.load()
        values = np.asarray(_upright(_matte_plane(data, image, path), image))
    if values.dtype.kind == "u" and values.itemsize == 2:
        return values.astype(np.float32) / np.float32(65535)
    return np.ascontiguousarray(values, np.uint8)


def _matte_plane(data: bytes, image: Image.Image, path: Path) -> Image.Image:
    if _is_deep_png(data):
        pixels = _deep_pixels(data, path)
        if pixels.ndim == 3:
            pixels = pixels[..., 3] if pixels.shape[2] == 4 else gray_of(pixels, str(path))
        return Image.fromarray(np.ascontiguousarray(pixels))
    if image.has_transparency_data:
        return image.convert("RGBA").getchannel("A")
    if image.mode == "L" or image.mode.startswith("I;16"):
        return image
    if image.mode.startswith(("I", "F")):
        raise UnsupportedSourceError(f"{path} has 32 bits a sample; a matte has 8 or 16 bits a sample")
    return Image.fromarray(np.ascontiguousarray(gray_of(np.asarray(image.convert("RGB")), str(path))))


def gray_of(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The one plane (H, W) of a colour image (H, W, 3) whose channels are equal. Raises UnsupportedSourceError."""
    if not ((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()):
        raise UnsupportedSourceError(
            f"{name} is a colour image without alpha; give the matte (gray, or an alpha channel)"
        )
    return pixels[..., 0]


def may_have_alpha(path: Path) -> bool:
    """True for an image with an alpha channel or a transparent colour, even where all of it is opaque."""
    with _reading(path), Image.open(path) as image:
        return bool(image.has_transparency_data)


def is_image(path: Path) -> bool:
    """True for what Pillow recognises as an image."""
    try:
        with Image.open(path):
            return True
    except (OSError, SyntaxError, ValueError):
        return False
    except Image.DecompressionBombError:
        return True


def animation_format(path: Path) -> str | None:
    """``GIF``, ``PNG`` or ``WEBP`` where a file holds an animation, whatever its suffix."""
    try:
        with Image.open(path) as image:
            animated = bool(getattr(image, "is_animated", False)) and image.format in ("GIF", "PNG", "WEBP")
            return image.format if animated else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read_animation(path: Path, max_megapixels: int = MAX_MEGAPIXELS) -> Iterator[tuple[U8, U8 | None, float]]:
    """The images of an animation, upright, in sRGB, each with its alpha and the seconds that it is shown.

    Parameters
    ----------
    path : Path
    max_megapixels : int
        Animations with larger images are refused.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
    """
    data = _content(path)
    with _reading(path), Image.open(io.BytesIO(data)) as image:
        _check_size(image, path, max_megapixels)
        profile = image.info.get("icc_profile")
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            shown = _upright(image.convert("RGBA"), image)
            alpha = np.array(shown.getchannel("A"))
            seconds = float(image.info.get("duration") or _SHOWN) / 1000
            yield _rgb_of(shown, profile, path), None if int(alpha.min()) == 255 else alpha, seconds


def _check_size(image: Image.Image, path: Path, max_megapixels: int) -> None:
    width, height = image.size
    if width * height > max_megapixels * 1_000_000:
        raise UnsupportedSourceError(
            f"{path} has {width}x{height} pixels, more than the {max_megapixels} megapixels that --max-pixels allows; "
            "scale it down, or allow more"
        )


def _content(path: Path) -> bytes:
    _register_heif()
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no {path}; check the name") from error
    except OSError as error:
        raise SourceError(f"{path} may not be read: {error.strerror or error}") from error
    if not data:
        raise UnsupportedSourceError(f"{path} is empty; give a PNG, JPEG, WebP, TIFF or BMP file")
    return data


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn Pillow's errors into ours."""
    try:
        yield
    except SourceError:
        raise
    except UnidentifiedImageError as error:
        raise UnsupportedSourceError(
            f"{path} is not an image that can be read; give a PNG, JPEG, WebP, TIFF or BMP file{_heif_hint(path)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise UnsupportedSourceError(f"{path} is too large ({error}); scale it down") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnsupportedSourceError(f"{path} is damaged and cannot be read: {' '.join(str(error).split())}") from error


@cache
def _register_heif() -> None:
    """HEIC through pillow-heif, which registers itself with Pillow; without it HEIC is refused with a hint."""
    if find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()


def _heif_hint(path: Path) -> str:
    missing = path.suffix.lower() in _WITH_HEIF and find_spec("pillow_heif") is None
    return "; HEIC needs pillow-heif: pip install pillow-heif" if missing else ""


def _decode(data: bytes, image: Image.Image, path: Path, at_least: tuple[int, int] | None) -> tuple[U8, U8 | None]:
    # Before loading: exif_transpose drops the tag, and some plugins drop the profile.
    profile = image.info.get("icc_profile")
    image.load()
    decoded: Image.Image = image
    if _is_deep_png(data):
        return _deep_png(data, image, profile, path)
    if image.mode.startswith(("I", "F")):
        decoded = Image.fromarray(_to_8_bit(np.asarray(image), image.mode), "L")
    decoded = _upright(decoded, image)
    if at_least is not None and decoded.mode in _REDUCED:
        factor = min(decoded.width // at_least[0], decoded.height // at_least[1])
        decoded = decoded.reduce(factor) if factor > 1 else decoded
    alpha = _alpha_of(decoded)
    return _rgb_of(decoded, profile, path), alpha


def _is_deep_png(data: bytes) -> bool:
    """A PNG of 16 bits a channel, of which Pillow would cut the lower bits off."""
    return data[:4] == b"\x89PNG" and data[24:25] == b"\x10"


def _deep_pixels(data: bytes, path: Path) -> npt.NDArray[Any]:
    """A PNG's pixels (H, W) or (H, W, channels) in OpenCV's order, uint16; Pillow has checked the file by now."""
    pixels: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnsupportedSourceError(f"{path} is damaged and cannot be read")
    return pixels


def _deep_png(data: bytes, image: Image.Image, profile: bytes | None, path: Path) -> tuple[U8, U8 | None]:
    """A PNG of 16 bits a channel, rounded."""
    levels = _to_8_bit(_deep_pixels(data, path), "I;16")
    if levels.ndim == 3:
        levels = cv2.cvtColor(levels, cv2.COLOR_BGRA2RGBA if levels.shape[2] == 4 else cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
    turned = _upright(Image.fromarray(levels), image)
    return _rgb_of(turned, profile, path), _alpha_of(turned)


def _upright(decoded: Image.Image, image: Image.Image) -> Image.Image:
    """What was decoded of a file's image, turned by that one's EXIF orientation."""
    decoded.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return ImageOps.exif_transpose(decoded)


def _to_8_bit(values: npt.NDArray[Any], mode: str) -> U8:
    """Integers of 16 bits, or floats in [0, 1], as levels of 8 bits."""
    scaled = values.astype(np.float32) * 255 if mode.startswith("F") else values / _DEEP
    levels: U8 = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return levels


def _alpha_of(image: Image.Image) -> U8 | None:
    if not image.has_transparency_data:
        return None
    alpha = np.array(image.convert("RGBA").getchannel("A"))
    return None if int(alpha.min()) == 255 else alpha


def _rgb_of(image: Image.Image, profile: bytes | None, path: Path) -> U8:
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        # Without premultiplying: what lies under transparency keeps its colour.
        image = image.convert("RGBA").convert("RGB") if image.has_transparency_data else image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile, path)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(given).strip()
        if name.startswith("sRGB"):
            return image
        if given.profile.xcolor_space.strip() == "GRAY":
            image = image.convert("L")
        converted = ImageCms.profileToProfile(
            image,
            given,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.warning("%s: its colour profile is not usable (%s); taken as sRGB", path, error)
        return image
    log.info("%s: converted from %s to sRGB", path, name or "its colour profile")
    return converted if converted is not None else image
