"""The temporal smoother."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from support.videos import make_video

import streammatte
from streammatte.errors import ConfigError
from streammatte.live.build import initial_settings
from streammatte.matting.smoothing import Smoother
from streammatte.options.live import LiveOptions

SIZE = (72, 128)


def step(smoother, alpha, luma, time):
    """One matte through a causal smoother."""
    (steadied,) = smoother.push(alpha, (luma,), time)
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
def test_flicker_of_a_still_image_falls(mode, least):
    base, mattes = flickering(40)
    smoother = Smoother(mode)
    out = [step(smoother, alpha, room(), i / 30) for i, alpha in enumerate(mattes)]

    def jitter(frames):
        return np.mean([np.abs(b - a).mean() for a, b in pairwise(frames[5:])])

    assert jitter(out) < least * jitter(mattes)
    assert np.mean([np.abs(f - base).mean() for f in out[5:]]) < np.mean([np.abs(f - base).mean() for f in mattes[5:]])


def hand_video(speed, contrast, count=24):
    """A textured hand, 20 cells wide, that crosses a textured room: planes and true mattes."""
    rng = np.random.default_rng(3)
    skin = cv2.GaussianBlur(rng.normal(0, 60, (40, 20)), (0, 0), 2) + 110 + contrast
    wall = cv2.GaussianBlur(rng.normal(0, 60, SIZE), (0, 0), 2) + 110
    for i in range(count):
        luma, alpha, tint = wall.copy(), np.zeros(SIZE, np.float32), np.full(SIZE, 128, np.uint8)
        x = 4 + speed * i
        if x + 20 > SIZE[1]:
            return
        luma[16:56, x : x + 20] = skin
        alpha[16:56, x : x + 20] = 1
        tint[16:56, x : x + 20] = 128 + contrast // 4
        yield (np.clip(luma, 0, 255).astype(np.uint8), tint, tint), alpha


def run(mode, video):
    """Every matte of a video of (planes, alpha), smoothed."""
    smoother, out = Smoother(mode), []
    for i, (planes, alpha) in enumerate(video):
        out += smoother.push(alpha, planes, i / 30)
    return out + smoother.drain()


@pytest.mark.parametrize("mode", ["low", "high", "best"])
@pytest.mark.parametrize("contrast", [24, 80])
@pytest.mark.parametrize("speed", [3, 8, 16, 24])
def test_a_moving_hand_leaves_no_ghost(mode, contrast, speed):
    """Where a hand has been the matte is 0 again, and where it now is the matte is 1, but for two cells at its edge."""
    video = list(hand_video(speed, contrast))
    for (_, alpha), out in zip(video, run(mode, video), strict=True):
        outside = cv2.dilate(alpha, np.ones((5, 5))) == 0
        inside = cv2.erode(alpha, np.ones((5, 5))) == 1
        trail, hole = out[outside], 1 - out[inside]
        assert trail.mean() < 0.01 and np.quantile(trail, 0.995) < 0.2
        assert hole.mean() < 0.03 and np.quantile(hole, 0.98) < 0.2


@pytest.mark.parametrize("mode", ["low", "high"])
def test_what_fades_in_a_still_image_arrives(mode):
    """No ghost where the image does not move at all and the network changes its mind."""
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


def test_best_repairs_a_spike_of_a_single_frame():
    """Half the person vanishes for one frame while the image stands still."""
    whole = person()
    half = whole.copy()
    half[:, 64:] = 0
    video = [((room(),), half if i == 6 else whole) for i in range(14)]
    out = run("best", video)
    assert np.abs(out[6] - whole).max() < 0.5 * np.abs(run("low", video)[6] - whole).max()
    assert np.abs(out[6] - whole).mean() < 0.3 * np.abs(half - whole).mean()
    assert max(np.abs(out[i] - whole).max() for i in (5, 7)) < 0.25


def test_best_gives_every_matte_once_and_in_order():
    """Mattes come a few pushes later, all at a cut and at the end; a level that rises in time tells them apart."""
    smoother, out, counts = Smoother("best"), [], []
    levels = [0.03 * i for i in range(30)]
    for i, level in enumerate(levels):
        luma = room() if i < 12 else 255 - room() // 4
        found = smoother.push(np.full(SIZE, level, np.float32), (luma,), i / 30)
        counts.append(len(found))
        out += found
    ahead = counts.index(1)
    assert ahead >= 1 and counts[:12] == [0] * ahead + [1] * (12 - ahead)
    assert counts[12:] == [ahead] + [0] * (ahead - 1) + [1] * (18 - ahead)
    out += smoother.drain()
    assert len(out) == 30 and smoother.drain() == []
    means = [float(matte.mean()) for matte in out]
    assert max(abs(mean - level) for mean, level in zip(means, levels, strict=True)) < 0.1


def test_a_reset_drops_what_waits():
    smoother = Smoother("best")
    for i in range(3):
        smoother.push(person(), (room(),), i / 30)
    smoother.reset()
    assert smoother.drain() == []


def test_a_change_of_mode_starts_anew():
    smoother = Smoother("low")
    step(smoother, person(), room(), 0.0)
    smoother.mode = "high"
    np.testing.assert_array_equal(step(smoother, person() / 2, room(), 1 / 30), person() / 2)


def test_rgb_planes_are_compared_as_colours():
    """A red thing of its background's luma that goes leaves nothing behind."""
    gray = [np.full(SIZE, value, np.uint8) for value in (110, 110, 110)]
    red = [plane.copy() for plane in gray]
    for plane, value in zip(red, (220, 72, 20), strict=True):
        plane[20:50, 40:70] = value
    alpha = np.zeros(SIZE, np.float32)
    alpha[20:50, 40:70] = 1
    smoother = Smoother("low")
    smoother.push(alpha, tuple(red), 0.0, rgb=True)
    (out,) = smoother.push(np.zeros(SIZE, np.float32), tuple(gray), 1 / 30, rgb=True)
    assert out.max() < 0.05


@pytest.mark.parametrize("batch", [1, 4])
def test_a_matte_of_best_lies_on_its_own_frame(tmp_path, batch):
    """Through the network: times as the video's, every small matte close to the raw one of the same frame."""
    video = make_video(tmp_path / "video.mp4", frames=13)
    given = {
        smooth: list(streammatte.stream(video, size=192, smooth=smooth, batch=batch)) for smooth in ("off", "best")
    }
    raw, best = given["off"], given["best"]
    assert [matte.frame.pts for matte in best] == [matte.frame.pts for matte in raw]
    assert len(best) == 13
    for a, b in zip(raw, best, strict=True):
        np.testing.assert_array_equal(a.frame.planes[0], b.frame.planes[0])
        np.testing.assert_array_equal(a.small_planes[0], b.small_planes[0])
    assert np.mean([np.abs(a.small_alpha - b.small_alpha).mean() for a, b in zip(raw, best, strict=True)]) < 0.05


def test_a_camera_that_asks_for_best_gets_high_and_is_reported(caplog):
    assert initial_settings(LiveOptions(smooth="best")).smooth == "high"
    assert "high" in caplog.text
    caplog.clear()
    assert initial_settings(LiveOptions(smooth="low")).smooth == "low"
    assert not caplog.text


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match=r"off.*low.*high"):
        Smoother("medium")
