"""What goes wrong on a disk: one clear error, and the folder is as it was."""

import contextlib
import io
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import av
import numpy as np
import pytest
from support.sink_frames import decode, info_of, make_frames, times_of, write

from streammatte.errors import DiskFullError, OutputExistsError, SinkError, UnsupportedOutputError
from streammatte.frames import Composite, Layout
from streammatte.media.capabilities import has_encoder
from streammatte.protocols import Sink
from streammatte.sinks import MemorySink, open_sink
from streammatte.sinks.multi import Outputs

TARGETS = ["video.mp4", "video.mov", "video.mkv", "video.webm", "video.gif", "video_%04d.png", "frames/"]
STILLS = ["still.png", "still.jpg", "still.webp"]


def open_at(folder, name, **options):
    return open_sink(f"{folder}/{name}", **options)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


@pytest.mark.parametrize("name", [*TARGETS, *STILLS, "-"])
def test_every_sink_has_the_shape_of_one(tmp_path, name):
    assert isinstance(open_sink("-") if name == "-" else open_at(tmp_path, name), Sink)
    assert isinstance(MemorySink(), Sink)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_visible_before_close(tmp_path, name):
    sink = open_at(tmp_path, name)
    frames = make_frames(4)
    sink.open(info_of(frames))
    for frame in frames:
        sink.process(frame)
    sink.drain()
    assert all(part.startswith(".") and ".part" in part for part in listing(tmp_path))
    sink.close()
    sink.close()
    sink.abort()
    assert listing(tmp_path)
    assert not any(".part" in part for part in listing(tmp_path))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("count", [0, 3])
def test_abort_leaves_the_folder_as_it_was(tmp_path, name, count):
    sink = open_at(tmp_path, name)
    frames = make_frames(4)
    sink.open(info_of(frames))
    for frame in frames[:count]:
        sink.process(frame)
    sink.abort()
    sink.abort()
    sink.close()
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_close_without_drain_gives_up(tmp_path, name):
    sink = open_at(tmp_path, name)
    frames = make_frames(2)
    sink.open(info_of(frames))
    sink.process(frames[0])
    sink.close()
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_abort_and_close_before_open_do_nothing(tmp_path, name):
    sink = open_at(tmp_path, name)
    sink.abort()
    sink.close()
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", TARGETS)
def test_frames_before_open_are_an_error_of_ours(tmp_path, name):
    with pytest.raises(SinkError):
        open_at(tmp_path, name).process(make_frames(1)[0])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("video.mp4", "auto"),
        ("video.mov", "auto"),
        ("video.mkv", "auto"),
        ("video.webm", "auto"),
        ("video.mp4", "libx265"),
        ("video.mkv", "libx265"),
        ("video.mp4", "libsvtav1"),
        ("video.mov", "prores_ks"),
    ],
)
def test_a_video_that_is_stopped_early_is_whole(tmp_path, name, codec, count):
    """What an interrupt does: drain, then close, after however many frames."""
    if codec != "auto" and not has_encoder(codec):
        pytest.skip(f"this FFmpeg has no {codec}")
    sink = open_at(tmp_path, name, codec=codec)
    frames = make_frames(12)
    sink.open(info_of(frames, frame_count=12))
    for frame in frames[:count]:
        sink.process(frame)
    sink.drain()
    sink.close()
    assert len(decode(tmp_path / name)) == count
    assert len(times_of(tmp_path / name)) == count


@pytest.mark.parametrize("name", ["video.mp4", "video.gif", "video_%04d.png", *STILLS])
def test_an_existing_output_is_not_touched(tmp_path, name):
    there = tmp_path / name.replace("%04d", "0007")
    there.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        open_at(tmp_path, name).open(info_of(make_frames(1)))
    assert there.read_bytes() == b"mine"
    assert listing(tmp_path) == [there.name]


