"""Grad and Conn of a matte, the two metrics that cost more than a subtraction.

Sources: C. Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009 (both metrics);
the parameters (sigma 1.4, steps of 0.1, four neighbours) and the min-max stretch are those of PaddleSeg's Matting.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["connectivity_error", "gradient_error"]

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

SIGMA = 1.4
"""Width of the Gaussian derivative in pixels, as Rhemann et al. and everybody after them."""

EPSILON = 1e-2
"""The filter is cut where the Gaussian falls below this, which makes it nine taps at SIGMA."""

CONN_STEPS = 10
"""Conn looks at thresholds of 0.1, 0.2 ... 1."""

CONN_TOLERANCE = 0.15
"""A pixel that lies less than this above its connected level is not called disconnected (Rhemann et al. 2009)."""

_THRESHOLDS = np.arange(CONN_STEPS + 1) * (1 / CONN_STEPS)


def _taps() -> tuple[F32, F32]:
    """Gaussian g and its derivative d; the two-dimensional filter g(y) d(x) has unit energy."""
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * EPSILON)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = x * smooth
    unit_smooth = smooth / np.linalg.norm(smooth)
    unit_slope = slope / np.linalg.norm(slope)
    return unit_smooth.astype(np.float32), unit_slope.astype(np.float32)


_SMOOTH, _SLOPE = _taps()


@numba.njit(nogil=True, cache=True)
def _row_magnitude(image: F32, row: int, smooth: F32, slope: F32, scale: np.float32, lines: F32, out: F32) -> None:
    """|gradient| of one row into ``out``; ``lines`` is (2, width + 2 half) room for the vertical passes."""
    height, width = image.shape
    half = smooth.size // 2
    lines[:] = 0
    for tap in range(smooth.size):
        source = image[min(max(row + tap - half, 0), height - 1)]
        a = smooth[tap]
        b = slope[tap]
        for x in range(width):
            lines[0, x + half] += a * source[x]
            lines[1, x + half] += b * source[x]
    for x in range(half):
        for k in range(2):
            lines[k, x] = lines[k, half]
            lines[k, width + half + x] = lines[k, width + half - 1]
    for x in range(width):
        across = np.float32(0)
        down = np.float32(0)
        for tap in range(smooth.size):
            across += slope[tap] * lines[0, x + tap]
            down += smooth[tap] * lines[1, x + tap]
        out[x] = math.sqrt(across * across + down * down) * scale


@numba.njit(nogil=True, cache=True)
def _gradient_error(
    pred: F32,
    truth: F32,
    unknown: Flags,
    smooth: F32,
    slope: F32,
    pred_scale: np.float32,
    truth_scale: np.float32,
) -> float:
    height, width = pred.shape
    half = smooth.size // 2
    lines = np.empty((2, width + 2 * half), np.float32)
    of_pred = np.empty(width, np.float32)
    of_truth = np.empty(width, np.float32)
    total = 0.0
    for y in range(height):
        _row_magnitude(pred, y, smooth, slope, pred_scale, lines, of_pred)
        _row_magnitude(truth, y, smooth, slope, truth_scale, lines, of_truth)
        for x in range(width):
            if unknown[y, x]:
                difference = of_pred[x] - of_truth[x]
                total += difference * difference
    return total


def _stretch(image: F32) -> np.float32:
    """What brings the picture's own range to 0..1; zero for a flat picture (its gradient is zero anyway)."""
    span = float(image.max() - image.min())
    return np.float32(1 / span if span > np.finfo(np.float64).eps else 0)


def gradient_error(pred: F32, truth: F32, unknown: Flags) -> float:
    """Sum over ``unknown`` of (\\|grad pred\\| - \\|grad truth\\|)^2, each matte stretched to its own 0..1 first.

    Parameters
    ----------
    pred, truth : ndarray (H, W) float32, C-contiguous
    unknown : ndarray (H, W) bool
        Pixels that count.

    Notes
    -----
    grad is the convolution with the first-order Gaussian derivatives, edges replicated (Rhemann et al. 2009, eq. 3).
    """
    return float(_gradient_error(pred, truth, unknown, _SMOOTH, _SLOPE, _stretch(pred), _stretch(truth)))


