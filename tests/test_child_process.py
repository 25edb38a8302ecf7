"""A function in a process of its own: its result, its errors, its output, and its end."""

import logging
import os
import signal
import subprocess
import sys

import pytest

from streammatte import child_process
from streammatte.child_process import in_child
from streammatte.errors import ConfigError, ModelError


def test_the_result_comes_back_and_the_output_is_logged_at_debug(caplog, capfd):
    with caplog.at_level(logging.DEBUG, "streammatte"):
        assert in_child(os.path.join, "a", "b") == "a/b"
        assert in_child(subprocess.call, [sys.executable, "-c", "print('native')"]) == 0
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG"]
    assert "native" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_it_is_another_process():
    assert in_child(os.getpid) != os.getpid()


@pytest.mark.parametrize(
    ("function", "args", "kind", "text"),
    [
        (child_process.in_child, (os.stat, "/nothing"), FileNotFoundError, "/nothing"),
        (int, ("x",), ModelError, "ValueError: invalid literal"),
        (os.abort, (), ModelError, "ended without a result .SIGABRT"),
        (os._exit, (3,), ModelError, "ended without a result .exit code 3"),
    ],
)
def test_errors_come_back(function, args, kind, text):
    with pytest.raises(kind, match=text):
        in_child(function, *args)


def test_our_own_errors_come_back_as_they_are():
    from streammatte.models.input_rule import InputRule, checked

    with pytest.raises(ConfigError, match="here: unknown key sides"):
        in_child(checked, InputRule, {"sides": 3}, "here")


def test_what_was_printed_before_a_failure_is_shown(caplog):
    with pytest.raises(ModelError):
        in_child(exec, "print('no such operator', flush=True); import os; os.abort()")
    assert "no such operator" in caplog.text


def test_a_file_of_the_users_folder_is_not_run(tmp_path, monkeypatch):
    for name in ("random.py", "pickle.py", "logging.py"):
        (tmp_path / name).write_text("open('was-run', 'w').close(); raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert in_child(os.getcwd) == str(tmp_path)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("kind", ["empty", "none", "not python", "frozen"])
def test_without_a_python_to_start_it_runs_here(monkeypatch, kind):
    programs = {"empty": "", "none": None, "not python": "/usr/bin/blender", "frozen": sys.executable}
    monkeypatch.setattr(sys, "executable", programs[kind])
    monkeypatch.setattr(sys, "frozen", kind == "frozen", raising=False)
    assert in_child(os.getpid) == os.getpid()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_ends_both():
    code = (
        "from streammatte.child_process import in_child; import time; print('on', flush=True); in_child(time.sleep, 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
