"""What every engine checks of the images and trimaps it is given."""

from __future__ import annotations

import numpy as np

from streammatte.errors import ConfigError
from streammatte.frames import U8

__all__ = ["check_inputs"]


def check_inputs(images: U8, trimaps: U8 | None, *, size: tuple[int, int], batch: int, needs_trimap: bool) -> None:
    """Refuse what an engine cannot run.

    Parameters
    ----------
    images : ndarray (N, H, W, 3) uint8, C-contiguous
        N from 1 to ``batch``, H and W as ``size``.
    trimaps : ndarray (N, H, W) uint8, optional
        Given exactly where the network ``needs_trimap``.
    size : (int, int)
    batch : int
    needs_trimap : bool

    Raises
    ------
    ConfigError
    """
    wanted = f"(1..{batch}, {size[0]}, {size[1]}, 3)"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*size, 3):
        raise ConfigError(f"images must be uint8 {wanted}; got {images.dtype} {images.shape}")
    if not 1 <= len(images) <= batch:
        raise ConfigError(f"images must be uint8 {wanted}; got {images.shape}: open the engine with a larger batch")
    if not images.flags.c_contiguous:
        raise ConfigError("images must be C-contiguous; pass numpy.ascontiguousarray(images)")
    if needs_trimap != (trimaps is not None):
        raise ConfigError(
            "this network needs a trimap: give --trimap" if needs_trimap else "this network takes no trimap"
        )
    if trimaps is not None and (trimaps.shape != images.shape[:3] or trimaps.dtype != np.uint8):
        raise ConfigError(f"trimaps must be uint8 {images.shape[:3]}; got {trimaps.dtype} {trimaps.shape}")
