"""Scores of whole videos and data sets, frame by frame, in memory that does not grow with their length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, UnsupportedSourceError
from streammatte.evaluation import metrics as m
from streammatte.evaluation.bands import transition_band
from streammatte.frames import U8

__all__ = ["COLUMNS", "Column", "ItemScore", "Scorer", "WorstFrame", "choose", "foreground_error"]

Array = npt.NDArray[Any]

WORST_FRAMES = 3
"""Frames an item keeps for the report."""

WORST_GAP = 10
"""Frames that lie between two kept ones at least: neighbours show the same error."""

THUMBNAIL = 320
"""Long side in pixels of a kept frame: errors are visible, and a report of a video stays under a megabyte."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a metric is printed: ``value * factor``, under ``label``."""

    label: str
    factor: float
    text: str
    temporal: bool = False


COLUMNS = {
    "mad": Column("MAD x1e3", 1e3, "mean absolute difference, times 1000"),
    "mse": Column("MSE x1e3", 1e3, "mean squared error, times 1000"),
    "sad": Column("SAD /1e3", 1, "sum of absolute differences, in thousands"),
    "grad": Column("Grad /1e3", 1, "gradient error, in thousands"),
    "conn": Column("Conn /1e3", 1, "connectivity error, in thousands"),
    "band": Column("band MAD x1e3", 1e3, "MAD within the transition band of the truth, times 1000"),
    "dtssd": Column("dtSSD x1e2", 1e2, "error of the change from frame to frame, times 100", temporal=True),
    "messddt": Column("MESSDdt x1e3", 1e3, "change of the squared error along the motion, times 1000", temporal=True),
    "mad_unknown": Column("MAD? x1e3", 1e3, "MAD in the trimap's unknown part, times 1000"),
    "mse_unknown": Column("MSE? x1e3", 1e3, "MSE in the trimap's unknown part, times 1000"),
    "sad_unknown": Column("SAD? /1e3", 1, "SAD in the trimap's unknown part, in thousands"),
    "grad_unknown": Column("Grad? /1e3", 1, "Grad in the trimap's unknown part, in thousands"),
    "conn_unknown": Column("Conn? /1e3", 1, "Conn in the trimap's unknown part, in thousands"),
    "fg_sad": Column("F SAD /1e3", 1, "sum over pixels and channels of |alpha F - alpha* F*|, in thousands"),
    "fg_mse": Column("F MSE x1e3", 1e3, "mean over pixels and channels of (alpha F - alpha* F*)^2, times 1000"),
}
"""Every value that a report may show; JSON and CSV have the plain value."""

CHOICES = ("mad", "mse", "sad", "grad", "conn", "band", "dtssd", "messddt")
DEFAULT = tuple(name for name in CHOICES if name != "messddt")
"""MESSDdt needs a dense flow of the video, which costs more than all the others."""

_STILL = {"mad": m.mad, "mse": m.mse, "sad": m.sad, "grad": m.grad, "conn": m.conn}


def choose(text: str | None) -> tuple[str, ...]:
    """Metric names from ``"mad,grad"`` or ``"all"``; the default set for None. Raises ConfigError for unknown ones."""
    if text is None:
        return DEFAULT
    if text.strip().lower() == "all":
        return CHOICES
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    unknown = [name for name in wanted if name not in CHOICES]
    if unknown or not wanted:
        raise ConfigError(f"unknown metric {', '.join(unknown) or repr(text)}; choose of {', '.join(CHOICES)}, or all")
    return tuple(dict.fromkeys(wanted))


@dataclass(slots=True)
class WorstFrame:
    """A frame kept for the report: small copies of the prediction, the truth and the image."""

    name: str
    error: float
    pred: U8
    truth: U8
    image: U8 | None


@dataclass(slots=True)
class ItemScore:
    """Scores of one image or video: plain values a frame, and their means."""

    name: str
    kind: str
    frames: list[str] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    worst: list[WorstFrame] = field(default_factory=list)

    def mean(self, metric: str) -> float | None:
        """Mean over the frames that have the metric; None where none has."""
        known = [value for value in self.values.get(metric, []) if value is not None]
        return float(np.mean(known)) if known else None

    def means(self) -> dict[str, float | None]:
        """All metrics' means."""
        return {metric: self.mean(metric) for metric in self.values}


def foreground_error(
    alpha: Array, foreground: U8, true_alpha: Array, true_foreground: U8, *, name: str = "foreground"
) -> dict[str, float]:
    """SAD (in thousands) and MSE of alpha F, over pixels and channels, colours in 0..1.

    Parameters
    ----------
    alpha, true_alpha : ndarray (H, W), uint8 or float in 0..1
    foreground, true_foreground : ndarray (H, W, 3) uint8
        Straight (not premultiplied).

    Raises
    ------
    ConfigError
        Shapes differ.
    """
    ours, theirs = m.as_unit("alpha", alpha, 2), m.as_unit("true alpha", true_alpha, 2)
    if not foreground.shape == true_foreground.shape == (*theirs.shape, 3) or ours.shape != theirs.shape:
        raise ConfigError(
            f"{name}: foreground is {foreground.shape}, the true one {true_foreground.shape}; make them alike"
        )
    scale = np.float32(1 / 255)
    error = ours[..., None] * (foreground * scale) - theirs[..., None] * (true_foreground * scale)
    return {
        "fg_sad": float(np.abs(error).sum(dtype=np.float64)) / m.PER_THOUSAND,
        "fg_mse": float((error**2).mean(dtype=np.float64)),
    }


