"""Videos in: planes, layouts, orientation, streams, tracks."""

import itertools
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.videos import make_video, pattern_image, read_packets, read_times

from streammatte.errors import TruncatedSourceError, UnsupportedSourceError
from streammatte.frames import Layout, plane_shapes
from streammatte.protocols import Source
from streammatte.sources import ReadOptions, SyntheticSource, open_source, reopener

ONE = 65536


def to_rgb(frame):
    """RGB of a frame by libswscale, independent of the package."""
    if frame.layout is Layout.RGB:
        return frame.planes[0]
    video = av.VideoFrame(frame.width, frame.height, frame.layout.value)
    for plane, values in zip(video.planes, frame.planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = values
        plane.update(rows)
    return video.to_ndarray(format="rgb24", src_colorspace="ITU601", src_color_range=2 if frame.color.full_range else 1)


def close_to(seen, wanted, most=6.0):
    assert seen.shape == wanted.shape
    return np.abs(seen.astype(int) - wanted).mean() < most


@pytest.mark.parametrize("codec,name", [("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libx264", "a.mov"),
                                        ("libvpx-vp9", "a.webm"), ("mpeg4", "a.avi"), ("gif", "a.gif"),
                                        ("ffv1", "a.mkv"), ("libx265", "a.mp4"), ("mjpeg", "a.mov")])  # fmt: skip
def test_every_container_gives_its_images(tmp_path, codec, name):
    formats = {"gif": "rgb8", "mjpeg": "yuvj420p"}
    path = make_video(tmp_path / name, frames=8, codec=codec, pix_fmt=formats.get(codec, "yuv420p"),
                     full_range=codec == "mjpeg")  # fmt: skip
    source = open_source(path)
    assert isinstance(source, Source)
    frames = list(source.frames())
    assert len(frames) == 8
    assert [frame.index for frame in frames] == list(range(8))
    assert all(frame.planes[0].shape[:2] == (64, 96) for frame in frames)
    for index in (0, 7):
        assert close_to(to_rgb(frames[index]), pattern_image(index, 96, 64), 24 if codec == "gif" else 8)
    source.close()
    source.close()


@pytest.mark.parametrize("size", [(95, 63), (97, 65), (33, 128)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
def test_own_layouts_are_views_of_the_decoder(tmp_path, size, pix_fmt):
    path = make_video(tmp_path / "a.mkv", width=size[0], height=size[1], frames=3, codec="ffv1", pix_fmt=pix_fmt)
    source = open_source(path)
    frame = next(source.frames())
    assert source.info.layout.value == pix_fmt
    assert tuple(plane.shape for plane in frame.planes) == plane_shapes(frame.layout, *size)
    with av.open(str(path)) as video:
        wanted = next(video.decode(video=0))
        for plane, other in zip(frame.planes, wanted.planes, strict=True):
            rows = np.frombuffer(other, np.uint8).reshape(-1, other.line_size)[: other.height, : other.width]
            np.testing.assert_array_equal(plane, rows)
    address = np.frombuffer(frame.owner.planes[0], np.uint8).ctypes.data
    assert frame.planes[0].ctypes.data == address


@pytest.mark.parametrize("pix_fmt,codec,layout", [
    ("nv12", "rawvideo", Layout.YUV420), ("rgb24", "rawvideo", Layout.RGB), ("bgra", "qtrle", Layout.RGB),
    ("gbrp", "utvideo", Layout.RGB), ("gray", "ffv1", Layout.YUV420), ("yuv411p", "ffv1", Layout.YUV422),
    ("yuv410p", "ffv1", Layout.YUV420), ("yuv440p", "ffv1", Layout.YUV444), ("yuv422p10le", "ffv1", Layout.YUV422),
    ("gray10le", "ffv1", Layout.YUV420), ("yuva420p", "ffv1", Layout.YUV420), ("yuva444p", "ffv1", Layout.YUV444),
    ("uyvy422", "rawvideo", Layout.YUV422), ("pal8", "png", Layout.RGB), ("yuvj422p", "mjpeg", Layout.YUV422),
])  # fmt: skip
def test_other_formats_become_the_nearest_layout(tmp_path, pix_fmt, codec, layout):
    if pix_fmt == "pal8":
        pytest.importorskip("PIL")
        path = tmp_path / "a.mov"
        from PIL import Image

        Image.fromarray(pattern_image(0, 96, 64)).quantize(64).save(tmp_path / "p.png")
        with av.open(str(tmp_path / "p.png")) as still, av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(still.streams.video[0])
            for packet in still.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    else:
        suffix = "nut" if codec == "rawvideo" else "mov" if codec == "qtrle" else "avi" if codec == "utvideo" else "mkv"
        made = "argb" if codec == "qtrle" else pix_fmt
        full = pix_fmt.startswith(("gray", "yuvj"))
        path = make_video(tmp_path / f"a.{suffix}", frames=2, codec=codec, pix_fmt=made, full_range=full)
    source = open_source(path)
    frame = next(source.frames())
    assert frame.layout is source.info.layout is layout
    assert frame.alpha is None or frame.alpha.min() == 255
    wanted = pattern_image(0, 96, 64)
    if pix_fmt.startswith("gray"):
        wanted = cv2.cvtColor(cv2.cvtColor(wanted, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        assert np.ptp(frame.planes[1]) == 0 and frame.planes[1][0, 0] == 128
    assert close_to(to_rgb(frame), wanted, 12)


def test_alpha_of_the_video_is_kept(tmp_path):
    def image(index, width, height):
        alpha = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
        return np.dstack([pattern_image(index, width, height), alpha])

    for name, codec, pix_fmt in (("a.mkv", "ffv1", "yuva420p"), ("b.mov", "qtrle", "argb")):
        source = open_source(make_video(tmp_path / name, frames=2, codec=codec, pix_fmt=pix_fmt, image=image))
        frame = next(source.frames())
        assert source.info.has_alpha
        np.testing.assert_allclose(frame.alpha[5], image(0, 96, 64)[5, :, 3], atol=1)


MATRICES = {
    "clockwise": ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, -1)),
    "half": ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, 2)),
    "counter": ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.rot90(p, 1)),
    "mirror": ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), lambda p: p[:, ::-1]),
    "upside down": ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda p: p[::-1]),
    "transpose": ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda p: p.transpose(1, 0, 2)),
    "anti-transpose": ((0, -ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p"])
def test_the_display_matrix_is_applied(tmp_path, kind, pix_fmt):
    matrix, wanted = MATRICES[kind]
    path = make_video(
        tmp_path / "a.mov", width=98, height=66, frames=2, pix_fmt=pix_fmt, matrix33=matrix, sar=Fraction(4, 3)
    )
    source = open_source(path)
    frame = next(source.frames())
    upright = wanted(pattern_image(0, 98, 66))
    assert (source.info.height, source.info.width) == upright.shape[:2]
    lying = upright.shape[0] == 98
    assert source.info.sample_aspect_ratio == (Fraction(3, 4) if lying else Fraction(4, 3))
    assert source.info.layout is (Layout.YUV444 if lying and pix_fmt == "yuv422p" else Layout(pix_fmt))
    assert all(plane.flags.c_contiguous or plane.strides[1] == 1 for plane in frame.planes)
    assert close_to(to_rgb(frame), upright)


def test_rotation_as_a_phone_writes_it(tmp_path):
    path = make_video(tmp_path / "a.mp4", width=96, height=64, frames=3, rotation=-90)
    assert (open_source(path).info.width, open_source(path).info.height) == (64, 96)


def test_an_odd_angle_is_reported_and_left(tmp_path, caplog):
    path = make_video(tmp_path / "a.mov", frames=2, rotation=30)
    source = open_source(path)
    assert (source.info.width, source.info.height) == (96, 64)
    assert "only right angles" in caplog.text


def test_interlaced_is_reported(tmp_path, caplog):
    assert open_source(make_video(tmp_path / "a.mp4", frames=3, interlaced=True)).info.interlaced
    assert "interlaced" in caplog.text
    assert not open_source(make_video(tmp_path / "b.mp4", frames=3)).info.interlaced


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path, caplog):
    small = make_video(tmp_path / "a.ts", frames=5, container="mpegts")
    large = make_video(
        tmp_path / "b.ts", width=192, height=128, pts=[3600 * n for n in range(5, 10)], container="mpegts"
    )
    (tmp_path / "c.ts").write_bytes(small.read_bytes() + large.read_bytes())
    frames = list(open_source(tmp_path / "c.ts").frames())
    assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}
    assert len(frames) == 10
    assert caplog.text.count("changes its image") == 1
    assert close_to(
        to_rgb(frames[-1]), cv2.resize(pattern_image(4, 192, 128), (96, 64), interpolation=cv2.INTER_AREA), 9
    )


