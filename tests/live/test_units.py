"""The parts of a live session, each alone: guard, settings, adaptive size, stillness, options, status."""

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from support.live import BACKGROUND, HEIGHT, PERSON, WIDTH, EyeSink, RoomCamera, RoomMatter, kind_of, pipeline, room

from streammatte.errors import ConfigError
from streammatte.frames import Composite, Frame, Layout, Matte
from streammatte.live import LiveMatter, PrivacyGuard, SettingsStore, SizeLevel
from streammatte.live.adaptive import AdaptiveController, ladder
from streammatte.live.motion_detection import Stillness
from streammatte.live.settings import KEYS, LiveSettings, apply_key
from streammatte.options.live import LiveOptions


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def camera_frame(index=0, captured=0.0, pts=None):
    source = RoomCamera()
    return Frame(
        room(index),
        Layout.YUV420,
        round(captured * 1e6) if pts is None else pts,
        source.info.time_base,
        source.info.color,
        index,
        captured=captured,
    )


@pytest.fixture
def gate():
    """A guard with a clock of its own: (guard, clock, what was shown, a function that admits a frame captured now)."""
    clock, shown = Clock(), []
    guard = PrivacyGuard(shown.append, clock=clock)
    guard.set_hold(camera_frame(99))
    shown.clear()
    clock.now += 1

    def admit(captured=None):
        frame = camera_frame(captured=clock.now if captured is None else captured)
        guard.anchor(frame)
        alpha = np.where(PERSON, 255, 0).astype(np.uint8)
        image = frame.like(tuple(plane.copy() for plane in frame.planes))
        clock.now += 0.01
        return guard.admit(Matte(frame, alpha, (alpha / 255).astype(np.float32)), Composite(image))

    return guard, clock, shown, admit


def test_guard_shows_nothing_before_it_has_a_hold_image():
    shown = []
    guard = PrivacyGuard(shown.append)
    guard.tick()
    guard.engage("model")
    guard.finish()
    assert shown == []


def test_guard_lifts_its_hold_with_the_first_composite(gate):
    guard, _, shown, admit = gate
    assert guard.reasons == ("starting",)
    assert admit()
    assert guard.reasons == ()
    assert [item.held for item in shown] == [False]


def test_guard_is_not_lifted_by_frames_from_before(gate):
    guard, clock, shown, admit = gate
    admit()
    guard.engage("source")
    assert not admit(captured=clock.now - 0.5)
    assert [item.held for item in shown] == [False, True, True]
    clock.now += 0.1
    assert admit()


def test_guard_holds_after_a_second_without_a_composite_and_keeps_the_camera_alive(gate):
    guard, clock, shown, admit = gate
    admit()
    clock.now += 0.9
    guard.tick()
    assert len(shown) == 1
    clock.now += 0.2
    for _ in range(20):
        guard.tick()
        clock.now += 0.05
    assert guard.reasons == ("stalled",)
    assert 6 <= sum(item.held for item in shown) <= 12
    times = [item.frame.pts for item in shown]
    assert times == sorted(times)
    assert admit()


def test_guard_hold_of_the_user_stays(gate):
    guard, clock, _, admit = gate
    guard.engage("user")
    clock.now += 1
    assert not admit()
    guard.release("user")
    assert admit()


def test_guard_ends_in_hold_for_good(gate):
    guard, clock, shown, admit = gate
    admit()
    guard.finish()
    clock.now += 5
    assert not admit()
    assert shown[1].held
    assert not shown[1].timed


def test_settings_are_checked_as_a_whole():
    store = SettingsStore(["a.jpg", "b.jpg"])
    assert store.apply({"background": "b.jpg", "smooth": "high"}) == LiveSettings(background=1, smooth="high")
    for bad in (
        {"background": 2},
        {"background": -1},
        {"background": True},
        {"background": "c.jpg"},
        {"smooth": "max"},
        {"smooth": ["low"]},
        {"mirror": 1},
        {"mirror": None},
        {"nothing": True},
        {"x" * 10_000: True},
        {"mirror": True, "hold": "yes"},
    ):
        with pytest.raises(ConfigError) as caught:
            store.apply(bad)
        assert len(str(caught.value)) < 300
    assert store.current == LiveSettings(background=1, smooth="high")


def test_keys_do_what_they_say():
    store = SettingsStore(["a.jpg", "b.jpg"])
    assert set(KEYS) == set("besfmhq")
    seen = [store.current]
    for key in "bbesssfmhq":
        assert apply_key(store, key)
        seen.append(store.current)
    assert [settings.background for settings in seen[:4]] == [0, 1, 0, 0]
    assert [settings.smooth for settings in seen[3:7]] == ["low", "high", "off", "low"]
    last = seen[-1]
    assert (last.blur, last.freeze, last.mirror, last.hold, last.quit) == (True,) * 5
    assert not apply_key(store, "x")


