"""``streammatte bench``: speed, end to end and stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions

if TYPE_CHECKING:
    from streammatte.protocols import Source

__all__ = ["command"]

STAGE_NAMES = {"decode": "decode", "inference": "network", "composite": "prepare to composite", "encode": "encode"}


@click.command(short_help="Measure speed end to end and stage by stage.")
@click.argument("file", required=False)
@shared.size_option("--input-size", "Without FILE: a synthetic video of this size. [1280x720]")
@click.option("--frames", type=click.IntRange(8), default=300, show_default=True, help="Frames a run, at most.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds; medians are shown.")
@click.option("--compare", "pair", metavar="A,B", help="Two settings in turn, as precision=int8,precision=f32.")
@click.option("--models", help="Networks to compare instead, separated by commas: ms, fps, published figures.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="With --models: also their MAD on the stills of this data set, by every engine.",
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the stages to a PNG.")
@shared.declared_options(VideoOptions, "composite", "encode", "network", "sequence", "controls")
@shared.common()
def command(
    file: str | None,
    input_size: tuple[int, int] | None,
    frames: int,
    rounds: int,
    pair: str | None,
    models: str | None,
    data: Path | None,
    plot: Path | None,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure how fast this machine takes the person out of FILE, or out of a synthetic video.

    Decoding, network, compositing and encoding are also run alone, in turn with the whole, and medians are shown.
    ``efficiency`` is the end-to-end rate divided by the best the cores could do with those stages.

    \b
    streammatte bench video.mp4 --bg beach.jpg
    streammatte bench video.mp4 --json > benchmarks/today.json
    streammatte bench video.mp4 --compare precision=int8,precision=f32
    """
    if models is not None:
        _models(models, given, as_json, rounds, data)
        return
    if data is not None:
        raise ConfigError("--data goes with --models; streammatte eval --data measures one network")
    shared.take_threads()
    from streammatte.benchmark.pipeline import compare, measure

    options = shared.fill(config, given)
    spec = _input(file, input_size, frames)
    if pair is None:
        result = measure(spec, options, frames=frames, rounds=rounds)
        click.echo(json.dumps(result) if as_json else _table(result))
        results = [result]
    else:
        first, second = _settings(pair, config, given)
        a, b, ratio = compare(spec, (first, second), frames=frames, rounds=rounds)
        names = pair.split(",")
        if as_json:
            click.echo(json.dumps({"a": a, "b": b, "ratio": round(ratio, 4)}))
        else:
            click.echo(
                f"A: {names[0]}\n{_table(a)}\n\nB: {names[1]}\n{_table(b)}\n\nA is {ratio:.3f} times as fast as B"
            )
        results = [a, b]
    if plot is not None:
        _draw(results, plot)


def _input(file: str | None, size: tuple[int, int] | None, frames: int) -> str | Source:
    if file is not None:
        if size is not None:
            raise ConfigError("--input-size is for the synthetic video; leave it out where a FILE is named")
        return file
    from streammatte.sources import SyntheticSource

    width, height = size or (1280, 720)
    return SyntheticSource(width, height, rate=30, frames=frames)


def _settings(pair: str, config: str | None, given: dict[str, Any]) -> tuple[VideoOptions, VideoOptions]:
    parts = pair.split(",")
    if len(parts) != 2 or not all("=" in part for part in parts):
        raise ConfigError(f"--compare takes two settings, as precision=int8,precision=f32; got {pair!r}")
    first, second = (shared.fill(config, {**given, **shared.from_assignments(part)}) for part in parts)
    return first, second


def _table(values: dict[str, Any]) -> str:
    machine, source, network, whole = (values[key] for key in ("machine", "input", "network", "end_to_end"))
    stages = values["stages"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GiB, {machine['system']}",
        f"{values['model']} on {values['engine']} ({values['device']}, {values['precision']}), "
        f"network {network['width']}x{network['height']}, video {source['width']}x{source['height']}, "
        f"{values['frames']} frames, {values['rounds']} rounds, warm-up {values['warm_up_seconds']} s",
        "",
        f"{'stage':<22}{'fps alone':>12}{'CPU ms/frame':>14}{'share':>8}",
    ]
    total = sum(stage["cpu_ms"] for stage in stages.values())
    for name, stage in stages.items():
        lines.append(
            f"{STAGE_NAMES[name]:<22}{stage['fps']:>12.1f}{stage['cpu_ms']:>14.2f}{stage['cpu_ms'] / total:>8.0%}"
        )
    lines += [
        f"{'sum':<22}{'':>12}{total:>14.2f}",
        "",
        f"end to end   {whole['fps']:.1f} fps (rounds: {', '.join(f'{fps:.1f}' for fps in whole['all_fps'])})",
        f"best possible {values['best_possible_fps']:.1f} fps, efficiency {values['efficiency']:.2f}",
        "latency      " + ", ".join(f"{key} {value:.0f} ms" for key, value in values["latency_ms"].items()),
        f"CPU          {whole['cpu_percent']:.0f} %, peak memory {values['peak_rss_mb']} MB, drops {values['drops']}",
    ]
    return "\n".join(lines)


def _draw(results: list[dict[str, Any]], path: Path) -> None:
    from streammatte.benchmark.plot import draw

    draw(results, path)
    click.echo(f"wrote {path}", err=True)


def _models(names: str, given: dict[str, Any], as_json: bool, repeats: int, data: Path | None) -> None:
    from streammatte.benchmark.models import model_table, print_table

    engine = given.get("engine") or "auto"
    rows = model_table(
        [name.strip() for name in names.split(",")],
        given.get("size") or 512,
        () if engine == "auto" else (engine,),
        precision=given.get("precision") or "auto",
        device=given.get("device") or "auto",
        threads=given.get("threads") or 0,
        repeats=repeats,
        data=data,
    )
    if as_json:
        click.echo(json.dumps(rows))
    else:
        print_table(rows)
