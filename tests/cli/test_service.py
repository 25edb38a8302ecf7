"""``streammatte service`` and the cameras' command."""

import json
import logging
import os
import sys

import pytest

from streammatte.cli import main
from streammatte.runtime import native_lines
from streammatte.sources import devices
from streammatte.sources.devices import Camera, find_camera

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    return ended.value.code


@pytest.fixture
def unit(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "systemd" / "user" / "streammatte.service"


def test_a_unit_is_written_and_removed(unit, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "my 50% folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run("service", "install", "--bg", "my beach 100%.jpg", "--edge", "1") == 0
    assert "systemctl --user enable --now" in capsys.readouterr().out
    text = unit.read_text()
    assert '-m streammatte webcam --bg "my beach 100%%.jpg" --edge 1 --camera-at-start off\n' in text
    assert f"WorkingDirectory={tmp_path}/my 50%% folder\n" in text  # where the names of the options' files start
    assert run("service", "remove") == 0 and not unit.exists()
    assert run("service", "remove") == 2


def test_a_unit_that_cannot_be_written(unit, capsys):
    unit.parent.parent.write_bytes(b"")  # a file where the folder must be
    assert run("service", "install") == 4
    assert capsys.readouterr().err.startswith(f"streammatte: cannot write {unit}")


@pytest.mark.parametrize("words", [("--edge", "900"), ("--nothing",), ("--bg",)])
def test_wrong_options_write_no_unit(unit, words, capsys):
    assert run("service", "install", *words) == 2
    assert not unit.exists() and len(capsys.readouterr().err.splitlines()) == 1


def camera(index, name, problem="", virtual=False):
    return Camera(index, name, f"/dev/video{index}", (), problem, virtual)


@pytest.mark.parametrize(
    ("cameras", "chosen"),
    [
        ([camera(0, "USB")], "USB"),
        ([camera(0, "streammatte", virtual=True), camera(1, "USB")], "USB"),
        ([camera(0, "busy", problem="in use"), camera(1, "USB")], "USB"),
        ([camera(0, "busy", problem="in use")], "busy"),  # its reason is reported when it is opened
    ],
)
def test_the_first_camera_that_can_be_used(cameras, chosen):
    assert find_camera("auto", cameras).name == chosen


def test_no_camera_and_no_microphone(monkeypatch, capsys):
    with pytest.raises(devices.DeviceError, match="no camera was found; plug one in"):
        find_camera("auto", [camera(0, "streammatte", virtual=True)])
    monkeypatch.setattr(devices.av, "enumerate_input_devices", lambda framework: [])
    assert run("cameras", "--microphones", "--json") == 7
    assert json.loads(capsys.readouterr().out) == []


def test_one_reason_by_every_name(monkeypatch, tmp_path):
    """By index, name and path a camera that may not be opened is reported in the same words."""

    def refuse(node):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(devices.v4l2, "capabilities", refuse)
    node = tmp_path / "video0"
    node.touch()
    by_path = find_camera(str(node))
    assert "group 'video'" in by_path.problem

    def busy(node):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(devices.v4l2, "capabilities", busy)
    assert f"fuser -v {node}" in find_camera(str(node)).problem


def test_a_driver_that_breaks_off_gives_no_modes(monkeypatch, tmp_path):
    def broken(node):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(devices.v4l2, "capabilities", lambda node: ("uvcvideo", "Desk cam", devices.v4l2.CAP_CAPTURE))
    monkeypatch.setattr(devices.v4l2, "modes", broken)
    found = devices._node(tmp_path / "video0", 0, with_modes=True)
    assert (found.name, found.modes, found.problem) == ("Desk cam", (), "")


def test_what_libraries_write_themselves_goes_to_the_debug_log(capfd, caplog):
    logger = logging.getLogger("streammatte.test")
    with caplog.at_level("DEBUG", "streammatte.test"), native_lines(logger):
        os.write(2, b"ALSA lib pcm.c:2722: unknown PCM\nwarning: our own line\n")
    assert "ALSA lib" in caplog.text and capfd.readouterr().err == "warning: our own line\n"
    with pytest.raises(ValueError, match="its own"), native_lines(logger):
        raise ValueError("its own")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
