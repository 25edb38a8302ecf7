"""Videos read back: times, colours, tags, shapes and alpha, in every container."""

import logging
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from support.sink_frames import BT709, decode, info_of, make_frames, plane, times_of, write

from streammatte.errors import ConfigError, UnsupportedOutputError
from streammatte.frames import ColorSpec, Layout
from streammatte.media.capabilities import has_encoder
from streammatte.sinks import alpha_by_default, can_hold_alpha, containers_with_alpha, encoders, open_sink
from streammatte.sinks.containers import CONTAINERS
from streammatte.sinks.encoders import choose_encoder

VIDEOS = [
    ("mp4", "auto", "h264"),
    ("m4v", "auto", "h264"),
    ("mov", "auto", "h264"),
    ("mkv", "auto", "h264"),
    ("webm", "auto", "vp9"),
    ("mp4", "libx265", "hevc"),
    ("mov", "libx265", "hevc"),
    ("mkv", "libx265", "hevc"),
    ("mp4", "libsvtav1", "av1"),
    ("webm", "libsvtav1", "av1"),
    ("mkv", "libsvtav1", "av1"),
    ("mp4", "libvpx-vp9", "vp9"),
    ("mkv", "libvpx-vp9", "vp9"),
    ("webm", "libvpx", "vp8"),
    ("mov", "prores_ks", "prores"),
    ("mov", "qtrle", "qtrle"),
    ("mov", "png", "png"),
    ("mkv", "ffv1", "ffv1"),
]


@pytest.mark.parametrize(("suffix", "codec", "kind"), VIDEOS)
def test_every_container_and_codec_reads_back(tmp_path, suffix, codec, kind):
    if codec != "auto" and not has_encoder(codec):
        pytest.skip(f"this FFmpeg has no {codec}")
    frames = make_frames()
    target = tmp_path / f"video.{suffix}"
    write(open_sink(target, codec=codec), frames)
    images = decode(target)
    assert len(images) == len(frames)
    with av.open(str(target)) as video:
        assert video.streams.video[0].codec_context.codec.canonical_name == kind
    for image, frame in zip(images, frames, strict=True):
        got = (
            image.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1) if kind in ("qtrle", "png") else image
        )
        assert np.abs(plane(got, 0) - frame.planes[0]).mean() < 5
    if kind != "av1":  # OpenCV's wheel has no decoder for it
        capture = cv2.VideoCapture(str(target))
        count = 0
        while capture.read()[0]:
            count += 1
        assert count == len(frames)
    assert [entry.name for entry in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("base", "times"),
    [
        (Fraction(1, 90000), [9000, 12700, 12701, 18000, 99999, 120000]),
        (Fraction(1, 12800), [0, 512, 1024, 1536, 2047, 4096]),
        (Fraction(1, 15360), [507, 1531, 2043, 2555, 5000, 5001]),
        (Fraction(1, 30000), [0, 1001, 2002, 3003, 6006, 7007]),
        (Fraction(1001, 30000), [0, 1, 2, 5, 6, 9]),
        (Fraction(1, 1000), [0, 33, 67, 100, 140, 999]),
        (Fraction(1, 25), [3, 4, 5, 6, 10, 11]),
        (Fraction(61, 1350), [0, 1, 2, 3, 4, 7]),
        (Fraction(1, 1000000), [0, 16683, 33366, 50050, 66733, 700000]),
        (Fraction(1, 90000), [-6000, -3000, 0, 3000, 6000, 9000]),
    ],
)
def test_times_survive_exactly(tmp_path, suffix, base, times):
    frames = make_frames(times=times, time_base=base)
    write(open_sink(tmp_path / f"video.{suffix}"), frames)
    # a first frame up to 0.1 s late begins at 0: players show an empty edit as a black frame
    late = times[0] * base if 0 < times[0] * base <= Fraction(1, 10) else 0
    assert times_of(tmp_path / f"video.{suffix}") == [pts * base - late for pts in times]


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_matroska_times_survive_to_its_millisecond(tmp_path, suffix):
    times = [9000, 12700, 13900, 18000, 99999, 120000]
    write(open_sink(tmp_path / f"video.{suffix}"), make_frames(times=times))
    for got, pts in zip(times_of(tmp_path / f"video.{suffix}"), times, strict=True):
        assert abs(got - Fraction(pts, 90000)) <= Fraction(1, 2000)


