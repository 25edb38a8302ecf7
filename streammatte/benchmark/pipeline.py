"""Speed, end to end and stage by stage, measured so that it can be compared.

Every stage is run alone first-hand: decoding without anything behind it, the network on prepared pictures, everything
between network and encoder on recorded mattes, the encoder on finished pictures. ``efficiency`` is the end-to-end rate
divided by the best the machine could do, which is its cores divided by the CPU seconds a frame of those isolated runs;
the end-to-end run's own CPU time never enters, so busy waiting cannot flatter it.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.build import build_compositor, build_matter, build_outputs, build_pipeline, build_source
from streammatte.errors import ConfigError, UnsupportedSourceError
from streammatte.frames import Composite, Frame, StreamInfo
from streammatte.matting.network import NetworkMatter
from streammatte.options.video import VideoOptions
from streammatte.protocols import Engine, Pending, Source
from streammatte.runtime import available_cores

__all__ = ["BenchResult", "compare", "measure"]

HELD_FRAMES = 64
"""Frames an isolated run goes round on; they are held in memory, so as not to measure their decoding."""
WARM_UP_FRAMES = 16
"""Frames before the clock starts: kernels are loaded, the encoder's look-ahead is full."""
STAGES = ("decode", "inference", "composite", "encode")


@dataclass(frozen=True)
class BenchResult:
    """Medians over the rounds; ``as_dict`` is what ``--json`` prints."""

    values: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.values


class _Replay:
    """An engine that gives mattes recorded earlier, so that everything around the network can be timed alone."""

    name, device, precision, in_flight = "replay", "none", "none", 1

    def __init__(self, size: tuple[int, int], alphas: list[npt.NDArray[np.float32]]) -> None:
        self.input_size = size
        self._alphas = alphas
        self._next = 0

    def submit(self, images: npt.NDArray[np.uint8], trimaps: npt.NDArray[np.uint8] | None = None) -> Pending:
        taken = [self._alphas[(self._next + place) % len(self._alphas)] for place in range(len(images))]
        self._next += len(images)
        return _Done(np.stack(taken))

    def close(self) -> None:
        return None


class _Done:
    def __init__(self, alphas: npt.NDArray[np.float32]) -> None:
        self._alphas = alphas

    def result(self) -> npt.NDArray[np.float32]:
        return self._alphas


@dataclass
class _Held:
    """What the isolated runs work on."""

    info: StreamInfo
    frames: list[Frame]
    images: npt.NDArray[np.uint8]
    alphas: list[npt.NDArray[np.float32]]
    composites: list[Composite]


