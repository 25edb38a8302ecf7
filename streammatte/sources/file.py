"""Films: everything that PyAV can demux and decode."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av.error

from streammatte.errors import SourceError, UnsupportedSourceError
from streammatte.frames import Frame, StreamInfo, TrackFeed
from streammatte.sources.clock import Clock, Cut
from streammatte.sources.container import best_video, carried_streams, kept_metadata, open_container, reason
from streammatte.sources.ending import Ending
from streammatte.sources.picture import Door
from streammatte.sources.threads import set_threads

__all__ = ["FileSource"]

log = logging.getLogger(__name__)

_MICRO = 1_000_000
_DEFAULT_RATE = Fraction(25)
_INTERLEAVE = Fraction(2)
"""Seconds that are read on after the last wanted frame, for sound that is stored later than its picture."""


class FileSource:
    """A film, decoded to YUV planes in order of presentation; its other tracks are handed on as packets.

    Parameters
    ----------
    address : str
        What FFmpeg opens: an absolute path, a URL, or ``pipe:0``.
    name : str, optional
        What messages call it; the address by default.
    start, duration : float, optional
        The part that is wanted, seconds from the film's beginning. With ``start``, times are moved so that the first
        frame is shown at 0; other tracks move by the same time, rounded to their own time base.
    timeout : float, optional
        Seconds for opening and for each read (network); None waits for ever.
    threads : int
        Decoder threads; 0 chooses.
    tracks : bool
        Whether audio and subtitles are handed on in ``info.tracks``.

    Raises
    ------
    SourceNotFoundError, UnsupportedSourceError, SourceError
        At once, from here: what cannot be read, has no video stream or no frame.
    TruncatedSourceError
        From ``frames()``, after the last good frame.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str | None = None,
        start: float | None = None,
        duration: float | None = None,
        timeout: float | None = None,
        threads: int = 0,
        tracks: bool = True,
    ) -> None:
        self._name = name or address
        self._container = open_container(address, self._name, timeout=timeout, url="://" in address)
        self._lock = threading.Lock()
        try:
            self._prepare(start, duration, threads, tracks)
        except BaseException:
            self.close()
            raise

    def _prepare(self, start: float | None, duration: float | None, threads: int, tracks: bool) -> None:
        self._video = best_video(self._container, self._name)
        set_threads(self._video, threads)
        self._others = carried_streams(self._container)
        self._feed = TrackFeed(self._others) if tracks else None
        self._early: list[Any] = []
        self._base = Fraction(self._video.time_base)
        rate = self._video.average_rate or self._video.guessed_rate or _DEFAULT_RATE
        self._clock = Clock(self._container.format.name, round(1 / (rate * self._base)))
        origin = Fraction(self._container.start_time or 0, _MICRO)
        self._cut = Cut(
            origin,
            None if start is None else Fraction(str(start)),
            None if duration is None else Fraction(str(duration)),
        )
        self._ending = Ending(self._container, self._video, self._name)
        if start:
            self._seek()
        self._pictures = self._decode()
        self._first = self._first_picture(start)
        picture, _ = self._first
        self._door = Door(picture, self._video.codec_context, self._name)
        self._shift = round((self._cut.shift or 0) / self._base)
        self.info = self._describe(picture, rate)

    def _describe(self, picture: Any, rate: Fraction) -> StreamInfo:
        door, video = self._door, self._video
        ratio = Fraction(video.sample_aspect_ratio or 1)
        interlaced = bool(picture.interlaced_frame)
        if interlaced:
            log.warning("%s is interlaced; it is taken as whole frames (comb edges stay where things move)", self._name)
        whole = self._cut.begin is None and self._cut.end is None
        return StreamInfo(
            width=door.width,
            height=door.height,
            layout=door.layout,
            time_base=self._base,
            rate=Fraction(rate),
            color=door.color,
            sample_aspect_ratio=1 / ratio if door.orientation.swaps else ratio,
            frame_count=(video.frames or None) if whole else None,
            duration=self._ending.part(self._cut),
            name=self._name,
            interlaced=interlaced,
            has_alpha=door.has_alpha,
            metadata=kept_metadata(self._container, video),
            tracks=self._feed,
        )

    def _seek(self) -> None:
        assert self._cut.begin is not None
        try:
            self._container.seek(int(self._cut.begin / self._base), stream=self._video, backward=True)
        except av.error.FFmpegError as error:
            log.info("%s cannot be searched (%s); it is read from its beginning", self._name, reason(error))
        self._clock.forget()

    def _first_picture(self, start: float | None) -> tuple[Any, int]:
        for picture, pts in self._pictures:
            time = pts * self._base
            if self._cut.before(time):
                continue
            if self._cut.after(time):
                break
            self._cut.hold(time)
            return picture, pts
        if start and self._ending.seen:
            raise SourceError(
                f"{self._name} lasts {self._ending.length():.2f} s; --start {start:g} lies beyond its end"
            )
        raise UnsupportedSourceError(
            f"{self._name} has a video stream but no frame can be decoded; the file may be damaged"
        )

    def frames(self) -> Iterator[Frame]:
        """The frames in order of presentation, once; TruncatedSourceError after the last good one of a broken film."""
        picture, pts = self._first
        index = 0
        yield self._frame(picture, pts, index)
        del picture, self._first
        for picture, pts in self._pictures:
            time = pts * self._base
            if self._cut.before(time):
                continue
            if self._cut.after(time):
                self._read_on()
                return
            index += 1
            yield self._frame(picture, pts, index)
        self._ending.check(index + 1)

    def _frame(self, picture: Any, pts: int, index: int) -> Frame:
        planes, alpha = self._door.planes(picture)
        return Frame(
            planes,
            self._door.layout,
            pts - self._shift,
            self._base,
            self._door.color,
            index,
            picture.duration or 0,
            alpha,
            None,
            picture,
        )

    def _decode(self) -> Iterator[tuple[Any, int]]:
        """Decoded pictures with their times; packets of the other tracks go to the feed on the way."""
        video, ending = self._video, self._ending
        held: Any = None
        for packet in self._packets():
            if packet.stream_index != video.index:
                self._carry(packet)
                continue
            if held is not None and packet.size:
                yield from self._pictures_of(held)
            held = None
            if packet.is_corrupt and packet.size:
                held = packet
                continue
            yield from self._pictures_of(packet)
        if held is not None:
            ending.broken("its last frame is incomplete")

    def _pictures_of(self, packet: Any) -> Iterator[tuple[Any, int]]:
        self._clock.packet(packet)
        try:
            pictures = packet.decode()
        except av.error.FFmpegError as error:
            self._ending.damaged(error)
            return
        for picture in pictures:
            pts = self._clock.time(picture)
            self._ending.frame(pts, picture)
            yield picture, pts

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux((self._video, *self._others))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.ExitError, av.error.TimeoutError) as error:
                self._ending.broken(f"no data came in time ({reason(error)})")
                break
            except av.error.FFmpegError as error:
                self._ending.broken(reason(error))
                break
            self._ending.packet(packet)
            yield packet
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        """The empty packet that makes the decoder give what it holds, after reading failed."""
        packet = av.Packet()
        packet.stream = self._video
        packet.time_base = self._base
        yield packet

    def _carry(self, packet: Any) -> None:
        if self._feed is None or packet.size == 0:
            return
        if self._cut.shift is None:
            self._early.append(packet)
            return
        for waiting in (*self._early, packet):
            if self._cut.place(waiting):
                self._feed.put(waiting)
        self._early.clear()

    def _read_on(self) -> None:
        """Hand on the rest of the part's sound once its last frame is out."""
        if self._feed is None or self._cut.end is None:
            return
        late = {stream.index for stream in self._feed.streams if stream.type == "audio"}
        for packet in self._packets():
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.size == 0 or stamp is None or not late:
                return
            time = stamp * packet.time_base
            if packet.stream_index != self._video.index:
                self._carry(packet)
                if time >= self._cut.end:
                    late.discard(packet.stream_index)
            elif time > self._cut.end + _INTERLEAVE:
                return

    def close(self) -> None:
        """Close the film; safe to call twice."""
        with self._lock:
            container, self._container = self._container, None
        if container is not None:
            container.close()
