"""Y4M on standard output: raw planes after a header line, for another program to read.

Written here, since PyAV gives FFmpeg's own muxer no pixel aspect.
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from streammatte.errors import SinkError, UnsupportedOutputError
from streammatte.frames import ColorSpec, Frame, Layout, StreamInfo
from streammatte.media.convert import FrameConverter, tags_of
from streammatte.sinks.atomic import writing
from streammatte.sinks.containers import containers_with_alpha
from streammatte.sinks.tracks import leave_out

__all__ = ["Y4MSink"]

_NAME = "standard output"
_CHROMA = {"yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "gray": "mono"}
"""Chroma lies at the left, where H.264 and MPEG-2 have it."""


class Y4MSink:
    """Writes Y4M to standard output, or to a binary stream that is given.

    Y4M has one rate and no times: frames follow each other at the stream's average rate.

    Parameters
    ----------
    output_size : (int, int), optional
        Width and height.
    stream : binary file, optional
        Where to write; not closed. Default: the process's standard output.
    """

    def __init__(self, *, output_size: tuple[int, int] | None = None, stream: BinaryIO | None = None) -> None:
        self._output_size = output_size
        self._given = stream
        self._stream: Any = None
        self._converter: FrameConverter | None = None

    def open(self, info: StreamInfo) -> None:
        """Write the header.

        Raises
        ------
        UnsupportedOutputError
            Frames with alpha.
        SinkError
            Standard output is a terminal, or its pipe is closed.
        """
        if info.has_alpha:
            raise UnsupportedOutputError(f"Y4M holds no alpha; these can: {', '.join(containers_with_alpha())}")
        if self._given is None and sys.__stdout__ is not None and sys.__stdout__.isatty():
            raise SinkError("frames would be written to a terminal: redirect standard output to a file or a program")
        leave_out(info.tracks, _NAME)
        width, height = self._output_size or (info.width, info.height)
        pix_fmt = "yuv444p" if info.layout is Layout.RGB else info.layout.value
        tags = ColorSpec(full_range=True) if pix_fmt == "gray" else tags_of(info.color, info.layout, pix_fmt)
        self._converter = FrameConverter(width, height, pix_fmt, tags)
        # A descriptor of our own: a closed pipe never reaches the interpreter's own standard output.
        self._stream = self._given or os.fdopen(os.dup(1), "wb")
        rate = info.rate or Fraction(25)
        aspect = info.sample_aspect_ratio
        if self._output_size:
            aspect *= Fraction(info.width, width) / Fraction(info.height, height)
        header = (
            f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip "
            f"A{aspect.numerator}:{aspect.denominator} C{_CHROMA[pix_fmt]} "
            f"XCOLORRANGE={'FULL' if tags.full_range else 'LIMITED'}\n"
        )
        self._write([header.encode()])

    def process(self, item: Frame) -> list[None]:
        """Write one frame."""
        if self._converter is None:
            raise SinkError("the sink is not open")
        image = self._converter.convert(item)
        parts: list[Any] = [b"FRAME\n"]
        for plane in image.planes:
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            parts.append(np.ascontiguousarray(rows[:, : plane.width]))
        self._write(parts)
        return []

    def _write(self, parts: list[Any]) -> None:
        try:
            with writing(_NAME):
                for part in parts:
                    self._stream.write(part)
        except SinkError as error:
            raise self._gone(error) from error.__cause__

    def _gone(self, error: SinkError) -> SinkError:
        if isinstance(error.__cause__, BrokenPipeError):
            return SinkError("the program that reads standard output has ended: nothing more can be written")
        return error

    def drain(self) -> list[None]:
        """Flush the buffer."""
        if self._stream is not None:
            try:
                with writing(_NAME):
                    self._stream.flush()
            except SinkError as error:
                raise self._gone(error) from error.__cause__
        return []

    def close(self) -> None:
        """Release standard output."""
        stream, self._stream = self._stream, None
        if stream is None or stream is self._given:
            return
        try:
            stream.close()
        except BrokenPipeError as error:
            raise self._gone(SinkError(str(error))) from error

    def abort(self) -> None:
        """Release standard output; what was written cannot be removed."""
        stream, self._stream = self._stream, None
        if stream is not None and stream is not self._given:
            try:
                stream.close()
            except OSError:
                return  # the pipe is already closed
