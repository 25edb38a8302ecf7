"""Despill, light matching and the multi-level foreground, against colours that are known."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from streammatte.compositing import StreamCompositor, Transparent, estimate_small, parse_background
from streammatte.compositing.despill import Despill, edge_weights, screen_color
from streammatte.compositing.foreground import estimate_multilevel
from streammatte.compositing.light_match import LightMatch
from streammatte.errors import ConfigError
from streammatte.frames import ColorSpec, Frame, Layout, Matte
from streammatte.kernels.blend import foreground_plane

SIZE = (180, 320)
GREEN, BLUE, GRAY = (0, 177, 64), (0, 71, 187), (120, 118, 115)
SKIN, SHIRT, CLOTH = (205, 150, 125), (60, 110, 50), (140, 130, 125)


def disc(radius=60, soft=9):
    alpha = np.zeros(SIZE, np.float32)
    cv2.circle(alpha, (160, 90), radius, 1.0, -1)
    return cv2.GaussianBlur(alpha, (soft, soft), 0)


def image(person, screen, spill=0.0):
    """(image, true F): a disc of one colour before a screen, whose light falls on its rim."""
    alpha = disc()[..., None]
    fore = np.broadcast_to(np.array(person, np.float32), (*SIZE, 3))
    near = edge_weights(disc()[::2, ::2])
    lit = fore + spill * cv2.resize(near, SIZE[::-1])[..., None] * np.array(screen, np.float32)
    mixed = alpha * lit + (1 - alpha) * np.array(screen, np.float32)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), fore


def matte_of(rgb, layout=Layout.RGB, pts=0, color=None):
    alpha = disc()
    small = np.ascontiguousarray(cv2.resize(alpha, (160, 90), interpolation=cv2.INTER_AREA))
    color = color or ColorSpec(matrix=6, full_range=True)
    if layout is Layout.RGB:
        planes = (rgb,)
    else:
        y, v, u = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
        rows, columns = layout.chroma_shift
        half = (SIZE[1] >> columns, SIZE[0] >> rows)
        planes = (y, *(cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (u, v)))
    frame = Frame(planes, layout, pts, Fraction(1, 30), color)
    return Matte(frame, np.rint(alpha * 255).astype(np.uint8), small)


def foreground(matte, **options):
    compositor = StreamCompositor(Transparent(), want_foreground=True, **options)
    return compositor.process(matte)[0].foreground.to_rgb().astype(float)


def band():
    alpha = disc()
    return (alpha > 0.02) & (alpha < 0.98)


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420, Layout.YUV422, Layout.YUV444])
@pytest.mark.parametrize(("mode", "screen"), [("green", GREEN), ("blue", BLUE), ("auto", GREEN), ("auto", BLUE)])
def test_the_colour_in_the_band_comes_closer_to_the_truth(layout, mode, screen):
    rgb, fore = image(CLOTH, screen, spill=0.3)
    matte = matte_of(rgb, layout)
    errors = {used: np.square(foreground(matte, despill=used)[band()] - fore[band()]).mean() for used in ("off", mode)}
    assert errors[mode] < 0.6 * errors["off"]


@pytest.mark.parametrize("person", [SKIN, (220, 190, 120), (200, 60, 50), (128, 128, 128)])
def test_colours_without_the_screen_in_them_are_left_alone(person):
    rgb = np.broadcast_to(np.array(person, np.uint8), (*SIZE, 3)).copy()
    matte = matte_of(rgb)
    key = Despill("green")
    found = key.apply((rgb,), (matte.alpha,), matte, key.key(matte))[0]
    assert np.abs(found.astype(int) - rgb).max() <= 2


def test_a_green_shirt_keeps_its_colour_inside():
    rgb, _ = image(SHIRT, GREEN)
    found = foreground(matte_of(rgb), despill="green")
    centre = (slice(80, 100), slice(150, 170))
    assert np.abs(found[centre] - np.array(SHIRT)).max() <= 2


@pytest.mark.parametrize("screen", [GRAY, (90, 110, 80), (150, 90, 60), (200, 200, 200)])
def test_auto_stays_off_before_an_ordinary_wall(screen):
    rgb, _ = image(SHIRT, screen)
    matte = matte_of(rgb)
    assert Despill("auto").key(matte) is None
    assert np.array_equal(foreground(matte, despill="auto"), foreground(matte))


def test_nothing_changes_where_alpha_is_zero_or_no_plane_has_colour():
    rgb, _ = image(SKIN, GREEN, spill=0.3)
    matte = matte_of(rgb, Layout.YUV420)
    planes = tuple(plane.copy() for plane in matte.frame.planes)
    nothing = tuple(np.zeros(plane.shape, np.uint8) for plane in planes)
    despill = Despill("green")
    key = despill.key(matte)
    despill.apply(planes, nothing, matte, key)
    assert all(np.array_equal(plane, own) for plane, own in zip(planes, matte.frame.planes, strict=True))
    gray = Matte(Frame((rgb[..., 0].copy(),), Layout.GRAY, 0, Fraction(1)), matte.alpha, matte.small_alpha)
    assert despill.key(gray) is None


def test_the_key_is_the_screens_own_colour_and_steady():
    despill = Despill("auto")
    first = despill.key(matte_of(image(SKIN, (30, 160, 60))[0], pts=0))
    _, u, v = screen_color("green", matte_of(image(SKIN, GREEN)[0]).frame)
    assert first is not None and first.direction[0] * u + first.direction[1] * v > 0
    second = despill.key(matte_of(image(SKIN, (60, 190, 20))[0], pts=1))
    despill.reset()
    fresh = despill.key(matte_of(image(SKIN, (60, 190, 20))[0], pts=2))
    moved, jump = (np.hypot(*np.subtract(key.direction, first.direction)) for key in (second, fresh))
    assert 0 < moved < 0.15 * jump


def test_limited_range_falls_no_darker_than_black():
    rgb, _ = image((0, 40, 0), GREEN, spill=0.5)
    matte = matte_of(rgb, Layout.YUV420, color=ColorSpec(matrix=6))
    inside = StreamCompositor(Transparent(), despill="green").process(matte)[0].frame.planes[0]
    assert inside[matte.alpha > 0].min() >= min(16, int(matte.frame.planes[0].min()))


def test_wrong_mode_is_refused():
    with pytest.raises(ConfigError, match="'green', 'blue', 'auto'"):
        Despill("red")


def test_multilevel_finds_known_colours():
    rgb, fore = image(SKIN, GRAY)
    matte = matte_of(rgb)
    small = tuple(
        np.ascontiguousarray(cv2.resize(rgb[..., c], (160, 90), interpolation=cv2.INTER_AREA)) for c in range(3)
    )
    errors = []
    for estimate in (estimate_small, estimate_multilevel):
        found = []
        for channel, pair in enumerate(estimate(small, matte.small_alpha)):
            assert pair[0].shape == (90, 160) and pair[0].dtype == np.float32
            plane, out = np.ascontiguousarray(rgb[..., channel]), np.empty(SIZE, np.uint8)
            foreground_plane(out, plane, matte.alpha, plane, pair)
            found.append(out)
        errors.append(np.square(np.stack(found, 2)[band()] - fore[band()]).mean())
    bare = np.square(rgb[band()] - fore[band()]).mean()
    assert max(errors) < 0.1 * bare
    two = [foreground(matte, multilevel=on) for on in (False, True)]
    assert not np.array_equal(*two)


def lit(back, matte, compositor=None, on=True):
    compositor = compositor or StreamCompositor(back, match_light=on)
    return compositor.process(matte)[0].frame.to_rgb().astype(float)[80:100, 150:170].mean(axis=(0, 1))


@pytest.fixture
def scene(tmp_path):
    def write(color):
        path = tmp_path / "{}-{}-{}.png".format(*color)
        cv2.imwrite(str(path), np.full((90, 160, 3), color[::-1], np.uint8))
        return parse_background(str(path))

    return write


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420])
def test_light_follows_the_scene_gently(scene, layout):
    matte = matte_of(image(SKIN, GRAY)[0], layout)
    own = lit(scene(GRAY), matte, on=False)
    assert np.abs(lit(scene(GRAY), matte) - own).max() <= 2
    bright, dark = lit(scene((235, 232, 230)), matte), lit(scene((25, 25, 25)), matte)
    assert 1.05 < bright.sum() / own.sum() <= 1.3 and 0.74 <= dark.sum() / own.sum() < 0.95
    warm = lit(scene((150, 118, 90)), matte)
    assert (warm[0] - warm[2]) - (own[0] - own[2]) > 4
    paint = lit(scene(GREEN), matte)
    assert abs((paint[1] - paint[0]) - (own[1] - own[0])) < 8  # a paint is no light: its hue is not followed


def test_light_does_not_jump(scene):
    match = LightMatch()
    matte = [matte_of(image(SKIN, GRAY)[0], pts=pts) for pts in range(3)]
    dark, bright = (scene(color).planes(matte[0]) for color in ((40, 40, 40), (230, 230, 230)))
    first = match.fit(matte[0], dark)
    second = match.fit(matte[1], bright)
    match.reset()
    fresh = match.fit(matte[2], bright)
    assert 0 < second[0] - first[0] < 0.05 * (fresh[0] - first[0])


def test_light_leaves_colours_and_transparency_alone():
    matte = matte_of(image(SKIN, GRAY)[0])
    for back in ("#ffffff", "transparent", "blur"):
        images = [StreamCompositor(parse_background(back), match_light=on).process(matte)[0].frame for on in (0, 1)]
        assert np.array_equal(images[0].planes[0], images[1].planes[0])
