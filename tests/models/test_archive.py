"""Archives that are odd, and the moment in which a folder takes the place of an older one."""

import os
import zipfile
from pathlib import Path

import pytest
from support.http_server import archive, names

from streammatte.errors import ModelError
from streammatte.models.archive import inspect, unpack


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("a", "x"), ("a/b/c", "y")], "a as a file and as a folder"),
        ([("a/b/c", "y"), ("a", "x")], "a as a file and as a folder"),
        ([("n" * 300, "x")], "more than 255 bytes"),
        ([("ä" * 130, "x")], "more than 255 bytes"),
        ([("readme.txt", "x")], r"no deploy\.yaml"),
    ],
)
def test_names_that_cannot_be_files_are_refused_before_anything_is_unpacked(tmp_path, entries, told):
    path = archive(tmp_path, *entries)
    for attempt in (lambda: inspect(path, ["deploy.yaml"]), lambda: unpack(path, tmp_path / "net", ["deploy.yaml"])):
        with pytest.raises(ModelError, match=told):
            attempt()
    assert names(tmp_path) == ["net.zip"]


def test_a_path_that_is_too_long_as_a_whole_is_told(tmp_path):
    path = archive(tmp_path, ("/".join(["n" * 250] * 20), "x"))
    with pytest.raises(ModelError, match="cannot be a file here"):
        unpack(path, tmp_path / "net")
    assert names(tmp_path) == ["net.zip"]


def test_damage_inside_is_found_without_unpacking(tmp_path):
    path = archive(tmp_path, ("deploy.yaml", os.urandom(100_000)))
    inspect(path, ["deploy.yaml"])
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelError, match="no audio zip"):
        inspect(path)


@pytest.mark.parametrize("cut", [0, 10, 100, 1000])
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_whatever_the_reader_says_of_damage_is_one_kind_of_error(tmp_path, packed, cut):
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w", packed) as bundle:
        bundle.writestr("a", os.urandom(3000))
    data = bytearray(path.read_bytes())
    data[cut : cut + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(ModelError):
        unpack(path, tmp_path / "net")
    assert names(tmp_path) == ["net.zip"]


def test_the_old_folder_stays_until_the_new_one_is_there(tmp_path, monkeypatch):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "old").write_text("old")
    path = archive(tmp_path, ("deploy.yaml", "x"))
    rename = Path.rename

    def refused(self, target):
        if Path(target).name == "net" and self.suffix != ".old":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="Input/output"):
        unpack(path, tmp_path / "net")
    assert (tmp_path / "net" / "old").read_text() == "old"
    assert names(tmp_path) == ["net", "net.zip"]


def test_an_archive_without_what_is_needed_does_not_touch_the_old_folder(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "old").write_text("old")
    with pytest.raises(ModelError, match=r"no deploy\.yaml or inference\.yml"):
        unpack(archive(tmp_path, ("a", "x")), tmp_path / "net", ["deploy.yaml", "inference.yml"])
    assert names(tmp_path / "net") == ["old"]
