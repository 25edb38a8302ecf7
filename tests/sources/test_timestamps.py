"""Presentation times, parts of a video, and how audio stays with the image."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from support.videos import make_video, pattern_image, read_packets, read_times

from streammatte.errors import ConfigError, SourceError
from streammatte.sources import ReadOptions, open_source
from streammatte.sources.timestamps import FrameTimes, Timeline
from streammatte.sources.video import FileSource

IRREGULAR = [0, 1500, 6000, 9000, 9100, 20000, 40000, 41000, 60000, 90000]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_variable_rate_passes_untouched(tmp_path, name):
    path = make_video(tmp_path / name, pts=IRREGULAR)
    frames = list(open_source(path).frames())
    assert [(frame.pts, frame.time_base) for frame in frames] == read_times(path)
    assert [float(frame.pts * frame.time_base) for frame in frames] == pytest.approx(
        [pts / 90_000 for pts in IRREGULAR], abs=0.0006
    )


def test_b_frames_come_in_display_order(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=30, options={"preset": "medium", "bf": "3", "crf": "12"})
    with av.open(str(path)) as video:
        order = [packet.pts for packet in video.demux(video=0) if packet.size]
    assert order != sorted(order)
    assert [frame.pts for frame in open_source(path).frames()] == sorted(order)


def test_avi_with_b_frames_gets_increasing_times(tmp_path):
    path = make_video(tmp_path / "a.avi", codec="mpeg4", frames=30, options={"bf": "2"})
    frames = list(open_source(path).frames())
    times = [frame.pts for frame in frames]
    assert len(times) == 30
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    with av.open(str(path)) as video:
        assert times[0] == next(video.decode(video=0)).dts  # one frame after the audio, as ffprobe shows it
    assert times[-1] <= 31


def test_raw_streams_without_times_count_up(tmp_path):
    path = make_video(tmp_path / "a.h264", container="h264", frames=12, options={"preset": "medium", "bf": "2"})
    frames = list(open_source(path).frames())
    seconds = np.array([frame.time for frame in frames])
    assert len(frames) == 12
    np.testing.assert_allclose(np.diff(seconds), 1 / 25, atol=1e-6)


class _Stamp:
    def __init__(self, pts, dts):
        self.pts, self.dts = pts, dts


def test_equal_and_backward_times_are_repaired():
    times = FrameTimes("matroska,webm", 40)
    given = [0, 40, 40, 30, 100, None, 180]
    assert [times.time(_Stamp(pts, None)) for pts in given] == [0, 40, 41, 42, 100, 140, 180]


@pytest.mark.parametrize("name,audio", [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mov", "pcm_s16le")])
def test_a_part_begins_at_zero_with_its_audio(tmp_path, name, audio):
    path = make_video(tmp_path / name, frames=100, gop=30, audio=audio)
    source = open_source(path, start=1.28, duration=1.0)
    frames = list(source.frames())
    assert len(frames) == 25
    assert [frame.pts for frame in frames][:2] == [0, round(Fraction(1, 25) / frames[0].time_base)]
    wanted = list(open_source(path).frames())[32:57]
    np.testing.assert_array_equal(frames[0].planes[0], wanted[0].planes[0])
    np.testing.assert_array_equal(frames[-1].planes[0], wanted[-1].planes[0])
    assert source.info.duration == pytest.approx(1.0)
    carried = source.info.tracks.take()
    base = carried[0].time_base
    assert carried[0].pts * base < 0.1
    assert 0.9 < (carried[-1].pts + carried[-1].duration) * base < 1.05
    moved = round(wanted[0].pts * wanted[0].time_base / base)
    whole = [
        (pts - moved, data) for pts, data in read_packets(path) if pts - moved >= 0 and pts * base < Fraction("2.28")
    ]
    assert [(packet.pts, bytes(packet)) for packet in carried] == whole


def test_a_start_between_keyframes_is_exact(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=60, gop=60)
    frame = next(open_source(path, start=0.4, duration=0.04).frames())
    plain = list(open_source(path).frames())[10]
    np.testing.assert_array_equal(frame.planes[0], plain.planes[0])


def test_a_duration_alone_keeps_the_times(tmp_path):
    path = make_video(tmp_path / "a.mkv", pts=[9000 + 3600 * n for n in range(20)])
    part = [frame.pts for frame in open_source(path, duration=0.2).frames()]
    assert part == [frame.pts for frame in open_source(path).frames()][:5]


def test_a_start_beyond_the_end_names_the_length(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=25)
    with pytest.raises(SourceError, match=r"lasts 1\.00 s.*start 7 s.*beyond its end"):
        open_source(path, start=7)


@pytest.mark.parametrize("wrong", [{"start": -1}, {"duration": 0}, {"timeout": 0}, {"rate": 0}])
def test_impossible_parts_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError):
        open_source(make_video(tmp_path / "a.mp4", frames=2), **wrong)


def test_audio_longer_than_the_image_is_no_fault(tmp_path):
    for name, codec in (("a.mp4", "aac"), ("a.mkv", "libopus")):
        path = make_video(tmp_path / name, frames=20, audio=codec, audio_seconds=4)
        assert sum(1 for _ in open_source(path).frames()) == 20
    path = make_video(tmp_path / "c.mp4", frames=50, audio="aac", audio_seconds=0.5)
    assert sum(1 for _ in open_source(path).frames()) == 50


def test_a_long_last_frame_is_no_fault(tmp_path):
    path = make_video(tmp_path / "a.mp4", pts=[0, 3600, 7200, 400_000])
    assert sum(1 for _ in open_source(path).frames()) == 4
    assert pattern_image(0, 8, 8).shape == (8, 8, 3)


@pytest.mark.parametrize("name,made", [
    ("a.ts", {"container": "mpegts", "options": {"preset": "medium", "bf": "3"}}),
    ("a.flv", {"options": {"preset": "medium", "bf": "3"}}),
    ("a.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    ("a.h264", {"container": "h264", "options": {"preset": "medium", "bf": "2"}}),
    ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ("a.mp4", {"options": {"preset": "medium", "bf": "3"}}),
])  # fmt: skip
def test_every_container_starts_at_the_requested_frame(tmp_path, name, made):
    path = make_video(tmp_path / name, frames=60, gop=20, **made)
    whole = list(open_source(path).frames())
    for index in (3, 21, 38, 57):
        start = whole[index].time
        part = list(open_source(path, start=round(start, 4), duration=0.08).frames())
        assert [frame.index for frame in part] == [0, 1]
        assert part[0].pts == 0
        np.testing.assert_array_equal(part[0].planes[0], whole[index].planes[0])


def test_a_start_before_a_late_image(tmp_path):
    path = make_video(
        tmp_path / "a.mkv", pts=[90_000 + 3600 * n for n in range(20)], audio="libopus", audio_seconds=1.7
    )
    part = list(open_source(path, start=0.3).frames())
    assert len(part) == 20
    assert part[0].pts == 0


def test_a_source_is_read_once(tmp_path):
    source = open_source(make_video(tmp_path / "a.mp4", frames=3))
    assert sum(1 for _ in source.frames()) == 3
    with pytest.raises(SourceError, match="read already"):
        next(source.frames())


def test_audio_that_is_stored_before_the_image_is_kept(tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=30, audio="libopus")
    with (
        av.open(str(path)) as video,
        av.open(str(tmp_path / "b.mkv"), "w", options={"max_interleave_delta": "0"}) as out,
    ):
        packets = [packet for packet in video.demux() if packet.size]
        pairs = {stream.index: out.add_stream_from_template(stream) for stream in video.streams}
        out.start_encoding()
        for packet in sorted(packets, key=lambda packet: packet.stream.type):
            packet.stream = pairs[packet.stream.index]
            out.mux_one(packet)
    source = open_source(tmp_path / "b.mkv", start=0)
    assert sum(1 for _ in source.frames()) == 30
    assert len(source.info.tracks.take()) == len(read_packets(path))


def _read(path, **how):
    source = open_source(path, **how)
    frames = [frame.time for frame in source.frames()]
    packets = [packet for packet in source.info.tracks.take() if packet.stream.type == "audio"]
    return frames, [float(packet.pts * packet.time_base) for packet in packets]


def _remux(source, target, *, order=("video", "audio"), offset=0.0, container=None):
    """The same packets in another container, streams in another order, times moved by ``offset`` seconds."""
    with av.open(str(source)) as given, av.open(str(target), "w", format=container) as out:
        chosen = [given.streams.get({kind: 0})[0] for kind in order]
        made = {stream.index: out.add_stream_from_template(stream) for stream in chosen}
        for packet in given.demux(chosen):
            if packet.size == 0:
                continue
            moved = round(offset / packet.time_base)
            packet.pts, packet.dts = (None if at is None else at + moved for at in (packet.pts, packet.dts))
            packet.stream = made[packet.stream.index]
            out.mux(packet)
    return target


@pytest.fixture(scope="module")
def with_audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "v.mp4", frames=60, rate=30, audio="aac", options={"preset": "medium", "bf": "2"})


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_no_frame_is_lost_where_the_video_is_not_the_first_stream(with_audio, tmp_path, name, threads):
    path = _remux(with_audio, tmp_path / name, order=("audio", "video"))
    with av.open(str(path)) as video:
        assert video.streams[0].type == "audio"
    source = FileSource(str(path), options=ReadOptions(threads=threads))
    assert sum(1 for _ in source.frames()) == 60


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.mkv", "libx265"), ("a.mpg", "mpeg2video")])
def test_no_frame_of_any_codec_is_lost_behind_the_audio(tmp_path, name, codec):
    audio = {"a.webm": "libopus", "a.mkv": "aac", "a.mpg": "mp2"}[name]
    how = {"time_base": Fraction(1, 30)} if codec == "mpeg2video" else {}
    first = make_video(tmp_path / f"first-{name}", codec=codec, frames=40, rate=30, audio=audio, **how)
    path = _remux(first, tmp_path / name, order=("audio", "video"))
    frames, _ = _read(path)
    assert len(frames) == 40


@pytest.mark.parametrize("offset", [36_000.0, 1.4])
def test_times_begin_at_the_containers_start(with_audio, tmp_path, offset):
    plain_frames, plain_audio = _read(_remux(with_audio, tmp_path / "a.ts"))
    frames, audio = _read(_remux(with_audio, tmp_path / "b.ts", offset=offset))
    assert min(frames[0], audio[0]) == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(frames, plain_frames, atol=1e-4)
    np.testing.assert_allclose(audio, plain_audio, atol=1e-4)


@pytest.mark.parametrize("offset", [0.0, 3600.0, -1.0, 50.0])
def test_jumps_of_the_time_are_closed_with_one_warning(with_audio, tmp_path, caplog, offset):
    """Two recordings in one file, the second with times that begin again, earlier or an hour later."""
    first = _remux(with_audio, tmp_path / "first.ts", offset=2.0)
    second = _remux(with_audio, tmp_path / "second.ts", offset=2.0 + offset)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames, audio = _read(both)
    assert len(frames) == 120
    assert max(np.diff(frames)) < 0.05 and min(np.diff(frames)) > 0.02
    _, alone_audio = _read(first)
    assert len(audio) == 2 * len(alone_audio)
    assert max(np.diff(audio)) < 0.06
    # the second half's audio lies beside its frames as the first half's does, to a frame
    half = len(alone_audio)
    assert (audio[half] - audio[0]) - (frames[60] - frames[0]) == pytest.approx(0, abs=0.05)
    assert caplog.text.count("the time jumps from") == 1


def test_a_gap_of_one_stream_is_kept():
    timeline = Timeline(Fraction(0), True, "video")
    placed = {0: [], 1: []}
    for index, seconds in [(0, 0), (1, 0), (0, 1), *((1, second) for second in range(1, 100)), (0, 100), (1, 100)]:
        packet = _packet(index, seconds)
        timeline.place(packet)
        placed[index].append(packet.pts)
    assert placed[0] == [0, 1000, 100_000]
    assert placed[1][-1] == 100_000


class _Packet:
    def __init__(self, stream, pts):
        self.stream, self.pts, self.dts, self.duration, self.time_base = stream, pts, pts, 1000, Fraction(1, 1000)


class _Stream:
    def __init__(self, index):
        self.index, self.type = index, "video" if index == 0 else "audio"


def _packet(index, seconds):
    return _Packet(_Stream(index), seconds * 1000)


def test_audio_is_of_the_videos_own_programme(tmp_path):
    """Without a table of programmes in PyAV: the audio that FFmpeg relates to the video, and no other."""
    with av.open(str(tmp_path / "two.ts"), "w", format="mpegts") as out:
        streams = [out.add_stream(codec, rate=rate) for codec, rate in [("mpeg2video", 25), ("mp2", 48_000)] * 2]
        for stream in streams[::2]:
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for stream in streams[1::2]:
            stream.layout = "mono"
        for index in range(10):
            for stream in streams[::2]:
                image = av.VideoFrame.from_ndarray(pattern_image(index, 96, 64), format="rgb24")
                out.mux(stream.encode(image))
        for stream in streams:
            if stream.type == "audio":
                audio = av.AudioFrame.from_ndarray(np.zeros((1, 19_200), np.int16), format="s16", layout="mono")
                audio.sample_rate = 48_000
                out.mux(stream.encode(audio))
            out.mux(stream.encode(None))
    source = open_source(tmp_path / "two.ts")
    assert [stream.type for stream in source.info.tracks.streams] == ["audio"]
    source.close()
