"""What is trained and how: the trained parameters, the optimiser and the learning rate."""

from __future__ import annotations

import math
import re
from typing import Any

from streammatte.errors import ConfigError
from streammatte.training.recipe import Recipe

__all__ = ["make_optimizer", "rate_at", "set_training", "trained_parameters"]


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step; the first one is 0.

    Parameters
    ----------
    recipe : Recipe
    step, steps : int
        Number of the step, from 0, and of all.
    """
    high = recipe.learning_rate
    if step < recipe.warmup:
        return recipe.warmup_start + (high - recipe.warmup_start) * step / recipe.warmup
    done = (step - recipe.warmup) / max(1, steps - recipe.warmup)
    if recipe.schedule == "polynomial":
        return float((high - recipe.end_rate) * max(0.0, 1 - done) ** recipe.power + recipe.end_rate)
    if recipe.schedule == "cosine":
        return recipe.end_rate + (high - recipe.end_rate) * (1 + math.cos(math.pi * min(1.0, done))) / 2
    if recipe.schedule == "piecewise":
        passed = sum(step >= boundary for boundary in recipe.falls)
        return float(high * recipe.gamma**passed)
    return high


def trained_parameters(network: Any, freeze: str) -> list[tuple[str, Any]]:
    """Freeze what matches ``freeze``; returns names and values of the other parameters. Raises ConfigError.

    Parameters
    ----------
    network : paddle.nn.Layer
    freeze : str
        Regular expression of names; ``""`` freezes nothing.
    """
    try:
        pattern = re.compile(freeze) if freeze else None
    except re.error as error:
        raise ConfigError(f"freeze is no regular expression: {error}") from error
    trained = []
    for name, value in network.named_parameters():
        if pattern is not None and pattern.search(name):
            value.stop_gradient = True
        elif not value.stop_gradient:
            trained.append((name, value))
    if not trained:
        raise ConfigError(f"freeze={freeze!r} leaves nothing to train")
    set_training(network, freeze)
    return trained


def set_training(network: Any, freeze: str) -> None:
    """Training mode; batch norms of frozen parts keep their means."""
    network.train()
    if freeze:
        pattern = re.compile(freeze)
        for name, layer in network.named_sublayers():
            if type(layer).__name__.startswith("BatchNorm") and pattern.search(f"{name}.weight"):
                layer.eval()


def make_optimizer(paddle: Any, recipe: Recipe, parameters: list[Any]) -> Any:
    """The recipe's optimiser.

    Parameters
    ----------
    paddle : module
    recipe : Recipe
    parameters : list of paddle.Tensor
    """
    clip = paddle.nn.ClipGradByGlobalNorm(recipe.clip) if recipe.clip else None
    how = {"learning_rate": recipe.learning_rate, "parameters": parameters, "grad_clip": clip}
    if recipe.optimizer == "sgd":
        return paddle.optimizer.Momentum(momentum=recipe.momentum, weight_decay=recipe.weight_decay or None, **how)
    if recipe.optimizer == "adam":
        return paddle.optimizer.Adam(weight_decay=recipe.weight_decay or None, **how)
    return paddle.optimizer.AdamW(weight_decay=recipe.weight_decay, **how)
