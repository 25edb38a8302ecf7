"""The functions that embedders call."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.build import build_matter, build_pipeline, build_source
from streammatte.errors import ConfigError
from streammatte.frames import Frame, Layout, Matte
from streammatte.options.video import VideoOptions
from streammatte.pipeline import Mattes
from streammatte.protocols import Sink
from streammatte.stats import Progress, Summary

__all__ = ["matte_image", "matte_video", "stream"]


def matte_video(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | Sink,
    background: str | os.PathLike[str] | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Summary:
    """Take the person out of a video and write them before another background.

    Parameters
    ----------
    src : path, glob, numbered sequence or URL
        The video.
    dst : path or Sink
        The container follows from the suffix.
    background : str or path, optional
        As ``--bg``: an image, a video, a colour, ``"blur"``, ``"transparent"``, ``"none"``; by default transparent
        where the container can hold alpha, else green.
    on_progress : callable, optional
        Called about ten times a second in this thread.
    **options
        Fields of :class:`streammatte.options.video.VideoOptions`.

    Returns
    -------
    Summary

    Raises
    ------
    StreammatteError
        See :mod:`streammatte.errors`; outputs are then as they were before, but for TruncatedSourceError, whose good
        part is kept.
    """
    wanted = VideoOptions.build(None, background=None if background is None else os.fspath(background), **options)
    target = os.fspath(dst) if isinstance(dst, str | os.PathLike) else None
    sink = None if isinstance(dst, str | os.PathLike) else dst
    return build_pipeline(os.fspath(src), target, wanted, sink=sink, on_progress=on_progress).run()


def stream(src: str | os.PathLike[str], **options: Any) -> Mattes:
    """The mattes of a video, in order, each with its frame; made ahead in threads of their own.

    Parameters
    ----------
    src : path, glob, numbered sequence or URL
        The video.
    **options
        Fields of :class:`streammatte.options.video.VideoOptions`.

    Returns
    -------
    Mattes
        An iterator of :class:`streammatte.frames.Matte`: ``alpha`` is (H, W) float32 in [0, 1], ``frame.to_rgb()``
        gives the image. Its ``close`` (also at the end of a ``with``) releases the video and the network early.

    Raises
    ------
    StreammatteError
        What a stage raised, after the mattes before it.
    """
    wanted = VideoOptions.build(None, **{"audio": False, **options})
    source = build_source(os.fspath(src), wanted)
    try:
        matter = build_matter(source.info, wanted)
    except BaseException:
        source.close()
        raise
    return _Floats(source, matter, closing=(matter.close,))


class _Floats(Mattes):
    """Mattes as the public functions give them."""

    def __next__(self) -> Matte:
        return _as_float(super().__next__())


def matte_image(
    image: str | os.PathLike[str] | npt.NDArray[np.uint8],
    *,
    trimap: str | os.PathLike[str] | npt.NDArray[np.uint8] | None = None,
    **options: Any,
) -> Matte:
    """The alpha matte of one image.

    Parameters
    ----------
    image : path or ndarray (H, W, 3) uint8
        An array is RGB.
    trimap : path or ndarray (H, W) uint8, optional
        0 background, 255 person, anything between unknown; for networks and classic methods that take one.
    **options
        Fields of :class:`streammatte.options.images.ImageOptions`; without ``model`` the best network that is here.

    Returns
    -------
    Matte
        ``alpha`` is (H, W) float32 in [0, 1], ``frame.planes[0]`` the RGB image, upright.

    Raises
    ------
    ConfigError
        For an array of another shape or dtype.
    StreammatteError
        See :mod:`streammatte.errors`.
    """
    from streammatte.images.build import matte_still
    from streammatte.options.images import ImageOptions

    given = os.fspath(trimap) if isinstance(trimap, str | os.PathLike) else None
    # The options only need to know that there is a trimap; an array has no name.
    named = given or (None if trimap is None else "an array")
    wanted = ImageOptions.build(None, **{**options, "trimap": named})
    source = image_frame(image) if isinstance(image, np.ndarray) else Path(image)
    return _as_float(matte_still(source, trimap if isinstance(trimap, np.ndarray) else given, wanted))


def image_frame(image: npt.NDArray[np.uint8]) -> Frame:
    """A frame around an RGB array (H, W, 3) uint8. Raises ConfigError for anything else."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ConfigError(f"an image is an (H, W, 3) uint8 RGB array; got shape {image.shape}, {image.dtype}")
    return Frame((np.ascontiguousarray(image),), Layout.RGB, 0, Fraction(1, 25))


def _as_float(matte: Matte) -> Matte:
    return replace(matte, alpha=matte.alpha.astype(np.float32) / np.float32(255))
