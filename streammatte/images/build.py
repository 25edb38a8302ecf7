"""Joins options to a pipeline of stills, and to the matte of one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streammatte.build import build_compositor, build_outputs, resolve_background
from streammatte.errors import ConfigError, StreammatteError
from streammatte.frames import Frame, Matte
from streammatte.images.jobs import Job
from streammatte.images.matter import StillMatter, Trimaps
from streammatte.images.sink import StillOutputs
from streammatte.images.source import Failure, StillSource, read_frame, read_trimap, three_levels
from streammatte.options.images import ImageOptions
from streammatte.pipeline import Pipeline
from streammatte.sinks.multi import Outputs
from streammatte.sources.orientation import Orientation, oriented_frame
from streammatte.stats import Progress

__all__ = ["build_stills", "matte_still"]

_CAPACITY = 2
"""Images a queue holds: one is processed while the next is read; each may have 50 megapixels."""


def build_stills(
    jobs: Sequence[Job],
    options: ImageOptions,
    *,
    folders: Sequence[Path] = (),
    on_failure: Failure | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Pipeline:
    """The pipeline for planned jobs. What cannot be done is refused here or at the start of ``run``.

    Parameters
    ----------
    jobs : sequence of Job
    options : ImageOptions
    folders : sequence of Path
        Created where missing.
    on_failure : callable, optional
        As :class:`StillSource` takes it.
    on_progress : callable, optional
        As :class:`Pipeline` takes it.

    Raises
    ------
    BackgroundError, ModelError, ConfigError
    """
    background = resolve_background(options.background, str(jobs[0].target), "auto")
    compositor = build_compositor(options, background)
    trimaps: Trimaps = {}

    def unsolved(index: int, error: StreammatteError) -> None:
        if on_failure is not None:
            on_failure(jobs[index], error)

    matter = StillMatter(
        options, trimaps, None if on_failure is None else unsolved, lambda frame: str(jobs[frame.index].source)
    )

    def open_job(job: Job) -> Outputs:
        alpha, foreground = (None if path is None else str(path) for path in (job.alpha, job.foreground))
        return build_outputs(str(job.target), options.replace(alpha=alpha, foreground=foreground), background)

    return Pipeline(
        StillSource(
            jobs, trimaps, on_failure, options.max_pixels, Orientation.from_options(options.flip, options.rotate)
        ),
        matter,
        compositor,
        StillOutputs(jobs, open_job, folders),
        capacity=_CAPACITY,
        on_progress=on_progress,
        closing=(matter.close, compositor.close),
    )


def matte_still(image: Path | Frame, trimap: str | npt.NDArray[np.uint8] | None, options: ImageOptions) -> Matte:
    """The matte of one image, ``alpha`` uint8.

    Parameters
    ----------
    image : Path or Frame
    trimap : str or ndarray (H, W) uint8, optional
        A file, or levels as :func:`three_levels` takes them.
    options : ImageOptions

    Raises
    ------
    ConfigError
        A trimap of another shape than the image's, or of another dtype.
    StreammatteError
        See :mod:`streammatte.errors`.
    """
    frame = read_frame(image, max_megapixels=options.max_pixels) if isinstance(image, Path) else image
    trimaps: Trimaps = {}
    if isinstance(trimap, str):
        trimaps[frame.index] = read_trimap(Path(trimap), frame, str(image))
    elif trimap is not None:
        if trimap.shape != (frame.height, frame.width) or trimap.dtype != np.uint8:
            raise ConfigError(
                f"a trimap is an (H, W) uint8 array of its image's size {(frame.height, frame.width)}; "
                f"got shape {trimap.shape}, {trimap.dtype}"
            )
        trimaps[frame.index] = three_levels(trimap)
    orientation = Orientation.from_options(options.flip, options.rotate)
    frame, trimaps = oriented_frame(frame, orientation), {n: orientation.apply(marks) for n, marks in trimaps.items()}
    with closing(StillMatter(options, trimaps)) as matter:
        return matter.process(frame)[0]
