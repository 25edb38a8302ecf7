"""Mattes of a video as arrays: ``python examples/frames.py in.mp4``."""

import sys

import numpy as np

import streammatte


def main(source: str) -> None:
    """Print where the person is in every tenth frame."""
    for matte in streammatte.stream(source, size=384):
        if matte.frame.index % 10 == 0:
            columns = np.flatnonzero((matte.alpha > 0.5).any(axis=0))
            place = f"columns {columns[0]} to {columns[-1]}" if columns.size else "nowhere"
            print(f"{matte.frame.time:6.2f} s: {place}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("samples/person.mp4",)))
