"""Fetching over a server that misbehaves: attempts, lengths, checksums, messages."""

import logging

import pooch
import pytest
from support.http_server import BODY, DIGEST, names, remote

from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.cards import RemoteFile
from streammatte.models.download import fetch, mirrored, mismatch

NAME = "net.pdparams"


def test_a_file_is_fetched_checked_and_leaves_nothing_else(server, tmp_path, caplog):
    seen = []
    level = pooch.get_logger().level
    with caplog.at_level(logging.INFO):
        path = fetch(
            remote(server, sha256=DIGEST, size=len(BODY)), tmp_path, on_progress=lambda *step: seen.append(step)
        )
    assert path == tmp_path / NAME
    assert path.read_bytes() == BODY
    assert names(tmp_path) == [NAME]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert server.requests[0][1]["User-Agent"].startswith("streammatte/")
    assert not caplog.records
    assert pooch.get_logger().level == level


@pytest.mark.parametrize("trouble", [{"status_once": 503}, {"cut_once": 300_000}])
def test_what_fails_once_is_tried_again(server, tmp_path, trouble):
    server.behave = trouble
    seen = []
    path = fetch(remote(server, sha256=DIGEST), tmp_path, on_progress=lambda *step: seen.append(step))
    assert path.read_bytes() == BODY
    assert len(server.requests) == 2
    assert max(have for have, _ in seen) == len(BODY), "what was thrown away is not counted"


@pytest.mark.parametrize("trouble", [{"status": 500}, {"cut": 300_000}, {"lie": 5000}])
def test_what_fails_always_is_given_up_after_so_many_attempts(server, tmp_path, trouble):
    server.behave = trouble
    with pytest.raises(ModelError, match=r"cannot fetch from 127\.0\.0\.1:\d+ .*--mirror.*another machine"):
        fetch(remote(server), tmp_path, attempts=3)
    assert len(server.requests) == 3
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("behave", "stated", "message"),
    [
        ({}, {"sha256": "0" * 64}, "does not match the known hash"),
        ({}, {"size": 17}, f"{len(BODY)} bytes, the card states 17"),
        ({"body": BODY[:-1], "no_length": True}, {"size": len(BODY)}, "the card states"),
        ({"lie": -5000}, {"sha256": DIGEST}, "does not match"),
        ({"body": b""}, {}, "empty"),
    ],
)
def test_another_file_than_the_card_describes_is_not_kept(server, tmp_path, behave, stated, message):
    server.behave = behave
    with pytest.raises(
        ModelError, match=rf"not the file that the card describes .*{message}.*nothing was kept"
    ) as caught:
        fetch(remote(server, **stated), tmp_path, attempts=2)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_body_that_does_not_end_is_given_up(server, tmp_path):
    server.behave = {"body": b"x" * (64 << 20), "no_length": True}
    with pytest.raises(ModelError, match="more bytes than the 17 that the card states"):
        fetch(remote(server, size=17), tmp_path, attempts=1)
    assert names(tmp_path) == []


def test_a_body_of_undeclared_length_is_taken(server, tmp_path):
    server.behave = {"no_length": True}
    seen = []
    path = fetch(remote(server, size=len(BODY)), tmp_path, on_progress=lambda *step: seen.append(step))
    assert path.read_bytes() == BODY
    assert {total for _, total in seen} == {None}


@pytest.mark.parametrize(("status", "kind"), [(404, ModelNotFoundError), (410, ModelNotFoundError), (403, ModelError)])
def test_what_another_attempt_cannot_change_ends_at_once(server, tmp_path, status, kind):
    server.behave = {"status": status}
    with pytest.raises(kind, match=rf"\({status}\); try another --mirror"):
        fetch(remote(server), tmp_path)
    assert len(server.requests) == 1


def test_without_a_connection_the_message_names_the_address(tmp_path):
    dead = RemoteFile("http://127.0.0.1:9/models/net.pdparams")
    with pytest.raises(ModelError) as caught:
        fetch(dead, tmp_path, attempts=1)
    assert dead.url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"timeout": 0}])
def test_numbers_without_sense_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        fetch(RemoteFile("http://127.0.0.1:9/net"), tmp_path, **options)


def test_a_mirror_keeps_the_path_and_what_the_card_states():
    original = RemoteFile("https://example.org/matting/models/a.pdparams", "ab", 3)
    assert mirrored(original, "http://10.0.0.1:8000/copy/") == RemoteFile(
        "http://10.0.0.1:8000/copy/matting/models/a.pdparams", "ab", 3
    )
    assert mirrored(original, None) is original


@pytest.mark.parametrize(
    "mirror", ["http://[::1", "http://", "https:///copy", "http://host:port", "http://a/?b=", "/mnt/usb", "ftp://a"]
)
def test_a_mirror_without_a_valid_address_is_refused(mirror):
    with pytest.raises(ConfigError, match="--mirror must be an http or https address with a host"):
        mirrored(RemoteFile("https://example.org/net.zip"), mirror)


def test_a_file_is_compared_with_its_card(tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    address = "https://example.org/net.zip"
    assert mismatch(tmp_path / "x", RemoteFile(address, DIGEST.upper(), len(BODY))) is None
    assert mismatch(tmp_path / "x", RemoteFile(address)) is None
    assert "bytes" in mismatch(tmp_path / "x", RemoteFile(address, size=3))
    assert "SHA-256" in mismatch(tmp_path / "x", RemoteFile(address, "0" * 64))