class _Bench:
    """One setting, opened once and measured in rounds."""

    def __init__(self, spec: str | Source, options: VideoOptions, frames: int, folder: Path) -> None:
        self._spec = spec
        self.options = options.replace(background=options.background or "#00b140", overwrite=True)
        self._frames = frames
        self._folder = folder
        self._target = str(folder / f"bench{_suffix(options)}")
        self.rounds: list[dict[str, Any]] = []
        began = time.perf_counter()
        with self._source() as source:
            self.info = source.info
            matter = build_matter(self.info, self.options)
        if not isinstance(matter, NetworkMatter):
            raise ConfigError(f"bench measures networks; {options.model} is none")
        self._matter = matter
        self.engine: Engine = self._matter.engine
        self._end_to_end(WARM_UP_FRAMES)
        self.warm_up = time.perf_counter() - began
        # Taken before the isolated runs, which hold frames in memory as no video job does.
        self._end_to_end(self._frames)
        self._peak_rss_mb = _peak_rss_mb()
        self._held = self._hold()

    def round(self) -> None:
        """Measure everything once."""
        end_to_end = self._end_to_end(self._frames)
        stages = {
            "decode": self._timed(self._decode),
            "inference": self._timed(self._infer),
            "composite": self._timed(self._composite),
            "encode": self._timed(self._encode),
        }
        self.rounds.append({"end_to_end": end_to_end, "stages": stages})

    def _source(self) -> _Opened:
        return _Opened(self._spec, self.options)

    def _end_to_end(self, frames: int) -> dict[str, Any]:
        cpu = _cpu_seconds()
        pipeline = build_pipeline(self._spec, self._target, self.options, limit=frames, matter=self._fresh())
        summary = pipeline.run()
        used = _cpu_seconds() - cpu
        return {
            "fps": summary.fps,
            "frames": summary.frames,
            "cpu_ms": used / summary.frames * 1000,
            "cpu_percent": used / summary.seconds * 100,
            "latency_ms": summary.latency_ms,
            "drops": summary.drops,
            "output_bytes": summary.output_bytes,
        }

    def _fresh(self) -> NetworkMatter:
        self._matter.reset()
        return self._matter

    def _hold(self) -> _Held:
        with self._source() as source:
            frames = list(islice(source.frames(), min(HELD_FRAMES, self._frames)))
        if not frames:
            raise UnsupportedSourceError("the input holds no frame")
        height, width = self.engine.input_size
        images = np.empty((len(frames), height, width, 3), np.uint8)
        preparer = self._fresh().preparer
        for image, frame in zip(images, frames, strict=True):
            preparer.prepare(frame, image)
        alphas = [self.engine.submit(image[None]).result()[0].copy() for image in images]
        composites = list(self._through(frames, alphas))
        return _Held(self.info, frames, images, alphas, composites)

    def _through(self, frames: list[Frame], alphas: list[npt.NDArray[np.float32]]) -> Iterator[Composite]:
        matter = build_matter(self.info, self.options, engine=_Replay(self.engine.input_size, alphas))
        compositor = build_compositor(self.options, self.options.background or "none", self.info.sample_aspect_ratio)
        for frame in frames:
            for matte in matter.process(frame):
                yield from compositor.process(matte)
        for matte in matter.drain():
            yield from compositor.process(matte)

    def _timed(self, run: Callable[[], int]) -> dict[str, float]:
        cpu, began = _cpu_seconds(), time.perf_counter()
        frames = run()
        wall = time.perf_counter() - began
        return {"fps": frames / wall, "cpu_ms": (_cpu_seconds() - cpu) / frames * 1000}

    def _decode(self) -> int:
        with self._source() as source:
            return sum(1 for _ in islice(source.frames(), self._frames))

    def _infer(self) -> int:
        images = self._held.images
        flying: deque[Pending] = deque()
        for number in range(self._frames):
            if len(flying) >= self.engine.in_flight:
                flying.popleft().result()
            place = number % len(images)
            flying.append(self.engine.submit(images[place : place + 1]))
        while flying:
            flying.popleft().result()
        return self._frames

    def _composite(self) -> int:
        return sum(1 for _ in self._through(_again(self._held.frames, self._frames), self._held.alphas))

    def _encode(self) -> int:
        outputs = build_outputs(self._target, self.options.replace(audio=False), self.options.background or "none")
        outputs.open(replace(self._held.info, tracks=None))
        pictures = self._held.composites
        base = self._held.frames[0]
        step = max(1, round(1 / (float(self.info.rate or 25) * float(base.time_base))))
        for number in range(self._frames):
            composite = pictures[number % len(pictures)]
            moved = replace(composite.picture, pts=base.pts + number * step, duration=step, index=number)
            outputs.process(replace(composite, picture=moved))
        outputs.drain()
        outputs.close()
        return self._frames

    def result(self) -> BenchResult:
        """Medians over the rounds so far."""
        runs = [taken["end_to_end"] for taken in self.rounds]
        stages = {
            name: {
                key: round(statistics.median(taken["stages"][name][key] for taken in self.rounds), 3)
                for key in ("fps", "cpu_ms")
            }
            for name in STAGES
        }
        cores = available_cores()
        cpu_ms = sum(stage["cpu_ms"] for stage in stages.values())
        fps = statistics.median(run["fps"] for run in runs)
        height, width = self.engine.input_size
        return BenchResult(
            {
                "machine": machine(),
                "model": self.options.model,
                "engine": self.engine.name,
                "device": self.engine.device,
                "precision": self.engine.precision,
                "input": {"width": self.info.width, "height": self.info.height, "name": self.info.name},
                "network": {"width": width, "height": height},
                "frames": runs[0]["frames"],
                "rounds": len(runs),
                "warm_up_seconds": round(self.warm_up, 2),
                "stages": stages,
                "end_to_end": {
                    "fps": round(fps, 2),
                    "all_fps": [round(run["fps"], 2) for run in runs],
                    "cpu_ms": round(statistics.median(run["cpu_ms"] for run in runs), 3),
                    "cpu_percent": round(statistics.median(run["cpu_percent"] for run in runs), 1),
                },
                "best_possible_fps": round(cores / cpu_ms * 1000, 2),
                "efficiency": round(statistics.median(_efficiency(taken, cores) for taken in self.rounds), 3),
                "latency_ms": {
                    key: round(statistics.median(run["latency_ms"][key] for run in runs), 2)
                    for key in ("p50", "p95", "p99")
                },
                "peak_rss_mb": self._peak_rss_mb,
                "drops": sum(run["drops"] for run in runs),
                "output_bytes": runs[-1]["output_bytes"],
            }
        )

    def close(self) -> None:
        """Release the engine."""
        self._matter.close()


