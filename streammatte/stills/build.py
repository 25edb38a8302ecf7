"""Joins options to a pipeline of stills, and to the matte of one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from streammatte.build import build_compositor, build_outputs, resolve_background
from streammatte.outputs import Outputs
from streammatte.pipeline import Pipeline
from streammatte.stats import Progress
from streammatte.stills.jobs import Job
from streammatte.stills.matter import StillMatter, Trimaps
from streammatte.stills.options import StillOptions
from streammatte.stills.outputs import StillOutputs
from streammatte.stills.source import Failure, StillSource

__all__ = ["build_stills"]

_CAPACITY = 2
"""Pictures a ring holds: one is worked on while the next is read; each may be 50 megapixels."""


def build_stills(
    jobs: Sequence[Job],
    options: StillOptions,
    *,
    folders: Sequence[Path] = (),
    on_failure: Failure | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Pipeline:
    """The pipeline for planned jobs; everything that can be refused is refused here or at the start of ``run``.

    Parameters
    ----------
    jobs : sequence of Job
    options : StillOptions
    folders : sequence of Path
        To be made where they are not there.
    on_failure : callable, optional
        As :class:`StillSource` takes it.
    on_progress : callable, optional
        As :class:`Pipeline` takes it.

    Raises
    ------
    BackgroundError, ModelError, ConfigError
    """
    background = resolve_background(options.background, str(jobs[0].picture), "auto")
    compositor = build_compositor(options, background)
    trimaps: Trimaps = {}
    matter = StillMatter(options, trimaps)

    def open_job(job: Job) -> Outputs:
        alpha, foreground = (None if path is None else str(path) for path in (job.alpha, job.foreground))
        return build_outputs(
            str(job.picture), replace(options, alpha=alpha, foreground=foreground, codec="auto"), background
        )

    return Pipeline(
        StillSource(jobs, trimaps, on_failure),
        matter,
        compositor,
        StillOutputs(jobs, open_job, folders),
        capacity=_CAPACITY,
        on_progress=on_progress,
    )
