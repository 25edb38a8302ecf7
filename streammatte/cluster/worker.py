"""A process that works on one video after another: ``python -m streammatte.cluster.worker FOLDER``.

It reads jobs as JSON lines from standard input and writes events as JSON lines to standard output; whatever else is
printed goes to standard error. When its input ends, which it also does when the parent is killed, it ends at once.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import cv2

from streammatte.build import (
    build_engine,
    build_input_alpha_matter,
    build_matter,
    build_pipeline,
    build_source,
    input_fit,
)
from streammatte.cluster.segments import work_segment
from streammatte.engines.engine_cache import EngineCache
from streammatte.errors import DiskFullError, StreammatteError, TruncatedSourceError
from streammatte.media.remote import Fetched
from streammatte.options.video import VideoOptions
from streammatte.protocols import Matter, Source
from streammatte.runtime import release_memory
from streammatte.stats import Progress, Summary

__all__ = ["Worker"]

MAX_WARNINGS = 20
_COMPILED_FOR = ("model", "engine", "device", "precision", "batch", "threads", "trt", "average")
"""Options that an engine is made from, besides the network's input size."""
_EVERY = 0.5
"""Seconds between two events of progress."""


class _Warnings(logging.Handler):
    """Collects warnings of one video."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        logging.getLogger("streammatte").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("streammatte").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if len(self.texts) < MAX_WARNINGS and text not in self.texts:
            self.texts.append(text)


class Worker:
    """Does one job after another with engines that stay.

    Parameters
    ----------
    report : callable
        Takes events of progress.
    folder : Path, optional
        For copies of remote inputs.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None], folder: Path | None = None) -> None:
        self._report = report
        self._engines = EngineCache()
        self._fetched = Fetched(folder)
        self._reported = 0.0

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job, a whole video or a segment of one; returns its last event."""
        with _Warnings() as collected:
            event = self._end_of(job)
        release_memory()
        return {**event, "warnings": collected.texts}

    def _end_of(self, job: dict[str, Any]) -> dict[str, Any]:
        try:
            job = {**job, "source": self._fetched.path(job["source"]), "options": dict(job["options"])}
            for values in (job, job["options"]):
                if values.get("background") is not None:
                    values["background"] = self._fetched.path(values["background"], "background")
            if "segment" in job:
                return {"event": "done", **work_segment(job, self.matter, self._progress)}
            summary = self._whole(job["source"], job["target"], VideoOptions.build(job["options"]))
        except TruncatedSourceError as error:
            if error.summary is None:
                return _failure(error)
            return {**_success(error.summary), "event": "partial", "reason": str(error), "exit_code": error.exit_code}
        except StreammatteError as error:
            return _failure(error)
        except Exception as error:
            return {"event": "failed", "reason": f"unexpected {type(error).__name__}: {error}", "exit_code": 1}
        return _success(summary)

    def _whole(self, source: str, target: str, options: VideoOptions) -> Summary:
        opened = build_source(source, options)
        try:
            matter = self.matter(opened, options)
            pipeline = build_pipeline(opened, target, options, matter=matter, on_progress=self._progress)
        except BaseException:
            opened.close()
            raise
        return pipeline.run()

    def matter(self, opened: Source, options: VideoOptions) -> Matter:
        """The matting stage for a source, around an engine that may be there already. Raises ModelError."""
        if options.input_alpha == "only":
            return build_input_alpha_matter(opened.info, options)
        key = (input_fit(opened.info, options).padded, *(getattr(options, name) for name in _COMPILED_FOR))
        engine = self._engines.get(key, lambda: build_engine(opened.info, options))
        return build_matter(opened.info, options, engine=engine)

    def _progress(self, now: Progress) -> None:
        if time.monotonic() - self._reported >= _EVERY:
            self._reported = time.monotonic()
            fps, total = round(now.fps, 2), now.total_frames
            self._report({"event": "progress", "frames": now.frames, "total": total, "fps": fps})


def _main() -> int:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    cv2.setNumThreads(1)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=listen, name="worker-input", daemon=True).start()
    logging.getLogger("streammatte").propagate = False
    worker = Worker(lambda facts: print(json.dumps(facts), file=events), Path(sys.argv[1]))
    while True:
        print(json.dumps(worker.do(jobs.get())), file=events)


def _success(summary: Summary) -> dict[str, Any]:
    facts = {"frames": summary.frames, "seconds": summary.seconds, "media_seconds": summary.media_seconds}
    return {"event": "done", "bytes": summary.output_bytes, **facts}


def _failure(error: StreammatteError) -> dict[str, Any]:
    full = isinstance(error, DiskFullError)
    return {"event": "full" if full else "failed", "reason": str(error), "exit_code": error.exit_code}


if __name__ == "__main__":
    sys.exit(_main())
