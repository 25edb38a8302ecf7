"""``streammatte video``: videos in, videos out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from os.path import splitext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.cli.interrupts import interrupts
from streammatte.cli.progress import Reporter
from streammatte.errors import ConfigError, StreammatteError, TruncatedSourceError
from streammatte.options.batch import ClusterOptions
from streammatte.options.declare import option, option_class
from streammatte.options.video import LONGEST, VideoOptions
from streammatte.runtime import release_memory
from streammatte.sinks.atomic import refuse_inputs
from streammatte.stats import Progress, Summary

if TYPE_CHECKING:
    from streammatte.cluster.video import VideoRun
    from streammatte.pipeline import Pipeline

__all__ = ["command"]

log = logging.getLogger("streammatte.cli")

_STILLS = (".png", ".jpg", ".jpeg", ".webp")
SNAPSHOT_SECONDS = 2.0
"""Length of video a snapshot may look through for one frame; slide shows have frames seconds apart."""


@option_class
class _SnapshotOptions:
    snapshot: float | None = option(
        default=None,
        help="Write only the frame at this time, as an image.",
        low=0,
        high=LONGEST,
        unit="seconds",
        metavar="SECONDS",
        shown="",
    )


@click.command(short_help="Take the person out of a video.")
@click.argument("files", nargs=-1, required=True, metavar="INPUT... OUTPUT")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for several inputs' outputs.")
@shared.declared_options(VideoOptions, "composite", "encode", "read", "network", "sequence", "controls")
@shared.declared_options(_SnapshotOptions)
@shared.declared_options(ClusterOptions)
@click.option("--resume", is_flag=True, help="Work in segments, and go on after the last whole one of an earlier run.")
@shared.common()
def command(
    files: tuple[str, ...],
    out_dir: Path | None,
    snapshot: float | None,
    segment: float | None,
    cluster: str | None,
    resume: bool,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Take the person out of a video and put them before another background.

    INPUT is a file, a folder or glob of images, a numbered sequence (frame_%04d.png), a URL, or - for Y4M on standard
    input. OUTPUT is .mp4, .mkv, .mov, .webm, .gif, a numbered sequence, a folder/, or - for Y4M on standard output.

    \b
    streammatte video in.mp4 out.mp4 --bg beach.jpg
    streammatte video in.mp4 cutout.mov
    streammatte video in.mp4 out.mp4 --bg blur:30 --alpha matte.mkv
    streammatte video *.mp4 --out-dir done/ --bg "#203040"
    streammatte video lecture.mp4 out.mp4 --bg blur --resume
    """
    shared.take_threads()
    options = shared.fill(config, given)
    if snapshot is not None:
        if len(files) != 2:
            raise ConfigError(f"--snapshot takes one INPUT and one OUTPUT; got {len(files)} name(s)")
        target = files[1]
        if not target.lower().endswith(_STILLS):
            target = splitext(target)[0] + ".png"  # noqa: PTH122 - addresses too
        return _with_remote(partial(_snapshot, seconds=snapshot, as_json=as_json), files[0], target, options)
    code = 0
    jobs = _jobs(files, out_dir, options)
    split = ClusterOptions.build({}, segment=segment, cluster=cluster)
    cut = resume or split != ClusterOptions()
    for spec, target in jobs:
        try:
            run = partial(_run, as_json=as_json, split=split if cut else None, several=len(jobs) > 1)
            code = max(code, _with_remote(run, spec, target, options))
        except StreammatteError as error:
            if len(jobs) == 1:
                raise
            click.echo(f"streammatte: {spec}: {error}", err=True)
            code = max(code, error.exit_code)
        if code >= 128:
            break
        release_memory()
    return code


def _jobs(files: tuple[str, ...], out_dir: Path | None, options: VideoOptions) -> list[tuple[str, str]]:
    if out_dir is None:
        if len(files) != 2:
            raise ConfigError(
                f"give one INPUT and one OUTPUT, or several INPUTs with --out-dir; got {len(files)} name(s)"
            )
        return [(files[0], files[1])]
    if options.alpha or options.foreground:
        raise ConfigError("--alpha and --foreground name one file each; with --out-dir run the videos one by one")
    from streammatte.cluster.plan import output_for

    out_dir.mkdir(parents=True, exist_ok=True)
    jobs = [(spec, str(out_dir / output_for(Path(spec).name or "video", options))) for spec in files]
    names = [target for _, target in jobs]
    refuse_inputs({f"the input {spec}": spec for spec in files} | {"the background": options.background}, names)
    for target in names:
        if names.count(target) > 1:
            raise ConfigError(f"several inputs would become {target}; run them with outputs named one by one")
    return jobs


