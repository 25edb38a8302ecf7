"""Metrics of a network in Paddle over images with a truth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from streammatte.evaluation import metrics
from streammatte.evaluation.bands import trimap_from_alpha
from streammatte.models.cards import card_names, load_card
from streammatte.models.input_rule import InputRule
from streammatte.network_size import fit_input
from streammatte.training.datasets import Entry, read_pair

__all__ = ["evenly", "input_rule", "unit", "validate"]


def validate(
    network: Any, name: str, entries: list[Entry], names: tuple[str, ...] = ("mad", "mse", "grad")
) -> dict[str, float]:
    """Mean metrics of a network over images: alpha at the network's size, enlarged to the image's.

    Parameters
    ----------
    network : paddle.nn.Layer
        Left in evaluation mode.
    name : str
        Its name: its input's size follows from its card.
    entries : list of Entry
    names : tuple of str
        Metrics of :mod:`streammatte.evaluation.metrics`; MAD and MSE times 1000.
    """
    import paddle

    rule = input_rule(name)
    network.eval()
    sums = dict.fromkeys(names, 0.0)
    for entry in entries:
        image, truth = read_pair(entry)
        height, width = truth.shape
        at = fit_input(width, height, rule).padded
        small = cv2.resize(image, at[::-1], interpolation=cv2.INTER_AREA)
        trimap = cv2.resize(trimap_from_alpha(truth), at[::-1], interpolation=cv2.INTER_NEAREST)
        with paddle.no_grad():
            output = network(
                unit(paddle.to_tensor(np.ascontiguousarray(small.transpose(2, 0, 1))[None])),
                paddle.to_tensor(trimap[None, None].astype(np.float32)),
            )
        alpha = np.clip(cv2.resize(output.numpy()[0, 0], (width, height)), 0, 1)
        for metric in names:
            scale = 1000 if metric in ("mad", "mse") else 1
            sums[metric] += scale * getattr(metrics, metric)(alpha, truth)
    return {metric: value / max(1, len(entries)) for metric, value in sums.items()}


def input_rule(network: str) -> InputRule:
    """The input that a network of this name takes."""
    return load_card(network).input if network in card_names() else InputRule()


def evenly(entries: list[Entry], most: int) -> list[Entry]:
    """At most so many entries, evenly chosen; all where ``most`` is 0."""
    if not most or len(entries) <= most:
        return entries
    return [entries[index * len(entries) // most] for index in range(most)]


def unit(image: Any) -> Any:
    """A tensor of levels 0 to 255 as networks take it: float32 in [-1, 1]."""
    return image.astype("float32") / 127.5 - 1
