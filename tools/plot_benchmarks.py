"""Draw the benchmarks that were kept, over time (extra ``plot``).

    streammatte bench samples/person.mp4 --bg samples/beach.jpg --json > benchmarks/2026-11-26-person.json
    python tools/plot_benchmarks.py OUTPUT.png

Files of ``benchmarks/`` that measured the same video, with the same model and precision, on the same processor are one
line; figures of two machines are never joined.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"

Series = dict[str, list[tuple[datetime, float]]]


def series(results: list[dict[str, Any]]) -> Series:
    """Frames a second over time, for each setting and machine."""
    found: Series = defaultdict(list)
    for result in results:
        shown, machine = result["input"], result["machine"]
        name = f"{Path(shown['name']).name} {shown['width']}x{shown['height']}, {result['model']} {result['precision']}"
        key = f"{name}, {machine['processor']}, {machine['cores']} cores"
        found[key].append((datetime.fromisoformat(result["measured"]), result["end_to_end"]["fps"]))
    return {key: sorted(points) for key, points in sorted(found.items())}


def main(arguments: list[str]) -> int:
    """Draw all files of the folder."""
    if len(arguments) != 1:
        sys.stderr.write((__doc__ or "") + "\n")
        return 2
    from matplotlib.figure import Figure

    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, points in series(results).items():
        axes.plot([when for when, _ in points], [fps for _, fps in points], marker="o", label=name)
    axes.set_ylabel("frames a second, end to end")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    figure.savefig(arguments[0], dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
