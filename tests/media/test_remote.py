"""Inputs and outputs by fsspec: object stores, as its file systems in memory and of this machine stand for them."""

import io
import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
from support.videos import make_video

fsspec = pytest.importorskip("fsspec")

from streammatte.cli import main  # noqa: E402
from streammatte.errors import EngineUnavailableError, OutputExistsError, SourceNotFoundError  # noqa: E402
from streammatte.media.remote import Fetched, is_remote, refuse_existing, remote_fingerprint, upload  # noqa: E402

SAMPLES = Path(__file__).parents[2] / "samples"
FAST = ["--size", "192", "--bg", "navy", "--preset", "ultrafast"]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    return memory


def frames(data):
    with av.open(io.BytesIO(data)) as video:
        return sum(1 for _ in video.decode(video=0))


def run(*args):
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return ended.value.code


def test_which_addresses_are_remote():
    assert all(map(is_remote, ("s3://b/a.mp4", "gs://b/a", "memory://a", "SFTP://h/a")))
    assert not any(map(is_remote, ("a.mp4", "http://h/a.mp4", "rtsp://h", "file:///a", "C://a", "s3:a")))


def test_a_video_from_a_store_and_back(tmp_path, store):
    video = make_video(tmp_path / "v.mp4", frames=12, audio="aac")
    store.pipe("/bucket/v.mp4", video.read_bytes())
    assert run("video", "memory://bucket/v.mp4", "memory://bucket/out/v.mp4", *FAST, "--alpha", tmp_path / "a.mkv") == 0
    assert frames(store.cat("/bucket/out/v.mp4")) == 12
    assert frames((tmp_path / "a.mkv").read_bytes()) == 12
    assert sorted(store.find("/")) == ["/bucket/out/v.mp4", "/bucket/v.mp4"]
    assert not [path for path in (tmp_path / "home" / "outputs").rglob("*") if path.is_file()]


def test_what_is_there_is_kept(tmp_path, store, capsys):
    store.pipe("/bucket/v.mp4", make_video(tmp_path / "v.mp4", frames=3).read_bytes())
    store.pipe("/bucket/out.mp4", b"mine")
    assert run("video", "memory://bucket/v.mp4", "memory://bucket/out.mp4", *FAST) == 4
    assert "exists already" in capsys.readouterr().err
    assert store.cat("/bucket/out.mp4") == b"mine"
    assert run("video", "memory://bucket/v.mp4", "memory://bucket/out.mp4", *FAST, "--overwrite") == 0
    assert frames(store.cat("/bucket/out.mp4")) == 3


def test_errors_are_reported(store, capsys):
    assert run("video", "memory://bucket/missing.mp4", "memory://bucket/out.mp4", *FAST) == 3
    assert "there is no such file" in capsys.readouterr().err
    with Fetched() as fetched, pytest.raises(SourceNotFoundError):
        fetched.path("memory://bucket/missing.mp4")
    with pytest.raises(EngineUnavailableError):  # no package serves it here
        refuse_existing("oci://bucket/a.mp4", False)
    store.pipe("/bucket/a", b"x")
    with pytest.raises(OutputExistsError):
        refuse_existing("memory://bucket/a", False)


def test_fetched_keeps_the_last_one(tmp_path, store):
    store.pipe("/a.mp4", b"one")
    store.pipe("/b.mp4", b"two")
    store.pipe("/folder/b.mp4", b"three")
    with Fetched() as fetched:
        first = fetched.path("memory://a.mp4")
        assert fetched.path("memory://a.mp4") == first and Path(first).read_bytes() == b"one"
        second = fetched.path("memory://b.mp4")
        assert not Path(first).exists() and Path(second).read_bytes() == b"two"
        assert fetched.path("here.mp4") == "here.mp4"
        third = fetched.path("memory://folder/b.mp4", "background")  # of the same name, beside the input
        assert Path(second).read_bytes() == b"two" and Path(third).read_bytes() == b"three"
    assert not Path(second).parent.exists()


