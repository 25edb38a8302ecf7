"""Videos: everything that PyAV can demux and decode."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from streammatte.errors import SourceError
from streammatte.frames import Frame, StreamInfo
from streammatte.media.container import kept_metadata
from streammatte.sources.demux import VideoReader
from streammatte.sources.planes import PlaneConverter
from streammatte.sources.read_options import ReadOptions

__all__ = ["FileSource"]

log = logging.getLogger(__name__)


class FileSource:
    """A video, decoded to YUV planes in order of presentation; its other tracks are passed on as packets.

    Parameters
    ----------
    address : str
        What FFmpeg opens: an absolute path, a URL, or ``pipe:0``.
    name : str, optional
        What messages call it; the address by default.
    options : ReadOptions, optional

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
        At once, from here: what cannot be read, has no video stream or no frame.
    TruncatedSourceError
        From ``frames()``, after the last good frame.
    """

    def __init__(self, address: str, name: str | None = None, options: ReadOptions | None = None) -> None:
        self._name = name or address
        self._options = options or ReadOptions()
        self._reader = VideoReader(address, self._name, self._options)
        try:
            image, pts = self._reader.first()
            self._first: tuple[Any, int] | None = (image, pts)
            context = self._reader.video.codec_context
            largest = self._reader.largest_image() if self._options.size_change == "follow" else None
            self._converter = PlaneConverter(image, context, self._name, largest, self._options.notice)
            self._base = self._reader.base
            self._shift = round((self._reader.cut.shift or 0) / self._base)
            self.info = self._describe(image)
        except BaseException:
            self.close()
            raise

    @property
    def shift(self) -> Fraction:
        """Seconds by which all times were moved earlier."""
        return self._reader.cut.shift or Fraction(0)

    @property
    def length(self) -> float | None:
        """Seconds of the wanted part, declared or estimated."""
        return self._reader.length()

    @property
    def first_pts(self) -> int:
        """Time of the first frame, before it is read."""
        assert self._first is not None
        return self._first[1] - self._shift

    def tracks_alone(self) -> Iterator[Fraction]:
        """Pass on the other tracks without decoding the images, instead of :meth:`frames`.

        Gives, in the file's order, the time of each of the video's packets, seconds.
        """
        self._first = None
        return self._reader.tracks_alone()

    def _describe(self, image: Any) -> StreamInfo:
        converter, reader, video = self._converter, self._reader, self._reader.video
        ratio = Fraction(video.sample_aspect_ratio or 1)
        interlaced = bool(image.interlaced_frame)
        if interlaced:
            log.log(
                self._options.notice,
                "%s is interlaced; it is taken as whole frames (comb edges stay where things move)",
                self._name,
            )
        whole = reader.cut.begin is None and reader.cut.end is None
        return StreamInfo(
            width=converter.width,
            height=converter.height,
            layout=converter.layout,
            time_base=self._base,
            rate=reader.rate,
            color=converter.color,
            sample_aspect_ratio=1 / ratio if converter.swaps else ratio,
            frame_count=(video.frames or None) if whole else None,
            duration=reader.truncation.part(reader.cut),
            name=self._name,
            interlaced=interlaced,
            has_alpha=converter.has_alpha,
            metadata=self._metadata(),
            tracks=reader.feed,
        )

    def _metadata(self) -> dict[str, str]:
        reader = self._reader
        kept = kept_metadata(reader.container, reader.video)
        if reader.cut.begin and kept.pop("timecode", None):
            log.info("%s: the timecode is left out, since the part begins later", self._name)
        return kept

    def frames(self) -> Iterator[Frame]:
        """The frames in order of presentation, once; TruncatedSourceError after the last good one of a broken video."""
        if self._first is None:
            raise SourceError(f"{self._name} has been read already; open it again")
        image, pts = self._first
        self._first = None
        yield self._frame(image, pts, 0)
        del image
        for index, (image, pts) in enumerate(self._reader.rest(), 1):
            yield self._frame(image, pts, index)

    def _frame(self, image: Any, pts: int, index: int) -> Frame:
        planes, alpha = self._converter.planes(image)
        return Frame(
            planes,
            self._converter.layout,
            pts - self._shift,
            self._base,
            self._converter.color,
            index,
            image.duration or 0,
            alpha,
            None,
            image,
        )

    def close(self) -> None:
        """Close the video; safe to call twice."""
        self._reader.close()
