"""Where things are kept: an order is an order, what is there is found, only a folder of our own is trusted."""

import errno
import logging
import os
import stat
import subprocess
import sys

import pytest

from streammatte import cache
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
    cache._tell.cache_clear()
    yield
    cache._temporary.cache_clear()
    cache._tell.cache_clear()


def unusable(tmp_path, monkeypatch):
    """The system's place for caches is a file."""
    (tmp_path / "xdg").write_text("no folder")
    return tmp_path / "tmp" / f"streammatte-{os.getuid()}"


def test_the_order_is_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    assert cache.user_cache_dir("a", "b") == tmp_path / "home" / "a" / "b"
    assert (tmp_path / "home" / "a" / "b").is_dir()
    assert cache.lasting_dir("c") == tmp_path / "home" / "c"
    assert not (tmp_path / "home" / "c").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is the custom of Linux")
def test_without_one_the_systems_custom_is(tmp_path):
    assert cache.user_cache_dir("a") == tmp_path / "xdg" / "streammatte" / "a"
    assert cache.lasting_dir("a") == tmp_path / "xdg" / "streammatte" / "a"


@posix
def test_an_order_that_cannot_be_followed_is_told_once_and_never_becomes_the_users_home(tmp_path, monkeypatch, caplog):
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
    assert cache.lasting_dir("models") == shared / "models"


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
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (PermissionError(errno.EACCES, "Permission denied"), ConfigError),
        (OSError(errno.EROFS, "Read-only file system"), ConfigError),
        (ModelError("its own"), ModelError),
    ],
)
def test_what_writing_refuses_is_told(tmp_path, error, told):
    with pytest.raises(told), cache.writing(tmp_path):
        raise error
