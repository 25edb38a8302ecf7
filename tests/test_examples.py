"""Every example runs as its README says, and makes what it says."""

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def run(name, *arguments, cwd=ROOT):
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_video_is_converted(tmp_path, samples):
    short = tmp_path / "short.mkv"
    with av.open(str(samples / "person.mp4")) as given, av.open(str(short), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.pts is not None and packet.pts * packet.time_base < 0.5:
                packet.stream = stream
                out.mux(packet)
    target = tmp_path / "out.mp4"
    printed = run("convert_video.py", short, target, samples / "beach.jpg")
    assert str(target) in printed
    with av.open(str(target)) as video:
        assert sum(1 for _ in video.decode(video=0)) > 10


def test_an_image_is_cut_out(tmp_path, samples):
    with av.open(str(samples / "person.mp4")) as video:
        next(video.decode(video=0)).to_image().save(tmp_path / "person.png")
    run("cut_out_image.py", tmp_path / "person.png", tmp_path / "cut.png")
    alpha = Image.open(tmp_path / "cut.png").getchannel("A")
    assert alpha.getextrema() == (0, 255)


def test_frames_are_given_as_arrays(samples):
    lines = run("frames.py", samples / "person.mp4").splitlines()
    assert len(lines) == 15 and all("columns" in line for line in lines)


def test_own_stages_run_in_the_pipeline():
    assert run("own_source_and_sink.py").startswith("10 frames of (")


def test_mattes_are_compared():
    values = dict(line.split(": ") for line in run("compare_mattes.py").splitlines())
    assert set(values) == {"mad", "mse", "grad"} and 0 < float(values["mad"]) < 0.05


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_listed_and_tested(path):
    assert f"`{path.name}`" in (ROOT / "examples" / "README.md").read_text()
    assert f'"{path.name}"' in Path(__file__).read_text()
