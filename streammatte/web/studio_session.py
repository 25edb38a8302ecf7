"""A live session of the studio, and its images for a browser without WebRTC."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from streammatte.live import SettingsStore
from streammatte.live.build import Session
from streammatte.protocols import LiveSource
from streammatte.sinks.mjpeg import HttpPreviewSink
from streammatte.web.peer import Screen

__all__ = ["StudioImages", "StudioSession"]


class StudioSession:
    """A session in a thread of its own.

    Parameters
    ----------
    camera : str
        What the page called it.
    session : Session
    source : LiveSource, optional
        A browser's camera.
    screen : Screen
    preview : HttpPreviewSink
        Its sinks for pages.
    on_error : callable
        Called in the session's thread with the error that ended it.
    """

    def __init__(
        self,
        camera: str,
        session: Session,
        source: LiveSource | None,
        screen: Screen,
        preview: HttpPreviewSink,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.camera, self.session, self.source = camera, session, source
        self.screen, self.preview = screen, preview
        self.outputs: dict[str, str] = {}
        self._on_error = on_error
        self._before = (time.monotonic(), sum(os.times()[:2]))
        self._share = 0.0
        self._thread = threading.Thread(target=self._run, name="studio-session", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the session runs."""
        return self._thread.is_alive()

    @property
    def store(self) -> SettingsStore:
        """The settings in force."""
        return self.session.pipeline.store

    def cpu(self) -> float:
        """Cores in use by this process over the last moments."""
        now, spent = time.monotonic(), sum(os.times()[:2])
        before, spent_before = self._before
        if now - before >= 1.0:
            self._share = (spent - spent_before) / (now - before)
            self._before = (now, spent)
        return round(self._share, 2)

    def stop(self, within: float) -> None:
        """End the session and wait for it, at most so many seconds."""
        self.session.pipeline.stop()
        self._thread.join(within)

    def _run(self) -> None:
        try:
            self.session.pipeline.run()
        except BaseException as error:  # shown on the page
            self._on_error(error)


class StudioImages:
    """The JPEG images of whichever session runs, as the preview's routes want them.

    Parameters
    ----------
    current : callable
        The sink of the session that runs, if one does.
    """

    def __init__(self, current: Callable[[], HttpPreviewSink | None]) -> None:
        self._current = current
        self.closed = False
        self.waiting = 0

    @property
    def number(self) -> int:
        """Number of the newest image."""
        sink = self._current()
        return 0 if sink is None else sink.number

    def wait_newer(self, number: int, timeout: float) -> tuple[int, bytes]:
        """As :meth:`HttpPreviewSink.wait_newer`; without a session there is no image."""
        sink = self._current()
        if sink is None:
            time.sleep(min(timeout, 0.2))
            return number, b""
        self.waiting += 1
        try:
            return sink.wait_newer(min(number, sink.number), timeout)
        finally:
            self.waiting -= 1
