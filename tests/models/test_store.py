"""The folder of fetched networks: damage is reported and mended, hand-placed files are checked, processes agree."""

import io
import logging
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from streammatte.cache import file_sha256
from streammatte.cli import main
from streammatte.errors import ConfigError, ModelError
from streammatte.images.model_choice import Router, _paddle
from streammatte.models import archive, cards, store
from streammatte.models.resolve import EMBEDDED, resolve

GOLDEN = Path(__file__).parents[1] / "golden" / "exported26"
NET, OTHER = "modnet-mobilenetv2", "modnet-hrnet_w18"
PINNED = "ppmattingv2-stdc1-human_512"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A cache of the test's own; the folder of NET in it."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models" / NET


@pytest.fixture(autouse=True)
def official(request):
    """The server has the official zip."""
    if "server" in request.fixturenames:
        request.getfixturevalue("server").behave = {"body": official_zip()}


def official_zip(*more, leave_out=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name in ("deploy.yaml", "model.pdmodel", "model.pdiparams"):
            if name not in leave_out:
                bundle.writestr(f"{NET}/{name}", (GOLDEN / name).read_bytes())
        for name in more:
            bundle.writestr(name, b"x")
    return buffer.getvalue()


def pull(server, kind="inference", name=NET):
    return store.pull(name, kind, mirror=server.address, attempts=2)


def by_hand(content, name=NET, kind="inference"):
    """What a user puts into a network's folder."""
    place = store.target_path(cards.load_card(name), kind)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def weights(scale=1.0):
    return pickle.dumps({"conv.weight": np.full((2, 3), scale, np.float32)}, 4)


def tree(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def command(*args):
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return ended.value.code


# ---- damage stops nothing else ----


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: by_hand(b"<html>"), f"{NET}.zip is no zip"),
        (lambda root: (root / "inference").mkdir(parents=True), r"no deploy\.yaml"),
        (lambda root: by_hand(official_zip()[:-9000]), f"{NET}.zip is no zip"),
    ],
)
def test_one_damaged_network_is_reported_and_the_rest_works(root, tmp_path, capsys, spoil, message):
    spoil(root)
    before = tree(root)
    assert command("models", "list") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(NET))
    assert "damaged" in line
    assert command("models", "info", NET) == 0
    assert f"models pull {NET}" in capsys.readouterr().out
    assert command("models", "verify") == 6
    out = capsys.readouterr().out
    assert "ppmattingv2-lite: ok" in out
    assert f"models pull {NET}" in next(line for line in out.splitlines() if line.startswith(NET))
    cv2.imwrite(str(tmp_path / "p.png"), np.full((80, 90, 3), 128, np.uint8))
    assert command("image", tmp_path / "p.png", tmp_path / "b.png") == 0
    err = capsys.readouterr().err
    assert f"{NET} is left out" in err
    assert f"models pull {NET}" in err
    assert tree(root) == before


def test_pull_and_info_say_what_came_and_where_it_is(server, root, capsys):
    assert command("models", "info", NET) == 0
    assert f"goes to {root / NET}.zip" in capsys.readouterr().out
    for message in ("kB fetched", "is here already"):
        assert command("models", "pull", NET, "--mirror", server.address) == 0
        out, err = capsys.readouterr()
        assert out == f"{root / 'inference'}\n"
        assert err.startswith(NET)
        assert message in err
    assert command("models", "info", NET) == 0
    out = capsys.readouterr().out
    assert f"kept in {root / 'inference'}" in out
    assert "short side 512, multiples of 32" in out


def test_looking_changes_nothing_and_choosing_unpacks(root, tmp_path):
    place = by_hand(official_zip())
    for _ in range(2):
        kept = store.find(NET)
        assert (kept.folder, kept.archive, kept.damage) == (None, place, None)
    assert not store.find(OTHER).archive
    assert tree(tmp_path / "home") == [f"models/{NET}/{NET}.zip"]
    assert Router().network(500, 400)[0] == NET
    assert resolve(NET).program == root / "inference" / "model.pdmodel"
    assert not place.exists()


def test_the_router_takes_the_next_best_that_resolves(root, caplog):
    by_hand(official_zip(), OTHER)
    by_hand(b"<html>", PINNED)
    (root / "inference").mkdir(parents=True)
    router = Router()
    for _ in range(2):
        assert router.network(500, 400)[0] == OTHER
    store.model_folder(OTHER).joinpath("inference", "model.pdiparams").unlink()
    assert Router().network(500, 400)[0] == EMBEDDED[0]
    passed = [record.getMessage().partition(" ")[0] for record in caplog.records]
    assert passed == [OTHER, PINNED, NET]


