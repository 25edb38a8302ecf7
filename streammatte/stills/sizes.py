"""At which size a network sees a still picture."""

from __future__ import annotations

from streammatte.sizes import Fit, fit_to
from streammatte.zoo.resolve import ModelFiles

__all__ = ["fit"]


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
        As :func:`streammatte.sizes.fit_to`; stretched where the network takes one size only.
    """
    if files.rule.fixed is not None:
        return Fit(files.rule.fixed, files.rule.fixed)
    if long_side is None:
        long_side = max(files.rule.sides_for(height, width))
    return fit_to(width, height, min(long_side, limit), multiple=files.multiple)
