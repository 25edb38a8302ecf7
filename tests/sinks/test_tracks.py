"""Audio and subtitles beside the images: copied where they can be, transcoded where they must."""

import hashlib
import io
import logging
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from support.sink_frames import info_of, make_frames, times_of, write

from streammatte.errors import UnsupportedOutputError
from streammatte.sinks import Y4MSink, open_sink
from streammatte.tracks import MAX_PACKETS, TrackFeed

BEEP_AT = 0.5


def make_audio(path, codec, *, rate=48000, layout="stereo", seconds=2.0, start=0.0):
    """A file of silence with one beep at ``BEEP_AT`` seconds after ``start``."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.time_base = Fraction(1, rate)
        channels = stream.codec_context.layout.nb_channels
        time = np.arange(int(seconds * rate)) / rate
        beep = np.where((time >= BEEP_AT) & (time < BEEP_AT + 0.1), np.sin(2 * np.pi * 880 * time), 0)
        samples = np.repeat((beep * 12000).astype(np.int16)[None], channels, 0)
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate)
        for first in range(0, samples.shape[1], 1024):
            part = np.ascontiguousarray(samples[:, first : first + 1024].T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, "s16", layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first + int(start * rate)
            for piece in resampler.resample(frame):
                out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return path


def make_subtitles(path):
    """Two lines of SubRip in Matroska."""
    text = path.with_suffix(".srt")
    text.write_text("1\n00:00:00,200 --> 00:00:00,900\nHello there\n\n2\n00:00:01,000 --> 00:00:01,500\nSecond\n")
    with av.open(str(text)) as given, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(given.streams[0])
        stream.metadata["language"] = "fra"
        for packet in given.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


def packets_of(path, kind="audio"):
    with av.open(str(path)) as video:
        streams = [stream for stream in video.streams if stream.type == kind]
        return [
            (packet.stream_index, packet.pts * packet.time_base, hashlib.sha1(bytes(packet)).hexdigest())
            for packet in video.demux(streams)
            if packet.size
        ]


def beep_time(path):
    """When the audio of a video first is loud, in seconds."""
    with av.open(str(path)) as video:
        for frame in video.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(float))
            if frame.format.is_packed:
                samples = samples.reshape(1, -1, len(frame.layout.channels))[..., 0]
            peak = 1.0 if "flt" in frame.format.name else 32768.0
            loud = np.flatnonzero(samples[0] > 0.1 * peak)
            if loud.size:
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    raise AssertionError("no audio")


def write_with(sink, sources, count=60, late=0, times=None):
    """Frames through a sink with the packets of files beside them, fed as a demuxer would."""
    inputs = [av.open(str(path)) for path in sources]
    streams = tuple(stream for video in inputs for stream in video.streams if stream.type in ("audio", "subtitle"))
    feed = TrackFeed(streams)
    frames = make_frames(count, times=times)
    packets = [[p for p in video.demux() if p.size or p.stream.type == "audio"] for video in inputs]
    sink.open(info_of(frames, tracks=feed))
    for frame in frames:
        for queue in packets:
            while queue and (queue[0].dts is None or queue[0].dts * queue[0].time_base <= frame.time - late):
                feed.put(queue.pop(0))
        sink.process(frame)
    for queue in packets:
        for packet in queue:
            feed.put(packet)
    sink.drain()
    sink.close()
    for video in inputs:
        video.close()


COPIES = [
    ("aac", "mp4", "mp4"),
    ("aac", "mp4", "mov"),
    ("aac", "mp4", "mkv"),
    ("libopus", "webm", "webm"),
    ("libopus", "webm", "mkv"),
    ("libopus", "webm", "mp4"),
    ("libmp3lame", "avi", "mp4"),
    ("libmp3lame", "avi", "mov"),
    ("libmp3lame", "avi", "mkv"),
    ("pcm_s16le", "avi", "mov"),
    ("pcm_s16le", "avi", "mkv"),
    ("flac", "mkv", "mkv"),
]


@pytest.mark.parametrize(("codec", "held_in", "suffix"), COPIES)
def test_audio_is_copied_bit_by_bit(tmp_path, codec, held_in, suffix):
    given = make_audio(tmp_path / f"audio.{held_in}", codec)
    target = tmp_path / f"video.{suffix}"
    write_with(open_sink(target), [given])
    before, after = packets_of(given), packets_of(target)
    assert [packet[2] for packet in after] == [packet[2] for packet in before]
    for old, new in zip(before, after, strict=True):
        assert abs(old[1] - new[1]) <= Fraction(1, 900)
    assert abs(beep_time(target) - beep_time(given)) < 0.002
    assert abs(times_of(target)[0]) <= Fraction(1, 1000)


RECODED = [
    ("aac", "mp4", "webm", "opus", 44100),
    ("libmp3lame", "avi", "webm", "opus", 44100),
    ("pcm_s16le", "avi", "webm", "opus", 22050),
    ("libopus", "webm", "mov", "aac", 48000),
    ("flac", "mkv", "mov", "aac", 48000),
    ("pcm_s16le", "avi", "webm", "opus", 96000),
]


@pytest.mark.parametrize(("codec", "held_in", "suffix", "becomes", "rate"), RECODED)
def test_refused_audio_is_encoded_anew_at_its_time(tmp_path, caplog, codec, held_in, suffix, becomes, rate):
    given = make_audio(tmp_path / f"audio.{held_in}", codec, rate=rate)
    target = tmp_path / f"video.{suffix}"
    write_with(open_sink(target), [given])
    with av.open(str(target)) as video:
        assert video.streams.audio[0].codec_context.codec.canonical_name == becomes
    assert "transcoded" in caplog.text
    assert abs(beep_time(target) - beep_time(given)) < 0.004
    with av.open(str(target)) as video:
        heard = sum(frame.samples / frame.sample_rate for frame in video.decode(audio=0))
    assert abs(heard - 2.0) < 0.1


def test_mono_audio_is_encoded_anew_as_mono(tmp_path):
    given = make_audio(tmp_path / "audio.avi", "pcm_s16le", layout="mono")
    write_with(open_sink(tmp_path / "video.webm"), [given])
    with av.open(str(tmp_path / "video.webm")) as video:
        assert video.streams.audio[0].codec_context.layout.name == "mono"


def test_a_hole_in_audio_that_is_encoded_anew_stays_a_hole(tmp_path):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with av.open(str(given)) as video, av.open(str(tmp_path / "holes.mkv"), "w") as out:
        stream = out.add_stream_from_template(video.streams.audio[0])
        for packet in video.demux(video.streams.audio[0]):
            if packet.size and not 0.1 < packet.dts * packet.time_base < 0.4:
                packet.stream = stream
                out.mux(packet)
    write_with(open_sink(tmp_path / "video.webm"), [tmp_path / "holes.mkv"])
    assert abs(beep_time(tmp_path / "video.webm") - beep_time(tmp_path / "holes.mkv")) < 0.03


@pytest.mark.parametrize(
    ("suffix", "becomes"), [("mkv", "subrip"), ("mp4", "mov_text"), ("mov", "mov_text"), ("webm", "webvtt")]
)
def test_subtitles_are_copied_or_turned_into_what_the_container_holds(tmp_path, suffix, becomes):
    given = make_subtitles(tmp_path / "words.mkv")
    target = tmp_path / f"video.{suffix}"
    write_with(open_sink(target), [given])
    with av.open(str(target)) as video:
        stream = video.streams.subtitles[0]
        assert stream.codec_context.name in (becomes, {"subrip": "srt"}.get(becomes))
        assert stream.metadata.get("language") == "fra"
        packets = [packet for packet in video.demux(stream) if packet.size and b"o" in bytes(packet)]
        assert [round(float(packet.pts * packet.time_base), 2) for packet in packets] == [0.2, 1.0]
        assert b"Hello there" in bytes(packets[0])
        assert round(float(packets[0].duration * packets[0].time_base), 2) == 0.7


def test_several_tracks_keep_their_order(tmp_path):
    one = make_audio(tmp_path / "a.mp4", "aac")
    two = make_subtitles(tmp_path / "b.mkv")
    with av.open(str(tmp_path / "both.mkv"), "w") as out, av.open(str(one)) as first, av.open(str(two)) as second:
        streams = [out.add_stream_from_template(f.streams[0]) for f in (first, second)]
        for video, stream in ((second, streams[1]), (first, streams[0])):
            for packet in video.demux():
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    write_with(open_sink(tmp_path / "video.mkv"), [tmp_path / "both.mkv"])
    with av.open(str(tmp_path / "video.mkv")) as video:
        assert [stream.type for stream in video.streams] == ["video", "audio", "subtitle"]


def test_without_tracks_the_packets_are_discarded(tmp_path):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with av.open(str(given)) as video:
        feed = TrackFeed(tuple(video.streams))
        for packet in video.demux():
            feed.put(packet)
        write(open_sink(tmp_path / "video.mp4", tracks=False), make_frames(4), tracks=feed)
        assert not feed.take()
    with av.open(str(tmp_path / "video.mp4")) as video:
        assert len(video.streams) == 1


def test_a_broken_packet_does_not_stop_the_video(tmp_path, caplog):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with av.open(str(given)) as video:
        feed = TrackFeed(tuple(video.streams))
        packets = [packet for packet in video.demux() if packet.size]
        packets[20].dts = packets[20].pts = packets[3].pts
        packets[25].dts = packets[25].pts = packets[24].pts
        packets[30].dts = packets[30].pts = None
        for packet in packets:
            feed.put(packet)
        write(open_sink(tmp_path / "video.mp4"), make_frames(60), tracks=feed)
    assert len(packets_of(tmp_path / "video.mp4")) == len(packets) - 1
    assert len(times_of(tmp_path / "video.mp4")) == 60
    assert "no usable time" in caplog.text


def test_garbage_that_must_be_encoded_anew_does_not_stop_the_video(tmp_path, caplog):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with av.open(str(given)) as video:
        feed = TrackFeed(tuple(video.streams))
        packets = [packet for packet in video.demux() if packet.size]
        for index, packet in enumerate(packets):
            if index in (10, 11):
                broken = av.Packet(b"\xff" * 200)
                broken.stream, broken.time_base = packet.stream, packet.time_base
                broken.pts, broken.dts, broken.duration = packet.pts, packet.dts, packet.duration
                packet = broken
            feed.put(packet)
        write(open_sink(tmp_path / "video.webm"), make_frames(60), tracks=feed)
    assert len(times_of(tmp_path / "video.webm")) == 60
    assert abs(beep_time(tmp_path / "video.webm") - beep_time(given)) < 0.03


@pytest.mark.parametrize("late", [5.0, -5.0])
def test_audio_that_arrives_late_or_early_ends_beside_its_image(tmp_path, late):
    given = make_audio(tmp_path / "audio.mp4", "aac", seconds=2)
    write_with(open_sink(tmp_path / "video.mp4"), [given], late=late)
    assert len(packets_of(tmp_path / "video.mp4")) == len(packets_of(given))
    assert abs(beep_time(tmp_path / "video.mp4") - beep_time(given)) < 0.001


def test_images_do_not_pile_up_while_audio_is_missing(tmp_path):
    """Without a bound on interleaving the muxer would hold every image until the first audio."""
    given = make_audio(tmp_path / "audio.mp4", "aac", seconds=1)
    with av.open(str(given)) as video:
        feed = TrackFeed(tuple(video.streams))
        sink = open_sink(tmp_path / "video.mkv", codec="ffv1")
        frames = make_frames(size=(320, 240), times=[30000 * i for i in range(120)])
        sink.open(info_of(frames, tracks=feed))
        sizes = []
        for frame in frames:
            sink.process(frame)
            sizes.append(sum(entry.stat().st_size for entry in tmp_path.glob(".video*")))
        assert sizes[-1] > 100_000
        sink.abort()


CLIPS = [
    "seated_portrait_hevc_audio.mp4",
    "talking_512_audio.mp4",
    "talking_700_odd_rate_audio.mp4",
    "action_mpeg4.avi",
]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("clip", CLIPS)
def test_audio_of_real_videos(shared, tmp_path, caplog, clip, suffix):
    caplog.set_level(logging.INFO)
    given = shared / "clips" / clip
    target = tmp_path / f"video.{suffix}"
    before = packets_of(given)
    seconds = float(before[-1][1])
    write_with(open_sink(target, preset="ultrafast"), [given], count=int(seconds * 30))
    after = packets_of(target)
    if suffix == "webm":
        assert "transcoded to Opus" in caplog.text
        return
    assert "re-encoded" not in caplog.text
    assert [packet[2] for packet in after] == [packet[2] for packet in before]
    assert max(abs(old[1] - new[1]) for old, new in zip(before, after, strict=True)) <= Fraction(1, 900)
    assert abs(times_of(target)[0]) <= Fraction(1, 1000)


@pytest.mark.parametrize("name", ["%04d.jpg", "a/", "a.gif", "-"])
def test_no_packet_stays_where_the_output_holds_no_audio(tmp_path, name):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with av.open(str(given)) as video:
        feed = TrackFeed(tuple(video.streams))
        packets = [packet for packet in video.demux() if packet.size]
        sink = Y4MSink(stream=io.BytesIO()) if name == "-" else open_sink(f"{tmp_path}/{name}")
        for packet in packets[:20]:
            feed.put(packet)
        frames = make_frames(3)
        sink.open(replace(info_of(frames), tracks=feed))
        for packet in packets[20:]:
            feed.put(packet)
        assert not feed.take()
        sink.abort()


def test_a_sink_that_takes_no_packets_holds_a_bounded_number():
    feed = TrackFeed()
    held = []
    for number in range(3 * MAX_PACKETS):
        feed.put(number)
        held.append(len(feed._packets))
    assert max(held) == MAX_PACKETS
    assert held[-1] == 0


def test_a_sink_that_takes_packets_late_loses_none():
    feed = TrackFeed()
    feed.take()
    for number in range(3 * MAX_PACKETS):
        feed.put(number)
    assert len(feed.take()) == 3 * MAX_PACKETS


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_f32le"])
@pytest.mark.parametrize(("audio_codec", "becomes"), [("auto", "aac"), ("alac", "alac")])
def test_pcm_is_transcoded_in_mp4_to_its_full_length(tmp_path, codec, audio_codec, becomes):
    given = make_audio(tmp_path / "audio.mkv", codec)
    write_with(open_sink(tmp_path / "video.mp4", audio_codec=audio_codec), [given])
    with av.open(str(tmp_path / "video.mp4")) as video:
        assert video.streams.audio[0].codec_context.codec.canonical_name == becomes
        heard = sum(frame.samples / frame.sample_rate for frame in video.decode(audio=0))
    assert heard == pytest.approx(2.0, abs=0.025)
    assert abs(beep_time(tmp_path / "video.mp4") - beep_time(given)) < 0.004


def test_an_audio_codec_that_the_container_cannot_hold_is_refused_before_the_first_frame(tmp_path):
    given = make_audio(tmp_path / "audio.mp4", "aac")
    with pytest.raises(UnsupportedOutputError, match="cannot hold ALAC audio; it can hold Opus"):
        write_with(open_sink(tmp_path / "video.webm", audio_codec="alac"), [given])
    assert not (tmp_path / "video.webm").exists()


@pytest.mark.parametrize(
    ("suffix", "kept"), [("mp4", True), ("mkv", True), ("mov", True), ("webm", True), ("gif", False)]
)
def test_chapters_are_kept(tmp_path, suffix, kept):
    feed = TrackFeed()
    base = Fraction(1, 1000)
    feed.chapters = [
        {"id": 1, "start": 0, "end": 80, "time_base": base, "metadata": {"title": "One"}},
        {"id": 2, "start": 80, "end": 160, "time_base": base, "metadata": {"title": "Two"}},
    ]
    write(open_sink(tmp_path / f"video.{suffix}"), make_frames(4), tracks=feed)
    with av.open(str(tmp_path / f"video.{suffix}")) as video:
        found = [(part["start"] * part["time_base"], part["metadata"]["title"]) for part in video.chapters()]
    assert found == ([(0, "One"), (Fraction(80, 1000), "Two")] if kept else [])
