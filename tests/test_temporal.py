"""The temporal smoother."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from streammatte.errors import ConfigError
from streammatte.matting.temporal import Smoother

SIZE = (72, 128)


def step(smoother, alpha, luma, time):
    """One matte through a causal smoother."""
    (steadied,) = smoother.push(alpha, luma, time)
    return steadied


def room():
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, SIZE, dtype=np.uint8), (0, 0), 2)


def person():
    alpha = np.zeros(SIZE, np.float32)
    cv2.circle(alpha, (64, 40), 24, 1.0, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 1.5)


def flickering(count, strength=0.15, seed=1):
    """A still person whose soft edge flickers."""
    rng = np.random.default_rng(seed)
    base = person()
    edge = 4 * base * (1 - base)
    return base, [np.clip(base + edge * rng.normal(0, strength, SIZE), 0, 1).astype(np.float32) for _ in range(count)]


def test_off_gives_the_very_array():
    alpha = person()
    before = alpha.copy()
    smoother = Smoother("off")
    for moment in range(3):
        assert step(smoother, alpha, room(), moment / 30) is alpha
    np.testing.assert_array_equal(alpha, before)


@pytest.mark.parametrize(("mode", "least"), [("low", 0.75), ("high", 0.75)])
def test_flicker_of_a_still_picture_falls(mode, least):
    base, mattes = flickering(40)
    smoother = Smoother(mode)
    out = [step(smoother, alpha, room(), i / 30) for i, alpha in enumerate(mattes)]

    def jitter(frames):
        return np.mean([np.abs(b - a).mean() for a, b in pairwise(frames[5:])])

    assert jitter(out) < least * jitter(mattes)
    assert np.mean([np.abs(f - base).mean() for f in out[5:]]) < np.mean([np.abs(f - base).mean() for f in mattes[5:]])


@pytest.mark.parametrize("mode", ["low", "high"])
@pytest.mark.parametrize("speed", [4, 8, 16])
def test_a_moving_hand_leaves_no_ghost(mode, speed):
    """A bright hand crosses a still room; where it has been, the matte is 0 again at once."""
    smoother = Smoother(mode)
    background = room() // 2
    for i in range(12):
        x = 10 + speed * i
        if x > 110:
            break
        luma, alpha = background.copy(), np.zeros(SIZE, np.float32)
        cv2.rectangle(luma, (x - 8, 20), (x, 50), 230, -1)
        cv2.rectangle(alpha, (x - 8, 20), (x, 50), 1.0, -1)
        out = step(smoother, alpha, luma, i / 30)
        assert np.abs(out - alpha).max() <= 0.12, f"frame {i}"


@pytest.mark.parametrize("mode", ["low", "high"])
def test_what_fades_in_a_still_picture_arrives(mode):
    """No ghost where the picture does not move at all and the network changes its mind."""
    smoother = Smoother(mode)
    step(smoother, person(), room(), 0.0)
    for i in range(1, 19):
        out = step(smoother, np.zeros(SIZE, np.float32), room(), i / 30)
    assert out.max() < 0.02


@pytest.mark.parametrize("mode", ["low", "high"])
def test_smoothing_depends_on_time_not_on_the_number_of_frames(mode):
    """The step of a slightly changed matte decays alike at 30 and at 60 frames a second."""
    before, after = person(), np.clip(person() - 0.1, 0, 1).astype(np.float32)
    results = []
    for rate in (30, 60):
        smoother = Smoother(mode)
        step(smoother, before, room(), 0.0)
        for i in range(1, rate // 15 + 1):
            out = step(smoother, after, room(), i / rate)
        results.append(out)
    assert np.abs(results[0] - after).max() > 0.003
    assert np.abs(results[0] - results[1]).max() < 1e-3


@pytest.mark.parametrize("mode", ["low", "high"])
def test_a_cut_and_a_reset_start_anew(mode):
    _, mattes = flickering(2)
    smoother = Smoother(mode)
    step(smoother, mattes[0], room(), 0.0)
    np.testing.assert_array_equal(step(smoother, mattes[1], 255 - room() // 4, 1 / 30), mattes[1])
    smoother.reset()
    np.testing.assert_array_equal(step(smoother, mattes[0], room(), 2 / 30), mattes[0])


def test_time_going_back_starts_anew():
    _, mattes = flickering(2)
    smoother = Smoother("low")
    step(smoother, mattes[0], room(), 5.0)
    np.testing.assert_array_equal(step(smoother, mattes[1], room(), 1.0), mattes[1])


def test_the_input_is_neither_changed_nor_kept():
    _, mattes = flickering(3)
    smoother = Smoother("low")
    kept = [alpha.copy() for alpha in mattes]
    first = step(smoother, mattes[0], room(), 0.0)
    mattes[0][:] = 0.5
    np.testing.assert_array_equal(first, kept[0])
    step(smoother, mattes[1], room(), 1 / 30)
    np.testing.assert_array_equal(mattes[1], kept[1])


def test_luma_of_the_input_s_size_and_tiny_mattes_are_taken():
    for mode in ("low", "high"):
        smoother = Smoother(mode)
        for i in range(3):
            alpha = np.full((6, 9), 0.5, np.float32)
            assert step(smoother, alpha, np.full((12, 18), 90, np.uint8), i / 30).shape == (6, 9)


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match=r"off.*low.*high"):
        Smoother("medium")