def test_last_image_keeps_its_duration(tmp_path):
    frames = make_frames(6)
    frames[-1].duration = 45000
    write(open_sink(tmp_path / "video.mp4"), frames)
    with av.open(str(tmp_path / "video.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(5 * 3000 + 45000, 90000)


def test_a_time_that_does_not_go_on_is_moved_and_reported(tmp_path, caplog):
    write(open_sink(tmp_path / "video.mp4"), make_frames(times=[0, 3000, 3000, 2000, 9000]))
    times = times_of(tmp_path / "video.mp4")
    assert times == [Fraction(pts, 90000) for pts in (0, 3000, 3001, 3002, 9000)]
    assert "not after the one before" in caplog.text


TAGS = [
    ColorSpec(1, 1, 1, False),
    ColorSpec(6, 6, 6, False),
    ColorSpec(5, 5, 4, True),
    ColorSpec(1, 1, 1, True),
    ColorSpec(9, 9, 14, False),
]


@pytest.mark.parametrize("color", TAGS, ids=str)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_colour_tags_are_kept(tmp_path, suffix, color):
    target = tmp_path / f"video.{suffix}"
    write(open_sink(target), make_frames(4, color=color))
    with av.open(str(target)) as video:
        image = next(video.decode(video=0))
        context = video.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (
            color.matrix,
            color.primaries,
            color.transfer,
        )
        assert image.color_range == (2 if color.full_range else 1)
    assert np.abs(plane(image, 0) - make_frames(1)[0].planes[0]).mean() < 3


def test_unspecified_colours_stay_unspecified(tmp_path):
    write(open_sink(tmp_path / "video.mp4"), make_frames(4, color=ColorSpec()))
    with av.open(str(tmp_path / "video.mp4")) as video:
        context = video.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (2, 2, 2)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "auto"), ("mov", "prores_ks"), ("mkv", "auto")])
def test_pixel_aspect_is_kept(tmp_path, suffix, codec):
    target = tmp_path / f"video.{suffix}"
    write(open_sink(target, codec=codec), make_frames(4), sample_aspect_ratio=Fraction(4, 3))
    with av.open(str(target)) as video:
        next(video.decode(video=0))
        stream = video.streams.video[0]
        assert Fraction(4, 3) in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio)


def test_lossless_matte_keeps_its_size_whatever_the_pixels_shape(tmp_path, caplog):
    frames = make_frames(2, layout=Layout.GRAY)
    write(open_sink(tmp_path / "matte.mkv"), frames, sample_aspect_ratio=Fraction(4, 3))
    image = decode(tmp_path / "matte.mkv")[0]
    assert (image.width, image.height) == (96, 64)
    assert "4/3" in caplog.text


def test_webm_shows_the_same_shape_with_square_pixels(tmp_path):
    write(open_sink(tmp_path / "wide.webm"), make_frames(4), sample_aspect_ratio=Fraction(4, 3))
    write(open_sink(tmp_path / "high.webm"), make_frames(4), sample_aspect_ratio=Fraction(1, 2))
    assert (decode(tmp_path / "wide.webm")[0].width, decode(tmp_path / "wide.webm")[0].height) == (128, 64)
    assert (decode(tmp_path / "high.webm")[0].width, decode(tmp_path / "high.webm")[0].height) == (96, 128)


