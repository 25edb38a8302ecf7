"""Metrics of a matte against the truth: pure functions ``metric(pred, truth, trimap=None)``.

Mattes are uint8 (0..255) or float (0..1); both give the same value. With a trimap (uint8: 0 background, 255 person,
anything else unknown) only unknown pixels count, and the prediction is taken as 0 and 1 where the trimap is certain, as
PaddleSeg does. SAD, MSE, Grad and Conn have PaddleSeg's values and scales; MAD, dtSSD and MESSDdt are plain means.

Sources: C. Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009 (SAD, MSE, Grad,
Conn); M. Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015 (dtSSD, MESSDdt).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.frames import F32
from streammatte.kernels.metrics import connectivity_error, gradient_error

__all__ = ["conn", "dtssd", "grad", "mad", "messddt", "mse", "sad"]

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]

PER_THOUSAND = 1000.0
"""SAD, Grad and Conn are sums over pixels in thousands, as papers print them."""

_UNIT = (np.arange(256) / 255.0).astype(np.float32)
_RANGE_SLACK = 1e-3
"""How far outside 0..1 a float matte may lie: rounding of a network, not another unit."""


def as_unit(name: str, matte: Array, dims: int) -> F32:
    """``matte`` as C-contiguous float32 in 0..1; ConfigError for another dtype, range or number of dimensions.

    Parameters
    ----------
    name : str
        What errors call it.
    matte : array
        uint8, or floats in [0, 1].
    dims : int
        2 for an image, 3 for a sequence.
    """
    shape = "(H, W)" if dims == 2 else "(T, H, W)"
    if not isinstance(matte, np.ndarray) or matte.ndim != dims:
        got = f"shape {matte.shape}" if isinstance(matte, np.ndarray) else type(matte).__name__
        raise ConfigError(f"{name}: expected an array of shape {shape}, got {got}; pass the alpha channel alone")
    if matte.size == 0:
        raise ConfigError(f"{name}: the matte is empty (shape {matte.shape}); pass at least one pixel")
    if matte.dtype == np.uint8:
        return _UNIT[matte]
    if not np.issubdtype(matte.dtype, np.floating):
        raise ConfigError(f"{name}: expected uint8 (0..255) or float (0..1), got {matte.dtype}; convert it first")
    low, high = float(matte.min()), float(matte.max())
    if not (low >= -_RANGE_SLACK and high <= 1 + _RANGE_SLACK):
        raise ConfigError(f"{name}: float mattes lie in 0..1, got {low:g}..{high:g}; divide by 255 or pass uint8")
    return np.ascontiguousarray(matte, np.float32)


def _checked(pred: Array, truth: Array, trimap: Array | None, dims: int) -> tuple[F32, F32, Flags]:
    """Unit mattes (pred, truth) and the unknown pixels; the prediction is set where the trimap is certain."""
    pred_unit, truth_unit = as_unit("pred", pred, dims), as_unit("truth", truth, dims)
    if pred_unit.shape != truth_unit.shape:
        raise ConfigError(f"pred is {pred_unit.shape}, truth {truth_unit.shape}; scale one to the other's size first")
    if trimap is None:
        return pred_unit, truth_unit, np.ones(truth_unit.shape, np.bool_)
    if not isinstance(trimap, np.ndarray) or trimap.dtype != np.uint8:
        got = trimap.dtype if isinstance(trimap, np.ndarray) else type(trimap).__name__
        raise ConfigError(f"trimap: expected uint8 of 0, 128 and 255, got {got}; convert it first")
    if trimap.shape != truth_unit.shape:
        raise ConfigError(f"trimap is {trimap.shape}, truth {truth_unit.shape}; scale it (nearest) to that size first")
    background, person = trimap == 0, trimap == 255
    settled = np.where(background, np.float32(0), np.where(person, np.float32(1), pred_unit))
    return settled, truth_unit, ~(background | person)


def _mean(values: F32, unknown: Flags) -> float:
    """Mean of ``values`` over ``unknown``; 0 where nothing is unknown."""
    count = int(np.count_nonzero(unknown))
    return float(np.sum(values, where=unknown, dtype=np.float64)) / count if count else 0.0


def mse(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Mean squared error: mean over unknown pixels of (pred - truth)^2, in 0..1.

    Parameters
    ----------
    pred, truth : ndarray (H, W), uint8 in 0..255 or float in 0..1
    trimap : ndarray (H, W) uint8, optional
        0 background, 255 person, else unknown; without one every pixel counts.

    Raises
    ------
    ConfigError
        Shapes differ, or a dtype or range is not as above.
    """
    p, t, unknown = _checked(pred, truth, trimap, 2)
    return _mean((p - t) ** 2, unknown)


