"""Whatever fails, no sink ever sees the room: every frame that reached one is looked at."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from support.live import EyeSink, RoomCamera, TimedEye, pipeline, shown_runs

from streammatte.errors import DeviceError, ModelError
from streammatte.frames import Matte
from streammatte.sources.reconnect import ReconnectingSource


def kinds(found):
    return [kind for kind, _ in found]


def count(found, kind):
    return sum(number for name, number in found if name == kind)


def test_a_whole_session_shows_the_person_and_never_the_room():
    eye, timed = EyeSink(), TimedEye()
    status = pipeline(RoomCamera(frames=40), [("eye", eye), ("timed", timed)]).run()
    found = shown_runs("session", eye.seen)
    assert kinds(found) == ["hold", "matted", "hold"]
    assert kinds(shown_runs("recording", timed.seen)) == ["matted"]
    assert count(found, "matted") + status.drops == 40
    assert eye.closed
    assert not eye.aborted
    assert status.latency_ms["p95"] > 0
    times = [frame.pts * frame.time_base for frame in timed.frames]
    assert times == sorted(set(times))


def gone_and_back(at, seconds, rate, longest_wait=0.3):
    opened = []

    def open_camera():
        if opened and time.monotonic() - opened[-1].gone < seconds:
            raise DeviceError("no such device")
        camera = RoomCamera(frames=30 if opened else 10_000, rate=rate, fails_at=None if opened else at)
        close = camera.close

        def closed():
            camera.gone = time.monotonic()
            close()

        camera.close = closed
        opened.append(camera)
        return camera

    source = ReconnectingSource(open_camera, longest_wait=longest_wait)
    eye, timed = EyeSink(), TimedEye()
    session = pipeline(source, [("eye", eye), ("timed", timed)])

    def end():
        while source.reconnects < 1 or not opened[-1].closed:
            time.sleep(0.05)
        session.stop()

    threading.Thread(target=end, daemon=True).start()
    session.run()
    return opened, eye, timed


@pytest.mark.parametrize(("at", "seconds", "rate"), [(20, 1.5, 60), pytest.param(100, 5.0, 30, marks=pytest.mark.slow)])
def test_camera_gone_and_back(at, seconds, rate):
    opened, eye, timed = gone_and_back(at, seconds, rate)
    found = shown_runs(f"camera gone at frame {at}, back after {seconds} s", eye.seen)
    assert "UNMATTED" not in kinds(found)
    assert kinds(found)[:4] == ["hold", "matted", "hold", "matted"]
    assert found[2][1] >= seconds * 5
    assert [camera.closed for camera in opened] == [True] * len(opened)
    assert "UNMATTED" not in kinds(shown_runs("recording", timed.seen))
    assert "hold" in kinds(shown_runs("recording", timed.seen))
    times = [float(frame.pts * frame.time_base) for frame in timed.frames]
    assert times == sorted(times)
    assert times[-1] - times[0] > seconds


def test_model_raising_once_shows_the_hold_image_for_that_frame():
    def fault(frame, matte):
        if frame.index == 50:
            raise RuntimeError("out of memory")

    eye = EyeSink()
    pipeline(RoomCamera(frames=80), [("eye", eye)], fault=fault).run()
    found = shown_runs("model raises at frame 50", eye.seen)
    assert kinds(found) == ["hold", "matted", "hold", "matted", "hold"]


def test_model_broken_for_good_ends_the_session_in_hold():
    def fault(frame, matte):
        if frame.index >= 10:
            raise RuntimeError("out of memory")

    eye = EyeSink()
    with pytest.raises(ModelError, match=r"30 frames in a row.*out of memory"):
        pipeline(RoomCamera(rate=60), [("eye", eye)], fault=fault).run()
    assert kinds(shown_runs("model raises from frame 10 on", eye.seen)) == ["hold", "matted", "hold"]
    assert eye.closed


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("all person", lambda m: Matte(m.frame, np.full_like(m.alpha, 255), np.ones_like(m.small_alpha))),
        ("all person, shown only", lambda m: replace(m, alpha=np.full_like(m.alpha, 255))),
        ("nearly all person, shown only", lambda m: replace(m, alpha=np.full_like(m.alpha, 240))),
        ("not uint8", lambda m: replace(m, alpha=m.alpha.astype(np.float32))),
        ("not a number", lambda m: Matte(m.frame, m.alpha, np.full_like(m.small_alpha, np.nan))),
        ("another size", lambda m: Matte(m.frame, m.alpha[:-2], m.small_alpha)),
    ],
)
def test_a_matte_that_cannot_be_one_is_held_back(what, change):
    eye = EyeSink()
    pipeline(
        RoomCamera(frames=30),
        [("eye", eye)],
        fault=lambda frame, matte: change(matte) if 10 <= frame.index < 20 else None,
    ).run()
    found = shown_runs(f"matte: {what}", eye.seen)
    assert kinds(found) == ["hold", "matted", "hold", "matted", "hold"]


def test_stalled_model_is_held_after_a_second():
    def fault(frame, matte):
        if frame.index == 10:
            time.sleep(1.8)

    eye = EyeSink()
    pipeline(RoomCamera(frames=80), [("eye", eye)], fault=fault).run()
    found = shown_runs("model stalls for 1.8 s", eye.seen)
    assert kinds(found) == ["hold", "matted", "hold", "matted", "hold"]
    assert found[2][1] >= 4


def test_stalled_camera_is_held_after_a_second():
    eye = EyeSink()
    pipeline(RoomCamera(frames=60, stalls_at=20, stall=1.8), [("eye", eye)]).run()
    found = shown_runs("camera silent for 1.8 s", eye.seen)
    assert kinds(found) == ["hold", "matted", "hold", "matted", "hold"]


def test_sink_raising_leaves_the_others_alone():
    bad, good = EyeSink(raises_at=20), EyeSink()
    with pytest.raises(OSError, match="pulled out"):
        pipeline(RoomCamera(frames=60), [("bad", bad), ("good", good)]).run()
    assert bad.aborted
    found = shown_runs("another sink raises", good.seen)
    assert kinds(found) == ["hold", "matted", "hold"]
    assert count(found, "matted") >= 50
    assert "UNMATTED" not in kinds(shown_runs("the sink that raises", bad.seen))


def test_only_sink_raising_ends_the_session():
    bad, camera = EyeSink(raises_at=20), RoomCamera()
    began = time.monotonic()
    with pytest.raises(OSError, match="pulled out"):
        pipeline(camera, [("bad", bad)]).run()
    assert bad.aborted
    assert camera.closed
    assert time.monotonic() - began < 60


def test_slow_sink_loses_only_its_own_frames():
    slow, good = EyeSink(slow=0.2), EyeSink()
    status = pipeline(RoomCamera(frames=45), [("good", good), ("slow", slow)]).run()
    assert count(shown_runs("beside a slow sink", good.seen), "matted") + status.drops == 45
    assert status.sinks["slow"]["drops"] > 20
    assert status.sinks["good"]["drops"] <= 2


def test_compositor_that_gives_the_camera_back_is_held():
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=40), [("eye", eye)])
    scene = session._stages._scenes._scenes[0]
    honest = scene.compositor.process

    def leaky(matte):
        made = honest(matte)
        if 10 <= matte.frame.index < 20 and matte.alpha.any():
            made[0].frame = matte.frame
        return made

    scene.compositor.process = leaky
    session.run()
    assert kinds(shown_runs("compositor gives the camera's image back", eye.seen)) == [
        "hold",
        "matted",
        "hold",
        "matted",
        "hold",
    ]


def test_source_error_is_raised_and_the_last_image_is_the_hold():
    eye, camera = EyeSink(), RoomCamera(fails_at=10)
    with pytest.raises(DeviceError, match="pulled out"):
        pipeline(camera, [("eye", eye)]).run()
    assert kinds(shown_runs("camera without reconnect fails", eye.seen))[-1] == "hold"
    assert camera.closed


def test_hold_image_of_the_user(tmp_path):
    eye = EyeSink()
    session = pipeline(RoomCamera(frames=60), [("eye", eye)])

    def press():
        while len(eye.seen) < 25:
            time.sleep(0.01)
        session.store.apply({"hold": True})

    threading.Thread(target=press, daemon=True).start()
    session.run()
    assert kinds(shown_runs("hold from frame 25 on", eye.seen)) == ["hold", "matted", "hold"]
