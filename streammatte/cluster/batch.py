"""Works through a journal with workers that stay alive."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attrs

from streammatte.cluster.journal import DONE, FAILED, PARTIAL, RUNNING, WAITING, Journal, Record
from streammatte.cluster.segments import Segment, SegmentedVideo, can_be_cut
from streammatte.cluster.video import MAX_ATTEMPTS
from streammatte.cluster.worker_pool import Assignment, WorkerPool
from streammatte.errors import DiskFullError, StreammatteError, TruncatedSourceError
from streammatte.media.remote import Fetched, refuse_existing, upload
from streammatte.options.video import VideoOptions
from streammatte.sinks.atomic import refuse_inputs, remove_leftovers
from streammatte.stats import Summary

__all__ = ["Batch", "Status"]

_log = logging.getLogger(__name__)

_TICK = 0.2
_MEASURED = ("reason", "exit_code", "frames", "media_seconds", "bytes")


@dataclass(slots=True)
class Status:
    """A batch's state. ``running`` maps outputs to (frames, frames in all or None, frames a second)."""

    total: int
    counts: dict[str, int]
    running: dict[str, tuple[int, int | None, float]]
    seconds: float
    remaining: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        running = [
            {"output": output, "frames": frames, "total_frames": total, "fps": fps}
            for output, (frames, total, fps) in self.running.items()
        ]
        left = None if self.remaining is None else round(self.remaining, 1)
        now = {"running": running, "seconds": round(self.seconds, 1), "remaining": left}
        return {"total": self.total, "counts": self.counts, **now}


@dataclass(slots=True, eq=False)
class _Video:
    """A video that is being worked on, whole or in segments."""

    record: Record
    whole: dict[str, Any] | None = None
    """The job, until it is started."""
    cut: SegmentedVideo | None = None
    waiting: list[Segment] = field(default_factory=list)
    out: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    fetched: Fetched = field(default_factory=Fetched)
    """Its input's local copy, which joining reads again."""

    @property
    def has_work(self) -> bool:
        return self.whole is not None or bool(self.waiting)


