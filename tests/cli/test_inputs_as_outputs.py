"""No command writes over what it reads, whatever the file is called there."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.videos import make_video

from streammatte.errors import ConfigError
from streammatte.sinks.atomic import refuse_inputs


def run(*arguments, cwd):
    command = [sys.executable, "-m", "streammatte", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.fixture
def folder(tmp_path):
    make_video(tmp_path / "in.mp4", frames=3)
    make_video(tmp_path / "back.mp4", frames=3)
    Image.new("RGB", (64, 48), (90, 90, 90)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 48), (50, 90, 90)).save(tmp_path / "b.png")
    os.link(tmp_path / "in.mp4", tmp_path / "hard.mp4")
    (tmp_path / "soft.mp4").symlink_to("in.mp4")
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / "a.png", tmp_path / "out" / "000000.png")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("video", "in.mp4", "in.mp4"),
        ("video", "in.mp4", "./hard.mp4"),
        ("video", "in.mp4", "soft.mp4"),
        ("video", "soft.mp4", "in.mp4"),
        ("video", "in.mp4", "x.mp4", "--alpha", "hard.mp4"),
        ("video", "in.mp4", "back.mp4", "--bg", "back.mp4"),
        ("video", "in.mp4", "x.mp4", "--bg", "back.mp4", "--foreground", "back.mp4"),
        ("video", "in.mp4", "back.mp4", "--out-dir", "."),
        ("video", "out", "out/"),
        ("video", "out/%06d.png", "out/%06d.png"),
        ("video", "out/*.png", "out/"),
        ("image", "a.png", "a.png"),
        ("image", "a.png", "b.png", "--bg", "b.png"),
        ("image", "a.png", "b.png", "--out-dir", "."),
        ("image", "a.png", "x.png", "--trimap", "b.png", "--alpha", "b.png"),
        ("webcam", "--camera", "in.mp4", "--record", "hard.mp4"),
        ("webcam", "--camera", "in.mp4", "--bg", "back.mp4", "--record", "back.mp4"),
        ("webcam", "--camera", "in.mp4", "--hold", "back.mp4", "--record", "back.mp4"),
        ("webcam", "--camera", "in.mp4", "--mic", "back.mp4", "--record", "back.mp4"),
    ],
    ids=" ".join,
)
def test_nothing_that_is_read_is_written_over(folder, arguments):
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = run(*arguments, "--overwrite", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "is also the" in done.stderr
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_reports_of_eval_do_not_replace_what_is_compared(folder):
    np.zeros(1).tofile(folder / "x")
    for name in ("a.png", "b.png"):
        done = run("eval", "a.png", "b.png", "--json", name, cwd=folder)
        assert done.returncode == 2 and f"{name} is also the input" in done.stderr
    assert Image.open(folder / "b.png").size == (64, 48)


def test_a_folder_beside_the_input_is_no_clash(folder):
    refuse_inputs({"the input": str(folder / "in.mp4")}, [str(folder), str(folder / "new.mp4"), "-"])
    refuse_inputs({"the background": "green", "the camera": "0", "the stream": "http://a/in.mp4"}, ["green"][:0])
    with pytest.raises(ConfigError, match="is also the input"):
        refuse_inputs({"the input": str(folder / "out")}, [f"{folder}/out/%d.png"])
