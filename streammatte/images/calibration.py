"""Calibration samples for int8: frames of a video or images of a folder, as the network will get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from streammatte.errors import ConfigError, UnsupportedSourceError
from streammatte.export.quantize import MIN_SAMPLES, Sample
from streammatte.frames import U8, Frame, Layout
from streammatte.images.matter import StillMatter
from streammatte.images.source import read_frame
from streammatte.matting.preprocess import Preparer, extend, resize_plane
from streammatte.matting.trimap_methods import auto_trimap
from streammatte.media.image_reader import STILL_SUFFIXES
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import EMBEDDED
from streammatte.network_size import fit_to
from streammatte.options.images import ImageOptions
from streammatte.sources import open_source
from streammatte.sources.images import natural_key

__all__ = ["MAX_SAMPLES", "calibration_samples", "samples"]

MAX_SAMPLES = 150
"""From 100 on, the choice of samples matters more than their number."""
BAND = 12
"""Half the width in pixels of the unknown band of a trimap that is made: hair at 512 pixels."""


def samples(path: Path, files: ModelFiles, size: tuple[int, int]) -> list[Sample]:
    """Images taken evenly from a video or a folder, at a network's size.

    Parameters
    ----------
    path : Path
        A video, or a folder of images, which may differ in size.
    files : ModelFiles
        The network. One that needs trimaps gets them from the embedded network's mattes.
    size : (int, int)
        Height and width of its input; the images keep their aspect inside and are padded.

    Raises
    ------
    SourceError
        Nothing there that can be read.
    """
    taken: list[Sample] = []
    with closing(_Trimaps()) as trimaps:
        for frame in _evenly(path):
            scale = min(size[0] / frame.height, size[1] / frame.width)
            content = fit_to(frame.width, frame.height, max(frame.width, frame.height) * scale).content
            within = min(content[0], size[0]), min(content[1], size[1])
            image = np.empty((*size, 3), np.uint8)
            Preparer(within, size).prepare(frame, image)
            taken.append((image, trimaps.make(frame, within, size)) if files.rule.trimap else (image,))
    return taken


def calibration_samples(path: Path, files: ModelFiles, size: tuple[int, int]) -> list[Sample]:
    """As :func:`samples`, as many as eight bits need at least.

    Parameters
    ----------
    path : Path
        A video, or a folder of images.
    files : ModelFiles
        The network's.
    size : (int, int)
        Height and width of the network's input.

    Raises
    ------
    SourceError
        Nothing there that can be read.
    ConfigError
        Fewer than ``MIN_SAMPLES``.
    """
    taken = samples(path, files, size)
    if len(taken) < MIN_SAMPLES:
        step = "put more images there" if path.is_dir() else "give a longer video, or a folder of images"
        raise ConfigError(f"int8 is calibrated on {MIN_SAMPLES} images or more; {path} has {len(taken)}: {step}")
    return taken


def _evenly(path: Path) -> Iterator[Frame]:
    if path.is_dir():
        yield from _images(path)
        return
    with closing(open_source(path, tracks=False)) as source:
        count = source.info.frame_count or _count(path)
        wanted = set(np.linspace(0, count - 1, min(count, MAX_SAMPLES)).round().astype(int).tolist())
        for frame in source.frames():
            if frame.index in wanted:
                yield frame


def _count(path: Path) -> int:
    """Frames of a video whose container does not say how many."""
    with closing(open_source(path, tracks=False)) as source:
        return max(1, sum(1 for _ in source.frames()))


def _images(folder: Path) -> Iterator[Frame]:
    found = sorted((entry for entry in folder.iterdir() if entry.suffix.lower() in STILL_SUFFIXES), key=natural_key)
    if not found:
        raise UnsupportedSourceError(f"{folder} holds no image; give a video or a folder of images")
    for index in np.linspace(0, len(found) - 1, min(len(found), MAX_SAMPLES)).round().astype(int):
        yield read_frame(found[index])


class _Trimaps:
    """Makes trimaps (H, W, 1) from the embedded network's mattes, as ``--auto-trimap`` does."""

    def __init__(self) -> None:
        self._matter = StillMatter(ImageOptions(model=EMBEDDED[0]))

    def make(self, frame: Frame, within: tuple[int, int], size: tuple[int, int]) -> U8:
        rgb = Frame((frame.to_rgb(),), Layout.RGB, frame.pts, frame.time_base, index=frame.index)
        (matte,) = self._matter.process(rgb)
        return extend(auto_trimap(resize_plane(matte.alpha, within), BAND), size)[..., None]

    def close(self) -> None:
        self._matter.close()
