"""A page with the curves of a training, from its log."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2

__all__ = ["curves_page"]

MAX_POINTS = 600
_WIDE, _HIGH = 800, 240

_PAGE = jinja2.Template(
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>Training</title>
<style>body{font:15px sans-serif;max-width:860px;margin:2em auto}svg{background:#f4f4f4;width:100%}
polyline{fill:none;stroke:#1668b8;stroke-width:1.5}</style><h1>Training, step {{ step }}</h1>
{% for curve in curves %}<h2>{{ curve.name }}</h2>
<p>{{ "%.5g"|format(curve.first) }} to {{ "%.5g"|format(curve.last) }}, lowest {{ "%.5g"|format(curve.low) }}, highest
{{ "%.5g"|format(curve.high) }}</p>
<svg viewBox="0 0 {{ wide }} {{ high }}" role="img" aria-label="{{ curve.name }} by step">
<polyline points="{{ curve.points }}"/></svg>{% endfor %}</html>
""",
    autoescape=True,
)


def curves_page(log: Path) -> str:
    """HTML with a curve for each number of a log, thinned by means of neighbours."""
    series: dict[str, list[tuple[float, float]]] = {}
    last = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        facts = json.loads(line)
        step = facts.pop("step", None) or facts.pop("validated", 0)
        last = max(last, step)
        for name, value in facts.items():
            if isinstance(value, int | float):
                series.setdefault(name, []).append((step, value))
    curves = [_curve(name, points) for name, points in series.items() if name != "seconds"]
    return str(_PAGE.render(curves=curves, step=last, wide=_WIDE, high=_HIGH))


def _curve(name: str, points: list[tuple[float, float]]) -> dict[str, object]:
    width = max(1, -(-len(points) // MAX_POINTS))
    groups = [points[at : at + width] for at in range(0, len(points), width)]
    thin = [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
    low, high = min(value for _, value in thin), max(value for _, value in thin)
    begin, end = thin[0][0], thin[-1][0]
    across, up = _WIDE / max(end - begin, 1), _HIGH / max(high - low, 1e-12)
    places = [f"{(step - begin) * across:.1f},{_HIGH - (value - low) * up:.1f}" for step, value in thin]
    return {
        "name": name,
        "points": " ".join(places),
        "first": thin[0][1],
        "last": thin[-1][1],
        "low": low,
        "high": high,
    }
