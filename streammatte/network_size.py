"""The size at which a network gets an image: one rule for videos, images, cameras and the evaluation.

The aspect is kept; padding makes the sides multiples of the network's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "MAX_LONG_SIDE",
    "MAX_MEGAPIXELS",
    "MIN_SHORT_SIDE",
    "SIDE_MULTIPLE",
    "Fit",
    "SizeRule",
    "fit_input",
    "fit_to",
]

SIDE_MULTIPLE = 32
"""Sides of a network's input are multiples of this: its deepest features are 32 times smaller."""
MIN_SHORT_SIDE = 64
"""Shortest side that the pyramid pooling still has a cell for."""
MAX_MEGAPIXELS = 128
"""Largest image or video that is decoded unless the caller allows more: above any camera's, 0.4 GB as RGB."""

MAX_LONG_SIDE = 2048
"""Longest side of a network's input: the largest that a network of the zoo was made for."""


@dataclass(frozen=True, slots=True)
class Fit:
    """(height, width) of the image as the network gets it, and of the network's input around it.

    What lies between the two, to the right and below, is padding: the last column and row repeated.
    """

    content: tuple[int, int]
    padded: tuple[int, int]


class SizeRule(Protocol):
    """What a network's own preprocessing does to an image's sides; both are (height, width)."""

    @property
    def fixed(self) -> tuple[int, int] | None:
        """The only size that the network takes."""
        ...

    def sides_for(self, height: int, width: int) -> tuple[int, int]:
        """The sides before they become multiples."""
        ...


def fit_input(
    width: int,
    height: int,
    rule: SizeRule,
    *,
    size: int | None = None,
    multiple: int = SIDE_MULTIPLE,
    pixel_aspect: float = 1.0,
) -> Fit:
    """The size at which a network gets an image.

    A network of one size gets that size. Any other gets the size that its own rule gives, up to ``MAX_LONG_SIDE``; with
    ``size``, a long side of ``size``, but never more than the larger of the image's own and the rule's.

    Parameters
    ----------
    width, height : int
        Of the image, in stored pixels.
    rule : SizeRule
        The network's.
    size : int, optional
        The requested long side.
    multiple, pixel_aspect
        As :func:`fit_to`.
    """
    if rule.fixed is not None:
        return Fit(rule.fixed, rule.fixed)
    shown = max(1, round(width * pixel_aspect))
    long_side = min(max(rule.sides_for(height, shown)), MAX_LONG_SIDE)
    if size is not None:
        long_side = min(size, max(long_side, shown, height))
    return fit_to(width, height, long_side, multiple=multiple, pixel_aspect=pixel_aspect)


def fit_to(
    width: int, height: int, long_side: float, *, multiple: int = SIDE_MULTIPLE, pixel_aspect: float = 1.0
) -> Fit:
    """The size for an image whose longer side becomes ``long_side``.

    Parameters
    ----------
    width, height : int
        Of the image, in stored pixels.
    long_side : float
        Of the content.
    multiple : int
        What the input's sides must be multiples of.
    pixel_aspect : float
        Width of a pixel by its height.

    Returns
    -------
    Fit
        The displayed aspect is kept but for rounding to even sides (some networks give their alpha at half size), and
        for sides that would be shorter than networks can take.
    """
    shown = width * pixel_aspect
    scale = long_side / max(shown, height)
    content = _even(height * scale), _even(shown * scale)
    return Fit(content, (_up(content[0], multiple), _up(content[1], multiple)))


def _even(side: float) -> int:
    return max(MIN_SHORT_SIDE, 2 * round(side / 2))


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
