"""``streammatte image``: stills in, stills out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from streammatte.cli import options as shared
from streammatte.cli.interrupts import interrupts
from streammatte.cli.progress import Reporter
from streammatte.errors import ConfigError, SourceError, StreammatteError
from streammatte.images.build import build_stills
from streammatte.images.jobs import Job, plan_folder, plan_one
from streammatte.options.images import ImageOptions
from streammatte.options.presets import load_preset
from streammatte.stats import Summary, format_bytes

__all__ = ["command"]


@click.command(short_help="Take the person out of still images.")
@click.argument("files", nargs=-1, required=True, metavar="INPUT... OUTPUT")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for the outputs of several.")
@shared.declared_options(ImageOptions, "composite", "network", "image", "controls")
@shared.common()
def command(
    files: tuple[str, ...],
    out_dir: Path | None,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Take the person out of still images.

    INPUT is an image: JPEG, PNG, WebP, TIFF, AVIF, HEIC (with pillow-heif) and what else Pillow reads. OUTPUT is .png,
    .jpg or .webp, in sRGB. With --out-dir, INPUTs are images, folders and globs, and outputs have their names.

    \b
    streammatte image portrait.jpg cutout.png
    streammatte image portrait.jpg beach.jpg --bg samples/beach.jpg --alpha matte.png
    streammatte image photos/ more/*.jpg --out-dir cutouts/
    streammatte image portrait.jpg print.png --model closed-form --auto-trimap 12
    """
    options = ImageOptions.build(load_preset(config) if config else None, **given)
    jobs, folders = _plan(files, out_dir, options)
    failed: list[tuple[Job, StreammatteError]] = []

    def skip(job: Job, error: StreammatteError) -> None:
        failed.append((job, error))
        named = "" if str(job.source) in str(error) else f"{job.source}: "
        click.echo(f"streammatte: skipped: {named}{error}", err=True)

    title = files[0] if len(jobs) == 1 else f"{len(jobs)} images"
    reporter = Reporter(as_json=as_json, title=title)
    with reporter:
        pipeline = build_stills(
            jobs, options, folders=folders, on_failure=None if out_dir is None else skip, on_progress=reporter.show
        )
        with interrupts(pipeline) as received:
            summary = pipeline.run()
    _report(summary, failed, as_json)
    if received:
        click.echo(f"streammatte: interrupted; {summary.frames} of {len(jobs)} images are complete", err=True)
        return 128 + received[0]
    return SourceError.exit_code if failed else 0


def _plan(files: tuple[str, ...], out_dir: Path | None, options: ImageOptions) -> tuple[list[Job], list[Path]]:
    if out_dir is not None:
        wanted = (str(out_dir), options.alpha, options.foreground)
        return plan_folder(files, out_dir, options), [Path(name) for name in wanted if name is not None]
    if len(files) != 2:
        raise ConfigError(f"give one INPUT and one OUTPUT, or several INPUTs with --out-dir; got {len(files)} name(s)")
    return plan_one(files[0], files[1], options), []


def _report(summary: Summary, failed: list[tuple[Job, StreammatteError]], as_json: bool) -> None:
    if as_json:
        skipped = [{"source": str(job.source), "error": str(error)} for job, error in failed]
        click.echo(json.dumps({**summary.as_dict(), "failed": skipped}))
        return
    counted = "1 image" if summary.frames == 1 else f"{summary.frames} images"
    text = f"{counted}, {summary.seconds:.1f} s, {format_bytes(summary.output_bytes)}"
    click.echo(text + (f", {len(failed)} skipped" if failed else ""), err=True)
