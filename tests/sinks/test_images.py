"""Numbered images, stills, GIF and Y4M, read back."""

import io
import itertools
import subprocess
import sys
import textwrap
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.sink_frames import BT709, info_of, make_frames, write

from streammatte.errors import ConfigError, OutputExistsError, SinkError, UnsupportedOutputError
from streammatte.frames import ColorSpec, Layout
from streammatte.sinks import Y4MSink, open_sink
from streammatte.sources import open_source
from streammatte.tracks import TrackFeed


def rgb_of(frame):
    """What a YUV frame shows, by the equations of BT.709 or BT.601, limited or full range; 4:4:4 frames only."""
    kr, kb = frame.color.luma(frame.height)
    y, u, v = (plane.astype(float) for plane in frame.planes)
    if frame.color.full_range:
        y, u, v = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1) * 255, 0, 255)


@pytest.mark.parametrize(
    "color", [BT709, ColorSpec(6, 6, 6, False), ColorSpec(1, 1, 1, True), ColorSpec(9, 9, 14, False)], ids=str
)
def test_colours_of_images(tmp_path, color):
    frames = make_frames(2, layout=Layout.YUV444, color=color)
    write(open_sink(tmp_path / "a_%03d.png"), frames)
    for index, frame in enumerate(frames):
        got = cv2.imread(str(tmp_path / f"a_{index:03d}.png"))[..., ::-1].astype(float)
        assert np.abs(got - rgb_of(frame)).mean() < 1
        assert np.abs((got - rgb_of(frame)).mean(axis=(0, 1))).max() < 0.7


@pytest.mark.parametrize(("suffix", "slack"), [("png", 0), ("jpg", 3), ("webp", 0)])
def test_rgb_images(tmp_path, suffix, slack):
    frames = make_frames(3, (95, 63), Layout.RGB)
    write(open_sink(tmp_path / f"a_%d.{suffix}"), frames)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a_{i}.{suffix}" for i in range(3)]
    got = cv2.imread(str(tmp_path / f"a_2.{suffix}"))[..., ::-1].astype(float)
    assert np.abs(got - frames[2].planes[0]).mean() <= slack


