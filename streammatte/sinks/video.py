"""Videos: one encoder, one muxer, the other streams' packets beside them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec.context
import av.error
from av.codec.hwaccel import HWAccel

from streammatte.errors import ConfigError, DiskFullError, SinkError, UnsupportedOutputError
from streammatte.frames import Frame, Layout, StreamInfo
from streammatte.media.container import local_address
from streammatte.media.convert import FrameConverter, tags_of
from streammatte.sinks.atomic import AtomicFile, PublishingSink, with_kept, writing
from streammatte.sinks.containers import CONTAINERS
from streammatte.sinks.encoder_options import EncodeOptions
from streammatte.sinks.encoders import EncoderChoice, choose_encoder, encoder_options
from streammatte.sinks.tracks import TrackWriter

__all__ = ["FileSink"]

_log = logging.getLogger(__name__)

_LIMITED, _FULL = 1, 2  # AVColorRange
_FALLBACK_RATE = Fraction(25)
"""Frames a second where the source has none: it only fills headers and the last frame's duration."""

_NO_ASPECT = {"matroska", "webm"}
"""Muxers that PyAV gives no pixel aspect: there it must be in the encoded images themselves."""

_APPLE_HEVC = "hvc1"
"""The name under which Apple's players take HEVC; FFmpeg's own choice, hev1, they refuse."""

_QUICKTIME = ("mp4", "mov")

_LEAD = Fraction(1, 10)
"""Seconds by which the first frame may be later than 0 and still begin an MP4 at 0, all tracks moved alike: what
encoders and other containers add. An empty edit there is a black first frame in QuickTime and Safari."""

_X265_DELAY = 2
"""Frames up to which x265 returns packets whose decoding times it never set; none of them is reordered."""

_QUIET_SVT = ("SVT_LOG", "1")
"""SVT-AV1 writes to standard error by itself unless its own variable limits it to errors."""

_INTERLEAVE_US = "1000000"
"""How far, in microseconds, the muxer lets images run ahead while it waits for audio: what it holds stays bounded
where audio begins late, ends early or is sparse. FFmpeg's own ten seconds are 100 MB of ProRes."""