def drive(controller, seconds, *, drop_from=None, busy=0.01, start=0.0, rate=30, others=False):
    """Frames at a rate; where ``drop_from`` is a size, networks of at least that size drop a third, since
    they take 30 ms (or ``others``: what else runs does)."""
    now, frames, drops = start, controller.totals[0], controller.totals[1]
    sizes = []
    for _ in range(int(seconds * rate)):
        now += 1 / rate
        slow = drop_from is not None and controller.size >= drop_from
        drops, frames = (drops + 1, frames) if slow and (frames + drops) % 3 == 0 else (drops, frames + 1)
        controller.update(now, frames, drops, max(busy, 0.03) if slow and not others else busy)
        sizes.append(controller.size)
    controller.totals = (frames, drops)
    return now, sizes


def controller(sizes=(512, 384, 256)):
    made = AdaptiveController(sizes, 0.0)
    made.totals = (0, 0)
    return made


def test_size_stays_while_nothing_drops():
    made = controller()
    assert set(drive(made, 60)[1]) == {512}


def test_size_steps_down_within_seconds_and_no_further_than_needed():
    made = controller()
    _, sizes = drive(made, 6, drop_from=512)
    assert sizes[-1] == 384
    assert sizes.index(384) < 4 * 30
    assert 256 not in sizes


def test_size_stays_where_the_network_is_not_what_is_slow():
    made = controller()
    assert set(drive(made, 20, drop_from=256, others=True)[1]) == {512}
    assert made.others > 10


def test_size_comes_back_when_there_is_room():
    made = controller()
    now, _ = drive(made, 6, drop_from=384)
    assert made.size == 256
    _, sizes = drive(made, 30, start=now)
    assert sizes[-1] == 512
    assert sizes.index(384) > 6 * 30


def test_size_does_not_come_back_without_room():
    made = controller()
    now, _ = drive(made, 6, drop_from=512, busy=0.02)
    assert set(drive(made, 60, start=now, busy=0.02)[1]) == {384}


def test_wrong_steps_up_become_rare():
    """A machine that looks idle at 384 but cannot do 512: every try costs drops, so that tries become rare."""
    made = controller((512, 384))
    _, sizes = drive(made, 300, drop_from=512)
    tries = sum(1 for a, b in itertools.pairwise(sizes) if a < b)
    assert 2 <= tries <= 7
    assert sizes.count(512) / len(sizes) < 0.1


def test_ladder():
    assert ladder(512) == (512, 384, 256)
    assert ladder(400) == (400, 384, 256)
    assert ladder(256) == (256,)
    with pytest.raises(ConfigError):
        AdaptiveController((256, 384), 0.0)


def test_stillness_sees_movement_but_not_noise():
    rng = np.random.default_rng(1)
    base = rng.integers(60, 200, (240, 320)).astype(np.int16)

    def noisy(image):
        luma = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        return replace(camera_frame(), planes=(luma, np.zeros((120, 160), np.uint8), np.zeros((120, 160), np.uint8)))

    still = Stillness()
    assert still.moved(noisy(base))
    still.remember(noisy(base))
    assert not any(still.moved(noisy(base)) for _ in range(50))
    blink = base.copy()
    blink[100:130, 100:140] += 12
    assert still.moved(noisy(blink))


def test_still_image_is_not_matted_again_but_shown_at_full_rate():
    runs_of_network = []
    eye = EyeSink()

    class StillCamera(RoomCamera):
        def frames(self):
            for frame in super().frames():
                frame.planes = room(0)
                yield frame

    status = pipeline(
        StillCamera(frames=60, rate=60),
        [("eye", eye)],
        fault=lambda frame, matte: runs_of_network.append(frame.index),
        idle_fps=10,
    ).run()
    assert status.frames + status.drops == 60
    assert len(runs_of_network) < 30
    assert status.reused > 30
    assert {kind_of(image) for image in eye.seen} == {"hold", "matted"}


def test_smoothing_is_switched_and_starts_anew():
    class Smoother:
        mode, resets = "low", 0

        def reset(self):
            self.resets += 1

    smoother = Smoother()
    matter = LiveMatter([SizeLevel(512, RoomMatter(), smoother)])
    matter.process(camera_frame(0), LiveSettings(smooth="low"), 0)
    matter.process(camera_frame(1), LiveSettings(smooth="high"), 0)
    assert (smoother.mode, smoother.resets) == ("high", 1)


