"""Progress of a running job: bars on a terminal, JSON lines on request, nothing in a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection
from typing import IO, Any, Self

from streammatte.stats import Progress, Summary

__all__ = ["ProgressDisplay", "Reporter"]

_EVERY = 1.0
"""Seconds between two JSON lines."""


class ProgressDisplay:
    """A context manager: bars on a terminal, or a JSON line a second.

    Parameters
    ----------
    *columns : str
        Of a bar: ``bar``, ``count``, ``remaining``, or text in which ``{task.description}`` and ``{task.fields[NAME]}``
        stand for values.
    json_file : text file, optional
        Where JSON goes instead.
    """

    def __init__(self, *columns: str, json_file: IO[str] | None = None) -> None:
        self._columns = columns
        self._json_file = json_file
        self._next = 0.0
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self._json_file is None and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            kinds: dict[str, Callable[[], progress.ProgressColumn]] = {
                "bar": progress.BarColumn,
                "count": progress.MofNCompleteColumn,
                "remaining": progress.TimeRemainingColumn,
            }
            columns = [kinds[column]() if column in kinds else column for column in self._columns]
            self._bars = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what is shown."""
        if self._bars is not None:
            self._bars.stop()

    def bar(self, name: str, completed: float, total: float | None, **fields: Any) -> None:
        """Show a bar, if there is a terminal.

        Parameters
        ----------
        name : str
            Its description.
        completed, total : float
            ``total`` is None where it is not known.
        **fields
            Values of the columns' text.
        """
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None, **fields)
            self._bars.update(self._tasks[name], completed=completed, total=total, **fields)

    def remove_bars(self, keep: Collection[str]) -> None:
        """Remove the bars that are not among these names."""
        for name in self._tasks.keys() - set(keep):
            self._bars.remove_task(self._tasks.pop(name))

    def line(self, values: Callable[[], dict[str, Any]], *, last: bool = False) -> None:
        """Write a JSON line where these are requested: once a second, and the last one always."""
        if self._json_file is not None and (last or time.monotonic() >= self._next):
            self._next = time.monotonic() + _EVERY
            print(json.dumps(values()), file=self._json_file, flush=True)


class Reporter(ProgressDisplay):
    """The display of a pipeline; ``show`` takes each Progress.

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
        columns = "{task.description}", "bar", "{task.fields[count]}", "{task.fields[fps]:.1f} fps", "remaining"
        json_file = (sys.stderr if frames_on_stdout else sys.stdout) if as_json else None
        super().__init__(*columns, "[dim]{task.fields[loads]}", json_file=json_file)
        self._title = title

    def show(self, progress: Progress) -> None:
        """Show a progress."""
        loads = " ".join(f"{name} {load:.0%}" for name, load in progress.loads.items())
        total = progress.total_frames
        count = f"{progress.frames}/{total}" if total else str(progress.frames)
        self.bar(self._title, progress.frames, total, fps=progress.fps, loads=loads, count=count)
        self.line(progress.as_dict)

    def finish(self, summary: Summary) -> None:
        """The line at the end: JSON on request, else text on standard error."""
        self.line(summary.as_dict, last=True)
        if self._json_file is None:
            print(str(summary), file=sys.stderr)
