"""Every kind of video through the whole product: what comes out is looked at with PyAV alone."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from support.videos import make_video, pattern_image, read_packets, read_times

import streammatte

FAST = {"size": 192, "preset": "ultrafast"}


def through(video, tmp_path, name="out.mp4", **options):
    out = tmp_path / name
    streammatte.matte_video(video, out, **{"background": "none", **FAST, **options})
    return out


def look(path):
    """Stream, codec and first frame of a video, and its sizes as a player shows them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        return {
            "size": (frame.width, frame.height),
            "aspect": aspect,
            "rotation": frame.rotation,
            "tags": tuple(int(tag) for tag in (frame.colorspace, frame.color_primaries, frame.color_trc)),
            "range": int(frame.color_range),
            "format": frame.format.name,
            "rgb": frame.to_ndarray(format="rgb24"),
        }


@pytest.mark.parametrize(("rotation", "size"), [(90, (64, 96)), (180, (96, 64)), (270, (64, 96))])
def test_rotation_is_applied(tmp_path, rotation, size):
    video = make_video(tmp_path / "in.mp4", frames=4, rotation=rotation)
    seen = look(through(video, tmp_path))
    assert seen["size"] == size
    assert seen["rotation"] % 360 == 0
    upright = np.rot90(pattern_image(0, 96, 64), {90: 1, 180: 2, 270: 3}[rotation])
    assert np.abs(seen["rgb"].astype(int) - upright).mean() < 14


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_becomes_bt709_and_says_so(tmp_path, caplog, transfer, name):
    video = make_video(
        tmp_path / "in.mkv", frames=4, codec="libx265", pix_fmt="yuv420p10le", matrix=9, primaries=9, transfer=transfer
    )
    with caplog.at_level(logging.WARNING, logger="streammatte"):
        seen = look(through(video, tmp_path))
    assert seen["tags"] == (1, 1, 1)
    assert seen["format"] == "yuv420p"
    assert name in caplog.text


def test_ten_bit_sdr_keeps_its_tags(tmp_path, caplog):
    video = make_video(tmp_path / "in.mkv", frames=4, pix_fmt="yuv420p10le", matrix=1, primaries=1, transfer=1)
    with caplog.at_level(logging.WARNING, logger="streammatte"):
        seen = look(through(video, tmp_path))
    assert seen["tags"] == (1, 1, 1)
    assert seen["format"] == "yuv420p"
    assert "10" in caplog.text


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_matrix_and_range_stay(tmp_path, matrix, full_range):
    video = make_video(
        tmp_path / "in.mp4", frames=4, matrix=matrix, primaries=matrix, transfer=matrix, full_range=full_range
    )
    before, after = look(video), look(through(video, tmp_path))
    assert (after["tags"], after["range"]) == (before["tags"], before["range"])
    assert np.abs(after["rgb"].astype(int) - before["rgb"]).mean() < 4


def test_sample_aspect_ratio_stays(tmp_path):
    video = make_video(tmp_path / "in.mp4", frames=4, sar=Fraction(64, 45))
    assert look(through(video, tmp_path))["aspect"] == Fraction(64, 45)


def test_interlaced_video_is_reported(tmp_path, caplog):
    video = make_video(tmp_path / "in.mp4", frames=4, interlaced=True)
    with caplog.at_level(logging.WARNING, logger="streammatte"):
        through(video, tmp_path)
    assert "interlaced" in caplog.text


@pytest.mark.parametrize("size", [(97, 65), (64, 96), (64, 64), (160, 16)])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_odd_upright_square_and_wide_sizes(tmp_path, size, name):
    video = make_video(tmp_path / "in.mkv", width=size[0], height=size[1], frames=4, codec="ffv1")
    seen = look(through(video, tmp_path, name))
    # H.264 in 4:2:0 has even sides only.
    assert seen["size"] == tuple(side + side % 2 for side in size)


def test_variable_frame_rate_passes_through(tmp_path):
    pts = [0, 3000, 4500, 12000, 12100, 40000, 90000]
    video = make_video(tmp_path / "in.mp4", pts=pts)
    assert read_times(through(video, tmp_path)) == read_times(video)


def test_audio_is_copied_and_stays_where_it_was(tmp_path):
    video = make_video(tmp_path / "in.mp4", frames=30, audio="aac", audio_start=0.2)
    out = through(video, tmp_path)
    assert read_packets(out) == read_packets(video)


@pytest.mark.parametrize(("name", "decoder"), [("out.webm", "libvpx-vp9"), ("out.mov", "prores")])
def test_transparent_video_holds_the_matte(tmp_path, name, decoder):
    video = make_video(tmp_path / "in.mp4", frames=6)
    out, alpha = tmp_path / name, tmp_path / "alpha.mkv"
    streammatte.matte_video(video, out, alpha=str(alpha), size=192)
    with av.open(str(alpha)) as container:
        wanted = [frame.to_ndarray() for frame in container.decode(video=0)]
    with av.open(str(out)) as container:
        packets = list(container.demux(video=0))
        codec = av.CodecContext.create(decoder, "r")
        codec.extradata = container.streams.video[0].codec_context.extradata
        frames = [frame for packet in packets for frame in codec.decode(packet)]
    assert len(frames) == len(wanted) == 6
    for frame, matte in zip(frames, wanted, strict=True):
        found = frame.reformat(format="rgba64le").to_ndarray()[..., 3] / 257
        assert np.abs(found - matte).max() <= (2 if decoder == "prores" else 40)
        assert np.abs(found - matte).mean() < 1.5


def test_background_video_keeps_its_own_rate(tmp_path):
    def shade(index, width, height):
        return np.full((height, width, 3), 40 + 40 * index, np.uint8)

    video = make_video(tmp_path / "in.mp4", frames=20, rate=20, image=lambda i, w, h: np.zeros((h, w, 3), np.uint8))
    behind = make_video(tmp_path / "behind.mp4", frames=4, rate=5, image=shade)
    out = through(video, tmp_path, background=str(behind), crf=1)
    with av.open(str(out)) as container:
        means = [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    steps = [round(mean / 8) for mean in means]
    for start in range(0, 16, 4):
        assert len(set(steps[start : start + 4])) == 1, "each image behind is shown for four frames"
    assert steps[0] < steps[4] < steps[8] < steps[12]
    assert steps[16] == steps[0], "it begins again"
