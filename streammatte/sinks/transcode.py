"""Audio and text in another codec, at the times they had."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.codec
import av.error

from streammatte.errors import UnsupportedOutputError

__all__ = ["AudioTranscoder", "SubtitleTranscoder"]

_BITS_A_CHANNEL = {"aac": 96_000, "libopus": 64_000}
"""Bits a second and channel: where each codec is transparent to most listeners (stereo 192 and 128 kbit/s)."""

_OPUS_RATE = 48_000
_AAC_RATES = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}

_FOLLOW_TIMES = {"async": "1", "min_hard_comp": "0.02"}
"""Holes of more than 20 ms in the audio become silence, so that what follows stays beside its image."""


class AudioTranscoder:
    """Decodes a stream's packets and encodes them again.

    Parameters
    ----------
    output : av.container.OutputContainer
        Not started yet.
    template : av.audio.AudioStream
        The input's stream.
    encoder : str
        ``'aac'``, ``'alac'`` or ``'libopus'``.

    Raises
    ------
    UnsupportedOutputError
        The build lacks the encoder.
    """

    def __init__(self, output: Any, template: Any, encoder: str) -> None:
        self._decoder = template.codec_context
        rate = self._decoder.sample_rate
        if encoder == "libopus" or (encoder == "aac" and rate not in _AAC_RATES):
            rate = _OPUS_RATE
        layouts = [self._decoder.layout.name, "stereo"]
        try:
            self.stream = output.add_stream(encoder, rate=rate)
        except (av.error.FFmpegError, ValueError) as error:
            raise UnsupportedOutputError(f"the audio cannot be encoded to {encoder} here; pass --no-audio") from error
        context = self.stream.codec_context
        context.layout = next(layout for layout in layouts if _opens(encoder, rate, layout))
        if encoder in _BITS_A_CHANNEL:
            context.bit_rate = _BITS_A_CHANNEL[encoder] * context.layout.nb_channels
        else:
            context.format = _lossless_format(encoder, self._decoder.format)
        context.time_base = Fraction(1, rate)
        self.stream.time_base = Fraction(1, rate)
        self._resampler: Any = None

    def write(self, packet: Any) -> list[Any]:
        """Packets of the new codec; fewer or more than came in."""
        if packet.size == 0:
            return []
        return self._encode(self._decoder.decode(packet))

    def drain(self) -> list[Any]:
        """What decoder, resampler and encoder still hold."""
        packets = self._encode(self._decoder.decode(None))
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                packets += self.stream.encode(piece)
        return packets + list(self.stream.encode(None))

    def _encode(self, frames: list[Any]) -> list[Any]:
        packets: list[Any] = []
        for frame in frames:
            if self._resampler is None:
                self._resampler = self._make_resampler()
            for piece in self._resampler.resample(frame):
                packets += self.stream.encode(piece)
        return packets

    def _make_resampler(self) -> Any:
        context = self.stream.codec_context
        return av.AudioResampler(
            context.format, context.layout, context.sample_rate, context.frame_size, options=_FOLLOW_TIMES
        )


def _lossless_format(encoder: str, given: Any) -> Any:
    """The encoder's sample format that keeps every bit of the given one."""
    formats = av.codec.Codec(encoder, "w").audio_formats or [given]
    return next((known for known in formats if known.bits >= given.bits), formats[-1])


def _opens(encoder: str, rate: int, layout: str) -> bool:
    codec = av.codec.Codec(encoder, "w")
    trial = codec.create("audio")
    trial.sample_rate = rate
    trial.layout = layout
    trial.format = (codec.audio_formats or [av.AudioFormat("s16")])[0]
    try:
        trial.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class SubtitleTranscoder:
    """Turns text subtitles into another text codec; times and durations stay.

    Parameters
    ----------
    output : av.container.OutputContainer
        Not started yet.
    template : av.subtitles.SubtitleStream
        The input's stream.
    encoder : str
        ``'mov_text'``, ``'subrip'`` or ``'webvtt'``.
    """

    def __init__(self, output: Any, template: Any, encoder: str) -> None:
        self._decoder = template.codec_context
        self._decoder.open(strict=False)
        self.stream = output.add_stream(encoder)
        self._encoder = self.stream.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = template.time_base
        self.stream.time_base = template.time_base

    def write(self, packet: Any) -> list[Any]:
        """The same text as a packet of the new codec."""
        if packet.size == 0 or packet.pts is None:
            return []
        decoded = self._decoder.decode2(packet)
        if decoded is None:
            return []
        text = self._encoder.encode_subtitle(decoded)
        text.time_base = packet.time_base
        text.pts = text.dts = packet.pts
        text.duration = packet.duration
        text.stream = self.stream
        return [text]

    def drain(self) -> list[Any]:
        """Nothing is held back."""
        return []
