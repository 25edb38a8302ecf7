"""At which size a network sees an image, and what lies around it."""

from fractions import Fraction

import numpy as np
import pytest
from support.sink_frames import make_frames
from support.tiny_networks import brightness_network
from support.videos import make_video

import streammatte
from streammatte.build import build_matter
from streammatte.errors import ConfigError
from streammatte.frames import Layout, StreamInfo
from streammatte.images.matter import StillMatter
from streammatte.live.build import make_live_matter
from streammatte.matting.preprocess import Preparer, extend
from streammatte.models.cards import load_card
from streammatte.models.input_rule import InputRule, SizeStep
from streammatte.network_size import Fit, fit_input, fit_to
from streammatte.options.images import ImageOptions
from streammatte.options.live import LiveOptions
from streammatte.options.video import VideoOptions


@pytest.mark.parametrize(
    ("width", "height", "aspect", "long_side", "content", "padded"),
    [
        (1280, 720, 1.0, 512, (288, 512), (288, 512)),
        (1920, 1080, 1.0, 384, (216, 384), (224, 384)),
        (1080, 1920, 1.0, 512, (512, 288), (512, 288)),
        (640, 480, 1.0, 512, (384, 512), (384, 512)),
        (700, 700, 1.0, 512, (512, 512), (512, 512)),
        (720, 576, 64 / 45, 512, (288, 512), (288, 512)),
        (1998, 1080, 1.0, 512, (276, 512), (288, 512)),
        (3000, 100, 1.0, 512, (64, 512), (64, 512)),
        (1280, 720, 1.0, 200, (112, 200), (128, 224)),
    ],
)
def test_the_displayed_aspect_is_kept(width, height, aspect, long_side, content, padded):
    assert fit_to(width, height, long_side, pixel_aspect=aspect) == Fit(content, padded)


def test_padding_makes_up_a_larger_multiple():
    assert fit_to(1280, 720, 512, multiple=128) == Fit((288, 512), (384, 512))


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420, Layout.GRAY])
def test_the_input_is_the_image_and_its_last_row_and_column_repeated(layout):
    (frame,) = make_frames(1, (200, 100), layout)
    plain, padded = np.empty((50, 100, 3), np.uint8), np.empty((64, 128, 3), np.uint8)
    planes = Preparer((50, 100)).prepare(frame, plain)
    around = Preparer((50, 100), (64, 128))
    for given, wanted in zip(around.prepare(frame, padded), planes, strict=True):
        assert np.array_equal(given, wanted)
    assert np.array_equal(padded[:50, :100], plain)
    assert np.array_equal(padded, np.pad(plain, ((0, 14), (0, 28), (0, 0)), mode="edge"))
    assert np.array_equal(extend(plain, (64, 128)), padded)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_frames_part_of_the_matte_is_found_at_any_scale(factor):
    alpha = np.arange(64 * 128, dtype=np.float32).reshape(64, 128)[: 64 // factor, : 128 // factor]
    part = Preparer((48, 96), (64, 128)).crop(alpha)
    assert part.flags.c_contiguous
    assert np.array_equal(part, alpha[: 48 // factor, : 96 // factor])
    whole = Preparer((64, 128)).crop(alpha)
    assert whole is alpha


def test_an_input_smaller_than_the_image_is_refused():
    with pytest.raises(ConfigError, match="must hold"):
        Preparer((64, 96), (64, 64))


@pytest.mark.parametrize(("width", "height"), [(320, 134), (134, 320), (200, 200)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_videos_mattes_lie_where_its_images_are(tmp_path, monkeypatch, width, height, batch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    network = brightness_network(tmp_path / "brightness.xml")

    def ramp(index, width, height):
        levels = np.linspace(40, 140, width)[None] + np.linspace(0, 80, height)[:, None]
        return np.repeat(levels[..., None], 3, 2).astype(np.uint8)

    video = make_video(tmp_path / "in.mp4", width=width, height=height, frames=5, image=ramp)
    mattes = list(streammatte.stream(video, model=str(network), size=192, batch=batch, refine="off", smooth="off"))
    assert len(mattes) == 5
    wanted = ramp(0, width, height)[..., 0].astype(int)
    for matte in mattes:
        assert np.abs(255 * matte.alpha - wanted).max() <= 6


EMBEDDED = load_card("ppmattingv2-lite").input


@pytest.mark.parametrize("width,height", [(100, 75), (256, 192), (512, 384), (1280, 960), (4000, 3000)])
def test_the_embedded_network_sees_512_pixels_and_less_where_the_user_says_so(width, height):
    assert fit_input(width, height, EMBEDDED).content == (384, 512)
    assert fit_input(width, height, EMBEDDED, size=256).content == (192, 256)


def test_a_network_sees_what_its_own_rule_gives():
    high_resolution = load_card("human_matting-resnet34_vd").input
    assert fit_input(6000, 4000, high_resolution, multiple=128).padded == (1408, 2048)
    assert fit_input(6000, 4000, high_resolution, multiple=128, size=1024).padded == (768, 1024)
    assert fit_input(600, 400, high_resolution, multiple=128).padded == (512, 640), "small images are not enlarged"
    assert fit_input(3000, 2000, rule(("limit_short", (None, 512)))).padded == (512, 768)
    assert fit_input(600, 400, rule(("short", (512,)))).content == (512, 768), "unless the network's rule does so"
    assert fit_input(3000, 2000, rule(("fixed", (512, 640))), size=256) == Fit((512, 640), (512, 640))


def test_a_larger_size_than_the_image_enlarges_nothing():
    free = rule(("limit_long", (None, 2048)))
    assert fit_input(600, 400, free, size=1024).content == (400, 600)
    assert fit_input(720, 576, EMBEDDED, size=1024, pixel_aspect=64 / 45).content == (576, 1024)


@pytest.mark.parametrize("width,height", [(1, 1), (3, 5), (4000, 7), (7, 4000), (333, 517), (2049, 1001)])
def test_sizes_hold_the_multiple_and_the_aspect(width, height):
    found = fit_input(width, height, rule(("limit_long", (None, 640))), multiple=192)
    assert all(side % 192 == 0 for side in found.padded)
    assert all(inner <= outer for inner, outer in zip(found.content, found.padded, strict=True))
    assert min(found.content) >= 64
    if min(width, height) > 100:
        assert found.content[1] / found.content[0] == pytest.approx(width / height, rel=0.05)


def rule(*steps):
    return InputRule(steps=tuple(SizeStep(*step) for step in steps))


@pytest.mark.parametrize("options", [{}, {"size": 256}, {"size": 768}])
@pytest.mark.parametrize("width,height", [(256, 192), (1280, 720)])
def test_videos_images_and_cameras_are_seen_alike(tmp_path, monkeypatch, width, height, options):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    model = str(brightness_network(tmp_path / "brightness.xml"))
    seen = []
    monkeypatch.setattr(
        Preparer, "__init__", lambda self, size, padded=None, **_: seen.append((size, padded)) or _stop()
    )
    info = StreamInfo(width, height, Layout.RGB, Fraction(1, 25))
    (frame,) = make_frames(1, (width, height), Layout.RGB)
    with pytest.raises(Stopped):
        build_matter(info, VideoOptions(model=model, **options))
    with pytest.raises(Stopped):
        StillMatter(ImageOptions(model=model, **options)).process(frame)
    if options:  # without one, a camera's network starts at 512
        with pytest.raises(Stopped):
            make_live_matter(info, LiveOptions(model=model, **options))
    assert len(set(seen)) == 1


class Stopped(Exception):
    pass


def _stop():
    raise Stopped
