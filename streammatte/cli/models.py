"""``streammatte models``: the networks, their files, and the forms they come in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streammatte.cli import options as shared
from streammatte.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from streammatte.frames import U8
    from streammatte.models.cards import Card
    from streammatte.models.download import Progress
    from streammatte.models.files import ModelFiles

__all__ = ["command"]

log = logging.getLogger(__name__)


@click.group(short_help="List, fetch, export, convert and verify networks.")
@shared.log_level
def command() -> None:
    """List, fetch, export, convert and verify networks.

    \b
    streammatte models pull modnet-mobilenetv2
    streammatte models export modnet-mobilenetv2 --to openvino --precision int8 --calibrate video.mp4
    """


@command.command("list")
@shared.log_level
def list_() -> None:
    """List the networks, what is here of each, and the published figures."""
    from streammatte.cache import lasting_dir
    from streammatte.models.cards import card_names, load_card, third_party_cards
    from streammatte.models.resolve import EMBEDDED, TUNED

    rows: list[tuple[str, ...]] = [("name", "input", "here", "SAD", "params M", "FLOPs G", "FPS (V100)")]
    for name in card_names():
        card = load_card(name)
        height, width = card.input.size
        figures = (card.seed.sad, card.seed.params_m, card.seed.flops_g, card.seed.fps)
        published = [f"{figure:g}" if figure is not None else "-" for figure in figures]
        rows.append((name, f"{width}x{height}", _here(card), *published))
    height, width = load_card(EMBEDDED[0]).input.size
    for graph in sorted(lasting_dir(TUNED).glob("*/float.xml")):
        rows.append((graph.parent.name, f"{width}x{height}", "tuned here", "-", "-", "-", "-"))
    for card in third_party_cards():
        height, width = card.input.size
        rows.append((card.name, f"{width}x{height}", _here(card), "-", "-", "-", "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [text.ljust(width) for text, width in zip(row[:3], widths, strict=False)]
        right = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
        click.echo("  ".join((*left, *right)))


@command.command()
@shared.log_level
@click.argument("name")
def info(name: str) -> None:
    """Show a network's card, where its files are and what is here of them."""
    from streammatte.models.cards import load_card
    from streammatte.models.resolve import third_party_file
    from streammatte.models.store import LocalFiles, find, target_path

    card = load_card(name)
    height, width = card.input.size
    steps = ", ".join(map(str, card.input.steps))
    lines = [
        ("name", card.name),
        ("network", f"{card.title} ({card.architecture})"),
        ("input", f"{width}x{height}; {steps}; mean {card.input.mean}, std {card.input.std}"),
        ("trimap", "needed" if card.input.trimap else "not needed"),
        ("licence", card.licence),
        ("paper", card.paper),
        ("here", _here(card)),
    ]
    if card.file is not None:
        lines.append(("file", f"{third_party_file(card) or card.file}; from {card.get}"))
    kept = find(name) if not card.embedded and card.file is None else LocalFiles()
    if kept.damage:
        lines.append(("", kept.damage))
    places = {"inference": kept.folder or kept.archive, "checkpoint": kept.checkpoint}
    for kind, remote in card.files.items():
        here = places.get(kind)
        lines += [(kind, remote.url), ("", f"kept in {here}" if here else f"goes to {target_path(card, kind)}")]
    for title in ("training", "limits", "notes"):
        if text := getattr(card, title, ""):
            lines.append((title, text.strip()))
    for title, text in lines:
        first, *rest = str(text).splitlines() or [""]
        click.echo(f"{title:<12}{first}")
        for line in rest:
            click.echo(f"{'':<12}{line}")


