"""The live pipeline: the newest frame is used, each sink has its own queue, and nothing unmatted is ever shown.

    source --queue of one, drops--> matting --queue--> compositing --guard--> a queue and a thread for each sink

The caller's thread supervises: it watches for stalls, drives windows, and handles signals. The threads are
daemons, and ``run`` waits for them only for a while: a camera that never answers must not keep the process alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from streammatte.errors import QueueAborted
from streammatte.frames import StreamInfo
from streammatte.live.fanout import Fanout
from streammatte.live.matting import LiveMatter
from streammatte.live.privacy_guard import PrivacyGuard
from streammatte.live.scenes import Scenes
from streammatte.live.settings import SettingsStore
from streammatte.live.stages import LiveStages
from streammatte.live.status import LiveStatus, percentiles
from streammatte.protocols import LiveSink, LiveSource

__all__ = ["LivePipeline"]

_log = logging.getLogger(__name__)

TICK = 0.02
"""Seconds between two looks of the supervisor: a stall, a key or a signal waits this long at most."""
HELD_TICK = 0.05
"""The same while the placeholder is shown, ten times a second."""
STATUS_EVERY = 1.0
"""Seconds between two status reports."""
STOP_WITHIN = 1.0
"""Seconds that threads get to end after a stop; with start and end of the process it stays under two."""
PATIENCE = 0.5
"""Seconds after a stop in which sinks may still reach a server; then they are interrupted."""
END_WITHIN = 15.0
"""Seconds that sinks get after the source's own end to write what is queued."""


class Helper(Protocol):
    """Something that runs beside the image: a microphone."""

    name: str

    def run(self) -> None: ...

    def interrupt(self) -> None: ...


