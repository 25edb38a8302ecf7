"""The crop that follows a person, the person of several that is kept, and the video behind that costs no frames."""

import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.live import BACKGROUND, COLOR, MICRO, NEAR, RGB, EyeSink, RoomCamera, RoomMatter, TimedEye, pipeline

from streammatte.compositing import StreamCompositor, parse_background
from streammatte.errors import BackgroundError, ConfigError, DeviceError
from streammatte.frames import Frame, Layout, Matte, StreamInfo
from streammatte.live import LiveMatter, Scene, Scenes, SizeLevel
from streammatte.live.background_folder import BackgroundFolder, background_files
from streammatte.live.framing import FASTEST, Framer, person_box
from streammatte.live.on_demand import OnDemandSource, read_by_others
from streammatte.live.paced_background import PacedBackground
from streammatte.live.settings import LiveSettings
from streammatte.live.stages import _shaped
from streammatte.matting.controls import ControlSettings, MatteControls

HEIGHT, WIDTH = 90, 160


def alpha_of(left, top, right, bottom):
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[round(top * HEIGHT) : round(bottom * HEIGHT), round(left * WIDTH) : round(right * WIDTH)] = 1
    return alpha


def matte_at(alpha, seconds):
    planes = tuple(np.full(shape, 90, np.uint8) for shape in ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2)) for _ in "ab")
    frame = Frame((planes[0], planes[2], planes[3]), Layout.YUV420, round(seconds / MICRO), MICRO, COLOR)
    return Matte(frame, np.asarray(alpha * 255, np.uint8), alpha)


def views(framer, alphas, rate=30.0, begin=0.0):
    found = []
    for index, alpha in enumerate(alphas):
        matte = matte_at(alpha, begin + index / rate)
        framer.apply(matte, matte.frame)
        found.append(framer.view)
    return np.array(found)


def test_the_box_is_the_persons_and_not_a_specks():
    alpha = alpha_of(0.25, 0.2, 0.5, 1.0)
    alpha[3, 100] = 1
    assert person_box(alpha) == pytest.approx((0.25, 0.2, 0.5, 1.0), abs=0.02)
    assert person_box(np.zeros((HEIGHT, WIDTH), np.float32)) is None


@pytest.mark.parametrize("rate", [10.0, 30.0, 60.0])
def test_the_view_arrives_without_overshoot_at_any_rate(rate):
    person = alpha_of(0.6, 0.4, 0.8, 0.9)
    found = views(Framer(), [person] * int(6 * rate), rate)
    x, y, size = found[-1]
    assert size == pytest.approx(0.625, abs=0.03)  # 1.25 times the person's height
    assert x == pytest.approx(0.6875, abs=0.03)  # as far to the right as the image goes
    assert y - size / 2 == pytest.approx(0.4 - 0.12 * size, abs=0.03)
    assert (np.diff(found[:, 2]) <= 1e-9).all()  # it never swings back
    assert np.abs(np.diff(found, axis=0)).max() <= FASTEST / rate + 1e-6
    assert (found[:, :2] - found[:, 2:] / 2 >= -1e-9).all() and (found[:, :2] + found[:, 2:] / 2 <= 1 + 1e-9).all()


def test_a_person_who_fidgets_does_not_move_the_view():
    rng = np.random.default_rng(0)
    framer = Framer()
    views(framer, [alpha_of(0.4, 0.4, 0.6, 0.9)] * 200)
    shaken = [alpha_of(0.4 + dx, 0.4, 0.6 + dx, 0.9) for dx in rng.uniform(-0.02, 0.02, 60)]
    found = views(framer, shaken, begin=200 / 30)
    assert np.ptp(found, axis=0).max() == 0
    gone = views(framer, [np.zeros((HEIGHT, WIDTH), np.float32)] * 200, begin=260 / 30)
    assert gone[-1] == pytest.approx((0.5, 0.5, 1.0), abs=0.02)  # nobody: the whole image


