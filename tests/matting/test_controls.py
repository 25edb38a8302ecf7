"""The matte's controls: exact on mattes that are drawn, refused where they are wrong, at work in the commands."""

import subprocess
import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from streammatte.errors import ConfigError
from streammatte.frames import Frame, Layout
from streammatte.live.matting import LiveMatter, SizeLevel
from streammatte.live.settings import SettingsStore
from streammatte.matting import ChromaKey
from streammatte.matting.components import ComponentFilter
from streammatte.matting.controls import ControlSettings, MatteControls
from streammatte.options.video import VideoOptions

SIZE = (144, 256)
MIN_AREA = ControlSettings().min_area / 100


def ramp(width=40, start=10.0, length=10.0):
    """A straight edge: 0 left of ``start``, 255 from ``start + length`` on."""
    row = np.clip((np.arange(width) - start) / length, 0, 1) * 255
    return np.repeat(np.rint(row).astype(np.uint8)[None], 12, axis=0)


def edge_of(alpha):
    """Where the middle row crosses 127.5, in pixels."""
    row = alpha[alpha.shape[0] // 2].astype(float)
    right = int(np.argmax(row >= 127.5))
    return right - (row[right] - 127.5) / (row[right] - row[right - 1])


def blob(alpha, x, y, width, height, value=1.0, soft=True):
    """Draw an ellipse into a matte."""
    drawn = np.zeros_like(alpha)
    cv2.ellipse(drawn, (x, y), (width // 2, height // 2), 0, 0, 360, float(value), -1)
    np.maximum(alpha, cv2.GaussianBlur(drawn, (3, 3), 0) if soft else drawn, out=alpha)
    return alpha


def shaped(alpha, **settings):
    return MatteControls(ControlSettings(**settings)).shape(alpha)


def test_neutral_settings_give_back_the_very_arrays():
    controls = MatteControls()
    alpha = ramp()
    assert controls.shape(alpha) is alpha
    small = blob(np.zeros(SIZE, np.float32), 128, 90, 80, 100)
    assert controls.clean(small, (720, 1280), 0.0) is small
    empty = np.zeros(SIZE, np.float32)
    assert controls.clean(empty, (720, 1280), 1.0) is empty


@pytest.mark.parametrize("edge", [-5, -2.25, -1, -0.5, 0.25, 0.5, 1, 1.75, 3, 5])
def test_edge_moves_a_straight_edge_by_exactly_that(edge):
    moved = shaped(ramp(), edge=edge)
    assert edge_of(moved) == pytest.approx(edge_of(ramp()) - edge, abs=0.05)


def test_edge_is_about_the_same_in_all_directions():
    disc = np.zeros((120, 120), np.uint8)
    cv2.circle(disc, (60, 60), 30, 255, -1, cv2.LINE_AA)
    grown = shaped(disc, edge=4)
    for angle in np.radians([0, 30, 45, 90, 120]):
        line = [grown[round(60 + r * np.sin(angle)), round(60 + r * np.cos(angle))] for r in range(60)]
        assert abs(np.count_nonzero(np.array(line) > 127) - 34.5) <= 1.5


def test_feather_is_a_gaussian_of_that_sigma():
    step = np.zeros((20, 80), np.uint8)
    step[:, 40:] = 255
    row = shaped(step, feather=4.0)[10].astype(float) / 255
    assert row[40 - 5] == pytest.approx(0.13, abs=0.02)  # the normal distribution at -4.5 / 4
    assert row[0] == 0 and row[-1] == 1
    assert edge_of(shaped(step, feather=4.0)) == pytest.approx(39.5, abs=0.1)


def test_levels_and_gamma_are_the_stated_formula():
    levels = np.arange(256, dtype=np.uint8)[None]
    found = shaped(levels, black_point=0.2, white_point=0.8, gamma=2.0)
    wanted = np.clip((levels / 255 - 0.2) / 0.6, 0, 1) ** 0.5 * 255
    assert np.abs(found - wanted).max() <= 0.5
    assert found[0, 51] == 0 and found[0, 204] == 255
    assert shaped(levels, gamma=1.5)[0, 128] > 128 > shaped(levels, gamma=0.7)[0, 128]


def test_box_keeps_nothing_outside_even_after_feathering():
    alpha = np.full((90, 160), 255, np.uint8)
    kept = shaped(alpha, keep_box=(20, 10, 50, 40), feather=3.0)
    inside = np.zeros_like(alpha, bool)
    inside[10:50, 20:70] = True
    assert not kept[~inside].any() and (kept[inside] == 255).all()
    small = MatteControls(ControlSettings(keep_box=(20, 10, 50, 40))).clean(np.ones((45, 80), np.float32), (90, 160), 0)
    assert np.count_nonzero(small) == 20 * 25 and small[5:25, 10:35].all()


def test_box_may_reach_over_the_border_but_not_lie_beyond_it():
    assert shaped(np.full((90, 160), 255, np.uint8), keep_box=(100, 50, 500, 500))[89, 159] == 255
    with pytest.raises(ConfigError, match="160,0, outside the 160x90"):
        ControlSettings(keep_box=(160, 0, 10, 10)).check(160, 90)


def test_settings_can_change_between_frames():
    controls = MatteControls(ControlSettings(gamma=2.0))
    first = controls.shape(ramp())
    controls.settings = ControlSettings(gamma=0.5)
    assert not np.array_equal(first, controls.shape(ramp()))
    controls.settings = ControlSettings()
    assert np.array_equal(controls.shape(ramp()), ramp())


def test_specks_go_and_the_person_stays_to_the_bit():
    person = blob(np.zeros(SIZE, np.float32), 100, 80, 60, 110)
    both = blob(person.copy(), 220, 30, 2, 2)
    found = ComponentFilter().apply(both, 0.0, MIN_AREA)
    assert np.array_equal(found, person)
    assert ComponentFilter().apply(both, 0.0, 0.0) is both


def test_a_person_far_away_stays():
    """Eight percent of the image's height: a dozen cells of the matte."""
    far = blob(np.zeros(SIZE, np.float32), 60, 100, 4, 12)
    assert 3e-4 < far.mean() < 1.5e-3
    assert ComponentFilter().apply(far, 0.0, MIN_AREA) is far


def test_doubted_furniture_goes_where_a_firm_shape_of_the_same_size_stays():
    chest = blob(np.zeros(SIZE, np.float32), 200, 100, 40, 40, value=0.5)
    assert 0.01 < chest.mean() < 0.03
    assert not ComponentFilter().apply(chest, 0.0, MIN_AREA).any()
    firm = blob(np.zeros(SIZE, np.float32), 200, 100, 40, 40)
    assert ComponentFilter().apply(firm, 0.0, MIN_AREA) is firm
    veil = np.full(SIZE, 0.5, np.float32)  # too large to be dropped, however doubtful
    assert ComponentFilter().apply(veil, 0.0, MIN_AREA) is veil


def test_a_hand_stays_with_its_arm_and_one_that_enters_stays():
    body = blob(np.zeros(SIZE, np.float32), 100, 100, 60, 80)
    hand = blob(body.copy(), 100, 56, 4, 4, value=0.4)  # two cells above the body's rim, blurred by motion
    assert ComponentFilter().apply(hand, 0.0, MIN_AREA) is hand
    entering = np.zeros(SIZE, np.float32)
    entering[60:66, :2] = 0.9
    assert entering.mean() < 3e-4
    assert ComponentFilter().apply(entering, 0.0, MIN_AREA) is entering
    inside = np.roll(entering, 40, axis=1)
    assert not ComponentFilter().apply(inside, 0.0, MIN_AREA).any()


def test_a_component_does_not_blink_at_the_limit():
    def speck(cells):
        alpha = np.zeros(SIZE, np.float32)
        alpha[70, 100 : 100 + cells] = 1
        return alpha

    limit = int(MIN_AREA * SIZE[0] * SIZE[1])  # eleven cells
    video = ComponentFilter()
    there = [
        video.apply(speck(cells), t / 30, MIN_AREA).any() for t, cells in enumerate([16, 10, 14, 9, 15, 10, 2, 10])
    ]
    assert limit == 11
    assert there == [True, True, True, True, True, True, False, False]
    fresh = [ComponentFilter().apply(speck(cells), 0.0, MIN_AREA).any() for cells in (16, 10)]
    assert fresh == [True, False]
    video.reset()
    assert not video.apply(speck(10), 1.0, MIN_AREA).any()


def hole(alpha, x, y, width, height, value):
    """A copy of a matte with a rectangle of another alpha."""
    alpha = alpha.copy()
    alpha[y : y + height, x : x + width] = value
    return alpha


def test_doubtful_holes_in_a_person_are_filled_and_gaps_stay():
    person = blob(np.zeros(SIZE, np.float32), 100, 90, 80, 120)
    stripe = hole(person, 95, 70, 12, 2, 0.6)  # a stripe of a shirt, half transparent
    assert np.array_equal(ComponentFilter().apply(stripe, 0.0, MIN_AREA, holes=2e-3), person)
    assert ComponentFilter().apply(stripe, 0.0, MIN_AREA) is stripe
    thin = hole(person, 95, 70, 1, 4, 0.6)
    assert np.array_equal(ComponentFilter().apply(thin, 0.0, MIN_AREA, holes=2e-3), person)
    akimbo = hole(hole(person, 95, 70, 12, 6, 0.6), 97, 72, 8, 2, 0.0)
    assert ComponentFilter().apply(akimbo, 0.0, MIN_AREA, holes=2e-3) is akimbo
    large = hole(person, 85, 70, 30, 30, 0.6)
    assert ComponentFilter().apply(large, 0.0, MIN_AREA, holes=2e-3) is large
    notch = hole(person, 98, 0, 4, 70, 0.0)
    notch[40:70, 98:102] = 0.6  # open to the background above
    assert ComponentFilter().apply(notch, 0.0, MIN_AREA, holes=2e-3) is notch


def test_a_filled_hole_does_not_blink_at_the_limit():
    person = blob(np.zeros(SIZE, np.float32), 100, 90, 80, 120)
    video = ComponentFilter()
    filled = [
        video.apply(hole(person, 95, 70, 12, 2, value), index / 30, MIN_AREA, holes=2e-3)[70, 100] == 1
        for index, value in enumerate([0.6, 0.45, 0.55, 0.4, 0.2, 0.45])
    ]
    assert filled == [True, True, True, True, False, False]


def test_largest_person_is_kept_alone_and_keeps_the_role():
    def two(left, right):
        return blob(blob(np.zeros(SIZE, np.float32), 60, 80, left, 100), 190, 80, right, 100)

    video = ComponentFilter()
    first = video.apply(two(50, 40), 0.0, MIN_AREA, largest=True)
    assert first[80, 60] == 1 and not first[:, 150:].any()
    second = video.apply(two(46, 50), 1 / 30, MIN_AREA, largest=True)
    assert second[80, 60] == 1 and not second[:, 150:].any()
    third = video.apply(two(20, 50), 2 / 30, MIN_AREA, largest=True)
    assert third[80, 190] == 1 and not third[:, :100].any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"edge": 5.5}, "--edge must be -5 to 5 pixels; got 5.5"),
        ({"edge": float("nan")}, "--edge must be"),
        ({"feather": -1}, "--feather must be 0 to 50"),
        ({"gamma": 0}, "--gamma must be 0.1 to 10"),
        ({"black_point": 1.2}, "--black-point must be 0 to 1"),
        ({"black_point": 0.5, "white_point": 0.5}, "--black-point must lie below --white-point"),
        ({"min_area": 101}, "--min-area must be 0 to 100 percent"),
        ({"fill_holes": -1}, "--fill-holes must be 0 to 100 percent"),
        ({"keep_box": "1,2,3"}, "a box is written x,y,w,h"),
        ({"keep_box": "a,b,c,d"}, "a box is written x,y,w,h"),
        ({"keep_box": "0,0,0,5"}, "sides of 1 to"),
        ({"keep_box": "-1,0,5,5"}, "corner of 0,0 to"),
        ({"despill": "red"}, "--despill must be one of off, green, blue, auto"),
        ({"edge": "wide"}, "--edge must be a number, -5 to 5 pixels"),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(given, said):
    with pytest.raises(ConfigError, match=said):
        VideoOptions.build({}, **given)


def test_a_preset_writes_a_box_as_text_or_as_a_list():
    assert VideoOptions.build({"keep_box": [1, 2, 30, 40]}).keep_box == (1, 2, 30, 40)
    assert VideoOptions.build({"keep_box": "1,2,30,40"}).keep_box == (1, 2, 30, 40)


def test_a_live_session_takes_controls_while_it_runs():
    store = SettingsStore(["blur"])
    assert store.apply({"edge": -2, "largest_person": True}).edge == -2.0
    for patch, said in [
        ({"edge": 9}, "--edge must be -5 to 5"),
        ({"black_point": 0.9, "white_point": 0.5}, "must lie below"),
        ({"gamma": True}, "gamma must be a number"),
        ({"feather": "wide"}, "feather must be a number"),
        ({"largest_person": 1}, "largest-person must be true or false"),
    ]:
        before = store.current
        with pytest.raises(ConfigError, match=said):
            store.apply(patch)
        assert store.current is before
    key = ChromaKey()
    controls = MatteControls(ControlSettings(keep_box=(0, 0, 9, 9)))
    matter = LiveMatter([SizeLevel(512, key, None, controls)])
    image = np.full((90, 160, 3), 200, np.uint8)
    matter.process(Frame((image,), Layout.RGB, 0, Fraction(1, 30)), store.current, 0)
    assert controls.settings == ControlSettings(edge=-2.0, largest_person=True, keep_box=(0, 0, 9, 9))


def run(*arguments):
    command = [sys.executable, "-m", "streammatte", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_applies_a_combination(tmp_path, samples):
    done = run(
        "video", samples / "person.mp4", tmp_path / "%04d.png", "--duration", 0.1, "--bg", samples / "beach.jpg",
        "--edge", -1.5, "--feather", 1, "--gamma", 1.2, "--black-point", 0.05, "--white-point", 0.95,
        "--largest-person", "--keep-box", "300,0,600,720", "--min-area", 0.1, "--despill", "green",
        "--match-light", "on", "--alpha", tmp_path / "a%04d.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alpha = cv2.imread(str(sorted(tmp_path.glob("a*.png"))[0]), cv2.IMREAD_GRAYSCALE)
    assert not alpha[:, :300].any() and not alpha[:, 900:].any() and alpha[:, 300:900].mean() > 20


def test_the_command_refuses_a_box_beside_the_image(tmp_path, samples):
    done = run("video", samples / "person.mp4", tmp_path / "o.mp4", "--keep-box", "5000,0,10,10")
    assert done.returncode == 2 and "outside the 1280x720 image" in done.stderr
    assert not list(tmp_path.iterdir())
    assert run("video", samples / "person.mp4", tmp_path / "o.mp4", "--edge", 9).returncode == 2
