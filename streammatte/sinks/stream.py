"""Sends a live session to a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import av.error

from streammatte.errors import SinkError, UnsupportedOutputError
from streammatte.frames import Frame, StreamInfo
from streammatte.media.capabilities import has_protocol
from streammatte.media.container import MISSING_PROTOCOL, shown_address
from streammatte.protocols import LiveSinkBase
from streammatte.sinks.live_muxer import LiveMuxer
from streammatte.sinks.stream_relay import RelayPipe
from streammatte.tracks import AudioFeed

__all__ = ["StreamSink"]

_log = logging.getLogger(__name__)

_MUXERS = {
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "srt": "mpegts",
    "udp": "mpegts",
    "tcp": "mpegts",
    "http": "mpegts",
    "https": "mpegts",
}
"""Container by the URL's scheme."""

_QUALITY = {"preset": "veryfast"}
BITS_A_PIXEL = 0.08
"""Of H.264 at constant bit rate for a talking head: 2.2 Mbit/s at 720p and 30 frames a second."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds until a broken connection is tried again; doubled with every failure."""


class StreamSink(LiveSinkBase):
    """Streams H.264 (and AAC) to a URL; a broken connection is opened again, frames meanwhile are lost to it alone.

    Parameters
    ----------
    url : str
        rtmp, rtmps, rtsp, srt (where FFmpeg has it), udp, tcp, http.
    feed : AudioFeed, optional
        Audio to go with it.
    timeout : float
        Seconds that the server may take.
    clock : callable
        As ``time.monotonic``.
    """

    continuous = False

    def __init__(
        self,
        url: str,
        *,
        feed: AudioFeed | None = None,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        scheme = url.partition("://")[0].lower()
        if scheme not in _MUXERS:
            raise UnsupportedOutputError(f"cannot stream to {scheme}: give a URL of {', '.join(_MUXERS)}")
        self._url = url
        self._shown_url = shown_address(url)
        self._kind = _MUXERS[scheme]
        self._feed = feed
        self._timeout = timeout
        self._clock = clock
        self._info: StreamInfo | None = None
        self._muxer: LiveMuxer | None = None
        self._pipe: RelayPipe | None = None
        self._wait = FIRST_WAIT
        self._retry_at = 0.0
        self._reached = False
        self._reason = ""
        self.lost = 0
        self.connects = 0

    def open(self, info: StreamInfo) -> None:
        """Remember the description; connecting waits for the first frame, since it may take a while."""
        scheme = self._url.partition("://")[0].lower()
        if not has_protocol(scheme):
            raise UnsupportedOutputError(
                f"cannot stream to {self._shown_url}: {MISSING_PROTOCOL} {scheme}; give rtmp or udp"
            )
        self._info = info

    def process(self, item: Frame) -> list[None]:
        """Send a frame, or lose it while there is no connection."""
        if self._info is None:
            raise SinkError(f"{self._shown_url} is not open")
        try:
            if self._muxer is None:
                if self._clock() < self._retry_at:
                    self.lost += 1
                    return []
                self._muxer = self._connect(self._info)
            self._muxer.write(item)
            self._wait = FIRST_WAIT
        except (av.error.FFmpegError, OSError) as error:
            self._on_failure(error)
        return []

    def drain(self) -> list[None]:
        """Flush the encoder and end the connection."""
        muxer, self._muxer = self._muxer, None
        if muxer is not None:
            with suppress(av.error.FFmpegError, OSError):
                muxer.close()
        if self._pipe is not None:
            self._pipe.finish()  # ``interrupt`` must still find it
            self._reached |= self._pipe.reached
            self._pipe = None
        if not self._reached and (self.connects or self.lost):
            why = f" ({self._reason})" if self._reason else ""
            raise SinkError(f"{self._shown_url} was never reached{why}; check the address and the network")
        return []

    def close(self) -> None:
        """Close the connection at once."""
        self._disconnect()

    def interrupt(self) -> None:
        """The session ends: do not wait for the server any longer. Safe from any thread."""
        pipe = self._pipe
        if pipe is not None:
            pipe.interrupt()

    def _disconnect(self) -> str:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.interrupt()
        muxer, self._muxer = self._muxer, None
        if muxer is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                muxer.drop()
        if pipe is None:
            return ""
        output = pipe.kill()
        self._reached |= pipe.reached
        return output

    def _connect(self, info: StreamInfo) -> LiveMuxer:
        rate = float(info.rate or 30)
        bits = round(info.width * info.height * rate * BITS_A_PIXEL)
        self._pipe = RelayPipe(self._url, self._kind, self._timeout)
        muxer = LiveMuxer(
            self._pipe,
            info,
            "matroska",
            {"flush_packets": "1", "cluster_time_limit": "0", "live": "1"},
            {**_QUALITY, "maxrate": str(bits), "bufsize": str(bits)},
            bit_rate=bits,
            feed=self._feed,
        )
        self.connects += 1
        _log.info("streaming to %s, %.1f Mbit/s", self._shown_url, bits / 1e6)
        return muxer

    def _on_failure(self, error: Exception) -> None:
        output = self._disconnect()
        self.lost += 1
        self._retry_at = self._clock() + self._wait
        self._reason = str(output or getattr(error, "strerror", None) or error)
        _log.warning("%s: %s; next attempt in %.0f s", self._shown_url, self._reason, self._wait)
        self._wait = min(2 * self._wait, LONGEST_WAIT)
