"""Films: one encoder, one muxer, the other streams' packets beside them."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from streammatte.errors import ConfigError, SinkError, UnsupportedOutputError
from streammatte.frames import UNSPECIFIED, Frame, StreamInfo
from streammatte.sinks.atomic import AtomicFile, writing
from streammatte.sinks.door import Door, tags_of
from streammatte.sinks.encoders import EncoderChoice, choose_encoder, encoder_options
from streammatte.sinks.formats import CONTAINERS
from streammatte.sinks.tracks import TrackWriter

__all__ = ["FileSink"]

_log = logging.getLogger(__name__)

_LIMITED, _FULL = 1, 2  # AVColorRange
_FALLBACK_RATE = Fraction(25)
"""Frames a second where the source knows none: it only fills headers and the last frame's duration."""


class FileSink:
    """Writes a film; see :func:`streammatte.sinks.open_sink` for the parameters."""

    def __init__(
        self,
        target: Path,
        *,
        codec: str = "auto",
        crf: float | None = None,
        preset: str | None = None,
        bitrate: int | None = None,
        output_size: tuple[int, int] | None = None,
        tracks: bool = True,
        overwrite: bool = False,
        threads: int = 0,
    ) -> None:
        self._file = AtomicFile(target, overwrite)
        self._box = CONTAINERS[target.suffix.lower()]
        self._asked = (codec, crf, preset, bitrate)
        self._output_size = output_size
        self._with_tracks = tracks
        self._threads = threads
        self._output: Any = None
        self._video: Any = None
        self._tracks: TrackWriter | None = None
        self._door: Door | None = None
        self._rate = _FALLBACK_RATE
        self._drained = False

    @property
    def target(self) -> Path:
        """The name that the complete film gets."""
        return self._file.target

    def open(self, info: StreamInfo) -> None:
        """Refuse what cannot be held, then start the encoder and the file.

        Raises
        ------
        UnsupportedOutputError, OutputExistsError, DiskFullError, SinkError, ConfigError
        """
        codec, crf, preset, bitrate = self._asked
        name = choose_encoder(self._box, codec, info.has_alpha, str(self.target))
        choice = encoder_options(name, info.layout, info.has_alpha, crf, preset, bitrate)
        self._file.check()
        self._rate = info.rate if info.rate and info.rate > 0 else _FALLBACK_RATE
        try:
            self._output = av.open(str(self._file.path), "w", format=self._box.muxer, options=dict(self._box.options))
            self._output.metadata.update(info.metadata)
            self._add_video(choice, info)
            if self._with_tracks and info.tracks is not None:
                self._tracks = TrackWriter(self._output, info.tracks, self._box, str(self.target))
            self._open_encoder(choice)
            self._file.create()
            with writing(self.target):
                self._output.start_encoding()
        except BaseException:
            self.abort()
            raise

    def _add_video(self, choice: EncoderChoice, info: StreamInfo) -> None:
        width, height = self._output_size or (info.width, info.height)
        pad = False
        if choice.even and (width % 2 or height % 2):
            if self._output_size:
                raise ConfigError(f"output size {width}x{height}: {choice.name} needs even sides")
            pad = True
            _log.info("%s needs even sides: the last column or row of %dx%d is repeated", choice.name, width, height)
            width, height = width + width % 2, height + height % 2
        tags = tags_of(info.color, info.layout, choice.pix_fmt, limited_only=choice.name == "prores_ks")
        self._door = Door(width, height, choice.pix_fmt, tags, pad)
        stream = self._output.add_stream(
            choice.name,
            rate=self._rate,
            options=choice.options,
            width=width,
            height=height,
            time_base=info.time_base,
            bit_rate=choice.bit_rate,
        )
        context = stream.codec_context
        context.pix_fmt = choice.pix_fmt
        context.sample_aspect_ratio = (
            info.sample_aspect_ratio * Fraction(info.width, width) * Fraction(height, info.height)
            if self._output_size
            else info.sample_aspect_ratio
        )
        if tags.matrix != UNSPECIFIED:
            context.colorspace = tags.matrix
        context.color_primaries = tags.primaries
        context.color_trc = tags.transfer
        context.color_range = _FULL if tags.full_range else _LIMITED
        context.thread_count = self._threads
        context.thread_type = "FRAME"
        self._video = stream

    def _open_encoder(self, choice: EncoderChoice) -> None:
        try:
            self._video.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise SinkError(
                f"cannot write {self.target}: the encoder {choice.name} does not start ({error}); try --codec auto"
            ) from error

    def process(self, item: Frame) -> list[None]:
        """Encode one frame and write the sound that has arrived."""
        if self._door is None:
            raise SinkError(f"{self.target} is not open")
        picture = self._door.picture(item)
        picture.pts = item.pts
        picture.time_base = item.time_base
        picture.duration = item.duration or max(1, round(1 / (self._rate * item.time_base)))
        with writing(self.target):
            self._output.mux(self._video.encode(picture))
            if self._tracks:
                self._tracks.write()
        return []

    def drain(self) -> list[None]:
        """Flush the encoder, write the rest of the sound and the trailer."""
        if self._output is None or self._drained:
            return []
        self._drained = True
        with writing(self.target):
            self._output.mux(self._video.encode(None))
            if self._tracks:
                self._tracks.drain()
            self._output.close()
        return []

    def close(self) -> None:
        """Make the film appear under its name; before :meth:`drain` it is given up."""
        if not self._drained:
            self.abort()
            return
        self._output = self._video = None
        self._file.publish()

    def abort(self) -> None:
        """Remove what was written; does nothing after :meth:`close`."""
        output, self._output, self._video = self._output, None, None
        if output is not None:
            with suppress(av.error.FFmpegError, OSError):
                output.close()
        self._file.discard()
