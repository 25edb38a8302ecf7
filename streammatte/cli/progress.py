"""Progress of a running job: a bar on a terminal, JSON lines on request, nothing in a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

from streammatte.stats import Progress, Summary

__all__ = ["Reporter"]


class Reporter:
    """Context manager; call it with each Progress.

    Parameters
    ----------
    as_json : bool
        A JSON line a second.
    title : str
        Shown beside the bar.
    frames_on_stdout : bool
        Standard output carries frames, so JSON goes to standard error.
    """

    def __init__(self, *, as_json: bool, title: str, frames_on_stdout: bool = False) -> None:
        self._json: IO[str] | None = (sys.stderr if frames_on_stdout else sys.stdout) if as_json else None
        self._title = title
        self._next = 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Callable[[Progress], None]:
        if self._json is None and sys.stderr.isatty():
            self._start_bar()
        return self._show

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def finish(self, summary: Summary) -> None:
        """The line at the end: JSON on request, else text on standard error."""
        if self._json is not None:
            self._write(summary.as_dict())
        else:
            print(str(summary), file=sys.stderr)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[fps]:.1f} fps"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[loads]}"),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._title, total=None, fps=0.0, loads="", count="")
        self._bar.start()

    def _show(self, progress: Progress) -> None:
        if self._bar is not None:
            loads = " ".join(f"{name} {load:.0%}" for name, load in progress.loads.items())
            total = progress.total_frames
            count = f"{progress.frames}/{total}" if total else str(progress.frames)
            self._bar.update(
                self._task, completed=progress.frames, total=total, fps=progress.fps, loads=loads, count=count
            )
        elif self._json is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            self._write(progress.as_dict())

    def _write(self, values: dict[str, Any]) -> None:
        if self._json is not None:
            print(json.dumps(values), file=self._json, flush=True)
