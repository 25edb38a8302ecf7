"""Encoded packets to a server through a process of its own: ``python -m streammatte.sinks.stream_relay MUXER SECONDS``.

Connecting and handshakes of network protocols hold Python's global lock: a server that does not answer would stop every
thread of a live session. In a child it stops only that process, which the parent ends. The child reads the address (it
may hold a secret, so it is not an argument) as the first line of standard input, then Matroska, which it copies.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import av
import av.error

__all__ = ["RelayPipe", "relay"]

_LOOK = 0.1
"""Seconds between two looks at whether a blocked write is to be given up."""
_REACHED = "streammatte: reached"
"""What the child writes to standard error when the server has taken the first packet."""
_FINISH_TIMEOUT = 1.0
"""Seconds in which the relay may send what it holds when a session ends."""


class RelayPipe:
    """Starts ``streammatte.sinks.stream_relay`` and writes to it.

    Parameters
    ----------
    url, muxer : str
    timeout : float
        Seconds that a write may wait for the server.

    Attributes
    ----------
    reached : bool
        Whether the server took anything; known once the process has ended.
    """

    def __init__(self, url: str, muxer: str, timeout: float) -> None:
        command = [sys.executable, "-m", "streammatte.sinks.stream_relay", muxer, f"{timeout:g}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self._timeout = timeout
        self.reached = False
        self._stopped = threading.Event()
        if self._process.stdin is None:
            raise OSError(errno.EPIPE, "the relay has no input")
        self._input = self._process.stdin.fileno()
        if sys.platform != "win32":
            os.set_blocking(self._input, False)
        self.write(url.encode() + b"\n")

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
        """End the input and let the relay send what it holds, for a limited time."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        deadline = time.monotonic() + _FINISH_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline and not self._stopped.is_set():
            time.sleep(_LOOK / 4)
        self.kill()

    def kill(self) -> str:
        """End the process; returns the last line of its standard error."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        output = b""
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is None or pipe.closed:
                continue
            if pipe is self._process.stderr:
                output = pipe.read()
            with suppress(OSError):
                pipe.close()
        lines = output.decode("utf-8", "replace").strip().splitlines()
        self.reached = _REACHED in lines
        return lines[-1] if lines and lines[-1] != _REACHED else ""


_MUXER_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "flv": {"flvflags": "no_duration_filesize"}}
_EAGER = {"analyzeduration": "0", "fflags": "nobuffer", "probesize": "4096"}
"""The header is complete: nothing needs to be read ahead."""


def relay(source: Any, url: str, muxer: str, timeout: float, on_reached: Callable[[], object]) -> None:
    """Copy packets from a file object to a URL until the input ends. Raises what PyAV raises.

    Parameters
    ----------
    source : file object
        Matroska.
    url, muxer : str
    timeout : float
        Seconds.
    on_reached : callable
        Called once the server has taken the first packet.
    """
    with av.open(source, format="matroska", options=_EAGER) as given:
        options = _MUXER_OPTIONS.get(muxer, {})
        with av.open(url, "w", format=muxer, container_options=dict(options), timeout=(timeout, timeout)) as sent:
            streams = {stream.index: sent.add_stream_from_template(stream) for stream in given.streams}
            for number, packet in enumerate(packet for packet in given.demux() if packet.dts is not None):
                packet.stream = streams[packet.stream_index]
                sent.mux_one(packet)
                if number == 0:
                    on_reached()


def _main() -> int:
    """Relay standard input; an error is one line on standard error."""
    # The parent decides when the session ends; the terminal's signals reach both.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    muxer, timeout = sys.argv[1:]
    url = sys.stdin.buffer.readline().decode().rstrip("\n")
    try:
        relay(sys.stdin.buffer, url, muxer, float(timeout), lambda: print(_REACHED, file=sys.stderr, flush=True))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        sys.stderr.write(f"{getattr(error, 'strerror', None) or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