@pytest.mark.parametrize("layout", [Layout.YUV420, Layout.YUV422, Layout.YUV444, Layout.RGB, Layout.GRAY])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("size", [(95, 63), (96, 64)])
def test_layouts_and_odd_sizes(tmp_path, suffix, layout, size):
    target = tmp_path / f"video.{suffix}"
    frames = make_frames(4, size, layout)
    write(open_sink(target), frames)
    images = decode(target)
    assert len(images) == 4
    image = images[2]
    even = suffix in ("mp4", "mov") or (suffix == "mkv" and layout is not Layout.GRAY)
    grown = size[0] % 2 if even else 0
    assert (image.width, image.height) == (size[0] + grown, size[1] + grown)
    if layout is Layout.RGB:
        got = image.to_ndarray(format="rgb24")[: size[1], : size[0]].astype(float)
        error = got - frames[2].planes[0]
        assert np.abs(error).mean() < 4
        assert np.abs(error.mean(axis=(0, 1))).max() < 2
        assert (image.colorspace, image.color_range) == (1, 1)
        return
    assert np.abs(plane(image, 0)[: size[1], : size[0]] - frames[2].planes[0]).mean() < 2
    if layout is Layout.GRAY:
        assert image.color_range == 2
    if layout is Layout.YUV420:
        for channel in (1, 2):
            assert np.abs(plane(image, channel) - frames[2].planes[channel]).mean() < 2


def test_padding_repeats_the_edge(tmp_path):
    frames = make_frames(3, (95, 63))
    write(open_sink(tmp_path / "video.mp4", crf=1), frames)
    luma = plane(decode(tmp_path / "video.mp4")[0], 0)
    assert np.abs(luma[:63, 95] - frames[0].planes[0][:, 94]).mean() < 2
    assert np.abs(luma[63, :95] - frames[0].planes[0][62]).mean() < 2


def test_matte_video_in_matroska_is_lossless_gray(tmp_path):
    frames = make_frames(5, (95, 63), Layout.GRAY)
    write(open_sink(tmp_path / "matte.mkv"), frames)
    for image, frame in zip(decode(tmp_path / "matte.mkv"), frames, strict=True):
        assert image.format.name == "gray"
        np.testing.assert_array_equal(plane(image, 0), frame.planes[0])


def test_matte_video_in_mp4_is_full_range_with_neutral_chroma(tmp_path):
    frames = make_frames(5, layout=Layout.GRAY)
    for frame in frames:
        frame.planes[0][:, :40], frame.planes[0][:, 40:] = 0, 255
    write(open_sink(tmp_path / "matte.mp4", crf=4), frames)
    image = decode(tmp_path / "matte.mp4")[3]
    assert image.format.name in ("yuv420p", "yuvj420p")
    assert image.color_range == 2
    assert np.abs(plane(image, 0) - frames[3].planes[0]).mean() < 1
    assert np.abs(plane(image, 1) - 128).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "codec", "decoder", "pix_fmt", "slack"),
    [
        ("mov", "auto", None, "yuva444p", 1),
        ("webm", "auto", "libvpx-vp9", "yuva420p", 6),
        ("mkv", "auto", None, "yuva420p", 0),
        ("mkv", "libvpx-vp9", "libvpx-vp9", "yuva420p", 6),
    ],
)
@pytest.mark.parametrize("size", [(96, 64), (95, 63)])
def test_alpha_reads_back_straight(tmp_path, suffix, codec, decoder, pix_fmt, slack, size):
    target = tmp_path / f"video.{suffix}"
    frames = make_frames(5, size, alpha=True)
    write(open_sink(target, codec=codec), frames)
    images = decode(target, decoder)
    assert len(images) == len(frames)
    for image, frame in zip(images, frames, strict=True):
        assert image.format.name.startswith(pix_fmt)
        assert np.abs(plane(image, 3) - frame.alpha).max() <= slack
        # Straight, not premultiplied: the colour is whole where the image is see-through.
        hidden = frame.alpha == 0
        assert np.abs(plane(image, 0) - frame.planes[0])[hidden].mean() < 3


