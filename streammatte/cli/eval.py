"""``streammatte eval``: mattes against the truth, or a network over a data set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from streammatte.cli import options as shared
from streammatte.errors import ConfigError, SinkError
from streammatte.frames import Frame
from streammatte.options.presets import load_preset
from streammatte.options.video import VideoOptions
from streammatte.sinks.atomic import refuse_inputs

__all__ = ["command"]


@click.command(short_help="Measure mattes against the truth.")
@click.argument("paths", nargs=-1, metavar="[PRED TRUTH]", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Run the network over this data set.")
@click.option("--trimap", metavar="PATH|auto", help="Score the unknown part too; auto makes it from the truth (25 px).")
@click.option(
    "--frames", type=click.Path(path_type=Path), help="The video the mattes belong to, for messddt and --html."
)
@click.option("--metrics", metavar="A,B", help="Of mad, mse, sad, grad, conn, band, dtssd, messddt; or all.")
@click.option("--json", "json_file", metavar="FILE", help="Write all values; - is standard output.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write a line a frame; - is standard output.")
@click.option("--html", "html_file", metavar="FILE", help="Write a page with curves and the worst frames.")
@click.option("--summary", is_flag=True, help="Print the means only.")
@shared.declared_options(VideoOptions, "network", "sequence", "controls")
@click.option("--config", metavar="NAME|FILE", help="Preset: an installed name or a .yml file.")
@shared.log_level
def command(
    paths: tuple[Path, ...],
    data: Path | None,
    trimap: str | None,
    frames: Path | None,
    metrics: str | None,
    json_file: str | None,
    csv_file: str | None,
    html_file: str | None,
    summary: bool,
    config: str | None,
    **given: Any,
) -> int:
    """Measure mattes against the truth, or run a network over a data set that carries one.

    PRED and TRUTH are images, folders of images, or videos. Existing reports are replaced.

    \b
    streammatte eval matte.mkv truth.mkv --html report.html
    streammatte eval mattes/ truths/ --trimap auto --metrics sad,mse,grad,conn
    streammatte eval --data PPM-100/ --model ppmattingv2-lite --size 512 --json scores.json

    A data FOLDER has image/ + matte/ (PPM-100), val/fg/ + val/alpha/ [+ val/trimap/] (PPM-AIM-195), images/ + alphas/,
    or stills/NAME.jpg + NAME_alpha.png, videos/NAME/frames.mp4 + alpha.mkv, empty/*.jpg.
    """
    from streammatte.evaluation.report import Report
    from streammatte.evaluation.scoring import choose

    wanted = choose(metrics)
    reports = [name for name in (json_file, csv_file, html_file) if name is not None]
    _check_reports(reports)
    inputs = {f"the input {path}": str(path) for path in paths}
    named = {"the trimap": trimap, "the video": frames, "the preset": config}
    refuse_inputs(inputs | {what: None if name is None else str(name) for what, name in named.items()}, reports)
    settings: dict[str, Any] = {"command": shlex.join(["streammatte", *sys.argv[1:]])}
    if data is not None:
        if paths or trimap or frames:
            raise ConfigError("--data has its own images and trimaps; leave PRED, TRUTH, --trimap and --frames out")
        options = shared.fill(config, given)
        settings |= {
            name: getattr(options, name)
            for name in ("model", "engine", "device", "precision", "size", "smooth", "refine", "estimate_foreground")
        }
        average = given.get("average") or (load_preset(config).get("average") if config else None)
        scores = _over_data(data, options, average, wanted, settings)
        report = Report(f"{options.model} on {data.name}", scores, settings)
    else:
        if len(paths) != 2:
            raise ConfigError(f"give PRED and TRUTH, or --data FOLDER; got {len(paths)} path(s)")
        report = Report(f"{paths[0].name} against {paths[1].name}", _pair(paths, trimap, frames, wanted), settings)
    _write(report, json_file, csv_file, html_file, summary=summary, seed=data is not None)
    return 0


def _open_video(path: Path) -> Iterator[Frame]:
    from streammatte.sources import open_source

    with closing(open_source(path, tracks=False)) as source:
        yield from source.frames()


def _pair(paths: tuple[Path, ...], trimap: str | None, frames: Path | None, metrics: tuple[str, ...]) -> list[Any]:
    from streammatte.evaluation.runner import Trimaps, score_pair

    trimaps = None
    if trimap is not None:
        trimaps = Trimaps(auto=True) if trimap == "auto" else Trimaps(Path(trimap))
    if "messddt" in metrics and frames is None:
        raise ConfigError("messddt needs the video that the mattes belong to, for its motion; add --frames VIDEO")
    return score_pair(paths[0], paths[1], _open_video, metrics, trimaps, frames)


def _over_data(
    folder: Path, options: VideoOptions, average: str | None, metrics: tuple[str, ...], settings: dict[str, Any]
) -> list[Any]:
    """The scores of every item; ``settings`` gets the engine and precision that ran."""
    from streammatte.evaluation.datasets import find_items
    from streammatte.evaluation.maker import NetworkMatteMaker
    from streammatte.evaluation.runner import score_item

    items = find_items(folder)
    maker = NetworkMatteMaker(options, average)
    scores = []
    try:
        with click.progressbar(items, label=folder.name, file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
            for item in shown:
                scores.append(score_item(item, maker, _open_video, metrics))
    finally:
        maker.close()
    settings |= maker.ran()
    return scores


def _check_reports(files: list[str]) -> None:
    """Refuse, before minutes of work, what could not be written after them."""
    if files.count("-") > 1 or len(set(files)) < len(files):
        raise ConfigError(f"each report needs a file of its own; got {', '.join(files)}")
    for name in files:
        if name != "-" and not Path(name).absolute().parent.is_dir():
            raise SinkError(f"there is no folder {Path(name).parent} for {name}; make it first")
        if name != "-" and Path(name).is_dir():
            raise SinkError(f"{name} is a folder; give a file name for the report")


def _write(
    report: Any, json_file: str | None, csv_file: str | None, html_file: str | None, *, summary: bool, seed: bool
) -> None:
    from streammatte.evaluation.page import as_html
    from streammatte.evaluation.report import as_csv, as_json, as_table, seed_line
    from streammatte.sinks.atomic import whole_file

    for name, make in ((json_file, as_json), (csv_file, as_csv), (html_file, as_html)):
        if name == "-":
            click.echo(make(report), nl=False)
        elif name is not None:
            with whole_file(Path(name)) as temporary:
                temporary.write_text(make(report), encoding="utf-8")
    # A report on standard output is for a program: the table then goes beside it.
    beside = "-" in (json_file, csv_file, html_file)
    click.echo(as_table(report, items=not summary), err=beside)
    line = seed_line(report) if seed else None
    if line:
        click.echo(f"\n{line}", err=beside)
