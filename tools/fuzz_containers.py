"""Give ``streammatte.Pipeline`` thousands of damaged videos and show that each ends with a result or one clear error.

    python tools/fuzz_containers.py [--count 5000] [--seed 1] [--keep FOLDER] [--json report.json]

Small videos of six containers are damaged at random (bits flipped, cut off, parts removed, repeated or zeroed, sizes of
boxes replaced) and go through decoding, compositing and a sink that discards frames, in a child process with limits of
20 seconds a file and of memory. A child that dies is replaced. Files that hang, end with anything but a
StreammatteError, or kill the child are listed and kept; the exit status is 1 where one hung or raised another error.
 The same seed gives the same files where FFmpeg is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

LIMIT = 20.0
"""Seconds for one file."""
MEMORY = 3 << 30
"""Bytes of address space that a child may take beyond what it has after its imports."""
CONTAINERS = {
    "mp4": ("libx264", "aac"),
    "mov": ("mpeg4", "pcm_s16le"),
    "mkv": ("libx264", "libopus"),
    "webm": ("libvpx", "libopus"),
    "ts": ("mpeg2video", "mp2"),
    "avi": ("mpeg4", "mp2"),
}


def make_seed(path: Path, codec: str, audio: str) -> bytes:
    """A video of 20 frames of 96x64 with audio."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        track = out.add_stream(audio, rate=48_000, layout="mono")
        for index in range(20):
            rgb = rng.integers(0, 256, (64, 96, 3), np.uint8) // 8 + index * 8
            out.mux(video.encode(av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24")))
        out.mux(video.encode(None))
        samples = np.zeros((1, 38_400), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return path.read_bytes()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four damages."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if len(out) < 16:
            break
        kind = rng.randrange(6)
        # a third of all damage is in the first kilobyte, where headers are
        at = rng.randrange(min(len(out), 1024) if rng.random() < 1 / 3 else len(out))
        length = rng.choice((1, 4, 16, 256, 1024))
        if kind == 0:
            for _ in range(rng.choice((1, 8, 64))):
                out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[max(at, 16) :]
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at : at + length] = bytes(len(out[at : at + length]))
        else:
            value = rng.choice((0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)))
            out[at : at + 4] = value.to_bytes(4, rng.choice(("big", "little")))
    return bytes(out)


class Child:
    """A process that reads paths and answers each with a line of JSON."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.set_blocking(self.process.stderr.fileno(), False)  # type: ignore[union-attr]
        if self._line(120.0) is None:
            raise SystemExit("the child did not start")

    def run(self, path: Path) -> dict[str, Any]:
        """The result of one file: ``frames``, ``error``, ``unexpected``, ``crash`` or ``hang``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        line = self._line(LIMIT)
        if line:
            result: dict[str, Any] = json.loads(line)
            return result
        if line is None:
            self.process.kill()
            self.process.wait()
            return {"kind": "hang"}
        return {"kind": "crash", "text": f"exit status {self.process.wait()}"}

    def _line(self, seconds: float) -> bytes | None:
        """A line; empty where the child has ended, None where time is up."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if self.process.stderr is not None:
            self.process.stderr.read()  # FFmpeg's own words, which would fill the pipe
        return self.process.stdout.readline() if ready else None

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def serve() -> None:
    """The child: run each file that is named on standard input."""
    import resource

    answer = _runner()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(Path(line.rstrip("\n")))), flush=True)


def _runner() -> Callable[[Path], dict[str, Any]]:
    import logging

    from streammatte.compositing import StreamCompositor, parse_background
    from streammatte.errors import StreammatteError
    from streammatte.frames import Frame, Matte
    from streammatte.pipeline import Pipeline
    from streammatte.sources import open_source

    logging.disable(logging.CRITICAL)

    class Opaque:
        """A matte of ones: the network is not what is tested."""

        def process(self, item: Frame) -> list[Matte]:
            alpha = np.full((item.height, item.width), 255, np.uint8)
            small = np.ones(((item.height + 1) // 2, (item.width + 1) // 2), np.float32)
            return [Matte(item, alpha, small)]

        def drain(self) -> list[Matte]:
            return []

        def reset(self) -> None:
            return None

        def close(self) -> None:
            return None

    class Discard:
        """A sink that takes frames and packets and keeps none."""

        def open(self, info: Any) -> None:
            self._tracks = info.tracks

        def process(self, item: Frame) -> list[None]:
            return []

        def drain(self) -> list[None]:
            return []

        def close(self) -> None:
            return None

        def abort(self) -> None:
            return None

    def answer(path: Path) -> dict[str, Any]:
        try:
            compositor = StreamCompositor(parse_background("green"))
            summary = Pipeline(open_source(path, tracks=False), Opaque(), compositor, Discard()).run()
        except StreammatteError as error:
            return {"kind": "error", "text": type(error).__name__}
        except BaseException as error:
            import traceback

            return {
                "kind": "unexpected",
                "text": f"{type(error).__name__}: {error}",
                "at": traceback.format_exc()[-800:],
            }
        return {"kind": "frames", "text": str(summary.frames)}

    return answer


def main() -> int:
    """Read the command line and run; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that hang, crash or raise another error")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve()
        return 0
    counts: Counter[str] = Counter()
    listed: list[dict[str, Any]] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="streammatte-fuzz-") as folder:
        home = Path(folder)
        seeds = {name: make_seed(home / f"seed.{name}", *codecs) for name, codecs in CONTAINERS.items()}
        child = Child()
        for number in range(options.count):
            rng = random.Random(f"{options.seed}/{number}")
            suffix = list(CONTAINERS)[number % len(CONTAINERS)]
            path = home / f"{number:05}.{suffix}"
            path.write_bytes(mutate(seeds[suffix], rng))
            began = time.monotonic()
            result = child.run(path)
            slowest = max(slowest, time.monotonic() - began)
            counts[result["text"] if result["kind"] == "error" else result["kind"]] += 1
            if result["kind"] in ("hang", "crash", "unexpected"):
                listed.append({"file": path.name, **result})
                print(listed[-1], flush=True)
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / path.name).write_bytes(path.read_bytes())
            if result["kind"] in ("hang", "crash"):
                child.close()
                child = Child()
            path.unlink()
        child.close()
    report = {
        "seed": options.seed,
        "count": options.count,
        "results": dict(counts),
        "slowest": slowest,
        "listed": listed,
    }
    print(json.dumps({key: value for key, value in report.items() if key != "listed"}))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if counts["hang"] or counts["unexpected"] else 0


if __name__ == "__main__":
    sys.exit(main())
