"""``streammatte webcam`` as a process: signals, a closed terminal, the control interface, a kill."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest
from support.videos import make_video

pytest.importorskip("pyvirtualcam")
CHILD = Path(__file__).parents[1] / "support" / "live_child.py"
SIZE = (128, 96)
BACKGROUND = "#3060a0"
RGB = np.array((0x30, 0x60, 0xA0), int)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Ten seconds of a grey-red image without any blue: a frame of it is unlike the background everywhere."""
    path = tmp_path_factory.mktemp("room") / "room.mp4"
    return make_video(path, width=SIZE[0], height=SIZE[1], frames=300, rate=30)


@pytest.fixture
def webcam(tmp_path, room):
    """Starts the process and waits until its camera shows frames of the session."""
    started = []

    def start(*extra, until=40, **more):
        folder = tmp_path / f"session{len(started)}"
        folder.mkdir()
        command = [sys.executable, str(CHILD), str(folder), "--camera", str(room), "--bg", BACKGROUND, "--loop"]
        command += ["--size", "192", "--adaptive", "off", "--virtual-camera", *extra]
        process = subprocess.Popen(command, **more)
        started.append(process)
        deadline = time.monotonic() + 120
        while len(frames(folder)) < until:
            assert process.poll() is None, "the process ended early"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process, folder

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def frames(folder):
    try:
        data = np.fromfile(folder / "frames", np.uint8)
    except FileNotFoundError:
        return np.zeros((0, SIZE[1], SIZE[0], 3), np.uint8)
    size = SIZE[0] * SIZE[1] * 3
    return data[: len(data) // size * size].reshape(-1, SIZE[1], SIZE[0], 3)


def events(folder):
    return (folder / "events").read_text().split("\n")[:-1]


def backgrounds_share(image):
    """Share of the pixels that are the background's; the video has nobody in it, so that the room would be 0."""
    return float((np.abs(image.astype(int) - RGB).max(axis=-1) < 12).mean())


def judge(folder, name):
    seen = frames(folder)
    shares = [backgrounds_share(image) for image in seen]
    print(f"\n{name}: {len(seen)} frames, least background {min(shares):.0%}, last {shares[-1]:.0%}; {events(folder)}")
    assert min(shares) > 0.5
    assert shares[-1] > 0.99, "the last image is not the placeholder frame"
    assert events(folder)[-1] == "close"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signal_ends_the_process_in_two_seconds_with_its_device_released(webcam, number, code):
    process, folder = webcam()
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    print(f"\n{number.name}: ended after {time.monotonic() - began:.2f} s")
    judge(folder, number.name)


def test_closed_terminal_ends_the_process(webcam):
    master, slave = pty.openpty()
    process, folder = webcam(stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_control)
    os.close(slave)
    began = time.monotonic()
    os.close(master)
    assert process.wait(timeout=60) == 129
    print(f"\nclosed terminal: ended after {time.monotonic() - began:.2f} s")
    judge(folder, "closed terminal")


def _control():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.slow
def test_keys_of_the_terminal(webcam):
    master, slave = pty.openpty()
    process, folder = webcam(stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_control)
    os.close(slave)
    os.write(master, b"q")
    assert process.wait(timeout=60) == 0
    os.close(master)
    judge(folder, "key q")


@pytest.mark.slow
def test_kill_leaves_a_playable_recording(webcam, tmp_path):
    target = tmp_path / "out.mp4"
    process, _ = webcam("--record", str(target), until=110)
    process.kill()
    process.wait()
    with av.open(str(target)) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert len(times) >= 30
    assert times == sorted(times)


TOKEN = "of this test"


def ask(port, path, data=None):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_thousand_bad_requests_disturb_nothing(webcam, tmp_path):
    log = (tmp_path / "err").open("w+")
    process, folder = webcam("--control", "127.0.0.1:0", "--token", TOKEN, stderr=log)
    port = int((tmp_path / "err").read_text().partition("127.0.0.1:")[2].partition("/")[0])
    before = ask(port, "/status")[1]
    bad = [
        b"",
        b"{",
        b"[]",
        b'{"mirror": 1}',
        b'{"background": 9}',
        b'{"/etc/passwd": true}',
        b'{"smooth": "very"}',
        b"\xff",
    ]
    for turn in range(1000):
        assert ask(port, "/set", bad[turn % len(bad)])[0] == 400
    after = ask(port, "/status")[1]
    assert after["settings"] == before["settings"]
    assert after["frames"] > before["frames"]
    assert ask(port, "/set", b'{"mirror": true, "smooth": "high"}')[1]["settings"]["mirror"] is True
    print(f"\n1,000 bad requests in {after['seconds'] - before['seconds']:.1f} s, state {after['state']}")
    assert ask(port, "/set", b'{"quit": true}')[0] == 200
    assert process.wait(timeout=60) == 0
    judge(folder, "1,000 bad requests")


@pytest.mark.slow
def test_video_as_camera_ends_with_it(tmp_path, room):
    folder = tmp_path / "session"
    folder.mkdir()
    command = [sys.executable, str(CHILD), str(folder), "--camera", str(room), "--bg", BACKGROUND, "--json"]
    done = subprocess.run([*command, "--size", "192"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["frames"] + last["drops"] == 300
    assert {"p50", "p95"} <= set(last["latency_ms"])
    assert last["fps"] > 0
    judge(folder, "video")


@pytest.mark.slow
def test_two_cameras_side_by_side(webcam):
    sessions = [webcam("--control", "127.0.0.1:0") for _ in range(2)]
    for process, folder in sessions:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
        judge(folder, "side by side")
