"""How a graph that others made is read: which inputs and outputs are what, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from streammatte.models.input_rule import STRICT

__all__ = ["DOWNSAMPLE", "GraphRule", "constant_for", "pair_states"]

DOWNSAMPLE = "downsample_ratio"
"""RVM's input of one number: by how much it shrinks an image for its first pass."""
_RVM_SIDE = 512
"""Long side of that first pass, as RVM's authors advise it."""
_BEFORE_AFTER = (("i", "o"), ("_in", "_out"), ("in", "out"), ("", "_out"), ("", "o"), ("prev", "next"))
"""Suffixes of the names of a state's input, and of the output that follows it."""


@dataclass(frozen=True, slots=True)
class GraphRule:
    """The ``graph`` table of a card; what is left out is found in the graph itself.

    Parameters
    ----------
    image, alpha, foreground : str, optional
        Names of the image's input, of the matte's output, of the output with the person's own colours (RGB, 0 to 1).
    range : str
        What the matte's numbers are: ``alpha`` (0 to 1), ``logits`` (a sigmoid makes alpha of them), ``softmax`` (over
        the channels), ``minmax`` (stretched to 0 to 1 in each image), ``levels`` (0 to 255).
    channel : int
        Which channel of the output is the person's.
    layout : str
        Of image and matte: ``nchw`` or ``nhwc``.
    channels : str
        Order of the image's colours: ``rgb`` or ``bgr``.
    states : mapping
        Inputs that carry a recurrent network's memory, each with the output that is its next value.
    constants : mapping
        Inputs of one number, and that number.
    """

    __pydantic_config__ = STRICT

    image: str | None = None
    alpha: str | None = None
    foreground: str | None = None
    range: Literal["alpha", "logits", "softmax", "minmax", "levels"] = "alpha"
    channel: Annotated[int, Field(ge=0)] = 0
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    states: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)


def pair_states(inputs: list[str], outputs: list[str], rule: GraphRule) -> dict[str, str] | None:
    """Each state's input with its output: by the rule, else by their names, else in order where there are as many.

    Parameters
    ----------
    inputs : list of str
        Those that are neither the image, nor a trimap, nor one number.
    outputs : list of str
        Those that are neither the matte nor the foreground.
    rule : GraphRule

    Returns
    -------
    dict, or None where inputs are left that nothing belongs to
    """
    found = {name: after for name, after in rule.states.items() if name in inputs and after in outputs}
    for name in inputs:
        for before, after in _BEFORE_AFTER:
            if name not in found and name.endswith(before) and name.removesuffix(before) + after in outputs:
                found[name] = name.removesuffix(before) + after
    missing = [name for name in inputs if name not in found]
    left = [name for name in outputs if name not in found.values()]
    if missing and len(missing) == len(left):
        found |= dict(zip(missing, left, strict=True))
    return {name: found[name] for name in inputs} if len(found) == len(inputs) else None


def constant_for(name: str, rule: GraphRule, size: tuple[int, int] | None) -> float | None:
    """The value of an input of one number for images of a (height, width); None where nothing says it.

    Parameters
    ----------
    name : str
        Of the input.
    rule : GraphRule
        What a card says of the graph.
    size : (int, int), optional
        Height and width of the images.
    """
    if name in rule.constants:
        return rule.constants[name]
    if name == DOWNSAMPLE:
        return 1.0 if size is None else min(1.0, _RVM_SIDE / max(size))
    return None
