"""The doctor: finds faults, says how to repair them, and fails only where the main job cannot run."""

import json
import os
import platform
import subprocess
import sys

import pytest
from click.testing import CliRunner

from streammatte import doctor as checks
from streammatte.cli.cameras import command as cameras_command
from streammatte.cli.doctor import command


@pytest.fixture(scope="module")
def report():
    done = subprocess.run([sys.executable, "-m", "streammatte", "doctor", "--json"], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def test_main_job_runs_here(report):
    code, said = report
    assert code == 0
    assert said["ok"] is True


def test_everything_is_looked_at(report):
    names = {check["name"] for check in report[1]["checks"]}
    assert {"machine", "engines", "inference", "gpu", "numba cache", "virtual camera", "ffmpeg", "clock"} <= names
    assert names & {"camera", "cameras"}


def test_inference_is_timed_on_the_device_that_is_used(report):
    inference = next(check for check in report[1]["checks"] if check["name"] == "inference")
    assert " ms " in inference["text"]
    assert "openvino on CPU" in inference["text"]
    assert "the fastest of " in inference["text"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="instruction sets of x86")
def test_inference_names_the_instructions_that_its_kernels_use():
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-m", "streammatte", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    inference = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "inference")
    assert "kernels for avx2" in inference["text"]


def test_every_warning_has_a_fix(report):
    assert all(check["fix"] for check in report[1]["checks"] if check["level"] != "ok")


def test_exit_1_where_no_engine_runs(monkeypatch):
    from streammatte import engines
    from streammatte.errors import EngineUnavailableError

    def broken(*args, **kwargs):
        raise EngineUnavailableError("openvino is not installed")

    monkeypatch.setattr(engines, "open_engine", broken)
    done = CliRunner().invoke(command, standalone_mode=False)
    assert done.return_value == 1
    assert "FAIL  inference: openvino is not installed" in done.output
    assert "fix: pip install" in done.output


def test_unwritable_numba_cache_is_reported(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    finding = next(iter(checks._numba()))
    assert finding.level == "warn"
    assert "STREAMMATTE_HOME" in finding.fix


def test_loopback_states(tmp_path):
    assert "not loaded" in checks._loopback(tmp_path).text
    parameters = tmp_path / "module" / "v4l2loopback" / "parameters"
    parameters.mkdir(parents=True)
    (tmp_path / "devices" / "virtual" / "video4linux" / "video10").mkdir(parents=True)
    (parameters / "exclusive_caps").write_text("N,N\n")
    finding = checks._loopback(tmp_path)
    assert finding.level == "warn"
    assert "modprobe" in finding.fix
    (parameters / "exclusive_caps").write_text("Y,N\n")
    assert checks._loopback(tmp_path).level == "ok"
    assert "/dev/video10" in checks._loopback(tmp_path).text


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("boom")
        yield

    monkeypatch.setattr(checks, "_clock", broken)
    assert "boom" in next(finding for finding in checks.run_checks() if finding.name == "clock").text


def test_cameras_says_when_there_is_none(monkeypatch):
    from streammatte.sources import devices

    monkeypatch.setattr(devices, "list_cameras", list)
    done = CliRunner().invoke(cameras_command, standalone_mode=False)
    assert done.return_value == 7
    assert "no camera was found" in done.output


def test_cameras_lists_formats_as_json(monkeypatch):
    from streammatte.sources import devices

    found = devices.Camera(0, "Desk cam", "/dev/video0", ("MJPG 1280x720 30 fps",))
    monkeypatch.setattr(devices, "list_cameras", lambda: [found])
    done = CliRunner().invoke(cameras_command, ["--json"], standalone_mode=False)
    assert json.loads(done.output)[0]["modes"] == ["MJPG 1280x720 30 fps"]