def test_a_file_that_was_cut_off_is_damage(server, capsys):
    folder = pull(server)
    params = next(folder.rglob("model.pdiparams"))
    params.write_bytes(params.read_bytes()[:100])
    damage = store.find(NET).damage
    assert damage is not None
    assert "model.pdiparams has changed" in damage
    assert f"models pull {NET}" in damage
    assert Router().network(500, 400)[0] == "ppmattingv2-lite"
    assert command("models", "list") == 0
    assert "damaged" in capsys.readouterr().out
    pull(server)
    assert store.find(NET).damage is None


def test_the_router_leaves_out_what_only_paddle_runs(root, monkeypatch, caplog):
    shutil.copytree(GOLDEN.parent / "exported3", root / "inference")
    monkeypatch.setattr("streammatte.images.model_choice.find_spec", lambda name: None)
    _paddle.cache_clear()
    try:
        assert Router().network(500, 400)[0] == "ppmattingv2-lite"
    finally:
        _paddle.cache_clear()
    assert "left out: it runs through Paddle" in caplog.text


def test_a_folder_that_may_not_be_looked_into_is_damage(monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refused)
    assert "Permission denied" in store.find(NET).damage


# ---- mending ----


@pytest.mark.parametrize("spoilt", ["changed", "missing", "record", "record of another shape", "program"])
def test_pull_mends_what_verify_finds(server, capsys, spoilt):
    folder = pull(server)
    if spoilt == "changed":
        data = bytearray((GOLDEN / "model.pdiparams").read_bytes())
        data[len(data) // 2] ^= 0xFF
        (folder / "model.pdiparams").write_bytes(data)
    elif spoilt == "missing":
        (folder / "model.pdiparams").unlink()
    elif spoilt == "program":
        (folder / "deploy.yaml").unlink()
        (folder.parent / "pulled.json").unlink()
    else:
        (folder.parent / "pulled.json").write_text("{" if spoilt == "record" else '{"inference": []}')
    assert command("models", "verify") == 6
    out = capsys.readouterr().out
    assert f"run: streammatte models pull {NET}" in out
    assert "ppmattingv2-lite: ok" in out, "the others are checked all the same"
    assert command("models", "pull", NET, "--mirror", server.address) == 0
    assert len(server.requests) == 2
    capsys.readouterr()
    assert command("models", "verify") == 0
    assert f"{NET}: ok" in capsys.readouterr().out
    pull(server)
    assert len(server.requests) == 2, "it is good now"


@pytest.mark.parametrize("sent", [b"<html>", official_zip("../evil"), b""])
def test_the_old_folder_stays_where_the_mending_fails(server, sent):
    folder = pull(server)
    (folder / "model.pdiparams").write_bytes(b"x")
    before = tree(folder.parent)
    server.behave = {"body": sent}
    with pytest.raises(ModelError):
        pull(server)
    assert tree(folder.parent) == before
    server.behave = {"status": 500}
    with pytest.raises(ModelError):
        pull(server)
    assert tree(folder.parent) == before


def test_a_zip_without_the_whole_model_is_no_success(server):
    server.behave = {"body": official_zip(leave_out=["model.pdiparams"])}
    with pytest.raises(ModelError, match=f"pdiparams.*models pull {NET}"):
        pull(server)


def test_weights_that_changed_are_fetched_again(server, capsys):
    server.behave = {"body": weights()}
    path = pull(server, "checkpoint")
    path.write_bytes(weights(2.0))
    assert store.verify(NET)[0].endswith(f"run: streammatte models pull {NET} --checkpoint")
    assert pull(server, "checkpoint") == path
    assert path.read_bytes() == weights()
    assert store.verify(NET) == []
    pull(server, "checkpoint")
    assert len(server.requests) == 2


@pytest.mark.parametrize("how", ["short", "page"])
def test_weights_are_read_before_they_get_their_name(server, root, how):
    server.behave = {"body": weights()[:-20] if how == "short" else b"<html>", "no_length": True}
    with pytest.raises(ModelError, match="cannot be read as weights"):
        pull(server, "checkpoint")
    assert tree(root) == []


def test_a_short_zip_never_gets_its_name(server, root):
    server.behave = {"body": official_zip()[:-100], "no_length": True}
    with pytest.raises(ModelError, match="no usable zip"):
        pull(server)
    assert tree(root) == []


# ---- what was put there by hand ----


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """The card that pins a zip, with the size and checksum of ours."""
    (tmp_path / "ours.zip").write_bytes(official_zip())
    card = cards.load_card(PINNED)
    remote = cards.RemoteFile(
        card.files["inference"].url, file_sha256(tmp_path / "ours.zip"), (tmp_path / "ours.zip").stat().st_size
    )
    changed = replace(card, files={**card.files, "inference": remote})
    known = cards.load_card
    monkeypatch.setattr(store, "load_card", lambda name: changed if name == PINNED else known(name))
    return remote


def other_zip(size):
    """A good zip of so many bytes, of another program."""
    data = bytearray(official_zip())
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, content[:-1] + b"#" if entry.filename.endswith("yaml") else content)
    assert size == buffer.tell()
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["size", "sum"])
def test_a_hand_placed_zip_must_be_what_the_card_promises(pinned, server, how):
    content = official_zip("more") if how == "size" else other_zip(pinned.size)
    place = by_hand(content, PINNED)
    message = r"bytes, the card states \d+" if how == "size" else "SHA-256"
    for attempt in (lambda: store.usable_files(PINNED), lambda: pull(server, name=PINNED)):
        with pytest.raises(ModelError, match=rf"{place}.*{message}.*left there.*models pull {PINNED}"):
            attempt()
    assert place.read_bytes() == content
    assert store.find(PINNED).folder is None
    place.unlink()
    assert pull(server, name=PINNED).is_dir(), "the advice holds"


