"""Single keys from the terminal, without Enter."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from types import TracebackType
from typing import Any

__all__ = ["TerminalKeys"]


class TerminalKeys:
    """Context manager; ``poll`` gives the keys pressed since the last call. Without a terminal it gives none."""

    def __init__(self) -> None:
        self._before: Any = None
        self._handle: int | None = None

    def __enter__(self) -> TerminalKeys:
        if sys.platform == "win32" or not sys.stdin or not sys.stdin.isatty():
            return self
        import termios
        import tty

        handle = sys.stdin.fileno()
        with contextlib.suppress(OSError, termios.error):
            # A job in the background must not touch its terminal: the system would stop it.
            if os.tcgetpgrp(handle) != os.getpgrp():
                return self
            self._before = termios.tcgetattr(handle)
            tty.setcbreak(handle)
            self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is None or sys.platform == "win32":
            return
        import termios

        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._before)
        self._handle = None

    def poll(self) -> str:
        """Keys since the last call; a terminal that was closed gives none any more."""
        if sys.platform == "win32":
            return _windows_keys()
        if self._handle is None:
            return ""
        try:
            if not select.select([self._handle], [], [], 0)[0]:
                return ""
            typed = os.read(self._handle, 64)
        except OSError:
            typed = b""
        if not typed:
            self._handle = None
        return typed.decode("utf-8", "ignore")


def _windows_keys() -> str:
    if sys.platform != "win32" or not sys.stdin or not sys.stdin.isatty():
        return ""
    import msvcrt

    typed = ""
    while msvcrt.kbhit():
        typed += msvcrt.getwch()
    return typed
