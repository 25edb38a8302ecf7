"""At which size a network sees a picture: its aspect kept, sides of the network's multiple made up by padding."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MIN_SHORT_SIDE", "SIDE_MULTIPLE", "Fit", "fit_to"]

SIDE_MULTIPLE = 32
"""Sides of a network's input are multiples of this: its deepest features are 32 times smaller."""
MIN_SHORT_SIDE = 64
"""Shortest side that the pyramid pooling still has a cell for."""


@dataclass(frozen=True, slots=True)
class Fit:
    """(height, width) of the picture as the network sees it, and of the network's input around it.

    What lies between the two, to the right and below, is padding: the last column and row repeated.
    """

    content: tuple[int, int]
    padded: tuple[int, int]


def fit_to(
    width: int, height: int, long_side: float, *, pixel_aspect: float = 1.0, multiple: int = SIDE_MULTIPLE
) -> Fit:
    """The size for a picture.

    Parameters
    ----------
    width, height : int
        Of the picture, in stored pixels.
    long_side : float
        Of the content.
    pixel_aspect : float
        Width of a pixel by its height.
    multiple : int
        What the input's sides must be multiples of.

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
