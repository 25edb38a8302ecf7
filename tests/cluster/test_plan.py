"""Which videos become which outputs, and what is wrong with a manifest."""

import json

import pytest

from streammatte.cluster.plan import plan_items
from streammatte.errors import ConfigError, SourceNotFoundError, UnsupportedSourceError
from streammatte.options.video import VideoOptions

ALL = VideoOptions(background="blur")


@pytest.fixture
def videos(tmp_path):
    """A folder with videos at two depths; planning does not open them."""
    for name in ("b2.mp4", "b10.mp4", "deep/a.avi", "deep/.hidden.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def pairs(items, folder):
    return [(item.source.removeprefix(f"{folder}/"), item.output) for item in items]


def test_a_folder_keeps_its_order_and_its_folders(videos):
    found = pairs(plan_items([str(videos)], ALL), videos)
    assert found == [("b2.mp4", "b2.mp4"), ("b10.mp4", "b10.mp4"), ("deep/a.avi", "deep/a.mp4")]


@pytest.mark.parametrize(
    ("kind", "background", "outputs"),
    [
        ("auto", "transparent", ["b2.mov", "b10.mov"]),
        ("webm", "blur", ["b2.webm", "b10.webm"]),
        ("png", "blur", ["b2/", "b10/"]),
    ],
)
def test_outputs_of_a_glob(videos, kind, background, outputs):
    items = plan_items([str(videos / "b*.mp4")], VideoOptions(background=background), kind)
    assert [item.output for item in items] == outputs


def test_the_same_input_twice_is_one_item_and_two_of_one_name_are_refused(videos):
    assert len(plan_items([str(videos / "b2.mp4"), str(videos / "b2.mp4")], ALL)) == 1
    (videos / "deep/b2.mp4").write_bytes(b"y")
    with pytest.raises(ConfigError, match=r"would both become b2\.mp4"):
        plan_items([str(videos / "b2.mp4"), str(videos / "deep/b2.mp4")], ALL)


def test_a_csv_manifest(videos):
    (videos / "jobs.csv").write_text(
        "input,output,priority,background,size,match-light\nb2.mp4,new/one.mkv,5,,256,\ndeep/a.avi,,,,,on\n",
        encoding="utf-8-sig",
    )
    first, second = plan_items([str(videos / "jobs.csv")], ALL)
    assert (first.output, first.priority, first.options) == ("new/one.mkv", 5, {"size": 256})
    assert (second.output, second.options) == ("a.mp4", {"match_light": True})
    assert second.source == str(videos / "deep/a.avi")


def test_json_lines_of_a_file_and_of_standard_input(videos, monkeypatch):
    monkeypatch.chdir(videos)
    lines = [json.dumps({"input": "b2.mp4", "smooth": "off"}), "", "b10.mp4"]
    (videos / "jobs.jsonl").write_text("\n".join(lines))
    items = plan_items([str(videos / "jobs.jsonl")], ALL)
    assert items == plan_items(["-"], ALL, manifest=lines)
    assert [item.options for item in items] == [{"smooth": "off"}, {}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"output": "a.mp4"}, "line 1: 'input' is missing"),
        ({"input": 5}, "line 1: 'input' is missing"),
        ({"input": "b2.mp4", "colour": "red"}, "line 1: unknown option colour"),
        ({"input": "b2.mp4", "size": 5}, "line 1: --size must be"),
        ({"input": "b2.mp4", "size": float("nan")}, "line 1: --size must be"),
        ({"input": "b2.mp4", "priority": "high"}, "line 1"),
        ({"input": "b2.mp4", "priority": 1e400}, "line 1"),
        ({"input": "b2.mp4", "output": "../out.mp4"}, "name inside the target folder"),
        ({"input": "b2.mp4", "output": "/etc/out.mp4"}, "name inside the target folder"),
        ({"input": "b2.mp4", "output": ""}, "name inside the target folder"),
        ({"input": "b2.mp4", "output": 7}, "name inside the target folder"),
        ({"input": "b2.mp4", "alpha": "../m.mkv"}, "name inside the target folder"),
        ({"input": "b2.mp4", "crf": 20, "bitrate": 1000}, "exclude each other"),
    ],
)
def test_a_wrong_row_is_named(videos, monkeypatch, row, message):
    monkeypatch.chdir(videos)
    with pytest.raises(ConfigError, match=message):
        plan_items(["-"], ALL, manifest=[json.dumps(row)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file\nb2.mp4\n", "no column 'input'"),
        ("a.csv", "", "no column 'input'"),
        ("a.csv", "input\nb2.mp4,extra\n", "line 2: more values than columns"),
        ("a.csv", 'input\n"b2.mp4\n', "line"),
        ("a.jsonl", "{", "line 1 is no JSON"),
        ("a.jsonl", "{" * 5000, "line 1 is no JSON"),
    ],
)
def test_a_broken_manifest_is_named(videos, name, text, message):
    (videos / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        plan_items([str(videos / name)], ALL)


def test_what_is_not_there(videos):
    with pytest.raises(SourceNotFoundError, match="there is no"):
        plan_items([str(videos / "missing.mp4")], ALL)
    with pytest.raises(SourceNotFoundError, match="matches no video"):
        plan_items([str(videos / "*.webm")], ALL)
    (videos / "empty").mkdir()
    with pytest.raises(UnsupportedSourceError, match="holds no video"):
        plan_items([str(videos / "empty")], ALL)