def two_sizes(folder, first, second, frames=(5, 5)):
    """An MPEG-TS whose images change from ``first`` to ``second``."""
    parts = []
    for number, (width, height) in enumerate((first, second)):
        pts = [3600 * (n + number * frames[0]) for n in range(frames[number])]
        path = folder / f"{number}.ts"
        make_video(path, width=width, height=height, pts=pts, container="mpegts", frames=frames[number])
        parts.append(path.read_bytes())
    whole = folder / "changes.ts"
    whole.write_bytes(b"".join(parts))
    return whole


def test_a_turn_to_portrait_keeps_its_shape_inside_black_bars(tmp_path, caplog):
    frames = list(open_source(two_sizes(tmp_path, (96, 64), (64, 96))).frames())
    assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}
    shown = to_rgb(frames[-1])
    inner = cv2.resize(pattern_image(4, 64, 96), (42, 64), interpolation=cv2.INTER_AREA)
    left = (96 - 42) // 4 * 2
    assert close_to(shown[:, left : left + 42], inner, 9)
    assert shown[:, : left - 2].max() < 24 and shown[:, left + 44 :].max() < 24
    assert "black bars" in caplog.text


def test_following_a_change_of_size_takes_the_largest(tmp_path, caplog):
    source = open_source(two_sizes(tmp_path, (96, 64), (192, 128)), size_change="follow")
    frames = list(source.frames())
    assert (
        {(frame.width, frame.height) for frame in frames} == {(192, 128)} == {(source.info.width, source.info.height)}
    )
    assert close_to(to_rgb(frames[-1]), pattern_image(4, 192, 128), 9)
    assert close_to(to_rgb(frames[0]), cv2.resize(pattern_image(0, 96, 64), (192, 128)), 12)
    assert "changes its image" not in caplog.text


