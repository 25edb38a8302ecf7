"""``streammatte train``: networks from recipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.cli.interrupts import interrupts
from streammatte.cli.progress import ProgressDisplay
from streammatte.errors import ConfigError

if TYPE_CHECKING:
    from streammatte.training.recipe import Recipe
    from streammatte.training.trainer import TrainingProgress

__all__ = ["Show", "command"]

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(short_help="Train a network, or go on with one.")
@click.argument("recipe", metavar="RECIPE")
@click.option("--output", type=_FOLDER, metavar="DIR", help="Folder of what comes out. [training/RECIPE]")
@click.option("--data", type=_FOLDER, metavar="DIR", help="Images with their mattes.")
@click.option("--init", metavar="WEIGHTS", help="Begin with these: .pdparams, .npz, or published.")
@click.option("--iters", type=click.IntRange(min=1), help="Steps.")
@click.option("--epochs", type=click.IntRange(min=1), help="Rounds over the data, instead of steps.")
@click.option("--batch", type=click.IntRange(min=1), help="Images of a step.")
@click.option("--size", type=click.IntRange(min=32), help="Side of what the network sees; transforms follow.")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything random.")
@click.option("--amp", type=click.Choice(["bf16", "f16"]), help="Mixed precision.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any other value of the recipe.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output folder.")
@shared.reporting()
def command(
    recipe: str,
    output: Path | None,
    data: Path | None,
    size: int | None,
    assignments: tuple[str, ...],
    resume: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train a network.

    RECIPE is the name of an installed recipe (each network has one) or a YAML file. An interrupted training continues
    exactly with --resume.

    \b
    streammatte train ppmattingv2-lite-finetune --data portraits/
    streammatte train my.yml --data portraits/ --output out/ --set learning_rate=1e-4
    python -m paddle.distributed.launch -m streammatte train ppmattingv2-stdc1-human_512 --data ...
    """
    from streammatte.training.recipe import load_recipe

    shared.take_threads()
    made = load_recipe(recipe)
    if size is not None:
        made = made.resized(size)
    if given["iters"] and given["epochs"]:
        raise ConfigError("give --iters or --epochs, not both")
    named = {"data": None if data is None else str(data), **given}
    made = made.replace(**{key: value for key, value in named.items() if value is not None})
    if given["iters"]:
        made = made.replace(epochs=0)
    made = made.changed(assignments)
    target = output or Path("training") / Path(recipe).stem
    return _run(made, target, resume, as_json)


def _run(recipe: Recipe, output: Path, resume: bool, as_json: bool) -> int:
    from streammatte.training.trainer import Trainer

    show = Show(as_json)
    trainer = Trainer(recipe, output, resume=resume, on_progress=show)
    with interrupts(trainer) as received, show:
        trained = trainer.run()
    text = f"step {trained.step} of {trained.steps}, loss {trained.loss:.4g}"
    if trained.metric is not None:
        text += f", {recipe.metric} {trained.metric:.4g}"
    if as_json:
        facts = {"done": not trained.stopped, "step": trained.step, "loss": trained.loss, "metric": trained.metric}
        click.echo(json.dumps({**facts, "output": str(output)}))
    click.echo(f"{text}; weights in {output / 'best.pdparams'}", err=True)
    if trained.stopped:
        click.echo("streammatte: stopped; the same command with --resume goes on", err=True)
        return 128 + (received[0] if received else 2)
    return 0


class Show(ProgressDisplay):
    """A bar, or a JSON line a second."""

    def __init__(self, as_json: bool) -> None:
        super().__init__("bar", "count", "remaining", "{task.fields[note]}", json_file=sys.stdout if as_json else None)

    def __call__(self, now: TrainingProgress) -> None:
        """Show a step."""
        note = f"loss {now.loss:.4g}, {now.images_per_second:.1f} images/s"
        self.bar("training", now.step, now.steps, note=note)
        self.line(
            lambda: {
                "step": now.step,
                "steps": now.steps,
                "loss": now.loss,
                "lr": now.rate,
                "images_per_second": round(now.images_per_second, 2),
                "remaining": now.remaining,
            }
        )