def test_a_hand_placed_zip_that_is_as_promised_is_taken(pinned):
    place = by_hand(official_zip(), PINNED)
    assert store.usable_files(PINNED).folder == place.parent / "inference"
    assert store.verify(PINNED) == []


@pytest.mark.parametrize("content", [b"<html>", official_zip("../evil"), official_zip(leave_out=["deploy.yaml"])])
def test_a_hand_placed_zip_that_is_damaged_is_left_and_named(server, content):
    place = by_hand(content)
    for attempt in (lambda: resolve(NET), lambda: pull(server)):
        with pytest.raises(ModelError, match=rf"{place}.*left there: put a good one in its place, or delete it"):
            attempt()
    assert place.read_bytes() == content
    assert tree(place.parent) == [place.name]


def test_a_hand_placed_zip_mends_a_damaged_folder_without_a_connection(root):
    by_hand(official_zip())
    folder = store.usable_files(NET).folder
    (folder / "model.pdmodel").unlink()
    by_hand(official_zip())
    assert resolve(NET).program.is_file()


def test_hand_placed_weights_that_are_none_are_left_and_named(server):
    place = by_hand(b"<html>", kind="checkpoint")
    with pytest.raises(ModelError, match=rf"{place}.*left there.*models pull {NET} --checkpoint"):
        pull(server, "checkpoint")
    assert place.read_bytes() == b"<html>"


def test_hand_placed_weights_are_taken_as_if_fetched(server):
    place = by_hand(weights(), kind="checkpoint")
    assert pull(server, "checkpoint") == place
    assert not server.requests
    place.write_bytes(weights(2.0))
    assert "changed" in store.verify(NET)[0]


# ---- several processes ----


def test_many_unpack_one_zip_and_all_have_it(root, monkeypatch):
    """Each waits until all of them have seen the zip."""
    by_hand(official_zip())
    unpack, locked = archive.unpack, store.locked
    count = []
    gate = threading.Barrier(4)

    def counted(*args):
        count.append(1)
        return unpack(*args)

    def together(folder):
        gate.wait(10)
        return locked(folder)

    monkeypatch.setattr(archive, "unpack", counted)
    monkeypatch.setattr(store, "locked", together)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: resolve(NET), range(4)))
    assert all(files.program.is_file() for files in results)
    assert len(count) == 1
    assert tree(root) == sorted(
        [f"inference/{file}" for file in ("deploy.yaml", "model.pdiparams", "model.pdmodel")] + ["pulled.json"]
    )


def test_processes_unpack_one_zip(root):
    code = f"from streammatte.models.resolve import resolve; assert resolve({NET!r}).program.is_file()"
    by_hand(official_zip())
    running = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    message = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], message
    assert store.verify(NET) == []


# ---- folders, and the command ----


def test_a_home_that_is_a_file_is_reported_by_pull_alone(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "file"))
    assert command("models", "list") == 0
    capsys.readouterr()
    assert command("models", "pull", NET, "--mirror", server.address) == ConfigError.exit_code
    assert "set STREAMMATTE_HOME to a folder" in capsys.readouterr().err


def test_a_network_with_nothing_published_says_what_to_give(capsys):
    assert command("models", "pull", "gca-resguidedcxtatten") == 6
    assert "--model gca-resguidedcxtatten=FILE.pdparams" in capsys.readouterr().err
    assert command("models", "verify", "gca-resguidedcxtatten") == 6
    assert "--model gca-resguidedcxtatten=FILE.pdparams" in capsys.readouterr().out


@pytest.mark.parametrize("args", [("--log-level", "debug", "list"), ("list", "--log-level", "debug")])
def test_the_level_may_stand_on_either_side_of_the_command(args):
    assert command("models", *args) == 0
    assert logging.getLogger("streammatte").level == logging.DEBUG


@pytest.mark.parametrize("name", ["list", "info", "pull", "export", "convert", "verify"])
def test_every_command_takes_a_level(name, capsys):
    assert command("models", name, "--help") == 0
    assert "--log-level" in capsys.readouterr().out
    assert command("models", name, "--log-level", "loud") == 2
