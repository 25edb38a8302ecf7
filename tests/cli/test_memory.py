"""Memory that cannot be had is one line."""

import subprocess
import sys

import pytest

from streammatte import runtime

resource = pytest.importorskip("resource", reason="limits of a process")


def limited(megabytes, *args):
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20,) * 2); "
        "import sys; from streammatte.cli import main; main(sys.argv[1:])"
    )
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep this limit")
@pytest.mark.parametrize("megabytes", [800, 1500])
@pytest.mark.parametrize("command", [("video", "in.mp4", "out.mp4"), ("image", "in.jpg", "out.png"), ("webcam",)])
def test_too_little_address_space_is_one_line(megabytes, command):
    done = limited(megabytes, *command)
    assert done.returncode == 6
    assert done.stderr.startswith(f"streammatte: this process may use {megabytes} MB of address space")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_an_error_near_the_limit_says_that_memory_is_short(monkeypatch):
    assert runtime.address_space_hint() == ""
    monkeypatch.setattr(runtime, "_address_space_limit", lambda: 1 << 50)
    assert runtime.address_space_hint() == ""
    monkeypatch.setattr(runtime, "_address_space_limit", lambda: 1 << 20)
    assert "memory is short: this process may use 1 MB" in runtime.address_space_hint()


def test_a_memory_error_is_one_line(monkeypatch, capsys):
    from streammatte import cli

    monkeypatch.setattr(cli.cli, "main", lambda **_: bytearray(1 << 62))
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 1
    assert "not enough memory" in capsys.readouterr().err
