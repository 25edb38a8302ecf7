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
from streammatte.options.images import WIDEST_TRIMAP, StillOptions
from streammatte.options.video import SIZE_RANGE, load_preset
from streammatte.stats import Summary, bytes_told

__all__ = ["command"]

_CLASSIC = "closed-form, knn, learning-based, fast, random-walk"


@click.command(short_help="Take the person out of still pictures.")
@click.argument("files", nargs=-1, required=True, metavar="INPUT... OUTPUT")
@click.option("--out-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for the outputs of several.")
@click.option("--bg", "background", metavar="WHAT", help=shared.BACKGROUND_HELP.replace("container", "format"))
@click.option("--fit", type=click.Choice(["cover", "contain", "stretch"]), help="Background of another shape. [cover]")
@click.option("--alpha", metavar="FILE", help="Also write the alpha matte; with --out-dir a folder.")
@click.option("--foreground", metavar="FILE", help="Also write the straight foreground; with --out-dir a folder.")
@click.option("--overwrite", is_flag=True, default=None, help="Replace existing outputs.")
@click.option("--model", help=f"A name of `streammatte models list`, a file, or {_CLASSIC} with a trimap. [auto]")
@click.option("--engine", type=click.Choice(["auto", "openvino", "paddle"]), help="[auto]")
@click.option("--device", help="cpu or gpu:N. [auto]")
@click.option("--precision", type=click.Choice(["auto", "int8", "bf16", "f16", "f32"]), help="Arithmetic. [auto]")
@click.option(
    "--size",
    type=int,
    metavar="N",
    help=f"Limit of the network input's long side, {SIZE_RANGE[0]} to {SIZE_RANGE[1]}. [2048, or the network's own]",
)
@click.option("--threads", type=click.IntRange(0), help="Inference threads; 0 is all cores. [0]")
@click.option("--refine", type=click.Choice(["off", "fast", "best"]), help="Edges at the picture's own size. [fast]")
@click.option("--trimap", metavar="FILE", help="Trimap (black, gray, white), or a folder of trimaps of the same names.")
@click.option(
    "--auto-trimap",
    type=click.IntRange(0, WIDEST_TRIMAP),
    metavar="R",
    help=f"Make trimaps from mattes: unknown is what lies R pixels around soft edges, 0 to {WIDEST_TRIMAP}.",
)
@click.option(
    "--no-estimate-foreground",
    "estimate_foreground",
    flag_value=False,
    default=None,
    help="Leave the old background's colour in soft edges.",
)
@shared.controls()
@shared.common()
def command(
    files: tuple[str, ...],
    out_dir: Path | None,
    config: str | None,
    log_level: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Take the person out of still pictures.

    INPUT is a picture: JPEG, PNG, WebP, TIFF, AVIF, HEIC (with pillow-heif) and what else Pillow reads. OUTPUT is .png,
    .jpg or .webp, in sRGB. With --out-dir, INPUTs are pictures, folders and globs, and outputs have their names.

    \b
    streammatte image portrait.jpg cutout.png
    streammatte image portrait.jpg beach.jpg --bg samples/beach.jpg --alpha matte.png
    streammatte image photos/ more/*.jpg --out-dir cutouts/
    streammatte image portrait.jpg print.png --model closed-form --auto-trimap 12
    """
    shared.set_up_logging(log_level)
    options = StillOptions.build(load_preset(config) if config else None, **given)
    jobs, folders = _plan(files, out_dir, options)
    failed: list[tuple[Job, StreammatteError]] = []

    def skip(job: Job, error: StreammatteError) -> None:
        failed.append((job, error))
        named = "" if str(job.source) in str(error) else f"{job.source}: "
        click.echo(f"streammatte: skipped: {named}{error}", err=True)

    title = files[0] if len(jobs) == 1 else f"{len(jobs)} pictures"
    reporter = Reporter(as_json=as_json, title=title)
    with reporter as show:
        pipeline = build_stills(
            jobs, options, folders=folders, on_failure=None if out_dir is None else skip, on_progress=show
        )
        with interrupts(pipeline) as received:
            summary = pipeline.run()
    _report(summary, failed, as_json)
    if received:
        click.echo(f"streammatte: interrupted; {summary.frames} of {len(jobs)} pictures are complete", err=True)
        return 128 + received[0]
    return SourceError.exit_code if failed else 0


def _plan(files: tuple[str, ...], out_dir: Path | None, options: StillOptions) -> tuple[list[Job], list[Path]]:
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
    counted = "1 picture" if summary.frames == 1 else f"{summary.frames} pictures"
    told = f"{counted}, {summary.seconds:.1f} s, {bytes_told(summary.output_bytes)}"
    click.echo(told + (f", {len(failed)} skipped" if failed else ""), err=True)
