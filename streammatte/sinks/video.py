"""Videos: one encoder, one muxer, the other streams' packets beside them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec.context
import av.error
from av.codec.hwaccel import HWAccel

from streammatte.errors import ConfigError, SinkError
from streammatte.frames import Frame, Layout, StreamInfo
from streammatte.media.convert import FrameConverter, tags_of
from streammatte.sinks.atomic import AtomicFile, writing
from streammatte.sinks.containers import CONTAINERS
from streammatte.sinks.encoder_options import Asked
from streammatte.sinks.encoders import EncoderChoice, choose_encoder, encoder_options
from streammatte.sinks.tracks import TrackWriter

__all__ = ["FileSink"]

_log = logging.getLogger(__name__)

_LIMITED, _FULL = 1, 2  # AVColorRange
_FALLBACK_RATE = Fraction(25)
"""Frames a second where the source knows none: it only fills headers and the last frame's duration."""

_NO_ASPECT = {"matroska", "webm"}
"""Muxers that PyAV gives no pixel aspect: there it must be in the encoded images themselves."""

_APPLE_HEVC = "hvc1"
"""The name under which Apple's players take HEVC; FFmpeg's own choice, hev1, they refuse."""

_OF_THE_INPUT_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "alpha_mode"}
"""Metadata that describe the input's container or encoding; in an output they would be wrong."""

_X265_DELAY = 2
"""Of videos no longer than its delay, x265 gives decoding times that it never set; none is reordered."""

_QUIET_SVT = ("SVT_LOG", "1")
"""SVT-AV1 writes to standard error by itself unless its own variable says: errors only."""

_INTERLEAVE_US = "1000000"
"""How far, in microseconds, the muxer lets images run ahead while it waits for audio: what it holds stays bounded
where audio begins late, ends early or is sparse. FFmpeg's own ten seconds are 100 MB of ProRes."""


