"""Stills and numbered sequences: PNG, JPEG, WebP."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streammatte.errors import ConfigError, OutputExistsError, SinkError, UnsupportedOutputError
from streammatte.file_names import NUMBER
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo
from streammatte.media.convert import FrameConverter
from streammatte.sinks.atomic import AtomicFile, AtomicFolder, PublishingSink, writing
from streammatte.sinks.containers import containers_with_alpha
from streammatte.sinks.tracks import leave_out

__all__ = ["IMAGE_SUFFIXES", "SequenceSink", "StillSink", "is_pattern"]

_log = logging.getLogger(__name__)

_PNG_LEVEL = 3
"""zlib level of PNG: 1 is a quarter larger, 6 takes twice the time (720p video frames)."""

_JPEG_QUALITY = 95
_WEBP_LOSSLESS = 101

_ENCODING: dict[str, list[int]] = {
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, _WEBP_LOSSLESS],
}

IMAGE_SUFFIXES = tuple(_ENCODING)
_WITH_ALPHA = {".png", ".webp"}

_FULL_RGB = ColorSpec(full_range=True)
_IN_FOLDER = "%06d.png"


def is_pattern(target: str) -> bool:
    """True for the name of numbered images: ``name_%04d.png``, ``folder/``, or a folder that is there."""
    path = Path(target)
    return target.endswith(("/", "\\")) or NUMBER.search(path.name) is not None or (not path.suffix and path.is_dir())


class _Encoder:
    """Frames to the bytes of an image file."""

    def __init__(self, suffix: str, output_size: tuple[int, int] | None) -> None:
        self._suffix = suffix
        self._output_size = output_size
        self._converter: FrameConverter | None = None

    def open(self, info: StreamInfo, target: str) -> None:
        if info.has_alpha and self._suffix not in _WITH_ALPHA:
            raise UnsupportedOutputError(
                f"{target} cannot hold an alpha channel; {' and '.join(sorted(_WITH_ALPHA))} can, and of videos "
                f"{', '.join(containers_with_alpha())}"
            )
        gray = info.layout is Layout.GRAY and not info.has_alpha
        pix_fmt = "gray" if gray else "bgra" if info.has_alpha else "bgr24"
        width, height = self._output_size or (info.width, info.height)
        self._converter = FrameConverter(width, height, pix_fmt, _FULL_RGB)

    def encode(self, frame: Frame) -> bytes:
        if self._converter is None:
            raise SinkError("the sink is not open")
        done, data = cv2.imencode(self._suffix, _pixels(self._converter.convert(frame)), _ENCODING[self._suffix])
        if not done:
            raise SinkError(f"an image of {frame.width}x{frame.height} cannot be written as {self._suffix}")
        return data.tobytes()


def _pixels(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    channels = {"gray": 1, "bgr24": 3, "bgra": 4}[image.format.name]
    plane = image.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width * channels]
    return np.ascontiguousarray(rows.reshape(plane.height, plane.width, channels))


class StillSink(PublishingSink):
    """Writes one frame as an image.

    Parameters
    ----------
    target : Path
    output_size : (int, int), optional
        Width and height; the frames' own by default.
    overwrite : bool
        An existing file is replaced.
    """

    def __init__(self, target: Path, *, output_size: tuple[int, int] | None = None, overwrite: bool = False) -> None:
        self._file: AtomicFile = AtomicFile(target, overwrite)
        self._encoder = _Encoder(target.suffix.lower(), output_size)
        self._frames = 0

    def open(self, info: StreamInfo) -> None:
        """Refuse what cannot be held or written.

        Raises
        ------
        UnsupportedOutputError, OutputExistsError, SinkError
        """
        self._encoder.open(info, str(self._file.target))
        self._file.check()

    def process(self, item: Frame) -> list[None]:
        """Write the frame; a second one is refused."""
        self._frames += 1
        if self._frames > 1:
            raise UnsupportedOutputError(
                f"{self._file.target} holds one image: write a video to a numbered name such as "
                f"{self._file.target.stem}_%04d{self._file.target.suffix}"
            )
        data = self._encoder.encode(item)
        self._file.create()
        with writing(self._file.target):
            self._file.path.write_bytes(data)
        return []


class SequenceSink(PublishingSink):
    """Writes numbered images, counted from 0.

    Parameters
    ----------
    target : str
        A pattern with a number, as ``%04d.png``.
    output_size : (int, int), optional
        Width and height; the frames' own by default.
    overwrite : bool
        Existing files are replaced.
    """

    def __init__(self, target: str, *, output_size: tuple[int, int] | None = None, overwrite: bool = False) -> None:
        path = Path(target)
        if NUMBER.search(path.name):
            folder, self._name = path.parent, path.name
        else:
            folder, self._name = path, _IN_FOLDER
        suffix = Path(self._name).suffix.lower()
        if suffix not in _ENCODING:
            raise UnsupportedOutputError(f"cannot write {target}: a sequence is one of {', '.join(IMAGE_SUFFIXES)}")
        if len(NUMBER.findall(self._name)) != 1 or self._name.count("%") != 1:
            raise ConfigError(f"cannot write {target}: one number such as %04d is needed in the name, no other %")
        self._name = re.sub("%([1-9])", r"%0\1", self._name)  # %4d counts in zeros, as FFmpeg reads it
        self._target = target
        self._file: AtomicFolder = AtomicFolder(folder, overwrite)
        self._encoder = _Encoder(suffix, output_size)
        self._frames = 0

    def open(self, info: StreamInfo) -> None:
        """Refuse what cannot be held or written, then make the temporary folder.

        Raises
        ------
        UnsupportedOutputError, OutputExistsError, SinkError
        """
        self._encoder.open(info, self._target)
        self._file.check()
        self._refuse_present()
        leave_out(info.tracks, self._target)
        self._file.create()

    def _refuse_present(self) -> None:
        """Images of an earlier run: refused, or with ``overwrite`` reported, since longer runs leave a tail."""
        head, tail = NUMBER.split(self._name)[0], NUMBER.split(self._name)[-1]
        numbered = re.compile(re.escape(head) + r"\d+" + re.escape(tail))
        folder = self._file.target
        present = [entry for entry in folder.iterdir() if numbered.fullmatch(entry.name)] if folder.is_dir() else []
        if present and not self._file.overwrite:
            raise OutputExistsError(
                f"{self._target}: {folder} holds {len(present)} images of that name already: "
                "choose another name or pass --overwrite"
            )
        if present:
            _log.warning("%s: of the %d images there, those beyond this video's end stay", self._target, len(present))

    def process(self, item: Frame) -> list[None]:
        """Write one image."""
        data = self._encoder.encode(item)
        with writing(self._target):
            (self._file.path / (self._name % self._frames)).write_bytes(data)
        self._frames += 1
        return []