@command.command()
@shared.log_level
@click.argument("name")
@click.option("--checkpoint", is_flag=True, help="Fetch the weights for Paddle instead of the exported model.")
@click.option("--mirror", envvar="STREAMMATTE_MIRROR", help="Address in place of the official host.")
@click.option("--attempts", type=click.IntRange(1), default=5, show_default=True, help="How often it is tried.")
@click.option("--timeout", type=click.FloatRange(1), default=30.0, show_default=True, help="Seconds of silence.")
def pull(name: str, checkpoint: bool, mirror: str | None, attempts: int, timeout: float) -> None:
    """Fetch a network's official files."""
    from streammatte.models.cards import load_card
    from streammatte.models.store import find
    from streammatte.models.store import pull as fetch_model
    from streammatte.stats import format_bytes

    card = load_card(name)
    if card.embedded:
        click.echo(f"{name} comes with the package; nothing to fetch")
        return
    if card.file is not None:
        raise ConfigError(f"{name} is not fetched ({card.licence}): get {card.file} from {card.get}")
    kind = "checkpoint" if checkpoint else "inference"
    waits = kind == "inference" and find(name).folder is None  # a zip put there by hand is only unpacked
    came = 0
    with _progress(name) as show:

        def on_progress(have: int, total: int | None) -> None:
            nonlocal came
            came = max(came, have)
            show(have, total)

        path = fetch_model(name, kind, mirror=mirror, attempts=attempts, timeout=timeout, on_progress=on_progress)
    # the path alone on standard output: scripts take it from there
    if came:
        click.echo(f"{name}: {format_bytes(came)} fetched", err=True)
    elif not waits:
        click.echo(f"{name} is here already", err=True)
    click.echo(path)


PHONES = ("ncnn", "tflite")
_TO = click.Choice(["paddle", "onnx", "openvino", *PHONES])
_PRECISION = click.Choice(["f32", "f16", "int8"])


