"""``--flip`` and ``--rotate``: a flip, then a rotation clockwise, of every layout, in videos, images and cameras."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from support.videos import make_video, pattern_image

from streammatte.errors import ConfigError
from streammatte.frames import Frame, Layout, plane_shapes
from streammatte.options.video import VideoOptions
from streammatte.sources import open_source, oriented_source
from streammatte.sources.live_factory import open_live_source
from streammatte.sources.orientation import Orientation, oriented_frame

FLIPS, ROTATIONS = ("none", "horizontal", "vertical"), ("0", "90", "180", "270")


def by_numpy(image, flip, rotate):
    if flip != "none":
        image = image[:, ::-1] if flip == "horizontal" else image[::-1]
    return np.rot90(image, -int(rotate) // 90)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("flip", FLIPS)
def test_frames_are_flipped_then_rotated(layout, flip, rotate):
    noise = np.random.default_rng(0)
    planes = tuple(noise.integers(0, 256, shape, np.uint8) for shape in plane_shapes(layout, 16, 8))
    alpha = noise.integers(0, 256, (8, 16), np.uint8)
    frame = Frame(planes, layout, 3, Fraction(1, 25), alpha=alpha)
    turned = oriented_frame(frame, Orientation.from_options(flip, rotate))
    np.testing.assert_array_equal(turned.planes[0], by_numpy(planes[0], flip, rotate))
    np.testing.assert_array_equal(turned.alpha, by_numpy(alpha, flip, rotate))
    assert [plane.shape for plane in turned.planes] == list(
        plane_shapes(turned.layout, *((8, 16) if rotate in ("90", "270") else (16, 8)))
    )
    if turned.layout is layout:
        for plane, before in zip(turned.planes, planes, strict=True):
            np.testing.assert_array_equal(plane, by_numpy(before, flip, rotate))


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_a_video_with_wide_pixels_keeps_its_shape(tmp_path, rotate):
    path = make_video(tmp_path / "a.mkv", frames=2, sar=Fraction(4, 3))
    source = oriented_source(open_source(path), "none", rotate)
    (frame, _) = list(source.frames())
    assert (source.info.width, source.info.height) == (frame.width, frame.height)
    aside = rotate in ("90", "270")
    assert (frame.width, frame.height) == ((64, 96) if aside else (96, 64))
    assert source.info.sample_aspect_ratio == (Fraction(3, 4) if aside else Fraction(4, 3))


def test_a_video_as_camera(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=3)
    source = open_live_source(str(path), width=48, height=32, flip="vertical", rotate="90")
    frame = next(source.frames())
    assert (source.info.width, source.info.height) == (frame.width, frame.height) == (32, 48)
    expected = by_numpy(cv2.resize(pattern_image(0, 96, 64), (48, 32), interpolation=cv2.INTER_AREA), "vertical", "90")
    assert np.abs(frame.to_rgb().astype(int) - expected).mean() < 8
    source.close()


@pytest.mark.parametrize("value", [90, "90"])
def test_yaml_writes_a_number(value):
    assert VideoOptions(rotate=value).rotate == "90"


@pytest.mark.parametrize("value", [45, "91", True, -90])
def test_other_angles_are_refused(value):
    with pytest.raises(ConfigError, match="--rotate must be one of 0, 90, 180, 270"):
        VideoOptions(rotate=value)


def test_the_commands(tmp_path):
    from click.testing import CliRunner

    from streammatte.cli import cli

    video = make_video(tmp_path / "in.mp4", frames=3)
    options = ["--rotate", "90", "--flip", "horizontal", "--bg", "none", "--size", "192"]
    done = CliRunner().invoke(cli, ["video", str(video), str(tmp_path / "out.mp4"), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with av.open(str(tmp_path / "out.mp4")) as out:
        shown = next(out.decode(video=0)).to_ndarray(format="rgb24")
    expected = by_numpy(pattern_image(0, 96, 64), "horizontal", "90")
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 8
    Image.fromarray(pattern_image(0, 96, 64)).save(tmp_path / "in.png")
    done = CliRunner().invoke(cli, ["image", str(tmp_path / "in.png"), str(tmp_path / "out.png"), *options])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out.png"))[..., :3], expected)
