"""The report as one HTML page: table, curves, worst frames with error maps; nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from streammatte.errors import StreammatteError
from streammatte.evaluation.report import KINDS, Report, empty_summary, header, seed_line, table_rows
from streammatte.evaluation.scoring import COLUMNS, ItemScore, WorstFrame
from streammatte.frames import U8

__all__ = ["as_html", "error_map"]

WORST_STILLS = 8
"""Stills that the page shows; a video shows its own."""
WORST_ROOMS = 3
"""Empty rooms that the page shows."""

CURVES = ("mad", "band", "grad", "dtssd")
"""Metrics that are drawn over time: error, error at edges, detail, flicker."""

_WIDTH, _HEIGHT, _MARGIN = 640, 120, 46
"""Pixels of a curve's drawing, and of its left margin."""

_TOO_MUCH = np.array([255, 40, 40], np.float32)
_TOO_LITTLE = np.array([60, 120, 255], np.float32)


def error_map(pred: U8, truth: U8) -> U8:
    """Error of a matte as (H, W, 3) uint8 RGB: red where it is too much, blue where too little, grey the truth.

    Parameters
    ----------
    pred, truth : ndarray (H, W) uint8
    """
    difference = pred.astype(np.int16) - truth
    ground = truth.astype(np.float32) * 0.25 + 160 * (1 - truth.astype(np.float32) / 255) * 0.25
    # Steep, so that an error of a tenth is already seen.
    strength = np.sqrt(np.abs(difference) / np.float32(255))[..., None]
    colour = np.where((difference > 0)[..., None], _TOO_MUCH, _TOO_LITTLE)
    found: U8 = np.rint(ground[..., None] * (1 - strength) + colour * strength).astype(np.uint8)
    return found


def as_html(report: Report) -> str:
    """The page; well-formed XML besides, so that it can be read by programs."""
    environment = Environment(
        loader=PackageLoader("streammatte.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    stills = [(frame.error, score.name, frame) for score in report.of("still") for frame in score.worst]
    stills.sort(key=lambda entry: -entry[0])
    rooms = sorted(report.of("empty"), key=lambda score: -(score.mean("mad") or 0))[:WORST_ROOMS]
    page = environment.get_template("report.html.j2").render(
        title=report.title,
        stills=_table(report, "still"),
        videos=_table(report, "video"),
        seed_line=seed_line(report) or "",
        worst_stills=[_worst(name, frame) for _, name, frame in stills[:WORST_STILLS]],
        worst_rooms=[_worst(score.name, frame) for score in rooms for frame in score.worst],
        video_items=[
            {
                "name": score.name,
                "curves": list(_curves(score)),
                "worst": [_worst(score.name, frame) for frame in score.worst],
            }
            for score in report.of("video")
        ],
        empty=empty_summary(report) if report.empty_alphas() else "",
        columns=[column for metric, column in COLUMNS.items() if any(metric in s.values for s in report.scores)],
        settings=report.settings,
        width=_WIDTH,
        height=_HEIGHT,
        margin=_MARGIN,
    )
    return page.lstrip() + "\n"


def _table(report: Report, kind: str) -> dict[str, Any]:
    columns = report.columns(kind)
    rows = table_rows(report, kind, columns) if columns else []
    return {"title": KINDS[kind].capitalize(), "header": ["", *header(kind, columns)[1:]], "rows": rows}


def _worst(name: str, frame: WorstFrame) -> dict[str, Any]:
    images = [] if frame.image is None else [_image(frame.image, "frame")]
    images += [
        _image(frame.pred, "matte"),
        _image(frame.truth, "truth"),
        _image(error_map(frame.pred, frame.truth), "error: red too much, blue too little"),
    ]
    title = name if frame.name == name else f"{name}, frame {frame.name}"
    return {"title": title, "error": frame.error, "images": images}


def _image(pixels: U8, caption: str) -> dict[str, str]:
    kind, flags = ("png", []) if pixels.ndim == 2 else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 85])
    stored = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    done, encoded = cv2.imencode(f".{kind}", stored, flags)
    if not done:
        raise StreammatteError(f"an image of the report ({caption}) could not be encoded")
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return {"source": f"data:image/{kind};base64,{data}", "caption": caption}


def _curves(score: ItemScore) -> Iterable[dict[str, Any]]:
    """The drawn metrics over the frames; a line ends where a frame has no value."""
    for metric in CURVES:
        if metric not in score.values or len(score.frames) < 2:
            continue
        column = COLUMNS[metric]
        values = [None if value is None else value * column.factor for value in score.values[metric]]
        top = max((value for value in values if value is not None), default=0.0) or 1.0
        step = (_WIDTH - _MARGIN - 8) / (len(values) - 1)
        lines: list[list[str]] = [[]]
        for index, value in enumerate(values):
            if value is None:
                lines.append([])
            else:
                lines[-1].append(f"{_MARGIN + index * step:.1f},{_HEIGHT - 20 - value / top * (_HEIGHT - 36):.1f}")
        yield {
            "label": column.label,
            "top": f"{top:.3g}",
            "first": score.frames[0],
            "last": score.frames[-1],
            "lines": [" ".join(line) for line in lines if line],
        }
