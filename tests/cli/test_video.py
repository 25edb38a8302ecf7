"""``streammatte video`` as a user runs it: real processes, real files, every fault path."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext

import av
import numpy as np
import pytest
from support.videos import make_video

COMMAND = [sys.executable, "-m", "streammatte"]
FAST = ["--size", "192", "--preset", "ultrafast"]


def run(*args, **more):
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=120, **more)


def times(path):
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "in.mp4", frames=20, audio="aac")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "long.mp4", frames=1500)


def static(index, width, height):
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def check_failed(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(("streammatte: ", "Error: "))
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_video_in_video_out(video, tmp_path):
    done = run("video", video, tmp_path / "out.mp4", "--bg", "#203040", *FAST)
    assert done.returncode == 0, done.stderr
    assert "20 frames" in done.stderr
    assert done.stdout == ""
    assert times(tmp_path / "out.mp4") == times(video)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_json_lines_and_a_last_one(video, tmp_path):
    done = run("video", video, tmp_path / "out.mp4", "--json", *FAST)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["done"]
    assert lines[-1]["frames"] == 20
    assert {"fps", "drops", "output_bytes", "latency_ms", "realtime_factor"} <= set(lines[-1])


def test_json_goes_to_stderr_when_stdout_carries_frames(video):
    done = subprocess.run(
        [*COMMAND, "video", str(video), "-", "--json", *FAST], capture_output=True, timeout=120, check=True
    )
    assert done.stdout.startswith(b"YUV4MPEG2 W96 H64")
    assert json.loads(done.stderr.splitlines()[-1])["frames"] == 20


def test_y4m_through_two_processes(video, tmp_path):
    first = subprocess.Popen([*COMMAND, "video", str(video), "-", "--bg", "none", *FAST], stdout=subprocess.PIPE)
    second = run("video", "-", tmp_path / "out.mkv", *FAST, stdin=first.stdout)
    first.stdout.close()
    assert first.wait(60) == 0
    assert second.returncode == 0, second.stderr
    assert len(times(tmp_path / "out.mkv")) == 20


def test_alpha_and_foreground_beside_the_image(video, tmp_path):
    done = run(
        "video", video, tmp_path / "out.mp4", "--alpha", tmp_path / "a.mkv", "--foreground", tmp_path / "f.mp4", *FAST
    )
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "a.mkv")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape == (64, 96)
    assert times(tmp_path / "f.mp4") == times(video)


def test_several_inputs(video, tmp_path):
    other = make_video(tmp_path / "other.mkv", frames=5, width=64, height=48)
    done = run("video", video, other, "--out-dir", tmp_path / "out", *FAST)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["in.mp4", "other.mkv"]


def test_several_inputs_go_on_after_a_bad_one(video, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    done = run("video", bad, video, "--out-dir", tmp_path / "out", *FAST)
    assert done.returncode == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in.mp4"]


def test_snapshot_writes_one_image(video, tmp_path):
    done = run("video", video, tmp_path / "out.mp4", "--snapshot", "0.4", *FAST)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_start_and_duration(video, tmp_path):
    done = run("video", video, tmp_path / "out.mp4", "--start", "0.2", "--duration", "0.4", *FAST)
    assert done.returncode == 0, done.stderr
    kept = times(tmp_path / "out.mp4")
    assert kept[0] == 0
    assert len(kept) == 10


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["missing.mp4", "out.mp4"], 3, ["missing.mp4"]),
        (["text.mp4", "out.mp4"], 3, ["text.mp4"]),
        (["empty.mp4", "out.mp4"], 3, ["empty.mp4"]),
        (["audio.mp4", "out.mp4"], 3, ["video"]),
        (["in.mp4", "out.xyz"], 4, ["xyz", "mp4"]),
        (["in.mp4", "nowhere/out.mp4"], 4, ["nowhere"]),
        (["in.mp4", "exists.mp4"], 4, ["exists.mp4", "--overwrite"]),
        (["in.mp4", "in.mp4", "--overwrite"], 2, ["input"]),
        (["in.mp4", "out.mp4", "--alpha", "out.mp4"], 2, ["out.mp4"]),
        (["in.mp4", "exists.mp4", "--bg", "exists.mp4", "--overwrite"], 2, ["background"]),
        (["in.mp4", "out.mp4", "--bg", "missing.jpg"], 5, ["missing.jpg"]),
        (["in.mp4", "out.mp4", "--bg", "text.mp4"], 5, ["text.mp4"]),
        (["in.mp4", "out.mp4", "--bg", "transparent"], 4, ["mov", "webm"]),
        (["in.mp4", "out.mp4", "--codec", "libnothing"], 4, ["libnothing"]),
        (["in.mp4", "out.mp4", "--model", "nothing"], 6, ["nothing", "ppmattingv2-lite"]),
        (["in.mp4", "out.mp4", "--start", "99"], 3, ["0.8"]),
        (["in.mp4", "out.mp4", "--config", "nothing"], 2, ["realtime"]),
        (["in.mp4"], 2, ["OUTPUT"]),
        (["http://127.0.0.1:9/video.mp4", "out.mp4", "--timeout", "2"], 3, ["127.0.0.1"]),
    ],
)
def test_each_fault_is_one_line_and_leaves_the_folder_alone(video, tmp_path, args, code, words):
    (tmp_path / "in.mp4").write_bytes(video.read_bytes())
    (tmp_path / "text.mp4").write_text("hello " * 400)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "exists.mp4").write_text("precious")
    with av.open(str(tmp_path / "audio.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    check_failed(run("video", *args, cwd=tmp_path), code, *words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_debug_shows_the_traceback(tmp_path):
    done = run("video", "missing.mp4", tmp_path / "out.mp4", "--log-level", "debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_truncated_input_keeps_the_good_part(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", frames=60)
    cut = tmp_path / "cut.mkv"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    done = run("video", cut, tmp_path / "out.mp4", *FAST)
    assert done.returncode == 8, done.stderr
    assert "broke off" in done.stderr or "breaks off" in done.stderr
    kept = times(tmp_path / "out.mp4")
    assert 5 < len(kept) < 60
    assert "Traceback" not in done.stderr


def test_existing_output_is_replaced_only_with_overwrite(video, tmp_path):
    (tmp_path / "out.mp4").write_text("old")
    assert run("video", video, tmp_path / "out.mp4", *FAST).returncode == 4
    assert (tmp_path / "out.mp4").read_text() == "old"
    assert run("video", video, tmp_path / "out.mp4", "--overwrite", *FAST).returncode == 0
    assert len(times(tmp_path / "out.mp4")) == 20


def start(*args, stdin=None):
    command = [*COMMAND, *map(str, args)]
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while line := process.stdout.readline():
        if json.loads(line)["frames"] > 0:
            return process
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_interrupt_leaves_a_complete_video_of_what_was_done(long_video, tmp_path, number, code):
    process = start("video", long_video, tmp_path / "out.mp4", "--json", "--preset", "veryslow", "--size", "512")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    kept = times(tmp_path / "out.mp4")
    assert 0 < len(kept) < 1500
    assert f"{len(kept)} frames" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize(
    "kind",
    ["server", pytest.param("pipe", marks=pytest.mark.slow), pytest.param("standard input", marks=pytest.mark.slow)],
)
def test_interrupt_while_the_input_is_silent_takes_two_seconds(tmp_path, kind):
    data = make_video(tmp_path / "in.ts", frames=200, width=320, height=240, container="mpegts").read_bytes()
    part = data[: len(data) * 2 // 3]
    options = ["--json", "--timeout", "60", "--size", "192", "--bg", "none"]
    target = tmp_path / "out.mp4"
    silent = threading.Event()
    if kind == "server":
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + part)
            silent.wait(60)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        process = start("video", f"http://127.0.0.1:{server.getsockname()[1]}/in.ts", target, *options)
    else:
        fifo = tmp_path / "pipe.ts"
        os.mkfifo(fifo)

        def write():
            with fifo.open("wb", 0) as pipe:
                pipe.write(part)
                silent.wait(60)

        threading.Thread(target=write, daemon=True).start()
        with fifo.open("rb") if kind == "standard input" else nullcontext(subprocess.DEVNULL) as given:
            process = start("video", "-" if kind == "standard input" else fifo, target, *options, stdin=given)
    done = 0
    while (now := json.loads(process.stdout.readline())["frames"]) != done:
        done = now
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    taken = time.monotonic() - began
    silent.set()
    assert process.returncode == 130, errors
    assert taken < 10, "the time-out was waited for"
    assert done <= len(times(target)) < 200


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_interrupt_while_a_pipe_has_no_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")
    process = subprocess.Popen([*COMMAND, "video", str(tmp_path / "pipe.ts"), str(tmp_path / "o.mp4")])
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


def test_kill_leaves_only_a_temporary_name(long_video, tmp_path):
    process = start("video", long_video, tmp_path / "out.mp4", "--json", "--size", "512")
    process.kill()
    process.communicate(timeout=30)
    names = [path.name for path in tmp_path.iterdir()]
    assert "out.mp4" not in names
    assert all(name.startswith(".") for name in names)


@pytest.mark.slow
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    video = make_video(tmp_path / "in.mp4", frames=40, width=320, height=240, image=static)
    target = tmp_path / "out"
    target.mkdir()
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from streammatte.cli import main; main(sys.argv[1:])"
    )
    env = {**os.environ, "STREAMMATTE_HOME": str(tmp_path / "cache")}
    run("video", video, target / "warm.mp4", *FAST, env=env)
    (target / "warm.mp4").unlink()
    done = subprocess.run(
        [sys.executable, "-c", code, "video", str(video), str(target / "out.mp4"), "--crf", "5", "--bg", "none", *FAST],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )
    check_failed(done, 4)
    assert list(target.iterdir()) == []


def test_read_only_installation_and_home(video, tmp_path):
    env = {
        **os.environ,
        "STREAMMATTE_HOME": "/proc/nothing",
        "XDG_CACHE_HOME": "/proc/nothing",
        "HOME": "/proc/nothing",
    }
    done = run("video", video, tmp_path / "out.mp4", *FAST, env=env)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command():
    done = run("--help")
    assert done.returncode == 0
    for name in ("video", "image", "webcam", "models", "eval", "bench", "doctor"):
        assert name in done.stdout