def test_the_crop_shows_what_the_view_says():
    column = np.arange(WIDTH, dtype=np.uint8)
    matte = matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 0)
    image = matte.frame.like((np.tile(column, (HEIGHT, 1)), *matte.frame.planes[1:]))
    framer = Framer()
    framer._view = np.array([0.5, 0.5, 0.5])
    shown = framer.apply(matte, image)
    assert shown.planes[0].shape == (HEIGHT, WIDTH) and shown.planes[1].shape == (HEIGHT // 2, WIDTH // 2)
    x, _, size = framer.view
    expected = (np.arange(WIDTH) + 0.5) * size + (x - size / 2) * WIDTH - 0.5
    assert np.abs(shown.planes[0][HEIGHT // 2].astype(float) - expected).max() <= 1


def two_people(shift):
    """Two people, the right one the larger; both move by ``shift``."""
    return np.maximum(alpha_of(0.1 + shift, 0.3, 0.25 + shift, 0.9), alpha_of(0.6 + shift, 0.2, 0.9 + shift, 1.0))


def test_the_chosen_person_is_kept_and_followed():
    controls = MatteControls(ControlSettings(choose=(20, 50), min_area=0))
    for step in range(20):  # past the chosen point: it is the person who is followed
        found = controls.clean(two_people(step * 0.005), (HEIGHT, WIDTH), step / 30)
        assert np.array_equal(found, alpha_of(0.1 + step * 0.005, 0.3, 0.25 + step * 0.005, 0.9))
    controls.settings = ControlSettings(choose=(120, 50), min_area=0)
    found = controls.clean(two_people(0.1), (HEIGHT, WIDTH), 1.0)
    assert np.array_equal(found, alpha_of(0.7, 0.2, 1.0, 1.0))
    controls.settings = ControlSettings(min_area=0)
    assert np.array_equal(controls.clean(two_people(0.1), (HEIGHT, WIDTH), 1.1), two_people(0.1))


def test_a_choice_outside_the_image_is_refused():
    with pytest.raises(ConfigError, match="--choose 200,5 lies outside the 160x90 image"):
        ControlSettings(choose=(200, 5)).check(WIDTH, HEIGHT)


class SlowVideo:
    """A video background whose decoder needs ``seconds`` for an image."""

    def __init__(self, seconds):
        self.seconds, self.times, self.closed, self.again = seconds, [], False, 0
        self.fails = False

    def planes(self, matte):
        if self.fails:
            raise BackgroundError("broken")
        time.sleep(self.seconds)
        self.times.append(matte.frame.time)
        return tuple(np.full_like(plane, len(self.times) % 250) for plane in matte.frame.planes)

    def reset(self):
        self.again += 1

    def interrupt(self):
        pass

    def close(self):
        self.closed = True


def test_a_slow_video_behind_costs_the_camera_nothing():
    video = SlowVideo(0.2)
    paced = PacedBackground(video)
    matte = matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 0)
    first = paced.planes(matte)  # the very first is waited for
    waits, begin = [], time.perf_counter()
    while time.perf_counter() - begin < 1.2:
        before = time.perf_counter()
        shown = paced.planes(matte)
        waits.append(time.perf_counter() - before)
        time.sleep(0.01)
    assert sorted(waits)[int(len(waits) * 0.9)] < 0.1  # never for the decoder
    assert shown[0][0, 0] != first[0][0, 0] and len(video.times) >= 3
    assert np.diff(video.times).max() <= 0.1 + 1e-6  # the video is slower, it does not skip ever further ahead
    assert paced.slow > 0
    paced.reset()
    deadline = time.monotonic() + 5
    while not video.again and time.monotonic() < deadline:
        paced.planes(matte)
        time.sleep(0.01)
    assert video.again == 1
    paced.close()
    paced.close()
    assert video.closed


def test_a_video_behind_that_breaks_stands_still(caplog):
    video = SlowVideo(0.0)
    paced = PacedBackground(video)
    matte = matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 0)
    paced.planes(matte)
    video.fails = True
    deadline = time.monotonic() + 5
    while "stands still" not in caplog.text and time.monotonic() < deadline:
        paced.planes(matte)
        time.sleep(0.01)
    assert "stands still" in caplog.text
    assert len(paced.planes(matte)) == 3
    paced.close()


def test_nobody_asks_and_the_decoder_rests():
    video = SlowVideo(0.0)
    now = [0.0]
    paced = PacedBackground(video, clock=lambda: now[0])
    paced.planes(matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 0))
    now[0] = 100.0
    time.sleep(0.3)
    count = len(video.times)
    time.sleep(0.3)
    assert len(video.times) == count
    paced.close()
    assert not any(thread.name == "live-background" for thread in threading.enumerate())