def test_a_width_counts_in_zeros_as_ffmpeg_reads_it(tmp_path):
    write(open_sink(tmp_path / "a_%4d.png"), make_frames(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_0000.png", "a_0001.png"]
    with closing(open_source(tmp_path / "a_%4d.png")) as source:
        assert len(list(source.frames())) == 2


def test_gray_and_alpha_images_are_exact(tmp_path):
    matte = make_frames(1, (95, 63), Layout.GRAY)
    write(open_sink(tmp_path / "matte.png"), matte)
    got = cv2.imread(str(tmp_path / "matte.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(got, matte[0].planes[0])
    for layout in (Layout.RGB, Layout.YUV420):
        frames = make_frames(1, (95, 63), layout, alpha=True)
        write(open_sink(tmp_path / "cut.png", overwrite=True), frames)
        got = cv2.imread(str(tmp_path / "cut.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(got[..., 3], frames[0].alpha)
    write(open_sink(tmp_path / "cut.webp"), make_frames(1, layout=Layout.RGB, alpha=True))
    assert cv2.imread(str(tmp_path / "cut.webp"), cv2.IMREAD_UNCHANGED).shape == (64, 96, 4)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_of_images(tmp_path, there):
    folder = tmp_path / "frames"
    if there:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    write(open_sink(f"{folder}/"), make_frames(3))
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", *(["notes.txt"] if there else [])]
    with pytest.raises(OutputExistsError):
        open_sink(f"{folder}/").open(info_of(make_frames(1)))


def test_a_folder_is_as_it_was_after_abort(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    sink = open_sink(f"{tmp_path}/")
    sink.open(info_of(make_frames(1)))
    sink.process(make_frames(1)[0])
    sink.abort()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_longer_earlier_run_is_reported_of(tmp_path, caplog):
    write(open_sink(tmp_path / "a_%d.png"), make_frames(5))
    write(open_sink(tmp_path / "a_%d.png", overwrite=True), make_frames(2))
    assert "5 images there" in caplog.text


def test_images_of_a_size(tmp_path):
    write(open_sink(tmp_path / "a_%d.png", output_size=(31, 17)), make_frames(1))
    assert cv2.imread(str(tmp_path / "a_0.png")).shape == (17, 31, 3)


def test_a_still_takes_one_frame(tmp_path):
    sink = open_sink(tmp_path / "still.png")
    frames = make_frames(2)
    sink.open(info_of(frames))
    sink.process(frames[0])
    with pytest.raises(UnsupportedOutputError, match=r"still_%04d\.png"):
        sink.process(frames[1])
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a_%d_%d.png", "a_%s_%d.png"])
def test_strange_patterns_are_refused(tmp_path, name):
    with pytest.raises((ConfigError, UnsupportedOutputError)):
        open_sink(tmp_path / name)


def test_codec_of_images_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--codec"):
        open_sink(tmp_path / "a_%d.png", codec="libx264")


def test_left_out_audio_is_reported(tmp_path, caplog):
    caplog.set_level("INFO")
    with av.open(str(tmp_path / "s.mp4"), "w") as out:
        out.add_stream("aac", rate=48000)
        feed = TrackFeed(tuple(out.streams))
        write(open_sink(tmp_path / "a_%d.png"), make_frames(1), tracks=feed)
    assert "audio left out" in caplog.text


def gif_frames(path):
    with av.open(str(path)) as video:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="rgba")) for frame in video.decode(video=0)]


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420, Layout.GRAY])
def test_gif_shows_the_colours(tmp_path, layout):
    frames = make_frames(6, (95, 63), layout, times=[9000 * i for i in range(6)])
    write(open_sink(tmp_path / "a.gif"), frames)
    got = gif_frames(tmp_path / "a.gif")
    assert [time for time, _ in got] == [Fraction(i, 10) for i in range(6)]
    if layout is Layout.RGB:
        for (_, image), frame in zip(got, frames, strict=True):
            smooth = cv2.blur(image[..., :3].astype(np.float32), (5, 5))
            assert np.abs(smooth - frame.planes[0]).mean() < 4
    capture = cv2.VideoCapture(str(tmp_path / "a.gif"))
    assert capture.read()[0]


def test_gif_times(tmp_path):
    times = [90000, 90000 + 3000, 90000 + 12000, 90000 + 90000, 90000 + 180000]
    write(open_sink(tmp_path / "a.gif"), make_frames(times=times))
    got = [float(time) for time, _ in gif_frames(tmp_path / "a.gif")]
    np.testing.assert_allclose(got, [(t - 90000) / 90000 for t in times], atol=0.0051)


def test_gif_leaves_out_what_browsers_would_slow_down(tmp_path, caplog):
    caplog.set_level("INFO")
    write(open_sink(tmp_path / "a.gif"), make_frames(times=[1000 * i for i in range(60)]))
    got = [time for time, _ in gif_frames(tmp_path / "a.gif")]
    assert min(b - a for a, b in itertools.pairwise(got)) >= Fraction(1, 50)
    assert "left out" in caplog.text


def test_gif_alpha_is_on_or_off(tmp_path):
    frames = make_frames(4, layout=Layout.RGB, alpha=True, times=[9000 * i for i in range(4)])
    write(open_sink(tmp_path / "a.gif"), frames)
    for (_, image), frame in zip(gif_frames(tmp_path / "a.gif"), frames, strict=True):
        np.testing.assert_array_equal(image[..., 3] > 0, frame.alpha >= 128)


def test_one_gif_image(tmp_path):
    write(open_sink(tmp_path / "a.gif"), make_frames(1))
    assert len(gif_frames(tmp_path / "a.gif")) == 1


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("size", [(96, 64), (95, 63)])
def test_y4m_reads_back(layout, size):
    stream = io.BytesIO()
    frames = make_frames(3, size, layout)
    write(Y4MSink(stream=stream), frames, sample_aspect_ratio=Fraction(4, 3), rate=Fraction(30000, 1001))
    stream.seek(0)
    with av.open(stream, format="yuv4mpegpipe") as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(30000, 1001)
        assert video.sample_aspect_ratio == Fraction(4, 3)
        images = list(container.decode(video))
    assert len(images) == 3
    assert images[0].color_range in (0, 2 if layout is Layout.GRAY else 1)
    if layout is not Layout.RGB:
        assert images[0].format.name == layout.value
        for index, plane in enumerate(images[1].planes):
            got = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            np.testing.assert_array_equal(got, frames[1].planes[index])


def test_y4m_header():
    stream = io.BytesIO()
    write(Y4MSink(stream=stream), make_frames(1, color=ColorSpec(1, 1, 1, True)))
    header = stream.getvalue().split(b"\n")[0]
    assert header == b"YUV4MPEG2 W96 H64 F30:1 Ip A1:1 C420mpeg2 XCOLORRANGE=FULL"


def test_y4m_holds_no_alpha():
    with pytest.raises(UnsupportedOutputError, match=r"\.mov"):
        Y4MSink(stream=io.BytesIO()).open(info_of(make_frames(1, alpha=True)))


WRITER = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parents[1])!r})
    from support.sink_frames import make_frames, info_of
    from streammatte.errors import SinkError
    from streammatte.sinks import open_sink
    frames = make_frames(200, (320, 240))
    sink = open_sink("-")
    try:
        sink.open(info_of(frames))
        for frame in frames:
            sink.process(frame)
        sink.drain()
        sink.close()
    except SinkError as error:
        sink.abort()
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


def test_y4m_goes_to_standard_output():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(WRITER)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout), format="yuv4mpegpipe") as video:
        assert len(list(video.decode(video=0))) == 200


def test_a_reader_that_ends_is_one_clear_line():
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(1000)
        process.stdout.close()
        message = process.stderr.read().decode()
        assert process.wait(timeout=60) == 4
    assert message == "the program that reads standard output has ended: nothing more can be written\n"


def test_a_full_disk_behind_standard_output():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WRITER)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr.decode().splitlines() == [
        "no space left to write standard output: free some space or choose another folder"
    ]


def test_a_sink_that_is_not_open():
    with pytest.raises(SinkError):
        Y4MSink(stream=io.BytesIO()).process(make_frames(1)[0])