def test_uploads_replace_and_have_fingerprints(tmp_path, store):
    (tmp_path / "f").write_bytes(b"12")
    upload(tmp_path / "f", "memory://deep/er/f")
    first = remote_fingerprint("memory://deep/er/f")
    assert first and not remote_fingerprint("memory://deep/er/g")
    (tmp_path / "f").write_bytes(b"123")
    upload(tmp_path / "f", "memory://deep/er/f")
    assert store.cat("/deep/er/f") == b"123" and remote_fingerprint("memory://deep/er/f") != first
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.png").write_bytes(b"p")
    upload(tmp_path / "folder", "memory://deep/folder/")
    assert store.cat("/deep/folder/1.png") == b"p"


def test_a_batch_into_a_store(tmp_path):
    """By processes, so that the store is a folder that is named as one."""
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for number in range(2):
        make_video(bucket / f"v{number}.mp4", frames=8 + number)
    rows = [{"input": f"local://{bucket}/v{number}.mp4"} for number in range(2)]
    rows.append({"input": f"local://{bucket}/v0.mp4", "output": "cut.mkv", "alpha": "cut-alpha.mkv"})
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, "-m", "streammatte", "batch", str(tmp_path / "jobs.jsonl"), *FAST, "--json"]
    command += ["--to", f"local://{bucket}/done", "--segment", "0.1"]
    seen = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["counts"]["done"] == 3
        made = {path.name: frames(path.read_bytes()) for path in (bucket / "done").iterdir()}
        assert made == {"v0.mp4": 8, "v1.mp4": 9, "cut.mkv": 8, "cut-alpha.mkv": 8}
        seen.append({path.name: path.stat().st_mtime_ns for path in (bucket / "done").iterdir()})
    assert seen[0] == seen[1]  # nothing was done twice
    (bucket / "done" / "v1.mp4").unlink()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert (bucket / "done" / "v1.mp4").exists()


def test_a_local_output_beside_a_remote_one_is_kept(tmp_path, store, capsys):
    video = make_video(tmp_path / "v.mp4", frames=3)
    (tmp_path / "out.mp4").write_bytes(b"mine")
    assert run("video", video, tmp_path / "out.mp4", "--alpha", "memory://bucket/a.mkv", *FAST) == 4
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out.mp4").read_bytes() == b"mine" and not store.find("/")


@pytest.mark.parametrize(
    ("target", "first"),
    [("memory://bucket/s/f_%03d.png", "/bucket/s/f_000.png"), ("memory://bucket/s/", "/bucket/s/000000.png")],
)
def test_numbered_images_are_uploaded(tmp_path, store, capsys, target, first):
    video = make_video(tmp_path / "v.mp4", frames=4)
    assert run("video", video, target, *FAST) == 0
    assert len(store.find("/bucket")) == 4 and first in store.find("/bucket")
    assert store.cat(first).startswith(b"\x89PNG")
    shorter = make_video(tmp_path / "w.mp4", frames=2)
    assert run("video", shorter, target, *FAST) == 4
    assert "exists already" in capsys.readouterr().err
    assert run("video", shorter, target, *FAST, "--overwrite") == 0
    assert not [path for path in (tmp_path / "home" / "outputs").rglob("*") if path.is_file()]


def test_a_snapshot_and_a_background_in_a_store(tmp_path, store):
    video = make_video(tmp_path / "v.mp4", frames=30)
    store.pipe("/bucket/bg.jpg", (SAMPLES / "beach.jpg").read_bytes())
    assert (
        run(
            "video",
            video,
            "memory://bucket/shot.png",
            "--snapshot",
            "0.5",
            "--bg",
            "memory://bucket/bg.jpg",
            "--size",
            "192",
        )
        == 0
    )
    assert (
        run("video", video, tmp_path / "here", "--snapshot", "0.5", "--bg", SAMPLES / "beach.jpg", "--size", "192") == 0
    )
    assert store.cat("/bucket/shot.png") == (tmp_path / "here.png").read_bytes()


def test_a_background_in_a_store_reaches_the_workers(tmp_path):
    (tmp_path / "bg.jpg").write_bytes((SAMPLES / "beach.jpg").read_bytes())
    video = make_video(tmp_path / "v.mp4", frames=12)
    where = f"local://{tmp_path / 'bg.jpg'}"
    for name, how in (("whole", ()), ("cut", ("--segment", "0.2"))):
        size = ("--size", "192", "--preset", "ultrafast", "--bg", where)
        assert run("batch", video, "--to", tmp_path / name, *size, *how) == 0
        assert frames((tmp_path / name / "v.mp4").read_bytes()) == 12