def test_a_folder_of_backgrounds(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    (tmp_path / "below").mkdir()
    outside = tmp_path.parent / "outside.png"
    outside.write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(outside)
    assert list(background_files(tmp_path)) == ["a.png"]
    added, failing = [], {"bad.jpg"}

    def add(spec, name):
        if name in failing:
            raise BackgroundError("no image")
        added.append((spec, name))

    folder = BackgroundFolder(tmp_path, {"a.png"}, add)
    folder.look()
    assert added == []
    (tmp_path / "b.jpg").write_bytes(b"xy")
    (tmp_path / "bad.jpg").write_bytes(b"xy")
    folder.look()
    assert added == []  # it may still be written
    folder.look()
    folder.look()
    assert added == [(str(tmp_path / "b.jpg"), "b.jpg")]
    with (tmp_path / "c.jpg").open("wb") as file:
        for _ in range(3):
            file.write(b"z" * 100_000)
            file.flush()
            folder.look()
            assert len(added) == 1
    folder.look()
    assert len(added) == 2
    (tmp_path / "bad.jpg").write_bytes(b"longer")  # it was copied slowly, and failed before it was whole
    folder.look()
    failing.clear()
    folder.look()
    assert added[-1][1] == "bad.jpg"


class LateSink(EyeSink):
    """Joins another sink, a background and settings to the session when it has seen some images."""

    def __init__(self):
        super().__init__()
        self.session, self.scenes, self.late, self.timed = None, None, EyeSink(), TimedEye()

    def process(self, item):
        super().process(item)
        if len(self.seen) == 15:
            self.session.add_sink("late", self.late)
            self.session.add_sink("timed", self.timed)
            self.scenes.add(Scene("#20a040", StreamCompositor(parse_background("#20a040"))), lambda: None)
            self.session.store.add_background("#20a040")
            self.session.store.apply({"background": "#20a040", "framing": "auto"})
        if len(self.seen) == 45:
            threading.Thread(target=self.session.remove_sink, args=("timed",)).start()
        return []


def test_sinks_and_backgrounds_come_and_go_while_it_runs():
    eye = LateSink()
    session = pipeline(RoomCamera(frames=75), [("eye", eye)])
    eye.session, eye.scenes = session, session._scenes
    status = session.run()
    assert status.backgrounds == (BACKGROUND, "#20a040") and set(status.sinks) == {"eye", "late"}
    assert 30 < len(eye.late.seen) < 75 and 15 < len(eye.timed.seen) < 45
    assert eye.timed.closed and not eye.timed.aborted
    green = np.array((0x20, 0xA0, 0x40))
    corners = np.array([image[0, 0].astype(int) for image in eye.seen])
    assert np.abs(corners[:10] - RGB).max() <= NEAR
    assert np.abs(corners[-30:] - green).max() <= NEAR  # the framed view has the background in its corner
    person = [int((np.abs(image.astype(int) - green).max(axis=-1) > 40).sum()) for image in eye.seen]
    assert max(person[-10:]) > 1.3 * max(person[18:24])  # and the person is larger


def test_a_sink_that_cannot_open_leaves_the_session_alone():
    class Broken(EyeSink):
        def open(self, info):
            raise DeviceError("no such device")

    broken = Broken()
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=20), [("eye", eye)])
    with pytest.raises(DeviceError, match="no such device"):
        session.add_sink("broken", broken)
    session.run()
    assert broken.aborted and eye.closed