class FileSink(PublishingSink):
    """Writes a video; see :func:`streammatte.sinks.open_sink` for the parameters."""

    def __init__(self, target: Path, options: EncodeOptions) -> None:
        self._file: AtomicFile = AtomicFile(target, options.overwrite)
        self._container = CONTAINERS[target.suffix.lower()]
        self._options = options
        self._output: Any = None
        self._video: Any = None
        self._tracks: TrackWriter | None = None
        self._converter: FrameConverter | None = None
        self._rate = _FALLBACK_RATE
        self._last_pts: int | None = None
        self._lead = Fraction(0)
        self._timecode: str | None = None
        self._frames = 0
        self._warned = False

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
        options, target = self._options, str(self.target)
        name = choose_encoder(
            self._container, options.codec, info.has_alpha, target, info.layout, hwaccel=options.hwaccel
        )
        choice = encoder_options(name, info.layout, options, info.has_alpha)
        self._file.check()
        if self._file.direct and self.target.is_fifo() and self._container.muxer in _QUICKTIME:
            raise UnsupportedOutputError(
                f"{self.target} is a pipe, and {self.target.suffix} needs a file; give the pipe a name in .mkv or .webm"
            )
        self._rate = info.rate if info.rate and info.rate > 0 else _FALLBACK_RATE
        try:
            self._output = self._open_output()
            self._describe(info)
            if choice.name == "libsvtav1":
                os.environ.setdefault(*_QUIET_SVT)
            with self._starting(choice):
                self._add_video(choice, info)
                self._video.codec_context.open()
            self._add_tracks(info)
            self._file.create()
            with writing(self.target):
                self._output.start_encoding()
        except BaseException:
            self.abort()
            raise

    def _open_output(self) -> Any:
        options = dict(self._container.options) | {"max_interleave_delta": _INTERLEAVE_US}
        address, muxer = local_address(self._file.path), self._container.muxer
        return av.open(address, "w", format=muxer, container_options=options)

    def _describe(self, info: StreamInfo) -> None:
        """Metadata and chapters."""
        kept = dict(info.metadata) if self._options.metadata else {}
        self._timecode = kept.pop("timecode", None)
        if self._timecode and self._container.muxer == "matroska":
            kept["timecode"] = self._timecode
        self._output.metadata.update(kept)
        if self._options.tracks and info.tracks is not None and info.tracks.chapters:
            self._output.set_chapters(info.tracks.chapters)

    def _add_tracks(self, info: StreamInfo) -> None:
        if info.tracks is None:
            return
        if not self._options.tracks:
            info.tracks.close()
            return
        name, codec = str(self.target), self._options.audio_codec
        self._tracks = TrackWriter(self._output, info.tracks, self._container, name, codec)

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
        context.thread_count = self._options.threads
        # PyAV's default is slice threads, with which x264 writes larger files.
        context.thread_type = "FRAME"
        context.flags |= av.codec.context.Flags.frame_duration
        if context.codec.canonical_name == "hevc" and self._container.muxer in _QUICKTIME:
            context.codec_tag = _APPLE_HEVC
        if self._timecode and self._container.muxer in _QUICKTIME:
            stream.metadata["timecode"] = self._timecode  # the muxer makes a timecode track of it
        self._video = stream

    def _shape(self, choice: EncoderChoice, info: StreamInfo) -> tuple[int, int, Fraction, bool]:
        """Width, height and pixel aspect of the encoded image, and whether it is padded to even sides."""
        width, height = self._options.output_size or (info.width, info.height)
        aspect = info.sample_aspect_ratio * Fraction(info.width, width) / Fraction(info.height, height)
        aspect = aspect if self._options.output_size else info.sample_aspect_ratio
        if aspect != 1 and self._container.muxer in _NO_ASPECT and not choice.carries_aspect:
            text = f"{self.target} cannot store the pixel aspect ratio {aspect}:"
            if choice.lossless:
                _log.warning("%s the pixels are kept and shown square", text)
                return width, height, aspect, False
            wide, high = square_pixels(width, height, aspect)
            _log.info("%s %dx%d becomes %dx%d", text, width, height, wide, high)
            return wide, high, Fraction(1), False
        if not choice.even or not (width % 2 or height % 2):
            return width, height, aspect, False
        if self._options.output_size:
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
        if not self._frames:
            self._lead = self._lead_of(item.pts * item.time_base)
        self._frames += 1
        image.pts = self._later(item.pts - round(self._lead / item.time_base))
        image.time_base = item.time_base
        image.duration = item.duration or max(1, round(1 / (self._rate * item.time_base)))
        with writing(self.target):
            self._mux(self._video.encode(image))
            if self._tracks:
                self._tracks.write(self._lead)
        return []

    def _lead_of(self, first: Fraction) -> Fraction:
        """Seconds by which all tracks are moved earlier, where the first frame is shown at ``first``."""
        return first if self._container.muxer in _QUICKTIME and 0 < first <= _LEAD else Fraction(0)

    def _mux(self, packets: list[Any]) -> None:
        self._output.mux(packets)

    def _later(self, pts: int) -> int:
        """The time, moved by as little as makes it later than the one before: encoders take no other."""
        if self._last_pts is not None and pts <= self._last_pts:
            if not self._warned:
                _log.warning("%s: a frame's time was not after the one before; it is moved", self.target)
                self._warned = True
            pts = self._last_pts + 1
        self._last_pts = pts
        return pts

    def drain(self) -> list[None]:
        """Flush the encoder, write the rest of the audio and the trailer."""
        if self._output is None or self._drained:
            return []
        try:
            with writing(self.target):
                self._mux(self._last_packets())
                if self._tracks:
                    self._tracks.drain(self._lead)
                self._finish()
        except DiskFullError:
            raise
        except SinkError as error:
            raise with_kept(error, [self._file]) from error.__cause__
        self._output = self._video = self._tracks = None
        return super().drain()

    def _finish(self) -> None:
        self._output.close()

    def _last_packets(self) -> list[Any]:
        packets = list(self._video.encode(None))
        if self._video.codec_context.name == "libx265" and self._frames <= _X265_DELAY:
            for packet in packets:
                packet.dts = packet.pts
        return packets

    def abort(self) -> None:
        """Remove what was written; does nothing after :meth:`close`."""
        output, self._output, self._video, self._tracks = self._output, None, None, None
        if output is not None:
            # Unlink first where the system allows it: closing may move the index through the whole file.
            if self._file.created:
                with suppress(OSError):
                    self._file.path.unlink()
            with suppress(av.error.FFmpegError, OSError, ValueError):
                output.close()
        super().abort()


def square_pixels(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The even size with square pixels that shows an image without losing detail: one side grows, none shrinks.

    Parameters
    ----------
    width, height : int
        Samples.
    aspect : Fraction
        Width by height of one sample.
    """
    if aspect > 1:
        width = round(width * aspect)
    else:
        height = round(height / aspect)
    return width + width % 2, height + height % 2
