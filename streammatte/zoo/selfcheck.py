"""Whether a network's files are what they were, and run."""

from __future__ import annotations

import numpy as np

from streammatte.errors import ModelError
from streammatte.zoo.cards import Card
from streammatte.zoo.convert import graph_of
from streammatte.zoo.resolve import resolve
from streammatte.zoo.store import find, verify

__all__ = ["check"]

TRIED = (64, 96)
"""Height and width of the trial run: the smallest that every network's pyramid has cells for."""
INT8_AGREEMENT = 0.2
"""Largest mean difference between the 8-bit and the float graph on noise, far outside what either was made for."""


def check(card: Card) -> list[str]:
    """Check one network: its files against their record, then one run of each graph.

    Returns
    -------
    list of str
        What is wrong; empty where all is well.
    """
    faults = [] if card.embedded else verify(card.name)
    kept = find(card.name) if not card.embedded else None
    if faults or (kept is not None and kept.folder is None):
        return faults or _weights(card)
    try:
        return _run(card)
    except ModelError as error:
        return [str(error)]


def _run(card: Card) -> list[str]:
    import openvino as ov

    files = resolve(card.name)
    noise = np.random.default_rng(0).integers(0, 256, (1, *TRIED, 3), np.uint8)
    results = {}
    for kind in files.graphs:
        graph = graph_of(files, TRIED, kind)
        if len(graph.inputs) > 1:
            continue
        compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        alpha = np.asarray(compiled([noise])[0])
        if not np.isfinite(alpha).all() or alpha.min() < -1e-3 or alpha.max() > 1 + 1e-3:
            return [f"the {kind} graph gives alpha from {alpha.min():.3g} to {alpha.max():.3g} instead of 0 to 1"]
        results[kind] = alpha
    if len(results) == 2:
        apart = float(np.abs(results["int8"] - results["float"]).mean())
        if apart > INT8_AGREEMENT:
            return [f"the int8 graph is {apart:.2f} from the float one; install streammatte again"]
    return []


def _weights(card: Card) -> list[str]:
    """Read the weights by name, where Paddle is here to build the network."""
    from importlib.util import find_spec

    from streammatte.zoo.registry import create

    kept = find(card.name)
    if kept.checkpoint is None:
        return ["it is not here; pull it first"]
    if find_spec("paddle") is None:
        return []
    try:
        create(card.name, kept.checkpoint)
    except ModelError as error:
        return [str(error)]
    return []
