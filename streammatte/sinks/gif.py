"""GIF: each image with a palette of its own, so that memory stays bounded and colours are accurate."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.filter

from streammatte.errors import SinkError, UnsupportedOutputError
from streammatte.frames import ColorSpec, Frame, StreamInfo
from streammatte.media.container import local_address
from streammatte.media.convert import FrameConverter
from streammatte.sinks.atomic import AtomicFile, PublishingSink, writing
from streammatte.sinks.tracks import leave_out

__all__ = ["GifSink"]

_log = logging.getLogger(__name__)

_TICK = Fraction(1, 100)
_SHORTEST = 2
"""Ticks an image is shown at least: browsers slow shorter ones down to ten a second."""

_DITHER = "bayer:bayer_scale=4"
"""An ordered pattern does not change where the image does not; error diffusion flickers and doubles the file's size."""


class GifSink(PublishingSink):
    """Writes an endless GIF of at most 50 images a second; alpha becomes on or off at one half.

    Parameters
    ----------
    target : Path
    output_size : (int, int), optional
        Width and height; the frames' own by default.
    overwrite : bool
        An existing file is replaced.
    """

    def __init__(self, target: Path, *, output_size: tuple[int, int] | None = None, overwrite: bool = False) -> None:
        self._file: AtomicFile = AtomicFile(target, overwrite)
        self._output_size = output_size
        self._output: Any = None
        self._video: Any = None
        self._graph: Any = None
        self._converter: FrameConverter | None = None
        self._start: Fraction | None = None
        self._last = -_SHORTEST
        self._left_out = 0

    def open(self, info: StreamInfo) -> None:
        """Refuse what cannot be written, then start the file.

        Raises
        ------
        OutputExistsError, SinkError
        """
        self._file.check()
        leave_out(info.tracks, str(self._file.target))
        width, height = self._output_size or (info.width, info.height)
        self._converter = FrameConverter(
            width, height, "rgba" if info.has_alpha else "rgb24", ColorSpec(full_range=True)
        )
        try:
            self._graph = _palette_graph(width, height, info.has_alpha)
            self._output = av.open(local_address(self._file.path), "w", format="gif")
            self._video = self._output.add_stream("gif", rate=info.rate or 25, width=width, height=height)
            self._video.codec_context.pix_fmt = "pal8"
            self._video.codec_context.time_base = _TICK
            self._video.time_base = _TICK
            self._file.create()
            with writing(self._file.target):
                self._output.start_encoding()
        except BaseException:
            self.abort()
            raise

    def process(self, item: Frame) -> list[None]:
        """Write one image, unless it follows the last one too closely."""
        if self._converter is None:
            raise SinkError(f"{self._file.target} is not open")
        time = item.pts * item.time_base
        self._start = time if self._start is None else self._start
        tick = round((time - self._start) / _TICK)
        if tick - self._last < _SHORTEST:
            self._left_out += 1
            return []
        self._last = tick
        image = self._converter.convert(item)
        image.pts = tick
        image.time_base = _TICK
        self._graph.push(image)
        self._pull()
        return []

    def _pull(self) -> None:
        with writing(self._file.target):
            while True:
                try:
                    image = self._graph.pull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    return
                image.pict_type = 0
                self._output.mux(self._video.encode(image))

    def drain(self) -> list[None]:
        """Write what is held back and the trailer."""
        if self._output is None or self._drained:
            return []
        self._drained = True
        if self._left_out:
            _log.info("%s: %d images left out (GIF shows at most 50 a second)", self._file.target, self._left_out)
        self._graph.push(None)
        self._pull()
        with writing(self._file.target):
            self._output.mux(self._video.encode(None))
            self._output.close()
        self._output = self._video = self._graph = None
        return []

    def abort(self) -> None:
        """Remove what was written; does nothing after :meth:`close`."""
        output, self._output, self._video, self._graph = self._output, None, None, None
        if output is not None:
            with suppress(av.error.FFmpegError):
                output.close()
        super().abort()


def _palette_graph(width: int, height: int, alpha: bool) -> Any:
    graph = av.filter.Graph()
    pix_fmt = "rgba" if alpha else "rgb24"
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat(pix_fmt), time_base=_TICK)
    split = graph.add("split")
    palette = graph.add("palettegen", f"stats_mode=single:reserve_transparent={int(alpha)}")
    use = graph.add("paletteuse", f"new=1:alpha_threshold=128:dither={_DITHER}")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    try:
        graph.configure()
    except av.error.FFmpegError as error:
        raise UnsupportedOutputError(f"GIF of {width}x{height} cannot be made here: {error}") from error
    return graph