def test_prores_keeps_the_colours_of_alpha_videos(tmp_path):
    frames = make_frames(4, alpha=True, color=ColorSpec(6, 6, 6, False))
    write(open_sink(tmp_path / "video.mov"), frames)
    image = decode(tmp_path / "video.mov")[1]
    assert (image.colorspace, image.color_primaries, image.color_trc) == (6, 6, 6)
    for channel in (1, 2):
        small = cv2.resize(plane(image, channel), (48, 32), interpolation=cv2.INTER_AREA)
        assert np.abs(small - frames[1].planes[channel]).mean() < 1.5


def test_full_range_becomes_limited_in_prores(tmp_path):
    color = ColorSpec(1, 1, 1, True)
    frames = make_frames(3, color=color)
    write(open_sink(tmp_path / "video.mov", codec="prores_ks"), frames)
    want = 16 + frames[0].planes[0] * (219 / 255)
    assert np.abs(plane(decode(tmp_path / "video.mov")[0], 0) - want).mean() < 1


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_rgb_with_alpha(tmp_path, suffix):
    frames = make_frames(3, layout=Layout.RGB, alpha=True)
    write(open_sink(tmp_path / f"video.{suffix}"), frames)
    image = decode(tmp_path / f"video.{suffix}")[1]
    got = image.to_ndarray(format="rgba").astype(float)
    assert np.abs(got[..., 3] - frames[1].alpha).max() <= 2
    assert np.abs(got[..., :3] - frames[1].planes[0]).mean() < 2


@pytest.mark.parametrize(
    ("target", "codec"), [("a.mp4", "auto"), ("a.mov", "libx264"), ("a_%d.jpg", "auto"), ("a.jpg", "auto")]
)
def test_alpha_is_refused_before_anything_is_there(tmp_path, target, codec):
    sink = open_sink(tmp_path / target, codec=codec)
    with pytest.raises(UnsupportedOutputError, match=r"\.mov.*\.webm.*PNG"):
        sink.open(info_of(make_frames(1, alpha=True)))
    assert list(tmp_path.iterdir()) == []


def test_which_targets_hold_alpha():
    assert [can_hold_alpha(name) for name in ("a.mov", "a.webm", "a.mkv", "a_%d.png", "a/", "a.png", "a.gif")] == [
        True
    ] * 7
    assert not any(can_hold_alpha(name) for name in ("a.mp4", "a.jpg", "a_%d.jpg", "-", "a.avi"))
    assert not can_hold_alpha("a.mov", "libx264")
    assert [alpha_by_default(name) for name in ("a.mov", "a.webm", "a_%d.png", "a/")] == [True] * 4
    assert not any(alpha_by_default(name) for name in ("a.mkv", "a.gif", "a.mp4", "-"))
    assert any(".mov" in text for text in containers_with_alpha())


