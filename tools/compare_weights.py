"""Compare two editions of a network on a data set: each set, each video, and the images that changed most.

    python tools/compare_weights.py OLD NEW --data FOLDER [--sheet changes.jpg] [--precision f32] [--size 512]

OLD and NEW are what ``--model`` takes: weights (``.npz``, ``.pdparams``; needs the ``export`` extra), graphs
(``.xml``, ``.onnx``) or names. FOLDER is laid out as ``streammatte eval --data`` takes it. The sheet shows, for the
ten images that got worse most and the ten that got better most, the input, the old matte, the new matte and the truth.
Exit status 1 where a set or a video got worse by more than ``--limit`` in any metric.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FACTORS = {"mad": 1e3, "mse": 1e3, "grad": 1.0, "band": 1e3, "dtssd": 1e2, "mean_alpha": 1e3}
"""What the table multiplies by, as ``streammatte eval`` does."""
NEGLIGIBLE = {"mean_alpha": 1e-4}
"""Values below which a change does not count: a mean alpha of 0.0001 in an empty room is invisible."""
SHOWN = 10
SIDE = 192


def main() -> int:
    """Read the command line, print the table, write the sheet; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="contact sheet, .jpg or .png")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--size", default="512", help="long side of the network's input (512)")
    parser.add_argument("--limit", type=float, default=0.1, help="share by which a row may get worse (0.1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streammatte-compare-") as folder:
        home = Path(folder)
        models = [_as_model(name, home / f"model{i}") for i, name in enumerate((options.old, options.new))]
        how = ["--precision", options.precision, "--size", options.size]
        old, new = (_measure(model, options.data, how, home) for model in models)
        worse = print_table(old, new, options.limit)
        if options.sheet is not None:
            _sheet(options.sheet, changed(old, new), models, options.data, how, home)
    return 1 if worse else 0


def _as_model(name: str, folder: Path) -> str:
    """What ``--model`` takes, below a folder of its own: weights become the embedded architecture's graph."""
    if Path(name).suffix not in (".npz", ".pdparams"):
        return name
    from export import graph_of

    from streammatte.export.onnx import save_openvino

    folder.mkdir()
    save_openvino(graph_of(Path(name)), folder / "graph.xml")
    return str(folder / "graph.xml")


def _measure(model: str, data: Path, how: list[str], folder: Path) -> dict[str, Any]:
    target = folder / "scores.json"
    arguments = ["--data", str(data), "--model", model, *how, "--summary", "--json", str(target)]
    command = [sys.executable, "-m", "streammatte", "eval", *arguments, "--metrics", "mad,mse,grad,band,dtssd"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    scores: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return scores


def rows(scores: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The means of each set and of each video, by name."""
    sets = {name: dict(values) for name, values in scores["means"].items()}
    videos = {item["name"]: item["means"] for item in scores["items"] if item["kind"] == "video"}
    return {name: _wanted(values) for name, values in (sets | videos).items()}


def _wanted(values: dict[str, float]) -> dict[str, float]:
    """Of an empty room only the mean alpha: its other errors are the same number in other units."""
    wanted = {"mean_alpha"} if "mean_alpha" in values else FACTORS.keys()
    return {key: value for key, value in values.items() if key in wanted}


def print_table(old: dict[str, Any], new: dict[str, Any], limit: float) -> list[str]:
    """Print both editions side by side; gives the rows that got worse by more than ``limit``."""
    before, after = rows(old), rows(new)
    worse = []
    print(f"{'':24}{'metric':>12}{'old':>10}{'new':>10}{'change':>10}")
    for name, values in before.items():
        for metric, value in values.items():
            other = after[name][metric]
            change = other / value - 1 if value else 0.0
            bad = change > limit and other > NEGLIGIBLE.get(metric, 0.0)
            if bad:
                worse.append(f"{name} {metric}")
            factor = FACTORS[metric]
            print(f"{name:24}{metric:>12}{value * factor:10.2f}{other * factor:10.2f}{change:>+10.1%}{' worse' * bad}")
    print(f"\nworse by more than {limit:.0%}: {', '.join(worse) or 'none'}")
    return worse


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, float]]:
    """The images that got worse most, then those that got better most, with the change of MAD."""
    given, found = (
        {item["name"]: item["means"]["mad"] for item in scores["items"] if item["kind"] == "still"}
        for scores in (old, new)
    )
    order = sorted(((name, found[name] - value) for name, value in given.items()), key=lambda pair: -pair[1])
    return order[:SHOWN] + order[: -SHOWN - 1 : -1]


def _sheet(
    target: Path, names: list[tuple[str, float]], models: list[str], data: Path, how: list[str], folder: Path
) -> None:
    lines = []
    for name, change in names:
        image = next(path for path in data.rglob(f"{Path(name).stem}.*") if path.suffix.lower() in (".jpg", ".png"))
        mattes = []
        for number, model in enumerate(models):
            matte = folder / f"{number}.png"
            arguments = ["--model", model, *how, "--alpha", str(matte), "--overwrite"]
            command = [sys.executable, "-m", "streammatte", "image", str(image), str(folder / "cut.png"), *arguments]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            mattes.append(cv2.imread(str(matte), cv2.IMREAD_COLOR))
        truth = cv2.imread(str(image.with_name(f"{image.stem}_alpha.png")), cv2.IMREAD_COLOR)
        cells = [_cell(cell) for cell in (cv2.imread(str(image)), *mattes, truth)]
        cv2.putText(cells[0], f"{change * 1e3:+.1f}", (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 255), 2)
        lines.append(np.hstack(cells))
    left, right = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    cv2.imwrite(str(target), np.hstack([np.vstack(left), np.vstack(right)]))


def _cell(image: Any) -> Any:
    scale = SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell = np.full((SIDE, SIDE, 3), 64, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    return cell


if __name__ == "__main__":
    sys.exit(main())
