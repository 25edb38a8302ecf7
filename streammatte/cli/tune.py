"""``streammatte tune``: the embedded network, fine-tuned to a room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.cli.interrupts import interrupts
from streammatte.cli.train import Show

if TYPE_CHECKING:
    from streammatte.training.trainer import Trainer

__all__ = ["command"]


@click.command(short_help="Fine-tune the embedded network to a room.")
@click.argument("clip")
@click.option("--clean-plate", metavar="IMAGE|VIDEO", help="The room without anybody, from the same place.")
@click.option("--name", metavar="NAME", help="For --model. [the clip's name]")
@click.option("--minutes", type=click.FloatRange(min=0.05, max=10_000), default=10.0, show_default=True)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="[tuning/NAME]")
@click.option("--size", type=click.IntRange(min=64, max=1024), default=288, show_default=True)
@shared.reporting()
def command(
    clip: str,
    clean_plate: str | None,
    name: str | None,
    minutes: float,
    output: Path | None,
    size: int,
    as_json: bool,
) -> int:
    """Fine-tune the embedded network to a room and its person.

    CLIP shows both, for half a minute or so; its last fifth is held out and decides whether the result is better;
    --model NAME then takes it. Needs streammatte[export].

    \b
    streammatte tune me-at-my-desk.mp4 --clean-plate desk.jpg --name desk
    streammatte webcam --model desk --bg beach.jpg
    """
    from streammatte.training.tune import tune

    shared.take_threads()
    called = name or Path(clip).stem.replace(".", "-").replace(" ", "-")
    work = output or Path("tuning") / called
    how: dict[str, Any] = {"clean_plate": clean_plate, "minutes": minutes, "size": size}
    stop = _Stop()
    with Show(as_json) as show, interrupts(stop):
        tuned = tune(clip, called, work, on_progress=show, on_start=stop.take, **how)
    text = f"MAD on held-out frames: {tuned.before:.2f} before, {tuned.after:.2f} after {tuned.steps} steps"
    if as_json:
        facts = {"before": tuned.before, "after": tuned.after, "steps": tuned.steps, "name": tuned.name}
        click.echo(json.dumps({"done": True, **facts}))
    kept = f"use it by --model {tuned.name}" if tuned.name else "it is not better, and not kept"
    click.echo(f"{text}; {kept}", err=True)
    return 0


class _Stop:
    """Ends the training early, or what comes before it at once."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None

    def take(self, trainer: Trainer) -> None:
        """The training begins."""
        self._trainer = trainer

    def stop(self, *, discard: bool = False) -> None:
        """As :func:`interrupts` calls it."""
        if self._trainer is None:
            raise KeyboardInterrupt
        self._trainer.stop()