@pytest.mark.parametrize("name", ["video.mp4", "video.gif", "video_%04d.png", *STILLS])
def test_overwrite_keeps_the_old_one_until_the_new_one_is_whole(tmp_path, name):
    there = tmp_path / name.replace("%04d", "0000")
    there.write_bytes(b"mine")
    frames = make_frames(1)
    sink = open_at(tmp_path, name, overwrite=True)
    sink.open(info_of(frames))
    sink.process(frames[0])
    assert there.read_bytes() == b"mine"
    sink.abort()
    assert there.read_bytes() == b"mine"
    assert listing(tmp_path) == [there.name]
    write(open_at(tmp_path, name, overwrite=True), frames)
    assert there.read_bytes() != b"mine"
    assert listing(tmp_path) == [there.name]


@pytest.mark.parametrize("name", ["video.mp4", "still.png"])
def test_an_output_that_appears_meanwhile_is_not_replaced_and_the_work_is_not_lost(tmp_path, name):
    frames = make_frames(1)
    sink = open_at(tmp_path, name)
    sink.open(info_of(frames))
    sink.process(frames[0])
    sink.drain()
    (tmp_path / name).write_bytes(b"theirs")
    with pytest.raises(OutputExistsError, match="finished work is kept") as error:
        sink.close()
    sink.abort()
    kept = Path(str(error.value).rsplit(" ", 1)[-1])
    assert (tmp_path / name).read_bytes() == b"theirs"
    assert kept.stat().st_size > 100


@pytest.mark.parametrize("overwrite", [False, True])
def test_several_outputs_appear_together_or_not_at_all(tmp_path, overwrite):
    targets = [tmp_path / name for name in ("image.mp4", "alpha.mkv", "fg.mov")]
    if overwrite:
        for target in targets[:2]:
            target.write_bytes(b"earlier " + target.name.encode())
    sinks = [open_sink(target, overwrite=overwrite) for target in targets]
    outputs = Outputs(*sinks)
    frames = make_frames(3)
    outputs.open(info_of(frames))
    alpha = np.full((frames[0].height, frames[0].width), 255, np.uint8)
    for frame in frames:
        outputs.process(Composite(frame, frame.like((alpha,), layout=Layout.GRAY), frame))
    outputs.drain()
    targets[2].mkdir() if overwrite else targets[2].write_bytes(b"theirs")
    with pytest.raises(SinkError, match=r"kept: .*image\.mp4\.part, .*alpha\.mkv\.part, .*fg\.mov\.part"):
        outputs.close()
    outputs.abort()
    kept = [f"{target.name}.part" for target in targets]
    if overwrite:
        assert [target.read_bytes() for target in targets[:2]] == [b"earlier image.mp4", b"earlier alpha.mkv"]
        assert listing(tmp_path) == sorted([*(target.name for target in targets), *kept])
    else:
        assert listing(tmp_path) == sorted(["fg.mov", *kept])
    assert all((tmp_path / name).stat().st_size > 300 for name in kept)


