"""A process that works on one video after another: ``python -m streammatte.cluster.worker``.

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
from typing import Any

import cv2

from streammatte.build import (
    build_engine,
    build_input_alpha_matter,
    build_matter,
    build_pipeline,
    build_source,
    input_fit,
)
from streammatte.engines.kept import KeptEngines
from streammatte.errors import DiskFullError, StreammatteError, TruncatedSourceError
from streammatte.options.video import VideoOptions
from streammatte.protocols import Matter
from streammatte.stats import Progress, Summary

__all__ = ["work"]

MOST_WARNINGS = 20
_COMPILED_FOR = ("model", "engine", "device", "precision", "batch", "threads", "trt", "average")
"""Options that an engine is made from, besides the network's input size."""
_EVERY = 0.5
"""Seconds between two events of progress."""


class _Warnings(logging.Handler):
    """Collects warnings of one video."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if len(self.texts) < MOST_WARNINGS and text not in self.texts:
            self.texts.append(text)


def work(source: str, target: str, options: VideoOptions, engines: KeptEngines, on_progress: Any) -> Summary:
    """One video with an engine that may be there already. Raises StreammatteError."""
    opened = build_source(source, options)
    try:
        matter: Matter
        if options.input_alpha == "only":
            matter = build_input_alpha_matter(opened.info, options)
        else:
            key = (input_fit(opened.info, options).padded, *(getattr(options, name) for name in _COMPILED_FOR))
            engine = engines.get(key, lambda: build_engine(opened.info, options))
            matter = build_matter(opened.info, options, engine=engine)
        pipeline = build_pipeline(opened, target, options, matter=matter, on_progress=on_progress)
    except BaseException:
        opened.close()
        raise
    return pipeline.run()


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
    engines, collected = KeptEngines(), _Warnings()
    logging.getLogger("streammatte").addHandler(collected)
    logging.getLogger("streammatte").propagate = False
    while True:
        job = jobs.get()
        collected.texts = []
        event = _do(job, engines, lambda facts: print(json.dumps(facts), file=events))
        print(json.dumps({**event, "warnings": collected.texts}), file=events)


def _do(job: dict[str, Any], engines: KeptEngines, tell: Any) -> dict[str, Any]:
    last = [0.0]

    def progress(now: Progress) -> None:
        if time.monotonic() - last[0] >= _EVERY:
            last[0] = time.monotonic()
            tell({"event": "progress", "frames": now.frames, "total": now.total_frames, "fps": round(now.fps, 2)})

    try:
        summary = work(job["source"], job["target"], VideoOptions.build(job["options"]), engines, progress)
    except TruncatedSourceError as error:
        if error.summary is None:
            return _failure(error)
        return {**_success(error.summary), "event": "partial", "reason": str(error), "exit_code": error.exit_code}
    except StreammatteError as error:
        return _failure(error)
    except Exception as error:
        return {"event": "failed", "reason": f"unexpected {type(error).__name__}: {error}", "exit_code": 1}
    return _success(summary)


def _success(summary: Summary) -> dict[str, Any]:
    facts = {"frames": summary.frames, "seconds": summary.seconds, "media_seconds": summary.media_seconds}
    return {"event": "done", "bytes": summary.output_bytes, **facts}


def _failure(error: StreammatteError) -> dict[str, Any]:
    full = isinstance(error, DiskFullError)
    return {"event": "full" if full else "failed", "reason": str(error), "exit_code": error.exit_code}


if __name__ == "__main__":
    sys.exit(_main())