def _size(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``WxH`` as (height, width), two multiples of 32."""
    if value is None:
        return None
    sides = [int(side) if side.isdecimal() else 0 for side in value.lower().split("x")]
    if len(sides) != 2 or any(side < 32 or side % 32 for side in sides):
        raise ConfigError(f"--size must be WIDTHxHEIGHT in multiples of 32, such as 512x288; got {value!r}")
    return sides[1], sides[0]


@command.command()
@shared.log_level
@click.argument("name")
@click.option("--to", type=_TO, default="openvino", show_default=True)
@click.option("--size", callback=_size, metavar="WIDTHxHEIGHT", help="Fix the input's size; open where left out.")
@click.option("--precision", type=_PRECISION, default="f32", show_default=True)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Video or folder of images: for int8, and what ncnn and tflite are compared on.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File, or folder for paddle. [NAME in this folder]"
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def export(
    name: str,
    to: str,
    size: tuple[int, int] | None,
    precision: str,
    calibrate: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Write a network (a name, or anything --model takes) for another engine or program."""
    _write(name, to, output, size=size, precision=precision, calibrate=calibrate, overwrite=overwrite)


@command.command()
@shared.log_level
@click.argument("file")
@click.argument("output", required=False)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def convert(file: str, output: str | None, overwrite: bool) -> None:
    """Convert a model file by the suffix of OUTPUT: .xml, .onnx, .npz, .pdparams; a folder is for Paddle.

    Without OUTPUT, .pdparams becomes .npz, .npz becomes .pdparams, and anything else becomes OpenVINO's .xml.
    """
    from streammatte.cli.export_output import Output, form_of, named
    from streammatte.models.resolve import split_name

    _, source = split_name(file)
    weights = source.suffix in (".pdparams", ".npz")
    form, target = form_of(output or named(str(source), weights))
    if form != "weights":
        _write(file, form, target, overwrite=overwrite)
        return
    if not weights:
        raise ConfigError(f"{target.suffix} holds weights; {source} has none that can be taken out by name")
    from streammatte.export.plan import refuse_sources
    from streammatte.networks.checkpoints import read_state, write_state

    refuse_sources([source], [target])
    state = read_state(source)
    with Output(target, [target], overwrite).writing() as temporary:
        write_state(state, temporary)
    click.echo(target)


@command.command()
@shared.log_level
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> int:
    """Check the files of networks that are here, and that each one runs."""
    from streammatte.export.selfcheck import check
    from streammatte.models.cards import card_names, load_card

    faulty = 0
    for name in names or card_names():
        card = load_card(name)
        if not names and _here(card) == "-":
            continue
        verdict = check(card)
        faulty += bool(verdict.faults)
        click.echo(f"{name}: {verdict}")
    return ModelError.exit_code if faulty else 0


def _here(card: Card) -> str:
    from streammatte.models.resolve import third_party_file
    from streammatte.models.store import find

    if card.embedded:
        return "embedded"
    if card.file is not None:
        return "here" if third_party_file(card) else "not here"
    kept = find(card.name)
    exported = "zip" if kept.folder is None and kept.archive is not None else "exported" if kept.folder else ""
    found = ["weights" if kept.checkpoint else "", "damaged" if kept.damage else exported]
    return ", ".join(filter(None, found)) or "-"


def _write(
    model: str,
    to: str,
    output: Path | None,
    *,
    size: tuple[int, int] | None = None,
    precision: str = "f32",
    calibrate: Path | None = None,
    overwrite: bool,
) -> None:
    from streammatte.cli.export_output import Output
    from streammatte.export.convert import save_as, save_int8
    from streammatte.export.plan import TARGETS, plan
    from streammatte.export.quantize import BAD_LOSS
    from streammatte.models.resolve import resolve

    if precision == "int8" and calibrate is None:
        raise ConfigError("int8 needs images of what it will see: give --calibrate VIDEO or a folder of images")
    if precision != "int8" and calibrate is not None and to not in PHONES:
        raise ConfigError(
            f"--calibrate is for --precision int8, --to ncnn and --to tflite; got --precision {precision} --to {to}"
        )
    files = resolve(model)
    target = output or Path(files.name + TARGETS[to])
    if to != "paddle" and target.suffix.lower() == TARGETS[to]:
        target = target.with_suffix(TARGETS[to])
    written = Output(target, plan(files, target, to, size=size, precision=precision), overwrite)
    if to in PHONES:
        from streammatte.export.difference import BAD_DIFFERENCE
        from streammatte.export.ncnn import save_ncnn
        from streammatte.export.tflite import save_tflite

        save = {"ncnn": save_ncnn, "tflite": save_tflite}[to]
        with written.writing() as path:
            found = save(files, path, _compared_on(calibrate, files, size), size or files.rule.size)
        click.echo(str(found), err=True)
        if found.largest > BAD_DIFFERENCE:
            log.warning("%s differs by more than %g; look at its mattes before you use it", to, BAD_DIFFERENCE)
    elif calibrate is None:
        with written.writing() as path:
            save_as(files, path, to, size=size, precision=precision)
    else:
        from streammatte.images.calibration import calibration_samples

        samples = calibration_samples(calibrate, files, size or files.rule.size)
        with written.writing() as path:
            loss = save_int8(files, path, samples, size=size)
        click.echo(str(loss), err=True)
        if loss.mad > BAD_LOSS:
            log.warning(
                "int8 loses more than %g, which spoils mattes; calibrate on more images, like those it will see, "
                "or take --precision f16",
                BAD_LOSS,
            )
    click.echo(target)


def _compared_on(path: Path | None, files: ModelFiles, size: tuple[int, int] | None) -> list[U8]:
    """Some images of a network's size: the user's, else smooth noise."""
    import cv2
    import numpy as np

    height, width = size or files.rule.size
    if path is not None:
        from streammatte.images.calibration import samples

        taken = samples(path, files, (height, width))
        return [taken[index][0] for index in range(0, len(taken), max(1, len(taken) // 8))][:8]
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (4, 6, 8, 3), np.uint8)
    return [np.asarray(cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8) for each in noise]


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda have, total: bar.update(task, completed=have, total=total)
