"""Speed, end to end and stage by stage, measured so that it can be compared.

Every stage also runs alone: decoding without anything behind it, the network on prepared frames, everything between
network and encoder on recorded mattes, the encoder on finished frames. ``efficiency`` is the end-to-end rate divided by
the best the machine could do, which is its cores divided by the CPU seconds a frame of those isolated runs; the
end-to-end run's own CPU time does not enter, so that busy waiting cannot improve the figure.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte._version import __version__
from streammatte.benchmark.summary import STAGES, machine, median_ratio, peak_rss_mb, summarize
from streammatte.build import build_compositor, build_matter, build_outputs, build_pipeline, build_source
from streammatte.color import KEY_GREEN
from streammatte.errors import UnsupportedSourceError
from streammatte.frames import Composite, Frame, StreamInfo
from streammatte.matting.network import NetworkMatter
from streammatte.options.video import VideoOptions
from streammatte.protocols import Engine, Pending, Source
from streammatte.runtime import available_cores

__all__ = ["compare", "measure"]

HELD_FRAMES = 64
"""Frames that an isolated run repeats; they are held in memory, so that decoding is not measured."""
WARM_UP_FRAMES = 16
"""Frames before the clock starts: kernels are loaded, the encoder's look-ahead is full."""


class _Replay:
    """An engine that returns recorded mattes, so that everything around the network can be timed alone."""

    name, device, precision, precision_reason, in_flight = "replay", "none", "none", "mattes are replayed", 1
    recurrent = False

    def __init__(self, size: tuple[int, int], alphas: list[npt.NDArray[np.float32]]) -> None:
        self.input_size = size
        self._alphas = alphas
        self._next = 0

    def submit(self, images: npt.NDArray[np.uint8], trimaps: npt.NDArray[np.uint8] | None = None) -> Pending:
        alphas = [self._alphas[(self._next + index) % len(self._alphas)] for index in range(len(images))]
        self._next += len(images)
        return _Done(np.stack(alphas))

    def reset(self) -> None:
        return None

    def close(self) -> None:
        return None


class _Done:
    def __init__(self, alphas: npt.NDArray[np.float32]) -> None:
        self._alphas = alphas

    def result(self) -> npt.NDArray[np.float32]:
        return self._alphas

    def foreground(self) -> None:
        return None


@dataclass
class _Held:
    """Input of the isolated runs."""

    info: StreamInfo
    frames: list[Frame]
    images: npt.NDArray[np.uint8]
    alphas: list[npt.NDArray[np.float32]]
    composites: list[Composite]