def test_work_is_kept_where_the_end_fails(tmp_path, monkeypatch):
    sink = open_sink(tmp_path / "video.mkv")
    frames = make_frames(5)
    sink.open(info_of(frames))
    for frame in frames:
        sink.process(frame)

    def broken():
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(sink, "_last_packets", broken)
    with pytest.raises(SinkError, match=r"finished work is kept: .*video\.mkv\.part"):
        sink.drain()
    sink.abort()
    assert listing(tmp_path) == ["video.mkv.part"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "video.mkv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write(open_sink(pipe, overwrite=True), make_frames(5))
        data = reader.communicate(timeout=20)[0]
    assert pipe.is_fifo()
    with av.open(io.BytesIO(data)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
    mp4 = tmp_path / "video.mp4"
    os.mkfifo(mp4)
    with pytest.raises(UnsupportedOutputError, match=r"is a pipe, and \.mp4 needs a file"):
        open_sink(mp4, overwrite=True).open(info_of(make_frames(1)))
    assert mp4.is_fifo()


@pytest.mark.parametrize("name", ["12:30.mp4", "take:1.webm", "pipe:1.mp4", "concat:x.mkv", "file:a.gif", "fd:1.mov"])
def test_a_name_with_a_colon_is_a_local_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(open_sink(name), make_frames(2))
    assert listing(tmp_path) == [name]
    assert (tmp_path / name).stat().st_size > 100


@pytest.mark.parametrize("name", ["video.mp4", "video.gif", "still.png", "a/b_%d.png", "a/b/"])
def test_a_missing_folder(tmp_path, name):
    with pytest.raises(SinkError, match="does not exist"):
        open_at(tmp_path, f"none/{name}").open(info_of(make_frames(1)))
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["video.mp4", "video.gif", "still.png"])
def test_a_target_that_is_a_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(SinkError, match="folder"):
        open_at(tmp_path, name, overwrite=True).open(info_of(make_frames(1)))
    assert listing(tmp_path) == [name]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SinkError):
        open_sink(tmp_path / "file" / "video.mp4").open(info_of(make_frames(1)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="permission"):
        open_sink(tmp_path / "video.mp4").open(info_of(make_frames(1)))
    tmp_path.chmod(0o700)


def test_the_file_has_ordinary_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        write(open_sink(tmp_path / "video.mp4"), make_frames(2))
        write(open_sink(tmp_path / "still.png"), make_frames(1))
    finally:
        os.umask(mask)
    for name in ("video.mp4", "still.png"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "video.mp4").symlink_to(tmp_path / "real" / "video.mp4")
    write(open_sink(tmp_path / "video.mp4", overwrite=True), make_frames(2))
    assert (tmp_path / "video.mp4").is_symlink()
    assert len(times_of(tmp_path / "real" / "video.mp4")) == 2


@pytest.mark.parametrize(
    "name", ["ä" * 110 + ".mp4", "人" * 60 + ".mp4", "a video with spaces & 'quotes'.mp4", "%.mp4", "a:b.mp4"]
)
def test_unusual_names(tmp_path, name):
    write(open_sink(tmp_path / name), make_frames(2))
    assert listing(tmp_path) == [name]


FULL_DISK = """
    import resource, signal, sys
    sys.path.insert(0, {tests!r})
    from support.sink_frames import make_frames, info_of
    from streammatte.sinks import open_sink
    from streammatte.errors import DiskFullError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    import numpy as np
    frames = make_frames(40, (320, 240))
    rng = np.random.default_rng(0)
    for frame in frames:
        frame.planes[0][:] = rng.integers(0, 255, frame.planes[0].shape)
    sink = open_sink({target!r}, crf=4, preset="ultrafast" if not {target!r}.endswith(".webm") else None)
    try:
        sink.open(info_of(frames))
        for frame in frames:
            sink.process(frame)
        sink.drain()
        sink.close()
    except DiskFullError as error:
        sink.abort()
        print("full:", error)
    else:
        print("written")
"""


@pytest.mark.parametrize("name", ["video.mp4", "video.mov", "video.mkv", "video.webm", "video.gif", "video_%03d.png"])
@pytest.mark.parametrize("limit", [10_000, 300_000])
def test_a_full_disk(tmp_path, name, limit):
    folder = tmp_path / "out"
    folder.mkdir()
    if name.endswith(".png") and limit > 100_000:
        limit = 20_000
    program = FULL_DISK.format(tests=str(Path(__file__).parents[1]), limit=limit, target=f"{folder}/{name}")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("full: no space left to write"), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert listing(folder) == []


RECORD = """
    import resource, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from support.sink_frames import make_frames, info_of
    from streammatte.sinks.record import RecordSink
    from streammatte.errors import DiskFullError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    import numpy as np
    frames = make_frames(150, (320, 240))
    rng = np.random.default_rng(0)
    sink = RecordSink(Path({target!r}))
    sink.open(info_of(frames))
    try:
        for frame in frames:
            frame.planes[0][:] = rng.integers(0, 255, frame.planes[0].shape)
            sink.process(frame)
        sink.drain()
    except DiskFullError as error:
        print("full:", error)
    sink.close()
"""


@pytest.mark.parametrize("name", ["video.mkv", "video.mp4"])
def test_a_recording_that_reaches_the_largest_size_of_a_file(tmp_path, name):
    """FAT32 ends at 4 GiB: what was recorded until then plays."""
    target = tmp_path / name
    program = RECORD.format(tests=str(Path(__file__).parents[1]), target=str(target))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"full: no space is left for {target}"), done.stdout + done.stderr
    with av.open(str(target)) as video:
        count = 0
        with contextlib.suppress(av.error.FFmpegError):
            for _ in video.decode(video=0):
                count += 1
    assert count >= 1


