"""The studio's second page: a queue of videos and images, each worked on by the command line in another process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError
from streammatte.options.declare import as_arguments, options_of
from streammatte.options.images import ImageOptions
from streammatte.options.video import VideoOptions
from streammatte.web.files import Thumbnailed

__all__ = ["MAX_JOBS", "Job", "Jobs", "command_of"]

_log = logging.getLogger(__name__)

MAX_JOBS = 50
"""Files that are kept at once."""
_SUFFIXES = {"video": (".mp4", ".mov", ".webm", ".mkv", ".gif"), "image": (".png", ".jpg", ".webp")}
_STOP_WITHIN = 10.0
_PREVIEW_WITHIN = 60.0


def command_of(kind: str, source: Path, target: Path, settings: dict[str, Any]) -> list[str]:
    """Arguments of ``streammatte`` for a job.

    Parameters
    ----------
    kind : {"video", "image"}
    source, target : Path
    settings : dict
        Options by name, checked already.
    """
    options: type = VideoOptions if kind == "video" else ImageOptions
    known = {entry.name for entry in options_of(options) if entry.group != "sequence" or kind == "video"}
    used = {name: value for name, value in settings.items() if name in known}
    return [kind, str(source), str(target), "--overwrite", *as_arguments(options, used)]


class Job:
    """A file, its settings and its result."""

    def __init__(self, file: Thumbnailed) -> None:
        self.id = secrets.token_hex(8)
        self.file = file
        self.state = "new"
        self.progress: dict[str, Any] = {}
        self.error = ""
        self.result: Path | None = None
        self.settings: dict[str, Any] = {}
        self.suffix = _SUFFIXES[file.facts["kind"]][0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "id": self.id,
            "name": self.file.name,
            **self.file.facts,
            "state": self.state,
            "progress": self.progress,
            "error": self.error,
            "settings": self.settings,
            "result": self.download if self.result is not None else None,
            "size": self.result.stat().st_size if self.result is not None else 0,
        }

    @property
    def download(self) -> str:
        """Name of the result for the user."""
        return f"{Path(self.file.name).stem}-matted{self.suffix}"


class Jobs:
    """A queue; one job runs at a time. Its methods run in the event loop's thread.

    Parameters
    ----------
    folder : Path
        Private; results lie here until the studio ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._process: asyncio.subprocess.Process | None = None
        self._runner: asyncio.Task[None] | None = None

    def as_list(self) -> list[dict[str, Any]]:
        """All jobs, the newest last."""
        return [job.as_dict() for job in self._jobs.values()]

    def find(self, identity: str) -> Job:
        """A job by its identity. Raises ConfigError."""
        try:
            return self._jobs[identity]
        except KeyError:
            raise ConfigError("there is no such job (any more)") from None

    def check_room(self) -> None:
        """Raise ConfigError where no further file can be taken."""
        if len(self._jobs) >= MAX_JOBS:
            raise ConfigError(f"there are {MAX_JOBS} files already; remove some")

    def add(self, file: Thumbnailed) -> Job:
        """A job for a file, not started."""
        job = Job(file)
        self._jobs[job.id] = job
        return job

    def start(self, job: Job, settings: dict[str, Any], suffix: str | None) -> None:
        """Queue a job. Raises ConfigError where it is queued or running, or the kind of output does not exist.

        Parameters
        ----------
        job : Job
        settings : dict
            Options by name, checked already.
        suffix : str, optional
            Of the output; the kind's own by default.
        """
        if job.state in ("waiting", "running"):
            raise ConfigError(f"{job.file.name} is {job.state} already")
        allowed = _SUFFIXES[job.file.facts["kind"]]
        if suffix is not None and suffix not in allowed:
            raise ConfigError(f"{job.file.name} can become {', '.join(allowed)}; got {suffix}")
        if job.result is not None:  # of the run before
            job.result.unlink(missing_ok=True)
            job.result = None
        job.suffix = suffix or allowed[0]
        job.settings, job.state, job.error, job.progress = settings, "waiting", "", {}
        self._waiting.append(job)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.ensure_future(self._run())

    async def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or stop it; what was made of it is removed."""
        if job.state == "waiting":
            self._waiting.remove(job)
            job.state = "canceled"
        elif job.state == "running":
            job.state = "canceled"
            if self._process is not None:  # else it is being started, and sees the state then
                await _stop(self._process)

    async def remove(self, job: Job) -> None:
        """Forget a job and delete its files."""
        await self.cancel(job)
        self._jobs.pop(job.id, None)
        job.file.remove()
        if job.result is not None:
            job.result.unlink(missing_ok=True)

    async def preview(self, job: Job, settings: dict[str, Any], seconds: float) -> bytes:
        """One frame as PNG with these settings. Raises ConfigError with the command's message.

        Parameters
        ----------
        job : Job
        settings : dict
            Options by name, checked already.
        seconds : float
            The frame's time.
        """
        target = self._folder / f"{secrets.token_hex(8)}.png"
        command = command_of(job.file.facts["kind"], job.file.path, target, settings)
        if job.file.facts["kind"] == "video":
            command += ["--snapshot", f"{seconds:g}"]
        try:
            process = await _begin(command)
            try:
                async with asyncio.timeout(_PREVIEW_WITHIN):
                    _, stderr_text = await process.communicate()
            finally:
                await _stop(process)
            if process.returncode or not target.is_file():
                raise ConfigError(_last_line(stderr_text))
            return target.read_bytes()
        finally:
            target.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop the running job."""
        self._waiting.clear()
        if self._runner is not None:
            self._runner.cancel()
            with suppress(asyncio.CancelledError):
                await self._runner
        if self._process is not None:
            await _stop(self._process)

    async def _run(self) -> None:
        while self._waiting:
            job = self._waiting.popleft()
            job.state = "running"
            try:
                await self._one(job)
            except Exception as error:
                job.state, job.error = "failed", str(error)
                _log.debug("job %s failed", job.id, exc_info=error)

    async def _one(self, job: Job) -> None:
        target = self._folder / f"{job.id}{job.suffix}"
        kind = job.file.facts["kind"]
        command = command_of(kind, job.file.path, target, job.settings)
        self._process = process = await _begin([*command, *(["--json"] if kind == "video" else [])])
        try:
            if job.state == "canceled":
                await _stop(process)
            stderr_text = asyncio.ensure_future(process.stderr.read()) if process.stderr else None
            while process.stdout is not None and (line := await process.stdout.readline()):
                with suppress(ValueError):
                    job.progress = json.loads(line)
            code = await process.wait()
            text = await stderr_text if stderr_text is not None else b""
        finally:
            await _stop(process)
            self._process = None
        if job.state == "canceled" or job.id not in self._jobs:
            target.unlink(missing_ok=True)
        elif code and not (code == 8 and target.is_file()):
            job.state, job.error = "failed", _last_line(text)
            target.unlink(missing_ok=True)
        else:
            job.state, job.result = "done", target
            job.error = _last_line(text) if code else ""  # a truncated input: its good part was kept


async def _begin(arguments: list[str]) -> asyncio.subprocess.Process:
    pipe = subprocess.PIPE
    flags: dict[str, Any] = {"creationflags": 0x200} if sys.platform == "win32" else {"start_new_session": True}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streammatte", *arguments, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, **flags
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Interrupt the process, and kill it if it does not end."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, OSError):
        if sys.platform == "win32":
            os.kill(process.pid, signal.CTRL_BREAK_EVENT)
        else:
            process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(_STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_line(stderr_text: bytes) -> str:
    lines = [line.strip() for line in stderr_text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("streammatte: ") if lines else "the command ended without a message"