def test_frozen_is_a_state():
    session = pipeline(RoomCamera(frames=20), [("eye", EyeSink())])
    session.store.apply({"freeze": True})
    assert session.run().state == "hold: ended"
    states = []
    session = pipeline(
        RoomCamera(frames=60), [("eye", EyeSink())], on_status=lambda status: states.append(status.state)
    )
    session.store.apply({"freeze": True})
    session.run()
    assert "frozen" in states


class Opened:
    """A camera that counts how often it is open."""

    def __init__(self):
        self.now, self.openings, self.open, self.gone = 0.0, 0, False, 0

    def __call__(self):
        if self.gone:
            self.gone -= 1
            raise DeviceError("no such camera")
        assert not self.open
        self.openings, self.open = self.openings + 1, True
        camera = RoomCamera(frames=10_000, rate=1000)
        close, frames = camera.close, camera.frames

        def closing():
            self.open = False
            close()

        def ticking():
            for frame in frames():
                self.now += 0.1
                yield frame

        camera.close, camera.frames = closing, ticking
        return camera


def test_the_camera_is_open_only_while_somebody_watches():
    camera, wanted, lost = Opened(), [False], []
    source = OnDemandSource(camera, lambda: wanted[0], clock=lambda: camera.now)
    assert camera.openings == 1 and not camera.open  # to learn its size
    source.on_lost = lambda: lost.append(camera.open)
    got, ended = [], threading.Event()

    def read():
        for frame in source.frames():
            got.append(frame)
            if len(got) == 50:
                wanted[0] = False  # three seconds of the camera's clock later it is off
            if len(got) > 200:
                break
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.7)
    assert not camera.open and not got and lost == [False]
    wanted[0] = True
    deadline = time.monotonic() + 10
    while (len(got) < 50 or camera.open) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 75 <= len(got) <= 90 and not camera.open
    wanted[0] = True
    deadline = time.monotonic() + 10
    while camera.openings < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert camera.openings == 3
    source.interrupt()
    reader.join(10)
    assert ended.is_set() and not camera.open
    times = [frame.pts for frame in got]
    assert times == sorted(set(times)) and [frame.index for frame in got] == list(range(len(got)))


def test_a_camera_that_comes_later_is_fitted(monkeypatch, caplog):
    monkeypatch.setattr("streammatte.live.on_demand.RETRY", 0.05)
    camera = Opened()
    camera.gone = 3
    info = StreamInfo(64, 64, Layout.YUV420, MICRO, None, COLOR, name="later")
    source = OnDemandSource(camera, lambda: True, info, clock=lambda: camera.now)
    frame = next(source.frames())
    assert (frame.width, frame.height) == (64, 64) and camera.openings == 1
    assert caplog.text.count("cannot be opened yet") == 1
    source.close()


def test_who_reads_a_device(tmp_path):
    device = tmp_path / "video9"
    device.write_bytes(b"")
    assert not read_by_others(str(device))
    with device.open("rb"):
        assert not read_by_others(str(device))  # this process does not count
    code = f"f=open({str(device)!r}); print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        assert read_by_others(str(device))
    finally:
        other.communicate(b"\n")
    assert not read_by_others(str(device))
    assert read_by_others("no path")  # nobody can know: the camera is on


@pytest.mark.skipif(sys.platform != "linux", reason="Video4Linux2")
@pytest.mark.parametrize(("clients", "read"), [(0, False), (2, True), (None, False)])
def test_the_drivers_count_goes_before_open_files(monkeypatch, clients, read):
    monkeypatch.setattr("streammatte.live.on_demand.v4l2.capture_clients", lambda device: clients)
    assert read_by_others("/dev/full") is read


