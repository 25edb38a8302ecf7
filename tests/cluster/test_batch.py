"""``streammatte batch`` as users run it: real processes, kills, broken videos, a second run on one folder."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from support.videos import make_video
from support.waiting import wait_until

from streammatte.cluster.journal import DONE, FAILED, JOURNAL, RUNNING, WAITING, Journal
from streammatte.cluster.plan import Item
from streammatte.errors import ConfigError

COMMAND = [sys.executable, "-m", "streammatte", "batch"]
FAST = ["--size", "192", "--bg", "navy", "--preset", "ultrafast"]


def run(*args, **more):
    return subprocess.run([*COMMAND, *map(str, args), *FAST], capture_output=True, text=True, timeout=120, **more)


def states(target):
    with Journal(target) as journal:
        return {record.output: record.state for record in journal.records()}


def frames(path):
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def workers_of(process):
    """Worker processes of a batch (Linux)."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in children]


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        make_video(folder / f"v{number}.mp4", frames=10 + number, audio="aac")
    return folder


def test_everything_is_done_once_and_reported(clips, tmp_path):
    target = tmp_path / "out"
    (clips / "bad.mkv").write_text("no video")
    data = make_video(tmp_path / "whole.mkv", frames=200).read_bytes()
    (clips / "cut.mkv").write_bytes(data[: len(data) // 2])
    first = run(clips, "--to", target, "--report", target / "report.json")
    assert first.returncode == 8, first.stderr
    assert {f"v{n}.mp4": frames(target / f"v{n}.mp4") for n in range(3)} == {f"v{n}.mp4": 10 + n for n in range(3)}
    assert "3 done, 1 partial, 1 failed" in first.stderr
    assert 0 < frames(target / "cut.mkv") < 200
    report = json.loads((target / "report.json").read_text())
    assert report["counts"] == {"done": 3, "failed": 1, "partial": 1}
    by_output = {item["output"]: item for item in report["items"]}
    assert by_output["v0.mp4"].items() >= {"input": str(clips / "v0.mp4"), "state": "done", "frames": 10}.items()
    assert "not a video" in by_output["bad.mkv"]["reason"]
    page = (target / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4 and "bad.mkv" in page
    times = {path: path.stat().st_mtime_ns for path in target.glob("*.m*")}
    second = run(clips, "--to", target)
    assert second.returncode == 8
    assert times == {path: path.stat().st_mtime_ns for path in target.glob("*.m*")}, "done twice"
    make_video(clips / "v1.mp4", frames=5)
    (clips / "bad.mkv").write_bytes(data)
    third = run(clips, "--to", target, "--retry-failed")
    assert frames(target / "v1.mp4") == 5 and frames(target / "bad.mkv") == 200
    assert third.returncode == 8, "the truncated one is still there"
    assert not list(target.glob(".*.part"))


@pytest.mark.slow
def test_an_output_that_was_there_before_is_not_replaced(clips, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "v0.mp4").write_text("mine")
    for again in ([], ["--retry-failed"]):
        done = run(clips, "--to", target, *again)
        assert done.returncode == 4
        assert "--overwrite" in done.stderr
        assert (target / "v0.mp4").read_text() == "mine"
    assert states(target) == {"v0.mp4": FAILED, "v1.mp4": DONE, "v2.mp4": DONE}
    assert run(clips, "--to", target, "--overwrite", "--retry-failed").returncode == 0
    assert frames(target / "v0.mp4") == 10


def test_inputs_are_never_outputs(clips):
    done = run(clips, "--to", clips, "--overwrite")
    assert done.returncode == 2
    assert frames(clips / "v0.mp4") == 10


@pytest.mark.slow
def test_rows_have_options_of_their_own(clips, tmp_path):
    target = tmp_path / "out"
    rows = [
        {"input": str(clips / "v0.mp4"), "output": "a/b.mkv", "output-size": "48x32", "audio": False},
        {"input": str(clips / "v1.mp4"), "alpha": "mattes/v1.mkv", "priority": 3},
    ]
    done = run("-", "--to", target, input="\n".join(map(json.dumps, rows)))
    assert done.returncode == 0, done.stderr
    with av.open(str(target / "a/b.mkv")) as video:
        assert (video.streams.video[0].width, len(video.streams.audio)) == (48, 0)
    assert frames(target / "mattes/v1.mkv") == frames(target / "v1.mp4") == 11


def test_a_second_run_on_one_folder_is_refused(tmp_path):
    with Journal(tmp_path / "out"):
        done = run(make_video(tmp_path / "v.mp4", frames=3), "--to", tmp_path / "out")
    assert done.returncode == 2
    assert "another batch works on" in done.stderr


@pytest.fixture
def long_clip(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=8, width=320, height=240)
    make_video(folder / "b.mp4", frames=1500, width=320, height=240, options={"preset": "ultrafast"})
    return folder


def start_until_second(folder, target):
    """A batch that has done ``a.mp4`` and works on ``b.mp4``."""
    process = subprocess.Popen([*COMMAND, str(folder), "--to", str(target), *FAST], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (target / "a.mp4").exists() and list(target.glob(".b.mp4.*.part")))
    return process


@pytest.mark.slow
def test_a_killed_worker_costs_one_attempt(long_clip, tmp_path):
    target = tmp_path / "out"
    process = start_until_second(long_clip, target)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "ended by SIGKILL; it is tried again" in errors
    assert (frames(target / "a.mp4"), frames(target / "b.mp4")) == (8, 1500)
    assert not list(target.glob(".*.part"))


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on(long_clip, tmp_path):
    target = tmp_path / "out"
    process = start_until_second(long_clip, target)
    workers = workers_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 20)
    with sqlite3.connect(target / JOURNAL) as base:
        assert dict(base.execute("SELECT output, state FROM items")) == {"a.mp4": DONE, "b.mp4": RUNNING}
    before = (target / "a.mp4").stat().st_mtime_ns
    done = run(long_clip, "--to", target)
    assert done.returncode == 0, done.stderr
    assert frames(target / "b.mp4") == 1500
    assert (target / "a.mp4").stat().st_mtime_ns == before
    assert not list(target.glob(".*.part"))


@pytest.mark.slow
def test_ctrl_c_leaves_what_is_done_and_nothing_half_done(long_clip, tmp_path):
    target = tmp_path / "out"
    process = start_until_second(long_clip, target)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "the same command goes on" in errors
    assert states(target) == {"a.mp4": DONE, "b.mp4": WAITING}
    assert not list(target.glob(".*.part")) and not (target / "b.mp4").exists()


@pytest.mark.slow
def test_watching_takes_files_when_they_are_complete(tmp_path):
    inbox, target = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    process = subprocess.Popen([*COMMAND, str(inbox), "--to", str(target), "--watch", *FAST], stderr=subprocess.PIPE)
    data = make_video(tmp_path / "v.mkv", frames=20).read_bytes()
    with (inbox / "v.mkv").open("wb", 0) as file:
        for at in range(0, len(data), len(data) // 3):
            file.write(data[at : at + len(data) // 3])
            time.sleep(1.0)
            assert not (target / "v.mkv").exists()
    wait_until(lambda: (target / "v.mkv").exists())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert frames(target / "v.mkv") == 20


def test_dry_run_does_nothing(clips, tmp_path):
    (clips / "bad.mkv").write_text("no video")
    done = run(clips, "--to", tmp_path / "out", "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert {row["output"]: row["state"] for row in plan["items"]} == {
        "bad.mkv": "unreadable",
        **{f"v{n}.mp4": "waiting" for n in range(3)},
    }
    assert plan["media_seconds"] > 0
    assert not (tmp_path / "out").exists()


def test_a_run_that_ended_between_output_and_journal_is_not_done_again(tmp_path):
    item = Item("/videos/a.mp4", "a.mp4")
    with Journal(tmp_path) as journal:
        journal.add([item])
        (record,) = journal.records()
        journal.begin(record)
    (tmp_path / "a.mp4").write_text("complete")
    with Journal(tmp_path) as journal:
        journal.add([item])
        assert [record.state for record in journal.records()] == [DONE]


def test_a_damaged_journal_is_named(tmp_path):
    (tmp_path / JOURNAL).write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match="is damaged"):
        Journal(tmp_path)
    with Journal(tmp_path / "other"):
        pass
    with sqlite3.connect(tmp_path / "other" / JOURNAL) as base:
        base.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigError, match=r"sqlite is of another version of streammatte; choose another --to$"):
        Journal(tmp_path / "other")


def test_priorities_come_first(tmp_path):
    with Journal(tmp_path) as journal:
        journal.add([Item("a", "a.mp4"), Item("b", "b.mp4", {}, 5), Item("c", "c.mp4")])
        assert [record.output for record in journal.records(WAITING)] == ["b.mp4", "a.mp4", "c.mp4"]
        assert journal.counts()[WAITING] == 3


def test_planning_again_leaves_what_this_run_works_on(tmp_path):
    items = [Item("/videos/a.mp4", "a.mp4"), Item("/videos/b.mp4", "b.mp4")]
    with Journal(tmp_path) as journal:
        journal.add(items)
        first, second = journal.records()
        for record in (first, second):
            journal.begin(record)
        journal.end(second, WAITING, reason="its process ended by SIGKILL")
        journal.add(items)
        assert [(record.state, record.attempts) for record in journal.records()] == [(RUNNING, 1), (WAITING, 1)]
    with Journal(tmp_path) as journal:
        journal.add(items)
        assert [record.state for record in journal.records()] == [WAITING, WAITING]


def test_a_worker_compiles_once_for_each_set_of_options(tmp_path, monkeypatch):
    from streammatte.cluster import worker as module

    made, build = [], module.build_engine
    monkeypatch.setattr(module, "build_engine", lambda *args: made.append(args) or build(*args))
    video, worker = make_video(tmp_path / "v.mp4", frames=3), module.Worker(lambda _: None)
    for number, average in enumerate(("off", "off", "flip", "off")):
        options = {"size": 192, "background": "navy", "average": average}
        event = worker.do({"source": str(video), "target": str(tmp_path / f"{number}.mp4"), "options": options})
        assert (event["event"], event["frames"]) == ("done", 3)
    assert len(made) == 2


def test_a_report_that_cannot_be_written_is_refused_before_the_first_video(clips, tmp_path):
    done = run(clips, "--to", tmp_path / "out", "--report", tmp_path / "missing" / "report.json")
    assert done.returncode == 4
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_remote_videos_in_segments_keep_their_copies_until_they_are_joined(clips, tmp_path):
    """A copy is read again when the segments are joined, while other videos are fetched already."""
    pytest.importorskip("fsspec")
    other = tmp_path / "other"
    other.mkdir()
    make_video(other / "v0.mp4", frames=45, audio="aac")
    rows = [{"input": f"local://{clips / name}"} for name in ("v0.mp4", "v1.mp4", "v2.mp4")]
    rows.append({"input": f"local://{other / 'v0.mp4'}", "output": "second.mp4"})
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    target = tmp_path / "out"
    done = run(tmp_path / "jobs.jsonl", "--to", target, "--segment", "0.2", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert states(target) == dict.fromkeys(("second.mp4", "v0.mp4", "v1.mp4", "v2.mp4"), DONE)
    assert [frames(target / name) for name in ("v0.mp4", "v1.mp4", "v2.mp4", "second.mp4")] == [10, 11, 12, 45]
