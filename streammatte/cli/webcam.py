"""``streammatte webcam``: a live camera in, a camera with a new background out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.options.live import LiveOptions
from streammatte.options.presets import load_preset

if TYPE_CHECKING:
    from streammatte.web.live import LiveServers

__all__ = ["command"]


@click.command(short_help="Put a new background behind a live camera.")
@shared.declared_options(LiveOptions, "camera", "outputs", "http", "network", "sequence", "controls")
@shared.common()
def command(config: str | None, as_json: bool, **given: Any) -> int:
    """Put a new background behind a live camera and offer it as a camera to other programs.

    Never shows the room: where there is no matte, the placeholder frame is shown. Keys in the terminal and in the
    preview: b next background, e blur, s smoothing, f freeze, m mirror, h hold, q quit.

    \b
    streammatte webcam --bg beach.jpg
    streammatte webcam --bg beach.jpg --bg office.png --control 127.0.0.1:8091
    streammatte webcam --camera clip.mp4 --record out.mp4 --bg blur
    """
    shared.take_threads()
    given["backgrounds"] = given["backgrounds"] or None
    with _signals() as received:
        code, left_behind = _run(config, given, as_json, received)
    if left_behind or received.number:
        # Every sink is closed. A thread may hang in a driver or a compiler, and unloading the libraries takes half a
        # second on a busy machine; the process ends at once so that the camera is free.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
    return code


class _Signals:
    """The signals that arrived, and the session that they stop."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.stop: Any = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        first = self.number is None
        self.number = self.number or number
        if not first:
            os._exit(128 + number)
        if self.stop is None:
            raise KeyboardInterrupt
        self.stop()


@contextmanager
def _signals() -> Iterator[_Signals]:
    state = _Signals()
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, state.handle) for number in numbers}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(config: str | None, given: dict[str, Any], as_json: bool, received: _Signals) -> tuple[int, bool]:
    from streammatte.errors import StreammatteError
    from streammatte.live.build import build_live
    from streammatte.live.settings import apply_key
    from streammatte.live.terminal_keys import TerminalKeys

    show = _Show(as_json)
    session = None
    try:
        options = LiveOptions.build(load_preset(config) if config else None, **given)
        servers = _servers(options, show)
        with TerminalKeys() as keys:
            session = build_live(
                options,
                on_status=show,
                on_tick=lambda store: [apply_key(store, key) for key in keys.poll() if not show.explained(key)],
            )
            received.stop = session.pipeline.stop
            if show.line:
                show.keys()
            with ExitStack() as stack:
                for url in [] if servers is None else stack.enter_context(servers.serving(session)):
                    show.say(f"listening on {url}")
                session.pipeline.run()
    except KeyboardInterrupt:
        return 128 + (received.number or signal.SIGINT), False
    except StreammatteError as error:
        show.end()
        show.say(f"streammatte: {error}")
        code, left_behind = error.exit_code, False
        if session is not None:
            status = session.pipeline.status()
            if status.frames or as_json:
                show.last(status)
            left_behind = bool(session.pipeline.unfinished)
        return code, left_behind
    show.end()
    show.last(session.pipeline.status())
    return (128 + received.number if received.number else 0), bool(session.pipeline.unfinished)


def _servers(options: LiveOptions, show: _Show) -> LiveServers | None:
    """The requested servers; without one, aiohttp is not imported."""
    if not (options.control or options.preview_http):
        return None
    from streammatte.web.live import LiveServers

    servers = LiveServers(options)
    if servers.fingerprint:
        show.say(f"TLS certificate: SHA-256 {servers.fingerprint}")
    return servers


class _Show:
    """The status line, or JSON. A closed terminal is not an error."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.line = not as_json and sys.stderr.isatty()
        self._width = 0

    def __call__(self, status: Any) -> None:
        if self._as_json:
            self._write(sys.stdout, json.dumps(status.as_dict()) + "\n")
        elif self.line:
            text = str(status)[: max(1, shutil.get_terminal_size().columns - 1)]
            self._write(sys.stderr, "\r" + text.ljust(self._width))
            self._width = len(text)

    def explained(self, key: str) -> bool:
        """Show the keys where ``?`` was pressed; True where it was."""
        if key == "?":
            self.keys()
        return key == "?"

    def keys(self) -> None:
        """Which key does what."""
        from streammatte.live.settings import KEYS

        self.end()
        self.say("keys: " + ", ".join(f"{key} {meaning}" for key, meaning in KEYS.items()) + ", ? these lines")

    def end(self) -> None:
        """Leave the status line."""
        if self.line and self._width:
            self._write(sys.stderr, "\n")
            self._width = 0

    def last(self, status: Any) -> None:
        """The session's summary."""
        if self._as_json:
            self._write(sys.stdout, json.dumps({"done": True, **status.as_dict()}) + "\n")
            return
        late = status.latency_ms
        self.say(
            f"{status.frames} frames, {status.drops} drops, {status.held} placeholder frames, "
            f"latency {late['p50']:.0f} ms (p95 {late['p95']:.0f} ms)"
        )

    def say(self, text: str) -> None:
        """One line on standard error."""
        self._write(sys.stderr, text + "\n")

    @staticmethod
    def _write(file: Any, text: str) -> None:
        with suppress(OSError, ValueError):
            file.write(text)
            file.flush()
