"""Videos in segments are those of one run: same frames, times, mattes and audio, whatever interrupts them."""

import json
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.segments import PERSON, options, packets, pixels
from support.videos import make_video
from support.waiting import wait_until

from streammatte.build import build_matter, build_pipeline
from streammatte.cluster.segments import SegmentedVideo, can_be_cut, work_segment
from streammatte.cluster.video import VideoRun
from streammatte.cluster.worker_pool import WorkerPool
from streammatte.errors import (
    ConfigError,
    DiskFullError,
    OutputExistsError,
    SinkError,
    StreammatteError,
    TruncatedSourceError,
)
from streammatte.options.video import VideoOptions

DONE = {"event": "done", "frames": 0, "seconds": 0.0, "until": 0.0, "reason": "", "warnings": []}


def in_segments(source, target, how, seconds):
    with SegmentedVideo(str(source), str(target), how, seconds) as video:
        assert len(video.waiting()) > 1
        for segment in video.waiting():
            facts = work_segment(video.job(segment), lambda opened, wanted: build_matter(opened.info, wanted))
            video.end(segment, facts)
        return video.join()


def compare(source, folder, suffix, seconds, **more):
    """A whole run beside one in segments."""
    whole, cut = folder / f"whole{suffix}", folder / f"cut{suffix}"
    build_pipeline(str(source), whole, options(folder, "whole", **more)).run()
    summary = in_segments(source, cut, options(folder, "cut", **more), seconds)
    assert packets(cut) == packets(whole)
    assert summary.frames == len(packets(whole)[0])
    mattes = pixels(folder / "cut.alpha.mkv"), pixels(folder / "whole.alpha.mkv")
    assert len(mattes[0]) == summary.frames
    assert all(np.array_equal(one, other) for one, other in zip(*mattes, strict=True))
    assert not list(folder.glob(".*"))
    return whole, cut


@pytest.mark.parametrize(
    ("suffix", "more"),
    [
        (".mp4", {}),
        (".mkv", {"codec": "ffv1", "smooth": "off"}),
        pytest.param(".webm", {"smooth": "best"}, marks=pytest.mark.slow),
        pytest.param(".mov", {"background": "transparent", "smooth": "high"}, marks=pytest.mark.slow),
        pytest.param(".mp4", {"codec": "libx265"}, marks=pytest.mark.slow),
        pytest.param(".mkv", {"codec": "libsvtav1"}, marks=pytest.mark.slow),
    ],
)
def test_segments_are_the_whole(tmp_path, suffix, more):
    compare(PERSON, tmp_path, suffix, 0.7, duration=2.0, **more)


@pytest.mark.slow
def test_a_part_with_a_video_behind_and_its_light(tmp_path):
    behind = make_video(tmp_path / "behind.mp4", frames=20, width=64, height=48)
    more = {"background": str(behind), "match_light": True, "despill": "auto", "codec": "ffv1"}
    whole, cut = compare(PERSON, tmp_path, ".mkv", 0.6, start=0.53, duration=1.9, **more)
    composites = pixels(cut, "yuv420p"), pixels(whole, "yuv420p")
    assert all(np.array_equal(one, other) for one, other in zip(*composites, strict=True))


@pytest.mark.parametrize(
    "case",
    [
        "variable",
        "b-frames-avi",
        pytest.param("sequence", marks=pytest.mark.slow),
        pytest.param("odd-times", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_input(tmp_path, case):
    rng = np.random.default_rng(3)
    if case == "sequence":
        source = tmp_path / "shots"
        source.mkdir()
        for number in range(30):
            with av.open(str(source / f"{number:03d}.png"), "w", format="image2") as out:
                stream = out.add_stream("png", width=64, height=48)
                stream.pix_fmt = "rgb24"
                out.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), np.uint8), "rgb24")))
                out.mux(stream.encode(None))
    elif case == "b-frames-avi":
        source = tmp_path / "v.avi"
        command = ["ffmpeg", "-v", "error", "-i", PERSON, "-t", "2", "-s", "160x90", "-c:v", "mpeg4", "-bf", "2"]
        if shutil.which("ffmpeg") is None:
            pytest.skip("needs ffmpeg")
        subprocess.run([*command, str(source)], check=True)
    elif case == "variable":
        times = list(np.cumsum(rng.integers(1, 6, 40)) * 1500)
        source = make_video(tmp_path / "v.mkv", frames=40, audio="aac", pts=[int(at) for at in times])
    else:
        source = make_video(tmp_path / "v.mp4", frames=40, rate=Fraction(24000, 1001), audio="aac")
    compare(source, tmp_path, ".mkv", 0.4)