class LivePipeline:
    """A camera through matting and compositing to any number of sinks.

    Parameters
    ----------
    source : LiveSource
        Frames at their own pace, with ``captured``. Its ``on_lost`` is set: while a camera is gone the placeholder
        frame is shown.
    make_matter : callable
        Returns the LiveMatter; called in the matting thread, since compiling takes a while.
    scenes : Scenes
    sinks : list of (name, Sink)
        At least one; the first one's latency is the session's.
    store : SettingsStore
    duration : float, optional
        Seconds, counted from when the network is warm, after which the session ends.
    helpers : sequence of Helper
        Run beside, from when the network is warm.
    on_status : callable, optional
        Called about once a second in the caller's thread with a LiveStatus.
    rotated : int
        Degrees of the setting ``rotate`` that the source applies by itself.
    on_tick : callable, optional
        Called many times a second in the caller's thread (keys).
    """

    def __init__(
        self,
        source: LiveSource,
        make_matter: Callable[[], LiveMatter],
        scenes: Scenes,
        sinks: list[tuple[str, LiveSink]],
        store: SettingsStore,
        *,
        duration: float | None = None,
        helpers: Sequence[Helper] = (),
        rotated: int = 0,
        on_status: Callable[[LiveStatus], None] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> None:
        self.store = store
        self._source = source
        self._fanout = Fanout(sinks)
        self._guard = PrivacyGuard(self._fanout.send)
        self._stages = LiveStages(source, make_matter, scenes, store, self._guard, rotated)
        self._scenes = scenes
        self._duration = duration
        self._helpers = tuple(helpers)
        self._on_status = on_status
        self._on_tick = on_tick
        self._stopping = threading.Event()
        self._error_lock = threading.Lock()
        self._error: BaseException | None = None
        self._began = time.monotonic()
        self._threads: list[threading.Thread] = []

    def stop(self) -> None:
        """End the session soon. Safe from a signal handler and from any thread."""
        self._stopping.set()

    def add_sink(self, name: str, sink: LiveSink) -> None:
        """Show the images to one more sink from now on. Raises what the sink's ``open`` raises. Any thread may call."""
        writer = self._fanout.add(name, sink, self._source.info)
        self._start_thread(name, writer.run)

    def remove_sink(self, name: str, *, within: float = END_WITHIN) -> None:
        """Let a sink write what it has and close, and wait for that at most ``within`` seconds. Any thread may call."""
        self._fanout.remove(name)
        for thread in self._threads:
            if thread.name == f"live-{name}":
                thread.join(within)

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        return self._source.info

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Threads that did not end in time; the process should then end without waiting for them."""
        return tuple(thread.name for thread in self._threads if thread.is_alive())

    def run(self) -> LiveStatus:
        """Run until the source ends or ``stop``; returns the last status.

        Raises
        ------
        StreammatteError
            The first error of any part; the last image shown is then the placeholder frame.
        """
        try:
            self._fanout.open(self._source.info)
        except BaseException:
            self._source.close()
            raise
        self._source.on_lost = lambda: self._guard.engage("source")
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
        """The session's state now. Any thread may call this."""
        stages, settings, writers = self._stages, self.store.current, self._fanout.writers
        reasons = self._guard.reasons
        return LiveStatus(
            frames=stages.shown,
            drops=stages.drops,
            held=self._guard.held_frames,
            reused=stages.matter.reused if stages.matter else 0,
            fps=round(stages.rate.fps(), 2),
            seconds=round(time.monotonic() - self._began, 3),
            size=stages.matter.size if stages.matter else 0,
            state=f"hold: {', '.join(reasons)}" if reasons else "frozen" if settings.freeze else "live",
            latency_ms=writers[0].latency.milliseconds(),
            recent_ms=percentiles(tuple(writers[0].recent)),
            settings=settings.as_dict(),
            backgrounds=self.store.backgrounds,
            sinks={writer.name: writer.figures() for writer in writers},
        )

    def _start(self) -> None:
        bodies = self._stages.bodies()
        bodies += [(writer.name, writer.run) for writer in self._fanout.writers if not writer.main_thread]
        bodies += [(helper.name, self._beside(helper)) for helper in self._helpers]
        for name, body in bodies:
            self._start_thread(name, body)

    def _start_thread(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(body,), name=f"live-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _beside(self, helper: Helper) -> Callable[[], None]:
        def body() -> None:
            if self._stages.warmed():
                helper.run()

        return body

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except QueueAborted:
            pass
        except BaseException as error:  # kept, and raised again in the caller's thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            self._error = self._error or error
        self._guard.engage("error", since=float("inf"))
        self._stopping.set()

    def _supervise(self) -> None:
        windows = [writer for writer in self._fanout.writers if writer.main_thread]
        reported = time.monotonic()
        while not (self._stopping.is_set() or self._stages.done.is_set()):
            for window in windows:
                window.step(TICK / len(windows))
            if not windows:
                self._stages.done.wait(HELD_TICK if self._guard.reasons else TICK)
            self._stages.follow()
            self._guard.tick()
            if self._on_tick is not None:
                self._on_tick()
            if not self._fanout.alive or self.store.current.quit or self._over():
                return
            if self._on_status is not None and time.monotonic() - reported >= STATUS_EVERY:
                reported += STATUS_EVERY
                self._on_status(self.status())

    def _over(self) -> bool:
        since = self._stages.warm_since
        return self._duration is not None and since is not None and time.monotonic() - since >= self._duration

    def _shut_down(self) -> None:
        ended = self._stages.done.is_set() and not self._stopping.is_set()
        self._guard.finish()
        self._stopping.set()
        self._stages.abort()
        for helper in self._helpers:
            helper.interrupt()
        self._fanout.finish()
        deadline = time.monotonic() + (END_WITHIN if ended else STOP_WITHIN)
        for writer in self._fanout.writers:
            while writer.main_thread and writer.step(0.0) and time.monotonic() < deadline:
                pass
        while not ended and self.unfinished and time.monotonic() < deadline - STOP_WITHIN + PATIENCE:
            time.sleep(TICK)
        self._fanout.interrupt()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if "live-compositing" not in self.unfinished:
            self._scenes.close()
        for name in self.unfinished:
            _log.warning("%s did not end in time; its thread runs on", name)
