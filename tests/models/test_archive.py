"""Archives from elsewhere: what is unpacked, and what is refused before anything is."""

import os
import stat
import zipfile

import pytest
from support.http_server import archive, names

from streammatte.errors import ModelError
from streammatte.models.archive import unpack

DEPLOY = ("net/deploy.yaml", "x")


def test_the_files_beside_the_deploy_file_are_unpacked(tmp_path):
    path = archive(tmp_path, ("readme.txt", "r"), DEPLOY, ("net/model.pdmodel", "y"), ("net/more/x", "z"))
    files = unpack(path, tmp_path / "out")
    assert files == [tmp_path / "out" / "deploy.yaml", tmp_path / "out" / "model.pdmodel"]
    assert files[1].read_text() == "y"
    assert names(tmp_path) == ["net.zip", "out"]
    assert names(tmp_path / "out") == ["deploy.yaml", "model.pdmodel"]


def test_an_older_folder_gets_the_new_files_when_all_are_good(tmp_path):
    unpack(archive(tmp_path, ("deploy.yaml", "old")), tmp_path / "out")
    damaged = archive(tmp_path, ("deploy.yaml", "new"), ("model.pdiparams", os.urandom(100_000)))
    data = bytearray(damaged.read_bytes())
    data[50_000] ^= 0xFF
    damaged.write_bytes(data)
    with pytest.raises(ModelError, match="no usable zip"):
        unpack(damaged, tmp_path / "out")
    assert (tmp_path / "out" / "deploy.yaml").read_text() == "old"
    assert names(tmp_path / "out") == ["deploy.yaml"]
    unpack(archive(tmp_path, ("deploy.yaml", "new")), tmp_path / "out")
    assert (tmp_path / "out" / "deploy.yaml").read_text() == "new"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/streammatte-evil", "C:/evil", "..\\evil", "a\\b"])
def test_paths_outside_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ModelError, match="outside its folder; nothing was unpacked"):
        unpack(archive(tmp_path, DEPLOY, (name, "bad")), tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("net/link")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(ModelError, match="a link or a device; nothing was unpacked"):
        unpack(archive(tmp_path, DEPLOY, (entry, "/etc/hostname")), tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    path = archive(tmp_path, DEPLOY, ("net/a", b"0" * 1_000_000), ("net/b", b"0" * 1_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match=r"unpacks to 2000001 bytes, more than \d+ are refused"):
        unpack(path, tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


def test_a_declared_size_that_is_too_small_is_damage(tmp_path):
    path = archive(tmp_path, DEPLOY, ("net/a", b"0" * 10_000_000))
    data = path.read_bytes().replace((10_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(ModelError, match="no usable zip"):
        unpack(path, tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([DEPLOY, ("net/a", "x"), ("net/a", "y")], "exists"),
        ([DEPLOY, ("net/" + "n" * 300, "x")], "too long"),
        ([("readme.txt", "x")], r"no deploy\.yaml or inference\.yml"),
        ([], "no deploy"),
    ],
)
def test_what_cannot_be_a_model_is_refused(tmp_path, entries, message):
    with pytest.raises(ModelError, match=message):
        unpack(archive(tmp_path, *entries), tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


@pytest.mark.parametrize("cut", [0, 10, 100, 1000])
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_kind_of_damage_is_one_kind_of_error(tmp_path, packed, cut):
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w", packed) as bundle:
        bundle.writestr("deploy.yaml", os.urandom(3000))
    data = bytearray(path.read_bytes())
    data[cut : cut + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(ModelError):
        unpack(path, tmp_path / "out")
    assert names(tmp_path) == ["net.zip"]


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "net.zip").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match="no usable zip"):
        unpack(tmp_path / "net.zip", tmp_path / "out")