class _Opened:
    """A source that closes itself; a ready-made one is taken from its beginning again."""

    def __init__(self, spec: str | Source, options: VideoOptions) -> None:
        self._spec = spec
        self._options = options
        self._source: Source | None = None

    def __enter__(self) -> Source:
        spec = self._spec
        self._source = build_source(spec, self._options) if isinstance(spec, str) else spec
        return self._source

    def __exit__(self, *error: object) -> None:
        if self._source is not None:
            self._source.close()


def measure(spec: str | Source, options: VideoOptions, *, frames: int, rounds: int) -> BenchResult:
    """Measure one setting.

    Parameters
    ----------
    spec : str or Source
        A video, or a source whose ``frames`` can be called again (SyntheticSource).
    options : VideoOptions
        The setting.
    frames : int
        Frames a run, at most.
    rounds : int
        Rounds; every figure is the median over them.
    """
    with tempfile.TemporaryDirectory(prefix="streammatte-bench-") as folder:
        bench = _Bench(spec, options, frames, Path(folder))
        try:
            for _ in range(rounds):
                bench.round()
            return bench.result()
        finally:
            bench.close()


def compare(
    spec: str | Source, settings: tuple[VideoOptions, VideoOptions], *, frames: int, rounds: int
) -> tuple[BenchResult, BenchResult, float]:
    """Measure two settings in turn, A B A B ...; gives both results and the median ratio of their fps, A / B."""
    with tempfile.TemporaryDirectory(prefix="streammatte-bench-") as folder:
        both = [_Bench(spec, options, frames, Path(folder)) for options in settings]
        try:
            for _ in range(rounds):
                for bench in both:
                    bench.round()
            pairs = zip(both[0].rounds, both[1].rounds, strict=True)
            ratio = statistics.median(a["end_to_end"]["fps"] / b["end_to_end"]["fps"] for a, b in pairs)
            return both[0].result(), both[1].result(), ratio
        finally:
            for bench in both:
                bench.close()


def machine() -> dict[str, Any]:
    """The machine in words: processor, cores this process may use, memory, system."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        if hasattr(os, "sysconf")
        else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _efficiency(taken: dict[str, Any], cores: int) -> float:
    cpu_ms = sum(stage["cpu_ms"] for stage in taken["stages"].values())
    return float(taken["end_to_end"]["fps"] * cpu_ms / 1000 / cores)


def _again(items: list[Frame], count: int) -> list[Frame]:
    """``items`` over and over, with times that go on growing."""
    base, last = items[0], items[-1]
    span = last.pts - base.pts + max(1, last.duration)
    return [
        replace(items[number % len(items)], pts=items[number % len(items)].pts + number // len(items) * span)
        for number in range(count)
    ]


def _suffix(options: VideoOptions) -> str:
    return ".mov" if options.background == "transparent" else ".mp4"


def _cpu_seconds() -> float:
    return time.process_time()


def _peak_rss_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