def test_a_truncated_video_keeps_its_good_part(tmp_path):
    data = make_video(tmp_path / "whole.mkv", frames=200).read_bytes()
    source = tmp_path / "broken.mkv"
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedSourceError) as expected:
        build_pipeline(str(source), tmp_path / "a.mkv", options(tmp_path, "a")).run()
    with pytest.raises(TruncatedSourceError, match="breaks off") as found:
        in_segments(source, tmp_path / "b.mkv", options(tmp_path, "b"), 1.0)
    assert found.value.summary.frames == expected.value.summary.frames > 20
    assert packets(tmp_path / "b.mkv") == packets(tmp_path / "a.mkv")


def test_what_cannot_be_cut_is_refused(tmp_path):
    for name, more in {
        "a.gif": {},
        "a_%04d.png": {},
        "a.webm": {"background": "transparent"},
        "a.mp4": {"alpha": str(tmp_path / "a.gif")},
    }.items():
        how = VideoOptions.build(more)
        with pytest.raises(ConfigError, match="cannot be joined"):
            SegmentedVideo(PERSON, str(tmp_path / name), how, 1.0)
        assert not can_be_cut(PERSON, str(tmp_path / name), how)
    with pytest.raises(ConfigError, match="standard input"):
        SegmentedVideo("-", str(tmp_path / "a.mp4"), VideoOptions(), 1.0)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(OutputExistsError):
        SegmentedVideo(PERSON, str(tmp_path / "a.mp4"), VideoOptions(), 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_one_run_at_a_time_and_one_job_a_folder(tmp_path):
    target = str(tmp_path / "a.mp4")
    with SegmentedVideo(PERSON, target, options(tmp_path, "a"), 1.0), pytest.raises(ConfigError, match="another run"):
        SegmentedVideo(PERSON, target, options(tmp_path, "a"), 1.0)
    with SegmentedVideo(PERSON, target, options(tmp_path, "a"), 1.0) as video:
        video.end(video.segments[0], DONE)
    for how, seconds in ((options(tmp_path, "a", crf=30), 1.0), (options(tmp_path, "a"), 2.0)):
        with pytest.raises(ConfigError, match="segments of another job"):
            SegmentedVideo(PERSON, target, how, seconds)
    with SegmentedVideo(PERSON, target, options(tmp_path, "a", threads=1, overwrite=True), 1.0) as video:
        assert [segment.index for segment in video.waiting()] == [1, 2, 3, 4]


def test_a_damaged_segment_is_named(tmp_path):
    with SegmentedVideo(PERSON, str(tmp_path / "a.mp4"), options(tmp_path, "a", duration=1.0), 0.5) as video:
        for segment in video.waiting():
            facts = work_segment(video.job(segment), lambda opened, wanted: build_matter(opened.info, wanted))
            video.end(segment, facts)
        (tmp_path / ".a.mp4.segments" / "00001.composite.mp4").write_bytes(b"nothing")
        with pytest.raises(SinkError, match=r"00001\.composite\.mp4 is damaged"):
            video.join()
    assert not (tmp_path / "a.mp4").exists()


class FakeWorker:
    """A worker that ends each job with the next of the events that it was made with."""

    def __init__(self, emit, events):
        self.emit, self.events, self.given = emit, events, []

    def start(self, job):
        self.given.append(job["segment"]["index"])
        event = self.events.pop(0)
        self.emit(event)

    def end_reason(self):
        return "its worker was lost"

    def close(self, *, kill):
        pass


@pytest.mark.parametrize(
    ("events", "kind", "text"),
    [
        ([DONE, None, None], StreammatteError, "its worker was lost, 2 times, at 0.5 s"),
        ([DONE, {"event": "full", "reason": "no space"}], DiskFullError, "goes on from here"),
        ([{"event": "failed", "reason": "no model", "exit_code": 6}], StreammatteError, "no model"),
        ([{"event": "refused", "reason": "has streammatte 0.0.1"}], ConfigError, "has streammatte 0.0.1"),
    ],
)
def test_faults_of_workers_end_the_run_and_keep_what_is_done(tmp_path, events, kind, text):
    target, events = str(tmp_path / "a.mp4"), list(events)
    done = events.count(DONE)
    with SegmentedVideo(PERSON, target, options(tmp_path, "a", duration=2.0), 0.5) as video:
        run = VideoRun(video, WorkerPool(lambda emit: FakeWorker(emit, events), 1))
        with pytest.raises(kind, match=text):
            run.run()
    with SegmentedVideo(PERSON, target, options(tmp_path, "a", duration=2.0), 0.5) as video:
        assert [segment.index for segment in video.waiting()] == list(range(done, 4))


def test_a_node_without_space_leaves_the_pool(tmp_path):
    hands = []

    def open_worker(emit):
        full = {"event": "full", "reason": "no space", "alone": True}
        hands.append(FakeWorker(emit, [full, DONE, DONE, DONE] if not hands else [DONE] * 4))
        return hands[-1]

    with SegmentedVideo(PERSON, str(tmp_path / "a.mp4"), options(tmp_path, "a", duration=2.0), 0.5) as video:
        run = VideoRun(video, WorkerPool(open_worker, 2))
        with pytest.raises(StreammatteError, match="no frame"):  # the workers made none
            run.run()
        assert not video.waiting()
    assert hands[0].given == [0] and sorted(hands[1].given) == [0, 1, 2, 3]


def test_resume_after_kill_goes_on_from_the_last_whole_segment(tmp_path):
    command = [sys.executable, "-m", "streammatte", "video", str(Path(PERSON).resolve()), "a.mkv", "--size", "192"]
    command += ["--bg", "navy", "--codec", "ffv1", "--preset", "ultrafast", "--alpha", "a.alpha.mkv"]
    command += ["--duration", "3", "--segment", "0.5", "--resume"]
    where = {"cwd": tmp_path}
    with subprocess.Popen(command, **where) as process:
        wait_until(lambda: (tmp_path / ".a.mkv.segments" / "00001.json").exists(), alive=process)
        process.send_signal(signal.SIGKILL)
    done = {path: json.loads(path.read_text()) for path in (tmp_path / ".a.mkv.segments").glob("0*.json")}
    assert 2 <= len(done) < 6 and not (tmp_path / "a.mkv").exists()
    finished = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, **where)
    first, last = (json.loads(line) for line in (finished.stdout.splitlines()[0], finished.stdout.splitlines()[-1]))
    assert first["frames"] >= sum(facts["frames"] for facts in done.values())
    build_pipeline(PERSON, tmp_path / "b.mkv", options(tmp_path, "b", codec="ffv1", duration=3.0)).run()
    assert last["frames"] == len(packets(tmp_path / "b.mkv")[0])
    assert packets(tmp_path / "a.mkv") == packets(tmp_path / "b.mkv")
    for name in ("", ".alpha"):
        both = pixels(tmp_path / f"a{name}.mkv"), pixels(tmp_path / f"b{name}.mkv")
        assert all(np.array_equal(one, other) for one, other in zip(*both, strict=True))
    assert not (tmp_path / ".a.mkv.segments").exists()


def test_ctrl_c_keeps_whole_segments(tmp_path):
    command = [sys.executable, "-m", "streammatte", "video", str(Path(PERSON).resolve()), "a.mp4", "--size", "192"]
    with subprocess.Popen(
        [*command, "--segment", "0.5", "--resume"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: (tmp_path / ".a.mp4.segments" / "00000.json").exists(), alive=process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "the same command goes on" in said
    assert not list(tmp_path.glob("*.mp4")) and not list((tmp_path / ".a.mp4.segments").glob(".*.part"))
