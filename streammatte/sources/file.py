"""Films: everything that PyAV can demux and decode."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av.error
import av.format

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
_PIPE = "pipe:0"
_STEPS_BACK = (0, 2, 10, 60)
"""Seconds before the start at which the search for a keyframe begins, one after the other."""

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
        self._address, self._timeout, self._threads, self._tracks = address, timeout, threads, tracks
        self._asked = tuple(None if value is None else Fraction(str(value)) for value in (start, duration))
        self._lock = threading.Lock()
        self._container: Any = None
        try:
            picture, pts = self._begin()
            self._first: tuple[Any, int] | None = (picture, pts)
            self._door = Door(picture, self._video.codec_context, self._name)
            self._shift = round((self._cut.shift or 0) / self._base)
            self.info = self._describe(picture)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Open the film at its beginning (again)."""
        self.close()
        self._container = open_container(self._address, self._name, timeout=self._timeout, url="://" in self._address)
        self._video = best_video(self._container, self._name)
        set_threads(self._video, self._threads)
        self._others = carried_streams(self._container)
        self._feed = TrackFeed(self._others) if self._tracks else None
        self._base = Fraction(self._video.time_base)
        self._rate = Fraction(self._video.average_rate or self._video.guessed_rate or _DEFAULT_RATE)
        self._anew()

    def _anew(self) -> None:
        """Forget what was read, before reading from another place."""
        self._early: list[Any] = []
        self._clock = Clock(self._container.format.name, round(1 / (self._rate * self._base)))
        self._cut = Cut(Fraction(self._container.start_time or 0, _MICRO), *self._asked)
        self._ending = Ending(self._container, self._video, self._name)
        self._pictures = self._decode()

    def _begin(self) -> tuple[Any, int]:
        """The first wanted picture and its time.

        Searching is only trusted when it lands at or before the start; some containers land behind it. Then the search
        starts further back, and in the end the film is read from its beginning.
        """
        self._open()
        found, landed = None, False
        if self._asked[0] and self._searchable():
            for back in _STEPS_BACK:
                if not self._search(back):
                    break
                found, landed = self._first_picture(searched=True)
                if landed:
                    break
                self._anew()
            if not landed:
                self._open()
        if not landed:
            found, _ = self._first_picture(searched=False)
        if found is not None:
            return found
        if self._asked[0] and self._ending.seen:
            raise SourceError(
                f"{self._name} lasts {self._ending.length():.2f} s; "
                f"the part asked for (start {float(self._asked[0]):g} s) lies beyond its end, give an earlier start"
            )
        raise UnsupportedSourceError(
            f"{self._name} has a video stream but no frame can be decoded; the file may be damaged"
        )

    def _searchable(self) -> bool:
        """False for pipes, for raw streams, and for films in decoding order whose times need every frame before."""
        kind = self._container.format
        raw = bool(av.format.Flags(kind.flags) & av.format.Flags.no_timestamps)
        return not (raw or self._address == _PIPE or (self._clock.by_dts and self._video.codec_context.has_b_frames))

    def _search(self, back: int) -> bool:
        """Go to the keyframe before the start, or ``back`` seconds before that; False where that cannot be."""
        at = (self._cut.begin or 0) - back
        if back and at < self._cut.origin:
            return False
        try:
            self._container.seek(int(at / self._base), stream=self._video, backward=True)
        except av.error.FFmpegError as error:
            log.info("%s cannot be searched (%s); it is read from its beginning", self._name, reason(error))
            return False
        return True

    def _first_picture(self, *, searched: bool) -> tuple[tuple[Any, int] | None, bool]:
        """The first wanted picture with its time, and whether decoding began at or before the part's start."""
        landed = not searched
        for picture, pts in self._pictures:
            time = pts * self._base
            landed = landed or not self._cut.late(time)
            if self._cut.before(time):
                continue
            if self._cut.after(time) or not landed:
                break
            self._cut.hold(time)
            return (picture, pts), landed
        return None, landed

    def _describe(self, picture: Any) -> StreamInfo:
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
            rate=self._rate,
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

    def frames(self) -> Iterator[Frame]:
        """The frames in order of presentation, once; TruncatedSourceError after the last good one of a broken film."""
        if self._first is None:
            raise SourceError(f"{self._name} has been read already; open it again")
        picture, pts = self._first
        self._first = None
        index = 0
        yield self._frame(picture, pts, index)
        del picture
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
            if packet.pts is None or not self._cut.before(packet.pts * packet.time_base):
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
