"""The stills' own stage: padding, trimaps, routing, transparency."""

import logging
import shutil
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.tiny_networks import brightness_network, trimap_network
from support.videos import pattern_image

import streammatte
from streammatte.engines.engine_cache import MAX_ENGINES
from streammatte.errors import ConfigError, ModelNotFoundError, UnsupportedSourceError
from streammatte.frames import Frame, Layout
from streammatte.images.matter import StillMatter
from streammatte.images.model_choice import HIGH_RESOLUTION, LARGE, Router
from streammatte.images.networks import Networks
from streammatte.images.transparency import extended, over_neutral
from streammatte.matting.trimap_methods import METHODS
from streammatte.models.resolve import EMBEDDED
from streammatte.options.images import ImageOptions

GOLDEN = Path(__file__).parents[1] / "golden"


def frame_of(rgb, alpha=None, index=0):
    return Frame((np.ascontiguousarray(rgb),), Layout.RGB, 0, Fraction(1), index=index, alpha=alpha)


@pytest.fixture(scope="module")
def brightness(tmp_path_factory):
    return str(brightness_network(tmp_path_factory.mktemp("net") / "brightness.xml"))


@pytest.fixture(scope="module")
def trimapped(tmp_path_factory):
    return str(trimap_network(tmp_path_factory.mktemp("net") / "trimapped.xml"))


@pytest.fixture(scope="module")
def portrait():
    return np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut())


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty folder of networks; call it with names to put these there."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))

    def put(*names):
        for name in names:
            shutil.copytree(GOLDEN / "exported26", tmp_path / "home" / "models" / name / "inference")

    return put


# Padding, engines


@pytest.mark.parametrize("width,height", [(100, 70), (70, 100), (64, 64), (33, 129), (1030, 300)])
def test_padding_is_cut_off_again(brightness, width, height):
    ramp = np.linspace(0, 255, width)[None, :] * 0.5 + np.linspace(0, 255, height)[:, None] * 0.5
    rgb = np.repeat(ramp[..., None], 3, 2).astype(np.uint8)
    matter = StillMatter(ImageOptions(model=brightness, refine="off"))
    matte = matter.process(frame_of(rgb))[0]
    assert matte.alpha.shape == (height, width)
    assert np.abs(matte.alpha.astype(int) - rgb[..., 0]).max() <= 4
    matter.close()


@pytest.mark.parametrize("refine", ["off", "fast", "best"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 900), (700, 1)])
def test_the_smallest_and_the_thinnest_images(refine, shape):
    matter = StillMatter(ImageOptions(model=EMBEDDED[0], refine=refine))
    matte = matter.process(frame_of(np.full((*shape, 3), 90, np.uint8)))[0]
    assert (matte.alpha.shape, matte.alpha.dtype) == (shape, np.uint8)


def test_few_engines_are_kept(brightness):
    networks = Networks(ImageOptions(model=brightness))
    for number in range(MAX_ENGINES + 3):
        side = 64 + 32 * number
        small, _ = networks.alpha(brightness, frame_of(np.zeros((side, side, 3), np.uint8)))
        assert small.shape == (side, side)
    assert len(networks._engines._engines) == MAX_ENGINES
    networks.close()


# Routing


def test_large_images_go_to_the_high_resolution_network(store):
    store(HIGH_RESOLUTION, "modnet-hrnet_w18")
    router = Router()
    assert router.network(LARGE, 300)[0] == HIGH_RESOLUTION
    assert router.network(300, LARGE)[0] == HIGH_RESOLUTION
    assert router.network(LARGE - 1, 300)[0] == "modnet-hrnet_w18"


def test_else_to_the_best_that_is_here(store):
    assert Router().network(3000, 2000)[0] == EMBEDDED[0]
    assert "models pull" in Router().network(3000, 2000)[1], "the way to a better one"
    store("modnet-resnet50_vd", "ppmatting-hrnet_w18-human_512", "ppmatting-hrnet_w18-human_1024", "dim-vgg16")
    for size in ((3000, 2000), (500, 400)):
        assert Router().network(*size)[0] == "ppmatting-hrnet_w18-human_512"
    assert Router().with_trimap()[0] == "dim-vgg16"


def test_weights_that_nothing_here_runs_are_passed_over(store, tmp_path, monkeypatch):
    folder = tmp_path / "home" / "models" / "modnet-hrnet_w18"
    folder.mkdir(parents=True)
    (folder / "modnet-hrnet_w18.pdparams").write_bytes(b"x")
    monkeypatch.setattr("streammatte.images.model_choice._paddle", lambda: False)
    assert Router().network(500, 400)[0] == EMBEDDED[0]
    monkeypatch.setattr("streammatte.images.model_choice._paddle", lambda: True)
    assert Router().network(500, 400)[0] == "modnet-hrnet_w18"


