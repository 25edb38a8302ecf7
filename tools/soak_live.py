"""Runs a live session for a long time and shows that nothing drops, nothing waits and nothing grows.

    python tools/soak.py --live [CLIP] --minutes 30 --size 640x480

The clip is converted to the size and to 30 frames a second, repeated to the session's length, and played at its own
pace into a virtual camera (a backend of pyvirtualcam's that counts). Memory is the process's resident set, as the
system counts it. Exit code 1 where more than the allowed share of frames was dropped, p95 of the latency is above the
limit, or memory at the end is above that after a tenth of the time by more than 2 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
from soak import repeat

LATENCY_MS = 100.0
"""From capture to the virtual camera, 95 of 100 frames."""
GROWTH = 1.02
"""Mean memory of the last twentieth by that of the twentieth after the first tenth."""
SAMPLE_SECONDS = 5.0
WARM_SECONDS = 20.0
"""After which the network is compiled and only the session itself works."""


class Counter:
    """A backend of pyvirtualcam's that takes frames and does nothing."""

    def __init__(self, **_: object) -> None:
        self.frames = 0

    def send(self, frame: object) -> None:
        """Take a frame."""
        self.frames += 1

    def close(self) -> None:
        """Nothing to release."""

    def device(self) -> str:
        """A path that nobody opens: with ``--on-demand=on`` the camera stays off."""
        return str(Path(__file__).resolve())

    def native_fourcc(self) -> None:
        """No format of its own."""


def child(arguments: list[str]) -> None:
    """The session itself."""
    import pyvirtualcam
    from pyvirtualcam.camera import BACKENDS

    from streammatte.cli import main

    BACKENDS.clear()
    pyvirtualcam.register_backend("counter", Counter)
    main(["webcam", *arguments])


def prepare(clip: Path, target: Path, size: tuple[int, int], seconds: float = 20.0) -> None:
    """The clip at a size and 30 frames a second, cropped to its shape."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=30, width=size[0], height=size[1], pix_fmt="yuv420p")
        graph = None
        for count, frame in enumerate(source.decode(video=0)):
            if graph is None:
                graph = av.filter.Graph()
                wide, high = size
                steps = [graph.add_buffer(template=source.streams.video[0])]
                fill = f"{wide}:{high}:force_original_aspect_ratio=increase"
                for name, value in (("scale", fill), ("crop", f"{wide}:{high}"), ("buffersink", "")):
                    steps.append(graph.add(name, value) if value else graph.add(name))
                    steps[-2].link_to(steps[-1])
                graph.configure()
            graph.push(frame)
            made = graph.pull()
            made.pts, made.time_base = count, Fraction(1, 30)
            out.mux(stream.encode(made))
            if count >= seconds * 30:
                break
        out.mux(stream.encode(None))


def resident_megabytes(process: int) -> float:
    """What a process holds in memory now."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False).stdout
    return float(said or 0) / 1024


def run(clip: Path, minutes: float, size: tuple[int, int], drops_allowed: float, extra: list[str]) -> int:
    """Run the session and judge it."""
    with tempfile.TemporaryDirectory(prefix="streammatte-soak-") as folder:
        video = Path(folder) / "camera.mp4"
        prepare(clip, video, size)
        whole = Path(folder) / "long.mp4"
        repeat(video, whole, minutes * 60 + 10)
        command = [sys.executable, __file__, "--child", "--camera", str(whole), "--virtual-camera", "--json"]
        behind = [] if any(part.partition("=")[0] == "--bg" for part in extra) else ["--bg", "#3060a0"]
        command += ["--duration", str(minutes * 60), *behind, *extra]
        lines = Path(folder) / "lines"
        with lines.open("w") as out:
            process = subprocess.Popen(command, stdout=out)
            samples = watch(process, lines)
        last = json.loads(lines.read_text().splitlines()[-1])
    return judge(last, samples, process.returncode, drops_allowed)


def processor_seconds(process: int) -> float | None:
    """What a process has used of the processors until now (Linux)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(process: subprocess.Popen[bytes], lines: Path) -> list[float]:
    """Memory, sampled until the process ends, and a line a minute; then the processor's use after the start."""
    samples: list[float] = []
    used: list[tuple[float, float]] = []
    began = printed = time.monotonic()
    while process.poll() is None:
        time.sleep(SAMPLE_SECONDS)
        samples.append(resident_megabytes(process.pid))
        spent = processor_seconds(process.pid)
        if spent is not None and time.monotonic() - began > WARM_SECONDS:
            used.append((time.monotonic(), spent))
        if time.monotonic() - printed >= 60:
            printed = time.monotonic()
            now = json.loads(([*lines.read_text().splitlines()[:-1], "{}"][-2:])[0] or "{}")
            print(
                f"{(printed - began) / 60:5.1f} min: {samples[-1]:7.1f} MB, {now.get('frames')} frames, "
                f"{now.get('drops')} drops, {now.get('recent_ms')}, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    used = used[:-1]  # the last sample may lie in the session's end
    if len(used) > 1:
        share = (used[-1][1] - used[0][1]) / (used[-1][0] - used[0][0])
        print(f"processor: {share:.3f} cores, from {WARM_SECONDS:g} s on, without its end")
    return [sample for sample in samples if sample]


def judge(last: dict[str, object], samples: list[float], code: int, drops_allowed: float) -> int:
    """Print the figures; 1 where one is not met."""
    frames, drops = int(str(last["frames"])), int(str(last["drops"]))
    latency = last["latency_ms"]
    tenth, part = len(samples) // 10, max(1, len(samples) // 20)
    early, end = (sum(some) / len(some) for some in (samples[tenth : tenth + part], samples[-part:]))
    share = drops / max(1, frames + drops)
    print(f"frames {frames}, drops {drops} ({share:.2%}), latency ms {latency}, reused {last['reused']}, exit {code}")
    print(
        f"memory MB: peak {max(samples):.1f}, after a tenth {early:.1f}, at the end {end:.1f}, ratio {end / early:.3f}"
    )
    p95 = dict(latency)["p95"] if isinstance(latency, dict) else float("inf")
    good = code == 0 and share <= drops_allowed and p95 < LATENCY_MS and end <= GROWTH * early
    print("met" if good else "NOT met")
    return 0 if good else 1


def main() -> int:
    """Run the soak that was asked for."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("clip", nargs="?", type=Path, default=Path("samples/person.mp4"))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--drops", type=float, default=0.0, help="share of frames that may be dropped")
    options, extra = parser.parse_known_args()
    wide, high = (int(side) for side in options.size.split("x"))
    return run(options.clip, options.minutes, (wide, high), options.drops, extra)


if __name__ == "__main__":
    sys.exit(main())
