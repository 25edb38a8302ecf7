"""The live pipeline: latest frame wins, every sink for itself, and nothing unmatted ever shown.

    source --ring of one, drops--> matting --ring--> compositing --guard--> a queue and a thread for each sink

The caller's thread supervises: it watches for stalls, drives windows, and is where signals arrive. The threads are
daemons, and ``run`` waits for them only for a while: a camera that never answers must not keep the process alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from streammatte.errors import ModelError, RingAborted
from streammatte.frames import Frame, Matte
from streammatte.live.fanout import Fanout
from streammatte.live.guard import USER, PrivacyGuard
from streammatte.live.matting import LiveMatter
from streammatte.live.scenes import Scenes
from streammatte.live.settings import SettingsBoard
from streammatte.live.status import LiveStatus, RateMeter
from streammatte.ring import RingBuffer
from streammatte.stages import Sink, Source

__all__ = ["LivePipeline"]

_log = logging.getLogger(__name__)

TICK = 0.02
"""Seconds between two looks of the supervisor: a stall, a key or a signal waits this long at most."""
STATUS_EVERY = 1.0
"""Seconds between two status reports."""
STOP_WITHIN = 1.5
"""Seconds that threads get to end after a stop; with start and end of the process it stays under two."""
END_WITHIN = 15.0
"""Seconds that sinks get after the source's own end to write what is queued."""
MOST_FAILURES = 30
"""Frames in a row without a matte after which the session ends: about a second of a network that is broken for good."""


class Helper(Protocol):
    """Something that runs beside the picture: a microphone."""

    name: str

    def run(self) -> None: ...

    def interrupt(self) -> None: ...


