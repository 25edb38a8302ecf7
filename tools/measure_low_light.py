"""MAD of the embedded network on darkened stills, with and without ``--low-light``.

    python tools/measure_low_light.py FOLDER [--every N]

FOLDER is a data set as ``streammatte eval --data`` takes it. Levels are multiplied by 1, 0.4, 0.2 and 0.1 and rounded,
as a camera gives them that has too little light; the truth is the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

from streammatte.evaluation.datasets import find_items
from streammatte.images.matter import StillMatter
from streammatte.images.source import read_frame
from streammatte.media.image_reader import read_matte
from streammatte.options.images import ImageOptions


def main(arguments: list[str]) -> int:
    """Print a line for each darkness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every Nth still")
    given = parser.parse_args(arguments)
    items = [item for item in find_items(given.folder) if item.kind == "still" and item.alpha is not None]
    matters = {
        setting: StillMatter(ImageOptions.build(size=512, precision="f32", average="off", low_light=setting))
        for setting in (False, True)
    }
    sys.stdout.write("levels x   MAD x1e3 off   on\n")
    for share in (1.0, 0.4, 0.2, 0.1):
        found: dict[bool, list[float]] = {False: [], True: []}
        for item in items[:: given.every]:
            frame, truth = read_frame(item.source), read_matte(Path(item.alpha or ""))
            dark = frame.like(tuple(np.rint(plane * share).astype(np.uint8) for plane in frame.planes))
            for setting, matter in matters.items():
                (matte,) = matter.process(dark)
                scale = 255 if matte.alpha.dtype == np.uint8 else 1
                found[setting].append(1000 * float(np.abs(matte.alpha / scale - truth / 255.0).mean()))
        off, on = (statistics.fmean(found[setting]) for setting in (False, True))
        sys.stdout.write(f"{share:8g}   {off:12.2f}   {on:.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
