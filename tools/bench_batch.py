"""Compares ``streammatte batch`` with a shell loop of ``streammatte video`` on many short clips.

python tools/bench_batch.py --clips 200
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

OPTIONS = ["--size", "256", "--bg", "blur"]


def main() -> int:
    """Make the clips, run both, print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=25)
    options = parser.parse_args()
    command = [sys.executable, "-m", "streammatte"]
    with tempfile.TemporaryDirectory(prefix="streammatte-batch-") as name:
        given = Path(name) / "in"
        given.mkdir()
        for number in range(options.clips):
            write(given / f"{number:04d}.mp4", options.frames, number)
        began = time.monotonic()
        subprocess.run([*command, "batch", str(given), "--to", str(Path(name) / "batch"), *OPTIONS], check=True)
        batch = time.monotonic() - began
        (Path(name) / "loop").mkdir()
        began = time.monotonic()
        for clip in sorted(given.iterdir()):
            target = Path(name) / "loop" / clip.name
            subprocess.run([*command, "video", str(clip), str(target), *OPTIONS], check=True, stderr=subprocess.DEVNULL)
        loop = time.monotonic() - began
    print(f"{options.clips} clips: batch {batch:.1f} s, loop {loop:.1f} s, {loop / batch:.1f} times as fast")
    return 0


def write(path: Path, frames: int, seed: int) -> None:
    """A clip of 96x64 pixels, 25 frames a second."""
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(frames):
            image = np.kron(noise.integers(0, 256, (8, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(main())