def test_the_log_says_what_was_chosen_once(store, caplog):
    caplog.set_level(logging.INFO, "streammatte.images")
    matter = StillMatter(ImageOptions())
    for _ in range(2):
        matter.process(frame_of(pattern_image(0, 64, 48)))
    logged = [record.message for record in caplog.records if record.message.startswith("model ")]
    assert logged == [f"model {EMBEDDED[0]}: no other network is here"]


def test_a_trimap_without_a_network_for_it_is_solved(store, caplog):
    caplog.set_level(logging.INFO, "streammatte.images")
    rgb, trimap = disc()
    matter = StillMatter(ImageOptions(trimap="given"), {0: trimap})
    matter.process(frame_of(rgb))
    assert f"model {METHODS[0]}: no network that takes a trimap is here" in caplog.text


# Trimaps


def disc(side=96):
    """A soft bright disc before darkness, and its trimap."""
    y, x = np.mgrid[:side, :side]
    alpha = np.clip((side * 0.3 - np.hypot(x - side / 2, y - side / 2)) / 6 + 0.5, 0, 1)
    rgb = (alpha[..., None] * (220, 180, 140) + (1 - alpha[..., None]) * (20, 40, 60)).astype(np.uint8)
    trimap = np.full((side, side), 128, np.uint8)
    trimap[alpha == 0], trimap[alpha == 1] = 0, 255
    return rgb, trimap


def test_a_trimap_reaches_its_network_and_rules_what_it_knows(trimapped):
    rgb, trimap = disc(100)
    matter = StillMatter(ImageOptions(model=trimapped, trimap="given", refine="off"), {0: trimap})
    alpha = matter.process(frame_of(rgb))[0].alpha
    assert (alpha[trimap == 0] == 0).all()
    assert (alpha[trimap == 255] == 255).all()
    band = trimap == 128
    brightness = rgb.mean(2)
    inner = cv2.erode(band.astype(np.uint8), np.ones((3, 3))) > 0
    assert np.abs(alpha[inner] - brightness[inner]).max() < 20


def test_networks_with_and_without_trimaps_are_distinguished(brightness, trimapped):
    rgb, trimap = disc()
    with pytest.raises(ConfigError, match="needs a trimap"):
        StillMatter(ImageOptions(model=trimapped)).process(frame_of(rgb))
    with pytest.raises(ConfigError, match="takes no trimap"):
        StillMatter(ImageOptions(model=brightness, trimap="given"), {0: trimap}).process(frame_of(rgb))
    with pytest.raises(ConfigError, match="takes no trimap"):
        StillMatter(ImageOptions(model=EMBEDDED[0], trimap="given"))
    with pytest.raises(ConfigError, match="closed-form needs a trimap"):
        StillMatter(ImageOptions(model="closed-form"))
    with pytest.raises(ModelNotFoundError):
        StillMatter(ImageOptions(model="nonsense"))


def test_options_refuse_two_kinds_of_trimaps():
    with pytest.raises(ConfigError, match="exclude each other"):
        ImageOptions(trimap="a", auto_trimap=3)
    with pytest.raises(ConfigError, match="--auto-trimap must be"):
        ImageOptions(auto_trimap=9999)


def test_auto_trimap_keeps_the_matte_where_nobody_is(caplog):
    matter = StillMatter(ImageOptions(auto_trimap=4))
    alpha = matter.process(frame_of(np.full((64, 64, 3), 120, np.uint8)))[0].alpha
    assert alpha.max() < 20
    assert "its matte stays" in caplog.text


def mad(alpha, truth):
    return float(np.abs(alpha - truth).mean())


@pytest.fixture(scope="module")
def composite(shared):
    """A half-size composite with its exact alpha, and its true trimap; one where the network errs beyond the band.

    Not every composite is such: where the network is right already, a classic method can be worse.
    """
    rgb = cv2.imread(str(shared / "eval" / "stills" / "ccp_0288.jpg"))[..., ::-1]
    truth = cv2.imread(str(shared / "eval" / "stills" / "ccp_0288_alpha.png"), cv2.IMREAD_GRAYSCALE)
    size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    rgb, truth = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rgb, truth))
    soft = cv2.dilate(((truth > 5) & (truth < 250)).astype(np.uint8), np.ones((5, 5))) > 0
    trimap = np.where(soft, 128, np.where(truth > 127, 255, 0)).astype(np.uint8)
    return np.ascontiguousarray(rgb), truth / np.float32(255), trimap


@pytest.mark.parametrize("method", METHODS)
def test_classic_methods_improve_on_the_network(composite, method):
    rgb, truth, trimap = composite
    network = streammatte.matte_image(rgb, model=EMBEDDED[0]).alpha
    classic = streammatte.matte_image(rgb, model=method, trimap=trimap).alpha
    assert mad(classic, truth) < mad(network, truth)


