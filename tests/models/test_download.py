"""Fetching over a server that misbehaves in every way the module names."""

import logging
import os
import stat
import subprocess
import sys
import zipfile

import pytest
from support.http_server import BODY, DIGEST, QUICK, Server, archive, names, remote

from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.archive import unpack
from streammatte.models.cards import RemoteFile
from streammatte.models.download import Retry, fetch, file_sha256, mirrored


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def test_a_file_is_fetched_checked_and_leaves_nothing_else(server, tmp_path):
    seen = []
    path = fetch(remote(server, sha256=DIGEST, size=len(BODY)), tmp_path / "net", on_progress=lambda *p: seen.append(p))
    assert path.read_bytes() == BODY
    assert names(tmp_path) == ["net"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "net").write_bytes(BODY)
    fetch(remote(server, sha256=DIGEST), tmp_path / "net")
    assert not server.requests


def test_what_is_there_but_damaged_is_refused(server, tmp_path):
    (tmp_path / "net").write_bytes(BODY[:-1])
    with pytest.raises(ModelError, match=r"there but damaged.*delete it"):
        fetch(remote(server, size=len(BODY)), tmp_path / "net")


def test_a_cut_connection_is_resumed_until_the_file_is_whole(server, tmp_path):
    server.behave = {"cut": 300_000}
    path = fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert path.read_bytes() == BODY
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert ranges == [
        None,
        "bytes=300000-",
        "bytes=600000-",
        "bytes=900000-",
    ]  # more pieces than attempts: progress counts


def test_a_part_of_an_earlier_call_is_resumed(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY[:1000])
    fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert server.requests[0][1]["Range"] == "bytes=1000-"
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_killed_fetch_goes_on_in_another_process(server, tmp_path):
    server.behave = {"cut": 500_000}
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from streammatte.models.cards import RemoteFile\n"
        "from streammatte.models.download import fetch\n"
        "def stop(have, total):\n"
        "    if have >= 400_000: os._exit(9)\n"
        "fetch(RemoteFile(sys.argv[1]), Path(sys.argv[2]), on_progress=stop)\n"
    )
    target = tmp_path / "net"
    done = subprocess.run([sys.executable, "-c", code, remote(server).url, str(target)], timeout=60, check=False)
    assert done.returncode == 9
    assert not target.exists()
    server.behave = {}
    fetch(remote(server, sha256=DIGEST), target, retry=QUICK)
    assert target.read_bytes() == BODY


def test_a_server_that_ignores_range_starts_again_from_the_beginning(server, tmp_path):
    (tmp_path / "net.part").write_bytes(b"stale" * 1000)
    server.behave = {"ignore_range": True}
    fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_file_that_changed_on_the_server_is_not_joined_to_the_old_half(server, tmp_path):
    server.behave = {"cut": 400_000, "tag": '"one"'}
    with pytest.raises(ModelError):
        fetch(remote(server), tmp_path / "net", retry=Retry(attempts=1, backoff=0))
    new = BODY[::-1]
    server.behave = {"tag": '"two"', "body": new}
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == new
    assert names(tmp_path) == ["net"]


def test_a_damaged_part_is_thrown_away_and_fetched_once_more(server, tmp_path, caplog):
    (tmp_path / "net.part").write_bytes(b"x" * 1000)
    with caplog.at_level(logging.WARNING):
        fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY
    assert "from the start" in caplog.text


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY + b"more")
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY)
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY
    assert len(server.requests) == 1


def test_an_answer_for_another_range_is_refused(server, tmp_path):
    (tmp_path / "net.part").write_bytes(BODY[:1000])
    server.behave = {"shift": 7}
    fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY  # it started again without a range


