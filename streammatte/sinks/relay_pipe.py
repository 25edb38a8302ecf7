"""The relay's process as a file that a muxer writes to."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress

__all__ = ["RelayPipe"]

_LOOK = 0.1
"""Seconds between two looks at whether a blocked write is to be given up."""
_GOODBYE = 1.0
"""Seconds that the relay gets to send what it has when a session ends."""


class RelayPipe:
    """Starts ``streammatte.sinks.relay`` and writes to it.

    Parameters
    ----------
    url, muxer : str
    timeout : float
        Seconds that a write may wait for the server.
    """

    def __init__(self, url: str, muxer: str, timeout: float) -> None:
        command = [sys.executable, "-m", "streammatte.sinks.relay", url, muxer, f"{timeout:g}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self._timeout = timeout
        self._stopped = threading.Event()
        if self._process.stdin is None:
            raise OSError(errno.EPIPE, "the relay has no input")
        self._input = self._process.stdin.fileno()
        if sys.platform != "win32":
            os.set_blocking(self._input, False)

    def write(self, data: bytes) -> int:
        """Write everything, or raise OSError: the relay ended, was stopped, or took nothing for too long."""
        rest = memoryview(data)
        began = time.monotonic()
        while rest:
            try:
                count = os.write(self._input, rest)
            except BlockingIOError:
                count = 0
            if count:
                rest, began = rest[count:], time.monotonic()
                continue
            if self._stopped.is_set():
                raise OSError(errno.EPIPE, "the session ends")
            if time.monotonic() - began > self._timeout:
                raise OSError(errno.ETIMEDOUT, f"the server takes nothing for {self._timeout:g} s")
            select.select([], [self._input], [], _LOOK)
        return len(data)

    def interrupt(self) -> None:
        """Let a blocked write fail soon; safe from any thread."""
        self._stopped.set()

    def finish(self) -> None:
        """End the input and give the relay a moment to send what it has."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        deadline = time.monotonic() + _GOODBYE
        while self._process.poll() is None and time.monotonic() < deadline and not self._stopped.is_set():
            time.sleep(_LOOK / 4)
        self.kill()

    def kill(self) -> str:
        """End the process; gives what it said last."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        said = b""
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is None or pipe.closed:
                continue
            if pipe is self._process.stderr:
                said = pipe.read()
            with suppress(OSError):
                pipe.close()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