def test_classic_methods_work_at_the_size_and_are_refined(composite):
    rgb, truth, trimap = composite
    matter = StillMatter(ImageOptions(model="closed-form", trimap="given", size=192), {0: trimap})
    matte = matter.process(frame_of(rgb))[0]
    assert max(matte.small_alpha.shape) == 192
    assert matte.alpha.shape == truth.shape
    assert mad(matte.alpha / 255, truth) < 0.02


# Transparency


def test_what_is_transparent_does_not_count(portrait):
    alpha = np.zeros(portrait.shape[:2], np.uint8)
    alpha[:, :300] = 255
    noisy = portrait.copy()
    noisy[:, 300:] = np.random.default_rng(0).integers(0, 255, noisy[:, 300:].shape)
    matter = StillMatter(ImageOptions(model=EMBEDDED[0]))
    clean, wild = (matter.process(frame_of(each, alpha))[0] for each in (portrait, noisy))
    np.testing.assert_array_equal(clean.alpha, wild.alpha)
    np.testing.assert_array_equal(clean.frame.planes[0], wild.frame.planes[0])
    assert (clean.alpha[:, 300:] == 0).all()
    assert clean.alpha[100:140, 200:240].mean() > 250
    np.testing.assert_array_equal(clean.frame.planes[0][:, :300], portrait[:, :300])


def test_alpha_multiplies(portrait):
    half = np.full(portrait.shape[:2], 128, np.uint8)
    matter = StillMatter(ImageOptions(model=EMBEDDED[0]))
    alpha = matter.process(frame_of(portrait, half))[0].alpha
    assert alpha.max() == 128
    assert abs(alpha[100:140, 200:240].mean() - 128) < 3


def test_neutral_and_extended():
    rgb = np.full((5, 7, 3), 200, np.uint8)
    alpha = np.zeros((5, 7), np.uint8)
    alpha[2, 3] = 255
    over = over_neutral(rgb, alpha)
    assert (over[2, 3] == 200).all()
    assert len(np.unique(over)) == 2
    rgb[alpha == 0] = (0, 255, 0)
    np.testing.assert_array_equal(extended(rgb, alpha), np.full_like(rgb, 200))
    np.testing.assert_array_equal(extended(rgb, np.zeros_like(alpha)), rgb)


# From Python


def test_matte_image_takes_trimaps(composite, tmp_path):
    rgb, truth, trimap = composite
    cv2.imwrite(str(tmp_path / "t.png"), trimap)
    cv2.imwrite(str(tmp_path / "p.png"), rgb[..., ::-1])
    from_files = streammatte.matte_image(tmp_path / "p.png", trimap=tmp_path / "t.png", model="closed-form")
    from_arrays = streammatte.matte_image(rgb, trimap=trimap, model="closed-form")
    np.testing.assert_array_equal(from_files.alpha, from_arrays.alpha)
    assert mad(from_arrays.alpha, truth) < 0.02
    with pytest.raises(ConfigError, match="uint8 array of its image's size"):
        streammatte.matte_image(rgb, trimap=trimap[1:], model="closed-form")
    cv2.imwrite(str(tmp_path / "t.png"), trimap[1:])
    with pytest.raises(UnsupportedSourceError, match=r"trimap .*t\.png is .* give one of the same size"):
        streammatte.matte_image(rgb, trimap=tmp_path / "t.png", model="closed-form")


def test_presets_serve_stills_too():
    options = ImageOptions.build({"size": 384, "smooth": "high", "crf": 17}, model="fast", auto_trimap=5)
    assert (options.size, options.model) == (384, "fast")
    assert options.smooth == "off"
    with pytest.raises(ConfigError, match="crf does not apply to images"):
        ImageOptions.build(crf=17)


@pytest.mark.parametrize(("share", "sizes"), [(0.3, [512, 608]), (0.6, [512])])
def test_a_small_person_is_seen_a_second_time_larger(tmp_path, monkeypatch, share, sizes):
    """By the embedded network without --size; its share of the image decides."""
    from streammatte.images import networks

    seen = []

    class Network:
        recurrent = False

        def __init__(self, size):
            self.size = size

        def submit(self, images):
            seen.append(max(self.size))
            alpha = np.zeros((1, self.size[0] // 2, self.size[1] // 2), np.float32)
            alpha[:, :, : round(share * alpha.shape[2])] = 1
            return type("Done", (), {"result": lambda _: alpha})()

        def reset(self):
            return None

        def close(self):
            return None

    monkeypatch.setattr(networks, "open_engine", lambda model, *, size, **_: Network(size))
    frame = Frame((np.zeros((480, 640, 3), np.uint8),), Layout.RGB, 0, Fraction(1))
    for options, wanted in ((ImageOptions(), sizes), (ImageOptions(size=384), [384])):
        seen.clear()
        with closing(networks.Networks(options)) as one:
            alpha, planes = one.alpha("ppmattingv2-lite", frame)
        assert seen == wanted and planes[0].shape[1] == wanted[-1] and alpha.shape[1] == wanted[-1] // 2