def test_a_size_cannot_be_followed_in_what_is_read_once(tmp_path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(
        target=lambda: fifo.write_bytes(two_sizes(tmp_path, (96, 64), (192, 128)).read_bytes()), daemon=True
    )
    writer.start()
    with pytest.raises(UnsupportedSourceError, match="--size-change follow"):
        open_source(fifo, size_change="follow")


def test_more_pixels_in_mid_video_than_allowed_are_not_decoded(tmp_path):
    path = two_sizes(tmp_path, (96, 64), (1280, 960), frames=(250, 20))
    frames = []
    with pytest.raises(TruncatedSourceError):
        frames.extend(open_source(path, max_megapixels=1).frames())


def test_what_a_loop_lacks_is_reported_once(tmp_path, caplog):
    path = make_video(tmp_path / "a.mkv", frames=3, pix_fmt="yuv420p10le")
    opening = reopener(str(path), ReadOptions())
    for _ in range(3):
        source = opening()
        assert len(list(source.frames())) == 3
        source.close()
    assert caplog.text.count("10 bits") == 1


def test_tracks_carry_every_packet(tmp_path):
    path = make_video(tmp_path / "a.mp4", audio="aac", subtitles="mov_text", cover=True, frames=25)
    source = open_source(path)
    assert [stream.type for stream in source.info.tracks.streams] == ["audio", "subtitle"]
    assert (source.info.width, source.info.height) == (96, 64)
    assert sum(1 for _ in source.frames()) == 25
    taken = source.info.tracks.take()
    for kind in ("audio", "subtitle"):
        mine = [(packet.pts, bytes(packet)) for packet in taken if packet.stream.type == kind]
        assert mine == read_packets(path, kind)
        assert mine


def test_tracks_can_be_left_out(tmp_path):
    source = open_source(make_video(tmp_path / "a.mp4", audio="aac"), tracks=False)
    assert source.info.tracks is None
    assert sum(1 for _ in source.frames()) == 20


def test_audio_alone_is_refused_even_with_a_cover(tmp_path):
    path = make_video(tmp_path / "a.mp4", audio="aac", cover=True)
    with av.open(str(path)) as video, av.open(str(tmp_path / "b.mp4"), "w") as out:
        wanted = [video.streams.audio[0], *[s for s in video.streams.video if s.disposition & 1024]]
        pairs = {stream.index: out.add_stream_from_template(stream) for stream in wanted}
        for stream in wanted[1:]:
            pairs[stream.index].disposition = av.stream.Disposition.attached_pic
        for packet in video.demux(wanted):
            if packet.size:
                packet.stream = pairs[packet.stream.index]
                out.mux(packet)
    with pytest.raises(UnsupportedSourceError, match="no video stream"):
        open_source(tmp_path / "b.mp4")


def test_metadata_describe_the_content_alone(tmp_path):
    path = make_video(
        tmp_path / "a.mp4", metadata={"title": "The beach", "artist": "Us", "encoder": "x", "composer": "You"}, frames=2
    )
    assert open_source(path).info.metadata == {"title": "The beach", "artist": "Us", "composer": "You"}


def test_raw_y4m_on_standard_input(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W96 H64 F25:1 Ip A4:3 C420jpeg\n" + (b"FRAME\n" + bytes(96 * 64 * 3 // 2)) * 6)
    code = (
        "from streammatte.sources import open_source; s = open_source('-'); f = list(s.frames());"
        "print(len(f), s.info.width, s.info.rate, s.info.sample_aspect_ratio, [x.pts for x in f], s.info.name)"
    )
    with path.open("rb") as data:
        done = subprocess.run([sys.executable, "-c", code], stdin=data, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "6 96 25 4/3 [0, 1, 2, 3, 4, 5] standard input"


def test_synthetic_frames_fit_their_truth():
    source = SyntheticSource(161, 91, 30, 60)
    frames = list(source.frames())
    again = list(SyntheticSource(161, 91, 30, 60).frames())
    assert len(frames) == 60 == source.info.frame_count
    assert tuple(plane.shape for plane in frames[0].planes) == plane_shapes(Layout.YUV420, 161, 91)
    for index in (0, 7, 31):
        np.testing.assert_array_equal(frames[index].planes[0], again[index].planes[0])
    assert np.abs(frames[0].planes[0].astype(int) - frames[6].planes[0]).max() > 40
    truth = source.truth(6)
    assert 0.1 < truth.mean() / 255 < 0.6
    assert ((truth > 0) & (truth < 255)).any()
    still = (source.truth(0) == 0) & (truth == 0)
    np.testing.assert_array_equal(frames[0].planes[0][still], frames[6].planes[0][still])


@pytest.mark.slow
def test_every_shared_video_matches_independent_decoders(shared):
    videos = sorted(path for path in (shared / "clips").iterdir() if path.suffix in (".mp4", ".mkv", ".avi"))
    assert videos
    for path in videos:
        source = open_source(path)
        times = [frame.pts for frame in source.frames()]
        capture, count = cv2.VideoCapture(str(path)), 0
        while capture.grab():
            count += 1
        assert len(times) == count, path.name
        assert all(later > earlier for earlier, later in itertools.pairwise(times)), path.name
        if path.suffix != ".avi":
            with av.open(str(path)) as video:
                origin = round(Fraction(video.start_time, av.time_base) / video.streams.video[0].time_base)
                given = sorted(packet.pts for packet in video.demux(video=0) if packet.size)
            assert times == [pts - origin for pts in given], path.name
        else:  # one frame after the audio, as ffprobe shows it
            assert times == list(range(1, count + 1))
        carried = [bytes(packet) for packet in source.info.tracks.take()]
        if source.info.tracks.streams:
            assert carried == [data for _, data in read_packets(path)], path.name
        source.close()


def test_times_helper_agrees(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=4)
    assert [(frame.pts, frame.time_base) for frame in open_source(Path(path)).frames()] == read_times(path)
