"""Measure the product on a data set: MAD, MSE, Grad, dtSSD and the rest, as ``streammatte eval --data`` does.

    python tools/evaluate.py FOLDER [options of streammatte eval]

With ``--compare OPTION`` the run is made once with the option off and once with what follows it, so that a refiner or a
smoother is seen against nothing: ``python tools/evaluate.py FOLDER --compare smooth=high``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def _measure(arguments: list[str]) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "scores.json"
        command = [sys.executable, "-m", "streammatte", "eval", *arguments, "--summary", "--json", str(target)]
        subprocess.run(command, check=True)
        means: dict[str, dict[str, float]] = json.loads(target.read_text(encoding="utf-8"))["means"]
    return means


def _ratios(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> str:
    lines = []
    for kind, metrics in after.items():
        for metric, value in metrics.items():
            base = before.get(kind, {}).get(metric)
            if metric != "count" and base:
                lines.append(
                    f"{kind:12s} {metric:12s} {base:12.6f} -> {value:12.6f}  {100 * (value / base - 1):+6.1f} %"
                )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run once, or twice with ``--compare``; gives the exit code."""
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write((__doc__ or "") + "\n")
        return 2
    folder, rest = arguments[0], arguments[1:]
    try:
        if "--compare" not in rest:
            _measure(["--data", folder, *rest])
            return 0
        place = rest.index("--compare")
        option, found, value = (rest[place + 1] if place + 1 < len(rest) else "").partition("=")
        if not found:
            sys.stderr.write("--compare takes OPTION=VALUE, as in smooth=high\n")
            return 2
        rest = rest[:place] + rest[place + 2 :]
        before = _measure(["--data", folder, *rest, f"--{option}", "off"])
        after = _measure(["--data", folder, *rest, f"--{option}", value])
    except subprocess.CalledProcessError as error:
        return error.returncode
    sys.stdout.write(f"\n--{option} off -> {value}\n{_ratios(before, after)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
