"""Fetching beside other processes, from servers that change or give little away, into folders that refuse."""

import errno
import os
import threading
import time
from email.utils import formatdate

import pytest
from support.http_server import BODY, DIGEST, QUICK, Server, names, remote

from streammatte.errors import ConfigError, DiskFullError, ModelError
from streammatte.models import download as pull
from streammatte.models import download as transfer
from streammatte.models.cards import RemoteFile
from streammatte.models.download import Retry, fetch, mirrored
from streammatte.models.locks import locked

NEW = BODY[::-1]
ONCE = Retry(attempts=1, backoff=0.0, timeout=5.0)
MONDAY, TUESDAY = "Mon, 05 Jan 2026 10:00:00 GMT", "Tue, 06 Jan 2026 10:00:00 GMT"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def half(server, target, **behave):
    """Leave a part of a file there, of which the server says no more than ``behave``."""
    server.behave = {"cut": 400_000, **behave}
    with pytest.raises(ModelError):
        fetch(remote(server), target, retry=ONCE)


# ---- two versions ----


@pytest.mark.parametrize("ignores_if_range", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"modified": MONDAY}, {"modified": TUESDAY}),
        ({"tag": 'W/"weak"', "modified": MONDAY}, {"tag": 'W/"weak"', "modified": TUESDAY}),
        ({"tag": '"one"', "modified": MONDAY}, {"tag": '"two"', "modified": MONDAY}),
        ({}, {"body": NEW + b"longer"}),
    ],
)
def test_versions_are_told_apart_by_date_and_length_too(server, tmp_path, first, second, ignores_if_range):
    half(server, tmp_path / "net", **first)
    server.behave = {"body": NEW, **second}
    if ignores_if_range:
        server.answer = careless(server)
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == server.behave["body"]
    assert names(tmp_path) == ["net"]


def careless(server):
    answer = server.answer

    def without_if_range(handler):
        del handler.headers["If-Range"]
        answer(handler)

    return without_if_range


def test_the_same_version_is_still_resumed(server, tmp_path):
    half(server, tmp_path / "net", modified=MONDAY)
    server.behave = {"modified": MONDAY}
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    asked = server.requests[-1][1]
    assert (asked["Range"], asked["If-Range"]) == ("bytes=400000-", MONDAY)
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_part_of_a_file_that_shrank_to_its_length_is_not_the_file(server, tmp_path):
    half(server, tmp_path / "net")
    server.behave = {"body": NEW[:400_000]}
    fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert (tmp_path / "net").read_bytes() == NEW[:400_000]


@pytest.mark.parametrize(("promise", "resumed"), [({}, False), ({"sha256": DIGEST}, True)])
def test_where_the_server_says_nothing_it_starts_again_unless_a_checksum_tells(server, tmp_path, promise, resumed):
    (tmp_path / "net.part").write_bytes(BODY[:400_000])
    transfer.Mark(tmp_path / "net.part").write(transfer.Version())
    server.behave = {"no_length": True}
    fetch(remote(server, **promise), tmp_path / "net", retry=QUICK)
    assert ("Range" in server.requests[-1][1]) == resumed
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_mark_that_was_cut_short_says_nothing(tmp_path):
    mark = transfer.Mark(tmp_path / "net.part")
    (tmp_path / "net.part.tag").write_text('{"tag": "')
    assert mark.read() == transfer.Version()


# ---- what arrived ----


def refuse(path):
    raise ModelError(f"{path.name} is no network; do something")


def test_what_does_not_pass_its_check_never_gets_its_name(server, tmp_path):
    with pytest.raises(ModelError, match=r"describes \(net\.part is no network\); nothing was kept"):
        fetch(remote(server), tmp_path / "net", retry=QUICK, check=refuse)
    assert names(tmp_path) == []


def test_a_resumed_file_that_does_not_pass_is_fetched_once_more(server, tmp_path):
    (tmp_path / "net.part").write_bytes(b"x" * 1000)

    def check(path):
        if path.read_bytes() != BODY:
            refuse(path)

    fetch(remote(server), tmp_path / "net", retry=QUICK, check=check)
    assert (tmp_path / "net").read_bytes() == BODY


