"""Dense motion between two frames of a film, for MESSDdt."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.frames import U8

__all__ = ["dense_flow"]


def dense_flow(earlier: U8, later: U8) -> npt.NDArray[np.float32]:
    """Motion (dx, dy) in pixels from ``earlier`` to ``later``, both luma (H, W) uint8; (H, W, 2) float32.

    T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, medium preset of OpenCV. Erofeev et
    al. used another flow; it is measured on the film and the same for every matte, so it favours none.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(np.ascontiguousarray(earlier), np.ascontiguousarray(later), None)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)