class LivePipeline:
    """A camera through matting and compositing to any number of sinks.

    Parameters
    ----------
    source : Source
        Frames at their own pace, with ``captured``. Where it has ``on_lost``, it is set: a camera that is gone
        shows the hold picture. Where it has ``interrupt``, that ends its waiting.
    make_matter : callable
        Gives the LiveMatter; called in the matting thread, since compiling takes a while.
    scenes : Scenes
    sinks : list of (name, Sink)
        At least one; the first one's latency is the session's.
    board : SettingsBoard
    duration : float, optional
        Seconds, counted from when the network is warm, after which the session ends.
    helpers : sequence of Helper
        Run beside, from when the network is warm.
    on_status : callable, optional
        Called about once a second in the caller's thread with a LiveStatus.
    on_tick : callable, optional
        Called many times a second in the caller's thread (keys).
    """

    def __init__(
        self,
        source: Source,
        make_matter: Callable[[], LiveMatter],
        scenes: Scenes,
        sinks: list[tuple[str, Sink]],
        board: SettingsBoard,
        *,
        duration: float | None = None,
        helpers: Sequence[Helper] = (),
        on_status: Callable[[LiveStatus], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        self.board = board
        self._source = source
        self._make_matter = make_matter
        self._matter: LiveMatter | None = None
        self._scenes = scenes
        self._fanout = Fanout(sinks)
        self._guard = PrivacyGuard(self._fanout.send)
        self._captured: RingBuffer[Frame] = RingBuffer(1, "drop_oldest")
        self._matted: RingBuffer[Matte] = RingBuffer(1)
        self._duration = duration
        self._helpers = tuple(helpers)
        self._on_status = on_status
        self._on_tick = on_tick
        self._warm = threading.Event()
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._error_lock = threading.Lock()
        self._error: BaseException | None = None
        self._failures = 0
        self._shown = 0
        self._until = float("inf")
        self._began = time.monotonic()
        self._rate = RateMeter()
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """End the session soon. Safe from a signal handler and from any thread."""
        self._stopping.set()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Threads that did not end in time; the process should then end without waiting for them."""
        return tuple(thread.name for thread in self._threads if thread.is_alive())

    def run(self) -> LiveStatus:
        """Run until the source ends or ``stop``; gives the last status.

        Raises
        ------
        StreammatteError
            The first error of any part; the last picture shown is then the hold picture.
        """
        try:
            self._fanout.open(self._source.info)
        except BaseException:
            self._source.close()
            raise
        self._listen()
        self._start()
        try:
            self._supervise()
        finally:
            self._shut_down()
        if self._error is not None:
            raise self._error
        if self._fanout.error is not None:
            raise self._fanout.error
        return self.status()

    def status(self) -> LiveStatus:
        """Where the session stands now. Any thread may ask."""
        return LiveStatus.of(
            fanout=self._fanout,
            guard=self._guard,
            matter=self._matter,
            settings=self.board.current,
            backgrounds=self.board.backgrounds,
            frames=self._shown,
            drops=self._captured.drops,
            seconds=time.monotonic() - self._began,
            fps=self._rate.fps(),
        )

    def _listen(self) -> None:
        if hasattr(self._source, "on_lost"):
            self._source.on_lost = lambda: self._guard.engage("source")

    def _start(self) -> None:
        bodies: list[tuple[str, Callable[[], None]]] = [
            ("reader", self._read),
            ("matting", self._matte),
            ("compositing", self._composite),
            *((writer.name, writer.run) for writer in self._fanout.writers if not writer.main_thread),
        ]
        bodies += [(helper.name, self._beside(helper)) for helper in self._helpers]
        for name, body in bodies:
            thread = threading.Thread(target=self._guarded, args=(body,), name=f"live-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except RingAborted:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            self._error = self._error or error
        self._guard.engage("error", since=float("inf"))
        self._stopping.set()

    def _supervise(self) -> None:
        windows = [writer for writer in self._fanout.writers if writer.main_thread]
        reported = time.monotonic()
        while not (self._stopping.is_set() or self._done.is_set()):
            for window in windows:
                window.step(TICK / len(windows))
            if not windows:
                self._done.wait(TICK)
            self._follow()
            self._guard.tick()
            if self._on_tick is not None:
                self._on_tick()
            if not self._fanout.alive or self.board.current.quit or time.monotonic() >= self._until:
                return
            if self._on_status is not None and time.monotonic() - reported >= STATUS_EVERY:
                reported += STATUS_EVERY
                self._on_status(self.status())

    def _follow(self) -> None:
        settings = self.board.current
        if settings.hold != (USER in self._guard.reasons):
            if settings.hold:
                self._guard.engage(USER)
            else:
                self._guard.release(USER)

    def _beside(self, helper: Helper) -> Callable[[], None]:
        def body() -> None:
            if self._warmed():
                helper.run()

        return body

    def _warmed(self) -> bool:
        """Wait until the network is warm; False when the session ends before."""
        while not self._warm.wait(TICK):
            if self._stopping.is_set():
                return False
        return True

    def _read(self) -> None:
        try:
            if not self._warmed():
                return
            for frame in self._source.frames():
                if self._stopping.is_set():
                    break
                if frame.captured is None:
                    frame.captured = time.monotonic()
                self._guard.anchor(frame)
                self._captured.put(frame)
        finally:
            self._captured.close()
            self._source.close()

    def _matte(self) -> None:
        matter = self._make_matter()
        try:
            matter.warm(self._source.info)
            self._matter = matter
            self._until = time.monotonic() + (self._duration or float("inf"))
            self._warm.set()
            while taken := self._captured.get_batch():
                matte = self._try_matte(matter, taken.pop())
                if matte is not None:
                    self._matted.put(matte)
        finally:
            self._matted.close()
            matter.close()

    def _try_matte(self, matter: LiveMatter, frame: Frame) -> Matte | None:
        try:
            return matter.process(frame, self.board.current, self._captured.drops)
        except Exception as error:
            self._refuse(error, frame)
            matter.reset()
            return None

    def _composite(self) -> None:
        self._scenes.prepare(self._source.info)
        self._guard.set_hold(self._scenes.hold(self.board.current))
        while taken := self._matted.get_batch():
            settings = self.board.current
            self._guard.set_hold(self._scenes.hold(settings))
            self._follow()
            matte = taken.pop()
            try:
                self._guard.admit(matte, self._scenes.compose(matte, settings))
            except Exception as error:
                self._refuse(error, matte.frame)
                continue
            self._failures = 0
            self._shown += 1
            self._rate.count(time.monotonic())
        self._done.set()

    def _refuse(self, error: Exception, frame: Frame) -> None:
        """A frame has no picture that may be shown: hold, and give up where that does not end."""
        self._failures += 1
        (_log.error if self._failures == 1 else _log.debug)("frame %d is not shown: %s", frame.index, error)
        _log.debug("traceback", exc_info=error)
        self._guard.engage("model", since=frame.captured)
        if self._failures >= MOST_FAILURES:
            raise ModelError(f"{self._failures} frames in a row could not be matted: {error}") from error

    def _shut_down(self) -> None:
        ended = self._done.is_set() and not self._stopping.is_set()
        self._guard.finish()
        self._stopping.set()
        if hasattr(self._source, "interrupt"):
            self._source.interrupt()
        for helper in self._helpers:
            helper.interrupt()
        self._captured.abort()
        self._matted.abort()
        self._fanout.finish()
        deadline = time.monotonic() + (END_WITHIN if ended else STOP_WITHIN)
        for writer in self._fanout.writers:
            while writer.main_thread and writer.step(0.0) and time.monotonic() < deadline:
                pass
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for name in self.unfinished:
            _log.warning("%s did not end in time and is left behind", name)