class FileSink:
    """Writes a video; see :func:`streammatte.sinks.open_sink` for the parameters."""

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
        self._codec = codec
        self._asked = Asked(crf, preset, bitrate)
        self._output_size = output_size
        self._with_tracks = tracks
        self._threads = threads
        self._output: Any = None
        self._video: Any = None
        self._tracks: TrackWriter | None = None
        self._converter: FrameConverter | None = None
        self._rate = _FALLBACK_RATE
        self._last_pts: int | None = None
        self._frames = 0
        self._told = False
        self._drained = False

    @property
    def target(self) -> Path:
        """The name that the complete video gets."""
        return self._file.target

    def open(self, info: StreamInfo) -> None:
        """Refuse what cannot be held, then start the encoder and the file.

        Raises
        ------
        UnsupportedOutputError, OutputExistsError, DiskFullError, SinkError, ConfigError
        """
        name = choose_encoder(self._box, self._codec, info.has_alpha, str(self.target), info.layout)
        choice = encoder_options(name, info.layout, replace(self._asked, alpha=info.has_alpha))
        self._file.check()
        self._rate = info.rate if info.rate and info.rate > 0 else _FALLBACK_RATE
        try:
            options = dict(self._box.options) | {"max_interleave_delta": _INTERLEAVE_US}
            self._output = av.open(str(self._file.path), "w", format=self._box.muxer, container_options=options)
            kept = {key: value for key, value in info.metadata.items() if key.lower() not in _OF_THE_INPUT_FILE}
            self._output.metadata.update(kept)
            if choice.name == "libsvtav1":
                os.environ.setdefault(*_QUIET_SVT)
            with self._starting(choice):
                self._add_video(choice, info)
                self._video.codec_context.open()
            if self._with_tracks and info.tracks is not None:
                self._tracks = TrackWriter(self._output, info.tracks, self._box, str(self.target))
            self._file.create()
            with writing(self.target):
                self._output.start_encoding()
        except BaseException:
            self.abort()
            raise

    def _add_video(self, choice: EncoderChoice, info: StreamInfo) -> None:
        width, height, aspect, pad = self._shape(choice, info)
        tags = tags_of(info.color, info.layout, choice.pix_fmt, limited_only=choice.name == "prores_ks")
        self._converter = FrameConverter(width, height, choice.pix_fmt, tags, pad)
        if info.layout in (Layout.YUV422, Layout.YUV444) and "420" in choice.pix_fmt:
            _log.info("%s: chroma becomes 4:2:0, as players expect (ffv1 and prores_ks keep it)", self.target)
        stream = self._output.add_stream(
            choice.name,
            rate=self._rate,
            options=choice.options,
            width=width,
            height=height,
            time_base=info.time_base,
            bit_rate=choice.bit_rate,
            hwaccel=HWAccel("vaapi") if choice.name.endswith("_vaapi") else None,
        )
        context = stream.codec_context
        context.pix_fmt = choice.pix_fmt
        context.sample_aspect_ratio = aspect
        context.colorspace = tags.matrix
        context.color_primaries = tags.primaries
        context.color_trc = tags.transfer
        context.color_range = _FULL if tags.full_range else _LIMITED
        context.thread_count = self._threads
        # PyAV's default is threads within an image, which x264 pays for with larger files.
        context.thread_type = "FRAME"
        context.flags |= av.codec.context.Flags.frame_duration
        if context.codec.canonical_name == "hevc" and self._box.muxer in ("mp4", "mov"):
            context.codec_tag = _APPLE_HEVC
        self._video = stream

    def _shape(self, choice: EncoderChoice, info: StreamInfo) -> tuple[int, int, Fraction, bool]:
        """Width, height and pixel aspect of the encoded image, and whether it is padded to even sides."""
        width, height = self._output_size or (info.width, info.height)
        aspect = info.sample_aspect_ratio * Fraction(info.width, width) / Fraction(info.height, height)
        aspect = aspect if self._output_size else info.sample_aspect_ratio
        if aspect != 1 and self._box.muxer in _NO_ASPECT and not choice.carries_aspect:
            told = f"{self.target} cannot say that its pixels are {aspect} wide:"
            if choice.lossless:
                _log.warning("%s they are kept and shown square", told)
                return width, height, aspect, False
            wide, high = square_pixels(width, height, aspect)
            _log.info("%s %dx%d becomes %dx%d", told, width, height, wide, high)
            return wide, high, Fraction(1), False
        if not choice.even or not (width % 2 or height % 2):
            return width, height, aspect, False
        if self._output_size:
            raise ConfigError(f"output size {width}x{height}: {choice.name} needs even sides")
        _log.info("%s needs even sides: the last column or row of %dx%d is repeated", choice.name, width, height)
        return width + width % 2, height + height % 2, aspect, True

    @contextmanager
    def _starting(self, choice: EncoderChoice) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(
                f"cannot write {self.target}: the encoder {choice.name} does not start ({reason}); try --codec auto"
            ) from error

    def process(self, item: Frame) -> list[None]:
        """Encode one frame and write the audio that has arrived."""
        if self._converter is None or self._output is None:
            raise SinkError(f"{self.target} is not open")
        image = self._converter.convert(item)
        self._frames += 1
        image.pts = self._later(item.pts)
        image.time_base = item.time_base
        image.duration = item.duration or max(1, round(1 / (self._rate * item.time_base)))
        with writing(self.target):
            self._output.mux(self._video.encode(image))
            if self._tracks:
                self._tracks.write()
        return []

    def _later(self, pts: int) -> int:
        """The time, moved by as little as makes it later than the one before: encoders take no other."""
        if self._last_pts is not None and pts <= self._last_pts:
            if not self._told:
                _log.warning("%s: a frame's time was not after the one before; it is moved", self.target)
                self._told = True
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts

    def drain(self) -> list[None]:
        """Flush the encoder, write the rest of the audio and the trailer."""
        if self._output is None or self._drained:
            return []
        with writing(self.target):
            self._output.mux(self._last_packets())
            if self._tracks:
                self._tracks.drain()
            self._output.close()
        self._drained = True
        return []

    def _last_packets(self) -> list[Any]:
        packets = list(self._video.encode(None))
        if self._video.codec_context.name == "libx265" and self._frames <= _X265_DELAY:
            for packet in packets:
                packet.dts = packet.pts
        return packets

    def close(self) -> None:
        """Make the video appear under its name; before :meth:`drain` it is given up."""
        if not self._drained:
            self.abort()
            return
        self._output = self._video = self._tracks = None
        self._file.publish()

    def abort(self) -> None:
        """Remove what was written; does nothing after :meth:`close`."""
        output, self._output, self._video, self._tracks = self._output, None, None, None
        if output is not None:
            # Unlink first where the system allows it: closing may move the index through the whole file.
            with suppress(OSError):
                self._file.path.unlink()
            with suppress(av.error.FFmpegError, OSError, ValueError):
                output.close()
        self._file.discard()


def square_pixels(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The even size with square pixels that shows an image without losing detail: one side grows, none shrinks."""
    if aspect > 1:
        width = round(width * aspect)
    else:
        height = round(height / aspect)
    return width + width % 2, height + height % 2