def test_a_length_that_is_too_long_ends_in_an_error(server, tmp_path):
    server.behave = {"lie": 5000, "ignore_range": True}
    with pytest.raises(ModelError, match=r"closed after|broke off"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert not (tmp_path / "net").exists()
    assert len(server.requests) == QUICK.attempts


def test_a_length_that_is_too_short_is_found_by_the_checksum(server, tmp_path):
    server.behave = {"lie": -5000}
    with pytest.raises(ModelError, match="not the file that the card describes"):
        fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert names(tmp_path) == []


def test_a_length_other_than_the_card_promises_is_refused(server, tmp_path):
    with pytest.raises(ModelError, match=f"{len(BODY)} bytes, 17 were promised"):
        fetch(remote(server, size=17), tmp_path / "net", retry=QUICK)


def test_a_body_of_undeclared_length_is_checked_by_size(server, tmp_path):
    server.behave = {"no_length": True}
    fetch(remote(server, size=len(BODY)), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_bad_checksum_keeps_nothing(server, tmp_path):
    with pytest.raises(ModelError, match="SHA-256"):
        fetch(remote(server, sha256="0" * 64), tmp_path / "net", retry=QUICK)
    assert not (tmp_path / "net").exists()
    assert not (tmp_path / "net.part").exists()


def test_an_empty_body_is_refused(server, tmp_path):
    server.behave = {"body": b""}
    with pytest.raises(ModelError, match="empty"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_told_at_once(server, tmp_path, status):
    server.behave = {"status": status}
    with pytest.raises(ModelNotFoundError, match=r"does not exist.*--mirror"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert len(server.requests) == 1


def test_a_refusal_is_told_at_once(server, tmp_path):
    server.behave = {"status": 403}
    with pytest.raises(ModelError, match="403"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert len(server.requests) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.behave = {"status_once": 503}
    fetch(remote(server, sha256=DIGEST), tmp_path / "net", retry=QUICK)
    assert len(server.requests) == 2


def test_a_server_that_stays_in_trouble_is_given_up(server, tmp_path):
    server.behave = {"status": 500}
    with pytest.raises(ModelError, match="500"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert len(server.requests) == QUICK.attempts


def test_waiting_grows_and_minds_what_the_server_asks(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    retry = Retry(backoff=1.0)
    for failures in (1, 2, 3):
        retry.wait(failures, None)
    retry.wait(1, 7.0)
    retry.wait(1, 1e6)
    assert waits == [1.0, 2.0, 4.0, 7.0, 60.0]


def test_offline_the_message_says_which_file_to_put_where(tmp_path):
    dead = RemoteFile("http://127.0.0.1:9/models/net.pdparams")
    with pytest.raises(ModelError) as caught:
        fetch(dead, tmp_path / "net.pdparams", retry=Retry(attempts=2, backoff=0))
    text = str(caught.value)
    assert dead.url in text
    assert str(tmp_path / "net.pdparams") in text
    assert "--mirror" in text
    assert "\n" not in text


def test_two_processes_do_not_write_the_same_part(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "net.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process"):
            fetch(remote(server), tmp_path / "net", retry=QUICK)


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "net.pdparams"])
def test_only_web_addresses_are_fetched(tmp_path, address):
    with pytest.raises(ModelError, match="http"):
        fetch(RemoteFile(address), tmp_path / "net")


def test_a_mirror_keeps_the_path_and_the_promises():
    original = RemoteFile("https://example.org/matting/models/a.pdparams", "ab", 3)
    assert mirrored(original, "http://10.0.0.1:8000/copy/") == RemoteFile(
        "http://10.0.0.1:8000/copy/matting/models/a.pdparams", "ab", 3
    )
    assert mirrored(original, None) is original
    with pytest.raises(ConfigError, match="--mirror"):
        mirrored(original, "/mnt/usb")


def test_the_digest_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    assert file_sha256(tmp_path / "x") == DIGEST


def test_an_archive_replaces_the_folder_as_a_whole(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "old").write_text("old")
    path = archive(tmp_path, ("a/deploy.yaml", "x"), ("a/model.pdmodel", "y"))
    files = unpack(path, tmp_path / "net")
    assert [file.relative_to(tmp_path).as_posix() for file in files] == ["net/a/deploy.yaml", "net/a/model.pdmodel"]
    assert files[1].read_text() == "y"
    assert names(tmp_path) == ["net", "net.zip"]
    assert names(tmp_path / "net") == ["a"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/streammatte-evil", "C:/evil", "..\\evil", "a\\b"])
def test_paths_outside_the_folder_are_refused(tmp_path, name):
    path = archive(tmp_path, ("good", "x"), (name, "bad"))
    with pytest.raises(ModelError, match="outside"):
        unpack(path, tmp_path / "net")
    assert names(tmp_path) == ["net.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (kind | 0o777) << 16
    path = archive(tmp_path, (entry, "/etc/hostname"), ("link/x", "y"))
    with pytest.raises(ModelError, match="link or a device"):
        unpack(path, tmp_path / "net")
    assert names(tmp_path) == ["net.zip"]


def test_an_archive_that_fails_leaves_the_old_folder(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "old").write_text("old")
    path = archive(tmp_path, ("a", os.urandom(100_000)))
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelError, match="no audio zip"):
        unpack(path, tmp_path / "net")
    assert (tmp_path / "net" / "old").read_text() == "old"
    assert names(tmp_path) == ["net", "net.zip"]


def test_what_is_no_zip_is_told(tmp_path):
    (tmp_path / "net.zip").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match="no audio zip"):
        unpack(tmp_path / "net.zip", tmp_path / "net")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr("streammatte.models.archive.MOST_BYTES", 1 << 20)
    path = archive(tmp_path, ("a", b"0" * 700_000), ("b", b"0" * 700_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match="more than"):
        unpack(path, tmp_path / "net")
    assert names(tmp_path) == ["net.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path):
    path = archive(tmp_path, ("a", "x"), ("a", "y"))
    with pytest.raises(ModelError, match="twice"):
        unpack(path, tmp_path / "net")


def test_an_empty_archive_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no file"):
        unpack(archive(tmp_path), tmp_path / "net")
