"""Nothing is reported to anybody: OpenVINO's telemetry stays out, and no process is forked for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import multiprocessing.process, sys
from pathlib import Path
started = []
multiprocessing.process.BaseProcess.start = lambda self: started.append(self)
{act}
assert "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules, "telemetry was imported"
assert not started, started
"""
VIDEO = """
import streammatte
from support.videos import make_video
given = make_video(Path(sys.argv[1]) / "a.mp4", frames=3)
streammatte.matte_video(given, Path(sys.argv[1]) / "b.mp4", size=192)
"""


@pytest.mark.parametrize(
    "act",
    [
        VIDEO,
        pytest.param("import streammatte.doctor; list(streammatte.doctor.run_checks())", marks=pytest.mark.slow),
        pytest.param("import streammatte.engines.openvino_graph", marks=pytest.mark.slow),
    ],
)
def test_no_telemetry(tmp_path, act):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", CODE.format(act=act), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


def test_the_hosts_own_telemetry_is_left_alone():
    code = (
        "import sys, types; mine = sys.modules['openvino_telemetry'] = types.ModuleType('openvino_telemetry');"
        "from streammatte.optional_imports import import_openvino; import_openvino();"
        "assert sys.modules['openvino_telemetry'] is mine"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
