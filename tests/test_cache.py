"""Where things are kept, that caches have a bound, and that importing the package changes nothing of its host."""

import errno
import logging
import os
import stat
import subprocess
import sys

import pytest

from streammatte import cache
from streammatte.cli import main
from streammatte.errors import ConfigError, DiskFullError, ModelError

posix = pytest.mark.skipif(sys.platform == "win32", reason="the temporary folder is the user's own there")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Homes and a temporary folder of the test's own, nothing remembered."""
    monkeypatch.delenv("STREAMMATTE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    cache._temporary.cache_clear()
    cache._warn_once.cache_clear()
    yield
    cache._temporary.cache_clear()
    cache._warn_once.cache_clear()


def unusable(tmp_path, monkeypatch):
    """The system's place for caches is a file."""
    (tmp_path / "xdg").write_text("no folder")
    return tmp_path / "tmp" / f"streammatte-{os.getuid()}"


def test_the_users_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    assert cache.user_cache_dir("a", "b") == tmp_path / "home" / "a" / "b"
    assert (tmp_path / "home" / "a" / "b").is_dir()
    assert cache.lasting_dir("c") == tmp_path / "home" / "c"
    assert not (tmp_path / "home" / "c").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is used on Linux")
def test_without_one_the_platforms_folder_is_used(tmp_path):
    assert cache.user_cache_dir("a") == tmp_path / "xdg" / "streammatte" / "a"
    assert cache.lasting_dir("a") == tmp_path / "xdg" / "streammatte" / "a"


@posix
def test_a_folder_that_is_a_file_is_reported_once_and_no_other_of_the_users_is_used(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "streammatte"):
        folder = cache.user_cache_dir("openvino")
        cache.user_cache_dir("numba")
    assert folder == tmp_path / "tmp" / f"streammatte-{os.getuid()}" / "openvino"
    assert not (tmp_path / "xdg").exists()
    assert [record.getMessage().count(str(tmp_path / "file")) for record in caplog.records] == [1]
    place = cache.lasting_dir("models")
    assert place == tmp_path / "file" / "models"
    with pytest.raises(ConfigError, match=r"cannot be written.*STREAMMATTE_HOME"), cache.writing(place):
        place.mkdir(parents=True)


def test_a_store_that_cannot_be_written_serves_look_ups(tmp_path, monkeypatch, caplog):
    home = tmp_path / "home"
    (home / "models" / "net").mkdir(parents=True)
    monkeypatch.setenv("STREAMMATTE_HOME", str(home))
    writable = os.access
    monkeypatch.setattr(
        "os.access", lambda path, mode: not str(path).startswith(str(home)) and writable(path, mode)
    )  # modes do not hold for the administrator, who may run this test
    assert cache.lasting_dir("models", "net") == home / "models" / "net"
    assert not cache.user_cache_dir("openvino").is_relative_to(home)
    assert not caplog.records, "it is meant so"


@posix
def test_the_temporary_folder_is_private(tmp_path, monkeypatch):
    shared = unusable(tmp_path, monkeypatch)
    assert cache.user_cache_dir("a") == shared / "a"
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    assert cache.lasting_dir("models") == tmp_path / "xdg" / "streammatte" / "models", "what lasts goes nowhere else"


@posix
@pytest.mark.parametrize("taken", ["by another", "open", "link"])
def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path, monkeypatch, taken):
    shared = unusable(tmp_path, monkeypatch)
    if taken == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        shared.symlink_to(tmp_path / "elsewhere")
    else:
        shared.mkdir()
        shared.chmod(0o777 if taken == "open" else 0o755)
        (shared / "models" / "net").mkdir(parents=True)
    if taken == "by another":
        own = os.getuid()
        monkeypatch.setattr("os.getuid", lambda: own + 1)
        shared.rename(shared.with_name(f"streammatte-{own + 1}"))
    found = cache.user_cache_dir("a")
    assert found.parent.parent == tmp_path / "tmp"
    assert found.parent.name != shared.name
    assert not cache.lasting_dir("models", "net").exists()
    assert cache.user_cache_dir("a") == found, "one for the whole process"
    assert cache.user_cache_dir("b").parent == found.parent


