"""Writes each image to its own files; a file is complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from streammatte.errors import SinkError
from streammatte.frames import Composite, StreamInfo
from streammatte.images.jobs import Job
from streammatte.sinks.multi import Outputs

__all__ = ["StillOutputs"]


class StillOutputs(Outputs):
    """The sink of a pipeline of stills.

    Parameters
    ----------
    jobs : sequence of Job
        By frame index.
    open_job : callable
        Returns the outputs of one job, not opened.
    folders : sequence of Path
        Created by ``open`` where missing; removed again by ``abort`` where they are empty.
    """

    def __init__(self, jobs: Sequence[Job], open_job: Callable[[Job], Outputs], folders: Sequence[Path] = ()) -> None:
        self._jobs = jobs
        self._open_job = open_job
        self._folders = folders
        self._made: list[Path] = []
        self._written: list[Path] = []
        self.info: StreamInfo | None = None

    def open(self, info: StreamInfo) -> None:
        """Refuse, before the first image, everything that cannot be written.

        Raises
        ------
        UnsupportedOutputError, OutputExistsError, SinkError
        """
        for folder in self._folders:
            self._make(folder)
        for job in self._jobs:
            self._open_job(job).open(replace(info, width=1, height=1))

    def process(self, item: Composite) -> list[None]:
        """Write one image."""
        frame = item.frame
        job = self._jobs[frame.index]
        info = StreamInfo(frame.width, frame.height, frame.layout, frame.time_base, color=frame.color)
        outputs = self._open_job(job)
        try:
            outputs.open(info)
            outputs.process(item)
            outputs.drain()
            outputs.close()
        except BaseException:
            outputs.abort()
            raise
        self.info = info
        self._written += job.targets
        return []

    def drain(self) -> list[None]:
        """Nothing is held back."""
        return []

    def close(self) -> None:
        """Every image is complete already."""

    def abort(self) -> None:
        """Keep complete images; remove folders that stayed empty."""
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
        self._made.clear()

    def names(self) -> tuple[str, ...]:
        """Files that are complete."""
        return tuple(str(path) for path in self._written)

    def size(self) -> int:
        """Bytes of these."""
        return sum(path.stat().st_size for path in self._written if path.is_file())

    def _make(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            try:
                path.mkdir()
            except OSError as error:
                raise SinkError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
            self._made.append(path)
