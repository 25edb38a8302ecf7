"""The report as one HTML page: table, curves, worst frames with error maps; nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np

from streammatte.errors import StreammatteError
from streammatte.evaluation.report import KINDS, Report, empty_summary, number, seed_line
from streammatte.evaluation.scoring import COLUMNS, ItemScore, WorstFrame
from streammatte.frames import U8

__all__ = ["as_html", "error_map"]

WORST_STILLS = 8
"""Stills that the page shows; a video shows its own."""

CURVES = ("mad", "band", "grad", "dtssd")
"""Metrics that are drawn over time: error, error at edges, detail, flicker."""

_WIDTH, _HEIGHT, _MARGIN = 640, 120, 46
"""Pixels of a curve's drawing, and of its left margin."""

_TOO_MUCH = np.array([255, 40, 40], np.float32)
_TOO_LITTLE = np.array([60, 120, 255], np.float32)

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1080px; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.mean { font-weight: bold; }
figure { display: inline-block; margin: 0 8px 12px 0; vertical-align: top; }
figure img { max-width: 250px; display: block; }
figcaption { font-size: 12px; color: #666; }
svg text { font: 11px sans-serif; fill: #666; }
dt { font-weight: bold; }
"""


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


def _image(pixels: U8, caption: str) -> str:
    kind, flags = (".png", []) if pixels.ndim == 2 else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 85])
    stored = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    done, encoded = cv2.imencode(kind, stored, flags)
    if not done:
        raise StreammatteError(f"a picture of the report ({caption}) could not be encoded")
    mime = "png" if kind == ".png" else "jpeg"
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return (
        f'<figure><img src="data:image/{mime};base64,{data}" alt="{escape(caption)}"/>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _worst(name: str, frame: WorstFrame) -> str:
    figures = [] if frame.picture is None else [_image(frame.picture, "picture")]
    figures += [
        _image(frame.pred, "matte"),
        _image(frame.truth, "truth"),
        _image(error_map(frame.pred, frame.truth), "error: red too much, blue too little"),
    ]
    title = name if frame.name == name else f"{name}, frame {frame.name}"
    return f"<h4>{escape(title)}: MAD x1e3 {frame.error * 1e3:.2f}</h4>\n<div>{''.join(figures)}</div>"


def _curve(score: ItemScore, metric: str) -> str:
    """One metric over the frames as inline SVG; a gap where a frame has no value."""
    factor = COLUMNS[metric].factor
    values = [None if value is None else value * factor for value in score.values[metric]]
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    step = (_WIDTH - _MARGIN - 8) / max(len(values) - 1, 1)
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{_MARGIN + place * step:.1f},{_HEIGHT - 20 - value / top * (_HEIGHT - 36):.1f}")
    lines = "".join(
        f'<polyline points="{" ".join(piece)}" fill="none" stroke="#2563eb" stroke-width="1.5"/>'
        for piece in pieces
        if piece
    )
    base = _HEIGHT - 20
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<text x="{_MARGIN}" y="11">{escape(COLUMNS[metric].label)}</text>'
        f'<line x1="{_MARGIN}" y1="{base}" x2="{_WIDTH - 8}" y2="{base}" stroke="#bbb"/>'
        f'<text x="{_MARGIN - 6}" y="20" text-anchor="end">{top:.3g}</text>'
        f'<text x="{_MARGIN - 6}" y="{base + 4}" text-anchor="end">0</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 6}">{escape(score.frames[0])}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{escape(score.frames[-1])}</text>'
        f"{lines}</svg>"
    )


def _table(report: Report, kind: str) -> str:
    columns = report.columns(kind)
    head = "".join(f"<th>{escape(COLUMNS[metric].label)}</th>" for metric in columns)
    rows = [
        f"<tr><td>{escape(score.name)}</td>{''.join(f'<td>{number(c, score.mean(c))}</td>' for c in columns)}</tr>"
        for score in report.of(kind)
    ]
    if len(rows) > 1:
        means = "".join(f"<td>{number(c, report.mean(kind, c))}</td>" for c in columns)
        rows.append(f'<tr class="mean"><td>mean of {len(rows)}</td>{means}</tr>')
    return f"<h2>{KINDS[kind].capitalize()}</h2>\n<table><tr><th></th>{head}</tr>\n" + "\n".join(rows) + "\n</table>"


def _video(score: ItemScore) -> str:
    drawn = [metric for metric in CURVES if len(score.frames) > 1 and metric in score.values]
    curves = "\n".join(f"<div>{_curve(score, metric)}</div>" for metric in drawn)
    worst = "\n".join(_worst(score.name, frame) for frame in score.worst)
    return f"<h3>{escape(score.name)}</h3>\n{curves}\n{worst}"


def _stills(report: Report) -> str:
    shown = [(frame.error, score.name, frame) for score in report.of("still") for frame in score.worst]
    shown.sort(key=lambda entry: -entry[0])
    return "<h3>Worst</h3>\n" + "\n".join(_worst(name, frame) for _, name, frame in shown[:WORST_STILLS])


def as_html(report: Report) -> str:
    """The page; well-formed XML besides, so that it can be read by programs."""
    parts = []
    if report.columns("still"):
        line = seed_line(report) or ""
        parts += [_table(report, "still"), f"<pre>{escape(line)}</pre>", _stills(report)]
    if report.columns("video"):
        parts += [_table(report, "video"), *(_video(score) for score in report.of("video"))]
    if report.empty_alphas():
        rooms = sorted(report.of("empty"), key=lambda score: -(score.mean("mad") or 0))[:3]
        parts += ["<h2>Empty rooms</h2>", f"<p>{escape(empty_summary(report))}</p>"]
        parts += [_worst(score.name, frame) for score in rooms for frame in score.worst]
    shown = [metric for metric in COLUMNS if any(metric in score.values for score in report.scores)]
    meanings = "".join(f"<dt>{escape(COLUMNS[c].label)}</dt><dd>{escape(COLUMNS[c].text)}</dd>" for c in shown)
    settings = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in report.settings.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{escape(report.title)}</h1>\n"
        + "\n".join(parts)
        + f"\n<h2>Columns</h2><dl>{meanings}</dl>\n<h2>Settings</h2><dl>{settings}</dl>\n</body></html>\n"
    )
