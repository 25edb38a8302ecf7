"""At which size a network sees a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streammatte.config import MIN_SHORT_SIDE
from streammatte.zoo.resolve import ModelFiles

__all__ = ["Fit", "fit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """(height, width) of the picture as the network sees it, and of the network's input around it.

    What lies between the two, to the right and below, is padding: the last column and row repeated.
    """

    content: tuple[int, int]
    padded: tuple[int, int]


def fit(width: int, height: int, files: ModelFiles, limit: int, long_side: int | None = None) -> Fit:
    """The size for a picture.

    Parameters
    ----------
    width, height : int
        Of the picture.
    files : ModelFiles
        The network: its size rule and the multiple that its sides must be of.
    limit : int
        Of the content's long side.
    long_side : int, optional
        Of the content, instead of what the network's rule says; ``limit`` bounds it too.

    Returns
    -------
    Fit
        The aspect is kept but for rounding to even sides, and for sides that would be shorter than networks can take.
    """
    if any(step.kind == "fixed" for step in files.rule.steps):
        size = files.rule.size_for(height, width)
        return Fit(size, size)
    multiples = [int(step.values[0] or 1) for step in files.rule.steps if step.kind == "multiple"]
    multiple = math.lcm(files.multiple, *multiples)
    if long_side is None:
        sides = (height, width)
        for step in files.rule.steps:
            if step.kind != "multiple":
                sides = step.apply(*sides)
        long_side = max(sides)
    scale = min(long_side, limit) / max(width, height)
    content = _content(height * scale), _content(width * scale)
    return Fit(content, (_up(content[0], multiple), _up(content[1], multiple)))


def _content(side: float) -> int:
    """Even, since some networks give their alpha at half size."""
    return max(MIN_SHORT_SIDE, 2 * round(side / 2))


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
