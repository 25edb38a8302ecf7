"""Sends encoded packets to a server, as a process of its own: ``python -m streammatte.sinks.relay URL MUXER SECONDS``.

Connecting and handshakes of network protocols keep Python's global lock: a server that does not answer would stop every
thread of a live session. Here it stops only this process, which its parent ends. Standard input is Matroska, copied.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import av
import av.error

__all__ = ["relay"]

_MUXER_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "flv": {"flvflags": "no_duration_filesize"}}
_EAGER = {"analyzeduration": "0", "fflags": "nobuffer", "probesize": "4096"}
"""The header says everything: nothing needs to be read ahead."""


def relay(source: Any, url: str, muxer: str, timeout: float) -> None:
    """Copy packets from a file object to a URL until the input ends. Raises what PyAV raises."""
    with av.open(source, format="matroska", options=_EAGER) as given:
        options = _MUXER_OPTIONS.get(muxer, {})
        with av.open(url, "w", format=muxer, container_options=dict(options), timeout=(timeout, timeout)) as sent:
            streams = {stream.index: sent.add_stream_from_template(stream) for stream in given.streams}
            for packet in given.demux():
                if packet.dts is None:
                    continue
                packet.stream = streams[packet.stream_index]
                sent.mux_one(packet)


def main() -> int:
    """Relay standard input; an error is one line on standard error."""
    # The parent decides when the session ends; the terminal's signals reach both.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    url, muxer, timeout = sys.argv[1:]
    try:
        relay(sys.stdin.buffer, url, muxer, float(timeout))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        sys.stderr.write(f"{getattr(error, 'strerror', None) or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
