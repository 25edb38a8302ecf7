"""Videos that are encoded in segments: packets with their exact times in a file each, joined without encoding again."""

from __future__ import annotations

import errno
import io
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from streammatte.errors import SinkError
from streammatte.frames import StreamInfo
from streammatte.sinks.atomic import writing
from streammatte.sinks.containers import CONTAINERS
from streammatte.sinks.encoder_options import EncodeOptions
from streammatte.sinks.images import is_pattern
from streammatte.sinks.video import FileSink

__all__ = ["JoinSink", "SegmentFile", "SegmentSink", "can_join"]

_SCHEMA = """
CREATE TABLE facts (time_base TEXT NOT NULL, header BLOB NOT NULL);
CREATE TABLE packets (
    number INTEGER PRIMARY KEY, pts INTEGER NOT NULL, dts INTEGER NOT NULL, duration INTEGER NOT NULL,
    key INTEGER NOT NULL, data BLOB NOT NULL
);
"""


def can_join(target: str, transparent: bool) -> bool:
    """True where segments of such an output can be joined: videos, but for VP9 with alpha.

    PyAV cannot attach a packet's alpha to it, which WebM keeps beside the packet.
    """
    suffix = Path(target).suffix.lower()
    return suffix in CONTAINERS and not is_pattern(target) and not (transparent and suffix == ".webm")


@contextmanager
def _database(target: Path) -> Iterator[None]:
    """SQLite's errors as errors of writing ``target``."""
    with writing(target):
        try:
            yield
        except sqlite3.Error as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


class SegmentSink(FileSink):
    """Encodes a segment just as :class:`FileSink` encodes the whole, and keeps the packets in a file.

    Parameters
    ----------
    target : Path
        The file; its suffix is the joined video's.
    options : EncodeOptions
    """

    def __init__(self, target: Path, options: EncodeOptions) -> None:
        super().__init__(target, options)
        self._store: sqlite3.Connection | None = None

    def open(self, info: StreamInfo) -> None:
        """Start the encoder and the file; see :meth:`FileSink.open`."""
        super().open(info)
        try:
            with _database(self.target):
                # Written in the pipeline's thread, closed by the thread that aborts.
                self._store = sqlite3.connect(self._file.path, check_same_thread=False)
                self._store.execute("PRAGMA journal_mode=OFF")  # until it is complete, the file has no name
                self._store.execute("PRAGMA synchronous=OFF")
                self._store.executescript(_SCHEMA)
                context = self._video.codec_context
                facts = (str(Fraction(context.time_base)), context.extradata or b"")
                self._store.execute("INSERT INTO facts VALUES (?, ?)", facts)
        except BaseException:
            self.abort()
            raise

    def _open_output(self) -> Any:
        return av.open(io.BytesIO(), "w", format=self._container.muxer)

    def _lead_of(self, first: Fraction) -> Fraction:
        return Fraction(0)  # known for the whole video only, when joining

    def _mux(self, packets: list[Any]) -> None:
        assert self._store is not None
        rows = [
            (packet.pts, packet.dts, packet.duration or 0, bool(packet.is_keyframe), memoryview(packet))
            for packet in packets
            if packet.size
        ]
        with _database(self.target):
            self._store.executemany("INSERT INTO packets VALUES (NULL, ?, ?, ?, ?, ?)", rows)

    def _finish(self) -> None:
        assert self._store is not None
        with _database(self.target):
            self._store.commit()
            self._store.close()
        self._store = None
        self._output.close()

    def abort(self) -> None:
        """Remove what was written; does nothing after ``close``."""
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
            self._store = None
        super().abort()


class SegmentFile:
    """What :class:`SegmentSink` wrote.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    time_base : Fraction
    header : bytes
        The encoder's extradata.
    delay : int
        Packets whose decoding time lies before the first frame's presentation time.

    Raises
    ------
    SinkError
        The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reading() as store:
            base, self.header = store.execute("SELECT time_base, header FROM facts").fetchone()
            (self.delay,) = store.execute(
                "SELECT count(*) FROM packets WHERE dts < (SELECT min(pts) FROM packets)"
            ).fetchone()
        self.time_base = Fraction(base)

    def times(self) -> list[int]:
        """Presentation times in ascending order, in units of the time base."""
        with self._reading() as store:
            return [pts for (pts,) in store.execute("SELECT pts FROM packets ORDER BY pts")]

    def packets(self) -> Iterator[Any]:
        """The packets in decoding order, with the times that the encoder gave them."""
        with self._reading() as store:
            rows = store.execute("SELECT pts, dts, duration, key, data FROM packets ORDER BY number")
            for pts, dts, duration, key, data in rows:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, self.time_base
                packet.is_keyframe = bool(key)
                yield packet

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as store:
                yield store
        except sqlite3.Error as error:
            raise SinkError(f"the segment {self._path} is damaged ({error}); remove it and run again") from error


class JoinSink(FileSink):
    """Takes packets of segments instead of frames, and writes what :class:`FileSink` would have written.

    Parameters
    ----------
    target : Path
    options : EncodeOptions
    segments : sequence of SegmentFile
        In order. Each must begin with a frame that can be decoded alone, as every encoder begins.

    Raises
    ------
    SinkError
        A segment was encoded by an encoder with another header.
    """

    def __init__(self, target: Path, options: EncodeOptions, segments: Sequence[SegmentFile]) -> None:
        super().__init__(target, options)
        self._segments = segments

    def write(self) -> Iterator[Fraction]:
        """Write packet by packet; gives each one's decoding time, seconds, before it is written.

        A packet's decoding time is the presentation time of the one that many places before it as the encoder delays
        frames: what one encoder for the whole video would have given.
        """
        delay = max((segment.delay for segment in self._segments), default=0)
        before: list[int] = []
        count, last = 0, None
        header = bytes(self._video.codec_context.extradata or b"")
        for segment in self._segments:
            if segment.header != header:
                raise SinkError(f"cannot join {self.target}: its segments were encoded by different encoders")
            times = segment.times()
            if count == 0 and times:
                self._lead = self._lead_of(times[0] * segment.time_base)
            moved = round(self._lead / segment.time_base)
            known = before[-delay:] + times if delay else times
            offset = len(known) - len(times) - delay
            for index, packet in enumerate(segment.packets()):
                if index + offset >= 0:
                    packet.dts = known[index + offset]
                packet.pts, packet.dts = packet.pts - moved, packet.dts - moved
                if last is not None and packet.dts <= last:  # segments shorter than the encoder's delay
                    packet.dts = last + 1
                last = packet.dts
                packet.stream = self._video
                count += 1
                yield packet.dts * packet.time_base
                with writing(self.target):
                    self._mux([packet])
                    if self._tracks:
                        self._tracks.write(self._lead)
            before = (before + times)[-max(delay, 1) :]
        self._frames = count

    def _last_packets(self) -> list[Any]:
        return []