def _with_remote(run: Callable[[str, str, VideoOptions], int], spec: str, target: str, options: VideoOptions) -> int:
    """Run with inputs and outputs in object stores too: outputs are made here and uploaded when complete."""
    from streammatte.media.remote import Fetched, is_remote
    from streammatte.sinks.remote import RemoteOutput

    named = {"composite": target, "alpha": options.alpha, "foreground": options.foreground}
    remote = {role: name for role, name in named.items() if name is not None and is_remote(name)}
    inputs = [name for name in (spec, options.background) if name is not None and is_remote(name)]
    if not remote and not inputs:
        return run(spec, target, options)
    outputs = {role: RemoteOutput(name, overwrite=options.overwrite) for role, name in remote.items()}
    local = {role: output.local for role, output in outputs.items()}
    with Fetched() as fetched:
        if options.background is not None:
            options = options.replace(background=fetched.path(options.background, "background"))
        target = local.pop("composite", target)
        code = run(fetched.path(spec), target, options.replace(**local))
        for output in outputs.values():
            output.upload()
    return code


def _run(
    spec: str, target: str, options: VideoOptions, *, as_json: bool, split: ClusterOptions | None, several: bool
) -> int:
    reporter = Reporter(as_json=as_json, title=Path(spec).name, frames_on_stdout=target == "-")
    try:
        with (
            reporter,
            _job(spec, target, options, split, reporter.show) as job,
            interrupts(job) as received,
        ):
            summary = job.run()
    except TruncatedSourceError as error:
        if error.summary is None:
            raise
        reporter.finish(error.summary)
        click.echo(f"streammatte: {error}; the part before is in {target}", err=True)
        return error.exit_code
    if summary is None:
        click.echo("streammatte: stopped; the same command goes on after the segments that are done", err=True)
        return 128 + received[0]
    if several and not as_json:
        click.echo(f"{spec} -> {target}", err=True)
    if received:
        return _interrupted(received[0], summary, target)
    reporter.finish(summary)
    return 0


@contextmanager
def _job(
    spec: str,
    target: str,
    options: VideoOptions,
    split: ClusterOptions | None,
    show: Callable[[Progress], None],
) -> Iterator[Pipeline | VideoRun]:
    """The whole video in this process, or its segments on a pool of workers."""
    from streammatte.build import build_pipeline

    if split is None:
        yield build_pipeline(spec, target, options, on_progress=show)
        return
    from streammatte.cluster.segments import SegmentedVideo
    from streammatte.cluster.video import SEGMENT, VideoRun
    from streammatte.cluster.worker_pool import local_pool

    with ExitStack() as stack:
        video = stack.enter_context(SegmentedVideo(spec, target, options, split.segment or SEGMENT))
        if split.cluster is None:
            pool = local_pool(0)
        else:
            from streammatte.cluster.ray_pool import ray_pool

            pool = stack.enter_context(ray_pool(split.cluster, 0, options, Path(target).absolute().parent))
        yield VideoRun(video, pool, show)


def _interrupted(number: int, summary: Summary, target: str) -> int:
    if summary.frames:
        counted = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
        click.echo(
            f"streammatte: interrupted after {counted} ({summary.media_seconds:.2f} s of video); "
            f"{target} holds them and is complete",
            err=True,
        )
    else:
        click.echo("streammatte: interrupted before the first frame; nothing was written", err=True)
    return 128 + number


def _snapshot(spec: str, target: str, options: VideoOptions, *, seconds: float, as_json: bool) -> int:
    from streammatte.build import build_pipeline

    options = options.replace(start=seconds, duration=SNAPSHOT_SECONDS, smooth="off", audio=False, codec="auto")
    summary = build_pipeline(spec, target, options, limit=1).run()
    Reporter(as_json=as_json, title="").finish(summary)
    click.echo(f"wrote {target}", err=True)
    return 0
