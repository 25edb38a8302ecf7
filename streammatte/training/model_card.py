"""The card of a network that was trained: description, training data, quality."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from streammatte._version import __version__
from streammatte.models.cards import card_names, load_card
from streammatte.models.input_rule import InputRule, as_table
from streammatte.training.recipe import Recipe

__all__ = ["model_card"]


def model_card(recipe: Recipe, images: int, steps: int, quality: Mapping[str, float]) -> str:
    """A card as :mod:`streammatte.models.cards` reads it.

    Parameters
    ----------
    recipe : Recipe
        Its ``licence`` becomes the card's; without one the card has a line to fill in.
    images : int
        How many were learned from.
    steps : int
        How many were done.
    quality : mapping
        Metrics on ``recipe.validation``; may be empty.
    """
    known = load_card(recipe.network) if recipe.network in card_names() else None
    begin = {None: "random weights", "published": "the published weights"}.get(recipe.init, recipe.init)
    augmented = ", ".join(name for name, _ in recipe.transforms) or "none"
    training = (
        f"Trained by streammatte {__version__} from {begin}: {steps} steps of {recipe.batch * recipe.accumulate} "
        f"samples at {recipe.size} pixels, {recipe.optimizer}, learning rate {recipe.learning_rate:g} "
        f"({recipe.schedule}), seed {recipe.seed}.\nData: {images} images of {recipe.data}"
        + (f", laid over {recipe.backgrounds}" if recipe.backgrounds else "")
        + f".\nAugmentation: {augmented}.\n"
    )
    if recipe.init is not None and known is not None and known.training:
        training += f"\nThe weights it began with:\n{known.training}"
    card = {
        "name": recipe.network,
        "title": f"{known.title if known else recipe.network}, trained",
        "architecture": known.architecture if known else recipe.network,
        "input": as_table(known.input if known else InputRule()),
        "licence": recipe.licence or "not stated: write here under which licence the data may be used",
        "paper": known.paper if known else "",
        "output_scale": known.output_scale if known else 1.0,
        "training": training,
    }
    if quality:
        card["quality"] = {"on": str(recipe.validation), **{name: round(value, 4) for name, value in quality.items()}}
    return yaml.safe_dump(card, sort_keys=False, width=110, allow_unicode=True)
