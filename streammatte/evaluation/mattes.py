"""Reading mattes exactly: from images, from folders of them, from the frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import SourceNotFoundError, UnsupportedSourceError
from streammatte.evaluation.datasets import is_image, list_images
from streammatte.frames import U8, Frame, Layout
from streammatte.media.image_reader import gray_of, read_matte, read_still

__all__ = ["MatteReader", "VideoOpener", "matte_of", "read_trimap"]

Array = npt.NDArray[Any]
VideoOpener = Callable[[Path], Iterator[Frame]]
"""Gives the frames of a video; errors of the input are raised at the call or at the first frame."""

_LIMITED_TO_FULL = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255).astype(np.float32) / np.float32(255)
"""Luma of a limited-range video (16..235) as 0..1; not rounded back to bytes."""


def read_trimap(path: Path) -> U8:
    """A trimap (H, W) uint8: 0 background, 255 person, else unknown. Raises as :func:`read_still`."""
    return np.ascontiguousarray(read_still(path)[0][..., 1])


def matte_of(frame: Frame) -> Array:
    """The matte that a video's frame holds.

    Its alpha where it has one; else a grey frame's values as they are (lossless mattes are stored so, whatever the
    range tag is); else luma, stretched from 16..235 unless the video is tagged full range.

    Returns
    -------
    ndarray (H, W), uint8, or float32 in 0..1 where luma was stretched
    """
    if frame.alpha is not None:
        return frame.alpha
    if frame.layout is Layout.RGB:
        return np.ascontiguousarray(gray_of(frame.planes[0], f"frame {frame.index}"))
    luma = np.ascontiguousarray(frame.planes[0])
    if frame.layout is Layout.GRAY or frame.color.full_range:
        return luma
    stretched: Array = _LIMITED_TO_FULL[luma]
    return stretched


class MatteReader:
    """The mattes at a path, one after another.

    Parameters
    ----------
    path : Path
        An image, a folder of images, or a video.
    open_video : callable
        Returns a video's frames.
    trimap : bool
        The images are trimaps.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError
        Nothing is there, or a folder has no image.
    """

    def __init__(self, path: Path, open_video: VideoOpener, *, trimap: bool = False) -> None:
        if not path.exists():
            raise SourceNotFoundError(f"there is no {path}; give an image, a folder of images, or a video")
        self.path = path
        self._open_video = open_video
        self._read = read_trimap if trimap else read_matte
        self.images: list[Path] | None = None
        """The files in order; None for a video, whose number of frames is not known beforehand."""
        if path.is_dir():
            self.images = list_images(path)
            if not self.images:
                raise UnsupportedSourceError(f"{path} holds no image; give a folder of PNG or JPEG mattes")
        elif is_image(path):
            self.images = [path]

    def order_as(self, names: list[str]) -> None:
        """Sort images into the order of ``names`` (stems) where these are the same; else leave their order."""
        if self.images is not None and {path.stem for path in self.images} == set(names):
            by_stem = {path.stem: path for path in self.images}
            self.images = [by_stem[name] for name in names]

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        if self.images is not None:
            for path in self.images:
                yield path.stem, self._read(path)
            return
        for frame in self._open_video(self.path):
            yield str(frame.index), matte_of(frame)