def test_output_size(tmp_path):
    write(open_sink(tmp_path / "video.mp4", output_size=(48, 32)), make_frames(4))
    image = decode(tmp_path / "video.mp4")[0]
    assert (image.width, image.height) == (48, 32)
    with av.open(str(tmp_path / "video.mp4")) as video:
        assert video.streams.video[0].sample_aspect_ratio in (None, 0, 1)
    small = cv2.resize(make_frames(1)[0].planes[0], (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(plane(image, 0) - small).mean() < 4


def test_output_size_of_another_shape_keeps_the_image_s_shape(tmp_path):
    write(open_sink(tmp_path / "video.mp4", output_size=(96, 32)), make_frames(2))
    with av.open(str(tmp_path / "video.mp4")) as video:
        assert video.streams.video[0].sample_aspect_ratio == Fraction(1, 2)


def test_odd_output_size_is_refused_for_h264(tmp_path):
    with pytest.raises(ConfigError, match="even"):
        open_sink(tmp_path / "video.mp4", output_size=(49, 32)).open(info_of(make_frames(1)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("hwaccel", "suffix", "starts", "expected"),
    [
        ("cuda", ".mp4", ("h264_nvenc", "hevc_nvenc"), "h264_nvenc"),
        ("cuda", ".webm", ("av1_nvenc",), "av1_nvenc"),
        ("vaapi", ".mkv", ("h264_vaapi",), "h264_vaapi"),
        ("auto", ".mov", ("h264_videotoolbox",), "h264_videotoolbox"),
        ("auto", ".mp4", (), "libx264"),
        ("qsv", ".mp4", ("h264_nvenc",), "libx264"),
        ("off", ".mp4", ("h264_nvenc",), "libx264"),
    ],
)
def test_an_encoder_on_a_device_and_the_fall_back(monkeypatch, caplog, hwaccel, suffix, starts, expected):
    monkeypatch.setattr(encoders, "has_encoder", lambda name: True)
    monkeypatch.setattr(encoders, "_starts", lambda name: name in starts)
    caplog.set_level(logging.INFO, "streammatte")
    container = CONTAINERS[suffix]
    assert choose_encoder(container, "auto", False, "out", hwaccel=hwaccel) == expected
    assert (expected in caplog.text) == (hwaccel != "off")
    assert ("WARNING" in caplog.text) == (hwaccel == "qsv")
    assert choose_encoder(container, "auto", False, "out", Layout.GRAY, hwaccel=hwaccel) not in starts
    if container.alpha:
        assert choose_encoder(container, "auto", True, "out", hwaccel=hwaccel) == container.alpha[0]


def test_without_the_device_the_video_is_encoded_all_the_same(tmp_path, caplog):
    target = tmp_path / "video.mp4"
    write(open_sink(target, hwaccel="cuda"), make_frames())
    assert len(decode(target)) == len(make_frames())
    if "encoded by h264_nvenc" not in caplog.text:
        assert "--hwaccel cuda: no such encoder starts here; libx264 encodes" in caplog.text


def test_unknown_codec_lists_those_of_this_build(tmp_path):
    with pytest.raises(UnsupportedOutputError, match="libx264"):
        open_sink(tmp_path / "video.mp4", codec="h266").open(info_of(make_frames(1)))
    with pytest.raises(UnsupportedOutputError, match="libvpx-vp9"):
        open_sink(tmp_path / "video.webm", codec="libx264").open(info_of(make_frames(1)))


@pytest.mark.parametrize(
    "options",
    [{"crf": 99}, {"crf": -1}, {"preset": "warp"}, {"bitrate": 0}],
    ids=["crf", "crf below", "preset", "bitrate"],
)
def test_bad_settings_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        open_sink(tmp_path / "video.mp4", **options).open(info_of(make_frames(1)))
    assert list(tmp_path.iterdir()) == []


def test_quality_preset_and_bitrate_reach_the_encoder(tmp_path):
    rng = np.random.default_rng(0)
    frames = make_frames(20)
    for frame in frames:
        frame.planes[0][:] = rng.integers(16, 235, frame.planes[0].shape)
    sizes = {}
    for name, options in {"fine": {"crf": 10}, "coarse": {"crf": 45}, "rate": {"bitrate": 200_000}}.items():
        target = tmp_path / f"{name}.mp4"
        write(open_sink(target, preset="ultrafast", **options), frames)
        sizes[name] = target.stat().st_size
    assert sizes["coarse"] < sizes["fine"] / 3
    assert sizes["rate"] < sizes["fine"] / 2


def test_index_stands_in_front_for_browsers(tmp_path):
    write(open_sink(tmp_path / "video.mp4"), make_frames(3))
    data = (tmp_path / "video.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_metadata_is_carried(tmp_path):
    given = {"title": "Seaside", "major_brand": "qt  ", "ENCODER": "a camera", "alpha_mode": "1"}
    for suffix in ("mp4", "mkv"):
        write(open_sink(tmp_path / f"video.{suffix}"), make_frames(2), metadata=given)
        with av.open(str(tmp_path / f"video.{suffix}")) as video:
            assert video.metadata["title"] == "Seaside"
            assert video.metadata.get("major_brand") in (None, "isom")
            assert "camera" not in str(video.metadata)
            assert "alpha_mode" not in video.metadata


def test_metadata_can_be_stripped(tmp_path):
    given = {"title": "Seaside", "location": "+48.1+011.5/", "timecode": "01:00:00:00"}
    write(open_sink(tmp_path / "video.mov", metadata=False), make_frames(2), metadata=given)
    with av.open(str(tmp_path / "video.mov")) as video:
        assert not {"title", "location"} & set(video.metadata)
        assert [stream.type for stream in video.streams] == ["video"]


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_title_location_date_and_timecode_are_kept(tmp_path, suffix):
    given = {"title": "Seaside", "location": "+48.1000+011.5000/", "date": "2024-05-01", "timecode": "01:00:00:00"}
    write(open_sink(tmp_path / f"video.{suffix}"), make_frames(4), metadata=given)
    with av.open(str(tmp_path / f"video.{suffix}")) as video:
        found = {key.lower(): value for key, value in video.metadata.items()}
        times = [stream.metadata.get("timecode") for stream in video.streams if stream.type != "audio"]
        assert {key: found[key] for key in ("title", "location", "date")} == {
            key: given[key] for key in ("title", "location", "date")
        }
        assert "01:00:00:00" in [*times, found.get("timecode")]


def test_threads_do_not_change_what_is_shown(tmp_path):
    for threads in (1, 2):
        write(open_sink(tmp_path / f"{threads}.mp4", threads=threads), make_frames(8))
    assert times_of(tmp_path / "1.mp4") == times_of(tmp_path / "2.mp4")


def test_a_long_video_leaves_the_planes_alone(tmp_path):
    """Encoders keep images for look-ahead: a reused image must not change under them."""
    frames = make_frames(60)
    write(open_sink(tmp_path / "video.mp4", crf=8), frames)
    for image, frame in zip(decode(tmp_path / "video.mp4"), frames, strict=True):
        assert np.abs(plane(image, 0) - frame.planes[0]).mean() < 1.5


def test_strided_planes(tmp_path):
    frames = make_frames(3)
    for frame in frames:
        wide = [np.zeros((p.shape[0], p.shape[1] + 32), np.uint8) for p in frame.planes]
        for view, own in zip(wide, frame.planes, strict=True):
            view[:, : own.shape[1]] = own
        frame.planes = tuple(w[:, : p.shape[1]] for w, p in zip(wide, frame.planes, strict=True))
    write(open_sink(tmp_path / "video.mkv", codec="ffv1"), frames)
    np.testing.assert_array_equal(plane(decode(tmp_path / "video.mkv")[2], 1), frames[2].planes[1])


def test_log_is_silent_for_an_ordinary_video(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write(open_sink(tmp_path / "video.mp4"), make_frames(3, color=BT709))
    assert [record for record in caplog.records if record.name.startswith("streammatte")] == []


def test_lost_chroma_is_reported(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write(open_sink(tmp_path / "video.mp4"), make_frames(2, layout=Layout.YUV444))
    assert "4:2:0" in caplog.text


def test_hevc_has_the_name_that_apple_plays(tmp_path):
    write(open_sink(tmp_path / "video.mp4", codec="libx265"), make_frames(2))
    assert b"hvc1" in (tmp_path / "video.mp4").read_bytes()


def test_av1_writes_nothing_to_the_terminal(tmp_path, capfd):
    if not has_encoder("libsvtav1"):
        pytest.skip("this FFmpeg has no libsvtav1")
    write(open_sink(tmp_path / "video.mp4", codec="libsvtav1"), make_frames(2))
    assert "Svt[info]" not in capfd.readouterr().err


@pytest.mark.parametrize("preset", ["ultrafast", "medium", "placebo", "6", None])
@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libvpx-vp9"), ("webm", "libvpx"), ("mp4", "libsvtav1")])
def test_presets_of_encoders_that_count_them(tmp_path, suffix, codec, preset):
    if not has_encoder(codec):
        pytest.skip(f"this FFmpeg has no {codec}")
    write(open_sink(tmp_path / f"video.{suffix}", codec=codec, preset=preset), make_frames(2))
    assert len(decode(tmp_path / f"video.{suffix}")) == 2
