"""Sound and subtitles: their packets pass beside the pictures, re-encoded only where the container refuses them."""

from __future__ import annotations

import io
import logging
from typing import Any

import av
import av.error

from streammatte.frames import TrackFeed
from streammatte.sinks.formats import Container

__all__ = ["TrackWriter"]

_log = logging.getLogger(__name__)


class TrackWriter:
    """Writes the packets of a feed into an output.

    Parameters
    ----------
    output : av.container.OutputContainer
        Not started yet.
    feed : TrackFeed
    box : Container
    target : str
        For messages.
    """

    def __init__(self, output: Any, feed: TrackFeed, box: Container, target: str) -> None:
        self._output = output
        self._feed = feed
        self._ways: dict[int, Any] = {}
        for template in feed.streams:
            if _accepts(box.muxer, template):
                self._ways[template.index] = output.add_stream_from_template(template)
            else:
                _log.warning("%s: %s dropped", target, template.type)

    def write(self) -> None:
        """Write what has arrived."""
        for packet in self._feed.take():
            stream = self._ways.get(packet.stream_index)
            if stream is None or packet.dts is None:
                continue
            packet.stream = stream
            self._output.mux(packet)

    def drain(self) -> None:
        """Write the rest."""
        self.write()


def _accepts(muxer: str, template: Any) -> bool:
    """True where the muxer starts with such a stream; tried out, since tables of codecs leave out conditions."""
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(template)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
