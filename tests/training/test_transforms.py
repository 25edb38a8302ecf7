"""Transforms keep the parts of a sample together."""

import numpy as np
import pytest

from streammatte.errors import ConfigError
from streammatte.training.transforms import TRANSFORMS, compose, random_trimap

HEIGHT, WIDTH = 90, 120


def sample(height=HEIGHT, width=WIDTH):
    """A disc on a gradient; the image shows where each pixel came from, alpha what belongs there."""
    y, x = np.mgrid[:height, :width]
    alpha = np.clip((30 - np.hypot(y - height / 2, x - width / 2)) * 40 + 128, 0, 255).astype(np.uint8)
    image = np.stack([x * 255 // width, y * 255 // height, alpha], -1).astype(np.uint8)
    trimap = np.where(alpha == 255, 255, np.where(alpha == 0, 0, 128)).astype(np.uint8)
    return {"image": image, "foreground": image.copy(), "background": image.copy(), "alpha": alpha, "trimap": trimap}


def apply(name, seed=0, **arguments):
    ((transform),) = compose(((name, arguments),))
    return transform(sample(), np.random.default_rng(seed))


GEOMETRY = {
    "Resize": {"target_size": [60, 48]},
    "ResizeByLong": {"long_size": 60},
    "ResizeByShort": {"short_size": 45},
    "LimitLong": {"max_long": 80},
    "LimitShort": {"min_short": 120},
    "ResizeToIntMult": {"mult_int": 32},
    "RandomResize": {"size": [64, 64], "scale": [0.5, 1.5]},
    "RandomCrop": {"crop_size": [64, 50]},
    "RandomCropByAlpha": {"crop_size": [[40, 40], [60, 50]]},
    "Padding": {"target_size": [128, 128]},
    "RandomHorizontalFlip": {"prob": 1.0},
}
SHAPES = {
    "Resize": (48, 60),
    "ResizeByLong": (45, 60),
    "ResizeByShort": (45, 60),
    "LimitLong": (60, 80),
    "LimitShort": (120, 160),
    "ResizeToIntMult": (64, 96),
    "RandomCrop": (50, 64),
    "Padding": (128, 128),
    "RandomHorizontalFlip": (HEIGHT, WIDTH),
}


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("seed", range(3))
def test_geometry_moves_all_parts_alike(name, seed):
    made = apply(name, seed, **GEOMETRY[name])
    shape = made["alpha"].shape
    assert {array.shape[:2] for array in made.values()} == {shape}
    assert all(array.dtype == np.uint8 and array.flags.c_contiguous for array in made.values())
    if name in SHAPES:
        assert shape == SHAPES[name]
    inside = np.s_[:HEIGHT, :WIDTH] if name == "Padding" else np.s_[:]
    # The third channel of the image is alpha itself.
    for part in ("image", "foreground", "background"):
        difference = np.abs(made[part][inside][..., 2].astype(int) - made["alpha"][inside])
        assert difference.max() <= 1
    assert set(np.unique(made["trimap"])) <= {0, 128, 255}
    certain = made["trimap"][inside] != 128
    assert np.abs(made["alpha"][inside].astype(int) - made["trimap"][inside])[certain].mean() < 6


def test_what_is_padded():
    made = apply("Padding", target_size=[128, 128])
    assert (made["image"][HEIGHT:] == 127).all() or (made["image"][HEIGHT:] == 128).all()
    assert not made["alpha"][HEIGHT:].any() and not made["trimap"][:, WIDTH:].any()


def test_crops_by_alpha_lie_around_the_transition():
    for seed in range(20):
        made = apply("RandomCropByAlpha", seed, crop_size=[[20, 20]], prob=1.0)
        assert ((made["alpha"] > 0) & (made["alpha"] < 255)).any()


@pytest.mark.parametrize("name", ["RandomBlur", "RandomSharpen", "RandomNoise", "RandomReJpeg", "WebcamNoise"])
def test_what_happens_behind_the_lens_changes_the_image_alone(name):
    before, made = sample(), apply(name, prob=1.0)
    assert (made["image"] != before["image"]).any()
    assert np.abs(made["image"].astype(int) - before["image"]).mean() < 40
    assert all((made[part] == before[part]).all() for part in before if part != "image")
    same = apply(name, prob=0.0)
    assert all((same[part] == before[part]).all() for part in before)


def test_video_compression_is_a_real_round_trip():
    before, made = sample(), apply("VideoCompression", prob=1.0, low=38, high=38)
    fine = apply("VideoCompression", prob=1.0, low=1, high=1)
    errors = [np.abs(part["image"].astype(int) - before["image"]).mean() for part in (made, fine)]
    assert errors[0] > 1.5 * errors[1] > 0
    odd = compose((("VideoCompression", {"prob": 1.0}),))[0](sample(61, 47), np.random.default_rng(0))
    assert odd["image"].shape == (61, 47, 3)


@pytest.mark.parametrize("name", ["RandomDistort", "Exposure"])
def test_light_changes_the_pictures_alike(name):
    arguments = {f"{kind}_prob": 1.0 for kind in ("brightness", "contrast", "saturation", "hue")}
    made = apply(name, 3, **(arguments if name == "RandomDistort" else {"prob": 1.0}))
    before = sample()
    assert (made["image"] != before["image"]).any()
    assert (made["image"] == made["foreground"]).all() and (made["image"] == made["background"]).all()
    assert (made["alpha"] == before["alpha"]).all() and (made["trimap"] == before["trimap"]).all()


def test_motion_blurs_the_matte_with_the_picture():
    made, before = apply("MotionBlur", 1, prob=1.0, reach=15), sample()
    assert np.abs(made["image"][..., 2].astype(int) - made["alpha"]).max() <= 1
    soft = [int(((part["alpha"] > 5) & (part["alpha"] < 250)).sum()) for part in (made, before)]
    assert soft[0] > soft[1]


def test_trimaps_are_unknown_around_the_edge():
    alpha = sample()["alpha"]
    for seed in range(5):
        trimap = random_trimap(alpha, np.random.default_rng(seed))
        assert (alpha[trimap == 255] == 255).all() and (alpha[trimap == 0] == 0).all()
        assert (trimap[(alpha > 0) & (alpha < 255)] == 128).all()
        assert 0 < (trimap == 128).mean() < 0.9
    assert (apply("GenTrimap")["trimap"] == random_trimap(alpha, np.random.default_rng(0))).all()


def test_all_of_the_seed_are_there():
    seed = "LoadImages ResizeByLong ResizeByShort ResizeToIntMult RandomCrop RandomCropByAlpha LimitLong LimitShort "
    seed += "RandomHorizontalFlip RandomBlur RandomDistort Padding RandomSharpen RandomNoise RandomReJpeg GenTrimap"
    assert set(seed.split()) < set(TRANSFORMS)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ((("Rotate", {}),), "no transform is named 'Rotate'"),
        ((("RandomCrop", {"size": 3}),), "has no argument size"),
    ],
)
def test_wrong_names_are_refused(pairs, text):
    with pytest.raises(ConfigError, match=text):
        compose(pairs)
