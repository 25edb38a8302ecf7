"""Draws what ``streammatte bench`` measured (extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError

__all__ = ["draw"]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Stacked bars, one a result: milliseconds of one core a frame and stage.

    Raises
    ------
    ConfigError
        Where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib; install it with: pip install 'streammatte[plot]'") from error
    figure = Figure(figsize=(9, 1.6 + 0.9 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    for row, result in enumerate(results):
        left = 0.0
        for number, (name, stage) in enumerate(result["stages"].items()):
            axes.barh(row, stage["cpu_ms"], left=left, color=f"C{number}", label=name if row == 0 else None)
            axes.text(
                left + stage["cpu_ms"] / 2, row, f"{stage['cpu_ms']:.1f}", ha="center", va="center", color="white"
            )
            left += stage["cpu_ms"]
    labels = [
        f"{result['model']} {result['precision']}\n{result['input']['width']}x{result['input']['height']}: "
        f"{result['end_to_end']['fps']:.0f} fps"
        for result in results
    ]
    axes.set_yticks(range(len(results)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of one core a frame")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    figure.savefig(path, dpi=120)
