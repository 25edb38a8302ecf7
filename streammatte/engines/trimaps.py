"""The trimaps that some networks need beside the pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError

__all__ = ["check_trimaps"]


def check_trimaps(images: npt.NDArray[np.uint8], trimaps: npt.NDArray[np.uint8] | None, needed: bool) -> None:
    """Refuse trimaps where the network takes none, their lack where it needs them, and other shapes than the images'.

    Raises
    ------
    ConfigError
    """
    if needed != (trimaps is not None):
        raise ConfigError(
            "this network needs a trimap: give --trimap" if needed else "this network takes no trimap: leave it out"
        )
    if trimaps is not None and (trimaps.shape != images.shape[:3] or trimaps.dtype != np.uint8):
        raise ConfigError(f"trimaps must be uint8 {images.shape[:3]}; got {trimaps.dtype} {trimaps.shape}")
