"""The report of an evaluation as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streammatte.evaluation.scoring import COLUMNS, ItemScore

__all__ = ["Report", "as_csv", "as_json", "as_table", "seed_line"]

KINDS = {"still": "stills", "video": "videos", "empty": "empty rooms"}

EMPTY_LIMITS = (0.001, 0.005)
"""Mean alphas of an empty room above which the network detected a person."""

_SEED = ("sad", "mse", "grad", "conn")


@dataclass(frozen=True, slots=True)
class Report:
    """Scores of a run and its settings.

    Parameters
    ----------
    title : str
    scores : sequence of ItemScore
    settings : mapping
        What repeats the run: command, model, sizes.
    """

    title: str
    scores: Sequence[ItemScore]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[ItemScore]:
        """The scores of one kind: still, video, empty."""
        return [score for score in self.scores if score.kind == kind]

    def columns(self, kind: str) -> list[str]:
        """Metrics that some item of the kind has, in the order of ``COLUMNS``."""
        present = {metric for score in self.of(kind) for metric, value in score.means().items() if value is not None}
        return [metric for metric in COLUMNS if metric in present]

    def mean(self, kind: str, metric: str) -> float | None:
        """Mean over items, each item counting once however many frames it has."""
        known = [value for score in self.of(kind) if (value := score.mean(metric)) is not None]
        return float(np.mean(known)) if known else None

    def empty_alphas(self) -> list[tuple[str, float]]:
        """Mean alpha of each empty room: its MAD against nothing."""
        return [(score.name, value) for score in self.of("empty") if (value := score.mean("mad")) is not None]


def number(metric: str, value: float | None) -> str:
    """A value times its column's factor, to four significant digits at least where they matter."""
    if value is None:
        return "-"
    scaled = value * COLUMNS[metric].factor
    return f"{scaled:.2f}" if scaled >= 1 else f"{scaled:.4f}"


def header(kind: str, columns: Sequence[str]) -> list[str]:
    """The first line of a table: what the items are, then the metrics."""
    return [KINDS[kind], *(COLUMNS[metric].label for metric in columns)]


def table_rows(report: Report, kind: str, columns: Sequence[str]) -> list[list[str]]:
    """A line for each item, and one with the means where there are several.

    Parameters
    ----------
    report : Report
    kind : {"still", "video"}
    columns : sequence of str
        Names of the metrics.
    """
    scores = report.of(kind)
    rows = [[score.name, *(number(metric, score.mean(metric)) for metric in columns)] for score in scores]
    if len(scores) > 1:
        rows.append([f"mean of {len(scores)}", *(number(metric, report.mean(kind, metric)) for metric in columns)])
    return rows


def as_table(report: Report, *, items: bool = True) -> str:
    """The report for a terminal; without ``items`` only the means and the empty rooms' summary."""
    parts = []
    for kind in ("still", "video"):
        columns = report.columns(kind)
        if columns:
            rows = table_rows(report, kind, columns)
            parts.append(_align([header(kind, columns), *(rows if items else rows[-1:])]))
    if report.empty_alphas():
        parts.append(empty_summary(report))
    shown = [metric for kind in ("still", "video") for metric in report.columns(kind)]
    temporal = any(COLUMNS[metric].temporal for metric in shown)
    if temporal and "mad" not in shown:
        parts.append("Temporal metrics mean nothing alone: a frozen matte may have a good one. Read them beside MAD.")
    return "\n\n".join(parts)


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def empty_summary(report: Report) -> str:
    """Mean alphas of the images without a person, in one line."""
    alphas = report.empty_alphas()
    values = [alpha for _, alpha in alphas]
    worst, highest = max(alphas, key=lambda room: room[1])
    above = ", ".join(f"{sum(value > limit for value in values)} above {limit:g}" for limit in EMPTY_LIMITS)
    return f"{len(values)} empty rooms: mean alpha {np.mean(values):.5f}, worst {highest:.5f} ({worst}); {above}"


def seed_line(report: Report) -> str | None:
    """The stills' means as PaddleSeg's evaluation prints them (MSE not multiplied); None if not measured."""
    lines = []
    for suffix, where in (("", "whole image"), ("_unknown", "unknown part of the trimap")):
        values = {name: report.mean("still", name + suffix) for name in _SEED}
        if all(value is None for value in values.values()):
            continue
        text = ", ".join(
            f"{COLUMNS[name].label.split()[0]}: {value:.4f}" for name, value in values.items() if value is not None
        )
        lines.append(f"{text} ({where})")
    return "\n".join(lines) or None


def as_json(report: Report) -> str:
    """Plain (not multiplied) values: means, items, frames; and the factors that the table multiplies by."""
    found: dict[str, Any] = {"title": report.title, "settings": dict(report.settings), "means": {}, "items": []}
    for kind, name in KINDS.items():
        if report.of(kind):
            found["means"][name] = {metric: report.mean(kind, metric) for metric in report.columns(kind)}
            found["means"][name]["count"] = len(report.of(kind))
    values = [value for _, value in report.empty_alphas()]
    if values:
        found["means"][KINDS["empty"]]["mean_alpha"] = float(np.mean(values))
        for limit in EMPTY_LIMITS:
            found["means"][KINDS["empty"]][f"above_{limit:g}"] = sum(value > limit for value in values)
    for score in report.scores:
        entry = {"name": score.name, "kind": score.kind, "means": score.means()}
        if score.kind == "video":
            entry["frames"] = {"name": score.frames, **score.values}
        found["items"].append(entry)
    shown = {metric for score in report.scores for metric in score.values}
    found["columns"] = {
        metric: {"label": column.label, "factor": column.factor, "meaning": column.text}
        for metric, column in COLUMNS.items()
        if metric in shown
    }
    return json.dumps(found, indent=1) + "\n"


def as_csv(report: Report) -> str:
    """One line a frame, plain values; an empty cell where a frame has no value (dtSSD of the first)."""
    columns = [metric for metric in COLUMNS if any(metric in score.values for score in report.scores)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item", "kind", "frame", *columns])
    for score in report.scores:
        for row, frame in enumerate(score.frames):
            values = [score.values[metric][row] if metric in score.values else None for metric in columns]
            writer.writerow([score.name, score.kind, frame, *("" if v is None else f"{v:.8g}" for v in values)])
    return text.getvalue()