def test_crop_flip_and_rotation_while_it_runs():
    planes = (
        np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1)),
        *(np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8),) * 2,
    )
    frame = Frame(planes, Layout.YUV420, 5, MICRO, COLOR, 3, captured=1.5)
    assert _shaped(frame, LiveSettings()) is frame
    flipped = _shaped(frame, LiveSettings(flip="horizontal"))
    assert np.array_equal(flipped.planes[0], planes[0][:, ::-1]) and flipped.captured == 1.5
    part = _shaped(frame, LiveSettings(crop=(80, 45, 80, 45)))
    assert (part.width, part.height, part.pts, part.index) == (WIDTH, HEIGHT, 5, 3)
    assert abs(int(part.planes[0][40, 2]) - 81) <= 2 and abs(int(part.planes[0][40, -3]) - 158) <= 2
    assert np.array_equal(_shaped(frame, LiveSettings(rotate="180")).planes[0], planes[0][::-1, ::-1])
    assert _shaped(frame, LiveSettings(rotate="90"), 90) is frame  # the source has done it
    for turn, rotated, first, last in (("90", 0, 0, WIDTH), ("270", 0, WIDTH, 0), ("0", 90, WIDTH, 0)):
        side = _shaped(frame, LiveSettings(rotate=turn), rotated)
        assert (side.width, side.height, side.pts, side.captured) == (WIDTH, HEIGHT, 5, 1.5)
        column = side.planes[0][:, WIDTH // 2].astype(int)
        assert abs(column[1] - first) <= 4 and abs(column[-2] - last) <= 4
        assert side.planes[0][:, :40].max() <= 16  # what the turned frame does not fill
    for outside in ((500, 0, 10, 10), (0, 500, 10, 10), (159, 89, 50, 50)):
        assert _shaped(frame, LiveSettings(crop=outside)).planes[0].shape == (HEIGHT, WIDTH)


def test_a_still_image_is_composited_once_until_something_changes():
    made = []

    class Counting(StreamCompositor):
        def process(self, item):
            made.append(item.frame.index)
            return super().process(item)

    plain = Scene("#3060a0", Counting(parse_background("#3060a0")))
    moving = Scene("video", Counting(parse_background("#00b140")), moving=True)
    scenes = Scenes([plain, moving], Scene("blur", StreamCompositor(parse_background("blur"))))
    matte = matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 1)
    settings = LiveSettings()
    first = scenes.compose(matte, settings)
    later = replace(matte, frame=replace(matte.frame, pts=2_000_000, index=9, captured=7.0))
    again = scenes.compose(later, settings)
    assert made == [0] and again.frame.planes is first.frame.planes
    assert (again.frame.pts, again.frame.index, again.frame.captured) == (2_000_000, 9, 7.0)
    scenes.compose(later, replace(settings, edge=1.0))  # other settings
    scenes.compose(later, replace(settings, background=1))
    scenes.compose(later, replace(settings, background=1))  # a video moves on by itself
    scenes.compose(matte_at(alpha_of(0.4, 0.3, 0.6, 0.9), 2), settings)  # another image
    assert len(made) == 5


def test_the_network_rests_longer_where_nothing_moves():
    now, runs = [0.0], []

    class Still(RoomMatter):
        def process(self, frame):
            runs.append(now[0])
            return super().process(frame)

    matter = LiveMatter([SizeLevel(512, Still())], idle_fps=10.0, clock=lambda: now[0])
    frame = next(RoomCamera(rate=1000).frames())
    for _ in range(300):  # ten seconds
        now[0] += 1 / 30
        matter.process(frame, LiveSettings(), 0)
    assert sum(moment <= 2.0 for moment in runs) in range(12, 22)
    assert sum(moment > 2.5 for moment in runs) in range(12, 18)  # twice a second
    other = replace(frame, planes=(255 - frame.planes[0], *frame.planes[1:]))
    count = len(runs)
    now[0] += 1 / 30
    matter.process(other, LiveSettings(), 0)
    assert len(runs) == count + 1  # in the very frame
