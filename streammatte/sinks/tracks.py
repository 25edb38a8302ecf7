"""Audio and subtitles: their packets pass beside the images, re-encoded only where the container refuses them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any, Protocol

import av
import av.error

from streammatte.sinks.containers import Container
from streammatte.sinks.transcode import AudioRecoder, SubtitleRecoder
from streammatte.tracks import TrackFeed

__all__ = ["TrackWriter", "leave_out"]

_log = logging.getLogger(__name__)

_TEXT_SUBTITLES = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}


class _Way(Protocol):
    """What becomes of one stream's packets."""

    def write(self, packet: Any) -> list[Any]: ...

    def drain(self) -> list[Any]: ...


class _Copy:
    """Packets as they are, times untouched; those that no container takes (no time, or going back) are left out."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last: int | None = None
        self.left_out = 0

    def write(self, packet: Any) -> list[Any]:
        if packet.size == 0:
            return []
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None or (self._last is not None and packet.dts < self._last):
            self.left_out += 1
            return []
        self._last = packet.dts
        packet.stream = self._stream
        return [packet]

    def drain(self) -> list[Any]:
        return []


class TrackWriter:
    """Writes the packets of a feed into an output.

    Parameters
    ----------
    output : av.container.OutputContainer
        Not started yet; its image's stream is there already.
    feed : TrackFeed
        Streams that the container takes are copied, others re-encoded or left out, and the log says which.
    box : Container
        What the output is.
    target : str
        Its name, for messages.
    """

    def __init__(self, output: Any, feed: TrackFeed, box: Container, target: str) -> None:
        self._output = output
        self._feed = feed
        self._target = target
        self._ways: dict[int, _Way] = {}
        self._refused: dict[int, int] = {}
        for template in feed.streams:
            way = self._choose(template, box)
            if way is not None:
                self._ways[template.index] = way

    def _choose(self, template: Any, box: Container) -> _Way | None:
        name = template.codec_context.name if template.codec_context is not None else "data"
        if _accepts(box.muxer, template):
            stream = self._output.add_stream_from_template(template)
            _describe(stream, template)
            return _Copy(stream)
        if template.type == "audio" and template.codec_context is not None:
            _log.warning(
                "%s cannot hold %s audio: it is re-encoded to %s",
                self._target,
                name,
                "Opus" if box.audio == "libopus" else "AAC",
            )
            audio = AudioRecoder(self._output, template, box.audio)
            _describe(audio.stream, template)
            return audio
        if template.type == "subtitle" and name in _TEXT_SUBTITLES:
            _log.warning("%s cannot hold %s subtitles: they are turned into %s", self._target, name, box.subtitles)
            text = SubtitleRecoder(self._output, template, box.subtitles)
            _describe(text.stream, template)
            return text
        _log.warning("%s cannot hold the %s stream (%s): it is left out", self._target, template.type, name)
        return None

    def write(self) -> None:
        """Write the packets that have arrived; a broken one is left out and does not stop the video."""
        for packet in self._feed.take():
            index = packet.stream_index
            way = self._ways.get(index)
            if way is None:
                continue
            self._mux(index, way.write, packet)

    def drain(self) -> None:
        """Write the rest and what the encoders still hold."""
        self.write()
        for index, way in self._ways.items():
            self._mux(index, way.drain)
            if isinstance(way, _Copy) and way.left_out:
                _log.warning("%s: %d packets of stream %d had no usable time", self._target, way.left_out, index)

    def _mux(self, index: int, make: Callable[..., list[Any]], *packet: Any) -> None:
        try:
            packets = make(*packet)
        except (av.error.FFmpegError, ValueError) as error:  # nothing is written yet: only the packet is at fault
            self._leave_out(index, error)
            return
        try:
            self._output.mux(packets)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            self._leave_out(index, error)

    def _leave_out(self, index: int, error: Exception) -> None:
        if index not in self._refused:
            _log.warning("%s: a broken packet of stream %d is left out (%s)", self._target, index, error)
        self._refused[index] = self._refused.get(index, 0) + 1


def leave_out(feed: TrackFeed | None, target: str) -> None:
    """Say once that a kind of output holds no other streams."""
    if feed is not None and feed.streams:
        kinds = sorted({stream.type for stream in feed.streams})
        _log.info("%s holds images only: %s left out", target, " and ".join(kinds))


def _describe(stream: Any, template: Any) -> None:
    """Language, title and so on, and which track is the default one."""
    stream.metadata.update({key: value for key, value in template.metadata.items() if key in ("language", "title")})
    stream.disposition = template.disposition


def _accepts(muxer: str, template: Any) -> bool:
    """True where the muxer starts with such a stream; tried out, since tables of codecs leave out conditions."""
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(template)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
