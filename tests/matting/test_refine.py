"""Refinement and preparation."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from streammatte.errors import ConfigError
from streammatte.frames import ColorSpec, Frame, Layout, plane_shapes
from streammatte.kernels.color import rgb_matrix
from streammatte.matting.preprocess import Preparer, resize_plane
from streammatte.matting.refine import Refiner, enlarge

PLAIN = ColorSpec()
EVERY_LAYOUT = list(Layout)


def make_frame(width, height, layout, seed=0, color=PLAIN):
    rng = np.random.default_rng(seed)
    planes = tuple(
        cv2.GaussianBlur(rng.integers(0, 256, shape, dtype=np.uint8), (0, 0), 2).reshape(shape)
        for shape in plane_shapes(layout, width, height)
    )
    return Frame(planes, layout, 0, Fraction(1, 30), color)


def disc(width, height):
    """An image of a dark disc before a bright ground, and its exact alpha."""
    scale = 8
    big = np.zeros((height * scale, width * scale), np.uint8)
    cv2.circle(big, (width * scale // 2, height * scale // 2), height * scale // 3, 255, -1)
    alpha = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    a = alpha[..., None] / 255
    rgb = (a * [40, 60, 90] + (1 - a) * [190, 200, 170] + 0.5).astype(np.uint8)
    return Frame((rgb,), Layout.RGB, 0, Fraction(1)), alpha


def smalls(frame, alpha, size):
    planes = Preparer(size).prepare(frame, np.empty((*size, 3), np.uint8))
    half = (size[1] // 2, size[0] // 2)
    return planes, cv2.resize(alpha, half, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_refinement_is_much_closer_than_bilinear(mode):
    frame, alpha = disc(384, 288)
    planes, small = smalls(frame, alpha, (96, 128))
    error = [
        np.abs(Refiner(m).refine(small, frame, planes).astype(int) - alpha)[alpha.astype(bool) | True].mean()
        for m in ("off", mode)
    ]
    assert error[1] < 0.5 * error[0]


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_refinement_lowers_the_error_on_real_images(shared, mode):
    totals = np.zeros(2)
    for path in sorted((shared / "eval" / "stills").glob("*_alpha.png"))[::12]:
        alpha = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        rgb = cv2.cvtColor(cv2.imread(str(path).replace("_alpha.png", ".jpg")), cv2.COLOR_BGR2RGB)
        frame = Frame((rgb,), Layout.RGB, 0, Fraction(1))
        planes, small = smalls(frame, alpha, (rgb.shape[0] // 4 * 2, rgb.shape[1] // 4 * 2))
        small = cv2.GaussianBlur(small, (0, 0), 0.7)
        totals += [np.abs(Refiner(m).refine(small, frame, planes).astype(int) - alpha).mean() for m in ("off", mode)]
    assert totals[1] < 0.97 * totals[0]


@pytest.mark.parametrize("mode", ["off", "fast", "best"])
@pytest.mark.parametrize("layout", EVERY_LAYOUT)
@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_every_layout_and_odd_sizes(mode, layout, size):
    frame = make_frame(*size, layout)
    planes, small = smalls(frame, np.full((size[1], size[0]), 128, np.uint8), (32, 64))
    for value, level in ((0, 0), (1, 255), (0.5, 128)):
        out = Refiner(mode).refine(np.full_like(small, value), frame, planes)
        assert out.shape == (size[1], size[0])
        assert out.dtype == np.uint8
        assert np.abs(out.astype(int) - level).max() <= (1 if value == 0.5 else 0)


def test_padded_planes_give_the_same_matte():
    frame, _ = disc(96, 64)
    rng = np.random.default_rng(0)
    whole = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in plane_shapes(Layout.YUV420, 96, 64)]
    strided = []
    for plane in whole:
        wide = np.zeros((plane.shape[0], 128), np.uint8)
        wide[:, : plane.shape[1]] = plane
        strided.append(wide[:, : plane.shape[1]])
    small = rng.random((16, 24)).astype(np.float32)
    results = []
    for planes in (whole, strided):
        frame = Frame(tuple(planes), Layout.YUV420, 0, Fraction(1))
        prepared = Preparer((32, 48)).prepare(frame, np.empty((32, 48, 3), np.uint8))
        results.append(Refiner("fast").refine(small, frame, prepared))
    np.testing.assert_array_equal(*results)


def test_off_is_bilinear_with_centres_aligned():
    ramp = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (8, 1))
    out = enlarge(ramp, (16, 32))
    exact = np.interp((np.arange(32) + 0.5) / 2 - 0.5, np.arange(16), ramp[0] * 255)
    assert np.abs(out - exact).max() <= 1


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match=r"off.*fast.*best"):
        Refiner("sharp")


@pytest.mark.parametrize("layout", [Layout.YUV420, Layout.YUV422, Layout.YUV444])
@pytest.mark.parametrize("size", [(512, 288), (640, 360), (1280, 720), (301, 203)])
def test_prepared_rgb_is_the_image_s(layout, size):
    """Against RGB made at full size in float64 and averaged: smooth images differ by interpolation alone."""
    frame = make_frame(*size, layout, color=ColorSpec(1))
    frame.planes = tuple(cv2.GaussianBlur(plane, (0, 0), 9) for plane in frame.planes)
    target = (96, 160)
    out = np.empty((*target, 3), np.uint8)
    small = Preparer(target).prepare(frame, out)
    full = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR).astype(float) for plane in frame.planes]
    rgb = np.clip(np.stack([*full, np.ones_like(full[0])], -1) @ rgb_matrix(frame.color, size[1]).T, 0, 255)
    exact = cv2.resize(rgb, target[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(out - exact)[2:-2, 2:-2].mean() < 1.0
    assert [plane.shape for plane in small] == [target] * 3


def test_luma_at_the_network_s_size_is_not_touched():
    frame = make_frame(64, 32, Layout.YUV420)
    small = Preparer((32, 64)).prepare(frame, np.empty((32, 64, 3), np.uint8))
    assert np.shares_memory(small[0], frame.planes[0])


@pytest.mark.parametrize("factor", [1.5, 1.875, 2, 2.5, 3.75, 4])
def test_shrinking_does_not_alias(factor):
    """Stripes finer than the small grid become gray instead of a false pattern."""
    stripes = np.zeros((240, 480), np.uint8)
    stripes[:, ::2] = 255
    small = resize_plane(stripes, (round(240 / factor), round(480 / factor)))
    assert np.ptp(small[2:-2, 2:-2].astype(int)) <= 86  # a window of 1.5 pixels still sees a third of a stripe


def test_a_wrong_out_is_refused():
    with pytest.raises(ValueError, match="C-contiguous"):
        Preparer((32, 64)).prepare(make_frame(64, 32, Layout.YUV420), np.empty((64, 32, 3), np.uint8))
    with pytest.raises(ConfigError):
        Preparer((0, 64))


@pytest.mark.parametrize(("level", "seen"), [(250, 250), (165, 165), (80, 160), (16, 160), (5, 60), (0, 0)])
def test_what_the_network_sees_of_a_dark_image(level, seen):
    frame = Frame((np.full((64, 96, 3), level, np.uint8),), Layout.RGB, 0, Fraction(1))
    for padded in (None, (96, 128)):
        size = padded or (64, 96)
        out = np.empty((*size, 3), np.uint8)
        planes = Preparer((64, 96), padded, low_light=True).prepare(frame, out)
        assert np.abs(out.astype(int) - seen).max() <= 2
        assert planes[0].max() == level  # edges are refined on the image as it is
        Preparer((64, 96), padded).prepare(frame, out)
        assert out.max() == level
    assert frame.planes[0].max() == level