class Batch:
    """Works through the waiting items of a journal.

    Parameters
    ----------
    journal : Journal
    options : VideoOptions
        What holds for all items.
    pool : WorkerPool
        The workers.
    segment : float, optional
        Videos are cut into segments of so many seconds, where their outputs can be joined.
    on_status : callable, optional
        Called about five times a second in the caller's thread with a Status.

    Notes
    -----
    ``stop`` ends the workers at once; what was running waits again; only complete segments are kept.
    """

    def __init__(
        self,
        journal: Journal,
        options: VideoOptions,
        pool: WorkerPool,
        segment: float | None = None,
        on_status: Callable[[Status], None] | None = None,
    ) -> None:
        self._journal = journal
        self._options = options.replace(threads=options.threads or pool.threads)
        self._pool = pool
        self._segment = segment
        self._on_status = on_status
        self._videos: list[_Video] = []
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._spent = 0.0
        self._finished = 0

    def stop(self, *, discard: bool = False) -> None:
        """End soon; running jobs are aborted in either case. Safe from a signal handler."""
        self._stopping.set()

    def run(self, more: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing waits.

        Parameters
        ----------
        more : callable
            Called when nothing waits and about every second; it may add items to the journal. While it returns true,
            further items are waited for.

        Raises
        ------
        DiskFullError
            The disk is full: the items that remain wait for the next run.
        """
        looked = 0.0
        watching = True
        try:
            while not self._stopping.is_set():
                self._hand_out()
                if time.monotonic() - looked >= 1.0 or not self._videos:
                    looked, watching = time.monotonic(), more()
                if not self._videos and not watching and not self._journal.counts()[WAITING]:
                    return
                happened = self._pool.next_event(_TICK)
                if happened is not None:
                    self._take_event(*happened)
                if self._on_status is not None:
                    self._on_status(self.status())
        finally:
            self._pool.close()
            for video in self._videos:
                self._give_up(video)
                self._journal.end(video.record, WAITING, attempts=0)

    def status(self) -> Status:
        """The batch's state now."""
        counts = self._journal.counts()
        running = {video.record.output: self._progress(video) for video in self._videos}
        left = counts[WAITING] + counts[RUNNING]
        each = self._spent / self._finished if self._finished else None
        remaining = None if each is None else each * left / self._pool.size
        return Status(sum(counts.values()), counts, running, time.monotonic() - self._began, remaining)

    def _progress(self, video: _Video) -> tuple[int, int | None, float]:
        given = [each.progress for each in self._pool.running if each.task[0] is video]
        frames, fps = sum(each[0] for each in given), sum(each[2] for each in given)
        if video.cut is None:
            return frames, given[0][1] if given else None, fps
        return video.cut.frames + frames, video.cut.total_frames, fps

    def _hand_out(self) -> None:
        while self._pool.free:
            video = next((each for each in self._videos if each.has_work), None) or self._next_video()
            if video is None:
                return
            video.out += 1
            if video.whole is not None:
                job, video.whole = video.whole, None
                self._pool.start(job, (video, None))
            elif video.cut is not None:
                segment = video.waiting.pop(0)
                self._pool.start(video.cut.job(segment), (video, segment))

    def _next_video(self) -> _Video | None:
        """Begin the next item that can be begun."""
        while waiting := self._journal.records(WAITING, limit=1):
            video = _Video(waiting[0])
            try:
                self._begin(video)
            except (StreammatteError, OSError) as error:
                video.fetched.close()
                self._journal.end(video.record, FAILED, reason=str(error), exit_code=getattr(error, "exit_code", 4))
                continue
            self._journal.begin(video.record)
            self._videos.append(video)
            if not video.has_work:  # all segments were done before
                self._join(video)
                continue
            return video
        return None

    def _begin(self, video: _Video) -> None:
        record = video.record
        target = self._journal.target / record.output
        options = self._options.replace(**self._placed(record.options))
        name = f"{target}/" if record.output.endswith("/") else str(target)
        outputs = [path for path in (name, options.alpha, options.foreground) if path is not None]
        refuse_inputs({"the input": record.source, "the background": options.background}, outputs)
        if self._journal.remote:
            for path in outputs:
                refuse_existing(self._address(path), options.overwrite or bool(record.frames or record.attempts))
        for path in outputs:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(Path(path))
        # Without --overwrite only the output of an earlier attempt at this item may be replaced.
        if record.frames or record.attempts:
            options = options.replace(overwrite=True)
        if self._segment is not None and can_be_cut(record.source, name, options):
            local = video.fetched.path(record.source)
            video.cut = SegmentedVideo(record.source, name, options, self._segment, local)
            video.waiting = video.cut.waiting()
        else:
            video.whole = {"source": record.source, "target": name, "options": attrs.asdict(options)}  # type: ignore[arg-type]

    def _address(self, path: str) -> str:
        """Where an output of the target folder goes."""
        return f"{self._journal.remote}/{Path(path).relative_to(self._journal.target).as_posix()}"

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        """A row's options, its outputs inside the target."""
        named = {role: options[role] for role in ("alpha", "foreground") if options.get(role)}
        return {**options, **{role: str(self._journal.target / name) for role, name in named.items()}}

    def _take_event(self, given: Assignment, event: dict[str, Any]) -> None:
        video, segment = given.task
        video.out -= 1
        video.seconds += given.seconds
        video.warnings += [text for text in event.get("warnings", ()) if text not in video.warnings]
        if video not in self._videos:  # it has failed meanwhile
            return
        if event["event"] == "full":
            self._videos.remove(video)
            self._give_up(video)
            self._journal.end(video.record, WAITING, reason=event["reason"], attempts=0)
            raise DiskFullError(f"{event['reason']}; free some space and run the same command, which goes on from here")
        if event["event"] == "again":
            if segment is None:
                self._requeue(video, event["reason"])
            else:
                video.waiting.insert(0, segment)
        elif event["event"] == "lost":
            self._again(video, segment, event["reason"])
        elif segment is None:
            state = {"done": DONE, "partial": PARTIAL}.get(event["event"], FAILED)
            self._end(video, state, **{name: event[name] for name in _MEASURED if name in event})
        elif event["event"] != "done":
            self._end(video, FAILED, reason=event["reason"], exit_code=event["exit_code"])
        elif video.cut is not None:
            video.cut.end(segment, {name: event[name] for name in ("frames", "seconds", "until", "reason")})
            if not video.has_work and not video.out:
                self._join(video)

    def _join(self, video: _Video) -> None:
        """All segments are there."""
        assert video.cut is not None
        try:
            summary = video.cut.join()
        except TruncatedSourceError as error:
            facts = _facts(error.summary)
            self._end(video, PARTIAL, reason=str(error), exit_code=error.exit_code, **facts)
        except DiskFullError:
            raise
        except (StreammatteError, OSError) as error:
            self._end(video, FAILED, reason=str(error), exit_code=getattr(error, "exit_code", 4))
        else:
            self._end(video, DONE, **_facts(summary))

    def _end(self, video: _Video, state: str, **facts: Any) -> None:
        self._videos.remove(video)
        self._give_up(video)
        if state == DONE:
            facts |= {"reason": "", "exit_code": 0}
        if self._journal.remote and state in (DONE, PARTIAL):
            state, facts = self._sent(video, state, facts)
        self._journal.end(video.record, state, seconds=video.seconds, warnings=video.warnings, **facts)
        self._spent += video.seconds
        self._finished += 1

    def _sent(self, video: _Video, state: str, facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Upload what was made, and remove it here."""
        options = self._placed(video.record.options)
        main = self._journal.target / video.record.output
        for path in (main, *(Path(options[role]) for role in ("alpha", "foreground") if options.get(role))):
            try:
                upload(path, self._address(str(path)))
            except (StreammatteError, OSError) as error:
                return FAILED, {**facts, "reason": str(error), "exit_code": getattr(error, "exit_code", 4)}
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return state, facts

    def _again(self, video: _Video, segment: Segment | None, how: str) -> None:
        """A worker was lost."""
        number = -1 if segment is None else segment.index
        attempts = video.attempts[number] = video.attempts.get(number, 0) + 1
        if segment is None:
            attempts = self._journal.attempts(video.record.output)
        if attempts >= MAX_ATTEMPTS:
            self._end(video, FAILED, reason=f"{how}, {attempts} times", exit_code=1)
            return
        _log.warning("%s: %s; it is tried again", video.record.source, how)
        if segment is not None:
            video.waiting.insert(0, segment)
            return
        self._requeue(video, how)

    def _requeue(self, video: _Video, why: str) -> None:
        """The whole video waits again."""
        self._videos.remove(video)
        self._give_up(video)
        self._journal.end(video.record, WAITING, reason=why)

    def _give_up(self, video: _Video) -> None:
        """Nothing of it is running any longer."""
        if video.cut is not None:
            video.cut.close()
        video.fetched.close()
        remove_leftovers(self._journal.target / video.record.output)


def _facts(summary: Summary) -> dict[str, Any]:
    return {"frames": summary.frames, "media_seconds": summary.media_seconds, "bytes": summary.output_bytes}
