"""Alpha from a trimap without a network: the closed-form family, over pymatting.

Each method solves ``(L + lambda C) alpha = lambda F`` where L is a matting Laplacian, C marks the known pixels and F
the known foreground; they differ in L:

- closed-form: Levin, Lischinski and Weiss, A closed-form solution to natural image matting, 2008
- knn: Chen, Li and Tang, KNN matting, 2013
- learning-based: Zheng and Kambhamettu, Learning based digital matting, 2009
- fast: He, Sun and Tang, Fast matting using large kernel matting Laplacian matrices, 2010
- random-walk: Grady, Schiwietz, Aharon and Westermann, Random walks for interactive alpha-matting, 2005
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, ModelError
from streammatte.frames import F32, U8
from streammatte.runtime import import_pymatting

__all__ = ["METHODS", "auto_trimap", "classic_alpha"]

log = logging.getLogger(__name__)

_ESTIMATORS = {
    "closed-form": "estimate_alpha_cf",
    "knn": "estimate_alpha_knn",
    "learning-based": "estimate_alpha_lbdm",
    "fast": "estimate_alpha_lkm",
    "random-walk": "estimate_alpha_rw",
}
METHODS = tuple(_ESTIMATORS)
"""Names that ``--model`` takes for them."""

CERTAIN = 0.05
"""A matte's pixels this near to 0 or 1 count as known: networks rarely give exactly 0 or 1 in hair, but often 0.02."""
LONGEST_SOLVE = 10_000
"""Steps of conjugate gradients; a solution that needs more has a trimap with too little information."""
BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255


def classic_alpha(method: str, image_rgb: U8, trimap: U8) -> F32:
    """Estimate alpha where a trimap leaves it open.

    Parameters
    ----------
    method : {"closed-form", "knn", "learning-based", "fast", "random-walk"}
    image_rgb : ndarray (H, W, 3) uint8
    trimap : ndarray (H, W) uint8
        0 is background, 255 foreground, anything between unknown.

    Returns
    -------
    ndarray (H, W) float32 in [0, 1]
        Exactly 0 and 1 where the trimap is known.

    Raises
    ------
    ConfigError
        An unknown method, other shapes or types, or a trimap without known background or foreground.
    ModelError
        The system has no solution that can be found.
    """
    if method not in _ESTIMATORS:
        raise ConfigError(f"a classic method is one of {', '.join(METHODS)}; got {method!r}")
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ConfigError(f"the image must be (H, W, 3) uint8; got {image_rgb.dtype} {image_rgb.shape}")
    if trimap.shape != image_rgb.shape[:2] or trimap.dtype != np.uint8:
        raise ConfigError(
            f"the trimap must be {image_rgb.shape[:2]} uint8 like its image; got {trimap.dtype} {trimap.shape}"
        )
    background, foreground = trimap == BACKGROUND, trimap == FOREGROUND
    if not (background | foreground).all():
        if not background.any() or not foreground.any():
            lacks = "background (0)" if not background.any() else "foreground (255)"
            raise ConfigError(f"the trimap marks no {lacks}; mark some of both")
        alpha = _solve(method, image_rgb, trimap)
    else:
        alpha = np.empty(trimap.shape, np.float32)
    alpha[background] = 0.0
    alpha[foreground] = 1.0
    return alpha


def auto_trimap(alpha: npt.NDArray[Any], radius: int) -> U8:
    """A trimap from a matte: certain where it is near 0 or 1 and ``radius`` away from everything else.

    Parameters
    ----------
    alpha : ndarray (H, W) uint8, or float in [0, 1]
    radius : int
        Pixels by which the unknown band reaches beyond the matte's own soft pixels, 0 or more.

    Returns
    -------
    ndarray (H, W) uint8 in {0, 128, 255}

    Raises
    ------
    ConfigError
        A negative radius or another shape.
    """
    if radius < 0:
        raise ConfigError(f"--auto-trimap must be 0 pixels or more; got {radius}")
    if alpha.ndim != 2:
        raise ConfigError(f"alpha must be (H, W); got {alpha.shape}")
    value = alpha.astype(np.float32) / 255.0 if alpha.dtype == np.uint8 else alpha
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # beyond the image's edge it goes on as at the edge: a person cut off by the frame stays known there
    known = [
        cv2.erode(np.uint8(mask), disc, borderType=cv2.BORDER_REPLICATE).astype(bool)
        for mask in (value <= CERTAIN, value >= 1.0 - CERTAIN)
    ]
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[known[0]] = BACKGROUND
    trimap[known[1]] = FOREGROUND
    return trimap


def _solve(method: str, image_rgb: U8, trimap: U8) -> F32:
    estimate: Callable[..., Any] = getattr(import_pymatting(), _ESTIMATORS[method])
    marked = np.where((trimap != BACKGROUND) & (trimap != FOREGROUND), 0.5, trimap / 255.0)
    try:
        alpha = estimate(image_rgb / 255.0, marked, cg_kwargs={"maxiter": LONGEST_SOLVE})
    except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
        lines = str(error).strip().splitlines()
        raise ModelError(
            f"{method} matting found no solution ({lines[0] if lines else type(error).__name__}); "
            "mark more of the trimap as known, or take another method"
        ) from error
    except MemoryError as error:
        raise ModelError(
            f"{method} matting of {image_rgb.shape[1]}x{image_rgb.shape[0]} needs more memory than is free; "
            "limit --size, or take --model fast"
        ) from error
    if not np.isfinite(alpha).all():
        raise ModelError(f"{method} matting gave no numbers; mark more of the trimap as known, or take another method")
    clipped: F32 = np.clip(alpha, 0.0, 1.0).astype(np.float32)
    return clipped