@posix
def test_a_user_without_a_home_is_served(tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    code = (
        "import os, pwd\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from streammatte.cache import user_cache_dir\n"
        "print(user_cache_dir('a'))"
    )
    env["TMPDIR"] = str(tmp_path / "tmp")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.startswith(str(tmp_path / "tmp")), done.stderr


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (PermissionError(errno.EACCES, "Permission denied"), ConfigError),
        (OSError(errno.EROFS, "Read-only file system"), ConfigError),
        (ModelError("its own"), ModelError),
    ],
)
def test_what_the_system_refuses_is_one_of_our_errors(tmp_path, error, kind):
    with pytest.raises(kind), cache.writing(tmp_path):
        raise error


# ---- bounds ----


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """A cache of four entries of 100 bytes, the second a folder, each a day older than the next."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    folder = cache.user_cache_dir("converted")
    for day, name in enumerate(("oldest", "folder", "newer", "newest")):
        path = folder / name
        if name == "folder":
            path.mkdir()
            path = path / "file"
        path.write_bytes(b"x" * 100)
        for changed in {path, folder / name}:
            os.utime(changed, (day * 86400, day * 86400))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_oldest_entries_go_where_a_cache_is_too_large(filled, monkeypatch):
    size = sum(entry.size for entry in cache.entries("converted"))
    monkeypatch.setitem(cache.LIMITS, "converted", size)
    cache.trim("converted")
    assert names(filled) == ["folder", "newer", "newest", "oldest"]
    monkeypatch.setitem(cache.LIMITS, "converted", 250)
    cache.trim("converted")
    assert names(filled) == ["newer", "newest"]


def test_what_is_in_use_stays(filled, monkeypatch):
    monkeypatch.setitem(cache.LIMITS, "converted", 0)
    cache.trim("converted", keep=filled / "folder")
    assert names(filled) == ["folder"]


def test_the_command_lists_and_clears(filled, tmp_path, capsys):
    (tmp_path / "home" / "models" / "net").mkdir(parents=True)
    (cache.user_cache_dir("openvino") / "graph.blob").write_bytes(b"x" * 2_000_000)
    assert command("list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() == cache.LIMITS.keys()
    assert "4 entries" in lines["converted"]
    assert "2.0 MB of" in lines["openvino"]
    assert command("clear", "nothing") == 2
    assert "converted, openvino" in capsys.readouterr().err
    assert command("clear", "openvino") == 0
    assert "2.0 MB freed" in capsys.readouterr().err
    assert names(filled) == ["folder", "newer", "newest", "oldest"]
    assert command("clear") == 0
    assert names(filled) == []
    assert (tmp_path / "home" / "models" / "net").is_dir(), "fetched networks are no part of it"


def command(*args):
    with pytest.raises(SystemExit) as ended:
        main(["cache", *args])
    return ended.value.code


# ---- the host ----

IMPORT = """
import logging, os, sys, warnings
import aiohttp.web, av, cv2, numba, numpy, openvino, pymatting, requests, scipy, yaml  # these may do what they like
def state():
    root = logging.root
    return dict(os.environ), list(warnings.filters), list(root.handlers), root.level, numba.config.CACHE_DIR
before = state()
import importlib, pkgutil, streammatte
needs_paddle = ("streammatte.networks.", "streammatte.training.losses")
for module in pkgutil.walk_packages(streammatte.__path__, "streammatte."):
    if not module.name.startswith(needs_paddle) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert state() == before, [(a, b) for a, b in zip(state(), before) if a != b]
"""


def test_importing_the_package_changes_nothing_of_its_host(tmp_path):
    env = {**os.environ, "STREAMMATTE_HOME": str(tmp_path / "home")}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    kept = [path for path in (tmp_path / "home" / "numba").rglob("*.nbi") if "blend" in path.name]
    assert kept, "compiled kernels are kept in the user's folder all the same"
