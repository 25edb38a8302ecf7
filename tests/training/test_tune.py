"""Fine-tuning to a room: labels, what is kept, how it is used."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
pytestmark = [pytest.mark.paddle, pytest.mark.filterwarnings("ignore:When training")]

from streammatte.errors import ConfigError, SourceError  # noqa: E402
from streammatte.training import tune as module  # noqa: E402
from streammatte.training.tune import _against, _plate, tune  # noqa: E402

PERSON = "samples/person.mp4"
HEIGHT, WIDTH = 120, 160


def scene():
    """A room, a person in it whose network's matte has a hole and lacks a hand, and a faint shadow."""
    rng = np.random.default_rng(0)
    room = cv2.GaussianBlur(rng.integers(60, 180, (HEIGHT, WIDTH, 3)).astype(np.float32), (9, 9), 0)
    truth = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.rectangle(truth, (60, 30), (100, 119), 1.0, -1)
    cv2.rectangle(truth, (100, 60), (130, 75), 1.0, -1)  # the arm
    view = room.copy()
    view[truth > 0] = (230, 40, 40)
    view[80:119, 20:55] *= 0.93  # the shadow
    own = cv2.GaussianBlur(truth, (5, 5), 0)
    own[:, 105:] = 0  # the arm is missed
    own[45:60, 70:90] = 0.3  # a hole
    own[10:24, 8:30] = 0.6  # furniture that is taken for a person
    return view, room, truth, own


@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_a_clean_plate_repairs_what_the_network_misses(gain):
    view, room, truth, own = scene()
    noisy = view * gain + np.random.default_rng(1).normal(0, 2, view.shape)
    label = _against(np.clip(noisy, 0, 255).astype(np.uint8), own, room)
    before, after = (np.abs(alpha - truth).mean() for alpha in (own, label))
    assert after < 0.35 * before
    assert label[64:72, 110:126].min() == 1 and label[48:57, 73:87].min() == 1
    assert label[14:20, 12:26].max() == 0 and label[85:110, 25:50].max() <= own[85:110, 25:50].max()


def test_a_plate_is_a_picture_or_the_median_of_a_video(tmp_path):
    view = np.full((40, 60, 3), (10, 200, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "plate.png"), view[..., ::-1])
    assert np.abs(_plate(str(tmp_path / "plate.png"), (20, 30)) - (10, 200, 30)).max() < 1
    assert _plate(PERSON, (90, 160)).shape == (90, 160, 3)


@pytest.mark.parametrize("name", ["", "a b", "../x", "ppmattingv2-lite", "modnet-mobilenetv2", "ä"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(ConfigError):
        tune(PERSON, name, tmp_path)


def test_a_clip_that_is_too_short(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.2)
    with pytest.raises(SourceError, match="give a clip of some seconds"):
        tune(PERSON, "short", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_clip_to_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    command = [sys.executable, "-m", "streammatte"]
    clip = tmp_path / "clip.mp4"
    subprocess.run(
        [*command, "video", PERSON, str(clip), "--bg", "none", "--duration", "2", "--size", "192"], check=True
    )
    how = ["--name", "desk", "--minutes", "0.5", "--size", "96", "--output", str(tmp_path / "work"), "--json"]
    done = subprocess.run([*command, "tune", str(clip), *how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["done"] and last["steps"] > 1 and last["before"] > 0
    kept = tmp_path / "home" / "tuned" / "desk"
    assert (last["name"] == "desk") == (last["after"] < last["before"]) == kept.is_dir()
    assert len(list((tmp_path / "work" / "held-out" / "images").iterdir())) == 12
    if kept.is_dir():
        out = tmp_path / "out.mp4"
        ran = [*command, "video", str(clip), str(out), "--model", "desk", "--bg", "navy", "--duration", "0.3"]
        for precision in ("f32", "int8"):
            subprocess.run([*ran, "--precision", precision, "--overwrite"], check=True)
        assert out.stat().st_size > 1000
    again = subprocess.run([*command, "tune", str(clip), *how], capture_output=True, text=True)
    assert again.returncode == 2 and "holds labels already" in again.stderr
    assert Path(tmp_path / "work" / "training" / "best.pdparams").is_file()