@numba.njit(nogil=True, cache=True)
def _root(parent: I32, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(nogil=True, cache=True)
def _runs(levels: U8, threshold: int, start: I32, stop: I32, row_first: I32) -> int:
    """Horizontal runs of ``levels >= threshold``; ``row_first[y]`` is the first run of row y. Gives how many."""
    height, width = levels.shape
    count = 0
    for y in range(height):
        row_first[y] = count
        inside = False
        for x in range(width):
            now = levels[y, x] >= threshold
            if now != inside:
                if now:
                    start[count] = x
                else:
                    stop[count] = x
                    count += 1
                inside = now
        if inside:
            stop[count] = width
            count += 1
    row_first[height] = count
    return count


@numba.njit(nogil=True, cache=True)
def _join(start: I32, stop: I32, row_first: I32, parent: I32, area: I32) -> int:
    """Union of runs that touch vertically (four neighbours); gives the root of the largest, the first on a tie."""
    count = row_first[-1]
    for run in range(count):
        parent[run] = run
        area[run] = stop[run] - start[run]
    for y in range(1, row_first.size - 1):
        above = row_first[y - 1]
        run = row_first[y]
        while above < row_first[y] and run < row_first[y + 1]:
            if start[above] < stop[run] and start[run] < stop[above]:
                a = _root(parent, above)
                b = _root(parent, run)
                if a != b:
                    first, second = min(a, b), max(a, b)
                    parent[second] = first
                    area[first] += area[second]
            if stop[above] < stop[run]:
                above += 1
            else:
                run += 1
    best = -1
    for run in range(count):
        if parent[run] == run and (best < 0 or area[run] > area[best]):
            best = run
    return best


@numba.njit(nogil=True, cache=True)
def _largest_nested_depth(levels: U8, steps: int) -> U8:
    height, width = levels.shape
    most = height * ((width + 1) // 2)
    start = np.empty(most, np.int32)
    stop = np.empty(most, np.int32)
    parent = np.empty(most, np.int32)
    area = np.empty(most, np.int32)
    row_first = np.empty(height + 1, np.int32)
    depth = np.zeros((height, width), np.uint8)
    for threshold in range(1, steps + 1):
        if _runs(levels, threshold, start, stop, row_first) == 0:
            break
        best = _join(start, stop, row_first, parent, area)
        for y in range(height):
            for run in range(row_first[y], row_first[y + 1]):
                if _root(parent, run) == best:
                    for x in range(start[run], stop[run]):
                        if depth[y, x] == threshold - 1:
                            depth[y, x] = threshold
    return depth


@numba.njit(nogil=True, cache=True)
def _passed(pred: F32, truth: F32, thresholds: F64) -> U8:
    """How many thresholds both mattes reach at each pixel."""
    height, width = pred.shape
    last = thresholds.size - 1
    levels = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            value = np.float64(min(pred[y, x], truth[y, x]))
            level = min(max(int(value * last), 0), last)
            # The product may round across a threshold; the comparison decides.
            if level < last and value >= thresholds[level + 1]:
                level += 1
            elif level > 0 and value < thresholds[level]:
                level -= 1
            levels[y, x] = level
    return levels


@numba.njit(nogil=True, cache=True)
def _phi_error(pred: F32, truth: F32, unknown: Flags, depth: U8, thresholds: F32, tolerance: np.float32) -> float:
    height, width = pred.shape
    total = 0.0
    for y in range(height):
        for x in range(width):
            if unknown[y, x]:
                level = thresholds[depth[y, x]]
                of_pred = pred[y, x] - level
                of_truth = truth[y, x] - level
                if of_pred < tolerance:
                    of_pred = np.float32(0)
                if of_truth < tolerance:
                    of_truth = np.float32(0)
                total += abs(of_pred - of_truth)
    return total


def connectivity_error(pred: F32, truth: F32, unknown: Flags) -> float:
    """Sum over ``unknown`` of |phi(truth) - phi(pred)|.

    Parameters
    ----------
    pred, truth : ndarray (H, W) float32, C-contiguous
    unknown : ndarray (H, W) bool
        Pixels that count.

    Notes
    -----
    phi(a) = 1 - d [d >= 0.15], d = a - l (Rhemann et al. 2009, eq. 4 with p = 1); l is the highest threshold up to
    which the pixel stays, from the lowest on, in the largest component of four neighbours that both mattes share. Of
    equally large components the first from the top counts.
    """
    depth = _largest_nested_depth(_passed(pred, truth, _THRESHOLDS), CONN_STEPS)
    return float(_phi_error(pred, truth, unknown, depth, _THRESHOLDS.astype(np.float32), np.float32(CONN_TOLERANCE)))