def test_a_killed_program_leaves_a_temporary_name_only(tmp_path):
    program = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from support.sink_frames import make_frames, info_of
        from streammatte.sinks import open_sink
        frames = make_frames(4)
        sink = open_sink({str(tmp_path / "video.mp4")!r})
        sink.open(info_of(frames))
        sink.process(frames[0])
        print("ready", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    process.stdout.close()
    assert [name for name in listing(tmp_path) if not name.endswith(".part")] == []


def test_an_encoder_that_does_not_start_says_what_to_do(tmp_path):
    absent = [name for name in ("h264_nvenc", "h264_qsv") if has_encoder(name)]
    if not absent:
        pytest.skip("this FFmpeg has no hardware encoders")
    for name in absent:
        sink = open_sink(tmp_path / "video.mp4", codec=name)
        try:
            sink.open(info_of(make_frames(1)))
        except SinkError as error:
            assert "--codec auto" in str(error)
            assert "\n" not in str(error)
            assert listing(tmp_path) == []
        else:
            sink.abort()
            pytest.skip(f"{name} works here")


def test_messages_are_one_line(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"x")
    for target in ("video.mp4", "none/video.mp4", "video.xyz"):
        with pytest.raises(SinkError) as error:
            open_at(tmp_path, target).open(info_of(make_frames(1)))
        assert "\n" not in str(error.value)
        assert error.value.exit_code == 4


def test_unknown_names_list_the_known(tmp_path):
    with pytest.raises(UnsupportedOutputError, match=r"\.mp4.*\.webm.*png"):
        open_sink(tmp_path / "video.avi")


def test_two_sinks_side_by_side(tmp_path):
    sinks = [open_sink(tmp_path / f"{index}.mkv") for index in range(3)]
    frames = make_frames(6)
    for sink in sinks:
        sink.open(info_of(frames))
    for frame in frames:
        for sink in sinks:
            sink.process(frame)
    for sink in sinks:
        sink.drain()
        sink.close()
    assert [len(decode(tmp_path / f"{index}.mkv")) for index in range(3)] == [6, 6, 6]


def test_memory_stays_flat(tmp_path):
    """Ten times the frames, the same memory: the images for the encoder are used again."""
    frames = make_frames(30, (640, 360))
    sink = open_sink(tmp_path / "video.mp4", preset="ultrafast")
    sink.open(info_of(frames))
    for index in range(900):
        frame = frames[index % 30]
        frame.pts = 3000 * index
        sink.process(frame)
        if index == 200:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink.abort()
    assert after - before < 20_000  # KiB; a frame is 340


def test_memory_sink_keeps_copies():
    sink = MemorySink()
    frames = make_frames(3, layout=Layout.YUV444, alpha=True)
    sink.open(info_of(frames))
    for frame in frames:
        sink.process(frame)
    kept = frames[0].planes[0].copy()
    frames[0].planes[0][:] = 0
    sink.drain()
    sink.close()
    sink.abort()
    assert (sink.frames[0].planes[0] == kept).all()
    assert sink.frames[0].alpha is not frames[0].alpha
    assert [frame.index for frame in sink.frames] == [0, 1, 2]
    assert sink.closed and not sink.aborted


def test_abort_is_quick_in_the_middle_of_a_video(tmp_path):
    sink = open_sink(tmp_path / "video.mp4")
    frames = make_frames(30, (640, 360))
    sink.open(info_of(frames))
    for frame in frames:
        sink.process(frame)
    started = time.monotonic()
    sink.abort()
    assert time.monotonic() - started < 20
    assert listing(tmp_path) == []


def test_a_full_disk_has_an_error_of_its_own(tmp_path):
    assert issubclass(DiskFullError, SinkError)