class Presser(EyeSink):
    """Changes a setting when it has seen a certain number of frames of the session."""

    def __init__(self, at, patch):
        super().__init__()
        self.at, self.patch, self.store, self.index_then = at, patch, None, None
        self.count = 0

    def process(self, item):
        super().process(item)
        self.count += item.captured is not None  # placeholder frames do not count: on a busy machine there are many
        if item.captured is not None and self.index_then is None and self.count > self.at:
            self.store.apply(self.patch)
            self.index_then = item.index
        return []


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"background": 1}, lambda seen, before: (np.abs(seen[0, 0].astype(int) - (0x20, 0xA0, 0x40)) < 8).all()),
        ({"hold": True}, lambda seen, before: kind_of(seen) == "hold"),
        ({"blur": True}, lambda seen, before: seen[0, 0, 0] > 100),
    ],
    ids=["background", "hold", "blur"],
)
def test_change_takes_effect_within_two_frames_and_drops_none(patch, changed):
    eye = Presser(15, patch)
    session = pipeline(RoomCamera(frames=45, rate=20), [("eye", eye)], backgrounds=(BACKGROUND, "#20a040"))
    eye.store = session.store
    status = session.run()
    after = [i for i, image in enumerate(eye.seen) if changed(image, None) and i >= 15]
    place = next(i for i, item in enumerate(eye.frames) if item.index == eye.index_then and item.captured is not None)
    assert after
    assert after[0] - place <= 2
    assert status.drops == 0


def test_mirror_turns_the_camera_and_not_the_background():
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=20), [("eye", eye)])
    session.store.apply({"mirror": True})
    session.run()
    shown = next(image for image, item in zip(eye.seen, eye.frames, strict=True) if item.captured is not None)
    frame = next(item for item in eye.frames if item.captured is not None)
    inside = np.s_[24:40, 40:56]
    luma = room(frame.index)[0][:, ::-1][inside]
    assert np.corrcoef(shown[inside][..., 1].ravel(), luma.ravel())[0, 1] > 0.9


def test_freeze_keeps_the_image_and_its_own_matte():
    eye = Presser(10, {"freeze": True})
    session = pipeline(RoomCamera(frames=30), [("eye", eye)])
    eye.store = session.store
    session.run()
    matted = [image for image in eye.seen if kind_of(image) == "matted"]
    assert all(np.array_equal(image, matted[-1]) for image in matted[-8:])
    assert len({image.tobytes() for image in matted}) > 1  # before it the image moved


def test_hold_image_of_ones_own():
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=10), [("eye", eye)], hold="#d0d020")
    session.store.apply({"hold": True})
    session.run()
    assert all(np.abs(image.astype(int) - (0xD0, 0xD0, 0x20)).max() < 8 for image in eye.seen)


def test_blur_holds_with_a_card_and_not_with_the_room():
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=10), [("eye", eye)], backgrounds=("blur",))
    session.store.apply({"hold": True})
    session.run()
    assert all(np.ptp(image.reshape(-1, 3).astype(int), axis=0).max() <= 2 for image in eye.seen)


def test_status_is_json():
    statuses = []
    pipeline(RoomCamera(frames=40), [("eye", EyeSink())], on_status=statuses.append).run()
    assert statuses
    said = json.loads(json.dumps(statuses[-1].as_dict()))
    assert {"frames", "drops", "latency_ms", "fps", "size", "state"} <= set(said)
    assert "drops" in str(statuses[-1])


def test_duration_ends_the_session():
    began = time.monotonic()
    status = pipeline(RoomCamera(), [("eye", EyeSink())], duration=0.5).run()
    assert status.frames > 0
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"backgrounds": ("none",)}, "cannot be used with a live camera"),
        ({"backgrounds": ("transparent",)}, "cannot be used with a live camera"),
        ({"hold": "blur"}, "would show the room"),
        ({"hold": "none"}, "cannot be used with a live camera"),
        ({"width": 640}, "go together"),
        ({"fps": 0.0}, "--fps"),
        ({"idle_fps": -1.0}, "--idle-fps"),
        ({"duration": 0.0}, "--duration"),
        ({"mic": "auto"}, "--record or --stream"),
        ({"colour": "red"}, "unknown option colour"),
    ],
)
def test_options_that_are_refused(given, match):
    with pytest.raises(ConfigError, match=match):
        LiveOptions.build(None, **given)


def test_options_from_a_preset_of_videos():
    options = LiveOptions.build({"background": "blur:30", "smooth": "high", "crf": 17}, size=256)
    assert (options.backgrounds, options.smooth, options.size) == (("blur:30",), "high", 256)
    assert options.sink_names() == ("virtual_camera",)
    assert LiveOptions.build(None, record="a.mp4").sink_names() == ("record",)
    assert LiveOptions.build(None, record="a.mp4", virtual_camera="auto").sink_names() == ("virtual_camera", "record")


def test_room_of_the_kit_is_unlike_the_background():
    frame = camera_frame(0)
    from streammatte.media.convert import PixelConverter

    assert kind_of(PixelConverter("rgb24").array(frame)) == "UNMATTED"
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
