"""Images that have an alpha channel of their own."""

from __future__ import annotations

import cv2
import numpy as np

from streammatte.frames import F32, U8

__all__ = ["NEUTRAL", "extended", "over_neutral", "times"]

NEUTRAL = 160
"""Gray level that the network gets where the image is transparent: lighter than most hair, darker than lit skin."""


def over_neutral(rgb: U8, alpha: U8) -> U8:
    """An image (H, W, 3) with straight alpha (H, W) over plain gray: invisible colours do not count."""
    weight = alpha[..., None].astype(np.uint16)
    return ((rgb * weight + np.uint16(NEUTRAL) * (255 - weight) + 127) // 255).astype(np.uint8)


def extended(rgb: U8, alpha: U8) -> U8:
    """The image with the colours of its visible parts spread to where it is fully transparent.

    Averages of the visible colours at ever coarser scales fill what is still open (the push-pull of Gortler et al.,
    The Lumigraph, 1996), so that a soft edge has its own colour on both sides and none is taken out of it.
    """
    if not alpha.any():
        return rgb
    weight = (alpha > 0).astype(np.float32)
    filled = _spread(rgb.astype(np.float32) * weight[..., None], weight)
    levels: U8 = np.where(alpha[..., None] > 0, rgb, np.rint(np.clip(filled, 0, 255)).astype(np.uint8))
    return levels


def times(alpha: U8, other: U8) -> U8:
    """The product of two mattes of one size."""
    product: U8 = cv2.multiply(alpha, other, scale=1 / 255)
    return product


def _spread(weighted: F32, weight: F32) -> F32:
    height, width = weight.shape
    if height == 1 and width == 1:
        coarse = weighted / max(float(weight[0, 0]), 1e-6)
    elif float(weight.min()) > 0:
        return weighted / weight[..., None]
    else:
        half = (max(1, (width + 1) // 2), max(1, (height + 1) // 2))
        small = cv2.resize(weighted, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], 3)
        share = cv2.resize(weight, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0])
        coarse = _spread(small, share)
        coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    open_ = (weight <= 0)[..., None]
    filled: F32 = np.where(open_, coarse, weighted / np.maximum(weight, 1e-6)[..., None])
    return filled