def test_anew_replaces_only_when_it_is_complete(server, tmp_path):
    (tmp_path / "net").write_bytes(b"old")
    with pytest.raises(ModelError):
        fetch(remote(server), tmp_path / "net", retry=QUICK, check=refuse, anew=True)
    assert (tmp_path / "net").read_bytes() == b"old"
    fetch(remote(server), tmp_path / "net", retry=QUICK, anew=True)
    assert (tmp_path / "net").read_bytes() == BODY


def test_a_failure_before_the_first_byte_leaves_nothing(server, tmp_path):
    server.behave = {"status": 500}
    with pytest.raises(ModelError):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert names(tmp_path) == []


# ---- waiting ----


@pytest.mark.parametrize("how", ["seconds", "date"])
def test_a_server_that_wants_a_long_rest_is_given_up_at_once(server, tmp_path, how):
    asked = "7200" if how == "seconds" else formatdate(time.time() + 7200, usegmt=True)
    server.behave = {"status": 503, "retry_after": asked}
    with pytest.raises(ModelError, match=r"asks for 7[12]\d\d seconds of rest.*again after 20\d\d-\d\d-\d\d \d\d:\d\d"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert len(server.requests) == 1


def test_a_short_rest_is_waited_for(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.behave = {"status": 503, "retry_after": "7"}
    with pytest.raises(ModelError, match="503"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)
    assert waits == [7.0, 7.0]


@pytest.mark.parametrize("asked", ["soon", "", "9" * 40])
def test_a_rest_without_sense_is_no_crash(server, tmp_path, asked):
    server.behave = {"status": 503, "retry_after": asked}
    with pytest.raises(ModelError, match="503"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)


# ---- addresses ----


@pytest.mark.parametrize(
    "mirror",
    ["http://[::1", "http://", "https:///copy", "http://host:port", f"http://{'a' * 70}.org", "http://a/?b=", "net"],
)
def test_a_mirror_without_a_audio_address_is_refused(mirror):
    with pytest.raises(ConfigError, match="--mirror must be an http or https address with a host"):
        mirrored(RemoteFile("https://example.org/net.zip"), mirror)


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://host:port/x"])
def test_an_address_without_a_host_is_refused(tmp_path, url):
    with pytest.raises(ModelError, match="cannot be fetched"):
        fetch(RemoteFile(url), tmp_path / "net", retry=QUICK)


# ---- folders that refuse ----


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="STREAMMATTE_HOME"):
        fetch(remote(server), tmp_path / "file" / "net", retry=QUICK)


def test_a_full_disk_is_told(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pull, "one_attempt", full)
    with pytest.raises(DiskFullError, match="free some"):
        fetch(remote(server), tmp_path / "net", retry=QUICK)


# ---- other processes ----


def test_who_opened_the_part_before_it_became_the_file_does_not_touch_it(server, tmp_path, monkeypatch):
    """Another process finishes between this one's first look and its lock."""
    pytest.importorskip("fcntl")
    import fcntl

    target, part = tmp_path / "net", tmp_path / "net.part"
    part.write_bytes(BODY)
    flock = fcntl.flock

    def late(file, how):
        if part.is_file() and not target.is_file():
            part.rename(target)
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    assert fetch(remote(server), target, retry=QUICK) == target
    assert not server.requests
    assert target.read_bytes() == BODY
    assert names(tmp_path) == ["net"]


def test_a_lock_is_of_the_file_that_stands_there(tmp_path):
    """Who waited for a file that its holder renamed or removed gets the next one, not that one."""
    pytest.importorskip("fcntl")
    path = tmp_path / "lock"
    inside, seen = threading.Event(), []

    def other():
        inside.wait(5)
        with locked(path, wait=True):
            seen.append(os.stat(path).st_ino)  # noqa: PTH116

    thread = threading.Thread(target=other)
    thread.start()
    with locked(path, wait=True):
        inside.set()
        time.sleep(0.2)
        path.rename(tmp_path / "done")
        with pytest.raises(BlockingIOError), locked(tmp_path / "done", wait=False):
            pass
    thread.join(5)
    assert seen
    assert seen[0] != (tmp_path / "done").stat().st_ino
