"""Mattes for the evaluation, made by the same stages as those of ``streammatte image`` and ``streammatte video``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from streammatte.build import build_compositor, build_matter, build_source
from streammatte.frames import U8, Matte
from streammatte.images.matter import StillMatter
from streammatte.images.source import read_frame
from streammatte.options.declare import options_of
from streammatte.options.images import ImageOptions
from streammatte.options.video import VideoOptions
from streammatte.pipeline import Mattes
from streammatte.protocols import Compositor, Engine

__all__ = ["NetworkMatteMaker"]


class NetworkMatteMaker:
    """Runs a network over images and videos; a ``MatteMaker`` of :mod:`streammatte.evaluation.runner`.

    Parameters
    ----------
    options : VideoOptions
        Images take what concerns them.
    still_average : {"off", "flip"}, optional
        ``average`` of images, whose default is another than that of videos.
    """

    def __init__(self, options: VideoOptions, still_average: str | None = None) -> None:
        self._options = options.replace(audio=False)
        self._engine: Engine | None = None
        known = {entry.name for entry in options_of(ImageOptions) if entry.group != "sequence"}
        given: dict[str, Any] = {name: getattr(options, name) for name in known & set(vars(options))}
        given.pop("average")
        self._still_matter = StillMatter(ImageOptions.build(given, average=still_average))

    def still(self, path: Path) -> Matte:
        """The matte of an image."""
        (matte,) = self._still_matter.process(read_frame(path))
        self._engine = self._still_matter.engine
        return matte

    def video(self, path: Path) -> Iterator[Matte]:
        """The mattes of a video."""
        source = build_source(path, self._options)
        try:
            matter = build_matter(source.info, self._options)
        except BaseException:
            source.close()
            raise
        self._engine = matter.engine
        with Mattes(source, matter, closing=(matter.close,)) as made:
            yield from made

    def foreground(self, matte: Matte) -> U8:
        """The straight foreground of an image's matte, (H, W, 3) uint8."""
        (composite,) = self._compositor.process(matte)
        if composite.foreground is None:
            raise RuntimeError("the compositor was built to give the foreground and gave none")
        return composite.foreground.to_rgb()

    def ran(self) -> dict[str, str]:
        """Name, device and precision of the engine that ran last: what ``auto`` was resolved to."""
        engine = self._engine
        if engine is None:
            return {}
        return {"engine": engine.name, "device": engine.device, "precision": engine.precision}

    def close(self) -> None:
        """Release the engines."""
        self._still_matter.close()

    @cached_property
    def _compositor(self) -> Compositor:
        # The name only requests a foreground; nothing is written.
        return build_compositor(self._options.replace(foreground="foreground"), "none")