def mad(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Mean absolute difference over unknown pixels, in 0..1. Parameters and errors as :func:`mse`."""
    p, t, unknown = _checked(pred, truth, trimap, 2)
    return _mean(np.abs(p - t), unknown)


def sad(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Sum of absolute differences over unknown pixels, in thousands. Parameters and errors as :func:`mse`."""
    p, t, unknown = _checked(pred, truth, trimap, 2)
    return float(np.sum(np.abs(p - t), where=unknown, dtype=np.float64)) / PER_THOUSAND


def grad(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Gradient error: sum over unknown pixels of (\\|grad pred\\| - \\|grad truth\\|)^2, in thousands.

    grad is the first-order Gaussian derivative, sigma 1.4, nine taps of unit energy. As in PaddleSeg each matte is
    stretched to its own minimum and maximum first. Parameters and errors as :func:`mse`.
    """
    p, t, unknown = _checked(pred, truth, trimap, 2)
    return gradient_error(p, t, unknown) / PER_THOUSAND


def conn(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Connectivity error: sum over unknown pixels of \\|phi(truth) - phi(pred)\\|, in thousands.

    phi(a) = 1 - d [d >= 0.15] with d = a - l, and l the highest threshold (in steps of 0.1) up to which the pixel stays
    in the largest component, of four neighbours, that both mattes share (Rhemann et al. 2009, p = 1, as PaddleSeg).
    Parameters and errors as :func:`mse`.
    """
    p, t, unknown = _checked(pred, truth, trimap, 2)
    return connectivity_error(p, t, unknown) / PER_THOUSAND


def _check_video(matte: F32) -> None:
    if len(matte) < 2:
        raise ConfigError("temporal metrics need at least two frames, got one; use mad or mse for a single image")


def dtssd(pred: Array, truth: Array, trimap: Array | None = None) -> float:
    """Error of the change from frame to frame, mean over t of sqrt(mean_p ((p_t - p_t-1) - (g_t - g_t-1))^2), in 0..2.

    Erofeev et al. 2015, equation of dtSSD, with the sum over pixels divided by their number so that it does not depend
    on the frame's size. It is about the error's change, not its size: a matte that is wrong in the same way in every
    frame scores 0, so it always stands beside :func:`mad`.

    Parameters
    ----------
    pred, truth : ndarray (T, H, W), uint8 in 0..255 or float in 0..1, T at least 2
    trimap : ndarray (T, H, W) uint8, optional
        A pair counts the pixels that are unknown in its later frame.

    Raises
    ------
    ConfigError
        Shapes differ, fewer than two frames, or a dtype or range is not as above.
    """
    p, t, unknown = _checked(pred, truth, trimap, 3)
    _check_video(t)
    return float(np.mean([dtssd_step((p[k - 1], p[k]), (t[k - 1], t[k]), unknown[k]) for k in range(1, len(t))]))


def dtssd_step(pred: tuple[F32, F32], truth: tuple[F32, F32], unknown: Flags) -> float:
    """DtSSD of one pair (earlier, later) of unit mattes.

    Parameters
    ----------
    pred, truth : pair of (H, W) float32
        Earlier and later matte in [0, 1].
    unknown : (H, W) bool
        The pixels that count.
    """
    return float(np.sqrt(_mean(((pred[1] - pred[0]) - (truth[1] - truth[0])) ** 2, unknown)))


def messddt(pred: Array, truth: Array, trimap: Array | None = None, flow: Array | None = None) -> float:
    """Change of the squared error e along the motion: mean over t and p of \\|e_t(p) - e_t+1(p + v_t(p))\\|.

    e = (pred - truth)^2. Erofeev et al. 2015, equation of MESSDdt, as a mean over pixels. Pixels that
    the flow carries out of the frame do not count.

    Parameters
    ----------
    pred, truth : ndarray (T, H, W), uint8 in 0..255 or float in 0..1, T at least 2
    trimap : ndarray (T, H, W) uint8, optional
        A pair counts the pixels that are unknown in its earlier frame.
    flow : ndarray (T - 1, H, W, 2) float32, optional
        v: (dx, dy) in pixels from frame t to frame t + 1, of the video (not of a matte). Without it, v = 0.

    Raises
    ------
    ConfigError
        As :func:`dtssd`, or the flow's shape does not fit.
    """
    p, t, unknown = _checked(pred, truth, trimap, 3)
    _check_video(t)
    expected = (len(t) - 1, *t.shape[1:], 2)
    if flow is not None and (flow.shape != expected or not np.issubdtype(flow.dtype, np.floating)):
        raise ConfigError(f"flow: expected float {expected}, got {flow.dtype} {flow.shape}; one field a pair of frames")
    steps = [
        messddt_step((p[k], p[k + 1]), (t[k], t[k + 1]), unknown[k], None if flow is None else flow[k])
        for k in range(len(t) - 1)
    ]
    return float(np.mean(steps))


def messddt_step(pred: tuple[F32, F32], truth: tuple[F32, F32], unknown: Flags, flow: Array | None) -> float:
    """MESSDdt of one pair (earlier, later) of unit mattes.

    Parameters
    ----------
    pred, truth : pair of (H, W) float32
        Earlier and later matte in [0, 1].
    unknown : (H, W) bool
        The pixels that count.
    flow : (H, W, 2) float32, optional
        Pixels by which the earlier image moves to the later one; None where nothing moves.
    """
    before, after = (pred[0] - truth[0]) ** 2, (pred[1] - truth[1]) ** 2
    if flow is None:
        return _mean(np.abs(before - after), unknown)
    height, width = before.shape
    x = np.arange(width, dtype=np.float32) + flow[..., 0].astype(np.float32)
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1].astype(np.float32)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    moved = cv2.remap(after, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _mean(np.abs(before - moved), unknown & inside)
