"""Audio and subtitles: their packets pass beside the images, transcoded only where the container refuses them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import av
import av.error

from streammatte.errors import UnsupportedOutputError
from streammatte.media.container import reason
from streammatte.sinks.containers import Container
from streammatte.sinks.transcode import AudioTranscoder, SubtitleTranscoder
from streammatte.tracks import TrackFeed

__all__ = ["TrackWriter", "leave_out"]

_log = logging.getLogger(__name__)

_NAMES = {"aac": "AAC", "alac": "ALAC", "libopus": "Opus"}
_TEXT_SUBTITLES = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}


class _Route(Protocol):
    """How one stream's packets are written."""

    def write(self, packet: Any) -> list[Any]: ...

    def drain(self) -> list[Any]: ...


class _Copy:
    """Packets as they are. A decoding time that is not after the one before moves to just after it; none is lost but
    those that have no time at all.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last: int | None = None
        self.left_out = 0

    def write(self, packet: Any) -> list[Any]:
        if packet.size == 0:
            return []
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None:
            self.left_out += 1
            return []
        if self._last is not None and packet.dts <= self._last:
            packet.dts = self._last + 1
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
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
        Streams that the container takes are copied, others transcoded or left out; the log names them.
    box : Container
        What the output is.
    target : str
        Its name, for messages.
    audio_codec : str
        As ``EncodeOptions`` takes it.

    Raises
    ------
    UnsupportedOutputError
        The container does not take ``audio_codec``, where audio has to be transcoded.
    """

    def __init__(self, output: Any, feed: TrackFeed, box: Container, target: str, audio_codec: str = "auto") -> None:
        self._audio_codec = audio_codec
        self._output = output
        self._feed = feed
        self._target = target
        self._routes: dict[int, _Route] = {}
        self._refused: dict[int, int] = {}
        for template in feed.streams:
            route = self._choose(template, box)
            if route is not None:
                self._routes[template.index] = route

    def _choose(self, template: Any, box: Container) -> _Route | None:
        name = template.codec_context.name if template.codec_context is not None else "data"
        if name not in box.refused and _accepts(box.muxer, template):
            stream = self._output.add_stream_from_template(template)
            _describe(stream, template)
            return _Copy(stream)
        if template.type == "audio" and template.codec_context is not None:
            encoder = self._audio_encoder(box)
            _log.warning("%s cannot hold %s audio: it is transcoded to %s", self._target, name, _NAMES[encoder])
            audio = AudioTranscoder(self._output, template, encoder)
            _describe(audio.stream, template)
            return audio
        if template.type == "subtitle" and name in _TEXT_SUBTITLES:
            _log.warning("%s cannot hold %s subtitles: they are turned into %s", self._target, name, box.subtitles)
            text = SubtitleTranscoder(self._output, template, box.subtitles)
            _describe(text.stream, template)
            return text
        _log.warning("%s cannot hold the %s stream (%s): it is left out", self._target, template.type, name)
        return None

    def _audio_encoder(self, box: Container) -> str:
        if self._audio_codec == "auto":
            return box.audio[0]
        encoder = "libopus" if self._audio_codec == "opus" else self._audio_codec
        if encoder not in box.audio:
            usable = ", ".join(_NAMES[name] for name in box.audio)
            raise UnsupportedOutputError(f"{self._target} cannot hold {_NAMES[encoder]} audio; it can hold {usable}")
        return encoder

    def write(self, earlier: Fraction = Fraction(0)) -> None:
        """Write the packets that have arrived, moved ``earlier`` by so many seconds; a broken one is left out."""
        for packet in self._feed.take():
            index = packet.stream.index
            route = self._routes.get(index)
            if route is None:
                continue
            moved = round(earlier / packet.time_base) if earlier else 0
            if moved:
                packet.pts = None if packet.pts is None else packet.pts - moved
                packet.dts = None if packet.dts is None else packet.dts - moved
            self._mux(index, route.write, packet)

    def drain(self, earlier: Fraction = Fraction(0)) -> None:
        """Write the rest and what the encoders still hold."""
        self.write(earlier)
        for index, route in self._routes.items():
            self._mux(index, route.drain)
            if isinstance(route, _Copy) and route.left_out:
                _log.warning("%s: %d packets of stream %d had no usable time", self._target, route.left_out, index)

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
            _log.warning("%s: a broken packet of stream %d is left out (%s)", self._target, index, reason(error))
        self._refused[index] = self._refused.get(index, 0) + 1


def leave_out(feed: TrackFeed | None, target: str) -> None:
    """Discard the other streams, which a kind of output cannot hold, and log that once."""
    if feed is not None:
        feed.close()
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