class Scorer:
    """Scores the frames of one item, which are added in order.

    Parameters
    ----------
    name, kind : str
        Of the item.
    metrics : sequence of str
        Of ``CHOICES``; temporal ones count only where ``video``.
    video : bool
        The frames follow each other in time.
    flow : callable, optional
        (earlier, later) luma (H, W) uint8 to a dense flow (H, W, 2) float32; needed for MESSDdt.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        metrics: Sequence[str],
        *,
        video: bool,
        flow: Callable[[U8, U8], Array] | None = None,
    ) -> None:
        self._wanted = [metric for metric in metrics if video or not COLUMNS[metric].temporal]
        self._flow = flow
        self._score = ItemScore(name, kind)
        self._worst: list[tuple[float, int, WorstFrame]] = []
        self._before: tuple[Any, Any, U8 | None] | None = None

    def add(
        self,
        name: str,
        pred: Array,
        truth: Array,
        trimap: U8 | None = None,
        image: Callable[[], U8] | None = None,
        luma: U8 | None = None,
        extra: dict[str, float] | None = None,
    ) -> None:
        """Score one frame.

        Parameters
        ----------
        name : str
            Of the frame.
        pred, truth : ndarray (H, W), uint8 or float in 0..1
        trimap : ndarray (H, W) uint8, optional
            Score its unknown part too.
        image : callable, optional
            Returns (H, W, 3) for the report; called only for frames that are kept.
        luma : ndarray (H, W) uint8, optional
            For the flow.
        extra : dict, optional
            Values measured elsewhere.

        Raises
        ------
        UnsupportedSourceError
            The sizes differ.
        """
        self._check(name, pred, truth, trimap)
        p, t = m.as_unit("the prediction", pred, 2), m.as_unit("the truth", truth, 2)
        values = self._still(p, t, trimap)
        values.update(self._temporal(p, t, luma))
        values.update(extra or {})
        score = self._score
        for metric, value in values.items():
            score.values.setdefault(metric, [None] * len(score.frames)).append(value)
        score.frames.append(name)
        for series in score.values.values():
            series.extend([None] * (len(score.frames) - len(series)))
        self._before = (p, t, luma)
        self._keep(name, m.mad(p, t), p, t, image)

    def result(self) -> ItemScore:
        """The scores so far; the worst frame first."""
        self._score.worst = [frame for _, _, frame in sorted(self._worst, key=lambda entry: (-entry[0], -entry[1]))]
        return self._score

    def _check(self, name: str, pred: Array, truth: Array, trimap: U8 | None) -> None:
        for what, shape in (("the prediction", pred.shape), ("the trimap", None if trimap is None else trimap.shape)):
            if shape is not None and shape != truth.shape:
                (h, w), (true_h, true_w) = shape, truth.shape
                raise UnsupportedSourceError(
                    f"{self._score.name}, {name}: {what} is {w}x{h}, the truth {true_w}x{true_h}; "
                    "write it at the truth's size"
                )

    def _still(self, p: Array, t: Array, trimap: U8 | None) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for metric in self._wanted:
            if metric in _STILL:
                values[metric] = _STILL[metric](p, t)
                if trimap is not None:
                    values[f"{metric}_unknown"] = _STILL[metric](p, t, trimap)
            elif metric == "band":
                band = transition_band(t)
                # A frame without a transition (no person) has no band, which is not an error of 0 within it.
                values["band"] = float(np.abs(p - t)[band].mean()) if band.any() else None
        return values

    def _temporal(self, p: Array, t: Array, luma: U8 | None) -> dict[str, float | None]:
        wanted = [metric for metric in self._wanted if COLUMNS[metric].temporal]
        if not wanted or self._before is None:
            return dict.fromkeys(wanted)
        before_p, before_t, before_luma = self._before
        if before_t.shape != t.shape:
            raise UnsupportedSourceError(f"{self._score.name}: frames change size; temporal metrics need one size")
        everywhere = np.ones(t.shape, np.bool_)
        values: dict[str, float | None] = {}
        if "dtssd" in wanted:
            values["dtssd"] = m.dtssd_step((before_p, p), (before_t, t), everywhere)
        if "messddt" in wanted:
            if self._flow is None or luma is None or before_luma is None:
                raise ConfigError("messddt needs the video the mattes belong to, for its motion; add --frames VIDEO")
            flow = self._flow(before_luma, luma)
            values["messddt"] = m.messddt_step((before_p, p), (before_t, t), everywhere, flow)
        return values

    def _keep(self, name: str, error: float, p: Array, t: Array, image: Callable[[], U8] | None) -> None:
        index = len(self._score.frames)
        near = next((entry for entry in self._worst if index + entry[1] < WORST_GAP), None)
        replaced = near or (min(self._worst) if len(self._worst) == WORST_FRAMES else None)
        if replaced is not None and error <= replaced[0]:
            return
        if replaced is not None:
            self._worst.remove(replaced)
        shown = None if image is None else _small(image())
        self._worst.append((error, -index, WorstFrame(name, error, _small(_bytes(p)), _small(_bytes(t)), shown)))


def _bytes(matte: Array) -> U8:
    found: U8 = np.rint(np.clip(matte, 0, 1) * 255).astype(np.uint8)
    return found


def _small(image: U8) -> U8:
    scale = min(1.0, THUMBNAIL / max(image.shape[:2]))
    if scale == 1.0:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    found: U8 = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return found