class _Bench:
    """One setting, opened once and measured in rounds."""

    def __init__(self, spec: str | Source, options: VideoOptions, frames: int, folder: Path) -> None:
        self._spec = spec
        self.options = options.replace(background=options.background or KEY_GREEN, overwrite=True)
        self._frames = frames
        self._target = str(folder / ("bench.mov" if options.background == "transparent" else "bench.mp4"))
        self.rounds: list[dict[str, Any]] = []
        began = time.perf_counter()
        with self._source() as source:
            self.info = source.info
            self._matter = build_matter(self.info, self.options)
        self.engine: Engine = self._matter.engine
        self._end_to_end(WARM_UP_FRAMES)
        self.warm_up = time.perf_counter() - began
        # Taken before the isolated runs, which hold frames in memory as no video job does.
        self._end_to_end(self._frames)
        self._peak_rss_mb = peak_rss_mb()
        self._held = self._hold()

    def round(self) -> None:
        """Measure everything once."""
        end_to_end = self._end_to_end(self._frames)
        runs = (self._decode, self._infer, self._composite, self._encode)
        stages = {name: self._timed(run) for name, run in zip(STAGES, runs, strict=True)}
        self.rounds.append({"end_to_end": end_to_end, "stages": stages})

    def _source(self) -> AbstractContextManager[Source]:
        """The input, opened; a ready-made source is read from its beginning again."""
        return closing(build_source(self._spec, self.options) if isinstance(self._spec, str) else self._spec)

    def _end_to_end(self, frames: int) -> dict[str, Any]:
        cpu = time.process_time()
        pipeline = build_pipeline(self._spec, self._target, self.options, limit=frames, matter=self._fresh())
        summary = pipeline.run()
        used = time.process_time() - cpu
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
        compositor = build_compositor(self.options, self.options.background or "none", self.info)
        for frame in frames:
            for matte in matter.process(frame):
                yield from compositor.process(matte)
        for matte in matter.drain():
            yield from compositor.process(matte)

    @staticmethod
    def _timed(run: Callable[[], int]) -> dict[str, float]:
        cpu, began = time.process_time(), time.perf_counter()
        frames = run()
        wall = time.perf_counter() - began
        return {"fps": frames / wall, "cpu_ms": (time.process_time() - cpu) / frames * 1000}

    def _decode(self) -> int:
        with self._source() as source:
            return sum(1 for _ in islice(source.frames(), self._frames))

    def _infer(self) -> int:
        images = self._held.images
        pending: deque[Pending] = deque()
        for number in range(self._frames):
            if len(pending) >= self.engine.in_flight:
                pending.popleft().result()
            index = number % len(images)
            pending.append(self.engine.submit(images[index : index + 1]))
        while pending:
            pending.popleft().result()
        return self._frames

    def _composite(self) -> int:
        return sum(1 for _ in self._through(_again(self._held.frames, self._frames), self._held.alphas))

    def _encode(self) -> int:
        outputs = build_outputs(self._target, self.options.replace(audio=False), self.options.background or "none")
        outputs.open(replace(self._held.info, tracks=None))
        composites = self._held.composites
        base = self._held.frames[0]
        step = max(1, round(1 / (float(self.info.rate or 25) * float(base.time_base))))
        for number in range(self._frames):
            composite = composites[number % len(composites)]
            moved = replace(composite.frame, pts=base.pts + number * step, duration=step, index=number)
            outputs.process(replace(composite, frame=moved))
        outputs.drain()
        outputs.close()
        return self._frames

    def result(self) -> dict[str, Any]:
        """Medians over the rounds so far, as ``--json`` prints them."""
        height, width = self.engine.input_size
        return {
            "version": __version__,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "model": self.options.model,
            "engine": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "input": {"width": self.info.width, "height": self.info.height, "name": self.info.name},
            "network": {"width": width, "height": height},
            "warm_up_seconds": round(self.warm_up, 2),
            **summarize(self.rounds, available_cores()),
            "peak_rss_mb": self._peak_rss_mb,
        }

    def close(self) -> None:
        """Release the engine."""
        self._matter.close()


def measure(spec: str | Source, options: VideoOptions, *, frames: int, rounds: int) -> dict[str, Any]:
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
        Every figure is the median over them.
    """
    return _measure(spec, (options,), frames, rounds)[0].result()


def compare(
    spec: str | Source, settings: tuple[VideoOptions, VideoOptions], *, frames: int, rounds: int
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Measure two settings in turn, A B A B ...; returns both results and the median ratio of their fps, A / B.

    Parameters
    ----------
    spec, frames, rounds
        As of :func:`measure`.
    settings : tuple of two VideoOptions
    """
    first, second = _measure(spec, settings, frames, rounds)
    return first.result(), second.result(), median_ratio(first.rounds, second.rounds)


def _measure(spec: str | Source, settings: Sequence[VideoOptions], frames: int, rounds: int) -> list[_Bench]:
    with tempfile.TemporaryDirectory(prefix="streammatte-bench-") as folder, ExitStack() as stack:
        benches = []
        for number, options in enumerate(settings):
            own = Path(folder) / str(number)
            own.mkdir()
            benches.append(stack.enter_context(closing(_Bench(spec, options, frames, own))))
        for _ in range(rounds):
            for bench in benches:
                bench.round()
    return benches


def _again(items: list[Frame], count: int) -> list[Frame]:
    """``items`` over and over, with times that go on growing."""
    base, last = items[0], items[-1]
    span = last.pts - base.pts + max(1, last.duration)
    return [
        replace(items[number % len(items)], pts=items[number % len(items)].pts + number // len(items) * span)
        for number in range(count)
    ]
