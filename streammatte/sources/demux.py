"""Reading a video: demuxing, searching the start of a part, decoding, passing the other tracks on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import av.format

from streammatte.errors import BeyondEndError, UnsupportedSourceError
from streammatte.media.container import best_video, carried_streams, decoder_of, kept_chapters, open_container, reason
from streammatte.runtime import set_threads
from streammatte.sources.read_options import ReadOptions
from streammatte.sources.timestamps import Cut, FrameTimes, Timeline
from streammatte.sources.truncation import TruncationCheck
from streammatte.tracks import TrackFeed

__all__ = ["VideoReader"]

log = logging.getLogger(__name__)

_MICRO = 1_000_000
_DEFAULT_RATE = Fraction(25)
_PIPE = "pipe:0"
_STEPS_BACK = (0, 2, 10, 60)
"""Seconds before the start at which the search for a keyframe begins, one after the other."""

_EARLY = Fraction(1)
"""Seconds before the start from which audio is remembered until the first image determines the shift of all tracks."""

_INTERLEAVE = Fraction(2)
"""Seconds that are read on after the last wanted frame, for audio that is stored later than its image."""


class VideoReader:
    """Decoded images of a video's wanted part, with their times.

    Parameters
    ----------
    address : str
        What FFmpeg opens: an absolute path, a URL, or ``pipe:0``.
    name : str
        What messages call it.
    options : ReadOptions

    Attributes
    ----------
    video : av.VideoStream
    base : Fraction
        Its time base.
    rate : Fraction
        Average frames a second.
    feed : TrackFeed or None
    cut : Cut
    truncation : TruncationCheck
    """

    def __init__(self, address: str, name: str, options: ReadOptions) -> None:
        self._address, self._name, self.options = address, name, options
        self._url = "://" in address
        part = options.start, options.duration
        self._begin, self._duration = (None if value is None else Fraction(str(value)) for value in part)
        self._lock = threading.Lock()
        self.container: Any = None

    def _open(self) -> None:
        """Open the video at its beginning (again)."""
        self.close()
        self.container, self.video = self._open_video()
        set_threads(self.video, self.options.threads)
        self._decoder = decoder_of(self.video)
        self._others = carried_streams(self.container, self.video, self.options.notice)
        self.feed = TrackFeed(self._others) if self.options.tracks else None
        self.base = Fraction(self.video.time_base)
        self.rate = Fraction(self.video.average_rate or self.video.guessed_rate or _DEFAULT_RATE)
        self._origin = _origin(self.container, self.video)
        self._restart()

    def _open_video(self) -> tuple[Any, Any]:
        """Another opening of the container, and its video stream."""
        how = self.options
        timeout = how.timeout if self._url else None
        container = open_container(
            self._address,
            self._name,
            timeout=timeout,
            url=self._url,
            allow_playlists=how.allow_playlists,
            hwaccel=how.hwaccel,
        )
        try:
            video = best_video(container, self._name, how.notice)
            width, height = video.width, video.height
            if width * height > how.max_megapixels * 1_000_000:
                raise UnsupportedSourceError(
                    f"{self._name} has {width}x{height} pixels, more than the {how.max_megapixels} megapixels that "
                    "--max-pixels allows; the header may be damaged"
                )
        except BaseException:
            container.close()
            raise
        # The decoder refuses images in mid-video that are larger than the header declares.
        video.codec_context.options = {"max_pixels": str(how.max_megapixels * 1_000_000)}
        return container, video

    def largest_image(self) -> Any:
        """The largest image of the video: sizes change at keyframes, so that no other is decoded.

        Raises
        ------
        UnsupportedSourceError
            The input cannot be read twice.
        """
        if self._url or not Path(self._address).is_file():
            why = "cannot be read twice, as --size-change follow needs; give a file"
            raise UnsupportedSourceError(f"{self._name} {why}")
        container, video = self._open_video()
        video.codec_context.skip_frame = "NONKEY"
        largest = None
        try:
            for packet in container.demux(video):
                try:
                    images = video.codec_context.decode(packet if packet.size else None)
                except av.error.FFmpegError:
                    continue
                for image in images:
                    if largest is None or image.width * image.height > largest.width * largest.height:
                        largest = image
        except av.error.FFmpegError as error:
            log.info("%s: %s; the sizes behind are not known", self._name, reason(error))
        finally:
            container.close()
        return largest

    def _restart(self) -> None:
        """Forget what was read, before reading from another place."""
        self._early: list[Any] = []
        self._times = FrameTimes(self.container.format.name, round(1 / (self.rate * self.base)))
        jumps = bool(av.format.Flags(self.container.format.flags) & av.format.Flags.ts_discont)
        self._timeline = Timeline(self._origin, jumps, self._name)
        self.cut = Cut(self._begin, self._duration, self.options.shift)
        self.truncation = TruncationCheck(self.container, self.video, self._origin, self._name)
        self._images = self._decode()

    def first(self) -> tuple[Any, int]:
        """Open the video and give the first wanted image with its time.

        Searching is only trusted when it lands at or before the start; some containers land behind it. Then the search
        starts further back, and in the end the video is read from its beginning.
        """
        self._open()
        found, landed = None, False
        if self._begin and self._searchable():
            for back in _STEPS_BACK:
                if not self._search(back):
                    break
                found, landed = self._first_image(searched=True)
                if landed:
                    break
                self._restart()
            if not landed:
                self._open()
        if not landed:
            found, _ = self._first_image(searched=False)
        if found is not None:
            return found
        if self._begin and self.truncation.seen:
            raise BeyondEndError(
                f"{self._name} lasts {self.truncation.length():.2f} s; "
                f"the requested part (start {float(self._begin):g} s) lies beyond its end, give an earlier start"
            )
        why = "the file may be damaged"
        if self._address == _PIPE:
            why = "a pipe cannot be searched: an MP4 whose index is at its end must be read from a file"
        raise UnsupportedSourceError(f"{self._name} has a video stream but no frame can be decoded; {why}")

    def _searchable(self) -> bool:
        """False for pipes, for raw streams, for videos in decoding order whose times need every frame before, and for
        segments of containers whose time may jump: the position is only known after reading everything before it.
        """
        flags = av.format.Flags(self.container.format.flags)
        raw = bool(flags & av.format.Flags.no_timestamps)
        jumps = self.options.shift is not None and bool(flags & av.format.Flags.ts_discont)
        return not (
            raw or jumps or self._address == _PIPE or (self._times.by_dts and self.video.codec_context.has_b_frames)
        )

    def _search(self, back: int) -> bool:
        """Go to the keyframe before the start, or ``back`` seconds before that; False where that cannot be."""
        at = (self.cut.begin or 0) - back
        if back and at < 0:
            return False
        try:
            self.container.seek(int((at + self._origin) / self.base), stream=self.video, backward=True)
        except av.error.FFmpegError as error:
            log.info("%s cannot be searched (%s); it is read from its beginning", self._name, reason(error))
            return False
        return True

    def _first_image(self, *, searched: bool) -> tuple[tuple[Any, int] | None, bool]:
        """The first wanted image with its time, and whether decoding began at or before the part's start."""
        landed = not searched
        for image, pts in self._images:
            time = pts * self.base
            landed = landed or not self.cut.late(time)
            if self.cut.before(time):
                continue
            if self.cut.after(time) or not landed:
                break
            self._hold(time)
            return (image, pts), landed
        return None, landed

    def _hold(self, time: Fraction) -> None:
        """The part begins here: what other tracks gave before is placed now."""
        self.cut.hold(time)
        if self.feed is not None:
            begin = self._origin + (self.cut.shift or 0)
            end = None if self.cut.end is None else self._origin + self.cut.end
            self.feed.chapters = kept_chapters(self.container, begin, end)
        early, self._early = self._early, []
        for packet in early:
            self._carry(packet)

    def rest(self) -> Iterator[tuple[Any, int]]:
        """The wanted images after the first, with their times.

        Raises
        ------
        TruncatedSourceError
            After the last good image of a video that breaks off.
        """
        frames = 1
        for image, pts in self._images:
            time = pts * self.base
            if self.cut.before(time):
                continue
            if self.cut.after(time):
                self._read_on()
                return
            frames += 1
            yield image, pts
        self.truncation.check(frames)

    def _decode(self) -> Iterator[tuple[Any, int]]:
        """Decoded images with their times; packets of the other tracks go to the feed on the way.

        An incomplete packet waits for the next one: in the middle of a video it is decoded as well as can be; at the
        end it is where the video is truncated.
        """
        video, truncation = self.video, self.truncation
        held: Any = None
        for packet in self._packets():
            if packet.stream.index != video.index:
                self._carry(packet)
                continue
            if held is not None and packet.size:
                yield from self._images_of(held)
            elif held is not None:
                truncation.broken("its last frame is incomplete")
            held = packet if packet.is_corrupt and packet.size else None
            if held is None:
                yield from self._images_of(packet)

    def _images_of(self, packet: Any) -> Iterator[tuple[Any, int]]:
        self._times.packet(packet)
        try:
            images = self._decoder.decode(packet if packet.size else None)
        except av.error.FFmpegError as error:
            self.truncation.damaged(error)
            return
        for image in images:
            pts = self._times.time(image)
            self.truncation.frame(pts, image)
            yield image, pts

    def _packets(self) -> Iterator[Any]:
        packets = self.container.demux((self.video, *self._others))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.ExitError, av.error.TimeoutError) as error:
                self.truncation.broken(f"no data came in time ({reason(error)})")
                break
            except av.error.FFmpegError as error:
                self.truncation.broken(reason(error))
                break
            self._timeline.place(packet)
            self.truncation.packet(packet)
            yield packet
        yield from self._flush()

    def _flush(self) -> Iterator[Any]:
        """The empty packet that flushes the decoder after reading failed."""
        packet = av.Packet()
        packet.stream = self.video
        packet.time_base = self.base
        yield packet

    def _carry(self, packet: Any) -> None:
        if self.feed is None or packet.size == 0:
            return
        if self.cut.shift is None:
            if packet.pts is None or not self.cut.before(packet.pts * packet.time_base + _EARLY):
                self._early.append(packet)
            return
        if self.cut.place(packet):
            self.feed.put(packet)

    def tracks_alone(self) -> Iterator[Fraction]:
        """Pass on the other tracks without decoding: yields the time, in seconds, of each of the video's packets."""
        for packet in self._packets():
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.stream.index != self.video.index:
                self._carry(packet)
            elif stamp is not None:
                time = stamp * packet.time_base
                if self.cut.end is not None and time > self.cut.end + _INTERLEAVE:
                    return
                yield time - (self.cut.shift or 0)

    def _read_on(self) -> None:
        """Pass on the rest of the part's audio after its last frame."""
        if self.feed is None or self.cut.end is None:
            return
        late = {stream.index for stream in self.feed.streams if stream.type == "audio"}
        for packet in self._packets():
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.size == 0 or stamp is None or not late:
                return
            time = stamp * packet.time_base
            if packet.stream.index != self.video.index:
                self._carry(packet)
                if time >= self.cut.end:
                    late.discard(packet.stream.index)
            elif time > self.cut.end + _INTERLEAVE:
                return

    def length(self) -> float | None:
        """Seconds that the wanted part lasts, as the container declares or estimates it; None where it does neither."""
        declared = self.truncation.part(self.cut)
        if declared is None and self.container.duration:
            declared = self.container.duration / _MICRO - float(self.cut.begin or 0)
        return declared

    def close(self) -> None:
        """Close the video; safe to call twice."""
        with self._lock:
            container, self.container = self.container, None
        # A generator that refers to its reader would keep the decoder's memory until the next garbage collection.
        self._images = iter(())
        if container is not None:
            container.close()


def _origin(container: Any, video: Any) -> Fraction:
    """The time of the container's start, seconds; audio before it (the encoder's priming) stays before 0."""
    start = Fraction(container.start_time or 0, _MICRO)
    return start if start > 0 else min(Fraction(0), Fraction(video.start_time or 0) * video.time_base)
